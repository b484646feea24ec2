/* The fuzzer's actor: random filesystem operations below one directory, one trace line each.
 *
 * Every operation is derived from (seed, operation number) alone, never from earlier results, so
 * a subset of the operations can be replayed by number: that is how a failure is shrunk. */
#ifndef FUSS_FUZZ_ACTOR_H
#define FUSS_FUZZ_ACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define PATH_SIZE  4200
#define FILE_SLOTS 5 /* slots 0..4 hold files */
#define DIR_SLOTS  3 /* slots 5..7 hold directories */
#define SLOTS      (FILE_SLOTS + DIR_SLOTS)
#define MAX_MOVES  512

struct ident {
    dev_t dev;
    ino_t ino;
};

struct slot {
    int fd; /* -1: empty */
    struct ident id;
};

/* A directory that the emulation replaced by a copy under another name. */
struct move {
    struct ident from;
    struct ident to;
    char path[256], old[256];
};

/* Shared by the processes of one run. */
struct shared {
    unsigned moves;
    struct move move[MAX_MOVES];
    bool emulation_failed;
};

struct actor {
    const char *root; /* absolute, no trailing slash */
    size_t root_len;
    const char *self; /* this program */
    uint64_t seed;
    uint64_t rng;
    unsigned long op;
    bool user;    /* no privileges: leave out what user namespaces answer differently */
    bool emulate; /* do by copying what the kernel refuses with EXDEV */
    bool debug;   /* print the lookups that choose paths */
    bool drop;    /* became an ordinary user, with a saved uid of 0 */
    dev_t root_dev;
    struct slot slot[SLOTS];
    struct ident cwd;
    unsigned moves_seen;
    struct shared *shared;
};

extern struct actor act;

/* actor.c */
uint32_t rnd(uint32_t n);
bool chance(uint32_t percent);
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_path(const char *path);
void say_errno(int err);
void say_result(long ret);
void gen_path(char *buf);
void gen_cwd_path(char *buf);
void gen_plain(char *buf);
void gen_target(char *buf);

/* ops.c */
void run_one_op(void);
void settle_cwd(void);
void look_around(int fd);

/* facts.c */
uint64_t hash_bytes(uint64_t h, const void *data, size_t len);
struct ident ident_of(const struct stat *st);
bool same_ident(struct ident a, struct ident b);
void say_stat(const struct stat *st);
void say_listing(int fd, bool check_inodes);
void say_listing_libc(const char *path);
void say_content(int fd);
void say_xattrs(const char *path, int fd, bool follow);
int walk(const char *root, const char *skip);

/* emulate.c */
int emulate_rename(int olddir, const char *old, int newdir, const char *new, unsigned flags);
void follow_moves(void);
void leave_upwards(int dirfd, const char *path);
void left_name(const char *text);

#endif
