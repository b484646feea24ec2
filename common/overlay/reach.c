/* Real objects behind vnodes, and who may touch them. */
#include "overlay/change.h"
#include "base/sys.h"
#include "vfs/access.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define OVERLAYFS_MAGIC 0x794c7630

int overlay_name(const struct overlay *o, unsigned layer, const char *rel, char *text)
{
    size_t len = 0;
    if (o->by_path) {
        int r = path_push(text, PATH_MAX, &len, session_layer_path(o->s, layer),
                          o->s->layer[layer].path_len);
        return r || !*rel ? r : path_push(text, PATH_MAX, &len, rel, str_len(rel));
    }
    sys_fd_path(text, o->layer_fd[layer]);
    len = str_len(text);
    return path_push(text, PATH_MAX, &len, *rel ? rel : ".", *rel ? str_len(rel) : 1);
}

int overlay_at(const struct overlay *o, unsigned layer, const char *rel, char *text,
               const char **path)
{
    *path = rel;
    if (!o->by_path)
        return o->layer_fd[layer];
    *path = text;
    int r = overlay_name(o, layer, rel, text);
    if (r && o->unable)
        o->unable(); /* what has so long a path is reached by descriptors only */
    return r ? r : AT_FDCWD;
}

/* What opens the layer's object for whoever holds no descriptor of the root: the root's own path is
 * canonical, so that a symlink in it or behind it has been put there since. */
