/* The sixteen xattr calls: overlay marks are hidden and escaped, changes go to the upper copy. */
#include "call/families.h"
#include "base/sys.h"
#include "base/str.h"
#include "vfs/access.h"
#include <linux/xattr.h>

/* struct xattr_args of setxattrat and getxattrat (linux/xattr.h, 6.13). */
struct args_at {
    u64 value;
    u32 size, flags;
};

struct value {
    u64 addr;
    size_t size;
    u32 flags;
    u8 *bytes;
};

/* The name as the disk has it: length or -errno. A NUL in 256 bytes or -ERANGE (xattr(7)). */
static long disk_name(struct call *c, int arg, char *name, size_t cap)
{
    char said[XATTR_NAME_MAX + 1];
    struct vfs *fs = c->view->fs;
    long n = c->who->ops.read_str(c->who, said, c->arg[arg], sizeof(said));
    if (n == -ENAMETOOLONG || n == 0)
        return -ERANGE;
    if (n < 0)
        return n;
    return fs->ops.xattr_to_disk(fs, said, name, cap);
}

static int read_value_args(struct call *c, int arg, struct value *v)
{
    v->flags = 0;
    v->bytes = NULL;
    if (!(c->row->traits & SYS_XATTR_ARGS)) {
        v->addr = c->arg[arg];
        v->size = c->arg[arg + 1];
        if (c->row->handler == CALL_SETXATTR)
            v->flags = (u32)c->arg[arg + 2];
        return 0;
    }
    struct args_at at;
    if (c->arg[arg + 1] != sizeof(at))
        return c->arg[arg + 1] < sizeof(at) ? -EINVAL : -E2BIG;
    int err = c->who->ops.read(c->who, &at, c->arg[arg], sizeof(at));
    v->addr = at.value;
    v->size = at.size;
    v->flags = at.flags;
    return err;
}

/* O_PATH (or the caller's own) descriptor of the object to read from; *own says whose it is. */
static int source(struct call *c, bool *own)
{
    /* A descriptor from before the copy-up shows what the upper has now. */
    bool stale = c->place.exists && c->place.node.top != c->place.fd_layer;
    bool gone = !call_remains(c) && c->by_fd && c->place.removed; /* and may be said by "." */
    *own = !c->remains && c->by_fd && (gone || c->row->path < 0) && !stale;
    if (*own)
        return c->who->ops.fd_get(c->who, c->fd);
    if (c->by_fd && c->row->path < 0 && call_fd_is_path(c))
        return -EBADF;
    if (!c->place.exists && !c->remains)
        return -ENOENT;
    return call_grab(c);
}

static void source_done(struct call *c, int fd, bool own)
{
    if (own)
        c->who->ops.fd_put(c->who, fd);
    else
        sys_close(fd);
}

/* 1: decided already; 0: c->place is ours. */
static int begin_read(struct call *c)
{
    int err = call_resolve(c, call_follow(c));
    if (err) {
        call_done(c, err);
        return 1;
    }
    if (!c->place.in_union) {
        call_outside(c, false);
        return 1;
    }
    return 0;
}

/* In the program itself: by the object's own path, with neither a descriptor nor memory taken. */
static void get_by_path(struct call *c, const char *name, const struct value *v)
{
    const struct vnode *node = &c->place.node;
    if (c->by_fd || v->size > sizeof(c->said2))
        c->view->unable();
    long n =
        c->place.exists ? node->fs->ops.locate(node->fs, node, c->real, sizeof(c->real)) : -ENOENT;
    if (n >= 0)
        n = sys_lgetxattr(c->real, name, v->size ? c->said2 : NULL, v->size);
    if (n > 0 && v->size) {
        int err = c->who->ops.write(c->who, v->addr, c->said2, (size_t)n);
        n = err ? err : n;
    }
    call_done(c, n);
}

