/* Walking paths over the border of the union, compared with a kernel that has the union mounted
 * there: same errno, same canonical path. The kernel's side is a child in a mount namespace of its
 * own; here the mountpoint is an empty directory. */
#include "lab.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <linux/openat2.h>
#include "vfs/passthrough.h"
#include "vfs/walk.h"

#define TEXT PLACE_PATH_MAX

struct question {
    char base[TEXT], path[2 * TEXT];
    u64 flags, resolve;
    u32 uid;
};

struct answer {
    int err;
    char path[TEXT];
};

struct world {
    char top[64], mount[96];
    struct session *s;
    struct overlay *o;
    struct passthrough *p;
    struct view view;
    struct test_caller who;
    struct place *place;
    int ask, hear;
    pid_t kernel;
};

/* -- the caller: this very process */
static int own_fd_get(struct caller *who UNUSED, int fd)
{
    int r = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return r < 0 ? -errno : r;
}
static void own_fd_put(struct caller *who UNUSED, int fd)
{
    close(fd);
}
static long own_fd_link(struct caller *who UNUSED, int fd, char *buf, size_t cap)
{
    char path[SYS_FD_PATH] = "/proc/self/cwd";
    if (fd != AT_FDCWD)
        sys_fd_path(path, fd);
    ssize_t n = readlink(path, buf, cap - 1);
    if (n < 0)
        return -EBADF;
    buf[n] = '\0';
    return n;
}
static int own_fd_stat(struct caller *who UNUSED, int fd, struct stat *st)
{
    return (fd == AT_FDCWD ? stat(".", st) : fstat(fd, st)) < 0 ? -errno : 0;
}
static long exe_of(struct caller *who UNUSED, int pid UNUSED, char *buf UNUSED, size_t cap UNUSED)
{
    return 0;
}

static void be(struct world *w, u32 uid)
{
    struct lab lab;
    lab_be(&lab, uid, uid, 0, 022);
    w->who = lab.who;
    w->who.c.ops.fd_get = own_fd_get;
    w->who.c.ops.fd_put = own_fd_put;
    w->who.c.ops.fd_link = own_fd_link;
    w->who.c.ops.fd_stat = own_fd_stat;
    w->who.c.ops.exe = exe_of;
}

/* -- the kernel's side */
static void all_bytes(int fd, void *buf, size_t n, bool out)
{
    for (size_t done = 0; done < n;) {
        ssize_t r =
            out ? write(fd, (char *)buf + done, n - done) : read(fd, (char *)buf + done, n - done);
        if (r <= 0)
            _exit(0);
        done += (size_t)r;
    }
}

static void serve(int in, int out)
{
    static struct question q;
    static struct answer a;
    for (;;) {
        struct open_how how = {0};
        char link[SYS_FD_PATH];
        all_bytes(in, &q, sizeof(q), false);
        memset(&a, 0, sizeof(a));
        how.flags = q.flags | O_PATH | O_CLOEXEC;
        how.resolve = q.resolve;
        int base = open(q.base, O_PATH | O_DIRECTORY | O_CLOEXEC);
        setfsgid(q.uid);
        setfsuid(q.uid);
        int fd, tries = 0;
        do { /* openat2(2): EAGAIN where a rename anywhere on the machine makes a ".." unsure */
            fd = (int)syscall(SYS_openat2, base, q.path, &how, sizeof(how));
        } while (fd < 0 && errno == EAGAIN && ++tries < 1000);
        a.err = fd < 0 ? -errno : 0;
        setfsuid(0);
        setfsgid(0);
        if (fd >= 0) {
            sys_fd_path(link, fd);
            if (readlink(link, a.path, sizeof(a.path) - 1) < 0)
                a.err = -EIO;
            close(fd);
        }
        close(base);
        all_bytes(out, &a, sizeof(a), true);
    }
}

