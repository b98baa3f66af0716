// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/room_api.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/lk/livekit.h"
#include "sfu/room/proto_map.h"
#include "sfu/room/room_api_call.h"
#include "sfu/room/room_config.h"
#include "sfu/room/room_update.h"
#include "sfu/room/signal_post.h"

#define REQUEST_MAX ((size_t)10 << 20)

// ---- answers --------------------------------------------------------------------------------

static struct channel_msg *new_reply(struct room_env *env, handle_t call)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_API_REPLY, call);
    env->no_memory += m == NULL;
    return m;
}

void room_api_reply(struct room_env *env, handle_t call, const ProtobufCMessage *msg)
{
    struct channel_msg *const m = new_reply(env, call);
    if (m == NULL) {
        return;
    }
    if (pbuf_pack_shared(msg, ROOM_API_REPLY_MAX, &m->u.api_reply.body) < 0) {
        env->no_memory++;
        m->u.api_reply.error = "internal";
        m->u.api_reply.error_msg = mem_strdup("out of memory");
    }
    room_env_post(env, m);
}

static void post_failure(struct room_env *env, handle_t call, const char *code,
                         const char *argument, char *text)
{
    struct channel_msg *const m = new_reply(env, call);
    if (m == NULL) {
        mem_free(text);
        return;
    }
    m->u.api_reply.error = code;
    m->u.api_reply.argument = argument;
    m->u.api_reply.error_msg = text; // NULL: the code says enough
    room_env_post(env, m);
}

