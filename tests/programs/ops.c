/* Reads a list of file operations, one a line, runs each in this one process and compares its
 * result with what the line expects:
 *
 *     [%F|$S] NAME ARG... [= EXPECT]
 *
 * %F keeps the descriptor that the operation returned, $S its result text, for later lines.
 * EXPECT is "ok" (anything but an error), an errno name, or the very text of the result; a line
 * without it means "ok"; "= ?" takes anything; "= !X" anything but X. Words may stand in double
 * quotes. Exit 1 when a line differed; -p prints every result instead of judging. */
#include "ops.h"

static char vars[128][OPS_TEXT];
int ops_fds[128];
static bool print_only;

/* Splits LINE in place into at most MAX words; returns their count. */
static int split(char *line, char **word, int max)
{
    int n = 0;
    char *p = line;

    while (*p && n < max) {
        while (*p == ' ' || *p == '\t')
            p++;
        if (!*p || *p == '#')
            break;
        if (*p == '"') {
            word[n++] = ++p;
            while (*p && *p != '"')
                p++;
        } else {
            word[n++] = p;
            while (*p && *p != ' ' && *p != '\t')
                p++;
        }
        if (*p)
            *p++ = '\0';
    }
    return n;
}

/* %F as the descriptor it holds, "cwd" as AT_FDCWD, else a number. */
int ops_fd(const char *word)
{
    if (word[0] == '%')
        return ops_fds[(unsigned char)word[1] & 127];
    if (strcmp(word, "cwd") == 0)
        return AT_FDCWD;
    return atoi(word);
}

static bool matches(const char *want, const struct ops_result *got)
{
    if (strcmp(want, "?") == 0)
        return true;
    if (want[0] == '!' && want[1])
        return !matches(want + 1, got);
    if (want[0] == '$')
        want = vars[(unsigned char)want[1] & 127];
    if (got->err)
        return strcmp(want, probe_errno(got->err)) == 0;
    if (strcmp(want, "ok") == 0)
        return true;
    return strcmp(want, got->text) == 0;
}

/* Runs one line; returns false when the result is not the expected one. */
static bool run_line(char *line, int number)
{
    char copy[OPS_TEXT], *word[24];
    const char *want = "ok";
    struct ops_result res = {.fd = -1};
    char target = 0, kind = 0;
    int n, start = 0;

    snprintf(copy, sizeof(copy), "%s", line);
    n = split(line, word, 24);
    if (n == 0)
        return true;
    if ((word[0][0] == '%' || word[0][0] == '$') && n > 1) {
        kind = word[0][0];
        target = word[0][1];
        start = 1;
    }
    for (int i = start; i < n; i++)
        if (strcmp(word[i], "=") == 0) {
            want = i + 1 < n ? word[i + 1] : "";
            n = i;
            break;
        }
    memset(word + n, 0, (size_t)(24 - n) * sizeof(word[0]));
    if (!ops_run(word + start, n - start, &res))
        fail("line %d: no such operation: %s", number, copy);
    if (kind == '%') {
        ops_fds[(unsigned char)target & 127] = res.err ? -1 : res.fd;
    } else if (res.fd >= 0) {
        close(res.fd);
    }
    if (kind == '$')
        snprintf(vars[(unsigned char)target & 127], OPS_TEXT, "%s",
                 res.err ? probe_errno(res.err) : res.text);
    if (print_only) {
        printf("%-50s -> %s%s%s\n", copy, res.err ? probe_errno(res.err) : "ok",
               res.text[0] && !res.err ? " " : "", res.err ? "" : res.text);
        return true;
    }
    if (matches(want, &res))
        return true;
    printf("line %d: %s: got %s\n", number, copy, res.err ? probe_errno(res.err) : res.text);
    return false;
}

int main(int argc, char **argv)
{
    static char line[OPS_TEXT];
    int number = 0, bad = 0, arg = 1;
    FILE *in = stdin;

    for (int i = 0; i < 128; i++)
        ops_fds[i] = -1;
    umask(022);
    for (; arg < argc && argv[arg][0] == '-'; arg++) {
        if (strcmp(argv[arg], "-p") == 0)
            print_only = true;
        else if (strcmp(argv[arg], "-C") == 0 && arg + 1 < argc && chdir(argv[++arg]) != 0)
            fail("chdir %s: %s", argv[arg], probe_errno(errno));
    }
    if (arg < argc) {
        in = fopen(argv[arg], "re");
        if (!in)
            fail("%s: %s", argv[arg], probe_errno(errno));
    }
    while (fgets(line, sizeof(line), in)) {
        line[strcspn(line, "\n")] = '\0';
        number++;
        bad += !run_line(line, number);
    }
    if (number == 0)
        fail("no operations were read");
    if (bad)
        printf("%d of %d operations differ\n", bad, number);
    return bad ? 1 : 0;
}
