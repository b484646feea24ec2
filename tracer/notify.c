#include "tracer/notify.h"
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH_HERE AUDIT_ARCH_X86_64
#define X32_BIT   0x40000000
#else
#define ARCH_HERE AUDIT_ARCH_AARCH64
#define X32_BIT   0
#endif

/* Linux 6.6; Debian 12's headers are older. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1UL
#endif

static int listener = -1;

/* Whether the flag of the listener exists can only be asked of a listener. */
bool notify_available(void)
{
    struct utsname u;
    char *end;
    if (!REGS_CAN_MARK || uname(&u) < 0)
        return false;
    unsigned long major = strtoul(u.release, &end, 10);
    unsigned long minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
    return major > 6 || (major == 6 && minor >= 6);
}

int notify_init(int fd)
{
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) < 0)
        return -errno;
    listener = fd;
    return 0;
}

int notify_fd(void)
{
    return listener;
}

int notify_receive(struct notice *n)
{
    struct seccomp_notif in;
    memset(&in, 0, sizeof(in));
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &in) < 0)
        return -errno;
    n->id = in.id;
    n->tid = (int)in.pid;
    n->regs.nr = in.data.nr;
    for (int i = 0; i < 6; i++)
        n->regs.arg[i] = in.data.args[i];
    n->regs.ip = in.data.instruction_pointer;
    n->regs.sp = 0;
    n->regs.foreign = in.data.arch != ARCH_HERE || (in.data.nr & X32_BIT);
    return 0;
}

static int send_response(struct seccomp_notif_resp *r)
{
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, r) < 0 ? -errno : 0;
}

int notify_answer(u64 id, long result)
{
    struct seccomp_notif_resp r = {.id = id};
    if (result < 0)
        r.error = (int)result;
    else
        r.val = result;
    return send_response(&r);
}

int notify_continue(u64 id)
{
    struct seccomp_notif_resp r = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    return send_response(&r);
}

static int add(struct seccomp_notif_addfd *a)
{
    int r;
    do {
        r = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, a);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

int notify_give(u64 id, int fd, bool cloexec)
{
    struct seccomp_notif_addfd a = {.id = id,
                                    .flags = SECCOMP_ADDFD_FLAG_SEND,
                                    .srcfd = (u32)fd,
                                    .newfd_flags = cloexec ? O_CLOEXEC : 0};
    return add(&a);
}

int notify_lend(u64 id, int fd)
{
    struct seccomp_notif_addfd a = {.id = id, .srcfd = (u32)fd, .newfd_flags = O_CLOEXEC};
    return add(&a);
}

int notify_replace(u64 id, int fd, int theirs, bool cloexec)
{
    struct seccomp_notif_addfd a = {.id = id,
                                    .flags = SECCOMP_ADDFD_FLAG_SETFD,
                                    .srcfd = (u32)fd,
                                    .newfd = (u32)theirs,
                                    .newfd_flags = cloexec ? O_CLOEXEC : 0};
    int r = add(&a);
    return r < 0 ? r : 0;
}
