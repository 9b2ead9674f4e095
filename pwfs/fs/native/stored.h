/* Contents that the daemon has found good: see stored.c. */

#ifndef PATCHWORK_STORED_H
#define PATCHWORK_STORED_H

#include <stdint.h>

/* Opens a content by its number, if its file is what it was; -1 if not. Any thread may call. */
int patchwork_open_stored(uint64_t number);

#endif
