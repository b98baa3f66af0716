// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// COVERS: ws_handshake ws_client
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/ws.h"
#include "common/svc/ws_client.h"
#include "common/svc/ws_deflate.h"
#include "common/svc/ws_handshake.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"

#define DEADLINE_MS 10000

// ---- handshake ------------------------------------------------------------------------------

static void accept_matches_rfc6455(void **state)
{
    (void)state;
    char accept[WS_ACCEPT_LEN];
    assert_int_equal(ws_handshake_accept("13", "dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_int_equal(ws_handshake_accept("8", "dGhlIHNhbXBsZSBub25jZQ==", accept), -EPROTO);
    assert_int_equal(ws_handshake_accept(NULL, "dGhlIHNhbXBsZSBub25jZQ==", accept), -EPROTO);
    assert_int_equal(ws_handshake_accept("13", NULL, accept), -EBADMSG);
    assert_int_equal(ws_handshake_accept("13", "dGhlIHNhbXBsZSBub25j", accept), -EBADMSG);
    assert_int_equal(ws_handshake_accept("13", "dGhlIHNhbXBsZSBub25jZQ--", accept), -EBADMSG);
}

static void upgrade_is_wanted_by_tokens(void **state)
{
    (void)state;
    assert_true(ws_handshake_wanted("websocket", "Upgrade"));
    assert_true(ws_handshake_wanted("WebSocket", "keep-alive, Upgrade"));
    assert_true(ws_handshake_wanted("h2c , websocket", "upgrade"));
    assert_false(ws_handshake_wanted("websockets", "Upgrade"));
    assert_false(ws_handshake_wanted("websocket", "keep-alive"));
    assert_false(ws_handshake_wanted(NULL, "Upgrade"));
    assert_false(ws_handshake_wanted("websocket", NULL));
}

static void client_reads_the_answer_piece_by_piece(void **state)
{
    (void)state;
    static const uint8_t random[16] = {0};
    struct dynbuf out;
    char key[WS_KEY_LEN];
    char accept[WS_ACCEPT_LEN];
    dynbuf_init(&out, 10000);
    ws_handshake_request("h:1", "/rtc?x=y", random, "A: b\r\n", &out, key);
    assert_non_null(strstr(dynbuf_cstr(&out), "GET /rtc?x=y HTTP/1.1\r\nHost: h:1\r\n"));
    assert_non_null(strstr(dynbuf_cstr(&out), "\r\nA: b\r\n\r\n"));
    assert_int_equal(ws_handshake_accept("13", key, accept), 0);
    dynbuf_reset(&out);
    dynbuf_addf(&out,
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Accept:%s\r\n\r\n",
                accept);
    size_t const head = out.n;
    dynbuf_add_str(&out, "early");
    struct ws_handshake_reply r;
    for (size_t n = 0; n < head; n++) {
        assert_int_equal(ws_handshake_read(bytes_of(out.p, n), key, &r), -EAGAIN);
    }
    assert_int_equal(ws_handshake_read(dynbuf_view(&out), key, &r), 0);
    assert_true(r.accepted);
    assert_false(r.deflate);
    assert_int_equal(r.head_len, head);
    assert_int_equal(
        ws_handshake_read(bytes_str("HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nbad"),
                          key, &r),
        0);
    assert_false(r.accepted);
    assert_int_equal(r.status, 401);
    assert_int_equal(r.body_len, 3);
    dynbuf_reset(&out);
    dynbuf_addf(&out,
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Extensions: %s\r\n\r\n",
                accept, WS_DEFLATE_ANSWER);
    assert_int_equal(ws_handshake_read(dynbuf_view(&out), key, &r), 0);
    assert_true(r.accepted && r.deflate);
    assert_int_equal(ws_handshake_read(bytes_str("SMTP hello\r\n\r\n"), key, &r), -EBADMSG);
    dynbuf_done(&out);
}

// ---- frames ---------------------------------------------------------------------------------

struct side {
    struct ws *ws;
    struct dynbuf got; // all messages, one behind the other
    unsigned messages;
    enum ws_kind kind;
    unsigned ends;
    struct ws_end end;
    bool echo;
    bool free_on_message;
    bool close_on_message;
};

static void on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct side *const s = user;
    dynbuf_add(&s->got, data);
    s->messages++;
    s->kind = kind;
    if (s->echo) {
        assert_int_equal(ws_send(s->ws, kind, data), 0);
    }
    if (s->close_on_message) {
        ws_close(s->ws, 1000);
    }
    if (s->free_on_message) {
        ws_free(s->ws);
        s->ws = NULL;
    }
}

static void on_end(void *user, const struct ws_end *end)
{
    struct side *const s = user;
    s->ends++;
    s->end = *end;
}

struct pair {
    struct loop *loop;
    struct side server;
    struct side client;
    int fd[2];
};

static struct ws_conf conf_for(struct side *s, bool client)
{
    return (struct ws_conf){.client = client,
                            .on_message = on_message,
                            .on_end = on_end,
                            .user = s,
                            .ping_ms = -1,
                            .close_ms = 300};
}

// The client side stays a raw descriptor if `raw`.
static void open_pair(struct pair *p, bool raw, const struct ws_conf *server)
{
    *p = (struct pair){0};
    p->loop = loop_new();
    assert_non_null(p->loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
    dynbuf_init(&p->server.got, 16u << 20);
    dynbuf_init(&p->client.got, 16u << 20);
    struct ws_conf c = conf_for(&p->server, false);
    if (server != NULL) {
        c.message_max = server->message_max;
        c.queue_max = server->queue_max;
        c.ping_ms = server->ping_ms;
        c.deflate = server->deflate;
        c.on_message = server->on_message != NULL ? server->on_message : on_message;
    }
    assert_int_equal(ws_new(p->loop, p->fd[0], bytes_of(NULL, 0), &c, &p->server.ws), 0);
    if (!raw) {
        c = conf_for(&p->client, true);
        c.message_max = 8u << 20;
        c.queue_max = 8u << 20;
        assert_int_equal(ws_new(p->loop, p->fd[1], bytes_of(NULL, 0), &c, &p->client.ws), 0);
    }
}

static void close_pair(struct pair *p, bool raw)
{
    ws_free(p->server.ws);
    ws_free(p->client.ws);
    if (raw) {
        (void)close(p->fd[1]);
    }
    dynbuf_done(&p->server.got);
    dynbuf_done(&p->client.got);
    loop_free(p->loop);
}

static void run_until(struct loop *l, const unsigned *count, unsigned want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (*count < want && mono_before(clock_mono(), end)) {
        loop_run_once(l, 20);
    }
    assert_int_equal(*count, want);
}

static void messages_of_all_sizes_are_echoed(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, false, NULL);
    p.server.echo = true;
    static uint8_t big[1u << 20];
    for (size_t i = 0; i < sizeof(big); i++) {
        big[i] = (uint8_t)(i * 31 >> 3);
    }
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, sizeof(big)};
    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        dynbuf_reset(&p.client.got);
        enum ws_kind const kind = i % 2 != 0 ? WS_TEXT : WS_BINARY;
        // A text must be UTF-8.
        struct bytes data = bytes_of(big, sizes[i]);
        static uint8_t ascii[65535];
        if (kind == WS_TEXT) {
            memset(ascii, 'a', sizeof(ascii));
            data = bytes_of(ascii, MIN(sizes[i], sizeof(ascii)));
        }
        assert_int_equal(ws_send(p.client.ws, kind, data), 0);
        run_until(p.loop, &p.client.messages, i + 1);
        assert_int_equal(p.client.kind, kind);
        assert_true(bytes_eq(dynbuf_view(&p.client.got), data));
    }
    close_pair(&p, false);
}

