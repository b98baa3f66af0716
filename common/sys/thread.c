// SPDX-License-Identifier: Apache-2.0
#include "common/sys/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/bytes.h"

static void *entry(void *arg)
{
    struct thread *const t = arg;
    (void)pthread_setname_np(pthread_self(), t->name);
    if (t->cpu >= 0 && t->cpu < CPU_SETSIZE) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)t->cpu, &set);
        (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    }
    t->fn(t->arg);
    return NULL;
}

int thread_start(struct thread *t, const char *name, int cpu, void (*fn)(void *arg), void *arg)
{
    *t = (struct thread){.fn = fn, .arg = arg, .cpu = cpu};
    (void)snprintf(t->name, sizeof(t->name), "%s", name);
    // A new thread inherits the mask of its creator; blocking here leaves no moment in which it
    // could get a signal.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int const r = pthread_create(&t->id, NULL, entry, t);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        return -r;
    }
    t->running = true;
    return 0;
}

// Ten steps are a tenth of the weight (each is a fifth less). Niceness belongs to a thread on Linux, and
// nobody needs a privilege to take more of it.
#define STAND_BACK_STEPS 10

void thread_stand_back(void)
{
    (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + STAND_BACK_STEPS);
}

void thread_join(struct thread *t)
{
    if (t->running) {
        (void)pthread_join(t->id, NULL);
        t->running = false;
    }
}

// A non-negative decimal at the start of text; -1 if there is none.
static int64_t leading_number(const char *text)
{
    int64_t v = -1;
    for (; *text >= '0' && *text <= '9' && v < INT64_C(1) << 50; text++) {
        v = (v < 0 ? 0 : v) * 10 + (*text - '0');
    }
    return v;
}

// cgroup v2: "quota period" in microseconds, or "max period". Containers limit CPU by it and leave
// the affinity alone.
static int64_t quota_cpus(void)
{
    char line[64] = "";
    FILE *const f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (f == NULL) {
        return -1;
    }
    if (fgets(line, sizeof(line), f) == NULL) {
        line[0] = 0;
    }
    (void)fclose(f);
    const char *const space = strchr(line, ' ');
    int64_t const quota = leading_number(line);
    int64_t const period = space != NULL ? leading_number(space + 1) : -1;
    return quota > 0 && period > 0 ? (quota + period - 1) / period : -1;
}

unsigned thread_cpus(void)
{
    int64_t n = 1;
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        n = CPU_COUNT(&set);
    }
    int64_t const quota = quota_cpus();
    if (quota > 0) {
        n = MIN(n, quota);
    }
    return (unsigned)MAX(n, 1);
}
