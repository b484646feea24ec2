/* New objects. The caller's right was judged on the merged view; the object itself is then made as
 * the caller, so that owner, group, ACL and umask come out as the kernel has it. */
#include "overlay/change.h"

#define CAP_MKNOD_BIT 27

static int make_as_caller(struct caller *who, int dir, const char *name, const struct making *m)
{
    char path[SYS_FD_PATH];
    int r = -EINVAL;
    who->ops.assume(who);
    switch (m->kind) {
    case MAKE_DIR:
        r = sys_mkdirat(dir, name, m->mode);
        break;
    case MAKE_NODE:
        r = sys_mknodat(dir, name, m->mode, m->dev);
        break;
    case MAKE_SYMLINK:
        r = sys_symlinkat(m->target, dir, name);
        break;
    case MAKE_LINK:
        r = sys_linkat(AT_FDCWD, sys_fd_path(path, m->fd), dir, name, AT_SYMLINK_FOLLOW);
        break;
    }
    who->ops.resume(who);
    return r;
}

int swap_in(struct overlay *o, int from, int dir, const char *name)
{
    struct held_dir held;
    int r = hold_dir(o, dir, false, &held);
    if (r < 0)
        return r;
    r = sys_renameat2(from, name, dir, name, RENAME_EXCHANGE);
    if (r == -ENOENT) {
        r = sys_renameat2(from, name, dir, name, RENAME_NOREPLACE);
    } else if (r == 0) {
        if (overlay_mark_object(o, from, name)) {
            sys_unlinkat(from, name, 0);
        } else {
            sys_renameat2(from, name, dir, name, RENAME_EXCHANGE);
            r = -EEXIST;
        }
    }
    release_dir(&held);
    return r;
}

/* Makes the new directory opaque while nobody sees it, or sees it through. */
static int opaque_child(struct overlay *o, int dir, const char *name, struct held_dir *held)
{
    int fd = sys_openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int r = overlay_set_opaque(o, fd);
    if (r == 0)
        r = hold_dir(o, fd, false, held);
    if (r < 0)
        sys_close(fd);
    return r;
}

static void unmake_dir(struct overlay *o, int dir, const char *name)
{
    int fd = sys_openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0) {
        overlay_clear_marks(o, fd);
        sys_close(fd);
    }
    sys_unlinkat(dir, name, AT_REMOVEDIR);
}

static int make_staged(struct overlay *o, struct caller *who, struct spot *spot,
                       const struct making *m)
{
    char nursery[TEMP_NAME_MAX];
    struct held_dir held = {.fd = -1};
    int fd = overlay_nursery(o, spot->dir, nursery, sizeof(nursery));
    if (fd < 0)
        return fd;
    int r = make_as_caller(who, fd, spot->name, m);
    if (r == 0) {
        if (m->kind == MAKE_DIR)
            r = opaque_child(o, fd, spot->name, &held);
        if (r == 0)
            r = swap_in(o, fd, spot->dir, spot->name);
        if (held.fd >= 0) {
            release_dir(&held);
            sys_close(held.fd);
        }
        if (r < 0 && m->kind == MAKE_DIR) {
            unmake_dir(o, fd, spot->name);
        } else if (r < 0) {
            sys_unlinkat(fd, spot->name, 0);
        }
    }
    overlay_nursery_drop(o, fd, nursery);
    return r;
}

static int make_in_place(struct overlay *o, struct caller *who, struct spot *spot,
                         const struct making *m, bool prefix)
{
    struct held_dir held;
    int r = hold_dir(o, spot->dir, false, &held);
    if (r < 0)
        return r;
    r = make_as_caller(who, spot->dir, spot->name, m);
    release_dir(&held);
    if (r < 0 || !prefix)
        return r;
    if (m->kind == MAKE_DIR) {
        struct held_dir child = {.fd = -1};
        r = opaque_child(o, spot->dir, spot->name, &child);
        if (r < 0) { /* the marker beside it goes on hiding the lower one */
            unmake_dir(o, spot->dir, spot->name);
            return r;
        }
        release_dir(&child);
        sys_close(child.fd);
    }
    /* Where it cannot be taken away, it stays: beside the new object it hides nothing else. */
    overlay_take_whiteout(o, spot->dir, spot->name);
    return 0;
}

