/* The attributes of one object of a layer: those that overlays act on, and the others. */
#ifndef FUSS_IMAGE_MARKS_H
#define FUSS_IMAGE_MARKS_H

#include "image/tar.h"
#include <stdbool.h>

#define WH       ".wh."
#define OPAQUE   ".wh..wh..opq"
#define WORK     ".wh..fuss.work" /* of a session, in the upper's root, with its lock */
#define LOCK     WORK "/lock"
#define OVERRIDE "user.containers.override_stat"

struct marks {
    bool opaque, redirect, metacopy, whiteout;
    char *override;     /* what OVERRIDE says; NULL = it has none */
    struct tar_pax pax; /* every other attribute, in the order of the names */
};

/* Reads them; `path` is the link of a descriptor. Negative errno, with nothing to free. */
int marks_read(const char *path, struct marks *m);
void marks_free(struct marks *m);
/* Whether the attribute is an overlay's or says what the object stands for. */
bool marks_private(const char *name);

#endif
