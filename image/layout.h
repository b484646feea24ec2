/* An OCI layout being written: blobs first, the index last. */
#ifndef FUSS_IMAGE_LAYOUT_H
#define FUSS_IMAGE_LAYOUT_H

#include "image/image.h"
#include "image/tar.h"

/* A layer on its way into a blob: its plain bytes are put into `sink`. */
struct layout_layer;

struct layout {
    int dir; /* the layout, or the new one under its private name */
    int blobs;
    int parent; /* -1: the layout was there before */
    char unfinished[64];
    char *path;
    const char *base, *tag;
};

/* `where` is DIR or DIR:TAG; one that is not there is made. */
void layout_open(struct layout *l, const char *where);
struct layout_layer *layout_layer_begin(struct layout *l, struct tar_sink *sink);
/* Adds the layer to the image `base` (NULL: to none), made at `when`, and lets it appear. */
void layout_finish(struct layout *l, struct layout_layer *layer, const struct image *base,
                   const struct timespec *when);

#endif
