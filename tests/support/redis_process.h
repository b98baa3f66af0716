// SPDX-License-Identifier: Apache-2.0
#pragma once
// A real redis-server for a test (Debian package): a child process in a folder of its own, without
// persistence, on free ports of 127.0.0.1 and on a Unix socket, that ends with its parent.

#include <sys/types.h>

#include "common/base/macros.h"

struct redis_process {
    pid_t pid;
    char dir[64]; // also holds ca.crt when there is TLS
    unsigned port;
    unsigned tls_port; // 0 without TLS
    char socket[96];
    char password[64];
};

// tls: makes an authority and a certificate for 127.0.0.1 and localhost with openssl(1). password
// may be NULL. Negative errno; -ENOENT: no redis-server or openssl here.
int redis_process_start(struct redis_process *p, bool tls, const char *password) NODISCARD;

// SIGKILL, as a crash: what it held is gone. Ports and files stay.
void redis_process_kill(struct redis_process *p);
// Runs again on the same ports.
int redis_process_again(struct redis_process *p) NODISCARD;

// Ends it and removes its folder. Also of a zeroed struct.
void redis_process_stop(struct redis_process *p);

// Sends one command given as words (NULL-terminated) and writes the whole answer in RESP to buf,
// zero-terminated; returns buf. Fails the process when it cannot.
const char *redis_process_ask(const struct redis_process *p, char *buf, size_t cap,
                              const char *const *words);
