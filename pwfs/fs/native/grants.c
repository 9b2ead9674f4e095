/*
 * Opening for reading, and reading, of files whose bytes are at rest.
 *
 * The daemon grants an inode when opening it for reading needs no decision of its own, and revokes
 * the grant before anything about the file's content changes. While it stands, OPEN and RELEASE are
 * answered here, and READ too where a descriptor of the bytes was given along, or the number of a
 * content that was found good (stored.c). The handle of such an
 * open file is the inode's number with the highest bit set, so that the daemon can go on with it
 * when the grant is gone: revoking tells how many there are.
 *
 * The kernel sends no RELEASE before the last reference to an open file is gone, and no FORGET of
 * an inode before that; but two threads may take the two in either order.
 */

#define _GNU_SOURCE

#include "grants.h"
#include "stored.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

#define HANDLE_OF_GRANT (UINT64_C(1) << 63)
#define FIRST_BUCKETS 1024u

/* A descriptor that threads may be reading from. */
struct source {
	int fd;
	unsigned users;
};

struct grant {
	uint64_t ino;
	uint64_t opens;
	/* The number of the content, 0 where it is not known. */
	uint64_t stored;
	struct source *source;
	struct grant *next;
	/* The grants with a source, the one used last at the end. */
	struct grant *older, *newer;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct grant **buckets;
static size_t bucket_count, grant_count;
static struct grant *oldest, *newest;
static size_t source_count, source_max = 256;
static uint64_t open_count;
static uint32_t passed_pid;

static size_t bucket_of(uint64_t ino, size_t count)
{
	/* Fibonacci hashing; the numbers of versioned files are hashes already, others are not. */
	return (size_t)((ino * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (count - 1);
}

static struct grant **find(uint64_t ino)
{
	struct grant **place;

	if (!buckets)
		return NULL;
	place = &buckets[bucket_of(ino, bucket_count)];
	while (*place && (*place)->ino != ino)
		place = &(*place)->next;
	return *place ? place : NULL;
}

static int grow(void)
{
	size_t count = bucket_count ? bucket_count * 2 : FIRST_BUCKETS, i;
	struct grant **wider = calloc(count, sizeof(*wider)), *grant, *next;

	if (!wider)
		return -1;
	for (i = 0; i < bucket_count; i++)
		for (grant = buckets[i]; grant; grant = next) {
			next = grant->next;
			grant->next = wider[bucket_of(grant->ino, count)];
			wider[bucket_of(grant->ino, count)] = grant;
		}
	free(buckets);
	buckets = wider;
	bucket_count = count;
	return 0;
}

static void leave_sources(struct grant *grant)
{
	*(grant->older ? &grant->older->newer : &oldest) = grant->newer;
	*(grant->newer ? &grant->newer->older : &newest) = grant->older;
	grant->older = grant->newer = NULL;
}

static void join_sources(struct grant *grant)
{
	grant->older = newest;
	grant->newer = NULL;
	*(newest ? &newest->newer : &oldest) = grant;
	newest = grant;
}

static void leave(struct source *source)
{
	if (--source->users == 0) {
		close(source->fd);
		free(source);
	}
}

static void drop_source(struct grant *grant)
{
	if (!grant->source)
		return;
	leave_sources(grant);
	leave(grant->source);
	grant->source = NULL;
	source_count--;
}

static void give_source(struct grant *grant, int fd)
{
	struct source *source = malloc(sizeof(*source));

	drop_source(grant);
	if (!source) {
		close(fd);
		return;
	}
	*source = (struct source){.fd = fd, .users = 1};
	grant->source = source;
	join_sources(grant);
	if (++source_count > source_max)
		drop_source(oldest);
}

/*
 * Grants an inode, of which ``opens`` handles made here are still open. ``fd``, from which its bytes
 * can be read, or -1, is taken over; ``stored`` is the number of its content, or 0. Returns 0, or -1 when there is no memory: nothing is granted.
 */
EXPORTED int patchwork_grant(uint64_t ino, uint64_t opens, int fd, uint64_t stored)
{
	struct grant **place, *grant;

	pthread_mutex_lock(&lock);
	place = find(ino);
	if (!place && (grant_count < bucket_count || grow() == 0)) {
		grant = calloc(1, sizeof(*grant));
		if (grant) {
			place = &buckets[bucket_of(ino, bucket_count)];
			grant->ino = ino;
			grant->next = *place;
			*place = grant;
			grant_count++;
		}
	}
	if (place) {
		(*place)->opens += opens;
		open_count += opens;
		if (stored)
			(*place)->stored = stored;
		if (fd >= 0)
			give_source(*place, fd);
	} else if (fd >= 0) {
		close(fd);
	}
	pthread_mutex_unlock(&lock);
	return place ? 0 : -1;
}

/* Takes a grant back; returns how many handles made here are open. */
EXPORTED uint64_t patchwork_revoke(uint64_t ino)
{
	struct grant **place, *grant;
	uint64_t opens = 0;

	pthread_mutex_lock(&lock);
	place = find(ino);
	if (place) {
		grant = *place;
		opens = grant->opens;
		open_count -= opens;
		drop_source(grant);
		*place = grant->next;
		grant_count--;
		free(grant);
	}
	pthread_mutex_unlock(&lock);
	return opens;
}

/* How many files are open by handles made here whose grants stand. */
EXPORTED uint64_t patchwork_granted_opens(void)
{
	uint64_t opens;

	pthread_mutex_lock(&lock);
	opens = open_count;
	pthread_mutex_unlock(&lock);
	return opens;
}

/* How many descriptors are kept at most. */
EXPORTED void patchwork_keep_sources(size_t count)
{
	pthread_mutex_lock(&lock);
	source_max = count;
	while (source_count > source_max)
		drop_source(oldest);
	pthread_mutex_unlock(&lock);
}

/* What this process opens is never answered here; 0 for none. */
EXPORTED void patchwork_pass(uint32_t pid)
{
	pthread_mutex_lock(&lock);
	passed_pid = pid;
	pthread_mutex_unlock(&lock);
}

static void reply(int fuse_fd, const struct fuse_in_header *asked, const void *data, size_t length)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + length),
		.unique = asked->unique,
	};
	struct iovec parts[] = {
		{.iov_base = &header, .iov_len = sizeof(header)},
		{.iov_base = (void *)(uintptr_t)data, .iov_len = length},
	};