static void peer_close_is_echoed_with_its_code(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, false, NULL);
    ws_close(p.client.ws, 1001);
    run_until(p.loop, &p.client.ends, 1);
    run_until(p.loop, &p.server.ends, 1);
    assert_int_equal(p.server.end.code, 1001);
    assert_false(p.server.end.local);
    assert_int_equal(p.client.end.code, 1001); // the echo
    assert_true(p.client.end.local);
    assert_int_equal(ws_send(p.server.ws, WS_TEXT, bytes_str("x")), -EPIPE);
    close_pair(&p, false);
}

static void queued_messages_leave_before_the_close_frame(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, false, NULL);
    static uint8_t block[100000];
    for (int i = 0; i < 20; i++) { // far more than the socket takes at once
        assert_int_equal(ws_send(p.server.ws, WS_BINARY, bytes_of(block, sizeof(block))), 0);
    }
    assert_true(ws_queued(p.server.ws) > 0);
    ws_close(p.server.ws, 1000);
    assert_int_equal(ws_send(p.server.ws, WS_TEXT, bytes_str("x")), -EPIPE);
    run_until(p.loop, &p.server.ends, 1);
    run_until(p.loop, &p.client.ends, 1);
    assert_int_equal(p.client.messages, 20);
    assert_int_equal(p.client.end.code, 1000);
    close_pair(&p, false);
}

