/* A task's call, whichever way it came (trap.h, notice.h): begun, decided, settled, over. */
#ifndef FUSS_TRACER_SERVE_H
#define FUSS_TRACER_SERVE_H

#include "tracer/task.h"

#define SERVE_ATTEMPTS 8 /* of a call that is said again */

/* Starts t->call from t->regs. -ENOMEM. */
int serve_begin(struct task *t, const struct sysrow *row);
/* Decides it: call.h says what there is to decide. */
void serve_dispatch(struct task *t);
/* The result of a call with settle set, or -ECANCELED where it is not run after all. */
void serve_settle(struct task *t, long result);
/* The call is over, whatever became of it. */
void serve_over(struct task *t);
/* The same where it is not run, but will be said again: nothing of it stays. */
void serve_cancel(struct task *t);
/* The call has to wait for some other one; the task's state says so. */
void serve_wait(struct task *t);
void serve_no_wait(struct task *t);
/* True where a call waits and another has ended since this was last asked. */
bool serve_may_retry(void);

#endif
