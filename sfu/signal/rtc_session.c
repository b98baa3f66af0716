// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/rtc_session.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/svc/ws_handshake.h"
#include "common/sys/log.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/signal/pong.h"
#include "sfu/signal/request_gate.h"
#include "sfu/signal/signal_frame.h"

// livekit-protocol 2.4.
#define TOKEN_REFRESH_MS INT64_C(300000)
#define TOKEN_MIN_LIFETIME_S 600
// Claims that change faster are told together: signing kilobytes for each change would hold up everybody
// else's signalling.
#define TOKEN_SPACING_MS 200

// How long the first response is awaited, as livekit does: three attempts of 3, 4 and 5 s
// (livekit-protocol 1.4). A worker answers within milliseconds.
#define FIRST_RESPONSE_MS 12000

#define TEXT_PLAIN "text/plain; charset=utf-8"

enum phase {
    PHASE_WAITING,   // for the first response; the connect request is not answered
    PHASE_UPGRADING, // it is there, the socket is on its way from HTTP
    PHASE_OPEN,
    PHASE_CLOSING,
};

struct rtc_session {
    struct rtc_sessions *owner;
    handle_t handle;
    enum phase phase;
    struct httpd_req *req; // PHASE_WAITING
    char accept_key[WS_ACCEPT_LEN];
    struct ws *ws;            // from PHASE_OPEN on
    struct loop_timer *timer; // PHASE_WAITING: patience; later: the next token
    struct loop_timer *brake; // while its requests are not read; NULL: never was
    struct request_gate gate;
    struct pong pong;
    uint32_t worker;
    struct access_token *token;
    mono_t token_sent;
    int64_t exp;               // of the token that the client came with
    char *room;                // held in the registry
    struct shared_buf **early; // SIGNAL_EARLY_MAX, while there are some
    size_t early_count;
    uint16_t early_close; // PHASE_UPGRADING: close with this code when the socket comes
    bool joined;          // the worker knows of it
    bool text;            // the client's last message was text: so are ours (livekit-protocol 1.7)
    bool deflate;         // permessage-deflate was offered and taken
    bool abandoned;       // ended before its socket came; freed when it does
};

void rtc_sessions_init(struct rtc_sessions *s, const struct rtc_sessions_conf *conf)
{
    *s = (struct rtc_sessions){.conf = *conf};
    s->conf.first_response_ms =
        conf->first_response_ms != 0 ? conf->first_response_ms : FIRST_RESPONSE_MS;
    handle_table_init(&s->table, SIGNAL_SESSIONS_MAX);
    response_forms_init(&s->forms);
}

static void args_done(struct rtc_session_args *a)
{
    mem_free(a->room_name);
    mem_free(a->client_address);
    access_token_free(a->token);
    pbuf_free(a->request);
    *a = (struct rtc_session_args){0};
}

static void early_done(struct rtc_session *s)
{
    for (size_t i = 0; i < s->early_count; i++) {
        shared_buf_unref(s->early[i]);
    }
    mem_free(s->early);
    s->early = NULL;
    s->early_count = 0;
}

static void on_memory_timer(void *user)
{
    struct rtc_sessions *const s = user;
    memory_return_run(&s->memory, rtc_sessions_count(s));
}

static void note_left(struct rtc_sessions *s)
{
    if (!memory_return_is_worth_it(&s->memory, rtc_sessions_count(s))) {
        return;
    }
    if (s->memory_timer == NULL) {
        s->memory_timer = loop_timer_new(s->conf.loop, on_memory_timer, s);
    }
    if (s->memory_timer != NULL) {
        loop_timer_set(s->memory_timer, mono_add_ms(loop_now(s->conf.loop), MEMORY_RETURN_MS));
    }
}

