/* The overlay's own parts, for the files of this folder and for whoever sets it up.
 *
 * Layer 0 is the upper, 1 .. nlayers - 1 the lowers, topmost first. Because fuss writes no
 * redirects, an object has the same relative path in every layer that has it. All layer work goes
 * through the layers' root descriptors with openat2(RESOLVE_BENEATH|NO_SYMLINKS), so that no
 * symlink, swapped in at whatever moment, can lead a write out of the upper. */
#ifndef FUSS_OVERLAY_OVERLAY_H
#define FUSS_OVERLAY_OVERLAY_H

#include "session.h"
#include "vfs/vfs.h"
#include "vfs/listing.h"

/* Names that fuss itself uses in an upper while a session runs; hidden in every view. */
#define WORK_NAME   ".wh..fuss.work"
#define WH_PREFIX   ".wh."
#define OPAQUE_NAME ".wh..wh..opq"
#define MARK_NAME   "whiteout" /* in work */

#define ORIGINS_MAX     4096 /* session table of upper inodes that stand for a lower one */
#define RELOCATIONS_MAX 1024
#define LIST_BUFFER     32768 /* bytes of one getdents64 */
#define LIST_MEMORY     (LIST_BUFFER + sizeof(struct vnode))
#define TICKETS_MAX     256
#define OPAQUE_MAX      65536 /* lower directories whose opacity is remembered; a power of two */

#define UNMARKED_MAX 65536 /* lower directories looked through for markers; a power of two */
#define KNOWN_DIRS   2048
#define KNOWN_NAMES  8192
#define ASKED_BITS   16384

struct index; /* overlay/index.h */

/* A directory of the union, seen a moment ago: known.c. Sets of layers in two words. */
struct known_dir {
    u64 hash, changes; /* of its path; facts->changes at that time */
    u32 until;         /* steady_now() */
    u32 span;          /* ticks that it was to be believed for */
    u64 layers[2];     /* merged there */
    u64 marked[2];     /* of these, which may have a marker for a name in it */
    u64 check;         /* of all that */
};

/* A name in such a directory, and which lower shows an object there that is no directory. */
struct known_name {
    u64 key; /* of the path's hash, facts->changes and the value */
    u64 value;
};

static inline layer_set known_set(const u64 words[2])
{
    return words[0] | (layer_set)words[1] << 64;
}

/* Upper inode -> the identity it shows (objects that cannot carry the origin xattr). */
struct origin_entry {
    u64 dev, ino;             /* of the upper object, 0/0 = free */
    u64 shown_dev, shown_ino; /* of the lower object it was copied from */
    bool copy;                /* which had more names and goes on showing it: not shown */
    bool gone;                /* the upper object has no name any more, but may be open */
};

/* A lower directory that was renamed away (to_fd >= 0: O_PATH on its upper copy) or removed
 * (to_fd < 0). Lower paths never come back to life, so entries stay true for good. */
struct relocation {
    u32 path; /* offset in the overlay's own text: relative lower path */
    int to_fd;
};

#define COPIED_BITS 65536
#define GONE_MAX    64
#define REMAINS_MAX 64
#define NOTED_BITS  65536

/* A removed directory of the upper: the number of its temporary name in work, where it was. */
struct gone {
    u64 serial; /* 0 = free */
    int parent; /* O_PATH on the directory it was in, -1 = unknown: `path` is all */
    u32 name;   /* where its own name starts in `path` */
    char path[VPATH_MAX];
};

/* The removed upper copy of a directory or regular file that may still be open as a lower one. */
struct remains {
    u64 dev, ino; /* of the lower object, 0/0 = free */
    int fd;       /* O_PATH on the copy */
};

/* What every process of the session may set; the first pages of the memory that they share. */
struct overlay_notes {
    u64 opened[COPIED_BITS / 64]; /* by hash: lower files that were opened for reading */
    bool raw_dirs;                /* a layer's directory was opened by its own path */
    u64 renamed; /* moves before a program takes a name of a file of the upper away by itself */
    u64 temps;   /* names that programs have had in work */
} __attribute__((aligned(4096)));

/* What every process of the session may know of the layers; lies in memory that they share, with
 * the upper index behind it. Only the supervisor writes what is not said to be set by anybody. */
