/* shim_inside MODE DIR: calls that an in-process shim may answer, under what may go wrong around
 * them. DIR holds the files f and d/f (5 bytes each), the link `link` to f, and `low0` ... `low39`.
 * Prints "ok". */
#include "probe.h"
#include <pthread.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>

static char f[4096], df[4096], lnk[4096], none[4096];
static volatile sig_atomic_t alarms, jump;
static sigjmp_buf back;

static bool has_shim(void)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof(line), maps))
        found |= strstr(line, "memfd:fuss") != NULL;
    if (maps)
        fclose(maps);
    return found;
}

/* Once round; false where an answer is wrong. */
static bool right(void)
{
    struct stat st;
    char text[64], got[8];
    if (stat(f, &st) || st.st_size != 5 || stat(df, &st) || st.st_size != 5)
        return false;
    if (lstat(lnk, &st) || !S_ISLNK(st.st_mode) || stat(none, &st) == 0 || errno != ENOENT)
        return false;
    if (readlink(lnk, text, sizeof(text)) != 1 || text[0] != 'f' || access(df, R_OK))
        return false;
    int fd = open(df, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = read(fd, got, sizeof(got)) == 5 && fstat(fd, &st) == 0 && st.st_size == 5;
    close(fd);
    return good;
}

static int lowest_fd(void)
{
    int fd = dup(0);
    close(fd);
    return fd;
}

static void on_alarm(int sig)
{
    struct stat st;
    int err = errno;
    (void)sig;
    alarms++;
    if (stat(f, &st) || st.st_size != 5)
        _exit(3);
    errno = err;
    if (jump && alarms % 3 == 0)
        siglongjmp(back, 1);
}

static void timer(long us)
{
    struct itimerval t = {{0, us}, {0, us}};
    CHECK(setitimer(ITIMER_REAL, &t, NULL) == 0);
}

static void signals(void)
{
    static char stack[65536];
    struct sigaction sa = {.sa_handler = on_alarm};
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)};
    struct stat st;
    int before = lowest_fd();
    CHECK(sigaltstack(&alt, NULL) == 0);
    for (int round = 0; round < 4; round++) {
        sa.sa_flags = (round & 1 ? SA_RESTART : 0) | (round & 2 ? SA_ONSTACK : 0);
        CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
        timer(150);
        for (int i = 0; i < 1500; i++)
            CHECK(right());
        timer(0);
    }
    CHECK(lowest_fd() == before);
    CHECK(alarms > 20);
    jump = 1;
    sa.sa_flags = 0;
    CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
    volatile int done = 0;
    sigsetjmp(back, 1);
    timer(150);
    while (done < 6000) {
        CHECK(stat(df, &st) == 0 && st.st_size == 5);
        done++;
    }
    timer(0);
    jump = 0;
    CHECK(right());
}

static volatile sig_atomic_t faults;
static void on_fault(int sig)
{
    (void)sig;
    faults++;
    _exit(4);
}

static long stat_into(uintptr_t buf)
{
#ifdef __GLIBC__
    return stat(f, (struct stat *)buf);
#else /* musl copies the result itself */
    return syscall(SYS_newfstatat, AT_FDCWD, f, (void *)buf, 0);
#endif
}

static void bad_once(void)
{
    struct stat st;
    char *hole = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(hole != MAP_FAILED && munmap(hole + 4096, 4096) == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(syscall(SYS_newfstatat, AT_FDCWD, (char *)8, &st, 0) == -1 && errno == EFAULT);
        CHECK(stat_into(8) == -1 && errno == EFAULT);
        CHECK(stat_into((uintptr_t)hole + 4096 - 16) == -1 && errno == EFAULT);
        CHECK(syscall(SYS_openat, AT_FDCWD, (char *)8, O_RDONLY) == -1 && errno == EFAULT);
        CHECK(syscall(SYS_readlinkat, AT_FDCWD, lnk, (char *)8, 4) == -1 && errno == EFAULT);
        memset(hole, 'x', 4096);
        CHECK(access(hole, F_OK) == -1 && (errno == EFAULT || errno == ENAMETOOLONG));
        CHECK(right());
    }
    munmap(hole, 4096);
}

static void bad(void)
{
    struct sigaction sa = {.sa_handler = on_fault};
    bad_once();
    CHECK(sigaction(SIGSEGV, &sa, NULL) == 0 && sigaction(SIGBUS, &sa, NULL) == 0);
    bad_once();
    CHECK(faults == 0);
}

