/* One thread, one waitpid: every stop of every task comes here. */
#include "tracer/supervise.h"
#include "tracer/creds.h"
#include "tracer/front.h"
#include "tracer/inject.h"
#include "tracer/log.h"
#include "tracer/placement.h"
#include "tracer/remote.h"
#include "tracer/wait.h"
#include "base/sys.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSCALL_STOP (SIGTRAP | 0x80)
#define MAX_ATTEMPTS 8
#define KCMP_VM      1
#define GRACE_US     30000 /* the command has ended: what is ending with it may do so first */
#define BLOB_BYTES   (3 * PATH_MAX)

struct supervisor sup = {.front_fd = -1};

static struct call *spare_calls[16];
static unsigned nspare;
static unsigned nwaiting, nparked;
static bool settled;               /* some call ended: waiting ones may look again */
static volatile sig_atomic_t late; /* the grace of the command's last children is over */
static int command_status = -1;    /* not told yet */

/* -- calls ---------------------------------------------------------------------------------------
 */

static struct call *call_new(struct task *t, const struct sysrow *row)
{
    struct call *c = nspare ? spare_calls[--nspare] : malloc(sizeof(*c));
    if (!c)
        return NULL;
    c->view = &sup.view;
    c->who = &t->who;
    c->row = row;
    c->dirs = sup.dirs;
    memcpy(c->arg, t->regs.arg, sizeof(c->arg));
    c->attempts = t->attempts;
    call_begin(c);
    return c;
}

/* The call is over, whatever became of it. */
static void call_over(struct task *t)
{
    struct call *c = t->call;
    scratch_release(t);
    t->call = NULL;
    if (nspare < ARRAY_LEN(spare_calls))
        spare_calls[nspare++] = c;
    else
        free(c);
}

static void family_dispatch(struct task *t, struct call *c)
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
    case CALL_CREDS:
    case CALL_CLONE:
    case CALL_PTRACE:
    case CALL_PRCTL:
        creds_dispatch(t, c);
        break;
    case CALL_ENOSYS:
        call_done(c, -ENOSYS);
        break;
    default:
        call_dispatch(c);
        break;
    }
}

static void family_settle(struct task *t, long result)
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
}

/* A call that the kernel will not run to its end any more. */
static void call_abandon(struct task *t, long result)
{
    if (t->state == TASK_WAITING)
        nwaiting--;
    if (!t->call)
        return;
    if (t->call->settle && t->state != TASK_WAITING)
        family_settle(t, result);
    call_over(t);
}

/* -- going on ------------------------------------------------------------------------------------
 */

/* Lets a stopped task run, to its syscall-exit stop where one is wanted. */
static void run(struct task *t, int sig, bool placed)
{
    int request = t->state == TASK_IN_CALL ? PTRACE_SYSCALL : PTRACE_CONT;
    if (t->state != TASK_IN_CALL)
        t->state = TASK_RUNNING;
    t->narrowed = placed && placement_narrow(t);
    /* ESRCH: killed; its end will be reported. */
    ptrace((enum __ptrace_request)request, t->tid, NULL, (void *)(long)sig);
    if (t->narrowed)
        placement_widen(t);
}

/* The call traps again: nothing of it stays. At an exit stop of an injected call the registers are
 * right already. */
static void say_again(struct task *t)
{
    if (t->call->settle)
        family_settle(t, -ECANCELED);
    call_over(t);
    run(t, 0, true);
}

static void answer(struct task *t, long result)
{
    t->attempts = 0;
    if (log_level >= LOG_INTERCEPT)
        log_call(t, t->call, "done", true, result);
    regs_answer(t->tid, result);
    call_over(t);
    settled = true;
    run(t, 0, true);
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
        if (t->attempts++ >= MAX_ATTEMPTS)
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
    if (!err && regs_rewrite(t->tid, &t->regs, c->new_nr, c->new_arg))
        return; /* killed: its end is reported */
    if (err) {
        if (c->settle)
            family_settle(t, err);
        answer(t, err);
        return;
    }
    t->state = TASK_IN_CALL;
    run(t, 0, true);
}

static void decide(struct task *t)
{
    struct call *c = t->call;
    creds_of(t); /* who.same_as_session is read by everybody */
    family_dispatch(t, c);
    if (t->has_status)
        return;
    if (c->restart) {
        say_again(t);
        return;
    }
    switch (c->action) {
    case CALL_PASS:
        t->attempts = 0;
        if (log_level >= LOG_INTERCEPT)
            log_call(t, c, "pass", false, 0);
        call_over(t);
        run(t, 0, true);
        break;
    case CALL_DONE:
        answer(t, c->result);
        break;
    case CALL_REWRITE:
        rewrite(t);
        break;
    case CALL_WAIT:
        t->state = TASK_WAITING;
        nwaiting++;
        break;
    }
}

