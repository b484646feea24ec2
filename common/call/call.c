#include "call/call.h"
#include "call/families.h"
#include "base/str.h"
#include "base/sys.h"
#include "vfs/ways.h"
#include "vfs/access.h"
#include <linux/seccomp.h>

void call_begin(struct call *c)
{
    c->action = CALL_PASS;
    c->result = 0;
    c->nblobs = 0;
    c->settle = c->restart = c->by_fd = c->remains = false;
    c->close_fd = c->give_fd = -1;
    c->closed = c->far = c->open_here = c->maps = false;
    c->fd = -1;
    c->pending.active = false;
    c->said[0] = c->said2[0] = c->real[0] = '\0';
    c->place.in_union = c->place2.in_union = false;
    c->place.slash = c->place.removed = c->place.parent_in = false;
    c->place.bind_root = c->place2.bind_root = false;
    c->place.bind = c->place2.bind = -1;
    c->place.path[0] = c->place2.path[0] = '\0';
}

void call_pass(struct call *c)
{
    c->action = CALL_PASS;
}

void call_done(struct call *c, long result)
{
    c->action = CALL_DONE;
    c->result = result;
}

void call_begin_rewrite(struct call *c)
{
    if (c->action == CALL_REWRITE)
        return;
    c->action = CALL_REWRITE;
    c->new_nr = c->row->nr;
    memcpy(c->new_arg, c->arg, sizeof(c->arg));
}

void call_rewrite_path(struct call *c, int arg, const char *real)
{
    call_begin_rewrite(c);
    c->blob[c->nblobs++] = (struct call_blob){.arg = arg, .bytes = real, .len = str_len(real) + 1};
}

const char *place_words(struct place *p)
{
    if (p->slash && p->last == LAST_NAME && p->len > 1 && p->len + 1 < sizeof(p->path) &&
        p->path[p->len - 1] != '/') {
        p->path[p->len++] = '/';
        p->path[p->len] = '\0';
    }
    return p->path;
}

void call_outside(struct call *c, bool changes)
{
    if (changes && c->place.guard_layer >= 0) /* a removed lower object: never to be copied up */
        call_done(c, c->place.removed && !c->view->session->read_only ? -EEXIST : -EROFS);
    else if (!c->by_fd && c->place.crossed)
        call_rewrite_path(c, c->row->path, place_words(&c->place));
    else if (!c->by_fd && changes && c->who->shares_memory)
        call_rewrite_path(c, c->row->path, call_fixed_words(&c->place, c->said));
    else
        call_pass(c);
}

