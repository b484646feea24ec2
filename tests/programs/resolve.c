/* resolve DIR: openat2 and its RESOLVE_ flags, the size of its structure, invalid combinations.
 * DIR has f, d/x, and the links abs -> DIR/f, up -> ../.., in -> d/x. */
#include "probe.h"

static int at(int dirfd, const char *path, uint64_t flags, uint64_t resolve)
{
    struct probe_how how = {.flags = flags, .resolve = resolve};
    int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct {
        struct probe_how how;
        uint64_t more;
    } large = {.how = {.flags = O_RDONLY}};
    struct probe_how how = {.flags = O_RDONLY};
    int dir, sub, fd;

    if (argc != 2)
        fail("usage: resolve DIR");
    dir = open(argv[1], O_RDONLY | O_DIRECTORY);
    CHECK(dir >= 0);
    sub = openat(dir, "d", O_PATH | O_DIRECTORY);
    CHECK(sub >= 0);

    CHECK(at(dir, "f", O_RDONLY, 0) == 0);
    CHECK(at(dir, "f", O_RDONLY, PROBE_BENEATH) == 0);
    CHECK(at(dir, "d/x", O_RDONLY, PROBE_BENEATH) == 0);
    CHECK(at(dir, "d/../f", O_RDONLY, PROBE_BENEATH) == 0);
    CHECK(at(dir, "in", O_RDONLY, PROBE_BENEATH) == 0);
    CHECK_ERR(at(dir, "../x", O_RDONLY, PROBE_BENEATH), EXDEV);
    CHECK_ERR(at(sub, "../f", O_RDONLY, PROBE_BENEATH), EXDEV);
    CHECK_ERR(at(dir, argv[1], O_RDONLY, PROBE_BENEATH), EXDEV);
    CHECK_ERR(at(dir, "abs", O_RDONLY, PROBE_BENEATH), EXDEV);
    CHECK_ERR(at(dir, "up", O_RDONLY, PROBE_BENEATH), EXDEV);

    CHECK(at(sub, "/x", O_RDONLY, PROBE_IN_ROOT) == 0);
    CHECK(at(sub, "../../../x", O_RDONLY, PROBE_IN_ROOT) == 0);
    CHECK_ERR(at(sub, "../f", O_RDONLY, PROBE_IN_ROOT), ENOENT);
    CHECK_ERR(at(dir, "abs", O_RDONLY, PROBE_IN_ROOT), ENOENT);

    CHECK_ERR(at(dir, "in", O_RDONLY, PROBE_NO_SYMLINKS), ELOOP);
    CHECK(at(dir, "d/x", O_RDONLY, PROBE_NO_SYMLINKS) == 0);
    CHECK(at(dir, "in", O_PATH | O_NOFOLLOW, PROBE_NO_SYMLINKS) == 0);
    CHECK(at(dir, "in", O_RDONLY, PROBE_NO_MAGICLINKS) == 0);
    CHECK_ERR(at(dir, "/proc/self/cwd/f", O_RDONLY, PROBE_NO_MAGICLINKS), ELOOP);

    CHECK_ERR(at(sub, "../..", O_PATH, PROBE_NO_XDEV), EXDEV);
    CHECK(at(sub, "../f", O_RDONLY, PROBE_NO_XDEV) == 0);

    CHECK_ERR(syscall(SYS_openat2, dir, "f", &how, 8), EINVAL);
    CHECK_ERR(syscall(SYS_openat2, dir, "f", &how, 0), EINVAL);
    fd = (int)syscall(SYS_openat2, dir, "f", &large, sizeof(large));
    CHECK(fd >= 0);
    close(fd);
    large.more = 1;
    CHECK_ERR(syscall(SYS_openat2, dir, "f", &large, sizeof(large)), E2BIG);
    CHECK_ERR(at(dir, "f", O_RDONLY, 1u << 20), EINVAL);
    CHECK_ERR(at(dir, "f", 1ULL << 40, 0), EINVAL);
    CHECK_ERR(at(dir, "f", O_RDONLY, PROBE_BENEATH | PROBE_IN_ROOT), EINVAL);
    how.mode = 0644;
    CHECK_ERR(syscall(SYS_openat2, dir, "f", &how, sizeof(how)), EINVAL);
    CHECK_ERR(at(dir, "f", O_PATH | O_CREAT, 0), EINVAL);
    CHECK_ERR(at(dir, "nope", O_RDONLY, PROBE_BENEATH), ENOENT);

    how.flags = O_CREAT | O_EXCL | O_WRONLY;
    how.resolve = PROBE_BENEATH;
    fd = (int)syscall(SYS_openat2, dir, "d/made", &how, sizeof(how));
    CHECK(fd >= 0);
    close(fd);
    CHECK_ERR(syscall(SYS_openat2, sub, "../escaped", &how, sizeof(how)), EXDEV);
    CHECK(faccessat(dir, "escaped", F_OK, 0) == -1);
    puts("ok");
    return 0;
}
