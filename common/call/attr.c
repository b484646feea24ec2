/* chmod, chown, utimes, truncate, inode flags: judged on the merged view, copied up, then done on
 * the upper copy as the caller. */
#include "call/families.h"
#include "base/sys.h"
#include "vfs/access.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <utime.h>
#include <sys/time.h>

/* A descriptor that is open on the upper: the kernel acts on the right object itself, and nothing
 * more than where it lies needs to be known. */
static bool names_upper(struct call *c)
{
    const struct session *s = c->view->session;
    const struct sysrow *row = c->row;
    const char *rel;
    if (row->dirfd < 0 || (row->path >= 0 && (!(row->traits & SYS_NULL_PATH) || c->arg[row->path])))
        return false;
    int fd = (int)c->arg[row->dirfd];
    if (fd < 0 || c->who->ops.fd_link(c->who, fd, c->real, sizeof(c->real)) < 0 ||
        c->real[0] != '/' || session_layer_of(s, c->real, &rel) != 0)
        return false;
    c->by_fd = true;
    c->fd = fd;
    c->place.in_union = true;
    c->place.exists = false; /* not looked for */
    c->place.fd_layer = 0;
    c->place.len = 0;
    if (path_push(c->place.path, sizeof(c->place.path), &c->place.len, session_mount(s),
                  s->mount_len) == 0 &&
        *rel)
        path_push(c->place.path, sizeof(c->place.path), &c->place.len, rel, str_len(rel));
    c->real[0] = '\0';
    return true;
}

bool call_fd_is_path(struct call *c)
{
    int fd = c->who->ops.fd_get(c->who, c->fd);
    long flags = fd < 0 ? fd : SYS2(SYS_fcntl, fd, F_GETFL);
    if (fd >= 0)
        c->who->ops.fd_put(c->who, fd);
    return flags < 0 || (flags & O_PATH);
}

bool call_remains(struct call *c)
{
    struct vfs *fs = c->view->fs;
    struct stat *st = &c->place.node.st, now;
    if (!fs->ops.remains || !c->by_fd || !c->place.in_union || !c->place.removed ||
        c->place.fd_layer <= 0 || c->who->ops.fd_stat(c->who, c->fd, st))
        return false;
    int fd = fs->ops.remains(fs, st);
    if (fd < 0)
        return false;
    c->place.node.top = 0; /* as if it still had a name, for what is judged by st */
    c->remains = sys_fstat(fd, &now) == 0;
    sys_close(fd);
    now.st_dev = st->st_dev; /* which it goes on showing */
    now.st_ino = st->st_ino;
    *st = now;
    return c->remains;
}

int call_grab(struct call *c)
{
    struct vfs *fs = c->view->fs;
    return c->remains ? fs->ops.remains(fs, &c->place.node.st) : fs->ops.grab(fs, &c->place.node);
}

/* A chown takes set-id bits away, even where it changes no owner: a change of mode, which is the
 * owner's. */
static bool drops_set_id(const struct stat *st, struct call *c)
{
    mode_t mode = st->st_mode;
    if (S_ISDIR(mode) || !(mode & (S_ISUID | S_ISGID)))
        return false;
    return (mode & (S_ISUID | S_IXGRP)) || !(cred_in_group(c->who->ops.cred(c->who), st->st_gid) ||
                                             caller_capable(c->who, CAP_FSETID_BIT));
}

/* setattr_prepare(9): who may give a file to whom. */
static int may_chown(struct call *c, const struct stat *st)
{
    u32 uid = (u32)c->arg[c->row->aux], gid = (u32)c->arg[c->row->aux + 1];
    const struct cred *cred = c->who->ops.cred(c->who);
    if (drops_set_id(st, c) && access_owner(c->who, st))
        return -EPERM;
    if ((cred->caps >> CAP_CHOWN_BIT) & 1)
        return 0;
    if (uid != (u32)-1 && (cred->fsuid != st->st_uid || uid != st->st_uid))
        return -EPERM;
    if (gid != (u32)-1 &&
        (cred->fsuid != st->st_uid || (gid != st->st_gid && !cred_in_group(cred, gid))))
        return -EPERM;
    return 0;
}

/* A removed lower object, by descriptor: it can never be copied up. Who may not change it hears
 * that first. */
