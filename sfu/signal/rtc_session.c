// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/rtc_session.h"

#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/sys/log.h"
#include "sfu/signal/signal_frame.h"

// livekit-protocol 2.4.
#define TOKEN_REFRESH_MS INT64_C(300000)
#define TOKEN_MIN_LIFETIME_S 600

// WebSockets of one process; each costs some KB here and up to 100 KB in its worker.
#define SESSIONS_MAX 65536u

struct rtc_session {
    struct rtc_sessions *owner;
    handle_t handle;
    struct ws *ws;
    struct loop_timer *refresh;
    struct rtc_session_args args; // room_name, request and client_address go with the join
    struct access_token *token;
    char *room; // held in the registry
    bool joined;
    bool text;       // the client's last message was text: so are ours (livekit-protocol 1.7)
    bool told_first; // the first response went out
    bool closing;
    bool abandoned; // ended before its socket came; freed when it does
};

void rtc_sessions_init(struct rtc_sessions *s, struct loop *loop, struct room_registry *registry,
                       const struct api_keys *keys,
                       void (*post)(void *, uint32_t, struct channel_msg *), void *user)
{
    *s = (struct rtc_sessions){
        .loop = loop, .registry = registry, .keys = keys, .post = post, .user = user};
    handle_table_init(&s->table, SESSIONS_MAX);
}

static void args_done(struct rtc_session_args *a)
{
    mem_free(a->room_name);
    mem_free(a->client_address);
    access_token_free(a->token);
    pbuf_free(a->request);
    *a = (struct rtc_session_args){0};
}

static void session_free(struct rtc_session *s)
{
    (void)handle_table_remove(&s->owner->table, s->handle);
    ws_free(s->ws);
    loop_timer_free(s->refresh);
    access_token_free(s->token);
    args_done(&s->args);
    if (s->room != NULL) {
        room_registry_release(s->owner->registry, s->room);
        mem_free(s->room);
    }
    mem_free(s);
}

void rtc_sessions_done(struct rtc_sessions *s)
{
    uint32_t pos = 0;
    for (struct rtc_session *x = NULL; (x = handle_table_next(&s->table, &pos)) != NULL;) {
        if (x->ws != NULL) {
            session_free(x);
        } else {
            x->abandoned = true;
        }
    }
    handle_table_done(&s->table);
}

size_t rtc_sessions_count(const struct rtc_sessions *s)
{
    return s->table.count;
}

static void tell_worker_closed(struct rtc_session *s)
{
    if (!s->joined) {
        return;
    }
    struct channel_msg *const m = channel_msg_new(CHANNEL_SESSION_CLOSED, s->handle);
    if (m != NULL) {
        s->owner->post(s->owner->user, s->args.worker, m);
    }
}

// ---- responses ------------------------------------------------------------------------------

// Sends an encoded SignalResponse in the client's form. False: the socket takes nothing any more.
static bool send_response(struct rtc_session *s, struct bytes wire)
{
    if (!s->text) {
        return ws_send(s->ws, WS_BINARY, wire) == 0;
    }
    struct dynbuf json;
    dynbuf_init(&json, SIGNAL_FRAME_TEXT_MAX);
    bool const is_text = signal_frame_text(wire, &json) == 0;
    int const rc =
        is_text ? ws_send(s->ws, WS_TEXT, dynbuf_view(&json)) : ws_send(s->ws, WS_BINARY, wire);
    dynbuf_done(&json);
    return rc == 0;
}

// ---- tokens ---------------------------------------------------------------------------------

static void send_token(struct rtc_session *s)
{
    struct access_claims claims = s->token->claims;
    int64_t const now_s = loop_wall(s->owner->loop).us / US_PER_S;
    claims.iat = now_s;
    claims.nbf = now_s;
    claims.exp = MAX(now_s + TOKEN_MIN_LIFETIME_S, claims.exp);
    claims.with_identity = true;
    char *jwt = NULL;
    // Not the key that the client came with: that one may retire before the next token is sent.
    const struct api_key *const key = api_keys_signer(s->owner->keys, loop_wall(s->owner->loop));
    loop_timer_set_ms(s->refresh, TOKEN_REFRESH_MS);
    if (key == NULL || access_token_mint(&claims, key, &jwt) < 0) {
        return;
    }
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN;
    rsp.refresh_token = jwt;
    struct shared_buf *data = NULL;
    if (pbuf_pack_shared(&rsp.base, ACCESS_TOKEN_MAX + 64, &data) == 0) {
        (void)send_response(s, shared_buf_view(data));
        shared_buf_unref(data);
    }
    mem_free(jwt);
}

static void on_refresh(void *user)
{
    send_token(user);
}

void rtc_sessions_renew_tokens(struct rtc_sessions *s)
{
    int64_t const count = MAX((int64_t)rtc_sessions_count(s), 1);
    int64_t i = 0;
    uint32_t pos = 0;
    for (struct rtc_session *x = NULL; (x = handle_table_next(&s->table, &pos)) != NULL; i++) {
        if (x->told_first && !x->closing) {
            loop_timer_set_ms(x->refresh, RTC_SESSIONS_RENEW_MS * i / count);
        }
    }
}

