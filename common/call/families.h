/* The functions that serve table rows, one per enum call_handler, for call.c only. */
#ifndef FUSS_CALL_FAMILIES_H
#define FUSS_CALL_FAMILIES_H

#include "call/call.h"

/* open.c */
void call_open(struct call *c);
void call_openat2(struct call *c);
void call_open_settle(struct call *c, long result);
/* stat.c */
void call_stat(struct call *c);
void call_statx(struct call *c);
/* of an object outside, with fake ids */
void call_stat_settle(struct call *c, long result);
void call_access(struct call *c);
void call_statfs(struct call *c);
/* link text and working directory: cwd.c */
void call_readlink(struct call *c);
void call_chdir(struct call *c);
void call_fchdir(struct call *c);
void call_chdir_settle(struct call *c, long result);
void call_getcwd(struct call *c);
void call_chroot(struct call *c);
/* attr.c */
void call_chmod(struct call *c);
void call_chown(struct call *c);
void call_utimes(struct call *c);
void call_truncate(struct call *c);
void call_file_attr(struct call *c);
void call_ioctl(struct call *c);
/* xattr.c */
void call_getxattr(struct call *c);
void call_listxattr(struct call *c);
void call_setxattr(struct call *c);
void call_removexattr(struct call *c);
/* name.c */
void call_mkdir(struct call *c);
void call_mknod(struct call *c);
void call_symlink(struct call *c);
void call_unlink(struct call *c);
void call_rename(struct call *c);
void call_link(struct call *c);
/* dir.c */
void call_getdents(struct call *c);
/* deep.c: a call that ended with ENAMETOOLONG, where the kernel may be asked instead */
void call_deep(struct call *c);
/* other.c */
void call_watch(struct call *c);
void call_mount(struct call *c);
void call_handle(struct call *c);
void call_path_read(struct call *c);
void call_path_write(struct call *c);

/* Shared by the families that change an object by path or descriptor. */
enum change_target {
    CHANGE_DONE,  /* the call is decided (an error, or passed) */
    CHANGE_PLACE, /* c->place is an object of the union that may be changed */
};
enum change_target call_target(struct call *c, unsigned walk_flags);
/* True where the descriptor c->fd is no more than a place (O_PATH), or is not open. */
bool call_fd_is_path(struct call *c);
/* Where c->place is /proc/self/fd/N of a removed lower object, names it by N. */
void call_name_by_fd(struct call *c);
/* A single name in a directory that was removed: its walk ended there. */
bool call_in_removed(const struct place *p, const char *said);
/* c->place is a removed lower object named by descriptor: true where it had been copied up, and
 * that copy is known still. c->place.node.st is then what it shows. */
bool call_remains(struct call *c);
/* With fake ids: an object of the upper at c->place, which the caller may open, lets its owner in.
 */
void call_let_in(struct call *c);
/* vfs_ops.grab of c->place, or of what remains of it. */
int call_grab(struct call *c);
/* Copies c->place up and opens its upper copy: an O_PATH descriptor or -errno. */
int call_grab_upper(struct call *c, u64 size_hint);

#endif
