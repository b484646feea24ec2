/* SHA-256 digests as images write them. */
#include "image/image.h"
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

struct image_sha {
    struct sha256_ctx ctx;
};

struct image_sha *image_sha_new(void)
{
    struct image_sha *s = malloc(sizeof(*s));
    if (!s)
        image_fail("out of memory");
    sha256_init(&s->ctx);
    return s;
}

void image_sha_add(struct image_sha *s, const void *data, size_t len)
{
    sha256_update(&s->ctx, len, data);
}

void image_sha_text(struct image_sha *s, char text[IMAGE_DIGEST_TEXT])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t sum[SHA256_DIGEST_SIZE];
    sha256_digest(&s->ctx, sizeof(sum), sum);
    free(s);
    memcpy(text, "sha256:", 7);
    for (size_t i = 0; i < sizeof(sum); i++) {
        text[7 + 2 * i] = hex[sum[i] >> 4];
        text[8 + 2 * i] = hex[sum[i] & 15];
    }
    text[7 + 2 * sizeof(sum)] = 0;
}

bool image_digest_ok(const char *digest)
{
    return !strncmp(digest, "sha256:", 7) && strlen(digest) == 7 + 64 &&
           strspn(digest + 7, "0123456789abcdef") == 64;
}
