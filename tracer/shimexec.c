/* The shim in a program from its first instruction on: brought in at the exec, where the sites of
 * the image that begins are known. The program maps it itself, by code that is put behind the
 * image's text (preload/early.S), so that no stop is needed but the one of the exec.
 *
 * It lies at a fixed distance below the image. The stubs for the image's sites are therefore the
 * same in every process: a page of the shim's file holds them. */
#include "tracer/inject.h"
#include "tracer/creds.h"
#include "tracer/filter.h"
#include "tracer/found.h"
#include "tracer/loader.h"
#include "tracer/log.h"
#include "tracer/remote.h"
#include "tracer/shim.h"
#include "tracer/shimparts.h"
#include "tracer/supervise.h"
#include "base/str.h"
#include "base/sys.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <unistd.h>

#define PAGES_MAX 64
#define KNOWN     1024 /* programs */

#if defined(__x86_64__)

extern const u8 shim_image[];

/* Stubs of one image, made for one distance. */
struct stub_page {
    u64 dev, ino, size;
    s64 mtime_ns, ctime_ns;
    u64 distance;
    unsigned used;
};

static struct stub_page pages[PAGES_MAX];
static unsigned npages;

static bool is_of(const struct stub_page *p, const struct sites *s, u64 distance)
{
    return p->dev == s->dev && p->ino == s->ino && p->size == s->size &&
           p->mtime_ns == s->mtime_ns && p->ctime_ns == s->ctime_ns && p->distance == distance;
}

static u64 page_offset(const struct stub_page *p)
{
    return shim.head.own + (u64)(p - pages) * SHIM_PAGE;
}

/* The sites that have stubs in a page, one after the other. */
struct cursor {
    u32 next;
    unsigned stub, used; /* where the stubs of the one at hand begin, and where they end */
};

static const struct site *next_site(struct cursor *c, const struct sites *s,
                                    const struct mapping *m)
{
    while (c->next < s->count && c->used + 2 <= SHIM_STUBS_PAGE) {
        const struct site *site = &s->site[c->next++];
        if (!shim_wants(site, m))
            continue;
        c->stub = c->used;
        c->used += site->kind == SITE_MOV ? 1 : 2;
        return site;
    }
    return NULL;
}

static struct stub_page *make_page(const struct sites *sites, const struct mapping *m, u64 base)
{
    struct stub_page *p = &pages[npages];
    u8 text[SHIM_PAGE + 2 * SHIM_STUB];
    u64 at = base + shim.head.stubs;
    struct cursor c = {0};
    if (npages == PAGES_MAX)
        return NULL;
    memset(text, 0xcc, sizeof(text));
    for (const struct site *site; (site = next_site(&c, sites, m));)
        shim_make_stub(text + (size_t)c.stub * SHIM_STUB, at + (u64)c.stub * SHIM_STUB, site,
                       shim_site_at(site, m), base + shim.head.entry);
    if (pwrite(shim.fd, text, SHIM_PAGE, (off_t)page_offset(p)) != SHIM_PAGE)
        return NULL;
    *p = (struct stub_page){sites->dev,      sites->ino,      sites->size, sites->mtime_ns,
                            sites->ctime_ns, m->start - base, c.used};
    npages++;
    return p;
}

static struct stub_page *page_for(const struct sites *sites, const struct mapping *m, u64 base)
{
    for (unsigned i = 0; i < npages; i++) {
        if (is_of(&pages[i], sites, m->start - base))
            return &pages[i];
    }
    return make_page(sites, m, base);
}

u64 shim_early_size(void)
{
    return shim.head.early_end - shim.head.early;
}

/* Unused bytes behind the text, for the code that maps the shim: 0 = too few. */
static u64 cave_in(const struct sites *sites, const struct mapping *m)
{
    if (sites->text_end <= m->offset || sites->text_end - m->offset > m->end - m->start)
        return 0;
    u64 at = (m->start + (sites->text_end - m->offset) + 15) & ~(u64)15;
    return at + shim_early_size() <= m->end ? at : 0;
}

_Static_assert(offsetof(struct shim_early, old) == 296, "preload/early.S knows where it is");

static void add_map(struct shim_early *e, u64 addr, u64 size, u32 prot, u32 flags, u64 offset)
{
    e->map[e->maps].addr = addr;
    e->map[e->maps].size = size;
    e->map[e->maps].prot = prot;
    e->map[e->maps].flags = flags | MAP_FIXED;
    e->map[e->maps++].offset = offset;
}

