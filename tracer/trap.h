/* Calls of stopped tasks: fetched, decided, answered or rewritten, settled. */
#ifndef FUSS_TRACER_TRAP_H
#define FUSS_TRACER_TRAP_H

#include "tracer/task.h"

/* Lets a stopped task run, to its syscall-exit stop where one is wanted. `placed`: after a trapped
 * call (see placement.h). */
void task_run(struct task *t, int sig, bool placed);
/* The task is at a seccomp stop: decides its call and lets it run, unless the call has to wait. */
void trap_seccomp(struct task *t);
/* The task is at the syscall-exit stop of a rewritten call. */
void trap_exit(struct task *t);
/* The task's exec has happened: its call is over. */
void trap_exec_over(struct task *t);
/* Settles and drops a call that the kernel will not run to its end any more. */
void trap_abandon(struct task *t, long result);
/* Dispatches waiting calls again where some other call has ended since. */
void trap_retry(void);

#endif
