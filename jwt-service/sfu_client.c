// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/sfu_client.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/lk/twirp.h"
#include "jwt-service/token_issuer.h"

// What the original asks for (authorization-service 6.2).
#define ROOM_EMPTY_TIMEOUT_S 300
#define ROOM_DEPARTURE_TIMEOUT_S 20
#define SFU_BODY_MAX (64u << 10) // a Room is a few hundred bytes
#define SFU_MESSAGE_MAX 4096     // a CreateRoomRequest is some sixty

struct sfu_client {
    struct loop *loop;
    struct httpc *http;
    const struct api_keys *keys;
    char *create_room_url;
};

struct sfu_call {
    struct sfu_client *client;
    struct httpc_call *http;
    char room[ROOM_ALIAS_SIZE];
    uint32_t max_participants;
    mono_t started;
    wall_t started_wall;
    bool repeated;
    void (*fn)(void *user, const struct sfu_result *result);
    void *user;
};

int sfu_client_new(struct loop *loop, struct httpc *http, const struct api_keys *keys,
                   const char *url, struct sfu_client **ret)
{
    CLEANUP(sfu_client_free) struct sfu_client *c = NEW(struct sfu_client);
    if (!c) {
        return -ENOMEM;
    }
    *c = (struct sfu_client){.loop = loop, .http = http, .keys = keys};
    struct dynbuf b;
    dynbuf_init(&b, 8192);
    int const r = twirp_url(url, "livekit.RoomService", "CreateRoom", &b);
    if (r == 0) {
        size_t n = 0;
        c->create_room_url = dynbuf_take_cstr(&b, &n);
    }
    dynbuf_done(&b);
    if (r < 0) {
        return r;
    }
    if (!c->create_room_url) {
        return -ENOMEM;
    }
    *ret = STEAL(c);
    return 0;
}

void sfu_client_free(struct sfu_client *c)
{
    if (c) {
        mem_free(c->create_room_url);
        mem_free(c);
    }
}

static void call_free(struct sfu_call *call)
{
    if (call->http) {
        httpc_cancel(call->http);
    }
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

static void finish_failed(struct sfu_call *call, const char *step, const char *text)
{
    finish(call, (struct sfu_result){.step = step, .text = text});
}

static void finish_room(struct sfu_call *call, struct bytes body)
{
    CLEANUP(pbuf_free) struct pbuf *m = NULL;
    if (pbuf_unpack(&livekit__room__descriptor, body, PBUF_CAP_DEFAULT, &m) < 0) {
        finish_failed(call, "body", "the SFU's answer to CreateRoom is no Room");
        return;
    }
    const Livekit__Room *const room = m->msg;
    bool const created = room->creation_time >= call->started_wall.us / US_PER_S;
    finish(call,
           (struct sfu_result){.ok = true, .room_sid = lk_str(room->sid), .created = created});
}

static void finish_error(struct sfu_call *call, unsigned status, struct bytes body)
{
    struct twirp_error const e = twirp_error_parse((int)status, body);
    const char *hint = "";
    if (e.code == TWIRP_UNAUTHENTICATED || e.code == TWIRP_PERMISSION_DENIED) {
        hint = "; are LIVEKIT_KEY and LIVEKIT_SECRET those of the SFU?";
    } else if (e.code == TWIRP_BAD_ROUTE) {
        hint = "; does LIVEKIT_URL (or LIVEKIT_INTERNAL_URL) lead to the SFU?";
    }
    char text[512];
    (void)snprintf(text, sizeof(text), "CreateRoom got HTTP %u, %s: %s%s", status,
                   twirp_code_name(e.code), e.msg, hint);
    finish_failed(call, twirp_code_name(e.code), text);
}

static int send_create_room(struct sfu_call *call);

static void on_create_room(void *user, const struct httpc_result *r)
{
    struct sfu_call *const call = user;
    call->http = NULL;
    if (r->step == HTTPC_OK && r->status == 200) {
        finish_room(call, r->body);
        return;
    }
    if (r->step == HTTPC_OK) {
        finish_error(call, r->status, r->body);
        return;
    }
    // Once more when the connection broke: it may be a kept one that the SFU had closed meanwhile.
    // CreateRoom may be repeated, it leaves a room that exists as it is.
    bool const broke =
        r->step == HTTPC_CONNECT || r->step == HTTPC_SEND || r->step == HTTPC_RECEIVE;
    if (broke && !call->repeated) {
        call->repeated = true;
        if (send_create_room(call) == 0) {
            return;
        }
        call->http = NULL;
    }
    finish_failed(call, httpc_step_name(r->step), r->text ? r->text : "");
}

static int pack_request(const char *room, uint32_t max_participants, struct dynbuf *out)
{
    Livekit__CreateRoomRequest m = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&m, name, room);
    LK_SET(&m, empty_timeout, ROOM_EMPTY_TIMEOUT_S);
    LK_SET(&m, departure_timeout, ROOM_DEPARTURE_TIMEOUT_S);
    LK_SET(&m, max_participants, max_participants);
    return pbuf_pack(&m.base, out);
}

static int send_create_room(struct sfu_call *call)
{
    struct sfu_client *const c = call->client;
    struct dynbuf body;
    struct dynbuf auth;
    char *token = NULL;
    dynbuf_init(&body, SFU_MESSAGE_MAX);
    dynbuf_init(&auth, SFU_MESSAGE_MAX);
    int r = pack_request(call->room, call->max_participants, &body);
    r = r < 0 ? r : token_issue_room_create(api_keys_first(c->keys), loop_wall(c->loop), &token);
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
            .url = c->create_room_url,
            .headers = headers,
            .header_count = ARRAY_LEN(headers),
            .body = dynbuf_view(&body),
            .total_ms = MAX(left, 1),
            .max_body = SFU_BODY_MAX,
            .trusted = true,
            .on_done = on_create_room,
            .user = call,
        };
        r = dynbuf_ok(&auth) ? httpc_start(c->http, &req, &call->http) : -ENOMEM;
    }
    mem_free(token);
    dynbuf_done(&body);
    dynbuf_done(&auth);
    return r;
}

int sfu_client_create_room(struct sfu_client *c, const char *room, uint32_t max_participants,
                           sfu_done fn, void *user, struct sfu_call **ret)
{
    struct sfu_call *const call = NEW(struct sfu_call);
    if (!call) {
        return -ENOMEM;
    }
    call->client = c;
    call->fn = fn;
    call->user = user;
    call->max_participants = max_participants;
    call->started = loop_now(c->loop);
    call->started_wall = loop_wall(c->loop);
    (void)snprintf(call->room, sizeof(call->room), "%s", room);
    int const r = send_create_room(call);
    if (r < 0) {
        call->http = NULL;
        call_free(call);
        return r;
    }
    *ret = call;
    return 0;
}
