/* The supervisor's cache of site tables. */
#include "sites_lab.h"

static int temporary(const void *bytes, size_t n)
{
    char name[] = "/tmp/fuss-sites.XXXXXX";
    int fd = mkostemp(name, O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(name);
    assert_int_equal(write(fd, bytes, n), n);
    return fd;
}

static void wait_until_settled(void)
{
    usleep(SETTLED_NS / 1000 + 20000);
}

static void test_cache_keeps_and_renews(void **state)
{
    struct sitecache *c = sitecache_new(1 << 20);
    (void)state;
    CODE(MOV_STAT, SYSCALL, CMP, RET);
    int fd = temporary(image, sizeof(image));
    const struct sites *t = sitecache_get(c, fd);
    assert_non_null(t);
    assert_int_equal(t->count, 1);
    assert_ptr_equal(t, c->unkept); /* too new */
    wait_until_settled();
    t = sitecache_get(c, fd);
    assert_non_null(t);
    assert_int_equal(t->count, 1);
    assert_int_equal(t->size, sizeof(image));
    assert_ptr_equal(sitecache_get(c, fd), t);
    assert_true(c->used == sites_size(1));
    /* Changed, with its old size and time: */
    struct stat st;
    fstat(fd, &st);
    assert_int_equal(pwrite(fd, "\x90\x90\x90\x90\x90\x90\x90", 7, BASE + 0x400), 7);
    futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim});
    wait_until_settled();
    t = sitecache_get(c, fd);
    assert_non_null(t);
    assert_int_equal(t->count, 0);
    /* The image again, by another name of another file, is another entry. */
    CODE(TAIL);
    int other = temporary(image, sizeof(image));
    wait_until_settled();
    assert_int_equal(sitecache_get(c, other)->count, 1);
    assert_int_equal(sitecache_get(c, fd)->count, 0);
    close(other);
    close(fd);
    sitecache_free(c);
    sitecache_free(NULL);
}

static void test_cache_takes_anything(void **state)
{
    struct sitecache *c = sitecache_new(1 << 20);
    int pipes[2];
    (void)state;
    int fd = temporary("#!/bin/sh\n", 10);
    assert_int_equal(sitecache_get(c, fd)->count, 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(sitecache_get(c, fd)->count, 0);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    assert_int_equal(sitecache_get(c, fd)->count, 0);
    close(fd);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(sitecache_get(c, pipes[0])->count, 0);
    close(pipes[0]);
    close(pipes[1]);
    fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(sitecache_get(c, fd)->count, 0);
    close(fd);
    assert_null(sitecache_get(c, -1));
    sitecache_free(c);
}

static void test_cache_is_bounded(void **state)
{
    enum { FILES = 12, ROOM_FOR = 4 };
    struct sitecache *c = sitecache_new(ROOM_FOR * sites_size(1));
    int fd[FILES];
    (void)state;
    CODE(TAIL);
    for (int i = 0; i < FILES; i++)
        fd[i] = temporary(image, sizeof(image));
    wait_until_settled();
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < FILES; i++) {
            assert_int_equal(sitecache_get(c, fd[i])->count, 1);
            assert_true(c->used <= c->limit);
            /* The first one is asked for all the time and stays. */
            const struct sites *first = sitecache_get(c, fd[0]);
            if (i > 0)
                assert_ptr_equal(first, sitecache_get(c, fd[0]));
        }
    unsigned kept = 0;
    for (unsigned i = 0; i < ENTRIES; i++)
        kept += c->entry[i].table != NULL;
    assert_int_equal(kept, ROOM_FOR);
    for (int i = 0; i < FILES; i++)
        close(fd[i]);
    sitecache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_keeps_and_renews),
        cmocka_unit_test(test_cache_takes_anything),
        cmocka_unit_test(test_cache_is_bounded),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
