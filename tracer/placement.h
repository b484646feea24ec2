/* Where tasks run relative to the supervisor.
 *
 * PTRACE_CONT wakes the task on another, idle CPU whenever there is one, and the next stop has to
 * cross back: a lone task pays two to three times for each trap. So while one task alone makes
 * calls ("solo"), the supervisor stays on its CPU and narrows the task's CPU mask to that CPU for
 * the wake-up only: the mask is whole again before the task can run. Measured in
 * docs/experiments. */
#ifndef FUSS_TRACER_PLACEMENT_H
#define FUSS_TRACER_PLACEMENT_H

#include "tracer/task.h"

void placement_init(void);
/* The task is at a seccomp stop. */
void placement_seen(const struct task *t);
/* Before the task is continued: true where its mask was narrowed, then placement_widen follows at
 * once. */
bool placement_narrow(struct task *t);
void placement_widen(struct task *t);
/* A child was made; where its parent's mask may have been narrow at that moment, the child is given
 * the whole one at its first stop. */
void placement_inherit(struct task *child, const struct task *parent);
void placement_started(struct task *t);
/* The task is about to be dropped. */
void placement_gone(const struct task *t);

#endif
