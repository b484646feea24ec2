/* stat, statx, access, statfs: answered here in one stop, from the merged view. */
#include "call/families.h"
#include "base/sys.h"
#include "vfs/access.h"
#include <sys/statfs.h>
#include <sys/sysmacros.h>

/* True where an object on this device can be one of the layers'. */
static bool layer_device(const struct session *s, u64 dev)
{
    for (u32 i = 0; i < s->nlayers; i++) {
        if (s->layer[i].in_use && s->layer[i].dev == dev)
            return true;
    }
    return false;
}

/* stat of a descriptor's object, identity translated. 1: not ours, let the kernel answer. */
static int stat_by_fd(struct call *c, struct stat *st)
{
    struct caller *who = c->who;
    struct vfs *fs = c->view->fs;
    int err = who->ops.fd_stat(who, c->fd, st);
    if (err)
        return err;
    if (!layer_device(c->view->session, st->st_dev)) {
        session_show_ids(c->view->session, st);
        return c->view->session->fake && c->fd >= 0 ? 0 : 1;
    }
    bool dir = S_ISDIR(st->st_mode);
    if (dir || fs->ops.replaced(fs, st)) {
        /* A merged directory shows its topmost part, whichever part is open; a file that was copied
         * up since it was opened shows its copy. */
        err = walk_fd(c->view, who, c->fd, &c->place);
        if (err)
            return err;
        if (!c->place.in_union)
            return 1;
        if (c->place.exists && (dir || c->place.node.top != c->place.fd_layer))
            return fs->ops.getattr(fs, &c->place.node, st);
        if (call_remains(c)) {
            *st = c->place.node.st;
            return 0;
        }
        c->place.in_union = false;
    }
    int fd = who->ops.fd_get(who, c->fd);
    if (fd < 0)
        return c->fd == AT_FDCWD ? 1 : fd;
    err = fs->ops.identify(fs, fd, st);
    who->ops.fd_put(who, fd);
    return err;
}

/* Only a descriptor is named: settle for it without resolving any path. */
static bool names_fd_only(struct call *c)
{
    const struct sysrow *row = c->row;
    char first;
    if (row->path < 0) {
        c->by_fd = true;
    } else if (row->traits & SYS_EMPTY_PATH) {
        u32 flags = call_flags(c);
        if (!(flags & AT_EMPTY_PATH))
            return false;
        c->by_fd = c->arg[row->path] == 0 ||
                   (c->who->ops.read(c->who, &first, c->arg[row->path], 1) == 0 && !first);
    }
    if (c->by_fd)
        c->fd = (int)c->arg[row->dirfd];
    return c->by_fd;
}

/* Resolves the name. True where only a descriptor tells what is meant: by its number, or (own
 * /proc/self/fd/N) because its object has no name any more. */
static bool resolve_stat(struct call *c, int *err)
{
    *err = 0;
    if (names_fd_only(c))
        return true;
    *err = call_resolve(c, call_follow(c) | WALK_ASKED);
    if (!*err && c->by_fd && c->place.in_union && c->place.removed)
        return true;
    if (*err || c->place.in_union || !c->place.removed || c->place.magic_fd < 0)
        return false;
    c->fd = c->place.magic_fd;
    return true;
}

/* The kernel answers; with fake ids its answer is looked through. */
static void stat_outside(struct call *c)
{
    call_outside(c, false);
    if (!c->view->session->fake || c->action == CALL_DONE)
        return;
    if (c->action == CALL_PASS)
        call_begin_rewrite(c);
    c->settle = true;
}

void call_stat_settle(struct call *c, long result)
{
    struct stat st;
    u64 at = c->arg[c->row->aux];
    bool x = c->row->handler == CALL_STATX;
    u64 ids = at + (x ? offsetof(struct statx, stx_uid) : offsetof(struct stat, st_uid));
    u32 id[2];
    _Static_assert(offsetof(struct stat, st_gid) == offsetof(struct stat, st_uid) + 4 &&
                       offsetof(struct statx, stx_gid) == offsetof(struct statx, stx_uid) + 4,
                   "the ids lie side by side");
    if (result < 0 || c->who->ops.read(c->who, id, ids, sizeof(id)))
        return;
    st.st_uid = id[0];
    st.st_gid = id[1];
    session_show_ids(c->view->session, &st);
    id[0] = st.st_uid;
    id[1] = st.st_gid;
    c->who->ops.write(c->who, ids, id, sizeof(id));
}

void call_stat(struct call *c)
{
    struct stat st;
    int err;
    memset(&st, 0, sizeof(st));
    if (resolve_stat(c, &err)) {
        err = stat_by_fd(c, &st);
        if (err > 0) {
            call_pass(c);
            return;
        }
    } else {
        if (!err && (!c->place.in_union || (c->by_fd && !c->place.exists))) {
            stat_outside(c);
            return;
        }
        if (!err)
            err = c->place.exists
                      ? c->place.node.fs->ops.getattr(c->place.node.fs, &c->place.node, &st)
                      : -ENOENT;
    }
    if (!err)
        err = c->who->ops.write(c->who, c->arg[c->row->aux], &st, sizeof(st));
    call_done(c, err);
}

