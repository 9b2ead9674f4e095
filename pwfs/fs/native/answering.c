/*
 * Requests that are answered without asking Python: opening for reading, and reading, of what is
 * granted (grants.c); the rest is in ondisk.c.
 */

#define _GNU_SOURCE

#include "grants.h"
#include "lead.h"
#include "stored.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

void patchwork_reply(int fuse_fd, const struct fuse_in_header *asked, int error, const void *data,
		     size_t length)
{
	struct fuse_out_header header = {
		.len = (uint32_t)(sizeof(header) + length),
		.error = -error,
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
		.fh = asked->nodeid | PATCHWORK_HANDLE,
		.open_flags = FOPEN_KEEP_CACHE | FOPEN_NOFLUSH,
	};

	if ((how->flags & O_ACCMODE) != O_RDONLY || how->flags & O_TRUNC ||
	    !patchwork_open(asked))
		return 0;
	patchwork_reply(fuse_fd, asked, 0, &opened, sizeof(opened));
	return 1;
}

static int answer_release(int fuse_fd, const struct fuse_in_header *asked,
			  const struct fuse_release_in *how)
{
	if (!patchwork_close(asked, how->fh))
		return 0;
	patchwork_reply(fuse_fd, asked, 0, NULL, 0);
	return 1;
}

/* A read of more keeps others waiting by itself. */
#define SHORT_READ_BYTES (64u << 10)

/* Reads what is in memory; returns -1 if that is not all there is. */
static ssize_t read_at_once(int fd, const struct fuse_read_in *what, void *room)
{
	struct iovec part = {.iov_base = room, .iov_len = what->size};
	size_t done = 0;
	ssize_t count;

	/* -1 would stand for the file's own position. */
	if (what->size > SHORT_READ_BYTES || what->offset > INT64_MAX - SHORT_READ_BYTES)
		return -1;
	do {
		count = preadv2(fd, &part, 1, (off_t)(what->offset + done), RWF_NOWAIT);
		if (count < 0)
			return -1;
		done += (size_t)count;
		part = (struct iovec){.iov_base = (char *)room + done, .iov_len = what->size - done};
	} while (count && part.iov_len);
	return (ssize_t)done;
}

static ssize_t read_from(int fd, const struct fuse_read_in *what, void *room)
{
	ssize_t count = read_at_once(fd, what, room);

	if (count >= 0)
		return count;
	patchwork_may_block();
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
	ssize_t count;

	if (fd < 0)
		return -1;
	count = read_from(fd, what, room);
	if (count == (ssize_t)what->size)
		patchwork_keep_stored(ino, stored, fd);
	close(fd);
	return count;
}

static int answer_read(int fuse_fd, const struct fuse_in_header *asked,
		       const struct fuse_read_in *what, void *room)
{
	struct source *source;
	uint64_t stored;
	ssize_t count;
	int fd;

	/* By which handle the file is read makes no difference. */
	if (what->size > PATCHWORK_READ_MAX)
		return 0;
	source = patchwork_begin_read(asked, &fd, &stored);
	if (source) {
		count = read_from(fd, what, room);
		patchwork_end_read(source);
	} else if (stored) {
		count = read_stored(asked->nodeid, stored, what, room);
	} else {
		return 0;
	}
	/* What cannot be read is for the daemon to tell of. */
	if (count < 0)
		return 0;
	patchwork_reply(fuse_fd, asked, 0, room, (size_t)count);
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
		return patchwork_answer_on_disk(fuse_fd, asked, body, rest);
	}
}
