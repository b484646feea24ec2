/* Removed directories of the upper are taken apart in work, where the kernel's text for whoever has
 * one open, or something that was in it, then ends. Where they came from is remembered here. */
#include "overlay/change.h"

void gone_note(struct overlay *o, const struct spot *spot)
{
    struct gone *g = &o->gone[o->serial % GONE_MAX];
    size_t len = 0;
    g->serial = 0;
    g->path[0] = '\0';
    if (path_push(g->path, sizeof(g->path), &len, spot->parent.path, spot->parent.len) == 0 &&
        path_push(g->path, sizeof(g->path), &len, spot->name, spot->len) == 0)
        g->serial = o->serial;
}

/* What follows "WORK/tPID-" in a path of the upper, or NULL. */
static const char *behind_temp(const struct overlay *o, const char *rel)
{
    const char *work, *name;
    if (o->s->read_only ||
        !path_below(session_text(o->s, o->s->work), session_layer_path(o->s, 0), &work) ||
        !path_below(rel, work, &name) || *name != 't')
        return NULL;
    while (*name && *name != '/' && *name != '-')
        name++;
    return *name == '-' ? name + 1 : NULL;
}

long overlay_gone(struct vfs *fs, const char *rel, char *buf, size_t cap)
{
    struct overlay *o = overlay_of(fs);
    const char *at = behind_temp(o, rel);
    u64 serial;
    size_t n = at ? str_to_u64(at, &serial) : 0;
    if (!n || !serial || o->gone[serial % GONE_MAX].serial != serial)
        return str_copy(buf, cap, rel);
    long len = str_copy(buf, cap, o->gone[serial % GONE_MAX].path);
    long more = len < 0 ? len : str_copy(buf + len, cap - (size_t)len, at + n);
    return more < 0 ? -ENAMETOOLONG : len + more;
}
