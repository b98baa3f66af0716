// SPDX-License-Identifier: Apache-2.0
// LINK: signal
// SUPPORT: http_ask signal_world
// COVERS: auth signal_codec rtc_session room_registry channel_msg signal_server
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/lk/livekit.h"
#include "common/svc/gzip.h"
#include "common/svc/ws_client.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "sfu/signal/signal_server.h"
#include "tests/support/http_ask.h"
#include "tests/support/signal_world.h"

// The signalling thread's half of the SFU, with tests in the place of the workers. Statuses, texts
// and headers are those of livekit-protocol section 1 and 6.1.

#define UPGRADE                                                                                    \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// A join_request parameter around m.
static char *wrap_join(const Livekit__JoinRequest *m, bool gzip)
{
    struct dynbuf plain;
    struct dynbuf z;
    struct dynbuf outer;
    struct dynbuf text;
    dynbuf_init(&plain, 4u << 20);
    dynbuf_init(&z, 4u << 20);
    dynbuf_init(&outer, 4u << 20);
    dynbuf_init(&text, 8u << 20);
    assert_int_equal(pbuf_pack(&m->base, &plain), 0);
    Livekit__WrappedJoinRequest wrapped = LIVEKIT__WRAPPED_JOIN_REQUEST__INIT;
    struct bytes inner = dynbuf_view(&plain);
    if (gzip) {
        assert_int_equal(gzip_deflate(inner, &z), 0);
        inner = dynbuf_view(&z);
        LK_SET(&wrapped, compression, LIVEKIT__WRAPPED_JOIN_REQUEST__COMPRESSION__GZIP);
    }
    LK_SET_BYTES(&wrapped, join_request, inner);
    assert_int_equal(pbuf_pack(&wrapped.base, &outer), 0);
    base64_encode(BASE64_URL, dynbuf_view(&outer), &text);
    dynbuf_done(&plain);
    dynbuf_done(&z);
    dynbuf_done(&outer);
    return dynbuf_take_cstr(&text, NULL);
}

// ---- plain HTTP ---------------------------------------------------------------------------------

static void root_answers_with_cors(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, true);
    assert_int_equal(ask(&w, "GET /", ""), 200);
    assert_string_equal(http_ask_body(&w.out), "OK");
    assert_false(has(&w, "Access-Control-Allow-Origin"));
    assert_int_equal(ask(&w, "HEAD /", "Origin: https://call.example.org\r\n"), 200);
    assert_true(has(&w, "Access-Control-Allow-Origin: https://call.example.org\r\n"));
    assert_true(has(&w, "Vary: Origin\r\n"));
    assert_int_equal(ask(&w, "GET /nothing", "Origin: https://x\r\n"), 404);
    assert_string_equal(http_ask_body(&w.out), "404 page not found\n");
    assert_true(has(&w, "Access-Control-Allow-Origin: https://x\r\n"));
    assert_int_equal(ask(&w, "OPTIONS /twirp/livekit.RoomService/CreateRoom",
                         "Origin: https://x\r\nAccess-Control-Request-Method: POST\r\n"
                         "Access-Control-Request-Headers: authorization,content-type\r\n"),
                     204);
    assert_true(has(&w, "Access-Control-Allow-Methods: POST\r\n"));
    assert_true(has(&w, "Access-Control-Allow-Headers: authorization,content-type\r\n"));
    assert_true(has(&w, "Access-Control-Max-Age: 86400\r\n"));
    close_world(&w);
}

static void connect_without_upgrade_is_an_empty_404(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, true);
    static const char *const lines[] = {"GET /rtc", "GET /rtc/v1", "GET //rtc", "GET /p/rtc?x=y"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        assert_int_equal(ask(&w, lines[i], ""), 404);
        assert_string_equal(http_ask_body(&w.out), "");
    }
    assert_int_equal(ask(&w, "GET /xrtc", ""), 404);
    assert_string_equal(http_ask_body(&w.out), "404 page not found\n");
    close_world(&w);
}