int make_at(struct overlay *o, struct caller *who, const struct vnode *node, struct spot *spot,
            const struct making *m)
{
    struct way way;
    int r = overlay_way(o, node, spot->dir, spot->name, &way);
    if (r < 0)
        return r;
    change_touch(o, node->path, node->len);
    if (way.object) {
        r = make_staged(o, who, spot, m);
        if (r == 0 && way.prefix)
            overlay_take_whiteout(o, spot->dir, spot->name);
    } else {
        r = make_in_place(o, who, spot, m, way.prefix);
    }
    change_touch(o, node->path, node->len);
    return r;
}

static int create(struct vfs *fs, struct caller *who, struct vnode *node, const struct making *m)
{
    struct overlay *o = overlay_of(fs);
    struct making real = *m;
    struct spot spot;
    int r = spot_may_create(o, who, node, &spot);
    if (r < 0)
        return r;
    if (m->kind == MAKE_NODE) {
        bool device = S_ISCHR(m->mode) || S_ISBLK(m->mode);
        if (S_ISCHR(m->mode) && m->dev == 0)
            return -EPERM; /* would be a whiteout */
        if (device && !caller_capable(who, CAP_MKNOD_BIT))
            return -EPERM;
        if (device && o->s->fake)
            real.mode = S_IFREG | (m->mode & 0777);
    }
    r = spot_take(o, &spot);
    if (r == 0)
        r = make_at(o, who, node, &spot, &real);
    if (r == 0 && o->s->fake)
        r = faked_made(o, who, &spot.parent, spot.dir, spot.name, m);
    if (r == 0)
        r = spot_made(o, &spot, node);
    spot_keep(o, &spot);
    return r;
}

int overlay_mkdir(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode)
{
    struct making m = {.kind = MAKE_DIR, .mode = mode};
    return create(fs, who, node, &m);
}

int overlay_mknod(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode, u64 dev)
{
    struct making m = {.kind = MAKE_NODE, .mode = mode, .dev = dev};
    return create(fs, who, node, &m);
}

int overlay_symlink(struct vfs *fs, struct caller *who, struct vnode *node, const char *target)
{
    struct making m = {.kind = MAKE_SYMLINK, .target = target};
    return create(fs, who, node, &m);
}

/* -- creations that the program executes itself
 * ----------------------------------------------------- */

