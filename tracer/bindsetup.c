#include "tracer/bindsetup.h"
#include "base/sys.h"
#include "binds.h"
#include "overlay/overlay.h"
#include "vfs/walk.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- by their text and the host -------------------------------------------------------------- */

static u32 keep(struct session *s, const char *text)
{
    u32 off = session_add_text(s, text);
    if (!off)
        die(EXIT_USAGE, "the paths of layers and binds are too long together; use fewer");
    return off;
}

static const char *flag_of(const struct bind_option *b)
{
    return b->hidden ? "--hide" : b->read_only ? "--ro-bind" : "--bind";
}

/* Its place as the program says it: absolute, and below the mountpoint. */
static void set_guest(struct session *s, struct session_bind *to, const struct bind_option *b)
{
    char path[PATH_MAX], here[PATH_MAX], joined[2 * PATH_MAX + 2];
    const char *said = b->guest ? b->guest : b->host, *rest;
    if (said[0] == '/')
        snprintf(joined, sizeof(joined), "%s", said);
    else if (b->guest || !getcwd(here, sizeof(here)))
        die(EXIT_USAGE, "%s: not an absolute path: %s; write it as the command shall see it",
            flag_of(b), said);
    else
        snprintf(joined, sizeof(joined), "%s/%s", here, said);
    if (path_clean(path, sizeof(path), joined) < 0)
        die(EXIT_USAGE, "%s: too long a path: %zu bytes; use a shorter one", flag_of(b),
            strlen(joined));
    if (!path_below(path, session_mount(s), &rest) || !*rest)
        die(EXIT_USAGE, "%s %s: does not lie below the mountpoint %s; say where it shall appear%s",
            flag_of(b), path, session_mount(s), b->hidden ? "" : ": HOST:GUEST");
    for (u32 i = 0; i < s->nbinds; i++) {
        if (strcmp(bind_guest(s, (int)i), path) == 0)
            die(EXIT_USAGE, "%s %s: named twice; name it once", flag_of(b), path);
    }
    to->guest = keep(s, path);
    to->guest_len = (u32)strlen(path);
}

/* What lies in a layer and shows in the union elsewhere could not be told from what the union
 * shows; at its own place it covers that. */
static bool clashes(const struct session *s, const struct session_bind *b)
{
    const char *host = session_text(s, b->host), *rest, *rel;
    int layer = session_layer_of(s, host, &rest);
    if (layer < 0)
        return false;
    path_below(session_text(s, b->guest), session_mount(s), &rel);
    return layer == 0 || strcmp(rest, rel) != 0;
}

static void set_host(struct session *s, struct session_bind *to, const struct bind_option *b)
{
    char path[PATH_MAX];
    struct stat st;
    if (!realpath(b->host, path) || stat(path, &st) < 0)
        die(EXIT_USAGE, "%s %s: cannot show it: %s; correct the path or its rights", flag_of(b),
            b->host, strerror(errno));
    to->host = keep(s, path);
    to->host_len = (u32)strlen(path);
    to->kind = st.st_mode & S_IFMT;
    to->ino = st.st_ino;
    to->read_only = b->read_only;
    if (clashes(s, to))
        die(EXIT_USAGE,
            "%s %s: lies in a layer, and can only be bound to its own place in the union; move it "
            "out of the layer",
            flag_of(b), path);
    for (u32 i = 0; i < s->nbinds; i++) {
        const struct session_bind *o = &s->bind[i];
        if (!o->hidden && o->read_only != to->read_only &&
            strcmp(session_text(s, o->host), path) == 0)
            die(EXIT_USAGE, "%s %s: bound read-only and not; bind it in one way", flag_of(b), path);
    }
}

static void add(struct session *s, const struct bind_option *b)
{
    struct session_bind to = {.hidden = b->hidden};
    if (s->nbinds == BINDS_MAX)
        die(EXIT_USAGE, "%s: more than %d binds and hidden paths; use fewer", flag_of(b),
            BINDS_MAX);
    set_guest(s, &to, b);
    if (!b->hidden)
        set_host(s, &to, b);
    s->bind[s->nbinds++] = to;
}

/* What programs expect of the host they run on, where the layers are a root: read-only, as nobody
 * who changes the root's files means the host's. */