static void tokens_are_checked_as_the_original_does(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, true);
    struct access_claims expired = alice;
    expired.exp = 1000;
    struct access_claims early = alice;
    early.nbf = clock_wall().us / US_PER_S + 1000;
    early.exp = early.nbf + 1000;
    struct access_claims bare = alice;
    bare.has_video = false;
    struct access_claims no_join = alice;
    no_join.video.room_join = false;
    const struct {
        char *token;
        const char *body;
    } cases[] = {
        {mem_strdup(""), "no permissions to access the room"},
        {mem_strdup("not-a-jwt"), "invalid authorization token"},
        {mint(alice, "otherkey", SECRET), "invalid API key: otherkey"},
        {mint(alice, KEY, "another secret of more than 32 bytes"),
         "invalid token, error: token signature is invalid: signature is invalid"},
        {mint(expired, KEY, SECRET),
         "invalid token, error: token has invalid claims: token is expired"},
        {mint(early, KEY, SECRET),
         "invalid token, error: token has invalid claims: token is not valid yet"},
        {mint(bare, KEY, SECRET), "no permissions to access the room"},
        {mint(no_join, KEY, SECRET), "permissions denied"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char line[2048];
        char header[2048];
        (void)snprintf(line, sizeof(line), "GET /rtc/validate?access_token=%s", cases[i].token);
        (void)snprintf(header, sizeof(header), "Authorization: Bearer %s\r\n", cases[i].token);
        assert_int_equal(ask(&w, line, "Origin: https://x\r\n"), 401);
        assert_string_equal(http_ask_body(&w.out), cases[i].body);
        // Exactly one, and not the echo: otherwise JS sees "server unreachable".
        assert_true(has(&w, "Access-Control-Allow-Origin: *\r\n"));
        assert_false(has(&w, "Access-Control-Allow-Origin: https"));
        assert_true(has(&w, "Content-Type: text/plain; charset=utf-8\r\n"));
        (void)snprintf(line, sizeof(line), "GET /rtc?access_token=%s", cases[i].token);
        assert_int_equal(ask(&w, line, UPGRADE), 401);
        assert_string_equal(http_ask_body(&w.out), cases[i].body);
        assert_int_equal(ask(&w, "GET /rtc/validate", header), 401);
        mem_free(cases[i].token);
    }
    assert_int_equal(ask(&w, "GET /rtc/validate", "Authorization: bearer x\r\n"), 401);
    assert_string_equal(http_ask_body(&w.out),
                        "invalid authorization header. Must start with Bearer ");
    assert_null(w.mail);
    close_world(&w);
}

static unsigned validate(struct world *w, const char *path, const struct access_claims *c,
                         const char *query)
{
    char *const token = mint(*c, KEY, SECRET);
    struct dynbuf line;
    dynbuf_init(&line, 4u << 20);
    dynbuf_addf(&line, "GET %s?access_token=%s%s", path, token, query);
    unsigned const status = ask(w, dynbuf_cstr(&line), "");
    dynbuf_done(&line);
    mem_free(token);
    return status;
}

#define REFUSES(status, text)                                                                      \
    do {                                                                                           \
        assert_int_equal(http_ask_status(dynbuf_view(&w.out)), status);                            \
        assert_string_equal(http_ask_body(&w.out), text);                                          \
    } while (0)

