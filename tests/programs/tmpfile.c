/* tmpfile DIR: O_TMPFILE in DIR, given a name by /proc/self/fd (and by AT_EMPTY_PATH where that is
 * permitted), invisible before; with O_EXCL it never gets one. */
#include "probe.h"

static void read_back(const char *path, const char *want)
{
    char buf[64] = "";
    int fd = open(path, O_RDONLY);

    CHECK(fd >= 0);
    CHECK(read(fd, buf, sizeof(buf) - 1) == (ssize_t)strlen(want));
    CHECK(strcmp(buf, want) == 0);
    close(fd);
}

int main(int argc, char **argv)
{
    char path[PATH_MAX], link_path[64];
    struct stat st, named;
    int fd;

    if (argc != 2)
        fail("usage: tmpfile DIR");
    fd = open(argv[1], O_TMPFILE | O_RDWR, 0640);
    CHECK(fd >= 0);
    CHECK(write(fd, "hidden", 6) == 6);
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 6);
    snprintf(link_path, sizeof(link_path), "/proc/self/fd/%d", fd);
    snprintf(path, sizeof(path), "%s/by-magic-link", argv[1]);
    CHECK(linkat(AT_FDCWD, link_path, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0);
    CHECK(stat(path, &named) == 0 && named.st_ino == st.st_ino && named.st_dev == st.st_dev);
    CHECK(named.st_nlink == 1);
    read_back(path, "hidden");
    CHECK_ERR(linkat(AT_FDCWD, link_path, AT_FDCWD, path, AT_SYMLINK_FOLLOW), EEXIST);
    close(fd);

    fd = open(argv[1], O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1);
    snprintf(path, sizeof(path), "%s/by-descriptor", argv[1]);
    if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
        read_back(path, "x");
    else
        CHECK(errno == ENOENT && geteuid() != 0); /* needs CAP_DAC_READ_SEARCH */
    close(fd);

    fd = open(argv[1], O_TMPFILE | O_RDWR | O_EXCL, 0600);
    CHECK(fd >= 0);
    snprintf(link_path, sizeof(link_path), "/proc/self/fd/%d", fd);
    snprintf(path, sizeof(path), "%s/never", argv[1]);
    CHECK_ERR(linkat(AT_FDCWD, link_path, AT_FDCWD, path, AT_SYMLINK_FOLLOW), ENOENT);
    puts("ok");
    return 0;
}
