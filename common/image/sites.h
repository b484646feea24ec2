/* Syscall sites of an ELF image: where the `syscall` instructions are that an in-process shim may
 * rewrite, and how.
 *
 * Two ways, each replaces whole instructions by a five-byte `jmp rel32` to a stub.
 *
 * SITE_MOV: `mov $nr,%eax` directly before `syscall`. The mov is replaced, the syscall stays: who
 * jumps to it still makes it. The stub sets eax = nr itself.
 *
 * SITE_TAIL: the syscall and the instructions after it, which the stub runs from a copy after the
 * call. The number is whatever eax holds then: `nr` says what it is on the straight way to the
 * site, or -1 (wrappers: syscall(2), Go's Syscall6), and is no more than advice. The copied
 * instructions are valid at any address.
 *
 * No branch of the image leads into the middle of the replaced bytes. What cannot be shown to be so
 * is not listed: such a call traps, as ever.
 *
 * A stub may change what the instruction changes (rcx, r11) and must keep the rest, the program's
 * stack and what is below it included. A patch may be made only where no thread can be between the
 * replaced instructions, and only where memory still holds `old`. Calls whose number the shim does
 * not serve (clone and vfork through a wrapper) are made by the stub's own `syscall`, with the
 * program's registers and stack, followed by the copy.
 *
 * A call that the kernel is to make after all, blocking ones above all, is best made in place where
 * the site is a SITE_MOV: set eax, jump to vaddr + length. Thread cancellation unwinds the stack
 * from the address of the call, which must be the program's own.
 *
 * Tables are flat and without pointers: made once per image outside the program, handed to it by
 * shared memory, and checked there (sites_check). */
#ifndef FUSS_IMAGE_SITES_H
#define FUSS_IMAGE_SITES_H

#include "base/base.h"

enum site_kind { SITE_MOV = 1, SITE_TAIL = 2 };

#define SITE_BYTES   16 /* the longest patch */
#define SITE_NUMBERS 512

/* The site's copy ends with `ret`: nothing to jump back to. */
#define SITE_RETURNS 0x01

struct site {
    u64 vaddr;  /* of the first replaced byte, as the program headers count */
    u64 offset; /* of the same byte in the file */
    int16_t nr; /* or -1 */
    u8 kind;
    u8 flags;
    u8 length; /* of the replaced bytes: 5 for SITE_MOV, 5 to SITE_BYTES for SITE_TAIL */
    u8 resume; /* the program goes on at vaddr + resume: 7 for SITE_MOV, length for SITE_TAIL */
    u8 copy;   /* the stub's copy is old[copy .. length): none for SITE_MOV, from 2 for SITE_TAIL */
    u8 spare;
    u8 old[SITE_BYTES]; /* what the file has there; zeros behind `length` */
};

#define SITES_VERSION 2

/* Sorted by vaddr, replaced bytes of two sites never overlap. The identity is filled by whoever
 * opened the file. */
struct sites {
    u32 version;
    u32 count;
    u64 text_end; /* offset in the file of the first byte behind the text; 0 = it has several */
    u64 dev, ino, size;
    s64 mtime_ns, ctime_ns;
    struct site site[];
};

static inline size_t sites_size(u32 count)
{
    return sizeof(struct sites) + count * sizeof(struct site);
}

/* Which numbers are worth a patch. Sites whose number is unknown are always listed. */
struct site_wants {
    u64 bits[SITE_NUMBERS / 64];
};

static inline void sites_want(struct site_wants *w, long nr)
{
    if (nr >= 0 && nr < SITE_NUMBERS)
        w->bits[nr / 64] |= (u64)1 << nr % 64;
}

static inline bool sites_wanted(const struct site_wants *w, long nr)
{
    return nr >= 0 && nr < SITE_NUMBERS && (w->bits[nr / 64] >> nr % 64 & 1) != 0;
}

/* Fills version, count and site[] of `out` (room for `cap` bytes) from the bytes of a file, which
 * may be anything. Returns the count, 0 for an image of another machine or class; -ENOEXEC where it
 * is no ELF image or a broken one, -ENOSPC where the table does not fit. */
int sites_find(const void *image, size_t size, const struct site_wants *want, struct sites *out,
               size_t cap);
/* Whether `bytes` bytes at t are a table as described above. */
bool sites_check(const struct sites *t, size_t bytes);

#endif
