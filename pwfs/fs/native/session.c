/*
 * Requests that pyfuse3 does not know.
 *
 * pyfuse3 hands libfuse a table of handlers and leaves those out that it has no words for. This
 * library is loaded before pyfuse3 with its names in the global scope, so pyfuse3 finds our
 * fuse_session_new first; we add handlers to a copy of the table and go on to libfuse's own.
 *
 * Directories the kernel lists by itself where it can, so the handler that opens them is replaced.
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
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
/* There pyfuse3 calls _fuse_session_new through an inline function, which we do not replace. */
#error "libfuse 3.17 and newer make sessions by another function"
#endif

#define EXPORTED __attribute__((visibility("default")))

#define HANDLE_OF_DIRECTORY (UINT64_C(1) << 63)

/* What the daemon answers by; the structure's twin is Handlers in __init__.py. */
struct patchwork_handlers {
	void (*fallocate)(fuse_req_t req, uint64_t fh, int mode, int64_t offset, int64_t length);
	void (*lseek)(fuse_req_t req, uint64_t fh, int64_t offset, int whence);
	void (*copy_file_range)(fuse_req_t req, uint64_t fh_in, int64_t offset_in, uint64_t fh_out,
				int64_t offset_out, uint64_t length);
};

/* What the kernel introduced itself with; its twin is Connection in __init__.py. */
struct patchwork_connection {
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t capable;
};

static struct patchwork_handlers handlers;
static struct patchwork_connection connection;
static struct fuse_session *session;
static struct fuse_lowlevel_ops pyfuse3;
static int keeps_opendir, keeps_listings, leaves_listing;

/* libfuse's words for what a kernel can do, and the kernel's own. */
static const struct {
	uint32_t capable;
	uint32_t flag;
} abilities[] = {
	{FUSE_CAP_ASYNC_READ, FUSE_ASYNC_READ},
	{FUSE_CAP_POSIX_LOCKS, FUSE_POSIX_LOCKS},
	{FUSE_CAP_ATOMIC_O_TRUNC, FUSE_ATOMIC_O_TRUNC},
	{FUSE_CAP_EXPORT_SUPPORT, FUSE_EXPORT_SUPPORT},
	{FUSE_CAP_DONT_MASK, FUSE_DONT_MASK},
	{FUSE_CAP_FLOCK_LOCKS, FUSE_FLOCK_LOCKS},
	{FUSE_CAP_AUTO_INVAL_DATA, FUSE_AUTO_INVAL_DATA},
	{FUSE_CAP_READDIRPLUS, FUSE_DO_READDIRPLUS},
	{FUSE_CAP_READDIRPLUS_AUTO, FUSE_READDIRPLUS_AUTO},
	{FUSE_CAP_ASYNC_DIO, FUSE_ASYNC_DIO},
	{FUSE_CAP_WRITEBACK_CACHE, FUSE_WRITEBACK_CACHE},
	{FUSE_CAP_NO_OPEN_SUPPORT, FUSE_NO_OPEN_SUPPORT},
	{FUSE_CAP_PARALLEL_DIROPS, FUSE_PARALLEL_DIROPS},
	{FUSE_CAP_POSIX_ACL, FUSE_POSIX_ACL},
	{FUSE_CAP_HANDLE_KILLPRIV, FUSE_HANDLE_KILLPRIV},
	{FUSE_CAP_CACHE_SYMLINKS, FUSE_CACHE_SYMLINKS},
	{FUSE_CAP_NO_OPENDIR_SUPPORT, FUSE_NO_OPENDIR_SUPPORT},
	{FUSE_CAP_EXPLICIT_INVAL_DATA, FUSE_EXPLICIT_INVAL_DATA},
};

static void note_init(void *userdata, struct fuse_conn_info *conn)
{
	connection.minor = conn->proto_minor;
	connection.max_readahead = conn->max_readahead;
	connection.capable = conn->capable;
	if (pyfuse3.init)
		pyfuse3.init(userdata, conn);
	/* Of an asynchronous direct write the kernel forgets to drop what readers cached meanwhile. */
	conn->want &= ~FUSE_CAP_ASYNC_DIO;
	/* With FUSE_CAP_AUTO_INVAL_DATA the kernel compares times before it uses a listing again. */
	keeps_listings = !keeps_opendir && conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT &&
			 conn->want & FUSE_CAP_AUTO_INVAL_DATA;
}

