/* From options to a session: canonical paths, checks, masks, the private work directory, the lock.
 */
#ifndef FUSS_TRACER_SETUP_H
#define FUSS_TRACER_SETUP_H

#include "tracer/options.h"

/* Fills s (zeroed memory). Whatever is wrong ends the process with status 125 and one line. With an
 * upper, the work directory is there and empty and the upper's lock is held by an open descriptor
 * that a forked child shares. */
void setup_session(struct session *s, const struct options *o);
/* The lock names this process from now on (the supervisor, which holds it to the end). */
void setup_own_lock(void);
/* Takes the work directory and the lock away again; called by whoever ends last. */
void setup_cleanup(void);
/* Ends with status 125 where the kernel lacks a call that fuss cannot do without. */
void setup_check_kernel(void);

#endif
