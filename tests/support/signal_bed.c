// SPDX-License-Identifier: Apache-2.0
#include "tests/support/signal_bed.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/svc/pbjson.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"

#include <zlib.h>

#define DEADLINE_MS 20000

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "signal_bed: %s failed\n", what);
        abort();
    }
}

// ---- the workers ----------------------------------------------------------------------------

static void answer(struct signal_bed *b, struct channel_msg *m, uint32_t worker)
{
    must(m != NULL, "memory");
    m->worker = worker;
    struct channel_msg **end = &b->queue;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = m;
}

static void answer_message(struct signal_bed *b, const struct channel_msg *to,
                           const Livekit__SignalResponse *rsp)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_SEND, to->handle);
    must(m != NULL && pbuf_pack_shared(&rsp->base, 1u << 20, &m->u.send.data) == 0, "pack");
    answer(b, m, to->worker);
}

static void on_join(struct signal_bed *b, const struct channel_msg *m)
{
    const struct channel_join *const j = &m->u.join;
    const Livekit__JoinRequest *const req = j->request->msg;
    b->seen.joins++;
    b->seen.session = m->handle;
    b->seen.v1 = j->v1;
    b->seen.reconnect = req->reconnect;
    b->seen.auto_subscribe =
        req->connection_settings != NULL && req->connection_settings->auto_subscribe;
    b->seen.offer_bytes =
        req->publisher_offer != NULL ? strlen(lk_str(req->publisher_offer->sdp)) : 0;
    (void)snprintf(b->seen.room, sizeof(b->seen.room), "%s", j->room_name);
    (void)snprintf(b->seen.identity, sizeof(b->seen.identity), "%s",
                   lk_str(j->token->claims.identity));
    (void)snprintf(b->seen.address, sizeof(b->seen.address), "%s", lk_str(j->client_address));
    if (b->silent) {
        return;
    }
    if (b->refuse_http) {
        struct channel_msg *const c = channel_msg_new(CHANNEL_CLOSE, m->handle);
        must(c != NULL, "memory");
        c->u.close.code = 1000;
        c->u.close.http_status = b->status;
        c->u.close.http_text = "as ordered";
        answer(b, c, m->worker);
        return;
    }
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    Livekit__JoinResponse join = LIVEKIT__JOIN_RESPONSE__INIT;
    Livekit__LeaveRequest leave = LIVEKIT__LEAVE_REQUEST__INIT;
    if (b->refuse) {
        rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_LEAVE;
        rsp.leave = &leave;
        answer_message(b, m, &rsp);
        struct channel_msg *const c = channel_msg_new(CHANNEL_CLOSE, m->handle);
        must(c != NULL, "memory");
        c->u.close.code = 1000;
        answer(b, c, m->worker);
        return;
    }
    rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN;
    rsp.join = &join;
    answer_message(b, m, &rsp);
    for (unsigned i = 0; i < b->greetings; i++) {
        rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG;
        rsp.pong = i;
        answer_message(b, m, &rsp);
    }
}

static void on_request(struct signal_bed *b, const struct channel_msg *m)
{
    const Livekit__SignalRequest *const req = m->u.request->msg;
    b->seen.requests++;
    b->seen.request_case = (int)req->message_case;
    // Whatever the client mutes, the room mutes as well.
    if (!b->silent && req->message_case == LIVEKIT__SIGNAL_REQUEST__MESSAGE_MUTE) {
        Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
        rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MUTE;
        rsp.mute = req->mute;
        answer_message(b, m, &rsp);
    }
}

static struct channel_msg *room_message(enum channel_msg_type type, uint32_t worker,
                                        const char *name)
{
    struct channel_msg *const m = channel_msg_new(type, HANDLE_NONE);
    must(m != NULL, "memory");
    m->worker = worker;
    m->u.room_info.name = mem_strdup(name);
    return m;
}

