/* From the text of a path to the object it names, over host and union alike.
 *
 * The walk goes component by component where it must: every ".." and every symlink, of the host or
 * of the union, may cross the border in either direction. */
#ifndef FUSS_VFS_WALK_H
#define FUSS_VFS_WALK_H

#include "session.h"
#include "vfs/steady.h"
#include "vfs/vfs.h"

#define WALK_FOLLOW      0x01 /* follow a symlink in the last component */
#define WALK_BENEATH     0x02 /* RESOLVE_BENEATH */
#define WALK_IN_ROOT     0x04 /* RESOLVE_IN_ROOT */
#define WALK_NO_SYMLINKS 0x08 /* RESOLVE_NO_SYMLINKS */
#define WALK_NO_MAGIC    0x10 /* RESOLVE_NO_MAGICLINKS */
#define WALK_NO_XDEV     0x20 /* RESOLVE_NO_XDEV, for the border of the union */
#define WALK_PARENT      0x40 /* the last component will be created or removed: keep it as said */
#define WALK_ASKED       0x80 /* a last component outside: whoever walks asks for it next, itself */

#define GUARD_BIND LAYERS_MAX /* no layer's number */

enum walk_last { LAST_NAME, LAST_DOT, LAST_DOTDOT, LAST_ROOT };

/* Directories that descriptors stood for lately: the kernel's text and the virtual path. True as
 * long as no directory of the union is renamed or removed (vfs.structure). Only successes are kept.
 */
#define MEMO_ENTRIES 8
#define MEMO_TEXT    400
struct base_memo {
    u64 structure;
    unsigned next;
    struct {
        u32 text_len, len; /* 0 = free */
        char text[MEMO_TEXT], path[MEMO_TEXT];
    } entry[MEMO_ENTRIES];
};

/* The view a walk happens in: the session, the union, and whom it is for. */
struct view {
    const struct session *session;
    struct vfs *fs;
    bool
        *raw_dirs; /* set once a layer's directory was opened by its own path (O_APPEND marks it) */
    struct base_memo *memo; /* zeroed memory, or NULL: remember nothing */
    /* In a process of the program, which opens nothing for it: does not return where the common
     * case does not settle the walk. NULL = walk all the way. */
    void (*unable)(void);
    /* Counts, before and after, directories outside that the session moves or removes. NULL =
     * nobody wants to know. */
    u64 *moves;
    /* Opens such a list (walk_is_maps) with the caller's rights, in the union's words: a descriptor
     * of ours, close-on-exec, or negative errno. NULL = it is shown as the kernel writes it. */
    int (*maps)(const struct view *view, struct caller *who, const char *path);
    u64 *steady;       /* unable: vfs/steady.h, for directories outside; or NULL */
    struct ways *ways; /* vfs/ways.h, or NULL: outside everything is looked at */
    /* Where the caller's "/" is, a canonical virtual path in the union; NULL = at "/". With the
     * mountpoint as the root, /proc, /sys and /dev are the host's as in a union at "/". */
    const char *root;
    bool root_is_mount;
};

struct place {
    bool in_union;
    bool exists;
    bool slash;          /* the path ended in "/" (or "/." or "/.."): must be a directory */
    bool crossed;        /* the kernel, given the program's own words, would land elsewhere */
    bool bind_root;      /* what a bind shows, itself (the name is busy) */
    bool parent_in;      /* the directory that holds the last component is the union's */
    int host_error;      /* why the walk ended outside, where the kernel is to say it; else 0 */
    bool removed;        /* a magic link or descriptor whose object has no name any more */
    enum walk_last last; /* what the last component of the words was (not of a link they end in) */
    int magic_fd;        /* caller's descriptor that a last /proc/self/fd/N named, else -1 */
    int bind;            /* outside: the bind that it lies in (binds.h), else -1 */
    int guard_layer;     /* the layer whose own path this is (outside the union), GUARD_BIND where a
                            bind is read-only, else -1 */
    int fd_layer;        /* walk_fd: the layer that the descriptor itself is open on, else -1 */
    size_t len;
    char path[PLACE_PATH_MAX]; /* canonical virtual path, absolute; in a bind the real one */
    struct vnode node;         /* where in_union */
};

/* What lies there, or would, is said by its name alone: by no link, descriptor or slash behind it.
 */
static inline bool place_is_name(const struct place *p)
{
    return !p->crossed && !p->host_error && !p->removed && !p->slash && p->magic_fd < 0 &&
           p->last == LAST_NAME;
}

/* Salt of a directory outside in view->steady: what the session moves there makes it another. */
static inline u64 view_salt(const struct view *view, enum steady_place place)
{
    return __atomic_load_n(view->moves, __ATOMIC_ACQUIRE) << 8 | place;
}

/* Resolves `path` said by `who`, relative ones from the canonical virtual directory `base`.
 * 0 with place->exists telling whether the last component is there; -ENOENT, -ENOTDIR, -EACCES,
 * -ELOOP, -ENAMETOOLONG, -EXDEV (BENEATH, NO_XDEV) as path_resolution(7). */
int walk(const struct view *view, struct caller *who, const char *base, const char *path,
         unsigned flags, struct place *place);

/* -- place.c: descriptors and the kernel's texts */

/* place->path as the program says it: the length, or -ENAMETOOLONG. */
long walk_name_of(const struct view *view, const struct place *place, char *buf, size_t cap);

/* A virtual path as the caller says it, whose root it may begin with: changed in place, the new
 * length. */
size_t walk_in_root(const struct view *view, char *path, size_t len);

/* place is what lies at `rest` in the bind: path, guard and all. -ENAMETOOLONG. */
int walk_into_bind(const struct view *view, int bind, const char *rest, struct place *place);

/* Canonical virtual path of the directory that a descriptor of the caller (or AT_FDCWD) stands
 * for. -EBADF; -ENOTDIR where it is no directory; -ENOENT where it was removed. `scratch` is
 * overwritten. */
int walk_base(const struct view *view, struct caller *who, int fd, char *buf, size_t cap,
              struct place *scratch);

/* What a descriptor (or AT_FDCWD) of the caller refers to, as a place. place->in_union false:
 * nothing of ours. exists false: it was removed or its name now names another object. -EBADF. */
int walk_fd(const struct view *view, struct caller *who, int fd, struct place *place);

/* The kernel's text `real` of an object lies below a layer; but what it calls "x (deleted)" may be
 * no path at all (memfd, shared memory): a removed object of a layer lies on the layer's own
 * device. */
bool walk_foreign(const struct session *s, int layer, const char *real, const struct stat *st);

/* "/proc/<pid>" or "/proc/<pid>/task/<tid>" at the start of path: the rest behind it, else NULL. */
const char *walk_proc_rest(const char *path, u64 *pid);
/* True for the path of a link in /proc that stands for an object and not for a text: .../fd/N,
 * cwd, root, exe. */
bool walk_is_magic(const char *path);
/* True for the path of a file in /proc that lists a process's mappings: .../maps, smaps. */
bool walk_is_maps(const char *path);

/* Turns a kernel path (of a /proc link) into the virtual one, keeping or adding " (deleted)" where
 * the union says so. Length, or -ENAMETOOLONG. `scratch` is overwritten. */
long walk_virtual(const struct view *view, const char *real, struct place *scratch, char *buf,
                  size_t cap);

#endif
