/* Random layers, read by the engine and by a real kernel overlay mount of the same directories.
 * Each layer exists twice: "k" with the kernel's marks, "w" with .wh. files in their place. Header
 * only: every unit program is one translation unit. Runs as root. */
#ifndef FUSS_TEST_TWIN_H
#define FUSS_TEST_TWIN_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include "base/sys.h"
#include "overlay/index.h"
#include "overlay/overlay.h"

#define TWIN_LOWERS 3
#define TWIN_DEPTH  3
#define TWIN_PATH   (PATH_MAX + 128)

struct twin {
    char dir[64];
    int lowers;
    bool read_only;
    u64 random;
    struct session *s;
    struct overlay *o;
};

static inline unsigned twin_random(struct twin *t, unsigned n)
{
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(t->random >> 33) % n;
}

static inline void must(long r, const char *what)
{
    if (r < 0)
        fail_msg("%s: %s", what, strerror(errno));
}

static inline void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    must(fd, path);
    must(write(fd, text, strlen(text)), path);
    close(fd);
}

/* The same path in both twins of a layer. */
struct both {
    char k[TWIN_PATH], w[TWIN_PATH];
};

static inline struct both twin_path(const struct twin *t, int layer, const char *rel)
{
    struct both b;
    snprintf(b.k, sizeof(b.k), "%s/k/%d/%s", t->dir, layer, rel);
    snprintf(b.w, sizeof(b.w), "%s/w/%d/%s", t->dir, layer, rel);
    return b;
}

/* The marker file ".wh.NAME" for a path in the second twin. */
static inline void put_wh(const char *path)
{
    char wh[TWIN_PATH + 8];
    const char *name = strrchr(path, '/') + 1;
    snprintf(wh, sizeof(wh), "%.*s.wh.%s", (int)(name - path), path, name);
    put_file(wh, "");
}

static inline void twin_whiteout(const struct twin *t, int layer, const char *rel)
{
    struct both b = twin_path(t, layer, rel);
    must(mknod(b.k, S_IFCHR, 0), b.k);
    put_wh(b.w);
}

static inline void twin_dir(const struct twin *t, int layer, const char *rel, bool opaque,
                            bool beside)
{
    char name[TWIN_PATH + 16];
    struct both b = twin_path(t, layer, rel);
    must(mkdir(b.k, 0755), b.k);
    must(mkdir(b.w, 0755), b.w);
    if (!opaque)
        return;
    must(setxattr(b.k, "trusted.overlay.opaque", "y", 1, 0), b.k);
    snprintf(name, sizeof(name), "%s/%s", b.w, OPAQUE_NAME);
    if (beside)
        put_wh(b.w);
    else
        put_file(name, "");
}

static inline void twin_object(struct twin *t, int layer, const char *rel)
{
    static const char *const targets[] = {"a", "b", "../c", "a/b", "nowhere", "/tmp"};
    struct both b = twin_path(t, layer, rel);
    char text[PATH_MAX + 16];
    unsigned kind = twin_random(t, 8);
    if (kind == 0) {
        const char *target = targets[twin_random(t, ARRAY_LEN(targets))];
        must(symlink(target, b.k), b.k);
        must(symlink(target, b.w), b.w);
    } else if (kind == 1) {
        must(mkfifo(b.k, 0640), b.k);
        must(mkfifo(b.w, 0640), b.w);
    } else {
        snprintf(text, sizeof(text), "%d %s", layer, rel);
        put_file(b.k, kind == 2 ? "" : text);
        put_file(b.w, kind == 2 ? "" : text);
        if (kind == 3) { /* a marker beside it hides nothing of this layer */
            put_wh(b.w);
        }
    }
}

static inline void twin_fill(struct twin *t, int layer, const char *dir, int depth)
{
    for (char c = 'a'; c <= 'c'; c++) {
        char rel[PATH_MAX] = "";
        size_t len = 0;
        path_push(rel, sizeof(rel), &len, dir, strlen(dir));
        path_push(rel, sizeof(rel), &len, &c, 1);
        unsigned kind = twin_random(t, 10);
        if (kind < 2 || (kind < 5 && depth == 1))
            continue;
        if (kind < 7 && depth > 1) {
            twin_dir(t, layer, rel, twin_random(t, 5) == 0, twin_random(t, 2));
            twin_fill(t, layer, rel, depth - 1);
        } else if (kind == 7) {
            twin_whiteout(t, layer, rel);
        } else {
            twin_object(t, layer, rel);
        }
    }
}

/* Layers full of random things; layer 0 is the upper. The kernel's mount of them is at dir/mnt. */
static inline void twin_make(struct twin *t, u64 seed, int lowers, bool read_only)
{
    memset(t, 0, sizeof(*t));
    t->random = seed * 7919 + 17;
    t->lowers = lowers;
    t->read_only = read_only;
    umask(022);
    strcpy(t->dir, "/tmp/fuss-twin.XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    for (const char *const *p = (const char *const[]){"k", "w", "mnt", "work", "kwork", NULL}; *p;
         p++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", t->dir, *p);
        must(mkdir(path, 0755), path);
    }
    for (int i = read_only ? 1 : 0; i <= lowers; i++) {
        struct both b = twin_path(t, i, "");
        must(mkdir(b.k, 0755), b.k);
        must(mkdir(b.w, 0755), b.w);
    }
}

static inline void twin_fill_all(struct twin *t)
{
    for (int i = t->read_only ? 1 : 0; i <= t->lowers; i++)
        twin_fill(t, i, "", TWIN_DEPTH);
}