static void peer_that_vanishes_is_reported_once(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, true, NULL);
    (void)shutdown(p.fd[1], SHUT_RDWR);
    run_until(p.loop, &p.server.ends, 1);
    assert_int_equal(p.server.end.code, 1006);
    loop_run_once(p.loop, 10);
    assert_int_equal(p.server.ends, 1);
    close_pair(&p, true);
}

static void close_does_not_wait_for_a_silent_peer(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, true, NULL);
    ws_close(p.server.ws, 1000);
    run_until(p.loop, &p.server.ends, 1);
    assert_int_equal(p.server.end.code, 1006);
    uint8_t in[16];
    assert_int_equal(recv(p.fd[1], in, sizeof(in), 0), 4);
    static const uint8_t frame[] = {0x88, 0x02, 0x03, 0xe8};
    assert_memory_equal(in, frame, sizeof(frame));
    close_pair(&p, true);
}

static void slow_peer_is_cut_off(void **state)
{
    (void)state;
    struct pair p;
    struct ws_conf const c = {.queue_max = 500000, .ping_ms = -1};
    open_pair(&p, true, &c);
    static uint8_t block[50000];
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++) {
        r = ws_send(p.server.ws, WS_BINARY, bytes_of(block, sizeof(block)));
    }
    assert_int_equal(r, -ENOBUFS);
    assert_int_equal(p.server.ends, 0); // told from the loop
    run_until(p.loop, &p.server.ends, 1);
    assert_string_equal(p.server.end.reason, "peer reads too slowly");
    close_pair(&p, true);
}

