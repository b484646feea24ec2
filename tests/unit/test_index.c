/* The upper index: what it answers alone, and that it never lies among processes that die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "overlay/index.h"

static struct index *make(unsigned bits, void **memory)
{
    *memory = calloc(1, index_size(bits));
    assert_non_null(*memory);
    return index_init(*memory, bits, 42);
}

static u64 hash_of(const struct index *x, const char *path)
{
    return index_hash(x, path, strlen(path));
}

static enum index_state look(struct index *x, const char *path)
{
    u64 word;
    return index_look(x, hash_of(x, path), &word);
}

static void learn(struct index *x, const char *path, enum index_state state)
{
    u64 word;
    index_look(x, hash_of(x, path), &word);
    index_learn(x, hash_of(x, path), word, state);
}

static void test_states(void **state)
{
    void *memory;
    struct index *x = make(8, &memory);
    (void)state;
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    learn(x, "a", INDEX_MAYBE);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    learn(x, "a", INDEX_ABSENT);
    learn(x, "b", INDEX_MERGED);
    learn(x, "c", INDEX_OPAQUE);
    assert_int_equal(look(x, "a"), INDEX_ABSENT);
    assert_int_equal(look(x, "b"), INDEX_MERGED);
    assert_int_equal(look(x, "c"), INDEX_OPAQUE);
    index_touch(x, hash_of(x, "a"));
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    assert_int_equal(look(x, "b"), INDEX_MERGED);
    learn(x, "a", INDEX_MERGED);
    assert_int_equal(look(x, "a"), INDEX_MERGED);
    index_touch_all(x);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    assert_int_equal(look(x, "b"), INDEX_MAYBE);
    assert_int_equal(look(x, "c"), INDEX_MAYBE);
    free(memory);
}

static void test_stale_word_is_refused(void **state)
{
    void *memory;
    struct index *x = make(8, &memory);
    u64 h = hash_of(x, "a"), word;
    (void)state;
    index_look(x, h, &word);
    index_touch(x, h);
    index_learn(x, h, word, INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    index_look(x, h, &word);
    index_touch_all(x);
    index_learn(x, h, word, INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    free(memory);
}

static void test_nothing_is_learned_during_a_change(void **state)
{
    void *memory;
    struct index *x = make(8, &memory);
    u64 h = hash_of(x, "a"), word;
    (void)state;
    learn(x, "a", INDEX_ABSENT);
    index_begin(x, h);
    assert_int_equal(index_look(x, h, &word), INDEX_MAYBE);
    index_learn(x, h, word, INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    index_begin(x, h);
    index_end(x, h);
    learn(x, "a", INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    index_look(x, h, &word);
    index_end(x, h);
    index_learn(x, h, word, INDEX_ABSENT);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    learn(x, "a", INDEX_MERGED);
    assert_int_equal(look(x, "a"), INDEX_MERGED);
    index_begin_all(x);
    learn(x, "b", INDEX_ABSENT);
    assert_int_equal(look(x, "b"), INDEX_MAYBE);
    assert_int_equal(look(x, "a"), INDEX_MAYBE);
    index_end_all(x);
    learn(x, "b", INDEX_ABSENT);
    assert_int_equal(look(x, "b"), INDEX_ABSENT);
    free(memory);
}

static void test_a_full_table_forgets_and_does_not_lie(void **state)
{
    void *memory;
    struct index *x = make(4, &memory);
    char path[32];
    int known = 0;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof(path), "p%d", i);
        learn(x, path, i % 2 ? INDEX_ABSENT : INDEX_MERGED);
        assert_int_equal(look(x, path), i % 2 ? INDEX_ABSENT : INDEX_MERGED);
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof(path), "p%d", i);
        enum index_state s = look(x, path);
        assert_true(s == INDEX_MAYBE || s == (i % 2 ? INDEX_ABSENT : INDEX_MERGED));
        known += s != INDEX_MAYBE;
    }
    assert_in_range(known, 1, 16);
    free(memory);
}

static void test_hash_depends_on_key_and_every_byte(void **state)
{
    void *memory, *other;
    struct index *x = make(4, &memory), *y;
    char text[40];
    (void)state;
    other = calloc(1, index_size(4));
    y = index_init(other, 4, 43);
    memset(text, 'x', sizeof(text));
    for (size_t len = 1; len < sizeof(text); len++) {
        u64 h = index_hash(x, text, len);
        assert_true(h != index_hash(x, text, len - 1));
        assert_true(h != index_hash(y, text, len));
        for (size_t i = 0; i < len; i++) {
            text[i] = 'y';
            assert_true(h != index_hash(x, text, len));
            text[i] = 'x';
        }
    }
    free(memory);
    free(other);
}

/* -- many processes --------------------------------------------------------------------------- */
#define PATHS    192
#define MUTATORS 2
#define LEARNERS 3
#define SECONDS  1.5

