/* Fake ids: whose an object is and what mode it has, as far as the session's user cannot give it
 * that. His own objects are shown as the fake user's; for everything else there is an xattr of the
 * form that podman and fuse-overlayfs have ("uid:gid:mode", octal, with ":char-MAJOR-MINOR" or
 * ":block-..." for a device, which then is an empty file). The real mode goes on letting the owner
 * in. Symlinks, fifos and sockets carry no such xattr (xattr(7)): whose they are is known while the
 * session lasts, afterwards they are the fake user's own. */
#include "overlay/change.h"
#include "base/str.h"
#include "vfs/access.h"
#include <sys/sysmacros.h>

#define KEEP ((u32)-1)

/* A number at *at, which is moved behind it. */
static bool number(const char **at, unsigned base, u32 *out)
{
    u64 n = 0;
    const char *p = *at;
    for (; *p >= '0' && *p < (char)('0' + (int)base) && n <= UINT32_MAX; p++)
        n = n * base + (u64)(*p - '0');
    if (p == *at || n > UINT32_MAX)
        return false;
    *at = p;
    *out = (u32)n;
    return true;
}

bool faked_parse(const char *text, struct stat *st)
{
    u32 uid, gid, mode, major = 0, minor = 0;
    mode_t kind = st->st_mode & S_IFMT;
    if (!number(&text, 10, &uid) || *text++ != ':' || !number(&text, 10, &gid) || *text++ != ':' ||
        !number(&text, 8, &mode) || (*text && *text++ != ':'))
        return false;
    bool block = str_starts(text, "block-");
    if (block || str_starts(text, "char-")) {
        text += block ? sizeof("block-") - 1 : sizeof("char-") - 1;
        kind = block ? S_IFBLK : S_IFCHR;
        if (!number(&text, 10, &major) || *text++ != '-' || !number(&text, 10, &minor) || *text)
            return false;
    }
    st->st_uid = uid;
    st->st_gid = gid;
    st->st_mode = kind | (mode & 07777);
    if (kind == S_IFBLK || kind == S_IFCHR)
        st->st_rdev = makedev(major, minor);
    return true;
}

static size_t put_number(char *buf, u32 n, unsigned base)
{
    char digits[16];
    size_t len = 0, i;
    do
        digits[len++] = (char)('0' + n % base);
    while ((n /= base) != 0);
    for (i = 0; i < len; i++)
        buf[i] = digits[len - 1 - i];
    return len;
}

size_t faked_format(const struct stat *st, char buf[FAKED_TEXT])
{
    size_t n = put_number(buf, st->st_uid, 10);
    buf[n++] = ':';
    n += put_number(buf + n, st->st_gid, 10);
    buf[n++] = ':';
    buf[n++] = '0';
    n += put_number(buf + n, st->st_mode & 07777, 8);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        n += (size_t)str_copy(buf + n, FAKED_TEXT - n, S_ISCHR(st->st_mode) ? ":char-" : ":block-");
        n += put_number(buf + n, major(st->st_rdev), 10);
        buf[n++] = '-';
        n += put_number(buf + n, minor(st->st_rdev), 10);
    }
    return n;
}

static bool carries(mode_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode);
}

/* -- what carries no xattr: a table by number, of this process alone ---------------------- */

#define OWNERS_MAX 8192

struct faked_owner {
    u64 dev, ino; /* 0 = free */
    u32 uid, gid;
};

static struct faked_owner *owner_slot(struct overlay *o, const struct stat *real)
{
    u64 h = (real->st_ino ^ real->st_dev << 7) * 0x9e3779b97f4a7c15u >> 32;
    for (unsigned i = 0; i < OWNERS_MAX; i++) {
        struct faked_owner *e = &o->owners[(h + i) % OWNERS_MAX];
        if (!e->ino || (e->ino == real->st_ino && e->dev == real->st_dev))
            return e;
    }
    return NULL;
}

static void show_owner(struct overlay *o, const struct stat *real, struct stat *st)
{
    const struct faked_owner *e = o->owners ? owner_slot(o, real) : NULL;
    if (!e || !e->ino)
        return;
    st->st_uid = e->uid;
    st->st_gid = e->gid;
}

void faked_forget(struct overlay *o)
{
    if (o->owners)
        sys_unmap(o->owners, OWNERS_MAX * sizeof(*o->owners));
    o->owners = NULL;
}

/* A full table forgets: the object is the fake user's. */
static void note_owner(struct overlay *o, const struct stat *real, const struct stat *shown)
{
    if (!o->owners)
        o->owners = sys_map(OWNERS_MAX * sizeof(*o->owners));
    struct faked_owner *e = o->owners ? owner_slot(o, real) : NULL;
    if (e)
        *e = (struct faked_owner){real->st_dev, real->st_ino, shown->st_uid, shown->st_gid};
}

/* -- showing ------------------------------------------------------------------------------ */

/* Makes of an object's stat what it shows; `path` leads to it, `real` is its real one. */
static void show(struct overlay *o, const char *path, bool follow, const struct stat *real,
                 struct stat *st)
{
    char text[FAKED_TEXT];
    session_show_ids(o->s, st);
    if (!carries(st->st_mode)) {
        show_owner(o, real, st);
        return;
    }
    long n = follow ? sys_getxattr(path, FAKED_XATTR, text, sizeof(text) - 1)
                    : sys_lgetxattr(path, FAKED_XATTR, text, sizeof(text) - 1);
    if (n <= 0)
        return;
    text[n] = '\0';
    faked_parse(text, st);
}

static void show_fd(struct overlay *o, int fd, struct stat *st)
{
    char path[SYS_FD_PATH];
    struct stat real = *st;
    if (!carries(st->st_mode))
        sys_fstat(fd, &real); /* of st the identity may be translated */
    show(o, sys_fd_path(path, fd), true, &real, st);
}

