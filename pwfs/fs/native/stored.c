/*
 * The files of contents that the daemon read and found to hold what their names say.
 *
 * Each has a number that is never given to another, and its file's identity when it was read. As
 * long as the file has that identity still, it may be read without asking the daemon; whoever
 * changes it through the filesystem changes one of these. Few enough are known: a number's place is
 * its remainder, and a later one takes it.
 */

#define _GNU_SOURCE

#include "stored.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

#define PLACES 65536u
/* Of a path, with its end; the daemon answers for what has a longer one. */
#define PATH_BYTES_MAX 1024

struct identity {
	uint64_t device, ino;
	int64_t size_bytes, mtime_ns, ctime_ns;
};

struct stored {
	uint64_t number;
	struct identity identity;
	char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stored *places[PLACES];

static int64_t nanoseconds(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

/* Whether a content is known by this number. */
EXPORTED int patchwork_knows(uint64_t number)
{
	const struct stored *stored;
	int knows;

	pthread_mutex_lock(&lock);
	stored = places[number % PLACES];
	knows = stored && stored->number == number;
	pthread_mutex_unlock(&lock);
	return knows;
}

/* Takes note of a content's file, found good when it had this identity. */
EXPORTED void patchwork_know(uint64_t number, const char *path, uint64_t device, uint64_t ino,
			     int64_t size_bytes, int64_t mtime_ns, int64_t ctime_ns)
{
	size_t length = strlen(path) + 1;
	struct stored *stored, *before;

	if (length > PATH_BYTES_MAX)
		return;
	stored = malloc(sizeof(*stored) + length);
	if (!stored)
		return;
	stored->number = number;
	stored->identity = (struct identity){device, ino, size_bytes, mtime_ns, ctime_ns};
	memcpy(stored->path, path, length);
	pthread_mutex_lock(&lock);
	before = places[number % PLACES];
	places[number % PLACES] = stored;
	pthread_mutex_unlock(&lock);
	free(before);
}

int patchwork_open_stored(uint64_t number)
{
	const struct stored *stored;
	struct identity known = {0};
	struct stat now;
	char path[PATH_BYTES_MAX] = "";
	int fd;

	pthread_mutex_lock(&lock);
	stored = places[number % PLACES];
	if (stored && stored->number == number) {
		known = stored->identity;
		memcpy(path, stored->path, strlen(stored->path) + 1);
	}
	pthread_mutex_unlock(&lock);
	if (!*path)
		return -1;
	/* Something else may have taken its place: a link is not followed, a FIFO not waited for. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (fstat(fd, &now) == 0 && now.st_dev == known.device && now.st_ino == known.ino &&
	    now.st_size == known.size_bytes && nanoseconds(&now.st_mtim) == known.mtime_ns &&
	    nanoseconds(&now.st_ctim) == known.ctime_ns)
		return fd;
	close(fd);
	return -1;
}