static void *work(void *arg)
{
    for (int i = 0; i < 400; i++)
        if (!right())
            return arg;
    return NULL;
}

static void threads(void)
{
    pthread_t t[8];
    pthread_attr_t attr;
    void *failed;
    int status;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384 > PTHREAD_STACK_MIN ? 16384 : PTHREAD_STACK_MIN);
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&t[i], &attr, work, f) == 0);
    for (int i = 0; i < 30; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(right() && right() ? 0 : 1);
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        pid = vfork();
        if (pid == 0)
            _exit(right() ? 0 : 1);
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
        CHECK(right());
    }
    for (int i = 0; i < 8; i++)
        CHECK(pthread_join(t[i], &failed) == 0 && !failed);
}

/* A filter that kills for the calls a shim likes and the program does not make. */
static void filter(void)
{
    struct insn {
        uint16_t code;
        uint8_t jt, jf;
        uint32_t k;
    } insn[] = {
        {0x20, 0, 0, 0},         {0x15, 3, 0, SYS_readlinkat}, {0x15, 2, 0, SYS_openat2},
        {0x15, 1, 0, SYS_statx}, {0x06, 0, 0, 0x7fff0000u},    {0x06, 0, 0, 0x80000000u},
    };
    struct {
        unsigned short len;
        struct insn *insn;
    } prog = {sizeof(insn) / sizeof(insn[0]), insn};
    struct stat st;
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, 2, &prog) == 0);
    for (int i = 0; i < 50; i++) {
        CHECK(stat(f, &st) == 0 && stat("d/f", &st) == 0 && st.st_size == 5);
        int fd = open("d/f", O_RDONLY);
        CHECK(fd >= 0);
        close(fd);
    }
}

/* As root: other ids are judged as such from the next call on. */
static void ids(void)
{
    struct stat st;
    CHECK(mkdir("closed", 0700) == 0);
    CHECK(close(open("closed/x", O_CREAT | O_WRONLY, 0600)) == 0);
    CHECK(stat("closed/x", &st) == 0);
    CHECK(seteuid(12345) == 0);
    for (int i = 0; i < 30; i++)
        CHECK(stat("closed/x", &st) == -1 && errno == EACCES);
    CHECK(open("closed/x", O_RDONLY) == -1 && errno == EACCES);
    CHECK(seteuid(0) == 0);
    CHECK(stat("closed/x", &st) == 0);
}

/* Somebody else changes the union meanwhile: what is removed stays away, what is replaced is always
 * there. */
static void changes(void)
{
    volatile int *step =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct stat st;
    char name[32];
    CHECK(step != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 40; i++) {
            snprintf(name, sizeof(name), "low%d", i);
            if (unlink(name))
                _exit(1);
            step[0] = i + 1;
            for (int k = 0; k < 8; k++) {
                int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
                if (fd < 0 || write(fd, "four", 4) != 4 || close(fd) || unlink(name))
                    _exit(2);
                fd = open("new", O_CREAT | O_WRONLY, 0600);
                if (fd < 0 || close(fd) || rename("new", "f"))
                    _exit(3);
            }
        }
        step[1] = 1;
        _exit(0);
    }
    while (!step[1]) {
        int seen = step[0];
        for (int i = seen > 3 ? seen - 3 : 0; i < seen; i++) {
            snprintf(name, sizeof(name), "low%d", i);
            if (stat(name, &st) == 0 && st.st_size == 5)
                fail("%s came back to life", name);
        }
        if (stat("f", &st))
            fail("f: %s", probe_errno(errno));
        int fd = open("f", O_RDONLY);
        CHECK(fd >= 0);
        close(fd);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (status)
        fail("the child ended with 0x%x", (unsigned)status);
}

/* Of struct statx what is asked for here; musl lacks it. */
struct some_statx {
    uint32_t head[7];
    uint16_t mode, pad;
    uint64_t ino, size, rest[26];
};

static long size_at(int dir, const char *name, int flags)
{
    struct stat st;
    struct some_statx x;
    int a = fstatat(dir, name, &st, flags), err = errno;
    long b = syscall(SYS_statx, dir, name, flags, 0x7ff, &x);
    if (a != b || (a && err != errno) || (!a && (st.st_ino != x.ino || st.st_mode != x.mode)))
        fail("%s: fstatat and statx differ", name);
    return a ? -err : (long)st.st_size;
}

static void put_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0 && write(fd, "1234567", 7) == 7);
    close(fd);
}

