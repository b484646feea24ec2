/* The argument list of an exec that is not quite the program's own: words of ours at the front, the
 * program's own pointers behind them. */
#ifndef FUSS_TRACER_EXECARGS_H
#define FUSS_TRACER_EXECARGS_H

#include "tracer/task.h"

#define EXEC_WORDS_MAX 20

struct exec_args {
    char *word[EXEC_WORDS_MAX]; /* ours, in reverse: the last one comes first; owned */
    unsigned nwords;
    u64 *own; /* the program's pointers, where loaded; owned */
    size_t nown;
    size_t skip; /* of them are replaced by words */
    bool loaded;
};

void exec_args_free(struct exec_args *a);
/* Reads the program's pointers from its argv (0: an empty one): 0, -EFAULT, -E2BIG, -ENOMEM. */
int exec_args_load(struct exec_args *a, struct task *t, u64 argv);
/* Puts a copy of the word before the list; -ENOMEM, -E2BIG. */
int exec_args_push(struct exec_args *a, const char *word);
/* Takes the first argument away, where there is one (as the kernel does for scripts). */
void exec_args_drop_first(struct exec_args *a);
/* Text of the first argument: its length, 0 ("") where the list is empty, -EFAULT, or -ENAMETOOLONG
 * where it does not fit. */
long exec_args_first(const struct exec_args *a, struct task *t, char *buf, size_t cap);
/* The whole as bytes for the address `at` in the program: `path`, the pointers, the words. With
 * image NULL only the size is computed. *argv is the address of the pointers. */
size_t exec_args_image(const struct exec_args *a, const char *path, u64 at, char *image, u64 *argv);

#endif
