/* Paths outside that are known for a moment: what is remembered, for how long, and what ends it. */
#include "vfs/steady.h"
#include "vfs/ways.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static struct ways ways;
static struct place place;

static void led(const char *to)
{
    memset(&place, 0, sizeof(place));
    strcpy(place.path, to);
    place.len = strlen(to);
    place.exists = true;
    place.last = LAST_NAME;
    place.magic_fd = -1;
}

static bool known(const char *said, bool follow)
{
    memset(&place, 0, sizeof(place));
    return ways_known(&ways, said, strlen(said), follow, &place);
}

static void note(const char *said)
{
    ways_note(&ways, said, strlen(said), true, &place);
}

static void remembers(void **state UNUSED)
{
    memset(&ways, 0, sizeof(ways));
    assert_false(known("/bin/true", true));
    led("/usr/bin/true");
    note("/bin/true");
    assert_true(known("/bin/true", true));
    assert_string_equal(place.path, "/usr/bin/true");
    assert_int_equal(place.len, strlen("/usr/bin/true"));
    assert_true(place.exists && !place.in_union);
    assert_false(known("/bin/true", false));
    assert_false(known("/bin/tru", true));
    assert_false(known("/bin/true/", true));
}

static void not_everything(void **state UNUSED)
{
    memset(&ways, 0, sizeof(ways));
    led("/x");
    place.exists = false;
    note("/a");
    assert_false(known("/a", true));
    led("/x");
    place.in_union = true;
    note("/a");
    assert_false(known("/a", true));
    led("/x");
    place.crossed = true;
    note("/a");
    assert_false(known("/a", true));
    char text[WAYS_TEXT + 2] = "/";
    memset(text + 1, 'a', WAYS_TEXT);
    led(text);
    note("/a");
    assert_false(known("/a", true));
    led("/x");
    note(text);
    assert_false(known(text, true));
}

static void ends(void **state UNUSED)
{
    memset(&ways, 0, sizeof(ways));
    led("/x");
    note("/a");
    u32 then = steady_now();
    while (steady_now() - then <= STEADY_TICKS)
        ;
    assert_false(known("/a", true));
}

/* Nor is anything noted just after a change, which the kernel may still have to make. */
static void changes(void **state UNUSED)
{
    memset(&ways, 0, sizeof(ways));
    led("/x");
    note("/a");
    ways_change(&ways);
    assert_false(known("/a", true));
    led("/x");
    note("/a");
    assert_false(known("/a", true));
    u32 then = steady_now();
    while (steady_now() - then <= STEADY_TICKS)
        ;
    led("/x");
    note("/a");
    assert_true(known("/a", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers),
        cmocka_unit_test(not_everything),
        cmocka_unit_test(ends),
        cmocka_unit_test(changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
