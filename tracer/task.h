/* The traced threads, their processes and their address spaces. Owned by the one supervisor
 * thread; nothing here is shared. */
#ifndef FUSS_TRACER_TASK_H
#define FUSS_TRACER_TASK_H

#include "call/call.h"
#include "tracer/regs.h"
#include "vfs/caller.h"
#include <sched.h>

#define SCRATCH_AREAS 16
#define SCRATCH_SLOTS 128 /* of an area; a slot is area size / SCRATCH_SLOTS bytes */

/* Memory of the program that it can read and not write, for rewritten arguments. */
struct scratch_area {
    u64 addr; /* 0 = none */
    u64 size;
    unsigned __int128 used; /* a bit per slot */
};

/* shim.c: of the shim in this address space. */
struct shim_state {
    bool never;           /* it does not get one */
    unsigned notices;     /* so far, before it gets one */
    size_t credit_wanted; /* before the next image is looked at */
    u64 base;             /* 0 = none */
    u64 slots;            /* 0 = not known yet */
    u64 early;            /* where its code of an early coming lies, 0 = it came otherwise */
    u64 entry;            /* and where the program begins */
    u64 program;          /* which one it is, 0 = not known; shimexec.c */
    u64 stale;
    bool interrupted; /* a handler of a signal may have begun and not ended */
    u64 stubs;        /* pages with room for so many of them, so many used */
    unsigned stubs_room, nstubs, nseen;
    struct {
        u64 start, end;
    } seen[24]; /* mappings whose sites were rewritten, or have none */
};

/* One per address space: shared by CLONE_VM, copied by fork, new at exec. */
struct mm {
    unsigned refs;
    int mem_fd; /* /proc/TID/mem, -1 = not opened yet */
    struct scratch_area area[SCRATCH_AREAS];
    struct shim_state shim;
    u64 loader_code; /* loader.c: where its code lies, 0 = none was needed */
};

/* One per thread group. */
struct proc {
    unsigned refs; /* its tasks */
    int tgid;
    int pidfd;             /* -1 = not opened yet; task_pidfd() */
    int proc_fd;           /* /proc/TGID, O_PATH|O_DIRECTORY, -1 = not opened yet; task_proc_fd() */
    bool files_differ;     /* some thread may have a descriptor table of its own */
    u64 stale_seen;        /* repoint.c: the session's count of stale files when last looked at */
    bool shim_off;         /* no call of it may be served by a shim any more */
    bool not_dumpable;     /* the program asked for it; emulated */
    struct rooted *rooted; /* chroot: its root is there (rooted.h); NULL = at "/" */
    char exe[PATH_MAX];    /* virtual path of the executed file, "" = ask the kernel */
};

enum task_state {
    TASK_PARKED,   /* its first stop came before its parent's clone event */
    TASK_STARTING, /* known from the parent's clone event; its first stop is to come */
    TASK_RUNNING,
    TASK_STOPPED,   /* at a stop that is being handled */
    TASK_IN_CALL,   /* runs a call whose syscall-exit stop is wanted */
    TASK_WAITING,   /* CALL_WAIT: stopped until some other call has finished */
    TASK_LISTENING, /* in a group stop */
};

struct task {
    struct caller who; /* first: struct caller * and struct task * are the same place */
    int tid;
    enum task_state state;
    struct task *next; /* of its hash bucket */
    struct proc *proc;
    struct mm *mm;
    struct regs regs;   /* of the call under way: valid from its seccomp stop to its exit stop */
    struct call *call;  /* the call under way, NULL = none */
    u64 notice;         /* id of the notice by which the call under way came */
    u64 program;        /* what the exec under way will run, shim_program(); 0 = not known */
    bool plain_program; /* it takes on nobody's rights */
    bool noticed;       /* the call came by a notice */
    u8 attempts;        /* restarts so far of the call that is said again */
    bool shim_visit;    /* the next ptrace stop of the call is shim_visit()'s */
    int shim_fd;        /* the shim's file in the program, until then; 0 = none, else + 1 */
    bool passed;        /* the kernel was told to run the last call itself, which may wait still */
    enum { RETRACE_NONE, RETRACE_ASKED, RETRACE_MARKED } retrace; /* notice.c */
    int pidfd; /* PIDFD_THREAD of this thread, -1 = not opened */

