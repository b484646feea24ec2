/* `fuss image`: the command line, and that what it makes appears complete or not at all. */
#include "image/image.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { STATUS_USAGE = 2, STATUS_FAILED = 125 };

struct made { /* to be taken away where the work fails */
    struct made *next;
    int dir;
    char name[];
};

static struct made *made;          /* the newest first */
static bool progress;              /* a line of it stands on the terminal */
static volatile sig_atomic_t stop; /* the signal that asks for the end */

static void speak(const char *format, va_list ap)
{
    char line[1024];
    vsnprintf(line, sizeof(line), format, ap);
    /* Names of an archive may hold anything. */
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    fprintf(stderr, "%sfuss: %s\n", progress ? "\r\033[K" : "", line);
    progress = false;
}

void image_made(int dir, const char *name)
{
    size_t len = strlen(name) + 1;
    struct made *m = malloc(sizeof(*m) + len);
    if (!m) {
        place_remove(dir, name);
        image_fail("out of memory");
    }
    m->dir = dir;
    memcpy(m->name, name, len);
    m->next = made;
    made = m;
}

void image_keep(void)
{
    while (made) {
        struct made *m = made;
        made = m->next;
        free(m);
    }
}

static void image_undo(void)
{
    for (struct made *m = made; m; m = m->next)
        place_remove(m->dir, m->name);
    image_keep();
}

void image_fail(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    speak(format, ap);
    va_end(ap);
    image_undo();
    exit(STATUS_FAILED);
}

void image_usage(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    speak(format, ap);
    va_end(ap);
    exit(STATUS_USAGE);
}

static void on_stop(int sig)
{
    stop = sig;
}

void image_signals(bool ours)
{
    static const int sigs[] = {SIGINT, SIGTERM, SIGHUP};
    static struct sigaction was[sizeof(sigs) / sizeof(*sigs)];
    const struct sigaction sa = {.sa_handler = on_stop};
    for (size_t i = 0; i < sizeof(sigs) / sizeof(*sigs); i++) {
        if (ours)
            sigaction(sigs[i], &sa, &was[i]);
        else
            sigaction(sigs[i], &was[i], NULL);
    }
    if (!ours)
        image_check_stop();
}

void image_check_stop(void)
{
    if (stop)
        image_fail("interrupted: nothing was left behind");
}

int image_beside(const char *path, const char **base)
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];
    int len = !slash ? 0 : slash == path ? 1 : (int)(slash - path), fd;
    if (snprintf(parent, sizeof(parent), "%.*s", len ? len : 1, len ? path : ".") >=
        (int)sizeof(parent))
        image_fail("%s: %s", path, strerror(ENAMETOOLONG));
    fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        image_fail("%s: %s", parent, strerror(errno));
    *base = slash ? slash + 1 : path;
    if (!**base || !strcmp(*base, ".") || !strcmp(*base, ".."))
        image_fail("%s: name what is to be made", path);
    return fd;
}

int image_begin(int dir, char name[64])
{
    int fd;
    snprintf(name, 64, ".fuss-image.%ld", (long)getpid());
    if (mkdirat(dir, name, 0700))
        image_fail("cannot make a directory there: %s", strerror(errno));
    image_made(dir, name);
    fd = place_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        image_fail("%s: %s", name, strerror(-fd));
    /* What is made in there has its own access lists alone. */
    fremovexattr(fd, "system.posix_acl_default");
    return fd;
}

static void write_config(const struct image *im, int dir)
{
    int fd = place_open(dir, "config.json", O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0 || write(fd, im->config, im->config_len) != (ssize_t)im->config_len || close(fd))
        image_fail("config.json cannot be written: %s", strerror(errno));
}

/* "01-<12 digits of the digest>": sorted, the lowest first. */
static void layer_name(const struct image *im, unsigned n, char name[32])
{
    snprintf(name, 32, "%03u-%.12s", n + 1, im->layer[n].diff_id + 7);
}

/* The layers as --lowerdir takes them, the topmost first. */
static void print_lowers(const struct image *im, const char *dest)
{
    char *real = realpath(dest, NULL), name[32];
    if (!real)
        image_fail("%s: %s", dest, strerror(errno));
    for (unsigned n = im->nlayers; n-- > 0;) {
        for (const char *c = real; *c; c++) {
            if (*c == ':' || *c == '\\')
                putchar('\\');
            putchar(*c);
        }
        layer_name(im, n, name);
        printf("/%s%c", name, n ? ':' : '\n');
    }
    free(real);
    if (fflush(stdout))
        image_fail("the layers' names cannot be written: %s", strerror(errno));
}

void image_progress(unsigned n, unsigned of)
{
    if (n && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[Kfuss: layer %u of %u", n, of);
        progress = true;
    } else if (progress) {
        fputs("\r\033[K", stderr);
        progress = false;
    }
}

static void unpack_layers(const struct image *im, int dir, enum image_style style)
{
    for (unsigned n = 0; n < im->nlayers; n++) {
        char name[32];
        int fd;
        image_progress(n + 1, im->nlayers);
        layer_name(im, n, name);
        fd = mkdirat(dir, name, 0755) ? -errno : place_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
            image_fail("%s: %s", name, strerror(-fd));
        image_layer_unpack(im, n, fd, style);
        close(fd);
    }
    image_progress(0, 0);
}

static void unpack(const char *source, char *dest, enum image_style style)
{
    static struct image im;
    size_t len = strlen(dest);
    char unfinished[64];
    const char *base;
    struct stat st;
    int dir, place;
    while (len > 1 && dest[len - 1] == '/')
        dest[--len] = 0;
    image_open(&im, source);
    if (!lstat(dest, &st))
        image_fail("%s exists already: name a directory that is to be made", dest);
    place = image_beside(dest, &base);
    dir = image_begin(place, unfinished);
    unpack_layers(&im, dir, style);
    write_config(&im, dir);
    image_check_stop();
    if (renameat2(place, unfinished, place, base, RENAME_NOREPLACE))
        image_fail("%s: %s", dest, strerror(errno));
    image_keep();
    print_lowers(&im, dest);
}

static const char hint[] = "usage: fuss image unpack [--whiteout=fileprefix|chardev] "
                           "(oci:DIR[:TAG] | docker-archive:FILE) DEST; or: fuss image export";

static int unpack_main(int argc, char **argv)
{
    enum image_style style = IMAGE_FILEPREFIX;
    int i = 1;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--whiteout=chardev"))
            style = IMAGE_CHARDEV;
        else if (!strcmp(argv[i], "--whiteout=fileprefix"))
            style = IMAGE_FILEPREFIX;
        else
            image_usage("%s: unknown; %s", argv[i], hint);
    }
    if (argc - i != 2 || !*argv[i + 1])
        image_usage("%s", hint);
    if (strncmp(argv[i], "oci:", 4) != 0 && strncmp(argv[i], "docker-archive:", 15) != 0)
        image_usage("%s: neither oci:DIR[:TAG] nor docker-archive:FILE", argv[i]);
    umask(0); /* the archive says the modes */
    unpack(argv[i], argv[i + 1], style);
    return 0;
}

int image_main(int argc, char **argv)
{
    image_signals(true);
    if (argc > 1 && !strcmp(argv[1], "unpack"))
        return unpack_main(argc - 1, argv + 1);
    if (argc > 1 && !strcmp(argv[1], "export"))
        return export_main(argc - 1, argv + 1);
    image_usage("%s", hint);
}
