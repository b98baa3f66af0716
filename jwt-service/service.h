// SPDX-License-Identifier: Apache-2.0
#pragma once
// foci-jwt as a whole: its parts, in which order they start, reload and stop. One thread, one loop.
//
// Start: everything is made ─► stored leaves are read and go on ─► the listeners open. SIGHUP reads
// keys and policy again (as a change of their files does). SIGTERM and SIGINT: no more connections;
// what is in flight is answered, leaves are brought to safety, then the end, after SERVICE_STOP_MS at
// the latest. A second signal ends at once.

#include "jwt-service/auth_config.h"

// Docker kills after 10 s; a homeserver that does not answer by then would not have by 10 either.
#define SERVICE_STOP_MS 9000

struct service;

// Makes all parts and begins to start. 0, or the exit status when it cannot start, which one line
// on stderr explains. config stays the caller's and must outlive it.
int service_new(struct auth_config *config, struct service **ret) NODISCARD;
void service_free(struct service *s); // accepts NULL
DEFINE_CLEANUP(struct service *, service_free)

// Runs until it is told to end. Exit status: 0, or 1 when it could not start after all.
int service_run(struct service *s) NODISCARD;

// For tests, which run the loop themselves. The listener is NULL until it is open.
struct loop *service_loop(struct service *s);
const struct httpd *service_listener(const struct service *s);
size_t service_in_flight(const struct service *s);

// The operator's line: also when the log level hides errors. Returns 1.
int service_complain(const char *text);
