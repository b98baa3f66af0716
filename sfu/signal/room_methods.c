// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/room_methods.h"

#include <stdio.h>
#include <string.h>

#include "sfu/base/sfu_limits.h"

#define METHOD(name, grant, api, request, response)                                                \
    {                                                                                              \
        name, grant, api, &livekit__##request##__descriptor, &livekit__##response##__descriptor    \
    }

static const struct room_method methods[] = {
    METHOD("CreateRoom", ROOM_GRANT_CREATE, ROOM_API_CREATE_ROOM, create_room_request, room),
    METHOD("DeleteRoom", ROOM_GRANT_CREATE, ROOM_API_DELETE_ROOM, delete_room_request,
           delete_room_response),
    METHOD("ListRooms", ROOM_GRANT_LIST, ROOM_API_METHOD_COUNT, list_rooms_request,
           list_rooms_response),
    METHOD("ListParticipants", ROOM_GRANT_ADMIN, ROOM_API_LIST_PARTICIPANTS,
           list_participants_request, list_participants_response),
    METHOD("GetParticipant", ROOM_GRANT_ADMIN, ROOM_API_GET_PARTICIPANT, room_participant_identity,
           participant_info),
    METHOD("RemoveParticipant", ROOM_GRANT_ADMIN, ROOM_API_REMOVE_PARTICIPANT,
           room_participant_identity, remove_participant_response),
    METHOD("MutePublishedTrack", ROOM_GRANT_ADMIN, ROOM_API_MUTE_PUBLISHED_TRACK,
           mute_room_track_request, mute_room_track_response),
    METHOD("UpdateParticipant", ROOM_GRANT_ADMIN, ROOM_API_UPDATE_PARTICIPANT,
           update_participant_request, participant_info),
    METHOD("UpdateSubscriptions", ROOM_GRANT_ADMIN, ROOM_API_UPDATE_SUBSCRIPTIONS,
           update_subscriptions_request, update_subscriptions_response),
    METHOD("SendData", ROOM_GRANT_ADMIN, ROOM_API_SEND_DATA, send_data_request, send_data_response),
    METHOD("UpdateRoomMetadata", ROOM_GRANT_ADMIN, ROOM_API_UPDATE_ROOM_METADATA,
           update_room_metadata_request, room),
    METHOD("PerformRpc", ROOM_GRANT_ADMIN, ROOM_API_PERFORM_RPC, perform_rpc_request,
           perform_rpc_response),
    METHOD("ForwardParticipant", ROOM_GRANT_MOVE, ROOM_API_METHOD_COUNT,
           forward_participant_request, forward_participant_response),
    METHOD("MoveParticipant", ROOM_GRANT_MOVE, ROOM_API_MOVE_PARTICIPANT, move_participant_request,
           move_participant_response),
};

const struct room_method *room_method_find(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (bytes_eq_str(name, methods[i].name)) {
            return &methods[i];
        }
    }
    return NULL;
}

// A text member by its name in the schema; "" if the message has none.
static const char *text_of(const ProtobufCMessage *req, const char *field)
{
    const ProtobufCFieldDescriptor *const f =
        protobuf_c_message_descriptor_get_field_by_name(req->descriptor, field);
    if (f == NULL || f->type != PROTOBUF_C_TYPE_STRING || f->label == PROTOBUF_C_LABEL_REPEATED) {
        return "";
    }
    const char *text = NULL;
    memcpy(&text, (const uint8_t *)req + f->offset, sizeof(text));
    return lk_str(text);
}

const char *room_method_room(const struct room_method *m, const ProtobufCMessage *req)
{
    return text_of(req, m->api == ROOM_API_CREATE_ROOM ? "name" : "room");
}

const char *room_method_destination(const ProtobufCMessage *req)
{
    return text_of(req, "destination_room");
}

