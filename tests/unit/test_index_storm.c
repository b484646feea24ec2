/* The upper index shared by processes that die: eight of them change a real directory and look up
 * through an index in a memfd, and are killed at any instant. Whatever the index answers for sure
 * must be true.
 *
 * Two ways to catch a lie. Online: who gets an answer looks for real before and after it; where
 * nobody announced a change of the path meanwhile, answer and looks must agree. At rest: after each
 * kill all hold still, and every answer is compared with the directory.
 *
 *   STORM_SECONDS=N   how long (3); make index-storm TIME=N */
#include "overlay/index.c"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <cmocka.h>

#define WORKERS 8
#define DIRS    6
#define NAMES   8
#define PATHS   (DIRS + DIRS * NAMES) /* the directories first */
#define BITS    10
#define NOBODY  (-1)
#define ALL     (-2)
#define OPAQUE  ".wh..wh..opq"

/* How changes are told to the index. All but the first are wrong, and the storm must show it. */
enum manner {
    CAREFUL,     /* begin and end by an owner, reaped after its death */
    ONLY_BEFORE, /* a touch before the system call */
    ONLY_AFTER,  /* a touch after it */
    COUNTED, /* begin and end without an owner, though the changer may die: not wrong but lost */
};
static enum manner manner;

/* What a worker is about to do, for the checks: the path, or everything. */
struct worker {
    int changes; /* announced before the index hears of it, taken back after */
    int paused;
};

struct shared {
    u64 version[PATHS], version_all; /* announced changes */
    u64 looks, answers, checked, changes, busy, lies;
    int pause, stop;
    struct worker worker[WORKERS];
};

static struct shared *shared; /* the checks' own, at one address */
static struct index *x;       /* mapped anew by each process */
static int memfd = -1;
static size_t bytes;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static u64 count(u64 *p)
{
    return __atomic_add_fetch(p, 1, __ATOMIC_SEQ_CST);
}

