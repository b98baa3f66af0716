// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a worker lends to its rooms, and where rooms leave what has to go up: datagrams in the
// outbox, messages for the signalling thread in a list, handshake steps in a list. The worker
// drains them after each turn; rooms never call it.
//
// Owner thread: the worker's.

#include "common/base/handle.h"
#include "common/base/hash.h"
#include "common/base/rng.h"
#include "common/base/timer_heap.h"
#include "sfu/base/channel_msg.h"
#include "sfu/media/packet_pool.h"
#include "sfu/transport/dtls_transport.h"
#include "sfu/transport/outbox.h"
#include "sfu/transport/peer_connection.h"

struct flow_table;
struct participant;
struct track_media;
struct room;
struct sctp_hub;

// Settings that rooms read. Owned by the worker, constant while it runs.
struct room_conf {
    const char *server_version; // ServerInfo.version: clients switch features by it
    const char *node_id;
    const char *region;
    uint32_t empty_timeout_s;      // livekit default 300: a room nobody joined
    uint32_t departure_timeout_s;  // livekit default 20: after the last one left
    uint32_t max_participants;     // 0 = no limit
    uint32_t codecs;               // bit (1u << enum codec) of each codec that may be published
    const char *const *candidates; // "candidate:..." lines of this worker's addresses
    size_t candidate_count;
    const char *const *candidates_one; // the same with one address a family: what Firefox gets
    size_t candidate_one_count;
    bool remote_unmute;       // the server API may unmute tracks
    bool full_room_in_events; // track events carry the whole room
    bool events;              // somebody wants to know what happens in rooms: room_event.h
};

// Timers of the room layer in the worker's heap.
enum room_timer_kind {
    ROOM_TIMER_ROOM = 1,    // struct room: empty and departure timeouts
    ROOM_TIMER_UPDATES,     // struct room: pending participant updates
    ROOM_TIMER_SPEAKERS,    // struct room: active speakers
    ROOM_TIMER_QUALITY,     // struct room: connection quality
    ROOM_TIMER_COUNTERS,    // struct room: numbers that changed
    ROOM_TIMER_RESPONSES,   // struct room: answers that are not to come too early
    ROOM_TIMER_PARTICIPANT, // struct participant: join and resume deadlines
    ROOM_TIMER_NEGOTIATE,   // struct participant: debounced negotiation
    ROOM_TIMER_OUT_OF_STEP, // struct participant: it was not told something
    ROOM_TIMER_RPC,         // struct rpc_call: ack and response of a call of the server API
    ROOM_TIMER_SUBSCRIBE,   // struct participant: what becomes of its subscriptions
    ROOM_TIMER_SIMULATE,    // struct simulation: what SimulateScenario began
    ROOM_TIMER_TRACK,       // struct published_track: its end
    ROOM_TIMER_DYNACAST,    // struct published_track: what its publisher is to be told
    ROOM_TIMER_PC,          // struct pc_transport: ICE, DTLS
    ROOM_TIMER_MEDIA,       // struct pc_transport: NACK, reports, key frames
    ROOM_TIMER_DATA,        // struct participant: data channels that do not move
    ROOM_TIMER_DATA_GAP,    // struct participant: packets that wait for those before them
    ROOM_TIMER_REQUESTS,    // struct participant: requests over its allowance
};

// A handshake step on its way to the pool. `transport` finds the owner again when it comes back.
struct room_dtls_job {
    struct room_dtls_job *next;
    handle_t transport;
    struct dtls_work *work;
};

// Packets that were dropped before a receiver could count them.
enum room_drop {
    ROOM_DROP_UNBOUND_SSRC, // no section claims it yet
    ROOM_DROP_MALFORMED_RTP,
    ROOM_DROP_MALFORMED_RTCP,
    ROOM_DROP_BATCH_FULL, // more packets of one track in a turn than a batch holds
    ROOM_DROP_SSRC_LIMIT,
    ROOM_DROP_ADDRESS_TAKEN, // a check from an address from which somebody else is speaking
    // Data packets, once a receiver:
    ROOM_DROP_DATA_NOT_ALLOWED, // sender without canPublishData, or not for this kind of packet
    ROOM_DROP_DATA_MALFORMED,
    ROOM_DROP_DATA_REPEATED, // sent again after a resume
    ROOM_DROP_DATA_GAP,      // came ahead of others, and more than is kept
    ROOM_DROP_DATA_TOO_LARGE,
    ROOM_DROP_DATA_NO_CHANNEL,    // receiver has none of that kind
    ROOM_DROP_DATA_HELD,          // more than is held for a receiver that is still joining
    ROOM_DROP_DATA_SLOW,          // receiver does not keep up
    ROOM_DROP_DATA_TRACK_UNKNOWN, // a packet or a subscription of a data track that is not there
    ROOM_DROP_DATA_TRACK_LIMIT,   // a subscription over DATA_SUBSCRIPTIONS_MAX
    ROOM_DROP_REQUEST_STALE,      // waited for its turn until its socket was gone
    ROOM_DROP_REQUEST_ITEMS,      // names in a request, beyond what one may have spoken about
    ROOM_DROP_COUNT,
};

struct room_env {
    mono_t now; // of this turn
    wall_t wall;
    struct rng *rng;
    struct outbox *outbox;
    struct packet_pool *pool;
    struct timer_heap *timers;
    struct flow_table *flows;
    struct sctp_hub *sctp;
    const struct dtls_cert *cert;
    const char *fingerprint; // "sha-256 AA:.."
    const struct room_conf *conf;
    uint32_t worker; // index, goes into local ICE ufrags

    struct room *rooms;             // hash by name
    struct handle_table transports; // struct pc_transport
    struct handle_table subscriptions;
    struct handle_table tracks;   // struct published_track
    struct participant *sessions; // hash by session handle
    uint32_t timer_count;         // timers that may be set at once: keeps the heap large enough

    // Up to the worker.
    struct channel_msg *out_head, *out_tail;
    struct room_dtls_job *dtls_head, *dtls_tail;

    // Codecs of tracks with packets to be fanned out at the end of the batch.
    struct track_media *dirty;

    uint64_t drops[ROOM_DROP_COUNT];
    struct peer_connection_drops ended_drops; // of transports that are gone
    uint64_t forwarded; // packets written to subscribers, retransmissions included
    uint64_t no_memory; // messages lost because an allocation failed

    // effort.h: whose request is being handled, what was posted to single sessions, requests that waited.
    const struct participant *handling;
    uint64_t posted_messages, posted_bytes;
    uint64_t requests_held;
};

// Makes room for `add` more timers; balanced by room_env_release_timers. -ENOMEM.
int room_env_claim_timers(struct room_env *env, uint32_t add) NODISCARD;
void room_env_release_timers(struct room_env *env, uint32_t n);

// Hands a message to the signalling thread. Takes m.
void room_env_post(struct room_env *env, struct channel_msg *m);

// A fresh object id of 12 random characters.
const char *room_env_sid(struct room_env *env, const char *prefix, char ret[static 24]);

const char *room_drop_name(enum room_drop d);
