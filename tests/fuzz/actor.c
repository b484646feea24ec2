/* actor: random filesystem operations below a root directory, see actor.h.
 *
 * usage: actor [options] ROOT SEED OPS    operations, then the tree
 *        actor --walk ROOT [SKIP]         the tree only
 *        actor --look FD ROOT             what an inherited descriptor and cwd show */
#define _GNU_SOURCE
#include "actor.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct actor act;

static void reseed(unsigned long op)
{
    act.rng = act.seed * 0x9e3779b97f4a7c15ULL + op * 0xd1342543de82ef95ULL;
}

static uint64_t next_random(void)
{
    uint64_t z = (act.rng += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint32_t rnd(uint32_t n)
{
    return (uint32_t)(next_random() >> 32) % n;
}

bool chance(uint32_t percent)
{
    return rnd(100) < percent;
}

void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
}

/* The root's own path is printed as @, so that traces do not depend on where it lies. */
void say_path(const char *path)
{
    if (strncmp(path, act.root, act.root_len) == 0 &&
        (path[act.root_len] == '/' || path[act.root_len] == 0 || path[act.root_len] == ' '))
        say("@%s", path + act.root_len);
    else
        say("%s", *path ? path : "''");
}

static const struct {
    int err;
    const char *name;
} errors[] = {
    {EPERM, "EPERM"},
    {ENOENT, "ENOENT"},
    {EIO, "EIO"},
    {EBADF, "EBADF"},
    {EACCES, "EACCES"},
    {EBUSY, "EBUSY"},
    {EEXIST, "EEXIST"},
    {EXDEV, "EXDEV"},
    {EINVAL, "EINVAL"},
    {ENOTDIR, "ENOTDIR"},
    {EISDIR, "EISDIR"},
    {ENOTEMPTY, "ENOTEMPTY"},
    {ELOOP, "ELOOP"},
    {EROFS, "EROFS"},
    {ENODATA, "ENODATA"},
    {EOPNOTSUPP, "EOPNOTSUPP"},
    {EAGAIN, "EAGAIN"},
    {ENXIO, "ENXIO"},
    {ENOSYS, "ENOSYS"},
    {ENAMETOOLONG, "ENAMETOOLONG"},
    {ERANGE, "ERANGE"},
    {ESPIPE, "ESPIPE"},
    {EMLINK, "EMLINK"},
    {EOVERFLOW, "EOVERFLOW"},
    {EFAULT, "EFAULT"},
    {ESTALE, "ESTALE"},
    {EPIPE, "EPIPE"},
    {ENOTTY, "ENOTTY"},
    {ENOSPC, "ENOSPC"},
    {EINTR, "EINTR"},
    {ENODEV, "ENODEV"},
    {EADDRINUSE, "EADDRINUSE"},
    {ECONNREFUSED, "ECONNREFUSED"},
};

void say_errno(int err)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        if (errors[i].err == err) {
            say(" %s", errors[i].name);
            return;
        }
    }
    say(" errno%d", err);
}

void say_result(long ret)
{
    int err = errno;
    say(" =");
    if (ret < 0)
        say_errno(err);
    else
        say(" %ld", ret);
}

/* a..f; what is not the last component is mostly one of the first three, which the fixture makes
 * directories more often than not. */
static char gen_name(bool last)
{
    return 'a' + rnd(last || chance(20) ? 6 : 3);
}

static void draw_plain(char *buf)
{
    static const unsigned char depths[] = {1, 1, 1, 2, 2, 2, 2, 3, 3, 4};
    int depth = depths[rnd(sizeof(depths))];
    char *p = buf;
    for (int i = 0; i < depth; i++) {
        if (i)
            *p++ = '/';
        *p++ = gen_name(i == depth - 1);
    }
    *p = 0;
}

/* Whether the name exists, or (new) could be made. */
static bool useful(const char *path, bool new)
{
    char parent[64];
    struct stat st;
    int found = lstat(path, &st);
    if (act.debug)
        say(" (%s:%d)", path, found ? errno : 0);
    if (found == 0)
        return !new;
    snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        *slash = 0;
    found = slash ? stat(parent, &st) : 0;
    if (act.debug)
        say(" (%s/:%d)", parent, found ? errno : 0);
    return new &&found == 0;
}

