/* The ops probe: operations that only look. */
#include "ops.h"
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static const char *type_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "reg";
    case S_IFDIR:
        return "dir";
    case S_IFLNK:
        return "lnk";
    case S_IFCHR:
        return "chr";
    case S_IFBLK:
        return "blk";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "sock";
    }
    return "?";
}

static void show(struct ops_result *res, const char *what, const struct stat *st)
{
    char *t = res->text;
    size_t n = sizeof(res->text);

    if (is(what, "type"))
        snprintf(t, n, "%s", type_name(st->st_mode));
    else if (is(what, "mode"))
        snprintf(t, n, "%04o", (unsigned)st->st_mode & 07777);
    else if (is(what, "size"))
        snprintf(t, n, "%lld", (long long)st->st_size);
    else if (is(what, "nlink"))
        snprintf(t, n, "%lu", (unsigned long)st->st_nlink);
    else if (is(what, "owner"))
        snprintf(t, n, "%u:%u", (unsigned)st->st_uid, (unsigned)st->st_gid);
    else if (is(what, "mtime"))
        snprintf(t, n, "%lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    else if (is(what, "atime"))
        snprintf(t, n, "%lld.%09ld", (long long)st->st_atim.tv_sec, st->st_atim.tv_nsec);
    else if (is(what, "rdev"))
        snprintf(t, n, "%u:%u", major(st->st_rdev), minor(st->st_rdev));
    else if (is(what, "blocks"))
        snprintf(t, n, "%s", st->st_blocks ? "some" : "none");
    else if (is(what, "id"))
        snprintf(t, n, "%llu:%llu", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    else
        snprintf(t, n, "ok");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Joins COUNT words, sorted, with single spaces; frees them. */
static void join(struct ops_result *res, char **names, size_t count)
{
    size_t at = 0;

    qsort(names, count, sizeof(*names), by_name);
    res->text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        at += (size_t)snprintf(res->text + at, sizeof(res->text) - at, "%s%s", i ? " " : "",
                               names[i]);
        if (at >= sizeof(res->text))
            fail("listing too long");
        free(names[i]);
    }
}

/* Lists from the descriptor's position to the end. types: "name:r" with the letter of d_type. */
static void list_fd(struct ops_result *res, int fd, bool types, bool dots)
{
    static char *names[4096];
    size_t count = 0;
    char buf[2048];
    long got;

    while ((got = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < got;) {
            struct probe_dirent *d = (struct probe_dirent *)(void *)(buf + at);
            char entry[300];

            at += d->reclen;
            if (!dots && (is(d->name, ".") || is(d->name, "..")))
                continue;
            snprintf(entry, sizeof(entry), types ? "%s:%c" : "%s", d->name,
                     "?pc?d?b?r?l?s?w?"[d->type & 15]);
            if (count == 4096)
                fail("too many entries");
            names[count++] = strdup(entry);
        }
    }
    if (got < 0) {
        res->err = errno;
        return;
    }
    join(res, names, count);
}

static void list_path(struct ops_result *res, const char *path, bool types, bool dots)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        res->err = errno;
        return;
    }
    list_fd(res, fd, types, dots);
    close(fd);
}

/* "dev:ino" of NAME in DIR, the inode number taken from the directory listing. */
static void dirent_id(struct ops_result *res, const char *dir, const char *name)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    char buf[2048];
    struct stat st;
    long got;

    if (fd < 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        res->err = errno;
        return;
    }
    while ((got = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
        for (long at = 0; at < got;) {
            struct probe_dirent *d = (struct probe_dirent *)(void *)(buf + at);

            at += d->reclen;
            if (is(d->name, name)) {
                snprintf(res->text, sizeof(res->text), "%llu:%llu", (unsigned long long)st.st_dev,
                         (unsigned long long)d->ino);
                close(fd);
                return;
            }
        }
    }
    close(fd);
    res->err = ENOENT;
}

static void statx_id(struct ops_result *res, const char *path)
{
    struct stat st;
    /* stx_ino is at 0x20, stx_dev_major at 0x88: the layout that every kernel keeps. */
    unsigned char buf[256];
    uint64_t ino;
    uint32_t major_, minor_;

    if (syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0x7ff, buf) != 0 ||
        lstat(path, &st) != 0) {
        res->err = errno;
        return;
    }
    memcpy(&ino, buf + 0x20, 8);
    memcpy(&major_, buf + 0x88, 4);
    memcpy(&minor_, buf + 0x8c, 4);
    snprintf(res->text, sizeof(res->text), "%llu:%llu", (unsigned long long)makedev(major_, minor_),
             (unsigned long long)ino);
}

static void text_result(struct ops_result *res, ssize_t n)
{
    res->err = n < 0 ? errno : 0;
    res->text[n < 0 ? 0 : n] = '\0';
}

