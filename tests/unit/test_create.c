/* Creation: the kernel's errors in the kernel's order, owners and modes as it gives them, over
 * whiteouts in either style, by the engine and by the program itself. */
#include "lab_ops.h"

static const char LAYERS[] =
    "mkdir -p l1/d/e l2/d/x l1/gone/sub l2/gone/sub u/up; echo 1 > l1/d/f; echo 2 > l2/d/g;"
    "echo 3 > l1/gone/sub/f; echo 4 > l2/gone/k; mkdir -p l1/sgid l2/acl l1/priv l1/any l1/stick;"
    "chown 0:500 l1/sgid; chmod 2777 l1/sgid; chmod 777 l2/acl l1/any; chmod 700 l1/priv;"
    "chmod 1777 l1/stick; echo s > l1/stick/foreign; echo a > l1/acl_f; touch l1/sgid/old "
    "l2/acl/old;"
    "setfacl -d -m u:1234:rwx,g::rw,o::r l2/acl; echo suid > l1/suid; chmod 4755 l1/suid;"
    "ln -s dangling l1/dang; echo own > l1/any/own; chown 1000:1000 l1/any/own";

static void test_plain_creation(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        LAB_RUN(&lab, "mkdir new 755", "create new/f 666", "symlink target new/s",
                "mknod new/p 10644 0 0", "mknod new/n 20600 1 3", "mkdir d/x/y 700",
                "create d/x/y/z 600", "link d/f d/linked", "link d/g up/g2", "link dang dang2",
                "mkdir d 755", "create d/f 644", "symlink x d/g", "link d/f d/g", "mkdir dang 755",
                "create dang 644", "mkdir nope/x 755", "mkdir d/f/x 755", "link nope x",
                "link d newdir", "mknod d/wh 20000 0 0", "mknod d/f 20000 0 0", "create d/big 640",
                "write d/big data", "link d/f d/e/again", "write d/linked changed");
        lab_close(&lab);
    }
}

static void test_over_whiteouts(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        LAB_RUN(&lab, "unlink d/f", "create d/f 600", "unlink d/f", "symlink t d/f", "unlink d/f",
                "mknod d/f 10600 0 0", "unlink d/f", "link d/g d/f", "unlink d/f", "mkdir d/f 750",
                "create d/f/in 644", "unlink gone/sub/f", "rmdir gone/sub", "unlink gone/k",
                "rmdir gone", "mkdir gone 711", "mkdir gone/sub 755", "create gone/sub/f 644",
                "unlink acl_f", "tmpfile up acl_f", "mknod acl_f 10644 0 0", "unlink acl_f",
                "mkdir acl_f 700", "rmdir acl_f", "create acl_f 640");
        lab_close(&lab);
    }
}

static void test_as_others(void **state UNUSED)
{
    static const char *const lines[] = {
        "create sgid/a 666",
        "mkdir sgid/b 777",
        "symlink t sgid/c",
        "create acl/a 666",
        "mkdir acl/b 777",
        "mknod acl/p 10666 0 0",
        "unlink sgid/old",
        "unlink acl/old",
        "create sgid/old 666",
        "mkdir acl/old 777",
        "create any/a 666",
        "mkdir any/b 777",
        "create priv/x 644",
        "mkdir priv 755",
        "mkdir nope 755",
        "create d/x/new 644",
        "mkdir d/f 755",
        "symlink x d/f",
        "link d/f d/f",
        "link d/f any/f",
        "link suid any/suid",
        "link any/own any/own2",
        "mknod any/dev 20600 1 3",
        "mknod any/wh 20600 0 0",
        "mknod any/fifo 10600 0 0",
        "unlink stick/foreign",
        "create stick/mine 644",
        "unlink stick/mine",
        "tmpfile any any/tmp",
        "tmpfile priv any/tmp2",
        "write any/own more",
        "write d/f more",
        "chmod d/f 777",
        "tmpfile sgid sgid/tmp",
        "mkdir up/x 755",
    };
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        lab_be(&lab, 1000, 1000, 500, 027);
        lab_run(&lab, lines, ARRAY_LEN(lines));
        lab_be(&lab, 1001, 1001, 0, 0);
        lab_run(&lab, lines, ARRAY_LEN(lines));
        lab_close(&lab);
    }
}

