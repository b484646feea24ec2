/* Writing OCI layouts (the OCI image specification 1.1: image-layout, manifest, config). A blob
 * gets its name when it is whole; the index names the new image last, in one step. */
#include "image/layout.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>

#define OCI "application/vnd.oci.image."

enum { CHUNK = 1 << 16, LEVEL = 6, GZIP = 15 + 16 };

struct layout_layer {
    struct layout *l;
    z_stream z;
    struct image_sha *plain, *packed;
    int fd;
    uint64_t size; /* of the blob */
    char part[64];
    unsigned char out[CHUNK];
};

static void write_all(int fd, const void *data, size_t len, const char *name)
{
    while (len) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            image_fail("%s cannot be written: %s", name, strerror(errno));
        data = (const char *)data + n;
        len -= (size_t)n;
    }
}

/* A file in `dir` that gets its name later. */
static int begin_file(int dir, char part[64])
{
    static unsigned serial;
    snprintf(part, 64, ".fuss-part.%ld.%u", (long)getpid(), ++serial);
    int fd = place_open(dir, part, O_RDWR | O_CREAT | O_EXCL, 0666);
    if (fd < 0)
        image_fail("the layout cannot be written: %s", strerror(-fd));
    image_made(dir, part);
    return fd;
}

static void end_file(int fd, int dir, const char *part, const char *name)
{
    if (fsync(fd) || close(fd) || renameat(dir, part, dir, name))
        image_fail("%s cannot be written: %s", name, strerror(errno));
}

/* The part becomes the blob, unless it is there: that one was made by whoever named it so. */
static void end_blob(struct layout *l, int fd, const char *part, const char *digest)
{
    struct stat st;
    if (!fstatat(l->blobs, digest + 7, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode)) {
        close(fd);
        unlinkat(l->blobs, part, 0);
        return;
    }
    end_file(fd, l->blobs, part, digest + 7);
    image_made(l->blobs, digest + 7);
}

static void put_blob(struct layout *l, const char *data, size_t len, char digest[IMAGE_DIGEST_TEXT])
{
    struct image_sha *sha = image_sha_new();
    char part[64];
    int fd = begin_file(l->blobs, part);
    image_sha_add(sha, data, len);
    image_sha_text(sha, digest);
    write_all(fd, data, len, "a blob");
    end_blob(l, fd, part, digest);
}

/* A blob of the base, read to its end and so verified, whether it is needed here or not. */
static void copy_blob(struct layout *l, const struct image *base, const struct image_layer *from)
{
    struct image_blob *b = image_blob_open(base, from->name, from->digest);
    char part[64];
    int fd = begin_file(l->blobs, part);
    const void *data;
    size_t n;
    while ((n = image_blob_read(b, &data)))
        write_all(fd, data, n, "a blob");
    image_blob_close(b);
    end_blob(l, fd, part, from->digest);
}

static void open_blobs(struct layout *l)
{
    struct stat st;
    if ((mkdirat(l->dir, "blobs", 0777) && errno != EEXIST) ||
        (mkdirat(l->dir, "blobs/sha256", 0777) && errno != EEXIST))
        image_fail("%s: cannot be written: %s", l->path, strerror(errno));
    l->blobs = place_open(l->dir, "blobs/sha256", O_RDONLY | O_DIRECTORY, 0);
    if (l->blobs < 0 || fstat(l->blobs, &st))
        image_fail("%s/blobs/sha256: %s", l->path, strerror(l->blobs < 0 ? -l->blobs : errno));
}

void layout_open(struct layout *l, const char *where)
{
    char *dir = strdup(where), *tag;
    struct stat st;
    if (!dir)
        image_fail("out of memory");
    memset(l, 0, sizeof(*l));
    l->path = dir;
    l->parent = -1;
    if (stat(dir, &st) && (tag = strrchr(dir, ':')) && !strchr(tag, '/')) {
        *tag++ = 0;
        l->tag = tag;
    }
    for (size_t len = strlen(dir); len > 1 && dir[len - 1] == '/';)
        dir[--len] = 0;
    if (!*dir || (l->tag && !*l->tag))
        image_usage("--oci: no DIR[:TAG]: %s", where);
    l->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->dir < 0 && errno == ENOENT) {
        l->parent = image_beside(dir, &l->base);
        l->dir = image_begin(l->parent, l->unfinished);
    } else if (l->dir < 0) {
        image_fail("%s: %s", dir, strerror(errno));
    } else if (fstatat(l->dir, "oci-layout", &st, 0)) {
        image_fail("%s is there and is no OCI layout: name another directory", dir);
    } else if (flock(l->dir, LOCK_EX)) {
        image_fail("%s: cannot be locked: %s", dir, strerror(errno));
    }
    open_blobs(l);
}