struct overlay_facts {
    u64 root_layers[2];           /* struct overlay's; set once */
    u64 mixed[2], kernel[2];      /* bit per layer, set by anybody: see marks.c */
    u64 opaque[OPAQUE_MAX];       /* one word per lower directory, by anybody: see marks.c */
    u64 unmarked[UNMARKED_MAX];   /* one word per lower directory, by anybody: see known.c */
    u64 copied[COPIED_BITS / 64]; /* by hash: lower files that were copied up */
    u64 changes;                  /* odd while the union is being changed: see changing.c */
    u64 stale;                    /* counts copy-ups of files that had been opened */
    u64 moves;                    /* see struct view */
    u64 listings;                 /* vfs.listings */
    u64 cwds;                     /* counts calls that may change a working directory */
    u64 cwds_shared;              /* not 0: who changes whose cannot be told */
    u64 marked;                   /* not 0: UPPER/WORK_NAME/MARK_NAME is what whiteouts link to */
    u64 origin_changes;           /* odd while the table below is being changed */
    struct origin_entry origin[ORIGINS_MAX];
};

struct overlay {
    struct vfs vfs; /* first: struct vfs * and struct overlay * are the same place */
    const struct session *s;
    int layer_fd[LAYERS_MAX]; /* O_PATH on each layer's root, -1 where unused */
    int work_fd;              /* private directory on the upper's filesystem, -1 = read-only */
    unsigned changing;        /* depth of changes under way: changing.c */
    bool by_path;             /* holds no descriptors: layers are reached by their paths */
    bool only_reads;       /* by_path: the facts cannot be written to; who learns them is asked */
    layer_set root_layers; /* merged at the root */
    struct overlay_notes *notes;
    struct overlay_facts *facts;
    struct index *index;
    void *memory;      /* facts and index, where overlay_init made it */
    u64 *steady;       /* by_path: STEADY_ENTRIES words of its own, zeroed; may be NULL */
    u32 ndirs, nnames; /* notes so far; table_room() */
    struct known_dir known[KNOWN_DIRS];
    struct known_name names[KNOWN_NAMES];
    u64 asked[ASKED_BITS / 64]; /* by_path: for which facts somebody was asked already, by hash */
    void (*unable)(void);       /* by_path: this call is the supervisor's; its result is not used */
    struct faked_owner *owners; /* faked.c; NULL until there is one */
    u64 serial;                 /* for temporary names in work */
    struct gone gone[GONE_MAX]; /* the last ones, by serial */
    u32 nremains;               /* so many so far */
    struct remains remains[REMAINS_MAX]; /* the last ones of them */
    u64 touches;                         /* of the index, our own (spot.c) */
    struct {                             /* the upper directory that was changed last */
        int fd;                          /* O_PATH, -1 = none */
        u64 generation, touches;         /* when it was known to be there */
        bool fresh; /* made while it is held: only names noted since can be in it */
        u64 noted[NOTED_BITS / 64];
        size_t len;
        char path[VPATH_MAX];
    } kept;
    bool made_dir; /* overlay_upper_dir() made the directory it gave */
    bool leads_on; /* some relocated directory is in the upper now */
    u32 norelocs;
    struct relocation reloc[RELOCATIONS_MAX];
    struct {
        u64 hash; /* of the path being created, 0 = free */
    } ticket[TICKETS_MAX];
    u64 progress;    /* counts finished creations: whoever waits looks again when it moved */
    u8 *list_memory; /* of overlay_list, kept from one to the next */
    char *text;      /* pool for relocation paths (anonymous memory) */
    u32 text_len, text_size;
};

static inline struct overlay *overlay_of(struct vfs *fs)
{
    return (struct overlay *)fs;
}

/* Opens the layers of a session and fills the vtable. The session must outlive the overlay.
 * Negative errno with *bad_layer set where a layer could not be opened. */
int overlay_init(struct overlay *o, const struct session *s, int *bad_layer);
/* The same in zeroed memory of overlay_shared_size() bytes that others may map too, and that stays
 * the caller's. */
size_t overlay_shared_size(void);
/* Where in it the part begins, to its end, that whoever changes the union alone writes to. */
size_t overlay_shared_index(void);
int overlay_init_in(struct overlay *o, const struct session *s, void *memory, int *bad_layer);
/* A process of the session looks at the layers by itself, with nothing but that memory: it opens
 * nothing and may change nothing. `o` is zeroed; `unable` is called where only the supervisor
 * knows. The functions that change are left out of the vtable. */
