/* System calls as common/ makes them: one wrapper per call, negative errno, never libc.
 *
 * Every wrapper goes through sys_call(), the seam where unit tests let the Nth call fail. */
#ifndef FUSS_BASE_SYS_H
#define FUSS_BASE_SYS_H

#include "base/base.h"
#include "base/sys_raw.h"
#include <sys/syscall.h>
#include <linux/openat2.h>

struct statfs;
struct statx;

#ifdef FUSS_SYS_HOOK
/* Unit tests define it: returns true with *result set where the call is to fail or be answered. */
bool sys_hook(long nr, long *result);
#endif

#ifdef FUSS_SHIM
/* In a program: what may be called there, past the filter (preload/shim.c). */
__attribute__((visibility("hidden"))) long shim_sys(long nr, long a, long b, long c, long d, long e,
                                                    long f);
#endif

static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
#ifdef FUSS_SHIM
    return shim_sys(nr, a, b, c, d, e, f);
#endif
#ifdef FUSS_SYS_HOOK
    long hooked;
    if (sys_hook(nr, &hooked))
        return hooked;
#endif
    return sys_raw(nr, a, b, c, d, e, f);
}

#define SYS5(nr, a, b, c, d, e)                                                                    \
    sys_call((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(nr, a, b, c, d, e, f)                                                                 \
    sys_call((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS4(nr, a, b, c, d) SYS5(nr, a, b, c, d, 0)
#define SYS3(nr, a, b, c)    SYS5(nr, a, b, c, 0, 0)
#define SYS2(nr, a, b)       SYS5(nr, a, b, 0, 0, 0)
#define SYS1(nr, a)          SYS5(nr, a, 0, 0, 0, 0)

/* Calls newer than the C library's headers on Debian 12; the numbers are the same on both
 * architectures. */
#define NR_fchmodat2 452

static inline int sys_openat(int dirfd, const char *path, int flags, unsigned mode)
{
    return (int)SYS4(SYS_openat, dirfd, path, flags, mode);
}

/* Opens `path` below `dirfd` without following a single symlink or magic link and without leaving
 * `dirfd`: the anchor of all layer work (openat2(2)). */
static inline int sys_open_beneath(int dirfd, const char *path, u64 flags, u64 mode)
{
    struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)SYS4(SYS_openat2, dirfd, path, &how, sizeof(how));
}

static inline int sys_close(int fd)
{
    return (int)SYS1(SYS_close, fd);
}

static inline long sys_read(int fd, void *buf, size_t n)
{
    return SYS3(SYS_read, fd, buf, n);
}

static inline long sys_pread(int fd, void *buf, size_t n, s64 off)
{
    return SYS4(SYS_pread64, fd, buf, n, off);
}

static inline long sys_pwrite(int fd, const void *buf, size_t n, s64 off)
{
    return SYS4(SYS_pwrite64, fd, buf, n, off);
}

static inline s64 sys_lseek(int fd, s64 off, int whence)
{
    return SYS3(SYS_lseek, fd, off, whence);
}

static inline long sys_ioctl(int fd, unsigned long cmd, unsigned long arg)
{
    return SYS3(SYS_ioctl, fd, cmd, arg);
}

static inline int sys_fstat(int fd, struct stat *st)
{
    return (int)SYS2(SYS_fstat, fd, st);
}

static inline int sys_fstatat(int dirfd, const char *path, struct stat *st, int flags)
{
    return (int)SYS4(SYS_newfstatat, dirfd, path, st, flags);
}

static inline int sys_statx(int dirfd, const char *path, int flags, unsigned mask,
                            struct statx *stx)
{
    return (int)SYS5(SYS_statx, dirfd, path, flags, mask, stx);
}

static inline int sys_fstatfs(int fd, struct statfs *st)
{
    return (int)SYS2(SYS_fstatfs, fd, st);
}

/* Length of the link's text, which is not NUL-terminated, or -errno. */
static inline long sys_readlinkat(int dirfd, const char *path, char *buf, size_t cap)
{
    return SYS4(SYS_readlinkat, dirfd, path, buf, cap);
}

static inline int sys_faccessat2(int dirfd, const char *path, int mode, int flags)
{
    return (int)SYS4(SYS_faccessat2, dirfd, path, mode, flags);
}

/* What getdents64(2) gives. */
struct sys_dirent {
    u64 ino;
    s64 off;
    u16 reclen;
    u8 type;
    char name[];
};
static inline long sys_getdents64(int fd, void *buf, size_t n)
{
    return SYS3(SYS_getdents64, fd, buf, n);
}

static inline int sys_mkdirat(int dirfd, const char *path, unsigned mode)
{
    return (int)SYS3(SYS_mkdirat, dirfd, path, mode);
}

static inline int sys_mknodat(int dirfd, const char *path, unsigned mode, u64 dev)
{
    return (int)SYS4(SYS_mknodat, dirfd, path, mode, dev);
}

static inline int sys_symlinkat(const char *target, int dirfd, const char *path)
{
    return (int)SYS3(SYS_symlinkat, target, dirfd, path);
}

static inline int sys_linkat(int olddirfd, const char *old, int newdirfd, const char *new,
                             int flags)
{
    return (int)SYS5(SYS_linkat, olddirfd, old, newdirfd, new, flags);
}

static inline int sys_unlinkat(int dirfd, const char *path, int flags)
{
    return (int)SYS3(SYS_unlinkat, dirfd, path, flags);
}

static inline int sys_renameat2(int olddirfd, const char *old, int newdirfd, const char *new,
                                unsigned flags)
{
    return (int)SYS5(SYS_renameat2, olddirfd, old, newdirfd, new, flags);
}

static inline int sys_fchmod(int fd, unsigned mode)
{
    return (int)SYS2(SYS_fchmod, fd, mode);
}

static inline int sys_fchmodat(int dirfd, const char *path, unsigned mode)
{
    return (int)SYS3(SYS_fchmodat, dirfd, path, mode);
}

static inline int sys_fchownat(int dirfd, const char *path, u32 uid, u32 gid, int flags)
{
    return (int)SYS5(SYS_fchownat, dirfd, path, uid, gid, flags);
}

static inline int sys_utimensat(int dirfd, const char *path, const struct timespec *ts, int flags)
{
    return (int)SYS4(SYS_utimensat, dirfd, path, ts, flags);
}

static inline int sys_ftruncate(int fd, s64 len)
{
    return (int)SYS2(SYS_ftruncate, fd, len);
}

static inline int sys_truncate(const char *path, s64 len)
{
    return (int)SYS2(SYS_truncate, path, len);
}

static inline long sys_copy_file_range(int in, s64 *in_off, int out, s64 *out_off, size_t n)
{
    return SYS6(SYS_copy_file_range, in, in_off, out, out_off, n, 0);
}

static inline long sys_getxattr(const char *path, const char *name, void *value, size_t n)
{
    return SYS4(SYS_getxattr, path, name, value, n);
}

static inline long sys_lgetxattr(const char *path, const char *name, void *value, size_t n)
{
    return SYS4(SYS_lgetxattr, path, name, value, n);
}

static inline long sys_fgetxattr(int fd, const char *name, void *value, size_t n)
{
    return SYS4(SYS_fgetxattr, fd, name, value, n);
}

static inline long sys_listxattr(const char *path, char *list, size_t n)
{
    return SYS3(SYS_listxattr, path, list, n);
}

static inline int sys_setxattr(const char *path, const char *name, const void *value, size_t n,
                               int flags)
{
    return (int)SYS5(SYS_setxattr, path, name, value, n, flags);
}

static inline int sys_removexattr(const char *path, const char *name)
{
    return (int)SYS2(SYS_removexattr, path, name);
}

/* Anonymous private memory, zeroed; NULL when there is none. Released with sys_munmap. */
static inline void *sys_map(size_t n)
{
    long r =
        SYS6(SYS_mmap, 0, n, 3 /* PROT_READ|PROT_WRITE */, 0x22 /* MAP_PRIVATE|MAP_ANON */, -1, 0);
    return r < 0 && r > -4096 ? NULL : (void *)r;
}

static inline void sys_unmap(void *p, size_t n)
{
    SYS2(SYS_munmap, p, n);
}

/* "/proc/self/fd/N" for a descriptor of this process: the way to name an O_PATH descriptor's
 * object in calls that take only paths. `buf` needs SYS_FD_PATH bytes. */
#define SYS_FD_PATH 32
const char *sys_fd_path(char *buf, int fd);

#endif
