/* The in-process shim as both sides know it: one piece of memory in each program that has it.
 *
 *   text    code and constants, then room for stubs and for rewritten arguments; private, read and
 *           execute
 *   shared  struct shim_shared, the session's; read-only
 *   own     struct shim_own and the slots; the program's private memory
 *
 * text and shared are one file that the supervisor makes. A rewritten site jumps to a stub, which
 * sets eax to the call's number, rcx to where the program goes on, and jumps to `entry`; the
 * `syscall` that the site keeps is at rcx - 2. */
#ifndef FUSS_SHIM_IMAGE_H
#define FUSS_SHIM_IMAGE_H

#include "call/systab.h"
#include "overlay/overlay.h"
#include "vfs/steady.h"
#include "vfs/walk.h"
#include <linux/openat2.h>

#define SHIM_PAGE       4096u
#define SHIM_FACTS      (2u << 20) /* room for overlay_shared_size() */
#define SHIM_SLOT       0x20000u   /* bytes of stack for one call under way; preload/entry.S */
#define SHIM_SLOTS      16u
#define SHIM_STUB       32u                 /* bytes of a stub */
#define SHIM_STUBS      512u                /* in the text, four pages */
#define SHIM_STUBS_PAGE 128u                /* in a page */
#define SHIM_COOKIE     0xc00c1ec00c1ec00cu /* stands in the text for the session's */

struct shim_shared {
    struct session session;
    struct cred cred; /* the session's own: the shim runs in processes that have the same */
    u8 pad[SHIM_PAGE];
    u8 facts[SHIM_FACTS] __attribute__((aligned(4096))); /* overlay_init_in() */
};

/* Entries of the tables of what was seen a moment ago (preload/seen.c): one word each, which
 * threads read and write as they please. */
#define SHIM_DIRS  512
#define SHIM_NODES 8192
#define SHIM_PATHS 8192

/* What the supervisor writes when it brings the shim in; then its alone, but for `off`. */
struct shim_own {
    u64 slots;  /* address of the first, a multiple of SHIM_SLOT */
    u64 off;    /* not 0: every call is the supervisor's */
    u64 stale;  /* overlay_facts.stale as far as this process's descriptors are right */
    u64 shared; /* not 0: others have its descriptors too */
    u64 cwds;   /* not 0: one of several threads changed the working directory */
    u64 chdirs; /* the shim's: counts its changes of the working directory, before they are made */
    u64 ready;  /* the shim's: the overlay below is set up */
    u64 steady[STEADY_ENTRIES];
    u32 nnodes, npaths; /* notes so far; table_room() */
    u64 dir[SHIM_DIRS], node[SHIM_NODES], path[SHIM_PATHS];
    struct overlay overlay;
    struct view view;
};

/* The beginning of a slot: what its holder remembers. Whoever is made to give a call up may leave
 * it at any point, so an entry counts from its last word on. */
#define SHIM_LINKS 8
/* PLAIN: one part alone makes the directory, which is a lower's and the one that is open. */
enum shim_link_kind { LINK_UNKNOWN, LINK_MIXED, LINK_PLAIN };
struct shim_link {
    u64 ino; /* 0 = free */
    u64 dev, mount, changes, renamed;
    u32 when;
    u16 len, kind; /* enum shim_link_kind */
    u64 dots[2];   /* of a PLAIN one: overlay_lists_plainly() */
    char text[MEMO_TEXT];
};

/* The working directory: which one it is changes by chdir and fchdir only. */
struct shim_cwd {
    u64 cwds; /* what preload/caller.c counts, from before it was looked at; 0 = not known */
    u64 ino, mount;
    u32 dev_major, dev_minor, mask, mode;
    u64 tid; /* whose it is: who vforks shares memory, and has one of its own */
};

struct shim_memory {
    struct shim_cwd cwd;
    struct base_memo memo;
    u64 next;
    struct shim_link link[SHIM_LINKS];
    int unproven;        /* a descriptor that was no directory of a lower alone */
    struct open_how how; /* of the open that ends a call */
    char path[PATH_MAX];
    struct plan plan;
};

