/* What the operations on descriptors and on names share. */
#ifndef FUSS_FUZZ_OPS_H
#define FUSS_FUZZ_OPS_H

#include "actor.h"

#include <time.h>

/* A name as the *at calls take it. */
struct at {
    int dirfd;
    char path[PATH_SIZE];
};

/* Identity across an operation. Lower hard links with more names are left out: the kernel gives
 * the copied-up name a new number. */
struct watch {
    bool on;
    struct ident id;
};

/* gen.c */
void gen_at(struct at *a);
bool look(const struct at *a, struct stat *st);
void watch_begin(struct watch *w, const struct at *a);
void watch_end(const struct watch *w, const struct at *a, bool emulated);
void maybe_say_after(const struct at *a);
mode_t gen_mode(void);
mode_t gen_dir_mode(void);
uid_t gen_owner(void);
gid_t gen_group(void);
void gen_times(struct timespec t[2]);
const char *gen_xattr_name(void);
struct slot *pick(int first, int count);
struct slot *pick_any(void);

/* ops_fd.c, ops_name.c */
void spare_removed(const struct slot *s);
void op_open(void);
void op_opendir(void);
void op_openat2(void);
void op_close(void);
void op_dup(void);
void op_read(void);
void op_content(void);
void op_write(void);
void op_lseek(void);
void op_fstat(void);
void op_fchmod(void);
void op_fchown(void);
void op_ftruncate(void);
void op_fallocate(void);
void op_futimens(void);
void op_fxattr(void);
void op_list(void);
void op_fchdir(void);
void op_procfd(void);
void op_child(void);
void op_stat(void);
void op_access(void);
void op_mkdir(void);
void op_rmdir(void);
void op_unlink(void);
void op_rmtree(void);
void op_plant(void);
void op_rename(void);
void op_link(void);
void op_linkfd(void);
void op_symlink(void);
void op_mknod(void);
void op_socket(void);
void op_chmod(void);
void op_chown(void);
void op_utimens(void);
void op_truncate(void);
void op_xattr(void);
void op_readlink(void);
void op_listpath(void);
void op_readfile(void);
void op_chdir(void);
void op_getcwd(void);
void op_umask(void);

#endif
