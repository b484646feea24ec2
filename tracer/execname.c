/* After an exec: the program sees itself under the names that it was started by. */
#include "base/str.h"
#include "base/sys.h"
#include "tracer/exec.h"
#include "tracer/firststack.h"
#include "tracer/inject.h"
#include "tracer/remote.h"
#include "tracer/supervise.h"
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* The kernel noted the real path as the name of the program (AT_EXECFN, getauxval(3)): puts the
 * name that the program was started by in its place, where it fits. */
static void correct_execfn(struct task *t, u64 at, const char *said)
{
    char now[PATH_MAX];
    if (at && remote_read_str(t, now, at, sizeof(now)) >= (long)strlen(said))
        remote_poke(t, at, said, strlen(said) + 1);
}

void exec_event(struct task *t)
{
    struct exec_plan *plan = t->extra;
    struct first_stack first;
    t->extra = NULL;
    t->proc->exe[0] = t->comm[0] = '\0';
    if (!plan)
        return;
    str_copy(t->proc->exe, sizeof(t->proc->exe), plan->exe);
    if (plan->said[0] || plan->change)
        first_stack_read(t, &first);
    if (plan->said[0])
        correct_execfn(t, first.execfn, plan->said);
    if (plan->rename)
        str_copy_n(t->comm, sizeof(t->comm), exec_base_name(plan->said),
                   strnlen(exec_base_name(plan->said), sizeof(t->comm) - 1));
    if (plan->change)
        loader_exchange(t, &plan->loader, &first);
    free(plan);
}

/* True where the program has given itself a name since it was executed. */
static bool named_itself(struct task *t)
{
    char entry[64], exe[PATH_MAX], comm[32] = {0};
    long n = sys_readlinkat(task_proc_fd(t), task_proc_name(t, "exe", entry), exe, sizeof(exe) - 1);
    int fd = sys_openat(task_proc_fd(t), task_proc_name(t, "comm", entry), O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return true;
    long m = sys_read(fd, comm, sizeof(comm) - 1);
    sys_close(fd);
    if (n <= 0 || m <= 0)
        return true;
    exe[n] = '\0';
    return strncmp(comm, exec_base_name(exe), (size_t)m - 1) != 0;
}

/* Seccomp filters of the thread whose status file this is; -1 where the kernel does not say. */
static int filters_in(int dir, const char *name)
{
    char text[4096];
    int fd = sys_openat(dir, name, O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? -1 : sys_read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        sys_close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *at = strstr(text, "Seccomp_filters:");
    return at ? atoi(at + sizeof("Seccomp_filters:") - 1) : -1;
}

bool filters_itself(struct task *t)
{
    static int inherited = -2; /* filters that fuss itself runs under */
    char name[64];
    if (inherited == -2)
        inherited = filters_in(AT_FDCWD, "/proc/self/status");
    int now = filters_in(task_proc_fd(t), task_proc_name(t, "status", name));
    return now < 0 || now > inherited + 1;
}

bool exec_name(struct task *t)
{
    bool again;
    if (named_itself(t) || filters_itself(t)) {
        t->comm[0] = '\0';
        return false;
    }
    u64 at = scratch_get(t, sizeof(t->comm), &again);
    if (again)
        return true;
    bool named = at && remote_poke(t, at, t->comm, sizeof(t->comm)) == 0;
    t->comm[0] = '\0';
    if (named) {
        const u64 arg[6] = {PR_SET_NAME, at};
        inject_syscall(t, SYS_prctl, arg);
    }
    scratch_release(t);
    return named;
}
