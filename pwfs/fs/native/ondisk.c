/*
 * Writing, closing and attributes of granted files that are real ones, kept on disk; and of
 * directories of which all is on disk, attributes and names that nothing has.
 *
 * The disk knows what such a file is at every moment, and the daemon asks it. So nothing but the
 * call is to be made: by a descriptor, which leads to the file whatever its names are.
 */

#define _GNU_SOURCE

#include "grants.h"
#include "lead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the daemon tells the kernel too: pwfs/fs/attributes.py, and pyfuse3's EntryAttributes. */
#define CACHE_S 86400u
#define BLOCK_BYTES 4096u

/* A write of more keeps others waiting by itself. */
#define SHORT_WRITE_BYTES (64u << 10)

#define PERMISSIONS 07777u
#define SECOND_NS 1000000000u
#define TIMES (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)
#define CHANGES (FATTR_MODE | FATTR_UID | FATTR_GID | FATTR_SIZE | TIMES)
/* Of these nothing depends: who does it, and a time that the disk sets itself. */
#define WITHOUT_EFFECT (FATTR_FH | FATTR_LOCKOWNER | FATTR_CTIME)

static void reply_attributes(int fuse_fd, const struct fuse_in_header *asked,
			     const struct stat *found)
{
	const struct fuse_attr_out shown = {
		.attr_valid = CACHE_S,
		.attr = {
			.ino = asked->nodeid,
			.size = (uint64_t)found->st_size,
			.blocks = (uint64_t)found->st_blocks,
			.atime = (uint64_t)found->st_atim.tv_sec,
			.mtime = (uint64_t)found->st_mtim.tv_sec,
			.ctime = (uint64_t)found->st_ctim.tv_sec,
			.atimensec = (uint32_t)found->st_atim.tv_nsec,
			.mtimensec = (uint32_t)found->st_mtim.tv_nsec,
			.ctimensec = (uint32_t)found->st_ctim.tv_nsec,
			.mode = found->st_mode,
			.nlink = (uint32_t)found->st_nlink,
			.uid = found->st_uid,
			.gid = found->st_gid,
			.blksize = BLOCK_BYTES,
		},
	};

	patchwork_reply(fuse_fd, asked, 0, &shown, sizeof(shown));
}

static int answer_getattr(int fuse_fd, const struct fuse_in_header *asked)
{
	struct patchwork_use use = {.kind = PATCHWORK_ON_DISK};
	struct fuse_attr_out shown = {.attr_valid = CACHE_S};
	struct stat found;
	int failed;

	if (patchwork_find_shown(asked, &shown.attr)) {
		patchwork_reply(fuse_fd, asked, 0, &shown, sizeof(shown));
		return 1;
	}
	if (!patchwork_begin_use(asked, &use))
		return 0;
	failed = fstat(use.fd, &found);
	patchwork_end_use(&use);
	if (failed)
		return 0;
	reply_attributes(fuse_fd, asked, &found);
	return 1;
}

static struct timespec wanted_time(uint32_t valid, uint32_t given, uint32_t now, uint64_t seconds,
				   uint32_t nanoseconds)
{
	if (valid & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	if (valid & given)
		return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = nanoseconds};
	return (struct timespec){.tv_nsec = UTIME_OMIT};
}

/* Returns 0 or an errno. */
static int change_attributes(int fd, const struct fuse_setattr_in *wanted)
{
	const uint32_t valid = wanted->valid;
	const struct timespec times[2] = {
		wanted_time(valid, FATTR_ATIME, FATTR_ATIME_NOW, wanted->atime, wanted->atimensec),
		wanted_time(valid, FATTR_MTIME, FATTR_MTIME_NOW, wanted->mtime, wanted->mtimensec),
	};

	if (valid & FATTR_SIZE && ftruncate(fd, (off_t)wanted->size))
		return errno;
	if (valid & (FATTR_UID | FATTR_GID) &&
	    fchown(fd, valid & FATTR_UID ? wanted->uid : (uid_t)-1,
		   valid & FATTR_GID ? wanted->gid : (gid_t)-1))
		return errno;
	if (valid & FATTR_MODE && fchmod(fd, wanted->mode & PERMISSIONS))
		return errno;
	if (valid & TIMES && futimens(fd, times))
		return errno;
	return 0;
}

static int answer_setattr(int fuse_fd, const struct fuse_in_header *asked,
			  const struct fuse_setattr_in *wanted)
{
	struct patchwork_use use = {
		.kind = PATCHWORK_ON_DISK,
		.writes = (wanted->valid & FATTR_SIZE) != 0,
		.is_told = 1,
	};
	struct stat found;
	int error;

	if (wanted->valid & ~(uint32_t)(CHANGES | WITHOUT_EFFECT) ||
	    wanted->atimensec >= SECOND_NS || wanted->mtimensec >= SECOND_NS)
		return 0;
	if (!patchwork_begin_use(asked, &use))
		return 0;
	error = change_attributes(use.fd, wanted);
	if (!error && fstat(use.fd, &found))
		error = errno;
	patchwork_end_use(&use);
	if (error)
		patchwork_reply(fuse_fd, asked, error, NULL, 0);
	else
		reply_attributes(fuse_fd, asked, &found);
	return 1;
}

