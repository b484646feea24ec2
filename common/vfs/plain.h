/* The common case of walk(). */
#ifndef FUSS_VFS_PLAIN_H
#define FUSS_VFS_PLAIN_H

#include "vfs/walk.h"

#define COMPONENT_MAX 255

/* The caller's capabilities open every directory to it. */
bool walk_searches_all(struct caller *who);
/* walk() without a look at each component. 1: settled; 0: walk it; -ENOENT: so is the walk. */
int walk_fast(const struct view *view, struct caller *who, const char *base, const char *path,
              unsigned flags, struct place *place);

#endif