static void start_kernel(struct world *w, const char *options)
{
    int there[2], back[2];
    assert_int_equal(pipe2(there, O_CLOEXEC), 0);
    assert_int_equal(pipe2(back, O_CLOEXEC), 0);
    w->kernel = fork();
    assert_true(w->kernel >= 0);
    if (w->kernel == 0) {
        close(there[1]);
        close(back[0]);
        int bad = unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL);
        if (options[0] == '/')
            bad = bad || mount(options, w->mount, NULL, MS_BIND, NULL);
        else
            bad = bad || mount("overlay", w->mount, "overlay", 0, options);
        struct answer a = {.err = bad ? -errno : 0};
        all_bytes(back[1], &a, sizeof(a), true);
        serve(there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    w->ask = there[1];
    w->hear = back[0];
    struct answer a;
    all_bytes(w->hear, &a, sizeof(a), false);
    if (a.err)
        fail_msg("mount %s: %s", options, strerror(-a.err));
}

/* -- the world */
static const char tree[] =
    "mkdir -p h/m h/hd/sub l1/d/e l2/d/e l2/d/low u/d l2/deep/a/b/c;"
    "echo host > h/file; echo 1 > l1/d/f; echo 2 > l2/d/f2; echo u > u/d/f3; echo t > l2/t;"
    "mkdir l2/gone u/opq l2/opq; touch l2/gone/x l2/opq/x; mknod u/gone c 0 0;"
    "setfattr -n trusted.overlay.opaque -v y u/opq; mknod u/t2 c 0 0; touch l1/t2;"
    "touch l1/notdir; mkdir -p l2/notdir/x; mkdir -p l2/wasdir/x; touch u/wasdir;"
    "ln -s m/d h/into; ln -s $PWD/h/m/d h/absinto; ln -s m h/tom; ln -s ../h/m/d/e hx 2>/dev/null;"
    "ln -s loop2 h/loop1; ln -s loop1 h/loop2; ln -s hd/sub h/sl; ln -s m/t h/tot;"
    "ln -s ../file l1/out; ln -s $PWD/h/hd l2/absout; ln -s ../.. l2/d/up2; ln -s d/e u/in;"
    "ln -s $PWD/h/m/d l1/absin; ln -s lb l1/la; ln -s la l2/lb; ln -s nope u/dangling; ln -s t "
    "u/tl;"
    "ln -s ../../d l2/d/e/back; ln -s . l1/dot; ln -s .. l1/up; ln -s t/ l2/tslash; ln -s d/ "
    "u/dslash;"
    "ln -s ../../sl l2/d/viahost; ln -s /proc/self/cwd l2/cwd; ln -s / l2/root;"
    "ln -s ../hd/../m/d/f u/wander; ln -s up/m/up/m/in l2/tour;"
    "ln -s d l1/c0; i=1; while [ $i -le 41 ]; do ln -s c$((i-1)) l1/c$i; i=$((i+1)); done;"
    "mkdir -p l2/priv/in l1/pub u/x0; chmod 700 l2/priv; chmod 711 l1/pub; touch l1/pub/f;"
    "chmod 000 u/x0; ln -s priv/in l2/topriv; mkdir -p h/closed; chmod 700 h/closed; touch "
    "h/closed/f;"
    "ln -s ../closed/f l2/toclosed";

static void open_world(struct world *w, bool overlay)
{
    char path[160], options[640];
    memset(w, 0, sizeof(*w));
    umask(022);
    snprintf(w->top, sizeof(w->top), "/tmp/fuss-walk.XXXXXX");
    assert_non_null(mkdtemp(w->top));
    assert_int_equal(chmod(w->top, 0755), 0);
    shell("cd %s && mkdir -p u l1 l2 w w2 && %s", w->top, tree);
    snprintf(w->mount, sizeof(w->mount), "%s/h/m", w->top);
    w->s = calloc(1, sizeof(*w->s));
    session_init(w->s);
    struct session *s = w->s;
    s->style = STYLE_CHARDEV;
    s->trusted = true;
    s->nlayers = overlay ? 3 : 2;
    s->read_only = !overlay;
    s->mount = session_add_text(s, w->mount);
    s->mount_len = (u32)strlen(w->mount);
    static const char *const layer[] = {"u", "l1", "l2"};
    for (unsigned i = overlay ? 0 : 1; i < s->nlayers; i++) {
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s", w->top, overlay ? layer[i] : "l2");
        assert_int_equal(stat(path, &st), 0);
        s->layer[i].path = session_add_text(s, path);
        s->layer[i].path_len = (u32)strlen(path);
        s->layer[i].dev = st.st_dev;
        s->layer[i].ino = st.st_ino;
        s->layer[i].in_use = true;
    }
    w->view.session = s;
    if (overlay) {
        int bad;
        snprintf(path, sizeof(path), "%s/w", w->top);
        s->work = session_add_text(s, path);
        w->o = calloc(1, sizeof(*w->o));
        assert_int_equal(overlay_init(w->o, s, &bad), 0);
        w->view.fs = &w->o->vfs;
        snprintf(options, sizeof(options), "lowerdir=%s/l1:%s/l2,upperdir=%s/u,workdir=%s/w2",
                 w->top, w->top, w->top, w->top);
    } else {
        w->p = calloc(1, sizeof(*w->p));
        assert_int_equal(passthrough_init(w->p, session_layer_path(s, 1)), 0);
        w->view.fs = &w->p->vfs;
        snprintf(options, sizeof(options), "%s/l2", w->top);
    }
    w->place = malloc(sizeof(*w->place));
    start_kernel(w, options);
    be(w, 0);
}

static void close_world(struct world *w)
{
    close(w->ask);
    close(w->hear);
    kill(w->kernel, SIGKILL);
    waitpid(w->kernel, NULL, 0);
    if (w->o)
        overlay_fini(w->o);
    if (w->p)
        passthrough_fini(w->p);
    free(w->o);
    free(w->p);
    free(w->s);
    free(w->place);
    shell("rm -rf %s", w->top);
}

/* -- asking both */
static struct answer ask_kernel(struct world *w, const char *base, const char *path, u64 flags,
                                u64 resolve, u32 uid)
{
    static struct question q;
    static struct answer a;
    memset(&q, 0, sizeof(q));
    snprintf(q.base, sizeof(q.base), "%s", base);
    snprintf(q.path, sizeof(q.path), "%s", path);
    q.flags = flags;
    q.resolve = resolve;
    q.uid = uid;
    all_bytes(w->ask, &q, sizeof(q), true);
    all_bytes(w->hear, &a, sizeof(a), false);
    return a;
}

static struct answer ask_ours(struct world *w, const char *base, const char *path, u64 flags,
                              u64 resolve)
{
    static struct answer a;
    struct place *p = w->place;
    unsigned f = flags & O_NOFOLLOW ? 0 : WALK_FOLLOW;
    if (resolve & RESOLVE_BENEATH)
        f |= WALK_BENEATH;
    if (resolve & RESOLVE_IN_ROOT)
        f |= WALK_IN_ROOT;
    if (resolve & RESOLVE_NO_SYMLINKS)
        f |= WALK_NO_SYMLINKS;
    if (resolve & RESOLVE_NO_MAGICLINKS)
        f |= WALK_NO_MAGIC;
    if (resolve & RESOLVE_NO_XDEV)
        f |= WALK_NO_XDEV;
    memset(p, 0xa5, sizeof(*p));
    a.err = walk(&w->view, &w->who.c, base, path, f, p);
    if (!a.err && !p->exists)
        a.err = -ENOENT;
    /* outside, the caller lets the kernel say this */
    struct stat st;
    if (!a.err && !p->in_union && p->slash && stat(p->path, &st) == 0 && !S_ISDIR(st.st_mode))
        a.err = -ENOTDIR;
    snprintf(a.path, sizeof(a.path), "%s", a.err ? "" : p->path);
    return a;
}

static void same(struct world *w, const char *base, const char *path, u64 flags, u64 resolve)
{
    u32 uid = w->who.cred.fsuid;
    struct answer k = ask_kernel(w, base, path, flags, resolve, uid);
    /* twice: the second time the index knows what the first one saw */
    for (int i = 0; i < 2; i++) {
        struct answer a = ask_ours(w, base, path, flags, resolve);
        /* wholly outside, the kernel is asked in the program's own words, as the program */
        if (uid && !w->place->in_union && !w->place->crossed)
            continue;
        if (a.err != k.err || strcmp(a.path, k.path))
            fail_msg("%s: \"%s\" flags %llx resolve %llx uid %u time %d: ours %s %s, kernel %s %s",
                     base, path, (unsigned long long)flags, (unsigned long long)resolve, uid, i,
                     strerror(-a.err), a.path, strerror(-k.err), k.path);
        if (!a.err && w->place->in_union) {
            const char *rel;
            assert_true(session_below_mount(w->s, w->place->path, &rel));
            assert_string_equal(rel, w->place->node.path);
        }
    }
}

static void same_all(struct world *w, const char *path)
{
    char base[128], absolute[2 * TEXT];
    static const char *const from[] = {"", "/h", "/h/m", "/h/m/d", "/h/hd/sub"};
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        struct stat st;
        snprintf(base, sizeof(base), "%s%s", w->top, from[i]);
        if (w->p && i == 3 && stat(base, &st) < 0 && 0)
            continue;
        same(w, base, path, 0, 0);
        same(w, base, path, O_NOFOLLOW, 0);
    }
    snprintf(absolute, sizeof(absolute), "%s/h/m/%s", w->top, path);
    same(w, "/", absolute, 0, 0);
    same(w, "/", absolute, O_NOFOLLOW, 0);
}

