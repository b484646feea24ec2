/* Between the decision about an exec and the program that it started. */
#ifndef FUSS_TRACER_EXEC_H
#define FUSS_TRACER_EXEC_H

#include "tracer/loader.h"
#include "tracer/task.h"
#include <string.h>

/* What exec_event needs to know once the program runs. */
struct exec_plan {
    char exe[PATH_MAX];  /* virtual path of the program where the kernel's own link says another */
    char said[PATH_MAX]; /* what AT_EXECFN shall say, "" = leave it */
    bool change;         /* the loader is another than the kernel's */
    struct loader_change loader;
    bool rename; /* the kernel names the process after another file than that one */
};

static inline const char *exec_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

#endif
