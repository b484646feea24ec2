/* Calls that make, move and remove names. */
#include "call/families.h"
#include "base/sys.h"
#include "base/str.h"
#include "binds.h"
#include "vfs/access.h"
#include <linux/fs.h>

/* Resolves the name to be made. 1: decided; 0: c->place is a free or taken name of the union. */
static int new_name(struct call *c)
{
    int err = call_resolve(c, WALK_PARENT);
    if (err) {
        call_done(c, err);
        return 1;
    }
    struct place *p = &c->place;
    if (p->bind >= 0 && p->exists && (p->bind_root || p->guard_layer == GUARD_BIND)) {
        call_done(c, -EEXIST);
        return 1;
    }
    if (!p->in_union && !p->parent_in) {
        call_outside(c, true);
        return 1;
    }
    if (!p->parent_in || p->last != LAST_NAME) {
        call_done(c, -EEXIST);
        return 1;
    }
    return 0;
}

void call_mkdir(struct call *c)
{
    struct vnode *node = &c->place.node;
    if (new_name(c))
        return;
    call_done(c, node->fs->ops.mkdir(node->fs, c->who, node, (u32)c->arg[c->row->aux]));
}

void call_mknod(struct call *c)
{
    struct vnode *node = &c->place.node;
    u32 mode = (u32)c->arg[c->row->aux];
    if (new_name(c))
        return;
    if (c->place.slash)
        call_done(c, c->place.exists ? -EEXIST : -ENOENT);
    else
        call_done(c,
                  node->fs->ops.mknod(node->fs, c->who, node, mode, (u32)c->arg[c->row->aux + 1]));
}

void call_symlink(struct call *c)
{
    struct vnode *node = &c->place.node;
    long n = c->who->ops.read_str(c->who, c->said2, c->arg[0], sizeof(c->said2));
    if (n <= 0) {
        call_done(c, n ? n : -ENOENT);
        return;
    }
    if (new_name(c))
        return;
    if (c->place.slash)
        call_done(c, c->place.exists ? -EEXIST : -ENOENT);
    else
        call_done(c, node->fs->ops.symlink(node->fs, c->who, node, c->said2));
}

/* May names of the host's directory be changed in which this place is one? 0 or -EACCES. */
static int may_change_outside(struct call *c, const struct place *p)
{
    char dir[PLACE_PATH_MAX];
    memcpy(dir, p->path, p->len + 1);
    path_pop(dir, p->len);
    c->who->ops.assume(c->who);
    int r = sys_faccessat2(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS);
    c->who->ops.resume(c->who);
    return r == -EACCES ? r : 0;
}

/* The mountpoint is a name of the host's directory above it, and busy. */
static int remove_mountpoint(struct call *c, bool dir)
{
    if (!dir && c->place.slash)
        return -EISDIR; /* told by the path alone */
    int r = may_change_outside(c, &c->place);
    return r ? r : dir ? -EBUSY : -EISDIR;
}

/* What a bind shows is busy, by its name. */
static bool is_bind_root(const struct place *p)
{
    return p->bind_root && p->last == LAST_NAME;
}

static int remove_bind_root(const struct place *p, bool dir)
{
    struct stat st;
    int err = sys_fstatat(AT_FDCWD, p->path, &st, AT_SYMLINK_NOFOLLOW);
    if (err)
        return err;
    if (S_ISDIR(st.st_mode) != dir)
        return dir ? -ENOTDIR : -EISDIR;
    return -EBUSY;
}

/* Names that are bound or hidden hold the directories above them. */
static bool holds_binds(struct call *c, const struct place *p)
{
    const struct session *s = c->view->session;
    return s->nbinds && p->in_union && p->exists && bind_below(s, p->path);
}

/* A path that ends in "." or "..", which no name is. */
static bool is_dots(const struct place *p)
{
    return p->last == LAST_DOT || p->last == LAST_DOTDOT;
}

/* "." or ".." of a directory of the host's, reached through the union: told by the path alone. */
static bool ends_in_dots(const struct place *p)
{
    struct stat st;
    return p->crossed && is_dots(p) && sys_fstatat(AT_FDCWD, p->path, &st, 0) == 0;
}

/* A directory outside is about to go elsewhere: its loss is counted now and by call_settle(), since
 * what shims saw in between is not to be believed either. */
static void leaves_outside(struct call *c)
{
    if (c->action == CALL_DONE || !c->view->moves)
        return;
    __atomic_add_fetch(c->view->moves, 1, __ATOMIC_SEQ_CST);
    call_begin_rewrite(c);
    c->settle = true;
}

