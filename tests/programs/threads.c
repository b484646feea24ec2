/* threads DIR: 8 threads of one process create, write, rename, link, list and remove, each its own
 * names in shared directories; nothing may be lost, doubled or left. Prints what stays. */
#include "probe.h"
#include <pthread.h>

#define THREADS 8
#define ROUNDS  60

static const char *dir;

static void *worker(void *arg)
{
    int id = (int)(intptr_t)arg;
    char a[PATH_MAX], b[PATH_MAX], c[PATH_MAX], buf[32], want[32];

    for (int i = 0; i < ROUNDS; i++) {
        struct stat st;
        ssize_t n;
        int fd;

        snprintf(a, sizeof(a), "%s/t%d-%d", dir, id, i);
        snprintf(b, sizeof(b), "%s/sub/t%d-%d", dir, id, i);
        snprintf(c, sizeof(c), "%s/d%d", dir, id);
        snprintf(want, sizeof(want), "%d.%d", id, i);
        fd = open(a, O_CREAT | O_EXCL | O_WRONLY, 0644);
        CHECK(fd >= 0);
        CHECK(write(fd, want, strlen(want)) == (ssize_t)strlen(want));
        close(fd);
        CHECK(rename(a, b) == 0);
        CHECK_ERR(lstat(a, &st), ENOENT);
        fd = open(b, O_RDONLY);
        CHECK(fd >= 0);
        n = read(fd, buf, sizeof(buf));
        CHECK(n == (ssize_t)strlen(want) && memcmp(buf, want, (size_t)n) == 0);
        close(fd);
        CHECK(mkdir(c, 0755) == 0);
        CHECK_ERR(mkdir(c, 0755), EEXIST);
        CHECK(rmdir(c) == 0);
        /* The shared lower file: everybody changes its mode, nobody loses it. */
        snprintf(c, sizeof(c), "%s/shared", dir);
        CHECK(chmod(c, 0600 | (mode_t)(i & 077)) == 0);
        CHECK(stat(c, &st) == 0 && st.st_size == 6);
        /* A lower file of one's own: copied up, then removed. */
        snprintf(c, sizeof(c), "%s/low%d", dir, id);
        if (i == 10) {
            fd = open(c, O_WRONLY | O_APPEND);
            CHECK(fd >= 0 && write(fd, "+", 1) == 1);
            close(fd);
        }
        if (i == 20)
            CHECK(unlink(c) == 0);
        if (i > 20)
            CHECK_ERR(stat(c, &st), ENOENT);
        if (i % 10)
            CHECK(unlink(b) == 0);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread[THREADS];
    int left = 0;
    struct dirent *d;
    char path[PATH_MAX];
    DIR *list;

    if (argc != 2)
        fail("usage: threads DIR");
    dir = argv[1];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, worker, (void *)(intptr_t)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    snprintf(path, sizeof(path), "%s/sub", dir);
    list = opendir(path);
    CHECK(list);
    while ((d = readdir(list)))
        left += d->d_name[0] == 't';
    closedir(list);
    printf("left %d\n", left);
    return left == THREADS * ROUNDS / 10 ? 0 : 1;
}
