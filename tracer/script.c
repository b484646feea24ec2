#include "tracer/script.h"

#include "base/str.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool script_is(const char *head, size_t n)
{
    return n >= 2 && head[0] == '#' && head[1] == '!';
}

/* Copies [from, to) up to a NUL, which ends every word of the line. */
static void copy_word(char *dst, const char *from, const char *to)
{
    size_t n = 0;
    while (from + n < to && from[n])
        n++;
    str_copy_n(dst, SCRIPT_HEAD, from, n);
}

int script_parse(const char *head, size_t n, struct script *out)
{
    char line[SCRIPT_HEAD] = {0}; /* a short file is followed by NULs, as in the kernel's buffer */
    const char *p, *name, *end = line + sizeof(line) - 1, *stop = NULL;
    if (!script_is(head, n))
        return -ENOEXEC;
    memcpy(line, head, min_size(n, sizeof(line)));
    for (p = line + 2; p <= end && *p && !stop; p++)
        if (*p == '\n')
            stop = p;
    for (name = line + 2; name < (stop ? stop : end) && is_blank(*name); name++)
        ;
    if (!stop) {
        /* No end of line in sight: good only where the interpreter's own name ends in sight. */
        if (is_blank(*name))
            return -ENOEXEC;
        for (p = name; p <= end && *p && !is_blank(*p); p++)
            ;
        if (p > end)
            return -ENOEXEC;
        stop = end;
    }
    while (stop > line + 2 && is_blank(stop[-1]))
        stop--;
    if (name >= stop)
        return -ENOEXEC;
    for (p = name; p < stop && *p && !is_blank(*p); p++)
        ;
    copy_word(out->interp, name, p);
    bool blank = p < stop && is_blank(*p);
    while (p < stop && is_blank(*p))
        p++;
    out->has_arg = blank && p < stop; /* may be empty: a NUL after the blank */
    out->arg[0] = '\0';
    if (out->has_arg)
        copy_word(out->arg, p, stop);
    return 0;
}