/* The attribute names, sorted, without the security ones that the host may add. */
static void list_attributes(struct ops_result *res, ssize_t n, char *buf)
{
    static char *names[256];
    size_t count = 0;

    if (n < 0) {
        res->err = errno;
        return;
    }
    for (ssize_t at = 0; at < n && count < 256; at += (ssize_t)strlen(buf + at) + 1)
        if (strncmp(buf + at, "security.", 9) != 0)
            names[count++] = strdup(buf + at);
    join(res, names, count);
}

static bool run_xattr(char **w, struct ops_result *res)
{
    const char *op = w[0];
    size_t size = sizeof(res->text) - 1;
    static char buf[OPS_TEXT];

    if (is(op, "getx"))
        text_result(res, getxattr(w[1], w[2], res->text, size));
    else if (is(op, "lgetx"))
        text_result(res, lgetxattr(w[1], w[2], res->text, size));
    else if (is(op, "fgetx"))
        text_result(res, fgetxattr(ops_fd(w[1]), w[2], res->text, size));
    else if (is(op, "listx"))
        list_attributes(res, listxattr(w[1], buf, sizeof(buf)), buf);
    else if (is(op, "llistx"))
        list_attributes(res, llistxattr(w[1], buf, sizeof(buf)), buf);
    else if (is(op, "flistx"))
        list_attributes(res, flistxattr(ops_fd(w[1]), buf, sizeof(buf)), buf);
    else if (is(op, "listxsize"))
        ops_done(res, listxattr(w[1], NULL, 0));
    else
        return false;
    return true;
}

static bool run_listing(char **w, struct ops_result *res)
{
    const char *op = w[0];

    if (is(op, "ls"))
        list_path(res, w[1], false, false);
    else if (is(op, "lstypes"))
        list_path(res, w[1], true, false);
    else if (is(op, "lsdots"))
        list_path(res, w[1], false, true);
    else if (is(op, "fls"))
        list_fd(res, ops_fd(w[1]), false, false);
    else if (is(op, "rewind"))
        ops_done(res, lseek(ops_fd(w[1]), 0, SEEK_SET));
    else if (is(op, "dirent"))
        dirent_id(res, w[1], w[2]);
    else
        return false;
    return true;
}

bool ops_run_query(char **w, int n, struct ops_result *res)
{
    static const char *const facts[] = {"type",  "mode", "size",   "nlink", "owner", "mtime",
                                        "atime", "rdev", "blocks", "id",    "lstat"};
    const char *op = w[0];
    struct stat st;

    (void)n;
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        bool by_fd = op[0] == 'f' && is(op + 1, facts[i]);

        if (!by_fd && !is(op, facts[i]))
            continue;
        ops_done(res, by_fd ? fstat(ops_fd(w[1]), &st) : lstat(w[1], &st));
        if (!res->err)
            show(res, facts[i], &st);
        return true;
    }
    if (is(op, "stat")) {
        ops_done(res, stat(w[1], &st));
    } else if (is(op, "followid")) {
        ops_done(res, stat(w[1], &st));
        if (!res->err)
            show(res, "id", &st);
    } else if (is(op, "fstat")) {
        ops_done(res, fstat(ops_fd(w[1]), &st));
    } else if (is(op, "statat")) {
        ops_done(res, fstatat(ops_fd(w[1]), w[2], &st, AT_SYMLINK_NOFOLLOW));
    } else if (is(op, "statxid")) {
        statx_id(res, w[1]);
    } else if (is(op, "readlink")) {
        text_result(res, readlink(w[1], res->text, sizeof(res->text) - 1));
    } else if (is(op, "readlinkat")) {
        text_result(res, readlinkat(ops_fd(w[1]), w[2], res->text, sizeof(res->text) - 1));
    } else if (is(op, "fdlink")) {
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", ops_fd(w[1]));
        text_result(res, readlink(path, res->text, sizeof(res->text) - 1));
    } else if (is(op, "fdpath")) {
        int fd;
        char path[64];

        /* fdpath %F FLAGS: what reopening the descriptor's own path gives. */
        snprintf(path, sizeof(path), "/proc/self/fd/%d", ops_fd(w[1]));
        fd = open(path, is(w[2], "w") ? O_WRONLY : is(w[2], "rw") ? O_RDWR : O_RDONLY);
        ops_done(res, fd);
        res->fd = fd;
    } else if (is(op, "fdchmod")) {
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", ops_fd(w[1]));
        ops_done(res, chmod(path, (mode_t)strtol(w[2], NULL, 8)));
    } else if (is(op, "getcwd")) {
        if (!getcwd(res->text, sizeof(res->text)))
            res->err = errno;
    } else if (is(op, "statfs")) {
        struct statfs fs;

        ops_done(res, statfs(w[1], &fs));
        if (!res->err)
            snprintf(res->text, sizeof(res->text), "type=%lx name=%ld", (unsigned long)fs.f_type,
                     (long)fs.f_namelen);
    } else {
        return run_xattr(w, res) || run_listing(w, res);
    }
    return true;
}
