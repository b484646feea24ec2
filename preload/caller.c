/* caller_ops of the process itself. Memory is touched as it is: a bad address ends in a signal at
 * which the supervisor takes the call over, and says EFAULT. */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"

static int own_read(struct caller *who UNUSED, void *dst, u64 addr, size_t n)
{
    memcpy(dst, (const void *)addr, n);
    return 0;
}

static int own_write(struct caller *who UNUSED, u64 addr, const void *src, size_t n)
{
    memcpy((void *)addr, src, n);
    return 0;
}

static long own_read_str(struct caller *who UNUSED, char *dst, u64 addr, size_t cap)
{
    const volatile char *src = (const volatile char *)addr;
    for (size_t i = 0; i < cap; i++) {
        dst[i] = src[i];
        if (!dst[i])
            return (long)i;
    }
    return -ENAMETOOLONG;
}

static int own_fd_get(struct caller *who UNUSED, int fd)
{
    return fd < 0 ? -EBADF : fd;
}

static void own_fd_put(struct caller *who UNUSED, int fd UNUSED) {}

static long own_fd_link(struct caller *who UNUSED, int fd, char *buf, size_t cap)
{
    char path[48];
    size_t len = (size_t)str_copy(path, sizeof(path), "/proc/thread-self/");
    if (fd == AT_FDCWD) {
        str_copy(path + len, sizeof(path) - len, "cwd");
    } else if (fd < 0) {
        return -EBADF;
    } else {
        len += (size_t)str_copy(path + len, sizeof(path) - len, "fd/");
        str_from_u64(path + len, (u64)fd);
    }
    long n = sys_readlinkat(AT_FDCWD, path, buf, cap - 1);
    if (n < 0)
        shim_unable(); /* no /proc, or no such descriptor: not for us to tell apart */
    buf[n] = '\0';
    return n;
}

static int own_fd_stat(struct caller *who UNUSED, int fd, struct stat *st)
{
    return fd == AT_FDCWD ? sys_fstatat(AT_FDCWD, "", st, AT_EMPTY_PATH) : sys_fstat(fd, st);
}

static long own_exe(struct caller *who UNUSED, char *buf UNUSED, size_t cap UNUSED)
{
    shim_unable();
}

static const struct cred *own_cred(struct caller *who UNUSED)
{
    return &shim_shared.cred;
}

static void nothing(struct caller *who UNUSED) {}

void shim_caller(struct caller *who)
{
    who->ops.read = own_read;
    who->ops.write = own_write;
    who->ops.read_str = own_read_str;
    who->ops.fd_get = own_fd_get;
    who->ops.fd_put = own_fd_put;
    who->ops.fd_link = own_fd_link;
    who->ops.fd_stat = own_fd_stat;
    who->ops.exe = own_exe;
    who->ops.cred = own_cred;
    who->ops.assume = who->ops.resume = nothing;
    who->tgid = who->tid = -1; /* nothing may depend on it */
    who->shares_memory = true;
    who->same_as_session = true;
}
