/* Which (st_dev, st_ino) an object shows: that of the lower object it was copied from, for good. */
#include "overlay/overlay.h"
#include "base/sys.h"

struct origin_mark {
    u8 format;
    u64 dev, ino;
} __attribute__((packed));

#define FORMAT_SHOWN 1 /* the copy shows the identity of its original */
#define FORMAT_COPY  2 /* of a file with more names, which go on showing it: only whence it came */
#define MARK_MAX     48

/* Readers beside the one writer: what was read while the table changed is not used. */
static u64 origin_reading(const struct overlay *o)
{
    return __atomic_load_n(&o->facts->origin_changes, __ATOMIC_ACQUIRE);
}

static bool origin_read(const struct overlay *o, u64 began)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return !(began & 1) && origin_reading(o) == began;
}

static void origin_changing(struct overlay *o)
{
    __atomic_add_fetch(&o->facts->origin_changes, 1, __ATOMIC_SEQ_CST);
}

static struct origin_entry *slot_of(struct overlay *o, u64 dev, u64 ino, bool free_too)
{
    u64 h = (ino ^ dev << 7) * 0x9e3779b97f4a7c15u >> 32;
    struct origin_entry *dropped = NULL;
    for (unsigned i = 0; i < ORIGINS_MAX; i++) {
        struct origin_entry *e = &o->facts->origin[(h + i) % ORIGINS_MAX];
        if (e->ino == ino && e->dev == dev)
            return e;
        if (!e->ino && !e->dev)
            return !free_too ? NULL : dropped ? dropped : e;
        if ((!e->shown_ino || e->gone) && !dropped)
            dropped = e;
    }
    return free_too ? dropped : NULL;
}

static bool carries_mark(mode_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode);
}

static bool in_table(struct overlay *o, struct stat *st)
{
    u64 began = origin_reading(o);
    struct origin_entry *e = slot_of(o, st->st_dev, st->st_ino, false);
    struct origin_entry seen = {0};
    if (e)
        seen = *e;
    if (o->by_path && !origin_read(o, began))
        o->unable();
    if (!seen.shown_ino || seen.copy || (seen.gone && st->st_nlink > 0))
        return false;
    st->st_dev = seen.shown_dev;
    st->st_ino = seen.shown_ino;
    return true;
}

/* Reads the mark of an upper object. `path` ends at the object, or (follow) is the link of a
 * descriptor on it. */
static bool read_mark(struct overlay *o, const char *path, bool follow, struct origin_mark *mark)
{
    char name[MARK_MAX];
    overlay_mark_name(o, "fuss.origin", name, sizeof(name));
    long n = follow ? sys_getxattr(path, name, mark, sizeof(*mark))
                    : sys_lgetxattr(path, name, mark, sizeof(*mark));
    return n == sizeof(*mark);
}

static void remember(struct overlay *o, const struct stat *up, u64 dev, u64 ino, bool copy)
{
    struct origin_entry *e = slot_of(o, up->st_dev, up->st_ino, true);
    if (!e)
        return;
    if (o->only_reads) {
        o->unable();
        return;
    }
    origin_changing(o);
    *e = (struct origin_entry){
        .dev = up->st_dev, .ino = up->st_ino, .shown_dev = dev, .shown_ino = ino, .copy = copy};
    origin_changing(o);
}

/* The mark of an object that its owner, an ordinary user, may not read: it is made readable for
 * once, and what it says goes to the session's table. */
