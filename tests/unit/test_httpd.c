// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// COVERS: httpd_route httpd_req
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/svc/httpd.h"
#include "common/svc/httpd_route.h"
#include "common/svc/ws.h"
#include "common/svc/ws_handshake.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"

#define DEADLINE_MS 20000

// ---- paths ----------------------------------------------------------------------------------

static void paths_are_cleaned(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/", "/"},         {"", "/"},         {"//rtc", "/rtc"},  {"/rtc/", "/rtc"},
        {"/a/./b", "/a/b"}, {"/a/../b", "/b"}, {"/../../b", "/b"}, {"/a//b///c", "/a/b/c"},
        {"/a/..", "/"},     {"/...", "/..."},  {"rtc", "/rtc"},    {"/a/b/../../..", "/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[64];
        httpd_route_clean(cases[i][0], out);
        assert_string_equal(out, cases[i][1]);
    }
}

static void routes_match_under_prefixes(void **state)
{
    (void)state;
    size_t at = 0;
    const char *tail = NULL;
    struct httpd_route const exact = {.path = "/rtc"};
    struct httpd_route const any = {.path = "/rtc", .flags = HTTPD_ANY_PREFIX};
    struct httpd_route const twirp = {.path = "/twirp/", .flags = HTTPD_ANY_PREFIX | HTTPD_TAIL};
    struct httpd_route const twirp_exact = {.path = "/twirp/", .flags = HTTPD_TAIL};
    assert_true(httpd_route_match(&exact, "/rtc", &at, &tail));
    assert_false(httpd_route_match(&exact, "/x/rtc", &at, &tail));
    assert_true(httpd_route_match(&any, "/livekit/sfu/rtc", &at, &tail));
    assert_int_equal(at, 12);
    assert_false(httpd_route_match(&any, "/xrtc", &at, &tail));
    assert_false(httpd_route_match(&any, "/rtc/v1", &at, &tail));
    assert_false(httpd_route_match(&any, "/RTC", &at, &tail));
    assert_false(httpd_route_match(&any, "/", &at, &tail));
    assert_true(httpd_route_match(&twirp, "/p/twirp/livekit.RoomService/X", &at, &tail));
    assert_string_equal(tail, "livekit.RoomService/X");
    assert_true(httpd_route_match(&twirp_exact, "/twirp/a", &at, &tail));
    assert_string_equal(tail, "a");
    assert_false(httpd_route_match(&twirp_exact, "/p/twirp/a", &at, &tail));
    assert_false(httpd_route_match(&twirp, "/twirpx/a", &at, &tail));
    assert_true(httpd_route_allows("GET,POST", "POST"));
    assert_true(httpd_route_allows("GET,POST", "HEAD"));
    assert_false(httpd_route_allows("POST", "HEAD"));
    assert_false(httpd_route_allows("GET,POST", "PO"));
    assert_true(httpd_route_allows(NULL, "ANYTHING"));
}

// ---- a server and clients on one loop -------------------------------------------------------

struct server {
    struct loop *loop;
    struct httpd *h;
    struct httpd_req *parked[8];
    size_t parked_count;
    unsigned gone;
    unsigned calls;
    struct httpd_upgraded up;
    unsigned upgrades;
    struct ws *ws;
    char seen[256];
};

static void hello(void *user, struct httpd_req *r)
{
    struct server *const s = user;
    s->calls++;
    httpd_respond(r, 200, "text/plain", bytes_str("hello"));
}

static void echo(void *user, struct httpd_req *r)
{
    (void)user;
    struct dynbuf b;
    dynbuf_init(&b, 1u << 20);
    const char *const q = httpd_query(r, "q");
    const char *const h = httpd_header(r, "x-test");
    struct addr const peer = httpd_peer(r);
    dynbuf_addf(&b, "%s %s %s %s q=%s h=%s lo=%d ", httpd_method(r), httpd_path(r),
                httpd_matched(r), httpd_tail(r), q != NULL ? q : "-", h != NULL ? h : "-",
                addr_is_loopback(&peer));
    dynbuf_add(&b, httpd_body(r));
    httpd_respond(r, 201, "text/plain", dynbuf_view(&b));
    dynbuf_done(&b);
}

static void on_gone(void *user)
{
    struct server *const s = user;
    s->gone++;
}

static void park(void *user, struct httpd_req *r)
{
    struct server *const s = user;
    s->parked[s->parked_count++] = r;
    httpd_on_gone(r, on_gone, s);
}

