/* Between shim.c, shimsites.c and shimregs.c. */
#ifndef FUSS_TRACER_SHIMPARTS_H
#define FUSS_TRACER_SHIMPARTS_H

#include "shim_image.h"
#include "tracer/sitecache.h"
#include "tracer/task.h"

/* What the supervisor knows of the session's shim. */
struct shim_common {
    int fd; /* its file, -1 = none */
    struct shim_head head;
    struct shim_shared *shared;
    struct sitecache *cache;
    size_t credit; /* notices that a shim would have answered, less what has been spent */
    bool spent;    /* some table was made */
    bool eager;    /* FUSS_SHIM_AFTER: never mind the credit */
};
extern struct shim_common shim;

/* Several calls of ours at one seccomp stop. */
struct visit {
    struct task *t;
    bool spoke, gone, rewritten;
    long nr;
    u64 arg[6];
};

/* One of them. -ESRCH with v->gone set where the task is gone. */
long shim_speak(struct visit *v, long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
/* True for a call that the shim may answer. */
bool shim_serves(long nr);
/* shimsites.c: makes the sites of the image that holds `ip` lead into the shim. */
void shim_rewrite_image(struct visit *v, u64 ip);

#endif