static void validate_checks_in_the_order_of_the_original(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, false);
    char longer[258];
    memset(longer, 'x', 257);
    longer[257] = 0;
    struct access_claims c = alice;
    c.video.room_create = true;
    assert_int_equal(validate(&w, "/rtc/validate", &c, ""), 200);
    assert_string_equal(http_ask_body(&w.out), "success");
    assert_int_equal(validate(&w, "/some/prefix/rtc/validate", &c, ""), 200);
    c.identity = longer;
    (void)validate(&w, "/rtc/validate", &c, "");
    REFUSES(400, "participant identity length exceeds limits: max length 256");
    c.identity = "a";
    c.video.room = NULL;
    (void)validate(&w, "/rtc/validate", &c, "");
    REFUSES(400, "no room name");
    c.video.room = longer;
    (void)validate(&w, "/rtc/validate", &c, "");
    REFUSES(400, "room name length exceeds limits: max length 256");
    // The text that makes Element Call say "failed to create call".
    (void)validate(&w, "/rtc/validate", &alice, "");
    REFUSES(404, "requested room does not exist");
    (void)validate(&w, "/rtc/validate", &alice, "&attributes=%21");
    REFUSES(400, "cannot decode attributes");
    c = alice;
    c.video.room_create = true;
    (void)validate(&w, "/rtc/validate", &c, "&attributes=eyJhIjoiYiJ9");
    REFUSES(401, "no permissions to access the room");
    c.video.can_update_own_metadata = TRISTATE_TRUE;
    assert_int_equal(validate(&w, "/rtc/validate", &c, "&attributes=eyJhIjoiYiJ9"), 200);
    close_world(&w);
}

static void v1_parameters_are_checked_step_by_step(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, true);
    (void)validate(&w, "/rtc/v1/validate", &alice, "");
    REFUSES(400, "join_request is required");
    (void)validate(&w, "/rtc/v1/validate", &alice, "&join_request=%2B%2F%2F%2F");
    REFUSES(400, "cannot base64 decode wrapped join request"); // standard alphabet
    (void)validate(&w, "/rtc/v1/validate", &alice, "&join_request=CAE");
    REFUSES(400, "cannot base64 decode wrapped join request"); // no padding
    (void)validate(&w, "/rtc/v1/validate", &alice, "&join_request=____");
    REFUSES(400, "cannot unmarshal wrapped join request");
    // {compression GZIP, join_request "abc"}
    (void)validate(&w, "/rtc/v1/validate", &alice, "&join_request=CAESA2FiYw%3D%3D");
    REFUSES(400, "cannot read decompressed join request");
    // {join_request "\xff\xff\xff"}
    (void)validate(&w, "/rtc/v1/validate", &alice, "&join_request=EgP___8%3D");
    REFUSES(400, "cannot unmarshal join request");

    Livekit__JoinRequest j = LIVEKIT__JOIN_REQUEST__INIT;
    char *const zeros = mem_alloc((1u << 20) + 100);
    memset(zeros, 'a', (1u << 20) + 99);
    j.metadata = zeros;
    char *param = wrap_join(&j, true);
    struct dynbuf query;
    dynbuf_init(&query, 1u << 20);
    dynbuf_addf(&query, "&join_request=%s", param);
    (void)validate(&w, "/rtc/v1/validate", &alice, dynbuf_cstr(&query));
    REFUSES(400, "join request too large");
    mem_free(param);
    mem_free(zeros);

    j.metadata = lk_unconst_str("hello");
    param = wrap_join(&j, true);
    dynbuf_reset(&query);
    dynbuf_addf(&query, "&join_request=%s", param);
    (void)validate(&w, "/rtc/v1/validate", &alice, dynbuf_cstr(&query));
    REFUSES(401, "no permissions to access the room");
    mem_free(param);
    dynbuf_done(&query);
    close_world(&w);
}

// ---- sessions -----------------------------------------------------------------------------------

struct client {
    struct world *w;
    struct ws_client *wsc;
    struct ws *ws;
    unsigned opened;
    unsigned refused;
    unsigned messages;
    unsigned ends;
    struct ws_end end;
    struct pbuf *last; // Livekit__SignalResponse
};

static void on_open(void *user, struct ws *ws)
{
    struct client *const c = user;
    c->ws = ws;
    c->opened++;
}

static void on_refused(void *user, unsigned status, struct bytes body, int error)
{
    (void)status;
    (void)body;
    (void)error;
    struct client *const c = user;
    c->refused++;
}