static void add_defaults(struct session *s)
{
    static const char *const files[] = {"/etc/resolv.conf", "/etc/hosts"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct bind_option b = {.host = files[i], .read_only = true};
        char path[PATH_MAX];
        const char *rest;
        struct stat st;
        bool taken = s->nbinds == BINDS_MAX || bind_is(s, files[i], strlen(files[i]));
        if (taken || !realpath(files[i], path) || stat(path, &st) < 0 || !S_ISREG(st.st_mode) ||
            session_layer_of(s, path, &rest) >= 0 || bind_of_real(s, path, &rest) >= 0)
            continue;
        add(s, &b);
        s->bind[s->nbinds - 1].optional = true;
    }
}

void binds_read(struct session *s, const struct options *o)
{
    s->no_host_names = o->no_default_binds;
    for (unsigned i = 0; i < o->nbinds; i++)
        add(s, &o->bind[i]);
    if (s->mount_len == 1 && !o->no_default_binds)
        add_defaults(s);
}

/* -- in the union ---------------------------------------------------------------------------- */

/* This process, walking for itself. */
struct own_caller {
    struct caller who; /* first */
    struct cred cred;
};

static const struct cred *own_cred(struct caller *who)
{
    return &((struct own_caller *)who)->cred;
}

static void nothing(struct caller *who UNUSED) {}

static void set_caller(struct own_caller *own)
{
    gid_t groups[CRED_GROUPS_MAX];
    int n = getgroups(CRED_GROUPS_MAX, groups);
    struct cred *c = &own->cred;
    memset(own, 0, sizeof(*own));
    c->fsuid = c->ruid = geteuid();
    c->fsgid = c->rgid = getegid();
    c->caps = geteuid() == 0 ? ~0ull : 0;
    for (int i = 0; i < n; i++)
        c->group[c->ngroups++] = groups[i];
    own->who.ops.cred = own_cred;
    own->who.ops.assume = own->who.ops.resume = nothing;
    own->who.same_as_session = true;
    own->who.tgid = own->who.tid = getpid();
}

struct settling {
    struct session *s;
    struct own_caller own;
    struct view view;
    struct place place;
};

static int refuse(const struct session_bind *b, const char *guest, const char *why)
{
    say("%s %s: %s", b->hidden ? "--hide" : b->read_only ? "--ro-bind" : "--bind", guest, why);
    return -1;
}

static int walk_to(struct settling *w, const char *path)
{
    return walk(&w->view, &w->own.who, "/", path, WALK_FOLLOW, &w->place);
}

/* Makes the directories of the union that are missing on the way to `dir`. */
static int make_dirs(struct settling *w, const char *dir)
{
    char path[PATH_MAX];
    struct vnode *node = &w->place.node;
    for (const char *p = dir; *p;) {
        p += strcspn(p + 1, "/") + 1;
        snprintf(path, sizeof(path), "%.*s", (int)(p - dir), dir);
        int err = walk_to(w, path);
        if (!err && w->place.in_union && !w->place.exists)
            err = node->fs->ops.mkdir(node->fs, &w->own.who, node, 0755);
        if (err)
            return err;
    }
    return walk_to(w, dir);
}

/* The lowers' directories of this name, which the shim must not take for the union's. */
static int add_parents(struct session *s, const char *rel)
{
    char path[2 * PATH_MAX];
    struct stat st;
    for (unsigned i = 1; i < s->nlayers; i++) {
        snprintf(path, sizeof(path), "%s/%s", session_layer_path(s, i), rel);
        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || bind_is_parent(s, st.st_dev, st.st_ino))
            continue;
        if (s->nbind_parents == BIND_PARENTS)
            return -1;
        s->bind_parent[s->nbind_parents].dev = st.st_dev;
        s->bind_parent[s->nbind_parents++].ino = st.st_ino;
    }
    return 0;
}

