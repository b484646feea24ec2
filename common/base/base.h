/* The few words every file of common/ uses. Freestanding: headers of libc for types and constants
 * only, none of its functions. */
#ifndef FUSS_BASE_BASE_H
#define FUSS_BASE_BASE_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define UNUSED                          __attribute__((unused))
#define NOINLINE                        __attribute__((noinline))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* The compiler emits calls to these on its own; hosted builds take libc's. */
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

static inline bool dev_ino_equal(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How much of a table of `full` entries is in use after so many notes: a part of it until that has
 * been filled about once. What a short-lived process never touches costs it no memory and no page
 * fault. Notes from before it grew are lost. */
static inline u32 table_room(u32 notes, u32 part, u32 full)
{
    return notes < part ? part : full;
}

/* A char device 0/0 is the kernel's whiteout, whatever its mode or link count. */
static inline bool is_whiteout_stat(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

#endif
