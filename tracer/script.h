/* The "#!" line of a script, read as the kernel reads it (execve(2), Interpreter scripts). */
#ifndef FUSS_TRACER_SCRIPT_H
#define FUSS_TRACER_SCRIPT_H

#include "base/base.h"

#define SCRIPT_HEAD  256 /* BINPRM_BUF_SIZE: what the kernel looks at */
#define SCRIPT_DEPTH 5   /* scripts that may call one another before it is ELOOP */

struct script {
    char interp[SCRIPT_HEAD]; /* the interpreter as said */
    char arg[SCRIPT_HEAD];    /* its one argument, where has_arg */
    bool has_arg;
};

/* True where the n first bytes of a file start a script. */
bool script_is(const char *head, size_t n);
/* Parses the first line out of the n first bytes of the file (SCRIPT_HEAD of them, fewer where the
 * file is shorter): 0, or -ENOEXEC where the kernel would not take it for a script. */
int script_parse(const char *head, size_t n, struct script *out);

#endif
