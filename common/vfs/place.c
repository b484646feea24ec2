/* From descriptors and the kernel's texts to places: the other way into the union. */
#include "base/sys.h"
#include "vfs/walk.h"
#include "binds.h"

static const char deleted_text[] = " (deleted)"; /* d_path() of a removed object */

const char *walk_proc_rest(const char *path, u64 *pid)
{
    u64 tid;
    size_t n;
    if (!str_starts(path, "/proc/"))
        return NULL;
    path += 6;
    n = str_to_u64(path, pid);
    if (!n || path[n] != '/')
        return NULL;
    path += n + 1;
    if (str_starts(path, "task/")) {
        const char *p = path + 5;
        n = str_to_u64(p, &tid);
        if (n && p[n] == '/')
            path = p + n + 1;
    }
    return path;
}

bool walk_is_maps(const char *path)
{
    u64 pid;
    const char *rest = walk_proc_rest(path, &pid);
    return rest && (str_eq(rest, "maps") || str_eq(rest, "smaps"));
}

bool walk_is_magic(const char *path)
{
    u64 pid, fd;
    const char *rest = walk_proc_rest(path, &pid);
    if (!rest)
        return false;
    if (str_eq(rest, "cwd") || str_eq(rest, "root") || str_eq(rest, "exe"))
        return true;
    if (!str_starts(rest, "fd/"))
        return false;
    size_t n = str_to_u64(rest + 3, &fd);
    return n && rest[3 + n] == '\0';
}

bool walk_foreign(const struct session *s, int layer, const char *real, const struct stat *st)
{
    size_t n = str_len(real), tail = sizeof(deleted_text) - 1;
    return n > tail && str_eq(real + n - tail, deleted_text) && st->st_dev != s->layer[layer].dev;
}

long walk_name_of(const struct view *view, const struct place *place, char *buf, size_t cap)
{
    const struct session *s = view->session;
    if (place->bind < 0 || place->in_union)
        return str_copy_n(buf, cap, place->path, place->len);
    return bind_guest_path(s, place->bind, bind_rest(s, place->bind, place->path), buf, cap);
}

size_t walk_in_root(const struct view *view, char *path, size_t len)
{
    const char *rest;
    if (!view->root || !path_below(path, view->root, &rest))
        return len;
    size_t n = str_len(rest);
    memmove(path + 1, rest, n + 1);
    return n + 1;
}

int walk_into_bind(const struct view *view, int bind, const char *rest, struct place *place)
{
    const struct session *s = view->session;
    long n = bind_host_path(s, bind, rest, place->path, sizeof(place->path));
    if (n < 0)
        return (int)n;
    place->len = (size_t)n;
    place->bind = bind;
    place->in_union = false;
    place->exists = place->crossed = true;
    return 0;
}

/* A directory that was opened by its layer's own path. */
static bool is_raw(struct caller *who, int fd)
{
    int mine = fd < 0 ? -1 : who->ops.fd_get(who, fd);
    if (mine < 0)
        return false;
    long flags = SYS2(SYS_fcntl, mine, F_GETFL);
    who->ops.fd_put(who, mine);
    return flags >= 0 && (flags & O_APPEND);
}

/* walk_fd, where place->path holds the kernel's text (n bytes) already. */
static int fd_place(const struct view *view, struct caller *who, int fd, long n,
                    struct place *place)
{
    const struct session *s = view->session;
    struct vfs *fs = view->fs;
    const char *rel;
    struct stat st;
    place->in_union = place->exists = place->slash = place->crossed = place->removed = false;
    place->parent_in = place->bind_root = false;
    place->bind = -1;
    place->host_error = 0;
    place->last = LAST_ROOT;
    place->magic_fd = place->guard_layer = place->fd_layer = -1;
    place->len = (size_t)n;
    if (place->path[0] != '/')
        return 0;
    int layer = session_layer_of(s, place->path, &rel);
    if (layer < 0) {
        /* Not from a layer; but a directory that the mountpoint covers counts as the union. */
        place->exists = true;
        place->bind = s->nbinds ? bind_of_real(s, place->path, &rel) : -1;
        if (place->bind >= 0) {
            if (s->bind[place->bind].read_only)
                place->guard_layer = GUARD_BIND;
            return 0;
        }
        if (!session_below_mount(s, place->path, &rel))
            return 0;
        int err = who->ops.fd_stat(who, fd, &st);
        if (err || !S_ISDIR(st.st_mode))
            return err;
        err = fs->ops.descend(fs, rel, str_len(rel), &place->node);
        place->in_union = true;
        place->exists = err == 0 && vnode_exists(&place->node);
        return 0;
    }
    int err = who->ops.fd_stat(who, fd, &st);
    if (err)
        return err;
    if (walk_foreign(s, layer, place->path, &st)) {
        place->exists = true;
        return 0;
    }
    if (S_ISDIR(st.st_mode) && view->raw_dirs && *view->raw_dirs && is_raw(who, fd)) {
        place->exists = true;
        place->guard_layer = layer;
        return 0;
    }
    err = fs->ops.reverse(fs, (unsigned)layer, rel, &st, &place->node);
    place->in_union = true;
    place->fd_layer = layer;
    place->exists = err == 0;
    place->removed = err != 0;
    if (err && err != -ENOENT)
        return err;
    size_t len = 0;
    err = path_push(place->path, sizeof(place->path), &len, session_mount(s), s->mount_len);
    if (!err && place->node.len)
        err = path_push(place->path, sizeof(place->path), &len, place->node.path, place->node.len);
    place->len = len;
    return err;
}