// Every ping asks for a pong: one who never reads them would fill our memory.
static void peer_that_pings_and_never_reads_is_cut_off(void **state)
{
    (void)state;
    struct pair p;
    struct ws_conf const c = {.queue_max = 500000, .ping_ms = -1};
    open_pair(&p, true, &c);
    uint8_t ping[6 + 125] = {0x89, 0x80 | 125}; // masked with zeros
    size_t sent = 0;
    while (p.server.ends == 0 && sent < (16u << 20)) {
        ssize_t const n = send(p.fd[1], ping + sent % sizeof(ping),
                               sizeof(ping) - sent % sizeof(ping), MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        if (n < 0) {
            loop_run_once(p.loop, 1);
        }
    }
    assert_int_equal(p.server.ends, 1);
    assert_string_equal(p.server.end.reason, "peer reads too slowly");
    close_pair(&p, true);
}

static void send_raw(struct pair *p, const void *data, size_t n)
{
    assert_int_equal(send(p->fd[1], data, n, 0), n);
}

// Reads until the server's close frame and returns its code.
static unsigned close_code(struct pair *p)
{
    uint8_t in[64] = {0};
    size_t n = 0;
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while ((n < 2 || n < 2u + in[1]) && mono_before(clock_mono(), end)) {
        loop_run_once(p->loop, 10);
        ssize_t const got = recv(p->fd[1], in + n, sizeof(in) - n, 0);
        n += got > 0 ? (size_t)got : 0;
    }
    assert_int_equal(in[0], 0x88);
    return in[1] >= 2 ? (unsigned)(in[2] << 8 | in[3]) : 0;
}

static void protocol_errors_get_a_close_code(void **state)
{
    (void)state;
    static const struct {
        uint8_t frame[16];
        size_t n;
        unsigned code;
    } cases[] = {
        {{0x82, 0x01, 'x'}, 3, 1002},              // not masked
        {{0xc2, 0x81, 0, 0, 0, 0, 'x'}, 7, 1002},  // RSV1 without an extension
        {{0x83, 0x81, 0, 0, 0, 0, 'x'}, 7, 1002},  // unknown opcode
        {{0x81, 0x81, 0, 0, 0, 0, 0xff}, 7, 1007}, // text that is not UTF-8
        {{0x82, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 1, 0, 0, 0, 0, 'x'}, 15, 1009}, // 2 MiB and one byte
        {{0x89, 0xfe, 0, 200, 0, 0, 0, 0, 'x'},
         9,
         0}, // ping with 200 bytes: wslay's frame layer gives no code
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p;
        open_pair(&p, true, NULL);
        send_raw(&p, cases[i].frame, cases[i].n);
        assert_int_equal(close_code(&p), cases[i].code);
        assert_int_equal(p.server.messages, 0);
        (void)shutdown(p.fd[1], SHUT_WR);
        run_until(p.loop, &p.server.ends, 1);
        close_pair(&p, true);
    }
}

// permessage-deflate: compressed messages both ways, beside others, in fragments too.
static void compressed_messages_are_read(void **state)
{
    (void)state;
    CLEANUP(ws_deflate_free) struct ws_deflate *d = ws_deflate_new();
    struct pair p;
    open_pair(&p, true, &(struct ws_conf){.deflate = d, .ping_ms = -1});
    static const uint8_t frames[] = {0xc1, 0x87, 0,    0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9,
                                     0xc9, 0x07, 0x00,                            // "Hello"
                                     0x82, 0x81, 0,    0, 0, 0, 'x',              // not compressed
                                     0x42, 0x83, 0,    0, 0, 0, 0xf2, 0x48, 0xcd, // in two frames
                                     0x80, 0x84, 0,    0, 0, 0, 0xc9, 0xc9, 0x07, 0x00};
    send_raw(&p, frames, sizeof(frames));
    run_until(p.loop, &p.server.messages, 3);
    assert_string_equal(dynbuf_cstr(&p.server.got), "HelloxHello");
    static const uint8_t hello[] = {0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00};
    assert_int_equal(ws_send_packed(p.server.ws, WS_BINARY, bytes_of(hello, sizeof(hello))), 0);
    uint8_t in[16];
    assert_int_equal(recv(p.fd[1], in, sizeof(in), 0), 9);
    assert_int_equal(in[0], 0xc2);
    close_pair(&p, true);
}

static void what_cannot_be_inflated_gets_a_close_code(void **state)
{
    (void)state;
    CLEANUP(ws_deflate_free) struct ws_deflate *d = ws_deflate_new();
    static const struct {
        uint8_t frame[16];
        size_t n;
        unsigned code;
    } cases[] = {
        {{0xc1, 0x82, 0, 0, 0, 0, 0xff, 0xff}, 8, 1007},
        {{0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00},
         13,
         1009},                                   // five bytes
        {{0xa2, 0x81, 0, 0, 0, 0, 'x'}, 7, 1002}, // RSV2
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct pair p;
        open_pair(&p, true,
                  &(struct ws_conf){.deflate = d, .message_max = i == 1 ? 4 : 0, .ping_ms = -1});
        send_raw(&p, cases[i].frame, cases[i].n);
        assert_int_equal(close_code(&p), cases[i].code);
        assert_int_equal(p.server.messages, 0);
        (void)shutdown(p.fd[1], SHUT_WR);
        run_until(p.loop, &p.server.ends, 1);
        close_pair(&p, true);
    }
}

static void pause_on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct side *const s = user;
    on_message(s, kind, data);
    ws_pause(s->ws, true);
}

static void what_is_paused_is_not_read(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, true, &(struct ws_conf){.ping_ms = -1, .on_message = pause_on_message});
    uint8_t frame[8192] = {0x82, 0xfe, 0x1f, 0xf8}; // 8184 bytes, more than one read
    for (int i = 0; i < 4; i++) {
        send_raw(&p, frame, sizeof(frame));
    }
    for (unsigned i = 1; i <= 4; i++) {
        run_until(p.loop, &p.server.messages, i);
        for (int k = 0; k < 5; k++) {
            loop_run_once(p.loop, 1);
        }
        assert_int_equal(p.server.messages, i);
        ws_pause(p.server.ws, false);
    }
    // A close goes on while paused.
    ws_pause(p.server.ws, true);
    ws_close(p.server.ws, 1000);
    assert_int_equal(close_code(&p), 1000);
    static const uint8_t close[] = {0x88, 0x80, 0, 0, 0, 0};
    send_raw(&p, close, sizeof(close));
    run_until(p.loop, &p.server.ends, 1);
    assert_string_equal(p.server.end.reason, "closed");
    close_pair(&p, true);
}