static const char *const paths[] = {
    "d",
    "d/",
    "d//",
    "./d",
    "d/.",
    "d/..",
    "d/../",
    "d/f",
    "d/f/",
    "d/f/.",
    "d/f/..",
    "d/f2",
    "d/f3",
    "d/e/..",
    "d/e/../f",
    "d/e/back/f",
    "d/low",
    "t",
    "t/",
    "t/x",
    "t/.",
    "nope",
    "nope/",
    "nope/x",
    "nope/..",
    "gone",
    "gone/x",
    "opq",
    "opq/x",
    "t2",
    "notdir",
    "notdir/x",
    "wasdir/x",
    "out",
    "out/",
    "out/x",
    "absout",
    "absout/",
    "absout/sub",
    "absout/sub/../..",
    "absout/nope",
    "absin",
    "absin/f",
    "in",
    "in/",
    "in/..",
    "in/../f3",
    "in/../../t",
    "dangling",
    "dangling/",
    "dangling/x",
    "tl",
    "tl/",
    "la",
    "la/x",
    "lb",
    "dot/dot/dot/d/f",
    "up",
    "up/",
    "up/file",
    "up/m/t",
    "up/up",
    "d/up2",
    "d/up2/m/d/f",
    "tslash",
    "tslash/",
    "dslash",
    "dslash/f",
    "d/viahost",
    "d/viahost/..",
    "..",
    "../",
    "../m",
    "../m/",
    "../m/t",
    "../m/d/../..",
    "../m/../m/d/f3",
    "../../h/m/d",
    "../into/f",
    "../into/..",
    "../absinto/e/../f3",
    "../tom",
    "../tom/",
    "../tom/d",
    "../tot",
    "../tot/",
    "../sl/..",
    "../loop1",
    "../loop1/x",
    "../file/..",
    "../file/.",
    "../file/x",
    "../file/../m/t",
    "../hd/./../m/t",
    "wander",
    "tour",
    "tour/..",
    "c39",
    "c40",
    "c41",
    "c39/e",
    "c38/..",
    "root",
    "root/tmp",
    "deep/a/b/c/../../../..",
    "../../h/m/../m/../m/d/e/../../d/f",
    "into/f",
    "file",
    "m",
    "m/",
    "m/d",
    "m/../file",
    "tom/d/e",
    "../../../../../../../../tmp",
    "d/e/back/e/back/e/back/f2",
    "hd/sub",
    "h/m/d/f3",
    "h/../h/m/in",
};