bool room_method_granted(const struct room_method *m, const struct access_token *token,
                         const ProtobufCMessage *req)
{
    if (token == NULL || !token->claims.has_video) {
        return false;
    }
    const struct video_grant *const g = &token->claims.video;
    bool const admin = g->room_admin && strcmp(lk_str(g->room), room_method_room(m, req)) == 0;
    switch (m->grant) {
    case ROOM_GRANT_CREATE:
        return g->room_create;
    case ROOM_GRANT_LIST:
        return g->room_list;
    case ROOM_GRANT_ADMIN:
        return admin;
    case ROOM_GRANT_MOVE:
        return admin && *lk_str(g->destination_room) != 0 &&
               strcmp(g->destination_room, room_method_destination(req)) == 0;
    }
    return false;
}

// ---- checks ---------------------------------------------------------------------------------

// As Twirp's InvalidArgumentError: what is wrong also stands alone in meta.
static int too_large(struct twirp_error *e, const char *problem, unsigned limit)
{
    *e = twirp_error_of(TWIRP_INVALID_ARGUMENT, "%s %u", problem, limit);
    (void)snprintf(e->meta_key, sizeof(e->meta_key), "argument");
    (void)snprintf(e->meta_value, sizeof(e->meta_value), "%s", problem);
    return -EINVAL;
}

static int refuse(struct twirp_error *e, enum twirp_code code, const char *text)
{
    *e = twirp_error_of(code, "%s", text);
    return -EINVAL;
}

// At least what it takes when it is kept.
static size_t agent_bytes(const Livekit__RoomAgentDispatch *a)
{
    size_t n =
        strlen(lk_str(a->agent_name)) + strlen(lk_str(a->metadata)) + strlen(lk_str(a->deployment));
    for (size_t i = 0; i < a->n_attributes; i++) {
        // Lengths and tags: some bytes for each.
        n += 16 + strlen(lk_str(a->attributes[i]->key)) + strlen(lk_str(a->attributes[i]->value));
    }
    return n;
}

static int check_create(const Livekit__CreateRoomRequest *req, struct twirp_error *e)
{
    size_t const n = strlen(lk_str(req->name));
    if (n == 0) {
        return refuse(e, TWIRP_INVALID_ARGUMENT, "room name is required");
    }
    if (n > ROOM_NAME_MAX) {
        *e = twirp_error_of(TWIRP_INVALID_ARGUMENT,
                            "room name length exceeds limits: max length %u", ROOM_NAME_MAX);
        return -EINVAL;
    }
    if (strlen(lk_str(req->metadata)) > ROOM_METADATA_MAX) {
        *e = twirp_error_of(TWIRP_INVALID_ARGUMENT, "metadata size exceeds limits: max size %u",
                            ROOM_METADATA_MAX);
        return -EINVAL;
    }
    if (req->n_agents > AGENT_DISPATCHES_MAX) {
        return refuse(e, TWIRP_RESOURCE_EXHAUSTED, "too many dispatches in this room");
    }
    for (size_t i = 0; i < req->n_agents; i++) {
        if (agent_bytes(req->agents[i]) > AGENT_DISPATCH_BYTES_MAX / 2) {
            return refuse(e, TWIRP_INVALID_ARGUMENT, "dispatch is too large");
        }
    }
    if (req->egress != NULL) {
        return refuse(e, TWIRP_INTERNAL, "egress not connected (redis required)");
    }
    if (*lk_str(req->room_preset) != 0) {
        // Named configurations of the original's configuration file: there are none here.
        return refuse(e, TWIRP_INVALID_ARGUMENT,
                      "unknown room configuration in create room request");
    }
    return 0;
}

static int check_update(const Livekit__UpdateParticipantRequest *req, struct twirp_error *e)
{
    size_t attributes = 0;
    for (size_t i = 0; i < req->n_attributes; i++) {
        attributes +=
            strlen(lk_str(req->attributes[i]->key)) + strlen(lk_str(req->attributes[i]->value));
    }
    if (strlen(lk_str(req->name)) > PARTICIPANT_NAME_MAX) {
        return too_large(e, "name length exceeds limits", PARTICIPANT_NAME_MAX);
    }
    if (strlen(lk_str(req->metadata)) > PARTICIPANT_METADATA_MAX) {
        return too_large(e, "metadata size exceeds limits", PARTICIPANT_METADATA_MAX);
    }
    if (attributes > PARTICIPANT_ATTRIBUTES_BYTES_MAX) {
        return too_large(e, "attribute size exceeds limits", PARTICIPANT_ATTRIBUTES_BYTES_MAX);
    }
    return 0;
}

