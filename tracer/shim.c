#include "tracer/shim.h"
#include "tracer/creds.h"
#include "tracer/filter.h"
#include "tracer/inject.h"
#include "tracer/log.h"
#include "tracer/notify.h"
#include "tracer/remote.h"
#include "tracer/sitecache.h"
#include "tracer/supervise.h"
#include "shim_image.h"
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#define NOTICES_FIRST                                                                              \
    12 /* of a process before it gets the shim; FUSS_SHIM_AFTER says otherwise                     \
        */
#define SITES_BYTES (4u << 20)
#define NEAR        0x70000000 /* bytes a jump may go, with room to spare */

#if defined(__x86_64__)

extern const u8 shim_image[], shim_image_end[];

static bool wanted;
static unsigned notices_first = NOTICES_FIRST;
static int image_fd = -1;
static struct shim_head head;
static struct shim_shared *shared;
static struct sitecache *cache;

void shim_enable(bool want)
{
    wanted = want && notify_available();
}

bool shim_enabled(void)
{
    return wanted;
}

/* The file programs map: text with the session's cookie, and the shared part. */
static int make_file(void)
{
    char path[40];
    size_t text = (size_t)(shim_image_end - shim_image);
    const u64 cookie = filter_cookie;
    memcpy(&head, shim_image, sizeof(head));
    if (head.magic != SHIM_MAGIC || head.cookie != SHIM_COOKIE || head.size != text)
        return -EINVAL;
    int fd = memfd_create("fuss", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, head.own) < 0 || pwrite(fd, shim_image, text, 0) != (ssize_t)text ||
        pwrite(fd, &cookie, sizeof(cookie), offsetof(struct shim_head, cookie)) !=
            (ssize_t)sizeof(cookie)) {
        close(fd);
        return -EIO;
    }
    shared = mmap(NULL, head.own - head.shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                  (off_t)head.shared);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    image_fd = shared == MAP_FAILED ? -1 : open(path, O_RDWR | O_CLOEXEC);
    int err = image_fd < 0 ? -errno : 0;
    close(fd);
    return err;
}

int shim_init(const struct session *s, void **facts)
{
    const char *after = getenv("FUSS_SHIM_AFTER");
    *facts = NULL;
    if (after)
        notices_first = (unsigned)atoi(after);
    if (!wanted || notify_fd() < 0 || log_level == LOG_INTERCEPT)
        return 0;
    if (overlay_shared_size() > SHIM_FACTS)
        return -E2BIG;
    int err = make_file();
    if (err)
        return err;
    cache = sitecache_new(SITES_BYTES);
    if (!cache)
        return -ENOMEM;
    memcpy(&shared->session, s, offsetof(struct session, text) + s->text_len);
    *facts = shared->facts;
    return 0;
}

void shim_set_cred(const struct cred *cred)
{
    if (shared)
        shared->cred = *cred;
}

/* -- when --------------------------------------------------------------------------------- */

static bool serves(long nr)
{
    const struct sysrow *row = systab_row(nr);
    if (!row)
        return false;
    if (row->handler == CALL_OPEN)
        return row->flags >= 0;
    return filter_gated(row) && (row->handler == CALL_STAT || row->handler == CALL_STATX ||
                                 row->handler == CALL_ACCESS || row->handler == CALL_READLINK);
}

static bool is_seen(const struct shim_state *s, u64 ip)
{
    for (unsigned i = 0; i < s->nseen; i++) {
        if (ip >= s->seen[i].start && ip < s->seen[i].end)
            return true;
    }
    return false;
}

bool shim_due(struct task *t)
{
    struct shim_state *s = &t->mm->shim;
    if (image_fd < 0 || s->never || t->proc->shim_off || t->mm->refs != 1 || t->proc->refs != 1 ||
        !serves(t->regs.nr))
        return false;
    if (!s->base) {
        if (++s->notices < notices_first)
            return false;
        creds_of(t);
        s->never = !t->who.same_as_session || filters_itself(t) || t->proc->not_dumpable;
        if (s->never)
            return false;
        int fd = t->shim_fd ? t->shim_fd - 1 : notify_lend(t->notice, image_fd);
        if (fd < 0) {
            s->never = true;
            return false;
        }
        t->shim_fd = fd + 1;
    } else if (is_seen(s, t->regs.ip)) {
        return false;
    }
    return true;
}

/* -- calls in the program ----------------------------------------------------------------- */

/* Several calls of ours at one seccomp stop. */
struct visit {
    struct task *t;
    bool spoke, gone, rewritten;
    long nr;
    u64 arg[6];
};