/* A plain relative path of one to four components. Most of the time a few are tried for one that
 * leads somewhere from the cwd: errors alone would find little. */
void gen_plain(char *buf)
{
    int tries = chance(75) ? 5 : 1;
    bool new = chance(35);
    do {
        draw_plain(buf);
    } while (--tries > 0 && !useful(buf, new));
}

static void gen_special(char *buf)
{
    static const char *const specials[] = {".", "..", "", "./", "../", "a/..", "a/.", "b/../.."};
    uint32_t i = rnd(sizeof(specials) / sizeof(*specials) + 2);
    if (i < sizeof(specials) / sizeof(*specials))
        strcpy(buf, specials[i]);
    else
        sprintf(buf, "%s%s", act.root, i & 1 ? "/" : "");
}

/* A path with all the decorations programs come up with. */
void gen_path(char *buf)
{
    char plain[64];
    gen_plain(plain);
    uint32_t style = rnd(100);
    if (style < 3) {
        gen_special(buf);
        return;
    }
    if (style < 12)
        sprintf(buf, "%s/%s", act.root, plain);
    else if (style < 16)
        sprintf(buf, "./%s", plain);
    else if (style < 20)
        sprintf(buf, "%c/../%s", gen_name(false), plain);
    else if (style < 23)
        sprintf(buf, "../%s", plain);
    else if (style < 24)
        sprintf(buf, "../M/%s", plain);
    else if (style < 26)
        sprintf(buf, "/proc/self/cwd/%s", plain);
    else
        strcpy(buf, plain);
    uint32_t tail = rnd(100);
    if (tail < 6)
        strcat(buf, "/");
    else if (tail < 8)
        strcat(buf, "/.");
    else if (tail < 10)
        strcat(buf, "/..");
}

/* The same for a call without a descriptor to start from. */
void gen_cwd_path(char *buf)
{
    gen_path(buf);
    leave_upwards(AT_FDCWD, buf);
}

void gen_target(char *buf)
{
    char plain[64];
    gen_plain(plain);
    uint32_t style = rnd(10);
    if (style < 2)
        sprintf(buf, "%s/%s", act.root, plain);
    else if (style < 4)
        sprintf(buf, "../%s", plain);
    else if (style < 5)
        strcpy(buf, chance(50) ? "." : "nope");
    else
        strcpy(buf, plain);
}

static bool wanted(unsigned long op, const char *only)
{
    if (!only)
        return true;
    char num[32];
    int len = snprintf(num, sizeof(num), ",%lu,", op);
    (void)len;
    return strstr(only, num) != NULL;
}

static void one(unsigned long op)
{
    reseed(op);
    act.op = op;
    follow_moves();
    say("%lu ", op);
    run_one_op();
    say("\n");
    fflush(stdout);
}

/* Which process does an operation: a hash of its number, so that shrinking keeps it. */
static int owner(unsigned long op, int procs)
{
    reseed(op ^ 0x5bd1e995);
    return procs == 1 ? 0 : (int)rnd(procs);
}

static void pass(int fd)
{
    if (write(fd, "x", 1) != 1)
        _exit(3);
}

static void await(int fd)
{
    char c;
    if (read(fd, &c, 1) != 1)
        _exit(3);
}

/* Runs the operations of process me; the token goes to whoever owns the next one. */
static void loop(int me, int procs, unsigned long ops, const char *only, int turn[2][2])
{
    int holder = 0;
    for (unsigned long i = 1; i <= ops && !act.shared->emulation_failed; i++) {
        if (!wanted(i, only))
            continue;
        int who = owner(i, procs);
        if (who != holder) {
            if (holder == me)
                pass(turn[who][1]);
            if (who == me)
                await(turn[me][0]);
            holder = who;
        }
        if (who == me && !act.shared->emulation_failed)
            one(i);
    }
    if (me == 0 && holder != 0)
        await(turn[0][0]);
    else if (procs == 2 && me == holder)
        pass(turn[1 - me][1]); /* the other may wait for a turn that never comes */
}

