#include "binds.h"

/* As path_below(), where the lengths are known. Mostly told without comparing a text. */
static bool lies_below(const char *path, size_t len, const char *dir, u32 n, const char **rest)
{
    if (n == 1) {
        *rest = path + 1;
        return true;
    }
    if (n > len || (path[n] && path[n] != '/') || memcmp(path, dir, n) != 0)
        return false;
    *rest = path + n + (path[n] == '/');
    return true;
}

int bind_covering(const struct session *s, const char *path, size_t len, const char **rest)
{
    int best = -1;
    const char *r;
    for (u32 i = 0; i < s->nbinds; i++) {
        const struct session_bind *b = &s->bind[i];
        if (best >= 0 && b->guest_len <= s->bind[best].guest_len)
            continue;
        if (!lies_below(path, len, session_text(s, b->guest), b->guest_len, &r))
            continue;
        best = (int)i;
        *rest = r;
    }
    return best;
}

bool bind_is(const struct session *s, const char *path, size_t len)
{
    for (u32 i = 0; i < s->nbinds; i++) {
        if (s->bind[i].guest_len == len && memcmp(bind_guest(s, (int)i), path, len) == 0)
            return true;
    }
    return false;
}

/* Of what the whole host or one of its names at the root shows, the program's own names are the
 * host's too where they can be. */
static bool shows_itself(const struct session *s, const struct session_bind *b, const char *real)
{
    if (b->host_len == 1 && s->mount_len > 1)
        return true;
    if (!session_host_name(s, real + 1))
        return false;
    const char *comp, *p = real;
    return b->host_len <= path_next(&p, &comp) + 1;
}

int bind_of_real(const struct session *s, const char *real, const char **rest)
{
    int best = -1;
    const char *r;
    size_t len = str_len(real);
    for (u32 i = 0; i < s->nbinds; i++) {
        const struct session_bind *b = &s->bind[i];
        if (b->hidden || (best >= 0 && b->host_len <= s->bind[best].host_len) ||
            !lies_below(real, len, session_text(s, b->host), b->host_len, &r) ||
            shows_itself(s, b, real))
            continue;
        best = (int)i;
        *rest = r;
    }
    return best;
}

int bind_at(const struct session *s, const char *dir, size_t dir_len, const char *name, size_t len)
{
    size_t n = dir_len > 1 ? dir_len + 1 : 1;
    for (u32 i = 0; i < s->nbinds; i++) {
        const struct session_bind *b = &s->bind[i];
        const char *guest = session_text(s, b->guest);
        if (b->guest_len == n + len && memcmp(guest + n, name, len) == 0 &&
            memcmp(guest, dir, dir_len) == 0 && guest[n - 1] == '/')
            return (int)i;
    }
    return -1;
}

bool bind_below(const struct session *s, const char *dir)
{
    const char *rest;
    for (u32 i = 0; i < s->nbinds; i++) {
        if (path_below(session_text(s, s->bind[i].guest), dir, &rest) && *rest)
            return true;
    }
    return false;
}

int bind_next_in(const struct session *s, const char *dir, size_t dir_len, int i)
{
    for (i++; i < (int)s->nbinds; i++) {
        const char *guest = bind_guest(s, i), *name = path_last(guest, s->bind[i].guest_len);
        size_t parent = (size_t)(name - guest) - (name - guest > 1);
        if (parent == dir_len && memcmp(guest, dir, dir_len) == 0)
            return i;
    }
    return -1;
}

static long join(const char *dir, size_t dir_len, const char *rest, char *buf, size_t cap)
{
    size_t len = 0, n = str_len(rest);
    int err = path_push(buf, cap, &len, dir, dir_len);
    if (!err && n)
        err = path_push(buf, cap, &len, rest, n);
    return err ? err : (long)len;
}

long bind_host_path(const struct session *s, int bind, const char *rest, char *buf, size_t cap)
{
    return join(bind_host(s, bind), s->bind[bind].host_len, rest, buf, cap);
}

long bind_guest_path(const struct session *s, int bind, const char *rest, char *buf, size_t cap)
{
    return join(bind_guest(s, bind), s->bind[bind].guest_len, rest, buf, cap);
}

const char *bind_rest(const struct session *s, int bind, const char *real)
{
    u32 n = s->bind[bind].host_len;
    if (n == 1)
        return real + 1;
    return real + n + (real[n] == '/');
}

bool bind_is_parent(const struct session *s, u64 dev, u64 ino)
{
    for (u32 i = 0; i < s->nbind_parents; i++) {
        if (s->bind_parent[i].ino == ino && s->bind_parent[i].dev == dev)
            return true;
    }
    return false;
}
