/* Names of AF_UNIX sockets: what the kernel holds, what the program said, and how to say a real
 * path that is longer than an address has room for. */
#ifndef FUSS_TRACER_SOCKNAME_H
#define FUSS_TRACER_SOCKNAME_H

#include "tracer/task.h"
#include <sys/un.h>

#define SOCKNAME_MAX sizeof(((struct sockaddr_un *)0)->sun_path) /* without a NUL */

/* Reads the address at `addr` of the task. 1 with the path (NUL-terminated, at most SOCKNAME_MAX
 * bytes) where it is a name in the filesystem; 0 where it is anything else; -EFAULT. */
int sockname_read(struct task *t, u64 addr, u64 len, char *path);
/* The path of an address that the kernel gave, as above: 1 or 0. */
int sockname_path(const struct sockaddr_un *un, size_t len, char *path);
/* Fills an address with a path that fits: its length, or -ENAMETOOLONG. */
long sockname_fill(struct sockaddr_un *un, const char *path);
/* Gives the program an address as the kernel does: `cap` bytes of room at `addr`, the whole length
 * at `lenp`. 0, -EINVAL, -EFAULT. */
int sockname_store(struct task *t, u64 addr, u64 lenp, int cap, const char *path);

/* Remembers that a socket bound to `real` shall be called `said`. A bounded table: the oldest go
 * first. */
void sockname_remember(const char *real, const char *said);
/* What the program that bound `real` called it, or NULL. */
const char *sockname_said(const char *real);

/* Makes a symlink to `target` with a short path, in a private directory outside every layer:
 * 0, -errno. */
int sockname_alias(const struct session *s, const char *target, char *buf, size_t cap);
/* The same for a socket itself, of which `fd` is an O_PATH descriptor, where the way to it is
 * closed to the program: one more name for it, in that directory or, where that lies on another
 * filesystem, in the work directory (which only the session's own user can enter). */
int sockname_alias_fd(const struct session *s, int fd, char *buf, size_t cap);
void sockname_unalias(const char *alias);
/* At the end of the session: the directory goes. */
void sockname_fini(void);

#endif