void room_api_fail(struct room_env *env, handle_t call, const char *code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int const n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *const text = n >= 0 ? mem_alloc((size_t)n + 1) : NULL;
    if (text != NULL) {
        va_start(ap, fmt);
        (void)vsnprintf(text, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    post_failure(env, call, code, NULL, text);
}

void room_api_too_large(const struct room_api_call *c, const char *problem, unsigned limit)
{
    char text[128];
    (void)snprintf(text, sizeof(text), "%s %u", problem, limit);
    post_failure(c->env, c->handle, "invalid_argument", problem, mem_strdup(text));
}

void room_api_no_room(const struct room_api_call *c)
{
    room_api_fail(c->env, c->handle, "not_found", "requested room does not exist");
}

void room_api_no_participant(const struct room_api_call *c)
{
    room_api_fail(c->env, c->handle, "not_found", "participant does not exist");
}

void room_api_no_memory(const struct room_api_call *c)
{
    c->env->no_memory++;
    room_api_fail(c->env, c->handle, "internal", "out of memory");
}

static void reply_room(const struct room_api_call *c, const struct room *r)
{
    struct arena a;
    arena_init(&a, 4096, ROOM_API_REPLY_MAX);
    const Livekit__Room *const room = proto_map_room(r, &a);
    if (room != NULL) {
        room_api_reply(c->env, c->handle, &room->base);
    } else {
        room_api_no_memory(c);
    }
    arena_done(&a);
}

// ---- rooms ----------------------------------------------------------------------------------

static void create_room(const struct room_api_call *c, const void *msg)
{
    const Livekit__CreateRoomRequest *const req = msg;
    struct room *r = c->room; // an existing one is returned unchanged
    CLEANUP(shared_buf_unref) struct shared_buf *agents = NULL;
    if (r == NULL && room_config_agents(req->agents, req->n_agents, &agents) < 0) {
        room_api_no_memory(c);
        return;
    }
    struct room_new_args const args = {
        .name = c->room_name,
        .metadata = req->metadata,
        .empty_timeout_s = req->empty_timeout,
        .departure_timeout_s = req->departure_timeout,
        .max_participants = req->max_participants,
        .min_playout_delay_ms = req->min_playout_delay,
        .max_playout_delay_ms = req->max_playout_delay,
        .sync_streams = req->sync_streams,
        .agents = agents,
    };
    if (r == NULL) {
        if (room_new(c->env, &args, &r) < 0) {
            room_api_no_memory(c);
            return;
        }
        room_population_changed(r);
    }
    reply_room(c, r);
}

static void delete_room(const struct room_api_call *c, const void *msg)
{
    (void)msg;
    if (c->room == NULL) {
        room_api_no_room(c);
        return;
    }
    room_close(c->room, DISCONNECT_ROOM_DELETED);
    Livekit__DeleteRoomResponse const rsp = LIVEKIT__DELETE_ROOM_RESPONSE__INIT;
    room_api_reply(c->env, c->handle, &rsp.base);
}

static void list_participants(const struct room_api_call *c, const void *msg)
{
    (void)msg;
    const struct room *const r = c->room;
    struct arena a;
    arena_init(&a, 4096, ROOM_API_REPLY_MAX);
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
        room_api_reply(c->env, c->handle, &rsp.base);
    } else {
        room_api_no_memory(c);
    }
    arena_done(&a);
}

static void update_room_metadata(const struct room_api_call *c, const void *msg)
{
    const Livekit__UpdateRoomMetadataRequest *const req = msg;
    if (c->room == NULL) {
        room_api_no_room(c);
        return;
    }
    // "" clears it. The size was checked with the request (room_methods).
    if (room_set_metadata(c->room, lk_str(req->metadata)) < 0) {
        room_api_no_memory(c);
    } else {
        reply_room(c, c->room);
    }
}

// ---- dispatch -------------------------------------------------------------------------------

static const struct {
    const ProtobufCMessageDescriptor *request;
    void (*call)(const struct room_api_call *c, const void *req);
} methods[ROOM_API_METHOD_COUNT] = {
    [ROOM_API_CREATE_ROOM] = {&livekit__create_room_request__descriptor, create_room},
    [ROOM_API_DELETE_ROOM] = {&livekit__delete_room_request__descriptor, delete_room},
    [ROOM_API_LIST_PARTICIPANTS] = {&livekit__list_participants_request__descriptor,
                                    list_participants},
    [ROOM_API_GET_PARTICIPANT] = {&livekit__room_participant_identity__descriptor,
                                  room_api_get_participant},
    [ROOM_API_REMOVE_PARTICIPANT] = {&livekit__room_participant_identity__descriptor,
                                     room_api_remove_participant},
    [ROOM_API_UPDATE_PARTICIPANT] = {&livekit__update_participant_request__descriptor,
                                     room_api_update_participant},
    [ROOM_API_MUTE_PUBLISHED_TRACK] = {&livekit__mute_room_track_request__descriptor,
                                       room_api_mute_track},
    [ROOM_API_UPDATE_SUBSCRIPTIONS] = {&livekit__update_subscriptions_request__descriptor,
                                       room_api_update_subscriptions},
    [ROOM_API_SEND_DATA] = {&livekit__send_data_request__descriptor, room_api_send_data},
    [ROOM_API_UPDATE_ROOM_METADATA] = {&livekit__update_room_metadata_request__descriptor,
                                       update_room_metadata},
    [ROOM_API_MOVE_PARTICIPANT] = {&livekit__move_participant_request__descriptor,
                                   room_api_move_participant},
    [ROOM_API_PERFORM_RPC] = {&livekit__perform_rpc_request__descriptor, room_api_perform_rpc},
};

void room_api_call(struct room_env *env, handle_t call, const struct channel_api *api)
{
    CLEANUP(pbuf_free) struct pbuf *req = NULL;
    int const rc = pbuf_unpack(methods[api->method].request,
                               bytes_of(api->request, api->request_len), REQUEST_MAX, &req);
    if (rc == -ENOMEM) {
        room_api_no_memory(&(struct room_api_call){.env = env, .handle = call});
        return;
    }
    if (rc < 0) {
        room_api_fail(env, call, "malformed", "the protobuf request could not be decoded");
        return;
    }
    struct room_api_call const c = {
        .env = env,
        .handle = call,
        .room_name = api->room_name,
        .room = room_find(env, api->room_name),
    };
    methods[api->method].call(&c, req->msg);
}
