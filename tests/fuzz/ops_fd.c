/* Operations on descriptors: open, data, metadata, listings, /proc/self/fd. Each draws its
 * arguments, prints them, acts, prints the result. */
#define _GNU_SOURCE
#include "ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

struct how {
    uint64_t flags, mode, resolve;
};

/* ---- descriptors ---- */

static struct slot *pick_file(void)
{
    return chance(90) ? pick(0, FILE_SLOTS) : pick_any();
}

static void keep(int fd, int slot)
{
    struct stat st;
    struct slot *s = &act.slot[slot];
    if (fd < 0)
        return;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = fd;
    if (fstat(fd, &st) < 0) {
        say_errno(errno);
        s->id = (struct ident){0, 0};
        return;
    }
    s->id = ident_of(&st);
    say_stat(&st);
}

static void say_flags(int flags)
{
    static const struct {
        int bit;
        const char *name;
    } names[] = {{O_CREAT, "CREAT"},    {O_EXCL, "EXCL"},         {O_TRUNC, "TRUNC"},
                 {O_APPEND, "APPEND"},  {O_NOFOLLOW, "NOFOLLOW"}, {O_PATH, "PATH"},
                 {O_NOATIME, "NOATIME"}};
    say(" %s", (flags & O_ACCMODE) == O_RDONLY   ? "RD"
               : (flags & O_ACCMODE) == O_WRONLY ? "WR"
                                                 : "RDWR");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if ((flags & names[i].bit) == names[i].bit)
            say("|%s", names[i].name);
    }
    if ((flags & O_TMPFILE) == O_TMPFILE)
        say("|TMPFILE");
    else if (flags & O_DIRECTORY)
        say("|DIRECTORY");
}

static int gen_flags(void)
{
    /* Never block on a fifo. */
    int flags = rnd(3) | O_NONBLOCK;
    if (chance(40))
        flags |= O_CREAT;
    if (chance(12))
        flags |= O_EXCL;
    if (chance(18))
        flags |= O_TRUNC;
    if (chance(15))
        flags |= O_APPEND;
    if (chance(12))
        flags |= O_NOFOLLOW;
    if (chance(6))
        flags |= O_DIRECTORY;
    if (chance(6))
        flags |= O_PATH;
    if (chance(4))
        flags = (flags & ~O_CREAT) | O_TMPFILE;
    return flags;
}

void op_open(void)
{
    struct at a;
    struct watch w;
    gen_at(&a);
    int flags = gen_flags();
    mode_t mode = gen_mode();
    int slot = rnd(FILE_SLOTS);
    say_flags(flags);
    say(" %04o #%d", mode, slot);
    watch_begin(&w, &a);
    int fd = openat(a.dirfd, a.path, flags, mode);
    say_result(fd);
    keep(fd, slot);
    if (fd >= 0 && !(flags & O_NOFOLLOW))
        watch_end(&w, &a, false);
    maybe_say_after(&a);
}

void op_opendir(void)
{
    struct at a;
    gen_at(&a);
    int slot = FILE_SLOTS + rnd(DIR_SLOTS);
    int flags = O_RDONLY | (chance(70) ? O_DIRECTORY : O_NONBLOCK) | (chance(15) ? O_PATH : 0);
    say_flags(flags);
    say(" #%d", slot);
    int fd = openat(a.dirfd, a.path, flags);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))) {
        close(fd);
        say(" = not a directory");
        return;
    }
    say_result(fd);
    keep(fd, slot);
}

void op_openat2(void)
{
    struct at a;
    struct how how = {0};
    gen_at(&a);
    static const uint64_t resolve[] = {0, 1, 2, 4, 8, 16, 8 | 4, 3};
    how.resolve = resolve[rnd(8)];
    how.flags = rnd(3) | O_NONBLOCK;
    if (chance(30)) {
        how.flags |= O_CREAT;
        how.mode = 0640;
    }
    int slot = rnd(FILE_SLOTS);
    say_flags(how.flags);
    say(" resolve=%llx #%d", (unsigned long long)how.resolve, slot);
    int fd = syscall(SYS_openat2, a.dirfd, a.path, &how, sizeof(how));
    say_result(fd);
    keep(fd, slot);
}

void op_close(void)
{
    struct slot *s = pick_any();
    if (!s)
        return;
    say_result(close(s->fd));
    s->fd = -1;
}

void op_dup(void)
{
    int to = rnd(FILE_SLOTS);
    struct slot *s = pick(0, FILE_SLOTS);
    say(" to #%d", to);
    if (!s)
        return;
    int fd = dup(s->fd);
    say_result(fd);
    keep(fd, to);
}

