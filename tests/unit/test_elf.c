/* ELF headers: what runs, what is refused, and who loads it. */
#include "tracer/elf.c"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <cmocka.h>

static struct elf e;

static int file(const void *bytes, size_t n)
{
    int fd = memfd_create("elf", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    return fd;
}

static enum elf_kind kind_of(const void *bytes, size_t n)
{
    int fd = file(bytes, n);
    memset(&e, 0x55, sizeof(e));
    elf_read(fd, &e);
    close(fd);
    return e.kind;
}

struct image {
    Elf64_Ehdr h;
    Elf64_Phdr p[3];
    char text[64];
};

static struct image image(const char *interp)
{
    struct image i = {0};
    memcpy(i.h.e_ident, ELFMAG, SELFMAG);
    i.h.e_ident[EI_CLASS] = ELFCLASS64;
    i.h.e_ident[EI_DATA] = ELFDATA2LSB;
    i.h.e_type = ET_DYN;
    i.h.e_machine = MACHINE;
    i.h.e_phoff = offsetof(struct image, p);
    i.h.e_phentsize = sizeof(Elf64_Phdr);
    i.h.e_phnum = 3;
    i.p[0].p_type = PT_PHDR;
    i.p[1].p_type = interp ? PT_INTERP : PT_LOAD;
    i.p[1].p_offset = offsetof(struct image, text);
    i.p[1].p_filesz = interp ? strlen(interp) + 1 : 0;
    if (interp)
        memcpy(i.text, interp, strlen(interp) + 1);
    return i;
}

static void with_and_without_interpreter(void **state UNUSED)
{
    struct image i = image("/lib64/ld.so");
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_NATIVE);
    assert_string_equal(e.interp, "/lib64/ld.so");
    i = image(NULL);
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_NATIVE);
    assert_string_equal(e.interp, "");
}

static void broken_interpreters_are_the_kernels_affair(void **state UNUSED)
{
    struct image i = image("/lib64/ld.so");
    i.p[1].p_filesz--; /* not terminated */
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_NATIVE);
    assert_string_equal(e.interp, "");
    i.p[1].p_filesz = PATH_MAX + 1;
    kind_of(&i, sizeof(i));
    assert_string_equal(e.interp, "");
    i = image("/lib64/ld.so");
    kind_of(&i, offsetof(struct image, text) + 3);
    assert_string_equal(e.interp, "");
    i.h.e_phoff = (u64)-8;
    kind_of(&i, sizeof(i));
    assert_string_equal(e.interp, "");
}

static void thirty_two_bits(void **state UNUSED)
{
    struct image i = image(NULL);
    i.h.e_ident[EI_CLASS] = ELFCLASS32;
    i.h.e_machine = EM_386;
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_32);
    assert_int_equal(kind_of(&i, sizeof(Elf32_Ehdr)), ELF_32);
    i.h.e_machine = EM_ARM;
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_32);
    i.h.e_machine = EM_X86_64; /* x32 */
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_32);
    i.h.e_machine = EM_MIPS; /* somebody's binfmt_misc may run it */
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_NONE);
}

static void everything_else(void **state UNUSED)
{
    struct image i = image(NULL);
    assert_int_equal(kind_of(&i, 10), ELF_NONE);
    assert_int_equal(kind_of("", 0), ELF_NONE);
    assert_int_equal(kind_of("#!/bin/sh\n", 10), ELF_NONE);
    i.h.e_machine = EM_S390;
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_NONE);
    i = image(NULL);
    i.h.e_type = ET_REL;
    assert_int_equal(kind_of(&i, sizeof(i)), ELF_NONE);
}

static void a_loaders_options(void **state UNUSED)
{
    static char bytes[100000];
    static const size_t at[] = {0, 16381, 16384, 32766, sizeof(bytes) - 6};
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        memset(bytes, 0, sizeof(bytes));
        memcpy(bytes + at[i], "argv0", 6);
        int fd = file(bytes, sizeof(bytes));
        assert_true(elf_loader_takes_argv0(fd));
        close(fd);
    }
    memcpy(bytes + sizeof(bytes) - 6, "argv1", 6);
    int fd = file(bytes, sizeof(bytes));
    assert_false(elf_loader_takes_argv0(fd));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_and_without_interpreter),
        cmocka_unit_test(broken_interpreters_are_the_kernels_affair),
        cmocka_unit_test(thirty_two_bits),
        cmocka_unit_test(everything_else),
        cmocka_unit_test(a_loaders_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
