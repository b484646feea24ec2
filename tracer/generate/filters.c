/* Writes the filters' programs as build/fuss carries them: struct filter_ready (tracer/filter.h) to
 * standard output. Run when fuss is built, since libseccomp takes longer to make them than all else
 * that fuss does before the command runs. */
#include "tracer/filter.h"
#include <stdio.h>
#include <string.h>

static struct sock_filter program[2][BPF_MAXINSNS];

int main(void)
{
    static const enum filter_way ways[2] = {FILTER_TRACE, FILTER_NOTIFY};
    struct filter_ready head;
    for (unsigned i = 0; i < 2; i++) {
        int err = 0;
        if (ways[i] == FILTER_NOTIFY)
            filter_open_gate(FILTER_COOKIE);
        struct filter *f = filter_build(ways[i], &err);
        size_t len = 0;
        if (f)
            err = filter_program(f, ways[i], program[i], &len);
        if (err) {
            fprintf(stderr, "filters: %s\n", strerror(-err));
            return 1;
        }
        head.len[ways[i]] = (u32)len;
        filter_free(f);
    }
    if (fwrite(&head, sizeof(head), 1, stdout) != 1)
        return 1;
    for (unsigned i = 0; i < 2; i++) {
        if (fwrite(program[i], sizeof(program[i][0]), head.len[i], stdout) != head.len[i])
            return 1;
    }
    return fclose(stdout) != 0;
}
