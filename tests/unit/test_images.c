/* Syscall sites of the system's images, against what objdump says of them. */
#include "sites_lab.h"

/* What objdump says: the instructions in order, with the target of a direct branch. */
struct line {
    u64 at, target;
    unsigned length;
    int nr; /* of `mov $nr,%eax`, else -1 */
    bool syscall;
};
static struct line *lines;
static size_t line_count;

static void disassemble(const char *path)
{
    char command[4200], text_line[1024];
    size_t cap = 0;
    snprintf(command, sizeof(command), "objdump -d -w --insn-width=16 '%s'", path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    line_count = 0;
    while (fgets(text_line, sizeof(text_line), f)) {
        char *hex = strchr(text_line, '\t'), *insn = hex ? strchr(hex + 1, '\t') : NULL;
        if (!insn)
            continue;
        if (line_count == cap) {
            cap = cap ? cap * 2 : 1 << 16;
            lines = realloc(lines, cap * sizeof(*lines));
            assert_non_null(lines);
        }
        struct line *l = &lines[line_count++];
        char word[32] = "", args[96] = "";
        *l = (struct line){.at = strtoull(text_line, NULL, 16), .nr = -1};
        for (const char *p = hex + 1; p < insn && p[0] != ' '; p += p[2] == ' ' ? 3 : 2)
            l->length++;
        sscanf(insn + 1, "%31s %95[^\n]", word, args);
        l->syscall = strcmp(word, "syscall") == 0;
        if (word[0] == 'j' || strncmp(word, "call", 4) == 0 || strncmp(word, "loop", 4) == 0)
            l->target = strtoull(args, NULL, 16);
        if (strcmp(word, "mov") == 0 && strncmp(args, "$0x", 3) == 0 && strstr(args, ",%eax"))
            l->nr = (int)strtoul(args + 1, NULL, 16);
    }
    pclose(f);
}

static const struct line *line_at(u64 at)
{
    size_t a = 0, b = line_count;
    while (b - a > 1) {
        size_t m = a + (b - a) / 2;
        if (lines[m].at <= at)
            a = m;
        else
            b = m;
    }
    return line_count && lines[a].at == at ? &lines[a] : NULL;
}

/* Every site stands on whole instructions, and objdump knows no branch into one. */
static void check_sites(int n)
{
    for (int i = 0; i < n; i++) {
        const struct site *s = &table->site[i];
        const struct line *l = line_at(s->vaddr), *end = line_at(s->vaddr + s->resume);
        assert_non_null(l);
        if (s->kind == SITE_MOV) {
            assert_int_equal(l->nr, s->nr);
            assert_int_equal(l->length, 5);
            assert_true(l[1].syscall);
        } else {
            assert_true(l->syscall);
        }
        assert_true(end != NULL || (s->flags & SITE_RETURNS));
    }
    for (size_t i = 0; i < line_count; i++) {
        if (lines[i].target == 0)
            continue;
        for (int k = 0; k < n; k++) {
            const struct site *s = &table->site[k];
            assert_false(lines[i].target > s->vaddr && lines[i].target < s->vaddr + s->length);
        }
    }
}

static int is_site(int n, u64 at)
{
    for (int i = 0; i < n; i++)
        if (table->site[i].vaddr == at)
            return 1;
    return 0;
}

/* Compares with objdump; of the wanted calls whose number stands right before them no more than
 * `missed` may not be found. False where the machine has no such file. */
static bool compare(const char *path, unsigned min_sites, unsigned missed)
{
    struct file f;
    unsigned wanted = 0, found = 0;
    if (!slurp(path, &f)) {
        print_message("%s: not here\n", path);
        return false;
    }
    int n = sites_find(f.bytes, f.size, &want, table, ROOM);
    assert_true(n >= (int)min_sites);
    assert_true(sites_check(table, sites_size((u32)n)));
    for (int i = 0; i < n; i++)
        assert_memory_equal(table->site[i].old, f.bytes + table->site[i].offset,
                            table->site[i].length);
    disassemble(path);
    check_sites(n);
    for (size_t i = 0; i + 1 < line_count; i++)
        if (lines[i].nr >= 0 && lines[i + 1].syscall && sites_wanted(&want, lines[i].nr)) {
            wanted++;
            found += (unsigned)is_site(n, lines[i].at);
        }
    print_message("%s: %d sites, %u of %u with the number right before\n", path, n, found, wanted);
    assert_true(found + missed >= wanted);
    munmap(f.bytes, f.size);
    return true;
}

static void test_images_of_the_system(void **state)
{
    (void)state;
    bool libc =
        compare("/lib/x86_64-linux-gnu/libc.so.6", 60, 0) || compare("/lib64/libc.so.6", 60, 0);
    bool loader = compare("/lib64/ld-linux-x86-64.so.2", 7, 0);
#ifdef __x86_64__
    assert_true(libc && loader);
#endif
    (void)(libc && loader);
    compare("/usr/lib/x86_64-linux-musl/libc.so", 60, 0);
    compare("/bin/busybox", 30, 0);
    /* The product and a Go program, where they are built: beside this one. */
    char self[PATH_MAX], path[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    for (int up = 0; up < 2; up++)
        *strrchr(self, '/') = '\0';
    snprintf(path, sizeof(path), "%s/fuss", self);
    /* In an image with a fixed place any four bytes may be an address, and in one of this size,
     * which changes with each build, some are a site's: such a site is left alone. */
    compare(path, 100, 8);
    snprintf(path, sizeof(path), "%s/tests/go/goprobe", self);
    compare(path, 3, 0);
}

/* musl's cancellation looks where between two labels the program is: the second one is behind the
 * syscall, so that this one must stay as it is. */
static void test_musl_cancellation_point_stays(void **state)
{
    static const u8 piece[] = {0x4c, 0x89, 0x5c, 0x24, 0x08, SYSCALL, RET};
    struct file f;
    (void)state;
    if (!slurp("/usr/lib/x86_64-linux-musl/libc.so", &f))
        return;
    int n = sites_find(f.bytes, f.size, &want, table, ROOM);
    const u8 *at = memmem(f.bytes, f.size, piece, sizeof(piece));
    assert_non_null(at);
    for (int i = 0; i < n; i++)
        assert_true(table->site[i].offset != (u64)(at - f.bytes) + 5);
    munmap(f.bytes, f.size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_images_of_the_system),
        cmocka_unit_test(test_musl_cancellation_point_stays),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
