/* What exec has to know of an ELF file: whether it can run here, and who loads it. */
#ifndef FUSS_TRACER_ELF_H
#define FUSS_TRACER_ELF_H

#include "base/base.h"
#include <sys/stat.h>

enum elf_kind {
    ELF_NONE,   /* no ELF file, or a broken or foreign one: the kernel says what it thinks of it */
    ELF_NATIVE, /* 64-bit, of this machine */
    ELF_32,     /* 32-bit code that this machine's kernel would run: i386, x32, arm */
};

struct elf {
    enum elf_kind kind;
    char interp[PATH_MAX]; /* PT_INTERP, "" where there is none */
};

/* Reads the headers of the open file; never fails: what cannot be read is ELF_NONE. */
void elf_read(int fd, struct elf *out);
/* The same for a file with this stat that was read before and has not been changed since; false
 * where it must be read. */
bool elf_known(const struct stat *st, struct elf *out);
void elf_note(const struct stat *st, const struct elf *elf);
/* True where the program loader `fd` takes --argv0 (glibc 2.33, musl 1.2.3 and newer). */
bool elf_loader_takes_argv0(int fd);
/* The same of a file with this stat, which is noted by elf_note() first. */
bool elf_loader_known(const struct stat *st, bool *argv0);
void elf_note_loader(const struct stat *st, bool argv0);

#endif
