#include "tracer/execargs.h"

#include "base/str.h"
#include "tracer/remote.h"
#include <stdlib.h>
#include <string.h>

#define POINTERS_MAX (1u << 20) /* more than the kernel's 6 MiB of arguments can be */
#define PAGE         4096u

void exec_args_free(struct exec_args *a)
{
    while (a->nwords)
        free(a->word[--a->nwords]);
    free(a->own);
    memset(a, 0, sizeof(*a));
}

int exec_args_load(struct exec_args *a, struct task *t, u64 argv)
{
    size_t room = 0;
    if (a->loaded)
        return 0;
    while (argv) {
        u64 at = argv + a->nown * sizeof(u64);
        /* Never beyond the page: what lies behind the list's end may not be mapped. */
        size_t n = (PAGE - (at & (PAGE - 1))) / sizeof(u64), i;
        n = n ? n : 1;
        if (a->nown + n > POINTERS_MAX)
            return -E2BIG;
        if (a->nown + n > room) {
            room = 2 * (a->nown + n);
            u64 *more = realloc(a->own, room * sizeof(u64));
            if (!more)
                return -ENOMEM;
            a->own = more;
        }
        int err = remote_read(t, a->own + a->nown, at, n * sizeof(u64));
        if (err)
            return err;
        for (i = 0; i < n && a->own[a->nown + i]; i++)
            ;
        a->nown += i;
        if (i < n)
            break;
    }
    a->loaded = true;
    return 0;
}

int exec_args_push(struct exec_args *a, const char *word)
{
    if (a->nwords == EXEC_WORDS_MAX)
        return -E2BIG;
    char *copy = strdup(word);
    if (!copy)
        return -ENOMEM;
    a->word[a->nwords++] = copy;
    return 0;
}

void exec_args_drop_first(struct exec_args *a)
{
    if (a->nwords)
        free(a->word[--a->nwords]);
    else if (a->skip < a->nown)
        a->skip++;
}

long exec_args_first(const struct exec_args *a, struct task *t, char *buf, size_t cap)
{
    if (a->nwords)
        return str_copy(buf, cap, a->word[a->nwords - 1]);
    if (a->skip < a->nown)
        return remote_read_str(t, buf, a->own[a->skip], cap);
    buf[0] = '\0';
    return 0;
}

size_t exec_args_image(const struct exec_args *a, const char *path, u64 at, char *image, u64 *argv)
{
    size_t rest = a->nown - a->skip;
    size_t list = (strlen(path) + 1 + 7) & ~(size_t)7;
    size_t text = list + (a->nwords + rest + 1) * sizeof(u64);
    const u64 end = 0;
    *argv = at + list;
    if (image)
        memcpy(image, path, strlen(path) + 1);
    for (unsigned i = a->nwords; i-- > 0;) {
        size_t n = strlen(a->word[i]) + 1;
        u64 where = at + text;
        if (image) {
            memcpy(image + list, &where, sizeof(where));
            memcpy(image + text, a->word[i], n);
        }
        list += sizeof(u64);
        text += n;
    }
    if (image) {
        if (rest)
            memcpy(image + list, a->own + a->skip, rest * sizeof(u64));
        memcpy(image + list + rest * sizeof(u64), &end, sizeof(end));
    }
    return text;
}
