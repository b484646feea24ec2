/* The session record: its text pool, masks, and whose a real path is. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "binds.h"
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

static void add_bind(struct session *s, const char *host, const char *guest)
{
    struct session_bind *b = &s->bind[s->nbinds++];
    b->guest = session_add_text(s, guest);
    b->guest_len = (u32)strlen(guest);
    b->hidden = !host;
    if (!host)
        return;
    b->host = session_add_text(s, host);
    b->host_len = (u32)strlen(host);
}

static void assert_path(long n, const char *buf, const char *want)
{
    assert_int_equal(n, strlen(want));
    assert_string_equal(buf, want);
}

static void binds(void **state)
{
    struct session *s = *state;
    const char *rest;
    char buf[PATH_MAX], tight[8];
    mount_at(s, "/");
    assert_int_equal(bind_covering(s, "/a", strlen("/a"), &rest), -1);
    add_bind(s, "/srv/data", "/a");
    add_bind(s, "/srv/data/in", "/a/b/c");
    add_bind(s, NULL, "/a/secret");
    add_bind(s, "/", "/host");
    assert_int_equal(bind_covering(s, "/ab", strlen("/ab"), &rest), -1);
    assert_int_equal(bind_covering(s, "/", strlen("/"), &rest), -1);
    assert_int_equal(bind_covering(s, "/a", strlen("/a"), &rest), 0);
    assert_string_equal(rest, "");
    assert_int_equal(bind_covering(s, "/a/b/cd", strlen("/a/b/cd"), &rest), 0);
    assert_string_equal(rest, "b/cd");
    assert_int_equal(bind_covering(s, "/a/b/c/d", strlen("/a/b/c/d"), &rest), 1);
    assert_string_equal(rest, "d");
    assert_int_equal(bind_covering(s, "/a/secret/x", strlen("/a/secret/x"), &rest), 2);

    assert_int_equal(bind_of_real(s, "/srv/data/x", &rest), 0);
    assert_string_equal(rest, "x");
    assert_int_equal(bind_of_real(s, "/srv/data/in", &rest), 1);
    assert_string_equal(rest, "");
    assert_int_equal(bind_of_real(s, "/srv/database", &rest), 3);
    assert_int_equal(bind_of_real(s, "/proc/1", &rest), -1); /* at home at its own name */

    assert_true(bind_is(s, "/a", 2) && bind_is(s, "/a/secret", 9));
    assert_false(bind_is(s, "/b", 2) || bind_is(s, "/a/b", 4));
    assert_int_equal(bind_at(s, "/", 1, "a", 1), 0);
    assert_int_equal(bind_at(s, "/a/b", 4, "c", 1), 1);
    assert_int_equal(bind_at(s, "/a", 2, "b", 1), -1);
    assert_int_equal(bind_at(s, "/", 1, "ab", 2), -1);
    assert_true(bind_below(s, "/") && bind_below(s, "/a") && bind_below(s, "/a/b"));
    assert_false(bind_below(s, "/a/b/c") || bind_below(s, "/a/secret") || bind_below(s, "/ho"));
    assert_int_equal(bind_next_in(s, "/", 1, -1), 0);
    assert_int_equal(bind_next_in(s, "/", 1, 0), 3);
    assert_int_equal(bind_next_in(s, "/", 1, 3), -1);
    assert_int_equal(bind_next_in(s, "/a", 2, -1), 2);

    assert_path(bind_host_path(s, 0, "x/y", buf, sizeof(buf)), buf, "/srv/data/x/y");
    assert_path(bind_host_path(s, 0, "", buf, sizeof(buf)), buf, "/srv/data");
    assert_path(bind_host_path(s, 3, "x", buf, sizeof(buf)), buf, "/x");
    assert_path(bind_host_path(s, 3, "", buf, sizeof(buf)), buf, "/");
    assert_path(bind_guest_path(s, 1, "x", buf, sizeof(buf)), buf, "/a/b/c/x");
    assert_int_equal(bind_host_path(s, 0, "x", tight, sizeof(tight)), -ENAMETOOLONG);
    assert_string_equal(bind_rest(s, 0, "/srv/data"), "");
    assert_string_equal(bind_rest(s, 0, "/srv/data/x"), "x");
    assert_string_equal(bind_rest(s, 3, "/x"), "x");
}

/* A bind of what lies in a layer covers its place in the union: the layer has no such object. */
static void binds_in_layers(void **state)
{
    struct session *s = *state;
    const char *rest;
    add_layer(s, 1, "/");
    mount_at(s, "/");
    add_bind(s, "/home/u", "/home/u");
    assert_int_equal(session_layer_of(s, "/home/u/x", &rest), -1);
    assert_int_equal(session_layer_of(s, "/home", &rest), 1);
    add_layer(s, 2, "/home/u/low");
    assert_int_equal(session_layer_of(s, "/home/u/low/x", &rest), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_pool, setup, teardown),
        cmocka_unit_test_setup_teardown(masks, setup, teardown),
        cmocka_unit_test_setup_teardown(layers, setup, teardown),
        cmocka_unit_test_setup_teardown(mountpoint, setup, teardown),
        cmocka_unit_test_setup_teardown(binds, setup, teardown),
        cmocka_unit_test_setup_teardown(binds_in_layers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
