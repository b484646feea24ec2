/* The in-process shim, brought into programs that ask often (common/shim_image.h says what it is).
 *
 * A process gets it after a number of notices: while it has one thread, runs with the session's own
 * credentials and has no seccomp filter of its own. The sites of an image are rewritten at the
 * first notice from that image. Whatever does not fit is served as ever. */
#ifndef FUSS_TRACER_SHIM_H
#define FUSS_TRACER_SHIM_H

#include "tracer/task.h"
#include <sys/stat.h>

/* Before the filter is made: programs may be given a shim (false: never). */
void shim_enable(bool wanted);
bool shim_enabled(void);
/* Makes the image and the memory behind it; *facts is where the overlay's shall be, NULL where
 * there is no shim. 0 or a negative errno. */
int shim_init(const struct session *s, void **facts);
/* The credentials that the shim acts with: the session's own. */
void shim_set_cred(const struct cred *cred);

/* A notice came: true where the shim is to be brought in, or sites are to be rewritten. */
bool shim_due(struct task *t);
/* The same without a stop, where nothing of the program can run meanwhile and it need not be made
 * to do anything: SHIM_SAY_AGAIN where the call was made by a site that is another now. */
enum shim_here { SHIM_AT_A_STOP, SHIM_SAY_AGAIN, SHIM_VISITED };
enum shim_here shim_visit_here(struct task *t);
/* At a ptrace stop: brings the shim in, rewrites sites. True where the program has to say its call
 * again; its registers are put right. */
bool shim_visit(struct task *t);
/* Which program it is that lies in the file with this stat. */
u64 shim_program(const struct stat *st);
/* t->program is to be executed: true where shim_executed() wants to see it. */
bool shim_expects(const struct task *t);
/* t->program was just executed, and its loader is another than the one that is there: true where
 * the shim should come with that. */
bool shim_comes(struct task *t);
/* At the stop of an exec, t being what it has become: brings the shim in where that is cheap. */
void shim_executed(struct task *t);
/* At a signal's stop: a call under way in the shim is given up, the program will make it by the
 * site's own instruction; SHIM_FAULT where the signal was the shim's, by an address of the
 * program's that is none, and is not to be delivered. */
enum shim_signal { SHIM_OUTSIDE, SHIM_GIVEN_UP, SHIM_FAULT };
enum shim_signal shim_signal(struct task *t, int sig);
/* The thread ended, where it may have been anywhere: also in the shim, at a change of the union. */
void shim_killed(struct task *t);
/* The process's descriptors are right as far as the session's count says. */
void shim_repointed(struct task *t);
/* The task is about to change its working directory. */
void shim_moves(struct task *t);
/* A process is made that shares another's. */
void shim_moves_shared(void);
/* From now on every call of the process, and of what it becomes, is the supervisor's. */
void shim_off(struct task *t);
/* The same for a new task whose parent made it with these clone flags. */
void shim_cloned(struct task *parent, struct task *child);

#endif
