/* Requests that are answered without asking Python: see grants.c, answering.c and ondisk.c. */

#ifndef PATCHWORK_GRANTS_H
#define PATCHWORK_GRANTS_H

#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The longest read that is answered here; the kernel asks for no more. */
#define PATCHWORK_READ_MAX (1u << 20)

/*
 * Answers a request on the descriptor that it came from, if that needs nobody else. ``room`` is
 * PATCHWORK_READ_MAX bytes of the caller's. Returns whether it is answered. Any thread may call.
 */
int patchwork_answer(int fuse_fd, const void *request, size_t length, void *room);

/* Does so for files that are kept on disk; ``body`` are the ``rest`` bytes behind the header. */
int patchwork_answer_on_disk(int fuse_fd, const struct fuse_in_header *asked, const void *body,
			     size_t rest);

/* Set in the handles that are given out here; the rest is the inode's number. */
#define PATCHWORK_HANDLE (UINT64_C(1) << 63)

/* Opens a granted file, or closes a handle; returns whether that is all that is to be done. */
int patchwork_open(const struct fuse_in_header *asked);
int patchwork_close(const struct fuse_in_header *asked, uint64_t fh);

/*
 * Begins to read a granted file from ``fd``, which is to be ended. NULL if there is none: then
 * ``stored`` is the number of its content, or 0; once that is opened the grant may keep a copy.
 */
struct source *patchwork_begin_read(const struct fuse_in_header *asked, int *fd, uint64_t *stored);
void patchwork_end_read(struct source *source);
void patchwork_keep_stored(uint64_t ino, uint64_t stored, int fd);

/*
 * What is granted: a file whose bytes are at rest, a real one on disk, a directory on disk, what stat(2)
 * shows of any other, or a file that is written, of which only this is known: it has no capabilities.
 */
enum patchwork_kind {
	PATCHWORK_AT_REST,
	PATCHWORK_ON_DISK,
	PATCHWORK_NAMES,
	PATCHWORK_SHOWN,
	PATCHWORK_PLAIN
};

/* What is granted of something on disk, while a request about it is answered. */
struct patchwork_use {
	/* Set by who uses it. */
	enum patchwork_kind kind;
	/* The same: whether it is written, and whether the daemon is to learn of it. */
	int writes, is_told;
	/* Its descriptor; the rest is the table's. */
	int fd;
	struct grant *grant;
	struct source *source;
};

/*
 * Begins a use; returns whether it may be. While it lasts the grant cannot be revoked. The daemon
 * learns of it when it ends: end it before the request is answered.
 */
int patchwork_begin_use(const struct fuse_in_header *asked, struct patchwork_use *use);
void patchwork_end_use(struct patchwork_use *use);

/* Finds what stat(2) shows of a granted directory; returns whether that is known. */
int patchwork_find_shown(const struct fuse_in_header *asked, struct fuse_attr *shown);

/*
 * Looks up a directory by what it is on disk, if it is granted; returns whether it is. The daemon
 * learns of that.
 */
int patchwork_look_up(dev_t disk, ino_t number, struct fuse_attr *shown);

/* Whether a request is about what is granted as of a kind. */
int patchwork_is(const struct fuse_in_header *asked, enum patchwork_kind kind);

/* What the daemon is to learn of an inode, if it is not the handle that was released. */
#define PATCHWORK_CHANGED UINT64_C(0)
#define PATCHWORK_LOOKED_UP UINT64_MAX

/* Keeps room for news, if there is some, and returns whether there was; then it must be told. */
int patchwork_keep_room(void);
void patchwork_tell(uint64_t ino, uint64_t what);

/* How much news the daemon has not taken. */
extern _Atomic(size_t) patchwork_news_count;

/* Answers a request: with an errno, or with 0 and the data. */
void patchwork_reply(int fuse_fd, const struct fuse_in_header *asked, int error, const void *data,
		     size_t length);

#endif
