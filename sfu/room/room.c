// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/room.h"

#include "sfu/room/active_speaker.h"
#include "sfu/room/connection_quality.h"
#include "sfu/room/data_router.h"
#include "sfu/room/late_response.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/participant_permission.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/proto_map.h"
#include "sfu/room/published_track.h"
#include "sfu/room/resume.h"
#include "sfu/room/room_event.h"
#include "sfu/room/room_update.h"
#include "sfu/room/rpc_calls.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/simulate.h"
#include "sfu/room/subscription_timer.h"

// Timers of a room: life, updates, speakers, quality, counters, late responses.
#define ROOM_TIMERS 6

static void room_free(struct room *r)
{
    if (r != NULL) {
        mem_free(r->name);
        mem_free(r->metadata);
        mem_free(r->nonces);
        shared_buf_unref(r->agents);
        departures_done(&r->departures);
        channel_msg_free(r->ended);
        mem_free(r);
    }
}

static void make_sif_trailer(struct room_env *env, char ret[static 17])
{
    // livekit: random text of the room that marks frames made by the server.
    static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (size_t i = 0; i < 16; i++) {
        ret[i] = alphabet[rng_u32(env->rng) % (sizeof(alphabet) - 1)];
    }
    ret[16] = 0;
}

struct room *room_find(struct room_env *env, const char *name)
{
    struct room *r = NULL;
    HASH_FIND(hh, env->rooms, name, strlen(name), r);
    return r;
}

int room_new(struct room_env *env, const struct room_new_args *args, struct room **ret)
{
    if (room_env_claim_timers(env, ROOM_TIMERS) < 0) {
        return -ENOMEM;
    }
    struct room *const r = NEW(struct room);
    if (r == NULL) {
        goto fail;
    }
    r->env = env;
    r->name = mem_strdup(args->name);
    r->metadata = mem_strdup(args->metadata != NULL ? args->metadata : "");
    r->ended = channel_msg_new(CHANNEL_ROOM_ENDED, HANDLE_NONE);
    if (r->name == NULL || r->metadata == NULL || r->ended == NULL ||
        (r->ended->u.room_info.name = mem_strdup(args->name)) == NULL) {
        goto fail;
    }
    (void)room_env_sid(env, SID_ROOM, r->sid);
    make_sif_trailer(env, r->sif_trailer);
    r->created = env->wall;
    const struct room_conf *const conf = env->conf;
    r->empty_timeout_s = args->empty_timeout_s != 0 ? args->empty_timeout_s : conf->empty_timeout_s;
    r->departure_timeout_s =
        args->departure_timeout_s != 0 ? args->departure_timeout_s : conf->departure_timeout_s;
    r->max_participants =
        args->max_participants != 0 ? args->max_participants : conf->max_participants;
    r->min_playout_delay_ms = args->min_playout_delay_ms;
    r->max_playout_delay_ms = args->max_playout_delay_ms;
    r->sync_streams = args->sync_streams;
    r->agents = args->agents != NULL ? shared_buf_ref(args->agents) : NULL;
    r->timer.kind = ROOM_TIMER_ROOM;
    r->updates.kind = ROOM_TIMER_UPDATES;
    r->speakers.kind = ROOM_TIMER_SPEAKERS;
    r->quality.kind = ROOM_TIMER_QUALITY;
    r->counters.kind = ROOM_TIMER_COUNTERS;
    r->responses.kind = ROOM_TIMER_RESPONSES;
    HASH_ADD_KEYPTR(hh, env->rooms, r->name, strlen(r->name), r);
    if (room_find(env, r->name) != r) {
        goto fail;
    }
    timer_heap_set(env->timers, &r->timer,
                   mono_add_us(env->now, (int64_t)r->empty_timeout_s * US_PER_S));
    connection_quality_start(r);
    room_event_started(r);
    *ret = r;
    return 0;
fail:
    room_free(r);
    room_env_release_timers(env, ROOM_TIMERS);
    return -ENOMEM;
}

static bool fill_info(const struct room *r, struct channel_room_info *i)
{
    *i = (struct channel_room_info){
        .name = mem_strdup(r->name),
        .room = proto_map_pack_room(r),
        .agents = r->agents != NULL ? shared_buf_ref(r->agents) : NULL,
        .num_participants = room_participant_count(r),
        .num_publishers = r->publisher_count,
    };
    return i->name != NULL && i->room != NULL;
}

void room_close(struct room *r, enum disconnect_reason reason)
{
    struct room_env *const env = r->env;
    // A server that ends is usually started again: clients come back to it (the original lets them
    // drain away, and says DISCONNECT in the end, which ends their calls).
    enum leave_action const action =
        reason == DISCONNECT_SERVER_SHUTDOWN ? LEAVE_RECONNECT : LEAVE_DISCONNECT;
    r->closing = true;
    while (r->participants != NULL) {
        struct participant *const p = r->participants;
        signal_send_leave(p, reason, action);
        participant_close(p, reason);
    }
    while (r->gone != NULL) {
        struct participant *const p = r->gone;
        r->gone = p->gone_next;
        participant_free(p);
    }
    timer_heap_cancel(env->timers, &r->timer);
    timer_heap_cancel(env->timers, &r->updates);
    timer_heap_cancel(env->timers, &r->speakers);
    timer_heap_cancel(env->timers, &r->quality);
    timer_heap_cancel(env->timers, &r->counters);
    late_responses_done(r);
    room_env_release_timers(env, ROOM_TIMERS);
    room_env_post(env, r->ended);
    r->ended = NULL;
    room_event_finished(r, reason);
    HASH_DEL(env->rooms, r);
    room_free(r);
}

