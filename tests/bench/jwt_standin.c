// SPDX-License-Identifier: Apache-2.0
// Stand-ins for what foci-jwt asks: a homeserver (userinfo, delayed events) on a plain and a TLS
// port, and an SFU's Twirp API. One thread, answers at once unless told otherwise.
//
//   jwt_standin [--cert FILE --key FILE]
//
// Prints a line of JSON with its ports. On the plain port, besides:
//   GET /bench/delay/MS   the homeserver answers that much later from now on
//   GET /bench/hold       it does not answer at all ...
//   GET /bench/release    ... until now
//   GET /bench/counts     what was asked so far, as JSON
//
// An OpenID token NAME%3ASERVER belongs to @NAME:SERVER. A room NAME has ten participants, NAME-0
// to NAME-9.

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>

#include "common/base/dynbuf.h"
#include "tests/bench/jwt_http.h"

#define EVENTS 256
#define IN_MAX 8192 // a request of foci-jwt has a few hundred bytes, one with a long token 5 KiB
#define OUT_MAX 65536
#define HELD INT64_MAX
#define PARTICIPANTS 10

enum service { HOMESERVER, HOMESERVER_TLS, SFU, SERVICES };

struct conn {
    enum service service;
    bool listens;
    bool waits; // its answer is due later
    int64_t due;
    int fd;
    SSL *ssl;
    bool shaken;
    TAILQ_ENTRY(conn) queued;
    size_t in_n;
    char in[IN_MAX];
    struct dynbuf out;
};

static struct {
    int epoll;
    SSL_CTX *tls;
    int64_t delay_us;
    bool hold;
    TAILQ_HEAD(, conn) waiting; // in order of due
    struct {
        unsigned long connections, userinfo, restarts, sends, rooms, lookups, others;
    } n;
} s = {.waiting = TAILQ_HEAD_INITIALIZER(s.waiting)};

// ---- answers --------------------------------------------------------------------------------

static void answer(struct conn *c, unsigned status, const char *type, struct bytes body)
{
    dynbuf_addf(&c->out,
                "HTTP/1.1 %u X\r\nContent-Type: %s\r\nServer: stand-in\r\nContent-Length: %zu"
                "\r\n\r\n",
                status, type, body.n);
    dynbuf_add(&c->out, body);
}

static void answer_json(struct conn *c, unsigned status, const char *json)
{
    answer(c, status, "application/json", bytes_str(json));
}

// "NAME%3ASERVER HTTP/1.1..." at p.
static void userinfo(struct conn *c, const char *p)
{
    char sub[600] = "{\"sub\":\"@";
    size_t n = strlen(sub);
    for (; *p != ' ' && n < sizeof(sub) - 8; p++) {
        unsigned v = 0;
        if (*p == '%' && sscanf(p + 1, "%2x", &v) == 1) {
            sub[n++] = (char)v;
            p += 2;
        } else {
            sub[n++] = *p;
        }
    }
    (void)snprintf(sub + n, sizeof(sub) - n, "\"}");
    s.n.userinfo++;
    answer_json(c, 200, sub);
}

static void control(struct conn *c, const char *p)
{
    char text[300] = "{}";
    struct conn *w;
    if (strncmp(p, "delay/", 6) == 0) {
        s.delay_us = strtol(p + 6, NULL, 10) * 1000;
    } else if (strncmp(p, "hold", 4) == 0) {
        s.hold = true;
    } else if (strncmp(p, "release", 7) == 0) {
        s.hold = false;
        TAILQ_FOREACH(w, &s.waiting, queued)
        {
            w->due = 0;
        }
    } else {
        (void)snprintf(text, sizeof(text),
                       "{\"connections\":%lu,\"userinfo\":%lu,\"restarts\":%lu,\"sends\":%lu,"
                       "\"rooms\":%lu,\"lookups\":%lu,\"others\":%lu}",
                       s.n.connections, s.n.userinfo, s.n.restarts, s.n.sends, s.n.rooms,
                       s.n.lookups, s.n.others);
    }
    answer_json(c, 200, text);
}

