/* The list of names behind a merged directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/str.h"
#include "vfs/listing.h"

static int add(struct listing *l, const char *name, u64 ino, bool hidden)
{
    return listing_add(l, name, strlen(name), ino, 8, hidden);
}

static void the_first_of_a_name_wins(void **state UNUSED)
{
    struct listing l = {0};
    assert_int_equal(add(&l, "a", 1, false), 1);
    assert_int_equal(add(&l, "b", 2, false), 1);
    assert_int_equal(add(&l, "a", 3, false), 0);
    assert_int_equal(listing_find(&l, "a", 1)->ino, 1);
    assert_null(listing_find(&l, "ab", 2));
    assert_null(listing_find(&l, "", 0));
    assert_int_equal(l.count, 2);
    listing_free(&l);
    assert_int_equal(l.count, 0);
}

static void hidden_names_keep_others_out(void **state UNUSED)
{
    struct listing l = {0};
    assert_int_equal(add(&l, "gone", 0, true), 1);
    assert_int_equal(add(&l, "kept", 1, false), 1);
    assert_int_equal(add(&l, "gone", 2, false), 0);
    assert_true(listing_find(&l, "gone", 4)->hidden);
    listing_seal(&l);
    assert_int_equal(l.count, 1);
    assert_string_equal(listing_at(&l, 0)->name, "kept");
    listing_seal(&l);
    assert_int_equal(l.count, 1);
    listing_free(&l);
}

static void nothing_at_all(void **state UNUSED)
{
    struct listing l = {0};
    assert_null(listing_find(&l, "x", 1));
    listing_seal(&l);
    assert_int_equal(l.count, 0);
    listing_free(&l);
}

static void it_grows(void **state UNUSED)
{
    struct listing l = {0};
    char name[300];
    for (u32 i = 0; i < 20000; i++) {
        int n = snprintf(name, sizeof(name), "%u-%.*s", i, (int)(i % 240),
                         "------------------------------------------------------------"
                         "------------------------------------------------------------"
                         "------------------------------------------------------------"
                         "------------------------------------------------------------");
        assert_int_equal(listing_add(&l, name, (size_t)n, i, (u8)(i % 16), i % 5 == 0), 1);
        assert_int_equal(listing_add(&l, name, (size_t)n, 7, 7, false), 0);
    }
    listing_seal(&l);
    assert_int_equal(l.count, 16000);
    for (u32 i = 0; i < l.count; i++) {
        const struct listing_entry *e = listing_at(&l, i);
        u32 number = i / 4 * 5 + i % 4 + 1;
        u64 said;
        assert_int_equal((uintptr_t)e % 8, 0);
        assert_int_equal(e->ino, number);
        assert_int_equal(e->type, number % 16);
        assert_int_equal(e->len, strlen(e->name));
        assert_true(str_to_u64(e->name, &said) > 0 && said == number);
    }
    listing_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_of_a_name_wins),
        cmocka_unit_test(hidden_names_keep_others_out),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
