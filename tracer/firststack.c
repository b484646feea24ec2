#include "tracer/firststack.h"
#include "tracer/remote.h"
#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>

#define PAGE 4096u

static void note(struct first_stack *s, u64 type, u64 value, u64 at)
{
    if (type == AT_BASE) {
        s->base = value;
        s->base_at = at;
    } else if (type == AT_SYSINFO_EHDR) {
        s->vdso = value;
    } else if (type == AT_EXECFN) {
        s->execfn = value;
    }
}

void first_stack_read(struct task *t, struct first_stack *out)
{
    struct __ptrace_syscall_info info = {0};
    u64 words[PAGE / sizeof(u64)], have, type = 0;
    enum { COUNT, ARGUMENTS, ENVIRONMENT, TYPE, VALUE } seek = COUNT;
    memset(out, 0, sizeof(*out));
    if (ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, (void *)sizeof(info), &info) < 0)
        return;
    out->sp = info.stack_pointer;
    out->ip = info.instruction_pointer;
    for (u64 from = info.stack_pointer;; from += have) {
        have = PAGE - from % PAGE;
        if (remote_read(t, words, from, have))
            return;
        for (u64 i = 0; i < have / sizeof(u64); i++) {
            if (seek == COUNT) {
                seek = ARGUMENTS;
            } else if (seek < TYPE) {
                seek += words[i] == 0;
            } else if (seek == TYPE) {
                type = words[i];
                if (type == AT_NULL)
                    return;
                seek = VALUE;
            } else {
                note(out, type, words[i], from + i * sizeof(u64));
                seek = TYPE;
            }
        }
    }
}
