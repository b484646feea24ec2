/* What a process of the program changes by itself: one call of the kernel's, by a path that leads
 * through real directories only, where nothing else has to be done before or after it but to say so
 * in the index. Everything else is the supervisor's (`unable`). Names are taken away, moved and
 * made by way of a plan (vfs/caller.h): here it is only found out what is to be done. */
#include "overlay/change.h"
#include "base/str.h"

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

/* -- plans --------------------------------------------------------------------------------------
 */

static struct plan *plan_of(struct overlay *o, const struct caller *who)
{
    if (!who->plan || !o->index)
        o->unable();
    return who->plan;
}

/* The name in its directory, which the upper has. */
static int plan_name(struct overlay *o, const struct vnode *node, const struct spot *spot,
                     struct plan_name *at)
{
    if (spot->parent.top != 0)
        o->unable();
    int r = overlay_name(o, 0, spot->parent.path, at->dir);
    if (r < 0)
        return r;
    at->hash = index_hash(o->index, node->path, node->len);
    str_copy(at->name, sizeof(at->name), spot->name);
    return 0;
}

static struct plan *plan_making(struct overlay *o, struct caller *who, struct vnode *node, int *r)
{
    struct plan *plan = plan_of(o, who);
    struct spot spot;
    if (node->whiteout)
        o->unable();
    *r = spot_may_create(o, who, node, &spot);
    if (*r == 0)
        *r = plan_name(o, node, &spot, &plan->at[0]);
    return plan;
}

int overlay_plan_mkdir(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode)
{
    int r;
    struct plan *plan = plan_making(overlay_of(fs), who, node, &r);
    plan->mode = mode & 07777;
    plan->kind = PLAN_MKDIR;
    return r;
}

int overlay_plan_symlink(struct vfs *fs, struct caller *who, struct vnode *node, const char *target)
{
    int r;
    struct plan *plan = plan_making(overlay_of(fs), who, node, &r);
    plan->target = target;
    plan->kind = PLAN_SYMLINK;
    return r;
}

/* The upper's object may lose its name with nothing to be remembered: nobody knows it as a lower
 * one, by the session's table or by a descriptor from before it was copied up. */
static void need_unknown(struct overlay *o, const struct vnode *node)
{
    if (node->top == 0 && (o->facts->stale || overlay_is_noted(o, &node->st)))
        o->unable();
}

/* What whiteouts are links to, seen from a directory of the upper. */
static int plan_mark(const struct vnode *dir, char *mark, size_t cap)
{
    const char *rest = dir->path, *name;
    size_t len = 0;
    mark[0] = '\0';
    while (path_next(&rest, &name) > 0) {
        if (path_push(mark, cap, &len, "..", 2))
            return -ENAMETOOLONG;
    }
    if (path_push(mark, cap, &len, WORK_NAME, sizeof(WORK_NAME) - 1) ||
        path_push(mark, cap, &len, MARK_NAME, sizeof(MARK_NAME) - 1))
        return -ENAMETOOLONG;
    return 0;
}

int overlay_plan_unlink(struct vfs *fs, struct caller *who, struct vnode *node)
{
    struct overlay *o = overlay_of(fs);
    struct plan *plan = plan_of(o, who);
    struct spot spot;
    if (o->s->read_only || (vnode_exists(node) && S_ISDIR(node->st.st_mode)))
        o->unable();
    if (!vnode_exists(node))
        return -ENOENT;
    int r = spot_init(o, node, &spot);
    if (r == 0)
        r = overlay_may_delete(fs, who, &spot.parent, node);
    if (r == 0)
        r = plan_name(o, node, &spot, &plan->at[0]);
    if (r < 0)
        return r;
    need_unknown(o, node);
    if (node->top == 0 && overlay_lower_has(o, node))
        o->unable();
    if (node->top != 0 && (!o->facts->marked || spot_may_whiteout(o, &spot) < 0 ||
                           plan_mark(&spot.parent, plan->mark, sizeof(plan->mark)) < 0))
        o->unable();
    plan->kind = node->top == 0 ? PLAN_UNLINK : PLAN_WHITEOUT;
    return 0;
}

int overlay_plan_rename(struct vfs *fs, struct caller *who, struct vnode *from, struct vnode *to,
                        unsigned flags)
{
    struct overlay *o = overlay_of(fs);
    struct plan *plan = plan_of(o, who);
    struct spot src, dst;
    struct stat shown = from->st;
    if (flags || o->s->read_only || from->top != 0 || vnode_is_dir(from) || vnode_is_dir(to) ||
        (!vnode_exists(to) && to->whiteout))
        o->unable();
    int r = spot_init(o, from, &src);
    if (r == 0)
        r = spot_init(o, to, &dst);
    if (r == 0)
        r = overlay_may_delete(fs, who, &src.parent, from);
    if (r == 0 && vnode_exists(to))
        r = overlay_may_delete(fs, who, &dst.parent, to);
    else if (r == 0)
        r = overlay_reserved(o, dst.name, dst.len)
                ? -EINVAL
                : overlay_permission(fs, who, &dst.parent, W_OK | X_OK);
    if (r == 0)
        r = plan_name(o, from, &src, &plan->at[0]);
    if (r == 0)
        r = plan_name(o, to, &dst, &plan->at[1]);
    if (r < 0)
        return r;
    if (vnode_exists(to))
        need_unknown(o, to);
    need_unknown(o, from);
    /* A whiteout stays behind, or who lists the new directory has to know that it moved there. */
    if (overlay_lower_has(o, from) || overlay_getattr(fs, from, &shown) < 0 ||
        !dev_ino_equal(&shown, &from->st))
        o->unable();
    plan->kind = PLAN_RENAME;
    return 0;
}
