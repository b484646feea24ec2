#include "overlay/index.h"

/* An entry is one word: a tag made of the path's hash and of the generation it was learned in, and
 * the state. A change of the generation makes it worthless, so whoever looked before a change
 * installs an entry that is stale from birth; and one word has no halves that two writers could
 * mix. A tag of another path or generation is equal once in 2^62. */
#define STRIPES    1024
#define WAYS       4
#define STATE_BITS 3u /* mask */

/* Of a stripe and of `all`: changes under way in the low half, one bit for each owner and a count
 * of those without; how many began or ended above. An owner's bit is changed by nobody else, so
 * that ending a change for the dead needs no record of how far they came. */
#define OWNER_BIT(n) ((u64)1 << (n))
#define COUNT_ONE    OWNER_BIT(INDEX_OWNERS)
#define BUSY_MASK    (((u64)1 << 32) - 1)
#define EPOCH_ONE    ((u64)1 << 32)

struct index {
    u64 key[2];
    u64 mask;
    u64 all; /* changes of everything, part of every stripe's generation */
    u64 touches;
    u64 moves;               /* see index_structure */
    u32 owner[INDEX_OWNERS]; /* the thread that has claimed it, or 0 */
    u64 stripe[STRIPES];
    u64 entry[];
};

size_t index_size(unsigned bits)
{
    return sizeof(struct index) + (sizeof(u64) << bits);
}

struct index *index_init(void *memory, unsigned bits, u64 key)
{
    struct index *x = memory;
    x->key[0] = key;
    x->key[1] = key * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
    x->mask = (((u64)1 << bits) - 1) & ~(u64)(WAYS - 1);
    return x;
}

static u64 rotl(u64 v, unsigned n)
{
    return v << n | v >> (64 - n);
}

/* SipHash-1-3 in short: keyed, so that no program can choose colliding names. */
struct sip {
    u64 v[4];
};

