/* Between shim.c, shimsites.c and shimregs.c. */
#ifndef FUSS_TRACER_SHIMPARTS_H
#define FUSS_TRACER_SHIMPARTS_H

#include "shim_image.h"
#include "tracer/sitecache.h"
#include "tracer/task.h"
#include <sys/user.h>

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
    bool silent;    /* there are to be none, */
    bool under_way; /* and the site of the call at hand was one of those that are another now */
    long nr;
    u64 arg[6];
};

/* One of them. -ESRCH with v->gone set where the task is gone. */
long shim_speak(struct visit *v, long nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
/* True for a call that the shim may answer. */
bool shim_serves(long nr);

/* -- shimsites.c -------------------------------------------------------------------------- */

/* One mapping of a program's, of a file where ino is not 0. */
struct mapping {
    u64 start, end, offset, ino;
    u64 free_from, free_to; /* the last gap before it, if asked for; 0 = none of use */
    char path[PATH_MAX];
};

/* The mapping that holds `ip`, and if asked for the `gap` before it. */
bool shim_mapping(struct task *t, u64 ip, bool gap, struct mapping *m);
/* The sites of its file: NULL where there are none, or (*later, notices to be waited for, unless
 * at_once) not yet. */
const struct sites *shim_sites_of(const struct mapping *m, bool at_once, size_t *later);
/* True for a site within the mapping by which calls may be made that the shim may answer. */
bool shim_wants(const struct site *site, const struct mapping *m);
/* Writes the stub of a site at `vaddr` as it runs at `at`; how many SHIM_STUB it takes. */
unsigned shim_make_stub(u8 stub[2 * SHIM_STUB], u64 at, const struct site *site, u64 vaddr,
                        u64 entry);
/* `jmp to` as it runs at `at`; what is behind it. */
u8 *shim_put_jump(u8 *p, u64 at, u64 to);
static inline u64 shim_site_at(const struct site *site, const struct mapping *m)
{
    return m->start + (site->offset - m->offset);
}

/* Makes n sites (64 at most) of the mapping, where memory holds them as the table says, lead to
 * their stubs: the first is at `stubs`, each takes step[i] SHIM_STUB. How many were. */
unsigned shim_patch_all(struct task *t, const struct mapping *m, const struct site *const *site,
                        unsigned n, u64 stubs, const u8 *step);
/* Makes the sites of the image that holds `ip` lead into the shim. False, and nothing done, where
 * that takes calls in the program and v->silent. */
bool shim_rewrite_image(struct visit *v, u64 ip);

/* -- shimexec.c --------------------------------------------------------------------------- */

#define SHIM_PATCHES SHIM_STUBS_PAGE
struct loader_map;
/* Bytes that replace others, from the image's base on; loader_x86_64.S. */
struct shim_patch {
    u32 at, size;
    u8 bytes[SITE_BYTES];
};
/* For a program whose loader, the file `path`, is going to lie at `base`: makes ready that the shim
 * is mapped below it, by code that will lie at `early`, and `old` unmapped, before it begins at
 * `entry` with its stack at `sp`. The patches that lead the loader's text there; how many, 0 = the
 * shim does not come. */
struct shim_old {
    u64 base, size;
};
unsigned shim_with_loader(struct task *t, const char *path, u64 ino, u64 base,
                          const struct loader_map *text, u64 entry, u64 sp, u64 early,
                          const struct shim_old *old, struct shim_patch patches[SHIM_PATCHES]);
u64 shim_early_size(void);
/* The program of this address space asks often: once executed again it begins with the shim. */
void shim_asks_often(const struct shim_state *s);
/* At a signal's stop: true where it is the end of a vain attempt of shim_executed(). */
bool shim_early_failed(struct task *t, struct user_regs_struct *u, int sig);

#endif
