/* What the files that change the upper share: a name in an upper directory, a directory kept as it
 * was while something is put into it, and the steps of copy-up. */
#ifndef FUSS_OVERLAY_CHANGE_H
#define FUSS_OVERLAY_CHANGE_H

#include "base/sys.h"
#include "overlay/index.h"
#include "overlay/overlay.h"
#include <linux/fs.h>

#define TEMP_NAME_MAX 48
#define MARK_NAME_MAX 64             /* room for the xattr name of a mark */
#define WH_NAME_MAX   (NAME_MAX - 4) /* the longest name that has a ".wh." marker */

/* -- spot.c: a name and the upper directory it lies in
 * ---------------------------------------------- */
struct spot {
    struct vnode parent;
    int dir; /* O_PATH on the parent in the upper; -1 before spot_open */
    size_t len;
    char name[NAME_MAX + 1];
};

/* The parent and the last name of a node. -EBUSY for the root of the union, -ENOENT where the
 * parent is gone. Nothing is changed; spot_close is needed only after spot_open. */
int spot_init(struct overlay *o, const struct vnode *node, struct spot *spot);
/* Copies the parent up where needed and opens it. */
int spot_open(struct overlay *o, struct spot *spot);
void spot_close(struct spot *spot);
/* The same where the directory may be the one that was changed last and is held open still, and is
 * to be held open for the next change. Not for what moves or removes directories. */
int spot_take(struct overlay *o, struct spot *spot);
void spot_keep(struct overlay *o, struct spot *spot);
/* Lets it go: a directory is about to move, or to be removed. */
void kept_drop(struct overlay *o);
/* True where it was made a moment ago and nothing was done to this name (hash: index_hash) since:
 * the upper has neither it nor a mark of it. */
bool kept_lacks(struct overlay *o, const char *path, size_t len, u64 hash);
/* Its stat, where it is this one; else -ENOENT. */
int kept_stat(struct overlay *o, const char *path, size_t len, struct stat *st);
/* The node is the new object at the (open) spot; or the spot is free, behind a whiteout or not. */
int spot_made(struct overlay *o, struct spot *spot, struct vnode *node);
void spot_gone(struct overlay *o, struct vnode *node, bool whiteout);
/* Looks the name up again: node is what is there now. */
int spot_look(struct overlay *o, struct vnode *node);
/* -EEXIST/-EROFS/-EINVAL/-EACCES in the kernel's order: may the caller create the absent node? */
int spot_may_create(struct overlay *o, struct caller *who, const struct vnode *node,
                    struct spot *spot);
/* -ENAMETOOLONG where the session's style has no whiteout for so long a name. */
int spot_may_whiteout(const struct overlay *o, const struct spot *spot);
/* The index forgets the path before it is changed. */
void change_touch(struct overlay *o, const char *path, size_t len);
void change_touch_all(struct overlay *o);

/* An upper directory while the session changes it: its times are put back at the end where `times`
 * is set (a copy-up is no change of the directory), and an ordinary user's session can write in it
 * although its mode says no (the caller's right was judged on the merged view). */
struct held_dir {
    int fd;
    bool times, loosened;
    struct stat st;
};
int hold_dir(struct overlay *o, int fd, bool times, struct held_dir *h);
void release_dir(struct held_dir *h);
/* The same for a directory of the union, where an ordinary user could not even read its upper part;
 * nothing at all (fd -1) where he can. */
int hold_node(struct overlay *o, const struct vnode *dir, struct held_dir *h);
void release_node(struct held_dir *h);
/* overlay_dir_empty for who may remove the directory, readable or not. */
int change_dir_empty(struct overlay *o, const struct vnode *dir);

/* -- whiteout.c: what stands in the way of a new name in the upper
 * ---------------------------------- */
struct way {
    bool object; /* a whiteout that is an object of that very name (0/0 device, marked file) */
    bool prefix; /* a .wh. marker beside it */
};
int overlay_way(struct overlay *o, const struct vnode *node, int dir, const char *name,
                struct way *way);
/* Writes ".wh.NAME"; -ENAMETOOLONG. */
int overlay_wh_name(char *buf, size_t cap, const char *name);
/* Makes the ".wh.NAME" marker: 1 made, 0 there already. */
int overlay_put_prefix(struct overlay *o, int dir, const char *name);
/* True where the name is an object that stands for a whiteout: a 0/0 device, a marked empty file.
 */
