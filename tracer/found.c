#include "tracer/found.h"
#include "tracer/creds.h"
#include "tracer/filter.h"
#include "tracer/log.h"
#include "tracer/notify.h"
#include "tracer/placement.h"
#include "tracer/remote.h"
#include "tracer/supervise.h"
#include "base/str.h"
#include "base/sys.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KCMP_VM      1
#define STAY_MS      20      /* a process that lives on is seized then */
#define STALE_MS     100     /* by then its number may be another's, at the very earliest */
#define LINKER_BYTES 0x40000 /* the text of a dynamic linker, at most */
#define ANCESTORS    64

static bool lazy;
static unsigned unseized;
static s64 since;    /* the oldest of them was met then */
static int read_for; /* the task of which all is known at the notice at hand */

static s64 now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (s64)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* A tracer without the capability may attach to its descendants only (Yama), which an orphan is not
 * any more. */
static bool may_attach_later(void)
{
    char text[16] = "";
    if (creds_may_trace())
        return true;
    int fd = sys_openat(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        if (sys_read(fd, text, sizeof(text) - 1) <= 0)
            text[0] = '1';
        sys_close(fd);
    }
    return atoi(text) == 0;
}

void found_init(void)
{
    lazy = notify_fd() >= 0 && !sup.kill_leftovers && !sup.session->fake && may_attach_later();
}

long found_options(const struct task *t)
{
    long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP |
                   PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
    if (!lazy || t->births)
        options |= PTRACE_O_TRACEFORK;
    if (!lazy || t->births > 1)
        options |= PTRACE_O_TRACEVFORK;
    return options;
}

bool found_may_miss(const struct task *t)
{
    return lazy && t->births < 2;
}

void found_births(struct task *t, bool forked, bool vforked)
{
    u8 births = vforked ? 2 : forked;
    if (!lazy || t->births == births)
        return;
    t->births = births;
    ptrace(PTRACE_SETOPTIONS, t->tid, NULL, (void *)found_options(t));
}

/* -- meeting ------------------------------------------------------------------------------ */

void found_forget(struct task *t)
{
    unseized--;
    task_drop(t);
}

static bool holds(const struct task *t)
{
    return t->proc && (t->seized || now_ms() - t->found_ms < STALE_MS);
}

static struct task *known(int tid)
{
    struct task *t = task_find(tid);
    if (!t || t->seized || !t->proc || holds(t))
        return t;
    found_forget(t);
    return NULL;
}

/* What a process has of its parent's, as far as it cannot be read. */
static void inherit(struct task *t, int parent)
{
    struct found_status st;
    for (int i = 0; i < ANCESTORS && parent > 1; i++) {
        const struct task *p = known(parent);
        if (p && p->proc) {
            placement_met(t, p);
            t->proc->shim_off |= p->proc->shim_off;
            t->proc->not_dumpable |= p->proc->not_dumpable;
            return;
        }
        char name[32];
        snprintf(name, sizeof(name), "/proc/%d/status", parent);
        if (!creds_status(AT_FDCWD, name, &st, NULL))
            break;
        parent = st.ppid;
    }
    t->proc->shim_off = true; /* who knows whose it was */
}

static void begin(struct task *t)
{
    t->state = TASK_RUNNING;
    t->found_ms = now_ms();
    if (++unseized == 1)
        since = t->found_ms;
}

static struct task *meet(int tid)
{
    char path[32];
    struct found_status st;
    struct task *t = task_new(tid);
    if (!t)
        return NULL;
    snprintf(path, sizeof(path), "/proc/%d", tid);
    int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool ok = dir >= 0 && creds_status(dir, "status", &st, t);
    if (ok && st.tgid != tid)
        found_task(st.tgid, false); /* its leader first */
    ok = ok && task_adopt_orphan(t, st.tgid) == 0;
    if (ok && t->proc->proc_fd < 0 && st.tgid == tid)
        t->proc->proc_fd = dir;
    else if (dir >= 0)
        close(dir);
    if (!ok) {
        unseized++;
        found_forget(t);
        return NULL;
    }
    begin(t);
    t->ppid = st.ppid;
    t->handlers = st.handlers;
    t->alone = st.threads == 1 && st.tgid == tid;
    inherit(t, st.ppid);
    read_for = st.threads == 1 ? tid : 0;
    log_debug("%d: met, child of %d", tid, st.ppid);
    return t;
}

/* Linux 6.13 */
struct pidfd_facts {
    u64 mask, cgroup;
    u32 pid, tgid, ppid, ids[8];
    int exit_code;
};
#define PIDFD_FACTS   _IOWR(0xff, 11, struct pidfd_facts)
#define NR_pidfd_open 434
#define FACTS_WANTED  3 /* ids and credentials */

/* One that is only about to execute another program: it is what its parent is, who has never
 * changed its rights. NULL where that is not so, or cannot be told. */
