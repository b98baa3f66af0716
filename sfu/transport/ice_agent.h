// SPDX-License-Identifier: Apache-2.0
#pragma once
// ICE for one transport (RFC 8445, 8839, RFC 7675 consent), one component, sans-IO. Two roles
// behind the same four verbs:
//
//   ICE_ROLE_LITE  the server: never sends a check, always controlled; answers authenticated
//                  Binding requests and follows the peer's nomination
//   ICE_ROLE_FULL  the test client and the load generator: paced checks with retransmission,
//                  regular nomination, consent checks
//
//     NEW ──first authenticated check (lite), first success (full)──► CONNECTED
//     CONNECTED ──10 s of silence──► DISCONNECTED ──anything valid──► CONNECTED
//     NEW ──connect_timeout──► FAILED,  DISCONNECTED ──15 s of silence──► FAILED
//     FAILED ──restart (new local credentials)──► NEW
//     a restart before that puts FAILED off: 15 s from then, once until something is heard again
//
// A tuple is a remote address that proved knowledge of our password, as seen through one local
// socket. Data is accepted from every tuple, and sent to the selected one only. Flow tables of the
// owner are kept up to date by the events TUPLE_ADDED, TUPLE_REMOVED (remote address) and
// UFRAG_RETIRED (local ufrag; the owner knows when it begins, since it makes it).
//
// Error responses are 420 and 487 only, because libwebrtc drops a connection on most others.
// Whatever fails authentication gets silence.
//
// Deviations from RFC 8445, each for a reason: all pairs start Waiting (freezing serves several
// components); no server-reflexive or relayed candidates (the server needs none, and the test
// client uses TURN nowhere); a lite agent selects its first tuple before nomination, so that DTLS
// starts half a round trip earlier.
//
// Pure, owner thread. Random bytes come from the rng given at init.

#include "common/base/addr.h"
#include "common/base/mono.h"
#include "common/base/rng.h"
#include "sfu/transport/outbox.h"
#include "sfu/wire/stun.h"

// Remote addresses per transport; the oldest that is not selected is evicted (mediasoup uses the
// same bound).
#define ICE_TUPLES_MAX 8

// Silence (no valid STUN, SRTP, DTLS) until the states change: what LiveKit's clients and server
// use (10 s, 5 s more).
#define ICE_DISCONNECTED_MS 10000
#define ICE_FAILED_MS 15000

// A selected tuple silent for so long is left for another that was heard ICE_TUPLE_FRESH_MS before
// that moment or later. Firefox sends checks up to 5.9 s apart (recorded), so 8 s means that one is
// missing.
#define ICE_SELECTED_SILENT_MS 8000
#define ICE_TUPLE_FRESH_MS 3000

// A tuple that was silent for so long is forgotten (mediasoup's consent timeout, RFC 7675's 30 s).
#define ICE_TUPLE_DEAD_MS 30000

// How long the old credentials are accepted after a restart when no check with the new ones
// arrives.
#define ICE_OLD_CREDS_MS 10000

// Nominations of two tuples so close together come from an aggressive peer.
#define ICE_AGGRESSIVE_WINDOW_MS 2000

// Answers per second and tuple, and attempts per second from unknown tuples: Chromium's fastest is
// one check each 48 ms.
#define ICE_REQUESTS_PER_S 50
#define ICE_REQUESTS_BURST 100

// Local credentials: RFC 8839 section 5.4 wants at least 4 and 22 characters (24 and 128 bits).
#define ICE_UFRAG_CAP 33
#define ICE_PWD_CAP 33
#define ICE_REMOTE_TEXT_CAP 257 // what RFC 8839 allows the peer

#define ICE_EVENTS_CAP 24

enum ice_role {
    ICE_ROLE_LITE,
    ICE_ROLE_FULL,
};

enum ice_state {
    ICE_STATE_NEW,
    ICE_STATE_CONNECTED,
    ICE_STATE_DISCONNECTED,
    ICE_STATE_FAILED,
    ICE_STATE_COUNT,
};

// What became of a datagram; index of the owner's counters.
enum ice_rx {
    ICE_RX_OK,
    ICE_RX_MALFORMED,
    ICE_RX_UNEXPECTED, // response to nothing we asked, indication, another method, a message for a
                       // failed transport
    ICE_RX_UFRAG,      // not our user name
    ICE_RX_INTEGRITY,  // wrong or no MESSAGE-INTEGRITY
    ICE_RX_RATE,       // over ICE_REQUESTS_PER_S
    ICE_RX_ROLE,       // answered with 487
    ICE_RX_UNKNOWN_ATTR, // answered with 420
    ICE_RX_COUNT,
};

struct ice_creds {
    char ufrag[ICE_UFRAG_CAP];
    char pwd[ICE_PWD_CAP];
};

// Makes local credentials: prefix (at most 8 ice-chars, e.g. the worker's index; may be "") and 16
// random characters; a password of 32.
void ice_creds_generate(struct rng *rng, const char *prefix, struct ice_creds *ret);

struct ice_rate {
    int64_t us; // credit
    mono_t at;
};

struct ice_tuple {
    struct addr remote;
    uint8_t local;
    bool used;
    bool heard;           // a check of `generation` arrived from it
    bool nominated;       // by a check of `generation`
    bool nominated_first; // the first check of `generation` had USE-CANDIDATE: only aggressive
                          // peers do that
    uint8_t generation;
    uint32_t priority; // of the nominating check
    mono_t nominated_at;
    mono_t last_rx;
    struct ice_rate rate;
};

