/* execve and execveat: the kernel resolves the program, the "#!" interpreter and the ELF
 * interpreter by itself and knows nothing of the union. Where any of them lies there, the program
 * is made to run what it would have found, with the words that it would have seen. */
#include "base/str.h"
#include "base/sys.h"
#include "tracer/elf.h"
#include "tracer/exec.h"
#include "tracer/execargs.h"
#include "tracer/execfile.h"
#include "tracer/fakeids.h"
#include "tracer/inject.h"
#include "tracer/interp.h"
#include "tracer/remote.h"
#include "tracer/script.h"
#include "tracer/shim.h"
#include "tracer/supervise.h"
#include "vfs/access.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000 /* Linux 6.14 */
#endif

/* An exec under way. */
struct execution {
    struct task *task;
    struct call *call;
    struct exec_plan *plan;
    struct exec_args args;
    char name[PATH_MAX];  /* the file as said: what a script's interpreter is given */
    char real[PATH_MAX];  /* what the kernel gets for it */
    struct place *place;  /* of the file at hand */
    struct stat st;       /* its own, where it was read */
    int by_fd;            /* the file at hand is this descriptor of the program, else -1 */
    bool touched;         /* an interpreter is not what the kernel would find */
    bool argued;          /* args differ from the program's own list */
    bool closing;         /* the name is one of a descriptor that the exec closes */
    unsigned depth;       /* scripts so far */
    struct place loader;  /* of the ELF interpreter */
    char argv0[PATH_MAX]; /* room for run_loader */
};

/* -- the file at hand ----------------------------------------------------------------------------
 */

static bool ours(const struct place *p)
{
    return p->in_union || p->crossed;
}

/* May the caller execute it? Also for files that the kernel itself will not be asked to run. */
static int may_execute(struct execution *x)
{
    struct place *p = x->place;
    struct caller *who = &x->task->who;
    if (p->in_union && p->exists)
        return p->node.fs->ops.permission(p->node.fs, who, &p->node, X_OK);
    if (x->by_fd >= 0)
        return 0; /* opened for this, and not reachable by a name that could be asked */
    who->ops.assume(who);
    int err = sys_faccessat2(AT_FDCWD, p->path, X_OK, AT_EACCESS);
    who->ops.resume(who);
    return err;
}

static int open_file(struct execution *x)
{
    struct caller *who = &x->task->who;
    if (x->by_fd < 0)
        return execfile_open(x->place, x->name, &x->st);
    int fd = who->ops.fd_get(who, x->by_fd);
    if (fd < 0)
        return fd;
    int r = execfile_open_fd(fd, x->name, &x->st);
    who->ops.fd_put(who, fd);
    return r;
}

static int load_args(struct execution *x)
{
    return exec_args_load(&x->args, x->task, x->call->arg[x->call->row->path + 1]);
}

/* -- scripts -------------------------------------------------------------------------------------
 */

/* The script at hand gives way to its interpreter. */
static int run_script(struct execution *x, const struct script *s)
{
    int err = x->depth++ == SCRIPT_DEPTH ? -ELOOP : may_execute(x);
    if (!err && x->closing)
        err = -ENOENT; /* the interpreter could not open it */
    x->closing = false;
    if (!err)
        err = load_args(x);
    if (err)
        return err;
    exec_args_drop_first(&x->args);
    err = exec_args_push(&x->args, x->name);
    if (!err && s->has_arg)
        err = exec_args_push(&x->args, s->arg);
    if (!err)
        err = exec_args_push(&x->args, s->interp);
    if (err)
        return err;
    x->argued = true;
    str_copy(x->name, sizeof(x->name), s->interp);
    x->by_fd = -1;
    x->place = &x->call->place2;
    err = interp_find(x->call, s->interp, x->place);
    x->touched |= ours(x->place);
    return err;
}

/* -- ELF -----------------------------------------------------------------------------------------
 */

