// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/room_service.h"

#include <stdio.h>

#include "common/lk/livekit.h"
#include "common/lk/twirp.h"
#include "common/svc/pbjson.h"
#include "common/sys/log.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/signal/absent_services.h"
#include "sfu/signal/auth.h"
#include "sfu/signal/room_methods.h"

// A worker answers within microseconds; this only ends calls to one that is stuck. PerformRpc waits
// for its participant before.
#define CALL_TIMEOUT_MS 5000

#define REPLY_MAX ((size_t)16 << 20)

// All rooms: 65536 of them with the numbers, or fewer with metadata.
#define LIST_MAX ((size_t)64 << 20)

// Text of a JSON request. The longest string (metadata) may be written in escapes, six characters
// for one; who has shown no token is refused anyway and gets little memory for it.
#define JSON_MAX ((size_t)4 << 20)
#define JSON_STRANGER_MAX ((size_t)64 << 10)

// An answer as JSON: names of fields make it some times longer than on the wire.
#define JSON_REPLY_MAX ((size_t)256 << 20)

struct call {
    struct room_service *service;
    handle_t handle;
    struct httpd_req *req;
    struct loop_timer *timer;
    char *room;   // held in the registry
    bool bounded; // the client said how long it waits
    enum twirp_format format;
    const ProtobufCMessageDescriptor *response;
    struct shared_buf *instead; // what is answered if the worker agrees; NULL: what it says
};

void room_service_init(struct room_service *s, struct loop *loop, struct room_registry *registry,
                       const struct api_keys *keys,
                       void (*post)(void *, uint32_t, struct channel_msg *), void *user)
{
    *s = (struct room_service){
        .loop = loop, .registry = registry, .keys = keys, .post = post, .user = user};
    handle_table_init(&s->calls, API_CALLS_MAX);
}

static void respond_error(struct httpd_req *r, const struct twirp_error *e)
{
    struct dynbuf body;
    dynbuf_init(&body, 4096);
    twirp_error_write(e, &body);
    httpd_respond(r, (unsigned)twirp_code_http(e->code), TWIRP_CONTENT_JSON, dynbuf_view(&body));
    dynbuf_done(&body);
}

// Answers with an encoded message of `type` in the form that was asked for.
static void respond_message(struct httpd_req *r, enum twirp_format format,
                            const ProtobufCMessageDescriptor *type, struct bytes wire)
{
    if (format == TWIRP_PROTOBUF) {
        httpd_respond(r, 200, TWIRP_CONTENT_PROTOBUF, wire);
        return;
    }
    CLEANUP(pbuf_free) struct pbuf *p = NULL;
    struct dynbuf json;
    dynbuf_init(&json, JSON_REPLY_MAX);
    // The message in memory is larger than on the wire: mostly pointers.
    int rc = pbuf_unpack(type, wire, JSON_REPLY_MAX, &p);
    rc = rc == 0 ? pbjson_write(p->msg, PBJSON_PROTO_NAMES | PBJSON_DEFAULTS, &json) : rc;
    if (rc == 0) {
        httpd_respond(r, 200, TWIRP_CONTENT_JSON, dynbuf_view(&json));
    } else {
        struct twirp_error const e = twirp_error_of(TWIRP_INTERNAL, "cannot write the answer");
        respond_error(r, &e);
    }
    dynbuf_done(&json);
}

static void call_free(struct call *c)
{
    if (c->room != NULL) {
        room_registry_release(c->service->registry, c->room);
    }
    (void)handle_table_remove(&c->service->calls, c->handle);
    loop_timer_free(c->timer);
    shared_buf_unref(c->instead);
    mem_free(c->room);
    mem_free(c);
}

void room_service_done(struct room_service *s)
{
    uint32_t pos = 0;
    for (struct call *c = NULL; (c = handle_table_next(&s->calls, &pos)) != NULL;) {
        struct twirp_error const e = twirp_error_of(TWIRP_UNAVAILABLE, "server is shutting down");
        respond_error(c->req, &e);
        call_free(c);
    }
    handle_table_done(&s->calls);
}

static void on_timeout(void *user)
{
    struct call *const c = user;
    struct twirp_error const e =
        c->bounded ? twirp_error_of(TWIRP_DEADLINE_EXCEEDED, "context deadline exceeded")
                   : twirp_error_of(TWIRP_UNAVAILABLE, "no response from servers");
    respond_error(c->req, &e);
    call_free(c);
}

static void on_gone(void *user)
{
    call_free(user);
}

// ---- ListRooms ------------------------------------------------------------------------------

static bool listed(const Livekit__ListRoomsRequest *req, const char *name)
{
    for (size_t i = 0; i < req->n_names; i++) {
        if (strcmp(req->names[i], name) == 0) {
            return true;
        }
    }
    return req->n_names == 0;
}

