// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a test client says on its signalling socket (livekit-protocol sections 1.5, 1.6, 3.2), and
// where it connects.

#include "common/base/addr.h"
#include "common/lk/livekit.h"
#include "common/svc/ws.h"
#include "tests/support/client_sender.h"

#define CLIENT_PROTOCOL 16 // of livekit-client 2.x, with single peer connections

struct client_url {
    struct addr addr;
    char host[280]; // Host header: name and port
    char path[256]; // prefix, without a slash at its end
};

// ws://, http:// (also wss and https as text, refused). Looks names up (blocks). -EINVAL, -ENOTSUP
// for TLS, -EHOSTUNREACH.
int client_url_parse(const char *text, struct client_url *ret) NODISCARD;

struct client_join {
    bool v0;
    const char *token;
    bool auto_subscribe;
    bool reconnect;
    const char *participant_sid; // reconnect
    struct bytes offer;          // v1, not on a reconnect
    uint32_t offer_id;
};

// Request target of the WebSocket. -ENOMEM.
int client_signal_target(const struct client_url *url, const struct client_join *j,
                         struct dynbuf *out) NODISCARD;

// The functions below send one request each. Errors of ws_send, -ENOMEM; -EPIPE when w is NULL.
int client_signal_offer(struct ws *w, struct bytes sdp, uint32_t id) NODISCARD;
int client_signal_answer(struct ws *w, struct bytes sdp, uint32_t id) NODISCARD;
// candidate "": the last one was sent.
int client_signal_trickle(struct ws *w, bool subscriber, const char *candidate) NODISCARD;
int client_signal_add_track(struct ws *w, const struct client_sender *s) NODISCARD;
int client_signal_mute(struct ws *w, const char *sid, bool muted) NODISCARD;
int client_signal_subscribe(struct ws *w, const char *sid, bool subscribe) NODISCARD;
// quality: 0 low, 1 medium, 2 high.
int client_signal_track_settings(struct ws *w, const char *sid, bool disabled,
                                 int quality) NODISCARD;
int client_signal_ping(struct ws *w, int64_t unix_ms) NODISCARD;
int client_signal_ping_req(struct ws *w, int64_t unix_ms, int64_t rtt_ms) NODISCARD;
int client_signal_leave(struct ws *w) NODISCARD;
int client_signal_sync_state(struct ws *w) NODISCARD;

// A token as an authorization service mints it: join `room` as `identity`, publish and subscribe;
// an hour. NULL on failure; to be freed with mem_free.
char *client_signal_mint(const char *key, const char *secret, const char *room,
                         const char *identity) NODISCARD;
