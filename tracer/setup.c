#include "tracer/setup.h"
#include "base/sys.h"
#include "tracer/bindsetup.h"
#include "tracer/workdir.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The canonical path of an existing directory into buf; `what` names its role in messages. */
static void canonical_dir(const char *what, const char *said, char *buf)
{
    struct stat st;
    if (!realpath(said, buf))
        die(EXIT_FUSS, "%s: cannot use it as %s: %s; %s", said, what, strerror(errno),
            errno == ENOENT ? "create it, or correct the path" : "correct the path or its rights");
    if (stat(buf, &st) < 0)
        die(EXIT_FUSS, "%s: cannot use it as %s: %s; correct its rights", said, what,
            strerror(errno));
    if (!S_ISDIR(st.st_mode))
        die(EXIT_FUSS, "%s: cannot use it as %s: not a directory; name a directory", said, what);
}

static u32 keep(struct session *s, const char *text)
{
    u32 off = session_add_text(s, text);
    if (!off)
        die(EXIT_FUSS, "the paths of the layers are too long together; use fewer or shorter ones");
    return off;
}

static void set_layer(struct session *s, unsigned layer, const char *path)
{
    struct stat st;
    struct session_layer *l = &s->layer[layer];
    if (stat(path, &st) < 0)
        die(EXIT_FUSS, "%s: cannot look at it: %s; correct its rights", path, strerror(errno));
    l->path = keep(s, path);
    l->path_len = (u32)strlen(path);
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    l->in_use = true;
}

static void set_upper(struct session *s, const char *said)
{
    char path[PATH_MAX];
    struct stat st;
    if (stat(said, &st) < 0 && errno == ENOENT && mkdir(said, 0777) < 0)
        die(EXIT_FUSS, "%s: cannot make the upper directory: %s; create it, or correct the path",
            said, strerror(errno));
    canonical_dir("the upper directory", said, path);
    if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) < 0)
        die(EXIT_FUSS,
            "%s: cannot write to the upper directory: %s; take a directory that you may write, or "
            "leave --upperdir out for a read-only union",
            path, strerror(errno));
    set_layer(s, 0, path);
}

static void set_lower(struct session *s, const char *said)
{
    char path[PATH_MAX];
    canonical_dir("a lower layer", said, path);
    if (faccessat(AT_FDCWD, path, R_OK | X_OK, AT_EACCESS) < 0)
        die(EXIT_FUSS, "%s: cannot read the lower layer: %s; correct its rights, or leave it out",
            path, strerror(errno));
    set_layer(s, s->nlayers++, path);
}

/* The mountpoint need not exist: the part that does is made canonical, the rest cleaned up. */
static void set_mount(struct session *s, const char *said)
{
    char head[2 * PATH_MAX], tail[2 * PATH_MAX] = "", real[PATH_MAX], path[PATH_MAX];
    char joined[sizeof(real) + sizeof(tail) + 2];
    struct stat st;
    size_t len;
    if (said[0] == '/') {
        len = (size_t)snprintf(head, sizeof(head), "%s", said);
    } else {
        if (!getcwd(real, sizeof(real)))
            die(EXIT_FUSS, "%s: no current directory to start from: %s; use an absolute path", said,
                strerror(errno));
        len = (size_t)snprintf(head, sizeof(head), "%s/%s", real, said);
    }
    if (len >= PATH_MAX)
        die(EXIT_FUSS, "the mountpoint's path is too long: %zu bytes; use a shorter one", len);
    while (!realpath(head, real)) {
        char *slash = strrchr(head, '/');
        if (errno == EACCES || errno == ELOOP || !slash)
            die(EXIT_FUSS, "%s: cannot use it as the mountpoint: %s; take another", said,
                strerror(errno));
        memmove(tail + strlen(slash), tail, strlen(tail) + 1);
        memcpy(tail, slash, strlen(slash));
        if (slash == head)
            slash[1] = '\0';
        else
            slash[0] = '\0';
        if (strcmp(head, "/") == 0) {
            strcpy(real, "/");
            break;
        }
    }
    snprintf(joined, sizeof(joined), "%s/%s", real, tail);
    if (path_clean(path, sizeof(path), joined) < 0)
        die(EXIT_FUSS, "%s: the mountpoint's path is too long; use a shorter one", said);
    if ((stat(real, &st) == 0 && !S_ISDIR(st.st_mode)) ||
        (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)))
        die(EXIT_FUSS, "%s: the mountpoint is not a directory; take another", said);
    if (path_below(path, "/proc", NULL) || path_below(path, "/sys", NULL) ||
        strcmp(path, "/dev") == 0)
        die(EXIT_FUSS, "%s: belongs to the kernel and can be no union; take another mountpoint",
            said);
    s->mount = keep(s, path);
    s->mount_len = (u32)strlen(path);
}

static void add_mask(struct session *s, unsigned layer, const char *rel)
{
    if (s->nmasks == MASKS_MAX)
        die(EXIT_FUSS, "too many layers lie inside one another; untangle them");
    s->mask[s->nmasks].layer = layer;
    s->mask[s->nmasks++].path = keep(s, rel);
}