enum ice_event_kind {
    ICE_EVENT_STATE,
    ICE_EVENT_SELECTED,      // the tuple to send to
    ICE_EVENT_TUPLE_ADDED,   // data from this address is ours from now on
    ICE_EVENT_TUPLE_REMOVED, // not any more
    ICE_EVENT_UFRAG_RETIRED, // requests for this local ufrag are not ours any more
};

struct ice_event {
    enum ice_event_kind kind;
    enum ice_state state;      // STATE
    uint8_t local;             // SELECTED, TUPLE_*
    struct addr remote;        // SELECTED, TUPLE_*
    char ufrag[ICE_UFRAG_CAP]; // UFRAG_RETIRED
};

struct ice_agent_config {
    enum ice_role role;
    struct rng *rng;            // borrowed as long as the agent lives
    bool peer_aggressive;       // LITE: the client said that it is Firefox
    int64_t connect_timeout_ms; // NEW -> FAILED after ice_agent_start; 0: never
    bool nominate_always; // FULL: consent checks carry USE-CANDIDATE as Chromium's do, so that the
                          // server follows a changed address at once
    // FULL: between consent checks, of which the first comes after a random part of it; 0: 4 to 6 s
    // (RFC 7675 section 5.1).
    uint32_t consent_ms;
};

struct ice_checks; // the check list of ICE_ROLE_FULL

struct ice_agent {
    struct ice_agent_config cfg;
    enum ice_state state;
    bool running;
    uint8_t generation;    // of the local credentials
    bool generation_heard; // a check with the current credentials arrived
    bool has_old;
    struct ice_creds creds, old;
    mono_t old_until;
    mono_t started;  // when the current attempt to connect began
    mono_t last_rx;  // anything valid
    int8_t selected; // index into tuples, -1: none
    struct ice_rate unknown_rate;
    struct ice_tuple tuples[ICE_TUPLES_MAX];
    struct ice_checks *checks; // NULL for ICE_ROLE_LITE
    struct ice_event events[ICE_EVENTS_CAP];
    uint8_t event_head, event_count;
};

// ---- life -----------------------------------------------------------------------------------

// -ENOMEM (ICE_ROLE_FULL only).
int ice_agent_init(struct ice_agent *a, const struct ice_agent_config *cfg) NODISCARD;
void ice_agent_done(struct ice_agent *a);

// Sets the local credentials. The second time it is an ICE restart: the old ones are accepted until
// the first check with the new ones or ICE_OLD_CREDS_MS, data keeps flowing on the selected tuple,
// nominations begin anew, and FAILED is left.
void ice_agent_set_local(struct ice_agent *a, mono_t now, const struct ice_creds *creds);

// Starts the connect timeout (LITE: when the answer was exchanged).
void ice_agent_start(struct ice_agent *a, mono_t now);

// ---- ICE_ROLE_FULL only ---------------------------------------------------------------------

struct ice_local {
    struct addr addr; // of the socket
    uint8_t local;    // its index
};

#define ICE_LOCALS_MAX 4
#define ICE_REMOTES_MAX 16

// The sockets we have. Takes effect with the next ice_agent_set_remote (an address change needs a
// restart). -E2BIG.
int ice_agent_set_locals(struct ice_agent *a, const struct ice_local *locals, size_t n) NODISCARD;

// The peer's credentials: begins checking. Other ones than before: new check list (restart); the
// selected tuple stays in use until a new one is nominated. -EINVAL: length outside RFC 8839's.
// -EPROTO: no local credentials yet.
int ice_agent_set_remote(struct ice_agent *a, mono_t now, struct bytes ufrag, struct bytes pwd,
                         bool lite) NODISCARD;

// A remote candidate by address (UDP); before or after set_remote (which drops those of the
// generation before: call it after set_remote on a restart). Duplicates are fine. -ENOBUFS:
// ICE_REMOTES_MAX. -EINVAL: no usable address.
int ice_agent_add_remote(struct ice_agent *a, mono_t now, const struct addr *remote,
                         uint32_t priority) NODISCARD;

// Smoothed round trip time of checks, 0 before the first.
int64_t ice_agent_rtt_us(const struct ice_agent *a);

// ---- four verbs -----------------------------------------------------------------------------

// A datagram that classify_packet calls STUN, from src through socket `local`. Answers go to out,
// from the same socket.
enum ice_rx ice_agent_input(struct ice_agent *a, mono_t now, uint8_t local, const struct addr *src,
                            struct bytes datagram, struct outbox *out);

void ice_agent_timeout(struct ice_agent *a, mono_t now, struct outbox *out);

// When ice_agent_timeout must be called next.
mono_t ice_agent_deadline(const struct ice_agent *a);

// Call until it returns false after each of the calls above: the queue is short, and events are
// never lost silently (assert).
bool ice_agent_poll_event(struct ice_agent *a, struct ice_event *ret);

// ---- data path ------------------------------------------------------------------------------

// The tuple that this is, -1 if it is none (drop the datagram then).
int ice_agent_find_tuple(const struct ice_agent *a, uint8_t local, const struct addr *src);

// An authenticated packet (SRTP, SRTCP, DTLS after the handshake) came from that tuple: it is
// alive.
void ice_agent_note_rx(struct ice_agent *a, mono_t now, int tuple);

// Where to send; NULL if nothing is selected or the state is FAILED.
const struct ice_tuple *ice_agent_selected(const struct ice_agent *a);

// Name for the log, never NULL.
const char *ice_rx_name(enum ice_rx r);
