/* Layers unpacked once, by what they contain: CACHE/fuss/images/HEX (root: /var/cache/fuss), with
 * the digest of the layer's tar as its name. A layer appears when it is whole; who unpacks it holds
 * the lock HEX.lock, so that others wait for it, and what a killed one left is taken away by the
 * next. Removals are devices and attributes, which sessions of either style read. */
#include "image/image.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SECRET "images."

enum { HEX = 64 };

/* A directory of this user's own, which nobody else may write. `above` is closed. */
static int step(int above, const char *name, mode_t mode, const char *path)
{
    struct stat st;
    int fd;
    if (mkdirat(above, name, mode) && errno != EEXIST)
        image_fail("%s: cannot make %s for the image's layers: %s; set XDG_CACHE_HOME to a "
                   "directory of your own",
                   path, name, strerror(errno));
    fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(above);
    if (fd < 0 || fstat(fd, &st))
        image_fail("%s: cannot use %s for the image's layers: %s", path, name, strerror(errno));
    if (st.st_uid != geteuid() || (st.st_mode & 022))
        image_fail("%s: %s is not this user's own; set XDG_CACHE_HOME to a directory of your own",
                   path, name);
    return fd;
}

/* Root's sessions have programs that become other users, who must reach the layers; the host's own
 * users must not, as there are setuid programs among them. So the way is open and has a name that
 * only root can read. */
static int secret_place(int dir, char *name, size_t size)
{
    unsigned char random[16];
    const struct dirent *e;
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    size_t len;
    if (!d || flock(dir, LOCK_EX))
        image_fail("/var/cache/fuss: %s", strerror(errno));
    *name = 0;
    while ((e = readdir(d)))
        if (!strncmp(e->d_name, SECRET, strlen(SECRET)) && strlen(e->d_name) < size &&
            (!*name || strcmp(e->d_name, name) < 0))
            snprintf(name, size, "%s", e->d_name);
    closedir(d);
    if (!*name) {
        if (getrandom(random, sizeof(random), 0) != sizeof(random))
            image_fail("no random numbers: %s", strerror(errno));
        len = (size_t)snprintf(name, size, SECRET);
        for (size_t i = 0; i < sizeof(random); i++)
            len += (size_t)snprintf(name + len, size - len, "%02x", random[i]);
    }
    /* The lock goes with the descriptor. */
    return step(dir, name, 0711, "/var/cache/fuss");
}

static int open_cache(char *path, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool own = cache && *cache == '/', shared = !own && !geteuid();
    const char *top = own ? cache : shared ? "/var/cache" : home;
    char *real, name[64] = "images";
    int dir;
    if (!top || *top != '/')
        image_fail("no place for the image's layers: set HOME or XDG_CACHE_HOME to a directory of "
                   "your own");
    if (own && mkdir(cache, 0700) && errno != EEXIST)
        image_fail("%s: %s; set XDG_CACHE_HOME to a directory of your own", top, strerror(errno));
    real = realpath(top, NULL);
    dir = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (dir < 0)
        image_fail("%s: %s; set XDG_CACHE_HOME to a directory of your own", top, strerror(errno));
    if (!own && !shared)
        dir = step(dir, ".cache", 0700, top);
    dir = step(dir, "fuss", shared ? 0711 : 0700, top);
    dir = shared ? secret_place(dir, name, sizeof(name)) : step(dir, name, 0700, top);
    if (snprintf(path, size, "%s%s/fuss/%s", real, own || shared ? "" : "/.cache", name) >=
        (int)size)
        image_fail("%s: %s", top, strerror(ENAMETOOLONG));
    free(real);
    return dir;
}

static bool is_there(int cache, const char *hex)
{
    struct stat st;
    return !fstatat(cache, hex, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);
}

static void unpack_one(const struct image *im, unsigned n, int cache, const char *hex)
{
    char lock_name[HEX + 8], part[HEX + 8];
    struct stat held, named;
    int lock, dir;
    snprintf(lock_name, sizeof(lock_name), "%s.lock", hex);
    snprintf(part, sizeof(part), "%s.part", hex);
    for (;;) {
        lock = place_open(cache, lock_name, O_RDWR | O_CREAT, 0600);
        if (lock < 0)
            image_fail("the cache of layers cannot be locked: %s", strerror(-lock));
        while (flock(lock, LOCK_EX)) {
            if (errno != EINTR)
                image_fail("the cache of layers cannot be locked: %s", strerror(errno));
            image_check_stop();
        }
        /* Its last holder takes it away. */
        if (!fstat(lock, &held) && !fstatat(cache, lock_name, &named, AT_SYMLINK_NOFOLLOW) &&
            held.st_ino == named.st_ino)
            break;
        close(lock);
    }
    image_made(cache, lock_name);
    if (!is_there(cache, hex)) {
        int err = place_remove(cache, part);
        if (err || mkdirat(cache, part, 0755))
            image_fail("a layer cannot be unpacked into the cache: %s",
                       strerror(err ? -err : errno));
        image_made(cache, part);
        dir = place_open(cache, part, O_RDONLY | O_DIRECTORY, 0);
        if (dir < 0)
            image_fail("a layer cannot be unpacked into the cache: %s", strerror(-dir));
        fremovexattr(dir, "system.posix_acl_default"); /* what the cache's directory hands on */
        image_progress(n + 1, im->nlayers);
        image_layer_unpack(im, n, dir, IMAGE_CHARDEV);
        image_progress(0, 0);
        /* A machine that stops now shall not leave a layer of empty files under the digest. */
        if (syncfs(dir) || renameat(cache, part, cache, hex))
            image_fail("a layer cannot be unpacked into the cache: %s", strerror(errno));
        close(dir);
    }
    image_keep();
    unlinkat(cache, lock_name, 0);
    close(lock);
}

void image_cached(const struct image *im, char *lower[IMAGE_LAYERS_MAX])
{
    char path[4096];
    mode_t mask = umask(0);
    int cache = open_cache(path, sizeof(path));
    image_signals(true);
    for (unsigned n = 0; n < im->nlayers; n++) {
        const char *hex = im->layer[n].diff_id + strlen("sha256:");
        if (!is_there(cache, hex))
            unpack_one(im, n, cache, hex);
        if (asprintf(&lower[im->nlayers - 1 - n], "%s/%s", path, hex) < 0)
            image_fail("out of memory");
    }
    image_signals(false);
    umask(mask);
    close(cache);
}

char *image_cached_file(char *const *lower, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++) {
        int dir = open(lower[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int fd = dir < 0 ? dir : place_open(dir, name, O_RDONLY | O_NONBLOCK, 0);
        struct stat st;
        char *text;
        ssize_t got;
        if (dir >= 0)
            close(dir);
        if (fd < 0)
            continue;
        if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > (off_t)IMAGE_JSON_MAX) {
            close(fd);
            return NULL;
        }
        text = malloc((size_t)st.st_size + 1);
        if (!text)
            image_fail("out of memory");
        got = read(fd, text, (size_t)st.st_size);
        close(fd);
        text[got > 0 ? got : 0] = 0;
        return text;
    }
    return NULL;
}
