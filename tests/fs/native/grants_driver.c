/*
 * Runs the library's answers on requests made at random, or by threads: see test_native_grants.py.
 *
 * fuzz SEED COUNT: mutated requests from exact allocations, against a model of what is granted.
 * threads SEED MILLISECONDS: two answer while a third grants and revokes.
 */

#define _GNU_SOURCE

#include "grants.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int patchwork_grant(uint64_t ino, uint64_t opens, int fd);
uint64_t patchwork_revoke(uint64_t ino);
uint64_t patchwork_granted_opens(void);
void patchwork_keep_sources(size_t count);
void patchwork_pass(uint32_t pid);

#define INODES 16
#define HANDLE_OF_GRANT (UINT64_C(1) << 63)
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static char content[5000];
static char path[] = "/tmp/grants-XXXXXX";

static uint64_t drawn(uint64_t *state)
{
	/* SplitMix64, by Sebastiano Vigna: state and result of 64 bits. */
	uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static int new_source(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

struct request {
	struct fuse_in_header header;
	union {
		struct fuse_open_in open;
		struct fuse_read_in read;
		struct fuse_release_in release;
		unsigned char bytes[64];
	} body;
};

static size_t make(struct request *request, uint64_t *state)
{
	uint64_t ino = drawn(state) % (INODES + 4);
	static const uint32_t opcodes[] = {FUSE_OPEN, FUSE_READ, FUSE_RELEASE, FUSE_WRITE};
	uint32_t opcode = opcodes[drawn(state) % 4];
	size_t size = sizeof(request->header);

	memset(request, 0, sizeof(*request));
	switch (opcode) {
	case FUSE_OPEN:
		size += sizeof(request->body.open);
		request->body.open.flags = drawn(state) % 4 ? O_RDONLY : O_RDWR;
		break;
	case FUSE_READ:
		size += sizeof(request->body.read);
		request->body.read.fh = ino | HANDLE_OF_GRANT;
		request->body.read.offset = drawn(state) % sizeof(content);
		request->body.read.size = (uint32_t)(drawn(state) % 8192);
		break;
	case FUSE_RELEASE:
		size += sizeof(request->body.release);
		request->body.release.fh = ino | (drawn(state) % 8 ? HANDLE_OF_GRANT : 0);
		break;
	default:
		size += 40;
	}
	request->header = (struct fuse_in_header){
		.len = (uint32_t)size,
		.opcode = opcode,
		.unique = drawn(state),
		.nodeid = ino,
		.pid = (uint32_t)(drawn(state) % 3),
	};
	return size;
}

static size_t mutate(struct request *request, size_t size, uint64_t *state)
{
	unsigned char *bytes = (unsigned char *)request;
	uint64_t extreme = drawn(state) % 2 ? UINT64_MAX : drawn(state);

	switch (drawn(state) % 8) {
	case 0:
		return drawn(state) % (sizeof(*request) + 1);
	case 1:
		size = drawn(state) % (sizeof(*request) + 1);
		request->header.len = (uint32_t)size;
		return size;
	case 2:
		bytes[drawn(state) % sizeof(*request)] = (unsigned char)drawn(state);
		return size;
	case 3:
		request->body.read.offset = extreme;
		return size;
	case 4:
		request->body.read.size = (uint32_t)extreme;
		return size;
	case 5:
		request->body.read.fh = extreme;
		return size;
	default:
		return size;
	}
}

static void fuzz(uint64_t state, unsigned long count)
{
	uint64_t opens[INODES + 4] = {0}, total = 0;
	int granted[INODES + 4] = {0}, ends[2], answered;
	char *room = malloc(PATCHWORK_READ_MAX), *reply = malloc(PATCHWORK_READ_MAX + 64);
	struct fuse_out_header header;

	CHECK(room && reply);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends) == 0);
	patchwork_pass(2);
	while (count--) {
		struct request request;
		size_t size = mutate(&request, make(&request, &state), &state);
		unsigned char *exact = malloc(size ? size : 1);
		uint64_t ino = drawn(&state) % INODES;
		ssize_t length;

		switch (drawn(&state) % 6) {
		case 0:
			CHECK(patchwork_grant(ino, 0, drawn(&state) % 2 ? new_source() : -1) == 0);
			granted[ino] = 1;
			break;
		case 1:
			CHECK(patchwork_revoke(ino) == opens[ino]);
			total -= opens[ino];
			opens[ino] = 0;
			granted[ino] = 0;
			break;
		case 2:
			patchwork_keep_sources(drawn(&state) % 6);
			break;
		}
		CHECK(exact);
		memcpy(exact, &request, size);
		answered = patchwork_answer(ends[0], exact, size, room);
		length = recv(ends[1], reply, PATCHWORK_READ_MAX + 64, 0);
		free(exact);
		CHECK(answered == (length > 0));
		if (!answered) {
			CHECK(length < 0 && errno == EAGAIN);
			continue;
		}
		CHECK((size_t)length >= sizeof(header));
		memcpy(&header, reply, sizeof(header));
		CHECK(header.len == (size_t)length && header.error == 0);
		CHECK(header.unique == request.header.unique);
		CHECK(request.header.nodeid < INODES && granted[request.header.nodeid]);
		switch (request.header.opcode) {
		case FUSE_OPEN:
			CHECK(request.header.pid != 2);
			CHECK((request.body.open.flags & O_ACCMODE) == O_RDONLY);
			opens[request.header.nodeid]++;
			total++;
			break;
		case FUSE_RELEASE:
			CHECK(opens[request.header.nodeid] > 0);
			opens[request.header.nodeid]--;
			total--;
			break;
		case FUSE_READ:
			CHECK((size_t)length - sizeof(header) <= request.body.read.size);
			if ((size_t)length > sizeof(header))
				CHECK(memcmp(reply + sizeof(header),
					     content + request.body.read.offset,
					     (size_t)length - sizeof(header)) == 0);
			break;
		default:
			CHECK(0);
		}
		CHECK(patchwork_granted_opens() == total);
	}
	free(room);
	free(reply);
	close(ends[0]);
	close(ends[1]);
}

