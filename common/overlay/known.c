/* Directories by path, with the layers that are merged there, and names, with the lower that has
 * them: what was found out a moment ago need not be asked of each layer and for each part of a path
 * again. Whatever the session changes in more than one step voids all of it (facts->changes); what
 * somebody else does to a lower's directories is noticed STEADY_TICKS later, and where there are
 * several lowers half a second later at most, then for names too. */
#include "overlay/overlay.h"
#include "overlay/index.h"
#include "base/sys.h"
#include "vfs/steady.h"
#include <time.h>

#define YOUNG      2                   /* seconds */
#define SPAN_MAX   (16 * STEADY_TICKS) /* half a second */
#define LISTED_MAX 4 /* buffers of a directory that are looked through for markers */
#define PLACES     4 /* that an entry may have */
#define FEW_DIRS   128
#define FEW_NAMES  256

/* Threads of a program share the table: an entry of two halves is none. */
static u64 check_of(const struct known_dir *k)
{
    u64 h =
        k->hash ^ k->changes * 0x9e3779b97f4a7c15u ^ (k->until | (u64)k->span << 32) * 0x2545f491;
    for (unsigned i = 0; i < 2; i++)
        h = (h ^ k->layers[i] ^ k->marked[i] << 1 ^ k->marked[i] >> 63) * 0xbf58476d1ce4e5b9u;
    return h | 1;
}

/* Ticks from now; none at all where that is no time this table can name. */
static u32 left_of(u32 until)
{
    u32 left = until - steady_now();
    return left <= SPAN_MAX ? left : 0;
}

/* The entry of a path, or the one that shall make room for it: that which ends first. */
static struct known_dir *entry_of(struct overlay *o, u64 hash)
{
    u32 room = table_room(o->ndirs, FEW_DIRS, KNOWN_DIRS);
    struct known_dir *set = &o->known[hash % room & ~(u64)(PLACES - 1)], *e = set;
    for (unsigned i = 0; i < PLACES; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (left_of(set[i].until) < left_of(e->until))
            e = &set[i];
    }
    return e;
}

bool overlay_known(struct overlay *o, const char *path, size_t len, u64 changes,
                   struct known_dir *out)
{
    u64 hash = index_hash(o->index, path, len);
    *out = *entry_of(o, hash);
    return out->check == check_of(out) && out->hash == hash && out->changes == changes &&
           !(changes & 1) && left_of(out->until) > 0;
}

/* A directory of several lowers that is again what it was will be asked about less often: with more
 * directories than can be asked within STEADY_TICKS, asking would be all that is done. */
static u32 span_after(const struct overlay *o, const struct known_dir *was,
                      const struct known_dir *is)
{
    if (was->check != check_of(was) || was->hash != is->hash || was->layers[0] != is->layers[0] ||
        was->layers[1] != is->layers[1] || !has_several(lowers_of(o->root_layers)))
        return STEADY_TICKS;
    return was->span < SPAN_MAX ? was->span * 2 : SPAN_MAX;
}

static u64 key_of(u64 hash, u64 changes, u64 value)
{
    u64 h = (hash ^ changes * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 29 ^ value) * 0x94d049bb133111ebu;
    return (h ^ h >> 32) | 1;
}

static struct known_name *names_of(struct overlay *o, u64 hash)
{
    u32 room = table_room(o->nnames, FEW_NAMES, KNOWN_NAMES);
    return &o->names[hash % room & ~(u64)(PLACES - 1)];
}

bool overlay_known_name(struct overlay *o, u64 hash, u64 changes, unsigned *layer)
{
    const struct known_name *set = names_of(o, hash);
    for (unsigned i = 0; i < PLACES; i++) {
        u64 key = __atomic_load_n(&set[i].key, __ATOMIC_RELAXED);
        u64 value = __atomic_load_n(&set[i].value, __ATOMIC_RELAXED);
        *layer = value & 0xff;
        if (key == key_of(hash, changes, value) && left_of((u32)(value >> 32)) > 0)
            return true;
    }
    return false;
}

