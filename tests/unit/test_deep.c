/* Paths as long as the kernel takes them: what is put before them (a layer's path, a descriptor's
 * link) must not make them too long. */
#include "twin.h"

#define NAME_LEN 200

static struct caller the_caller;
static struct cred root_cred;

static const struct cred *give_cred(struct caller *who UNUSED)
{
    return &root_cred;
}
static void do_nothing(struct caller *who UNUSED) {}

/* Directories of long names below `top` until rel is `len` long; a descriptor of the last one. */
static int dig(const char *top, char *rel, size_t len)
{
    char name[NAME_LEN + 1];
    size_t at = 0;
    int fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(fd, top);
    rel[0] = '\0';
    while (at < len) {
        size_t n = len - at - (at > 0), below;
        n = n > NAME_LEN + 2 ? NAME_LEN : n > NAME_LEN ? NAME_LEN / 2 : n;
        memset(name, 'd', n);
        name[n] = '\0';
        must(mkdirat(fd, name, 0755), name);
        below = (size_t)openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = (int)below;
        must(fd, name);
        assert_int_equal(path_push(rel, PATH_MAX, &at, name, n), 0);
    }
    return fd;
}

static void find(struct overlay *o, const char *rel, struct vnode *n)
{
    int r = overlay_descend(&o->vfs, rel, strlen(rel), n);
    if (r)
        fail_msg("%zu bytes: %d", strlen(rel), r);
}

static bool is_listed(struct overlay *o, const struct vnode *dir, const char *name, u64 ino)
{
    struct listing l = {0};
    bool found = false;
    assert_int_equal(overlay_list(&o->vfs, dir, &l), 0);
    for (u32 i = 0; i < l.count; i++) {
        const struct listing_entry *e = listing_at(&l, i);
        found |= !strcmp(e->name, name) && e->ino == ino;
    }
    listing_free(&l);
    return found;
}

static void at_length(size_t len, enum marker_style style, int lowers)
{
    struct twin t;
    struct vnode *n = malloc(3 * sizeof(*n)), *dir = n + 1, *f = n + 2;
    struct stat low, st;
    char rel[PATH_MAX + 8];
    struct vfs *fs;
    root_cred.caps = root_cred.permitted = ~0ull;
    the_caller.ops.cred = give_cred;
    the_caller.ops.assume = the_caller.ops.resume = do_nothing;
    the_caller.same_as_session = true;
    twin_make(&t, 1, lowers, false);
    int fd = dig(twin_path(&t, 1, "").k, rel, len);
    for (int i = 0; i < 2; i++) {
        int file = openat(fd, i ? "g" : "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        must(write(file, "text", 4), "f");
        must(fstat(file, &low), "f");
        close(file);
    }
    must(fstatat(fd, "f", &low, 0), "f");
    close(fd);
    twin_start(&t, "k", style);
    fs = &t.o->vfs;
    for (int i = 0; i < 2; i++) {
        find(t.o, rel, dir);
        assert_true(vnode_is_dir(dir));
        assert_int_equal(overlay_lookup(fs, dir, "f", 1, f), 0);
        assert_int_equal(overlay_getattr(fs, f, &st), 0);
        assert_true(dev_ino_equal(&st, &low));
        assert_true(is_listed(t.o, dir, "f", low.st_ino));
        assert_int_equal(overlay_permission(fs, &the_caller, f, R_OK | W_OK), 0);
        fd = overlay_grab(fs, f);
        must(fd, "grab");
        must(fstat(fd, &st), "grab");
        close(fd);
        assert_int_equal(fs->ops.copy_up(fs, &the_caller, f, UINT64_MAX), 0);
        assert_int_equal(f->top, 0);
        assert_int_equal(overlay_getattr(fs, f, &st), 0);
        assert_true(dev_ino_equal(&st, &low));
        fd = overlay_grab(fs, f);
        must(fstat(fd, &st), "grab");
        assert_int_equal(overlay_identify(fs, fd, &st), 0);
        assert_true(dev_ino_equal(&st, &low));
        close(fd);
    }
    /* a whiteout down there, and what it hides */
    assert_int_equal(fs->ops.unlink(fs, &the_caller, f), 0);
    find(t.o, rel, dir);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(overlay_lookup(fs, dir, "f", 1, n), 0);
        assert_false(vnode_exists(n));
        assert_true(n->whiteout);
        assert_false(is_listed(t.o, dir, "f", low.st_ino));
    }
    assert_int_equal(fs->ops.mkdir(fs, &the_caller, n, 0755), 0);
    assert_int_equal(fs->ops.rmdir(fs, &the_caller, n), 0);
    assert_int_equal(overlay_lookup(fs, dir, "f", 1, n), 0);
    assert_false(vnode_exists(n));
    free(n);
    twin_stop(&t);
    twin_done(&t);
}

static void long_paths(void **state UNUSED)
{
    static const size_t len[] = {3900, 4040, 4060, 4070, 4080, 4084};
    for (size_t i = 0; i < ARRAY_LEN(len); i++) {
        at_length(len[i], STYLE_CHARDEV, 1);
        at_length(len[i], STYLE_CHARDEV, 2);
        at_length(len[i], STYLE_FILEPREFIX, 1);
        at_length(len[i], STYLE_FILEPREFIX, 2);
    }
}

/* What does not fit says so. */
static void too_long(void **state UNUSED)
{
    struct twin t;
    struct vnode *n = malloc(2 * sizeof(*n));
    char rel[PATH_MAX + 8], real[PATH_MAX], name[300];
    twin_make(&t, 1, 1, false);
    close(dig(twin_path(&t, 1, "").k, rel, 4090));
    twin_start(&t, "k", STYLE_CHARDEV);
    find(t.o, rel, n);
    assert_true(vnode_is_dir(n));
    memset(name, 'x', sizeof(name));
    assert_int_equal(overlay_lookup(&t.o->vfs, n, name, 4, n + 1), 0);
    assert_int_equal(overlay_lookup(&t.o->vfs, n, name, 5, n + 1), -ENAMETOOLONG);
    assert_int_equal(overlay_locate(&t.o->vfs, n, real, sizeof(real)), -ENAMETOOLONG);
    memset(rel, 'y', sizeof(rel));
    assert_int_equal(overlay_descend(&t.o->vfs, rel, PATH_MAX, n), -ENAMETOOLONG);
    assert_int_equal(overlay_descend(&t.o->vfs, rel, 300, n), -ENAMETOOLONG);
    free(n);
    twin_stop(&t);
    twin_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_paths),
        cmocka_unit_test(too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
