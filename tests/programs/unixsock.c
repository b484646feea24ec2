/* unixsock DIR: stream and datagram sockets bound in DIR (made here, with a long real path behind
 * it or not): connect, getsockname, getpeername, accept and recvfrom say the names as the program
 * gave them. unixsock connect PATH: connects, prints "connected" or the errno's name.
 * unixsock serve PATH: binds, listens, prints "ready", answers one connection. */
#include "probe.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static socklen_t name(struct sockaddr_un *a, const char *path)
{
    memset(a, 0, sizeof(*a));
    a->sun_family = AF_UNIX;
    if (strlen(path) > sizeof(a->sun_path))
        fail("%s: longer than a socket name", path);
    memcpy(a->sun_path, path, strlen(path));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

static void is_named(const struct sockaddr_un *a, socklen_t len, const char *path, const char *what)
{
    size_t n = len - offsetof(struct sockaddr_un, sun_path);

    if (len < offsetof(struct sockaddr_un, sun_path) || strnlen(a->sun_path, n) != strlen(path) ||
        strncmp(a->sun_path, path, n) != 0)
        fail("%s: %.*s (length %u), not %s", what, (int)n, a->sun_path, len, path);
}

static int bound(int type, const char *path)
{
    struct sockaddr_un a;
    socklen_t len = name(&a, path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    CHECK(bind(fd, (struct sockaddr *)&a, len) == 0);
    return fd;
}

static void stream(const char *path)
{
    struct sockaddr_un a, got;
    socklen_t len, want = name(&a, path);
    int server = bound(SOCK_STREAM, path), client, peer;
    struct stat st;
    char byte;

    CHECK(lstat(path, &st) == 0 && S_ISSOCK(st.st_mode));
    CHECK(listen(server, 4) == 0);
    len = sizeof(got);
    CHECK(getsockname(server, (struct sockaddr *)&got, &len) == 0);
    is_named(&got, len, path, "getsockname");
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(client >= 0);
    CHECK(connect(client, (struct sockaddr *)&a, want) == 0);
    len = sizeof(got);
    CHECK(getpeername(client, (struct sockaddr *)&got, &len) == 0);
    is_named(&got, len, path, "getpeername");
    len = sizeof(got);
    peer = accept(server, (struct sockaddr *)&got, &len);
    CHECK(peer >= 0);
    CHECK(len == sizeof(sa_family_t)); /* the client has no name */
    len = sizeof(got);
    CHECK(getsockname(peer, (struct sockaddr *)&got, &len) == 0);
    is_named(&got, len, path, "getsockname of the accepted");
    CHECK(write(client, "x", 1) == 1 && read(peer, &byte, 1) == 1 && byte == 'x');
    close(client);
    close(peer);
    CHECK_ERR(bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, want), EADDRINUSE);
    close(server);
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERR(connect(client, (struct sockaddr *)&a, want), ECONNREFUSED);
    CHECK(unlink(path) == 0);
    CHECK_ERR(connect(client, (struct sockaddr *)&a, want), ENOENT);
    close(client);
}

static void datagram(const char *path, const char *other)
{
    int a = bound(SOCK_DGRAM, path), b = bound(SOCK_DGRAM, other);
    struct sockaddr_un to, from;
    socklen_t len = name(&to, path);
    struct iovec iov = {.iov_base = (char[]){'m'}, .iov_len = 1};
    struct msghdr msg = {.msg_name = &to, .msg_namelen = len, .msg_iov = &iov, .msg_iovlen = 1};
    char buf[8];

    CHECK(sendto(b, "s", 1, 0, (struct sockaddr *)&to, len) == 1);
    len = sizeof(from);
    CHECK(recvfrom(a, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len) == 1 && buf[0] == 's');
    is_named(&from, len, other, "recvfrom");
    CHECK(sendmsg(b, &msg, 0) == 1);
    CHECK(recv(a, buf, sizeof(buf), 0) == 1 && buf[0] == 'm');
    close(a);
    close(b);
    CHECK(unlink(path) == 0 && unlink(other) == 0);
}

int main(int argc, char **argv)
{
    struct sockaddr_un a;
    socklen_t len;
    int fd;

    alarm(20);
    if (argc == 3 && strcmp(argv[1], "connect") == 0) {
        len = name(&a, argv[2]);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        puts(connect(fd, (struct sockaddr *)&a, len) == 0 ? "connected" : probe_errno(errno));
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        fd = bound(SOCK_STREAM, argv[2]);
        CHECK(listen(fd, 4) == 0);
        puts("ready");
        fflush(stdout);
        CHECK(accept(fd, NULL, NULL) >= 0);
        return 0;
    }
    if (argc != 2)
        fail("usage: unixsock DIR | connect PATH | serve PATH");
    CHECK(chdir(argv[1]) == 0);
    stream("relative.sock");
    datagram("one", "./two");
    if (strlen(argv[1]) < 90) {
        char path[120], other[120];

        snprintf(path, sizeof(path), "%s/absolute", argv[1]);
        stream(path);
        snprintf(other, sizeof(other), "%s/other", argv[1]);
        datagram(path, other);
    }
    len = name(&a, "no/such/dir");
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERR(bind(fd, (struct sockaddr *)&a, len), ENOENT);
    len = name(&a, ".");
    CHECK_ERR(bind(fd, (struct sockaddr *)&a, len), EADDRINUSE);
    memcpy(a.sun_path, "\0abstract-fuss", 14);
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 14);
    CHECK(bind(fd, (struct sockaddr *)&a, len) == 0 || errno == EADDRINUSE);
    puts("ok");
    return 0;
}
