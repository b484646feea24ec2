/* What an image consists of: the index, the manifest and the config of an OCI layout, and the
 * manifest of a docker archive (the OCI image specification 1.1; docker's image specification 1.2).
 */
#include "image/image.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* A whole small blob, with a NUL behind it. */
static char *read_small(const struct image *im, const char *name, const char *digest, size_t *len)
{
    struct image_blob *b = image_blob_open(im, name, digest);
    char *all = malloc(IMAGE_JSON_MAX + 1);
    const void *data;
    size_t n, used = 0;
    if (!all)
        image_fail("out of memory");
    while ((n = image_blob_read(b, &data))) {
        if (used + n > IMAGE_JSON_MAX)
            image_fail("%s of the image is larger than %u bytes", name, IMAGE_JSON_MAX);
        memcpy(all + used, data, n);
        used += n;
    }
    image_blob_close(b);
    all[used] = 0;
    *len = used;
    return all;
}

static json_t *parse(const char *name, const char *text, size_t len)
{
    json_error_t error;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!j)
        image_fail("%s of the image is not JSON: %s", name, error.text);
    return j;
}

static json_t *load(const struct image *im, const char *name, const char *digest)
{
    size_t len;
    char *text = read_small(im, name, digest, &len);
    json_t *j = parse(name, text, len);
    free(text);
    return j;
}

/* "blobs/sha256/HEX" of a digest that is one. */
static void blob_name(const char *digest, char name[128])
{
    if (!image_digest_ok(digest))
        image_fail("the image names a blob by what is no sha256 digest: %.80s", digest);
    memcpy(name, "blobs/sha256/", 13);
    memcpy(name + 13, digest + 7, 65);
}

static const char *machine(void)
{
    static struct utsname u;
    uname(&u);
    if (!strcmp(u.machine, "x86_64"))
        return "amd64";
    return !strcmp(u.machine, "aarch64") ? "arm64" : u.machine;
}

static bool is_index(const char *type)
{
    return !strcmp(type, "application/vnd.oci.image.index.v1+json") ||
           !strcmp(type, "application/vnd.docker.distribution.manifest.list.v2+json");
}

static bool is_manifest(const char *type)
{
    return !strcmp(type, "application/vnd.oci.image.manifest.v1+json") ||
           !strcmp(type, "application/vnd.docker.distribution.manifest.v2+json");
}

