/* The system calls that `bench.mount` times, in C: a loop in Python costs more than the calls.
 *
 *   calls OPERATION ARGUMENTS...
 *
 * prints one line, `calls=N ns=SUM p50=NS p99=NS`: each call is timed by itself, so preparing its
 * arguments costs nothing. A "call" of `read` is open, read to the end and close; of `create` and
 * `overwrite` open, write and close. Paths are relative to the working directory. An error ends the
 * program with 1 and a message.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK (1 << 20)

static uint64_t *samples;
static size_t count, room;
static uint64_t seed;
static char buffer[CHUNK];

static void fail(const char *what)
{
	fprintf(stderr, "calls: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void took(uint64_t started)
{
	uint64_t ended = now();

	if (count == room) {
		room = room ? room * 2 : 65536;
		samples = realloc(samples, room * sizeof(*samples));
		if (!samples)
			fail("samples");
	}
	samples[count++] = ended - started;
}

static int in_order(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static void report(void)
{
	uint64_t sum = 0;

	if (!count) {
		errno = EINVAL;
		fail("nothing was called");
	}
	for (size_t i = 0; i < count; i++)
		sum += samples[i];
	qsort(samples, count, sizeof(*samples), in_order);
	printf("calls=%zu ns=%llu p50=%llu p99=%llu\n", count, (unsigned long long)sum,
	       (unsigned long long)samples[count / 2],
	       (unsigned long long)samples[count - 1 - count / 100]);
}

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void refill(size_t bytes)
{
	uint64_t *words = (uint64_t *)buffer;

	for (size_t i = 0; i < bytes / sizeof(*words); i++)
		words[i] = random_number();
}

/* The lines of a file. */
static char **lines_of(const char *path, size_t *lines)
{
	FILE *file = fopen(path, "r");
	char **found = NULL, *line = NULL;
	size_t size = 0, space = 0;
	ssize_t length;

	*lines = 0;
	if (!file)
		fail(path);
	while ((length = getline(&line, &size, file)) > 0) {
		if (line[length - 1] == '\n')
			line[length - 1] = '\0';
		if (*lines == space) {
			space = space ? space * 2 : 4096;
			found = realloc(found, space * sizeof(*found));
			if (!found)
				fail("lines");
		}
		found[(*lines)++] = strdup(line);
	}
	free(line);
	fclose(file);
	return found;
}

static void read_whole(const char *path)
{
	int descriptor = open(path, O_RDONLY);
	ssize_t got;

	if (descriptor < 0)
		fail(path);
	while ((got = read(descriptor, buffer, CHUNK)) > 0)
		;
	if (got < 0 || close(descriptor))
		fail(path);
}

static void write_whole(const char *path, int flags, size_t bytes)
{
	int descriptor = open(path, O_WRONLY | flags, 0644);

	if (descriptor < 0 || write(descriptor, buffer, bytes) != (ssize_t)bytes || close(descriptor))
		fail(path);
}

static void do_stat(char **paths, size_t lines)
{
	struct stat found;

	for (size_t i = 0; i < lines; i++) {
		uint64_t started = now();

		if (lstat(paths[i], &found))
			fail(paths[i]);
		took(started);
	}
}

static void do_read(char **paths, size_t lines)
{
	for (size_t i = 0; i < lines; i++) {
		uint64_t started = now();

		read_whole(paths[i]);
		took(started);
	}
}

/* Opens and closes, over and over, for so long. */
static void do_latency(char **paths, size_t lines, double seconds)
{
	uint64_t end = now() + (uint64_t)(seconds * 1e9);

	for (size_t i = 0;; i = (i + 1) % lines) {
		uint64_t started = now();
		int descriptor;

		if (started > end)
			return;
		descriptor = open(paths[i], O_RDONLY);
		if (descriptor < 0)
			fail(paths[i]);
		took(started);
		close(descriptor);
	}
}

static void numbered(char *name, const char *directory, const char *prefix, long number)
{
	if (snprintf(name, 4096, "%s/%s%ld", directory, prefix, number) >= 4096) {
		errno = ENAMETOOLONG;
		fail(directory);
	}
}

/* One of the calls on numbered names in a directory. */
static void do_names(const char *operation, const char *directory, long number, size_t bytes)
{
	static char name[4096], other[4096];

	for (long i = 0; i < number; i++) {
		uint64_t started;
		int failed = 0;

		numbered(name, directory, "f", i);
		if (bytes)
			refill(bytes);
		if (!strcmp(operation, "rename"))
			numbered(other, directory, "g", i);
		if (!strcmp(operation, "unlink"))
			numbered(name, directory, "g", i);
		if (!strcmp(operation, "mkdir") || !strcmp(operation, "rmdir"))
			numbered(name, directory, "d", i);
		started = now();
		if (!strcmp(operation, "create"))
			write_whole(name, O_CREAT | O_EXCL, bytes);
		else if (!strcmp(operation, "overwrite"))
			write_whole(name, O_TRUNC, bytes);
		else if (!strcmp(operation, "rename"))
			failed = rename(name, other);
		else if (!strcmp(operation, "unlink"))
			failed = unlink(name);
		else if (!strcmp(operation, "mkdir"))
			failed = mkdir(name, 0755);
		else
			failed = rmdir(name);
		took(started);
		if (failed)
			fail(name);
	}
}