/* Returns 0 or an errno; ``written`` bytes are, so many as there was room for. */
static int write_all(int fd, const char *data, size_t size, uint64_t offset, size_t *written)
{
	ssize_t count;

	*written = 0;
	do {
		count = pwrite(fd, data + *written, size - *written, (off_t)(offset + *written));
		if (count > 0)
			*written += (size_t)count;
		else if (count == 0 || errno != EINTR)
			return *written ? 0 : count == 0 ? EIO : errno;
	} while (*written < size);
	return 0;
}

static int answer_write(int fuse_fd, const struct fuse_in_header *asked,
			const struct fuse_write_in *what)
{
	/* Who has it open to write it is with the daemon, which learns that by the release. */
	struct patchwork_use use = {.kind = PATCHWORK_ON_DISK, .writes = 1};
	struct fuse_write_out done = {0};
	size_t written;
	int error;

	if (what->size == 0 || !patchwork_begin_use(asked, &use))
		return 0;
	if (what->size > SHORT_WRITE_BYTES)
		patchwork_may_block();
	error = write_all(use.fd, (const char *)(what + 1), what->size, what->offset, &written);
	patchwork_end_use(&use);
	/* There may be room once the daemon has closed what was released. */
	if ((error == ENOSPC || error == EDQUOT) && atomic_load(&patchwork_news_count))
		return 0;
	done.size = (uint32_t)written;
	patchwork_reply(fuse_fd, asked, error, &done, error ? 0 : sizeof(done));
	return 1;
}

static int answer_flush(int fuse_fd, const struct fuse_in_header *asked)
{
	if (!patchwork_is(asked, PATCHWORK_ON_DISK))
		return 0;
	patchwork_reply(fuse_fd, asked, 0, NULL, 0);
	return 1;
}

/*
 * Before each write the kernel asks for this one, which a file on disk never has in the mount, nor one
 * that is granted because of that.
 */
static int answer_getxattr(int fuse_fd, const struct fuse_in_header *asked, const char *name,
			   size_t length)
{
	static const char capability[] = "security.capability";

	if (length != sizeof(capability) || memcmp(name, capability, length) != 0 ||
	    !(patchwork_is(asked, PATCHWORK_ON_DISK) || patchwork_is(asked, PATCHWORK_PLAIN)))
		return 0;
	patchwork_reply(fuse_fd, asked, ENODATA, NULL, 0);
	return 1;
}

/* A file only the daemon knows, a directory may be granted; that nothing is there, the kernel keeps. */
static int answer_lookup(int fuse_fd, const struct fuse_in_header *asked, const char *name,
			 size_t length)
{
	struct patchwork_use use = {.kind = PATCHWORK_NAMES};
	struct fuse_entry_out entry = {.entry_valid = CACHE_S};
	struct stat found;
	int error, is_known;

	if (length < 2 || name[length - 1] != '\0' || memchr(name, '/', length) ||
	    strlen(name) != length - 1 || name[0] == '.' || !patchwork_begin_use(asked, &use))
		return 0;
	error = fstatat(use.fd, name, &found, AT_SYMLINK_NOFOLLOW) ? errno : 0;
	is_known = !error && S_ISDIR(found.st_mode) &&
		   patchwork_look_up(found.st_dev, found.st_ino, &entry.attr);
	patchwork_end_use(&use);
	if (is_known) {
		entry.nodeid = entry.attr.ino;
		entry.attr_valid = CACHE_S;
	} else if (error != ENOENT) {
		return 0;
	}
	patchwork_reply(fuse_fd, asked, 0, &entry, sizeof(entry));
	return 1;
}

int patchwork_answer_on_disk(int fuse_fd, const struct fuse_in_header *asked, const void *body,
			     size_t rest)
{
	const struct fuse_write_in *write = body;
	const char *name = (const char *)body + sizeof(struct fuse_getxattr_in);

	switch (asked->opcode) {
	case FUSE_LOOKUP:
		return answer_lookup(fuse_fd, asked, body, rest);
	case FUSE_GETATTR:
		return rest >= sizeof(struct fuse_getattr_in) && answer_getattr(fuse_fd, asked);
	case FUSE_SETATTR:
		return rest >= sizeof(struct fuse_setattr_in) &&
		       answer_setattr(fuse_fd, asked, body);
	case FUSE_WRITE:
		return rest >= sizeof(*write) && write->size == rest - sizeof(*write) &&
		       answer_write(fuse_fd, asked, write);
	case FUSE_FLUSH:
		return rest >= sizeof(struct fuse_flush_in) && answer_flush(fuse_fd, asked);
	case FUSE_GETXATTR:
		return rest > sizeof(struct fuse_getxattr_in) &&
		       answer_getxattr(fuse_fd, asked, name,
				       rest - sizeof(struct fuse_getxattr_in));
	default:
		return 0;
	}
}