static bool is_layer(const char *type)
{
    static const char *const known[] = {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (!strcmp(type, known[i]))
            return true;
    return false;
}

/* The entry of an index that is meant: the one with the tag, else the one for this machine. One
 * that names no platform is for every machine. */
static const json_t *choose(const json_t *index, const char *tag)
{
    const json_t *list = json_object_get(index, "manifests"), *found = NULL, *e;
    size_t i, fits = 0;
    json_array_foreach(list, i, e)
    {
        const json_t *platform = json_object_get(e, "platform");
        const char *type = text_of(e, "mediaType");
        if (!is_index(type) && !is_manifest(type))
            continue;
        if (tag) {
            const json_t *notes = json_object_get(e, "annotations");
            if (strcmp(text_of(notes, "org.opencontainers.image.ref.name"), tag) != 0)
                continue;
        }
        if (platform && (strcmp(text_of(platform, "os"), "linux") != 0 ||
                         strcmp(text_of(platform, "architecture"), machine()) != 0))
            continue;
        if (!fits++)
            found = e;
    }
    if (!fits && tag)
        image_fail("the image has no tag %s for linux/%s", tag, machine());
    if (!fits)
        image_fail("the image has nothing for linux/%s", machine());
    if (fits > 1 && !tag)
        image_fail("the directory has %zu images: name one, as in oci:DIR:TAG", fits);
    return found;
}

static void set_diff_ids(struct image *im)
{
    json_t *config = parse("the config", im->config, im->config_len);
    const json_t *fs = json_object_get(config, "rootfs"), *ids = json_object_get(fs, "diff_ids");
    if (json_array_size(ids) != im->nlayers)
        image_fail("the image has %u layers and its config names %zu", im->nlayers,
                   json_array_size(ids));
    for (unsigned i = 0; i < im->nlayers; i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        if (!id || !image_digest_ok(id))
            image_fail("the image's config has a layer without a sha256 digest");
        memcpy(im->layer[i].diff_id, id, IMAGE_DIGEST_TEXT);
    }
    json_decref(config);
}

static struct image_layer *add_layer(struct image *im, const char *name)
{
    struct image_layer *l;
    if (im->nlayers == IMAGE_LAYERS_MAX)
        image_fail("the image has more than %d layers", IMAGE_LAYERS_MAX);
    l = &im->layer[im->nlayers++];
    l->name = strdup(name);
    if (!l->name)
        image_fail("out of memory");
    return l;
}

static void read_manifest(struct image *im, const json_t *manifest)
{
    const json_t *config = json_object_get(manifest, "config"), *e;
    const json_t *layers = json_object_get(manifest, "layers");
    const char *digest = text_of(config, "digest");
    char name[128];
    size_t i;
    if (!json_is_array(layers) || !json_array_size(layers))
        image_fail("the image's manifest has no layers");
    blob_name(digest, name);
    im->config = read_small(im, name, digest, &im->config_len);
    json_array_foreach(layers, i, e)
    {
        if (!is_layer(text_of(e, "mediaType")))
            image_fail("a layer of the image is of an unknown kind: \"%.80s\"",
                       text_of(e, "mediaType"));
        blob_name(text_of(e, "digest"), name);
        memcpy(add_layer(im, name)->digest, text_of(e, "digest"), IMAGE_DIGEST_TEXT);
    }
    set_diff_ids(im);
}

static void open_oci(struct image *im, const char *tag)
{
    json_t *j = load(im, "oci-layout", "");
    char name[128];
    if (strncmp(text_of(j, "imageLayoutVersion"), "1.", 2) != 0)
        image_fail("the directory is no OCI layout of version 1");
    json_decref(j);
    j = load(im, "index.json", "");
    for (int depth = 0;; depth++) {
        const json_t *e = choose(j, tag);
        bool index = is_index(text_of(e, "mediaType"));
        json_t *next;
        if (depth == IMAGE_DEPTH_MAX)
            image_fail("the image's indexes are nested too deeply");
        blob_name(text_of(e, "digest"), name);
        free(im->manifest);
        im->manifest = read_small(im, name, text_of(e, "digest"), &im->manifest_len);
        next = parse(name, im->manifest, im->manifest_len);
        json_decref(j);
        j = next;
        tag = NULL;
        if (!index)
            break;
    }
    read_manifest(im, j);
    json_decref(j);
}

static void open_docker(struct image *im)
{
    json_t *j = load(im, "manifest.json", "");
    const json_t *first = json_array_get(j, 0), *e;
    const char *config = text_of(first, "Config");
    size_t i;
    if (json_array_size(j) != 1)
        image_fail("the docker archive has %zu images: save one alone", json_array_size(j));
    if (!json_array_size(json_object_get(first, "Layers")))
        image_fail("the docker archive's manifest has no layers");
    im->config = read_small(im, config, "", &im->config_len);
    json_array_foreach(json_object_get(first, "Layers"), i, e)
        add_layer(im, json_string_value(e) ? json_string_value(e) : "");
    set_diff_ids(im);
    json_decref(j);
}

/* "DIR" or "DIR:TAG": the whole is a directory where there is one of that name. */
static void open_layout(struct image *im, const char *where)
{
    char *dir = strdup(where), *tag = NULL;
    struct stat st;
    if (!dir)
        image_fail("out of memory");
    if (stat(dir, &st)) {
        tag = strrchr(dir, ':');
        if (tag && !strchr(tag, '/'))
            *tag++ = 0;
        else
            tag = NULL;
    }
    im->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (im->dir < 0)
        image_fail("%s: %s", dir, strerror(errno));
    open_oci(im, tag);
    free(dir);
}

void image_open(struct image *im, const char *where)
{
    memset(im, 0, sizeof(*im));
    im->dir = im->file = -1;
    if (!strncmp(where, "oci:", 4)) {
        open_layout(im, where + 4);
        return;
    }
    where += strlen("docker-archive:");
    im->file = open(where, O_RDONLY | O_CLOEXEC);
    if (im->file < 0)
        image_fail("%s: %s", where, strerror(errno));
    open_docker(im);
}
