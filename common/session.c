#include "session.h"
#include "binds.h"
#include "base/sys.h"

static bool host_protects_symlinks(void)
{
    char word = '0';
    int fd = sys_openat(AT_FDCWD, "/proc/sys/fs/protected_symlinks", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool on = sys_read(fd, &word, 1) == 1 && word == '1';
    sys_close(fd);
    return on;
}

void session_init(struct session *s)
{
    memset(s, 0, sizeof(*s));
    s->version = SESSION_VERSION;
    s->nlayers = 1;
    s->text_len = 1; /* offset 0 means "none" */
    s->guard = true;
    s->protected_symlinks = host_protects_symlinks();
}

u32 session_add_text(struct session *s, const char *text)
{
    size_t n = str_len(text) + 1;
    if (n > SESSION_TEXT - s->text_len)
        return 0;
    u32 off = s->text_len;
    memcpy(s->text + off, text, n);
    s->text_len += (u32)n;
    return off;
}

bool session_masked(const struct session *s, unsigned layer, const char *rel)
{
    for (u32 i = 0; i < s->nmasks; i++) {
        if (s->mask[i].layer != layer)
            continue;
        const char *mask = session_text(s, s->mask[i].path);
        if (path_below(rel, mask, NULL))
            return true;
    }
    return false;
}

static bool is_host_name(const char *rel)
{
    static const char names[][5] = {"proc", "sys", "dev"};
    const char *name;
    size_t n = path_next(&rel, &name);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_len(names[i]) == n && str_eq_n(names[i], name, n))
            return true;
    }
    return false;
}

int session_layer_of(const struct session *s, const char *real, const char **rest)
{
    int best = -1;
    u32 best_len = 0;
    for (u32 i = 0; i < s->nlayers; i++) {
        const struct session_layer *l = &s->layer[i];
        const char *r;
        if (!l->in_use || (best >= 0 && l->path_len <= best_len))
            continue;
        if (!path_below(real, session_text(s, l->path), &r))
            continue;
        if (l->path_len == 1 && is_host_name(r))
            continue; /* the kernel's own filesystems are no part of a layer "/" */
        best = (int)i;
        best_len = l->path_len;
        *rest = r;
    }
    const char *r;
    int bind = best >= 0 && s->nbinds ? bind_of_real(s, real, &r) : -1;
    return bind >= 0 && s->bind[bind].host_len > best_len ? -1 : best;
}

bool session_below_mount(const struct session *s, const char *path, const char **rel)
{
    const char *rest;
    if (!path_below(path, session_mount(s), &rest))
        return false;
    if (rel)
        *rel = rest;
    return !session_host_name(s, rest);
}

bool session_kernel_name(const struct session *s, const char *rel)
{
    return !s->no_host_names && is_host_name(rel);
}

bool session_host_name(const struct session *s, const char *rel)
{
    return s->mount_len == 1 && !s->no_host_names && is_host_name(rel);
}