void overlay_attach(struct overlay *o, const struct session *s, void *memory, void (*unable)(void));
/* alone.c: the operations create_begin and copy_up of such a one. The first gives a path of the
 * upper that is to be made by O_CREAT|O_EXCL, between two overlay_touch() of pending.node_hash; the
 * second is done only where nothing is to be done. */
int overlay_create_alone(struct vfs *fs, struct caller *who, struct vnode *node, bool tmpfile,
                         struct vfs_pending *pending, char *real, size_t cap);
int overlay_copied_up(struct vfs *fs, struct caller *who, struct vnode *node, u64 size_hint);
/* Those of names: what is to be done goes to who->plan; an error, or 0 with the plan made. */
int overlay_plan_mkdir(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode);
int overlay_plan_symlink(struct vfs *fs, struct caller *who, struct vnode *node,
                         const char *target);
int overlay_plan_unlink(struct vfs *fs, struct caller *who, struct vnode *node);
int overlay_plan_rename(struct vfs *fs, struct caller *who, struct vnode *from, struct vnode *to,
                        unsigned flags);
void overlay_touch(struct overlay *o, u64 hash);
/* Whoever may have been killed between the two calls of overlay_touch() is made up for. */
void overlay_touch_all(struct overlay *o);
/* changing.c */
void overlay_fill_changing(struct vfs_ops *ops);
void overlay_fini(struct overlay *o);

/* -- marks.c: what the markers on disk mean (overlay-wide formats in README.md) ------------------
 */
/* True where names starting with ".wh." are markers in this session. */
bool overlay_wh_names(const struct overlay *o);
/* True where `name` can be no name of the union (a marker name, the work directory's name). */
bool overlay_reserved(const struct overlay *o, const char *name, size_t len);
/* Is the real object a whiteout: 0/0 device, or an empty regular file with an overlay.whiteout
 * xattr. `rel` names it below the layer's root. */
bool overlay_is_whiteout(struct overlay *o, unsigned layer, const char *rel, const struct stat *st);
/* 1 where the directory `rel` of `layer` is opaque by xattr or by .wh..wh..opq, 0 where not, or
 * -EIO where it carries a mark that fuss does not follow (redirect, metacopy). */
int overlay_is_opaque(struct overlay *o, unsigned layer, const char *rel);
/* Does the directory `rel` of a lower, with stat `st`, hide what deeper layers have: opaque, or a
 * .wh. marker of its name beside it in `dir`. Taken as constant for the session. */
int overlay_lower_opaque(struct overlay *o, unsigned layer, const char *dir, const char *rel,
                         const struct stat *st);
/* Words about lower directories in a table of `max` of them: a tag, never 0, with its lowest bit
 * left for what is said of it. The word with this tag, or 0; and puts one there. */
u64 overlay_fact(const u64 *table, unsigned max, u64 tag);
void overlay_keep_fact(u64 *table, unsigned max, u64 word);
/* Who cannot write facts has one found out by whoever can (o->unable, which does not return): once,
 * since there may be no room left to remember it. Then it is to be looked up each time. */
void overlay_ask_once(struct overlay *o, u64 tag);
/* True where listings of the directory must look for xattr whiteouts (opaque=x). */
bool overlay_is_mixed(struct overlay *o, unsigned layer, const char *rel);
/* True where the regular file has its data elsewhere (metacopy): fuss does not follow that. */
bool overlay_is_metacopy(struct overlay *o, unsigned layer, const char *rel, const struct stat *st);
/* 1 where layer `layer` has a file ".wh.NAME" in directory `dir_rel` (wh names in force). */
int overlay_has_wh(struct overlay *o, unsigned layer, const char *dir_rel, const char *name);
/* True for xattr names of any overlay implementation: never shown, never copied up. */
bool overlay_private_xattr(const char *name);
long overlay_xattr_to_disk(struct vfs *fs, const char *name, char *buf, size_t cap);
long overlay_xattr_from_disk(struct vfs *fs, const char *name, char *buf, size_t cap);
/* The xattr name this session writes for "opaque", "origin"...: prefix by session->trusted. */
const char *overlay_mark_name(const struct overlay *o, const char *mark, char *buf, size_t cap);

/* -- lookup.c ------------------------------------------------------------------------------------
 */
