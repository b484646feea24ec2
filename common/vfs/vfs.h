/* A filesystem as the rest of fuss sees it: the overlay, or the passthrough that tests use.
 *
 * Names are resolved one object at a time into a vnode. A vnode is opaque to its holders: it says
 * where an object is by layer and by its canonical place in the tree, never by a path that the
 * kernel would walk again through symlinks. Only what the program itself must execute is turned
 * into a path string (ops.locate). All functions return 0 or a negative errno unless said
 * otherwise. No function may follow a symlink: walking belongs to vfs/walk.h.
 *
 * Rights: the functions that change names or objects judge the caller's permission on the merged
 * view first, as the kernel would, and in the kernel's order of errors; only then anything is
 * copied up or created. A refused call leaves nothing behind. */
#ifndef FUSS_VFS_VFS_H
#define FUSS_VFS_VFS_H

#include "base/base.h"
#include "vfs/caller.h"

#define VPATH_MAX PATH_MAX
/* Of an absolute virtual path: one as long as the kernel takes may be said from the mountpoint. */
#define PLACE_PATH_MAX (VPATH_MAX + 256)
#define VNODE_ABSENT   0xff

/* One bit per layer; bit 0 is the upper. */
typedef unsigned __int128 layer_set;
static inline layer_set layer_bit(unsigned layer)
{
    return (layer_set)1 << layer;
}

static inline layer_set lowers_of(layer_set set)
{
    return set & ~layer_bit(0);
}

static inline bool has_several(layer_set set)
{
    return set & (set - 1);
}

/* The topmost layer of a set that is not empty. */
static inline unsigned lowest(layer_set set)
{
    u64 low = (u64)set;
    return low ? (unsigned)__builtin_ctzll(low) : 64 + (unsigned)__builtin_ctzll((u64)(set >> 64));
}

struct vfs;
struct statfs;
struct listing;

struct vnode {
    struct vfs *fs;
    u64 generation;       /* of the facts below; see overlay/index.h */
    layer_set layers;     /* directory: the layers still merged here; else the one layer */
    layer_set marked;     /* directory: the layers that may have markers for names in it */
    layer_set dir_layers; /* the layers merged in the parent directory */
    u8 top;               /* topmost layer that has it, VNODE_ABSENT where the name is free */
    bool whiteout;        /* absent, and the upper holds a whiteout for the name */
    struct stat st;       /* the real object of the top layer, identity not translated */
    size_t len;           /* of path */
    char path[VPATH_MAX]; /* canonical, relative to the root of the filesystem, "" = the root */
};

static inline bool vnode_exists(const struct vnode *n)
{
    return n->top != VNODE_ABSENT;
}
static inline bool vnode_is_dir(const struct vnode *n)
{
    return vnode_exists(n) && S_ISDIR(n->st.st_mode);
}
static inline bool vnode_is_link(const struct vnode *n)
{
    return vnode_exists(n) && S_ISLNK(n->st.st_mode);
}

/* A creation that the program itself executes (open with O_CREAT, O_TMPFILE, bind): begun before
 * the program runs it, finished with its result. */
struct vfs_pending {
    bool active;
    bool staged;   /* made in the nursery, to be moved to its name */
    bool whiteout; /* a marker to take away once the name is there */
    u64 ticket;    /* mutation ticket held, 0 = none */
    u32 slot;      /* the nursery's entry */
    u64 node_hash; /* index entry to touch */
    size_t len;
    char path[VPATH_MAX]; /* where it shall be, relative to the root */
};