static struct channel_msg *room_info(uint32_t worker, const char *name, uint32_t participants)
{
    struct channel_msg *const m = room_message(CHANNEL_ROOM_INFO, worker, name);
    m->u.room_info.num_participants = participants;
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, name);
    LK_SET_STR(&room, sid, "RM_x");
    LK_SET(&room, num_participants, participants);
    LK_SET(&room, empty_timeout, 300);
    LK_SET(&room, creation_time, INT64_C(1790000000));
    must(pbuf_pack_shared(&room.base, 4096, &m->u.room_info.room) == 0, "memory");
    return m;
}

static void on_api(struct signal_bed *b, const struct channel_msg *m)
{
    b->seen.api++;
    b->seen.method = m->u.api.method;
    (void)snprintf(b->seen.room, sizeof(b->seen.room), "%s", m->u.api.room_name);
    if (b->silent) {
        return;
    }
    struct channel_msg *const r = channel_msg_new(CHANNEL_API_REPLY, m->handle);
    must(r != NULL, "memory");
    r->u.api_reply.error = b->api_error;
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, m->u.api.room_name);
    if (b->api_error != NULL) {
        r->u.api_reply.error_msg = mem_strdup("as ordered");
    } else if (b->api_body.n > 0) {
        r->u.api_reply.body = shared_buf_copy(b->api_body);
    } else {
        must(pbuf_pack_shared(&room.base, 1u << 20, &r->u.api_reply.body) == 0, "pack");
    }
    if (b->tells_rooms && m->u.api.method == ROOM_API_CREATE_ROOM && b->api_error == NULL) {
        answer(b, room_info(m->worker, m->u.api.room_name, 0), m->worker);
    }
    answer(b, r, m->worker);
}

static void to_worker(void *user, uint32_t worker, struct channel_msg *m)
{
    struct signal_bed *const b = user;
    m->worker = worker;
    b->seen.worker = worker;
    if (m->type == CHANNEL_JOIN) {
        on_join(b, m);
    } else if (m->type == CHANNEL_REQUEST) {
        on_request(b, m);
    } else if (m->type == CHANNEL_SESSION_CLOSED) {
        b->seen.closed++;
    } else if (m->type == CHANNEL_API) {
        on_api(b, m);
    }
    if (m->type == CHANNEL_JOIN) {
        channel_msg_free(b->join);
        b->join = m;
    } else if (m->type == CHANNEL_REQUEST && b->hold) {
        m->next = b->held;
        b->held = m;
    } else {
        channel_msg_free(m);
    }
}

void signal_bed_let_go(struct signal_bed *b)
{
    b->hold = false;
    while (b->held != NULL) {
        struct channel_msg *const m = b->held;
        b->held = m->next;
        channel_msg_free(m);
    }
}

void signal_bed_turn(struct signal_bed *b)
{
    loop_run_once(b->loop, 1);
    while (b->queue != NULL) {
        struct channel_msg *const m = b->queue;
        b->queue = m->next;
        m->next = NULL;
        signal_server_deliver(b->server, m);
    }
}

void signal_bed_room(struct signal_bed *b, uint32_t worker, const char *name, uint32_t participants)
{
    signal_server_deliver(b->server, room_info(worker, name, participants));
}

void signal_bed_room_ended(struct signal_bed *b, uint32_t worker, const char *name)
{
    signal_server_deliver(b->server, room_message(CHANNEL_ROOM_ENDED, worker, name));
}

// ---- life -----------------------------------------------------------------------------------

void signal_bed_init(struct signal_bed *b, bool auto_create)
{
    *b = (struct signal_bed){.loop = loop_new()};
    b->keys = api_keys_new();
    must(b->loop != NULL && b->keys != NULL, "loop");
    must(api_keys_add(b->keys, bytes_str(SIGNAL_BED_KEY), bytes_str(SIGNAL_BED_SECRET)) == 0,
         "key");
    must(cidr_set_add(&b->proxies, bytes_str("loopback")) == 0, "proxies");
    struct addr const listen = addr_v4(127, 0, 0, 1, 0);
    struct signal_server_conf const conf = {
        .loop = b->loop,
        .listen = &listen,
        .listen_count = 1,
        .keys = b->keys,
        .worker_count = SIGNAL_BED_WORKERS,
        .auto_create = auto_create,
        .connects = {.per_1000s = 1000, .burst = SIGNAL_BED_CONNECTS},
        .proxies = &b->proxies,
        .first_response_ms = 300,
        .post = to_worker,
        .user = b,
    };
    size_t failed = 0;
    must(signal_server_new(&conf, &b->server, &failed) == 0, "signal_server_new");
    b->addr = signal_server_address(b->server, 0);
}

