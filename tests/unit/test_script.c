/* The "#!" line, against what the kernel does with it. */
#include "tracer/script.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct script s;

static int parse(const char *head, size_t n)
{
    memset(&s, 0, sizeof(s));
    return script_parse(head, n, &s);
}

static void is(const char *line, const char *interp, const char *arg)
{
    assert_int_equal(parse(line, strlen(line)), 0);
    assert_string_equal(s.interp, interp);
    assert_int_equal(s.has_arg, arg != NULL);
    if (arg)
        assert_string_equal(s.arg, arg);
}

static void plain_lines(void **state UNUSED)
{
    is("#!/bin/sh\n", "/bin/sh", NULL);
    is("#! \t/bin/sh \t\necho\n", "/bin/sh", NULL);
    is("#!bin/sh\n", "bin/sh", NULL);
    is("#!/bin/sh", "/bin/sh", NULL); /* the file ends here */
}

static void one_argument(void **state UNUSED)
{
    is("#!/usr/bin/env python3 -u\n", "/usr/bin/env", "python3 -u");
    is("#!/bin/awk -f\t \n", "/bin/awk", "-f");
    is("#!/bin/awk\t-f x", "/bin/awk", "-f x");
    is("#!/bin/sh -e  ", "/bin/sh", "-e  "); /* trailing blanks go with a newline only */
}

static void carriage_return_is_part_of_the_name(void **state UNUSED)
{
    is("#!/bin/sh\r\n", "/bin/sh\r", NULL);
    is("#!/bin/sh -e\r\n", "/bin/sh", "-e\r");
}

static void no_script(void **state UNUSED)
{
    assert_int_equal(parse("#!\n", 3), -ENOEXEC);
    assert_int_equal(parse("#!  \t\n/bin/sh", 12), -ENOEXEC);
    assert_int_equal(parse("#", 1), -ENOEXEC);
    assert_int_equal(parse("", 0), -ENOEXEC);
    assert_int_equal(parse("ELF", 3), -ENOEXEC);
    assert_true(script_is("#!", 2));
    assert_false(script_is("#", 1));
    assert_false(script_is(" #!", 3));
}

static void an_empty_name_is_not_found_later(void **state UNUSED)
{
    is("#!", "", NULL);
}

static void a_nul_ends_the_words(void **state UNUSED)
{
    assert_int_equal(parse("#!/bin/sh\0x -e\n", 15), 0);
    assert_string_equal(s.interp, "/bin/sh");
    assert_false(s.has_arg);
    assert_int_equal(parse("#!/bin/sh \0-e\n", 14), 0);
    assert_true(s.has_arg);
    assert_string_equal(s.arg, "");
}

static void long_lines(void **state UNUSED)
{
    char line[SCRIPT_HEAD + 50];
    memset(line, 'x', sizeof(line));
    memcpy(line, "#!/bin/", 7);
    /* The name does not end in what the kernel reads: it may be cut off. */
    assert_int_equal(parse(line, SCRIPT_HEAD), -ENOEXEC);
    /* An argument may be cut. */
    memcpy(line, "#!/bin/sh ", 10);
    assert_int_equal(parse(line, SCRIPT_HEAD), 0);
    assert_string_equal(s.interp, "/bin/sh");
    assert_int_equal(strlen(s.arg), SCRIPT_HEAD - 1 - 10);
    memset(line + 2, ' ', sizeof(line) - 2);
    assert_int_equal(parse(line, SCRIPT_HEAD), -ENOEXEC);
    line[SCRIPT_HEAD - 1] = '\n';
    assert_int_equal(parse(line, SCRIPT_HEAD), -ENOEXEC);
    memcpy(line + SCRIPT_HEAD - 4, "/ab\n", 4);
    assert_int_equal(parse(line, SCRIPT_HEAD), 0);
    assert_string_equal(s.interp, "/ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lines),
        cmocka_unit_test(one_argument),
        cmocka_unit_test(carriage_return_is_part_of_the_name),
        cmocka_unit_test(no_script),
        cmocka_unit_test(an_empty_name_is_not_found_later),
        cmocka_unit_test(a_nul_ends_the_words),
        cmocka_unit_test(long_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
