/* Open listings of directories of the union.
 *
 * The position of a listing lives where the kernel keeps it, in the open file description's f_pos,
 * so dup, fork, exec and SCM_RIGHTS share it as they should: f_pos = serial of the snapshot << 32 |
 * index of the next entry. f_pos 0 makes a new snapshot, which is what rewinddir means.
 *
 * A process that lists a directory of one part by itself leaves the kernel's own positions there.
 * Those have no serial that was given yet (but by chance, on filesystems whose positions are
 * hashes), and the listing then goes on in that directory's own order. */
#ifndef FUSS_CALL_DIR_H
#define FUSS_CALL_DIR_H

#include "vfs/listing.h"

#define DIRS_MAX       512
#define DIRS_BYTES_MAX ((size_t)256 << 20)

struct dir_snapshot {
    u32 serial;    /* 0 = free */
    bool done;     /* read to its end: the first to go */
    u64 used;      /* clock of the last use */
    u64 dev, ino;  /* of the real directory whose f_pos carries the serial */
    u64 structure; /* vfs.structure when it was made: the directory still has its name */
    struct listing list;
};

struct dirs {
    u32 serial;
    u64 clock;
    size_t bytes;
    struct dir_snapshot snap[DIRS_MAX];
};

struct vfs;
/* True for a position of the kernel's own. */
bool dirs_kernel_pos(const struct vfs *fs, s64 pos);

#endif