void op_read(void)
{
    char buf[8192];
    struct slot *s = pick_file();
    size_t len = rnd(sizeof(buf));
    if (!s)
        return;
    bool at = chance(40);
    off_t pos = rnd(3000);
    struct stat st;
    /* Where the end of a directory lies is the filesystem's own business. */
    if (fstat(s->fd, &st) == 0 && S_ISDIR(st.st_mode))
        lseek(s->fd, 0, SEEK_SET);
    ssize_t n = at ? pread(s->fd, buf, len, pos) : read(s->fd, buf, len);
    say(" %s %zu", at ? "pread" : "read", len);
    say_result(n);
    if (n > 0)
        say(" %016llx", (unsigned long long)hash_bytes(0xcbf29ce484222325ULL, buf, n));
}

void op_content(void)
{
    struct slot *s = pick_file();
    if (s)
        say_content(s->fd);
}

void op_write(void)
{
    static char buf[70000];
    struct slot *s = pick_file();
    size_t len = chance(4) ? sizeof(buf) : rnd(2000);
    char fill = 'A' + rnd(26);
    bool at = chance(30);
    off_t pos = chance(5) ? 200000 : rnd(5000);
    if (!s)
        return;
    for (size_t i = 0; i < len; i++)
        buf[i] = fill + i % 7;
    ssize_t n = at ? pwrite(s->fd, buf, len, pos) : write(s->fd, buf, len);
    say(" %s %zu", at ? "pwrite" : "write", len);
    say_result(n);
}