static void test_paths(struct world *w)
{
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        same_all(w, paths[i]);
}

static void test_overlay_paths(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, true);
    test_paths(&w);
    close_world(&w);
}

/* The same over one directory: what the walk does is no merit of the overlay. */
static void test_passthrough_paths(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, false);
    test_paths(&w);
    close_world(&w);
}

static void test_resolve_flags(void **state)
{
    static const u64 resolve[] = {RESOLVE_BENEATH,       RESOLVE_IN_ROOT,
                                  RESOLVE_NO_SYMLINKS,   RESOLVE_NO_XDEV,
                                  RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    static const char *const from[] = {"/h", "/h/m", "/h/m/d", "/h/m/d/e"};
    struct world w;
    char base[128];
    (void)state;
    open_world(&w, true);
    for (size_t r = 0; r < ARRAY_LEN(resolve); r++) {
        for (size_t b = 0; b < ARRAY_LEN(from); b++) {
            snprintf(base, sizeof(base), "%s%s", w.top, from[b]);
            for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
                same(&w, base, paths[i], 0, resolve[r]);
                same(&w, base, paths[i], O_NOFOLLOW, resolve[r]);
            }
            same(&w, base, "/d/f", 0, resolve[r]);
            same(&w, base, "/../../d/f", 0, resolve[r]);
            same(&w, base, "/", 0, resolve[r]);
            same(&w, base, w.mount, 0, resolve[r]);
        }
    }
    close_world(&w);
}

static void test_lengths(void **state)
{
    struct world w;
    char path[2 * TEXT];
    (void)state;
    open_world(&w, true);
    for (int n = 254; n <= 257; n++) {
        memset(path, 'n', (size_t)n);
        path[n] = '\0';
        same(&w, w.mount, path, 0, 0);
        strcat(path, "/x");
        same(&w, w.mount, path, 0, 0);
    }
    for (int n = 4090; n <= 4100; n++) {
        memset(path, '/', (size_t)n);
        memcpy(path + n - 3, "d/f", 4);
        path[0] = '.';
        same(&w, w.mount, path, 0, 0);
    }
    path[0] = '\0';
    for (int i = 0; i < 1000; i++)
        strcat(path, "d/../");
    path[4090] = '\0';
    same(&w, w.mount, path, 0, 0);
    close_world(&w);
}

static void test_search_permission(void **state)
{
    static const char *const path[] = {
        "priv",           "priv/",     "priv/in",      "priv/nope",
        "priv/..",        "priv/.",    "topriv",       "topriv/x",
        "pub/f",          "pub/nope",  "x0",           "x0/f",
        "x0/..",          "../closed", "../closed/f",  "../closed/..",
        "../closed/nope", "toclosed",  "../file/.",    "../file/..",
        "../file/../m/d", "out/.",     "d/../priv/in", "../hd/../m/priv/in"};
    struct world w;
    (void)state;
    open_world(&w, true);
    be(&w, 4711);
    for (size_t i = 0; i < ARRAY_LEN(path); i++)
        same_all(&w, path[i]);
    /* a mountpoint behind a closed door */
    shell("chmod 700 %s/h", w.top);
    same(&w, "/", w.mount, 0, 0);
    same_all(&w, "d/f");
    close_world(&w);
}

/* Links that somebody else put into a directory for all are not followed, where the host says so.
 */
