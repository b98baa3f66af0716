// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/base/sfu_client.h"

#include <stdio.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/lk/twirp.h"
#include "jwt-service/base/token_issuer.h"

// What the original asks for (authorization-service 6.2).
#define ROOM_EMPTY_TIMEOUT_S 300
#define ROOM_DEPARTURE_TIMEOUT_S 20
// A Room is a few hundred bytes; a participant with its tracks some two thousand, of a room of
// thousands.
#define SFU_BODY_MAX ((size_t)8 << 20)
#define SFU_DECODED_MAX ((size_t)64 << 20)
// A restored job's names are as long as somebody made them; an honest request has two hundred bytes.
#define SFU_MESSAGE_MAX ((size_t)16 << 10)
// Nobody's room has this name: it is no hash.
#define PROBE_ROOM "foci-probe"

enum sfu_method {
    SFU_CREATE_ROOM,
    SFU_DELETE_ROOM,
    SFU_GET_PARTICIPANT,
    SFU_LIST_PARTICIPANTS,
    SFU_REMOVE_PARTICIPANT,
    SFU_LIST_ROOMS,
    SFU_METHOD_COUNT,
};

static const char *const method_names[SFU_METHOD_COUNT] = {
    "CreateRoom",       "DeleteRoom",        "GetParticipant",
    "ListParticipants", "RemoveParticipant", "ListRooms",
};

struct sfu_client {
    struct loop *loop;
    struct httpc *http;
    const struct api_keys *keys;
    char *url[SFU_METHOD_COUNT];
};

struct sfu_call {
    struct sfu_client *client;
    enum sfu_method method;
    struct httpc_call *http;
    char *room;
    struct dynbuf body; // kept for the second attempt
    mono_t started;
    wall_t started_wall;
    bool repeated;
    sfu_done fn;
    void *user;
};

static int make_urls(struct sfu_client *c, const char *base)
{
    for (unsigned i = 0; i < SFU_METHOD_COUNT; i++) {
        struct dynbuf b;
        dynbuf_init(&b, 8192);
        int const r = twirp_url(base, "livekit.RoomService", method_names[i], &b);
        c->url[i] = r == 0 ? dynbuf_take_cstr(&b, NULL) : NULL;
        dynbuf_done(&b);
        if (r < 0) {
            return r;
        }
        if (!c->url[i]) {
            return -ENOMEM;
        }
    }
    return 0;
}

int sfu_client_new(struct loop *loop, struct httpc *http, const struct api_keys *keys,
                   const char *url, struct sfu_client **ret)
{
    CLEANUP(sfu_client_free) struct sfu_client *c = NEW(struct sfu_client);
    if (!c) {
        return -ENOMEM;
    }
    *c = (struct sfu_client){.loop = loop, .http = http, .keys = keys};
    int const r = make_urls(c, url);
    if (r < 0) {
        return r;
    }
    *ret = STEAL(c);
    return 0;
}

void sfu_client_free(struct sfu_client *c)
{
    if (!c) {
        return;
    }
    for (unsigned i = 0; i < SFU_METHOD_COUNT; i++) {
        mem_free(c->url[i]);
    }
    mem_free(c);
}

// ---- the end of a call ----------------------------------------------------------------------

static void call_free(struct sfu_call *call)
{
    if (call->http) {
        httpc_cancel(call->http);
    }
    dynbuf_done(&call->body);
    mem_free(call->room);
    mem_free(call);
}

void sfu_client_cancel(struct sfu_call *call)
{
    call_free(call);
}

static void finish(struct sfu_call *call, struct sfu_result r)
{
    r.elapsed_ms = mono_diff_ms(loop_now(call->client->loop), call->started);
    call->fn(call->user, &r);
    call_free(call);
}

static void finish_failed(struct sfu_call *call, enum sfu_cause cause, const char *step,
                          const char *what)
{
    const char *const hint = sfu_cause_hint(cause);
    char text[640];
    (void)snprintf(text, sizeof(text), "%s: %s%s%s", method_names[call->method], what,
                   *hint ? "; " : "", hint);
    finish(call, (struct sfu_result){.cause = cause,
                                     .not_found = cause == SFU_CAUSE_NOT_FOUND,
                                     .step = step,
                                     .text = text});
}

static void finish_error(struct sfu_call *call, unsigned status, struct bytes body)
{
    struct twirp_error const e = twirp_error_parse((int)status, body);
    // Never the body itself: LiveKit repeats the refused token in it.
    char what[320];
    (void)snprintf(what, sizeof(what), "HTTP %u, %s: %s", status, twirp_code_name(e.code), e.msg);
    finish_failed(call, sfu_cause_of_answer(status, body, &e), twirp_code_name(e.code), what);
}

