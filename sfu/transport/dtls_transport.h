// SPDX-License-Identifier: Apache-2.0
#pragma once
// DTLS 1.2 for WebRTC (RFC 6347, 5764, 8827), both roles, sans-IO.
//
//     NEW ──start──► HANDSHAKE ──finish_work, fingerprint matches──► CONNECTED ──close──► CLOSED
//      (input is queued)  │                                             │
//                         │ error, wrong fingerprint, no SRTP profile,  │ fatal alert
//                         │ 30 s                                        │
//                         └───────────────► FAILED ◄────────────────────┘
//
// The handshake costs milliseconds of elliptic curves, so it never runs inside input/timeout: those
// only queue. A step is a self-contained work item that carries the mbedTLS state and the queued
// datagrams, and may run on any thread:
//
//     w = dtls_transport_take_work(t, now);
//     dtls_work_run(w);                              (anywhere)
//     dtls_transport_finish_work(t, now, w, ...);
//
// Call take_work after each start, input and timeout, and after each finish_work. When the
// transport has died meanwhile, dtls_work_free. Once connected no mbedTLS object is left: the
// record layer (dtls_record) is a few hundred bytes, and everything is inline and cheap.
//
// Owner thread: all dtls_transport_* on one thread; dtls_work_run on any.
// Timers: retransmission 100 ms doubling to 3.2 s, handshake limit 30 s. Handshake datagrams are at
// most 1200 bytes. close_notify of the peer is reported but changes nothing: a page reload may race
// a reconnect, so the owner lets ICE decide (LiveKit does the same).

#include "sfu/transport/dtls_cert.h"
#include "sfu/transport/outbox.h"
#include "sfu/transport/srtp_keys.h"

struct dtls_transport;
struct dtls_work;

enum dtls_role {
    DTLS_ROLE_SERVER, // a=setup:passive: waits for the ClientHello
    DTLS_ROLE_CLIENT, // a=setup:active
};

enum dtls_state {
    DTLS_STATE_NEW,
    DTLS_STATE_HANDSHAKE,
    DTLS_STATE_CONNECTED,
    DTLS_STATE_CLOSED,
    DTLS_STATE_FAILED,
    DTLS_STATE_COUNT,
};

enum dtls_event {
    DTLS_EVENT_NONE,
    DTLS_EVENT_CONNECTED,
    DTLS_EVENT_FAILED,      // see dtls_transport_failure
    DTLS_EVENT_PEER_CLOSED, // the peer sent close_notify
};

enum dtls_failure {
    DTLS_FAILURE_NONE,
    DTLS_FAILURE_TIMEOUT,
    DTLS_FAILURE_HANDSHAKE,   // mbedTLS refused what the peer sent
    DTLS_FAILURE_NO_CERT,     // no certificate from the peer
    DTLS_FAILURE_FINGERPRINT, // its digest is not in the SDP
    DTLS_FAILURE_NO_SRTP,     // SRTP_AES128_CM_HMAC_SHA1_80 was not agreed
    DTLS_FAILURE_ALERT,       // fatal alert on an established connection
    DTLS_FAILURE_RESOURCES,
    DTLS_FAILURE_COUNT,
};

// ---- fingerprints (RFC 8122) ----------------------------------------------------------------

enum dtls_hash {
    DTLS_HASH_NONE,
    DTLS_HASH_SHA256,
    DTLS_HASH_SHA384,
    DTLS_HASH_SHA512,
};

struct dtls_fingerprint {
    uint8_t hash; // enum dtls_hash
    uint8_t value[64];
};

// Most a=fingerprint lines that are considered; any match is enough.
#define DTLS_FINGERPRINTS_MAX 4

// Parses hash name ("sha-256", any case) and value ("AB:cd:..."). -EINVAL malformed, -ENOTSUP
// another hash (sha-1, md5).
int dtls_fingerprint_parse(struct bytes hash_name, struct bytes value,
                           struct dtls_fingerprint *ret) NODISCARD;

// ---- life -----------------------------------------------------------------------------------

