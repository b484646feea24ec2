/* The command line and ~/.fuss, and how fuss speaks to its user: one line per error. */
#ifndef FUSS_TRACER_OPTIONS_H
#define FUSS_TRACER_OPTIONS_H

#include "session.h"

#define EXIT_USAGE     2
#define EXIT_FUSS      125
#define EXIT_CANNOT    126
#define EXIT_NOT_FOUND 127

struct bind_option {
    const char *host, *guest; /* guest NULL: the same path */
    bool read_only, hidden;
};

struct options {
    const char *mountpoint;
    const char *upperdir;             /* NULL = a read-only union */
    const char *workdir;              /* NULL = hidden in the upper */
    const char *lowerdir[LAYERS_MAX]; /* as said, escapes undone */
    unsigned nlowers;
    enum marker_style style;
    const char *log_file;
    bool guard, read_wh, kill_leftovers;
    bool only_ptrace;      /* --backend=ptrace */
    bool shim;             /* otherwise: programs that ask often are given one */
    const char *directory; /* -w, where the command begins, as the union shows it; NULL = here */
    const char **env;      /* --env, K=V each, in the order said */
    unsigned nenv;
    bool id_said; /* --fake-root or --fake-id */
    bool fake;    /* the command believes to be fake_uid, fake_gid */
    uid_t fake_uid;
    gid_t fake_gid;
    bool run_as; /* root's command becomes run_uid, run_gid */
    uid_t run_uid;
    gid_t run_gid;
    const char *image;      /* --image; NULL = none */
    const char *entrypoint; /* --entrypoint; NULL = the image's own */
    bool clear_env;         /* nothing of fuss's own environment but those */
    struct bind_option *bind;
    unsigned nbinds;
    bool no_default_binds;
    char **command;
};

/* One line "fuss: ..." on standard error; a newline inside is made a space. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, then the end of this process. */
_Noreturn void die(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Fills o from ~/.fuss and the command line; a mistake ends the process with status 2. Strings
 * live as long as the process. */
void options_read(struct options *o, int argc, char **argv);

/* The command is to be this user: really where fuss is root's, else it believes so. */
void options_be(struct options *o, uid_t uid, gid_t gid);

/* For config.c. `where` names the source of the value in messages. */
void options_set_lowers(struct options *o, const char *text, const char *where);
void options_add_lower(struct options *o, const char *dir, const char *where);
void options_set_style(struct options *o, const char *word, const char *where);

#endif
