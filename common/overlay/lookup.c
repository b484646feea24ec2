/* From a name to the object the union shows: layer by layer, topmost first. */
#include "overlay/change.h"
#include "vfs/steady.h"

#define ANY_LAYER (~(layer_set)0)
#define UNKNOWN   ((u64)1) /* a count of changes at which nothing is known */

static void make_absent(struct vnode *n)
{
    n->top = VNODE_ABSENT;
    n->layers = 0;
    n->marked = ANY_LAYER;
    memset(&n->st, 0, sizeof(n->st));
}

/* The stat of one layer's object. Safe: the path is not known to lead through real directories, so
 * no component may be a symlink. */
static int layer_stat(struct overlay *o, unsigned layer, const char *rel, bool safe,
                      struct stat *st)
{
    if (!*rel && !o->by_path)
        return sys_fstat(o->layer_fd[layer], st);
    if (!safe || !*rel)
        return overlay_stat_in(o, layer, rel, st);
    if (o->by_path) {
        bool parent;
        return overlay_straight_stat(o, layer, rel, st, &parent);
    }
    int fd = overlay_open_in(o, layer, rel, 0);
    if (fd < 0)
        return fd;
    int r = sys_fstat(fd, st);
    sys_close(fd);
    return r;
}

int overlay_root(struct vfs *fs, struct vnode *out)
{
    struct overlay *o = overlay_of(fs);
    out->fs = fs;
    out->generation = index_generation(o->index);
    out->layers = out->dir_layers = o->root_layers;
    out->marked = ANY_LAYER;
    out->top = (u8)lowest(o->root_layers);
    out->whiteout = false;
    out->len = 0;
    out->path[0] = '\0';
    return layer_stat(o, out->top, "", false, &out->st);
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

/* A name being looked up: its path, the path of its directory, the name itself. */
struct wanted {
    const char *path, *dir, *name;
    bool safe;                 /* see layer_stat */
    layer_set marked;          /* the layers that may have markers beside it */
    enum index_state in_upper; /* what is known already */
};

/* The marks of an ordinary user's directory are read although its mode says no. */
static int upper_opaque(struct overlay *o, const char *rel, const struct stat *st)
{
    struct held_dir held = {.fd = -1};
    if (o->s->uid != 0 && st->st_uid == o->s->uid && (st->st_mode & 0700) != 0700) {
        if (o->by_path) {
            o->unable();
            return 0;
        }
        int fd = overlay_open_in(o, 0, rel, O_DIRECTORY);
        if (fd >= 0 && hold_dir(o, fd, false, &held) < 0) {
            sys_close(fd);
            held.fd = -1;
        }
    }
    int r = overlay_is_opaque(o, 0, rel);
    release_node(&held);
    return r;
}

static int dir_says(struct overlay *o, unsigned layer, const struct wanted *w, struct stat *st)
{
    if (layer == 0 && w->in_upper != INDEX_MAYBE)
        return w->in_upper == INDEX_OPAQUE ? SAYS_DIR_END : SAYS_DIR;
    int r;
    if (layer)
        r = overlay_lower_opaque(o, layer, w->dir, w->path, st);
    else if ((r = upper_opaque(o, w->path, st)) == 0)
        r = overlay_has_wh(o, 0, w->dir, w->name);
    return r < 0 ? r : r ? SAYS_DIR_END : SAYS_DIR;
}

static int layer_says(struct overlay *o, unsigned layer, const struct wanted *w, bool deeper,
                      struct stat *st)
{
    if (session_masked(o->s, layer, w->path))
        return SAYS_NOTHING;
    int r = layer_stat(o, layer, w->path, w->safe && layer, st);
    if (r == -ENOENT || r == -ENOTDIR || (r == -ELOOP && w->safe))
        return deeper && (w->marked & layer_bit(layer)) && overlay_has_wh(o, layer, w->dir, w->name)
                   ? SAYS_GONE
                   : SAYS_NOTHING;
    if (r < 0)
        return r;
    if (overlay_is_whiteout(o, layer, w->path, st))
        return SAYS_GONE;
    if (!S_ISDIR(st->st_mode))
        return overlay_is_metacopy(o, layer, w->path, st) ? -EIO : SAYS_OBJECT;
    return deeper ? dir_says(o, layer, w, st) : SAYS_DIR;
}

static void learn(struct overlay *o, u64 hash, u64 word, int say)
{
    if (say == SAYS_NOTHING)
        index_learn(o->index, hash, word, INDEX_ABSENT);
    else if (say == SAYS_DIR || say == SAYS_DIR_END)
        index_learn(o->index, hash, word, say == SAYS_DIR ? INDEX_MERGED : INDEX_OPAQUE);
}

/* Takes what a layer says into out. True where the deeper layers have no say. */
static bool take(struct vnode *out, unsigned layer, int say, const struct stat *st)
{
    bool first = out->top == VNODE_ABSENT;
    if (say == SAYS_NOTHING)
        return false;
    if (say == SAYS_GONE) {
        out->whiteout = layer == 0;
        return true;
    }
    if (first) {
        out->top = (u8)layer;
        out->st = *st;
        out->layers = layer_bit(layer);
    } else if (say == SAYS_OBJECT) {
        return true; /* a file under a directory: merging stops here */
    } else {
        out->layers |= layer_bit(layer);
    }
    return say != SAYS_DIR;
}

static enum index_state known_in_upper(struct overlay *o, const char *path, size_t len, u64 *hash,
                                       u64 *word)
{
    *hash = index_hash(o->index, path, len);
    enum index_state state = index_look(o->index, *hash, word);
    return state == INDEX_MAYBE && kept_lacks(o, path, len, *hash) ? INDEX_ABSENT : state;
}

/* The upper is not asked about this name, but for the rights of the directories on the way. */
static void skips_upper(struct overlay *o, const struct vnode *out)
{
    size_t len = (size_t)(path_last(out->path, out->len) - out->path);
    overlay_search_upper(o, out, len ? len - 1 : 0);
}

/* Asks the lowers of `left`, topmost first. */
static int look_in_lowers(struct overlay *o, struct vnode *out, const struct wanted *w,
                          layer_set left)
{
    layer_set unmarked = 0;
    struct stat st;
    while (left) {
        unsigned layer = lowest(left);
        left &= ~layer_bit(layer);
        int say = layer_says(o, layer, w, left != 0, &st);
        if (say < 0)
            return say;
        if (left && say == SAYS_DIR && overlay_wh_names(o) &&
            !overlay_may_mark(o, layer, out->path, &st))
            unmarked |= layer_bit(layer);
        if (take(out, layer, say, &st))
            break;
    }
    out->marked = ~unmarked;
    return 0;
}

/* The same where the upper shows nothing and the directory of the name is known until `until`: who
 * had it a moment ago is asked alone. */
static int look_by_name(struct overlay *o, struct vnode *out, const struct wanted *w,
                        layer_set lowers, u64 changes, u32 until)
{
    unsigned layer;
    u64 hash = index_hash(o->index, out->path, out->len);
    if (overlay_known_name(o, hash, changes, &layer)) {
        int r = layer ? look_in_lowers(o, out, w, layer_bit(layer)) : 0;
        if (r < 0 || !layer || (vnode_exists(out) && !vnode_is_dir(out)))
            return r;
        make_absent(out);
    }
    int r = look_in_lowers(o, out, w, lowers);
    if (r == 0 && !vnode_is_dir(out))
        overlay_note_name(o, hash, changes, until, vnode_exists(out) ? out->top : 0);
    return r;
}

/* Fills out (path and dir_layers are set) from the layers of its directory; `known` is what was
 * known of that (NULL: nothing) when there were so many `changes`. *word: of the index, where what
 * the upper said of the name was not known before; else 0. */
static int look_once(struct overlay *o, struct vnode *out, struct wanted *w,
                     const struct known_dir *known, u64 changes, u64 *word)
{
    layer_set lowers = lowers_of(out->dir_layers);
    make_absent(out);
    *word = 0;
    if (out->dir_layers & layer_bit(0)) {
        u64 hash;
        struct stat st;
        int say = SAYS_NOTHING;
        w->in_upper = known_in_upper(o, out->path, out->len, &hash, word);
        if (w->in_upper != INDEX_ABSENT)
            say = layer_says(o, 0, w, true, &st);
        if (say < 0)
            return say;
        if (w->in_upper == INDEX_MAYBE)
            learn(o, hash, *word, say);
        else
            *word = 0;
        if (take(out, 0, say, &st))
            return 0;
    }
    if (known && has_several(lowers) && !vnode_exists(out))
        return look_by_name(o, out, w, lowers, changes, known->until);
    return look_in_lowers(o, out, w, lowers);
}

#define LOOKS 8

/* The same, until it has held still: the upper is asked for a name and then for its marker, and
 * whoever makes a file in a marker's place has it named before the marker goes. A whiteout that is
 * an object of the name itself is asked for once. */
static int look_in_layers(struct overlay *o, struct vnode *out, bool safe, layer_set marked,
                          const struct known_dir *known, u64 changes)
{
    char dir[VPATH_MAX];
    struct wanted w = {.path = out->path, .dir = dir, .safe = safe, .marked = marked};
    u64 before, now;
    w.name = path_last(out->path, out->len);
    memcpy(dir, out->path, out->len + 1);
    path_pop(dir, out->len);
    for (unsigned i = 0;; i++) {
        int r = look_once(o, out, &w, known, changes, &before);
        if (r < 0 || i == LOOKS || !before || !vnode_exists(out) || out->top == 0 ||
            o->s->style != STYLE_FILEPREFIX)
            return r;
        index_look(o->index, index_hash(o->index, out->path, out->len), &now);
        if (now == before)
            return r;
    }
}

int overlay_lookup(struct vfs *fs, const struct vnode *dir, const char *name, size_t len,
                   struct vnode *out)
{
    struct overlay *o = overlay_of(fs);
    layer_set layers = dir->layers, marked = dir->marked;
    if (!vnode_is_dir(dir))
        return -ENOTDIR;
    /* Below it the kernel judges the rights of one layer's directory, which need not be those of
     * the topmost one. */
    if (o->only_reads && o->s->uid != 0 && (dir->st.st_mode & 0111) != 0111)
        o->unable();
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
    return look_in_layers(o, out, false, marked, NULL, UNKNOWN);
}

/* The directory that out->path is in was seen a moment ago. -EAGAIN: it was not. */
static int descend_known(struct overlay *o, struct vnode *out, u64 changes)
{
    struct known_dir k;
    const char *name = path_last(out->path, out->len);
    size_t dir = (size_t)(name - out->path), len = out->len - dir;
    if (len > NAME_MAX || !overlay_known(o, out->path, dir ? dir - 1 : 0, changes, &k))
        return -EAGAIN;
    out->dir_layers = known_set(k.layers);
    out->whiteout = false;
    if (overlay_reserved(o, name, len)) {
        make_absent(out);
        return 0;
    }
    if (out->dir_layers & layer_bit(0))
        overlay_search_upper(o, out, dir ? dir - 1 : 0);
    return look_in_layers(o, out, false, known_set(k.marked), &k, changes);
}

/* The longest beginning of out->path (len bytes) that was seen a moment ago, for a lookup below it:
 * its length, with out set as far as that needs, and until when it is known; 0 where none was. */
static size_t begin_known(struct overlay *o, struct vnode *out, size_t len, u64 changes, u32 *until)
{
    struct known_dir k;
    while (len > 0) {
        len = (size_t)(path_last(out->path, len) - out->path);
        if (len == 0 || !overlay_known(o, out->path, --len, changes, &k))
            continue;
        if (known_set(k.layers) & layer_bit(0))
            overlay_search_upper(o, out, len);
        out->layers = known_set(k.layers);
        out->marked = known_set(k.marked);
        out->top = (u8)lowest(out->layers);
        out->st.st_mode = S_IFDIR | 0111; /* it may be searched, or had not been noted */
        out->len = len;
        *until = k.until;
        return len;
    }
    return 0;
}

/* The directory that the lookup has come to; the rest of the path stands behind it. */
static void note_way(struct overlay *o, struct vnode *out, u64 changes, u32 *until)
{
    char behind = out->path[out->len];
    out->path[out->len] = '\0';
    overlay_note_dir(o, out, changes, until);
    out->path[out->len] = behind;
}

/* Component by component along the canonical path in out->path itself (len bytes): what a lookup
 * puts behind the names so far is the name that stands there already. */
static int descend_slow(struct vfs *fs, size_t len, struct vnode *out, u64 changes)
{
    struct overlay *o = overlay_of(fs);
    u32 until = 0;
    size_t from = begin_known(o, out, len, changes, &until), to;
    int r = 0;
    if (from) {
        from++;
    } else {
        char first = out->path[0];
        r = overlay_root(fs, out); /* cuts the text at its first byte */
        out->path[0] = first;
    }
    for (size_t begin = from; r == 0 && from < len; from = to + 1) {
        for (to = from; to < len && out->path[to] != '/'; to++)
            ;
        if (!vnode_is_dir(out))
            return vnode_exists(out) ? -EAGAIN : -ENOENT;
        if (from > begin || begin == 0)
            note_way(o, out, changes, &until);
        r = overlay_lookup(fs, out, out->path + from, to - from, out);
    }
    return r;
}

/* Which layers reach the directory of out->path, where the index alone can say it (with one lower
 * at most): 0 where it cannot. */
static layer_set known_parents(struct overlay *o, const struct vnode *out)
{
    layer_set layers = o->root_layers;
    u64 word;
    for (size_t from = 0, at; layers; from = at + 1) {
        for (at = from; at < out->len && out->path[at] != '/'; at++)
            ;
        if (overlay_reserved(o, out->path + from, at - from))
            return 0;
        if (at == out->len)
            break;
        if (!(layers & layer_bit(0)))
            continue;
        switch (index_look(o->index, index_hash(o->index, out->path, at), &word)) {
        case INDEX_MAYBE:
            return 0;
        case INDEX_ABSENT:
            layers &= ~layer_bit(0);
            overlay_search_upper(o, out, from ? from - 1 : 0);
            break;
        case INDEX_OPAQUE:
            layers &= layer_bit(0);
            break;
        case INDEX_MERGED:
            break;
        }
    }
    return layers;
}

/* Where the kernel saw no symlink before the name that it did not find: whether that is the last.
 */
static bool parent_in_layer(struct overlay *o, unsigned layer, const char *path, size_t len)
{
    char dir[VPATH_MAX];
    struct stat st;
    memcpy(dir, path, len + 1);
    return path_pop(dir, len) == 0 ||
           (overlay_stat_in(o, layer, dir, &st) == 0 && S_ISDIR(st.st_mode));
}

/* The one layer that can have it has it, with stat out->st. */
static int take_whole(struct overlay *o, struct vnode *out, unsigned layer)
{
    if (overlay_is_whiteout(o, layer, out->path, &out->st)) {
        make_absent(out);
        return 0;
    }
    if (overlay_is_metacopy(o, layer, out->path, &out->st))
        return -EIO;
    out->top = (u8)layer;
    out->layers = layer_bit(layer);
    out->marked = ANY_LAYER;
    return 0;
}

static int look_whole_by_path(struct overlay *o, struct vnode *out, unsigned layer, bool parent)
{
    bool led;
    struct stat st;
    int r = overlay_straight_stat(o, layer, out->path, &st, &led);
    if (r == -ENOENT && (led || parent))
        return 0;
    if (parent && (r == -ENOTDIR || r == -ELOOP))
        return 0;
    if (r == -EACCES && o->only_reads)
        o->unable();
    if (r < 0)
        return r == -ENOENT ? r : -EAGAIN;
    out->st = st;
    return take_whole(o, out, layer);
}

/* Only one lower can have it: one look at the whole path. `parent`: the upper has the directory, so
 * that a lower that leads elsewhere has no say. */
static int look_whole(struct overlay *o, struct vnode *out, unsigned layer, bool parent)
{
    make_absent(out);
    if (session_masked(o->s, layer, out->path))
        return -EAGAIN;
    if (o->by_path)
        return look_whole_by_path(o, out, layer, parent);
    int fd = overlay_open_in(o, layer, out->path, 0);
    if (parent && (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP))
        return 0;
    if (fd == -ENOENT) /* no symlink came before */
        return parent_in_layer(o, layer, out->path, out->len) ? 0 : -ENOENT;
    if (fd < 0)
        return -EAGAIN;
    int r = sys_fstat(fd, &out->st);
    sys_close(fd);
    return r < 0 ? -EAGAIN : take_whole(o, out, layer);
}

/* Which of the two the directory of out->path, which the upper has, has as parts. */
static layer_set known_parts(struct overlay *o, const struct vnode *out, layer_set both,
                             u64 changes, layer_set *marked)
{
    struct known_dir k;
    struct vnode dir;
    size_t len = (size_t)(path_last(out->path, out->len) - out->path);
    unsigned low = lowest(lowers_of(both));
    *marked = ANY_LAYER;
    if (len == 0 || !o->s->guard || (changes & 1))
        return both;
    len--;
    if (overlay_known(o, out->path, len, changes, &k)) {
        *marked = known_set(k.marked);
        return known_set(k.layers);
    }
    u32 until = 0;
    memcpy(dir.path, out->path, len);
    dir.path[len] = '\0';
    dir.len = len;
    int r = layer_stat(o, low, dir.path, true, &dir.st);
    bool lower = r == 0 && S_ISDIR(dir.st.st_mode);
    if (r < 0 && r != -ENOENT && r != -ENOTDIR && r != -ELOOP)
        return both;
    dir.layers = lower ? both : layer_bit(0);
    dir.marked = ANY_LAYER;
    overlay_note_dir(o, &dir, changes, &until);
    return dir.layers;
}

/* 0: answered. */
static int descend_fast(struct overlay *o, struct vnode *out, u64 changes)
{
    layer_set parents = known_parents(o, out), marked = ANY_LAYER;
    u64 hash, word;
    if (!parents)
        return -EAGAIN;
    out->whiteout = false;
    bool upper = parents & layer_bit(0);
    layer_set low = lowers_of(parents);
    if (upper && low) {
        parents = known_parts(o, out, parents, changes, &marked);
        low = lowers_of(parents);
    }
    out->dir_layers = parents;
    if (!upper)
        return look_whole(o, out, lowest(low), false);
    /* The index says that the upper has the parent directory. */
    bool absent = known_in_upper(o, out->path, out->len, &hash, &word) == INDEX_ABSENT;
    if (absent)
        skips_upper(o, out);
    if (!low || !absent)
        return look_in_layers(o, out, true, marked, NULL, UNKNOWN);
    int r = look_whole(o, out, lowest(low), true);
    return r == -EAGAIN ? look_in_layers(o, out, true, marked, NULL, UNKNOWN) : r;
}

int overlay_descend_all(struct vfs *fs, const char *path, size_t len, struct vnode *out)
{
    struct overlay *o = overlay_of(fs);
    layer_set low = lowers_of(o->root_layers);
    if (len == 0)
        return overlay_root(fs, out);
    if (len >= sizeof(out->path))
        return -ENAMETOOLONG;
    out->fs = fs;
    out->generation = index_generation(o->index);
    out->len = len;
    memmove(out->path, path, len);
    out->path[len] = '\0';
    u64 changes = __atomic_load_n(&o->facts->changes, __ATOMIC_ACQUIRE);
    bool single = !has_several(low);
    int r = single ? descend_fast(o, out, changes) : descend_known(o, out, changes);
    if (r == 0 || r == -EIO || r == -ENOENT)
        return r;
    return descend_slow(fs, len, out, single ? UNKNOWN : changes);
}

int overlay_descend(struct vfs *fs, const char *path, size_t len, struct vnode *out)
{
    int r = overlay_descend_all(fs, path, len, out);
    return r == -ENOENT ? -EAGAIN : r;
}

int overlay_parent_of(struct overlay *o, const struct vnode *node, struct vnode *out)
{
    layer_set layers = node->dir_layers;
    size_t len = (size_t)(path_last(node->path, node->len) - node->path);
    if (len == 0 || !layers || node->generation != index_generation(o->index))
        return overlay_parent(o, node, out);
    out->fs = &o->vfs;
    out->generation = node->generation;
    out->layers = out->dir_layers = layers;
    out->marked = ANY_LAYER;
    out->top = (u8)lowest(layers);
    out->whiteout = false;
    out->len = len - 1;
    memcpy(out->path, node->path, len - 1);
    out->path[len - 1] = '\0';
    int r = out->top ? -ENOENT : kept_stat(o, out->path, out->len, &out->st);
    if (r < 0)
        r = layer_stat(o, out->top, out->path, out->top != 0, &out->st);
    if (r < 0 || !vnode_is_dir(out))
        return overlay_parent(o, node, out);
    return 0;
}

bool overlay_lower_has(struct overlay *o, const struct vnode *node)
{
    char dir[VPATH_MAX];
    layer_set left = lowers_of(node->dir_layers);
    struct wanted w = {.path = node->path, .dir = dir, .safe = true};
    struct stat st;
    if (vnode_exists(node) && node->top > 0)
        return true; /* it is a lower's itself */
    w.name = path_last(node->path, node->len);
    memcpy(dir, node->path, node->len + 1);
    path_pop(dir, node->len);
    while (left) {
        unsigned layer = lowest(left);
        left &= ~layer_bit(layer);
        int say = layer_says(o, layer, &w, left != 0, &st);
        if (say != SAYS_NOTHING)
            return say != SAYS_GONE;
    }
    return false;
}
