/* exclusive DIR...: in each DIR (made when missing) 6 processes try 60 names with O_CREAT|O_EXCL,
 * mkdir or symlink; every name must be won exactly once. */
#include "probe.h"

#define RACERS 6
#define NAMES  60

static int race(const char *dir, int go)
{
    char path[PATH_MAX], byte;
    int won = 0, fd;

    CHECK(read(go, &byte, 1) == 0);
    for (int i = 0; i < NAMES; i++) {
        int rc;

        snprintf(path, sizeof(path), "%s/race%d", dir, i);
        if (i % 3 == 0) {
            rc = fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
            if (fd >= 0)
                close(fd);
        } else if (i % 3 == 1) {
            rc = mkdir(path, 0755);
        } else {
            rc = symlink("target", path);
        }
        if (rc >= 0)
            won++;
        else
            CHECK(errno == EEXIST);
    }
    return won;
}

int main(int argc, char **argv)
{
    for (int a = 1; a < argc; a++) {
        int go[2], total = 0;
        pid_t pid[RACERS];

        CHECK(mkdir(argv[a], 0755) == 0 || errno == EEXIST);
        CHECK(pipe(go) == 0);
        for (int i = 0; i < RACERS; i++) {
            pid[i] = fork();
            CHECK(pid[i] >= 0);
            if (pid[i] == 0) {
                close(go[1]);
                _exit(race(argv[a], go[0]));
            }
        }
        close(go[0]);
        close(go[1]);
        for (int i = 0; i < RACERS; i++) {
            int status;

            CHECK(waitpid(pid[i], &status, 0) == pid[i]);
            CHECK(WIFEXITED(status));
            total += WEXITSTATUS(status);
        }
        if (total != NAMES)
            fail("%s: %d wins for %d names", argv[a], total, NAMES);
    }
    puts("ok");
    return 0;
}
