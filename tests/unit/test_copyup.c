/* Copy-up: the upper twin differs in nothing a program can see; parents keep their times; a failed
 * copy leaves nothing. */
#include "lab_ops.h"

static const char LAYERS[] =
    "mkdir -p l1/d/e l2/d/x/y l2/deep/a/b; echo low > l1/d/f; echo deep > l2/d/x/y/f;"
    "echo deep > l2/deep/a/b/f; chmod 2751 l2/deep/a; chmod 1777 l2/deep; chown 12:34 l2/deep/a/b;"
    "setfattr -n user.k -v v1 l1/d/f; setfattr -n user.dir -v dd l2/deep/a;"
    "setfattr -n trusted.t -v tt l1/d/f; chown 7:8 l1/d/f; chmod 6755 l1/d/f;"
    "echo acl > l2/acl; setfacl -m u:1234:rw,g:55:r l2/acl; setfacl -d -m u:77:rwx l2/deep/a/b;"
    "cp /bin/true l1/cap; setcap cap_net_raw+ep l1/cap;"
    "echo h > l1/h1; ln l1/h1 l1/h2; ln l1/h1 l1/h3;"
    "ln -s nowhere l1/link; chown -h 5:6 l1/link; mkfifo -m 640 l1/fifo; mknod l2/null c 1 3;"
    "truncate -s 1M l1/sparse; printf x | dd of=l1/sparse bs=1 seek=500000 conv=notrunc "
    "status=none;"
    "truncate -s 3M l1/hole; dd if=/dev/urandom of=l1/big bs=1M count=5 status=none;"
    "perl -MSocket -e 'socket(S,PF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un(\"l1/sock\"))'";

static void test_each_kind(void **state UNUSED)
{
    EACH_STYLE(style)
    {
        struct lab lab;
        lab_open(&lab, style, LAYERS);
        LAB_RUN(&lab, "up d/f", "up d/x/y/f", "chmod deep/a/b/f 600", "chmod deep/a/b 700",
                "up acl", "up h1", "write h2 two", "chmod fifo 600", "chmod null 600", "up sparse",
                "chmod hole 640", "trunc big 100000", "chmod sock 700", "up nothere", "up d",
                "chmod cap 755", "rename link link2 0", "chmod d/e 711", "up fifo", "up link");
        lab_close(&lab);
    }
}

static void test_holes_stay_holes(void **state UNUSED)
{
    struct lab lab;
    char path[128];
    struct stat st;
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    lab_do(&lab, "up sparse");
    lab_do(&lab, "up hole");
    snprintf(path, sizeof(path), "%s/a/u/sparse", lab.dir);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    off_t data = lseek(fd, 0, SEEK_DATA);
    assert_true(data > 0 && data <= 500000);
    close(fd);
    snprintf(path, sizeof(path), "%s/a/u/hole", lab.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_blocks <= 8 && st.st_size == 3 << 20);
    lab_close(&lab);
}

static void test_size_hint_drops_data(void **state UNUSED)
{
    struct lab lab;
    struct vnode n;
    char path[128];
    struct stat st;
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    assert_int_equal(engine_at(&lab, "big", &n), 0);
    assert_int_equal(lab.o->vfs.ops.copy_up(&lab.o->vfs, &lab.who.c, &n, 4097), 0);
    assert_int_equal(n.top, 0);
    snprintf(path, sizeof(path), "%s/a/u/big", lab.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 4097);
    /* Both sides at that length again. */
    lab_do(&lab, "trunc big 4097");
    lab_close(&lab);
}

/* Work and upper on another filesystem than the lowers: no reflink, perhaps no copy_file_range. */
static void test_from_another_filesystem(void **state UNUSED)
{
    struct lab lab;
    char path[160];
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    lab_stop(&lab);
    shell(
        "mkdir -p /dev/shm/fuss-unit && cd %s/a && cp -a u w /dev/shm/fuss-unit/ && rm -rf u w && "
        "ln -s /dev/shm/fuss-unit/u u && ln -s /dev/shm/fuss-unit/w w",
        lab.dir);
    lab_start(&lab);
    LAB_RUN(&lab, "up d/x/y/f", "up big", "up sparse", "up deep/a/b/f", "chmod sock 700");
    lab_stop(&lab);
    snprintf(path, sizeof(path), "%s/a", lab.dir);
    shell("cd %s && rm u w && cp -a /dev/shm/fuss-unit/u /dev/shm/fuss-unit/w . && "
          "rm -rf /dev/shm/fuss-unit",
          path);
    lab_start(&lab);
    lab_close(&lab);
}

/* A full upper: the errno comes through, nothing is left, and the file is as it was. */
static void test_no_space_leaves_nothing(void **state UNUSED)
{
    struct lab lab;
    struct vnode n;
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    lab_stop(&lab);
    shell("cd %s/a && rm -r u w && mkdir small && mount -t tmpfs -o size=2m none small && "
          "mkdir small/u small/w && chmod 711 small/w && touch -d '" OLD_STAMP "' small/u && "
          "ln -s small/u u && ln -s small/w w",
          lab.dir);
    lab_start(&lab);
    assert_int_equal(engine_at(&lab, "big", &n), 0);
    int r = lab.o->vfs.ops.copy_up(&lab.o->vfs, &lab.who.c, &n, UINT64_MAX);
    assert_int_equal(r, -ENOSPC);
    lab_compare(&lab, "after the failure");
    shell("test -z \"$(ls -A %s/a/u/)\"", lab.dir);
    lab_stop(&lab);
    shell("cd %s/a && umount small && rm u w && rmdir small && mkdir u w && touch -d '" OLD_STAMP
          "' u",
          lab.dir);
    lab_start(&lab);
    lab_close(&lab);
}

static void test_upper_is_told_apart(void **state UNUSED)
{
    struct lab lab;
    struct vnode n;
    lab_open(&lab, STYLE_CHARDEV, LAYERS);
    struct vfs *fs = &lab.o->vfs;
    assert_int_equal(engine_at(&lab, "nothere", &n), 0);
    assert_int_equal(fs->ops.copy_up(fs, &lab.who.c, &n, 0), -ENOENT);
    lab_do(&lab, "write d/f upper");
    assert_int_equal(engine_at(&lab, "d/f", &n), 0);
    assert_int_equal(n.top, 0);
    assert_int_equal(fs->ops.copy_up(fs, &lab.who.c, &n, 0), 0); /* keeps its data */
    lab_close(&lab);
    lab_open_in(&lab, STYLE_CHARDEV, LAYERS, true, "/tmp");
    fs = &lab.o->vfs;
    assert_int_equal(engine_at(&lab, "d/f", &n), 0);
    assert_int_equal(fs->ops.copy_up(fs, &lab.who.c, &n, 0), -EROFS);
    lab_close(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind),
        cmocka_unit_test(test_holes_stay_holes),
        cmocka_unit_test(test_size_hint_drops_data),
        cmocka_unit_test(test_from_another_filesystem),
        cmocka_unit_test(test_no_space_leaves_nothing),
        cmocka_unit_test(test_upper_is_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
