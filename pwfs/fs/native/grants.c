/*
 * What is granted.
 *
 * The daemon grants an inode when opening it for reading needs no decision of its own, and revokes
 * the grant before anything about the file's content changes. While it stands, OPEN and RELEASE are
 * answered (answering.c), and READ too where a descriptor of the bytes was given along, or the number
 * of a content that was found good (stored.c). The handle of such an open file is the inode's number
 * with the highest bit set, so that the daemon can go on with it when the grant is gone: revoking
 * tells how many there are.
 *
 * A grant may say that the file is a real one, kept on disk. Then more is answered (ondisk.c), also
 * for handles of the daemon's own; what it must know of that, it finds among the news. That of a
 * directory says that what is not in the one on disk is nowhere, and which one that is: by that, the
 * directories in it are found. Of any directory it may say what stat(2) shows.
 *
 * The kernel sends no RELEASE before the last reference to an open file is gone, and no FORGET of
 * an inode before that; but two threads may take the two in either order.
 */

#define _GNU_SOURCE

#include "grants.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

#define FIRST_BUCKETS 1024u
#define DIRECTORY_BUCKETS 4096u

/* A descriptor that threads may be using. */
struct source {
	int fd;
	int is_writable;
	unsigned users;
};

/*
 * ``atime_follows`` says that the time of access is that of the last change. ``is_on_disk``: it has a
 * place among the directories on disk.
 */
struct shown {
	struct fuse_attr attr;
	int atime_follows, is_on_disk;
	dev_t disk;
	ino_t number;
};

struct grant {
	uint64_t ino;
	uint64_t opens;
	/* The number of the content, 0 where it is not known. */
	uint64_t stored;
	struct source *source;
	struct grant *next;
	enum patchwork_kind kind;
	/* Of a directory: what stat(2) shows, and its place among the directories on disk. */
	struct shown *shown;
	struct grant *next_on_disk;
	/* Threads that are changing the file now; revoking waits for them, and lets none begin. */
	unsigned changing;
	int is_ending;
	/* The grants with a source, the one used last at the end. */
	struct grant *older, *newer;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct grant **buckets;
static size_t bucket_count, grant_count;
static struct grant *directories[DIRECTORY_BUCKETS];
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
	int is_writable = grant->kind == PATCHWORK_ON_DISK &&
			  (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
	struct source *source;

	if (grant->source && grant->source->is_writable >= is_writable)
		return;
	drop_source(grant);
	source = malloc(sizeof(*source));
	if (!source)
		return;
	*source = (struct source){
		.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
		.users = 1,
		.is_writable = is_writable,
	};
	if (source->fd < 0) {
		free(source);
		return;
	}
	grant->source = source;
	join_sources(grant);
	if (++source_count > source_max)
		drop_source(oldest);
}

static struct grant **directory_bucket(ino_t number)
{
	return &directories[bucket_of((uint64_t)number, DIRECTORY_BUCKETS)];
}

static void hide(struct grant *grant)
{
	struct grant **place;

	if (!grant->shown)
		return;
	if (grant->shown->is_on_disk) {
		place = directory_bucket(grant->shown->number);
		while (*place != grant)
			place = &(*place)->next_on_disk;
		*place = grant->next_on_disk;
	}
	free(grant->shown);
	grant->shown = NULL;
}

/*
 * Grants an inode, of which ``opens`` handles made here are still open. Its bytes can be read from
 * ``fd``, or -1, which stays the caller's; names are looked up there if it is a directory's.
 * ``stored`` is the number of its content, or 0. Returns 0, or -1 when there is no memory: nothing is
 * granted.
 */
EXPORTED int patchwork_grant(uint64_t ino, uint64_t opens, int fd, int kind, uint64_t stored)
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
		(*place)->kind = (enum patchwork_kind)kind;
		open_count += opens;
		if (stored)
			(*place)->stored = stored;
		if (fd >= 0)
			give_source(*place, fd);
	}
	pthread_mutex_unlock(&lock);
	return place ? 0 : -1;
}

