/* Walks without a look at each component, where the words are the path. */
#include "vfs/plain.h"
#include "vfs/steady.h"
#include "binds.h"
#include "base/sys.h"
#include "vfs/access.h"

bool walk_searches_all(struct caller *who)
{
    return caller_capable(who, CAP_DAC_OVERRIDE_BIT) ||
           caller_capable(who, CAP_DAC_READ_SEARCH_BIT);
}

/* Writes base/path without ".", doubled slashes or a trailing slash into place->path. False where
 * ".." occurs, it ends in "." or does not fit: the careful way decides. */
static bool plain_path(const char *base, const char *path, struct place *place)
{
    const char *comp;
    size_t n;
    long len = path[0] == '/' ? str_copy(place->path, sizeof(place->path), "/")
                              : str_copy(place->path, sizeof(place->path), base);
    if (len < 0)
        return false;
    place->len = (size_t)len;
    place->slash = false;
    bool dot = false;
    while ((n = path_next(&path, &comp)) != 0) {
        place->slash = *path == '/';
        dot = is_dot(comp, n);
        if (dot) /* before a name it says what the name needs anyway */
            continue;
        if (is_dotdot(comp, n) || n > COMPONENT_MAX)
            return false;
        if (path_push(place->path, sizeof(place->path), &place->len, comp, n))
            return false;
    }
    return !dot;
}

/* What RESOLVE_NO_SYMLINKS says of a path outside, for whoever opens nothing: 0, -ENOENT, or
 * another error. */
static int look_outside(const struct view *view, char *path, size_t len, bool follow, bool asked)
{
    struct stat st;
    u32 when = view->steady ? steady_now() : 0;
    u64 salt = view->steady ? view_salt(view, STEADY_OUTSIDE) : 0;
    size_t up = len;
    while (path[up] != '/')
        up--;
    if (up > 0) {
        int r = steady_way(view->steady, salt, AT_FDCWD, path, 1, up - 1, &when);
        if (r < 0)
            return r == -ENOENT ? r : -ELOOP;
    }
    if (asked && !follow)
        return 0;
    int r = sys_fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW);
    return r == 0 && follow && S_ISLNK(st.st_mode) ? -ELOOP : r;
}

int walk_fast(const struct view *view, struct caller *who, const char *base, const char *path,
              unsigned flags, struct place *place)
{
    const char *rel;
    if (view->root || (flags & ~(unsigned)(WALK_FOLLOW | WALK_PARENT | WALK_ASKED)) ||
        !plain_path(base, path, place))
        return 0;
    bool follow = (flags & WALK_FOLLOW) || (place->slash && !(flags & WALK_PARENT));
    if (view->session->nbinds && bind_covering(view->session, place->path, place->len, &rel) >= 0)
        return 0;
    if (session_below_mount(view->session, place->path, &rel)) {
        if ((!walk_searches_all(who) && !view->unable) || (place->slash && (flags & WALK_PARENT)))
            return 0;
        int err = view->fs->ops.descend(view->fs, rel, str_len(rel), &place->node);
        if (err == -ENOENT) {
            place->in_union = true;
            return err;
        }
        if (err)
            return 0;
        place->exists = vnode_exists(&place->node);
        if (vnode_is_link(&place->node) && ((flags & WALK_FOLLOW) || place->slash))
            return 0;
        if (place->slash && place->exists && !vnode_is_dir(&place->node))
            return 0;
        place->in_union = true;
        place->parent_in = *rel != '\0';
        place->last = *rel ? LAST_NAME : LAST_ROOT;
        return 1;
    }
    /* Outside: where no component is a symlink, the words mean what they say. */
    struct open_how how = {
        .flags = O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW),
        .resolve = RESOLVE_NO_SYMLINKS,
    };
    if (path_below(session_mount(view->session), place->path, NULL))
        return 0;
    int fd = view->unable ? look_outside(view, place->path, place->len, follow, flags & WALK_ASKED)
                          : (int)SYS4(SYS_openat2, AT_FDCWD, place->path, &how, sizeof(how));
    if (fd < 0 && fd != -ENOENT)
        return 0;
    if (fd >= 0 && !view->unable)
        sys_close(fd);
    place->exists = fd >= 0;
    place->last = LAST_NAME;
    place->crossed = path[0] != '/' && session_below_mount(view->session, base, NULL);
    return 1;
}
