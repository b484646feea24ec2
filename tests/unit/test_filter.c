/* The seccomp filter: what it says about every number and condition (its program is run here, over
 * made-up calls), and what the kernel does with it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "tracer/filter.c" /* the common archive has no tracer objects */

#if defined(__x86_64__)
#define HERE AUDIT_ARCH_X86_64
#else
#define HERE AUDIT_ARCH_AARCH64
#endif
#define DENIED (SECCOMP_RET_ERRNO | ENOSYS)

static struct sock_filter program[BPF_MAXINSNS];
static size_t program_len;
static struct filter *filter;

static uint32_t run(uint32_t arch, int nr, const uint64_t args[6])
{
    struct seccomp_data data = {.nr = nr, .arch = arch};
    uint32_t acc = 0, word;
    if (args)
        memcpy(data.args, args, sizeof(data.args));
    for (size_t pc = 0; pc < program_len; pc++) {
        const struct sock_filter *in = &program[pc];
        bool yes = false;
        switch (in->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(in->k % 4 == 0 && in->k < sizeof(data));
            memcpy(&word, (char *)&data + in->k, sizeof(word));
            acc = word;
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            acc &= in->k;
            continue;
        case BPF_RET | BPF_K:
            return in->k;
        case BPF_JMP | BPF_JA:
            pc += in->k;
            continue;
        case BPF_JMP | BPF_JEQ | BPF_K:
            yes = acc == in->k;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            yes = acc > in->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            yes = acc >= in->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            yes = acc & in->k;
            break;
        default:
            fail_msg("instruction 0x%x", in->code);
        }
        pc += yes ? in->jt : in->jf;
    }
    fail_msg("the program has no end");
    return 0;
}

static bool stops(uint32_t verdict)
{
    return (verdict & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_TRACE;
}

static struct filter *build(enum filter_way way)
{
    int err = 0;
    struct filter *f = filter_build(way, &err);
    return f && filter_program(f, way, program, &program_len) == 0 ? f : NULL;
}

static int setup(void **state)
{
    (void)state;
    filter = build(FILTER_TRACE);
    return filter ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    filter_free(filter);
    return 0;
}

/* Of interest with fake ids only, which this filter is not for. */
static bool left_alone(const struct sysrow *row)
{
    return row && (row->traits & SYS_FAKED) && !fake_ids;
}

static void test_every_number(void **state)
{
    (void)state;
    for (int nr = 0; nr < NUMBERS_DENIED; nr++) {
        const struct sysrow *row = systab_row(nr);
        uint32_t verdict = run(HERE, nr, NULL);
        bool right;
        if (systab_passes(nr) || left_alone(row))
            right = verdict == SECCOMP_RET_ALLOW;
        else if (!row || row->handler == CALL_ENOSYS)
            right = verdict == DENIED;
        else if (row->traits & SYS_ARG_FILTER)
            right = verdict == SECCOMP_RET_ALLOW; /* with every argument 0 */
        else
            right = stops(verdict);
        if (!right)
            fail_msg("number %d (%s): 0x%x", nr, systab_name(nr) ? systab_name(nr) : "?", verdict);
    }
}

/* With fake ids the calls are stopped that ask for them, and all others as before. */
static void test_faked(void **state)
{
    static const int asked[] = {SYS_getuid, SYS_geteuid, SYS_getgroups, SYS_capget};
    const uint64_t peer[6] = {[1] = 1, [2] = 17}, keep[6] = {8};
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
        assert_int_equal(run(HERE, asked[i], NULL), SECCOMP_RET_ALLOW);
    assert_int_equal(run(HERE, SYS_getsockopt, peer), SECCOMP_RET_ALLOW);
    assert_int_equal(run(HERE, SYS_prctl, keep), SECCOMP_RET_ALLOW);
    filter_free(filter);
    filter_fake_ids(true);
    filter = build(FILTER_TRACE);
    assert_non_null(filter);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++)
        assert_true(stops(run(HERE, asked[i], NULL)));
    assert_true(stops(run(HERE, SYS_getsockopt, peer)));
    assert_true(stops(run(HERE, SYS_prctl, keep)));
    test_every_number(state);
    filter_fake_ids(false);
    teardown(state);
    setup(state);
}

/* What a conditional row stops for. */
static void make_stop(const struct sysrow *row, uint64_t arg[6])
{
    for (size_t i = 0; i < N_CONDITIONS; i++) {
        if (strcmp(conditions[i].name, row->name) == 0 && !conditions[i].faked)
            arg[conditions[i].arg] = conditions[i].nonzero ? 1 : conditions[i].value;
    }
}

