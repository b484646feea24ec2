/* shim_names MODE DIR LOWER: names made, moved and taken away by a process that an in-process shim
 * may serve, under what may go wrong around it. DIR is the union; it has pool/p0 .. p399, of the
 * lower LOWER/pool alone, and d/f, which LOWER/d has. Prints "ok". */
#include "probe.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/time.h>

#define POOL 400

static const char *lower;
static volatile sig_atomic_t alarms, broken;

static int lowest_fd(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

static bool is_missing(const char *name)
{
    struct stat st;
    return lstat(name, &st) == -1 && errno == ENOENT;
}

/* Each kind of change once, with what it must come to; n is a number that nobody else uses. */
static bool change_all(const char *in, int n)
{
    char a[64], b[64], text[16];
    struct stat st;
    snprintf(a, sizeof(a), "%s/a%d", in, n);
    snprintf(b, sizeof(b), "%s/b%d", in, n);
    int fd = open(a, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0 || close(fd) || rename(a, b) || !is_missing(a) || rename(a, b) == 0 ||
        errno != ENOENT || stat(b, &st) || st.st_mode != (S_IFREG | 0600))
        return false;
    if (symlink("text", a) || symlink("other", a) == 0 || errno != EEXIST ||
        readlink(a, text, sizeof(text)) != 4 || rename(b, a) || !is_missing(b) || lstat(a, &st) ||
        !S_ISREG(st.st_mode))
        return false;
    if (mkdir(b, 0750) || mkdir(b, 0750) == 0 || errno != EEXIST || stat(b, &st) ||
        st.st_mode != (S_IFDIR | 0750) || unlink(b) == 0 || errno != EISDIR)
        return false;
    return unlink(a) == 0 && is_missing(a) && unlink(a) == -1 && errno == ENOENT && rmdir(b) == 0 &&
           is_missing(b);
}

/* A file in the place of a lower's that was taken away, and then nothing there again. */
static bool make_again(const char *name)
{
    struct stat st;
    int lowest = lowest_fd(), fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0640);
    if (fd != lowest || open(name, O_CREAT | O_EXCL | O_RDWR, 0640) != -1 || errno != EEXIST)
        return false;
    if (write(fd, "new", 3) != 3 || stat(name, &st) || st.st_size != 3 ||
        st.st_mode != (S_IFREG | 0640) || close(fd))
        return false;
    return unlink(name) == 0 && is_missing(name) && unlink(name) == -1 && errno == ENOENT;
}

static void on_alarm(int sig)
{
    int err = errno;
    (void)sig;
    alarms++;
    if (!change_all(".", 1000000 + alarms))
        broken = 1;
    errno = err;
}

static void timer(long us)
{
    struct itimerval t = {{0, us}, {0, us}};
    CHECK(setitimer(ITIMER_REAL, &t, NULL) == 0);
}

/* Signals at any instant: each call is made once, and no descriptor stays. */
static void signals(void)
{
    struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    char name[64];
    int before = lowest_fd();
    CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
    timer(1500);
    for (int i = 0; i < POOL; i++) {
        if (!change_all("d", i))
            fail("round %d: %s", i, probe_errno(errno));
        snprintf(name, sizeof(name), "pool/p%d", i);
        CHECK(unlink(name) == 0 && is_missing(name));
        CHECK(unlink(name) == -1 && errno == ENOENT);
        if (!make_again(name))
            fail("%s, again: %s", name, probe_errno(errno));
    }
    timer(0);
    CHECK(alarms > 10 && !broken);
    CHECK(lowest_fd() == before);
    CHECK(rmdir("pool") == 0 && is_missing("pool"));
}

/* Its stops, too, are none that a call is lost in. */
static void stopped(void)
{
    char name[64];
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        for (int i = 0; i < POOL; i++) {
            snprintf(name, sizeof(name), "pool/p%d", i);
            if (!change_all("d", i) || unlink(name) || !make_again(name))
                _exit(1);
        }
        _exit(lowest_fd() == 3 ? 0 : 2);
    }
    for (;;) {
        CHECK(kill(pid, SIGSTOP) == 0);
        usleep(300);
        CHECK(kill(pid, SIGCONT) == 0);
        usleep(700);
        pid_t got = waitpid(pid, &status, WNOHANG);
        CHECK(got == 0 || got == pid);
        if (got)
            break;
    }
    if (status)
        fail("the child ended with 0x%x", (unsigned)status);
}

