/* Hard links. The source is copied up first; the link is then made as the caller. */
#include "overlay/change.h"
#include "vfs/access.h"

/* fs.protected_hardlinks: off only where the file can be read and says 0. */
static bool hardlinks_protected(void)
{
    char c = '1';
    int fd = sys_openat(AT_FDCWD, "/proc/sys/fs/protected_hardlinks", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return true;
    if (sys_read(fd, &c, 1) != 1)
        c = '1';
    sys_close(fd);
    return c != '0';
}

/* What may_linkat() of the kernel asks, on the merged view: the upper copy may not exist yet. A
 * source without a name is judged by its stat. */
static int may_link(struct overlay *o, struct caller *who, const struct vnode *from,
                    const struct stat *st)
{
    const struct cred *cred = who->ops.cred(who);
    struct stat buf;
    if (from)
        st = overlay_judged(&o->vfs, from, &buf);
    if (access_owner(who, st) == 0)
        return 0;
    bool safe = S_ISREG(st->st_mode) && !(st->st_mode & S_ISUID) &&
                (st->st_mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP);
    if (safe && from)
        safe = overlay_permission(&o->vfs, who, from, R_OK | W_OK) == 0;
    else if (safe)
        safe = access_by_mode(st, cred, R_OK | W_OK) == 0;
    return safe || !hardlinks_protected() ? 0 : -EPERM;
}

/* A descriptor that is known only by itself: an O_TMPFILE without a name, or an object of the
 * upper. Never a lower one: a second name in the upper would be a way to write it. */
static int may_link_fd(struct overlay *o, struct caller *who, int fd, struct stat *st)
{
    char link[SYS_FD_PATH], real[PATH_MAX];
    const char *rest;
    int r = sys_fstat(fd, st);
    if (r == 0)
        r = may_link(o, who, NULL, st);
    if (r < 0)
        return r;
    if (st->st_nlink == 0 || S_ISDIR(st->st_mode)) /* which is refused later */
        return 0;
    long n = sys_readlinkat(AT_FDCWD, sys_fd_path(link, fd), real, sizeof(real) - 1);
    if (n < 0)
        return (int)n;
    real[n] = '\0';
    return session_layer_of(o->s, real, &rest) == 0 ? 0 : -EXDEV;
}

int overlay_link(struct vfs *fs, struct caller *who, struct vnode *from, int fd, struct vnode *to)
{
    struct overlay *o = overlay_of(fs);
    struct making m = {.kind = MAKE_LINK, .fd = fd};
    struct spot spot;
    bool named = from && vnode_exists(from);
    if (!named && fd < 0)
        return -ENOENT;
    if (vnode_exists(to))
        return -EEXIST;
    if (o->s->read_only)
        return -EROFS;
    struct stat st = {0};
    int r;
    if (named)
        st = from->st;
    r = named ? may_link(o, who, from, &st) : may_link_fd(o, who, fd, &st);
    if (r == 0)
        r = spot_may_create(o, who, to, &spot);
    if (r < 0)
        return r;
    if (S_ISDIR(st.st_mode))
        return -EPERM;
    if (named) {
        r = overlay_copy_up(fs, who, from, UINT64_MAX);
        if (r < 0)
            return r;
        m.fd = overlay_grab(fs, from);
        if (m.fd < 0)
            return m.fd;
        change_touch(o, from->path, from->len);
    }
    r = spot_open(o, &spot);
    if (r == 0 && overlay_has_origin(o, m.fd))
        mark_impure(o, spot.dir); /* listings of the directory show the origin */
    if (r == 0)
        r = make_at(o, who, to, &spot, &m);
    if (r == 0)
        r = spot_made(o, &spot, to);
    spot_close(&spot);
    if (named)
        sys_close(m.fd);
    return r;
}