static enum change_target change_removed(struct call *c)
{
    struct stat st;
    if (call_remains(c))
        return CHANGE_PLACE;
    bool owners = c->row->handler == CALL_CHMOD || c->row->handler == CALL_UTIMES;
    bool refused = c->who->ops.fd_stat(c->who, c->fd, &st) == 0 &&
                   ((owners && access_owner(c->who, &st)) ||
                    (c->row->handler == CALL_CHOWN && may_chown(c, &st)));
    call_done(c, refused ? -EPERM : -EEXIST);
    return CHANGE_DONE;
}

enum change_target call_target(struct call *c, unsigned walk_flags)
{
    if (names_upper(c)) {
        call_pass(c);
        return CHANGE_DONE;
    }
    int err = call_resolve(c, walk_flags);
    if (err) {
        call_done(c, err);
        return CHANGE_DONE;
    }
    call_name_by_fd(c);
    if (!c->place.in_union) {
        call_outside(c, true);
        return CHANGE_DONE;
    }
    bool plain_fd = c->by_fd && (c->row->path < 0 || !c->arg[c->row->path]);
    if (plain_fd && c->place.fd_layer != 0) {
        /* Without AT_EMPTY_PATH an O_PATH descriptor is not taken. */
        if (call_fd_is_path(c)) {
            call_done(c, -EBADF);
            return CHANGE_DONE;
        }
    }
    if (c->by_fd && c->place.fd_layer == 0) {
        call_pass(c); /* open on the upper: the kernel acts on the right object itself */
        return CHANGE_DONE;
    }
    if (!c->place.exists && c->by_fd)
        return change_removed(c);
    if (!c->place.exists) {
        call_done(c, -ENOENT);
        return CHANGE_DONE;
    }
    if (c->view->session->read_only) {
        call_done(c, -EROFS);
        return CHANGE_DONE;
    }
    return CHANGE_PLACE;
}

int call_grab_upper(struct call *c, u64 size_hint)
{
    struct vfs *fs = c->place.node.fs;
    int err = c->remains ? 0 : fs->ops.copy_up(fs, c->who, &c->place.node, size_hint);
    return err ? err : call_grab(c);
}

/* -- fake ids ----------------------------------------------------------------------------- */

#define KEEP ((u32)-1)

/* Left to the kernel, since the descriptor is open on the upper. */
static bool is_passed(const struct call *c)
{
    return c->action == CALL_PASS && c->by_fd && c->place.in_union && c->place.fd_layer == 0;
}

/* The mode that chown leaves; KEEP where it changes none. */
static u32 without_set_id(const struct stat *st)
{
    mode_t mode = st->st_mode, drop = S_ISUID;
    if (mode & S_IXGRP)
        drop |= S_ISGID;
    return S_ISDIR(mode) || !(mode & drop) ? KEEP : mode & 07777 & ~drop;
}

void call_let_in(struct call *c)
{
    struct vnode *node = &c->place.node;
    u32 bits = S_ISDIR(node->st.st_mode) ? 0700 : S_ISREG(node->st.st_mode) ? 0600 : 0;
    if (node->top != 0 || (node->st.st_mode & bits) == bits)
        return;
    int fd = node->fs->ops.grab(node->fs, node);
    if (fd < 0)
        return;
    node->fs->ops.record(node->fs, fd, KEEP, KEEP, KEEP);
    sys_close(fd);
}

/* Another thread may have put something else under the number since the call was judged: what this
 * process holds now lies in no lower. */
static int not_a_lowers(struct call *c, int fd)
{
    char path[SYS_FD_PATH];
    const char *rest;
    long n = sys_readlinkat(AT_FDCWD, sys_fd_path(path, fd), c->real, sizeof(c->real) - 1);
    if (n < 0)
        return (int)n;
    c->real[n] = '\0';
    return session_layer_of(c->view->session, c->real, &rest) > 0 ? -EROFS : 0;
}

