/* open, openat, creat, openat2: the program runs the call itself, on the real path. */
#include "call/families.h"
#include "base/sys.h"
#include "vfs/access.h"

#define MAX_ATTEMPTS 8
#define TMPFILE_BIT  (O_TMPFILE & ~O_DIRECTORY)
/* What openat2 takes, and openat ignores the rest of; and what openat adds, O_LARGEFILE, which is 0
 * in these architectures' headers. */
#define KNOWN_FLAGS                                                                                \
    (O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |          \
     O_ASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_TMPFILE)
#if defined(__x86_64__)
#define KERNEL_LARGEFILE 0100000
#else
#define KERNEL_LARGEFILE 0400000
#endif

static bool wants_write(u64 flags)
{
    return !(flags & O_PATH) &&
           ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_TRUNC | TMPFILE_BIT)));
}

static unsigned walk_flags_of(u64 flags, u64 resolve)
{
    bool nofollow = (flags & O_NOFOLLOW) || ((flags & O_CREAT) && (flags & O_EXCL));
    unsigned w = nofollow ? 0 : WALK_FOLLOW;
    if (resolve & RESOLVE_BENEATH)
        w |= WALK_BENEATH;
    if (resolve & RESOLVE_IN_ROOT)
        w |= WALK_IN_ROOT;
    if (resolve & RESOLVE_NO_SYMLINKS)
        w |= WALK_NO_SYMLINKS | WALK_NO_MAGIC;
    if (resolve & RESOLVE_NO_MAGICLINKS)
        w |= WALK_NO_MAGIC;
    if (resolve & RESOLVE_NO_XDEV)
        w |= WALK_NO_XDEV;
    return w;
}

/* Makes the program open `real` with `flags`; the mode and everything else as said. `here`: opening
 * it cannot wait and does nothing to the program, so the backend may do it. */
static void open_real(struct call *c, const char *real, u64 flags, bool here)
{
    const char *rel;
    call_rewrite_path(c, c->row->path, real);
    c->open_here = here;
    c->open_flags = flags;
    if (c->row->handler == CALL_OPENAT2) {
        c->how.flags = flags;
        if (!(flags & (O_CREAT | TMPFILE_BIT)))
            c->how.mode = 0;
        c->how.resolve = 0; /* judged on the virtual walk already */
        c->blob[c->nblobs++] =
            (struct call_blob){.arg = 2, .bytes = &c->how, .len = sizeof(c->how)};
        c->new_arg[3] = sizeof(c->how);
    } else if (wants_write(flags) && session_layer_of(c->view->session, real, &rel) >= 0) {
        /* A directory on the way may become a symlink into a lower until the program runs it. */
        u64 mode = c->arg[c->row->aux];
        c->how.flags = (flags & KNOWN_FLAGS) | KERNEL_LARGEFILE;
        c->how.mode = flags & (O_CREAT | TMPFILE_BIT) ? mode & 07777 : 0;
        c->how.resolve = RESOLVE_NO_SYMLINKS;
        c->new_nr = SYS_openat2;
        c->new_arg[0] = (u64)AT_FDCWD;
        c->new_arg[3] = sizeof(c->how);
        c->blob[c->nblobs - 1].arg = 1;
        c->blob[c->nblobs++] =
            (struct call_blob){.arg = 2, .bytes = &c->how, .len = sizeof(c->how)};
    } else if (c->row->flags >= 0) {
        c->new_arg[c->row->flags] = flags;
    } else if (!(flags & O_CREAT)) {
        /* creat(2) of a file that exists must not create: the file may vanish meanwhile */
        c->new_nr = SYS_openat;
        c->new_arg[3] = c->arg[1];
        c->new_arg[2] = flags;
        c->new_arg[0] = (u64)AT_FDCWD;
        c->blob[c->nblobs - 1].arg = 1;
    }
}

