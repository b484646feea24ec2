/* Sites of a program's images, rewritten to lead into the shim (image/sites.h says how). */
#include "tracer/log.h"
#include "tracer/remote.h"
#include "tracer/shimparts.h"
#include "base/str.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Finding the sites of an image takes as long as answering one notice for so many of its bytes; it
 * is done when as much has been spent on notices. */
#define NOTICE_BYTES 3200
#define BATCH        64         /* sites at a time */
#define NEAR         0x70000000 /* bytes a jump may go, with room to spare */

#if defined(__x86_64__)

static const char *next_field(const char *p)
{
    while (*p && *p != ' ')
        p++;
    while (*p == ' ')
        p++;
    return p;
}

/* What stands behind the two addresses: perms offset major:minor inode path. */
static void take_rest(struct mapping *m, const char *p)
{
    p = next_field(next_field(p));
    m->offset = strtoul(p, NULL, 16);
    p = next_field(next_field(p));
    m->ino = strtoul(p, NULL, 10);
    str_copy(m->path, sizeof(m->path), next_field(p));
}

/* Looks at one line; true where it is the one. */
static bool take_line(struct mapping *m, const char *p, u64 ip, u64 *last_end)
{
    char *dash;
    u64 start = strtoul(p, &dash, 16), end = strtoul(dash + 1, NULL, 16);
    if (start >= *last_end + 4 * SHIM_PAGE && start <= ip) {
        m->free_from = *last_end;
        m->free_to = start;
    }
    *last_end = end;
    if (ip < start || ip >= end)
        return false;
    m->start = start;
    m->end = end;
    take_rest(m, p);
    return true;
}

/* Linux 6.11: one mapping, without the text of all of them. */
struct maps_query {
    u64 size, flags, addr;
    u64 start, end, prot, page, offset, ino;
    u32 dev[2], name_size, build_size;
    u64 name, build;
};
#define MAPS_QUERY _IOWR('f', 17, struct maps_query)

/* 1, 0 where there is none, or -1: this kernel does not say. */
static int ask(int fd, u64 ip, struct mapping *m)
{
    static bool missing;
    struct maps_query q = {
        .size = sizeof(q), .addr = ip, .name = (u64)m->path, .name_size = sizeof(m->path)};
    m->path[0] = '\0';
    if (missing || ioctl(fd, MAPS_QUERY, &q) < 0) {
        missing |= errno == ENOTTY;
        return !missing && errno == ENOENT ? 0 : -1;
    }
    m->start = q.start;
    m->end = q.end;
    m->offset = q.offset;
    m->ino = q.ino;
    return 1;
}

static bool read_maps(int fd, u64 ip, struct mapping *m)
{
    static char text[4 * PATH_MAX]; /* the kernel gives whole lines */
    u64 last_end = 0x10000;
    size_t have = 0;
    bool found = false;
    while (!found) {
        ssize_t n = read(fd, text + have, sizeof(text) - 1 - have);
        if (n <= 0)
            break;
        have += (size_t)n;
        text[have] = '\0';
        char *line = text, *end;
        while (!found && (end = strchr(line, '\n'))) {
            *end = '\0';
            found = take_line(m, line, ip, &last_end);
            line = end + 1;
        }
        have -= (size_t)(line - text);
        memmove(text, line, have);
    }
    return found;
}

bool shim_mapping(struct task *t, u64 ip, bool gap, struct mapping *m)
{
    char name[64];
    m->free_from = m->free_to = 0;
    snprintf(name, sizeof(name), "/proc/%d/maps", t->tid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    int found = gap ? -1 : ask(fd, ip, m);
    if (found < 0)
        found = read_maps(fd, ip, m);
    close(fd);
    return found;
}

bool shim_wants(const struct site *site, const struct mapping *m)
{
    return (site->nr == -1 || site->nr == SYS_execve || shim_serves(site->nr)) &&
           site->offset >= m->offset &&
           m->start + (site->offset - m->offset) + site->length <= m->end;
}

const struct sites *shim_sites_of(const struct mapping *m, bool at_once, size_t *later)
{
    struct stat st;
    if (m->path[0] != '/')
        return NULL;
    int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    const struct sites *found = NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == m->ino) {
        size_t cost = shim.eager || at_once ? 0 : sitecache_cost(shim.cache, fd) / NOTICE_BYTES;
        if (cost > shim.credit) {
            *later = cost;
        } else {
            shim.credit -= cost;
            shim.spent = true;
            found = sitecache_get(shim.cache, fd);
        }
    }
    close(fd);
    return found;
}

static u8 *put32(u8 *p, s64 v)
{
    int32_t w = (int32_t)v;
    memcpy(p, &w, sizeof(w));
    return p + sizeof(w);
}

static bool near(u64 a, u64 b)
{
    return (a > b ? a - b : b - a) < NEAR;
}

