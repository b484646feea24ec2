#include "tracer/handover.h"
#include "tracer/inject.h"
#include "tracer/log.h"
#include "tracer/remote.h"
#include "tracer/supervise.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096

/* What the program's page holds while it receives. */
struct letter {
    int pair[2];
    struct msghdr head;
    struct iovec part;
    char byte;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
};

/* Calls that the program is made to execute at its exit stop. */
struct talk {
    struct task *t;
    long *nr;
    u64 *arg;
};

static long say(struct talk *k, long nr, u64 a, u64 b, u64 c, u64 d)
{
    const u64 arg[6] = {a, b, c, d, nr == SYS_mmap ? (u64)-1 : 0, 0};
    if (k->t->has_status)
        return -ESRCH;
    long r = inject_after(k->t, nr, arg);
    *k->nr = nr;
    memcpy(k->arg, arg, sizeof(arg));
    return r;
}

static int post(int sock, int fd)
{
    char byte = 0;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr head = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control,
                          .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&head);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    return sendmsg(sock, &head, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The program has the socket pair: it receives `fd` through it, close-on-exec. */
static long receive(struct talk *k, u64 page, int fd)
{
    struct letter l;
    struct caller *who = &k->t->who;
    int got;
    if (remote_read(k->t, l.pair, page, sizeof(l.pair)))
        return -EFAULT;
    int mine = who->ops.fd_get(who, l.pair[1]);
    long r = mine < 0 ? mine : post(mine, fd);
    if (mine >= 0)
        who->ops.fd_put(who, mine);
    caller_call_over();
    memset(&l.head, 0, sizeof(l.head));
    l.part.iov_base = (void *)(page + offsetof(struct letter, byte));
    l.part.iov_len = 1;
    l.head.msg_iov = (void *)(page + offsetof(struct letter, part));
    l.head.msg_iovlen = 1;
    l.head.msg_control = (void *)(page + offsetof(struct letter, control));
    l.head.msg_controllen = sizeof(l.control);
    memset(l.control, 0, sizeof(l.control));
    if (r == 0 && remote_write(k->t, page, &l, sizeof(l)))
        r = -EFAULT;
    if (r == 0)
        r = say(k, SYS_recvmsg, (u64)l.pair[0], page + offsetof(struct letter, head),
                MSG_CMSG_CLOEXEC | MSG_DONTWAIT, 0);
    if (r >= 0 && remote_read(k->t, &l, page, sizeof(l)))
        r = -EFAULT;
    say(k, SYS_close, (u64)l.pair[0], 0, 0, 0);
    say(k, SYS_close, (u64)l.pair[1], 0, 0, 0);
    if (r < 0)
        return r;
    const struct cmsghdr *c = (const void *)l.control;
    if (l.head.msg_controllen < CMSG_LEN(sizeof(int)) || c->cmsg_type != SCM_RIGHTS)
        return -EMFILE; /* no room in its table */
    memcpy(&got, CMSG_DATA(c), sizeof(got));
    return got;
}

static long give(struct talk *k, int fd)
{
    if (filters_itself(k->t))
        return -EACCES;
    long page = say(k, SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    if (page < 0 && page > -PAGE)
        return page;
    long r = say(k, SYS_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, (u64)page);
    if (r == 0)
        r = receive(k, (u64)page, fd);
    say(k, SYS_munmap, (u64)page, PAGE, 0, 0);
    return r;
}

long handover(struct task *t, int fd, bool cloexec, long *nr, u64 arg[6])
{
    struct talk k = {.t = t, .nr = nr, .arg = arg};
    long got = give(&k, fd);
    if (got < 0)
        return got;
    /* The sockets held the lowest numbers: it takes the one that an open would have. */
    long r = say(&k, SYS_fcntl, (u64)got, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0, 0);
    say(&k, SYS_close, (u64)got, 0, 0, 0);
    log_debug("%d: descriptor %ld was opened for it", t->tid, r);
    return r;
}

long handover_cwd(struct task *t, int fd, long *nr, u64 arg[6])
{
    struct talk k = {.t = t, .nr = nr, .arg = arg};
    long got = give(&k, fd);
    if (got < 0)
        return got;
    long r = say(&k, SYS_fchdir, (u64)got, 0, 0, 0);
    say(&k, SYS_close, (u64)got, 0, 0, 0);
    return r;
}