static void open_new(struct call *c, u64 flags, bool tmpfile)
{
    struct vfs *fs = c->place.node.fs;
    int err = fs->ops.create_begin(fs, c->who, &c->place.node, tmpfile, &c->pending, c->real,
                                   sizeof(c->real));
    if (err == -EAGAIN) {
        c->action = CALL_WAIT;
        return;
    }
    if (err) {
        call_done(c, err);
        return;
    }
    c->far = !c->real[0];
    open_real(c, c->real, flags, !c->far);
    c->closed = call_may_be_closed(c);
    c->settle = true;
}

/* may_create_in_sticky() for an existing link that is not followed: in a sticky directory that all
 * may write, it has to be the caller's own or that of the directory's owner. */
static bool sticky_refuses(struct call *c)
{
    const struct vnode *node = &c->place.node;
    const mode_t open_to_all = S_ISVTX | S_IWOTH;
    struct vnode *dir = &c->place2.node;
    char path[VPATH_MAX];
    memcpy(path, node->path, node->len + 1);
    size_t len = path_pop(path, node->len);
    return node->fs->ops.descend(node->fs, path, len, dir) == 0 && vnode_exists(dir) &&
           (dir->st.st_mode & open_to_all) == open_to_all && node->st.st_uid != dir->st.st_uid &&
           session_shown_uid(c->view->session, &node->st) != c->who->ops.cred(c->who)->fsuid;
}

/* What the kernel would say before it looks at permissions; 0 = go on. */
static int check_kind(struct call *c, u64 flags)
{
    const struct place *p = &c->place;
    mode_t mode = p->node.st.st_mode;
    bool mountpoint = p->last == LAST_ROOT && c->view->session->mount_len > 1;
    if ((flags & O_CREAT) && p->slash && (p->last == LAST_NAME || mountpoint))
        return -EISDIR;
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (S_ISLNK(mode)) {
        if (flags & O_DIRECTORY)
            return -ENOTDIR;
        if (flags & O_PATH)
            return 0;
        return (flags & O_CREAT) && sticky_refuses(c) ? -EACCES : -ELOOP;
    }
    if (S_ISDIR(mode)) {
        if (flags & O_PATH)
            return 0;
        if ((flags & O_TMPFILE) == O_TMPFILE)
            return 0;
        return (flags & O_CREAT) || wants_write(flags) ? -EISDIR : 0;
    }
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    return 0;
}

static void open_existing(struct call *c, u64 flags)
{
    struct vnode *node = &c->place.node;
    struct vfs *fs = node->fs;
    bool regular = S_ISREG(node->st.st_mode);
    bool write = wants_write(flags) && regular;
    int err = check_kind(c, flags);
    if (!err && !(flags & O_PATH)) {
        int acc = flags & O_ACCMODE;
        int mask = acc == O_RDONLY ? R_OK : acc == O_WRONLY ? W_OK : R_OK | W_OK;
        if (flags & O_TRUNC)
            mask |= W_OK;
        if ((flags & O_TMPFILE) != O_TMPFILE)
            err = fs->ops.permission(fs, c->who, node, mask);
    }
    if (!err && (flags & O_TMPFILE) == O_TMPFILE && !(flags & O_PATH)) {
        open_new(c, flags, true);
        return;
    }
    /* A fifo keeps its times in its inode, and its two ends have to meet: both use the upper's. */
    if (S_ISFIFO(node->st.st_mode) && !(flags & O_PATH))
        write = !c->view->session->read_only;
    if (!err && write)
        err = fs->ops.copy_up(fs, c->who, node, flags & O_TRUNC ? 0 : SIZE_MAX);
    if (err) {
        call_done(c, err);
        return;
    }
    if (c->view->session->fake)
        call_let_in(c);
    long n = fs->ops.locate(fs, node, c->real, sizeof(c->real));
    if (n == -ENAMETOOLONG)
        c->far = true;
    else if (n < 0) {
        call_done(c, n);
        return;
    }
    if (c->far)
        c->real[0] = '\0';
    if (!S_ISDIR(node->st.st_mode) && node->top != 0)
        fs->ops.opened(fs, &node->st);
    /* A path that is its own real path needs no other word: mountpoint and lower are the same. But
     * the way there may be open in the union only. */
    if (!c->place.crossed && !(flags & O_CREAT) && str_eq(c->real, c->said) &&
        !call_may_be_closed(c)) {
        call_pass(c);
        return;
    }
    open_real(c, c->real, flags & ~(u64)O_CREAT,
              (regular || S_ISDIR(node->st.st_mode)) && !(flags & O_PATH) && !c->far);
    c->closed = call_may_be_closed(c);
    c->settle = c->closed || c->far || node->top == 0;
}