static void finish_list(struct sfu_call *call, const Livekit__ListParticipantsResponse *m)
{
    size_t const n = m->n_participants;
    struct sfu_participant *const list = n ? mem_array(n, sizeof(*list)) : NULL;
    if (n && !list) {
        finish_failed(call, SFU_CAUSE_BROKEN, "internal", "no memory for the list");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        list[i] = (struct sfu_participant){.identity = lk_str(m->participants[i]->identity),
                                           .sid = lk_str(m->participants[i]->sid)};
    }
    finish(call, (struct sfu_result){.ok = true, .participants = list, .participant_count = n});
    mem_free(list);
}

static const ProtobufCMessageDescriptor *answer_type(enum sfu_method m)
{
    switch (m) {
    case SFU_CREATE_ROOM:
        return &livekit__room__descriptor;
    case SFU_GET_PARTICIPANT:
        return &livekit__participant_info__descriptor;
    case SFU_LIST_PARTICIPANTS:
        return &livekit__list_participants_response__descriptor;
    case SFU_DELETE_ROOM:
        return &livekit__delete_room_response__descriptor;
    case SFU_REMOVE_PARTICIPANT:
        return &livekit__remove_participant_response__descriptor;
    case SFU_LIST_ROOMS:
    case SFU_METHOD_COUNT:
        break;
    }
    return &livekit__list_rooms_response__descriptor;
}

static void finish_answer(struct sfu_call *call, const struct httpc_result *r)
{
    CLEANUP(pbuf_free) struct pbuf *m = NULL;
    const char *const type = httpc_result_header(r, "Content-Type");
    // Twirp clients do not look at the type, so neither do we; but a web page is none of the SFU's,
    // also if it is empty and decodes.
    bool const page = type && strncasecmp(type, "text/html", 9) == 0;
    if (page || pbuf_unpack(answer_type(call->method), r->body, SFU_DECODED_MAX, &m) < 0) {
        finish_failed(call, page ? SFU_CAUSE_URL : SFU_CAUSE_BROKEN, "body",
                      page ? "the answer is a web page" : "the answer cannot be decoded");
        return;
    }
    struct sfu_result ok = {.ok = true};
    if (call->method == SFU_LIST_PARTICIPANTS) {
        finish_list(call, m->msg);
        return;
    }
    if (call->method == SFU_CREATE_ROOM) {
        const Livekit__Room *const room = m->msg;
        ok.room_sid = lk_str(room->sid);
        ok.created = room->creation_time >= call->started_wall.us / US_PER_S;
    } else if (call->method == SFU_GET_PARTICIPANT) {
        const Livekit__ParticipantInfo *const p = m->msg;
        ok.participant_sid = lk_str(p->sid);
    }
    finish(call, ok);
}

// ---- sending --------------------------------------------------------------------------------

static int send_call(struct sfu_call *call);

static void on_answer(void *user, const struct httpc_result *r)
{
    struct sfu_call *const call = user;
    call->http = NULL;
    if (r->step == HTTPC_OK && r->status == 200) {
        finish_answer(call, r);
        return;
    }
    if (r->step == HTTPC_OK) {
        finish_error(call, r->status, r->body);
        return;
    }
    // Once more when the connection broke: it may be a kept one that the SFU had closed meanwhile.
    // Every call may be repeated: CreateRoom leaves a room that exists as it is.
    bool const broke =
        r->step == HTTPC_CONNECT || r->step == HTTPC_SEND || r->step == HTTPC_RECEIVE;
    if (broke && !call->repeated) {
        call->repeated = true;
        if (send_call(call) == 0) {
            return;
        }
        call->http = NULL;
    }
    finish_failed(call, sfu_cause_of_step(r->step), httpc_step_name(r->step),
                  r->text ? r->text : httpc_step_name(r->step));
}

static int make_token(const struct sfu_call *call, char **ret)
{
    wall_t const now = loop_wall(call->client->loop);
    const struct api_key *const key = api_keys_signer(call->client->keys, now);
    if (!key) {
        return -ENOKEY; // all are retired
    }
    switch (call->method) {
    case SFU_CREATE_ROOM:
    case SFU_DELETE_ROOM:
        return token_issue_room_create(key, now, ret);
    case SFU_GET_PARTICIPANT:
    case SFU_LIST_PARTICIPANTS:
    case SFU_REMOVE_PARTICIPANT:
        return token_issue_room_admin(key, now, call->room, ret);
    case SFU_LIST_ROOMS:
    case SFU_METHOD_COUNT:
        break;
    }
    return token_issue_room_list(key, now, ret);
}