int overlay_root(struct vfs *fs, struct vnode *out);
int overlay_lookup(struct vfs *fs, const struct vnode *dir, const char *name, size_t len,
                   struct vnode *out);
/* vfs_ops.descend; the other says -EAGAIN for -ENOENT. */
int overlay_descend_all(struct vfs *fs, const char *path, size_t len, struct vnode *out);
int overlay_descend(struct vfs *fs, const char *path, size_t len, struct vnode *out);
/* The parent directory of a node; -ENOENT where it is gone. The root is its own parent. */
int overlay_parent(struct overlay *o, const struct vnode *node, struct vnode *out);
/* The same with one look, where nothing has changed since the node was looked up. Lowers that the
 * node may have been in stand in its layers, whether they have the directory or not: good for
 * rights and for the upper part, not for looking up names. */
int overlay_parent_of(struct overlay *o, const struct vnode *node, struct vnode *out);
/* known.c: the directory of the union with this path, where it was seen a moment ago and nothing
 * has changed since `changes` was read from the facts. */
bool overlay_known(struct overlay *o, const char *path, size_t len, u64 changes,
                   struct known_dir *out);
/* The same for a name, by the index's hash of its path, as several lowers have it: *layer is the
 * one whose object, no directory, is shown where the upper has none; 0 = nothing is. */
bool overlay_known_name(struct overlay *o, u64 hash, u64 changes, unsigned *layer);
/* Remembers that for as long as its directory is known. */
void overlay_note_name(struct overlay *o, u64 hash, u64 changes, u32 until, unsigned layer);
/* True where the directory `rel` of a lower, with this stat, may have markers for names in it. */
bool overlay_may_mark(struct overlay *o, unsigned layer, const char *rel, const struct stat *st);
/* Remembers a directory that was just looked up by real directories only, below one that is known
 * until then (*until 0: below none): its path and layers are looked at. *until becomes its own. */
void overlay_note_dir(struct overlay *o, const struct vnode *dir, u64 changes, u32 *until);
/* True where some lower layer, were the upper empty at this name, would show something there: a
 * whiteout is needed to hide it. Looks at dir_layers. */
bool overlay_lower_has(struct overlay *o, const struct vnode *node);
/* reach.c: whoever only reads has an ordinary user's directories judged by the kernel, on the way
 * that the real path takes: where that is a lower's, the parts in the upper, the first `len` bytes
 * of the path, may be closed all the same. For others nothing is asked. */
void overlay_search_upper(struct overlay *o, const struct vnode *out, size_t len);
/* The topmost lower part of a merged directory or 0 where there is none. */
unsigned overlay_top_lower(struct overlay *o, const struct vnode *node);

/* -- reach.c: real objects -----------------------------------------------------------------------
 */
int overlay_grab(struct vfs *fs, const struct vnode *node);
/* O_PATH descriptor of the object at `rel` in `layer` ("" = the layer's root). flags adds
 * O_DIRECTORY or the like. */
int overlay_open_in(struct overlay *o, unsigned layer, const char *rel, u64 flags);
/* lstat of the same; both reach through directories of the upper that an ordinary user closed to
 * himself. */
int overlay_stat_in(struct overlay *o, unsigned layer, const char *rel, struct stat *st);
/* straight.c: lstat of the object that real directories alone lead to. *parent: they do, whatever
 * is said of the object itself. -ELOOP where a symlink is in the way. */
int overlay_straight_stat(struct overlay *o, unsigned layer, const char *rel, struct stat *st,
                          bool *parent);
/* Directory descriptor and path by which `rel` of a layer is named in a call that does not follow
 * symlinks in between; text (PATH_MAX bytes) may be needed for it. -ENAMETOOLONG. */
int overlay_at(const struct overlay *o, unsigned layer, const char *rel, char *text,
               const char **path);
/* The same as one absolute path, for calls that take no descriptor. 0 or -ENAMETOOLONG. */
int overlay_name(const struct overlay *o, unsigned layer, const char *rel, char *text);
long overlay_locate(struct vfs *fs, const struct vnode *node, char *buf, size_t cap);
long overlay_readlink(struct vfs *fs, const struct vnode *node, char *buf, size_t cap);
int overlay_permission(struct vfs *fs, struct caller *who, const struct vnode *node, int mask);
int overlay_statfs(struct vfs *fs, const struct vnode *node, struct statfs *out);
/* 0, -EACCES, -EPERM: may the caller take `node` out of `dir` (W|X on dir, sticky bit)? */
int overlay_may_delete(struct vfs *fs, struct caller *who, const struct vnode *dir,
                       const struct vnode *node);

