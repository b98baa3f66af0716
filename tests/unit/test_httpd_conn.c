// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/svc/httpd_conn.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"

// Slow clients and many clients against a server with short patience. A trickle of bytes must not
// move a deadline: that is what libmicrohttpd's own time-out gets wrong.

#define DEADLINE_MS 20000
#define PATIENCE_MS 200
#define LONG_MS 8000 // of the other deadlines: must not be what ends a connection

struct server {
    struct loop *loop;
    struct httpd *h;
    struct httpd_req *parked;
    unsigned calls;
    uint8_t *big;
    bool exempt;
};

#define BIG ((size_t)24 << 20) // more than both sockets' buffers hold

static void hello(void *user, struct httpd_req *r)
{
    struct server *const s = user;
    s->calls++;
    httpd_respond(r, 200, "text/plain", bytes_str("hello"));
}

static void list(void *user, struct httpd_req *r)
{
    (void)user;
    const char *const all = httpd_header_all(r, "x-list");
    httpd_respond(r, 200, "text/plain", bytes_str(all ? all : "none"));
}

static void big(void *user, struct httpd_req *r)
{
    struct server *const s = user;
    httpd_respond(r, 200, NULL, bytes_of(s->big, BIG));
}

static void park(void *user, struct httpd_req *r)
{
    struct server *const s = user;
    s->parked = r;
}

static bool exempt(void *user, const struct addr *a)
{
    const struct server *const s = user;
    assert_true(addr_is_loopback(a));
    return s->exempt;
}

static void open_server(struct server *s, struct httpd_conf conf)
{
    *s = (struct server){.loop = loop_new()};
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route const routes[] = {
        {.path = "/", .body_max = 1000, .handler = hello, .user = s},
        {.path = "/list", .handler = list, .user = s},
        {.path = "/big", .handler = big, .user = s},
        {.path = "/park", .handler = park, .user = s},
    };
    conf.listen = &lo;
    conf.listen_count = 1;
    conf.routes = routes;
    conf.route_count = ARRAY_LEN(routes);
    conf.user = s;
    assert_int_equal(httpd_new(s->loop, &conf, &s->h, NULL), 0);
}

static struct httpd_conf patient(void)
{
    return (struct httpd_conf){.idle_timeout_s = LONG_MS / 1000,
                               .header_timeout_ms = LONG_MS,
                               .body_timeout_ms = LONG_MS,
                               .send_timeout_ms = LONG_MS};
}

static void close_server(struct server *s)
{
    httpd_free(s->h);
    loop_free(s->loop);
    mem_free(s->big);
}

static int dial(struct server *s, int receive_buffer)
{
    struct addr const a = httpd_address(s->h, 0);
    struct sockaddr_storage ss = {0};
    socklen_t const len = addr_to_sockaddr(&a, (struct sockaddr *)&ss, sizeof(ss));
    int const fd = socket(ss.ss_family, SOCK_STREAM, 0);
    if (receive_buffer > 0) {
        assert_int_equal(
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer)), 0);
    }
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void turn(struct server *s, int64_t ms)
{
    mono_t const end = mono_add_ms(clock_mono(), ms);
    do {
        loop_run_once(s->loop, 5);
    } while (mono_before(clock_mono(), end));
}

// Sends `drip` every 20 ms until the server closes; how long that took, or -1.
static int64_t until_closed(struct server *s, int fd, const char *drip)
{
    mono_t const from = clock_mono();
    while (mono_diff_ms(clock_mono(), from) < DEADLINE_MS) {
        char buf[1024];
        ssize_t const n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            (void)close(fd);
            return mono_diff_ms(clock_mono(), from);
        }
        say(fd, drip);
        turn(s, 20);
    }
    return -1;
}

static void assert_about(int64_t ms, int64_t want)
{
    assert_in_range(ms, want - 20, LONG_MS / 2);
}

static void headers_must_come_in_time_from_connecting_on(void **state)
{
    (void)state;
    struct server s;
    struct httpd_conf conf = patient();
    conf.header_timeout_ms = PATIENCE_MS;
    open_server(&s, conf);
    assert_about(until_closed(&s, dial(&s, 0), ""), PATIENCE_MS);
    assert_about(until_closed(&s, dial(&s, 0), "G"), PATIENCE_MS);
    int fd = dial(&s, 0);
    say(fd, "GET / HTTP/1.1\r\n");
    assert_about(until_closed(&s, fd, "X-A: b\r\n"), PATIENCE_MS);
    assert_int_equal(s.calls, 0);
    // The second request of a connection has its time from its request line on.
    fd = dial(&s, 0);
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(&s, 2 * PATIENCE_MS);
    assert_int_equal(s.calls, 1);
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n");
    turn(&s, 30);
    assert_about(until_closed(&s, fd, "X-A: b\r\n"), PATIENCE_MS - 30);
    assert_int_equal(s.calls, 1);
    close_server(&s);
}

