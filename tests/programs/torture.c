/* Processes that change a union until somebody kills them, and what must be true afterwards.
 *
 *   torture init JOURNAL LOWER1 LOWER2     makes the layers and the journal
 *   torture work JOURNAL DIR               changes DIR until killed
 *   torture round JOURNAL SEED WORD...     runs WORD... JOURNAL DIR is among its words), kills it
 *   torture verify JOURNAL DIR look|settle compares DIR with the journal; settle brings the journal
 *                                          to what was found
 *
 * The journal is a file outside of the union that all map: for each name what it was before the
 * change under way and what it will be after it. It outlives the kill, so a name may be found in
 * one of these two states and in no other. Each worker has names of its own, in directories that
 * all share. */
#include "probe.h"

#include <sys/file.h>
#include <sys/mman.h>

#define WORKERS 4
#define FILES   12 /* of each worker */
#define CYCLES  3  /* directories of each worker that are emptied, removed and made anew */
#define DIRS    3
#define HEAD    16 /* bytes before a file's body */
#define LONGEST (200 * 1024)

/* A file's state: 0 absent, else its version, whether its mode is 0640 and whose body it has. */
#define STATE(version, private, body) \
    ((uint32_t)(version) << 16 | (uint32_t)(private) << 8 | (uint32_t)(body))
#define PRIVATE 0x100u
#define BODY(s) ((s) & 0xff)

/* A directory's states, in the order in which they follow each other. */
enum cycle { FULL, ONE_LEFT, EMPTY, ABSENT, NEW_EMPTY, NEW_FULL, NEW_EMPTIED };

struct change {
    uint32_t before, after;
};

struct worker {
    struct change file[FILES], cycle[CYCLES];
    int pair[2];      /* files of a rename under way, or -1 */
    int writing;      /* a file that appears empty and is filled then, or -1 */
    uint32_t version; /* the last one given out */
    uint64_t random;
    uint64_t ops;
    char error[240];
};

struct journal {
    int main; /* the first process of the load, 0 before it runs */
    struct worker worker[WORKERS];
};

static struct journal *journal;
static char body[LONGEST], other[LONGEST];

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static unsigned pick(struct worker *w, unsigned n)
{
    return (unsigned)(next(&w->random) % n);
}

static void map_journal(const char *path, int flags)
{
    int fd = open(path, O_RDWR | flags, 0666);

    CHECK(fd >= 0);
    CHECK(flags == 0 || ftruncate(fd, sizeof(*journal)) == 0);
    journal = mmap(NULL, sizeof(*journal), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(journal != MAP_FAILED);
    /* Held by every process of the load, over fork and exec: who gets it alone knows them dead. */
    CHECK(flock(fd, LOCK_SH) == 0);
}

static unsigned size_of(unsigned who, unsigned id)
{
    static const unsigned sizes[] = {100, 4096, 20000, LONGEST};

    return sizes[(who + id) % 4];
}

static void fill(char *to, unsigned who, unsigned id, uint32_t version)
{
    uint64_t r = who << 8 | id;

    for (unsigned i = 0; i < size_of(who, id); i += 4)
        memcpy(to + i, &(uint32_t){(uint32_t)next(&r)}, 4);
    memcpy(to, "FILE", 4);
    memcpy(to + 4, &(uint32_t[3]){version, who, id}, 12);
}

static void file_name(char *to, unsigned who, unsigned id)
{
    sprintf(to, "d%u/sub/f%u.%u", id % DIRS, who, id);
}

static void cycle_name(char *to, unsigned who, unsigned id, const char *in)
{
    sprintf(to, "d%u/c%u.%u%s", id % DIRS, who, id, in);
}

/* ---- the layers -------------------------------------------------------------------------------- */

static void put(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

    CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n && close(fd) == 0);
}