/* ---- the layer ---- */
static void deflate_all(struct layout_layer *y, const void *data, size_t len, int flush)
{
    int rc;
    y->z.next_in = (void *)data;
    y->z.avail_in = (uInt)len;
    do {
        y->z.next_out = y->out;
        y->z.avail_out = CHUNK;
        rc = deflate(&y->z, flush);
        size_t n = CHUNK - y->z.avail_out;
        image_sha_add(y->packed, y->out, n);
        write_all(y->fd, y->out, n, "the layer");
        y->size += n;
    } while (flush == Z_FINISH ? rc != Z_STREAM_END : !y->z.avail_out);
}

static void put_plain(void *ctx, const void *data, size_t len)
{
    struct layout_layer *y = ctx;
    image_sha_add(y->plain, data, len);
    deflate_all(y, data, len, Z_NO_FLUSH);
}

struct layout_layer *layout_layer_begin(struct layout *l, struct tar_sink *sink)
{
    struct layout_layer *y = calloc(1, sizeof(*y));
    if (!y || deflateInit2(&y->z, LEVEL, Z_DEFLATED, GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        image_fail("out of memory");
    y->l = l;
    y->plain = image_sha_new();
    y->packed = image_sha_new();
    y->fd = begin_file(l->blobs, y->part);
    sink->put = put_plain;
    sink->ctx = y;
    return y;
}

/* ---- what names it ---- */
static json_t *need_json(json_t *j)
{
    if (!j)
        image_fail("out of memory");
    return j;
}

static void set(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, need_json(value)))
        image_fail("out of memory");
}

static void append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, need_json(value)))
        image_fail("out of memory");
}

/* The member of that name, made where it is missing or something else. */
static json_t *member(json_t *object, const char *key, bool array)
{
    json_t *j = json_object_get(object, key);
    if (array ? !json_is_array(j) : !json_is_object(j)) {
        set(object, key, array ? json_array() : json_object());
        j = json_object_get(object, key);
    }
    return j;
}

static json_t *descriptor(const char *type, const char *digest, uint64_t size)
{
    json_t *d = need_json(json_object());
    set(d, "mediaType", json_string(type));
    set(d, "digest", json_string(digest));
    set(d, "size", json_integer((json_int_t)size));
    return d;
}

/* As a blob; its descriptor. The JSON is freed. */
static json_t *put_json(struct layout *l, json_t *j, const char *type)
{
    char *text = json_dumps(j, JSON_COMPACT), digest[IMAGE_DIGEST_TEXT];
    if (!text)
        image_fail("out of memory");
    put_blob(l, text, strlen(text), digest);
    json_t *d = descriptor(type, digest, strlen(text));
    free(text);
    json_decref(j);
    return d;
}

static json_t *read_json(const char *text, size_t len, const char *name)
{
    json_error_t error;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(j))
        image_fail("%s is no JSON object", name);
    return j;
}

static const char *architecture(void)
{
    static struct utsname u;
    uname(&u);
    return !strcmp(u.machine, "x86_64")    ? "amd64"
           : !strcmp(u.machine, "aarch64") ? "arm64"
                                           : u.machine;
}

static json_t *make_config(const struct image *base, const char *diff_id, const char *created)
{
    json_t *c = base ? read_json(base->config, base->config_len, "the base's config")
                     : need_json(json_object()),
           *fs, *history, *entry;
    unsigned said = 0;
    size_t i;
    if (!base) {
        set(c, "architecture", json_string(architecture()));
        set(c, "os", json_string("linux"));
        set(c, "config", json_object());
    }
    set(c, "created", json_string(created));
    fs = member(c, "rootfs", false);
    set(fs, "type", json_string("layers"));
    append(member(fs, "diff_ids", true), json_string(diff_id));
    history = member(c, "history", true);
    json_array_foreach(history, i, entry) said +=
        !json_is_true(json_object_get(entry, "empty_layer"));
    /* Readers count them: one for each layer. */
    for (; base && said < base->nlayers; said++)
        append(history, json_object());
    entry = need_json(json_object());
    set(entry, "created", json_string(created));
    set(entry, "created_by", json_string("fuss image export"));
    append(history, entry);
    return c;
}

/* Docker's names of what the specification took over from it. */
static const char *oci_type(const char *type)
{
    if (!strcmp(type, "application/vnd.docker.image.rootfs.diff.tar.gzip"))
        return OCI "layer.v1.tar+gzip";
    return !strcmp(type, "application/vnd.docker.image.rootfs.diff.tar") ? OCI "layer.v1.tar"
                                                                         : type;
}

