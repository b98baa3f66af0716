// SPDX-License-Identifier: Apache-2.0
#pragma once
// One WebRTC transport (BUNDLE, rtcp-mux) as a sans-IO composition: ICE, DTLS, SRTP, SCTP.
//
//     datagram ─► STUN ─► ice_agent ─► answer
//              ├► DTLS ─► dtls_transport ─► SCTP packet ─► sctp_transport
//              └► SRTP, SRTCP from a tuple that ICE validated: decrypted in place, given back
//
//     egress: path->srtp, path->dst, path->local ─► outbox slot, written by the down track and
//     protected at the flush
//
//     NEW ──ICE──► CONNECTING ──DTLS──► CONNECTED ◄──► DISCONNECTED
//     any ──15 s of silence, DTLS error, deadline──► FAILED ──ICE restart──► CONNECTING
//     any ──close──► CLOSED
//
// It does not read SDP: credentials, fingerprints, roles and candidates come from the owner. DTLS
// starts when the peer's fingerprint is known and ICE has a tuple; after ICE it must be done within
// clamp(3 x ICE duration, 10 s, 20 s) (LiveKit's rule). ICE restart keeps DTLS, SRTP and SCTP as
// long as fingerprint and role stay (RFC 8842 section 5.5).
//
// Handshake steps are expensive and may run elsewhere: take_dtls_work / dtls_work_run /
// finish_dtls_work. Ask for work after each input and timeout and after finish.
//
// Media that arrives before the keys is held (PEER_CONNECTION_EARLY_MAX packets); after the event
// CONNECTED the owner fetches it with peer_connection_next_early.
//
// Owner thread. Nothing here calls back.

#include "sfu/transport/dtls_transport.h"
#include "sfu/transport/ice_agent.h"
#include "sfu/transport/sctp_transport.h"
#include "sfu/transport/srtp_transport.h"

// SRTP that arrives before the handshake is finished here: the browser starts with its own
// Finished, and ours may be running on another thread. More is dropped; NACK recovers it.
#define PEER_CONNECTION_EARLY_MAX 32

// DTLS must follow ICE within clamp(3 x the time ICE took, these) (LiveKit's transport manager).
#define PEER_CONNECTION_CONNECT_MIN_MS 10000
#define PEER_CONNECTION_CONNECT_MAX_MS 20000

struct peer_connection;

enum peer_connection_state {
    PEER_CONNECTION_NEW,
    PEER_CONNECTION_CONNECTING,
    PEER_CONNECTION_CONNECTED,
    PEER_CONNECTION_DISCONNECTED,
    PEER_CONNECTION_FAILED,
    PEER_CONNECTION_CLOSED,
    PEER_CONNECTION_STATE_COUNT,
};

enum peer_connection_failure {
    PEER_CONNECTION_FAILURE_NONE,
    PEER_CONNECTION_FAILURE_ICE,      // never connected, or silent for too long
    PEER_CONNECTION_FAILURE_DTLS,     // see peer_connection_dtls_failure
    PEER_CONNECTION_FAILURE_DEADLINE, // ICE was there, DTLS did not follow in time
    PEER_CONNECTION_FAILURE_RESOURCES,
    PEER_CONNECTION_FAILURE_COUNT,
};

// What a datagram was.
enum peer_connection_rx {
    PEER_CONNECTION_RX_NONE, // consumed or dropped (see counters)
    PEER_CONNECTION_RX_RTP,  // *ret_packet is plain RTP
    PEER_CONNECTION_RX_RTCP, // *ret_packet is a plain RTCP compound
};

// Why a datagram was dropped here; ICE and SRTP have reasons of their own.
enum peer_connection_drop {
    PEER_CONNECTION_DROP_CLASS,      // none of our protocols
    PEER_CONNECTION_DROP_TUPLE,      // not STUN and from an address that ICE does not know
    PEER_CONNECTION_DROP_EARLY_FULL, // media before the keys, too much of it
    PEER_CONNECTION_DROP_STATE,      // media or DTLS for a failed or closed transport
    PEER_CONNECTION_DROP_NO_SCTP,    // data although none was negotiated
    PEER_CONNECTION_DROP_COUNT,
};

struct peer_connection_counters {
    uint32_t drop[PEER_CONNECTION_DROP_COUNT];
    uint32_t ice[ICE_RX_COUNT];
    uint64_t srtp[SRTP_DROP_COUNT]; // of earlier DTLS sessions
    uint64_t rx_packets, rx_bytes;  // datagrams from validated tuples, STUN not counted
};

