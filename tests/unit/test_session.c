/* The session record: its text pool, masks, and whose a real path is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "session.h"

static int setup(void **state)
{
    struct session *s = malloc(sizeof(*s));
    session_init(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void add_layer(struct session *s, unsigned layer, const char *path)
{
    s->layer[layer].path = session_add_text(s, path);
    s->layer[layer].path_len = (u32)strlen(path);
    s->layer[layer].in_use = true;
    if (s->nlayers <= layer)
        s->nlayers = layer + 1;
}

static void mount_at(struct session *s, const char *path)
{
    s->mount = session_add_text(s, path);
    s->mount_len = (u32)strlen(path);
}

static void text_pool(void **state)
{
    struct session *s = *state;
    assert_int_equal(s->version, SESSION_VERSION);
    u32 a = session_add_text(s, "first"), b = session_add_text(s, "");
    assert_true(a != 0 && b != 0 && a != b);
    assert_string_equal(session_text(s, a), "first");
    assert_string_equal(session_text(s, b), "");
    s->text_len = SESSION_TEXT - 4;
    assert_int_equal(session_add_text(s, "1234"), 0);
    assert_int_not_equal(session_add_text(s, "123"), 0);
    assert_int_equal(session_add_text(s, ""), 0);
}

static void masks(void **state)
{
    struct session *s = *state;
    s->mask[0].layer = 1;
    s->mask[0].path = session_add_text(s, "a/up");
    s->nmasks = 1;
    assert_true(session_masked(s, 1, "a/up") && session_masked(s, 1, "a/up/x"));
    assert_false(session_masked(s, 2, "a/up") || session_masked(s, 1, "a") ||
                 session_masked(s, 1, "a/upper"));
}

static void layers(void **state)
{
    struct session *s = *state;
    const char *rest;
    add_layer(s, 0, "/x/low/up");
    add_layer(s, 1, "/x/low");
    add_layer(s, 2, "/y");
    assert_int_equal(session_layer_of(s, "/x/low/f", &rest), 1);
    assert_string_equal(rest, "f");
    assert_int_equal(session_layer_of(s, "/x/low/up/f", &rest), 0); /* the longest match */
    assert_string_equal(rest, "f");
    assert_int_equal(session_layer_of(s, "/x/low/up", &rest), 0);
    assert_string_equal(rest, "");
    assert_int_equal(session_layer_of(s, "/x/lower", &rest), -1);
    assert_int_equal(session_layer_of(s, "/", &rest), -1);
    s->layer[0].in_use = false;
    assert_int_equal(session_layer_of(s, "/x/low/up/f", &rest), 1);
    add_layer(s, 3, "/");
    assert_int_equal(session_layer_of(s, "/etc/passwd", &rest), 3);
    assert_string_equal(rest, "etc/passwd");
    assert_int_equal(session_layer_of(s, "/proc/1", &rest), -1);
    assert_int_equal(session_layer_of(s, "/processes", &rest), 3);
}

static void mountpoint(void **state)
{
    struct session *s = *state;
    const char *rel;
    mount_at(s, "/m/n");
    assert_true(session_below_mount(s, "/m/n", &rel));
    assert_string_equal(rel, "");
    assert_true(session_below_mount(s, "/m/n/proc", &rel));
    assert_string_equal(rel, "proc");
    assert_false(session_below_mount(s, "/m/nn", &rel));
    assert_false(session_host_name(s, "proc"));
    mount_at(s, "/");
    assert_true(session_below_mount(s, "/usr", &rel));
    assert_string_equal(rel, "usr");
    assert_false(session_below_mount(s, "/proc/self", &rel));
    assert_false(session_below_mount(s, "/dev", NULL));
    assert_true(session_below_mount(s, "/devel", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_pool, setup, teardown),
        cmocka_unit_test_setup_teardown(masks, setup, teardown),
        cmocka_unit_test_setup_teardown(layers, setup, teardown),
        cmocka_unit_test_setup_teardown(mountpoint, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
