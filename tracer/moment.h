/* How long what was found out about a path of the union is believed: while no name of the union is
 * touched, and of what others do to a layer as long as steady directories. */
#ifndef FUSS_TRACER_MOMENT_H
#define FUSS_TRACER_MOMENT_H

#include "overlay/index.h"
#include "tracer/supervise.h"
#include "vfs/steady.h"

struct moment {
    u32 when;
    u64 generation;
};

/* To be taken before anything is looked at. */
static inline struct moment moment_now(void)
{
    return (struct moment){steady_now(),
                           sup.overlay->index ? index_generation(sup.overlay->index) : 0};
}

/* Without an index nothing tells of a touch: nothing is believed. */
static inline bool moment_holds(const struct moment *m)
{
    return sup.overlay->index && steady_now() - m->when < STEADY_TICKS &&
           index_generation(sup.overlay->index) == m->generation;
}

#endif
