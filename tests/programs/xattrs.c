/* xattrs FILE...: sizes of attribute lists and values agree between a size query, a buffer that is
 * too short, one that fits, by path and by descriptor. */
#include "probe.h"
#include <sys/xattr.h>

int main(int argc, char **argv)
{
    char list[4096], list2[4096], value[4096];

    for (int i = 1; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY);
        ssize_t size, n;

        CHECK(fd >= 0);
        CHECK(setxattr(argv[i], "user.size.test", "12345", 5, 0) == 0);
        size = listxattr(argv[i], NULL, 0);
        CHECK(size > 0);
        CHECK(flistxattr(fd, NULL, 0) == size);
        n = listxattr(argv[i], list, sizeof(list));
        CHECK(n > 0 && n <= size);
        CHECK(flistxattr(fd, list2, (size_t)size) == n && memcmp(list, list2, (size_t)n) == 0);
        CHECK_ERR(listxattr(argv[i], list, (size_t)n - 1), ERANGE);
        for (ssize_t at = 0; at < n; at += (ssize_t)strlen(list + at) + 1) {
            ssize_t len = getxattr(argv[i], list + at, NULL, 0);

            if (strstr(list + at, ".overlay."))
                fail("%s shows %s", argv[i], list + at);
            CHECK(len >= 0);
            CHECK(getxattr(argv[i], list + at, value, sizeof(value)) == len);
            CHECK(fgetxattr(fd, list + at, value, sizeof(value)) == len);
        }
        CHECK(getxattr(argv[i], "user.size.test", NULL, 0) == 5);
        CHECK_ERR(getxattr(argv[i], "user.size.test", value, 4), ERANGE);
        close(fd);
    }
    puts("ok");
    return 0;
}
