#include "tracer/options.h"
#include "tracer/config.h"
#include "tracer/container.h"
#include "tracer/log.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef FUSS_VERSION
#define FUSS_VERSION "0.1.0"
#endif

static const char help[] =
    "Usage: fuss --mountpoint=DIR --lowerdir=DIR[:DIR...] [--upperdir=DIR] [OPTION...] -- "
    "COMMAND [ARGUMENT...]\n"
    "\n"
    "Runs COMMAND, and everything it starts, with DIR shown as one directory made of the lower\n"
    "layers and the upper. Changes land in the upper; a lower layer is never modified.\n"
    "\n"
    "  --mountpoint=DIR          where the union appears; it need not exist\n"
    "  --lowerdir=DIR[:DIR...]   read-only layers, the leftmost on top (\\: is a colon in a name)\n"
    "  --upperdir=DIR            where changes go; made when its parent exists. Without it the\n"
    "                            union is read-only\n"
    "  --image=IMAGE             oci:DIR[:TAG] or docker-archive:FILE: its layers are the lowers,\n"
    "                            and its config the command's, unless one is given\n"
    "  --entrypoint=PROGRAM      instead of the image's own (empty: none)\n"
    "  --workdir=DIR             private scratch on the upper's filesystem; made when its parent\n"
    "                            exists (default: hidden in the upper, removed at the end)\n"
    "  --whiteout=STYLE          how removals are written: fileprefix (.wh.NAME, the default) or\n"
    "                            chardev (0/0 devices and xattrs, as kernel overlayfs)\n"
    "  --read-wh                 with chardev: understand .wh. names in the layers too\n"
    "  --backend=NAME            hybrid (default) or ptrace, which leaves the programs alone\n"
    "  --shim=WAY                inject (auto, the default): a program that asks often is given\n"
    "                            a shim, by which it looks names up itself; none: it is not\n"
    "  -b, --bind=HOST[:PATH]    show HOST, a file or directory, at PATH (default: at its own), "
    "which\n"
    "                            lies below the mountpoint; may be said again\n"
    "  --ro-bind=HOST[:PATH]     the same, and nothing of it can be changed\n"
    "  --hide=PATH               show nothing at PATH\n"
    "  --no-default-binds        mountpoint /: without /proc, /sys, /dev, /etc/hosts and\n"
    "                            /etc/resolv.conf of the host\n"
    "  -w, --cwd=DIR             begin in DIR, as the union shows it\n"
    "  --env=NAME=VALUE          set NAME for the command (may be said again)\n"
    "  --clear-env               the command gets nothing of the environment but --env\n"
    "  -0, --fake-root           the command believes to be root: what it does to owners, modes "
    "and\n"
    "                            devices is written down, and shown so (root: is root anyway)\n"
    "  -i, --fake-id=UID[:GID]   the same with other ids (root: the command gets them)\n"
    "  --no-guard                let the program write to the layers by their own paths\n"
    "  --kill-leftovers          end background processes when the command ends\n"
    "  --log-file=FILE           append the log to FILE instead of standard error\n"
    "  --help, --version\n"
    "\n"
    "~/.fuss may hold mountpoint, upperdir, lowerdir and whiteout as YAML; a flag overrides its "
    "key.\n"
    "FUSS_LOG_LEVEL=intercept logs every intercepted call, debug (or FUSS_DEBUG=1) everything.\n"
    "\n"
    "Exit status: the command's; 128 + the signal that ended it; 126 it cannot be run; 127 not\n"
    "found; 125 fuss itself failed; 2 wrong usage.\n";

static void speak(const char *format, va_list ap)
{
    char line[3 * PATH_MAX] = "fuss: ";
    size_t n = strlen(line);
    int more = vsnprintf(line + n, sizeof(line) - n - 1, format, ap);
    n = min_size(n + (size_t)(more > 0 ? more : 0), sizeof(line) - 2);
    for (size_t i = 0; i < n; i++) {
        if (line[i] == '\n')
            line[i] = ' ';
    }
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        return;
}

void say(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    speak(format, ap);
    va_end(ap);
}

void die(int status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    speak(format, ap);
    va_end(ap);
    exit(status);
}

