#include "tracer/repoint.h"
#include "tracer/inject.h"
#include "tracer/log.h"
#include "tracer/notify.h"
#include "tracer/remote.h"
#include "tracer/supervise.h"
#include "base/sys.h"
#include "overlay/overlay.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STALE_MAX  64
#define KCMP_FILE  0
#define ONCE_FLAGS (O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY) /* meant for the first open alone */

bool repoint_due(const struct task *t)
{
    return t->proc->stale_seen != sup.overlay->facts->stale;
}

static bool has_remains(const struct stat *st)
{
    int fd = overlay_remains(&sup.overlay->vfs, st);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* The descriptors of the process that stand for a lower file with an upper copy: how many. */
static int find_stale(struct task *t, int fds[STALE_MAX])
{
    static struct place place;
    char name[64];
    struct dirent *e;
    int n = 0;
    int fd =
        openat(task_proc_fd(t), task_proc_name(t, "fd", name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while (n < STALE_MAX && (e = readdir(d))) {
        struct stat st;
        u64 number;
        if (!str_to_u64(e->d_name, &number) || t->who.ops.fd_stat(&t->who, (int)number, &st) ||
            !S_ISREG(st.st_mode) || !overlay_replaced(&sup.overlay->vfs, &st))
            continue;
        if (walk_fd(&sup.view, &t->who, (int)number, &place) == 0 && place.in_union &&
            place.fd_layer > 0 && (place.exists ? place.node.top == 0 : has_remains(&st)))
            fds[n++] = (int)number;
    }
    closedir(d);
    return n;
}

/* A conversation with the stopped program: calls it is made to execute. */
struct talk {
    struct task *t;
    bool begun; /* at a syscall-exit stop by now */
    bool after; /* of a call that came behind the instruction, not before it */
    long nr;
    u64 *arg;
};

static long say(struct talk *k, long nr, u64 a, u64 b, u64 c, u64 d)
{
    const u64 arg[6] = {a, b, c, d, 0, 0};
    long r;
    if (k->begun) {
        r = inject_after(k->t, nr, arg);
        k->nr = nr;
        memcpy(k->arg, arg, sizeof(arg));
        k->after = true;
    } else {
        r = inject_syscall(k->t, nr, arg);
        /* inject_syscall leaves the registers of the original call behind */
        k->nr = k->t->regs.nr;
        memcpy(k->arg, k->t->regs.arg, sizeof(k->t->regs.arg));
    }
    k->begun = true;
    return r;
}

/* Scratch with the upper copy's path; 0 where there is none. */
static u64 path_in_scratch(struct talk *k, const char *path)
{
    bool reexec;
    size_t n = strlen(path) + 1;
    u64 addr = scratch_get(k->t, n, &reexec);
    if (reexec) {
        if (k->t->has_status)
            return 0;
        k->begun = true;
        k->nr = k->t->regs.nr;
        memcpy(k->arg, k->t->regs.arg, sizeof(k->t->regs.arg));
        addr = scratch_get(k->t, n, &reexec);
    }
    return addr && remote_poke(k->t, addr, path, n) == 0 ? addr : 0;
}

static bool close_on_exec(struct task *t, int fd)
{
    char entry[32], name[64], text[256];
    unsigned long flags = 0;
    snprintf(entry, sizeof(entry), "fdinfo/%d", fd);
    int f = openat(task_proc_fd(t), task_proc_name(t, entry, name), O_RDONLY | O_CLOEXEC);
    if (f < 0)
        return false;
    ssize_t n = read(f, text, sizeof(text) - 1);
    close(f);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, "flags:");
    if (at)
        flags = strtoul(at + 6, NULL, 8);
    return flags & O_CLOEXEC;
}

/* How the upper copy is to be opened in the place of a descriptor of the program. */
struct twin {
    int flags;
    off_t pos;
    struct place place;  /* exists, or only what remains_of() opens is left */
    char real[PATH_MAX]; /* "" then */
};

static int look_at_twin(struct task *t, int fd, struct twin *w)
{
    struct caller *who = &t->who;
    struct vnode *node = &w->place.node;
    int mine = who->ops.fd_get(who, fd);
    if (mine < 0)
        return mine;
    int flags = fcntl(mine, F_GETFL);
    w->pos = lseek(mine, 0, SEEK_CUR);
    who->ops.fd_put(who, mine);
    caller_call_over();
    w->real[0] = '\0';
    if (flags < 0 || (flags & O_PATH) || walk_fd(&sup.view, who, fd, &w->place) ||
        (w->place.exists && node->top != 0) || /* never a lower: it may be opened for more */
        (w->place.exists && node->fs->ops.locate(node->fs, node, w->real, sizeof(w->real)) < 0))
        return -ENOENT;
    w->flags = (flags & ~ONCE_FLAGS) | O_CLOEXEC;
    log_debug("%d: descriptor %d is to read the upper copy %s", t->tid, fd, w->real);
    return 0;
}

/* Which of the descriptors share the open file description of the first. */
static void find_sharing(int tid, const int fds[], int n, bool shares[])
{
    shares[0] = true;
    for (int i = 1; i < n; i++)
        shares[i] = fds[i] >= 0 && syscall(SYS_kcmp, tid, tid, KCMP_FILE, fds[0], fds[i]) == 0;
}

/* The upper copy, open as `fd` was, at fd's position: a new descriptor of the program. */
static long open_twin(struct talk *k, int fd)
{
    static struct twin w;
    struct caller *who = &k->t->who;
    int err = look_at_twin(k->t, fd, &w);
    if (err || !w.real[0]) /* the program has no name for what was removed */
        return err ? err : -ENOENT;
    u64 addr = path_in_scratch(k, w.real);
    if (!addr)
        return k->t->has_status ? -ESRCH : -ENOMEM;
    long twin = say(k, SYS_openat, (u64)AT_FDCWD, addr, (u64)w.flags, 0);
    if (twin < 0)
        return twin;
    int mine = who->ops.fd_get(who, (int)twin);
    if (mine >= 0) {
        if (w.pos > 0)
            lseek(mine, w.pos, SEEK_SET);
        close(mine);
    }
    return twin;
}

/* Replaces fds[0] and every other of the list that shares its open file description. */
static long replace(struct talk *k, int fds[], int n)
{
    bool shares[STALE_MAX];
    find_sharing(k->t->tid, fds, n, shares);
    long twin = open_twin(k, fds[0]);
    if (twin < 0)
        return twin;
    for (int i = 0; i < n; i++) {
        if (!shares[i])
            continue;
        u64 flags = close_on_exec(k->t, fds[i]) ? O_CLOEXEC : 0;
        if (say(k, SYS_dup3, (u64)twin, (u64)fds[i], flags, 0) == -ESRCH && k->t->has_status)
            return -ESRCH;
        fds[i] = -1;
    }
    return say(k, SYS_close, (u64)twin, 0, 0, 0);
}

int repoint(struct task *t, long *nr, u64 arg[6])
{
    int fds[STALE_MAX];
    struct talk k = {.t = t, .arg = arg};
    t->proc->stale_seen = sup.overlay->facts->stale;
    if (t->proc->refs > 1 || filters_itself(t))
        return 0;
    int n = find_stale(t, fds);
    for (int i = 0; i < n; i++) {
        if (fds[i] < 0)
            continue;
        replace(&k, fds + i, n - i);
        if (t->has_status)
            return -ESRCH;
    }
    scratch_release(t);
    caller_call_over();
    if (k.begun && !k.after && say(&k, SYS_getpid, 0, 0, 0, 0) == -ESRCH && t->has_status)
        return -ESRCH;
    *nr = k.nr;
    return k.begun;
}

/* The same as a descriptor of ours. */
static int twin_here(struct task *t, int fd)
{
    static struct twin w;
    int err = look_at_twin(t, fd, &w);
    if (err)
        return err;
    int twin = w.real[0] ? sys_openat(AT_FDCWD, w.real, w.flags, 0) : -EACCES;
    if (twin == -EACCES) { /* removed, or closed by an ordinary user, it or a directory above */
        struct vnode *node = &w.place.node;
        struct stat st;
        int copy =
            w.real[0] ? node->fs->ops.grab(node->fs, node) : t->who.ops.fd_stat(&t->who, fd, &st);
        if (copy == 0 && !w.real[0])
            copy = overlay_remains(&sup.overlay->vfs, &st);
        if (copy < 0)
            return copy;
        twin = overlay_open_closed(sup.overlay, copy, w.flags & ~O_NOFOLLOW);
        close(copy);
    }
    if (twin >= 0 && w.pos > 0)
        lseek(twin, w.pos, SEEK_SET);
    return twin;
}

static void replace_by_notice(struct task *t, int fds[], int n)
{
    bool shares[STALE_MAX];
    int twin = twin_here(t, fds[0]);
    if (twin < 0)
        return;
    find_sharing(t->tid, fds, n, shares);
    for (int i = 0; i < n; i++) {
        if (!shares[i])
            continue;
        notify_replace(t->notice, twin, fds[i], close_on_exec(t, fds[i]));
        fds[i] = -1;
    }
    close(twin);
}

void repoint_by_notice(struct task *t)
{
    int fds[STALE_MAX];
    if (!repoint_due(t))
        return;
    t->proc->stale_seen = sup.overlay->facts->stale;
    if (t->proc->refs > 1)
        return;
    int n = find_stale(t, fds);
    for (int i = 0; i < n; i++) {
        if (fds[i] >= 0)
            replace_by_notice(t, fds + i, n - i);
    }
    caller_call_over();
}
