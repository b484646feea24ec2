/* measure OUT CMD...: runs CMD, appends "wall cpu status" to OUT (seconds). The command's standard
 * output goes to /dev/null. Wall time ends with the command; cpu counts whatever it started, also
 * what ends after it (fuss's supervisor is a child that the command's end leaves behind).
 *
 * The times are taken here and not by the shell so that they have microseconds and no shell in
 * them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "measure: usage: measure OUT CMD...\n");
        return 2;
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1))
        return 1;
    double start = clock_now();
    pid_t pid = fork();
    if (pid < 0) {
        perror("measure: fork");
        return 1;
    }
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
            _exit(126);
        execvp(argv[2], argv + 2);
        fprintf(stderr, "measure: %s: %s\n", argv[2], strerror(errno));
        _exit(127);
    }
    int status;
    struct rusage use;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 1;
    double wall = clock_now() - start;
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    if (getrusage(RUSAGE_CHILDREN, &use))
        return 1;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    FILE *out = fopen(argv[1], "a");
    if (!out) {
        perror(argv[1]);
        return 1;
    }
    fprintf(out, "%.6f %.6f %d\n", wall, seconds(use.ru_utime) + seconds(use.ru_stime), code);
    fclose(out);
    return code != 0;
}
