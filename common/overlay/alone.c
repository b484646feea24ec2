/* What a process of the program changes by itself: one call of the kernel's, by a path that leads
 * through real directories only, where nothing else has to be done before or after it but to say so
 * in the index. Everything else is the supervisor's (`unable`). */
#include "overlay/change.h"

/* The real path of a name whose directory the upper has. */
static int upper_path(struct overlay *o, const struct vnode *node, char *real, size_t cap)
{
    long n = str_copy(real, cap, session_layer_path(o->s, 0));
    if (n < 0 || (size_t)n + 1 + node->len >= cap)
        return -ENAMETOOLONG;
    real[n++] = '/';
    str_copy(real + n, cap - (size_t)n, node->path);
    return (size_t)n + node->len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int overlay_create_alone(struct vfs *fs, struct caller *who, struct vnode *node, bool tmpfile,
                         struct vfs_pending *pending, char *real, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    struct spot spot;
    memset(pending, 0, offsetof(struct vfs_pending, path));
    if (tmpfile || node->whiteout)
        o->unable();
    int r = spot_may_create(o, who, node, &spot);
    if (r < 0)
        return r;
    if (spot.parent.top != 0)
        o->unable();
    pending->active = true;
    pending->node_hash = index_hash(o->index, node->path, node->len);
    return upper_path(o, node, real, cap);
}

int overlay_copied_up(struct vfs *fs, struct caller *who UNUSED, struct vnode *node,
                      u64 size_hint UNUSED)
{
    if (!vnode_exists(node) || node->top != 0)
        overlay_of(fs)->unable();
    return 0;
}

void overlay_touch(struct overlay *o, u64 hash)
{
    index_touch(o->index, hash);
}

void overlay_touch_all(struct overlay *o)
{
    change_touch_all(o);
}
