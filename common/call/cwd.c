/* Where a process stands, and what the links of /proc say about it. */
#include "call/families.h"
#include "binds.h"
#include "base/sys.h"
#include "vfs/access.h"

void call_chdir(struct call *c)
{
    int err = call_resolve(c, WALK_FOLLOW);
    if (!err && !c->place.in_union) {
        call_outside(c, false);
        return;
    }
    if (!err && c->by_fd && c->place.removed) { /* to where it stands, as it may */
        call_pass(c);
        return;
    }
    struct vnode *node = &c->place.node;
    if (!err && !c->place.exists)
        err = -ENOENT;
    if (!err && !vnode_is_dir(node))
        err = -ENOTDIR;
    if (!err)
        err = node->fs->ops.permission(node->fs, c->who, node, X_OK);
    long n = err ? err : node->fs->ops.locate(node->fs, node, c->real, sizeof(c->real));
    if (n < 0)
        call_done(c, n);
    else
        call_rewrite_path(c, c->row->path, c->real);
    c->settle = n >= 0 && call_may_be_closed(c);
}

/* The way there is closed to the program, the directory itself is not. */
void call_chdir_settle(struct call *c, long result)
{
    struct vnode *node = &c->place.node;
    if (result == -EACCES)
        c->give_fd = node->fs->ops.grab(node->fs, node);
}

/* A real directory stands for every directory of the union, but an older one may be open still to
 * whom its copy is closed. */
void call_fchdir(struct call *c)
{
    struct place *p = &c->place;
    int err = 0;
    if (call_may_be_closed(c) && walk_fd(c->view, c->who, (int)c->arg[0], p) == 0 && p->in_union &&
        p->exists && p->fd_layer > 0 && vnode_is_dir(&p->node))
        err = p->node.fs->ops.permission(p->node.fs, c->who, &p->node, X_OK);
    if (err)
        call_done(c, err);
    else
        call_pass(c);
}

/* getcwd(2), the system call: the length with the NUL. */
void call_getcwd(struct call *c)
{
    struct stat st;
    int err = walk_fd(c->view, c->who, AT_FDCWD, &c->place);
    if (!err && c->place.bind >= 0 && c->who->ops.fd_stat(c->who, AT_FDCWD, &st) == 0 &&
        st.st_nlink) {
        long n = walk_name_of(c->view, &c->place, c->real, sizeof(c->real));
        if (n >= 0)
            n = (long)walk_in_root(c->view, c->real, (size_t)n);
        if (n >= 0 && (u64)n + 1 > c->arg[1])
            n = -ERANGE;
        if (n >= 0)
            err = c->who->ops.write(c->who, c->arg[0], c->real, (size_t)n + 1);
        call_done(c, n < 0 || !err ? n + (n >= 0) : err);
        return;
    }
    if (!err && !c->place.in_union) {
        call_pass(c);
        return;
    }
    if (!err && !c->place.exists)
        err = -ENOENT;
    if (!err)
        c->place.len = walk_in_root(c->view, c->place.path, c->place.len);
    if (!err && c->place.len + 1 > PATH_MAX)
        err = -ENAMETOOLONG;
    if (!err && c->place.len + 1 > c->arg[1])
        err = -ERANGE;
    if (!err)
        err = c->who->ops.write(c->who, c->arg[0], c->place.path, c->place.len + 1);
    call_done(c, err ? err : (long)c->place.len + 1);
}

/* The kernel's root stays as it is: in another, every real path would be another one. That "/" is
 * somewhere in the union from now on is for whoever made the view to remember, where the result is
 * 0. */
void call_chroot(struct call *c)
{
    struct place *p = &c->place;
    int err = call_resolve(c, WALK_FOLLOW);
    if (!err && !p->exists)
        err = p->host_error ? p->host_error : -ENOENT;
    if (!err && !p->in_union && p->bind < 0 && p->len == 1 && !c->view->root) {
        call_pass(c);
        return;
    }
    if (!err && p->in_union && !vnode_is_dir(&p->node))
        err = -ENOTDIR;
    if (!err && p->in_union)
        err = p->node.fs->ops.permission(p->node.fs, c->who, &p->node, X_OK);
    if (!err && (!p->in_union || !caller_capable(c->who, CAP_SYS_CHROOT_BIT)))
        err = -EPERM;
    call_done(c, err);
}

/* What the kernel says of a magic link, in the words of the union. Length, or 0: nothing of ours.
 */
static long magic_text(struct call *c, char *buf, size_t cap)
{
    char tail = c->place.path[c->place.len - 1];
    u64 pid;
    if (!walk_is_magic(c->place.path))
        return 0;
    str_to_u64(c->place.path + 6, &pid);
    if (tail == 'e') {
        long n = c->who->ops.exe(c->who, (int)pid, buf, cap);
        if (n > 0)
            return n;
    }
    long n = sys_readlinkat(AT_FDCWD, c->place.path, c->real, sizeof(c->real) - 1);
    if (n <= 0 || c->real[0] != '/')
        return 0;
    c->real[n] = '\0';
    const char *rest;
    const struct session *s = c->view->session;
    if (session_layer_of(s, c->real, &rest) < 0 &&
        (!s->nbinds || bind_of_real(s, c->real, &rest) < 0))
        return 0;
    return walk_virtual(c->view, c->real, &c->place2, buf, cap);
}

void call_readlink(struct call *c)
{
    struct vnode *node = &c->place.node;
    long size = (int)c->arg[c->row->aux + 1];
    if (size <= 0) {
        call_done(c, -EINVAL);
        return;
    }
    long n = call_resolve(c, WALK_ASKED);
    if (n == 0 && c->by_fd && c->place.fd_layer < 0) {
        call_pass(c);
        return;
    }
    if (n == 0 && !c->place.in_union) {
        n = magic_text(c, c->said2, sizeof(c->said2));
        if (n == 0) {
            call_outside(c, false);
            return;
        }
    } else if (n == 0 && !c->place.exists) {
        n = -ENOENT;
    } else if (n == 0 && !vnode_is_link(node)) {
        n = c->by_fd ? -ENOENT : -EINVAL;
    } else if (n == 0) {
        n = node->fs->ops.readlink(node->fs, node, c->said2, sizeof(c->said2));
    }
    if (n > 0) {
        n = n < size ? n : size;
        int err = c->who->ops.write(c->who, c->arg[c->row->aux], c->said2, (size_t)n);
        n = err ? err : n;
    }
    call_done(c, n);
}
