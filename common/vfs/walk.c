#include "vfs/walk.h"
#include "binds.h"
#include "vfs/plain.h"
#include "vfs/ways.h"
#include "base/sys.h"
#include "vfs/access.h"

#define LINKS_MAX 40 /* path_resolution(7) */

/* A walk under way. The text still to do lies right-aligned in todo[], so that the text of a
 * symlink can be put before it. */
struct steps {
    const struct view *view;
    struct caller *who;
    struct place *at;
    unsigned flags;
    const char *base; /* root of the walk for BENEATH and IN_ROOT */
    unsigned links;
    bool powerful;    /* search permission needs no look */
    bool native;      /* so far the kernel, given the program's words, stands where the walk does */
    bool last, slash; /* of the component at hand */
    bool own;         /* who walks has a say in where it leads */
    bool trailing;    /* it belongs to the text of a link that the path ended in */
    char *rest;       /* in todo */
    char todo[PATH_MAX + PLACE_PATH_MAX];
};

/* Stands in a bind, where the kernel needs other words than the program's. What is hidden is not
 * there, and no name for anything. */
static int stand_in_bind(struct steps *w, int bind, const char *rest)
{
    struct place *at = w->at;
    if (w->view->unable)
        w->view->unable();
    if (w->view->session->bind[bind].hidden) {
        at->in_union = true;
        return -ENOENT;
    }
    w->native = false;
    return walk_into_bind(w->view, bind, rest, at);
}

/* Stands at the canonical virtual path `path`, which is a directory as far as the walk cares. */
static int stand_at(struct steps *w, const char *path)
{
    struct place *at = w->at;
    const char *rel;
    const struct session *s = w->view->session;
    bool was_in = at->in_union;
    int bind = s->nbinds ? bind_covering(s, path, str_len(path), &rel) : -1;
    at->bind_root = false;
    if (bind >= 0)
        return stand_in_bind(w, bind, rel);
    at->bind = -1;
    long n = str_copy(at->path, sizeof(at->path), path);
    if (n < 0)
        return (int)n;
    at->len = (size_t)n;
    at->exists = true;
    at->in_union = session_below_mount(s, at->path, &rel);
    if (was_in && !at->in_union)
        at->crossed = true;
    if (!at->in_union)
        return 0;
    struct vfs *fs = w->view->fs;
    int err = fs->ops.descend(fs, rel, str_len(rel), &at->node);
    if (err == -EAGAIN) {
        /* A place given as canonical is one of directories; one that cannot be descended to was
         * changed meanwhile. */
        return -ENOENT;
    }
    at->exists = err == 0 && vnode_exists(&at->node);
    return err;
}

static const char *root_of(const struct steps *w)
{
    return w->view->root ? w->view->root : "/";
}

/* Puts text (n bytes at the front of todo) before what is still to do. */
static int prepend(struct steps *w, size_t n)
{
    size_t room = (size_t)(w->rest - w->todo);
    if (n + 1 > room)
        return -ENAMETOOLONG;
    char *to = w->rest - n;
    if (*w->rest && *w->rest != '/') {
        if (n + 2 > room)
            return -ENAMETOOLONG;
        to[-1] = '\0';
        to--;
        memmove(to, w->todo, n);
        to[n] = '/';
    } else {
        memmove(to, w->todo, n);
    }
    w->rest = to;
    return 0;
}

static int jump(struct steps *w, int layer, const char *rel)
{
    struct place *at = w->at;
    const struct session *s = w->view->session;
    struct vfs *fs = w->view->fs;
    struct stat st;
    int err = sys_fstatat(AT_FDCWD, at->path, &st, 0);
    if (err)
        return err;
    if (walk_foreign(s, layer, w->todo, &st))
        return w->last ? 0 : -ENOTDIR;
    err = fs->ops.reverse(fs, (unsigned)layer, rel, &st, &at->node);
    if (err) {
        at->removed = true;
        if (layer > 0) /* a removed object of the upper may be changed as any other */
            at->guard_layer = layer;
        return w->last ? 0 : -ENOENT;
    }
    size_t len = 0;
    err = path_push(at->path, sizeof(at->path), &len, session_mount(s), s->mount_len);
    if (!err && at->node.len)
        err = path_push(at->path, sizeof(at->path), &len, at->node.path, at->node.len);
    at->len = len;
    at->in_union = at->exists = at->crossed = true;
    at->bind = -1;
    return err;
}