static void session_free(struct rtc_session *s)
{
    (void)handle_table_remove(&s->owner->table, s->handle);
    note_left(s->owner);
    early_done(s);
    ws_free(s->ws);
    loop_timer_free(s->timer);
    loop_timer_free(s->brake);
    request_gate_done(&s->gate);
    access_token_free(s->token);
    if (s->room != NULL) {
        room_registry_release(s->owner->conf.registry, s->room);
        mem_free(s->room);
    }
    mem_free(s);
}

void rtc_sessions_done(struct rtc_sessions *s)
{
    uint32_t pos = 0;
    for (struct rtc_session *x = NULL; (x = handle_table_next(&s->table, &pos)) != NULL;) {
        if (x->phase == PHASE_UPGRADING) {
            x->abandoned = true;
            continue;
        }
        if (x->phase == PHASE_WAITING) {
            httpd_respond(STEAL(x->req), 503, TEXT_PLAIN, bytes_str("server is shutting down"));
        }
        session_free(x);
    }
    loop_timer_free(STEAL(s->memory_timer));
    s->memory = (struct memory_return){0}; // those that end later set no timer
    handle_table_done(&s->table);
    response_forms_done(&s->forms);
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
        s->owner->conf.post(s->owner->conf.user, s->worker, m);
    }
}

// ---- responses ------------------------------------------------------------------------------

// Sends an encoded SignalResponse in the client's form. What a socket that is ending does not take is
// nobody's loss.
static void send_response(struct rtc_session *s, struct shared_buf *response)
{
    (void)!response_forms_send(&s->owner->forms, s->ws, s->text, s->deflate, response);
}

// ---- tokens ---------------------------------------------------------------------------------

// Clients put the token into a request line, so it stays short: metadata, then attributes are left
// out when they make it too long. What it allows never is.
static int mint(struct access_claims *claims, const struct api_key *key, char **ret)
{
    if (claims->metadata != NULL && strlen(claims->metadata) > ACCESS_TOKEN_MAX) {
        claims->metadata = NULL;
    }
    int rc = access_token_mint(claims, key, ret);
    if (rc == -E2BIG) {
        claims->metadata = NULL;
        rc = access_token_mint(claims, key, ret);
    }
    if (rc == -E2BIG) {
        claims->attribute_count = 0;
        rc = access_token_mint(claims, key, ret);
    }
    return rc;
}

static void send_token(struct rtc_session *s)
{
    struct access_claims claims = s->token->claims;
    int64_t const now_s = loop_wall(s->owner->conf.loop).us / US_PER_S;
    claims.iat = now_s;
    claims.nbf = now_s;
    claims.exp = MAX(now_s + TOKEN_MIN_LIFETIME_S, s->exp);
    claims.with_identity = true;
    char *jwt = NULL;
    // Not the key that the client came with: that one may retire before the next token is sent.
    const struct api_key *const key =
        api_keys_signer(s->owner->conf.keys, loop_wall(s->owner->conf.loop));
    loop_timer_set_ms(s->timer, TOKEN_REFRESH_MS);
    s->token_sent = loop_now(s->owner->conf.loop);
    if (key == NULL || mint(&claims, key, &jwt) < 0) {
        return;
    }
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN;
    rsp.refresh_token = jwt;
    struct shared_buf *data = NULL;
    if (pbuf_pack_shared(&rsp.base, ACCESS_TOKEN_MAX + 64, &data) == 0) {
        send_response(s, data);
        shared_buf_unref(data);
    }
    mem_free(jwt);
}

static void send_token_spaced(struct rtc_session *s)
{
    mono_t const next = mono_add_ms(s->token_sent, TOKEN_SPACING_MS);
    if (mono_reached(next, loop_now(s->owner->conf.loop))) {
        send_token(s);
    } else {
        loop_timer_set(s->timer, next);
    }
}