static void fragments_are_joined_and_pings_answered(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, true, NULL);
    static const uint8_t frames[] = {0x02, 0x82, 0, 0, 0, 0, 'a',     'b', // binary, more to come
                                     0x89, 0x81, 1, 2, 3, 4, 'p' ^ 1,      // ping "p" in between
                                     0x80, 0x81, 0, 0, 0, 0, 'c'};         // the end
    for (size_t i = 0; i < sizeof(frames); i++) {                          // byte by byte
        send_raw(&p, frames + i, 1);
        loop_run_once(p.loop, 0);
    }
    run_until(p.loop, &p.server.messages, 1);
    assert_true(bytes_eq_str(dynbuf_view(&p.server.got), "abc"));
    uint8_t in[8];
    assert_int_equal(recv(p.fd[1], in, sizeof(in), 0), 3);
    static const uint8_t pong[] = {0x8a, 0x01, 'p'};
    assert_memory_equal(in, pong, sizeof(pong));
    close_pair(&p, true);
}

static void server_pings(void **state)
{
    (void)state;
    struct pair p;
    struct ws_conf const c = {.ping_ms = 5};
    open_pair(&p, true, &c);
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    // None is answered, and the connection stays (livekit-protocol 10.6, 52).
    for (int i = 0; i < 10; i++) {
        uint8_t in[4] = {0};
        ssize_t n = -1;
        while (n <= 0 && mono_before(clock_mono(), end)) {
            loop_run_once(p.loop, 20);
            n = recv(p.fd[1], in, 2, 0);
        }
        assert_int_equal(in[0], 0x89);
        assert_int_equal(in[1], 0);
    }
    assert_int_equal(p.server.ends, 0);
    close_pair(&p, true);
}

// Who speaks needs no ping; who falls silent gets one as long after the last word as one who never spoke.
static void a_peer_that_speaks_is_not_pinged(void **state)
{
    (void)state;
    enum { PING_MS = 400 };
    struct pair p;
    struct ws_conf const c = {.ping_ms = PING_MS};
    open_pair(&p, true, &c);
    mono_t spoke = clock_mono();
    for (int i = 0; i < 16; i++) {
        uint8_t in[2];
        loop_run_once(p.loop, 50);
        ssize_t const n = recv(p.fd[1], in, sizeof(in), 0);
        // Unless this process was kept waiting for so long.
        assert_true(n <= 0 || mono_diff_ms(clock_mono(), spoke) >= PING_MS);
        assert_int_equal(write(p.fd[1], "\x81\x81\1\2\3\4q", 7), 7);
        spoke = clock_mono();
        loop_run_once(p.loop, 0);
    }
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    uint8_t in[2] = {0};
    ssize_t n = -1;
    while (n <= 0 && mono_before(clock_mono(), end)) {
        loop_run_once(p.loop, 20);
        n = recv(p.fd[1], in, sizeof(in), 0);
    }
    assert_int_equal(in[0], 0x89);
    assert_true(mono_diff_ms(clock_mono(), spoke) >=
                PING_MS - 1); // the loop's clock has milliseconds
    assert_int_equal(p.server.messages, 16);
    assert_int_equal(p.server.ends, 0);
    close_pair(&p, true);
}

static void callbacks_may_free_and_close(void **state)
{
    (void)state;
    struct pair p;
    open_pair(&p, false, NULL);
    p.server.free_on_message = true;
    assert_int_equal(ws_send(p.client.ws, WS_TEXT, bytes_str("one")), 0);
    assert_int_equal(ws_send(p.client.ws, WS_TEXT, bytes_str("two")), 0);
    run_until(p.loop, &p.client.ends, 1);
    assert_int_equal(p.server.messages, 1);
    assert_int_equal(p.server.ends, 0);
    close_pair(&p, false);

    open_pair(&p, false, NULL);
    p.server.close_on_message = true;
    p.server.echo = true;
    assert_int_equal(ws_send(p.client.ws, WS_TEXT, bytes_str("one")), 0);
    assert_int_equal(ws_send(p.client.ws, WS_TEXT, bytes_str("two")), 0);
    run_until(p.loop, &p.client.ends, 1);
    run_until(p.loop, &p.server.ends, 1);
    assert_int_equal(p.server.messages, 1); // nobody listens after ws_close
    assert_true(bytes_eq_str(dynbuf_view(&p.client.got), "one"));
    assert_int_equal(p.client.end.code, 1000);
    close_pair(&p, false);
}

