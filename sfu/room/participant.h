// SPDX-License-Identifier: Apache-2.0
#pragma once
// A participant: one session of one identity in a room, from its join to its end. Resuming keeps
// it, rejoining makes a new one.
//
//   JOINING ──JoinResponse──► JOINED ──primary transport connected──► ACTIVE
//      └───────────┴──────────────────── close ───────────────────────┴──► DISCONNECTED
//
// Owner thread: the room's worker. Upstream: livekit pkg/rtc/participant.go.

#include "common/lk/sid.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/room/client_codecs.h"
#include "sfu/room/data_channels.h"
#include "sfu/room/data_gap.h"
#include "sfu/room/effort.h"
#include "sfu/room/room_env.h"
#include "sfu/room/subscription_permission.h"

struct data_subscription;
struct data_track;
struct pc_transport;
struct published_track;
struct queued_track;
struct room;
struct simulation;
struct subscription;
struct track_preference;

enum participant_state { // ParticipantInfo.State
    PARTICIPANT_JOINING = 0,
    PARTICIPANT_JOINED = 1,
    PARTICIPANT_ACTIVE = 2,
    PARTICIPANT_DISCONNECTED = 3,
};

enum disconnect_reason { // LiveKit's DisconnectReason, those that this server gives
    DISCONNECT_UNKNOWN = 0,
    DISCONNECT_CLIENT_INITIATED = 1,
    DISCONNECT_DUPLICATE_IDENTITY = 2,
    DISCONNECT_SERVER_SHUTDOWN = 3,
    DISCONNECT_PARTICIPANT_REMOVED = 4,
    DISCONNECT_ROOM_DELETED = 5,
    DISCONNECT_STATE_MISMATCH = 6,
    DISCONNECT_JOIN_FAILURE = 7,
    DISCONNECT_MIGRATION = 8, // simulated, and MoveParticipant
    DISCONNECT_SIGNAL_CLOSE = 9,
    DISCONNECT_ROOM_CLOSED = 10,
    DISCONNECT_USER_UNAVAILABLE = 11,
    DISCONNECT_USER_REJECTED = 12,
    DISCONNECT_CONNECTION_TIMEOUT = 14,
    DISCONNECT_AGENT_ERROR = 16,
};

enum leave_action { // LeaveRequest.Action
    LEAVE_DISCONNECT = 0,
    LEAVE_RESUME = 1,
    LEAVE_RECONNECT = 2,
};

struct participant_permission {
    bool can_subscribe, can_publish, can_publish_data, can_update_metadata;
    bool hidden, recorder, agent, can_subscribe_metrics, can_manage_agent_session;
    uint32_t sources; // bit n = TrackSource n; 0 = all
};

// What the client is, as far as we behave differently for it (livekit-protocol 5.9).
struct client_traits {
    uint8_t sdk; // ClientInfo.SDK
    int32_t protocol;
    int32_t client_protocol;
    uint32_t capabilities; // bit n = Capability n
    bool firefox, safari;
    bool only_preferred_video; // Firefox on Linux and Android
    bool trailers;             // knows packet trailers (packet_trailer.h)
    bool tracks_by_rtp;        // reports a track only when RTP of it has come (10.4)
    struct client_codecs codecs;
};

struct participant_attribute {
    char *key;
    char *value;
};

// Not ACTIVE after this long: removed with JOIN_FAILURE (livekit-protocol 4.1).
#define PARTICIPANT_JOIN_DEADLINE_MS 60000

// A failed transport may be resumed for this long. livekit waits 5 s, which misses a client that was
// frozen for 20 s (a tab, a phone in a tunnel: 15 s until ICE gives it up, 5 s until its session is
// gone) by a moment, and with the session the reliable messages that it has not got yet. Others see
// a client that is gone for good 5 s longer.
#define PARTICIPANT_RESUME_DEADLINE_MS 10000

// And after the resume it must be connected within this: clients wait 15 s themselves
// (livekit-protocol 4.10).
#define PARTICIPANT_RESTART_DEADLINE_MS 20000

struct participant {
    UT_hash_handle hh;         // room->participants by identity
    UT_hash_handle hh_sid;     // room->by_sid
    UT_hash_handle hh_session; // env->sessions by session
    struct room *room;
    struct participant *gone_next; // room->gone

    char sid[SID_SIZE];
    char *identity;
    char *name;
    char *metadata;
    struct participant_attribute *attributes;
    size_t attribute_count;
    uint8_t kind;          // ParticipantInfo.Kind
    uint32_t kind_details; // bit n = ParticipantInfo.KindDetail n
    struct participant_permission permission;
    bool permission_replaced; // not that of its token any more
    struct client_traits client;
    struct access_token *token; // it came with; NULL: none (participant_update.h)

    enum participant_state state;
    enum disconnect_reason reason; // DISCONNECTED
    uint32_t version;
    wall_t joined_at;
    bool is_publisher;
    bool update_pending; // in the room's next update: room->pending
    struct participant *pending_prev, *pending_next;
    struct shared_buf *info; // encoded ParticipantInfo of info_version (participant_info.h)
    uint32_t info_version;

