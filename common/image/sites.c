#include "image/sites.h"
#include "image/decode.h"
#include <elf.h>

/* How it is known where instructions begin, without symbols: all sixteen decodings that start in
 * the sixteen bytes at LOOK_BACK before a site are followed. One of them is the true one, as no
 * instruction is longer, and they merge soon. A site counts only where none of them steps over its
 * borders, so that the true one does not either. */
#define LOOK_BACK  192
#define LOOK_AHEAD 160 /* farther than a branch of one byte reaches */
#define STARTS     16
/* How far the constant may be that a register holds through a loop. */
#define LOOK_AROUND 1024
#define ARGUMENT    7 /* rdi */

/* Limits against images made to take long. */
#define SEGMENTS    8
#define HEADERS     64
#define CANDIDATES  16384
#define TABLE_STEPS 1024           /* entries of one jump table */
#define STEPS       ((u64)1 << 26) /* of all of them */

#define PATCH 5 /* a jmp rel32 */

struct segment {
    const u8 *bytes;
    u64 vaddr, offset, size;
};

struct image {
    const u8 *bytes;
    u64 size;
    struct segment text[SEGMENTS];
    unsigned texts;
    Elf64_Phdr load[HEADERS]; /* every loaded segment, for what lies in data */
    unsigned loads;
    bool movable; /* no address is a constant of the image */
};

/* The compiler's own memcpy is no call, whatever is built in: these are said for each byte. */
static inline u32 load32(const u8 *p)
{
    u32 v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

static int read_headers(struct image *im)
{
    Elf64_Ehdr h;
    if (im->size < sizeof(h))
        return -ENOEXEC;
    memcpy(&h, im->bytes, sizeof(h));
    if (memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return -ENOEXEC;
    if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB ||
        h.e_machine != EM_X86_64)
        return 0;
    if ((h.e_type != ET_EXEC && h.e_type != ET_DYN) || h.e_phentsize != sizeof(Elf64_Phdr) ||
        h.e_phnum > HEADERS || h.e_phoff > im->size ||
        h.e_phnum * sizeof(Elf64_Phdr) > im->size - h.e_phoff)
        return -ENOEXEC;
    im->movable = h.e_type == ET_DYN;
    u64 end = 0;
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, im->bytes + h.e_phoff + i * sizeof(p), sizeof(p));
        if (p.p_type != PT_LOAD || p.p_filesz == 0)
            continue;
        if (p.p_offset > im->size || p.p_filesz > im->size - p.p_offset || p.p_vaddr < end ||
            p.p_vaddr > (u64)1 << 56)
            return -ENOEXEC;
        end = p.p_vaddr + p.p_filesz;
        im->load[im->loads++] = p;
        if (!(p.p_flags & PF_X))
            continue;
        if (im->texts == SEGMENTS)
            return -ENOEXEC;
        im->text[im->texts++] =
            (struct segment){im->bytes + p.p_offset, p.p_vaddr, p.p_offset, p.p_filesz};
    }
    return 1;
}

/* -- the neighbourhood of one site ------------------------------------------------------------ */

/* Where instructions begin near a site: one bit for each byte from `from` on. */
struct near {
    const struct segment *seg;
    u64 from, to; /* offsets in the segment */
    u64 begins[(LOOK_BACK + LOOK_AHEAD + 63) / 64];
};

static bool begins(const struct near *n, u64 at)
{
    u64 bit = at - n->from;
    return (n->begins[bit / 64] >> bit % 64 & 1) != 0;
}

static void mark(struct near *n, u64 at)
{
    u64 bit = at - n->from;
    n->begins[bit / 64] |= (u64)1 << bit % 64;
}

static bool decode_at(const struct segment *s, u64 at, struct insn *i)
{
    return insn_decode(s->bytes + at, s->size - at, i);
}

/* Follows all decodings around the syscall at `at`. The instruction after it begins there for sure
 * if the syscall is one. */
static void survey(struct near *n, const struct segment *s, u64 at)
{
    memset(n, 0, sizeof(*n));
    n->seg = s;
    n->from = at > LOOK_BACK ? at - LOOK_BACK : 0;
    n->to = min_size(at + LOOK_AHEAD, s->size);
    for (u64 p = n->from; p < n->to; p++) {
        struct insn i;
        if (p < n->from + STARTS)
            mark(n, p);
        if (begins(n, p) && decode_at(s, p, &i) && p + i.length < n->to)
            mark(n, p + i.length);
    }
}

/* True where an instruction begins at `at` in every decoding. */
static bool sure(const struct near *n, u64 at)
{
    if (at < n->from + STARTS || !begins(n, at))
        return false;
    for (u64 p = at - INSN_MAX; p < at; p++) {
        struct insn i;
        if (begins(n, p) && decode_at(n->seg, p, &i) && p + i.length > at)
            return false;
    }
    return true;
}

