/* A directory's names as one compact list in anonymous memory: what a merged readdir reads from. */
#ifndef FUSS_VFS_LISTING_H
#define FUSS_VFS_LISTING_H

#include "base/base.h"

struct listing_entry {
    u64 ino;
    u16 len;   /* of name, without the NUL that follows it */
    u8 type;   /* DT_* */
    u8 hidden; /* a name that a higher layer took away: kept only while merging */
    char name[];
};

/* Zero-initialise to begin; listing_free at the end. */
struct listing {
    u8 *bytes; /* entries one behind the other, each aligned to 8 */
    size_t used, size;
    u32 *offset; /* of entry i in bytes */
    u32 count, slots;
    u32 *hash; /* name -> index + 1, open addressing; of no use once sealed */
    u32 buckets;
};

/* Adds a name unless it is there already (the higher layer came first). 1 added, 0 there already,
 * -ENOMEM. `hidden` entries keep lower ones out and are left out of the sealed list. */
int listing_add(struct listing *l, const char *name, size_t len, u64 ino, u8 type, bool hidden);
/* The entry of a name, hidden or not; NULL. Only before listing_seal. */
struct listing_entry *listing_find(struct listing *l, const char *name, size_t len);
/* Drops hidden entries. Afterwards entries are 0 .. count - 1 for good. */
void listing_seal(struct listing *l);
/* Empties a listing for new names, keeping its memory. */
void listing_reset(struct listing *l);
/* Bytes of memory that it holds. */
size_t listing_bytes(const struct listing *l);
const struct listing_entry *listing_at(const struct listing *l, u32 index);
void listing_free(struct listing *l);

#endif
