/* Paths outside the union that led somewhere outside a moment ago, over symlinks or not: while they
 * are known they need not be walked. As with vfs/steady.h, whoever swaps a link meanwhile, where
 * the session does not see it, is noticed STEADY_TICKS later. Only what was there is remembered. */
#ifndef FUSS_VFS_WAYS_H
#define FUSS_VFS_WAYS_H

#include "vfs/walk.h"

#define WAYS_ENTRIES 64
#define WAYS_TEXT    120

/* Zeroed at first; of one thread. */
struct ways {
    bool muted;
    u32 muted_at;
    struct {
        u32 when;
        u16 said_len, len; /* 0 = free */
        bool follow;
        char said[WAYS_TEXT], path[WAYS_TEXT];
    } entry[WAYS_ENTRIES];
};

/* Fills place where the absolute path is known. */
bool ways_known(const struct ways *w, const char *said, size_t n, bool follow, struct place *place);
/* It was walked, without asking who walks, and place is where it led. */
void ways_note(struct ways *w, const char *said, size_t n, bool follow, const struct place *place);
/* The session is about to make or rename a link: nothing is known, and for a moment nothing noted,
 * since a walk before the change may end after it. */
void ways_change(struct ways *w);

#endif