static void fill(struct shim_early *e, u64 base, u64 entry, const struct stub_page *p)
{
    const u64 shared = shim.head.shared;
    const u64 notes = shared + offsetof(struct shim_shared, facts);
    memset(e, 0, sizeof(*e));
    e->entry = entry;
    e->own = base + shim.head.own;
    e->stale = sup.overlay->facts->stale;
    e->cookie = filter_cookie;
    e->how.flags = O_RDWR | O_CLOEXEC;
    snprintf(e->path, sizeof(e->path), "/proc/%d/fd/%d", getpid(), shim.fd);
    add_map(e, base, shim.head.all, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, 0);
    add_map(e, base, shared, PROT_READ | PROT_EXEC, MAP_PRIVATE, 0);
    add_map(e, base + shim.head.stubs, SHIM_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE,
            page_offset(p));
    add_map(e, base + shared, shim.head.own - shared, PROT_READ, MAP_SHARED, shared);
    add_map(e, base + notes, sizeof(struct overlay_notes), PROT_READ | PROT_WRITE, MAP_SHARED,
            notes);
    const u64 index = notes + overlay_shared_index();
    add_map(e, base + index, shim.head.own - index, PROT_READ | PROT_WRITE, MAP_SHARED, index);
}

/* The sites of the image that have stubs in its page, led to them or (undo) made as they were. */
static void patch(struct task *t, const struct sites *sites, const struct mapping *m, bool undo)
{
    struct shim_state *s = &t->mm->shim;
    const struct site *site[SHIM_STUBS_PAGE + 1];
    u8 step[SHIM_STUBS_PAGE];
    unsigned n = 0;
    struct cursor c = {0};
    while ((site[n] = next_site(&c, sites, m)))
        step[n++] = (u8)(c.used - c.stub);
    u64 stubs = s->base + shim.head.stubs;
    for (unsigned at = 0, many; at < n; at += many) {
        many = n - at < 64 ? n - at : 64;
        if (undo) {
            for (unsigned i = at; i < at + many; i++)
                remote_poke(t, shim_site_at(site[i], m), site[i]->old, site[i]->length);
        } else {
            shim_patch_all(t, m, site + at, many, stubs, step + at);
        }
        for (unsigned i = at; i < at + many; i++)
            stubs += (u64)step[i] * SHIM_STUB;
    }
}

/* -- which programs ----------------------------------------------------------------------- */

/* To come with the shim costs a program as much as ten notices. So it does where another run of
 * the same program has asked that often, or where it could not have it later. */
static u64 asking[KNOWN], looked_at[KNOWN];

u64 shim_program(const struct stat *st)
{
    u64 h = ((u64)st->st_ino * 0x9e3779b97f4a7c15u) ^ ((u64)st->st_dev * 0xc2b2ae3d27d4eb4fu);
    return h ? h : 1;
}

static u64 program_of(struct task *t)
{
    struct stat st;
    char entry[64];
    if (sys_fstatat(task_proc_fd(t), task_proc_name(t, "exe", entry), &st, 0) < 0)
        return 0;
    return shim_program(&st);
}

bool shim_expects(const struct task *t)
{
    u64 slot = t->program % KNOWN;
    return shim.fd >= 0 && (!t->program || shim.eager || asking[slot] == t->program ||
                            looked_at[slot] != t->program);
}

static bool asks_often(const struct shim_state *s)
{
    return s->program && asking[s->program % KNOWN] == s->program;
}

void shim_asks_often(const struct shim_state *s)
{
    if (s->program)
        asking[s->program % KNOWN] = s->program;
}

/* Has threads before it asks much, so that it comes with the shim or never: what the Go linker
 * made. Told by its note, in the first page. */
static bool is_threaded(struct task *t, const struct mapping *m)
{
    static const char note[8] = {4, 0, 0, 0, 'G', 'o', 0, 0};
    char page[SHIM_PAGE];
    return m->offset == 0 && remote_read(t, page, m->start, sizeof(page)) == 0 &&
           memmem(page, sizeof(page), note, sizeof(note));
}

/* -- the exec ----------------------------------------------------------------------------- */

static bool fits(struct task *t)
{
    if (t->proc->shim_off || t->mm->refs != 1 || t->proc->refs != 1 || t->proc->not_dumpable ||
        t->proc->stale_seen != sup.overlay->facts->stale)
        return false;
    creds_of(t);
    return t->who.same_as_session;
}

/* Where the program begins, if it is to have the shim. */
static bool deserves(struct task *t, struct user_regs_struct *u, struct mapping *m, bool *threaded)
{
    struct shim_state *s = &t->mm->shim;
    *threaded = false;
    s->program = program_of(t);
    bool asks = shim.eager || asks_often(s), news = looked_at[s->program % KNOWN] != s->program;
    if ((!asks && !news) || !fits(t) || ptrace(PTRACE_GETREGS, t->tid, NULL, u) < 0 ||
        !shim_mapping(t, u->rip, true, m))
        return false;
    looked_at[s->program % KNOWN] = s->program;
    *threaded = news && is_threaded(t, m);
    if (*threaded)
        shim_asks_often(s);
    return asks || *threaded;
}

/* The code and what it works on, where they are looked for. */
static bool put_early(struct task *t, const struct shim_early *e, u64 sp, u64 at)
{
    return remote_poke(t, sp - SHIM_EARLY, e, sizeof(*e)) == 0 &&
           remote_poke(t, at, shim_image + shim.head.early, shim_early_size()) == 0;
}

