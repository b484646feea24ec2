#include "tracer/maps.h"
#include "tracer/moment.h"
#include "base/str.h"
#include "base/sys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELDS 5 /* before a mapping's path */
#define KNOWN  64

/* Paths translated lately: programs of one kind, one after the other, have the same libraries. */
static struct known {
    struct moment at;
    char real[200], said[200]; /* real "" = none */
} known[KNOWN];

/* In the union's words, of `cap` bytes: its length, or 0. */
static long translated(const struct view *view, const char *real, char *said, size_t cap)
{
    static struct place scratch;
    size_t n = strlen(real);
    bool keeps = sup.overlay->index && !view->root && n < sizeof(known[0].real);
    struct known *k = keeps ? &known[index_hash(sup.overlay->index, real, n) % KNOWN] : NULL;
    if (k && strcmp(k->real, real) == 0 && moment_holds(&k->at))
        return str_copy(said, cap, k->said);
    struct moment at = moment_now();
    long got = walk_virtual(view, real, &scratch, said, cap);
    if (k && got > 0 && got < (long)sizeof(k->said)) {
        k->at = at;
        memcpy(k->real, real, n + 1);
        memcpy(k->said, said, (size_t)got + 1);
    }
    return got > 0 ? got : 0;
}

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
    static char said[PATH_MAX];
    char *line = NULL, *path;
    size_t cap = 0;
    ssize_t n;
    bool differs = false;
    while ((n = getline(&line, &cap, from)) > 0) {
        if (line[n - 1] == '\n')
            line[n - 1] = '\0';
        path = path_in(line);
        if (path && translated(view, path, said, sizeof(said)) > 0) {
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
