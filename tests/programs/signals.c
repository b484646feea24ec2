/* signals DIR: a blocked open of a fifo ends with EINTR where the handler has no SA_RESTART, and
 * goes on where it has; signals during a storm of path calls lose nothing. */
#include "probe.h"
#include <sys/time.h>

static volatile sig_atomic_t hits;
static char path[PATH_MAX];

static void hit(int sig)
{
    (void)sig;
    hits++;
}

/* A handler that uses the union itself and jumps nowhere. */
static void look(int sig)
{
    struct stat st;
    int saved = errno;

    (void)sig;
    hits++;
    if (stat(path, &st) != 0)
        _exit(50);
    errno = saved;
}

static void handle(int sig, void (*fn)(int), int flags)
{
    struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};

    CHECK(sigaction(sig, &sa, NULL) == 0);
}

int main(int argc, char **argv)
{
    struct itimerval every = {.it_interval = {0, 2000}, .it_value = {0, 2000}}, never = {0};
    char fifo[PATH_MAX], byte;
    int fd, status;
    pid_t pid;

    if (argc != 2)
        fail("usage: signals DIR");
    alarm(0);
    snprintf(path, sizeof(path), "%s/f", argv[1]);
    snprintf(fifo, sizeof(fifo), "%s/fifo", argv[1]);
    CHECK(mkfifo(fifo, 0600) == 0);

    handle(SIGALRM, hit, 0);
    hits = 0;
    every.it_value.tv_usec = 100000;
    every.it_interval.tv_usec = 100000;
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    CHECK_ERR(open(fifo, O_RDONLY), EINTR);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(hits >= 1);

    handle(SIGALRM, hit, SA_RESTART);
    hits = 0;
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        usleep(400000);
        fd = open(fifo, O_WRONLY);
        _exit(fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1);
    }
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    fd = open(fifo, O_RDONLY);
    CHECK(fd >= 0);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(hits >= 1);
    CHECK(read(fd, &byte, 1) == 1 && byte == 'x');
    close(fd);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);

    handle(SIGALRM, look, SA_RESTART);
    hits = 0;
    every.it_value.tv_usec = every.it_interval.tv_usec = 2000;
    CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
    for (int i = 0; i < 100000 && hits < 60; i++) {
        char tmp[PATH_MAX];

        snprintf(tmp, sizeof(tmp), "%s/s%d", argv[1], i);
        fd = open(tmp, O_CREAT | O_EXCL | O_WRONLY, 0600);
        CHECK(fd >= 0);
        close(fd);
        CHECK(unlink(tmp) == 0);
        CHECK_ERR(open(tmp, O_RDONLY), ENOENT);
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(hits >= 60);

    pid = fork();
    if (pid == 0) {
        for (;;)
            open(fifo, O_RDONLY);
    }
    usleep(100000);
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    puts("ok");
    return 0;
}
