/* The private directory on the upper's filesystem, and the lock that keeps an upper to one session.
 */
#ifndef FUSS_TRACER_WORKDIR_H
#define FUSS_TRACER_WORKDIR_H

#include "session.h"

/* Makes UPPER/WORK_NAME and takes the lock in it; ends with status 125 where another session has
 * it or the upper cannot be written. `upper` is canonical. */
void workdir_lock(const char *upper);
/* Makes the session's work directory, empty, in `parent` (the upper, or --workdir), and returns its
 * canonical path (static storage). */
const char *workdir_make(const char *parent, const char *upper);
/* What the work directory's filesystem can do; ends with status 125 where the session's style asks
 * for more. Sets s->trusted. */
void workdir_probe(struct session *s, const char *upper);
void workdir_own_lock(void);
void workdir_remove(void);

#endif
