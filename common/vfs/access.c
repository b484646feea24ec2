#include "vfs/access.h"

bool cred_in_group(const struct cred *cred, u32 gid)
{
    if (cred->fsgid == gid)
        return true;
    for (u32 i = 0; i < cred->ngroups; i++) {
        if (cred->group[i] == gid)
            return true;
    }
    return false;
}

static bool has_cap(const struct cred *cred, unsigned cap)
{
    return (cred->caps >> cap) & 1;
}

int access_by_mode(const struct stat *st, const struct cred *cred, int mask)
{
    mode_t mode = st->st_mode;
    bool dir = S_ISDIR(mode);
    unsigned bits = mode & 7;
    if (cred->fsuid == st->st_uid)
        bits = (mode >> 6) & 7;
    else if (cred_in_group(cred, st->st_gid))
        bits = (mode >> 3) & 7;
    if (((unsigned)mask & ~bits & 7) == 0)
        return 0;
    if (has_cap(cred, CAP_DAC_OVERRIDE_BIT) && (!(mask & X_OK) || dir || (mode & 0111)))
        return 0;
    if (has_cap(cred, CAP_DAC_READ_SEARCH_BIT) && (mask == R_OK || (dir && !(mask & W_OK))))
        return 0;
    return -EACCES;
}

int access_real_ids(struct caller *who, const struct stat *st, int mask)
{
    struct cred real = *who->ops.cred(who);
    real.fsuid = real.ruid;
    real.fsgid = real.rgid;
    real.caps = real.ruid == 0 ? real.permitted : 0;
    return access_by_mode(st, &real, mask);
}

int access_owner(struct caller *who, const struct stat *st)
{
    const struct cred *cred = who->ops.cred(who);
    return cred->fsuid == st->st_uid || has_cap(cred, CAP_FOWNER_BIT) ? 0 : -EPERM;
}

int access_node_owner(struct caller *who, const struct vnode *node)
{
    struct stat buf;
    return access_owner(who, node->fs->ops.judged(node->fs, node, &buf));
}
