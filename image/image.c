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
#include <unistd.h>

enum { STATUS_USAGE = 2, STATUS_FAILED = 125 };

static int place = -1;             /* the directory that DEST will lie in */
static char unfinished[64];        /* what is made there; empty = nothing */
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

void image_fail(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    speak(format, ap);
    va_end(ap);
    if (*unfinished)
        place_remove(place, unfinished);
    exit(STATUS_FAILED);
}

static _Noreturn void __attribute__((format(printf, 1, 2))) usage(const char *format, ...)
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

void image_check_stop(void)
{
    if (stop)
        image_fail("interrupted: nothing was left behind");
}

/* A directory beside DEST, private until its last step. */
static int begin(const char *dest)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(dest, '/');
    int len = slash ? (int)(slash - dest) : 0;
    struct stat st;
    if (!lstat(dest, &st))
        image_fail("%s exists already: name a directory that is to be made", dest);
    if (snprintf(parent, sizeof(parent), "%.*s%s", len, dest,
                 !slash ? "."
                 : len  ? ""
                        : "/") >= (int)sizeof(parent))
        image_fail("%s: %s", dest, strerror(ENAMETOOLONG));
    place = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place < 0)
        image_fail("%s: %s", parent, strerror(errno));
    snprintf(unfinished, sizeof(unfinished), ".fuss-unpack.%ld", (long)getpid());
    if (mkdirat(place, unfinished, 0700)) {
        int err = errno;
        *unfinished = 0;
        image_fail("%s: cannot make a directory there: %s", parent, strerror(err));
    }
    int fd = place_open(place, unfinished, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        image_fail("%s: %s", parent, strerror(-fd));
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

static void unpack(const char *source, char *dest, enum image_style style)
{
    static struct image im;
    bool terminal = isatty(STDERR_FILENO);
    size_t len = strlen(dest);
    const char *slash;
    int dir;
    while (len > 1 && dest[len - 1] == '/')
        dest[--len] = 0;
    image_open(&im, source);
    dir = begin(dest);
    for (unsigned n = 0; n < im.nlayers; n++) {
        char name[32];
        int fd;
        if (terminal) {
            fprintf(stderr, "\r\033[Kfuss: layer %u of %u", n + 1, im.nlayers);
            progress = true;
        }
        layer_name(&im, n, name);
        fd = mkdirat(dir, name, 0755) ? -errno : place_open(dir, name, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
            image_fail("%s: %s", name, strerror(-fd));
        image_layer_unpack(&im, n, fd, style);
        close(fd);
    }
    write_config(&im, dir);
    slash = strrchr(dest, '/');
    image_check_stop();
    if (renameat2(place, unfinished, place, slash ? slash + 1 : dest, RENAME_NOREPLACE))
        image_fail("%s: %s", dest, strerror(errno));
    *unfinished = 0;
    if (progress)
        fputs("\r\033[K", stderr);
    progress = false;
    print_lowers(&im, dest);
}

static const char hint[] =
    "fuss image unpack [--whiteout=fileprefix|chardev] (oci:DIR[:TAG] | docker-archive:FILE) DEST";

int image_main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_stop};
    enum image_style style = IMAGE_FILEPREFIX;
    int i = 2;
    if (argc < 2 || strcmp(argv[1], "unpack") != 0)
        usage("usage: %s", hint);
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        if (!strcmp(argv[i], "--whiteout=chardev"))
            style = IMAGE_CHARDEV;
        else if (!strcmp(argv[i], "--whiteout=fileprefix"))
            style = IMAGE_FILEPREFIX;
        else
            usage("%s: unknown; usage: %s", argv[i], hint);
    }
    if (argc - i != 2 || !*argv[i + 1])
        usage("usage: %s", hint);
    if (strncmp(argv[i], "oci:", 4) != 0 && strncmp(argv[i], "docker-archive:", 15) != 0)
        usage("%s: neither oci:DIR[:TAG] nor docker-archive:FILE", argv[i]);
    umask(0);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    unpack(argv[i], argv[i + 1], style);
    return 0;
}
