/* The interpreters that programs name: of scripts (#!) and of ELF files (PT_INTERP). */
#ifndef FUSS_TRACER_INTERP_H
#define FUSS_TRACER_INTERP_H

#include "call/call.h"

/* Resolves an interpreter for the exec under way: its path is virtual and starts from the program's
 * working directory. 0 with p->exists, or -errno. c->base is used. */
int interp_find(struct call *c, const char *path, struct place *p);

#endif