/* What is there in a bind is opened where it lies; the backend may do it. */
static void open_in_bind(struct call *c, u64 flags)
{
    struct place *p = &c->place;
    struct stat st;
    if (!p->exists || p->slash || c->row->handler != CALL_OPEN || c->row->flags < 0 ||
        (flags & (O_PATH | TMPFILE_BIT)) || (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL) ||
        walk_is_magic(p->path) || sys_fstatat(AT_FDCWD, p->path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) || (S_ISDIR(st.st_mode) && (flags & O_CREAT)))
        return;
    str_copy(c->real, sizeof(c->real), p->path);
    c->open_flags = flags;
    c->open_here = true;
}

/* The list of a process's mappings names files by the union's paths. */
static bool open_maps(struct call *c, u64 flags)
{
    if (!walk_is_maps(c->place.path) || wants_write(flags) ||
        (flags & (O_PATH | O_CREAT | O_DIRECTORY | TMPFILE_BIT)))
        return false;
    if (c->view->unable)
        c->view->unable();
    if (!c->view->maps)
        return false;
    str_copy(c->real, sizeof(c->real), c->place.path);
    call_begin_rewrite(c);
    c->new_arg[c->row->path] = 0;
    c->open_flags = flags;
    c->settle = c->open_here = c->maps = true;
    return true;
}

/* A directory of a layer, opened by the layer's own path, is marked with O_APPEND (which means
 * nothing on a directory): its descriptor shall list the layer, not the union. */
static void open_outside(struct call *c, u64 flags)
{
    struct place *p = &c->place;
    struct stat st;
    bool changes = wants_write(flags) || ((flags & O_CREAT) && !p->exists);
    if (open_maps(c, flags))
        return;
    if (p->guard_layer == GUARD_BIND && changes)
        changes = call_bind_guards(c, flags & O_CREAT);
    call_outside(c, changes);
    if (c->action == CALL_REWRITE && p->bind >= 0 &&
        (p->guard_layer < 0 || p->guard_layer == GUARD_BIND))
        open_in_bind(c, flags);
    if (c->action == CALL_DONE || p->guard_layer < 0 || p->guard_layer == GUARD_BIND ||
        p->removed || (flags & O_PATH) || c->row->flags < 0 || c->row->handler != CALL_OPEN ||
        sys_fstatat(AT_FDCWD, p->path, &st, 0) < 0 || !S_ISDIR(st.st_mode))
        return;
    if (c->view->unable)
        c->view->unable();
    call_begin_rewrite(c);
    c->new_arg[c->row->flags] |= O_APPEND;
    *c->view->raw_dirs = true;
}

/* For writing, by a magic link, a lower object whose name is gone: it cannot be copied up. */
static void open_removed(struct call *c)
{
    struct stat st;
    int err = sys_fstatat(AT_FDCWD, c->place.path, &st, 0);
    bool reads = (call_flags(c) & O_ACCMODE) == O_RDWR;
    if (!err && S_ISDIR(st.st_mode))
        err = (call_flags(c) & O_TMPFILE) == O_TMPFILE ? -ENOTDIR : -EISDIR;
    if (!err)
        err = access_by_mode(&st, c->who->ops.cred(c->who), reads ? R_OK | W_OK : W_OK);
    call_done(c, err ? err : -EEXIST);
}

/* A name that is to be created, with a slash behind it. */
static bool ends_in_slash(const char *said)
{
    const char *comp;
    size_t n = 0, next;
    bool slash = false;
    while ((next = path_next(&said, &comp)) > 0) {
        n = is_dot(comp, next) || is_dotdot(comp, next) ? 0 : next;
        slash = *said == '/';
    }
    return n && slash;
}

