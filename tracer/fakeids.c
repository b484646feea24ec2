#include "tracer/fakeids.h"
#include "tracer/creds.h"
#include "tracer/supervise.h"
#include "base/sys.h"
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define SAME   ((u32)-1)
#define CAPS   (((u64)2 << CAP_LAST_CAP) - 1)
#define CAP(n) ((u64)1 << (n))
/* What goes with the filesystem uid (capabilities(7), "Effect of user ID changes"). */
#define FS_CAPS                                                                                    \
    (CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_DAC_READ_SEARCH) | CAP(CAP_FOWNER) |         \
     CAP(CAP_FSETID) | CAP(CAP_LINUX_IMMUTABLE) | CAP(CAP_MAC_OVERRIDE) | CAP(CAP_MKNOD))

struct ids {
    u32 real, effective, saved, fs;
};

struct fake_ids {
    struct ids uid, gid;
    u64 inheritable;
    bool keep_caps;
    u32 exec_uid, exec_gid; /* of a set-id program that is about to run; SAME = none */
    struct cred cred;       /* made of the others, but for caps, permitted and groups */
};

static void settle(struct fake_ids *f)
{
    f->cred.ruid = f->uid.real;
    f->cred.fsuid = f->uid.fs;
    f->cred.rgid = f->gid.real;
    f->cred.fsgid = f->gid.fs;
}

int fakeids_begin(struct task *t)
{
    const struct session *s = sup.session;
    u32 uid = s->fake_uid, gid = s->fake_gid;
    struct fake_ids *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    f->uid = (struct ids){uid, uid, uid, uid};
    f->gid = (struct ids){gid, gid, gid, gid};
    f->exec_uid = f->exec_gid = SAME;
    f->cred.caps = f->cred.permitted = uid ? 0 : CAPS;
    f->cred.ngroups = 1;
    f->cred.group[0] = gid;
    settle(f);
    t->fake = f;
    return 0;
}

struct fake_ids *fakeids_copy(const struct fake_ids *from)
{
    struct fake_ids *f = from ? malloc(sizeof(*f)) : NULL;
    if (f)
        *f = *from;
    return f;
}

const struct cred *fakeids_cred(struct task *t)
{
    t->fake->cred.umask = creds_of(t)->umask;
    return &t->fake->cred;
}

/* -- exec --------------------------------------------------------------------------------- */

