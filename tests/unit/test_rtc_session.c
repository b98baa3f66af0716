// SPDX-License-Identifier: Apache-2.0
// LINK: signal
// SUPPORT: signal_bed
// COVERS: rtc_session signal_frame response_forms signal_codec channel_msg
//
// WebSockets of clients (livekit-protocol 1.7, 2.4): what becomes of their frames, how sessions
// end, many at once, and peers that do not read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "sfu/base/sfu_limits.h"
#include "tests/support/signal_bed.h"

#define UPGRADE                                                                                    \
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static struct signal_bed bed;
static char target[65536];
static struct signal_bed_ws ws;

static int setup(void **state)
{
    (void)state;
    signal_bed_init(&bed, true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    signal_bed_disconnect(&ws);
    ws = (struct signal_bed_ws){0};
    signal_bed_done(&bed);
    return 0;
}

static const char *with_token_of(const struct access_claims *claims, const char *path,
                                 const char *rest)
{
    char *const token = signal_bed_token(&bed, claims);
    (void)snprintf(target, sizeof(target), "%s?access_token=%s%s", path, token, rest);
    mem_free(token);
    return target;
}

static const char *with_token(const char *path, const char *rest)
{
    return with_token_of(NULL, path, rest);
}

static bool told_or_over(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || w->messages >= 2;
}

static bool is_over(void *arg)
{
    return ((const struct signal_bed_ws *)arg)->ended;
}

static bool nobody_left(void *arg)
{
    (void)arg;
    return signal_server_sessions(bed.server) == 0;
}

static void open_session(void)
{
    signal_bed_connect(&bed, with_token("/rtc", ""), NULL, &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    assert_false(ws.ended);
}

static void send_request(const Livekit__SignalRequest *r)
{
    struct dynbuf b;
    dynbuf_init(&b, (size_t)4 << 20);
    assert_int_equal(pbuf_pack(&r->base, &b), 0);
    assert_int_equal(ws_send(ws.ws, WS_BINARY, dynbuf_view(&b)), 0);
    dynbuf_done(&b);
}

// ---- joins ----------------------------------------------------------------------------------

static void the_first_answer_is_followed_by_a_token(void **state)
{
    (void)state;
    open_session();
    assert_int_equal(ws.cases[0], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN);
    assert_int_equal(ws.cases[1], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN);
    assert_int_equal(bed.seen.joins, 1);
    assert_string_equal(bed.seen.room, "r");
    assert_string_equal(bed.seen.identity, "alice");
    assert_string_equal(bed.seen.address, "127.0.0.1");
    assert_false(bed.seen.v1);
    assert_false(bed.seen.reconnect);
    assert_true(bed.seen.auto_subscribe); // v0's default
    assert_int_equal(signal_server_sessions(bed.server), 1);
}

static bool told_thrice(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || w->messages >= 3;
}

static void another_key_means_another_token_at_once(void **state)
{
    (void)state;
    static const char secret[] = "another secret of more than 32 characters";
    char *const old = signal_bed_token(&bed, NULL);
    open_session();
    CLEANUP(api_keys_free) struct api_keys *next = api_keys_new();
    assert_int_equal(api_keys_add(next, bytes_str("next"), bytes_str(secret)), 0);
    api_keys_replace(bed.keys, next, loop_wall(bed.loop), 0);
    signal_server_renew_tokens(bed.server);
    assert_true(signal_bed_until(&bed, told_thrice, &ws));
    assert_false(ws.ended);
    assert_int_equal(ws.cases[2], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN);
    // The call goes on; a token of the key that is gone does not join.
    char path[2048];
    struct signal_bed_ws late;
    (void)snprintf(path, sizeof(path), "/rtc?access_token=%s", old);
    mem_free(old);
    signal_bed_connect(&bed, path, NULL, &late);
    assert_true(signal_bed_until(&bed, is_over, &late));
    assert_int_equal(late.refused, 401);
    assert_false(ws.ended);
    signal_bed_disconnect(&late);
}

static const Livekit__JoinRequest *join_seen(void)
{
    return bed.join->u.join.request->msg;
}

static void v0_parameters_arrive(void **state)
{
    (void)state;
    signal_bed_connect(&bed,
                       with_token("/sfu/rtc", "&auto_subscribe=0&reconnect=1&sid=PA_x&sdk=js&"
                                              "protocol=17&adaptive_stream=1&reconnect_reason=2&"
                                              "attributes=%21"), // broken: no matter here
                       "X-Forwarded-For: 192.0.2.7\r\n", &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    assert_false(bed.seen.auto_subscribe);
    assert_true(bed.seen.reconnect);
    assert_string_equal(bed.seen.address, "192.0.2.7");
    assert_string_equal(join_seen()->participant_sid, "PA_x");
    assert_int_equal(join_seen()->reconnect_reason, 2);
    assert_int_equal(join_seen()->n_participant_attributes, 0);
}

static void v0_parameters_become_a_join_request(void **state)
{
    (void)state;
    struct access_claims claims = {
        .identity = "alice",
        .has_video = true,
        .video = {.room = "r", .room_join = true, .can_update_own_metadata = TRISTATE_TRUE}};
    char *const token = signal_bed_token(&bed, &claims);
    (void)snprintf(target, sizeof(target),
                   "/rtc?access_token=%s&sdk=js&version=2.5.10&protocol=15&os=Linux&browser=Chrome"
                   "&adaptive_stream=1&client_protocol=2&capabilities=CAP_PACKET_TRAILER"
                   "&attributes=eyJhIjoiYiJ9&&q",
                   token);
    mem_free(token);
    signal_bed_connect(&bed, target, NULL, &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    const Livekit__JoinRequest *const j = join_seen();
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
}

// A second connection that only publishes (livekit-protocol 1.5).
static void publish_makes_a_participant_of_its_own(void **state)
{
    (void)state;
    signal_bed_connect(&bed, with_token("/rtc", "&publish=screen"), NULL, &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    assert_string_equal(bed.seen.identity, "alice#screen");
    const struct access_claims *const claims = &bed.join->u.join.token->claims;
    assert_false(video_grant_may_subscribe(&claims->video));
    assert_true(video_grant_may_publish(&claims->video));
    struct access_token *t = NULL;
    struct access_token_refusal why;
    assert_int_equal(
        access_token_verify(bed.keys, loop_wall(bed.loop), bytes_str(ws.token), &t, &why), 0);
    assert_string_equal(t->claims.identity, "alice#screen");
    access_token_free(t);
    // Too long together.
    char rest[300] = "&publish=";
    struct signal_bed_answer a;
    memset(rest + 9, 'x', 260);
    signal_bed_http(&bed, "GET", with_token("/rtc/validate", rest), NULL, bytes_of(NULL, 0), &a);
    assert_int_equal(a.status, 400);
}

static void v1_requests_arrive_with_their_offer(void **state)
{
    (void)state;
    Livekit__JoinRequest j = LIVEKIT__JOIN_REQUEST__INIT;
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    char *const sdp = mem_alloc(20001); // Chromium's has 18 KB
    for (size_t i = 0; i < 20000; i++) {
        sdp[i] = (char)('a' + i * i % 23);
    }
    d.sdp = sdp;
    j.publisher_offer = &d;
    static const char *const paths[] = {"/rtc/v1", "/rtc", "/prefix/rtc/v1"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(paths); i++) {
        char *const request = signal_bed_join_request(&j, i % 2 == 0);
        char *const rest = mem_alloc(strlen(request) + 32);
        (void)snprintf(rest, strlen(request) + 32, "&join_request=%s", request);
        signal_bed_connect(&bed, with_token(paths[i / 2], rest), NULL, &ws);
        assert_true(signal_bed_until(&bed, told_or_over, &ws));
        assert_false(ws.ended);
        assert_true(bed.seen.v1);
        assert_false(bed.seen.auto_subscribe); // v1 has no default
        assert_int_equal(bed.seen.offer_bytes, 20000);
        signal_bed_disconnect(&ws);
        mem_free(rest);
        mem_free(request);
    }
    mem_free(sdp);
}

static void a_refused_session_gets_its_reason(void **state)
{
    (void)state;
    bed.refuse = true;
    signal_bed_connect(&bed, with_token("/rtc", ""), NULL, &ws);
    assert_true(signal_bed_until(&bed, is_over, &ws));
    assert_int_equal(ws.refused, 0);
    assert_int_equal(ws.cases[0], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_LEAVE);
    assert_int_equal(ws.code, 1000);
    assert_true(signal_bed_until(&bed, nobody_left, NULL));
    assert_int_equal(bed.seen.closed, 0); // the worker ended it
}

// A room may refuse before there is a socket: the connect request has the status.
static void a_room_may_refuse_by_http(void **state)
{
    (void)state;
    static const uint16_t statuses[] = {0, 500, 503, 404};
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct signal_bed_answer a;
        bed.refuse_http = true;
        bed.status = statuses[i];
        signal_bed_http(&bed, "GET", with_token("/rtc", ""), UPGRADE, bytes_of(NULL, 0), &a);
        assert_int_equal(a.status, statuses[i] != 0 ? statuses[i] : 500);
        assert_string_equal(a.body, statuses[i] != 0 ? "as ordered" : "connection closed by media");
        signal_bed_http(&bed, "GET", with_token("/rtc/validate", ""), NULL, bytes_of(NULL, 0), &a);
        assert_int_equal(a.status, 200);
        assert_int_equal(signal_server_sessions(bed.server), 0);
        assert_int_equal(bed.seen.closed, 0); // the worker ended it
    }
    bed.refuse_http = false;
    open_session();
}

static void a_silent_worker_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    struct signal_bed_answer a;
    bed.silent = true;
    signal_bed_http(&bed, "GET", with_token("/rtc", ""), UPGRADE, bytes_of(NULL, 0), &a);
    assert_int_equal(a.status, 503);
    assert_string_equal(a.body, "no response from servers");
    assert_int_equal(bed.seen.joins, 1);
    assert_int_equal(bed.seen.closed, 1); // it hears that nobody waits any more
    assert_int_equal(signal_server_sessions(bed.server), 0);
}

static bool greeted(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || w->messages >= 42;
}

static void what_comes_before_the_socket_is_kept_in_order(void **state)
{
    (void)state;
    bed.greetings = 40;
    signal_bed_connect(&bed, with_token("/rtc", ""), NULL, &ws);
    assert_true(signal_bed_until(&bed, greeted, &ws));
    assert_false(ws.ended);
    assert_int_equal(ws.cases[0], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN);
    assert_int_equal(ws.cases[1], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN);
    for (size_t i = 2; i < 32; i++) {
        assert_int_equal(ws.cases[i], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG);
    }
    assert_int_equal(ws.pong, 39);
}

// More than is kept: nothing is left out silently, the client comes back for it.
static void too_much_before_the_socket_closes_it(void **state)
{
    (void)state;
    bed.greetings = 1000;
    signal_bed_connect(&bed, with_token("/rtc", ""), NULL, &ws);
    assert_true(signal_bed_until(&bed, is_over, &ws));
    assert_int_equal(ws.refused, 0);
    assert_int_equal(ws.code, 1000);
    assert_int_equal(ws.cases[0], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN);
    assert_true(signal_bed_until(&bed, nobody_left, NULL));
    assert_int_equal(bed.seen.closed, 1);
}

// Gone before its room answered: noticed when it does, and the worker hears of it.
static void a_client_may_go_before_the_answer(void **state)
{
    (void)state;
    bed.silent = true;
    struct signal_bed_ws gone;
    signal_bed_connect(&bed, with_token("/rtc", ""), NULL, &gone);
    while (bed.seen.joins == 0) {
        signal_bed_turn(&bed);
    }
    signal_bed_disconnect(&gone);
    struct channel_msg *const m = channel_msg_new(CHANNEL_SEND, bed.seen.session);
    m->u.send.data = shared_buf_copy(bytes_of("\x92\x01\x00", 3));
    signal_server_deliver(bed.server, m);
    assert_true(signal_bed_until(&bed, nobody_left, NULL));
    assert_int_equal(bed.seen.closed, 1);
}

// What the User-Agent says is for those that say nothing themselves.
static void the_user_agent_fills_what_is_empty(void **state)
{
    (void)state;
    static const char firefox[] =
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0\r\n";
    signal_bed_connect(&bed, with_token("/rtc", "&sdk=js"), firefox, &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    assert_string_equal(join_seen()->client_info->browser, "Firefox");
    assert_string_equal(join_seen()->client_info->browser_version, "153.0");
    assert_string_equal(join_seen()->client_info->os, "Linux");
    signal_bed_disconnect(&ws);
    signal_bed_connect(&bed, with_token("/rtc", "&sdk=js&browser=Chrome&os=x"), firefox, &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    assert_string_equal(join_seen()->client_info->browser, "Chrome");
    assert_null(join_seen()->client_info->browser_version);
    signal_bed_disconnect(&ws);
    signal_bed_connect(&bed, with_token("/rtc", "&sdk=go"), firefox, &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    assert_null(join_seen()->client_info->browser);
}

static void the_server_may_end_while_a_room_is_asked(void **state)
{
    (void)state;
    bed.silent = true;
    signal_bed_connect(&bed, with_token("/rtc", ""), NULL, &ws);
    while (bed.seen.joins == 0) {
        signal_bed_turn(&bed);
    }
}

static void one_room_has_one_worker(void **state)
{
    (void)state;
    struct signal_bed_ws w[12];
    uint32_t worker = 0;
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        signal_bed_connect(&bed, with_token("/rtc", ""), NULL, &w[i]);
        assert_true(signal_bed_until(&bed, told_or_over, &w[i]));
        worker = i == 0 ? bed.seen.worker : worker;
        assert_int_equal(bed.seen.worker, worker);
        if (i == 4) { // it ends and is made again meanwhile
            signal_bed_room(&bed, worker, "r", 3);
            signal_bed_room_ended(&bed, worker, "r");
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        signal_bed_disconnect(&w[i]);
    }
}

// ---- frames ---------------------------------------------------------------------------------

static bool answered(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || w->messages >= 3;
}

static bool answered_twice(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || w->messages >= 4;
}

static void send_mute(const char *sid)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__MuteTrackRequest m = LIVEKIT__MUTE_TRACK_REQUEST__INIT;
    LK_SET_STR(&m, sid, sid);
    LK_SET(&m, muted, true);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_MUTE;
    r.mute = &m;
    send_request(&r);
}

static void requests_go_to_the_worker_and_answers_come_back(void **state)
{
    (void)state;
    open_session();
    send_mute("TR_a");
    assert_true(signal_bed_until(&bed, answered, &ws));
    assert_int_equal(ws.cases[2], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MUTE);
    assert_int_equal(bed.seen.requests, 1);
}

static void what_cannot_be_decoded_closes(void **state)
{
    (void)state;
    static const struct {
        enum ws_kind kind;
        const char *data;
        size_t n;
    } bad[] = {
        {WS_BINARY, "\xff\xff\xff", 3},
        {WS_BINARY,
         "\x0a\x05"
         "a",
         3},
        {WS_TEXT, "{\"ping\":true}", 13},
        {WS_TEXT, "[]", 2},
        {WS_TEXT, "{\"ping\":1,\"pingReq\":{}}", 24}, // two members of the oneof
        {WS_TEXT, "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        unsigned const closed = bed.seen.closed;
        open_session();
        assert_int_equal(ws_send(ws.ws, bad[i].kind, bytes_of(bad[i].data, bad[i].n)), 0);
        assert_true(signal_bed_until(&bed, is_over, &ws));
        assert_int_equal(ws.code, 1000);
        assert_true(signal_bed_until(&bed, nobody_left, NULL));
        assert_int_equal(bed.seen.closed, closed + 1); // the worker hears of it
        assert_int_equal(bed.seen.requests, 0);
        signal_bed_disconnect(&ws);
    }
}

// The frames of 10-odd-requests: a text request is answered in text until a binary one comes.
static void text_is_answered_in_text_until_binary_comes(void **state)
{
    (void)state;
    static const char mute[] = "{\"mute\":{\"sid\":\"TR_a\",\"muted\":true}}";
    open_session();
    assert_int_equal(ws.texts, 0); // nothing was heard of the client yet
    assert_int_equal(ws_send(ws.ws, WS_TEXT, bytes_str(mute)), 0);
    assert_true(signal_bed_until(&bed, answered, &ws));
    assert_int_equal(ws.texts, 1);
    assert_string_equal(ws.text, mute);
    assert_int_equal(bed.seen.request_case, LIVEKIT__SIGNAL_REQUEST__MESSAGE_MUTE);
    // Both spellings of names, and members of a newer protocol.
    static const char *const more[] = {"{\"track_setting\":{\"width\":\"5\"}}",
                                       "{\"trackSetting\":{\"width\":5,\"new\":[{}]}}",
                                       "{\"newer\":{}}", "{}"};
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        assert_int_equal(ws_send(ws.ws, WS_TEXT, bytes_str(more[i])), 0);
    }
    send_mute("TR_a");
    assert_true(signal_bed_until(&bed, answered_twice, &ws));
    assert_false(ws.ended);
    assert_int_equal(ws.texts, 1); // binary again
    assert_int_equal(bed.seen.requests, 2 + ARRAY_LEN(more));
}

static bool tokened_in_text(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || w->texts >= 2;
}

static void what_we_say_of_ourselves_is_text_too(void **state)
{
    (void)state;
    open_session();
    assert_int_equal(ws_send(ws.ws, WS_TEXT, bytes_str("{\"ping\":\"1\"}")), 0);
    assert_true(signal_bed_until(&bed, answered, &ws));
    signal_server_renew_tokens(bed.server);
    assert_true(signal_bed_until(&bed, tokened_in_text, &ws));
    assert_non_null(strstr(ws.text, "{\"refreshToken\":\"ey"));
}

// In JSON some characters are six: what would be longer than that comes in binary rather than not at
// all.
static void what_has_no_text_comes_in_binary(void **state)
{
    (void)state;
    open_session();
    assert_int_equal(ws_send(ws.ws, WS_TEXT, bytes_str("{\"ping\":\"1\"}")), 0);
    assert_true(signal_bed_until(&bed, answered, &ws));
    struct channel_msg *const m = channel_msg_new(CHANNEL_SEND, bed.seen.session);
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN;
    rsp.refresh_token = mem_alloc((1u << 20) + 1);
    memset(rsp.refresh_token, 1, 1u << 20);
    rsp.refresh_token[1u << 20] = 0;
    assert_int_equal(pbuf_pack_shared(&rsp.base, (size_t)2 << 20, &m->u.send.data), 0);
    mem_free(rsp.refresh_token);
    signal_server_deliver(bed.server, m);
    assert_true(signal_bed_until(&bed, answered_twice, &ws));
    assert_int_equal(ws.texts, 1);
    assert_int_equal(ws.cases[3], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN);
}

// As browsers do: they offer compression, and both sides use it.
static void compression_is_taken_where_it_is_offered(void **state)
{
    (void)state;
    struct signal_bed_answer a;
    char answer[128];
    signal_bed_close(signal_bed_upgrade(&bed, with_token("/rtc", ""), NULL, &a));
    assert_false(signal_bed_header(&a, "Sec-WebSocket-Extensions", NULL, 0, NULL));
    int const fd = signal_bed_upgrade(
        &bed, with_token("/rtc", ""),
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n", &a);
    assert_int_equal(a.status, 101);
    assert_true(signal_bed_header(&a, "Sec-WebSocket-Extensions", answer, sizeof(answer), NULL));
    assert_string_equal(answer, "permessage-deflate; server_no_context_takeover; "
                                "client_no_context_takeover");
    signal_bed_take(&bed, fd, &ws);
    assert_true(signal_bed_until(&bed, told_or_over, &ws));
    assert_int_equal(ws.cases[1],
                     LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN); // long: compressed
    struct dynbuf packed;
    dynbuf_init(&packed, 4096);
    static const char mute[] = "{\"mute\":{\"sid\":\"TR_a\",\"muted\":true}}";
    assert_int_equal(ws_deflate_pack(ws.deflate, bytes_str(mute), &packed), 0);
    assert_int_equal(ws_send_packed(ws.ws, WS_TEXT, dynbuf_view(&packed)), 0);
    assert_true(signal_bed_until(&bed, answered, &ws));
    assert_int_equal(ws.texts, 1);
    assert_string_equal(ws.text, mute);
    signal_server_renew_tokens(bed.server);
    assert_true(signal_bed_until(&bed, tokened_in_text, &ws)); // compressed text
    dynbuf_done(&packed);
}

static void an_empty_message_is_a_request_without_member(void **state)
{
    (void)state;
    open_session();
    assert_int_equal(ws_send(ws.ws, WS_BINARY, bytes_of("", 0)), 0);
    // An unknown member of a newer protocol is skipped as well.
    assert_int_equal(ws_send(ws.ws, WS_BINARY, bytes_of("\x92\x3f\x01x", 4)), 0);
    send_mute("TR_a");
    assert_true(signal_bed_until(&bed, answered, &ws));
    assert_false(ws.ended);
    assert_int_equal(bed.seen.requests, 3);
}

static void messages_have_a_limit(void **state)
{
    (void)state;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_OFFER;
    r.offer = &d;
    char *const text = mem_alloc((size_t)2 << 20);
    memset(text, 'x', ((size_t)2 << 20) - 1);
    d.sdp = text;
    open_session();
    send_request(&r); // a little over 2 MiB with what is around it
    assert_true(signal_bed_until(&bed, is_over, &ws));
    assert_int_equal(ws.code, 1009);
    assert_int_equal(bed.seen.requests, 0);
    signal_bed_disconnect(&ws);
    text[((size_t)2 << 20) - 100] = 0; // a little under
    open_session();
    send_request(&r);
    send_mute("TR_a");
    assert_true(signal_bed_until(&bed, answered, &ws));
    assert_int_equal(bed.seen.requests, 2);
    mem_free(text);
}

// ---- ends -----------------------------------------------------------------------------------

static bool closed_told(void *arg)
{
    (void)arg;
    return bed.seen.closed > 0;
}

static void the_worker_hears_of_a_lost_socket(void **state)
{
    (void)state;
    open_session();
    signal_bed_disconnect(&ws); // TCP ends without a close frame
    assert_true(signal_bed_until(&bed, closed_told, NULL));
    assert_int_equal(signal_server_sessions(bed.server), 0);
}

static void a_close_frame_is_echoed(void **state)
{
    (void)state;
    static const uint16_t codes[] = {1000, 1001};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        open_session();
        ws_close(ws.ws, codes[i]);
        assert_true(signal_bed_until(&bed, is_over, &ws));
        assert_int_equal(ws.code, codes[i]);
        assert_true(signal_bed_until(&bed, nobody_left, NULL));
        assert_int_equal(bed.seen.closed, i + 1); // the worker hears of it, and of no leave
        assert_int_equal(bed.seen.requests, 0);
        signal_bed_disconnect(&ws);
        ws = (struct signal_bed_ws){0};
    }
    // Without a code, as PyPI's livekit sends it.
    struct signal_bed_answer a;
    int const fd = signal_bed_upgrade(&bed, with_token("/rtc", ""), NULL, &a);
    assert_int_equal(a.status, 101);
    assert_int_equal(write(fd, "\x88\x80\1\2\3\4", 6), 6);
    assert_true(signal_bed_until(&bed, nobody_left, NULL));
    assert_int_equal(bed.seen.closed, ARRAY_LEN(codes) + 1);
    assert_int_equal(bed.seen.requests, 0);
    signal_bed_close(fd);
}

// A socket that never reads: what waits for it is bounded, and it is cut off.
static void a_peer_that_does_not_read_is_cut_off(void **state)
{
    (void)state;
    struct signal_bed_answer a;
    int const fd = signal_bed_upgrade(&bed, with_token("/rtc", ""), NULL, &a);
    assert_int_equal(a.status, 101);
    while (bed.seen.joins == 0) {
        signal_bed_turn(&bed);
    }
    static uint8_t big[60000];
    for (int i = 0; i < 2000 && signal_server_sessions(bed.server) > 0; i++) {
        struct channel_msg *const m = channel_msg_new(CHANNEL_SEND, bed.seen.session);
        m->u.send.data = shared_buf_copy(bytes_of(big, sizeof(big)));
        assert_non_null(m->u.send.data);
        signal_server_deliver(bed.server, m);
        signal_bed_turn(&bed);
    }
    assert_int_equal(signal_server_sessions(bed.server), 0);
    assert_int_equal(bed.seen.closed, 1);
    signal_bed_close(fd);
}

static void send_mutes(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        send_mute("");
    }
}

static unsigned wanted;

static bool all_requested(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || bed.seen.requests >= wanted;
}

// What one read of the socket brings goes beyond the allowance before the socket is left alone: 4096
// bytes of requests, each a frame header of 6 bytes (RFC 6455 section 5.2) and 6 of a message.
#define MUTES_READ_AT_ONCE (4096 / 12)

static bool ponged_twice(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    return w->ended || w->pongs >= 2;
}

static void send_ping(bool req)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__Ping p = LIVEKIT__PING__INIT;
    LK_SET(&p, timestamp, 1234);
    r.message_case =
        req ? LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING_REQ : LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    if (req) {
        r.ping_req = &p;
    } else {
        r.ping = 1234;
    }
    send_request(&r);
}

// The worker hears nothing of them but when they came.
static void pings_are_answered_without_the_worker(void **state)
{
    (void)state;
    open_session();
    assert_int_equal(channel_credit_pinged(bed.join->u.join.credit).us, 0);
    send_ping(false);
    send_ping(true);
    assert_true(signal_bed_until(&bed, ponged_twice, &ws));
    assert_int_equal(ws.cases[2], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG);
    assert_int_equal(ws.cases[3], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG_RESP);
    int64_t const now_ms = clock_wall().us / US_PER_MS;
    assert_in_range(ws.pong, now_ms - 60000, now_ms + 1);
    assert_int_equal(bed.seen.requests, 0);
    assert_true(channel_credit_pinged(bed.join->u.join.credit).us > 0);
}

// Of both forms, text too; and whoever floods with them is slowed like with other requests.
static void pings_are_requests_to_the_gate(void **state)
{
    (void)state;
    open_session();
    assert_int_equal(ws_send(ws.ws, WS_TEXT, bytes_str("{\"ping\":\"1\"}")), 0);
    assert_int_equal(ws_send(ws.ws, WS_TEXT, bytes_str("{\"pingReq\":{\"timestamp\":\"7\"}}")), 0);
    assert_true(signal_bed_until(&bed, ponged_twice, &ws));
    assert_int_equal(ws.texts, 2);
    assert_non_null(
        strstr(ws.text, "{\"pongResp\":{\"lastPingTimestamp\":\"7\",\"timestamp\":\"1"));
    unsigned const n = SIGNAL_REQUESTS_BURST + SIGNAL_REQUESTS_PER_S / 2 + MUTES_READ_AT_ONCE;
    mono_t const start = clock_mono();
    for (unsigned i = 0; i < n; i++) {
        send_ping(true);
    }
    send_mute(""); // behind them all
    wanted = 1;
    assert_true(signal_bed_until(&bed, all_requested, &ws));
    assert_false(ws.ended);
    assert_true(mono_diff_ms(clock_mono(), start) >= 250);
}

// A client that floods: all arrives, no sooner than the pace that is for everybody allows. How much
// later is the machine's business.
static void a_client_that_floods_is_slowed(void **state)
{
    (void)state;
    open_session();
    wanted = SIGNAL_REQUESTS_BURST + 2 * SIGNAL_REQUESTS_PER_S;
    mono_t const start = clock_mono();
    send_mutes(wanted);
    assert_true(signal_bed_until(&bed, all_requested, &ws));
    assert_false(ws.ended);
    int64_t const ms = mono_diff_ms(clock_mono(), start);
    unsigned const paced = wanted - SIGNAL_REQUESTS_BURST - MUTES_READ_AT_ONCE;
    // The clock of the loop has milliseconds.
    assert_true(ms + 1 >= (int64_t)paced * 1000 / SIGNAL_REQUESTS_PER_S);
    assert_int_equal(bed.seen.requests, wanted);
}

// A worker that does not get on with its work: no more than this waits in its mailbox.
static void a_busy_worker_is_not_buried(void **state)
{
    (void)state;
    open_session();
    bed.hold = true;
    wanted = 1500;
    send_mutes(wanted);
    mono_t const end = mono_add_ms(clock_mono(), 300);
    while (mono_before(clock_mono(), end)) {
        signal_bed_turn(&bed);
    }
    // Frames of 12 bytes that were read already still came.
    assert_in_range(bed.seen.requests, SIGNAL_REQUESTS_UNDER_WAY,
                    SIGNAL_REQUESTS_UNDER_WAY + MUTES_READ_AT_ONCE);
    assert_false(ws.ended);
    signal_bed_let_go(&bed);
    assert_true(signal_bed_until(&bed, all_requested, &ws));
    assert_int_equal(bed.seen.requests, wanted);
    assert_false(ws.ended);
}

// libmicrohttpd's own epoll thread stalled with 128 connections that were ready at once.
#define CROWD 200

static bool crowd_joined(void *arg)
{
    const struct signal_bed_ws *const w = arg;
    for (size_t i = 0; i < CROWD; i++) {
        if (w[i].messages < 2 && !w[i].ended) {
            return false;
        }
    }
    return true;
}

static void a_crowd_connects_at_once(void **state)
{
    (void)state;
    struct signal_bed_ws *const w = mem_array(CROWD, sizeof(*w));
    assert_non_null(w);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < CROWD; i++) {
            char identity[16]; // one alone may not connect that often
            (void)snprintf(identity, sizeof(identity), "p%zu", i);
            struct access_claims const c = {
                .identity = identity, .has_video = true, .video = {.room = "r", .room_join = true}};
            signal_bed_connect(&bed, with_token_of(&c, "/rtc", ""), NULL, &w[i]);
        }
        assert_true(signal_bed_until(&bed, crowd_joined, w));
        assert_int_equal(signal_server_sessions(bed.server), CROWD);
        for (size_t i = 0; i < CROWD; i++) {
            assert_false(w[i].ended);
            signal_bed_disconnect(&w[i]);
        }
        assert_true(signal_bed_until(&bed, nobody_left, NULL));
    }
    assert_int_equal(bed.seen.joins, 3 * CROWD);
    assert_int_equal(bed.seen.closed, 3 * CROWD);
    mem_free(w);
}

static void the_server_may_end_with_sessions_open(void **state)
{
    (void)state;
    struct signal_bed_ws late;
    open_session();
    // Another one is still on its way through HTTP: its request is sent, nothing has run yet.
    signal_bed_connect(&bed, with_token("/rtc", ""), NULL, &late);
    loop_run_once(bed.loop, 10);
    signal_bed_disconnect(&late);
    // teardown ends the server; ASan sees what would be left
}

// What the fresh token says: the claims as they are now, and the end of the first one (2.4).
static void fresh_tokens_carry_the_claims(void **state)
{
    (void)state;
    int64_t const now = loop_wall(bed.loop).us / US_PER_S;
    open_session();
    struct access_token *t = NULL;
    struct access_token_refusal why;
    assert_int_equal(
        access_token_verify(bed.keys, loop_wall(bed.loop), bytes_str(ws.token), &t, &why), 0);
    assert_string_equal(t->claims.identity, "alice");
    assert_true(t->claims.video.room_join);
    assert_in_range(t->claims.exp, now + 3600 - 10, now + 3600 + 10);
    struct channel_msg *const m = channel_msg_new(CHANNEL_CLAIMS, bed.seen.session);
    m->u.claims.token = t;
    signal_server_deliver(bed.server, m);
    assert_true(signal_bed_until(&bed, told_thrice, &ws));
    assert_int_equal(ws.cases[2], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN);
}

// However soon after the last token: the client comes to the other room with it.
static void who_is_moved_gets_its_token_before_the_end(void **state)
{
    (void)state;
    open_session();
    struct access_claims const claims = {
        .identity = "alice", .has_video = true, .video = {.room = "other", .room_join = true}};
    char *const jwt = signal_bed_token(&bed, &claims);
    struct access_token *t = NULL;
    struct access_token_refusal why;
    assert_int_equal(access_token_verify(bed.keys, loop_wall(bed.loop), bytes_str(jwt), &t, &why),
                     0);
    mem_free(jwt);
    struct channel_msg *const m = channel_msg_new(CHANNEL_CLAIMS, bed.seen.session);
    m->u.claims.token = t;
    signal_server_deliver(bed.server, m);
    struct channel_msg *const end = channel_msg_new(CHANNEL_CLOSE, bed.seen.session);
    end->u.close.code = 1000;
    signal_server_deliver(bed.server, end);
    assert_true(signal_bed_until(&bed, is_over, &ws));
    assert_int_equal(ws.messages, 3);
    assert_int_equal(ws.cases[2], LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REFRESH_TOKEN);
}

// A token travels in a request line: what makes it too long is left out, permissions never are.
static void long_metadata_is_not_in_the_token(void **state)
{
    (void)state;
    open_session();
    char *const metadata = mem_alloc(100001);
    assert_non_null(metadata);
    memset(metadata, 'x', 100000);
    struct access_attribute const attribute = {"k", "v"};
    struct access_claims const claims = {
        .identity = "alice",
        .metadata = metadata,
        .attributes = &attribute,
        .attribute_count = 1,
        .has_video = true,
        .video = {.room = "room", .room_join = true, .can_publish = TRISTATE_FALSE},
        .exp = loop_wall(bed.loop).us / US_PER_S + 3600,
    };
    struct channel_msg *const m = channel_msg_new(CHANNEL_CLAIMS, bed.seen.session);
    assert_int_equal(access_token_new(&claims, "key", &m->u.claims.token), 0);
    mem_free(metadata);
    signal_server_deliver(bed.server, m);
    assert_true(signal_bed_until(&bed, told_thrice, &ws));
    struct access_token *t = NULL;
    struct access_token_refusal why;
    assert_int_equal(
        access_token_verify(bed.keys, loop_wall(bed.loop), bytes_str(ws.token), &t, &why), 0);
    assert_null(t->claims.metadata);
    assert_int_equal(t->claims.attribute_count, 1);
    assert_false(video_grant_may_publish(&t->claims.video));
    access_token_free(t);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_answer_is_followed_by_a_token),
        TEST(another_key_means_another_token_at_once),
        TEST(fresh_tokens_carry_the_claims),
        TEST(who_is_moved_gets_its_token_before_the_end),
        TEST(long_metadata_is_not_in_the_token),
        TEST(v0_parameters_arrive),
        TEST(v0_parameters_become_a_join_request),
        TEST(publish_makes_a_participant_of_its_own),
        TEST(v1_requests_arrive_with_their_offer),
        TEST(a_refused_session_gets_its_reason),
        TEST(a_room_may_refuse_by_http),
        TEST(a_silent_worker_is_not_waited_for_for_ever),
        TEST(what_comes_before_the_socket_is_kept_in_order),
        TEST(too_much_before_the_socket_closes_it),
        TEST(a_client_may_go_before_the_answer),
        TEST(the_user_agent_fills_what_is_empty),
        TEST(the_server_may_end_while_a_room_is_asked),
        TEST(one_room_has_one_worker),
        TEST(requests_go_to_the_worker_and_answers_come_back),
        TEST(what_cannot_be_decoded_closes),
        TEST(text_is_answered_in_text_until_binary_comes),
        TEST(what_we_say_of_ourselves_is_text_too),
        TEST(what_has_no_text_comes_in_binary),
        TEST(compression_is_taken_where_it_is_offered),
        TEST(an_empty_message_is_a_request_without_member),
        TEST(messages_have_a_limit),
        TEST(the_worker_hears_of_a_lost_socket),
        TEST(a_close_frame_is_echoed),
        TEST(a_peer_that_does_not_read_is_cut_off),
        TEST(a_client_that_floods_is_slowed),
        TEST(a_busy_worker_is_not_buried),
        TEST(pings_are_answered_without_the_worker),
        TEST(pings_are_requests_to_the_gate),
        TEST(a_crowd_connects_at_once),
        TEST(the_server_may_end_with_sessions_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
