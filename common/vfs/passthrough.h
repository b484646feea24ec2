/* One directory tree as it is: the smallest filesystem behind struct vfs_ops. It keeps nothing and
 * adds nothing, so tests of what stands on the interface can tell that from the overlay's doings.
 */
#ifndef FUSS_VFS_PASSTHROUGH_H
#define FUSS_VFS_PASSTHROUGH_H

#include "vfs/vfs.h"

struct passthrough {
    struct vfs vfs;   /* first */
    int root;         /* O_PATH */
    size_t len;       /* of path */
    const char *path; /* the caller's: canonical and absolute */
};

/* Opens the directory `path`, which has to outlive the filesystem. */
int passthrough_init(struct passthrough *p, const char *path);
void passthrough_fini(struct passthrough *p);

#endif
