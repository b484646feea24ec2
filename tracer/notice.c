#include "tracer/notice.h"
#include "tracer/filter.h"
#include "tracer/log.h"
#include "tracer/notify.h"
#include "tracer/placement.h"
#include "tracer/repoint.h"
#include "tracer/serve.h"
#include "tracer/shim.h"
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>

/* -- the ptrace way ---------------------------------------------------------------------- */

/* Nothing of the call stays. The stop asked for comes before the program runs again. */
static void retrace(struct task *t)
{
    if (t->call)
        serve_cancel(t);
    t->retrace = RETRACE_ASKED;
    t->state = TASK_RUNNING;
    ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
    notify_answer(t->notice, REGS_RESTARTNOINTR);
}

void notice_stopped(struct task *t)
{
    if (t->retrace == RETRACE_ASKED)
        t->retrace = regs_mark(t->tid, &t->regs, FILTER_RETRACE) ? RETRACE_MARKED : RETRACE_NONE;
}

void notice_retraced(struct task *t, struct regs *now)
{
    if (t->retrace != RETRACE_MARKED)
        return;
    t->retrace = RETRACE_NONE;
    if (now->arg[5] == FILTER_RETRACE) {
        now->arg[5] = t->regs.arg[5];
        regs_unmark(t->tid, now);
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
        regs_unmark(t->tid, &t->regs);
        t->retrace = RETRACE_NONE;
    }
    if (!regs_interrupted(t->tid, &now))
        return;
    const struct sysrow *row = systab_row(now.nr);
    bool ours = row && filter_by_notice(row);
    /* The kernel itself was at it, where it was told to: a fifo's open waits. */
    if (t->passed && now.nr == t->regs.nr && now.ip == t->regs.ip &&
        memcmp(now.arg, t->regs.arg, sizeof(now.arg)) == 0)
        ours = false;
    if (ours)
        regs_set_result(t->tid, REGS_RESTARTNOINTR);
}

u64 notice_arg5(long nr, u64 said)
{
    const struct sysrow *row = notify_fd() < 0 ? NULL : systab_row(nr);
    return row && filter_by_notice(row) ? FILTER_RETRACE : said;
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
    t->passed = may_wait(t->call->row);
    notify_continue(t->notice);
    over(t, "pass", false, 0);
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
            serve_wait(t);
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
        if (!c->open_here) {
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
    struct task *t = task_find(n.tid);
    const struct sysrow *row = n.regs.foreign ? NULL : systab_row(n.regs.nr);
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
    if (t->comm[0]) { /* to be set at a stop, see exec_name() */
        retrace(t);
        return;
    }
    repoint_by_notice(t);
    shim_repointed(t);
    t->shim_visit = shim_due(t);
    if (t->shim_visit) {
        retrace(t);
        return;
    }
    if (serve_begin(t, row)) {
        t->state = TASK_RUNNING;
        notify_answer(n.id, -ENOMEM);
        return;
    }
    notice_decide(t);
}
