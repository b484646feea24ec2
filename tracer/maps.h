/* /proc/PID/maps and smaps, with the union's paths in the place of the layers'. */
#ifndef FUSS_TRACER_MAPS_H
#define FUSS_TRACER_MAPS_H

#include "vfs/walk.h"

/* struct view's `maps`. The list is that of the moment when it is opened. */
int maps_open(const struct view *view, struct caller *who, const char *path);

#endif