/* 1: it has no place, and need not have one. */
static int settle(struct settling *w, struct session_bind *b)
{
    struct session *s = w->s;
    char dir[PATH_MAX], guest[PATH_MAX];
    const char *name, *rest;
    struct stat st;
    snprintf(guest, sizeof(guest), "%s", session_text(s, b->guest));
    name = path_last(session_text(s, b->guest), b->guest_len);
    snprintf(dir, sizeof(dir), "%s", guest);
    path_pop(dir, b->guest_len);
    int err = walk_to(w, dir);
    if ((err == -ENOENT || (!err && !w->place.exists)) && b->optional)
        return 1;
    if ((err == -ENOENT || (!err && !w->place.exists)) && b->hidden)
        return 0;
    if (err == -ENOENT || (!err && w->place.in_union && !w->place.exists))
        err = make_dirs(w, dir);
    if (err == -EROFS)
        return refuse(b, guest,
                      "its directory is missing, and the union is read-only; make it in "
                      "a layer, or add --upperdir");
    if (err || !w->place.exists || (w->place.in_union && !vnode_is_dir(&w->place.node))) {
        char why[160];
        snprintf(why, sizeof(why), "its directory cannot be used: %s; take another place",
                 strerror(err ? -err : ENOTDIR));
        return b->optional ? 1 : refuse(b, guest, why);
    }
    size_t len = 0;
    char *path = guest;
    long n = walk_name_of(&w->view, &w->place, path, sizeof(guest));
    len = n < 0 ? 0 : (size_t)n;
    if (n < 0 || path_push(path, sizeof(guest), &len, name, strlen(name)))
        return refuse(b, dir, "too long a path; use a shorter one");
    if (!path_below(path, session_mount(s), &rest) || !*rest)
        return refuse(b, dir, "a symlink leads out of the mountpoint; take another place");
    if (!w->place.in_union && !b->hidden) {
        char real[2 * PATH_MAX];
        snprintf(real, sizeof(real), "%s/%s", w->place.path, name);
        if (lstat(real, &st) < 0)
            return refuse(b, path, "nothing is there in the bind around it; make it first");
    }
    if (w->place.in_union && add_parents(s, w->place.node.path))
        return refuse(b, path, "too many layers have its directory; use fewer binds");
    u32 off = session_add_text(s, path);
    if (!off)
        return refuse(b, path, "the paths of layers and binds are too long together; use fewer");
    b->guest = off;
    b->guest_len = (u32)len;
    return 0;
}

static int by_depth(const void *a, const void *b)
{
    const struct session_bind *x = a, *y = b;
    return (x->guest_len > y->guest_len) - (x->guest_len < y->guest_len);
}

/* The root's defaults alone, where /etc is plainly a directory: not worth setting up the engine. */
static bool settled_already(struct session *s)
{
    char path[PATH_MAX + 16];
    struct stat st;
    for (u32 i = 0; i < s->nbinds; i++) {
        if (!s->bind[i].optional)
            return false;
    }
    for (unsigned i = 0; i < s->nlayers; i++) {
        if (!s->layer[i].in_use)
            continue;
        snprintf(path, sizeof(path), "%s/etc", session_layer_path(s, i));
        if (lstat(path, &st) == 0)
            return S_ISDIR(st.st_mode) && add_parents(s, "etc") == 0;
        snprintf(path, sizeof(path), "%s/" WH_PREFIX "etc", session_layer_path(s, i));
        if (errno != ENOENT || lstat(path, &st) == 0)
            return false;
    }
    return false;
}

int binds_settle(struct session *s)
{
    static struct settling w;
    int bad_layer, r = 0;
    u32 n = s->nbinds;
    if (!n || settled_already(s))
        return 0;
    struct overlay *o = sys_map(sizeof(*o));
    int err = o ? overlay_init(o, s, &bad_layer) : -ENOMEM;
    if (err) {
        say("cannot look at the layers: %s; correct their rights", strerror(-err));
        return -1;
    }
    set_caller(&w.own);
    w.s = s;
    w.view = (struct view){.session = s, .fs = &o->vfs, .raw_dirs = &o->notes->raw_dirs};
    /* The outer ones first: others may lie in them. */
    qsort(s->bind, n, sizeof(s->bind[0]), by_depth);
    s->nbinds = 0;
    for (u32 i = 0; i < n && r >= 0; i++) {
        struct session_bind b = s->bind[i];
        r = settle(&w, &b);
        if (r == 0)
            s->bind[s->nbinds++] = b;
    }
    overlay_fini(o);
    sys_unmap(o, sizeof(*o));
    return r < 0 ? -1 : 0;
}
