/* getdents and getdents64 over the merged view. */
#include "call/dir.h"
#include "call/families.h"
#include "base/sys.h"
#include "binds.h"

#define CHUNK       4096
#define SPARE_BYTES 65536 /* listings up to this size leave their memory to the next */
#define DONE_KEPT   16    /* listings read to their end that stay for a while */

/* linux_dirent64 as the kernel lays it out; the older form keeps d_type in its last byte. */
struct dirent_head {
    u64 ino;
    s64 off;
    u16 reclen;
} __attribute__((packed));

/* The same, as getdents64 gives it. */
struct dirent64_raw {
    u64 ino;
    s64 off;
    u16 reclen;
    u8 type;
    char name[];
};

static size_t record_size(const struct listing_entry *e)
{
    /* getdents64: head, type, name, NUL; getdents: head, name, NUL, type. Both aligned to 8. */
    return (sizeof(struct dirent_head) + e->len + 2 + 7) & ~(size_t)7;
}

static void put_record(u8 *at, const struct listing_entry *e, s64 off, size_t size, bool old)
{
    struct dirent_head head = {.ino = e->ino, .off = off, .reclen = (u16)size};
    memset(at, 0, size);
    memcpy(at, &head, sizeof(head));
    if (old) {
        memcpy(at + sizeof(head), e->name, e->len);
        at[size - 1] = e->type;
    } else {
        at[sizeof(head)] = e->type;
        memcpy(at + sizeof(head) + 1, e->name, e->len);
    }
}

/* Gives the snapshot up; its memory may serve the next one. */
static void drop(struct dirs *d, struct dir_snapshot *s)
{
    if (listing_bytes(&s->list) > SPARE_BYTES) {
        d->bytes -= listing_bytes(&s->list);
        listing_free(&s->list);
    }
    s->serial = 0;
}

/* A place for a new listing. Those read to their end go first, but not at once (a program may seek
 * back), then the longest unused. */
static struct dir_snapshot *make_room(struct dirs *d)
{
    struct dir_snapshot *spare = NULL, *oldest = NULL;
    u32 done = 0;
    for (u32 i = 0; i < DIRS_MAX; i++) {
        struct dir_snapshot *s = &d->snap[i];
        if (!s->serial) {
            if (!spare || s->list.bytes)
                spare = s;
            continue;
        }
        done += s->done;
        if (!oldest || (s->done && !oldest->done) ||
            (s->done == oldest->done && s->used < oldest->used))
            oldest = s;
    }
    if (spare && (spare->list.bytes || done < DONE_KEPT))
        return spare;
    drop(d, oldest);
    return oldest;
}

static struct dir_snapshot *find(struct dirs *d, s64 pos, const struct stat *st)
{
    u32 serial = (u32)(pos >> 32);
    for (u32 i = 0; pos > 0 && serial && i < DIRS_MAX; i++) {
        struct dir_snapshot *s = &d->snap[i];
        if (s->serial == serial && s->ino == st->st_ino && s->dev == st->st_dev)
            return s;
    }
    return NULL;
}

static u64 structure_now(const struct call *c)
{
    const u64 *structure = c->view->fs->structure;
    return structure ? __atomic_load_n(structure, __ATOMIC_ACQUIRE) : 0;
}

static void keep_within_bounds(struct dirs *d, const struct dir_snapshot *newest)
{
    while (d->bytes > DIRS_BYTES_MAX) {
        struct dir_snapshot *old = NULL;
        for (u32 i = 0; i < DIRS_MAX; i++) {
            struct dir_snapshot *o = &d->snap[i];
            if (o->list.bytes && o != newest && (!old || o->used < old->used))
                old = o;
        }
        if (!old)
            return;
        d->bytes -= listing_bytes(&old->list);
        listing_free(&old->list);
        old->serial = 0;
    }
}

/* The host's own directories, in a root whose layers lack them. */
static int add_host_names(const struct session *s, struct listing *l)
{
    static const char names[][5] = {"/proc", "/sys", "/dev"};
    char path[8];
    struct stat st = {0};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < ARRAY_LEN(names); i++) {
        memcpy(path, names[i], 5);
        path[5] = '\0';
        if (session_host_name(s, path + 1) &&
            sys_fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
            r = listing_add(l, path + 1, str_len(path + 1), st.st_ino, S_IFDIR >> 12, false);
    }
    return r < 0 ? r : 0;
}

