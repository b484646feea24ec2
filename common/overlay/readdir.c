/* Merged listings. */
#include "overlay/change.h"
#include <dirent.h>

struct merge {
    struct overlay *o;
    const struct vnode *dir;
    struct listing *out;
    struct listing marks; /* names that markers of the layer at hand hide from deeper ones */
    struct vnode *child;
    u64 dev; /* of the layer's directory at hand */
    unsigned layer;
    bool deeper; /* another layer follows */
    bool moved;  /* children of this upper directory may show another identity than their own */
    bool mixed;  /* files may be whiteouts */
    bool masked; /* the session hides some name here */
    bool probe;  /* only whether there is a name is wanted */
    bool found;
};

static u8 type_of(mode_t mode)
{
    return (u8)((mode & S_IFMT) >> 12);
}

/* True where the upper directory has children that stand for lower objects. */
static bool is_impure(struct overlay *o, int fd)
{
    char path[SYS_FD_PATH], name[48], value[4];
    sys_fd_path(path, fd);
    return sys_getxattr(path, overlay_mark_name(o, "impure", name, sizeof(name)), value,
                        sizeof(value)) == 1;
}

/* True where a mask of the session takes a name out of this directory of the layer. */
static bool has_masks(const struct session *s, unsigned layer, const char *dir)
{
    const char *rest;
    for (u32 i = 0; i < s->nmasks; i++) {
        if (s->mask[i].layer == layer &&
            (!*dir || path_below(session_text(s, s->mask[i].path), dir, &rest)))
            return true;
    }
    return false;
}

/* The entry as a lookup sees it: 0 with ino and type, 1 where the name does not show. */
static int look_closer(struct merge *m, const char *name, size_t len, u64 *ino, u8 *type)
{
    struct stat st;
    int r = overlay_lookup(&m->o->vfs, m->dir, name, len, m->child);
    if (r < 0)
        return r;
    if (!vnode_exists(m->child))
        return 1;
    r = overlay_getattr(&m->o->vfs, m->child, &st);
    if (r < 0)
        return r;
    *ino = st.st_ino;
    *type = type_of(st.st_mode);
    return 0;
}

static int add_entry(struct merge *m, int fd, const struct sys_dirent *e)
{
    struct overlay *o = m->o;
    size_t len = str_len(e->name);
    u64 ino = e->ino;
    u8 type = e->type;
    if (is_dot(e->name, len) || is_dotdot(e->name, len))
        return 0;
    if (overlay_reserved(o, e->name, len)) {
        const size_t head = sizeof(WH_PREFIX) - 1;
        if (!m->deeper || !overlay_wh_names(o) || len <= head || str_eq(e->name, OPAQUE_NAME))
            return 0;
        return listing_add(&m->marks, e->name + head, len - head, 0, 0, true);
    }
    /* What lies below a name that a higher layer has was its business. */
    if (listing_find(m->out, e->name, len))
        return 0;
    bool shows_other = m->layer == 0 && (m->moved || m->deeper);
    if (type == DT_CHR || type == DT_UNKNOWN || m->masked || (type == DT_REG && m->mixed) ||
        (type == DT_DIR && shows_other)) {
        int r = look_closer(m, e->name, len, &ino, &type);
        if (r == -ENOMEM)
            return r;
        if (r > 0) /* another error is that name's own: it is listed as it lies there */
            return listing_add(m->out, e->name, len, 0, 0, true);
    } else if (m->layer == 0 && m->moved && !m->probe) {
        struct stat st = {.st_dev = m->dev, .st_ino = ino, .st_mode = (mode_t)type << 12};
        if (overlay_entry_origin(o, fd, e->name, &st))
            ino = st.st_ino;
    }
    m->found = true;
    return m->probe ? 0 : listing_add(m->out, e->name, len, ino, type, false);
}

static int open_listed(struct overlay *o, unsigned layer, const char *rel)
{
    int dir = o->layer_fd[layer];
    rel = *rel ? rel : ".";
    int fd = sys_open_beneath(dir, rel, O_RDONLY | O_DIRECTORY | O_NOATIME, 0);
    if (fd == -EPERM)
        fd = sys_open_beneath(dir, rel, O_RDONLY | O_DIRECTORY, 0);
    if (fd != -EACCES || layer != 0)
        return fd;
    int at = overlay_open_in(o, 0, rel, O_DIRECTORY); /* a directory on the way was closed */
    if (at < 0)
        return at;
    fd = sys_openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    sys_close(at);
    return fd;
}

static int read_layer(struct merge *m, int fd, u8 *buf)
{
    long n;
    while ((n = sys_getdents64(fd, buf, LIST_BUFFER)) > 0) {
        for (long at = 0; at < n && !(m->probe && m->found);) {
            const struct sys_dirent *e = (const void *)(buf + at);
            int r = add_entry(m, fd, e);
            if (r < 0)
                return r;
            at += e->reclen;
        }
    }
    return (int)n;
}