void call_unlink(struct call *c)
{
    u32 flags = call_flags(c);
    bool dir = (c->row->traits & SYS_REMOVEDIR) || (flags & AT_REMOVEDIR);
    if (flags & ~(u32)AT_REMOVEDIR) {
        call_done(c, -EINVAL);
        return;
    }
    int err = call_resolve(c, WALK_PARENT);
    struct place *p = &c->place;
    struct vnode *node = &p->node;
    if (!err && is_bind_root(p)) {
        call_done(c, remove_bind_root(p, dir));
        return;
    }
    if (!err && !p->in_union && (!p->parent_in || p->bind >= 0) && !ends_in_dots(p)) {
        call_outside(c, true);
        if (dir)
            leaves_outside(c);
        return;
    }
    if (!err && dir && p->last == LAST_DOT)
        err = -EINVAL;
    else if (!err && dir && (p->last == LAST_DOTDOT || (p->parent_in && holds_binds(c, p))))
        err = -ENOTEMPTY;
    else if (!err && p->last != LAST_NAME && p->last != LAST_ROOT)
        err = -EISDIR;
    else if (!err && !p->parent_in)
        err = remove_mountpoint(c, dir);
    else if (!err && c->view->session->read_only)
        err = -EROFS;
    else if (!err && dir)
        err = node->fs->ops.rmdir(node->fs, c->who, node);
    else if (!err && p->slash)
        err = !p->exists ? -ENOENT : vnode_is_dir(node) ? -EISDIR : -ENOTDIR;
    else if (!err)
        err = node->fs->ops.unlink(node->fs, c->who, node);
    call_done(c, err);
}

/* Both names outside: as said, or with what the walk found where it went through the union. */
static void both_outside(struct call *c)
{
    if (c->place.bind != c->place2.bind) {
        call_done(c, -EXDEV);
        return;
    }
    if (c->place.guard_layer >= 0 || c->place2.guard_layer >= 0) {
        call_done(c, -EROFS);
        return;
    }
    call_pass(c);
    if (c->place.crossed && !c->by_fd)
        call_rewrite_path(c, c->row->path, place_words(&c->place));
    if (c->place2.crossed)
        call_rewrite_path(c, c->row->path2, place_words(&c->place2));
    if (!c->who->shares_memory)
        return;
    if (!c->place.crossed && !c->by_fd)
        call_rewrite_path(c, c->row->path, call_fixed_words(&c->place, c->said));
    if (!c->place2.crossed)
        call_rewrite_path(c, c->row->path2, call_fixed_words(&c->place2, c->said2));
}

static bool is_dir_outside(const struct place *p)
{
    struct stat st;
    return sys_fstatat(AT_FDCWD, p->path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* Why the directory of a name outside cannot be reached; 0 where it can. */
static int outside_error(const struct place *p)
{
    char dir[PLACE_PATH_MAX];
    struct stat st;
    if (p->host_error || p->exists)
        return p->host_error;
    memcpy(dir, p->path, p->len + 1);
    path_pop(dir, p->len);
    return sys_fstatat(AT_FDCWD, dir, &st, 0);
}

/* do_renameat2's own checks, in its order, before the filesystem is asked. */
static int check_rename(const struct place *from, const struct place *to, u32 flags, bool read_only)
{
    if (from->last != LAST_NAME)
        return -EBUSY;
    if (to->last != LAST_NAME)
        return flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
    if (read_only)
        return -EROFS;
    if (!from->exists)
        return -ENOENT;
    if ((flags & RENAME_NOREPLACE) && to->exists)
        return -EEXIST;
    if (flags & RENAME_EXCHANGE) {
        if (!to->exists)
            return -ENOENT;
        if (!vnode_is_dir(&to->node) && to->slash)
            return -ENOTDIR;
    }
    if (!vnode_is_dir(&from->node) && (from->slash || (to->slash && !(flags & RENAME_EXCHANGE))))
        return -ENOTDIR;
    return 0;
}

/* One of two names of the host's is the mountpoint: busy, but for a move onto itself. */
static int rename_mountpoint(struct call *c, u32 flags)
{
    const struct place *from = &c->place, *to = &c->place2;
    if (!from->exists)
        return -ENOENT;
    if ((flags & RENAME_NOREPLACE) && to->exists)
        return -EEXIST;
    if ((flags & RENAME_EXCHANGE) && !to->exists)
        return -ENOENT;
    if (from->in_union && to->in_union)
        return 0;
    int err = may_change_outside(c, from);
    err = err ? err : may_change_outside(c, to);
    return err ? err : -EBUSY;
}

void call_rename(struct call *c)
{
    u32 flags = call_flags(c);
    if ((flags & ~(u32)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) ||
        ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)))) {
        call_done(c, -EINVAL);
        return;
    }
    struct place *from = &c->place, *to = &c->place2;
    int err = call_resolve(c, WALK_PARENT);
    if (err && from->bind >= 0) {
        call_done(c, err);
        return;
    }
    /* In a directory that was removed there is no name: but its other errors come first. */
    bool from_gone = err == -ENOENT && call_in_removed(from, c->said);
    if (!err && !from->in_union)
        err = from->host_error;
    bool outside = !from->in_union && !from->parent_in && !from_gone;
    if (!err || from_gone || outside) {
        int err2 = call_resolve2(c, WALK_PARENT);
        bool to_gone = err2 == -ENOENT && call_in_removed(to, c->said2);
        if (!err && !err2 &&
            (is_bind_root(from) || is_bind_root(to) || holds_binds(c, from) ||
             holds_binds(c, to))) {
            call_done(c, from->exists ? -EBUSY : -ENOENT);
            return;
        }
        if (!err2 && outside && !to->in_union && !to->parent_in) {
            both_outside(c);
            if (is_dir_outside(from) || (flags & RENAME_EXCHANGE))
                leaves_outside(c);
            return;
        }
        if (!err && !from->in_union)
            err = outside_error(from);
        if (!err || from_gone)
            err = to_gone ? 0 : err2;
        if (!err && !to_gone && !to->in_union)
            err = outside_error(to);
        if (!err && ((from->parent_in || from_gone) != (to->parent_in || to_gone) ||
                     from->bind != to->bind))
            err = -EXDEV;
        if (!err && (from_gone || to_gone))
            err = is_dots(from) || is_dots(to) ? -EBUSY : -ENOENT;
    }
    if (!err && !from->parent_in) {
        call_done(c, rename_mountpoint(c, flags));
        return;
    }
    if (!err)
        err = check_rename(from, to, flags, c->view->session->read_only);
    if (!err)
        err = from->node.fs->ops.rename(from->node.fs, c->who, &from->node, &to->node, flags);
    call_done(c, err);
}