/* Puts names that are bound into the directory's list, in the place of the layers', and takes out
 * what is hidden. */
static int add_binds(struct call *c, struct listing *list)
{
    const struct session *s = c->view->session;
    const struct place *p = &c->place;
    struct listing all = {0};
    bool root = s->mount_len == 1 && p->len == 1;
    int i = bind_next_in(s, p->path, p->len, -1), r = 0;
    if (i < 0 && !root)
        return 0;
    for (u32 k = 0; r >= 0 && k < list->count; k++) {
        const struct listing_entry *e = listing_at(list, k);
        if (bind_at(s, p->path, p->len, e->name, e->len) < 0)
            r = listing_add(&all, e->name, e->len, e->ino, e->type, false);
    }
    for (; r >= 0 && i >= 0; i = bind_next_in(s, p->path, p->len, i)) {
        const struct session_bind *b = &s->bind[i];
        const char *guest = bind_guest(s, i), *name = path_last(guest, b->guest_len);
        if (!b->hidden)
            r = listing_add(&all, name, str_len(name), b->ino, (u8)(b->kind >> 12), false);
    }
    if (r >= 0 && root)
        r = add_host_names(s, &all);
    listing_seal(&all);
    listing_free(list);
    *list = all;
    return r < 0 ? r : 0;
}

static int build(struct call *c, const struct stat *st, struct dir_snapshot **out)
{
    struct dirs *d = c->dirs;
    struct dir_snapshot *s = make_room(d);
    d->bytes -= listing_bytes(&s->list);
    listing_reset(&s->list);
    int err = c->view->fs->ops.list(c->view->fs, &c->place.node, &s->list);
    if (!err)
        err = add_binds(c, &s->list);
    d->bytes += listing_bytes(&s->list);
    if (err)
        return err;
    if (++d->serial >= INT32_MAX)
        d->serial = 1;
    u64 *told = c->view->fs->listings;
    if (told && *told < d->serial)
        __atomic_store_n(told, d->serial, __ATOMIC_RELEASE);
    s->serial = d->serial;
    s->done = false;
    s->used = ++d->clock;
    s->dev = st->st_dev;
    s->ino = st->st_ino;
    s->structure = structure_now(c);
    keep_within_bounds(d, s);
    *out = s;
    return 0;
}

/* Copies entries from *index on into the program's buffer: bytes written or -errno. */
static long give(struct call *c, const struct dir_snapshot *s, u32 *index, u64 addr, size_t room,
                 bool old)
{
    u8 chunk[CHUNK];
    size_t total = 0;
    while (*index < s->list.count) {
        size_t n = 0;
        while (*index < s->list.count) {
            const struct listing_entry *e = listing_at(&s->list, *index);
            size_t size = record_size(e);
            if (n + size > sizeof(chunk) || total + n + size > room)
                break;
            put_record(chunk + n, e, (s64)((u64)s->serial << 32 | (*index + 1)), size, old);
            n += size;
            (*index)++;
        }
        if (n == 0)
            break;
        int err = c->who->ops.write(c->who, addr + total, chunk, n);
        if (err)
            return err;
        total += n;
    }
    return (long)total;
}

static long read_dir(struct call *c, int fd, s64 pos, struct dir_snapshot *s)
{
    u32 index = (u32)pos;
    s->used = ++c->dirs->clock;
    if (index >= s->list.count) {
        s->done = true;
        return 0;
    }
    long n = give(c, s, &index, c->arg[1], (u32)c->arg[2], c->row->traits & SYS_OLD_STRUCT);
    if (n == 0)
        return -EINVAL; /* not even one entry fits */
    if (n > 0)
        pos = sys_lseek(fd, (s64)((u64)s->serial << 32 | index), SEEK_SET);
    return n > 0 && pos < 0 ? pos : n;
}

bool dirs_kernel_pos(const struct vfs *fs, s64 pos)
{
    u64 serial = (u64)pos >> 32;
    return pos > 0 && fs->listings &&
           (!serial || serial > __atomic_load_n(fs->listings, __ATOMIC_ACQUIRE));
}

