/* Directories by path, with the layers that are merged there: what was found out a moment ago need
 * not be asked of each layer and for each part of a path again. Whatever the session changes in
 * more than one step voids all of it (facts->changes); what somebody else does to a lower's
 * directories is noticed STEADY_TICKS later. */
#include "overlay/overlay.h"
#include "overlay/index.h"
#include "base/sys.h"
#include "vfs/steady.h"
#include <time.h>

#define YOUNG      2 /* seconds */
#define LISTED_MAX 4 /* buffers of a directory that are looked through for markers */

static struct known_dir *entry_of(struct overlay *o, u64 hash)
{
    return &o->known[hash % KNOWN_DIRS];
}

/* Threads of a program share the table: an entry of two halves is none. */
static u64 check_of(const struct known_dir *k)
{
    u64 h = k->hash ^ k->changes * 0x9e3779b97f4a7c15u ^ (u64)k->when << 17;
    for (unsigned i = 0; i < 2; i++)
        h = (h ^ k->layers[i] ^ k->marked[i] << 1 ^ k->marked[i] >> 63) * 0xbf58476d1ce4e5b9u;
    return h | 1;
}

bool overlay_known(struct overlay *o, const char *path, size_t len, u64 changes,
                   struct known_dir *out)
{
    u64 hash = index_hash(o->index, path, len);
    *out = *entry_of(o, hash);
    return out->check == check_of(out) && out->hash == hash && out->changes == changes &&
           !(changes & 1) && steady_now() - out->when < STEADY_TICKS;
}

static void note(struct overlay *o, const char *path, size_t len, u64 changes, u32 when,
                 layer_set layers, layer_set marked)
{
    struct known_dir k = {
        .hash = index_hash(o->index, path, len),
        .changes = changes,
        .when = when,
        .layers = {(u64)layers, (u64)(layers >> 64)},
        .marked = {(u64)marked, (u64)(marked >> 64)},
    };
    k.check = check_of(&k);
    *entry_of(o, k.hash) = k;
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

/* Who cannot list a directory has it done by whoever can: once, since that may have no room left to
 * remember it. */
static void ask_once(struct overlay *o, u64 tag)
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
        ask_once(o, tag);
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

void overlay_note_dir(struct overlay *o, const struct vnode *dir, u64 changes, u32 when)
{
    if (!(changes & 1) && o->s->guard && dir->layers)
        note(o, dir->path, dir->len, changes, when, dir->layers, dir->marked);
}
