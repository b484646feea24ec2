/* --bind, --ro-bind, --hide and the root's default binds: from options to the session's table. */
#ifndef FUSS_TRACER_BINDSETUP_H
#define FUSS_TRACER_BINDSETUP_H

#include "tracer/options.h"

/* What can be said of them by their text and the host: to be called once the layers are known. A
 * mistake ends the process with status 2. */
void binds_read(struct session *s, const struct options *o);
/* Finds their places in the union, whose symlinks are followed but for the last name's; directories
 * that lead there and are missing are made in the upper. What is wrong is told, with -1. */
int binds_settle(struct session *s);

#endif
