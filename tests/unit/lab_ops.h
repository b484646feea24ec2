/* Operations of the laboratory: a line of words, done by the engine and on the kernel's mount.
 *
 *   mkdir P MODE | mknod P MODE MAJ MIN | symlink TARGET P | link P Q | unlink P | rmdir P
 *   rename P Q FLAGS | create P MODE | tmpfile P Q | write P TEXT | trunc P SIZE | chmod P MODE
 *   up P            open for writing and close again
 * Paths are relative to the union, without symlinks on the way. */
#ifndef FUSS_TEST_LAB_OPS_H
#define FUSS_TEST_LAB_OPS_H

#include "lab.h"

struct words {
    char text[2048];
    char *w[6];
};

static inline void split(struct words *s, const char *line)
{
    snprintf(s->text, sizeof(s->text), "%s", line);
    char *p = s->text;
    for (int i = 0; i < 6; i++) {
        s->w[i] = strsep(&p, " ");
        if (!s->w[i])
            s->w[i] = p = s->text + strlen(line);
    }
}

static inline u32 octal(const char *s)
{
    return (u32)strtoul(s, NULL, 8);
}
static inline unsigned number(const char *s)
{
    return (unsigned)strtoul(s, NULL, 0);
}

static inline int negative(long r)
{
    return r < 0 ? -errno : (int)r;
}

/* -- the kernel
 * ------------------------------------------------------------------------------------ */
