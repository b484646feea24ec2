/* The upper index: what it answers alone. Among processes: test_index_storm.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "overlay/index.h"

static struct index *make(unsigned bits, void **memory)
{
    *memory = calloc(1, index_size(bits));
    assert_non_null(*memory);
    return index_init(*memory, bits, 42);
}

static u64 hash_of(const struct index *x, const char *path)
{
    return index_hash(x, path, strlen(path));
}

static enum index_state look(struct index *x, const char *path)
{
    u64 word;
    return index_look(x, hash_of(x, path), &word);
}

static void learn(struct index *x, const char *path, enum index_state state)
{
    u64 word;
    index_look(x, hash_of(x, path), &word);
    index_learn(x, hash_of(x, path), word, state);
}

static void test_states(void **state)
{
    void *memory;
    struct index *x = make(8, &memory);
    (void)state;
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    learn(x, "a", INDEX_MAYBE);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    learn(x, "a", INDEX_ABSENT);
    learn(x, "b", INDEX_MERGED);
    learn(x, "c", INDEX_OPAQUE);
    assert_int_equal(look(x, "a"), INDEX_ABSENT);
    assert_int_equal(look(x, "b"), INDEX_MERGED);
    assert_int_equal(look(x, "c"), INDEX_OPAQUE);
    index_touch(x, hash_of(x, "a"));
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    assert_int_equal(look(x, "b"), INDEX_MERGED);
    learn(x, "a", INDEX_MERGED);
    assert_int_equal(look(x, "a"), INDEX_MERGED);
    index_touch_all(x);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    assert_int_equal(look(x, "b"), INDEX_MAYBE);
    assert_int_equal(look(x, "c"), INDEX_MAYBE);
    free(memory);
}

static void test_stale_word_is_refused(void **state)
{
    void *memory;
    struct index *x = make(8, &memory);
    u64 h = hash_of(x, "a"), word;
    (void)state;
    index_look(x, h, &word);
    index_touch(x, h);
    index_learn(x, h, word, INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    index_look(x, h, &word);
    index_touch_all(x);
    index_learn(x, h, word, INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    free(memory);
}

static void nothing_is_learned(int one, int two)
{
    void *memory;
    struct index *x = make(8, &memory);
    u64 h = hash_of(x, "a"), word;
    learn(x, "a", INDEX_ABSENT);
    index_begin(x, one, h);
    assert_int_equal(index_look(x, h, &word), INDEX_MAYBE);
    index_learn(x, h, word, INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    index_begin(x, two, h);
    if (two != INDEX_NO_OWNER)
        index_begin(x, two, h); /* the same as one */
    index_end(x, two, h);
    learn(x, "a", INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    index_look(x, h, &word);
    index_end(x, one, h);
    index_learn(x, h, word, INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    learn(x, "a", INDEX_MERGED);
    assert_int_equal(look(x, "a"), INDEX_MERGED);
    index_begin_all(x, one);
    learn(x, "b", INDEX_ABSENT);
    assert_int_equal(look(x, "b"), INDEX_MAYBE);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    index_end_all(x, one);
    learn(x, "b", INDEX_ABSENT);
    assert_int_equal(look(x, "b"), INDEX_ABSENT);
    free(memory);
}

static void test_nothing_is_learned_during_a_change(void **state)
{
    (void)state;
    nothing_is_learned(3, 4);
    nothing_is_learned(0, INDEX_NO_OWNER);
    nothing_is_learned(INDEX_NO_OWNER, INDEX_OWNERS - 1);
}

static void test_changes_without_owner_are_counted(void **state)
{
    void *memory;
    struct index *x = make(8, &memory);
    u64 h = hash_of(x, "a");
    (void)state;
    for (int i = 0; i < 1000; i++)
        index_begin(x, INDEX_NO_OWNER, h);
    for (int i = 0; i < 1000; i++) {
        learn(x, "a", INDEX_ABSENT);
        assert_int_equal(look(x, "a"), INDEX_MAYBE);
        index_end(x, INDEX_NO_OWNER, h);
    }
    learn(x, "a", INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_ABSENT);
    free(memory);
}

static void test_the_dead_are_reaped(void **state)
{
    void *memory;
    struct index *x = make(8, &memory);
    u64 a = hash_of(x, "a"), b = hash_of(x, "b");
    (void)state;
    assert_int_equal(index_reap(x, 77), 0);
    int mine = index_claim(x, 77), other = index_claim(x, 78), third = index_claim(x, 77);
    assert_true(mine >= 0 && other >= 0 && third >= 0 && mine != other && mine != third);
    index_begin(x, mine, a);
    index_begin(x, other, b);
    index_begin_all(x, third);
    learn(x, "c", INDEX_ABSENT);
    assert_int_equal(look(x, "c"), INDEX_MAYBE);
    assert_int_equal(index_reap(x, 77), 2);
    learn(x, "a", INDEX_ABSENT);
    learn(x, "b", INDEX_ABSENT);
    learn(x, "c", INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_ABSENT);
    assert_int_equal(look(x, "b"), INDEX_MAYBE); /* somebody else's, who lives */
    assert_int_equal(look(x, "c"), INDEX_ABSENT);
    index_end(x, other, b);
    learn(x, "b", INDEX_MERGED);
    assert_int_equal(look(x, "b"), INDEX_MERGED);
    index_release(x, other);
    free(memory);
}

static void test_owners_run_out(void **state)
{
    void *memory;
    struct index *x = make(8, &memory);
    unsigned seen = 0;
    int owner[INDEX_OWNERS];
    (void)state;
    for (unsigned i = 0; i < INDEX_OWNERS; i++) {
        owner[i] = index_claim(x, 100 + i / 2);
        assert_in_range(owner[i], 0, INDEX_OWNERS - 1);
        seen |= 1u << owner[i];
    }
    assert_int_equal(seen, (1u << INDEX_OWNERS) - 1);
    assert_int_equal(index_claim(x, 5), -1);
    index_release(x, owner[6]);
    assert_int_equal(index_claim(x, 5), owner[6]);
    assert_int_equal(index_reap(x, 101), 2);
    assert_int_equal(index_reap(x, 5), 1);
    free(memory);
}

static void test_a_full_table_forgets_and_does_not_lie(void **state)
{
    void *memory;
    struct index *x = make(4, &memory);
    char path[32];
    int known = 0;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof(path), "p%d", i);
        learn(x, path, i % 2 ? INDEX_ABSENT : INDEX_MERGED);
        assert_int_equal(look(x, path), i % 2 ? INDEX_ABSENT : INDEX_MERGED);
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof(path), "p%d", i);
        enum index_state s = look(x, path);
        assert_true(s == INDEX_MAYBE || s == (i % 2 ? INDEX_ABSENT : INDEX_MERGED));
        known += s != INDEX_MAYBE;
    }
    assert_in_range(known, 1, 16);
    free(memory);
}

static void test_hash_depends_on_key_and_every_byte(void **state)
{
    void *memory, *other;
    struct index *x = make(4, &memory), *y;
    char text[40];
    (void)state;
    other = calloc(1, index_size(4));
    y = index_init(other, 4, 43);
    memset(text, 'x', sizeof(text));
    for (size_t len = 1; len < sizeof(text); len++) {
        u64 h = index_hash(x, text, len);
        assert_true(h != index_hash(x, text, len - 1));
        assert_true(h != index_hash(y, text, len));
        for (size_t i = 0; i < len; i++) {
            text[i] = 'y';
            assert_true(h != index_hash(x, text, len));
            text[i] = 'x';
        }
    }
    free(memory);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_stale_word_is_refused),
        cmocka_unit_test(test_nothing_is_learned_during_a_change),
        cmocka_unit_test(test_changes_without_owner_are_counted),
        cmocka_unit_test(test_the_dead_are_reaped),
        cmocka_unit_test(test_owners_run_out),
        cmocka_unit_test(test_a_full_table_forgets_and_does_not_lie),
        cmocka_unit_test(test_hash_depends_on_key_and_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
