/* lists MODE DIR: directories that lie in one layer, listed while something happens. DIR holds
 * `many` with the files f0 ... f999 (lower only), `deep/many` alike and `deep/odd`, which has the
 * names x, y and dir, and whatever a layer hides. Prints "ok". */
#include "probe.h"
#include <setjmp.h>
#include <sys/time.h>

#define FILES 1000

static unsigned char seen[FILES];
static int others;
static sigjmp_buf back;
static volatile sig_atomic_t alarms, jump;

static void on_alarm(int sig)
{
    struct stat st;
    int err = errno;
    (void)sig;
    alarms++;
    CHECK(stat("deep/odd/x", &st) == 0);
    errno = err;
    if (jump && alarms % 3 == 0)
        siglongjmp(back, 1);
}

static void timer(long us)
{
    struct itimerval t = {{0, us}, {0, us}};
    CHECK(setitimer(ITIMER_REAL, &t, NULL) == 0);
}

static void take(const char *name, ino_t ino, int type, int dir)
{
    struct stat st;
    int n = -1;
    if (strncmp(name, ".wh.", 4) == 0)
        fail("a marker is listed: %s", name);
    if (sscanf(name, "f%d", &n) != 1 || n < 0 || n >= FILES) {
        others++;
    } else if (seen[n]++) {
        fail("%s is listed twice", name);
    }
    if (n % 100 == 0 || n < 0) { /* a look at some of them */
        CHECK(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        if (st.st_ino != ino || (st.st_mode & S_IFMT) >> 12 != (mode_t)type)
            fail("%s: number %lu, listed as %lu", name, (unsigned long)st.st_ino,
                 (unsigned long)ino);
    }
}

/* One getdents64 with a buffer of so many bytes. */
static bool some(int fd, size_t size)
{
    static char buf[32768] __attribute__((aligned(8)));
    long n = syscall(SYS_getdents64, fd, buf, size);
    CHECK(n >= 0);
    for (long at = 0; at < n;) {
        struct probe_dirent *d = (struct probe_dirent *)(void *)(buf + at);
        take(d->name, d->ino, d->type, fd);
        at += d->reclen;
    }
    return n > 0;
}

static void start(int fd)
{
    memset(seen, 0, sizeof(seen));
    others = 0;
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
}

static void complete(const char *how, int want_others)
{
    int n = 0;
    for (int i = 0; i < FILES; i++)
        n += seen[i];
    if (n != FILES || others != want_others)
        fail("%s: %d of the files, %d other names", how, n, others);
}

static int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fail("%s: %s", path, probe_errno(errno));
    return fd;
}

static void whole(const char *path)
{
    int fd = open_dir(path);
    start(fd);
    while (some(fd, 2000))
        ;
    complete(path, 2);
    CHECK(!some(fd, 2000));
    start(fd);
    while (some(fd, sizeof(seen) * 4))
        ;
    complete(path, 2);
    close(fd);
    DIR *d = opendir(path);
    CHECK(d);
    for (int round = 0; round < 2; round++) {
        memset(seen, 0, sizeof(seen));
        others = 0;
        struct dirent *e;
        long mark = -1;
        int left = -1;
        while ((e = readdir(d))) {
            take(e->d_name, e->d_ino, e->d_type, dirfd(d));
            if (left >= 0)
                left++;
            if (round == 1 && mark < 0 && strcmp(e->d_name, "f300") == 0) {
                mark = telldir(d);
                left = 0;
            }
        }
        complete("readdir", 2);
        if (round == 1) {
            seekdir(d, mark);
            while (readdir(d))
                left--;
            if (left)
                fail("behind seekdir the listing differs by %d names", left);
        }
        rewinddir(d);
    }
    closedir(d);
}

static void plain(void)
{
    whole("many");
    whole("deep/many");
    int fd = open_dir("deep/odd");
    start(fd);
    while (some(fd, 256))
        ;
    if (others != 5) /* with the dots */
        fail("deep/odd shows %d names", others);
    close(fd);
}

