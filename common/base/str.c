#include "base/str.h"
#include "base/sys.h"

size_t str_len(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

bool str_eq(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool str_eq_n(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i] || !a[i])
            return false;
    }
    return true;
}

bool str_starts(const char *s, const char *prefix)
{
    return str_eq_n(s, prefix, str_len(prefix));
}

long str_copy_n(char *dst, size_t cap, const char *src, size_t n)
{
    if (n >= cap)
        return -ENAMETOOLONG;
    memmove(dst, src, n);
    dst[n] = '\0';
    return (long)n;
}

long str_copy(char *dst, size_t cap, const char *src)
{
    return str_copy_n(dst, cap, src, str_len(src));
}

size_t str_from_u64(char *dst, u64 v)
{
    char tmp[20];
    size_t n = 0;
    do {
        tmp[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    for (size_t i = 0; i < n; i++)
        dst[i] = tmp[n - 1 - i];
    dst[n] = '\0';
    return n;
}

size_t str_to_u64(const char *s, u64 *v)
{
    size_t n = 0;
    *v = 0;
    while (s[n] >= '0' && s[n] <= '9' && n < 19) {
        *v = *v * 10 + (u64)(s[n] - '0');
        n++;
    }
    return n;
}

size_t path_next(const char **path, const char **comp)
{
    const char *p = *path;
    while (*p == '/')
        p++;
    *comp = p;
    while (*p && *p != '/')
        p++;
    *path = p;
    return (size_t)(p - *comp);
}

bool path_below(const char *path, const char *dir, const char **rest)
{
    size_t n = str_len(dir);
    if (n == 1 && dir[0] == '/')
        n = 0; /* everything is below the root */
    if (n && !str_eq_n(path, dir, n))
        return false;
    if (path[n] != '\0' && path[n] != '/')
        return false;
    if (rest)
        *rest = path[n] == '/' ? path + n + 1 : path + n;
    return true;
}

int path_push(char *path, size_t cap, size_t *len, const char *name, size_t name_len)
{
    size_t n = *len;
    bool slash = n > 0 && path[n - 1] != '/';
    if (n + slash + name_len >= cap)
        return -ENAMETOOLONG;
    if (slash)
        path[n++] = '/';
    memmove(path + n, name, name_len);
    path[n + name_len] = '\0';
    *len = n + name_len;
    return 0;
}

size_t path_pop(char *path, size_t len)
{
    while (len > 0 && path[len - 1] != '/')
        len--;
    if (len > 1)
        len--; /* the slash itself, unless it is the root */
    path[len] = '\0';
    return len;
}

const char *path_last(const char *path, size_t len)
{
    while (len > 0 && path[len - 1] != '/')
        len--;
    return path + len;
}

long path_clean(char *dst, size_t cap, const char *path)
{
    size_t len = 0, n;
    const char *comp;
    if (path[0] != '/')
        return -EINVAL;
    len = 1;
    if (cap < 2)
        return -ENAMETOOLONG;
    dst[0] = '/';
    dst[1] = '\0';
    while ((n = path_next(&path, &comp)) != 0) {
        if (is_dot(comp, n))
            continue;
        if (is_dotdot(comp, n)) {
            len = path_pop(dst, len);
            continue;
        }
        int err = path_push(dst, cap, &len, comp, n);
        if (err)
            return err;
    }
    return (long)len;
}

bool is_dot(const char *name, size_t len)
{
    return len == 1 && name[0] == '.';
}

bool is_dotdot(const char *name, size_t len)
{
    return len == 2 && name[0] == '.' && name[1] == '.';
}

const char *sys_fd_path(char *buf, int fd)
{
    static const char head[] = "/proc/self/fd/";
    memcpy(buf, head, sizeof(head) - 1);
    str_from_u64(buf + sizeof(head) - 1, (u64)fd);
    return buf;
}
