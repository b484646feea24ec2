/* The functions that change the union, as others see them: readers beside the supervisor can tell
 * whether anything was changed while they looked (facts->changes is odd during a change and differs
 * after it), since a change takes several steps on disk. */
#include "overlay/change.h"

static struct overlay *began(struct vfs *fs)
{
    struct overlay *o = overlay_of(fs);
    if (o->changing++ == 0)
        __atomic_add_fetch(&o->facts->changes, 1, __ATOMIC_SEQ_CST);
    return o;
}

static int ended(struct overlay *o, int result)
{
    if (--o->changing == 0)
        __atomic_add_fetch(&o->facts->changes, 1, __ATOMIC_SEQ_CST);
    return result;
}

static int copy_up(struct vfs *fs, struct caller *who, struct vnode *node, u64 size_hint)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_copy_up(fs, who, node, size_hint));
}

static int make_dir(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_mkdir(fs, who, node, mode));
}

static int make_node(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode, u64 dev)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_mknod(fs, who, node, mode, dev));
}

static int make_symlink(struct vfs *fs, struct caller *who, struct vnode *node, const char *target)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_symlink(fs, who, node, target));
}

static int make_link(struct vfs *fs, struct caller *who, struct vnode *from, int fd,
                     struct vnode *to)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_link(fs, who, from, fd, to));
}

static int remove_file(struct vfs *fs, struct caller *who, struct vnode *node)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_unlink(fs, who, node));
}

static int remove_dir(struct vfs *fs, struct caller *who, struct vnode *node)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_rmdir(fs, who, node));
}

static int move(struct vfs *fs, struct caller *who, struct vnode *from, struct vnode *to,
                unsigned flags)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_rename(fs, who, from, to, flags));
}

static int create_begin(struct vfs *fs, struct caller *who, struct vnode *node, bool tmpfile,
                        struct vfs_pending *pending, char *real, size_t cap)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_create_begin(fs, who, node, tmpfile, pending, real, cap));
}

static int create_end(struct vfs *fs, struct caller *who, struct vfs_pending *pending, long result)
{
    struct overlay *o = began(fs);
    return ended(o, overlay_create_end(fs, who, pending, result));
}

static void changed(struct vfs *fs)
{
    struct overlay *o = began(fs);
    change_touch_all(o);
    ended(o, 0);
}

void overlay_fill_changing(struct vfs_ops *ops)
{
    ops->copy_up = copy_up;
    ops->mkdir = make_dir;
    ops->mknod = make_node;
    ops->symlink = make_symlink;
    ops->link = make_link;
    ops->unlink = remove_file;
    ops->rmdir = remove_dir;
    ops->rename = move;
    ops->create_begin = create_begin;
    ops->create_end = create_end;
    ops->changed = changed;
}
