/* rename(2) over the union: overlay semantics, with one improvement on the kernel's: a directory
 * with a lower part is copied up as a whole and then renamed, where overlayfs says EXDEV. */
#include "overlay/change.h"

#define KNOWN_FLAGS (RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)

#define FILES_FOLLOWED (RELOCATIONS_MAX / 4) /* directories have the rest */

struct move {
    struct vnode *from, *to;
    unsigned flags;
    bool exchange;
    bool from_merged, to_merged; /* directories with a lower part, before anything is done */
    bool from_lower, to_lower;   /* some lower has the name */
    bool from_up;                /* the source was in the upper before anything is done */
    struct stat replaced;        /* the upper object that goes away */
    bool drops;
    struct spot src, dst;
};

static bool has_lower_part(const struct vnode *n)
{
    return vnode_is_dir(n) && (n->layers & ~layer_bit(0)) != 0;
}

/* -- what the kernel asks before it does anything, in its order
 * -------------------------------------- */

static int check_names(struct overlay *o, struct move *m)
{
    struct vnode *from = m->from, *to = m->to;
    const char *rest;
    if ((m->flags & ~KNOWN_FLAGS) || (m->exchange && (m->flags & ~RENAME_EXCHANGE)))
        return -EINVAL;
    if (from->len == 0 || to->len == 0)
        return -EBUSY;
    if (o->s->read_only)
        return -EROFS;
    if (!vnode_exists(from))
        return -ENOENT;
    if ((m->flags & RENAME_NOREPLACE) && vnode_exists(to))
        return -EEXIST;
    if (m->exchange && !vnode_exists(to))
        return -ENOENT;
    bool same = from->len == to->len && str_eq(from->path, to->path);
    if (!same && path_below(to->path, from->path, &rest))
        return -EINVAL;
    if (!same && path_below(from->path, to->path, &rest))
        return m->exchange ? -EINVAL : -ENOTEMPTY;
    return 0;
}

/* The same object under both names: nothing to do. Two links of one lower inode are two objects. */
static bool same_object(const struct vnode *from, const struct vnode *to)
{
    if (from->len == to->len && str_eq(from->path, to->path))
        return true;
    return vnode_exists(to) && from->top == 0 && to->top == 0 && dev_ino_equal(&from->st, &to->st);
}

static int check_target(struct overlay *o, struct caller *who, struct move *m)
{
    struct vfs *fs = &o->vfs;
    bool from_dir = vnode_is_dir(m->from), to_dir = vnode_is_dir(m->to);
    if (!vnode_exists(m->to)) {
        if (overlay_reserved(o, m->dst.name, m->dst.len))
            return -EINVAL;
        return overlay_permission(fs, who, &m->dst.parent, W_OK | X_OK);
    }
    int r = overlay_may_delete(fs, who, &m->dst.parent, m->to);
    if (r < 0 || m->exchange)
        return r;
    if (from_dir && !to_dir)
        return -ENOTDIR;
    if (!from_dir && to_dir)
        return -EISDIR;
    return 0;
}

static int check_rights(struct overlay *o, struct caller *who, struct move *m)
{
    struct vfs *fs = &o->vfs;
    int r = overlay_may_delete(fs, who, &m->src.parent, m->from);
    if (r == 0)
        r = check_target(o, who, m);
    if (r < 0)
        return r;
    bool moved =
        m->src.parent.len != m->dst.parent.len || !str_eq(m->src.parent.path, m->dst.parent.path);
    if (moved && vnode_is_dir(m->from)) /* its ".." changes */
        r = overlay_permission(fs, who, m->from, W_OK);
    if (r == 0 && moved && m->exchange && vnode_is_dir(m->to))
        r = overlay_permission(fs, who, m->to, W_OK);
    if (r < 0)
        return r;
    if (m->flags & RENAME_WHITEOUT)
        return -EINVAL;
    if (!m->exchange && vnode_is_dir(m->to)) {
        r = change_dir_empty(o, m->to);
        if (r <= 0)
            return r < 0 ? r : -ENOTEMPTY;
    }
    return 0;
}

static int check_markers(struct overlay *o, struct move *m)
{
    m->from_lower = overlay_lower_has(o, m->from);
    m->to_lower = overlay_lower_has(o, m->to);
    if (m->exchange)
        return 0;
    int r = m->from_lower ? spot_may_whiteout(o, &m->src) : 0;
    /* An empty merged directory is hidden by a marker while it is cleared. */
    if (r == 0 && m->to_lower && vnode_is_dir(m->to))
        r = spot_may_whiteout(o, &m->dst);
    return r;
}

/* -- bringing both sides to the upper
 * ---------------------------------------------------------------- */

static int bring_up(struct overlay *o, struct caller *who, struct vnode *node)
{
    if (has_lower_part(node))
        return overlay_copy_up_tree(o, who, node);
    return overlay_copy_up(&o->vfs, who, node, UINT64_MAX);
}

