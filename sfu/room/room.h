// SPDX-License-Identifier: Apache-2.0
#pragma once
// A room: its participants, its life, and what all of them are told.
//
// Owner thread: one worker for its whole life. Upstream: livekit pkg/rtc/room.go.

#include "sfu/room/departures.h"
#include "sfu/room/participant.h"

// Who joins or leaves without publishing is told this much later, so that a crowd that comes in
// together costs one message to everyone instead of one for each (livekit gathers for 3 s; we want
// others visible at once). In large rooms it may take up to the second (room_news.h).
#define ROOM_UPDATE_DELAY_MS 20
#define ROOM_UPDATE_DELAY_MAX_MS 50

struct late_response;
struct nonce_window;
struct rpc_call;

struct room {
    UT_hash_handle hh; // env->rooms by name
    struct room_env *env;
    char *name;
    char sid[SID_SIZE];
    char *metadata;
    char sif_trailer[17]; // base62 text, livekit: random per room
    wall_t created;
    uint32_t empty_timeout_s;
    uint32_t departure_timeout_s;
    uint32_t max_participants;
    // Of CreateRoom and roomConfig: how long subscribers hold video back (sfu/media/playout_delay.h).
    // Both 0: as they like.
    uint32_t min_playout_delay_ms, max_playout_delay_ms;
    struct shared_buf *agents; // that it was made with, for the registry; NULL: none
    bool sync_streams; // tracks of one publisher share a stream: subscribers play them in sync

    struct participant *participants; // hash by identity
    struct participant *by_sid;       // the same ones
    struct published_track *tracks;   // hash by sid, of all participants
    struct data_track *data_tracks;   // likewise
    struct participant *gone;         // closed, to be told in the next update
    struct departures departures;     // told already, and again to those who come back
    struct participant *pending;      // changed, to be told in the next update (room_news.c)
    mono_t updated_at;                // the last update
    uint32_t publisher_count;         // of participants who have published
    uint32_t visible_count;           // neither hidden nor dependent
    uint32_t seat_count;              // not dependent: what max_participants counts
    uint32_t recorder_count;
    struct data_pace data_pace; // of all data that is sent in it
    bool updates_pending;
    bool closing;
    bool occupied; // somebody is inside for whom the room stays (room_population_changed)
    struct rpc_call *rpc_calls;  // PerformRpc, hash by id: rpc_calls.c
    struct nonce_window *nonces; // SendData: room_api_data.c
    struct channel_msg *ended;   // tells the registry, made with the room: its end needs no memory
    bool registry_behind;        // it was not told something for lack of memory

    struct timer timer;    // ROOM_TIMER_ROOM
    struct timer updates;  // ROOM_TIMER_UPDATES
    struct timer speakers; // ROOM_TIMER_SPEAKERS, runs while somebody publishes audio
    struct timer quality;  // ROOM_TIMER_QUALITY
    mono_t quality_round;  // when all are measured next
    struct participant
        *quality_next;     // who is measured next in the round that is under way; or NULL
    struct timer counters; // ROOM_TIMER_COUNTERS, numbers that changed are not told yet

    struct late_response *late_responses; // list, the first one is due first: late_response.c
    size_t late_response_bytes;
    struct timer responses; // ROOM_TIMER_RESPONSES

    // The last RoomUpdate (room_update.c).
    mono_t counters_told_at;
    uint32_t told_participants, told_publishers;
    bool told_counters, told_recording;
};

struct room_new_args {
    const char *name;
    const char *metadata;
    uint32_t empty_timeout_s, departure_timeout_s, max_participants; // 0: the configured default
    uint32_t min_playout_delay_ms, max_playout_delay_ms;
    struct shared_buf *agents; // room_config_agents; referred to
    bool sync_streams;
};

// -ENOMEM. A room of that name must not exist.
int room_new(struct room_env *env, const struct room_new_args *args, struct room **ret) NODISCARD;
struct room *room_find(struct room_env *env, const char *name);

// Disconnects everybody with the reason and frees the room. SERVER_SHUTDOWN tells clients to join
// anew, everything else to stay away.
void room_close(struct room *r, enum disconnect_reason reason);

struct participant *room_participant(const struct room *r, const char *identity);
struct participant *room_participant_by_sid(const struct room *r, const char *sid);
// A track of anybody, in any state.
struct published_track *room_track(const struct room *r, const char *sid);
// Room.num_participants: without hidden ones, agents and recorders.
uint32_t room_participant_count(const struct room *r);

// Schedules the next update (room_news.c); urgent: it goes out before this returns, or in large
// rooms within ROOM_UPDATE_DELAY_MAX_MS of the last one.
void room_update_soon(struct room *r, bool urgent);
// Tells everybody all that waits, now.
void room_flush_updates(struct room *r);

// Somebody joined or left: starts or stops the timeouts and tells the registry. Agents, egress and
// recorders do not keep a room alive (livekit-protocol 4.13): the departure timeout counts from when
// the last other participant left, the empty timeout from the creation until the first one came.
void room_population_changed(struct room *r);

// Numbers and metadata for the registry.
void room_tell_registry(struct room *r);

// Dispatches an expired timer of the room layer.
void room_timer_expired(struct room_env *env, struct timer *t);
