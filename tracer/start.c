#include "tracer/start.h"
#include "tracer/creds.h"
#include "tracer/elf.h"
#include "tracer/fakeids.h"
#include "tracer/filter.h"
#include "tracer/found.h"
#include "tracer/front.h"
#include "tracer/log.h"
#include "tracer/maps.h"
#include "tracer/notify.h"
#include "tracer/placement.h"
#include "tracer/setup.h"
#include "tracer/shim.h"
#include "tracer/sockname.h"
#include "tracer/supervise.h"
#include "tracer/wait.h"
#include "base/sys.h"
#include "vfs/ways.h"
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static sigset_t users_mask;
static struct sigaction users_chld;

/* -- the command ------------------------------------------------------------------------- */

extern char **environ;

/* A shell takes a file without "#!" for its own script unless there is a NUL in its first line. */
static bool is_text(const char *path)
{
    char head[128];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head));
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    const char *nul = memchr(head, '\0', (size_t)n), *line = memchr(head, '\n', (size_t)n);
    return !nul || (line && line < nul);
}

/* Returns only where the file cannot be run; errno says why. */
static void try_exec(const char *path, char **argv)
{
    execve(path, argv, environ);
    if (errno != ENOEXEC)
        return;
    size_t n = 0;
    while (argv[n])
        n++;
    char **shell = is_text(path) ? calloc(n + 2, sizeof(*shell)) : NULL;
    if (shell) {
        shell[0] = (char *)"/bin/sh";
        shell[1] = (char *)path;
        memcpy(shell + 2, argv + 1, n * sizeof(*shell));
        execve(shell[0], shell, environ);
        free(shell);
    }
    errno = ENOEXEC;
}

/* Exec itself has said why such a program is refused, or one that cannot be read (exec.c). */
static bool is_32_bit(const char *path)
{
    static struct elf elf;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    elf_read(fd, &elf);
    close(fd);
    return elf.kind == ELF_32;
}

_Noreturn static void cannot_run(const char *name, const char *file, int err)
{
    if (err == EPERM && (is_32_bit(file) || access(file, R_OK) < 0))
        _exit(EXIT_CANNOT);
    if (err == ENOENT || err == ENOTDIR)
        die(EXIT_NOT_FOUND,
            "%s: command not found; check its name and $PATH, as the union shows it", name);
    die(EXIT_CANNOT, "%s: cannot run it: %s; %s", name, strerror(err),
        err == EACCES ? "check its execute permission"
                      : "check that it is a program for this "
                        "machine");
}

_Noreturn static void run_command(char **argv)
{
    const char *name = argv[0];
    const char *path = getenv("PATH");
    char file[2 * PATH_MAX];
    int err = ENOENT;
    if (strchr(name, '/') || !name[0]) {
        try_exec(name, argv);
        cannot_run(name, name, errno);
    }
    if (!path)
        path = "/bin:/usr/bin";
    for (;;) {
        size_t n = strcspn(path, ":");
        snprintf(file, sizeof(file), "%.*s%s%s", (int)min_size(n, PATH_MAX), path, n ? "/" : "",
                 name);
        try_exec(file, argv);
        /* A directory of $PATH that may not be searched has nothing to offer. */
        int e = errno;
        if (e != ENOENT && e != ENOTDIR && (e != EACCES || access(file, F_OK) == 0))
            err = e;
        if (e == ENOEXEC || e == EPERM)
            break;
        if (!path[n])
            break;
        path += n + 1;
    }
    cannot_run(name, file, err);
}

static void set_environment(const struct options *o)
{
    if (o->clear_env && clearenv() != 0)
        die(EXIT_FUSS, "out of memory: cannot start; free some memory and try again");
    for (unsigned i = 0; i < o->nenv; i++) {
        if (putenv((char *)o->env[i]) != 0)
            die(EXIT_FUSS, "out of memory: cannot start; free some memory and try again");
    }
}

/* Where the command begins: in the directory asked for, as the union shows it. Where the union is
 * the root and knows nothing of the directory that fuss was started in, in "/". */
static void enter_directory(const struct options *o, const struct session *s)
{
    char here[PATH_MAX];
    if (o->directory) {
        if (chdir(o->directory) < 0)
            die(EXIT_USAGE, "-w %s: cannot begin there: %s; name a directory of the union",
                o->directory, strerror(errno));
    } else if (s->mount_len == 1 && !getcwd(here, sizeof(here)) && errno == ENOENT) {
        if (chdir("/") < 0)
            die(EXIT_FUSS, "/: cannot begin there: %s; correct its rights", strerror(errno));
    }
}

/* An image's user or that of --fake-id, without the groups of whoever started this. */
static void become_user(const struct options *o)
{
    if (o->run_as &&
        (setgroups(1, &o->run_gid) < 0 || setresgid(o->run_gid, o->run_gid, o->run_gid) < 0 ||
         setresuid(o->run_uid, o->run_uid, o->run_uid) < 0))
        die(EXIT_FUSS, "cannot become user %u:%u: %s; take other ids, or an image of another user",
            (unsigned)o->run_uid, (unsigned)o->run_gid, strerror(errno));
}