/* Another process makes a directory a symlink to the lower's own, and back, while names are made,
 * moved and taken away in it. Whoever runs this compares the lower afterwards. */
static void swap(void)
{
    char a[64], b[64];
    int done = 0, status;
    CHECK(mkdir("d/kept", 0700) == 0); /* the upper has d */
    pid_t pid = fork();
    CHECK(pid >= 0);
    while (pid == 0) {
        if (rename("d", "e") || symlink(lower, "d") || unlink("d") || rename("e", "d"))
            _exit(1);
        usleep(200);
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(a, sizeof(a), "d/a%d", i);
        snprintf(b, sizeof(b), "d/b%d", i);
        done += mkdir(a, 0700) == 0;
        done += symlink("x", b) == 0;
        rename(b, a);
        unlink(b);
        unlink("d/f");
        rename("d/f", b);
        rename(b, "d/f");
        rmdir(a);
    }
    CHECK(kill(pid, 0) == 0 && waitpid(pid, &status, WNOHANG) == 0);
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    CHECK(done > 0);
}

struct meeting {
    int arrived, result[2];
};

/* Both come here; then both go on. */
static void meet(struct meeting *m, int round)
{
    __atomic_add_fetch(&m->arrived, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&m->arrived, __ATOMIC_SEQ_CST) < 2 * round)
        sched_yield();
}

/* One takes a name of the lower away, and another does something to it at the same time: there is
 * an order in which both can have happened. */
static void rivals(void)
{
    struct meeting *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char name[64], other[64];
    int status, round = 0;
    CHECK(m != MAP_FAILED);
    CHECK(mkdir("pool/made", 0700) == 0); /* the upper has the directory */
    pid_t pid = fork();
    CHECK(pid >= 0);
    for (int i = 0; i < POOL; i++) {
        snprintf(name, sizeof(name), "pool/p%d", i);
        snprintf(other, sizeof(other), "pool/q%d", i);
        meet(m, ++round);
        if (pid)
            m->result[0] = unlink(name);
        else if (i % 4 == 0)
            m->result[1] = unlink(name);
        else if (i % 4 == 1)
            m->result[1] = rename(name, other);
        else if (i % 4 == 2)
            m->result[1] = chmod(name, 0600);
        else
            m->result[1] = close(open(name, O_WRONLY));
        meet(m, ++round);
        if (pid) {
            bool both = m->result[0] == 0 && m->result[1] == 0;
            bool none = m->result[0] && m->result[1];
            if (i % 4 < 2 && (both || none))
                fail("%s: %s, by way %d", name, both ? "taken twice" : "by nobody", i % 4);
            if (i % 4 >= 2 && m->result[0])
                fail("%s: not taken away, by way %d", name, i % 4);
            if (!is_missing(name) || is_missing(other) != (i % 4 != 1 || m->result[0] == 0))
                fail("%s or %s is wrong, by way %d", name, other, i % 4);
        }
    }
    for (int i = 0; i < POOL; i++) {
        snprintf(name, sizeof(name), "pool/p%d", i);
        for (int step = 0; step < 4; step++) {
            meet(m, ++round);
            /* both make it, both take it away, one of each, and it goes for good */
            bool makes = step == 0 || (step == 2 && pid);
            int r = makes ? open(name, O_CREAT | O_EXCL | O_WRONLY, 0600) : unlink(name);
            if (makes && r >= 0)
                close(r);
            m->result[!pid] = r >= 0;
            meet(m, ++round);
            if (!pid)
                continue;
            if (step < 2 && m->result[0] + m->result[1] != 1)
                fail("%s: %s by %d", name, step ? "taken away" : "made",
                     m->result[0] + m->result[1]);
            if (step == 2 && (!m->result[0] || is_missing(name) != m->result[1]))
                fail("%s: made, and taken away or not", name);
        }
        if (pid && !is_missing(name))
            fail("%s has come back", name);
    }
    if (!pid)
        _exit(0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } modes[] = {{"signals", signals}, {"stopped", stopped}, {"swap", swap}, {"rivals", rivals}};
    if (argc != 4)
        fail("usage: shim_names MODE DIR LOWER");
    lower = argv[3];
    CHECK(chdir(argv[2]) == 0);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].fn();
            puts("ok");
            return 0;
        }
    }
    fail("unknown mode %s", argv[1]);
}
