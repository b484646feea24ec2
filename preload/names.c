/* Names made, moved and taken away by the program itself: what alone.c has planned is done to a
 * directory held open meanwhile, since a path could be led astray. No signal comes in between, so
 * that the descriptor is never left behind and the call is made or not; SIGKILL ends both. */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "call/call.h"
#include "overlay/overlay.h"
#include <linux/fs.h>
#include <signal.h>
#include <sys/syscall.h>

static int at_fd(long nr, int dir, const char *name, u64 c, u64 d)
{
    return (int)shim_gate(nr, dir, (long)name, (long)c, (long)d, 0);
}

int shim_open_straight(struct shim_memory *m, const char *path, u64 flags, u64 mode)
{
    m->how = (struct open_how){flags, mode, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return (int)shim_gate(SYS_openat2, AT_FDCWD, (long)path, (long)&m->how, sizeof(m->how), 0);
}

static int open_dir(struct shim_memory *m, const char *path)
{
    return shim_open_straight(m, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

static bool by_prefix(void)
{
    return shim_shared.session.style == STYLE_FILEPREFIX;
}

/* What is the name's whiteout, as a name in the same directory. */
static const char *marker_name(const struct plan *p, char wh[NAME_MAX + 1])
{
    if (!by_prefix())
        return p->at[0].name;
    str_copy(wh, NAME_MAX + 1, WH_PREFIX);
    str_copy(wh + sizeof(WH_PREFIX) - 1, NAME_MAX + 2 - sizeof(WH_PREFIX), p->at[0].name);
    return wh;
}

static int link_in(int dir, const char *from, const char *to)
{
    return (int)shim_gate(SYS_linkat, dir, (long)from, dir, (long)to, 0);
}

static int rename_in(int dir, const char *from, const char *to, unsigned flags)
{
    return (int)shim_gate(SYS_renameat2, dir, (long)from, dir, (long)to, flags);
}

static int look_in(int dir, const char *name, struct stat *st)
{
    return at_fd(SYS_newfstatat, dir, name, (u64)st, AT_SYMLINK_NOFOLLOW);
}

/* Where somebody else changed the union meanwhile, the name may be one of the upper's by now:
 * copies are looked for here after the marker is made, as copyup.c looks for the marker after the
 * copy. */
static int put_whiteout(const struct plan *p, int dir, u64 changes)
{
    char wh[NAME_MAX + 1];
    int r = link_in(dir, p->mark, marker_name(p, wh));
    if (r == 0 && by_prefix() && !shim_stands(shim_own.overlay.facts, changes))
        at_fd(SYS_unlinkat, dir, p->at[0].name, 0, 0);
    return r;
}

/* What leaves `temp` has its place in the directory, and what had it leaves from there: should that
 * not be what was expected (a whiteout, or none), they change places again. */
static int change_places(const struct plan *p, int dir, bool whiteout)
{
    struct stat st;
    const char *name = p->at[0].name;
    int r = rename_in(dir, p->temp, name, RENAME_EXCHANGE);
    if (r < 0)
        return r;
    r = look_in(dir, p->temp, &st);
    if (r == 0 && (S_ISCHR(st.st_mode) && st.st_rdev == 0) == whiteout && !S_ISDIR(st.st_mode))
        return 0;
    rename_in(dir, p->temp, name, RENAME_EXCHANGE);
    return -EAGAIN;
}

/* A marker beside the name: there before the name goes, and again if whoever made the name takes
 * the marker away just then (uncover(), or overlay_create_end()). */
static int cover_beside(const struct plan *p, int dir)
{
    char wh[NAME_MAX + 1];
    marker_name(p, wh);
    int made = link_in(dir, p->mark, wh);
    if (made < 0 && made != -EEXIST)
        return made;
    int r = at_fd(SYS_unlinkat, dir, p->at[0].name, 0, 0);
    if (r == 0)
        link_in(dir, p->mark, wh);
    else if (made == 0 && r != -ENOENT) /* else somebody was faster, whose marker it is, too */
        at_fd(SYS_unlinkat, dir, wh, 0, 0);
    return r;
}

static int cover(const struct plan *p, int dir)
{
    if (by_prefix())
        return cover_beside(p, dir);
    int r = link_in(dir, p->mark, p->temp);
    if (r == 0) {
        r = change_places(p, dir, false);
        at_fd(SYS_unlinkat, dir, p->temp, 0, 0);
    }
    return r;
}

/* The new file takes its name, and the marker goes while it has it. Who asked for the one before
 * and for the other afterwards has to look again (lookup.c): hence the touch in between. */
static int uncover(const struct plan *p, int dir)
{
    char wh[NAME_MAX + 1];
    struct stat st;
    if (!by_prefix())
        return change_places(p, dir, true);
    int r = rename_in(dir, p->temp, p->at[0].name, RENAME_NOREPLACE);
    if (r == 0) {
        overlay_touch(&shim_own.overlay, p->at[0].hash);
        at_fd(SYS_unlinkat, dir, marker_name(p, wh), 0, 0);
        if (look_in(dir, p->at[0].name, &st) == -ENOENT)
            link_in(dir, p->mark, wh);
    }
    return r;
}

/* The object that was moved was none when it was looked at; should it be a directory by now, all
 * that is known of names below it is void. */
static int move(const struct plan *p, int from, int to)
{
    struct stat st;
    int r = (int)shim_gate(SYS_renameat2, from, (long)p->at[0].name, to, (long)p->at[1].name, 0);
    if (r == 0 && (look_in(to, p->at[1].name, &st) < 0 || S_ISDIR(st.st_mode)))
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
    case PLAN_COVER:
        return cover(p, dir);
    case PLAN_OPEN:
        return uncover(p, dir);
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
        if (p->kind == PLAN_UNLINK || p->kind == PLAN_COVER || p->kind == PLAN_RENAME)
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

/* The new file comes first: its descriptor is the lowest one that is free. */
static int open_in(struct shim_memory *m, const struct call *c, u64 changes)
{
    const struct session *s = &shim_shared.session;
    size_t len = 0;
    m->path[0] = '\0';
    const char *temp = path_last(m->plan.temp, str_len(m->plan.temp));
    const char *work = session_text(s, s->work);
    if (path_push(m->path, sizeof(m->path), &len, work, str_len(work)) ||
        path_push(m->path, sizeof(m->path), &len, temp, str_len(temp)))
        return -ENAMETOOLONG;
    u64 flags = (c->open_flags & (OPEN_FLAGS | WRITE_FLAGS)) | LARGE_FILE | O_CREAT | O_EXCL;
    int fd = shim_open_straight(m, m->path, flags, c->arg[c->row->flags + 1] & 07777);
    if (fd < 0)
        return fd;
    int r = act_in(m, changes);
    at_fd(SYS_unlinkat, AT_FDCWD, m->path, 0, 0);
    if (r < 0)
        shim_gate(SYS_close, fd, 0, 0, 0, 0);
    return r < 0 ? r : fd;
}

bool shim_is_alone(void)
{
    struct stat st;
    return !__atomic_load_n(&shim_own.shared, __ATOMIC_ACQUIRE) ||
           (at_fd(SYS_newfstatat, AT_FDCWD, "/proc/self/task", (u64)&st, 0) == 0 &&
            S_ISDIR(st.st_mode) && st.st_nlink == 3);
}

bool shim_hush(u64 *mask)
{
    const u64 all = ~0ull;
    return shim_gate(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)mask, sizeof(*mask), 0) >=
           0;
}

int shim_unhush(struct shim_saved *saved, const u64 *mask, long r)
{
    if (r >= 0) { /* a signal finds the call over */
        saved->result = r;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        saved->over = 1;
    }
    shim_gate(SYS_rt_sigprocmask, SIG_SETMASK, (long)mask, 0, sizeof(*mask), 0);
    return r >= 0 ? RESULT : LEAVE;
}

int shim_rename(struct shim_saved *saved, struct shim_memory *memory, const struct call *c,
                u64 changes)
{
    u64 mask;
    if (!shim_hush(&mask))
        return LEAVE;
    bool opens = c->row->handler == CALL_OPEN;
    int r = opens ? open_in(memory, c, changes) : act_in(memory, changes);
    return shim_unhush(saved, &mask, r > 0 && !opens ? 0 : r);
}
