/* Bounded strings and lexical paths. A function that could overflow says -ENAMETOOLONG instead. */
#ifndef FUSS_BASE_STR_H
#define FUSS_BASE_STR_H

#include "base/base.h"

size_t str_len(const char *s);
bool str_eq(const char *a, const char *b);
/* True where the first n bytes of both are equal and neither ends earlier. */
bool str_eq_n(const char *a, const char *b, size_t n);
bool str_starts(const char *s, const char *prefix);
/* Copies n bytes of src and a NUL; n, or -ENAMETOOLONG where cap is too small. */
long str_copy_n(char *dst, size_t cap, const char *src, size_t n);
long str_copy(char *dst, size_t cap, const char *src);
/* Decimal text of v with a NUL (20 digits at most); its length. */
size_t str_from_u64(char *dst, u64 v);
/* Reads decimal digits at s; the number of characters read, 0 where there is none. */
size_t str_to_u64(const char *s, u64 *v);

/* One component of a path: skips slashes, then points *comp at the name and returns its length
 * (0 at the end); *path is left behind the name. */
size_t path_next(const char **path, const char **comp);
/* True where `path` is `dir` or lies below it; both canonical and absolute ("/" is above all). The
 * rest without leading slash goes to *rest ("" for dir itself) where rest is not NULL. */
bool path_below(const char *path, const char *dir, const char **rest);
/* Appends "/name" (no slash doubled after "/" or at the start of an empty relative path) to the
 * canonical path of length *len; -ENAMETOOLONG and nothing changed where it does not fit. */
int path_push(char *path, size_t cap, size_t *len, const char *name, size_t name_len);
/* Takes the last component off; the new length ("/" stays "/", "a" becomes ""). */
size_t path_pop(char *path, size_t len);
/* The last component of a canonical path: a pointer into it. */
const char *path_last(const char *path, size_t len);
/* Canonical text of a path without looking at the disk: one slash between names, no ".", no
 * trailing slash, ".." taken back. Absolute paths only; length or -ENAMETOOLONG or -EINVAL. */
long path_clean(char *dst, size_t cap, const char *path);
bool is_dot(const char *name, size_t len);
bool is_dotdot(const char *name, size_t len);

#endif
