#include "tracer/rooted.h"
#include "tracer/found.h"
#include "tracer/supervise.h"
#include <stdlib.h>
#include <string.h>

struct rooted {
    unsigned refs;
    struct view view;
    char root[];
};

const struct view *rooted_view(const struct rooted *r)
{
    return &r->view;
}

struct rooted *rooted_share(struct rooted *r)
{
    if (r)
        r->refs++;
    return r;
}

void rooted_put(struct rooted *r)
{
    if (r && --r->refs == 0)
        free(r);
}

void rooted_settle(struct task *t, struct call *c)
{
    const struct place *p = &c->place;
    if (c->action != CALL_DONE || c->result != 0)
        return;
    struct rooted *r = NULL;
    if (p->len > 1) {
        r = malloc(sizeof(*r) + p->len + 1);
        if (!r) {
            call_done(c, -ENOMEM);
            return;
        }
        r->refs = 1;
        memcpy(r->root, p->path, p->len + 1);
        r->view = sup.view;
        r->view.ways = NULL;
        r->view.root = r->root;
        r->view.root_is_mount = p->node.len == 0;
    }
    rooted_put(t->proc->rooted);
    t->proc->rooted = r;
    c->view = &sup.view;
    found_births(t, true, true);
}