static int send_call(struct sfu_call *call)
{
    struct sfu_client *const c = call->client;
    struct dynbuf auth;
    char *token = NULL;
    dynbuf_init(&auth, ACCESS_TOKEN_MAX + 16);
    int r = make_token(call, &token);
    if (r == 0) {
        dynbuf_addf(&auth, "Bearer %s", token);
        struct httpc_header const headers[] = {
            {"Content-Type", TWIRP_CONTENT_PROTOBUF},
            {"Accept", TWIRP_CONTENT_PROTOBUF},
            {"Twirp-Version", TWIRP_VERSION},
            {"Authorization", dynbuf_cstr(&auth)},
        };
        int64_t const left = SFU_CALL_MS - mono_diff_ms(loop_now(c->loop), call->started);
        struct httpc_request const req = {
            .method = "POST",
            .url = c->url[call->method],
            .headers = headers,
            .header_count = ARRAY_LEN(headers),
            .body = dynbuf_view(&call->body),
            .total_ms = MAX(left, 1),
            .max_body = SFU_BODY_MAX,
            .trusted = true,
            .on_done = on_answer,
            .user = call,
        };
        r = dynbuf_ok(&auth) ? httpc_start(c->http, &req, &call->http) : -ENOMEM;
    }
    mem_free(token);
    dynbuf_done(&auth);
    return r;
}

// Sends `m`; the call is told by fn.
static int start(struct sfu_client *c, enum sfu_method method, const char *room,
                 const ProtobufCMessage *m, sfu_done fn, void *user, struct sfu_call **ret)
{
    struct sfu_call *const call = NEW(struct sfu_call);
    if (!call) {
        return -ENOMEM;
    }
    *call = (struct sfu_call){
        .client = c,
        .method = method,
        .room = mem_strdup(room),
        .started = loop_now(c->loop),
        .started_wall = loop_wall(c->loop),
        .fn = fn,
        .user = user,
    };
    dynbuf_init(&call->body, SFU_MESSAGE_MAX);
    int const r = call->room && pbuf_pack(m, &call->body) == 0 ? send_call(call) : -ENOMEM;
    if (r < 0) {
        call->http = NULL;
        call_free(call);
        return -ENOMEM;
    }
    *ret = call;
    return 0;
}

// ---- the calls ------------------------------------------------------------------------------

int sfu_client_create_room(struct sfu_client *c, const char *room, uint32_t max_participants,
                           sfu_done fn, void *user, struct sfu_call **ret)
{
    Livekit__CreateRoomRequest m = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&m, name, room);
    LK_SET(&m, empty_timeout, ROOM_EMPTY_TIMEOUT_S);
    LK_SET(&m, departure_timeout, ROOM_DEPARTURE_TIMEOUT_S);
    LK_SET(&m, max_participants, max_participants);
    return start(c, SFU_CREATE_ROOM, room, &m.base, fn, user, ret);
}

int sfu_client_get_participant(struct sfu_client *c, const char *room, const char *identity,
                               sfu_done fn, void *user, struct sfu_call **ret)
{
    Livekit__RoomParticipantIdentity m = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&m, room, room);
    LK_SET_STR(&m, identity, identity);
    return start(c, SFU_GET_PARTICIPANT, room, &m.base, fn, user, ret);
}

int sfu_client_list_participants(struct sfu_client *c, const char *room, sfu_done fn, void *user,
                                 struct sfu_call **ret)
{
    Livekit__ListParticipantsRequest m = LIVEKIT__LIST_PARTICIPANTS_REQUEST__INIT;
    LK_SET_STR(&m, room, room);
    return start(c, SFU_LIST_PARTICIPANTS, room, &m.base, fn, user, ret);
}

int sfu_client_remove_participant(struct sfu_client *c, const char *room, const char *identity,
                                  sfu_done fn, void *user, struct sfu_call **ret)
{
    Livekit__RoomParticipantIdentity m = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&m, room, room);
    LK_SET_STR(&m, identity, identity);
    return start(c, SFU_REMOVE_PARTICIPANT, room, &m.base, fn, user, ret);
}

int sfu_client_delete_room(struct sfu_client *c, const char *room, sfu_done fn, void *user,
                           struct sfu_call **ret)
{
    Livekit__DeleteRoomRequest m = LIVEKIT__DELETE_ROOM_REQUEST__INIT;
    LK_SET_STR(&m, room, room);
    return start(c, SFU_DELETE_ROOM, room, &m.base, fn, user, ret);
}

int sfu_client_probe(struct sfu_client *c, sfu_done fn, void *user, struct sfu_call **ret)
{
    char *names[] = {lk_unconst_str(PROBE_ROOM)};
    Livekit__ListRoomsRequest m = LIVEKIT__LIST_ROOMS_REQUEST__INIT;
    m.n_names = ARRAY_LEN(names);
    m.names = names;
    return start(c, SFU_LIST_ROOMS, "", &m.base, fn, user, ret);
}