/* What the union shows under a name that the kernel gave: false where nothing. */
static bool look_again(struct call *c, const struct dirent64_raw *e, struct listing_entry *out)
{
    struct vfs *fs = c->view->fs;
    struct vnode *child = &c->place2.node;
    struct stat st;
    out->ino = e->ino;
    out->type = e->type;
    if (is_dot(e->name, out->len) || is_dotdot(e->name, out->len))
        return true;
    if (!c->place.in_union) {
        const struct session *s = c->view->session;
        int bind = bind_at(s, c->base, str_len(c->base), e->name, out->len);
        return bind < 0 || !s->bind[bind].hidden;
    }
    if (fs->ops.lookup(fs, &c->place.node, e->name, out->len, child) < 0)
        return true; /* an error is that name's own */
    if (!vnode_exists(child) || fs->ops.getattr(fs, child, &st) < 0)
        return false;
    out->ino = st.st_ino;
    out->type = (u8)((st.st_mode & S_IFMT) >> 12);
    return true;
}

/* Goes on in the kernel's own listing, whose position `fd` has. */
static long go_on(struct call *c, int fd)
{
    u8 from[CHUNK] __attribute__((aligned(8))), to[CHUNK];
    union {
        struct listing_entry e;
        u8 room[sizeof(struct listing_entry) + NAME_MAX + 2];
    } one;
    size_t room = min_size((u32)c->arg[2], CHUNK), out = 0;
    s64 began = sys_lseek(fd, 0, SEEK_CUR);
    long n;
    while (!out && (n = sys_getdents64(fd, from, room)) > 0) {
        for (long at = 0; at < n;) {
            const struct dirent64_raw *e = (const void *)(from + at);
            one.e.len = (u16)str_len(e->name);
            memcpy(one.e.name, e->name, one.e.len);
            if (look_again(c, e, &one.e)) {
                size_t size = record_size(&one.e);
                put_record(to + out, &one.e, e->off, size, c->row->traits & SYS_OLD_STRUCT);
                out += size;
            }
            at += e->reclen;
        }
    }
    int err = out ? c->who->ops.write(c->who, c->arg[1], to, out) : (int)n;
    if (err)
        sys_lseek(fd, began, SEEK_SET);
    return err ? err : (long)out;
}

/* A directory outside, in which names may be hidden. 1: the kernel lists it. */
static long list_outside(struct call *c, int fd)
{
    const struct session *s = c->view->session;
    long n = s->nbinds && !c->view->unable
                 ? walk_name_of(c->view, &c->place, c->base, sizeof(c->base))
                 : -1;
    for (int i = -1; n >= 0;) {
        i = bind_next_in(s, c->base, (size_t)n, i);
        if (i < 0)
            break;
        if (s->bind[i].hidden)
            return go_on(c, fd);
    }
    return 1;
}

/* 1: not a directory of the union. */
static long list(struct call *c, int fd, const struct stat *st)
{
    s64 pos = sys_lseek(fd, 0, SEEK_CUR); /* -EBADF of an O_PATH descriptor */
    struct dir_snapshot *s = find(c->dirs, pos, st);
    if (s && st->st_nlink && c->view->fs->structure && s->structure == structure_now(c))
        return read_dir(c, fd, pos, s);
    int err = walk_fd(c->view, c->who, c->fd, &c->place);
    if (err)
        return err;
    if (!c->place.in_union)
        return list_outside(c, fd);
    if (pos < 0)
        return pos;
    if (!c->place.exists)
        return -ENOENT;
    if (!s && dirs_kernel_pos(c->view->fs, pos))
        return go_on(c, fd);
    if (!s) {
        /* f_pos 0, or a snapshot that had to go: look again, and go on behind as many names. */
        err = build(c, st, &s);
        if (err)
            return err;
    }
    return read_dir(c, fd, pos, s);
}

void call_getdents(struct call *c)
{
    struct stat st;
    c->by_fd = true;
    c->fd = (int)c->arg[0];
    int fd = c->who->ops.fd_get(c->who, c->fd);
    long n = fd < 0 ? fd : c->who->ops.fd_stat(c->who, c->fd, &st);
    if (n == 0 && S_ISDIR(st.st_mode))
        n = list(c, fd, &st);
    else if (n == 0)
        n = 1;
    if (fd >= 0)
        c->who->ops.fd_put(c->who, fd);
    if (n == 1)
        call_pass(c);
    else
        call_done(c, n);
}
