#include "tracer/creds.h"
#include "tracer/found.h"
#include "tracer/shim.h"
#include "tracer/supervise.h"
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STATUS_MAX 16384 /* /proc/TID/status, with some hundred groups */

static struct cred own;
static u64 own_permitted;
static char own_userns[64];
static bool taken; /* between creds_assume and creds_resume with other ids than our own */

/* -- reading ----------------------------------------------------------------------------- */

static const char *field(const char *status, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = status; line; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, name, n) == 0 && line[n] == ':')
            return line + n + 1;
    }
    return "";
}

/* "real effective saved filesystem" ids. True where they are all the same. */
static bool read_ids(const char *text, u32 *real, u32 *fs)
{
    char *end = (char *)text;
    unsigned long id[4] = {(u32)-2, (u32)-2, (u32)-2, (u32)-2};
    for (int i = 0; i < 4; i++)
        id[i] = strtoul(end, &end, 10);
    *real = (u32)id[0];
    *fs = (u32)id[3];
    return id[0] == id[1] && id[1] == id[2] && id[2] == id[3];
}

static void parse(const char *status, struct cred *cred)
{
    bool plain = read_ids(field(status, "Uid"), &cred->ruid, &cred->fsuid);
    plain &= read_ids(field(status, "Gid"), &cred->rgid, &cred->fsgid);
    cred->plain = plain;
    cred->caps = strtoull(field(status, "CapEff"), NULL, 16);
    cred->permitted = strtoull(field(status, "CapPrm"), NULL, 16);
    cred->umask = (u32)strtoul(field(status, "Umask"), NULL, 8);
    cred->ngroups = 0;
    const char *at = field(status, "Groups");
    while (cred->ngroups < CRED_GROUPS_MAX) {
        char *end;
        while (*at == ' ' || *at == '\t')
            at++;
        if (*at < '0' || *at > '9')
            break;
        cred->group[cred->ngroups++] = (u32)strtoul(at, &end, 10);
        at = end;
    }
}

static bool read_text(int dir, const char *name, char buf[STATUS_MAX])
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, STATUS_MAX - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    buf[n] = '\0';
    return true;
}

/* The thread's credentials, from its status and its directory in /proc. */
static void take_creds(const char *status, int dir, const char *ns_name, struct cred *cred,
                       char *userns, size_t cap)
{
    parse(status, cred);
    ssize_t n = readlinkat(dir, ns_name, userns, cap - 1);
    userns[n < 0 ? 0 : n] = '\0';
}

static bool read_creds(int dir, const char *status_name, const char *ns_name, struct cred *cred,
                       char *userns, size_t cap)
{
    char buf[STATUS_MAX];
    if (!read_text(dir, status_name, buf))
        return false;
    take_creds(buf, dir, ns_name, cred, userns, cap);
    return true;
}

static bool same_as_own(const struct cred *c)
{
    return c->fsuid == own.fsuid && c->fsgid == own.fsgid && c->ruid == own.ruid &&
           c->rgid == own.rgid && c->caps == own.caps && c->permitted == own.permitted &&
           c->ngroups == own.ngroups &&
           memcmp(c->group, own.group, c->ngroups * sizeof(c->group[0])) == 0;
}

static void nobody(struct cred *cred)
{
    memset(cred, 0, sizeof(*cred));
    cred->fsuid = cred->fsgid = cred->ruid = cred->rgid = (u32)-2;
    cred->umask = 0777;
}

static void judge(struct task *t, const char *userns)
{
    /* Capabilities in another user namespace are none over the files of ours. */
    if (userns[0] && strcmp(userns, own_userns) != 0)
        t->cred.caps = t->cred.permitted = 0;
    t->who.same_as_session = same_as_own(&t->cred);
    t->cred_generation = sup.cred_generation;
}

