#include "tracer/interp.h"
#include "tracer/moment.h"
#include "base/str.h"
#include "base/sys.h"

#define KNOWN 8

/* What the object is like is asked anew each time. */
static struct known {
    struct moment at;
    char path[128]; /* "" = none */
    struct place place;
} known[KNOWN];
static unsigned next; /* so many were remembered */

static bool may_remember(const struct call *c, const char *path)
{
    return path[0] == '/' && str_len(path) < sizeof(known[0].path) && !c->view->root &&
           c->who->same_as_session && !c->view->session->fake && sup.overlay->index;
}

static bool is_still(struct vnode *node)
{
    char real[PATH_MAX];
    struct stat st;
    if (node->fs->ops.locate(node->fs, node, real, sizeof(real)) < 0 ||
        sys_fstatat(AT_FDCWD, real, &st, AT_SYMLINK_NOFOLLOW) || !dev_ino_equal(&st, &node->st))
        return false;
    node->st = st;
    return true;
}

static bool remembers(const struct call *c, const char *path, struct place *p)
{
    if (!may_remember(c, path))
        return false;
    for (unsigned i = 0; i < KNOWN; i++) {
        struct known *k = &known[i];
        if (!str_eq(k->path, path) || !moment_holds(&k->at) || !is_still(&k->place.node))
            continue;
        *p = k->place;
        return true;
    }
    return false;
}

static void remember(const struct call *c, const char *path, const struct place *p,
                     struct moment at)
{
    if (!p->in_union || !p->exists || p->removed || !may_remember(c, path))
        return;
    struct known *k = &known[0];
    while (k < &known[KNOWN] && !str_eq(k->path, path))
        k++;
    if (k == &known[KNOWN])
        k = &known[next++ % KNOWN];
    k->at = at;
    str_copy(k->path, sizeof(k->path), path);
    k->place = *p;
}

int interp_resolve(struct call *c)
{
    bool named = c->row->dirfd < 0;
    if (named && next &&
        c->who->ops.read_str(c->who, c->said, c->arg[c->row->path], PATH_MAX) > 0 &&
        remembers(c, c->said, &c->place)) {
        c->by_fd = false;
        c->fd = AT_FDCWD;
        return 0;
    }
    struct moment at = moment_now();
    int err = call_resolve(c, call_follow(c));
    if (named && !err && !c->by_fd)
        remember(c, c->said, &c->place, at);
    return err;
}

int interp_find(struct call *c, const char *path, struct place *p)
{
    int err = 0;
    if (remembers(c, path, p))
        return 0;
    struct moment at = moment_now();
    if (path[0] != '/')
        err = walk_base(c->view, c->who, AT_FDCWD, c->base, sizeof(c->base), p);
    if (!err)
        err = walk(c->view, c->who, path[0] == '/' ? "/" : c->base, path, WALK_FOLLOW, p);
    if (!err && !p->exists)
        err = -ENOENT;
    if (!err)
        remember(c, path, p, at);
    return err;
}
