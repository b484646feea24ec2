/* Files that are to be executed: judged, opened, read. */
#ifndef FUSS_TRACER_EXECFILE_H
#define FUSS_TRACER_EXECFILE_H

#include "tracer/loader.h"
#include "vfs/walk.h"

/* One line of ours in the program's standard error. */
void execfile_complain(const char *path, const char *why);
/* Judges a file of the union as exec does, and says its real path. 0 or -errno. */
int execfile_check(struct caller *who, struct place *p, char *real, size_t cap);
/* Opens what `fd` names (or what lies at `p`) for reading; never a fifo or a device. -EPERM and a
 * line of complaint where it may be executed and not read. The caller closes it. */
int execfile_open_fd(int fd, const char *name, struct stat *st);
int execfile_open(const struct place *p, const char *name, struct stat *st);
/* True where a writer has the script open: the kernel, which never runs the script itself now,
 * would refuse (ETXTBSY). Nobody can tell before Linux 6.14. */
bool execfile_busy(int fd);
/* What is known of the loader at `p`, or of the host's at `path` with this stat: 0, or -ENOEXEC
 * where it cannot be exchanged; -EPERM as above. */
int execfile_loader(const struct place *p, const char *name, struct loader *out);
int execfile_host_loader(const char *path, const struct stat *st, struct loader *out);

#endif
