/* Bounded strings and lexical paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>
#include "base/str.h"
#include "base/sys.h"

static void copies_are_bounded(void **state UNUSED)
{
    char buf[4] = "zzz";
    assert_int_equal(str_copy(buf, sizeof(buf), "abc"), 3);
    assert_string_equal(buf, "abc");
    assert_int_equal(str_copy(buf, sizeof(buf), "abcd"), -ENAMETOOLONG);
    assert_string_equal(buf, "abc");
    assert_int_equal(str_copy_n(buf, sizeof(buf), "xyz", 2), 2);
    assert_string_equal(buf, "xy");
    assert_int_equal(str_copy(buf, 0, ""), -ENAMETOOLONG);
}

static void comparisons(void **state UNUSED)
{
    assert_true(str_eq("", "") && str_eq("ab", "ab"));
    assert_false(str_eq("ab", "abc") || str_eq("abc", "ab") || str_eq("a", "b"));
    assert_true(str_eq_n("abX", "abY", 2) && str_eq_n("a", "b", 0));
    assert_false(str_eq_n("a", "a", 2));
    assert_true(str_starts("abc", "ab") && str_starts("abc", ""));
    assert_false(str_starts("ab", "abc"));
    assert_true(is_dot(".", 1) && is_dotdot("..", 2));
    assert_false(is_dot("..", 2) || is_dotdot(".", 1) || is_dotdot(".x", 2) || is_dot("x", 1));
}

static void numbers(void **state UNUSED)
{
    char buf[32];
    u64 v = 1;
    assert_int_equal(str_from_u64(buf, 0), 1);
    assert_string_equal(buf, "0");
    assert_int_equal(str_from_u64(buf, UINT64_MAX), 20);
    assert_string_equal(buf, "18446744073709551615");
    assert_int_equal(str_to_u64("x1", &v), 0);
    assert_int_equal(str_to_u64("120/", &v), 3);
    assert_int_equal(v, 120);
    assert_string_equal(sys_fd_path(buf, 7), "/proc/self/fd/7");
}

static void components(void **state UNUSED)
{
    const char *path = "//a/bc//.", *name;
    assert_int_equal(path_next(&path, &name), 1);
    assert_true(*name == 'a');
    assert_int_equal(path_next(&path, &name), 2);
    assert_memory_equal(name, "bc", 2);
    assert_int_equal(path_next(&path, &name), 1);
    assert_int_equal(path_next(&path, &name), 0);
    assert_int_equal(path_next(&path, &name), 0);
}

static void below(void **state UNUSED)
{
    static const struct {
        const char *path, *dir, *rest;
    } rows[] = {
        {"/a/b", "/a", "b"}, {"/a", "/a", ""},     {"/ab", "/a", NULL}, {"/", "/", ""},
        {"/a", "/", "a"},    {"/", "/a", NULL},    {"a/b", "a", "b"},   {"a", "a/b", NULL},
        {"/a/", "/a", ""},   {"/a/b", "/b", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *rest = NULL;
        assert_int_equal(path_below(rows[i].path, rows[i].dir, &rest), rows[i].rest != NULL);
        if (rows[i].rest)
            assert_string_equal(rest, rows[i].rest);
    }
    assert_true(path_below("/a", "/a", NULL));
}

static void push_and_pop(void **state UNUSED)
{
    char path[8] = "";
    size_t len = 0;
    assert_int_equal(path_push(path, sizeof(path), &len, "a", 1), 0);
    assert_string_equal(path, "a");
    assert_int_equal(path_push(path, sizeof(path), &len, "bcd", 3), 0);
    assert_string_equal(path, "a/bcd");
    assert_int_equal(path_push(path, sizeof(path), &len, "ef", 2), -ENAMETOOLONG);
    assert_string_equal(path, "a/bcd");
    assert_int_equal(path_push(path, sizeof(path), &len, "e", 1), 0);
    assert_int_equal(len, 7);
    assert_string_equal(path_last(path, len), "e");
    len = path_pop(path, len);
    assert_string_equal(path, "a/bcd");
    len = path_pop(path, len);
    assert_string_equal(path, "a");
    assert_int_equal(path_pop(path, len), 0);
    assert_string_equal(path, "");
    strcpy(path, "/a");
    assert_int_equal(path_pop(path, 2), 1);
    assert_string_equal(path, "/");
    assert_int_equal(path_pop(path, 1), 1);
    len = 1;
    assert_int_equal(path_push(path, sizeof(path), &len, "x", 1), 0);
    assert_string_equal(path, "/x");
}

static void cleaning(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"/", "/"},           {"//", "/"},        {"/a//b/", "/a/b"},
        {"/a/./b/.", "/a/b"}, {"/a/../b", "/b"},  {"/..", "/"},
        {"/a/b/../..", "/"},  {"/../../a", "/a"}, {"/a/...", "/a/..."},
    };
    char buf[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(path_clean(buf, sizeof(buf), rows[i][0]), strlen(rows[i][1]));
        assert_string_equal(buf, rows[i][1]);
    }
    assert_int_equal(path_clean(buf, sizeof(buf), "a"), -EINVAL);
    assert_int_equal(path_clean(buf, 4, "/abc"), -ENAMETOOLONG);
    assert_int_equal(path_clean(buf, 5, "/abc"), 4);
    assert_int_equal(path_clean(buf, 1, "/"), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_bounded),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(numbers),
        cmocka_unit_test(components),
        cmocka_unit_test(below),
        cmocka_unit_test(push_and_pop),
        cmocka_unit_test(cleaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
