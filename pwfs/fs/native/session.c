/*
 * Requests that pyfuse3 does not know.
 *
 * pyfuse3 hands libfuse a table of handlers and leaves those out that it has no words for. This
 * library is loaded before pyfuse3 with its names in the global scope, so pyfuse3 finds our
 * fuse_session_new first; we add handlers to a copy of the table and go on to libfuse's own.
 *
 * Each added handler passes its request on to a function that the daemon registered, which answers
 * it by a fuse_reply_* function, once, whenever it is ready. Without one the answer is ENOSYS, as
 * it is without this library.
 *
 * Everything here runs on the thread that calls fuse_session_process_buf.
 */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 35

#include <dlfcn.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
/* There pyfuse3 calls _fuse_session_new through an inline function, which we do not replace. */
#error "libfuse 3.17 and newer make sessions by another function"
#endif

#define EXPORTED __attribute__((visibility("default")))

/* What the daemon answers by; the structure's twin is Handlers in __init__.py. */
struct patchwork_handlers {
	void (*fallocate)(fuse_req_t req, uint64_t fh, int mode, int64_t offset, int64_t length);
	void (*lseek)(fuse_req_t req, uint64_t fh, int64_t offset, int whence);
	void (*copy_file_range)(fuse_req_t req, uint64_t fh_in, int64_t offset_in, uint64_t fh_out,
				int64_t offset_out, uint64_t length);
};

static struct patchwork_handlers handlers;
static struct fuse_session *session;

static void pass_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			   struct fuse_file_info *fi)
{
	(void)ino;
	if (handlers.fallocate)
		handlers.fallocate(req, fi->fh, mode, offset, length);
	else
		fuse_reply_err(req, ENOSYS);
}

static void pass_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
		       struct fuse_file_info *fi)
{
	(void)ino;
	if (handlers.lseek)
		handlers.lseek(req, fi->fh, offset, whence);
	else
		fuse_reply_err(req, ENOSYS);
}

static void pass_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t offset_in,
				 struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t offset_out,
				 struct fuse_file_info *fi_out, size_t length, int flags)
{
	(void)ino_in;
	(void)ino_out;
	if (flags != 0)
		fuse_reply_err(req, EINVAL);
	else if (handlers.copy_file_range)
		handlers.copy_file_range(req, fi_in->fh, offset_in, fi_out->fh, offset_out, length);
	else
		fuse_reply_err(req, ENOSYS);
}

EXPORTED struct fuse_session *fuse_session_new(struct fuse_args *args,
					       const struct fuse_lowlevel_ops *op, size_t op_size,
					       void *userdata)
{
	struct fuse_session *(*libfuse_session_new)(struct fuse_args *,
						    const struct fuse_lowlevel_ops *, size_t,
						    void *);
	struct fuse_lowlevel_ops table = {0};

	*(void **)&libfuse_session_new = dlsym(RTLD_NEXT, "fuse_session_new");
	if (!libfuse_session_new)
		return NULL;
	if (op_size > sizeof(table)) {
		/* Made for a newer libfuse than this was: leave it as it is. */
		return libfuse_session_new(args, op, op_size, userdata);
	}
	memcpy(&table, op, op_size);
	table.fallocate = pass_fallocate;
	table.lseek = pass_lseek;
	table.copy_file_range = pass_copy_file_range;
	session = libfuse_session_new(args, &table, sizeof(table), userdata);
	return session;
}

/* Sets what answers from now on; a member may be NULL. The structure is copied. */
EXPORTED void patchwork_answer_by(const struct patchwork_handlers *chosen)
{
	handlers = *chosen;
}

/* The session whose table was edited; NULL when none was. */
EXPORTED struct fuse_session *patchwork_session(void)
{
	return session;
}
