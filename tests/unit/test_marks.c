/* Marks on disk, names of xattrs, and who may do what: the kernel's word against ours. */
#include "twin.h"
#include <grp.h>
#include <sys/wait.h>

/* -- opaque directories
 * ---------------------------------------------------------------------------- */
static bool shows(struct twin *t, const char *rel)
{
    struct vnode n;
    int r = slow_lookup(t->o, rel, &n);
    assert_true(r == 0 || r == -ENOENT);
    return r == 0;
}

static void opaque_values(void **state UNUSED)
{
    static const char *const values[] = {"y", "x", "yes", "Y", "n", ""};
    for (int layer = 0; layer <= 1; layer++) {
        for (size_t i = 0; i < ARRAY_LEN(values); i++) {
            struct twin t;
            struct stat st;
            twin_make(&t, 1, 2, false);
            twin_dir(&t, layer, "a", false, false);
            twin_dir(&t, 2, "a", false, false);
            put_file(twin_path(&t, 2, "a/b").k, "b");
            must(setxattr(twin_path(&t, layer, "a").k, "trusted.overlay.opaque", values[i],
                          strlen(values[i]), 0),
                 "opaque");
            twin_mount(&t);
            twin_start(&t, "k", STYLE_CHARDEV);
            if (shows(&t, "a/b") != (kernel_stat(&t, "a/b", &st) == 0))
                fail_msg("layer %d, opaque=%s", layer, values[i]);
            twin_stop(&t);
            twin_done(&t);
        }
    }
}

static void every_prefix_is_read(void **state UNUSED)
{
    static const char *const prefix[] = {"trusted.overlay.", "user.overlay.",
                                         "user.fuseoverlayfs."};
    for (size_t i = 0; i < ARRAY_LEN(prefix); i++) {
        for (int many = 0; many < 2; many++) {
            char name[64];
            struct twin t;
            twin_make(&t, 1, 2, false);
            twin_dir(&t, 1, "a", false, false);
            twin_dir(&t, 2, "a", false, false);
            put_file(twin_path(&t, 2, "a/b").k, "b");
            for (int k = 0; many && k < 60; k++) { /* more than a list in one piece */
                snprintf(name, sizeof(name), "user.a-name-that-fills-the-list.%d", k);
                must(setxattr(twin_path(&t, 1, "a").k, name, "", 0, 0), name);
            }
            snprintf(name, sizeof(name), "%sopaque", prefix[i]);
            must(setxattr(twin_path(&t, 1, "a").k, name, "y", 1, 0), name);
            twin_start(&t, "k", i ? STYLE_FILEPREFIX : STYLE_CHARDEV);
            if (shows(&t, "a/b"))
                fail_msg("%s, %d", name, many);
            twin_stop(&t);
            twin_done(&t);
        }
    }
}

/* What fuss does not follow is an error, never something else's content. */
static void not_misread(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    char mnt[128], path[256], options[512];
    twin_make(&t, 1, 2, false);
    twin_dir(&t, 2, "d", false, false);
    put_file(twin_path(&t, 2, "d/f").k, "content of the file");
    put_file(twin_path(&t, 2, "plain").k, "content of the file");
    /* a kernel mount with redirects and metacopy writes into what will be layer 1 */
    snprintf(options, sizeof(options),
             "lowerdir=%s/k/2,upperdir=%s/k/1,workdir=%s/kwork,redirect_dir=on,metacopy=on", t.dir,
             t.dir, t.dir);
    snprintf(mnt, sizeof(mnt), "%s/mnt", t.dir);
    must(mount("overlay", mnt, "overlay", 0, options), options);
    snprintf(path, sizeof(path), "%s/plain", mnt);
    must(chmod(path, 0600), path);
    snprintf(path, sizeof(path), "%s/d", mnt);
    snprintf(options, sizeof(options), "%s/e", mnt);
    must(rename(path, options), path);
    must(umount(mnt), mnt);
    twin_start(&t, "k", STYLE_CHARDEV);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(slow_lookup(t.o, "plain", &n), -EIO);
        assert_int_equal(slow_lookup(t.o, "e", &n), -EIO);
        assert_int_equal(overlay_descend(&t.o->vfs, "plain", 5, &n), -EIO);
        assert_int_equal(slow_lookup(t.o, "d", &n), -ENOENT);
    }
    twin_stop(&t);
    twin_done(&t);
}

