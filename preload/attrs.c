/* Attributes of a file that the program has open: what the kernel says of the descriptor itself,
 * where no name of an attribute is one that the union hides. */
#include "preload/shim_inside.h"
#include "base/str.h"
#include "base/sys.h"
#include "call/call.h"
#include <linux/xattr.h>

/* The descriptor shows what the union shows: a file that was not copied up since it was opened. */
static bool is_itself(const struct sysrow *row, const struct call *c)
{
    struct vfs *fs = &shim_own.overlay.vfs;
    struct stat st;
    return sys_fstat((int)c->arg[row->dirfd], &st) == 0 && S_ISREG(st.st_mode) &&
           !fs->ops.replaced(fs, &st);
}

/* On disk it has the name that the program says. */
bool shim_plain_attr(const struct call *c, int arg)
{
    char said[XATTR_NAME_MAX + 1], name[XATTR_NAME_MAX + 16];
    struct vfs *fs = &shim_own.overlay.vfs;
    long n = c->who->ops.read_str(c->who, said, c->arg[arg], sizeof(said));
    return n > 0 && fs->ops.xattr_to_disk(fs, said, name, sizeof(name)) >= 0 && str_eq(said, name);
}

static bool all_plain(const char *list, size_t n)
{
    char shown[XATTR_NAME_MAX + 1];
    struct vfs *fs = &shim_own.overlay.vfs;
    for (size_t at = 0; at < n; at += str_len(list + at) + 1) {
        if (fs->ops.xattr_from_disk(fs, list + at, shown, sizeof(shown)) <= 0 ||
            !str_eq(list + at, shown))
            return false;
    }
    return true;
}

int shim_attrs(struct shim_saved *saved, struct shim_memory *memory, const struct call *c)
{
    const struct sysrow *row = c->row;
    char *list = memory->path;
    if (!is_itself(row, c))
        return LEAVE;
    if (row->handler == CALL_GETXATTR)
        return shim_plain_attr(c, row->aux) ? PASS : LEAVE;
    long n =
        shim_gate(SYS_flistxattr, (int)c->arg[row->dirfd], (long)list, sizeof(memory->path), 0, 0);
    size_t size = c->arg[row->aux + 1];
    if (n < 0 || !all_plain(list, (size_t)n) || (size && (size_t)n > size))
        return LEAVE;
    if (size && n)
        c->who->ops.write(c->who, c->arg[row->aux], list, (size_t)n);
    saved->result = n;
    return RESULT;
}
