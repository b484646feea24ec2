/* Site tables (common/image/sites.h) of the images that programs run: computed on first need, kept
 * for the session. */
#ifndef FUSS_TRACER_SITECACHE_H
#define FUSS_TRACER_SITECACHE_H

#include "image/sites.h"

struct sitecache;

/* NULL where there is no memory. Tables of more than `bytes` altogether are forgotten, the one that
 * was not asked for the longest time first. */
struct sitecache *sitecache_new(size_t bytes);
void sitecache_free(struct sitecache *c);
/* The numbers whose sites its tables hold. */
const struct site_wants *sitecache_wants(const struct sitecache *c);

/* The table of the file behind a readable descriptor, which need not be an image: its count is 0
 * then, as for all that cannot be patched or is too large to look at. It belongs to the cache and
 * stands until the next call. NULL where the file cannot be read or changes meanwhile.
 *
 * A kept table is for one (device, inode, size, mtime, ctime), never for a name, and none is kept
 * of a file changed a moment ago, which could change again without a newer time. */
/* Bytes that sitecache_get() would have to look at: 0 where the table is known. */
size_t sitecache_cost(struct sitecache *c, int fd);
const struct sites *sitecache_get(struct sitecache *c, int fd);

#endif
