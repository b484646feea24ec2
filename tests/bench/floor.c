/* floor CMD...: the bare trace floor. Stops at every call that fuss stops at and only continues it.
 *
 * What remains is the price of ptrace itself; the bench holds fuss against it. It uses fuss's own
 * filter and the same placement as the supervisor (docs/experiments/placement.md), so that the two
 * differ in the work alone. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracer/filter.h"

enum { SOLO_AFTER = 16 };

static const unsigned long OPTIONS = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK |
                                     PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                                     PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;

static cpu_set_t own_mask;
static pid_t last_tid;
static int streak;
static int pinned = -1;
static bool narrowed;       /* last_tid was continued with a narrow mask ... */
static cpu_set_t full_mask; /* ... and this is its own */

static void pin_self(void)
{
    cpu_set_t here;
    pinned = sched_getcpu();
    CPU_ZERO(&here);
    CPU_SET(pinned, &here);
    sched_setaffinity(0, sizeof here, &here);
}

static void note_stop(pid_t tid)
{
    if (tid == last_tid) {
        if (streak < SOLO_AFTER)
            streak++;
        return;
    }
    last_tid = tid;
    streak = 0;
    narrowed = false;
    if (pinned >= 0) {
        sched_setaffinity(0, sizeof own_mask, &own_mask);
        pinned = -1;
    }
}

/* Continues a tracee; a lone one is woken on our own CPU, see docs/experiments/placement.md. */
static void resume(pid_t tid)
{
    cpu_set_t here;
    narrowed = false;
    if (streak < SOLO_AFTER) {
        ptrace(PTRACE_CONT, tid, 0, 0);
        return;
    }
    if (pinned < 0)
        pin_self();
    if (sched_getaffinity(tid, sizeof full_mask, &full_mask) || !CPU_ISSET(pinned, &full_mask)) {
        ptrace(PTRACE_CONT, tid, 0, 0);
        return;
    }
    CPU_ZERO(&here);
    CPU_SET(pinned, &here);
    narrowed = sched_setaffinity(tid, sizeof here, &here) == 0;
    ptrace(PTRACE_CONT, tid, 0, 0);
    if (narrowed)
        sched_setaffinity(tid, sizeof full_mask, &full_mask);
}

static bool is_stop_signal(int sig)
{
    return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

static void on_stop(pid_t tid, int status)
{
    int event = status >> 16;
    int sig = WSTOPSIG(status);
    switch (event) {
    case PTRACE_EVENT_SECCOMP:
        note_stop(tid);
        resume(tid);
        return;
    case PTRACE_EVENT_STOP:
        if (is_stop_signal(sig)) {
            ptrace(PTRACE_LISTEN, tid, 0, 0);
            return;
        }
        /* A child born while its parent's mask was narrow has inherited it. */
        if (narrowed && tid != last_tid) {
            cpu_set_t mask;
            if (sched_getaffinity(tid, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) == 1)
                sched_setaffinity(tid, sizeof full_mask, &full_mask);
        }
        ptrace(PTRACE_CONT, tid, 0, 0);
        return;
    case 0:
        ptrace(PTRACE_CONT, tid, 0, sig);
        return;
    default:
        ptrace(PTRACE_CONT, tid, 0, 0);
        return;
    }
}

static void child(int go, struct filter *filter, char **argv)
{
    char byte;
    if (read(go, &byte, 1) != 1)
        _exit(125);
    close(go);
    if (filter_load(filter, FILTER_TRACE) < 0)
        _exit(125);
    execvp(argv[0], argv);
    fprintf(stderr, "floor: %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int main(int argc, char **argv)
{
    int go[2], status, result = 125;
    if (argc < 2) {
        fprintf(stderr, "floor: usage: floor CMD...\n");
        return 2;
    }
    int err = 0;
    struct filter *filter = filter_build(FILTER_TRACE, &err);
    if (!filter) {
        fprintf(stderr, "floor: filter: %s\n", strerror(-err));
        return 125;
    }
    if (pipe(go) || sched_getaffinity(0, sizeof own_mask, &own_mask)) {
        perror("floor");
        return 125;
    }
    pid_t first = fork();
    if (first == 0)
        child(go[0], filter, argv + 1);
    if (first < 0 || ptrace(PTRACE_SEIZE, first, 0, OPTIONS) || write(go[1], "x", 1) != 1) {
        perror("floor");
        return 125;
    }
    pid_t tid;
    while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
        if (tid < 0)
            continue;
        if (WIFSTOPPED(status))
            on_stop(tid, status);
        else if (tid == first)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return result;
}
