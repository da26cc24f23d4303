// SPDX-License-Identifier: Apache-2.0
/*
 * What pcnk adds to libbpf inside libpcnk_bpf.so: a log that TypeScript collects (a callback into JavaScript with a
 * va_list is not possible), and stand-ins for the symbols that keep Debian's static libraries from being linked into
 * a shared object (see libbpf.sh).
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN FILE *pcnk_stderr;

__attribute__((constructor)) static void set_stderr(void)
{
	pcnk_stderr = stderr;
}

/* glibc before 2.33 has no fstat symbol, only __fxstat. */
HIDDEN int fstat(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}

/* libelf's elf_error.c, less its thread-local state: libbpf asks only for a text to print. */
static int last_error;

HIDDEN void __libelf_seterrno(int value)
{
	last_error = value;
}

HIDDEN int elf_errno(void)
{
	int value = last_error;

	last_error = 0;
	return value;
}

HIDDEN const char *elf_errmsg(int error)
{
	static char text[48];

	snprintf(text, sizeof(text), "libelf error %d", error > 0 ? error : last_error);
	return text;
}

/* The log keeps the newest LOG_SIZE bytes: a verifier's log has its verdict at the end. */
#define LOG_SIZE (1 << 20)

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[LOG_SIZE];
static size_t log_length;

static int log_print(enum libbpf_print_level level, const char *format, va_list args)
{
	static char line[LOG_SIZE / 2];
	int length;

	if (level == LIBBPF_DEBUG)
		return 0;
	pthread_mutex_lock(&log_lock);
	length = vsnprintf(line, sizeof(line), format, args);
	if (length < 0)
		length = 0;
	if ((size_t)length >= sizeof(line))
		length = sizeof(line) - 1;
	if (log_length + length > LOG_SIZE) {
		size_t drop = log_length + length - LOG_SIZE;

		memmove(log_text, log_text + drop, log_length - drop);
		log_length -= drop;
	}
	memcpy(log_text + log_length, line, length);
	log_length += length;
	pthread_mutex_unlock(&log_lock);
	return length;
}

/* From now on libbpf's warnings and infos go to the log instead of standard error. */
void pcnk_log_init(void)
{
	libbpf_set_print(log_print);
}

/* Moves up to `size` bytes of the log, oldest first, to `buffer`; returns how many. No terminating zero. */
int pcnk_log_take(char *buffer, int size)
{
	size_t length;

	if (size <= 0)
		return 0;
	pthread_mutex_lock(&log_lock);
	length = log_length < (size_t)size ? log_length : (size_t)size;
	memcpy(buffer, log_text, length);
	memmove(log_text, log_text + length, log_length - length);
	log_length -= length;
	pthread_mutex_unlock(&log_lock);
	return (int)length;
}
