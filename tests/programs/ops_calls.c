/* The ops probe: operations that open, change and create. */
#include "ops.h"
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define IOC_GETFLAGS 0x80086601UL
#define IOC_SETFLAGS 0x40086602UL

void ops_done(struct ops_result *res, long rc)
{
    res->err = rc < 0 ? errno : 0;
    snprintf(res->text, sizeof(res->text), "%ld", rc);
}

static void done_fd(struct ops_result *res, int fd)
{
    ops_done(res, fd);
    res->fd = fd;
    if (fd >= 0)
        strcpy(res->text, "ok");
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static int number(const char *word, int base, int otherwise)
{
    return word ? (int)strtol(word, NULL, base) : otherwise;
}

struct word_value {
    const char *word;
    unsigned int value;
};

static const struct word_value open_words[] = {
    {"r", O_RDONLY},
    {"w", O_WRONLY},
    {"rw", O_RDWR},
    {"creat", O_CREAT},
    {"excl", O_EXCL},
    {"trunc", O_TRUNC},
    {"append", O_APPEND},
    {"dir", O_DIRECTORY},
    {"nofollow", O_NOFOLLOW},
    {"path", O_PATH},
    {"tmpfile", O_TMPFILE},
    {"nonblock", O_NONBLOCK},
    {"cloexec", O_CLOEXEC},
    {"noatime", O_NOATIME},
    {"beneath", PROBE_BENEATH},
    {NULL, 0},
};
static const struct word_value resolve_words[] = {
    {"none", 0},
    {"xdev", PROBE_NO_XDEV},
    {"nomagic", PROBE_NO_MAGICLINKS},
    {"nosym", PROBE_NO_SYMLINKS},
    {"beneath", PROBE_BENEATH},
    {"inroot", PROBE_IN_ROOT},
    {NULL, 0},
};
static const struct word_value rename_words[] = {
    {"none", 0}, {"noreplace", 1}, {"exchange", 2}, {"whiteout", 4},
    {"both", 3}, {"unknown", 64},  {NULL, 0},
};
static const struct word_value at_words[] = {
    {"none", 0},
    {"nofollow", AT_SYMLINK_NOFOLLOW},
    {"follow", AT_SYMLINK_FOLLOW},
    {"empty", AT_EMPTY_PATH},
    {"dir", AT_REMOVEDIR},
    {"eaccess", AT_EACCESS},
    {NULL, 0},
};

/* "a,b,c" as the OR of its words in TABLE; a number stands for itself. */
static unsigned int flags(const char *list, const struct word_value *table)
{
    unsigned int out = 0;
    char copy[128], *save = NULL;

    if (!list)
        return 0;
    snprintf(copy, sizeof(copy), "%s", list);
    for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        const struct word_value *v = table;

        while (v->word && !is(v->word, w))
            v++;
        if (!v->word)
            fail("unknown flag word %s", w);
        out |= v->value;
    }
    return out;
}

static void put(struct ops_result *res, const char *path, int open_flags, const char *text)
{
    int fd = open(path, open_flags | O_WRONLY | O_CREAT, 0644);

    ops_done(res, fd);
    if (fd < 0)
        return;
    ops_done(res, write(fd, text, strlen(text)));
    close(fd);
}

static void cat(struct ops_result *res, int fd, bool close_it)
{
    ssize_t n;

    ops_done(res, fd);
    if (fd < 0)
        return;
    n = read(fd, res->text, sizeof(res->text) - 1);
    res->err = n < 0 ? errno : 0;
    res->text[n < 0 ? 0 : n] = '\0';
    if (close_it)
        close(fd);
}

static void set_times(struct ops_result *res, int dirfd, const char *path, const char *sec,
                      const char *nsec, int at)
{
    struct timespec ts[2];

    ts[0].tv_sec = ts[1].tv_sec = sec ? atol(sec) : 0;
    ts[0].tv_nsec = ts[1].tv_nsec = nsec ? atol(nsec) : 0;
    ops_done(res, path ? utimensat(dirfd, path, ts, at) : futimens(dirfd, ts));
}

