/* The syscall table: one row per call that names a file, or that can change what a name means.
 *
 * Everything else derives from it: the dispatch of both backends, the seccomp filter, log names,
 * the coverage check and the table in the documentation. Adding a syscall is adding a row to
 * syscalls.def. Rows hold no pointers, so the table needs no relocation in an injected image. */
#ifndef FUSS_CALL_SYSTAB_H
#define FUSS_CALL_SYSTAB_H

#include <stdbool.h>
#include <stdint.h>

/* Which function serves a row. One word per operation, not per syscall: open, openat and creat
 * are all CALL_OPEN and differ only in where the row says their arguments are. */
enum call_handler {
    CALL_OPEN,        /* open openat creat */
    CALL_OPENAT2,     /* openat2: struct open_how */
    CALL_STAT,        /* stat lstat newfstatat fstat: struct stat */
    CALL_STATX,       /* statx */
    CALL_ACCESS,      /* access faccessat faccessat2 */
    CALL_READLINK,    /* readlink readlinkat */
    CALL_GETXATTR,    /* getxattr lgetxattr fgetxattr getxattrat */
    CALL_LISTXATTR,   /* listxattr llistxattr flistxattr listxattrat */
    CALL_SETXATTR,    /* setxattr lsetxattr fsetxattr setxattrat */
    CALL_REMOVEXATTR, /* removexattr lremovexattr fremovexattr removexattrat */
    CALL_STATFS,      /* statfs fstatfs */
    CALL_CHMOD,       /* chmod fchmodat fchmodat2 fchmod */
    CALL_CHOWN,       /* chown lchown fchownat fchown */
    CALL_UTIMES,      /* utime utimes futimesat utimensat */
    CALL_TRUNCATE,    /* truncate */
    CALL_FILE_ATTR,   /* file_getattr file_setattr */
    CALL_MKDIR,       /* mkdir mkdirat */
    CALL_MKNOD,       /* mknod mknodat */
    CALL_SYMLINK,     /* symlink symlinkat */
    CALL_UNLINK,      /* unlink unlinkat rmdir */
    CALL_RENAME,      /* rename renameat renameat2 */
    CALL_LINK,        /* link linkat */
    CALL_GETDENTS,    /* getdents getdents64 */
    CALL_CHDIR,       /* chdir */
    CALL_FCHDIR,      /* fchdir */
    CALL_GETCWD,      /* getcwd */
    CALL_CHROOT,      /* chroot */
    CALL_EXEC,        /* execve execveat */
    CALL_BIND,        /* bind */
    CALL_CONNECT,     /* connect sendto: a sockaddr argument that names a peer */
    CALL_SENDMSG,     /* sendmsg sendmmsg */
    CALL_SOCKNAME,    /* getsockname getpeername accept accept4 recvfrom: a sockaddr result */
    CALL_WATCH,       /* inotify_add_watch fanotify_mark */
    CALL_MOUNT,       /* mount umount2 open_tree move_mount fspick mount_setattr pivot_root ...:
                         refused on the union, passed outside it */
    CALL_HANDLE,      /* name_to_handle_at: EOPNOTSUPP on the union */
    CALL_OPEN_HANDLE, /* open_by_handle_at: refused */
    CALL_PATH_READ,   /* any other call that only looks a path up: swapoff quotactl uselib */
    CALL_PATH_WRITE,  /* any other call that changes what a path names: acct swapon */
    CALL_IOCTL,       /* ioctl commands that change a file's metadata through an fd */
    CALL_CREDS,  /* setuid family, setgroups, capset, umask, unshare, setns: what the caller may do
                    changes */
    CALL_IDS,    /* getuid family, getgroups, capget, SO_PEERCRED: who the caller is */
    CALL_CLONE,  /* clone with CLONE_UNTRACED */
    CALL_PTRACE, /* ptrace: a tracee cannot be traced twice, EPERM */
    CALL_PRCTL,  /* prctl options that matter (PR_SET_DUMPABLE) */
    CALL_AFFINITY, /* sched_*affinity: passed, but only at a stop: the supervisor narrows masks for
                      moments in which nobody may look */
    CALL_SECCOMP,  /* seccomp with SECCOMP_FILTER_FLAG_NEW_LISTENER: EBUSY */
    CALL_ENOSYS,   /* never reaches the kernel: io_uring_setup and unknown numbers */
    CALL_HANDLERS
};

