/* From a name to the object the union shows: layer by layer, topmost first. */
#include "overlay/overlay.h"
#include "overlay/index.h"
#include "base/sys.h"

static layer_set lowers_of(layer_set set)
{
    return set & ~layer_bit(0);
}

static bool is_single(layer_set set)
{
    return set && !(set & (set - 1));
}

static unsigned lowest(layer_set set)
{
    u64 low = (u64)set;
    return low ? (unsigned)__builtin_ctzll(low) : 64 + (unsigned)__builtin_ctzll((u64)(set >> 64));
}

static void make_absent(struct vnode *n)
{
    n->top = VNODE_ABSENT;
    n->layers = 0;
    memset(&n->st, 0, sizeof(n->st));
}

int overlay_root(struct vfs *fs, struct vnode *out)
{
    struct overlay *o = overlay_of(fs);
    out->fs = fs;
    out->generation = index_generation(o->index);
    out->layers = out->dir_layers = o->root_layers;
    out->top = (u8)lowest(o->root_layers);
    out->whiteout = false;
    out->len = 0;
    out->path[0] = '\0';
    return sys_fstat(o->layer_fd[out->top], &out->st);
}

/* The stat of one layer's object. Safe: no component may be a symlink. */
static int layer_stat(struct overlay *o, unsigned layer, const char *rel, bool safe,
                      struct stat *st)
{
    if (!*rel)
        return sys_fstat(o->layer_fd[layer], st);
    if (!safe)
        return sys_fstatat(o->layer_fd[layer], rel, st, AT_SYMLINK_NOFOLLOW);
    int fd = overlay_open_in(o, layer, rel, 0);
    if (fd < 0)
        return fd;
    int r = sys_fstat(fd, st);
    sys_close(fd);
    return r;
}

/* What one layer says of a name. */
enum say {
    SAYS_NOTHING, /* go on with the next layer */
    SAYS_OBJECT,  /* the name is a non-directory here: the end */
    SAYS_DIR,     /* a directory that deeper layers may add to */
    SAYS_DIR_END, /* a directory that hides the deeper layers */
    SAYS_GONE,    /* a whiteout: the deeper layers are hidden */
    SAYS_ASIDE,   /* what leads there is no directory of this layer */
};

static int layer_says(struct overlay *o, unsigned layer, const char *path, const char *dir,
                      const char *name, bool deeper, bool safe, struct stat *st)
{
    if (session_masked(o->s, layer, path))
        return SAYS_NOTHING;
    int r = layer_stat(o, layer, path, safe, st);
    if (safe && (r == -ENOTDIR || r == -ELOOP))
        return SAYS_ASIDE;
    if (r == -ENOENT || r == -ENOTDIR)
        return deeper && overlay_has_wh(o, layer, dir, name) ? SAYS_GONE : SAYS_NOTHING;
    if (r < 0)
        return r;
    if (overlay_is_whiteout(o, layer, path, st))
        return SAYS_GONE;
    if (!S_ISDIR(st->st_mode))
        return overlay_is_metacopy(o, layer, path, st) ? -EIO : SAYS_OBJECT;
    if (!deeper)
        return SAYS_DIR;
    r = layer ? overlay_lower_opaque(o, layer, path, st) : overlay_is_opaque(o, 0, path);
    if (r < 0)
        return r;
    return r || overlay_has_wh(o, layer, dir, name) ? SAYS_DIR_END : SAYS_DIR;
}

/* Fills out (path and dir_layers are set) from the layers of its directory. */
static int look_in_layers(struct overlay *o, struct vnode *out, bool safe)
{
    char dir[VPATH_MAX];
    layer_set left = out->dir_layers;
    const char *name = path_last(out->path, out->len);
    u64 hash = 0, word = 0;
    enum index_state state = INDEX_MAYBE;
    struct stat st;

    memcpy(dir, out->path, out->len + 1);
    path_pop(dir, out->len);
    make_absent(out);
    if (left & layer_bit(0)) {
        hash = index_hash(o->index, out->path, out->len);
        state = index_look(o->index, hash, &word);
        if (state == INDEX_ABSENT)
            left &= ~layer_bit(0);
    }
    while (left) {
        unsigned layer = lowest(left);
        left &= ~layer_bit(layer);
        int say = layer_says(o, layer, out->path, dir, name, left != 0 || layer == 0, safe, &st);
        if (say == SAYS_ASIDE)
            return -EAGAIN; /* a symlink or a file on the way: component by component */
        if (say < 0)
            return out->top == VNODE_ABSENT ? say : 0;
        if (layer == 0 && state == INDEX_MAYBE) {
            if (say == SAYS_NOTHING)
                index_learn(o->index, hash, word, INDEX_ABSENT);
            else if (say == SAYS_DIR || say == SAYS_DIR_END)
                index_learn(o->index, hash, word, say == SAYS_DIR ? INDEX_MERGED : INDEX_OPAQUE);
        }
        if (say == SAYS_NOTHING)
            continue;
        if (say == SAYS_GONE) {
            out->whiteout = layer == 0;
            break;
        }
        if (out->top == VNODE_ABSENT) {
            out->top = (u8)layer;
            out->st = st;
            out->layers = layer_bit(layer);
        } else if (say == SAYS_OBJECT) {
            break; /* a file under a directory: merging stops here */
        } else {
            out->layers |= layer_bit(layer);
        }
        if (say != SAYS_DIR)
            break;
    }
    return 0;
}

