/* The shim's own parts. Its code is the image's alone: no libc, no data but what is mapped behind
 * the text, no descriptor ever opened. */
#ifndef FUSS_PRELOAD_SHIM_INSIDE_H
#define FUSS_PRELOAD_SHIM_INSIDE_H

#include "shim_image.h"
#include <linux/stat.h>

#define HIDDEN __attribute__((visibility("hidden")))

extern HIDDEN struct shim_shared shim_shared; /* read-only here */
extern HIDDEN struct shim_own shim_own;

/* entry.S: does not return; the call is made again and the supervisor serves it. */
_Noreturn HIDDEN void shim_unable(void);
/* entry.S: a system call that the filter lets pass. */
HIDDEN long shim_gate(long nr, long a, long b, long c, long d, long e);
/* The seam of base/sys.h. */
HIDDEN long shim_sys(long nr, long a, long b, long c, long d, long e, long f);
/* caller.c: a process that looks at itself. `changes` is the count of the union's changes at the
 * beginning of the call. */
struct shim_caller {
    struct caller who; /* first */
    struct shim_memory *memory;
    u64 changes, renamed;
    u32 now;     /* steady_now() */
    int x_fd;    /* whose the answer below is */
    bool x_part; /* it only says which object it is */
    struct statx x;
};
HIDDEN void shim_caller(struct shim_caller *who, struct shim_memory *memory, u64 changes);

/* The entry of what `fd` is open on (AT_FDCWD: the working directory), where it is remembered. */
HIDDEN struct shim_link *shim_link_of(struct shim_caller *who, int fd);
/* What shim_link_of() was asked about last is a directory that may be remembered. */
HIDDEN bool shim_is_dir(const struct shim_caller *who);
HIDDEN void shim_stat_of(const struct statx *x, struct stat *st);

static inline struct shim_memory *shim_memory_of(const struct shim_saved *saved)
{
    return (struct shim_memory *)((u64)saved + SHIM_SAVED - SHIM_SLOT);
}
enum { RESULT, LEAVE, PASS, LAST, SHIM_GO_ON }; /* as entry.S reads it, but for the last */
static inline int shim_result(struct shim_saved *saved, long value)
{
    saved->result = value;
    return RESULT;
}

struct call;
#define OPEN_FLAGS  (O_CLOEXEC | O_NOFOLLOW | O_DIRECTORY | O_NONBLOCK | O_NOCTTY | LARGE_FILE)
#define PLACE_FLAGS (O_PATH | O_CLOEXEC | O_NOFOLLOW | O_DIRECTORY)
#define WRITE_FLAGS (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND)
#define LARGE_FILE  0100000 /* O_LARGEFILE, which is 0 in this architecture's headers */

/* The call's end: the kernel opens `path`, relative to `dirfd`. LAST. */
HIDDEN int shim_open_last(struct shim_saved *saved, struct shim_memory *memory, u64 flags,
                          int dirfd, const char *path);
/* near.c: RESULT, LAST, or SHIM_GO_ON where the engine has to look. */
HIDDEN int shim_near(struct shim_saved *saved, struct shim_caller *who, struct call *c);
/* outside.c: RESULT, PASS, LAST, or SHIM_GO_ON where the engine has to look. */
HIDDEN int shim_outside(struct shim_saved *saved, struct shim_caller *who, struct call *c);
/* outside.c: the engine has looked at c->place. */
HIDDEN void shim_learn_outside(struct shim_caller *who, struct call *c);
/* attrs.c: fgetxattr and flistxattr. RESULT, PASS or LEAVE. */
HIDDEN int shim_attrs(struct shim_saved *saved, struct shim_memory *memory, const struct call *c);
/* sets.c: mode, owner and times of what is the upper's, by a path. RESULT or LEAVE. */
HIDDEN int shim_set(struct shim_saved *saved, struct shim_caller *who, struct call *c, u64 changes);
/* True where the xattr name in this argument is no word of an overlay's. */
HIDDEN bool shim_plain_attr(const struct call *c, int arg);
/* names.c: does what *memory's plan says, where nothing changed since. RESULT or LEAVE. */
HIDDEN int shim_rename(struct shim_saved *saved, struct shim_memory *memory, const struct call *c,
                       u64 changes);
/* names.c: opens by a path in which no link is followed, at once. The descriptor or an error. */
HIDDEN int shim_open_straight(struct shim_memory *m, const char *path, u64 flags, u64 mode);
/* names.c: no signal comes between the two; the second ends the call with r, where that is no
 * error. RESULT or LEAVE. */
HIDDEN bool shim_hush(u64 *mask);
HIDDEN int shim_unhush(struct shim_saved *saved, const u64 *mask, long r);
/* names.c: no other thread has these descriptors. One that has ended may still be counted. */
HIDDEN bool shim_is_alone(void);
/* True where nothing of the union changed since `changes` was read from it. */
HIDDEN bool shim_stands(const struct overlay_facts *facts, u64 changes);
/* near.c: whether `fd` is a directory that a lower alone makes; dots: overlay_lists_plainly(). Its
 * looks are in who->x then. */
HIDDEN bool shim_is_plain(struct shim_caller *who, struct call *c, int fd, u64 dots[2]);
/* Names of the directory are bound or hidden. */
HIDDEN bool shim_has_binds(const struct place *p);
/* seen.c: an object of a lower that the union shows as it is, by the one name that it has. What has
 * its device and number and no other name is that object, whichever way the kernel came to it.
 * `fresh`: seen a moment ago, as seen from outside of the session, too. */
HIDDEN bool shim_seen_node(struct shim_caller *who, const struct stat *st, bool fresh);
HIDDEN void shim_note_node(struct shim_caller *who, u64 dev, u64 ino);
/* seen.c: the same for a directory that one part alone makes, a lower's, and whose dots show as
 * they are. */
HIDDEN bool shim_seen_plain(struct shim_caller *who, const struct statx *x);
HIDDEN void shim_note_plain(struct shim_caller *who, u64 dev, u64 ino, u64 mount);
/* seen.c: what was found at the canonical path in such a directory, for whoever opens it without
 * following links: SHIM_PATH_DIR, twice overlay_opened_bit() of a regular file, or -1. */
#define SHIM_PATH_DIR 1
HIDDEN int shim_seen_path(const struct shim_caller *who, const char *path, size_t n);
HIDDEN void shim_note_path(const struct shim_caller *who, const char *path, size_t n,
                           const struct stat *st);
/* seen.c: the lower that alone makes the directory at the canonical path, or -1. Not `fresh`: only
 * directories led there once, and somebody outside of the session may have put a link on the way.
 */
HIDDEN int shim_seen_dir(struct shim_caller *who, const char *path, size_t n, bool *fresh);
HIDDEN void shim_note_dir(struct shim_caller *who, const char *path, size_t n, unsigned layer);
/* near.c: the directory that a lower alone makes, and that no link led to, is open. */
HIDDEN void shim_opened_dir(struct shim_saved *saved);
/* near.c: the engine has looked at c->place. */
HIDDEN void shim_learn(struct shim_caller *who, const struct call *c);
/* list.c: true with the result in *saved; else the call is the supervisor's. */
HIDDEN bool shim_list(struct shim_saved *saved, struct shim_caller *who, struct call *c);
/* What entry.S calls: see there for the results. */
HIDDEN int shim_handle(struct shim_saved *saved);
/* The last call was made, and went well. */
HIDDEN void shim_done(struct shim_saved *saved);

#endif
