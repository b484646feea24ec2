/* Images: names, digests, configs, users, override_stat, attributes, and the tar to the byte. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "image/config.h"
#include "image/image.h"
#include "image/marks.h"
#include "image/upper.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_names(void **state)
{
    static const char *const rows[][2] = {
        {"a", "a"},         {"./a", "a"},    {"a/", "a"},      {"./", ""},
        {".", ""},          {"a//b", "a/b"}, {"a/./b", "a/b"}, {"..a/b..", "..a/b.."},
        {"...", "..."},     {"a/..", NULL},  {"..", NULL},     {"../a", NULL},
        {"a/../b", NULL},   {"/a", NULL},    {"/", NULL},      {"./../a", NULL},
        {".wh.a", ".wh.a"},
    };
    char out[PATH_MAX], name[2 * PATH_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(place_name(rows[i][0], out, sizeof(out)), rows[i][1] != NULL);
        if (rows[i][1])
            assert_string_equal(out, rows[i][1]);
    }
    memset(name, 'n', sizeof(name));
    name[NAME_MAX] = 0;
    assert_true(place_name(name, out, sizeof(out)));
    name[NAME_MAX] = 'n';
    name[NAME_MAX + 1] = 0;
    assert_false(place_name(name, out, sizeof(out)));
    for (size_t i = 0; i < 2 * PLACE_PARTS_MAX; i += 2)
        memcpy(name + i, "d/", 3);
    assert_true(place_name(name, out, sizeof(out)));
    strcat(name, "d");
    assert_false(place_name(name, out, sizeof(out)));
    assert_false(place_name("abc", out, 4));
    assert_true(place_name("abc", out, 5));
}

static void test_places(void **state)
{
    char top[] = "/tmp/fuss-oci.XXXXXX", path[64];
    const char *base;
    struct stat st;
    int root, fd;
    (void)state;
    assert_non_null(mkdtemp(top));
    root = open(top, O_RDONLY | O_DIRECTORY);
    assert_int_equal(symlinkat("/tmp", root, "l"), 0);
    fd = place_parent(root, "a/b/c", true, &base);
    assert_true(fd >= 0);
    assert_string_equal(base, "c");
    close(fd);
    assert_int_equal(fstatat(root, "a/b", &st, 0), 0);
    assert_int_equal(place_parent(root, "x/y", false, &base), -ENOENT);
    assert_int_equal(place_parent(root, "l/y", true, &base), -ELOOP);
    assert_int_equal(place_parent(root, "l/y/z", true, &base), -ELOOP);
    assert_int_equal(place_open(root, "l", O_RDONLY, 0), -ELOOP);
    assert_int_equal(place_open(root, "../", O_RDONLY, 0), -EXDEV);
    assert_int_equal(place_open(root, "/tmp", O_RDONLY, 0), -EXDEV);
    /* Taken away with what is below, links not followed, closed directories too. */
    assert_int_equal(symlinkat(top, root, "a/b/up"), 0);
    assert_int_equal(fchmodat(root, "a/b", 0, 0), 0);
    assert_int_equal(place_remove(root, "a"), 0);
    assert_int_equal(place_remove(root, "a"), 0);
    assert_int_equal(place_remove(root, "l"), 0);
    snprintf(path, sizeof(path), "%s/a", top);
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(stat("/tmp", &st), 0);
    close(root);
    assert_int_equal(rmdir(top), 0);
}

