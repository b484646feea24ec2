/* A tar written to the byte as we say it: POSIX ustar, with pax records where a field is too small.
 */
#ifndef FUSS_IMAGE_TAR_H
#define FUSS_IMAGE_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Where bytes go. They are taken in order, all of them, or the process ends. */
struct tar_sink {
    void (*put)(void *ctx, const void *data, size_t len);
    void *ctx;
};

/* Pax records as text, grown as needed; free with tar_pax_free. */
struct tar_pax {
    char *text;
    size_t len, size;
};

struct tar_entry {
    const char *name; /* a directory's ends in "/" */
    char type;        /* of the format: '0' file, '1' hard link, '2' symlink, '3' '4' devices ... */
    mode_t mode;      /* 07777 */
    uint32_t uid, gid;
    uint64_t size; /* bytes of data that follow */
    struct timespec mtime;
    const char *link; /* of '1' and '2' */
    uint32_t major, minor;
    const struct tar_pax *pax; /* more records; NULL = none */
};

void tar_pax_add(struct tar_pax *p, const char *key, const void *value, size_t len);
void tar_pax_free(struct tar_pax *p);
/* The entry's headers; its data are the caller's, then tar_fill. */
void tar_header(const struct tar_sink *to, const struct tar_entry *e);
/* What is missing to a whole block behind `size` bytes of data. */
void tar_fill(const struct tar_sink *to, uint64_t size);
void tar_end(const struct tar_sink *to);

#endif