/* through_magic() to what lies at `rest` (in todo) in a bind: directories are entered by name. */
static int magic_in_bind(struct steps *w, int bind, const char *rest)
{
    const struct session *s = w->view->session;
    struct stat st;
    size_t n = str_len(rest), far = PATH_MAX;
    if (s->bind[bind].read_only && w->last)
        w->at->guard_layer = GUARD_BIND;
    if (sys_fstatat(AT_FDCWD, w->at->path, &st, 0) || !S_ISDIR(st.st_mode))
        return w->last ? 0 : -ENOTDIR;
    if (w->last) /* the kernel goes there; what it is called decides nothing */
        return 0;
    if (far + n >= (size_t)(w->rest - w->todo))
        return -ENAMETOOLONG;
    memmove(w->todo + far, rest, n + 1);
    long len = bind_guest_path(s, bind, w->todo + far, w->todo, far);
    return len < 0 ? (int)len : 1;
}

/* The text of n bytes in todo is said from the caller's root on: 1, or -ENAMETOOLONG. */
static int from_root(struct steps *w, size_t n)
{
    const char *root = w->view->root;
    size_t len = root ? str_len(root) : 0;
    if (!root)
        return 1;
    if (len + n + 1 >= (size_t)(w->rest - w->todo))
        return -ENAMETOOLONG;
    memmove(w->todo + len, w->todo, n + 1);
    memcpy(w->todo, root, len);
    return 1;
}

/* The link at host path at->path is a magic one with the kernel's text of n bytes at the front of
 * todo. 1: go on with the (virtual) text put before the rest; 0: the walk stands where it leads,
 * or it is the end of the walk as far as names go; negative errno. */
