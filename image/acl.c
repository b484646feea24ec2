/* Attributes of a layer's entries, and access lists said as text, as tar and star do. */
#include "image/layer.h"
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

void layer_attribute(int fd, const char *name, const void *value, size_t size, const char *path)
{
    if (fsetxattr(fd, name, value, size, 0) && errno != EPERM && errno != ENOTSUP)
        image_fail("the layer's %.300s is refused: its attribute %.100s: %s", path, name,
                   strerror(errno));
}

/* The kernel's tag for libarchive's; 0 = there is none. */
static unsigned tag_of(int tag)
{
    switch (tag) {
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
        return ACL_USER_OBJ;
    case ARCHIVE_ENTRY_ACL_USER:
        return ACL_USER;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
        return ACL_GROUP_OBJ;
    case ARCHIVE_ENTRY_ACL_GROUP:
        return ACL_GROUP;
    case ARCHIVE_ENTRY_ACL_MASK:
        return ACL_MASK;
    default:
        return tag == ARCHIVE_ENTRY_ACL_OTHER ? ACL_OTHER : 0;
    }
}

mode_t layer_mode(struct archive_entry *e)
{
    mode_t mode = archive_entry_mode(e) & 07777;
    int want = ARCHIVE_ENTRY_ACL_TYPE_ACCESS, type, permset, tag, id;
    const char *name;
    archive_entry_acl_reset(e, want);
    while (archive_entry_acl_next(e, want, &type, &permset, &tag, &id, &name) == ARCHIVE_OK)
        if (tag == ARCHIVE_ENTRY_ACL_MASK)
            mode = (mode & ~(mode_t)070) | (mode_t)(permset & 7) << 3;
    return mode;
}

/* The order in which the kernel takes them. */
static int by_tag(const void *a, const void *b)
{
    const struct posix_acl_xattr_entry *x = a, *y = b;
    if (x->e_tag != y->e_tag)
        return x->e_tag < y->e_tag ? -1 : 1;
    return x->e_id < y->e_id ? -1 : x->e_id > y->e_id;
}

void layer_acl(int fd, struct archive_entry *e, bool def, const char *path)
{
    int want = def ? ARCHIVE_ENTRY_ACL_TYPE_DEFAULT : ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
    int type, permset, tag, id, n = archive_entry_acl_reset(e, want), used = 0;
    struct posix_acl_xattr_header *acl;
    struct posix_acl_xattr_entry *list;
    const char *name;
    /* Three of an access list are what the mode says. */
    if (n <= (def ? 0 : 3))
        return;
    size_t size = sizeof(*acl) + (size_t)n * sizeof(*list);
    acl = calloc(1, size);
    if (!acl)
        image_fail("out of memory");
    acl->a_version = POSIX_ACL_XATTR_VERSION;
    list = (struct posix_acl_xattr_entry *)(acl + 1);
    while (used < n &&
           archive_entry_acl_next(e, want, &type, &permset, &tag, &id, &name) == ARCHIVE_OK) {
        bool named = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
        /* Who has a name and no number is nobody's here: the list is left out, so that nobody gets
         * what was meant for another. */
        if (!tag_of(tag) || (named && id < 0))
            break;
        list[used].e_tag = (uint16_t)tag_of(tag);
        list[used].e_perm = (uint16_t)(permset & 7);
        list[used++].e_id = named ? (uint32_t)id : (uint32_t)ACL_UNDEFINED_ID;
    }
    if (used == n) {
        qsort(list, (size_t)n, sizeof(*list), by_tag);
        layer_attribute(fd, def ? "system.posix_acl_default" : "system.posix_acl_access", acl, size,
                        path);
    }
    free(acl);
}
