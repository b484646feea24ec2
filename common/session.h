/* What both sides of a session know: the mountpoint, the layers, the marker style, the masks.
 *
 * One flat record without pointers (offsets into its own text pool), so that it can lie in memory
 * that several processes map. It is written once at start and never changes. */
#ifndef FUSS_SESSION_H
#define FUSS_SESSION_H

#include "base/base.h"
#include "base/str.h"

#define SESSION_VERSION 1u
#define LAYERS_MAX      128 /* layer 0 is the upper; lowers are 1 .. nlayers - 1, topmost first */
#define MASKS_MAX       256
#define BINDS_MAX       64
#define BIND_PARENTS    1024
#define SESSION_TEXT    (1u << 19)

/* How whiteouts and opaque marks are written (and, in fileprefix, also read: section 5 of the
 * formats in README.md). */
enum marker_style { STYLE_FILEPREFIX, STYLE_CHARDEV };

struct session_layer {
    u32 path; /* offset of the canonical absolute path in text[] */
    u32 path_len;
    u64 dev, ino; /* of the layer's root directory */
    bool in_use;  /* false only for layer 0 of a read-only union */
};

/* A name that must not show in a layer: the upper or work directory where it lies inside one. */
struct session_mask {
    u32 layer;
    u32 path; /* offset of the path relative to the layer's root */
};

/* Something of the host's that shows in the union (binds.h), or a path that does not show. */
struct session_bind {
    u32 host, host_len;   /* canonical real path; 0 where hidden */
    u32 guest, guest_len; /* canonical virtual path, below the mountpoint */
    u32 kind;             /* S_IFMT of the object */
    bool read_only, hidden;
    bool optional; /* given up where the union has no place for it */
    u64 ino;
};

struct session {
    u32 version;
    u32 style;      /* enum marker_style */
    bool read_only; /* no upper: every change is EROFS */
    bool read_wh;   /* chardev style reads .wh. names too */
    bool guard;     /* layers by their own path are read-only (design: the layer-path guard) */
    bool trusted;   /* this session may write trusted.overlay.* (else user.overlay.*) */
    bool protected_symlinks; /* fs.protected_symlinks of the host (proc(5)) is on */
    bool no_host_names;      /* with mountpoint "/": not even /proc, /sys and /dev are the host's */
    bool holds_lower; /* the program begins with a descriptor that is open for writing on a lower */
    u32 uid, gid;     /* whom the session's own layer work belongs to */
    bool fake;        /* that user is shown to the programs as another (overlay/faked.c) */
    u32 fake_uid, fake_gid;
    u32 nlayers; /* 1 + number of lowers */
    u32 mount;   /* offset of the canonical absolute virtual mountpoint */
    u32 mount_len;
    u32 work; /* offset of the canonical path of the private work directory; 0 = none */
    u32 nmasks;
    u32 nbinds;
    u32 nbind_parents;
    struct session_layer layer[LAYERS_MAX];
    struct session_mask mask[MASKS_MAX];
    struct session_bind bind[BINDS_MAX];
    struct {
        u64 dev, ino;
    } bind_parent[BIND_PARENTS]; /* directories of lowers with names that are bound or hidden */
    u32 text_len;
    char text[SESSION_TEXT];
};

static inline const char *session_text(const struct session *s, u32 off)
{
    return s->text + off;
}
static inline const char *session_mount(const struct session *s)
{
    return s->text + s->mount;
}
static inline const char *session_layer_path(const struct session *s, unsigned layer)
{
    return s->text + s->layer[layer].path;
}

/* Ids of the host as the programs are to see them: in st, and back again. */
static inline void session_show_ids(const struct session *s, struct stat *st)
{
    if (s->fake && st->st_uid == s->uid)
        st->st_uid = s->fake_uid;
    if (s->fake && st->st_gid == s->gid)
        st->st_gid = s->fake_gid;
}
static inline u32 session_shown_uid(const struct session *s, const struct stat *st)
{
    return s->fake && st->st_uid == s->uid ? s->fake_uid : st->st_uid;
}
static inline u32 session_real_uid(const struct session *s, u32 uid)
{
    return s->fake && uid == s->fake_uid ? s->uid : uid;
}
static inline u32 session_real_gid(const struct session *s, u32 gid)
{
    return s->fake && gid == s->fake_gid ? s->gid : gid;
}

/* Starts an empty session record; what it says of the host is asked of the host. */
void session_init(struct session *s);
/* Adds a string to the pool; its offset, or 0 when the pool is full. Offset 0 is never given. */
u32 session_add_text(struct session *s, const char *text);
/* True where `rel` of `layer` is masked (equal to or below a mask). */
bool session_masked(const struct session *s, unsigned layer, const char *rel);
/* The layer whose own real path contains the canonical absolute path `real`, longest match first;
 * -1 where none does, or a bind that lies in the layer has it. *rest is the path relative to the
 * layer's root. */
int session_layer_of(const struct session *s, const char *real, const char **rest);

/* True where the canonical virtual path lies at or below the mountpoint; *rel is the rest. */
bool session_below_mount(const struct session *s, const char *path, const char **rel);
/* The first name of the relative path is proc, sys or dev. */
bool session_kernel_name(const struct session *s, const char *rel);
/* True where the path relative to a union mounted at "/" starts with a name that stays the host's:
 * proc, sys, dev. */
bool session_host_name(const struct session *s, const char *rel);

#endif
