#include "tracer/placement.h"
#include <stdlib.h>

#define SOLO_STREAK 16 /* calls in a row by one task; 2 to 64 measure alike */
#define MASK_USES   256

static cpu_set_t own_mask; /* the supervisor's, as it came */
static int last_tid, streak;
static unsigned generation;
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

void placement_seen(struct task *t)
{
    /* One after another: who is new here was started by the last one, which waits for it, or that
     * one has ended. */
    bool in_turn = t->tid == last_tid || !last_tid || (!t->called && t->ppid == last_tid);
    t->called = true;
    last_tid = t->tid;
    if (!in_turn) {
        streak = 0;
        unpin();
    } else if (streak < SOLO_STREAK) {
        streak++;
    }
}

/* Its mask, looked up again now and then: somebody outside the session may change it. */
static const cpu_set_t *mask_of(struct task *t)
{
    if (t->mask && t->mask_uses && t->mask_generation == generation) {
        t->mask_uses--;
        return t->mask;
    }
    if (!t->mask && !(t->mask = malloc(sizeof(*t->mask))))
        return NULL;
    if (sched_getaffinity(t->tid, sizeof(*t->mask), t->mask) < 0)
        return NULL;
    t->mask_generation = generation;
    t->mask_uses = MASK_USES;
    return t->mask;
}

void placement_before(struct task *t)
{
    cpu_set_t one;
    if (t->narrow || t->tid != last_tid || streak < SOLO_STREAK)
        return;
    if (pinned < 0)
        pin();
    const cpu_set_t *mask = pinned < 0 ? NULL : mask_of(t);
    if (!mask || !CPU_ISSET(pinned, mask))
        return;
    CPU_ZERO(&one);
    CPU_SET(pinned, &one);
    t->narrow = sched_setaffinity(t->tid, sizeof(one), &one) == 0;
}

static void widen(struct task *t)
{
    t->narrow = false;
    sched_setaffinity(t->tid, sizeof(*t->mask), t->mask);
}

void placement_after(struct task *t)
{
    t->was_narrow = t->narrow;
    if (t->narrow && t->state != TASK_IN_CALL)
        widen(t);
}

static void widen_any(struct task *t, void *arg UNUSED)
{
    if (t->narrow)
        widen(t);
}

void placement_reset(void)
{
    task_each(widen_any, NULL);
    generation++;
}

void placement_inherit(struct task *child, const struct task *parent)
{
    if (!parent->was_narrow || CPU_COUNT(parent->mask) == 1)
        return;
    child->mask = malloc(sizeof(*child->mask));
    if (child->mask)
        *child->mask = *parent->mask;
}

/* A mask of one CPU that is not the parent's is the narrow one. */
static void put_right(const struct task *t, const cpu_set_t *whole)
{
    cpu_set_t now;
    if (sched_getaffinity(t->tid, sizeof(now), &now) == 0 && CPU_COUNT(&now) == 1)
        sched_setaffinity(t->tid, sizeof(*whole), whole);
}

void placement_met(const struct task *child, const struct task *parent)
{
    if (parent->mask && CPU_COUNT(parent->mask) > 1)
        put_right(child, parent->mask);
}

void placement_started(struct task *t)
{
    if (!t->mask)
        return;
    put_right(t, t->mask); /* only what placement_inherit left here */
    free(t->mask);
    t->mask = NULL;
}

void placement_gone(const struct task *t)
{
    if (t->tid == last_tid)
        last_tid = 0;
}