static int add_layer(struct merge *m, u8 *buf)
{
    struct overlay *o = m->o;
    const char *dir = m->dir->path;
    struct stat st;
    int fd = open_listed(o, m->layer, dir);
    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
    m->moved = m->layer == 0 && is_impure(o, fd);
    m->mixed = overlay_is_mixed(o, m->layer, dir);
    m->masked = has_masks(o->s, m->layer, dir);
    m->dev = m->moved && sys_fstat(fd, &st) == 0 ? st.st_dev : 0;
    int r = read_layer(m, fd, buf);
    sys_close(fd);
    for (u32 i = 0; r >= 0 && i < m->marks.count; i++) {
        const struct listing_entry *e = listing_at(&m->marks, i);
        r = listing_add(m->out, e->name, e->len, 0, 0, true);
    }
    listing_free(&m->marks);
    return r < 0 ? r : 0;
}

static int add_dots(struct merge *m)
{
    struct overlay *o = m->o;
    struct stat st;
    int r = overlay_getattr(&o->vfs, m->dir, &st);
    if (r == 0)
        r = listing_add(m->out, ".", 1, st.st_ino, DT_DIR, false);
    if (r < 0)
        return r;
    if (m->dir->len) {
        r = overlay_parent(o, m->dir, m->child);
        if (r == 0)
            r = overlay_getattr(&o->vfs, m->child, &st);
    } else {
        size_t len = 0;
        const char *mount = session_mount(o->s);
        r = path_push(m->child->path, sizeof(m->child->path), &len, mount, o->s->mount_len);
        if (r == 0 && o->s->mount_len > 1) { /* "/" is its own parent */
            path_pop(m->child->path, len);
            /* the mountpoint's parent need not exist on the host */
            if (sys_fstatat(AT_FDCWD, m->child->path, &st, 0) < 0)
                st.st_ino = 1;
        }
    }
    return r < 0 ? r : listing_add(m->out, "..", 2, st.st_ino, DT_DIR, false);
}

static int merge_layers(struct merge *m)
{
    u8 *memory = m->o->list_memory ? m->o->list_memory : sys_map(LIST_MEMORY);
    if (!memory)
        return -ENOMEM;
    m->child = (struct vnode *)(memory + LIST_BUFFER);
    struct held_dir held; /* an ordinary user's directory that he cannot search himself */
    int r = hold_node(m->o, m->dir, &held);
    if (r == 0 && !m->probe)
        r = add_dots(m);
    layer_set left = m->dir->layers;
    for (unsigned i = 0; r >= 0 && left && !(m->probe && m->found); i++) {
        if (!(left & layer_bit(i)))
            continue;
        left &= ~layer_bit(i);
        m->layer = i;
        m->deeper = left != 0;
        r = add_layer(m, memory);
    }
    release_node(&held);
    m->o->list_memory = memory; /* the next listing needs it again */
    listing_seal(m->out);
    return r < 0 ? r : 0;
}

int overlay_list(struct vfs *fs, const struct vnode *dir, struct listing *out)
{
    struct merge m = {.o = overlay_of(fs), .dir = dir, .out = out};
    return vnode_is_dir(dir) ? merge_layers(&m) : -ENOTDIR;
}

int overlay_dir_empty(struct overlay *o, const struct vnode *dir)
{
    struct listing hidden = {0};
    struct merge m = {.o = o, .dir = dir, .out = &hidden, .probe = true};
    int r = merge_layers(&m);
    listing_free(&hidden);
    return r < 0 ? r : !m.found;
}

/* What shows in the upper directory under a number of its own: 1 nothing else, 0 something, or
 * -errno. */
static int shows_itself(struct overlay *o, const struct vnode *dir)
{
    char path[PATH_MAX], name[48], value[4];
    int r = overlay_name(o, 0, dir->path, path);
    if (r)
        return r;
    long n = sys_lgetxattr(path, overlay_mark_name(o, "impure", name, sizeof(name)), value,
                           sizeof(value));
    return n == -ENODATA || n == -EOPNOTSUPP;
}

bool overlay_is_plain(struct overlay *o, const struct vnode *dir)
{
    return vnode_is_dir(dir) && dir->layers == layer_bit(dir->top) &&
           !overlay_is_mixed(o, dir->top, dir->path) && !has_masks(o->s, dir->top, dir->path);
}

bool overlay_lists_plainly(struct overlay *o, const struct vnode *dir, u64 dots[2])
{
    struct vnode up;
    struct stat st;
    unsigned layer = dir->top;
    layer_set lows = dir->dir_layers & ~layer_bit(0);
    dots[0] = dots[1] = 0;
    if (!dir->len || !overlay_is_plain(o, dir))
        return false;
    if (layer == 0) {
        if (shows_itself(o, dir) != 1 || overlay_getattr(&o->vfs, dir, &st) < 0)
            return false;
        dots[0] = st.st_ino;
    } else if (!(lows & (layer_bit(layer) - 1)) && path_last(dir->path, dir->len) != dir->path) {
        return true; /* the parent shows the number of its part here */
    }
    if (overlay_parent(o, dir, &up) < 0 || overlay_getattr(&o->vfs, &up, &st) < 0)
        return false;
    dots[1] = st.st_ino;
    return true;
}