static u64 value(const u64 *p)
{
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void map_index(void)
{
    x = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    assert_true(x != MAP_FAILED);
}

static size_t path_of(char *path, int p)
{
    if (p < DIRS)
        return (size_t)sprintf(path, "d%d", p);
    return (size_t)sprintf(path, "d%d/n%d", (p - DIRS) / NAMES, (p - DIRS) % NAMES);
}

static u64 hash_of(int p)
{
    char path[32];
    return index_hash(x, path, path_of(path, p));
}

static void whiteout_of(char *path, int p)
{
    if (p < DIRS)
        sprintf(path, ".wh.d%d", p);
    else
        sprintf(path, "d%d/.wh.n%d", (p - DIRS) / NAMES, (p - DIRS) % NAMES);
}

/* The directory's own answer. INDEX_MAYBE: an object that the index does not remember. */
static enum index_state look_for_real(int p)
{
    char path[64], other[64];
    struct stat st;
    path_of(path, p);
    if (lstat(path, &st) != 0) {
        whiteout_of(other, p);
        return lstat(other, &st) == 0 ? INDEX_MAYBE : INDEX_ABSENT;
    }
    if (!S_ISDIR(st.st_mode))
        return INDEX_MAYBE;
    strcat(path, "/" OPAQUE);
    return lstat(path, &st) == 0 ? INDEX_OPAQUE : INDEX_MERGED;
}

/* -- a worker -----------------------------------------------------------------------------------
 */

static bool sure(enum index_state s)
{
    return s != INDEX_MAYBE;
}

static bool announced(int p)
{
    for (int i = 0; i < WORKERS; i++) {
        int c = __atomic_load_n(&shared->worker[i].changes, __ATOMIC_SEQ_CST);
        if (c == p || c == ALL || (c >= 0 && c < DIRS && p >= DIRS && (p - DIRS) / NAMES == c))
            return true;
    }
    return false;
}

/* A change of a directory is one of all that is below it. */
static u64 version_of(int p)
{
    u64 v = value(&shared->version_all) + value(&shared->version[p]);
    return p < DIRS ? v : v + value(&shared->version[(p - DIRS) / NAMES]);
}

static void look_and_learn(int p, unsigned *seed)
{
    u64 before = version_of(p), h = hash_of(p), word;
    bool still = !announced(p);
    enum index_state first = look_for_real(p);
    enum index_state said = index_look(x, h, &word);
    enum index_state last = look_for_real(p);
    count(&shared->looks);
    if (!sure(said)) {
        if (rand_r(seed) % 8 == 0)
            sched_yield();
        index_learn(x, h, word, last);
        return;
    }
    count(&shared->answers);
    if (!still || version_of(p) != before)
        return;
    count(&shared->checked);
    if (said != last || said != first)
        count(&shared->lies);
}

/* The system call of a change; sometimes with a pause on both sides, where death hurts most. */
static void act(int p, int q, unsigned kind, unsigned *seed)
{
    char path[64], other[64], in[80];
    unsigned wait = (unsigned)rand_r(seed) % 4;
    int fd;
    path_of(path, p);
    path_of(other, q);
    snprintf(in, sizeof(in), "%s/" OPAQUE, path);
    if (wait & 1)
        sched_yield();
    switch (kind) {
    case 0:
        fd = open(path, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
        break;
    case 1:
        unlink(path);
        break;
    case 2:
        mkdir(path, 0700);
        break;
    case 3:
        rmdir(path);
        break;
    case 4: /* the two of them are one change */
        rename(path, other);
        break;
    case 5:
        fd = open(in, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
        break;
    case 6:
        unlink(in);
        break;
    default:
        whiteout_of(other, p);
        fd = open(other, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
        else
            unlink(other);
    }
    if (wait & 2)
        sched_yield();
}

static void tell_of(int owner, int p, bool begins)
{
    bool dir = p < DIRS; /* that comes, goes or moves: a change of everything */
    if (manner == ONLY_BEFORE || manner == ONLY_AFTER) {
        if (begins != (manner == ONLY_BEFORE))
            return;
        if (dir)
            index_touch_all(x);
        else
            index_touch(x, hash_of(p));
    } else if (dir) {
        begins ? index_begin_all(x, owner) : index_end_all(x, owner);
    } else {
        begins ? index_begin(x, owner, hash_of(p)) : index_end(x, owner, hash_of(p));
    }
}

static void tell(int owner, int p, int q, bool begins)
{
    tell_of(owner, p, begins);
    if (q != NOBODY)
        tell_of(owner, q, begins);
}

static void mutate(int me, unsigned *seed)
{
    unsigned kind = (unsigned)rand_r(seed) % 10;
    int p = DIRS + rand_r(seed) % (DIRS * NAMES), q = DIRS + rand_r(seed) % (DIRS * NAMES);
    bool all = kind == 4;
    if ((kind == 2 || kind == 3 || kind == 5 || kind == 6) && rand_r(seed) % 16 == 0)
        p = rand_r(seed) % DIRS;
    if (all && rand_r(seed) % 32 == 0) { /* whole directories */
        p = rand_r(seed) % DIRS;
        q = rand_r(seed) % DIRS;
    }
    int owner = manner == COUNTED ? INDEX_NO_OWNER : index_claim(x, (u32)getpid());
    if (owner < 0) {
        count(&shared->busy);
        return;
    }
    struct worker *w = &shared->worker[me];
    __atomic_store_n(&w->changes, all ? ALL : p, __ATOMIC_SEQ_CST);
    count(all ? &shared->version_all : &shared->version[p]);
    tell(owner, p, all ? q : NOBODY, true);
    act(p, q, kind, seed);
    tell(owner, p, all ? q : NOBODY, false);
    __atomic_store_n(&w->changes, NOBODY, __ATOMIC_SEQ_CST);
    if (owner != INDEX_NO_OWNER)
        index_release(x, owner);
    count(&shared->changes);
}

static void work(int me, unsigned seed)
{
    map_index();
    while (!__atomic_load_n(&shared->stop, __ATOMIC_SEQ_CST)) {
        if (__atomic_load_n(&shared->pause, __ATOMIC_SEQ_CST)) {
            __atomic_store_n(&shared->worker[me].paused, 1, __ATOMIC_SEQ_CST);
            usleep(100);
            continue;
        }
        __atomic_store_n(&shared->worker[me].paused, 0, __ATOMIC_SEQ_CST);
        if (rand_r(&seed) % 4 == 0)
            mutate(me, &seed);
        else
            look_and_learn(rand_r(&seed) % PATHS, &seed);
    }
    _exit(0);
}

/* -- the supervisor -----------------------------------------------------------------------------
 */

static pid_t pids[WORKERS];

static void spawn(int i, unsigned seed)
{
    shared->worker[i].changes = NOBODY;
    shared->worker[i].paused = 0;
    pids[i] = fork();
    assert_true(pids[i] >= 0);
    if (pids[i] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(i, seed);
    }
}

static void hold(void)
{
    shared->pause = 1;
    for (int i = 0; i < WORKERS; i++)
        while (pids[i] != 0 && !__atomic_load_n(&shared->worker[i].paused, __ATOMIC_SEQ_CST))
            usleep(50);
}

static void go_on(void)
{
    for (int i = 0; i < WORKERS; i++)
        shared->worker[i].paused = 0;
    __atomic_store_n(&shared->pause, 0, __ATOMIC_SEQ_CST);
}

/* Everything stands still: no answer may be wrong, and every path may be learned. */
static void check_at_rest(void)
{
    for (int p = 0; p < PATHS; p++) {
        u64 h = hash_of(p), word;
        enum index_state real = look_for_real(p), said = index_look(x, h, &word);
        if (sure(said) && said != real)
            count(&shared->lies);
        index_learn(x, h, word, real);
        if (manner == CAREFUL)
            assert_int_equal(index_look(x, h, &word), real);
    }
    if (manner != CAREFUL)
        return;
    assert_int_equal(x->all & BUSY_MASK, 0);
    for (int i = 0; i < STRIPES; i++)
        assert_int_equal(x->stripe[i] & BUSY_MASK, 0);
    for (int i = 0; i < INDEX_OWNERS; i++)
        assert_int_equal(x->owner[i], 0);
}

static void enter_scratch(char *dir)
{
    strcpy(dir,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/fuss-storm.XXXXXX" : "/tmp/fuss-storm.XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
}

static void leave_scratch(const char *dir)
{
    char command[128];
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

/* Returns after the time or, where lies are looked for, after the first one. */
static void storm(enum manner how, double seconds, unsigned seed)
{
    double start = now();
    unsigned kills = 0, inside = 0, reaped = 0, checks = 0, lost = 0;
    char dir[64];
    manner = how;
    enter_scratch(dir);
    bytes = index_size(BITS);
    memfd = memfd_create("index", MFD_CLOEXEC);
    assert_true(memfd >= 0);
    assert_int_equal(ftruncate(memfd, (off_t)bytes), 0);
    map_index();
    index_init(x, BITS, 7);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    for (int i = 0; i < WORKERS; i++)
        spawn(i, ++seed);
    while (now() < start + seconds && (how == CAREFUL || value(&shared->lies) == 0)) {
        int i = rand_r(&seed) % WORKERS;
        bool rest = rand_r(&seed) % 2;
        usleep((unsigned)rand_r(&seed) % 3000);
        kill(pids[i], SIGKILL);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        kills++;
        inside += shared->worker[i].changes != NOBODY;
        reaped += index_reap(x, (u32)pids[i]);
        shared->worker[i].changes = NOBODY;
        pids[i] = 0;
        if (rest) {
            hold();
            check_at_rest();
            checks++;
            go_on();
        }
        spawn(i, ++seed * 7919);
    }
    hold();
    check_at_rest();
    __atomic_store_n(&shared->stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    check_at_rest();
    for (int i = 0; i < STRIPES; i++)
        lost += (x->stripe[i] & BUSY_MASK) != 0;
    print_message("%.1f s: %u killed, %u in a change, %u owners reaped, %u checks at rest\n",
                  now() - start, kills, inside, reaped, checks);
    print_message("%llu changes, %llu looks, %llu answered, %llu of them checked, %llu lies; ",
                  (unsigned long long)shared->changes, (unsigned long long)shared->looks,
                  (unsigned long long)shared->answers, (unsigned long long)shared->checked,
                  (unsigned long long)shared->lies);
    print_message("busy for ever: %u stripes%s\n", lost, x->all & BUSY_MASK ? ", everything" : "");
    if (how == CAREFUL) {
        assert_int_equal(shared->lies, 0);
        assert_int_equal(lost, 0);
        assert_true(kills > 20 && inside > 0 && reaped >= inside && checks > 10);
        assert_true(shared->changes > 1000 && shared->checked > 100);
    } else if (how == COUNTED) {
        assert_int_equal(shared->lies, 0);
        assert_true(lost > 0);
    } else {
        assert_true(shared->lies > 0);
    }
    munmap(shared, sizeof(*shared));
    munmap(x, bytes);
    close(memfd);
    leave_scratch(dir);
}

static void test_processes_that_die_leave_no_lie(void **state)
{
    const char *text = getenv("STORM_SECONDS");
    (void)state;
    storm(CAREFUL, text ? atof(text) : 3, (unsigned)getpid());
}

static void test_the_storm_finds_a_touch_that_is_missing(void **state)
{
    (void)state;
    storm(ONLY_BEFORE, 20, 1);
    storm(ONLY_AFTER, 20, 2);
}

static void test_without_owners_the_dead_leave_their_stripes_busy(void **state)
{
    (void)state;
    storm(COUNTED, 0.5, 3);
}

/* -- what a lookup costs ------------------------------------------------------------------------
 */

#define ROUNDS 200000

/* Nanoseconds for a path of so many components: the index is asked for each of them. */
static double cost_of(unsigned components, unsigned paths)
{
    static char text[512][128];
    u64 known = 0;
    for (unsigned i = 0; i < paths; i++) {
        size_t len = 0;
        for (unsigned c = 0; c < components; c++) {
            u64 word;
            len += (size_t)sprintf(text[i] + len, c ? "/name%u-%u" : "name%u-%u", c, i);
            u64 h = index_hash(x, text[i], len);
            index_look(x, h, &word);
            index_learn(x, h, word, c + 1 < components ? INDEX_MERGED : INDEX_ABSENT);
        }
    }
    double start = now();
    for (unsigned round = 0; round < ROUNDS; round++) {
        const char *path = text[round % paths];
        for (const char *at = path;; at++)
            if (*at == '/' || *at == '\0') {
                u64 word;
                known += index_look(x, index_hash(x, path, (size_t)(at - path)), &word) != 0;
                if (*at == '\0')
                    break;
            }
    }
    double ns = (now() - start) * 1e9 / ROUNDS;
    assert_true(known > (u64)ROUNDS * components * 9 / 10);
    return ns;
}

static void test_cost_of_a_lookup(void **state)
{
    static const unsigned components[] = {2, 4, 7}, paths[] = {1, 512};
    (void)state;
    bytes = index_size(16);
    memfd = memfd_create("index", MFD_CLOEXEC);
    assert_int_equal(ftruncate(memfd, (off_t)bytes), 0);
    map_index();
    index_init(x, 16, 7);
    for (unsigned p = 0; p < 2; p++)
        for (unsigned c = 0; c < 3; c++)
            print_message("%u components, %u paths: %.0f ns\n", components[c], paths[p],
                          cost_of(components[c], paths[p]));
    double start = now();
    for (unsigned i = 0; i < ROUNDS; i++)
        index_release(x, index_claim(x, 1000 + i % 7));
    print_message("claim and release: %.0f ns\n", (now() - start) * 1e9 / ROUNDS);
    start = now();
    for (unsigned i = 0; i < ROUNDS; i++) {
        index_begin(x, 3, i);
        index_end(x, 3, i);
    }
    print_message("begin and end: %.0f ns\n", (now() - start) * 1e9 / ROUNDS);
    start = now();
    for (unsigned i = 0; i < ROUNDS / 100; i++) {
        assert_true(index_claim(x, 7) >= 0);
        index_reap(x, 7);
    }
    print_message("reap of one owner: %.0f ns\n", (now() - start) * 1e9 / (ROUNDS / 100));
    munmap(x, bytes);
    close(memfd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_processes_that_die_leave_no_lie),
        cmocka_unit_test(test_the_storm_finds_a_touch_that_is_missing),
        cmocka_unit_test(test_without_owners_the_dead_leave_their_stripes_busy),
        cmocka_unit_test(test_cost_of_a_lookup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
