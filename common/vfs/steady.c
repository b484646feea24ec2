#include "vfs/steady.h"
#include "base/sys.h"
#include <sys/stat.h>

/* An entry: the upper half of the path's hash, and when it was known. */
#define CLOCK_SHIFT 16 /* a tick is 2^16 cycles */

u32 steady_now(void)
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

static u64 *pair_of(u64 *table, u64 hash)
{
    return &table[hash % STEADY_ENTRIES & ~(u64)1];
}

/* True where the directory is known; *when is then what its ancestors were seen at, at the latest.
 */
static bool is_known(u64 *table, u64 hash, u32 now, u32 *when)
{
    const u64 *e = pair_of(table, hash);
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
static void note(u64 *table, u64 hash, u32 when)
{
    u64 *e = pair_of(table, hash);
    u64 first = __atomic_load_n(&e[0], __ATOMIC_RELAXED);
    u64 second = __atomic_load_n(&e[1], __ATOMIC_RELAXED);
    bool older = !second || (first && (int32_t)((u32)second - (u32)first) < 0);
    bool to = first >> 32 != hash >> 32 && (second >> 32 == hash >> 32 || older);
    __atomic_store_n(&e[to], (hash & ~(u64)0xffffffff) | when, __ATOMIC_RELAXED);
}

static u64 hash_path(u64 salt, const char *path, size_t n)
{
    u64 h = (salt + 1) * 0x9e3779b97f4a7c15u + n, w;
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

int steady_way(u64 *table, u64 salt, int dir, char *text, size_t root, size_t n, u32 *when)
{
    struct stat st;
    u32 now = *when, seen;
    char *path = text + root, *end = path + n, behind = *end;
    if (table && is_known(table, hash_path(salt, path, n), now, when))
        return 0;
    for (char *p = path;; p++) {
        if (p != end && *p != '/')
            continue;
        u64 hash = table ? hash_path(salt, path, (size_t)(p - path)) : 0;
        if (table && is_known(table, hash, now, &seen)) {
            if (now - seen > now - *when)
                *when = seen;
        } else {
            *p = '\0';
            int r = sys_fstatat(dir, text, &st, AT_SYMLINK_NOFOLLOW);
            *p = p == end ? behind : '/';
            if (r < 0)
                return r;
            if (!S_ISDIR(st.st_mode))
                return S_ISLNK(st.st_mode) ? -ELOOP : -ENOTDIR;
            if (table)
                note(table, hash, *when);
        }
        if (p == end)
            return 0;
    }
}

bool steady_known(u64 *table, u64 salt, const char *path, size_t n, u32 *when)
{
    return is_known(table, hash_path(salt, path, n), *when, when);
}

void steady_note(u64 *table, u64 salt, const char *path, size_t n, u32 when)
{
    note(table, hash_path(salt, path, n), when);
}
