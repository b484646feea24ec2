/* From a rewritten site to the engine and back: which calls are done here, and what makes one the
 * supervisor's after all. Nothing is changed and nothing opened before the result is known, so that
 * a call can be given up at any instruction (but see names.c). */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"
#include "call/call.h"

/* The only system calls made while nothing is decided: they read, and need no descriptor. */
long shim_sys(long nr, long a, long b, long c, long d, long e, long f UNUSED)
{
    switch (nr) {
    case SYS_newfstatat:
    case SYS_fstat:
    case SYS_statx:
    case SYS_readlinkat:
    case SYS_getxattr:
    case SYS_lgetxattr:
    case SYS_fgetxattr:
    case SYS_llistxattr:
    case SYS_lseek:
        return shim_gate(nr, a, b, c, d, e);
    case SYS_fcntl:
        if (b == F_GETFL)
            return shim_gate(nr, a, b, c, d, e);
        break;
    default:
        break;
    }
    shim_unable();
}

static bool is_by_fd(const struct sysrow *row, const struct call *c)
{
    return row->path < 0 || ((row->traits & SYS_NULL_PATH) && !c->arg[row->path]);
}

/* A signal may come between what is set by descriptor and its result, and it is set once more:
 * not what must not be there yet. */
static bool is_said_once(const struct call *c)
{
    return c->row->handler == CALL_SETXATTR && c->arg[4];
}

/* A file that is open for writing is not a lower's (devices may be): the kernel may set its mode,
 * owner and times, wherever it lies. */
static bool sets_written(const struct sysrow *row, const struct call *c)
{
    if (row->dirfd < 0 || shim_shared.session.holds_lower ||
        (row->handler == CALL_SETXATTR && !shim_plain_attr(c, row->aux)))
        return false;
    int fd = (int)c->arg[row->dirfd];
    long flags = shim_gate(SYS_fcntl, fd, F_GETFL, 0, 0, 0);
    struct stat st;
    return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH) &&
           sys_fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static bool serves(const struct sysrow *row)
{
    switch ((enum call_handler)row->handler) {
    case CALL_STAT:
    case CALL_STATX:
    case CALL_ACCESS:
    case CALL_READLINK:
        return true;
    case CALL_GETXATTR:
        return row->path >= 0 || shim_asks_attrs(row);
    case CALL_LISTXATTR:
        return shim_asks_attrs(row);
    case CALL_OPEN:
        return row->flags >= 0;
    case CALL_GETCWD:
    case CALL_EXEC:
        return true;
    case CALL_GETDENTS:
        return !(row->traits & SYS_OLD_STRUCT);
    case CALL_CHDIR:
    case CALL_FCHDIR:
        return shim_is_alone();
    default:
        return shim_changes(row) || (shim_renames(row) && shim_is_alone());
    }
}

/* What changes the union in more than one step, and what takes memory or descriptors, is never done
 * here: any call of it ends in shim_unable(), whatever its arguments. */
static void fill_changing(struct vfs_ops *ops)
{
    void *unable = (void *)shim_unable;
    ops->list = unable;
    ops->grab = unable;
    ops->copy_up = overlay_copied_up;
    ops->mkdir = overlay_plan_mkdir;
    ops->mknod = unable;
    ops->symlink = overlay_plan_symlink;
    ops->link = unable;
    ops->unlink = overlay_plan_unlink;
    ops->rmdir = unable;
    ops->rename = overlay_plan_rename;
    ops->create_begin = overlay_create_alone;
    ops->create_end = unable;
}

static void set_up(struct shim_own *own)
{
    struct shim_shared *shared = &shim_shared;
    overlay_attach(&own->overlay, &shared->session, shared->facts, shim_unable);
    fill_changing(&own->overlay.vfs.ops);
    own->overlay.only_reads = true;
    own->overlay.steady = shared->session.guard ? own->steady : NULL;
    own->view.session = &shared->session;
    own->view.fs = &own->overlay.vfs;
    own->view.raw_dirs = &own->overlay.notes->raw_dirs;
    own->view.unable = shim_unable;
    own->view.moves = &own->overlay.facts->moves;
    own->view.steady = own->overlay.steady;
    __atomic_store_n(&own->ready, 1, __ATOMIC_RELEASE);
}

