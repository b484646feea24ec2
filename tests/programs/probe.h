/* Shared by the probe programs: each runs inside a union (or on a plain directory), prints facts
 * that do not depend on the machine, and exits 1 with one line when something is wrong.
 * Every probe is built three times: dynamic glibc, static glibc, static musl. */
#ifndef FUSS_TESTS_PROBE_H
#define FUSS_TESTS_PROBE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Numbers that an older libc does not name; the same on every 64-bit architecture. */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1u
#endif
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2u
#endif
#ifndef RENAME_WHITEOUT
#define RENAME_WHITEOUT 4u
#endif

struct probe_how {
    uint64_t flags, mode, resolve;
};
#define PROBE_NO_XDEV       0x01
#define PROBE_NO_MAGICLINKS 0x02
#define PROBE_NO_SYMLINKS   0x04
#define PROBE_BENEATH       0x08
#define PROBE_IN_ROOT       0x10
#define PROBE_CACHED        0x20

struct probe_dirent {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

/* Prints "FAIL: ..." and exits 1. */
__attribute__((format(printf, 1, 2), noreturn)) static inline void fail(const char *fmt, ...)
{
    va_list ap;

    fflush(stdout);
    fputs("FAIL: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail("%s:%d: %s (errno %s)", __FILE__, __LINE__, #cond, probe_errno(errno));           \
    } while (0)

#define CHECK_ERR(call, want)                                                                      \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long probe_rc = (long)(call);                                                              \
        if (probe_rc != -1 || errno != (want))                                                     \
            fail("%s:%d: %s: want %s, got %ld %s", __FILE__, __LINE__, #call, probe_errno(want),   \
                 probe_rc, probe_errno(errno));                                                    \
    } while (0)

/* The name of an errno value, "0" for none; a number in a static buffer when unknown. */
static inline const char *probe_errno(int err)
{
    static char buf[16];
#define E(name)                                                                                    \
    case name:                                                                                     \
        return #name;
    switch (err) {
    case 0:
        return "0";
        /* clang-format off */
        E(EPERM) E(ENOENT) E(EINTR) E(EIO) E(ENXIO) E(E2BIG) E(ENOEXEC) E(EBADF) E(ECHILD)
        E(EAGAIN) E(ENOMEM) E(EACCES) E(EFAULT) E(EBUSY) E(EEXIST) E(EXDEV) E(ENODEV) E(ENOTDIR)
        E(EISDIR) E(EINVAL) E(ENFILE) E(EMFILE) E(ENOTTY) E(ETXTBSY) E(EFBIG) E(ENOSPC) E(ESPIPE)
        E(EROFS) E(EMLINK) E(EPIPE) E(ERANGE) E(ENAMETOOLONG) E(ENOSYS) E(ENOTEMPTY) E(ELOOP)
        E(ENODATA) E(EOPNOTSUPP) E(EADDRINUSE) E(ECONNREFUSED) E(EADDRNOTAVAIL) E(ENOTSOCK)
        E(EDESTADDRREQ) E(EPROTOTYPE) E(EISCONN) E(ENOTCONN) E(ESTALE) E(EOVERFLOW) E(ENOTBLK)
        /* clang-format on */
    }
#undef E
    snprintf(buf, sizeof(buf), "E%d", err);
    return buf;
}

#endif
