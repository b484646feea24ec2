/* Names just below a directory that the program has open (or stands in), where that directory is a
 * lower's alone: what the kernel says of the name there is what the union shows. Anything out of
 * the ordinary is left to the engine. */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"
#include "binds.h"
#include "call/call.h"
#include <linux/limits.h>
#include <linux/stat.h>
#include <sys/sysmacros.h>

bool shim_has_binds(const struct place *p)
{
    return bind_next_in(&shim_shared.session, p->path, p->len, -1) >= 0;
}

bool shim_is_plain(struct shim_caller *who, struct call *c, int fd, u64 dots[2])
{
    struct shim_own *own = &shim_own;
    struct place *p = &c->place;
    struct shim_link *l = shim_link_of(who, fd);
    const struct statx *x = &who->x;
    dots[0] = dots[1] = 0;
    if (!shim_is_dir(who))
        return false;
    if (shim_seen_plain(who, x))
        return true;
    if (!l || l->kind == LINK_UNKNOWN) {
        int err = walk_fd(c->view, &who->who, fd, p);
        l = shim_link_of(who, fd); /* it is kept now, if it can be */
        if (err < 0 || !l)
            return false;
        bool plain = p->in_union && p->exists && !p->removed && p->fd_layer > 0 &&
                     p->fd_layer == p->node.top && !shim_has_binds(p) &&
                     overlay_lists_plainly(&own->overlay, &p->node, l->dots);
        l->kind = plain ? LINK_PLAIN : LINK_MIXED;
    }
    if (l->kind != LINK_PLAIN)
        return false;
    memcpy(dots, l->dots, sizeof(l->dots));
    if (!dots[0] && !dots[1])
        shim_note_plain(who, makedev(x->stx_dev_major, x->stx_dev_minor), x->stx_ino,
                        x->stx_mnt_id);
    return true;
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

/* What is asked of the kernel: `path` from `fd`. */
struct near {
    int fd;
    const char *path;
    bool proven;      /* the directory is a lower's alone */
    bool stale;       /* but for links on the way, which whoever opens it does not follow */
    bool seen;        /* what is there is an object that shows as it is */
    const char *full; /* its canonical path in the union, where that is known, */
    size_t len;       /* and the length; else 0 */
};

static bool is_name(const char *name, size_t n)
{
    return n && n <= NAME_MAX && !is_dot(name, n) && !is_dotdot(name, n) &&
           !overlay_reserved(&shim_own.overlay, name, n);
}

/* One name below `fd`, copied; false where the engine has to look at it. */
static bool take_name(const char *said, char name[NAME_MAX + 1])
{
    size_t n = 0;
    for (; n <= NAME_MAX; n++) {
        char ch = ((const volatile char *)said)[n];
        name[n] = ch;
        if (!ch)
            break;
        if (ch == '/')
            return false;
    }
    return is_name(name, n);
}

/* The canonical path that was said, if it is one: *full and its length, or 0. */
static size_t whole_path(struct shim_caller *who, struct call *c, int fd, const char *said,
                         const char **full)
{
    long n = who->who.ops.read_str(&who->who, c->said, (u64)said, sizeof(c->said));
    *full = c->said;
    if (n <= 0 || c->said[0] == '/')
        return n < 0 ? 0 : (size_t)n;
    if (walk_base(c->view, &who->who, fd, c->base, sizeof(c->base), &c->place) < 0)
        return 0;
    size_t len = str_len(c->base);
    *full = c->base;
    return path_push(c->base, sizeof(c->base), &len, c->said, (size_t)n) ? 0 : len;
}

/* The real path of one whose directory was seen. */
static bool take_path(struct shim_caller *who, struct call *c, const char *said, struct near *at)
{
    bool fresh;
    const char *full;
    const struct session *s = &shim_shared.session;
    size_t tail = s->mount_len > 1 ? s->mount_len : 0;
    if (s->uid != 0) /* directories of the upper on the way may be closed */
        return false;
    size_t n = whole_path(who, c, at->fd, said, &full);
    size_t dir = (size_t)(path_last(full, n) - full);
    if (dir < tail + 2 || !is_name(full + dir, n - dir) || (s->nbinds && bind_is(s, full, n)))
        return false;
    int layer = shim_seen_dir(who, full, dir - 1, &fresh);
    if (layer < 0 || (!fresh && c->row->handler != CALL_OPEN))
        return false;
    size_t len = s->layer[layer].path_len, rest = n - tail + 1;
    len = len > 1 ? len : 0; /* "/" */
    if (len + rest > sizeof(c->real))
        return false;
    memcpy(c->real, session_layer_path(s, (unsigned)layer), len);
    memcpy(c->real + len, full + tail, rest);
    *at = (struct near){
        .fd = AT_FDCWD, .path = c->real, .proven = true, .stale = !fresh, .full = full, .len = n};
    return true;
}

static bool prove(struct shim_caller *who, struct call *c, struct near *at)
{
    u64 dots[2];
    if (!at->proven) {
        at->proven = shim_is_plain(who, c, at->fd, dots);
        who->memory->unproven = at->proven ? -1 : at->fd;
    }
    return at->proven;
}

/* Whoever opens an object, or asks for more than its stat, mostly comes back to it; for the others
 * the tables would only take memory. */
static bool wants_more(const struct call *c)
{
    return c->row->handler == CALL_OPEN || c->row->handler == CALL_STATX;
}

/* True where what the kernel says of the name (r, and st) is what the union shows. */
static bool is_shown(struct shim_caller *who, struct call *c, struct near *at, int r,
                     const struct stat *st, bool follow)
{
    if (r || (S_ISLNK(st->st_mode) && follow))
        return r == -ENOENT && prove(who, c, at);
    bool ordinary = is_ordinary(st);
    at->seen = (!at->proven || !ordinary) && shim_seen_node(who, st, true);
    if (!at->seen && !prove(who, c, at))
        return false;
    if (at->len && !at->stale && ordinary && !S_ISLNK(st->st_mode) && wants_more(c))
        shim_note_path(who, at->full, at->len, st);
    return ordinary || (at->seen && S_ISREG(st->st_mode) && !st->st_size);
}

#define NEAR_FLAGS ((u32)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))

static int near_stat(struct shim_saved *saved, struct shim_caller *who, struct call *c,
                     struct near *at)
{
    struct stat st;
    int r = sys_fstatat(at->fd, at->path, &st, AT_SYMLINK_NOFOLLOW);
    if (!is_shown(who, c, at, r, &st, call_follow(c)))
        return SHIM_GO_ON;
    if (!r && c->row->handler == CALL_STAT)
        memcpy((void *)c->arg[c->row->aux], &st, sizeof(st));
    return shim_result(saved, r);
}

static int near_statx(struct shim_saved *saved, struct shim_caller *who, struct call *c,
                      struct near *at)
{
    const u32 need = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO | STATX_SIZE | STATX_BLOCKS;
    struct statx x;
    struct stat st;
    int flags = (int)(call_flags(c) | AT_SYMLINK_NOFOLLOW);
    u32 mask = (u32)c->arg[c->row->flags + 1] | need;
    int r = sys_statx(at->fd, at->path, flags, mask, &x);
    if (!r && (x.stx_mask & need) != need)
        return SHIM_GO_ON;
    if (!r)
        shim_stat_of(&x, &st);
    if (!is_shown(who, c, at, r, &st, call_follow(c)))
        return SHIM_GO_ON;
    if (!r)
        memcpy((void *)c->arg[c->row->aux], &x, sizeof(x));
    return shim_result(saved, r);
}

void shim_opened_dir(struct shim_saved *saved)
{
    struct shim_caller who;
    struct statx x;
    shim_caller(&who, shim_memory_of(saved), saved->dir - 1);
    if (shim_gate(SYS_statx, saved->result, (long)"", AT_EMPTY_PATH,
                  STATX_BASIC_STATS | STATX_MNT_ID, (long)&x))
        return;
    u64 dev = makedev(x.stx_dev_major, x.stx_dev_minor);
    shim_note_node(&who, dev, x.stx_ino);
    shim_note_plain(&who, dev, x.stx_ino, x.stx_mnt_id);
}

/* What was found there before is opened without another look. */
static bool open_at_once(struct shim_saved *saved, struct shim_caller *who, const struct near *at,
                         u64 flags)
{
    int found = at->len ? shim_seen_path(who, at->full, at->len) : -1;
    if (found < 0 || (found != SHIM_PATH_DIR && (flags & O_DIRECTORY)))
        return false;
    if (found == SHIM_PATH_DIR)
        saved->dir = who->changes + 1;
    else
        overlay_note_opened_bit(&shim_own.overlay, (unsigned)found >> 1);
    return true;
}

static int near_open(struct shim_saved *saved, struct shim_caller *who, struct call *c,
                     struct near *at)
{
    u64 flags = (u32)c->arg[c->row->flags];
    struct statx x;
    struct stat st;
    if (open_at_once(saved, who, at, flags))
        return shim_open_last(saved, who->memory, flags, at->fd, at->path);
    x.stx_mnt_id = 0;
    int r = sys_statx(at->fd, at->path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_MNT_ID, &x);
    if (!r)
        shim_stat_of(&x, &st);
    if (!is_shown(who, c, at, r, &st, true) || (at->stale && r))
        return SHIM_GO_ON;
    if (r)
        return shim_result(saved, r);
    if (!S_ISDIR(st.st_mode)) {
        if (flags & O_DIRECTORY)
            return SHIM_GO_ON;
        overlay_note_opened(&shim_own.overlay.vfs, &st);
    } else if (at->stale) {
        saved->dir = who->changes + 1;
    } else if (!shim_seen_plain(who, &x)) {
        if (!prove(who, c, at))
            return SHIM_GO_ON;
        shim_note_plain(who, st.st_dev, st.st_ino, x.stx_mnt_id);
    }
    if (!at->stale)
        shim_note_node(who, st.st_dev, st.st_ino);
    return shim_open_last(saved, who->memory, flags, at->fd, at->path);
}

/* What the descriptor itself is open on. */
static int near_self(struct shim_saved *saved, struct shim_caller *who, struct call *c, int fd)
{
    const struct sysrow *row = c->row;
    struct stat st;
    u64 dots[2];
    bool extended = row->handler == CALL_STATX;
    if ((row->handler != CALL_STAT && !extended) || fd < 0)
        return SHIM_GO_ON;
    shim_link_of(who, fd); /* a look at it */
    shim_stat_of(&who->x, &st);
    bool is_dir = S_ISDIR(st.st_mode);
    if (!shim_seen_node(who, &st, is_dir) && !(is_dir && shim_is_plain(who, c, fd, dots)))
        return SHIM_GO_ON;
    if (extended) {
        struct statx x;
        int r = sys_statx(fd, "", (int)call_flags(c), (u32)c->arg[row->flags + 1], &x);
        if (r)
            return SHIM_GO_ON;
        memcpy((void *)c->arg[row->aux], &x, sizeof(x));
    } else {
        memcpy((void *)c->arg[row->aux], &st, sizeof(st));
    }
    return shim_result(saved, 0);
}

void shim_learn(struct shim_caller *who, const struct call *c)
{
    const struct place *p = &c->place;
    const struct vnode *n = &p->node;
    const struct session *s = &shim_shared.session;
    size_t tail = s->mount_len > 1 ? s->mount_len : 0;
    if (!p->in_union || !p->exists || p->removed || c->by_fd || !vnode_exists(n) || n->top == 0 ||
        !s->guard)
        return;
    /* In a merged directory a program may put a marker on it at any time, and an ordinary user be
     * kept from what is there. */
    if (n->dir_layers != layer_bit(n->top))
        return;
    if (wants_more(c) && (S_ISREG(n->st.st_mode) || S_ISDIR(n->st.st_mode)))
        shim_note_node(who, n->st.st_dev, n->st.st_ino);
    if (p->len != tail + 1 + n->len || s->nmasks)
        return;
    size_t dir = (size_t)(path_last(p->path, p->len) - p->path);
    if (dir <= tail + 1)
        return;
    shim_note_dir(who, p->path, dir - 1, n->top);
    if (wants_more(c) &&
        (S_ISDIR(n->st.st_mode) || (S_ISREG(n->st.st_mode) && is_ordinary(&n->st))))
        shim_note_path(who, p->path, p->len, &n->st);
}

/* Of what was found before, by the object's own path. */
static int near_xattr(struct shim_saved *saved, struct call *c, struct near *at)
{
    char said[XATTR_NAME_MAX + 1], name[XATTR_NAME_MAX + 1];
    const u64 *arg = c->arg;
    long n = c->who->ops.read_str(c->who, said, arg[1], sizeof(said));
    long m = n > 0 ? overlay_xattr_to_disk(&shim_own.overlay.vfs, said, name, sizeof(name)) : -1;
    if (n != m)
        return SHIM_GO_ON;
    long r = shim_gate(SYS_lgetxattr, (long)at->path, (long)name, (long)arg[2], (long)arg[3], 0);
    return r >= 0 || r == -ENODATA || r == -EOPNOTSUPP ? shim_result(saved, r) : SHIM_GO_ON;
}

int shim_near(struct shim_saved *saved, struct shim_caller *who, struct call *c)
{
    const struct sysrow *row = c->row;
    char name[NAME_MAX + 1];
    u32 flags = row->handler == CALL_OPEN ? 0 : call_flags(c);
    u32 known = NEAR_FLAGS | (row->handler == CALL_STATX ? AT_STATX_SYNC_TYPE : 0);
    bool serves = row->handler == CALL_STAT || row->handler == CALL_STATX ||
                  row->handler == CALL_OPEN || (row->handler == CALL_ACCESS && !c->arg[row->aux]) ||
                  (row->handler == CALL_GETXATTR && row->nargs == 4);
    if (!serves || (flags & ~known) || !shim_shared.session.guard ||
        (row->handler == CALL_OPEN && ((u32)c->arg[row->flags] & ~(u32)OPEN_FLAGS)) ||
        are_suspect(shim_own.overlay.facts) || shim_own.overlay.notes->raw_dirs)
        return SHIM_GO_ON;
    struct near at = {.fd = row->dirfd >= 0 ? (int)c->arg[row->dirfd] : AT_FDCWD, .path = name};
    const char *said = row->path >= 0 ? (const char *)c->arg[row->path] : NULL;
    char first = said ? *(const volatile char *)said : '\0';
    if (!first)
        return !said || (flags & AT_EMPTY_PATH) ? near_self(saved, who, c, at.fd) : SHIM_GO_ON;
    bool got = first != '/' && row->handler != CALL_GETXATTR && (at.fd >= 0 || at.fd == AT_FDCWD) &&
                       take_name(said, name)
                   ? who->memory->unproven != at.fd || prove(who, c, &at)
                   : take_path(who, c, said, &at);
    if (!got)
        return SHIM_GO_ON;
    if (row->handler == CALL_GETXATTR)
        return shim_seen_path(who, at.full, at.len) < 0 ? SHIM_GO_ON : near_xattr(saved, c, &at);
    if (row->handler == CALL_STATX)
        return near_statx(saved, who, c, &at);
    if (row->handler == CALL_OPEN)
        return near_open(saved, who, c, &at);
    return near_stat(saved, who, c, &at);
}
