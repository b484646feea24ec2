/* Every site that the finder lists in this process's own C library and loader, all numbers wanted,
 * is patched in a child: with a stub that only counts and makes the call. A program's work must not
 * notice. */
#include "sites_lab.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#ifdef __x86_64__

extern char **environ;

enum manner {
    IN_STUB,  /* the stub makes the call */
    IN_PLACE, /* where the syscall stays, the stub goes back to it */
};

/* -- the patcher --------------------------------------------------------------------------------
 */

#define STUB_BYTES 64
#define STUBS      2048

struct stub {
    u64 count;
    u8 code[STUB_BYTES - sizeof(u64)];
};

static struct stub *stubs;
static unsigned stub_count;

static u8 *emit(u8 *p, const void *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}

/* An instruction that ends with a distance to `target`. */
static u8 *emit_far(u8 *p, const void *bytes, size_t n, const void *target)
{
    p = emit(p, bytes, n);
    int32_t distance = (int32_t)((const u8 *)target - (p + 4));
    return emit(p, &distance, 4);
}

static void patch(u8 *base, const struct site *s, enum manner how)
{
    struct stub *stub = &stubs[stub_count++];
    u8 *site = base + s->vaddr, *p = stub->code;
    /* Counts with what a syscall may change, flags excepted. */
    p = emit_far(p, "\x48\x8b\x0d", 3, &stub->count); /* mov count(%rip),%rcx */
    p = emit(p, "\x48\x8d\x49\x01", 4);               /* lea 1(%rcx),%rcx */
    p = emit_far(p, "\x48\x89\x0d", 3, &stub->count); /* mov %rcx,count(%rip) */
    if (s->kind == SITE_MOV)
        p = emit(p, s->old, s->length);
    if (s->kind == SITE_MOV && how == IN_PLACE) {
        p = emit_far(p, "\xe9", 1, site + s->length);
    } else {
        p = emit(p, "\x0f\x05", 2);
        p = emit(p, s->old + s->copy, (size_t)s->length - s->copy);
        if (!(s->flags & SITE_RETURNS))
            p = emit_far(p, "\xe9", 1, site + s->resume);
    }
    assert_true(p <= (u8 *)(stub + 1));
    int32_t distance = (int32_t)(stub->code - (site + 5));
    site[0] = 0xe9;
    memcpy(site + 1, &distance, 4);
    memset(site + 5, 0xcc, (size_t)s->length - 5);
}

/* Memory for stubs within reach of the image. */
static void map_stubs(const u8 *base)
{
    size_t size = STUBS * sizeof(struct stub);
    for (u64 at = (u64)base - (64 << 20); at > (u64)base - (1024 << 20); at -= 16 << 20) {
        stubs = mmap((void *)(at & ~0xfffull), size, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (stubs != MAP_FAILED)
            return;
    }
    fail_msg("no room for stubs");
}

/* The first mapping of the image whose name contains `name`, and its path. */
static u8 *mapped(const char *name, char path[PATH_MAX])
{
    char line[PATH_MAX + 100];
    unsigned long from, to;
    u8 *base = NULL;
    FILE *f = fopen("/proc/self/maps", "re");
    assert_non_null(f);
    while (!base && fgets(line, sizeof(line), f))
        if (strstr(line, name) &&
            sscanf(line, "%lx-%lx %*s %*s %*s %*s %4095s", &from, &to, path) == 3)
            base = (u8 *)from;
    fclose(f);
    return base;
}

static unsigned patch_image(const char *name, enum manner how)
{
    struct site_wants all;
    struct file f = {NULL, 0};
    char path[PATH_MAX];
    u8 *base = mapped(name, path);
    Elf64_Ehdr h;
    if (!base)
        return 0;
    memset(&all, 0xff, sizeof(all));
    all.bits[SYS_rt_sigreturn / 64] &= ~((u64)1 << SYS_rt_sigreturn % 64); /* unwinders know it */
    assert_true(slurp(path, &f));
    int n = sites_find(f.bytes, f.size, &all, table, ROOM);
    assert_true(n > 0);
    if (!stubs)
        map_stubs(base);
    memcpy(&h, f.bytes, sizeof(h));
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        memcpy(&p, f.bytes + h.e_phoff + i * sizeof(p), sizeof(p));
        if (p.p_type != PT_LOAD || !(p.p_flags & PF_X))
            continue;
        u64 from = p.p_vaddr & ~0xfffull, to = (p.p_vaddr + p.p_memsz + 0xfff) & ~0xfffull;
        assert_int_equal(mprotect(base + from, to - from, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    }
    for (int i = 0; i < n; i++) {
        const struct site *s = &table->site[i];
        assert_memory_equal(base + s->vaddr, s->old, s->length);
        patch(base, s, how);
    }
    munmap(f.bytes, f.size);
    return (unsigned)n;
}

/* -- a program's work ---------------------------------------------------------------------------
 */

#define NEED(what)                                                                                 \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #what, errno);           \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
    struct stat st;
    (void)sig;
    if (stat("/", &st) == 0)
        alarms++;
}

static void files(void)
{
    char dir[] = "/tmp/fuss-patch.XXXXXX", words[32] = "";
    struct stat st;
    struct dirent *e;
    unsigned seen = 0;
    NEED(mkdtemp(dir));
    NEED(chdir(dir) == 0);
    FILE *f = fopen("name", "we+");
    NEED(f && fputs("words\n", f) >= 0 && fseek(f, 0, SEEK_SET) == 0);
    NEED(fgets(words, sizeof(words), f) && strcmp(words, "words\n") == 0 && fclose(f) == 0);
    NEED(stat("name", &st) == 0 && st.st_size == 6);
    NEED(stat("none", &st) == -1 && errno == ENOENT);
    NEED(stat((const char *)8, &st) == -1 && errno == EFAULT);
    NEED(rename("name", "other") == 0 && link("other", "third") == 0 && mkdir("sub", 0700) == 0);
    NEED(symlink("other", "link") == 0 && readlink("link", words, sizeof(words)) == 5);
    NEED(access("link", R_OK) == 0 && chmod("other", 0600) == 0 && truncate("other", 3) == 0);
    char *real = realpath("link", NULL);
    NEED(real && strstr(real, "other"));
    free(real);
    DIR *d = opendir(".");
    NEED(d);
    while ((e = readdir(d)))
        seen++;
    NEED(closedir(d) == 0 && seen == 6);
    NEED(syscall(SYS_stat, "other", &st) == 0 && st.st_size == 3);
    NEED(syscall(SYS_stat, "none", &st) == -1 && errno == ENOENT);
    NEED(unlink("other") == 0 && unlink("third") == 0 && unlink("link") == 0 && rmdir("sub") == 0);
    NEED(chdir("/") == 0 && rmdir(dir) == 0);
}

static pid_t child_of_vfork(char **argv)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execv("/bin/true", argv);
        _exit(9);
    }
    return pid;
}

