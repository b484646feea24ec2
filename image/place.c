/* Changes below one directory. Every step opens with openat2 beneath the root and without links, so
 * that neither a name of an archive nor a link that it made earlier leads anywhere else. */
#include "image/image.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

bool place_name(const char *name, char *out, size_t size)
{
    size_t used = 0;
    unsigned parts = 0;
    if (name[0] == '/')
        return false;
    while (*name) {
        size_t len = strcspn(name, "/");
        if (len == 2 && !memcmp(name, "..", 2))
            return false;
        if (len > NAME_MAX)
            return false;
        if (len && !(len == 1 && name[0] == '.')) {
            if (used + len + 2 > size || ++parts > PLACE_PARTS_MAX)
                return false;
            if (used)
                out[used++] = '/';
            memcpy(out + used, name, len);
            used += len;
        }
        name += len;
        while (*name == '/')
            name++;
    }
    out[used] = 0;
    return true;
}

int place_open(int root, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };
    long fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
    return fd < 0 ? -errno : (int)fd;
}

int place_parent(int root, const char *path, bool make, const char **base)
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];
    size_t len = slash ? (size_t)(slash - path) : 0;
    int fd;
    *base = slash ? slash + 1 : path;
    if (len >= sizeof(parent))
        return -ENAMETOOLONG;
    memcpy(parent, path, len);
    parent[len] = 0;
    fd = place_open(root, parent, O_PATH | O_DIRECTORY, 0);
    if (fd != -ENOENT || !make)
        return fd;
    const char *name;
    int up = place_parent(root, parent, true, &name);
    if (up < 0)
        return up;
    int made = mkdirat(up, name, 0755) ? -errno : 0;
    close(up);
    if (made < 0 && made != -EEXIST)
        return made;
    return place_open(root, parent, O_PATH | O_DIRECTORY, 0);
}

static int empty_dir(int fd)
{
    DIR *d = fdopendir(fd);
    const struct dirent *e;
    int err = 0;
    if (!d) {
        err = -errno;
        close(fd);
        return err;
    }
    while (!err && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            err = place_remove(dirfd(d), e->d_name);
    closedir(d);
    return err;
}

int place_remove(int dir, const char *name)
{
    int fd, err;
    if (!unlinkat(dir, name, 0) || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    if (!unlinkat(dir, name, AT_REMOVEDIR) || errno == ENOENT)
        return 0;
    fd = place_open(dir, name, O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    close(fd);
    fd = place_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -EACCES && !fchmodat(dir, name, 0700, 0))
        fd = place_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    (void)fchmod(fd, 0700);
    err = empty_dir(fd);
    if (err)
        return err;
    return unlinkat(dir, name, AT_REMOVEDIR) ? -errno : 0;
}