/* Two lowers, i above j. */
static void check_lowers(struct session *s, unsigned i, unsigned j)
{
    const char *a = session_layer_path(s, i), *b = session_layer_path(s, j), *rest;
    if (strcmp(a, b) == 0 ||
        (s->layer[i].dev == s->layer[j].dev && s->layer[i].ino == s->layer[j].ino))
        die(EXIT_FUSS, "%s: named twice as a lower layer; name it once", a);
    /* The whole system as a lower has everything inside; what is a layer itself is hidden there. */
    if (strcmp(a, "/") == 0 || strcmp(b, "/") == 0) {
        bool outer = strcmp(a, "/") == 0;
        add_mask(s, outer ? i : j, outer ? b + 1 : a + 1);
        return;
    }
    if (path_below(a, b, &rest) || path_below(b, a, &rest)) {
        bool inner = path_below(a, b, NULL);
        die(EXIT_FUSS, "%s: lies inside the lower layer %s; move it out, or leave one of them out",
            inner ? a : b, inner ? b : a);
    }
}

/* The upper, or a work directory of its own, against every lower. */
static void check_private(struct session *s, const char *what, const char *path)
{
    const char *rest;
    for (unsigned i = 1; i < s->nlayers; i++) {
        const char *low = session_layer_path(s, i);
        if (strcmp(path, low) == 0)
            die(EXIT_FUSS, "%s: is both %s and a lower layer; take different directories", path,
                what);
        if (path_below(low, path, NULL))
            die(EXIT_FUSS, "%s: the lower layer lies inside %s %s; move one of them out", low, what,
                path);
        if (path_below(path, low, &rest))
            add_mask(s, i, rest);
    }
}

static void set_work(struct session *s, const struct options *o)
{
    const char *upper = session_layer_path(s, 0), *parent = upper, *rest;
    char path[PATH_MAX];
    struct stat st;
    if (o->workdir) {
        if (stat(o->workdir, &st) < 0 && errno == ENOENT && mkdir(o->workdir, 0700) < 0)
            die(EXIT_FUSS, "%s: cannot make the work directory: %s; create it, or correct the path",
                o->workdir, strerror(errno));
        canonical_dir("the work directory", o->workdir, path);
        if (strcmp(path, upper) != 0)
            check_private(s, "the work directory", path);
        if (path_below(path, upper, &rest) && rest[0])
            add_mask(s, 0, rest);
        if (strcmp(path, upper) != 0 && path_below(upper, path, NULL))
            die(EXIT_FUSS, "%s: the upper lies inside the work directory; take another --workdir",
                path);
        parent = path;
    }
    workdir_lock(upper);
    const char *work = workdir_make(parent, upper);
    workdir_probe(s, upper);
    s->work = keep(s, work);
}

void setup_check_kernel(void)
{
    static const struct {
        long nr;
        const char *name;
    } calls[] = {{SYS_openat2, "openat2"},
                 {438 /* pidfd_getfd */, "pidfd_getfd"},
                 {439 /* faccessat2 */, "faccessat2"}};
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        if (syscall(calls[i].nr, -1, NULL, NULL, 0, 0, 0) < 0 && errno == ENOSYS)
            die(EXIT_FUSS,
                "the kernel has no %s: too old, or a container's seccomp profile hides it; use "
                "Linux 5.11 or newer, or another profile",
                calls[i].name);
    }
}

/* Does the program begin with a descriptor that writes into a lower? Its data is the user's own
 * doing, but its attributes stay guarded. */
static bool holds_lower(const struct session *s)
{
    char path[PATH_MAX], link[32];
    struct dirent *e;
    bool held = false;
    DIR *d = opendir("/proc/self/fd");
    while (d && !held && (e = readdir(d))) {
        const char *rest;
        int flags = fcntl(atoi(e->d_name), F_GETFL);
        if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
            continue;
        snprintf(link, sizeof(link), "/proc/self/fd/%.10s", e->d_name);
        ssize_t n = readlink(link, path, sizeof(path) - 1);
        if (n > 0 && path[0] == '/') {
            path[n] = '\0';
            held = session_layer_of(s, path, &rest) > 0;
        }
    }
    if (d)
        closedir(d);
    return held || !d;
}

void setup_session(struct session *s, const struct options *o)
{
    session_init(s);
    s->style = o->style;
    s->read_only = !o->upperdir;
    s->read_wh = o->read_wh;
    s->guard = o->guard;
    s->uid = geteuid();
    s->gid = getegid();
    s->fake = o->fake;
    s->fake_uid = o->fake_uid;
    s->fake_gid = o->fake_gid;
    set_mount(s, o->mountpoint);
    for (unsigned i = 0; i < o->nlowers; i++)
        set_lower(s, o->lowerdir[i]);
    for (unsigned i = 1; i < s->nlayers; i++) {
        for (unsigned j = i + 1; j < s->nlayers; j++)
            check_lowers(s, i, j);
    }
    s->holds_lower = holds_lower(s);
    if (o->upperdir) {
        set_upper(s, o->upperdir);
        check_private(s, "the upper directory", session_layer_path(s, 0));
    }
    binds_read(s, o);
    if (o->upperdir)
        set_work(s, o);
    if (binds_settle(s)) {
        setup_cleanup();
        exit(EXIT_USAGE);
    }
}

void setup_own_lock(void)
{
    workdir_own_lock();
}

void setup_cleanup(void)
{
    workdir_remove();
}