void overlay_note_name(struct overlay *o, u64 hash, u64 changes, u32 until, unsigned layer)
{
    struct known_name *set = names_of(o, hash), *n = set;
    u64 value = (u64)until << 32 | layer;
    for (unsigned i = 1; i < PLACES; i++)
        if (left_of((u32)(set[i].value >> 32)) < left_of((u32)(n->value >> 32)))
            n = &set[i];
    __atomic_store_n(&n->value, value, __ATOMIC_RELAXED);
    __atomic_store_n(&n->key, key_of(hash, changes, value), __ATOMIC_RELAXED);
    o->nnames += o->nnames < FEW_NAMES;
}

/* A directory of a lower as it is now; the lowest bit is left free. */
static u64 tag_of(unsigned layer, const struct stat *st)
{
    u64 h = (st->st_ino + layer) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29 ^ st->st_dev << 17) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 31 ^ (u64)st->st_ctim.tv_sec << 30 ^ (u64)st->st_ctim.tv_nsec) *
        0x94d049bb133111ebu;
    return ((h ^ h >> 32) & ~(u64)1) | 2;
}

/* Looks for names that are markers; a directory too long to look through may have some. */
static bool list_marked(struct overlay *o, unsigned layer, const char *rel)
{
    _Alignas(8) char buf[8192];
    int dir = overlay_open_in(o, layer, rel, O_DIRECTORY);
    int fd = dir < 0 ? dir : sys_openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    bool found = fd < 0;
    long n = 0;
    for (unsigned i = 0; !found && i < LISTED_MAX; i++) {
        n = sys_getdents64(fd, buf, sizeof(buf));
        for (long at = 0; at < n;) {
            const struct sys_dirent *d = (const void *)(buf + at);
            found |= str_starts(d->name, WH_PREFIX);
            at += d->reclen;
        }
        if (n <= 0)
            break;
    }
    if (fd >= 0)
        sys_close(fd);
    if (dir >= 0)
        sys_close(dir);
    return found || n != 0;
}

void overlay_ask_once(struct overlay *o, u64 tag)
{
    u64 bit = tag >> 16 & (ASKED_BITS - 1), *word = &o->asked[bit / 64];
    u64 was = __atomic_fetch_or(word, (u64)1 << bit % 64, __ATOMIC_RELAXED);
    if (!(was >> bit % 64 & 1))
        o->unable();
}

bool overlay_may_mark(struct overlay *o, unsigned layer, const char *rel, const struct stat *st)
{
    if (!o->s->guard)
        return true;
    u64 tag = tag_of(layer, st);
    u64 known = overlay_fact(o->facts->unmarked, UNMARKED_MAX, tag);
    if (known)
        return known & 1;
    if (o->only_reads) {
        overlay_ask_once(o, tag);
        return true;
    }
    /* What has just changed may change again without another time to show for it. */
    struct timespec now;
    bool young = SYS2(SYS_clock_gettime, CLOCK_REALTIME, &now) < 0 ||
                 now.tv_sec - st->st_ctim.tv_sec < YOUNG;
    bool marked = young || list_marked(o, layer, rel);
    overlay_keep_fact(o->facts->unmarked, UNMARKED_MAX, tag | marked);
    return marked;
}

void overlay_note_dir(struct overlay *o, const struct vnode *dir, u64 changes, u32 *until)
{
    if ((changes & 1) || !o->s->guard || !dir->layers)
        return;
    struct known_dir k = {
        .hash = index_hash(o->index, dir->path, dir->len),
        .changes = changes,
        .layers = {(u64)dir->layers, (u64)(dir->layers >> 64)},
        .marked = {(u64)dir->marked, (u64)(dir->marked >> 64)},
    };
    struct known_dir *e = entry_of(o, k.hash), was = *e;
    k.span = span_after(o, &was, &k);
    u32 left = *until ? left_of(*until) : SPAN_MAX;
    *until = k.until = steady_now() + (left < k.span ? left : k.span);
    k.check = check_of(&k);
    o->ndirs += e->hash != k.hash && o->ndirs < FEW_DIRS;
    *e = k;
}
