#include "tracer/serve.h"
#include "tracer/creds.h"
#include "tracer/fakeids.h"
#include "tracer/inject.h"
#include "tracer/placement.h"
#include "tracer/rooted.h"
#include "tracer/shim.h"
#include "tracer/supervise.h"
#include <stdlib.h>
#include <string.h>

static struct call *spare_calls[16];
static unsigned nspare;
static unsigned nwaiting;
static bool settled; /* some call ended: waiting ones may look again */

int serve_begin(struct task *t, const struct sysrow *row)
{
    struct call *c = nspare ? spare_calls[--nspare] : malloc(sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->view = t->proc->rooted ? rooted_view(t->proc->rooted) : &sup.view;
    c->who = &t->who;
    c->row = row;
    c->dirs = sup.dirs;
    memcpy(c->arg, t->regs.arg, sizeof(c->arg));
    c->attempts = t->attempts;
    call_begin(c);
    t->call = c;
    if (row->handler == CALL_CHDIR || row->handler == CALL_FCHDIR)
        shim_moves(t);
    return 0;
}

void serve_over(struct task *t)
{
    struct call *c = t->call;
    scratch_release(t);
    t->call = NULL;
    settled = true;
    if (nspare < ARRAY_LEN(spare_calls))
        spare_calls[nspare++] = c;
    else
        free(c);
}

static void dispatch(struct task *t, struct call *c)
{
    switch (c->row->handler) {
    case CALL_EXEC:
        exec_dispatch(t, c);
        break;
    case CALL_BIND:
    case CALL_CONNECT:
    case CALL_SENDMSG:
    case CALL_SOCKNAME:
        unix_dispatch(t, c);
        break;
    case CALL_IDS:
    case CALL_CREDS:
    case CALL_CLONE:
    case CALL_PTRACE:
    case CALL_PRCTL:
        if (!t->fake || !fakeids_dispatch(t, c))
            creds_dispatch(t, c);
        break;
    case CALL_AFFINITY:
        placement_reset();
        call_pass(c);
        break;
    case CALL_ENOSYS:
        call_done(c, -ENOSYS);
        break;
    case CALL_CHROOT:
        shim_off(t);
        call_dispatch(c);
        rooted_settle(t, c);
        break;
    case CALL_SECCOMP:
    case CALL_MOUNT:
        shim_off(t);
        call_dispatch(c);
        break;
    default:
        call_dispatch(c);
        break;
    }
}

void serve_settle(struct task *t, long result)
{
    struct call *c = t->call;
    c->result = result;
    settled = true;
    switch (c->row->handler) {
    case CALL_EXEC:
        exec_settle(t, c, result);
        break;
    case CALL_BIND:
    case CALL_CONNECT:
    case CALL_SENDMSG:
    case CALL_SOCKNAME:
        unix_settle(t, c, result);
        break;
    case CALL_CREDS:
    case CALL_CLONE:
    case CALL_PTRACE:
    case CALL_PRCTL:
        creds_settle(t, c, result);
        break;
    default:
        call_settle(c, result);
        break;
    }
    caller_call_over();
}

void serve_cancel(struct task *t)
{
    if (t->call->settle)
        serve_settle(t, -ECANCELED);
    serve_over(t);
}

void serve_dispatch(struct task *t)
{
    creds_of(t); /* who.same_as_session is read by everybody */
    t->who.shares_memory = t->mm->refs > 1 || !t->seized;
    t->who.shares_files = t->mm->refs > 1 || t->proc->refs > 1 || sup.overlay->facts->cwds_shared;
    dispatch(t, t->call);
    caller_call_over();
}

void serve_wait(struct task *t)
{
    t->state = TASK_WAITING;
    nwaiting++;
}

void serve_no_wait(struct task *t)
{
    t->state = TASK_STOPPED;
    nwaiting--;
}

bool serve_may_retry(void)
{
    bool may = settled && nwaiting;
    settled = false;
    return may;
}
