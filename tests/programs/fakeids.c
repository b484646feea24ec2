/* What a program with fake ids believes of itself, and what its changes of ids come to.
 *
 * fakeids UID GID    the ids it starts with (0: as root, with what goes with that)
 * fakeids peer PATH  who is at the other end of a socket bound at PATH: a child that is 33 */
#include "probe.h"
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* linux/capability.h, which a libc of its own need not find */
#define CAPS_VERSION     0x20080522
#define CAP_CHOWN        0
#define CAP_DAC_OVERRIDE 1
#define CAP_SETUID       7
struct caps_head {
    uint32_t version;
    int pid;
};
struct caps {
    uint32_t effective, permitted, inheritable;
};

static uint64_t effective(void)
{
    struct caps_head head = {CAPS_VERSION, 0};
    struct caps data[2] = {{0}, {0}};
    CHECK(syscall(SYS_capget, &head, data) == 0);
    return data[0].effective | (uint64_t)data[1].effective << 32;
}

static void are(uid_t r, uid_t e, uid_t s)
{
    uid_t id[3];
    CHECK(syscall(SYS_getresuid, &id[0], &id[1], &id[2]) == 0);
    CHECK(id[0] == r && id[1] == e && id[2] == s);
    CHECK((uid_t)syscall(SYS_getuid) == r && (uid_t)syscall(SYS_geteuid) == e);
}

static void in_child(void (*body)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        body();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void drops(void)
{
    gid_t groups[3] = {5, 6, 7}, got[3];
    CHECK(syscall(SYS_setgroups, 3, groups) == 0);
    CHECK(syscall(SYS_getgroups, 3, got) == 3 && memcmp(groups, got, sizeof(got)) == 0);
    CHECK(syscall(SYS_setgid, 33) == 0 && syscall(SYS_setuid, 33) == 0);
    are(33, 33, 33);
    CHECK(effective() == 0);
    CHECK(syscall(SYS_setuid, 0) == -1 && syscall(SYS_setgid, 0) == -1);
    CHECK(syscall(SYS_setgroups, 0, NULL) == -1);
    CHECK(syscall(SYS_getgid) == 33 && syscall(SYS_getegid) == 33);
}

static void goes_and_comes_back(void)
{
    CHECK(syscall(SYS_setresuid, -1, 7, -1) == 0);
    are(0, 7, 0);
    CHECK(effective() == 0);
    CHECK(syscall(SYS_setreuid, -1, 8) == -1);
    CHECK(syscall(SYS_setresuid, -1, 0, -1) == 0);
    CHECK(effective() != 0);
    CHECK(syscall(SYS_setfsuid, 9) == 0 && syscall(SYS_setfsuid, -1) == 9);
    CHECK(!(effective() >> CAP_DAC_OVERRIDE & 1) && (effective() >> CAP_SETUID & 1));
    CHECK(syscall(SYS_setreuid, 9, 10) == 0);
    are(9, 10, 10);
}

static void keeps_capabilities(void)
{
    struct caps_head head = {CAPS_VERSION, 0};
    struct caps data[2] = {{0}, {0}};
    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && prctl(PR_CAPBSET_DROP, 3, 0, 0, 0) == 0);
    CHECK(syscall(SYS_setresuid, 4, 4, 4) == 0 && effective() == 0);
    data[0].permitted = data[0].effective = 1 << CAP_SETUID;
    CHECK(syscall(SYS_capset, &head, data) == 0 && effective() == 1 << CAP_SETUID);
    CHECK(syscall(SYS_setuid, 0) == 0);
    data[0].permitted |= 1 << CAP_CHOWN;
    CHECK(syscall(SYS_capset, &head, data) == -1);
}

static void peer(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct ucred who = {0};
    socklen_t len = sizeof(who);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), status;
    strncpy(at.sun_path, path, sizeof(at.sun_path) - 1);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 1) == 0);
    CHECK(chmod(path, 0777) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(syscall(SYS_setresgid, 44, 44, 44) == 0 && syscall(SYS_setresuid, 33, 33, 33) == 0);
        int mine = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(connect(mine, (struct sockaddr *)&at, sizeof(at)) == 0);
        pause();
    }
    int other = accept(fd, NULL, NULL);
    CHECK(other >= 0 && getsockopt(other, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0);
    CHECK(len == sizeof(who) && who.pid == pid && who.uid == 33 && who.gid == 44);
    kill(pid, SIGKILL);
    CHECK(waitpid(pid, &status, 0) == pid);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "peer") == 0) {
        peer(argv[2]);
        return 0;
    }
    if (argc != 3)
        fail("usage: fakeids UID GID | peer PATH");
    uid_t uid = (uid_t)atoi(argv[1]), gid = (gid_t)atoi(argv[2]);
    are(uid, uid, uid);
    CHECK((gid_t)syscall(SYS_getgid) == gid && (gid_t)syscall(SYS_getegid) == gid);
    CHECK((effective() != 0) == (uid == 0));
    if (uid == 0) {
        in_child(drops);
        in_child(goes_and_comes_back);
        in_child(keeps_capabilities);
    } else {
        CHECK(syscall(SYS_setuid, 0) == -1 && syscall(SYS_setresuid, -1, uid + 1, -1) == -1);
        CHECK(syscall(SYS_setresuid, uid, uid, uid) == 0);
    }
    are(uid, uid, uid);
    return 0;
}
