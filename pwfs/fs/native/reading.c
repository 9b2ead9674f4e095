/*
 * Threads that take requests from the kernel, answer what needs nobody else (grants.c), and leave
 * the rest for pyfuse3, which finds it where it would read from the kernel: in
 * fuse_session_receive_buf.
 *
 * Python waits on one descriptor until there is something. Everything else of libfuse's stays on
 * Python's thread. A request is never dropped: what was taken when the threads end is still given out.
 */

#define _GNU_SOURCE
#define FUSE_USE_VERSION 35

#include "grants.h"
#include "lead.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

#define TAKERS_MAX 4
/* What libfuse reserves for a request: the longest write, and what stands before it. */
#define REQUEST_PAGES_MAX 256
#define REQUEST_HEADER_BYTES 4096
/* Buffers that are kept for the next requests. */
#define SPARE_MAX 8

struct taken {
	void *mem;
	size_t length;
	struct taken *next;
};

/* A thread, what it waits by, and where it puts what it reads for a program. */
struct patchwork_taker {
	pthread_t thread;
	int waiting;
	void *room;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct taken *first, **last = &first;
static _Atomic size_t taken_count;
static void *spare[SPARE_MAX];
static size_t spare_count;
static _Atomic int gone;

static struct patchwork_taker takers[TAKERS_MAX];
static int taker_count;
static int device = -1, filled = -1, ending = -1;
static size_t request_bytes_max;

static void signal_event(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void *get_buffer(void)
{
	void *mem = NULL;

	pthread_mutex_lock(&lock);
	if (spare_count)
		mem = spare[--spare_count];
	pthread_mutex_unlock(&lock);
	return mem ? mem : malloc(request_bytes_max);
}

static void put_buffer(void *mem)
{
	pthread_mutex_lock(&lock);
	if (mem && spare_count < SPARE_MAX) {
		spare[spare_count++] = mem;
		mem = NULL;
	}
	pthread_mutex_unlock(&lock);
	free(mem);
}

/* Leaves a request for Python; takes the buffer over. Returns -1 if there is no memory. */
static int leave(void *mem, size_t length)
{
	struct taken *taken = malloc(sizeof(*taken));
	int was_empty;

	if (!taken)
		return -1;
	*taken = (struct taken){.mem = mem, .length = length};
	pthread_mutex_lock(&lock);
	was_empty = first == NULL;
	*last = taken;
	last = &taken->next;
	taken_count++;
	pthread_mutex_unlock(&lock);
	if (was_empty)
		signal_event(filled);
	return 0;
}

/* Refuses a request for which there is no memory. */
static void refuse(const void *mem)
{
	const struct fuse_in_header *asked = mem;
	struct fuse_out_header header = {
		.len = sizeof(header),
		.error = -ENOMEM,
		.unique = asked->unique,
	};
	ssize_t written;

	if (asked->opcode == FUSE_FORGET || asked->opcode == FUSE_BATCH_FORGET ||
	    asked->opcode == FUSE_INTERRUPT)
		return;
	written = write(device, &header, sizeof(header));
	(void)written;
}

static void end_of_requests(void)
{
	pthread_mutex_lock(&lock);
	gone = 1;
	pthread_mutex_unlock(&lock);
	signal_event(filled);
}

/* Until there is memory again requests wait in the kernel. */
static void *wait_for_buffer(void)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
	void *mem;

	while (!(mem = get_buffer()))
		nanosleep(&pause, NULL);
	return mem;
}

/* Answers a request or leaves it; returns the buffer for the next one. */
static void *handle(void *mem, size_t length, void *room)
{
	if (patchwork_answer(device, mem, length, room))
		return mem;
	if (leave(mem, length) == 0)
		return wait_for_buffer();
	refuse(mem);
	return mem;
}

static void *take(void *argument)
{
	struct patchwork_taker *taker = argument;
	struct epoll_event event;
	void *mem = wait_for_buffer();
	ssize_t length;
	int found;

	for (;;) {
		length = read(device, mem, request_bytes_max);
		if (length > 0) {
			patchwork_found(taker);
			mem = handle(mem, (size_t)length, taker->room);
			patchwork_answered(taker);
			continue;
		}
		/* ENOENT: the request was taken back; EINTR: a signal. */
		if (length < 0 && (errno == ENOENT || errno == EINTR))
			continue;
		if (length == 0 || errno != EAGAIN) {
			/* ENODEV: unmounted. */
			end_of_requests();
			break;
		}
		if (patchwork_looks_again(taker))
			continue;
		found = epoll_wait(taker->waiting, &event, 1, -1);
		if (found > 0 && event.data.fd == ending)
			break;
	}
	put_buffer(mem);
	return NULL;
}

static void dismiss(struct patchwork_taker *taker)
{
	if (taker->waiting >= 0)
		close(taker->waiting);
	free(taker->room);
}

static int begin(struct patchwork_taker *taker)
{
	struct epoll_event end = {.events = EPOLLIN, .data.fd = ending};
	/* One thread is woken for one request. */
	struct epoll_event request = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = device};