static void homeserver(struct conn *c, const char *path)
{
    static const char userinfo_path[] = "/_matrix/federation/v1/openid/userinfo?access_token=";
    if (strncmp(path, userinfo_path, sizeof(userinfo_path) - 1) == 0) {
        userinfo(c, path + sizeof(userinfo_path) - 1);
        if (s.hold || s.delay_us > 0) {
            c->waits = true;
            c->due = s.hold ? HELD : now_us() + s.delay_us;
            TAILQ_INSERT_TAIL(&s.waiting, c, queued);
        }
    } else if (strncmp(path, "/bench/", 7) == 0) {
        control(c, path + 7);
    } else if (strstr(path, "/delayed_events/")) {
        const char *const end = strchr(path, ' ');
        bool const send = end && (size_t)(end - path) > 5 && memcmp(end - 5, "/send", 5) == 0;
        *(send ? &s.n.sends : &s.n.restarts) += 1;
        answer_json(c, 200, "{}");
    } else {
        s.n.others++;
        answer_json(c, 404, "{\"errcode\":\"M_UNRECOGNIZED\"}");
    }
}

static void put_field(struct dynbuf *b, unsigned field, struct bytes v)
{
    dynbuf_add_u8(b, (uint8_t)(field << 3 | 2));
    if (v.n > 127) {
        dynbuf_add_u8(b, (uint8_t)(v.n & 127) | 128);
        dynbuf_add_u8(b, (uint8_t)(v.n >> 7));
    } else {
        dynbuf_add_u8(b, (uint8_t)v.n);
    }
    dynbuf_add(b, v);
}

// livekit.ListParticipantsResponse: participants = 1; livekit.ParticipantInfo: sid = 1,
// identity = 2, state = 3 (2: ACTIVE).
static void put_participants(struct dynbuf *b, struct bytes room)
{
    for (int i = 0; i < PARTICIPANTS; i++) {
        char identity[160];
        struct dynbuf p;
        dynbuf_init(&p, 512);
        (void)snprintf(identity, sizeof(identity), "%.*s-%d", (int)MIN(room.n, (size_t)128),
                       (const char *)room.p, i);
        put_field(&p, 1, bytes_str("PA_abcdefghijkl"));
        put_field(&p, 2, bytes_str(identity));
        dynbuf_add(&p, bytes_of("\x18\x02", 2));
        put_field(b, 1, dynbuf_view(&p));
        dynbuf_done(&p);
    }
}

static void sfu(struct conn *c, const char *path, const uint8_t *body, size_t n)
{
    struct dynbuf b;
    dynbuf_init(&b, 8192);
    // Field 1 of every request that we know is the room's name.
    bool const named = n > 2 && body[0] == 0x0a && body[1] < 128 && (size_t)body[1] + 2 <= n;
    struct bytes const room = named ? bytes_of(body + 2, body[1]) : bytes_of("", 0);
    if (strstr(path, "/CreateRoom ")) {
        put_field(&b, 1, bytes_str("RM_abcdefghijkl"));
        put_field(&b, 2, room);
        s.n.rooms++;
    } else if (strstr(path, "/ListParticipants ")) {
        put_participants(&b, room);
        s.n.lookups++;
    } else {
        s.n.others++; // an empty message: nothing is there
    }
    answer(c, 200, "application/protobuf", dynbuf_view(&b));
    dynbuf_done(&b);
}

// ---- connections ----------------------------------------------------------------------------

static void conn_close(struct conn *c)
{
    if (c->waits) {
        TAILQ_REMOVE(&s.waiting, c, queued);
    }
    SSL_free(c->ssl);
    (void)close(c->fd);
    dynbuf_done(&c->out);
    free(c);
}

static void watch(struct conn *c, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(s.epoll, op, c->fd, &e) < 0) {
        die("epoll_ctl");
    }
}

// > 0 bytes, 0 try again later, < 0 the connection is gone.
static ssize_t result_of(struct conn *c, ssize_t n)
{
    if (n > 0) {
        return n;
    }
    if (!c->ssl) {
        return n < 0 && errno == EAGAIN ? 0 : -1;
    }
    int const e = SSL_get_error(c->ssl, (int)n);
    ERR_clear_error();
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

// False: the connection is gone. Answers are smaller than a socket's buffer.
static bool flush(struct conn *c)
{
    if (c->out.n == 0 || c->waits) {
        return true;
    }
    ssize_t const n = c->ssl ? SSL_write(c->ssl, c->out.p, (int)c->out.n)
                             : send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);
    bool const all = n == (ssize_t)c->out.n;
    dynbuf_reset(&c->out);
    return all;
}

