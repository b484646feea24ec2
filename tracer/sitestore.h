/* Site tables kept over sessions, for images that take long to look through: files below
 * $XDG_CACHE_HOME/fuss or ~/.cache/fuss. They are hints that are checked: a table of another file,
 * of another build or broken is as none, and every patch compares what it replaces. */
#ifndef FUSS_TRACER_SITESTORE_H
#define FUSS_TRACER_SITESTORE_H

#include "image/sites.h"
#include "session.h"
#include <sys/stat.h>

/* To be called once, with what stays. Nothing is kept where the place lies in a layer, whose files
 * are not ours to make. */
void sitestore_init(const struct session *s, const struct site_wants *wanted);
/* The table of the image with this stat, the caller's to free, or NULL. */
struct sites *sitestore_load(const struct stat *st);
/* Keeps it. Failure is silent: it only costs time. */
void sitestore_save(const struct sites *t);

#endif