/* The instruction that ends where the one at `at` begins, in every decoding. */
static bool before(const struct near *n, u64 at, u64 *start, struct insn *i)
{
    bool found = false;
    for (u64 p = at - 1; p + INSN_MAX >= at && p >= n->from + STARTS; p--) {
        struct insn k;
        if (!begins(n, p) || !decode_at(n->seg, p, &k) || p + k.length != at)
            continue;
        if (found)
            return false;
        found = true;
        *start = p;
        *i = k;
    }
    return found;
}

static int16_t as_number(int32_t value)
{
    return value >= 0 && value < SITE_NUMBERS ? (int16_t)value : SITE_NUMBERS;
}

/* The number comes from a register that was set before the straight way began: the constant that
 * the code next to the site gives it, usually before a loop. Without one the call is one of many in
 * a function that knows its numbers: not wanted. The argument of a wrapper is -1. */
static int16_t number_around(const struct segment *s, u64 at, unsigned reg)
{
    u64 p = at > LOOK_AROUND ? at - LOOK_AROUND : 0, to = min_size(at + LOOK_AROUND, s->size);
    u64 nearest = LOOK_AROUND;
    int16_t number = SITE_NUMBERS;
    if (reg == ARGUMENT || reg == 0)
        return -1;
    while (p < to) {
        struct insn i;
        int32_t value = 0;
        u64 far = p < at ? at - p : p - at;
        if (!decode_at(s, p, &i)) {
            p++;
            continue;
        }
        if (far < nearest && insn_effect(&i, reg, &value) == EFFECT_CONSTANT && value != 0) {
            nearest = far;
            number = as_number(value);
        }
        p += i.length;
    }
    return number;
}

/* What rax holds at `at` on the straight way, or -1. */
static int16_t number_at(const struct near *n, u64 site)
{
    unsigned reg = 0;
    u64 at = site;
    struct insn i;
    while (before(n, at, &at, &i) && !(i.is & INSN_NO_NEXT)) {
        int32_t value = 0;
        switch (insn_effect(&i, reg, &value)) {
        case EFFECT_NONE:
            break;
        case EFFECT_CONSTANT:
            return as_number(value);
        case EFFECT_COPY:
            reg = (unsigned)value;
            break;
        case EFFECT_POP: /* push $nr; pop %rax */
            if (!before(n, at, &at, &i) || i.map != MAP_ONE || (i.op != 0x6a && i.op != 0x68))
                return -1;
            return as_number(i.imm);
        default:
            return -1;
        }
    }
    return number_around(n->seg, site, reg);
}

/* Whether a near branch leads behind the first and before the last byte + 1 of the patch. */
static bool branched_into(const struct near *n, u64 at, unsigned length)
{
    for (u64 p = n->from; p < n->to; p++) {
        struct insn i;
        if (!begins(n, p) || !decode_at(n->seg, p, &i) || !(i.is & INSN_BRANCH))
            continue;
        u64 target = p + i.length + (u64)(int64_t)i.rel;
        if (target > at && target < at + length)
            return true;
    }
    return false;
}

/* Instructions after the syscall at `at`, until the patch has room; their end, 0 where one of them
 * cannot be run elsewhere. */
static u64 tail_of(const struct segment *s, u64 at, u8 *flags)
{
    u64 p = at + 2;
    bool returned = false;
    while (p < at + PATCH) {
        struct insn i;
        if (!decode_at(s, p, &i))
            return 0;
        if (returned) { /* nothing but padding comes after a return */
            if (!(i.is & INSN_NOP))
                return 0;
        } else if (i.is & INSN_RET) {
            returned = true;
        } else if (i.is & (INSN_BRANCH | INSN_RIP | INSN_CONTROL | INSN_NO_NEXT)) {
            return 0;
        }
        p += i.length;
    }
    *flags = returned ? SITE_RETURNS : 0;
    return p - at <= SITE_BYTES ? p : 0;
}

static bool describe(const struct segment *s, u64 at, const struct site_wants *want,
                     struct site *out)
{
    struct near n;
    struct insn i;
    u64 start = 0;
    survey(&n, s, at);
    if (!sure(&n, at))
        return false;
    memset(out, 0, sizeof(*out));
    out->nr = number_at(&n, at);
    if (out->nr != -1 && !sites_wanted(want, out->nr))
        return false;
    if (before(&n, at, &start, &i) && at - start == PATCH && s->bytes[start] == 0xb8 &&
        i.imm == out->nr && sure(&n, start)) {
        out->kind = SITE_MOV;
        out->length = PATCH;
        out->resume = out->copy = PATCH;
        out->resume += 2;
    } else {
        u64 end = tail_of(s, at, &out->flags);
        start = at;
        if (end == 0)
            return false;
        out->kind = SITE_TAIL;
        out->length = out->resume = (u8)(end - at);
        out->copy = 2;
    }
    if (branched_into(&n, start, out->length))
        return false;
    out->vaddr = s->vaddr + start;
    out->offset = s->offset + start;
    memcpy(out->old, s->bytes + start, out->length);
    return true;
}