/* With notices: the same calls leave one each, and the mark turns that into a stop. */
static void test_notices(void **state)
{
    uint32_t traced[NUMBERS_DENIED];
    uint64_t arg[6];
    for (int nr = 0; nr < NUMBERS_DENIED; nr++) {
        memset(arg, 0, sizeof(arg));
        if (systab_row(nr))
            make_stop(systab_row(nr), arg);
        traced[nr] = run(HERE, nr, arg);
    }
    filter_free(filter);
    filter = build(FILTER_NOTIFY);
    assert_non_null(filter);
    for (int nr = 0; nr < NUMBERS_DENIED; nr++) {
        const struct sysrow *row = systab_row(nr);
        memset(arg, 0, sizeof(arg));
        if (!row || !stops(traced[nr])) {
            assert_int_equal(run(HERE, nr, arg), traced[nr]);
            continue;
        }
        make_stop(row, arg);
        assert_int_equal(run(HERE, nr, arg), SECCOMP_RET_USER_NOTIF);
        unsigned at = filter_mark(row, arg);
        assert_true(stops(run(HERE, nr, arg)));
        arg[at] ^= (uint64_t)1 << 32;
        assert_int_equal(run(HERE, nr, arg), SECCOMP_RET_USER_NOTIF);
        if (!(row->traits & SYS_ARG_FILTER))
            continue;
        memset(arg, 0, sizeof(arg));
        assert_int_equal(run(HERE, nr, arg), SECCOMP_RET_ALLOW);
        filter_mark(row, arg); /* marked or not, it is nobody's business */
        assert_int_equal(run(HERE, nr, arg), SECCOMP_RET_ALLOW);
    }
    teardown(state);
    setup(state);
}

/* With the gate open: what only reads passes with the cookie, and with nothing near it. */
static void test_gate(void **state)
{
    const uint64_t before = filter_cookie, cookie = 0x3b00c0de12345678;
    const uint64_t gated[6] = {[5] = cookie}, marked[6] = {[5] = cookie + 1};
    const uint64_t near[][6] = {{[5] = cookie - 1},
                                {[5] = cookie + 2},
                                {[5] = cookie ^ (uint64_t)1 << 63},
                                {[5] = cookie ^ (uint64_t)1 << 32},
                                {[5] = ~cookie},
                                {[4] = cookie}};
    filter_open_gate(cookie);
    filter_free(filter);
    filter = build(FILTER_NOTIFY);
    assert_non_null(filter);
    for (int nr = 0; nr < NUMBERS_DENIED; nr++) {
        const struct sysrow *row = systab_row(nr);
        if (!row || row->nargs == 6 || (row->traits & SYS_ARG_FILTER) ||
            row->handler == CALL_ENOSYS || left_alone(row))
            continue;
        bool reads =
            row->want == WANT_LOOKUP || row->want == WANT_READ || row->handler == CALL_OPENAT2;
        bool by_fd = row->path < 0 || (row->traits & SYS_NULL_PATH);
        bool in_dir =
            row->dirfd >= 0 && (row->handler == CALL_MKDIR || row->handler == CALL_SYMLINK ||
                                row->handler == CALL_LINK || row->handler == CALL_UNLINK ||
                                row->handler == CALL_RENAME);
        assert_true(!filter_gated(row) || reads || by_fd || in_dir);
        assert_int_equal(run(HERE, nr, gated),
                         filter_gated(row) ? SECCOMP_RET_ALLOW : SECCOMP_RET_USER_NOTIF);
        assert_true(stops(run(HERE, nr, marked)));
        for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++)
            assert_int_equal(run(HERE, nr, near[i]), SECCOMP_RET_USER_NOTIF);
    }
    gate_open = false;
    filter_cookie = before;
    teardown(state);
    setup(state);
}

/* What was built with the cookie that stands for others is what would be built with another. */
static void test_ready(void **state)
{
    static struct sock_filter ready[BPF_MAXINSNS], other[BPF_MAXINSNS];
    static const uint64_t cookies[] = {2, 0x3b00c0de12345678, 0x3ffffffefffffffe,
                                       0x0000000112345678};
    const uint64_t before = filter_cookie;
    for (size_t i = 0; i < sizeof(cookies) / sizeof(cookies[0]); i++) {
        filter_open_gate(FILTER_COOKIE);
        filter_free(filter);
        filter = build(FILTER_NOTIFY);
        assert_non_null(filter);
        size_t len = program_len;
        memcpy(ready, program, sizeof(ready));
        filter_open_gate(cookies[i]);
        put_cookie(ready, len);
        filter_free(filter);
        filter = build(FILTER_NOTIFY);
        assert_non_null(filter);
        memcpy(other, program, sizeof(other));
        assert_int_equal(len, program_len);
        assert_memory_equal(ready, other, len * sizeof(*ready));
    }
    gate_open = false;
    filter_cookie = before;
    teardown(state);
    setup(state);
}