static long speak(struct visit *v, long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
    const u64 arg[6] = {a, b, c, d, e, f};
    if (v->gone)
        return -ESRCH;
    long r = v->spoke ? inject_after(v->t, nr, arg) : inject_syscall(v->t, nr, arg);
    if (r == -ESRCH)
        v->gone = true;
    v->nr = nr;
    memcpy(v->arg, arg, sizeof(arg));
    v->spoke = true;
    return r;
}

static bool bring_in(struct visit *v)
{
    struct task *t = v->t;
    struct shim_state *s = &t->mm->shim;
    u64 fd = (u64)t->shim_fd - 1;
    u64 size = head.all + (SHIM_SLOTS + 1) * (u64)SHIM_SLOT;
    long base = speak(v, SYS_mmap, 0, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, (u64)-1, 0);
    bool ok = base > 0;
    if (ok) {
        u64 at = (u64)base;
        ok = speak(v, SYS_mmap, at, head.shared, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd,
                   0) == base;
        ok = ok && speak(v, SYS_mmap, at + head.shared, head.own - head.shared, PROT_READ,
                         MAP_SHARED | MAP_FIXED, fd, head.shared) == base + (long)head.shared;
    }
    if (ok) { /* what any program may set */
        u64 notes = head.shared + offsetof(struct shim_shared, facts), at = (u64)base + notes;
        ok = speak(v, SYS_mmap, at, sizeof(struct overlay_notes), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_FIXED, fd, notes) == (long)at;
    }
    speak(v, SYS_close, fd, 0, 0, 0, 0, 0);
    if (!ok || v->gone)
        return false;
    u64 slots = ((u64)base + head.all + SHIM_SLOT - 1) & ~(u64)(SHIM_SLOT - 1);
    u64 own[3] = {slots, 0, sup.overlay->facts->stale};
    if (t->proc->stale_seen != own[2] || remote_poke(t, (u64)base + head.own, own, sizeof(own)))
        return false;
    s->base = (u64)base;
    s->slots = slots;
    s->stale = own[2];
    s->nstubs = 0;
    s->stubs = s->base + head.stubs;
    return true;
}

/* -- sites -------------------------------------------------------------------------------- */

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

static const struct sites *sites_of(const struct mapping *m)
{
    struct stat st;
    if (m->path[0] != '/')
        return NULL;
    int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    const struct sites *found = NULL;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == m->ino)
        found = sitecache_get(cache, fd);
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
    u64 entry = s->base + head.entry;
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
    long at = speak(v, SYS_mmap, room, SHIM_PAGE, PROT_READ | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (u64)-1, 0);
    if (at != (long)room)
        return false;
    s->stubs = room;
    s->nstubs = 0;
    return true;
}