static int through_magic(struct steps *w, size_t n)
{
    struct place *at = w->at;
    const struct session *s = w->view->session;
    u64 pid, fd;
    const char *rest = walk_proc_rest(at->path, &pid), *rel;
    struct stat st;
    w->todo[n] = '\0';
    if (w->view->unable)
        w->view->unable();
    at->crossed |= at->bind >= 0;
    if (w->flags & (WALK_NO_MAGIC | WALK_NO_SYMLINKS))
        return -ELOOP;
    if (w->flags & (WALK_BENEATH | WALK_IN_ROOT | WALK_NO_XDEV))
        return -EXDEV;
    if (++w->links > LINKS_MAX)
        return -ELOOP;
    w->trailing |= w->last;
    if (str_eq(rest, "exe")) {
        long m = w->who->ops.exe(w->who, (int)pid, w->todo, PATH_MAX);
        if (m > 0)
            return from_root(w, (size_t)m);
    }
    if (w->last && str_starts(rest, "fd/") && (int)pid == w->who->tgid) {
        str_to_u64(rest + 3, &fd);
        at->magic_fd = (int)fd;
    }
    if (w->todo[0] != '/')
        return 0; /* a pipe, a socket: only the kernel can go there */
    if (n == 1 && str_eq(rest, "root"))
        return from_root(w, 1); /* the root of the program's view, whatever layer "/" is */
    int layer = session_layer_of(s, w->todo, &rel);
    if (layer >= 0)
        return jump(w, layer, rel);
    int bind = s->nbinds ? bind_of_real(s, w->todo, &rel) : -1;
    if (bind >= 0)
        return magic_in_bind(w, bind, rel);
    if (!session_below_mount(s, w->todo, &rel))
        return !w->last;
    /* a directory that the mountpoint covers counts as the union; other things of that name are not
     * the union's */
    if (sys_fstatat(AT_FDCWD, at->path, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return 1;
    return w->last ? 0 : -ENOTDIR;
}

/* A symlink with n bytes of text at the front of todo has to be followed. The walk stands at the
 * directory that holds it (at->path). */
static int through_link(struct steps *w, size_t n)
{
    if (w->flags & WALK_NO_SYMLINKS)
        return -ELOOP;
    if (++w->links > LINKS_MAX)
        return -ELOOP;
    if (n == 0)
        return -ENOENT;
    bool absolute = w->todo[0] == '/', in = w->at->in_union;
    w->trailing |= w->last;
    int err = prepend(w, n);
    if (err || !absolute)
        return err;
    if (w->flags & WALK_BENEATH)
        return -EXDEV;
    err = stand_at(w, w->flags & WALK_IN_ROOT ? w->base : root_of(w));
    if (!err && in != w->at->in_union && (w->flags & WALK_NO_XDEV))
        return -EXDEV;
    return err;
}

static int go_up(struct steps *w)
{
    struct place *at = w->at;
    char *up = w->todo; /* free room: the text to do is at the far end */
    long len = walk_name_of(w->view, at, up, (size_t)(w->rest - w->todo));
    if (len < 0)
        return (int)len;
    if ((w->flags & (WALK_BENEATH | WALK_IN_ROOT)) && str_eq(up, w->base))
        return w->flags & WALK_BENEATH ? -EXDEV : 0;
    if (w->view->root && str_eq(up, w->view->root))
        return 0;
    size_t left = path_pop(up, (size_t)len);
    if (left == 1 && w->view->root_is_mount && !at->in_union)
        return stand_at(w, w->view->root); /* from /proc, /sys, /dev */
    bool in = at->in_union;
    int err = stand_at(w, up);
    if (!err && in != at->in_union && (w->flags & WALK_NO_XDEV))
        return -EXDEV;
    return err;
}

static bool follow_last(const struct steps *w)
{
    return !w->last || (w->flags & WALK_FOLLOW) || (w->slash && !(w->flags & WALK_PARENT));
}

/* may_follow_link(): in a sticky directory that all may write, the last link of a path has to be
 * the follower's own or that of the directory's owner. */
static bool protected_link(const struct steps *w, const struct stat *dir, const struct stat *link)
{
    const mode_t open_to_all = S_ISVTX | S_IWOTH;
    return w->view->session->protected_symlinks && w->last &&
           (dir->st_mode & open_to_all) == open_to_all && link->st_uid != dir->st_uid &&
           session_shown_uid(w->view->session, link) != w->who->ops.cred(w->who)->fsuid;
}

static int step_union(struct steps *w, const char *name, size_t n)
{
    struct place *at = w->at;
    struct vfs *fs = w->view->fs;
    struct vnode *node = &at->node;
    size_t len = at->len;
    /* The parent is needed again where the name turns out to be a symlink: remember its length. */
    size_t parent_len = node->len;
    struct stat dir = node->st;
    int err = fs->ops.lookup(fs, node, name, n, node);
    if (err)
        return err;
    if (!vnode_exists(node)) {
        if (!w->last)
            return -ENOENT;
        at->exists = false;
    } else if (vnode_is_link(node) && follow_last(w)) {
        if (protected_link(w, &dir, &node->st))
            return -EACCES;
        long got = fs->ops.readlink(fs, node, w->todo, (size_t)(w->rest - w->todo));
        if (got < 0)
            return (int)got;
        err = through_link(w, (size_t)got);
        if (err || *w->rest == '/')
            return err;
        /* Back to the directory: the link's own name is not part of where the walk stands. */
        if (parent_len >= (size_t)(w->rest - w->todo))
            return -ENAMETOOLONG;
        memcpy(w->todo, node->path, parent_len);
        w->todo[parent_len] = '\0';
        err = fs->ops.descend(fs, w->todo, parent_len, node);
        return err == -EAGAIN ? -ENOENT : err;
    }
    err = path_push(at->path, sizeof(at->path), &len, name, n);
    at->len = len;
    return err;
}

/* readlink and access of a host path as the caller, for whom its directories may be closed. Magic
 * links are read as the session: a process may follow its own, whatever its ids became. */
static long host_readlink(struct steps *w, char *buf, size_t cap)
{
    struct caller *who = w->who;
    bool other = !who->same_as_session && !walk_is_magic(w->at->path);
    if (other)
        who->ops.assume(who);
    long got = sys_readlinkat(AT_FDCWD, w->at->path, buf, cap);
    if (other)
        who->ops.resume(who);
    return got;
}

static bool host_closed(struct steps *w)
{
    struct caller *who = w->who;
    if (w->powerful)
        return false;
    who->ops.assume(who);
    int r = sys_faccessat2(AT_FDCWD, w->at->path, X_OK, AT_EACCESS);
    who->ops.resume(who);
    return r == -EACCES;
}

/* A directory of the host, or a name that is only there because the mountpoint lies below. */
static int host_dir(struct steps *w)
{
    struct stat st;
    int err = sys_fstatat(AT_FDCWD, w->at->path, &st, AT_SYMLINK_NOFOLLOW);
    if (err == -ENOENT && w->at->bind < 0 &&
        path_below(session_mount(w->view->session), w->at->path, NULL))
        return 0;
    if (err)
        return err;
    if (!S_ISDIR(st.st_mode))
        return -ENOTDIR;
    return host_closed(w) ? -EACCES : 0;
}

static int enter_union(struct steps *w)
{
    struct place *at = w->at;
    if ((w->flags & WALK_NO_XDEV) && !(w->last && (w->flags & WALK_PARENT)))
        return -EXDEV;
    at->in_union = true;
    w->native = false;
    return w->view->fs->ops.root(w->view->fs, &at->node);
}

/* /proc/self and /proc/thread-self are the program's: their text, 0 for any other name. */
static long own_proc(const struct steps *w, const char *name, size_t n, char *text)
{
    size_t len = str_from_u64(text, (u64)w->who->tgid);
    if (n == 4 && str_eq_n(name, "self", 4))
        return (long)len;
    if (n != 11 || !str_eq_n(name, "thread-self", 11))
        return 0;
    memcpy(text + len, "/task/", 6);
    len += 6;
    return (long)(len + str_from_u64(text + len, (u64)w->who->tid));
}

static int step_host(struct steps *w, const char *name, size_t n)
{
    struct place *at = w->at;
    const struct session *s = w->view->session;
    size_t parent_len = at->len;
    u64 pid;
    bool in_proc = str_eq(at->path, "/proc");
    bool may_enter = at->len < s->mount_len && at->bind < 0;
    if (may_enter && at->len + 1 + n >= s->mount_len &&
        path_below(session_mount(s), at->path, NULL) && host_closed(w))
        return -EACCES;
    at->bind_root = false;
    int err = path_push(at->path, sizeof(at->path), &at->len, name, n);
    if (err)
        return err;
    if (may_enter && str_eq(at->path, session_mount(s)))
        return enter_union(w);
    w->own |= in_proc; /* who is asking decides what is there */
    if (in_proc && w->view->unable)
        w->view->unable();
    long got = in_proc ? own_proc(w, name, n, w->todo) : 0;
    if (!got) {
        got = host_readlink(w, w->todo, min_size((size_t)(w->rest - w->todo), PATH_MAX) - 1);
        if (got == -EINVAL)
            return 0; /* there, and no link */
        if (got == -ENOENT && at->bind < 0 && path_below(session_mount(s), at->path, NULL))
            return 0; /* a directory that is only there because the mountpoint lies below */
        if (got < 0 && walk_is_magic(at->path)) {
            /* Where it leads is not known: it may be a lower object, so the kernel is not asked. */
            at->crossed = follow_last(w);
            return at->crossed ? (int)got : 0;
        }
        if (got < 0) {
            at->exists = false;
            return got == -ENOENT && w->last ? 0 : (int)got;
        }
        if (!follow_last(w))
            return 0;
        if (walk_is_magic(at->path)) {
            int magic = through_magic(w, (size_t)got);
            if (magic <= 0)
                return magic;
            err = prepend(w, str_len(w->todo));
            return err ? err : stand_at(w, "/");
        }
        if (w->todo[0] != '/' && walk_proc_rest(at->path, &pid))
            return w->flags & (WALK_NO_MAGIC | WALK_NO_SYMLINKS) ? -ELOOP : 0; /* ns/mnt */
    }
    if (!follow_last(w))
        return 0;
    at->len = parent_len;
    at->path[at->len] = '\0';
    return through_link(w, (size_t)got);
}

/* Where the walk stands must be a directory that the caller may search, before any component. */
static int may_search(struct steps *w)
{
    struct place *at = w->at;
    if (!at->in_union)
        return 0;
    if (!vnode_exists(&at->node))
        return -ENOENT;
    if (!vnode_is_dir(&at->node))
        return -ENOTDIR;
    if (w->powerful || (at->node.st.st_mode & 0111) == 0111)
        return 0;
    return at->node.fs->ops.permission(at->node.fs, w->who, &at->node, X_OK);
}

/* A name in the union's root that is the host's. */
static bool is_kernels(const struct view *view, const char *name)
{
    return session_host_name(view->session, name) ||
           (view->root_is_mount && session_kernel_name(view->session, name));
}

/* 1: the name is neither bound nor hidden. */
static int step_bind(struct steps *w, const char *name, size_t n)
{
    const struct session *s = w->view->session;
    struct place *at = w->at;
    const char *dir = at->path;
    long len = (long)at->len;
    if (at->bind >= 0) { /* in a bind, in another */
        len = walk_name_of(w->view, at, w->todo, (size_t)(w->rest - w->todo));
        dir = w->todo;
    }
    int bind = len < 0 ? -1 : bind_at(s, dir, (size_t)len, name, n);
    if (bind < 0)
        return 1;
    if (w->flags & WALK_NO_XDEV)
        return -EXDEV;
    int err = stand_in_bind(w, bind, "");
    at->bind_root = err == 0;
    return err;
}

static int step(struct steps *w)
{
    const char *p = w->rest, *name, *q;
    size_t n = path_next(&p, &name);
    struct place *at = w->at;
    if (n == 0) {
        w->rest = (char *)p;
        return 0;
    }
    for (q = p; *q == '/'; q++)
        ;
    w->last = *q == '\0';
    w->slash = w->last && *p == '/';
    w->rest = (char *)p;
    int err = may_search(w);
    if (err)
        return err;
    if (n > COMPONENT_MAX)
        return -ENAMETOOLONG;
    if (w->last) {
        at->slash = w->slash;
        if (!w->trailing)
            at->last = LAST_NAME;
        at->parent_in = at->in_union;
    }
    bool dot = is_dot(name, n), dotdot = is_dotdot(name, n);
    if ((dot || dotdot) && !at->in_union && at->len > 1)
        err = host_dir(w);
    if (err)
        return err;
    if (dot || dotdot) {
        if (w->last) {
            at->slash = true;
            if (!w->trailing)
                at->last = dot ? LAST_DOT : LAST_DOTDOT;
        }
        return dot ? 0 : go_up(w);
    }
    if (w->view->session->nbinds) {
        err = step_bind(w, name, n);
        if (err <= 0)
            return err;
    }
    if (at->in_union && at->node.len == 0 && is_kernels(w->view, name)) {
        if (w->flags & WALK_NO_XDEV)
            return -EXDEV;
        at->len = 1;
        at->path[1] = '\0';
        at->in_union = false;
        at->crossed |= !w->native;
    }
    if (!at->in_union)
        return step_host(w, name, n);
    w->native = false;
    return step_union(w, name, n);
}

static int guarded(const struct view *view, struct place *place)
{
    const char *rel;
    if (place->bind >= 0 && view->session->bind[place->bind].read_only)
        place->guard_layer = GUARD_BIND;
    if (!place->in_union && place->guard_layer < 0 && view->session->guard)
        place->guard_layer = session_layer_of(view->session, place->path, &rel);
    return 0;
}

int walk(const struct view *view, struct caller *who, const char *base, const char *path,
         unsigned flags, struct place *place)
{
    struct steps w;
    size_t n = str_len(path);
    place->in_union = place->exists = place->slash = place->crossed = place->removed = false;
    place->parent_in = place->bind_root = false;
    place->bind = -1;
    place->host_error = 0;
    place->last = LAST_ROOT;
    place->magic_fd = place->guard_layer = place->fd_layer = -1;
    if (n == 0)
        return -ENOENT;
    if (n >= PATH_MAX)
        return -ENAMETOOLONG;
    if (!view->unable)
        flags &= ~(unsigned)WALK_ASKED;
    struct ways *ways = path[0] == '/' && !(flags & ~(unsigned)WALK_FOLLOW) && who->same_as_session
                            ? view->ways
                            : NULL;
    if (ways && ways_known(ways, path, n, flags, place))
        return guarded(view, place);
    w.own = false;
    int fast = walk_fast(view, who, base, path, flags, place);
    if (fast < 0) {
        place->exists = false;
        return fast;
    }
    if (!fast) {
        w.view = view;
        w.who = who;
        w.at = place;
        w.flags = flags;
        w.base = base;
        w.native = path[0] == '/';
        w.links = 0;
        w.powerful = walk_searches_all(who);
        w.last = w.slash = w.trailing = false;
        w.rest = w.todo + sizeof(w.todo) - n - 1;
        memcpy(w.rest, path, n + 1);
        place->in_union = place->slash = false;
        if (path[0] == '/' && (flags & WALK_BENEATH))
            return -EXDEV;
        bool at_root = path[0] == '/' && !(flags & WALK_IN_ROOT);
        int err = stand_at(&w, at_root ? root_of(&w) : base);
        place->crossed = place->bind >= 0 || view->root;
        while (!err && *w.rest)
            err = step(&w);
        if (err) {
            place->exists = false;
            return err;
        }
    }
    guarded(view, place);
    if (ways && !w.own)
        ways_note(ways, path, n, flags, place);
    if (place->in_union && place->slash && place->exists && !vnode_is_dir(&place->node) &&
        !(flags & WALK_PARENT))
        return -ENOTDIR;
    return 0;
}
