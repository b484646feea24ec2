/* getdents and getdents64 over the merged view. */
#include "call/dir.h"
#include "call/families.h"
#include "base/sys.h"

#define CHUNK 4096

/* linux_dirent64 as the kernel lays it out; the older form keeps d_type in its last byte. */
struct dirent_head {
    u64 ino;
    s64 off;
    u16 reclen;
} __attribute__((packed));

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

static void drop(struct dirs *d, struct dir_snapshot *s)
{
    d->bytes -= s->list.size;
    listing_free(&s->list);
    s->serial = 0;
}

/* A free place: listings read to their end go first, then the longest unused. */
static struct dir_snapshot *make_room(struct dirs *d)
{
    struct dir_snapshot *best = NULL;
    for (u32 i = 0; i < DIRS_MAX; i++) {
        struct dir_snapshot *s = &d->snap[i];
        if (!s->serial)
            return s;
        if (!best || (s->done && !best->done) || (s->done == best->done && s->used < best->used))
            best = s;
    }
    drop(d, best);
    return best;
}

static struct dir_snapshot *find(struct dirs *d, u32 serial)
{
    for (u32 i = 0; i < DIRS_MAX; i++) {
        if (d->snap[i].serial == serial)
            return &d->snap[i];
    }
    return NULL;
}

static int build(struct call *c, struct dir_snapshot **out)
{
    struct dirs *d = c->dirs;
    struct dir_snapshot *s = make_room(d);
    memset(&s->list, 0, sizeof(s->list));
    int err = c->view->fs->ops.list(c->view->fs, &c->place.node, &s->list);
    if (err) {
        listing_free(&s->list);
        return err;
    }
    if (++d->serial >= INT32_MAX)
        d->serial = 1;
    s->serial = d->serial;
    s->done = false;
    d->bytes += s->list.size;
    while (d->bytes > DIRS_BYTES_MAX) {
        s->used = ++d->clock;
        struct dir_snapshot *old = NULL;
        for (u32 i = 0; i < DIRS_MAX; i++) {
            struct dir_snapshot *o = &d->snap[i];
            if (o->serial && o != s && (!old || o->used < old->used))
                old = o;
        }
        if (!old)
            break;
        drop(d, old);
    }
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

static long read_dir(struct call *c, int fd, s64 pos)
{
    struct dir_snapshot *s = NULL;
    u32 index = (u32)pos;
    if (pos > 0)
        s = find(c->dirs, (u32)(pos >> 32));
    if (!s) {
        /* f_pos 0, or a snapshot that had to go: look again, and go on behind as many names. */
        int err = build(c, &s);
        if (err)
            return err;
    }
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

void call_getdents(struct call *c)
{
    struct stat st;
    c->by_fd = true;
    c->fd = (int)c->arg[0];
    int err = c->who->ops.fd_stat(c->who, c->fd, &st);
    if (!err && S_ISDIR(st.st_mode))
        err = walk_fd(c->view, c->who, c->fd, &c->place);
    if (err || !S_ISDIR(st.st_mode) || !c->place.in_union) {
        if (err)
            call_done(c, err);
        else
            call_pass(c);
        return;
    }
    int fd = c->who->ops.fd_get(c->who, c->fd);
    if (fd < 0) {
        call_done(c, fd);
        return;
    }
    s64 pos = sys_lseek(fd, 0, SEEK_CUR); /* -EBADF of an O_PATH descriptor */
    long n = pos < 0 ? pos : c->place.exists ? read_dir(c, fd, pos) : -ENOENT;
    c->who->ops.fd_put(c->who, fd);
    call_done(c, n);
}