static int is_over;

struct answering {
	pthread_t thread;
	uint64_t state;
	long opened;
};

static void *answer(void *argument)
{
	struct answering *self = argument;
	char *room = malloc(PATCHWORK_READ_MAX);
	int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);

	CHECK(room && sink >= 0);
	while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
		struct request request;
		size_t size = make(&request, &self->state);

		if (!patchwork_answer(sink, &request, size, room))
			continue;
		if (request.header.opcode == FUSE_OPEN)
			self->opened++;
		else if (request.header.opcode == FUSE_RELEASE)
			self->opened--;
	}
	close(sink);
	free(room);
	return NULL;
}

static void work(uint64_t state, long milliseconds)
{
	struct answering answering[2] = {{.state = state + 1}, {.state = state + 2}};
	struct timespec now, end;
	long taken_back = 0;
	size_t i;

	for (i = 0; i < 2; i++)
		CHECK(pthread_create(&answering[i].thread, NULL, answer, &answering[i]) == 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += milliseconds / 1000;
	do {
		uint64_t ino = drawn(&state) % INODES;

		if (drawn(&state) % 3)
			CHECK(patchwork_grant(ino, 0, drawn(&state) % 2 ? new_source() : -1) == 0);
		else
			taken_back += (long)patchwork_revoke(ino);
		patchwork_keep_sources(drawn(&state) % 8);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < end.tv_sec);
	__atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(answering[i].thread, NULL);
	CHECK((long)patchwork_granted_opens() + taken_back ==
	      answering[0].opened + answering[1].opened);
}

int main(int argc, char **argv)
{
	int before, after, fd;
	uint64_t ino;
	size_t i;

	CHECK(argc == 4);
	for (i = 0; i < sizeof(content); i++)
		content[i] = (char)(i * 7);
	fd = mkstemp(path);
	CHECK(fd >= 0 && write(fd, content, sizeof(content)) == (ssize_t)sizeof(content));
	close(fd);
	before = new_source();
	if (strcmp(argv[1], "fuzz") == 0)
		fuzz(strtoull(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	else
		work(strtoull(argv[2], NULL, 10), strtol(argv[3], NULL, 10));
	for (ino = 0; ino < INODES; ino++)
		patchwork_revoke(ino);
	CHECK(patchwork_granted_opens() == 0);
	/* The lowest number that is free tells whether a descriptor was left open. */
	after = new_source();
	CHECK(after == before + 1);
	unlink(path);
	return 0;
}
