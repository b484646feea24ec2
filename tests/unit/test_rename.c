/* rename(2): every kind of source on every kind of target, compared with a kernel overlay mounted
 * with redirect_dir=on, which renames directories with a lower part as well. */
#include "lab_ops.h"

struct kind {
    const char *name;
    const char *make;  /* shell, $p is the path below a layer */
    const char *after; /* an operation that makes it what it is, on $p */
};

static const struct kind SOURCE[] = {
    {"fl", "echo fl > l2/$p", NULL},
    {"fu", "echo fu > u/$p", NULL},
    {"fb", "echo low > l1/$p; echo up > u/$p", NULL},
    {"sl", "ln -s to l1/$p", NULL},
    {"pipe", "mkfifo l1/$p", NULL},
    {"du", "mkdir u/$p; echo in > u/$p/in; mkdir u/$p/sub; echo x > u/$p/sub/x", NULL},
    {"dl", "mkdir -p l1/$p/sub l2/$p/sub; echo 1 > l1/$p/in; echo 2 > l2/$p/sub/deep", NULL},
    {"dm", "mkdir -p l1/$p/sub u/$p/sub; echo 1 > l1/$p/sub/low; echo 2 > u/$p/sub/up", NULL},
    {"dw", "mkdir -p l1/$p/sub; echo 1 > l1/$p/sub/a; echo 2 > l1/$p/b", "unlink $p/b"},
    {"de", "mkdir l2/$p", NULL},
    {"none", ":", NULL},
    {"gone", "echo g > l1/$p", "unlink $p"},
};

static const struct kind TARGET[] = {
    {"none", ":", NULL},
    {"gone", "echo g > l1/$p", "unlink $p"},
    {"goned", "mkdir l1/$p", "rmdir $p"},
    {"fl", "echo fl > l1/$p", NULL},
    {"fu", "echo fu > u/$p", NULL},
    {"fb", "echo low > l2/$p; echo up > u/$p", NULL},
    {"sl", "ln -s to l1/$p", NULL},
    {"due", "mkdir u/$p", NULL},
    {"duf", "mkdir u/$p; echo 1 > u/$p/f", NULL},
    {"dle", "mkdir l1/$p l2/$p", NULL},
    {"dlf", "mkdir l1/$p l2/$p; echo 2 > l2/$p/f", NULL},
    {"dme", "mkdir l1/$p u/$p", NULL},
    {"dmf", "mkdir l1/$p u/$p; echo 1 > l1/$p/f", NULL},
    {"dwe", "mkdir l1/$p; echo 1 > l1/$p/f", "unlink $p/f"},
};

/* Replaces $p. */
static void put_path(char *out, size_t cap, const char *text, const char *path)
{
    size_t n = 0;
    for (; *text && n + 1 < cap; text++) {
        if (text[0] == '$' && text[1] == 'p') {
            n += (size_t)snprintf(out + n, cap - n, "%s", path);
            text++;
        } else {
            out[n++] = *text;
        }
    }
    out[n] = 0;
}

static void run_matrix(enum marker_style style, unsigned flags)
{
    struct lab lab;
    struct text script = {0}, places = {0};
    static const char *const layer[] = {"u", "l1", "l2"};
    char piece[512], path[64];
    say(&places, "mkdir -p ");
    for (size_t i = 0; i < ARRAY_LEN(SOURCE); i++) {
        for (size_t k = 0; k < ARRAY_LEN(TARGET); k++) {
            snprintf(path, sizeof(path), "%s-%s", SOURCE[i].name, TARGET[k].name);
            for (int l = 0; l < 3; l++)
                say(&places, "%s/%s/a %s/%s/b ", layer[l], path, layer[l], path);
            snprintf(path, sizeof(path), "%s-%s/a/s", SOURCE[i].name, TARGET[k].name);
            put_path(piece, sizeof(piece), SOURCE[i].make, path);
            say(&script, "%s\n", piece);
            snprintf(path, sizeof(path), "%s-%s/b/t", SOURCE[i].name, TARGET[k].name);
            put_path(piece, sizeof(piece), TARGET[k].make, path);
            say(&script, "%s\n", piece);
        }
    }
    say(&places, "\n%s", script.at); /* one mkdir for all of them: forking is what costs */
    lab_open(&lab, style, places.at);
    free(places.at);
    free(script.at);
    for (size_t i = 0; i < ARRAY_LEN(SOURCE); i++) {
        for (size_t k = 0; k < ARRAY_LEN(TARGET); k++) {
            char base[32];
            snprintf(base, sizeof(base), "%s-%s", SOURCE[i].name, TARGET[k].name);
            if (SOURCE[i].after) {
                snprintf(path, sizeof(path), "%s/a/s", base);
                put_path(piece, sizeof(piece), SOURCE[i].after, path);
                lab_do(&lab, "%s", piece);
            }
            if (TARGET[k].after) {
                snprintf(path, sizeof(path), "%s/b/t", base);
                put_path(piece, sizeof(piece), TARGET[k].after, path);
                lab_do(&lab, "%s", piece);
            }
            int r = lab_do(&lab, "rename %s/a/s %s/b/t %u", base, base, flags);
            /* The kernel's refused attempt may change the time of the source's parent. */
            if (r == -ENOTEMPTY)
                lab_do(&lab, "create %s/a/z 600", base);
        }
    }
    lab_compare(&lab, "after the matrix");
    /* What came to lie there can be taken away, and the names be used again. */
    for (size_t i = 0; i < ARRAY_LEN(SOURCE); i++) {
        for (size_t k = 0; k < ARRAY_LEN(TARGET); k++) {
            char base[32];
            snprintf(base, sizeof(base), "%s-%s", SOURCE[i].name, TARGET[k].name);
            lab_do(&lab, "mkdir %s/a/s 755", base);
            if (strcmp(SOURCE[i].name, "sl") && strcmp(TARGET[k].name, "sl"))
                lab_do(&lab, "unlink %s/b/t/in", base);
            lab_do(&lab, "unlink %s/b/t", base);
            lab_do(&lab, "rmdir %s/b/t", base);
        }
    }
    lab_close(&lab);
}

