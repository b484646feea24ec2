/* Binds: a file or directory of the host shown at another path (or at its own) inside the union,
 * and paths that are hidden. A small table in the session record; the longest path decides. */
#ifndef FUSS_BINDS_H
#define FUSS_BINDS_H

#include "session.h"

/* The bind or hidden path that holds the canonical virtual path (len bytes), the innermost one; -1
 * where none does. *rest is the path relative to it. */
int bind_covering(const struct session *s, const char *path, size_t len, const char **rest);
/* True where the path is exactly that of a bind or a hidden name. */
bool bind_is(const struct session *s, const char *path, size_t len);
/* The bind whose object or tree holds the canonical real path, the innermost one; -1: none. Where
 * two have the same, the first. */
int bind_of_real(const struct session *s, const char *real, const char **rest);
/* The bind or hidden path that is exactly dir/name; -1. `dir` is virtual. */
int bind_at(const struct session *s, const char *dir, size_t dir_len, const char *name, size_t len);
/* True where a bind or hidden path lies strictly below the virtual directory. */
bool bind_below(const struct session *s, const char *dir);
/* The next entry after `i` (-1 to begin) that is a name of the virtual directory; -1: no more. */
int bind_next_in(const struct session *s, const char *dir, size_t dir_len, int i);
/* The real path of what lies at `rest` in a bind: its length, or -ENAMETOOLONG. bind_guest_path:
 * its path in the union. */
long bind_host_path(const struct session *s, int bind, const char *rest, char *buf, size_t cap);
long bind_guest_path(const struct session *s, int bind, const char *rest, char *buf, size_t cap);
/* The part of a real path in the bind that follows the bind's own ("" for itself). */
const char *bind_rest(const struct session *s, int bind, const char *real);
/* True for a directory of a lower in which names are bound or hidden: it shows other names than it
 * has. */
bool bind_is_parent(const struct session *s, u64 dev, u64 ino);

static inline const char *bind_guest(const struct session *s, int bind)
{
    return s->text + s->bind[bind].guest;
}
static inline const char *bind_host(const struct session *s, int bind)
{
    return s->text + s->bind[bind].host;
}

#endif
