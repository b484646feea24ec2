/* What the markers on disk mean, and the names that never show. */
#include "overlay/overlay.h"
#include "base/sys.h"

#define LIST_MAX     1024
#define MARK_MAX     48
#define XATTR_BLOCKS 16 /* of 512 bytes: more than a filesystem takes for the xattrs of a file */

static const char prefixes_text[] = "trusted.overlay.\0user.overlay.\0user.fuseoverlayfs.\0";

bool overlay_wh_names(const struct overlay *o)
{
    return o->s->style == STYLE_FILEPREFIX || o->s->read_wh;
}

bool overlay_reserved(const struct overlay *o, const char *name, size_t len)
{
    if (len < sizeof(WH_PREFIX) - 1 || !str_eq_n(name, WH_PREFIX, sizeof(WH_PREFIX) - 1))
        return false;
    if (overlay_wh_names(o))
        return true;
    return len == sizeof(WORK_NAME) - 1 && str_eq_n(name, WORK_NAME, len);
}

/* The part of an xattr name behind the prefix of an overlay implementation, NULL where it has none.
 */
static const char *mark_of(const char *name)
{
    for (const char *p = prefixes_text; *p; p += str_len(p) + 1) {
        if (str_starts(name, p))
            return name + str_len(p);
    }
    return NULL;
}

/* A program's own PREFIX.X lies on disk as PREFIX.overlay.X, as in the kernel since 6.7: it shows
 * again as said, and means nothing. */
static const char escape[] = "overlay.";

static bool is_escaped(const char *name)
{
    const char *mark = mark_of(name);
    return mark && str_starts(mark, escape);
}

bool overlay_private_xattr(const char *name)
{
    return mark_of(name) && !is_escaped(name);
}

long overlay_xattr_to_disk(struct vfs *fs, const char *name, char *buf, size_t cap)
{
    const char *mark = mark_of(name);
    if (overlay_of(fs)->s->fake && str_eq(name, FAKED_XATTR))
        return -EOPNOTSUPP;
    if (!mark)
        return str_copy(buf, cap, name);
    size_t head = (size_t)(mark - name), len = head + sizeof(escape) - 1 + str_len(mark);
    if (len > XATTR_NAME_MAX || len >= cap)
        return -EOPNOTSUPP;
    memcpy(buf, name, head);
    memcpy(buf + head, escape, sizeof(escape) - 1);
    str_copy(buf + head + sizeof(escape) - 1, cap - head - sizeof(escape) + 1, mark);
    return (long)len;
}

long overlay_xattr_from_disk(struct vfs *fs, const char *name, char *buf, size_t cap)
{
    const char *mark = mark_of(name);
    if (overlay_of(fs)->s->fake && str_eq(name, FAKED_XATTR))
        return 0;
    if (!mark)
        return str_copy(buf, cap, name);
    if (!is_escaped(name))
        return 0;
    size_t head = (size_t)(mark - name);
    if (head >= cap)
        return -ERANGE;
    memcpy(buf, name, head);
    long n = str_copy(buf + head, cap - head, mark + sizeof(escape) - 1);
    return n < 0 ? -ERANGE : (long)head + n;
}

const char *overlay_mark_name(const struct overlay *o, const char *mark, char *buf, size_t cap)
{
    long n = str_copy(buf, cap, o->s->trusted ? "trusted.overlay." : "user.overlay.");
    if (n > 0)
        str_copy(buf + n, cap - (size_t)n, mark);
    return buf;
}

/* The marks of one object. `kernel`: marks that kernel overlayfs leaves and fuss does not, so that
 * the layer was the upper of a mount. */
struct marks {
    bool opaque, mixed, redirect, whiteout, metacopy, kernel;
};

/* Where the object is: a path that ends at it, or (follow) a descriptor's link to it. */
struct marked {
    const char *path;
    bool follow;
};

static long get_mark(const struct marked *at, const char *name, char *value, size_t cap)
{
    return at->follow ? sys_getxattr(at->path, name, value, cap)
                      : sys_lgetxattr(at->path, name, value, cap);
}

