// SPDX-License-Identifier: Apache-2.0
#include "common/svc/ws.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#include "common/base/dynbuf.h"
#include "common/base/mem.h"
#include "common/svc/ws_deflate.h"
#include "common/sys/random.h"

#define MESSAGE_MAX_DEFAULT (2u << 20) // livekit-protocol 1.7
#define QUEUE_MAX_DEFAULT (4u << 20)   // two of the largest messages
#define PING_MS_DEFAULT 10000          // livekit-protocol 1.7
#define CLOSE_MS_DEFAULT 2000

// What one queued message costs beside its bytes (wslay's bookkeeping and malloc), so that empty
// ones are bounded too.
#define MESSAGE_OVERHEAD 96u

// Frames are gathered here, so that a header and its payload, or several small messages, are one
// system call.
#define OUT_CAP 16384u

// Bytes read in one turn before other connections get theirs. The poll is level triggered and comes
// back for the rest.
#define READ_TURN_MAX (256u << 10)

// A peer whose kernel acknowledges nothing for so long is gone. Our pings make sure that there is
// something to acknowledge.
#define UNACKED_MS 60000

// Pings are not punctual: those of all connections of a thread fall due together at multiples of this,
// so that many of them wake it up a few times a second only. Shorter intervals than eight of these are
// kept exactly.
#define PING_SLACK_MS 250

static const char too_slow[] = "peer reads too slowly";

struct ws {
    struct loop *loop;
    struct ws_conf conf;
    struct wslay_event_context *wslay;
    struct loop_poll *poll;
    struct loop_timer *timer;
    int fd;
    mono_t ping_at;
    mono_t heard; // when something was read last
    mono_t close_at;
    const char *failed; // why it has to end; told from the loop
    bool kick;          // run the machine in the next turn
    bool paused;        // ws_pause was called
    bool closing;       // ws_close was called
    bool close_queued;
    uint16_t close_code;
    bool draining; // our close frame is out, nothing more is wanted of the peer but its end
    bool ended;
    bool freed;    // ws_free was called inside a callback
    unsigned busy; // callbacks on the stack
    size_t read_turn;
    bool read_all; // the socket had no more
    struct dynbuf early;
    size_t early_at;
    size_t out_at;
    size_t out_n;
    uint8_t *out; // OUT_CAP bytes while something waits: idle connections do without
};

// Closing goes on all the same: the peer's close frame is awaited.
static bool is_paused(const struct ws *w)
{
    return w->paused && !w->closing;
}