static void on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct client *const c = user;
    assert_int_equal(kind, WS_BINARY);
    c->messages++;
    pbuf_free(c->last);
    c->last = NULL;
    assert_int_equal(lk_unpack_signal_response(data, &c->last), 0);
}

static void on_end(void *user, const struct ws_end *end)
{
    struct client *const c = user;
    c->ends++;
    c->end = *end;
}

static void connect_to(struct client *c, struct world *w, const char *path,
                       const struct access_claims *claims, const char *query, bool bearer)
{
    *c = (struct client){.w = w};
    char *const token = mint(*claims, KEY, SECRET);
    struct dynbuf target;
    struct dynbuf header;
    dynbuf_init(&target, 1u << 20);
    dynbuf_init(&header, 1u << 16);
    if (bearer) {
        dynbuf_addf(&target, "%s?x=y%s", path, query);
        dynbuf_addf(&header, "Authorization: Bearer %s\r\n", token);
    } else {
        dynbuf_addf(&target, "%s?access_token=%s%s", path, token, query);
    }
    struct ws_client_conf const conf = {
        .addr = signal_server_address(w->server, 0),
        .target = dynbuf_cstr(&target),
        .headers = dynbuf_cstr(&header),
        .ws = {.on_message = on_message, .on_end = on_end, .user = c},
        .on_open = on_open,
        .on_refused = on_refused,
        .user = c,
    };
    assert_int_equal(ws_client_connect(w->loop, &conf, &c->wsc), 0);
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (c->opened + c->refused == 0 && mono_before(clock_mono(), end)) {
        loop_run_once(w->loop, 10);
    }
    mem_free(token);
    dynbuf_done(&target);
    dynbuf_done(&header);
}

static void client_done(struct client *c)
{
    ws_client_free(c->wsc);
    pbuf_free(c->last);
}

static void wait_for(struct world *w, const unsigned *count, unsigned want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (*count < want && mono_before(clock_mono(), end)) {
        loop_run_once(w->loop, 10);
    }
    assert_int_equal(*count, want);
}

static const Livekit__SignalResponse *last_of(const struct client *c)
{
    return c->last->msg;
}

// What a worker says to a session.
static void worker_sends(struct world *w, handle_t session, const Livekit__SignalResponse *rsp)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_SEND, session);
    assert_int_equal(pbuf_pack_shared(&rsp->base, 1u << 20, &m->u.send.data), 0);
    signal_server_deliver(w->server, m);
}

static void worker_sends_pong(struct world *w, handle_t session, int64_t n)
{
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG;
    rsp.pong = n;
    worker_sends(w, session, &rsp);
}