static void take_mark(struct marks *m, const struct marked *at, const char *name, const char *mark)
{
    char value[1];
    if (str_eq(mark, "opaque")) {
        /* one byte, as the kernel reads it */
        long n = get_mark(at, name, value, sizeof(value));
        m->opaque |= n == 1 && value[0] == 'y';
        m->mixed |= n == 1 && value[0] == 'x';
    }
    m->redirect |= str_eq(mark, "redirect");
    m->metacopy |= str_eq(mark, "metacopy");
    m->whiteout |= str_eq(mark, "whiteout");
    m->kernel |= str_eq(mark, "origin") || str_eq(mark, "uuid");
}

/* Asks for each mark by its name, where the list is too long to take. */
static NOINLINE void ask_marks(struct marks *m, const struct marked *at)
{
    static const char asked[] = "opaque\0redirect\0metacopy\0whiteout\0origin\0";
    char name[MARK_MAX];
    for (const char *p = prefixes_text; *p; p += str_len(p) + 1) {
        for (const char *mark = asked; *mark; mark += str_len(mark) + 1) {
            size_t n = str_len(p);
            memcpy(name, p, n);
            memcpy(name + n, mark, str_len(mark) + 1);
            if (get_mark(at, name, NULL, 0) >= 0)
                take_mark(m, at, name, mark);
        }
    }
}

static int read_marks_at(const struct marked *at, struct marks *m)
{
    char list[LIST_MAX];
    memset(m, 0, sizeof(*m));
    long n = at->follow ? sys_listxattr(at->path, list, sizeof(list))
                        : SYS3(SYS_llistxattr, at->path, list, sizeof(list));
    if (n == -ERANGE)
        ask_marks(m, at);
    for (long i = 0; i < n; i += (long)str_len(list + i) + 1) {
        const char *mark = mark_of(list + i);
        if (mark && !str_starts(mark, escape))
            take_mark(m, at, list + i, mark);
    }
    return n < 0 && n != -ERANGE && n != -EOPNOTSUPP ? (int)n : 0;
}

static bool has_layer(const u64 set[2], unsigned layer)
{
    return __atomic_load_n(&set[layer / 64], __ATOMIC_ACQUIRE) >> layer % 64 & 1;
}

static void add_layer(const struct overlay *o, u64 set[2], unsigned layer)
{
    if (o->only_reads && !has_layer(set, layer))
        o->unable();
    if (!o->only_reads)
        __atomic_or_fetch(&set[layer / 64], (u64)1 << layer % 64, __ATOMIC_SEQ_CST);
}

/* The marks of a file or directory, by name: nothing needs to be opened. */
static int read_marks(struct overlay *o, unsigned layer, const char *rel, struct marks *m)
{
    char path[PATH_MAX];
    struct marked at = {.path = path};
    int r = overlay_name(o, layer, rel, path);
    if (r == 0 && (r = read_marks_at(&at, m)) != -EACCES)
        return r;
    int fd = overlay_open_in(o, layer, rel, 0); /* too long a path that way, or closed */
    if (fd < 0)
        return fd;
    sys_fd_path(path, fd);
    at.follow = true;
    r = read_marks_at(&at, m);
    sys_close(fd);
    return r;
}

static int has_opaque_name(struct overlay *o, unsigned layer, const char *rel)
{
    char path[VPATH_MAX];
    struct stat st;
    size_t len = 0;
    if (!overlay_wh_names(o))
        return 0;
    path[0] = '\0';
    if (path_push(path, sizeof(path), &len, rel, str_len(rel)) ||
        path_push(path, sizeof(path), &len, OPAQUE_NAME, sizeof(OPAQUE_NAME) - 1))
        return 0;
    return overlay_stat_in(o, layer, path, &st) == 0;
}

bool overlay_is_whiteout(struct overlay *o, unsigned layer, const char *rel, const struct stat *st)
{
    struct marks m;
    if (is_whiteout_stat(st))
        return true;
    if (!S_ISREG(st->st_mode) || st->st_size)
        return false;
    return read_marks(o, layer, rel, &m) == 0 && m.whiteout;
}

/* Such a file has a size and no data blocks; a block of its own may hold its xattrs, which is
 * looked into only where the layer has been a kernel mount's. */
