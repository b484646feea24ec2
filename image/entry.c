/* One entry of a layer, made below the layer's directory. */
#include "image/layer.h"
#include "image/marks.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static _Noreturn void refuse(const char *path, const char *why)
{
    image_fail("the layer's %.300s is refused: %s", path, why);
}

static void need(int err, const char *path)
{
    if (err < 0)
        refuse(path, err == -ELOOP || err == -ENOTDIR ? "its path goes through a link or a file"
                                                      : strerror(-err));
}

static bool is_marker(const char *name)
{
    return !strncmp(name, WH, strlen(WH));
}

/* Whether a directory on the way has a marker's name: nothing below a whiteout can be meant. */
static bool below_marker(const char *path)
{
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1)
        if (is_marker(path))
            return true;
    return false;
}

/* Marks that readers of layers act on must not come out of an archive. */
static bool attribute_wanted(const char *name)
{
    return !marks_private(name) &&
           (strncmp(name, "system.", 7) != 0 || !strncmp(name, "system.posix_acl_", 17));
}

/* The time of the change as the file's. Before 1970 the fraction of a pax time counts downwards,
 * and libarchive hands both numbers on as they are written. */
static void times_of(struct archive_entry *e, struct timespec t[2])
{
    t[0] = (struct timespec){archive_entry_mtime(e), archive_entry_mtime_nsec(e)};
    if (t[0].tv_sec < 0 && t[0].tv_nsec) {
        t[0].tv_sec--;
        t[0].tv_nsec = 1000000000 - t[0].tv_nsec;
    }
    t[1] = t[0];
}

/* Owner, mode, attributes and times of an open object. What this user cannot give it is written
 * into override_stat, as podman and fuse-overlayfs do; it stays readable for its real owner.
 * `kind` is what the object stands for where that is a device. */
static void dress(const struct layer_work *w, int fd, struct archive_entry *e, const char *path,
                  const char *kind)
{
    mode_t mode = layer_mode(e), real = mode;
    la_int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);
    struct timespec t[2];
    const char *name;
    const void *value;
    char text[128];
    size_t size;
    if (uid < 0 || gid < 0 || uid > UINT32_MAX - 1 || gid > UINT32_MAX - 1)
        refuse(path, "its owner is no number of a user");
    if (w->is_root && !*kind) {
        if (fchown(fd, (uid_t)uid, (gid_t)gid))
            need(-errno, path);
    } else {
        bool mine = uid == geteuid() && gid == getegid();
        real = (mode & 0777) | (archive_entry_filetype(e) == AE_IFDIR ? 0700 : 0600);
        if (*kind)
            real = 0600;
        if (!mine || real != mode || *kind) {
            snprintf(text, sizeof(text), "%u:%u:0%o%s", (unsigned)uid, (unsigned)gid, mode, kind);
            if (fsetxattr(fd, OVERRIDE, text, strlen(text), 0) && errno != ENOTSUP)
                need(-errno, path);
        }
    }
    archive_entry_xattr_reset(e);
    while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK) {
        if (attribute_wanted(name))
            layer_attribute(fd, name, value, size, path);
    }
    layer_acl(fd, e, false, path);
    layer_acl(fd, e, true, path);
    if (fchmod(fd, real))
        need(-errno, path);
    times_of(e, t);
    if (futimens(fd, t))
        need(-errno, path);
}

static void set_opaque(const struct layer_work *w, int dir, const char *path)
{
    const char *name = w->is_root ? "trusted.overlay.opaque" : "user.overlay.opaque";
    int fd = place_open(dir, "", O_RDONLY | O_DIRECTORY, 0);
    need(fd, path);
    /* Root of a container may lack the right to trusted attributes. */
    if (fsetxattr(fd, name, "y", 1, 0) && fsetxattr(fd, "user.overlay.opaque", "y", 1, 0))
        need(-errno, path);
    close(fd);
}

static void empty_file(int dir, const char *name, const char *path)
{
    int fd = place_open(dir, name, O_WRONLY | O_CREAT, 0644);
    need(fd, path);
    close(fd);
}

