// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/simulate.h"

#include "common/lk/livekit.h"
#include "sfu/room/audience.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/resume.h"
#include "sfu/room/room.h"
#include "sfu/room/signal_send.h"
#include "sfu/room/subscription.h"

// Recorded: what the others are told of a simulated speaker.
#define SPEECH_LEVEL 0.9f

// Video subscriptions whose layers are fitted; a client that shows more tests something else.
#define FIT_MAX 32

enum resume_fault {
    RESUME_FAULT_NONE,
    RESUME_FAULT_CLOSE,
    RESUME_FAULT_NO_MESSAGES,
};

struct simulation {
    struct participant *participant;
    struct timer timer; // ROOM_TIMER_SIMULATE
    bool speaking;
    mono_t speech_end;
    enum resume_fault fault;
    mono_t fault_end;
    uint64_t bandwidth; // bit/s, 0: no limit
};

static struct simulation *need_simulation(struct participant *p)
{
    struct room_env *const env = p->room->env;
    if (p->simulation == NULL && room_env_claim_timers(env, 1) == 0) {
        p->simulation = NEW(struct simulation);
        if (p->simulation == NULL) {
            room_env_release_timers(env, 1);
        } else {
            p->simulation->participant = p;
            p->simulation->timer.kind = ROOM_TIMER_SIMULATE;
        }
    }
    if (p->simulation == NULL) {
        env->no_memory++;
    }
    return p->simulation;
}

void simulate_done(struct participant *p)
{
    struct room_env *const env = p->room->env;
    if (p->simulation != NULL) {
        timer_heap_cancel(env->timers, &p->simulation->timer);
        room_env_release_timers(env, 1);
        mem_free(p->simulation);
        p->simulation = NULL;
    }
}

static void by(struct simulation *s, mono_t at)
{
    timer_heap_set_sooner(s->participant->room->env->timers, &s->timer, at);
}

// ---- speaking -------------------------------------------------------------------------------

static void tell_speaker(const struct participant *p, bool active)
{
    struct speaker_entry const e = {p->sid, active ? SPEECH_LEVEL : 0, active};
    for (struct participant *o = p->room->participants; o != NULL; o = o->hh.next) {
        if (o == p || audience_hears(o, p)) {
            signal_send_speakers(o, &e, 1);
        }
    }
}

static void speak(struct participant *p, int32_t seconds)
{
    struct simulation *const s = seconds > 0 ? need_simulation(p) : NULL;
    if (s == NULL) {
        return;
    }
    s->speech_end = mono_add_ms(p->room->env->now,
                                INT64_C(1000) * MIN(seconds, (int32_t)SIMULATE_SPEECH_MAX_S));
    by(s, s->speech_end);
    // Who speaks already just goes on: asking often must not make everybody listen to it.
    if (!s->speaking) {
        s->speaking = true;
        tell_speaker(p, true);
    }
}

// ---- bandwidth ------------------------------------------------------------------------------

// A video of the subscriber and how far it may go up.
struct fit {
    struct subscription *subscription;
    uint64_t bps[DOWN_TRACK_SPATIAL_MAX + 1]; // of each layer whole; 0: nothing flows
    int layer;                                // DOWN_TRACK_NO_LAYER: not even the lowest fits
};

static void measure(const struct subscription *s, mono_t now, struct fit *ret)
{
    *ret = (struct fit){.layer = DOWN_TRACK_NO_LAYER};
    const struct receiver *const r = s->media != NULL ? s->media->receiver : NULL;
    for (uint8_t i = 0; r != NULL && i <= DOWN_TRACK_SPATIAL_MAX; i++) {
        struct receiver_encoding_stats st;
        receiver_get_encoding_stats(r, now, i, &st);
        ret->bps[i] = st.live ? st.bitrate[RECEIVER_TEMPORAL_MAX - 1] : 0;
    }
}

// One step up for one of them, if it fits.
static bool raise_one(struct fit *f, uint64_t *budget)
{
    uint64_t const now = f->layer >= 0 ? f->bps[f->layer] : 0;
    for (int i = f->layer + 1; i <= DOWN_TRACK_SPATIAL_MAX; i++) {
        uint64_t const more = f->bps[i] > now ? f->bps[i] - now : 0;
        if (f->bps[i] == 0) {
            continue; // not published at present
        }
        if (more > *budget) {
            return false;
        }
        *budget -= more;
        f->layer = i;
        return true;
    }
    return false;
}

