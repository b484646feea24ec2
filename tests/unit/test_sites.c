/* Syscall sites in made-up code of every shape, and in damaged images. */
#include "image/decode.h"
#include "sites_lab.h"

/* -- made-up images -------------------------------------------------------------------------- */

static void test_the_number_right_before(void **state)
{
    (void)state;
    CODE(MOV_STAT, SYSCALL, CMP, RET);
    assert_int_equal(find(), 1);
    const struct site *s = &table->site[0];
    assert_int_equal(s->kind, SITE_MOV);
    assert_int_equal(s->nr, 4);
    assert_int_equal(s->vaddr, BASE + 0x400);
    assert_int_equal(s->offset, BASE + 0x400);
    assert_int_equal(s->length, 5);
    assert_int_equal(s->resume, 7);
    assert_memory_equal(s->old, text, 5);
    assert_true(sites_check(table, sites_size(1)));
}

static void test_only_what_is_wanted(void **state)
{
    (void)state;
    CODE(0xb8, 1, 0, 0, 0, SYSCALL, CMP, RET); /* write */
    assert_int_equal(find(), 0);
    CODE(0xb8, 0x42, 1, 0, 0, SYSCALL, CMP, RET); /* execveat is the supervisor's */
    assert_int_equal(find(), 0);
    CODE(0xb8, 59, 0, 0, 0, SYSCALL, CMP, RET); /* execve, for what is not there */
    assert_int_equal(find(), 1);
    CODE(0xb8, 9, 0, 0, 0, SYSCALL, CMP, RET); /* mmap, for the loader */
    assert_int_equal(find(), 1);
    CODE(0x6a, 1, 0x58, SYSCALL, CMP, RET); /* push, pop */
    assert_int_equal(find(), 0);
    CODE(0x31, 0xc0, SYSCALL, CMP, RET); /* read */
    assert_int_equal(find(), 0);
    CODE(0xb8, 0xff, 0xff, 0xff, 0x7f, SYSCALL, CMP, RET);
    assert_int_equal(find(), 0);
}

static void test_a_prefix_is_part_of_the_mov(void **state)
{
    (void)state;
    CODE(0x41, MOV_STAT, SYSCALL, CMP, RET); /* mov $4,%r8d */
    assert_int_equal(find(), 1);
    assert_int_equal(table->site[0].kind, SITE_TAIL);
    assert_int_equal(table->site[0].nr, -1);
    assert_int_equal(table->site[0].vaddr, BASE + 0x406);
    CODE(0x48, 0xc7, 0xc0, 4, 0, 0, 0, SYSCALL, CMP, RET); /* mov $4,%rax */
    assert_int_equal(find(), 1);
    assert_int_equal(table->site[0].kind, SITE_TAIL);
    assert_int_equal(table->site[0].nr, 4);
    CODE(0x48, 0x05, MOV_STAT, 0x0f, 0x05, 0x90); /* an add and a piece */
    text[6] = 0x90;
    assert_int_equal(find(), 1);
    assert_int_equal(table->site[0].kind, SITE_TAIL);
}

static void test_a_syscall_inside_an_instruction_is_none(void **state)
{
    (void)state;
    CODE(0xe8, 0x79, 0x0f, 0x05, 0x00, RET);
    assert_int_equal(find(), 0);
    CODE(MOV_STAT, 0x48, 0xb8, SYSCALL, 0, 0, 0, 0, 0, 0, RET);
    assert_int_equal(find(), 0);
}