/* How the waiting command and the supervisor speak until the command may go. */
struct halves {
    int go[2];   /* a byte: it may run */
    int told[2]; /* an int: the descriptor of its filter's listener, or -1 where it has none */
};

/* Calls leave a notice where the kernel can do it and nobody listens already. 0 with the listener's
 * descriptor, -1 = none; or a negative errno. */
static int install_filter(struct filter *filter, enum filter_way way, int *listener)
{
    int err, r = filter_load(filter, way);
    *listener = way == FILTER_NOTIFY ? r : -1;
    if (r >= 0 || way == FILTER_TRACE)
        return r < 0 ? r : 0;
    *listener = -1;
    if (filter_is_ready(FILTER_TRACE))
        return filter_load(NULL, FILTER_TRACE);
    filter = filter_build(FILTER_TRACE, &err);
    return filter ? filter_load(filter, FILTER_TRACE) : err;
}

_Noreturn static void child(struct halves *h, struct filter *filter, enum filter_way way,
                            const struct options *o, const struct session *s)
{
    char byte;
    int listener, r = install_filter(filter, way, &listener);
    if (r < 0)
        die(EXIT_FUSS,
            "cannot install the seccomp filter: %s; a container's profile may forbid it: use "
            "another, or a kernel with CONFIG_SECCOMP_FILTER",
            strerror(-r));
    /* From here on a call of the table needs the supervisor. */
    if (write(h->told[1], &listener, sizeof(listener)) != sizeof(listener) ||
        read(h->go[0], &byte, 1) != 1)
        _exit(EXIT_FUSS);
    close(h->go[0]);
    close(h->told[1]);
    sigaction(SIGCHLD, &users_chld, NULL);
    sigprocmask(SIG_SETMASK, &users_mask, NULL);
    set_environment(o);
    enter_directory(o, s);
    become_user(o);
    run_command(o->command);
}

/* -- the supervisor ---------------------------------------------------------------------- */

/* The first number in a small file, or `otherwise`. */
static int number_in(const char *path, const char *name, int otherwise)
{
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return otherwise;
    text[n] = '\0';
    const char *at = name ? strstr(text, name) : text;
    return at ? atoi(at + (name ? strlen(name) : 0)) : otherwise;
}

static void say_ptrace_forbidden(int pid, int err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    int tracer = number_in(path, "TracerPid:", 0);
    int yama = number_in("/proc/sys/kernel/yama/ptrace_scope", NULL, 0);
    if (tracer)
        say("ptrace: forbidden, since process %d (a debugger, strace or another fuss) traces this "
            "one already; run fuss outside of it",
            tracer);
    else if (yama >= 3)
        say("ptrace: forbidden by kernel.yama.ptrace_scope=%d; it can only be lifted by a reboot "
            "with another setting",
            yama);
    else if (yama == 2)
        say("ptrace: forbidden by kernel.yama.ptrace_scope=2; run fuss as root, or "
            "sysctl kernel.yama.ptrace_scope=1");
    else
        say("ptrace: forbidden (%s), most likely by a container's seccomp profile or missing "
            "CAP_SYS_PTRACE; with docker use --cap-add=SYS_PTRACE or "
            "--security-opt seccomp=unconfined",
            strerror(err));
}

static void keep_out_of_the_way(void)
{
    static const int ignored[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGPIPE,
                                  SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2};
    struct rlimit files;
    sigset_t none;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (null > STDERR_FILENO)
            close(null);
    }
    /* A group of its own: the terminal's signals are the command's. The session stays the same, so
     * that the command's group is never an orphaned one. */
    setpgid(0, 0);
    if (chdir("/") < 0)
        return;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int prepare(const struct session *s)
{
    int bad_layer = -1;
    sup.session = s;
    sup.overlay = sys_map(sizeof(*sup.overlay));
    sup.dirs = sys_map(sizeof(*sup.dirs));
    if (!sup.overlay || !sup.dirs) {
        say("out of memory: cannot start; free some memory and try again");
        return -ENOMEM;
    }
    void *facts;
    int err = shim_init(s, &facts);
    if (err) {
        say("cannot make the shim: %s; use --shim=none", strerror(-err));
        return err;
    }
    err = creds_init();
    if (err) {
        say("/proc: cannot read the own credentials: %s; mount /proc", strerror(-err));
        return err;
    }
    err = facts ? overlay_init_in(sup.overlay, s, facts, &bad_layer)
                : overlay_init(sup.overlay, s, &bad_layer);
    if (err) {
        say("%s: cannot open the layer: %s; correct its rights, or take another",
            bad_layer >= 0 ? session_layer_path(s, (unsigned)bad_layer) : session_mount(s),
            strerror(-err));
        return err;
    }
    sup.view = (struct view){s,
                             &sup.overlay->vfs,
                             &sup.overlay->notes->raw_dirs,
                             .ways = calloc(1, sizeof(struct ways)),
                             .memo = calloc(1, sizeof(struct base_memo)),
                             .moves = facts ? &sup.overlay->facts->moves : NULL,
                             .maps = maps_open};
    return 0;
}

