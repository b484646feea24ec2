/* Fake ids (--fake-root, --fake-id): the ids, groups and capabilities that a task believes it has.
 * The kernel goes on knowing the session's user, and judges nothing by these; the engine does, on
 * what overlay/faked.c shows. Every task of such a session is traced from its birth on. */
#ifndef FUSS_TRACER_FAKEIDS_H
#define FUSS_TRACER_FAKEIDS_H

#include "tracer/task.h"

struct fake_ids;

/* The first task's. 0 or -ENOMEM. */
int fakeids_begin(struct task *t);
/* What a new task has of its parent's; NULL stays NULL. NULL where memory is short. */
struct fake_ids *fakeids_copy(const struct fake_ids *from);
/* By what rights are judged. */
const struct cred *fakeids_cred(struct task *t);
/* The task is about to execute what shows this stat. */
void fakeids_execute(struct task *t, const struct stat *shown);
/* It has. */
void fakeids_executed(struct task *t);
/* CALL_IDS, CALL_CREDS and CALL_PRCTL; true where the call is decided. */
bool fakeids_dispatch(struct task *t, struct call *c);

#endif