void signal_bed_done(struct signal_bed *b)
{
    for (int i = 0; i < 3; i++) {
        signal_bed_turn(b);
    }
    signal_server_free(b->server);
    while (b->queue != NULL) {
        struct channel_msg *const m = b->queue;
        b->queue = m->next;
        channel_msg_free(m);
    }
    channel_msg_free(b->join);
    signal_bed_let_go(b);
    cidr_set_done(&b->proxies);
    api_keys_free(b->keys);
    loop_free(b->loop);
}

bool signal_bed_until(struct signal_bed *b, bool (*cond)(void *arg), void *arg)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (!cond(arg) && mono_before(clock_mono(), end)) {
        signal_bed_turn(b);
    }
    return cond(arg);
}

// ---- tokens and join requests ---------------------------------------------------------------

char *signal_bed_token(struct signal_bed *b, const struct access_claims *claims)
{
    struct access_claims c = {
        .identity = "alice", .has_video = true, .video = {.room = "r", .room_join = true}};
    if (claims != NULL) {
        c = *claims;
    }
    int64_t const now = loop_wall(b->loop).us / US_PER_S;
    c.exp = c.exp != 0 ? c.exp : now + 3600;
    char *jwt = NULL;
    must(access_token_mint(&c, api_keys_first(b->keys), &jwt) == 0, "mint");
    return jwt;
}

static void compress_gzip(struct bytes in, struct dynbuf *out)
{
    uint8_t *const buf = mem_alloc(in.n + 1024);
    z_stream z = {0};
    must(buf != NULL && deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                                     Z_DEFAULT_STRATEGY) == Z_OK,
         "deflateInit2");
    z.next_in = lk_unconst(in.p);
    z.avail_in = (unsigned)in.n;
    z.next_out = buf;
    z.avail_out = (unsigned)in.n + 1024;
    must(deflate(&z, Z_FINISH) == Z_STREAM_END, "deflate");
    dynbuf_add(out, bytes_of(buf, z.total_out));
    (void)deflateEnd(&z);
    mem_free(buf);
}

char *signal_bed_join_request(const Livekit__JoinRequest *j, bool gzip)
{
    struct dynbuf inner, packed, outer, text;
    dynbuf_init(&inner, (size_t)4 << 20);
    dynbuf_init(&packed, (size_t)4 << 20);
    dynbuf_init(&outer, (size_t)4 << 20);
    dynbuf_init(&text, (size_t)8 << 20);
    must(pbuf_pack(&j->base, &inner) == 0, "pack");
    if (gzip) {
        compress_gzip(dynbuf_view(&inner), &packed);
    }
    Livekit__WrappedJoinRequest w = LIVEKIT__WRAPPED_JOIN_REQUEST__INIT;
    LK_SET(&w, compression,
           gzip ? LIVEKIT__WRAPPED_JOIN_REQUEST__COMPRESSION__GZIP
                : LIVEKIT__WRAPPED_JOIN_REQUEST__COMPRESSION__NONE);
    LK_SET_BYTES(&w, join_request, gzip ? dynbuf_view(&packed) : dynbuf_view(&inner));
    must(pbuf_pack(&w.base, &outer) == 0, "pack");
    base64_encode(BASE64_URL, dynbuf_view(&outer), &text);
    char *const out = mem_strdup(dynbuf_cstr(&text));
    dynbuf_done(&inner);
    dynbuf_done(&packed);
    dynbuf_done(&outer);
    dynbuf_done(&text);
    return out;
}

// ---- HTTP -----------------------------------------------------------------------------------

