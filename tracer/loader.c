#include "tracer/loader.h"
#include "tracer/filter.h"
#include "tracer/log.h"
#include "tracer/remote.h"
#include "tracer/shim.h"
#include "base/str.h"
#include <elf.h>
#include <linux/openat2.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <unistd.h>

#define KNOWN     8
#define PHDRS_MAX 32
#define PAGE      4096u
#define JOB       8192u /* loader_x86_64.S */
#define SPAN_MAX  (16u << 20)

static u64 page_down(u64 at)
{
    return at & ~(u64)(PAGE - 1);
}

static u64 page_up(u64 at)
{
    return page_down(at + PAGE - 1);
}

/* -- what a loader is --------------------------------------------------------------------- */

static u32 prot_of(u32 flags)
{
    return (flags & PF_R ? PROT_READ : 0u) | (flags & PF_W ? PROT_WRITE : 0u) |
           (flags & PF_X ? PROT_EXEC : 0u);
}

static bool add_map(struct loader *l, u64 at, u64 end, u32 prot, u32 flags, u64 offset)
{
    if (at == end)
        return true;
    if (at > end || end > SPAN_MAX || l->nmaps == LOADER_MAPS)
        return false;
    l->map[l->nmaps++] = (struct loader_map){at, end - at, prot, flags | MAP_FIXED, offset};
    l->span = end;
    return true;
}

/* As the kernel maps it (fs/binfmt_elf.c): the file's part in whole pages, zeros behind it. */
static bool add_segment(struct loader *l, const Elf64_Phdr *p)
{
    u64 at = page_down(p->p_vaddr), file_end = p->p_vaddr + p->p_filesz;
    u64 end = p->p_vaddr + p->p_memsz;
    bool first = l->span == 0;
    if (p->p_align > PAGE || (p->p_vaddr ^ p->p_offset) % PAGE || p->p_filesz > p->p_memsz ||
        p->p_filesz > SPAN_MAX || p->p_memsz > SPAN_MAX || p->p_vaddr > SPAN_MAX || at < l->span ||
        (first && at) || l->zero_size)
        return false;
    if (!add_map(l, at, page_up(file_end), prot_of(p->p_flags), MAP_PRIVATE,
                 page_down(p->p_offset)) ||
        !add_map(l, page_up(file_end), page_up(end), prot_of(p->p_flags),
                 MAP_PRIVATE | MAP_ANONYMOUS, 0))
        return false;
    if (end > file_end && file_end % PAGE) {
        l->zero_at = file_end;
        l->zero_size = page_up(file_end) - file_end;
    }
    if (p->p_flags & PF_X)
        l->text_end = file_end;
    return end == file_end || (p->p_flags & PF_W);
}

/* Bytes by which it unmaps another and goes on. */
static u64 find_leave(int fd, const Elf64_Phdr *text)
{
    static const u8 wanted[] = {0x0f, 0x05, 0xc3};
    u8 bytes[1 << 14];
    for (u64 at = 0; at < text->p_filesz; at += sizeof(bytes) - sizeof(wanted)) {
        ssize_t n = pread(fd, bytes, min_size(sizeof(bytes), text->p_filesz - at),
                          (off_t)(text->p_offset + at));
        const u8 *found = n > 0 ? memmem(bytes, (size_t)n, wanted, sizeof(wanted)) : NULL;
        if (found)
            return text->p_vaddr + at + (u64)(found - bytes);
        if (n <= 0)
            break;
    }
    return 0;
}

static bool parse(int fd, struct loader *l)
{
    Elf64_Ehdr h;
    Elf64_Phdr p[PHDRS_MAX];
    if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
        h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != EM_X86_64 || h.e_type != ET_DYN ||
        h.e_phentsize != sizeof(p[0]) || h.e_phnum > PHDRS_MAX)
        return false;
    size_t size = h.e_phnum * sizeof(p[0]);
    if (pread(fd, p, size, (off_t)h.e_phoff) != (ssize_t)size)
        return false;
    l->entry = h.e_entry;
    for (unsigned i = 0; i < h.e_phnum; i++) {
        if (p[i].p_type == PT_INTERP || (p[i].p_type == PT_LOAD && !add_segment(l, &p[i])))
            return false;
        if (p[i].p_type == PT_LOAD && (p[i].p_flags & PF_X) && !l->leave)
            l->leave = find_leave(fd, &p[i]);
    }
    return l->entry < l->text_end;
}

static struct {
    struct stat st; /* st_ino 0: free */
    struct loader loader;
} known[KNOWN];
static unsigned next;

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           memcmp(&a->st_mtim, &b->st_mtim, sizeof(a->st_mtim)) == 0 &&
           memcmp(&a->st_ctim, &b->st_ctim, sizeof(a->st_ctim)) == 0;
}

bool loader_known(const struct stat *st, struct loader *out)
{
    for (unsigned i = 0; i < KNOWN; i++) {
        if (known[i].st.st_ino && is_same(&known[i].st, st)) {
            *out = known[i].loader;
            return true;
        }
    }
    return false;
}

void loader_read(int fd, const struct stat *st, struct loader *out)
{
    memset(out, 0, sizeof(*out));
    if (!parse(fd, out))
        out->span = 0;
    out->for_all = (st->st_mode & 0111) == 0111;
    known[next].st = *st;
    known[next++ % KNOWN].loader = *out;
    next %= KNOWN;
}

#if defined(__x86_64__)

/* -- the exchange ------------------------------------------------------------------------- */

extern const u8 loader_code[], loader_code_done[], loader_code_failed[], loader_code_end[];

