#include "tracer/remote.h"
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE       4096u /* of the finest granularity; larger pages only mean more steps */
#define FIRST_READ 256   /* most paths are shorter */

static int mem_fd(struct task *t)
{
    if (t->mm->mem_fd < 0) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/%d/mem", t->tid);
        t->mm->mem_fd = open(path, O_RDWR | O_CLOEXEC);
    }
    return t->mm->mem_fd;
}

int remote_read(struct task *t, void *dst, u64 addr, size_t n)
{
    struct iovec local = {dst, n};
    struct iovec remote = {(void *)addr, n};
    if (n == 0)
        return 0;
    return process_vm_readv(t->tid, &local, 1, &remote, 1, 0) == (ssize_t)n ? 0 : -EFAULT;
}

int remote_write(struct task *t, u64 addr, const void *src, size_t n)
{
    struct iovec local = {(void *)src, n};
    struct iovec remote = {(void *)addr, n};
    if (n == 0)
        return 0;
    return process_vm_writev(t->tid, &local, 1, &remote, 1, 0) == (ssize_t)n ? 0 : -EFAULT;
}

int remote_poke(struct task *t, u64 addr, const void *src, size_t n)
{
    int fd = mem_fd(t);
    if (fd < 0)
        return -EFAULT;
    return pwrite(fd, src, n, (off_t)addr) == (ssize_t)n ? 0 : -EFAULT;
}

/* Bytes of [addr, addr + n), which lies in one page. /proc/TID/mem is cheaper than
 * process_vm_readv, but also reads memory that the program itself may not read. */
static long read_piece(struct task *t, char *dst, u64 addr, size_t n)
{
    /* One that is not seized may be over before the descriptor has paid. */
    int fd = t->seized ? mem_fd(t) : -1;
    long got = fd >= 0 && (s64)addr >= 0 ? pread(fd, dst, n, (off_t)addr) : -1;
    if (got != (long)n || dst[0] == '\0') {
        /* An empty string may be a page without any rights: look with the program's. */
        if (remote_read(t, dst, addr, n))
            return -EFAULT;
    }
    return (long)n;
}

long remote_read_str(struct task *t, char *dst, u64 addr, size_t cap)
{
    size_t have = 0;
    if (addr == 0)
        return -EFAULT;
    while (have < cap) {
        u64 at = addr + have;
        size_t n = PAGE - (at & (PAGE - 1));
        n = min_size(n, have ? cap - have : min_size(cap, FIRST_READ));
        if (read_piece(t, dst + have, at, n) < 0)
            return -EFAULT;
        const char *end = memchr(dst + have, '\0', n);
        if (end)
            return end - dst;
        have += n;
    }
    return -ENAMETOOLONG;
}
