/* An upper held still while it is read, by the lock that a session holds on its upper; and what an
 * override_stat says. */
#include "image/marks.h"
#include "image/upper.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 16 };

static int root = -1, lock = -1;

static _Noreturn void held(const char *path)
{
    char pid[32] = "";
    ssize_t n = pread(lock, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? n : 0] = 0;
    pid[strcspn(pid, "\n")] = 0;
    image_fail("%s: upper directory in use by a session, pid %s; wait for its end", path,
               *pid ? pid : "unknown");
}

/* As a session takes it; where the upper cannot be written, nobody can begin one in it, and only a
 * lock that is there counts. True: it is ours. */
static bool take(const char *path)
{
    struct stat mine, named;
    bool writable = !mkdirat(root, WORK, 0700) || errno == EEXIST;
    lock = place_open(root, LOCK, writable ? O_RDWR | O_CREAT : O_RDONLY, 0600);
    if (lock == -ENOENT && !writable)
        return true;
    if (lock == -ENOENT)
        return false; /* its last holder took the directory away */
    if (lock < 0)
        image_fail("%s: cannot open the lock of the upper directory: %s", path, strerror(-lock));
    if (flock(lock, LOCK_EX | LOCK_NB)) {
        if (errno == EWOULDBLOCK)
            held(path);
        image_fail("%s: cannot lock the upper directory: %s", path, strerror(errno));
    }
    if (!fstat(lock, &mine) && !fstatat(root, LOCK, &named, AT_SYMLINK_NOFOLLOW) &&
        mine.st_ino == named.st_ino && mine.st_dev == named.st_dev) {
        if (writable && !ftruncate(lock, 0))
            dprintf(lock, "%d\n", (int)getpid());
        return true;
    }
    close(lock);
    lock = -1;
    return false;
}

void upper_lock(struct upper *u, const char *path)
{
    struct stat st;
    root = u->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fstat(root, &st))
        image_fail("%s: %s", path, strerror(errno));
    for (int i = 0; !take(path); i++)
        if (i == TRIES)
            image_fail("%s: cannot get the lock, others take and leave it all the time", path);
    /* What is made for the lock shall not show by the root's times. */
    futimens(root, (struct timespec[]){st.st_atim, st.st_mtim});
    atexit(upper_unlock);
}

void upper_unlock(void)
{
    struct stat st;
    if (root < 0 || lock < 0)
        return;
    if (!fstat(root, &st)) {
        unlinkat(root, LOCK, 0);
        unlinkat(root, WORK, AT_REMOVEDIR); /* a killed session's may hold more */
        futimens(root, (struct timespec[]){st.st_atim, st.st_mtim});
    }
    close(lock);
    lock = -1;
}

/* A number of `base` at *at, which is moved behind it. */
static bool number(const char **at, int base, unsigned long max, uint32_t *out)
{
    char *end;
    if (**at < '0' || **at > '9')
        return false;
    errno = 0;
    unsigned long n = strtoul(*at, &end, base);
    if (errno || n > max)
        return false;
    *at = end;
    *out = (uint32_t)n;
    return true;
}

bool upper_override(const char *text, struct upper_override *o)
{
    static const struct {
        const char *word;
        mode_t type;
    } kinds[] = {{"file", S_IFREG},    {"dir", S_IFDIR},   {"symlink", S_IFLNK}, {"pipe", S_IFIFO},
                 {"socket", S_IFSOCK}, {"char-", S_IFCHR}, {"block-", S_IFBLK}};
    uint32_t mode;
    memset(o, 0, sizeof(*o));
    if (!number(&text, 10, UINT32_MAX - 1, &o->uid) || *text++ != ':' ||
        !number(&text, 10, UINT32_MAX - 1, &o->gid) || *text++ != ':' ||
        !number(&text, 8, 0177777, &mode))
        return false;
    o->mode = mode & 07777;
    if (!*text)
        return true;
    if (*text++ != ':')
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        size_t len = strlen(kinds[i].word);
        if (strncmp(text, kinds[i].word, len) != 0)
            continue;
        text += len;
        o->mode |= kinds[i].type;
        if (kinds[i].word[len - 1] != '-')
            return !*text;
        return number(&text, 10, UINT32_MAX, &o->major) && *text++ == '-' &&
               number(&text, 10, UINT32_MAX, &o->minor) && !*text;
    }
    return false;
}
