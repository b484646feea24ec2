#include "tracer/notice.h"
#include "tracer/filter.h"
#include "tracer/found.h"
#include "tracer/log.h"
#include "tracer/notify.h"
#include "tracer/placement.h"
#include "tracer/repoint.h"
#include "tracer/serve.h"
#include "tracer/shim.h"
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool leaves_notice(long nr)
{
    const struct sysrow *row = notify_fd() < 0 ? NULL : systab_row(nr);
    return row && row->handler != CALL_ENOSYS;
}

/* -- the ptrace way ---------------------------------------------------------------------- */

/* The program makes the call once more, from where the instruction is. */
static void say_again(struct task *t)
{
    t->state = TASK_RUNNING;
    ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
    notify_answer(t->notice, REGS_RESTARTNOINTR);
}

/* Nothing of the call stays. The stop asked for comes before the program runs again. */
static void retrace(struct task *t)
{
    if (t->call)
        serve_cancel(t);
    int err = found_seize(t);
    if (err) {
        t->state = TASK_RUNNING;
        notify_answer(t->notice, err);
        return;
    }
    t->retrace = RETRACE_ASKED;
    say_again(t);
}

void notice_stopped(struct task *t)
{
    u64 marked[6];
    if (t->retrace != RETRACE_ASKED)
        return;
    memcpy(marked, t->regs.arg, sizeof(marked));
    filter_mark(systab_row(t->regs.nr), marked);
    t->retrace = regs_mark(t->tid, &t->regs, marked) ? RETRACE_MARKED : RETRACE_NONE;
}

void notice_retraced(struct task *t, struct regs *now)
{
    if (t->retrace != RETRACE_MARKED)
        return;
    t->retrace = RETRACE_NONE;
    const struct sysrow *row = now->foreign ? NULL : systab_row(now->nr);
    if (row && filter_is_marked(row, now->arg)) {
        u64 marked[6];
        memcpy(marked, now->arg, sizeof(marked));
        unsigned i = filter_mark(row, now->arg);
        now->arg[i] = t->regs.arg[i];
        regs_unmark(t->tid, now, marked);
    }
}

void notice_signal(struct task *t)
{
    struct regs now;
    if (notify_fd() < 0)
        return;
    if (t->retrace == RETRACE_MARKED) {
        /* Its handler comes first and must not see the mark; afterwards the call leaves a notice
         * again. */
        u64 marked[6];
        memcpy(marked, t->regs.arg, sizeof(marked));
        filter_mark(systab_row(t->regs.nr), marked);
        regs_unmark(t->tid, &t->regs, marked);
        t->retrace = RETRACE_NONE;
    }
    if (!regs_interrupted(t->tid, &now))
        return;
    bool ours = leaves_notice(now.nr);
    /* The kernel itself was at it, where it was told to: a fifo's open waits. */
    if (t->passed && now.nr == t->regs.nr && now.ip == t->regs.ip &&
        memcmp(now.arg, t->regs.arg, sizeof(now.arg)) == 0)
        ours = false;
    if (ours)
        regs_set_result(t->tid, REGS_RESTARTNOINTR);
}

bool notice_mark(long nr, u64 arg[6])
{
    if (!leaves_notice(nr) || systab_row(nr)->handler == CALL_CLONE)
        return false;
    filter_mark(systab_row(nr), arg);
    return true;
}

/* -- answers ----------------------------------------------------------------------------- */

/* Killed meanwhile (-ENOENT) or not: the call is over. */
static void over(struct task *t, const char *action, bool known, long result)
{
    t->attempts = 0;
    t->state = TASK_RUNNING;
    if (log_level >= LOG_INTERCEPT)
        log_call(t, t->call, action, known, result);
    serve_over(t);
}

static void answer(struct task *t, long result)
{
    notify_answer(t->notice, result);
    over(t, "done", true, result);
}

/* Whether a signal may find the kernel waiting in it: in an open, of a fifo or a file with a lease,
 * and in what has to do with sockets. What names and metadata take waits for no one. */
