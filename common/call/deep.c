/* Directories so deep that no path names them: longer than PATH_MAX, reached by chdir and openat
 * step by step, as the tests of getcwd and of rm -r make them. Only the upper can have one, without
 * a lower part: a single name in it means to the kernel what it means in the union. So such a call
 * goes to the kernel with the program's own words, once the directory is proven to lie in the
 * upper; what would follow a symlink stays ENAMETOOLONG. */
#include "call/families.h"
#include "base/str.h"
#include "base/sys.h"

#define STEPS_MAX 65536 /* levels up to a root */

static bool is_root_of(const struct session *s, unsigned layer, const struct stat *st)
{
    return s->layer[layer].in_use && st->st_dev == s->layer[layer].dev &&
           st->st_ino == s->layer[layer].ino;
}

/* Does the directory that fd is open on lie in the upper, or outside of all layers? */
static bool is_no_lowers(const struct session *s, int fd)
{
    struct stat st = {0}, above = {0};
    int at = sys_openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int r = at < 0 ? at : sys_fstat(at, &st);
    for (unsigned step = 0; r == 0 && step < STEPS_MAX; step++) {
        for (unsigned i = 1; i < s->nlayers && r == 0; i++) {
            if (is_root_of(s, i, &st))
                r = -EROFS;
        }
        int next = r ? r : sys_openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (r == 0 && is_root_of(s, 0, &st))
            r = 1;
        sys_close(at);
        at = next;
        if (r == 0)
            r = at < 0 ? at : sys_fstat(at, &above);
        if (r == 0 && dev_ino_equal(&above, &st))
            r = 1;
        st = above;
    }
    if (at >= 0)
        sys_close(at);
    return r == 1;
}

/* Where ".." is a name like any. */
static bool may_leave(const struct sysrow *row)
{
    return row->handler == CALL_CHDIR || row->handler == CALL_STAT || row->handler == CALL_STATX ||
           row->handler == CALL_OPEN;
}

/* The directory (or by descriptor alone: the object) of a (dirfd, path) that may be dealt with
 * here, as ops.fd_get gives it; the name is in `said`. -1: none. */