static void early_bytes_come_first(void **state)
{
    (void)state;
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    struct loop *const l = loop_new();
    struct side s = {0};
    dynbuf_init(&s.got, 100);
    static const uint8_t frames[] = {0x81, 0x81, 0, 0, 0, 0, '1', 0x81, 0x82, 0, 0, 0, 0, '2', '3'};
    struct ws_conf const c = conf_for(&s, false);
    assert_int_equal(ws_new(l, fd[0], bytes_of(frames, 9), &c, &s.ws), 0);
    assert_int_equal(s.messages, 0); // never from inside ws_new
    assert_int_equal(write(fd[1], frames + 9, sizeof(frames) - 9), sizeof(frames) - 9);
    run_until(l, &s.messages, 2);
    assert_true(bytes_eq_str(dynbuf_view(&s.got), "123"));
    ws_free(s.ws);
    (void)close(fd[1]);
    dynbuf_done(&s.got);
    loop_free(l);
}

// ---- client ---------------------------------------------------------------------------------

struct peer {
    struct loop *loop;
    int listener;
    struct addr addr;
    struct loop_poll *poll;
    struct loop_poll *conn_poll;
    int conn;
    const char *answer; // NULL: accept the upgrade
    struct dynbuf request;
    struct side server;
    struct side client;
    struct ws_client *wsc;
    unsigned opened;
    unsigned refused;
    unsigned status;
    int error;
    char body[64];
};

static void on_conn(void *user, unsigned events)
{
    (void)events;
    struct peer *const p = user;
    uint8_t in[4096];
    ssize_t const n = recv(p->conn, in, sizeof(in), 0);
    if (n <= 0) {
        loop_poll_set(p->conn_poll, 0);
        return;
    }
    dynbuf_add(&p->request, bytes_of(in, (size_t)n));
    const char *const text = dynbuf_cstr(&p->request);
    if (strstr(text, "\r\n\r\n") == NULL) {
        return;
    }
    if (p->answer != NULL) {
        (void)!write(p->conn, p->answer, strlen(p->answer));
        return;
    }
    const char *const key = strstr(text, "Sec-WebSocket-Key: ") + 19;
    char k[WS_KEY_LEN] = {0};
    char accept[WS_ACCEPT_LEN];
    memcpy(k, key, WS_KEY_LEN - 1);
    assert_int_equal(ws_handshake_accept("13", k, accept), 0);
    struct dynbuf out;
    dynbuf_init(&out, 1000);
    dynbuf_addf(&out,
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: "
                "Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                accept);
    dynbuf_add(&out, bytes_of("\x81\x02hi", 4)); // a message in the same segment
    assert_int_equal(write(p->conn, out.p, out.n), out.n);
    dynbuf_done(&out);
    loop_poll_free(p->conn_poll);
    p->conn_poll = NULL;
    struct ws_conf const c = conf_for(&p->server, false);
    assert_int_equal(ws_new(p->loop, p->conn, bytes_of(NULL, 0), &c, &p->server.ws), 0);
    p->conn = -1;
}

static void on_accept(void *user, unsigned events)
{
    (void)events;
    struct peer *const p = user;
    p->conn = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK);
    assert_true(p->conn >= 0);
    p->conn_poll = loop_poll_new(p->loop, p->conn, on_conn, p);
    loop_poll_set(p->conn_poll, LOOP_READ);
}

static void on_open(void *user, struct ws *w)
{
    struct peer *const p = user;
    p->opened++;
    p->client.ws = w;
}

static void on_refused(void *user, unsigned status, struct bytes body, int error)
{
    struct peer *const p = user;
    p->refused++;
    p->status = status;
    p->error = error;
    memset(p->body, 0, sizeof(p->body));
    if (body.n > 0) {
        memcpy(p->body, body.p, MIN(body.n, sizeof(p->body) - 1));
    }
}

static void open_peer(struct peer *p)
{
    *p = (struct peer){.conn = -1};
    p->loop = loop_new();
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(p->listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
    assert_int_equal(listen(p->listener, 8), 0);
    socklen_t len = sizeof(sin);
    assert_int_equal(getsockname(p->listener, (struct sockaddr *)&sin, &len), 0);
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sin, &p->addr), 0);
    p->poll = loop_poll_new(p->loop, p->listener, on_accept, p);
    loop_poll_set(p->poll, LOOP_READ);
    dynbuf_init(&p->request, 100000);
    dynbuf_init(&p->client.got, 1000);
    dynbuf_init(&p->server.got, 1000);
}

