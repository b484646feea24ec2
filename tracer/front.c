#include "tracer/front.h"
#include "tracer/log.h"
#include "tracer/options.h"
#include "tracer/supervise.h"
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTINUE_WAIT_MS 50 /* for word that the command was continued along with us */

struct message {
    int kind;
    int value;
};

struct front {
    int fd;         /* the supervisor's messages */
    int supervisor; /* its pid */
    int command;    /* the command's pid, 0 = not known yet */
    bool stopped;   /* the command is */
    int early[8];   /* signals that came before the command was there */
    unsigned nearly;
};

static bool is_stop(int sig)
{
    return sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU || sig == SIGSTOP;
}

/* Every signal that a user may send on purpose. The terminal sends its own to the command too. */
static void forwarded_set(sigset_t *set)
{
    static const int not [] = {SIGKILL, SIGSTOP, SIGCHLD, SIGSEGV, SIGBUS,  SIGFPE,
                               SIGILL,  SIGTRAP, SIGSYS,  SIGABRT, SIGXCPU, SIGXFSZ};
    sigfillset(set);
    for (size_t i = 0; i < ARRAY_LEN(not ); i++)
        sigdelset(set, not [i]);
}

/* Stops this process as the command was stopped, so that the shell sees it. */
static void stop_self(const struct front *f, int sig)
{
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    sigset_t one;
    if (poll(&p, 1, 0) > 0)
        return; /* there is newer word */
    sigemptyset(&one);
    if (!is_stop(sig) || sig == SIGSTOP) {
        raise(SIGSTOP);
        return;
    }
    sigaddset(&one, sig);
    raise(sig);
    sigprocmask(SIG_UNBLOCK, &one, NULL); /* stops here */
    sigprocmask(SIG_BLOCK, &one, NULL);
}

/* One message: the exit status, or -1 to go on. */
static int on_message(struct front *f)
{
    struct message m;
    ssize_t n = recv(f->fd, &m, sizeof(m), 0);
    if (n < 0 && errno == EINTR)
        return -1;
    if (n != sizeof(m)) {
        int status = 0;
        waitpid(f->supervisor, &status, 0);
        say("the supervisor (pid %d) ended before the command: %s %d; the command's processes were "
            "ended with it, start it again",
            f->supervisor, WIFSIGNALED(status) ? "killed by signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return EXIT_FUSS;
    }
    switch (m.kind) {
    case FRONT_STATUS:
        return WIFSIGNALED(m.value) ? 128 + WTERMSIG(m.value) : WEXITSTATUS(m.value);
    case FRONT_FAILED:
        return EXIT_FUSS;
    case FRONT_COMMAND:
        f->command = m.value;
        for (unsigned i = 0; i < f->nearly; i++)
            kill(f->command, f->early[i]);
        break;
    case FRONT_STOPPED:
        f->stopped = true;
        stop_self(f, m.value);
        break;
    case FRONT_CONTINUED:
        f->stopped = false;
        break;
    default:
        break;
    }
    return -1;
}

/* The shell continues the whole group: only where the command was left out it needs a second word.
 */
static int on_continue(struct front *f)
{
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    while (f->stopped && poll(&p, 1, CONTINUE_WAIT_MS) > 0) {
        int status = on_message(f);
        if (status >= 0)
            return status;
    }
    if (f->stopped)
        kill(f->command, SIGCONT);
    return -1;
}

static int on_signal(struct front *f, int fd)
{
    struct signalfd_siginfo si;
    if (read(fd, &si, sizeof(si)) != sizeof(si))
        return -1;
    int sig = (int)si.ssi_signo;
    if ((si.ssi_code > 0 && si.ssi_code != SI_USER) || (int)si.ssi_pid == f->supervisor)
        return -1; /* the terminal's, or our own */
    if (!f->command) {
        if (f->nearly < ARRAY_LEN(f->early))
            f->early[f->nearly++] = sig;
        return -1;
    }
    if (sig == SIGCONT)
        return on_continue(f);
    kill(f->command, sig);
    return -1;
}

void front_block_signals(sigset_t *old)
{
    sigset_t set;
    forwarded_set(&set);
    sigprocmask(SIG_BLOCK, &set, old);
}

int front_run(int fd, int supervisor_pid)
{
    struct front f = {.fd = fd, .supervisor = supervisor_pid};
    sigset_t set;
    int status = -1;
    forwarded_set(&set);
    int sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = sigfd, .events = POLLIN}};
    while (status < 0) {
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents)
            status = on_signal(&f, sigfd);
        if (status < 0 && p[0].revents)
            status = on_message(&f);
    }
    return status;
}

/* -- the supervisor's side --------------------------------------------------------------- */

void front_tell(enum front_message kind, int value)
{
    struct message m = {.kind = (int)kind, .value = value};
    if (sup.front_fd < 0)
        return;
    send(sup.front_fd, &m, sizeof(m), MSG_NOSIGNAL);
    /* A front that is stopped cannot read: the continued command continues it. */
    if (kind == FRONT_CONTINUED && sup.front_pid)
        kill(sup.front_pid, SIGCONT);
}

void front_release(void)
{
    prctl(PR_SET_PDEATHSIG, 0);
    sup.front_pid = 0;
}

void front_left(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    close(sup.front_fd);
    sup.front_fd = -1;
    if (null >= 0) {
        dup2(null, STDERR_FILENO);
        close(null);
    }
    log_detach();
    signal(SIGTERM, SIG_DFL); /* nobody else is left to ask for the end of the session */
}
