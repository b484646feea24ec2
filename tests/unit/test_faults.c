/* Every system call of the changing side fails once, and everything from it on fails (a crash):
 * the union then shows the old tree or the new one, never a third. The changing files are compiled
 * in here with the hook, so that the looking side goes on working; under other names, since the
 * originals are linked in as well. */
#define copy_data             hooked_copy_data
#define copy_xattrs           hooked_copy_xattrs
#define copy_acls             hooked_copy_acls
#define overlay_copy_up_tree  hooked_overlay_copy_up_tree
#define keep_identity         hooked_keep_identity
#define mark_impure           hooked_mark_impure
#define copy_attributes       hooked_copy_attributes
#define copy_up_into          hooked_copy_up_into
#define overlay_upper_dir     hooked_overlay_upper_dir
#define overlay_copy_up       hooked_overlay_copy_up
#define swap_in               hooked_swap_in
#define make_at               hooked_make_at
#define overlay_mkdir         hooked_overlay_mkdir
#define overlay_mknod         hooked_overlay_mknod
#define overlay_symlink       hooked_overlay_symlink
#define overlay_create_begin  hooked_overlay_create_begin
#define overlay_create_end    hooked_overlay_create_end
#define overlay_link          hooked_overlay_link
#define nursery_name          hooked_nursery_name
#define overlay_nursery       hooked_overlay_nursery
#define overlay_nursery_drop  hooked_overlay_nursery_drop
#define discard_dir           hooked_discard_dir
#define overlay_unlink        hooked_overlay_unlink
#define overlay_rmdir         hooked_overlay_rmdir
#define overlay_rename        hooked_overlay_rename
#define spot_init             hooked_spot_init
#define spot_open             hooked_spot_open
#define spot_close            hooked_spot_close
#define spot_made             hooked_spot_made
#define spot_gone             hooked_spot_gone
#define spot_look             hooked_spot_look
#define spot_may_create       hooked_spot_may_create
#define spot_may_whiteout     hooked_spot_may_whiteout
#define change_touch          hooked_change_touch
#define change_touch_all      hooked_change_touch_all
#define hold_dir              hooked_hold_dir
#define release_dir           hooked_release_dir
#define spot_take             hooked_spot_take
#define spot_keep             hooked_spot_keep
#define kept_drop             hooked_kept_drop
#define kept_lacks            hooked_kept_lacks
#define kept_stat             hooked_kept_stat
#define hold_node             hooked_hold_node
#define release_node          hooked_release_node
#define change_dir_empty      hooked_change_dir_empty
#define overlay_temp_name     hooked_overlay_temp_name
#define overlay_wh_name       hooked_overlay_wh_name
#define overlay_put_prefix    hooked_overlay_put_prefix
#define overlay_make_device   hooked_overlay_make_device
#define overlay_put_whiteout  hooked_overlay_put_whiteout
#define overlay_take_whiteout hooked_overlay_take_whiteout
#define overlay_way           hooked_overlay_way
#define overlay_set_opaque    hooked_overlay_set_opaque
#define overlay_mark_object   hooked_overlay_mark_object
#define clear_marks           hooked_clear_marks
#define overlay_clear_marks   hooked_overlay_clear_marks
#define FUSS_SYS_HOOK         1
#include <ftw.h>
#include "lab_ops.h"
#include "../../common/overlay/copydata.c"
#include "../../common/overlay/copytree.c"
#undef BUFFER_SIZE
#include "../../common/overlay/copyup.c"
#include "../../common/overlay/create.c"

#include "../../common/overlay/link.c"
#include "../../common/overlay/nursery.c"
#include "../../common/overlay/remove.c"
#include "../../common/overlay/rename.c"
#include "../../common/overlay/spot.c"
#include "../../common/overlay/whiteout.c"

#define CALLS_MAX 400

static bool armed, crash;
static int calls, fail_at;

bool sys_hook(long nr, long *result)
{
    if (!armed || nr == SYS_close || nr == SYS_munmap || nr == SYS_getpid)
        return false;
    calls++;
    if (calls != fail_at && !(crash && calls > fail_at))
        return false;
    *result = -EIO;
    return true;
}

static const char LAYERS[] =
    "mkdir -p l1/d/e l2/d/x u/d u/own/sub l1/t/sub l2/t/sub; echo 1 > l1/d/f; echo 2 > l2/d/g;"
    "echo up > u/d/g; echo o > u/own/f; echo 3 > l1/t/sub/k; echo 4 > l2/t/l; ln -s x l1/d/s;"
    "setfattr -n user.a -v b l1/d/f; mkdir -p l1/w u/w; echo w > l1/w/f; mkdir l1/gone; touch "
    "l1/gonef";

struct fault_case {
    const char *line;
    const char *before; /* an operation that works, done first */
};