struct shared {
    u64 truth[PATHS]; /* counts changes; odd: the name exists in the upper */
    u64 lies, hits, changes;
    u64 stop;
    struct index *x;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static u64 path_hash(const struct shared *s, unsigned p)
{
    char path[16];
    int n = snprintf(path, sizeof(path), "dir/%u", p);
    return index_hash(s->x, path, (size_t)n);
}

static u64 count(u64 *p)
{
    return __atomic_add_fetch(p, 1, __ATOMIC_RELAXED);
}

static void mutate(struct shared *s, unsigned id, unsigned seed)
{
    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        unsigned p = (unsigned)rand_r(&seed) % (PATHS / MUTATORS) * MUTATORS + id;
        bool all = rand_r(&seed) % 64 == 0;
        u64 h = path_hash(s, p);
        if (all)
            index_begin_all(s->x);
        else
            index_begin(s->x, h);
        if (rand_r(&seed) % 4 == 0)
            sched_yield();
        __atomic_add_fetch(&s->truth[p], 1, __ATOMIC_SEQ_CST);
        if (rand_r(&seed) % 4 == 0)
            sched_yield();
        if (all)
            index_end_all(s->x);
        else
            index_end(s->x, h);
        count(&s->changes);
        if (rand_r(&seed) % 8 == 0)
            usleep(200);
    }
}

static void look_and_learn(struct shared *s, unsigned seed)
{
    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        unsigned p = (unsigned)rand_r(&seed) % PATHS;
        u64 h = path_hash(s, p), word;
        u64 before = __atomic_load_n(&s->truth[p], __ATOMIC_SEQ_CST);
        enum index_state state = index_look(s->x, h, &word);
        u64 after = __atomic_load_n(&s->truth[p], __ATOMIC_SEQ_CST);
        if (state == INDEX_MAYBE) {
            if (rand_r(&seed) % 4 == 0)
                sched_yield();
            index_learn(s->x, h, word, after & 1 ? INDEX_MERGED : INDEX_ABSENT);
        } else if (before == after) {
            count(&s->hits);
            if ((state == INDEX_ABSENT) == (after & 1))
                count(&s->lies);
        }
    }
}

static pid_t start(struct shared *s, unsigned i, unsigned seed)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (i < MUTATORS)
            mutate(s, i, seed);
        else
            look_and_learn(s, seed);
        _exit(0);
    }
    return pid;
}

static void test_processes_that_die_leave_no_lie(void **state)
{
    size_t size = sizeof(struct shared) + index_size(10);
    struct shared *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid[MUTATORS + LEARNERS];
    unsigned seed = (unsigned)getpid();
    (void)state;
    assert_true(s != MAP_FAILED);
    s->x = index_init(s + 1, 10, 7);
    for (unsigned i = 0; i < MUTATORS + LEARNERS; i++)
        pid[i] = start(s, i, seed + i);
    double end = now() + SECONDS;
    unsigned killed = 0;
    while (now() < end) {
        unsigned i = (unsigned)rand_r(&seed) % (MUTATORS + LEARNERS);
        usleep(15000);
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
        pid[i] = start(s, i, seed + 100 + killed++);
    }
    s->stop = 1;
    for (unsigned i = 0; i < MUTATORS + LEARNERS; i++)
        waitpid(pid[i], NULL, 0);
    print_message("%llu changes, %llu answers, %u killed\n", (unsigned long long)s->changes,
                  (unsigned long long)s->hits, killed);
    assert_int_equal(s->lies, 0);
    assert_true(s->changes > 100);
    assert_true(s->hits > 1000);
    munmap(s, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_stale_word_is_refused),
        cmocka_unit_test(test_nothing_is_learned_during_a_change),
        cmocka_unit_test(test_a_full_table_forgets_and_does_not_lie),
        cmocka_unit_test(test_hash_depends_on_key_and_every_byte),
        cmocka_unit_test(test_processes_that_die_leave_no_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