static int open_child(struct spot *spot)
{
    return sys_openat(spot->dir, spot->name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
}

/* A directory that is to take a name over lowers must hide what they have there. */
static int hide_lowers(struct overlay *o, struct spot *spot, const struct vnode *target,
                       bool lower_has)
{
    if (!lower_has && (target->dir_layers & ~layer_bit(0)) == 0)
        return 0;
    int fd = open_child(spot);
    if (fd < 0)
        return fd;
    int r = overlay_set_opaque(o, fd);
    sys_close(fd);
    return r;
}

/* The target shows no name but may hold markers: a plain rename over it would fail. What they hide
 * is kept hidden meanwhile. */
static int clear_target(struct overlay *o, struct move *m)
{
    if (m->exchange || !vnode_is_dir(m->to) || m->to->top != 0)
        return 0;
    int fd = open_child(&m->dst);
    if (fd < 0)
        return fd;
    int r = 0;
    if (m->to_lower) {
        if (o->s->style == STYLE_FILEPREFIX)
            r = overlay_put_prefix(o, m->dst.dir, m->dst.name);
        else
            r = overlay_set_opaque(o, fd);
    }
    if (r >= 0)
        r = overlay_clear_marks(o, fd);
    sys_close(fd);
    return r;
}

/* After a failure the cleared target is still there: marked as it was. */
static void restore_target(struct overlay *o, struct move *m)
{
    if (o->s->style != STYLE_FILEPREFIX || m->exchange || !m->to_lower || !vnode_is_dir(m->to) ||
        m->to->top != 0)
        return;
    int fd = open_child(&m->dst);
    if (fd < 0)
        return;
    if (overlay_set_opaque(o, fd) == 0)
        overlay_take_whiteout(o, m->dst.dir, m->dst.name);
    sys_close(fd);
}

/* -- the move itself
 * --------------------------------------------------------------------------------- */

static int move_plain(struct overlay *o, struct move *m, const struct way *way)
{
    bool dir = vnode_is_dir(m->from);
    bool leave = m->from_lower; /* a whiteout is needed at the source */
    bool device = leave && o->s->style == STYLE_CHARDEV;
    struct spot *src = &m->src, *dst = &m->dst;
    int r, fresh = 0;
    if (leave && !device) {
        fresh = overlay_put_prefix(o, src->dir, src->name);
        if (fresh == 0 && !m->from_up)
            return -ENOENT; /* a program took the name away meanwhile (alone.c) */
        if (fresh < 0)
            return fresh;
    }
    if (way->object && dir) {
        /* A directory cannot replace a device; exchanged, the whiteout is at the source at once. */
        r = sys_renameat2(src->dir, src->name, dst->dir, dst->name, RENAME_EXCHANGE);
        if (r == 0 && !device)
            sys_unlinkat(src->dir, src->name, 0);
    } else {
        unsigned flags = device ? RENAME_WHITEOUT : 0;
        if ((m->flags & RENAME_NOREPLACE) && !way->object)
            flags |= RENAME_NOREPLACE;
        r = sys_renameat2(src->dir, src->name, dst->dir, dst->name, flags);
    }
    if (r < 0 && fresh > 0)
        overlay_take_whiteout(o, src->dir, src->name);
    return r;
}

/* The markers that the new name needs no more. */
static void clean_target(struct overlay *o, struct move *m, const struct way *way)
{
    char wh[NAME_MAX + 1];
    struct held_dir held;
    bool cleared = o->s->style == STYLE_FILEPREFIX && vnode_is_dir(m->to) && m->to_lower;
    if (m->exchange || (!way->prefix && !cleared))
        return;
    if (overlay_wh_name(wh, sizeof(wh), m->dst.name) < 0 ||
        hold_dir(o, m->dst.dir, false, &held) < 0)
        return;
    sys_unlinkat(m->dst.dir, wh, 0);
    release_dir(&held);
}

static int hold_child(struct overlay *o, struct spot *spot, bool dir, struct held_dir *h)
{
    h->fd = -1;
    if (!dir || o->s->uid == 0)
        return 0;
    int fd = open_child(spot);
    if (fd < 0)
        return fd;
    int r = hold_dir(o, fd, false, h);
    if (r < 0) {
        sys_close(fd);
        h->fd = -1;
    }
    return r;
}

/* The session's own right to do it: an ordinary user's directories without write permission. */
static int move_held(struct overlay *o, struct move *m, const struct way *way)
{
    struct held_dir src, dst, from, to;
    int r = hold_dir(o, m->src.dir, false, &src);
    if (r < 0)
        return r;
    r = hold_dir(o, m->dst.dir, false, &dst);
    if (r == 0) {
        r = hold_child(o, &m->src, vnode_is_dir(m->from), &from);
        if (r == 0) {
            r = hold_child(o, &m->dst, m->exchange && vnode_is_dir(m->to), &to);
            if (r == 0) {
                if (m->exchange)
                    r = sys_renameat2(m->src.dir, m->src.name, m->dst.dir, m->dst.name,
                                      RENAME_EXCHANGE);
                else
                    r = move_plain(o, m, way);
                release_node(&to);
            }
            release_node(&from);
        }
        release_dir(&dst);
    }
    release_dir(&src);
    return r;
}

static void touch_both(struct overlay *o, const struct move *m)
{
    if (vnode_is_dir(m->from) || vnode_is_dir(m->to)) {
        change_touch_all(o);
        return;
    }
    change_touch(o, m->from->path, m->from->len);
    change_touch(o, m->to->path, m->to->len);
}

/* A copy of a lower file that somebody may still have open. */
static bool was_opened(struct overlay *o, int fd)
{
    struct stat low;
    return overlay_copied_from(o, fd, &low) && !S_ISDIR(low.st_mode) && overlay_was_opened(o, &low);
}

/* Lower directories stay where they are: whoever has one open is led to its upper twin. */
static void follow(struct overlay *o, struct spot *spot, const char *old, bool merged, bool lower)
{
    int fd = open_child(spot);
    if (fd < 0)
        return;
    if (merged || (lower && o->norelocs < FILES_FOLLOWED && was_opened(o, fd)))
        overlay_relocate(o, old, fd);
    if (overlay_has_origin(o, fd))
        mark_impure(o, spot->dir);
    sys_close(fd);
}

static int prepare(struct overlay *o, struct caller *who, struct move *m, struct way *way)
{
    m->from_merged = has_lower_part(m->from);
    m->from_up = m->from->top == 0;
    m->to_merged = has_lower_part(m->to);
    int r = bring_up(o, who, m->from);
    if (r == 0 && m->exchange)
        r = bring_up(o, who, m->to);
    if (r == 0)
        r = spot_open(o, &m->src);
    if (r == 0)
        r = spot_open(o, &m->dst);
    if (r == 0)
        r = overlay_way(o, m->to, m->dst.dir, m->dst.name, way);
    if (r == 0)
        touch_both(o, m);
    if (r == 0 && vnode_is_dir(m->from))
        r = hide_lowers(o, &m->src, m->to, m->to_lower);
    if (r == 0 && m->exchange && vnode_is_dir(m->to))
        r = hide_lowers(o, &m->dst, m->from, m->from_lower);
    if (r == 0 && m->to_merged && !m->exchange)
        keep_identity(o, m->to);
    return r < 0 ? r : clear_target(o, m);
}

static int perform(struct overlay *o, struct caller *who, struct move *m)
{
    struct way way = {false, false};
    struct stat shown;
    int over = -1;
    int r = prepare(o, who, m, &way);
    if (r == 0 && !m->exchange)
        over = remains_take(o, &m->dst, m->to, &shown);
    if (r == 0)
        r = move_held(o, m, &way);
    remains_keep(o, &shown, over, r == 0);
    if (r < 0) {
        if (m->dst.dir >= 0)
            restore_target(o, m);
        return r;
    }
    clean_target(o, m, &way);
    follow(o, &m->dst, m->from->path, m->from_merged, m->from_lower);
    if (m->exchange)
        follow(o, &m->src, m->to->path, m->to_merged, m->to_lower);
    else if (m->to_merged)
        overlay_relocate(o, m->to->path, -1);
    if (vnode_is_dir(m->from) || vnode_is_dir(m->to))
        overlay_moved_on(o);
    if (m->drops)
        overlay_drop_origin(o, &m->replaced);
    touch_both(o, m);
    r = spot_look(o, m->to);
    return r < 0 ? r : spot_look(o, m->from);
}

int overlay_rename(struct vfs *fs, struct caller *who, struct vnode *from, struct vnode *to,
                   unsigned flags)
{
    struct overlay *o = overlay_of(fs);
    struct move m;
    m.from = from;
    m.to = to;
    m.flags = flags;
    m.exchange = flags & RENAME_EXCHANGE;
    m.src.dir = m.dst.dir = -1;
    int r = check_names(o, &m);
    if (r < 0)
        return r;
    if (same_object(from, to))
        return 0;
    r = spot_init(o, from, &m.src);
    if (r == 0)
        r = spot_init(o, to, &m.dst);
    if (r == 0)
        r = check_rights(o, who, &m);
    if (r == 0)
        r = check_markers(o, &m);
    if (r < 0)
        return r;
    m.drops = !m.exchange && vnode_exists(to) && to->top == 0 &&
              (S_ISDIR(to->st.st_mode) || to->st.st_nlink <= 1);
    m.replaced = to->st;
    r = perform(o, who, &m);
    touch_both(o, &m);
    spot_close(&m.src);
    spot_close(&m.dst);
    return r;
}
