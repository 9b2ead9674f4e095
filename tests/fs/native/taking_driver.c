/*
 * Threads that take requests from what stands for the kernel, and share the waiting: reading.c and
 * lead.c.
 *
 *   taking_driver takes SEED COUNT   COUNT requests in bursts: each is answered once
 *   taking_driver lead               the lead is given up, and taken away
 *
 * Exits with 0, or says what is wrong. A message on the socket is a request, as on /dev/fuse.
 */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 35

#include "grants.h"
#include "lead.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS 3
#define FILES 4
#define FILE_BYTES 5000
#define SPACES 16

int patchwork_take(int fuse_fd, int count);
void patchwork_take_nothing(void);
size_t patchwork_waiting(void);
int patchwork_await(void);
int patchwork_grant(uint64_t ino, uint64_t opens, int fd, int kind, uint64_t stored);
uint64_t patchwork_revoke(uint64_t ino);

static int kernel, device, filled;
static long total;
static unsigned char *answered;
static _Atomic long answers, left;

static void check(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "taking_driver: %s (%s)\n", what, strerror(errno));
	_exit(1);
}

static void sleep_ns(long nanoseconds)
{
	const struct timespec pause = {.tv_nsec = nanoseconds};

	nanosleep(&pause, NULL);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Requests: OPEN and READ of a granted file, and one that nobody but Python knows. */
static size_t make_request(void *mem, uint64_t unique, uint64_t *state)
{
	struct fuse_in_header *header = mem;
	void *body = header + 1;
	size_t length = sizeof(*header);

	memset(mem, 0, 256);
	header->unique = unique;
	header->nodeid = 2 + next_random(state) % FILES;
	switch (next_random(state) % 3) {
	case 0:
		header->opcode = FUSE_OPEN;
		((struct fuse_open_in *)body)->flags = O_RDONLY;
		length += sizeof(struct fuse_open_in);
		break;
	case 1:
		header->opcode = FUSE_READ;
		((struct fuse_read_in *)body)->size = 1 + next_random(state) % (200 << 10);
		length += sizeof(struct fuse_read_in);
		break;
	default:
		header->opcode = FUSE_STATFS;
	}
	header->len = (uint32_t)length;
	return length;
}

static void *send_all(void *argument)
{
	uint64_t state = *(uint64_t *)argument | 1;
	char mem[256];

	for (long sent = 0; sent < total; sent++) {
		size_t length = make_request(mem, (uint64_t)sent + 1, &state);

		while (sent - answers >= SPACES)
			sleep_ns(1000);
		check(send(kernel, mem, length, 0) == (ssize_t)length, "a request is not sent");
		/* Bursts, and pauses around those for which it pays to look again. */
		if (next_random(&state) % 16 == 0)
			sleep_ns((long)(next_random(&state) % 150000));
	}
	return NULL;
}

static void *receive_all(void *argument)
{
	static char mem[1 << 21];

	(void)argument;
	while (answers < total) {
		const struct fuse_out_header *header = (void *)mem;
		ssize_t length = recv(kernel, mem, sizeof(mem), 0);

		check(length >= (ssize_t)sizeof(*header) && header->len == length, "a cut answer");
		check(header->unique >= 1 && header->unique <= (uint64_t)total, "a stray answer");
		check(!answered[header->unique]++, "a request was answered twice");
		answers++;
	}
	return NULL;
}

/* What Python does. */
static void *answer_left(void *argument)
{
	struct fuse_buf buf = {0};

	(void)argument;
	while (answers < total) {
		struct pollfd ready = {.fd = filled, .events = POLLIN};
		struct fuse_out_header header = {.len = sizeof(header), .error = -ENOSYS};

		if (!patchwork_await() && poll(&ready, 1, 20) == 0)
			continue;
		while (patchwork_waiting()) {
			check(fuse_session_receive_buf(NULL, &buf) > 0, "nothing is given out");
			header.unique = ((struct fuse_in_header *)buf.mem)->unique;
			left++;
			check(send(device, &header, sizeof(header), 0) > 0, "no answer is sent");
		}
	}
	free(buf.mem);
	return NULL;
}

static void takes(uint64_t seed, long count)
{
	void *(*const roles[])(void *) = {send_all, receive_all, answer_left};
	pthread_t threads[3];
	int pair[2], file;
	char path[] = "taken-XXXXXX", bytes[FILE_BYTES] = {1};

	total = count;
	answered = calloc((size_t)total + 1, 1);
	file = mkstemp(path);
	check(file >= 0 && write(file, bytes, sizeof(bytes)) == sizeof(bytes), "no file");
	check(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0, "no sockets");
	kernel = pair[0];
	device = pair[1];
	for (uint64_t ino = 2; ino < 2 + FILES; ino++)
		check(patchwork_grant(ino, 0, file, PATCHWORK_AT_REST, 0) == 0, "not granted");
	filled = patchwork_take(device, THREADS);
	check(filled >= 0, "no threads");
	for (int i = 0; i < 3; i++)
		check(pthread_create(&threads[i], NULL, roles[i], &seed) == 0, "no thread");
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	patchwork_take_nothing();
	check(patchwork_waiting() == 0, "something is left");
	check(left > 0 && left < total, "all were answered by one side");
	for (uint64_t ino = 2; ino < 2 + FILES; ino++)
		patchwork_revoke(ino);
	free(answered);
	close(file);
}

/* The second thread finds nothing while the first one is the lead. */
struct other {
	pthread_t thread;
	_Atomic int is_back;
};

static char one, two;
#define ONE ((struct patchwork_taker *)(void *)&one)
#define TWO ((struct patchwork_taker *)(void *)&two)

static void *look(void *argument)
{
	struct other *other = argument;

	patchwork_looks_again(TWO);
	other->is_back = 1;
	return NULL;
}

static void begin_to_look(struct other *other)
{
	other->is_back = 0;
	check(pthread_create(&other->thread, NULL, look, other) == 0, "no thread");
}

/* Requests that come at once make the thread the lead. */
static void become_lead(void)
{
	for (int i = 0; i < 1000; i++) {
		patchwork_found(ONE);
		patchwork_answered(ONE);
		if (patchwork_looks_again(ONE))
			return;
	}
	check(0, "nobody leads");
}

static void leads(void)
{
	struct other other;
	uint64_t began;

	patchwork_keep_threads(1);
	become_lead();
	began = patchwork_now();
	while (patchwork_looks_again(ONE))
		check(patchwork_now() - began < 1000000000, "the lead never sleeps");

	become_lead();
	patchwork_found(ONE);
	begin_to_look(&other);
	patchwork_may_block();
	/* Comes back although the first one does not look. */
	pthread_join(other.thread, NULL);
	patchwork_answered(ONE);

	become_lead();
	patchwork_found(ONE);
	begin_to_look(&other);
	/* Nor does it here, and it does not say so. */
	pthread_join(other.thread, NULL);
	patchwork_answered(ONE);
	/* The second one leads now, and does not look; so this comes back, too. */
	check(patchwork_looks_again(ONE), "the lead was not taken");
	while (patchwork_looks_again(ONE))
		;

	become_lead();
	for (int i = 0; i < 20; i++) {
		/* As long as it looks, the other one is kept. */
		if (i == 0)
			begin_to_look(&other);
		patchwork_found(ONE);
		patchwork_answered(ONE);
		patchwork_looks_again(ONE);
		sleep_ns(10000);
	}
	patchwork_keep_threads(0);
	pthread_join(other.thread, NULL);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "takes"))
		takes(strtoull(argv[2], NULL, 10), atol(argv[3]));
	else if (argc == 2 && !strcmp(argv[1], "lead"))
		leads();
	else
		return 2;
	return 0;
}
