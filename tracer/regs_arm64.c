/* arm64: one register set; the call's number has a set of its own. x0 is both the first argument
 * and the result. */
#include "tracer/regs.h"
#include <elf.h>
#include <linux/audit.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#define SYSCALL_BYTES 4 /* svc #0 */

static int get_set(int tid, struct user_regs_struct *u)
{
    struct iovec io = {u, sizeof(*u)};
    return ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

static int put_set(int tid, struct user_regs_struct *u)
{
    struct iovec io = {u, sizeof(*u)};
    return ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

static int put_nr(int tid, long nr)
{
    int value = (int)nr;
    struct iovec io = {&value, sizeof(value)};
    return ptrace(PTRACE_SETREGSET, tid, (void *)NT_ARM_SYSTEM_CALL, &io) < 0 ? -errno : 0;
}

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
    r->foreign = info.arch != AUDIT_ARCH_AARCH64;
    return 0;
}

int regs_answer(int tid, long result)
{
    struct user_regs_struct u;
    int err = get_set(tid, &u);
    if (err)
        return err;
    u.regs[0] = (u64)result;
    err = put_set(tid, &u);
    return err ? err : put_nr(tid, -1);
}

int regs_rewrite(int tid, const struct regs *r, long nr, const u64 arg[6])
{
    struct user_regs_struct u;
    int err = get_set(tid, &u);
    if (err)
        return err;
    for (int i = 0; i < 6; i++)
        u.regs[i] = arg[i];
    u.regs[8] = (u64)nr;
    err = put_set(tid, &u);
    return err || nr == r->nr ? err : put_nr(tid, nr);
}

int regs_result(int tid, long *result)
{
    struct user_regs_struct u;
    int err = get_set(tid, &u);
    if (!err)
        *result = (long)u.regs[0];
    return err;
}

int regs_set_result(int tid, long result)
{
    struct user_regs_struct u;
    int err = get_set(tid, &u);
    if (err)
        return err;
    u.regs[0] = (u64)result;
    return put_set(tid, &u);
}

/* The kernel keeps the first argument of the call under way by itself (orig_x0) and would restart
 * with the rewritten one: a call that asks for a restart is said again by hand. */
int regs_restore(int tid, const struct regs *r, long nr UNUSED, const u64 arg[6] UNUSED)
{
    struct user_regs_struct u;
    int err = get_set(tid, &u);
    if (err)
        return err;
    bool again = regs_restarts((long)u.regs[0]);
    for (int i = 1; i < 6; i++)
        u.regs[i] = r->arg[i];
    u.regs[8] = (u64)r->nr;
    if (again) {
        u.regs[0] = r->arg[0];
        u.pc = r->ip - SYSCALL_BYTES;
    }
    err = put_set(tid, &u);
    return err || !again ? err : put_nr(tid, -1);
}

int regs_again(int tid, const struct regs *r, long nr UNUSED, const u64 arg[6] UNUSED)
{
    struct user_regs_struct u;
    int err = get_set(tid, &u);
    if (err)
        return err;
    for (int i = 0; i < 6; i++)
        u.regs[i] = r->arg[i];
    u.regs[8] = (u64)r->nr;
    u.pc = r->ip - SYSCALL_BYTES;
    err = put_set(tid, &u);
    return err ? err : put_nr(tid, -1);
}

int regs_inject_after(int tid, const struct regs *r, long nr, const u64 arg[6])
{
    struct user_regs_struct u;
    int err = get_set(tid, &u);
    if (err)
        return err;
    for (int i = 0; i < 6; i++)
        u.regs[i] = arg[i];
    u.regs[8] = (u64)nr;
    u.pc = r->ip - SYSCALL_BYTES;
    err = put_set(tid, &u);
    return err ? err : put_nr(tid, -1);
}

/* This kernel decides about a restart before the tracer's stop, so a call cannot be turned here:
 * notify.c asks for ptrace stops alone. */
bool regs_mark(int tid UNUSED, const struct regs *r UNUSED, const u64 arg[6] UNUSED)
{
    return false;
}

int regs_unmark(int tid UNUSED, const struct regs *r UNUSED, const u64 arg[6] UNUSED)
{
    return 0;
}

bool regs_interrupted(int tid UNUSED, struct regs *r UNUSED)
{
    return false;
}
