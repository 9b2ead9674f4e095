/*
 * Runs the library's answers on requests made at random, or by threads: see test_native_grants.py.
 *
 * fuzz SEED COUNT: mutated requests from exact allocations, against a model of what is granted:
 * what it says is answered, byte for byte, and nothing else.
 * threads SEED MILLISECONDS: two answer while a third grants and revokes.
 */

#define _GNU_SOURCE

#include "grants.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int patchwork_grant(uint64_t ino, uint64_t opens, int fd, uint64_t stored);
int patchwork_knows(uint64_t number);
void patchwork_know(uint64_t number, const char *path, uint64_t device, uint64_t ino,
		    int64_t size_bytes, int64_t mtime_ns, int64_t ctime_ns);
uint64_t patchwork_revoke(uint64_t ino);
uint64_t patchwork_granted_opens(void);
void patchwork_keep_sources(size_t count);
void patchwork_pass(uint32_t pid);

/* More than the table's first buckets, so that it grows; most requests are for the first few. */
#define INODES 4000
#define BUSY 16
#define FILES 4
#define FILE_BYTES (PATCHWORK_READ_MAX + 5000)
#define REPLY_MAX (sizeof(struct fuse_out_header) + PATCHWORK_READ_MAX)
/* A longer reply does not fit into a socket. */
#define LONG_READ 65536u
#define PASSED 2u
#define HANDLE_OF_GRANT (UINT64_C(1) << 63)
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* Neighbouring inodes have different bytes, which are also in files of the working directory. */
static int files[FILES];
/* The number by which each file is known as good, 0 for none; those up to ``touched`` are no more. */
static uint64_t numbers[FILES], touched[FILES], last_number;