/* chmod (uid and gid KEEP) or chown of the upper's object that a descriptor is open on. */
static void record_by_fd(struct call *c, u32 uid, u32 gid, u32 mode)
{
    struct vfs *fs = c->view->fs;
    struct stat st;
    int own = c->fd < 0 ? -1 : c->who->ops.fd_get(c->who, c->fd);
    int fd = own < 0 && c->place.exists ? call_grab(c) : own;
    int err = fd < 0 ? fd : not_a_lowers(c, fd);
    if (!err)
        err = sys_fstat(fd, &st);
    if (!err && c->row->path < 0 && call_fd_is_path(c))
        err = -EBADF;
    if (!err)
        err = fs->ops.identify(fs, fd, &st);
    if (!err)
        err = c->row->handler == CALL_CHOWN ? may_chown(c, &st) : access_owner(c->who, &st);
    if (!err && c->row->handler == CALL_CHOWN)
        mode = without_set_id(&st);
    if (!err)
        err = fs->ops.record(fs, fd, uid, gid, mode);
    if (own >= 0)
        c->who->ops.fd_put(c->who, own);
    else if (fd >= 0)
        sys_close(fd);
    call_done(c, err);
}

/* Whose own it is outside: the kernel knows him by another number. */
static void chown_outside(struct call *c, u32 uid, u32 gid)
{
    const struct session *s = c->view->session;
    if (c->action == CALL_DONE)
        return;
    if (c->action == CALL_PASS)
        call_begin_rewrite(c);
    c->new_arg[c->row->aux] = session_real_uid(s, uid);
    c->new_arg[c->row->aux + 1] = session_real_gid(s, gid);
}

void call_chmod(struct call *c)
{
    char path[SYS_FD_PATH];
    u32 mode = (u32)c->arg[c->row->aux] & 07777;
    if (call_target(c, call_follow(c)) == CHANGE_DONE) {
        if (c->view->session->fake && is_passed(c))
            record_by_fd(c, KEEP, KEEP, mode);
        return;
    }
    if (vnode_is_link(&c->place.node)) {
        call_done(c, -EOPNOTSUPP);
        return;
    }
    int err = access_node_owner(c->who, &c->place.node);
    int fd = err ? err : call_grab_upper(c, SIZE_MAX);
    if (fd >= 0 && c->view->session->fake) {
        err = c->view->fs->ops.record(c->view->fs, fd, KEEP, KEEP, mode);
        sys_close(fd);
    } else if (fd >= 0) {
        c->who->ops.assume(c->who);
        err = sys_fchmodat(AT_FDCWD, sys_fd_path(path, fd), mode);
        c->who->ops.resume(c->who);
        sys_close(fd);
    }
    call_done(c, fd < 0 ? fd : err);
}

void call_chown(struct call *c)
{
    u32 uid = (u32)c->arg[c->row->aux], gid = (u32)c->arg[c->row->aux + 1];
    struct vfs *fs = c->view->fs;
    struct stat buf;
    if (call_target(c, call_follow(c)) == CHANGE_DONE) {
        if (c->view->session->fake && is_passed(c))
            record_by_fd(c, uid, gid, KEEP);
        else if (c->view->session->fake)
            chown_outside(c, uid, gid);
        return;
    }
    const struct stat *st = fs->ops.judged(fs, &c->place.node, &buf);
    int err = may_chown(c, st);
    int fd = err ? err : call_grab_upper(c, SIZE_MAX);
    if (fd >= 0 && c->view->session->fake) {
        err = fs->ops.record(fs, fd, uid, gid, without_set_id(st));
        sys_close(fd);
    } else if (fd >= 0) {
        c->who->ops.assume(c->who);
        err = sys_fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
        c->who->ops.resume(c->who);
        sys_close(fd);
    }
    call_done(c, fd < 0 ? fd : err);
}

/* The two times of any call of the family as timespecs. 1: none given, "now". */
static int read_times(struct call *c, struct timespec ts[2])
{
    u64 addr = c->arg[c->row->aux];
    struct caller *who = c->who;
    int err;
    ts[0] = ts[1] = (struct timespec){.tv_nsec = UTIME_NOW};
    if (!addr)
        return 1;
    if (c->row->traits & SYS_OLD_STRUCT) {
        struct utimbuf ut;
        err = who->ops.read(who, &ut, addr, sizeof(ut));
        ts[0] = (struct timespec){.tv_sec = ut.actime};
        ts[1] = (struct timespec){.tv_sec = ut.modtime};
        return err;
    }
    if (!(c->row->traits & SYS_TIMEVAL))
        return who->ops.read(who, ts, addr, 2 * sizeof(*ts));
    struct timeval tv[2];
    err = who->ops.read(who, tv, addr, sizeof(tv));
    if (err)
        return err;
    for (int i = 0; i < 2; i++) {
        if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000)
            return -EINVAL;
        ts[i].tv_sec = tv[i].tv_sec;
        ts[i].tv_nsec = tv[i].tv_usec * 1000;
    }
    return 0;
}