static int open_by_path(struct overlay *o, unsigned layer, const char *rel, u64 flags)
{
    char text[PATH_MAX];
    const char *path;
    struct open_how how = {
        .flags = flags | O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int dir = overlay_at(o, layer, rel, text, &path);
    if (dir == -ENAMETOOLONG)
        return dir;
    return (int)SYS4(SYS_openat2, dir, path, &how, sizeof(how));
}

/* One step down in the upper, through a directory that an ordinary user may have closed to himself:
 * open for the step only. */
static int step_in(struct overlay *o, int dir, const char *name, u64 flags)
{
    struct held_dir held;
    int fd = sys_open_beneath(dir, name, O_PATH | O_NOFOLLOW | flags, 0);
    if (fd != -EACCES)
        return fd;
    int r = hold_dir(o, dir, false, &held);
    if (r < 0)
        return r;
    fd = sys_open_beneath(dir, name, O_PATH | O_NOFOLLOW | flags, 0);
    release_dir(&held);
    return fd;
}

static NOINLINE int open_stepwise(struct overlay *o, const char *rel, u64 flags)
{
    char name[NAME_MAX + 1];
    const char *at;
    size_t n;
    /* "." would ask for the right to search the root. */
    int fd = (int)SYS3(SYS_fcntl, o->layer_fd[0], F_DUPFD_CLOEXEC, 0);
    while (fd >= 0 && (n = path_next(&rel, &at)) > 0) {
        while (*rel == '/')
            rel++;
        int next = str_copy_n(name, sizeof(name), at, n) < 0
                       ? -ENAMETOOLONG
                       : step_in(o, fd, name, *rel ? O_DIRECTORY : flags);
        sys_close(fd);
        fd = next;
    }
    return fd;
}

int overlay_open_in(struct overlay *o, unsigned layer, const char *rel, u64 flags)
{
    bool own_upper = layer == 0 && o->s->uid != 0;
    if (o->by_path) {
        int r = open_by_path(o, layer, rel, flags);
        if (r == -EACCES && own_upper)
            o->unable();
        return r;
    }
    int fd = sys_open_beneath(o->layer_fd[layer], *rel ? rel : ".", O_PATH | O_NOFOLLOW | flags, 0);
    return fd == -EACCES && own_upper ? open_stepwise(o, rel, flags) : fd;
}

int overlay_stat_in(struct overlay *o, unsigned layer, const char *rel, struct stat *st)
{
    char text[PATH_MAX];
    const char *path;
    int dir = overlay_at(o, layer, rel, text, &path);
    int r = dir == -ENAMETOOLONG ? dir : sys_fstatat(dir, path, st, AT_SYMLINK_NOFOLLOW);
    if (r != -EACCES || layer != 0 || o->s->uid == 0)
        return r;
    int fd = overlay_open_in(o, layer, rel, 0);
    if (fd < 0)
        return fd;
    r = sys_fstat(fd, st);
    sys_close(fd);
    return r;
}

int overlay_grab(struct vfs *fs, const struct vnode *node)
{
    if (!vnode_exists(node))
        return -ENOENT;
    return overlay_open_in(overlay_of(fs), node->top, node->path, 0);
}

long overlay_locate(struct vfs *fs, const struct vnode *node, char *buf, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    size_t len = 0;
    if (!vnode_exists(node))
        return -ENOENT;
    int r = path_push(buf, cap, &len, session_layer_path(o->s, node->top),
                      o->s->layer[node->top].path_len);
    if (r == 0 && node->len)
        r = path_push(buf, cap, &len, node->path, node->len);
    return r ? r : (long)len;
}

long overlay_readlink(struct vfs *fs, const struct vnode *node, char *buf, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    if (!vnode_exists(node))
        return -ENOENT;
    if (node->len == 0)
        return -EINVAL;
    char text[PATH_MAX];
    const char *path;
    int dir = overlay_at(o, node->top, node->path, text, &path);
    long n = dir == -ENAMETOOLONG ? dir : sys_readlinkat(dir, path, buf, cap);
    if (n != -EACCES)
        return n;
    int fd = overlay_open_in(o, node->top, node->path, 0);
    if (fd < 0)
        return fd;
    n = sys_readlinkat(fd, "", buf, cap);
    sys_close(fd);
    return n;
}

/* -- POSIX ACLs: acl(5), the xattr's layout in linux/posix_acl_xattr.h */
#define ACL_VERSION 2
#define ACL_ENTRIES 128
enum {
    ACL_USER_OBJ = 1,
    ACL_USER = 2,
    ACL_GROUP_OBJ = 4,
    ACL_GROUP = 8,
    ACL_MASK = 16,
    ACL_OTHER = 32
};

struct acl_entry {
    u16 tag, perm;
    u32 id;
};

struct acl {
    u32 version;
    struct acl_entry entry[ACL_ENTRIES];
};

/* The access ACL of the object: the number of entries, 0 where it has none. */
static long read_acl(struct overlay *o, const struct vnode *node, struct acl *acl)
{
    static const char name[] = "system.posix_acl_access";
    char path[PATH_MAX];
    long n;
    if (overlay_name(o, node->top, node->path, path) == 0) {
        n = sys_lgetxattr(path, name, acl, sizeof(*acl));
    } else {
        int fd = overlay_grab(&o->vfs, node);
        if (fd < 0)
            return fd;
        n = sys_getxattr(sys_fd_path(path, fd), name, acl, sizeof(*acl));
        sys_close(fd);
    }
    if (n == -ENODATA || n == -EOPNOTSUPP)
        return 0;
    if (n < (long)sizeof(acl->version) || acl->version != ACL_VERSION)
        return n < 0 ? n : -EIO;
    return (n - (long)sizeof(acl->version)) / (long)sizeof(struct acl_entry);
}

/* posix_acl_permission(): the caller is not the owner. */
static int judge_acl(const struct acl *acl, long n, const struct stat *st, const struct cred *cred,
                     unsigned want)
{
    unsigned mask = 7, other = 0;
    bool in_group = false, granted = false;
    for (long i = 0; i < n; i++) {
        if (acl->entry[i].tag == ACL_MASK)
            mask = acl->entry[i].perm;
        else if (acl->entry[i].tag == ACL_OTHER)
            other = acl->entry[i].perm;
    }
    for (long i = 0; i < n; i++) {
        const struct acl_entry *e = &acl->entry[i];
        if (e->tag == ACL_USER && e->id == cred->fsuid)
            return (want & ~(e->perm & mask)) ? -EACCES : 0;
        if ((e->tag == ACL_GROUP_OBJ && cred_in_group(cred, st->st_gid)) ||
            (e->tag == ACL_GROUP && cred_in_group(cred, e->id))) {
            in_group = true;
            granted |= (want & ~(unsigned)e->perm) == 0;
        }
    }
    if (in_group)
        return granted && (want & ~mask) == 0 ? 0 : -EACCES;
    return (want & ~other) ? -EACCES : 0;
}

/* An ACL counts for whoever is not the owner, and only where the group bits, its mask, allow
 * something (as in the kernel). */
static NOINLINE int permission_acl(struct overlay *o, const struct vnode *node,
                                   const struct stat *st, const struct cred *cred, int mask,
                                   int by_mode)
{
    struct acl acl;
    long n = read_acl(o, node, &acl);
    if (n <= 0)
        return by_mode;
    if (judge_acl(&acl, n, st, cred, (unsigned)mask & 7) == 0)
        return 0;
    /* Refused: what capabilities override is asked of an object that allows nobody anything. */
    struct stat nobody = *st;
    nobody.st_mode &= ~(mode_t)0777;
    nobody.st_mode |= st->st_mode & 0111 ? 0100 : 0; /* for exec by CAP_DAC_OVERRIDE */
    nobody.st_uid = ~cred->fsuid;
    return access_by_mode(&nobody, cred, mask);
}

int overlay_permission(struct vfs *fs, struct caller *who, const struct vnode *node, int mask)
{
    struct overlay *o = overlay_of(fs);
    const struct cred *cred = who->ops.cred(who);
    mode_t mode = node->st.st_mode;
    if (!vnode_exists(node))
        return -ENOENT;
    if ((mask & W_OK) && o->s->read_only && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)))
        return -EROFS;
    bool powerful = (cred->caps >> CAP_DAC_OVERRIDE_BIT) & 1;
    if (o->s->fake && powerful && (S_ISDIR(mode) || !(mask & X_OK)))
        return 0;
    struct stat buf;
    const struct stat *st = overlay_judged(fs, node, &buf);
    int by_mode = access_by_mode(st, cred, mask);
    if (cred->fsuid == st->st_uid || !(mode & S_IRWXG) || S_ISLNK(mode))
        return by_mode;
    if (by_mode == 0 && powerful)
        return 0; /* whatever an ACL says is overridden alike */
    return permission_acl(o, node, st, cred, mask, by_mode);
}