/* A refused call leaves nothing in the upper, not even a copied-up parent. */
static void test_refused_leaves_nothing(void **state UNUSED)
{
    struct lab lab;
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    lab_be(&lab, 1000, 1000, 0, 022);
    lab_do(&lab, "create d/x/new 644");
    lab_do(&lab, "link suid any/suid");
    lab_do(&lab, "mknod any/dev 20600 1 3");
    lab_do(&lab, "mkdir d/x 755");
    lab_do(&lab, "unlink d/f");
    lab_do(&lab, "rmdir d/e");
    lab_do(&lab, "rename d/e any/e 0");
    lab_do(&lab, "unlink stick/foreign");
    shell("cd %s/a/u && test \"$(find . | sort | tr '\\n' ' ')\" = '. ./up '", lab.dir);
    lab_close(&lab);
}

static void test_marker_names(void **state UNUSED)
{
    struct lab lab;
    lab_open(&lab, STYLE_FILEPREFIX, LAYERS);
    assert_int_equal(lab_ours(&lab, "create .wh.f 644"), -EINVAL);
    assert_int_equal(lab_ours(&lab, "mkdir d/.wh.x 755"), -EINVAL);
    assert_int_equal(lab_ours(&lab, "symlink t d/.wh..wh..opq"), -EINVAL);
    assert_int_equal(lab_ours(&lab, "mknod .wh.p 10644 0 0"), -EINVAL);
    assert_int_equal(lab_ours(&lab, "link d/f d/.wh.f"), -EINVAL);
    assert_int_equal(lab_ours(&lab, "rename d/f d/.wh.f 0"), -EINVAL);
    lab_close(&lab);
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    LAB_RUN(&lab, "create .wh.f 644", "mkdir .wh..wh..opq 755", "rename d/f .wh.d 0");
    lab_close(&lab);
}

/* A name too long for a marker can be made, and removed where no marker is needed. */
static void test_long_names(void **state UNUSED)
{
    struct lab lab;
    char f[253], d[253], n[253];
    char *script, line[400];
    memset(f, 'f', 252);
    memset(d, 'd', 252);
    memset(n, 'n', 252);
    f[252] = d[252] = n[252] = 0;
    assert_true(asprintf(&script, "touch l1/%s; mkdir l1/%s u/up", f, d) > 0);
    lab_open(&lab, STYLE_FILEPREFIX, script);
    free(script);
    lab_do(&lab, "create %s 644", n);
    lab_do(&lab, "rename %s short 0", n);
    lab_do(&lab, "rename short %s 0", n);
    lab_do(&lab, "unlink %s", n);
    snprintf(line, sizeof(line), "unlink %s", f);
    assert_int_equal(lab_ours(&lab, line), -ENAMETOOLONG);
    snprintf(line, sizeof(line), "rmdir %s", d);
    assert_int_equal(lab_ours(&lab, line), -ENAMETOOLONG);
    snprintf(line, sizeof(line), "rename %s short 0", f);
    assert_int_equal(lab_ours(&lab, line), -ENAMETOOLONG);
    shell("cd %s/a/u && test \"$(find . | sort | tr '\\n' ' ')\" = '. ./up '", lab.dir);
    lab_close(&lab);
}