static void signals(void)
{
    struct sigaction sa = {.sa_handler = on_alarm};
    CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
    timer(500);
    for (int i = 0; i < 6; i++)
        whole(i & 1 ? "many" : "deep/many");
    CHECK(alarms > 20);
    int fd = open_dir("deep/many");
    volatile int done = 0;
    jump = 1;
    sigsetjmp(back, 1);
    while (done < 400) {
        lseek(fd, 0, SEEK_SET);
        char buf[600];
        while (syscall(SYS_getdents64, fd, buf, sizeof(buf)) > 0 && ++done % 50)
            ;
    }
    timer(0);
    jump = 0;
    start(fd);
    while (some(fd, 2000))
        ;
    complete("after the jumps", 2);
    close(fd);
}

/* The directory gets an upper part in the middle of its listing. */
static void grows(void)
{
    int fd = open_dir("deep/many"), e = open_dir("deep/many");
    char name[64];
    start(fd);
    for (int i = 0; i < 10; i++)
        CHECK(some(fd, 2000));
    int gone = 0;
    while (seen[gone] || gone % 100 == 0)
        gone++;
    snprintf(name, sizeof(name), "deep/many/f%d", gone);
    CHECK(unlink(name) == 0);
    int made = open("deep/many/new", O_CREAT | O_WRONLY, 0644);
    CHECK(made >= 0);
    close(made);
    while (some(fd, 2000))
        ;
    seen[gone] = 1; /* it may be listed still, or not */
    complete("a directory that grew", others == 3 ? 3 : 2);
    start(e);
    while (some(e, 2000))
        ;
    CHECK(!seen[gone]);
    seen[gone] = 1;
    complete("afterwards", 3);
    start(fd);
    while (some(fd, 2000))
        ;
    seen[gone] = 1;
    complete("from the beginning", 3);
    close(fd);
    close(e);
}

/* Another name, or none, for a directory that is open. */
static void goes(void)
{
    char buf[1024];
    CHECK(mkdir("made", 0755) == 0);
    int fd = open_dir("made");
    for (int i = 0; i < 100; i++) {
        char name[64];
        snprintf(name, sizeof(name), "made/g%d", i);
        int made = open(name, O_CREAT | O_WRONLY, 0644);
        CHECK(made >= 0);
        close(made);
    }
    start(fd);
    CHECK(some(fd, 512));
    CHECK(rename("made", "deep/moved") == 0);
    while (some(fd, 512))
        ;
    CHECK(others == 102);
    for (int i = 0; i < 100; i++) {
        snprintf(buf, sizeof(buf), "deep/moved/g%d", i);
        CHECK(unlink(buf) == 0);
    }
    start(fd);
    while (some(fd, 512))
        ;
    CHECK(others == 2);
    CHECK(rmdir("deep/moved") == 0);
    lseek(fd, 0, SEEK_SET);
    CHECK(syscall(SYS_getdents64, fd, buf, sizeof(buf)) == -1 && errno == ENOENT);
    close(fd);
    fd = open_dir("deep/odd");
    CHECK(syscall(SYS_getdents64, fd, buf, 8) == -1 && errno == EINVAL);
    CHECK(syscall(SYS_getdents64, fd, (void *)8, 1024) == -1 && errno == EFAULT);
    close(fd);
    CHECK(syscall(SYS_getdents64, fd, buf, sizeof(buf)) == -1 && errno == EBADF);
    fd = open("deep/odd", O_PATH);
    CHECK(syscall(SYS_getdents64, fd, buf, sizeof(buf)) == -1 && errno == EBADF);
    fd = open("deep/odd/x", O_RDONLY);
    CHECK(syscall(SYS_getdents64, fd, buf, sizeof(buf)) == -1 && errno == ENOTDIR);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } modes[] = {{"plain", plain}, {"signals", signals}, {"grows", grows}, {"goes", goes}};
    struct stat st;
    if (argc != 3)
        fail("usage: lists MODE DIR");
    CHECK(chdir(argv[2]) == 0);
    for (int i = 0; i < 10; i++)
        CHECK(stat("many/f1", &st) == 0);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].fn();
            puts("ok");
            return 0;
        }
    }
    fail("unknown mode %s", argv[1]);
}
