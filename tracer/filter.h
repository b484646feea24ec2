/* The seccomp filter, derived from the syscall table. */
#ifndef FUSS_TRACER_FILTER_H
#define FUSS_TRACER_FILTER_H

#include <stdint.h>

struct filter; /* a built filter, ready to be loaded */

/* Builds the filter: calls of the table stop the program, calls that need nothing pass, everything
 * else (unknown numbers, io_uring, x32, int 0x80) gets ENOSYS. Negative errno in *err and NULL on
 * failure. Built before fork, so that the child only loads it. */
struct filter *filter_build(int *err);
/* Loads it into the calling process for good; 0 or a negative errno. Sets no_new_privs unless the
 * process has CAP_SYS_ADMIN, so that setuid programs keep working under root. */
int filter_load(struct filter *f);
void filter_free(struct filter *f);

#endif
