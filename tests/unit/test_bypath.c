/* A second reader of the same layers that has nothing but the session's memory: it holds no
 * descriptor, and sees what the supervisor sees. */
#include "twin.h"
#include "vfs/steady.h"
#include <sys/mman.h>
#include <sys/wait.h>

#define SEEDS 16

static struct caller the_caller;
static struct cred root_cred;
static struct overlay *reader;
static unsigned asked; /* of the supervisor */

static const struct cred *give_cred(struct caller *who UNUSED)
{
    return &root_cred;
}
static void do_nothing(struct caller *who UNUSED) {}

static void ask(void)
{
    asked++;
}

/* The supervisor's overlay again, in memory that children share; and the reader. */
static void *share(struct twin *t)
{
    int bad;
    size_t size = overlay_shared_size();
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    root_cred.caps = root_cred.permitted = ~0ull;
    the_caller.ops.cred = give_cred;
    the_caller.ops.assume = the_caller.ops.resume = do_nothing;
    the_caller.same_as_session = true;
    overlay_fini(t->o);
    assert_int_equal(overlay_init_in(t->o, t->s, memory, &bad), 0);
    reader = calloc(1, sizeof(*reader));
    assert_non_null(reader);
    overlay_attach(reader, t->s, memory, ask);
    asked = 0;
    return memory;
}

static void unshare_it(struct twin *t, void *memory)
{
    free(reader);
    twin_stop(t);
    twin_done(t);
    munmap(memory, overlay_shared_size());
}

static void same(struct overlay *o, struct overlay *by_path, const char *rel)
{
    struct vnode a, b;
    struct stat sa, sb;
    char ta[PATH_MAX], tb[PATH_MAX];
    int ra = slow_lookup(o, rel, &a), rb = slow_lookup(by_path, rel, &b);
    if (ra != rb || (ra == 0 && (a.top != b.top || a.layers != b.layers)))
        fail_msg("%s: %d, by path %d", rel, ra, rb);
    ra = overlay_descend(&o->vfs, rel, strlen(rel), &a);
    rb = overlay_descend(&by_path->vfs, rel, strlen(rel), &b);
    if (ra != rb || (ra == 0 && vnode_exists(&a) != vnode_exists(&b)))
        fail_msg("%s: descends with %d, by path %d", rel, ra, rb);
    if (ra || !vnode_exists(&a))
        return;
    assert_int_equal(overlay_getattr(&o->vfs, &a, &sa), 0);
    assert_int_equal(overlay_getattr(&by_path->vfs, &b, &sb), 0);
    if (!dev_ino_equal(&sa, &sb) || sa.st_nlink != sb.st_nlink || sa.st_mode != sb.st_mode)
        fail_msg("%s: inode %lu, by path %lu", rel, sa.st_ino, sb.st_ino);
    node_text(o, &a, ta, sizeof(ta));
    node_text(by_path, &b, tb, sizeof(tb));
    assert_string_equal(ta, tb);
}

static void see(struct twin *t, const char *rel)
{
    same(t->o, reader, rel);
}

static void random_layers(void **state UNUSED)
{
    for (u64 seed = 1; seed <= SEEDS; seed++) {
        struct twin t;
        twin_make(&t, seed, 1 + (int)(seed % 3), seed % 5 == 0);
        twin_fill_all(&t);
        twin_start(&t, "k", seed % 2 ? STYLE_CHARDEV : STYLE_FILEPREFIX);
        void *memory = share(&t);
        each_path(&t, see);
        each_path(&t, see); /* with what the first round taught the index */
        assert_int_equal(asked, 0);
        unshare_it(&t, memory);
    }
}

static void tree(struct twin *t, unsigned lowers)
{
    twin_make(t, 1, lowers, false);
    for (unsigned i = 1; i <= lowers; i++)
        twin_dir(t, i, "d", false, false);
    put_file(twin_path(t, 1, "d/f").k, "lower");
    must(symlink("target", twin_path(t, 1, "d/link").k), "symlink");
    twin_start(t, "k", STYLE_CHARDEV);
}

static void small_tree(struct twin *t)
{
    tree(t, 1);
}

/* What the supervisor changes, the reader sees at once, with the identity it had before. */
static void changes_show(void **state UNUSED)
{
    static const char *const name[] = {"d/f", "d/link"};
    struct twin t;
    struct vnode n;
    struct stat before, after;
    small_tree(&t);
    void *memory = share(&t);
    for (size_t i = 0; i < ARRAY_LEN(name); i++) {
        assert_int_equal(slow_lookup(reader, name[i], &n), 0);
        assert_int_equal(overlay_getattr(&reader->vfs, &n, &before), 0);
        assert_int_equal(slow_lookup(t.o, name[i], &n), 0);
        assert_int_equal(overlay_copy_up(&t.o->vfs, &the_caller, &n, UINT64_MAX), 0);
        same(t.o, reader, name[i]);
        assert_int_equal(overlay_descend(&reader->vfs, name[i], strlen(name[i]), &n), 0);
        assert_int_equal(n.top, 0);
        assert_int_equal(overlay_getattr(&reader->vfs, &n, &after), 0);
        assert_true(dev_ino_equal(&before, &after));
        assert_int_equal(slow_lookup(t.o, name[i], &n), 0);
        assert_int_equal(overlay_unlink(&t.o->vfs, &the_caller, &n), 0);
        assert_int_equal(slow_lookup(reader, name[i], &n), -ENOENT);
    }
    assert_int_equal(asked, 0);
    unshare_it(&t, memory);
}