static bool read_closed(struct overlay *o, const char *path, bool follow, const struct stat *st,
                        struct origin_mark *mark)
{
    char link[SYS_FD_PATH];
    struct stat now; /* somebody may have opened it for longer already */
    if (o->s->uid == 0 || st->st_uid != o->s->uid || (st->st_mode & 0400))
        return false;
    if (o->by_path) {
        o->unable();
        return false;
    }
    int fd = sys_openat(AT_FDCWD, path, O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), 0);
    if (fd < 0)
        return false;
    sys_fd_path(link, fd);
    bool found =
        sys_fstat(fd, &now) == 0 && sys_fchmodat(AT_FDCWD, link, (now.st_mode & 07777) | 0400) == 0;
    if (found) {
        found = read_mark(o, link, true, mark);
        sys_fchmodat(AT_FDCWD, link, now.st_mode & 07777);
    }
    sys_close(fd);
    if (found)
        remember(o, st, mark->dev, mark->ino, mark->format != FORMAT_SHOWN);
    return found;
}

/* Puts the origin of an upper object into st. */
static bool find_origin(struct overlay *o, const char *path, bool follow, struct stat *st)
{
    struct origin_mark mark;
    if (!carries_mark(st->st_mode))
        return in_table(o, st);
    if (!read_mark(o, path, follow, &mark)) {
        if (in_table(o, st))
            return true;
        if (!read_closed(o, path, follow, st, &mark))
            return false;
    }
    if (mark.format != FORMAT_SHOWN)
        return false;
    st->st_dev = mark.dev;
    st->st_ino = mark.ino;
    return true;
}

bool overlay_entry_origin(struct overlay *o, int dir, const char *name, struct stat *st)
{
    char path[SYS_FD_PATH + NAME_MAX + 2];
    struct origin_mark mark;
    struct stat real;
    sys_fd_path(path, dir);
    size_t len = str_len(path);
    if (path_push(path, sizeof(path), &len, name, str_len(name)))
        return false;
    st->st_nlink = 1; /* it has a name */
    if (find_origin(o, path, false, st))
        return true;
    if (o->s->uid == 0 || !carries_mark(st->st_mode) ||
        sys_fstatat(AT_FDCWD, path, &real, AT_SYMLINK_NOFOLLOW) < 0 ||
        !read_closed(o, path, false, &real, &mark) || mark.format != FORMAT_SHOWN)
        return false;
    st->st_dev = mark.dev;
    st->st_ino = mark.ino;
    return true;
}

bool overlay_has_origin(struct overlay *o, int fd)
{
    char path[SYS_FD_PATH];
    struct stat st = {0};
    return sys_fstat(fd, &st) == 0 && find_origin(o, sys_fd_path(path, fd), true, &st);
}

void overlay_show_identity(struct overlay *o, int fd, struct stat *st)
{
    char path[SYS_FD_PATH], name[MARK_MAX];
    struct origin_mark mark;
    if (o->by_path && S_ISREG(st->st_mode)) { /* open for more than its place, mostly: shorter */
        overlay_mark_name(o, "fuss.origin", name, sizeof(name));
        if (sys_fgetxattr(fd, name, &mark, sizeof(mark)) == -ENODATA) {
            in_table(o, st);
            return;
        }
    }
    if (find_origin(o, sys_fd_path(path, fd), true, st) && S_ISDIR(st->st_mode))
        st->st_nlink = 1;
}

/* The identity of an object whose top is in the upper. */
static bool upper_origin(struct overlay *o, const struct vnode *node, struct stat *st)
{
    char path[PATH_MAX];
    if (overlay_name(o, 0, node->path, path) == 0)
        return find_origin(o, path, false, st);
    int fd = overlay_open_in(o, 0, node->path, 0);
    if (fd < 0)
        return false;
    bool found = find_origin(o, sys_fd_path(path, fd), true, st);
    sys_close(fd);
    return found;
}

