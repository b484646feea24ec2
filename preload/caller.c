/* caller_ops of the process itself. Memory is touched as it is: a bad address ends in a signal at
 * which the supervisor takes the call over, and says EFAULT. */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"
#include "vfs/steady.h"
#include <linux/stat.h>
#include <sys/sysmacros.h>

#define NOBODY INT32_MIN

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

typedef u64 __attribute__((may_alias)) word;

/* A word at a time, which lies within one page, as long as it has no NUL. */
static long own_read_str(struct caller *who UNUSED, char *dst, u64 addr, size_t cap)
{
    const volatile char *src = (const volatile char *)addr;
    const u64 ones = 0x0101010101010101u;
    size_t i = 0;
    for (; i < cap && (addr + i) % sizeof(u64); i++) {
        dst[i] = src[i];
        if (!dst[i])
            return (long)i;
    }
    for (; i + sizeof(u64) <= cap; i += sizeof(u64)) {
        u64 w = *(const volatile word *)(addr + i);
        if ((w - ones) & ~w & ones << 7)
            break;
        memcpy(dst + i, &w, sizeof(w));
    }
    for (; i < cap; i++) {
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

/* The kernel's text of a file below a layer stays as it is while nothing of the union changes,
 * as far as the session goes; a change from outside is seen a moment later. Which file it is,
 * and by which mount, the kernel says each time. What programs do by themselves moves no directory,
 * but may give a file's number to another. */
static bool is_fresh(const struct shim_link *l, const struct shim_caller *own)
{
    const struct statx *x = &own->x;
    u64 dev = (u64)x->stx_dev_major << 32 | x->stx_dev_minor;
    return l->ino == x->stx_ino && l->dev == dev && l->mount == x->stx_mnt_id &&
           l->changes == own->changes && (l->renamed == own->renamed || S_ISDIR(x->stx_mode)) &&
           own->now - l->when < STEADY_TICKS;
}

static struct shim_link *keep(struct shim_caller *own, const struct statx *x, const char *text,
                              size_t len)
{
    struct shim_memory *m = own->memory;
    struct shim_link *l = &m->link[m->next++ % SHIM_LINKS];
    l->ino = 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    l->dev = (u64)x->stx_dev_major << 32 | x->stx_dev_minor;
    l->mount = x->stx_mnt_id;
    l->changes = own->changes;
    l->renamed = own->renamed;
    l->when = own->now;
    l->len = (u16)len;
    l->kind = LINK_UNKNOWN;
    memcpy(l->text, text, len + 1);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    l->ino = x->stx_ino;
    return l;
}

/* A file of several names is open by one of them, which its number does not tell. */
static bool may_keep(const struct statx *x)
{
    bool one = S_ISDIR(x->stx_mode) || (S_ISREG(x->stx_mode) && x->stx_nlink == 1);
    return one && (x->stx_mask & STATX_MNT_ID) && x->stx_ino && shim_shared.session.guard;
}

void shim_stat_of(const struct statx *x, struct stat *st)
{
    memset(st, 0, sizeof(*st));
    st->st_dev = makedev(x->stx_dev_major, x->stx_dev_minor);
    st->st_rdev = makedev(x->stx_rdev_major, x->stx_rdev_minor);
    st->st_ino = x->stx_ino;
    st->st_nlink = x->stx_nlink;
    st->st_mode = x->stx_mode;
    st->st_uid = x->stx_uid;
    st->st_gid = x->stx_gid;
    st->st_size = (off_t)x->stx_size;
    st->st_blksize = (blksize_t)x->stx_blksize;
    st->st_blocks = (blkcnt_t)x->stx_blocks;
    st->st_atim.tv_sec = x->stx_atime.tv_sec;
    st->st_atim.tv_nsec = x->stx_atime.tv_nsec;
    st->st_mtim.tv_sec = x->stx_mtime.tv_sec;
    st->st_mtim.tv_nsec = x->stx_mtime.tv_nsec;
    st->st_ctim.tv_sec = x->stx_ctime.tv_sec;
    st->st_ctim.tv_nsec = x->stx_ctime.tv_nsec;
}

static long read_link(int fd, char *buf, size_t cap)
{
    char path[48];
    size_t len = (size_t)str_copy(path, sizeof(path), "/proc/thread-self/");
    if (fd == AT_FDCWD) {
        /* A process's directory in /proc costs its first look into it dearly. */
        long n = shim_gate(SYS_getcwd, (long)buf, (long)cap, 0, 0, 0);
        if (n > 1 && buf[0] == '/')
            return n - 1;
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

bool shim_is_dir(const struct shim_caller *own)
{
    return S_ISDIR(own->x.stx_mode) && may_keep(&own->x);
}

/* Changes with every call that may change a working directory, before it does; 0: remember none. */
static u64 cwds_now(void)
{
    const struct overlay_facts *facts = shim_own.overlay.facts;
    u64 now = __atomic_load_n(&facts->cwds, __ATOMIC_ACQUIRE) +
              __atomic_load_n(&shim_own.chdirs, __ATOMIC_ACQUIRE) + 1;
    bool shared = __atomic_load_n(&facts->cwds_shared, __ATOMIC_ACQUIRE) ||
                  __atomic_load_n(&shim_own.cwds, __ATOMIC_ACQUIRE);
    return shared ? 0 : now;
}

static u64 own_tid(void)
{
    return (u64)shim_gate(SYS_gettid, 0, 0, 0, 0, 0);
}

/* Which directory the working directory is, where that is known. */
static bool know_cwd(struct shim_caller *own)
{
    const struct shim_cwd *cwd = &own->memory->cwd;
    struct statx *x = &own->x;
    if (!cwd->cwds || cwd->cwds != cwds_now() || cwd->tid != own_tid())
        return false;
    x->stx_ino = cwd->ino;
    x->stx_mnt_id = cwd->mount;
    x->stx_dev_major = cwd->dev_major;
    x->stx_dev_minor = cwd->dev_minor;
    x->stx_mask = cwd->mask;
    x->stx_mode = (u16)cwd->mode;
    return true;
}

static void keep_cwd(struct shim_caller *own, u64 cwds)
{
    struct shim_cwd *cwd = &own->memory->cwd;
    const struct statx *x = &own->x;
    cwd->cwds = 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    cwd->ino = x->stx_ino;
    cwd->mount = x->stx_mnt_id;
    cwd->dev_major = x->stx_dev_major;
    cwd->dev_minor = x->stx_dev_minor;
    cwd->mask = x->stx_mask;
    cwd->mode = x->stx_mode;
    cwd->tid = own_tid();
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    cwd->cwds = cwds;
}

/* A look at what `fd` is. */
static void look_at(struct shim_caller *own, int fd)
{
    struct statx *x = &own->x;
    u64 cwds = cwds_now();
    x->stx_mode = 0;
    own->x_fd = fd;
    own->x_part = fd == AT_FDCWD && know_cwd(own);
    if (own->x_part)
        return;
    if (sys_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, x) < 0)
        shim_unable();
    if (fd == AT_FDCWD)
        keep_cwd(own, cwds);
}

struct shim_link *shim_link_of(struct shim_caller *own, int fd)
{
    struct statx *x = &own->x;
    if (own->x_fd != fd)
        look_at(own, fd);
    for (unsigned i = 0; i < SHIM_LINKS && may_keep(x); i++) {
        if (is_fresh(&own->memory->link[i], own))
            return &own->memory->link[i];
    }
    return NULL;
}

static long own_fd_link(struct caller *who, int fd, char *buf, size_t cap)
{
    struct shim_caller *own = (struct shim_caller *)who;
    const struct shim_link *l = shim_link_of(own, fd);
    const char *rest;
    if (l && l->len < cap) {
        memcpy(buf, l->text, l->len + 1);
        return l->len;
    }
    long n = read_link(fd, buf, cap);
    if (may_keep(&own->x) && n < MEMO_TEXT &&
        session_layer_of(&shim_shared.session, buf, &rest) >= 0)
        keep(own, &own->x, buf, (size_t)n);
    return n;
}

static int own_fd_stat(struct caller *who, int fd, struct stat *st)
{
    struct shim_caller *own = (struct shim_caller *)who;
    if (own->x_fd == fd && !own->x_part) {
        shim_stat_of(&own->x, st);
        return 0;
    }
    return fd == AT_FDCWD ? sys_fstatat(AT_FDCWD, "", st, AT_EMPTY_PATH) : sys_fstat(fd, st);
}

static long exe_of(struct caller *who UNUSED, int pid UNUSED, char *buf UNUSED, size_t cap UNUSED)
{
    shim_unable();
}

static const struct cred *own_cred(struct caller *who UNUSED)
{
    return &shim_shared.cred;
}

static void nothing(struct caller *who UNUSED) {}

void shim_caller(struct shim_caller *own, struct shim_memory *memory, u64 changes)
{
    struct caller *who = &own->who;
    own->memory = memory;
    own->changes = changes;
    own->renamed = __atomic_load_n(&shim_own.overlay.notes->renamed, __ATOMIC_ACQUIRE);
    own->now = steady_now();
    own->x_fd = NOBODY;
    own->x_part = false;
    who->ops.read = own_read;
    who->ops.write = own_write;
    who->ops.read_str = own_read_str;
    who->ops.fd_get = own_fd_get;
    who->ops.fd_put = own_fd_put;
    who->ops.fd_link = own_fd_link;
    who->ops.fd_stat = own_fd_stat;
    who->ops.exe = exe_of;
    who->ops.cred = own_cred;
    who->ops.assume = who->ops.resume = nothing;
    who->tgid = who->tid = -1; /* nothing may depend on it */
    who->shares_memory = true;
    who->same_as_session = true;
}
