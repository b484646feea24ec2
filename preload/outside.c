/* Names in directories outside of the union to which real directories alone led a moment ago: what
 * the kernel says of one is so, as long as it is no link. */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"
#include "call/call.h"
#include "vfs/steady.h"

/* Length of the directory that holds the last name of a canonical path; 0 where that is "/". */
static size_t dir_of(const char *path, size_t n)
{
    size_t at = (size_t)(path_last(path, n) - path);
    return at > 1 ? at - 1 : 0;
}

static bool overlap(const char *a, const char *b)
{
    return path_below(a, b, NULL) || path_below(b, a, NULL);
}

/* Neither the union nor a layer lies in the directory or holds it, and what /proc says is nobody's
 * but the asking process's. */
static bool is_apart(const struct session *s, const char *dir)
{
    if (overlap(dir, session_mount(s)) || path_below(dir, "/proc", NULL))
        return false;
    for (unsigned i = 0; i < s->nlayers; i++) {
        if (s->layer[i].in_use && overlap(dir, session_layer_path(s, i)))
            return false;
    }
    return true;
}

void shim_learn_outside(struct shim_caller *who, struct call *c)
{
    struct place *p = &c->place;
    u32 when = who->now, seen = when;
    size_t n = dir_of(p->path, p->len);
    /* In /proc there are files that the kernel does not show as they are (view.maps). */
    if (!n || p->in_union || str_starts(p->path, "/proc/") || c->by_fd || !place_is_name(p) ||
        !c->view->steady || c->view->session->nbinds || !str_eq(c->said, p->path) ||
        steady_known(c->view->steady, view_salt(c->view, STEADY_APART), p->path + 1, n - 1,
                     &seen) ||
        !steady_known(c->view->steady, view_salt(c->view, STEADY_OUTSIDE), p->path + 1, n - 1,
                      &when))
        return;
    p->path[n] = '\0';
    if (is_apart(c->view->session, p->path))
        steady_note(c->view->steady, view_salt(c->view, STEADY_APART), p->path + 1, n - 1, when);
    p->path[n] = '/';
}

static bool serves(const struct call *c)
{
    switch ((enum call_handler)c->row->handler) {
    case CALL_STAT:
        return !(call_flags(c) & ~(u32)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH));
    case CALL_READLINK:
        return (int)c->arg[c->row->aux + 1] > 0;
    case CALL_ACCESS:
        return !(c->arg[c->row->aux] & ~(u64)(R_OK | X_OK));
    case CALL_OPEN:
        return !((u32)c->arg[c->row->flags] & ~(u32)OPEN_FLAGS);
    default:
        return false;
    }
}

/* Whatever begins like the mountpoint is not worth the looks below. */
static bool begins_outside(const struct session *s, const char *said)
{
    const char *mount = session_mount(s);
    for (size_t i = 0; i < s->mount_len; i++) {
        if (((const volatile char *)said)[i] != mount[i])
            return true;
    }
    return false;
}

int shim_outside(struct shim_saved *saved, struct shim_caller *who, struct call *c)
{
    const struct sysrow *row = c->row;
    const char *said = row->path >= 0 ? (const char *)c->arg[row->path] : NULL;
    u32 when = who->now;
    struct stat st;
    if (!said || *(const volatile char *)said != '/' || !c->view->steady ||
        c->view->session->nbinds || !begins_outside(c->view->session, said) || !serves(c))
        return SHIM_GO_ON;
    long n = who->who.ops.read_str(&who->who, c->said, (u64)said, sizeof(c->said));
    size_t dir = n > 0 ? dir_of(c->said, (size_t)n) : 0;
    const char *name = c->said + dir + 1;
    size_t len = (size_t)n - dir - 1;
    if (!dir || !len || len > NAME_MAX || is_dot(name, len) || is_dotdot(name, len) ||
        !steady_known(c->view->steady, view_salt(c->view, STEADY_APART), c->said + 1, dir - 1,
                      &when))
        return SHIM_GO_ON;
    if (row->handler == CALL_READLINK)
        return PASS;
    if (row->handler == CALL_OPEN) {
        saved->missing = true;
        return shim_open_last(saved, who->memory, c->arg[row->flags], AT_FDCWD, c->said);
    }
    saved->result = sys_fstatat(AT_FDCWD, c->said, &st, AT_SYMLINK_NOFOLLOW);
    if (saved->result == -ENOENT)
        return RESULT;
    if (saved->result || (S_ISLNK(st.st_mode) && call_follow(c)))
        return SHIM_GO_ON;
    if (row->handler == CALL_ACCESS)
        return PASS;
    memcpy((void *)c->arg[row->aux], &st, sizeof(st));
    return RESULT;
}