static void test_the_instructions_behind(void **state)
{
    static const u8 neg[] = {SYSCALL, 0xf7, 0xd8, RET, 0x66, 0x90, 0x0f, 0x1f, 0};
    const struct site *s = table->site;
    (void)state;
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, 0x48, 0x89, 0xc7, 0xe8, 0, 1, 0, 0); /* musl */
    assert_int_equal(find(), 1);
    assert_int_equal(s->kind, SITE_TAIL);
    assert_int_equal(s->nr, 4);
    assert_int_equal(s->length, 5);
    assert_int_equal(s->resume, 5);
    assert_int_equal(s->flags, 0);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, 0xf7, 0xd8, RET, 0x66, 0x90); /* neg, ret */
    assert_int_equal(find(), 1);
    assert_int_equal(s->length, 5);
    assert_int_equal(s->flags, SITE_RETURNS);
    assert_memory_equal(s->old, neg, 5);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, RET, 0x66, 0x90); /* ret, padding */
    assert_int_equal(find(), 1);
    assert_int_equal(s->flags, SITE_RETURNS);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, RET, 0x31, 0xc0, RET); /* another function */
    assert_int_equal(find(), 0);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, 0x48, 0x8b, 0x05, 0, 1, 0, 0); /* by its own address */
    assert_int_equal(find(), 0);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, 0xeb, 0x10, 0x90, 0x90); /* jmp */
    assert_int_equal(find(), 0);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, 0xe8, 0, 1, 0, 0); /* call */
    assert_int_equal(find(), 0);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, 0xff, 0xd0, 0x90, 0x90); /* call *%rax */
    assert_int_equal(find(), 0);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, 0xf4, 0x90, 0x90, 0x90); /* hlt */
    assert_int_equal(find(), 0);
    CODE(MOV_STAT, 0x89, 0xf7, SYSCALL, 0xcc, 0x90, 0x90, 0x90); /* int3 where code is expected */
    assert_int_equal(find(), 0);
}

static void test_wrappers(void **state)
{
    (void)state;
    CODE(0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, SYSCALL, CMP, 0x73, 1, RET); /* mov %rdi,%rax */
    assert_int_equal(find(), 1);
    assert_int_equal(table->site[0].nr, -1);
    assert_int_equal(table->site[0].length, 8);
    CODE(0x48, 0x8b, 0x44, 0x24, 8, SYSCALL, CMP, 0x76, 1, RET); /* Go's: from the stack */
    assert_int_equal(find(), 1);
    assert_int_equal(table->site[0].nr, -1);
    /* A futex loop: the number is in a register since before it. */
    CODE(0x41, 0xbf, 0xca, 0, 0, 0, 0xeb, 0, 0x44, 0x89, 0xf8, SYSCALL, CMP, 0x76, 0xf3);
    assert_int_equal(find(), 0);
    text[2] = 4;
    assert_int_equal(find(), 1);
}

static void test_nothing_may_lead_into_a_patch(void **state)
{
    (void)state;
    CODE(TAIL);
    assert_int_equal(find(), 1);
    text[-2] = 0xeb; /* jmp +9 */
    text[-1] = 9;
    assert_int_equal(find(), 0);
    text[-1] = 7; /* to the syscall itself */
    assert_int_equal(find(), 1);
    text[-1] = 15; /* behind the patch */
    assert_int_equal(find(), 1);
    CODE(TAIL);
    text[0x40] = 0x0f; /* a far jcc */
    text[0x41] = 0x84;
    put32(text + 0x42, (u32)(9 - 0x46));
    assert_int_equal(find(), 0);
    CODE(TAIL);
    image[BASE + 0x1800] = 0xe9;
    put32(image + BASE + 0x1801, (u32)(INTO - (BASE + 0x1805)));
    assert_int_equal(find(), 0);
    CODE(TAIL);
    image[BASE + 0x1800] = 0x48; /* lea */
    image[BASE + 0x1801] = 0x8d;
    image[BASE + 0x1802] = 0x0d;
    put32(image + BASE + 0x1803, (u32)(INTO - (BASE + 0x1807)));
    assert_int_equal(find(), 0);
}

