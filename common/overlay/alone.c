/* What a process of the program changes by itself: one call of the kernel's, by a path that leads
 * through real directories only, where nothing else has to be done before or after it but to say so
 * in the index. Everything else is the supervisor's (`unable`). Names are taken away, moved and
 * made by way of a plan (vfs/caller.h): here it is only found out what is to be done. */
#include "overlay/change.h"
#include "base/str.h"
#include "vfs/access.h"

/* The real path of a name whose directory the upper has; one that is too long is not ours. */
static int upper_path(struct overlay *o, const struct vnode *node, char *real, size_t cap)
{
    long n = str_copy(real, cap, session_layer_path(o->s, 0));
    if (n < 0 || (size_t)n + 1 + node->len >= min_size(cap, PATH_MAX))
        o->unable();
    real[n++] = '/';
    str_copy(real + n, cap - (size_t)n, node->path);
    return 0;
}

/* May the absent name be made? Rights are the kernel's to judge, on the directory of the upper:
 * what it refuses, and what the upper does not have, is the supervisor's. */
static int may_make(struct overlay *o, const struct vnode *node)
{
    if (vnode_exists(node))
        return -EEXIST;
    const char *name = path_last(node->path, node->len);
    size_t len = (size_t)(node->path + node->len - name);
    if (o->s->read_only || !len || overlay_reserved(o, name, len))
        o->unable();
    return 0;
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

/* NULL: it makes none. */
static struct plan *plan_of(struct overlay *o, const struct caller *who)
{
    if (!who->plan)
        o->unable();
    return who->plan;
}

/* The name in its directory, which the upper has to have. */
static int plan_name(struct overlay *o, const struct vnode *node, struct plan_name *at)
{
    const char *name = path_last(node->path, node->len);
    size_t dir = (size_t)(name - node->path);
    if (dir == 0 && node->len == 0)
        o->unable();
    memcpy(at->dir, node->path, dir);
    at->dir[dir ? dir - 1 : 0] = '\0';
    str_copy(at->name, sizeof(at->name), name);
    at->hash = index_hash(o->index, node->path, node->len);
    char text[PATH_MAX];
    int r = overlay_name(o, 0, at->dir, text);
    if (r == 0)
        str_copy(at->dir, sizeof(at->dir), text);
    if (r == -ENAMETOOLONG)
        o->unable();
    return r;
}

/* What the kernel does not judge where the object is a lower's: whose objects may be taken out of a
 * directory with a sticky bit. */
static void need_removable(struct overlay *o, struct caller *who, const struct vnode *node)
{
    struct vnode dir;
    if (node->top == 0 || !vnode_exists(node) || caller_capable(who, CAP_FOWNER_BIT) ||
        who->ops.cred(who)->fsuid == node->st.st_uid)
        return;
    if (overlay_parent_of(o, node, &dir) < 0 || overlay_may_delete(&o->vfs, who, &dir, node) < 0)
        o->unable();
}

static struct plan *plan_making(struct overlay *o, struct caller *who, struct vnode *node, int *r)
{
    struct plan *plan = plan_of(o, who);
    *r = plan ? may_make(o, node) : -EOPNOTSUPP;
    if (node->whiteout)
        o->unable();
    if (*r == 0)
        *r = plan_name(o, node, &plan->at[0]);
    return plan;
}

int overlay_plan_mkdir(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode)
{
    int r;
    struct plan *plan = plan_making(overlay_of(fs), who, node, &r);
    if (r < 0)
        return r;
    plan->mode = mode & 07777;
    plan->kind = PLAN_MKDIR;
    return 0;
}

int overlay_plan_symlink(struct vfs *fs, struct caller *who, struct vnode *node, const char *target)
{
    int r;
    struct plan *plan = plan_making(overlay_of(fs), who, node, &r);
    if (r < 0)
        return r;
    plan->target = target;
    plan->kind = PLAN_SYMLINK;
    return 0;
}

/* The upper's object may lose its name with nothing to be remembered: nobody knows it as a lower
 * one, by the session's table or by a descriptor from before it was copied up. */
static void need_unknown(struct overlay *o, const struct vnode *node)
{
    if (vnode_exists(node) && node->top == 0 && (o->facts->stale || overlay_is_noted(o, &node->st)))
        o->unable();
}

/* `name` in work, seen from the directory that `path` names an object of. */
static int name_in_work(const char *path, const char *name, char *buf, size_t cap)
{
    size_t len = 0;
    buf[0] = '\0';
    for (; *path; path++) {
        if (*path == '/' && path_push(buf, cap, &len, "..", 2))
            return -ENAMETOOLONG;
    }
    if (path_push(buf, cap, &len, WORK_NAME, sizeof(WORK_NAME) - 1) ||
        path_push(buf, cap, &len, name, str_len(name)))
        return -ENAMETOOLONG;
    return 0;
}

/* What whiteouts are links to. False where there is no such thing. */
static bool plan_mark(struct overlay *o, const struct vnode *node, struct plan *plan)
{
    return o->facts->marked &&
           name_in_work(node->path, MARK_NAME, plan->mark, sizeof(plan->mark)) == 0;
}

/* A name of its own for each plan: one that was left behind by who was killed stands in nobody's
 * way. */
static bool plan_temp(struct overlay *o, const struct vnode *node, struct plan *plan)
{
    char name[32] = "p";
    str_from_u64(name + 1, __atomic_add_fetch(&o->notes->temps, 1, __ATOMIC_RELAXED));
    return name_in_work(node->path, name, plan->temp, sizeof(plan->temp)) == 0;
}

/* A file made in work gets the group and the rights that it would get in its directory, where that
 * hands down none of its own. */
static bool hands_down(struct overlay *o, const struct plan_name *at, const struct vnode *node)
{
    struct vnode dir;
    return overlay_parent_of(o, node, &dir) < 0 || (dir.st.st_mode & S_ISGID) ||
           sys_lgetxattr(at->dir, "system.posix_acl_default", NULL, 0) > 0;
}

/* The new file is made in work, and takes the whiteout's place. */
static void plan_open(struct overlay *o, struct caller *who, const struct vnode *node)
{
    struct plan *plan = plan_of(o, who);
    if (!plan)
        return;
    if (plan_name(o, node, &plan->at[0]) < 0 || !plan_mark(o, node, plan) ||
        !plan_temp(o, node, plan) || hands_down(o, &plan->at[0], node))
        o->unable();
    plan->kind = PLAN_OPEN;
}

int overlay_create_alone(struct vfs *fs, struct caller *who, struct vnode *node, bool tmpfile,
                         struct vfs_pending *pending, char *real, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    memset(pending, 0, offsetof(struct vfs_pending, path));
    if (tmpfile)
        o->unable();
    int r = may_make(o, node);
    if (r < 0)
        return r;
    if (node->whiteout)
        plan_open(o, who, node);
    pending->active = true;
    pending->node_hash = index_hash(o->index, node->path, node->len);
    return upper_path(o, node, real, cap);
}

int overlay_plan_unlink(struct vfs *fs, struct caller *who, struct vnode *node)
{
    struct overlay *o = overlay_of(fs);
    struct plan *plan = plan_of(o, who);
    if (!plan || o->s->read_only || vnode_is_dir(node)) {
        o->unable();
        return -EOPNOTSUPP;
    }
    if (!vnode_exists(node))
        return -ENOENT;
    int r = plan_name(o, node, &plan->at[0]);
    if (r < 0)
        return r;
    need_unknown(o, node);
    need_removable(o, who, node);
    bool upper = node->top == 0, prefix = o->s->style == STYLE_FILEPREFIX;
    if (upper && !overlay_lower_has(o, node)) {
        plan->kind = PLAN_UNLINK;
        return 0;
    }
    if (!plan_mark(o, node, plan) || (prefix && str_len(plan->at[0].name) > WH_NAME_MAX) ||
        (upper && !plan_temp(o, node, plan)))
        o->unable();
    plan->kind = upper ? PLAN_COVER : PLAN_WHITEOUT;
    return 0;
}

int overlay_plan_rename(struct vfs *fs, struct caller *who, struct vnode *from, struct vnode *to,
                        unsigned flags)
{
    struct overlay *o = overlay_of(fs);
    struct plan *plan = plan_of(o, who);
    struct stat shown = from->st;
    if (!plan || flags || o->s->read_only || from->top != 0 || vnode_is_dir(from) ||
        vnode_is_dir(to)) {
        o->unable();
        return -EOPNOTSUPP;
    }
    int r = vnode_exists(to) ? 0 : may_make(o, to);
    if (to->whiteout)
        o->unable();
    if (r == 0)
        r = plan_name(o, from, &plan->at[0]);
    if (r == 0)
        r = plan_name(o, to, &plan->at[1]);
    if (r < 0)
        return r;
    need_unknown(o, from);
    need_unknown(o, to);
    need_removable(o, who, to);
    /* A whiteout stays behind, or who lists the new directory has to know that it moved there. */
    if (overlay_lower_has(o, from) || overlay_getattr(fs, from, &shown) < 0 ||
        !dev_ino_equal(&shown, &from->st))
        o->unable();
    plan->kind = PLAN_RENAME;
    return 0;
}
