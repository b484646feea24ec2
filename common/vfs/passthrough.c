#include "vfs/passthrough.h"
#include "base/str.h"
#include "base/sys.h"
#include "vfs/access.h"
#include "vfs/listing.h"
#include <sys/statfs.h>

#define DENTS_SIZE 8192

static struct passthrough *of(struct vfs *fs)
{
    return (struct passthrough *)fs;
}

static const char *rel_of(const struct vnode *node)
{
    return node->len ? node->path : ".";
}

/* Fills the facts of the object that out->path names. */
static int look(struct vfs *fs, struct vnode *out)
{
    out->fs = fs;
    out->generation = 0;
    out->dir_layers = out->layers = layer_bit(0);
    out->whiteout = false;
    out->top = 0;
    int fd = sys_open_beneath(of(fs)->root, rel_of(out), O_PATH | O_NOFOLLOW, 0);
    if (fd == -ENOENT) {
        out->top = VNODE_ABSENT;
        out->layers = 0;
        out->marked = ~(layer_set)0;
        return 0;
    }
    if (fd < 0)
        return fd;
    int r = sys_fstat(fd, &out->st);
    sys_close(fd);
    return r;
}

static int pass_lookup(struct vfs *fs, const struct vnode *dir, const char *name, size_t len,
                       struct vnode *out)
{
    if (!vnode_is_dir(dir))
        return -ENOTDIR;
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    if (out != dir) {
        memcpy(out->path, dir->path, dir->len + 1);
        out->len = dir->len;
    }
    int r = path_push(out->path, sizeof(out->path), &out->len, name, len);
    return r ? r : look(fs, out);
}

static int pass_root(struct vfs *fs, struct vnode *out)
{
    out->len = 0;
    out->path[0] = '\0';
    return look(fs, out);
}

