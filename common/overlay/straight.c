/* A layer's object by its path alone, without a descriptor: what leads to it has to be real
 * directories, which is asked of each of them. Directories of a lower change from outside only. */
#include "overlay/overlay.h"
#include "base/sys.h"
#include "vfs/steady.h"

int overlay_straight_stat(struct overlay *o, unsigned layer, const char *rel, struct stat *st,
                          bool *parent)
{
    char text[PATH_MAX];
    const char *path;
    u64 *steady = layer ? o->steady : NULL;
    u32 when = steady ? steady_now() : 0;
    int dir = overlay_at(o, layer, rel, text, &path);
    *parent = false;
    if (dir == -ENAMETOOLONG)
        return dir;
    size_t root = path == text ? o->s->layer[layer].path_len : 0, n = str_len(rel);
    if (path != text) /* by descriptor: a copy to cut */
        str_copy_n(text, sizeof(text), rel, n);
    else if (text[root] == '/')
        root++;
    size_t up = n;
    while (up && rel[up - 1] != '/')
        up--;
    if (up) {
        int r = steady_way(steady, layer, dir, text, root, up - 1, &when);
        if (r < 0)
            return r;
    }
    *parent = true;
    int r = sys_fstatat(dir, text, st, AT_SYMLINK_NOFOLLOW);
    if (r == 0 && steady && S_ISDIR(st->st_mode))
        steady_note(steady, layer, rel, n, when);
    return r;
}
