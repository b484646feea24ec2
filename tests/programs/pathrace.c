/* pathrace LOWER_FILE HARMLESS TRIES: one thread flips a path between a lower file and a harmless
 * one while another opens it for writing, truncating. Prints "ok": what counts is that the lower
 * file is untouched afterwards, which the harness checks. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[4096];
static const char *word[2];
static atomic_bool over;

static void *flip(void *unused)
{
    (void)unused;
    for (unsigned i = 0; !over; i++)
        memcpy(path, word[i & 1], strlen(word[i & 1]) + 1);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc != 4)
        return 2;
    word[0] = argv[1];
    word[1] = argv[2];
    memcpy(path, argv[2], strlen(argv[2]) + 1);
    if (pthread_create(&thread, NULL, flip, NULL))
        return 1;
    for (int i = atoi(argv[3]); i > 0; i--) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (fd >= 0)
            close(fd);
    }
    over = true;
    pthread_join(thread, NULL);
    puts("ok");
    return 0;
}