/* A removed directory, which only its descriptor names: to be opened once more. */
static void open_removed_dir(struct call *c, u64 flags)
{
    int err = 0;
    if (flags & O_CREAT) /* O_PATH takes the others away */
        err = flags & O_EXCL ? -EEXIST : -EISDIR;
    else if ((flags & O_TMPFILE) == O_TMPFILE) /* as ext4 below it; a lower one has no copy */
        err = c->place.fd_layer == 0 ? -EPERM : -ENOTDIR;
    else if (wants_write(flags))
        err = -EISDIR;
    if (err)
        call_done(c, err);
    else
        call_pass(c);
}

static void open_with(struct call *c, u64 flags, u64 resolve)
{
    if (flags & O_PATH)
        flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    bool nonsense = (flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY) ||
                    ((flags & TMPFILE_BIT) &&
                     ((flags & O_TMPFILE) != O_TMPFILE || (flags & O_ACCMODE) == O_RDONLY));
    if (nonsense) {
        call_done(c, -EINVAL); /* build_open_flags() refuses it without looking */
        return;
    }
    unsigned how = walk_flags_of(flags, resolve);
    int err = call_resolve(c, how);
    struct place *p = &c->place;
    if ((flags & O_CREAT) && ends_in_slash(c->said)) /* looked for no further than its directory */
        err = call_resolve(c, (how & ~WALK_FOLLOW) | WALK_PARENT);
    bool slash = p->slash && p->last == LAST_NAME && p->parent_in;
    if (err && (flags & O_CREAT) &&
        (slash || (ends_in_slash(c->said) && call_in_removed(p, c->said)) ||
         (err == -ENOTDIR && p->in_union && p->exists && p->slash)))
        err = -EISDIR; /* a name to be created may not end in a slash */
    if (err) {
        call_done(c, err);
        return;
    }
    if (!p->in_union) {
        if (p->removed && p->guard_layer > 0 && wants_write(flags))
            open_removed(c); /* a removed lower file cannot be copied up any more */
        else
            open_outside(c, flags);
        return;
    }
    if (resolve & RESOLVE_CACHED) {
        call_done(c, -EAGAIN);
        return;
    }
    if (c->by_fd && p->removed) {
        open_removed_dir(c, flags);
    } else if (p->exists) {
        open_existing(c, flags);
    } else if (!(flags & O_CREAT)) {
        call_done(c, -ENOENT);
    } else if (p->slash) {
        call_done(c, -EISDIR);
    } else {
        open_new(c, flags, false);
    }
}

void call_open(struct call *c)
{
    u64 flags = O_CREAT | O_WRONLY | O_TRUNC; /* creat(2) */
    if (c->row->flags >= 0)
        flags = (u32)c->arg[c->row->flags];
    open_with(c, flags, 0);
}

/* copy_struct_from_user: what a newer structure adds must be zero. */
static int read_how(struct call *c, u64 size)
{
    u8 more[64];
    if (size < sizeof(c->how))
        return -EINVAL;
    if (size > 4096)
        return -E2BIG;
    int err = c->who->ops.read(c->who, &c->how, c->arg[2], sizeof(c->how));
    for (u64 at = sizeof(c->how); !err && at < size;) {
        size_t n = min_size(sizeof(more), size - at);
        err = c->who->ops.read(c->who, more, c->arg[2] + at, n);
        for (size_t i = 0; !err && i < n; i++)
            err = more[i] ? -E2BIG : 0;
        at += n;
    }
    return err;
}

void call_openat2(struct call *c)
{
    memset(&c->how, 0, sizeof(c->how));
    int err = read_how(c, c->arg[3]);
    if (err) {
        call_done(c, err);
        return;
    }
    const u64 known = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
                      RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;
    u64 creates = O_CREAT | TMPFILE_BIT;
    if ((c->how.resolve & ~known) || (!(c->how.flags & creates) && c->how.mode) ||
        ((c->how.flags & O_PATH) && (c->how.flags & creates)) ||
        ((c->how.resolve & RESOLVE_BENEATH) && (c->how.resolve & RESOLVE_IN_ROOT))) {
        call_done(c, -EINVAL);
        return;
    }
    open_with(c, c->how.flags, c->how.resolve);
}

