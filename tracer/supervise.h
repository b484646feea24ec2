/* The wait loop: from stops to calls and back. */
#ifndef FUSS_TRACER_SUPERVISE_H
#define FUSS_TRACER_SUPERVISE_H

#include "call/dir.h"
#include "overlay/overlay.h"
#include "tracer/task.h"

/* What the one supervisor thread knows. */
struct supervisor {
    const struct session *session;
    struct overlay *overlay;
    struct view view; /* {session, &overlay->vfs, &notes->raw_dirs} */
    struct dirs *dirs;
    int front_fd;  /* messages to the front; -1 once it has left */
    int front_pid; /* 0 once it has left */
    int command;   /* pid of the command, 0 once it has ended */
    bool kill_leftovers;
    u64 cred_generation; /* moves with every change of somebody's credentials */
};
extern struct supervisor sup;

/* Runs until the last task has ended. The command is seized already. Returns 0, or a negative errno
 * where tracing itself failed. */
int supervise(void);
/* The command's wait status where the front has not been told yet, else -1. */
int supervise_status(void);

/* -- families served here and not by common/call; same protocol as call_dispatch/call_settle --- */

/* exec.c: CALL_EXEC. exec_event: PTRACE_EVENT_EXEC came, t has its new identity and address space
 * already; the call is over when it returns (t->extra is freed by it). */
void exec_dispatch(struct task *t, struct call *c);
void exec_settle(struct task *t, struct call *c, long result);
void exec_event(struct task *t);
/* At a seccomp stop with t->comm set. True where the call has been put off: it will trap again. */
bool exec_name(struct task *t);
/* True where the program runs under a seccomp filter of its own, which would judge, and may kill
 * for, a call that it is made to execute. */
bool filters_itself(struct task *t);

/* unix.c: CALL_BIND CALL_CONNECT CALL_SENDMSG CALL_SOCKNAME */
void unix_dispatch(struct task *t, struct call *c);
void unix_settle(struct task *t, struct call *c, long result);

#endif
