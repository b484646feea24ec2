#include "tracer/task.h"
#include "tracer/fakeids.h"
#include "tracer/rooted.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BUCKETS       1024
#define NR_pidfd_open 434
#define PIDFD_OF_TID  O_EXCL /* PIDFD_THREAD, Linux 6.9 */

static struct task *bucket[BUCKETS];
static unsigned ntasks;

static struct task **slot_of(int tid)
{
    return &bucket[(unsigned)tid % BUCKETS];
}

struct task *task_find(int tid)
{
    struct task *t = *slot_of(tid);
    while (t && t->tid != tid)
        t = t->next;
    return t;
}

static void link_task(struct task *t)
{
    struct task **slot = slot_of(t->tid);
    t->next = *slot;
    *slot = t;
}

static void unlink_task(struct task *t)
{
    struct task **at = slot_of(t->tid);
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
}

struct task *task_new(int tid)
{
    struct task *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->tid = t->who.tid = tid;
    t->pidfd = -1;
    t->state = TASK_PARKED;
    caller_init(t);
    link_task(t);
    ntasks++;
    return t;
}

static struct mm *mm_new(void)
{
    struct mm *mm = calloc(1, sizeof(*mm));
    if (mm) {
        mm->refs = 1;
        mm->mem_fd = -1;
    }
    return mm;
}

static void mm_put(struct mm *mm)
{
    if (!mm || --mm->refs)
        return;
    if (mm->mem_fd >= 0)
        close(mm->mem_fd);
    free(mm);
}

/* The copy that fork makes: the same areas, and nobody uses them yet. */
static struct mm *mm_copy(const struct mm *from)
{
    struct mm *mm = mm_new();
    for (int i = 0; mm && i < SCRATCH_AREAS; i++) {
        mm->area[i].addr = from->area[i].addr;
        mm->area[i].size = from->area[i].size;
    }
    if (mm)
        mm->shim = from->shim;
    return mm;
}

static struct proc *proc_new(int tgid)
{
    struct proc *p = calloc(1, sizeof(*p));
    if (p) {
        p->refs = 1;
        p->tgid = tgid;
        p->pidfd = p->proc_fd = -1;
    }
    return p;
}

static void proc_put(struct proc *p)
{
    if (!p || --p->refs)
        return;
    rooted_put(p->rooted);
    if (p->pidfd >= 0)
        close(p->pidfd);
    if (p->proc_fd >= 0)
        close(p->proc_fd);
    free(p);
}

int task_adopt(struct task *child, struct task *parent, int tgid, bool shares_mm)
{
    if (tgid == parent->proc->tgid) {
        child->proc = parent->proc;
        child->proc->refs++;
    } else {
        child->proc = proc_new(tgid);
        if (!child->proc)
            return -ENOMEM;
        memcpy(child->proc->exe, parent->proc->exe, strlen(parent->proc->exe) + 1);
        child->proc->rooted = rooted_share(parent->proc->rooted);
        child->proc->shim_off = parent->proc->shim_off;
        child->proc->not_dumpable = parent->proc->not_dumpable;
        child->proc->stale_seen = parent->proc->stale_seen;
    }
    if (shares_mm) {
        child->mm = parent->mm;
        child->mm->refs++;
    } else {
        child->mm = mm_copy(parent->mm);
        if (!child->mm)
            return -ENOMEM;
    }
    child->fake = fakeids_copy(parent->fake);
    if (parent->fake && !child->fake)
        return -ENOMEM;
    child->who.tgid = tgid;
    child->who.same_as_session = parent->who.same_as_session;
    child->cred_generation = parent->cred_generation;
    if (child->cred_generation)
        memcpy(&child->cred, &parent->cred, sizeof(child->cred));
    return 0;
}

void task_share_mm(struct task *t, struct task *from)
{
    if (t->mm == from->mm)
        return;
    mm_put(t->mm);
    t->mm = from->mm;
    t->mm->refs++;
}

int task_adopt_orphan(struct task *child, int tgid)
{
    struct task *leader = tgid == child->tid ? NULL : task_find(tgid);
    child->who.tgid = tgid;
    if (leader && leader->proc) {
        child->proc = leader->proc;
        child->proc->refs++;
        child->mm = leader->mm;
        child->mm->refs++;
        return 0;
    }
    child->proc = proc_new(tgid);
    child->mm = mm_new();
    return child->proc && child->mm ? 0 : -ENOMEM;
}

void task_drop(struct task *t)
{
    unlink_task(t);
    ntasks--;
    mm_put(t->mm);
    proc_put(t->proc);
    if (t->pidfd >= 0)
        close(t->pidfd);
    free(t->mask);
    free(t->fake);
    free(t);
}

int task_exec(struct task *t, int tgid, bool creds_stay)
{
    struct mm *mm = mm_new();
    if (!mm)
        return -ENOMEM;
    mm_put(t->mm);
    t->mm = mm;
    t->nslots = 0;
    t->shim_visit = false;
    t->shim_fd = 0;
    if (t->tid != tgid) {
        unlink_task(t);
        t->tid = t->who.tid = tgid;
        link_task(t);
    }
    if (t->pidfd >= 0)
        close(t->pidfd);
    t->pidfd = -1;
    t->proc->files_differ = false;
    t->proc->not_dumpable = false;
    if (!creds_stay)
        t->cred_generation = 0;
    return 0;
}

void task_each(void (*fn)(struct task *t, void *arg), void *arg)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        struct task *next;
        for (struct task *t = bucket[i]; t; t = next) {
            next = t->next;
            fn(t, arg);
        }
    }
}

unsigned task_count(void)
{
    return ntasks;
}

int task_pidfd(struct task *t)
{
    if (t->proc->files_differ && t->tid != t->proc->tgid)
        return task_thread_pidfd(t);
    if (t->proc->pidfd < 0)
        t->proc->pidfd = (int)syscall(NR_pidfd_open, t->proc->tgid, 0);
    return t->proc->pidfd < 0 ? -errno : t->proc->pidfd;
}

int task_thread_pidfd(struct task *t)
{
    if (t->pidfd < 0)
        t->pidfd = (int)syscall(NR_pidfd_open, t->tid, PIDFD_OF_TID);
    return t->pidfd < 0 ? -errno : t->pidfd;
}

int task_proc_fd(struct task *t)
{
    char path[32];
    if (t->proc->proc_fd < 0) {
        snprintf(path, sizeof(path), "/proc/%d", t->proc->tgid);
        t->proc->proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    return t->proc->proc_fd < 0 ? -errno : t->proc->proc_fd;
}

const char *task_proc_name(const struct task *t, const char *entry, char *buf)
{
    if (t->tid == t->proc->tgid)
        return entry;
    snprintf(buf, 64, "task/%d/%s", t->tid, entry);
    return buf;
}
