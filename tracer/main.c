/* fuss: run a program tree and show it a union of directories. */
#include "image/image.h"
#include "tracer/front.h"
#include "tracer/log.h"
#include "tracer/options.h"
#include "tracer/setup.h"
#include "tracer/start.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void open_log(const struct options *o)
{
    int fd;
    if (o->log_file) {
        fd = open(o->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (fd < 0)
            die(EXIT_FUSS, "%s: cannot write the log file: %s; name another --log-file",
                o->log_file, strerror(errno));
    } else if (log_level == LOG_NONE) {
        return;
    } else {
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    }
    log_to(fd, !o->log_file);
}

int main(int argc, char **argv)
{
    static struct options o;
    struct session *s;
    if (argc > 1 && !strcmp(argv[1], "image"))
        return image_main(argc - 1, argv + 1);
    s = calloc(1, sizeof(*s));
    options_read(&o, argc, argv);
    if (!s)
        die(EXIT_FUSS, "out of memory: cannot start; free some memory and try again");
    setup_check_kernel();
    open_log(&o);
    setup_session(s, &o);
    return start(s, &o);
}
