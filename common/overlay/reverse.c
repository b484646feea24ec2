/* From a real object back to the name it shows, across copy-ups and renames. */
#include "overlay/change.h"

/* Does the visible node stand for the real object st of `layer`? */
static bool stands_for(struct overlay *o, const struct vnode *node, unsigned layer,
                       const struct stat *st)
{
    if (!vnode_exists(node) || (node->st.st_mode & S_IFMT) != (st->st_mode & S_IFMT))
        return false;
    if (node->top == layer)
        return dev_ino_equal(&node->st, st);
    if (S_ISDIR(st->st_mode))
        return (node->layers & layer_bit(layer)) != 0;
    return node->top == 0 && overlay_copy_of(o, node, st);
}

/* The longest relocated prefix of a lower path; NULL where there is none. */
static const struct relocation *relocation_of(struct overlay *o, const char *rel, const char **rest)
{
    const struct relocation *best = NULL;
    size_t best_len = 0;
    for (u32 i = 0; i < o->norelocs; i++) {
        const struct relocation *r = &o->reloc[i];
        const char *from = o->text + r->path, *tail;
        size_t n = str_len(from);
        if ((best && n < best_len) || !path_below(rel, from, &tail))
            continue;
        best = r;
        best_len = n;
        *rest = tail;
    }
    return best;
}

/* Where the relocated object is now, or was last, relative to the upper: what the kernel says of
 * its directory. The name is in `real`; NULL where it was removed under its old name. */
static const char *relocated_to(struct overlay *o, const struct relocation *reloc, const char *rest,
                                char *real, size_t cap)
{
    long n = reloc->to_fd < 0 ? -ENOENT : gone_upper_path(o, reloc->to_fd, real, cap);
    size_t len = (size_t)n;
    if (n < 0 || (*rest && path_push(real, cap, &len, rest, str_len(rest))))
        return NULL;
    return real;
}

/* True where the relocated directory is there under its new name still. */
static bool is_linked(const struct relocation *reloc)
{
    struct stat st;
    return sys_fstat(reloc->to_fd, &st) == 0 && st.st_nlink > 0;
}

/* The object at `rel` of the upper stands for the lower one with stat st: the moved tree was copied
 * up as a whole, each object with the mark of its original. */
static bool moved_here(struct overlay *o, const char *rel, const struct stat *st, struct vnode *out)
{
    return overlay_descend(&o->vfs, rel, str_len(rel), out) == 0 && vnode_exists(out) &&
           out->top == 0 && (out->st.st_mode & S_IFMT) == (st->st_mode & S_IFMT) &&
           overlay_copy_of(o, out, st);
}

int overlay_reverse(struct vfs *fs, unsigned layer, const char *rel, const struct stat *st,
                    struct vnode *out)
{
    struct overlay *o = overlay_of(fs);
    char moved[PATH_MAX], from[VPATH_MAX];
    const char *rest = NULL;
    int r = overlay_descend(fs, rel, str_len(rel), out);
    if (r < 0 && r != -EAGAIN)
        return r;
    if (r == 0 && stands_for(o, out, layer, st))
        return 0;
    if (o->only_reads) {
        o->unable(); /* who remembers where it went */
        return -ENOENT;
    }
    const struct relocation *reloc = layer > 0 ? relocation_of(o, rel, &rest) : NULL;
    const char *to = reloc ? relocated_to(o, reloc, rest, moved, sizeof(moved)) : NULL;
    if (to && is_linked(reloc) && moved_here(o, to, st, out))
        return 0;
    if (to)
        rel = to;
    if ((layer == 0 || to) && overlay_gone(fs, rel, from, sizeof(from)) >= 0)
        rel = from;
    size_t len = gone_name_length(rel);
    out->fs = fs;
    out->top = VNODE_ABSENT;
    out->layers = out->dir_layers = 0;
    out->whiteout = false;
    out->len = len < sizeof(out->path) ? len : 0;
    memmove(out->path, rel, out->len);
    out->path[out->len] = '\0';
    return -ENOENT;
}

void overlay_moved_on(struct overlay *o)
{
    if (o->index && o->leads_on)
        index_moved(o->index);
}

int overlay_relocate(struct overlay *o, const char *rel, int to_fd)
{
    size_t n = str_len(rel) + 1;
    int fd = -1;
    if (o->index)
        index_moved(o->index);
    /* Removals, of which there may be many, leave room for renames: a removed directory is mostly
     * known by not being found. */
    u32 room = to_fd < 0 ? RELOCATIONS_MAX / 2 : RELOCATIONS_MAX;
    if (o->norelocs >= room || n > o->text_size - o->text_len)
        return 0; /* handles of that directory then count as removed */
    if (to_fd >= 0) {
        fd = (int)SYS3(SYS_fcntl, to_fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return fd;
        o->leads_on = true;
    }
    memcpy(o->text + o->text_len, rel, n);
    o->reloc[o->norelocs++] = (struct relocation){.path = o->text_len, .to_fd = fd};
    o->text_len += (u32)n;
    return 0;
}
