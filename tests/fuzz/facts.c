/* What the actor reports of an object: stat facts, listings, content, extended attributes.
 *
 * Only facts that do not depend on when or on which filesystem: times are printed when they were
 * set explicitly (before 2001), else as "now"; identity is printed as equality, never as numbers.
 */
#define _GNU_SOURCE
#include "actor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define EXPLICIT_BEFORE 1000000000L
#define MAX_ENTRIES     4096

struct entry {
    char name[256];
    char type;
    ino_t ino;
};

struct raw_dirent {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

uint64_t hash_bytes(uint64_t h, const void *data, size_t len)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL;
    return h;
}

struct ident ident_of(const struct stat *st)
{
    return (struct ident){st->st_dev, st->st_ino};
}

bool same_ident(struct ident a, struct ident b)
{
    return a.dev == b.dev && a.ino == b.ino;
}

static char type_letter(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 'f';
    case S_IFDIR:
        return 'd';
    case S_IFLNK:
        return 'l';
    case S_IFIFO:
        return 'p';
    case S_IFCHR:
        return 'c';
    case S_IFBLK:
        return 'b';
    case S_IFSOCK:
        return 's';
    default:
        return '?';
    }
}

static void say_time(const struct timespec *t)
{
    if (t->tv_sec < EXPLICIT_BEFORE)
        say(" mt=%lld.%09ld", (long long)t->tv_sec, t->tv_nsec);
    else
        say(" mt=now");
}

