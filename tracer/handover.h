/* A descriptor of ours for a stopped program.
 *
 * Kernel overlayfs asks the program's rights of the merged view alone. A real path leads through
 * the directories of one layer, which may be closed to a program that changed its ids: what the
 * view allows and the path refuses is opened here, as the program, and handed over. */
#ifndef FUSS_TRACER_HANDOVER_H
#define FUSS_TRACER_HANDOVER_H

#include "tracer/task.h"

/* At a syscall-exit stop: gives the program the open file description of `fd`. Its lowest free
 * descriptor, or -EMFILE, -EACCES (a program with a filter of its own is asked nothing); -ESRCH
 * with t->has_status where the task is gone. *nr and arg[] are what stands in the registers
 * afterwards. */
long handover(struct task *t, int fd, bool cloexec, long *nr, u64 arg[6]);
/* The same for a directory that becomes its working directory: 0 or negative errno. */
long handover_cwd(struct task *t, int fd, long *nr, u64 arg[6]);

#endif