/* True where the kernel, given the loader's path, would find the very same file; *host is what it
 * finds, of no type where that is nothing. */
static bool same_natively(const struct place *p, const char *path, struct stat *host)
{
    struct stat st;
    host->st_mode = 0;
    if (!ours(p))
        return true;
    if (path[0] != '/' || sys_fstatat(AT_FDCWD, path, host, 0))
        return false;
    if (p->in_union)
        return dev_ino_equal(host, &p->node.st);
    return sys_fstatat(AT_FDCWD, p->path, &st, 0) == 0 && dev_ino_equal(host, &st);
}

static void name_in_root(const struct view *view, const struct place *p, char *buf, size_t cap)
{
    long n = walk_name_of(view, p, buf, cap);
    if (n > 0)
        walk_in_root(view, buf, (size_t)n);
}

static int loader_takes_argv0(const struct execution *x, const char *loader, bool *yes)
{
    const struct place *p = &x->loader;
    struct stat st;
    if (p->in_union && elf_loader_known(&p->node.st, yes))
        return 0;
    int fd = execfile_open(p, loader, &st);
    if (fd < 0)
        return fd;
    struct elf elf;
    *yes = elf_loader_takes_argv0(fd);
    elf_read(fd, &elf);
    elf_note(&st, &elf);
    elf_note_loader(&st, *yes);
    sys_close(fd);
    return 0;
}

/* The program at hand gives way to its loader, which lies in the union and opens the program
 * itself, by a path that it resolves as any other program does. */
static int run_loader(struct execution *x, const char *loader)
{
    struct caller *who = &x->task->who;
    int err = may_execute(x);
    if (!err)
        err = load_args(x);
    if (err)
        return err;
    long n = exec_args_first(&x->args, x->task, x->argv0, sizeof(x->argv0));
    if (n == -EFAULT)
        return -EFAULT;
    bool takes_argv0;
    err = loader_takes_argv0(x, loader, &takes_argv0);
    if (err)
        return err;
    exec_args_drop_first(&x->args);
    if (x->by_fd >= 0 && !x->place->exists)
        snprintf(x->plan->exe, sizeof(x->plan->exe), "/proc/self/fd/%d", x->by_fd);
    else
        name_in_root(x->call->view, x->place, x->plan->exe, sizeof(x->plan->exe));
    err = exec_args_push(&x->args, x->plan->exe);
    if (!err && takes_argv0 && n >= 0) {
        err = exec_args_push(&x->args, x->argv0);
        if (!err)
            err = exec_args_push(&x->args, "--argv0");
    }
    if (!err)
        err = exec_args_push(&x->args, loader);
    if (x->plan->exe[0] && !x->place->exists)
        x->plan->exe[0] = '\0';
    x->touched = x->argued = true;
    x->by_fd = -1;
    return err ? err : execfile_check(who, &x->loader, x->real, sizeof(x->real));
}

/* The kernel would start the host's loader, with stat `host`: it may, and finds its place taken
 * (loader.h). 0; -ENOEXEC where that cannot be, so that the union's is run as a program; or another
 * error. */
static int change_loader(struct execution *x, const char *loader, const struct stat *host)
{
    struct caller *who = &x->task->who;
    struct loader_change *c = &x->plan->loader;
    if (x->by_fd >= 0 ||
        (x->task->proc->shim_off && filters_itself(x->task)) || /* and might not let it be done */
        execfile_check(who, &x->loader, c->real, sizeof(c->real)) ||
        str_copy(c->said, sizeof(c->said), loader) < 0)
        return -ENOEXEC;
    int err = execfile_host_loader(loader, host, &c->host);
    if (!err)
        err = execfile_loader(&x->loader, loader, &c->ours);
    if (!err && !loader_fits(c))
        err = -ENOEXEC;
    if (!err && (!who->same_as_session || !c->host.for_all)) {
        who->ops.assume(who);
        if (sys_faccessat2(AT_FDCWD, loader, X_OK, AT_EACCESS) ||
            sys_faccessat2(AT_FDCWD, c->real, R_OK, AT_EACCESS))
            err = -ENOEXEC;
        who->ops.resume(who);
    }
    x->plan->change = err == 0;
    x->touched |= err == 0;
    return err;
}

