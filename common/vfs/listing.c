#include "vfs/listing.h"
#include "base/sys.h"
#include "base/str.h"

#define FIRST_BYTES   8192
#define FIRST_SLOTS   256
#define FIRST_BUCKETS 1024

static size_t entry_size(size_t len)
{
    return (sizeof(struct listing_entry) + len + 1 + 7) & ~(size_t)7;
}

static u32 hash_name(const char *name, size_t len)
{
    u32 h = 2166136261u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (u8)name[i]) * 16777619u;
    return h ^ h >> 15;
}

/* Anonymous memory of `want` bytes with the first `keep` bytes of old; NULL. */
static void *grow(void *old, size_t keep, size_t old_size, size_t want)
{
    void *p = sys_map(want);
    if (p && old) {
        memcpy(p, old, keep);
        sys_unmap(old, old_size);
    }
    return p;
}

static int need_bytes(struct listing *l, size_t more)
{
    if (l->used + more <= l->size)
        return 0;
    size_t want = l->size ? l->size * 2 : FIRST_BYTES;
    void *p = grow(l->bytes, l->used, l->size, want);
    if (!p)
        return -ENOMEM;
    l->bytes = p;
    l->size = want;
    return 0;
}

static int need_slot(struct listing *l)
{
    if (l->count < l->slots)
        return 0;
    u32 want = l->slots ? l->slots * 2 : FIRST_SLOTS;
    void *p = grow(l->offset, l->slots * sizeof(u32), l->slots * sizeof(u32), want * sizeof(u32));
    if (!p)
        return -ENOMEM;
    l->offset = p;
    l->slots = want;
    return 0;
}

static struct listing_entry *entry_at(const struct listing *l, u32 index)
{
    return (struct listing_entry *)(l->bytes + l->offset[index]);
}

static void put_bucket(struct listing *l, u32 index)
{
    const struct listing_entry *e = entry_at(l, index);
    u32 b = hash_name(e->name, e->len);
    while (l->hash[b & (l->buckets - 1)])
        b++;
    l->hash[b & (l->buckets - 1)] = index + 1;
}

static int need_buckets(struct listing *l)
{
    if (l->count * 2 < l->buckets)
        return 0;
    u32 want = l->buckets ? l->buckets * 4 : FIRST_BUCKETS;
    u32 *p = sys_map(want * sizeof(u32));
    if (!p)
        return -ENOMEM;
    if (l->hash)
        sys_unmap(l->hash, l->buckets * sizeof(u32));
    l->hash = p;
    l->buckets = want;
    for (u32 i = 0; i < l->count; i++)
        put_bucket(l, i);
    return 0;
}

struct listing_entry *listing_find(struct listing *l, const char *name, size_t len)
{
    if (!l->buckets)
        return NULL;
    for (u32 b = hash_name(name, len);; b++) {
        u32 at = l->hash[b & (l->buckets - 1)];
        if (!at)
            return NULL;
        struct listing_entry *e = entry_at(l, at - 1);
        if (e->len == len && memcmp(e->name, name, len) == 0)
            return e;
    }
}

int listing_add(struct listing *l, const char *name, size_t len, u64 ino, u8 type, bool hidden)
{
    if (listing_find(l, name, len))
        return 0;
    size_t size = entry_size(len);
    if (need_bytes(l, size) || need_slot(l) || need_buckets(l))
        return -ENOMEM;
    l->offset[l->count] = (u32)l->used;
    struct listing_entry *e = entry_at(l, l->count);
    e->ino = ino;
    e->len = (u16)len;
    e->type = type;
    e->hidden = hidden;
    memcpy(e->name, name, len);
    e->name[len] = '\0';
    l->used += size;
    put_bucket(l, l->count++);
    return 1;
}

void listing_seal(struct listing *l)
{
    u32 out = 0;
    for (u32 i = 0; i < l->count; i++) {
        if (!entry_at(l, i)->hidden)
            l->offset[out++] = l->offset[i];
    }
    l->count = out;
}

void listing_reset(struct listing *l)
{
    l->used = 0;
    l->count = 0;
    if (l->hash)
        memset(l->hash, 0, l->buckets * sizeof(u32));
}

size_t listing_bytes(const struct listing *l)
{
    return l->size + (l->slots + l->buckets) * sizeof(u32);
}

const struct listing_entry *listing_at(const struct listing *l, u32 index)
{
    return entry_at(l, index);
}

void listing_free(struct listing *l)
{
    if (l->bytes)
        sys_unmap(l->bytes, l->size);
    if (l->offset)
        sys_unmap(l->offset, l->slots * sizeof(u32));
    if (l->hash)
        sys_unmap(l->hash, l->buckets * sizeof(u32));
    memset(l, 0, sizeof(*l));
}
