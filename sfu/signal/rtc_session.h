// SPDX-License-Identifier: Apache-2.0
#pragma once
// One client's WebSocket: frames in become decoded requests for the worker of its room, encoded
// responses go out as frames (livekit-protocol 1.7). Sends fresh tokens: right after the first
// response and every five minutes (2.4), and when another key begins to sign.
//
//   WAITING ──first response──► UPGRADING ──► OPEN ──CHANNEL_CLOSE (flush, close frame)──► CLOSING
//      │                                       └── peer closes, undecodable message, too slow ──► gone
//      └── CHANNEL_CLOSE: its HTTP status; 12 s without an answer: 503 (the worker is told)
//
// The join is posted before the connect request is answered, and the socket is upgraded when the
// first response is there, which is its first frame: so a worker can still refuse by HTTP (a full
// room), and a client that has its socket has its answer too (livekit-protocol 1.4).
//
// Signalling thread.

#include "common/lk/keys.h"
#include "common/svc/httpd.h"
#include "common/svc/pbuf.h"
#include "sfu/base/channel_msg.h"
#include "sfu/signal/memory_return.h"
#include "sfu/signal/response_forms.h"
#include "sfu/signal/room_registry.h"

struct rtc_session;

struct rtc_sessions_conf {
    struct loop *loop;
    struct room_registry *registry; // borrowed; each session holds its room there
    const struct api_keys *keys;    // borrowed; what is due signs refresh tokens
    int64_t first_response_ms;      // how long a worker is waited for, 0: 12 s
    void (*post)(void *user, uint32_t worker, struct channel_msg *m); // to a worker; takes m
    void *user;
};

// What became of connections, since the start.
struct rtc_counts {
    uint64_t opened;
    uint64_t refused;     // by their room, with an HTTP status
    uint64_t unanswered;  // their worker said nothing in time
    uint64_t undecodable; // closed for a message that is none
    uint64_t slowed;      // clients whose requests were not read for a while (request_gate.h)
    uint64_t cut_off;     // closed because they do not read; they may resume
};

struct rtc_sessions {
    struct rtc_sessions_conf conf;
    struct handle_table table;
    struct response_forms forms;
    struct rtc_counts counts;
    struct memory_return memory;
    struct loop_timer *memory_timer; // NULL: nobody has left yet
};

void rtc_sessions_init(struct rtc_sessions *s, const struct rtc_sessions_conf *conf);
// Ends all sessions at once. Those whose socket is on its way from HTTP end with the server, before
// which *s must stay.
void rtc_sessions_done(struct rtc_sessions *s);

// What a session is about; everything pointed to is taken, also on failure, and so is a hold on the
// room in the registry.
struct rtc_session_args {
    uint32_t worker;
    char *room_name;
    struct access_token *token;
    struct pbuf *request; // Livekit__JoinRequest
    bool v1;
    bool deflate; // permessage-deflate is offered
    char *client_address;
};

// Joins the room and upgrades the request when the room answers, or refuses it. Answers the request
// in any case, later as a rule. accept_key: what Sec-WebSocket-Accept will say.
void rtc_session_start(struct rtc_sessions *s, struct httpd_req *r, const char *accept_key,
                       const struct rtc_session_args *args);

// CHANNEL_SEND, CHANNEL_CLOSE, CHANNEL_CLAIMS for a session of the table; others are ignored. The
// message stays the caller's, except for what it says it takes.
void rtc_sessions_deliver(struct rtc_sessions *s, struct channel_msg *m);

// Sends every client a fresh token within RTC_SESSIONS_RENEW_MS: another key signs from now on, and a
// client that comes back with a token of the old one may find it retired.
#define RTC_SESSIONS_RENEW_MS 1000 // spread, so that a full server does not sign them all at once
void rtc_sessions_renew_tokens(struct rtc_sessions *s);

size_t rtc_sessions_count(const struct rtc_sessions *s);
