#include "tracer/shim.h"
#include "tracer/creds.h"
#include "tracer/filter.h"
#include "tracer/found.h"
#include "tracer/inject.h"
#include "tracer/log.h"
#include "tracer/notify.h"
#include "tracer/remote.h"
#include "tracer/shimparts.h"
#include "tracer/sitestore.h"
#include "tracer/supervise.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#define NOTICES_FIRST                                                                              \
    12                   /* of a process before it gets the shim; FUSS_SHIM_AFTER says otherwise   \
                          */
#define CREDIT_FIRST 100 /* notices of a session before any process gets the shim */
#define SITES_BYTES  (4u << 20)

#if defined(__x86_64__)

extern const u8 shim_image[], shim_image_end[];

static bool wanted;
static unsigned notices_first = NOTICES_FIRST;
struct shim_common shim = {.fd = -1};

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
    size_t text = (size_t)(shim_image_end - shim_image);
    const u64 cookie = filter_cookie;
    memcpy(&shim.head, shim_image, sizeof(shim.head));
    if (shim.head.magic != SHIM_MAGIC || shim.head.cookie != SHIM_COOKIE || shim.head.size != text)
        return -EINVAL;
    int fd = memfd_create("fuss", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, shim.head.own) < 0 || pwrite(fd, shim_image, text, 0) != (ssize_t)text ||
        pwrite(fd, &cookie, sizeof(cookie), offsetof(struct shim_head, cookie)) !=
            (ssize_t)sizeof(cookie)) {
        close(fd);
        return -EIO;
    }
    shim.shared = mmap(NULL, shim.head.own - shim.head.shared, PROT_READ | PROT_WRITE, MAP_SHARED,
                       fd, (off_t)shim.head.shared);
    if (shim.shared == MAP_FAILED) {
        shim.shared = NULL;
        close(fd);
        return -ENOMEM;
    }
    shim.fd = fd;
    return 0;
}

int shim_init(const struct session *s, void **facts)
{
    const char *after = getenv("FUSS_SHIM_AFTER");
    *facts = NULL;
    if (after) {
        notices_first = (unsigned)atoi(after);
        shim.eager = true;
    }
    if (!wanted || notify_fd() < 0 || log_level >= LOG_INTERCEPT)
        return 0;
    if (overlay_shared_size() > SHIM_FACTS)
        return -E2BIG;
    int err = make_file();
    if (err)
        return err;
    shim.cache = sitecache_new(SITES_BYTES);
    if (!shim.cache)
        return -ENOMEM;
    sitestore_init(s, sitecache_wants(shim.cache));
    memcpy(&shim.shared->session, s, offsetof(struct session, text) + s->text_len);
    *facts = shim.shared->facts;
    return 0;
}

void shim_set_cred(const struct cred *cred)
{
    if (shim.shared)
        shim.shared->cred = *cred;
}

/* -- when --------------------------------------------------------------------------------- */

bool shim_serves(long nr)
{
    const struct sysrow *row = systab_row(nr);
    if (!row)
        return false;
    if (row->handler == CALL_OPEN)
        return row->flags >= 0;
    if (shim_renames(row) || shim_sets(row))
        return true;
    return filter_gated(row) && (row->handler == CALL_GETDENTS || row->handler == CALL_GETCWD ||
                                 row->handler == CALL_CHDIR || row->handler == CALL_FCHDIR ||
                                 row->handler == CALL_STAT || row->handler == CALL_STATX ||
                                 row->handler == CALL_ACCESS || row->handler == CALL_READLINK ||
                                 (row->handler == CALL_GETXATTR && row->path >= 0) ||
                                 shim_asks_attrs(row) || (shim_changes(row) && row->dirfd >= 0));
}

static bool is_seen(const struct shim_state *s, u64 ip)
{
    if (ip - s->base < shim.head.all)
        return true; /* by a stub */
    for (unsigned i = 0; i < s->nseen; i++) {
        if (ip >= s->seen[i].start && ip < s->seen[i].end)
            return true;
    }
    return false;
}