/* Directories: size and link count are the filesystem's own business and left out. */
void say_stat(const struct stat *st)
{
    say(" %c %04o %u:%u", type_letter(st->st_mode), st->st_mode & 07777, st->st_uid, st->st_gid);
    if (!S_ISDIR(st->st_mode))
        say(" size=%lld nlink=%lu", (long long)st->st_size, (unsigned long)st->st_nlink);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        say(" rdev=%llx", (unsigned long long)st->st_rdev);
    /* Writing to a fifo moves its time, natively that of whichever inode it is. */
    if (!S_ISFIFO(st->st_mode))
        say_time(&st->st_mtim);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static char dtype_letter(unsigned char type)
{
    return type == DT_UNKNOWN ? '?' : type_letter(DTTOIF(type));
}

/* Entries of an open directory from its beginning, sorted. Count, or -1 with errno. */
static int read_entries(int fd, struct entry *list)
{
    _Alignas(8) char buf[2048];
    int n = 0;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -1;
    for (;;) {
        long got = syscall(SYS_getdents64, fd, buf, sizeof(buf));
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        for (long off = 0; off < got;) {
            struct raw_dirent *d = (void *)(buf + off);
            off += d->reclen;
            if (n == MAX_ENTRIES)
                continue;
            snprintf(list[n].name, sizeof(list[n].name), "%s", d->name);
            list[n].type = dtype_letter(d->type);
            list[n++].ino = d->ino;
        }
    }
    qsort(list, n, sizeof(*list), by_name);
    return n;
}

void say_listing(int fd, bool check_inodes)
{
    static struct entry list[MAX_ENTRIES];
    int n = read_entries(fd, list);
    if (n < 0) {
        say_errno(errno);
        return;
    }
    say(" [");
    for (int i = 0; i < n; i++)
        say("%s%s:%c", i ? " " : "", list[i].name, list[i].type);
    say("]");
    if (!check_inodes)
        return;
    bool all = true;
    for (int i = 0; i < n; i++) {
        struct stat st;
        if (strcmp(list[i].name, "..") == 0)
            continue;
        if (fstatat(fd, list[i].name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            say(" %s:", list[i].name);
            say_errno(errno);
            continue;
        }
        if (st.st_ino != list[i].ino || type_letter(st.st_mode) != list[i].type) {
            say(" %s:d_ino!=st_ino", list[i].name);
            all = false;
        }
    }
    say(" ino=%s", all ? "ok" : "BAD");
}

void say_listing_libc(const char *path)
{
    static struct entry list[MAX_ENTRIES];
    DIR *dir = opendir(path);
    if (!dir) {
        say_errno(errno);
        return;
    }
    int n = 0, first = 0;
    struct dirent *d;
    while ((d = readdir(dir)))
        first++;
    rewinddir(dir);
    while ((d = readdir(dir)) && n < MAX_ENTRIES) {
        snprintf(list[n].name, sizeof(list[n].name), "%s", d->d_name);
        list[n++].type = dtype_letter(d->d_type);
    }
    closedir(dir);
    qsort(list, n, sizeof(*list), by_name);
    say(" [");
    for (int i = 0; i < n; i++)
        say("%s%s:%c", i ? " " : "", list[i].name, list[i].type);
    say("] %s", first == n ? "rewound-same" : "rewound-DIFFERS");
}

/* Digest of everything from the start. */
void say_content(int fd)
{
    char buf[65536];
    uint64_t h = 0xcbf29ce484222325ULL;
    off_t pos = 0;
    ssize_t n;
    while ((n = pread(fd, buf, sizeof(buf), pos)) > 0) {
        h = hash_bytes(h, buf, n);
        pos += n;
    }
    if (n < 0) {
        say_errno(errno);
        return;
    }
    say(" data=%lld:%016llx", (long long)pos, (unsigned long long)h);
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static ssize_t list_any(const char *path, int fd, bool follow, char *buf, size_t size)
{
    if (!path)
        return flistxattr(fd, buf, size);
    return follow ? listxattr(path, buf, size) : llistxattr(path, buf, size);
}

static ssize_t get_any(const char *path, int fd, bool follow, const char *name, char *buf,
                       size_t size)
{
    if (!path)
        return fgetxattr(fd, name, buf, size);
    return follow ? getxattr(path, name, buf, size) : lgetxattr(path, name, buf, size);
}

void say_xattrs(const char *path, int fd, bool follow)
{
    char names[4096], value[4096];
    char *sorted[128];
    int count = 0;
    ssize_t n = list_any(path, fd, follow, names, sizeof(names));
    if (n < 0) {
        say_errno(errno);
        return;
    }
    /* The kernel counts names that it hides, so a larger answer is fine. */
    if (list_any(path, fd, follow, NULL, 0) < n)
        say(" size-query-SHORT");
    for (ssize_t i = 0; i < n && count < 128; i += strlen(names + i) + 1)
        sorted[count++] = names + i;
    qsort(sorted, count, sizeof(*sorted), by_string);
    say(" {");
    for (int i = 0; i < count; i++) {
        ssize_t len = get_any(path, fd, follow, sorted[i], value, sizeof(value));
        if (len < 0)
            say("%s%s!%d", i ? " " : "", sorted[i], errno);
        else
            say("%s%s=%llx", i ? " " : "", sorted[i],
                (unsigned long long)hash_bytes(7, value, len));
    }
    say("}");
}

/* ---- the final tree ---- */

struct group {
    struct ident id;
    char first[1024];
};
static struct group groups[8192];
static int group_count;

static void say_group(const struct stat *st, const char *rel)
{
    for (int i = 0; i < group_count; i++) {
        if (same_ident(groups[i].id, ident_of(st))) {
            say(" same-as=%s", groups[i].first);
            return;
        }
    }
    if (group_count < 8192) {
        groups[group_count].id = ident_of(st);
        snprintf(groups[group_count++].first, sizeof(groups[0].first), "%s", rel);
    }
}

static void walk_one(const char *path, const char *rel, const char *skip)
{
    struct stat st;
    say("%s", *rel ? rel : ".");
    if (lstat(path, &st) < 0) {
        say_errno(errno);
        say("\n");
        return;
    }
    say_stat(&st);
    /* Without trusted xattrs the kernel forgets where links of other types came from. */
    if (S_ISREG(st.st_mode))
        say_group(&st, rel);
    if (S_ISLNK(st.st_mode)) {
        char text[PATH_SIZE];
        ssize_t n = readlink(path, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = 0;
        say(" -> ");
        say_path(text);
    } else {
        say_xattrs(path, -1, false);
    }
    if (S_ISREG(st.st_mode)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
            say_errno(errno);
        } else {
            say_content(fd);
            close(fd);
        }
    }
    if (!S_ISDIR(st.st_mode)) {
        say("\n");
        return;
    }
    if (skip && strcmp(path, skip) == 0) {
        say(" skipped\n");
        return;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct entry *list = malloc(sizeof(*list) * 512);
    int n = -1;
    if (fd >= 0) {
        static struct entry all[MAX_ENTRIES];
        n = read_entries(fd, all);
        if (n > 512)
            n = 512;
        if (n > 0)
            memcpy(list, all, n * sizeof(*list));
    }
    if (n < 0)
        say_errno(errno);
    say("\n");
    if (fd >= 0)
        close(fd);
    for (int i = 0; i < n; i++) {
        char sub[PATH_SIZE], subrel[PATH_SIZE];
        if (!strcmp(list[i].name, ".") || !strcmp(list[i].name, ".."))
            continue;
        snprintf(sub, sizeof(sub), "%.2000s/%s", path, list[i].name);
        snprintf(subrel, sizeof(subrel), "%.2000s%s%s", rel, *rel ? "/" : "", list[i].name);
        walk_one(sub, subrel, skip);
    }
    free(list);
}

/* Prints every object below root, one line each. */
int walk(const char *root, const char *skip)
{
    group_count = 0;
    walk_one(root, "", skip);
    return 0;
}
