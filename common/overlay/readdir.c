/* Merged listings. */
#include "overlay/overlay.h"
#include "base/sys.h"
#include <dirent.h>

#define BUFFER 32768

struct dirent64_raw {
    u64 ino;
    s64 off;
    u16 reclen;
    u8 type;
    char name[];
};

struct merge {
    struct overlay *o;
    const struct vnode *dir;
    struct listing *out;
    struct listing marks; /* names that markers of the layer at hand hide from deeper ones */
    struct vnode *child;
    unsigned layer;
    bool deeper; /* another layer follows */
    bool moved;  /* children of this upper directory may show another identity than their own */
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

static int add_entry(struct merge *m, const struct dirent64_raw *e)
{
    struct overlay *o = m->o;
    size_t len = str_len(e->name);
    u64 ino = e->ino;
    u8 type = e->type;
    int r;
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
    bool odd = type == DT_CHR || type == DT_UNKNOWN || o->s->nmasks ||
               (type == DT_REG && (o->mixed_layers & layer_bit(m->layer)));
    bool translated = m->layer == 0 && m->moved;
    if (odd || translated || (type == DT_DIR && m->layer == 0 && m->deeper)) {
        struct stat st;
        r = overlay_lookup(&o->vfs, m->dir, e->name, len, m->child);
        if (r < 0)
            return r;
        if (!vnode_exists(m->child))
            return listing_add(m->out, e->name, len, 0, 0, true);
        r = overlay_getattr(&o->vfs, m->child, &st);
        if (r < 0)
            return r;
        ino = st.st_ino;
        type = type_of(st.st_mode);
    }
    return listing_add(m->out, e->name, len, ino, type, false);
}

static int open_listed(struct overlay *o, unsigned layer, const char *rel)
{
    int dir = o->layer_fd[layer];
    rel = *rel ? rel : ".";
    int fd = sys_open_beneath(dir, rel, O_RDONLY | O_DIRECTORY | O_NOATIME, 0);
    return fd == -EPERM ? sys_open_beneath(dir, rel, O_RDONLY | O_DIRECTORY, 0) : fd;
}

static int add_layer(struct merge *m, u8 *buf)
{
    int fd = open_listed(m->o, m->layer, m->dir->path);
    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
    int r = 0;
    long n;
    m->moved = m->layer == 0 && (m->deeper || is_impure(m->o, fd));
    while (r >= 0 && (n = sys_getdents64(fd, buf, BUFFER)) != 0) {
        if (n < 0) {
            r = (int)n;
            break;
        }
        for (long at = 0; at < n && r >= 0;) {
            const struct dirent64_raw *e = (const void *)(buf + at);
            r = add_entry(m, e);
            at += e->reclen;
        }
    }
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
        if (r == 0) {
            path_pop(m->child->path, len);
            /* the mountpoint's parent need not exist on the host */
            if (sys_fstatat(AT_FDCWD, m->child->path, &st, 0) < 0)
                st.st_ino = 1;
        }
    }
    return r < 0 ? r : listing_add(m->out, "..", 2, st.st_ino, DT_DIR, false);
}

int overlay_list(struct vfs *fs, const struct vnode *dir, struct listing *out)
{
    struct merge m = {.o = overlay_of(fs), .dir = dir, .out = out};
    size_t size = BUFFER + sizeof(struct vnode);
    u8 *memory = sys_map(size);
    if (!memory)
        return -ENOMEM;
    m.child = (struct vnode *)(memory + BUFFER);
    int r = add_dots(&m);
    layer_set left = dir->layers;
    for (unsigned i = 0; r >= 0 && left; i++) {
        if (!(left & layer_bit(i)))
            continue;
        left &= ~layer_bit(i);
        m.layer = i;
        m.deeper = left != 0;
        r = add_layer(&m, memory);
    }
    sys_unmap(memory, size);
    listing_seal(out);
    return r < 0 ? r : 0;
}

int overlay_dir_empty(struct overlay *o, const struct vnode *dir)
{
    struct listing l = {0};
    int r = overlay_list(&o->vfs, dir, &l);
    if (r == 0)
        r = l.count <= 2;
    listing_free(&l);
    return r;
}
