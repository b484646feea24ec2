/* Deterministic workloads for `make bench`, and the trees they run over.
 *
 *   work tree DIR FILES        files of 200-2000 bytes at depth 4-6
 *   work project DIR FILES     a C program of FILES units and a Makefile
 *   work flat DIR FILES        FILES small files in 25 directories
 *   work fill FILE MIB         one file with content
 *   work stat DIR FILES N      N stat calls over the tree, every second name is missing
 *   work small DIR FILES N     N times open, read, close over the tree
 *   work read FILE N           N times open, read it all in 128 KiB pieces, close
 *   work write FILE MIB N      N times make it anew, write it in 128 KiB pieces, close
 *   work layers DIR FILES N    DIR/1 to DIR/N: all have the directories of a tree, each its share
 * of the files work wide DIR FILES        one directory of FILES empty files work names DIR FILES N
 * N stat calls in such a directory, every second name is missing work fopen DIR FILES N     N times
 * fopen, fgets, fclose over the tree work list DIR FILES N      N times opendir, readdir to the
 * end, closedir over the tree's directories work idle DIR FILES N      N stat calls as above, then
 * "ready" on standard output, then sleeps a minute */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 128 * 1024, STRIDE = 7919 };

static void fail(const char *what)
{
    fprintf(stderr, "work: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void make_parents(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(path, 0755) && errno != EEXIST)
            fail(path);
        *p = '/';
    }
}