static void test_protected_links(void **state)
{
    static const struct {
        u32 uid;
        const char *path;
        bool refused;
    } c[] = {
        {0, "s/theirs", true},   {0, "s/mine", false},     {4711, "s/theirs", false},
        {4711, "s/mine", false}, {4712, "s/theirs", true}, {4712, "s/mine", false},
        {0, "s/theirs/", true},  {0, "s/theirs/f", false}, {0, "o/theirs", false},
        {0, "tos", true},        {0, "tos/f", false},
    };
    struct world w;
    char path[160];
    (void)state;
    open_world(&w, true);
    shell("cd %s/l1 && mkdir s o && chmod 1777 s && chmod 777 o && ln -s ../d s/mine && "
          "ln -s ../d s/theirs && ln -s ../d o/theirs && chown -h 4711 s/theirs o/theirs && "
          "ln -s s/theirs tos",
          w.top);
    for (int on = 0; on < 2; on++) {
        w.s->protected_symlinks = on;
        for (size_t i = 0; i < ARRAY_LEN(c); i++) {
            be(&w, c[i].uid);
            snprintf(path, sizeof(path), "%s/%s", w.mount, c[i].path);
            int err = walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW, w.place);
            if (err != (on && c[i].refused ? -EACCES : 0))
                fail_msg("%s by %u: %d", c[i].path, c[i].uid, err);
            assert_int_equal(walk(&w.view, &w.who.c, "/", path, 0, w.place),
                             on && c[i].refused && path[strlen(path) - 1] == '/' ? -EACCES : 0);
        }
    }
    /* and as this host has it, the kernel says the same */
    struct session *fresh = malloc(sizeof(*fresh));
    session_init(fresh);
    w.s->protected_symlinks = fresh->protected_symlinks;
    free(fresh);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        be(&w, c[i].uid);
        same(&w, w.mount, c[i].path, 0, 0);
    }
    close_world(&w);
}

/* Random walks: what nobody thought of. */
static void test_random(void **state)
{
    static const char *const word[] = {
        "d",       "e",      "..",     "..",  ".",       "in",     "up",  "m",    "h",
        "into",    "tom",    "f",      "low", "absin",   "absout", "sub", "hd",   "sl",
        "viahost", "back",   "dot",    "up2", "absinto", "tour",   "t",   "nope", "gone",
        "opq",     "dslash", "wander", "",    "deep",    "a"};
    struct world w;
    char base[128], path[512];
    unsigned seed = (unsigned)getpid();
    (void)state;
    open_world(&w, true);
    print_message("seed %u\n", seed);
    for (int i = 0; i < 6000; i++) {
        static const char *const from[] = {"", "/h", "/h/m", "/h/m/d", "/h/m/d/e"};
        static const u64 resolve[] = {0, 0, 0, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_XDEV};
        int n = 1 + rand_r(&seed) % 8;
        path[0] = '\0';
        for (int k = 0; k < n; k++) {
            strcat(path, word[(unsigned)rand_r(&seed) % ARRAY_LEN(word)]);
            if (k < n - 1 || rand_r(&seed) % 6 == 0)
                strcat(path, "/");
        }
        if (!path[0])
            continue;
        snprintf(base, sizeof(base), "%s%s", w.top,
                 from[(unsigned)rand_r(&seed) % ARRAY_LEN(from)]);
        same(&w, base, path, rand_r(&seed) % 2 ? O_NOFOLLOW : 0,
             resolve[(unsigned)rand_r(&seed) % ARRAY_LEN(resolve)]);
    }
    close_world(&w);
}

/* -- magic links: against what must be */
static void leads_to(struct world *w, const char *path, const char *rel, int magic_fd)
{
    struct place *p = w->place;
    char want[256];
    snprintf(want, sizeof(want), "%s%s%s", w->mount, rel[0] ? "/" : "", rel);
    int err = walk(&w->view, &w->who.c, "/", path, WALK_FOLLOW, p);
    if (err || !p->in_union || !p->exists || strcmp(p->path, want) || p->magic_fd != magic_fd)
        fail_msg("%s: %d, %s, in %d exists %d fd %d crossed %d", path, err, p->path, p->in_union,
                 p->exists, p->magic_fd, p->crossed);
    assert_string_equal(p->node.path, rel);
}

