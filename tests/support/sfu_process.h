// SPDX-License-Identifier: Apache-2.0
#pragma once
// A foci-sfu of its own for a test: a child process on free ports, in development mode, that ends
// with its parent.

#include <sys/types.h>

#include "common/base/macros.h"

#define SFU_PROCESS_KEY "testkey"
#define SFU_PROCESS_SECRET "a-secret-of-at-least-32-characters!!"

struct sfu_process {
    pid_t pid;
    int log;         // pipe from its standard error
    int exit_status; // after sfu_process_stop: as waitpid gives it
    char url[64];    // ws://127.0.0.1:PORT
};

// Starts program with the further arguments (NULL-terminated, may be NULL) and waits until it
// listens. Negative errno; -ETIMEDOUT after 20 s, -ECHILD when it ended instead.
int sfu_process_start(struct sfu_process *p, const char *program,
                      const char *const *args) NODISCARD;

// SIGTERM, and SIGKILL after 10 s. What it wrote is shown when it did not end with status 0. Also
// of a zeroed struct.
void sfu_process_stop(struct sfu_process *p);

// The foci-sfu built beside a test program (argv[0] = build/MODE/tests/unit/x). Returns buf.
const char *sfu_process_beside(const char *argv0, char *buf, size_t cap);