/* -- all of it -----------------------------------------------------------------------------------
 */

static bool read_before(struct execution *x, struct elf *elf)
{
    const struct place *p = x->place;
    if (x->by_fd >= 0)
        return false;
    if (p->in_union)
        x->st = p->node.st;
    else if (sys_fstatat(AT_FDCWD, p->path, &x->st, 0))
        return false;
    return elf_known(&x->st, elf);
}

/* The file at hand: its first *n bytes in `head` where it is a script, else *n = 0. 1 where the
 * kernel shall say what it thinks of it; negative errno. */
static int read_now(struct execution *x, char head[SCRIPT_HEAD], ssize_t *n, struct elf *elf)
{
    int fd = open_file(x), err = 0;
    if (fd < 0)
        return fd == -EPERM ? fd : 1;
    *n = pread(fd, head, SCRIPT_HEAD, 0);
    if (*n <= 0 || !script_is(head, (size_t)*n)) {
        *n = 0;
        elf_read(fd, elf);
        elf_note(&x->st, elf);
    } else if (execfile_busy(fd)) {
        err = -ETXTBSY;
    }
    sys_close(fd);
    return err;
}

/* Whom a set-id program makes of a task with fake ids. */
static void execute_faked(struct execution *x)
{
    struct place *p = x->place;
    struct stat st = x->st;
    if (p->in_union && p->exists)
        p->node.fs->ops.getattr(p->node.fs, &p->node, &st);
    else
        st.st_mode &= ~(mode_t)(S_ISUID | S_ISGID);
    fakeids_execute(x->task, &st);
}

/* Follows scripts and loaders to the file that the kernel shall run: 0 with real, args and touched
 * complete, or -errno. */
static int unfold(struct execution *x)
{
    char head[SCRIPT_HEAD];
    struct script script;
    struct elf elf;
    struct stat host;
    for (;;) {
        ssize_t n = 0;
        int err = 0;
        if (x->by_fd < 0)
            err = execfile_check(&x->task->who, x->place, x->real, sizeof(x->real));
        if (err)
            return err;
        if (!read_before(x, &elf)) {
            err = read_now(x, head, &n, &elf);
            if (err)
                return err < 0 ? err : 0;
        }
        if (n) {
            if (script_parse(head, (size_t)n, &script))
                return 0;
            err = run_script(x, &script);
            if (err)
                return err;
            continue;
        }
        if (x->task->fake)
            execute_faked(x);
        x->task->program = shim_program(&x->st);
        x->task->plain_program = !(x->st.st_mode & (S_ISUID | S_ISGID));
        if (elf.kind == ELF_32) {
            execfile_complain(x->name,
                              "32-bit programs cannot be run inside the union (their calls would "
                              "miss it); use a 64-bit build");
            /* Not ENOEXEC: shells and execvp(3) would take it for a script of theirs. */
            return -EPERM;
        }
        if (elf.kind != ELF_NATIVE || !elf.interp[0])
            return 0;
        err = interp_find(x->call, elf.interp, &x->loader);
        if (!ours(&x->loader) || (!err && same_natively(&x->loader, elf.interp, &host)))
            return 0;
        if (!err)
            err = change_loader(x, elf.interp, &host);
        return err == -ENOEXEC ? run_loader(x, elf.interp) : err;
    }
}