/* -- what the rest of the image refers to ----------------------------------------------------- */

/* The sites found, and a filter of the addresses inside their patches. */
struct hits {
    struct sites *t;
    u64 low, high; /* all patches lie in here */
    u64 steps;     /* entries of jump tables that may still be read */
    u64 filter[1024];
};

static unsigned filter_bit(u64 vaddr)
{
    return (unsigned)(vaddr >> 1) % (1024 * 64);
}

static void hits_init(struct hits *h, struct sites *t)
{
    memset(h, 0, sizeof(*h));
    h->t = t;
    h->steps = STEPS;
    h->low = t->site[0].vaddr;
    h->high = t->site[t->count - 1].vaddr + SITE_BYTES;
    for (u32 i = 0; i < t->count; i++)
        for (unsigned k = 1; k < t->site[i].length; k++) {
            unsigned bit = filter_bit(t->site[i].vaddr + k);
            h->filter[bit / 64] |= (u64)1 << bit % 64;
        }
}

/* Something refers to this address: a patch around it is given up. */
static void refer_slow(struct hits *h, u64 vaddr)
{
    u32 a = 0, b = h->t->count;
    while (b - a > 1) {
        u32 m = a + (b - a) / 2;
        if (h->t->site[m].vaddr <= vaddr)
            a = m;
        else
            b = m;
    }
    struct site *s = &h->t->site[a];
    if (vaddr > s->vaddr && vaddr < s->vaddr + s->length)
        s->kind = 0;
}

static inline void refer(struct hits *h, u64 vaddr)
{
    if (vaddr <= h->low || vaddr >= h->high)
        return;
    unsigned bit = filter_bit(vaddr);
    if (h->filter[bit / 64] >> bit % 64 & 1)
        refer_slow(h, vaddr);
}

static bool in_text(const struct image *im, u64 vaddr)
{
    for (unsigned i = 0; i < im->texts; i++)
        if (vaddr - im->text[i].vaddr < im->text[i].size)
            return true;
    return false;
}

/* The compilers' jump tables: offsets from the table's own start. What is no table stops at its
 * first entry that is outside the text. */
static void refer_table(struct hits *h, const struct image *im, u64 vaddr)
{
    for (unsigned i = 0; i < im->loads; i++) {
        const Elf64_Phdr *p = &im->load[i];
        u64 at = vaddr - p->p_vaddr;
        if (vaddr < p->p_vaddr || at >= p->p_filesz)
            continue;
        const u8 *b = im->bytes + p->p_offset;
        for (unsigned k = 0; k < TABLE_STEPS && p->p_filesz - at >= 4 && h->steps > 0;
             k++, at += 4, h->steps--) {
            u64 target = vaddr + (u64)(int64_t)(int32_t)load32(b + at);
            if (!in_text(im, target))
                break;
            refer(h, target);
        }
    }
}

/* What may stand before a distance of four bytes, by the last byte and the one before it: call and
 * jmp; jcc; xbegin; the ModRM byte of a lea. Kinds that go together have a bit in common. */
enum { DISTANCE_CALL = 1, DISTANCE_JCC = 2, DISTANCE_XBEGIN = 4, DISTANCE_LEA = 8 };

struct distances {
    u8 last[256], before[256];
};

static void distances_init(struct distances *d)
{
    memset(d->last, 0, sizeof(d->last));
    memset(d->before, DISTANCE_CALL, sizeof(d->before));
    d->last[0xe8] = d->last[0xe9] = DISTANCE_CALL;
    for (unsigned i = 0; i < 16; i++)
        d->last[0x80 + i] = DISTANCE_JCC;
    for (unsigned i = 0; i < 8; i++)
        d->last[5 + 8 * i] = DISTANCE_LEA;
    d->last[0xf8] = DISTANCE_XBEGIN;
    d->before[0x0f] |= DISTANCE_JCC;
    d->before[0xc7] |= DISTANCE_XBEGIN;
    d->before[0x8d] |= DISTANCE_LEA;
}

/* Distances are taken for such wherever the bytes before them may be an opcode; of addresses that
 * are constants any four bytes may be one. */
