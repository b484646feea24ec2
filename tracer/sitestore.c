#include "tracer/sitestore.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORTH_IT  (128u << 10) /* bytes of an image */
#define SLOTS     128          /* files at most: one for many images */
#define TABLE_MAX (1u << 20)
#define NAME_SIZE 40
#define DEPTH_MAX 64

struct head {
    u64 build; /* what the table was made for */
    u64 bytes; /* of the table */
};

static const struct session *session; /* NULL: nothing is kept */
static u64 build;

static u64 mix(u64 h, u64 v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

/* Whether the directory, or one above it, is a layer's root. */
static bool in_layer(int dir)
{
    const struct session *s = session;
    struct stat st, layer, above = {0};
    int at = dup(dir);
    bool found = at < 0;
    for (int depth = 0; !found; depth++) {
        if (fstat(at, &st) < 0 || depth == DEPTH_MAX) {
            found = true;
            break;
        }
        if (depth && st.st_ino == above.st_ino && st.st_dev == above.st_dev)
            break; /* ".." of the root */
        for (unsigned i = 0; i < s->nlayers && !found; i++)
            found = s->layer[i].in_use && stat(session_layer_path(s, i), &layer) == 0 &&
                    layer.st_ino == st.st_ino && layer.st_dev == st.st_dev;
        above = st;
        int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = up;
        if (at < 0)
            return true;
    }
    if (at >= 0)
        close(at);
    return found;
}

void sitestore_init(const struct session *s, const struct site_wants *wanted)
{
    build = mix(SITES_VERSION, sizeof(struct site));
    for (size_t i = 0; i < ARRAY_LEN(wanted->bits); i++)
        build = mix(build, wanted->bits[i]);
    session = s;
}

/* A directory of this user's own, and outside of the layers: -1 where it is not. It is closed
 * where it is not, and `above` in any case. */
static int step(int above, const char *name, bool make)
{
    struct stat st;
    if (make)
        mkdirat(above, name, 0700);
    int dir = openat(above, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above >= 0)
        close(above);
    if (dir >= 0 &&
        (fstat(dir, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022) || in_layer(dir))) {
        close(dir);
        dir = -1;
    }
    return dir;
}

static int open_place(bool make)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int dir = -1;
    if (!session)
        return -1;
    if (cache && cache[0] == '/')
        dir = step(-1, cache, false);
    else if (home && home[0] == '/' && (dir = step(-1, home, false)) >= 0)
        dir = step(dir, ".cache", make);
    return dir < 0 ? -1 : step(dir, "fuss", make);
}

static void name_file(char *name, u64 dev, u64 ino)
{
    snprintf(name, NAME_SIZE, "sites-%02x", (unsigned)(mix(mix(0, dev), ino) % SLOTS));
}

/* All that is in the file, if it is for this image. */
static struct sites *read_table(int fd, const struct stat *of)
{
    struct head h;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 022) || read(fd, &h, sizeof(h)) != sizeof(h) || h.build != build ||
        h.bytes < sizeof(struct sites) || h.bytes > TABLE_MAX)
        return NULL;
    struct sites *t = malloc(h.bytes);
    if (t && read(fd, t, h.bytes) == (ssize_t)h.bytes && sites_check(t, h.bytes) &&
        sites_size(t->count) == h.bytes && t->dev == of->st_dev && t->ino == of->st_ino)
        return t;
    free(t);
    return NULL;
}

struct sites *sitestore_load(const struct stat *st)
{
    char name[NAME_SIZE];
    struct sites *t = NULL;
    int dir = (u64)st->st_size < WORTH_IT ? -1 : open_place(false);
    if (dir < 0)
        return NULL;
    name_file(name, st->st_dev, st->st_ino);
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        t = read_table(fd, st);
        close(fd);
    }
    close(dir);
    return t;
}

void sitestore_save(const struct sites *t)
{
    char name[NAME_SIZE], part[NAME_SIZE];
    struct head h = {.build = build, .bytes = sites_size(t->count)};
    int dir = t->size < WORTH_IT || h.bytes > TABLE_MAX ? -1 : open_place(true);
    if (dir < 0)
        return;
    name_file(name, t->dev, t->ino);
    snprintf(part, sizeof(part), "part-%d", getpid());
    int fd = openat(dir, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0) {
        bool good =
            write(fd, &h, sizeof(h)) == sizeof(h) && write(fd, t, h.bytes) == (ssize_t)h.bytes;
        close(fd);
        if (!good || renameat(dir, part, dir, name) < 0)
            unlinkat(dir, part, 0);
    }
    close(dir);
}
