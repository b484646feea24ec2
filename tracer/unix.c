/* AF_UNIX sockets with names in the union.
 *
 * bind is done here, on the program's socket: one stop, no rewriting, and no limit on the real
 * path. connect and send are executed by the program (the peer asks for its credentials), with the
 * real path or, where that is too long for an address, a symlink to it. Results are given back in
 * the words of the program that bound the name. */
#include "base/str.h"
#include "base/sys.h"
#include "binds.h"
#include "tracer/inject.h"
#include "tracer/remote.h"
#include "tracer/sockname.h"
#include "tracer/supervise.h"
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALIAS_MAX    64
#define MESSAGES_MAX 1024 /* UIO_MAXIOV: of a sendmmsg */

/* Of a call under way, in task->extra. */
struct unix_state {
    char alias[ALIAS_MAX]; /* a symlink to take away, "" = none */
    bool one_of_many;      /* a sendmmsg that sends its first message only */
    int cap;               /* room for an address, as said; -1 = none asked for */
};

/* The program's descriptor, where it is an AF_UNIX socket; -1 where not. */
static int get_socket(struct task *t, int fd)
{
    int domain = 0;
    socklen_t len = sizeof(domain);
    int own = t->who.ops.fd_get(&t->who, fd);
    if (own < 0)
        return -1;
    if (getsockopt(own, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX)
        return own;
    t->who.ops.fd_put(&t->who, own);
    return -1;
}

static bool is_unix(struct task *t, int fd)
{
    int own = get_socket(t, fd);
    if (own >= 0)
        t->who.ops.fd_put(&t->who, own);
    return own >= 0;
}

static struct unix_state *new_state(struct task *t, struct call *c)
{
    struct unix_state *s = calloc(1, sizeof(*s));
    if (s) {
        s->cap = -1;
        t->extra = s;
        c->settle = true;
    } else {
        call_done(c, -ENOMEM);
    }
    return s;
}

/* Which argument the address is. */
static unsigned address_arg(const struct call *c)
{
    return (u8)c->row->aux;
}

/* Resolves the path in c->said from the program's cwd. */
static int resolve(struct call *c, unsigned flags)
{
    const char *base, *path = c->said;
    int err = call_start(c, AT_FDCWD, &path, 0, &base, &c->place);
    if (err > 0) /* a removed directory is there all the same */
        return flags & WALK_PARENT ? -EADDRINUSE : -ECONNREFUSED;
    return err ? err : walk(c->view, c->who, base, path, flags, &c->place);
}

/* -- bind ----------------------------------------------------------------------------------------
 */

static int bind_as(struct task *t, int sock, const char *path)
{
    struct sockaddr_un un;
    long len = sockname_fill(&un, path);
    if (len < 0)
        return (int)len;
    t->who.ops.assume(&t->who);
    int r = bind(sock, (struct sockaddr *)&un, (socklen_t)len) < 0 ? -errno : 0;
    t->who.ops.resume(&t->who);
    return r;
}

/* The directory that a socket is to be bound in. In the union it is reached also where the way
 * there is closed to the session, an ordinary user's. */
static int open_dir(struct call *c, const char *real)
{
    struct vnode *node = &c->place.node, *dir = &c->place2.node;
    int fd = sys_openat(AT_FDCWD, real, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd != -EACCES || !c->place.in_union || c->pending.staged)
        return fd;
    size_t len = (size_t)(path_last(node->path, node->len) - node->path);
    int err = node->fs->ops.descend(node->fs, node->path, len ? len - 1 : 0, dir);
    return err ? err : node->fs->ops.grab(node->fs, dir);
}

/* By its last name, from its directory: any path, and the caller needs to reach only that. */
static int bind_in_place(struct task *t, struct call *c, int sock, const char *dir,
                         const char *name)
{
    static bool own_cwd;
    if (!own_cwd) {
        unshare(CLONE_FS); /* a cwd of this thread's own */
        own_cwd = true;
    }
    int back = sys_openat(AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int there = open_dir(c, dir);
    int r = there < 0 ? there : 0;
    if (!r && fchdir(there) < 0)
        r = -errno;
    if (!r) {
        r = bind_as(t, sock, name);
        if (back < 0 || fchdir(back) < 0)
            r = chdir("/") < 0 ? -errno : r;
    }
    if (back >= 0)
        sys_close(back);
    if (there >= 0)
        sys_close(there);
    return r;
}

/* Two sockets may be bound at one place, one after the other, by different words: more leading
 * slashes, which mean nothing, keep their addresses apart. */
static void tell_apart(char *address, size_t cap, const char *said)
{
    const char *other;
    size_t n = strlen(address);
    while ((other = sockname_said(address)) && strcmp(other, said) != 0 && n + 2 < cap) {
        memmove(address + 1, address, ++n);
        address[0] = '/';
        address[n] = '\0';
    }
}

/* Binds at the real path, by an address that says where it is (a peer outside the session may want
 * to answer) where that can be. */
static int bind_real(struct task *t, struct call *c, int sock, const char *real)
{
    char dir[PLACE_PATH_MAX], address[SOCKNAME_MAX + 1];
    size_t n = strlen(real);
    const char *name = path_last(real, n);
    memcpy(dir, real, n + 1);
    dir[path_pop(dir, n)] = '\0';
    int r = -ENAMETOOLONG;
    address[0] = '\0';
    if (str_copy(address, sizeof(address), real) >= 0) {
        tell_apart(address, sizeof(address), c->said);
        r = bind_as(t, sock, address);
    } else if (ALIAS_MAX + strlen(name) < sizeof(address)) {
        r = sockname_alias(c->view->session, dir, address, ALIAS_MAX);
        if (!r) {
            size_t len = strlen(address);
            path_push(address, sizeof(address), &len, name, strlen(name));
            r = bind_as(t, sock, address);
            if (r) {
                address[len - strlen(name) - 1] = '\0';
                sockname_unalias(address);
            }
        }
    }
    if (r == -ENAMETOOLONG || r == -EACCES || r == -ENOENT) {
        str_copy(address, sizeof(address), name);
        r = bind_in_place(t, c, sock, dir, name);
    }
    if (!r)
        sockname_remember(address, c->said);
    return r;
}

/* The name is taken, as bind says it. */
static int taken(int err)
{
    return err == -EEXIST ? -EADDRINUSE : err;
}

/* Is the name one of the host's, which the kernel may be given as the program says it? A thread
 * could say another one meanwhile, and a removed directory of a layer is alive to the kernel. */
static bool kernels_own(const struct call *c)
{
    const struct place *p = &c->place;
    return !p->in_union && !p->crossed && !p->removed && p->guard_layer < 0 &&
           !c->who->shares_memory;
}

static int bind_path(struct task *t, struct call *c, int sock)
{
    struct place *p = &c->place;
    struct vfs *fs = c->view->fs;
    int err = resolve(c, WALK_PARENT);
    bool pass = kernels_own(c);
    if (err)
        return pass ? 1 : err;
    if (p->last != LAST_NAME || p->exists || p->bind_root)
        return pass ? 1 : -EADDRINUSE;
    if (p->slash && !pass)
        return -ENOENT;
    if (!p->in_union) {
        if (p->guard_layer >= 0)
            return -EROFS;
        return pass ? 1 : bind_real(t, c, sock, p->path);
    }
    err = fs->ops.create_begin(fs, c->who, &p->node, false, &c->pending, c->real, sizeof(c->real));
    if (err)
        return taken(err);
    int r = c->real[0] ? bind_real(t, c, sock, c->real) : -ENAMETOOLONG;
    err = fs->ops.create_end(fs, c->who, &c->pending, r);
    return taken(r ? r : err);
}

static void do_bind(struct task *t, struct call *c)
{
    int sock =
        sockname_read(t, c->arg[1], c->arg[2], c->said) > 0 ? get_socket(t, (int)c->arg[0]) : -1;
    if (sock < 0) {
        call_pass(c);
        return;
    }
    int r = bind_path(t, c, sock);
    t->who.ops.fd_put(&t->who, sock);
    if (r == -EAGAIN)
        c->action = CALL_WAIT;
    else if (r > 0)
        call_pass(c);
    else
        call_done(c, r);
}

/* -- connect and send ----------------------------------------------------------------------------
 */

/* Is the way to the socket, which the program may use in the union, closed to it in the layer? */
static bool way_closed(struct task *t, struct call *c, const char *real)
{
    char dir[PLACE_PATH_MAX];
    size_t n = strlen(real);
    if (!call_may_be_closed(c))
        return false;
    memcpy(dir, real, n + 1);
    dir[path_pop(dir, n)] = '\0';
    t->who.ops.assume(&t->who);
    int r = sys_faccessat2(AT_FDCWD, dir, X_OK, AT_EACCESS);
    t->who.ops.resume(&t->who);
    return r == -EACCES;
}

/* Another name for the peer at c->place, or (`real`) a short one: fills *un, its length. */
static long by_alias(struct task *t, struct call *c, const char *real, struct sockaddr_un *un)
{
    const struct session *session = c->view->session;
    struct vfs *fs = c->view->fs;
    struct unix_state *s = new_state(t, c);
    if (!s)
        return -ENOMEM;
    int fd = real ? -1 : fs->ops.grab(fs, &c->place.node);
    int r = real     ? sockname_alias(session, real, s->alias, sizeof(s->alias))
            : fd < 0 ? fd
                     : sockname_alias_fd(session, fd, s->alias, sizeof(s->alias));
    if (fd >= 0)
        sys_close(fd);
    return r ? r : sockname_fill(un, s->alias);
}

/* Resolves the address at `addr` of a peer. 0: the kernel may have it as it is; -errno: refused;
 * length of the address in *un otherwise. */
static long find_peer(struct task *t, struct call *c, u64 addr, u64 len, struct sockaddr_un *un)
{
    struct place *p = &c->place;
    const char *real = c->real;
    if (sockname_read(t, addr, len, c->said) <= 0 || !is_unix(t, (int)c->arg[0]))
        return 0;
    long r = resolve(c, WALK_FOLLOW);
    if (!p->in_union) {
        if (!p->crossed)
            return 0;
        real = p->path;
    } else if (!r && !p->exists) {
        r = -ENOENT;
    } else if (!r && (p->node.top != 0 || !S_ISSOCK(p->node.st.st_mode))) {
        /* A socket of a lower is a name only, whoever listens at it (kernel overlayfs). */
        r = p->node.fs->ops.permission(p->node.fs, c->who, &p->node, W_OK);
        r = r ? r : -ECONNREFUSED;
    } else if (!r) {
        r = p->node.fs->ops.locate(p->node.fs, &p->node, c->real, sizeof(c->real));
    }
    if (r < 0)
        return r;
    if (p->in_union && way_closed(t, c, real))
        return by_alias(t, c, NULL, un);
    r = sockname_fill(un, real);
    return r == -ENAMETOOLONG ? by_alias(t, c, real, un) : r;
}

static void do_connect(struct task *t, struct call *c)
{
    unsigned arg = address_arg(c);
    struct sockaddr_un un;
    long len = find_peer(t, c, c->arg[arg], c->arg[arg + 1], &un);
    if (len == 0) {
        call_pass(c);
    } else if (len < 0) {
        call_done(c, len);
    } else {
        memcpy(c->said2, &un, sizeof(un));
        c->action = CALL_REWRITE;
        c->new_nr = c->row->nr;
        memcpy(c->new_arg, c->arg, sizeof(c->arg));
        c->new_arg[arg + 1] = (u64)len;
        c->blob[c->nblobs++] =
            (struct call_blob){.arg = (int)arg, .bytes = c->said2, .len = (size_t)len};
    }
}

/* Sends one message, its header at `addr`. False where the kernel may have it as it is. */
static bool send_one(struct task *t, struct call *c, u64 addr)
{
    struct {
        struct msghdr header;
        struct sockaddr_un name;
    } m;
    bool again = false;
    if (remote_read(t, &m.header, addr, sizeof(m.header)) || !m.header.msg_name)
        return false;
    long len = find_peer(t, c, (u64)m.header.msg_name, m.header.msg_namelen, &m.name);
    if (len == 0)
        return false;
    if (len > 0 && t->noticed) { /* at a stop, then */
        c->action = CALL_REWRITE;
        return true;
    }
    u64 at = len > 0 ? scratch_get(t, sizeof(m), &again) : 0;
    if (again) {
        c->restart = true;
        return true;
    }
    if (len > 0 && !at)
        len = -ENOMEM;
    if (len > 0) {
        m.header.msg_name = (void *)(at + offsetof(typeof(m), name));
        m.header.msg_namelen = (socklen_t)len;
        int err = remote_poke(t, at, &m, sizeof(m));
        len = err ? err : len;
    }
    if (len < 0) {
        call_done(c, len);
        return true;
    }
    c->action = CALL_REWRITE;
    c->new_nr = SYS_sendmsg;
    memcpy(c->new_arg, c->arg, sizeof(c->arg));
    c->new_arg[1] = at;
    return true;
}

/* The kernel writes into the headers of a sendmmsg, which therefore stay where they are. It may
 * always send fewer messages than asked for: those before one that needs our help, or that one. */
static void send_many(struct task *t, struct call *c)
{
    u32 n = (u32)c->arg[2];
    for (u32 i = 0; i < n && i < MESSAGES_MAX; i++) {
        struct sockaddr_un un;
        struct mmsghdr m;
        if (remote_read(t, &m, c->arg[1] + i * sizeof(m), sizeof(m)))
            break;
        if (!m.msg_hdr.msg_name)
            continue;
        if (i == 0) {
            if (!send_one(t, c, c->arg[1]))
                continue;
            if (c->action != CALL_REWRITE || c->restart)
                return;
            struct unix_state *s = t->extra ? t->extra : new_state(t, c);
            if (s)
                s->one_of_many = true;
            c->new_arg[2] = c->arg[3]; /* flags */
            return;
        }
        long len = find_peer(t, c, (u64)m.msg_hdr.msg_name, m.msg_hdr.msg_namelen, &un);
        if (len == 0)
            continue;
        unix_settle(t, c, -ECANCELED); /* an alias made for nothing */
        c->settle = false;
        c->action = CALL_REWRITE;
        c->new_nr = c->row->nr;
        memcpy(c->new_arg, c->arg, sizeof(c->arg));
        c->new_arg[2] = i;
        return;
    }
    call_pass(c);
}

static void do_send(struct task *t, struct call *c)
{
    if (c->row->nr == SYS_sendmmsg)
        send_many(t, c);
    else if (!send_one(t, c, c->arg[1]))
        call_pass(c);
}

/* -- names as results ----------------------------------------------------------------------------
 */

/* What the program shall see for an address of the kernel's: true with the path in `out`. */
static bool translate(struct call *c, const struct sockaddr_un *un, size_t len, char *out)
{
    static const char gone[] = " (deleted)";
    char real[SOCKNAME_MAX + 1];
    const struct session *s = c->view->session;
    const char *rest;
    if (!sockname_path(un, len, real))
        return false;
    const char *said = sockname_said(real);
    if (said)
        return str_copy(out, SOCKNAME_MAX + 1, said) >= 0;
    if (real[0] != '/' ||
        (session_layer_of(s, real, &rest) < 0 && (!s->nbinds || bind_of_real(s, real, &rest) < 0)))
        return false;
    long n = walk_virtual(c->view, real, &c->place2, c->real, sizeof(c->real));
    size_t tail = sizeof(gone) - 1;
    /* An address goes on to be one when the name is gone. */
    if (n > (long)tail && strcmp(c->real + n - tail, gone) == 0)
        c->real[n - (long)tail] = '\0';
    return n > 0 && str_copy(out, SOCKNAME_MAX + 1, c->real) >= 0;
}

/* getsockname and getpeername: asked and answered here. */
static void do_ask(struct task *t, struct call *c, int sock, int cap)
{
    struct sockaddr_un un;
    socklen_t len = sizeof(un);
    char path[SOCKNAME_MAX + 1];
    int r = c->row->nr == SYS_getsockname ? getsockname(sock, (struct sockaddr *)&un, &len)
                                          : getpeername(sock, (struct sockaddr *)&un, &len);
    if (r < 0 || !translate(c, &un, len, path))
        call_pass(c);
    else
        call_done(c, sockname_store(t, c->arg[1], c->arg[2], cap, path));
}

static void do_name(struct task *t, struct call *c)
{
    unsigned arg = address_arg(c);
    int cap;
    call_pass(c);
    if (!c->arg[arg] || remote_read(t, &cap, c->arg[arg + 1], sizeof(cap)) || cap < 0)
        return;
    int sock = get_socket(t, (int)c->arg[0]);
    if (sock < 0)
        return;
    if (c->row->nr == SYS_getsockname || c->row->nr == SYS_getpeername) {
        do_ask(t, c, sock, cap);
    } else {
        struct unix_state *s = new_state(t, c);
        if (s) {
            s->cap = cap;
            c->action = CALL_REWRITE;
            c->new_nr = c->row->nr;
            memcpy(c->new_arg, c->arg, sizeof(c->arg));
        }
    }
    t->who.ops.fd_put(&t->who, sock);
}

static void settle_name(struct task *t, struct call *c, long result, int cap)
{
    unsigned arg = address_arg(c);
    struct sockaddr_un un = {0};
    socklen_t len = sizeof(un);
    char path[SOCKNAME_MAX + 1];
    if (c->row->nr == SYS_recvfrom) {
        /* What did not fit cannot be told any more; the kernel's words stay. */
        if (remote_read(t, &len, c->arg[arg + 1], sizeof(len)) || len > (socklen_t)cap ||
            len > sizeof(un) || remote_read(t, &un, c->arg[arg], len))
            return;
    } else {
        int sock = t->who.ops.fd_get(&t->who, (int)result);
        if (sock < 0)
            return;
        int r = getpeername(sock, (struct sockaddr *)&un, &len);
        t->who.ops.fd_put(&t->who, sock);
        if (r < 0)
            return;
    }
    if (translate(c, &un, len, path))
        sockname_store(t, c->arg[arg], c->arg[arg + 1], cap, path);
}

/* -- doors ---------------------------------------------------------------------------------------
 */

void unix_dispatch(struct task *t, struct call *c)
{
    switch ((enum call_handler)c->row->handler) {
    case CALL_BIND:
        do_bind(t, c);
        break;
    case CALL_CONNECT:
        do_connect(t, c);
        break;
    case CALL_SENDMSG:
        do_send(t, c);
        break;
    case CALL_SOCKNAME:
        do_name(t, c);
        break;
    default:
        call_pass(c);
        break;
    }
    if ((c->action != CALL_REWRITE || c->restart) && t->extra)
        unix_settle(t, c, -ECANCELED);
    if (c->action != CALL_REWRITE)
        c->settle = false;
}

void unix_settle(struct task *t, struct call *c, long result)
{
    struct unix_state *s = t->extra;
    t->extra = NULL;
    if (result != -ECANCELED)
        c->result = result;
    if (!s)
        return;
    if (s->alias[0])
        sockname_unalias(s->alias);
    if (result >= 0 && s->one_of_many) {
        u32 sent = (u32)result;
        remote_write(t, c->arg[1] + offsetof(struct mmsghdr, msg_len), &sent, sizeof(sent));
        c->result = 1;
    }
    if (result >= 0 && s->cap >= 0)
        settle_name(t, c, result, s->cap);
    free(s);
}