/* As loader_x86_64.S reads it. */
struct loader_job {
    u64 open_nr, open_arg[2], cookie;
    u64 span, nmaps, zero_at, zero_size;
    u64 base_at; /* where AT_BASE's value lies */
    u64 entry, stop, leave;
    u64 host, host_size;
    u64 maps; /* where map[] lies */
    u64 pad;
    char path[PATH_MAX];
    struct open_how how;
    struct loader_map map[LOADER_MAPS];
};
_Static_assert(offsetof(struct loader_job, maps) == 112 &&
                   offsetof(struct loader_job, path) == 128 &&
                   sizeof(struct loader_job) < JOB - 256,
               "the code knows where things are");

bool loader_fits(const struct loader_change *c)
{
    u64 code = (u64)(loader_code_end - loader_code);
    return c->host.span && c->ours.span && c->host.entry + code <= c->host.text_end;
}

/* The value of AT_BASE in the program's first stack; *at is where it lies. 0: it has none. */
static u64 base_of(struct task *t, u64 sp, u64 *at)
{
    u64 words[PAGE / sizeof(u64)], have = 0, type = 0;
    enum { COUNT, ARGUMENTS, ENVIRONMENT, TYPE, VALUE } seek = COUNT;
    *at = 0;
    for (u64 from = sp;; from += have) {
        have = PAGE - from % PAGE;
        if (remote_read(t, words, from, have))
            return 0;
        for (u64 i = 0; i < have / sizeof(u64); i++) {
            switch (seek) {
            case COUNT:
                seek = ARGUMENTS;
                break;
            case ARGUMENTS:
            case ENVIRONMENT:
                seek += words[i] == 0;
                break;
            case TYPE:
                type = words[i];
                if (type == AT_NULL)
                    return 0;
                seek = VALUE;
                break;
            case VALUE:
                if (type == AT_BASE) {
                    *at = from + i * sizeof(u64);
                    return words[i];
                }
                seek = TYPE;
                break;
            }
        }
    }
}

static void fill(struct loader_job *job, const struct loader_change *c, u64 at)
{
    memset(job, 0, sizeof(*job));
    /* By the gate, or as any program opens it. */
    bool gate = shim_enabled();
    job->open_nr = gate ? SYS_openat2 : SYS_openat;
    job->open_arg[0] = gate ? at + offsetof(struct loader_job, how) : O_RDONLY | O_CLOEXEC;
    job->open_arg[1] = gate ? sizeof(job->how) : 0;
    job->cookie = gate ? filter_cookie : 0;
    job->how.flags = O_RDONLY | O_CLOEXEC;
    job->how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    str_copy(job->path, sizeof(job->path), gate ? c->real : c->said);
    job->span = c->ours.span;
    job->nmaps = c->ours.nmaps;
    job->zero_at = c->ours.zero_at;
    job->zero_size = c->ours.zero_size;
    job->entry = c->ours.entry;
    job->leave = c->ours.leave;
    job->host_size = c->host.span;
    job->maps = at + offsetof(struct loader_job, map);
    memcpy(job->map, c->ours.map, sizeof(job->map));
}

void loader_exchange(struct task *t, const struct loader_change *c, bool stop)
{
    struct user_regs_struct u;
    struct loader_job job;
    bool ok = ptrace(PTRACE_GETREGS, t->tid, NULL, &u) == 0;
    if (ok) {
        fill(&job, c, u.rsp - JOB);
        job.stop = stop;
        job.host = base_of(t, u.rsp, &job.base_at);
        ok = job.host && u.rip == job.host + c->host.entry &&
             remote_poke(t, u.rsp - JOB, &job, sizeof(job)) == 0 &&
             remote_poke(t, u.rip, loader_code, (size_t)(loader_code_end - loader_code)) == 0;
    }
    if (!ok) { /* the kernel would have ended it, too */
        log_debug("%d: its loader cannot be exchanged", t->tid);
        kill(t->proc->tgid, SIGKILL);
        return;
    }
    t->mm->loader_code = u.rip;
}

bool loader_exchanged(struct task *t, int sig)
{
    struct user_regs_struct u;
    struct loader_job job;
    u64 at = t->mm ? t->mm->loader_code : 0;
    if (sig != SIGTRAP || !at || ptrace(PTRACE_GETREGS, t->tid, NULL, &u) < 0)
        return false;
    u64 done = at + (u64)(loader_code_done - loader_code) + 1;
    u64 failed = at + (u64)(loader_code_failed - loader_code) + 1;
    if (u.rip != done && u.rip != failed)
        return false;
    t->mm->loader_code = 0;
    if (u.rip == failed || remote_read(t, &job, u.rsp - JOB, sizeof(job))) {
        kill(t->proc->tgid, SIGKILL);
        return true;
    }
    u.rip = job.entry;
    u.rax = u.rbx = u.rcx = u.rdx = u.rsi = u.rdi = u.rbp = 0;
    u.r8 = u.r9 = u.r10 = u.r11 = u.r12 = u.r13 = u.r14 = u.r15 = 0;
    u.orig_rax = (u64)-1;
    ptrace(PTRACE_SETREGS, t->tid, NULL, &u);
    return true;
}

#else

bool loader_fits(const struct loader_change *c UNUSED)
{
    return false;
}
void loader_exchange(struct task *t UNUSED, const struct loader_change *c UNUSED, bool stop UNUSED)
{
}
bool loader_exchanged(struct task *t UNUSED, int sig UNUSED)
{
    return false;
}

#endif
