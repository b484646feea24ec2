/* Permission by mode bits, for credentials that nobody has taken on. */
#ifndef FUSS_VFS_ACCESS_H
#define FUSS_VFS_ACCESS_H

#include "vfs/vfs.h"

#define CAP_CHOWN_BIT           0
#define CAP_DAC_OVERRIDE_BIT    1
#define CAP_DAC_READ_SEARCH_BIT 2
#define CAP_FOWNER_BIT          3
#define CAP_SYS_CHROOT_BIT      18
#define CAP_FSETID_BIT          4
#define CAP_SYS_ADMIN_BIT       21

/* 0 or -EACCES: R_OK|W_OK|X_OK for `st` by mode bits alone (inode_permission without ACLs). */
int access_by_mode(const struct stat *st, const struct cred *cred, int mask);
bool cred_in_group(const struct cred *cred, u32 gid);
/* access(2) judges by real ids; for a caller whose real ids differ from the filesystem ids. */
int access_real_ids(struct caller *who, const struct stat *st, int mask);
/* -EPERM unless the caller owns the object or may act as if (CAP_FOWNER). */
int access_owner(struct caller *who, const struct stat *st);
/* The same of a node. */
int access_node_owner(struct caller *who, const struct vnode *node);

#endif
