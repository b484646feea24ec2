/* Names made, moved and taken away by the program itself: what alone.c has planned is done to a
 * directory held open meanwhile, since a path could be led astray. No signal comes in between, so
 * that the descriptor is never left behind and the call is made or not; SIGKILL ends both. */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "overlay/overlay.h"
#include <signal.h>
#include <sys/syscall.h>

static int at_fd(long nr, int dir, const char *name, u64 c, u64 d)
{
    return (int)shim_gate(nr, dir, (long)name, (long)c, (long)d, 0);
}

static int open_dir(struct shim_memory *m, const char *path)
{
    memset(&m->how, 0, sizeof(m->how));
    m->how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    m->how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return (int)shim_gate(SYS_openat2, AT_FDCWD, (long)path, (long)&m->how, sizeof(m->how), 0);
}

/* Where somebody else changed the union meanwhile, the name may be one of the upper's by now:
 * copies are looked for here after the marker is made, as copyup.c looks for the marker after the
 * copy. */
static int put_whiteout(const struct plan *p, int dir, u64 changes)
{
    char wh[NAME_MAX + 1];
    const char *name = p->at[0].name;
    bool prefix = shim_shared.session.style == STYLE_FILEPREFIX;
    if (prefix) {
        str_copy(wh, sizeof(wh), WH_PREFIX);
        str_copy(wh + sizeof(WH_PREFIX) - 1, sizeof(wh) - sizeof(WH_PREFIX) + 1, name);
    }
    int r = (int)shim_gate(SYS_linkat, dir, (long)p->mark, dir, (long)(prefix ? wh : name), 0);
    if (r == 0 && prefix && !shim_stands(shim_own.overlay.facts, changes))
        at_fd(SYS_unlinkat, dir, name, 0, 0);
    return r;
}

/* The object that was moved was none when it was looked at; should it be a directory by now, all
 * that is known of names below it is void. */
static int move(const struct plan *p, int from, int to)
{
    struct stat st;
    int r = (int)shim_gate(SYS_renameat2, from, (long)p->at[0].name, to, (long)p->at[1].name, 0);
    if (r == 0 && (at_fd(SYS_newfstatat, to, p->at[1].name, (u64)&st, AT_SYMLINK_NOFOLLOW) < 0 ||
                   S_ISDIR(st.st_mode)))
        overlay_touch_all(&shim_own.overlay);
    return r;
}

static int act(const struct plan *p, int dir, int to, u64 changes)
{
    const char *name = p->at[0].name;
    switch ((enum plan_kind)p->kind) {
    case PLAN_MKDIR:
        return at_fd(SYS_mkdirat, dir, name, p->mode, 0);
    case PLAN_SYMLINK:
        return (int)shim_gate(SYS_symlinkat, (long)p->target, dir, (long)name, 0, 0);
    case PLAN_UNLINK:
        return at_fd(SYS_unlinkat, dir, name, 0, 0);
    case PLAN_WHITEOUT:
        return put_whiteout(p, dir, changes);
    case PLAN_RENAME:
        return move(p, dir, to);
    case PLAN_NONE:
        break;
    }
    return -ENOSYS;
}

static void touch(const struct plan *p)
{
    overlay_touch(&shim_own.overlay, p->at[0].hash);
    if (p->kind == PLAN_RENAME)
        overlay_touch(&shim_own.overlay, p->at[1].hash);
}

static int act_in(struct shim_memory *m, u64 changes)
{
    const struct plan *p = &m->plan;
    bool second = p->kind == PLAN_RENAME && !str_eq(p->at[0].dir, p->at[1].dir);
    int dir = open_dir(m, p->at[0].dir), to = second && dir >= 0 ? open_dir(m, p->at[1].dir) : dir;
    int r = dir < 0 ? dir : to;
    if (r >= 0 && !shim_stands(shim_own.overlay.facts, changes))
        r = -EAGAIN;
    if (r >= 0) {
        if (p->kind == PLAN_UNLINK || p->kind == PLAN_RENAME)
            __atomic_add_fetch(&shim_own.overlay.notes->renamed, 1, __ATOMIC_SEQ_CST);
        touch(p);
        r = act(p, dir, to, changes);
        touch(p);
    }
    if (second && to >= 0)
        shim_gate(SYS_close, to, 0, 0, 0, 0);
    if (dir >= 0)
        shim_gate(SYS_close, dir, 0, 0, 0, 0);
    return r;
}

int shim_rename(struct shim_saved *saved, struct shim_memory *memory, u64 changes)
{
    const u64 all = ~0ull;
    u64 mask;
    if (shim_gate(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&mask, sizeof(mask), 0) < 0)
        return LEAVE;
    bool made = act_in(memory, changes) >= 0;
    if (made) { /* a signal finds the call over */
        saved->result = 0;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        saved->over = 1;
    }
    shim_gate(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof(mask), 0);
    return made ? RESULT : LEAVE;
}