static void refer_text(struct hits *h, const struct image *im, const struct segment *s)
{
    struct distances d;
    u8 a = 0, b = 0;
    distances_init(&d);
    for (u64 at = 0; at + 4 <= s->size; at++) {
        unsigned kind = d.last[b] & d.before[a];
        if (kind) {
            u64 target = s->vaddr + at + 4 + (u64)(int64_t)(int32_t)load32(s->bytes + at);
            refer(h, target);
            if (kind == DISTANCE_LEA)
                refer_table(h, im, target);
        }
        if (!im->movable)
            refer(h, load32(s->bytes + at));
        a = b;
        b = s->bytes[at];
    }
}

static bool is_loaded(const struct image *im, u64 offset)
{
    for (unsigned i = 0; i < im->loads; i++)
        if (offset - im->load[i].p_offset < im->load[i].p_filesz)
            return true;
    return false;
}

/* Addresses in data, symbols and relocations: eight bytes each where the image has no fixed place,
 * else four may do in what is loaded. (The rest, symbols apart, leads nowhere.) */
static void refer_data(struct hits *h, const struct image *im)
{
    u64 v, step = im->movable ? 8 : 4, text = 0;
    for (u64 at = 0; at + 8 <= im->size; at += step) {
        if (text < im->texts && at >= im->text[text].offset) {
            u64 end = im->text[text].offset + im->text[text].size;
            text++;
            at = end > at ? end & ~(u64)7 : at;
            if (at + 8 > im->size)
                break;
        }
        bool whole = im->movable || !is_loaded(im, at);
        if (at % 8 && whole)
            continue;
        __builtin_memcpy(&v, im->bytes + at, sizeof(v));
        refer(h, whole ? v : (u32)v);
    }
}

static void drop_referred(struct sites *t, const struct image *im)
{
    struct hits h;
    u32 kept = 0;
    if (t->count == 0)
        return;
    hits_init(&h, t);
    for (unsigned i = 0; i < im->texts; i++)
        refer_text(&h, im, &im->text[i]);
    refer_data(&h, im);
    for (u32 i = 0; i < t->count && h.steps > 0; i++)
        if (t->site[i].kind != 0)
            t->site[kept++] = t->site[i];
    t->count = kept;
}

/* -- the table -------------------------------------------------------------------------------- */

/* Adds a site behind the last one; of two that overlap the first stays. */
static int add(struct sites *t, size_t cap, const struct site *s)
{
    if (t->count > 0) {
        const struct site *last = &t->site[t->count - 1];
        if (s->vaddr < last->vaddr + (last->length > last->resume ? last->length : last->resume))
            return 0;
    }
    if (sites_size(t->count + 1) > cap)
        return -ENOSPC;
    t->site[t->count++] = *s;
    return 0;
}

int sites_find(const void *image, size_t size, const struct site_wants *want, struct sites *out,
               size_t cap)
{
    struct image im = {.bytes = image, .size = size};
    unsigned tried = 0;
    if (cap < sizeof(*out))
        return -ENOSPC;
    memset(out, 0, sizeof(*out));
    out->version = SITES_VERSION;
    int r = read_headers(&im);
    if (r <= 0)
        return r;
    if (im.texts == 1)
        out->text_end = im.text[0].offset + im.text[0].size;
    for (unsigned i = 0; i < im.texts; i++) {
        const struct segment *s = &im.text[i];
        for (u64 at = 0; at + 2 <= s->size; at++) {
            struct site site;
            if (s->bytes[at] != 0x0f || s->bytes[at + 1] != 0x05)
                continue;
            if (tried++ == CANDIDATES)
                return -ENOSPC;
            if (!describe(s, at, want, &site))
                continue;
            r = add(out, cap, &site);
            if (r < 0)
                return r;
        }
    }
    drop_referred(out, &im);
    return (int)out->count;
}

static bool site_ok(const struct site *s)
{
    if (s->length < PATCH || s->length > SITE_BYTES || s->nr < -1 || s->nr >= SITE_NUMBERS ||
        s->flags & ~SITE_RETURNS)
        return false;
    switch (s->kind) {
    case SITE_MOV:
        return s->length == PATCH && s->resume == PATCH + 2 && s->copy == PATCH && s->nr >= 0 &&
               s->old[0] == 0xb8 && load32(s->old + 1) == (u32)s->nr;
    case SITE_TAIL:
        return s->resume == s->length && s->copy == 2 && s->old[0] == 0x0f && s->old[1] == 0x05;
    default:
        return false;
    }
}

bool sites_check(const struct sites *t, size_t bytes)
{
    u64 end = 0;
    if (bytes < sizeof(*t) || t->version != SITES_VERSION ||
        t->count > (bytes - sizeof(*t)) / sizeof(struct site))
        return false;
    for (u32 i = 0; i < t->count; i++) {
        const struct site *s = &t->site[i];
        if (!site_ok(s) || s->vaddr < end || s->vaddr > (u64)1 << 57)
            return false;
        end = s->vaddr + s->resume;
    }
    return true;
}
