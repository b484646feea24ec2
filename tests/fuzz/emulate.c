/* Oracle side only: a directory rename that kernel overlayfs refuses with EXDEV, done by moving
 * the content, so that both traces go on from the same tree. Files are renamed one by one (the
 * kernel allows that and held descriptors follow); directories are made anew, and descriptors and
 * working directories that pointed to the old ones are moved over. */
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

#define EXCHANGE 2

static void copy_xattrs(const char *from, const char *to)
{
    char names[4096], value[4096];
    ssize_t n = listxattr(from, names, sizeof(names));
    for (ssize_t i = 0; i < n; i += strlen(names + i) + 1) {
        ssize_t len = getxattr(from, names + i, value, sizeof(value));
        if (len >= 0)
            setxattr(to, names + i, value, len, 0);
    }
}

static void record_move(struct ident from, const char *old, const char *to)
{
    struct stat st;
    if (act.shared->moves == MAX_MOVES || stat(to, &st) < 0) {
        act.shared->emulation_failed = true;
        return;
    }
    struct move *m = &act.shared->move[act.shared->moves++];
    m->from = from;
    m->to = ident_of(&st);
    snprintf(m->path, sizeof(m->path), "%s", to);
    snprintf(m->old, sizeof(m->old), "%s", old);
}

/* Brings this process's descriptors and cwd over to the copies made since the last call. */
void follow_moves(void)
{
    for (; act.moves_seen < act.shared->moves; act.moves_seen++) {
        const struct move *m = &act.shared->move[act.moves_seen];
        for (int i = 0; i < SLOTS; i++) {
            struct slot *s = &act.slot[i];
            if (s->fd < 0 || !same_ident(s->id, m->from))
                continue;
            int fl = fcntl(s->fd, F_GETFL);
            int fd =
                open(m->path, fl & (O_PATH | O_NOFOLLOW | O_DIRECTORY | O_NONBLOCK | O_APPEND));
            if (fd < 0) {
                act.shared->emulation_failed = true;
                continue;
            }
            dup2(fd, s->fd);
            close(fd);
            s->id = m->to;
        }
        if (same_ident(act.cwd, m->from)) {
            if (chdir(m->path) < 0)
                act.shared->emulation_failed = true;
            act.cwd = m->to;
        }
    }
}

/* A removed directory stays a child of the directory it was in; where that one was replaced by its
 * copy, the way up leads to another place than a rename would have left it: the end of the run. */
