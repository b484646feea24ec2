/* An upper read as a layer: its objects in a fixed order, removals as the image specification
 * writes them, overlay's own attributes as what they stand for. */
#ifndef FUSS_IMAGE_UPPER_H
#define FUSS_IMAGE_UPPER_H

#include "image/image.h"
#include "image/tar.h"

struct upper_link; /* a file of several names that is in the layer already */

struct upper {
    int root;
    int lower[IMAGE_LAYERS_MAX]; /* none: every marker is kept */
    unsigned nlowers;
    bool mapped; /* what is the user's own and says nothing else belongs to uid, gid */
    uint32_t uid, gid;
    const struct tar_sink *to;
    struct timespec newest; /* modification among what was written */
    unsigned sockets;       /* left out: a tar has none */
    struct upper_link **links;
    size_t nlinks, links_size;
};

/* Takes the lock that a session holds on its upper, and fails where one does; u->root becomes the
 * directory. Let go of by upper_unlock. */
void upper_lock(struct upper *u, const char *path);
void upper_unlock(void);
/* Writes all of it, but not the end of the tar. */
void upper_write(struct upper *u);

/* "uid:gid:mode[:kind]" of an override_stat; kind has at most 63 characters. False for anything
 * else. */
struct upper_override {
    uint32_t uid, gid, major, minor;
    mode_t mode; /* with its type; 0 as type: the object's own */
};
bool upper_override(const char *text, struct upper_override *o);

#endif