static void sip_round(struct sip *s)
{
    u64 *v = s->v;
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

u64 index_hash(const struct index *x, const char *path, size_t len)
{
    struct sip s = {{x->key[0] ^ 0x736f6d6570736575u, x->key[1] ^ 0x646f72616e646f6du,
                     x->key[0] ^ 0x6c7967656e657261u, x->key[1] ^ 0x7465646279746573u}};
    u64 last = (u64)len << 56;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        u64 m;
        memcpy(&m, path + i, 8);
        s.v[3] ^= m;
        sip_round(&s);
        s.v[0] ^= m;
    }
    for (unsigned shift = 0; i < len; i++, shift += 8)
        last |= (u64)(u8)path[i] << shift;
    s.v[3] ^= last;
    sip_round(&s);
    s.v[0] ^= last;
    s.v[2] ^= 0xff;
    for (int n = 0; n < 3; n++)
        sip_round(&s);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

static u64 load(const u64 *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(u64 *p, u64 v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* *settled: no change of this path is under way. */
static u64 generation(const struct index *x, u64 hash, bool *settled)
{
    u64 all = load(&x->all), own = load(&x->stripe[hash % STRIPES]);
    *settled = !((all | own) & BUSY_MASK);
    /* Not a mere sum: two ways of counting must not lead to the same word. */
    own *= 0x9e3779b97f4a7c15u;
    return (all + (own ^ own >> 32)) * 0xd6e8feb86659fd93u;
}

static u64 tag_of(u64 hash, u64 gen)
{
    u64 t = hash ^ rotl(gen * 0xbf58476d1ce4e5b9u, 29);
    t = (t ^ t >> 32) * 0x94d049bb133111ebu;
    t ^= t >> 29;
    t = (t + hash) & ~(u64)STATE_BITS;
    return t ? t : STATE_BITS + 1;
}

enum index_state index_look(struct index *x, u64 hash, u64 *word)
{
    bool settled;
    *word = generation(x, hash, &settled);
    if (!settled)
        return INDEX_MAYBE;
    u64 tag = tag_of(hash, *word);
    for (unsigned i = 0; i < WAYS; i++) {
        u64 w = load(&x->entry[(hash & x->mask) + i]);
        if ((w & ~(u64)STATE_BITS) == tag)
            return (enum index_state)(w & STATE_BITS);
    }
    return INDEX_MAYBE;
}

void index_learn(struct index *x, u64 hash, u64 word, enum index_state state)
{
    bool settled;
    if (state == INDEX_MAYBE || generation(x, hash, &settled) != word || !settled)
        return;
    u64 *set = &x->entry[hash & x->mask], tag = tag_of(hash, word);
    unsigned to = (unsigned)((hash >> 32) ^ word) % WAYS;
    for (unsigned i = 0; i < WAYS; i++) {
        u64 w = load(&set[i]);
        if (w == 0 || (w & ~(u64)STATE_BITS) == tag) {
            to = i;
            break;
        }
    }
    store(&set[to], tag | (u64)state);
}

static void change(struct index *x, u64 *counter, u64 by)
{
    __atomic_add_fetch(counter, by, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&x->touches, 1, __ATOMIC_RELAXED);
}

void index_touch(struct index *x, u64 hash)
{
    change(x, &x->stripe[hash % STRIPES], EPOCH_ONE);
}

void index_touch_all(struct index *x)
{
    change(x, &x->all, EPOCH_ONE);
}

int index_claim(struct index *x, u32 tid)
{
    for (unsigned i = 0; i < INDEX_OWNERS; i++) {
        u32 *owner = &x->owner[(tid + i) % INDEX_OWNERS], nobody = 0;
        if (__atomic_load_n(owner, __ATOMIC_RELAXED) == 0 &&
            __atomic_compare_exchange_n(owner, &nobody, tid, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
            return (int)((tid + i) % INDEX_OWNERS);
    }
    return -1;
}

void index_release(struct index *x, int owner)
{
    __atomic_store_n(&x->owner[owner], 0, __ATOMIC_RELEASE);
}

static void begin(struct index *x, u64 *counter, int owner)
{
    u64 by = EPOCH_ONE;
    if (owner == INDEX_NO_OWNER)
        by += COUNT_ONE;
    else if (!(load(counter) & OWNER_BIT(owner)))
        by += OWNER_BIT(owner);
    change(x, counter, by);
}

static void end(struct index *x, u64 *counter, int owner)
{
    u64 by = EPOCH_ONE;
    if (owner == INDEX_NO_OWNER)
        by -= COUNT_ONE;
    else if (load(counter) & OWNER_BIT(owner))
        by -= OWNER_BIT(owner);
    change(x, counter, by);
}

unsigned index_reap(struct index *x, u32 tid)
{
    unsigned left = 0;
    for (int i = 0; i < INDEX_OWNERS; i++) {
        if (__atomic_load_n(&x->owner[i], __ATOMIC_ACQUIRE) != tid)
            continue;
        for (unsigned s = 0; s < STRIPES; s++)
            if (load(&x->stripe[s]) & OWNER_BIT(i))
                end(x, &x->stripe[s], i);
        if (load(&x->all) & OWNER_BIT(i))
            end(x, &x->all, i);
        index_release(x, i);
        left++;
    }
    return left;
}

void index_begin(struct index *x, int owner, u64 hash)
{
    begin(x, &x->stripe[hash % STRIPES], owner);
}

void index_end(struct index *x, int owner, u64 hash)
{
    end(x, &x->stripe[hash % STRIPES], owner);
}

void index_begin_all(struct index *x, int owner)
{
    begin(x, &x->all, owner);
}

void index_end_all(struct index *x, int owner)
{
    end(x, &x->all, owner);
}

u64 index_generation(const struct index *x)
{
    return load(&x->touches);
}

const u64 *index_structure(const struct index *x)
{
    return &x->moves;
}

void index_moved(struct index *x)
{
    __atomic_add_fetch(&x->moves, 1, __ATOMIC_SEQ_CST);
}