/* To be run at `at`: near, or by an address in the text. */
static u8 *put_jump(u8 *p, u64 at, u64 to)
{
    if (near(at, to)) {
        *p++ = 0xe9;
        return put32(p, (s64)(to - (at + 5)));
    }
    memcpy(p, "\xff\x25\0\0\0\0", 6);
    memcpy(p + 6, &to, sizeof(to));
    return p + 6 + sizeof(to);
}

/* mov $nr,%eax ; lea resume(%rip),%rcx ; jmp entry */
static void make_stub(u8 *stub, u64 at, const struct site *site, u64 vaddr, u64 entry)
{
    u8 *p = stub;
    *p++ = 0xb8;
    p = put32(p, site->nr);
    memcpy(p, "\x48\x8d\x0d", 3);
    p = put32(p + 3, (s64)(vaddr + site->resume - (at + (u64)(p + 7 - stub))));
    put_jump(p, at + (u64)(p - stub), entry);
}

/* lea copy(%rip),%rcx ; jmp entry ; syscall ; copy: what followed at the site ; jmp resume. The
 * `syscall` is the one that a call given up is made by. */
static void make_tail_stub(u8 *stub, u64 at, const struct site *site, u64 vaddr, u64 entry)
{
    u8 *p = put_jump(stub + 7, at + 7, entry);
    memcpy(stub, "\x48\x8d\x0d", 3);
    put32(stub + 3, p + 2 - (stub + 7));
    memcpy(p, "\x0f\x05", 2);
    p += 2;
    memcpy(p, site->old + site->copy, (size_t)(site->length - site->copy));
    p += site->length - site->copy;
    if (site->flags & SITE_RETURNS)
        return;
    *p++ = 0xe9;
    put32(p, (s64)(vaddr + site->resume - (at + (u64)(p + 4 - stub))));
}

unsigned shim_make_stub(u8 stub[2 * SHIM_STUB], u64 at, const struct site *site, u64 vaddr,
                        u64 entry)
{
    unsigned n = site->kind == SITE_MOV ? 1 : 2;
    memset(stub, 0xcc, (size_t)n * SHIM_STUB);
    if (n == 1)
        make_stub(stub, at, site, vaddr, entry);
    else
        make_tail_stub(stub, at, site, vaddr, entry);
    return n;
}

u8 *shim_put_jump(u8 *p, u64 at, u64 to)
{
    *p = 0xe9;
    return put32(p + 1, (s64)(to - (at + 5)));
}

/* Sites in one page, which are read and written at once. */
struct span {
    u64 at;
    size_t n;
    u8 bytes[SHIM_PAGE + SITE_BYTES];
};

/* Puts the sites into spans, in the order in which they lie in the image; how many spans. */
static unsigned gather(const struct mapping *m, const struct site *const *site, unsigned n,
                       struct span *span, u8 *of)
{
    unsigned spans = 0;
    for (unsigned i = 0; i < n; i++) {
        u64 at = shim_site_at(site[i], m), end = at + site[i]->length;
        struct span *last = spans ? &span[spans - 1] : NULL;
        if (last && at >= last->at && (end - 1) / SHIM_PAGE == last->at / SHIM_PAGE) {
            last->n = end - last->at > last->n ? end - last->at : last->n;
        } else {
            last = &span[spans++];
            last->at = at;
            last->n = end - at;
        }
        of[i] = (u8)(spans - 1);
    }
    return spans;
}

static bool read_spans(struct task *t, struct span *span, unsigned n)
{
    struct iovec local[BATCH], remote[BATCH];
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        local[i] = (struct iovec){span[i].bytes, span[i].n};
        remote[i] = (struct iovec){(void *)span[i].at, span[i].n};
        bytes += span[i].n;
    }
    return process_vm_readv(t->tid, local, n, remote, n, 0) == (ssize_t)bytes;
}

unsigned shim_patch_all(struct task *t, const struct mapping *m, const struct site *const *site,
                        unsigned n, u64 stubs, const u8 *step)
{
    static struct span span[BATCH];
    bool changed[BATCH] = {false};
    u8 of[BATCH];
    unsigned done = 0, spans = gather(m, site, n, span, of);
    if (!read_spans(t, span, spans))
        return 0;
    for (unsigned i = 0; i < n; stubs += (u64)step[i++] * SHIM_STUB) {
        u64 at = shim_site_at(site[i], m);
        u8 *bytes = span[of[i]].bytes + (at - span[of[i]].at);
        if (memcmp(bytes, site[i]->old, site[i]->length) != 0)
            continue;
        memset(shim_put_jump(bytes, at, stubs), 0xcc, site[i]->length - 5u);
        changed[of[i]] = true;
        done++;
    }
    for (unsigned i = 0; i < spans; i++) {
        if (changed[i])
            remote_poke(t, span[i].at, span[i].bytes, span[i].n);
    }
    return done;
}

