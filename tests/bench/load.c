// SPDX-License-Identifier: Apache-2.0
/* The load generator of the benchmarks: a server, and clients that time each
 * operation with clock_gettime and print one line of JSON. Python or Deno in its
 * place would measure themselves.
 *
 *   load serve|sink PORT
 *   load rr|udprr|crr|connect|bulk|flood [-a N] [-k STEP] [-t MS] [-w MS] [-s BYTES] [-r RATE] ADDR PORT
 *   load [-i FILE] [-o FILE] exec PROGRAM ARGS...
 *
 * serve    echoes on TCP and UDP PORT, counts what it is sent on TCP PORT+1
 * sink     takes UDP PORT and reads nothing: what arrives is the kernel's to count, what does not fit
 *          into the smallest queue it drops
 * rr       request/response on one TCP connection, message of -s bytes, TCP_NODELAY
 * udprr    the same on one connected UDP socket
 * crr      connect, request, response, close; -a N goes round N addresses, each STEP
 *          (-k, default 1) after the one before
 * connect  connect alone is timed, then the connection is reset; -a as above
 * bulk     one TCP stream for -t ms, counted by the receiver
 * flood    one UDP socket sends as much as it can, for -t ms; with -r N, N packets a second
 * exec     one process: time from fork to end, peak memory; standard input and output are files
 *
 * Sockets use cubic where the kernel has it: bbr paces, which measures timers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES (4u << 20)
#define BULK_CHUNK (128 << 10)
#define FLOOD_BATCH 64

static struct {
	const char *mode;
	in_addr_t addr; /* host byte order */
	uint16_t port;
	unsigned addresses, step, ms, warmup_ms, size, rate;
} opt = { .addresses = 1, .step = 1, .ms = 1000, .warmup_ms = 100, .size = 1 };

static char buffer[BULK_CHUNK];
static uint32_t samples[MAX_SAMPLES]; /* ns */

static void die(const char *what)
{
	fprintf(stderr, "load %s: %s: %s\n", opt.mode ? opt.mode : "", what, strerror(errno));
	exit(1);
}

static int check(int result, const char *what)
{
	if (result < 0)
		die(what);
	return result;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void set(int fd, int level, int option, int value)
{
	check(setsockopt(fd, level, option, &value, sizeof(value)), "setsockopt");
}

/* A socket whose waits are bounded, so that a lost packet ends the run. */
static int new_socket(int type)
{
	int fd = check(socket(AF_INET, type | SOCK_CLOEXEC, 0), "socket");
	struct timeval patience = { .tv_sec = 2 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (type == SOCK_STREAM) {
		setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
		set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	}
	return fd;
}

static struct sockaddr_in address(unsigned offset, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(opt.addr + offset),
		.sin_port = htons(port),
	};
}

static int open_to(int type, unsigned offset, uint16_t port)
{
	int fd = new_socket(type);
	struct sockaddr_in to = address(offset, port);

	check(connect(fd, (struct sockaddr *)&to, sizeof(to)), "connect");
	return fd;
}

/* ---- server ---- */

enum role { UDP_ECHO = 1, ECHO, SINK, LISTEN = 16 };

/* epoll's data: role in the upper half, descriptor in the lower; a sink's count
 * of bytes stands beside it. */
static uint64_t sunk[65536];

static void watch(int epoll, int fd, enum role role)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)role << 32 | (uint32_t)fd };

	check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static int listener(int type, uint16_t port)
{
	int fd = new_socket(type);
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };

	set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	check(bind(fd, (struct sockaddr *)&any, sizeof(any)), "bind");
	if (type == SOCK_STREAM)
		check(listen(fd, 4096), "listen");
	return fd;
}

static void echo_datagram(int fd)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &len);

	if (n >= 0)
		sendto(fd, buffer, n, 0, (struct sockaddr *)&from, len);
}

static void serve_stream(int fd, enum role role)
{
	ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

	if (n > 0 && role == SINK) {
		sunk[fd] += n;
		return;
	}
	if (n > 0 && send(fd, buffer, n, MSG_NOSIGNAL) == n)
		return;
	if (n == 0 && role == SINK)
		send(fd, &sunk[fd], sizeof(sunk[fd]), MSG_NOSIGNAL);
	close(fd);
}

