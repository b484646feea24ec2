/* Lookup against a kernel overlay mount of the same layers, and its price in system calls. */
#include "twin.h"

#define SEEDS 20

static bool compare_inodes;
static u64 the_seed;

static void same_facts(struct twin *t, const char *rel, const struct vnode *n,
                       const struct stat *kernel)
{
    char mnt[256], ours[PATH_MAX], theirs[PATH_MAX] = "";
    struct stat st;
    assert_int_equal(overlay_getattr(&t->o->vfs, n, &st), 0);
    snprintf(mnt, sizeof(mnt), "%s/mnt/%s", t->dir, rel);
    node_text(t->o, n, ours, sizeof(ours));
    if (S_ISLNK(kernel->st_mode)) {
        ssize_t len = readlink(mnt, theirs, sizeof(theirs) - 1);
        theirs[len] = '\0';
    } else if (S_ISREG(kernel->st_mode)) {
        int fd = open(mnt, O_RDONLY | O_CLOEXEC);
        ssize_t len = read(fd, theirs, sizeof(theirs) - 1);
        theirs[len] = '\0';
        close(fd);
    }
    if (st.st_mode != kernel->st_mode || strcmp(ours, theirs))
        fail_msg("seed %llu, %s: mode %o '%s', the kernel's %o '%s'", (unsigned long long)the_seed,
                 rel, st.st_mode, ours, kernel->st_mode, theirs);
    if (compare_inodes && st.st_ino != kernel->st_ino)
        fail_msg("seed %llu, %s: inode %lu, the kernel's %lu", (unsigned long long)the_seed, rel,
                 st.st_ino, kernel->st_ino);
    if (S_ISDIR(st.st_mode) && *rel && (st.st_nlink == 1) != (kernel->st_nlink == 1))
        fail_msg("seed %llu, %s: %lu links, the kernel's %lu", (unsigned long long)the_seed, rel,
                 st.st_nlink, kernel->st_nlink);
}

static void see(struct twin *t, const char *rel)
{
    struct stat kernel;
    struct vnode slow, fast;
    int want = kernel_stat(t, rel, &kernel);
    int got = slow_lookup(t->o, rel, &slow);
    if (got != want)
        fail_msg("seed %llu, %s: %d, the kernel's %d", (unsigned long long)the_seed, rel, got,
                 want);
    if (want == 0)
        same_facts(t, rel, &slow, &kernel);
    int r = overlay_descend(&t->o->vfs, rel, strlen(rel), &fast);
    if (r == -EAGAIN) {
        /* only where the parent is no directory */
        char up[64];
        struct vnode parent;
        snprintf(up, sizeof(up), "%s", rel);
        path_pop(up, strlen(up));
        if (slow_lookup(t->o, up, &parent) == 0 && vnode_is_dir(&parent))
            fail_msg("seed %llu, %s: not descended to", (unsigned long long)the_seed, rel);
        return;
    }
    if (r != 0 || (want != 0 && want != -ENOENT) || vnode_exists(&fast) != (want == 0))
        fail_msg("seed %llu, %s: descends with %d to %d, the kernel's %d",
                 (unsigned long long)the_seed, rel, r, fast.top, want);
    assert_string_equal(fast.path, rel);
    assert_int_equal(fast.whiteout, slow.whiteout);
    if (want == 0) {
        same_facts(t, rel, &fast, &kernel);
        assert_true(fast.layers == slow.layers && fast.top == slow.top);
    }
}

static void sweep(struct twin *t, const char *set, enum marker_style style)
{
    twin_start(t, set, style);
    compare_inodes = *set == 'k';
    each_path(t, see);
    each_path(t, see); /* what the index has learned */
    twin_stop(t);
}

static void random_layers(int lowers, bool read_only)
{
    for (u64 seed = 1; seed <= SEEDS; seed++) {
        struct twin t;
        the_seed = seed;
        twin_make(&t, seed * 4 + (u64)lowers, lowers, read_only);
        twin_fill_all(&t);
        twin_mount(&t);
        sweep(&t, "k", STYLE_CHARDEV);
        sweep(&t, "w", STYLE_FILEPREFIX);
        twin_done(&t);
    }
}

static void one_lower(void **state UNUSED)
{
    random_layers(1, false);
}
static void three_lowers(void **state UNUSED)
{
    random_layers(3, false);
}
static void read_only(void **state UNUSED)
{
    random_layers(2, true);
    random_layers(1, true);
}

