/* What is read of a dynamic linker's file: as the kernel maps it, or nothing at all. */
#include "tracer/loaderelf.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct loader loader;

static bool reads(const void *bytes, size_t n)
{
    int fd = memfd_create("loader", MFD_CLOEXEC);
    struct stat st;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(fstat(fd, &st), 0);
    memset(&loader, 0x55, sizeof(loader));
    loader_read(fd, &st, &loader);
    close(fd);
    return loader.span != 0;
}

/* Whatever the file said: what will be mapped lies in order and in the room that is made for it. */
static void is_sound(void)
{
    u64 end = 0, text = 0, zeros = 0;
    assert_true(loader.nmaps > 0 && loader.nmaps <= LOADER_MAPS && loader.span <= SPAN_MAX);
    for (unsigned i = 0; i < loader.nmaps; i++) {
        const struct loader_map *m = &loader.map[i];
        assert_true(m->at >= end && m->size > 0 && m->at % PAGE == 0 && m->size % PAGE == 0);
        assert_true(m->offset % PAGE == 0 && (m->flags & MAP_FIXED));
        end = m->at + m->size;
        if (m->prot & PROT_EXEC)
            text = end;
        if (loader.zero_size && loader.zero_at >= m->at && loader.zero_at < end)
            zeros = m->prot & PROT_WRITE && loader.zero_at + loader.zero_size <= end;
    }
    assert_int_equal(end, loader.span);
    assert_true(loader.entry < loader.text_end && loader.text_end <= text);
    assert_true(!loader.zero_size || zeros);
    assert_true(!loader.leave || loader.leave + 3 <= loader.text_end);
}

static size_t slurp(const char *path, u8 *bytes, size_t room)
{
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(bytes, 1, room, f) : 0;
    if (f)
        fclose(f);
    return n;
}

static const char *const files[] = {"/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"};

static void test_real_ones(void **state)
{
    static u8 bytes[4 << 20];
    unsigned seen = 0;
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
        size_t n = slurp(files[i], bytes, sizeof(bytes));
        if (!n)
            continue;
        seen++;
        assert_true(reads(bytes, n));
        is_sound();
    }
#if defined(__x86_64__)
    assert_true(seen > 0);
#endif
}

static void test_damaged_ones(void **state)
{
    static u8 bytes[4 << 20], damaged[4 << 20];
    unsigned sound = 0;
    (void)state;
    srandom(1);
    size_t n = slurp(files[0], bytes, sizeof(bytes));
    for (unsigned round = 0; n && round < 2000; round++) {
        memcpy(damaged, bytes, 1024);
        for (unsigned k = 0; k < 1 + round % 4; k++)
            damaged[(unsigned)random() % 600] = (u8)random();
        memcpy(damaged + 1024, bytes + 1024, n - 1024);
        if (reads(damaged, round % 3 ? n : (size_t)random() % n)) {
            sound++;
            is_sound();
        }
    }
    assert_true(!n || sound > 100);
}

static void test_what_is_none(void **state)
{
    (void)state;
    assert_false(reads("", 0));
    assert_false(reads("#!/bin/sh\n", 10));
    static u8 bytes[4 << 20];
    size_t n = slurp("/proc/self/exe", bytes, sizeof(bytes)); /* it has a loader of its own */
    assert_true(n > 0);
    assert_false(reads(bytes, n));
}

static void test_one_is_remembered(void **state)
{
    struct stat st;
    struct loader again;
    (void)state;
    int fd = open(files[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        skip();
    assert_int_equal(fstat(fd, &st), 0);
    loader_read(fd, &st, &loader);
    assert_true(loader_known(&st, &again));
    assert_memory_equal(&loader, &again, sizeof(again));
    st.st_mtim.tv_nsec++;
    assert_false(loader_known(&st, &again));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_ones),
        cmocka_unit_test(test_damaged_ones),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_one_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
