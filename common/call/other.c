/* Watches, mounts, file handles and the odd call that takes a path. */
#include "call/families.h"
#include "base/sys.h"

/* The program runs the call itself on the object's real path. */
static void on_real_path(struct call *c)
{
    struct vfs *fs = c->place.node.fs;
    long n = fs->ops.locate(fs, &c->place.node, c->real, sizeof(c->real));
    if (n < 0)
        call_done(c, n);
    else
        call_rewrite_path(c, c->row->path, c->real);
}

/* 1: decided; 0: c->place is an object of the union. */
static int existing(struct call *c, unsigned walk_flags, bool changes)
{
    int err = call_resolve(c, walk_flags);
    if (!err && !c->place.in_union) {
        call_outside(c, changes);
        return 1;
    }
    if (!err && !c->place.exists)
        err = -ENOENT;
    if (err)
        call_done(c, err);
    return err != 0;
}

/* inotify_add_watch(fd, path, mask): IN_DONT_FOLLOW 0x02000000; fanotify_mark: FAN_MARK_DONT_FOLLOW
 * 4 in its flags, the second argument. */
void call_watch(struct call *c)
{
    bool fan = c->row->dirfd >= 0;
    bool follow = fan ? !(c->arg[1] & 0x04) : !(c->arg[2] & 0x02000000);
    if (fan && c->arg[c->row->path] == 0) {
        call_pass(c);
        return;
    }
    if (existing(c, follow ? WALK_FOLLOW : 0, false))
        return;
    /* What changes through the union changes in the upper: a watch on a lower object would never
     * hear of it. */
    struct vnode *node = &c->place.node;
    bool watched = S_ISREG(node->st.st_mode) || S_ISDIR(node->st.st_mode);
    int err = watched && !fan && !c->view->session->read_only
                  ? node->fs->ops.copy_up(node->fs, c->who, node, SIZE_MAX)
                  : 0;
    if (err)
        call_done(c, err);
    else
        on_real_path(c);
}

/* A real mount could only lie on one layer's directory: EPERM for anything of the union. */
void call_mount(struct call *c)
{
    if (c->row->path >= 0 && c->arg[c->row->path]) {
        int err = call_resolve(c, WALK_FOLLOW);
        if (!err && (c->place.in_union || c->place.crossed || c->place.guard_layer >= 0)) {
            call_done(c, -EPERM);
            return;
        }
    }
    if (c->row->path2 >= 0 && c->arg[c->row->path2]) {
        int err = call_resolve2(c, WALK_FOLLOW);
        if (!err && (c->place2.in_union || c->place2.crossed || c->place2.guard_layer >= 0)) {
            call_done(c, -EPERM);
            return;
        }
    }
    call_pass(c);
}

void call_handle(struct call *c)
{
    if (!existing(c, call_follow(c), false))
        call_done(c, -EOPNOTSUPP);
}

void call_path_read(struct call *c)
{
    if (c->row->path < 0)
        call_pass(c);
    else if (!existing(c, WALK_FOLLOW, false))
        on_real_path(c);
}

void call_path_write(struct call *c)
{
    if (c->arg[c->row->path] == 0) {
        call_pass(c); /* acct(NULL) */
        return;
    }
    if (existing(c, WALK_FOLLOW, true))
        return;
    struct vnode *node = &c->place.node;
    int err = S_ISDIR(node->st.st_mode) ? -EISDIR : 0;
    if (!err)
        err = node->fs->ops.permission(node->fs, c->who, node, W_OK);
    if (!err)
        err = node->fs->ops.copy_up(node->fs, c->who, node, SIZE_MAX);
    if (err)
        call_done(c, err);
    else
        on_real_path(c);
}