/* Writes a file of so many MiB from its start to its end, no two of them alike; one call. */
static void do_write_large(const char *path, long mebibytes)
{
	uint64_t started, *words = (uint64_t *)buffer;
	int descriptor;

	refill(CHUNK);
	started = now();
	descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (descriptor < 0)
		fail(path);
	for (long i = 0; i < mebibytes; i++) {
		for (size_t at = 0; at < CHUNK / sizeof(*words); at += 512)
			words[at] = seed + (uint64_t)i;
		if (write(descriptor, buffer, CHUNK) != CHUNK)
			fail(path);
	}
	if (close(descriptor))
		fail(path);
	took(started);
}

/* Reads or writes 4 KiB so many times at random places of a file; opening and closing are a call. */
static void do_random(const char *path, int writing, long number)
{
	uint64_t started = now();
	int descriptor = open(path, writing ? O_WRONLY : O_RDONLY);
	struct stat found;

	if (descriptor < 0 || fstat(descriptor, &found))
		fail(path);
	took(started);
	refill(4096);
	for (long i = 0; i < number; i++) {
		off_t at = (off_t)(random_number() % (uint64_t)(found.st_size / 4096)) * 4096;
		ssize_t done;

		*(uint64_t *)buffer = seed;
		started = now();
		if (writing)
			done = pwrite(descriptor, buffer, 4096, at);
		else
			done = pread(descriptor, buffer, 4096, at);
		took(started);
		if (done != 4096)
			fail(path);
	}
	started = now();
	if (close(descriptor))
		fail(path);
	took(started);
}

/* Reads the same files in several directories at once, a process each; one call for all. */
static void do_together(char **paths, size_t lines, long passes, int places, char **place)
{
	int gate[2], ready[2];
	uint64_t started;
	char byte = 0;

	if (pipe(gate) || pipe(ready))
		fail("pipe");
	for (int i = 0; i < places; i++) {
		pid_t child = fork();

		if (child < 0)
			fail("fork");
		if (child)
			continue;
		close(gate[1]);
		if (chdir(place[i]))
			fail(place[i]);
		/* The gate ends when the parent closes its side: all begin at one moment. */
		if (write(ready[1], &byte, 1) != 1 || read(gate[0], &byte, 1) != 0)
			fail("gate");
		for (long pass = 0; pass < passes; pass++)
			for (size_t line = 0; line < lines; line++)
				read_whole(paths[line]);
		_exit(0);
	}
	close(ready[1]);
	for (int i = 0; i < places; i++)
		if (read(ready[0], &byte, 1) != 1)
			fail("ready");
	started = now();
	close(gate[1]);
	for (int i = 0; i < places; i++) {
		int status;

		if (wait(&status) < 0 || status) {
			errno = ECHILD;
			fail("a reader");
		}
	}
	took(started);
}

int main(int argc, char **argv)
{
	const char *operation = argc > 1 ? argv[1] : "";
	size_t lines;
	char **paths;

	seed = now() | 1;
	if (argc == 4 && (!strcmp(operation, "stat") || !strcmp(operation, "read"))) {
		paths = lines_of(argv[2], &lines);
		for (long pass = atol(argv[3]); pass > 0; pass--)
			(*operation == 's' ? do_stat : do_read)(paths, lines);
	} else if (argc == 4 && !strcmp(operation, "latency")) {
		paths = lines_of(argv[2], &lines);
		do_latency(paths, lines, atof(argv[3]));
	} else if (argc == 4 && !strcmp(operation, "write-large")) {
		do_write_large(argv[2], atol(argv[3]));
	} else if (argc == 3 && !strcmp(operation, "read-large")) {
		uint64_t started = now();

		read_whole(argv[2]);
		took(started);
	} else if (argc == 4 && !strcmp(operation, "read-random")) {
		do_random(argv[2], 0, atol(argv[3]));
	} else if (argc == 4 && !strcmp(operation, "write-random")) {
		do_random(argv[2], 1, atol(argv[3]));
	} else if (argc > 4 && !strcmp(operation, "together")) {
		paths = lines_of(argv[2], &lines);
		do_together(paths, lines, atol(argv[3]), argc - 4, argv + 4);
	} else if (argc == 5 && (!strcmp(operation, "create") || !strcmp(operation, "overwrite") ||
				 !strcmp(operation, "rename") || !strcmp(operation, "unlink") ||
				 !strcmp(operation, "mkdir") || !strcmp(operation, "rmdir"))) {
		do_names(operation, argv[2], atol(argv[3]), (size_t)atol(argv[4]));
	} else {
		fprintf(stderr, "usage: calls OPERATION ARGUMENTS...\n");
		return 2;
	}
	report();
	return 0;
}