static inline int kernel_text(int at, const char *path, int flags, u32 mode, const char *text)
{
    int fd = openat(at, path, flags | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    int r = text && write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static inline int kernel_tmpfile(int at, const char *dir, const char *to)
{
    char path[SYS_FD_PATH];
    int fd = openat(at, dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int r = negative(linkat(AT_FDCWD, path, at, to, AT_SYMLINK_FOLLOW));
    close(fd);
    return r;
}

static inline int kernel_do(struct lab *lab, const struct words *s)
{
    char *const *w = s->w;
    char mnt[128];
    int r = -ENOSYS;
    snprintf(mnt, sizeof(mnt), "%s/mnt", lab->dir);
    int at = open(mnt, O_PATH | O_DIRECTORY | O_CLOEXEC);
    test_assume(&lab->who.c);
    if (!strcmp(w[0], "mkdir"))
        r = negative(mkdirat(at, w[1], octal(w[2])));
    else if (!strcmp(w[0], "mknod"))
        r = negative(mknodat(at, w[1], octal(w[2]), makedev(number(w[3]), number(w[4]))));
    else if (!strcmp(w[0], "symlink"))
        r = negative(symlinkat(w[1], at, w[2]));
    else if (!strcmp(w[0], "link"))
        r = negative(linkat(at, w[1], at, w[2], 0));
    else if (!strcmp(w[0], "unlink"))
        r = negative(unlinkat(at, w[1], 0));
    else if (!strcmp(w[0], "rmdir"))
        r = negative(unlinkat(at, w[1], AT_REMOVEDIR));
    else if (!strcmp(w[0], "rename"))
        r = negative(syscall(SYS_renameat2, at, w[1], at, w[2], number(w[3])));
    else if (!strcmp(w[0], "create"))
        r = kernel_text(at, w[1], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, octal(w[2]), NULL);
    else if (!strcmp(w[0], "tmpfile"))
        r = kernel_tmpfile(at, w[1], w[2]);
    else if (!strcmp(w[0], "write"))
        r = kernel_text(at, w[1], O_WRONLY | O_TRUNC | O_NOFOLLOW, 0, w[2]);
    else if (!strcmp(w[0], "up"))
        r = kernel_text(at, w[1], O_WRONLY | O_NOFOLLOW | O_NONBLOCK, 0, NULL);
    else if (!strcmp(w[0], "chmod"))
        r = negative(fchmodat(at, w[1], octal(w[2]), 0));
    else if (!strcmp(w[0], "trunc")) {
        int fd = openat(at, w[1], O_WRONLY | O_CLOEXEC);
        r = fd < 0 ? -errno : negative(ftruncate(fd, number(w[2])));
        if (fd >= 0)
            close(fd);
    }
    test_resume(&lab->who.c);
    close(at);
    return r;
}

/* -- the engine
 * ------------------------------------------------------------------------------------ */

/* The node at a path, its last component absent or not; needs X on the way, as a walk does. */
static inline int engine_at(struct lab *lab, const char *path, struct vnode *n)
{
    struct vfs *fs = &lab->o->vfs;
    int r = fs->ops.root(fs, n);
    while (r == 0 && *path) {
        size_t len = strcspn(path, "/");
        if (!vnode_exists(n))
            return -ENOENT;
        if (!vnode_is_dir(n))
            return -ENOTDIR;
        r = fs->ops.permission(fs, &lab->who.c, n, X_OK);
        if (r == 0)
            r = fs->ops.lookup(fs, n, path, len, n);
        path += len + (path[len] == '/');
    }
    return r;
}

static inline int engine_create(struct lab *lab, struct vnode *n, bool tmpfile, u32 mode, int *fd)
{
    struct vfs *fs = &lab->o->vfs;
    struct vfs_pending *p = malloc(sizeof(*p));
    char real[PATH_MAX];
    int r = fs->ops.create_begin(fs, &lab->who.c, n, tmpfile, p, real, sizeof(real));
    if (r == 0) {
        int flags = tmpfile ? O_TMPFILE | O_RDWR : O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
        lab->who.c.ops.assume(&lab->who.c);
        *fd = negative(open(real, flags | O_CLOEXEC, mode));
        lab->who.c.ops.resume(&lab->who.c);
        r = fs->ops.create_end(fs, &lab->who.c, p, *fd);
        if (r == 0 && *fd < 0)
            r = *fd;
    }
    free(p);
    return r;
}

static inline int engine_open(struct lab *lab, struct vnode *n, int flags, u64 keep)
{
    struct vfs *fs = &lab->o->vfs;
    char real[PATH_MAX];
    if (!vnode_exists(n))
        return -ENOENT;
    if (vnode_is_link(n))
        return -ELOOP;
    if (vnode_is_dir(n))
        return -EISDIR;
    int r = fs->ops.permission(fs, &lab->who.c, n, W_OK);
    if (r == 0 && S_ISREG(n->st.st_mode))
        r = fs->ops.copy_up(fs, &lab->who.c, n, keep);
    if (r < 0)
        return r;
    long len = fs->ops.locate(fs, n, real, sizeof(real));
    if (len < 0)
        return (int)len;
    lab->who.c.ops.assume(&lab->who.c);
    r = negative(open(real, flags | O_CLOEXEC | O_NOFOLLOW));
    lab->who.c.ops.resume(&lab->who.c);
    return r;
}

static inline int engine_chmod(struct lab *lab, struct vnode *n, u32 mode)
{
    struct vfs *fs = &lab->o->vfs;
    char path[SYS_FD_PATH];
    if (!vnode_exists(n))
        return -ENOENT;
    if (lab->read_only)
        return -EROFS;
    if (lab->who.cred.fsuid != 0 && lab->who.cred.fsuid != n->st.st_uid)
        return -EPERM;
    int r = fs->ops.copy_up(fs, &lab->who.c, n, UINT64_MAX);
    if (r < 0)
        return r;
    int fd = fs->ops.grab(fs, n);
    if (fd < 0)
        return fd;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    lab->who.c.ops.assume(&lab->who.c);
    r = negative(chmod(path, mode));
    lab->who.c.ops.resume(&lab->who.c);
    close(fd);
    return r;
}

static inline int engine_write(struct lab *lab, struct vnode *n, const char *text)
{
    int fd = engine_open(lab, n, O_WRONLY | O_TRUNC, 0);
    if (fd < 0)
        return fd;
    int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static inline int engine_trunc(struct lab *lab, struct vnode *n, unsigned size)
{
    int fd = engine_open(lab, n, O_WRONLY, size);
    if (fd < 0)
        return fd;
    int r = negative(ftruncate(fd, size));
    close(fd);
    return r;
}

static inline int engine_two(struct lab *lab, const struct words *s, struct vnode *a,
                             struct vnode *b)
{
    struct vfs *fs = &lab->o->vfs;
    struct caller *who = &lab->who.c;
    char *const *w = s->w;
    int fd = -1, r = engine_at(lab, w[1], a);
    if (r < 0)
        return r;
    if (!strcmp(w[0], "tmpfile")) {
        r = engine_create(lab, a, true, 0666, &fd);
        if (r == 0)
            r = engine_at(lab, w[2], b);
        if (r == 0)
            r = fs->ops.link(fs, who, NULL, fd, b);
        if (fd >= 0)
            close(fd);
        return r;
    }
    if (!strcmp(w[0], "link") && !vnode_exists(a))
        return -ENOENT;
    r = engine_at(lab, w[2], b);
    if (r < 0)
        return r;
    if (!strcmp(w[0], "link"))
        return fs->ops.link(fs, who, a, -1, b);
    return fs->ops.rename(fs, who, a, b, number(w[3]));
}

static inline int engine_one(struct lab *lab, const struct words *s, struct vnode *n)
{
    struct vfs *fs = &lab->o->vfs;
    struct caller *who = &lab->who.c;
    char *const *w = s->w;
    int fd = -1, r = engine_at(lab, strcmp(w[0], "symlink") ? w[1] : w[2], n);
    if (r < 0)
        return r;
    if (!strcmp(w[0], "mkdir"))
        return fs->ops.mkdir(fs, who, n, octal(w[2]));
    if (!strcmp(w[0], "mknod"))
        return fs->ops.mknod(fs, who, n, octal(w[2]), makedev(number(w[3]), number(w[4])));
    if (!strcmp(w[0], "symlink"))
        return fs->ops.symlink(fs, who, n, w[1]);
    if (!strcmp(w[0], "unlink"))
        return fs->ops.unlink(fs, who, n);
    if (!strcmp(w[0], "rmdir"))
        return fs->ops.rmdir(fs, who, n);
    if (!strcmp(w[0], "chmod"))
        return engine_chmod(lab, n, octal(w[2]));
    if (!strcmp(w[0], "write"))
        return engine_write(lab, n, w[2]);
    if (!strcmp(w[0], "trunc"))
        return engine_trunc(lab, n, number(w[2]));
    if (!strcmp(w[0], "create"))
        r = engine_create(lab, n, false, octal(w[2]), &fd);
    else if (!strcmp(w[0], "up"))
        r = fd = engine_open(lab, n, O_WRONLY | O_NONBLOCK, UINT64_MAX);
    if (fd >= 0)
        close(fd);
    return r < 0 ? r : 0;
}

/* The session of an ordinary user has nobody else's rights, and its callers are himself. */
static inline void mask_on(struct caller *who)
{
    struct test_caller *t = (struct test_caller *)who;
    t->saved_umask = umask(t->cred.umask);
}
static inline void mask_off(struct caller *who)
{
    umask(((struct test_caller *)who)->saved_umask);
}
static inline void lab_enter(struct lab *lab)
{
    if (!lab->ordinary)
        return;
    lab->who.c.ops.assume = mask_on;
    lab->who.c.ops.resume = mask_off;
    assert_int_equal(setresgid(1000, 1000, 0), 0);
    assert_int_equal(setresuid(1000, 1000, 0), 0);
}
static inline void lab_leave(struct lab *lab)
{
    if (!lab->ordinary)
        return;
    assert_int_equal(setresuid(0, 0, 0), 0);
    assert_int_equal(setresgid(0, 0, 0), 0);
    lab->who.c.ops.assume = test_assume;
    lab->who.c.ops.resume = test_resume;
}

static inline int engine_do(struct lab *lab, const struct words *s)
{
    struct vnode *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b));
    bool two =
        !strcmp(s->w[0], "link") || !strcmp(s->w[0], "rename") || !strcmp(s->w[0], "tmpfile");
    lab_enter(lab);
    int r = two ? engine_two(lab, s, a, b) : engine_one(lab, s, a);
    lab_leave(lab);
    free(a);
    free(b);
    return r;
}

/* -- both
 * ------------------------------------------------------------------------------------------ */

/* Does the line on both sides; the results must be equal. */
static inline int lab_do(struct lab *lab, const char *format, ...)
{
    char line[2048];
    struct words s;
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    split(&s, line);
    int ours = engine_do(lab, &s);
    int theirs = kernel_do(lab, &s);
    if (ours != theirs)
        fail_msg("%s: %d (%s), the kernel says %d (%s)", line, ours, strerror(-ours), theirs,
                 strerror(-theirs));
    return ours;
}

/* Only the engine; for what is different on purpose. */
static inline int lab_ours(struct lab *lab, const char *line)
{
    struct words s;
    split(&s, line);
    return engine_do(lab, &s);
}
static inline int lab_kernels(struct lab *lab, const char *line)
{
    struct words s;
    split(&s, line);
    return kernel_do(lab, &s);
}

static inline void lab_run(struct lab *lab, const char *const *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        lab_do(lab, "%s", lines[i]);
        lab_compare(lab, lines[i]);
    }
}
#define LAB_RUN(lab, ...)                                                                          \
    do {                                                                                           \
        static const char *const lines_[] = {__VA_ARGS__};                                         \
        lab_run(lab, lines_, ARRAY_LEN(lines_));                                                   \
    } while (0)

static const enum marker_style STYLES[] = {STYLE_CHARDEV, STYLE_FILEPREFIX};
#define EACH_STYLE(style)                                                                          \
    enum marker_style style = STYLES[0];                                                           \
    for (size_t st_ = 0; st_ < 2; st_++, style = STYLES[st_ % 2])

#endif
