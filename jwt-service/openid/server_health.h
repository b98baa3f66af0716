// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which servers cannot be reached, so that a dead one costs one attempt a minute
// (authorization-service 5.8 rule 8). Pure: `now` is a parameter. A table of fixed size by keyed
// hash: whoever names many dead servers only makes us forget some of them.
//
// A server is dead for SERVER_DEAD_MS after a failure to reach it. One that answered in the last
// minute needs three failures in a row, and so does a time-out of a connection that stood: a busy
// server that lets one of many requests wait is not dead.

#include "common/base/bytes.h"
#include "common/base/mono.h"

#define SERVER_DEAD_MS 60000

struct server_health;

// servers: how many are remembered, 0: 8192 (32 bytes each, as they come to be used).
struct server_health *server_health_new(size_t servers) NODISCARD;
void server_health_free(struct server_health *h); // accepts NULL
DEFINE_CLEANUP(struct server_health *, server_health_free)

enum server_outcome {
    SERVER_ANSWERED,    // an HTTP answer of any status
    SERVER_UNREACHABLE, // name, address, connection or TLS
    SERVER_SILENT,      // connected, but no answer or a broken one
};

void server_health_note(struct server_health *h, mono_t now, const char *server,
                        enum server_outcome o);

// True if it should not be asked now.
bool server_health_dead(const struct server_health *h, mono_t now, const char *server);
