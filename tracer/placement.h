/* Where tasks run relative to the supervisor.
 *
 * PTRACE_CONT wakes the task on another, idle CPU whenever there is one, and the next stop has to
 * cross back: a lone task pays two to three times for each trap. So while one task alone makes
 * calls, or several in turn ("solo"), the supervisor stays on its CPU and narrows the task's CPU
 * mask to that CPU for the wake-up only: the mask is whole again before the task runs its own code.
 * Affinity calls are trapped, so no program sees it. Measured in docs/experiments. */
#ifndef FUSS_TRACER_PLACEMENT_H
#define FUSS_TRACER_PLACEMENT_H

#include "tracer/task.h"

void placement_init(void);
/* A call of the task has come. */
void placement_seen(struct task *t);
/* Right before a stopped task is continued after a trapped call: narrows its mask while solo. */
void placement_before(struct task *t);
/* Right after a task was continued: widens its mask again, unless it is only finishing a call and
 * will be back at once. */
void placement_after(struct task *t);
/* A program reads or sets CPU masks: all of them are whole, and what we knew is forgotten. */
void placement_reset(void);
/* A child was made; where its parent's mask may have been narrow at that moment, the child is given
 * the whole one at its first stop. */
void placement_inherit(struct task *child, const struct task *parent);
void placement_started(struct task *t);
/* The same of a child that nobody saw being made: the program may run before its mask is whole. */
void placement_met(const struct task *child, const struct task *parent);
/* The task is about to be dropped. */
void placement_gone(const struct task *t);

#endif