static int open_connection(const struct signal_bed *b)
{
    union {
        struct sockaddr sa;
        uint8_t bytes[UDP_SOCKADDR_LEN];
    } u;
    socklen_t const n = addr_to_sockaddr(&b->addr, &u.sa, sizeof(u));
    int const fd = socket(b->addr.family == ADDR_V6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    must(fd >= 0 && connect(fd, &u.sa, n) == 0, "connect");
    must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
    return fd;
}

static void send_all(struct signal_bed *b, int fd, struct bytes data)
{
    while (data.n > 0) {
        ssize_t const n = send(fd, data.p, data.n, MSG_NOSIGNAL);
        if (n > 0) {
            data = bytes_of(data.p + n, data.n - (size_t)n);
        } else if (errno != EAGAIN) {
            return; // answered and closed before it read everything
        }
        signal_bed_turn(b);
    }
}

// Head and as many bytes as it announces are there.
static bool is_complete(struct dynbuf *in)
{
    const char *const text = dynbuf_cstr(in);
    const char *const end = text != NULL ? strstr(text, "\r\n\r\n") : NULL;
    const char *const length = end != NULL ? strstr(text, "\r\nContent-Length: ") : NULL;
    if (end == NULL || length == NULL || length > end) {
        return false;
    }
    return in->n >= (size_t)(end + 4 - text) + strtoul(length + 18, NULL, 10);
}

static void parse_answer(const struct dynbuf *in, struct signal_bed_answer *ret)
{
    const char *const text = (const char *)in->p;
    const char *const head = in->n > 0 ? strstr(text, "\r\n\r\n") : NULL;
    if (head == NULL) {
        return;
    }
    size_t const n = (size_t)(head - text) + 4;
    ret->status = atoi(text + 9); // "HTTP/1.1 "
    (void)snprintf(ret->head, sizeof(ret->head), "%.*s", (int)n, text);
    ret->body_len = in->n - n;
    (void)snprintf(ret->body, sizeof(ret->body), "%.*s", (int)MIN(ret->body_len, (size_t)4095),
                   text + n);
}

void signal_bed_http(struct signal_bed *b, const char *method, const char *target,
                     const char *headers, struct bytes body, struct signal_bed_answer *ret)
{
    *ret = (struct signal_bed_answer){0};
    struct dynbuf req, in;
    dynbuf_init(&req, (size_t)32 << 20);
    dynbuf_init(&in, (size_t)1 << 20);
    dynbuf_addf(&req, "%s %s HTTP/1.1\r\nHost: h\r\n%s", method, target,
                headers != NULL ? headers : "");
    if (headers == NULL || strstr(headers, "Connection:") == NULL) {
        dynbuf_add_str(&req, "Connection: close\r\n");
    }
    if (body.n > 0) {
        dynbuf_addf(&req, "Content-Length: %zu\r\n", body.n);
    }
    dynbuf_add_str(&req, "\r\n");
    dynbuf_add(&req, body);
    must(dynbuf_ok(&req), "request");
    int const fd = open_connection(b);
    send_all(b, fd, dynbuf_view(&req));
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    for (;;) {
        uint8_t buf[4096];
        ssize_t const n = recv(fd, buf, sizeof(buf), 0);
        if (n > 0) {
            dynbuf_add(&in, bytes_of(buf, (size_t)n));
            if (is_complete(&in)) {
                break;
            }
            continue;
        }
        bool const over = n == 0 || (n < 0 && errno != EAGAIN);
        if (over || !mono_before(clock_mono(), end)) {
            break;
        }
        signal_bed_turn(b);
    }
    (void)close(fd);
    dynbuf_add(&in, bytes_of("", 1));
    in.n--;
    parse_answer(&in, ret);
    dynbuf_done(&req);
    dynbuf_done(&in);
}

bool signal_bed_header(const struct signal_bed_answer *a, const char *name, char *ret, size_t cap,
                       unsigned *ret_n)
{
    size_t const n = strlen(name);
    unsigned count = 0;
    for (const char *p = strstr(a->head, "\r\n"); p != NULL; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, n) == 0 && p[2 + n] == ':') {
            const char *v = p + 3 + n;
            v += *v == ' ';
            if (count++ == 0 && ret != NULL) {
                (void)snprintf(ret, cap, "%.*s", (int)strcspn(v, "\r"), v);
            }
        }
    }
    if (ret_n != NULL) {
        *ret_n = count;
    }
    return count > 0;
}