static void test_nothing_in_data_may_refer_to_a_patch(void **state)
{
    (void)state;
    CODE(TAIL);
    put32(image + DATA + 0x10, INTO); /* an eight-byte address: a symbol, a relocation's addend */
    assert_int_equal(find(), 0);
    CODE(TAIL);
    put32(image + DATA + 0x14, INTO); /* half of one: chance */
    assert_int_equal(find(), 1);
    image[16] = ET_EXEC; /* there, four bytes are enough */
    assert_int_equal(find(), 0);
    CODE(TAIL);
    image[16] = ET_EXEC;
    put32(text + 0x101, INTO); /* an immediate */
    assert_int_equal(find(), 0);
    /* A jump table: offsets from itself. */
    CODE(TAIL);
    image[BASE + 0x1800] = 0x48;
    image[BASE + 0x1801] = 0x8d;
    image[BASE + 0x1802] = 0x15;
    put32(image + BASE + 0x1803, (u32)(DATA + 0x20 - (BASE + 0x1807)));
    for (unsigned i = 0; i < 4; i++)
        put32(image + DATA + 0x20 + 4 * i, (u32)(BASE + 0x900 - (DATA + 0x20)));
    assert_int_equal(find(), 1);
    put32(image + DATA + 0x2c, (u32)(INTO - (DATA + 0x20)));
    assert_int_equal(find(), 0);
}

static void test_patches_do_not_overlap(void **state)
{
    (void)state;
    CODE(0x48, 0x89, 0xf8, SYSCALL, 0x89, 0xc7, MOV_STAT, SYSCALL, CMP, RET);
    int n = find();
    assert_int_equal(n, 1);
    assert_int_equal(table->site[0].length, 9);
    assert_true(sites_check(table, sites_size((u32)n)));
}

/* -- broken images ---------------------------------------------------------------------------- */

static void test_other_machines_have_none(void **state)
{
    (void)state;
    CODE(TAIL);
    image[18] = EM_AARCH64;
    assert_int_equal(find(), 0);
    CODE(TAIL);
    image[EI_CLASS] = ELFCLASS32;
    assert_int_equal(find(), 0);
    assert_int_equal(sites_find("#!/bin/sh\n", 10, &want, table, ROOM), -ENOEXEC);
    assert_int_equal(sites_find("", 0, &want, table, ROOM), -ENOEXEC);
}

static void test_broken_headers(void **state)
{
    Elf64_Phdr *p = (Elf64_Phdr *)(image + sizeof(Elf64_Ehdr));
    Elf64_Ehdr *h = (Elf64_Ehdr *)image;
    (void)state;
    for (size_t size = 0; size < sizeof(image); size += size < 300 ? 1 : 977) {
        CODE(TAIL);
        u8 *cut = malloc(size + 1);
        memcpy(cut, image, size);
        int r = sites_find(cut, size, &want, table, ROOM);
        assert_true(r <= 0);
        free(cut);
    }
#define BROKEN(change)                                                                             \
    do {                                                                                           \
        CODE(TAIL);                                                                                \
        change;                                                                                    \
        assert_int_equal(find(), -ENOEXEC);                                                        \
    } while (0)
    BROKEN(h->e_phoff = (u64)-8);
    BROKEN(h->e_phoff = sizeof(image) - 8);
    BROKEN(h->e_phnum = 0xffff);
    BROKEN(h->e_phentsize = 55);
    BROKEN(h->e_type = ET_CORE);
    BROKEN(p[0].p_offset = (u64)-BASE);
    BROKEN(p[0].p_filesz = (u64)-1);
    BROKEN(p[0].p_vaddr = (u64)-0x2000);
    BROKEN(p[1].p_vaddr = BASE);
    CODE(TAIL);
    assert_int_equal(sites_find(image, sizeof(image), &want, table, sites_size(0)), -ENOSPC);
    assert_int_equal(sites_find(image, sizeof(image), &want, table, 3), -ENOSPC);
    memset(image + BASE, 0x0f, DATA - BASE); /* nothing but halves of syscalls */
    for (size_t i = BASE + 1; i < DATA; i += 2)
        image[i] = 5;
    assert_true(find() <= 0);
}