/* A process without a single descriptor tells the supervisor what it opened. */
static void opened_elsewhere(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    small_tree(&t);
    void *memory = share(&t);
    pid_t pid = fork();
    if (pid == 0) {
        syscall(SYS_close_range, 0, ~0u, 0);
        int r = slow_lookup(reader, "d/f", &n);
        if (r == 0)
            reader->vfs.ops.opened(&reader->vfs, &n.st);
        _exit(r || n.top != 1 || asked || reader->vfs.ops.replaced(&reader->vfs, &n.st));
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    u64 stale = reader->facts->stale;
    assert_int_equal(slow_lookup(t.o, "d/f", &n), 0);
    struct stat low = n.st;
    assert_int_equal(overlay_copy_up(&t.o->vfs, &the_caller, &n, UINT64_MAX), 0);
    assert_int_equal(reader->facts->stale, stale + 1);
    assert_true(reader->vfs.ops.replaced(&reader->vfs, &low));
    unshare_it(&t, memory);
}

/* Who may not write facts has each found out by the supervisor once; where they are not remembered
 * then, for want of room, it looks by itself. */
static void asks_once(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    tree(&t, 3);
    void *memory = share(&t);
    reader->only_reads = true;
    unsigned before = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), 0);
        assert_true(vnode_exists(&n));
        assert_true(i ? asked == before : asked > 0);
        before = asked;
        reader->facts->changes += 2; /* what it remembers of the path is void */
    }
    unshare_it(&t, memory);
}

/* A symlink put in the place of a directory of a lower leads nowhere. */
static void no_symlink_followed(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    small_tree(&t);
    void *memory = share(&t);
    assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), 0);
    must(rename(twin_path(&t, 1, "d").k, twin_path(&t, 1, "real").k), "rename");
    must(symlink("real", twin_path(&t, 1, "d").k), "symlink");
    assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), -EAGAIN);
    n = (struct vnode){.top = 1, .len = 3, .path = "d/f"};
    assert_int_equal(overlay_grab(&reader->vfs, &n), -ELOOP);
    same(t.o, reader, "d");
    same(t.o, reader, "d/f");
    unshare_it(&t, memory);
}

/* What was seen to be a directory is believed for a moment, and no longer. */
static void believed_for_a_moment(void **state UNUSED)
{
    static u64 steady[STEADY_ENTRIES];
    struct twin t;
    struct vnode n;
    small_tree(&t);
    void *memory = share(&t);
    reader->steady = steady;
    assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), 0);
    assert_true(vnode_exists(&n));
    must(rename(twin_path(&t, 1, "d").k, twin_path(&t, 1, "real").k), "rename");
    must(symlink("real", twin_path(&t, 1, "d").k), "symlink");
    usleep(50000);
    assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), -EAGAIN);
    must(unlink(twin_path(&t, 1, "d").k), "unlink");
    put_file(twin_path(&t, 1, "d").k, "a file");
    assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), -EAGAIN);
    must(unlink(twin_path(&t, 1, "d").k), "unlink");
    must(rename(twin_path(&t, 1, "real").k, twin_path(&t, 1, "d").k), "rename");
    assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), 0);
    assert_true(vnode_exists(&n));
    unshare_it(&t, memory);
}

/* A reader that cannot write facts: it asks for those that nobody has learned yet. */
static void reads_alone(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    tree(&t, 2); /* whether d of the first hides d of the second is such a fact */
    void *memory = share(&t);
    reader->only_reads = true;
    size_t rest = overlay_shared_index() - sizeof(struct overlay_notes);
    must(mprotect((u8 *)memory + sizeof(struct overlay_notes), rest, PROT_READ), "mprotect");
    assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), 0);
    assert_true(asked > 0);
    must(mprotect(memory, overlay_shared_size(), PROT_READ | PROT_WRITE), "mprotect");
    assert_int_equal(slow_lookup(t.o, "d/f", &n), 0);
    must(mprotect((u8 *)memory + sizeof(struct overlay_notes), rest, PROT_READ), "mprotect");
    asked = 0;
    assert_int_equal(overlay_descend(&reader->vfs, "d/f", 3, &n), 0);
    assert_true(vnode_exists(&n));
    reader->vfs.ops.opened(&reader->vfs, &n.st);
    assert_int_equal(overlay_descend(&reader->vfs, "d/nope", 6, &n), 0);
    assert_false(vnode_exists(&n));
    assert_int_equal(asked, 0);
    must(mprotect(memory, overlay_shared_size(), PROT_READ | PROT_WRITE), "mprotect");
    unshare_it(&t, memory);
}

