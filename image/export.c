/* `fuss image export`: the command line, and a layer as one tar. */
#include "image/layout.h"
#include "image/upper.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char hint[] =
    "usage: fuss image export --upperdir=U [--lowerdir=L:...] [--owner=UID:GID] "
    "(--tar=FILE | --oci=DIR[:TAG] [--base=oci:DIR[:TAG]])";

struct wish {
    const char *upper, *lowers, *owner, *tar, *oci, *base;
};

static void put_file(void *ctx, const void *data, size_t len)
{
    int fd = *(int *)ctx;
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) {
            image_check_stop();
            continue;
        }
        if (n < 0)
            image_fail("the tar cannot be written: %s", strerror(errno));
        data = (const char *)data + n;
        len -= (size_t)n;
    }
}

static void to_tar(struct upper *u, const char *path)
{
    char part[64];
    const char *base = NULL;
    struct stat st;
    bool plain = strcmp(path, "-") != 0 && (stat(path, &st) || S_ISREG(st.st_mode));
    int dir = -1, fd = STDOUT_FILENO;
    struct tar_sink sink = {.put = put_file, .ctx = &fd};
    if (plain) {
        dir = image_beside(path, &base);
        snprintf(part, sizeof(part), ".fuss-part.%ld", (long)getpid());
        fd = place_open(dir, part, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (fd < 0)
            image_fail("%s cannot be made: %s", path, strerror(-fd));
        image_made(dir, part);
    } else if (strcmp(path, "-") != 0) {
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            image_fail("%s: %s", path, strerror(errno));
    }
    u->to = &sink;
    upper_write(u);
    tar_end(&sink);
    image_check_stop();
    if (close(fd) || (plain && renameat(dir, part, dir, base)))
        image_fail("%s cannot be written: %s", path, strerror(errno));
    image_keep();
}

/* The time of the image: the newest of the layer's, so that it is the same each time. */
static struct timespec made_at(const struct upper *u)
{
    const char *said = getenv("SOURCE_DATE_EPOCH");
    char *end = NULL;
    long long n = said && *said ? strtoll(said, &end, 10) : 0;
    if (end && !*end)
        return (struct timespec){.tv_sec = n};
    return u->newest;
}

static void to_layout(struct upper *u, const struct wish *w)
{
    static struct image base;
    struct layout l;
    struct tar_sink sink;
    struct layout_layer *layer;
    struct timespec when;
    if (w->base) {
        image_open(&base, w->base);
        if (base.nlayers == IMAGE_LAYERS_MAX)
            image_fail("%s has %u layers already, as many as an image can have", w->base,
                       base.nlayers);
    }
    layout_open(&l, w->oci);
    layer = layout_layer_begin(&l, &sink);
    u->to = &sink;
    upper_write(u);
    tar_end(&sink);
    when = made_at(u);
    layout_finish(&l, layer, w->base ? &base : NULL, &when);
}

/* "A:B\:C", as --lowerdir says layers. */
static void open_lowers(struct upper *u, const char *text)
{
    char *dir = malloc(strlen(text) + 1);
    size_t n = 0;
    if (!dir)
        image_fail("out of memory");
    for (;; text++) {
        if (text[0] == '\\' && (text[1] == ':' || text[1] == '\\')) {
            dir[n++] = *++text;
        } else if (text[0] == ':' || !text[0]) {
            dir[n] = 0;
            n = 0;
            if (u->nlowers == IMAGE_LAYERS_MAX)
                image_fail("--lowerdir: more than %d layers", IMAGE_LAYERS_MAX);
            int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (fd < 0)
                image_fail("%s: %s", *dir ? dir : "--lowerdir: an empty name", strerror(errno));
            u->lower[u->nlowers++] = fd;
            if (!text[0])
                break;
        } else {
            dir[n++] = text[0];
        }
    }
    free(dir);
}

static void set_owner(struct upper *u, const char *text)
{
    struct upper_override o;
    char all[64];
    u->mapped = text || geteuid();
    if (!text)
        return;
    if (snprintf(all, sizeof(all), "%s:0", text) >= (int)sizeof(all) || !upper_override(all, &o) ||
        strchr(text, ':') != strrchr(text, ':'))
        image_usage("--owner: no UID:GID: %s", text);
    u->uid = o.uid;
    u->gid = o.gid;
}

static void take(struct wish *w, int argc, char **argv)
{
    static const struct option flags[] = {
        {"upperdir", required_argument, NULL, 'u'},
        {"lowerdir", required_argument, NULL, 'l'},
        {"owner", required_argument, NULL, 'w'},
        {"tar", required_argument, NULL, 't'},
        {"oci", required_argument, NULL, 'o'},
        {"base", required_argument, NULL, 'b'},
        {NULL, 0, NULL, 0},
    };
    int flag;
    opterr = 0;
    while ((flag = getopt_long(argc, argv, "+", flags, NULL)) >= 0) {
        const char **to = flag == 'u'   ? &w->upper
                          : flag == 'l' ? &w->lowers
                          : flag == 'w' ? &w->owner
                          : flag == 't' ? &w->tar
                          : flag == 'o' ? &w->oci
                          : flag == 'b' ? &w->base
                                        : NULL;
        if (!to)
            image_usage("%s: unknown or without its value; %s", argv[optind - 1], hint);
        *to = optarg;
    }
    if (optind != argc || !w->upper || !*w->upper || !w->tar == !w->oci || (w->base && !w->oci))
        image_usage("%s", hint);
    if (w->base && strncmp(w->base, "oci:", 4) != 0)
        image_usage("--base: no oci:DIR[:TAG]: %s", w->base);
}

int export_main(int argc, char **argv)
{
    static struct upper u;
    struct wish w = {0};
    signal(SIGPIPE, SIG_IGN); /* a reader that has gone is an error to be cleaned up after */
    take(&w, argc, argv);
    set_owner(&u, w.owner);
    if (w.lowers)
        open_lowers(&u, w.lowers);
    upper_lock(&u, w.upper);
    if (w.tar)
        to_tar(&u, w.tar);
    else
        to_layout(&u, &w);
    upper_unlock();
    if (u.sockets)
        fprintf(stderr, "fuss: %u socket%s left out: a layer cannot have them\n", u.sockets,
                u.sockets > 1 ? "s are" : " is");
    return 0;
}