static int open_real(struct world *w, const char *path, int flags)
{
    char real[256];
    snprintf(real, sizeof(real), "%s/%s", w->top, path);
    int fd = open(real, flags | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    return fd;
}

static void test_magic_links(void **state)
{
    struct world w;
    char path[128], was[TEXT];
    (void)state;
    open_world(&w, true);
    struct place *p = w.place;
    int dir = open_real(&w, "l2/d", O_RDONLY), file = open_real(&w, "l1/d/f", O_RDONLY);
    int up = open_real(&w, "u/d/f3", O_RDONLY);
    int sl = open_real(&w, "u/in", O_PATH | O_NOFOLLOW);
    struct {
        const char *format;
        int fd;
        const char *rel;
        bool last;
    } to[] = {
        {"/proc/self/fd/%d", file, "d/f", true},
        {"/proc/self/fd/%d", up, "d/f3", true},
        {"/proc/self/fd/%d", dir, "d", true},
        {"/proc/self/fd/%d/", dir, "d", true},
        {"/proc/self/fd/%d", sl, "in", true},
        {"/proc/thread-self/fd/%d", file, "d/f", true},
        {"/dev/fd/%d", file, "d/f", true},
        {"/proc/self/fd/%d/f3", dir, "d/f3", false},
        {"/proc/self/fd/%d/../t", dir, "t", false},
        {"/proc/self/fd/%d/e/back/low", dir, "d/low", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        snprintf(path, sizeof(path), to[i].format, to[i].fd);
        leads_to(&w, path, to[i].rel, to[i].last ? to[i].fd : -1);
        snprintf(path, sizeof(path), "%s/up/m/up/hd/../../..//", w.mount);
    }
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), file);
    leads_to(&w, path, "d/f", file);
    assert_non_null(getcwd(was, sizeof(was)));
    assert_int_equal(fchdir(dir), 0);
    leads_to(&w, "/proc/self/cwd", "d", -1);
    leads_to(&w, "/proc/self/cwd/f3", "d/f3", -1);
    snprintf(path, sizeof(path), "%s/cwd/f", w.mount);
    leads_to(&w, path, "d/f", -1);
    assert_int_equal(chdir(was), 0);
    snprintf(path, sizeof(path), "/proc/self/root%s/d/f", w.mount);
    leads_to(&w, path, "d/f", -1);

    /* flags and what is no path */
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW | WALK_NO_MAGIC, p), -ELOOP);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW | WALK_NO_SYMLINKS, p), -ELOOP);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW | WALK_NO_XDEV, p), -EXDEV);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW | WALK_IN_ROOT, p), -EXDEV);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, 0, p), 0);
    assert_true(!p->in_union && p->exists && p->magic_fd == -1);
    strcat(path, "/x");
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW, p), -ENOTDIR);
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    snprintf(path, sizeof(path), "/dev/fd/%d", pipes[0]);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW, p), 0);
    assert_true(!p->in_union && p->exists && p->magic_fd == pipes[0]);
    assert_int_equal(walk(&w.view, &w.who.c, "/", "/proc/self/ns/mnt", WALK_FOLLOW, p), 0);
    assert_true(!p->in_union && p->exists);

    /* whited out under the program: nothing is there, and nothing may write it */
    shell("mknod %s/u/d/f c 0 0", w.top);
    index_touch_all(w.o->index);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW, p), 0);
    assert_true(!p->in_union && p->removed && p->guard_layer == 1 && p->magic_fd == file);
    close(pipes[0]);
    close(pipes[1]);
    close(dir);
    close(file);
    close(up);
    close(sl);
    close_world(&w);
}

static void test_descriptors(void **state)
{
    struct world w;
    char base[TEXT], text[TEXT], real[256];
    (void)state;
    open_world(&w, true);
    struct place *p = w.place;
    int dir = open_real(&w, "l2/d", O_RDONLY), file = open_real(&w, "l1/d/f", O_RDONLY);
    int host = open_real(&w, "h/hd", O_RDONLY), memory = memfd_create("x", MFD_CLOEXEC);
    int covered = open_real(&w, "h/m", O_RDONLY);
    assert_int_equal(walk_base(&w.view, &w.who.c, dir, base, sizeof(base), p), 0);
    snprintf(real, sizeof(real), "%s/d", w.mount);
    assert_string_equal(base, real);
    assert_int_equal(walk_base(&w.view, &w.who.c, covered, base, sizeof(base), p), 0);
    assert_string_equal(base, w.mount);
    assert_int_equal(walk_base(&w.view, &w.who.c, file, base, sizeof(base), p), -ENOTDIR);
    assert_int_equal(walk_base(&w.view, &w.who.c, 12345, base, sizeof(base), p), -EBADF);
    assert_int_equal(walk_base(&w.view, &w.who.c, host, base, sizeof(base), p), 0);
    snprintf(real, sizeof(real), "%s/h/hd", w.top);
    assert_string_equal(base, real);
    assert_int_equal(walk_fd(&w.view, &w.who.c, file, p), 0);
    assert_true(p->in_union && p->exists && p->fd_layer == 1);
    assert_int_equal(walk_fd(&w.view, &w.who.c, memory, p), 0);
    assert_true(!p->in_union && p->exists && p->fd_layer == -1);

    snprintf(real, sizeof(real), "%s/l1/d/f", w.top);
    assert_true(walk_virtual(&w.view, real, p, text, sizeof(text)) > 0);
    snprintf(real, sizeof(real), "%s/d/f", w.mount);
    assert_string_equal(text, real);
    assert_true(walk_virtual(&w.view, "/etc/passwd", p, text, sizeof(text)) > 0);
    assert_string_equal(text, "/etc/passwd");
    /* hidden by the union: gone, as far as the program knows */
    shell("rm %s/u/opq/x 2>/dev/null; true", w.top);
    snprintf(real, sizeof(real), "%s/l2/opq/x", w.top);
    assert_true(walk_virtual(&w.view, real, p, text, sizeof(text)) > 0);
    snprintf(real, sizeof(real), "%s/opq/x (deleted)", w.mount);
    assert_string_equal(text, real);
    int hidden = open_real(&w, "l2/opq/x", O_RDONLY);
    assert_int_equal(walk_fd(&w.view, &w.who.c, hidden, p), 0);
    assert_true(p->in_union && !p->exists && p->removed && p->fd_layer == 2);
    int removed = open_real(&w, "u/opq", O_RDONLY);
    shell("rmdir %s/u/opq", w.top);
    index_touch_all(w.o->index);
    assert_int_equal(walk_base(&w.view, &w.who.c, removed, base, sizeof(base), p), -ENOENT);
    assert_int_equal(walk_fd(&w.view, &w.who.c, removed, p), 0);
    assert_true(p->in_union && !p->exists && p->removed && p->fd_layer == 0);
    close(dir);
    close(file);
    close(host);
    close(memory);
    close(covered);
    close(hidden);
    close(removed);
    close_world(&w);
}

