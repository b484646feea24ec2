#include "tracer/filter.h"
#include "call/systab.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

u64 filter_cookie = 0x9d3ac7f1e64b581f;
static bool gate_open, fake_ids;

void filter_open_gate(u64 cookie)
{
    filter_cookie = cookie;
    gate_open = true;
}

void filter_fake_ids(bool fake)
{
    fake_ids = fake;
}

/* libseccomp's context is the filter. */
static scmp_filter_ctx context(struct filter *f)
{
    return (scmp_filter_ctx)f;
}

static bool may_filter_without_nnp(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof(data));
    if (syscall(SYS_capget, &head, data) < 0)
        return false;
    return (data[0].effective >> CAP_SYS_ADMIN) & 1;
}

static const struct {
    char name[SYS_NAME_MAX];
    unsigned arg;
    bool nonzero, faked;
    uint64_t mask, value;
} conditions[] = {
#define SET(name_, arg_) {.name = #name_, .arg = (arg_), .nonzero = true},
#define EQUAL(name_, arg_, mask_, value_)                                                          \
    {.name = #name_, .arg = (arg_), .mask = (mask_), .value = (value_)},
#define FAKED(name_, arg_, mask_, value_)                                                          \
    {.name = #name_, .arg = (arg_), .faked = true, .mask = (mask_), .value = (value_)},
#include "call/filter.def"
#undef SET
#undef EQUAL
#undef FAKED
};

#define N_CONDITIONS (sizeof(conditions) / sizeof(conditions[0]))

static u32 action_of(enum filter_way way)
{
    return way == FILTER_NOTIFY ? SCMP_ACT_NOTIFY : SCMP_ACT_TRACE(1);
}

/* A row that stops only for some arguments; for the others the default lets it pass. */
static int add_conditional(scmp_filter_ctx ctx, const struct sysrow *row, enum filter_way way)
{
    int err = -EINVAL;
    for (size_t i = 0; i < N_CONDITIONS; i++) {
        struct scmp_arg_cmp cmp;
        if (strcmp(conditions[i].name, row->name) != 0 || (conditions[i].faked && !fake_ids))
            continue;
        if (conditions[i].nonzero)
            cmp = SCMP_CMP(conditions[i].arg, SCMP_CMP_NE, 0);
        else
            cmp = SCMP_CMP(conditions[i].arg, SCMP_CMP_MASKED_EQ, conditions[i].mask,
                           conditions[i].value);
        err = seccomp_rule_add_array(ctx, action_of(way), row->nr, 1, &cmp);
        if (err)
            return err;
    }
    return err;
}

bool filter_is_marked(const struct sysrow *row, const u64 arg[6])
{
    if (row->nargs == 6)
        return arg[0] >> 32 == FILTER_RETRACE >> 32;
    return arg[5] == FILTER_RETRACE;
}

unsigned filter_mark(const struct sysrow *row, u64 arg[6])
{
    if (row->nargs == 6) {
        arg[0] = (FILTER_RETRACE & (u64) ~(u32)0 << 32) | (u32)arg[0];
        return 0;
    }
    arg[5] = FILTER_RETRACE;
    return 5;
}

bool filter_gated(const struct sysrow *row)
{
    if (!gate_open || row->nargs == 6)
        return false;
    switch ((enum call_handler)row->handler) {
    case CALL_STAT:
    case CALL_STATX:
    case CALL_ACCESS:
    case CALL_READLINK:
    case CALL_GETXATTR:
    case CALL_LISTXATTR: /* marks */
    case CALL_GETDENTS:
    case CALL_GETCWD:
    case CALL_CHDIR:
    case CALL_FCHDIR:
    case CALL_OPENAT2: /* with what the shim makes of an open */
        return true;
    case CALL_CHMOD: /* of a descriptor */
    case CALL_CHOWN:
    case CALL_UTIMES:
    case CALL_SETXATTR:
        return row->path < 0 || (row->traits & SYS_NULL_PATH);
    case CALL_MKDIR: /* in a directory of the upper that is held open */
    case CALL_SYMLINK:
    case CALL_LINK:
    case CALL_UNLINK:
    case CALL_RENAME:
        return row->nr == SYS_mkdirat || row->nr == SYS_symlinkat || row->nr == SYS_linkat ||
               row->nr == SYS_unlinkat || row->nr == SYS_renameat2;
    default:
        return false;
    }
}

static int add_row(scmp_filter_ctx ctx, const struct sysrow *row, enum filter_way way)
{
    const struct scmp_arg_cmp other = SCMP_CMP64(5, SCMP_CMP_NE, filter_cookie);
    bool gated = way == FILTER_NOTIFY && filter_gated(row);
    return seccomp_rule_add_array(ctx, action_of(way), row->nr, gated, &other);
}

/* The default passes, because libseccomp cannot say "for all other arguments" of one call. So the
 * numbers that nobody knows are named one by one: far beyond what any kernel assigns. */
#define NUMBERS_DENIED 1024

static int add_rules(scmp_filter_ctx ctx, enum filter_way way)
{
    int err = 0;
    for (int nr = 0; nr < NUMBERS_DENIED && !err; nr++) {
        const struct sysrow *row = systab_row(nr);
        if (systab_passes(nr) || (row && (row->traits & SYS_FAKED) && !fake_ids))
            continue;
        if (!row || row->handler == CALL_ENOSYS)
            err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
        else if (row->traits & SYS_ARG_FILTER)
            err = add_conditional(ctx, row, way);
        else
            err = add_row(ctx, row, way);
    }
    return err;
}

struct filter *filter_build(enum filter_way way, int *err)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (!ctx) {
        *err = -ENOMEM;
        return NULL;
    }
    *err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    if (!*err)
        *err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (!*err)
        *err = add_rules(ctx, way);
    if (*err) {
        seccomp_release(ctx);
        return NULL;
    }
    return (struct filter *)ctx;
}

/* What would leave a notice looks for a mark first: behind the program, since libseccomp needs
 * minutes to say it in rules. */
static int add_marks(struct sock_filter *program, size_t *len)
{
    const u32 first = (u32)offsetof(struct seccomp_data, args[0]);
    const u32 sixth = (u32)offsetof(struct seccomp_data, args[5]);
    const u32 low = (u32)FILTER_RETRACE, high = (u32)(FILTER_RETRACE >> 32);
    const struct sock_filter end[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, first + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 5, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sixth),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sixth + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 1),
    };
    if (*len + sizeof(end) / sizeof(end[0]) > BPF_MAXINSNS)
        return -E2BIG;
    for (size_t i = 0; i < *len; i++) {
        if (program[i].code == (BPF_RET | BPF_K) && program[i].k == SECCOMP_RET_USER_NOTIF)
            program[i] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (u32)(*len - i - 1));
    }
    memcpy(program + *len, end, sizeof(end));
    *len += sizeof(end) / sizeof(end[0]);
    return 0;
}