static void *need(void *p)
{
    if (!p)
        die(EXIT_FUSS, "out of memory: cannot start; free some memory and try again");
    return p;
}

void options_add_lower(struct options *o, const char *dir, const char *where)
{
    if (!dir[0])
        die(EXIT_USAGE,
            "%s: an empty directory name; remove the stray colon, or write . for the "
            "current directory",
            where);
    if (o->nlowers >= LAYERS_MAX - 1)
        die(EXIT_FUSS, "%s: more than %d layers; merge some of them", where, LAYERS_MAX - 1);
    o->lowerdir[o->nlowers++] = need(strdup(dir));
}

/* "A:B\:C": a colon separates, "\:" is a colon and "\\" a backslash inside a name. */
void options_set_lowers(struct options *o, const char *text, const char *where)
{
    char *dir = need(malloc(strlen(text) + 1));
    size_t n = 0;
    o->nlowers = 0;
    for (;; text++) {
        if (text[0] == '\\' && (text[1] == ':' || text[1] == '\\')) {
            dir[n++] = *++text;
        } else if (text[0] == ':' || text[0] == '\0') {
            dir[n] = '\0';
            n = 0;
            options_add_lower(o, dir, where);
            if (!text[0])
                break;
        } else {
            dir[n++] = text[0];
        }
    }
    free(dir);
}

void options_set_style(struct options *o, const char *word, const char *where)
{
    if (strcmp(word, "fileprefix") == 0)
        o->style = STYLE_FILEPREFIX;
    else if (strcmp(word, "chardev") == 0)
        o->style = STYLE_CHARDEV;
    else
        die(EXIT_USAGE, "%s: unknown whiteout style '%s'; use fileprefix or chardev", where, word);
}

static void set_backend(struct options *o, const char *word)
{
    if (strcmp(word, "hybrid") != 0 && strcmp(word, "ptrace") != 0)
        die(EXIT_USAGE, "--backend: unknown backend '%s'; use hybrid or ptrace", word);
    o->only_ptrace = strcmp(word, "ptrace") == 0;
}

static void set_shim(struct options *o, const char *word)
{
    if (strcmp(word, "auto") != 0 && strcmp(word, "inject") != 0 && strcmp(word, "none") != 0)
        die(EXIT_USAGE, "--shim: unknown way '%s'; use auto, inject or none", word);
    o->shim = strcmp(word, "none") != 0;
}

static void add_env(struct options *o, const char *word)
{
    const char *equals = strchr(word, '=');
    if (!equals || equals == word)
        die(EXIT_USAGE, "--env: no NAME=VALUE: '%s'; write --env=NAME=VALUE", word);
    o->env = need(realloc(o->env, (o->nenv + 1) * sizeof(*o->env)));
    o->env[o->nenv++] = word;
}

