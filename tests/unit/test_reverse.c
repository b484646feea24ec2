/* From a real object back to its name: after copy-up, rename, removal. */
#include "twin.h"

static struct caller the_caller;
static struct cred root_cred;

static const struct cred *give_cred(struct caller *who UNUSED)
{
    return &root_cred;
}
static void do_nothing(struct caller *who UNUSED) {}

/* l1: d/f, d/sub/x, other; l2: d/g; u: new/ */
static void make_layers(struct twin *t)
{
    root_cred.caps = root_cred.permitted = ~0ull;
    the_caller.ops.cred = give_cred;
    the_caller.ops.assume = the_caller.ops.resume = do_nothing;
    the_caller.same_as_session = true;
    twin_make(t, 1, 2, false);
    twin_dir(t, 1, "d", false, false);
    twin_dir(t, 1, "d/sub", false, false);
    twin_dir(t, 2, "d", false, false);
    put_file(twin_path(t, 1, "d/f").k, "f");
    put_file(twin_path(t, 1, "d/sub/x").k, "x");
    put_file(twin_path(t, 2, "d/g").k, "g");
    put_file(twin_path(t, 2, "d/f").k, "hidden");
    put_file(twin_path(t, 1, "other").k, "o");
    twin_dir(t, 0, "new", false, false);
    put_file(twin_path(t, 0, "new/u").k, "u");
    twin_start(t, "k", STYLE_CHARDEV);
}

static void finish(struct twin *t)
{
    twin_stop(t);
    twin_done(t);
}

static int look(struct twin *t, int layer, const char *rel, const struct stat *st,
                struct vnode *out)
{
    return overlay_reverse(&t->o->vfs, (unsigned)layer, rel, st, out);
}

static struct stat real_stat(struct twin *t, int layer, const char *rel)
{
    struct stat st;
    must(lstat(twin_path(t, layer, rel).k, &st), rel);
    return st;
}

static void is_at(struct twin *t, int layer, const char *rel, const struct stat *st,
                  const char *name)
{
    struct vnode n;
    int r = look(t, layer, rel, st, &n);
    if (r != 0 || strcmp(n.path, name))
        fail_msg("%s of layer %d: %d, %s instead of %s", rel, layer, r, n.path, name);
    assert_true(vnode_exists(&n));
}

static void is_gone(struct twin *t, int layer, const char *rel, const struct stat *st,
                    const char *last_name)
{
    struct vnode n;
    assert_int_equal(look(t, layer, rel, st, &n), -ENOENT);
    assert_string_equal(n.path, last_name);
    assert_false(vnode_exists(&n));
}

static void node(struct twin *t, const char *rel, struct vnode *n)
{
    int r = slow_lookup(t->o, rel, n);
    assert_true(r == 0 || r == -ENOENT);
}

static void visible_as_it_lies(void **state UNUSED)
{
    struct twin t;
    make_layers(&t);
    static const struct {
        int layer;
        const char *rel;
    } here[] = {{1, ""},        {0, ""},    {1, "d"},   {2, "d"},    {1, "d/f"},
                {1, "d/sub/x"}, {2, "d/g"}, {0, "new"}, {0, "new/u"}};
    for (size_t i = 0; i < ARRAY_LEN(here); i++) {
        struct stat st = real_stat(&t, here[i].layer, here[i].rel);
        is_at(&t, here[i].layer, here[i].rel, &st, here[i].rel);
    }
    struct stat st = real_stat(&t, 2, "d/f");
    is_gone(&t, 2, "d/f", &st, "d/f"); /* hidden by layer 1 */
    st = real_stat(&t, 0, "new/u");
    is_gone(&t, 0, "new/other (deleted)", &st, "new/other");
    finish(&t);
}

static void copied_up(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    make_layers(&t);
    struct stat f = real_stat(&t, 1, "d/f"), d = real_stat(&t, 2, "d");
    node(&t, "d/f", &n);
    assert_int_equal(overlay_copy_up(&t.o->vfs, &the_caller, &n, UINT64_MAX), 0);
    is_at(&t, 1, "d/f", &f, "d/f");
    is_at(&t, 2, "d", &d, "d");
    struct stat up = real_stat(&t, 0, "d/f");
    is_at(&t, 0, "d/f", &up, "d/f");
    /* another file takes the name: the old one is gone */
    node(&t, "d/f", &n);
    assert_int_equal(overlay_unlink(&t.o->vfs, &the_caller, &n), 0);
    is_gone(&t, 1, "d/f", &f, "d/f");
    put_file(twin_path(&t, 0, "d/fresh").k, "fresh");
    must(rename(twin_path(&t, 0, "d/fresh").k, twin_path(&t, 0, "d/f").k), "f");
    index_touch_all(t.o->index);
    is_gone(&t, 1, "d/f", &f, "d/f");
    is_gone(&t, 0, "d/f (deleted)", &up, "d/f");
    finish(&t);
}

