/* Calls that the supervisor makes a task execute, and the scratch memory they give us. */
#ifndef FUSS_TRACER_INJECT_H
#define FUSS_TRACER_INJECT_H

#include "tracer/task.h"

/* At a seccomp stop: runs one call in the program and leaves the task so that, when continued, the
 * original instruction is executed, and trapped, again. The call's result; -ESRCH where the task
 * died or left by an exec meanwhile (its wait status is kept for the loop: do nothing more with
 * it). */
long inject_syscall(struct task *t, long nr, const u64 arg[6]);

/* At the syscall-exit stop of the call t->regs: runs one call and comes back to an exit stop;
 * registers hold the injected call's afterwards, so restore and set a result next. -ESRCH as
 * above. Signals that arrive meanwhile are sent to the task again. */
long inject_after(struct task *t, long nr, const u64 arg[6]);

/* Address of `bytes` of scratch: memory that the program can read and not write, filled with
 * remote_poke. Held until the call under way ends (scratch_release). Where the program had to map
 * it first, *reexec is set: the caller then cancels its call (call_settle(c, -ECANCELED)) and lets
 * it trap again; the address is not to be used. 0 where there is no memory (answer -ENOMEM) or,
 * with *reexec set, where the task is gone. */
u64 scratch_get(struct task *t, size_t bytes, bool *reexec);
void scratch_release(struct task *t);
/* Such memory that is there already: nothing needs to be mapped before it is used up. */
void scratch_offer(struct mm *mm, u64 addr, u64 size);
/* The program unmapped or replaced its scratch (a poke failed): new areas from now on. */
void scratch_forget(struct task *t);

#endif