static void make_layer(const char *layer, unsigned which)
{
    char name[64];

    CHECK(chdir(layer) == 0);
    for (unsigned d = 0; d < DIRS; d++) {
        sprintf(name, "d%u", d);
        CHECK(mkdir(name, 0755) == 0);
        strcat(name, "/sub");
        CHECK(mkdir(name, 0755) == 0);
    }
    for (unsigned who = 0; who < WORKERS; who++) {
        struct worker *w = &journal->worker[who];

        /* A third of the files in either layer, a third in none. */
        for (unsigned id = 0; id < FILES; id++) {
            if (id / DIRS % 3 != which)
                continue;
            file_name(name, who, id);
            fill(body, who, id, 1);
            put(name, body, size_of(who, id));
            w->file[id].before = w->file[id].after = STATE(1, 0, id);
        }
        for (unsigned id = 0; id < CYCLES; id++) {
            cycle_name(name, who, id, "");
            CHECK(mkdir(name, 0755) == 0);
            cycle_name(name, who, id, which ? "/old1" : "/old0");
            put(name, "", 0);
        }
        w->pair[0] = w->pair[1] = w->writing = -1;
        w->version = 1;
    }
}

/* ---- the load ---------------------------------------------------------------------------------- */

static struct worker *self;
static unsigned me;

/* The calls of a program whose supervisor has just died fail in the instant before it dies itself. */
static void must(bool good, const char *what)
{
    int err = errno;

    if (good)
        return;
    if (err == ENOSYS)
        for (;;)
            pause();
    snprintf(self->error, sizeof(self->error), "worker %u, op %llu: %s: %s", me,
             (unsigned long long)self->ops, what, probe_errno(err));
    _exit(1);
}

/* What was announced has come true. */
static void done(struct change *c)
{
    __atomic_store_n(&c->before, c->after, __ATOMIC_SEQ_CST);
}

static void announce(struct change *c, uint32_t after)
{
    __atomic_store_n(&c->after, after, __ATOMIC_SEQ_CST);
}

static uint32_t new_version(void)
{
    return self->version = self->version % 0xfff0 + 1;
}

static void write_file(const char *name, unsigned id, uint32_t version)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);

    must(fd >= 0, "create");
    fill(body, me, id, version);
    must(write(fd, body, size_of(me, id)) == (ssize_t)size_of(me, id), "write");
    close(fd);
}

static void change_file(unsigned id)
{
    struct change *c = &self->file[id], *t;
    uint32_t v = new_version(), head[3] = {v, me, BODY(c->before)};
    char name[64], tmp[64];
    unsigned to;
    int fd;

    file_name(name, me, id);
    if (c->before == 0) {
        self->writing = (int)id;
        announce(c, STATE(v, 0, id));
        write_file(name, id, v);
        done(c);
        self->writing = -1;
        return;
    }
    switch (pick(self, 5)) {
    case 0: /* within the file */
        fd = open(name, O_RDWR);
        must(fd >= 0, "open for writing");
        announce(c, STATE(v, (c->before & PRIVATE) != 0, BODY(c->before)));
        must(pwrite(fd, head, 12, 4) == 12, "pwrite");
        done(c);
        close(fd);
        break;
    case 1: /* by another one renamed over it */
        sprintf(tmp, "d%u/tmp.%u", pick(self, DIRS), me);
        write_file(tmp, id, v);
        announce(c, STATE(v, 0, id));
        must(rename(tmp, name) == 0, "rename over");
        done(c);
        break;
    case 2:
        announce(c, 0);
        must(unlink(name) == 0, "unlink");
        done(c);
        break;
    case 3:
        announce(c, c->before ^ PRIVATE);
        must(chmod(name, c->before & PRIVATE ? 0644 : 0640) == 0, "chmod");
        done(c);
        break;
    case 4:
        to = (id + 1 + pick(self, FILES - 1)) % FILES;
        t = &self->file[to];
        file_name(tmp, me, to);
        self->pair[0] = (int)id;
        self->pair[1] = (int)to;
        announce(t, c->before);
        announce(c, 0);
        must(rename(name, tmp) == 0, "rename");
        self->pair[0] = self->pair[1] = -1;
        done(t);
        done(c);
        break;
    }
}