/* What has come out may be told: nothing changed meanwhile. */
bool shim_stands(const struct overlay_facts *facts, u64 changes)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&facts->changes, __ATOMIC_ACQUIRE) == changes;
}

static bool may_tell(const struct call *c)
{
    if (c->result >= 0 || c->result == -ENOENT)
        return true;
    if (c->row->handler == CALL_GETXATTR)
        return c->result == -ENODATA || c->result == -ERANGE || c->result == -EOPNOTSUPP;
    if (c->result == -EEXIST)
        return c->row->handler == CALL_MKDIR;
    return (c->result == -EACCES && c->row->handler == CALL_ACCESS) ||
           (c->result == -EINVAL && c->row->handler == CALL_READLINK);
}

/* The kernel opens it as the call's last step. */
int shim_open_last(struct shim_saved *saved, struct shim_memory *memory, u64 flags, int dirfd,
                   const char *path)
{
    memset(&memory->how, 0, sizeof(memory->how));
    memory->how.flags =
        flags & O_PATH ? flags & PLACE_FLAGS : (flags & (OPEN_FLAGS | WRITE_FLAGS)) | LARGE_FILE;
    memory->how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    str_copy(memory->path, sizeof(memory->path), path);
    saved->last_nr = SYS_openat2;
    saved->last[0] = (u64)dirfd;
    saved->last[1] = (u64)memory->path;
    saved->last[2] = (u64)&memory->how;
    saved->last[3] = sizeof(memory->how);
    return LAST;
}

static int open_in_union(struct shim_saved *saved, struct shim_memory *memory, const struct call *c,
                         u64 changes)
{
    u64 said = (u32)c->arg[c->row->flags];
    if (said & O_PATH) /* directories; it is rare for anything else */
        return c->place.exists && !c->far && S_ISDIR(c->place.node.st.st_mode)
                   ? shim_open_last(saved, memory, said, AT_FDCWD, c->real)
                   : LEAVE;
    if (!c->open_here || c->nblobs > 2)
        return LEAVE;
    if (memory->plan.kind == PLAN_OPEN)
        return shim_is_alone() ? shim_rename(saved, memory, c, changes) : LEAVE;
    if (!c->pending.active)
        return shim_open_last(saved, memory, c->open_flags, AT_FDCWD, c->real);
    shim_open_last(saved, memory, c->open_flags | O_CREAT | O_EXCL, AT_FDCWD, c->real);
    memory->how.mode = c->arg[c->row->flags + 1] & 07777;
    saved->touch = c->pending.node_hash;
    if (!saved->touch)
        return LEAVE; /* would mean nothing */
    overlay_touch(&shim_own.overlay, saved->touch);
    return LAST;
}

void shim_done(struct shim_saved *saved)
{
    if (saved->touch)
        overlay_touch(&shim_own.overlay, saved->touch);
    if (saved->dir)
        shim_opened_dir(saved);
}

/* By the path without links that the walk has found: a link that has come there since leads
 * nowhere. */
static int open_outside(struct shim_saved *saved, struct shim_memory *memory, const struct call *c)
{
    const struct place *p = &c->place;
    u64 flags = c->arg[c->row->flags];
    if ((flags & O_PATH) || c->by_fd || p->in_union || !place_is_name(p))
        return LEAVE;
    if (p->exists || (flags & O_CREAT)) {
        int last = shim_open_last(saved, memory, flags, AT_FDCWD, p->path);
        memory->how.mode = flags & O_CREAT ? c->arg[c->row->flags + 1] & 07777 : 0;
        return last;
    }
    saved->result = -ENOENT;
    return RESULT;
}

/* A change of the working directory, of a process that nobody shares it with: counted first, so that
 * what is remembered of it is known to be old. */
static int move(struct shim_saved *saved, struct shim_memory *memory, const struct call *c)
{
    bool by_path = c->row->path >= 0;
    bool passes = c->action == CALL_PASS && !(by_path && (c->place.in_union || c->place.crossed));
    if (!passes && !(c->action == CALL_REWRITE && c->place.in_union))
        return LEAVE;
    __atomic_add_fetch(&shim_own.chdirs, 1, __ATOMIC_SEQ_CST);
    if (passes)
        return PASS;
    str_copy(memory->path, sizeof(memory->path), c->real);
    saved->last_nr = SYS_chdir;
    saved->last[0] = (u64)memory->path;
    return LAST;
}

