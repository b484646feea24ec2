/* What the markers on disk mean, and the names that never show. */
#include "overlay/overlay.h"
#include "base/sys.h"

#define LIST_MAX 4096

static const char prefixes_text[] = "trusted.overlay.\0user.overlay.\0user.fuseoverlayfs.\0";

bool overlay_wh_names(const struct overlay *o)
{
    return o->s->style == STYLE_FILEPREFIX || o->s->read_wh;
}

bool overlay_reserved(const struct overlay *o, const char *name, size_t len)
{
    if (len < sizeof(WH_PREFIX) - 1 || !str_eq_n(name, WH_PREFIX, sizeof(WH_PREFIX) - 1))
        return false;
    if (overlay_wh_names(o))
        return true;
    return len == sizeof(WORK_NAME) - 1 && str_eq_n(name, WORK_NAME, len);
}

/* The part of an xattr name behind the prefix of an overlay implementation, NULL where it has none.
 */
static const char *mark_of(const char *name)
{
    for (const char *p = prefixes_text; *p; p += str_len(p) + 1) {
        if (str_starts(name, p))
            return name + str_len(p);
    }
    return NULL;
}

/* A program's own trusted.overlay.X lies on disk as trusted.overlay.overlay.X (Linux 6.7). */
static bool is_escaped(const char *name)
{
    return str_starts(name, "trusted.overlay.overlay.") ||
           str_starts(name, "user.overlay.overlay.");
}

bool overlay_private_xattr(const char *name)
{
    return mark_of(name) && !is_escaped(name);
}

static bool escapes(const struct overlay *o, const char *name)
{
    return str_starts(name, "trusted.overlay.") ||
           (str_starts(name, "user.overlay.") && !o->s->trusted);
}

long overlay_xattr_to_disk(struct vfs *fs, const char *name, char *buf, size_t cap)
{
    const char *mark = mark_of(name);
    if (!mark)
        return str_copy(buf, cap, name);
    if (!escapes(overlay_of(fs), name))
        return -EOPNOTSUPP;
    size_t head = (size_t)(mark - name);
    static const char again[] = "overlay.";
    if (head + sizeof(again) + str_len(mark) > cap)
        return -ERANGE;
    memcpy(buf, name, head);
    memcpy(buf + head, again, sizeof(again) - 1);
    return (long)(head + sizeof(again) - 1) +
           str_copy(buf + head + sizeof(again) - 1, cap - head - sizeof(again) + 1, mark);
}

long overlay_xattr_from_disk(struct vfs *fs, const char *name, char *buf, size_t cap)
{
    const char *mark = mark_of(name);
    if (!mark)
        return str_copy(buf, cap, name);
    if (!is_escaped(name) || !escapes(overlay_of(fs), name))
        return 0;
    size_t head = (size_t)(mark - name);
    if (head >= cap)
        return -ERANGE;
    memcpy(buf, name, head);
    return (long)head + str_copy(buf + head, cap - head, mark + sizeof("overlay.") - 1);
}

const char *overlay_mark_name(const struct overlay *o, const char *mark, char *buf, size_t cap)
{
    long n = str_copy(buf, cap, o->s->trusted ? "trusted.overlay." : "user.overlay.");
    if (n > 0)
        str_copy(buf + n, cap - (size_t)n, mark);
    return buf;
}

/* Looks for one of our marks in a list of xattr names: opaque values y and x, redirect, whiteout.
 */
struct marks {
    bool opaque, mixed, redirect, whiteout, metacopy;
};

static void read_marks(const char *path, struct marks *m)
{
    char list[LIST_MAX], value[4];
    memset(m, 0, sizeof(*m));
    long n = sys_listxattr(path, list, sizeof(list));
    for (long at = 0; at < n; at += (long)str_len(list + at) + 1) {
        const char *name = list + at, *mark = mark_of(name);
        if (!mark || is_escaped(name))
            continue;
        if (str_eq(mark, "opaque")) {
            long got = sys_getxattr(path, name, value, sizeof(value));
            m->opaque |= got >= 1 && value[0] == 'y';
            m->mixed |= got >= 1 && value[0] == 'x';
        }
        m->redirect |= str_eq(mark, "redirect");
        m->metacopy |= str_eq(mark, "metacopy");
        m->whiteout |= str_eq(mark, "whiteout");
    }
}

bool overlay_is_whiteout(struct overlay *o, unsigned layer, const char *rel, const struct stat *st)
{
    char path[SYS_FD_PATH];
    struct marks m;
    if (is_whiteout_stat(st))
        return true;
    if (!S_ISREG(st->st_mode) || st->st_size || !(o->mixed_layers & layer_bit(layer)))
        return false;
    int fd = overlay_open_in(o, layer, rel, 0);
    if (fd < 0)
        return false;
    read_marks(sys_fd_path(path, fd), &m);
    sys_close(fd);
    return m.whiteout;
}

bool overlay_is_metacopy(struct overlay *o, unsigned layer, const char *rel, const struct stat *st)
{
    char path[SYS_FD_PATH];
    struct marks m;
    if (!S_ISREG(st->st_mode) || !st->st_size || st->st_blocks)
        return false;
    int fd = overlay_open_in(o, layer, rel, 0);
    if (fd < 0)
        return false;
    read_marks(sys_fd_path(path, fd), &m);
    sys_close(fd);
    return m.metacopy;
}

static int look_opaque(struct overlay *o, unsigned layer, const char *rel, struct stat *st)
{
    char path[SYS_FD_PATH];
    struct marks m;
    int fd = overlay_open_in(o, layer, rel, O_DIRECTORY);
    if (fd < 0)
        return fd;
    read_marks(sys_fd_path(path, fd), &m);
    int r = m.redirect ? -EIO : m.opaque;
    if (m.mixed)
        o->mixed_layers |= layer_bit(layer);
    if (r == 0 && overlay_wh_names(o) && sys_fstatat(fd, OPAQUE_NAME, st, AT_SYMLINK_NOFOLLOW) == 0)
        r = 1;
    sys_close(fd);
    return r;
}

int overlay_is_opaque(struct overlay *o, unsigned layer, const char *rel)
{
    struct stat st;
    return look_opaque(o, layer, rel, &st);
}

int overlay_lower_opaque(struct overlay *o, unsigned layer, const char *rel, const struct stat *st)
{
    struct stat scratch;
    struct opaque_entry *e =
        &o->opaque[(st->st_ino * 0x9e3779b97f4a7c15u + layer) >> 32 & (OPAQUE_MAX - 1)];
    if (e->ino == st->st_ino && e->dev == st->st_dev && e->layer == layer + 1)
        return e->opaque;
    int r = look_opaque(o, layer, rel, &scratch);
    if (r >= 0)
        *e = (struct opaque_entry){
            .dev = st->st_dev, .ino = st->st_ino, .layer = (u16)(layer + 1), .opaque = (u8)r};
    return r;
}

int overlay_has_wh(struct overlay *o, unsigned layer, const char *dir_rel, const char *name)
{
    char path[VPATH_MAX];
    struct stat st;
    size_t len = 0, n = str_len(name), head = sizeof(WH_PREFIX) - 1;
    if (!overlay_wh_names(o) || n + head > NAME_MAX)
        return 0;
    path[0] = '\0';
    if (path_push(path, sizeof(path), &len, dir_rel, str_len(dir_rel)) ||
        path_push(path, sizeof(path), &len, WH_PREFIX, head) || len + n >= sizeof(path))
        return 0;
    memcpy(path + len, name, n + 1);
    return sys_fstatat(o->layer_fd[layer], path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}
