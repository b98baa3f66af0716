// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/room_event.h"

#include "common/lk/livekit.h"
#include "sfu/room/proto_map.h"

// Metadata (512 KiB) and attributes (64 KiB) of a participant, its tracks and the room's metadata fit.
#define EVENT_MAX ((size_t)4 << 20)

// Fills what every event has and hands it over. `e` borrows from objects and arena.
static void post(struct room_env *env, const char *name, Livekit__WebhookEvent *e)
{
    char id[SID_SIZE];
    LK_SET_STR(e, event, name);
    LK_SET_STR(e, id, room_env_sid(env, SID_EVENT, id));
    LK_SET(e, created_at, env->wall.us / US_PER_S);
    struct channel_msg *const m = channel_msg_new(CHANNEL_EVENT, HANDLE_NONE);
    if (m == NULL || pbuf_pack_shared(&e->base, EVENT_MAX, &m->u.event.data) < 0) {
        env->no_memory++;
        channel_msg_free(m);
        return;
    }
    room_env_post(env, m);
}

static void post_room(struct room *r, const char *name, Livekit__WebhookEvent *m)
{
    struct arena a;
    arena_init(&a, 4096, EVENT_MAX);
    m->room = proto_map_room(r, &a);
    if (m->room != NULL) {
        post(r->env, name, m);
    } else {
        r->env->no_memory++;
    }
    arena_done(&a);
}

void room_event_started(struct room *r)
{
    if (r->env->conf->events) {
        Livekit__WebhookEvent m = LIVEKIT__WEBHOOK_EVENT__INIT;
        post_room(r, "room_started", &m);
    }
}

void room_event_finished(struct room *r, enum disconnect_reason reason)
{
    if (!r->env->conf->events) {
        return;
    }
    Livekit__WebhookEvent m = LIVEKIT__WEBHOOK_EVENT__INIT;
    switch (reason) {
    case DISCONNECT_ROOM_DELETED:
        LK_SET(&m, room_end_reason, LIVEKIT__ROOM_END_REASON__ROOM_END_API_DELETE);
        break;
    case DISCONNECT_ROOM_CLOSED:
        LK_SET(&m, room_end_reason, LIVEKIT__ROOM_END_REASON__ROOM_END_IDLE_TIMEOUT);
        break;
    case DISCONNECT_SERVER_SHUTDOWN:
        LK_SET(&m, room_end_reason, LIVEKIT__ROOM_END_REASON__ROOM_END_SERVER_SHUTDOWN);
        break;
    default:
        break;
    }
    post_room(r, "room_finished", &m);
}

void room_event_participant(const struct participant *p, bool was_active)
{
    struct room_env *const env = p->room->env;
    if (!env->conf->events) {
        return;
    }
    const char *name = "participant_joined";
    if (p->state == PARTICIPANT_DISCONNECTED) {
        name = was_active ? "participant_left" : "participant_connection_aborted";
    }
    struct arena a;
    arena_init(&a, 4096, EVENT_MAX);
    Livekit__WebhookEvent m = LIVEKIT__WEBHOOK_EVENT__INIT;
    m.room = proto_map_room(p->room, &a);
    m.participant = proto_map_participant(p, &a);
    if (m.room != NULL && m.participant != NULL) {
        post(env, name, &m);
    } else {
        env->no_memory++;
    }
    arena_done(&a);
}

void room_event_track(const struct published_track *t, bool published)
{
    const struct participant *const p = t->publisher;
    struct room_env *const env = p->room->env;
    if (!env->conf->events) {
        return;
    }
    struct arena a;
    arena_init(&a, 4096, EVENT_MAX);
    Livekit__WebhookEvent m = LIVEKIT__WEBHOOK_EVENT__INIT;
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    Livekit__ParticipantInfo who = LIVEKIT__PARTICIPANT_INFO__INIT;
    LK_SET_STR(&room, sid, p->room->sid);
    LK_SET_STR(&room, name, p->room->name);
    LK_SET_STR(&who, sid, p->sid);
    LK_SET_STR(&who, identity, p->identity);
    m.room = env->conf->full_room_in_events ? proto_map_room(p->room, &a) : &room;
    m.participant = &who;
    m.track = track_info_to_proto(&t->info, &a);
    if (m.room != NULL && m.track != NULL) {
        post(env, published ? "track_published" : "track_unpublished", &m);
    } else {
        env->no_memory++;
    }
    arena_done(&a);
}
