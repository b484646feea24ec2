/* The dynamic linker of a program, where the kernel would find the host's: it is exchanged for the
 * union's before the program's first instruction. Argument list, name, /proc/self/exe, heap and
 * set-id bits of the program are the kernel's own. */
#ifndef FUSS_TRACER_LOADER_H
#define FUSS_TRACER_LOADER_H

#include "tracer/firststack.h"
#include "tracer/task.h"
#include <sys/stat.h>

#define LOADER_MAPS 8

struct loader_map {
    u64 at, size; /* from its base */
    u32 prot, flags;
    u64 offset;
};

/* What is known of one. */
struct loader {
    u64 span; /* bytes of address space; 0 = nothing that can be exchanged */
    u64 ino;
    u64 entry, text_end;
    u64 zero_at, zero_size; /* of its last page from the file */
    bool for_all;           /* to be executed by anybody who gets there */
    u64 leave;              /* `syscall ; ret` in its text, 0 = there is none */
    unsigned nmaps;
    struct loader_map map[LOADER_MAPS];
};

struct loader_change {
    struct loader host, ours;
    char said[PATH_MAX], real[PATH_MAX]; /* ours, as the program names it, and for the kernel */
};

/* Of the open file with this stat; it is remembered, unless it has just been changed. */
void loader_read(int fd, const struct stat *st, struct loader *out);
bool loader_known(const struct stat *st, struct loader *out);
/* True where that one may stand in for the host's. */
bool loader_fits(const struct loader_change *c);
/* At the stop of the exec; the shim comes along where shim_comes(). */
void loader_exchange(struct task *t, const struct loader_change *c,
                     const struct first_stack *first);
/* At a signal's stop: true where the exchange did not go as thought, which the program is not to
 * hear of. */
bool loader_trapped(struct task *t, int sig);

#endif
