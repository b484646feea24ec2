/* Descriptors that a program opened read-only on a lower file before the file was copied up.
 *
 * Kernel overlayfs lets them see the new file. Here they are real descriptors of the lower file, so
 * the program is made to open the upper copy and to put it in their place. */
#ifndef FUSS_TRACER_REPOINT_H
#define FUSS_TRACER_REPOINT_H

#include "tracer/task.h"

/* True where some lower file that had been opened was copied up since the process was last looked
 * at: one comparison per stop. */
bool repoint_due(const struct task *t);

/* While a notice of the task waits for its answer: as repoint(), without the program's help. */
void repoint_by_notice(struct task *t);

/* At a seccomp stop, which it leaves for a syscall-exit stop where it had anything to do.
 *   0        nothing was done
 *   1        done; *nr and arg[] are what stands in the registers now
 *   -ESRCH   the task is gone (its wait status is kept for the loop)
 * A process of several threads is left alone: a thread might be reading while its position is
 * taken over. */
int repoint(struct task *t, long *nr, u64 arg[6]);

#endif