/* begin and end of a creation that the program executes: undone, taken meanwhile, two at once. */
static void test_pending(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        static struct vfs_pending p, q;
        static struct vnode n;
        char real[PATH_MAX];
        lab_open(&lab, style, LAYERS);
        struct vfs *fs = &lab.o->vfs;
        struct caller *who = &lab.who.c;
        lab_do(&lab, "unlink d/f");
        assert_int_equal(engine_at(&lab, "d/f", &n), 0);
        /* refused: nothing happened */
        assert_int_equal(fs->ops.create_begin(fs, who, &n, false, &p, real, sizeof(real)), 0);
        assert_int_equal(fs->ops.create_end(fs, who, &p, -ECANCELED), 0);
        lab_compare(&lab, "undone");
        /* two at once, where a staged one must wait */
        assert_int_equal(fs->ops.create_begin(fs, who, &n, false, &p, real, sizeof(real)), 0);
        assert_int_equal(p.staged, style == STYLE_CHARDEV);
        int r = fs->ops.create_begin(fs, who, &n, false, &q, real, sizeof(real));
        assert_int_equal(r, style == STYLE_CHARDEV ? -EAGAIN : 0);
        if (r == 0)
            assert_int_equal(fs->ops.create_end(fs, who, &q, -ECANCELED), 0);
        u64 progress = lab.o->progress;
        assert_int_equal(fs->ops.create_end(fs, who, &p, -ECANCELED), 0);
        assert_true(lab.o->progress > progress);
        /* taken meanwhile by a directory */
        assert_int_equal(fs->ops.create_begin(fs, who, &n, false, &p, real, sizeof(real)), 0);
        int fd = open(real, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
        if (style == STYLE_CHARDEV) {
            lab_do(&lab, "mkdir d/f 700");
            assert_int_equal(fs->ops.create_end(fs, who, &p, 3), -EEXIST);
        } else {
            assert_int_equal(fs->ops.create_end(fs, who, &p, 3), 0);
            lab_kernels(&lab, "create d/f 600");
        }
        lab_compare(&lab, "taken");
        lab_close(&lab);
    }
}

/* The new file was removed again before its creation ended: the marker stands for the removal. */
static void test_removed_before_the_end(void **state UNUSED)
{
    struct lab lab;
    static struct vfs_pending p;
    static struct vnode n;
    char real[PATH_MAX];
    lab_open(&lab, STYLE_FILEPREFIX, LAYERS);
    struct vfs *fs = &lab.o->vfs;
    lab_do(&lab, "unlink d/f");
    assert_int_equal(engine_at(&lab, "d/f", &n), 0);
    assert_int_equal(fs->ops.create_begin(fs, &lab.who.c, &n, false, &p, real, sizeof(real)), 0);
    close(open(real, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    assert_int_equal(lab_ours(&lab, "unlink d/f"), 0);
    assert_int_equal(fs->ops.create_end(fs, &lab.who.c, &p, 3), 0);
    assert_int_equal(lab_ours(&lab, "unlink d/f"), -ENOENT);
    lab_close(&lab);
}

static void test_lower_is_never_linked(void **state UNUSED)
{
    struct lab lab;
    static struct vnode n;
    char path[128];
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    snprintf(path, sizeof(path), "%s/a/l1/d/f", lab.dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(engine_at(&lab, "up/hard", &n), 0);
    assert_int_equal(lab.o->vfs.ops.link(&lab.o->vfs, &lab.who.c, NULL, fd, &n), -EXDEV);
    close(fd);
    lab_close(&lab);
}

static void test_read_only(void **state UNUSED)
{
    struct lab lab;
    lab_open_in(&lab, STYLE_CHARDEV, LAYERS, true, "/tmp");
    LAB_RUN(&lab, "mkdir d 755", "mkdir new 755", "create d/f 644", "create d/new 644",
            "symlink x d/f", "symlink x d/n", "link d/f d/g", "link d/f d/n", "link nope d/n",
            "mkdir nope/x 755", "unlink d/f", "unlink nope", "rmdir d", "rmdir nope",
            "rename d/f d/n 0", "rename nope d/n 0", "rename d/f d/g 0", "rename d/f d 0",
            "tmpfile d d/n", "write d/f x", "chmod d/f 600", "mknod d/p 10644 0 0");
    lab_close(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_creation),
        cmocka_unit_test(test_over_whiteouts),
        cmocka_unit_test(test_as_others),
        cmocka_unit_test(test_refused_leaves_nothing),
        cmocka_unit_test(test_marker_names),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_pending),
        cmocka_unit_test(test_removed_before_the_end),
        cmocka_unit_test(test_lower_is_never_linked),
        cmocka_unit_test(test_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