/* libseccomp gives it out through a descriptor only. */
int filter_program(struct filter *f, enum filter_way way, struct sock_filter program[BPF_MAXINSNS],
                   size_t *len)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = seccomp_export_bpf(context(f), fd);
    ssize_t n = err ? 0 : pread(fd, program, BPF_MAXINSNS * sizeof(*program), 0);
    if (!err && n <= 0)
        err = -EIO;
    close(fd);
    *len = (size_t)(n > 0 ? n : 0) / sizeof(*program);
    return err || way == FILTER_TRACE ? err : add_marks(program, len);
}

extern const struct filter_ready filter_ready __attribute__((weak));

bool filter_is_ready(enum filter_way way)
{
    return &filter_ready && (way == FILTER_TRACE || gate_open);
}

/* Makes the session's filter of one that was built with FILTER_COOKIE. */
static void put_cookie(struct sock_filter *program, size_t len)
{
    const u64 said[2] = {FILTER_COOKIE, FILTER_COOKIE + 1};
    const u64 meant[2] = {filter_cookie, FILTER_RETRACE};
    for (size_t i = 0; i < len; i++) {
        u32 *k = &program[i].k, was = *k;
        if (BPF_CLASS(program[i].code) != BPF_JMP)
            continue;
        for (unsigned n = 0; n < 2; n++) {
            if (was == (u32)said[n])
                *k = (u32)meant[n];
            else if (was == (u32)(said[n] >> 32))
                *k = (u32)(meant[n] >> 32);
        }
    }
}

static void ready_program(enum filter_way way, struct sock_filter program[BPF_MAXINSNS],
                          size_t *len)
{
    const struct sock_filter *from = filter_ready.program;
    unsigned which = filter_place(way, fake_ids);
    for (unsigned i = 0; i < which; i++)
        from += filter_ready.len[i];
    *len = filter_ready.len[which];
    memcpy(program, from, *len * sizeof(*from));
    if (way == FILTER_NOTIFY)
        put_cookie(program, *len);
}

/* libseccomp's own load lacks WAIT_KILLABLE_RECV (Linux 5.19): once a notice is received, no signal
 * but a fatal one may break the call off, since the supervisor may have done it by then. */
int filter_load(struct filter *f, enum filter_way way)
{
    static struct sock_filter program[BPF_MAXINSNS];
    size_t len = 0;
    unsigned flags = 0;
    int err = 0;
    if (f)
        err = filter_program(f, way, program, &len);
    else
        ready_program(way, program, &len);
    if (err)
        return err;
    struct sock_fprog prog = {.len = (unsigned short)len, .filter = program};
    if (way == FILTER_NOTIFY)
        flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    if (!may_filter_without_nnp() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
    return r < 0 ? -errno : (int)r;
}

void filter_free(struct filter *f)
{
    if (f)
        seccomp_release(context(f));
}
