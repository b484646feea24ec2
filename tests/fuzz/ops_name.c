/* Operations on names, and on the working directory. */
#define _GNU_SOURCE
#include "ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif

#define NOREPLACE 1
#define EXCHANGE  2

/* Own copy: musl's headers lack them. */
struct statx_view {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, pad;
    uint64_t ino, size, blocks, attributes_mask;
    int64_t times[8];
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t rest[14];
};
/* ---- names ---- */

void op_stat(void)
{
    struct at a;
    struct stat st, by_fd;
    struct statx_view sx;
    gen_at(&a);
    int flags = chance(50) ? AT_SYMLINK_NOFOLLOW : 0;
    if (chance(10))
        flags |= AT_EMPTY_PATH;
    bool check = chance(50);
    say(" %x", flags);
    int ret = fstatat(a.dirfd, a.path, &st, flags);
    say_result(ret);
    if (ret == 0)
        say_stat(&st);
    if (!check || (flags & AT_EMPTY_PATH))
        return;
    int err = errno;
    long xret = syscall(SYS_statx, a.dirfd, a.path, flags, 0x7ff, &sx);
    if (xret < 0 || ret < 0) {
        say((xret < 0) == (ret < 0) && (ret == 0 || errno == err) ? " statx=ok" : " statx=ERRNO");
        return;
    }
    bool equal = sx.ino == st.st_ino && sx.mode == st.st_mode &&
                 makedev(sx.dev_major, sx.dev_minor) == st.st_dev &&
                 sx.size == (uint64_t)st.st_size && sx.nlink == st.st_nlink && sx.uid == st.st_uid;
    say(equal ? " statx=ok" : " statx=DIFFERS");
    int fd = openat(a.dirfd, a.path, O_PATH | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0));
    if (fd < 0) {
        say(" opath");
        say_errno(errno);
        return;
    }
    if (fstat(fd, &by_fd) < 0)
        say_errno(errno);
    else
        say(same_ident(ident_of(&st), ident_of(&by_fd)) && by_fd.st_mode == st.st_mode
                ? " fstat=ok"
                : " fstat=DIFFERS");
    close(fd);
}

void op_access(void)
{
    struct at a;
    gen_at(&a);
    int mode = rnd(8);
    static const int flag_sets[] = {0, AT_EACCESS, AT_SYMLINK_NOFOLLOW};
    int flags = flag_sets[rnd(3)];
    say(" %d %x", mode, flags);
    say_result(syscall(SYS_faccessat2, a.dirfd, a.path, mode, flags));
}

void op_mkdir(void)
{
    struct at a;
    gen_at(&a);
    mode_t mode = gen_dir_mode();
    say(" %04o", mode);
    say_result(mkdirat(a.dirfd, a.path, mode));
    maybe_say_after(&a);
}

void op_rmdir(void)
{
    struct at a;
    gen_at(&a);
    say_result(unlinkat(a.dirfd, a.path, AT_REMOVEDIR));
    maybe_say_after(&a);
}

void op_unlink(void)
{
    struct at a;
    gen_at(&a);
    say_result(unlinkat(a.dirfd, a.path, 0));
    maybe_say_after(&a);
}

/* A path with what it needs above it, so that the tree does not die out. */
void op_plant(void)
{
    char path[PATH_SIZE];
    int made = 0, depth = 1 + rnd(3);
    for (int i = 0; i < depth; i++) {
        char *end = path + (i ? strlen(path) : 0);
        sprintf(end, "%s%c", i ? "/" : "", 'a' + rnd(i + 1 < depth ? 3 : 6));
        if (mkdir(path, 0755) == 0)
            made++;
    }
    strcat(path, chance(50) ? "/d" : "/e");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    say(" %s made=%d", path, made);
    say_result(fd < 0 ? -1 : (long)write(fd, path, strlen(path)));
    if (fd >= 0)
        close(fd);
}

/* Empties a directory one level deep and removes it: what rm -r does, so that directories come
 * and go more often than by chance. */
void op_rmtree(void)
{
    struct at a;
    gen_plain(a.path);
    a.dirfd = AT_FDCWD;
    say(" %s", a.path);
    DIR *dir = opendir(a.path);
    if (!dir) {
        say_result(-1);
        return;
    }
    int removed = 0, kept = 0;
    struct dirent *d;
    while ((d = readdir(dir))) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        if (unlinkat(dirfd(dir), d->d_name, d->d_type == DT_DIR ? AT_REMOVEDIR : 0) == 0)
            removed++;
        else
            kept++;
    }
    closedir(dir);
    say(" removed=%d kept=%d", removed, kept);
    say_result(rmdir(a.path));
}

/* A rename that fails may have touched the directory of the old name (ext4, where a whiteout was to
 * be left): its time is set to what both sides can have. */