/* What the call wants of the object it names; decides copy-up and the layer-path guard. */
enum call_want {
    WANT_NONE,   /* names nothing itself */
    WANT_LOOKUP, /* reads metadata or the name only */
    WANT_READ,   /* reads content */
    WANT_WRITE,  /* changes the object: copy up first */
    WANT_CREATE, /* makes a new name */
    WANT_REMOVE, /* takes a name away */
    WANT_OPEN,   /* decided by the open flags */
};

/* Traits: single bits in sysrow.traits. */
#define SYS_FOLLOW     0x0001 /* the last component is followed, unless a flag says otherwise */
#define SYS_NOFOLLOW   0x0002 /* the last component is never followed */
#define SYS_FD_ONLY    0x0004 /* names its object by fd alone (dirfd column); no path argument */
#define SYS_NULL_PATH  0x0008 /* a NULL path means the fd itself (utimensat, futimesat) */
#define SYS_EMPTY_PATH 0x0010 /* takes AT_EMPTY_PATH in its flags argument */
#define SYS_REMOVEDIR  0x0020 /* rmdir: behaves as unlinkat(AT_REMOVEDIR) */
#define SYS_SETTLE     0x0040 /* may need a look at the result (exit stop) */
#define SYS_SUPERVISOR                                                                             \
    0x0080 /* only the supervisor serves it; the in-process side re-issues it                      \
            */
#define SYS_OLD_STRUCT    0x0100 /* older argument layout: getdents' linux_dirent, utime's utimbuf */
#define SYS_TIMEVAL       0x0200 /* times are struct timeval */
#define SYS_XATTR_ARGS    0x0400 /* value, size and flags come in struct xattr_args */
#define SYS_FLAG_NOFOLLOW 0x0800 /* flag AT_SYMLINK_NOFOLLOW (0x100) turns following off */
#define SYS_FLAG_FOLLOW   0x1000 /* flag AT_SYMLINK_FOLLOW (0x400) turns following on */
#define SYS_ARG_FILTER    0x2000 /* trapped only for the argument values listed in filter.def */

#define SYS_EMPTY_IS_FD                                                                            \
    0x4000 /* an empty path means the descriptor, no flag needed (readlinkat)                      \
            */

#define SYS_FAKED 0x8000 /* trapped only in sessions with fake ids */

#define SYS_NAME_MAX 24

struct sysrow {
    char name[SYS_NAME_MAX];
    int16_t nr; /* number on this architecture, -1 where it does not exist */
    uint8_t nargs;
    uint8_t handler; /* enum call_handler */
    uint8_t want;    /* enum call_want, for the first path */
    uint8_t want2;   /* for the second path of two-path calls */
    int8_t dirfd;    /* argument indexes, -1 = none */
    int8_t path;
    int8_t flags;
    int8_t dirfd2;
    int8_t path2;
    int8_t aux; /* mode, buffer, sockaddr...: the first argument the handler itself reads */
    uint16_t traits;
};

/* The highest syscall number this table knows; above it every call gets ENOSYS. */
extern const int systab_newest;

/* Row of a syscall number of this architecture, or NULL where the call needs nothing. */
const struct sysrow *systab_row(long nr);
/* Row by position, 0 .. systab_rows() - 1, for the filter, the checks and the documentation. */
const struct sysrow *systab_at(int index);
int systab_rows(void);
/* True where the number is assigned on this architecture and passes to the kernel untouched. */
bool systab_passes(long nr);
/* Name of any assigned number, table or not; NULL for an unassigned one. */
const char *systab_name(long nr);

#endif