// libmicrohttpd looks at its listening socket again only when it is run again.
static void who_waited_for_a_place_gets_it(void **state)
{
    (void)state;
    struct server s;
    struct httpd_conf conf = patient();
    conf.max_connections = 3;
    open_server(&s, conf);
    int fds[6];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(&s, 0);
    }
    turn(&s, 50);
    for (size_t i = 0; i < 5; i++) {
        (void)close(fds[i]);
    }
    say(fds[5], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(&s, 200);
    assert_int_equal(s.calls, 1);
    (void)close(fds[5]);
    turn(&s, 50);
    // The same where descriptors are what is lacking.
    struct rlimit was;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    int const last = dial(&s, 0);
    struct rlimit const few = {.rlim_cur = (rlim_t)last + 3, .rlim_max = was.rlim_max};
    int const other = dial(&s, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    turn(&s, 50);
    (void)close(last);
    turn(&s, 50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    say(other, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(&s, 200);
    assert_int_equal(s.calls, 2);
    (void)close(other);
    close_server(&s);
}

static void body_must_come_in_time(void **state)
{
    (void)state;
    struct server s;
    struct httpd_conf conf = patient();
    conf.body_timeout_ms = PATIENCE_MS;
    open_server(&s, conf);
    int const fd = dial(&s, 0);
    say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n");
    turn(&s, 20);
    assert_about(until_closed(&s, fd, "x"), PATIENCE_MS - 20);
    assert_int_equal(s.calls, 0);
    close_server(&s);
}

static void who_does_not_take_his_answer_is_cut_off(void **state)
{
    (void)state;
    struct server s;
    struct httpd_conf conf = patient();
    conf.send_timeout_ms = PATIENCE_MS;
    conf.send_rate = 1u << 30;
    open_server(&s, conf);
    s.big = mem_alloc(BIG);
    int const fd = dial(&s, 4096);
    say(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    mono_t const from = clock_mono();
    turn(&s, 50);
    assert_int_equal(httpd_busy(s.h), 0); // it has been answered
    assert_int_equal(s.h->conn_count, 1);
    while (s.h->conn_count > 0 && mono_diff_ms(clock_mono(), from) < DEADLINE_MS) {
        char buf[1024];
        (void)recv(fd, buf, sizeof(buf), MSG_DONTWAIT); // a little is taken now and then
        turn(&s, 20);
    }
    assert_about(mono_diff_ms(clock_mono(), from), PATIENCE_MS);
    (void)close(fd);
    close_server(&s);
}

static void idle_connections_end_and_waiting_ones_do_not(void **state)
{
    (void)state;
    struct server s;
    struct httpd_conf conf = patient();
    conf.idle_timeout_s = 1;
    conf.header_timeout_ms = conf.body_timeout_ms = conf.send_timeout_ms = PATIENCE_MS;
    open_server(&s, conf);
    int const waiting = dial(&s, 0);
    say(waiting, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
    int const fd = dial(&s, 0);
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    turn(&s, 20);
    assert_about(until_closed(&s, fd, ""), 1000 - 20);
    assert_int_equal(s.calls, 1);
    turn(&s, 2 * PATIENCE_MS);
    httpd_respond(s.parked, 200, NULL, bytes_str("at last"));
    turn(&s, 20);
    char buf[1024] = "";
    assert_true(recv(waiting, buf, sizeof(buf) - 1, MSG_DONTWAIT) > 0);
    assert_non_null(strstr(buf, "at last"));
    (void)close(waiting);
    close_server(&s);
}

static bool is_open(int fd)
{
    char c;
    ssize_t const n = recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void one_address_has_so_many_connections(void **state)
{
    (void)state;
    struct server s;
    struct httpd_conf conf = patient();
    conf.max_per_ip = 3;
    conf.exempt_address = exempt;
    open_server(&s, conf);
    int fd[5];
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        fd[i] = dial(&s, 0);
        turn(&s, 10);
    }
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        assert_int_equal(is_open(fd[i]), i < 3);
    }
    (void)close(fd[1]);
    turn(&s, 20);
    (void)close(fd[3]);
    fd[3] = dial(&s, 0);
    turn(&s, 20);
    assert_true(is_open(fd[3])); // there is room again
    s.exempt = true;             // a proxy
    (void)close(fd[4]);
    fd[4] = dial(&s, 0);
    fd[1] = dial(&s, 0);
    turn(&s, 20);
    assert_true(is_open(fd[4]) && is_open(fd[1]));
    for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
        (void)close(fd[i]);
    }
    close_server(&s);
}

static void loopback_is_exempt_by_default(void **state)
{
    (void)state;
    struct server s;
    struct httpd_conf conf = patient();
    conf.max_per_ip = 1;
    open_server(&s, conf);
    int const a = dial(&s, 0);
    int const b = dial(&s, 0);
    turn(&s, 20);
    assert_true(is_open(a) && is_open(b));
    (void)close(a);
    (void)close(b);
    close_server(&s);
}

static void header_lines_are_joined(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "none"},
        {"X-List: a\r\n", "\r\n\r\na"},
        {"X-List: a\r\nX-Other: q\r\nx-list: b, c\r\nX-LIST: d\r\n", "\r\n\r\na, b, c, d"},
    };
    struct server s;
    open_server(&s, patient());
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dynbuf b;
        char buf[1024] = "";
        dynbuf_init(&b, 1000);
        dynbuf_addf(&b, "GET /list HTTP/1.1\r\nHost: x\r\n%s\r\n", cases[i][0]);
        int const fd = dial(&s, 0);
        say(fd, dynbuf_cstr(&b));
        for (int k = 0; k < 100 && !strstr(buf, cases[i][1]); k++) {
            turn(&s, 10);
            (void)recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT | MSG_PEEK);
        }
        assert_non_null(strstr(buf, cases[i][1]));
        dynbuf_done(&b);
        (void)close(fd);
    }
    close_server(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_must_come_in_time_from_connecting_on),
        cmocka_unit_test(who_waited_for_a_place_gets_it),
        cmocka_unit_test(body_must_come_in_time),
        cmocka_unit_test(who_does_not_take_his_answer_is_cut_off),
        cmocka_unit_test(idle_connections_end_and_waiting_ones_do_not),
        cmocka_unit_test(one_address_has_so_many_connections),
        cmocka_unit_test(loopback_is_exempt_by_default),
        cmocka_unit_test(header_lines_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
