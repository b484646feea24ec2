/* Removal: whiteouts exactly where a lower has the name, merged emptiness, errors in order. */
#include "lab_ops.h"

static const char LAYERS[] =
    "mkdir -p l1/d/e l2/d/x l2/d/full l1/d/m l2/d/m u/d/m u/own/in; echo 1 > l1/d/f; echo 2 > "
    "l2/d/g;"
    "echo 0 > u/d/f; echo 0 > u/d/only; echo 3 > l2/d/full/k; echo 4 > l2/d/m/deep;"
    "ln -s f l1/d/s; mkfifo l1/d/p; mkdir -p l1/stick/mine l1/stick/theirs l1/ro l1/w;"
    "echo a > l1/stick/a; echo b > l1/stick/b; chown 1000:1000 l1/stick/a l1/stick/mine;"
    "chmod 1777 l1/stick; echo r > l1/ro/r; echo w > l1/w/w; chmod 777 l1/w; mkdir l1/w/d";

static bool upper_has(struct lab *lab, const char *path)
{
    char real[256];
    struct stat st;
    snprintf(real, sizeof(real), "%s/a/u/%s", lab->dir, path);
    return lstat(real, &st) == 0;
}

static void test_unlink_and_rmdir(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        LAB_RUN(&lab, "unlink d/f", "unlink d/f", "unlink d/g", "unlink d/only", "unlink d/s",
                "unlink d/p", "unlink d/e", "rmdir d/full", "rmdir d/nope", "unlink d/nope",
                "rmdir d/e", "rmdir d/e", "rmdir d/m", "unlink d/m/deep", "rmdir d/m", "rmdir d",
                "unlink d/full/k", "rmdir d/full", "rmdir d/x", "rmdir d", "mkdir d 755",
                "create d/f 644", "rmdir d", "unlink d/f", "rmdir d", "rmdir own", "rmdir own/in",
                "rmdir own", "unlink d/f/x", "rmdir w/w", "rmdir nope/x");
        lab_close(&lab);
    }
}

static void test_whiteouts_only_where_needed(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        bool wh = style == STYLE_FILEPREFIX;
        lab_open(&lab, style, LAYERS);
        LAB_RUN(&lab, "unlink d/only", "unlink d/f", "create d/g2 644", "unlink d/g2", "unlink d/g",
                "create d/g 644");
        assert_false(upper_has(&lab, "d/only") || upper_has(&lab, "d/.wh.only"));
        assert_int_equal(upper_has(&lab, "d/.wh.f"), wh);
        assert_int_equal(upper_has(&lab, "d/f"), !wh);
        assert_false(upper_has(&lab, "d/g2") || upper_has(&lab, "d/.wh.g2"));
        assert_false(upper_has(&lab, "d/.wh.g"));
        lab_do(&lab, "unlink d/g"); /* a name created over a whiteout gets it back */
        assert_int_equal(upper_has(&lab, "d/.wh.g"), wh);
        assert_int_equal(upper_has(&lab, "d/g"), !wh);
        lab_close(&lab);
    }
}

/* A directory made over a removed one hides what it had, and goes away again cleanly. */
static void test_again_and_again(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        for (int i = 0; i < 3; i++) {
            LAB_RUN(&lab, "unlink d/full/k", "rmdir d/full", "mkdir d/full 755",
                    "create d/full/k 600", "mkdir d/full/sub 755", "rmdir d/full",
                    "rmdir d/full/sub");
        }
        lab_do(&lab, "unlink d/full/k");
        lab_do(&lab, "rmdir d/full");
        lab_do(&lab, "create d/full 600");
        lab_close(&lab);
    }
}

static void test_rights(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        lab_be(&lab, 1000, 1000, 0, 022);
        LAB_RUN(&lab, "unlink stick/b", "unlink stick/a", "rmdir stick/theirs", "rmdir stick/mine",
                "unlink ro/r", "rmdir ro/r", "unlink ro/none", "rmdir ro", "unlink w/w",
                "unlink w/d", "rmdir w/d", "rename stick/b w/b 0", "rename ro/r w/r 0");
        lab_close(&lab);
    }
}

/* A name put into the directory behind the engine's back keeps it where it is. */
static void test_raced_rmdir(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        static struct vnode n;
        lab_open(&lab, style, LAYERS);
        lab_do(&lab, "unlink d/m/deep");
        assert_int_equal(engine_at(&lab, "d/m", &n), 0);
        shell("touch -d '" OLD_STAMP "' %s/a/u/d/m/raced", lab.dir);
        int r = lab.o->vfs.ops.rmdir(&lab.o->vfs, &lab.who.c, &n);
        assert_int_equal(r, -ENOTEMPTY);
        assert_true(upper_has(&lab, "d/m/raced"));
        shell("rm %s/a/u/d/m/raced", lab.dir);
        lab_do(&lab, "rmdir d/m");
        lab_close(&lab);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unlink_and_rmdir), cmocka_unit_test(test_whiteouts_only_where_needed),
        cmocka_unit_test(test_again_and_again),  cmocka_unit_test(test_rights),
        cmocka_unit_test(test_raced_rmdir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
