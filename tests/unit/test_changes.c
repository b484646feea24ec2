/* While the upper changes under a long-lived engine: its index never remembers what is no more, its
 * identities stay, what is open is found again. After each of many random changes every path is
 * looked up by the engine that made them and by one that was just started. */
#include "twin.h"
#include <linux/fs.h>
#include "vfs/walk.h"

#define PATHS   40 /* "" and three names on three levels */
#define HANDLES 12
#define ROUNDS  120

struct handle {
    int fd; /* -1: free */
    bool gone, file_moved;
    char path[16];
};

struct seen {
    bool there, dir;
    struct stat st; /* identity as shown */
};

static struct test {
    struct twin t;
    struct overlay *fresh;
    char path[PATHS][16];
    int paths;
    struct seen now[PATHS], before[PATHS];
    struct handle handle[HANDLES];
    struct view view;
    struct base_memo memo;
    struct place place;
    char story[2000];
} x;

static struct caller the_caller;
static struct cred root_cred;

static const struct cred *give_cred(struct caller *who UNUSED)
{
    return &root_cred;
}
static void do_nothing(struct caller *who UNUSED) {}
static long own_fd_link(struct caller *who UNUSED, int fd, char *buf, size_t cap)
{
    char path[SYS_FD_PATH];
    ssize_t n = readlink(sys_fd_path(path, fd), buf, cap - 1);
    if (n < 0)
        return -EBADF;
    buf[n] = '\0';
    return n;
}
static int own_fd_stat(struct caller *who UNUSED, int fd, struct stat *st)
{
    return fstat(fd, st) < 0 ? -errno : 0;
}

static void collect(struct twin *t UNUSED, const char *rel)
{
    str_copy(x.path[x.paths++], sizeof(x.path[0]), rel);
}