static uint64_t drawn(uint64_t *state)
{
	/* SplitMix64, by Sebastiano Vigna: state and result of 64 bits. */
	uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static uint64_t drawn_inode(uint64_t *state)
{
	return drawn(state) % (drawn(state) % 8 ? BUSY : INODES);
}

static void *memory(size_t size)
{
	void *mem = malloc(size ? size : 1);

	CHECK(mem);
	return mem;
}

static int memory_file(void)
{
	int fd = memfd_create("grants", MFD_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

static int64_t nanoseconds(struct timespec time)
{
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void know(size_t n)
{
	char path[] = {'f', (char)('0' + n), 0};
	struct stat found;

	CHECK(stat(path, &found) == 0);
	numbers[n] = ++last_number;
	CHECK(!patchwork_knows(numbers[n]));
	patchwork_know(numbers[n], path, found.st_dev, found.st_ino, found.st_size,
		       nanoseconds(found.st_mtim), nanoseconds(found.st_ctim));
	CHECK(patchwork_knows(numbers[n]));
}

/* The file gets other times, and is not what it was any more. */
static void touch(size_t n)
{
	char path[] = {'f', (char)('0' + n), 0};
	struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)++last_number}};

	CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
	numbers[n] = 0;
	touched[n] = last_number;
}

static void make_files(void)
{
	char *content = memory(FILE_BYTES);
	size_t i, n;

	for (n = 0; n < FILES; n++) {
		for (i = 0; i < FILE_BYTES; i++)
			content[i] = (char)(i * 7 + i / 256 + n * 50);
		files[n] = memory_file();
		CHECK(pwrite(files[n], content, FILE_BYTES, 0) == FILE_BYTES);
		{
			char path[] = {'f', (char)('0' + n), 0};
			int stored = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

			CHECK(stored >= 0);
			CHECK(write(stored, content, FILE_BYTES) == FILE_BYTES);
			close(stored);
		}
		know(n);
	}
	free(content);
}

static int new_source(uint64_t ino)
{
	int fd = fcntl(files[ino % FILES], F_DUPFD_CLOEXEC, 0);

	CHECK(fd >= 0);
	return fd;
}

static size_t count_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	CHECK(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
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
	static const uint32_t opcodes[] = {FUSE_OPEN, FUSE_READ, FUSE_RELEASE, FUSE_WRITE};
	static const uint32_t flags[] = {O_RDONLY, O_RDONLY, O_RDONLY | O_NONBLOCK,
					 O_RDONLY | O_TRUNC, O_WRONLY, O_RDWR};
	uint64_t ino = drawn_inode(state);
	uint32_t opcode = opcodes[drawn(state) % 4];
	size_t size = sizeof(request->header);

	memset(request, 0, sizeof(*request));
	switch (opcode) {
	case FUSE_OPEN:
		size += sizeof(request->body.open);
		request->body.open.flags = flags[drawn(state) % 6];
		break;
	case FUSE_READ:
		size += sizeof(request->body.read);
		request->body.read.fh = ino | HANDLE_OF_GRANT;
		request->body.read.offset = drawn(state) % FILE_BYTES;
		request->body.read.size = (uint32_t)(drawn(state) % 8192);
		break;
	case FUSE_RELEASE:
		size += sizeof(request->body.release);
		request->body.release.fh = ino | (drawn(state) % 8 ? HANDLE_OF_GRANT : 0);
		break;
	default:
		size += sizeof(struct fuse_write_in);
	}
	request->header = (struct fuse_in_header){
		.len = (uint32_t)size,
		.opcode = opcode,
		.unique = drawn(state),
		.nodeid = ino,
		.pid = (uint32_t)(drawn(state) % 4),
	};
	return size;
}

static size_t mutate(struct request *request, size_t size, uint64_t *state)
{
	unsigned char *bytes = (unsigned char *)request;
	uint64_t extremes[] = {UINT64_MAX, INT64_MAX, HANDLE_OF_GRANT, drawn(state)};
	uint64_t extreme = extremes[drawn(state) % 4];
	size_t i;

	switch (drawn(state) % 16) {
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
		for (i = 0; i < sizeof(*request); i++)
			bytes[i] = (unsigned char)drawn(state);
		return size;
	case 4:
		request->header.len = (uint32_t)extreme;
		return size;
	case 5:
		request->header.opcode = (uint32_t)drawn(state) % 64;
		return size;
	case 6:
		request->header.nodeid = extreme;
		return size;
	case 7:
		request->body.read.fh = extreme;
		return size;
	case 8:
		request->body.read.offset = extreme;
		return size;
	case 9:
		request->body.read.size = (uint32_t)extreme;
		return size;
	case 10:
		request->body.read.offset = 0;
		request->body.read.size = PATCHWORK_READ_MAX + (uint32_t)(drawn(state) % 3) - 1;
		return size;
	default:
		return size;
	}
}

/* What the library is to know. */
static struct {
	int is_granted;
	uint64_t opens;
	/* The number of its content; 0 where it is not known. */
	uint64_t stored;
	/* When its source was used last; 0 where there is none. */
	uint64_t used;
} model[INODES];
static uint64_t model_opens, model_now;
static size_t model_sources, model_sources_max = 256;

static void model_drop_source(uint64_t ino)
{
	if (model[ino].used)
		model_sources--;
	model[ino].used = 0;
}

static void model_keep(size_t count)
{
	size_t ino, oldest;

	model_sources_max = count;
	while (model_sources > count) {
		oldest = INODES;
		for (ino = 0; ino < INODES; ino++)
			if (model[ino].used &&
			    (oldest == INODES || model[ino].used < model[oldest].used))
				oldest = ino;
		model_drop_source(oldest);
	}
}

static void model_give_source(uint64_t ino)
{
	model_drop_source(ino);
	model[ino].used = ++model_now;
	model_sources++;
	model_keep(model_sources_max);
}

static void change(uint64_t *state)
{
	uint64_t ino = drawn_inode(state), opens, stored;
	int has_source = drawn(state) % 2 != 0;

	switch (drawn(state) % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		opens = drawn(state) % 4 ? 0 : drawn(state) % 3;
		stored = drawn(state) % 2 ? numbers[ino % FILES] : 0;
		CHECK(patchwork_grant(ino, opens, has_source ? new_source(ino) : -1, stored) == 0);
		model[ino].is_granted = 1;
		model[ino].opens += opens;
		model_opens += opens;
		if (stored)
			model[ino].stored = stored;
		if (has_source)
			model_give_source(ino);
		break;
	case 4:
	case 5:
		CHECK(patchwork_revoke(ino) == model[ino].opens);
		model_opens -= model[ino].opens;
		model_drop_source(ino);
		model[ino].opens = 0;
		model[ino].stored = 0;
		model[ino].is_granted = 0;
		break;
	case 7:
		if (drawn(state) % 64 == 0)
			touch(ino % FILES);
		else if (drawn(state) % 4 == 0)
			know(ino % FILES);
		break;
	case 6:
		model_keep(drawn(state) % (drawn(state) % 4 ? 300 : 6));
		patchwork_keep_sources(model_sources_max);
		break;
	}
}

/* Returns how long the answer is that a request of ``size`` bytes is to have, or 0 for none. */
static size_t expect(const struct request *request, size_t size, char *answer)
{
	struct fuse_out_header header = {.unique = request->header.unique};
	struct fuse_open_out opened = {
		.fh = request->header.nodeid | HANDLE_OF_GRANT,
		.open_flags = FOPEN_KEEP_CACHE | FOPEN_NOFLUSH,
	};
	uint64_t ino = request->header.nodeid;
	size_t rest = size - sizeof(request->header);
	ssize_t count = 0;
	int is_good;

	if (size < sizeof(request->header) || request->header.len != size)
		return 0;
	if (ino >= INODES || !model[ino].is_granted)
		return 0;
	switch (request->header.opcode) {
	case FUSE_OPEN:
		if (rest < sizeof(request->body.open) || request->header.pid == PASSED ||
		    request->body.open.flags & (O_ACCMODE | O_TRUNC))
			return 0;
		model[ino].opens++;
		model_opens++;
		count = sizeof(opened);
		memcpy(answer + sizeof(header), &opened, sizeof(opened));
		break;
	case FUSE_RELEASE:
		if (rest < sizeof(request->body.release) || !model[ino].opens ||
		    request->body.release.fh != (ino | HANDLE_OF_GRANT))
			return 0;
		model[ino].opens--;
		model_opens--;
		break;
	case FUSE_READ:
		is_good = model[ino].stored > touched[ino % FILES];
		if (rest < sizeof(request->body.read) || !(model[ino].used || is_good) ||
		    request->body.read.size > PATCHWORK_READ_MAX)
			return 0;
		if (model[ino].used)
			model[ino].used = ++model_now;
		count = pread(files[ino % FILES], answer + sizeof(header), request->body.read.size,
			      (off_t)request->body.read.offset);
		if (count < 0)
			return 0;
		if (!model[ino].used && count == (ssize_t)request->body.read.size)
			model_give_source(ino);
		break;
	default:
		return 0;
	}
	header.len = (uint32_t)(sizeof(header) + (size_t)count);
	memcpy(answer, &header, sizeof(header));
	return header.len;
}

/* Takes what was written, by one call, to the socket or to the file; returns its length or 0. */
static size_t received(int socket, int file, char *reply)
{
	ssize_t length = recv(socket, reply, REPLY_MAX, 0);

	if (length >= 0)
		return (size_t)length;
	CHECK(errno == EAGAIN);
	length = lseek(file, 0, SEEK_CUR);
	CHECK(pread(file, reply, (size_t)length, 0) == length);
	CHECK(lseek(file, 0, SEEK_SET) == 0);
	return (size_t)length;
}

static void fuzz(uint64_t state, unsigned long count)
{
	/* The room is exact too: no answer may be read into what is behind it. */
	char *room = memory(PATCHWORK_READ_MAX), *reply = memory(REPLY_MAX);
	char *answer = memory(REPLY_MAX);
	int ends[2], file = memory_file();
	unsigned long answered[FUSE_RELEASE + 1] = {0}, done;

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	patchwork_pass(PASSED);
	for (done = 0; done < count; done++) {
		struct request request;
		size_t size = mutate(&request, make(&request, &state), &state), length;
		unsigned char *exact = memory(size);
		int is_long = request.body.read.size > LONG_READ, is_answered;

		change(&state);
		memcpy(exact, &request, size);
		is_answered = patchwork_answer(is_long ? file : ends[0], exact, size, room);
		free(exact);
		length = expect(&request, size, answer);
		CHECK(is_answered == (length > 0));
		CHECK(received(ends[1], file, reply) == length);
		CHECK(memcmp(reply, answer, length) == 0);
		CHECK(patchwork_granted_opens() == model_opens);
		if (is_answered)
			answered[request.header.opcode]++;
	}
	CHECK(answered[FUSE_OPEN] > count / 100 && answered[FUSE_READ] > count / 100 &&
	      answered[FUSE_RELEASE] > count / 100);
	free(room);
	free(reply);
	free(answer);
	close(ends[0]);
	close(ends[1]);
	close(file);
}

static int is_over;

struct answering {
	pthread_t thread;
	uint64_t state;
	long opened, read;
};

static void *answer(void *argument)
{
	struct answering *self = argument;
	char *room = memory(PATCHWORK_READ_MAX), *reply = memory(REPLY_MAX);
	char *right = memory(REPLY_MAX);
	int sink = memory_file();

	while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
		struct request request;
		size_t size = make(&request, &self->state), length;
		struct fuse_out_header header;
		ssize_t count;

		if (!patchwork_answer(sink, &request, size, room))
			continue;
		length = (size_t)lseek(sink, 0, SEEK_CUR);
		CHECK(length >= sizeof(header));
		CHECK(pread(sink, reply, length, 0) == (ssize_t)length);
		CHECK(lseek(sink, 0, SEEK_SET) == 0);
		memcpy(&header, reply, sizeof(header));
		CHECK(header.len == length && header.unique == request.header.unique);
		CHECK(header.error == 0);
		if (request.header.opcode == FUSE_OPEN) {
			self->opened++;
		} else if (request.header.opcode == FUSE_RELEASE) {
			self->opened--;
		} else {
			/* Not from a descriptor that was closed and is another file's now. */
			count = pread(files[request.header.nodeid % FILES], right,
				      request.body.read.size, (off_t)request.body.read.offset);
			CHECK(count >= 0 && length == sizeof(header) + (size_t)count);
			CHECK(memcmp(reply + sizeof(header), right, (size_t)count) == 0);
			self->read++;
		}
	}
	close(sink);
	free(room);
	free(reply);
	free(right);
	return NULL;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void work(uint64_t state, long milliseconds)
{
	struct answering answering[2] = {{.state = state + 1}, {.state = state + 2}};
	int64_t end = now_ms() + milliseconds;
	long given = 0, taken_back = 0;
	size_t i;

	for (i = 0; i < 2; i++)
		CHECK(pthread_create(&answering[i].thread, NULL, answer, &answering[i]) == 0);
	while (now_ms() < end) {
		uint64_t ino = drawn_inode(&state), opens = drawn(&state) % 2;

		if (drawn(&state) % 3) {
			CHECK(patchwork_grant(ino, opens,
					      drawn(&state) % 2 ? new_source(ino) : -1,
					      drawn(&state) % 2 ? numbers[ino % FILES] : 0) == 0);
			given += (long)opens;
		} else {
			taken_back += (long)patchwork_revoke(ino);
		}
		patchwork_keep_sources(drawn(&state) % 32);
		if (drawn(&state) % 256 == 0)
			know(ino % FILES);
	}
	__atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(answering[i].thread, NULL);
	CHECK(answering[0].read > 0 && answering[1].read > 0);
	CHECK((long)patchwork_granted_opens() + taken_back ==
	      given + answering[0].opened + answering[1].opened);
}

int main(int argc, char **argv)
{
	size_t descriptors;
	uint64_t ino;

	CHECK(argc == 4);
	make_files();
	descriptors = count_descriptors();
	if (strcmp(argv[1], "fuzz") == 0)
		fuzz(strtoull(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	else
		work(strtoull(argv[2], NULL, 10), strtol(argv[3], NULL, 10));
	for (ino = 0; ino < INODES; ino++)
		patchwork_revoke(ino);
	CHECK(patchwork_granted_opens() == 0);
	CHECK(count_descriptors() == descriptors);
	return 0;
}