bool call_bind_guards(struct call *c, bool creates)
{
    struct stat st;
    const struct place *p = &c->place;
    if (p->magic_fd < 0 && !p->exists)
        return creates;
    if (sys_fstatat(AT_FDCWD, p->path, &st, 0) < 0)
        return true;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

const char *call_fixed_words(struct place *p, const char *said)
{
    bool known = !p->host_error && !p->removed && p->magic_fd < 0 && p->last == LAST_NAME;
    return known ? place_words(p) : said;
}

bool call_may_be_closed(struct call *c)
{
    if (c->who->same_as_session) /* root passes everywhere */
        return c->view->session->uid != 0;
    return !caller_capable(c->who, CAP_DAC_OVERRIDE_BIT) &&
           !caller_capable(c->who, CAP_DAC_READ_SEARCH_BIT);
}

u32 call_flags(const struct call *c)
{
    return c->row->flags >= 0 ? (u32)c->arg[c->row->flags] : 0;
}

unsigned call_follow(const struct call *c)
{
    unsigned traits = c->row->traits;
    u32 flags = call_flags(c);
    bool follow = traits & SYS_FOLLOW;
    if ((traits & SYS_FLAG_NOFOLLOW) && (flags & AT_SYMLINK_NOFOLLOW))
        follow = false;
    if ((traits & SYS_FLAG_FOLLOW) && (flags & AT_SYMLINK_FOLLOW))
        follow = true;
    return follow ? WALK_FOLLOW : 0;
}

static const char up_alone[] = "."; /* what is left of "..", said of a removed directory */

/* The way on from a directory that was removed (`place` says where it was): to itself, which only
 * its descriptor names (1), or up (0): the new rest of the path, with the new base in c->base. */
static int leave_removed(struct call *c, const struct place *place, unsigned walk_flags,
                         const char **path)
{
    const char *comp;
    size_t n;
    do {
        n = path_next(path, &comp);
    } while (is_dot(comp, n) || ((walk_flags & WALK_IN_ROOT) && is_dotdot(comp, n)));
    if (!n)
        return 1;
    if (!is_dotdot(comp, n))
        return -ENOENT;
    if (walk_flags & WALK_BENEATH)
        return -EXDEV;
    memcpy(c->base, place->path, place->len + 1);
    path_pop(c->base, place->len);
    while (**path == '/')
        (*path)++;
    if (!**path)
        *path = up_alone;
    return 0;
}

/* Whatever is looked up in it, a removed directory has to be one that the caller may search. */
static int search_removed(struct call *c, const struct place *place, int dirfd)
{
    struct vfs *fs = c->view->fs;
    struct caller *who = c->who;
    struct stat st;
    int err = who->ops.fd_stat(who, dirfd, &st);
    if (err)
        return err;
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    bool copied = place->fd_layer > 0 && fs->ops.remains;
    int mine = copied ? fs->ops.remains(fs, &st) : -1;
    int fd = mine >= 0 || dirfd < 0 ? mine : who->ops.fd_get(who, dirfd);
    if (fd < 0) /* the working directory */
        return access_by_mode(&st, who->ops.cred(who), X_OK);
    who->ops.assume(who);
    err = sys_faccessat2(fd, "", X_OK, AT_EACCESS | AT_EMPTY_PATH);
    who->ops.resume(who);
    if (mine >= 0)
        sys_close(mine);
    else
        who->ops.fd_put(who, fd);
    return err;
}

int call_start(struct call *c, int dirfd, const char **path, unsigned walk_flags, const char **base,
               struct place *place)
{
    *base = "/";
    if (**path == '/' && !(walk_flags & WALK_IN_ROOT))
        return walk_flags & WALK_BENEATH ? -EXDEV : 0; /* whatever the descriptor is */
    *base = c->base;
    int err = walk_base(c->view, c->who, dirfd, c->base, sizeof(c->base), place);
    if (err != -ENOENT || !place->removed)
        return err;
    err = search_removed(c, place, dirfd);
    return err ? err : leave_removed(c, place, walk_flags, path);
}

/* One (dirfd, path) pair. *by_fd tells whether the object was named by the descriptor alone. */
static int resolve(struct call *c, int dirfd_arg, int path_arg, unsigned walk_flags, char *said,
                   struct place *place, bool *by_fd, int *fd)
{
    const struct sysrow *row = c->row;
    int dirfd = dirfd_arg >= 0 ? (int)c->arg[dirfd_arg] : AT_FDCWD;
    u32 flags = call_flags(c);
    bool empty_ok = ((row->traits & SYS_EMPTY_PATH) && (flags & AT_EMPTY_PATH)) ||
                    (row->traits & SYS_EMPTY_IS_FD);
    if (path_arg == row->path2)
        empty_ok = false; /* a new name must be one */
    *fd = dirfd;
    *by_fd = path_arg < 0 || (c->arg[path_arg] == 0 && ((row->traits & SYS_NULL_PATH) || empty_ok));
    if (*by_fd)
        return walk_fd(c->view, c->who, dirfd, place);
    long n = c->who->ops.read_str(c->who, said, c->arg[path_arg], PATH_MAX);
    if (n < 0)
        return (int)n;
    if (n == 0) {
        if (!empty_ok)
            return -ENOENT;
        *by_fd = true;
        return walk_fd(c->view, c->who, dirfd, place);
    }
    const char *base, *path = said;
    int err = call_start(c, dirfd, &path, walk_flags, &base, place);
    *by_fd = err > 0;
    if (err > 0) {
        place->parent_in = true;
        place->last = LAST_DOT;
    }
    if (err)
        return err < 0 ? err : 0;
    err = walk(c->view, c->who, base, path, walk_flags, place);
    if (path == up_alone && place->last == LAST_DOT)
        place->last = LAST_DOTDOT;
    if (err && err != -EXDEV && !place->in_union && !place->crossed && !place->removed) {
        place->exists = false;
        place->host_error = err;
        return 0;
    }
    return err;
}

/* Is it /proc/self/fd/N of a removed lower object? */
static bool is_removed_link(const struct place *p)
{
    return !p->in_union && p->removed && p->magic_fd >= 0 && p->guard_layer > 0;
}

void call_name_by_fd(struct call *c)
{
    if (!is_removed_link(&c->place))
        return;
    c->by_fd = true;
    c->fd = c->place.magic_fd;
    walk_fd(c->view, c->who, c->fd, &c->place);
}

/* Is a copy left of what such a link names? Then it is as good as N itself for every call. */
static bool copy_is_left(struct call *c)
{
    struct vfs *fs = c->view->fs;
    struct stat st;
    if (!is_removed_link(&c->place) || !fs->ops.remains ||
        c->who->ops.fd_stat(c->who, c->place.magic_fd, &st))
        return false;
    int fd = fs->ops.remains(fs, &st);
    if (fd >= 0)
        sys_close(fd);
    return fd >= 0;
}

bool call_in_removed(const struct place *p, const char *said)
{
    const char *comp;
    size_t n;
    do {
        n = path_next(&said, &comp);
    } while (n && is_dot(comp, n));
    while (*said == '/')
        said++;
    return p->removed && !p->exists && n && !is_dotdot(comp, n) && !*said;
}

int call_resolve(struct call *c, unsigned walk_flags)
{
    int err =
        resolve(c, c->row->dirfd, c->row->path, walk_flags, c->said, &c->place, &c->by_fd, &c->fd);
    if (err == 0 && copy_is_left(c))
        call_name_by_fd(c);
    return err;
}

int call_resolve2(struct call *c, unsigned walk_flags)
{
    bool by_fd;
    int fd;
    return resolve(c, c->row->dirfd2, c->row->path2, walk_flags, c->said2, &c->place2, &by_fd, &fd);
}

/* What may make a name lead elsewhere that was there before. */
static bool makes_links(const struct sysrow *row)
{
    return row->handler == CALL_SYMLINK || row->handler == CALL_LINK ||
           row->handler == CALL_RENAME || row->handler == CALL_MOUNT;
}

static void dispatch(struct call *c)
{
    switch ((enum call_handler)c->row->handler) {
    case CALL_OPEN:
        call_open(c);
        break;
    case CALL_OPENAT2:
        call_openat2(c);
        break;
    case CALL_STAT:
        call_stat(c);
        break;
    case CALL_STATX:
        call_statx(c);
        break;
    case CALL_ACCESS:
        call_access(c);
        break;
    case CALL_READLINK:
        call_readlink(c);
        break;
    case CALL_GETXATTR:
        call_getxattr(c);
        break;
    case CALL_LISTXATTR:
        call_listxattr(c);
        break;
    case CALL_SETXATTR:
        call_setxattr(c);
        break;
    case CALL_REMOVEXATTR:
        call_removexattr(c);
        break;
    case CALL_STATFS:
        call_statfs(c);
        break;
    case CALL_CHMOD:
        call_chmod(c);
        break;
    case CALL_CHOWN:
        call_chown(c);
        break;
    case CALL_UTIMES:
        call_utimes(c);
        break;
    case CALL_TRUNCATE:
        call_truncate(c);
        break;
    case CALL_FILE_ATTR:
        call_file_attr(c);
        break;
    case CALL_MKDIR:
        call_mkdir(c);
        break;
    case CALL_MKNOD:
        call_mknod(c);
        break;
    case CALL_SYMLINK:
        call_symlink(c);
        break;
    case CALL_UNLINK:
        call_unlink(c);
        break;
    case CALL_RENAME:
        call_rename(c);
        break;
    case CALL_LINK:
        call_link(c);
        break;
    case CALL_GETDENTS:
        call_getdents(c);
        break;
    case CALL_CHDIR:
        call_chdir(c);
        break;
    case CALL_FCHDIR:
        call_fchdir(c);
        break;
    case CALL_GETCWD:
        call_getcwd(c);
        break;
    case CALL_CHROOT:
        call_chroot(c);
        break;
    case CALL_WATCH:
        call_watch(c);
        break;
    case CALL_MOUNT:
        call_mount(c);
        break;
    case CALL_HANDLE:
        call_handle(c);
        break;
    case CALL_OPEN_HANDLE:
        call_done(c, -EPERM); /* a handle would reach into a layer behind the union's back */
        break;
    case CALL_PATH_READ:
        call_path_read(c);
        break;
    case CALL_PATH_WRITE:
        call_path_write(c);
        break;
    case CALL_IOCTL:
        call_ioctl(c);
        break;
    case CALL_AFFINITY:
        call_pass(c);
        break;
    case CALL_SECCOMP:
        /* One listener per filter chain: programs know the answer. */
        if (c->arg[0] == SECCOMP_SET_MODE_FILTER && (c->arg[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER))
            call_done(c, -EBUSY);
        else
            call_pass(c);
        break;
    case CALL_EXEC:
    case CALL_BIND:
    case CALL_CONNECT:
    case CALL_SENDMSG:
    case CALL_SOCKNAME:
    case CALL_IDS:
    case CALL_CREDS:
    case CALL_CLONE:
    case CALL_PTRACE:
    case CALL_PRCTL:
    case CALL_ENOSYS:
    case CALL_HANDLERS:
        call_done(c, -ENOSYS); /* the supervisor's own families never come here */
        break;
    }
}

void call_dispatch(struct call *c)
{
    if (c->view->ways && makes_links(c->row))
        ways_change(c->view->ways);
    dispatch(c);
    if (c->action == CALL_DONE && c->result == -ENAMETOOLONG)
        call_deep(c);
}

void call_settle(struct call *c, long result)
{
    c->result = result;
    c->restart = false;
    c->close_fd = -1;
    if (c->row->handler == CALL_CHDIR)
        call_chdir_settle(c, result);
    if (c->row->handler == CALL_OPEN || c->row->handler == CALL_OPENAT2)
        call_open_settle(c, result);
    if (c->row->handler == CALL_STAT || c->row->handler == CALL_STATX)
        call_stat_settle(c, result);
    if ((c->row->handler == CALL_UNLINK || c->row->handler == CALL_RENAME) && c->view->moves)
        __atomic_add_fetch(c->view->moves, 1, __ATOMIC_SEQ_CST);
}