	/* ENOENT says that nobody waits for it any more, ENODEV that the mount is gone. */
	while (writev(fuse_fd, parts, length ? 2 : 1) < 0 && errno == EINTR)
		;
}

static int answer_open(int fuse_fd, const struct fuse_in_header *asked,
		       const struct fuse_open_in *how)
{
	struct fuse_open_out opened = {
		.fh = asked->nodeid | HANDLE_OF_GRANT,
		.open_flags = FOPEN_KEEP_CACHE | FOPEN_NOFLUSH,
	};
	struct grant **place = NULL;

	if ((how->flags & O_ACCMODE) != O_RDONLY || how->flags & O_TRUNC)
		return 0;
	pthread_mutex_lock(&lock);
	if (asked->pid != passed_pid || !passed_pid)
		place = find(asked->nodeid);
	if (place) {
		(*place)->opens++;
		open_count++;
	}
	pthread_mutex_unlock(&lock);
	if (!place)
		return 0;
	reply(fuse_fd, asked, &opened, sizeof(opened));
	return 1;
}

static int answer_release(int fuse_fd, const struct fuse_in_header *asked,
			  const struct fuse_release_in *how)
{
	struct grant **place;

	if (how->fh != (asked->nodeid | HANDLE_OF_GRANT))
		return 0;
	pthread_mutex_lock(&lock);
	place = find(asked->nodeid);
	if (place && (*place)->opens == 0)
		place = NULL;
	if (place) {
		(*place)->opens--;
		open_count--;
	}
	pthread_mutex_unlock(&lock);
	if (!place)
		return 0;
	reply(fuse_fd, asked, NULL, 0);
	return 1;
}

static ssize_t read_from(int fd, const struct fuse_read_in *what, void *room)
{
	ssize_t count;

	do {
		count = pread(fd, room, what->size, (off_t)what->offset);
	} while (count < 0 && errno == EINTR);
	return count;
}

/* Reads the bytes of a content that was found good, and keeps its file if there may be more. */
static ssize_t read_stored(uint64_t ino, uint64_t stored, const struct fuse_read_in *what,
			   void *room)
{
	int fd = patchwork_open_stored(stored);
	struct grant **place;
	ssize_t count;

	if (fd < 0)
		return -1;
	count = read_from(fd, what, room);
	pthread_mutex_lock(&lock);
	place = find(ino);
	if (count == (ssize_t)what->size && place && (*place)->stored == stored)
		give_source(*place, fd);
	else
		close(fd);
	pthread_mutex_unlock(&lock);
	return count;
}

static int answer_read(int fuse_fd, const struct fuse_in_header *asked,
		       const struct fuse_read_in *what, void *room)
{
	struct grant **place;
	struct source *source = NULL;
	uint64_t stored = 0;
	ssize_t count;

	/* The bytes are at rest, so by which handle they are read makes no difference. */
	if (what->size > PATCHWORK_READ_MAX)
		return 0;
	pthread_mutex_lock(&lock);
	place = find(asked->nodeid);
	if (place && (*place)->source) {
		source = (*place)->source;
		source->users++;
		leave_sources(*place);
		join_sources(*place);
	} else if (place) {
		stored = (*place)->stored;
	}
	pthread_mutex_unlock(&lock);
	if (source) {
		count = read_from(source->fd, what, room);
		pthread_mutex_lock(&lock);
		leave(source);
		pthread_mutex_unlock(&lock);
	} else if (stored) {
		count = read_stored(asked->nodeid, stored, what, room);
	} else {
		return 0;
	}
	/* What cannot be read is for the daemon to tell of. */
	if (count < 0)
		return 0;
	reply(fuse_fd, asked, room, (size_t)count);
	return 1;
}

int patchwork_answer(int fuse_fd, const void *request, size_t length, void *room)
{
	const struct fuse_in_header *asked = request;
	const void *body = asked + 1;
	size_t rest;

	if (length < sizeof(*asked) || asked->len != length)
		return 0;
	rest = length - sizeof(*asked);
	switch (asked->opcode) {
	case FUSE_OPEN:
		return rest >= sizeof(struct fuse_open_in) && answer_open(fuse_fd, asked, body);
	case FUSE_RELEASE:
		return rest >= sizeof(struct fuse_release_in) &&
		       answer_release(fuse_fd, asked, body);
	case FUSE_READ:
		return rest >= sizeof(struct fuse_read_in) &&
		       answer_read(fuse_fd, asked, body, room);
	default:
		return 0;
	}
}
