/* Mode, owner and times of a file or directory of the upper that is named by a path, by a
 * descriptor that may do no more than name it, or by /proc/self/fd/N. It is opened by a path
 * without links, which begins in the upper, and set by that descriptor; no signal comes in between.
 */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"
#include "call/call.h"
#include <sys/syscall.h>

/* The descriptor of the process itself that is named by `said` alone; -1: none is. */
static int own_fd(const char *said)
{
    static const char links[] = "/proc/self/fd/";
    u64 fd;
    if (!str_starts(said, links))
        return -1;
    said += sizeof(links) - 1;
    size_t n = str_to_u64(said, &fd);
    return n && !said[n] && fd <= INT32_MAX ? (int)fd : -1;
}

/* Its real path in c->real and its stat; false where it is none of the upper's. */
static bool find(struct shim_caller *who, struct call *c, struct stat *st)
{
    const struct sysrow *row = c->row;
    const char *rest;
    int fd = -1;
    long n = who->who.ops.read_str(&who->who, c->said, c->arg[row->path], sizeof(c->said));
    if (n < 0)
        return false;
    if (n == 0)
        fd = (row->traits & SYS_EMPTY_PATH) && (call_flags(c) & AT_EMPTY_PATH)
                 ? (int)c->arg[row->dirfd]
                 : -1;
    else if (call_follow(c))
        fd = own_fd(c->said);
    if (fd >= 0)
        return who->who.ops.fd_link(&who->who, fd, c->real, sizeof(c->real)) > 0 &&
               c->real[0] == '/' && session_layer_of(c->view->session, c->real, &rest) == 0 &&
               who->who.ops.fd_stat(&who->who, fd, st) == 0;
    const struct place *p = &c->place;
    if (!n || call_resolve(c, call_follow(c)) || !p->in_union || !p->exists || c->by_fd ||
        p->removed || p->node.top != 0)
        return false;
    *st = p->node.st;
    return p->node.fs->ops.locate(p->node.fs, &p->node, c->real, sizeof(c->real)) > 0;
}

static long set(const struct call *c, int fd)
{
    const u64 *arg = &c->arg[c->row->aux];
    switch ((enum call_handler)c->row->handler) {
    case CALL_CHMOD:
        return shim_gate(SYS_fchmod, fd, (long)arg[0], 0, 0, 0);
    case CALL_CHOWN:
        return shim_gate(SYS_fchown, fd, (long)arg[0], (long)arg[1], 0, 0);
    default: /* CALL_UTIMES */
        return shim_gate(SYS_utimensat, fd, 0, (long)arg[0], 0, 0);
    }
}

static long open_and_set(struct shim_memory *m, const struct call *c, const struct stat *st,
                         u64 changes)
{
    struct stat now;
    const u64 flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC | LARGE_FILE;
    int fd = shim_open_straight(m, c->real, flags, 0);
    if (fd < 0)
        return fd;
    long r = shim_gate(SYS_fstat, fd, (long)&now, 0, 0, 0);
    if (r == 0 && (!dev_ino_equal(&now, st) || !shim_stands(shim_own.overlay.facts, changes)))
        r = -EAGAIN;
    if (r == 0)
        r = set(c, fd);
    shim_gate(SYS_close, fd, 0, 0, 0, 0);
    return r;
}

int shim_set(struct shim_saved *saved, struct shim_caller *who, struct call *c, u64 changes)
{
    struct stat st;
    u64 mask;
    /* An ordinary user's rights on directories are remembered. */
    if (c->view->session->uid != 0 || c->view->session->read_only || !shim_is_alone() ||
        !find(who, c, &st) || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
        return LEAVE;
    if (!shim_hush(&mask))
        return LEAVE;
    return shim_unhush(saved, &mask, open_and_set(who->memory, c, &st, changes));
}