static const struct fault_case CASES[] = {
    {"up d/f", NULL},
    {"chmod t/sub 700", NULL},
    {"chmod d/e 700", NULL},
    {"unlink d/f", NULL},
    {"unlink d/g", NULL},
    {"unlink own/f", NULL},
    {"unlink d/s", NULL},
    {"rmdir d/e", NULL},
    {"rmdir w", "unlink w/f"},
    {"rmdir own/sub", NULL},
    {"mkdir t/new 755", NULL},
    {"mkdir gone 755", "rmdir gone"},
    {"mkdir gonef 755", "unlink gonef"},
    {"create gonef 644", "unlink gonef"},
    {"symlink q gonef", "unlink gonef"},
    {"create t/sub/new 644", NULL},
    {"link d/f t/sub/linked", NULL},
    {"link d/f gonef", "unlink gonef"},
    {"rename d/f d/h 0", NULL},
    {"rename d/f t/l 0", NULL},
    {"rename d/g own/g 0", NULL},
    {"rename d/f gonef 0", "unlink gonef"},
    {"rename t own/t 0", NULL},
    {"rename own gone 0", NULL},
    {"rename own w 0", "unlink w/f"},
    {"rename own gonef 0", "unlink gonef"},
    {"rename t gone 0", "rmdir gone"},
    {"rename d/f own 2", NULL},
    {"rename t own 2", NULL},
};

/* The tree without times: a marker put and taken back changes those of the directory. */
static char *view(struct lab *lab)
{
    char *text = dump_union(lab->o), *out = text;
    for (char *in = text; *in;) {
        size_t skip = 0;
        if (!strncmp(in, " new", 4) && (in[4] == '\n' || in[4] == ' '))
            skip = 4;
        else if (!strncmp(in, " mtime=", 7))
            skip = 7 + strcspn(in + 7, " \n");
        in += skip;
        if (!skip)
            *out++ = *in++;
    }
    *out = 0;
    return text;
}

static int remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED,
                      struct FTW *at UNUSED)
{
    return remove(path);
}

/* Removes a directory of the lab with all that is in it. */
static void clear_dir(struct lab *lab, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/a/%s", lab->dir, name);
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* What the next start does with work. */
static void new_work(struct lab *lab)
{
    char path[128];
    clear_dir(lab, "w");
    snprintf(path, sizeof(path), "%s/a/w", lab->dir);
    assert_int_equal(mkdir(path, 0711), 0);
}

/* The engine with the hooked changing side. */
static void start_hooked(struct lab *lab)
{
    lab_start(lab);
    struct vfs_ops *ops = &lab->o->vfs.ops;
    ops->copy_up = overlay_copy_up;
    ops->mkdir = overlay_mkdir;
    ops->mknod = overlay_mknod;
    ops->symlink = overlay_symlink;
    ops->link = overlay_link;
    ops->unlink = overlay_unlink;
    ops->rmdir = overlay_rmdir;
    ops->rename = overlay_rename;
    ops->create_begin = overlay_create_begin;
    ops->create_end = overlay_create_end;
}

static void rewind_to_start(struct lab *lab, const struct fault_case *c)
{
    lab_stop(lab);
    clear_dir(lab, "u");
    new_work(lab);
    shell("exec cp -a %s/b0 %s/a/u", lab->dir, lab->dir);
    start_hooked(lab);
    if (c->before)
        assert_int_equal(lab_ours(lab, c->before), 0);
}

static void run_case(struct lab *lab, const struct fault_case *c, bool crashing)
{
    rewind_to_start(lab, c);
    char *old = view(lab);
    assert_int_equal(lab_ours(lab, c->line), 0);
    char *new = view(lab);
    crash = crashing;
    for (fail_at = 1; fail_at < CALLS_MAX; fail_at++) {
        rewind_to_start(lab, c);
        calls = 0;
        armed = true;
        int r = lab_ours(lab, c->line);
        armed = false;
        if (calls < fail_at)
            break; /* it has fewer calls */
        if (crashing) {
            lab_stop(lab);
            new_work(lab);
            start_hooked(lab);
        }
        char *now = view(lab);
        bool is_old = !strcmp(now, old), is_new = !strcmp(now, new);
        bool good = crashing ? is_old || is_new : r == 0 ? is_new : is_old;
        if (!good) {
            show_difference("neither old nor new", now, r == 0 ? new : old);
            fail_msg("%s, style %d, %s at call %d: result %d", c->line, lab->style,
                     crashing ? "death" : "failure", fail_at, r);
        }
        free(now);
    }
    assert_true(fail_at > 1 && fail_at < CALLS_MAX);
    free(old);
    free(new);
}

static void run_all(enum marker_style style, bool crashing)
{
    struct lab lab;
    lab_open(&lab, style, LAYERS);
    shell("cd %s && cp -a a/u b0", lab.dir);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
        run_case(&lab, &CASES[i], crashing);
    lab_stop(&lab);
    shell("cd %s/a && rm -rf u w && cp -a ../b0 u && mkdir -m 711 w", lab.dir);
    lab_start(&lab);
    lab_close(&lab);
}

static void test_one_failure_in_chardev_style(void **state UNUSED)
{
    run_all(STYLE_CHARDEV, false);
}
static void test_one_failure_in_fileprefix_style(void **state UNUSED)
{
    run_all(STYLE_FILEPREFIX, false);
}
static void test_death_in_chardev_style(void **state UNUSED)
{
    run_all(STYLE_CHARDEV, true);
}
static void test_death_in_fileprefix_style(void **state UNUSED)
{
    run_all(STYLE_FILEPREFIX, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_failure_in_chardev_style),
        cmocka_unit_test(test_one_failure_in_fileprefix_style),
        cmocka_unit_test(test_death_in_chardev_style),
        cmocka_unit_test(test_death_in_fileprefix_style),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
