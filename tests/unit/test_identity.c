/* One object shows one (st_dev, st_ino) for good: before and after copy-up, rename and link; by
 * name, by descriptor and in listings alike. */
#include "twin.h"

static struct caller the_caller;
static struct cred root_cred;

static const struct cred *give_cred(struct caller *who UNUSED)
{
    return &root_cred;
}
static void do_nothing(struct caller *who UNUSED) {}

static void be_root(void)
{
    root_cred.caps = root_cred.permitted = ~0ull;
    the_caller.ops.cred = give_cred;
    the_caller.ops.assume = the_caller.ops.resume = do_nothing;
    the_caller.same_as_session = true;
}

static struct stat shown(struct overlay *o, const char *rel)
{
    struct vnode n;
    struct stat st;
    int r = slow_lookup(o, rel, &n);
    if (r < 0)
        fail_msg("%s: %d", rel, r);
    assert_int_equal(overlay_getattr(&o->vfs, &n, &st), 0);
    return st;
}

static u64 listed(struct overlay *o, const char *rel)
{
    char up[256];
    struct vnode n;
    struct listing l = {0};
    u64 ino = 0;
    snprintf(up, sizeof(up), "%s", rel);
    path_pop(up, strlen(up));
    assert_int_equal(slow_lookup(o, up, &n), 0);
    assert_int_equal(overlay_list(&o->vfs, &n, &l), 0);
    for (u32 i = 0; i < l.count; i++) {
        if (strcmp(listing_at(&l, i)->name, path_last(rel, strlen(rel))) == 0)
            ino = listing_at(&l, i)->ino;
    }
    listing_free(&l);
    return ino;
}

/* By name, by descriptor and in the listing: the same. */
static void agrees(struct overlay *o, const char *rel)
{
    struct vnode n;
    struct stat by_name = shown(o, rel), by_fd;
    assert_int_equal(slow_lookup(o, rel, &n), 0);
    int fd = overlay_grab(&o->vfs, &n);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &by_fd), 0);
    assert_int_equal(overlay_identify(&o->vfs, fd, &by_fd), 0);
    if (!dev_ino_equal(&by_name, &by_fd) || by_name.st_nlink != by_fd.st_nlink)
        fail_msg("%s: by name %lx:%lu, %lu links; by descriptor %lx:%lu, %lu links", rel,
                 by_name.st_dev, by_name.st_ino, by_name.st_nlink, by_fd.st_dev, by_fd.st_ino,
                 by_fd.st_nlink);
    if (listed(o, rel) != by_name.st_ino)
        fail_msg("%s: listed as %lu, stat says %lu", rel, listed(o, rel), by_name.st_ino);
    close(fd);
}

static void agrees_all(struct overlay *o, const char *const *rel)
{
    for (; *rel; rel++)
        agrees(o, *rel);
}

static void copy_up(struct overlay *o, const char *rel)
{
    struct vnode n;
    assert_int_equal(slow_lookup(o, rel, &n), 0);
    assert_int_equal(overlay_copy_up(&o->vfs, &the_caller, &n, UINT64_MAX), 0);
    assert_int_equal(n.top, 0);
}

static void move(struct overlay *o, const char *from, const char *to)
{
    struct vnode *n = malloc(2 * sizeof(*n));
    assert_int_equal(slow_lookup(o, from, n), 0);
    int r = slow_lookup(o, to, n + 1);
    assert_true(r == 0 || r == -ENOENT);
    assert_int_equal(overlay_rename(&o->vfs, &the_caller, n, n + 1, 0), 0);
    free(n);
}

static void link_to(struct overlay *o, const char *from, const char *to)
{
    struct vnode *n = malloc(2 * sizeof(*n));
    assert_int_equal(slow_lookup(o, from, n), 0);
    assert_int_equal(slow_lookup(o, to, n + 1), -ENOENT);
    assert_int_equal(overlay_link(&o->vfs, &the_caller, n, -1, n + 1), 0);
    free(n);
}

