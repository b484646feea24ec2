/* The operations of the ops probe: what ops.c parses and ops_calls.c runs. */
#ifndef FUSS_TESTS_OPS_H
#define FUSS_TESTS_OPS_H

#include "probe.h"

#define OPS_TEXT 16384

/* err: 0 or a positive errno. text: the result as the script compares it. fd: a new descriptor
 * that the caller keeps or closes, or -1. */
struct ops_result {
    int err;
    int fd;
    char text[OPS_TEXT];
};

/* Runs w[0] with its arguments w[1..n-1] (w[n] and later are NULL). False: no such operation. */
bool ops_run(char **w, int n, struct ops_result *res);

/* The same for what reads attributes and listings. */
bool ops_run_query(char **w, int n, struct ops_result *res);

/* Sets the result from a call that returned RC with errno. */
void ops_done(struct ops_result *res, long rc);

/* A descriptor named in a script: %F, cwd or a number. */
int ops_fd(const char *word);
extern int ops_fds[128];

#endif