/*
 * Takes a grant back; returns how many handles made here are open. Nobody changes the file any
 * more when it returns, and what there is to learn of it is among the news.
 */
EXPORTED uint64_t patchwork_revoke(uint64_t ino)
{
	struct grant **place, *grant;
	uint64_t opens = 0;

	pthread_mutex_lock(&lock);
	place = find(ino);
	while (place && (*place)->changing) {
		(*place)->is_ending = 1;
		pthread_cond_wait(&changed, &lock);
		place = find(ino);
	}
	if (place) {
		grant = *place;
		opens = grant->opens;
		open_count -= opens;
		drop_source(grant);
		*place = grant->next;
		grant_count--;
		hide(grant);
		free(grant);
	}
	pthread_mutex_unlock(&lock);
	return opens;
}

/* Says what stat(2) shows of a directory that is granted, until it is revoked or touched. */
EXPORTED void patchwork_show(uint64_t ino, const struct fuse_attr *attr, int atime_follows)
{
	struct grant **place, **bucket;
	struct shown *shown = NULL;
	struct stat found = {0};
	int is_on_disk = 0;

	pthread_mutex_lock(&lock);
	place = find(ino);
	if (place) {
		hide(*place);
		is_on_disk = (*place)->kind == PATCHWORK_NAMES;
	}
	if (place && (!is_on_disk || ((*place)->source && !fstat((*place)->source->fd, &found))))
		shown = malloc(sizeof(*shown));
	if (shown) {
		*shown = (struct shown){
			.attr = *attr,
			.atime_follows = atime_follows,
			.is_on_disk = is_on_disk,
			.disk = found.st_dev,
			.number = found.st_ino,
		};
		(*place)->shown = shown;
	}
	if (shown && is_on_disk) {
		bucket = directory_bucket(found.st_ino);
		(*place)->next_on_disk = *bucket;
		*bucket = *place;
	}
	pthread_mutex_unlock(&lock);
}