static void whiteout(const struct layer_work *w, int dir, const char *name, const char *path)
{
    const char *hidden = name + strlen(WH);
    struct stat st;
    int fd;
    if (!strcmp(name, OPAQUE)) {
        if (w->style == IMAGE_CHARDEV)
            set_opaque(w, dir, path);
        else
            empty_file(dir, name, path);
        return;
    }
    if (w->style == IMAGE_FILEPREFIX) {
        empty_file(dir, name, path);
        return;
    }
    /* A marker hides what is below this layer, whatever the order in the archive. */
    if (!fstatat(dir, hidden, &st, AT_SYMLINK_NOFOLLOW)) {
        if (!S_ISDIR(st.st_mode))
            return;
        fd = place_open(dir, hidden, O_RDONLY | O_DIRECTORY, 0);
        need(fd, path);
        set_opaque(w, fd, path);
        close(fd);
        return;
    }
    if (mknodat(dir, hidden, S_IFCHR | 0600, makedev(0, 0)))
        need(-errno, path);
}

static void put_data(struct archive *a, struct archive_entry *e, int fd, const char *path)
{
    const void *data;
    size_t len;
    la_int64_t offset;
    int rc;
    while ((rc = archive_read_data_block(a, &data, &len, &offset)) == ARCHIVE_OK) {
        while (len) {
            ssize_t n = pwrite(fd, data, len, offset);
            image_check_stop();
            if (n < 0)
                need(-errno, path);
            data = (const char *)data + n;
            len -= (size_t)n;
            offset += n;
        }
    }
    if (rc != ARCHIVE_EOF)
        refuse(path, archive_error_string(a));
    if (ftruncate(fd, archive_entry_size(e)))
        need(-errno, path);
}

static void put_off(struct layer_work *w, const char *path, struct archive_entry *e)
{
    struct layer_dir *d = malloc(sizeof(*d) + strlen(path) + 1);
    if (!d || !(d->entry = archive_entry_clone(e)))
        image_fail("out of memory");
    memcpy(d->path, path, strlen(path) + 1);
    d->next = NULL;
    *w->last = d;
    w->last = &d->next;
}

void layer_finish_dirs(struct layer_work *w)
{
    while (w->dirs) {
        struct layer_dir *d = w->dirs;
        int fd = place_open(w->root, d->path, O_RDONLY | O_DIRECTORY, 0);
        /* A later entry may have put something else in its place. */
        if (fd >= 0) {
            dress(w, fd, d->entry, d->path, "");
            close(fd);
        } else if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP) {
            need(fd, d->path);
        }
        w->dirs = d->next;
        archive_entry_free(d->entry);
        free(d);
    }
    w->last = &w->dirs;
}

/* Makes room for an entry that is no directory, or for a directory. True: there is a directory
 * already; *hidden: a whiteout was there, whose work the new directory must do. */
static bool make_room(const struct layer_work *w, int dir, const char *name, bool directory,
                      bool *hidden, const char *path)
{
    struct stat st;
    (void)w;
    *hidden = false;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        return false;
    if (directory && S_ISDIR(st.st_mode))
        return true;
    *hidden = S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
    need(place_remove(dir, name), path);
    return false;
}

static void make_directory(struct layer_work *w, int dir, const char *name, const char *path)
{
    bool hidden;
    int fd;
    if (make_room(w, dir, name, true, &hidden, path))
        return;
    if (mkdirat(dir, name, 0755))
        need(-errno, path);
    if (!hidden)
        return;
    fd = place_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
    need(fd, path);
    set_opaque(w, fd, path);
    close(fd);
}

static void make_link(struct layer_work *w, int dir, const char *name, const char *target,
                      const char *path)
{
    char there[PATH_MAX];
    const char *base;
    bool hidden;
    int from;
    if (!place_name(target, there, sizeof(there)) || !*there)
        refuse(path, "it is a hard link that leads out of the layer");
    from = place_parent(w->root, there, false, &base);
    if (from < 0 || is_marker(base))
        refuse(path, "it is a hard link to what the layer does not have");
    if (!strcmp(there, path))
        refuse(path, "it is a hard link to itself");
    make_room(w, dir, name, false, &hidden, path);
    if (linkat(from, base, dir, name, 0))
        refuse(path, errno == ENOENT ? "it is a hard link to what the layer does not have"
                                     : strerror(errno));
    close(from);
}

