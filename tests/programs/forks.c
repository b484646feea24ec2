/* forks DIR: storms of fork, vfork and posix_spawn whose children use the union at once; children
 * that outlive parents; a fork in the middle of an open directory. */
#include "probe.h"
#include <spawn.h>

extern char **environ;

/* Static, so that no vfork can clobber it. */
static int count;

static void touch(const char *dir, const char *kind, int id)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/%s%d", dir, kind, id);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0)
        _exit(40);
    close(fd);
}

static int reap(int children)
{
    int status;

    for (int i = 0; i < children; i++) {
        CHECK(wait(&status) > 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail("a child ended with %x", status);
    }
    return 0;
}

int main(int argc, char **argv)
{
    char *const probe[] = {argv[0], (char *)"child", argv[argc - 1], NULL};
    struct stat st;
    char path[PATH_MAX];
    struct dirent *d;
    DIR *dir;
    pid_t pid;

    if (argc == 3) {
        /* the child program: sees what its parent made */
        snprintf(path, sizeof(path), "%s/before", argv[2]);
        return stat(path, &st) == 0 ? 0 : 41;
    }
    if (argc != 2)
        fail("usage: forks DIR");
    touch(argv[1], "before", 0);
    snprintf(path, sizeof(path), "%s/before0", argv[1]);
    snprintf(path + strlen(path) + 1, 8, "x");
    {
        char to[PATH_MAX];

        snprintf(to, sizeof(to), "%s/before", argv[1]);
        CHECK(rename(path, to) == 0);
    }
    for (int i = 0; i < 60; i++) {
        pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            touch(argv[1], "f", i);
            if (i % 3 == 0 && fork() == 0) {
                touch(argv[1], "g", i);
                _exit(0);
            }
            while (wait(NULL) > 0)
                ;
            _exit(0);
        }
        if (i % 8 == 7)
            reap(8);
    }
    reap(60 % 8);
    for (int i = 0; i < 40; i++) {
        pid = vfork();
        CHECK(pid >= 0);
        if (pid == 0) {
            if (i % 2)
                execve(probe[0], probe, environ);
            _exit(i % 2 ? 42 : 0);
        }
        if (i % 4 == 3)
            reap(4);
    }
    for (int i = 0; i < 40; i++) {
        CHECK(posix_spawn(&pid, probe[0], NULL, NULL, probe, environ) == 0);
        if (i % 4 == 3)
            reap(4);
    }
    dir = opendir(argv[1]);
    CHECK(dir);
    while ((d = readdir(dir)))
        count += d->d_name[0] == 'f' || d->d_name[0] == 'g';
    printf("files %d\n", count);
    return count == 80 ? 0 : 1;
}
