/* shim_writes MODE DIR OUTSIDE LOWER: calls of a process that an in-process shim may make on the
 * upper by itself, under what may go wrong around them. DIR holds d/f (5 bytes), which LOWER, the
 * lower's own path, has too; OUTSIDE is a directory outside the union. Prints "ok". */
#include "probe.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/xattr.h>

static const char *dir, *outside, *lower;
static volatile sig_atomic_t alarms, made;

static int lowest_fd(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

static void timer(long us)
{
    struct itimerval t = {{0, us}, {0, us}};
    CHECK(setitimer(ITIMER_REAL, &t, NULL) == 0);
}

/* A file of this name, made, written, given times and a mode, and looked at. */
static bool make_one(const char *name)
{
    const struct timespec times[2] = {{1000, 1}, {2000, 2}};
    struct stat st;
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write(fd, "four", 4) == 4 && fchmod(fd, 0640) == 0 && futimens(fd, times) == 0 &&
                fchown(fd, geteuid(), getegid()) == 0;
    good = close(fd) == 0 && good;
    return good && stat(name, &st) == 0 && st.st_size == 4 && (st.st_mode & 07777) == 0640 &&
           st.st_mtim.tv_sec == 2000;
}

static void on_alarm(int sig)
{
    char name[32];
    int err = errno;
    (void)sig;
    snprintf(name, sizeof(name), "h%d", (int)made++);
    alarms++;
    if (!make_one(name))
        _exit(3);
    errno = err;
}

static void signals(void)
{
    char name[32];
    int before = lowest_fd();
    for (int round = 0; round < 2; round++) {
        struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = round ? SA_RESTART : 0};
        CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
        timer(1000);
        for (int i = 0; i < 800; i++) {
            snprintf(name, sizeof(name), "n%d.%d", round, i);
            if (!make_one(name))
                fail("%s: %s", name, probe_errno(errno));
            int fd = open(name, O_WRONLY | O_TRUNC);
            CHECK(fd >= 0 && close(fd) == 0);
            if (i % 4 == 0)
                CHECK(unlink(name) == 0);
        }
        timer(0);
    }
    CHECK(lowest_fd() == before);
    CHECK(alarms > 10);
    for (int i = 0; i < made; i++) {
        struct stat st;
        snprintf(name, sizeof(name), "h%d", i);
        CHECK(stat(name, &st) == 0 && st.st_size == 4);
    }
}

/* Who was killed in the middle of it leaves a name there or not: for everybody the same. */
static void killed(void)
{
    for (int round = 0; round < 60; round++) {
        char name[64];
        int status;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            for (int i = 0;; i++) {
                snprintf(name, sizeof(name), "k%d.%d", round, i);
                if (!make_one(name))
                    _exit(4);
            }
        }
        usleep(2000 + 137 * (useconds_t)round);
        CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
        CHECK(WIFSIGNALED(status));
        bool ended = false;
        for (int i = 0; i < 100000 && !ended; i++) {
            struct stat st;
            snprintf(name, sizeof(name), "k%d.%d", round, i);
            ended = stat(name, &st) < 0;
        }
        int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (fd < 0)
            fail("%s is neither there nor not: %s", name, probe_errno(errno));
        close(fd);
    }
}

static volatile bool stop;

static void *swaps(void *arg)
{
    (void)arg;
    while (!stop) {
        if (rename("d", "e") || symlink(lower, "d") || unlink("d") || rename("e", "d"))
            fail("swap: %s", probe_errno(errno));
        usleep(300);
    }
    return NULL;
}

/* A directory becomes a symlink to the lower's own, and is one again, while things are written in
 * it. Whoever runs this compares the lower afterwards. */
