#include "vfs/ways.h"
#include "vfs/steady.h"

static unsigned slot_of(const char *said, size_t n, bool follow)
{
    u64 h = n * 2 + follow;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (u8)said[i]) * 0x9e3779b97f4a7c15u;
    return (unsigned)(h >> 32) % WAYS_ENTRIES;
}

bool ways_known(const struct ways *w, const char *said, size_t n, bool follow, struct place *place)
{
    unsigned i = slot_of(said, n, follow);
    if (w->entry[i].said_len != n || w->entry[i].follow != follow ||
        memcmp(w->entry[i].said, said, n) != 0 || steady_now() - w->entry[i].when >= STEADY_TICKS)
        return false;
    memcpy(place->path, w->entry[i].path, (size_t)w->entry[i].len + 1);
    place->len = w->entry[i].len;
    place->exists = true;
    place->last = LAST_NAME;
    return true;
}

void ways_note(struct ways *w, const char *said, size_t n, bool follow, const struct place *place)
{
    unsigned i = slot_of(said, n, follow);
    u32 now = steady_now();
    if (w->muted && now - w->muted_at < STEADY_TICKS)
        return;
    w->muted = false;
    if (n > WAYS_TEXT || place->len >= WAYS_TEXT || place->in_union || !place->exists ||
        place->crossed || place->slash || place->removed || place->host_error ||
        place->magic_fd >= 0 || place->last != LAST_NAME)
        return;
    memcpy(w->entry[i].said, said, n);
    memcpy(w->entry[i].path, place->path, place->len + 1);
    w->entry[i].said_len = (u16)n;
    w->entry[i].len = (u16)place->len;
    w->entry[i].follow = follow;
    w->entry[i].when = now;
}

void ways_change(struct ways *w)
{
    for (unsigned i = 0; i < WAYS_ENTRIES; i++)
        w->entry[i].said_len = 0;
    w->muted = true;
    w->muted_at = steady_now();
}