/* A union in the place of everything: the kernel's own filesystems stay the host's. */
static void test_mounted_at_root(void **state)
{
    struct world w;
    char path[160];
    (void)state;
    open_world(&w, true);
    struct place *p = w.place;
    w.s->mount = session_add_text(w.s, "/");
    w.s->mount_len = 1;
    static const struct {
        const char *base, *path;
        int err;
        bool in, exists, crossed;
        const char *at;
    } c[] = {
        {"/", "/", 0, true, true, false, "/"},
        {"/", "/..", 0, true, true, false, "/"},
        {"/", "/d/f", 0, true, true, false, "/d/f"},
        {"/", "/../d/./f", 0, true, true, false, "/d/f"},
        {"/d", "f", 0, true, true, false, "/d/f"},
        {"/d", "../../d/e/back/f", 0, true, true, false, "/d/f"},
        {"/", "/d/up2/t", 0, true, true, false, "/t"},
        {"/", "/etc/passwd", -ENOENT, true, false, false, ""},
        {"/", "/nope", 0, true, false, false, "/nope"},
        {"/", "/procx", 0, true, false, false, "/procx"},
        {"/", "/proc/version", 0, false, true, false, "/proc/version"},
        {"/", "/proc", 0, false, true, false, "/proc"},
        {"/", "/sys/kernel", 0, false, true, false, "/sys/kernel"},
        {"/", "/dev/null", 0, false, true, false, "/dev/null"},
        {"/", "dev/null", 0, false, true, true, "/dev/null"},
        {"/d", "../dev/null", 0, false, true, true, "/dev/null"},
        {"/", "/d/../dev/null", 0, false, true, true, "/dev/null"},
        {"/", "/dev/../d/f", 0, true, true, true, "/d/f"},
        {"/proc", "../d/f", 0, true, true, true, "/d/f"},
        {"/proc", "version", 0, false, true, false, "/proc/version"},
        {"/", "/root/proc/version", 0, false, true, true, "/proc/version"},
        {"/", "/proc/self/root/d/f", 0, true, true, true, "/d/f"},
        {"/", "/proc/self/status", 0, false, true, false, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        for (int again = 0; again < 2; again++) {
            int err = walk(&w.view, &w.who.c, c[i].base, c[i].path, WALK_FOLLOW, p);
            if (err != c[i].err || (!err && (p->in_union != c[i].in || p->exists != c[i].exists ||
                                             (!c[i].in && p->crossed != c[i].crossed) ||
                                             (c[i].at && strcmp(p->path, c[i].at)))))
                fail_msg("%s from %s: %d in %d exists %d crossed %d %s", c[i].path, c[i].base, err,
                         p->in_union, p->exists, p->crossed, p->path);
        }
    }
    assert_int_equal(walk(&w.view, &w.who.c, "/", "/dev/null", WALK_NO_XDEV, p), -EXDEV);
    int memory = memfd_create("x", MFD_CLOEXEC), file = open_real(&w, "l1/d/f", O_RDONLY);
    int foreign = open_real(&w, "h/file", O_RDONLY);
    assert_int_equal(walk_fd(&w.view, &w.who.c, memory, p), 0);
    assert_true(!p->in_union && p->exists);
    /* opened before the session: a file of the host, whatever the union has of that name */
    assert_int_equal(walk_fd(&w.view, &w.who.c, foreign, p), 0);
    assert_true(!p->in_union && p->exists);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW, p), 0);
    assert_true(p->in_union);
    assert_string_equal(p->path, "/d/f");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
    assert_int_equal(walk(&w.view, &w.who.c, "/", path, WALK_FOLLOW, p), 0);
    assert_true(!p->in_union && p->magic_fd == memory);
    close(memory);
    close(file);
    close(foreign);
    /* words that end in a link end in a name, whatever the link ends in */
    static const char *const links[] = {"dot", "up2", "d/up2", "up", "in", "tslash"};
    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        snprintf(path, sizeof(path), "%s/%s/", w.mount, links[i]);
        assert_int_equal(walk(&w.view, &w.who.c, "/", path, 0, p) == 0 ? p->last : LAST_NAME,
                         LAST_NAME);
    }
    close_world(&w);
}

