/*
 * Runs the library's answers on requests made at random, or by threads: see test_native_grants.py.
 *
 * fuzz SEED COUNT: mutated requests from exact allocations, against a model of what is granted:
 * what it says is answered, byte for byte, and nothing else. What is done to a file on disk is done
 * to a twin of it too, and the two are compared.
 * threads SEED MILLISECONDS: two answer while a third grants and revokes.
 */

#define _GNU_SOURCE

#include "grants.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct news {
	uint64_t ino;
	uint64_t what;
};

int patchwork_grant(uint64_t ino, uint64_t opens, int fd, int kind, uint64_t stored);
int patchwork_knows(uint64_t number);
void patchwork_know(uint64_t number, const char *path, uint64_t device, uint64_t ino,
		    int64_t size_bytes, int64_t mtime_ns, int64_t ctime_ns);
void patchwork_show(uint64_t ino, const struct fuse_attr *attr, int atime_follows);
void patchwork_touched(uint64_t ino, uint64_t seconds, uint32_t nanoseconds);
uint64_t patchwork_revoke(uint64_t ino);
size_t patchwork_take_news(struct news *taken, size_t count);
uint64_t patchwork_granted_opens(void);
void patchwork_keep_sources(size_t count);
void patchwork_pass(uint32_t pid);

/* More than the table's first buckets, so that it grows; most requests are for the first few. */
#define INODES 4000
#define BUSY 18
#define FILES 4
/* The first inodes are files on disk, each with bytes of its own; of some no copy may be written. */
#define ON_DISK 8
/* The next ones are directories, each but the first in the one before, as "below". */
#define DIRECTORIES 12
/* The next one is a directory of which only the attributes are known. */
#define SHOWN_ONLY 13
/* And the next one a file of which no more is known than that it has no capabilities. */
#define PLAIN 14
#define NEWS_MAX 1024u
#define DATA_MAX 64u
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
static int files[FILES], on_disk[DIRECTORIES], twins[ON_DISK];

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
static void touch_stored(size_t n)
{
	char path[] = {'f', (char)('0' + n), 0};
	struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)++last_number}};

	CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
	numbers[n] = 0;
	touched[n] = last_number;
}

static void make_stored(size_t n, const char *content)
{
	char path[] = {'f', (char)('0' + n), 0};
	int stored = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	CHECK(stored >= 0);
	CHECK(write(stored, content, FILE_BYTES) == FILE_BYTES);
	close(stored);
	know(n);
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
		make_stored(n, content);
	}
	free(content);
}

static int is_written(uint64_t ino)
{
	return ino < ON_DISK && ino % 4 != 3;
}

