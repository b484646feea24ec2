/* Made-up ELF images with a few instructions, and real ones, for the tests of syscall sites. */
#ifndef FUSS_TESTS_SITES_LAB_H
#define FUSS_TESTS_SITES_LAB_H

#include "tracer/sitecache.c"
#include "tracer/sitestore.c"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define BASE 0x1000 /* of the made-up text, in memory and in the file */
#define DATA 0x3000
#define ROOM (1 << 20)

static struct site_wants want;
static struct sites *table;

static int setup(void **state)
{
    (void)state;
    want_rows(&want);
    table = malloc(ROOM);
    return table ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(table);
    return 0;
}

static u8 image[0x4000];
static u8 *text;

static inline void start_image(u16 type)
{
    Elf64_Ehdr h = {.e_type = type,
                    .e_machine = EM_X86_64,
                    .e_phoff = sizeof(h),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = 2};
    Elf64_Phdr p[2] = {{.p_type = PT_LOAD,
                        .p_flags = PF_R | PF_X,
                        .p_offset = BASE,
                        .p_vaddr = BASE,
                        .p_filesz = DATA - BASE},
                       {.p_type = PT_LOAD,
                        .p_flags = PF_R,
                        .p_offset = DATA,
                        .p_vaddr = DATA,
                        .p_filesz = sizeof(image) - DATA}};
    memcpy(h.e_ident, ELFMAG, SELFMAG);
    h.e_ident[EI_CLASS] = ELFCLASS64;
    h.e_ident[EI_DATA] = ELFDATA2LSB;
    memset(image, 0, sizeof(image));
    memcpy(image, &h, sizeof(h));
    memcpy(image + sizeof(h), p, sizeof(p));
    memset(image + BASE, 0x90, DATA - BASE);
    text = image + BASE + 0x400;
}

/* Sites of an image with this code at `text`; the table of one site in most cases. */
static inline int find(void)
{
    return sites_find(image, sizeof(image), &want, table, ROOM);
}

#define CODE(...)                                                                                  \
    do {                                                                                           \
        static const u8 code[] = {__VA_ARGS__};                                                    \
        start_image(ET_DYN);                                                                       \
        memcpy(text, code, sizeof(code));                                                          \
    } while (0)

#define MOV_STAT 0xb8, 4, 0, 0, 0
#define SYSCALL  0x0f, 0x05
#define CMP      0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff
#define RET      0xc3

static inline void put32(u8 *p, u32 v)
{
    memcpy(p, &v, sizeof(v));
}

/* A patch at text + 7 .. text + 15; what leads to text + 9 leads into its middle. */
#define TAIL MOV_STAT, 0x89, 0xf7, SYSCALL, CMP, RET
#define INTO (BASE + 0x400 + 9)

struct file {
    u8 *bytes;
    size_t size;
};

/* False where there is no such file. */
static inline bool slurp(const char *path, struct file *f)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    assert_int_equal(fstat(fd, &st), 0);
    f->size = (size_t)st.st_size;
    f->bytes = read_image(fd, f->size);
    assert_non_null(f->bytes);
    close(fd);
    return true;
}

#endif
