/* Merged listings against a kernel overlay mount of the same layers. */
#include "twin.h"

#define SEEDS 15

static bool compare_inodes;
static u64 the_seed;

static const struct listing_entry *entry_of(const struct listing *l, const char *name)
{
    const struct listing_entry *found = NULL;
    for (u32 i = 0; i < l->count; i++) {
        const struct listing_entry *e = listing_at(l, i);
        if (e->len == strlen(name) && strcmp(e->name, name) == 0) {
            assert_null(found); /* each once */
            found = e;
        }
    }
    return found;
}

/* Each entry is what a lookup of the name gives. */
static void agrees_with_lookup(struct overlay *o, const struct vnode *dir, const struct listing *l)
{
    for (u32 i = 0; i < l->count; i++) {
        const struct listing_entry *e = listing_at(l, i);
        struct vnode n;
        struct stat st;
        int r = 0;
        if (strcmp(e->name, ".") == 0)
            r = overlay_descend(&o->vfs, dir->path, dir->len, &n);
        else if (strcmp(e->name, "..") == 0 && dir->len == 0)
            continue;
        else if (strcmp(e->name, "..") == 0)
            r = overlay_parent(o, dir, &n);
        else
            r = overlay_lookup(&o->vfs, dir, e->name, e->len, &n);
        assert_int_equal(r, 0);
        if (!vnode_exists(&n))
            fail_msg("seed %llu, %s: %s is listed and not there", (unsigned long long)the_seed,
                     dir->path, e->name);
        assert_int_equal(overlay_getattr(&o->vfs, &n, &st), 0);
        if (e->ino != st.st_ino || e->type != (st.st_mode & S_IFMT) >> 12)
            fail_msg("seed %llu, %s: %s is listed as %lu, type %d; stat says %lu, mode %o",
                     (unsigned long long)the_seed, dir->path, e->name, e->ino, e->type, st.st_ino,
                     st.st_mode);
    }
}