static void connect_peer(struct peer *p, int64_t timeout_ms)
{
    struct ws_client_conf const c = {
        .addr = p->addr,
        .target = "/rtc",
        .timeout_ms = timeout_ms,
        .ws = conf_for(&p->client, true),
        .on_open = on_open,
        .on_refused = on_refused,
        .user = p,
    };
    assert_int_equal(ws_client_connect(p->loop, &c, &p->wsc), 0);
}

static void close_peer(struct peer *p)
{
    ws_client_free(p->wsc);
    ws_free(p->server.ws);
    loop_poll_free(p->conn_poll);
    loop_poll_free(p->poll);
    if (p->conn >= 0) {
        (void)close(p->conn);
    }
    (void)close(p->listener);
    dynbuf_done(&p->request);
    dynbuf_done(&p->client.got);
    dynbuf_done(&p->server.got);
    loop_free(p->loop);
}

static void client_connects_and_talks(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p);
    connect_peer(&p, 0);
    run_until(p.loop, &p.opened, 1);
    run_until(p.loop, &p.client.messages, 1);
    assert_true(bytes_eq_str(dynbuf_view(&p.client.got), "hi"));
    assert_int_equal(ws_send(p.client.ws, WS_BINARY, bytes_str("yo")), 0);
    run_until(p.loop, &p.server.messages, 1);
    ws_close(p.server.ws, 1000);
    run_until(p.loop, &p.client.ends, 1);
    assert_int_equal(p.client.end.code, 1000);
    close_peer(&p);
}

static void client_reports_a_refusal_with_its_body(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p);
    p.answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 18\r\n\r\npermissions denied";
    connect_peer(&p, 0);
    run_until(p.loop, &p.refused, 1);
    assert_int_equal(p.status, 401);
    assert_string_equal(p.body, "permissions denied");
    close_peer(&p);
}

static void client_gives_up_in_time_and_when_nobody_listens(void **state)
{
    (void)state;
    struct peer p;
    open_peer(&p);
    p.answer = "HTTP/1.1 ";
    connect_peer(&p, 50);
    run_until(p.loop, &p.refused, 1);
    assert_int_equal(p.error, -ETIMEDOUT);
    close_peer(&p);

    open_peer(&p);
    loop_poll_free(p.poll);
    p.poll = NULL;
    (void)shutdown(p.listener, SHUT_RDWR);
    connect_peer(&p, 0);
    run_until(p.loop, &p.refused, 1);
    assert_int_equal(p.error, -ECONNREFUSED);
    close_peer(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_matches_rfc6455),
        cmocka_unit_test(upgrade_is_wanted_by_tokens),
        cmocka_unit_test(client_reads_the_answer_piece_by_piece),
        cmocka_unit_test(messages_of_all_sizes_are_echoed),
        cmocka_unit_test(peer_close_is_echoed_with_its_code),
        cmocka_unit_test(queued_messages_leave_before_the_close_frame),
        cmocka_unit_test(peer_that_vanishes_is_reported_once),
        cmocka_unit_test(close_does_not_wait_for_a_silent_peer),
        cmocka_unit_test(slow_peer_is_cut_off),
        cmocka_unit_test(peer_that_pings_and_never_reads_is_cut_off),
        cmocka_unit_test(protocol_errors_get_a_close_code),
        cmocka_unit_test(compressed_messages_are_read),
        cmocka_unit_test(what_cannot_be_inflated_gets_a_close_code),
        cmocka_unit_test(what_is_paused_is_not_read),
        cmocka_unit_test(fragments_are_joined_and_pings_answered),
        cmocka_unit_test(server_pings),
        cmocka_unit_test(a_peer_that_speaks_is_not_pinged),
        cmocka_unit_test(callbacks_may_free_and_close),
        cmocka_unit_test(early_bytes_come_first),
        cmocka_unit_test(client_connects_and_talks),
        cmocka_unit_test(client_reports_a_refusal_with_its_body),
        cmocka_unit_test(client_gives_up_in_time_and_when_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