static bool may_wait(const struct sysrow *row)
{
    if (row->traits & SYS_SUPERVISOR)
        return true;
    switch ((enum call_handler)row->handler) {
    case CALL_CHMOD:
    case CALL_CHOWN:
    case CALL_UTIMES:
    case CALL_SETXATTR:
    case CALL_REMOVEXATTR:
    case CALL_MKDIR:
    case CALL_MKNOD:
    case CALL_SYMLINK:
    case CALL_LINK:
    case CALL_UNLINK:
    case CALL_RENAME:
        return false;
    default:
        return row->want != WANT_LOOKUP;
    }
}

static void pass(struct task *t)
{
    const struct call *c = t->call;
    bool executes = c->row->handler == CALL_EXEC && (c->by_fd || c->place.exists);
    if (executes && !t->seized && shim_expects(t))
        found_seize(t);
    t->passed = may_wait(c->row);
    over(t, "pass", false, 0);
    if (executes)
        found_executes(t);
    notify_continue(t->notice);
}

/* Opens for the program what it wants opened. False: the call is to be decided again. */
static bool open_for_it(struct task *t)
{
    struct call *c = t->call;
    int fd = call_open_here(c);
    if (fd == -EAGAIN) { /* it might have to wait: a lease, or no regular file any more */
        retrace(t);
        return true;
    }
    c->result = fd;
    if (c->settle)
        serve_settle(t, fd);
    bool again = c->settle && c->restart;
    if (c->give_fd >= 0) {
        if (fd >= 0)
            close(fd);
        fd = c->give_fd;
        c->give_fd = -1;
    }
    if (c->result < 0 || again) {
        if (fd >= 0)
            close(fd);
        if (!again)
            answer(t, c->result);
        return !again;
    }
    repoint_by_notice(t);
    placement_before(t); /* the one answer whose wake-up would look for an idle CPU */
    long r = notify_give(t->notice, fd, c->open_flags & O_CLOEXEC);
    placement_after(t);
    close(fd);
    if (r < 0)
        answer(t, r);
    else
        over(t, "open", true, r);
    return true;
}

void notice_decide(struct task *t)
{
    struct call *c = t->call;
    for (;;) {
        serve_dispatch(t);
        if (c->action == CALL_WAIT) {
            if (found_seize(t) == 0) { /* to be told if it ends meanwhile */
                serve_wait(t);
                return;
            }
            answer(t, -EINTR);
            return;
        }
        if (c->action == CALL_PASS) {
            pass(t);
            return;
        }
        if (c->action == CALL_DONE) {
            repoint_by_notice(t);
            answer(t, c->result);
            return;
        }
        if (!c->open_here || (c->open_flags & O_PATH)) { /* which cannot be given */
            retrace(t);
            return;
        }
        if (open_for_it(t))
            return;
        c->attempts = ++t->attempts;
        call_begin(c);
    }
}

void notice_arrived(void)
{
    struct notice n;
    if (notify_receive(&n))
        return;
    const struct sysrow *row = n.regs.foreign ? NULL : systab_row(n.regs.nr);
    struct task *t = found_task(n.tid, row && row->handler == CALL_EXEC);
    if (!t || !t->proc || !row) {
        notify_answer(n.id, -ENOSYS);
        return;
    }
    t->regs = n.regs;
    t->notice = n.id;
    t->noticed = true;
    t->passed = false;
    t->retrace = RETRACE_NONE;
    t->state = TASK_STOPPED;
    placement_seen(t);
    found_calls(t, row);
    if (t->comm[0]) { /* to be set at a stop, see exec_name() */
        retrace(t);
        return;
    }
    if (row->nr == SYS_unshare || row->nr == SYS_setns ||
        row->nr == SYS_chroot) { /* see found_births() */
        retrace(t);
        return;
    }
    repoint_by_notice(t);
    shim_repointed(t);
    if (shim_due(t)) {
        enum shim_here here = shim_visit_here(t);
        t->shim_visit = here == SHIM_AT_A_STOP;
        if (t->shim_visit) {
            retrace(t);
            return;
        }
        if (here == SHIM_SAY_AGAIN) {
            say_again(t);
            return;
        }
    }
    if (serve_begin(t, row)) {
        t->state = TASK_RUNNING;
        notify_answer(n.id, -ENOMEM);
        return;
    }
    notice_decide(t);
}
