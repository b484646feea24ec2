/* Calls that come by a notice (notify.h): decided and answered without a ptrace stop.
 *
 * What only the program itself can do takes the ptrace way after all: the program is made to say
 * the call again with a mark in its sixth argument, which the filter turns into a ptrace stop
 * (trap.h). */
#ifndef FUSS_TRACER_NOTICE_H
#define FUSS_TRACER_NOTICE_H

#include "tracer/task.h"

/* A notice is there: receives it, decides its call and answers, unless the call has to wait. */
void notice_arrived(void);
/* Decides a call that had to wait once more. */
void notice_decide(struct task *t);

/* The task is at a stop that is no call's: if it is on the ptrace way, its call gets the mark. */
void notice_stopped(struct task *t);
/* It is at a call's stop, whose registers are `now`: where the mark asked for it, the sixth
 * argument is the program's again. */
void notice_retraced(struct task *t, struct regs *now);
/* It is at a signal-delivery stop. Natively no signal breaks off a call that the filter sends
 * here, so the wait for us must not be what its handler sees. */
void notice_signal(struct task *t);
/* Makes `nr`, run by the program for us with these arguments, pass by the notices. False where it
 * leaves none; and for clone, whose child would keep the mark: that leaves one once more. */
bool notice_mark(long nr, u64 arg[6]);

#endif
