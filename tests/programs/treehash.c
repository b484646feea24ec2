/* Prints one line per object below a directory, sorted by path: what must not change in a lower.
 *
 *     treehash [-c] [-x PATH]... DIR     type, mode, owner, size, mtime, xattrs, target, content
 *     treehash -l [-x PATH]... DIR       the layer as a reader of markers sees it: "W name" for a
 *                                        whiteout in any style, "O dir" for an opaque directory,
 *                                        else the type letter and the name
 *
 * -c leaves out the modification times of directories and the sizes of directories: for comparing
 * a union with a plain copy of the same tree. -x leaves out a path and everything below it. */
#include "probe.h"
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static bool compare_mode, layer_mode;
static const char *excluded[16];
static int excluded_count;

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;

    for (; n >= 8; n -= 8, p += 8) {
        uint64_t w;

        memcpy(&w, p, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15ULL;
        h ^= h >> 29;
    }
    for (; n; n--, p++)
        h = (h ^ *p) * 0x100000001b3ULL;
    return h;
}

static uint64_t content(int dirfd, const char *name)
{
    static char buf[1 << 17];
    uint64_t h = 1469598103934665603ULL;
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return (uint64_t)errno;
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        h = mix(h, buf, (size_t)n);
    close(fd);
    return h;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Prints the attributes of PATH, sorted. */
static void attributes(const char *path)
{
    char list[4096], value[4096], *names[128];
    ssize_t n = llistxattr(path, list, sizeof(list));
    int count = 0;

    for (ssize_t at = 0; n > 0 && at < n && count < 128; at += (ssize_t)strlen(list + at) + 1)
        names[count++] = list + at;
    qsort(names, (size_t)count, sizeof(*names), by_name);
    for (int i = 0; i < count; i++) {
        ssize_t len = lgetxattr(path, names[i], value, sizeof(value));

        printf(" %s=%016llx", names[i],
               (unsigned long long)mix(7, value, len > 0 ? (size_t)len : 0));
    }
}

static bool opaque(const char *path)
{
    static const char *const names[] = {"trusted.overlay.opaque", "user.overlay.opaque",
                                        "user.fuseoverlayfs.opaque"};
    char value[8], marker[PATH_MAX];
    struct stat st;

    for (int i = 0; i < 3; i++)
        if (lgetxattr(path, names[i], value, sizeof(value)) >= 1 && value[0] == 'y')
            return true;
    snprintf(marker, sizeof(marker), "%s/.wh..wh..opq", path);
    return lstat(marker, &st) == 0;
}

static void layer_line(const char *shown, const char *path, const struct stat *st)
{
    const char *name = strrchr(shown, '/');
    int dir_len = name ? (int)(name - shown + 1) : 0;

    name = name ? name + 1 : shown;
    if (strcmp(name, ".wh..wh..opq") == 0)
        return;
    if (strncmp(name, ".wh.", 4) == 0)
        printf("W %.*s%s\n", dir_len, shown, name + 4);
    else if (S_ISCHR(st->st_mode) && st->st_rdev == 0)
        printf("W %s\n", shown);
    else
        printf("%c %s\n", "?pc?d?b?f?l?s?w?"[(st->st_mode >> 12) & 15], shown);
    if (S_ISDIR(st->st_mode) && opaque(path))
        printf("O %s\n", shown);
}

static void line(int dirfd, const char *name, const char *shown, const char *path)
{
    struct stat st;
    char target[PATH_MAX];
    ssize_t n;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        printf("%s: %s\n", shown, probe_errno(errno));
        return;
    }
    if (layer_mode) {
        layer_line(shown, path, &st);
        return;
    }
    printf("%s %06o %u:%u", shown, (unsigned)st.st_mode, (unsigned)st.st_uid, (unsigned)st.st_gid);
    if (!(compare_mode && S_ISDIR(st.st_mode)))
        printf(" %lld %lld.%09ld", (long long)(S_ISDIR(st.st_mode) ? 0 : st.st_size),
               (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        printf(" %u,%u", major(st.st_rdev), minor(st.st_rdev));
    attributes(path);
    if (S_ISLNK(st.st_mode)) {
        n = readlinkat(dirfd, name, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        printf(" -> %s", target);
    }
    if (S_ISREG(st.st_mode))
        printf(" %016llx", (unsigned long long)content(dirfd, name));
    putchar('\n');
}

/* The private directory that a running session hides in its upper. */
#define WORK_NAME ".wh..fuss.work"

static bool left_out(const char *path, const char *name)
{
    if (layer_mode && strcmp(name, WORK_NAME) == 0)
        return true;
    for (int i = 0; i < excluded_count; i++)
        if (strcmp(path, excluded[i]) == 0)
            return true;
    return false;
}

static void walk(int dirfd, const char *path, const char *shown)
{
    size_t count = 0, room = 64;
    char **names = malloc(room * sizeof(*names));
    DIR *dir = fdopendir(dirfd);
    struct dirent *d;

    if (!dir || !names)
        fail("%s: %s", path, probe_errno(errno));
    while ((d = readdir(dir))) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        if (count == room)
            names = realloc(names, (room *= 2) * sizeof(*names));
        names[count++] = strdup(d->d_name);
    }
    qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; i < count; i++) {
        char sub[PATH_MAX], sub_shown[PATH_MAX];
        int fd;

        snprintf(sub, sizeof(sub), "%s/%s", path, names[i]);
        snprintf(sub_shown, sizeof(sub_shown), "%s%s%s", shown, *shown ? "/" : "", names[i]);
        if (!left_out(sub, names[i])) {
            line(dirfd, names[i], sub_shown, sub);
            fd = openat(dirfd, names[i],
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
            if (fd >= 0)
                walk(fd, sub, sub_shown);
        }
        free(names[i]);
    }
    free(names);
    closedir(dir);
}

int main(int argc, char **argv)
{
    int opt, fd;

    while ((opt = getopt(argc, argv, "clx:")) != -1) {
        if (opt == 'c')
            compare_mode = true;
        else if (opt == 'l')
            layer_mode = true;
        else if (opt == 'x' && excluded_count < 16)
            excluded[excluded_count++] = optarg;
        else
            fail("usage: treehash [-cl] [-x PATH] DIR");
    }
    if (optind != argc - 1)
        fail("usage: treehash [-cl] [-x PATH] DIR");
    fd = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fail("%s: %s", argv[optind], probe_errno(errno));
    if (!layer_mode && !compare_mode)
        line(fd, ".", ".", argv[optind]);
    walk(fd, argv[optind], "");
    return 0;
}