static void test_digests(void **state)
{
    struct image_sha *s = image_sha_new();
    char text[IMAGE_DIGEST_TEXT], bad[IMAGE_DIGEST_TEXT + 1];
    (void)state;
    image_sha_add(s, "a", 1);
    image_sha_add(s, "bc", 2);
    image_sha_text(s, text);
    /* FIPS 180-4's first example */
    assert_string_equal(text,
                        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(image_digest_ok(text));
    for (size_t i = 0; text[i]; i++) {
        strcpy(bad, text);
        bad[i] = '/';
        assert_false(image_digest_ok(bad));
    }
    snprintf(bad, sizeof(bad), "%sa", text);
    assert_false(image_digest_ok(bad));
    bad[IMAGE_DIGEST_TEXT - 2] = 0;
    assert_false(image_digest_ok(bad));
    assert_false(image_digest_ok(""));
}

static bool reads(const char *text, struct image_config *c)
{
    const char *wrong;
    return image_config_read(text, strlen(text), c, &wrong);
}

static void test_configs(void **state)
{
    struct image_config c;
    (void)state;
    assert_true(reads("{\"config\":{\"Env\":[\"A=b=c\",\"D=\"],\"Entrypoint\":[\"/e\"],"
                      "\"Cmd\":[\"x\",\"\"],\"WorkingDir\":\"/w\",\"User\":\"u\"}}",
                      &c));
    assert_string_equal(c.env[0], "A=b=c");
    assert_string_equal(c.env[1], "D=");
    assert_null(c.env[2]);
    assert_string_equal(c.entrypoint[0], "/e");
    assert_string_equal(c.cmd[1], "");
    assert_null(c.cmd[2]);
    assert_string_equal(c.directory, "/w");
    assert_string_equal(c.user, "u");
    image_config_free(&c);
    static const char *const empty[] = {
        "{}", "{\"config\":null}", "{\"config\":{}}",
        "{\"config\":{\"Env\":null,\"Cmd\":null,\"Entrypoint\":[],\"User\":\"\"}}"};
    for (size_t i = 0; i < sizeof(empty) / sizeof(*empty); i++) {
        assert_true(reads(empty[i], &c));
        assert_null(c.env[0]);
        assert_null(c.cmd[0]);
        assert_null(c.entrypoint[0]);
        assert_string_equal(c.directory, "");
        assert_string_equal(c.user, "");
        image_config_free(&c);
    }
    static const char *const wrong[] = {"",
                                        "[]",
                                        "{",
                                        "{\"config\":[]}",
                                        "{\"config\":{\"Env\":\"A=b\"}}",
                                        "{\"config\":{\"Env\":[1]}}",
                                        "{\"config\":{\"Env\":[\"A\"]}}",
                                        "{\"config\":{\"Env\":[\"=b\"]}}",
                                        "{\"config\":{\"Cmd\":{}}}",
                                        "{\"config\":{\"Cmd\":[null]}}",
                                        "{\"config\":{\"Cmd\":[\"\"]}}",
                                        "{\"config\":{\"WorkingDir\":\"w\"}}",
                                        "{\"config\":{\"Env\":[\"A=\\u0000\"]}}"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_false(reads(wrong[i], &c));
    image_config_free(&c);
}

static void test_users(void **state)
{
    static const char passwd[] =
        "root:x:0:0:root:/root:/bin/sh\nrootless:x:5:6::/:\nana:x:7:8::/:\n"
        "9:x:70:80::/:\nshort:x\nlong:x:99999999999:1::/:\nbad:x:x:1::/:\n"
        "last:x:11:12";
    static const char group[] = "root:x:0:\nband:x:9:ana\nlast:x:13";
    static const struct {
        const char *user;
        bool found;
        uint32_t uid, gid;
    } rows[] = {
        {"root", true, 0, 0},         {"ana", true, 7, 8},      {"7", true, 7, 8},
        {"1234", true, 1234, 0},      {"ana:band", true, 7, 9}, {"ana:77", true, 7, 77},
        {"1234:band", true, 1234, 9}, {"9", true, 9, 0},        {"last", true, 11, 12},
        {"root:last", true, 0, 13},   {"ro", false, 0, 0},      {"", false, 0, 0},
        {"ana:", false, 0, 0},        {":band", false, 0, 0},   {"ana:none", false, 0, 0},
        {"short", false, 0, 0},       {"long", false, 0, 0},    {"bad", false, 0, 0},
        {"4294967295", false, 0, 0},  {"-1", false, 0, 0},      {"ana:band:x", false, 0, 0}};
    uint32_t uid, gid;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(image_user_find(rows[i].user, passwd, group, &uid, &gid), rows[i].found);
        if (rows[i].found) {
            assert_int_equal(uid, rows[i].uid);
            assert_int_equal(gid, rows[i].gid);
        }
    }
    static const struct {
        uint32_t uid;
        const char *home;
    } homes[] = {{0, "/root"}, {7, "/"}, {11, ""}, {70, "/"}, {1234, ""}};
    for (size_t i = 0; i < sizeof(homes) / sizeof(*homes); i++) {
        char *home = image_user_home(passwd, homes[i].uid);
        assert_string_equal(home, homes[i].home);
        free(home);
    }
    assert_false(image_user_find("root", NULL, NULL, &uid, &gid));
    assert_true(image_user_find("5:6", NULL, NULL, &uid, &gid));
    assert_int_equal(uid, 5);
    assert_int_equal(gid, 6);
}

static void test_overrides(void **state)
{
    struct upper_override o;
    (void)state;
    assert_true(upper_override("1:2:0755", &o));
    assert_int_equal(o.uid, 1);
    assert_int_equal(o.gid, 2);
    assert_int_equal(o.mode, 0755);
    assert_true(upper_override("0:0:4711:file", &o));
    assert_int_equal(o.mode, S_IFREG | 04711);
    assert_true(upper_override("0:0:040755:dir", &o));
    assert_int_equal(o.mode, S_IFDIR | 0755);
    assert_true(upper_override("0:6:0660:block-8-17", &o));
    assert_int_equal(o.mode, S_IFBLK | 0660);
    assert_int_equal(o.major, 8);
    assert_int_equal(o.minor, 17);
    assert_true(upper_override("0:0:0666:char-1-3", &o));
    assert_int_equal(o.mode, S_IFCHR | 0666);
    assert_true(upper_override("0:0:0777:symlink", &o));
    static const char *const wrong[] = {"",
                                        "1",
                                        "1:2",
                                        "1:2:",
                                        "-1:2:0755",
                                        "1:2:0755:",
                                        "1:2:0755:x",
                                        "1:2:0755:dirs",
                                        "1:2:0855",
                                        "4294967295:0:0",
                                        "1:2:0755:char-1",
                                        "1:2:0755:char-1-",
                                        "1:2:0755:char-1-2-3",
                                        " 1:2:0755",
                                        "1:2:0755 ",
                                        "1:2:99999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_false(upper_override(wrong[i], &o));
}

static void test_private_marks(void **state)
{
    (void)state;
    assert_true(marks_private("trusted.overlay.opaque"));
    assert_true(marks_private("user.overlay.fuss.origin"));
    assert_true(marks_private("user.fuseoverlayfs.opaque"));
    assert_true(marks_private("user.containers.override_stat"));
    assert_false(marks_private("user.overlayfs"));
    assert_false(marks_private("security.capability"));
    assert_false(marks_private("system.posix_acl_access"));
}

/* ---- the tar ---- */
struct bytes {
    unsigned char b[8192];
    size_t n;
};

static void keep(void *ctx, const void *data, size_t len)
{
    struct bytes *to = ctx;
    assert_true(to->n + len <= sizeof(to->b));
    memcpy(to->b + to->n, data, len);
    to->n += len;
}

static void test_tar_plain(void **state)
{
    static struct bytes got;
    const struct tar_sink sink = {keep, &got};
    struct tar_entry e = {.name = "dir/file",
                          .type = '0',
                          .mode = 0100644,
                          .uid = 1,
                          .gid = 07777777,
                          .size = 3,
                          .mtime = {981173106, 0}};
    unsigned sum = 0;
    (void)state;
    got.n = 0;
    tar_header(&sink, &e);
    assert_int_equal(got.n, 512);
    assert_string_equal((char *)got.b, "dir/file");
    assert_string_equal((char *)got.b + 100, "0000644");
    assert_string_equal((char *)got.b + 108, "0000001");
    assert_string_equal((char *)got.b + 116, "7777777");
    assert_string_equal((char *)got.b + 124, "00000000003");
    assert_string_equal((char *)got.b + 136, "07236701562");
    assert_memory_equal(got.b + 257, "ustar\00000", 8);
    for (size_t i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? ' ' : got.b[i];
    assert_int_equal(strtoul((char *)got.b + 148, NULL, 8), sum);
    keep(&got, "abc", 3);
    tar_fill(&sink, 3);
    assert_int_equal(got.n, 1024);
    tar_fill(&sink, 512);
    assert_int_equal(got.n, 1024);
    tar_end(&sink);
    assert_int_equal(got.n, 2048);
}

static void pax_is_bytes(const struct tar_entry *e, const char *want, size_t len)
{
    static struct bytes got;
    const struct tar_sink sink = {keep, &got};
    got.n = 0;
    tar_header(&sink, e);
    if (!want) {
        assert_int_equal(got.n, 512);
        return;
    }
    assert_int_equal(got.b[156], 'x');
    assert_int_equal(strtoul((char *)got.b + 124, NULL, 8), len);
    assert_memory_equal(got.b + 512, want, len);
    assert_int_equal(got.n, 512 + (len + 511) / 512 * 512 + 512);
}

static void pax_is(const struct tar_entry *e, const char *want)
{
    pax_is_bytes(e, want, want ? strlen(want) : 0);
}

static void test_tar_records(void **state)
{
    struct tar_entry e = {.name = "f", .type = '0'};
    struct tar_pax pax = {0};
    char name[102], want[256];
    (void)state;
    pax_is(&e, NULL);
    e.mtime = (struct timespec){1, 500000000};
    pax_is(&e, "13 mtime=1.5\n");
    e.mtime.tv_nsec = 1;
    pax_is(&e, "21 mtime=1.000000001\n");
    e.mtime = (struct timespec){-2, 500000000};
    pax_is(&e, "14 mtime=-1.5\n");
    e.mtime = (struct timespec){-1, 750000000};
    pax_is(&e, "15 mtime=-0.25\n");
    e.mtime = (struct timespec){-1, 0};
    pax_is(&e, "12 mtime=-1\n");
    e.mtime = (struct timespec){077777777777, 0};
    pax_is(&e, NULL);
    e.mtime.tv_sec++;
    pax_is(&e, "20 mtime=8589934592\n");
    e.mtime.tv_sec = 0;
    e.uid = 010000000;
    pax_is(&e, "15 uid=2097152\n");
    e.uid = 0;
    e.size = 077777777777;
    pax_is(&e, NULL);
    e.size++;
    pax_is(&e, "19 size=8589934592\n");
    e.size = 0;
    e.name = "\303\251";
    pax_is(&e, "11 path=\303\251\n");
    memset(name, 'n', 101);
    name[100] = 0;
    e.name = name;
    pax_is(&e, NULL);
    name[100] = 'n';
    name[101] = 0;
    snprintf(want, sizeof(want), "111 path=%s\n", name);
    pax_is(&e, want);
    e.name = "f";
    tar_pax_add(&pax, "SCHILY.xattr.user.a", "b\0c", 3);
    e.pax = &pax;
    assert_int_equal(pax.len, 27);
    assert_memory_equal(pax.text, "27 SCHILY.xattr.user.a=b\0c\n", 27);
    pax_is_bytes(&e, "27 SCHILY.xattr.user.a=b\0c\n", 27);
    tar_pax_free(&pax);
}

/* The length counts its own digits, at each border. */
static void test_tar_lengths(void **state)
{
    char value[1100];
    (void)state;
    memset(value, 'v', sizeof(value));
    for (size_t len = 0; len < sizeof(value); len++) {
        struct tar_pax pax = {0};
        tar_pax_add(&pax, "k", value, len);
        assert_int_equal(strtoul(pax.text, NULL, 10), pax.len);
        assert_int_equal(pax.text[pax.len - 1], '\n');
        tar_pax_free(&pax);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_places),
        cmocka_unit_test(test_digests),       cmocka_unit_test(test_configs),
        cmocka_unit_test(test_users),         cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_private_marks), cmocka_unit_test(test_tar_plain),
        cmocka_unit_test(test_tar_records),   cmocka_unit_test(test_tar_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