void rtc_sessions_renew_tokens(struct rtc_sessions *s)
{
    int64_t const count = MAX((int64_t)rtc_sessions_count(s), 1);
    int64_t i = 0;
    uint32_t pos = 0;
    for (struct rtc_session *x = NULL; (x = handle_table_next(&s->table, &pos)) != NULL; i++) {
        if (x->phase == PHASE_OPEN) {
            loop_timer_set_ms(x->timer, RTC_SESSIONS_RENEW_MS * i / count);
        }
    }
}

static void start_closing(struct rtc_session *s, uint16_t code)
{
    s->phase = PHASE_CLOSING;
    loop_timer_stop(s->timer);
    if (s->brake != NULL) {
        loop_timer_stop(s->brake);
    }
    ws_close(s->ws, code);
}

// ---- frames ---------------------------------------------------------------------------------

static void slow_down(struct rtc_session *s);

static void on_brake(void *user)
{
    struct rtc_session *const s = user;
    ws_pause(s->ws, false);
    slow_down(s);
}

// Reads nothing more as long as the gate says so.
static void slow_down(struct rtc_session *s)
{
    struct rtc_sessions *const owner = s->owner;
    int64_t const ms = request_gate_wait(&s->gate, loop_now(owner->conf.loop));
    if (ms == 0) {
        return;
    }
    if (s->brake == NULL) {
        s->brake = loop_timer_new(owner->conf.loop, on_brake, s);
        owner->counts.slowed++;
        log_info(NULL, "signal.slowed", KV_STR("room", s->room));
    }
    if (s->brake != NULL) {
        ws_pause(s->ws, true);
        loop_timer_set_ms(s->brake, ms);
    }
}

// The worker, which knows nothing that belongs into the answer, need not be woken up for it.
static void answer_ping(struct rtc_session *s, const Livekit__SignalRequest *req, size_t bytes)
{
    struct loop *const loop = s->owner->conf.loop;
    struct shared_buf *answers[PONG_ANSWERS_MAX];
    channel_credit_note_ping(s->gate.credit, loop_now(loop));
    request_gate_note(&s->gate, loop_now(loop), bytes);
    // Queued together, they are written together when this message is dealt with.
    size_t const n = pong_answer(&s->pong, loop_now(loop), loop_wall(loop), req, answers);
    for (size_t i = 0; i < n; i++) {
        send_response(s, answers[i]);
        shared_buf_unref(answers[i]);
    }
    slow_down(s);
}

static void on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct rtc_session *const s = user;
    struct pbuf *req = NULL;
    if (s->phase == PHASE_CLOSING) {
        return;
    }
    // What cannot be decoded closes the socket (livekit-protocol 1.7).
    if (signal_frame_decode(kind, data, &req) < 0) {
        s->owner->counts.undecodable++;
        log_info(NULL, "signal.undecodable", KV_U64("bytes", data.n),
                 KV_BOOL("text", kind == WS_TEXT));
        start_closing(s, 1000);
        return;
    }
    s->text = kind == WS_TEXT;
    if (pong_takes(req->msg)) {
        answer_ping(s, req->msg, data.n);
        pbuf_free(req);
        return;
    }
    struct channel_msg *const m = channel_msg_new(CHANNEL_REQUEST, s->handle);
    if (m == NULL) {
        pbuf_free(req);
        start_closing(s, 1011); // it comes back and finds the room as it is
        return;
    }
    m->u.request = req;
    request_gate_pass(&s->gate, loop_now(s->owner->conf.loop), m, data.n);
    s->owner->conf.post(s->owner->conf.user, s->worker, m);
    slow_down(s);
}

static void on_end(void *user, const struct ws_end *end)
{
    struct rtc_session *const s = user;
    log_debug(NULL, "signal.closed", KV_U64("code", end->code), KV_STR("why", end->reason));
    s->owner->counts.cut_off += end->too_slow;
    tell_worker_closed(s);
    session_free(s);
}

static void release_socket(void *arg, int fd)
{
    (void)fd;
    httpd_release(arg);
}

// ---- from connect request to socket -------------------------------------------------------------