int overlay_getattr(struct vfs *fs, const struct vnode *node, struct stat *st)
{
    struct overlay *o = overlay_of(fs);
    if (!vnode_exists(node))
        return -ENOENT;
    *st = node->st;
    unsigned low = overlay_top_lower(o, node);
    if (low && (node->layers & (node->layers - 1)))
        st->st_nlink = 1; /* merged */
    if (node->top != 0)
        return 0;
    if (node->len == 0)
        return 0; /* never copied up: itself from the start, as for the kernel */
    if (low) {
        struct stat lst;
        char text[PATH_MAX];
        const char *path;
        int dir = overlay_at(o, low, node->path, text, &path);
        int r = dir == -ENAMETOOLONG ? dir : sys_fstatat(dir, path, &lst, AT_SYMLINK_NOFOLLOW);
        if (r == 0 && S_ISDIR(lst.st_mode)) {
            st->st_dev = lst.st_dev;
            st->st_ino = lst.st_ino;
            return 0;
        }
    }
    if (upper_origin(o, node, st) && S_ISDIR(st->st_mode))
        st->st_nlink = 1;
    return 0;
}

bool overlay_copied_from(struct overlay *o, int fd, struct stat *low)
{
    char path[SYS_FD_PATH];
    struct origin_mark mark;
    struct stat st = {0};
    if (sys_fstat(fd, &st) < 0)
        return false;
    *low = st;
    if (carries_mark(st.st_mode) && read_mark(o, sys_fd_path(path, fd), true, &mark)) {
        low->st_dev = mark.dev;
        low->st_ino = mark.ino;
        return true;
    }
    const struct origin_entry *e = slot_of(o, st.st_dev, st.st_ino, false);
    if (!e || e->gone || !e->shown_ino)
        return false;
    low->st_dev = e->shown_dev;
    low->st_ino = e->shown_ino;
    return true;
}

bool overlay_copy_of(struct overlay *o, const struct vnode *node, const struct stat *low)
{
    char path[SYS_FD_PATH];
    struct origin_mark mark;
    if (carries_mark(node->st.st_mode)) {
        int fd = overlay_open_in(o, 0, node->path, 0);
        if (fd < 0)
            return false;
        sys_fd_path(path, fd);
        bool marked = read_mark(o, path, true, &mark) ||
                      (!slot_of(o, node->st.st_dev, node->st.st_ino, false) &&
                       read_closed(o, path, true, &node->st, &mark));
        sys_close(fd);
        if (marked)
            return mark.dev == low->st_dev && mark.ino == low->st_ino;
    }
    const struct origin_entry *e = slot_of(o, node->st.st_dev, node->st.st_ino, false);
    return e && !e->gone && e->shown_ino == low->st_ino && e->shown_dev == low->st_dev;
}

/* The layer that the descriptor's object lies in, -1 where it is none of ours, -ENAMETOOLONG where
 * the kernel cannot say. */
static int layer_of_fd(struct overlay *o, int fd, char *real, size_t cap, const char **rel)
{
    char link[SYS_FD_PATH];
    long n = sys_readlinkat(AT_FDCWD, sys_fd_path(link, fd), real, cap - 1);
    if (n == -ENAMETOOLONG)
        return (int)n;
    if (n <= 0 || real[0] != '/')
        return -1;
    real[n] = '\0';
    return session_layer_of(o->s, real, rel);
}

int overlay_identify(struct vfs *fs, int fd, struct stat *st)
{
    struct overlay *o = overlay_of(fs);
    const struct session_layer *up = &o->s->layer[0];
    bool in_upper = up->in_use && st->st_dev == up->dev, dir = S_ISDIR(st->st_mode);
    struct stat shown = *st;
    char real[PATH_MAX];
    const char *rel;
    if (!dir) {
        if (!in_upper)
            return 0;
        overlay_show_identity(o, fd, &shown);
        if (dev_ino_equal(&shown, st))
            return 0;
    }
    /* A lower may be an upper of an earlier session, with marks of its own: those do not count. */
    int layer = layer_of_fd(o, fd, real, sizeof(real), &rel);
    if (layer == -ENAMETOOLONG && dir && in_upper)
        overlay_show_identity(o, fd, &shown);
    else if (layer != -ENAMETOOLONG && (layer < 0 || (!dir && layer > 0)))
        return 0;
    if (dir && layer >= 0) {
        struct vnode node;
        if (overlay_reverse(fs, (unsigned)layer, rel, st, &node) == 0) {
            int r = overlay_getattr(fs, &node, &shown);
            if (r < 0)
                return r;
        } else if (layer == 0) {
            overlay_show_identity(o, fd, &shown);
        }
        st->st_nlink = shown.st_nlink;
    }
    st->st_dev = shown.st_dev;
    st->st_ino = shown.st_ino;
    return 0;
}