static void welcome(int epoll, int listening, enum role role)
{
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if ((size_t)fd >= sizeof(sunk) / sizeof(*sunk)) {
		close(fd);
		return;
	}
	sunk[fd] = 0;
	watch(epoll, fd, role);
}

static void serve(void)
{
	int epoll = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	struct epoll_event events[64];

	watch(epoll, listener(SOCK_STREAM, opt.port), LISTEN | ECHO);
	watch(epoll, listener(SOCK_STREAM, opt.port + 1), LISTEN | SINK);
	watch(epoll, listener(SOCK_DGRAM, opt.port), UDP_ECHO);
	for (;;) {
		int count = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < count; i++) {
			enum role role = events[i].data.u64 >> 32;
			int fd = (int)events[i].data.u64;

			if (role == UDP_ECHO)
				echo_datagram(fd);
			else if (role & LISTEN)
				welcome(epoll, fd, role & ~LISTEN);
			else
				serve_stream(fd, role);
		}
	}
}

/* The kernel counts datagrams (/proc/net/snmp); to read them would cost as much as their way. */
static void sink(void)
{
	int fd = listener(SOCK_DGRAM, opt.port);

	set(fd, SOL_SOCKET, SO_RCVBUF, 1);
	for (;;)
		pause();
}

/* ---- clients ---- */

static void exchange(int fd)
{
	unsigned got = 0;

	if (check(send(fd, buffer, opt.size, 0), "send") != (int)opt.size)
		die("send in part");
	while (got < opt.size) {
		ssize_t n = check(recv(fd, buffer, opt.size - got, 0), "recv");

		if (n == 0)
			die("closed by the server");
		got += n;
	}
}

/* Connect, then close in the way of the mode; returns the ns that count. */
static uint64_t connection(unsigned turn)
{
	/* A stride that meets every address once a round, far from its neighbours. */
	unsigned offset = (uint64_t)turn * 7919 % opt.addresses * opt.step;
	const struct linger reset = { .l_onoff = 1 };
	uint64_t start = now_ns(), end;
	int fd = open_to(SOCK_STREAM, offset, opt.port);

	if (!strcmp(opt.mode, "connect")) {
		end = now_ns();
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
		return end - start;
	}
	exchange(fd);
	close(fd);
	return now_ns() - start;
}

