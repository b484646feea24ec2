#include "tracer/wait.h"
#include "tracer/found.h"
#include "tracer/notify.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct event {
    int tid;
    int status;
};

/* Kept events: events[first .. end - 1]. */
static struct event *events;
static unsigned first, end, size;

static int signals = -1; /* readable once a SIGCHLD came */
static bool due;         /* waitpid has something to tell, or may have */

int wait_for_notices(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        return -errno;
    due = true;
    return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : 0;
}

/* Statuses go first: the tasks behind notices wait in the kernel, and nothing is lost. */
static int wait_both(int *status)
{
    for (;;) {
        struct signalfd_siginfo si;
        struct pollfd p[2] = {{.fd = notify_fd(), .events = POLLIN},
                              {.fd = signals, .events = POLLIN}};
        if (due) {
            int tid = waitpid(-1, status, __WALL | __WNOTHREAD | WNOHANG);
            if (tid > 0 || (tid < 0 && errno != ECHILD))
                return tid;
            due = false;
        }
        int ready = poll(p, 2, found_timeout());
        if (ready == 0)
            errno = EAGAIN;
        if (ready <= 0)
            return -1;
        if (p[1].revents) {
            due = true;
            if (read(signals, &si, sizeof(si)) < 0 && errno != EAGAIN)
                return -1;
        } else if (p[0].revents & POLLIN) {
            return 0;
        } else { /* nobody is left under the filter */
            return waitpid(-1, status, __WALL | __WNOTHREAD);
        }
    }
}

bool wait_somebody(void)
{
    struct pollfd p = {.fd = notify_fd(), .events = POLLIN};
    if (task_count())
        return true;
    return signals >= 0 && (poll(&p, 1, 0) < 0 || !(p.revents & POLLHUP));
}

int wait_any(int *status)
{
    if (first == end)
        return signals < 0 ? waitpid(-1, status, __WALL | __WNOTHREAD) : wait_both(status);
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
