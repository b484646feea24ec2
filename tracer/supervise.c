/* One thread, one waitpid: every stop of every task comes here. */
#include "tracer/supervise.h"
#include "tracer/creds.h"
#include "tracer/fakeids.h"
#include "tracer/found.h"
#include "tracer/front.h"
#include "tracer/inject.h"
#include "tracer/loader.h"
#include "tracer/log.h"
#include "tracer/notice.h"
#include "tracer/placement.h"
#include "tracer/shim.h"
#include "tracer/trap.h"
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
#define KCMP_VM      1
#define GRACE_US     30000 /* the command has ended: what is ending with it may do so first */

struct supervisor sup = {.front_fd = -1};

static unsigned nparked;
static volatile sig_atomic_t late; /* the grace of the command's last children is over */
static int command_status = -1;    /* not told yet */

/* -- birth and death --------------------------------------------------------------------- */

/* One that is not traced is another, whose number this one has got. */
static struct task *find(int tid)
{
    struct task *t = task_find(tid);
    if (!t || !t->proc || t->seized)
        return t;
    found_forget(t);
    return NULL;
}

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
    task_run(t, 0, false);
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
        struct task *child = find(tid);
        bool parked = child != NULL;
        if (!child)
            child = task_new(tid);
        int tgid = syscall(SYS_tgkill, t->proc->tgid, tid, 0) == 0 ? t->proc->tgid : tid;
        log_debug("%d: event %d: new task %d of process %d", t->tid, event, tid, tgid);
        if (!child || task_adopt(child, t, tgid, shares_memory(t, child, event))) {
            kill(tid, SIGKILL); /* no memory to look after it */
        } else {
            placement_inherit(child, t);
            child->seized = true;
            child->births = t->births;
            child->ppid = t->tid;
            shim_cloned(t, child);
            child->state = parked ? TASK_PARKED : TASK_STARTING;
        }
        if (child && child->proc && parked) {
            nparked--;
            start(child);
        }
    }
    task_run(t, 0, false);
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
    t->seized = true;
    start(t);
}

/* The command has ended and left something running: the front need not wait for that. */
static void tell_status(void)
{
    if (command_status < 0 || !wait_somebody())
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
    found_sweep();
    if (!wait_somebody())
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
    trap_abandon(t, -EINTR);
    placement_gone(t);
    if (WIFSIGNALED(status) || (t->proc && t->proc->refs > 1))
        shim_killed(t);
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
    trap_abandon(t, -EINTR);
    placement_gone(t);
    shim_killed(t);
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
    if (task_exec(t, tgid, t->plain_program && creds_stay(t))) {
        kill(tgid, SIGKILL);
        return;
    }
    t->attempts = 0;
    t->state = TASK_STOPPED;
    exec_event(t);
    if (t->fake)
        fakeids_executed(t);
    bool inherits = t->proc->exe[0] || t->proc->shim_off;
    found_births(t, inherits || t->mm->shim.base, inherits);
    trap_exec_over(t);
    if (!t->mm->loader_code)
        shim_executed(t);
    task_run(t, 0, true);
}

/* -- stops ------------------------------------------------------------------------------- */

static void on_group_stop(struct task *t, int sig)
{
    if (sig == SIGTRAP) {
        bool was_stopped = t->state == TASK_LISTENING;
        if (was_stopped && t->tid == sup.command)
            front_tell(FRONT_CONTINUED, 0);
        if (t->state == TASK_STARTING)
            placement_started(t);
        notice_stopped(t);
        task_run(t, 0, true);
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
    struct task *t = find(tid);
    if (!t) {
        if (task_new(tid))
            nparked++;
        else
            kill(tid, SIGKILL);
        return;
    }
    switch (event) {
    case PTRACE_EVENT_SECCOMP:
        trap_seccomp(t);
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
            trap_exit(t);
        } else {
            log_debug("%d: signal %d", tid, sig);
            if (loader_trapped(t, sig)) {
                task_run(t, 0, false);
                break;
            }
            enum shim_signal in_shim = shim_signal(t, sig);
            if (in_shim == SHIM_OUTSIDE)
                notice_signal(t);
            else if (in_shim == SHIM_FAULT)
                sig = 0;
            if (sig && t->mm)
                t->mm->shim.interrupted = true;
            task_run(t, sig, false);
        }
        break;
    default:
        task_run(t, 0, false);
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
            trap_abandon(t, -EINTR); /* another thread's exec ended this one in the act */
        handle(tid, t->status);
        t = task_find(tid);
    }
}

int supervise(void)
{
    while (wait_somebody()) {
        int status;
        found_tick();
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
        if (tid == 0)
            notice_arrived();
        else
            handle(tid, status);
        trap_retry();
    }
    return 0;
}
