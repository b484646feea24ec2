/* What was seen a moment ago, so that it need not be looked up again: directories that are one
 * lower's alone, by their path in the union, and objects of lowers that show as they are, by device
 * and number. All of it is worth nothing once the union has changed: the count of changes is part
 * of every key. An entry is one word: the key's tag, for directories the layer, and when. That a
 * key is another's by chance happens once in 2^43. */
#include "preload/shim_inside.h"
#include "binds.h"
#include "vfs/steady.h"
#include <sys/sysmacros.h>

#define FEW        512
#define WHEN_BITS  24
#define LAYER_BITS 7 /* LAYERS_MAX */
#define TAG_BITS   (64 - WHEN_BITS - LAYER_BITS)

static u64 mix(u64 h, u64 word)
{
    h = (h ^ word) * 0xbf58476d1ce4e5b9u;
    return h ^ h >> 31;
}

static u64 tag_of(u64 key)
{
    return key >> (64 - TAG_BITS);
}

static bool is_fresh(u32 now, u64 word)
{
    return ((now - (u32)word) & ((1u << WHEN_BITS) - 1)) < STEADY_TICKS;
}

/* The one of the pair that is the key's, or NULL. */
static u64 *find(u64 *pair, u64 key, u64 *word)
{
    for (unsigned i = 0; i < 2; i++) {
        *word = __atomic_load_n(&pair[i], __ATOMIC_RELAXED);
        if (*word && tag_of(*word) == tag_of(key))
            return &pair[i];
    }
    return NULL;
}

/* In its place, or of the one that is not new, or of either. */
static void put(const struct shim_caller *who, u64 *pair, u64 key, unsigned layer)
{
    u64 word, *to = find(pair, key, &word);
    if (!to) {
        bool first = !is_fresh(who->now, __atomic_load_n(&pair[0], __ATOMIC_RELAXED));
        bool second = !is_fresh(who->now, __atomic_load_n(&pair[1], __ATOMIC_RELAXED));
        to = &pair[!first && (second || (key & 2))];
    }
    word = tag_of(key) << (64 - TAG_BITS) | (u64)layer << WHEN_BITS |
           (who->now & ((1u << WHEN_BITS) - 1));
    __atomic_store_n(to, word, __ATOMIC_RELAXED);
}

/* What a node's entry says, where a directory's has the layer. */
enum { SHOWS, PLAIN };

static u64 node_key(const struct shim_caller *who, u64 dev, u64 ino)
{
    return mix(mix(mix(0x9e3779b97f4a7c15u, ino), dev), who->changes);
}

static u64 *node_pair(u64 key)
{
    return &shim_own.node[key % table_room(shim_own.nnodes, FEW, SHIM_NODES) & ~(u64)1];
}

static void put_node(const struct shim_caller *who, u64 key, unsigned kind)
{
    put(who, node_pair(key), key, kind);
    shim_own.nnodes += shim_own.nnodes < FEW;
}

bool shim_seen_node(struct shim_caller *who, const struct stat *st, bool fresh)
{
    u64 key = node_key(who, st->st_dev, st->st_ino);
    if (st->st_nlink != 1 && !S_ISDIR(st->st_mode))
        return false; /* it may be known by another name */
    u64 word;
    return find(node_pair(key), key, &word) && (is_fresh(who->now, word) || !fresh);
}

void shim_note_node(struct shim_caller *who, u64 dev, u64 ino)
{
    u64 key = node_key(who, dev, ino);
    put_node(who, key, SHOWS);
}

/* The mount counts, too: what lies outside may be the same directory by another one. */
static u64 plain_key(const struct shim_caller *who, u64 dev, u64 ino, u64 mount)
{
    return mix(node_key(who, dev, ino), mount);
}

bool shim_seen_plain(struct shim_caller *who, const struct statx *x)
{
    if (!(x->stx_mask & STATX_MNT_ID))
        return false;
    u64 key =
        plain_key(who, makedev(x->stx_dev_major, x->stx_dev_minor), x->stx_ino, x->stx_mnt_id);
    u64 word;
    return find(node_pair(key), key, &word) && (word >> WHEN_BITS & 1) == PLAIN &&
           is_fresh(who->now, word);
}

void shim_note_plain(struct shim_caller *who, u64 dev, u64 ino, u64 mount)
{
    u64 key = plain_key(who, dev, ino, mount);
    if (bind_is_parent(&shim_shared.session, dev, ino))
        return;
    put_node(who, key, PLAIN);
}

static u64 path_key(const struct shim_caller *who, const char *path, size_t n)
{
    u64 h = mix(0x632be59bd9b4e019u + n, who->changes), w;
    for (; n >= sizeof(w); n -= sizeof(w), path += sizeof(w)) {
        memcpy(&w, path, sizeof(w));
        h = mix(h, w);
    }
    for (w = 0; n; n--)
        w = w << 8 | (u8)*path++;
    return mix(h, w);
}

int shim_seen_dir(struct shim_caller *who, const char *path, size_t n, bool *fresh)
{
    u64 key = path_key(who, path, n);
    u64 word;
    bool found = find(&shim_own.dir[key % SHIM_DIRS & ~(u64)1], key, &word);
    *fresh = found && is_fresh(who->now, word);
    return found ? (int)(word >> WHEN_BITS & ((1u << LAYER_BITS) - 1)) : -1;
}

void shim_note_dir(struct shim_caller *who, const char *path, size_t n, unsigned layer)
{
    u64 key = path_key(who, path, n);
    put(who, &shim_own.dir[key % SHIM_DIRS & ~(u64)1], key, layer);
}

/* An entry of the table by whole paths: tag, kind (twice the bit, or 1), the tag's low bits cut off
 * for them. Threads share it. */
#define KIND_BITS 17

static u64 *path_pair(u64 key)
{
    return &shim_own.path[key % table_room(shim_own.npaths, FEW, SHIM_PATHS) & ~(u64)1];
}

int shim_seen_path(const struct shim_caller *who, const char *path, size_t n)
{
    u64 key = path_key(who, path, n);
    const u64 *pair = path_pair(key);
    for (unsigned i = 0; i < 2; i++) {
        u64 word = __atomic_load_n(&pair[i], __ATOMIC_RELAXED);
        if (word >> KIND_BITS == key >> KIND_BITS)
            return (int)(word & ((1u << KIND_BITS) - 1));
    }
    return -1;
}

/* In the place of what is known of it; else the older one of the pair goes. */
void shim_note_path(const struct shim_caller *who, const char *path, size_t n,
                    const struct stat *st)
{
    u64 key = path_key(who, path, n), *pair = path_pair(key);
    u64 kind = S_ISDIR(st->st_mode) ? SHIM_PATH_DIR : overlay_opened_bit(st) << 1;
    u64 first = __atomic_load_n(&pair[0], __ATOMIC_RELAXED);
    if (first >> KIND_BITS != key >> KIND_BITS) {
        __atomic_store_n(&pair[1], first, __ATOMIC_RELAXED);
        shim_own.npaths += shim_own.npaths < FEW;
    }
    __atomic_store_n(&pair[0], key >> KIND_BITS << KIND_BITS | kind, __ATOMIC_RELAXED);
}