    struct {
        int area; /* index into mm->area, -1 = no scratch held */
        unsigned first, count;
    } slots[4]; /* scratch held by the call under way */
    unsigned nslots;
    bool no_scratch; /* the program's mmap failed: no second try for this call */

    struct fake_ids *fake; /* what it believes to be (fakeids.h); NULL: what it is */
    struct cred cred;
    u64 cred_generation; /* cred is valid where it equals the session's; 0 = never read */

    /* found.c */
    bool seized;     /* traced */
    u8 births;       /* so are its children from birth on: 1 = forked ones, 2 = vforked ones too */
    bool alone;      /* the only thread of its process */
    bool handlers;   /* it may have signal handlers; of one that is not seized, as the rest */
    bool presumed;   /* its credentials are those that its parent had, without a look */
    bool has_status; /* a wait status taken by an injection, to be handled by the loop */
    int ppid;        /* its parent's number when it was met */
    u64 linker;      /* where its dynamic linker makes calls, 0 = not known */
    s64 found_ms;    /* when it was met, or executed a program */

    int status;
    /* placement.c */
    bool called;        /* placement_seen() */
    bool narrow;        /* its CPU mask is */
    bool was_narrow;    /* it was when the task was last continued */
    unsigned mask_uses; /* before mask is looked up again */
    unsigned mask_generation;
    cpu_set_t *mask; /* its whole mask; in a new task: its parent's, to be given to it */

    char comm[16]; /* exec.c: the name that the program just executed shall get, "" = none */
    void *extra;   /* exec.c and unix.c: state of the call under way; they free it in settle */
};

/* The task of a thread id, or NULL. */
struct task *task_find(int tid);
/* A new record in state TASK_PARKED, without process and address space. NULL: out of memory. */
struct task *task_new(int tid);
/* Gives a new task its process and address space: those of its parent, shared or copied. 0 or
 * -ENOMEM. */
int task_adopt(struct task *child, struct task *parent, int tgid, bool shares_mm);
/* The same where the parent is not known any more, or for the first task. */
int task_adopt_orphan(struct task *child, int tgid);
/* It has the address space of another. */
void task_share_mm(struct task *t, struct task *from);
/* The end of a thread: releases everything it holds (an unfinished call must be settled before). */
void task_drop(struct task *t);
/* After an exec: the task has the thread group's id and an address space of its own; what is known
 * of its credentials holds where they stay. */
int task_exec(struct task *t, int tgid, bool creds_stay);
/* Calls fn for every task; fn may drop the task it is given and no other. */
void task_each(void (*fn)(struct task *t, void *arg), void *arg);
unsigned task_count(void);

/* Kept descriptors, opened at first use; negative errno where the process is gone. The pidfd is one
 * whose descriptor table is this thread's. */
int task_pidfd(struct task *t);
/* A pidfd of this very thread; -EINVAL where the kernel has none (before 6.9). */
int task_thread_pidfd(struct task *t);
int task_proc_fd(struct task *t);
/* Name of an entry of the thread's /proc directory relative to task_proc_fd(): "fd/3" or
 * "task/TID/fd/3". buf needs 64 bytes. */
const char *task_proc_name(const struct task *t, const char *entry, char *buf);

static inline struct task *task_of(struct caller *who)
{
    return (struct task *)who;
}

/* caller.c: fills who.ops. */
void caller_init(struct task *t);
/* A call was dispatched or settled: what was kept for it is released. */
void caller_call_over(void);

#endif
