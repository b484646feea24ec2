/* rawcalls DIR: ways around the 64-bit call table are closed (int 0x80 and x32 give ENOSYS, so do
 * io_uring_setup and unknown numbers), and bad pointers give EFAULT, never a crash. */
#include "probe.h"
#include <sys/mman.h>

#ifdef __x86_64__
static long int80(long nr, long a, long b, long c)
{
    long rc;

    __asm__ volatile("int $0x80" : "=a"(rc) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
    return (int)rc;
}
#endif

int main(int argc, char **argv)
{
    char path[PATH_MAX];
    struct stat st;
    char *page, *edge;
    long size = sysconf(_SC_PAGESIZE);
    void *bad = (void *)0x10;

    if (argc < 2)
        fail("usage: rawcalls DIR [native]");
    snprintf(path, sizeof(path), "%s/f", argv[1]);
    if (argc == 2) {
#ifdef __x86_64__
        char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

        CHECK(low != MAP_FAILED);
        snprintf(low, 4096, "%s", path);
        CHECK(int80(5, (long)low, O_WRONLY | O_CREAT | O_TRUNC, 0644) == -ENOSYS); /* open */
        CHECK(int80(10, (long)low, 0, 0) == -ENOSYS);                              /* unlink */
        CHECK(int80(20, 0, 0, 0) == -ENOSYS);                                      /* getpid */
        CHECK_ERR(syscall(0x40000000 | 2, path, O_WRONLY | O_TRUNC, 0), ENOSYS);   /* x32 open */
        CHECK_ERR(syscall(0x40000000 | 87, path), ENOSYS);                         /* x32 unlink */
#endif
        CHECK_ERR(syscall(SYS_io_uring_setup, 8, path), ENOSYS);
        CHECK_ERR(syscall(900, path, path, 0), ENOSYS);
    }
    CHECK(lstat(path, &st) == 0 && st.st_size == 1);

    CHECK_ERR(syscall(SYS_openat, AT_FDCWD, bad, O_RDONLY), EFAULT);
    CHECK_ERR(syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY), EFAULT);
    CHECK_ERR(syscall(SYS_newfstatat, AT_FDCWD, bad, &st, 0), EFAULT);
    CHECK_ERR(syscall(SYS_newfstatat, AT_FDCWD, path, bad, 0), EFAULT);
    CHECK_ERR(syscall(SYS_statx, AT_FDCWD, path, 0, 0x7ff, bad), EFAULT);
    CHECK_ERR(syscall(SYS_readlink, argv[1], bad, 100), EINVAL);
    CHECK_ERR(syscall(SYS_rename, path, bad), EFAULT);
    CHECK_ERR(syscall(SYS_rename, bad, path), EFAULT);
    CHECK_ERR(syscall(SYS_unlink, bad), EFAULT);
    CHECK_ERR(syscall(SYS_mkdir, bad, 0755), EFAULT);
    CHECK_ERR(syscall(SYS_symlink, bad, path), EFAULT);
    CHECK_ERR(syscall(SYS_chdir, bad), EFAULT);
    CHECK_ERR(syscall(SYS_getcwd, bad, 4096), EFAULT);
    CHECK_ERR(syscall(SYS_execve, bad, NULL, NULL), EFAULT);
    CHECK_ERR(syscall(SYS_openat2, AT_FDCWD, path, bad, 24), EFAULT);
    CHECK_ERR(syscall(SYS_getxattr, path, bad, NULL, 0), EFAULT);
    CHECK_ERR(syscall(SYS_utimensat, AT_FDCWD, path, bad, 0), EFAULT);
    {
        int fd = open(argv[1], O_RDONLY | O_DIRECTORY);

        CHECK(fd >= 0);
        CHECK_ERR(syscall(SYS_getdents64, fd, bad, 4096), EFAULT);
        close(fd);
    }

    /* A path that ends at the very end of mapped memory is whole; one that runs over is not. */
    page = mmap(NULL, (size_t)size * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && munmap(page + size, (size_t)size) == 0);
    edge = page + size - strlen(path) - 1;
    strcpy(edge, path);
    CHECK(lstat(edge, &st) == 0);
    memmove(edge + 1, edge, strlen(path));
    CHECK_ERR(lstat(edge + 1, &st), EFAULT);
    /* A result that only half fits into mapped memory. */
    edge = page + size - 16;
    CHECK_ERR(syscall(SYS_newfstatat, AT_FDCWD, path, edge, 0), EFAULT);
    CHECK(lstat(path, &st) == 0);
    puts("ok");
    return 0;
}
