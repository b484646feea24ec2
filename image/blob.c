/* The bytes of a blob: a file of an OCI layout, or an entry of a docker archive. */
#include "image/image.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 16, LINKS_MAX = 8, ENTRIES_MAX = 100000 };

struct image_blob {
    char *name;
    char want[IMAGE_DIGEST_TEXT];
    struct image_sha *sha;
    int fd;                /* of the blob itself, or of the archive that has it */
    struct archive *outer; /* NULL for a file of its own */
    char buffer[CHUNK];
};

/* The archive's entry of that name, from its beginning; NULL when it has none. A link's target is
 * put into `link` (of PATH_MAX bytes), else that is empty. */
static struct archive *find_entry(int fd, const char *name, char *link)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    unsigned n = 0;
    int rc;
    if (!a || lseek(fd, 0, SEEK_SET) < 0)
        image_fail("cannot read the archive: %s", strerror(errno));
    archive_read_support_format_tar(a);
    archive_read_support_filter_gzip(a);
    if (archive_read_open_fd(a, fd, CHUNK) != ARCHIVE_OK)
        image_fail("not a docker archive: %s", archive_error_string(a));
    link[0] = 0;
    while ((rc = archive_read_next_header(a, &e)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
        const char *path = archive_entry_pathname(e);
        const char *target = archive_entry_hardlink(e);
        char here[PATH_MAX];
        image_check_stop();
        if (++n > ENTRIES_MAX)
            image_fail("the docker archive has more than %d entries", ENTRIES_MAX);
        if (!path || !place_name(path, here, sizeof(here)) || strcmp(here, name) != 0)
            continue;
        if (target) {
            if (!place_name(target, link, PATH_MAX))
                image_fail("%s in the docker archive is a link that leads out of it", name);
        } else if (archive_entry_filetype(e) == AE_IFLNK && (target = archive_entry_symlink(e))) {
            /* What `docker save` wrote for a layer that occurs twice: ../ID/layer.tar. */
            if (strncmp(target, "../", 3) != 0 || !place_name(target + 3, link, PATH_MAX))
                image_fail("%s in the docker archive is a link that leads out of it", name);
        } else if (archive_entry_filetype(e) != AE_IFREG) {
            image_fail("%s in the docker archive is no file", name);
        }
        return a;
    }
    if (rc != ARCHIVE_EOF)
        image_fail("the docker archive cannot be read: %s", archive_error_string(a));
    archive_read_free(a);
    return NULL;
}

static void open_entry(struct image_blob *b, int file, const char *name)
{
    char now[PATH_MAX], link[PATH_MAX];
    if (!place_name(name, now, sizeof(now)) || !*now)
        image_fail("a file of the docker archive has a name that leads out of it");
    b->fd = file;
    for (int i = 0; i < LINKS_MAX; i++) {
        b->outer = find_entry(file, now, link);
        if (!b->outer)
            image_fail("the docker archive has no %s", now);
        if (!*link)
            return;
        archive_read_free(b->outer);
        memcpy(now, link, sizeof(now));
    }
    image_fail("%s in the docker archive is a link without end", name);
}

struct image_blob *image_blob_open(const struct image *im, const char *name, const char *digest)
{
    struct image_blob *b = calloc(1, sizeof(*b));
    struct stat st;
    if (!b || !(b->name = strdup(name)))
        image_fail("out of memory");
    strncpy(b->want, digest, sizeof(b->want) - 1);
    b->sha = image_sha_new();
    if (im->dir < 0) {
        open_entry(b, im->file, name);
        return b;
    }
    b->fd = place_open(im->dir, name, O_RDONLY | O_NONBLOCK, 0);
    if (b->fd < 0)
        image_fail("%s of the image cannot be read: %s", name, strerror(-b->fd));
    if (fstat(b->fd, &st) || !S_ISREG(st.st_mode))
        image_fail("%s of the image is no file", name);
    return b;
}

size_t image_blob_read(struct image_blob *b, const void **data)
{
    ssize_t n;
    image_check_stop();
    if (b->outer) {
        n = archive_read_data(b->outer, b->buffer, sizeof(b->buffer));
        if (n < 0)
            image_fail("%s in the docker archive: %s", b->name, archive_error_string(b->outer));
    } else {
        n = read(b->fd, b->buffer, sizeof(b->buffer));
        if (n < 0)
            image_fail("%s of the image cannot be read: %s", b->name, strerror(errno));
    }
    image_sha_add(b->sha, b->buffer, (size_t)n);
    *data = b->buffer;
    return (size_t)n;
}

void image_blob_close(struct image_blob *b)
{
    char got[IMAGE_DIGEST_TEXT];
    const void *data;
    while (image_blob_read(b, &data))
        ;
    image_sha_text(b->sha, got);
    if (*b->want && strcmp(b->want, got) != 0)
        image_fail("%s of the image does not match its digest: it is %s", b->name, got);
    if (b->outer)
        archive_read_free(b->outer);
    else
        close(b->fd);
    free(b->name);
    free(b);
}
