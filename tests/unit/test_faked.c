/* The text of override_stat: what podman and fuse-overlayfs write, and what nobody should. */
#include "lab.h"
#include <sys/sysmacros.h>

static void test_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned kind, uid, gid, mode, major, minor;
    } right[] = {
        {"0:0:0755", S_IFREG, 0, 0, S_IFREG | 0755, 0, 0},
        {"1000:1000:0100644", S_IFREG, 1000, 1000, S_IFREG | 0644, 0, 0},
        {"4294967294:7:4755", S_IFDIR, 4294967294u, 7, S_IFDIR | 04755, 0, 0},
        {"0:42:640:file", S_IFREG, 0, 42, S_IFREG | 0640, 0, 0},
        {"0:6:0660:block-8-300", S_IFREG, 0, 6, S_IFBLK | 0660, 8, 300},
        {"0:0:020666:char-1-3", S_IFREG, 0, 0, S_IFCHR | 0666, 1, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(right); i++) {
        struct stat st = {.st_mode = right[i].kind | 0600, .st_uid = 5, .st_gid = 5};
        if (!faked_parse(right[i].text, &st))
            fail_msg("refused: %s", right[i].text);
        assert_int_equal(st.st_uid, right[i].uid);
        assert_int_equal(st.st_gid, right[i].gid);
        assert_int_equal(st.st_mode, right[i].mode);
        if (right[i].major)
            assert_int_equal(st.st_rdev, makedev(right[i].major, right[i].minor));
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "0",
        "0:0",
        "0:0:",
        ":0:0755",
        "0::0755",
        "a:0:0",
        "0:0:8",
        "0:0:0755x",
        "-1:0:0755",
        "4294967296:0:0",
        "0:0:0755:char-",
        "0:0:77777777777777",
        "0:0:0:char-1",
        "0:0:0:char-1-",
        "0:0:0:char-1-2x",
        "0 :0:0755",
        "0:0:0:block-x-1",
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct stat st = {.st_mode = S_IFREG | 0640, .st_uid = 5, .st_gid = 6};
        if (faked_parse(wrong[i], &st))
            fail_msg("taken: '%s'", wrong[i]);
        assert_true(st.st_uid == 5 && st.st_gid == 6 && st.st_mode == (S_IFREG | 0640));
    }
}

static void test_round(void **state)
{
    (void)state;
    const struct stat shown[] = {
        {.st_mode = S_IFREG | 06755, .st_uid = 0, .st_gid = 4294967294u},
        {.st_mode = S_IFDIR | 0, .st_uid = 4294967294u, .st_gid = 1},
        {.st_mode = S_IFCHR | 0666, .st_rdev = makedev(4095, 1048575)},
    };
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        char text[FAKED_TEXT];
        struct stat st = {.st_mode = (S_ISDIR(shown[i].st_mode) ? S_IFDIR : S_IFREG) | 0600};
        text[faked_format(&shown[i], text)] = '\0';
        assert_true(faked_parse(text, &st));
        assert_true(st.st_mode == shown[i].st_mode && st.st_uid == shown[i].st_uid &&
                    st.st_gid == shown[i].st_gid && st.st_rdev == shown[i].st_rdev);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