/* l1: a/ with f, ln, p, sub/x; u: own/ */
static void make_layers(struct twin *t)
{
    twin_make(t, 1, 2, false);
    twin_dir(t, 1, "a", false, false);
    twin_dir(t, 1, "a/sub", false, false);
    twin_dir(t, 2, "a", false, false);
    put_file(twin_path(t, 1, "a/f").k, "f");
    put_file(twin_path(t, 2, "a/g").k, "g");
    put_file(twin_path(t, 1, "a/sub/x").k, "x");
    must(symlink("f", twin_path(t, 1, "a/ln").k), "ln");
    must(mkfifo(twin_path(t, 1, "a/p").k, 0644), "p");
    must(link(twin_path(t, 1, "a/f").k, twin_path(t, 1, "h1").k), "h1");
    must(link(twin_path(t, 2, "a/g").k, twin_path(t, 2, "h2").k), "h2");
    must(unlink(twin_path(t, 1, "h1").k), "h1");
    twin_dir(t, 0, "own", false, false);
    put_file(twin_path(t, 0, "own/u").k, "u");
    be_root();
}

static void over_copy_up(void **state UNUSED)
{
    static const char *const paths[] = {"a/f", "a/ln", "a/p", "a/sub/x", "a/sub", "a", NULL};
    struct twin t;
    make_layers(&t);
    twin_start(&t, "k", STYLE_CHARDEV);
    for (const char *const *p = paths; *p; p++) {
        struct stat before = shown(t.o, *p);
        agrees_all(t.o, paths);
        copy_up(t.o, *p);
        struct stat after = shown(t.o, *p);
        if (!dev_ino_equal(&before, &after))
            fail_msg("%s: %lu became %lu", *p, before.st_ino, after.st_ino);
        if (S_ISDIR(after.st_mode))
            assert_int_equal(after.st_nlink, 1);
        agrees_all(t.o, paths);
    }
    struct stat f = shown(t.o, "a/f"), d = shown(t.o, "a");
    twin_stop(&t);
    twin_start(&t, "k", STYLE_CHARDEV); /* another session */
    struct stat f2 = shown(t.o, "a/f"), d2 = shown(t.o, "a");
    assert_true(dev_ino_equal(&f, &f2) && dev_ino_equal(&d, &d2));
    agrees(t.o, "a/f");
    agrees(t.o, "a/ln");
    twin_stop(&t);
    twin_done(&t);
}

static void over_rename_and_link(void **state UNUSED)
{
    struct twin t;
    make_layers(&t);
    twin_start(&t, "k", STYLE_CHARDEV);
    struct stat f = shown(t.o, "a/f"), ln = shown(t.o, "a/ln"), p = shown(t.o, "a/p"),
                x = shown(t.o, "a/sub/x"), sub = shown(t.o, "a/sub"), now;
    move(t.o, "a/f", "own/f");
    now = shown(t.o, "own/f");
    assert_true(dev_ino_equal(&f, &now));
    agrees(t.o, "own/f");
    agrees(t.o, "own/u");
    link_to(t.o, "a/p", "own/p2");
    now = shown(t.o, "own/p2");
    assert_true(dev_ino_equal(&p, &now));
    agrees(t.o, "own/p2");
    agrees(t.o, "a/p");
    move(t.o, "a/ln", "own/ln");
    now = shown(t.o, "own/ln");
    assert_true(dev_ino_equal(&ln, &now));
    agrees(t.o, "own/ln");
    move(t.o, "a/sub", "own/sub");
    now = shown(t.o, "own/sub");
    assert_true(dev_ino_equal(&sub, &now));
    assert_int_equal(now.st_nlink, 1);
    now = shown(t.o, "own/sub/x");
    assert_true(dev_ino_equal(&x, &now));
    agrees(t.o, "own/sub/x");
    agrees(t.o, "own/sub");
    twin_stop(&t);
    twin_done(&t);
}

static void link_in_fresh_directory(void **state UNUSED)
{
    struct twin t;
    make_layers(&t);
    twin_dir(&t, 0, "fresh", false, false);
    twin_start(&t, "k", STYLE_CHARDEV);
    link_to(t.o, "a/sub/x", "fresh/x2");
    agrees(t.o, "fresh/x2");
    agrees(t.o, "a/sub/x");
    struct stat one = shown(t.o, "fresh/x2"), two = shown(t.o, "a/sub/x");
    assert_true(dev_ino_equal(&one, &two));
    twin_stop(&t);
    twin_done(&t);
}

