/* A layer's object by its path alone, without a descriptor: what leads to it has to be real
 * directories, which is asked of each of them. */
#include "overlay/overlay.h"
#include "base/sys.h"

/* An entry: the upper half of the path's hash, and when it was a directory. Directories of a lower
 * change from outside only; that a symlink took the place of one is seen STEADY_TICKS later. */
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

static bool is_known(const u64 *steady, u64 hash, u32 when)
{
    u64 e = __atomic_load_n(&steady[hash % STEADY_ENTRIES], __ATOMIC_RELAXED);
    return e >> 32 == hash >> 32 && when - (u32)e < STEADY_TICKS;
}

static void note(u64 *steady, u64 hash, u32 when)
{
    __atomic_store_n(&steady[hash % STEADY_ENTRIES], (hash & ~(u64)0xffffffff) | when,
                     __ATOMIC_RELAXED);
}

static u64 mixed(u64 h)
{
    h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9u;
    return h ^ h >> 32;
}

int overlay_steady_stat(struct overlay *o, unsigned layer, const char *rel, struct stat *st,
                        bool *parent)
{
    char text[PATH_MAX];
    const char *path;
    u64 h = layer * 0x9e3779b97f4a7c15u + 1;
    u64 *steady = layer ? o->steady : NULL;
    u32 when = steady ? overlay_steady_now() : 0;
    int dir = overlay_at(o, layer, rel, text, &path);
    *parent = false;
    if (dir == -ENAMETOOLONG)
        return dir;
    char *p = text + (path == text ? o->s->layer[layer].path_len : 0);
    if (path != text) /* by descriptor: a copy to cut */
        str_copy(text, sizeof(text), rel);
    if (*p == '/')
        p++;
    for (; *p; p++) {
        h = (h ^ (u8)*p) * 0x100000001b3u;
        if (*p != '/' || (steady && is_known(steady, mixed(h), when)))
            continue;
        *p = '\0';
        int r = sys_fstatat(dir, text, st, AT_SYMLINK_NOFOLLOW);
        *p = '/';
        if (r < 0)
            return r;
        if (!S_ISDIR(st->st_mode))
            return S_ISLNK(st->st_mode) ? -ELOOP : -ENOTDIR;
        if (steady)
            note(steady, mixed(h), when);
    }
    *parent = true;
    int r = sys_fstatat(dir, text, st, AT_SYMLINK_NOFOLLOW);
    if (r == 0 && steady && S_ISDIR(st->st_mode))
        note(steady, mixed((h ^ '/') * 0x100000001b3u), when);
    return r;
}