bool overlay_is_metacopy(struct overlay *o, unsigned layer, const char *rel, const struct stat *st)
{
    struct marks m;
    bool suspect = has_layer(o->facts->kernel, layer);
    if (!S_ISREG(st->st_mode) || !st->st_size)
        return false;
    if (st->st_blocks * 512 >= st->st_size && !(suspect && st->st_blocks <= XATTR_BLOCKS))
        return false;
    return read_marks(o, layer, rel, &m) == 0 && m.metacopy;
}

int overlay_is_opaque(struct overlay *o, unsigned layer, const char *rel)
{
    struct marks m;
    int r = read_marks(o, layer, rel, &m);
    if (r < 0)
        return r;
    if (m.mixed)
        add_layer(o, o->facts->mixed, layer);
    if (m.kernel)
        add_layer(o, o->facts->kernel, layer);
    if (m.redirect)
        return -EIO;
    return m.opaque || has_opaque_name(o, layer, rel);
}

bool overlay_is_mixed(struct overlay *o, unsigned layer, const char *rel)
{
    struct marks m;
    if (!has_layer(o->facts->mixed, layer))
        return false;
    return read_marks(o, layer, rel, &m) == 0 && m.mixed;
}

/* One word says all of a directory, so that it needs no lock; the lowest bit is left free. */
static u64 opaque_tag(unsigned layer, const struct stat *st)
{
    u64 h = (st->st_ino + layer) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29 ^ st->st_dev << 17) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 32) * 0x94d049bb133111ebu;
    return ((h ^ h >> 31) & ~(u64)1) | 2;
}

#define FACT_WAYS 8 /* places that a word may have */

static const u64 *fact_places(const u64 *table, unsigned max, u64 tag)
{
    return &table[tag >> 32 & (max - 1) & ~(u64)(FACT_WAYS - 1)];
}

u64 overlay_fact(const u64 *table, unsigned max, u64 tag)
{
    const u64 *place = fact_places(table, max, tag);
    for (unsigned i = 0; i < FACT_WAYS; i++) {
        u64 word = __atomic_load_n(&place[i], __ATOMIC_ACQUIRE);
        if ((word & ~(u64)1) == tag)
            return word;
    }
    return 0;
}

void overlay_keep_fact(u64 *table, unsigned max, u64 word)
{
    u64 *place = (u64 *)fact_places(table, max, word);
    unsigned to = word >> 29 & (FACT_WAYS - 1);
    for (unsigned i = 0; i < FACT_WAYS; i++) {
        if (!__atomic_load_n(&place[i], __ATOMIC_ACQUIRE)) {
            to = i;
            break;
        }
    }
    __atomic_store_n(&place[to], word, __ATOMIC_RELEASE);
}

int overlay_lower_opaque(struct overlay *o, unsigned layer, const char *dir, const char *rel,
                         const struct stat *st)
{
    u64 tag = opaque_tag(layer, st);
    u64 known = overlay_fact(o->facts->opaque, OPAQUE_MAX, tag);
    if (known)
        return known & 1;
    if (o->only_reads)
        overlay_ask_once(o, tag);
    int r = overlay_is_opaque(o, layer, rel);
    if (r == 0)
        r = overlay_has_wh(o, layer, dir, path_last(rel, str_len(rel)));
    if (r >= 0 && !o->only_reads)
        overlay_keep_fact(o->facts->opaque, OPAQUE_MAX, tag | (r != 0));
    return r;
}

int overlay_has_wh(struct overlay *o, unsigned layer, const char *dir_rel, const char *name)
{
    char path[VPATH_MAX];
    struct stat st;
    size_t len = 0, n = str_len(name), head = sizeof(WH_PREFIX) - 1;
    if (!overlay_wh_names(o) || n + head > NAME_MAX)
        return 0;
    path[0] = '\0';
    if (path_push(path, sizeof(path), &len, dir_rel, str_len(dir_rel)) ||
        path_push(path, sizeof(path), &len, WH_PREFIX, head) || len + n >= sizeof(path))
        return 0;
    memcpy(path + len, name, n + 1);
    return overlay_stat_in(o, layer, path, &st) == 0;
}
