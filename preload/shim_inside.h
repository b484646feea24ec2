/* The shim's own parts. Its code is the image's alone: no libc, no data but what is mapped behind
 * the text, no descriptor ever opened. */
#ifndef FUSS_PRELOAD_SHIM_INSIDE_H
#define FUSS_PRELOAD_SHIM_INSIDE_H

#include "shim_image.h"

#define HIDDEN __attribute__((visibility("hidden")))

extern HIDDEN struct shim_shared shim_shared; /* read-only here */
extern HIDDEN struct shim_own shim_own;

/* entry.S: does not return; the call is made again and the supervisor serves it. */
_Noreturn HIDDEN void shim_unable(void);
/* entry.S: a system call that the filter lets pass. */
HIDDEN long shim_gate(long nr, long a, long b, long c, long d, long e);
/* The seam of base/sys.h. */
HIDDEN long shim_sys(long nr, long a, long b, long c, long d, long e, long f);
/* caller.c: a process that looks at itself. `changes` is the count of the union's changes at the
 * beginning of the call. */
struct shim_caller {
    struct caller who; /* first */
    struct shim_memory *memory;
    u64 changes;
};
HIDDEN void shim_caller(struct shim_caller *who, struct shim_memory *memory, u64 changes);

static inline struct shim_memory *shim_memory_of(const struct shim_saved *saved)
{
    return (struct shim_memory *)((u64)saved + SHIM_SAVED - SHIM_SLOT);
}
struct call;
/* list.c: true with the result in *saved; else the call is the supervisor's. */
HIDDEN bool shim_list(struct shim_saved *saved, struct call *c, u64 changes);
/* What entry.S calls: see there for the results. */
HIDDEN int shim_handle(struct shim_saved *saved);
/* The last call was made, and went well. */
HIDDEN void shim_done(struct shim_saved *saved);

#endif