int overlay_set_origin(struct overlay *o, int fd, const struct stat *up, const struct stat *low)
{
    char path[SYS_FD_PATH], name[MARK_MAX];
    bool shown = S_ISDIR(low->st_mode) || low->st_nlink <= 1;
    if (carries_mark(up->st_mode)) {
        struct origin_mark mark = {
            .format = shown ? FORMAT_SHOWN : FORMAT_COPY, .dev = low->st_dev, .ino = low->st_ino};
        overlay_mark_name(o, "fuss.origin", name, sizeof(name));
        int r = sys_setxattr(sys_fd_path(path, fd), name, &mark, sizeof(mark), 0);
        if (r == 0 || r == -ENOSPC || r == -EDQUOT || r == -EIO)
            return r;
    }
    remember(o, up, low->st_dev, low->st_ino, !shown);
    return 0;
}

/* What is named by the table alone (never an O_TMPFILE) and has no name any more is the removed
 * one, until another of its number is removed too. */
void overlay_drop_origin(struct overlay *o, const struct stat *up)
{
    struct origin_entry *e = slot_of(o, up->st_dev, up->st_ino, false);
    if (!e)
        return;
    origin_changing(o);
    if (carries_mark(up->st_mode) || e->copy || e->gone)
        e->shown_dev = e->shown_ino = 0; /* the key stays, so that the probe run behind it does */
    e->gone = true;
    origin_changing(o);
}

bool overlay_is_noted(struct overlay *o, const struct stat *up)
{
    u64 began = origin_reading(o);
    bool noted = slot_of(o, up->st_dev, up->st_ino, false) != NULL;
    return noted || !origin_read(o, began);
}

unsigned overlay_opened_bit(const struct stat *low)
{
    return (unsigned)((low->st_ino ^ low->st_dev << 7) * 0x9e3779b97f4a7c15u >> 40) % COPIED_BITS;
}

static u64 *hash_word(u64 *words, const struct stat *low, u64 *bit)
{
    unsigned h = overlay_opened_bit(low);
    *bit = (u64)1 << (h % 64);
    return &words[h / 64];
}

void overlay_note_opened(struct vfs *fs, const struct stat *low)
{
    overlay_note_opened_bit(overlay_of(fs), overlay_opened_bit(low));
}

void overlay_note_opened_bit(struct overlay *o, unsigned n)
{
    u64 *word = &o->notes->opened[n / 64], bit = (u64)1 << (n % 64);
    if (!(__atomic_load_n(word, __ATOMIC_ACQUIRE) & bit))
        __atomic_or_fetch(word, bit, __ATOMIC_SEQ_CST);
}

bool overlay_was_opened(struct overlay *o, const struct stat *low)
{
    u64 bit;
    u64 *word = hash_word(o->notes->opened, low, &bit);
    return (*word & bit) != 0;
}

void overlay_note_copied(struct overlay *o, const struct stat *low)
{
    u64 bit;
    u64 *word = hash_word(o->facts->copied, low, &bit);
    __atomic_or_fetch(word, bit, __ATOMIC_SEQ_CST);
    word = hash_word(o->notes->opened, low, &bit);
    if (__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit)
        __atomic_add_fetch(&o->facts->stale, 1, __ATOMIC_SEQ_CST);
}

bool overlay_replaced(struct vfs *fs, const struct stat *st)
{
    u64 bit;
    u64 *word = hash_word(overlay_of(fs)->facts->copied, st, &bit);
    return (__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit) != 0;
}
