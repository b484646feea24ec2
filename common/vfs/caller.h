/* Who makes a call: the only thing in which the two backends differ.
 *
 * The supervisor reads another process's memory and takes on its credentials; the in-process shim
 * reads its own memory and already has them. Everything above is written once against this. */
#ifndef FUSS_VFS_CALLER_H
#define FUSS_VFS_CALLER_H

#include "base/base.h"

#define CRED_GROUPS_MAX 256

/* What decides the caller's rights on files (credentials(7)): filesystem ids for most calls, real
 * ids for access(2). Numbers as the initial user namespace of the session sees them. */
struct cred {
    u32 fsuid, fsgid;
    u32 ruid, rgid;
    u64 caps;      /* effective capabilities, bit per CAP_* */
    u64 permitted; /* permitted capabilities: what access(2) judges a real uid 0 by */
    u32 umask;
    bool plain; /* real, effective, saved and filesystem ids are the same */
    u32 ngroups;
    u32 group[CRED_GROUPS_MAX];
};

struct caller;

struct caller_ops {
    /* All n bytes or -EFAULT. */
    int (*read)(struct caller *who, void *dst, u64 addr, size_t n);
    int (*write)(struct caller *who, u64 addr, const void *src, size_t n);
    /* A NUL-terminated string: its length, -EFAULT, or -ENAMETOOLONG where no NUL is in cap. */
    long (*read_str)(struct caller *who, char *dst, u64 addr, size_t cap);
    /* A descriptor usable here for the caller's descriptor (the same open file description), or of
     * its working directory (AT_FDCWD; the supervisor only); -EBADF. Give it back with fd_put. */
    int (*fd_get)(struct caller *who, int fd);
    void (*fd_put)(struct caller *who, int fd);
    /* The kernel's path of the caller's descriptor, or of its cwd for AT_FDCWD, NUL-terminated:
     * length, -EBADF, or -ENAMETOOLONG (call/deep.c). "pipe:[1]" and the like are not paths; a
     * removed object's ends in " (deleted)". */
    long (*fd_link)(struct caller *who, int fd, char *buf, size_t cap);
    /* fstat of the caller's descriptor or of its cwd (AT_FDCWD). Cheaper than fd_get + fstat. */
    int (*fd_stat)(struct caller *who, int fd, struct stat *st);
    /* Virtual path of the program that process `pid` runs, NUL-terminated: its length, or 0 where
     * the kernel's own /proc/PID/exe can be trusted. */
    long (*exe)(struct caller *who, int pid, char *buf, size_t cap);
    const struct cred *(*cred)(struct caller *who);
    /* Between assume and resume the current thread acts on files with the caller's filesystem
     * ids, groups, capabilities and umask; outside it acts as the session (the broker). Not
     * nested. */
    void (*assume)(struct caller *who);
    void (*resume)(struct caller *who);
};

/* Where the caller makes changes of names itself (overlay/alone.c), the one that a call comes to:
 * what is done to which name of which directory of the upper. */
enum plan_kind {
    PLAN_NONE,
    PLAN_MKDIR,
    PLAN_SYMLINK,
    PLAN_UNLINK,
    PLAN_WHITEOUT, /* for what is a lower's */
    PLAN_COVER,    /* a whiteout in the place of what the upper has */
    PLAN_OPEN,     /* a new file in the place of a whiteout */
    PLAN_RENAME,
};
struct plan {
    u32 kind;           /* enum plan_kind */
    u32 mode;           /* of a directory */
    const char *target; /* of a symlink */
    char mark[1024];    /* what the whiteout shall be a link to, seen from the directory */
    char temp[1024];    /* a name in work that nobody else uses, seen from there */
    struct plan_name {
        u64 hash; /* of the name in the index */
        char dir[PATH_MAX], name[NAME_MAX + 1];
    } at[2]; /* the second is where it is moved to */
};

struct caller {
    struct caller_ops ops;
    struct plan *plan; /* NULL: it makes none */
    int tgid, tid;
    bool shares_files;    /* another one can change its descriptors or its working directory */
    bool shares_memory;   /* another thread or process can write to the caller's memory */
    bool same_as_session; /* its credentials are the session's: the kernel may judge permission */
};

/* True where the caller's capability `cap` (CAP_*) is effective. */
static inline bool caller_capable(struct caller *who, unsigned cap)
{
    return (who->ops.cred(who)->caps >> cap) & 1;
}

#endif