/* -- names of xattrs
 * ------------------------------------------------------------------------------- */
static void xattr_names(void **state UNUSED)
{
    static const struct {
        const char *said, *disk;
    } names[] = {
        {"user.a", "user.a"},
        {"trusted.mine", "trusted.mine"},
        {"trusted.overlay.opaque", "trusted.overlay.overlay.opaque"},
        {"trusted.overlay.overlay.x", "trusted.overlay.overlay.overlay.x"},
        {"user.overlay.opaque", "user.overlay.overlay.opaque"},
        {"user.fuseoverlayfs.origin", "user.fuseoverlayfs.overlay.origin"},
        {"system.posix_acl_access", "system.posix_acl_access"},
    };
    struct twin t;
    char buf[XATTR_NAME_MAX + 1], name[XATTR_NAME_MAX + 1];
    twin_make(&t, 1, 1, false);
    twin_start(&t, "k", STYLE_CHARDEV);
    struct vfs *fs = &t.o->vfs;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(overlay_xattr_to_disk(fs, names[i].said, buf, sizeof(buf)),
                         strlen(names[i].disk));
        assert_string_equal(buf, names[i].disk);
        assert_int_equal(overlay_xattr_from_disk(fs, names[i].disk, buf, sizeof(buf)),
                         strlen(names[i].said));
        assert_string_equal(buf, names[i].said);
        assert_false(overlay_private_xattr(names[i].disk));
    }
    static const char *const hidden[] = {"trusted.overlay.opaque", "user.overlay.origin",
                                         "user.fuseoverlayfs.opaque", "trusted.overlay."};
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
        assert_int_equal(overlay_xattr_from_disk(fs, hidden[i], buf, sizeof(buf)), 0);
        assert_true(overlay_private_xattr(hidden[i]));
    }
    memset(name, 'n', sizeof(name));
    memcpy(name, "trusted.overlay.", 16);
    name[XATTR_NAME_MAX] = '\0';
    assert_int_equal(overlay_xattr_to_disk(fs, name, buf, sizeof(buf)), -EOPNOTSUPP);
    name[XATTR_NAME_MAX - 8] = '\0';
    assert_int_equal(overlay_xattr_to_disk(fs, name, buf, sizeof(buf)), XATTR_NAME_MAX);
    twin_stop(&t);
    twin_done(&t);
}

static void reserved_names(void **state UNUSED)
{
    struct twin t;
    twin_make(&t, 1, 1, false);
    twin_start(&t, "k", STYLE_CHARDEV);
    assert_false(overlay_reserved(t.o, ".wh.x", 5));
    assert_true(overlay_reserved(t.o, WORK_NAME, strlen(WORK_NAME)));
    assert_false(overlay_reserved(t.o, WORK_NAME "s", strlen(WORK_NAME) + 1));
    twin_stop(&t);
    twin_start(&t, "w", STYLE_FILEPREFIX);
    assert_true(overlay_reserved(t.o, ".wh.x", 5));
    assert_true(overlay_reserved(t.o, ".wh.", 4));
    assert_false(overlay_reserved(t.o, ".wh", 3));
    assert_false(overlay_reserved(t.o, "x.wh.x", 6));
    twin_stop(&t);
    twin_done(&t);
}

/* -- permission
 * ------------------------------------------------------------------------------------ */
struct who {
    struct caller c;
    struct cred cred;
};

static const struct cred *give_cred(struct caller *who)
{
    return &((struct who *)who)->cred;
}

/* An ACL: rwx bits for the owner, a user, the group, a group, the mask, others. */
static void put_acl(const char *path, const int perm[6], u32 user, u32 group)
{
    struct {
        u32 version;
        struct {
            u16 tag, perm;
            u32 id;
        } e[6];
    } acl = {.version = 2};
    static const u16 tag[6] = {1, 2, 4, 8, 16, 32};
    for (int i = 0; i < 6; i++) {
        acl.e[i].tag = tag[i];
        acl.e[i].perm = (u16)perm[i];
        acl.e[i].id = tag[i] == 2 ? user : tag[i] == 8 ? group : ~0u;
    }
    must(setxattr(path, "system.posix_acl_access", &acl, sizeof(acl), 0), path);
}