/* "HOST:PATH", with escapes as in --lowerdir. */
static void add_bind(struct options *o, const char *flag, const char *text, bool read_only)
{
    char *host = need(malloc(strlen(text) + 1)), *to = host, *guest = NULL;
    for (; *text; text++) {
        if (text[0] == '\\' && (text[1] == ':' || text[1] == '\\')) {
            *to++ = *++text;
        } else if (*text == ':') {
            if (guest)
                die(EXIT_USAGE,
                    "%s: more than one colon; write HOST or HOST:PATH, and \\: for a "
                    "colon in a name",
                    flag);
            *to++ = '\0';
            guest = to;
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
    if (!host[0] || (guest && !guest[0]))
        die(EXIT_USAGE, "%s: an empty name; write HOST or HOST:PATH", flag);
    o->bind = need(realloc(o->bind, (o->nbinds + 1) * sizeof(*o->bind)));
    o->bind[o->nbinds++] =
        (struct bind_option){.host = host, .guest = guest, .read_only = read_only};
}

static void add_hidden(struct options *o, const char *path)
{
    if (path[0] != '/')
        die(EXIT_USAGE, "--hide: not an absolute path: '%s'; write it as the command shall see it",
            path);
    o->bind = need(realloc(o->bind, (o->nbinds + 1) * sizeof(*o->bind)));
    o->bind[o->nbinds++] = (struct bind_option){.host = path, .hidden = true};
}

void options_be(struct options *o, uid_t uid, gid_t gid)
{
    bool root = geteuid() == 0;
    o->id_said = true;
    o->fake = !root && (uid != geteuid() || gid != getegid());
    o->run_as = root && (uid != 0 || gid != getegid());
    o->fake_uid = o->run_uid = uid;
    o->fake_gid = o->run_gid = gid;
}

static void be_id(struct options *o, const char *word)
{
    char *end;
    unsigned long uid, gid;
    errno = 0;
    uid = gid = strtoul(word, &end, 10);
    bool right = word[0] >= '0' && word[0] <= '9';
    if (right && *end == ':') {
        word = end + 1;
        gid = strtoul(word, &end, 10);
        right = word[0] >= '0' && word[0] <= '9';
    }
    if (!right || *end || errno || uid >= UINT32_MAX || gid >= UINT32_MAX)
        die(EXIT_USAGE, "--fake-id: not numbers of a user and a group: '%s'; write UID or UID:GID",
            optarg);
    options_be(o, (uid_t)uid, (gid_t)gid);
}

static void set_directory(struct options *o, const char *dir)
{
    if (!dir[0])
        die(EXIT_USAGE, "-w: an empty name; name a directory, or leave the flag out");
    o->directory = dir;
}

enum flag {
    F_MOUNTPOINT = 256,
    F_LOWERDIR,
    F_UPPERDIR,
    F_WORKDIR,
    F_WHITEOUT,
    F_BACKEND,
    F_SHIM,
    F_LOG_FILE,
    F_NO_GUARD,
    F_READ_WH,
    F_KILL_LEFTOVERS,
    F_ENV,
    F_CLEAR_ENV,
    F_IMAGE,
    F_ENTRYPOINT,
    F_RO_BIND,
    F_HIDE,
    F_NO_DEFAULT_BINDS,
    F_HELP,
    F_VERSION,
};

static const struct option flags[] = {
    {"mountpoint", required_argument, NULL, F_MOUNTPOINT},
    {"lowerdir", required_argument, NULL, F_LOWERDIR},
    {"upperdir", required_argument, NULL, F_UPPERDIR},
    {"workdir", required_argument, NULL, F_WORKDIR},
    {"whiteout", required_argument, NULL, F_WHITEOUT},
    {"backend", required_argument, NULL, F_BACKEND},
    {"shim", required_argument, NULL, F_SHIM},
    {"log-file", required_argument, NULL, F_LOG_FILE},
    {"no-guard", no_argument, NULL, F_NO_GUARD},
    {"read-wh", no_argument, NULL, F_READ_WH},
    {"kill-leftovers", no_argument, NULL, F_KILL_LEFTOVERS},
    {"bind", required_argument, NULL, 'b'},
    {"ro-bind", required_argument, NULL, F_RO_BIND},
    {"hide", required_argument, NULL, F_HIDE},
    {"no-default-binds", no_argument, NULL, F_NO_DEFAULT_BINDS},
    {"cwd", required_argument, NULL, 'w'},
    {"env", required_argument, NULL, F_ENV},
    {"clear-env", no_argument, NULL, F_CLEAR_ENV},
    {"image", required_argument, NULL, F_IMAGE},
    {"entrypoint", required_argument, NULL, F_ENTRYPOINT},
    {"fake-root", no_argument, NULL, '0'},
    {"fake-id", required_argument, NULL, 'i'},
    {"help", no_argument, NULL, F_HELP},
    {"version", no_argument, NULL, F_VERSION},
    {NULL, 0, NULL, 0},
};

static void put(const char *text)
{
    if (fputs(text, stdout) < 0 || fflush(stdout) != 0)
        exit(EXIT_FUSS);
    exit(0);
}

static void take(struct options *o, int flag, const char *said)
{
    switch (flag) {
    case F_MOUNTPOINT:
        o->mountpoint = optarg;
        break;
    case F_LOWERDIR:
        options_set_lowers(o, optarg, "--lowerdir");
        break;
    case F_UPPERDIR:
        o->upperdir = optarg;
        break;
    case F_WORKDIR:
        o->workdir = optarg;
        break;
    case F_WHITEOUT:
        options_set_style(o, optarg, "--whiteout");
        break;
    case F_BACKEND:
        set_backend(o, optarg);
        break;
    case F_SHIM:
        set_shim(o, optarg);
        break;
    case F_LOG_FILE:
        o->log_file = optarg;
        break;
    case F_NO_GUARD:
        o->guard = false;
        break;
    case F_READ_WH:
        o->read_wh = true;
        break;
    case F_KILL_LEFTOVERS:
        o->kill_leftovers = true;
        break;
    case 'b':
        add_bind(o, "--bind", optarg, false);
        break;
    case F_RO_BIND:
        add_bind(o, "--ro-bind", optarg, true);
        break;
    case F_HIDE:
        add_hidden(o, optarg);
        break;
    case F_NO_DEFAULT_BINDS:
        o->no_default_binds = true;
        break;
    case 'w':
        set_directory(o, optarg);
        break;
    case '0':
        options_be(o, 0, 0);
        break;
    case 'i':
        be_id(o, optarg);
        break;
    case F_ENV:
        add_env(o, optarg);
        break;
    case F_CLEAR_ENV:
        o->clear_env = true;
        break;
    case F_IMAGE:
        o->image = optarg;
        break;
    case F_ENTRYPOINT:
        o->entrypoint = optarg;
        break;
    case F_HELP:
        put(help);
        break;
    case F_VERSION:
        put("fuss " FUSS_VERSION "\n");
        break;
    case ':':
        die(EXIT_USAGE, "%s: needs a value; write %s%sVALUE", said, said,
            said[0] && said[1] == '-' ? "=" : " ");
        break;
    default:
        die(EXIT_USAGE, "%s: unknown or misused flag; see fuss --help", said);
    }
}

/* --help and --version answer even where ~/.fuss or another flag is wrong. */
static void answer_questions(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0)
            put(help);
        if (strcmp(argv[i], "--version") == 0)
            put("fuss " FUSS_VERSION "\n");
        if (argv[i][0] != '-')
            break;
    }
}

