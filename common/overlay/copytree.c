/* Copy-up of a whole directory, so that it can be renamed: everything it shows is brought to the
 * upper, then it is made opaque, then the marks inside it, which hide nothing any more, go. At each
 * instant the union shows the same tree. */
#include "overlay/change.h"
#include <dirent.h>

#define TREE_DEPTH (VPATH_MAX / 2)

struct level {
    struct listing names;
    u32 next;
    size_t len; /* of the directory's path */
    struct held_dir held;
};

enum tree_pass { PASS_COPY, PASS_CLEAR };

/* Far too big for the stack. */
struct tree {
    enum tree_pass pass;
    u32 depth;
    struct vnode dir;  /* of the innermost level */
    struct vnode node; /* the child at hand */
    struct level level[TREE_DEPTH];
};

/* Whoever lists the upper directory that holds `fd` has to know that a child shows another identity
 * than its own, also when there is nothing to merge any more. */
static int note_in_parent(struct overlay *o, int fd)
{
    struct held_dir held;
    int up = sys_openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (up < 0)
        return up;
    int r = hold_dir(o, up, true, &held);
    if (r == 0) {
        mark_impure(o, up);
        release_dir(&held);
    }
    sys_close(up);
    return r;
}

/* A merged directory shows the identity of its topmost lower part. Its upper part keeps it as a
 * mark, for when there is nothing to merge any more. */
int keep_identity(struct overlay *o, const struct vnode *dir)
{
    unsigned low = overlay_top_lower(o, dir);
    struct held_dir held;
    struct stat up, st;
    if (low == 0 || dir->top != 0)
        return 0;
    int fd = overlay_open_in(o, 0, dir->path, O_DIRECTORY);
    if (fd < 0)
        return fd;
    int r = sys_fstat(fd, &up);
    if (r == 0 && !overlay_has_origin(o, fd)) {
        int lower = overlay_open_in(o, low, dir->path, O_DIRECTORY);
        r = lower < 0 ? lower : sys_fstat(lower, &st);
        if (r == 0)
            r = hold_dir(o, fd, false, &held);
        if (r == 0) {
            overlay_set_origin(o, fd, &up, &st);
            r = note_in_parent(o, fd); /* by "..", for which it must be searchable */
            release_dir(&held);
        }
        if (lower >= 0)
            sys_close(lower);
    }
    sys_close(fd);
    return r;
}

static int enter(struct overlay *o, struct tree *t)
{
    int r = t->pass == PASS_COPY ? keep_identity(o, &t->dir) : 0;
    if (r < 0)
        return r;
    if (t->depth == TREE_DEPTH)
        return -ENAMETOOLONG;
    struct level *l = &t->level[t->depth];
    memset(l, 0, sizeof(*l));
    l->len = t->dir.len;
    r = hold_node(o, &t->dir, &l->held); /* until all below it is done */
    if (r < 0)
        return r;
    r = overlay_list(&o->vfs, &t->dir, &l->names);
    if (r < 0) {
        listing_free(&l->names);
        release_node(&l->held);
        return r;
    }
    t->depth++;
    return 0;
}

/* Clears one directory of its marks. The top keeps its own: it is what makes them needless. */
static int clear_level(struct overlay *o, struct tree *t)
{
    if (t->depth == 1)
        return 0;
    int fd = overlay_open_in(o, 0, t->dir.path, O_DIRECTORY);
    if (fd < 0)
        return fd;
    int r = overlay_clear_marks(o, fd);
    sys_close(fd);
    return r == -ENOTEMPTY ? 0 : r;
}

static void close_level(struct tree *t)
{
    struct level *l = &t->level[--t->depth];
    listing_free(&l->names);
    release_node(&l->held);
}

/* Leaves the innermost level; the one around it is the current directory again. */
static int leave(struct overlay *o, struct tree *t)
{
    int r = t->pass == PASS_CLEAR ? clear_level(o, t) : 0;
    close_level(t);
    if (t->depth == 0 || r < 0)
        return r;
    /* The path of the outer directory is a prefix of this one's. */
    size_t len = t->level[t->depth - 1].len;
    r = overlay_descend(&o->vfs, t->dir.path, len, &t->node);
    if (r == 0 && !vnode_is_dir(&t->node))
        r = -ENOENT;
    if (r == 0)
        memcpy(&t->dir, &t->node, sizeof(t->dir));
    return r;
}

static int visit_child(struct overlay *o, struct tree *t, int dir, const struct listing_entry *e)
{
    if (is_dot(e->name, e->len) || is_dotdot(e->name, e->len))
        return 0;
    if (t->pass == PASS_CLEAR && e->type != DT_DIR && e->type != DT_UNKNOWN)
        return 0;
    int r = overlay_lookup(&o->vfs, &t->dir, e->name, e->len, &t->node);
    if (r < 0 || !vnode_exists(&t->node))
        return r; /* removed meanwhile */
    if (t->pass == PASS_COPY && t->node.top != 0)
        r = copy_up_into(o, dir, &t->node, UINT64_MAX);
    return r < 0 ? r : vnode_is_dir(&t->node);
}

/* Goes on in the innermost level: 1 entered a child directory, 0 the level is done. */
static int visit_level(struct overlay *o, struct tree *t)
{
    struct level *l = &t->level[t->depth - 1];
    int r = 0;
    int dir = overlay_open_in(o, 0, t->dir.path, O_DIRECTORY);
    if (dir < 0)
        return dir;
    while (r == 0 && l->next < l->names.count) {
        r = visit_child(o, t, dir, listing_at(&l->names, l->next++));
        if (r > 0) {
            /* A directory that is all upper needs no copying; its marks were never needed. */
            bool merged = (t->node.layers & ~layer_bit(0)) != 0;
            if (!merged && t->pass == PASS_COPY) {
                r = 0;
                continue;
            }
            memcpy(&t->dir, &t->node, sizeof(t->dir));
        }
    }
    sys_close(dir);
    return r;
}

static int traverse(struct overlay *o, struct tree *t, const struct vnode *top, enum tree_pass pass)
{
    t->pass = pass;
    t->depth = 0;
    int r = overlay_descend(&o->vfs, top->path, top->len, &t->dir);
    if (r == 0 && !vnode_is_dir(&t->dir))
        r = -ENOENT;
    if (r == 0)
        r = enter(o, t);
    while (r == 0 && t->depth > 0) {
        r = visit_level(o, t);
        if (r > 0)
            r = enter(o, t);
        else if (r == 0)
            r = leave(o, t);
    }
    while (t->depth > 0)
        close_level(t);
    return r;
}

int overlay_copy_up_tree(struct overlay *o, struct caller *who UNUSED, struct vnode *dir)
{
    int fd = overlay_upper_dir(o, dir);
    if (fd < 0)
        return fd;
    struct tree *t = sys_map(sizeof(*t));
    int r = t ? traverse(o, t, dir, PASS_COPY) : -ENOMEM;
    if (r == 0) {
        change_touch_all(o);
        r = overlay_set_opaque(o, fd);
        change_touch_all(o);
    }
    if (r == 0)
        r = traverse(o, t, dir, PASS_CLEAR);
    if (r == 0) {
        r = clear_marks(o, fd, o->s->style == STYLE_FILEPREFIX);
        r = r == -ENOTEMPTY ? 0 : r;
    }
    change_touch_all(o);
    if (t)
        sys_unmap(t, sizeof(*t));
    sys_close(fd);
    if (r == 0) {
        dir->layers = layer_bit(0);
        dir->top = 0;
    }
    return r;
}
