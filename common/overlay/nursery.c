/* The nursery: where a new object grows up when a whiteout stands at its place. A directory of
 * work with the attributes of the real parent, so that the kernel lets the new object inherit
 * group, ACL and setgid bit exactly as it would there. */
#include "overlay/change.h"

void nursery_name(char *buf, size_t cap, u64 number)
{
    char text[TEMP_NAME_MAX] = "n";
    str_from_u64(text + 1, number);
    str_copy(buf, cap, text);
}

int overlay_nursery(struct overlay *o, int dir_fd, char *name, size_t cap)
{
    struct stat st, made;
    char from[SYS_FD_PATH], to[SYS_FD_PATH];
    o->serial = (u32)(o->serial + 1);
    nursery_name(name, cap, o->serial);
    /* Whoever may write in the real parent must be able to come here, and no further. */
    int r = sys_fstat(o->work_fd, &made);
    if (r == 0 && (made.st_mode & 0711) != 0711)
        sys_fchmod(o->work_fd, (made.st_mode & 07777) | 0711);
    r = sys_fstat(dir_fd, &st);
    if (r == 0)
        r = sys_mkdirat(o->work_fd, name, 0700);
    if (r < 0)
        return r;
    int fd = sys_openat(o->work_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
    r = fd < 0 ? fd : sys_fstat(fd, &made);
    if (r == 0 && (made.st_uid != st.st_uid || made.st_gid != st.st_gid))
        r = sys_fchownat(fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH);
    if (r == -EPERM && o->s->uid != 0)
        r = 0; /* a group that an ordinary user is not in: the new object gets his own */
    if (r == 0)
        r = copy_acls(sys_fd_path(from, dir_fd), sys_fd_path(to, fd));
    if (r == 0)
        r = sys_fchmod(fd, st.st_mode & 07777);
    if (r < 0) {
        overlay_nursery_drop(o, fd, name);
        return r;
    }
    return fd;
}

void overlay_nursery_drop(struct overlay *o, int fd, const char *name)
{
    if (fd >= 0)
        sys_close(fd);
    sys_unlinkat(o->work_fd, name, AT_REMOVEDIR);
}