static void read_environment(void)
{
    const char *level = getenv("FUSS_LOG_LEVEL");
    const char *debug = getenv("FUSS_DEBUG");
    if (level && strcmp(level, "intercept") == 0)
        log_level = LOG_INTERCEPT;
    else if (level && strcmp(level, "debug") == 0)
        log_level = LOG_DEBUG;
    else if (level && level[0] && strcmp(level, "none") != 0)
        die(EXIT_USAGE, "FUSS_LOG_LEVEL: unknown level '%s'; use intercept or debug, or unset it",
            level);
    if (debug && strcmp(debug, "1") == 0)
        log_level = LOG_DEBUG;
}

void options_read(struct options *o, int argc, char **argv)
{
    memset(o, 0, sizeof(*o));
    o->guard = o->shim = true;
    answer_questions(argc, argv);
    read_environment();
    config_read(o);
    struct options file = *o;
    opterr = 0;
    for (;;) {
        const char *said = optind < argc ? argv[optind] : "";
        int flag = getopt_long(argc, argv, "+:b:w:0i:", flags, NULL);
        if (flag < 0)
            break;
        take(o, flag, said);
    }
    o->command = argv + optind;
    container_apply(o, &file);
    if (!o->mountpoint || !o->mountpoint[0])
        die(EXIT_USAGE, "no mountpoint: nowhere to show the union; add --mountpoint=DIR");
    if (!o->nlowers)
        die(EXIT_USAGE, "no lowerdir: nothing to show; add --lowerdir=DIR[:DIR...]");
    if (o->upperdir && !o->upperdir[0])
        die(EXIT_USAGE, "--upperdir: an empty name; name a directory, or leave the flag out for a "
                        "read-only union");
    if (o->workdir && !o->upperdir)
        die(EXIT_USAGE, "--workdir: of no use without an upper; add --upperdir=DIR");
    if (!o->command[0])
        die(EXIT_USAGE, "no command: nothing to run; add -- COMMAND [ARGUMENT...]");
}