/* From now on it is known that the program has the shim at `base`, by the code at `early`. */
static void arrives(struct task *t, const struct mapping *m, const struct shim_early *e, u64 base,
                    u64 early, u64 entry, unsigned stubs)
{
    struct shim_state *s = &t->mm->shim;
    s->base = base;
    s->early = early;
    s->entry = entry;
    s->stale = e->stale;
    s->stubs = base + shim.head.stubs;
    s->stubs_room = SHIM_STUBS;
    s->nstubs = stubs;
    s->seen[s->nseen].start = m->start;
    s->seen[s->nseen++].end = m->end + 1;
    scratch_offer(t->mm, base + shim.head.scratch, shim.head.shared - shim.head.scratch);
    found_births(t, true, t->births > 1);
    log_debug("%d: comes with the shim at 0x%lx", t->tid, base);
}

bool shim_comes(struct task *t)
{
    t->mm->shim.program = t->program;
    return shim.fd >= 0 && (shim.eager || asks_often(&t->mm->shim));
}

void shim_executed(struct task *t)
{
    struct user_regs_struct u;
    struct shim_early early;
    struct mapping m;
    size_t later = 0;
    bool threaded;
    if (shim.fd < 0 || !deserves(t, &u, &m, &threaded))
        return;
    const struct sites *sites = shim_sites_of(&m, threaded, &later);
    u64 cave = sites && sites->count ? cave_in(sites, &m) : 0;
    if (!cave || m.free_to < m.free_from + shim.head.all + 2 * SHIM_PAGE)
        return;
    u64 base = m.free_to - shim.head.all - SHIM_PAGE;
    const struct stub_page *p = page_for(sites, &m, base);
    if (!p)
        return;
    fill(&early, base, u.rip, p);
    if (!put_early(t, &early, u.rsp, cave))
        return;
    arrives(t, &m, &early, base, cave, u.rip, p->used);
    patch(t, sites, &m, false);
    u.rip = cave;
    u.orig_rax = (u64)-1;
    ptrace(PTRACE_SETREGS, t->tid, NULL, &u);
}

static unsigned patches_of(const struct sites *sites, const struct mapping *m, u64 base, u64 stubs,
                           struct shim_patch *patches)
{
    unsigned n = 0;
    struct cursor c = {0};
    for (const struct site *site; (site = next_site(&c, sites, m)); n++) {
        u64 at = shim_site_at(site, m);
        patches[n].at = (u32)(at - base);
        patches[n].size = site->length;
        memset(patches[n].bytes, 0xcc, sizeof(patches[n].bytes));
        shim_put_jump(patches[n].bytes, at, stubs + (u64)c.stub * SHIM_STUB);
    }
    return n;
}

unsigned shim_with_loader(struct task *t, const char *path, u64 ino, u64 base,
                          const struct loader_map *text, u64 entry, u64 sp, u64 early,
                          const struct shim_old *old, struct shim_patch patches[SHIM_PATCHES])
{
    struct shim_early e;
    struct mapping m = {.start = base + text->at,
                        .end = base + text->at + text->size,
                        .offset = text->offset,
                        .ino = ino};
    size_t later = 0;
    str_copy(m.path, sizeof(m.path), path);
    if (!fits(t))
        return 0;
    const struct sites *sites = shim_sites_of(&m, false, &later);
    u64 at = base - shim.head.all - SHIM_PAGE;
    const struct stub_page *p = sites && sites->count ? page_for(sites, &m, at) : NULL;
    if (!p || !p->used)
        return 0;
    fill(&e, at, at + shim.head.unload, p);
    e.old = old->base;
    e.old_size = old->size;
    e.begin = entry;
    if (!put_early(t, &e, sp, early))
        return 0;
    arrives(t, &m, &e, at, early, entry, p->used);
    return patches_of(sites, &m, base, at + shim.head.stubs, patches);
}

bool shim_early_failed(struct task *t, struct user_regs_struct *u, int sig)
{
    struct shim_state *s = &t->mm->shim;
    struct mapping m;
    size_t later = 0;
    u64 end = s->early + shim_early_size();
    if (!s->early || sig != SIGTRAP || u->rip != end)
        return false;
    log_debug("%d: could not map the shim", t->tid);
    const struct sites *sites =
        shim_mapping(t, s->entry, false, &m) ? shim_sites_of(&m, true, &later) : NULL;
    if (!sites) {
        kill(t->proc->tgid, SIGKILL); /* its sites lead nowhere */
        return true;
    }
    patch(t, sites, &m, true);
    u64 sp = u->rsp, entry = s->entry;
    u->rax = u->rbx = u->rcx = u->rdx = u->rsi = u->rdi = u->rbp = 0;
    u->r8 = u->r9 = u->r10 = u->r11 = u->r12 = u->r13 = u->r14 = u->r15 = 0;
    u->rsp = sp;
    u->rip = entry;
    u->orig_rax = (u64)-1;
    memset(s, 0, sizeof(*s));
    s->never = true;
    scratch_forget(t);
    return true;
}

#else

bool shim_comes(struct task *t UNUSED)
{
    return false;
}
void shim_executed(struct task *t UNUSED) {}
u64 shim_program(const struct stat *st UNUSED)
{
    return 0;
}
bool shim_expects(const struct task *t UNUSED)
{
    return false;
}

#endif
