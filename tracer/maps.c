#include "tracer/maps.h"
#include "base/str.h"
#include "base/sys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELDS 5 /* before a mapping's path */

/* The path in a line "from-to perms offset dev inode path", or NULL. */
static char *path_in(char *line)
{
    char *p = line + strspn(line, "0123456789abcdef");
    if (p == line || *p != '-')
        return NULL;
    p = line;
    for (int i = 0; i < FIELDS && p; i++) {
        p = strchr(p, ' ');
        p = p ? p + strspn(p, " ") : NULL;
    }
    return p && *p == '/' ? p : NULL;
}

/* False where nothing is to be said in other words. */
static bool translate(const struct view *view, FILE *from, FILE *to)
{
    static struct place scratch;
    static char said[PATH_MAX];
    char *line = NULL, *path;
    size_t cap = 0;
    ssize_t n;
    bool differs = false;
    while ((n = getline(&line, &cap, from)) > 0) {
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        path = path_in(line);
        if (path && walk_virtual(view, path, &scratch, said, sizeof(said)) > 0) {
            differs |= strcmp(path, said) != 0;
            fprintf(to, "%.*s%s\n", (int)(path - line), line, said);
        } else {
            fprintf(to, "%s\n", line);
        }
    }
    free(line);
    return differs;
}

/* What was written, for reading only. */
static int reopen(int fd)
{
    char path[SYS_FD_PATH];
    fchmod(fd, 0444);
    return sys_openat(AT_FDCWD, sys_fd_path(path, fd), O_RDONLY | O_CLOEXEC, 0);
}

int maps_open(const struct view *view, struct caller *who, const char *path)
{
    who->ops.assume(who);
    int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), shown = -ENOMEM;
    who->ops.resume(who);
    if (fd < 0)
        return fd;
    int copy = dup(fd), memory = memfd_create("maps", MFD_CLOEXEC);
    FILE *from = copy < 0 ? NULL : fdopen(copy, "r");
    FILE *to = memory < 0 ? NULL : fdopen(memory, "w");
    if (from && to) {
        bool differs = translate(view, from, to);
        if (differs && fflush(to) == 0)
            shown = reopen(memory);
        else if (!differs && lseek(fd, 0, SEEK_SET) == 0)
            shown = fd;
    }
    if (from)
        fclose(from);
    else if (copy >= 0)
        close(copy);
    if (to)
        fclose(to);
    else if (memory >= 0)
        close(memory);
    if (shown != fd)
        close(fd);
    return shown;
}