static bool valid_nsec(long nsec)
{
    return nsec == UTIME_NOW || nsec == UTIME_OMIT || (nsec >= 0 && nsec < 1000000000);
}

void call_utimes(struct call *c)
{
    char path[SYS_FD_PATH];
    struct timespec ts[2];
    int err = read_times(c, ts);
    bool now = err == 1 || (ts[0].tv_nsec == UTIME_NOW && ts[1].tv_nsec == UTIME_NOW);
    if (err < 0 || !valid_nsec(ts[0].tv_nsec) || !valid_nsec(ts[1].tv_nsec)) {
        call_done(c, err < 0 ? err : -EINVAL);
        return;
    }
    if (ts[0].tv_nsec == UTIME_OMIT && ts[1].tv_nsec == UTIME_OMIT) {
        call_done(c, 0); /* utimensat(2): not even the file is looked at */
        return;
    }
    if (call_target(c, call_follow(c)) == CHANGE_DONE)
        return;
    struct vnode *node = &c->place.node;
    err = access_node_owner(c->who, node);
    if (err && now)
        err = node->fs->ops.permission(node->fs, c->who, node, W_OK);
    int fd = err ? err : call_grab_upper(c, SIZE_MAX);
    if (fd >= 0) {
        c->who->ops.assume(c->who);
        err = sys_utimensat(AT_FDCWD, sys_fd_path(path, fd), now ? NULL : ts, 0);
        c->who->ops.resume(c->who);
        sys_close(fd);
    }
    call_done(c, fd < 0 ? fd : err);
}

void call_truncate(struct call *c)
{
    char path[SYS_FD_PATH];
    s64 length = (s64)c->arg[c->row->aux];
    struct stat st;
    if (length < 0) {
        call_done(c, -EINVAL);
        return;
    }
    int err = call_resolve(c, WALK_FOLLOW);
    struct vnode *node = &c->place.node;
    if (!err && !c->place.in_union && c->place.removed &&
        sys_fstatat(AT_FDCWD, c->place.path, &st, 0) == 0)
        err = S_ISDIR(st.st_mode) ? -EISDIR : access_by_mode(&st, c->who->ops.cred(c->who), W_OK);
    if (!err && !c->place.in_union) {
        call_outside(c, true);
        return;
    }
    if (!err && !c->place.exists && !call_remains(c))
        err = c->by_fd && c->who->ops.fd_stat(c->who, c->fd, &st) == 0 && S_ISDIR(st.st_mode)
                  ? -EISDIR
                  : -ENOENT;
    else if (!err && vnode_is_dir(node))
        err = -EISDIR;
    else if (!err && !S_ISREG(node->st.st_mode))
        err = -EINVAL;
    else if (!err && c->view->session->read_only)
        err = -EROFS;
    if (!err)
        err = node->fs->ops.permission(node->fs, c->who, node, W_OK);
    int fd = err ? err : call_grab_upper(c, (u64)length);
    if (fd >= 0) {
        c->who->ops.assume(c->who);
        err = sys_truncate(sys_fd_path(path, fd), length);
        c->who->ops.resume(c->who);
        sys_close(fd);
    }
    call_done(c, fd < 0 ? fd : err);
}

