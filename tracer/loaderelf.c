/* What a dynamic linker's file says of how it is to be mapped. */
#include "tracer/fileid.h"
#include "tracer/loader.h"
#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KNOWN     8
#define PHDRS_MAX 32
#define PAGE      4096u
#define SPAN_MAX  (16u << 20)

static u64 page_down(u64 at)
{
    return at & ~(u64)(PAGE - 1);
}

static u64 page_up(u64 at)
{
    return page_down(at + PAGE - 1);
}

static u32 prot_of(u32 flags)
{
    return (flags & PF_R ? PROT_READ : 0u) | (flags & PF_W ? PROT_WRITE : 0u) |
           (flags & PF_X ? PROT_EXEC : 0u);
}

static bool add_map(struct loader *l, u64 at, u64 end, u32 prot, u32 flags, u64 offset)
{
    if (at == end)
        return true;
    if (at > end || end > SPAN_MAX || l->nmaps == LOADER_MAPS)
        return false;
    l->map[l->nmaps++] = (struct loader_map){at, end - at, prot, flags | MAP_FIXED, offset};
    l->span = end;
    return true;
}

/* As the kernel maps it (fs/binfmt_elf.c): the file's part in whole pages, zeros behind it. */
static bool add_segment(struct loader *l, const Elf64_Phdr *p)
{
    u64 at = page_down(p->p_vaddr), file_end = p->p_vaddr + p->p_filesz;
    u64 end = p->p_vaddr + p->p_memsz;
    bool first = l->span == 0;
    if (p->p_align > PAGE || (p->p_vaddr ^ p->p_offset) % PAGE || p->p_filesz > p->p_memsz ||
        p->p_filesz > SPAN_MAX || p->p_memsz > SPAN_MAX || p->p_vaddr > SPAN_MAX || at < l->span ||
        (first && at) || l->zero_size)
        return false;
    if (!add_map(l, at, page_up(file_end), prot_of(p->p_flags), MAP_PRIVATE,
                 page_down(p->p_offset)) ||
        !add_map(l, page_up(file_end), page_up(end), prot_of(p->p_flags),
                 MAP_PRIVATE | MAP_ANONYMOUS, 0))
        return false;
    if (end > file_end && file_end % PAGE) {
        l->zero_at = file_end;
        l->zero_size = page_up(file_end) - file_end;
    }
    if (p->p_flags & PF_X)
        l->text_end = file_end;
    return end == file_end || (p->p_flags & PF_W);
}

/* Bytes by which it unmaps another and goes on. */
static u64 find_leave(int fd, const Elf64_Phdr *text)
{
    static const u8 wanted[] = {0x0f, 0x05, 0xc3};
    u8 bytes[1 << 14];
    for (u64 at = 0; at < text->p_filesz; at += sizeof(bytes) - sizeof(wanted)) {
        ssize_t n = pread(fd, bytes, min_size(sizeof(bytes), text->p_filesz - at),
                          (off_t)(text->p_offset + at));
        const u8 *found = n > 0 ? memmem(bytes, (size_t)n, wanted, sizeof(wanted)) : NULL;
        if (found)
            return text->p_vaddr + at + (u64)(found - bytes);
        if (n <= 0)
            break;
    }
    return 0;
}

static bool parse(int fd, struct loader *l)
{
    Elf64_Ehdr h;
    Elf64_Phdr p[PHDRS_MAX];
    if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
        h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != EM_X86_64 || h.e_type != ET_DYN ||
        h.e_phentsize != sizeof(p[0]) || h.e_phnum > PHDRS_MAX)
        return false;
    size_t size = h.e_phnum * sizeof(p[0]);
    if (pread(fd, p, size, (off_t)h.e_phoff) != (ssize_t)size)
        return false;
    l->entry = h.e_entry;
    for (unsigned i = 0; i < h.e_phnum; i++) {
        if (p[i].p_type == PT_INTERP || (p[i].p_type == PT_LOAD && !add_segment(l, &p[i])))
            return false;
        if (p[i].p_type == PT_LOAD && (p[i].p_flags & PF_X) && !l->leave)
            l->leave = find_leave(fd, &p[i]);
    }
    return l->entry < l->text_end;
}

static struct {
    struct fileid id;
    struct loader loader;
} known[KNOWN];
static unsigned next;

bool loader_known(const struct stat *st, struct loader *out)
{
    for (unsigned i = 0; i < KNOWN; i++) {
        if (fileid_is(&known[i].id, st)) {
            *out = known[i].loader;
            return true;
        }
    }
    return false;
}

void loader_read(int fd, const struct stat *st, struct loader *out)
{
    memset(out, 0, sizeof(*out));
    if (!parse(fd, out))
        out->span = 0;
    out->ino = st->st_ino;
    out->for_all = (st->st_mode & 0111) == 0111;
    if (!fileid_settled(st))
        return;
    known[next].id = fileid_of(st);
    known[next].loader = *out;
    next = (next + 1) % KNOWN;
}
