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
    return t->proc->stale_seen != sup.overlay->stale;
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
            place.exists && place.fd_layer > 0 && place.node.top == 0)
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

/* The upper copy, open as `fd` was, at fd's position: a new descriptor of the program. */
static long open_twin(struct talk *k, int fd)
{
    static struct place place;
    static char real[PATH_MAX];
    struct caller *who = &k->t->who;
    int mine = who->ops.fd_get(who, fd);
    if (mine < 0)
        return mine;
    int flags = fcntl(mine, F_GETFL);
    off_t pos = lseek(mine, 0, SEEK_CUR);
    close(mine);
    if (flags < 0 || (flags & O_PATH) || walk_fd(&sup.view, who, fd, &place) || !place.exists ||
        place.node.fs->ops.locate(place.node.fs, &place.node, real, sizeof(real)) < 0)
        return -ENOENT;
    u64 addr = path_in_scratch(k, real);
    if (!addr)
        return k->t->has_status ? -ESRCH : -ENOMEM;
    long twin = say(k, SYS_openat, (u64)AT_FDCWD, addr, (u64)(flags & ~ONCE_FLAGS) | O_CLOEXEC, 0);
    if (twin < 0)
        return twin;
    mine = who->ops.fd_get(who, (int)twin);
    if (mine >= 0) {
        if (pos > 0)
            lseek(mine, pos, SEEK_SET);
        close(mine);
    }
    log_debug("%d: descriptor %d now reads the upper copy %s", k->t->tid, fd, real);
    return twin;
}

/* Replaces fds[0] and every other of the list that shares its open file description. */
static long replace(struct talk *k, int fds[], int n)
{
    int tid = k->t->tid, lead = fds[0];
    bool shares[STALE_MAX] = {true};
    for (int i = 1; i < n; i++)
        shares[i] = fds[i] >= 0 && syscall(SYS_kcmp, tid, tid, KCMP_FILE, lead, fds[i]) == 0;
    long twin = open_twin(k, lead);
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
    t->proc->stale_seen = sup.overlay->stale;
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

/* A descriptor of ours for the upper copy, open as the program's `fd` was, at its position. */
static int twin_here(struct task *t, int fd)
{
    static struct place place;
    struct caller *who = &t->who;
    char path[SYS_FD_PATH];
    int mine = who->ops.fd_get(who, fd);
    if (mine < 0)
        return mine;
    int flags = fcntl(mine, F_GETFL), twin = -ENOENT;
    off_t pos = lseek(mine, 0, SEEK_CUR);
    who->ops.fd_put(who, mine);
    caller_call_over();
    if (flags < 0 || (flags & O_PATH) || walk_fd(&sup.view, who, fd, &place) || !place.exists)
        return -ENOENT;
    int copy = place.node.fs->ops.grab(place.node.fs, &place.node);
    if (copy >= 0) {
        twin = sys_openat(AT_FDCWD, sys_fd_path(path, copy), (flags & ~ONCE_FLAGS) | O_CLOEXEC, 0);
        close(copy);
    }
    if (twin >= 0 && pos > 0)
        lseek(twin, pos, SEEK_SET);
    return twin;
}

void repoint_by_notice(struct task *t)
{
    int fds[STALE_MAX];
    if (!repoint_due(t))
        return;
    t->proc->stale_seen = sup.overlay->stale;
    if (t->proc->refs > 1)
        return;
    int n = find_stale(t, fds);
    for (int i = 0; i < n; i++) {
        if (fds[i] < 0)
            continue;
        int lead = fds[i], twin = twin_here(t, lead);
        if (twin < 0)
            continue;
        bool shares[STALE_MAX];
        for (int k = i; k < n; k++)
            shares[k] = k == i || (fds[k] >= 0 &&
                                   syscall(SYS_kcmp, t->tid, t->tid, KCMP_FILE, lead, fds[k]) == 0);
        for (int k = i; k < n; k++) {
            if (!shares[k])
                continue;
            notify_replace(t->notice, twin, fds[k], close_on_exec(t, fds[k]));
            fds[k] = -1;
        }
        close(twin);
    }
    caller_call_over();
}
