/* Requests that are answered without asking Python: see grants.c. */

#ifndef PATCHWORK_GRANTS_H
#define PATCHWORK_GRANTS_H

#include <stddef.h>

/* The longest read that is answered here; the kernel asks for no more. */
#define PATCHWORK_READ_MAX (1u << 20)

/*
 * Answers a request on the descriptor that it came from, if that needs nobody else. ``room`` is
 * PATCHWORK_READ_MAX bytes of the caller's. Returns whether it is answered. Any thread may call.
 */
int patchwork_answer(int fuse_fd, const void *request, size_t length, void *room);

#endif
