/* ~/.fuss: mountpoint, upperdir, lowerdir and whiteout as YAML. */
#ifndef FUSS_TRACER_CONFIG_H
#define FUSS_TRACER_CONFIG_H

#include "tracer/options.h"

/* Reads $HOME/.fuss where it exists; a mistake in it ends the process with status 2. */
void config_read(struct options *o);

#endif
