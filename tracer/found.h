/* Processes that are not traced from their birth on.
 *
 * What a tracer asks ptrace for at every fork, exec, signal and exit costs a process more than its
 * notices do. So children are not attached to when they are born: a process is met when its first
 * notice comes, and it is seized (which stops nothing) as soon as it does more than being executed
 * and linked, or lives on. Until then nobody tells of its end: its record holds for a moment only.
 *
 * Traced from birth on are the children of whom they inherit more than the supervisor could find
 * out later (task_births), and all of them with --kill-leftovers, or where the kernel might not let
 * us attach later. */
#ifndef FUSS_TRACER_FOUND_H
#define FUSS_TRACER_FOUND_H

#include "tracer/task.h"

/* After notices are listened to, before the first task is seized. */
void found_init(void);
/* The options to seize a task with. */
long found_options(const struct task *t);
/* The task behind a notice (of an exec); NULL where it is gone, or out of memory. */
struct task *found_task(int tid, bool executes);
/* It is about to make this call: seizes it unless it may stay as it is. */
void found_calls(struct task *t, const struct sysrow *row);
/* Makes its process traced. 0, or -errno: it is gone. */
int found_seize(struct task *t);
/* The record of one that is not seized is nobody's any more. */
void found_forget(struct task *t);
/* The kernel is about to execute another program in it. */
void found_executes(struct task *t);
/* True where children of the task may be born unseen. */
bool found_may_miss(const struct task *t);
/* At a stop: the children of the task are traced from their birth on (vforked ones too), or not. */
void found_births(struct task *t, bool forked, bool vforked);

/* Seizes those that live on, forgets those that do not: at once, or when it is time. */
void found_sweep(void);
void found_tick(void);
/* Milliseconds until it is time; -1 = there is nobody to look after. */
int found_timeout(void);

#endif