/* file_getattr(dirfd, path, attr, usize, at_flags) and file_setattr: linux/fs.h, 6.17. */
void call_file_attr(struct call *c)
{
    u8 attr[128];
    size_t size = c->arg[c->row->aux + 1];
    bool set = c->row->want == WANT_WRITE;
    int err, fd;
    if (size > sizeof(attr)) {
        call_done(c, -E2BIG);
        return;
    }
    if (set) {
        if (call_target(c, call_follow(c)) == CHANGE_DONE)
            return;
        err = access_node_owner(c->who, &c->place.node);
        if (!err)
            err = c->who->ops.read(c->who, attr, c->arg[c->row->aux], size);
        fd = err ? err : call_grab_upper(c, SIZE_MAX);
    } else {
        err = call_resolve(c, call_follow(c));
        if (!err && !c->place.in_union) {
            call_outside(c, false);
            return;
        }
        if (!err && !c->place.exists)
            err = -ENOENT;
        fd = err ? err : c->place.node.fs->ops.grab(c->place.node.fs, &c->place.node);
    }
    if (fd < 0) {
        call_done(c, fd);
        return;
    }
    c->who->ops.assume(c->who);
    err = (int)SYS5(c->row->nr, fd, "", attr, size, AT_EMPTY_PATH);
    c->who->ops.resume(c->who);
    sys_close(fd);
    if (!err && !set)
        err = c->who->ops.write(c->who, c->arg[c->row->aux], attr, size);
    call_done(c, err);
}

/* The commands that change an inode through a read-only descriptor, on the upper copy of a lower
 * file. Only FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR have arguments of a known size. */
static int ioctl_on_upper(struct call *c, u32 cmd)
{
    u8 arg[sizeof(struct fsxattr)];
    char path[SYS_FD_PATH];
    size_t size = cmd == (u32)FS_IOC_SETFLAGS ? sizeof(int) : sizeof(struct fsxattr);
    int err = c->who->ops.read(c->who, arg, c->arg[2], size);
    if (!err)
        err = access_node_owner(c->who, &c->place.node);
    int anchor = err ? err : call_grab_upper(c, SIZE_MAX);
    if (anchor < 0)
        return anchor;
    int fd = sys_openat(AT_FDCWD, sys_fd_path(path, anchor), O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    sys_close(anchor);
    if (fd < 0)
        return fd;
    c->who->ops.assume(c->who);
    err = (int)sys_ioctl(fd, cmd, (unsigned long)arg);
    c->who->ops.resume(c->who);
    sys_close(fd);
    return err;
}

/* Deduplication rewrites the extents of its destinations: none may be a lower file. */
static int dedupe_targets(struct call *c)
{
    struct file_dedupe_range head;
    struct file_dedupe_range_info info;
    u64 at = c->arg[2];
    int err = c->who->ops.read(c->who, &head, at, sizeof(head));
    at += sizeof(head);
    for (u32 i = 0; !err && i < head.dest_count; i++, at += sizeof(info)) {
        err = c->who->ops.read(c->who, &info, at, sizeof(info));
        if (!err)
            err = walk_fd(c->view, c->who, (int)info.dest_fd, &c->place);
        if (!err && c->place.in_union && c->place.fd_layer != 0)
            err = -EOPNOTSUPP;
    }
    return err;
}

void call_ioctl(struct call *c)
{
    u32 cmd = (u32)c->arg[1];
    if (cmd == (u32)FIDEDUPERANGE) {
        int err = dedupe_targets(c);
        if (err)
            call_done(c, err);
        else
            call_pass(c);
        return;
    }
    c->by_fd = true;
    c->fd = (int)c->arg[0];
    int err = walk_fd(c->view, c->who, c->fd, &c->place);
    if (err || !c->place.in_union) {
        bool changes = cmd == (u32)FS_IOC_SETFLAGS || cmd == (u32)FS_IOC_FSSETXATTR;
        if (!err && changes && c->place.guard_layer == GUARD_BIND)
            err = -EROFS;
        if (err)
            call_done(c, err);
        else
            call_pass(c);
        return;
    }
    bool inode = cmd == (u32)FS_IOC_SETFLAGS || cmd == (u32)FS_IOC_FSSETXATTR;
    if (!inode) {
        /* The rest would reach the host's filesystem behind the descriptor. */
        call_done(c, -EOPNOTSUPP);
    } else if (c->place.fd_layer == 0) {
        call_pass(c);
    } else if (c->view->session->read_only) {
        call_done(c, -EROFS);
    } else if (!c->place.exists) {
        call_done(c, -EEXIST);
    } else {
        call_done(c, ioctl_on_upper(c, cmd));
    }
}
