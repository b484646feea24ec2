/* Writing marks: whiteouts and opaque directories in the session's style. */
#include "overlay/change.h"

#define DENTS_SIZE 4096

void overlay_temp_name(struct overlay *o, char *buf, size_t cap)
{
    char text[TEMP_NAME_MAX] = "t";
    size_t n = 1;
    n += str_from_u64(text + n, (u64)SYS1(SYS_getpid, 0));
    text[n++] = '-';
    str_from_u64(text + n, ++o->serial);
    str_copy(buf, cap, text);
}

int overlay_wh_name(char *buf, size_t cap, const char *name)
{
    size_t n = str_len(name);
    if (n > WH_NAME_MAX || n + sizeof(WH_PREFIX) > cap)
        return -ENAMETOOLONG;
    memcpy(buf, WH_PREFIX, sizeof(WH_PREFIX) - 1);
    memcpy(buf + sizeof(WH_PREFIX) - 1, name, n + 1);
    return 0;
}

/* A new object of the kind that stands for a whiteout: an empty file with mode 0644, or a device.
 */
static int make_object(struct overlay *o, int dir, const char *name)
{
    char path[SYS_FD_PATH];
    struct stat st;
    if (o->s->style == STYLE_CHARDEV)
        return sys_mknodat(dir, name, S_IFCHR, 0);
    int r = sys_mknodat(dir, name, S_IFREG | 0644, 0);
    /* Neither the umask nor a default ACL of the directory has a say. */
    if (r < 0 || sys_fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        st.st_mode == (S_IFREG | 0644))
        return r;
    int fd = sys_openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0) {
        sys_fchmodat(AT_FDCWD, sys_fd_path(path, fd), 0644);
        sys_close(fd);
    }
    return 0;
}

/* The one in work that the others are links to, as many as it takes: a link is cheaper than a file.
 * Programs find it beside the upper's directories where work is one of them (alone.c). */
static int renew_mark(struct overlay *o)
{
    const char *rest;
    sys_unlinkat(o->work_fd, MARK_NAME, 0);
    int r = make_object(o, o->work_fd, MARK_NAME);
    o->facts->marked =
        r == 0 && path_below(session_text(o->s, o->s->work), session_layer_path(o->s, 0), &rest) &&
        str_eq(rest, WORK_NAME);
    return r;
}

static int make_marker(struct overlay *o, int dir, const char *name)
{
    int r = sys_linkat(o->work_fd, MARK_NAME, dir, name, 0);
    if ((r == -ENOENT || r == -EMLINK) && renew_mark(o) == 0)
        r = sys_linkat(o->work_fd, MARK_NAME, dir, name, 0);
    return r == 0 || r == -EEXIST ? r : make_object(o, dir, name);
}

int overlay_put_prefix(struct overlay *o, int dir, const char *name)
{
    char wh[NAME_MAX + 1];
    struct held_dir held;
    int r = overlay_wh_name(wh, sizeof(wh), name);
    if (r == 0)
        r = hold_dir(o, dir, false, &held);
    if (r < 0)
        return r;
    r = make_marker(o, dir, wh);
    release_dir(&held);
    return r == 0 ? 1 : r == -EEXIST ? 0 : r;
}

int overlay_make_device(struct overlay *o, char *name, size_t cap)
{
    overlay_temp_name(o, name, cap);
    return make_marker(o, o->work_fd, name);
}

static int put_device(struct overlay *o, int dir, const char *name, bool victim)
{
    char temp[TEMP_NAME_MAX];
    struct held_dir held;
    struct stat st;
    int r = overlay_make_device(o, temp, sizeof(temp));
    if (r < 0)
        return r;
    r = hold_dir(o, dir, false, &held);
    if (r == 0) {
        r = sys_renameat2(o->work_fd, temp, dir, name, victim ? 0 : RENAME_NOREPLACE);
        release_dir(&held);
    }
    /* Two names of one object: a program was faster (alone.c), and nothing was moved. */
    if ((r < 0 || victim) && sys_unlinkat(o->work_fd, temp, 0) == 0 && r == 0)
        return -ENOENT;
    if (r == -EEXIST && sys_fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        is_whiteout_stat(&st))
        r = -ENOENT; /* a program was faster (alone.c) */
    return r;
}

int overlay_put_whiteout(struct overlay *o, int dir_fd, const char *name, bool victim)
{
    if (o->s->style == STYLE_CHARDEV)
        return put_device(o, dir_fd, name, victim);
    int made = overlay_put_prefix(o, dir_fd, name);
    if (made < 0)
        return made;
    if (!victim)
        return made ? 0 : -ENOENT; /* a program was faster (alone.c) */
    struct held_dir held;
    int r = hold_dir(o, dir_fd, false, &held);
    if (r == 0) {
        r = sys_unlinkat(dir_fd, name, 0);
        release_dir(&held);
    }
    if (r == 0)
        r = overlay_put_prefix(o, dir_fd, name); /* who made the object may have taken it away */
    else if (r != -ENOENT && made) /* else a program was faster, and the marker is its own, too */
        overlay_take_whiteout(o, dir_fd, name);
    return r > 0 ? 0 : r;
}

