/* The upper index: what is known about names in the upper, so that a lookup need not look there.
 *
 * A hint table, conservative by construction. Keyed by a keyed hash of the relative path; states:
 *   MAYBE   nothing is known: look for real (also what a full table answers)
 *   ABSENT  the upper has neither an object nor a marker of this name, nor anything below it
 *   MERGED  the upper has a directory that merges with the lowers
 *   OPAQUE  the upper has a directory that hides the lowers
 * Whoever looked for real may install what it saw with index_learn() and the word it read before
 * looking; it is refused, or worthless, where anybody changed the path since.
 *
 * A mutator whose changes nobody else can see half done (one thread serves all) calls index_touch()
 * before and after its system call. One that runs beside learners puts its call between
 * index_begin() and index_end(): in between nothing is learned, so that nobody can install what it
 * saw before the call as if it were seen after it. No locks.
 *
 * Death at any instant leaves no lie. Where it hits between begin and end the path's stripe would
 * answer MAYBE for good: so each change belongs to an owner, claimed in the name of a thread, and
 * who sees that thread die (it has left the kernel by then) ends what it had begun by index_reap().
 * The supervisor, with which all ends, needs no owner: INDEX_NO_OWNER.
 *
 * Renaming or removing a directory changes everything (the _all forms). */
#ifndef FUSS_OVERLAY_INDEX_H
#define FUSS_OVERLAY_INDEX_H

#include "base/base.h"

enum index_state { INDEX_MAYBE, INDEX_ABSENT, INDEX_MERGED, INDEX_OPAQUE };

struct index;

/* Bytes of memory an index with 2^bits (at least 4) entries needs; index_init makes one in zeroed
 * memory. */
size_t index_size(unsigned bits);
struct index *index_init(void *memory, unsigned bits, u64 key);
u64 index_hash(const struct index *x, const char *path, size_t len);
/* The state of a path; *word is what index_learn needs. */
enum index_state index_look(struct index *x, u64 hash, u64 *word);
void index_learn(struct index *x, u64 hash, u64 word, enum index_state state);
void index_touch(struct index *x, u64 hash);
void index_touch_all(struct index *x);
/* Counts index_moved(): while it stands still, no directory with a lower part was renamed or
 * removed, nor one of the upper while lower paths lead there, so that the real path of a directory
 * of a layer means the same place of the union. (That of an upper directory changes with it.) */
const u64 *index_structure(const struct index *x);
void index_moved(struct index *x);

#define INDEX_OWNERS   16
#define INDEX_NO_OWNER INDEX_OWNERS

/* An owner for changes of thread `tid` (not 0), or -1 where all are taken: leave the change to
 * somebody who needs none. A few at a time, held for one change: claim, begin (of each path), the
 * system call, end (of each path), release. */
int index_claim(struct index *x, u32 tid);
void index_release(struct index *x, int owner);
/* The thread is dead: its changes are over. The number of owners it left behind. */
unsigned index_reap(struct index *x, u32 tid);

/* Of one owner, a second begin before the end is the same as one. INDEX_NO_OWNER counts. */
void index_begin(struct index *x, int owner, u64 hash);
void index_end(struct index *x, int owner, u64 hash);
void index_begin_all(struct index *x, int owner);
void index_end_all(struct index *x, int owner);

/* Current generation: changes with every touch (vnode.generation). */
u64 index_generation(const struct index *x);

#endif
