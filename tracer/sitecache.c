#include "tracer/sitecache.h"

#include "call/systab.h"
#include "tracer/sitestore.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES    256
#define IMAGE_MAX  ((off_t)96 << 20)
#define SITES_MAX  4096
#define SETTLED_NS 50000000 /* longer than the kernel's clock for file times takes to tick */
#define NS_PER_SEC 1000000000

struct sitecache {
    struct site_wants want;
    size_t limit, used;
    u64 clock;
    struct sites *unkept; /* the last table that is not in the list */
    struct {
        struct sites *table; /* NULL: free */
        u64 asked;
    } entry[ENTRIES];
};

static s64 ns_of(const struct timespec *t)
{
    return (s64)t->tv_sec * NS_PER_SEC + t->tv_nsec;
}

/* Calls that an in-process side may serve; execve, which it answers where there is nothing to run;
 * and mmap, by which a loader brings in the C library. */
static void want_rows(struct site_wants *want)
{
    for (int i = 0; i < systab_rows(); i++) {
        const struct sysrow *row = systab_at(i);
        if (!(row->traits & (SYS_SUPERVISOR | SYS_ARG_FILTER)))
            sites_want(want, row->nr);
    }
    sites_want(want, SYS_execve);
    sites_want(want, SYS_mmap);
}

const struct site_wants *sitecache_wants(const struct sitecache *c)
{
    return &c->want;
}

struct sitecache *sitecache_new(size_t bytes)
{
    struct sitecache *c = calloc(1, sizeof(*c));
    if (c) {
        c->limit = bytes;
        want_rows(&c->want);
    }
    return c;
}

void sitecache_free(struct sitecache *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < ENTRIES; i++)
        free(c->entry[i].table);
    free(c->unkept);
    free(c);
}

static bool is_of(const struct sites *t, const struct stat *st)
{
    return t->dev == st->st_dev && t->ino == st->st_ino && t->size == (u64)st->st_size &&
           t->mtime_ns == ns_of(&st->st_mtim) && t->ctime_ns == ns_of(&st->st_ctim);
}

static bool settled(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    s64 age = ns_of(&now) - ns_of(&st->st_ctim);
    return age > SETTLED_NS;
}

/* The file's bytes in memory of our own: a mapped file that is cut short kills who reads it. */
static void *read_image(int fd, size_t size)
{
    u8 *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    for (size_t at = 0; at < size;) {
        ssize_t n = pread(fd, p + at, size - at, (off_t)at);
        if (n <= 0) {
            munmap(p, size);
            return NULL;
        }
        at += (size_t)n;
    }
    return p;
}

/* A table of its own of what the file holds, no larger than it must be. */
static struct sites *compute(const struct sitecache *c, int fd, const struct stat *st)
{
    static const struct sites none = {.version = SITES_VERSION};
    size_t cap = sites_size(SITES_MAX);
    struct sites *t = malloc(cap), *fit;
    int found = 0;
    if (!t)
        return NULL;
    *t = none;
    if (S_ISREG(st->st_mode) && st->st_size > 0 && st->st_size <= IMAGE_MAX) {
        size_t size = (size_t)st->st_size;
        void *image = read_image(fd, size);
        if (!image) {
            free(t);
            return NULL;
        }
        found = sites_find(image, size, &c->want, t, cap);
        munmap(image, size);
    }
    if (found < 0)
        *t = none;
    t->dev = st->st_dev;
    t->ino = st->st_ino;
    t->size = (u64)st->st_size;
    t->mtime_ns = ns_of(&st->st_mtim);
    t->ctime_ns = ns_of(&st->st_ctim);
    fit = realloc(t, sites_size(t->count));
    return fit ? fit : t;
}

static void forget(struct sitecache *c, unsigned i)
{
    c->used -= sites_size(c->entry[i].table->count);
    free(c->entry[i].table);
    c->entry[i].table = NULL;
}

/* A free entry, with room for `bytes` under the limit. */
static unsigned make_room(struct sitecache *c, size_t bytes)
{
    for (;;) {
        unsigned free_one = ENTRIES, oldest = ENTRIES;
        for (unsigned i = 0; i < ENTRIES; i++) {
            if (!c->entry[i].table)
                free_one = i;
            else if (oldest == ENTRIES || c->entry[i].asked < c->entry[oldest].asked)
                oldest = i;
        }
        if (free_one != ENTRIES && (oldest == ENTRIES || c->used + bytes <= c->limit))
            return free_one;
        forget(c, oldest);
    }
}

/* Into the list, if it is worth that and fits. */
static bool add(struct sitecache *c, struct sites *t)
{
    size_t bytes = sites_size(t->count);
    if (bytes > c->limit)
        return false;
    unsigned i = make_room(c, bytes);
    c->entry[i].table = t;
    c->entry[i].asked = ++c->clock;
    c->used += bytes;
    return true;
}

static struct sites *known_table(const struct sitecache *c, const struct stat *st, unsigned *at)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (!c->entry[i].table || !is_of(c->entry[i].table, st))
            continue;
        *at = i;
        return c->entry[i].table;
    }
    return NULL;
}

/* From an earlier session. */
static bool take_stored(struct sitecache *c, const struct stat *st)
{
    struct sites *t = sitestore_load(st);
    if (t && is_of(t, st) && add(c, t))
        return true;
    free(t);
    return false;
}

size_t sitecache_cost(struct sitecache *c, int fd)
{
    struct stat st;
    unsigned at;
    return fstat(fd, &st) != 0 || known_table(c, &st, &at) || take_stored(c, &st)
               ? 0
               : (size_t)st.st_size;
}

const struct sites *sitecache_get(struct sitecache *c, int fd)
{
    struct stat st, after;
    if (fstat(fd, &st) != 0)
        return NULL;
    unsigned at;
    struct sites *t = known_table(c, &st, &at);
    if (t) {
        c->entry[at].asked = ++c->clock;
        return t;
    }
    t = compute(c, fd, &st);
    if (!t || fstat(fd, &after) != 0 || !is_of(t, &after)) {
        free(t);
        return NULL;
    }
    bool keep = settled(&st);
    if (keep)
        sitestore_save(t);
    if (!keep || !add(c, t)) {
        free(c->unkept);
        c->unkept = t;
    }
    return t;
}
