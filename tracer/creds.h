/* Whose rights: the credentials of tasks, taking them on, and the calls that change them. */
#ifndef FUSS_TRACER_CREDS_H
#define FUSS_TRACER_CREDS_H

#include "tracer/task.h"

/* Before the first task: remembers the supervisor's own credentials and sets its umask to 0. */
int creds_init(void);
/* The task's credentials; read from the kernel when they may have changed. Sets
 * who.same_as_session. Never NULL: where the task is gone, nobody's rights. */
const struct cred *creds_of(struct task *t);
/* The supervisor thread acts with the task's rights on files, and back. */
void creds_assume(struct task *t);
void creds_resume(void);

/* True where the kernel lets us attach to any process. */
bool creds_may_trace(void);
/* True where an exec of a plain program leaves the task's credentials as they are. */
bool creds_stay(const struct task *t);
/* From a status file in /proc. */
struct found_status {
    int tgid, ppid, threads;
    bool handlers; /* some signal is caught */
};
/* Reads one; where t is given, dir being its directory, its credentials too. False: it is gone. */
bool creds_status(int dir, const char *name, struct found_status *st, struct task *t);

/* CALL_IDS CALL_CREDS CALL_CLONE CALL_PTRACE CALL_PRCTL. */
void creds_dispatch(struct task *t, struct call *c);
void creds_settle(struct task *t, struct call *c, long result);

#endif