static void test_foreign_abi(void **state)
{
    (void)state;
    for (int nr = 0; nr < 600; nr++) {
        assert_int_equal(run(AUDIT_ARCH_I386, nr, NULL), DENIED);
        assert_int_equal(run(AUDIT_ARCH_ARM, nr, NULL), DENIED);
#if defined(__x86_64__)
        assert_int_equal(run(HERE, nr | 0x40000000, NULL), DENIED); /* x32 */
#endif
    }
}

static void expect(int nr, int arg, uint64_t value, bool stop)
{
    uint64_t args[6] = {0};
    args[arg] = value;
    uint32_t verdict = run(HERE, nr, args);
    if (stop ? !stops(verdict) : verdict != SECCOMP_RET_ALLOW)
        fail_msg("%s(argument %d = 0x%llx): 0x%x", systab_name(nr), arg, (unsigned long long)value,
                 verdict);
}

static void test_conditions(void **state)
{
    (void)state;
    static const struct {
        int nr, arg;
    } sockaddr[] = {{SYS_sendto, 4},      {SYS_recvfrom, 4}, {SYS_getsockname, 1},
                    {SYS_getpeername, 1}, {SYS_accept, 1},   {SYS_accept4, 1}};
    for (size_t i = 0; i < sizeof(sockaddr) / sizeof(sockaddr[0]); i++) {
        expect(sockaddr[i].nr, sockaddr[i].arg, 0, false);
        expect(sockaddr[i].nr, sockaddr[i].arg, 0x7ffd12345678, true);
        expect(sockaddr[i].nr, sockaddr[i].arg, 1ULL << 32, true); /* low half zero */
        expect(sockaddr[i].nr, 5, 1, false);
    }
    /* the commands from the kernel's headers, with garbage in the unused half of the register */
    static const uint32_t trapped[] = {FS_IOC_SETFLAGS,
                                       FS_IOC_FSSETXATTR,
                                       FS_IOC_SETVERSION,
                                       FIDEDUPERANGE,
                                       FITRIM,
                                       FIFREEZE,
                                       FITHAW,
                                       _IOR('X', 125, uint32_t),
                                       _IOWR('f', 15, char[40]),
                                       _IO('f', 17),
                                       _IOW('f', 16, uint64_t),
                                       _IOR('f', 19, char[12]),
                                       _IOW('f', 133, char[128])};
    for (size_t i = 0; i < sizeof(trapped) / sizeof(trapped[0]); i++) {
        expect(SYS_ioctl, 1, trapped[i], true);
        expect(SYS_ioctl, 1, trapped[i] | 0xdeadbeef00000000, true);
        expect(SYS_ioctl, 0, trapped[i], false);
    }
    static const uint32_t passed[] = {0x5401 /* TCGETS */,
                                      0x5413 /* TIOCGWINSZ */,
                                      0x541b,
                                      FS_IOC_GETFLAGS,
                                      FS_IOC_FSGETXATTR,
                                      FS_IOC_FIEMAP,
                                      FICLONE,
                                      FICLONERANGE,
                                      FIBMAP};
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
        expect(SYS_ioctl, 1, passed[i], false);
    expect(SYS_clone, 0, CLONE_UNTRACED, true);
    expect(SYS_clone, 0, CLONE_UNTRACED | CLONE_VM | CLONE_VFORK | SIGCHLD, true);
    expect(SYS_clone, 0, CLONE_VM | SIGCHLD, true);
    expect(SYS_clone, 0, CLONE_VM | CLONE_VFORK | SIGCHLD, false);
    expect(SYS_clone, 0, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, false);
    expect(SYS_clone, 0, CLONE_NEWUSER | SIGCHLD, true);
    expect(SYS_clone, 0, CLONE_NEWNS | SIGCHLD, true);
    expect(SYS_clone, 0, CLONE_NEWPID | SIGCHLD, true);
    expect(SYS_clone, 0, (uint32_t) ~(CLONE_UNTRACED | CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID),
           false);
    for (int option = 1; option < 80; option++)
        expect(SYS_prctl, 0, (unsigned)option,
               option == PR_SET_DUMPABLE || option == PR_SET_SECCOMP);
    expect(SYS_seccomp, 0, SECCOMP_SET_MODE_FILTER, true);
    expect(SYS_seccomp, 0, SECCOMP_GET_ACTION_AVAIL, false);
    expect(SYS_prctl, 0, PR_SET_DUMPABLE | 0xdeadbeef00000000, true);
}

/* ---- the same in the kernel ---------------------------------------------------------------- */