    handle_t session; // HANDLE_NONE while its WebSocket is gone
    // The message that closes the WebSocket, made with it: the end of a session needs no memory.
    struct channel_msg *close;
    // A message to it was lost for lack of memory (signal_post.h): ROOM_TIMER_OUT_OF_STEP ends it.
    bool out_of_step;
    struct timer out_of_step_timer;
    mono_t heard;                  // when its last request came, pings aside: participant_heard
    struct channel_credit *credit; // of its last session: when it pinged. NULL: never
    mono_t session_lost;           // when its last WebSocket went
    mono_t resumed;                // when it came back last
    bool v1;                       // single peer connection
    bool auto_subscribe;
    bool adaptive_stream;
    bool subscriber_primary; // v0: the subscriber transport makes it ACTIVE
    bool closing;
    bool was_resumed;

    struct pc_transport *publisher;  // v1: the only one
    struct pc_transport *subscriber; // v0
    uint32_t offer_id;               // of our last offer (v0)
    bool offer_pending;              // an offer of ours waits for its answer
    bool negotiate_again;
    uint32_t sections_audio, sections_video; // v1: asked for and not offered yet

    struct published_track *tracks; // list, pending ones included
    uint32_t track_count;
    struct queued_track *queued_tracks;   // add_track.c: requests whose cid is in use
    struct subscription *subscriptions;   // hash by track handle
    struct track_preference *preferences; // hash by track sid
    // Who may subscribe to its tracks.
    struct subscription_permission permitted;
    // ROOM_TIMER_SUBSCRIBE; the flag: a subscription could not be made for lack of memory.
    struct timer subscription_timer;
    bool reconcile_again;
    mono_t negotiated_at; // last round that we began

    struct timer timer;       // ROOM_TIMER_PARTICIPANT
    struct timer negotiation; // ROOM_TIMER_NEGOTIATE

    struct data_channels data;
    uint32_t data_sequence;      // data_router.c: of its last reliable packet in order
    struct data_gap data_gap;    // what came ahead
    struct timer data_gap_timer; // ROOM_TIMER_DATA_GAP

    struct data_track *data_tracks; // list
    uint32_t data_track_count;
    struct data_subscription *data_subscriptions; // hash by track sid
    bool auto_subscribe_data;
    bool data_handles_changed; // since they were told
    uint16_t data_handle;      // drawn last

    struct simulation *simulation; // simulate.c, NULL for nearly everybody

    struct effort effort; // what it makes the server do

    // Active speakers (active_speaker.c): what was last told to others.
    float speaker_level;
    bool speaking;

    // Connection quality (connection_quality.c): score of the last tick.
    float quality;
    bool quality_known;
    uint64_t news; // audience.c: bits of the batch that is being gathered
};

// Creates a participant in state JOINING and enters it into the room. Strings are copied. -ENOMEM.
struct participant_new_args {
    const char *identity, *name, *metadata;
    const struct access_attribute *attributes;
    size_t attribute_count;
    uint8_t kind;
    uint32_t kind_details;
    struct participant_permission permission;
    struct client_traits client;
    struct access_token *token;    // referred to, may be NULL
    struct channel_credit *credit; // likewise
    handle_t session;
    bool v1, auto_subscribe, adaptive_stream, auto_subscribe_data;
};
int participant_new(struct room *room, const struct participant_new_args *args,
                    struct participant **ret) NODISCARD;

// Ends the session: transports, tracks and subscriptions go, others learn it with the next update.
// The object lives on in room->gone until then. Its WebSocket is told to close (after a Leave, if
// one is to be sent: signal_send_leave before).
void participant_close(struct participant *p, enum disconnect_reason reason);

// For participant_update.c. Accepts NULL.
void participant_attributes_free(struct participant_attribute *v, size_t n);

// Frees what participant_close left. Only for room.c.
void participant_free(struct participant *p);

// Binds another WebSocket (resume), or none, which cannot fail. -ENOMEM: it has none now.
int participant_set_session(struct participant *p, handle_t session);

// A forward transition; others see it with the next update.
void participant_set_state(struct participant *p, enum participant_state state);

// Something that ParticipantInfo shows has changed: counts the version up and puts it into the next
// update. urgent: the update goes out at once.
void participant_changed(struct participant *p, bool urgent);

// Codecs that it may publish: bit (1u << enum codec).
uint32_t participant_publish_codecs(const struct participant *p);

// The transport that makes it ACTIVE.
struct pc_transport *participant_primary(const struct participant *p);

// The transport on which subscriptions are sent (v1: the only one).
struct pc_transport *participant_sending(const struct participant *p);

// A transport of it has failed and is not back.
bool participant_is_cut_off(const struct participant *p);

// When its client said something last, pings included.
mono_t participant_heard(const struct participant *p);

// Finds by WebSocket; NULL for a stale one.
struct participant *participant_by_session(struct room_env *env, handle_t session);

// Called when a transport of p connected, failed, or came back.
void participant_transport_connected(struct participant *p, struct pc_transport *t);
void participant_transport_failed(struct participant *p, struct pc_transport *t);

// ROOM_TIMER_PARTICIPANT fired.
void participant_timeout(struct participant *p);
