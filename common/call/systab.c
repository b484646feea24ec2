#include "call/systab.h"
#include "base/base.h"

/* Numbers by name on this architecture; -1 where the call does not exist. */
enum number {
#define NUMBER(nr, name, verdict) N_##name = (nr),
#define ABSENT(name)              N_##name = -1,
#if defined(__x86_64__)
#include "call/numbers_x86_64.def"
#else
#include "call/numbers_arm64.def"
#endif
#undef NUMBER
#undef ABSENT
};

#define NO           (-1)
#define NUMBERS      470 /* one more than the newest call of Linux 6.18 */
#define VERDICT_FREE 0

enum verdict { VERDICT_PASS = 1, VERDICT_TABLE = 2 };

const int systab_newest = NUMBERS - 1;

static const struct sysrow rows[] = {
#define ROW(name_, nargs_, handler_, want_, want2_, dirfd_, path_, flags_, dirfd2_, path2_, aux_,  \
            traits_)                                                                               \
    {.name = #name_,                                                                               \
     .nr = N_##name_,                                                                              \
     .nargs = (nargs_),                                                                            \
     .handler = CALL_##handler_,                                                                   \
     .want = WANT_##want_,                                                                         \
     .want2 = WANT_##want2_,                                                                       \
     .dirfd = (dirfd_),                                                                            \
     .path = (path_),                                                                              \
     .flags = (flags_),                                                                            \
     .dirfd2 = (dirfd2_),                                                                          \
     .path2 = (path2_),                                                                            \
     .aux = (aux_),                                                                                \
     .traits = (traits_)},
#include "call/syscalls.def"
#undef ROW
};

/* Position of a number's row in rows[] + 1, by way of one constant per row. */
enum position {
#define ROW(name_, ...) P_##name_,
#include "call/syscalls.def"
#undef ROW
    P_rows
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const u8 row_of[NUMBERS] = {
#define ROW(name_, ...) [N_##name_ < 0 ? NUMBERS - 1 : N_##name_] = P_##name_ + 1,
#include "call/syscalls.def"
#undef ROW
    /* rows that this architecture lacks all landed on the last number: say again whose it is */
    [N_file_setattr] = P_file_setattr + 1,
};
#pragma GCC diagnostic pop

static const struct {
    char name[SYS_NAME_MAX];
    u8 verdict;
} numbers[NUMBERS] = {
#define NUMBER(nr, name_, verdict_) [(nr)] = {.name = #name_, .verdict = VERDICT_##verdict_},
#define ABSENT(name)
#if defined(__x86_64__)
#include "call/numbers_x86_64.def"
#else
#include "call/numbers_arm64.def"
#endif
#undef NUMBER
#undef ABSENT
};

_Static_assert(N_file_setattr == NUMBERS - 1, "the newest call is the last number");
_Static_assert(P_rows < 255, "row_of holds positions in a byte");

static bool assigned(long nr)
{
    return nr >= 0 && nr < NUMBERS && numbers[nr].verdict != VERDICT_FREE;
}

const struct sysrow *systab_row(long nr)
{
    return assigned(nr) && row_of[nr] ? &rows[row_of[nr] - 1] : NULL;
}

const struct sysrow *systab_at(int index)
{
    return &rows[index];
}

int systab_rows(void)
{
    return (int)ARRAY_LEN(rows);
}

bool systab_passes(long nr)
{
    return assigned(nr) && numbers[nr].verdict == VERDICT_PASS;
}

const char *systab_name(long nr)
{
    return assigned(nr) ? numbers[nr].name : NULL;
}
