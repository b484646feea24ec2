/* firsts DIR: what the first call of a new process may be, whatever its supervisor knows of it by
 * then. DIR has a file "f" with "1\n" in it. */
#include "probe.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(expression) ((expression) ? (void)0 : (perror(#expression), _exit(1)))

static const char *dir;
static int sock;
static struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "sock"};

static void must_read(const char *path)
{
    char c = 0;
    int fd = open(path, O_RDONLY);
    MUST(fd >= 0 && read(fd, &c, 1) == 1 && c == '1');
    close(fd);
}

static void changes_directory(void)
{
    MUST(chdir("sub") == 0);
    must_read("../f");
}

static void sends(void)
{
    MUST(sendto(sock, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)) == 1);
}

static void sets_umask(void)
{
    struct stat st;
    umask(0);
    MUST(mkdir("open", 0777) == 0 && stat("open", &st) == 0 && (st.st_mode & 0777) == 0777);
    MUST(rmdir("open") == 0);
}

static void sets_ids(void)
{
    MUST(setresgid(getgid(), getgid(), getgid()) == 0 && setuid(getuid()) == 0);
    must_read("f");
}

static void *reads(void *arg)
{
    must_read("f");
    return arg;
}

static void has_threads(void)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        MUST(pthread_create(&t[i], NULL, reads, NULL) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    must_read("f");
}

static void is_an_orphan(void)
{
    int end[2];
    char c;
    MUST(pipe(end) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t middle = getpid();
        if (fork())
            _exit(0);
        while (getppid() == middle)
            sched_yield();
        must_read("f");
        MUST(mkdir("orphan", 0700) == 0 && rmdir("orphan") == 0);
        MUST(write(end[1], "x", 1) == 1);
        _exit(0);
    }
    close(end[1]);
    waitpid(pid, NULL, 0);
    MUST(read(end[0], &c, 1) == 1);
}

static void borrows_memory(void)
{
    int status;
    pid_t pid = vfork();
    if (pid == 0) {
        int fd = open("made", O_CREAT | O_WRONLY, 0600);
        _exit(fd < 0);
    }
    MUST(waitpid(pid, &status, 0) == pid && status == 0);
    MUST(unlink("made") == 0);
}

static int sharer(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++)
        must_read("f");
    return 0;
}

static void shares_memory(void)
{
    static char stack[1 << 16];
    int status;
    pid_t pid = clone(sharer, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
    MUST(pid > 0);
    for (int i = 0; i < 200; i++)
        must_read("f");
    MUST(waitpid(pid, &status, 0) == pid && status == 0);
}

static void opens_a_place(void)
{
    struct stat st;
    int fd = open("f", O_PATH);
    MUST(fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
}

static void fails_to_execute(void)
{
    char *argv[] = {"none", NULL};
    MUST(execv("none", argv) < 0 && errno == ENOENT);
    MUST(execv("/none/at/all", argv) < 0 && errno == ENOENT);
    MUST(execv("f", argv) < 0 && errno == EACCES);
    must_read("f");
}

static void on_signal(int sig)
{
    (void)sig;
}

static void is_interrupted(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    struct itimerval often = {{0, 150}, {0, 150}};
    struct stat st;
    sigaction(SIGALRM, &sa, NULL);
    MUST(stat("f", &st) == 0);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 500; i++)
        MUST(stat("f", &st) == 0);
}

int main(int argc, char **argv)
{
    static void (*const first[])(void) = {changes_directory, sends,         sets_umask,
                                          sets_ids,          has_threads,   is_an_orphan,
                                          borrows_memory,    shares_memory, opens_a_place,
                                          fails_to_execute,  is_interrupted};
    if (argc != 2)
        return 2;
    dir = argv[1];
    MUST(chdir(dir) == 0);
    must_read("f");
    MUST(mkdir("sub", 0755) == 0);
    sock = socket(AF_UNIX, SOCK_DGRAM, 0);
    int peer = socket(AF_UNIX, SOCK_DGRAM, 0);
    MUST(bind(peer, (struct sockaddr *)&address, sizeof(address)) == 0);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
            int status;
            pid_t pid = fork();
            if (pid == 0) {
                first[i]();
                _exit(0);
            }
            if (waitpid(pid, &status, 0) != pid || status) {
                printf("first call %zu: status 0x%x\n", i, status);
                return 1;
            }
        }
    }
    puts("ok");
    return 0;
}
