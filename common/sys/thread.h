// SPDX-License-Identifier: Apache-2.0
#pragma once
// Threads with a name that block all signals (the main thread's loop serves them).

#include <pthread.h>

#include "common/base/macros.h"

struct thread {
    pthread_t id;
    bool running;
    void (*fn)(void *arg);
    void *arg;
    int cpu;
    char name[16]; // the kernel's limit
};

// Starts fn(arg). name is cut to 15 bytes. cpu >= 0 pins it there (a CPU that does not exist is
// ignored), -1 leaves it free. t must stay until thread_join. Negative errno of pthread_create.
int thread_start(struct thread *t, const char *name, int cpu, void (*fn)(void *arg),
                 void *arg) NODISCARD;

// The calling thread stands back from now on: where a core is short, others get nine tenths of it. For
// work that may take a little longer, beside threads that may not.
void thread_stand_back(void);

// Waits for the end; does nothing if it was not started.
void thread_join(struct thread *t);

// CPUs this process may use (affinity mask and cgroup quota), at least 1.
unsigned thread_cpus(void);