static json_t *make_manifest(const struct image *base, json_t *config, json_t *layer)
{
    json_t *m = need_json(json_object()), *layers, *e, *old;
    size_t i;
    set(m, "schemaVersion", json_integer(2));
    set(m, "mediaType", json_string(OCI "manifest.v1+json"));
    set(m, "config", config);
    layers = member(m, "layers", true);
    if (base) {
        old = read_json(base->manifest, base->manifest_len, "the base's manifest");
        json_array_foreach(json_object_get(old, "layers"), i, e)
        {
            set(e, "mediaType",
                json_string(oci_type(json_string_value(json_object_get(e, "mediaType")))));
            append(layers, json_incref(e));
        }
        json_decref(old);
    }
    append(layers, layer);
    return m;
}

/* The index as it is, without what had the tag; the new image is its last. */
static void put_index(struct layout *l, json_t *manifest)
{
    json_t *index = NULL, *list, *e;
    size_t i;
    char part[64], *text;
    int fd = l->parent < 0 ? place_open(l->dir, "index.json", O_RDONLY, 0) : -ENOENT;
    if (fd >= 0) {
        text = malloc(IMAGE_JSON_MAX);
        ssize_t n = text ? read(fd, text, IMAGE_JSON_MAX) : -1;
        if (n < 0)
            image_fail("%s/index.json: %s", l->path, strerror(errno));
        index = read_json(text, (size_t)n, "the layout's index");
        free(text);
        close(fd);
    } else if (fd != -ENOENT) {
        image_fail("%s/index.json: %s", l->path, strerror(-fd));
    }
    if (!index)
        index = need_json(json_object());
    set(index, "schemaVersion", json_integer(2));
    list = member(index, "manifests", true);
    for (i = json_array_size(list); i-- > 0;) {
        e = json_object_get(json_array_get(list, i), "annotations");
        const char *tag =
            json_string_value(json_object_get(e, "org.opencontainers.image.ref.name"));
        if (tag ? l->tag && !strcmp(tag, l->tag) : !l->tag)
            json_array_remove(list, i);
    }
    if (l->tag)
        set(member(manifest, "annotations", false), "org.opencontainers.image.ref.name",
            json_string(l->tag));
    append(list, manifest);
    text = json_dumps(index, JSON_COMPACT);
    if (!text)
        image_fail("out of memory");
    fd = begin_file(l->dir, part);
    write_all(fd, text, strlen(text), "index.json");
    image_check_stop();
    end_file(fd, l->dir, part, "index.json");
    free(text);
    json_decref(index);
}

static void put_version(struct layout *l)
{
    static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    char part[64];
    int fd = begin_file(l->dir, part);
    write_all(fd, version, strlen(version), "oci-layout");
    end_file(fd, l->dir, part, "oci-layout");
}

void layout_finish(struct layout *l, struct layout_layer *y, const struct image *base,
                   const struct timespec *when)
{
    char diff_id[IMAGE_DIGEST_TEXT], digest[IMAGE_DIGEST_TEXT], created[32];
    json_t *layer, *config;
    struct tm tm;
    deflate_all(y, NULL, 0, Z_FINISH);
    deflateEnd(&y->z);
    image_sha_text(y->plain, diff_id);
    image_sha_text(y->packed, digest);
    end_blob(l, y->fd, y->part, digest);
    layer = descriptor(OCI "layer.v1.tar+gzip", digest, y->size);
    free(y);
    for (unsigned i = 0; base && i < base->nlayers; i++)
        copy_blob(l, base, &base->layer[i]);
    if (!gmtime_r(&when->tv_sec, &tm) ||
        !strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &tm))
        image_fail("the layer's newest time cannot be said");
    config = put_json(l, make_config(base, diff_id, created), OCI "config.v1+json");
    config = put_json(l, make_manifest(base, config, layer), OCI "manifest.v1+json");
    if (l->parent >= 0) {
        mode_t mask = umask(0);
        umask(mask);
        put_version(l);
        if (fchmod(l->dir, 0777 & ~mask))
            image_fail("%s: %s", l->path, strerror(errno));
    }
    put_index(l, config);
    if (l->parent >= 0 && renameat2(l->parent, l->unfinished, l->parent, l->base, RENAME_NOREPLACE))
        image_fail("%s: %s", l->path, strerror(errno));
    image_keep();
    close(l->blobs);
    close(l->dir); /* and its lock */
    free(l->path);
}
