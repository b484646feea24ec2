#include "overlay/change.h"
#include <linux/fs.h>

#define BUFFER_SIZE (1u << 18)
#define CHUNK_MAX   (1u << 30)
#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define XATTR_LIST  65536u
#define XATTR_VALUE 65536u

static int write_all(int out, const char *buf, size_t n, s64 off)
{
    while (n > 0) {
        long w = sys_pwrite(out, buf, n, off);
        if (w == -EINTR)
            continue;
        if (w < 0)
            return (int)w;
        if (w == 0)
            return -EIO;
        buf += w;
        off += w;
        n -= (size_t)w;
    }
    return 0;
}

static int copy_by_hand(int in, int out, s64 off, s64 end)
{
    char *buf = sys_map(BUFFER_SIZE);
    int r = 0;
    if (!buf)
        return -ENOMEM;
    while (off < end) {
        long n = sys_pread(in, buf, min_size(BUFFER_SIZE, (size_t)(end - off)), off);
        if (n == -EINTR)
            continue;
        if (n <= 0) {
            r = (int)n; /* the end came early: the file shrank meanwhile */
            break;
        }
        r = write_all(out, buf, (size_t)n, off);
        if (r < 0)
            break;
        off += n;
    }
    sys_unmap(buf, BUFFER_SIZE);
    return r;
}

static int copy_extent(int in, int out, s64 off, s64 end)
{
    while (off < end) {
        s64 from = off, to = off;
        long n = sys_copy_file_range(in, &from, out, &to, min_size(CHUNK_MAX, (size_t)(end - off)));
        if (n == -EINTR)
            continue;
        if (n == -ENOSPC || n == -EDQUOT || n == -EFBIG || n == -ENOMEM)
            return (int)n;
        if (n <= 0) /* not between these files; a true error shows again there */
            return copy_by_hand(in, out, off, end);
        off += n;
    }
    return 0;
}

int copy_data(int in, int out, const struct stat *st, u64 size)
{
    if (size > (u64)st->st_size)
        size = (u64)st->st_size;
    if (size == 0)
        return 0;
    if (size == (u64)st->st_size && sys_ioctl(out, FICLONE, (unsigned long)in) == 0)
        return 0;
    int r = sys_ftruncate(out, (s64)size); /* a hole at the end stays one */
    if (r < 0)
        return r;
    bool sparse = (u64)st->st_blocks * 512 < (u64)st->st_size;
    s64 off = 0, end = (s64)size;
    while (off < end) {
        s64 data = off, hole = end;
        if (sparse) {
            data = sys_lseek(in, off, SEEK_DATA);
            if (data == -ENXIO)
                break;
            if (data < off)
                data = off;
            else
                hole = sys_lseek(in, data, SEEK_HOLE);
            if (hole <= data || hole > end)
                hole = end;
        }
        if (data < hole) {
            r = copy_extent(in, out, data, hole);
            if (r < 0)
                return r;
        }
        off = hole > off ? hole : end;
    }
    return 0;
}

/* What the target cannot carry is left out, as the kernel does; ACLs and labels that the session
 * may not write as well (an ordinary user's copy is his own). */
static bool may_be_left_out(int r)
{
    return r == -EOPNOTSUPP || r == -EPERM || r == -ENODATA;
}

static int copy_one(const char *from, const char *to, const char *name, char *value)
{
    long len = sys_getxattr(from, name, value, XATTR_VALUE);
    int r = (int)len;
    if (len >= 0)
        r = sys_setxattr(to, name, value, (size_t)len, 0);
    return r < 0 && may_be_left_out(r) ? 0 : r;
}

/* The access ACL comes last: it may take the owner's right to set the others. */
static int copy_listed(const char *from, const char *to, const char *list, size_t n, char *value,
                       bool *has_access, bool *has_default)
{
    for (size_t i = 0; i < n; i += str_len(list + i) + 1) {
        const char *name = list + i;
        if (str_eq(name, ACL_ACCESS)) {
            *has_access = true;
            continue;
        }
        if (str_eq(name, ACL_DEFAULT))
            *has_default = true;
        if (overlay_private_xattr(name))
            continue;
        int r = copy_one(from, to, name, value);
        if (r < 0)
            return r;
    }
    return *has_access ? copy_one(from, to, ACL_ACCESS, value) : 0;
}

int copy_xattrs(const char *from, const char *to, bool dir)
{
    bool has_access = false, has_default = false;
    char few[256];
    int r = 0;
    long n = sys_listxattr(from, few, sizeof(few));
    if (n > 0 || n == -ERANGE) {
        char *room = sys_map(XATTR_LIST + XATTR_VALUE);
        if (!room)
            return -ENOMEM;
        n = sys_listxattr(from, room, XATTR_LIST);
        if (n > 0)
            r = copy_listed(from, to, room, (size_t)n, room + XATTR_LIST, &has_access,
                            &has_default);
        sys_unmap(room, XATTR_LIST + XATTR_VALUE);
    }
    if (n < 0 && !may_be_left_out((int)n))
        return (int)n;
    if (r < 0)
        return r;
    if (!has_access)
        sys_removexattr(to, ACL_ACCESS);
    if (dir && !has_default)
        sys_removexattr(to, ACL_DEFAULT);
    return 0;
}

int copy_acls(const char *from, const char *to)
{
    const char *const names[] = {ACL_DEFAULT, ACL_ACCESS};
    char *value = sys_map(XATTR_VALUE);
    int r = value ? 0 : -ENOMEM;
    for (unsigned i = 0; r == 0 && i < 2; i++) {
        sys_removexattr(to, names[i]);
        r = copy_one(from, to, names[i], value);
    }
    if (value)
        sys_unmap(value, XATTR_VALUE);
    return r;
}
