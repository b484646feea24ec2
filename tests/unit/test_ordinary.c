/* The session of an ordinary user: his own files in directories that he may not write in, marks in
 * user.overlay.*, foreign files that become his. */
#include "lab_ops.h"

#define MINE "; chown -Rh 1000:1000 ."

static const char LAYERS[] =
    "mkdir -p l1/d/e l2/d/x l1/closed/sub l2/closed/sub l1/shut l1/t/a l2/t/a/b u/own; echo 1 > "
    "l1/d/f;"
    "echo 2 > l2/d/g; echo 3 > l1/closed/f; echo 4 > l2/closed/sub/k; echo 5 > l1/shut/f;"
    "echo 6 > l2/t/a/b/f; echo 7 > l1/t/k; chmod 400 l1/d/f; chmod 555 l1/closed l1/closed/sub;"
    "chmod 500 l1/shut; chmod 555 l2/t/a l1/t/a; setfacl -m u:1000:rx -d -m u:1000:rwx l1/t/a; "
    "setfattr -n user.k -v w l1/t/a; chmod 555 l1/t/a; ln -s x l1/d/s; mkfifo l1/d/p; touch "
    "u/own/f;"
    "mkdir -p l1/half/in u/half l1/blind; echo 8 > l1/blind/f; setfattr -n user.k -v w l1/blind; "
    "setfattr -n user.a -v b l1/d/f; setfacl -m u:7:r l2/d/g; chmod 2755 l1/d/e" MINE
    "; chmod 666 u/half";

static void start(struct lab *lab, enum marker_style style)
{
    lab_open(lab, style, LAYERS);
    lab_stop(lab);
    lab->ordinary = true;
    lab_start(lab);
    lab_be(lab, 1000, 1000, 0, 027);
}

static void test_copy_up(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        start(&lab, style);
        LAB_RUN(&lab, "chmod d/f 600", "up d/g", "chmod closed/f 644", "chmod closed/sub/k 600",
                "up shut/f", "write t/a/b/f new", "chmod d/p 600", "chmod d/e 755",
                "link d/f own/linked", "rename d/s own/s 0");
        lab_close(&lab);
    }
}

static void test_changes(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        start(&lab, style);
        LAB_RUN(&lab, "unlink closed/f", "create closed/new 644", "mkdir shut/x 755", "unlink d/f",
                "create d/f 666", "unlink d/f", "mkdir d/f 555", "mkdir d/f/in 755", "rmdir d/f",
                "chmod closed 755", "unlink closed/f", "mkdir closed/f 700", "rmdir closed/sub",
                "chmod closed/sub 755", "unlink closed/sub/k", "chmod closed/sub 555",
                "rmdir closed/sub", "mkdir closed/sub 711", "create closed/sub/k 600",
                "symlink q d/q", "tmpfile d d/tmp", "mknod d/dev 20600 1 3",
                "mknod d/fifo 10600 0 0", "mkdir d/blind 311", "create d/blind/f 600",
                "rmdir d/blind", "rename d/blind d/sees 0", "unlink d/sees/f", "rmdir d/sees",
                "chmod blind 311", "unlink blind/f", "create blind/f 600", "unlink blind/f",
                "mkdir blind/f 755");
        lab_close(&lab);
    }
}

static void test_renames(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        start(&lab, style);
        LAB_RUN(&lab, "rename t own/t 0", "rename own/t/a own/a 0", "chmod own/t/a 755",
                "rename own/t/a own/a 0", "mkdir t 555", "rename t d/t 0", "rename d moved 0",
                "rename moved/e moved/x 0", "rename moved/x own 2", "rename closed/f own/f 0",
                "rename closed shut 2", "rename moved/f moved/g 2", "rename half own/half 0");
        lab_close(&lab);
    }
}

/* What cannot be given away becomes the user's own; what cannot be read cannot be copied. */
static void test_foreign_files(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        struct stat st;
        char path[128];
        lab_open(&lab, style,
                 "mkdir -m 777 l1/d; echo 1 > l1/d/f; chmod 666 l1/d/f; echo 2 > l1/d/secret;"
                 "chmod 600 l1/d/secret; chown 1000:1000 u w");
        lab_stop(&lab);
        lab.ordinary = true;
        lab_start(&lab);
        lab_be(&lab, 1000, 1000, 0, 022);
        assert_int_equal(lab_ours(&lab, "write d/f mine"), 0);
        snprintf(path, sizeof(path), "%s/a/u/d/f", lab.dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_uid, 1000);
        assert_int_equal(st.st_mode, S_IFREG | 0666);
        assert_int_equal(lab_ours(&lab, "write d/secret mine"), -EACCES);
        assert_int_equal(lab_ours(&lab, "unlink d/secret"), 0);
        assert_int_equal(lab_ours(&lab, "unlink d/secret"), -ENOENT);
        /* the same by the kernel, for the comparison at the end */
        lab_be(&lab, 0, 0, 0, 022);
        assert_int_equal(lab_kernels(&lab, "write d/f mine"), 0);
        assert_int_equal(lab_kernels(&lab, "unlink d/secret"), 0);
        shell("chown 1000:1000 %s/mnt/d/f %s/mnt/d", lab.dir, lab.dir);
        lab_close(&lab);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_up),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_renames),
        cmocka_unit_test(test_foreign_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
