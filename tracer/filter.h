/* The seccomp filter, derived from the syscall table. */
#ifndef FUSS_TRACER_FILTER_H
#define FUSS_TRACER_FILTER_H

#include "base/base.h"
#include "call/systab.h"
#include <linux/filter.h>

struct filter; /* a built filter, ready to be loaded */

/* How a call of the table reaches the supervisor. */
enum filter_way {
    FILTER_TRACE,  /* by a ptrace stop */
    FILTER_NOTIFY, /* by a notice (notify.h), or marked: by a ptrace stop */
};

/* As sixth argument of a call that takes fewer and only reads (filter_gated), with the gate open:
 * it passes. The session's secret; to be set before the filter is built. Neither of its halves may
 * be all ones. */
extern u64 filter_cookie;
void filter_open_gate(u64 cookie);
bool filter_gated(const struct sysrow *row);

/* As sixth argument of a call that takes fewer, or in the upper half of the first of one that takes
 * six (an int, of which the kernel looks at the lower half): a ptrace stop in the place of a
 * notice. No secret: both ways lead to the same code. */
#define FILTER_RETRACE (filter_cookie + 1)
bool filter_is_marked(const struct sysrow *row, const u64 arg[6]);
/* Marks the arguments; which of them it was. */
unsigned filter_mark(const struct sysrow *row, u64 arg[6]);

/* Filters built or loaded from now on trap what only sessions with fake ids need. */
void filter_fake_ids(bool fake);

/* Builds the filter: calls of the table stop the program, calls that need nothing pass, everything
 * else (unknown numbers, io_uring, x32, int 0x80) gets ENOSYS. Negative errno in *err and NULL on
 * failure. Built before fork, so that the child only loads it. */
struct filter *filter_build(enum filter_way way, int *err);
/* Its program and the program's length. 0 or a negative errno. */
int filter_program(struct filter *f, enum filter_way way, struct sock_filter program[BPF_MAXINSNS],
                   size_t *len);

/* The same, made when fuss was built (tracer/generate): one behind the other, in the order of
 * filter_place(); FILTER_COOKIE stands for the session's in those that notify. A fuss that is built
 * for another machine has none. */
#define FILTER_COOKIE 0x2d6b17c95ae0834cu
#define FILTERS_READY 4
static inline unsigned filter_place(enum filter_way way, bool fake)
{
    return 2 * fake + (way == FILTER_NOTIFY);
}
struct filter_ready {
    u32 len[FILTERS_READY];
    struct sock_filter program[];
};
bool filter_is_ready(enum filter_way way);

/* Loads it (NULL: the one that is ready) into the calling process for good: the listener's
 * descriptor for FILTER_NOTIFY, else 0; or a negative errno (-EBUSY: somebody listens to this
 * process already). Sets no_new_privs unless the process has CAP_SYS_ADMIN, so that setuid programs
 * keep working under root. */
int filter_load(struct filter *f, enum filter_way way);
void filter_free(struct filter *f);

#endif
