/* A laboratory for the changing side of the overlay: one set of layers, twice. Operations are said
 * as lines of words and done both by the engine and on a real kernel overlay mount; results and
 * trees must agree. Header only: every unit program is one translation unit. Runs as root. */
#ifndef FUSS_TEST_LAB_H
#define FUSS_TEST_LAB_H

#include <dirent.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include "base/sys.h"
#include "overlay/index.h"
#include "overlay/overlay.h"
#include <linux/fs.h>

#define OLD_STAMP "2001-02-03 04:05:06.123456789"
#define NEW_AFTER 1700000000

struct test_caller {
    struct caller c;
    struct cred cred;
    u32 saved_umask;
};

struct lab {
    enum marker_style style;
    char dir[64];
    struct session *s;
    struct overlay *o;
    struct test_caller who;
    bool read_only;
    bool ordinary; /* the session is user 1000's; the layers must be his */
    char *lowers_before;
};

/* -- text that grows
 * ------------------------------------------------------------------------------- */
struct text {
    char *at;
    size_t len;
};

static inline void say(struct text *t, const char *format, ...)
{
    char *piece;
    va_list ap;
    va_start(ap, format);
    int n = vasprintf(&piece, format, ap);
    va_end(ap);
    assert_true(n >= 0);
    t->at = realloc(t->at, t->len + (size_t)n + 1);
    assert_non_null(t->at);
    memcpy(t->at + t->len, piece, (size_t)n + 1);
    t->len += (size_t)n;
    free(piece);
}

/* -- one object as a line of text
 * ------------------------------------------------------------------ */
static inline int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void say_xattrs(struct text *t, const char *path, struct vfs *fs)
{
    char list[4096], shown[256];
    char *name[64];
    int count = 0;
    ssize_t n = listxattr(path, list, sizeof(list));
    for (char *p = list; n > 0 && p < list + n; p += strlen(p) + 1) {
        if (fs && fs->ops.xattr_from_disk(fs, p, shown, sizeof(shown)) <= 0)
            continue;
        name[count++] = p;
    }
    qsort(name, (size_t)count, sizeof(name[0]), by_name);
    for (int i = 0; i < count; i++) {
        unsigned char value[1024];
        ssize_t len = getxattr(path, name[i], value, sizeof(value));
        say(t, " %s=", name[i]);
        for (ssize_t k = 0; k < len; k++)
            say(t, "%02x", value[k]);
    }
}

/* `path` names the real object through a descriptor's magic link; strict adds what only matters
 * for a tree that nobody may touch. */