int walk_fd(const struct view *view, struct caller *who, int fd, struct place *place)
{
    long n = who->ops.fd_link(who, fd, place->path, sizeof(place->path));
    if (n >= 0)
        return fd_place(view, who, fd, n, place);
    place->in_union = place->exists = place->slash = place->crossed = place->removed = false;
    place->bind_root = false;
    place->bind = -1;
    place->last = LAST_ROOT;
    place->magic_fd = place->guard_layer = place->fd_layer = -1;
    return (int)n;
}

/* A memo that can be trusted now, or NULL. Descriptors of a layer's own path make one text mean two
 * places. */
static struct base_memo *memo_of(const struct view *view)
{
    struct base_memo *memo = view->memo;
    if (!memo || !view->fs->structure || (view->raw_dirs && *view->raw_dirs))
        return NULL;
    u64 now = __atomic_load_n(view->fs->structure, __ATOMIC_ACQUIRE);
    if (memo->structure != now) {
        for (unsigned i = 0; i < MEMO_ENTRIES; i++)
            memo->entry[i].text_len = 0;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        memo->structure = now;
    }
    return memo;
}

/* The virtual path that text stood for lately, or NULL. */
static const char *remembered(const struct view *view, const char *text, size_t n, size_t *len)
{
    struct base_memo *memo = memo_of(view);
    for (unsigned i = 0; memo && i < MEMO_ENTRIES; i++) {
        if (memo->entry[i].text_len == n && memcmp(memo->entry[i].text, text, n) == 0) {
            *len = memo->entry[i].len;
            return memo->entry[i].path;
        }
    }
    return NULL;
}

static void remember(const struct view *view, const char *text, size_t n, const struct place *place)
{
    struct base_memo *memo = memo_of(view);
    if (!memo || n > MEMO_TEXT || place->len > MEMO_TEXT)
        return;
    unsigned i = memo->next++ % MEMO_ENTRIES;
    memo->entry[i].text_len = 0; /* whoever breaks off in between leaves nothing half done */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(memo->entry[i].text, text, n);
    memcpy(memo->entry[i].path, place->path, place->len);
    memo->entry[i].len = (u32)place->len;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memo->entry[i].text_len = (u32)n;
}

int walk_base(const struct view *view, struct caller *who, int fd, char *buf, size_t cap,
              struct place *scratch)
{
    char text[MEMO_TEXT];
    size_t len = 0;
    long got = who->ops.fd_link(who, fd, scratch->path, sizeof(scratch->path));
    if (got < 0)
        return (int)got;
    size_t text_len = (size_t)got;
    const char *known = remembered(view, scratch->path, text_len, &len);
    if (known)
        return str_copy_n(buf, cap, known, len) < 0 ? -ENAMETOOLONG : 0;
    memcpy(text, scratch->path, min_size(text_len, sizeof(text)));
    int err = fd_place(view, who, fd, got, scratch);
    if (err)
        return err;
    if (scratch->path[0] != '/')
        return -ENOTDIR;
    if (scratch->in_union && !scratch->exists)
        return -ENOENT;
    if (scratch->in_union && !vnode_is_dir(&scratch->node))
        return -ENOTDIR;
    if (scratch->in_union)
        remember(view, text, text_len, scratch);
    long n = walk_name_of(view, scratch, buf, cap);
    return n < 0 ? (int)n : 0;
}

static long virtual_text(const struct view *view, const char *real, struct place *scratch,
                         char *buf, size_t cap)
{
    const struct session *s = view->session;
    struct vfs *fs = view->fs;
    const char *rel;
    struct stat st;
    size_t len = 0, gone_len = sizeof(deleted_text) - 1, n = str_len(real);
    int layer = session_layer_of(s, real, &rel);
    if (layer < 0) {
        int bind = s->nbinds ? bind_of_real(s, real, &rel) : -1;
        return bind < 0 ? str_copy_n(buf, cap, real, n) : bind_guest_path(s, bind, rel, buf, cap);
    }
    bool deleted = n > gone_len && str_eq(real + n - gone_len, deleted_text);
    int err = path_push(buf, cap, &len, session_mount(s), s->mount_len);
    if (err)
        return err;
    if (deleted && layer == 0 && fs->ops.gone &&
        fs->ops.gone(fs, rel, scratch->path, sizeof(scratch->path)) >= 0)
        rel = scratch->path;
    int there = deleted ? -ENOENT : sys_fstatat(AT_FDCWD, real, &st, AT_SYMLINK_NOFOLLOW);
    /* Behind a directory that was closed since; the kernel's text would say "(deleted)". */
    bool closed = there == -EACCES && layer == 0;
    int found = there ? there : fs->ops.reverse(fs, (unsigned)layer, rel, &st, &scratch->node);
    if (found == 0 || (there == 0 && found == -ENOENT))
        rel = scratch->node.path;
    if (found == 0)
        deleted = false;
    else if (!deleted && !closed)
        deleted = true;
    else
        gone_len = 0; /* the kernel's own text says it already */
    if (*rel)
        err = path_push(buf, cap, &len, rel, str_len(rel));
    if (err)
        return err;
    if (deleted && gone_len) {
        long m = str_copy(buf + len, cap - len, deleted_text);
        if (m < 0)
            return m;
        len += (size_t)m;
    }
    return (long)len;
}

long walk_virtual(const struct view *view, const char *real, struct place *scratch, char *buf,
                  size_t cap)
{
    long n = virtual_text(view, real, scratch, buf, cap);
    return n < 0 ? n : (long)walk_in_root(view, buf, (size_t)n);
}