static void agrees_with_kernel(struct twin *t, const char *rel, const struct listing *l)
{
    char path[512];
    u32 count = 0;
    snprintf(path, sizeof(path), "%s/mnt/%s", t->dir, rel);
    DIR *d = opendir(path);
    assert_non_null(d);
    struct dirent *k;
    while ((k = readdir(d))) {
        struct stat st;
        /* The kernel lists stray marks where nothing is merged; they are not there. */
        if (fstatat(dirfd(d), k->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        count++;
        const struct listing_entry *e = entry_of(l, k->d_name);
        if (!e)
            fail_msg("seed %llu, %s: %s is missing", (unsigned long long)the_seed, rel, k->d_name);
        if (e->type != k->d_type)
            fail_msg("seed %llu, %s: %s has type %d", (unsigned long long)the_seed, rel, k->d_name,
                     e->type);
        /* What it lists for a merged directory without marks is not what its stat says. */
        if (!*rel && strcmp(k->d_name, "..") == 0)
            assert_int_equal(e->ino, st.st_ino);
        else if (compare_inodes && e->ino != st.st_ino)
            fail_msg("seed %llu, %s: %s has %lu, the kernel's %lu", (unsigned long long)the_seed,
                     rel, k->d_name, e->ino, st.st_ino);
    }
    closedir(d);
    assert_int_equal(count, l->count);
}

static void see(struct twin *t, const char *rel)
{
    struct vnode dir;
    struct listing l = {0};
    if (slow_lookup(t->o, rel, &dir) < 0)
        return;
    if (!vnode_is_dir(&dir)) {
        assert_int_equal(overlay_list(&t->o->vfs, &dir, &l), -ENOTDIR);
        return;
    }
    assert_int_equal(overlay_list(&t->o->vfs, &dir, &l), 0);
    agrees_with_lookup(t->o, &dir, &l);
    agrees_with_kernel(t, rel, &l);
    assert_int_equal(overlay_dir_empty(t->o, &dir), l.count == 2);
    listing_free(&l);
}

static void sweep(struct twin *t, const char *set, enum marker_style style)
{
    twin_start(t, set, style);
    compare_inodes = *set == 'k';
    each_path(t, see);
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
}

/* Marked files in a directory that says so (opaque=x), in the kernel's and in our reading. */
static void xattr_whiteouts(void **state UNUSED)
{
    struct twin t;
    twin_make(&t, 1, 2, false);
    compare_inodes = true;
    the_seed = 0;
    for (int i = 1; i <= 2; i++) {
        twin_dir(&t, i, "a", false, false);
        put_file(twin_path(&t, i, "a/a").k, "");
        put_file(twin_path(&t, i, "a/b").k, i == 1 ? "" : "two");
        put_file(twin_path(&t, i, "a/c").k, "three");
    }
    must(setxattr(twin_path(&t, 1, "a").k, "trusted.overlay.opaque", "x", 1, 0), "x");
    must(setxattr(twin_path(&t, 1, "a/b").k, "trusted.overlay.whiteout", "", 0, 0), "whiteout");
    must(setxattr(twin_path(&t, 1, "a/c").k, "trusted.overlay.whiteout", "", 0, 0), "no whiteout");
    twin_mount(&t);
    twin_start(&t, "k", STYLE_CHARDEV);
    struct vnode n;
    assert_int_equal(slow_lookup(t.o, "a/b", &n), -ENOENT);
    assert_int_equal(slow_lookup(t.o, "a/c", &n), 0);
    each_path(&t, see);
    twin_stop(&t);
    twin_done(&t);
}

static void masks_and_work(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    struct listing l = {0};
    twin_make(&t, 1, 2, false);
    must(mkdir(twin_path(&t, 0, WORK_NAME).k, 0755), "work");
    must(mkdir(twin_path(&t, 1, "up").k, 0755), "up");
    put_file(twin_path(&t, 1, "f").k, "1");
    put_file(twin_path(&t, 1, ".wh.name").k, "1");
    twin_start(&t, "k", STYLE_CHARDEV);
    t.s->mask[0].layer = 1;
    t.s->mask[0].path = session_add_text(t.s, "up");
    t.s->nmasks = 1;
    assert_int_equal(overlay_root(&t.o->vfs, &n), 0);
    assert_int_equal(overlay_list(&t.o->vfs, &n, &l), 0);
    assert_int_equal(l.count, 4);
    assert_non_null(entry_of(&l, "f"));
    assert_non_null(entry_of(&l, ".wh.name"));
    listing_free(&l);
    twin_stop(&t);
    twin_done(&t);
}

static void emptiness(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    twin_make(&t, 1, 1, false);
    for (int i = 0; i <= 1; i++) {
        twin_dir(&t, i, "a", false, false);
        twin_dir(&t, i, "b", false, false);
    }
    put_file(twin_path(&t, 1, "a/a").k, "");
    put_file(twin_path(&t, 1, "b/a").k, "");
    put_file(twin_path(&t, 1, "b/b").k, "");
    twin_whiteout(&t, 0, "a/a");
    twin_whiteout(&t, 0, "b/a");
    twin_start(&t, "k", STYLE_CHARDEV);
    assert_int_equal(slow_lookup(t.o, "a", &n), 0);
    assert_int_equal(overlay_dir_empty(t.o, &n), 1);
    assert_int_equal(slow_lookup(t.o, "b", &n), 0);
    assert_int_equal(overlay_dir_empty(t.o, &n), 0);
    twin_stop(&t);
    twin_done(&t);
}

static void many_names(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    struct listing l = {0};
    twin_make(&t, 1, 2, false);
    for (int i = 0; i < 3000; i++) {
        char name[64];
        snprintf(name, sizeof(name), "name-%d", i);
        put_file(twin_path(&t, 1 + i % 2, name).k, "");
        if (i % 3 == 0)
            twin_whiteout(&t, 0, name);
    }
    twin_start(&t, "k", STYLE_CHARDEV);
    assert_int_equal(overlay_root(&t.o->vfs, &n), 0);
    assert_int_equal(overlay_list(&t.o->vfs, &n, &l), 0);
    assert_int_equal(l.count, 2002);
    listing_free(&l);
    twin_stop(&t);
    twin_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_lower),      cmocka_unit_test(three_lowers),
        cmocka_unit_test(read_only),      cmocka_unit_test(xattr_whiteouts),
        cmocka_unit_test(masks_and_work), cmocka_unit_test(emptiness),
        cmocka_unit_test(many_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
