/* From a stop to a decision, and from the exit stop to the result. */
#include "tracer/trap.h"
#include "tracer/handover.h"
#include "tracer/inject.h"
#include "tracer/log.h"
#include "tracer/notice.h"
#include "tracer/placement.h"
#include "tracer/remote.h"
#include "tracer/repoint.h"
#include "tracer/serve.h"
#include "tracer/shim.h"
#include "tracer/supervise.h"
#include "base/sys.h"
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

#define BLOB_BYTES (3 * PATH_MAX)

/* A call that the kernel will not run to its end any more. */
void trap_abandon(struct task *t, long result)
{
    bool waits = t->state == TASK_WAITING;
    if (waits)
        serve_no_wait(t);
    if (!t->call)
        return;
    if (t->call->settle && !waits)
        serve_settle(t, result);
    serve_over(t);
}

/* -- going on ---------------------------------------------------------------------------- */

/* Lets a stopped task run, to its syscall-exit stop where one is wanted. */
void task_run(struct task *t, int sig, bool placed)
{
    int request = t->state == TASK_IN_CALL ? PTRACE_SYSCALL : PTRACE_CONT;
    if (t->state != TASK_IN_CALL)
        t->state = TASK_RUNNING;
    if (placed)
        placement_before(t);
    /* ESRCH: killed; its end will be reported. */
    ptrace((enum __ptrace_request)request, t->tid, NULL, (void *)(long)sig);
    placement_after(t);
}

/* The call traps again: nothing of it stays. At an exit stop of an injected call the registers are
 * right already. */
static void say_again(struct task *t)
{
    serve_cancel(t);
    task_run(t, 0, true);
}

static void answer(struct task *t, long result)
{
    t->attempts = 0;
    if (log_level >= LOG_INTERCEPT)
        log_call(t, t->call, "done", true, result);
    regs_answer(t->tid, result);
    serve_over(t);
    task_run(t, 0, true);
}

/* Puts the blobs into scratch and points the arguments at them. 0; 1 where the call has been
 * given up to trap again; negative errno. */
static int place_blobs(struct task *t)
{
    static u8 bytes[BLOB_BYTES];
    struct call *c = t->call;
    size_t at[CALL_BLOBS], total = 0;
    bool reexec;
    for (unsigned i = 0; i < c->nblobs; i++) {
        at[i] = total;
        total += (c->blob[i].len + 7) & ~(size_t)7;
        if (total > sizeof(bytes))
            return -ENAMETOOLONG;
        memcpy(bytes + at[i], c->blob[i].bytes, c->blob[i].len);
    }
    u64 addr = scratch_get(t, total, &reexec);
    if (reexec && t->has_status)
        return 1;
    if (reexec) {
        say_again(t);
        return 1;
    }
    if (!addr)
        return -ENOMEM;
    if (remote_poke(t, addr, bytes, total)) {
        /* The program took its scratch away. */
        scratch_forget(t);
        if (t->attempts++ >= SERVE_ATTEMPTS)
            return -EFAULT;
        regs_again(t->tid, &t->regs, t->regs.nr, t->regs.arg);
        say_again(t);
        return 1;
    }
    for (unsigned i = 0; i < c->nblobs; i++)
        c->new_arg[c->blob[i].arg] = addr + at[i];
    return 0;
}

static void rewrite(struct task *t)
{
    struct call *c = t->call;
    int err = c->nblobs ? place_blobs(t) : 0;
    if (err == 1)
        return;
    notice_mark(c->new_nr, c->new_arg);
    if (!err && regs_rewrite(t->tid, &t->regs, c->new_nr, c->new_arg))
        return; /* killed: its end is reported */
    if (err) {
        if (c->settle)
            serve_settle(t, err);
        answer(t, err);
        return;
    }
    t->state = TASK_IN_CALL;
    t->passed = true;
    task_run(t, 0, true);
}

/* The call copied a file up that the program has open: its descriptors are put right first. Then
 * the result is given, or the program says the call again. False: nothing to put right. */
static bool repointed(struct task *t)
{
    struct call *c = t->call;
    u64 arg[6];
    long nr;
    int done = repoint_due(t) ? repoint(t, &nr, arg) : 0;
    if (done == 0)
        return false;
    if (done < 0)
        return true;
    if (c->action == CALL_DONE) {
        if (log_level >= LOG_INTERCEPT)
            log_call(t, c, "done", true, c->result);
        regs_restore(t->tid, &t->regs, nr, arg);
        regs_set_result(t->tid, c->result);
        t->attempts = 0;
        serve_over(t);
        task_run(t, 0, true);
    } else {
        regs_again(t->tid, &t->regs, nr, arg);
        say_again(t);
    }
    return true;
}

