/* readdir DIR COUNT: COUNT entries (dots included), each once, by every way of listing: raw calls
 * with small buffers, dup, fork, rewinddir, seekdir, fdopendir, scandir, no O_DIRECTORY, two
 * descriptors at once, O_PATH reopened through /proc. */
#include "probe.h"

static int expected;

struct names {
    char *name[8192];
    int count;
};

static void add(struct names *n, const char *name)
{
    for (int i = 0; i < n->count; i++)
        if (strcmp(n->name[i], name) == 0)
            fail("%s is listed twice", name);
    if (n->count == 8192)
        fail("too many names");
    n->name[n->count++] = strdup(name);
}

static void clear(struct names *n)
{
    for (int i = 0; i < n->count; i++)
        free(n->name[i]);
    n->count = 0;
}

/* Reads from the descriptor's position with a buffer of SIZE, at most MAX calls; true at the end.
 */
static bool raw(struct names *n, int fd, size_t size, int max)
{
    char buf[32768];

    for (int call = 0; call < max; call++) {
        long got = syscall(SYS_getdents64, fd, buf, size);

        CHECK(got >= 0);
        if (got == 0)
            return true;
        for (long at = 0; at < got;) {
            struct probe_dirent *d = (struct probe_dirent *)(void *)(buf + at);

            CHECK(d->reclen > 18 && d->ino != 0);
            add(n, d->name);
            at += d->reclen;
        }
    }
    return false;
}

static void complete(struct names *n, const char *how)
{
    if (n->count != expected)
        fail("%s: %d entries, not %d", how, n->count, expected);
    clear(n);
}

static void streams(const char *path, struct names *n)
{
    DIR *dir = opendir(path);
    struct dirent *d, *again;
    long places[8192];
    char *at[8192];
    int k = 0;

    CHECK(dir);
    for (;;) {
        long here = telldir(dir);

        d = readdir(dir);
        if (!d)
            break;
        places[k] = here;
        at[k++] = strdup(d->d_name);
        add(n, d->d_name);
    }
    complete(n, "readdir");
    for (int i = k - 1; i >= 0; i -= 1 + k / 20) {
        seekdir(dir, places[i]);
        again = readdir(dir);
        CHECK(again && strcmp(again->d_name, at[i]) == 0);
    }
    rewinddir(dir);
    while ((d = readdir(dir)))
        add(n, d->d_name);
    complete(n, "rewinddir");
    for (int i = 0; i < k; i++)
        free(at[i]);
    closedir(dir);
}

int main(int argc, char **argv)
{
    static struct names n, m;
    struct dirent **list;
    int fd, fd2, status, got;
    char path[64];
    DIR *dir;

    if (argc != 3)
        fail("usage: readdir DIR COUNT");
    expected = atoi(argv[2]);

    fd = open(argv[1], O_RDONLY);
    CHECK(fd >= 0 && raw(&n, fd, 32768, INT_MAX));
    complete(&n, "raw, one large buffer");
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    CHECK(raw(&n, fd, 300, INT_MAX));
    complete(&n, "raw, small buffers");
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    errno = 0;
    CHECK(syscall(SYS_getdents64, fd, path, 8) == -1 && errno == EINVAL);

    raw(&n, fd, 300, 1);
    fd2 = dup(fd);
    raw(&n, fd2, 300, 1);
    CHECK(raw(&n, fd, 300, INT_MAX));
    complete(&n, "over a dup");

    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    raw(&n, fd, 300, 1);
    fflush(stdout);
    if (fork() == 0) {
        raw(&m, fd, 300, 1);
        _exit(m.count > 200 ? 200 : m.count);
    }
    CHECK(wait(&status) > 0 && WIFEXITED(status));
    CHECK(raw(&n, fd, 300, INT_MAX));
    n.count += WEXITSTATUS(status);
    if (n.count != expected)
        fail("over a fork: %d entries, not %d", n.count, expected);
    n.count -= WEXITSTATUS(status);
    clear(&n);

    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    fd2 = openat(fd, ".", O_RDONLY | O_DIRECTORY);
    CHECK(fd2 >= 0);
    for (bool end1 = false, end2 = false; !end1 || !end2;) {
        end1 = end1 || raw(&n, fd, 300, 1);
        end2 = end2 || raw(&m, fd2, 500, 1);
    }
    complete(&n, "first of two descriptors");
    complete(&m, "second of two descriptors");
    close(fd2);

    fd2 = open(argv[1], O_PATH);
    CHECK(fd2 >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd2);
    close(fd);
    fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && raw(&n, fd, 4096, INT_MAX));
    complete(&n, "O_PATH reopened");

    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    dir = fdopendir(fd);
    CHECK(dir);
    while (readdir(dir))
        n.count++;
    if (n.count != expected)
        fail("fdopendir: %d entries", n.count);
    n.count = 0;
    closedir(dir);

    streams(argv[1], &n);
    got = scandir(argv[1], &list, NULL, alphasort);
    if (got != expected)
        fail("scandir: %d entries", got);
    puts("ok");
    return 0;
}