static void swap(void)
{
    pthread_t other;
    char name[64];
    int there = 0;
    CHECK(make_one("d/first"));
    CHECK(pthread_create(&other, NULL, swaps, NULL) == 0);
    for (int i = 0; i < 6000; i++) {
        snprintf(name, sizeof(name), "d/s%d", i);
        int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (fd >= 0) {
            there += write(fd, "bad", 3) == 3;
            fchmod(fd, 0700);
            close(fd);
        }
        fd = open("d/first", O_WRONLY | O_TRUNC);
        if (fd >= 0)
            close(fd);
        fd = open("d/f", O_WRONLY | O_TRUNC);
        if (fd >= 0)
            close(fd);
    }
    stop = true;
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(there > 0);
}

/* A directory outside gives its name to a symlink into the union, again and again. */
static void moved(void)
{
    char in[4096], was[4096], is[4096], file[4096], other[4096];
    struct stat st;
    snprintf(in, sizeof(in), "%s/d", dir);
    snprintf(is, sizeof(is), "%s/place", outside);
    snprintf(was, sizeof(was), "%s/moved", outside);
    snprintf(file, sizeof(file), "%s/place/f", outside);
    snprintf(other, sizeof(other), "%s/place/none", outside);
    CHECK(mkdir(is, 0700) == 0);
    int fd = open(file, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0 && close(fd) == 0);
    for (int i = 0; i < 300; i++) {
        CHECK(stat(file, &st) == 0 && st.st_size == 0);
        CHECK(stat(other, &st) == -1 && errno == ENOENT);
        CHECK(rename(is, was) == 0 && symlink(in, is) == 0);
        CHECK(stat(file, &st) == 0 && st.st_size == 5);
        fd = open(file, O_RDONLY);
        CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 5 && close(fd) == 0);
        CHECK(unlink(is) == 0 && rename(was, is) == 0);
    }
}

static void ignore(int sig)
{
    (void)sig;
}

/* Opening a fifo waits: a signal ends that, or it is begun again. */
static void fifo(void)
{
    char outer[4096];
    const char *names[] = {"fifo", outer};
    snprintf(outer, sizeof(outer), "%s/fifo", outside);
    for (int i = 0; i < 2; i++) {
        CHECK(mkfifo(names[i], 0600) == 0);
        for (int again = 0; again < 2; again++) {
            struct sigaction sa = {.sa_handler = ignore, .sa_flags = again ? SA_RESTART : 0};
            pid_t parent = getpid(), pid;
            CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
            pid = fork();
            CHECK(pid >= 0);
            if (pid == 0) {
                usleep(30000);
                kill(parent, SIGALRM);
                usleep(30000);
                if (again)
                    close(open(names[i], O_WRONLY));
                _exit(0);
            }
            int fd = open(names[i], O_RDONLY);
            if (again ? fd < 0 : fd >= 0 || errno != EINTR)
                fail("%s, again %d: %d %s", names[i], again, fd, probe_errno(errno));
            if (fd >= 0)
                close(fd);
            CHECK(waitpid(pid, NULL, 0) == pid);
        }
    }
}

static bool is_there(const char *name)
{
    struct stat st;
    return stat(name, &st) == 0 && S_ISREG(st.st_mode);
}

/* What everybody knew to be missing is there for everybody from then on. */
static void seen(void)
{
    char name[64], c;
    struct stat st;
    int there[2], status;
    CHECK(pipe(there) == 0 && mkdir("out", 0700) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        for (int i = 0; i < 300; i++) {
            if (read(there[0], &c, 1) != 1)
                _exit(1);
            snprintf(name, sizeof(name), "out/s%d", i);
            if (!is_there(name) || access(name, R_OK) || truncate(name, 3) || chmod(name, 0640) ||
                mkdir(name, 0700) == 0 || errno != EEXIST)
                _exit(2);
        }
        _exit(0);
    }
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "out/s%d", i);
        for (int k = 0; k < 3; k++) {
            CHECK(unlink(name) == -1 && errno == ENOENT); /* the supervisor's */
            CHECK(stat(name, &st) == -1 && errno == ENOENT);
        }
        CHECK(make_one(name) && write(there[1], "", 1) == 1);
        CHECK(open(name, O_CREAT | O_EXCL | O_WRONLY, 0600) == -1 && errno == EEXIST);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    if (status)
        fail("the child ended with 0x%x", (unsigned)status);
    CHECK(rename("out/s1", "out/t1") == 0 && !is_there("out/s1") && is_there("out/t1"));
    CHECK(rmdir("out") == -1 && errno == ENOTEMPTY);
    CHECK(open("out/t1/x", O_CREAT | O_WRONLY, 0600) == -1 && errno == ENOTDIR);
    CHECK(stat("out/t1/x", &st) == -1 && errno == ENOTDIR);
    CHECK(unlink("out/t1") == 0 && !is_there("out/t1") && make_one("out/t1"));
}