static inline void twin_mount(struct twin *t)
{
    char options[1024], mnt[128];
    int n = snprintf(options, sizeof(options), "lowerdir=");
    for (int i = 1; i <= t->lowers; i++)
        n += snprintf(options + n, sizeof(options) - (size_t)n, "%s%s/k/%d", i > 1 ? ":" : "",
                      t->dir, i);
    /* one lower alone is no overlay for the kernel: an empty one below it changes nothing */
    if (t->read_only && t->lowers == 1)
        n += snprintf(options + n, sizeof(options) - (size_t)n, ":%s/kwork", t->dir);
    if (!t->read_only)
        snprintf(options + n, sizeof(options) - (size_t)n, ",upperdir=%s/k/0,workdir=%s/kwork",
                 t->dir, t->dir);
    snprintf(mnt, sizeof(mnt), "%s/mnt", t->dir);
    if (mount("overlay", mnt, "overlay", 0, options) < 0)
        fail_msg("mount %s: %s", options, strerror(errno));
}

/* The engine over one of the twins. */
static inline void twin_start(struct twin *t, const char *set, enum marker_style style)
{
    char path[256];
    int bad = -1;
    t->s = calloc(1, sizeof(*t->s));
    t->o = calloc(1, sizeof(*t->o));
    assert_true(t->s && t->o);
    struct session *s = t->s;
    session_init(s);
    s->style = style;
    s->read_only = t->read_only;
    s->trusted = true;
    s->nlayers = (u32)t->lowers + 1;
    snprintf(path, sizeof(path), "%s/mnt", t->dir);
    s->mount = session_add_text(s, path);
    s->mount_len = (u32)strlen(path);
    for (int i = t->read_only ? 1 : 0; i <= t->lowers; i++) {
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s/%d", t->dir, set, i);
        must(stat(path, &st), path);
        s->layer[i] = (struct session_layer){.path = session_add_text(s, path),
                                             .path_len = (u32)strlen(path),
                                             .dev = st.st_dev,
                                             .ino = st.st_ino,
                                             .in_use = true};
    }
    snprintf(path, sizeof(path), "%s/work", t->dir);
    if (!t->read_only)
        s->work = session_add_text(s, path);
    int r = overlay_init(t->o, s, &bad);
    if (r < 0)
        fail_msg("overlay_init: %d, layer %d", r, bad);
}

static inline void twin_stop(struct twin *t)
{
    overlay_fini(t->o);
    free(t->o);
    free(t->s);
    t->o = NULL;
}

static inline void twin_done(struct twin *t)
{
    char text[256];
    snprintf(text, sizeof(text), "%s/mnt", t->dir);
    umount2(text, MNT_DETACH);
    snprintf(text, sizeof(text), "rm -rf %s", t->dir);
    must(system(text), text);
}

/* The kernel's word on a path without symlinks on the way: 0 with its stat, or -errno. */
static inline int kernel_stat(const struct twin *t, const char *rel, struct stat *st)
{
    char mnt[128];
    struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_NO_SYMLINKS};
    snprintf(mnt, sizeof(mnt), "%s/mnt", t->dir);
    int dir = open(mnt, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(dir, mnt);
    long fd = syscall(SYS_openat2, dir, *rel ? rel : ".", &how, sizeof(how));
    int r = fd < 0 ? -errno : fstat((int)fd, st);
    if (fd >= 0)
        close((int)fd);
    close(dir);
    return r;
}

/* Ours, name by name: 0 with the node (absent: -ENOENT), or -errno as the kernel says it. */
static inline int slow_lookup(struct overlay *o, const char *rel, struct vnode *out)
{
    const char *name;
    size_t n;
    int r = overlay_root(&o->vfs, out);
    while (r == 0 && (n = path_next(&rel, &name)) != 0) {
        if (!vnode_exists(out))
            return -ENOENT;
        if (!vnode_is_dir(out))
            return vnode_is_link(out) ? -ELOOP : -ENOTDIR;
        r = overlay_lookup(&o->vfs, out, name, n, out);
    }
    return r < 0 ? r : vnode_exists(out) ? 0 : -ENOENT;
}

/* Every path of the universe of names, parents first. Calls see(). */
static inline void each_path(struct twin *t, void (*see)(struct twin *, const char *))
{
    char rel[64];
    see(t, "");
    for (int depth = 1; depth <= TWIN_DEPTH; depth++) {
        int count = depth == 1 ? 3 : depth == 2 ? 9 : 27;
        for (int i = 0; i < count; i++) {
            int v = i;
            for (int d = depth - 1; d >= 0; d--, v /= 3) {
                rel[2 * d] = (char)('a' + v % 3);
                rel[2 * d + 1] = d == depth - 1 ? '\0' : '/';
            }
            see(t, rel);
        }
    }
}

/* Reads what an engine's node shows. */
static inline void node_text(struct overlay *o, const struct vnode *n, char *buf, size_t cap)
{
    buf[0] = '\0';
    if (vnode_is_link(n)) {
        long len = overlay_readlink(&o->vfs, n, buf, cap - 1);
        assert_true(len >= 0);
        buf[len] = '\0';
    } else if (S_ISREG(n->st.st_mode)) {
        char path[SYS_FD_PATH];
        int fd = overlay_grab(&o->vfs, n);
        assert_true(fd >= 0);
        int in = open(sys_fd_path(path, fd), O_RDONLY | O_CLOEXEC);
        must(in, path);
        ssize_t len = read(in, buf, cap - 1);
        assert_true(len >= 0);
        buf[len] = '\0';
        close(in);
        close(fd);
    }
}

#endif
