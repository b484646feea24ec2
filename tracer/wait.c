#include "tracer/wait.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

struct event {
    int tid;
    int status;
};

/* Kept events: events[first .. end - 1]. */
static struct event *events;
static unsigned first, end, size;

int wait_any(int *status)
{
    if (first == end)
        return waitpid(-1, status, __WALL | __WNOTHREAD);
    *status = events[first].status;
    int tid = events[first++].tid;
    if (first == end)
        first = end = 0;
    return tid;
}

static int keep(int tid, int status)
{
    if (end == size) {
        unsigned more = size ? 2 * size : 64;
        struct event *grown = realloc(events, more * sizeof(*grown));
        if (!grown)
            return -1;
        events = grown;
        size = more;
    }
    events[end++] = (struct event){tid, status};
    return 0;
}

int wait_task(int tid, int *status)
{
    for (;;) {
        int got = waitpid(-1, status, __WALL | __WNOTHREAD);
        if (got == tid)
            return 0;
        if (got < 0 && errno != EINTR)
            return -1;
        /* Without memory for it the event is lost, and its task would never run again. */
        if (got > 0 && keep(got, *status))
            abort();
    }
}