static void children(void)
{
    static char *argv[] = {"true", NULL};
    int status;
    pid_t pid;
    for (int i = 0; i < 5; i++) {
        pid = fork();
        if (pid == 0)
            _exit(i);
        NEED(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == i);
        pid = child_of_vfork(argv);
        NEED(waitpid(pid, &status, 0) == pid && status == 0);
        NEED(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) == 0);
        NEED(waitpid(pid, &status, 0) == pid && status == 0);
    }
    NEED(system("exit 3") >> 8 == 3);
    FILE *f = popen("echo words", "re");
    char words[16];
    NEED(f && fgets(words, sizeof(words), f) && strcmp(words, "words\n") == 0 && pclose(f) == 0);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int turns;

static void *thread(void *arg)
{
    int me = *(int *)arg;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 50; i++) {
        struct stat st;
        NEED(stat("/", &st) == 0);
        pthread_mutex_lock(&mutex);
        while (turns % 4 != me)
            pthread_cond_wait(&turn, &mutex);
        turns++;
        pthread_cond_broadcast(&turn);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *reader(void *arg)
{
    char byte;
    return read(*(int *)arg, &byte, 1) == 1 ? arg : NULL;
}

static void threads(enum manner how)
{
    pthread_t t[4];
    int me[4], fd[2];
    void *result;
    NEED(pthread_barrier_init(&barrier, NULL, 4) == 0);
    for (int i = 0; i < 4; i++) {
        me[i] = i;
        NEED(pthread_create(&t[i], NULL, thread, &me[i]) == 0);
    }
    for (int i = 0; i < 4; i++)
        NEED(pthread_join(t[i], NULL) == 0);
    NEED(turns == 200);
    if (how != IN_PLACE)
        return; /* cancelling unwinds the stack from where the call is made: a stub without unwind
                   information ends the program */
    NEED(pipe2(fd, O_CLOEXEC) == 0);
    NEED(pthread_create(&t[0], NULL, reader, &fd[0]) == 0);
    usleep(20000);
    NEED(pthread_cancel(t[0]) == 0 && pthread_join(t[0], &result) == 0);
    NEED(result == PTHREAD_CANCELED);
    close(fd[0]);
    close(fd[1]);
}

static void signals(void)
{
    struct sigaction act = {.sa_handler = on_alarm};
    struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    static sigjmp_buf back;
    int fd[2];
    char byte;
    NEED(pipe2(fd, O_CLOEXEC) == 0);
    NEED(sigaction(SIGALRM, &act, NULL) == 0);
    NEED(setitimer(ITIMER_REAL, &often, NULL) == 0);
    NEED(read(fd[0], &byte, 1) == -1 && errno == EINTR);
    for (int i = 0; i < 2000; i++) {
        struct stat st;
        NEED(stat("/tmp", &st) == 0 && stat("/nowhere", &st) == -1 && errno == ENOENT);
    }
    act.sa_flags = SA_RESTART;
    NEED(sigaction(SIGALRM, &act, NULL) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        setitimer(ITIMER_REAL, &never, NULL);
        usleep(30000);
        NEED(write(fd[1], "x", 1) == 1);
        _exit(0);
    }
    NEED(read(fd[0], &byte, 1) == 1 && byte == 'x'); /* restarted many times */
    NEED(setitimer(ITIMER_REAL, &never, NULL) == 0);
    NEED(waitpid(pid, NULL, 0) == pid);
    NEED(alarms > 10);
    if (sigsetjmp(back, 1) == 0)
        siglongjmp(back, 1);
    close(fd[0]);
    close(fd[1]);
}

static void run(enum manner how)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        unsigned used = 0, libc = patch_image("/libc.so.6", how);
        unsigned loader = patch_image("/ld-linux", how);
        alarm(60);
        NEED(libc > 300 && loader > 10);
        files();
        children();
        threads(how);
        signals();
        for (unsigned i = 0; i < stub_count; i++)
            used += stubs[i].count > 0;
        fprintf(stderr, "%u sites patched, %u of them used\n", stub_count, used);
        NEED(used > 50);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_stubs_that_make_the_call(void **state)
{
    (void)state;
    run(IN_STUB);
}

static void test_stubs_that_go_back_to_the_call(void **state)
{
    (void)state;
    run(IN_PLACE);
}

#else

static void test_stubs_that_make_the_call(void **state)
{
    (void)state;
}

static void test_stubs_that_go_back_to_the_call(void **state)
{
    (void)state;
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stubs_that_make_the_call),
        cmocka_unit_test(test_stubs_that_go_back_to_the_call),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