static void v0_parameters_become_a_join_request(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    open_world(&w, true);
    struct access_claims claims = alice;
    claims.video.can_update_own_metadata = TRISTATE_TRUE;
    connect_to(&c, &w, "/rtc", &claims,
               "&sdk=js&version=2.5.10&protocol=15&os=Linux&browser=Chrome&adaptive_stream=1"
               "&client_protocol=2&capabilities=CAP_PACKET_TRAILER&attributes=eyJhIjoiYiJ9&&q",
               false);
    assert_int_equal(c.opened, 1);
    struct channel_msg *m = expect_mail(&w, CHANNEL_JOIN);
    assert_string_equal(m->u.join.room_name, "lobby");
    assert_false(m->u.join.v1);
    assert_string_equal(m->u.join.token->claims.identity, "alice");
    assert_string_equal(m->u.join.client_address, "127.0.0.1");
    const Livekit__JoinRequest *const j = m->u.join.request->msg;
    assert_true(j->connection_settings->auto_subscribe); // v0's default
    assert_true(j->connection_settings->adaptive_stream);
    assert_false(j->connection_settings->has_subscriber_allow_pause);
    assert_false(j->reconnect);
    assert_int_equal(j->client_info->sdk, LIVEKIT__CLIENT_INFO__SDK__JS);
    assert_int_equal(j->client_info->protocol, 15);
    assert_int_equal(j->client_info->client_protocol, 2);
    assert_string_equal(j->client_info->version, "2.5.10");
    assert_string_equal(j->client_info->browser, "Chrome");
    assert_int_equal(j->client_info->n_capabilities, 1);
    assert_int_equal(j->n_participant_attributes, 1);
    assert_string_equal(j->participant_attributes[0]->key, "a");
    channel_msg_free(m);
    client_done(&c);

    connect_to(&c, &w, "/prefix/rtc", &claims,
               "&auto_subscribe=0&reconnect=1&sid=PA_x&reconnect_reason=2&attributes=%21", true);
    assert_int_equal(c.opened, 1); // broken attributes do not matter on the upgrade
    struct channel_msg *closed = expect_mail(&w, CHANNEL_SESSION_CLOSED);
    channel_msg_free(closed);
    m = expect_mail(&w, CHANNEL_JOIN);
    const Livekit__JoinRequest *const k = m->u.join.request->msg;
    assert_false(k->connection_settings->auto_subscribe);
    assert_true(k->reconnect);
    assert_string_equal(k->participant_sid, "PA_x");
    assert_int_equal(k->reconnect_reason, 2);
    channel_msg_free(m);
    client_done(&c);
    close_world(&w);
}

static void v1_join_request_arrives_whole(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    open_world(&w, true);
    static char sdp[60000];
    for (size_t i = 0; i < sizeof(sdp) - 1; i++) {
        sdp[i] = (char)('a' + i * 7 % 26);
    }
    Livekit__SessionDescription offer = LIVEKIT__SESSION_DESCRIPTION__INIT;
    offer.type = lk_unconst_str("offer");
    offer.sdp = sdp;
    LK_SET(&offer, id, 1);
    Livekit__ConnectionSettings settings = LIVEKIT__CONNECTION_SETTINGS__INIT;
    Livekit__JoinRequest j = LIVEKIT__JOIN_REQUEST__INIT;
    j.publisher_offer = &offer;
    j.connection_settings = &settings;
    for (int gzip = 0; gzip < 2; gzip++) {
        char *const param = wrap_join(&j, gzip != 0);
        struct dynbuf query;
        dynbuf_init(&query, 1u << 20);
        dynbuf_addf(&query, "&join_request=%s", param);
        // The Go SDK uses /rtc, and an uncompressed offer of 60 kB is a request line of 80 kB.
        connect_to(&c, &w, gzip != 0 ? "/rtc" : "/rtc/v1", &alice, dynbuf_cstr(&query), gzip != 0);
        assert_int_equal(c.opened, 1);
        struct channel_msg *const m = expect_mail(&w, CHANNEL_JOIN);
        assert_true(m->u.join.v1);
        const Livekit__JoinRequest *const got = m->u.join.request->msg;
        assert_string_equal(got->publisher_offer->sdp, sdp);
        assert_int_equal(got->publisher_offer->id, 1);
        assert_false(got->connection_settings->auto_subscribe); // no default in v1
        channel_msg_free(m);
        client_done(&c);
        channel_msg_free(expect_mail(&w, CHANNEL_SESSION_CLOSED));
        mem_free(param);
        dynbuf_done(&query);
    }
    close_world(&w);
}