static void decide(struct task *t)
{
    struct call *c = t->call;
    serve_dispatch(t);
    if (t->has_status || repointed(t))
        return;
    if (c->restart) {
        say_again(t);
        return;
    }
    switch (c->action) {
    case CALL_PASS:
        call_begin_rewrite(c);
        if (notice_mark(c->row->nr, c->new_arg)) { /* the kernel judges it once more */
            rewrite(t);
            break;
        }
        t->attempts = 0;
        if (log_level >= LOG_INTERCEPT)
            log_call(t, c, "pass", false, 0);
        t->passed = true;
        serve_over(t);
        task_run(t, 0, true);
        break;
    case CALL_DONE:
        answer(t, c->result);
        break;
    case CALL_REWRITE:
        rewrite(t);
        break;
    case CALL_WAIT:
        serve_wait(t);
        break;
    }
}

void trap_seccomp(struct task *t)
{
    struct regs now;
    t->state = TASK_STOPPED;
    if (regs_fetch(t->tid, &now))
        return;
    notice_retraced(t, &now);
    t->regs = now;
    t->noticed = t->passed = false;
    placement_seen(t);
    if (t->comm[0] && exec_name(t)) {
        if (!t->has_status)
            task_run(t, 0, true);
        return;
    }
    if (t->shim_visit) {
        t->shim_visit = false;
        if (shim_visit(t)) {
            if (!t->has_status)
                task_run(t, 0, true);
            return;
        }
    }
    if (repoint_due(t)) {
        /* Another process copied a file up since this one was last looked at. */
        u64 arg[6];
        long nr;
        int done = repoint(t, &nr, arg);
        if (done > 0) {
            regs_again(t->tid, &t->regs, nr, arg);
            task_run(t, 0, true);
        }
        if (done)
            return;
    }
    const struct sysrow *row = t->regs.foreign ? NULL : systab_row(t->regs.nr);
    if (!row) {
        /* Not ours: the program's own filter may trace, and nobody may listen to it (ENOSYS). */
        regs_answer(t->tid, -ENOSYS);
        task_run(t, 0, true);
        return;
    }
    if (serve_begin(t, row)) {
        regs_answer(t->tid, -ENOMEM);
        task_run(t, 0, true);
        return;
    }
    decide(t);
}

/* The exit stop of a rewritten call. */
void trap_exit(struct task *t)
{
    struct call *c = t->call;
    long result = 0, nr;
    u64 arg[6];
    if (t->state != TASK_IN_CALL || !c) {
        task_run(t, 0, false);
        return;
    }
    nr = c->new_nr;
    memcpy(arg, c->new_arg, sizeof(arg));
    if (regs_result(t->tid, &result))
        return;
    t->passed = regs_restarts(result);
    c->result = result;
    if (c->settle)
        serve_settle(t, result);
    bool spoke = false; /* the program was made to execute calls of ours */
    if (c->settle && c->give_fd >= 0) {
        if (c->row->handler == CALL_CHDIR)
            c->result = handover_cwd(t, c->give_fd, &nr, arg);
        else
            c->result = handover(t, c->give_fd, c->give_cloexec, &nr, arg);
        close(c->give_fd);
        c->give_fd = -1;
        if (t->has_status)
            return;
        spoke = true;
    }
    if (c->settle && c->close_fd >= 0) {
        const u64 close_arg[6] = {(u64)c->close_fd};
        if (inject_after(t, SYS_close, close_arg) == -ESRCH && t->has_status)
            return;
        spoke = true;
        nr = SYS_close;
        memcpy(arg, close_arg, sizeof(arg));
    }
    if (log_level >= LOG_INTERCEPT)
        log_call(t, c, c->settle && c->restart ? "again" : "rewrite", true, c->result);
    if (c->settle && c->restart) {
        t->attempts++;
        regs_again(t->tid, &t->regs, nr, arg);
    } else {
        t->attempts = 0;
        regs_restore(t->tid, &t->regs, nr, arg);
        if (!regs_restarts(result) && (c->result != result || spoke))
            regs_set_result(t->tid, c->result);
    }
    serve_over(t);
    t->state = TASK_STOPPED;
    task_run(t, 0, true);
}

void trap_exec_over(struct task *t)
{
    if (!t->call)
        return;
    if (log_level >= LOG_INTERCEPT)
        log_call(t, t->call, "rewrite", true, 0);
    serve_over(t);
}

/* -- calls that wait --------------------------------------------------------------------- */

static void try_waiting(struct task *t, void *arg UNUSED)
{
    if (t->state != TASK_WAITING)
        return;
    serve_no_wait(t);
    call_begin(t->call);
    if (t->noticed)
        notice_decide(t);
    else
        decide(t);
}

void trap_retry(void)
{
    while (serve_may_retry())
        task_each(try_waiting, NULL);
}
