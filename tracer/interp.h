/* Programs and their interpreters, found by name. Mostly it is the same few, so those that were
 * found lately are remembered. */
#ifndef FUSS_TRACER_INTERP_H
#define FUSS_TRACER_INTERP_H

#include "call/call.h"

/* What call_resolve() says of the call's own path. */
int interp_resolve(struct call *c);
/* The interpreter `path` of the call's program, in the caller's view: 0 and it exists, or a
 * negative errno. c->base is overwritten. */
int interp_find(struct call *c, const char *path, struct place *p);

#endif