static bool run_open(char **w, struct ops_result *res)
{
    const char *op = w[0];

    if (is(op, "open")) {
        done_fd(res, open(w[1], (int)flags(w[2], open_words), number(w[3], 8, 0644)));
    } else if (is(op, "openat")) {
        done_fd(res,
                openat(ops_fd(w[1]), w[2], (int)flags(w[3], open_words), number(w[4], 8, 0644)));
    } else if (is(op, "openat2")) {
        struct probe_how how = {.flags = flags(w[3], open_words),
                                .resolve = flags(w[4], resolve_words)};

        if (how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
            how.mode = 0644;
        done_fd(res, (int)syscall(SYS_openat2, ops_fd(w[1]), w[2], &how, sizeof(how)));
    } else if (is(op, "creat")) {
        done_fd(res, creat(w[1], (mode_t)number(w[2], 8, 0644)));
    } else if (is(op, "dup")) {
        done_fd(res, dup(ops_fd(w[1])));
    } else if (is(op, "close")) {
        ops_done(res, close(ops_fd(w[1])));
    } else if (is(op, "cat")) {
        cat(res, open(w[1], O_RDONLY), true);
    } else if (is(op, "catat")) {
        cat(res, openat(ops_fd(w[1]), w[2], O_RDONLY), true);
    } else if (is(op, "read")) {
        cat(res, ops_fd(w[1]), false);
    } else if (is(op, "put")) {
        put(res, w[1], O_TRUNC, w[2]);
    } else if (is(op, "new")) {
        put(res, w[1], O_EXCL, w[2]);
    } else if (is(op, "append")) {
        put(res, w[1], O_APPEND, w[2]);
    } else if (is(op, "write")) {
        ops_done(res, write(ops_fd(w[1]), w[2], strlen(w[2])));
    } else if (is(op, "lseek")) {
        ops_done(res, lseek(ops_fd(w[1]), atol(w[2]),
                            is(w[3], "set")   ? 0
                            : is(w[3], "cur") ? 1
                                              : 2));
    } else {
        return false;
    }
    return true;
}

static bool run_names(char **w, struct ops_result *res)
{
    const char *op = w[0];

    if (is(op, "mkdir")) {
        ops_done(res, mkdir(w[1], (mode_t)number(w[2], 8, 0755)));
    } else if (is(op, "mkdirat")) {
        ops_done(res, mkdirat(ops_fd(w[1]), w[2], (mode_t)number(w[3], 8, 0755)));
    } else if (is(op, "rmdir")) {
        ops_done(res, rmdir(w[1]));
    } else if (is(op, "unlink")) {
        ops_done(res, unlink(w[1]));
    } else if (is(op, "unlinkat")) {
        ops_done(res, unlinkat(ops_fd(w[1]), w[2], (int)flags(w[3], at_words)));
    } else if (is(op, "symlink")) {
        ops_done(res, symlink(w[1], w[2]));
    } else if (is(op, "symlinkat")) {
        ops_done(res, symlinkat(w[1], ops_fd(w[2]), w[3]));
    } else if (is(op, "link")) {
        ops_done(res, link(w[1], w[2]));
    } else if (is(op, "linkat")) {
        ops_done(res, linkat(ops_fd(w[1]), w[2], ops_fd(w[3]), w[4], (int)flags(w[5], at_words)));
    } else if (is(op, "rename")) {
        ops_done(res, rename(w[1], w[2]));
    } else if (is(op, "rename2")) {
        ops_done(res,
                 syscall(SYS_renameat2, AT_FDCWD, w[1], AT_FDCWD, w[2], flags(w[3], rename_words)));
    } else if (is(op, "renameat")) {
        ops_done(res, renameat(ops_fd(w[1]), w[2], ops_fd(w[3]), w[4]));
    } else if (is(op, "mkfifo")) {
        ops_done(res, mkfifo(w[1], (mode_t)number(w[2], 8, 0644)));
    } else if (is(op, "mknod")) {
        mode_t type = w[2][0] == 'c'   ? S_IFCHR
                      : w[2][0] == 'b' ? S_IFBLK
                      : w[2][0] == 's' ? S_IFSOCK
                      : w[2][0] == 'p' ? S_IFIFO
                                       : S_IFREG;

        ops_done(res, mknod(w[1], type | 0644,
                            makedev((unsigned)number(w[3], 10, 0), (unsigned)number(w[4], 10, 0))));
    } else {
        return false;
    }
    return true;
}

static bool run_attributes(char **w, struct ops_result *res)
{
    const char *op = w[0];
    int at = w[1] ? (int)ops_fd(w[1]) : -1;

    if (is(op, "chmod")) {
        ops_done(res, chmod(w[1], (mode_t)number(w[2], 8, 0)));
    } else if (is(op, "fchmod")) {
        ops_done(res, fchmod(at, (mode_t)number(w[2], 8, 0)));
    } else if (is(op, "fchmodat2")) {
        ops_done(res, syscall(SYS_fchmodat2, at, w[2], number(w[3], 8, 0), flags(w[4], at_words)));
    } else if (is(op, "chown")) {
        ops_done(res, chown(w[1], (uid_t)number(w[2], 10, -1), (gid_t)number(w[3], 10, -1)));
    } else if (is(op, "lchown")) {
        ops_done(res, lchown(w[1], (uid_t)number(w[2], 10, -1), (gid_t)number(w[3], 10, -1)));
    } else if (is(op, "fchown")) {
        ops_done(res, fchown(at, (uid_t)number(w[2], 10, -1), (gid_t)number(w[3], 10, -1)));
    } else if (is(op, "utimes")) {
        set_times(res, AT_FDCWD, w[1], w[2], w[3], 0);
    } else if (is(op, "lutimes")) {
        set_times(res, AT_FDCWD, w[1], w[2], w[3], AT_SYMLINK_NOFOLLOW);
    } else if (is(op, "futimens")) {
        set_times(res, at, NULL, w[2], w[3], 0);
    } else if (is(op, "truncate")) {
        ops_done(res, truncate(w[1], atol(w[2])));
    } else if (is(op, "ftruncate")) {
        ops_done(res, ftruncate(at, atol(w[2])));
    } else if (is(op, "setx") || is(op, "lsetx")) {
        int how = !w[4] ? 0 : is(w[4], "create") ? XATTR_CREATE : XATTR_REPLACE;

        ops_done(res, is(op, "setx") ? setxattr(w[1], w[2], w[3], strlen(w[3]), how)
                                     : lsetxattr(w[1], w[2], w[3], strlen(w[3]), how));
    } else if (is(op, "fsetx")) {
        ops_done(res, fsetxattr(at, w[2], w[3], strlen(w[3]), 0));
    } else if (is(op, "rmx")) {
        ops_done(res, removexattr(w[1], w[2]));
    } else if (is(op, "lrmx")) {
        ops_done(res, lremovexattr(w[1], w[2]));
    } else if (is(op, "frmx")) {
        ops_done(res, fremovexattr(at, w[2]));
    } else if (is(op, "setflags")) {
        int fd = open(w[1], O_RDONLY | O_NONBLOCK), bits = number(w[2], 0, 0);

        ops_done(res, fd < 0 ? -1 : ioctl(fd, IOC_SETFLAGS, &bits));
        if (fd >= 0)
            close(fd);
    } else if (is(op, "getflags")) {
        int fd = open(w[1], O_RDONLY | O_NONBLOCK), bits = 0;

        ops_done(res, fd < 0 ? -1 : ioctl(fd, IOC_GETFLAGS, &bits));
        if (fd >= 0)
            close(fd);
    } else {
        return false;
    }
    return true;
}

static bool run_process(char **w, struct ops_result *res)
{
    const char *op = w[0];

    if (is(op, "chdir")) {
        ops_done(res, chdir(w[1]));
    } else if (is(op, "fchdir")) {
        ops_done(res, fchdir(ops_fd(w[1])));
    } else if (is(op, "umask")) {
        umask((mode_t)number(w[1], 8, 0));
        ops_done(res, 0);
    } else if (is(op, "seteuid")) {
        ops_done(res, seteuid((uid_t)number(w[1], 10, 0)));
    } else if (is(op, "setegid")) {
        ops_done(res, setegid((gid_t)number(w[1], 10, 0)));
    } else if (is(op, "chroot")) {
        ops_done(res, chroot(w[1]));
    } else if (is(op, "flock")) {
        ops_done(res, flock(ops_fd(w[1]), is(w[2], "ex") ? LOCK_EX | LOCK_NB : LOCK_SH | LOCK_NB));
    } else if (is(op, "geteuid")) {
        ops_done(res, (long)geteuid());
    } else if (is(op, "sync")) {
        ops_done(res, fsync(ops_fd(w[1])));
    } else {
        return false;
    }
    return true;
}

bool ops_run(char **w, int n, struct ops_result *res)
{
    if (n < 1)
        return false;
    if (n > 1 && is(w[1], "NULL"))
        w[1] = NULL;
    if (is(w[0], "access")) {
        int mode = 0;

        for (const char *p = w[2]; *p; p++)
            mode |= *p == 'r' ? R_OK : *p == 'w' ? W_OK : *p == 'x' ? X_OK : 0;
        ops_done(res, syscall(SYS_faccessat2, AT_FDCWD, w[1], mode, flags(w[3], at_words)));
        return true;
    }
    return run_open(w, res) || run_names(w, res) || run_attributes(w, res) || run_process(w, res) ||
           ops_run_query(w, n, res);
}