// Appends one member `rooms` (field 1, length-delimited) of ListRoomsResponse.
static void add_room(struct dynbuf *out, struct bytes room)
{
    dynbuf_add_u8(out, 1u << 3 | 2u);
    size_t n = room.n;
    for (; n >= 0x80; n >>= 7) {
        dynbuf_add_u8(out, (uint8_t)(n | 0x80));
    }
    dynbuf_add_u8(out, (uint8_t)n);
    dynbuf_add(out, room);
}

static void list_rooms(struct room_service *s, struct httpd_req *r,
                       const struct room_method *method, enum twirp_format format,
                       const Livekit__ListRoomsRequest *req)
{
    struct dynbuf body;
    dynbuf_init(&body, LIST_MAX);
    for (const struct room_entry *e = s->registry->rooms; e != NULL; e = e->hh.next) {
        if (e->known && listed(req, e->name)) {
            add_room(&body, shared_buf_view(e->info.room));
        }
    }
    if (dynbuf_ok(&body)) {
        respond_message(r, format, method->response, dynbuf_view(&body));
    } else {
        struct twirp_error const e = twirp_error_of(TWIRP_INTERNAL, "too many rooms for one list");
        respond_error(r, &e);
    }
    dynbuf_done(&body);
}

// ---- calls to a worker ----------------------------------------------------------------------

// Takes over the hold on e when it succeeds.
static int start_call(struct room_service *s, struct httpd_req *r, const struct room_entry *e,
                      struct call **ret)
{
    struct call *const c = NEW(struct call);
    if (c == NULL) {
        return -ENOMEM;
    }
    c->service = s;
    c->req = r;
    c->timer = loop_timer_new(s->loop, on_timeout, c);
    char *const room = mem_strdup(e->name);
    if (c->timer == NULL || room == NULL || handle_table_add(&s->calls, c, &c->handle) < 0) {
        mem_free(room);
        call_free(c);
        return -ENOBUFS;
    }
    c->room = room;
    httpd_on_gone(r, on_gone, c);
    *ret = c;
    return 0;
}

static int post_call(struct room_service *s, const struct call *c, const struct room_entry *e,
                     enum room_api_method api, const ProtobufCMessage *req)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_API, c->handle);
    if (m == NULL) {
        return -ENOMEM;
    }
    struct dynbuf wire;
    dynbuf_init(&wire, REPLY_MAX);
    int const rc = pbuf_pack(req, &wire);
    size_t n = 0;
    m->u.api.method = api;
    m->u.api.room_name = mem_strdup(e->name);
    m->u.api.request = rc == 0 ? (uint8_t *)dynbuf_take_cstr(&wire, &n) : NULL;
    m->u.api.request_len = n;
    dynbuf_done(&wire);
    if (m->u.api.room_name == NULL || m->u.api.request == NULL) {
        channel_msg_free(m);
        return -ENOMEM;
    }
    s->post(s->user, e->worker, m);
    return 0;
}

// X-Twirp-Timeout-Ms; UINT64_MAX: none, or no number.
static uint64_t patience_ms(const struct httpd_req *r)
{
    const char *text = httpd_header(r, "X-Twirp-Timeout-Ms");
    uint64_t ms = 0;
    if (text == NULL || *text == 0 || strlen(text) > 9) {
        return UINT64_MAX;
    }
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9') {
            return UINT64_MAX;
        }
        ms = ms * 10 + (uint64_t)(*text - '0');
    }
    return ms;
}

static void set_timeout(struct call *c, const struct room_method *m, const ProtobufCMessage *req)
{
    uint64_t ms = CALL_TIMEOUT_MS;
    if (m->api == ROOM_API_PERFORM_RPC) {
        uint32_t const asked =
            ((const Livekit__PerformRpcRequest *)(const void *)req)->response_timeout_ms;
        ms += asked != 0 ? MIN(asked, RPC_RESPONSE_TIMEOUT_MAX_MS) : RPC_RESPONSE_TIMEOUT_MS;
    }
    uint64_t const patience = patience_ms(c->req);
    if (patience < ms) {
        c->bounded = true;
        ms = patience;
    }
    loop_timer_set_ms(c->timer, (int64_t)ms);
}