#define WRONG(...)                                                                                 \
    do {                                                                                           \
        print_error("%s\n", x.story);                                                              \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

static void tell(const char *format, ...)
{
    size_t n = strlen(x.story);
    va_list ap;
    if (n > sizeof(x.story) - 200) {
        memmove(x.story, x.story + 1000, n - 1000 + 1);
        n -= 1000;
    }
    va_start(ap, format);
    vsnprintf(x.story + n, sizeof(x.story) - n, format, ap);
    va_end(ap);
}

static int descend(struct overlay *o, const char *rel, struct vnode *out)
{
    int r = overlay_descend(&o->vfs, rel, strlen(rel), out);
    return r ? r : vnode_exists(out) ? 0 : -ENOENT;
}

static void same_node(const char *rel, const char *how, int r, const struct vnode *n, int want,
                      const struct vnode *f)
{
    if (r != want)
        WRONG("%s (%s): %d, the fresh engine's %d", rel, how, r, want);
    if (r == -ENOENT && n->whiteout != f->whiteout)
        WRONG("%s (%s): whiteout %d", rel, how, n->whiteout);
    if (r == 0 && (n->top != f->top || n->layers != f->layers || !dev_ino_equal(&n->st, &f->st)))
        WRONG("%s (%s): top %u, layers %x, the fresh engine's %u, %x", rel, how, n->top,
              (unsigned)n->layers, f->top, (unsigned)f->layers);
}

/* stat, fstat and the listing of its directory agree on the object. */
static void same_identity(const char *rel, const struct vnode *n, struct seen *s)
{
    struct overlay *o = x.t.o;
    struct stat st;
    struct vnode up;
    assert_int_equal(overlay_getattr(&o->vfs, n, &s->st), 0);
    s->there = true;
    s->dir = vnode_is_dir(n);
    int fd = overlay_grab(&o->vfs, n);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(overlay_identify(&o->vfs, fd, &st), 0);
    close(fd);
    if (!dev_ino_equal(&st, &s->st) || st.st_nlink != s->st.st_nlink)
        WRONG("%s: fstat %lu, %lu links, stat %lu, %lu links", rel, st.st_ino, st.st_nlink,
              s->st.st_ino, s->st.st_nlink);
    if (!*rel)
        return;
    struct listing l = {0};
    assert_int_equal(overlay_parent(o, n, &up), 0);
    assert_int_equal(overlay_list(&o->vfs, &up, &l), 0);
    bool found = false;
    for (u32 i = 0; i < l.count; i++) {
        const struct listing_entry *e = listing_at(&l, i);
        if (strcmp(e->name, path_last(rel, strlen(rel))))
            continue;
        found = true;
        if (e->ino != s->st.st_ino || e->type != (s->st.st_mode & S_IFMT) >> 12)
            WRONG("%s: listed as %lu type %u, stat %lu", rel, e->ino, e->type, s->st.st_ino);
    }
    if (!found)
        WRONG("%s: not listed", rel);
    listing_free(&l);
}

static void look_everywhere(void)
{
    struct vnode n, f;
    int bad;
    assert_int_equal(overlay_init(x.fresh, x.t.s, &bad), 0);
    memcpy(x.before, x.now, sizeof(x.now));
    memset(x.now, 0, sizeof(x.now));
    for (int i = 0; i < x.paths; i++) {
        const char *rel = x.path[i];
        int want = slow_lookup(x.fresh, rel, &f);
        if (want == -ENOTDIR || want == -ELOOP)
            want = -EAGAIN;
        bool no_parent = want == -ENOENT && strcmp(f.path, rel) != 0;
        for (int again = 0; again < 2; again++) {
            int r = descend(x.t.o, rel, &n);
            same_node(rel, "descended", r, &n, no_parent ? -EAGAIN : want, &f);
        }
        int r = slow_lookup(x.t.o, rel, &n);
        same_node(rel, "walked", r == -ENOTDIR || r == -ELOOP ? -EAGAIN : r, &n, want, &f);
        if (want == 0)
            same_identity(rel, &n, &x.now[i]);
        /* what a later session sees without this one's memory: files and directories carry it */
        struct stat later;
        if (want == 0 && (S_ISREG(f.st.st_mode) || S_ISDIR(f.st.st_mode))) {
            assert_int_equal(overlay_getattr(&x.fresh->vfs, &f, &later), 0);
            if (!dev_ino_equal(&later, &x.now[i].st))
                WRONG("%s: %lu, a later session's %lu", rel, x.now[i].st.st_ino, later.st_ino);
        }
    }
    overlay_fini(x.fresh);
    /* nothing shows the identity of another object */
    for (int i = 0; i < x.paths; i++) {
        for (int k = 0; k < i; k++) {
            if (x.now[i].there && x.now[k].there && dev_ino_equal(&x.now[i].st, &x.now[k].st) &&
                (x.now[i].dir || x.now[i].st.st_nlink == 1))
                WRONG("%s and %s: both %lu", x.path[i], x.path[k], x.now[i].st.st_ino);
        }
    }
}

static int index_of(const char *rel)
{
    for (int i = 0; i < x.paths; i++) {
        if (!strcmp(x.path[i], rel))
            return i;
    }
    return -1;
}

/* Where `rel` was before `from` and `to` changed places (or `from` took the place of `to`). */
static void former(const char *rel, const char *from, const char *to, bool exchange, char *out,
                   size_t cap)
{
    const char *rest;
    str_copy(out, cap, rel);
    if (path_below(rel, to, &rest))
        snprintf(out, cap, "%s%s%s", from, *rest ? "/" : "", rest);
    else if (exchange && path_below(rel, from, &rest))
        snprintf(out, cap, "%s%s%s", to, *rest ? "/" : "", rest);
}

static void identities_stay(const char *from, const char *to, bool exchange, const char *fresh)
{
    for (int i = 0; i < x.paths; i++) {
        char was[32];
        str_copy(was, sizeof(was), x.path[i]);
        if (from)
            former(x.path[i], from, to, exchange, was, sizeof(was));
        int k = index_of(was);
        if (k < 0 || !x.now[i].there || !x.before[k].there)
            continue;
        if (fresh && !strcmp(fresh, x.path[i]))
            continue;
        if (!dev_ino_equal(&x.now[i].st, &x.before[k].st))
            WRONG("%s (was %s): %lu, before %lu", x.path[i], was, x.now[i].st.st_ino,
                  x.before[k].st.st_ino);
    }
}

/* -- what is open */
static void open_something(void)
{
    struct handle *h = &x.handle[twin_random(&x.t, HANDLES)];
    const char *rel = x.path[1 + twin_random(&x.t, (unsigned)x.paths - 1)];
    struct vnode n;
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    if (descend(x.t.o, rel, &n))
        return;
    h->fd = overlay_grab(&x.t.o->vfs, &n);
    assert_true(h->fd >= 0);
    h->gone = h->file_moved = false;
    str_copy(h->path, sizeof(h->path), rel);
    tell("open %s in layer %u; ", rel, n.top);
}

static void handles_follow(const char *from, const char *to, bool exchange)
{
    const char *rest;
    for (int i = 0; i < HANDLES; i++) {
        struct handle *h = &x.handle[i];
        char was[16];
        struct stat st;
        if (h->fd < 0 || h->gone)
            continue;
        str_copy(was, sizeof(was), h->path);
        fstat(h->fd, &st);
        const char *other = NULL;
        if (path_below(was, from, &rest))
            other = to;
        else if (path_below(was, to, &rest))
            other = exchange ? from : "";
        if (!other)
            continue;
        if (!*other)
            h->gone = true;
        h->file_moved |= !S_ISDIR(st.st_mode);
        snprintf(h->path, sizeof(h->path), "%s%s%s", other, *rest ? "/" : "", rest);
    }
}

static void handles_end(const char *path)
{
    for (int i = 0; i < HANDLES; i++) {
        if (x.handle[i].fd >= 0 && path_below(x.handle[i].path, path, NULL))
            x.handle[i].gone = true;
    }
}

/* The directory as a base of relative paths, remembered or not. */
static void check_base(const struct handle *h)
{
    char base[PATH_MAX], want[PATH_MAX];
    for (int again = 0; again < 2; again++) {
        int r = walk_base(&x.view, &the_caller, h->fd, base, sizeof(base), &x.place);
        if (h->gone && (r == -ENOENT || r == 0)) {
            /* a memo may know its last name; nothing must be found there */
            if (r == 0 && walk(&x.view, &the_caller, base, ".", 0, &x.place) == 0)
                WRONG("open %s: a base, though it is gone", h->path);
            continue;
        }
        snprintf(want, sizeof(want), "%s/%s", session_mount(x.t.s), h->path);
        if (r || strcmp(base, want))
            WRONG("open %s: as a base %d %s", h->path, r, base);
    }
}

static void check_handles(void)
{
    for (int i = 0; i < HANDLES; i++) {
        struct handle *h = &x.handle[i];
        char link[SYS_FD_PATH], real[PATH_MAX];
        const char *rel;
        struct stat st;
        struct vnode n;
        if (h->fd < 0)
            continue;
        ssize_t len = readlink(sys_fd_path(link, h->fd), real, sizeof(real) - 1);
        assert_true(len > 0);
        real[len] = '\0';
        int layer = session_layer_of(x.t.s, real, &rel);
        if (layer < 0 && h->gone) /* ended in work */
            continue;
        struct stat kind;
        if (fstat(h->fd, &kind) == 0 && S_ISDIR(kind.st_mode))
            check_base(h);
        assert_true(layer >= 0);
        assert_int_equal(fstat(h->fd, &st), 0);
        int r = overlay_reverse(&x.t.o->vfs, (unsigned)layer, rel, &st, &n);
        if (r == -ENOENT && (h->gone || h->file_moved))
            continue; /* a lower file that was renamed counts as removed */
        if (r != 0 || h->gone || strcmp(n.path, h->path))
            WRONG("open %s (real %s, gone %d): %d %s", h->path, real, h->gone, r, n.path);
    }
}

/* -- changes */
static bool clean_path(const char *rel)
{
    return index_of(rel) >= 0;
}

static void change(struct vnode *n, struct vnode *m)
{
    struct vfs *fs = &x.t.o->vfs;
    const char *p = x.path[1 + twin_random(&x.t, (unsigned)x.paths - 1)];
    const char *q = x.path[1 + twin_random(&x.t, (unsigned)x.paths - 1)];
    const char *from = NULL, *to = NULL, *fresh = NULL;
    bool exchange = false;
    int r = descend(x.t.o, p, n);
    if (r == -EAGAIN)
        return;
    unsigned what = twin_random(&x.t, 12);
    if (r == -ENOENT) {
        fresh = p;
        if (what < 5) {
            r = fs->ops.mkdir(fs, &the_caller, n, 0755);
            tell("mkdir %s %d; ", p, r);
        } else if (what < 8) {
            r = fs->ops.symlink(fs, &the_caller, n, "target");
            tell("symlink %s %d; ", p, r);
        } else if (what < 10) {
            r = fs->ops.mknod(fs, &the_caller, n, S_IFREG | 0644, 0);
            tell("mknod %s %d; ", p, r);
        } else {
            struct vfs_pending *pending = calloc(1, sizeof(*pending));
            char real[PATH_MAX];
            r = fs->ops.create_begin(fs, &the_caller, n, false, pending, real, sizeof(real));
            if (r == 0) {
                struct vnode other;
                descend(x.t.o, p, &other); /* somebody looks while it is under way */
                int fd = open(real, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
                r = fs->ops.create_end(fs, &the_caller, pending, fd < 0 ? -errno : fd);
                if (fd >= 0)
                    close(fd);
            }
            free(pending);
            tell("create %s %d; ", p, r);
        }
    } else if (what < 3) {
        bool dir = vnode_is_dir(n);
        r = dir ? fs->ops.rmdir(fs, &the_caller, n) : fs->ops.unlink(fs, &the_caller, n);
        tell("%s %s %d; ", dir ? "rmdir" : "unlink", p, r);
        if (r == 0)
            handles_end(p);
    } else if (what < 6) {
        r = fs->ops.copy_up(fs, &the_caller, n, UINT64_MAX);
        tell("up %s %d; ", p, r);
    } else if (what < 7 && !vnode_is_dir(n)) {
        r = descend(x.t.o, q, m);
        if (r != -ENOENT)
            return;
        r = fs->ops.link(fs, &the_caller, n, -1, m);
        tell("link %s %s %d; ", p, q, r);
        fresh = q;
    } else {
        unsigned flags = twin_random(&x.t, 3) ? 0 : RENAME_EXCHANGE;
        r = descend(x.t.o, q, m);
        /* depths that leave the universe of names are no use here */
        bool deep = strlen(q) >= 4 && vnode_is_dir(n);
        if (r == -EAGAIN || path_below(q, p, NULL) || path_below(p, q, NULL) || deep ||
            (flags && (r || (vnode_is_dir(m) && strlen(p) >= 4))))
            return;
        r = fs->ops.rename(fs, &the_caller, n, m, flags);
        tell("rename %s %s %s %d; ", p, q, flags ? "exchange" : "", r);
        if (r == 0) {
            from = p;
            to = q;
            exchange = flags != 0;
            handles_follow(p, q, exchange);
        }
    }
    look_everywhere();
    identities_stay(from, to, exchange, r == 0 ? fresh : NULL);
    check_handles();
}

static void run(u64 seed, int lowers, const char *set, enum marker_style style)
{
    struct vnode *n = malloc(2 * sizeof(*n));
    memset(&x, 0, sizeof(x));
    root_cred.caps = root_cred.permitted = ~0ull;
    the_caller.ops.cred = give_cred;
    the_caller.ops.assume = the_caller.ops.resume = do_nothing;
    the_caller.ops.fd_link = own_fd_link;
    the_caller.ops.fd_stat = own_fd_stat;
    the_caller.same_as_session = true;
    twin_make(&x.t, seed, lowers, false);
    twin_fill_all(&x.t);
    twin_start(&x.t, set, style);
    each_path(&x.t, collect);
    x.view = (struct view){.session = x.t.s, .fs = &x.t.o->vfs, .memo = &x.memo};
    assert_true(clean_path("a/b/c"));
    for (int i = 0; i < HANDLES; i++)
        x.handle[i].fd = -1;
    x.fresh = calloc(1, sizeof(*x.fresh));
    tell("seed %llu, %d lowers, %s: ", (unsigned long long)seed, lowers, set);
    look_everywhere();
    for (int i = 0; i < ROUNDS; i++) {
        open_something();
        change(n, n + 1);
    }
    for (int i = 0; i < HANDLES; i++) {
        if (x.handle[i].fd >= 0)
            close(x.handle[i].fd);
    }
    free(x.fresh);
    free(n);
    twin_stop(&x.t);
    twin_done(&x.t);
}

static void one_lower(void **state UNUSED)
{
    for (u64 seed = 1; seed <= 4; seed++) {
        run(seed, 1, "k", STYLE_CHARDEV);
        run(seed + 100, 1, "w", STYLE_FILEPREFIX);
    }
}

static void three_lowers(void **state UNUSED)
{
    for (u64 seed = 1; seed <= 4; seed++) {
        run(seed, 3, "k", STYLE_CHARDEV);
        run(seed + 100, 3, "w", STYLE_FILEPREFIX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_lower),
        cmocka_unit_test(three_lowers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
