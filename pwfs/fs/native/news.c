/*
 * What the daemon is to learn of requests that it was not asked about: it looks whenever it is about
 * to take one that it is asked about.
 */

#define _GNU_SOURCE

#include "grants.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

/* When so much waits to be learned, further requests that bring news are the daemon's. */
#define NEWS_MAX 1024u

struct news {
	uint64_t ino;
	uint64_t what;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct news news[NEWS_MAX];
/* For how many room is kept that were not told yet. */
static size_t telling;

/* How much there is; to be read without a call. */
EXPORTED atomic_size_t patchwork_news_count;

int patchwork_keep_room(void)
{
	int is_kept;

	pthread_mutex_lock(&lock);
	is_kept = atomic_load(&patchwork_news_count) + telling < NEWS_MAX;
	telling += is_kept != 0;
	pthread_mutex_unlock(&lock);
	return is_kept;
}

void patchwork_tell(uint64_t ino, uint64_t what)
{
	size_t count;

	pthread_mutex_lock(&lock);
	count = atomic_load(&patchwork_news_count);
	news[count] = (struct news){.ino = ino, .what = what};
	atomic_store(&patchwork_news_count, count + 1);
	telling--;
	pthread_mutex_unlock(&lock);
}

/* Takes news, oldest first, at most ``count``; returns how much. */
EXPORTED size_t patchwork_take_news(struct news *taken, size_t count)
{
	size_t left;

	pthread_mutex_lock(&lock);
	left = atomic_load(&patchwork_news_count);
	if (count > left)
		count = left;
	left -= count;
	memcpy(taken, news, count * sizeof(*news));
	memmove(news, news + count, left * sizeof(*news));
	atomic_store(&patchwork_news_count, left);
	pthread_mutex_unlock(&lock);
	return count;
}