/* A child under the filter; returns its wait status. */
static int in_child(void (*body)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(10);
        if (filter_load(filter, FILTER_TRACE))
            _exit(99);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#define MUST(n, expression) ((expression) ? (void)0 : _exit(n))

static void untraced_body(void)
{
    char buf[64];
    int fds[2];
    MUST(1, syscall(SYS_pipe2, fds, 0) == 0);
    MUST(2, write(fds[1], "x", 1) == 1 && read(fds[0], buf, 1) == 1);
    MUST(3, syscall(SYS_getpid) > 0);
    /* nobody traces: a call of the table does not run at all */
    MUST(4, syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY) < 0 && errno == ENOSYS);
    MUST(5, syscall(SYS_getcwd, buf, sizeof(buf)) < 0 && errno == ENOSYS);
    const long unknown[] = {470, 480, 512, 520, 545, 547, 600, 1023, 5000};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        MUST(6, syscall(unknown[i], 0, 0, 0, 0, 0, 0) < 0 && errno == ENOSYS);
    const long denied[] = {425, 426, 427, 444};
    for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++)
        MUST(7, syscall(denied[i], 0, 0, 0, 0, 0, 0) < 0 && errno == ENOSYS);
#if defined(__x86_64__)
    MUST(8, syscall(0x40000000 | SYS_getpid) < 0 && errno == ENOSYS);
#endif
}

static void test_untraced(void **state)
{
    (void)state;
    assert_int_equal(in_child(untraced_body), 0);
}

static void test_no_new_privs(void **state)
{
    (void)state;
    int before = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        int want = may_filter_without_nnp() ? before : 1;
        if (filter_load(filter, FILTER_TRACE))
            _exit(99);
        _exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == want ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* and for an ordinary user, whose filter is built as that user */
    pid = fork();
    if (pid == 0) {
        int err = 0;
        if (geteuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
            _exit(98);
        struct filter *own = filter_build(FILTER_TRACE, &err);
        if (!own || filter_load(own, FILTER_TRACE))
            _exit(99);
        _exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#if defined(__x86_64__)
static long int80(long nr)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr) : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

static void int80_body(void)
{
    MUST(1, int80(20) == -ENOSYS); /* getpid */
    MUST(2, int80(5) == -ENOSYS);  /* open, the number of our fstat */
}

static void test_int80(void **state)
{
    (void)state;
    int status = in_child(int80_body);
    /* a kernel without the 32-bit ABI kills the program: nothing reached the host either */
    if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV))
        assert_int_equal(status, 0);
}

/* Under a tracer every unconditional row stops exactly once, and an answered call does not run. */
#define ANSWER 4242

static void traced_body(void)
{
    for (int nr = 0; nr <= systab_newest; nr++) {
        const struct sysrow *row = systab_row(nr);
        if (row && row->handler != CALL_ENOSYS && !(row->traits & SYS_ARG_FILTER) &&
            !left_alone(row))
            MUST(1, syscall(nr, -1, 0, 0, 0, 0, 0) == ANSWER);
    }
    MUST(2, syscall(SYS_getppid) != ANSWER);
    MUST(3, syscall(600) < 0 && errno == ENOSYS);
    MUST(4, syscall(425, 0, 0) < 0 && errno == ENOSYS);
}

static int expected_stops(void)
{
    int count = 0;
    for (int i = 0; i < systab_rows(); i++) {
        const struct sysrow *row = systab_at(i);
        count += row->nr >= 0 && row->handler != CALL_ENOSYS && !(row->traits & SYS_ARG_FILTER) &&
                 !left_alone(row);
    }
    return count;
}

static void test_traced(void **state)
{
    (void)state;
    int status = 0, count = 0;
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) || raise(SIGSTOP) || filter_load(filter, FILTER_TRACE))
            _exit(99);
        traced_body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL),
                     0);
    for (;;) {
        assert_int_equal(ptrace(PTRACE_CONT, pid, 0, 0), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSTOPPED(status))
            break;
        assert_int_equal(status >> 8, SIGTRAP | PTRACE_EVENT_SECCOMP << 8);
        struct user_regs_struct regs;
        assert_int_equal(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
        assert_non_null(systab_row((long)regs.orig_rax));
        regs.orig_rax = (unsigned long long)-1;
        regs.rax = ANSWER;
        assert_int_equal(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
        count++;
    }
    assert_int_equal(status, 0);
    assert_int_equal(count, expected_stops());
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number),
        cmocka_unit_test(test_faked),
        cmocka_unit_test(test_notices),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_foreign_abi),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_untraced),
        cmocka_unit_test(test_no_new_privs),
#if defined(__x86_64__)
        cmocka_unit_test(test_int80),
        cmocka_unit_test(test_traced),
#endif
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
