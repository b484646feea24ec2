/* caller_ops of a traced task. */
#include "tracer/creds.h"
#include "tracer/fakeids.h"
#include "tracer/remote.h"
#include "tracer/supervise.h"
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR_pidfd_getfd 438

static int caller_read(struct caller *who, void *dst, u64 addr, size_t n)
{
    return remote_read(task_of(who), dst, addr, n);
}

static int caller_write(struct caller *who, u64 addr, const void *src, size_t n)
{
    return remote_write(task_of(who), addr, src, n);
}

static long caller_read_str(struct caller *who, char *dst, u64 addr, size_t cap)
{
    return remote_read_str(task_of(who), dst, addr, cap);
}

/* The descriptor that the call under way asked for last: families ask for its stat, its path and
 * itself in turn. Kept until the call is over. */
static struct {
    struct task *t;
    int fd, own;
    bool has_stat;
    struct stat st;
} held = {.own = -1};

void caller_call_over(void)
{
    if (held.own < 0)
        return;
    close(held.own);
    held.own = -1;
}

static long get_from(int pidfd, int fd)
{
    return pidfd < 0 ? pidfd : syscall(NR_pidfd_getfd, pidfd, fd, 0);
}

static long open_cwd(struct task *t)
{
    char name[64];
    int dir = task_proc_fd(t);
    return dir < 0 ? dir : openat(dir, task_proc_name(t, "cwd", name), O_PATH | O_CLOEXEC);
}

static int caller_fd_get(struct caller *who, int fd)
{
    struct task *t = task_of(who);
    if (held.own >= 0 && held.t == t && held.fd == fd)
        return held.own;
    long got = fd == AT_FDCWD ? open_cwd(t) : get_from(task_pidfd(t), fd);
    /* A thread group whose leader has ended answers for none of its descriptors. */
    if (got < 0 && fd != AT_FDCWD && t->tid != t->proc->tgid)
        got = get_from(task_thread_pidfd(t), fd);
    if (got < 0)
        return -EBADF;
    if (held.own < 0) {
        held.t = t;
        held.fd = fd;
        held.own = (int)got;
        held.has_stat = false;
    }
    return (int)got;
}

static void caller_fd_put(struct caller *who UNUSED, int fd)
{
    if (fd != held.own)
        close(fd);
}

static long caller_fd_link(struct caller *who, int fd, char *buf, size_t cap)
{
    struct task *t = task_of(who);
    char entry[24] = "cwd", name[64];
    if (fd != AT_FDCWD) {
        if (fd < 0)
            return -EBADF;
        memcpy(entry, "fd/", 3);
        str_from_u64(entry + 3, (u64)fd);
    }
    int dir = task_proc_fd(t);
    if (dir < 0)
        return -EBADF;
    ssize_t n = readlinkat(dir, task_proc_name(t, entry, name), buf, cap - 1);
    if (n < 0)
        return errno == ENAMETOOLONG ? -ENAMETOOLONG : -EBADF;
    buf[n] = '\0';
    return n;
}

static int caller_fd_stat(struct caller *who, int fd, struct stat *st)
{
    struct task *t = task_of(who);
    if (fd == AT_FDCWD) {
        char name[64];
        int dir = task_proc_fd(t);
        if (dir < 0)
            return -EBADF;
        return fstatat(dir, task_proc_name(t, "cwd", name), st, 0) < 0 ? -errno : 0;
    }
    int own = caller_fd_get(who, fd);
    if (own < 0)
        return own;
    if (own == held.own && held.has_stat) {
        *st = held.st;
        return 0;
    }
    int err = fstat(own, st) < 0 ? -errno : 0;
    if (own == held.own && !err) {
        held.st = *st;
        held.has_stat = true;
    }
    caller_fd_put(who, own);
    return err;
}

static long caller_exe(struct caller *who, int pid, char *buf, size_t cap)
{
    const struct task *t = pid == who->tgid ? task_of(who) : task_find(pid);
    return t && t->proc ? str_copy(buf, cap, t->proc->exe) : 0;
}

static const struct cred *caller_cred(struct caller *who)
{
    struct task *t = task_of(who);
    return t->fake ? fakeids_cred(t) : creds_of(t);
}

static void caller_assume(struct caller *who)
{
    creds_assume(task_of(who));
}

static void caller_resume(struct caller *who UNUSED)
{
    creds_resume();
}

void caller_init(struct task *t)
{
    t->who.ops = (struct caller_ops){
        .read = caller_read,
        .write = caller_write,
        .read_str = caller_read_str,
        .fd_get = caller_fd_get,
        .fd_put = caller_fd_put,
        .fd_link = caller_fd_link,
        .fd_stat = caller_fd_stat,
        .exe = caller_exe,
        .cred = caller_cred,
        .assume = caller_assume,
        .resume = caller_resume,
    };
}