static void ws_echo(void *user, enum ws_kind kind, struct bytes data)
{
    struct server *const s = user;
    assert_int_equal(ws_send(s->ws, kind, data), 0);
}

static void ws_end(void *user, const struct ws_end *end)
{
    (void)end;
    struct server *const s = user;
    ws_free(s->ws);
    s->ws = NULL;
}

static void ws_release(void *arg, int fd)
{
    (void)fd;
    httpd_release(arg);
}

static void on_upgraded(void *user, const struct httpd_upgraded *up)
{
    struct server *const s = user;
    s->upgrades++;
    s->up = *up;
    if (up->handle == NULL) {
        return;
    }
    struct ws_conf const c = {.on_message = ws_echo,
                              .on_end = ws_end,
                              .release = ws_release,
                              .release_arg = up->handle,
                              .user = s};
    assert_int_equal(ws_new(s->loop, up->fd, up->early, &c, &s->ws), 0);
}

static void upgrade(void *user, struct httpd_req *r)
{
    if (!ws_handshake_wanted(httpd_header(r, "Upgrade"), httpd_header(r, "Connection"))) {
        httpd_respond(r, 404, NULL, bytes_of(NULL, 0));
        return;
    }
    char accept[WS_ACCEPT_LEN];
    assert_int_equal(ws_handshake_accept(httpd_header(r, "Sec-WebSocket-Version"),
                                         httpd_header(r, "Sec-WebSocket-Key"), accept),
                     0);
    httpd_add_header(r, "Sec-WebSocket-Accept", accept);
    httpd_upgrade(r, "websocket", on_upgraded, user);
}

static void decorate(void *user, struct httpd_req *r, unsigned status)
{
    (void)user;
    (void)status;
    httpd_add_header(r, "Access-Control-Allow-Origin", "*");
}

static void open_server_at(struct server *s, const struct addr *listen, size_t n)
{
    *s = (struct server){.loop = loop_new()};
    assert_non_null(s->loop);
    struct httpd_route const routes[] = {
        {.path = "/", .methods = "GET", .handler = hello, .user = s},
        {.path = "/echo",
         .methods = "GET,POST",
         .flags = HTTPD_ANY_PREFIX,
         .body_max = 1000,
         .handler = echo,
         .user = s},
        {.path = "/twirp/",
         .flags = HTTPD_ANY_PREFIX | HTTPD_TAIL,
         .body_max = 1000,
         .handler = echo,
         .user = s},
        {.path = "/park", .handler = park, .user = s},
        {.path = "/ws", .handler = upgrade, .user = s},
    };
    struct httpd_conf const conf = {.listen = listen,
                                    .listen_count = n,
                                    .routes = routes,
                                    .route_count = ARRAY_LEN(routes),
                                    .decorate = decorate,
                                    .server_name = "test"};
    size_t failed = 99;
    assert_int_equal(httpd_new(s->loop, &conf, &s->h, &failed), 0);
}

static void open_server(struct server *s)
{
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    open_server_at(s, &lo, 1);
}

static void close_server(struct server *s)
{
    httpd_free(s->h);
    loop_free(s->loop);
}

struct client {
    int fd;
    struct dynbuf in;
};

static void client_open(struct client *c, struct addr a)
{
    struct sockaddr_storage ss = {0};
    socklen_t const len = addr_to_sockaddr(&a, (struct sockaddr *)&ss, sizeof(ss));
    c->fd = socket(ss.ss_family, SOCK_STREAM, 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&ss, len), 0);
    dynbuf_init(&c->in, 1u << 20);
}

static void client_close(struct client *c)
{
    (void)close(c->fd);
    dynbuf_done(&c->in);
}

static void client_send(struct server *s, struct client *c, struct bytes data)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    size_t at = 0;
    while (at < data.n && mono_before(clock_mono(), end)) {
        ssize_t const n = send(c->fd, data.p + at, data.n - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            return; // the server has answered and closed
        }
        at += n > 0 ? (size_t)n : 0;
        loop_run_once(s->loop, 0);
    }
}

// Reads what is there; true when head and body (by Content-Length) are complete, or at the end of
// the stream.
static bool client_poll(struct client *c, bool no_body)
{
    uint8_t buf[4096];
    ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
    for (; n > 0; n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT)) {
        dynbuf_add(&c->in, bytes_of(buf, (size_t)n));
    }
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        return true;
    }
    const char *const text = dynbuf_cstr(&c->in);
    const char *const head_end = strstr(text, "\r\n\r\n");
    if (head_end == NULL) {
        return false;
    }
    size_t body = 0;
    const char *const len = strcasestr(text, "\r\nContent-Length: ");
    if (len != NULL && len < head_end) {
        for (const char *p = len + 18; *p >= '0' && *p <= '9'; p++) {
            body = body * 10 + (size_t)(*p - '0');
        }
    }
    return no_body || c->in.n >= (size_t)(head_end + 4 - text) + body;
}