static bool serve(struct conn *c)
{
    size_t body = 0;
    size_t const n = message_length(c->in, c->in_n, &body);
    if (n == 0) {
        return c->in_n < sizeof(c->in) - 1;
    }
    const char *const path = memchr(c->in, ' ', n);
    if (!path) {
        return false;
    }
    if (c->service == SFU) {
        sfu(c, path + 1, (const uint8_t *)c->in + body, n - body);
    } else {
        homeserver(c, path + 1);
    }
    memmove(c->in, c->in + n, c->in_n - n);
    c->in_n -= n;
    return flush(c);
}

static bool receive(struct conn *c)
{
    if (c->ssl && !c->shaken) {
        int const r = SSL_accept(c->ssl);
        if (r != 1) {
            return result_of(c, r) == 0;
        }
        c->shaken = true;
    }
    size_t const room = sizeof(c->in) - 1 - c->in_n;
    ssize_t const n = result_of(c, c->ssl ? SSL_read(c->ssl, c->in + c->in_n, (int)room)
                                          : recv(c->fd, c->in + c->in_n, room, 0));
    if (n <= 0) {
        return n == 0;
    }
    c->in_n += (size_t)n;
    c->in[c->in_n] = '\0';
    return serve(c);
}

static void accept_all(struct conn *l)
{
    for (;;) {
        int const fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        struct conn *const c = calloc(1, sizeof(*c));
        if (!c) {
            die("calloc");
        }
        c->service = l->service;
        c->fd = fd;
        if (l->service == HOMESERVER_TLS) {
            c->ssl = SSL_new(s.tls);
            SSL_set_fd(c->ssl, fd);
        }
        dynbuf_init(&c->out, OUT_MAX);
        s.n.connections++;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

// ---- start ----------------------------------------------------------------------------------

static int listen_on(enum service service)
{
    struct sockaddr_in a = loopback(0);
    socklen_t n = sizeof(a);
    int const fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct conn *const l = calloc(1, sizeof(*l));
    if (fd < 0 || !l || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0) {
        die("listen");
    }
    l->listens = true;
    l->service = service;
    l->fd = fd;
    watch(l, EPOLL_CTL_ADD, EPOLLIN);
    return ntohs(a.sin_port);
}

static void setup_tls(const char *cert, const char *key)
{
    s.tls = SSL_CTX_new(TLS_server_method());
    if (!s.tls || SSL_CTX_use_certificate_chain_file(s.tls, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(s.tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(2);
    }
    SSL_CTX_set_mode(s.tls, SSL_MODE_RELEASE_BUFFERS);
}

// Sends what is due; milliseconds until the next one, -1 if nothing waits.
static int send_due(void)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(&s.waiting))) {
        int64_t const left = c->due == HELD ? HELD : c->due - now_us();
        if (left > 0) {
            return left == HELD ? -1 : (int)(left / 1000) + 1;
        }
        TAILQ_REMOVE(&s.waiting, c, queued);
        c->waits = false;
        if (!flush(c)) {
            conn_close(c);
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"cert", required_argument, 0, 'c'}, {"key", required_argument, 0, 'k'}, {0}};
    const char *cert = NULL;
    const char *key = NULL;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == '?') {
            return 2;
        }
        *(o == 'c' ? &cert : &key) = optarg;
    }
    s.epoll = epoll_create1(EPOLL_CLOEXEC);
    int const plain = listen_on(HOMESERVER);
    int tls = 0;
    if (cert && key) {
        setup_tls(cert, key);
        tls = listen_on(HOMESERVER_TLS);
    }
    printf("{\"homeserver\":%d,\"tls\":%d,\"sfu\":%d}\n", plain, tls, listen_on(SFU));
    (void)fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int const n = epoll_wait(s.epoll, events, EVENTS, send_due());
        for (int i = 0; i < n; i++) {
            struct conn *const c = events[i].data.ptr;
            if (c->listens) {
                accept_all(c);
            } else if (!receive(c)) {
                conn_close(c);
            }
        }
    }
}