int overlay_lookup(struct vfs *fs, const struct vnode *dir, const char *name, size_t len,
                   struct vnode *out)
{
    struct overlay *o = overlay_of(fs);
    layer_set layers = dir->layers;
    if (!vnode_is_dir(dir))
        return -ENOTDIR;
    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    if (out != dir) {
        memcpy(out->path, dir->path, dir->len + 1);
        out->len = dir->len;
    }
    int r = path_push(out->path, sizeof(out->path), &out->len, name, len);
    if (r < 0)
        return r;
    out->fs = fs;
    out->generation = index_generation(o->index);
    out->dir_layers = layers;
    out->whiteout = false;
    if (overlay_reserved(o, name, len)) {
        make_absent(out);
        return 0;
    }
    return look_in_layers(o, out, false);
}

/* Component by component; out may not be path's own memory. */
static int descend_slow(struct vfs *fs, const char *path, struct vnode *out)
{
    const char *name;
    size_t n;
    int r = overlay_root(fs, out);
    while (r == 0 && (n = path_next(&path, &name)) != 0) {
        if (!vnode_is_dir(out))
            return -EAGAIN;
        r = overlay_lookup(fs, out, name, n, out);
    }
    return r;
}

/* With one lower the index alone says which layers reach the parent directory; the one look at the
 * whole path tells whether that was true. 1: answered; 0: no. */
static int descend_fast(struct overlay *o, struct vnode *out)
{
    layer_set layers = o->root_layers, parents;
    size_t at = 0;
    do {
        size_t from = at ? at + 1 : 0;
        for (at = from; at < out->len && out->path[at] != '/'; at++)
            ;
        if (overlay_reserved(o, out->path + from, at - from))
            return 0;
        parents = layers;
        if (at == out->len || !(layers & layer_bit(0)))
            continue;
        u64 word;
        enum index_state state = index_look(o->index, index_hash(o->index, out->path, at), &word);
        if (state == INDEX_MAYBE)
            return 0;
        if (state == INDEX_ABSENT)
            layers &= ~layer_bit(0);
        else if (state == INDEX_OPAQUE)
            layers &= layer_bit(0);
        if (!layers)
            return 0;
    } while (at < out->len);
    out->dir_layers = parents;
    out->whiteout = false;
    return look_in_layers(o, out, true) == 0;
}

int overlay_descend(struct vfs *fs, const char *path, size_t len, struct vnode *out)
{
    struct overlay *o = overlay_of(fs);
    if (len == 0)
        return overlay_root(fs, out);
    if (len >= sizeof(out->path))
        return -ENAMETOOLONG;
    if (is_single(lowers_of(o->root_layers)) || !lowers_of(o->root_layers)) {
        out->fs = fs;
        out->generation = index_generation(o->index);
        out->len = len;
        memmove(out->path, path, len);
        out->path[len] = '\0';
        if (descend_fast(o, out))
            return 0;
    }
    char copy[VPATH_MAX];
    memcpy(copy, path, len);
    copy[len] = '\0';
    return descend_slow(fs, copy, out);
}

int overlay_parent(struct overlay *o, const struct vnode *node, struct vnode *out)
{
    char dir[VPATH_MAX];
    memcpy(dir, node->path, node->len + 1);
    size_t len = path_pop(dir, node->len);
    int r = overlay_descend(&o->vfs, dir, len, out);
    if (r == -EAGAIN || (r == 0 && !vnode_exists(out)))
        return -ENOENT;
    if (r == 0 && !vnode_is_dir(out))
        return -ENOTDIR;
    return r;
}

bool overlay_lower_has(struct overlay *o, const struct vnode *node)
{
    char dir[VPATH_MAX];
    layer_set left = lowers_of(node->dir_layers);
    const char *name = path_last(node->path, node->len);
    struct stat st;
    memcpy(dir, node->path, node->len + 1);
    path_pop(dir, node->len);
    while (left) {
        unsigned layer = lowest(left);
        left &= ~layer_bit(layer);
        int say = layer_says(o, layer, node->path, dir, name, left != 0, true, &st);
        if (say != SAYS_NOTHING && say != SAYS_ASIDE)
            return say != SAYS_GONE;
    }
    return false;
}

unsigned overlay_top_lower(struct overlay *o, const struct vnode *node)
{
    (void)o;
    layer_set low = lowers_of(node->layers);
    return low && vnode_is_dir(node) ? lowest(low) : 0;
}
