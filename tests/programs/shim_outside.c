/* shim_outside UNION OUT: names in a directory outside of the union, looked at more often than it
 * takes to remember the way there, while the program itself changes what they are. UNION has d/f of
 * 3 bytes; OUT is empty. Prints "ok". */
#include "probe.h"

#define ROUNDS 30

static char path[2 * PATH_MAX];

static const char *below(const char *dir, const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

/* What every way of looking says of the name: its size, -1 missing, -2 a link. */
static long look(const char *name)
{
    struct stat st, link;
    char text[PATH_MAX];
    int r = stat(name, &st), none = errno, l = lstat(name, &link);
    CHECK(r == 0 || none == ENOENT);
    CHECK((access(name, R_OK) == 0) == (r == 0));
    CHECK((faccessat(AT_FDCWD, name, F_OK, 0) == 0) == (r == 0));
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    CHECK((fd >= 0) == (r == 0));
    if (fd >= 0) {
        struct stat now;
        CHECK(fstat(fd, &now) == 0 && now.st_ino == st.st_ino && close(fd) == 0);
    }
    ssize_t n = readlink(name, text, sizeof(text));
    CHECK((n >= 0) == (l == 0 && S_ISLNK(link.st_mode)));
    if (n >= 0)
        CHECK(open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) < 0 && errno == ELOOP);
    return r ? -1 : st.st_size;
}

static long looks(const char *name)
{
    long first = look(name);
    for (int i = 1; i < ROUNDS; i++)
        CHECK(look(name) == first);
    return first;
}

static void make(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static int runs(const char *program)
{
    int status;
    pid_t pid = vfork();
    if (pid == 0) {
        execl(program, program, (char *)NULL);
        _exit(errno == ENOENT ? 100 : 101);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void names(const char *outside, const char *inside)
{
    char file[2 * PATH_MAX], target[2 * PATH_MAX];
    snprintf(file, sizeof(file), "%s/a/b/file", outside);
    snprintf(target, sizeof(target), "%s/d/f", inside);
    CHECK(mkdir(below(outside, "a"), 0755) == 0 && mkdir(below(outside, "a/b"), 0755) == 0);
    CHECK(looks(file) == -1);
    make(file, "12345");
    CHECK(looks(file) == 5);
    make(file, "1");
    CHECK(looks(file) == 1 && unlink(file) == 0 && looks(file) == -1);
    CHECK(symlink(target, file) == 0 && looks(file) == 3); /* into the union */
    CHECK(unlink(file) == 0 && symlink("nowhere", file) == 0 && looks(file) == -1);
    CHECK(unlink(file) == 0 && mkdir(file, 0755) == 0 && looks(file) >= 0);
    CHECK(rmdir(file) == 0 && looks(file) == -1);
}

/* A directory on the way becomes a link into the union, and goes away. */
static void ways(const char *outside, const char *inside)
{
    char dir[2 * PATH_MAX], other[2 * PATH_MAX], file[2 * PATH_MAX], target[2 * PATH_MAX];
    snprintf(dir, sizeof(dir), "%s/a/b", outside);
    snprintf(other, sizeof(other), "%s/a/moved", outside);
    snprintf(file, sizeof(file), "%s/a/b/f", outside);
    snprintf(target, sizeof(target), "%s/d", inside);
    make(file, "12345");
    CHECK(looks(file) == 5);
    CHECK(rename(dir, other) == 0 && looks(file) == -1);
    CHECK(symlink(target, dir) == 0 && looks(file) == 3);
    CHECK(unlink(dir) == 0 && rename(other, dir) == 0 && looks(file) == 5);
    CHECK(unlink(file) == 0 && rmdir(dir) == 0 && looks(file) == -1);
}

static void programs(const char *outside, const char *inside)
{
    const char *where[] = {outside, inside};
    for (int i = 0; i < 2; i++) {
        const char *script = "#!/bin/sh\nexit 7\n";
        char program[2 * PATH_MAX];
        snprintf(program, sizeof(program), "%s/program", where[i]);
        for (int k = 0; k < ROUNDS; k++)
            CHECK(runs(program) == 100);
        make(program, script);
        CHECK(runs(program) == 7 && unlink(program) == 0 && runs(program) == 100);
        CHECK(mkdir(program, 0755) == 0 && runs(program) == 101 && rmdir(program) == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        fail("usage: shim_outside UNION OUT");
    names(argv[2], argv[1]);
    ways(argv[2], argv[1]);
    programs(argv[2], argv[1]);
    puts("ok");
    return 0;
}