int overlay_may_delete(struct vfs *fs, struct caller *who, const struct vnode *dir,
                       const struct vnode *node)
{
    int r = overlay_permission(fs, who, dir, W_OK | X_OK);
    if (r < 0 || !(dir->st.st_mode & S_ISVTX))
        return r;
    struct stat buf;
    if (access_owner(who, overlay_judged(fs, node, &buf)) == 0)
        return 0;
    return access_owner(who, overlay_judged(fs, dir, &buf));
}

int overlay_statfs(struct vfs *fs, const struct vnode *node, struct statfs *out)
{
    struct overlay *o = overlay_of(fs);
    (void)node;
    unsigned layer = o->s->layer[0].in_use ? 0 : 1;
    int r = o->by_path ? (int)SYS2(SYS_statfs, session_layer_path(o->s, layer), out)
                       : sys_fstatfs(o->layer_fd[layer], out);
    if (r < 0)
        return r;
    out->f_type = OVERLAYFS_MAGIC;
    out->f_namelen = NAME_MAX;
    if (o->s->read_only)
        out->f_flags |= ST_RDONLY;
    else
        out->f_flags &= ~(long)ST_RDONLY;
    return 0;
}

int overlay_open_closed(struct overlay *o, int fd, int flags)
{
    char path[SYS_FD_PATH];
    struct stat st;
    sys_fd_path(path, fd);
    int r = sys_openat(AT_FDCWD, path, flags, 0);
    if (r != -EACCES || o->s->uid == 0 || sys_fstat(fd, &st) < 0 || st.st_uid != o->s->uid ||
        (st.st_mode & 0600) == 0600 ||
        sys_fchmodat(AT_FDCWD, path, (st.st_mode & 07777) | 0600) < 0)
        return r;
    r = sys_openat(AT_FDCWD, path, flags, 0);
    sys_fchmodat(AT_FDCWD, path, st.st_mode & 07777);
    return r;
}

void overlay_search_upper(struct overlay *o, const struct vnode *out, size_t len)
{
    char dir[VPATH_MAX + 2], text[PATH_MAX];
    const char *path;
    struct stat st;
    if (!o->only_reads || o->s->uid == 0)
        return;
    memcpy(dir, out->path, len);
    str_copy(dir + len, sizeof(dir) - len, len ? "/." : ".");
    int at = overlay_at(o, 0, dir, text, &path);
    if (at == -ENAMETOOLONG || sys_fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        o->unable();
}

unsigned overlay_top_lower(struct overlay *o, const struct vnode *node)
{
    (void)o;
    layer_set low = lowers_of(node->layers);
    return low && vnode_is_dir(node) ? lowest(low) : 0;
}

int overlay_parent(struct overlay *o, const struct vnode *node, struct vnode *out)
{
    size_t len = (size_t)(path_last(node->path, node->len) - node->path);
    int r = overlay_descend(&o->vfs, node->path, len ? len - 1 : 0, out);
    if (r == -EAGAIN || (r == 0 && !vnode_exists(out)))
        return -ENOENT;
    if (r == 0 && !vnode_is_dir(out))
        return -ENOTDIR;
    return r;
}