/* The directory that holds the real path in c->real, with the session's rights; *name is its last
 * name. */
static int real_dir(struct call *c, const char **name)
{
    if (c->far)
        return -ENAMETOOLONG;
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_NO_SYMLINKS};
    size_t len = str_len(c->real);
    *name = path_last(c->real, len);
    memcpy(c->base, c->real, (size_t)(*name - c->real));
    c->base[*name - c->real] = '\0';
    return (int)SYS4(SYS_openat2, AT_FDCWD, c->base, &how, sizeof(how));
}

/* The upper directory in which c->place shall be made, though one on the way to it is closed. */
static int closed_dir(struct call *c)
{
    struct vnode *node = &c->place.node, *dir = &c->place2.node;
    size_t len = (size_t)(path_last(node->path, node->len) - node->path);
    int err = node->fs->ops.descend(node->fs, node->path, len ? len - 1 : 0, dir);
    return err ? err : node->fs->ops.grab(node->fs, dir);
}

/* An existing object by its name, as O_NOFOLLOW stays with the descriptor: /proc/self/fd/N cannot
 * be opened so. Where even this is refused, the flag is what gives way. */
static int open_by_name(struct call *c, int at, u64 flags, u64 mode)
{
    char path[SYS_FD_PATH];
    struct vnode *node = &c->place.node, *dir = &c->place2.node;
    int fd = -EACCES;
    if ((flags & O_NOFOLLOW) && node->len) {
        *dir = *node;
        dir->len = path_pop(dir->path, dir->len);
        int parent = node->fs->ops.grab(node->fs, dir);
        if (parent >= 0) {
            const char *name = node->path + dir->len + (dir->len ? 1 : 0);
            c->who->ops.assume(c->who);
            fd = sys_openat(parent, name, (int)flags, (unsigned)mode);
            c->who->ops.resume(c->who);
            sys_close(parent);
        }
    }
    if (fd != -EACCES)
        return fd;
    c->who->ops.assume(c->who);
    fd = sys_openat(AT_FDCWD, sys_fd_path(path, at), (int)(flags & ~(u64)O_NOFOLLOW),
                    (unsigned)mode);
    c->who->ops.resume(c->who);
    return fd;
}

/* The program was refused on its way through a layer's directories, which the merged view lets it
 * pass: what it wants is opened for it, with its own rights on the object itself. A descriptor or
 * negative errno. */
static int open_for(struct call *c, u64 flags, u64 mode)
{
    char path[SYS_FD_PATH];
    struct vnode *node = &c->place.node;
    bool make = c->pending.active && c->pending.len, wait = !(flags & (O_NONBLOCK | O_PATH));
    const char *name = NULL;
    if (!c->pending.active && !(flags & O_PATH)) {
        mode_t kind = node->st.st_mode;
        if (S_ISSOCK(kind))
            return -ENXIO;
        if (S_ISCHR(kind) || S_ISBLK(kind) || (S_ISFIFO(kind) && !(flags & O_NONBLOCK)))
            return c->far ? -ENAMETOOLONG : -EACCES; /* opening it may wait, and more */
    }
    if ((flags & O_NOATIME) && !c->pending.active && access_node_owner(c->who, node))
        return -EPERM;
    int at = make ? real_dir(c, &name) : node->fs->ops.grab(node->fs, node);
    if (make && !c->pending.staged && (at == -EACCES || c->far)) {
        at = closed_dir(c);
        name = path_last(node->path, node->len);
    }
    if (at < 0 || (flags & O_PATH && flags & O_NOFOLLOW))
        return at;
    if (flags & O_PATH) { /* with the flags that it asked for */
        int again = sys_openat(AT_FDCWD, sys_fd_path(path, at), (int)(flags | O_CLOEXEC), 0);
        sys_close(at);
        return again;
    }
    u64 now = flags | O_CLOEXEC | O_NONBLOCK;
    int fd;
    if (make) {
        c->who->ops.assume(c->who);
        fd = sys_openat(at, name, (int)now, (unsigned)mode);
        c->who->ops.resume(c->who);
    } else {
        bool nameless = (flags & O_TMPFILE) == O_TMPFILE; /* O_EXCL: it shall never have one */
        fd = open_by_name(c, at, now & ~(u64)(nameless ? 0 : O_CREAT | O_EXCL), mode);
    }
    sys_close(at);
    if (fd >= 0 && wait)
        SYS3(SYS_fcntl, fd, F_SETFL, flags & ~(u64)O_NONBLOCK);
    return fd;
}