const struct cred *creds_of(struct task *t)
{
    char status_name[64], ns_name[64], userns[64] = "";
    if (t->cred_generation == sup.cred_generation)
        return &t->cred;
    int dir = task_proc_fd(t);
    if (dir < 0 ||
        !read_creds(dir, task_proc_name(t, "status", status_name),
                    task_proc_name(t, "ns/user", ns_name), &t->cred, userns, sizeof(userns)))
        nobody(&t->cred);
    judge(t, userns);
    return &t->cred;
}

bool creds_may_trace(void)
{
    return own.caps >> CAP_SYS_PTRACE & 1;
}

bool creds_stay(const struct task *t)
{
    /* Without the capability no_new_privs is set; a root's exec gives it what a root has. */
    return t->who.same_as_session && t->cred_generation == sup.cred_generation &&
           (own.fsuid == 0 || !(own.caps >> CAP_SYS_ADMIN & 1));
}

bool creds_status(int dir, const char *name, struct found_status *st, struct task *t)
{
    char buf[STATUS_MAX], userns[64];
    if (!read_text(dir, name, buf))
        return false;
    st->tgid = atoi(field(buf, "Tgid"));
    st->ppid = atoi(field(buf, "PPid"));
    st->threads = atoi(field(buf, "Threads"));
    st->handlers = strtoull(field(buf, "SigCgt"), NULL, 16) != 0;
    if (t) {
        take_creds(buf, dir, "ns/user", &t->cred, userns, sizeof(userns));
        judge(t, userns);
    }
    return true;
}

int creds_init(void)
{
    int dir = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    bool ok = read_creds(dir, "status", "ns/user", &own, own_userns, sizeof(own_userns));
    close(dir);
    own_permitted = own.permitted;
    shim_set_cred(&own);
    umask(0);
    sup.cred_generation = 1;
    return ok ? 0 : -EIO;
}

/* -- taking them on ---------------------------------------------------------------------- */

static void set_effective(u64 caps)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (u32)caps, .permitted = (u32)own_permitted},
        {.effective = (u32)(caps >> 32), .permitted = (u32)(own_permitted >> 32)},
    };
    struct __user_cap_data_struct now[2];
    if (syscall(SYS_capget, &head, now) == 0) {
        data[0].inheritable = now[0].inheritable;
        data[1].inheritable = now[1].inheritable;
    }
    syscall(SYS_capset, &head, data);
}

void creds_assume(struct task *t)
{
    const struct cred *c = creds_of(t);
    if (c->umask)
        umask(c->umask);
    if (t->who.same_as_session)
        return;
    taken = true;
    /* What is refused here is refused because the session itself may not: then the program got its
     * ids from nowhere else than the session's own, and the kernel judges those. */
    syscall(SYS_setgroups, c->ngroups, c->group);
    syscall(SYS_setfsgid, c->fsgid);
    syscall(SYS_setfsuid, c->fsuid);
    set_effective(c->caps & own_permitted);
}

void creds_resume(void)
{
    umask(0);
    if (!taken)
        return;
    taken = false;
    set_effective(own.caps);
    syscall(SYS_setfsuid, own.fsuid);
    syscall(SYS_setfsgid, own.fsgid);
    syscall(SYS_setgroups, own.ngroups, own.group);
    /* The kernel forgets this one when ids change. */
    if (sup.front_pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != sup.front_pid)
            raise(SIGKILL);
    }
}

/* -- the calls that change them ---------------------------------------------------------- */

/* Runs the call as said, with a look at it when it is over. */
static void watch(struct call *c)
{
    c->action = CALL_REWRITE;
    c->new_nr = c->row->nr;
    memcpy(c->new_arg, c->arg, sizeof(c->arg));
    c->settle = true;
}