static void run(int procs, unsigned long ops, const char *only)
{
    int turn[2][2] = {{-1, -1}, {-1, -1}};
    pid_t child = -1;
    if (procs == 2) {
        /* Out of the way of the descriptors that the operations use. */
        for (int i = 0; i < 2; i++) {
            int p[2];
            if (pipe(p) < 0)
                exit(3);
            for (int j = 0; j < 2; j++) {
                turn[i][j] = fcntl(p[j], F_DUPFD_CLOEXEC, 100);
                close(p[j]);
            }
        }
        child = fork();
        if (child == 0) {
            loop(1, 2, ops, only, turn);
            _exit(0);
        }
    }
    loop(0, procs, ops, only, turn);
    if (child > 0) {
        int status;
        waitpid(child, &status, 0);
        if (status)
            say("other process: status %d\n", status);
    }
}

static void become_user(void)
{
    if (setgroups(0, NULL) < 0 || setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 0) < 0) {
        perror("actor: cannot drop privileges");
        exit(3);
    }
    act.drop = true;
}

static void start(const char *root, unsigned long seed)
{
    struct stat st;
    act.root = root;
    act.root_len = strlen(root);
    act.seed = seed;
    if (chdir(root) < 0 || stat(".", &st) < 0) {
        perror(root);
        exit(3);
    }
    act.root_dev = st.st_dev;
    act.cwd = ident_of(&st);
    act.shared =
        mmap(NULL, sizeof(*act.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (act.shared == MAP_FAILED)
        exit(3);
    for (int i = 0; i < SLOTS; i++)
        act.slot[i].fd = -1;
    /* One stream for the traces, out of the way of the descriptors under test. */
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    alarm(45);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"walk", no_argument, NULL, 'w'},
                                            {"look", required_argument, NULL, 'l'},
                                            {"user", no_argument, NULL, 'u'},
                                            {"drop", no_argument, NULL, 'd'},
                                            {"emulate-dir-rename", no_argument, NULL, 'e'},
                                            {"debug", no_argument, NULL, 'D'},
                                            {"procs", required_argument, NULL, 'p'},
                                            {"only", required_argument, NULL, 'o'},
                                            {NULL, 0, NULL, 0}};
    bool walk_only = false, drop = false;
    int look_at = -1;
    int procs = 1, c;
    const char *only = NULL;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'w':
            walk_only = true;
            break;
        case 'l':
            look_at = atoi(optarg);
            break;
        case 'u':
            act.user = true;
            break;
        case 'd':
            drop = true;
            break;
        case 'D':
            act.debug = true;
            break;
        case 'e':
            act.emulate = true;
            break;
        case 'p':
            procs = atoi(optarg) == 2 ? 2 : 1;
            break;
        case 'o':
            only = optarg;
            break;
        default:
            return 2;
        }
    }
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
    if (walk_only && optind < argc) {
        act.root = argv[optind];
        act.root_len = strlen(act.root);
        return walk(act.root, argv[optind + 1]);
    }
    if (look_at >= 0 && optind < argc) {
        act.root = argv[optind];
        act.root_len = strlen(act.root);
        look_around(look_at);
        return 0;
    }
    if (argc - optind != 3) {
        fprintf(stderr, "usage: actor [options] ROOT SEED OPS | actor --walk ROOT [SKIP]\n");
        return 2;
    }
    act.self = argv[0];
    start(argv[optind], strtoul(argv[optind + 1], NULL, 10));
    if (drop)
        become_user();
    run(procs, strtoul(argv[optind + 2], NULL, 10), only);
    if (act.shared->emulation_failed)
        say("== stopped\n");
    for (int i = 0; i < SLOTS; i++) {
        if (act.slot[i].fd >= 0)
            close(act.slot[i].fd);
    }
    if (drop && seteuid(0) < 0)
        return 3;
    say("== tree\n");
    fflush(stdout);
    if (chdir(act.root) < 0)
        say_errno(errno);
    return walk(act.root, NULL);
}