static int real_path(char *real, size_t cap, const char *base, const char *middle, const char *last)
{
    size_t n = 0;
    const char *part[3] = {base, middle, last};
    real[0] = '\0';
    for (int i = 0; i < 3; i++) {
        if (!part[i] || !part[i][0])
            continue;
        long r;
        if (n > 0 && real[n - 1] != '/') {
            r = str_copy(real + n, cap - n, "/");
            if (r < 0)
                return -ENAMETOOLONG;
            n++;
        }
        r = str_copy(real + n, cap - n, part[i]);
        if (r < 0)
            return -ENAMETOOLONG;
        n += (size_t)r;
    }
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Where it lies in the upper; "" where that path is longer than the kernel takes one. */
static void upper_path(struct overlay *o, const struct vnode *node, char *real, size_t cap)
{
    if (real_path(real, cap, session_layer_path(o->s, 0), node->path, NULL))
        real[0] = '\0';
}

static int begin_tmpfile(struct overlay *o, struct caller *who, struct vnode *dir,
                         struct vfs_pending *pending, char *real, size_t cap)
{
    if (!vnode_exists(dir))
        return -ENOENT;
    if (!vnode_is_dir(dir))
        return -ENOTDIR;
    if (o->s->read_only)
        return -EROFS;
    int r = overlay_permission(&o->vfs, who, dir, W_OK | X_OK);
    if (r < 0)
        return r;
    int fd = overlay_upper_dir(o, dir);
    if (fd < 0)
        return fd;
    sys_close(fd);
    upper_path(o, dir, real, cap);
    pending->active = true;
    return 0;
}

/* Decides where the program shall make it: at its place, or in a nursery where a whiteout is an
 * object of that name. */
static int begin_at(struct overlay *o, const struct vnode *node, struct spot *spot,
                    struct vfs_pending *pending, char *real, size_t cap)
{
    char nursery[TEMP_NAME_MAX];
    struct way way;
    int r = overlay_way(o, node, spot->dir, spot->name, &way);
    if (r < 0)
        return r;
    pending->whiteout = way.prefix;
    pending->staged = way.object;
    if (!way.object) {
        upper_path(o, node, real, cap);
        return 0;
    }
    pending->ticket = overlay_ticket_take(o, node->path, node->len);
    if (!pending->ticket)
        return -EAGAIN;
    int fd = overlay_nursery(o, spot->dir, nursery, sizeof(nursery));
    if (fd >= 0) {
        pending->slot = (u32)o->serial;
        r = real_path(real, cap, session_text(o->s, o->s->work), nursery, spot->name);
        if (r < 0)
            overlay_nursery_drop(o, fd, nursery);
        else
            sys_close(fd);
    } else {
        r = fd;
    }
    if (r < 0) {
        overlay_ticket_drop(o, pending->ticket);
        pending->ticket = 0;
    }
    return r;
}

int overlay_create_begin(struct vfs *fs, struct caller *who, struct vnode *node, bool tmpfile,
                         struct vfs_pending *pending, char *real, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    struct spot spot;
    pending->active = pending->staged = pending->whiteout = false;
    pending->ticket = pending->node_hash = 0;
    pending->slot = 0;
    pending->len = 0;
    pending->path[0] = '\0';
    if (tmpfile)
        return begin_tmpfile(o, who, node, pending, real, cap);
    int r = spot_may_create(o, who, node, &spot);
    if (r == 0)
        r = spot_take(o, &spot);
    if (r < 0)
        return r;
    change_touch(o, node->path, node->len);
    r = begin_at(o, node, &spot, pending, real, cap);
    if (r == 0) {
        pending->active = true;
        pending->len = node->len;
        memcpy(pending->path, node->path, node->len + 1);
        if (o->index)
            pending->node_hash = index_hash(o->index, node->path, node->len);
    }
    spot_keep(o, &spot);
    return r;
}

/* The upper directory of the pending path. */
static int pending_dir(struct overlay *o, const struct vfs_pending *pending)
{
    char dir[VPATH_MAX];
    memcpy(dir, pending->path, pending->len + 1);
    dir[path_pop(dir, pending->len)] = '\0';
    return overlay_open_in(o, 0, dir, O_DIRECTORY);
}

static int end_staged(struct overlay *o, const struct vfs_pending *pending, const char *name,
                      bool made)
{
    char nursery[TEMP_NAME_MAX];
    struct stat st;
    nursery_name(nursery, sizeof(nursery), pending->slot);
    int fd = sys_openat(o->work_fd, nursery, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return made ? fd : 0;
    int r = made ? sys_fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) : 0;
    if (made && r == 0) {
        int dir = pending_dir(o, pending);
        r = dir < 0 ? dir : swap_in(o, fd, dir, name);
        if (dir >= 0)
            sys_close(dir);
    }
    /* The parent went away meanwhile: said again, the call finds that out by itself. */
    if (r == -ENOENT || r == -ENOTDIR)
        r = -EEXIST;
    if (!made || r < 0)
        sys_unlinkat(fd, name, 0);
    overlay_nursery_drop(o, fd, nursery);
    return r;
}

/* The marker goes only while the new object is there: it may have been removed again already, and
 * the marker then stands for that removal. */
static void end_prefix(struct overlay *o, const struct vfs_pending *pending, const char *name)
{
    struct stat st;
    int dir = pending_dir(o, pending);
    if (dir < 0)
        return;
    if (sys_fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_whiteout_stat(&st))
        overlay_take_whiteout(o, dir, name);
    sys_close(dir);
}

/* With fake ids: whose it is that the program has made. */
static int end_faked(struct overlay *o, struct caller *who, const struct vfs_pending *pending)
{
    struct vnode dir;
    char path[VPATH_MAX];
    memcpy(path, pending->path, pending->len + 1);
    size_t len = path_pop(path, pending->len);
    int r = overlay_descend(&o->vfs, path, len, &dir);
    int fd = r < 0 ? r : pending_dir(o, pending);
    if (fd < 0)
        return fd;
    r = faked_made(o, who, &dir, fd, path_last(pending->path, pending->len), NULL);
    sys_close(fd);
    return r == -ENOENT ? 0 : r; /* it was removed meanwhile */
}

int overlay_create_end(struct vfs *fs, struct caller *who, struct vfs_pending *pending, long result)
{
    struct overlay *o = overlay_of(fs);
    int r = 0;
    if (!pending->active)
        return 0;
    pending->active = false;
    if (pending->len == 0) /* O_TMPFILE: no name was made */
        return 0;
    const char *name = path_last(pending->path, pending->len);
    change_touch(o, pending->path, pending->len);
    if (pending->staged)
        r = end_staged(o, pending, name, result >= 0);
    if (r == 0 && result >= 0 && pending->whiteout)
        end_prefix(o, pending, name);
    if (r == 0 && result >= 0 && o->s->fake)
        end_faked(o, who, pending);
    change_touch(o, pending->path, pending->len);
    overlay_ticket_drop(o, pending->ticket);
    pending->ticket = 0;
    o->progress++;
    return r;
}
