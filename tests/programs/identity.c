/* identity [-u] DIR: every object below DIR has one identity in stat, lstat, fstat, statx and its
 * directory's listing. -u: and no two objects share one (unless they are links of one file). */
#include "probe.h"
#include <sys/sysmacros.h>

static bool unique;
static struct stat seen[65536];
static size_t count;

static void statx_ids(int dirfd, const char *name, int flags, uint64_t *ino, uint64_t *dev)
{
    unsigned char buf[256];
    uint32_t major_, minor_;

    CHECK(syscall(SYS_statx, dirfd, name, flags, 0x7ff, buf) == 0);
    memcpy(ino, buf + 0x20, 8);
    memcpy(&major_, buf + 0x88, 4);
    memcpy(&minor_, buf + 0x8c, 4);
    *dev = makedev(major_, minor_);
}

static void same(const char *path, const char *what, const struct stat *a, uint64_t dev,
                 uint64_t ino)
{
    if (a->st_dev != dev || a->st_ino != ino)
        fail("%s: lstat says %llu:%llu, %s %llu:%llu", path, (unsigned long long)a->st_dev,
             (unsigned long long)a->st_ino, what, (unsigned long long)dev, (unsigned long long)ino);
}

static void object(int dirfd, const char *name, const char *path, uint64_t d_ino,
                   unsigned char d_type)
{
    struct stat st, other;
    uint64_t ino, dev;
    int fd;

    CHECK(lstat(path, &st) == 0);
    same(path, "d_ino", &st, st.st_dev, d_ino);
    if (d_type != ((st.st_mode >> 12) & 15))
        fail("%s: d_type %d for mode %o", path, d_type, (unsigned)st.st_mode);
    CHECK(fstatat(dirfd, name, &other, AT_SYMLINK_NOFOLLOW) == 0);
    same(path, "fstatat", &st, other.st_dev, other.st_ino);
    if (!S_ISLNK(st.st_mode)) {
        CHECK(stat(path, &other) == 0);
        same(path, "stat", &st, other.st_dev, other.st_ino);
    }
    statx_ids(dirfd, name, AT_SYMLINK_NOFOLLOW, &ino, &dev);
    same(path, "statx", &st, dev, ino);
    fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(fstat(fd, &other) == 0);
    same(path, "fstat of O_PATH", &st, other.st_dev, other.st_ino);
    CHECK(fstatat(fd, "", &other, AT_EMPTY_PATH) == 0);
    same(path, "fstatat of the empty path", &st, other.st_dev, other.st_ino);
    statx_ids(fd, "", AT_EMPTY_PATH, &ino, &dev);
    same(path, "statx of the empty path", &st, dev, ino);
    close(fd);
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0);
        CHECK(fstat(fd, &other) == 0);
        same(path, "fstat", &st, other.st_dev, other.st_ino);
        CHECK(st.st_size == other.st_size && st.st_mode == other.st_mode);
        CHECK(st.st_nlink == other.st_nlink);
#ifdef SYS_fstat
        CHECK(syscall(SYS_fstat, fd, &other) == 0);
        same(path, "the raw fstat", &st, other.st_dev, other.st_ino);
#endif
        close(fd);
    }
    for (size_t i = 0; unique && st.st_nlink == 1 && i < count; i++)
        if (seen[i].st_ino == st.st_ino && seen[i].st_dev == st.st_dev)
            fail("%s shares its identity with another object", path);
    if (count < sizeof(seen) / sizeof(seen[0]))
        seen[count++] = st;
}

static void walk(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char buf[4096], path[PATH_MAX];
    long got;

    CHECK(fd >= 0);
    while ((got = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < got;) {
            struct probe_dirent *d = (struct probe_dirent *)(void *)(buf + at);

            at += d->reclen;
            if (strcmp(d->name, "..") == 0)
                continue;
            snprintf(path, sizeof(path), "%s/%s", dir, d->name);
            if (strcmp(d->name, ".") == 0) {
                struct stat st;

                CHECK(stat(dir, &st) == 0);
                same(dir, "the listing's .", &st, st.st_dev, d->ino);
                continue;
            }
            object(fd, d->name, path, d->ino, d->type);
            if (d->type == DT_DIR)
                walk(path);
        }
    }
    CHECK(got == 0);
    close(fd);
}

int main(int argc, char **argv)
{
    unique = argc > 2 && strcmp(argv[1], "-u") == 0;
    walk(argv[argc - 1]);
    if (count == 0)
        fail("nothing found");
    puts("ok");
    return 0;
}
