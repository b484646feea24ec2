/* Notices: calls that wait in the kernel for the supervisor's answer (seccomp_unotify(2)).
 *
 * Against a ptrace stop a notice needs half the system calls, brings number and arguments along,
 * and takes a descriptor back; but the program's registers are out of reach. */
#ifndef FUSS_TRACER_NOTIFY_H
#define FUSS_TRACER_NOTIFY_H

#include "tracer/regs.h"

struct notice {
    u64 id;
    int tid;
    struct regs regs; /* all but sp */
};

/* True where the kernel has all that is needed (Linux 6.6: wake-ups that stay on the CPU). */
bool notify_available(void);
/* From now on notices come from this listener, which the module owns. 0 or a negative errno. */
int notify_init(int listener);
/* The listener's descriptor, for poll(2); -1 = there is none. */
int notify_fd(void);
/* The next notice, without waiting where poll(2) said there is one. 0, or -ENOENT where its caller
 * was interrupted meanwhile. */
int notify_receive(struct notice *n);

/* All of them: 0 or a negative errno, -ENOENT where the caller has been killed. */
/* The call is over, with this result (a value or -errno). */
int notify_answer(u64 id, long result);
/* The kernel runs the call as said. */
int notify_continue(u64 id);
/* The call is over; the program gets a descriptor for our `fd`: its number is the result, returned
 * here too. Where that fails (-EMFILE), the call still waits. */
int notify_give(u64 id, int fd, bool cloexec);
/* The program gets a descriptor for our `fd`, close-on-exec: its number; the call still waits. */
int notify_lend(u64 id, int fd);
/* The program's descriptor `theirs` stands for our `fd` from now on; the call still waits. */
int notify_replace(u64 id, int fd, int theirs, bool cloexec);

#endif