// cert is borrowed and must live longer than the transport and its works. -ENOMEM.
int dtls_transport_new(const struct dtls_cert *cert, struct dtls_transport **ret) NODISCARD;

// Accepts NULL. A work that is out stays valid and is freed by whoever has it.
void dtls_transport_free(struct dtls_transport *t);

// Begins the handshake: role by SDP, n >= 1 fingerprints of the peer copied. The client sends its
// ClientHello with the first work. -EPROTO if already started, -EINVAL for n out of range, -ENOMEM.
int dtls_transport_start(struct dtls_transport *t, mono_t now, enum dtls_role role,
                         const struct dtls_fingerprint *fingerprints, size_t n) NODISCARD;

// ---- in and out -----------------------------------------------------------------------------

// Takes one datagram (RFC 7983: first byte 20..63). Before CONNECTED it is queued (at most 16
// datagrams, 16 KiB; more is dropped: DTLS repeats) and *ret_data is empty. When connected it is
// decrypted in place: *ret_data is then one record of application data, pointing into the datagram,
// and *datagram is what is left: call again until datagram->n is 0. Answers (a repeated last
// flight) go to out with local/dst.
void dtls_transport_input(struct dtls_transport *t, mono_t now, struct bytes_mut *datagram,
                          struct outbox *out, uint8_t local, const struct addr *dst,
                          struct bytes *ret_data);

// Application data that arrived while the handshake finished: call after DTLS_EVENT_CONNECTED until
// it returns false. *ret_data is valid until the next call on t.
bool dtls_transport_next_early_data(struct dtls_transport *t, mono_t now, struct outbox *out,
                                    uint8_t local, const struct addr *dst, struct bytes *ret_data);

// Sends one record of application data. -ENOTCONN, -EMSGSIZE (over DTLS_TRANSPORT_DATA_MAX).
int dtls_transport_send(struct dtls_transport *t, struct bytes data, struct outbox *out,
                        uint8_t local, const struct addr *dst) NODISCARD;

// Largest payload of dtls_transport_send: what fits an outbox slot with the 37 bytes of an AES-GCM
// record.
#define DTLS_TRANSPORT_DATA_MAX (OUTBOX_DATA_CAP - 37)

// Sends close_notify when connected, once; the transport is CLOSED afterwards.
void dtls_transport_close(struct dtls_transport *t, struct outbox *out, uint8_t local,
                          const struct addr *dst);

// ---- time -----------------------------------------------------------------------------------

// When dtls_transport_timeout must be called; MONO_NEVER once connected, and while a work is out.
mono_t dtls_transport_deadline(const struct dtls_transport *t);
void dtls_transport_timeout(struct dtls_transport *t, mono_t now);

// ---- handshake steps ------------------------------------------------------------------------

// The next step, to be run once and given back; NULL when there is nothing to do or a step is out
// already (or no memory: the next datagram or timeout tries again).
struct dtls_work *dtls_transport_take_work(struct dtls_transport *t, mono_t now);

// Does the step: pure computation, any thread, no other object is touched.
void dtls_work_run(struct dtls_work *w);

// Takes the results and the ownership of w: sends its datagrams through out, changes state, makes
// events. t must be the transport it came from.
void dtls_transport_finish_work(struct dtls_transport *t, mono_t now, struct dtls_work *w,
                                struct outbox *out, uint8_t local, const struct addr *dst);

// For a work whose transport is gone. Accepts NULL.
void dtls_work_free(struct dtls_work *w);

// ---- results --------------------------------------------------------------------------------

// The next event; false when there is none.
bool dtls_transport_poll_event(struct dtls_transport *t, enum dtls_event *ret);

enum dtls_state dtls_transport_state(const struct dtls_transport *t);
enum dtls_failure dtls_transport_failure(const struct dtls_transport *t);

// Gives the SRTP keys away (they are wiped here). -EPROTO before DTLS_EVENT_CONNECTED or when taken
// already.
int dtls_transport_take_srtp_keys(struct dtls_transport *t, struct srtp_keys *ret) NODISCARD;