static void on_seccomp(struct task *t)
{
    t->state = TASK_STOPPED;
    if (regs_fetch(t->tid, &t->regs))
        return;
    placement_seen(t);
    if (t->comm[0] && exec_name(t)) {
        if (!t->has_status)
            run(t, 0, true);
        return;
    }
    const struct sysrow *row = t->regs.foreign ? NULL : systab_row(t->regs.nr);
    if (!row) {
        /* Not ours: the program's own filter may trace, and nobody may listen to it (ENOSYS). */
        regs_answer(t->tid, -ENOSYS);
        run(t, 0, true);
        return;
    }
    t->call = call_new(t, row);
    if (!t->call) {
        regs_answer(t->tid, -ENOMEM);
        run(t, 0, true);
        return;
    }
    decide(t);
}

/* The exit stop of a rewritten call. */
static void on_exit_stop(struct task *t)
{
    struct call *c = t->call;
    long result = 0, nr;
    u64 arg[6];
    if (t->state != TASK_IN_CALL || !c) {
        run(t, 0, false);
        return;
    }
    nr = c->new_nr;
    memcpy(arg, c->new_arg, sizeof(arg));
    bool want = c->settle || nr != t->regs.nr || log_level >= LOG_INTERCEPT;
    if (want && regs_result(t->tid, &result))
        return;
    c->result = result;
    if (c->settle)
        family_settle(t, result);
    if (c->settle && c->close_fd >= 0) {
        const u64 close_arg[6] = {(u64)c->close_fd};
        if (inject_after(t, SYS_close, close_arg) == -ESRCH && t->has_status)
            return;
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
        if (!regs_restarts(result) && (c->result != result || nr == SYS_close))
            regs_set_result(t->tid, c->result);
    }
    call_over(t);
    t->state = TASK_STOPPED;
    run(t, 0, true);
}

/* -- birth and death ------------------------------------------------------------------------------
 */

static bool shares_memory(const struct task *parent, const struct task *child, int event)
{
    long differ = syscall(SYS_kcmp, parent->tid, child->tid, KCMP_VM, 0, 0);
    if (differ < 0)
        return event != PTRACE_EVENT_FORK;
    return differ == 0;
}

static void start(struct task *t)
{
    placement_started(t);
    t->state = TASK_STOPPED;
    run(t, 0, false);
}

static void kill_task(struct task *t, void *arg UNUSED)
{
    kill(t->tid, SIGKILL);
}

static void on_clone(struct task *t, int event)
{
    unsigned long msg = 0;
    if (ptrace(PTRACE_GETEVENTMSG, t->tid, NULL, &msg) == 0) {
        int tid = (int)msg;
        struct task *child = task_find(tid);
        bool parked = child != NULL;
        if (!child)
            child = task_new(tid);
        int tgid = syscall(SYS_tgkill, t->proc->tgid, tid, 0) == 0 ? t->proc->tgid : tid;
        log_debug("%d: event %d: new task %d of process %d", t->tid, event, tid, tgid);
        if (!child || task_adopt(child, t, tgid, shares_memory(t, child, event))) {
            kill(tid, SIGKILL); /* no memory to look after it */
        } else {
            placement_inherit(child, t);
            child->state = parked ? TASK_PARKED : TASK_STARTING;
        }
        if (child && child->proc && parked) {
            nparked--;
            start(child);
        }
    }
    run(t, 0, false);
}

/* A parent may be killed before it could report its child. */
static void adopt_if_orphan(struct task *t, void *arg UNUSED)
{
    if (t->state != TASK_PARKED || t->proc)
        return;
    char path[40], text[4096];
    int len = 0;
    memcpy(path, "/proc/", 6);
    len = 6 + (int)str_from_u64(path + 6, (u64)t->tid);
    memcpy(path + len, "/status", 8);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return;
    text[n] = '\0';
    const char *at = strstr(text, "\nTgid:");
    int tgid = at ? atoi(at + 6) : t->tid;
    at = strstr(text, "\nPPid:");
    int ppid = at ? atoi(at + 6) : 0;
    struct task *parent = task_find(tgid != t->tid ? tgid : ppid);
    if (parent && parent->proc)
        return; /* its event will come */
    if (task_adopt_orphan(t, tgid)) {
        kill(t->tid, SIGKILL);
        return;
    }
    nparked--;
    start(t);
}

/* The command has ended and left something running: the front need not wait for that. */
static void tell_status(void)
{
    if (command_status < 0 || task_count() == 0)
        return;
    front_release();
    front_tell(FRONT_STATUS, command_status);
    front_left();
    command_status = -1;
}

int supervise_status(void)
{
    return command_status;
}

static void on_alarm(int sig UNUSED)
{
    late = 1;
}