/* With a handler of its own the program may have been interrupted anywhere: between the
 * instructions that a patch would replace, too. */
static bool has_handlers(const struct task *t)
{
    char name[64], line[256];
    unsigned long long caught = 1;
    snprintf(name, sizeof(name), "/proc/%d/status", t->tid);
    FILE *f = fopen(name, "re");
    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "SigCgt: %llx", &caught) == 1)
            break;
    }
    if (f)
        fclose(f);
    return caught != 0;
}

/* Where the next stubs near `vaddr` go: in the text, in the page of the last image, or in a new
 * one.
 */
static bool stubs_near(struct visit *v, u64 vaddr, const struct mapping *m)
{
    /* Below the image: behind it the heap may want to grow. */
    u64 room = m->free_to ? m->free_to - 2 * SHIM_PAGE : 0;
    struct shim_state *s = &v->t->mm->shim;
    if (near(vaddr, s->stubs) && s->nstubs + 2 <= s->stubs_room)
        return true;
    if (v->silent || !room || !near(vaddr, room))
        return false;
    long at = shim_speak(v, SYS_mmap, room, SHIM_PAGE, PROT_READ | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (u64)-1, 0);
    if (at != (long)room)
        return false;
    s->stubs = room;
    s->stubs_room = SHIM_STUBS_PAGE;
    s->nstubs = 0;
    return true;
}

/* False where no room for stubs is near. */
static bool rewrite(struct visit *v, const struct mapping *m, const struct site *const *site,
                    unsigned n, unsigned *done)
{
    struct shim_state *s = &v->t->mm->shim;
    u8 stubs[2 * BATCH * SHIM_STUB], step[BATCH];
    for (unsigned at = 0, next; at < n; at = next) {
        if (!stubs_near(v, shim_site_at(site[at], m), m))
            return false;
        u64 from = s->stubs + (u64)s->nstubs * SHIM_STUB;
        unsigned used = 0;
        for (next = at; next < n && s->nstubs + used + 2 <= s->stubs_room; next++) {
            step[next] = (u8)shim_make_stub(stubs + (size_t)used * SHIM_STUB,
                                            from + (u64)used * SHIM_STUB, site[next],
                                            shim_site_at(site[next], m), s->base + shim.head.entry);
            used += step[next];
        }
        s->nstubs += used;
        if (remote_poke(v->t, from, stubs, (size_t)used * SHIM_STUB))
            return false;
        *done += shim_patch_all(v->t, m, site + at, next - at, from, step + at);
    }
    return true;
}

/* What of the image's table is to be rewritten. */
static bool is_due(const struct site *site, const struct mapping *m, bool tails)
{
    return (site->kind == SITE_MOV || tails) && shim_wants(site, m);
}

/* All of them have room where stubs are already. */
static bool has_room(const struct shim_state *s, const struct sites *sites, const struct mapping *m,
                     bool tails)
{
    unsigned n = 0;
    for (u32 i = 0; i < sites->count; i++)
        n += is_due(&sites->site[i], m, tails) ? 2 : 0;
    return near(m->start, s->stubs) && near(m->end, s->stubs) && s->nstubs + n <= s->stubs_room;
}

static void rewrite_all(struct visit *v, const struct sites *sites, const struct mapping *m,
                        bool tails)
{
    unsigned done = 0;
    for (u32 i = 0; i < sites->count && !v->gone;) {
        const struct site *batch[BATCH];
        unsigned n = 0;
        for (; i < sites->count && n < BATCH; i++) {
            const struct site *site = &sites->site[i];
            if (!is_due(site, m, tails))
                continue;
            v->under_way |= site->kind == SITE_TAIL && shim_site_at(site, m) == v->t->regs.ip - 2;
            batch[n++] = site;
        }
        if (n && !rewrite(v, m, batch, n, &done))
            break;
    }
    v->rewritten |= done != 0;
    log_debug("%d: %u sites rewritten in %s", v->t->tid, done, m->path);
}

bool shim_rewrite_image(struct visit *v, u64 ip)
{
    struct task *t = v->t;
    struct shim_state *s = &t->mm->shim;
    struct mapping m;
    size_t later = 0;
    if (s->nseen == ARRAY_LEN(s->seen)) {
        s->seen[0].start = 0; /* enough */
        s->seen[0].end = ~(u64)0;
        return true;
    }
    if (!shim_mapping(t, ip - 1, !v->silent, &m))
        return true;
    const struct sites *sites = shim_sites_of(&m, false, &later);
    s->credit_wanted = later;
    if (later)
        return true;
    bool tails = sites && (!s->interrupted || !has_handlers(t));
    if (sites && v->silent && !has_room(s, sites, &m, tails))
        return false;
    s->seen[s->nseen].start = m.start;
    s->seen[s->nseen++].end = m.end + 1;
    if (sites)
        rewrite_all(v, sites, &m, tails);
    return true;
}

#endif