static int unlink_marker(struct overlay *o, int dir, const char *name)
{
    struct held_dir held;
    int r = hold_dir(o, dir, false, &held);
    if (r < 0)
        return r;
    r = sys_unlinkat(dir, name, 0);
    release_dir(&held);
    return r == -ENOENT ? 0 : r;
}

int overlay_take_whiteout(struct overlay *o, int dir_fd, const char *name)
{
    char wh[NAME_MAX + 1];
    struct stat st;
    int r = sys_fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW);
    if (r == 0 && is_whiteout_stat(&st)) {
        r = unlink_marker(o, dir_fd, name);
        if (r < 0)
            return r;
    }
    if (!overlay_wh_names(o) || overlay_wh_name(wh, sizeof(wh), name) < 0)
        return 0;
    return unlink_marker(o, dir_fd, wh);
}

int overlay_way(struct overlay *o, const struct vnode *node, int dir, const char *name,
                struct way *way)
{
    char wh[NAME_MAX + 1];
    struct stat st;
    way->object = way->prefix = false;
    if (vnode_exists(node) || !node->whiteout)
        return 0;
    int r = sys_fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW);
    if (r < 0 && r != -ENOENT)
        return r;
    way->object = r == 0 && overlay_is_whiteout(o, 0, node->path, &st);
    way->prefix = overlay_wh_names(o) && overlay_wh_name(wh, sizeof(wh), name) == 0 &&
                  sys_fstatat(dir, wh, &st, AT_SYMLINK_NOFOLLOW) == 0;
    return 0;
}

int overlay_set_opaque(struct overlay *o, int fd)
{
    struct held_dir held;
    int r = hold_dir(o, fd, o->s->style == STYLE_FILEPREFIX, &held);
    if (r < 0)
        return r;
    if (o->s->style == STYLE_FILEPREFIX) {
        r = make_marker(o, fd, OPAQUE_NAME);
        if (r == -EEXIST)
            r = 0;
    } else {
        char name[MARK_NAME_MAX], path[SYS_FD_PATH];
        overlay_mark_name(o, "opaque", name, sizeof(name));
        r = sys_setxattr(sys_fd_path(path, fd), name, "y", 1, 0);
    }
    release_dir(&held);
    return r < 0 ? r : 0;
}

bool overlay_mark_object(struct overlay *o, int dir, const char *name)
{
    char attr[MARK_NAME_MAX], path[SYS_FD_PATH], value[2];
    struct stat st;
    if (sys_fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    if (is_whiteout_stat(&st))
        return true;
    if (!S_ISREG(st.st_mode) || st.st_size != 0)
        return false;
    int fd = sys_openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    overlay_mark_name(o, "whiteout", attr, sizeof(attr));
    bool marked = sys_getxattr(sys_fd_path(path, fd), attr, value, sizeof(value)) >= 0;
    sys_close(fd);
    return marked;
}

/* True for what may be thrown away: a marker of either form. */
static bool is_mark(struct overlay *o, int dir, const char *name)
{
    if (overlay_wh_names(o) && str_starts(name, WH_PREFIX) && !str_eq(name, WORK_NAME))
        return true;
    return overlay_mark_object(o, dir, name);
}

int clear_marks(struct overlay *o, int dir_fd, bool keep_opaque)
{
    _Alignas(8) char buf[DENTS_SIZE];
    struct held_dir held;
    bool others = false, removed = true;
    int r = hold_dir(o, dir_fd, true, &held);
    if (r < 0)
        return r;
    int fd = sys_openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        r = fd;
    /* Removing while reading may skip names on some filesystems: read again until none is left. */
    while (r == 0 && removed) {
        removed = others = false;
        sys_lseek(fd, 0, SEEK_SET);
        long n;
        while (r == 0 && (n = sys_getdents64(fd, buf, sizeof(buf))) > 0) {
            for (long at = 0; r == 0 && at < n;) {
                const struct sys_dirent *d = (const void *)(buf + at);
                at += d->reclen;
                if (str_eq(d->name, ".") || str_eq(d->name, ".."))
                    continue;
                if (keep_opaque && str_eq(d->name, OPAQUE_NAME))
                    continue;
                if (!is_mark(o, dir_fd, d->name)) {
                    others = true;
                    continue;
                }
                r = sys_unlinkat(dir_fd, d->name, 0);
                removed = true;
            }
        }
        if (r == 0 && n < 0)
            r = (int)n;
    }
    if (fd >= 0)
        sys_close(fd);
    release_dir(&held);
    if (r < 0)
        return r;
    return others ? -ENOTEMPTY : 0;
}

int overlay_clear_marks(struct overlay *o, int dir_fd)
{
    return clear_marks(o, dir_fd, false);
}