static int show_statx(bool fake, const struct stat *st, const char *path, int fd, int flags,
                      u32 mask, struct statx *stx)
{
    int err = sys_statx(fd, path, flags, mask, stx);
    if (err)
        return err;
    stx->stx_ino = st->st_ino;
    stx->stx_dev_major = (u32)(((st->st_dev >> 8) & 0xfff) | ((st->st_dev >> 32) & ~0xfffULL));
    stx->stx_dev_minor = (u32)((st->st_dev & 0xff) | ((st->st_dev >> 12) & ~0xffULL));
    stx->stx_nlink = (u32)st->st_nlink;
    if (fake) {
        stx->stx_uid = st->st_uid;
        stx->stx_gid = st->st_gid;
        stx->stx_mode = (u16)st->st_mode;
        stx->stx_rdev_major = major(st->st_rdev);
        stx->stx_rdev_minor = minor(st->st_rdev);
    }
    return 0;
}

/* The same of a vnode. */
static int show_node(struct call *c, const struct stat *st, int sync, u32 mask, struct statx *stx)
{
    const struct vnode *node = &c->place.node;
    struct vfs *fs = c->view->fs;
    bool fake = c->view->session->fake;
    if (c->view->unable) { /* opens nothing */
        long n = fs->ops.locate(fs, node, c->real, sizeof(c->real));
        return n < 0
                   ? (int)n
                   : show_statx(fake, st, c->real, AT_FDCWD, AT_SYMLINK_NOFOLLOW | sync, mask, stx);
    }
    int fd = fs->ops.grab(fs, node);
    if (fd < 0)
        return fd;
    int err = show_statx(fake, st, "", fd, AT_EMPTY_PATH | sync, mask, stx);
    sys_close(fd);
    return err;
}

/* statx(dirfd, path, flags, mask, buffer): the mask is the argument behind the flags. */
void call_statx(struct call *c)
{
    struct vfs *fs = c->view->fs;
    bool fake = c->view->session->fake;
    struct stat st;
    struct statx stx;
    u32 mask = (u32)c->arg[c->row->flags + 1];
    int sync = (int)(call_flags(c) & AT_STATX_SYNC_TYPE);
    int err, fd;
    memset(&stx, 0, sizeof(stx));
    if (resolve_stat(c, &err)) {
        err = stat_by_fd(c, &st);
        if (err > 0) {
            call_pass(c);
            return;
        }
        if (!err && c->place.in_union && (c->place.exists || c->remains)) {
            fd = call_grab(c);
            err = fd < 0 ? fd : show_statx(fake, &st, "", fd, AT_EMPTY_PATH | sync, mask, &stx);
            if (fd >= 0)
                sys_close(fd);
        } else if (!err) {
            fd = c->who->ops.fd_get(c->who, c->fd);
            err = fd < 0 ? fd : show_statx(fake, &st, "", fd, AT_EMPTY_PATH | sync, mask, &stx);
            if (fd >= 0)
                c->who->ops.fd_put(c->who, fd);
        }
    } else {
        if (!err && (!c->place.in_union || (c->by_fd && !c->place.exists))) {
            stat_outside(c);
            return;
        }
        if (!err && !c->place.exists)
            err = -ENOENT;
        if (!err)
            err = fs->ops.getattr(fs, &c->place.node, &st);
        if (!err)
            err = show_node(c, &st, sync, mask, &stx);
    }
    if (!err)
        err = c->who->ops.write(c->who, c->arg[c->row->aux], &stx, sizeof(stx));
    call_done(c, err);
}

/* access(2) of what is there, with stat `st` in the eyes of who judges; *node is NULL where only a
 * descriptor is left of it. */
static int may_access(struct call *c, int mode, const struct vnode *node, const struct stat *st)
{
    const struct cred *cred = c->who->ops.cred(c->who);
    bool as_real =
        !(call_flags(c) & AT_EACCESS) && (cred->ruid != cred->fsuid || cred->rgid != cred->fsgid);
    bool special = !S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode) && !S_ISLNK(st->st_mode);
    struct stat judged;
    if ((mode & W_OK) && c->view->session->read_only && !special)
        return -EROFS;
    if (as_real)
        return access_real_ids(c->who, node ? node->fs->ops.judged(node->fs, node, &judged) : st,
                               mode);
    return node ? node->fs->ops.permission(node->fs, c->who, node, mode)
                : access_by_mode(st, cred, mode);
}

void call_access(struct call *c)
{
    int mode = (int)c->arg[c->row->aux];
    struct stat st;
    if (mode & ~(R_OK | W_OK | X_OK)) {
        call_done(c, -EINVAL);
        return;
    }
    int err = call_resolve(c, call_follow(c));
    if (!err)
        call_name_by_fd(c);
    if (!err && !c->place.in_union) {
        call_outside(c, (mode & W_OK) &&
                            (c->place.guard_layer != GUARD_BIND || call_bind_guards(c, false)));
        return;
    }
    bool gone = c->by_fd && c->place.removed;
    if (!err && gone)
        err = c->who->ops.fd_stat(c->who, c->fd, &st);
    else if (!err && !c->place.exists)
        err = -ENOENT;
    if (!err && mode)
        err = gone ? may_access(c, mode, NULL, &st)
                   : may_access(c, mode, &c->place.node, &c->place.node.st);
    call_done(c, err);
}

void call_statfs(struct call *c)
{
    struct vfs *fs = c->view->fs;
    struct statfs st;
    int err = call_resolve(c, call_follow(c));
    if (!err && !c->place.in_union) {
        call_outside(c, false);
        return;
    }
    if (!err && !c->place.exists && !c->by_fd)
        err = -ENOENT;
    if (!err)
        err = fs->ops.statfs(fs, &c->place.node, &st);
    if (!err)
        err = c->who->ops.write(c->who, c->arg[c->row->aux], &st, sizeof(st));
    call_done(c, err);
}