// ---- frames ---------------------------------------------------------------------------------

static void on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct rtc_session *const s = user;
    struct pbuf *req = NULL;
    if (s->closing) {
        return;
    }
    // What cannot be decoded closes the socket (livekit-protocol 1.7).
    if (signal_frame_decode(kind, data, &req) < 0) {
        log_info(NULL, "signal.undecodable", KV_U64("bytes", data.n),
                 KV_BOOL("text", kind == WS_TEXT));
        s->closing = true;
        ws_close(s->ws, 1000);
        return;
    }
    s->text = kind == WS_TEXT;
    struct channel_msg *const m = channel_msg_new(CHANNEL_REQUEST, s->handle);
    if (m == NULL) {
        pbuf_free(req);
        return;
    }
    m->u.request = req;
    s->owner->post(s->owner->user, s->args.worker, m);
}

static void on_end(void *user, const struct ws_end *end)
{
    struct rtc_session *const s = user;
    log_debug(NULL, "signal.closed", KV_U64("code", end->code), KV_STR("why", end->reason));
    tell_worker_closed(s);
    session_free(s);
}

static void release_socket(void *arg, int fd)
{
    (void)fd;
    httpd_release(arg);
}

static void post_join(struct rtc_session *s)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_JOIN, s->handle);
    if (m == NULL) {
        ws_close(s->ws, 1011);
        return;
    }
    m->u.join = (struct channel_join){
        .room_name = STEAL(s->args.room_name),
        .token = STEAL(s->args.token),
        .v1 = s->args.v1,
        .request = STEAL(s->args.request),
        .client_address = STEAL(s->args.client_address),
    };
    s->joined = true;
    s->owner->post(s->owner->user, s->args.worker, m);
}

static void on_upgraded(void *user, const struct httpd_upgraded *up)
{
    struct rtc_session *const s = user;
    if (up->handle == NULL || s->abandoned) {
        if (up->handle != NULL) {
            httpd_release(up->handle);
        }
        session_free(s);
        return;
    }
    struct ws_conf const conf = {
        .on_message = on_message,
        .on_end = on_end,
        .release = release_socket,
        .release_arg = up->handle,
        .user = s,
    };
    if (ws_new(s->owner->loop, up->fd, up->early, &conf, &s->ws) < 0) {
        httpd_release(up->handle);
        session_free(s);
        return;
    }
    post_join(s);
}

static int make_session(struct rtc_sessions *owner, struct rtc_session_args *args,
                        struct rtc_session **ret)
{
    struct rtc_session *const s = NEW(struct rtc_session);
    if (s == NULL) {
        return -ENOMEM;
    }
    s->owner = owner;
    s->refresh = loop_timer_new(owner->loop, on_refresh, s);
    s->token = access_token_ref(args->token);
    char *const room = mem_strdup(args->room_name);
    if (s->refresh == NULL || room == NULL || handle_table_add(&owner->table, s, &s->handle) < 0) {
        mem_free(room);
        session_free(s);
        return -ENOMEM;
    }
    s->room = room;
    s->args = *args;
    *args = (struct rtc_session_args){0};
    *ret = s;
    return 0;
}

void rtc_session_start(struct rtc_sessions *owner, struct httpd_req *r, const char *accept_key,
                       const struct rtc_session_args *args)
{
    struct rtc_session_args taken = *args;
    struct rtc_session *s = NULL;
    if (make_session(owner, &taken, &s) < 0) {
        room_registry_release(owner->registry, taken.room_name);
        args_done(&taken);
        httpd_respond(r, 503, "text/plain; charset=utf-8",
                      bytes_str("node has exceeded its configured limit"));
        return;
    }
    httpd_add_header(r, "Sec-WebSocket-Accept", accept_key);
    httpd_upgrade(r, "websocket", on_upgraded, s);
}

// ---- from the worker ------------------------------------------------------------------------

static void deliver_send(struct rtc_session *s, const struct channel_msg *m)
{
    if (s->ws == NULL || !send_response(s, shared_buf_view(m->u.send.data))) {
        return;
    }
    if (!s->told_first) {
        s->told_first = true;
        send_token(s);
    }
}

void rtc_sessions_deliver(struct rtc_sessions *owner, struct channel_msg *m)
{
    struct rtc_session *const s = handle_table_get(&owner->table, m->handle);
    if (s == NULL) {
        return;
    }
    switch (m->type) {
    case CHANNEL_SEND:
        deliver_send(s, m);
        break;
    case CHANNEL_CLOSE:
        // The worker has let go of this session: it must hear nothing of it any more.
        s->joined = false;
        s->closing = true;
        loop_timer_stop(s->refresh);
        ws_close(s->ws, m->u.close.code);
        break;
    case CHANNEL_CLAIMS:
        access_token_free(s->token);
        s->token = STEAL(m->u.claims.token);
        send_token(s);
        break;
    default:
        break;
    }
}
