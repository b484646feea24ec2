/* What attributes mean in a layer (the kernel's Documentation/filesystems/overlayfs.rst;
 * fuse-overlayfs(1) and podman for override_stat). */
#include "image/marks.h"
#include "image/image.h"
#include <errno.h>
#include <limits.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static const char *const prefixes[] = {"trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."};

/* The part of an overlay's attribute behind its prefix; NULL = it is another. */
static const char *mark_of(const char *name)
{
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            return name + strlen(prefixes[i]);
    return NULL;
}

bool marks_private(const char *name)
{
    return mark_of(name) || !strncmp(name, "user.containers.", 16);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void take(struct marks *m, const char *name, const char *value, size_t len)
{
    const char *mark = mark_of(name);
    char key[XATTR_NAME_MAX + 32];
    if (mark) {
        m->opaque |= !strcmp(mark, "opaque") && len == 1 && value[0] == 'y';
        m->redirect |= !strcmp(mark, "redirect");
        m->metacopy |= !strcmp(mark, "metacopy");
        m->whiteout |= !strcmp(mark, "whiteout");
    }
    if (!strcmp(name, OVERRIDE) || (mark && !strcmp(mark, "override_stat") && !m->override)) {
        free(m->override);
        m->override = strndup(value, len);
        if (!m->override)
            image_fail("out of memory");
    }
    if (marks_private(name))
        return;
    snprintf(key, sizeof(key), "SCHILY.xattr.%s", name);
    tar_pax_add(&m->pax, key, value, len);
}

int marks_read(const char *path, struct marks *m)
{
    ssize_t size = listxattr(path, NULL, 0), n, count = 0;
    char *list, *value, **names;
    int err = 0;
    memset(m, 0, sizeof(*m));
    if (size <= 0)
        return size < 0 && errno != ENOTSUP ? -errno : 0;
    list = malloc((size_t)size + 1);
    names = malloc((size_t)size * sizeof(*names));
    value = malloc(XATTR_SIZE_MAX);
    if (!list || !names || !value)
        image_fail("out of memory");
    size = listxattr(path, list, (size_t)size);
    if (size < 0)
        err = -errno;
    for (ssize_t at = 0; at < size; at += (ssize_t)strlen(list + at) + 1)
        names[count++] = list + at;
    qsort(names, (size_t)count, sizeof(*names), by_bytes);
    for (ssize_t i = 0; i < count && !err; i++) {
        n = getxattr(path, names[i], value, XATTR_SIZE_MAX);
        if (n < 0 && errno != ENODATA)
            err = -errno;
        if (n >= 0)
            take(m, names[i], value, (size_t)n);
    }
    free(list);
    free(names);
    free(value);
    if (err)
        marks_free(m);
    return err;
}

void marks_free(struct marks *m)
{
    free(m->override);
    tar_pax_free(&m->pax);
    memset(m, 0, sizeof(*m));
}
