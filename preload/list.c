/* getdents64 of a directory that the kernel lists as the union shows it. The kernel moves the
 * directory's position with the call: where it was is noted before, so that a call given up is
 * undone (tracer/shimregs.c). */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"
#include "call/call.h"
#include "call/dir.h"
#include <dirent.h>
#include <sys/sysmacros.h>

struct entry {
    u64 ino;
    s64 off;
    u16 reclen;
    u8 type;
    char name[];
};

/* Takes out of n bytes of entries what the union does not show. The bytes that are left, or -1
 * where that needs a closer look. `lower`: they are one lower's, of the directory who->x. */
static long sift(struct shim_caller *who, u8 *buf, long n, const u64 dots[2], bool lower)
{
    const struct statx *x = &who->x;
    u64 dev = makedev(x->stx_dev_major, x->stx_dev_minor);
    const struct overlay *o = &shim_own.overlay;
    long to = 0;
    for (long at = 0; at < n;) {
        struct entry *e = (struct entry *)(buf + at);
        const char *name = e->name;
        u16 size = e->reclen;
        if (e->type == DT_CHR || e->type == DT_UNKNOWN)
            return -1;
        at += size;
        if (name[0] == '.') {
            if (!name[1])
                e->ino = dots[0] ? dots[0] : e->ino;
            else if (name[1] == '.' && !name[2])
                e->ino = dots[1] ? dots[1] : e->ino;
            else if (overlay_reserved(o, name, str_len(name)))
                continue;
        }
        if (lower && !is_dot(name, str_len(name)) && !is_dotdot(name, str_len(name))) {
            shim_note_node(who, dev, e->ino);
            if (e->type == DT_DIR)
                shim_note_plain(who, dev, e->ino, x->stx_mnt_id);
        }
        if (to != at - size)
            memmove(buf + to, e, size);
        to += size;
    }
    return to;
}

/* Where c's directory is open at the part of the union's that the kernel can list: 1; outside: 0;
 * else -1. */
static int is_plain(struct shim_own *own, struct shim_caller *who, struct call *c, u64 dots[2],
                    bool *lower)
{
    struct place *p = &c->place;
    *lower = !own->overlay.notes->raw_dirs && shim_is_plain(who, c, c->fd, dots);
    if (*lower)
        return 1;
    if (walk_fd(c->view, c->who, c->fd, p) < 0)
        return -1;
    if (shim_has_binds(p))
        return -1;
    if (!p->in_union)
        return p->removed || !p->exists || p->bind >= 0 ? -1 : 0;
    if (!p->exists || p->removed || p->fd_layer != p->node.top)
        return -1;
    return overlay_lists_plainly(&own->overlay, &p->node, dots) ? 1 : -1;
}

bool shim_list(struct shim_saved *saved, struct shim_caller *who, struct call *c)
{
    struct shim_own *own = &shim_own;
    const u64 *now = &own->overlay.facts->changes;
    u64 dots[2] = {0, 0};
    bool lower;
    c->fd = (int)c->arg[0];
    s64 pos = c->fd < 0 ? -EBADF : sys_lseek(c->fd, 0, SEEK_CUR);
    if (pos < 0 || (pos > 0 && !dirs_kernel_pos(c->view->fs, pos)))
        return false;
    u8 *buf = (u8 *)c->arg[1];
    saved->moved_pos = (u64)pos;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    saved->moved = (u64)c->fd + 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    long n = shim_gate(SYS_getdents64, c->fd, (long)buf, (long)(u32)c->arg[2], 0, 0);
    /* At the end of what the kernel has listed so far nothing is left to be proven. */
    bool ended = n == 0 && pos > 0;
    int plain = ended ? 0 : is_plain(own, who, c, dots, &lower);
    long left = n > 0 && plain > 0 ? sift(who, buf, n, dots, lower) : n;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (plain < 0 || left < 0 || (n > 0 && !left) ||
        __atomic_load_n(now, __ATOMIC_ACQUIRE) != who->changes) {
        shim_gate(SYS_lseek, c->fd, pos, SEEK_SET, 0, 0);
        return false;
    }
    saved->result = left;
    return true;
}