struct participant *room_participant(const struct room *r, const char *identity)
{
    struct participant *p = NULL;
    HASH_FIND(hh, r->participants, identity, strlen(identity), p);
    return p;
}

struct participant *room_participant_by_sid(const struct room *r, const char *sid)
{
    struct participant *p = NULL;
    HASH_FIND(hh_sid, r->by_sid, sid, strlen(sid), p);
    return p;
}

struct published_track *room_track(const struct room *r, const char *sid)
{
    struct published_track *t = NULL;
    HASH_FIND(hh_sid, r->tracks, sid, strlen(sid), t);
    return t;
}

uint32_t room_participant_count(const struct room *r)
{
    return r->visible_count;
}

static bool keeps_alive(const struct room *r)
{
    for (const struct participant *p = r->participants; p != NULL; p = p->hh.next) {
        if (!participant_is_dependent(p)) {
            return true;
        }
    }
    return false;
}

void room_population_changed(struct room *r)
{
    if (r->closing) {
        return;
    }
    bool const occupied = keeps_alive(r);
    if (occupied) {
        timer_heap_cancel(r->env->timers, &r->timer);
    } else if (r->occupied) {
        mono_t const end = mono_add_us(r->env->now, (int64_t)r->departure_timeout_s * US_PER_S);
        timer_heap_set(r->env->timers, &r->timer, end);
    }
    r->occupied = occupied;
    room_tell_registry(r);
    room_counters_changed(r);
}

void room_tell_registry(struct room *r)
{
    struct room_env *const env = r->env;
    struct channel_msg *const m = channel_msg_new(CHANNEL_ROOM_INFO, HANDLE_NONE);
    r->registry_behind = m == NULL || !fill_info(r, &m->u.room_info);
    if (!r->registry_behind) {
        room_env_post(env, m);
        return;
    }
    env->no_memory++;
    channel_msg_free(m);
    if (!r->closing) {
        timer_heap_set_sooner(env->timers, &r->counters,
                              mono_add_ms(env->now, ROOM_UPDATE_RETRY_MS));
    }
}

void room_timer_expired(struct room_env *env, struct timer *t)
{
    (void)env;
    switch ((enum room_timer_kind)t->kind) {
    case ROOM_TIMER_ROOM:
        room_close(CONTAINER_OF(t, struct room, timer), DISCONNECT_ROOM_CLOSED);
        return;
    case ROOM_TIMER_UPDATES:
        room_flush_updates(CONTAINER_OF(t, struct room, updates));
        return;
    case ROOM_TIMER_SPEAKERS:
        active_speaker_tick(CONTAINER_OF(t, struct room, speakers));
        return;
    case ROOM_TIMER_QUALITY:
        connection_quality_tick(CONTAINER_OF(t, struct room, quality));
        return;
    case ROOM_TIMER_COUNTERS:
        room_counters_timeout(CONTAINER_OF(t, struct room, counters));
        return;
    case ROOM_TIMER_RESPONSES:
        late_responses_timeout(CONTAINER_OF(t, struct room, responses));
        return;
    case ROOM_TIMER_PARTICIPANT:
        participant_timeout(CONTAINER_OF(t, struct participant, timer));
        return;
    case ROOM_TIMER_NEGOTIATE:
        negotiation_timeout(CONTAINER_OF(t, struct participant, negotiation));
        return;
    case ROOM_TIMER_OUT_OF_STEP:
        resume_end(CONTAINER_OF(t, struct participant, out_of_step_timer),
                   DISCONNECT_STATE_MISMATCH);
        return;
    case ROOM_TIMER_RPC:
        rpc_call_timeout(t);
        return;
    case ROOM_TIMER_SUBSCRIBE:
        subscription_timer_expired(CONTAINER_OF(t, struct participant, subscription_timer));
        return;
    case ROOM_TIMER_SIMULATE:
        simulate_timeout(t);
        return;
    case ROOM_TIMER_TRACK:
        published_track_timeout(CONTAINER_OF(t, struct published_track, end));
        return;
    case ROOM_TIMER_DYNACAST:
        dynacast_timeout(CONTAINER_OF(t, struct published_track, dynacast.timer));
        return;
    case ROOM_TIMER_PC:
        pc_transport_timeout(CONTAINER_OF(t, struct pc_transport, timer));
        return;
    case ROOM_TIMER_MEDIA:
        pc_transport_media_timeout(CONTAINER_OF(t, struct pc_transport, media));
        return;
    case ROOM_TIMER_DATA:
        data_channels_timeout(CONTAINER_OF(t, struct participant, data.timer));
        return;
    case ROOM_TIMER_DATA_GAP:
        data_router_gap_timeout(CONTAINER_OF(t, struct participant, data_gap_timer));
        return;
    case ROOM_TIMER_REQUESTS:
        effort_timeout(CONTAINER_OF(t, struct participant, effort.timer));
        return;
    }
}
