// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/room_api.h"

#include "common/lk/livekit.h"
#include "sfu/room/proto_map.h"
#include "sfu/room/signal_send.h"

// Largest answer: ListParticipants of a room of thousands.
#define REPLY_MAX ((size_t)16 << 20)
#define REQUEST_MAX ((size_t)10 << 20)

static void reply(struct room_env *env, handle_t call, const ProtobufCMessage *msg,
                  const char *error, const char *text)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_API_REPLY, call);
    if (m == NULL) {
        env->no_memory++;
        return;
    }
    m->u.api_reply.error = error;
    if (error == NULL && pbuf_pack_shared(msg, REPLY_MAX, &m->u.api_reply.body) < 0) {
        m->u.api_reply.error = "internal";
        text = "out of memory";
    }
    if (text != NULL) {
        m->u.api_reply.error_msg = mem_strdup(text);
    }
    room_env_post(env, m);
}

static void not_found(struct room_env *env, handle_t call, const char *text)
{
    reply(env, call, NULL, "not_found", text);
}

static void create_room(struct room_env *env, handle_t call, const Livekit__CreateRoomRequest *req,
                        const char *name)
{
    // An existing room is returned unchanged.
    struct room *r = room_find(env, name);
    struct room_new_args const args = {
        .name = name,
        .metadata = req->metadata,
        .empty_timeout_s = req->empty_timeout,
        .departure_timeout_s = req->departure_timeout,
        .max_participants = req->max_participants,
    };
    if (r == NULL) {
        if (room_new(env, &args, &r) < 0) {
            reply(env, call, NULL, "internal", "out of memory");
            return;
        }
        room_population_changed(r);
        // Nobody was here yet: the time for an empty room counts, not that after a departure.
        timer_heap_set(env->timers, &r->timer,
                       mono_add_us(env->now, (int64_t)r->empty_timeout_s * US_PER_S));
    }
    struct arena a;
    arena_init(&a, 4096, REPLY_MAX);
    Livekit__Room *const room = proto_map_room(r, &a);
    if (room != NULL) {
        reply(env, call, &room->base, NULL, NULL);
    } else {
        reply(env, call, NULL, "internal", "out of memory");
    }
    arena_done(&a);
}

static void delete_room(struct room_env *env, handle_t call, struct room *r)
{
    if (r == NULL) {
        not_found(env, call, "requested room does not exist");
        return;
    }
    room_close(r, DISCONNECT_ROOM_DELETED);
    Livekit__DeleteRoomResponse const rsp = LIVEKIT__DELETE_ROOM_RESPONSE__INIT;
    reply(env, call, &rsp.base, NULL, NULL);
}

static void list_participants(struct room_env *env, handle_t call, const struct room *r)
{
    struct arena a;
    arena_init(&a, 4096, REPLY_MAX);
    Livekit__ListParticipantsResponse rsp = LIVEKIT__LIST_PARTICIPANTS_RESPONSE__INIT;
    size_t const count = r != NULL ? HASH_COUNT(r->participants) : 0;
    rsp.participants = arena_array(&a, count, sizeof(*rsp.participants));
    bool ok = rsp.participants != NULL;
    // Hidden ones too: this is for operators.
    for (const struct participant *p = r != NULL ? r->participants : NULL; ok && p != NULL;
         p = p->hh.next) {
        rsp.participants[rsp.n_participants] = proto_map_participant(p, &a);
        ok = rsp.participants[rsp.n_participants++] != NULL;
    }
    if (ok) {
        reply(env, call, &rsp.base, NULL, NULL);
    } else {
        reply(env, call, NULL, "internal", "out of memory");
    }
    arena_done(&a);
}

static void get_participant(struct room_env *env, handle_t call, const struct participant *p)
{
    if (p == NULL) {
        not_found(env, call, "participant does not exist");
        return;
    }
    struct arena a;
    arena_init(&a, 4096, REPLY_MAX);
    Livekit__ParticipantInfo *const info = proto_map_participant(p, &a);
    if (info != NULL) {
        reply(env, call, &info->base, NULL, NULL);
    } else {
        reply(env, call, NULL, "internal", "out of memory");
    }
    arena_done(&a);
}

static void remove_participant(struct room_env *env, handle_t call, struct participant *p)
{
    if (p == NULL) {
        not_found(env, call, "participant does not exist");
        return;
    }
    signal_send_leave(p, DISCONNECT_PARTICIPANT_REMOVED, LEAVE_DISCONNECT);
    participant_close(p, DISCONNECT_PARTICIPANT_REMOVED);
    Livekit__RemoveParticipantResponse const rsp = LIVEKIT__REMOVE_PARTICIPANT_RESPONSE__INIT;
    reply(env, call, &rsp.base, NULL, NULL);
}

static const ProtobufCMessageDescriptor *request_type(enum room_api_method method)
{
    switch (method) {
    case ROOM_API_CREATE_ROOM:
        return &livekit__create_room_request__descriptor;
    case ROOM_API_DELETE_ROOM:
        return &livekit__delete_room_request__descriptor;
    case ROOM_API_LIST_PARTICIPANTS:
        return &livekit__list_participants_request__descriptor;
    case ROOM_API_GET_PARTICIPANT:
    case ROOM_API_REMOVE_PARTICIPANT:
        return &livekit__room_participant_identity__descriptor;
    case ROOM_API_METHOD_COUNT:
        break;
    }
    return NULL;
}

static struct participant *named(const struct room *r, const void *msg)
{
    const Livekit__RoomParticipantIdentity *const id = msg;
    return r != NULL ? room_participant(r, lk_str(id->identity)) : NULL;
}

void room_api_call(struct room_env *env, handle_t call, const struct channel_api *api)
{
    const ProtobufCMessageDescriptor *const type = request_type(api->method);
    CLEANUP(pbuf_free) struct pbuf *req = NULL;
    if (type == NULL ||
        pbuf_unpack(type, bytes_of(api->request, api->request_len), REQUEST_MAX, &req) < 0) {
        reply(env, call, NULL, "malformed", "the protobuf request could not be decoded");
        return;
    }
    struct room *const r = room_find(env, api->room_name);
    switch (api->method) {
    case ROOM_API_CREATE_ROOM:
        create_room(env, call, req->msg, api->room_name);
        break;
    case ROOM_API_DELETE_ROOM:
        delete_room(env, call, r);
        break;
    case ROOM_API_LIST_PARTICIPANTS:
        list_participants(env, call, r);
        break;
    case ROOM_API_GET_PARTICIPANT:
        get_participant(env, call, named(r, req->msg));
        break;
    case ROOM_API_REMOVE_PARTICIPANT:
        remove_participant(env, call, named(r, req->msg));
        break;
    case ROOM_API_METHOD_COUNT:
        break;
    }
}
