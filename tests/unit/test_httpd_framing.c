// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// Messages that a proxy in front might read in another way (httpd_framing), and bodies of a crowd.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/httpd.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"

#define BODY_MAX ((size_t)1 << 20)
#define CROWD_MAX ((size_t)1 << 20)

struct server {
    struct loop *loop;
    struct httpd *h;
    unsigned bodies;
    unsigned smuggled;
    size_t body; // of the last one
};

static void on_body(void *user, struct httpd_req *r)
{
    struct server *const s = user;
    s->bodies++;
    s->body = httpd_body(r).n;
    httpd_respond(r, 200, NULL, bytes_of(NULL, 0));
}

static void on_smuggled(void *user, struct httpd_req *r)
{
    struct server *const s = user;
    s->smuggled++;
    httpd_respond(r, 200, NULL, bytes_of(NULL, 0));
}

static int setup(void **state)
{
    static struct server s;
    s = (struct server){.loop = loop_new()};
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route const routes[] = {
        {.path = "/", .body_max = BODY_MAX, .handler = on_body, .user = &s},
        {.path = "/second", .handler = on_smuggled, .user = &s},
    };
    struct httpd_conf const conf = {.listen = &lo,
                                    .listen_count = 1,
                                    .routes = routes,
                                    .route_count = ARRAY_LEN(routes),
                                    .bodies_max = CROWD_MAX};
    *state = &s;
    return httpd_new(s.loop, &conf, &s.h, NULL);
}

static int teardown(void **state)
{
    struct server *const s = *state;
    httpd_free(s->h);
    loop_free(s->loop);
    return 0;
}

static int dial(struct server *s)
{
    struct addr const a = httpd_address(s->h, 0);
    struct sockaddr_storage ss = {0};
    socklen_t const len = addr_to_sockaddr(&a, (struct sockaddr *)&ss, sizeof(ss));
    int const fd = socket(ss.ss_family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
    return fd;
}

// Sends all of it while the server runs.
static void say(struct server *s, int fd, struct bytes text)
{
    size_t at = 0;
    while (at < text.n) {
        ssize_t const n = send(fd, text.p + at, text.n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        at += n > 0 ? (size_t)n : 0;
        loop_run_once(s->loop, n > 0 ? 0 : 1);
    }
}

// The status of the first answer; *ret_closed: whether the server closed behind it.
static unsigned hear(struct server *s, int fd, bool *ret_closed)
{
    char text[4096] = "";
    size_t n = 0;
    unsigned status = 0;
    *ret_closed = false;
    mono_t end = mono_add_ms(clock_mono(), 5000);
    while (!*ret_closed && mono_before(clock_mono(), end)) {
        loop_run_once(s->loop, 5);
        ssize_t const got = recv(fd, text + n, sizeof(text) - 1 - n, MSG_DONTWAIT);
        *ret_closed = got == 0 || (got < 0 && errno != EAGAIN);
        n += got > 0 ? (size_t)got : 0;
        if (status == 0 && sscanf(text, "HTTP/1.1 %3u", &status) == 1) {
            end = mono_add_ms(clock_mono(), 100); // time for a second request
        }
    }
    return status;
}

static void what_can_be_read_in_two_ways_is_the_last_request(void **state)
{
    struct server *const s = *state;
#define SECOND "GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST "POST / HTTP/1.1\r\n"
    static const char *const rows[] = {
        POST "Host: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND,
        POST "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SECOND,
        POST "Host: x\r\nContent-Length: 0\r\nContent-Length: 33\r\n\r\n" SECOND,
        POST "Host: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n" SECOND,
        POST "Host: x\r\nContent-Length: 0, 0\r\n\r\n" SECOND,
        POST "Host: x\r\nContent-Length : 33\r\n\r\n" SECOND,
        POST "Host: x\r\nX: y\r\n Content-Length: 33\r\n\r\n" SECOND,
        POST "Host: x\r\nX: y\rContent-Length: 33\r\n\r\n" SECOND,
        POST "Host: x\r\nTransfer-Encoding: identity\r\n\r\n" SECOND,
        POST "Host: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" SECOND,
        POST "Host: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" SECOND,
        POST "Host: x\r\nTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" SECOND,
        POST "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
             "chunked\r\n\r\n0\r\n\r\n" SECOND,
        "POST / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\n" SECOND,
        "GET /second HTTP/1.1\r\n\r\n",
        "GET /second HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /second HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int const fd = dial(s);
        bool closed = false;
        say(s, fd, bytes_str(rows[i]));
        if (hear(s, fd, &closed) != 400 || !closed || s->smuggled > 0 || s->bodies > 0) {
            fail_msg("row %zu: %u smuggled, %u served, %s", i, s->smuggled, s->bodies,
                     closed ? "closed" : "goes on");
        }
        (void)close(fd);
    }
}

static void what_can_be_read_in_one_way_is_served(void **state)
{
    struct server *const s = *state;
    static const char *const rows[] = {
        POST "Host: x\r\nContent-Length: 2\r\nX-Any_1.2~: \xc3\xa4\t!\r\n\r\n{}" SECOND,
        POST "Host: x\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" SECOND,
        POST "Host:\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}" SECOND,
        "POST / HTTP/1.0\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\n{}" SECOND,
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int const fd = dial(s);
        bool closed = false;
        say(s, fd, bytes_str(rows[i]));
        if (hear(s, fd, &closed) != 200 || s->bodies != i + 1 || s->smuggled != i + 1 ||
            s->body != 2) {
            fail_msg("row %zu: %u and %u served", i, s->bodies, s->smuggled);
        }
        (void)close(fd);
    }
}

static void a_crowd_of_large_bodies_has_bounded_memory(void **state)
{
    struct server *const s = *state;
    enum { SENDERS = 4, SIZE = 600 << 10 };
    static char head[] = POST "Host: x\r\nContent-Length: 614400\r\n\r\n";
    uint8_t *const body = mem_alloc(SIZE);
    int fds[SENDERS];
    bool closed = false;
    memset(body, 'x', SIZE);
    for (size_t i = 0; i < SENDERS; i++) {
        fds[i] = dial(s);
        say(s, fds[i], bytes_str(head));
        say(s, fds[i], bytes_of(body, SIZE - 1));
    }
    // A small one is not in their way, nor they in its.
    int const small = dial(s);
    say(s, small, bytes_str(POST "Host: x\r\nContent-Length: 2\r\n\r\n{}"));
    assert_int_equal(hear(s, small, &closed), 200);
    unsigned served = 0;
    for (size_t i = 0; i < SENDERS; i++) {
        say(s, fds[i], bytes_str("x"));
        unsigned const status = hear(s, fds[i], &closed);
        assert_true(status == 200 || status == 503);
        assert_int_equal(s->body, status == 200 ? SIZE : s->body);
        served += status == 200;
        (void)close(fds[i]);
    }
    assert_int_equal(served, 1); // the budget is for one of them
    // And it is theirs again afterwards.
    int const fd = dial(s);
    say(s, fd, bytes_str(head));
    say(s, fd, bytes_of(body, SIZE));
    assert_int_equal(hear(s, fd, &closed), 200);
    (void)close(fd);
    (void)close(small);
    mem_free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(what_can_be_read_in_two_ways_is_the_last_request),
        T(what_can_be_read_in_one_way_is_served),
        T(a_crowd_of_large_bodies_has_bounded_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