/* access(2) of the kernel's mount as that user, in a child. */
static unsigned kernel_access(const struct twin *t, const char *rel, const struct who *w)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/mnt/%s", t->dir, rel);
    pid_t pid = fork();
    if (pid == 0) {
        unsigned got = 0;
        gid_t groups[1] = {w->cred.group[0]};
        if (setgroups(w->cred.ngroups, groups) || setresgid(w->cred.fsgid, w->cred.fsgid, -1) ||
            setresuid(w->cred.fsuid, w->cred.fsuid, -1))
            _exit(100);
        for (unsigned mask = 1; mask < 8; mask++)
            got |= (unsigned)(faccessat(AT_FDCWD, path, (int)mask, AT_EACCESS) == 0) << mask;
        _exit((int)(got >> 1));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 100);
    return (unsigned)WEXITSTATUS(status) << 1;
}

static void permissions(void **state UNUSED)
{
    struct twin t;
    struct who w = {.c.ops.cred = give_cred};
    twin_make(&t, 3, 2, false);
    must(chmod(t.dir, 0755), t.dir);
    for (int i = 0; i < 60; i++) {
        char rel[32];
        int layer = (int)twin_random(&t, 3);
        snprintf(rel, sizeof(rel), "o%d", i);
        struct both b = twin_path(&t, layer, rel);
        if (i % 3 == 0)
            must(mkdir(b.k, 0700), b.k);
        else
            put_file(b.k, "x");
        must(chown(b.k, 1000 + twin_random(&t, 3), 2000 + twin_random(&t, 3)), b.k);
        must(chmod(b.k, twin_random(&t, 01000)), b.k);
        if (i % 2) {
            int perm[6];
            for (int k = 0; k < 6; k++)
                perm[k] = (int)twin_random(&t, 8);
            put_acl(b.k, perm, 1000 + twin_random(&t, 3), 2000 + twin_random(&t, 3));
        }
    }
    twin_mount(&t);
    twin_start(&t, "k", STYLE_CHARDEV);
    for (u32 user = 0; user < 4; user++) {
        memset(&w.cred, 0, sizeof(w.cred));
        w.cred.fsuid = w.cred.ruid = user ? 999 + user : 0;
        w.cred.fsgid = w.cred.rgid = 2000 + user;
        w.cred.caps = user ? 0 : ~0ull;
        w.cred.ngroups = 1;
        w.cred.group[0] = 2000 + (user + 1) % 3;
        for (int i = 0; i < 60; i++) {
            char rel[32];
            struct vnode n;
            unsigned got = 0;
            snprintf(rel, sizeof(rel), "o%d", i);
            assert_int_equal(slow_lookup(t.o, rel, &n), 0);
            for (unsigned mask = 1; mask < 8; mask++)
                got |= (unsigned)(overlay_permission(&t.o->vfs, &w.c, &n, (int)mask) == 0) << mask;
            unsigned want = kernel_access(&t, rel, &w);
            if (got != want)
                fail_msg("user %u, %s, mode %o, %u:%u: %x, the kernel's %x", w.cred.fsuid, rel,
                         n.st.st_mode, n.st.st_uid, n.st.st_gid, got, want);
        }
    }
    twin_stop(&t);
    twin_done(&t);
}

static void read_only_union(void **state UNUSED)
{
    struct twin t;
    struct vnode n;
    struct who w = {.c.ops.cred = give_cred, .cred.caps = ~0ull};
    twin_make(&t, 1, 2, true);
    put_file(twin_path(&t, 1, "f").k, "f");
    must(mkfifo(twin_path(&t, 1, "p").k, 0666), "p");
    twin_start(&t, "k", STYLE_CHARDEV);
    assert_int_equal(slow_lookup(t.o, "f", &n), 0);
    assert_int_equal(overlay_permission(&t.o->vfs, &w.c, &n, W_OK), -EROFS);
    assert_int_equal(overlay_permission(&t.o->vfs, &w.c, &n, R_OK), 0);
    assert_int_equal(slow_lookup(t.o, "p", &n), 0);
    assert_int_equal(overlay_permission(&t.o->vfs, &w.c, &n, W_OK), 0);
    twin_stop(&t);
    twin_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opaque_values),   cmocka_unit_test(every_prefix_is_read),
        cmocka_unit_test(not_misread),     cmocka_unit_test(xattr_names),
        cmocka_unit_test(reserved_names),  cmocka_unit_test(permissions),
        cmocka_unit_test(read_only_union),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