static bool same_as(int dir, const char *path)
{
    struct stat a, b;
    CHECK(fstat(dir, &a) == 0 && stat(path, &b) == 0);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_mode == b.st_mode &&
           a.st_nlink == b.st_nlink && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

/* Names just below open directories, which change and go elsewhere. */
static void near(void)
{
    char got[8];
    int d = open("near", O_RDONLY | O_DIRECTORY), e = open("near/deeper", O_RDONLY | O_DIRECTORY);
    CHECK(d >= 0 && e >= 0 && same_as(d, "near") && same_as(e, "near/deeper"));
    for (int i = 0; i < 3; i++) {
        CHECK(size_at(d, "five", 0) == 5 && size_at(d, "empty", 0) == 0);
        CHECK(size_at(d, "none", 0) == -ENOENT && size_at(d, "to_five", 0) == 5);
        CHECK(size_at(d, "to_five", AT_SYMLINK_NOFOLLOW) == 4 && size_at(d, "gone", 0) == -ENOENT);
        CHECK(size_at(d, ".wh.gone", 0) == -ENOENT && size_at(d, "five/", 0) == -ENOTDIR);
        CHECK(size_at(e, "../five", 0) == 5 && size_at(e, "three", 0) == 3);
        CHECK(faccessat(d, "five", F_OK, 0) == 0 && faccessat(d, "gone", F_OK, 0) == -1);
        CHECK(openat(d, "to_five", O_RDONLY | O_NOFOLLOW) == -1 && errno == ELOOP);
        CHECK(openat(d, "five", O_RDONLY | O_DIRECTORY) == -1 && errno == ENOTDIR);
        CHECK(openat(d, "gone", O_RDONLY) == -1 && errno == ENOENT);
        int in = openat(d, "deeper", O_RDONLY | O_DIRECTORY), f5 = openat(d, "five", O_RDONLY);
        CHECK(in >= 0 && same_as(in, "near/deeper") && size_at(in, "three", 0) == 3);
        CHECK(f5 >= 0 && read(f5, got, 8) == 5);
        close(in);
        close(f5);
    }
    put_file("near/deeper/seven");
    CHECK(size_at(e, "seven", 0) == 7 && size_at(e, "three", 0) == 3 && same_as(e, "near/deeper"));
    CHECK(size_at(d, "five", 0) == 5);
    put_file("near/seven");
    CHECK(size_at(d, "seven", 0) == 7 && unlink("near/five") == 0);
    CHECK(size_at(d, "five", 0) == -ENOENT && size_at(d, "to_five", 0) == -ENOENT);
    CHECK(same_as(d, "near") && openat(d, "five", O_RDONLY) == -1);
    for (int i = 0; i < 300; i++) {
        int other = open(i & 1 ? "near/deeper" : "near/only", O_RDONLY | O_DIRECTORY);
        CHECK(other >= 0 && dup2(other, d) == d);
        close(other);
        CHECK(size_at(d, "three", 0) == (i & 1 ? 3 : -ENOENT));
        CHECK(size_at(d, "two", 0) == (i & 1 ? -ENOENT : 2));
    }
    CHECK(fchdir(d) == 0 && size_at(AT_FDCWD, "three", 0) == 3 && chdir("../only") == 0);
    CHECK(size_at(AT_FDCWD, "two", 0) == 2 && size_at(AT_FDCWD, "three", 0) == -ENOENT);
    CHECK(unlink("two") == 0 && size_at(AT_FDCWD, "two", 0) == -ENOENT);
    CHECK(rmdir("../only") == 0 && size_at(AT_FDCWD, "two", 0) == -ENOENT);
    CHECK(size_at(d, "three", 0) == 3 && open(".", O_RDONLY) >= 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } modes[] = {{"signals", signals}, {"bad", bad}, {"threads", threads},
                 {"filter", filter},   {"ids", ids}, {"changes", changes},
                 {"near", near}};
    if (argc != 3)
        fail("usage: shim_inside MODE DIR");
    CHECK(chdir(argv[2]) == 0);
    snprintf(f, sizeof(f), "%s/f", argv[2]);
    snprintf(df, sizeof(df), "%s/d/f", argv[2]);
    snprintf(lnk, sizeof(lnk), "%s/link", argv[2]);
    snprintf(none, sizeof(none), "%s/d/none", argv[2]);
    for (int i = 0; i < 10; i++)
        CHECK(right());
    if (getenv("WANT_SHIM"))
        CHECK(has_shim());
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) == 0) {
            modes[i].fn();
            puts("ok");
            return 0;
        }
    }
    fail("unknown mode %s", argv[1]);
}
