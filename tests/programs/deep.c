/* deep DIR: a tree below DIR so deep that no path names its end, made, used, left and removed step
 * by step; then the same with a descriptor in the place of the working directory. */
#include "probe.h"

enum { LEVELS = 40, LENGTH = 200 };
static char name[LENGTH + 1];

static void use(void)
{
    char text[8] = "", link[8] = "";
    struct stat st;
    int fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && write(fd, "here", 4) == 4 && fchmod(fd, 0640) == 0);
    CHECK(close(fd) == 0 && stat("f", &st) == 0 && st.st_size == 4);
    CHECK((st.st_mode & 0777) == 0640 && access("f", R_OK) == 0);
    CHECK(symlink("f", "l") == 0 && readlink("l", link, sizeof(link)) == 1 && link[0] == 'f');
    CHECK(lstat("l", &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(rename("f", "g") == 0 && stat("f", &st) < 0 && errno == ENOENT);
    fd = open("g", O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 4 && close(fd) == 0);
    CHECK(mkdir("d", 0700) == 0 && mkdir("d", 0700) < 0 && errno == EEXIST);
    CHECK(chdir("d") == 0 && chdir("..") == 0 && rmdir("d") == 0);
    DIR *dir = opendir(".");
    unsigned n = 0;
    while (dir && readdir(dir))
        n++;
    CHECK(dir && n == 4 && closedir(dir) == 0);
    CHECK(unlink("g") == 0 && unlink("l") == 0);
}

static int into(int dir)
{
    CHECK(mkdirat(dir, name, 0755) == 0);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    close(dir);
    return fd;
}

int main(int argc, char **argv)
{
    int fd;
    if (argc != 2 || chdir(argv[1]) < 0)
        fail("usage: deep DIR");
    memset(name, 'd', LENGTH);
    for (int i = 0; i < LEVELS; i++)
        CHECK(mkdir(name, 0755) == 0 && chdir(name) == 0);
    use();
    for (int i = 0; i < LEVELS; i++)
        CHECK(chdir("..") == 0 && rmdir(name) == 0);
    fd = open(".", O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < LEVELS; i++)
        fd = into(fd);
    CHECK(mkdirat(fd, "last", 0755) == 0 && unlinkat(fd, "last", AT_REMOVEDIR) == 0);
    for (int i = 0; i < LEVELS; i++) {
        int up = openat(fd, "..", O_RDONLY | O_DIRECTORY);
        CHECK(up >= 0 && unlinkat(up, name, AT_REMOVEDIR) == 0);
        close(fd);
        fd = up;
    }
    return 0;
}
