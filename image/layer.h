/* What layer.c and entry.c know of the layer being unpacked. */
#ifndef FUSS_IMAGE_LAYER_H
#define FUSS_IMAGE_LAYER_H

#include "image/image.h"
#include <archive.h>
#include <archive_entry.h>

/* Owner, mode, times and attributes of a directory: set when nothing more comes into it. */
struct layer_dir {
    struct layer_dir *next;
    struct archive_entry *entry;
    char path[];
};

struct layer_work {
    int root; /* -1: names and digests are checked, nothing is written */
    enum image_style style;
    bool is_root; /* owners can be given away */
    unsigned entries, devices;
    struct layer_dir *dirs, **last;
};

/* Checks one entry, and makes it where there is a root. Fails with image_fail. */
void layer_entry(struct layer_work *w, struct archive *a, struct archive_entry *e);
/* What was put off. */
void layer_finish_dirs(struct layer_work *w);

/* ---- acl.c ---- */
/* Sets an attribute; what this user may not set, or this filesystem cannot keep, is not kept. */
void layer_attribute(int fd, const char *name, const void *value, size_t size, const char *path);
/* The mode's 07777. Of an access list the group's bits are the mask, which libarchive forgets. */
mode_t layer_mode(struct archive_entry *e);
/* Sets the access list (def: a directory's default one) that the entry says as text, if any. */
void layer_acl(int fd, struct archive_entry *e, bool def, const char *path);

#endif
