#include "tracer/placement.h"
#include <stdlib.h>

#define SOLO_STREAK 16 /* calls in a row by one task; 2 to 64 measure alike */

static cpu_set_t own_mask; /* the supervisor's, as it came */
static int last_tid, streak;
static int pinned = -1; /* the CPU that the supervisor stays on while solo */

void placement_init(void)
{
    sched_getaffinity(0, sizeof(own_mask), &own_mask);
}

static void unpin(void)
{
    if (pinned < 0)
        return;
    sched_setaffinity(0, sizeof(own_mask), &own_mask);
    pinned = -1;
}

static void pin(void)
{
    cpu_set_t one;
    int cpu = sched_getcpu();
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof(one), &one) == 0)
        pinned = cpu;
}

void placement_seen(const struct task *t)
{
    if (t->tid != last_tid) {
        last_tid = t->tid;
        streak = 0;
        unpin();
        return;
    }
    if (streak < SOLO_STREAK)
        streak++;
}

bool placement_narrow(struct task *t)
{
    cpu_set_t mask, one;
    if (t->tid != last_tid || streak < SOLO_STREAK)
        return false;
    if (pinned < 0)
        pin();
    if (pinned < 0 || sched_getaffinity(t->tid, sizeof(mask), &mask) < 0 ||
        !CPU_ISSET(pinned, &mask))
        return false;
    if (!t->mask && !(t->mask = malloc(sizeof(*t->mask))))
        return false;
    *t->mask = mask;
    CPU_ZERO(&one);
    CPU_SET(pinned, &one);
    return sched_setaffinity(t->tid, sizeof(one), &one) == 0;
}

void placement_widen(struct task *t)
{
    sched_setaffinity(t->tid, sizeof(*t->mask), t->mask);
}

void placement_inherit(struct task *child, const struct task *parent)
{
    if (!parent->narrowed || CPU_COUNT(parent->mask) == 1)
        return;
    child->mask = malloc(sizeof(*child->mask));
    if (child->mask)
        *child->mask = *parent->mask;
}

/* A mask of one CPU that is not the parent's is the narrow one. */
void placement_started(struct task *t)
{
    cpu_set_t now;
    if (!t->mask)
        return;
    if (sched_getaffinity(t->tid, sizeof(now), &now) == 0 && CPU_COUNT(&now) == 1)
        sched_setaffinity(t->tid, sizeof(*t->mask), t->mask);
    free(t->mask);
    t->mask = NULL;
}

void placement_gone(const struct task *t)
{
    if (t->tid == last_tid) {
        last_tid = 0;
        unpin();
    }
}
