/* What an image's config says of the program that runs in it. */
#ifndef FUSS_IMAGE_CONFIG_H
#define FUSS_IMAGE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lists end with NULL and are never NULL themselves. */
struct image_config {
    char **env; /* NAME=VALUE each */
    char **entrypoint, **cmd;
    char *directory; /* empty = none said; so are the next */
    char *user;
};

/* Of the config's JSON text. False, with *wrong and nothing to free, where it says what cannot be.
 */
bool image_config_read(const char *text, size_t len, struct image_config *c, const char **wrong);

void image_config_free(struct image_config *c);

/* "USER", "UID", either with ":GROUP" or ":GID", by the image's /etc/passwd and /etc/group (NULL =
 * it has none). False: a name is not in them. */
bool image_user_find(const char *user, const char *passwd, const char *group, uint32_t *uid,
                     uint32_t *gid);

/* The home directory of the user with that number: absolute, or empty where the file says none. To
 * be freed. */
char *image_user_home(const char *passwd, uint32_t uid);

#endif