/* -- the price
 * ------------------------------------------------------------------------------------ */
static void names_are_limited(void **state UNUSED)
{
    struct twin t;
    struct vnode root, n;
    char name[300];
    memset(name, 'x', sizeof(name));
    twin_make(&t, 1, 1, false);
    put_file(twin_path(&t, 1, "f").k, "f");
    twin_start(&t, "k", STYLE_CHARDEV);
    assert_int_equal(overlay_root(&t.o->vfs, &root), 0);
    assert_int_equal(overlay_lookup(&t.o->vfs, &root, name, 256, &n), -ENAMETOOLONG);
    assert_int_equal(overlay_lookup(&t.o->vfs, &root, name, 255, &n), 0);
    assert_false(vnode_exists(&n));
    assert_int_equal(overlay_lookup(&t.o->vfs, &root, "f", 1, &n), 0);
    assert_int_equal(overlay_lookup(&t.o->vfs, &n, "x", 1, &n), -ENOTDIR);
    twin_stop(&t);
    twin_done(&t);
}

static void masks_and_reserved_names(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    twin_make(&t, 1, 2, false);
    must(mkdir(twin_path(&t, 0, WORK_NAME).k, 0755), "work");
    twin_dir(&t, 1, "d", false, false);
    twin_dir(&t, 1, "d/up", false, false);
    put_file(twin_path(&t, 1, "d/up/f").k, "1");
    put_file(twin_path(&t, 1, "d/.wh.x").k, "1");
    twin_dir(&t, 2, "d", false, false);
    put_file(twin_path(&t, 2, "d/x").k, "2");
    twin_start(&t, "k", STYLE_CHARDEV);
    t.s->mask[0].layer = 1;
    t.s->mask[0].path = session_add_text(t.s, "d/up");
    t.s->nmasks = 1;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(slow_lookup(t.o, WORK_NAME, &n), -ENOENT);
        assert_int_equal(slow_lookup(t.o, "d/up", &n), -ENOENT);
        assert_int_equal(overlay_descend(&t.o->vfs, "d/up", 4, &n), 0);
        assert_false(vnode_exists(&n));
        assert_int_equal(overlay_descend(&t.o->vfs, "d/up/f", 6, &n), -EAGAIN);
        assert_int_equal(slow_lookup(t.o, "d/.wh.x", &n), 0);
        assert_int_equal(slow_lookup(t.o, "d/x", &n), 0);
    }
    twin_stop(&t);
    twin_start(&t, "k", STYLE_CHARDEV);
    t.s->read_wh = true;
    assert_int_equal(slow_lookup(t.o, "d/.wh.x", &n), -ENOENT);
    assert_int_equal(slow_lookup(t.o, "d/x", &n), -ENOENT);
    twin_stop(&t);
    twin_done(&t);
}

static void lower_has(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    twin_make(&t, 1, 2, false);
    put_file(twin_path(&t, 0, "both").k, "u");
    put_file(twin_path(&t, 1, "both").k, "1");
    put_file(twin_path(&t, 0, "only").k, "u");
    twin_whiteout(&t, 1, "gone");
    put_file(twin_path(&t, 2, "gone").k, "2");
    put_file(twin_path(&t, 0, "gone").k, "u");
    twin_whiteout(&t, 0, "deleted");
    put_file(twin_path(&t, 2, "deleted").k, "2");
    twin_start(&t, "k", STYLE_CHARDEV);
    assert_int_equal(slow_lookup(t.o, "both", &n), 0);
    assert_true(overlay_lower_has(t.o, &n));
    assert_int_equal(slow_lookup(t.o, "only", &n), 0);
    assert_false(overlay_lower_has(t.o, &n));
    assert_int_equal(slow_lookup(t.o, "gone", &n), 0);
    assert_false(overlay_lower_has(t.o, &n));
    assert_int_equal(slow_lookup(t.o, "deleted", &n), -ENOENT);
    assert_true(n.whiteout);
    assert_true(overlay_lower_has(t.o, &n));
    twin_stop(&t);
    twin_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_lower),
        cmocka_unit_test(three_lowers),
        cmocka_unit_test(read_only),
        cmocka_unit_test(names_are_limited),
        cmocka_unit_test(masks_and_reserved_names),
        cmocka_unit_test(lower_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