static void session_carries_messages_both_ways(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    open_world(&w, true);
    connect_to(&c, &w, "/rtc", &alice, "", true);
    struct channel_msg *m = expect_mail(&w, CHANNEL_JOIN);
    handle_t const session = m->handle;
    uint32_t const worker = m->worker;
    channel_msg_free(m);
    worker_sends_pong(&w, session, 42);
    wait_for(&w, &c.messages, 2); // and a fresh token right behind the first one
    assert_int_equal(last_of(&c)->message_case, LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN);
    struct access_token *t = NULL;
    struct access_token_refusal why;
    assert_int_equal(
        access_token_verify(w.keys, clock_wall(), bytes_str(last_of(&c)->refresh_token), &t, &why),
        0);
    assert_string_equal(t->claims.identity, "alice");
    assert_string_equal(t->claims.name, "Alice");
    assert_true(t->claims.video.room_join);
    // Its end is that of the token the client came with.
    assert_in_range(t->claims.exp, clock_wall().us / US_PER_S + 3500,
                    clock_wall().us / US_PER_S + 3700);

    // New claims give a new token.
    m = channel_msg_new(CHANNEL_CLAIMS, session);
    m->u.claims.token = STEAL(t);
    signal_server_deliver(w.server, m);
    wait_for(&w, &c.messages, 3);

    Livekit__SignalRequest req = LIVEKIT__SIGNAL_REQUEST__INIT;
    req.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    req.ping = 7;
    struct dynbuf bin;
    dynbuf_init(&bin, 1000);
    assert_int_equal(pbuf_pack(&req.base, &bin), 0);
    assert_int_equal(ws_send(c.ws, WS_BINARY, dynbuf_view(&bin)), 0);
    dynbuf_done(&bin);
    m = expect_mail(&w, CHANNEL_REQUEST);
    assert_int_equal(m->worker, worker);
    assert_true(handle_eq(m->handle, session));
    assert_int_equal(((const Livekit__SignalRequest *)m->u.request->msg)->ping, 7);
    channel_msg_free(m);

    ws_close(c.ws, 1001);
    wait_for(&w, &c.ends, 1);
    assert_int_equal(c.end.code, 1001); // echoed
    m = expect_mail(&w, CHANNEL_SESSION_CLOSED);
    assert_true(handle_eq(m->handle, session));
    channel_msg_free(m);
    assert_int_equal(signal_server_sessions(w.server), 0);
    worker_sends_pong(&w, session, 1); // too late: ignored
    client_done(&c);
    close_world(&w);
}

static void worker_closes_a_session_after_what_it_said(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    open_world(&w, true);
    connect_to(&c, &w, "/rtc", &alice, "", true);
    struct channel_msg *m = expect_mail(&w, CHANNEL_JOIN);
    handle_t const session = m->handle;
    channel_msg_free(m);
    worker_sends_pong(&w, session, 42);
    m = channel_msg_new(CHANNEL_CLOSE, session);
    m->u.close.code = 1000;
    signal_server_deliver(w.server, m);
    wait_for(&w, &c.ends, 1);
    assert_int_equal(c.messages, 2);
    assert_int_equal(c.end.code, 1000);
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (signal_server_sessions(w.server) > 0 && mono_before(clock_mono(), end)) {
        loop_run_once(w.loop, 10);
    }
    assert_int_equal(signal_server_sessions(w.server), 0);
    assert_null(w.mail); // the worker knows already
    client_done(&c);
    close_world(&w);
}

static void undecodable_messages_close_the_socket(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, true);
    for (int text = 0; text < 2; text++) {
        struct client c;
        connect_to(&c, &w, "/rtc", &alice, "", true);
        channel_msg_free(expect_mail(&w, CHANNEL_JOIN));
        assert_int_equal(ws_send(c.ws, text ? WS_TEXT : WS_BINARY, bytes_str(text ? "{}" : "\x0f")),
                         0);
        wait_for(&w, &c.ends, 1);
        channel_msg_free(expect_mail(&w, CHANNEL_SESSION_CLOSED));
        client_done(&c);
    }
    close_world(&w);
}

