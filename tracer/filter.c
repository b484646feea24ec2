#include "tracer/filter.h"
#include "call/systab.h"
#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

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
    bool nonzero;
    uint64_t mask, value;
} conditions[] = {
#define SET(name_, arg_) {.name = #name_, .arg = (arg_), .nonzero = true},
#define EQUAL(name_, arg_, mask_, value_)                                                          \
    {.name = #name_, .arg = (arg_), .mask = (mask_), .value = (value_)},
#include "call/filter.def"
#undef SET
#undef EQUAL
};

#define N_CONDITIONS (sizeof(conditions) / sizeof(conditions[0]))

/* A row that stops only for some arguments; for the others the default lets it pass. */
static int add_conditional(scmp_filter_ctx ctx, const struct sysrow *row)
{
    int err = -EINVAL;
    for (size_t i = 0; i < N_CONDITIONS; i++) {
        struct scmp_arg_cmp cmp;
        if (strcmp(conditions[i].name, row->name) != 0)
            continue;
        if (conditions[i].nonzero)
            cmp = SCMP_CMP(conditions[i].arg, SCMP_CMP_NE, 0);
        else
            cmp = SCMP_CMP(conditions[i].arg, SCMP_CMP_MASKED_EQ, conditions[i].mask,
                           conditions[i].value);
        err = seccomp_rule_add_array(ctx, SCMP_ACT_TRACE(1), row->nr, 1, &cmp);
        if (err)
            return err;
    }
    return err;
}

/* The default passes, because libseccomp cannot say "for all other arguments" of one call. So the
 * numbers that nobody knows are named one by one: far beyond what any kernel assigns. */
#define NUMBERS_DENIED 1024

static int add_rules(scmp_filter_ctx ctx)
{
    int err = 0;
    for (int nr = 0; nr < NUMBERS_DENIED && !err; nr++) {
        const struct sysrow *row = systab_row(nr);
        if (systab_passes(nr))
            continue;
        if (!row || row->handler == CALL_ENOSYS)
            err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), nr, 0);
        else if (row->traits & SYS_ARG_FILTER)
            err = add_conditional(ctx, row);
        else
            err = seccomp_rule_add(ctx, SCMP_ACT_TRACE(1), nr, 0);
    }
    return err;
}

struct filter *filter_build(int *err)
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
        *err = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, may_filter_without_nnp() ? 0 : 1);
    if (!*err)
        *err = add_rules(ctx);
    if (*err) {
        seccomp_release(ctx);
        return NULL;
    }
    return (struct filter *)ctx;
}

int filter_load(struct filter *f)
{
    return seccomp_load(context(f));
}

void filter_free(struct filter *f)
{
    seccomp_release(context(f));
}