/* Says when a name in a directory that is granted changed last. */
EXPORTED void patchwork_touched(uint64_t ino, uint64_t seconds, uint32_t nanoseconds)
{
	struct grant **place;
	struct shown *shown;

	pthread_mutex_lock(&lock);
	place = find(ino);
	shown = place ? (*place)->shown : NULL;
	if (shown) {
		shown->attr.mtime = shown->attr.ctime = seconds;
		shown->attr.mtimensec = shown->attr.ctimensec = nanoseconds;
	}
	if (shown && shown->atime_follows) {
		shown->attr.atime = seconds;
		shown->attr.atimensec = nanoseconds;
	}
	pthread_mutex_unlock(&lock);
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

static int is_readable(const struct grant *grant)
{
	return grant->kind == PATCHWORK_AT_REST || grant->kind == PATCHWORK_ON_DISK;
}

static int may_answer(const struct fuse_in_header *asked)
{
	return asked->pid != passed_pid || !passed_pid;
}

static struct grant *find_kind(const struct fuse_in_header *asked, enum patchwork_kind kind)
{
	struct grant **place = may_answer(asked) ? find(asked->nodeid) : NULL;

	return place && (*place)->kind == kind && !(*place)->is_ending ? *place : NULL;
}

int patchwork_find_shown(const struct fuse_in_header *asked, struct fuse_attr *shown)
{
	struct grant **place = NULL;
	int is_known;

	pthread_mutex_lock(&lock);
	if (may_answer(asked))
		place = find(asked->nodeid);
	is_known = place && !(*place)->is_ending && (*place)->shown;
	if (is_known)
		*shown = (*place)->shown->attr;
	pthread_mutex_unlock(&lock);
	return is_known;
}

int patchwork_look_up(dev_t disk, ino_t number, struct fuse_attr *shown)
{
	struct grant *grant;
	int is_known;

	pthread_mutex_lock(&lock);
	grant = *directory_bucket(number);
	while (grant && (grant->shown->number != number || grant->shown->disk != disk))
		grant = grant->next_on_disk;
	is_known = grant && patchwork_keep_room();
	if (is_known) {
		*shown = grant->shown->attr;
		patchwork_tell(grant->ino, PATCHWORK_LOOKED_UP);
	}
	pthread_mutex_unlock(&lock);
	return is_known;
}

int patchwork_is(const struct fuse_in_header *asked, enum patchwork_kind kind)
{
	int is;

	pthread_mutex_lock(&lock);
	is = find_kind(asked, kind) != NULL;
	pthread_mutex_unlock(&lock);
	return is;
}

int patchwork_begin_use(const struct fuse_in_header *asked, struct patchwork_use *use)
{
	struct grant *grant;

	pthread_mutex_lock(&lock);
	grant = find_kind(asked, use->kind);
	if (grant && (!grant->source || (use->writes && !grant->source->is_writable)))
		grant = NULL;
	if (grant && use->is_told && !patchwork_keep_room())
		grant = NULL;
	if (grant) {
		use->fd = grant->source->fd;
		use->source = grant->source;
		use->grant = grant;
		grant->source->users++;
		grant->changing++;
		leave_sources(grant);
		join_sources(grant);
	}
	pthread_mutex_unlock(&lock);
	return grant != NULL;
}

void patchwork_end_use(struct patchwork_use *use)
{
	pthread_mutex_lock(&lock);
	if (use->is_told)
		patchwork_tell(use->grant->ino, PATCHWORK_CHANGED);
	leave(use->source);
	if (--use->grant->changing == 0)
		pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

int patchwork_open(const struct fuse_in_header *asked)
{
	struct grant **place = NULL;

	pthread_mutex_lock(&lock);
	if (may_answer(asked))
		place = find(asked->nodeid);
	if (place && !is_readable(*place))
		place = NULL;
	if (place) {
		(*place)->opens++;
		open_count++;
	}
	pthread_mutex_unlock(&lock);
	return place != NULL;
}

int patchwork_close(const struct fuse_in_header *asked, uint64_t fh)
{
	struct grant **place;
	int is_known = 0;

	pthread_mutex_lock(&lock);
	place = find(asked->nodeid);
	if (place && fh == (asked->nodeid | PATCHWORK_HANDLE)) {
		is_known = (*place)->opens > 0;
		(*place)->opens -= is_known;
		open_count -= is_known;
	} else if (place && (*place)->kind == PATCHWORK_ON_DISK && fh && !(fh & PATCHWORK_HANDLE) &&
		   patchwork_keep_room()) {
		/* Nothing is left to be done but to forget the handle. */
		is_known = 1;
		patchwork_tell(asked->nodeid, fh);
	}
	pthread_mutex_unlock(&lock);
	return is_known;
}

struct source *patchwork_begin_read(const struct fuse_in_header *asked, int *fd, uint64_t *stored)
{
	struct grant **place;
	struct source *source = NULL;

	*stored = 0;
	pthread_mutex_lock(&lock);
	place = find(asked->nodeid);
	if (place && !is_readable(*place))
		place = NULL;
	if (place && !(*place)->source)
		*stored = (*place)->stored;
	if (place && (*place)->source) {
		source = (*place)->source;
		source->users++;
		leave_sources(*place);
		join_sources(*place);
		*fd = source->fd;
	}
	pthread_mutex_unlock(&lock);
	return source;
}

void patchwork_keep_stored(uint64_t ino, uint64_t stored, int fd)
{
	struct grant **place;

	pthread_mutex_lock(&lock);
	place = find(ino);
	if (place && (*place)->stored == stored)
		give_source(*place, fd);
	pthread_mutex_unlock(&lock);
}

void patchwork_end_read(struct source *source)
{
	pthread_mutex_lock(&lock);
	leave(source);
	pthread_mutex_unlock(&lock);
}