static void server_may_end_with_sessions_in_every_state(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    struct client d = {0};
    open_world(&w, true);
    connect_to(&c, &w, "/rtc", &alice, "", true);
    channel_msg_free(expect_mail(&w, CHANNEL_JOIN));
    // Another one that is still on its way through HTTP: its request is sent, nothing has run yet.
    char *const token = mint(alice, KEY, SECRET);
    char target[2048];
    (void)snprintf(target, sizeof(target), "/rtc?access_token=%s", token);
    mem_free(token);
    struct ws_client_conf const conf = {
        .addr = signal_server_address(w.server, 0),
        .target = target,
        .ws = {.on_message = on_message, .on_end = on_end, .user = &d},
        .on_open = on_open,
        .on_refused = on_refused,
        .user = &d,
    };
    assert_int_equal(ws_client_connect(w.loop, &conf, &d.wsc), 0);
    loop_run_once(w.loop, 10);
    signal_server_quiesce(w.server);
    signal_server_free(w.server);
    w.server = NULL;
    client_done(&c);
    client_done(&d);
    close_world(&w);
}

// ---- which worker has which room ----------------------------------------------------------------

static void room_that_ends_under_a_join_stays_on_its_worker(void **state)
{
    (void)state;
    struct world w;
    struct client c;
    open_world(&w, true);
    tell_room(&w, 1, "lobby", 5); // worker 1 is busy: a new room would go to worker 0
    connect_to(&c, &w, "/rtc", &alice, "", true);
    struct channel_msg *m = expect_mail(&w, CHANNEL_JOIN);
    assert_int_equal(m->worker, 1);
    channel_msg_free(m);
    tell_ended(&w, 1, "lobby"); // said before the worker saw the join
    tell_room(&w, 1, "hall", 9);
    struct client d;
    connect_to(&d, &w, "/rtc", &alice, "", true);
    m = expect_mail(&w, CHANNEL_JOIN);
    assert_int_equal(m->worker, 1);
    channel_msg_free(m);
    client_done(&c);
    client_done(&d);
    channel_msg_free(expect_mail(&w, CHANNEL_SESSION_CLOSED));
    channel_msg_free(expect_mail(&w, CHANNEL_SESSION_CLOSED));
    // Nobody holds it and no worker has it: the next one is placed anew.
    connect_to(&c, &w, "/rtc", &alice, "", true);
    m = expect_mail(&w, CHANNEL_JOIN);
    assert_int_equal(m->worker, 0);
    channel_msg_free(m);
    client_done(&c);
    close_world(&w);
}

static void rooms_go_to_the_least_loaded_worker(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, true);
    struct client c[6];
    unsigned count[2] = {0};
    for (int i = 0; i < 6; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "room-%d", i);
        struct access_claims claims = alice;
        claims.video.room = name;
        connect_to(&c[i], &w, "/rtc", &claims, "", true);
        struct channel_msg *const m = expect_mail(&w, CHANNEL_JOIN);
        count[m->worker]++;
        channel_msg_free(m);
    }
    assert_int_equal(count[0], 3); // also before any worker has said how full it is
    assert_int_equal(count[1], 3);
    for (int i = 0; i < 6; i++) {
        client_done(&c[i]);
    }
    close_world(&w);
}

int main(void)
{
    log_setup(&(struct log_settings){.level = LOG_LEVEL_ERROR});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_answers_with_cors),
        cmocka_unit_test(connect_without_upgrade_is_an_empty_404),
        cmocka_unit_test(tokens_are_checked_as_the_original_does),
        cmocka_unit_test(validate_checks_in_the_order_of_the_original),
        cmocka_unit_test(v1_parameters_are_checked_step_by_step),
        cmocka_unit_test(v0_parameters_become_a_join_request),
        cmocka_unit_test(v1_join_request_arrives_whole),
        cmocka_unit_test(session_carries_messages_both_ways),
        cmocka_unit_test(worker_closes_a_session_after_what_it_said),
        cmocka_unit_test(undecodable_messages_close_the_socket),
        cmocka_unit_test(server_may_end_with_sessions_in_every_state),
        cmocka_unit_test(room_that_ends_under_a_join_stays_on_its_worker),
        cmocka_unit_test(rooms_go_to_the_least_loaded_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