static void hard_links_of_a_lower(void **state UNUSED)
{
    struct twin t;
    make_layers(&t);
    twin_start(&t, "k", STYLE_CHARDEV);
    struct stat g = shown(t.o, "a/g"), h = shown(t.o, "h2"), after;
    assert_true(dev_ino_equal(&g, &h));
    copy_up(t.o, "a/g");
    after = shown(t.o, "a/g");
    assert_false(dev_ino_equal(&g, &after)); /* another file from now on */
    after = shown(t.o, "h2");
    assert_true(dev_ino_equal(&g, &after));
    agrees(t.o, "a/g");
    agrees(t.o, "h2");
    twin_stop(&t);
    twin_done(&t);
}

/* An upper that something else made: merged directories without an origin. */
static void foreign_upper(void **state UNUSED)
{
    struct twin t;
    make_layers(&t);
    twin_dir(&t, 0, "a", false, false);
    twin_dir(&t, 0, "a/sub", true, false);
    put_file(twin_path(&t, 0, "a/new").k, "n");
    twin_start(&t, "k", STYLE_CHARDEV);
    struct stat low, st = shown(t.o, "a");
    must(stat(twin_path(&t, 1, "a").k, &low), "a");
    assert_true(dev_ino_equal(&low, &st));
    assert_int_equal(st.st_nlink, 1);
    must(stat(twin_path(&t, 0, "a/sub").k, &low), "sub");
    st = shown(t.o, "a/sub");
    assert_true(dev_ino_equal(&low, &st));
    agrees(t.o, "a");
    agrees(t.o, "a/sub");
    agrees(t.o, "a/new");
    agrees(t.o, "a/g");
    /* the lower part of a merged directory, by descriptor */
    int fd = open(twin_path(&t, 2, "a").k, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(overlay_identify(&t.o->vfs, fd, &st), 0);
    struct stat a = shown(t.o, "a");
    assert_true(dev_ino_equal(&a, &st));
    assert_int_equal(st.st_nlink, 1);
    close(fd);
    /* what is none of ours stays as it is */
    fd = open("/tmp", O_PATH | O_CLOEXEC);
    assert_int_equal(fstat(fd, &a), 0);
    st = a;
    assert_int_equal(overlay_identify(&t.o->vfs, fd, &st), 0);
    assert_memory_equal(&a, &st, sizeof(st));
    close(fd);
    twin_stop(&t);
    twin_done(&t);
}

/* Whoever has a removed copy open sees what it showed. Its inode number may be used again: that one
 * shows nothing of the old one, named or removed in its turn. */
static void forgotten(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    make_layers(&t);
    twin_start(&t, "k", STYLE_CHARDEV);
    copy_up(t.o, "a/p");
    assert_int_equal(slow_lookup(t.o, "a/p", &n), 0);
    struct stat real = n.st, st = real;
    int fd = overlay_grab(&t.o->vfs, &n);
    assert_true(fd >= 0);
    overlay_show_identity(t.o, fd, &st);
    assert_false(dev_ino_equal(&real, &st));
    struct stat low = st;
    assert_true(overlay_copy_of(t.o, &n, &low));
    assert_int_equal(overlay_unlink(&t.o->vfs, &the_caller, &n), 0);
    st = real;
    overlay_show_identity(t.o, fd, &st);
    assert_true(dev_ino_equal(&real, &st));
    assert_false(overlay_copy_of(t.o, &n, &low));
    st.st_nlink = 0;
    overlay_show_identity(t.o, fd, &st);
    assert_true(dev_ino_equal(&low, &st));
    overlay_drop_origin(t.o, &real);
    st = real;
    st.st_nlink = 0;
    overlay_show_identity(t.o, fd, &st);
    assert_true(dev_ino_equal(&real, &st));
    close(fd);
    twin_stop(&t);
    twin_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_copy_up),
        cmocka_unit_test(over_rename_and_link),
        cmocka_unit_test(link_in_fresh_directory),
        cmocka_unit_test(hard_links_of_a_lower),
        cmocka_unit_test(foreign_upper),
        cmocka_unit_test(forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
