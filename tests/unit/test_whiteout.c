/* What is written on disk: the marks of either style, and what every failing system call leaves. */
#include "lab_ops.h"
#include "overlay/change.h"

static const char LAYERS[] = "mkdir -p l1/d/e l2/d/x l1/t/sub l2/t/sub u/own; echo 1 > l1/d/f; "
                             "echo 2 > l2/d/g; echo 3 > l1/t/sub/k;"
                             "echo 4 > u/own/f; setfacl -d -m u:99:rwx l1/d; chmod 2755 l1/d";

static int upper_fd(struct lab *lab, const char *path)
{
    return overlay_open_in(lab->o, 0, path, O_DIRECTORY);
}

static void test_put_and_take(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        struct stat st;
        lab_open(&lab, style, LAYERS);
        int fd = upper_fd(&lab, "own");
        assert_true(fd >= 0);
        const char *mark = style == STYLE_CHARDEV ? "n" : ".wh.n";
        umask(077);
        assert_int_equal(overlay_put_whiteout(lab.o, fd, "n", false), 0);
        assert_int_equal(overlay_put_whiteout(lab.o, fd, "n", false), -ENOENT);
        umask(022);
        assert_int_equal(fstatat(fd, mark, &st, AT_SYMLINK_NOFOLLOW), 0);
        if (style == STYLE_CHARDEV) {
            assert_true(is_whiteout_stat(&st));
        } else {
            assert_int_equal(st.st_mode, S_IFREG | 0644);
            assert_int_equal(st.st_size, 0);
        }
        assert_int_equal(overlay_take_whiteout(lab.o, fd, "n"), 0);
        assert_int_equal(overlay_take_whiteout(lab.o, fd, "n"), 0);
        assert_int_not_equal(fstatat(fd, mark, &st, AT_SYMLINK_NOFOLLOW), 0);
        /* what they are links to is made again where it is gone */
        assert_int_equal(unlinkat(lab.o->work_fd, MARK_NAME, 0), 0);
        assert_int_equal(overlay_put_whiteout(lab.o, fd, "n", false), 0);
        assert_int_equal(fstatat(fd, mark, &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_nlink, 2);
        assert_int_equal(overlay_take_whiteout(lab.o, fd, "n"), 0);
        /* over a victim */
        assert_int_equal(overlay_put_whiteout(lab.o, fd, "f", true), 0);
        assert_int_equal(overlay_take_whiteout(lab.o, fd, "f"), 0);
        assert_int_not_equal(fstatat(fd, "f", &st, AT_SYMLINK_NOFOLLOW), 0);
        /* opaque, and everything cleared again */
        assert_int_equal(overlay_set_opaque(lab.o, fd), 0);
        assert_int_equal(overlay_set_opaque(lab.o, fd), 0);
        assert_int_equal(overlay_is_opaque(lab.o, 0, "own"), 1);
        assert_int_equal(mknodat(fd, "dev", S_IFCHR, 0), 0);
        assert_int_equal(overlay_put_whiteout(lab.o, fd, "m", false), 0);
        assert_int_equal(overlay_clear_marks(lab.o, fd), 0);
        close(fd);
        shell("test -z \"$(ls -A %s/a/u/own)\"", lab.dir);
        shell("cd %s/a/u && rmdir own && mkdir own && echo 4 > own/f && touch -d '" OLD_STAMP
              "' own/f own .",
              lab.dir);
        lab_close(&lab);
    }
}

/* The upper after the operations is exactly this; `script` prints it. */
static void test_on_disk(void **state UNUSED)
{
    struct lab lab;
    lab_open(&lab, STYLE_FILEPREFIX, LAYERS);
    LAB_RUN(&lab, "unlink d/f", "rmdir d/e", "mkdir d/e 755", "unlink t/sub/k", "rmdir t/sub",
            "rename t t2 0");
    shell(
        "cd %s/a/u && test \"$(find . | sort | tr '\\n' ' ')\" = "
        "'. ./.wh.t ./d ./d/.wh.f ./d/e ./d/e/.wh..wh..opq ./own ./own/f ./t2 ./t2/.wh..wh..opq '",
        lab.dir);
    lab_close(&lab);
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    LAB_RUN(&lab, "unlink d/f", "rmdir d/e", "mkdir d/e 755", "unlink t/sub/k", "rmdir t/sub",
            "rename t t2 0");
    shell("cd %s/a/u && test \"$(find . | sort | tr '\\n' ' ')\" = "
          "'. ./d ./d/e ./d/f ./own ./own/f ./t ./t2 ' && "
          "getfattr -n trusted.overlay.opaque d/e t2 > /dev/null",
          lab.dir);
    lab_close(&lab);
}

static void test_tickets(void **state UNUSED)
{
    struct lab lab;
    char path[16];
    u64 held[TICKETS_MAX];
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    for (int i = 0; i < TICKETS_MAX; i++) {
        int n = snprintf(path, sizeof(path), "p%d", i);
        held[i] = overlay_ticket_take(lab.o, path, (size_t)n);
        assert_true(held[i]);
    }
    assert_int_equal(overlay_ticket_take(lab.o, "more", 4), 0);
    overlay_ticket_drop(lab.o, held[7]);
    assert_int_equal(overlay_ticket_take(lab.o, "p8", 2), 0);
    u64 again = overlay_ticket_take(lab.o, "p7", 2);
    assert_true(again);
    overlay_ticket_drop(lab.o, again);
    for (int i = 0; i < TICKETS_MAX; i++)
        overlay_ticket_drop(lab.o, held[i]);
    overlay_ticket_drop(lab.o, 0);
    lab_close(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_take),
        cmocka_unit_test(test_on_disk),
        cmocka_unit_test(test_tickets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