bool shim_due(struct task *t)
{
    struct shim_state *s = &t->mm->shim;
    if (shim.fd < 0 || !shim_serves(t->regs.nr))
        return false;
    shim.credit++;
    if (s->never || t->proc->shim_off)
        return false;
    if (t->mm->refs != 1 || t->proc->refs != 1) {
        if (!s->base && ++s->notices == notices_first)
            shim_asks_often(s); /* the next run of it may */
        return false;
    }
    if (shim.credit < s->credit_wanted ||
        (!s->base && !shim.eager && shim.credit < CREDIT_FIRST && !shim.spent))
        return false;
    if (!s->base) {
        if (++s->notices < notices_first)
            return false;
        shim_asks_often(s);
        creds_of(t);
        s->never = !t->who.same_as_session || filters_itself(t) || t->proc->not_dumpable;
        if (s->never)
            return false;
        int fd = t->shim_fd ? t->shim_fd - 1 : notify_lend(t->notice, shim.fd);
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

long shim_speak(struct visit *v, long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
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
    u64 size = shim.head.all + (SHIM_SLOTS + 1) * (u64)SHIM_SLOT;
    long base = shim_speak(v, SYS_mmap, 0, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, (u64)-1, 0);
    bool ok = base > 0;
    if (ok) {
        u64 at = (u64)base;
        ok = shim_speak(v, SYS_mmap, at, shim.head.shared, PROT_READ | PROT_EXEC,
                        MAP_PRIVATE | MAP_FIXED, fd, 0) == base;
        ok = ok && shim_speak(v, SYS_mmap, at + shim.head.shared, shim.head.own - shim.head.shared,
                              PROT_READ, MAP_SHARED | MAP_FIXED, fd,
                              shim.head.shared) == base + (long)shim.head.shared;
    }
    if (ok) { /* what any program may set */
        u64 notes = shim.head.shared + offsetof(struct shim_shared, facts), at = (u64)base + notes;
        ok = shim_speak(v, SYS_mmap, at, sizeof(struct overlay_notes), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_FIXED, fd, notes) == (long)at;
        notes += overlay_shared_index();
        at = (u64)base + notes;
        ok = ok && shim_speak(v, SYS_mmap, at, shim.head.own - notes, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_FIXED, fd, notes) == (long)at;
    }
    shim_speak(v, SYS_close, fd, 0, 0, 0, 0, 0);
    if (!ok || v->gone)
        return false;
    u64 slots = ((u64)base + shim.head.all + SHIM_SLOT - 1) & ~(u64)(SHIM_SLOT - 1);
    u64 own[3] = {slots, 0, sup.overlay->facts->stale};
    if (t->proc->stale_seen != own[2] ||
        remote_poke(t, (u64)base + shim.head.own, own, sizeof(own)))
        return false;
    s->base = (u64)base;
    s->slots = slots;
    s->stale = own[2];
    s->nstubs = 0;
    s->stubs_room = SHIM_STUBS;
    s->stubs = s->base + shim.head.stubs;
    scratch_offer(t->mm, s->base + shim.head.scratch, shim.head.shared - shim.head.scratch);
    found_births(t, true, t->births > 1);
    return true;
}

enum shim_here shim_visit_here(struct task *t)
{
    struct visit v = {.t = t, .silent = true};
    struct shim_state *s = &t->mm->shim;
    if (!s->base || !t->seized || t->mm->refs != 1 || t->proc->refs != 1 ||
        !shim_rewrite_image(&v, t->regs.ip))
        return SHIM_AT_A_STOP;
    return v.under_way ? SHIM_SAY_AGAIN : SHIM_VISITED;
}

bool shim_visit(struct task *t)
{
    struct visit v = {.t = t};
    struct shim_state *s = &t->mm->shim;
    u64 ip = t->regs.ip;
    /* A signal's handler may have come in between, and made threads. */
    bool alone = t->mm->refs == 1 && t->proc->refs == 1;
    bool ok = alone && (s->base || (t->shim_fd && bring_in(&v)));
    if (!alone && t->shim_fd)
        shim_speak(&v, SYS_close, (u64)t->shim_fd - 1, 0, 0, 0, 0, 0);
    t->shim_fd = 0;
    if (v.gone)
        return true;
    s->never = !s->base;
    if (ok)
        shim_rewrite_image(&v, ip);
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

/* -- what turns it off -------------------------------------------------------------------- */

void shim_repointed(struct task *t)
{
    struct shim_state *s = &t->mm->shim;
    u64 now = t->proc->stale_seen;
    if (s->base && s->stale != now &&
        remote_poke(t, s->base + shim.head.own + offsetof(struct shim_own, stale), &now,
                    sizeof(now)) == 0)
        s->stale = now;
}

void shim_killed(struct task *t)
{
    if (t->mm && t->mm->shim.base)
        overlay_touch_all(sup.overlay);
}

/* A word of the process's struct shim_own says yes from now on. */
static void poke_own(struct task *t, size_t word)
{
    const u64 yes = 1;
    if (t->mm && t->mm->shim.base)
        remote_poke(t, t->mm->shim.base + shim.head.own + word, &yes, sizeof(yes));
}

void shim_off(struct task *t)
{
    t->proc->shim_off = true;
    poke_own(t, offsetof(struct shim_own, off));
}

static bool has_threads(const struct task *t)
{
    struct found_status st;
    char name[32];
    if (t->seized)
        return t->proc->refs > 1;
    snprintf(name, sizeof(name), "/proc/%d/status", t->tid);
    return !creds_status(AT_FDCWD, name, &st, NULL) || st.threads != 1;
}

/* Where no other thread can look between now and then, the count is enough. */
void shim_moves(struct task *t)
{
    struct overlay_facts *facts = sup.overlay->facts;
    if (shim.fd < 0)
        return;
    __atomic_add_fetch(&facts->cwds, 1, __ATOMIC_SEQ_CST);
    if (!has_threads(t))
        return;
    if (t->seized && t->mm && t->mm->shim.base)
        poke_own(t, offsetof(struct shim_own, cwds));
    else
        shim_moves_shared();
}

void shim_moves_shared(void)
{
    __atomic_store_n(&sup.overlay->facts->cwds_shared, 1, __ATOMIC_SEQ_CST);
}

void shim_cloned(struct task *parent, struct task *child)
{
    const u64 elsewhere = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID;
    struct user_regs_struct u;
    u64 flags = 0;
    child->proc->shim_off |= parent->proc->shim_off;
    if (shim.fd < 0 || child->proc->shim_off)
        return;
    if (child->proc == parent->proc) {
        poke_own(parent, offsetof(struct shim_own, shared));
        return;
    }
    bool known = ptrace(PTRACE_GETREGS, parent->tid, NULL, &u) == 0;
    if (known && u.orig_rax == SYS_clone)
        flags = u.rdi;
    else if (known && u.orig_rax == SYS_clone3)
        known = remote_read(parent, &flags, u.rdi, sizeof(flags)) == 0;
    if (flags & CLONE_FILES)
        shim_off(parent); /* alone with its descriptors, it may hold one that it did not open */
    if (!known || (flags & (elsewhere | CLONE_FILES)))
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
enum shim_here shim_visit_here(struct task *t UNUSED)
{
    return SHIM_AT_A_STOP;
}
enum shim_signal shim_signal(struct task *t UNUSED, int sig UNUSED)
{
    return SHIM_OUTSIDE;
}
void shim_killed(struct task *t UNUSED) {}
void shim_repointed(struct task *t UNUSED) {}
void shim_moves(struct task *t UNUSED) {}
void shim_moves_shared(void) {}
void shim_off(struct task *t UNUSED) {}
void shim_cloned(struct task *parent UNUSED, struct task *child UNUSED) {}

#endif
