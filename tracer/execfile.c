#include "tracer/execfile.h"
#include "base/str.h"
#include "base/sys.h"
#include <stdio.h>
#include <unistd.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000 /* Linux 6.14 */
#endif

void execfile_complain(const char *path, const char *why)
{
    dprintf(STDERR_FILENO, "fuss: %s: %s\n", path, why);
}

int execfile_check(struct caller *who, struct place *p, char *real, size_t cap)
{
    if (!p->in_union)
        return str_copy(real, cap, p->path) < 0 ? -ENAMETOOLONG : 0;
    if (!p->exists)
        return -ENOENT;
    if (vnode_is_link(&p->node))
        return -ELOOP;
    if (!S_ISREG(p->node.st.st_mode))
        return -EACCES;
    int err = p->node.fs->ops.permission(p->node.fs, who, &p->node, X_OK);
    long n = err ? err : p->node.fs->ops.locate(p->node.fs, &p->node, real, cap);
    return n < 0 ? (int)n : 0;
}

int execfile_open_fd(int fd, const char *name, struct stat *st)
{
    char path[SYS_FD_PATH];
    int err = sys_fstat(fd, st);
    if (err)
        return err;
    if (!S_ISREG(st->st_mode))
        return -EACCES;
    sys_fd_path(path, fd);
    int r = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOATIME, 0);
    if (r == -EPERM)
        r = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (r == -EACCES && (st->st_mode & 0111) && geteuid() != 0) {
        execfile_complain(name,
                          "may be executed but not read, so that its calls could not be followed; "
                          "make it readable or run fuss as root");
        r = -EPERM;
    }
    return r;
}

int execfile_open(const struct place *p, const char *name, struct stat *st)
{
    int fd = p->in_union ? p->node.fs->ops.grab(p->node.fs, &p->node)
                         : sys_openat(AT_FDCWD, p->path, O_PATH | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    int r = execfile_open_fd(fd, name, st);
    sys_close(fd);
    return r;
}

bool execfile_busy(int fd)
{
    char empty[] = "";
    char *argv[] = {empty, NULL};
    return SYS5(SYS_execveat, fd, "", argv, argv + 1, AT_EMPTY_PATH | AT_EXECVE_CHECK) == -ETXTBSY;
}

int execfile_loader(const struct place *p, const char *name, struct loader *out)
{
    struct stat st;
    if (!p->in_union || !loader_known(&p->node.st, out)) {
        int fd = execfile_open(p, name, &st);
        if (fd < 0)
            return fd == -EPERM ? fd : -ENOEXEC;
        loader_read(fd, &st, out);
        sys_close(fd);
    }
    return out->span ? 0 : -ENOEXEC;
}

int execfile_host_loader(const char *path, const struct stat *st, struct loader *out)
{
    struct stat now;
    if (!S_ISREG(st->st_mode))
        return -ENOEXEC;
    if (!loader_known(st, out)) {
        int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (fd < 0)
            return -ENOEXEC;
        bool regular = sys_fstat(fd, &now) == 0 && S_ISREG(now.st_mode);
        if (regular)
            loader_read(fd, &now, out);
        sys_close(fd);
        if (!regular)
            return -ENOEXEC;
    }
    return out->span ? 0 : -ENOEXEC;
}
