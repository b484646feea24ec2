#include "tracer/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES (8 * PATH_MAX)

enum log_level log_level = LOG_NONE;
static int log_fd = -1;
static bool log_terminal;

void log_to(int fd, bool terminal)
{
    log_fd = fd;
    log_terminal = terminal;
}

void log_detach(void)
{
    if (log_fd < 0 || !log_terminal)
        return;
    close(log_fd);
    log_fd = -1;
    log_level = LOG_NONE;
}

struct line {
    size_t len;
    char text[LINE_MAX_BYTES];
};

static void add_bytes(struct line *l, const char *s, size_t n)
{
    n = min_size(n, sizeof(l->text) - 1 - l->len);
    memcpy(l->text + l->len, s, n);
    l->len += n;
}

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *format, ...)
{
    char buf[256];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(buf, sizeof(buf), format, ap);
    va_end(ap);
    add_bytes(l, buf, min_size((size_t)(n > 0 ? n : 0), sizeof(buf) - 1));
}

/* A path in quotes, so that no name can break a line in two. */
static void add_path(struct line *l, const char *path)
{
    add_bytes(l, "\"", 1);
    for (; *path; path++) {
        unsigned char ch = (unsigned char)*path;
        if (ch < ' ' || ch == 0x7f || ch == '"' || ch == '\\')
            add(l, "\\x%02x", ch);
        else
            add_bytes(l, path, 1);
    }
    add_bytes(l, "\"", 1);
}

static void begin(struct line *l, int pid)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    l->len = 0;
    add(l, "%02d:%02d:%02d.%06ld %d ", tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000, pid);
}

static void emit(struct line *l)
{
    l->text[l->len++] = '\n';
    if (log_fd >= 0 && write(log_fd, l->text, l->len) < 0)
        return;
}

void log_debug(const char *format, ...)
{
    static struct line l;
    char buf[1024];
    va_list ap;
    if (log_level < LOG_DEBUG)
        return;
    va_start(ap, format);
    vsnprintf(buf, sizeof(buf), format, ap);
    va_end(ap);
    begin(&l, (int)getpid());
    add_bytes(&l, buf, strlen(buf));
    emit(&l);
}

static void add_result(struct line *l, long result)
{
    const char *name = result < 0 ? strerrorname_np((int)-result) : NULL;
    if (name)
        add(l, " = %s", name);
    else if (result < 0 && result > -4096)
        add(l, " = error %ld", -result);
    else
        add(l, " = %ld", result);
}

/* Where the kernel, or the supervisor, looked for the first path's object. */
static const char *real_path(const struct call *c)
{
    static char buf[PATH_MAX];
    struct vfs *fs = c->view->fs;
    if (c->real[0] || !c->place.in_union)
        return c->real;
    if (!vnode_exists(&c->place.node) || fs->ops.locate(fs, &c->place.node, buf, sizeof(buf)) < 0)
        return "";
    return buf;
}

void log_call(const struct task *t, const struct call *c, const char *action, bool known,
              long result)
{
    static struct line l;
    begin(&l, t->who.tgid);
    add(&l, "%s ", c->row->name);
    if (c->by_fd)
        add(&l, "fd %d", c->fd);
    else
        add_path(&l, c->said);
    if (c->said2[0]) {
        add(&l, ", ");
        add_path(&l, c->said2);
    }
    if (c->place.path[0]) {
        add(&l, c->place.in_union ? " union " : " host ");
        add_path(&l, c->place.path);
    }
    if (c->place2.path[0]) {
        add(&l, ", ");
        add_path(&l, c->place2.path);
    }
    add(&l, " %s", action);
    const char *real = real_path(c);
    if (real[0]) {
        add(&l, " real ");
        add_path(&l, real);
    }
    if (known)
        add_result(&l, result);
    emit(&l);
}
