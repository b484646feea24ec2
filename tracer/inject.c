#include "tracer/inject.h"
#include "tracer/notice.h"
#include "tracer/wait.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSCALL_STOP (SIGTRAP | 0x80)
#define AREA_SIZE    (128u << 10)
#define PAGE_MASK    4095u
#define HELD_MAX     16

/* Continues to the next stop of this very task. 0 with the status, or -ESRCH where the task ended
 * or became another one: the status is then left for the loop. */
static int step(struct task *t, int *status)
{
    if (ptrace(PTRACE_SYSCALL, t->tid, NULL, NULL) < 0)
        return -ESRCH;
    if (wait_task(t->tid, status))
        return -ESRCH;
    if (WIFSTOPPED(*status) && *status >> 16 != PTRACE_EVENT_EXEC)
        return 0;
    t->has_status = true;
    t->status = *status;
    return -ESRCH;
}

long inject_syscall(struct task *t, long nr, const u64 said[6])
{
    int status;
    long result;
    u64 arg[6];
    memcpy(arg, said, sizeof(arg));
    notice_mark(nr, arg);
    if (regs_rewrite(t->tid, &t->regs, nr, arg))
        return -ESRCH;
    do {
        if (step(t, &status))
            return -ESRCH;
    } while (WSTOPSIG(status) != SYSCALL_STOP);
    if (regs_result(t->tid, &result) || regs_again(t->tid, &t->regs, nr, arg))
        return -ESRCH;
    return result;
}

long inject_after(struct task *t, long nr, const u64 said[6])
{
    siginfo_t held[HELD_MAX];
    int nheld = 0, status, exits = 0;
    long result = -ESRCH;
    u64 arg[6];
    memcpy(arg, said, sizeof(arg));
    notice_mark(nr, arg);
    if (regs_inject_after(t->tid, &t->regs, nr, arg))
        return -ESRCH;
    /* The entry stop, then the exit stop. Signals are held back until afterwards; should one come
     * before the call was entered, the registers still stand at the instruction. */
    while (exits < 2) {
        if (step(t, &status))
            return -ESRCH;
        if (WSTOPSIG(status) == SYSCALL_STOP)
            exits++;
        else if (status >> 16 == 0 && nheld < HELD_MAX)
            ptrace(PTRACE_GETSIGINFO, t->tid, NULL, &held[nheld++]);
    }
    if (regs_result(t->tid, &result))
        return -ESRCH;
    for (int i = 0; i < nheld; i++)
        syscall(SYS_rt_tgsigqueueinfo, t->proc->tgid, t->tid, held[i].si_signo, &held[i]);
    return result;
}

static size_t slot_size(const struct scratch_area *a)
{
    return a->size / SCRATCH_SLOTS;
}

/* First of `count` free slots in a row, or -1. */
static int find_slots(const struct scratch_area *a, unsigned count)
{
    unsigned run = 0;
    for (unsigned i = 0; i < SCRATCH_SLOTS; i++) {
        run = a->used >> i & 1 ? 0 : run + 1;
        if (run == count)
            return (int)(i + 1 - count);
    }
    return -1;
}

static void mark_slots(struct scratch_area *a, unsigned first, unsigned count, bool used)
{
    for (unsigned i = first; i < first + count; i++) {
        if (used)
            a->used |= (unsigned __int128)1 << i;
        else
            a->used &= ~((unsigned __int128)1 << i);
    }
}

static u64 take(struct task *t, size_t bytes)
{
    if (t->nslots == ARRAY_LEN(t->slots))
        return 0;
    for (int i = 0; i < SCRATCH_AREAS; i++) {
        struct scratch_area *a = &t->mm->area[i];
        if (!a->addr || bytes > a->size)
            continue;
        unsigned count = (unsigned)((bytes + slot_size(a) - 1) / slot_size(a));
        int first = find_slots(a, count);
        if (first < 0)
            continue;
        mark_slots(a, (unsigned)first, count, true);
        t->slots[t->nslots].area = i;
        t->slots[t->nslots].first = (unsigned)first;
        t->slots[t->nslots++].count = count;
        return a->addr + (u64)first * slot_size(a);
    }
    return 0;
}

static struct scratch_area *free_area(struct mm *mm)
{
    for (int i = 0; i < SCRATCH_AREAS; i++) {
        if (!mm->area[i].addr)
            return &mm->area[i];
    }
    return NULL;
}

u64 scratch_get(struct task *t, size_t bytes, bool *reexec)
{
    *reexec = false;
    u64 addr = take(t, bytes ? bytes : 1);
    if (addr)
        return addr;
    struct scratch_area *a = free_area(t->mm);
    if (!a || t->nslots == ARRAY_LEN(t->slots) || t->no_scratch) {
        t->no_scratch = false;
        return 0;
    }
    u64 size = bytes > AREA_SIZE ? (bytes + AREA_SIZE - 1) & ~(u64)(AREA_SIZE - 1) : AREA_SIZE;
    const u64 arg[6] = {0, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, (u64)-1, 0};
    long result = inject_syscall(t, SYS_mmap, arg);
    *reexec = true;
    if (result == -ESRCH)
        return 0;
    if ((result < 0 && result > -4096) || (result & PAGE_MASK)) {
        t->no_scratch = true; /* known when the call traps again, and answered then */
        return 0;
    }
    a->addr = (u64)result;
    a->size = size;
    a->used = 0;
    return a->addr;
}

void scratch_release(struct task *t)
{
    for (unsigned i = 0; i < t->nslots; i++) {
        struct scratch_area *a = &t->mm->area[t->slots[i].area];
        mark_slots(a, t->slots[i].first, t->slots[i].count, false);
    }
    t->nslots = 0;
}

void scratch_offer(struct mm *mm, u64 addr, u64 size)
{
    struct scratch_area *a = free_area(mm);
    if (a)
        *a = (struct scratch_area){.addr = addr, .size = size};
}

void scratch_forget(struct task *t)
{
    t->nslots = 0;
    memset(t->mm->area, 0, sizeof(t->mm->area));
}
