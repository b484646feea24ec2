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
    struct stat st, above;
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

static bool may_leave(const struct sysrow *row)
{
    return row->handler == CALL_CHDIR || row->handler == CALL_STAT || row->handler == CALL_STATX;
}

/* May this (dirfd, path) go to the kernel? The words are in `said`. */
static bool is_deep(struct call *c, int dirfd_arg, int path_arg, char *said)
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
    if (n < 0 || said[0] == '/' || (n > 0 && len != (size_t)n) || len > NAME_MAX)
        return false;
    if (is_dotdot(said, len) && !may_leave(c->row) && c->row->handler != CALL_OPEN)
        return false;
    /* Where it can be named still, one of a lower may have what the name says. */
    const struct place *dir = &c->place2;
    if (n && walk_fd(c->view, c->who, dirfd, &c->place2) == 0 && dir->in_union && dir->exists &&
        lowers_of(dir->node.layers))
        return false;
    int fd = c->who->ops.fd_get(c->who, dirfd);
    if (fd < 0)
        return false;
    bool deep = sys_fstat(fd, &st) == 0;
    if (deep && S_ISDIR(st.st_mode))
        deep = is_no_lowers(s, fd);
    else if (deep) /* nobody can have opened a lower file for writing */
        deep = !n && !s->holds_lower && (SYS2(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    bool follows = call_follow(c);
    if (c->row->handler == CALL_OPEN && (call_flags(c) & O_NOFOLLOW))
        follows = false;
    if (deep && len && follows && path_arg != c->row->path2)
        deep = sys_fstatat(fd, said, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode);
    c->who->ops.fd_put(c->who, fd);
    return deep;
}

void call_deep(struct call *c)
{
    const struct sysrow *row = c->row;
    if (c->view->unable)
        c->view->unable();
    if (c->view->session->nbinds || c->view->session->fake)
        return;
    switch ((enum call_handler)row->handler) {
    case CALL_STAT:
    case CALL_STATX:
    case CALL_ACCESS:
    case CALL_READLINK:
    case CALL_MKDIR:
    case CALL_SYMLINK:
    case CALL_UNLINK:
    case CALL_RENAME:
    case CALL_CHDIR:
    case CALL_FCHDIR:
    case CALL_GETDENTS:
        break;
    case CALL_OPEN:
        if (row->flags < 0)
            return;
        break;
    case CALL_CHMOD: /* by descriptor */
    case CALL_CHOWN:
    case CALL_UTIMES:
        if (row->path >= 0 && c->arg[row->path])
            return;
        break;
    default:
        return;
    }
    if (!is_deep(c, row->dirfd, row->path, c->said) ||
        (row->path2 >= 0 && !is_deep(c, row->dirfd2, row->path2, c->said2)))
        return;
    c->nblobs = 0;
    call_pass(c);
    if (row->path < 0 || !c->said[0])
        return;
    call_rewrite_path(c, row->path, c->said);
    if (row->path2 >= 0)
        call_rewrite_path(c, row->path2, c->said2);
    if (row->handler == CALL_OPEN)
        c->new_arg[row->flags] |= O_NOFOLLOW;
    if (row->handler == CALL_STAT || row->handler == CALL_STATX || row->handler == CALL_ACCESS)
        c->settle = false;
}