int call_open_here(struct call *c)
{
    struct caller *who = c->who;
    bool makes = c->open_flags & (O_CREAT | TMPFILE_BIT);
    bool as_caller = makes || !who->same_as_session;
    u64 flags = c->open_flags | O_CLOEXEC | O_NONBLOCK;
    int fd;
    if (c->maps)
        return c->view->maps(c->view, who, c->real);
    if (as_caller)
        who->ops.assume(who);
    if (c->row->handler == CALL_OPENAT2) {
        struct open_how how = {.flags = flags, .mode = c->how.mode};
        fd = (int)SYS4(SYS_openat2, AT_FDCWD, c->real, &how, sizeof(how));
    } else {
        fd = sys_openat(AT_FDCWD, c->real, (int)flags, (u32)c->arg[c->row->aux]);
    }
    if (as_caller)
        who->ops.resume(who);
    if (fd >= 0 && !(c->open_flags & O_NONBLOCK))
        SYS3(SYS_fcntl, fd, F_SETFL, flags & ~(u64)O_NONBLOCK);
    return fd;
}

void call_open_settle(struct call *c, long result)
{
    u64 flags = O_CREAT | O_WRONLY | O_TRUNC;
    u64 mode = c->row->flags >= 0 ? c->arg[c->row->flags + 1] : c->arg[1];
    if (c->row->handler == CALL_OPENAT2) {
        flags = c->how.flags;
        mode = c->how.mode;
    } else if (c->row->flags >= 0) {
        flags = (u32)c->arg[c->row->flags];
    }
    if (c->maps) {
        if (result == -EFAULT) {
            c->give_fd = c->view->maps(c->view, c->who, c->real);
            c->give_cloexec = flags & O_CLOEXEC;
            c->result = c->give_fd < 0 ? c->give_fd : 0;
        }
        return;
    }
    /* By no name at all the program's own call found nothing. */
    if ((c->far && result == -ENOENT) || (result == -EACCES && c->closed)) {
        c->give_fd = open_for(c, flags, mode);
        c->give_cloexec = flags & O_CLOEXEC;
        c->result = result = c->give_fd < 0 ? c->give_fd : 0;
    }
    if (c->pending.active) {
        struct vfs *fs = c->view->fs;
        int err = fs->ops.create_end(fs, c->who, &c->pending, result);
        if (err == -EEXIST && !(flags & O_EXCL)) {
            /* Somebody else made it: say it again, and open theirs. */
            c->restart = c->attempts < MAX_ATTEMPTS;
        }
        if (err && c->give_fd >= 0) {
            sys_close(c->give_fd);
            c->give_fd = -1;
        } else if (err) {
            c->close_fd = result >= 0 ? (int)result : -1;
        }
        if (err) {
            c->result = err;
            return;
        }
    }
    /* The object moved between the walk and the program's own call, or what leads to it. */
    if (result == -ELOOP && c->new_nr == SYS_openat2 && c->attempts < MAX_ATTEMPTS)
        c->restart = true;
    if ((result == -ENXIO || (result == -ENOENT && (flags & O_CREAT))) &&
        c->attempts < MAX_ATTEMPTS && S_ISREG(c->place.node.st.st_mode) && c->place.exists)
        c->restart = true;
}
