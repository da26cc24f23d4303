/*
 * cni_clock.c: stands before a CNI plugin and writes down when it was called and when it ended.
 *
 * Installed as .../NAME, it runs .../real-NAME with the same environment and streams, and appends a line to
 * .../cni-clock.log: "VERB CONTAINERID NAME START END" in ns of CLOCK_MONOTONIC, which all processes of a machine share.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : "-";
}

int main(int argc, char **argv)
{
	long long start = now();
	char self[PATH_MAX - 64] = "", real[PATH_MAX], log[PATH_MAX], line[512];
	int status = 0, fd, length;
	char *name;
	pid_t pid;

	(void)argc;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 125;
	name = strrchr(self, '/');
	*name++ = 0;
	snprintf(real, sizeof(real), "%s/real-%s", self, name);
	snprintf(log, sizeof(log), "%s/cni-clock.log", self);
	pid = vfork();
	if (pid == 0) {
		execv(real, argv);
		_exit(126);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 125;
	length = snprintf(line, sizeof(line), "%s %s %s %lld %lld\n", variable("CNI_COMMAND"),
			  variable("CNI_CONTAINERID"), name, start, now());
	fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (fd < 0 || write(fd, line, length) != length)
		return 125;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 124;
}
