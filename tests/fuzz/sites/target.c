/* libFuzzer target: any bytes as an image. A table that comes out must be well formed and say what
 * the image holds. */
#include "image/sites.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct site_wants want;
    static u64 memory[1 << 15];
    struct sites *t = (struct sites *)memory;
    memset(&want, 0x55, sizeof(want));
    int n = sites_find(data, size, &want, t, sizeof(memory));
    if (n < 0)
        return 0;
    if ((u32)n != t->count || !sites_check(t, sites_size(t->count)))
        abort();
    for (int i = 0; i < n; i++) {
        const struct site *s = &t->site[i];
        if (s->offset > size || s->length > size - s->offset ||
            memcmp(s->old, data + s->offset, s->length) != 0)
            abort();
    }
    /* The same bytes as a table, as if they came from somewhere else. */
    if (size <= sizeof(memory)) {
        memcpy(memory, data, size);
        sites_check(t, size);
    }
    return 0;
}
