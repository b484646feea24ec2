#include "overlay/index.h"

/* An entry is valid while its generation equals its stripe's: a touch only counts the stripe up, so
 * whoever looked before the touch installs an entry that is stale from birth. Writers are not
 * serialised: the word carries a check of the hash, so that a mix of two writers' halves is no
 * valid entry. */
#define STRIPES 1024
#define PROBES  4

struct entry {
    u64 hash;
    u64 word; /* generation << 18 | check of the hash << 2 | state; 0 = free */
};

struct index {
    u64 key[2];
    u64 mask;
    u64 all; /* touches of everything, part of every stripe's generation */
    u64 touches;
    u64 stripe[STRIPES];
    struct entry entry[];
};

size_t index_size(unsigned bits)
{
    return sizeof(struct index) + (sizeof(struct entry) << bits);
}

struct index *index_init(void *memory, unsigned bits, u64 key)
{
    struct index *x = memory;
    x->key[0] = key;
    x->key[1] = key * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
    x->mask = ((u64)1 << bits) - 1;
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

static u64 generation(const struct index *x, u64 hash)
{
    return load(&x->all) + load(&x->stripe[hash % STRIPES]);
}

static u64 word_of(u64 gen, u64 hash, enum index_state state)
{
    return gen << 18 | (hash >> 48) << 2 | (u64)state;
}

enum index_state index_look(struct index *x, u64 hash, u64 *word)
{
    u64 gen = generation(x, hash);
    u64 want = word_of(gen, hash, 0);
    *word = gen;
    for (unsigned i = 0; i < PROBES; i++) {
        struct entry *e = &x->entry[(hash + i) & x->mask];
        u64 w = load(&e->word);
        if ((w & ~(u64)3) != want || load(&e->hash) != hash || load(&e->word) != w)
            continue;
        return (enum index_state)(w & 3);
    }
    return INDEX_MAYBE;
}

void index_learn(struct index *x, u64 hash, u64 word, enum index_state state)
{
    struct entry *to = NULL;
    if (state == INDEX_MAYBE || generation(x, hash) != word)
        return;
    for (unsigned i = 0; i < PROBES; i++) {
        struct entry *e = &x->entry[(hash + i) & x->mask];
        u64 w = load(&e->word), h = load(&e->hash);
        if (w == 0 || h == hash || (w >> 18) != (generation(x, h) & (~(u64)0 >> 18))) {
            to = e; /* free, ours, or stale */
            break;
        }
    }
    if (!to)
        to = &x->entry[(hash + word % PROBES) & x->mask];
    store(&to->word, 0);
    store(&to->hash, hash);
    store(&to->word, word_of(word, hash, state));
}

void index_touch(struct index *x, u64 hash)
{
    __atomic_add_fetch(&x->stripe[hash % STRIPES], 1, __ATOMIC_ACQ_REL);
    __atomic_add_fetch(&x->touches, 1, __ATOMIC_RELAXED);
}

void index_touch_all(struct index *x)
{
    __atomic_add_fetch(&x->all, 1, __ATOMIC_ACQ_REL);
    __atomic_add_fetch(&x->touches, 1, __ATOMIC_RELAXED);
}

u64 index_generation(const struct index *x)
{
    return load(&x->touches);
}
