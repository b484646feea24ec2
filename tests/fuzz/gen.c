/* Random arguments, and the table that chooses the operation. */
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
#include <unistd.h>

void gen_at(struct at *a)
{
    a->dirfd = AT_FDCWD;
    gen_path(a->path);
    if (chance(25)) {
        int i = FILE_SLOTS + rnd(DIR_SLOTS);
        if (act.slot[i].fd >= 0) {
            a->dirfd = act.slot[i].fd;
            say(" #%d", i);
        }
    }
    leave_upwards(a->dirfd, a->path);
    say(" ");
    say_path(a->path);
}

bool look(const struct at *a, struct stat *st)
{
    return fstatat(a->dirfd, a->path, st, AT_SYMLINK_NOFOLLOW) == 0;
}

void watch_begin(struct watch *w, const struct at *a)
{
    struct stat st;
    w->on = chance(50) && look(a, &st) && (S_ISDIR(st.st_mode) || st.st_nlink == 1);
    if (w->on)
        w->id = ident_of(&st);
}

void watch_end(const struct watch *w, const struct at *a, bool emulated)
{
    struct stat st;
    if (!w->on)
        return;
    if (!look(a, &st)) {
        say(" id=gone");
        return;
    }
    struct ident id = w->id;
    for (unsigned i = 0; emulated && i < act.shared->moves; i++) {
        if (same_ident(id, act.shared->move[i].from))
            id = act.shared->move[i].to;
    }
    say(same_ident(id, ident_of(&st)) ? " id=same" : " id=CHANGED");
}

void maybe_say_after(const struct at *a)
{
    struct stat st;
    if (chance(70))
        return;
    int err = errno;
    say(" |");
    if (look(a, &st))
        say_stat(&st);
    else
        say_errno(errno);
    errno = err;
}

mode_t gen_mode(void)
{
    static const mode_t modes[] = {0644, 0600, 0755, 0700, 0777, 02755, 0444, 04755, 01777, 0};
    return modes[rnd(chance(70) ? 6 : sizeof(modes) / sizeof(*modes))];
}

/* Modes that keep most of the tree usable for an ordinary user. */
mode_t gen_dir_mode(void)
{
    static const mode_t modes[] = {0755, 0700, 0777, 02775, 01777, 0555, 0311, 0666};
    return modes[rnd(chance(80) ? 4 : sizeof(modes) / sizeof(*modes))];
}

uid_t gen_owner(void)
{
    static const uid_t owners[] = {0, 1000, 1, (uid_t)-1};
    if (act.user)
        return chance(50) ? (uid_t)-1 : getuid();
    return owners[rnd(4)];
}

gid_t gen_group(void)
{
    static const gid_t groups[] = {0, 1000, 1, (gid_t)-1};
    if (act.user)
        return chance(50) ? (gid_t)-1 : getgid();
    return groups[rnd(4)];
}

void gen_times(struct timespec t[2])
{
    for (int i = 0; i < 2; i++) {
        t[i].tv_sec = 1000 + rnd(100000000);
        t[i].tv_nsec = rnd(1000000000);
        uint32_t special = rnd(10);
        if (special == 0)
            t[i].tv_nsec = UTIME_NOW;
        else if (special == 1)
            t[i].tv_nsec = UTIME_OMIT;
    }
    say(" %ld.%ld %ld.%ld", (long)t[0].tv_sec, t[0].tv_nsec, (long)t[1].tv_sec, t[1].tv_nsec);
}

const char *gen_xattr_name(void)
{
    uint32_t i = rnd(100);
    if (i < 40)
        return "user.a";
    if (i < 75)
        return "user.b";
    if (i < 80)
        return "foo.x";
    if (i < 85)
        return "user.missing";
    return act.user ? "user.c" : "trusted.t";
}

struct slot *pick(int first, int count)
{
    int i = first + rnd(count);
    for (int n = 0; n < count && act.slot[i].fd < 0; n++)
        i = i + 1 < first + count ? i + 1 : first;
    say(" #%d", i);
    if (act.slot[i].fd < 0) {
        say(" empty");
        return NULL;
    }
    return &act.slot[i];
}

struct slot *pick_any(void)
{
    return pick(0, SLOTS);
}

static const struct {
    const char *name;
    int weight;
    void (*run)(void);
} table[] = {
    {"open", 90, op_open},
    {"opendir", 35, op_opendir},
    {"openat2", 12, op_openat2},
    {"close", 20, op_close},
    {"dup", 5, op_dup},
    {"read", 30, op_read},
    {"content", 12, op_content},
    {"write", 40, op_write},
    {"lseek", 8, op_lseek},
    {"fstat", 20, op_fstat},
    {"fchmod", 14, op_fchmod},
    {"fchown", 8, op_fchown},
    {"ftruncate", 10, op_ftruncate},
    {"fallocate", 3, op_fallocate},
    {"futimens", 10, op_futimens},
    {"fxattr", 18, op_fxattr},
    {"list", 40, op_list},
    {"fchdir", 8, op_fchdir},
    {"procfd", 20, op_procfd},
    {"child", 10, op_child},
    {"stat", 60, op_stat},
    {"access", 15, op_access},
    {"mkdir", 50, op_mkdir},
    {"rmdir", 40, op_rmdir},
    {"unlink", 50, op_unlink},
    {"rmtree", 24, op_rmtree},
    {"plant", 40, op_plant},
    {"rename", 90, op_rename},
    {"link", 30, op_link},
    {"linkfd", 8, op_linkfd},
    {"symlink", 25, op_symlink},
    {"mknod", 14, op_mknod},
    {"socket", 8, op_socket},
    {"chmod", 30, op_chmod},
    {"chown", 18, op_chown},
    {"utimens", 22, op_utimens},
    {"truncate", 14, op_truncate},
    {"xattr", 30, op_xattr},
    {"readlink", 14, op_readlink},
    {"listpath", 25, op_listpath},
    {"readfile", 25, op_readfile},
    {"chdir", 22, op_chdir},
    {"getcwd", 8, op_getcwd},
    {"umask", 4, op_umask},
};

void run_one_op(void)
{
    int total = 0;
    size_t i;
    for (i = 0; i < sizeof(table) / sizeof(*table); i++)
        total += table[i].weight;
    int at = rnd(total);
    for (i = 0; at >= table[i].weight; i++)
        at -= table[i].weight;
    say("%s", table[i].name);
    table[i].run();
}
