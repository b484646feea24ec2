/* shim_seen MODE DIR: what an in-process shim has seen a moment ago, and is so no more. DIR is the
 * union; it has seen/{a,b}/{same,other}, of one lower alone, with files of 1 (a) and 2 (b) bytes,
 * "same" in the top directory (3 bytes), and seen/a/twin, seen/a/twins and seen/b/third, one file
 * of 4 bytes by three names. Prints "ok". */
#include "probe.h"
#include <pthread.h>
#include <sched.h>

#define ROUNDS 30 /* of each look: more than it takes to get the shim, and to remember */

/* The size of a name, as often as it takes; they must agree. -1: it is missing. */
static long size_at(int dir, const char *name)
{
    long size = -2;
    for (int i = 0; i < ROUNDS; i++) {
        struct stat st, open_st;
        int r = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW);
        int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
        if (r && errno != ENOENT)
            fail("%s: %s", name, probe_errno(errno));
        if ((r == 0) != (fd >= 0))
            fail("%s: stat %d, open %d", name, r, fd);
        long now = r ? -1 : st.st_size;
        if (fd >= 0 && (fstat(fd, &open_st) || open_st.st_size != st.st_size ||
                        open_st.st_ino != st.st_ino || close(fd)))
            fail("%s: what was opened is another", name);
        if (i && now != size)
            fail("%s: %ld, then %ld bytes", name, size, now);
        size = now;
    }
    return size;
}

static int directory(const char *name)
{
    int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static int names_in(int fd)
{
    char buf[4096];
    int count = 0;
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    for (long n; (n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0;)
        for (long at = 0; at < n; count++)
            at += *(unsigned short *)(buf + at + 16);
    return count;
}

/* One number stands for one directory after the other. */
static void numbers(void)
{
    int a = directory("seen/a"), b = directory("seen/b"), top = directory(".");
    int fd = dup(a);
    for (int i = 0; i < 10; i++) {
        CHECK(dup2(a, fd) == fd && names_in(fd) == 6 && size_at(fd, "same") == 1);
        CHECK(dup2(b, fd) == fd && size_at(fd, "same") == 2 && names_in(fd) == 5);
        CHECK(dup2(top, fd) == fd && size_at(fd, "same") == 3);
        close(fd);
        CHECK(openat(AT_FDCWD, "seen/b", O_RDONLY | O_DIRECTORY) == fd);
        CHECK(size_at(fd, "same") == 2 && size_at(fd, "no") == -1);
    }
}

static void append(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_APPEND);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

/* The union changes under what was seen. */
static void changes(void)
{
    char path[PATH_MAX];
    struct stat st;
    int a = directory("seen/a"), b = directory("seen/b");
    CHECK(getcwd(path, sizeof(path)) && strlen(path) + 32 < sizeof(path));
    strcat(path, "/seen/a/twin");
    CHECK(names_in(a) == 6 && names_in(b) == 5 && size_at(a, "same") == 1);
    CHECK(size_at(AT_FDCWD, path) == 4 && size_at(a, "twin") == 4 && size_at(a, "twins") == 4);
    int old = openat(a, "other", O_RDONLY | O_CLOEXEC);
    CHECK(old >= 0 && size_at(a, "other") == 1 && fstat(old, &st) == 0);
    append("seen/a/other", "more"); /* a merged directory now */
    CHECK(size_at(a, "other") == 5 && size_at(a, "same") == 1 && names_in(a) == 6);
    ino_t ino = st.st_ino;
    CHECK(fstat(old, &st) == 0 && st.st_size == 5 && st.st_ino == ino);
    CHECK(unlink("seen/a/same") == 0 && size_at(a, "same") == -1 && names_in(a) == 5);
    CHECK(size_at(AT_FDCWD, "seen/a/same") == -1);
    append("seen/a/twins", "more");
    CHECK(size_at(a, "twins") == 8 && size_at(a, "twin") == 4 && size_at(AT_FDCWD, path) == 4);
    CHECK(size_at(b, "third") == 4 && unlink(path) == 0 && size_at(b, "third") == 4);
    CHECK(size_at(a, "twin") == -1 && size_at(AT_FDCWD, path) == -1 && names_in(b) == 5);
    CHECK(size_at(AT_FDCWD, "seen/b/same") == 2 && size_at(AT_FDCWD, "seen/b/other") == 2);
    CHECK(rename("seen/b/same", "seen/b/moved") == 0 && size_at(b, "same") == -1);
    CHECK(size_at(b, "moved") == 2 && names_in(b) == 5);
    CHECK(rename("seen/b", "seen/c") == 0 && size_at(b, "moved") == 2);
    CHECK(size_at(AT_FDCWD, "seen/b/other") == -1 && size_at(AT_FDCWD, "seen/c/other") == 2);
    CHECK(symlink("a", "seen/b") == 0 && size_at(AT_FDCWD, "seen/b/other") == 5);
    CHECK(unlinkat(b, "moved", 0) == 0 && unlink("seen/c/third") == 0 &&
          unlink("seen/c/other") == 0 && rmdir("seen/c") == 0);
    CHECK(size_at(b, "moved") == -1);
}

static volatile int stage;

static void wait_for(int what)
{
    while (__atomic_load_n(&stage, __ATOMIC_SEQ_CST) != what)
        sched_yield();
}

static void *wander(void *arg)
{
    wait_for(1);
    CHECK(chdir(arg) == 0);
    __atomic_store_n(&stage, 2, __ATOMIC_SEQ_CST);
    return NULL;
}

/* The working directory: other processes', other threads', and one's own. */
static void standing(const char *top)
{
    pthread_t thread;
    int status, b = directory("seen/b");
    for (int i = 0; i < 5; i++) {
        CHECK(chdir("seen/a") == 0 && size_at(AT_FDCWD, "same") == 1);
        CHECK(size_at(AT_FDCWD, "../b/same") == 2);
        CHECK(chdir("../..") == 0 && size_at(AT_FDCWD, "seen/a/same") == 1);
        CHECK(fchdir(b) == 0 && size_at(AT_FDCWD, "same") == 2);
        pid_t pid = vfork();
        if (pid == 0) {
            if (chdir("../a"))
                _exit(1);
            _exit(size_at(AT_FDCWD, "same") == 1 ? 0 : 1);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        CHECK(size_at(AT_FDCWD, "same") == 2);
        pid = fork();
        if (pid == 0) {
            CHECK(chdir(top) == 0 && size_at(AT_FDCWD, "same") == 3);
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        CHECK(size_at(AT_FDCWD, "same") == 2 && chdir(top) == 0);
        CHECK(size_at(AT_FDCWD, "same") == 3);
    }
    CHECK(pthread_create(&thread, NULL, wander, (void *)"seen/b") == 0);
    CHECK(size_at(AT_FDCWD, "same") == 3);
    __atomic_store_n(&stage, 1, __ATOMIC_SEQ_CST);
    wait_for(2);
    CHECK(size_at(AT_FDCWD, "same") == 2 && pthread_join(thread, NULL) == 0);
    CHECK(chdir("../a") == 0 && size_at(AT_FDCWD, "same") == 1);
}

int main(int argc, char **argv)
{
    if (argc != 3 || chdir(argv[2]))
        fail("usage: shim_seen MODE DIR");
    if (!strcmp(argv[1], "numbers"))
        numbers();
    else if (!strcmp(argv[1], "changes"))
        changes();
    else if (!strcmp(argv[1], "cwd"))
        standing(argv[2]);
    else
        fail("no such mode");
    puts("ok");
    return 0;
}