/* One operation, on the open connection if there is one. */
static uint64_t operation(int fd, unsigned turn)
{
	uint64_t start;

	if (fd < 0)
		return connection(turn);
	start = now_ns();
	exchange(fd);
	return now_ns() - start;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t percentile(unsigned count, unsigned tenths)
{
	return samples[(uint64_t)(count - 1) * tenths / 1000];
}

static void run_operations(void)
{
	bool stream = !strcmp(opt.mode, "rr"), datagram = !strcmp(opt.mode, "udprr");
	int fd = stream ? open_to(SOCK_STREAM, 0, opt.port) :
		 datagram ? open_to(SOCK_DGRAM, 0, opt.port) : -1;
	unsigned count = 0, turn = 0;
	uint64_t start = now_ns(), end = start + opt.warmup_ms * 1000000ull, sum = 0;

	while (now_ns() < end)
		operation(fd, turn++);
	start = now_ns();
	end = start + opt.ms * 1000000ull;
	while (now_ns() < end && count < MAX_SAMPLES) {
		uint64_t ns = operation(fd, turn++);

		samples[count++] = ns > UINT32_MAX ? UINT32_MAX : ns;
		sum += ns;
	}
	end = now_ns();
	qsort(samples, count, sizeof(*samples), by_size);
	printf("{\"count\":%u,\"seconds\":%.6f,\"rate\":%.3f,\"mean\":%.1f,\"min\":%u,\"p50\":%u,"
	       "\"p90\":%u,\"p99\":%u}\n",
	       count, (end - start) / 1e9, count / ((end - start) / 1e9), (double)sum / count,
	       samples[0], percentile(count, 500), percentile(count, 900), percentile(count, 990));
}

static void run_bulk(void)
{
	int fd = open_to(SOCK_STREAM, 0, opt.port);
	uint64_t start = now_ns(), end = start + opt.ms * 1000000ull, received;

	while (now_ns() < end)
		check(send(fd, buffer, sizeof(buffer), 0), "send");
	check(shutdown(fd, SHUT_WR), "shutdown");
	if (check(recv(fd, &received, sizeof(received), MSG_WAITALL), "recv") != sizeof(received))
		die("no count from the sink");
	end = now_ns();
	printf("{\"bytes\":%llu,\"seconds\":%.6f,\"rate\":%.1f}\n", (unsigned long long)received,
	       (end - start) / 1e9, received / ((end - start) / 1e9));
}

/* Sleeps until so many packets are due by the rate that is asked for. */
static void pace(uint64_t start, uint64_t count)
{
	uint64_t due = start + count * 1000000000ull / opt.rate;
	struct timespec at = { .tv_sec = due / 1000000000, .tv_nsec = due % 1000000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void run_flood(void)
{
	static struct mmsghdr messages[FLOOD_BATCH];
	struct iovec part = { .iov_base = buffer, .iov_len = opt.size };
	int fd = open_to(SOCK_DGRAM, 0, opt.port);
	uint64_t start = now_ns(), end = start + opt.ms * 1000000ull, count = 0;

	for (int i = 0; i < FLOOD_BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &part, .msg_iovlen = 1 };
	while (now_ns() < end) {
		count += check(sendmmsg(fd, messages, FLOOD_BATCH, 0), "sendmmsg");
		if (opt.rate)
			pace(start, count);
	}
	end = now_ns();
	printf("{\"count\":%llu,\"seconds\":%.6f,\"rate\":%.1f}\n", (unsigned long long)count,
	       (end - start) / 1e9, count / ((end - start) / 1e9));
}

/* ---- processes ---- */

static void run_process(const char *input, const char *output, char **argv)
{
	uint64_t start = now_ns(), end;
	pid_t pid = check(vfork(), "vfork");
	struct rusage usage;
	int status, fd;

	if (!pid) {
		fd = open(input ? input : "/dev/null", O_RDONLY);
		dup2(fd, STDIN_FILENO);
		fd = open(output ? output : "/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0600);
		dup2(fd, STDOUT_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
	check(wait4(pid, &status, 0, &usage), "wait4");
	end = now_ns();
	printf("{\"ns\":%llu,\"status\":%d,\"peakKB\":%ld}\n", (unsigned long long)(end - start),
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), usage.ru_maxrss);
}

/* ---- command line ---- */

static void usage(void)
{
	fputs("usage: see the head of tests/bench/load.c\n", stderr);
	exit(2);
}

static void parse_client(int argc, char **argv)
{
	int c;
	struct in_addr addr;

	optind = 1;
	while ((c = getopt(argc, argv, "+a:k:t:w:s:r:")) != -1) {
		unsigned value = strtoul(optarg ? optarg : "", NULL, 10);

		switch (c) {
		case 'a': opt.addresses = value; break;
		case 'k': opt.step = value; break;
		case 't': opt.ms = value; break;
		case 'w': opt.warmup_ms = value; break;
		case 's': opt.size = value; break;
		case 'r': opt.rate = value; break;
		default: usage();
		}
	}
	if (argc - optind != 2 || !inet_aton(argv[optind], &addr) || !opt.addresses || !opt.size ||
	    opt.size > sizeof(buffer))
		usage();
	opt.addr = ntohl(addr.s_addr);
	opt.port = strtoul(argv[optind + 1], NULL, 10);
}

int main(int argc, char **argv)
{
	const char *input = NULL, *output = NULL;
	int c;

	while ((c = getopt(argc, argv, "+i:o:")) != -1) {
		switch (c) {
		case 'i': input = optarg; break;
		case 'o': output = optarg; break;
		default: usage();
		}
	}
	if (argc - optind < 2)
		usage();
	opt.mode = argv[optind];
	if (!strcmp(opt.mode, "exec")) {
		alarm(60);
		run_process(input, output, argv + optind + 1);
		return 0;
	}
	if (!strcmp(opt.mode, "serve") || !strcmp(opt.mode, "sink")) {
		opt.port = strtoul(argv[optind + 1], NULL, 10);
		strcmp(opt.mode, "sink") ? serve() : sink();
	}
	parse_client(argc - optind, argv + optind);
	alarm((opt.ms + opt.warmup_ms) / 1000 + 5); /* nothing waits for ever */
	if (!strcmp(opt.mode, "bulk"))
		run_bulk();
	else if (!strcmp(opt.mode, "flood"))
		run_flood();
	else
		run_operations();
	return 0;
}