static void make_other(struct layer_work *w, struct archive *a, struct archive_entry *e, int dir,
                       const char *name, const char *path)
{
    struct timespec t[2];
    mode_t type = archive_entry_filetype(e);
    const char *target = archive_entry_symlink(e);
    char kind[64] = "";
    bool hidden;
    int fd;
    make_room(w, dir, name, false, &hidden, path);
    if (type == AE_IFLNK || type == AE_IFIFO) {
        if (type == AE_IFIFO ? mkfifoat(dir, name, archive_entry_mode(e) & 0777)
                             : symlinkat(target && *target ? target : "", dir, name))
            need(-errno, path);
        /* They have no user attributes: an ordinary user's are the user's own. */
        if (w->is_root && fchownat(dir, name, (uid_t)archive_entry_uid(e),
                                   (gid_t)archive_entry_gid(e), AT_SYMLINK_NOFOLLOW))
            need(-errno, path);
        if (type == AE_IFIFO && fchmodat(dir, name, archive_entry_mode(e) & 07777, 0))
            need(-errno, path);
        times_of(e, t);
        if (utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW))
            need(-errno, path);
        return;
    }
    /* Never a device of this machine: a file that says what it stands for. */
    if (type == AE_IFCHR || type == AE_IFBLK)
        snprintf(kind, sizeof(kind), ":%s-%u-%u", type == AE_IFCHR ? "char" : "block",
                 (unsigned)archive_entry_rdevmajor(e), (unsigned)archive_entry_rdevminor(e));
    fd = place_open(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    need(fd, path);
    if (!*kind)
        put_data(a, e, fd, path);
    dress(w, fd, e, path, kind);
    close(fd);
}

/* What no layer of a real image has. */
static void check(struct layer_work *w, struct archive_entry *e, const char *path)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    const char *link = archive_entry_hardlink(e);
    char there[PATH_MAX];
    mode_t type = archive_entry_filetype(e);
    if (below_marker(path))
        refuse(path, "it lies below a whiteout");
    if (is_marker(base)) {
        const char *hidden = base + strlen(WH);
        if (!*hidden || !strcmp(hidden, ".") || !strcmp(hidden, ".."))
            refuse(path, "it is a whiteout of nothing in its directory");
        return;
    }
    if (link) {
        if (!place_name(link, there, sizeof(there)) || !*there)
            refuse(path, "it is a hard link that leads out of the layer");
        return;
    }
    if (!*path && type != AE_IFDIR)
        refuse(".", "the layer itself can only be a directory");
    if (type == AE_IFCHR || type == AE_IFBLK) {
        w->devices++;
        if (type == AE_IFCHR && !archive_entry_rdevmajor(e) && !archive_entry_rdevminor(e))
            refuse(path, "the device 0/0 is a whiteout in disguise");
    } else if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK && type != AE_IFIFO) {
        refuse(path, "it is neither file, directory, link, device nor fifo");
    }
}

void layer_entry(struct layer_work *w, struct archive *a, struct archive_entry *e)
{
    const char *name = archive_entry_pathname(e), *base;
    const char *link = archive_entry_hardlink(e);
    char path[PATH_MAX];
    int dir;
    if (!name || !*name || !place_name(name, path, sizeof(path)))
        refuse(name && *name ? name : "(no name)",
               "its name leads out of the layer or is too long");
    check(w, e, path);
    if (w->root < 0)
        return;
    if (*path) {
        dir = place_parent(w->root, path, true, &base);
        need(dir, path);
        if (is_marker(base)) {
            /* Other names of that kind are aufs' own. */
            if (strncmp(base, ".wh..wh.", 8) != 0 || !strcmp(base, OPAQUE))
                whiteout(w, dir, base, path);
        } else if (link) {
            make_link(w, dir, base, link, path);
        } else if (archive_entry_filetype(e) == AE_IFDIR) {
            make_directory(w, dir, base, path);
        } else {
            make_other(w, a, e, dir, base, path);
        }
        close(dir);
        if (is_marker(base))
            return;
    }
    if (!link && archive_entry_filetype(e) == AE_IFDIR)
        put_off(w, path, e);
}
