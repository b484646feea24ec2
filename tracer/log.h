/* What fuss says about its work: nothing, a line per intercepted call, or everything. */
#ifndef FUSS_TRACER_LOG_H
#define FUSS_TRACER_LOG_H

#include "tracer/task.h"

enum log_level { LOG_NONE, LOG_INTERCEPT, LOG_DEBUG };
extern enum log_level log_level;

/* Lines go to fd from now on, which log.c owns. `terminal`: it is the user's standard error, to be
 * let go by log_detach. */
void log_to(int fd, bool terminal);
void log_detach(void);
/* A line of the debug level; printf's format, no newline. */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The line of a call that has been decided and, where the program ran it, has ended. `action` is
 * the word for it; result is given where known. */
void log_call(const struct task *t, const struct call *c, const char *action, bool known,
              long result);

#endif