static const char *client_wait(struct server *s, struct client *c, bool no_body)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (!client_poll(c, no_body) && mono_before(clock_mono(), end)) {
        loop_run_once(s->loop, 10);
    }
    return dynbuf_cstr(&c->in);
}

// One request on its own connection; the answer is written into out.
static void ask(struct server *s, const char *request, struct dynbuf *out)
{
    struct client c;
    client_open(&c, httpd_address(s->h, 0));
    client_send(s, &c, bytes_str(request));
    dynbuf_reset(out);
    dynbuf_add_str(out, client_wait(s, &c, strncmp(request, "HEAD", 4) == 0));
    client_close(&c);
}

#define HAS(text) assert_non_null(strstr(dynbuf_cstr(&out), text))
#define HAS_NOT(text) assert_null(strstr(dynbuf_cstr(&out), text))
#define END " HTTP/1.1\r\nHost: x\r\n\r\n"

static void requests_reach_their_routes(void **state)
{
    (void)state;
    struct server s;
    struct dynbuf out;
    dynbuf_init(&out, 1u << 20);
    open_server(&s);
    ask(&s, "GET /" END, &out);
    HAS("HTTP/1.1 200");
    HAS("Content-Type: text/plain\r\n");
    HAS("Server: test\r\n");
    HAS("\r\n\r\nhello");
    ask(&s, "HEAD /" END, &out);
    HAS("HTTP/1.1 200");
    HAS("Content-Length: 5\r\n");
    HAS_NOT("hello");
    ask(&s, "GET /a%20b/echo?q=%3Da+b%26&&x HTTP/1.1\r\nHost: x\r\nX-Test: yes\r\n\r\n", &out);
    HAS("HTTP/1.1 201");
    HAS("GET /a b/echo /echo  q==a b& h=yes lo=1 ");
    ask(&s, "GET /echo?q" END, &out);
    HAS(" q= h=- ");
    ask(&s, "GET /p/twirp/livekit.X/Y" END, &out);
    HAS("GET /p/twirp/livekit.X/Y /twirp/livekit.X/Y livekit.X/Y q=-");
    ask(&s, "POST //echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", &out);
    HAS("POST /echo /echo  q=- h=- lo=1 body");
    ask(&s,
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
        "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        &out);
    HAS("lo=1 abcde");
    dynbuf_done(&out);
    close_server(&s);
}

static void errors_are_decorated_too(void **state)
{
    (void)state;
    struct server s;
    struct dynbuf out;
    dynbuf_init(&out, 1u << 20);
    open_server(&s);
    ask(&s, "GET /nothing" END, &out);
    HAS("HTTP/1.1 404");
    HAS("404 page not found\n");
    HAS("Access-Control-Allow-Origin: *");
    ask(&s, "DELETE /echo" END, &out);
    HAS("HTTP/1.1 405");
    HAS("Access-Control-Allow-Origin: *");
    // Far too much is refused unseen, a little too much after it was read.
    ask(&s, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n", &out);
    HAS("HTTP/1.1 413");
    HAS("Access-Control-Allow-Origin: *");
    static char little[1200] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n";
    size_t const head = strlen(little);
    memset(little + head, 'x', 1001);
    ask(&s, little, &out);
    HAS("HTTP/1.1 413");
    ask(&s, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        &out);
    HAS_NOT("HTTP/1.1 2");
    struct dynbuf big;
    dynbuf_init(&big, 100000);
    dynbuf_add_str(&big, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        dynbuf_add_str(
            &big, "40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n");
    }
    dynbuf_add_str(&big, "0\r\n\r\n");
    ask(&s, dynbuf_cstr(&big), &out);
    HAS("HTTP/1.1 413");
    dynbuf_done(&big);
    dynbuf_done(&out);
    close_server(&s);
}

static void request_line_of_64_kb_passes(void **state)
{
    (void)state;
    struct server s;
    struct dynbuf out;
    struct dynbuf line;
    dynbuf_init(&out, 1u << 20);
    dynbuf_init(&line, 100000);
    open_server(&s);
    dynbuf_add_str(&line, "GET /echo?join_request=");
    while (line.n < 65536) {
        dynbuf_add_str(&line, "abcdefgh");
    }
    dynbuf_add_str(&line, "&q=end" END);
    ask(&s, dynbuf_cstr(&line), &out);
    HAS("HTTP/1.1 201");
    HAS(" q=end ");
    dynbuf_done(&line);
    dynbuf_done(&out);
    close_server(&s);
}

static void answer_may_come_later(void **state)
{
    (void)state;
    struct server s;
    struct client c[3];
    open_server(&s);
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    for (int i = 0; i < 3; i++) {
        client_open(&c[i], httpd_address(s.h, 0));
        client_send(&s, &c[i], bytes_str("GET /park" END));
        while (s.parked_count < (size_t)i + 1 && mono_before(clock_mono(), end)) {
            loop_run_once(s.loop, 10);
        }
    }
    assert_int_equal(s.parked_count, 3);
    assert_int_equal(httpd_busy(s.h), 3);
    httpd_respond(s.parked[2], 200, NULL, bytes_str("third"));
    httpd_respond(s.parked[0], 500, NULL, bytes_str("first"));
    assert_non_null(strstr(client_wait(&s, &c[0], false), "first"));
    assert_non_null(strstr(client_wait(&s, &c[2], false), "third"));
    assert_int_equal(httpd_busy(s.h), 1);
    client_close(&c[1]); // left while waiting: answering is harmless
    loop_run_once(s.loop, 10);
    httpd_respond(s.parked[1], 200, NULL, bytes_str("second"));
    loop_run_once(s.loop, 10);
    client_close(&c[0]);
    client_close(&c[2]);
    assert_int_equal(s.gone, 0);
    close_server(&s);
}

static void stop_answers_what_is_open(void **state)
{
    (void)state;
    struct server s;
    struct client c;
    struct client w;
    open_server(&s);
    client_open(&c, httpd_address(s.h, 0));
    client_open(&w, httpd_address(s.h, 0));
    client_send(&s, &c, bytes_str("GET /park" END));
    client_send(
        &s, &w,
        bytes_str(
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while ((s.parked_count < 1 || s.upgrades < 1) && mono_before(clock_mono(), end)) {
        loop_run_once(s.loop, 10);
    }
    assert_int_equal(s.parked_count, 1);
    assert_int_equal(s.upgrades, 1);
    ws_free(s.ws); // its owner ends first
    httpd_free(s.h);
    assert_int_equal(s.gone, 1);
    assert_true(client_poll(&c, false));
    assert_non_null(strstr(dynbuf_cstr(&c.in), "HTTP/1.1 503"));
    client_close(&c);
    client_close(&w);
    loop_free(s.loop);
}

static void sockets_are_upgraded_with_what_was_read_behind(void **state)
{
    (void)state;
    struct server s;
    struct client c;
    open_server(&s);
    for (int i = 0; i < 3; i++) {
        client_open(&c, httpd_address(s.h, 0));
        struct dynbuf req;
        dynbuf_init(&req, 1000);
        dynbuf_add_str(
            &req,
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, "
            "Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        dynbuf_add(&req, bytes_of("\x81\x82\0\0\0\0hi", 8)); // in the same segment
        client_send(&s, &c, dynbuf_view(&req));
        dynbuf_done(&req);
        mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
        while (strstr(client_wait(&s, &c, true), "\x81\x02hi") == NULL &&
               mono_before(clock_mono(), end)) {
            loop_run_once(s.loop, 10);
        }
        const char *const text = dynbuf_cstr(&c.in);
        assert_non_null(strstr(text, "HTTP/1.1 101"));
        assert_non_null(strcasestr(text, "Connection: Upgrade\r\n"));
        assert_non_null(strcasestr(text, "Upgrade: websocket\r\n"));
        assert_non_null(strstr(text, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert_non_null(strstr(text, "\x81\x02hi"));
        assert_int_equal(httpd_busy(s.h), 1);
        client_close(&c);
        while (s.ws != NULL && mono_before(clock_mono(), end)) {
            loop_run_once(s.loop, 10);
        }
        assert_null(s.ws);
        assert_int_equal(httpd_busy(s.h), 0);
    }
    close_server(&s);
}

// The case in which libmicrohttpd's own epoll thread stalls: 128 and more connections ready at
// once.
static void many_simultaneous_clients_are_served(void **state)
{
    (void)state;
    enum { CLIENTS = 300, ROUNDS = 5 };
    struct server s;
    open_server(&s);
    struct client *const c = mem_array(CLIENTS, sizeof(*c));
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&c[i], httpd_address(s.h, 0));
    }
    mono_t const start = clock_mono();
    mono_t const end = mono_add_ms(start, DEADLINE_MS);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CLIENTS; i++) {
            dynbuf_reset(&c[i].in);
            static const char req[] = "GET /" END;
            assert_int_equal(send(c[i].fd, req, sizeof(req) - 1, 0), sizeof(req) - 1);
        }
        int done = 0;
        while (done < CLIENTS && mono_before(clock_mono(), end)) {
            loop_run_once(s.loop, 10);
            done = 0;
            for (int i = 0; i < CLIENTS; i++) {
                done += client_poll(&c[i], false) ? 1 : 0;
            }
        }
        assert_int_equal(done, CLIENTS);
    }
    assert_int_equal(s.calls, CLIENTS * ROUNDS);
    for (int i = 0; i < CLIENTS; i++) {
        client_close(&c[i]);
    }
    mem_free(c);
    close_server(&s);
}

static void several_addresses_share_a_port(void **state)
{
    (void)state;
    struct server s;
    struct addr listen[2] = {addr_v4(127, 0, 0, 1, 0), {.family = ADDR_V6, .ip = {[15] = 1}}};
    int const probe = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_storage ss = {0};
    socklen_t const len = addr_to_sockaddr(&listen[1], (struct sockaddr *)&ss, sizeof(ss));
    bool const v6 = probe >= 0 && bind(probe, (struct sockaddr *)&ss, len) == 0;
    (void)close(probe);
    if (!v6) {
        skip();
    }
    open_server_at(&s, listen, 2);
    assert_int_equal(httpd_address(s.h, 0).port, httpd_address(s.h, 1).port);
    struct client c;
    client_open(&c, httpd_address(s.h, 1));
    client_send(&s, &c, bytes_str("GET /echo" END));
    assert_non_null(strstr(client_wait(&s, &c, false), "lo=1"));
    client_close(&c);
    close_server(&s);
}

static void taken_port_is_reported(void **state)
{
    (void)state;
    struct server s;
    open_server(&s);
    struct addr const listen[2] = {addr_v4(127, 0, 0, 1, 0), httpd_address(s.h, 0)};
    struct httpd_route const route = {.path = "/", .handler = hello, .user = &s};
    struct httpd_conf const conf = {
        .listen = listen, .listen_count = 2, .routes = &route, .route_count = 1};
    struct httpd *h = NULL;
    size_t failed = 99;
    assert_int_equal(httpd_new(s.loop, &conf, &h, &failed), -EADDRINUSE);
    assert_int_equal(failed, 1);
    assert_null(h);
    close_server(&s);
}

static void quiet_server_refuses_newcomers_and_serves_the_rest(void **state)
{
    (void)state;
    struct server s;
    struct client c;
    open_server(&s);
    client_open(&c, httpd_address(s.h, 0));
    client_send(&s, &c, bytes_str("GET /park" END));
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (s.parked_count < 1 && mono_before(clock_mono(), end)) {
        loop_run_once(s.loop, 10);
    }
    struct addr const a = httpd_address(s.h, 0);
    httpd_quiesce(s.h);
    struct sockaddr_storage ss = {0};
    socklen_t const len = addr_to_sockaddr(&a, (struct sockaddr *)&ss, sizeof(ss));
    int const fd = socket(ss.ss_family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), -1);
    (void)close(fd);
    httpd_respond(s.parked[0], 200, NULL, bytes_str("bye"));
    assert_non_null(strstr(client_wait(&s, &c, false), "bye"));
    client_close(&c);
    close_server(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_cleaned),
        cmocka_unit_test(routes_match_under_prefixes),
        cmocka_unit_test(requests_reach_their_routes),
        cmocka_unit_test(errors_are_decorated_too),
        cmocka_unit_test(request_line_of_64_kb_passes),
        cmocka_unit_test(answer_may_come_later),
        cmocka_unit_test(stop_answers_what_is_open),
        cmocka_unit_test(sockets_are_upgraded_with_what_was_read_behind),
        cmocka_unit_test(many_simultaneous_clients_are_served),
        cmocka_unit_test(several_addresses_share_a_port),
        cmocka_unit_test(taken_port_is_reported),
        cmocka_unit_test(quiet_server_refuses_newcomers_and_serves_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
