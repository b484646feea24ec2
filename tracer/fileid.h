/* Whether a file that was read before is still the same, as its stat tells. */
#ifndef FUSS_TRACER_FILEID_H
#define FUSS_TRACER_FILEID_H

#include "base/base.h"
#include <sys/stat.h>
#include <time.h>

#define FILEID_SETTLE_MS 100

struct fileid {
    dev_t dev;
    ino_t ino; /* 0 = none */
    off_t size;
    struct timespec mtime, ctime;
};

static inline struct fileid fileid_of(const struct stat *st)
{
    return (struct fileid){st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim};
}

static inline bool fileid_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static inline bool fileid_is(const struct fileid *id, const struct stat *st)
{
    return id->ino && id->ino == st->st_ino && id->dev == st->st_dev && id->size == st->st_size &&
           fileid_same_time(id->mtime, st->st_mtim) && fileid_same_time(id->ctime, st->st_ctim);
}

/* False for a file changed so lately that it may change again with the same times. */
static inline bool fileid_settled(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (s64)(now.tv_sec - st->st_ctim.tv_sec) * 1000 +
               (now.tv_nsec - st->st_ctim.tv_nsec) / 1000000 >=
           FILEID_SETTLE_MS;
}

#endif