// Sends what came while the socket was on its way, with a fresh token behind the first response.
static void send_early(struct rtc_session *s)
{
    for (size_t i = 0; i < s->early_count; i++) {
        send_response(s, s->early[i]);
        if (i == 0 && s->early_close == 0) {
            send_token(s);
        }
    }
    early_done(s);
}

static void on_upgraded(void *user, const struct httpd_upgraded *up)
{
    struct rtc_session *const s = user;
    if (up->handle == NULL || s->abandoned) {
        if (up->handle != NULL) {
            httpd_release(up->handle);
        }
        if (!s->abandoned) {
            tell_worker_closed(s); // the client was gone before
        }
        session_free(s);
        return;
    }
    struct ws_conf const conf = {
        .on_message = on_message,
        .on_end = on_end,
        .message_max = SIGNAL_MESSAGE_MAX,
        .queue_max = SIGNAL_QUEUE_MAX,
        .deflate = s->deflate ? s->owner->forms.deflate : NULL,
        .release = release_socket,
        .release_arg = up->handle,
        .user = s,
    };
    if (ws_new(s->owner->conf.loop, up->fd, up->early, &conf, &s->ws) < 0) {
        httpd_release(up->handle);
        tell_worker_closed(s);
        session_free(s);
        return;
    }
    s->phase = PHASE_OPEN;
    s->owner->counts.opened++;
    send_early(s);
    if (s->early_close != 0) {
        start_closing(s, s->early_close);
    }
}

static void keep_early(struct rtc_session *s, struct channel_msg *m)
{
    if (s->early == NULL) {
        s->early = mem_array(SIGNAL_EARLY_MAX, sizeof(struct shared_buf *));
    }
    if (s->early != NULL && s->early_count < SIGNAL_EARLY_MAX) {
        s->early[s->early_count++] = STEAL(m->u.send.data);
    } else {
        // It would miss something: it comes back instead.
        s->owner->counts.cut_off++;
        s->early_close = s->early_close != 0 ? s->early_close : 1000;
    }
}

// The first response is there: now the client gets its socket.
static void upgrade(struct rtc_session *s)
{
    struct httpd_req *const r = STEAL(s->req);
    s->phase = PHASE_UPGRADING;
    loop_timer_stop(s->timer);
    httpd_add_header(r, "Sec-WebSocket-Accept", s->accept_key);
    if (s->deflate) {
        httpd_add_header(r, "Sec-WebSocket-Extensions", WS_DEFLATE_ANSWER);
    }
    httpd_upgrade(r, "websocket", on_upgraded, s); // s may be gone
}

// The session ends without a socket.
static void refuse(struct rtc_session *s, unsigned status, const char *text)
{
    log_info(NULL, "signal.refused", KV_U64("status", status), KV_STR("why", text));
    httpd_respond(STEAL(s->req), status, TEXT_PLAIN, bytes_str(text));
    session_free(s);
}

static void on_timer(void *user)
{
    struct rtc_session *const s = user;
    if (s->phase == PHASE_OPEN) {
        send_token(s);
    } else if (s->phase == PHASE_WAITING) {
        s->owner->counts.unanswered++;
        tell_worker_closed(s);
        refuse(s, 503, "no response from servers");
    }
}

// The client, or the HTTP server, is gone before the first response.
static void on_request_gone(void *user)
{
    struct rtc_session *const s = user;
    s->req = NULL;
    tell_worker_closed(s);
    session_free(s);
}

static int post_join(struct rtc_session *s, struct rtc_session_args *args)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_JOIN, s->handle);
    if (m == NULL) {
        return -ENOMEM;
    }
    m->u.join = (struct channel_join){
        .room_name = STEAL(args->room_name),
        .token = STEAL(args->token),
        .v1 = args->v1,
        .request = STEAL(args->request),
        .client_address = STEAL(args->client_address),
        .credit = channel_credit_ref(s->gate.credit),
    };
    s->joined = true;
    s->owner->conf.post(s->owner->conf.user, s->worker, m);
    return 0;
}