/* -- identity.c ----------------------------------------------------------------------------------
 */
int overlay_getattr(struct vfs *fs, const struct vnode *node, struct stat *st);
int overlay_identify(struct vfs *fs, int fd, struct stat *st);
/* Translates the identity in st of an upper object named by an open O_PATH descriptor. */
void overlay_show_identity(struct overlay *o, int fd, struct stat *st);
/* The same for an entry of the upper directory that `dir` is open on; st holds its mode and real
 * identity. False where it shows its own. */
bool overlay_entry_origin(struct overlay *o, int dir, const char *name, struct stat *st);
/* True where the upper object shows the identity of a lower one. */
bool overlay_has_origin(struct overlay *o, int fd);
/* Remembers that the upper object `fd` (with real stat `up`) stands for the lower object `low`:
 * origin xattr where the object can carry one (before its final chmod), else the session table. The
 * copy of a file with more names is marked too, but shows its own identity. */
int overlay_set_origin(struct overlay *o, int fd, const struct stat *up, const struct stat *low);
/* True where the session's table has a word about the upper object with real stat `up`, or had. */
bool overlay_is_noted(struct overlay *o, const struct stat *up);
/* Notes that a lower file was opened for reading. */
void overlay_note_opened(struct vfs *fs, const struct stat *low);
/* The same for whoever kept the number of its bit (below COPIED_BITS). */
unsigned overlay_opened_bit(const struct stat *low);
void overlay_note_opened_bit(struct overlay *o, unsigned n);
bool overlay_was_opened(struct overlay *o, const struct stat *low);
/* Notes that the lower file was copied up, and asks it. */
void overlay_note_copied(struct overlay *o, const struct stat *low);
bool overlay_replaced(struct vfs *fs, const struct stat *st);
/* True where the upper object `node` was copied up from the lower object with stat `low`. */
bool overlay_copy_of(struct overlay *o, const struct vnode *node, const struct stat *low);
/* The identity of the lower object that an upper one (`fd`) was copied from, whether it shows it or
 * not; false where from none. */
bool overlay_copied_from(struct overlay *o, int fd, struct stat *low);
/* The upper object goes away: its inode number may be used again, but whoever has it open still
 * sees the identity it showed. */
void overlay_drop_origin(struct overlay *o, const struct stat *up);

/* -- reach.c: opens what an O_PATH descriptor is on, also where an ordinary user took his own
 * permission for it away. */
int overlay_open_closed(struct overlay *o, int fd, int flags);

/* -- readdir.c, reverse.c ------------------------------------------------------------------------
 */
int overlay_list(struct vfs *fs, const struct vnode *dir, struct listing *out);
/* True where the directory has one part only, and what is in it shows as it is there but for
 * markers. */
bool overlay_is_plain(struct overlay *o, const struct vnode *dir);
/* True where such a directory is one that the kernel lists as the union shows it, but for
 * reserved names and for types that need a look (a device may be a whiteout). dots: the numbers of
 * "." and "..", 0 = the kernel's own. */
bool overlay_lists_plainly(struct overlay *o, const struct vnode *dir, u64 dots[2]);
/* 1 where the merged view of dir shows no name, 0 where it does, or -errno. */
int overlay_dir_empty(struct overlay *o, const struct vnode *dir);
int overlay_reverse(struct vfs *fs, unsigned layer, const char *rel, const struct stat *st,
                    struct vnode *out);
/* gone.c: where a removed object was whose real path, relative to the upper, ends in work; other
 * paths as they are. The length, or -ENAMETOOLONG. */
long overlay_gone(struct vfs *fs, const char *rel, char *buf, size_t cap);
int overlay_remains(struct vfs *fs, const struct stat *st);
/* Everything below the lower path `rel` now lives in the upper directory `to_fd` (duplicated), or
 * nowhere (-1). Called by rename and rmdir of directories with a lower part, before they act. */
int overlay_relocate(struct overlay *o, const char *rel, int to_fd);
/* A directory of the upper alone was renamed or removed: a relocated path may lead there. */
void overlay_moved_on(struct overlay *o);

