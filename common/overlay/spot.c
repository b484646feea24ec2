#include "overlay/change.h"

int spot_init(struct overlay *o, const struct vnode *node, struct spot *spot)
{
    spot->dir = -1;
    if (node->len == 0)
        return -EBUSY;
    const char *name = path_last(node->path, node->len);
    long n = str_copy(spot->name, sizeof(spot->name), name);
    if (n < 0)
        return (int)n;
    spot->len = (size_t)n;
    return overlay_parent_of(o, node, &spot->parent);
}

int spot_open(struct overlay *o, struct spot *spot)
{
    int fd = overlay_upper_dir(o, &spot->parent);
    if (fd < 0)
        return fd;
    spot->dir = fd;
    return 0;
}

/* Whoever removes or renames a directory drops it (change_touch_all, kept_drop), and a change of
 * anybody else's shows as a touch that is not ours. */
static bool is_kept(struct overlay *o, const char *path, size_t len)
{
    return o->kept.fd >= 0 && o->kept.len == len && memcmp(o->kept.path, path, len) == 0 &&
           o->index &&
           index_generation(o->index) - o->kept.generation == o->touches - o->kept.touches;
}

void kept_drop(struct overlay *o)
{
    if (o->kept.fd >= 0)
        sys_close(o->kept.fd);
    o->kept.fd = -1;
    o->kept.fresh = false;
}

static u64 *noted_word(struct overlay *o, u64 hash)
{
    return &o->kept.noted[hash / 64 % (NOTED_BITS / 64)];
}

bool kept_lacks(struct overlay *o, const char *path, size_t len, u64 hash)
{
    size_t dir = (size_t)(path_last(path, len) - path);
    return o->kept.fresh && dir > 0 && is_kept(o, path, dir - 1) &&
           !(*noted_word(o, hash) >> hash % 64 & 1);
}

int spot_take(struct overlay *o, struct spot *spot)
{
    if (spot->parent.top != 0 || !is_kept(o, spot->parent.path, spot->parent.len)) {
        kept_drop(o);
        int r = spot_open(o, spot);
        if (r == 0 && o->made_dir) {
            o->kept.fresh = true;
            memset(o->kept.noted, 0, sizeof(o->kept.noted));
        }
        return r;
    }
    spot->dir = o->kept.fd;
    o->kept.fd = -1;
    return 0;
}

void spot_keep(struct overlay *o, struct spot *spot)
{
    const struct vnode *dir = &spot->parent;
    if (spot->dir < 0)
        return;
    o->kept.fd = spot->dir;
    o->kept.len = dir->len;
    memcpy(o->kept.path, dir->path, dir->len);
    o->kept.generation = o->index ? index_generation(o->index) : 0;
    o->kept.touches = o->touches;
    spot->dir = -1;
}

int kept_stat(struct overlay *o, const char *path, size_t len, struct stat *st)
{
    return is_kept(o, path, len) ? sys_fstat(o->kept.fd, st) : -ENOENT;
}

void spot_close(struct spot *spot)
{
    if (spot->dir >= 0)
        sys_close(spot->dir);
    spot->dir = -1;
}

static void settle(struct overlay *o, struct vnode *node, bool there)
{
    node->top = there ? 0 : VNODE_ABSENT;
    node->layers = there ? layer_bit(0) : 0;
    node->dir_layers |= layer_bit(0);
    node->whiteout = false;
    if (o->index)
        node->generation = index_generation(o->index);
}

int spot_made(struct overlay *o, struct spot *spot, struct vnode *node)
{
    int r = sys_fstatat(spot->dir, spot->name, &node->st, AT_SYMLINK_NOFOLLOW);
    if (r < 0)
        return spot_look(o, node); /* it is made all the same */
    settle(o, node, true);
    return 0;
}

void spot_gone(struct overlay *o, struct vnode *node, bool whiteout)
{
    settle(o, node, false);
    node->whiteout = whiteout;
}

int spot_look(struct overlay *o, struct vnode *node)
{
    char path[VPATH_MAX];
    memcpy(path, node->path, node->len + 1);
    int r = overlay_descend(&o->vfs, path, node->len, node);
    return r == -EAGAIN ? -ENOENT : r;
}

int spot_may_create(struct overlay *o, struct caller *who, const struct vnode *node,
                    struct spot *spot)
{
    spot->dir = -1;
    if (vnode_exists(node))
        return -EEXIST;
    if (o->s->read_only)
        return -EROFS;
    int r = spot_init(o, node, spot);
    if (r < 0)
        return r;
    if (overlay_reserved(o, spot->name, spot->len))
        return -EINVAL;
    return overlay_permission(&o->vfs, who, &spot->parent, W_OK | X_OK);
}

int spot_may_whiteout(const struct overlay *o, const struct spot *spot)
{
    return o->s->style == STYLE_FILEPREFIX && spot->len > WH_NAME_MAX ? -ENAMETOOLONG : 0;
}

void change_touch(struct overlay *o, const char *path, size_t len)
{
    if (!o->index)
        return;
    u64 hash = index_hash(o->index, path, len);
    o->touches++;
    *noted_word(o, hash) |= (u64)1 << hash % 64;
    index_touch(o->index, hash);
}

void change_touch_all(struct overlay *o)
{
    kept_drop(o);
    if (!o->index)
        return;
    o->touches++;
    index_touch_all(o->index);
}

int hold_dir(struct overlay *o, int fd, bool times, struct held_dir *h)
{
    bool ordinary = o->s->uid != 0;
    h->fd = fd;
    h->times = times;
    h->loosened = false;
    if (!times && !ordinary)
        return 0;
    int r = sys_fstat(fd, &h->st);
    if (r < 0)
        return r;
    if (ordinary && h->st.st_uid == o->s->uid && (h->st.st_mode & 0700) != 0700) {
        char path[SYS_FD_PATH];
        r = sys_fchmodat(AT_FDCWD, sys_fd_path(path, fd), (h->st.st_mode & 07777) | 0700);
        if (r < 0)
            return r;
        h->loosened = true;
    }
    return 0;
}

void release_dir(struct held_dir *h)
{
    char path[SYS_FD_PATH];
    sys_fd_path(path, h->fd);
    if (h->loosened)
        sys_fchmodat(AT_FDCWD, path, h->st.st_mode & 07777);
    if (h->times) {
        struct timespec ts[2] = {h->st.st_atim, h->st.st_mtim};
        sys_utimensat(AT_FDCWD, path, ts, 0);
    }
}

int hold_node(struct overlay *o, const struct vnode *dir, struct held_dir *h)
{
    h->fd = -1;
    if (o->s->uid == 0 || dir->top != 0 || (dir->st.st_mode & 0700) == 0700)
        return 0;
    int fd = overlay_open_in(o, 0, dir->path, O_DIRECTORY);
    int r = fd < 0 ? fd : hold_dir(o, fd, false, h);
    if (r < 0 && fd >= 0)
        sys_close(fd);
    if (r < 0)
        h->fd = -1;
    return r;
}

void release_node(struct held_dir *h)
{
    if (h->fd < 0)
        return;
    release_dir(h);
    sys_close(h->fd);
}

int change_dir_empty(struct overlay *o, const struct vnode *dir)
{
    struct held_dir held;
    int r = hold_node(o, dir, &held);
    if (r < 0)
        return r;
    r = overlay_dir_empty(o, dir);
    release_node(&held);
    return r;
}