/* The copy of one of a file's names shows another inode, and is found all the same. */
static void one_name_of_many(void **state UNUSED)
{
    static const char *const name[] = {"d/f", "d/link"};
    struct twin t;
    struct vnode n, m;
    make_layers(&t);
    must(link(twin_path(&t, 1, "d/f").k, twin_path(&t, 1, "d/f2").k), "link");
    must(symlink("x", twin_path(&t, 1, "d/link").k), "symlink");
    must(link(twin_path(&t, 1, "d/link").k, twin_path(&t, 1, "d/link2").k), "link");
    for (size_t i = 0; i < ARRAY_LEN(name); i++) {
        struct stat low = real_stat(&t, 1, name[i]), st;
        node(&t, name[i], &n);
        assert_int_equal(overlay_copy_up(&t.o->vfs, &the_caller, &n, UINT64_MAX), 0);
        is_at(&t, 1, name[i], &low, name[i]);
        assert_int_equal(overlay_getattr(&t.o->vfs, &n, &st), 0);
        assert_false(dev_ino_equal(&st, &low));
        /* another object of that name is not it */
        assert_int_equal(overlay_unlink(&t.o->vfs, &the_caller, &n), 0);
        is_gone(&t, 1, name[i], &low, name[i]);
        node(&t, name[i], &m);
        int r = i ? overlay_symlink(&t.o->vfs, &the_caller, &m, "y")
                  : overlay_mknod(&t.o->vfs, &the_caller, &m, S_IFREG | 0644, 0);
        assert_int_equal(r, 0);
        is_gone(&t, 1, name[i], &low, name[i]);
    }
    finish(&t);
}

static void renamed_directory(void **state UNUSED)
{
    struct twin t;
    struct vnode *n = malloc(2 * sizeof(*n));
    make_layers(&t);
    struct stat d = real_stat(&t, 1, "d"), f = real_stat(&t, 1, "d/f"),
                x = real_stat(&t, 1, "d/sub/x"), sub = real_stat(&t, 1, "d/sub");
    node(&t, "d", n);
    node(&t, "new/e", n + 1);
    assert_int_equal(overlay_rename(&t.o->vfs, &the_caller, n, n + 1, 0), 0);
    is_at(&t, 1, "d", &d, "new/e");
    is_at(&t, 1, "d/f", &f, "new/e/f");
    is_at(&t, 1, "d/sub", &sub, "new/e/sub");
    is_at(&t, 1, "d/sub/x", &x, "new/e/sub/x");
    /* and on: what leads there is the directory, not its name */
    node(&t, "new", n);
    node(&t, "newer", n + 1);
    assert_int_equal(overlay_rename(&t.o->vfs, &the_caller, n, n + 1, 0), 0);
    is_at(&t, 1, "d/sub/x", &x, "newer/e/sub/x");
    /* a new directory of the old name is another one */
    node(&t, "d", n);
    assert_int_equal(overlay_mkdir(&t.o->vfs, &the_caller, n, 0755), 0);
    is_at(&t, 1, "d", &d, "newer/e");
    is_at(&t, 1, "d/f", &f, "newer/e/f");
    /* a file removed there is gone, and another one of its name is not it */
    node(&t, "newer/e/f", n);
    assert_int_equal(overlay_unlink(&t.o->vfs, &the_caller, n), 0);
    is_gone(&t, 1, "d/f", &f, "newer/e/f");
    node(&t, "newer/e/f", n);
    assert_int_equal(overlay_mknod(&t.o->vfs, &the_caller, n, S_IFREG | 0644, 0), 0);
    is_gone(&t, 1, "d/f", &f, "newer/e/f");
    /* so is the directory itself, from where it was last, also when another one is there */
    static const char *const all[] = {"newer/e/f", "newer/e/g", "newer/e/sub/x"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        node(&t, all[i], n);
        assert_int_equal(overlay_unlink(&t.o->vfs, &the_caller, n), 0);
    }
    node(&t, "newer/e/sub", n);
    assert_int_equal(overlay_rmdir(&t.o->vfs, &the_caller, n), 0);
    is_gone(&t, 1, "d/sub", &sub, "newer/e/sub");
    node(&t, "newer/e", n);
    assert_int_equal(overlay_rmdir(&t.o->vfs, &the_caller, n), 0);
    is_gone(&t, 1, "d", &d, "newer/e");
    node(&t, "newer/e", n);
    assert_int_equal(overlay_mkdir(&t.o->vfs, &the_caller, n, 0755), 0);
    is_gone(&t, 1, "d", &d, "newer/e");
    free(n);
    finish(&t);
}

static void removed_directory(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    make_layers(&t);
    struct stat sub = real_stat(&t, 1, "d/sub"), x = real_stat(&t, 1, "d/sub/x");
    node(&t, "d/sub/x", &n);
    assert_int_equal(overlay_unlink(&t.o->vfs, &the_caller, &n), 0);
    node(&t, "d/sub", &n);
    assert_int_equal(overlay_rmdir(&t.o->vfs, &the_caller, &n), 0);
    is_gone(&t, 1, "d/sub", &sub, "d/sub");
    is_gone(&t, 1, "d/sub/x", &x, "d/sub/x");
    node(&t, "d/sub", &n);
    assert_int_equal(overlay_mkdir(&t.o->vfs, &the_caller, &n, 0755), 0);
    is_gone(&t, 1, "d/sub", &sub, "d/sub");
    is_gone(&t, 1, "d/sub/x", &x, "d/sub/x");
    struct stat fresh = real_stat(&t, 0, "d/sub");
    is_at(&t, 0, "d/sub", &fresh, "d/sub");
    finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(visible_as_it_lies), cmocka_unit_test(copied_up),
        cmocka_unit_test(one_name_of_many),   cmocka_unit_test(renamed_directory),
        cmocka_unit_test(removed_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