	taker->room = malloc(PATCHWORK_READ_MAX);
	taker->waiting = epoll_create1(EPOLL_CLOEXEC);
	if (taker->room && taker->waiting >= 0 &&
	    epoll_ctl(taker->waiting, EPOLL_CTL_ADD, ending, &end) == 0 &&
	    epoll_ctl(taker->waiting, EPOLL_CTL_ADD, device, &request) == 0 &&
	    pthread_create(&taker->thread, NULL, take, taker) == 0)
		return 0;
	dismiss(taker);
	return -1;
}

/*
 * Begins to take requests from the kernel by ``count`` threads. Returns a descriptor that is
 * readable while requests wait for Python, or -1: then requests are taken as without this library.
 */
EXPORTED int patchwork_take(int fuse_fd, int count)
{
	int flags = fcntl(fuse_fd, F_GETFL);

	if (device >= 0 || flags < 0 || count > TAKERS_MAX)
		return -1;
	request_bytes_max = REQUEST_PAGES_MAX * (size_t)getpagesize() + REQUEST_HEADER_BYTES;
	filled = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (filled < 0 || ending < 0 || fcntl(fuse_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		goto failed;
	device = fuse_fd;
	patchwork_keep_threads(1);
	while (taker_count < count && begin(&takers[taker_count]) == 0)
		taker_count++;
	if (taker_count)
		return filled;
	fcntl(fuse_fd, F_SETFL, flags);
failed:
	if (filled >= 0)
		close(filled);
	if (ending >= 0)
		close(ending);
	filled = ending = device = -1;
	return -1;
}

/* Leaves all further requests in the kernel; those taken already are still given out. */
EXPORTED void patchwork_take_nothing(void)
{
	if (!taker_count)
		return;
	signal_event(ending);
	patchwork_keep_threads(0);
	while (taker_count) {
		taker_count--;
		pthread_join(takers[taker_count].thread, NULL);
		dismiss(&takers[taker_count]);
	}
}

/* How many requests wait for Python; the end of all requests counts as one. */
EXPORTED size_t patchwork_waiting(void)
{
	return taken_count + (gone ? 1 : 0);
}

/* By which Python looks again; only its thread uses this. */
static struct patchwork_patience patience;
static int is_awaiting;

/* What a processor is told that does nothing but look. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Waits for a request for Python for as long as it pays not to sleep; returns whether there is one. */
EXPORTED int patchwork_await(void)
{
	patchwork_wait_begins(&patience);
	is_awaiting = 1;
	while (!patchwork_waiting()) {
		if (!patchwork_is_patient(&patience))
			return 0;
		relax();
	}
	return 1;
}

static int give_out(struct fuse_session *se, struct fuse_buf *buf)
{
	struct taken *taken;
	uint64_t count;
	ssize_t emptied;
	int is_gone;

	pthread_mutex_lock(&lock);
	taken = first;
	if (taken) {
		first = taken->next;
		taken_count--;
		if (!first)
			last = &first;
	}
	is_gone = gone;
	if (!first && !gone) {
		emptied = read(filled, &count, sizeof(count));
		(void)emptied;
	}
	pthread_mutex_unlock(&lock);
	if (!taken) {
		if (!is_gone)
			return -EINTR;
		fuse_session_exit(se);
		return 0;
	}
	if (is_awaiting)
		patchwork_wait_ended(&patience);
	is_awaiting = 0;
	put_buffer(buf->mem);
	buf->mem = taken->mem;
	buf->size = taken->length;
	buf->flags = 0;
	free(taken);
	return (int)buf->size;
}

EXPORTED int fuse_session_receive_buf(struct fuse_session *se, struct fuse_buf *buf)
{
	static int (*libfuse_receive_buf)(struct fuse_session *, struct fuse_buf *);

	if (device >= 0)
		return give_out(se, buf);
	if (!libfuse_receive_buf)
		*(void **)&libfuse_receive_buf = dlsym(RTLD_NEXT, "fuse_session_receive_buf");
	return libfuse_receive_buf ? libfuse_receive_buf(se, buf) : -ENOSYS;
}
