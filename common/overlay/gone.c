/* Removed directories. The upper's are taken apart in work, where the kernel's text for whoever has
 * one open, or something that was in it, then ends: where they came from is remembered here. So is
 * the copy of a lower one, for who had it open before there was a copy. */
#include "overlay/change.h"
#include <fcntl.h>

#define DEEP_MAX 16 /* removed directories in removed directories that are followed */

static const char deleted_text[] = " (deleted)"; /* d_path() of a removed object */

static int keep_open(int fd)
{
    int r = (int)SYS3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
    return r < 0 ? -1 : r;
}

void gone_note(struct overlay *o, const struct spot *spot)
{
    struct gone *g = &o->gone[o->serial % GONE_MAX];
    size_t len = 0;
    if (g->serial && g->parent >= 0)
        sys_close(g->parent);
    g->serial = 0;
    g->path[0] = '\0';
    if (path_push(g->path, sizeof(g->path), &len, spot->parent.path, spot->parent.len) == 0 &&
        path_push(g->path, sizeof(g->path), &len, spot->name, spot->len) == 0) {
        g->name = (u32)(len - spot->len);
        g->parent = keep_open(spot->dir);
        g->serial = o->serial;
    }
}

void gone_forget(struct overlay *o)
{
    for (unsigned i = 0; i < GONE_MAX; i++) {
        if (o->gone[i].serial && o->gone[i].parent >= 0)
            sys_close(o->gone[i].parent);
        o->gone[i].serial = 0;
    }
    for (unsigned i = 0; i < REMAINS_MAX; i++) {
        if (o->remains[i].ino)
            sys_close(o->remains[i].fd);
        o->remains[i].ino = 0;
    }
}

/* What follows "WORK/tPID-" in a path of the upper, or NULL. */
static const char *behind_temp(const struct overlay *o, const char *rel)
{
    const char *work, *name;
    if (o->s->read_only ||
        !path_below(session_text(o->s, o->s->work), session_layer_path(o->s, 0), &work) ||
        !path_below(rel, work, &name) || *name != 't')
        return NULL;
    while (*name && *name != '/' && *name != '-')
        name++;
    return *name == '-' ? name + 1 : NULL;
}

/* The removed directory whose path in work this is, or NULL; *rest: what follows its name. */
static const struct gone *gone_at(const struct overlay *o, const char *rel, const char **rest)
{
    const char *at = behind_temp(o, rel);
    u64 serial;
    size_t n = at ? str_to_u64(at, &serial) : 0;
    if (!n || !serial || o->gone[serial % GONE_MAX].serial != serial)
        return NULL;
    *rest = at + n;
    return &o->gone[serial % GONE_MAX];
}

/* Puts `head` before what is at *at of buf: the new start, or 0 where there is no room. */
static size_t put_before(char *buf, size_t at, const char *head, size_t n)
{
    if (n >= at)
        return 0;
    memcpy(buf + at - n, head, n);
    return at - n;
}

size_t gone_name_length(const char *text)
{
    size_t len = str_len(text), tail = sizeof(deleted_text) - 1;
    return len > tail && str_eq(text + len - tail, deleted_text) ? len - tail : len;
}

long gone_upper_path(struct overlay *o, int fd, char *buf, size_t cap)
{
    char link[SYS_FD_PATH];
    const char *rel;
    long n = sys_readlinkat(AT_FDCWD, sys_fd_path(link, fd), buf, cap - 1);
    if (n < 0)
        return n;
    buf[n] = '\0';
    buf[gone_name_length(buf)] = '\0';
    if (session_layer_of(o->s, buf, &rel) != 0)
        return -ENOENT;
    size_t len = str_len(rel);
    memmove(buf, rel, len + 1);
    return (long)len;
}

long overlay_gone(struct vfs *fs, const char *rel, char *buf, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    char text[PATH_MAX], path[VPATH_MAX];
    const char *rest;
    size_t at = sizeof(path) - 1;
    path[at] = '\0';
    for (unsigned depth = 0; depth < DEEP_MAX; depth++) {
        const struct gone *g = gone_at(o, rel, &rest);
        if (!g)
            break;
        at = put_before(path, at, rest, str_len(rest));
        if (!at)
            return -ENAMETOOLONG;
        /* Its directory may have been renamed since, or removed. */
        if (g->parent < 0 || gone_upper_path(o, g->parent, text, sizeof(text)) < 0) {
            rel = g->path;
            break;
        }
        at = put_before(path, at, g->path + g->name, str_len(g->path + g->name));
        if (at && text[0])
            at = put_before(path, at, "/", 1);
        if (!at)
            return -ENAMETOOLONG;
        rel = text;
    }
    long len = str_copy(buf, cap, rel);
    long more = len < 0 ? len : str_copy(buf + len, cap - (size_t)len, path + at);
    return more < 0 ? -ENAMETOOLONG : len + more;
}

/* Directories with a lower part, or the moved copy of one: its identity. */
static bool has_lower_handles(struct overlay *o, const struct vnode *dir, struct stat *low)
{
    return ((dir->layers & ~layer_bit(0)) != 0 || o->norelocs) &&
           overlay_getattr(&o->vfs, dir, low) == 0 && !dev_ino_equal(low, &dir->st);
}

int remains_take(struct overlay *o, const struct spot *spot, const struct vnode *node,
                 struct stat *low)
{
    bool dir = S_ISDIR(node->st.st_mode);
    if (node->top != 0 ||
        !(dir ? has_lower_handles(o, node, low) : S_ISREG(node->st.st_mode) && o->facts->stale))
        return -1;
    int fd = sys_openat(spot->dir, spot->name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd >= 0 && !dir && (!overlay_copied_from(o, fd, low) || !overlay_was_opened(o, low))) {
        sys_close(fd);
        return -1;
    }
    return fd;
}

void remains_keep(struct overlay *o, const struct stat *low, int fd, bool gone)
{
    if (fd < 0)
        return;
    if (!gone) {
        sys_close(fd);
        return;
    }
    struct remains *r = &o->remains[o->nremains++ % REMAINS_MAX];
    if (r->ino)
        sys_close(r->fd);
    *r = (struct remains){.dev = low->st_dev, .ino = low->st_ino, .fd = fd};
}

int overlay_remains(struct vfs *fs, const struct stat *st)
{
    struct overlay *o = overlay_of(fs);
    for (u32 i = 0; i < REMAINS_MAX; i++) {
        if (o->remains[i].ino == st->st_ino && o->remains[i].dev == st->st_dev)
            return (int)SYS3(SYS_fcntl, o->remains[i].fd, F_DUPFD_CLOEXEC, 0);
    }
    return -ENOENT;
}
