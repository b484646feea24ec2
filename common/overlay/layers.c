/* A session's layers, opened. */
#include "overlay/change.h"
#include "overlay/index.h"
#include "base/sys.h"

#define INDEX_BITS 16
#define TEXT_SIZE  (1u << 20)

static void fill_looking(struct vfs_ops *ops)
{
    ops->lookup = overlay_lookup;
    ops->descend = overlay_descend_all;
    ops->root = overlay_root;
    ops->readlink = overlay_readlink;
    ops->getattr = overlay_getattr;
    ops->identify = overlay_identify;
    ops->opened = overlay_note_opened;
    ops->replaced = overlay_replaced;
    ops->list = overlay_list;
    ops->statfs = overlay_statfs;
    ops->permission = overlay_permission;
    ops->judged = overlay_judged;
    ops->grab = overlay_grab;
    ops->locate = overlay_locate;
    ops->reverse = overlay_reverse;
    ops->gone = overlay_gone;
    ops->remains = overlay_remains;
    ops->xattr_to_disk = overlay_xattr_to_disk;
    ops->xattr_from_disk = overlay_xattr_from_disk;
}

static void fill_ops(struct vfs_ops *ops, bool fake)
{
    fill_looking(ops);
    overlay_fill_changing(ops);
    if (!fake)
        return;
    ops->getattr = faked_getattr;
    ops->identify = faked_identify;
    ops->record = faked_record;
}

/* Which layers show at the root: a `.wh..wh..opq` there hides the deeper ones. Overlay xattrs of a
 * layer's root are not looked at, as in the kernel, but for the "mixed" mark. */
static void merge_roots(struct overlay *o)
{
    o->root_layers = 0;
    for (unsigned i = 0; i < o->s->nlayers; i++) {
        struct stat st;
        if (o->layer_fd[i] < 0)
            continue;
        o->root_layers |= layer_bit(i);
        overlay_is_opaque(o, i, "");
        if (overlay_wh_names(o) &&
            sys_fstatat(o->layer_fd[i], OPAQUE_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0)
            break;
    }
}

size_t overlay_shared_index(void)
{
    return (sizeof(struct overlay_notes) + sizeof(struct overlay_facts) + 4095) & ~(size_t)4095;
}

size_t overlay_shared_size(void)
{
    return overlay_shared_index() + index_size(INDEX_BITS);
}

int overlay_init(struct overlay *o, const struct session *s, int *bad_layer)
{
    void *memory = sys_map(overlay_shared_size());
    *bad_layer = -1;
    if (!memory)
        return -ENOMEM;
    int r = overlay_init_in(o, s, memory, bad_layer);
    if (r < 0)
        sys_unmap(memory, overlay_shared_size());
    else
        o->memory = memory;
    return r;
}

/* Only the supervisor remembers what was removed. */
static long ask_gone(struct vfs *fs, const char *rel UNUSED, char *buf UNUSED, size_t cap UNUSED)
{
    overlay_of(fs)->unable();
    return -ENOENT;
}

static int ask_remains(struct vfs *fs, const struct stat *st UNUSED)
{
    overlay_of(fs)->unable();
    return -ENOENT;
}

void overlay_attach(struct overlay *o, const struct session *s, void *memory, void (*unable)(void))
{
    o->s = s;
    o->notes = memory;
    o->facts = (struct overlay_facts *)(o->notes + 1);
    o->index = (struct index *)((u8 *)memory + overlay_shared_index());
    o->by_path = true;
    o->unable = unable;
    o->root_layers = o->facts->root_layers[0] | (layer_set)o->facts->root_layers[1] << 64;
    o->vfs.name = "overlay";
    o->vfs.structure = index_structure(o->index);
    o->vfs.listings = &o->facts->listings;
    o->work_fd = o->kept.fd = -1;
    for (unsigned i = 0; i < LAYERS_MAX; i++)
        o->layer_fd[i] = -1;
    fill_looking(&o->vfs.ops);
    o->vfs.ops.gone = ask_gone;
    o->vfs.ops.remains = ask_remains;
}

int overlay_init_in(struct overlay *o, const struct session *s, void *memory, int *bad_layer)
{
    u64 key = 0;
    memset(o, 0, sizeof(*o));
    o->notes = memory;
    o->facts = (struct overlay_facts *)(o->notes + 1);
    o->s = s;
    o->work_fd = o->kept.fd = -1;
    o->vfs.name = "overlay";
    fill_ops(&o->vfs.ops, s->fake);
    for (unsigned i = 0; i < LAYERS_MAX; i++)
        o->layer_fd[i] = -1;
    for (unsigned i = 0; i < s->nlayers; i++) {
        if (!s->layer[i].in_use)
            continue;
        int fd =
            sys_openat(AT_FDCWD, session_layer_path(s, i), O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (fd < 0) {
            *bad_layer = (int)i;
            overlay_fini(o);
            return fd;
        }
        o->layer_fd[i] = fd;
    }
    if (!s->read_only) {
        o->work_fd =
            sys_openat(AT_FDCWD, session_text(s, s->work), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
        if (o->work_fd < 0) {
            *bad_layer = 0;
            int r = o->work_fd;
            overlay_fini(o);
            return r;
        }
    }
    SYS3(SYS_getrandom, &key, sizeof(key), 0);
    o->text = sys_map(TEXT_SIZE);
    o->text_size = TEXT_SIZE;
    if (!o->text) {
        *bad_layer = -1;
        overlay_fini(o);
        return -ENOMEM;
    }
    o->index = index_init((u8 *)memory + overlay_shared_index(), INDEX_BITS, key);
    o->vfs.structure = index_structure(o->index);
    o->vfs.listings = &o->facts->listings;
    merge_roots(o);
    o->facts->root_layers[0] = (u64)o->root_layers;
    o->facts->root_layers[1] = (u64)(o->root_layers >> 64);
    return 0;
}

void overlay_fini(struct overlay *o)
{
    kept_drop(o);
    faked_forget(o);
    for (unsigned i = 0; i < LAYERS_MAX; i++) {
        if (o->layer_fd[i] >= 0)
            sys_close(o->layer_fd[i]);
        o->layer_fd[i] = -1;
    }
    for (u32 i = 0; i < o->norelocs; i++) {
        if (o->reloc[i].to_fd >= 0)
            sys_close(o->reloc[i].to_fd);
    }
    o->norelocs = 0;
    gone_forget(o);
    if (o->work_fd >= 0)
        sys_close(o->work_fd);
    o->work_fd = -1;
    if (o->list_memory)
        sys_unmap(o->list_memory, LIST_MEMORY);
    o->list_memory = NULL;
    if (o->text)
        sys_unmap(o->text, o->text_size);
    o->text = NULL;
    if (o->memory)
        sys_unmap(o->memory, overlay_shared_size());
    o->memory = NULL;
    o->index = NULL;
    o->facts = NULL;
    o->notes = NULL;
}