static int deep_object(struct call *c, int dirfd_arg, int path_arg, char *said)
{
    const struct session *s = c->view->session;
    int dirfd = dirfd_arg >= 0 ? (int)c->arg[dirfd_arg] : AT_FDCWD;
    struct stat st;
    long n = 0;
    said[0] = '\0';
    if (path_arg >= 0 && c->arg[path_arg])
        n = c->who->ops.read_str(c->who, said, c->arg[path_arg], PATH_MAX);
    const char *rest = said, *name;
    size_t len = n > 0 ? path_next(&rest, &name) : 0;
    if (n < 0 || said[0] == '/' || (n > 0 && len != (size_t)n) || len > NAME_MAX ||
        str_starts(said, ".wh."))
        return -1;
    if (is_dotdot(said, len) && !may_leave(c->row))
        return -1;
    /* Where it can be named still, one of a lower may have what the name says. */
    const struct place *dir = &c->place2;
    if (n && walk_fd(c->view, c->who, dirfd, &c->place2) == 0 && dir->in_union && dir->exists &&
        lowers_of(dir->node.layers))
        return -1;
    int fd = c->who->ops.fd_get(c->who, dirfd);
    if (fd < 0)
        return -1;
    bool deep = sys_fstat(fd, &st) == 0;
    if (deep && S_ISDIR(st.st_mode))
        deep = is_no_lowers(s, fd);
    else if (deep) /* nobody can have opened a lower file for writing */
        deep = !n && !s->holds_lower && (SYS2(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    bool follows = call_follow(c) && path_arg != c->row->path2;
    if (c->row->handler == CALL_OPEN && (call_flags(c) & O_NOFOLLOW))
        follows = false;
    if (deep && len && follows)
        deep = sys_fstatat(fd, said, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode);
    if (deep)
        return fd;
    c->who->ops.fd_put(c->who, fd);
    return -1;
}

/* Runs in the program, with the name as it was judged. */
static void let_run(struct call *c)
{
    call_pass(c);
    if (c->row->path >= 0 && c->said[0])
        call_rewrite_path(c, c->row->path, c->said);
    if (c->row->handler == CALL_OPEN) {
        call_begin_rewrite(c);
        c->new_arg[c->row->flags] |= O_NOFOLLOW;
    }
}

static void open_deep(struct call *c)
{
    const u32 changes = O_CREAT | O_TRUNC | O_WRONLY | O_RDWR;
    if (!(call_flags(c) & changes) || !c->who->shares_files)
        let_run(c);
}

/* The text of a symlink. */
static long link_text(struct call *c)
{
    long n = c->who->ops.read_str(c->who, c->said2, c->arg[c->row->aux], sizeof(c->said2));
    return n ? n : -ENOENT;
}

/* What changes names, and a mode or owner by descriptor, done here. */
static long change_deep(struct call *c, int fd, int fd2)
{
    const struct sysrow *row = c->row;
    char path[SYS_FD_PATH];
    u32 aux = row->aux >= 0 ? (u32)c->arg[row->aux] : 0;
    long r = row->handler == CALL_SYMLINK ? link_text(c) : 0;
    if (r < 0)
        return r;
    c->who->ops.assume(c->who);
    switch ((enum call_handler)row->handler) {
    case CALL_MKDIR:
        r = sys_mkdirat(fd, c->said, aux);
        break;
    case CALL_SYMLINK:
        r = sys_symlinkat(c->said2, fd, c->said);
        break;
    case CALL_UNLINK:
        r = sys_unlinkat(fd, c->said,
                         row->traits & SYS_REMOVEDIR ? AT_REMOVEDIR : (int)call_flags(c));
        break;
    case CALL_RENAME:
        r = sys_renameat2(fd, c->said, fd2, c->said2, call_flags(c));
        break;
    case CALL_CHMOD:
        r = sys_fchmodat(AT_FDCWD, sys_fd_path(path, fd), aux & 07777);
        break;
    default: /* CALL_CHOWN */
        r = sys_fchownat(fd, "", aux, (u32)c->arg[row->aux + 1], AT_EMPTY_PATH);
        break;
    }
    c->who->ops.resume(c->who);
    if (c->view->fs->ops.changed && row->path >= 0)
        c->view->fs->ops.changed(c->view->fs);
    return r;
}

enum way { WAY_NONE, WAY_LOOKS, WAY_OPENS, WAY_CHANGES };

static enum way way_of(const struct call *c)
{
    const struct sysrow *row = c->row;
    switch ((enum call_handler)row->handler) {
    case CALL_STAT:
    case CALL_STATX:
    case CALL_ACCESS:
    case CALL_READLINK:
    case CALL_CHDIR:
    case CALL_FCHDIR:
    case CALL_GETDENTS:
        return WAY_LOOKS;
    case CALL_OPEN:
        return row->flags >= 0 ? WAY_OPENS : WAY_NONE;
    case CALL_MKDIR:
    case CALL_SYMLINK:
    case CALL_UNLINK:
    case CALL_RENAME:
        return WAY_CHANGES;
    case CALL_CHMOD:
    case CALL_CHOWN:
        return row->path < 0 ? WAY_CHANGES : WAY_NONE;
    default:
        return WAY_NONE;
    }
}

void call_deep(struct call *c)
{
    const struct sysrow *row = c->row;
    enum way way = way_of(c);
    if (c->view->unable)
        c->view->unable();
    if (c->view->session->nbinds || c->view->session->fake || way == WAY_NONE)
        return;
    int fd = deep_object(c, row->dirfd, row->path, c->said), fd2 = -1;
    if (fd < 0)
        return;
    if (row->path2 >= 0)
        fd2 = deep_object(c, row->dirfd2, row->path2, c->said2);
    c->nblobs = 0;
    if (way == WAY_LOOKS)
        let_run(c);
    else if (way == WAY_OPENS)
        open_deep(c);
    else if (row->path2 < 0 || fd2 >= 0)
        call_done(c, change_deep(c, fd, fd2));
    if (fd2 >= 0)
        c->who->ops.fd_put(c->who, fd2);
    c->who->ops.fd_put(c->who, fd);
}
