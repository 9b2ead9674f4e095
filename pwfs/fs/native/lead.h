/* Who waits for the next request, and for how long it looks again instead of sleeping: lead.c. */

#ifndef PATCHWORK_LEAD_H
#define PATCHWORK_LEAD_H

#include <stdatomic.h>
#include <stdint.h>

/* For how long it pays to look again, and since when something is waited for. All 0 at first. */
struct patchwork_patience {
	_Atomic uint64_t span_ns, since_ns;
};

/* Nanoseconds, on the clock that all of this is measured by. */
uint64_t patchwork_now(void);

/* From now on something is waited for. */
void patchwork_wait_begins(struct patchwork_patience *patience);

/* Whether to look again rather than to sleep. */
int patchwork_is_patient(struct patchwork_patience *patience);

/* It is there: learns from how long that took. */
void patchwork_wait_ended(struct patchwork_patience *patience);

/* A thread that takes requests. Each has one, and calls the next three with it. */
struct patchwork_taker;

/* A request was found, and is answered next. */
void patchwork_found(struct patchwork_taker *taker);

/* That is done. */
void patchwork_answered(struct patchwork_taker *taker);

/* None was found: whether to look again. The thread may be kept here while another one looks. */
int patchwork_looks_again(struct patchwork_taker *taker);

/* What this thread does next may have to wait: another one is to look meanwhile. */
void patchwork_may_block(void);

/* Keeps no thread any more, or may keep them from now on. */
void patchwork_keep_threads(int keeps);

#endif
