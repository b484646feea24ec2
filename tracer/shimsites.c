/* Sites of a program's images, rewritten to lead into the shim (image/sites.h says how). */
#include "tracer/log.h"
#include "tracer/remote.h"
#include "tracer/shimparts.h"
#include "base/str.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Finding the sites of an image takes as long as answering one notice for so many of its bytes; it
 * is done when as much has been spent on notices. */
#define NOTICE_BYTES 3200
#define NEAR         0x70000000 /* bytes a jump may go, with room to spare */

#if defined(__x86_64__)

struct mapping {
    u64 start, end, offset;
    unsigned major, minor;
    u64 ino;
    char path[PATH_MAX];
};

/* The mapping that holds `ip`, and room for a page of stubs near it: 0 = none. */
static bool find_mapping(struct task *t, u64 ip, struct mapping *m, u64 *room)
{
    char name[64], line[PATH_MAX + 128];
    u64 last_end = 0x10000;
    bool found = false;
    *room = 0;
    snprintf(name, sizeof(name), "/proc/%d/maps", t->tid);
    FILE *f = fopen(name, "re");
    if (!f)
        return false;
    while (fgets(line, sizeof(line), f)) {
        struct mapping x;
        char perms[8];
        int at = 0;
        if (sscanf(line, "%lx-%lx %7s %lx %x:%x %lu %n", &x.start, &x.end, perms, &x.offset,
                   &x.major, &x.minor, &x.ino, &at) < 7)
            break;
        /* The last gap before the image: behind it the heap may want to grow. */
        if (x.start >= last_end + 4 * SHIM_PAGE && x.start <= ip)
            *room = x.start - 2 * SHIM_PAGE;
        last_end = x.end;
        if (ip >= x.start && ip < x.end) {
            line[strcspn(line, "\n")] = '\0';
            found = true;
            *m = x;
            str_copy(m->path, sizeof(m->path), line + at);
            break;
        }
    }
    fclose(f);
    return found;
}

/* NULL: none, or (*later) not yet. */
static const struct sites *sites_of(const struct mapping *m, size_t *later)
{
    struct stat st;
    if (m->path[0] != '/')
        return NULL;
    int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    const struct sites *found = NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == m->ino) {
        size_t cost = shim.eager ? 0 : sitecache_cost(shim.cache, fd) / NOTICE_BYTES;
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

/* mov $nr,%eax ; lea resume(%rip),%rcx ; jmp *entry */
static void make_stub(u8 stub[SHIM_STUB], u64 at, long nr, u64 resume, u64 entry)
{
    u8 *p = stub;
    memset(stub, 0xcc, SHIM_STUB);
    *p++ = 0xb8;
    p = put32(p, nr);
    memcpy(p, "\x48\x8d\x0d", 3);
    p += 3;
    p = put32(p, (s64)(resume - (at + (u64)(p + 4 - stub))));
    memcpy(p, "\xff\x25\0\0\0\0", 6);
    p += 6;
    memcpy(p, &entry, sizeof(entry));
}

/* lea copy(%rip),%rcx ; jmp *entry ; syscall ; copy: what followed at the site ; jmp resume. The
 * `syscall` is the one that a call given up is made by. */
static void make_tail_stub(u8 stub[2 * SHIM_STUB], u64 at, const struct site *site, u64 vaddr,
                           u64 entry)
{
    u8 *p = stub, *copy = stub + 7 + 6 + sizeof(entry) + 2;
    memset(stub, 0xcc, (size_t)2 * SHIM_STUB);
    memcpy(p, "\x48\x8d\x0d", 3);
    p = put32(p + 3, copy - (p + 7));
    memcpy(p, "\xff\x25\0\0\0\0", 6);
    p += 6;
    memcpy(p, &entry, sizeof(entry));
    memcpy(p + sizeof(entry), "\x0f\x05", 2);
    memcpy(copy, site->old + site->copy, (size_t)(site->length - site->copy));
    p = copy + (site->length - site->copy);
    if (site->flags & SITE_RETURNS)
        return;
    *p++ = 0xe9;
    put32(p, (s64)(vaddr + site->resume - (at + (u64)(p + 4 - stub))));
}

/* Stubs used for the site: 0 = it stays as it is. */
static unsigned patch(struct task *t, const struct site *site, u64 vaddr, u64 stub_at)
{
    struct shim_state *s = &t->mm->shim;
    u64 entry = s->base + shim.head.entry;
    u8 now[SITE_BYTES], jump[SITE_BYTES] = {0xe9}, stub[2 * SHIM_STUB];
    unsigned n = site->kind == SITE_MOV ? 1 : 2;
    if (remote_read(t, now, vaddr, site->length) || memcmp(now, site->old, site->length) != 0)
        return 0;
    if (site->kind == SITE_MOV)
        make_stub(stub, stub_at, site->nr, vaddr + site->resume, entry);
    else
        make_tail_stub(stub, stub_at, site, vaddr, entry);
    memset(put32(jump + 1, (s64)(stub_at - (vaddr + 5))), 0xcc, sizeof(jump) - 5);
    if (remote_poke(t, stub_at, stub, (size_t)n * SHIM_STUB) ||
        remote_poke(t, vaddr, jump, site->length))
        return 0;
    return n;
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
static bool stubs_near(struct visit *v, u64 vaddr, u64 room)
{
    struct shim_state *s = &v->t->mm->shim;
    if (near(vaddr, s->stubs) && s->nstubs + 2 <= SHIM_STUBS)
        return true;
    if (!room || !near(vaddr, room))
        return false;
    long at = shim_speak(v, SYS_mmap, room, SHIM_PAGE, PROT_READ | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (u64)-1, 0);
    if (at != (long)room)
        return false;
    s->stubs = room;
    s->nstubs = 0;
    return true;
}

void shim_rewrite_image(struct visit *v, u64 ip)
{
    struct task *t = v->t;
    struct shim_state *s = &t->mm->shim;
    struct mapping m;
    u64 room;
    unsigned done = 0;
    if (s->nseen == ARRAY_LEN(s->seen)) {
        s->seen[0].start = 0; /* enough */
        s->seen[0].end = ~(u64)0;
        return;
    }
    if (!find_mapping(t, ip - 1, &m, &room))
        return;
    s->seen[s->nseen].start = m.start;
    s->seen[s->nseen++].end = m.end + 1;
    size_t later = 0;
    const struct sites *sites = sites_of(&m, &later);
    s->credit_wanted = later;
    if (later) {
        s->nseen--;
        return;
    }
    bool tails = sites && !has_handlers(t);
    for (u32 i = 0; sites && i < sites->count && !v->gone; i++) {
        const struct site *site = &sites->site[i];
        u64 vaddr = m.start + (site->offset - m.offset);
        if ((site->kind != SITE_MOV && !tails) || !shim_serves(site->nr) ||
            site->offset < m.offset || vaddr + site->length > m.end)
            continue;
        if (!stubs_near(v, vaddr, room))
            break;
        unsigned n = patch(t, site, vaddr, s->stubs + (u64)s->nstubs * SHIM_STUB);
        s->nstubs += n;
        done += n != 0;
    }
    v->rewritten |= done != 0;
    log_debug("%d: %u sites rewritten in %s", t->tid, done, m.path);
}

#endif
