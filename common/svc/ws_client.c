// SPDX-License-Identifier: Apache-2.0
#include "common/svc/ws_client.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/ws_handshake.h"
#include "common/sys/random.h"
#include "common/sys/udp.h"

#define TIMEOUT_MS_DEFAULT 15000 // livekit-protocol 1.8: what JS waits for the upgrade

// Head and body of a refusal.
#define HEADERS_MAX 16384u
#define ANSWER_MAX (128u << 10)

struct ws_client {
    struct loop *loop;
    struct ws_client_conf conf;
    int fd;
    struct loop_poll *poll;
    struct loop_timer *timer;
    struct ws *ws;
    struct dynbuf out;
    size_t out_at;
    struct dynbuf in;
    char key[WS_KEY_LEN];
    bool connected;
    bool over;     // on_open or on_refused was called
    bool freed;    // ws_client_free was called inside a callback
    unsigned busy; // callbacks on the stack
};

static void destroy(struct ws_client *c)
{
    ws_free(c->ws);
    loop_poll_free(c->poll);
    loop_timer_free(c->timer);
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    dynbuf_done(&c->out);
    dynbuf_done(&c->in);
    mem_free(c);
}

static void stop_waiting(struct ws_client *c)
{
    c->over = true;
    loop_poll_free(c->poll);
    c->poll = NULL;
    loop_timer_stop(c->timer);
}

static void refused(struct ws_client *c, unsigned status, struct bytes body, int error)
{
    stop_waiting(c);
    c->conf.on_refused(c->conf.user, status, body, error);
}

static void opened(struct ws_client *c, struct bytes early)
{
    stop_waiting(c);
    c->conf.ws.client = true;
    int const r = ws_new(c->loop, c->fd, early, &c->conf.ws, &c->ws);
    if (r != 0) {
        c->conf.on_refused(c->conf.user, 0, bytes_of(NULL, 0), r);
        return;
    }
    c->fd = -1; // the WebSocket's now
    c->conf.on_open(c->conf.user, c->ws);
}

// Looks at what came so far. `ended`: nothing more will come.
static void read_answer(struct ws_client *c, bool ended)
{
    struct ws_handshake_reply reply;
    int const r = ws_handshake_read(dynbuf_view(&c->in), c->key, &reply);
    if (r == -EAGAIN && !ended) {
        return;
    }
    if (r != 0) {
        refused(c, 0, bytes_of(NULL, 0), r == -EAGAIN ? -ECONNRESET : r);
        return;
    }
    struct bytes const rest = bytes_of(c->in.p + reply.head_len, c->in.n - reply.head_len);
    if (reply.accepted) {
        c->conf.ws.deflate = reply.deflate ? c->conf.ws.deflate : NULL;
        opened(c, rest);
    } else if (ended || rest.n >= reply.body_len) {
        refused(c, reply.status, rest, 0);
    }
}

static void receive(struct ws_client *c)
{
    uint8_t chunk[4096];
    bool ended = false;
    for (;;) {
        ssize_t const n = recv(c->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (n <= 0) {
            ended = n == 0 || (errno != EAGAIN && errno != EINTR);
            break;
        }
        dynbuf_add(&c->in, bytes_of(chunk, (size_t)n));
        if (!dynbuf_ok(&c->in)) {
            refused(c, 0, bytes_of(NULL, 0), -E2BIG);
            return;
        }
    }
    read_answer(c, ended);
}

// 0 when everything is out, -EAGAIN, or the error of the socket.
static int send_request(struct ws_client *c)
{
    while (c->out_at < c->out.n) {
        ssize_t const n =
            send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EINTR ? -EAGAIN : -errno;
        }
        c->out_at += (size_t)n;
    }
    return 0;
}

static int finish_connect(struct ws_client *c)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return -errno;
    }
    c->connected = error == 0;
    return -error;
}

static void step(struct ws_client *c, unsigned events)
{
    int r = c->connected ? 0 : finish_connect(c);
    if (r == 0) {
        r = send_request(c);
    }
    if (r != 0 && r != -EAGAIN) {
        refused(c, 0, bytes_of(NULL, 0), r);
        return;
    }
    loop_poll_set(c->poll, LOOP_READ | (r == -EAGAIN ? LOOP_WRITE : 0u));
    if ((events & LOOP_READ) != 0) {
        receive(c);
    }
}

static void leave(struct ws_client *c)
{
    c->busy--;
    if (c->freed && c->busy == 0) {
        destroy(c);
    }
}

static void on_poll(void *user, unsigned events)
{
    struct ws_client *const c = user;
    c->busy++;
    step(c, events);
    leave(c);
}

static void on_timeout(void *user)
{
    struct ws_client *const c = user;
    c->busy++;
    if (!c->over) {
        refused(c, 0, bytes_of(NULL, 0), -ETIMEDOUT);
    }
    leave(c);
}

static int start_connect(struct ws_client *c)
{
    struct sockaddr_storage ss = {0};
    uint32_t const len = addr_to_sockaddr(&c->conf.addr, (struct sockaddr *)&ss, sizeof(ss));
    if (len == 0) {
        return -EAFNOSUPPORT;
    }
    c->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        return -errno;
    }
    if (connect(c->fd, (struct sockaddr *)&ss, len) != 0 && errno != EINPROGRESS) {
        return -errno;
    }
    return 0;
}

int ws_client_connect(struct loop *l, const struct ws_client_conf *conf, struct ws_client **ret)
{
    struct ws_client *const c = NEW(struct ws_client);
    if (c == NULL) {
        return -ENOMEM;
    }
    c->loop = l;
    c->conf = *conf;
    c->fd = -1;
    // A request line may be as long as a server takes.
    dynbuf_init(&c->out, 1u << 20);
    dynbuf_init(&c->in, ANSWER_MAX);
    char host[ADDR_STRLEN];
    uint8_t random[16];
    rand_bytes(random, sizeof(random));
    (void)addr_format(&conf->addr, host);
    struct dynbuf headers;
    dynbuf_init(&headers, HEADERS_MAX);
    dynbuf_add_str(&headers, conf->headers != NULL ? conf->headers : "");
    if (conf->ws.deflate != NULL) {
        // As Chromium asks.
        dynbuf_add_str(&headers,
                       "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    }
    const char *const extra = dynbuf_cstr(&headers);
    ws_handshake_request(conf->host != NULL ? conf->host : host, conf->target, random, extra,
                         &c->out, c->key);
    bool const complete = extra != NULL && dynbuf_ok(&c->out);
    dynbuf_done(&headers);
    int r = complete ? start_connect(c) : -ENOMEM;
    if (r == 0) {
        c->poll = loop_poll_new(l, c->fd, on_poll, c);
        c->timer = loop_timer_new(l, on_timeout, c);
        r = c->poll == NULL || c->timer == NULL ? -ENOMEM : 0;
    }
    if (r != 0) {
        destroy(c);
        return r;
    }
    // The texts were used; what is kept must not dangle.
    c->conf.host = NULL;
    c->conf.target = NULL;
    c->conf.headers = NULL;
    loop_timer_set_ms(c->timer, conf->timeout_ms != 0 ? conf->timeout_ms : TIMEOUT_MS_DEFAULT);
    loop_poll_set(c->poll, LOOP_WRITE);
    *ret = c;
    return 0;
}

void ws_client_free(struct ws_client *c)
{
    if (c == NULL || c->freed) {
        return;
    }
    c->freed = true;
    if (c->busy == 0) {
        destroy(c);
    }
}