// ---- bytes in and out -----------------------------------------------------------------------

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *user)
{
    (void)flags;
    struct ws *const w = user;
    size_t const early = is_paused(w) ? 0 : w->early.n - w->early_at;
    if (early > 0) {
        size_t const n = MIN(early, len);
        memcpy(buf, w->early.p + w->early_at, n);
        w->early_at += n;
        return (ssize_t)n;
    }
    if (w->read_turn >= READ_TURN_MAX || w->read_all || w->freed || is_paused(w)) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    ssize_t const n = recv(w->fd, buf, len, MSG_DONTWAIT);
    if (n > 0) {
        w->read_turn += (size_t)n;
        // Whatever comes behind it, or an end, makes the descriptor readable again.
        w->read_all = (size_t)n < len;
        w->heard = loop_now(w->loop);
        return n;
    }
    bool const later = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (!later) {
        w->failed = n == 0 ? "peer closed the connection" : "connection broken";
    }
    wslay_event_set_error(ctx, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

// Writes what is gathered. False: the socket takes no more now, or is broken (w->failed).
static bool flush_out(struct ws *w)
{
    while (w->out_at < w->out_n) {
        ssize_t const n =
            send(w->fd, w->out + w->out_at, w->out_n - w->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            if (errno != EAGAIN) {
                w->failed = "connection broken";
            }
            return false;
        }
        w->out_at += (size_t)n;
    }
    w->out_at = 0;
    w->out_n = 0;
    mem_free(w->out);
    w->out = NULL;
    return true;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags,
                       void *user)
{
    (void)flags;
    struct ws *const w = user;
    if (w->out_n == OUT_CAP && !flush_out(w)) {
        wslay_event_set_error(ctx, w->failed != NULL ? WSLAY_ERR_CALLBACK_FAILURE
                                                     : WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (w->out == NULL) {
        w->out = mem_regrow(NULL, OUT_CAP, 1); // not zeroed: it comes and goes with each message
    }
    if (w->out == NULL) {
        w->failed = "out of memory";
        wslay_event_set_error(ctx, WSLAY_ERR_CALLBACK_FAILURE);
        return -1;
    }
    size_t const n = MIN(len, OUT_CAP - w->out_n);
    memcpy(w->out + w->out_n, data, n);
    w->out_n += n;
    return (ssize_t)n;
}

static int on_genmask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *user)
{
    (void)ctx;
    (void)user;
    rand_bytes(buf, len);
    return 0;
}

static void on_packed(struct ws *w, enum ws_kind kind, struct bytes payload)
{
    struct dynbuf message;
    dynbuf_init(&message, w->conf.message_max);
    int const rc = ws_deflate_unpack(w->conf.deflate, payload, &message);
    if (rc == 0) {
        w->conf.on_message(w->conf.user, kind, dynbuf_view(&message));
    } else {
        ws_close(w,
                 rc == -E2BIG ? WSLAY_CODE_MESSAGE_TOO_BIG : WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA);
    }
    dynbuf_done(&message);
}

static void on_msg(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *arg,
                   void *user)
{
    (void)ctx;
    struct ws *const w = user;
    // After our own ws_close nobody listens any more.
    if (w->freed || w->closing ||
        (arg->opcode != WSLAY_TEXT_FRAME && arg->opcode != WSLAY_BINARY_FRAME)) {
        return;
    }
    enum ws_kind const kind = arg->opcode == WSLAY_TEXT_FRAME ? WS_TEXT : WS_BINARY;
    struct bytes const data = bytes_of(arg->msg, arg->msg_length);
    if (wslay_get_rsv1(arg->rsv)) {
        on_packed(w, kind, data);
    } else {
        w->conf.on_message(w->conf.user, kind, data);
    }
}

// ---- the end --------------------------------------------------------------------------------

static void release_socket(struct ws *w)
{
    loop_poll_free(w->poll);
    w->poll = NULL;
    if (w->fd < 0) {
        return;
    }
    int const fd = w->fd;
    w->fd = -1;
    if (w->conf.release != NULL) {
        w->conf.release(w->conf.release_arg, fd);
    } else {
        (void)close(fd);
    }
}

static void destroy(struct ws *w)
{
    release_socket(w);
    loop_timer_free(w->timer);
    if (w->wslay != NULL) {
        wslay_event_context_free(w->wslay);
    }
    dynbuf_done(&w->early);
    mem_free(w->out);
    mem_free(w);
}

static void finish(struct ws *w, const char *reason)
{
    struct ws_end const end = {
        .code = wslay_event_get_status_code_received(w->wslay),
        .local = w->closing,
        .too_slow = reason == too_slow,
        .reason = reason,
    };
    w->ended = true;
    loop_timer_stop(w->timer);
    release_socket(w);
    if (!w->freed) {
        w->conf.on_end(w->conf.user, &end);
    }
}

// ---- the machine ----------------------------------------------------------------------------

static void write_some(struct ws *w)
{
    bool more = true;
    while (more && w->failed == NULL) {
        if (wslay_event_want_write(w->wslay) && wslay_event_send(w->wslay) != 0 &&
            w->failed == NULL) {
            w->failed = "out of memory";
        }
        more = flush_out(w) && wslay_event_want_write(w->wslay);
    }
}

static void start_closing(struct ws *w)
{
    if (w->closing && !w->close_queued && wslay_event_get_queued_msg_count(w->wslay) == 0) {
        // Only now: wslay sends control frames before messages that wait, and nothing after a close
        // frame.
        w->close_queued = true;
        if (wslay_event_queue_close(w->wslay, w->close_code, NULL, 0) == 0) {
            write_some(w);
        }
    }
}

// Nothing left to say in either direction: over if the peer closed too. Otherwise (we refused
// something it sent) it gets our close frame only if we keep reading until it ends, as closing now
// would send a reset.
static const char *check_done(struct ws *w)
{
    if (w->draining || wslay_event_want_read(w->wslay) || wslay_event_want_write(w->wslay) ||
        w->out_n > 0) {
        return NULL;
    }
    if (wslay_event_get_close_received(w->wslay)) {
        return w->closing ? "closed" : "closed by peer";
    }
    w->draining = true;
    (void)shutdown(w->fd, SHUT_WR);
    w->close_at = mono_min(w->close_at, mono_add_ms(loop_now(w->loop), w->conf.close_ms));
    return NULL;
}

static void arm(struct ws *w)
{
    mono_t const soonest = mono_min(w->ping_at, w->close_at);
    loop_timer_set(w->timer, w->kick ? (mono_t){0} : soonest);
    unsigned events = 0;
    bool const reads = wslay_event_want_read(w->wslay) && !is_paused(w);
    events |= w->draining || reads ? LOOP_READ : 0u;
    events |= w->out_n > 0 ? LOOP_WRITE : 0u;
    loop_poll_set(w->poll, events);
}

static void drain(struct ws *w)
{
    uint8_t scrap[4096];
    ssize_t n = 0;
    for (size_t total = 0; total < READ_TURN_MAX; total += (size_t)n) {
        n = recv(w->fd, scrap, sizeof(scrap), MSG_DONTWAIT);
        if (n <= 0) {
            bool const later = n < 0 && (errno == EAGAIN || errno == EINTR);
            w->failed = later ? w->failed : "protocol error";
            return;
        }
    }
}

// Everything that happens from the loop ends here.
static void step(struct ws *w, bool readable)
{
    w->busy++;
    w->kick = false;
    w->read_turn = 0;
    w->read_all = false;
    if (readable && w->draining) {
        drain(w);
    } else if (readable && wslay_event_want_read(w->wslay)) {
        // Its other errors are a broken socket (w->failed is set) or a broken frame, for which it
        // has queued a close frame.
        if (wslay_event_recv(w->wslay) == WSLAY_ERR_NOMEM) {
            w->failed = "out of memory";
        }
        w->kick = w->early_at < w->early.n && !is_paused(w);
    }
    const char *over = NULL;
    if (!w->freed) {
        // What was queued before the peer went away may still be sent; its failure changes nothing.
        const char *const why = w->failed;
        write_some(w);
        if (w->failed == NULL && ws_queued(w) > w->conf.queue_max) {
            w->failed = too_slow; // pongs, which nobody but the peer asked for
        }
        start_closing(w);
        w->failed = why != NULL ? why : w->failed;
        over = w->failed != NULL ? w->failed : check_done(w);
        if (over == NULL && mono_reached(w->close_at, loop_now(w->loop))) {
            over = w->draining ? "protocol error" : "closed without the peer";
        }
    }
    if (over != NULL) {
        finish(w, over);
    } else if (!w->freed) {
        arm(w);
    }
    w->busy--;
    if (w->freed && w->busy == 0) {
        destroy(w);
    }
}

static void on_poll(void *user, unsigned events)
{
    step(user, (events & LOOP_READ) != 0);
}

// When to look again whether the peer needs a ping, which it does if it said nothing since `from`.
static mono_t next_ping(const struct ws *w, mono_t from)
{
    mono_t const at = mono_add_ms(from, w->conf.ping_ms);
    int64_t const slack_us = PING_SLACK_MS * US_PER_MS;
    return w->conf.ping_ms < 8 * PING_SLACK_MS
               ? at
               : (mono_t){(at.us + slack_us - 1) / slack_us * slack_us};
}

static void on_timer(void *user)
{
    struct ws *const w = user;
    mono_t const now = loop_now(w->loop);
    bool const due = mono_reached(w->ping_at, now);
    if (due) {
        // Pings keep the path open and show its end. A peer that speaks, and is answered, does both.
        w->ping_at = next_ping(w, w->heard);
    }
    if (due && mono_reached(w->ping_at, now)) {
        w->ping_at = next_ping(w, now);
        struct wslay_event_msg const ping = {.opcode = WSLAY_PING};
        // Fails only while closing, when no ping is needed.
        (void)wslay_event_queue_msg(w->wslay, &ping);
    }
    step(w, w->early_at < w->early.n);
}

// ---- public ---------------------------------------------------------------------------------

static void set_defaults(struct ws_conf *c)
{
    c->message_max = c->message_max != 0 ? c->message_max : MESSAGE_MAX_DEFAULT;
    c->queue_max = c->queue_max != 0 ? c->queue_max : QUEUE_MAX_DEFAULT;
    c->ping_ms = c->ping_ms != 0 ? c->ping_ms : PING_MS_DEFAULT;
    c->close_ms = c->close_ms != 0 ? c->close_ms : CLOSE_MS_DEFAULT;
}

static int open_wslay(struct ws *w)
{
    struct wslay_event_callbacks const cb = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .genmask_callback = on_genmask,
        .on_msg_recv_callback = on_msg,
    };
    int const r = w->conf.client ? wslay_event_context_client_init(&w->wslay, &cb, w)
                                 : wslay_event_context_server_init(&w->wslay, &cb, w);
    if (r != 0) {
        return -ENOMEM;
    }
    wslay_event_config_set_max_recv_msg_length(w->wslay, w->conf.message_max);
    if (w->conf.deflate != NULL) {
        wslay_event_config_set_allowed_rsv_bits(w->wslay, WSLAY_RSV1_BIT);
    }
    return 0;
}

static void set_socket_options(int fd)
{
    // Fail on sockets that are not TCP (tests use a socketpair), where nothing is lost.
    int const on = 1;
    int const unacked = UNACKED_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof(unacked));
}

int ws_new(struct loop *l, int fd, struct bytes early, const struct ws_conf *conf, struct ws **ret)
{
    struct ws *const w = NEW(struct ws);
    if (w == NULL) {
        return -ENOMEM;
    }
    w->loop = l;
    w->conf = *conf;
    w->fd = -1; // not ours until nothing can fail any more
    set_defaults(&w->conf);
    mono_t const now = loop_now(l);
    w->heard = now;
    w->ping_at = w->conf.ping_ms > 0 ? next_ping(w, now) : MONO_NEVER;
    w->close_at = MONO_NEVER;
    dynbuf_init(&w->early, early.n);
    dynbuf_add(&w->early, early);
    w->timer = loop_timer_new(l, on_timer, w);
    w->poll = loop_poll_new(l, fd, on_poll, w);
    if (!dynbuf_ok(&w->early) || w->timer == NULL || w->poll == NULL || open_wslay(w) != 0) {
        destroy(w);
        return -ENOMEM;
    }
    set_socket_options(fd);
    w->fd = fd;
    w->kick = early.n > 0;
    arm(w);
    *ret = w;
    return 0;
}

void ws_free(struct ws *w)
{
    if (w == NULL || w->freed) {
        return;
    }
    w->freed = true;
    if (w->busy == 0) {
        destroy(w);
    }
}

static void kick(struct ws *w)
{
    w->kick = true;
    if (w->busy == 0) {
        loop_timer_set(w->timer, (mono_t){0});
    }
}

void ws_pause(struct ws *w, bool paused)
{
    if (w->paused == paused || w->ended || w->freed) {
        return;
    }
    w->paused = paused;
    if (w->busy > 0) {
        return; // step() looks at it when the callback returns
    }
    w->kick = w->kick || (!paused && w->early_at < w->early.n);
    arm(w);
}

size_t ws_queued(const struct ws *w)
{
    if (w->ended) {
        return 0;
    }
    return wslay_event_get_queued_msg_length(w->wslay) + (w->out_n - w->out_at) +
           wslay_event_get_queued_msg_count(w->wslay) * MESSAGE_OVERHEAD;
}

static int queue_message(struct ws *w, enum ws_kind kind, struct bytes data, uint8_t rsv)
{
    if (w->ended || w->freed || w->closing || w->failed != NULL) {
        return -EPIPE;
    }
    if (ws_queued(w) + data.n > w->conf.queue_max) {
        w->failed = too_slow;
        kick(w);
        return -ENOBUFS;
    }
    struct wslay_event_msg const m = {
        .opcode = kind == WS_TEXT ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
        .msg = data.p,
        .msg_length = data.n,
    };
    int const r = wslay_event_queue_msg_ex(w->wslay, &m, rsv);
    if (r == WSLAY_ERR_NO_MORE_MSG) {
        return -EPIPE; // the peer closed first
    }
    if (r != 0) {
        w->failed = "out of memory";
        kick(w);
        return -ENOBUFS;
    }
    if (w->busy > 0) {
        return 0; // step() writes when the callback returns
    }
    write_some(w);
    if (w->failed != NULL) {
        kick(w); // told by on_end
    } else {
        arm(w);
    }
    return 0;
}

int ws_send(struct ws *w, enum ws_kind kind, struct bytes data)
{
    return queue_message(w, kind, data, WSLAY_RSV_NONE);
}

int ws_send_packed(struct ws *w, enum ws_kind kind, struct bytes packed)
{
    return queue_message(w, kind, packed, WSLAY_RSV1_BIT);
}

struct ws_deflate *ws_deflate_of(const struct ws *w)
{
    return w->conf.deflate;
}

void ws_close(struct ws *w, uint16_t code)
{
    if (w->ended || w->freed || w->closing) {
        return;
    }
    w->closing = true;
    w->close_code = code;
    w->close_at = mono_add_ms(loop_now(w->loop), w->conf.close_ms);
    w->ping_at = MONO_NEVER;
    kick(w);
}