// Everybody gets the lowest layer before anybody gets a higher one, as livekit's allocator does.
static void fit_layers(struct participant *p, uint64_t budget)
{
    struct room_env *const env = p->room->env;
    struct fit v[FIT_MAX];
    size_t n = 0;
    for (struct subscription *s = p->subscriptions; s != NULL && n < FIT_MAX; s = s->hh.next) {
        if (s->down_track != NULL && s->track->info.type == TRACK_VIDEO) {
            measure(s, env->now, &v[n]);
            v[n++].subscription = s;
        }
    }
    for (bool any = true; any;) {
        any = false;
        for (size_t i = 0; i < n; i++) {
            any |= raise_one(&v[i], &budget);
        }
    }
    for (size_t i = 0; i < n; i++) {
        down_track_set_allowed_layers(v[i].subscription->down_track, v[i].layer,
                                      DOWN_TRACK_TEMPORAL_MAX, true);
    }
}

static void open_layers(struct participant *p)
{
    for (struct subscription *s = p->subscriptions; s != NULL; s = s->hh.next) {
        if (s->down_track != NULL && s->track->info.type == TRACK_VIDEO) {
            down_track_set_allowed_layers(s->down_track, DOWN_TRACK_SPATIAL_MAX,
                                          DOWN_TRACK_TEMPORAL_MAX, false);
        }
    }
}

static void limit_bandwidth(struct participant *p, int64_t bps)
{
    struct simulation *const s = need_simulation(p);
    if (s == NULL) {
        return;
    }
    s->bandwidth = bps > 0 ? (uint64_t)bps : 0;
    if (s->bandwidth == 0) {
        open_layers(p);
    } else {
        by(s, p->room->env->now);
    }
    if (participant_sending(p) != NULL) {
        pc_transport_media_by(participant_sending(p), p->room->env->now);
    }
}

// ---- resumes --------------------------------------------------------------------------------

static void spoil_resume(struct participant *p, enum resume_fault fault)
{
    struct simulation *const s = need_simulation(p);
    if (s != NULL) {
        s->fault = fault;
        s->fault_end = mono_add_ms(p->room->env->now, SIMULATE_RESUME_MS);
    }
}

// Once, and only in time.
static bool take_fault(struct participant *p, enum resume_fault fault)
{
    struct simulation *const s = p->simulation;
    if (s == NULL || s->fault != fault) {
        return false;
    }
    s->fault = RESUME_FAULT_NONE;
    return mono_before(p->room->env->now, s->fault_end);
}

bool simulate_refuses_resume(struct participant *p, handle_t session)
{
    bool const refused = take_fault(p, RESUME_FAULT_NO_MESSAGES);
    if (refused) {
        // What the original answers (recorded).
        signal_send_refusal_http(p->room->env, session, 500, "connection closed by media");
    }
    return refused;
}

bool simulate_resumed(struct participant *p)
{
    bool const closed = take_fault(p, RESUME_FAULT_CLOSE);
    if (closed) {
        resume_detach(p);
    }
    return closed;
}

// ---- scenarios ------------------------------------------------------------------------------

void simulate_timeout(struct timer *t)
{
    struct simulation *const s = CONTAINER_OF(t, struct simulation, timer);
    struct participant *const p = s->participant;
    struct room_env *const env = p->room->env;
    if (s->speaking && mono_reached(s->speech_end, env->now)) {
        s->speaking = false;
        tell_speaker(p, false);
    }
    if (s->bandwidth != 0) {
        fit_layers(p, s->bandwidth);
        by(s, mono_add_ms(env->now, SIMULATE_FIT_MS));
    }
    if (s->speaking) {
        by(s, s->speech_end);
    }
}

void simulate_scenario(struct participant *p, const Livekit__SimulateScenario *req)
{
    switch (req->scenario_case) {
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE:
        speak(p, req->speaker_update);
        break;
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_NODE_FAILURE:
        participant_close(p, DISCONNECT_SERVER_SHUTDOWN);
        break;
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_MIGRATION:
        participant_close(p, DISCONNECT_MIGRATION);
        break;
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SERVER_LEAVE:
        signal_send_leave(p, DISCONNECT_SERVER_SHUTDOWN, LEAVE_DISCONNECT);
        participant_close(p, DISCONNECT_SERVER_SHUTDOWN);
        break;
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SWITCH_CANDIDATE_PROTOCOL:
        negotiation_restart_subscriber(p);
        break;
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SUBSCRIBER_BANDWIDTH:
        limit_bandwidth(p, req->subscriber_bandwidth);
        break;
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_DISCONNECT_SIGNAL_ON_RESUME:
        spoil_resume(p, RESUME_FAULT_CLOSE);
        break;
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_DISCONNECT_SIGNAL_ON_RESUME_NO_MESSAGES:
        spoil_resume(p, RESUME_FAULT_NO_MESSAGES);
        break;
    case LIVEKIT__SIMULATE_SCENARIO__SCENARIO_LEAVE_REQUEST_FULL_RECONNECT:
        resume_end(p, DISCONNECT_CLIENT_INITIATED);
        break;
    default:
        break;
    }
}
