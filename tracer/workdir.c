#include "tracer/workdir.h"
#include "overlay/overlay.h"
#include "tracer/options.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LOCK_NAME   "lock"
#define DEPTH_LIMIT 512
#define LOCK_TRIES  16

static char lock_dir[PATH_MAX + 32];  /* UPPER/WORK_NAME */
static char lock_path[PATH_MAX + 64]; /* ... /lock */
static char work[PATH_MAX + 32];      /* the session's work directory, which may be the same one */
static char upper_dir[PATH_MAX];
static int lock_fd = -1;

/* The work directory comes and goes in the upper's root, which shall not show by its times. */
static struct timespec *upper_times(struct timespec ts[2])
{
    struct stat st;
    if (stat(upper_dir, &st) < 0)
        return NULL;
    ts[0] = st.st_atim;
    ts[1] = st.st_mtim;
    return ts;
}

static void restore_times(const struct timespec *ts)
{
    if (ts)
        utimensat(AT_FDCWD, upper_dir, ts, 0);
}

/* Removes what is in the directory `fd` (closed here), but not a name `keep`. */
static void empty_dir(int fd, const char *keep, int depth)
{
    DIR *d = fdopendir(fd);
    struct dirent *e;
    if (!d) {
        close(fd);
        return;
    }
    while ((e = readdir(d))) {
        if (is_dot(e->d_name, strlen(e->d_name)) || is_dotdot(e->d_name, strlen(e->d_name)) ||
            (keep && strcmp(e->d_name, keep) == 0))
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0 || (errno != EISDIR && errno != EPERM))
            continue;
        int sub = depth < DEPTH_LIMIT
                      ? openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                      : -1;
        if (sub < 0 && errno == EACCES && fchmodat(fd, e->d_name, 0700, 0) == 0)
            sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0) {
            fchmod(sub, 0700);
            empty_dir(sub, NULL, depth + 1);
        }
        unlinkat(fd, e->d_name, AT_REMOVEDIR);
    }
    closedir(d);
}

static void empty(const char *dir, const char *keep)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        empty_dir(fd, keep, 0);
}

_Noreturn static void locked_by_other(const char *upper, int fd)
{
    char pid[32] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strcspn(pid, "\n")] = '\0';
    die(EXIT_FUSS,
        "%s: upper directory in use by another session, pid %s; wait for its end, end it, or take "
        "another upper",
        upper, pid[0] ? pid : "unknown");
}

static void write_pid(void)
{
    char pid[32];
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(lock_fd, 0) < 0 || pwrite(lock_fd, pid, (size_t)n, 0) != n)
        return; /* only a message of others would lack the number */
}

void workdir_lock(const char *upper)
{
    struct stat held, named;
    struct timespec ts[2], *times;
    snprintf(upper_dir, sizeof(upper_dir), "%s", upper);
    times = upper_times(ts);
    snprintf(lock_dir, sizeof(lock_dir), "%s/%s", strcmp(upper, "/") == 0 ? "" : upper, WORK_NAME);
    snprintf(lock_path, sizeof(lock_path), "%s/%s", lock_dir, LOCK_NAME);
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (mkdir(lock_dir, 0700) < 0 && errno != EEXIST)
            die(EXIT_FUSS,
                "%s: cannot write to the upper directory: %s; take a directory that you may write, "
                "or leave --upperdir out for a read-only union",
                upper, strerror(errno));
        lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (lock_fd < 0 && errno == ENOENT)
            continue; /* its last holder took the directory away */
        if (lock_fd < 0)
            die(EXIT_FUSS,
                "%s: cannot open the lock of the upper directory: %s; remove it, or take another "
                "upper",
                lock_path, strerror(errno));
        if (flock(lock_fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno == EWOULDBLOCK)
                locked_by_other(upper, lock_fd);
            die(EXIT_FUSS, "%s: cannot lock: %s; take an upper on a local filesystem", lock_path,
                strerror(errno));
        }
        /* The file may have been removed between open and flock. */
        if (fstat(lock_fd, &held) == 0 && lstat(lock_path, &named) == 0 &&
            dev_ino_equal(&held, &named)) {
            write_pid();
            restore_times(times);
            return;
        }
        close(lock_fd);
    }
    die(EXIT_FUSS, "%s: cannot get the lock, others take and leave it all the time; try again",
        upper);
}

const char *workdir_make(const char *parent, const char *upper)
{
    struct stat up, wk;
    snprintf(work, sizeof(work), "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, WORK_NAME);
    if (mkdir(work, 0700) < 0 && errno != EEXIST)
        die(EXIT_FUSS, "%s: cannot write to the work directory: %s; take another --workdir", parent,
            strerror(errno));
    if (stat(upper, &up) < 0 || lstat(work, &wk) < 0 || !S_ISDIR(wk.st_mode))
        die(EXIT_FUSS, "%s: not a directory; remove it", work);
    if (up.st_dev != wk.st_dev)
        die(EXIT_FUSS,
            "%s: the work directory is on another filesystem than the upper %s; take one on the "
            "same, or leave --workdir out",
            parent, upper);
    empty(lock_dir, LOCK_NAME);
    if (strcmp(work, lock_dir) != 0)
        empty(work, NULL);
    return work;
}

static bool takes_xattr(const char *name)
{
    if (lsetxattr(work, name, "y", 1, 0) < 0)
        return false;
    lremovexattr(work, name);
    return true;
}

void workdir_probe(struct session *s, const char *upper)
{
    char probe[PATH_MAX + 64];
    bool user = takes_xattr("user.overlay.fuss.probe");
    s->trusted = takes_xattr("trusted.overlay.fuss.probe");
    if (s->style != STYLE_CHARDEV)
        return;
    snprintf(probe, sizeof(probe), "%s/probe", work);
    if (mknod(probe, S_IFCHR | 0600, makedev(0, 0)) < 0) {
        int err = errno;
        workdir_remove();
        die(EXIT_FUSS,
            "%s: whiteout devices cannot be made here: %s; use --whiteout=fileprefix, or an upper "
            "on another filesystem",
            upper, strerror(err));
    }
    unlink(probe);
    if (!user && !s->trusted) {
        workdir_remove();
        die(EXIT_FUSS,
            "%s: the filesystem takes no overlay xattrs, which mark opaque directories; use "
            "--whiteout=fileprefix, or an upper on another filesystem",
            upper);
    }
}

void workdir_own_lock(void)
{
    if (lock_fd >= 0)
        write_pid();
}

void workdir_remove(void)
{
    struct timespec ts[2], *times;
    if (lock_fd < 0)
        return;
    times = upper_times(ts);
    empty(lock_dir, LOCK_NAME);
    if (strcmp(work, lock_dir) != 0 && work[0]) {
        empty(work, NULL);
        rmdir(work);
    }
    unlink(lock_path);
    rmdir(lock_dir);
    restore_times(times);
    close(lock_fd);
    lock_fd = -1;
}