/* Takes the listener of the waiting child's filter over. False: the child said why, or has ended.
 */
static bool listen_to(int pid, struct halves *h)
{
    int theirs, mine;
    close(h->told[1]);
    if (read(h->told[0], &theirs, sizeof(theirs)) != sizeof(theirs))
        return false;
    close(h->told[0]);
    if (theirs < 0)
        return true;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    mine = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
    if (mine < 0) {
        say_ptrace_forbidden(pid, errno);
        return false;
    }
    close(pidfd);
    int err = notify_init(mine);
    if (!err)
        err = wait_for_notices();
    if (err)
        say("cannot listen to the seccomp filter: %s; set FUSS_TRAPS=ptrace to do without",
            strerror(-err));
    return !err;
}

/* Starts tracing the waiting child. */
static int seize(int pid)
{
    struct task *t = task_new(pid);
    if (!t || task_adopt_orphan(t, pid) || (sup.session->fake && fakeids_begin(t)))
        return -ENOMEM;
    found_init();
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)found_options(t)) < 0) {
        say_ptrace_forbidden(pid, errno);
        return -EPERM;
    }
    t->seized = true;
    t->state = TASK_RUNNING;
    sup.command = pid;
    return 0;
}

/* FUSS_TRAPS=ptrace asks for ptrace stops alone, as on kernels that lack something. */
static enum filter_way way_of_calls(void)
{
    const char *word = getenv("FUSS_TRAPS");
    return notify_available() && !(word && strcmp(word, "ptrace") == 0) ? FILTER_NOTIFY
                                                                        : FILTER_TRACE;
}

_Noreturn static void supervisor(int front_fd, int front_pid, const struct session *s,
                                 const struct options *o)
{
    struct halves h;
    int err = 0, pid = -1;
    u64 cookie = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != front_pid)
        _exit(EXIT_FUSS);
    enum filter_way way = way_of_calls();
    filter_fake_ids(s->fake);
    shim_enable(o->shim && !o->only_ptrace && !s->fake);
    if (way == FILTER_NOTIFY && getrandom(&cookie, sizeof(cookie), 0) > 0)
        filter_open_gate((cookie & ~((u64)3 << 62) & ~(u64)1) | (u64)1 << 61);
    struct filter *filter = filter_is_ready(way) ? NULL : filter_build(way, &err);
    if (err)
        say("cannot build the seccomp filter: %s; report it", strerror(-err));
    if (!err && pipe2(h.go, O_CLOEXEC) == 0 && pipe2(h.told, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0) {
        close(h.go[1]);
        child(&h, filter, way, o, s);
    }
    if (pid < 0) {
        if (!err)
            say("cannot start a process: %s; raise the limit, or free some memory",
                strerror(errno));
        setup_cleanup();
        _exit(EXIT_FUSS);
    }
    close(h.go[0]);
    filter_free(filter);
    sup.front_fd = front_fd;
    sup.front_pid = front_pid;
    sup.kill_leftovers = o->kill_leftovers;
    keep_out_of_the_way();
    setup_own_lock();
    placement_init();
    if (!listen_to(pid, &h) || prepare(s) || seize(pid)) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, __WALL);
        setup_cleanup();
        front_tell(FRONT_FAILED, 0);
        _exit(EXIT_FUSS);
    }
    front_tell(FRONT_COMMAND, pid);
    if (write(h.go[1], "", 1) != 1)
        kill(pid, SIGKILL);
    close(h.go[1]);
    supervise();
    sockname_fini();
    overlay_fini(sup.overlay);
    setup_cleanup();
    if (supervise_status() >= 0) {
        front_release();
        front_tell(FRONT_STATUS, supervise_status());
    }
    _exit(0);
}

int start(const struct session *s, const struct options *o)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    int fd[2], front_pid = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0) {
        setup_cleanup();
        die(EXIT_FUSS, "cannot make a socket pair: %s; raise the limit of open files",
            strerror(errno));
    }
    /* With SIGCHLD ignored, as some parents leave it, there would be nothing to wait for. */
    sigaction(SIGCHLD, &dfl, &users_chld);
    front_block_signals(&users_mask);
    int pid = fork();
    if (pid == 0) {
        close(fd[0]);
        supervisor(fd[1], front_pid, s, o);
    }
    if (pid < 0) {
        setup_cleanup();
        die(EXIT_FUSS, "cannot start a process: %s; raise the limit, or free some memory",
            strerror(errno));
    }
    close(fd[1]);
    return front_run(fd[0], pid);
}