void fakeids_execute(struct task *t, const struct stat *shown)
{
    t->fake->exec_uid = shown->st_mode & S_ISUID ? shown->st_uid : SAME;
    bool group = (shown->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
    t->fake->exec_gid = group ? shown->st_gid : SAME;
}

void fakeids_executed(struct task *t)
{
    struct fake_ids *f = t->fake;
    if (f->exec_uid != SAME)
        f->uid.effective = f->exec_uid;
    if (f->exec_gid != SAME)
        f->gid.effective = f->exec_gid;
    f->uid.saved = f->uid.fs = f->uid.effective;
    f->gid.saved = f->gid.fs = f->gid.effective;
    f->exec_uid = f->exec_gid = SAME;
    f->keep_caps = false;
    bool root = f->uid.effective == 0;
    f->cred.permitted = root || f->uid.real == 0 ? CAPS : 0;
    f->cred.caps = root ? CAPS : 0;
    settle(f);
}

/* -- setting ------------------------------------------------------------------------------ */

/* What the kernel does to capabilities where user ids change (cap_emulate_setxuid()). */
static void follow_uids(struct fake_ids *f, const struct ids *was)
{
    const struct ids *now = &f->uid;
    bool was_root = !was->real || !was->effective || !was->saved;
    bool is_root = !now->real || !now->effective || !now->saved;
    if (was_root && !is_root && !f->keep_caps)
        f->cred.permitted = f->cred.caps = 0;
    if (!was->effective && now->effective)
        f->cred.caps = 0;
    if (was->effective && !now->effective)
        f->cred.caps = f->cred.permitted;
}

static bool is_one_of(const struct ids *id, u32 n, bool with_saved)
{
    return n == SAME || n == id->real || n == id->effective || (with_saved && n == id->saved);
}

/* setuid(2), setreuid(2), setresuid(2) and theirs for groups: a number of 1 to 3 ids. */
static int set_ids(struct ids *id, const u32 arg[3], unsigned n, bool powerful)
{
    struct ids was = *id;
    if (n == 1) {
        if (arg[0] == SAME)
            return -EINVAL;
        if (!powerful && arg[0] != id->real && arg[0] != id->saved)
            return -EPERM;
        if (powerful)
            id->real = id->saved = arg[0];
        id->effective = id->fs = arg[0];
        return 0;
    }
    if (!powerful && n == 2 && (!is_one_of(id, arg[0], false) || !is_one_of(id, arg[1], true)))
        return -EPERM;
    if (!powerful && n == 3 &&
        (!is_one_of(id, arg[0], true) || !is_one_of(id, arg[1], true) ||
         !is_one_of(id, arg[2], true)))
        return -EPERM;
    if (arg[0] != SAME)
        id->real = arg[0];
    if (arg[1] != SAME)
        id->effective = arg[1];
    if (n == 3 && arg[2] != SAME)
        id->saved = arg[2];
    if (n == 2 && (arg[0] != SAME || (arg[1] != SAME && arg[1] != was.real)))
        id->saved = id->effective;
    id->fs = id->effective;
    return 0;
}

static bool has(const struct fake_ids *f, unsigned cap)
{
    return f->cred.caps & CAP(cap);
}

static int set_uids(struct fake_ids *f, const struct call *c)
{
    const u32 arg[3] = {(u32)c->arg[0], (u32)c->arg[1], (u32)c->arg[2]};
    struct ids was = f->uid;
    int r = set_ids(&f->uid, arg, c->row->nargs, has(f, CAP_SETUID));
    if (r == 0)
        follow_uids(f, &was);
    return r;
}

static int set_gids(struct fake_ids *f, const struct call *c)
{
    const u32 arg[3] = {(u32)c->arg[0], (u32)c->arg[1], (u32)c->arg[2]};
    return set_ids(&f->gid, arg, c->row->nargs, has(f, CAP_SETGID));
}

/* setfsuid(2) and setfsgid(2): the former id, whatever happens. */
static long set_fs(struct fake_ids *f, struct ids *id, u32 n, bool powerful)
{
    u32 was = id->fs;
    if (n == SAME || !(powerful || n == id->fs || is_one_of(id, n, true)))
        return was;
    id->fs = n;
    if (id == &f->uid && !was && n)
        f->cred.caps &= ~FS_CAPS;
    if (id == &f->uid && was && !n)
        f->cred.caps |= f->cred.permitted & FS_CAPS;
    return was;
}

static int set_groups(struct fake_ids *f, struct call *c)
{
    int n = (int)c->arg[0];
    if (!has(f, CAP_SETGID))
        return -EPERM;
    if (n < 0 || n > CRED_GROUPS_MAX)
        return -EINVAL;
    u32 group[CRED_GROUPS_MAX];
    int r = c->who->ops.read(c->who, group, c->arg[1], (size_t)n * sizeof(group[0]));
    if (r)
        return r;
    memcpy(f->cred.group, group, (size_t)n * sizeof(group[0]));
    f->cred.ngroups = (u32)n;
    return 0;
}

/* -- capabilities ------------------------------------------------------------------------- */

/* How many words of 32 bits a version has; 0: not known, and the header now says which is. */
static unsigned caps_words(struct call *c, struct __user_cap_header_struct *head, int *err)
{
    *err = c->who->ops.read(c->who, head, c->arg[0], sizeof(*head));
    if (*err)
        return 0;
    switch (head->version) {
    case _LINUX_CAPABILITY_VERSION_1:
        return 1;
    case _LINUX_CAPABILITY_VERSION_2:
    case _LINUX_CAPABILITY_VERSION_3:
        return 2;
    default:
        head->version = _LINUX_CAPABILITY_VERSION_3;
        *err = c->who->ops.write(c->who, c->arg[0], head, sizeof(*head));
        if (!*err && (c->row->nr == SYS_capset || c->arg[1]))
            *err = -EINVAL;
        return 0;
    }
}

static int get_caps(struct task *t, struct call *c)
{
    struct __user_cap_header_struct head;
    struct __user_cap_data_struct data[2];
    int err;
    unsigned n = caps_words(c, &head, &err);
    if (!n)
        return err;
    const struct task *of = head.pid ? task_find(head.pid) : t;
    if (!of || !of->fake)
        return head.pid < 0 ? -EINVAL : -ESRCH;
    for (unsigned i = 0; i < n; i++)
        data[i] = (struct __user_cap_data_struct){
            .effective = (u32)(of->fake->cred.caps >> 32 * i),
            .permitted = (u32)(of->fake->cred.permitted >> 32 * i),
            .inheritable = (u32)(of->fake->inheritable >> 32 * i),
        };
    return c->arg[1] ? c->who->ops.write(c->who, c->arg[1], data, n * sizeof(data[0])) : 0;
}

static int set_caps(struct task *t, struct call *c)
{
    struct __user_cap_header_struct head;
    struct __user_cap_data_struct data[2] = {{0}, {0}};
    struct fake_ids *f = t->fake;
    u64 effective = 0, permitted = 0, inheritable = 0;
    int err;
    unsigned n = caps_words(c, &head, &err);
    if (!n)
        return err;
    if (head.pid && head.pid != t->tid)
        return -EPERM;
    err = c->who->ops.read(c->who, data, c->arg[1], n * sizeof(data[0]));
    if (err)
        return err;
    for (unsigned i = 0; i < n; i++) {
        effective |= (u64)data[i].effective << 32 * i;
        permitted |= (u64)data[i].permitted << 32 * i;
        inheritable |= (u64)data[i].inheritable << 32 * i;
    }
    effective &= CAPS;
    permitted &= CAPS;
    if ((permitted & ~f->cred.permitted) || (effective & ~permitted))
        return -EPERM;
    f->cred.caps = effective;
    f->cred.permitted = permitted;
    f->inheritable = inheritable & CAPS;
    return 0;
}

/* What root may say of its capabilities, and the kernel would refuse the session's user. */
static bool dispatch_prctl(struct fake_ids *f, struct call *c)
{
    switch ((int)c->arg[0]) {
    case PR_SET_KEEPCAPS:
        if (c->arg[1] > 1)
            return false;
        f->keep_caps = c->arg[1];
        break;
    case PR_CAPBSET_DROP:
    case PR_SET_SECUREBITS:
        if (!has(f, CAP_SETPCAP))
            return false;
        break;
    case PR_CAP_AMBIENT:
        if (c->arg[1] != PR_CAP_AMBIENT_RAISE)
            return false;
        break;
    default:
        return false;
    }
    call_done(c, 0);
    return true;
}

/* -- asking ------------------------------------------------------------------------------- */

static int get_three(struct call *c, const struct ids *id)
{
    const u32 three[3] = {id->real, id->effective, id->saved};
    int err = 0;
    for (unsigned i = 0; i < 3 && !err; i++)
        err = c->who->ops.write(c->who, c->arg[i], &three[i], sizeof(three[i]));
    return err;
}

static long get_groups(const struct fake_ids *f, struct call *c)
{
    int size = (int)c->arg[0];
    if (size < 0 || (size && (u32)size < f->cred.ngroups))
        return -EINVAL;
    int err = size ? c->who->ops.write(c->who, c->arg[1], f->cred.group,
                                       f->cred.ngroups * sizeof(f->cred.group[0]))
                   : 0;
    return err ? err : (long)f->cred.ngroups;
}

/* SO_PEERCRED: the kernel knows the peer's process, and what it believes to be is known here, or it
 * is none of the session's. */
static bool peer_credentials(struct call *c)
{
    struct ucred peer;
    socklen_t size, len = sizeof(peer);
    if ((int)c->arg[1] != SOL_SOCKET || (int)c->arg[2] != SO_PEERCRED)
        return false;
    int fd = c->who->ops.fd_get(c->who, (int)c->arg[0]);
    int err = fd < 0 ? fd : 0;
    if (!err && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        err = -errno;
    if (fd >= 0)
        c->who->ops.fd_put(c->who, fd);
    if (!err)
        err = c->who->ops.read(c->who, &size, c->arg[4], sizeof(size));
    if (!err && (int)size < 0)
        err = -EINVAL;
    if (!err) {
        const struct task *t = peer.pid > 0 ? task_find(peer.pid) : NULL;
        struct stat st = {.st_uid = peer.uid, .st_gid = peer.gid};
        session_show_ids(sup.session, &st);
        peer.uid = t && t->fake ? t->fake->uid.effective : st.st_uid;
        peer.gid = t && t->fake ? t->fake->gid.effective : st.st_gid;
        if (size > len)
            size = len;
        err = c->who->ops.write(c->who, c->arg[3], &peer, size);
    }
    if (!err)
        err = c->who->ops.write(c->who, c->arg[4], &size, sizeof(size));
    call_done(c, err);
    return true;
}

static bool dispatch_ids(struct task *t, struct call *c)
{
    const struct fake_ids *f = t->fake;
    switch (c->row->nr) {
    case SYS_getuid:
        call_done(c, f->uid.real);
        break;
    case SYS_geteuid:
        call_done(c, f->uid.effective);
        break;
    case SYS_getgid:
        call_done(c, f->gid.real);
        break;
    case SYS_getegid:
        call_done(c, f->gid.effective);
        break;
    case SYS_getresuid:
        call_done(c, get_three(c, &f->uid));
        break;
    case SYS_getresgid:
        call_done(c, get_three(c, &f->gid));
        break;
    case SYS_getgroups:
        call_done(c, get_groups(f, c));
        break;
    case SYS_capget:
        call_done(c, get_caps(t, c));
        break;
    default:
        return peer_credentials(c);
    }
    return true;
}

static bool dispatch_creds(struct task *t, struct call *c)
{
    struct fake_ids *f = t->fake;
    switch (c->row->nr) {
    case SYS_setuid:
    case SYS_setreuid:
    case SYS_setresuid:
        call_done(c, set_uids(f, c));
        break;
    case SYS_setgid:
    case SYS_setregid:
    case SYS_setresgid:
        call_done(c, set_gids(f, c));
        break;
    case SYS_setfsuid:
        call_done(c, set_fs(f, &f->uid, (u32)c->arg[0], has(f, CAP_SETUID)));
        break;
    case SYS_setfsgid:
        call_done(c, set_fs(f, &f->gid, (u32)c->arg[0], has(f, CAP_SETGID)));
        break;
    case SYS_setgroups:
        call_done(c, set_groups(f, c));
        break;
    case SYS_capset:
        call_done(c, set_caps(t, c));
        break;
    default: /* umask, namespaces */
        return false;
    }
    settle(f);
    return true;
}

bool fakeids_dispatch(struct task *t, struct call *c)
{
    if (c->row->handler == CALL_IDS)
        return dispatch_ids(t, c);
    if (c->row->handler == CALL_CREDS)
        return dispatch_creds(t, c);
    return c->row->handler == CALL_PRCTL && dispatch_prctl(t->fake, c);
}