/* -- copyup.c ------------------------------------------------------------------------------------
 */
int overlay_copy_up(struct vfs *fs, struct caller *who, struct vnode *node, u64 size_hint);
/* Makes the directory and its ancestors exist in the upper; then an O_PATH|O_DIRECTORY descriptor
 * of the upper directory. */
int overlay_upper_dir(struct overlay *o, struct vnode *dir);
/* Copies up a directory with all it shows (rename of a directory with a lower part). On return the
 * node is pure upper and opaque. */
int overlay_copy_up_tree(struct overlay *o, struct caller *who, struct vnode *dir);

/* -- whiteout.c: writing marks -------------------------------------------------------------------
 */
/* The name of a fresh temporary in work. */
void overlay_temp_name(struct overlay *o, char *buf, size_t cap);
/* Leaves a whiteout for name in the upper directory dir_fd; where victim is set, an existing upper
 * non-directory of that name is replaced by it in one step, else -ENOENT where there is one. */
int overlay_put_whiteout(struct overlay *o, int dir_fd, const char *name, bool victim);
/* Takes the whiteout for name away (0/0 device or .wh. file); no error where there is none. */
int overlay_take_whiteout(struct overlay *o, int dir_fd, const char *name);
/* Marks the upper directory opaque in the session's style. */
int overlay_set_opaque(struct overlay *o, int fd);
/* Empties an upper directory of its markers (it shows no name); then it can be removed. */
int overlay_clear_marks(struct overlay *o, int dir_fd);

/* -- create.c, nursery.c, remove.c, rename.c, ticket.c
 * --------------------------------------------- */
int overlay_mkdir(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode);
int overlay_mknod(struct vfs *fs, struct caller *who, struct vnode *node, u32 mode, u64 dev);
int overlay_symlink(struct vfs *fs, struct caller *who, struct vnode *node, const char *target);
int overlay_link(struct vfs *fs, struct caller *who, struct vnode *from, int fd, struct vnode *to);
int overlay_create_begin(struct vfs *fs, struct caller *who, struct vnode *node, bool tmpfile,
                         struct vfs_pending *pending, char *real, size_t cap);
int overlay_create_end(struct vfs *fs, struct caller *who, struct vfs_pending *pending,
                       long result);
int overlay_unlink(struct vfs *fs, struct caller *who, struct vnode *node);
int overlay_rmdir(struct vfs *fs, struct caller *who, struct vnode *node);
int overlay_rename(struct vfs *fs, struct caller *who, struct vnode *from, struct vnode *to,
                   unsigned flags);
/* A directory in work that has the mode, owner, ACLs and setgid bit of the upper directory dir_fd,
 * so that what the caller creates in it inherits what it would inherit there. Its descriptor; the
 * name goes to `name`. Removed with overlay_nursery_drop. */
int overlay_nursery(struct overlay *o, int dir_fd, char *name, size_t cap);
void overlay_nursery_drop(struct overlay *o, int fd, const char *name);
/* Mutation tickets: at most one staged creation per name. 0 = taken by somebody else. */
u64 overlay_ticket_take(struct overlay *o, const char *path, size_t len);
void overlay_ticket_drop(struct overlay *o, u64 ticket);

/* -- faked.c: fake ids ---------------------------------------------------------------------------
 */
#define FAKED_XATTR "user.containers.override_stat"
#define FAKED_TEXT  128
/* The text of an override_stat, applied to st (whose kind counts where it names none). False, and
 * st as it was, where it cannot be read. */
bool faked_parse(const char *text, struct stat *st);
/* The other way round; the length, without a NUL. */
size_t faked_format(const struct stat *st, char buf[FAKED_TEXT]);
/* vfs_ops of a session with fake ids. */
int faked_getattr(struct vfs *fs, const struct vnode *node, struct stat *st);
int faked_identify(struct vfs *fs, int fd, struct stat *st);
int faked_record(struct vfs *fs, int fd, u32 uid, u32 gid, u32 mode);
const struct stat *overlay_judged(struct vfs *fs, const struct vnode *node, struct stat *buf);

/* -- owner.c: the owner policy -------------------------------------------------------------------
 */
/* Who shall own the upper copy of an object that `low` describes: as is where the session may
 * chown, else the session's own ids. */
void overlay_owner(const struct overlay *o, const struct stat *low, u32 *uid, u32 *gid);

#endif