// Packets that were dropped, by reason: of one connection or of many.
struct peer_connection_drops {
    uint64_t connection[PEER_CONNECTION_DROP_COUNT];
    uint64_t ice[ICE_RX_COUNT];     // ICE_RX_OK stays 0
    uint64_t srtp[SRTP_DROP_COUNT]; // SRTP_OK likewise
};

struct peer_connection_config {
    struct ice_agent_config ice;
    struct ice_creds creds;       // first local credentials
    const struct dtls_cert *cert; // borrowed, must live longer
    struct sctp_hub *hub;         // NULL: no data channels. Borrowed, must live longer
    void *user;
};

// ---- life -----------------------------------------------------------------------------------

// -ENOMEM.
int peer_connection_new(const struct peer_connection_config *cfg, mono_t now,
                        struct peer_connection **ret) NODISCARD;

// Slots in the outbox may still refer to its SRTP keys: flush the outbox first. A DTLS work that is
// out must be given to dtls_work_free. Accepts NULL.
void peer_connection_free(struct peer_connection *pc);

void *peer_connection_user(const struct peer_connection *pc);

// The owner of an sctp_transport that sctp_hub_next_ready returned.
struct peer_connection *peer_connection_of_sctp(const struct sctp_transport *t);

// ---- signalling -----------------------------------------------------------------------------

// New local credentials: ICE restart (see ice_agent_set_local).
void peer_connection_restart(struct peer_connection *pc, mono_t now, const struct ice_creds *creds);

struct peer_connection_remote {
    struct bytes ufrag, pwd; // used by ICE_ROLE_FULL only
    bool lite;               // the peer said a=ice-lite
    const struct dtls_fingerprint *fingerprints;
    size_t fingerprint_count;
    enum dtls_role dtls_role; // ours
};

// The peer's description, first and later ones. The same fingerprints and role as before keep the
// DTLS session; other fingerprints begin a new one (DTLS, SRTP, SCTP; the outbox is flushed).
// -EPROTO: the role would flip. -EINVAL: fingerprints or ICE text. -ENOMEM.
int peer_connection_set_remote(struct peer_connection *pc, mono_t now,
                               const struct peer_connection_remote *remote,
                               struct outbox *out) NODISCARD;

// ICE_ROLE_FULL, which the peers in tests play: sockets and the peer's candidates; see
// ice_agent_set_locals, ice_agent_add_remote.
// LITE: ignored (0).
int peer_connection_set_locals(struct peer_connection *pc, const struct ice_local *locals,
                               size_t n) NODISCARD;
int peer_connection_add_remote_candidate(struct peer_connection *pc, mono_t now,
                                         const struct addr *a, uint32_t priority) NODISCARD;

// An application section was negotiated: SCTP starts as soon as DTLS is connected. Idempotent.
// max_message: the peer's a=max-message-size (0: no limit; 65536 when absent). -EPROTO without a
// hub, -ENOMEM.
int peer_connection_enable_sctp(struct peer_connection *pc, mono_t now, uint32_t max_message,
                                struct outbox *out) NODISCARD;

// ---- four verbs -----------------------------------------------------------------------------

// One datagram. For RTP and RTCP the datagram is decrypted in place and *ret_packet is the part of
// it that is left.
enum peer_connection_rx peer_connection_input(struct peer_connection *pc, mono_t now, uint8_t local,
                                              const struct addr *src, struct bytes_mut datagram,
                                              struct outbox *out, struct bytes_mut *ret_packet);

void peer_connection_timeout(struct peer_connection *pc, mono_t now, struct outbox *out);

// When peer_connection_timeout must be called next (SCTP has its own: sctp_hub_deadline).
mono_t peer_connection_deadline(const struct peer_connection *pc);

enum peer_connection_event_kind {
    PEER_CONNECTION_EVENT_STATE,       // new state; FAILED with failure
    PEER_CONNECTION_EVENT_SELECTED,    // sending moved to another tuple; transport_changed: between
                                       // UDP and TCP
    PEER_CONNECTION_EVENT_TUPLE_ADDED, // for the owner's flow table
    PEER_CONNECTION_EVENT_TUPLE_REMOVED, // likewise
    PEER_CONNECTION_EVENT_UFRAG_RETIRED, // likewise
    PEER_CONNECTION_EVENT_PEER_CLOSED,   // DTLS close_notify: changes nothing here
    PEER_CONNECTION_EVENT_SCTP,          // sctp is valid until the next poll
};