static void call_worker(struct room_service *s, struct httpd_req *r, const struct room_method *m,
                        enum twirp_format format, const struct pbuf *req)
{
    const char *const name = room_method_room(m, req->msg);
    struct twirp_error err;
    if (m->api != ROOM_API_CREATE_ROOM && room_registry_find(s->registry, name) == NULL) {
        if (room_method_absent(m, &err) < 0) {
            respond_error(r, &err);
        } else {
            respond_message(r, format, m->response, bytes_of(NULL, 0));
        }
        return;
    }
    if (m->api == ROOM_API_MOVE_PARTICIPANT && !s->auto_create &&
        room_registry_find(s->registry, room_method_destination(req->msg)) == NULL) {
        err = twirp_error_of(TWIRP_NOT_FOUND, "requested room does not exist");
        respond_error(r, &err);
        return;
    }
    struct room_entry *const e = room_registry_hold(s->registry, name);
    struct call *c = NULL;
    if (e == NULL || start_call(s, r, e, &c) < 0) {
        if (e != NULL) {
            room_registry_release(s->registry, name);
        }
        err = twirp_error_of(TWIRP_RESOURCE_EXHAUSTED, "too many calls");
        respond_error(r, &err);
        return;
    }
    c->format = format;
    c->response = m->response;
    set_timeout(c, m, req->msg);
    if (post_call(s, c, e, m->api, req->msg) < 0) {
        err = twirp_error_of(TWIRP_INTERNAL, "out of memory");
        respond_error(r, &err);
        call_free(c);
    }
}

static int read_request(const ProtobufCMessageDescriptor *type, enum twirp_format format,
                        struct bytes body, bool stranger, struct pbuf **ret)
{
    if (format == TWIRP_PROTOBUF) {
        return pbuf_unpack(type, body, REPLY_MAX, ret);
    }
    struct pbjson_limits const limits = {
        .max_bytes = stranger ? JSON_STRANGER_MAX : JSON_MAX,
        .max_memory = REPLY_MAX,
    };
    return pbjson_read(type, body, &limits, ret);
}

// ---- AgentDispatchService -------------------------------------------------------------------

// Makes the room of a dispatch, which is answered when it is there.
static int make_room_for(struct room_service *s, struct httpd_req *r, const struct agent_method *m,
                         enum twirp_format format, struct room_entry *e, struct shared_buf *body)
{
    struct call *c = NULL;
    if (start_call(s, r, e, &c) < 0) {
        return -ENOBUFS;
    }
    Livekit__CreateRoomRequest create = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&create, name, e->name);
    c->format = format;
    c->response = m->response;
    c->instead = shared_buf_ref(body);
    loop_timer_set_ms(c->timer, CALL_TIMEOUT_MS);
    if (post_call(s, c, e, ROOM_API_CREATE_ROOM, &create.base) < 0) {
        struct twirp_error const err = twirp_error_of(TWIRP_INTERNAL, "out of memory");
        respond_error(r, &err);
        call_free(c);
    }
    return 0;
}

// When a room was made; `otherwise` if that is not known.
static wall_t created_at(const struct room_entry *e, wall_t otherwise)
{
    CLEANUP(pbuf_free) struct pbuf *p = NULL;
    if (e->info.room == NULL ||
        pbuf_unpack(&livekit__room__descriptor, shared_buf_view(e->info.room), REPLY_MAX, &p) < 0) {
        return otherwise;
    }
    const Livekit__Room *const room = p->msg;
    return (wall_t){room->creation_time_ms != 0 ? room->creation_time_ms * US_PER_MS
                                                : room->creation_time * US_PER_S};
}

static void call_agents(struct room_service *s, struct httpd_req *r, const struct agent_method *m,
                        enum twirp_format format, const struct pbuf *req)
{
    const char *const name = agent_method_room(m, req->msg);
    struct room_entry *e = room_registry_find(s->registry, name);
    bool const is_there = e != NULL && e->known;
    struct twirp_error err = twirp_error_of(TWIRP_NOT_FOUND, "requested room does not exist");
    // Asking for an agent makes the room, as joining does.
    bool const makes = s->auto_create && m->response == &livekit__agent_dispatch__descriptor &&
                       m->request == &livekit__create_agent_dispatch_request__descriptor;
    e = is_there || makes ? room_registry_hold(s->registry, name) : NULL;
    if (e == NULL) {
        respond_error(r, &err);
        return;
    }
    CLEANUP(shared_buf_unref) struct shared_buf *body = NULL;
    wall_t const now = loop_wall(s->loop);
    struct agent_room const room = {
        .created = created_at(e, now),
        .agents = e->info.agents != NULL ? shared_buf_view(e->info.agents) : bytes_of(NULL, 0),
    };
    int rc = agent_method_call(m, &e->dispatches, &room, now, req->msg, &body, &err);
    if (rc == 0 && !is_there) {
        rc = make_room_for(s, r, m, format, e, body);
        if (rc == 0) {
            return; // the hold is the call's
        }
        err = twirp_error_of(TWIRP_RESOURCE_EXHAUSTED, "too many calls");
    }
    if (rc == 0) {
        respond_message(r, format, m->response, shared_buf_view(body));
    } else {
        respond_error(r, &err);
    }
    room_registry_release(s->registry, name);
}

