/* Which (st_dev, st_ino) an object shows: that of the lower object it was copied from, for good. */
#include "overlay/overlay.h"
#include "base/sys.h"

struct origin_mark {
    u8 format; /* 1 */
    u64 dev, ino;
} __attribute__((packed));

#define ORIGIN_FORMAT 1
#define MARK_MAX      48

static struct origin_entry *slot_of(struct overlay *o, u64 dev, u64 ino, bool free_too)
{
    u64 h = (ino ^ dev << 7) * 0x9e3779b97f4a7c15u >> 32;
    for (unsigned i = 0; i < ORIGINS_MAX; i++) {
        struct origin_entry *e = &o->origin[(h + i) % ORIGINS_MAX];
        if (e->ino == ino && e->dev == dev)
            return e;
        if (!e->ino && !e->dev)
            return free_too ? e : NULL;
    }
    return NULL;
}

static bool carries_mark(mode_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode);
}

/* Reads the origin of the upper object that `path` names. */
static bool read_origin(struct overlay *o, const char *path, struct stat *st)
{
    char name[MARK_MAX];
    struct origin_mark mark;
    overlay_mark_name(o, "fuss.origin", name, sizeof(name));
    if (sys_lgetxattr(path, name, &mark, sizeof(mark)) != sizeof(mark) ||
        mark.format != ORIGIN_FORMAT)
        return false;
    st->st_dev = mark.dev;
    st->st_ino = mark.ino;
    return true;
}

static bool in_table(struct overlay *o, struct stat *st)
{
    struct origin_entry *e = slot_of(o, st->st_dev, st->st_ino, false);
    if (!e || !e->shown_ino)
        return false;
    st->st_dev = e->shown_dev;
    st->st_ino = e->shown_ino;
    return true;
}

void overlay_show_identity(struct overlay *o, int fd, struct stat *st)
{
    char path[SYS_FD_PATH + 2];
    if (!carries_mark(st->st_mode)) {
        in_table(o, st);
        return;
    }
    /* lgetxattr of "fd/N/." is the directory itself; a file's link has to be followed */
    sys_fd_path(path, fd);
    char name[MARK_MAX];
    struct origin_mark mark;
    overlay_mark_name(o, "fuss.origin", name, sizeof(name));
    bool found = sys_getxattr(path, name, &mark, sizeof(mark)) == sizeof(mark) &&
                 mark.format == ORIGIN_FORMAT;
    if (found) {
        st->st_dev = mark.dev;
        st->st_ino = mark.ino;
    } else {
        found = in_table(o, st);
    }
    if (found && S_ISDIR(st->st_mode))
        st->st_nlink = 1;
}

/* "/proc/self/fd/<upper>/<rel>": the object without opening it. */
static bool upper_path(struct overlay *o, const char *rel, size_t len, char *buf, size_t cap)
{
    sys_fd_path(buf, o->layer_fd[0]);
    size_t at = str_len(buf);
    return path_push(buf, cap, &at, rel, len) == 0;
}

int overlay_getattr(struct vfs *fs, const struct vnode *node, struct stat *st)
{
    struct overlay *o = overlay_of(fs);
    char path[VPATH_MAX + SYS_FD_PATH];
    *st = node->st;
    bool dir = S_ISDIR(st->st_mode);
    if (node->top != 0) {
        if (dir && (node->layers & (node->layers - 1)))
            st->st_nlink = 1;
        return 0;
    }
    if (!carries_mark(st->st_mode)) {
        in_table(o, st);
        return 0;
    }
    bool found =
        upper_path(o, node->path, node->len, path, sizeof(path)) && read_origin(o, path, st);
    unsigned low = overlay_top_lower(o, node);
    if (!found)
        found = in_table(o, st);
    if (!found && low) {
        struct stat lst;
        if (sys_fstatat(o->layer_fd[low], node->path, &lst,
                        AT_SYMLINK_NOFOLLOW | (node->len ? 0 : AT_EMPTY_PATH)) == 0) {
            st->st_dev = lst.st_dev;
            st->st_ino = lst.st_ino;
        }
    }
    if (dir && (found || low))
        st->st_nlink = 1;
    return 0;
}

int overlay_identify(struct vfs *fs, int fd, struct stat *st)
{
    struct overlay *o = overlay_of(fs);
    const struct session_layer *up = &o->s->layer[0];
    struct stat shown = *st;
    char path[SYS_FD_PATH], real[PATH_MAX];
    const char *rel;
    if (!up->in_use || st->st_dev != up->dev)
        return 0;
    overlay_show_identity(o, fd, &shown);
    if (dev_ino_equal(&shown, st))
        return 0;
    /* A lower may be an upper of an earlier session, with marks of its own: those do not count. */
    long n = sys_readlinkat(AT_FDCWD, sys_fd_path(path, fd), real, sizeof(real) - 1);
    if (n > 0) {
        real[n] = '\0';
        if (real[0] == '/' && session_layer_of(o->s, real, &rel) > 0)
            return 0;
    }
    *st = shown;
    return 0;
}

int overlay_set_origin(struct overlay *o, int fd, const struct stat *up, const struct stat *low)
{
    char path[SYS_FD_PATH], name[MARK_MAX];
    if (!S_ISDIR(low->st_mode) && low->st_nlink > 1)
        return 0;
    if (carries_mark(up->st_mode)) {
        struct origin_mark mark = {.format = ORIGIN_FORMAT, .dev = low->st_dev, .ino = low->st_ino};
        overlay_mark_name(o, "fuss.origin", name, sizeof(name));
        int r = sys_setxattr(sys_fd_path(path, fd), name, &mark, sizeof(mark), 0);
        if (r == 0 || r == -ENOSPC || r == -EDQUOT || r == -EIO)
            return r;
    }
    struct origin_entry *e = slot_of(o, up->st_dev, up->st_ino, true);
    if (e)
        *e = (struct origin_entry){.dev = up->st_dev,
                                   .ino = up->st_ino,
                                   .shown_dev = low->st_dev,
                                   .shown_ino = low->st_ino};
    return 0;
}

void overlay_drop_origin(struct overlay *o, const struct stat *up)
{
    struct origin_entry *e = slot_of(o, up->st_dev, up->st_ino, false);
    if (e) /* the key stays, so that the probe run behind it does */
        e->shown_dev = e->shown_ino = 0;
}