struct peer_connection_event {
    enum peer_connection_event_kind kind;
    enum peer_connection_state state;
    enum peer_connection_failure failure;
    bool transport_changed;
    uint8_t local;
    struct addr remote;
    char ufrag[ICE_UFRAG_CAP];
    struct sctp_event sctp;
};

// Call until it returns false after each of the calls above and below that take `now`.
bool peer_connection_poll_event(struct peer_connection *pc, struct peer_connection_event *ret);

// Media that came before the keys, in order of arrival: call after the event CONNECTED until it
// returns NONE. The packet is valid until the next call on pc.
enum peer_connection_rx peer_connection_next_early(struct peer_connection *pc, mono_t now,
                                                   struct bytes_mut *ret_packet,
                                                   mono_t *ret_arrival);

// ---- handshake steps ------------------------------------------------------------------------

// See dtls_transport_take_work.
struct dtls_work *peer_connection_take_dtls_work(struct peer_connection *pc, mono_t now);

// Takes w back (also one whose session was replaced meanwhile) and goes on.
void peer_connection_finish_dtls_work(struct peer_connection *pc, mono_t now, struct dtls_work *w,
                                      struct outbox *out);

// ---- sending --------------------------------------------------------------------------------

// Where media goes. srtp is NULL whenever nothing may be sent (not connected, failed, closed); read
// it at each use.
struct peer_connection_path {
    struct srtp_egress *srtp;
    struct addr dst;
    uint8_t local;
};

// Borrowed from pc, always the current state.
const struct peer_connection_path *peer_connection_path(const struct peer_connection *pc);

// Protects a plain RTCP compound now and puts it into out. -ENOTCONN, -EMSGSIZE, or what
// srtp_transport_protect_rtcp says.
int peer_connection_send_rtcp(struct peer_connection *pc, struct bytes compound,
                              struct outbox *out) NODISCARD;

// Puts one plain RTP packet (header_len incl. extensions) into out, to be protected at flush. For
// tests and small senders; down tracks write into the outbox themselves. -ENOTCONN, -EMSGSIZE.
int peer_connection_send_rtp(struct peer_connection *pc, struct bytes packet, size_t header_len,
                             uint64_t ext_sn, struct outbox *out) NODISCARD;

// For data channels; NULL before peer_connection_enable_sctp. After sctp_transport_open_channel,
// _send and _close_channel, and when sctp_hub_next_ready names it, call peer_connection_flush_sctp.
struct sctp_transport *peer_connection_sctp(const struct peer_connection *pc);
void peer_connection_flush_sctp(struct peer_connection *pc, struct outbox *out);

// close_notify (once), no more media. Nothing is received any more; free it when the outbox was
// flushed.
void peer_connection_close(struct peer_connection *pc, struct outbox *out);

// ---- state ----------------------------------------------------------------------------------

// Also told by events; tests look at any time.
enum peer_connection_state peer_connection_state(const struct peer_connection *pc);
enum dtls_failure peer_connection_dtls_failure(const struct peer_connection *pc);
const struct peer_connection_counters *peer_connection_counters(const struct peer_connection *pc);

// Adds what pc has dropped since its start to *sum.
void peer_connection_add_drops(const struct peer_connection *pc, struct peer_connection_drops *sum);
const char *peer_connection_drop_name(enum peer_connection_drop d); // for the log, never NULL

// Something authenticated came from that address lately: less than ICE_SELECTED_SILENT_MS ago.
bool peer_connection_hears(const struct peer_connection *pc, mono_t now, const struct addr *remote);

// For binding SSRCs and its counters; NULL before CONNECTED.
struct srtp_transport *peer_connection_srtp(const struct peer_connection *pc);

// ICE_ROLE_FULL: smoothed round trip time of checks, else 0 (the server only answers checks).
int64_t peer_connection_rtt_us(const struct peer_connection *pc);

// When the last packet came that proved to be the peer's, of any kind.
mono_t peer_connection_last_rx(const struct peer_connection *pc);

// Name for logs of clients, never NULL.
const char *peer_connection_failure_name(enum peer_connection_failure f);