static inline void say_object(struct text *t, const char *name, const char *path,
                              const struct stat *st, struct vfs *fs, bool strict)
{
    char target[PATH_MAX];
    say(t, "%s %o %u:%u", name[0] ? name : ".", st->st_mode, st->st_uid, st->st_gid);
    if (S_ISREG(st->st_mode)) {
        u64 hash = 14695981039346656037ull;
        unsigned char buf[4096];
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOATIME);
        ssize_t n;
        while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0) {
            for (ssize_t i = 0; i < n; i++)
                hash = (hash ^ buf[i]) * 1099511628211ull;
        }
        if (fd >= 0)
            close(fd);
        say(t, " size=%lld nlink=%u data=%016llx", (long long)st->st_size, (unsigned)st->st_nlink,
            (unsigned long long)hash);
    } else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        say(t, " dev=%u:%u", major(st->st_rdev), minor(st->st_rdev));
    } else if (S_ISLNK(st->st_mode)) {
        int fd = open(path, O_PATH | O_CLOEXEC); /* the magic link ends at the symlink itself */
        ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);
        if (n < 0)
            n = 0;
        target[n] = 0;
        close(fd);
        say(t, " -> %s", target);
    }
    if (strict)
        say(t, " ino=%llu ctime=%lld.%09ld", (unsigned long long)st->st_ino,
            (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
    if (st->st_mtim.tv_sec > NEW_AFTER)
        say(t, " new");
    else
        say(t, " mtime=%lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    say_xattrs(t, path, fs);
    say(t, "\n");
}

/* -- a real tree
 * ----------------------------------------------------------------------------------- */
static inline void say_real(struct text *t, int at, const char *name, const char *shown,
                            bool strict)
{
    char path[SYS_FD_PATH];
    struct stat st;
    int fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    say_object(t, shown, path, &st, NULL, strict);
    if (S_ISDIR(st.st_mode)) {
        char *names[4096];
        int count = 0;
        DIR *d = opendir(path);
        assert_non_null(d);
        struct dirent *e;
        while ((e = readdir(d))) {
            if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
                names[count++] = strdup(e->d_name);
        }
        closedir(d);
        qsort(names, (size_t)count, sizeof(names[0]), by_name);
        for (int i = 0; i < count; i++) {
            char *below;
            assert_true(asprintf(&below, "%s%s%s", shown, shown[0] ? "/" : "", names[i]) > 0);
            say_real(t, fd, names[i], below, strict);
            free(below);
            free(names[i]);
        }
    }
    close(fd);
}

static inline char *dump_real(const char *root, bool strict)
{
    struct text t = {0};
    int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    say_real(&t, fd, ".", "", strict);
    close(fd);
    return t.at;
}

/* -- the engine's tree
 * ----------------------------------------------------------------------------- */
static inline void say_union(struct text *t, struct vfs *fs, const struct vnode *n)
{
    char path[SYS_FD_PATH];
    struct stat st;
    assert_int_equal(fs->ops.getattr(fs, n, &st), 0);
    int fd = fs->ops.grab(fs, n);
    assert_true(fd >= 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    say_object(t, n->path, path, &st, fs, false);
    close(fd);
    if (!vnode_is_dir(n))
        return;
    struct listing *l = calloc(1, sizeof(*l));
    struct vnode *child = malloc(sizeof(*child));
    char **names = calloc(4096, sizeof(*names));
    int count = 0;
    assert_int_equal(fs->ops.list(fs, n, l), 0);
    for (u32 i = 0; i < l->count; i++) {
        const struct listing_entry *e = listing_at(l, i);
        if (strcmp(e->name, ".") && strcmp(e->name, ".."))
            names[count++] = strdup(e->name);
    }
    listing_free(l);
    qsort(names, (size_t)count, sizeof(names[0]), by_name);
    for (int i = 0; i < count; i++) {
        assert_int_equal(fs->ops.lookup(fs, n, names[i], strlen(names[i]), child), 0);
        if (!vnode_exists(child))
            fail_msg("%s/%s is listed and not there", n->path, names[i]);
        say_union(t, fs, child);
        free(names[i]);
    }
    free(names);
    free(child);
    free(l);
}

static inline char *dump_union(struct overlay *o)
{
    struct text t = {0};
    struct vnode *root = malloc(sizeof(*root));
    assert_int_equal(overlay_root(&o->vfs, root), 0);
    say_union(&t, &o->vfs, root);
    free(root);
    return t.at;
}

/* -- the caller
 * ------------------------------------------------------------------------------------ */
static inline const struct cred *test_cred(struct caller *who)
{
    return &((struct test_caller *)who)->cred;
}
static inline void test_assume(struct caller *who)
{
    struct test_caller *t = (struct test_caller *)who;
    gid_t group[CRED_GROUPS_MAX];
    for (u32 i = 0; i < t->cred.ngroups; i++)
        group[i] = t->cred.group[i];
    assert_int_equal(setgroups(t->cred.ngroups, group), 0);
    setfsgid(t->cred.fsgid);
    setfsuid(t->cred.fsuid);
    t->saved_umask = umask(t->cred.umask);
}
static inline void test_resume(struct caller *who)
{
    struct test_caller *t = (struct test_caller *)who;
    setfsuid(0);
    setfsgid(0);
    assert_int_equal(setgroups(0, NULL), 0);
    umask(t->saved_umask);
}

/* The caller of what follows: uid, gid, one supplementary group (0 = none), umask. */
static inline void lab_be(struct lab *lab, u32 uid, u32 gid, u32 group, u32 mask)
{
    struct test_caller *t = &lab->who;
    memset(t, 0, sizeof(*t));
    t->c.ops.cred = test_cred;
    t->c.ops.assume = test_assume;
    t->c.ops.resume = test_resume;
    t->c.tgid = t->c.tid = getpid();
    t->cred.fsuid = t->cred.ruid = uid;
    t->cred.fsgid = t->cred.rgid = gid;
    t->cred.caps = t->cred.permitted = uid == 0 ? ~0ull : 0;
    t->cred.umask = mask;
    t->cred.ngroups = group ? 1 : 0;
    t->cred.group[0] = group;
    t->c.same_as_session = uid == 0;
}

/* -- setting up
 * ------------------------------------------------------------------------------------ */
static inline void shell(const char *format, ...)
{
    char *command;
    va_list ap;
    va_start(ap, format);
    assert_true(vasprintf(&command, format, ap) > 0);
    va_end(ap);
    int r = system(command);
    if (r != 0)
        fail_msg("failed: %s", command);
    free(command);
}

static inline void lab_start(struct lab *lab)
{
    static const char *const layer[] = {"u", "l1", "l2"};
    char path[128];
    int bad = -1;
    lab->s = calloc(1, sizeof(*lab->s));
    lab->o = calloc(1, sizeof(*lab->o));
    assert_true(lab->s && lab->o);
    struct session *s = lab->s;
    session_init(s);
    s->style = lab->style;
    s->read_only = lab->read_only;
    s->trusted = !lab->ordinary;
    s->uid = s->gid = lab->ordinary ? 1000 : 0;
    s->nlayers = 3;
    snprintf(path, sizeof(path), "%s/mnt", lab->dir);
    s->mount = session_add_text(s, path);
    s->mount_len = (u32)strlen(path);
    for (int i = lab->read_only ? 1 : 0; i < 3; i++) {
        struct stat st;
        snprintf(path, sizeof(path), "%s/a/%s", lab->dir, layer[i]);
        assert_int_equal(stat(path, &st), 0);
        s->layer[i].path = session_add_text(s, path);
        s->layer[i].path_len = (u32)strlen(path);
        s->layer[i].dev = st.st_dev;
        s->layer[i].ino = st.st_ino;
        s->layer[i].in_use = true;
    }
    if (!lab->read_only) {
        snprintf(path, sizeof(path), "%s/a/w", lab->dir);
        s->work = session_add_text(s, path);
    }
    int r = overlay_init(lab->o, s, &bad);
    if (r < 0)
        fail_msg("overlay_init: %d, layer %d", r, bad);
}

static inline void lab_stop(struct lab *lab)
{
    overlay_fini(lab->o);
    free(lab->o);
    free(lab->s);
}

static inline char *lab_lowers(struct lab *lab)
{
    struct text t = {0};
    char path[128];
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof(path), "%s/a/l%d", lab->dir, i);
        char *d = dump_real(path, true);
        say(&t, "%s", d);
        free(d);
    }
    return t.at;
}

static inline void lab_mount(struct lab *lab, const char *set, const char *at, const char *more)
{
    char options[512], target[128];
    if (lab->read_only)
        snprintf(options, sizeof(options), "lowerdir=%s/%s/l1:%s/%s/l2%s", lab->dir, set, lab->dir,
                 set, more);
    else
        snprintf(options, sizeof(options),
                 "lowerdir=%s/%s/l1:%s/%s/l2,upperdir=%s/%s/u,workdir=%s/%s/w%s", lab->dir, set,
                 lab->dir, set, lab->dir, set, lab->dir, set, more);
    snprintf(target, sizeof(target), "%s/%s", lab->dir, at);
    int r = mount("overlay", target, "overlay", 0, options);
    if (r < 0)
        fail_msg("mount %s: %s", options, strerror(errno));
}

/* `script` makes l1, l2 and the start of u in the current directory; its objects then get an old
 * time stamp. `base` is a directory to work in. */
static inline void lab_open_in(struct lab *lab, enum marker_style style, const char *script,
                               bool read_only, const char *base)
{
    memset(lab, 0, sizeof(*lab));
    lab->style = style;
    lab->read_only = read_only;
    umask(022);
    snprintf(lab->dir, sizeof(lab->dir), "%s/fuss-unit.XXXXXX", base);
    assert_non_null(mkdtemp(lab->dir));
    assert_int_equal(chmod(lab->dir, 0755), 0);
    shell("cd %s && mkdir mnt again a && cd a && mkdir l1 l2 u w && chmod 711 w && (set -e; %s) && "
          "find . -exec touch -h -d '" OLD_STAMP "' {} + && cd .. && cp -a a b",
          lab->dir, script);
    lab_mount(lab, "b", "mnt", read_only ? "" : ",redirect_dir=on");
    lab->lowers_before = lab_lowers(lab);
    lab_start(lab);
    lab_be(lab, 0, 0, 0, 022);
}

static inline void lab_open(struct lab *lab, enum marker_style style, const char *script)
{
    lab_open_in(lab, style, script, false, "/tmp");
}

static inline void show_difference(const char *what, const char *ours, const char *theirs)
{
    const char *const text[] = {theirs, ours};
    char name[2][64], command[512];
    for (int i = 0; i < 2; i++) {
        snprintf(name[i], sizeof(name[i]), "/tmp/fuss-unit.%d.%s", getpid(),
                 i ? "ours" : "kernels");
        FILE *f = fopen(name[i], "w");
        assert_non_null(f);
        fputs(text[i], f);
        fclose(f);
    }
    print_error("%s (- the kernel's, + ours)\n", what);
    snprintf(command, sizeof(command), "diff -U0 %s %s >&2; rm -f %s %s", name[0], name[1], name[0],
             name[1]);
    if (system(command) < 0)
        print_error("no diff\n");
}

static inline void same_text(const char *what, const char *ours, const char *theirs)
{
    if (strcmp(ours, theirs)) {
        show_difference(what, ours, theirs);
        fail_msg("%s", what);
    }
}

/* Both views show the same now, and the work directory is empty but for what whiteouts link to. */
static inline void lab_compare(struct lab *lab, const char *what)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/mnt", lab->dir);
    char *theirs = dump_real(path, false), *ours = dump_union(lab->o);
    same_text(what, ours, theirs);
    free(ours);
    free(theirs);
    if (lab->read_only)
        return;
    snprintf(path, sizeof(path), "%s/a/w", lab->dir);
    DIR *d = opendir(path);
    struct dirent *e;
    while ((e = readdir(d))) {
        if (e->d_name[0] != '.' && strcmp(e->d_name, MARK_NAME) != 0)
            fail_msg("left in work: %s (%s)", e->d_name, what);
    }
    closedir(d);
}

/* Ends with every check there is: the views agree, also for an engine without memory and, in
 * chardev style, for the kernel reading our upper; no lower was touched. */
static inline void lab_close(struct lab *lab)
{
    char path[128];
    lab_compare(lab, "at the end");
    lab_stop(lab);
    lab_start(lab);
    lab_compare(lab, "read again");
    if (lab->style == STYLE_CHARDEV && !lab->read_only) {
        char *ours = dump_union(lab->o);
        lab_mount(lab, "a", "again", lab->ordinary ? ",userxattr" : "");
        snprintf(path, sizeof(path), "%s/again", lab->dir);
        char *theirs = dump_real(path, false);
        same_text("our upper read by the kernel", ours, theirs);
        free(theirs);
        free(ours);
        assert_int_equal(umount(path), 0);
    }
    char *after = lab_lowers(lab);
    same_text("lowers", after, lab->lowers_before);
    free(after);
    free(lab->lowers_before);
    lab_stop(lab);
    snprintf(path, sizeof(path), "%s/mnt", lab->dir);
    assert_int_equal(umount(path), 0);
    shell("rm -rf %s", lab->dir);
}

#endif
