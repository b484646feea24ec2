#include "tracer/loader.h"
#include "tracer/filter.h"
#include "tracer/inject.h"
#include "tracer/log.h"
#include "tracer/remote.h"
#include "tracer/shim.h"
#include "tracer/shimparts.h"
#include "base/str.h"
#include <linux/openat2.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#define PAGE      4096u
#define JOB       16384u   /* loader_x86_64.S */
#define VVAR_ROOM 0x10000u /* data of the vdso, in front of it */

#if defined(__x86_64__)

extern const u8 loader_code[], loader_code_room[], loader_code_failed[], loader_code_end[];

/* As loader_x86_64.S reads it. */
struct loader_job {
    u64 room_at, room, room_flags;
    u64 open_nr, open_arg[2], cookie;
    u64 nmaps, maps; /* where they lie */
    u64 npatches, patches;
    u64 text_at, text_size;
    u64 zero_at, zero_size;
    u64 base_at; /* where AT_BASE's value lies */
    u64 entry;
    u64 early; /* code to go on with, 0 = at the entry */
    u64 leave;
    u64 host, host_size;
    char name[24]; /* what it is called, "" = as the kernel has called it */
    char path[PATH_MAX];
    struct open_how how;
    struct loader_map map[LOADER_MAPS];
    struct shim_patch patch[SHIM_PATCHES];
};
_Static_assert(offsetof(struct loader_job, maps) == 64 &&
                   offsetof(struct loader_job, zero_at) == 104 &&
                   offsetof(struct loader_job, early) == 136 &&
                   offsetof(struct loader_job, name) == 168 &&
                   offsetof(struct loader_job, path) == 192 &&
                   sizeof(struct loader_job) < JOB - 2 * SHIM_EARLY &&
                   sizeof(struct shim_patch) == 24,
               "the code knows where things are");

static u64 code_size(void)
{
    return ((u64)(loader_code_end - loader_code) + 15) & ~(u64)15;
}

bool loader_fits(const struct loader_change *c)
{
    return c->host.span && c->ours.span && c->host.entry + code_size() <= c->host.text_end;
}

static void fill(struct loader_job *job, const struct loader_change *c, u64 at, bool gate)
{
    memset(job, 0, sizeof(*job));
    job->room = c->ours.span;
    job->room_flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    /* By the gate, or as any program opens it. */
    job->open_nr = gate ? SYS_openat2 : SYS_openat;
    job->open_arg[0] = gate ? at + offsetof(struct loader_job, how) : O_RDONLY | O_CLOEXEC;
    job->open_arg[1] = gate ? sizeof(job->how) : 0;
    job->cookie = gate ? filter_cookie : 0;
    job->how.flags = O_RDONLY | O_CLOEXEC;
    job->how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    str_copy(job->path, sizeof(job->path), gate ? c->real : c->said);
    job->nmaps = c->ours.nmaps;
    job->maps = at + offsetof(struct loader_job, map);
    memcpy(job->map, c->ours.map, sizeof(job->map));
    job->patches = at + offsetof(struct loader_job, patch);
    job->zero_at = c->ours.zero_at;
    job->zero_size = c->ours.zero_size;
    job->entry = c->ours.entry;
    job->leave = c->ours.leave;
    job->host_size = c->host.span;
}

/* The shim comes with it: below what the kernel mapped lies ours, and below that the shim. */
static void add_shim(struct task *t, struct loader_job *job, const struct loader_change *c,
                     const struct first_stack *first)
{
    u64 below = first->vdso && first->vdso < first->base ? first->vdso : first->base;
    struct loader_map *text = job->map;
    const struct shim_old old = {first->base, c->host.span};
    u64 base = below - VVAR_ROOM - c->ours.span, early = job->host + c->host.entry + code_size();
    while (text < &job->map[job->nmaps] && !(text->prot & PROT_EXEC))
        text++;
    if (text == &job->map[job->nmaps] || early + shim_early_size() > job->host + c->host.text_end)
        return;
    job->npatches = shim_with_loader(t, c->real, c->ours.ino, base, text, base + c->ours.entry,
                                     first->sp, early, &old, job->patch);
    if (!job->npatches)
        return;
    job->early = early;
    job->room_at = base;
    job->room_flags |= MAP_FIXED_NOREPLACE;
    job->text_at = text->at;
    job->text_size = text->size;
    text->prot = PROT_READ | PROT_WRITE; /* until it is patched */
}

static bool has_gate(const struct task *t)
{
    return shim_enabled() && filter_gated(systab_row(SYS_openat2)) && !t->proc->shim_off;
}

void loader_exchange(struct task *t, const struct loader_change *c, const struct first_stack *first)
{
    static struct loader_job job;
    u64 sp = first->sp, ip = first->ip;
    fill(&job, c, sp - JOB, has_gate(t));
    job.host = first->base;
    job.base_at = first->base_at;
    memcpy(job.name, t->comm, sizeof(t->comm));
    t->comm[0] = '\0';
    bool ok = sp && job.host && ip == job.host + c->host.entry;
    if (ok && shim_comes(t))
        add_shim(t, &job, c, first);
    size_t size = job.npatches ? sizeof(job) : offsetof(struct loader_job, patch);
    if (!ok || remote_poke(t, sp - JOB, &job, size) ||
        remote_poke(t, ip, loader_code, (size_t)(loader_code_end - loader_code))) {
        /* The kernel would have ended it, too. */
        log_debug("%d: its loader cannot be exchanged", t->tid);
        kill(t->proc->tgid, SIGKILL);
        return;
    }
    t->mm->loader_code = ip;
}

bool loader_trapped(struct task *t, int sig)
{
    struct user_regs_struct u;
    struct loader_job job;
    u64 at = t->mm ? t->mm->loader_code : 0, begin;
    if (sig != SIGTRAP || !at || ptrace(PTRACE_GETREGS, t->tid, NULL, &u) < 0)
        return false;
    begin = u.rsp - JOB;
    bool room = u.rip == at + (u64)(loader_code_room - loader_code) + 1;
    if (!room && u.rip != at + (u64)(loader_code_failed - loader_code) + 1)
        return false;
    if (!room || remote_read(t, &job, begin, sizeof(job))) {
        kill(t->proc->tgid, SIGKILL);
        return true;
    }
    /* Once more, anywhere, and without the shim. */
    for (unsigned i = 0; i < job.nmaps; i++) {
        if (job.map[i].at == job.text_at)
            job.map[i].prot = PROT_READ | PROT_EXEC;
    }
    job.room_at = job.npatches = job.early = 0;
    job.room_flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    memset(&t->mm->shim, 0, sizeof(t->mm->shim));
    scratch_forget(t);
    u.rip = at;
    if (remote_poke(t, begin, &job, sizeof(job)) || ptrace(PTRACE_SETREGS, t->tid, NULL, &u) < 0)
        kill(t->proc->tgid, SIGKILL);
    return true;
}

#else

bool loader_fits(const struct loader_change *c UNUSED)
{
    return false;
}
void loader_exchange(struct task *t UNUSED, const struct loader_change *c UNUSED,
                     const struct first_stack *first UNUSED)
{
}
bool loader_trapped(struct task *t UNUSED, int sig UNUSED)
{
    return false;
}

#endif
