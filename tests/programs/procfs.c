/* procfs DIR: magic links in /proc say union paths and lead into the union. DIR is the union's
 * root and has the file "f"; the program itself lies outside or inside. */
#include "probe.h"

static void says(const char *link, const char *want)
{
    char buf[PATH_MAX];
    ssize_t n = readlink(link, buf, sizeof(buf) - 1);

    CHECK(n >= 0);
    buf[n] = '\0';
    if (strcmp(buf, want) != 0)
        fail("%s says %s, not %s", link, buf, want);
}

int main(int argc, char **argv)
{
    char path[PATH_MAX], link[64], buf[16] = "";
    struct stat a, b;
    int fd, fd2;
    bool found = false;

    if (argc != 2)
        fail("usage: procfs DIR");
    CHECK(chdir(argv[1]) == 0);
    says("/proc/self/cwd", argv[1]);
    says("/proc/thread-self/cwd", argv[1]);
    snprintf(link, sizeof(link), "/proc/%d/cwd", getpid());
    says(link, argv[1]);
    says("/proc/self/root", "/");
    CHECK(stat("/proc/self/cwd", &a) == 0 && stat(".", &b) == 0);
    CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    fd = open("/proc/self/cwd/f", O_RDONLY);
    CHECK(fd >= 0 && read(fd, buf, 3) == 3 && memcmp(buf, "low", 3) == 0);
    snprintf(path, sizeof(path), "%s/f", argv[1]);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    says(link, path);
    snprintf(link, sizeof(link), "/dev/fd/%d", fd);
    says(link, path);
    fd2 = open(link, O_RDONLY);
    CHECK(fd2 >= 0 && fstat(fd2, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino);
    close(fd2);

    /* As a path, the link leads to a copy when it is opened for writing. */
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    fd2 = open(link, O_WRONLY | O_APPEND);
    CHECK(fd2 >= 0 && write(fd2, "+", 1) == 1);
    says(link, path);
    CHECK(stat(path, &a) == 0 && a.st_size == 4);
    CHECK(chmod(link, 0640) == 0);
    CHECK(stat(path, &a) == 0 && (a.st_mode & 07777) == 0640);
    CHECK(truncate(link, 2) == 0);
    CHECK(stat(path, &a) == 0 && a.st_size == 2);
    close(fd2);
    close(fd);

    /* A directory's descriptor as the start of a path. */
    fd = open("d", O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d/inside", fd);
    fd2 = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    CHECK(fd2 >= 0);
    CHECK(stat("d/inside", &a) == 0);
    close(fd2);
    {
        int proc = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
        char name[16], got[PATH_MAX], want[PATH_MAX];
        ssize_t n;

        CHECK(proc >= 0);
        snprintf(name, sizeof(name), "%d", fd);
        n = readlinkat(proc, name, got, sizeof(got) - 1);
        CHECK(n > 0);
        got[n] = '\0';
        snprintf(want, sizeof(want), "%s/d", argv[1]);
        if (strcmp(got, want) != 0)
            fail("readlinkat says %s, not %s", got, want);
        n = readlinkat(proc, name, got, 3);
        CHECK(n == 3 && memcmp(got, want, 3) == 0);
        close(proc);
    }
    close(fd);

    /* A mapping of a file in the union is listed under its union path. */
    {
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[PATH_MAX + 128];
        ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

        CHECK(maps && n > 0);
        path[n] = '\0';
        CHECK(stat("/proc/self/exe", &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino);
        while (fgets(line, sizeof(line), maps))
            found = found || strstr(line, path);
        fclose(maps);
    }
    printf("exe %s\n", path);
    return 0;
}
