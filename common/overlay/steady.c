/* A layer's object by its path alone, without a descriptor: what leads to it has to be real
 * directories, which is asked of each of them. */
#include "overlay/overlay.h"
#include "base/sys.h"

/* An entry: the upper half of the path's hash, and when it was known that real directories alone
 * lead to it, itself one. Directories of a lower change from outside only; that a symlink took the
 * place of one is seen STEADY_TICKS later. */
#define CLOCK_SHIFT 16 /* a tick is 2^16 cycles: STEADY_TICKS are some ten milliseconds */

u32 overlay_steady_now(void)
{
#if defined(__x86_64__)
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u32)((low | (u64)high << 32) >> CLOCK_SHIFT);
#else
    u64 count;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
    return (u32)(count >> (CLOCK_SHIFT - 6));
#endif
}

static u64 *pair_of(u64 *steady, u64 hash)
{
    return &steady[hash % STEADY_ENTRIES & ~(u64)1];
}

/* True where the directory is known; *when is then what its ancestors were seen at, at the latest.
 */
static bool is_known(u64 *steady, u64 hash, u32 now, u32 *when)
{
    const u64 *e = pair_of(steady, hash);
    for (unsigned i = 0; i < 2; i++) {
        u64 v = __atomic_load_n(&e[i], __ATOMIC_RELAXED);
        if (v >> 32 == hash >> 32 && now - (u32)v < STEADY_TICKS) {
            *when = (u32)v;
            return true;
        }
    }
    return false;
}

/* In the place of what is known of it, or else of the older one of its pair. */
static void note(u64 *steady, u64 hash, u32 now, u32 when)
{
    u64 *e = pair_of(steady, hash);
    u64 first = __atomic_load_n(&e[0], __ATOMIC_RELAXED);
    u64 second = __atomic_load_n(&e[1], __ATOMIC_RELAXED);
    bool to = first >> 32 != hash >> 32 &&
              (second >> 32 == hash >> 32 || now - (u32)first < now - (u32)second);
    __atomic_store_n(&e[to], (hash & ~(u64)0xffffffff) | when, __ATOMIC_RELAXED);
}

static u64 hash_path(unsigned layer, const char *path, size_t n)
{
    u64 h = (layer + 1) * 0x9e3779b97f4a7c15u + n, w;
    for (; n >= sizeof(w); n -= sizeof(w), path += sizeof(w)) {
        memcpy(&w, path, sizeof(w));
        h = (h ^ w) * 0xbf58476d1ce4e5b9u;
        h ^= h >> 29;
    }
    for (w = 0; n; n--)
        w = w << 8 | (u8)*path++;
    h = (h ^ w) * 0x94d049bb133111ebu;
    return h ^ h >> 32;
}

/* Asks each directory on the way to `end`, the slash before the last name; text begins with `root`
 * bytes of the layer's own path. *oldest: when the first of them was seen. */
static int ask_way(int dir, char *text, size_t root, char *end, unsigned layer, u64 *steady,
                   u32 now, u32 *oldest)
{
    struct stat st;
    u32 when;
    *oldest = now;
    char *rel = text + root;
    for (char *p = rel;; p++) {
        if (p != end && *p != '/')
            continue;
        u64 hash = steady ? hash_path(layer, rel, (size_t)(p - rel)) : 0;
        if (steady && is_known(steady, hash, now, &when)) {
            if (now - when > now - *oldest)
                *oldest = when;
        } else {
            *p = '\0';
            int r = sys_fstatat(dir, text, &st, AT_SYMLINK_NOFOLLOW);
            *p = '/';
            if (r < 0)
                return r;
            if (!S_ISDIR(st.st_mode))
                return S_ISLNK(st.st_mode) ? -ELOOP : -ENOTDIR;
            if (steady)
                note(steady, hash, now, *oldest);
        }
        if (p == end)
            return 0;
    }
}

int overlay_steady_stat(struct overlay *o, unsigned layer, const char *rel, struct stat *st,
                        bool *parent)
{
    char text[PATH_MAX];
    const char *path;
    u64 *steady = layer ? o->steady : NULL;
    u32 now = steady ? overlay_steady_now() : 0, when = now;
    int dir = overlay_at(o, layer, rel, text, &path);
    *parent = false;
    if (dir == -ENAMETOOLONG)
        return dir;
    size_t root = path == text ? o->s->layer[layer].path_len : 0, n = str_len(rel);
    if (path != text) /* by descriptor: a copy to cut */
        str_copy_n(text, sizeof(text), rel, n);
    else if (text[root] == '/')
        root++;
    size_t up = n;
    while (up && rel[up - 1] != '/')
        up--;
    if (up && !(steady && is_known(steady, hash_path(layer, rel, up - 1), now, &when))) {
        int r = ask_way(dir, text, root, text + root + up - 1, layer, steady, now, &when);
        if (r < 0)
            return r;
    }
    *parent = true;
    int r = sys_fstatat(dir, text, st, AT_SYMLINK_NOFOLLOW);
    if (r == 0 && steady && S_ISDIR(st->st_mode))
        note(steady, hash_path(layer, rel, n), now, when);
    return r;
}