static bool closes_on_exec(struct task *t, int fd)
{
    char entry[32], name[64], text[128] = {0};
    snprintf(entry, sizeof(entry), "fdinfo/%d", fd);
    int info = sys_openat(task_proc_fd(t), task_proc_name(t, entry, name), O_RDONLY | O_CLOEXEC, 0);
    if (info < 0)
        return false;
    long n = sys_read(info, text, sizeof(text) - 1);
    sys_close(info);
    const char *flags = n > 0 ? strstr(text, "flags:") : NULL;
    return flags && (strtoul(flags + 6, NULL, 8) & O_CLOEXEC);
}

/* The kernel's own name for a file given by descriptor (and path): what a script is called then. */
static int name_by_fd(struct execution *x)
{
    struct call *c = x->call;
    const char *said = c->by_fd ? "" : c->said;
    int dirfd = c->row->dirfd >= 0 ? (int)c->arg[c->row->dirfd] : AT_FDCWD;
    if (said[0] == '/' || dirfd == AT_FDCWD)
        return str_copy(x->name, sizeof(x->name), said) < 0 ? -ENAMETOOLONG : 0;
    int n =
        snprintf(x->name, sizeof(x->name), said[0] ? "/dev/fd/%d/%s" : "/dev/fd/%d", dirfd, said);
    x->closing = closes_on_exec(x->task, dirfd);
    return n < (int)sizeof(x->name) ? 0 : -ENAMETOOLONG;
}

/* True where the kernel, given the program's own words, would open the very file at c->place. */
static bool words_suffice(const struct execution *x)
{
    struct call *c = x->call;
    const struct place *p = &c->place;
    struct stat st;
    char real[PATH_MAX], entry[64];
    if (!p->in_union || !p->exists)
        return !p->crossed;
    if (p->node.fs->ops.locate(p->node.fs, &p->node, real, sizeof(real)) < 0 ||
        !str_eq(real, p->path) || p->magic_fd >= 0)
        return false;
    if (c->said[0] == '/')
        return sys_fstatat(AT_FDCWD, c->said, &st, 0) == 0 && dev_ino_equal(&st, &p->node.st);
    if (c->row->dirfd >= 0 && (int)c->arg[c->row->dirfd] != AT_FDCWD)
        return false;
    int cwd = sys_openat(task_proc_fd(x->task), task_proc_name(x->task, "cwd", entry),
                         O_PATH | O_CLOEXEC, 0);
    if (cwd < 0)
        return false;
    bool same = sys_fstatat(cwd, c->said, &st, 0) == 0 && dev_ino_equal(&st, &p->node.st);
    sys_close(cwd);
    return same;
}

/* A layer's file run by its own path is called by that path and not by its name in the union. */
static void name_program(struct execution *x)
{
    const struct place *p = x->place;
    const char *rest;
    if (!x->plan->exe[0] && x->by_fd < 0 && !p->in_union && p->exists &&
        session_layer_of(x->call->view->session, p->path, &rest) >= 0)
        str_copy(x->plan->exe, sizeof(x->plan->exe), p->path);
}

static void rewrite_nothing(struct call *c)
{
    c->action = CALL_REWRITE;
    c->new_nr = c->row->nr;
    memcpy(c->new_arg, c->arg, sizeof(c->arg));
}

/* A real path as long as what the program said, so that AT_EXECFN has room for that (leading
 * slashes mean nothing). */
static void make_room(struct execution *x, const char *said)
{
    size_t n = strlen(x->real), want = strlen(said);
    if (n >= want || want >= sizeof(x->real))
        return;
    memmove(x->real + (want - n), x->real, n + 1);
    memset(x->real, '/', want - n);
}

/* Lays path and arguments out in the program's scratch: 0, -errno, or 1 where the call has to be
 * trapped again. */
