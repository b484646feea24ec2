/* Container images: layers unpacked to directories that --lowerdir takes. */
#ifndef FUSS_IMAGE_IMAGE_H
#define FUSS_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IMAGE_LAYERS_MAX  127
#define IMAGE_JSON_MAX    (4u << 20)   /* bytes of a manifest, an index or a config */
#define IMAGE_ENTRIES_MAX 1000000u     /* names in one layer; a real one has some 100,000 */
#define IMAGE_DIGEST_TEXT (7 + 64 + 1) /* "sha256:", hex, NUL */
#define IMAGE_DEPTH_MAX   4            /* indexes within indexes */

/* How removals are written: as --whiteout says it. */
enum image_style { IMAGE_FILEPREFIX, IMAGE_CHARDEV };

/* `fuss image ...`: argv[0] is "image". The exit status; every mistake ends the process with one
 * line. */
int image_main(int argc, char **argv);

/* Ends the unpacking: takes what was made away, says the line, exits with 125. */
_Noreturn void image_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a wrong command line, with 2. */
_Noreturn void image_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What image_fail takes away, with all below it; the descriptor stays the caller's. */
void image_made(int dir, const char *name);
/* The work is done: nothing is taken away any more. */
void image_keep(void);
/* The directory that `path` lies in, opened; *base is its last part. */
int image_beside(const char *path, const char **base);
/* A new directory in `dir`, private and to be renamed; its descriptor, and its name. */
int image_begin(int dir, char name[64]);
/* Says which layer is at work, where somebody looks; 0 of 0: none any more. */
void image_progress(unsigned n, unsigned of);
/* From now on SIGINT, SIGTERM and SIGHUP are for image_check_stop; or again as they were. */
void image_signals(bool ours);
/* Whether a signal asked for the end; long loops look at it. */
void image_check_stop(void);

/* ---- sha256.c ---- */
struct image_sha;
struct image_sha *image_sha_new(void);
void image_sha_add(struct image_sha *s, const void *data, size_t len);
/* Frees s. */
void image_sha_text(struct image_sha *s, char text[IMAGE_DIGEST_TEXT]);
/* "sha256:" and 64 lower-case hex digits, nothing else. */
bool image_digest_ok(const char *digest);

/* ---- source.c: where an image's blobs come from ---- */
struct image_layer {
    char *name;                      /* of the blob, within the directory or the archive */
    char digest[IMAGE_DIGEST_TEXT];  /* of the blob; empty where nothing tells it */
    char diff_id[IMAGE_DIGEST_TEXT]; /* of the tar inside */
};

struct image {
    int dir;      /* an OCI layout, or -1 */
    int file;     /* a docker archive, or -1 */
    char *config; /* JSON text, with a NUL behind it */
    size_t config_len;
    char *manifest; /* of an OCI layout, in the same way */
    size_t manifest_len;
    struct image_layer layer[IMAGE_LAYERS_MAX]; /* the lowest first */
    unsigned nlayers;
};

/* Reads "oci:DIR[:tag]" or "docker-archive:FILE". Fails with image_fail; a wrong word is usage. */
void image_open(struct image *im, const char *where);

/* A blob being read, verified to its digest at its end. */
struct image_blob;
struct image_blob *image_blob_open(const struct image *im, const char *name, const char *digest);
/* The next bytes, valid until the next call; 0 = the end. */
size_t image_blob_read(struct image_blob *b, const void **data);
/* Reads what is left, compares the digest, frees b. */
void image_blob_close(struct image_blob *b);

/* ---- cache.c: layers that are kept for this user ---- */
/* Their directories, the topmost first; those that are not there yet are unpacked. */
void image_cached(const struct image *im, char *lower[IMAGE_LAYERS_MAX]);
/* A file of the image's as text, from the topmost layer that has it; NULL = none has. */
char *image_cached_file(char *const *lower, unsigned n, const char *name);

/* ---- export.c: `fuss image export`; argv[0] is "export" ---- */
int export_main(int argc, char **argv);

/* ---- layer.c ---- */
/* Unpacks layer n of the image into the empty directory `dir`. */
void image_layer_unpack(const struct image *im, unsigned n, int dir, enum image_style style);

/* ---- place.c: changes below one directory, which no name in an archive can leave ---- */
#define PLACE_PARTS_MAX 200 /* each costs a descriptor when all is taken away again */
/* A name of an archive in its canonical form ("" = the root): "./" and a last "/" go. False for an
 * absolute name, for "..", and for one that is too long or too deep. */
bool place_name(const char *name, char *out, size_t size);
/* The directory of `path` (canonical), opened without following any link; missing ones are made
 * where `make` says so. *base is the last part. Negative errno. */
int place_parent(int root, const char *path, bool make, const char **base);
/* Opens below root without links. Negative errno. */
int place_open(int root, const char *path, int flags, mode_t mode);
/* Takes away whatever has the name, with all below it. Negative errno; a missing name is fine. */
int place_remove(int dir, const char *name);

#endif