/* A file on disk, and its twin, to start with. */
static void make_on_disk(uint64_t ino)
{
	char path[64];
	int fd = memory_file();

	CHECK(ftruncate(fd, FILE_BYTES) == 0);
	twins[ino] = memory_file();
	CHECK(ftruncate(twins[ino], FILE_BYTES) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	on_disk[ino] = open(path, (is_written(ino) ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	CHECK(on_disk[ino] >= 0);
	close(fd);
}

/* Directories, with a file in each; they are gone with the test's own directory. */
static void make_directories(void)
{
	int above = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), fd;
	size_t ino;

	for (ino = ON_DISK; ino < DIRECTORIES; ino++) {
		CHECK(mkdirat(above, "below", 0755) == 0);
		on_disk[ino] = openat(above, "below", O_PATH | O_DIRECTORY | O_CLOEXEC);
		CHECK(on_disk[ino] >= 0);
		if (ino == ON_DISK)
			close(above);
		above = on_disk[ino];
		fd = openat(above, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		CHECK(fd >= 0);
		close(fd);
	}
}

static int is_directory(uint64_t ino)
{
	return ino >= ON_DISK && ino < SHOWN_ONLY;
}

static int kind_of(uint64_t ino)
{
	return ino >= SHOWN_ONLY && ino < PLAIN ? PATCHWORK_PLAIN
	       : ino < ON_DISK ? PATCHWORK_ON_DISK
	       : ino >= DIRECTORIES && ino < SHOWN_ONLY ? PATCHWORK_SHOWN
	       : is_directory(ino) ? PATCHWORK_NAMES
				   : PATCHWORK_AT_REST;
}

static int source_of(uint64_t ino)
{
	return ino < DIRECTORIES ? on_disk[ino] : files[ino % FILES];
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
		struct fuse_flush_in flush;
		struct fuse_getattr_in getattr;
		struct fuse_setattr_in setattr;
		struct {
			struct fuse_write_in in;
			unsigned char data[DATA_MAX];
		} write;
		struct {
			struct fuse_getxattr_in in;
			char name[DATA_MAX];
		} getxattr;
		unsigned char bytes[160];
	} body;
};

static size_t make_lookup(struct request *request, uint64_t *state)
{
	static const char *names[] = {"below", "below", "file", "nothing", "nothing", ".hidden"};
	const char *name = names[drawn(state) % 6];

	strcpy((char *)request->body.bytes, name);
	return strlen(name) + (drawn(state) % 8 != 0);
}

static const char capability[] = "security.capability";

static size_t make_setattr(struct fuse_setattr_in *wanted, uint64_t *state)
{
	wanted->valid = (uint32_t)drawn(state) & 0x7ff & ~(uint32_t)(FATTR_UID | FATTR_GID);
	if (drawn(state) % 8 == 0)
		wanted->valid = (uint32_t)drawn(state) & 0x1fff;
	wanted->size = drawn(state) % FILE_BYTES;
	wanted->mode = (uint32_t)drawn(state);
	wanted->uid = getuid();
	wanted->gid = getgid();
	wanted->atime = drawn(state) % 2000000000;
	wanted->mtime = drawn(state) % 2000000000;
	wanted->atimensec = (uint32_t)(drawn(state) % 1000000000);
	wanted->mtimensec = (uint32_t)(drawn(state) % (drawn(state) % 8 ? 1000000000 : 1u << 31));
	return sizeof(*wanted);
}

static size_t make_write(struct request *request, uint64_t *state)
{
	struct fuse_write_in *what = &request->body.write.in;
	size_t i;

	what->fh = drawn(state);
	what->offset = drawn(state) % FILE_BYTES;
	what->size = (uint32_t)(drawn(state) % (DATA_MAX + 1));
	for (i = 0; i < what->size; i++)
		request->body.write.data[i] = (unsigned char)drawn(state);
	return sizeof(*what) + what->size;
}

static size_t make_getxattr(struct request *request, uint64_t *state)
{
	const char *name = drawn(state) % 4 ? capability : "user.capability";

	strcpy(request->body.getxattr.name, name);
	return sizeof(request->body.getxattr.in) + strlen(name) + (drawn(state) % 8 != 0);
}

static size_t make(struct request *request, uint64_t *state)
{
	static const uint32_t opcodes[] = {FUSE_OPEN,	 FUSE_READ,    FUSE_RELEASE, FUSE_WRITE,
					   FUSE_FLUSH,	 FUSE_GETATTR, FUSE_SETATTR, FUSE_GETXATTR,
					   FUSE_OPENDIR, FUSE_OPEN,    FUSE_READ,    FUSE_RELEASE,
					   FUSE_LOOKUP,	 FUSE_LOOKUP};
	static const uint32_t flags[] = {O_RDONLY, O_RDONLY, O_RDONLY | O_NONBLOCK,
					 O_RDONLY | O_TRUNC, O_WRONLY, O_RDWR};
	uint64_t ino = drawn_inode(state);
	uint32_t opcode = opcodes[drawn(state) % 14];
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
		request->body.release.fh = ino | (drawn(state) % 4 ? HANDLE_OF_GRANT : 0);
		break;
	case FUSE_WRITE:
		size += make_write(request, state);
		break;
	case FUSE_LOOKUP:
		size += make_lookup(request, state);
		break;
	case FUSE_FLUSH:
		size += sizeof(request->body.flush);
		break;
	case FUSE_GETATTR:
		size += sizeof(request->body.getattr);
		break;
	case FUSE_SETATTR:
		size += make_setattr(&request->body.setattr, state);
		break;
	case FUSE_GETXATTR:
		size += make_getxattr(request, state);
		break;
	default:
		size += sizeof(struct fuse_open_in);
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
	/* Of a directory: whether it is known what it shows, which is that. */
	int is_shown, atime_follows;
	struct fuse_attr shown;
} model[INODES];
static uint64_t model_opens, model_now;
static struct news model_news[NEWS_MAX];
static size_t model_news_count;
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

static void model_tell(uint64_t ino, uint64_t what)
{
	CHECK(model_news_count < NEWS_MAX);
	model_news[model_news_count++] = (struct news){.ino = ino, .what = what};
}

static void show(uint64_t ino, uint64_t *state)
{
	struct fuse_attr attr = {.ino = ino, .atime = drawn(state), .mode = S_IFDIR};
	int follows = drawn(state) % 2 != 0;

	patchwork_show(ino, &attr, follows);
	model[ino].is_shown = model[ino].is_granted &&
			      (model[ino].used || kind_of(ino) == PATCHWORK_SHOWN);
	model[ino].atime_follows = follows;
	model[ino].shown = attr;
}

static void touch(uint64_t ino, uint64_t *state)
{
	struct fuse_attr *shown = &model[ino].shown;
	uint64_t seconds = drawn(state);
	uint32_t nanoseconds = (uint32_t)drawn(state);

	patchwork_touched(ino, seconds, nanoseconds);
	shown->mtime = shown->ctime = seconds;
	shown->mtimensec = shown->ctimensec = nanoseconds;
	if (model[ino].atime_follows) {
		shown->atime = seconds;
		shown->atimensec = nanoseconds;
	}
}

static void learn(size_t count)
{
	struct news *taken = memory(count * sizeof(*taken));
	size_t left = model_news_count, known = count < left ? count : left;

	CHECK(patchwork_take_news(taken, count) == known);
	CHECK(memcmp(taken, model_news, known * sizeof(*taken)) == 0);
	model_news_count -= known;
	memmove(model_news, model_news + known, model_news_count * sizeof(*model_news));
	CHECK(patchwork_news_count == model_news_count);
	free(taken);
}

/* The number of an inode's content, if that is in a file that was found good. */
static uint64_t stored_of(uint64_t ino)
{
	return ino < PLAIN ? 0 : numbers[ino % FILES];
}

static void model_give_source(uint64_t ino)
{
	if (model[ino].used)
		return;
	model[ino].used = ++model_now;
	model_sources++;
	model_keep(model_sources_max);
}

static void change(uint64_t *state)
{
	uint64_t ino = drawn_inode(state), opens, stored;
	int has_source = drawn(state) % 2 != 0 && !(ino >= DIRECTORIES && ino < PLAIN);

	switch (drawn(state) % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		opens = drawn(state) % 4 ? 0 : drawn(state) % 3;
		stored = drawn(state) % 2 ? stored_of(ino) : 0;
		CHECK(patchwork_grant(ino, opens, has_source ? source_of(ino) : -1, kind_of(ino),
				      stored) == 0);
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
		model[ino].is_shown = 0;
		break;
	case 6:
		model_keep(drawn(state) % (drawn(state) % 4 ? 300 : 6));
		patchwork_keep_sources(model_sources_max);
		break;
	case 7:
		/* Rarely enough that there comes to be no room for more. */
		if (drawn(state) % 400 == 0)
			learn(drawn(state) % (2 * NEWS_MAX));
		break;
	case 8:
	case 9:
		if (is_directory(ino))
			show(ino, state);
		break;
	case 10:
		if (is_directory(ino))
			touch(ino, state);
		break;
	case 11:
		if (drawn(state) % 64 == 0)
			touch_stored(ino % FILES);
		else if (drawn(state) % 4 == 0)
			know(ino % FILES);
		break;
	}
}

/* Does to the twin what a request asks for; returns 0 or the errno, and compares the two. */
static int do_to_twin(const struct request *request, char *answer, size_t *length)
{
	const struct fuse_setattr_in *wanted = &request->body.setattr;
	const struct fuse_write_in *what = &request->body.write.in;
	struct fuse_write_out done = {0};
	unsigned char data[DATA_MAX];
	uint64_t ino = request->header.nodeid;
	struct stat found, twin;
	ssize_t count;

	*length = 0;
	if (request->header.opcode == FUSE_WRITE) {
		count = pwrite(twins[ino], request->body.write.data, what->size,
			       (off_t)what->offset);
		if (count < 0)
			return errno;
		CHECK(pread(on_disk[ino], data, (size_t)count, (off_t)what->offset) == count);
		CHECK(memcmp(data, request->body.write.data, (size_t)count) == 0);
		done.size = (uint32_t)count;
		*length = sizeof(done);
		memcpy(answer, &done, sizeof(done));
	} else if (wanted->valid & FATTR_SIZE && ftruncate(twins[ino], (off_t)wanted->size)) {
		return errno;
	} else if (wanted->valid & (FATTR_UID | FATTR_GID) &&
		   fchown(twins[ino], wanted->valid & FATTR_UID ? wanted->uid : (uid_t)-1,
			  wanted->valid & FATTR_GID ? wanted->gid : (gid_t)-1)) {
		return errno;
	} else if (wanted->valid & FATTR_MODE) {
		CHECK(fchmod(twins[ino], wanted->mode & 07777) == 0);
	}
	CHECK(fstat(on_disk[ino], &found) == 0 && fstat(twins[ino], &twin) == 0);
	CHECK(found.st_size == twin.st_size);
	CHECK(found.st_mode == twin.st_mode);
	CHECK(found.st_uid == twin.st_uid && found.st_gid == twin.st_gid);
	if (request->header.opcode != FUSE_SETATTR)
		return 0;
	if (wanted->valid & FATTR_MTIME && !(wanted->valid & FATTR_MTIME_NOW))
		CHECK((uint64_t)found.st_mtim.tv_sec == wanted->mtime &&
		      found.st_mtim.tv_nsec == wanted->mtimensec);
	if (wanted->valid & FATTR_ATIME && !(wanted->valid & FATTR_ATIME_NOW))
		CHECK((uint64_t)found.st_atim.tv_sec == wanted->atime &&
		      found.st_atim.tv_nsec == wanted->atimensec);
	return 0;
}

static size_t attributes(uint64_t ino, char *answer)
{
	struct fuse_attr_out shown = {.attr_valid = 86400};
	struct stat found;

	CHECK(fstat(on_disk[ino], &found) == 0);
	shown.attr = (struct fuse_attr){
		.ino = ino,
		.size = (uint64_t)found.st_size,
		.blocks = (uint64_t)found.st_blocks,
		.atime = (uint64_t)found.st_atim.tv_sec,
		.atimensec = (uint32_t)found.st_atim.tv_nsec,
		.mtime = (uint64_t)found.st_mtim.tv_sec,
		.mtimensec = (uint32_t)found.st_mtim.tv_nsec,
		.ctime = (uint64_t)found.st_ctim.tv_sec,
		.ctimensec = (uint32_t)found.st_ctim.tv_nsec,
		.mode = found.st_mode,
		.nlink = (uint32_t)found.st_nlink,
		.uid = found.st_uid,
		.gid = found.st_gid,
		.blksize = 4096,
	};
	memcpy(answer, &shown, sizeof(shown));
	return sizeof(shown);
}

/* What is to be answered to a look-up; as `expect_on_disk`. */
static int expect_entry(const struct request *request, size_t rest, char *answer, size_t *length)
{
	const char *name = (const char *)request->body.bytes;
	uint64_t ino = request->header.nodeid, below = ino + 1;
	struct fuse_entry_out entry = {.entry_valid = 86400};
	struct stat found;

	if (rest < 2 || strnlen(name, rest) != rest - 1 || name[0] == '.' || strchr(name, '/') ||
	    !model[ino].used)
		return 0;
	model[ino].used = ++model_now;
	if (strcmp(name, "below") == 0 && below < DIRECTORIES) {
		if (!model[below].is_shown || model_news_count == NEWS_MAX)
			return 0;
		model_tell(below, UINT64_MAX);
		entry.nodeid = below;
		entry.attr_valid = 86400;
		entry.attr = model[below].shown;
	} else if (fstatat(on_disk[ino], name, &found, AT_SYMLINK_NOFOLLOW) == 0 ||
		   errno != ENOENT) {
		return 0;
	}
	memcpy(answer, &entry, sizeof(entry));
	*length = sizeof(entry);
	return 1;
}

/* As `expect`, of what is answered for what is on disk only; the errno in ``error``. */
static int expect_on_disk(const struct request *request, size_t rest, char *answer, size_t *length,
			  int *error)
{
	const struct fuse_setattr_in *wanted = &request->body.setattr;
	const struct fuse_write_in *what = &request->body.write.in;
	uint64_t ino = request->header.nodeid;

	*length = 0;
	*error = 0;
	if (ino >= PLAIN || request->header.pid == PASSED)
		return 0;
	if (ino >= SHOWN_ONLY && request->header.opcode != FUSE_GETXATTR)
		return 0;
	if (kind_of(ino) == PATCHWORK_NAMES && request->header.opcode == FUSE_LOOKUP)
		return expect_entry(request, rest, answer, length);
	if (is_directory(ino)) {
		struct fuse_attr_out shown = {.attr_valid = 86400, .attr = model[ino].shown};

		*length = sizeof(shown);
		memcpy(answer, &shown, sizeof(shown));
		return request->header.opcode == FUSE_GETATTR && model[ino].is_shown &&
		       rest >= sizeof(request->body.getattr);
	}
	switch (request->header.opcode) {
	case FUSE_FLUSH:
		return rest >= sizeof(request->body.flush);
	case FUSE_GETATTR:
		if (rest < sizeof(request->body.getattr) || !model[ino].used)
			return 0;
		model[ino].used = ++model_now;
		*length = attributes(ino, answer);
		return 1;
	case FUSE_GETXATTR:
		*error = ENODATA;
		return rest == sizeof(request->body.getxattr.in) + sizeof(capability) &&
		       memcmp(request->body.getxattr.name, capability, sizeof(capability)) == 0;
	case FUSE_WRITE:
		if (rest < sizeof(*what) || rest - sizeof(*what) != what->size || !what->size ||
		    !model[ino].used || !is_written(ino))
			return 0;
		model[ino].used = ++model_now;
		*error = do_to_twin(request, answer, length);
		return 1;
	case FUSE_SETATTR:
		if (rest < sizeof(*wanted) || wanted->valid & ~0x7ffu || !model[ino].used ||
		    wanted->atimensec > 999999999 || wanted->mtimensec > 999999999 ||
		    (wanted->valid & FATTR_SIZE && !is_written(ino)) ||
		    model_news_count == NEWS_MAX)
			return 0;
		model[ino].used = ++model_now;
		*error = do_to_twin(request, answer, length);
		model_tell(ino, 0);
		if (!*error)
			*length = attributes(ino, answer);
		return 1;
	default:
		return 0;
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
	size_t rest = size - sizeof(request->header), length;
	ssize_t count = 0;
	int error, is_good;

	if (size < sizeof(request->header) || request->header.len != size)
		return 0;
	if (ino >= INODES || !model[ino].is_granted)
		return 0;
	switch (request->header.opcode) {
	case FUSE_OPEN:
		if (rest < sizeof(request->body.open) || request->header.pid == PASSED ||
		    is_directory(ino) || kind_of(ino) == PATCHWORK_PLAIN ||
		    request->body.open.flags & (O_ACCMODE | O_TRUNC))
			return 0;
		model[ino].opens++;
		model_opens++;
		count = sizeof(opened);
		memcpy(answer + sizeof(header), &opened, sizeof(opened));
		break;
	case FUSE_RELEASE:
		if (rest < sizeof(request->body.release))
			return 0;
		if (ino < ON_DISK && request->body.release.fh &&
		    request->body.release.fh < HANDLE_OF_GRANT && model_news_count < NEWS_MAX) {
			model_tell(ino, request->body.release.fh);
			break;
		}
		if (!model[ino].opens || request->body.release.fh != (ino | HANDLE_OF_GRANT))
			return 0;
		model[ino].opens--;
		model_opens--;
		break;
	case FUSE_READ:
		is_good = model[ino].stored > touched[ino % FILES];
		if (rest < sizeof(request->body.read) || is_directory(ino) ||
		    !(model[ino].used || is_good) ||
		    request->body.read.size > PATCHWORK_READ_MAX)
			return 0;
		if (model[ino].used)
			model[ino].used = ++model_now;
		count = pread(source_of(ino), answer + sizeof(header), request->body.read.size,
			      (off_t)request->body.read.offset);
		if (count < 0)
			return 0;
		if (count == (ssize_t)request->body.read.size)
			model_give_source(ino);
		break;
	default:
		if (!expect_on_disk(request, rest, answer + sizeof(header), &length, &error))
			return 0;
		header.error = -error;
		count = error ? 0 : (ssize_t)length;
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
	unsigned long answered[FUSE_OPENDIR + 1] = {0}, done;

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
	      answered[FUSE_RELEASE] > count / 100 && answered[FUSE_WRITE] > count / 1000 &&
	      answered[FUSE_FLUSH] > count / 1000 && answered[FUSE_GETATTR] > count / 1000 &&
	      answered[FUSE_SETATTR] > count / 1000 && answered[FUSE_GETXATTR] > count / 1000 &&
	      answered[FUSE_LOOKUP] > count / 2000);
	learn(NEWS_MAX);
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
	long opened, read, changed, released, found;
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
		if (request.header.opcode == FUSE_OPEN) {
			self->opened++;
		} else if (request.header.opcode == FUSE_RELEASE) {
			if (request.body.release.fh & HANDLE_OF_GRANT)
				self->opened--;
			else
				self->released++;
		} else if (request.header.opcode == FUSE_SETATTR) {
			self->changed++;
		} else if (request.header.opcode == FUSE_LOOKUP) {
			self->found += strcmp((char *)request.body.bytes, "below") == 0 &&
				       request.header.nodeid + 1 < DIRECTORIES;
		} else if (request.header.opcode == FUSE_READ && request.header.nodeid >= ON_DISK) {
			CHECK(header.error == 0);
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
	long given = 0, taken_back = 0, changed = 0, released = 0, found = 0;
	struct news learned[64];
	size_t i, n;

	for (i = 0; i < 2; i++)
		CHECK(pthread_create(&answering[i].thread, NULL, answer, &answering[i]) == 0);
	while (now_ms() < end) {
		uint64_t ino = drawn_inode(&state), opens = drawn(&state) % 2;

		if (drawn(&state) % 3) {
			CHECK(patchwork_grant(ino, opens,
					      drawn(&state) % 2 ? source_of(ino) : -1,
					      kind_of(ino),
					      drawn(&state) % 2 ? stored_of(ino) : 0) == 0);
			if (is_directory(ino))
				show(ino, &state);
			given += (long)opens;
		} else {
			taken_back += (long)patchwork_revoke(ino);
		}
		patchwork_keep_sources(drawn(&state) % 32);
		if (drawn(&state) % 256 == 0)
			know(ino % FILES);
		for (n = patchwork_take_news(learned, 64); n; n--)
			*(learned[n - 1].what == UINT64_MAX ? &found
			  : learned[n - 1].what		    ? &released
							    : &changed) += 1;
	}
	__atomic_store_n(&is_over, 1, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(answering[i].thread, NULL);
	while ((n = patchwork_take_news(learned, 64)))
		while (n--)
			*(learned[n].what == UINT64_MAX ? &found
			  : learned[n].what		? &released
							: &changed) += 1;
	CHECK(found > 0 && found == answering[0].found + answering[1].found);
	CHECK(changed > 0 && changed == answering[0].changed + answering[1].changed);
	CHECK(released > 0 && released == answering[0].released + answering[1].released);
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
	for (ino = 0; ino < ON_DISK; ino++)
		make_on_disk(ino);
	make_directories();
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