void op_lseek(void)
{
    struct slot *s = pick(0, FILE_SLOTS);
    int whence = rnd(3);
    off_t off = rnd(2000);
    if (!s)
        return;
    struct stat st;
    if (fstat(s->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        say(" directory");
        return;
    }
    say(" %lld %d", (long long)off, whence);
    say_result(lseek(s->fd, off, whence));
}

void op_fstat(void)
{
    struct slot *s = pick_any();
    struct stat st;
    if (!s)
        return;
    int ret = fstat(s->fd, &st);
    say_result(ret);
    if (ret < 0)
        return;
    say_stat(&st);
    bool one_name = S_ISDIR(st.st_mode) || st.st_nlink <= 1;
    if (one_name)
        say(same_ident(s->id, ident_of(&st)) ? " id=same" : " id=CHANGED");
    for (int i = 0; i < SLOTS && one_name; i++) {
        struct stat other;
        if (&act.slot[i] != s && act.slot[i].fd >= 0 && fstat(act.slot[i].fd, &other) == 0 &&
            same_ident(ident_of(&st), ident_of(&other)))
            say(" same-as-#%d", i);
    }
    int fl = fcntl(s->fd, F_GETFL);
    say(" fl=%o", fl & ~0100000);
}

/* What was removed is changed by its descriptor in kernel overlayfs by way of its name: a lower
 * fifo comes back to it, and a directory that has it by now is spoilt by the copy-up that fails.
 * The run ends before such a change. */
void spare_removed(const struct slot *s)
{
    char path[64], text[PATH_SIZE];
    struct stat st;
    if (!act.emulate || fstat(s->fd, &st) < 0 || !(S_ISFIFO(st.st_mode) || S_ISDIR(st.st_mode)))
        return;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
    ssize_t n = readlink(path, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    char *deleted = strstr(text, " (deleted)");
    if (!deleted)
        return;
    *deleted = 0;
    if (S_ISFIFO(st.st_mode) || lstat(text, &st) == 0)
        act.shared->emulation_failed = true;
}

void op_fchmod(void)
{
    struct slot *s = pick_any();
    mode_t mode = gen_mode(), dir_mode = gen_dir_mode();
    struct stat st;
    if (!s)
        return;
    spare_removed(s);
    if (fstat(s->fd, &st) == 0 && S_ISDIR(st.st_mode))
        mode = dir_mode;
    say(" %04o", mode);
    say_result(fchmod(s->fd, mode));
}

void op_fchown(void)
{
    struct slot *s = pick_any();
    uid_t u = gen_owner();
    gid_t g = gen_group();
    if (!s)
        return;
    spare_removed(s);
    say(" %d:%d", (int)u, (int)g);
    say_result(fchown(s->fd, u, g));
}

void op_ftruncate(void)
{
    struct slot *s = pick_file();
    off_t len = chance(8) ? 150000 : rnd(3000);
    if (!s)
        return;
    say(" %lld", (long long)len);
    say_result(ftruncate(s->fd, len));
}

void op_fallocate(void)
{
    struct slot *s = pick_file();
    off_t off = rnd(3000);
    if (!s)
        return;
    say(" %lld+1000", (long long)off);
    say_result(fallocate(s->fd, 0, off, 1000));
}

void op_futimens(void)
{
    struct timespec t[2];
    struct slot *s = pick_any();
    gen_times(t);
    if (!s)
        return;
    spare_removed(s);
    int ret = futimens(s->fd, t);
    struct stat st;
    say_result(ret);
    if (ret == 0 && t[0].tv_nsec < 1000000000 && fstat(s->fd, &st) == 0)
        say(st.st_atim.tv_sec == t[0].tv_sec ? " atime=set" : " atime=LOST");
}

void op_fxattr(void)
{
    struct slot *s = pick_any();
    const char *name = gen_xattr_name();
    char value[64];
    uint32_t what = rnd(5);
    int n = sprintf(value, "v%lu", act.op);
    int flags = chance(70) ? 0 : 1 + rnd(2);
    if (!s)
        return;
    struct stat st;
    if (fstat(s->fd, &st) == 0 && !S_ISDIR(st.st_mode) && st.st_nlink > 1) {
        name = "user.a";
        flags = 0;
    }
    if (what >= 2)
        spare_removed(s);
    if (what == 0) {
        say(" list");
        say_xattrs(NULL, s->fd, false);
    } else if (what == 1) {
        ssize_t len = fgetxattr(s->fd, name, value, sizeof(value));
        say(" get %s", name);
        say_result(len);
    } else if (what == 2) {
        say(" remove %s", name);
        say_result(fremovexattr(s->fd, name));
    } else {
        say(" set %s %d", name, flags);
        say_result(fsetxattr(s->fd, name, value, n, flags));
    }
}

void op_list(void)
{
    struct slot *s = chance(85) ? pick(FILE_SLOTS, DIR_SLOTS) : pick_any();
    bool check = chance(50);
    if (!s)
        return;
    struct stat st;
    if (fstat(s->fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
        char buf[512];
        say(" file");
        say_result(syscall(SYS_getdents64, s->fd, buf, sizeof(buf)));
        return;
    }
    say_listing(s->fd, check);
}

void op_fchdir(void)
{
    struct slot *s = chance(85) ? pick(FILE_SLOTS, DIR_SLOTS) : pick_any();
    if (!s)
        return;
    say_result(fchdir(s->fd));
    settle_cwd();
}

/* ---- in another process ---- */

/* A child sees the same directory and cwd, after fork alone and after exec too. */
void op_child(void)
{
    struct slot *s = pick(FILE_SLOTS, DIR_SLOTS);
    bool exec = chance(50);
    char num[16];
    if (!s)
        return;
    snprintf(num, sizeof(num), "%d", s->fd);
    say(exec ? " exec" : " fork");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (exec) {
            execl(act.self, act.self, "--look", num, act.root, (char *)NULL);
            _exit(9);
        }
        look_around(s->fd);
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status)
        say(" status=%x", status);
}

/* ---- /proc/self/fd as a path ---- */

void op_procfd(void)
{
    struct slot *s = pick_any();
    uint32_t what = rnd(7);
    int slot = rnd(FILE_SLOTS);
    mode_t mode = gen_mode();
    int acc = rnd(3);
    if (!s)
        return;
    char path[64], text[PATH_SIZE];
    struct stat st;
    snprintf(path, sizeof(path), chance(50) ? "/proc/self/fd/%d" : "/dev/fd/%d", s->fd);
    if (fstat(s->fd, &st) < 0) {
        say_errno(errno);
        return;
    }
    if (what == 1 || what == 4)
        spare_removed(s);
    switch (what) {
    case 0: {
        ssize_t n = readlink(path, text, sizeof(text) - 1);
        say(" readlink =");
        if (n < 0) {
            say_errno(errno);
            break;
        }
        text[n] = 0;
        /* The name of an O_TMPFILE is the filesystem's own. */
        if (strstr(text, "/#"))
            strcpy(text, "tmpfile");
        left_name(text);
        say(" ");
        say_path(text);
        break;
    }
    case 1:
        say(" chmod %04o", S_ISDIR(st.st_mode) ? 0755 : mode);
        say_result(chmod(path, S_ISDIR(st.st_mode) ? 0755 : mode));
        break;
    case 2:
        say(" truncate");
        say_result(truncate(path, 77));
        break;
    case 3: {
        struct stat other;
        say(" stat");
        int ret = stat(path, &other);
        say_result(ret);
        if (ret == 0)
            say(same_ident(ident_of(&st), ident_of(&other)) ? " same" : " DIFFERENT");
        break;
    }
    case 4:
        say(" setxattr");
        say_result(setxattr(path, "user.p", "p", 1, 0));
        break;
    default: {
        say(" open %d #%d", acc, slot);
        int fd = open(path, acc | O_NONBLOCK);
        say_result(fd);
        keep(fd, slot);
    }
    }
}