static FILE *create(const char *format, ...)
{
    char path[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(path, sizeof path, format, list);
    va_end(list);
    make_parents(path);
    FILE *f = fopen(path, "w");
    if (!f)
        fail(path);
    return f;
}

/* The path of file i of a tree: 4, 5 or 6 components below dir. */
static void tree_path(char *out, size_t room, const char *dir, int i, const char *suffix)
{
    static const char *const deeper[] = {"", "sub/", "sub/deep/"};
    snprintf(out, room, "%s/a%d/b%d/c%d/%sf%d%s", dir, i % 5, i / 5 % 6, i / 30 % 5, deeper[i % 3],
             i, suffix);
}

static void make_tree(const char *dir, int files)
{
    for (int i = 0; i < files; i++) {
        char path[4096];
        tree_path(path, sizeof path, dir, i, "");
        FILE *f = create("%s", path);
        for (int line = 0; line < 10 + i % 90; line++)
            fprintf(f, "file %5d line %4d\n", i, line);
        fclose(f);
    }
}

static void make_layers(const char *dir, int files, int layers)
{
    for (int i = 0; i < files; i++)
        for (int layer = 1; layer <= layers; layer++) {
            char below[4000], path[4096];
            snprintf(below, sizeof below, "%s/%d/tree", dir, layer);
            tree_path(path, sizeof path, below, i, "");
            make_parents(path);
            if (i % layers == layer - 1)
                fclose(create("%s", path));
        }
}

static void make_wide(const char *dir, int files)
{
    for (int i = 0; i < files; i++)
        fclose(create("%s/entry%d", dir, i));
}

static void make_flat(const char *dir, int files)
{
    for (int i = 0; i < files; i++) {
        FILE *f = create("%s/dir%d/file%d", dir, i % 25, i);
        fprintf(f, "content of %d\n", i);
        fclose(f);
    }
}

static void make_project(const char *dir, int files)
{
    for (int i = 0; i < files; i++) {
        FILE *f = create("%s/include/unit%d.h", dir, i);
        fprintf(f, "#pragma once\nint unit%d(int x);\nstruct unit%d { int a, b[%d]; };\n", i, i,
                i + 1);
        fclose(f);
        f = create("%s/src/unit%d.c", dir, i);
        fprintf(f, "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
        for (int j = i > 8 ? i - 8 : 0; j <= i; j++)
            fprintf(f, "#include \"unit%d.h\"\n", j);
        for (int j = 0; j < 20; j++)
            fprintf(f,
                    "static int step%d(int x)\n{\n    for (int i = 0; i < %d; i++)\n"
                    "        x = x * 31 + (x >> %d) + i;\n    return x;\n}\n",
                    j, j + 3, j % 7 + 1);
        fprintf(f, "int unit%d(int x)\n{\n    struct unit%d u = {0};\n", i, i);
        for (int j = 0; j < 20; j++)
            fprintf(f, "    x += step%d(x) + u.a;\n", j);
        if (i)
            fprintf(f, "    x += unit%d(x);\n", i - 1);
        fprintf(f, "    return x;\n}\n");
        fclose(f);
    }
    FILE *f = create("%s/src/main.c", dir);
    fprintf(f,
            "#include <stdio.h>\n#include \"unit%d.h\"\nint main(void)\n{\n"
            "    printf(\"%%d\\n\", unit%d(1));\n    return 0;\n}\n",
            files - 1, files - 1);
    fclose(f);
    f = create("%s/Makefile", dir);
    fprintf(f, "OBJ := $(patsubst src/%%.c,obj/%%.o,$(wildcard src/*.c))\n"
               "prog: $(OBJ)\n\t$(CC) -o $@ $^\n"
               "obj/%%.o: src/%%.c | obj\n\t$(CC) -Iinclude -MMD -c -o $@ $<\n"
               "obj:\n\tmkdir -p $@\n");
    fclose(f);
}

static void do_write(const char *path, long mib)
{
    static char piece[PIECE];
    memset(piece, 'x', sizeof piece);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        fail(path);
    for (long i = 0; i < mib * 8; i++) {
        piece[i % PIECE] ^= (char)i;
        if (write(fd, piece, sizeof piece) != (ssize_t)sizeof piece)
            fail(path);
    }
    if (close(fd))
        fail(path);
}

static void do_read(const char *path)
{
    static char piece[PIECE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(path);
    ssize_t got;
    while ((got = read(fd, piece, sizeof piece)) > 0)
        ;
    if (got < 0)
        fail(path);
    close(fd);
}

static void do_stat(const char *dir, int files, long n)
{
    struct stat st;
    char path[4096];
    for (long k = 0; k < n; k++) {
        int missing = (int)(k & 1);
        tree_path(path, sizeof path, dir, (int)(k * STRIDE % files), missing ? ".no" : "");
        int result = stat(path, &st);
        if (missing ? result == 0 || errno != ENOENT : result != 0)
            fail(path);
    }
}

static void do_small(const char *dir, int files, long n)
{
    static char piece[4096];
    char path[4096];
    for (long k = 0; k < n; k++) {
        tree_path(path, sizeof path, dir, (int)(k * STRIDE % files), "");
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, piece, sizeof piece) <= 0)
            fail(path);
        close(fd);
    }
}

static void do_names(const char *dir, int files, long n)
{
    struct stat st;
    char path[4096];
    for (long k = 0; k < n; k++) {
        int missing = (int)(k & 1);
        snprintf(path, sizeof path, "%s/entry%d%s", dir, (int)(k * STRIDE % files),
                 missing ? ".no" : "");
        int result = stat(path, &st);
        if (missing ? result == 0 || errno != ENOENT : result != 0)
            fail(path);
    }
}

static void do_fopen(const char *dir, int files, long n)
{
    char line[256], path[4096];
    for (long k = 0; k < n; k++) {
        tree_path(path, sizeof path, dir, (int)(k * STRIDE % files), "");
        FILE *f = fopen(path, "re");
        if (!f || !fgets(line, sizeof line, f))
            fail(path);
        fclose(f);
    }
}

static void do_list(const char *dir, int files, long n)
{
    char path[4096];
    for (long k = 0; k < n; k++) {
        tree_path(path, sizeof path, dir, (int)(k * STRIDE % files), "");
        *strrchr(path, '/') = 0;
        DIR *d = opendir(path);
        int entries = 0;
        if (!d)
            fail(path);
        while (readdir(d))
            entries++;
        if (entries < 3)
            fail(path);
        closedir(d);
    }
}

static void do_idle(const char *dir, int files, long n)
{
    do_stat(dir, files, n);
    if (write(STDOUT_FILENO, "ready\n", 6) != 6)
        fail("ready");
    sleep(60);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 2 ? argv[1] : "";
    long first = argc > 3 ? atol(argv[3]) : 0;
    long second = argc > 4 ? atol(argv[4]) : 0;
    if (!strcmp(verb, "tree") && first > 0)
        make_tree(argv[2], (int)first);
    else if (!strcmp(verb, "project") && first > 0)
        make_project(argv[2], (int)first);
    else if (!strcmp(verb, "flat") && first > 0)
        make_flat(argv[2], (int)first);
    else if (!strcmp(verb, "fill") && first > 0)
        do_write(argv[2], first);
    else if (!strcmp(verb, "write") && second > 0)
        for (long i = 0; i < second; i++)
            do_write(argv[2], first);
    else if (!strcmp(verb, "stat") && second > 0)
        do_stat(argv[2], (int)first, second);
    else if (!strcmp(verb, "small") && second > 0)
        do_small(argv[2], (int)first, second);
    else if (!strcmp(verb, "layers") && second > 0)
        make_layers(argv[2], (int)first, (int)second);
    else if (!strcmp(verb, "wide") && first > 0)
        make_wide(argv[2], (int)first);
    else if (!strcmp(verb, "names") && second > 0)
        do_names(argv[2], (int)first, second);
    else if (!strcmp(verb, "fopen") && second > 0)
        do_fopen(argv[2], (int)first, second);
    else if (!strcmp(verb, "list") && second > 0)
        do_list(argv[2], (int)first, second);
    else if (!strcmp(verb, "idle") && second > 0)
        do_idle(argv[2], (int)first, second);
    else if (!strcmp(verb, "read") && first > 0)
        for (long i = 0; i < first; i++)
            do_read(argv[2]);
    else {
        fprintf(stderr, "work: usage: see the head of tests/bench/work.c\n");
        return 2;
    }
    return 0;
}
