/* The three processes: front, supervisor, command. */
#ifndef FUSS_TRACER_START_H
#define FUSS_TRACER_START_H

#include "tracer/options.h"

/* Starts the supervisor, which starts the command; the exit status for main. */
int start(const struct session *s, const struct options *o);

#endif