void leave_upwards(int dirfd, const char *path)
{
    char proc[64], text[PATH_SIZE];
    struct stat up;
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    if (!act.emulate || path[0] != '.' || path[1] != '.' || (path[2] && path[2] != '/'))
        return;
    snprintf(proc, sizeof(proc), dirfd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dirfd);
    ssize_t n = readlink(proc, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    if (!strstr(text, " (deleted)") || fstatat(dirfd, "..", &up, 0) < 0)
        return;
    for (unsigned i = 0; i < act.shared->moves; i++) {
        if (same_ident(ident_of(&up), act.shared->move[i].from))
            act.shared->emulation_failed = true;
    }
    int fd = openat(dirfd, "..", O_PATH | O_DIRECTORY);
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    n = readlink(proc, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    if (strstr(text, " (deleted)")) /* up-from-removed */
        act.shared->emulation_failed = true;
    if (fd >= 0)
        close(fd);
}

/* So do the names that such an object and what is below it go by. */
void left_name(const char *text)
{
    if (!act.emulate || !strstr(text, " (deleted)"))
        return;
    for (unsigned i = 0; i < act.shared->moves; i++) {
        const char *old = act.shared->move[i].old;
        size_t n = strlen(old);
        if (!strncmp(text, old, n) && text[n] == '/')
            act.shared->emulation_failed = true;
    }
}

static int move_dir(const char *from, const char *to)
{
    struct stat st;
    if (lstat(from, &st) < 0 || mkdir(to, 0700) < 0)
        return -1;
    if ((st.st_mode & 0700) != 0700 && chmod(from, st.st_mode | 0700) < 0)
        return -1;
    /* A new directory inherits what a renamed one would not. */
    removexattr(to, "system.posix_acl_access");
    removexattr(to, "system.posix_acl_default");
    copy_xattrs(from, to);
    DIR *dir = opendir(from);
    if (!dir)
        return -1;
    char **names = NULL;
    int n = 0;
    struct dirent *d;
    while ((d = readdir(dir))) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        names = realloc(names, sizeof(*names) * (n + 1));
        names[n++] = strdup(d->d_name);
    }
    closedir(dir);
    int ret = 0;
    for (int i = 0; i < n && ret == 0; i++) {
        char a[PATH_SIZE], b[PATH_SIZE];
        snprintf(a, sizeof(a), "%.2000s/%s", from, names[i]);
        snprintf(b, sizeof(b), "%.2000s/%s", to, names[i]);
        struct stat sub;
        lstat(a, &sub);
        ret = rename(a, b);
        if (ret < 0 && S_ISDIR(sub.st_mode) && errno == EACCES) {
            /* Moving a directory needs write permission on it; the real rename of the parent
             * does not. */
            chmod(a, sub.st_mode | 0700);
            ret = rename(a, b);
            if (ret == 0) {
                chmod(b, sub.st_mode & 07777);
            } else if (errno == EXDEV) {
                ret = move_dir(a, b);
                if (ret == 0)
                    chmod(b, sub.st_mode & 07777);
            }
        } else if (ret < 0 && errno == EXDEV && S_ISDIR(sub.st_mode)) {
            ret = move_dir(a, b);
        }
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    if (ret < 0)
        return -1;
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (chown(to, st.st_uid, st.st_gid) < 0 || utimensat(AT_FDCWD, to, times, 0) < 0)
        return -1;
    record_move(ident_of(&st), from, to);
    follow_moves();
    if (chmod(to, st.st_mode & 07777) < 0)
        return -1;
    return rmdir(from);
}

/* Absolute path of dirfd + path, the parent resolved, the last component as it is. */
static int absolute(int dirfd, const char *path, char *out)
{
    char copy[PATH_SIZE], parent[PATH_SIZE], proc[64];
    snprintf(copy, sizeof(copy), "%s", path);
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = 0;
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    if (slash)
        snprintf(parent, sizeof(parent), "%.*s", (int)(slash - copy + 1), copy);
    else
        strcpy(parent, ".");
    int fd = openat(dirfd, parent, O_PATH | O_DIRECTORY);
    if (fd < 0)
        return -1;
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(proc, parent, 2000);
    close(fd);
    if (n < 0)
        return -1;
    parent[n] = 0;
    snprintf(out, PATH_SIZE, "%.2000s/%.255s", parent, name);
    return 0;
}

static bool inside(const char *path)
{
    return strncmp(path, act.root, act.root_len) == 0 && path[act.root_len] == '/';
}

static int move_any(const char *from, const char *to)
{
    struct stat st;
    int ret = rename(from, to);
    if (ret < 0 && errno == EXDEV && lstat(from, &st) == 0 && S_ISDIR(st.st_mode))
        ret = move_dir(from, to);
    return ret;
}

static int exchange(const char *a, const char *b)
{
    char tmp[PATH_SIZE];
    snprintf(tmp, sizeof(tmp), "%s/.emulated", act.root);
    struct stat st;
    struct timespec times[2] = {{0, UTIME_OMIT}, {0, 0}};
    if (stat(act.root, &st) < 0)
        return -1;
    if (move_any(a, tmp) < 0 || move_any(b, a) < 0 || move_any(tmp, b) < 0)
        return -1;
    /* The root's time changes by the temporary name only if neither name lies in it. */
    times[1] = st.st_mtim;
    bool in_root = !strchr(a + act.root_len + 1, '/') || !strchr(b + act.root_len + 1, '/');
    return in_root ? 0 : utimensat(AT_FDCWD, act.root, times, 0);
}

static int rename_by_moving(const char *a, const char *b, unsigned flags)
{
    struct stat st;
    if (flags & EXCHANGE)
        return exchange(a, b);
    if (lstat(b, &st) == 0) {
        if (rmdir(b) < 0)
            return errno == ENOTEMPTY ? ENOTEMPTY : -1;
    }
    return move_dir(a, b);
}

/* After EXDEV: 1 when this is not ours to emulate, 0 when done, else the errno that a working
 * rename would give. */
int emulate_rename(int olddir, const char *old, int newdir, const char *new, unsigned flags)
{
    char a[PATH_SIZE], b[PATH_SIZE];
    struct stat sa, sb;
    if (absolute(olddir, old, a) < 0 || absolute(newdir, new, b) < 0 || !inside(a) || !inside(b))
        return 1;
    errno = 0;
    bool dir_a = lstat(a, &sa) == 0 && S_ISDIR(sa.st_mode);
    if (!dir_a && errno == EACCES) /* the way from the root is closed */
        act.shared->emulation_failed = true;
    bool dir_b = lstat(b, &sb) == 0 && S_ISDIR(sb.st_mode);
    if (!dir_a && !((flags & EXCHANGE) && dir_b))
        return 1;
    mode_t mask = umask(0);
    if (act.drop && seteuid(0) < 0)
        act.shared->emulation_failed = true;
    int ret = rename_by_moving(a, b, flags);
    if (ret < 0) {
        say(" emulation-failed:%d", errno);
        act.shared->emulation_failed = true;
        ret = 1;
    }
    if (act.drop && seteuid(getuid()) < 0)
        act.shared->emulation_failed = true;
    umask(mask);
    return ret;
}