// Takes over the hold on the room when it succeeds.
static int make_session(struct rtc_sessions *owner, const struct rtc_session_args *args,
                        struct rtc_session **ret)
{
    struct rtc_session *const s = NEW(struct rtc_session);
    if (s == NULL) {
        return -ENOMEM;
    }
    s->owner = owner;
    s->worker = args->worker;
    s->timer = loop_timer_new(owner->conf.loop, on_timer, s);
    s->token = access_token_ref(args->token);
    s->exp = args->token->claims.exp;
    s->deflate = args->deflate && owner->forms.deflate != NULL;
    char *const room = mem_strdup(args->room_name);
    if (s->timer == NULL || room == NULL || request_gate_init(&s->gate) < 0 ||
        handle_table_add(&owner->table, s, &s->handle) < 0) {
        mem_free(room);
        session_free(s);
        return -ENOMEM;
    }
    s->room = room;
    memory_return_joined(&owner->memory, rtc_sessions_count(owner));
    *ret = s;
    return 0;
}

void rtc_session_start(struct rtc_sessions *owner, struct httpd_req *r, const char *accept_key,
                       const struct rtc_session_args *args)
{
    struct rtc_session_args taken = *args;
    struct rtc_session *s = NULL;
    int rc = make_session(owner, &taken, &s);
    if (rc < 0) {
        room_registry_release(owner->conf.registry, taken.room_name);
    } else {
        (void)snprintf(s->accept_key, sizeof(s->accept_key), "%s", accept_key);
        rc = post_join(s, &taken);
    }
    args_done(&taken);
    if (rc < 0) {
        if (s != NULL) {
            session_free(s);
        }
        httpd_respond(r, 503, TEXT_PLAIN, bytes_str("node has exceeded its configured limit"));
        return;
    }
    s->req = r;
    httpd_on_gone(r, on_request_gone, s);
    loop_timer_set_ms(s->timer, owner->conf.first_response_ms);
}

// ---- from the worker ------------------------------------------------------------------------

static void deliver_send(struct rtc_session *s, struct channel_msg *m)
{
    switch (s->phase) {
    case PHASE_WAITING:
        keep_early(s, m);
        upgrade(s);
        break;
    case PHASE_UPGRADING:
        keep_early(s, m);
        break;
    case PHASE_OPEN:
        send_response(s, m->u.send.data);
        break;
    case PHASE_CLOSING:
        break;
    }
}

static void deliver_close(struct rtc_session *s, const struct channel_msg *m)
{
    unsigned const status = m->u.close.http_status;
    // The worker has let go of this session: it must hear nothing of it any more.
    s->joined = false;
    switch (s->phase) {
    case PHASE_WAITING:
        s->owner->counts.refused++;
        refuse(s, status != 0 ? status : 500,
               status != 0 ? m->u.close.http_text : "connection closed by media");
        break;
    case PHASE_UPGRADING:
        s->early_close = m->u.close.code;
        break;
    case PHASE_OPEN:
        start_closing(s, m->u.close.code);
        break;
    case PHASE_CLOSING:
        break;
    }
}

static void deliver_claims(struct rtc_session *s, struct channel_msg *m)
{
    struct access_token *const t = STEAL(m->u.claims.token);
    bool const moved = strcmp(t->claims.video.room, s->token->claims.video.room) != 0;
    access_token_free(s->token);
    s->token = t;
    if (s->phase != PHASE_OPEN) {
        return; // nothing comes before the first response; the token behind it has these claims
    }
    if (moved) {
        send_token(s); // the Leave that sends the client there comes next
    } else {
        send_token_spaced(s);
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
        deliver_close(s, m);
        break;
    case CHANNEL_CLAIMS:
        deliver_claims(s, m);
        break;
    default:
        break;
    }
}