void call_getxattr(struct call *c)
{
    char name[XATTR_NAME_MAX + 16], path[SYS_FD_PATH];
    struct value v;
    bool own;
    if (begin_read(c))
        return;
    long n = disk_name(c, c->row->aux, name, sizeof(name));
    int fd = -1;
    if (n >= 0)
        n = read_value_args(c, c->row->aux + 1, &v);
    if (n >= 0 && c->view->unable) {
        get_by_path(c, name, &v);
        return;
    }
    if (n >= 0) {
        fd = source(c, &own);
        n = fd < 0 ? fd : 0;
    }
    if (n < 0) {
        call_done(c, n);
        return;
    }
    size_t size = min_size(v.size, XATTR_SIZE_MAX);
    v.bytes = size ? sys_map(size) : NULL;
    c->who->ops.assume(c->who);
    n = own && c->row->path < 0 ? sys_fgetxattr(fd, name, v.bytes, size)
                                : sys_getxattr(sys_fd_path(path, fd), name, v.bytes, size);
    c->who->ops.resume(c->who);
    source_done(c, fd, own);
    if (n > 0 && size) {
        int err = c->who->ops.write(c->who, v.addr, v.bytes, (size_t)n);
        n = err ? err : n;
    }
    if (v.bytes)
        sys_unmap(v.bytes, size);
    call_done(c, n);
}

/* Rewrites the list in place to what the program may see; its new length. */
static long show_list(struct vfs *fs, char *list, size_t n)
{
    char shown[XATTR_NAME_MAX + 1];
    size_t out = 0;
    for (size_t at = 0; at < n;) {
        size_t len = str_len(list + at) + 1;
        long m = fs->ops.xattr_from_disk(fs, list + at, shown, sizeof(shown));
        /* a shown name is never longer than the one on disk */
        if (m > 0) {
            memcpy(list + out, shown, (size_t)m + 1);
            out += (size_t)m + 1;
        }
        at += len;
    }
    return (long)out;
}

void call_listxattr(struct call *c)
{
    char path[SYS_FD_PATH];
    u64 addr = c->arg[c->row->aux];
    size_t size = c->arg[c->row->aux + 1];
    bool own;
    if (begin_read(c))
        return;
    int fd = source(c, &own);
    char *list = fd < 0 ? NULL : sys_map(XATTR_LIST_MAX);
    long n = fd < 0 ? fd : -ENOMEM;
    if (list) {
        c->who->ops.assume(c->who);
        n = own && c->row->path < 0 ? SYS3(SYS_flistxattr, fd, list, XATTR_LIST_MAX)
                                    : sys_listxattr(sys_fd_path(path, fd), list, XATTR_LIST_MAX);
        c->who->ops.resume(c->who);
        if (n > 0)
            n = show_list(c->view->fs, list, (size_t)n);
        if (n > 0 && size) {
            int err = (size_t)n > size ? -ERANGE : c->who->ops.write(c->who, addr, list, (size_t)n);
            n = err ? err : n;
        }
        sys_unmap(list, XATTR_LIST_MAX);
    }
    if (fd >= 0)
        source_done(c, fd, own);
    call_done(c, n);
}

/* xattr_permission and the handlers' own checks (xattr(7)), before anything is copied up. */
static int may_change(struct call *c, const char *name)
{
    struct vnode *node = &c->place.node;
    mode_t mode = node->st.st_mode;
    if (str_starts(name, "user.")) {
        if (!S_ISREG(mode) && !S_ISDIR(mode))
            return -EPERM;
        if (S_ISDIR(mode) && (mode & S_ISVTX) && access_node_owner(c->who, node))
            return -EPERM;
        return node->fs->ops.permission(node->fs, c->who, node, W_OK);
    }
    if (str_starts(name, "trusted."))
        return caller_capable(c->who, CAP_SYS_ADMIN_BIT) ? 0 : -EPERM;
    if (str_starts(name, "system.posix_acl_"))
        return S_ISLNK(mode) ? -EOPNOTSUPP : access_node_owner(c->who, node);
    if (str_starts(name, "security.") || str_starts(name, "system."))
        return 0;
    int err = node->fs->ops.permission(node->fs, c->who, node, W_OK);
    return err ? err : -EOPNOTSUPP;
}

static const char acl_access[] = "system.posix_acl_access";

/* An ACL has just changed the mode of the upper's object; what is recorded follows. */
static void record_mode(struct call *c, int fd)
{
    struct vfs *fs = c->view->fs;
    struct stat real, shown;
    if (sys_fstat(fd, &real))
        return;
    shown = real;
    if (fs->ops.identify(fs, fd, &shown) == 0)
        fs->ops.record(fs, fd, (u32)-1, (u32)-1, (shown.st_mode & 07000) | (real.st_mode & 0777));
}

