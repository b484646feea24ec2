/* Memory of a stopped task. */
#ifndef FUSS_TRACER_REMOTE_H
#define FUSS_TRACER_REMOTE_H

#include "tracer/task.h"

/* All n bytes or -EFAULT, with the rights that the program itself has on its memory. */
int remote_read(struct task *t, void *dst, u64 addr, size_t n);
int remote_write(struct task *t, u64 addr, const void *src, size_t n);
/* A NUL-terminated string: its length, -EFAULT, or -ENAMETOOLONG where no NUL is in cap. */
long remote_read_str(struct task *t, char *dst, u64 addr, size_t cap);
/* Writes into memory that the program cannot write (scratch, text). All or -EFAULT. */
int remote_poke(struct task *t, u64 addr, const void *src, size_t n);

#endif
