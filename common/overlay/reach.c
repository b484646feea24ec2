/* Real objects behind vnodes, and who may touch them. */
#include "overlay/overlay.h"
#include "base/sys.h"
#include "vfs/access.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define OVERLAYFS_MAGIC 0x794c7630

int overlay_open_in(struct overlay *o, unsigned layer, const char *rel, u64 flags)
{
    return sys_open_beneath(o->layer_fd[layer], *rel ? rel : ".", O_PATH | O_NOFOLLOW | flags, 0);
}

int overlay_grab(struct vfs *fs, const struct vnode *node)
{
    return overlay_open_in(overlay_of(fs), node->top, node->path, 0);
}

long overlay_locate(struct vfs *fs, const struct vnode *node, char *buf, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    size_t len = 0;
    int r = path_push(buf, cap, &len, session_layer_path(o->s, node->top),
                      o->s->layer[node->top].path_len);
    if (r == 0 && node->len)
        r = path_push(buf, cap, &len, node->path, node->len);
    return r ? r : (long)len;
}

long overlay_readlink(struct vfs *fs, const struct vnode *node, char *buf, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    return sys_readlinkat(o->layer_fd[node->top], node->path, buf, cap);
}

bool overlay_mode_allows(const struct stat *st, const struct cred *cred, int mask)
{
    return access_by_mode(st, cred, mask) == 0;
}

int overlay_permission(struct vfs *fs, struct caller *who, const struct vnode *node, int mask)
{
    struct overlay *o = overlay_of(fs);
    const struct cred *cred = who->ops.cred(who);
    mode_t mode = node->st.st_mode;
    if ((mask & W_OK) && o->s->read_only && (S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode)))
        return -EROFS;
    int by_mode = access_by_mode(&node->st, cred, mask);
    /* Mode bits decide for the owner and for whoever overrides them; an ACL may say otherwise for
     * everybody else. */
    if (cred->fsuid == node->st.st_uid || ((cred->caps >> CAP_DAC_OVERRIDE_BIT) & 1))
        return by_mode;
    int fd = overlay_grab(fs, node);
    if (fd < 0)
        return fd;
    who->ops.assume(who);
    int r = sys_faccessat2(fd, "", mask, AT_EACCESS | AT_EMPTY_PATH);
    who->ops.resume(who);
    sys_close(fd);
    return r == -EACCES || r == 0 ? r : by_mode; /* a read-only filesystem under a lower */
}

int overlay_may_delete(struct vfs *fs, struct caller *who, const struct vnode *dir,
                       const struct vnode *node)
{
    int r = overlay_permission(fs, who, dir, W_OK | X_OK);
    if (r < 0 || !(dir->st.st_mode & S_ISVTX))
        return r;
    const struct cred *cred = who->ops.cred(who);
    if (cred->fsuid == node->st.st_uid || cred->fsuid == dir->st.st_uid ||
        ((cred->caps >> CAP_FOWNER_BIT) & 1))
        return 0;
    return -EPERM;
}

int overlay_statfs(struct vfs *fs, const struct vnode *node, struct statfs *out)
{
    struct overlay *o = overlay_of(fs);
    (void)node;
    int r = sys_fstatfs(o->layer_fd[o->s->layer[0].in_use ? 0 : 1], out);
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