static void rewrite_image(struct visit *v, u64 ip)
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
    const struct sites *sites = sites_of(&m);
    bool tails = sites && !has_handlers(t);
    for (u32 i = 0; sites && i < sites->count && !v->gone; i++) {
        const struct site *site = &sites->site[i];
        u64 vaddr = m.start + (site->offset - m.offset);
        if ((site->kind != SITE_MOV && !tails) || !serves(site->nr) || site->offset < m.offset ||
            vaddr + site->length > m.end)
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

bool shim_visit(struct task *t)
{
    struct visit v = {.t = t};
    struct shim_state *s = &t->mm->shim;
    u64 ip = t->regs.ip;
    bool ok = s->base || (t->shim_fd && bring_in(&v));
    t->shim_fd = 0;
    if (v.gone)
        return true;
    s->never = !ok;
    if (ok)
        rewrite_image(&v, ip);
    if (v.gone || (!v.spoke && !v.rewritten))
        return v.gone;
    /* Also where only sites were rewritten: the call's own may be one, and is to be entered anew.
     */
    if (v.spoke)
        regs_again(t->tid, &t->regs, v.nr, v.arg);
    else
        regs_again(t->tid, &t->regs, t->regs.nr, t->regs.arg);
    return true;
}

/* -- signals ------------------------------------------------------------------------------ */

static void restore(struct user_regs_struct *u, const struct shim_saved *s)
{
    u->rsp = s->rsp;
    u->rdi = s->rdi;
    u->rsi = s->rsi;
    u->rdx = s->rdx;
    u->r10 = s->r10;
    u->r8 = s->r8;
    u->r9 = s->r9;
    u->rbx = s->rbx;
    u->rbp = s->rbp;
    u->r12 = s->r12;
    u->r13 = s->r13;
    u->r14 = s->r14;
    u->r15 = s->r15;
}

/* The program's registers as they were at the site's system call, or (over) just behind it. */
static void give_up(struct task *t, struct user_regs_struct *u)
{
    const struct shim_state *m = &t->mm->shim;
    struct shim_saved saved;
    const u64 none = 0;
    u64 at = u->rip - m->base, slot;
    bool over = false, intact = false;
    if (at >= head.entry && at < head.tested) {
        u->rip = u->rcx - 2;
        return;
    }
    if (at == head.left || at == head.freed) {
        u->rip = u->rcx;
        return;
    }
    if (at == head.full || (at == head.tested && (u->eflags & 1))) {
        u->rip = u->rcx - 2;
        return;
    }
    if (at >= head.tested && at < head.saved) {
        slot = u->r11 + SHIM_SLOT - SHIM_SAVED;
        intact = true;
    } else if (at >= head.opened && at < head.opened_end && (s64)u->rax >= 0) {
        slot = u->rsp;
        over = true;
    } else if (at > head.finish && at < head.freed) {
        slot = u->r11;
        over = true;
    } else if (at > head.leave && at < head.left) {
        slot = u->r11;
    } else {
        over = at == head.finish;
        slot = (u->rsp - 1) | (SHIM_SLOT - 1);
        slot = slot + 1 - SHIM_SAVED;
    }
    if (slot < m->slots || slot >= m->slots + SHIM_SLOTS * (u64)SHIM_SLOT ||
        remote_read(t, &saved, slot, sizeof(saved))) {
        log_debug("%d: lost in the shim at 0x%lx", t->tid, at);
        return;
    }
    if (intact) {
        u->rip = u->rcx - 2;
    } else {
        restore(u, &saved);
        if (!over)
            u->rax = saved.rax;
        u->rip = over ? saved.rcx : saved.rcx - 2;
    }
    u->orig_rax = (u64)-1;
    remote_poke(t, slot, &none, sizeof(none));
}

bool shim_signal(struct task *t, int sig)
{
    struct user_regs_struct u;
    siginfo_t info;
    u64 base = t->mm ? t->mm->shim.base : 0, slots = base ? t->mm->shim.slots : 0;
    if (!base || ptrace(PTRACE_GETREGS, t->tid, NULL, &u) < 0)
        return false;
    bool on_slot = u.rsp > slots && u.rsp <= slots + SHIM_SLOTS * (u64)SHIM_SLOT;
    if (!on_slot && (u.rip < base || u.rip >= base + head.stubs))
        return false;
    bool own = (sig == SIGSEGV || sig == SIGBUS) &&
               ptrace(PTRACE_GETSIGINFO, t->tid, NULL, &info) == 0 && info.si_code > 0;
    give_up(t, &u);
    ptrace(PTRACE_SETREGS, t->tid, NULL, &u);
    log_debug("%d: signal %d in the shim", t->tid, sig);
    return own;
}

/* -- what turns it off -------------------------------------------------------------------- */

void shim_repointed(struct task *t)
{
    struct shim_state *s = &t->mm->shim;
    u64 now = t->proc->stale_seen;
    if (s->base && s->stale != now &&
        remote_poke(t, s->base + head.own + offsetof(struct shim_own, stale), &now, sizeof(now)) ==
            0)
        s->stale = now;
}

void shim_off(struct task *t)
{
    const u64 off = 1;
    struct shim_state *s = &t->mm->shim;
    t->proc->shim_off = true;
    if (s->base)
        remote_poke(t, s->base + head.own + offsetof(struct shim_own, off), &off, sizeof(off));
}

void shim_cloned(struct task *parent, struct task *child)
{
    const u64 elsewhere = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID;
    struct user_regs_struct u;
    u64 flags = 0;
    child->proc->shim_off |= parent->proc->shim_off;
    if (image_fd < 0 || child->proc->shim_off || child->proc == parent->proc)
        return;
    if (ptrace(PTRACE_GETREGS, parent->tid, NULL, &u) < 0)
        flags = elsewhere;
    else if (u.orig_rax == SYS_clone)
        flags = u.rdi;
    else if (u.orig_rax == SYS_clone3 && remote_read(parent, &flags, u.rdi, sizeof(flags)))
        flags = elsewhere;
    if (flags & elsewhere)
        shim_off(child);
}

#else

void shim_enable(bool want UNUSED) {}
bool shim_enabled(void)
{
    return false;
}
int shim_init(const struct session *s UNUSED, void **facts)
{
    *facts = NULL;
    return 0;
}
void shim_set_cred(const struct cred *cred UNUSED) {}
bool shim_due(struct task *t UNUSED)
{
    return false;
}
bool shim_visit(struct task *t UNUSED)
{
    return false;
}
bool shim_signal(struct task *t UNUSED, int sig UNUSED)
{
    return false;
}
void shim_repointed(struct task *t UNUSED) {}
void shim_off(struct task *t UNUSED) {}
void shim_cloned(struct task *parent UNUSED, struct task *child UNUSED) {}

#endif
