/* Copy-up: the lower object gets a twin in the upper that differs from it in nothing a program can
 * see but its ctime. The twin is finished in work, or without a name at all, and then published in
 * one step; a copy-up is no change of the directory, so the parent's times are put back. */
#include "overlay/change.h"

static bool is_serious(int r)
{
    return r == -ENOSPC || r == -EDQUOT || r == -EIO;
}

void mark_impure(struct overlay *o, int dir)
{
    char name[MARK_NAME_MAX], path[SYS_FD_PATH], value[2];
    overlay_mark_name(o, "impure", name, sizeof(name));
    sys_fd_path(path, dir);
    /* A hint for other readers of the upper: doing without it is no failure. */
    if (sys_getxattr(path, name, value, sizeof(value)) == -ENODATA)
        sys_setxattr(path, name, "y", 1, 0);
}

int copy_attributes(struct overlay *o, int like, const struct stat *st, int fd, bool origin)
{
    char from[SYS_FD_PATH], to[SYS_FD_PATH];
    struct stat made;
    u32 uid, gid;
    sys_fd_path(from, like);
    sys_fd_path(to, fd);
    int r = sys_fstat(fd, &made);
    if (r < 0)
        return r;
    overlay_owner(o, st, &uid, &gid);
    if (made.st_uid != uid || made.st_gid != gid) {
        r = sys_fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
        if (r < 0)
            return r;
    }
    if (origin) {
        r = overlay_set_origin(o, fd, &made, st);
        if (is_serious(r))
            return r;
    }
    r = copy_xattrs(from, to, S_ISDIR(st->st_mode));
    if (r < 0)
        return r;
    if (!S_ISLNK(st->st_mode)) {
        r = sys_fchmodat(AT_FDCWD, to, st->st_mode & 07777);
        if (r == 0 && o->s->fake)
            r = faked_copied(o, fd, from, st);
        if (r < 0)
            return r;
    }
    struct timespec ts[2] = {st->st_atim, st->st_mtim};
    return sys_utimensat(AT_FDCWD, to, ts, 0);
}

/* -- publishing
 * ------------------------------------------------------------------------------------ */

static int publish_rename(struct overlay *o, const char *temp, int dir, const char *name)
{
    int r = sys_renameat2(o->work_fd, temp, dir, name, RENAME_NOREPLACE);
    if (r != -EINVAL && r != -ENOSYS)
        return r;
    /* A filesystem without NOREPLACE: the link fails where the name is taken. */
    r = sys_linkat(o->work_fd, temp, dir, name, 0);
    if (r < 0)
        return r;
    sys_unlinkat(o->work_fd, temp, 0);
    return 0;
}

/* Gives the finished copy its name. Somebody who was faster made the same copy. */
static int publish(struct overlay *o, int fd, const char *temp, int dir, const char *name,
                   bool impure)
{
    struct held_dir held;
    char path[SYS_FD_PATH];
    int r = hold_dir(o, dir, true, &held);
    if (r < 0)
        return r;
    if (temp)
        r = publish_rename(o, temp, dir, name);
    else
        r = sys_linkat(AT_FDCWD, sys_fd_path(path, fd), dir, name, AT_SYMLINK_FOLLOW);
    if (r == 0 && impure)
        mark_impure(o, dir);
    release_dir(&held);
    return r;
}

/* -- the kinds of objects
 * -------------------------------------------------------------------------- */

/* The lower object opened for reading, without a trace in its atime where that is permitted. */
static int open_lower(struct overlay *o, const struct vnode *node, u64 flags)
{
    const char *rel = node->len ? node->path : ".";
    int dir = o->layer_fd[node->top];
    int fd = sys_open_beneath(dir, rel, O_RDONLY | O_NOATIME | O_NONBLOCK | flags, 0);
    if (fd == -EPERM)
        fd = sys_open_beneath(dir, rel, O_RDONLY | O_NONBLOCK | flags, 0);
    return fd;
}

