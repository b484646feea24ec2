/* Writes the filters' programs as build/fuss carries them: struct filter_ready (tracer/filter.h) to
 * standard output. Run when fuss is built, since libseccomp takes longer to make them than all else
 * that fuss does before the command runs. */
#include "tracer/filter.h"
#include <stdio.h>
#include <string.h>

static struct sock_filter program[FILTERS_READY][BPF_MAXINSNS];

static int make(enum filter_way way, bool fake, struct filter_ready *head)
{
    int err = 0;
    unsigned at = filter_place(way, fake);
    filter_fake_ids(fake);
    struct filter *f = filter_build(way, &err);
    size_t len = 0;
    if (f)
        err = filter_program(f, way, program[at], &len);
    head->len[at] = (u32)len;
    filter_free(f);
    return err;
}

int main(void)
{
    struct filter_ready head;
    int err = make(FILTER_TRACE, false, &head);
    if (!err)
        err = make(FILTER_TRACE, true, &head);
    filter_open_gate(FILTER_COOKIE);
    if (!err)
        err = make(FILTER_NOTIFY, false, &head);
    if (!err)
        err = make(FILTER_NOTIFY, true, &head);
    if (err) {
        fprintf(stderr, "filters: %s\n", strerror(-err));
        return 1;
    }
    if (fwrite(&head, sizeof(head), 1, stdout) != 1)
        return 1;
    for (unsigned i = 0; i < FILTERS_READY; i++) {
        if (fwrite(program[i], sizeof(program[i][0]), head.len[i], stdout) != head.len[i])
            return 1;
    }
    return fclose(stdout) != 0;
}
