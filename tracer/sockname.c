#include "tracer/sockname.h"

#include "base/str.h"
#include "base/sys.h"
#include "tracer/remote.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAMES_MAX 1024
#define HEAD      offsetof(struct sockaddr_un, sun_path)

int sockname_path(const struct sockaddr_un *un, size_t len, char *path)
{
    if (len <= HEAD || len > sizeof(*un) + 1 || un->sun_family != AF_UNIX || !un->sun_path[0])
        return 0;
    size_t n = strnlen(un->sun_path, min_size(len - HEAD, SOCKNAME_MAX));
    memcpy(path, un->sun_path, n);
    path[n] = '\0';
    return 1;
}

int sockname_read(struct task *t, u64 addr, u64 len, char *path)
{
    struct sockaddr_un un = {0};
    if ((int)len <= (int)HEAD || len > sizeof(un))
        return 0;
    int err = remote_read(t, &un, addr, len);
    return err ? err : sockname_path(&un, len, path);
}

long sockname_fill(struct sockaddr_un *un, const char *path)
{
    size_t n = strlen(path);
    if (n > SOCKNAME_MAX)
        return -ENAMETOOLONG;
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n);
    return (long)min_size(HEAD + n + 1, sizeof(*un));
}

int sockname_store(struct task *t, u64 addr, u64 lenp, int cap, const char *path)
{
    struct sockaddr_un un;
    if (cap < 0)
        return -EINVAL;
    if (sockname_fill(&un, path) < 0)
        return -EINVAL;
    /* The kernel counts the NUL, also where the path fills the address (unix(7), BUGS). */
    int len = (int)(HEAD + strlen(path) + 1);
    char bytes[sizeof(un) + 1] = {0};
    memcpy(bytes, &un, sizeof(un));
    int err = remote_write(t, addr, bytes, min_size((size_t)cap, (size_t)len));
    return err ? err : remote_write(t, lenp, &len, sizeof(len));
}

/* -- the table -----------------------------------------------------------------------------------
 */

struct name {
    u64 hash; /* of real, 0 = free */
    char real[SOCKNAME_MAX + 1];
    char said[SOCKNAME_MAX + 1];
};

static struct name *names; /* NAMES_MAX of them, from the first bind on */
static unsigned next_name;

static u64 hash_of(const char *s)
{
    u64 h = 14695981039346656037u;
    while (*s)
        h = (h ^ (u8)*s++) * 1099511628211u;
    return h | 1;
}

static struct name *find_name(const char *real)
{
    u64 h = hash_of(real);
    for (unsigned i = 0; names && i < NAMES_MAX; i++) {
        if (names[i].hash == h && strcmp(names[i].real, real) == 0)
            return &names[i];
    }
    return NULL;
}

void sockname_remember(const char *real, const char *said)
{
    if (!names)
        names = calloc(NAMES_MAX, sizeof(*names));
    if (!names || strlen(real) > SOCKNAME_MAX || strlen(said) > SOCKNAME_MAX)
        return;
    struct name *n = find_name(real);
    if (!n) {
        n = &names[next_name];
        next_name = (next_name + 1) % NAMES_MAX;
    }
    n->hash = hash_of(real);
    str_copy(n->real, sizeof(n->real), real);
    str_copy(n->said, sizeof(n->said), said);
}

const char *sockname_said(const char *real)
{
    const struct name *n = find_name(real);
    return n ? n->said : NULL;
}

/* -- aliases -------------------------------------------------------------------------------------
 */

static char alias_dir[64];
static unsigned alias_serial;
static char alias_work[PATH_MAX]; /* the session's work directory, "" = not used */

/* A directory that lies in no layer: an alias must never be written into one. */
static int make_alias_dir(const struct session *s)
{
    static const char *const bases[] = {"/tmp", "/dev/shm", "/var/tmp", "/run"};
    int err = -ENAMETOOLONG;
    for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
        char real[PATH_MAX];
        const char *rest;
        if (!realpath(bases[i], real) || session_layer_of(s, real, &rest) >= 0)
            continue;
        snprintf(alias_dir, sizeof(alias_dir), "%s/fuss-XXXXXX", bases[i]);
        if (mkdtemp(alias_dir)) {
            /* Programs of the session under another uid go through it by name. */
            if (chmod(alias_dir, 0711) == 0)
                return 0;
            rmdir(alias_dir);
        }
        err = -errno;
        alias_dir[0] = '\0';
    }
    return err;
}

static int new_alias(const struct session *s, char *buf, size_t cap)
{
    if (!alias_dir[0]) {
        int err = make_alias_dir(s);
        if (err)
            return err;
    }
    int n = snprintf(buf, cap, "%s/%u", alias_dir, alias_serial++);
    return n >= (int)cap ? -ENAMETOOLONG : 0;
}

int sockname_alias(const struct session *s, const char *target, char *buf, size_t cap)
{
    int err = new_alias(s, buf, cap);
    if (err)
        return err;
    return symlink(target, buf) < 0 ? -errno : 0;
}

/* Where the second name of an alias lies in work. */
static bool linked_name(const char *alias, char *buf, size_t cap)
{
    return alias_work[0] &&
           snprintf(buf, cap, "%s/s%s", alias_work, path_last(alias, strlen(alias))) < (int)cap;
}

int sockname_alias_fd(const struct session *s, int fd, char *buf, size_t cap)
{
    char path[SYS_FD_PATH], name[PATH_MAX];
    int err = new_alias(s, buf, cap);
    if (err)
        return err;
    sys_fd_path(path, fd);
    err = sys_linkat(AT_FDCWD, path, AT_FDCWD, buf, AT_SYMLINK_FOLLOW);
    if (err != -EXDEV)
        return err;
    str_copy(alias_work, sizeof(alias_work), session_text(s, s->work));
    if (!linked_name(buf, name, sizeof(name)))
        return -ENAMETOOLONG;
    err = sys_linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
    if (!err && symlink(name, buf) < 0) {
        err = -errno;
        unlink(name);
    }
    return err;
}

void sockname_unalias(const char *alias)
{
    char name[PATH_MAX];
    if (linked_name(alias, name, sizeof(name)))
        unlink(name);
    unlink(alias);
}

void sockname_fini(void)
{
    char path[96];
    if (!alias_dir[0])
        return;
    for (unsigned i = 0; i < alias_serial; i++) {
        snprintf(path, sizeof(path), "%s/%u", alias_dir, i);
        sockname_unalias(path);
    }
    rmdir(alias_dir);
    alias_dir[0] = '\0';
}
