/* Registers of a stopped task, as far as system calls go. One file per architecture implements it;
 * everything above speaks of numbers, arguments and results only. All functions return 0 or a
 * negative errno (-ESRCH: the task was killed while it was stopped). */
#ifndef FUSS_TRACER_REGS_H
#define FUSS_TRACER_REGS_H

#include "base/base.h"

/* Whether a call can be turned at a stop of another kind (regs_mark). */
#if defined(__x86_64__)
#define REGS_CAN_MARK true
#else
#define REGS_CAN_MARK false
#endif

#define REGS_RESTARTSYS    (-512)
#define REGS_RESTARTNOINTR (-513)

struct regs {
    long nr;    /* the call's number as the program gave it */
    u64 arg[6]; /* its arguments as the program gave them */
    u64 ip;     /* behind the system call instruction */
    u64 sp;
    bool foreign; /* not this architecture's own calling convention (int 0x80, x32) */
};

/* At a seccomp stop: fills r. */
int regs_fetch(int tid, struct regs *r);
/* At a seccomp stop: the kernel shall not run the call; the program sees `result`. */
int regs_answer(int tid, long result);
/* At a seccomp stop: the kernel shall run `nr` with `arg` in the place of what r says. */
int regs_rewrite(int tid, const struct regs *r, long nr, const u64 arg[6]);
/* At a syscall-exit stop: what the kernel returned (a value or -errno, -ERESTART* included). */
int regs_result(int tid, long *result);
/* At a syscall-exit stop: the program sees `result`. */
int regs_set_result(int tid, long result);
/* At the syscall-exit stop of a rewritten call: argument registers and the number (which the
 * kernel's restart would use) are r's again; the result is left alone. */
int regs_restore(int tid, const struct regs *r, long nr, const u64 arg[6]);
/* At a seccomp or a syscall-exit stop whose call was `r`: once continued, the program executes the
 * same instruction with r's number and arguments again. At a seccomp stop the present call is
 * skipped. `nr` and `arg` are what stands in the registers now (r's own, where nothing was
 * rewritten). */
int regs_again(int tid, const struct regs *r, long nr, const u64 arg[6]);
/* At a stop other than a call's own, after a call that came by a notice was answered with -513 (say
 * it again): the program will say it with `arg` in the place of r's. False where it stands
 * elsewhere. */
bool regs_mark(int tid, const struct regs *r, const u64 arg[6]);
/* At any stop: the arguments are r's again, where they are `arg` now. */
int regs_unmark(int tid, const struct regs *r, const u64 arg[6]);
/* At a signal-delivery stop: true where the kernel broke a call off with -512, to be said again
 * unless the program's handler is against it. Fills nr, arg and ip of r. */
bool regs_interrupted(int tid, struct regs *r);
/* At a syscall-exit stop: once continued, the program executes the same instruction with another
 * call. */
int regs_inject_after(int tid, const struct regs *r, long nr, const u64 arg[6]);
/* True for the kernel's own "say it again" codes, which a program never sees. */
static inline bool regs_restarts(long result)
{
    return result <= -512 && result >= -516 && result != -515;
}

#endif
