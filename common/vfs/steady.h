/* Directories, by a hash of their path, to which real directories alone led a moment ago: what is
 * below them need not be asked again. Whoever swaps one for a symlink meanwhile, where the session
 * does not see it, is noticed STEADY_TICKS later. */
#ifndef FUSS_VFS_STEADY_H
#define FUSS_VFS_STEADY_H

#include "base/base.h"

#define STEADY_ENTRIES 1024
#define STEADY_TICKS   1200 /* some thirty milliseconds */

/* Salts of places that are no layer; the count of the session's moves outside lies above them. */
enum steady_place {
    STEADY_APART = 0xfe, /* outside, and neither the union nor a layer is anywhere near */
    STEADY_OUTSIDE = 0xff,
};

u32 steady_now(void);

/* Asks, where it is not known, whether each directory of text[root .. root + n) is one and no
 * symlink; text is reached from the descriptor `dir`, and the byte behind may be '/' or NUL. 0,
 * -ELOOP, -ENOTDIR, or why it cannot be asked. *when (steady_now() on entry) becomes the time that
 * the oldest answer is from. `salt` tells places apart in the table: STEADY_ENTRIES words, zeroed
 * at first, of one thread or several; NULL = everything is asked. */
int steady_way(u64 *table, u64 salt, int dir, char *text, size_t root, size_t n, u32 *when);
/* What the table alone says: true where all of it is known, *when as above. */
bool steady_known(u64 *table, u64 salt, const char *path, size_t n, u32 *when);
/* One more was seen to be a directory, at the end of such a way. */
void steady_note(u64 *table, u64 salt, const char *path, size_t n, u32 when);

#endif