static void settle_parent(const struct at *a)
{
    char parent[PATH_SIZE];
    struct timespec times[2] = {{0, UTIME_OMIT}, {1000000, 0}};
    snprintf(parent, sizeof(parent), "%s", a->path);
    char *slash = strrchr(parent, '/');
    while (slash && slash > parent && !slash[1]) {
        *slash = 0;
        slash = strrchr(parent, '/');
    }
    if (!slash)
        strcpy(parent, ".");
    else
        slash[1] = 0;
    utimensat(a->dirfd, parent, times, 0);
    errno = ENOTEMPTY;
}

void op_rename(void)
{
    struct at a, b;
    gen_at(&a);
    gen_at(&b);
    uint32_t kind = rnd(100);
    unsigned flags = kind < 72   ? 0
                     : kind < 84 ? NOREPLACE
                     : kind < 95 ? EXCHANGE
                     : kind < 98 ? NOREPLACE | EXCHANGE
                                 : 0x40;
    struct watch w;
    say(" %x", flags);
    watch_begin(&w, &a);
    int ret = syscall(SYS_renameat2, a.dirfd, a.path, b.dirfd, b.path, flags);
    bool emulated = false;
    if (ret < 0 && errno == EXDEV && act.emulate) {
        int err = emulate_rename(a.dirfd, a.path, b.dirfd, b.path, flags);
        emulated = err != 1;
        ret = err == 0 ? 0 : -1;
        errno = err == 1 ? EXDEV : err;
    }
    if (ret < 0 && errno == ESTALE && act.emulate)
        act.shared->emulation_failed = true; /* rename-estale */
    say_result(ret);
    if (ret < 0 && errno == ENOTEMPTY)
        settle_parent(&a);
    if (ret == 0) {
        /* A relative source path may have moved along with the cwd: the target tells. */
        watch_end(&w, &b, emulated);
        maybe_say_after(&b);
    }
    maybe_say_after(&a);
}

void op_link(void)
{
    struct at a, b;
    gen_at(&a);
    gen_at(&b);
    int flags = chance(25) ? AT_SYMLINK_FOLLOW : 0;
    say(" %x", flags);
    say_result(linkat(a.dirfd, a.path, b.dirfd, b.path, flags));
    maybe_say_after(&a);
    maybe_say_after(&b);
}

void op_linkfd(void)
{
    struct slot *s = pick(0, FILE_SLOTS);
    struct at b;
    gen_at(&b);
    if (!s)
        return;
    spare_removed(s);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
    if (!act.user && !act.drop && chance(40)) {
        say(" empty-path");
        say_result(linkat(s->fd, "", b.dirfd, b.path, AT_EMPTY_PATH));
    } else {
        say_result(linkat(AT_FDCWD, path, b.dirfd, b.path, AT_SYMLINK_FOLLOW));
    }
    maybe_say_after(&b);
}

void op_symlink(void)
{
    char target[PATH_SIZE];
    struct at b;
    gen_target(target);
    say(" ");
    say_path(target);
    gen_at(&b);
    say_result(symlinkat(target, b.dirfd, b.path));
    maybe_say_after(&b);
}

void op_mknod(void)
{
    struct at a;
    gen_at(&a);
    static const mode_t types[] = {S_IFIFO, S_IFIFO, S_IFREG, S_IFCHR, S_IFSOCK};
    mode_t type = types[rnd(5)];
    dev_t dev = type == S_IFCHR && !act.user && chance(50) ? makedev(1, 3) : 0;
    say(" %o %lx", type | 0644, (unsigned long)dev);
    say_result(mknodat(a.dirfd, a.path, type | 0644, dev));
    maybe_say_after(&a);
}

/* Binds a socket to a name, then connects to it by that name. */
void op_socket(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX}, back = {0};
    char path[PATH_SIZE];
    socklen_t len = sizeof(back);
    gen_cwd_path(path);
    say(" ");
    say_path(path);
    if (strlen(path) >= sizeof(name.sun_path)) {
        say(" long");
        return;
    }
    strcpy(name.sun_path, path);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (chance(70))
        say_result(bind(server, (struct sockaddr *)&name, sizeof(name)));
    if (getsockname(server, (struct sockaddr *)&back, &len) == 0 && back.sun_path[0])
        say(strcmp(back.sun_path, path) == 0 ? " name=same" : " name=DIFFERS");
    listen(server, 4);
    say(" connect");
    say_result(connect(client, (struct sockaddr *)&name, sizeof(name)));
    close(server);
    close(client);
}

void op_chmod(void)
{
    struct at a;
    struct watch w;
    struct stat st;
    gen_at(&a);
    mode_t mode = gen_mode(), dir_mode = gen_dir_mode();
    if (fstatat(a.dirfd, a.path, &st, 0) == 0 && S_ISDIR(st.st_mode))
        mode = dir_mode;
    say(" %04o", mode);
    watch_begin(&w, &a);
    int ret = fchmodat(a.dirfd, a.path, mode, 0);
    say_result(ret);
    if (ret == 0)
        watch_end(&w, &a, false);
    maybe_say_after(&a);
}