/* Several make the same names: each has one that wins. */
static void rivals(void)
{
    int *won = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char name[64];
    int status;
    CHECK(won != MAP_FAILED);
    for (int p = 0; p < 3; p++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        for (int i = 0; pid == 0 && i < 1000; i++) {
            snprintf(name, sizeof(name), "r%d", i);
            int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
            if (fd >= 0)
                __atomic_add_fetch(&won[i], 1, __ATOMIC_SEQ_CST);
            else if (errno != EEXIST)
                _exit(1);
            if (!is_there(name))
                _exit(2);
            if (fd >= 0)
                close(fd);
        }
        if (pid == 0)
            _exit(0);
    }
    for (int p = 0; p < 3; p++)
        CHECK(wait(&status) > 0 && status == 0);
    for (int i = 0; i < 1000; i++)
        CHECK(won[i] == 1);
}

/* An attribute that must not be there yet is not set twice, whatever signals come. */
static void attributes(void)
{
    struct sigaction sa = {.sa_handler = ignore};
    char name[64];
    int fd = open("attributed", O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK(fd >= 0);
    if (fsetxattr(fd, "user.first", "1", 1, 0) < 0) {
        CHECK(errno == EOPNOTSUPP);
        return;
    }
    CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
    timer(100);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "user.n%d", i % 8);
        if (fsetxattr(fd, name, "12", 2, XATTR_CREATE))
            fail("%d: %s", i, probe_errno(errno));
        if (fremovexattr(fd, name))
            fail("%d: removed: %s", i, probe_errno(errno));
    }
    timer(0);
    close(fd);
}

/* Files outside of the union: as without one. */
static void beyond(void)
{
    char file[4096], other[4096];
    struct stat st;
    snprintf(other, sizeof(other), "%s/out", outside);
    CHECK(mkdir(other, 0700) == 0);
    snprintf(file, sizeof(file), "%s/out/f", outside);
    snprintf(other, sizeof(other), "%s/out/link", outside);
    umask(022);
    CHECK(symlink("f", other) == 0);
    int fd = open(other, O_CREAT | O_WRONLY | O_APPEND, 0666); /* what the link names */
    CHECK(fd >= 0 && write(fd, "12345", 5) == 5 && close(fd) == 0);
    CHECK(stat(file, &st) == 0 && st.st_size == 5 && (st.st_mode & 07777) == 0644);
    CHECK(open(file, O_CREAT | O_EXCL | O_WRONLY, 0600) == -1 && errno == EEXIST);
    CHECK(open(other, O_CREAT | O_EXCL | O_WRONLY, 0600) == -1 && errno == EEXIST);
    CHECK(open(other, O_WRONLY | O_NOFOLLOW) == -1 && errno == ELOOP);
    fd = open(other, O_RDWR | O_TRUNC);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0 && close(fd) == 0);
    fd = open("/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } modes[] = {
        {"signals", signals}, {"killed", killed}, {"swap", swap},     {"moved", moved},
        {"fifo", fifo},       {"seen", seen},     {"rivals", rivals}, {"attributes", attributes},
        {"beyond", beyond}};
    if (argc != 5)
        fail("usage: shim_writes MODE DIR OUTSIDE LOWER");
    dir = argv[2];
    outside = argv[3];
    lower = argv[4];
    CHECK(chdir(dir) == 0);
    CHECK(make_one("begin"));
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].fn();
            puts("ok");
            return 0;
        }
    }
    fail("unknown mode %s", argv[1]);
}