static void change_cycle(unsigned id)
{
    struct change *c = &self->cycle[id];
    char dir[64], name[64];
    int fd;

    cycle_name(dir, me, id, "");
    announce(c, c->before == NEW_EMPTIED ? ABSENT : c->before + 1);
    switch ((enum cycle)c->before) {
    case FULL:
    case ONE_LEFT:
        cycle_name(name, me, id, c->before == FULL ? "/old0" : "/old1");
        must(unlink(name) == 0, "unlink of a lower file");
        break;
    case EMPTY:
    case NEW_EMPTIED:
        must(rmdir(dir) == 0, "rmdir");
        break;
    case ABSENT:
        must(mkdir(dir, 0755) == 0, "mkdir");
        break;
    case NEW_EMPTY:
    case NEW_FULL:
        cycle_name(name, me, id, "/new");
        if (c->before == NEW_FULL) {
            must(unlink(name) == 0, "unlink of a new file");
            break;
        }
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        must(fd >= 0, "create in a new directory");
        close(fd);
        break;
    }
    done(c);
}

/* A name that somebody of the load may have made. */
static bool known(const char *name)
{
    static const char *const forms[] = {"d%u", "tmp.%u", "f%u.%u", "c%u.%u", "old%u"};
    char again[64];
    unsigned a, b;

    for (unsigned i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
        a = b = 0;
        if (sscanf(name, forms[i], &a, &b) >= 1) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
            snprintf(again, sizeof(again), forms[i], a, b);
#pragma GCC diagnostic pop
            if (strcmp(again, name) == 0)
                return true;
        }
    }
    return strcmp(name, "sub") == 0 || strcmp(name, "new") == 0;
}

static void look_around(void)
{
    char name[64];
    struct stat st;
    DIR *d;

    file_name(name, pick(self, WORKERS), pick(self, FILES));
    if (stat(name, &st) == -1)
        must(errno == ENOENT, "stat");
    int fd = open(name, O_RDONLY);
    must(fd >= 0 || errno == ENOENT || errno == EACCES, "open");
    if (fd >= 0) {
        must(read(fd, other, sizeof(other)) >= 0, "read");
        close(fd);
    }
    sprintf(name, "d%u%s", pick(self, DIRS), pick(self, 2) ? "/sub" : "");
    d = opendir(name);
    must(d != NULL, "opendir");
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        errno = 0;
        must(e->d_name[0] == '.' && strspn(e->d_name, ".") == strlen(e->d_name) ? true
                                                                               : known(e->d_name),
             e->d_name);
    }
    closedir(d);
}

static void __attribute__((noreturn)) work(char **argv)
{
    char number[8];

    self = &journal->worker[me];
    for (unsigned i = 0; i < 100; i++) {
        self->ops++;
        if (pick(self, 4) == 0)
            change_cycle(pick(self, CYCLES));
        else
            change_file(pick(self, FILES));
        look_around();
    }
    sprintf(number, "%u", me);
    char *again[] = {argv[0], (char *)"work", argv[2], argv[3], number, NULL};
    execv("/proc/self/exe", again);
    must(false, "exec");
    _exit(1);
}

/* ---- afterwards -------------------------------------------------------------------------------- */

static bool partial; /* what file_state found is a file that is being written */

static uint32_t file_state(const char *name, unsigned who)
{
    uint32_t head[4];
    struct stat st;
    int fd = open(name, O_RDONLY);
    ssize_t n;

    partial = false;
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        fail("%s: open: %s", name, probe_errno(errno));
    CHECK(fstat(fd, &st) == 0);
    n = read(fd, other, sizeof(other));
    CHECK(n == st.st_size && close(fd) == 0);
    partial = true;
    if (n < HEAD)
        return 0;
    memcpy(head, other, HEAD);
    if (memcmp(other, "FILE", 4) != 0 || head[2] != who || head[3] >= FILES)
        fail("%s: not a file of worker %u", name, who);
    if (n != (ssize_t)size_of(who, head[3]))
        return 0;
    fill(body, who, head[3], head[1]);
    if (memcmp(body, other, (size_t)n) != 0)
        fail("%s: wrong bytes in the body of %u", name, head[3]);
    partial = false;
    if ((st.st_mode & 07777) != 0644 && (st.st_mode & 07777) != 0640)
        fail("%s: mode %o", name, st.st_mode & 07777);
    return STATE(head[1], (st.st_mode & 07777) == 0640, head[3]);
}

