/* chroot into the union: the kernel's root stays, the names that the process says begin elsewhere.
 */
#ifndef FUSS_TRACER_ROOTED_H
#define FUSS_TRACER_ROOTED_H

#include "call/call.h"
#include "tracer/task.h"

struct rooted;

/* The view of a process with a root of its own. */
const struct view *rooted_view(const struct rooted *r);
/* One more process has it; NULL stays NULL. */
struct rooted *rooted_share(struct rooted *r);
void rooted_put(struct rooted *r);
/* A chroot was decided: where it succeeds the process has its root from now on, and its children
 * are known from their birth on. */
void rooted_settle(struct task *t, struct call *c);

#endif