/* Sets ids to what they are, as posix_spawn does for POSIX_SPAWN_RESETIDS. */
static bool resets(struct task *t, const struct call *c)
{
    const struct cred *cred = creds_of(t);
    u32 id;
    switch (c->row->nr) {
    case SYS_setuid:
    case SYS_setreuid:
    case SYS_setresuid:
        id = cred->fsuid;
        break;
    case SYS_setgid:
    case SYS_setregid:
    case SYS_setresgid:
        id = cred->fsgid;
        break;
    default:
        return false;
    }
    for (unsigned i = 0; i < c->row->nargs; i++) {
        if ((u32)c->arg[i] != id && ((u32)c->arg[i] != (u32)-1 || c->row->nargs == 1))
            return false;
    }
    return cred->plain;
}

static void dispatch_creds(struct task *t, struct call *c)
{
    long nr = c->row->nr;
    if (resets(t, c)) {
        call_pass(c);
        return;
    }
    /* Ids, groups and capabilities are the thread's own: it cannot make another trapped call before
     * this one is over, so forgetting what we know is enough. The umask may be shared. */
    t->cred_generation = 0;
    if (nr != SYS_umask) /* the shim judges and acts with the session's */
        shim_off(t);
    if (nr == SYS_unshare || nr == SYS_setns) /* at a stop, notice_arrived() saw to that */
        found_births(t, true, true);
    if (nr == SYS_unshare && (c->arg[0] & CLONE_FILES))
        t->proc->files_differ = true;
    if (nr == SYS_umask && t->proc->refs > 1)
        watch(c);
    else
        call_pass(c);
}

/* A child that the supervisor has to know of from its birth on: it goes on using its parent's
 * memory, or lives in namespaces of its own. */
static bool is_special(u64 flags)
{
    const u64 elsewhere = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID;
    return (flags & elsewhere) || (flags & (CLONE_FILES | CLONE_THREAD)) == CLONE_FILES ||
           (flags & (CLONE_VM | CLONE_VFORK | CLONE_THREAD)) == CLONE_VM;
}

static void dispatch_clone(struct task *t, struct call *c)
{
    const int arg = (int)c->row->flags;
    u64 flags = arg < 0 ? 0 : c->arg[arg];
    call_pass(c);
    if (arg < 0 && t->who.ops.read(&t->who, &flags, c->arg[0], sizeof(flags)))
        return;
    if ((flags & (CLONE_FS | CLONE_FILES)) && !(flags & CLONE_THREAD))
        shim_moves_shared();
    bool special = is_special(flags) && found_may_miss(t);
    if (special && t->noticed) { /* to a stop first */
        watch(c);
        c->settle = false;
    } else if (special) {
        found_births(t, true, true);
    } else if (arg >= 0 && (flags & CLONE_UNTRACED) && is_special(flags)) {
        call_done(c, -EPERM); /* nobody needs that */
    } else if (arg >= 0 && (flags & CLONE_UNTRACED)) {
        watch(c);
        c->settle = false;
        c->new_arg[arg] &= ~(u64)CLONE_UNTRACED;
    }
}

void creds_dispatch(struct task *t, struct call *c)
{
    switch (c->row->handler) {
    case CALL_CREDS:
        dispatch_creds(t, c);
        break;
    case CALL_CLONE:
        dispatch_clone(t, c);
        break;
    case CALL_PTRACE:
        call_done(c, -EPERM);
        break;
    case CALL_IDS:
        call_pass(c);
        break;
    default:
        if (c->row->nr == SYS_prctl && (int)c->arg[0] == PR_SET_SECCOMP)
            shim_off(t);
        /* An ordinary user's supervisor could not look into a program that is not dumpable. */
        if (c->row->nr == SYS_prctl && (int)c->arg[0] == PR_SET_DUMPABLE && c->arg[1] == 0 &&
            !(own.caps >> CAP_SYS_PTRACE & 1)) {
            t->proc->not_dumpable = true;
            call_done(c, 0);
        } else {
            call_pass(c);
        }
        break;
    }
}

void creds_settle(struct task *t UNUSED, struct call *c UNUSED, long result UNUSED)
{
    sup.cred_generation++;
}