/* What a cycle's directory holds, as a bit for each of its names and one for itself. */
static unsigned cycle_holds(const char *name)
{
    unsigned found = 1;
    DIR *d = opendir(name);

    if (d == NULL) {
        if (errno != ENOENT)
            fail("%s: opendir: %s", name, probe_errno(errno));
        return 0;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, "old0") == 0)
            found |= 2;
        else if (strcmp(e->d_name, "old1") == 0)
            found |= 4;
        else if (strcmp(e->d_name, "new") == 0)
            found |= 8;
        else if (e->d_name[0] != '.' || strspn(e->d_name, ".") != strlen(e->d_name))
            fail("%s/%s: a stray name", name, e->d_name);
    closedir(d);
    return found;
}

static unsigned cycle_should(uint32_t state)
{
    static const unsigned char holds[] = {7, 5, 1, 0, 1, 9, 1};

    return holds[state];
}

static void verify_names(const char *dir, bool settle)
{
    char name[400];
    DIR *d = opendir(dir);

    if (d == NULL)
        fail("%s: opendir: %s", dir, probe_errno(errno));
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (!known(e->d_name)) {
            /* Until the next session has tidied up, another reader of the upper sees the work. */
            if (!settle && strcmp(dir, ".") == 0 && strncmp(e->d_name, ".fuss", 5) == 0)
                continue;
            fail("%s/%s: a stray name", dir, e->d_name);
        }
        snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
        if (settle && strncmp(e->d_name, "tmp.", 4) == 0 && unlink(name) == -1)
            fail("%s: unlink: %s", name, probe_errno(errno));
    }
    closedir(d);
}

static void verify_worker(unsigned who, bool settle)
{
    struct worker *w = &journal->worker[who];
    uint32_t found[FILES];
    char name[64];

    if (w->error[0])
        fail("%s", w->error);
    for (unsigned id = 0; id < FILES; id++) {
        struct change *c = &w->file[id];

        file_name(name, who, id);
        found[id] = file_state(name, who);
        if (partial && w->writing != (int)id)
            fail("%s: cut short", name);
        if (found[id] != c->before && found[id] != c->after)
            fail("%s: is %x, was %x, was to be %x", name, found[id], c->before, c->after);
        if (partial && settle && unlink(name) == -1)
            fail("%s: unlink: %s", name, probe_errno(errno));
    }
    if (w->pair[0] >= 0 && w->pair[1] >= 0) {
        struct change *a = &w->file[w->pair[0]], *b = &w->file[w->pair[1]];
        uint32_t fa = found[w->pair[0]], fb = found[w->pair[1]];

        if ((fa == a->before) != (fb == b->before))
            fail("rename of f%u.%d to f%u.%d: half done (%x, %x)", who, w->pair[0], who, w->pair[1],
                 fa, fb);
    }
    for (unsigned id = 0; id < CYCLES; id++) {
        struct change *c = &w->cycle[id];
        unsigned holds;

        cycle_name(name, who, id, "");
        holds = cycle_holds(name);
        if (holds != cycle_should(c->before) && holds != cycle_should(c->after))
            fail("%s: holds %x, was state %u, was to be %u", name, holds, c->before, c->after);
        if (settle)
            c->before = c->after = holds == cycle_should(c->after) ? c->after : c->before;
    }
    if (!settle)
        return;
    for (unsigned id = 0; id < FILES; id++)
        w->file[id].before = w->file[id].after = found[id];
    w->pair[0] = w->pair[1] = w->writing = -1;
}

static void verify(bool settle)
{
    char name[16];

    verify_names(".", settle);
    for (unsigned d = 0; d < DIRS; d++) {
        sprintf(name, "d%u", d);
        verify_names(name, settle);
        strcat(name, "/sub");
        verify_names(name, settle);
    }
    for (unsigned who = 0; who < WORKERS; who++)
        verify_worker(who, settle);
}

/* ---- the killing ------------------------------------------------------------------------------- */

static int parent_of(int pid)
{
    char path[64], text[512];
    FILE *f;
    char *end;

    sprintf(path, "/proc/%d/stat", pid);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    end = strrchr(text, ')');
    return end ? atoi(end + 4) : 0;
}