bool overlay_mark_object(struct overlay *o, int dir, const char *name);
/* overlay_clear_marks, leaving .wh..wh..opq alone where that is said. */
int clear_marks(struct overlay *o, int dir, bool keep_opaque);
/* A fresh 0/0 device in work; its name goes to `name`. */
int overlay_make_device(struct overlay *o, char *name, size_t cap);

/* -- copydata.c
 * ------------------------------------------------------------------------------------- */
/* Copies the first `size` bytes of `in` into the empty file `out`; holes stay holes. */
int copy_data(int in, int out, const struct stat *st, u64 size);
/* Copies all xattrs that are the program's own from one object to the other (paths of
 * descriptors), ACLs included; takes away ACLs that the copy inherited from where it was made. */
int copy_xattrs(const char *from, const char *to, bool dir);
/* The ACLs of a directory alone, which can be read whatever its mode. */
int copy_acls(const char *from, const char *to);

/* -- copyup.c
 * --------------------------------------------------------------------------------------- */
/* Copies the lower object `node` to its name in the upper directory `dir`. The node is then the
 * upper copy. */
int copy_up_into(struct overlay *o, int dir, struct vnode *node, u64 size_hint);
/* Owner, xattrs, mode and times of `like` (a descriptor, its stat) for the new object `fd`; with
 * origin, the identity too. */
int copy_attributes(struct overlay *o, int like, const struct stat *st, int fd, bool origin);
/* Notes that the upper directory has a child that stands for a lower object elsewhere. */
void mark_impure(struct overlay *o, int dir);

/* -- copytree.c
 * ------------------------------------------------------------------------------------- */
/* Notes at the upper part of a merged directory which identity it shows: for when it is moved, or
 * removed while somebody has it open. */
int keep_identity(struct overlay *o, const struct vnode *dir);

/* -- nursery.c
 * -------------------------------------------------------------------------------------- */
void nursery_name(char *buf, size_t cap, u64 number);

/* -- gone.c: the directory at the spot was just moved to work, under the temporary name made last
 * ------------------------ */
void gone_note(struct overlay *o, const struct spot *spot);
void gone_forget(struct overlay *o);
/* The length of a text of the kernel's without what it adds to the name of a removed object. */
size_t gone_name_length(const char *text);
/* The path of an object of the upper, relative to it, by its descriptor: where it is, or was last.
 * The length, or negative errno. */
long gone_upper_path(struct overlay *o, int fd, char *buf, size_t cap);
/* The object at the (open) spot is about to lose that name. Where it is the copy of a lower one
 * that may be open still: O_PATH on it, with the identity of the lower one; else -1. */
int remains_take(struct overlay *o, const struct spot *spot, const struct vnode *node,
                 struct stat *low);
/* It did (`gone`), or not after all; fd, which may be -1, is taken over. */
void remains_keep(struct overlay *o, const struct stat *low, int fd, bool gone);

/* -- create.c
 * --------------------------------------------------------------------------------------- */
enum making_kind { MAKE_DIR, MAKE_NODE, MAKE_SYMLINK, MAKE_LINK };
struct making {
    enum making_kind kind;
    u32 mode;
    u64 dev;
    const char *target; /* of a symlink */
    int fd;             /* what to link to */
};
/* Makes a new object at the absent node as the caller, over whatever whiteout is there; the spot is
 * open. A directory over a whiteout is opaque before it shows. */
int make_at(struct overlay *o, struct caller *who, const struct vnode *node, struct spot *spot,
            const struct making *m);
/* Puts `name` of `from` at the place of the whiteout `name` in `dir` in one step. -EEXIST where
 * something else is there by now (nothing is changed then). */
int swap_in(struct overlay *o, int from, int dir, const char *name);

/* -- faked.c
 * ---------------------------------------------------------------------------------------- */
/* Gives the table of owners back. */
void faked_forget(struct overlay *o);
/* The copy that `fd` is open on shows what its original (stat low, path `from`) showed. */
int faked_copied(struct overlay *o, int fd, const char *from, const struct stat *low);
/* `name` of the upper directory `at`, which is `dir` of the union, was made by the caller: m says
 * as what, NULL = a file or socket by the program itself. */
int faked_made(struct overlay *o, struct caller *who, const struct vnode *dir, int at,
               const char *name, const struct making *m);

/* -- remove.c
 * --------------------------------------------------------------------------------------- */
/* Empties and removes the directory `name` of work (it shows no name any more). -ENOTEMPTY. */
int discard_dir(struct overlay *o, const char *name);

#endif
