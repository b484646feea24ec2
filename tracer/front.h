/* The process that the user's shell sees: it waits for the command's status, passes signals on and
 * mirrors the command's stops. */
#ifndef FUSS_TRACER_FRONT_H
#define FUSS_TRACER_FRONT_H

#include <signal.h>

enum front_message {
    FRONT_STATUS,  /* value: the command's wait status; the last message */
    FRONT_FAILED,  /* fuss failed and has said why */
    FRONT_STOPPED, /* value: the signal */
    FRONT_CONTINUED,
    FRONT_COMMAND, /* value: the command's pid */
};

/* Before the first fork: blocks what the front will pass on; *old is the mask as it came. */
void front_block_signals(sigset_t *old);
/* In the front: serves the supervisor's messages on fd until the command has ended; the exit status
 * for main. */
int front_run(int fd, int supervisor_pid);

/* In the supervisor. */
void front_tell(enum front_message kind, int value);
/* The front's death shall not end the session any more. */
void front_release(void);
/* Nothing is told any more; standard error and the terminal are let go. */
void front_left(void);

#endif
