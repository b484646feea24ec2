#include "tracer/elf.h"
#include "tracer/fileid.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PHDRS_MAX    512       /* the kernel takes 64 KiB of them; real files have a dozen */
#define LOADER_BYTES (4 << 20) /* of a loader searched; they have 100 to 1000 KiB */

#ifdef __x86_64__
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

static bool runs_as_32(u16 machine)
{
    return machine == EM_386 || machine == EM_ARM || machine == EM_X86_64;
}

/* The file and its first bytes, which hold all that is wanted in nearly every file. */
struct source {
    int fd;
    size_t have;
    char head[2048];
};

static bool fetch(const struct source *s, void *dst, size_t n, u64 at)
{
    if (at <= s->have && n <= s->have - at) {
        memcpy(dst, s->head + at, n);
        return true;
    }
    return pread(s->fd, dst, n, (off_t)at) == (ssize_t)n;
}

void elf_read(int fd, struct elf *out)
{
    struct source s = {.fd = fd};
    Elf64_Ehdr h = {0};
    out->kind = ELF_NONE;
    out->interp[0] = '\0';
    /* e_machine lies at the same place in both classes. */
    ssize_t n = pread(fd, s.head, sizeof(s.head), 0);
    if (n > 0)
        memcpy(&h, s.head, min_size((size_t)n, sizeof(h)));
    s.have = n > 0 ? (size_t)n : 0;
    if (n < (ssize_t)sizeof(Elf32_Ehdr) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0)
        return;
    if (h.e_ident[EI_CLASS] == ELFCLASS32) {
        if (h.e_ident[EI_DATA] == ELFDATA2LSB && runs_as_32(h.e_machine))
            out->kind = ELF_32;
        return;
    }
    if (n < (ssize_t)sizeof(h) || h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != MACHINE ||
        (h.e_type != ET_EXEC && h.e_type != ET_DYN) || h.e_phentsize != sizeof(Elf64_Phdr))
        return;
    out->kind = ELF_NATIVE;
    for (unsigned i = 0; i < h.e_phnum && i < PHDRS_MAX; i++) {
        Elf64_Phdr p;
        if (!fetch(&s, &p, sizeof(p), h.e_phoff + i * sizeof(p)))
            return;
        if (p.p_type != PT_INTERP)
            continue;
        if (p.p_filesz < 2 || p.p_filesz > sizeof(out->interp) ||
            !fetch(&s, out->interp, p.p_filesz, p.p_offset) || out->interp[p.p_filesz - 1] != '\0')
            out->interp[0] = '\0';
        return;
    }
}

/* -- files read before -------------------------------------------------------------------- */

#define KNOWN 256

static struct known {
    struct fileid id;
    char interp[64];
    enum { ARGV0_UNKNOWN, ARGV0_NO, ARGV0_YES } argv0; /* of a loader */
} known[KNOWN];

static struct known *find(const struct stat *st)
{
    struct known *k = &known[st->st_ino % KNOWN];
    return fileid_is(&k->id, st) ? k : NULL;
}

bool elf_known(const struct stat *st, struct elf *out)
{
    const struct known *k = find(st);
    if (!k)
        return false;
    out->kind = ELF_NATIVE;
    memcpy(out->interp, k->interp, sizeof(k->interp));
    return true;
}

void elf_note(const struct stat *st, const struct elf *elf)
{
    struct known *k = &known[st->st_ino % KNOWN];
    if (elf->kind != ELF_NATIVE || strlen(elf->interp) >= sizeof(k->interp) || !fileid_settled(st))
        return;
    *k = (struct known){.id = fileid_of(st)};
    memcpy(k->interp, elf->interp, strlen(elf->interp) + 1);
}

/* -- loaders ------------------------------------------------------------------------------ */

bool elf_loader_known(const struct stat *st, bool *argv0)
{
    const struct known *k = find(st);
    if (!k || k->argv0 == ARGV0_UNKNOWN)
        return false;
    *argv0 = k->argv0 == ARGV0_YES;
    return true;
}

void elf_note_loader(const struct stat *st, bool argv0)
{
    struct known *k = find(st);
    if (k)
        k->argv0 = argv0 ? ARGV0_YES : ARGV0_NO;
}

bool elf_loader_takes_argv0(int fd)
{
    /* Both loaders compare their options with this text (musl without the dashes). */
    static const char option[] = "argv0";
    char buf[1 << 14];
    size_t kept = 0;
    for (off_t at = 0; at < LOADER_BYTES;) {
        ssize_t n = pread(fd, buf + kept, sizeof(buf) - kept, at);
        if (n <= 0)
            return false;
        at += n;
        size_t have = kept + (size_t)n;
        if (memmem(buf, have, option, sizeof(option)))
            return true;
        kept = min_size(have, sizeof(option) - 1);
        memmove(buf, buf + have - kept, kept);
    }
    return false;
}