static int lay_out(struct execution *x)
{
    struct call *c = x->call;
    bool again = false;
    u64 argv;
    if (x->task->noticed) { /* at a stop, then */
        rewrite_nothing(c);
        return 0;
    }
    size_t size = exec_args_image(&x->args, x->real, 0, NULL, &argv);
    u64 at = scratch_get(x->task, size, &again);
    if (again)
        return 1;
    char *image = at ? malloc(size) : NULL;
    if (!image)
        return -ENOMEM;
    exec_args_image(&x->args, x->real, at, image, &argv);
    int err = remote_poke(x->task, at, image, size);
    free(image);
    rewrite_nothing(c);
    c->new_arg[c->row->path] = at;
    c->new_arg[c->row->path + 1] = argv;
    if (c->row->flags >= 0)
        c->new_arg[c->row->flags] &= ~(u64)(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
    return err;
}

static void decide(struct execution *x)
{
    struct call *c = x->call;
    struct place *p = &c->place;
    bool suffices = c->by_fd || words_suffice(x);
    x->place = p;
    x->by_fd = c->by_fd ? c->fd : -1;
    if (!p->in_union && !p->exists && !c->by_fd) {
        call_outside(c, false);
        return;
    }
    int err = name_by_fd(x);
    str_copy(x->plan->said, sizeof(x->plan->said), x->name);
    if (!err)
        err = unfold(x);
    if (!err)
        name_program(x);
    if (!err && suffices && !x->touched) {
        if (x->plan->exe[0]) {
            x->plan->said[0] = '\0';
            rewrite_nothing(c);
        } else {
            call_pass(c);
        }
        return;
    }
    if (!err) {
        str_copy(c->real, sizeof(c->real), x->real);
        make_room(x, x->plan->said);
    }
    if (!err && x->argued) {
        err = lay_out(x);
    } else if (!err) {
        str_copy(c->said2, sizeof(c->said2), x->real);
        call_rewrite_path(c, c->row->path, c->said2);
    }
    if (err == 1)
        c->restart = true;
    else if (err)
        call_done(c, err);
}

static bool is_own_exe(const struct task *t, const char *path)
{
    char own[40];
    snprintf(own, sizeof(own), "/proc/%d/exe", t->proc->tgid);
    return strcmp(path, own) == 0;
}

/* The last program was run by other words than its own, which takes a stop: so will the next be. */
static bool lays_out;

void exec_dispatch(struct task *t, struct call *c)
{
    u64 known = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_EXECVE_CHECK;
    if (call_flags(c) & ~known) {
        call_pass(c);
        return;
    }
    int err = interp_resolve(c);
    if (err) {
        call_done(c, err);
        return;
    }
    /* The link of a program that its loader runs stands for that loader in the kernel. */
    if (!c->by_fd && !c->place.in_union && t->proc->exe[0] && is_own_exe(t, c->place.path)) {
        err = walk(c->view, c->who, "/", t->proc->exe, WALK_FOLLOW, &c->place);
        c->place.crossed = true;
    }
    if (err) {
        call_done(c, err);
        return;
    }
    t->program = 0;
    t->plain_program = false;
    if (t->noticed && lays_out && (c->by_fd || c->place.exists)) { /* to a stop, then */
        rewrite_nothing(c);
        return;
    }
    struct execution *x = calloc(1, sizeof(*x));
    struct exec_plan *plan = calloc(1, sizeof(*plan));
    if (x && plan) {
        x->task = t;
        x->call = c;
        x->plan = plan;
        decide(x);
        lays_out = c->action == CALL_REWRITE;
        exec_args_free(&x->args);
        /* By descriptor alone, the file that runs gives the name (Linux 6.14). */
        plan->rename = plan->said[0] && !c->by_fd &&
                       strcmp(exec_base_name(plan->said), exec_base_name(x->real)) != 0;
        if (c->action == CALL_REWRITE && !c->restart) {
            t->extra = plan;
            plan = NULL;
            c->settle = true;
        }
    } else {
        call_done(c, -ENOMEM);
    }
    free(plan);
    free(x);
}

void exec_settle(struct task *t, struct call *c, long result)
{
    free(t->extra);
    t->extra = NULL;
    c->result = result;
}