/* rename flags are the kernel's RENAME_*; mknod's mode and dev as mknod(2). */
struct vfs_ops {
    /* -- looking ------------------------------------------------------------------------------ */
    /* Child `name` (len bytes, no slash, not "." or "..") of directory `dir`. An absent name gives
     * 0 with top = VNODE_ABSENT. -ENAMETOOLONG, -ENOTDIR (dir is none). dir == out is allowed. */
    int (*lookup)(struct vfs *fs, const struct vnode *dir, const char *name, size_t len,
                  struct vnode *out);
    /* The vnode at a canonical relative path of real directories (the last component may be
     * anything or absent): the fast way where no symlink is met. -EAGAIN: walk it component by
     * component (a symlink or a file in the way, or a directory that is perhaps not there).
     * -ENOENT: directories alone lead to one that is not there. */
    int (*descend)(struct vfs *fs, const char *path, size_t len, struct vnode *out);
    int (*root)(struct vfs *fs, struct vnode *out);
    /* Text of a symlink: length (not NUL-terminated) or -errno. */
    long (*readlink)(struct vfs *fs, const struct vnode *node, char *buf, size_t cap);
    /* What stat(2) shows for the node: st with identity and link count translated. */
    int (*getattr)(struct vfs *fs, const struct vnode *node, struct stat *st);
    /* The same translation for a real stat of an object reached by an open descriptor `fd` of this
     * process. A foreign object is left alone. */
    int (*identify)(struct vfs *fs, int fd, struct stat *st);
    /* What has real stat st, no directory and not of the upper, is opened: to be read, or as a
     * place (O_PATH). */
    void (*opened)(struct vfs *fs, const struct stat *st);
    /* True where what has real stat st, no directory, may have been copied up since it was opened:
     * its descriptors then show what the upper has. Never false wrongly. */
    bool (*replaced)(struct vfs *fs, const struct stat *st);
    /* All names of the directory, each once, with d_ino equal to st_ino; "." and ".." included;
     * sealed. */
    int (*list)(struct vfs *fs, const struct vnode *dir, struct listing *out);
    int (*statfs)(struct vfs *fs, const struct vnode *node, struct statfs *out);
    /* 0 or -EACCES/-EROFS: R_OK|W_OK|X_OK judged with the caller's filesystem ids on the merged
     * view. */
    int (*permission)(struct vfs *fs, struct caller *who, const struct vnode *node, int mask);
    /* The stat by which rights on the node are judged: node->st, or *buf. */
    const struct stat *(*judged)(struct vfs *fs, const struct vnode *node, struct stat *buf);
    /* O_PATH descriptor (of this process) of the real object: upper copy or lower original. The
     * caller closes it. */
    int (*grab)(struct vfs *fs, const struct vnode *node);
    /* Absolute real path of the object, for a call that the program executes; the length.
     * -ENAMETOOLONG where the kernel could not take it. */
    long (*locate)(struct vfs *fs, const struct vnode *node, char *buf, size_t cap);
    /* Which object of the tree is the real object (layer, path relative to the layer's root) that
     * an open descriptor or a cwd refers to? st is its real stat. Fills *out where the object is
     * visible at some name now (following renames of lower directories); -ENOENT where it was
     * removed (out->path then holds its last known name). */
    int (*reverse)(struct vfs *fs, unsigned layer, const char *rel, const struct stat *st,
                   struct vnode *out);
    /* The path of a removed object of layer 0, for the real one, relative to the layer, that the
     * kernel still knows it by (any " (deleted)" stays); NULL where they are always the same. */
    long (*gone)(struct vfs *fs, const char *rel, char *buf, size_t cap);
    /* O_PATH descriptor (of this process, the caller closes it) of what a removed object with
     * real stat st, not of the upper, was copied up to: what is done to it by descriptor goes
     * there. -ENOENT where it was not, or too long ago. NULL where there is no such thing. */
    int (*remains)(struct vfs *fs, const struct stat *st);
    /* Name of an xattr on disk for the name a program says (escaping of overlay names): the
     * length, or -EOPNOTSUPP/-EPERM. */
    long (*xattr_to_disk)(struct vfs *fs, const char *name, char *buf, size_t cap);
    /* The name a program sees for one on disk: length, or 0 where it is hidden. */
    long (*xattr_from_disk)(struct vfs *fs, const char *name, char *buf, size_t cap);

    /* -- changing ----------------------------------------------------------------------------- */
    /* Makes the object writable in the upper; node then names the upper copy. Data beyond
     * `size_hint` bytes need not be kept (SIZE_MAX: all). No permission is checked: the caller of
     * this has done so. Absent: -ENOENT. Already in the upper: 0 at once. -EROFS. */
    int (*copy_up)(struct vfs *fs, struct caller *who, struct vnode *node, u64 size_hint);
    /* A name of the upper was changed without a word here (call/deep.c): whatever is remembered of
     * names is worth nothing from now on. */
    void (*changed)(struct vfs *fs);
    /* With fake ids: what chown and chmod say of an object of the upper, named by a descriptor of
     * this process. -1 (as u32) is left as it is. */
    int (*record)(struct vfs *fs, int fd, u32 uid, u32 gid, u32 mode);
    /* The node was looked up with its last component not followed; absent for creations (they
     * check for existence themselves and give -EEXIST). On success node is the new object. */
    int (*mkdir)(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode);
    int (*mknod)(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode, u64 dev);
    int (*symlink)(struct vfs *fs, struct caller *who, struct vnode *node, const char *target);
    /* Hard link `to` of `from`. fd >= 0: the source is that descriptor of this process (an
     * O_TMPFILE, or AT_EMPTY_PATH) and `from` may be NULL. */
    int (*link)(struct vfs *fs, struct caller *who, struct vnode *from, int fd, struct vnode *to);
    int (*unlink)(struct vfs *fs, struct caller *who, struct vnode *node);
    int (*rmdir)(struct vfs *fs, struct caller *who, struct vnode *node);
    int (*rename)(struct vfs *fs, struct caller *who, struct vnode *from, struct vnode *to,
                  unsigned flags);
    /* A creation that the program executes. `node` is absent (a regular file or socket will be
     * made at it), or a directory with tmpfile set. Judges permission, copies parents up, and
     * gives the absolute real path to create at ("": longer than one may be). -EAGAIN: somebody
     * else's creation of that name is under way; try again when one has finished. */
    int (*create_begin)(struct vfs *fs, struct caller *who, struct vnode *node, bool tmpfile,
                        struct vfs_pending *pending, char *real, size_t cap);
    /* `result` is what the program's call gave. -EEXIST: the name was taken meanwhile. */
    int (*create_end)(struct vfs *fs, struct caller *who, struct vfs_pending *pending, long result);
};

struct vfs {
    struct vfs_ops ops; /* filled at run time: the injected image has no relocations */
    const char *name;
    /* Counts renames and removals of directories: while it stands still, a directory keeps its
     * name. NULL: not known, remember nothing. */
    const u64 *structure;
    /* The highest serial that a merged listing's position has carried (call/dir.h); its owner is
     * the supervisor. NULL: not told. */
    u64 *listings;
};

#endif