/* linkat of a descriptor: AT_EMPTY_PATH, or /proc/self/fd/N followed. */
static int link_fd(struct call *c, int fd)
{
    struct vfs *fs = c->view->fs;
    struct place *from = &c->place, *to = &c->place2;
    int err = walk_fd(c->view, c->who, fd, from);
    if (err)
        return err;
    if (from->in_union != to->in_union && !from->removed)
        return -EXDEV;
    if (from->exists)
        return fs->ops.link(fs, c->who, &from->node, -1, &to->node);
    struct stat st;
    err = c->who->ops.fd_stat(c->who, fd, &st);
    if (!err && from->fd_layer != 0 && !S_ISDIR(st.st_mode))
        err = -ENOENT; /* a removed lower file; a directory is refused later */
    int mine = err ? err : c->who->ops.fd_get(c->who, fd);
    if (mine < 0)
        return mine;
    err = fs->ops.link(fs, c->who, NULL, mine, &to->node);
    c->who->ops.fd_put(c->who, mine);
    return err;
}

void call_link(struct call *c)
{
    u32 flags = call_flags(c);
    int err = flags & ~(u32)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) ? -EINVAL
                                                                : call_resolve(c, call_follow(c));
    struct place *from = &c->place, *to = &c->place2;
    int fd = c->by_fd ? c->fd : from->magic_fd;
    if (!err && !from->exists && !from->removed && fd < 0)
        err = from->host_error ? from->host_error : -ENOENT; /* the source is looked at first */
    if (!err && fd < 0 && from->slash &&
        !(from->in_union ? vnode_is_dir(&from->node) : is_dir_outside(from)))
        err = -ENOTDIR;
    if (!err)
        err = call_resolve2(c, WALK_PARENT);
    if (!err && (from->in_union || from->removed) && !to->in_union)
        err = outside_error(to);
    if (err) {
        call_done(c, err);
        return;
    }
    if (is_bind_root(to)) {
        call_done(c, -EEXIST);
        return;
    }
    if (!from->in_union && !to->in_union && !from->removed) {
        both_outside(c);
        return;
    }
    if (to->last != LAST_NAME || (to->in_union && !to->parent_in) || (to->exists && !to->slash))
        err = -EEXIST;
    else if (to->slash)
        err = to->exists ? -EEXIST : -ENOENT;
    else if (to->in_union && c->view->session->read_only)
        err = -EROFS; /* told before the two are held against each other */
    else if (fd >= 0)
        err = link_fd(c, fd);
    else if (!from->exists)
        err = -ENOENT;
    else if (from->in_union != to->in_union)
        err = -EXDEV;
    else
        err = from->node.fs->ops.link(from->node.fs, c->who, &from->node, -1, &to->node);
    call_done(c, err);
}