static int check_data(const Livekit__SendDataRequest *req, struct twirp_error *e)
{
    if (req->nonce.len != 0 && req->nonce.len != API_NONCE_BYTES) {
        *e = twirp_error_of(TWIRP_INVALID_ARGUMENT,
                            "nonce should be 16-bytes or empty, not: %zu bytes", req->nonce.len);
        return -EINVAL;
    }
    return 0;
}

static int check_move(const struct room_method *m, const ProtobufCMessage *req,
                      struct twirp_error *e)
{
    const char *const to = room_method_destination(req);
    if (strcmp(text_of(req, "room"), to) == 0) {
        return refuse(e, TWIRP_INVALID_ARGUMENT,
                      "destination room cannot be the same as source room");
    }
    if (m->api != ROOM_API_MOVE_PARTICIPANT) {
        // To be in two rooms at once: a room's media stay on its thread.
        return refuse(e, TWIRP_UNKNOWN, "not implemented");
    }
    if (strlen(to) > ROOM_NAME_MAX) {
        *e = twirp_error_of(TWIRP_INVALID_ARGUMENT,
                            "room name length exceeds limits: max length %u", ROOM_NAME_MAX);
        return -EINVAL;
    }
    return 0;
}

int room_method_check(const struct room_method *m, const ProtobufCMessage *req,
                      struct twirp_error *ret_error)
{
    if (m->grant == ROOM_GRANT_MOVE) {
        return check_move(m, req, ret_error);
    }
    switch (m->api) {
    case ROOM_API_CREATE_ROOM:
        return check_create((const void *)req, ret_error);
    case ROOM_API_UPDATE_PARTICIPANT:
        return check_update((const void *)req, ret_error);
    case ROOM_API_SEND_DATA:
        return check_data((const void *)req, ret_error);
    case ROOM_API_UPDATE_ROOM_METADATA:
        return strlen(text_of(req, "metadata")) > ROOM_METADATA_MAX
                   ? too_large(ret_error, "metadata size exceeds limits", ROOM_METADATA_MAX)
                   : 0;
    case ROOM_API_PERFORM_RPC:
        return *text_of(req, "destination_identity") == 0
                   ? refuse(ret_error, TWIRP_INVALID_ARGUMENT, "destination identity is required")
                   : 0;
    case ROOM_API_DELETE_ROOM:
    case ROOM_API_LIST_PARTICIPANTS:
    case ROOM_API_GET_PARTICIPANT:
    case ROOM_API_REMOVE_PARTICIPANT:
    case ROOM_API_MUTE_PUBLISHED_TRACK:
    case ROOM_API_UPDATE_SUBSCRIPTIONS:
    case ROOM_API_MOVE_PARTICIPANT:
    case ROOM_API_METHOD_COUNT:
        break;
    }
    return 0;
}

int room_method_absent(const struct room_method *m, struct twirp_error *ret_error)
{
    const char *text = "participant does not exist";
    switch (m->api) {
    case ROOM_API_LIST_PARTICIPANTS:
        return 0;
    case ROOM_API_DELETE_ROOM:
    case ROOM_API_SEND_DATA:
    case ROOM_API_UPDATE_ROOM_METADATA:
        text = "requested room does not exist";
        break;
    case ROOM_API_CREATE_ROOM:
    case ROOM_API_GET_PARTICIPANT:
    case ROOM_API_REMOVE_PARTICIPANT:
    case ROOM_API_UPDATE_PARTICIPANT:
    case ROOM_API_MUTE_PUBLISHED_TRACK:
    case ROOM_API_UPDATE_SUBSCRIPTIONS:
    case ROOM_API_PERFORM_RPC:
    case ROOM_API_MOVE_PARTICIPANT:
    case ROOM_API_METHOD_COUNT:
        break;
    }
    *ret_error = twirp_error_of(TWIRP_NOT_FOUND, "%s", text);
    return -ENOENT;
}
