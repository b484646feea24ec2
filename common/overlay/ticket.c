#include "overlay/change.h"

/* A short table is enough: a ticket lives from the entry to the exit of one system call. Equal
 * hashes of different paths only make one wait for the other. */
u64 overlay_ticket_take(struct overlay *o, const char *path, size_t len)
{
    u64 hash = o->index ? index_hash(o->index, path, len) : 1;
    u64 found = 0;
    if (hash == 0)
        hash = 1;
    for (u64 i = 0; i < TICKETS_MAX; i++) {
        if (o->ticket[i].hash == hash)
            return 0;
        if (o->ticket[i].hash == 0 && !found)
            found = i + 1;
    }
    if (found)
        o->ticket[found - 1].hash = hash;
    return found;
}

void overlay_ticket_drop(struct overlay *o, u64 ticket)
{
    if (ticket == 0 || ticket > TICKETS_MAX)
        return;
    o->ticket[ticket - 1].hash = 0;
}