static int pass_descend(struct vfs *fs, const char *path, size_t len, struct vnode *out)
{
    if (len >= sizeof(out->path))
        return -ENAMETOOLONG;
    memmove(out->path, path, len);
    out->path[len] = '\0';
    out->len = len;
    int r = look(fs, out);
    if (r == -ELOOP || r == -ENOTDIR)
        return -EAGAIN;
    if (r || vnode_exists(out))
        return r;
    /* absent, or its directory is? */
    char parent[VPATH_MAX];
    memcpy(parent, out->path, len + 1);
    path_pop(parent, len);
    int fd = sys_open_beneath(of(fs)->root, *parent ? parent : ".", O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return -EAGAIN;
    sys_close(fd);
    return 0;
}

static int pass_grab(struct vfs *fs, const struct vnode *node)
{
    if (!vnode_exists(node))
        return -ENOENT;
    return sys_open_beneath(of(fs)->root, rel_of(node), O_PATH | O_NOFOLLOW, 0);
}

static long pass_readlink(struct vfs *fs, const struct vnode *node, char *buf, size_t cap)
{
    int fd = pass_grab(fs, node);
    if (fd < 0)
        return fd;
    long n = sys_readlinkat(fd, "", buf, cap);
    sys_close(fd);
    return n;
}

static int pass_getattr(struct vfs *fs UNUSED, const struct vnode *node, struct stat *st)
{
    *st = node->st;
    return 0;
}

static int pass_identify(struct vfs *fs UNUSED, int fd UNUSED, struct stat *st UNUSED)
{
    return 0;
}

static void pass_opened(struct vfs *fs UNUSED, const struct stat *st UNUSED) {}

static bool pass_replaced(struct vfs *fs UNUSED, const struct stat *st UNUSED)
{
    return false;
}

struct dirent64_kernel {
    u64 ino;
    s64 off;
    u16 reclen;
    u8 type;
    char name[];
};

static int pass_list(struct vfs *fs, const struct vnode *dir, struct listing *out)
{
    u8 buf[DENTS_SIZE] = {0};
    long n = 0;
    int r = 0;
    int fd = sys_open_beneath(of(fs)->root, rel_of(dir), O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    while (r >= 0 && (n = sys_getdents64(fd, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < n && r >= 0;) {
            const struct dirent64_kernel *e = (const void *)(buf + at);
            r = listing_add(out, e->name, str_len(e->name), e->ino, e->type, false);
            at += e->reclen;
        }
    }
    sys_close(fd);
    listing_seal(out);
    return r < 0 ? r : n < 0 ? (int)n : 0;
}

static int pass_statfs(struct vfs *fs, const struct vnode *node UNUSED, struct statfs *out)
{
    return sys_fstatfs(of(fs)->root, out);
}

static const struct stat *pass_judged(struct vfs *fs UNUSED, const struct vnode *node,
                                      struct stat *buf UNUSED)
{
    return &node->st;
}

static int pass_permission(struct vfs *fs UNUSED, struct caller *who, const struct vnode *node,
                           int mask)
{
    return access_by_mode(&node->st, who->ops.cred(who), mask);
}

static long join(const struct passthrough *p, const char *rel, char *buf, size_t cap)
{
    size_t len = 0;
    int r = path_push(buf, cap, &len, p->path, p->len);
    if (r == 0 && *rel)
        r = path_push(buf, cap, &len, rel, str_len(rel));
    return r ? r : (long)len;
}

static long pass_locate(struct vfs *fs, const struct vnode *node, char *buf, size_t cap)
{
    return join(of(fs), node->path, buf, cap);
}

static int pass_reverse(struct vfs *fs, unsigned layer UNUSED, const char *rel,
                        const struct stat *st, struct vnode *out)
{
    int r = pass_descend(fs, rel, str_len(rel), out);
    if (r == 0 && vnode_exists(out) && dev_ino_equal(&out->st, st))
        return 0;
    out->top = VNODE_ABSENT;
    return r && r != -EAGAIN ? r : -ENOENT;
}

static long pass_xattr(struct vfs *fs UNUSED, const char *name, char *buf, size_t cap)
{
    return str_copy(buf, cap, name);
}

static int pass_copy_up(struct vfs *fs UNUSED, struct caller *who UNUSED, struct vnode *node,
                        u64 size_hint UNUSED)
{
    return vnode_exists(node) ? 0 : -ENOENT;
}

/* The directory of a node, opened, and its last name; -EBUSY for the root. */
static int open_parent(struct vfs *fs, const struct vnode *node, const char **name)
{
    char parent[VPATH_MAX];
    if (node->len == 0)
        return -EBUSY;
    memcpy(parent, node->path, node->len + 1);
    path_pop(parent, node->len);
    *name = path_last(node->path, node->len);
    return sys_open_beneath(of(fs)->root, *parent ? parent : ".", O_PATH | O_DIRECTORY, 0);
}

enum change { MAKE_DIR, MAKE_NODE, MAKE_LINK, REMOVE, REMOVE_DIR };

static int change(struct vfs *fs, struct caller *who, struct vnode *node, enum change what,
                  u32 mode, u64 dev, const char *target)
{
    const char *name;
    int r = -EINVAL, dir = open_parent(fs, node, &name);
    if (dir < 0)
        return dir;
    who->ops.assume(who);
    switch (what) {
    case MAKE_DIR:
        r = sys_mkdirat(dir, name, mode);
        break;
    case MAKE_NODE:
        r = sys_mknodat(dir, name, mode, dev);
        break;
    case MAKE_LINK:
        r = sys_symlinkat(target, dir, name);
        break;
    case REMOVE:
        r = sys_unlinkat(dir, name, 0);
        break;
    case REMOVE_DIR:
        r = sys_unlinkat(dir, name, AT_REMOVEDIR);
        break;
    }
    who->ops.resume(who);
    sys_close(dir);
    return r ? r : look(fs, node);
}

static int pass_mkdir(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode)
{
    return change(fs, who, node, MAKE_DIR, mode, 0, NULL);
}

static int pass_mknod(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode, u64 dev)
{
    return change(fs, who, node, MAKE_NODE, mode, dev, NULL);
}

static int pass_symlink(struct vfs *fs, struct caller *who, struct vnode *node, const char *target)
{
    return change(fs, who, node, MAKE_LINK, 0, 0, target);
}

static int pass_unlink(struct vfs *fs, struct caller *who, struct vnode *node)
{
    return change(fs, who, node, REMOVE, 0, 0, NULL);
}

static int pass_rmdir(struct vfs *fs, struct caller *who, struct vnode *node)
{
    return change(fs, who, node, REMOVE_DIR, 0, 0, NULL);
}

static int pass_link(struct vfs *fs, struct caller *who, struct vnode *from, int fd,
                     struct vnode *to)
{
    char path[SYS_FD_PATH];
    const char *name;
    int source = fd >= 0 ? fd : pass_grab(fs, from);
    if (source < 0)
        return source;
    int r = -ENOENT, dir = open_parent(fs, to, &name);
    if (dir >= 0) {
        who->ops.assume(who);
        r = sys_linkat(AT_FDCWD, sys_fd_path(path, source), dir, name, AT_SYMLINK_FOLLOW);
        who->ops.resume(who);
        sys_close(dir);
    }
    if (source != fd)
        sys_close(source);
    return dir < 0 ? dir : r ? r : look(fs, to);
}

static int pass_rename(struct vfs *fs, struct caller *who, struct vnode *from, struct vnode *to,
                       unsigned flags)
{
    const char *old, *new;
    int src = open_parent(fs, from, &old);
    if (src < 0)
        return src;
    int dst = open_parent(fs, to, &new);
    if (dst < 0) {
        sys_close(src);
        return dst;
    }
    who->ops.assume(who);
    int r = sys_renameat2(src, old, dst, new, flags);
    who->ops.resume(who);
    sys_close(src);
    sys_close(dst);
    if (r == 0)
        r = look(fs, to);
    return r ? r : look(fs, from);
}

static int pass_create_begin(struct vfs *fs, struct caller *who UNUSED, struct vnode *node,
                             bool tmpfile UNUSED, struct vfs_pending *pending, char *real,
                             size_t cap)
{
    long n = join(of(fs), node->path, real, cap);
    pending->active = n >= 0;
    return n < 0 ? (int)n : 0;
}

static int pass_create_end(struct vfs *fs UNUSED, struct caller *who UNUSED,
                           struct vfs_pending *pending, long result UNUSED)
{
    pending->active = false;
    return 0;
}

int passthrough_init(struct passthrough *p, const char *path)
{
    struct vfs_ops *ops = &p->vfs.ops;
    p->vfs.name = "passthrough";
    p->path = path;
    p->len = str_len(path);
    ops->lookup = pass_lookup;
    ops->descend = pass_descend;
    ops->root = pass_root;
    ops->gone = NULL;
    ops->readlink = pass_readlink;
    ops->getattr = pass_getattr;
    ops->identify = pass_identify;
    ops->opened = pass_opened;
    ops->replaced = pass_replaced;
    ops->list = pass_list;
    ops->statfs = pass_statfs;
    ops->permission = pass_permission;
    ops->judged = pass_judged;
    ops->grab = pass_grab;
    ops->locate = pass_locate;
    ops->reverse = pass_reverse;
    ops->xattr_to_disk = pass_xattr;
    ops->xattr_from_disk = pass_xattr;
    ops->copy_up = pass_copy_up;
    ops->mkdir = pass_mkdir;
    ops->mknod = pass_mknod;
    ops->symlink = pass_symlink;
    ops->link = pass_link;
    ops->unlink = pass_unlink;
    ops->rmdir = pass_rmdir;
    ops->rename = pass_rename;
    ops->create_begin = pass_create_begin;
    ops->create_end = pass_create_end;
    p->root = sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    return p->root < 0 ? p->root : 0;
}

void passthrough_fini(struct passthrough *p)
{
    if (p->root >= 0)
        sys_close(p->root);
    p->root = -1;
}