static struct task *meet_executing(int tid)
{
    static bool missing;
    struct pidfd_facts facts = {.mask = FACTS_WANTED};
    int pidfd = missing ? -1 : (int)syscall(NR_pidfd_open, tid, 0);
    if (pidfd < 0)
        return NULL;
    missing = ioctl(pidfd, PIDFD_FACTS, &facts) < 0 && errno == ENOTTY;
    const struct task *p = facts.ppid > 1 ? known((int)facts.ppid) : NULL;
    bool same = p && p->proc && creds_stay(p) && !p->proc->shim_off && !p->proc->not_dumpable;
    struct task *t = same ? task_new(tid) : NULL;
    if (!t) {
        close(pidfd);
        return NULL;
    }
    if (task_adopt_orphan(t, tid)) {
        close(pidfd);
        unseized++;
        found_forget(t);
        return NULL;
    }
    t->proc->pidfd = pidfd;
    memcpy(&t->cred, &p->cred, sizeof(t->cred));
    t->cred_generation = p->cred_generation;
    t->who.same_as_session = t->presumed = t->alone = t->handlers = true;
    t->ppid = p->tid;
    placement_met(t, p);
    begin(t);
    read_for = tid; /* neither rights nor threads come without a notice */
    return t;
}

struct task *found_task(int tid, bool executes)
{
    struct task *t = known(tid);
    read_for = 0;
    if (!t && lazy && executes)
        t = meet_executing(tid);
    return t || !lazy ? t : meet(tid);
}

/* -- seizing ------------------------------------------------------------------------------ */

static int attach(struct task *t)
{
    if (ptrace(PTRACE_SEIZE, t->tid, NULL, (void *)found_options(t)) < 0)
        return -errno;
    t->seized = true;
    t->mm->shim.interrupted = true; /* who knows, before */
    unseized--;
    return 0;
}

/* Who vforks lends its memory out. */
static void find_memory(struct task *t, int parent)
{
    if (parent <= 1 || syscall(SYS_kcmp, parent, t->tid, KCMP_VM, 0, 0) != 0)
        return;
    struct task *p = known(parent);
    if (!p && lazy)
        p = meet(parent);
    if (p && p->proc)
        task_share_mm(t, p);
}

/* The threads beside t; true where one of them was new. */
static bool attach_others(struct task *t)
{
    bool some = false;
    struct dirent *e;
    char path[40];
    snprintf(path, sizeof(path), "/proc/%d/task", t->proc->tgid);
    DIR *d = opendir(path);
    while (d && (e = readdir(d))) {
        int tid = atoi(e->d_name);
        struct task *other = tid > 0 ? known(tid) : NULL;
        if (tid <= 0 || (other && other->seized))
            continue;
        if (!other && !(other = meet(tid)))
            continue;
        if (attach(other))
            found_forget(other);
        else
            some = true;
    }
    if (d)
        closedir(d);
    return some;
}

int found_seize(struct task *t)
{
    struct found_status st;
    int parent = t->ppid, err;
    bool alone = read_for == t->tid;
    if (t->seized)
        return 0;
    err = attach(t);
    if (err)
        return err;
    log_debug("%d: seized", t->tid);
    if (!alone) {
        if (!creds_status(task_proc_fd(t), "status", &st, t->presumed ? t : NULL))
            return -ESRCH;
        t->presumed = false;
        parent = st.ppid;
        alone = st.threads == 1;
    }
    while (!alone && attach_others(t))
        ;
    if (t->proc->refs == 1)
        find_memory(t, parent);
    return 0;
}

/* -- those that may stay as they are ------------------------------------------------------ */

/* The first call of glibc's dynamic linker. */
static bool is_linker(struct task *t)
{
    static const char first[] = "/etc/ld.so.preload";
    char path[sizeof(first)];
    return t->regs.nr == SYS_access &&
           remote_read_str(t, path, t->regs.arg[0], sizeof(path)) == sizeof(first) - 1 &&
           memcmp(path, first, sizeof(first)) == 0;
}

/* No handler of its own can have been run, or be run, while it is being linked. */
static bool may_stay(struct task *t, const struct sysrow *row)
{
    if (!t->alone)
        return false;
    if (row->handler == CALL_EXEC)
        return true;
    if (t->handlers)
        return false;
    if (!t->linker && is_linker(t))
        t->linker = t->regs.ip;
    return t->linker && t->regs.ip - t->linker + LINKER_BYTES < 2 * LINKER_BYTES;
}

void found_calls(struct task *t, const struct sysrow *row)
{
    if (!t->seized && !may_stay(t, row))
        found_seize(t);
}

void found_executes(struct task *t)
{
    if (t->seized)
        return;
    bool stay = t->plain_program && creds_stay(t);
    if (task_exec(t, t->tid, stay)) {
        found_seize(t);
        return;
    }
    t->proc->exe[0] = '\0';
    t->presumed = stay;
    t->linker = 0;
    t->handlers = false;
    t->found_ms = now_ms();
}

/* -- in time ------------------------------------------------------------------------------ */

struct list {
    unsigned n, cap;
    int *tid;
};

static void note(struct task *t, void *arg)
{
    struct list *l = arg;
    if (!t->seized && t->proc && l->n < l->cap)
        l->tid[l->n++] = t->tid;
}

void found_sweep(void)
{
    read_for = 0;
    since = now_ms();
    struct list l = {0, unseized, unseized ? malloc(unseized * sizeof(int)) : NULL};
    if (!l.tid)
        return;
    task_each(note, &l);
    for (unsigned i = 0; i < l.n; i++) {
        struct task *t = task_find(l.tid[i]);
        /* A zombie cannot be attached to. */
        if (t && !t->seized && found_seize(t) && !t->seized)
            found_forget(t);
    }
    free(l.tid);
}

void found_tick(void)
{
    if (unseized && now_ms() - since >= STAY_MS)
        found_sweep();
}

int found_timeout(void)
{
    return unseized ? STAY_MS : -1;
}