static int open_unnamed(struct overlay *o, char *temp, size_t cap, bool *named)
{
    *named = false;
    int fd = sys_openat(o->work_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd != -EOPNOTSUPP && fd != -EISDIR && fd != -EINVAL && fd != -ENOENT)
        return fd;
    overlay_temp_name(o, temp, cap);
    fd = sys_openat(o->work_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    *named = fd >= 0;
    return fd;
}

static int copy_file(struct overlay *o, int dir, const char *name, const struct vnode *node,
                     u64 size_hint)
{
    char temp[TEMP_NAME_MAX];
    bool named = false;
    struct stat st;
    int in = open_lower(o, node, 0);
    if (in < 0)
        return in;
    int out = -1;
    int r = sys_fstat(in, &st);
    if (r == 0 && !S_ISREG(st.st_mode))
        r = -ESTALE; /* swapped from outside since it was looked up */
    if (r == 0)
        r = out = open_unnamed(o, temp, sizeof(temp), &named);
    if (r >= 0)
        r = copy_data(in, out, &st, size_hint);
    bool origin = st.st_nlink == 1;
    if (r == 0)
        r = copy_attributes(o, in, &st, out, true);
    if (r == 0)
        r = publish(o, out, named ? temp : NULL, dir, name, origin);
    if (r < 0 && named)
        sys_unlinkat(o->work_fd, temp, 0);
    if (out >= 0)
        sys_close(out);
    sys_close(in);
    return r;
}

static int make_link_like(struct overlay *o, int low, const char *temp)
{
    char text[PATH_MAX];
    long n = sys_readlinkat(low, "", text, sizeof(text) - 1);
    if (n < 0)
        return (int)n;
    text[n] = '\0';
    return sys_symlinkat(text, o->work_fd, temp);
}

/* Symlinks, fifos, sockets, devices. */
static int copy_special(struct overlay *o, int dir, const char *name, const struct vnode *node)
{
    char temp[TEMP_NAME_MAX];
    struct stat st;
    int low = overlay_open_in(o, node->top, node->path, 0);
    if (low < 0)
        return low;
    overlay_temp_name(o, temp, sizeof(temp));
    int r = sys_fstat(low, &st);
    if (r == 0) {
        if (S_ISLNK(st.st_mode))
            r = make_link_like(o, low, temp);
        else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
            r = -ESTALE;
        else
            r = sys_mknodat(o->work_fd, temp, (st.st_mode & S_IFMT) | 0600, st.st_rdev);
    }
    if (r == 0) {
        bool origin = st.st_nlink == 1;
        int fd = sys_openat(o->work_fd, temp, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
        r = fd < 0 ? fd : copy_attributes(o, low, &st, fd, true);
        if (r == 0)
            r = publish(o, fd, temp, dir, name, origin);
        if (fd >= 0)
            sys_close(fd);
        if (r < 0)
            sys_unlinkat(o->work_fd, temp, 0);
    }
    sys_close(low);
    return r;
}

static int copy_dir(struct overlay *o, int dir, const char *name, const struct vnode *node)
{
    char temp[TEMP_NAME_MAX];
    struct stat st;
    int low = overlay_open_in(o, node->top, node->path, O_DIRECTORY);
    if (low < 0)
        return low;
    overlay_temp_name(o, temp, sizeof(temp));
    int r = sys_fstat(low, &st);
    if (r == 0)
        r = sys_mkdirat(o->work_fd, temp, 0700);
    if (r == 0) {
        int fd = sys_openat(o->work_fd, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        r = fd < 0 ? fd : copy_attributes(o, low, &st, fd, true);
        if (r == 0) {
            /* The move changes "..", for which an ordinary user must be allowed to write in it. */
            struct held_dir held;
            r = hold_dir(o, fd, false, &held);
            if (r == 0) {
                r = publish(o, fd, temp, dir, name, true);
                release_dir(&held);
            }
        }
        if (fd >= 0)
            sys_close(fd);
        if (r < 0)
            sys_unlinkat(o->work_fd, temp, AT_REMOVEDIR);
    }
    sys_close(low);
    return r;
}

/* A program took the name away meanwhile, by a whiteout of its own making (alone.c): it looks for
 * the copy after that, as this does for the whiteout after the copy. */
static bool lost_name(struct overlay *o, int dir, const char *name)
{
    char wh[NAME_MAX + 1];
    struct stat st;
    return overlay_wh_names(o) && overlay_wh_name(wh, sizeof(wh), name) == 0 &&
           sys_fstatat(dir, wh, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int copy_up_into(struct overlay *o, int dir, struct vnode *node, u64 size_hint)
{
    const char *name = path_last(node->path, node->len);
    int r;
    change_touch(o, node->path, node->len);
    overlay_note_copied(o, &node->st);
    if (S_ISDIR(node->st.st_mode))
        r = copy_dir(o, dir, name, node);
    else if (S_ISREG(node->st.st_mode))
        r = copy_file(o, dir, name, node, size_hint);
    else
        r = copy_special(o, dir, name, node);
    if (r == 0 && !S_ISDIR(node->st.st_mode) && lost_name(o, dir, name)) {
        sys_unlinkat(dir, name, 0);
        r = -ENOENT;
    }
    change_touch(o, node->path, node->len);
    o->made_dir = r == 0;
    if (r < 0 && r != -EEXIST)
        return r;
    r = sys_fstatat(dir, name, &node->st, AT_SYMLINK_NOFOLLOW);
    if (r == -EACCES)
        r = overlay_stat_in(o, 0, node->path, &node->st);
    if (r == 0 && is_whiteout_stat(&node->st))
        r = -ENOENT;
    if (r < 0)
        return r;
    node->top = 0;
    node->whiteout = false;
    node->layers = S_ISDIR(node->st.st_mode) ? node->layers | layer_bit(0) : layer_bit(0);
    node->dir_layers |= layer_bit(0);
    if (o->index)
        node->generation = index_generation(o->index);
    return 0;
}

/* -- ancestors
 * ------------------------------------------------------------------------------------- */

/* The longest prefix of the path that the upper has as a directory: its length, its descriptor. */
static int open_deepest(struct overlay *o, const struct vnode *dir, size_t *len)
{
    char path[VPATH_MAX];
    size_t n = dir->len;
    memcpy(path, dir->path, n + 1);
    for (;;) {
        int fd = overlay_open_in(o, 0, path, O_DIRECTORY);
        if (fd != -ENOENT && fd != -ENOTDIR) {
            *len = n;
            return fd;
        }
        if (n == 0)
            return fd;
        n = path_pop(path, n);
        path[n] = '\0';
    }
}

static NOINLINE int build_down(struct overlay *o, struct vnode *dir, size_t len, int fd)
{
    struct vnode at;
    int r = overlay_descend(&o->vfs, dir->path, len, &at);
    const char *rest = dir->path + len, *name;
    size_t n;
    while (r == 0 && (n = path_next(&rest, &name)) > 0) {
        r = overlay_lookup(&o->vfs, &at, name, n, &at);
        if (r < 0)
            break;
        if (!vnode_is_dir(&at)) {
            r = vnode_exists(&at) ? -ENOTDIR : -ENOENT;
            break;
        }
        o->made_dir = false;
        if (at.top != 0)
            r = copy_up_into(o, fd, &at, 0);
        if (r < 0)
            break;
        sys_close(fd);
        fd = overlay_open_in(o, 0, at.path, O_DIRECTORY);
        if (fd < 0)
            return fd;
    }
    if (r < 0) {
        sys_close(fd);
        return r == -EAGAIN ? -ENOENT : r;
    }
    memcpy(dir, &at, offsetof(struct vnode, path) + at.len + 1);
    return fd;
}

int overlay_upper_dir(struct overlay *o, struct vnode *dir)
{
    size_t len = 0;
    o->made_dir = false;
    if (o->s->read_only)
        return -EROFS;
    if (dir->top == 0)
        return overlay_open_in(o, 0, dir->path, O_DIRECTORY);
    if (!vnode_exists(dir))
        return -ENOENT;
    int fd = open_deepest(o, dir, &len);
    if (fd < 0)
        return fd;
    return build_down(o, dir, len, fd);
}

int overlay_copy_up(struct vfs *fs, struct caller *who UNUSED, struct vnode *node, u64 size_hint)
{
    struct overlay *o = overlay_of(fs);
    struct spot spot;
    if (!vnode_exists(node))
        return -ENOENT;
    if (o->s->read_only)
        return -EROFS;
    if (node->top == 0)
        return 0;
    if (vnode_is_dir(node)) {
        int fd = overlay_upper_dir(o, node);
        if (fd < 0)
            return fd;
        sys_close(fd);
        return 0;
    }
    int r = spot_init(o, node, &spot);
    if (r == 0)
        r = spot_open(o, &spot);
    if (r == 0)
        r = copy_up_into(o, spot.dir, node, size_hint);
    spot_close(&spot);
    return r;
}