static void command_ended(int status)
{
    struct sigaction sa = {.sa_handler = on_alarm};
    struct itimerval timer = {.it_value = {0, GRACE_US}, .it_interval = {0, GRACE_US / 3}};
    command_status = status;
    sup.command = 0;
    if (task_count() == 0)
        return;
    if (sup.kill_leftovers) {
        task_each(kill_task, NULL);
        return;
    }
    /* Repeated, since one alarm could come just before waitpid blocks. */
    sigaction(SIGALRM, &sa, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void on_end(int tid, int status)
{
    struct task *t = task_find(tid);
    if (!t)
        return;
    log_debug("%d: ended, status 0x%x", tid, status);
    if (t->state == TASK_PARKED)
        nparked--;
    call_abandon(t, -EINTR);
    placement_gone(t);
    task_drop(t);
    if (tid == sup.command)
        command_ended(status);
    if (nparked)
        task_each(adopt_if_orphan, NULL);
}

struct exec_drop {
    struct proc *proc;
    struct task *keep;
};

static void drop_sibling(struct task *t, void *arg)
{
    struct exec_drop *d = arg;
    if (t->proc != d->proc || t == d->keep)
        return;
    call_abandon(t, -EINTR);
    placement_gone(t);
    task_drop(t);
}

static void on_exec(int tgid)
{
    unsigned long former = 0;
    ptrace(PTRACE_GETEVENTMSG, tgid, NULL, &former);
    struct task *t = task_find((int)former);
    if (!t)
        t = task_find(tgid);
    if (!t || !t->proc)
        return;
    log_debug("%d: exec by task %lu", tgid, former);
    struct exec_drop d = {t->proc, t};
    task_each(drop_sibling, &d);
    scratch_release(t);
    if (task_exec(t, tgid)) {
        kill(tgid, SIGKILL);
        return;
    }
    t->attempts = 0;
    t->state = TASK_STOPPED;
    exec_event(t);
    if (t->call) {
        if (log_level >= LOG_INTERCEPT)
            log_call(t, t->call, "rewrite", true, 0);
        call_over(t);
    }
    run(t, 0, false);
}

/* -- stops
 * ----------------------------------------------------------------------------------------- */

static void on_group_stop(struct task *t, int sig)
{
    if (sig == SIGTRAP) {
        bool was_stopped = t->state == TASK_LISTENING;
        if (was_stopped && t->tid == sup.command)
            front_tell(FRONT_CONTINUED, 0);
        if (t->state == TASK_STARTING)
            placement_started(t);
        run(t, 0, false);
        return;
    }
    log_debug("%d: group stop by signal %d", t->tid, sig);
    if (t->state != TASK_IN_CALL)
        t->state = TASK_LISTENING;
    ptrace(PTRACE_LISTEN, t->tid, NULL, NULL);
    if (t->tid == sup.command)
        front_tell(FRONT_STOPPED, sig);
}

static void on_stop(int tid, int status)
{
    int event = status >> 16, sig = WSTOPSIG(status);
    if (event == PTRACE_EVENT_EXEC) {
        on_exec(tid);
        return;
    }
    struct task *t = task_find(tid);
    if (!t) {
        if (task_new(tid))
            nparked++;
        else
            kill(tid, SIGKILL);
        return;
    }
    switch (event) {
    case PTRACE_EVENT_SECCOMP:
        on_seccomp(t);
        break;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        on_clone(t, event);
        break;
    case PTRACE_EVENT_STOP:
        on_group_stop(t, sig);
        break;
    case 0:
        if (sig == SYSCALL_STOP) {
            on_exit_stop(t);
        } else {
            log_debug("%d: signal %d", tid, sig);
            run(t, sig, false);
        }
        break;
    default:
        run(t, 0, false);
        break;
    }
}

static void handle(int tid, int status)
{
    if (!WIFSTOPPED(status)) {
        on_end(tid, status);
        return;
    }
    on_stop(tid, status);
    /* An injected call may have taken the task's next status from waitpid. */
    struct task *t = task_find(tid);
    while (t && t->has_status) {
        t->has_status = false;
        if (t->call && WIFSTOPPED(t->status) && t->status >> 16 == PTRACE_EVENT_EXEC)
            call_abandon(t, -EINTR); /* another thread's exec ended this one in the act */
        handle(tid, t->status);
        t = task_find(tid);
    }
}

static void try_waiting(struct task *t, void *arg UNUSED)
{
    if (t->state != TASK_WAITING)
        return;
    nwaiting--;
    t->state = TASK_STOPPED;
    call_begin(t->call);
    decide(t);
}

int supervise(void)
{
    while (task_count()) {
        int status;
        int tid = wait_any(&status);
        if (tid < 0 && errno == ECHILD)
            break;
        if (late) {
            struct itimerval off = {{0, 0}, {0, 0}};
            setitimer(ITIMER_REAL, &off, NULL);
            late = 0;
            tell_status();
        }
        if (tid < 0)
            continue;
        handle(tid, status);
        while (settled && nwaiting) {
            settled = false;
            task_each(try_waiting, NULL);
        }
    }
    return 0;
}
