/* The syscall table: what its rows say is consistent, and lookup by number finds them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <cmocka.h>
#include "call/systab.h"

static const struct sysrow *row_named(const char *name)
{
    for (int i = 0; i < systab_rows(); i++)
        if (strcmp(systab_at(i)->name, name) == 0)
            return systab_at(i);
    fail_msg("no row %s", name);
    return NULL;
}

static void test_lookup(void **state)
{
    (void)state;
    int found = 0;
    for (long nr = 0; nr <= systab_newest; nr++) {
        const struct sysrow *row = systab_row(nr);
        if (!systab_name(nr)) {
            assert_null(row);
            assert_false(systab_passes(nr));
            continue;
        }
        /* in the table or passing, never both, never neither */
        assert_int_equal(row == NULL, systab_passes(nr));
        if (!row)
            continue;
        assert_int_equal(row->nr, nr);
        assert_string_equal(row->name, systab_name(nr));
        found++;
    }
    int here = 0;
    for (int i = 0; i < systab_rows(); i++)
        here += systab_at(i)->nr >= 0;
    assert_int_equal(found, here);
}

static void test_out_of_range(void **state)
{
    (void)state;
    const long wrong[] = {-1,         -100,       systab_newest + 1, 512,       547,      600,
                          0x40000000, 0x40000002, INT32_MAX,         INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_null(systab_row(wrong[i]));
        assert_null(systab_name(wrong[i]));
        assert_false(systab_passes(wrong[i]));
    }
}

/* Against numbers that the libc's headers know, not against our own list. */
static void test_known_numbers(void **state)
{
    (void)state;
    static const struct {
        long nr;
        const char *name;
        int handler;
    } known[] = {
        {SYS_openat, "openat", CALL_OPEN},         {SYS_fstat, "fstat", CALL_STAT},
        {SYS_newfstatat, "newfstatat", CALL_STAT}, {SYS_statx, "statx", CALL_STATX},
        {SYS_getcwd, "getcwd", CALL_GETCWD},       {SYS_execve, "execve", CALL_EXEC},
        {SYS_renameat2, "renameat2", CALL_RENAME}, {SYS_getdents64, "getdents64", CALL_GETDENTS},
        {SYS_setgroups, "setgroups", CALL_CREDS},  {SYS_fanotify_mark, "fanotify_mark", CALL_WATCH},
        {425, "io_uring_setup", CALL_ENOSYS},      {469, "file_setattr", CALL_FILE_ATTR},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const struct sysrow *row = systab_row(known[i].nr);
        assert_non_null(row);
        assert_string_equal(row->name, known[i].name);
        assert_int_equal(row->handler, known[i].handler);
    }
    const long pass[] = {SYS_read,  SYS_write,     SYS_close,   SYS_dup,     SYS_lseek,
                         SYS_mmap,  SYS_fcntl,     SYS_flock,   SYS_recvmsg, SYS_socket,
                         SYS_fsync, SYS_ftruncate, SYS_recvmmsg};
    for (size_t i = 0; i < sizeof(pass) / sizeof(pass[0]); i++)
        assert_true(systab_passes(pass[i]));
}

static void check_arg(const struct sysrow *row, int arg)
{
    if (arg < -1 || arg >= row->nargs)
        fail_msg("%s: argument %d of %d", row->name, arg, row->nargs);
}

static void test_columns(void **state)
{
    (void)state;
    for (int i = 0; i < systab_rows(); i++) {
        const struct sysrow *row = systab_at(i);
        assert_true(row->nargs <= 6 && row->handler < CALL_HANDLERS && row->want <= WANT_OPEN);
        check_arg(row, row->dirfd);
        check_arg(row, row->path);
        check_arg(row, row->flags);
        check_arg(row, row->dirfd2);
        check_arg(row, row->path2);
        check_arg(row, row->aux);
        if ((row->traits & SYS_FOLLOW) && (row->traits & SYS_NOFOLLOW))
            fail_msg("%s: followed and not followed", row->name);
        if (row->path >= 0 && !(row->traits & (SYS_FOLLOW | SYS_NOFOLLOW)))
            fail_msg("%s: does not say whether its path is followed", row->name);
        if ((row->traits & SYS_FD_ONLY) && row->path >= 0)
            fail_msg("%s: fd only, with a path", row->name);
        if ((row->traits & (SYS_FLAG_NOFOLLOW | SYS_FLAG_FOLLOW | SYS_EMPTY_PATH)) &&
            row->flags < 0)
            fail_msg("%s: its traits read a flags argument that it has not", row->name);
        /* a dirfd belongs to a path, unless the descriptor itself is the object */
        if (row->dirfd >= 0 && row->path < 0 && !(row->traits & SYS_FD_ONLY))
            fail_msg("%s: a dirfd without a path", row->name);
        assert_true(row->dirfd2 < 0 || row->path2 >= 0);
        assert_int_equal(row->want2 == WANT_NONE, row->path2 < 0);
    }
}

/* The *at calls differ from their old names only in where the arguments are. */
static void test_families(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"mkdir", "mkdirat"},   {"mknod", "mknodat"},       {"symlink", "symlinkat"},
        {"unlink", "unlinkat"}, {"rename", "renameat"},     {"link", "linkat"},
        {"chmod", "fchmodat"},  {"chown", "fchownat"},      {"utimes", "utimensat"},
        {"stat", "newfstatat"}, {"readlink", "readlinkat"}, {"access", "faccessat"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const struct sysrow *old = row_named(pairs[i][0]), *at = row_named(pairs[i][1]);
        assert_int_equal(old->handler, at->handler);
        assert_int_equal(old->want, at->want);
        assert_int_equal(old->want2, at->want2);
        assert_int_equal(old->traits & (SYS_FOLLOW | SYS_NOFOLLOW),
                         at->traits & (SYS_FOLLOW | SYS_NOFOLLOW));
        assert_true(old->dirfd < 0 && at->dirfd >= 0);
        assert_int_equal(at->path, at->dirfd + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup),        cmocka_unit_test(test_out_of_range),
        cmocka_unit_test(test_known_numbers), cmocka_unit_test(test_columns),
        cmocka_unit_test(test_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
