/* mtexec DIR: a process with 6 busy threads execs, from a thread that is not the first; the new
 * image keeps the pid, has one thread and still sees the union. */
#include "probe.h"
#include <pthread.h>

static const char *dir, *self;
static pid_t first;

static void *busy(void *arg)
{
    struct stat st;

    (void)arg;
    for (;;)
        stat(dir, &st);
    return NULL;
}

static void *leave(void *arg)
{
    char pid[16];

    (void)arg;
    snprintf(pid, sizeof(pid), "%d", (int)first);
    usleep(30000);
    execl(self, self, "image", dir, pid, (char *)NULL);
    fail("exec: %s", probe_errno(errno));
}

int main(int argc, char **argv)
{
    pthread_t t;
    char path[PATH_MAX];
    struct stat st;
    int fd;

    if (argc == 4 && strcmp(argv[1], "image") == 0) {
        CHECK(getpid() == atoi(argv[3]));
        CHECK(syscall(SYS_gettid) == getpid());
        CHECK(stat("/proc/self/task", &st) == 0 && st.st_nlink == 3);
        snprintf(path, sizeof(path), "%s/after-exec", argv[2]);
        fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
        CHECK(fd >= 0);
        puts("ok");
        return 0;
    }
    if (argc != 2)
        fail("usage: mtexec DIR");
    dir = argv[1];
    self = argv[0];
    first = getpid();
    alarm(20);
    for (int i = 0; i < 6; i++)
        CHECK(pthread_create(&t, NULL, busy, NULL) == 0);
    CHECK(pthread_create(&t, NULL, leave, NULL) == 0);
    pthread_join(t, NULL);
    return 1;
}