/*
 * Directories are not opened: on ENOSYS the kernel never asks again, keeps listings by itself, and
 * asks for what it lacks without a handle. There the inode's number stands for one.
 */

static void answer_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (keeps_listings)
		fuse_reply_err(req, ENOSYS);
	else
		pyfuse3.opendir(req, ino, fi);
}

static struct fuse_file_info with_handle(fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct fuse_file_info whole = *fi;

	/* The daemon's own handles begin with 1. */
	if (!whole.fh)
		whole.fh = ino | HANDLE_OF_DIRECTORY;
	return whole;
}

static void pass_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			     struct fuse_file_info *fi)
{
	struct fuse_file_info whole = with_handle(ino, fi);

	pyfuse3.readdirplus(req, ino, size, offset, &whole);
}

/* Too short for a name: the kernel takes it for the end, but not for one up to which it may keep. */
static const char no_name[8];

/* The answer that Python gives next ends a listing that the kernel is not to keep. */
EXPORTED void patchwork_leave_listing(void)
{
	leaves_listing = 1;
}

EXPORTED int fuse_reply_buf(fuse_req_t req, const char *buf, size_t size)
{
	static int (*libfuse_reply_buf)(fuse_req_t, const char *, size_t);

	if (!libfuse_reply_buf)
		*(void **)&libfuse_reply_buf = dlsym(RTLD_NEXT, "fuse_reply_buf");
	if (!libfuse_reply_buf)
		return -ENOSYS;
	if (leaves_listing && !size) {
		buf = no_name;
		size = sizeof(no_name);
	}
	leaves_listing = 0;
	return libfuse_reply_buf(req, buf, size);
}

static void pass_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fuse_file_info whole = with_handle(ino, fi);

	pyfuse3.fsyncdir(req, ino, datasync, &whole);
}

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
	pyfuse3 = table;
	table.opendir = answer_opendir;
	table.readdirplus = pass_readdirplus;
	table.fsyncdir = pass_fsyncdir;
	table.fallocate = pass_fallocate;
	table.lseek = pass_lseek;
	table.copy_file_range = pass_copy_file_range;
	table.init = note_init;
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

/* Has the kernel ask for directories to be opened, as older ones do; before it introduces itself. */
EXPORTED void patchwork_keep_opendir(void)
{
	keeps_opendir = 1;
}

/* What the kernel introduced itself with, all 0 before it has. */
EXPORTED void patchwork_connected(struct patchwork_connection *found)
{
	*found = connection;
}

/*
 * Goes on with a connection that an earlier session began. The kernel introduces itself once, so
 * the new session is told what the earlier one was; the answer to that has no addressee, which the
 * kernel says by ENOENT and libfuse ignores. Returns 0, or -1 if libfuse did not take it.
 */
EXPORTED int patchwork_resume(const struct patchwork_connection *was)
{
	struct {
		struct fuse_in_header header;
		struct fuse_init_in init;
	} request = {0};
	struct fuse_buf buffer = {.size = sizeof(request), .mem = &request};
	size_t i;

	if (!session)
		return -1;
	request.header.len = sizeof(request);
	request.header.opcode = FUSE_INIT;
	/* Even, as the kernel's are, and further than it will ever count. */
	request.header.unique = UINT64_MAX - 1;
	request.header.uid = getuid();
	request.header.gid = getgid();
	request.init.major = FUSE_KERNEL_VERSION;
	request.init.minor = was->minor;
	request.init.max_readahead = was->max_readahead;
	request.init.flags = FUSE_BIG_WRITES | FUSE_MAX_PAGES;
	for (i = 0; i < sizeof(abilities) / sizeof(abilities[0]); i++)
		if (was->capable & abilities[i].capable)
			request.init.flags |= abilities[i].flag;
	connection.minor = 0;
	fuse_session_process_buf(session, &buffer);
	return connection.minor == was->minor ? 0 : -1;
}
