/* `--image`: what an image's layers and config say, put into the options. */
#ifndef FUSS_TRACER_CONTAINER_H
#define FUSS_TRACER_CONTAINER_H

#include "tracer/options.h"

/* Does nothing without --image. `file` is what ~/.fuss said alone. */
void container_apply(struct options *o, const struct options *file);

#endif