static int tracer_of(int pid)
{
    char path[64], line[256];
    int tracer = 0;
    FILE *f;

    sprintf(path, "/proc/%d/status", pid);
    f = fopen(path, "r");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "TracerPid: %d", &tracer) == 1)
            break;
    fclose(f);
    return tracer;
}

/* Fills pids with the processes below root. */
static unsigned tree_of(int root, int *pids, unsigned room)
{
    DIR *d = opendir("/proc");
    unsigned n = 0;

    CHECK(d != NULL);
    for (struct dirent *e; (e = readdir(d)) != NULL && n < room;) {
        int pid = atoi(e->d_name);

        for (int p = pid, depth = 0; p > 1 && depth < 16; depth++)
            if ((p = parent_of(p)) == root) {
                pids[n++] = pid;
                break;
            }
    }
    closedir(d);
    return n;
}

static void late(int sig)
{
    (void)sig;
    static const char text[] = "FAIL: a process of the load outlived the kill\n";

    if (write(2, text, sizeof(text) - 1) < 0)
        _exit(3);
    _exit(1);
}

static void round_of(const char *path, unsigned long seed, char **words)
{
    struct worker dice = {.random = seed};
    int pids[64], fd = open(path, O_RDWR | O_CLOEXEC), child, tracer;
    unsigned n, way = pick(&dice, 3), wait_us;

    CHECK(fd >= 0);
    for (unsigned who = 0; who < WORKERS; who++)
        journal->worker[who].random = seed * 31 + who;
    journal->main = 0;
    /* A round in eight dies while it starts. */
    wait_us = pick(&dice, 8) ? 30000 + pick(&dice, 300000) : pick(&dice, 30000);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execvp(words[0], words);
        _exit(127);
    }
    usleep(wait_us);
    n = tree_of(child, pids, 64);
    tracer = journal->main ? tracer_of(journal->main) : 0;
    if (way == 0 && tracer > 0) {
        kill(tracer, SIGKILL); /* the rest has to follow */
    } else if (way == 1 && journal->main) {
        for (unsigned i = 0; i < n; i++)
            if (tracer_of(pids[i]) == tracer) {
                kill(pids[i], SIGKILL);
                usleep(pick(&dice, 2000));
            }
        usleep(pick(&dice, 20000));
        if (tracer > 0)
            kill(tracer, SIGKILL);
    }
    if (way != 0 || tracer <= 0)
        for (unsigned i = 0, at = n ? pick(&dice, n) : 0; i < n; i++)
            kill(pids[(at + i) % n], SIGKILL);
    signal(SIGALRM, late);
    alarm(10);
    if (way != 0 || tracer <= 0)
        kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK(flock(fd, LOCK_EX) == 0);
    alarm(0);
}

int main(int argc, char **argv)
{
    umask(022);
    if (argc < 4)
        return 2;
    if (strcmp(argv[1], "init") == 0) {
        map_journal(argv[2], O_CREAT | O_EXCL);
        for (unsigned i = 0; i < 2; i++)
            make_layer(argv[3 + i], i);
        return 0;
    }
    if (strcmp(argv[1], "round") == 0) {
        map_journal(argv[2], 0);
        munlockall();
        round_of(argv[2], strtoul(argv[3], NULL, 10), argv + 4);
        return 0;
    }
    if (argc == 5 && strcmp(argv[1], "work") == 0) {
        /* Execed again: the lock came along with its descriptor. */
        map_journal(argv[2], 0);
        CHECK(chdir(argv[3]) == 0);
        me = (unsigned)atoi(argv[4]);
        work(argv);
    }
    map_journal(argv[2], 0);
    CHECK(chdir(argv[3]) == 0);
    if (strcmp(argv[1], "work") == 0) {
        __atomic_store_n(&journal->main, (int)getpid(), __ATOMIC_SEQ_CST);
        for (me = 0; me < WORKERS; me++)
            if (fork() == 0)
                work(argv);
        while (wait(NULL) > 0)
            ;
        return 1;
    }
    CHECK(argc == 5 && strcmp(argv[1], "verify") == 0);
    verify(strcmp(argv[4], "settle") == 0);
    return 0;
}
