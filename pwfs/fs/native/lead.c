/*
 * Who waits for the next request, and how.
 *
 * To wake a thread costs more than most answers: the processor that it is to run on sleeps as well.
 * So a thread that has answered looks for the next request for a while before it sleeps. For how long
 * is learnt, as KVM learns how long to poll before it halts a processor (Linux, virt/kvm/kvm_main.c,
 * "halt polling"): for longer where what was waited for came soon after, not at all where it came late.
 *
 * For each request the kernel would wake another thread too, for nothing. So while one of them, the
 * lead, looks, the others are kept where no request wakes them. The lead is given up before a wait for
 * the disk, by who knows of one, and taken from a thread that does not look for too long.
 */

#define _GNU_SOURCE

#include "lead.h"

#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <time.h>

#define SECOND_NS UINT64_C(1000000000)
#define SPAN_MAX_NS UINT64_C(60000)
#define SPAN_FIRST_NS UINT64_C(10000)
/* For how long the lead need not look. */
#define AWAY_NS UINT64_C(1000000)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t is_free;
static uint64_t span_max_ns;
static int kept_count, keeps_none;

static _Atomic(struct patchwork_taker *) lead;
static _Atomic uint64_t looked_at;
static struct patchwork_patience patience;
/* Whether this thread may be the lead, and as whom. */
static _Thread_local struct patchwork_taker *self;

static void prepare(void)
{
	pthread_condattr_t attributes;
	cpu_set_t allowed;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&is_free, &attributes);
	pthread_condattr_destroy(&attributes);
	/* On one processor whoever looks keeps others from doing what is looked for. */
	if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && CPU_COUNT(&allowed) > 1)
		span_max_ns = SPAN_MAX_NS;
}

uint64_t patchwork_now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (uint64_t)at.tv_sec * SECOND_NS + (uint64_t)at.tv_nsec;
}

/* How long something took until now; another thread may have begun to wait since. */
static uint64_t since(uint64_t began)
{
	uint64_t now = patchwork_now();

	return now > began ? now - began : 0;
}

void patchwork_wait_begins(struct patchwork_patience *patience)
{
	atomic_store(&patience->since_ns, patchwork_now());
}

int patchwork_is_patient(struct patchwork_patience *patience)
{
	return since(atomic_load(&patience->since_ns)) < atomic_load(&patience->span_ns);
}

void patchwork_wait_ended(struct patchwork_patience *patience)
{
	uint64_t waited = since(atomic_load(&patience->since_ns));
	uint64_t span = atomic_load(&patience->span_ns);

	pthread_once(&once, prepare);
	if (waited > span_max_ns)
		span = 0;
	else if (waited > span)
		span = span ? span * 2 : SPAN_FIRST_NS;
	atomic_store(&patience->span_ns, span < span_max_ns ? span : span_max_ns);
}

static void give_up(struct patchwork_taker *taker)
{
	pthread_mutex_lock(&lock);
	/* Another thread may have taken it. */
	if (atomic_load(&lead) == taker) {
		atomic_store(&lead, NULL);
		if (kept_count)
			pthread_cond_broadcast(&is_free);
	}
	pthread_mutex_unlock(&lock);
}

static void keep(struct patchwork_taker *taker)
{
	struct timespec until;
	uint64_t look;

	pthread_once(&once, prepare);
	pthread_mutex_lock(&lock);
	kept_count++;
	while (atomic_load(&lead) && !keeps_none) {
		if (since(atomic_load(&looked_at)) > AWAY_NS) {
			atomic_store(&lead, taker);
			atomic_store(&looked_at, patchwork_now());
			break;
		}
		look = patchwork_now() + AWAY_NS;
		until.tv_sec = (time_t)(look / SECOND_NS);
		until.tv_nsec = (long)(look % SECOND_NS);
		pthread_cond_timedwait(&is_free, &lock, &until);
	}
	kept_count--;
	pthread_mutex_unlock(&lock);
}

void patchwork_found(struct patchwork_taker *taker)
{
	struct patchwork_taker *nobody = NULL;

	self = taker;
	patchwork_wait_ended(&patience);
	if (atomic_load(&patience.span_ns))
		atomic_compare_exchange_strong(&lead, &nobody, taker);
	if (atomic_load(&lead) == taker)
		atomic_store(&looked_at, patchwork_now());
}

void patchwork_answered(struct patchwork_taker *taker)
{
	self = taker;
	patchwork_wait_begins(&patience);
}

int patchwork_looks_again(struct patchwork_taker *taker)
{
	struct patchwork_taker *looking = atomic_load(&lead);

	if (looking && looking != taker) {
		keep(taker);
		return 1;
	}
	if (!looking)
		return 0;
	atomic_store(&looked_at, patchwork_now());
	if (patchwork_is_patient(&patience))
		return 1;
	give_up(taker);
	return 0;
}

void patchwork_may_block(void)
{
	if (self && atomic_load(&lead) == self)
		give_up(self);
}

void patchwork_keep_threads(int keeps)
{
	pthread_once(&once, prepare);
	pthread_mutex_lock(&lock);
	keeps_none = !keeps;
	if (keeps_none) {
		atomic_store(&lead, NULL);
		pthread_cond_broadcast(&is_free);
	}
	pthread_mutex_unlock(&lock);
}