/* The end of a slot holds what the program's registers were. */
#define SHIM_SAVED 256u
struct shim_saved {
    u64 held; /* bit 0 */
    u64 rsp, rax, rdi, rsi, rdx, r10, r8, r9;
    u64 rcx; /* where the program goes on */
    u64 rbx, rbp, r12, r13, r14, r15;
    s64 result;
    s64 last_nr;          /* the call that shim_handle() wants made at the end, */
    u64 last[4];          /* its arguments, */
    u64 touch;            /* and the name it makes, for the index; 0 = none */
    u64 over;             /* not 0: it is made, `result` stands */
    u64 moved, moved_pos; /* a descriptor + 1, or 0; and its position to go back to, if undone */
    u64 missing;          /* not 0: that the call's end finds no such name is its result */
    u64 dir;              /* the call opens a PLAIN directory: the count of changes + 1, or 0 */
};

/* What an open file is made to be: by its descriptor, where that is the upper's own. */
static inline bool shim_changes(const struct sysrow *row)
{
    return row->nargs < 6 && (row->handler == CALL_CHMOD || row->handler == CALL_CHOWN ||
                              row->handler == CALL_UTIMES || row->handler == CALL_SETXATTR);
}

/* The same by a path: of what is the upper's. */
static inline bool shim_sets(const struct sysrow *row)
{
    return row->nargs < 6 && row->path >= 0 && !(row->traits & (SYS_OLD_STRUCT | SYS_TIMEVAL)) &&
           (row->handler == CALL_CHMOD || row->handler == CALL_CHOWN ||
            row->handler == CALL_UTIMES);
}

/* What attributes an open file has. */
static inline bool shim_asks_attrs(const struct sysrow *row)
{
    return (row->traits & SYS_FD_ONLY) &&
           (row->handler == CALL_GETXATTR || row->handler == CALL_LISTXATTR);
}

/* What is done to names; by the shim where it is alone with its descriptors. */
static inline bool shim_renames(const struct sysrow *row)
{
    return row->nargs < 6 && !(row->traits & SYS_REMOVEDIR) &&
           (row->handler == CALL_MKDIR || row->handler == CALL_SYMLINK ||
            row->handler == CALL_UNLINK || row->handler == CALL_RENAME);
}

/* At the very beginning of the text; offsets from there. */
struct shim_head {
    u64 magic;
    u64 cookie; /* SHIM_COOKIE; in a program, the session's */
    u32 size;   /* of the text as built, a multiple of SHIM_PAGE */
    u32 stubs, entry;
    /* What a thread in the shim has done by then: entry.S. */
    u32 tested, claimed, saved, last, last_end, finish, finish_r11, freed, leave, leave_r11, left,
        full, end;
    u32 shared, own, all; /* where the parts begin; the size of all without the slots */
    u32 early, early_end; /* code for a program that was just executed; preload/early.S */
    u32 unload;           /* where such a program gives up another mapping before it begins */
    u32 scratch;          /* from here to the end of the text: the supervisor's */
};
#define SHIM_MAGIC 0x6d68732d73737566u

/* For that code, SHIM_EARLY bytes below the stack pointer. */
#define SHIM_EARLY      4096u
#define SHIM_EARLY_MAPS 6
struct shim_early {
    u64 entry; /* where it goes then: the program's own first instruction, or to `unload` */
    u64 own;   /* address of struct shim_own, and what becomes of its `stale` */
    u64 stale;
    u64 maps;
    u64 cookie;
    struct open_how how;
    char path[40]; /* of the shim's file */
    struct {
        u64 addr, size;
        u32 prot, flags;
        u64 offset;
    } map[SHIM_EARLY_MAPS]; /* the first is of no file */
    u64 old, old_size;      /* for `unload`, */
    u64 begin;              /* and the first instruction */
};

#endif
