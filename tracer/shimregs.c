/* A thread that is stopped by a signal in the shim: how far its call has come, and how it is
 * undone. */
#include "tracer/log.h"
#include "tracer/remote.h"
#include "tracer/shim.h"
#include "tracer/shimparts.h"
#include "tracer/supervise.h"
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <unistd.h>

#if defined(__x86_64__)

static void restore(struct user_regs_struct *u, const struct shim_saved *s)
{
    u->rsp = s->rsp;
    u->rdi = s->rdi;
    u->rsi = s->rsi;
    u->rdx = s->rdx;
    u->r10 = s->r10;
    u->r8 = s->r8;
    u->r9 = s->r9;
    u->rbx = s->rbx;
    u->rbp = s->rbp;
    u->r12 = s->r12;
    u->r13 = s->r13;
    u->r14 = s->r14;
    u->r15 = s->r15;
}

/* A call given up had listed a directory, or was about to. */
static void move_back(struct task *t, const struct shim_saved *s)
{
    struct caller *who = &t->who;
    int fd = s->moved ? who->ops.fd_get(who, (int)s->moved - 1) : -1;
    if (fd < 0)
        return;
    lseek(fd, (off_t)s->moved_pos, SEEK_SET);
    who->ops.fd_put(who, fd);
    caller_call_over();
}

/* The program's registers as they were at the site's system call, or (over) just behind it. */
static void give_up(struct task *t, struct user_regs_struct *u)
{
    const struct shim_state *m = &t->mm->shim;
    struct shim_saved saved;
    const u64 none = 0;
    u64 at = u->rip - m->base, slot;
    bool over = false, intact = false;
    bool broken_off = at == shim.head.last && regs_restarts((s64)u->rax);
    if (at >= shim.head.entry && at < shim.head.tested) {
        u->rip = u->rcx - 2;
        return;
    }
    if (at == shim.head.left || at == shim.head.freed) {
        u->rip = u->rcx;
        return;
    }
    if (at == shim.head.full || (at == shim.head.tested && (u->eflags & 1))) {
        u->rip = u->rcx - 2;
        return;
    }
    if (at >= shim.head.tested && at < shim.head.saved) {
        slot = u->r11 + SHIM_SLOT - SHIM_SAVED;
        intact = true;
    } else if (broken_off ||
               (at >= shim.head.last && at < shim.head.last_end && (s64)u->rax >= 0)) {
        slot = u->rsp;
        over = true;
    } else if (at > shim.head.finish && at < shim.head.freed) {
        slot = u->r11;
        over = true;
    } else if (at > shim.head.leave && at < shim.head.left) {
        slot = u->r11;
    } else {
        over = at == shim.head.finish;
        slot = (u->rsp - 1) | (SHIM_SLOT - 1);
        slot = slot + 1 - SHIM_SAVED;
    }
    if (slot < m->slots || slot >= m->slots + SHIM_SLOTS * (u64)SHIM_SLOT ||
        remote_read(t, &saved, slot, sizeof(saved))) {
        log_debug("%d: lost in the shim at 0x%lx", t->tid, at);
        return;
    }
    if (!intact && saved.over && !over) {
        over = true;
        u->rax = (u64)saved.result;
    }
    if (over && !broken_off && saved.touch)
        overlay_touch_all(sup.overlay);
    if (intact) {
        u->rip = u->rcx - 2;
    } else {
        restore(u, &saved);
        if (!over) {
            u->rax = saved.rax;
            move_back(t, &saved);
        }
        u->rip = over ? saved.rcx : saved.rcx - 2;
    }
    /* An open that waited is the kernel's to begin again, or to end, at the site. */
    u->orig_rax = broken_off ? saved.rax : (u64)-1;
    remote_poke(t, slot, &none, sizeof(none));
}

/* A program that mapped them itself wrote down where. */
static u64 slots_of(struct task *t)
{
    struct shim_state *s = &t->mm->shim;
    if (!s->slots && remote_read(t, &s->slots, s->base + shim.head.own, sizeof(s->slots)))
        s->slots = 0;
    return s->slots;
}

enum shim_signal shim_signal(struct task *t, int sig)
{
    struct user_regs_struct u;
    siginfo_t info;
    u64 base = t->mm ? t->mm->shim.base : 0;
    /* SIGSTOP, which no mask keeps out, runs nothing: the call goes on after it. */
    if (!base || sig == SIGSTOP || ptrace(PTRACE_GETREGS, t->tid, NULL, &u) < 0)
        return SHIM_OUTSIDE;
    if (shim_early_failed(t, &u, sig)) {
        ptrace(PTRACE_SETREGS, t->tid, NULL, &u);
        return SHIM_FAULT;
    }
    u64 slots = slots_of(t);
    if (!slots)
        return SHIM_OUTSIDE;
    bool on_slot = u.rsp > slots && u.rsp <= slots + SHIM_SLOTS * (u64)SHIM_SLOT;
    if (!on_slot && (u.rip < base || u.rip >= base + shim.head.stubs))
        return SHIM_OUTSIDE;
    bool own = (sig == SIGSEGV || sig == SIGBUS) &&
               ptrace(PTRACE_GETSIGINFO, t->tid, NULL, &info) == 0 && info.si_code > 0;
    give_up(t, &u);
    ptrace(PTRACE_SETREGS, t->tid, NULL, &u);
    log_debug("%d: signal %d in the shim", t->tid, sig);
    return own ? SHIM_FAULT : SHIM_GIVEN_UP;
}

#endif
