// SPDX-License-Identifier: Apache-2.0
#pragma once
// The HTTP side of foci-sfu: connect requests, their validation, Twirp, health
// (livekit-protocol 1.1 to 1.4, 6.1). Paths match under any prefix, so that a reverse proxy may
// mount the server anywhere.
//
// Signalling thread.

#include "common/base/cidr.h"
#include "common/base/rate.h"
#include "common/lk/keys.h"
#include "common/sys/loop.h"
#include "sfu/base/channel_msg.h"

struct signal_server;

struct signal_server_conf {
    struct loop *loop;
    const struct addr *listen;
    size_t listen_count;
    const struct api_keys *keys; // borrowed
    uint32_t worker_count;
    bool auto_create;           // joining makes a missing room
    struct rate_limit connects; // of one client address; per_1000s 0: no limit (connect_limit.h)
    const struct cidr_set *proxies; // borrowed; trusted, NULL: none
    int64_t first_response_ms;      // how long a join waits for its worker, 0: 12 s
    void (*post)(void *user, uint32_t worker, struct channel_msg *m); // to a worker; takes m
    void *user;
};

// Opens the sockets. Negative errno; *ret_failed is the listener it was about.
int signal_server_new(const struct signal_server_conf *conf, struct signal_server **ret,
                      size_t *ret_failed) NODISCARD;
// Ends everything at once. Accepts NULL.
void signal_server_free(struct signal_server *s);

// A message of a worker. Takes it.
void signal_server_deliver(struct signal_server *s, struct channel_msg *m);

// Another key signs from now on (rtc_sessions_renew_tokens).
void signal_server_renew_tokens(struct signal_server *s);

// No new connections; existing ones go on.
void signal_server_quiesce(struct signal_server *s);

struct addr signal_server_address(const struct signal_server *s, size_t i);
// SIGUSR1: one line "signal.stats" of what became of connections.
void signal_server_log_stats(const struct signal_server *s);

size_t signal_server_sessions(const struct signal_server *s);