static int change(struct call *c, const char *name, const struct value *v)
{
    char path[SYS_FD_PATH];
    int err = may_change(c, name), fd;
    if (err)
        return err;
    if (!v) {
        /* An attribute that is not there copies nothing up. */
        fd = call_grab(c);
        if (fd < 0)
            return fd;
        long n = sys_getxattr(sys_fd_path(path, fd), name, NULL, 0);
        sys_close(fd);
        if (n < 0 && n != -EACCES) /* what may not be read may be removed all the same */
            return (int)n;
    }
    fd = call_grab_upper(c, SIZE_MAX);
    if (fd < 0)
        return fd;
    c->who->ops.assume(c->who);
    err = v ? sys_setxattr(sys_fd_path(path, fd), name, v->bytes, v->size, (int)v->flags)
            : sys_removexattr(sys_fd_path(path, fd), name);
    c->who->ops.resume(c->who);
    if (!err && c->view->session->fake && str_eq(name, acl_access))
        record_mode(c, fd);
    sys_close(fd);
    return err;
}

/* On an upper object by descriptor the kernel could act itself, but for the name. */
static bool name_is_plain(struct call *c, int arg, char *name, size_t cap, long *err)
{
    char said[XATTR_NAME_MAX + 1];
    *err = disk_name(c, arg, name, cap);
    if (*err < 0)
        return false;
    long n = c->who->ops.read_str(c->who, said, c->arg[arg], sizeof(said));
    return n >= 0 && str_eq(said, name);
}

/* The descriptor's object is removed and cannot be copied up: the error that comes before -EEXIST,
 * in the kernel's order (xattr_permission, cap_inode_setxattr, then the attribute itself), or
 * -EEXIST. */
static long gone_error(struct call *c, const char *name, bool set)
{
    struct stat st;
    int err = c->who->ops.fd_stat(c->who, c->fd, &st);
    if (err)
        return err;
    if (str_starts(name, "trusted.") || str_starts(name, "security."))
        err = caller_capable(c->who, CAP_SYS_ADMIN_BIT) ? 0 : -EPERM;
    else if (str_starts(name, "system.posix_acl_"))
        err = access_owner(c->who, &st);
    else if (!str_starts(name, "system."))
        err = access_by_mode(&st, c->who->ops.cred(c->who), W_OK);
    if (err || set)
        return err ? err : -EEXIST;
    int fd = c->who->ops.fd_get(c->who, c->fd);
    long n = fd < 0 ? fd : sys_fgetxattr(fd, name, NULL, 0);
    if (fd >= 0)
        c->who->ops.fd_put(c->who, fd);
    return n < 0 && n != -EACCES ? n : -EEXIST;
}

static void set_or_remove(struct call *c, bool set)
{
    char name[XATTR_NAME_MAX + 16];
    struct value v = {0};
    long err;
    enum change_target target = call_target(c, call_follow(c));
    bool upper_fd = target == CHANGE_DONE && c->action == CALL_PASS && c->by_fd &&
                    c->place.in_union && c->place.fd_layer == 0;
    bool removed = target == CHANGE_DONE && c->action == CALL_DONE && c->result == -EEXIST;
    if (target == CHANGE_DONE && !upper_fd && !removed)
        return;
    bool plain = name_is_plain(c, c->row->aux, name, sizeof(name), &err);
    if (removed) {
        if (err >= 0)
            call_done(c, gone_error(c, name, set));
        return;
    }
    if (upper_fd && plain && !(c->view->session->fake && str_eq(name, acl_access)))
        return; /* passed */
    if (err >= 0 && set)
        err = read_value_args(c, c->row->aux + 1, &v);
    if (err >= 0 && v.size > XATTR_SIZE_MAX)
        err = -E2BIG;
    if (err >= 0 && upper_fd)
        err = walk_fd(c->view, c->who, c->fd, &c->place);
    if (err >= 0 && upper_fd && !c->place.exists)
        err = -EOPNOTSUPP; /* an escaped name on an object without a name */
    if (err < 0) {
        call_done(c, err);
        return;
    }
    if (v.size) {
        v.bytes = sys_map(v.size);
        err = v.bytes ? c->who->ops.read(c->who, v.bytes, v.addr, v.size) : -ENOMEM;
    }
    if (err >= 0)
        err = change(c, name, set ? &v : NULL);
    if (v.bytes)
        sys_unmap(v.bytes, v.size);
    call_done(c, err);
}

void call_setxattr(struct call *c)
{
    set_or_remove(c, true);
}

void call_removexattr(struct call *c)
{
    set_or_remove(c, false);
}