static void test_matrix(void **state UNUSED)
{
    EACH_STYLE(style)
    run_matrix(style, 0);
}
static void test_matrix_noreplace(void **state UNUSED)
{
    EACH_STYLE(style)
    run_matrix(style, RENAME_NOREPLACE);
}
static void test_matrix_exchange(void **state UNUSED)
{
    EACH_STYLE(style)
    run_matrix(style, RENAME_EXCHANGE);
}

static const char LAYERS[] =
    "mkdir -p l1/d/e l2/d/x/y l1/tree/a/b l2/tree/a/c u/own l1/w l1/ro l1/stick; echo 1 > l1/d/f;"
    "ln l1/d/f l1/d/f2; echo 2 > u/own/f; ln u/own/f u/own/f2; echo 3 > l2/tree/a/c/f; echo 4 > "
    "l1/tree/k;"
    "echo 5 > l1/tree/a/b/f; ln -s ../k l2/tree/a/link; chmod 2750 l1/tree/a; chown 3:4 "
    "l2/tree/a/c;"
    "setfattr -n user.x -v y l2/tree/a/c; mkfifo l2/tree/a/c/p; mkdir l1/tree/gone; echo g > "
    "l1/tree/gone/f;"
    "chmod 777 l1/w; chmod 1777 l1/stick; echo a > l1/stick/a; echo w > l1/w/f; mkdir l1/w/d "
    "l1/w/own;"
    "chown 1000:1000 l1/w/own; mkdir l1/w/dest; chmod 777 l1/w/dest; echo r > l1/ro/r";

static void test_rules(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        LAB_RUN(&lab, "rename d/f d/f 0", "rename own/f own/f2 0", "rename d/f d/f2 0",
                "rename tree tree/a/in 0", "rename tree/a tree 0", "rename d/nope d/x 0",
                "rename d/f2 nope/x 0", "rename d/f2 d/z 8", "rename d/f2 d/z 4",
                "rename d/f2 d/z 3", "rename tree/a tree 2", "rename d/f2 d/nope 2", "rename d d 1",
                "rename d/e d/e 2", "rename d/x d/e 0", "create d/x 644", "rename own tree/own 0",
                "rename own/f own/g 0");
        lab_close(&lab);
    }
}

static void test_whole_trees(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        LAB_RUN(&lab, "write d/f one", "write d/f2 two", "unlink tree/gone/f", "unlink tree/k",
                "create tree/new 644", "rename tree/a own/a 0", "create own/a/b/more 600",
                "mkdir tree/a 755", "create tree/a/b 644", "rename tree other 0", "mkdir tree 700",
                "create tree/k 600", "rename other tree/back 0", "rename tree/back/gone d/gone 0",
                "create d/gone/f 644", "unlink d/gone/f", "rmdir d/gone", "rename own/a d/a 2",
                "rename d/e d/x 2", "rename d/x d/f 2", "unlink d/x", "rename d moved 0",
                "rename moved d 0", "rename d/f/nope d/f 0", "rename tree/back own/f 2",
                "rename own o2 0");
        lab_close(&lab);
    }
}

static void test_rights(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        lab_be(&lab, 1000, 1000, 0, 022);
        LAB_RUN(&lab, "rename w/d w/dest/d 0", "rename w/d w/d2 0", "rename w/own w/dest/own 0",
                "rename stick/a w/a 0", "rename w/f stick/a 0", "rename w/f ro/f 0",
                "rename ro/r w/r 0", "rename ro/none w/r 0", "rename w/f w/dest 0",
                "rename w/dest/own w/f 0", "rename w/f w/dest/f 0", "rename w/dest/f w/dest/own 2",
                "rename d/e w/d2 2", "rename w/d2 w/dest/own 2");
        lab_close(&lab);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_whole_trees),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_matrix),
        cmocka_unit_test(test_matrix_noreplace),
        cmocka_unit_test(test_matrix_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