/* A mountpoint that the host does not have, nor the directories above it. */
static void test_mountpoint_that_is_not_there(void **state)
{
    static const struct {
        const char *path;
        int err;
        bool in, exists;
        const char *at; /* below the top */
    } c[] = {
        {"no/such/m", 0, true, true, "no/such/m"},
        {"no/such/m/", 0, true, true, "no/such/m"},
        {"no/such/m/d/f", 0, true, true, "no/such/m/d/f"},
        {"no/./such//m/d/e/../f", 0, true, true, "no/such/m/d/f"},
        {"no/such/m/nope", 0, true, false, "no/such/m/nope"},
        {"no/such/m/nope/x", -ENOENT, true, false, NULL},
        {"no/such/m/..", 0, false, true, "no/such"},
        {"no/such/m/../..", 0, false, true, "no"},
        {"no/such/m/../../../h/file", 0, false, true, "h/file"},
        {"no/such/../such/m/d/f", 0, true, true, "no/such/m/d/f"},
        {"no/such", 0, false, true, "no/such"},
        {"no/other", 0, false, false, "no/other"},
        {"no/such/m/up/m/d/f", 0, true, true, "no/such/m/d/f"},
        {"no/such/mm", 0, false, false, "no/such/mm"},
    };
    struct world w;
    char path[256], base[128];
    (void)state;
    open_world(&w, true);
    struct place *p = w.place;
    snprintf(path, sizeof(path), "%s/no/such/m", w.top);
    w.s->mount = session_add_text(w.s, path);
    w.s->mount_len = (u32)strlen(path);
    for (size_t i = 0; i < ARRAY_LEN(c) * 2; i++) {
        size_t k = i / 2;
        snprintf(path, sizeof(path), "%s/%s", w.top, c[k].path);
        snprintf(base, sizeof(base), "%s", i % 2 ? w.top : "/");
        int err = walk(&w.view, &w.who.c, base, i % 2 ? c[k].path : path, WALK_FOLLOW, p);
        snprintf(path, sizeof(path), "%s/%s", w.top, c[k].at ? c[k].at : "");
        if (err != c[k].err ||
            (!err && (p->in_union != c[k].in || p->exists != c[k].exists || strcmp(p->path, path))))
            fail_msg("%s: %d in %d exists %d %s", c[k].path, err, p->in_union, p->exists, p->path);
    }
    close_world(&w);
}

/* What will be made or removed is kept as said. */
static void test_parent(void **state)
{
    static const struct {
        const char *path;
        int err;
        bool exists, slash;
        enum walk_last last;
        const char *rel;
    } c[] = {
        {"new", 0, false, false, LAST_NAME, "new"},
        {"new/", 0, false, true, LAST_NAME, "new"},
        {"in", 0, true, false, LAST_NAME, "in"},
        {"in/", 0, true, true, LAST_NAME, "in"},
        {"dangling/", 0, true, true, LAST_NAME, "dangling"},
        {"in/new", 0, false, false, LAST_NAME, "d/e/new"},
        {"d/.", 0, true, true, LAST_DOT, "d"},
        {"d/e/..", 0, true, true, LAST_DOTDOT, "d"},
        {"d/e/../", 0, true, true, LAST_DOTDOT, "d"},
        {"nope/new", -ENOENT, false, false, LAST_NAME, ""},
        {"t/new", -ENOTDIR, false, false, LAST_NAME, ""},
        {"gone/new", -ENOENT, false, false, LAST_NAME, ""},
        {"", 0, true, true, LAST_ROOT, ""},
    };
    struct world w;
    char path[160];
    (void)state;
    open_world(&w, true);
    struct place *p = w.place;
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        for (int again = 0; again < 2; again++) {
            snprintf(path, sizeof(path), "%s/%s", w.mount, c[i].path);
            int err = walk(&w.view, &w.who.c, "/", path, WALK_PARENT, p);
            if (err != c[i].err ||
                (!err && (!p->in_union || p->exists != c[i].exists || p->slash != c[i].slash ||
                          (c[i].last != LAST_ROOT && p->last != c[i].last) ||
                          strcmp(p->node.path, c[i].rel))))
                fail_msg("%s: %d in %d exists %d slash %d last %d %s", c[i].path, err, p->in_union,
                         p->exists, p->slash, p->last, p->node.path);
        }
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlay_paths),
        cmocka_unit_test(test_passthrough_paths),
        cmocka_unit_test(test_resolve_flags),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_search_permission),
        cmocka_unit_test(test_protected_links),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_magic_links),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_mounted_at_root),
        cmocka_unit_test(test_parent),
        cmocka_unit_test(test_mountpoint_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
