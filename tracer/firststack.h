/* What the kernel put on a program's first stack: argument list, environment, auxiliary vector. */
#ifndef FUSS_TRACER_FIRSTSTACK_H
#define FUSS_TRACER_FIRSTSTACK_H

#include "tracer/task.h"

struct first_stack {
    u64 sp, ip;        /* where the program begins; sp 0 = it could not be read */
    u64 base, base_at; /* AT_BASE, and where it lies; 0 = there is none */
    u64 vdso;          /* AT_SYSINFO_EHDR */
    u64 execfn;        /* AT_EXECFN */
};

/* At the stop of the exec, before the program's first instruction. What is not found is 0. */
void first_stack_read(struct task *t, struct first_stack *out);

#endif
