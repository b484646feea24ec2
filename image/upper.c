/* An upper directory as a layer of an image. Below each directory come its markers, then its names
 * in the order of their bytes, so that the same upper gives the same layer. */
#include "image/upper.h"
#include "image/marks.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { CHUNK = 1 << 16 };

struct upper_link {
    dev_t dev;
    ino_t ino;
    char name[];
};

static _Noreturn void wrong(const char *path, const char *why)
{
    image_fail("%.300s in the upper: %s", *path ? path : ".", why);
}

static void need(long err, const char *path)
{
    if (err < 0)
        wrong(path, strerror((int)-err));
}

static char *join(const char *dir, const char *name)
{
    char *path;
    if (asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", name) < 0)
        image_fail("out of memory");
    return path;
}

/* ---- the names of one directory ---- */
enum kind { PLAIN, HIDDEN, OPAQUE_DIR, MARKER }; /* HIDDEN: a whiteout in the place of the name */

struct name {
    char *text;
    enum kind kind;
};

struct names {
    struct name *name;
    size_t n, size;
};

static void add_name(struct names *l, const char *text)
{
    if (l->n == l->size) {
        l->size = l->size ? 2 * l->size : 64;
        l->name = realloc(l->name, l->size * sizeof(*l->name));
    }
    if (!l->name || !(l->name[l->n].text = strdup(text)))
        image_fail("out of memory");
    l->name[l->n++].kind = PLAIN;
}

static void free_names(struct names *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->name[i].text);
    free(l->name);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static void sort_names(struct names *l)
{
    if (l->n)
        qsort(l->name, l->n, sizeof(*l->name), by_bytes);
}

static struct name *find_name(const struct names *l, char *text)
{
    struct name key = {.text = text};
    return l->n ? bsearch(&key, l->name, l->n, sizeof(*l->name), by_bytes) : NULL;
}

/* Opens for reading what is the user's own even where its mode says no. */
static int open_closed(const struct upper *u, const char *path, int flags, const struct stat *st)
{
    char link[64];
    int fd = place_open(u->root, path, O_RDONLY | O_NONBLOCK | O_NOATIME | flags, 0), at;
    if (fd == -EPERM) /* not the owner's */
        fd = place_open(u->root, path, O_RDONLY | O_NONBLOCK | flags, 0);
    if (fd != -EACCES || st->st_uid != geteuid())
        return fd;
    at = place_open(u->root, path, O_PATH | O_NOFOLLOW, 0);
    if (at < 0)
        return at;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
    if (!chmod(link, (st->st_mode & 07777) | 0700)) {
        fd = place_open(u->root, path, O_RDONLY | O_NONBLOCK | flags, 0);
        chmod(link, st->st_mode & 07777);
    }
    close(at);
    return fd;
}

static void read_names(const struct upper *u, const char *path, const struct stat *st,
                       struct names *l)
{
    const struct dirent *e;
    int fd = open_closed(u, path, O_DIRECTORY, st);
    DIR *d;
    need(fd, path);
    d = fdopendir(fd);
    if (!d)
        wrong(path, strerror(errno));
    while (errno = 0, (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            add_name(l, e->d_name);
    if (errno)
        need(-errno, path);
    closedir(d);
    sort_names(l);
}

/* ---- files of several names ---- */
static size_t link_slot(const struct upper *u, dev_t dev, ino_t ino)
{
    size_t i = (size_t)((ino ^ dev << 9) * 0x9e3779b97f4a7c15u >> 20) & (u->links_size - 1);
    while (u->links[i] && (u->links[i]->ino != ino || u->links[i]->dev != dev))
        i = (i + 1) & (u->links_size - 1);
    return i;
}

static void grow_links(struct upper *u)
{
    struct upper_link **old = u->links;
    size_t size = u->links_size;
    u->links_size = size ? 2 * size : 256;
    u->links = calloc(u->links_size, sizeof(struct upper_link *));
    if (!u->links)
        image_fail("out of memory");
    for (size_t i = 0; i < size; i++)
        if (old[i])
            u->links[link_slot(u, old[i]->dev, old[i]->ino)] = old[i];
    free(old);
}

/* The name under which the file is in the layer already; NULL = it will be under this one. */
static const char *known_link(struct upper *u, const struct stat *st, const char *name)
{
    size_t i;
    if (2 * u->nlinks >= u->links_size)
        grow_links(u);
    i = link_slot(u, st->st_dev, st->st_ino);
    if (u->links[i])
        return u->links[i]->name;
    size_t len = strlen(name) + 1;
    u->links[i] = malloc(sizeof(struct upper_link) + len);
    if (!u->links[i])
        image_fail("out of memory");
    u->links[i]->dev = st->st_dev;
    u->links[i]->ino = st->st_ino;
    memcpy(u->links[i]->name, name, len);
    u->nlinks++;
    return NULL;
}

/* ---- one object ---- */
struct object {
    const char *path;
    struct stat st;
    struct marks marks;
    struct upper_override as; /* what it stands for */
};

static void look(const struct upper *u, const char *path, struct object *o)
{
    char link[64];
    int fd = place_open(u->root, path, O_PATH | O_NOFOLLOW, 0);
    memset(o, 0, sizeof(*o));
    o->path = path;
    need(fd, path);
    if (fstat(fd, &o->st))
        need(-errno, path);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    int err = marks_read(link, &o->marks);
    if (err == -EACCES && o->st.st_uid == geteuid() && !S_ISLNK(o->st.st_mode)) {
        marks_free(&o->marks);
        if (!chmod(link, (o->st.st_mode & 07777) | 0400)) {
            err = marks_read(link, &o->marks);
            chmod(link, o->st.st_mode & 07777);
        }
    }
    need(err, path);
    close(fd);
    if (o->marks.redirect || o->marks.metacopy)
        wrong(path,
              "it has a redirect or metacopy mark, which a layer cannot say; mount the layers "
              "without these features");
    o->as = (struct upper_override){o->st.st_uid, o->st.st_gid, major(o->st.st_rdev),
                                    minor(o->st.st_rdev), o->st.st_mode};
    if (o->marks.override) {
        if (!upper_override(o->marks.override, &o->as))
            wrong(path, "its override_stat cannot be read");
        if (!(o->as.mode & S_IFMT))
            o->as.mode |= o->st.st_mode & S_IFMT;
    } else if (u->mapped) {
        if (o->as.uid == geteuid())
            o->as.uid = u->uid;
        if (o->as.gid == getegid())
            o->as.gid = u->gid;
    }
}

static bool is_whiteout(const struct object *o)
{
    if (S_ISCHR(o->st.st_mode))
        return !o->st.st_rdev;
    return S_ISREG(o->st.st_mode) && !o->st.st_size && o->marks.whiteout;
}

static bool in_lowers(const struct upper *u, const char *path)
{
    for (unsigned i = 0; i < u->nlowers; i++) {
        int fd = place_open(u->lower[i], path, O_PATH | O_NOFOLLOW, 0);
        if (fd >= 0)
            close(fd);
        if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
            return true;
    }
    return !u->nlowers;
}

static void write_marker(const struct upper *u, const char *dir, const char *name,
                         const struct stat *st)
{
    char *path = join(dir, name);
    struct tar_entry e = {
        .type = '0', .mode = 0644, .mtime = {st->st_mtim.tv_sec, 0}, .name = path};
    tar_header(u->to, &e);
    free(path);
}

static void write_data(const struct upper *u, const struct object *o, int fd)
{
    static char buffer[CHUNK];
    struct stat after;
    uint64_t left = (uint64_t)o->st.st_size;
    while (left) {
        ssize_t n = read(fd, buffer, left < CHUNK ? (size_t)left : CHUNK);
        image_check_stop();
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            need(-errno, o->path);
        if (!n)
            break;
        u->to->put(u->to->ctx, buffer, (size_t)n);
        left -= (uint64_t)n;
    }
    if (fstat(fd, &after))
        need(-errno, o->path);
    if (left || after.st_size != o->st.st_size || after.st_mtim.tv_sec != o->st.st_mtim.tv_sec ||
        after.st_mtim.tv_nsec != o->st.st_mtim.tv_nsec)
        wrong(o->path, "it was changed while it was read");
    tar_fill(u->to, (uint64_t)o->st.st_size);
}

/* The target of a symlink, or of a file that stands for one. */
static void read_target(const struct upper *u, const struct object *o, char target[PATH_MAX])
{
    int fd =
        place_open(u->root, o->path, S_ISLNK(o->st.st_mode) ? O_PATH | O_NOFOLLOW : O_RDONLY, 0);
    ssize_t n;
    need(fd, o->path);
    n = S_ISLNK(o->st.st_mode) ? readlinkat(fd, "", target, PATH_MAX - 1)
                               : read(fd, target, PATH_MAX - 1);
    if (n < 0)
        need(-errno, o->path);
    if (!n || memchr(target, 0, (size_t)n))
        wrong(o->path, "it is a symlink to nothing");
    target[n] = 0;
    close(fd);
}

static char type_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return '0';
    case S_IFLNK:
        return '2';
    case S_IFCHR:
        return '3';
    case S_IFBLK:
        return '4';
    case S_IFDIR:
        return '5';
    case S_IFIFO:
        return '6';
    default:
        return 0;
    }
}

static void note_time(struct upper *u, const struct timespec *t)
{
    if (t->tv_sec > u->newest.tv_sec)
        u->newest = *t;
}

static void write_object(struct upper *u, const struct object *o)
{
    char target[PATH_MAX];
    struct tar_entry e = {.type = type_of(o->as.mode),
                          .mode = o->as.mode & 07777,
                          .uid = o->as.uid,
                          .gid = o->as.gid,
                          .mtime = o->st.st_mtim,
                          .pax = &o->marks.pax};
    char *name = NULL;
    int fd = -1;
    if (!e.type) {
        u->sockets++;
        return;
    }
    if (S_ISDIR(o->st.st_mode) != (e.type == '5'))
        wrong(o->path, "its override_stat says another kind than can be");
    if (e.type == '0' && !S_ISREG(o->st.st_mode))
        wrong(o->path, "its override_stat makes a file of what has no data");
    if (e.type == '3' && !o->as.major && !o->as.minor)
        wrong(o->path, "it stands for the device 0/0, which no layer can have");
    note_time(u, &o->st.st_mtim);
    if (e.type == '5' && asprintf(&name, "%s/", *o->path ? o->path : ".") < 0)
        image_fail("out of memory");
    e.name = name ? name : o->path;
    if (e.type != '5' && o->st.st_nlink > 1 && (e.link = known_link(u, &o->st, o->path))) {
        e.type = '1';
        e.pax = NULL;
    } else if (e.type == '2') {
        read_target(u, o, target);
        e.link = target;
        e.mode = 0777;
    } else if (e.type == '0') {
        e.size = (uint64_t)o->st.st_size;
        fd = open_closed(u, o->path, 0, &o->st);
        need(fd, o->path);
    }
    if (e.type == '3' || e.type == '4') {
        e.major = o->as.major;
        e.minor = o->as.minor;
    }
    tar_header(u->to, &e);
    if (fd >= 0) {
        write_data(u, o, fd);
        close(fd);
    }
    free(name);
}

/* ---- directories ---- */
static bool starts(const char *s, const char *head)
{
    return !strncmp(s, head, strlen(head));
}

/* Which names are whiteouts, in either style; true: the directory has the name that makes it
 * opaque. ".wh.NAME" beside NAME hides the lowers' only. */
static bool find_markers(const struct upper *u, const char *dir, struct names *l,
                         struct names *hidden)
{
    bool opaque = false;
    for (size_t i = 0; i < l->n; i++) {
        char *name = l->name[i].text, *path = join(dir, name);
        struct object o;
        look(u, path, &o);
        if (starts(name, WH)) {
            struct name *other = find_name(l, name + strlen(WH));
            l->name[i].kind = MARKER;
            opaque |= !strcmp(name, OPAQUE);
            /* The others of that kind are aufs' own; the work directory is no part of the layer. */
            if (!starts(name, WH WH) && (*dir || strcmp(name, WORK) != 0)) {
                if (!S_ISREG(o.st.st_mode) || o.st.st_size || !name[strlen(WH)])
                    wrong(path, "a layer has only whiteouts of names that begin with .wh.");
                if (!other)
                    add_name(hidden, name + strlen(WH));
                else if (other->kind == PLAIN)
                    other->kind = OPAQUE_DIR;
            }
        } else if (is_whiteout(&o)) {
            l->name[i].kind = HIDDEN;
            add_name(hidden, name);
        }
        marks_free(&o.marks);
        free(path);
    }
    sort_names(hidden);
    return opaque;
}

static void write_hidden(const struct upper *u, const struct object *dir,
                         const struct names *hidden)
{
    for (size_t i = 0; i < hidden->n; i++) {
        const char *name = hidden->name[i].text;
        char *path = join(dir->path, name), marker[NAME_MAX + 1];
        if (in_lowers(u, path)) {
            if (snprintf(marker, sizeof(marker), WH "%s", name) >= (int)sizeof(marker))
                wrong(path, "its name is too long for a whiteout in a layer");
            write_marker(u, dir->path, marker, &dir->st);
        }
        free(path);
    }
}

/* A directory with all below it, or one object. `opaque`: it hides the lowers' of its name. */
static void write_tree(struct upper *u, const char *path, bool opaque)
{
    struct names l = {0}, hidden = {0};
    struct object o;
    image_check_stop();
    look(u, path, &o);
    write_object(u, &o);
    if (!S_ISDIR(o.st.st_mode)) {
        marks_free(&o.marks);
        return;
    }
    read_names(u, path, &o.st, &l);
    opaque |= find_markers(u, path, &l, &hidden);
    opaque |= o.marks.opaque;
    marks_free(&o.marks);
    if (opaque && in_lowers(u, path))
        write_marker(u, path, OPAQUE, &o.st);
    write_hidden(u, &o, &hidden);
    free_names(&hidden);
    for (size_t i = 0; i < l.n; i++) {
        if (l.name[i].kind == PLAIN || l.name[i].kind == OPAQUE_DIR) {
            char *below = join(path, l.name[i].text);
            write_tree(u, below, l.name[i].kind == OPAQUE_DIR);
            free(below);
        }
    }
    free_names(&l);
}

void upper_write(struct upper *u)
{
    write_tree(u, "", false);
    for (size_t i = 0; i < u->links_size; i++)
        free(u->links[i]);
    free(u->links);
    u->links = NULL;
    u->nlinks = u->links_size = 0;
}
