/* What the supervisor waits for: wait statuses of all tasks, in the order in which they came, and
 * notices. */
#ifndef FUSS_TRACER_WAIT_H
#define FUSS_TRACER_WAIT_H

#include <stdbool.h>

/* Before the first wait: notices shall be waited for too (notify.h). 0 or a negative errno. */
int wait_for_notices(void);
/* The next status of any task: its tid; 0 where a notice is there; or -1 with errno (ECHILD, EINTR)
 * as waitpid(2), or EAGAIN: it is time to look after those that are not traced. */
int wait_any(int *status);
/* False where there will be no status and no notice any more. */
bool wait_somebody(void);
/* The next status of one running task; those of others are kept for wait_any. Waiting for it alone
 * could last forever: a thread group's leader does not end before its other threads are reaped. 0
 * or -1. */
int wait_task(int tid, int *status);

#endif
