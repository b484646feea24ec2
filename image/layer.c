/* A layer's blob: its compression, its two digests, the tar inside. It is read twice: names and
 * digests first, so that of a layer that is not what it claims to be nothing is written. */
#include "image/layer.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEVICES_MAX = 4096, CHUNK = 1 << 16 };

struct stream {
    struct image_blob *blob;
    struct archive *plain; /* undoes the compression */
    struct image_sha *sha; /* of the plain bytes */
    char buffer[CHUNK];
};

static la_ssize_t blob_bytes(struct archive *a, void *data, const void **bytes)
{
    (void)a;
    return (la_ssize_t)image_blob_read(((struct stream *)data)->blob, bytes);
}

static la_ssize_t plain_bytes(struct archive *a, void *data, const void **bytes)
{
    struct stream *s = data;
    la_ssize_t n = archive_read_data(s->plain, s->buffer, sizeof(s->buffer));
    (void)a;
    if (n < 0)
        image_fail("a layer cannot be unpacked: %s", archive_error_string(s->plain));
    image_sha_add(s->sha, s->buffer, (size_t)n);
    *bytes = s->buffer;
    return n;
}

static void read_layer(const struct image *im, unsigned n, struct layer_work *w)
{
    const struct image_layer *l = &im->layer[n];
    struct stream *s = calloc(1, sizeof(*s));
    struct archive *tar = archive_read_new();
    struct archive_entry *e;
    char got[IMAGE_DIGEST_TEXT];
    const void *bytes;
    int rc;
    if (!s || !tar || !(s->plain = archive_read_new()))
        image_fail("out of memory");
    s->blob = image_blob_open(im, l->name, l->digest);
    s->sha = image_sha_new();
    archive_read_support_format_raw(s->plain);
    archive_read_support_filter_gzip(s->plain);
    archive_read_support_filter_zstd(s->plain);
    if (archive_read_open(s->plain, s, NULL, blob_bytes, NULL) != ARCHIVE_OK ||
        archive_read_next_header(s->plain, &e) != ARCHIVE_OK)
        image_fail("layer %u cannot be unpacked: %s", n + 1, archive_error_string(s->plain));
    /* Names stay the bytes they are: this program never leaves the C locale. */
    archive_read_support_format_tar(tar);
    if (archive_read_open(tar, s, NULL, plain_bytes, NULL) != ARCHIVE_OK)
        image_fail("layer %u is no tar: %s", n + 1, archive_error_string(tar));
    while ((rc = archive_read_next_header(tar, &e)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
        image_check_stop();
        if (++w->entries > IMAGE_ENTRIES_MAX)
            image_fail("layer %u has more than %u entries", n + 1, IMAGE_ENTRIES_MAX);
        layer_entry(w, tar, e);
        if (w->devices > DEVICES_MAX)
            image_fail("layer %u has more than %d devices", n + 1, DEVICES_MAX);
    }
    if (rc != ARCHIVE_EOF)
        image_fail("layer %u cannot be unpacked: %s", n + 1, archive_error_string(tar));
    while (plain_bytes(NULL, s, &bytes))
        ;
    image_sha_text(s->sha, got);
    if (strcmp(got, l->diff_id) != 0)
        image_fail("layer %u does not match the digest in the config: it is %s", n + 1, got);
    image_blob_close(s->blob);
    archive_read_free(tar);
    archive_read_free(s->plain);
    free(s);
}

void image_layer_unpack(const struct image *im, unsigned n, int dir, enum image_style style)
{
    struct layer_work w = {.root = -1, .style = style, .is_root = !geteuid()};
    w.last = &w.dirs;
    read_layer(im, n, &w);
    w.root = dir;
    w.entries = w.devices = 0;
    read_layer(im, n, &w);
    layer_finish_dirs(&w);
}
