/* deny CALL COMMAND ARG...: runs the command where CALL (ptrace, mknod, seccomp) fails with EPERM,
 * by a seccomp filter of its own: what hardened hosts and containers do. */
#include "probe.h"
#include <stddef.h>
#include <sys/prctl.h>

/* linux/filter.h and linux/seccomp.h are not in musl's include path; these are kernel ABI. */
struct insn {
    uint16_t code;
    uint8_t jt, jf;
    uint32_t k;
};
struct program {
    unsigned short len;
    struct insn *insn;
};

int main(int argc, char **argv)
{
    long nr = -1, nr2 = -1;

    if (argc < 3)
        fail("usage: deny ptrace|mknod|seccomp COMMAND ARG...");
    if (strcmp(argv[1], "ptrace") == 0) {
        nr = nr2 = SYS_ptrace;
    } else if (strcmp(argv[1], "seccomp") == 0) {
        nr = nr2 = SYS_seccomp;
    } else if (strcmp(argv[1], "mknod") == 0) {
        nr = SYS_mknodat;
#ifdef SYS_mknod
        nr2 = SYS_mknod;
#endif
    } else {
        fail("cannot deny %s", argv[1]);
    }
    struct insn insn[] = {
        {0x20, 0, 0, 0},                   /* load the number */
        {0x15, 2, 0, (uint32_t)nr},        /* if equal: refuse */
        {0x15, 1, 0, (uint32_t)nr2},       /* if equal: refuse */
        {0x06, 0, 0, 0x7fff0000u},         /* allow */
        {0x06, 0, 0, 0x00050000u | EPERM}, /* refuse with EPERM */
    };
    struct program prog = {sizeof(insn) / sizeof(insn[0]), insn};

    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, 2, &prog) == 0);
    execvp(argv[2], argv + 2);
    fail("%s: %s", argv[2], probe_errno(errno));
}