void op_chown(void)
{
    struct at a;
    struct watch w;
    gen_at(&a);
    uid_t u = gen_owner();
    gid_t g = gen_group();
    int flags = chance(50) ? AT_SYMLINK_NOFOLLOW : 0;
    say(" %d:%d %x", (int)u, (int)g, flags);
    watch_begin(&w, &a);
    int ret = fchownat(a.dirfd, a.path, u, g, flags);
    say_result(ret);
    if (ret == 0)
        watch_end(&w, &a, false);
    maybe_say_after(&a);
}

void op_utimens(void)
{
    struct at a;
    struct timespec t[2];
    gen_at(&a);
    gen_times(t);
    int flags = chance(50) ? AT_SYMLINK_NOFOLLOW : 0;
    say(" %x", flags);
    say_result(utimensat(a.dirfd, a.path, t, flags));
    maybe_say_after(&a);
}

void op_truncate(void)
{
    char path[PATH_SIZE];
    gen_cwd_path(path);
    off_t len = chance(8) ? 150000 : rnd(3000);
    say(" ");
    say_path(path);
    say(" %lld", (long long)len);
    say_result(truncate(path, len));
}

void op_xattr(void)
{
    char path[PATH_SIZE], value[64];
    gen_cwd_path(path);
    const char *name = gen_xattr_name();
    uint32_t what = rnd(6);
    bool follow = chance(50);
    int n = sprintf(value, "v%lu", act.op);
    int flags = chance(70) ? 0 : 1 + rnd(2);
    struct stat st;
    /* The kernel breaks a hard link even where setting then fails. */
    if ((follow ? stat(path, &st) : lstat(path, &st)) == 0 && !S_ISDIR(st.st_mode) &&
        st.st_nlink > 1) {
        name = "user.a";
        flags = 0;
    }
    say(" ");
    say_path(path);
    if (what == 0) {
        say(" list");
        say_xattrs(path, -1, follow);
    } else if (what == 1) {
        say(" get %s", name);
        say_result(follow ? getxattr(path, name, value, sizeof(value))
                          : lgetxattr(path, name, value, sizeof(value)));
    } else if (what == 2) {
        say(" remove %s", name);
        say_result(follow ? removexattr(path, name) : lremovexattr(path, name));
    } else {
        say(" set %s %d", name, flags);
        say_result(follow ? setxattr(path, name, value, n, flags)
                          : lsetxattr(path, name, value, n, flags));
    }
}

void op_readlink(void)
{
    struct at a;
    char text[PATH_SIZE];
    gen_at(&a);
    size_t size = chance(10) ? 3 : sizeof(text) - 1;
    ssize_t n = readlinkat(a.dirfd, a.path, text, size);
    say_result(n);
    if (n > 0) {
        text[n] = 0;
        say(" ");
        say_path(text);
    }
}

void op_listpath(void)
{
    char path[PATH_SIZE];
    gen_cwd_path(path);
    say(" ");
    say_path(path);
    say_listing_libc(path);
}

void op_readfile(void)
{
    struct at a;
    gen_at(&a);
    int fd = openat(a.dirfd, a.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        say_result(fd);
        return;
    }
    struct stat st;
    if (fstat(fd, &st) < 0 || S_ISREG(st.st_mode))
        say_content(fd);
    else
        say_stat(&st);
    close(fd);
}

/* ---- cwd ---- */

/* Prints the cwd; leads back when it lies outside the root (nothing may change there). */
void settle_cwd(void)
{
    char cwd[PATH_SIZE];
    struct stat st;
    if (!getcwd(cwd, sizeof(cwd))) {
        say(" cwd");
        say_errno(errno);
    } else {
        say(" cwd=");
        say_path(cwd);
        if (strncmp(cwd, act.root, act.root_len) != 0 ||
            (cwd[act.root_len] != '/' && cwd[act.root_len] != 0)) {
            say(" back");
            if (chdir(act.root) < 0)
                say_errno(errno);
        }
    }
    if (stat(".", &st) == 0)
        act.cwd = ident_of(&st);
}

/* What an inherited descriptor and cwd show. */
void look_around(int fd)
{
    char cwd[PATH_SIZE];
    struct stat st;
    say_listing(fd, true);
    say(" cwd=");
    if (getcwd(cwd, sizeof(cwd)))
        say_path(cwd);
    else
        say_errno(errno);
    if (stat(".", &st) == 0)
        say_stat(&st);
    else
        say_errno(errno);
}

void op_chdir(void)
{
    char path[PATH_SIZE];
    if (chance(35))
        strcpy(path, act.root);
    else
        gen_cwd_path(path);
    say(" ");
    say_path(path);
    say_result(chdir(path));
    settle_cwd();
}

void op_getcwd(void)
{
    char text[PATH_SIZE];
    settle_cwd();
    ssize_t n = readlink("/proc/self/cwd", text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    left_name(text);
    say(" proc=");
    say_path(text);
}

void op_umask(void)
{
    static const mode_t masks[] = {022, 022, 077, 0, 002};
    mode_t mask = masks[rnd(5)];
    say(" %04o", mask);
    umask(mask);
}