static void agent_request(struct room_service *s, struct httpd_req *r,
                          const struct twirp_call *call, const struct access_token *token)
{
    const struct agent_method *const m = agent_method_find(call->method);
    CLEANUP(pbuf_free) struct pbuf *req = NULL;
    struct twirp_error err = twirp_no_handler(bytes_str(httpd_path(r)));
    if (m != NULL) {
        err = twirp_bad_body(call->format);
    }
    if (m == NULL ||
        read_request(m->request, call->format, httpd_body(r), token == NULL, &req) < 0) {
        respond_error(r, &err);
        return;
    }
    if (token == NULL || !token->claims.has_video || !token->claims.video.room_admin ||
        strcmp(lk_str(token->claims.video.room), agent_method_room(m, req->msg)) != 0) {
        err = twirp_error_of(TWIRP_UNAUTHENTICATED, "permissions denied");
        respond_error(r, &err);
        return;
    }
    call_agents(s, r, m, call->format, req);
}

// ---- requests -------------------------------------------------------------------------------

void room_service_request(struct room_service *s, struct httpd_req *r)
{
    CLEANUP(access_token_free) struct access_token *token = NULL;
    struct auth_refusal refusal = {.status = 500, .text = "out of memory"};
    if (auth_request(r, s->keys, loop_wall(s->loop), &token, &refusal) < 0) {
        log_info(NULL, "api.refused", KV_U64("status", refusal.status),
                 KV_STR("why", refusal.text));
        httpd_respond(r, refusal.status, "text/plain; charset=utf-8", bytes_str(refusal.text));
        return;
    }
    struct bytes const path = bytes_str(httpd_path(r));
    const char *const type = httpd_header(r, "Content-Type");
    struct twirp_call call;
    struct twirp_error err;
    struct bytes service;
    struct bytes method;
    bool const known = twirp_split_path(path, &service, &method) == 0;
    bool const agents = known && bytes_eq_str(service, "livekit.AgentDispatchService");
    bool const absent = known && absent_service_is(service);
    if (!known || (!agents && !absent && !bytes_eq_str(service, "livekit.RoomService"))) {
        httpd_respond(r, 404, "text/plain; charset=utf-8", bytes_str("404 page not found\n"));
        return;
    }
    if (twirp_parse_request(httpd_method(r), path, bytes_str(lk_str(type)), &call, &err) < 0) {
        respond_error(r, &err);
        return;
    }
    if (agents) {
        agent_request(s, r, &call, token);
        return;
    }
    if (absent) {
        err = absent_service_error(&call, path, token);
        respond_error(r, &err);
        return;
    }
    const struct room_method *const m = room_method_find(call.method);
    if (m == NULL) {
        err = twirp_no_handler(path);
        respond_error(r, &err);
        return;
    }
    CLEANUP(pbuf_free) struct pbuf *req = NULL;
    if (read_request(m->request, call.format, httpd_body(r), token == NULL, &req) < 0) {
        err = twirp_bad_body(call.format);
        respond_error(r, &err);
        return;
    }
    if (!room_method_granted(m, token, req->msg)) {
        err = twirp_error_of(TWIRP_UNAUTHENTICATED, "permissions denied");
        respond_error(r, &err);
        return;
    }
    if (room_method_check(m, req->msg, &err) < 0) {
        respond_error(r, &err);
        return;
    }
    if (m->api == ROOM_API_METHOD_COUNT) {
        list_rooms(s, r, m, call.format, req->msg);
    } else {
        call_worker(s, r, m, call.format, req);
    }
}

void room_service_reply(struct room_service *s, const struct channel_msg *m)
{
    struct call *const c = handle_table_get(&s->calls, m->handle);
    if (c == NULL) {
        return;
    }
    const struct channel_api_reply *const reply = &m->u.api_reply;
    if (reply->error == NULL) {
        const struct shared_buf *const body = c->instead != NULL ? c->instead : reply->body;
        respond_message(c->req, c->format, c->response, shared_buf_view(body));
    } else if (reply->argument != NULL) {
        struct twirp_error e = twirp_error_of(twirp_code_of_name(bytes_str(reply->error)), "%s",
                                              lk_str(reply->error_msg));
        (void)snprintf(e.meta_key, sizeof(e.meta_key), "argument");
        (void)snprintf(e.meta_value, sizeof(e.meta_value), "%s", reply->argument);
        respond_error(c->req, &e);
    } else {
        enum twirp_code const code = twirp_code_of_name(bytes_str(reply->error));
        struct dynbuf body;
        dynbuf_init(&body, JSON_REPLY_MAX);
        twirp_error_write_text(code, lk_str(reply->error_msg), &body);
        httpd_respond(c->req, (unsigned)twirp_code_http(code), TWIRP_CONTENT_JSON,
                      dynbuf_view(&body));
        dynbuf_done(&body);
    }
    call_free(c);
}