static void test_tables_are_checked(void **state)
{
    struct site *s = table->site;
    (void)state;
    CODE(MOV_STAT, SYSCALL, CMP, RET);
    memcpy(text + 0x40, text, 16);
    int n = find();
    assert_int_equal(n, 2);
    size_t bytes = sites_size(2);
    assert_true(sites_check(table, bytes));
    assert_false(sites_check(table, bytes - 1));
    assert_false(sites_check(table, 3));
#define WRONG(change)                                                                              \
    do {                                                                                           \
        find();                                                                                    \
        change;                                                                                    \
        assert_false(sites_check(table, bytes));                                                   \
    } while (0)
    WRONG(table->version++);
    WRONG(table->count++);
    WRONG(table->count = (u32)-1);
    WRONG(s[0].kind = 0);
    WRONG(s[0].kind = SITE_TAIL);
    WRONG(s[0].length = 6);
    WRONG(s[0].resume = 5);
    WRONG(s[0].nr = 5);
    WRONG(s[0].nr = -1);
    WRONG(s[0].flags = 0x80);
    WRONG(s[0].vaddr = s[1].vaddr);
    WRONG(s[1].vaddr = s[0].vaddr + 6);
    WRONG(s[1].vaddr = (u64)-4);
}

/* -- damaged images --------------------------------------------------------------------------- */

static u64 rand_state;

static u32 rnd(u32 below)
{
    rand_state = rand_state * 6364136223846793005u + 1442695040888963407u;
    return (u32)(rand_state >> 33) % below;
}

static s64 now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return ns_of(&t);
}

static void damage(const char *path, u32 seeds, s64 ns)
{
    struct file f;
    s64 end = now_ns() + ns;
    u32 seed = 1;
    if (!slurp(path, &f))
        return;
    u8 *copy = malloc(f.size);
    assert_non_null(copy);
    for (; seed <= seeds && now_ns() < end; seed++) {
        rand_state = seed;
        memcpy(copy, f.bytes, f.size);
        u32 changes = 1 + rnd(32), head = rnd(3);
        for (u32 i = 0; i < changes; i++)
            copy[rnd(head == 0 ? 1024 : (u32)f.size)] = (u8)rnd(256);
        size_t size = rnd(8) == 0 ? rnd((u32)f.size) : f.size;
        int n = sites_find(copy, size, &want, table, ROOM);
        assert_true(n >= -ENOSPC && (n >= 0 || n == -ENOEXEC || n == -ENOSPC));
        if (n <= 0)
            continue;
        assert_true(sites_check(table, sites_size((u32)n)));
        for (int i = 0; i < n; i++) {
            const struct site *s = &table->site[i];
            assert_true(s->offset < size && s->length <= size - s->offset);
            assert_memory_equal(s->old, copy + s->offset, s->length);
        }
    }
    print_message("%s: %u damaged copies\n", path, seed - 1);
    free(copy);
    munmap(f.bytes, f.size);
}

static void test_damaged_images(void **state)
{
    (void)state;
    damage("/lib64/ld-linux-x86-64.so.2", 2000, 1500000000);
    damage("/usr/lib/x86_64-linux-musl/libc.so", 500, 1500000000);
}

static void test_any_bytes_decode_within_bounds(void **state)
{
    u8 bytes[32];
    (void)state;
    rand_state = 7;
    for (u32 i = 0; i < 300000; i++) {
        struct insn full, cut;
        for (size_t k = 0; k < sizeof(bytes); k++)
            bytes[k] = (u8)rnd(256);
        size_t n = rnd(16);
        u8 *end = bytes + sizeof(bytes) - n; /* the sanitizer sees what is read behind it */
        memmove(end, bytes, n);
        if (insn_decode(end, n, &cut))
            assert_in_range(cut.length, 1, n);
        if (insn_decode(bytes, sizeof(bytes), &full))
            assert_in_range(full.length, 1, INSN_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_number_right_before),
        cmocka_unit_test(test_only_what_is_wanted),
        cmocka_unit_test(test_a_prefix_is_part_of_the_mov),
        cmocka_unit_test(test_a_syscall_inside_an_instruction_is_none),
        cmocka_unit_test(test_the_instructions_behind),
        cmocka_unit_test(test_wrappers),
        cmocka_unit_test(test_nothing_may_lead_into_a_patch),
        cmocka_unit_test(test_nothing_in_data_may_refer_to_a_patch),
        cmocka_unit_test(test_patches_do_not_overlap),
        cmocka_unit_test(test_other_machines_have_none),
        cmocka_unit_test(test_broken_headers),
        cmocka_unit_test(test_tables_are_checked),
        cmocka_unit_test(test_damaged_images),
        cmocka_unit_test(test_any_bytes_decode_within_bounds),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
