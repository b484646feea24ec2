/* watch DIR: inotify on a directory and on a file "f" of a lower, opened before anything is copied
 * up: creations in the directory and modifications of the file through the union are told. */
#include "probe.h"
#include <poll.h>
#include <sys/inotify.h>

/* Waits for an event with MASK (and NAME, unless NULL); fails after three seconds. */
static void await(int fd, uint32_t mask, const char *name, const char *what)
{
    char buf[4096] __attribute__((aligned(8)));
    struct pollfd p = {.fd = fd, .events = POLLIN};

    for (;;) {
        ssize_t n;

        if (poll(&p, 1, 3000) <= 0)
            fail("%s: no event came", what);
        n = read(fd, buf, sizeof(buf));
        CHECK(n > 0);
        for (ssize_t at = 0; at < n;) {
            struct inotify_event *e = (struct inotify_event *)(void *)(buf + at);

            at += (ssize_t)sizeof(*e) + e->len;
            if ((e->mask & mask) && (!name || (e->len && strcmp(e->name, name) == 0)))
                return;
        }
    }
}

static void put(const char *dir, const char *name, int flags)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | flags, 0644);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    close(fd);
}

int main(int argc, char **argv)
{
    char path[PATH_MAX];
    int dir, file;

    if (argc != 2)
        fail("usage: watch DIR");
    dir = inotify_init1(IN_CLOEXEC);
    file = inotify_init1(IN_CLOEXEC);
    CHECK(dir >= 0 && file >= 0);
    snprintf(path, sizeof(path), "%s/f", argv[1]);
    CHECK(inotify_add_watch(dir, argv[1], IN_CREATE) >= 0);
    CHECK(inotify_add_watch(file, path, IN_MODIFY) >= 0);
    put(argv[1], "new", O_CREAT | O_EXCL);
    await(dir, IN_CREATE, "new", "a new file in the directory");
    put(argv[1], "f", O_APPEND);
    await(file, IN_MODIFY, NULL, "a write to the file");
    snprintf(path, sizeof(path), "%s/nope", argv[1]);
    CHECK_ERR(inotify_add_watch(dir, path, IN_CREATE), ENOENT);
    puts("ok");
    return 0;
}