// ---- WebSockets -----------------------------------------------------------------------------

static void on_open(void *user, struct ws *w)
{
    ((struct signal_bed_ws *)user)->ws = w;
}

static void on_refused(void *user, unsigned status, struct bytes body, int error)
{
    (void)body;
    (void)error;
    struct signal_bed_ws *const w = user;
    w->refused = status;
    w->ended = true;
}

static void on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct signal_bed_ws *const w = user;
    struct pbuf *p = NULL;
    w->texts += kind == WS_TEXT;
    if (kind == WS_TEXT) {
        (void)snprintf(w->text, sizeof(w->text), "%.*s", (int)data.n, (const char *)data.p);
        must(pbjson_read(&livekit__signal_response__descriptor, data, &PBJSON_LIMITS_DEFAULT, &p) ==
                 0,
             "a SignalResponse in JSON");
    } else {
        must(lk_unpack_signal_response(data, &p) == 0, "a SignalResponse");
    }
    const Livekit__SignalResponse *const rsp = p->msg;
    if (w->messages < ARRAY_LEN(w->cases)) {
        w->cases[w->messages] = (int)rsp->message_case;
    }
    if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG) {
        w->pong = rsp->pong;
    }
    w->pongs += rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG ||
                rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG_RESP;
    if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN) {
        (void)snprintf(w->token, sizeof(w->token), "%s", lk_str(rsp->refresh_token));
    }
    w->messages++;
    pbuf_free(p);
}

static void on_end(void *user, const struct ws_end *end)
{
    struct signal_bed_ws *const w = user;
    w->ended = true;
    w->code = end->code;
}

void signal_bed_connect(struct signal_bed *b, const char *target, const char *headers,
                        struct signal_bed_ws *ret)
{
    *ret = (struct signal_bed_ws){.bed = b};
    struct ws_client_conf const conf = {
        .addr = b->addr,
        .target = target,
        .headers = headers,
        .ws = {.on_message = on_message, .on_end = on_end, .user = ret},
        .on_open = on_open,
        .on_refused = on_refused,
        .user = ret,
    };
    must(ws_client_connect(b->loop, &conf, &ret->client) == 0, "ws_client_connect");
}

void signal_bed_take(struct signal_bed *b, int fd, struct signal_bed_ws *ret)
{
    *ret = (struct signal_bed_ws){.bed = b, .owned = true, .deflate = ws_deflate_new()};
    struct ws_conf const conf = {.client = true,
                                 .deflate = ret->deflate,
                                 .on_message = on_message,
                                 .on_end = on_end,
                                 .user = ret};
    must(ws_new(b->loop, fd, bytes_of(NULL, 0), &conf, &ret->ws) == 0, "ws_new");
}

int signal_bed_upgrade(struct signal_bed *b, const char *target, const char *headers,
                       struct signal_bed_answer *ret)
{
    *ret = (struct signal_bed_answer){0};
    struct dynbuf req;
    dynbuf_init(&req, (size_t)1 << 20);
    dynbuf_addf(
        &req,
        "GET %s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
        target, headers != NULL ? headers : "");
    int const fd = open_connection(b);
    send_all(b, fd, dynbuf_view(&req));
    dynbuf_done(&req);
    size_t n = 0;
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (n < sizeof(ret->head) - 1 && strstr(ret->head, "\r\n\r\n") == NULL &&
           mono_before(clock_mono(), end)) {
        signal_bed_turn(b);
        if (recv(fd, ret->head + n, 1, 0) == 1) {
            n++;
        }
    }
    ret->status = n > 12 ? atoi(ret->head + 9) : 0;
    return fd;
}

void signal_bed_close(int fd)
{
    (void)close(fd);
}

void signal_bed_disconnect(struct signal_bed_ws *w)
{
    if (w->owned) {
        ws_free(w->ws);
        ws_deflate_free(w->deflate);
    }
    w->owned = false;
    ws_client_free(w->client);
    w->client = NULL;
    w->ws = NULL;
}
