/* One intercepted call on its way: read by the dispatcher, decided by a family, carried out by the
 * backend.
 *
 * A family looks at the arguments, resolves names and says what shall happen:
 *   pass     the kernel runs the call as the program made it
 *   done     the result is known; the kernel never sees the call
 *   rewrite  the program's own thread runs a call with other arguments; with settle set, the
 *            result comes back through call_settle before the program sees it
 *   wait     not now: the backend dispatches the call again when call_progress says something
 *            changed (another creation of the same name is under way) */
#ifndef FUSS_CALL_CALL_H
#define FUSS_CALL_CALL_H

#include "call/systab.h"
#include "vfs/walk.h"
#include <linux/openat2.h>

enum call_action { CALL_PASS, CALL_DONE, CALL_REWRITE, CALL_WAIT };

#define CALL_BLOBS 3

/* Bytes that the backend puts where the program can read them but not change them; argument `arg`
 * then points there. */
struct call_blob {
    int arg;
    const void *bytes;
    size_t len;
};

struct dirs;

struct call {
    const struct view *view;
    struct caller *who;
    const struct sysrow *row;
    struct dirs *dirs; /* open listings of the session, see call/dir.h */
    u64 arg[6];        /* as the program gave them */

    enum call_action action;
    long result; /* for CALL_DONE; for call_settle the kernel's result */
    long new_nr; /* for CALL_REWRITE */
    u64 new_arg[6];
    unsigned nblobs;
    struct call_blob blob[CALL_BLOBS];
    bool settle;
    bool restart; /* set by call_settle: undo and make the program say it again */
    int close_fd; /* set by call_settle: a descriptor of the program to close before it goes
                     on, with or without restart; -1 = none */
    int give_fd;  /* set by call_settle: a descriptor of ours for the program, as the result or
                     (chdir) as its working directory; the backend closes it; -1 = none */
    bool give_cloexec;
    bool open_here; /* the rewritten call is an open that the backend may do itself */
    bool maps;      /* it opens what view->maps makes; the program's own call finds nothing */
    u64 open_flags;
    bool far;    /* the real path is too long to be said: it is opened by its directory */
    bool closed; /* the program may be refused on the way to what the view allows it */
    u8 attempts; /* restarts so far of this very call (kept by the backend) */

    bool by_fd; /* the first object was named by descriptor `fd`, not by a path */
    int fd;
    bool remains; /* place.node.st is that of a removed object's former copy (vfs_ops.remains) */
    struct vfs_pending pending;
    struct open_how how; /* storage for a rewritten openat2 */
    char said[PATH_MAX]; /* the first path as said, read once */
    char said2[PATH_MAX];
    char base[PLACE_PATH_MAX];
    char real[PATH_MAX]; /* the real path, where the call was rewritten */
    struct place place;  /* what the first path named */
    struct place place2; /* and the second */
};

/* Prepares a call for dispatch: everything but view, who, row, dirs, arg and attempts is reset
 * (without touching the big buffers). */
void call_begin(struct call *c);
/* Decides a call. Never fails: an error is CALL_DONE with a negative result. */
void call_dispatch(struct call *c);
/* The result of a rewritten call with settle set; may replace it or ask for a restart. */
void call_settle(struct call *c, long result);

/* Instead of running a call with open_here set in the program: a descriptor of ours, close-on-exec,
 * that is what the program would have got, or negative errno. -EAGAIN: only the program can tell,
 * since the open would wait. Its result goes through call_settle where that is set. */
int call_open_here(struct call *c);

/* For the families. */
void call_pass(struct call *c);
void call_done(struct call *c, long result);
/* The program runs the call as said, but for what is changed in new_nr, new_arg and blobs. */
void call_begin_rewrite(struct call *c);
/* Rewrites path argument `arg` to the absolute path `real` (which must live as long as the call),
 * everything else as said. May be used for both paths of a call. */
void call_rewrite_path(struct call *c, int arg, const char *real);
/* The canonical path of a place outside, with the trailing slash that was said. */
const char *place_words(struct place *p);
/* True for a program that may find directories of the layers closed that the merged view lets it
 * pass: by ids or capabilities of its own, or because one was closed behind its working directory.
 */
bool call_may_be_closed(struct call *c);
/* Does a read-only bind refuse what would change the object at c->place, or make it? What is no
 * file or directory is not the filesystem's. */
bool call_bind_guards(struct call *c, bool creates);
/* Words for a place outside that mean what was judged, whatever another thread writes over the
 * program's own: its canonical path, or what was said where the kernel has to tell an error. */
const char *call_fixed_words(struct place *p, const char *said);
/* The standard answer for a first path outside the union: EROFS where a layer's own path would be
 * changed, the canonical path where the walk went through the union, else pass. */
void call_outside(struct call *c, bool changes);

/* Resolves what (dirfd, path) of the row name into c->place; honours SYS_FD_ONLY, AT_EMPTY_PATH
 * and NULL paths by way of walk_fd (c->by_fd). `walk_flags` are WALK_*. An error of the host's own
 * namespace is no error here: the place is outside and the kernel will say it. */
int call_resolve(struct call *c, unsigned walk_flags);
/* The same for the second path, into c->place2. */
int call_resolve2(struct call *c, unsigned walk_flags);
/* Where the walk of *path starts: *base for it, and *path cut short where that leads out of a
 * removed directory. 0, negative errno, or 1 where it names nothing but the removed directory. */
int call_start(struct call *c, int dirfd, const char **path, unsigned walk_flags, const char **base,
               struct place *place);
/* WALK_FOLLOW or 0 by the row's traits and the call's flags. */
unsigned call_follow(const struct call *c);
/* The flags argument of the row as 32 bits, 0 where it has none. */
u32 call_flags(const struct call *c);

#endif