/* Programs are looked for in directory after directory; the one that is there is the supervisor's.
 */
static bool finds_nothing(struct call *c)
{
    int err = call_resolve(c, call_follow(c));
    return !c->by_fd &&
           (err == -ENOENT || (!err && !c->place.exists && place_is_name(&c->place)));
}

static bool is_rare(u32 open_flags)
{
    return open_flags & ~(u32)(open_flags & O_PATH ? PLACE_FLAGS : OPEN_FLAGS | WRITE_FLAGS);
}

int shim_handle(struct shim_saved *saved)
{
    struct shim_own *own = &shim_own;
    const struct sysrow *row = systab_row((long)saved->rax);
    struct shim_memory *memory = shim_memory_of(saved);
    struct shim_caller who;
    struct view view;
    struct call c;
    saved->touch = saved->dir = saved->missing = 0;
    if (__atomic_load_n(&own->off, __ATOMIC_ACQUIRE) || !row || !serves(row))
        return LEAVE;
    if (!__atomic_load_n(&own->ready, __ATOMIC_ACQUIRE))
        set_up(own);
    c.view = &view;
    c.who = &who.who;
    c.row = row;
    c.dirs = NULL;
    c.attempts = 0;
    c.arg[0] = saved->rdi;
    c.arg[1] = saved->rsi;
    c.arg[2] = saved->rdx;
    c.arg[3] = saved->r10;
    c.arg[4] = saved->r8;
    c.arg[5] = saved->r9;
    if (row->handler == CALL_OPEN && is_rare((u32)c.arg[row->flags]))
        return LEAVE;
    bool by_path = shim_changes(row) && !is_by_fd(row, &c);
    if ((by_path && !shim_sets(row)) || (shim_changes(row) && is_said_once(&c)))
        return LEAVE;
    const struct overlay_facts *facts = own->overlay.facts;
    u64 changes = __atomic_load_n(&facts->changes, __ATOMIC_ACQUIRE);
    if ((changes & 1) || __atomic_load_n(&facts->stale, __ATOMIC_ACQUIRE) != own->stale)
        return LEAVE;
    shim_caller(&who, memory, changes);
    who.who.plan = &memory->plan;
    memory->plan.kind = PLAN_NONE;
    view = own->view;
    view.memo = &memory->memo;
    if (by_path) {
        call_begin(&c);
        return shim_set(saved, &who, &c, changes);
    }
    if (shim_changes(row) && sets_written(row, &c))
        return PASS;
    if (shim_asks_attrs(row)) {
        int r = shim_attrs(saved, memory, &c);
        return shim_stands(facts, changes) ? r : LEAVE;
    }
    if (row->handler == CALL_GETDENTS)
        return shim_list(saved, &who, &c) ? RESULT : LEAVE;
    int near = shim_outside(saved, &who, &c);
    if (near == SHIM_GO_ON)
        near = shim_near(saved, &who, &c);
    if (near != SHIM_GO_ON)
        return shim_stands(facts, changes) ? near : LEAVE;
    call_begin(&c);
    if (row->handler == CALL_EXEC)
        return finds_nothing(&c) && shim_stands(facts, changes) ? shim_result(saved, -ENOENT)
                                                                : LEAVE;
    call_dispatch(&c);
    if (!shim_stands(facts, changes))
        return LEAVE;
    shim_learn(&who, &c);
    shim_learn_outside(&who, &c);
    if (row->handler == CALL_OPEN && (c.action == CALL_REWRITE || c.action == CALL_PASS))
        return c.action == CALL_REWRITE && c.place.in_union
                   ? open_in_union(saved, memory, &c, changes)
                   : open_outside(saved, memory, &c);
    if (row->handler == CALL_CHDIR || row->handler == CALL_FCHDIR)
        return move(saved, memory, &c);
    if (c.action == CALL_PASS)
        return shim_renames(row) ? LEAVE : PASS;
    if (c.action != CALL_DONE || !may_tell(&c))
        return LEAVE;
    if (shim_renames(row) && c.result == 0)
        return shim_rename(saved, memory, &c, changes);
    saved->result = c.result;
    return RESULT;
}

struct shim_shared shim_shared __attribute__((section(".shared,\"aw\",@nobits#")));
struct shim_own shim_own __attribute__((section(".own,\"aw\",@nobits#"), aligned(4096)));
