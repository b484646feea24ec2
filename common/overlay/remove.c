/* Removal. The whiteout appears before or with it, so that no lower object shows in between; what
 * was a directory is moved to work in one step and taken apart there. */
#include "overlay/change.h"

int discard_dir(struct overlay *o, const char *name)
{
    int fd = sys_openat(o->work_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int r = overlay_clear_marks(o, fd);
    sys_close(fd);
    return r < 0 ? r : sys_unlinkat(o->work_fd, name, AT_REMOVEDIR);
}

/* Errors common to both, in the kernel's order. */
static int may_remove(struct overlay *o, struct caller *who, const struct vnode *node,
                      struct spot *spot)
{
    spot->dir = -1;
    if (o->s->read_only)
        return -EROFS;
    if (!vnode_exists(node))
        return -ENOENT;
    int r = spot_init(o, node, spot);
    if (r < 0)
        return r;
    return overlay_may_delete(&o->vfs, who, &spot->parent, node);
}

static int unlink_plain(struct overlay *o, int dir, const char *name, int flags)
{
    struct held_dir held;
    int r = hold_dir(o, dir, false, &held);
    if (r < 0)
        return r;
    r = sys_unlinkat(dir, name, flags);
    release_dir(&held);
    return r;
}

int overlay_unlink(struct vfs *fs, struct caller *who, struct vnode *node)
{
    struct overlay *o = overlay_of(fs);
    struct spot spot;
    struct stat shown;
    int r = may_remove(o, who, node, &spot);
    if (r < 0)
        return r;
    if (S_ISDIR(node->st.st_mode))
        return -EISDIR;
    bool lower = overlay_lower_has(o, node);
    if (lower)
        r = spot_may_whiteout(o, &spot);
    if (r == 0)
        r = spot_take(o, &spot);
    if (r < 0)
        return r;
    int left = remains_take(o, &spot, node, &shown);
    change_touch(o, node->path, node->len);
    if (lower)
        r = overlay_put_whiteout(o, spot.dir, spot.name, node->top == 0);
    else
        r = unlink_plain(o, spot.dir, spot.name, 0);
    change_touch(o, node->path, node->len);
    remains_keep(o, &shown, left, r == 0);
    spot_keep(o, &spot);
    if (r < 0)
        return r;
    if (node->top == 0 && node->st.st_nlink <= 1)
        overlay_drop_origin(o, &node->st);
    spot_gone(o, node, lower);
    return 0;
}

/* Moves an upper directory to work with a whiteout in its place: a name of work, the descriptor of
 * the directory held. */
static int take_out(struct overlay *o, struct spot *spot, char *temp, size_t cap, bool *fresh)
{
    struct held_dir held;
    int r;
    *fresh = false;
    if (o->s->style == STYLE_FILEPREFIX) {
        r = overlay_put_prefix(o, spot->dir, spot->name);
        if (r < 0)
            return r;
        *fresh = r > 0;
        overlay_temp_name(o, temp, cap);
    } else {
        r = overlay_make_device(o, temp, cap);
        if (r < 0)
            return r;
    }
    r = hold_dir(o, spot->dir, false, &held);
    if (r == 0) {
        if (o->s->style == STYLE_FILEPREFIX)
            r = sys_renameat2(spot->dir, spot->name, o->work_fd, temp, RENAME_NOREPLACE);
        else
            r = sys_renameat2(o->work_fd, temp, spot->dir, spot->name, RENAME_EXCHANGE);
        release_dir(&held);
    }
    if (r < 0) {
        if (o->s->style == STYLE_CHARDEV)
            sys_unlinkat(o->work_fd, temp, 0);
        else if (*fresh)
            overlay_take_whiteout(o, spot->dir, spot->name);
    }
    return r;
}

/* Somebody put a name into it between the look and the move: back to its place. */
static void put_back(struct overlay *o, struct spot *spot, const char *temp, bool fresh)
{
    struct held_dir held;
    if (hold_dir(o, spot->dir, false, &held) < 0)
        return;
    if (o->s->style == STYLE_FILEPREFIX)
        sys_renameat2(o->work_fd, temp, spot->dir, spot->name, RENAME_NOREPLACE);
    else if (sys_renameat2(o->work_fd, temp, spot->dir, spot->name, RENAME_EXCHANGE) == 0)
        sys_unlinkat(o->work_fd, temp, 0);
    release_dir(&held);
    if (fresh)
        overlay_take_whiteout(o, spot->dir, spot->name);
}

static int replace_dir(struct overlay *o, struct spot *spot, int victim)
{
    char temp[TEMP_NAME_MAX];
    struct held_dir held;
    bool fresh;
    int r = hold_dir(o, victim, false, &held); /* ".." changes: it must be writable */
    if (r < 0)
        return r;
    r = take_out(o, spot, temp, sizeof(temp), &fresh);
    release_dir(&held);
    if (r < 0)
        return r;
    gone_note(o, spot);
    r = discard_dir(o, temp);
    if (r == -ENOTEMPTY)
        put_back(o, spot, temp, fresh);
    else
        r = 0; /* it is gone from the union; work is cleaned at the next start at the latest */
    return r;
}

static int remove_upper_dir(struct overlay *o, struct spot *spot, bool lower)
{
    int victim =
        sys_openat(spot->dir, spot->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    if (victim < 0)
        return victim;
    int r;
    if (lower) {
        r = replace_dir(o, spot, victim);
    } else {
        r = unlink_plain(o, spot->dir, spot->name, AT_REMOVEDIR);
        if (r == -ENOTEMPTY) { /* markers that hide nothing */
            r = overlay_clear_marks(o, victim);
            if (r == 0)
                r = unlink_plain(o, spot->dir, spot->name, AT_REMOVEDIR);
        }
    }
    sys_close(victim);
    return r;
}

int overlay_rmdir(struct vfs *fs, struct caller *who, struct vnode *node)
{
    struct overlay *o = overlay_of(fs);
    struct spot spot;
    struct stat shown;
    int r = may_remove(o, who, node, &spot);
    if (r < 0)
        return r;
    if (!S_ISDIR(node->st.st_mode))
        return -ENOTDIR;
    r = change_dir_empty(o, node);
    if (r <= 0)
        return r < 0 ? r : -ENOTEMPTY;
    bool lower = overlay_lower_has(o, node);
    bool merged = (node->layers & ~layer_bit(0)) != 0;
    kept_drop(o);
    r = lower ? spot_may_whiteout(o, &spot) : 0;
    if (r == 0)
        r = spot_open(o, &spot);
    if (r < 0)
        return r;
    /* What is known of names below stays true: the upper has none of them. */
    change_touch(o, node->path, node->len);
    if (merged)
        keep_identity(o, node); /* without it only who has it open sees another one */
    int left = remains_take(o, &spot, node, &shown);
    if (node->top == 0)
        r = remove_upper_dir(o, &spot, lower);
    else
        r = overlay_put_whiteout(o, spot.dir, spot.name, false);
    remains_keep(o, &shown, left, r == 0);
    change_touch(o, node->path, node->len);
    spot_close(&spot);
    if (r < 0)
        return r;
    if (merged)
        overlay_relocate(o, node->path, -1);
    else
        overlay_moved_on(o);
    if (node->top == 0)
        overlay_drop_origin(o, &node->st);
    spot_gone(o, node, lower);
    return 0;
}