/* Every change is counted, when it begins and when it is over. */
static void changes_are_counted(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    small_tree(&t);
    void *memory = share(&t);
    u64 before = reader->facts->changes;
    assert_int_equal(before % 2, 0);
    assert_int_equal(slow_lookup(t.o, "d/f", &n), 0);
    assert_int_equal(reader->facts->changes, before);
    assert_int_equal(t.o->vfs.ops.copy_up(&t.o->vfs, &the_caller, &n, UINT64_MAX), 0);
    assert_int_equal(reader->facts->changes, before + 2);
    assert_int_equal(t.o->vfs.ops.unlink(&t.o->vfs, &the_caller, &n), 0);
    assert_int_equal(reader->facts->changes, before + 4);
    assert_int_equal(t.o->vfs.ops.mkdir(&t.o->vfs, &the_caller, &n, 0755), 0);
    assert_int_equal(t.o->vfs.ops.mkdir(&t.o->vfs, &the_caller, &n, 0755), -EEXIST);
    assert_int_equal(reader->facts->changes, before + 8);
    unshare_it(&t, memory);
}

static bool is_shown(struct overlay *o, const char *rel)
{
    struct vnode n;
    assert_int_equal(overlay_descend(&o->vfs, rel, strlen(rel), &n), 0);
    return vnode_exists(&n);
}

#define HALF_A_SECOND 600000 /* us, and some more */

/* What somebody else puts into directories of several lowers, file, marker or directory, shows half
 * a second later at most; what a file that is there says of itself, and what the session makes, at
 * once. */
static void lowers_are_edited(void **state UNUSED)
{
    struct twin t;
    twin_make(&t, 1, 3, false);
    for (int i = 1; i <= 3; i++)
        twin_dir(&t, i, "d", false, false);
    put_file(twin_path(&t, 3, "d/low").w, "lower");
    twin_start(&t, "w", STYLE_FILEPREFIX);
    void *memory = share(&t);
    struct vnode n;
    for (int old = 0; old < 2; old++) {
        struct overlay *const both[] = {t.o, reader};
        for (int i = 0; i < 2; i++) {
            assert_true(is_shown(both[i], "d/low") && is_shown(both[i], "d/low"));
            assert_false(is_shown(both[i], "d/new"));
        }
        must(chmod(twin_path(&t, 3, "d/low").w, old ? 0640 : 0600), "chmod");
        assert_int_equal(overlay_descend(&reader->vfs, "d/low", 5, &n), 0);
        assert_int_equal(n.st.st_mode & 0777, old ? 0640 : 0600);
        put_file(twin_path(&t, 3, "d/new").w, "new");
        usleep(HALF_A_SECOND);
        assert_true(is_shown(t.o, "d/new") && is_shown(reader, "d/new"));
        put_file(twin_path(&t, 1, "d/.wh.new").w, "");
        must(mkdir(twin_path(&t, 2, "e").w, 0755), "e");
        put_file(twin_path(&t, 2, "e/f").w, "new");
        assert_true(is_shown(t.o, "e") && is_shown(reader, "e"));
        usleep(HALF_A_SECOND);
        assert_false(is_shown(t.o, "d/new") || is_shown(reader, "d/new"));
        assert_true(is_shown(t.o, "e/f") && is_shown(reader, "e/f"));
        must(unlink(twin_path(&t, 1, "d/.wh.new").w), "marker");
        must(unlink(twin_path(&t, 3, "d/new").w), "new");
        must(unlink(twin_path(&t, 2, "e/f").w), "e/f");
        must(rmdir(twin_path(&t, 2, "e").w), "e");
        must(unlink(twin_path(&t, 3, "d/low").w), "low");
        assert_false(is_shown(t.o, "d/low") || is_shown(reader, "d/low"));
        put_file(twin_path(&t, 2, "d/low").w, "lower");
        assert_false(is_shown(t.o, "d/own") || is_shown(reader, "d/own"));
        assert_int_equal(slow_lookup(t.o, "d/own", &n), -ENOENT);
        assert_int_equal(t.o->vfs.ops.mkdir(&t.o->vfs, &the_caller, &n, 0755), 0);
        assert_true(is_shown(t.o, "d/own") && is_shown(reader, "d/own"));
        assert_int_equal(slow_lookup(t.o, "d/own", &n), 0);
        assert_int_equal(t.o->vfs.ops.rmdir(&t.o->vfs, &the_caller, &n), 0);
        assert_false(is_shown(t.o, "d/own") || is_shown(reader, "d/own"));
        must(rename(twin_path(&t, 2, "d/low").w, twin_path(&t, 3, "d/low").w), "low again");
        if (!old)
            usleep(2200000); /* directories that are not young are looked through for markers */
    }
    unshare_it(&t, memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_layers),       cmocka_unit_test(changes_show),
        cmocka_unit_test(opened_elsewhere),    cmocka_unit_test(asks_once),
        cmocka_unit_test(no_symlink_followed), cmocka_unit_test(believed_for_a_moment),
        cmocka_unit_test(reads_alone),         cmocka_unit_test(changes_are_counted),
        cmocka_unit_test(lowers_are_edited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
