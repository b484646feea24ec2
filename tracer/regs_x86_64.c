/* x86_64: single registers through the user area, which is cheaper than whole register sets as long
 * as one or two change. */
#include "tracer/regs.h"
#include <linux/audit.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#define SYSCALL_BYTES 2 /* 0f 05 */
#define X32_BIT       0x40000000

static const size_t arg_offset[6] = {
    offsetof(struct user_regs_struct, rdi), offsetof(struct user_regs_struct, rsi),
    offsetof(struct user_regs_struct, rdx), offsetof(struct user_regs_struct, r10),
    offsetof(struct user_regs_struct, r8),  offsetof(struct user_regs_struct, r9),
};

static int poke(int tid, size_t offset, u64 value)
{
    return ptrace(PTRACE_POKEUSER, tid, (void *)offset, (void *)value) < 0 ? -errno : 0;
}

#define POKE(tid, reg, value) poke(tid, offsetof(struct user_regs_struct, reg), (u64)(value))

int regs_fetch(int tid, struct regs *r)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof(info), &info) < 0)
        return -errno;
    if (info.op != PTRACE_SYSCALL_INFO_SECCOMP && info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return -EINVAL;
    r->nr = (long)info.seccomp.nr;
    for (int i = 0; i < 6; i++)
        r->arg[i] = info.seccomp.args[i];
    r->ip = info.instruction_pointer;
    r->sp = info.stack_pointer;
    r->foreign = info.arch != AUDIT_ARCH_X86_64 || (r->nr & X32_BIT);
    return 0;
}

int regs_answer(int tid, long result)
{
    int err = POKE(tid, rax, result);
    return err ? err : POKE(tid, orig_rax, -1);
}

static int poke_args(int tid, const u64 now[6], const u64 want[6])
{
    int err = 0;
    for (int i = 0; i < 6 && !err; i++) {
        if (now[i] != want[i])
            err = poke(tid, arg_offset[i], want[i]);
    }
    return err;
}

int regs_rewrite(int tid, const struct regs *r, long nr, const u64 arg[6])
{
    int err = poke_args(tid, r->arg, arg);
    return err || nr == r->nr ? err : POKE(tid, orig_rax, nr);
}

int regs_result(int tid, long *result)
{
    errno = 0;
    *result = ptrace(PTRACE_PEEKUSER, tid, (void *)offsetof(struct user_regs_struct, rax), NULL);
    return -errno;
}

int regs_set_result(int tid, long result)
{
    return POKE(tid, rax, result);
}

int regs_restore(int tid, const struct regs *r, long nr, const u64 arg[6])
{
    int err = poke_args(tid, arg, r->arg);
    return err || nr == r->nr ? err : POKE(tid, orig_rax, r->nr);
}

/* orig_rax = -1: no system call is under way, so neither a restart nor a skip is looked at. */
static int rewind_to(int tid, const struct regs *r, long nr)
{
    int err = POKE(tid, rip, r->ip - SYSCALL_BYTES);
    if (!err)
        err = POKE(tid, rax, nr);
    return err ? err : POKE(tid, orig_rax, -1);
}

int regs_again(int tid, const struct regs *r, long nr UNUSED, const u64 arg[6])
{
    int err = poke_args(tid, arg, r->arg);
    return err ? err : rewind_to(tid, r, r->nr);
}

int regs_inject_after(int tid, const struct regs *r, long nr, const u64 arg[6])
{
    struct user_regs_struct u;
    if (ptrace(PTRACE_GETREGS, tid, NULL, &u) < 0)
        return -errno;
    u.rdi = arg[0];
    u.rsi = arg[1];
    u.rdx = arg[2];
    u.r10 = arg[3];
    u.r8 = arg[4];
    u.r9 = arg[5];
    u.rip = r->ip - SYSCALL_BYTES;
    u.rax = (u64)nr;
    u.orig_rax = (u64)-1;
    return ptrace(PTRACE_SETREGS, tid, NULL, &u) < 0 ? -errno : 0;
}

bool regs_mark(int tid, const struct regs *r, const u64 arg[6])
{
    struct user_regs_struct u;
    if (ptrace(PTRACE_GETREGS, tid, NULL, &u) < 0 || (long)u.rax != REGS_RESTARTNOINTR ||
        (long)u.orig_rax != r->nr || u.rip != r->ip)
        return false;
    return poke_args(tid, r->arg, arg) == 0;
}

int regs_unmark(int tid, const struct regs *r, const u64 arg[6])
{
    return poke_args(tid, arg, r->arg);
}

bool regs_interrupted(int tid, struct regs *r)
{
    struct user_regs_struct u;
    if (ptrace(PTRACE_GETREGS, tid, NULL, &u) < 0 || (long)u.rax != REGS_RESTARTSYS)
        return false;
    *r = (struct regs){.nr = (long)u.orig_rax,
                       .arg = {u.rdi, u.rsi, u.rdx, u.r10, u.r8, u.r9},
                       .ip = u.rip,
                       .sp = u.rsp};
    return true;
}
