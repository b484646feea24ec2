/* Names just below a directory that the program has open (or stands in), where that directory is a
 * lower's alone: what the kernel says of the name there is what the union shows. Anything out of
 * the ordinary is left to the engine. */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"
#include "call/call.h"
#include <linux/stat.h>

/* The directory's entry among the links, after a look at what it is where that is not known. NULL:
 * it is not of that kind. */
struct shim_link *shim_plain_link(struct shim_caller *who, struct call *c, int fd)
{
    struct shim_own *own = &shim_own;
    struct place *p = &c->place;
    struct shim_link *l = shim_link_of(who, fd);
    if (!shim_is_dir(who))
        return NULL;
    if (!l || l->kind == LINK_UNKNOWN) {
        int err = walk_fd(c->view, &who->who, fd, p);
        l = shim_link_of(who, fd); /* it is kept now, if it can be */
        if (err < 0 || !l)
            return NULL;
        bool plain = p->in_union && p->exists && !p->removed && p->fd_layer > 0 &&
                     p->fd_layer == p->node.top &&
                     overlay_lists_plainly(&own->overlay, &p->node, l->dots);
        l->kind = plain ? LINK_PLAIN : LINK_MIXED;
    }
    return l->kind == LINK_PLAIN ? l : NULL;
}

/* One name, copied: its length, or 0 where the engine has to look at it. */
static size_t take_name(const char *said, char name[NAME_MAX + 1])
{
    size_t n = 0;
    for (; n <= NAME_MAX; n++) {
        char ch = ((const volatile char *)said)[n];
        name[n] = ch;
        if (!ch)
            break;
        if (ch == '/')
            return 0;
    }
    if (n > NAME_MAX || is_dot(name, n) || is_dotdot(name, n) ||
        overlay_reserved(&shim_own.overlay, name, n))
        return 0;
    return n;
}

/* What may be a marker, or have its data elsewhere, needs a closer look. */
static bool is_ordinary(const struct stat *st)
{
    if (S_ISREG(st->st_mode))
        return st->st_size && st->st_blocks * 512 >= st->st_size;
    return S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode);
}

/* Layers that were a kernel mount's, or have whiteouts by xattr. */
static bool are_suspect(const struct overlay_facts *f)
{
    return f->kernel[0] | f->kernel[1] | f->mixed[0] | f->mixed[1];
}

static int result(struct shim_saved *saved, long value)
{
    saved->result = value;
    return RESULT;
}

#define NEAR_FLAGS ((u32)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))

static int near_statx(struct shim_saved *saved, struct call *c, int fd, const char *name)
{
    const u32 need = STATX_TYPE | STATX_MODE | STATX_SIZE | STATX_BLOCKS;
    struct statx x;
    struct stat st;
    int flags = (int)(call_flags(c) | AT_SYMLINK_NOFOLLOW);
    int r = sys_statx(fd, name, flags, (u32)c->arg[c->row->flags + 1] | need, &x);
    if (r == -ENOENT)
        return result(saved, r);
    st.st_mode = x.stx_mode;
    st.st_size = (off_t)x.stx_size;
    st.st_blocks = (blkcnt_t)x.stx_blocks;
    if (r || (x.stx_mask & need) != need || !is_ordinary(&st) ||
        (S_ISLNK(st.st_mode) && call_follow(c)))
        return SHIM_GO_ON;
    memcpy((void *)c->arg[c->row->aux], &x, sizeof(x));
    return result(saved, 0);
}

/* Whether nothing is masked below the directory at the real path `text` is asked of the session. */
static bool has_masks(const char *text)
{
    const struct session *s = &shim_shared.session;
    const char *rel, *rest;
    int layer = s->nmasks ? session_layer_of(s, text, &rel) : -1;
    for (u32 i = 0; i < s->nmasks; i++) {
        if ((int)s->mask[i].layer == layer &&
            path_below(session_text(s, s->mask[i].path), rel, &rest))
            return true;
    }
    return false;
}

static int near_open(struct shim_saved *saved, struct shim_caller *who, struct call *c, int fd,
                     const char *name)
{
    struct overlay *o = &shim_own.overlay;
    const struct shim_link *l = shim_link_of(who, fd);
    u64 flags = (u32)c->arg[c->row->flags];
    struct statx x;
    struct stat st;
    int r = sys_statx(fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_MNT_ID, &x);
    if (r == -ENOENT)
        return result(saved, r);
    size_t len = l ? l->len : PATH_MAX;
    shim_stat_of(&x, &st);
    if (r || !is_ordinary(&st) || S_ISLNK(st.st_mode) ||
        ((flags & O_DIRECTORY) && !S_ISDIR(st.st_mode)) || len + NAME_MAX + 2 > sizeof(c->real))
        return SHIM_GO_ON;
    memcpy(c->real, l->text, len + 1);
    path_push(c->real, sizeof(c->real), &len, name, str_len(name));
    if (!S_ISDIR(st.st_mode))
        overlay_note_opened(&o->vfs, &st);
    else if (!has_masks(c->real))
        shim_keep_plain(who, &x, c->real, len);
    return shim_open_last(saved, who->memory, flags, c->real);
}

/* fstat of such a directory itself. */
static int near_self(struct shim_saved *saved, struct shim_caller *who, struct call *c, int fd)
{
    struct stat st;
    if (c->row->handler != CALL_STAT || fd < 0 || !shim_plain_link(who, c, fd))
        return SHIM_GO_ON;
    shim_stat_of(&who->x, &st);
    memcpy((void *)c->arg[c->row->aux], &st, sizeof(st));
    return result(saved, 0);
}

int shim_near(struct shim_saved *saved, struct shim_caller *who, struct call *c)
{
    const struct sysrow *row = c->row;
    char name[NAME_MAX + 1];
    struct stat st;
    u32 flags = row->handler == CALL_OPEN ? 0 : call_flags(c);
    u32 known = NEAR_FLAGS | (row->handler == CALL_STATX ? AT_STATX_SYNC_TYPE : 0);
    bool serves = row->handler == CALL_STAT || row->handler == CALL_STATX ||
                  row->handler == CALL_OPEN || (row->handler == CALL_ACCESS && !c->arg[row->aux]);
    if (!serves || row->dirfd < 0 || (flags & ~known) || !shim_shared.session.guard ||
        (row->handler == CALL_OPEN && ((u32)c->arg[row->flags] & ~(u32)OPEN_FLAGS)) ||
        are_suspect(shim_own.overlay.facts) || shim_own.overlay.notes->raw_dirs)
        return SHIM_GO_ON;
    int fd = (int)c->arg[row->dirfd];
    const char *said = row->path >= 0 ? (const char *)c->arg[row->path] : NULL;
    if (!said || (!*(const volatile char *)said && (flags & AT_EMPTY_PATH)))
        return near_self(saved, who, c, fd);
    if ((fd < 0 && fd != AT_FDCWD) || !take_name(said, name))
        return SHIM_GO_ON;
    if (!shim_plain_link(who, c, fd))
        return SHIM_GO_ON;
    if (row->handler == CALL_STATX)
        return near_statx(saved, c, fd, name);
    if (row->handler == CALL_OPEN)
        return near_open(saved, who, c, fd, name);
    int r = sys_fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW);
    if (r == -ENOENT)
        return result(saved, r);
    if (r || !is_ordinary(&st))
        return SHIM_GO_ON;
    if (S_ISLNK(st.st_mode) && call_follow(c))
        return SHIM_GO_ON;
    if (row->handler == CALL_STAT)
        memcpy((void *)c->arg[row->aux], &st, sizeof(st));
    return result(saved, 0);
}