static void show_node(struct overlay *o, const struct vnode *node, struct stat *st)
{
    char path[PATH_MAX];
    if (overlay_name(o, node->top, node->path, path) == 0) {
        show(o, path, false, &node->st, st);
        return;
    }
    int fd = overlay_grab(&o->vfs, node);
    if (fd < 0) {
        session_show_ids(o->s, st);
        return;
    }
    show_fd(o, fd, st);
    sys_close(fd);
}

int faked_getattr(struct vfs *fs, const struct vnode *node, struct stat *st)
{
    int r = overlay_getattr(fs, node, st);
    if (r == 0)
        show_node(overlay_of(fs), node, st);
    return r;
}

int faked_identify(struct vfs *fs, int fd, struct stat *st)
{
    int r = overlay_identify(fs, fd, st);
    if (r == 0)
        show_fd(overlay_of(fs), fd, st);
    return r;
}

const struct stat *overlay_judged(struct vfs *fs, const struct vnode *node, struct stat *buf)
{
    struct overlay *o = overlay_of(fs);
    if (!o->s->fake)
        return &node->st;
    *buf = node->st;
    show_node(o, node, buf);
    return buf;
}

/* -- recording ---------------------------------------------------------------------------- */

static u32 owners_bits(mode_t mode)
{
    return S_ISDIR(mode) ? 0700 : 0600;
}

static u32 real_mode(const struct stat *real, const struct stat *shown)
{
    u32 mode = shown->st_mode & (S_ISDIR(real->st_mode) ? 03777 : 0777);
    return S_ISREG(real->st_mode) && !S_ISREG(shown->st_mode) ? 0600
                                                              : mode | owners_bits(real->st_mode);
}

/* Gives an object of the upper, which is the session's user's, the ids and mode that `shown` says.
 */
static int put(struct overlay *o, int fd, const struct stat *real, const struct stat *shown)
{
    char path[SYS_FD_PATH], text[FAKED_TEXT];
    u32 mode = real_mode(real, shown), now = real->st_mode & 07777;
    int r = 0;
    sys_fd_path(path, fd);
    if (!carries(real->st_mode)) {
        note_owner(o, real, shown);
        if (!S_ISLNK(real->st_mode) && (shown->st_mode & 07777) != now)
            r = sys_fchmodat(AT_FDCWD, path, shown->st_mode & 07777);
        return r;
    }
    /* The xattr is for those only who may write. */
    if ((now & owners_bits(real->st_mode)) != owners_bits(real->st_mode)) {
        now |= owners_bits(real->st_mode);
        r = sys_fchmodat(AT_FDCWD, path, now);
    }
    if (r == 0 &&
        (shown->st_uid != o->s->fake_uid || shown->st_gid != o->s->fake_gid ||
         mode != (shown->st_mode & 07777) || (shown->st_mode & S_IFMT) != (real->st_mode & S_IFMT)))
        r = sys_setxattr(path, FAKED_XATTR, text, faked_format(shown, text), 0);
    else if (r == 0)
        r = sys_removexattr(path, FAKED_XATTR);
    if (r == -ENODATA || r == -EOPNOTSUPP) /* a filesystem without them has the mode only */
        r = 0;
    if (r == 0 && mode != now)
        r = sys_fchmodat(AT_FDCWD, path, mode);
    return r;
}

int faked_record(struct vfs *fs, int fd, u32 uid, u32 gid, u32 mode)
{
    struct overlay *o = overlay_of(fs);
    struct stat real, shown;
    int r = sys_fstat(fd, &real);
    if (r < 0)
        return r;
    shown = real;
    show_fd(o, fd, &shown);
    if (uid != KEEP)
        shown.st_uid = uid;
    if (gid != KEEP)
        shown.st_gid = gid;
    if (mode != KEEP)
        shown.st_mode = (shown.st_mode & S_IFMT) | (mode & 07777);
    return put(o, fd, &real, &shown);
}

int faked_copied(struct overlay *o, int fd, const char *from, const struct stat *low)
{
    struct stat real, shown = *low;
    int r = sys_fstat(fd, &real);
    if (r < 0)
        return r;
    show(o, from, true, low, &shown);
    return put(o, fd, &real, &shown);
}

int faked_made(struct overlay *o, struct caller *who, const struct vnode *dir, int at,
               const char *name, const struct making *m)
{
    const struct cred *cred = who->ops.cred(who);
    struct stat above, real = {0}, shown;
    faked_getattr(&o->vfs, dir, &above);
    u32 uid = cred->fsuid, gid = above.st_mode & S_ISGID ? above.st_gid : cred->fsgid;
    bool device = m && m->kind == MAKE_NODE && (S_ISCHR(m->mode) || S_ISBLK(m->mode));
    if (m && m->kind == MAKE_LINK)
        return 0;
    bool own = uid == o->s->fake_uid && gid == o->s->fake_gid;
    if (own && !device && !o->owners) /* an older object's number may come again */
        return 0;
    int fd = sys_openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int r = sys_fstat(fd, &real);
    if (r == 0 && own && !device && carries(real.st_mode)) {
        sys_close(fd);
        return 0;
    }
    shown = real;
    shown.st_uid = uid;
    shown.st_gid = gid;
    if (device) {
        shown.st_mode = (m->mode & S_IFMT) | (real.st_mode & 0777);
        shown.st_rdev = m->dev;
    } else if (S_ISDIR(real.st_mode)) {
        shown.st_mode |= above.st_mode & S_ISGID;
    }
    if (r == 0)
        r = put(o, fd, &real, &shown);
    sys_close(fd);
    return r;
}
