// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_client.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/ws_client.h"
#include "common/sys/clock.h"
#include "tests/support/test_client_internal.h"

#define LEAVE_US INT64_C(2000000)
// livekit-client sends `ping` and `ping_req` one behind the other; in recordings of Chromium the second
// came 0.3 to 0.5 ms after the first.
#define PING_GAP_US 400

void test_client_emit_(struct test_client *c, enum test_client_event e)
{
    if (c->conf.on_event != NULL) {
        c->conf.on_event(c->conf.user, c, e);
    }
}

void test_client_finish_(struct test_client *c, bool failed, const char *text)
{
    if (c->status.ended || c->status.failed) {
        return;
    }
    c->status.failed = failed;
    c->status.ended = !failed;
    (void)snprintf(c->status.text, sizeof(c->status.text), "%s", text);
    for (size_t i = 0; i < c->sender_count; i++) {
        client_sender_set_paused(c->senders[i], true);
    }
    client_timer_set(&c->timer, c->net, MONO_NEVER);
    test_client_emit_(c, failed ? TEST_CLIENT_FAILED : TEST_CLIENT_ENDED);
}

void test_client_must_(struct test_client *c, int rc, const char *what)
{
    if (rc < 0 && !c->leaving && c->ws != NULL) {
        char text[120];
        (void)snprintf(text, sizeof(text), "%s: %s", what, strerror(-rc));
        test_client_finish_(c, true, text);
    }
}

// ---- the socket ---------------------------------------------------------------------------------

static void on_message(void *user, enum ws_kind kind, struct bytes data)
{
    struct test_client *const c = user;
    struct pbuf *p = NULL;
    c->net->now = loop_refresh(c->net->loop);
    if (c->status.failed || c->status.ended) {
        return;
    }
    int const rc = kind == WS_BINARY ? lk_unpack_signal_response(data, &p) : -EBADMSG;
    test_client_must_(c, rc, "message of the server");
    if (rc == 0) {
        c->status.messages++;
        test_client_dispatch_(c, p->msg);
        pbuf_free(p);
    }
}

static void on_ws_end(void *user, const struct ws_end *end)
{
    struct test_client *const c = user;
    c->ws = NULL;
    c->status.signal = false;
    c->net->now = loop_refresh(c->net->loop);
    if (c->leaving) {
        test_client_finish_(c, false, "left");
    } else if (!c->status.joined) {
        test_client_finish_(c, true, end->reason);
    } else if (!c->status.ended) {
        test_client_emit_(c, TEST_CLIENT_SIGNAL_LOST);
    }
}

static void on_open(void *user, struct ws *w)
{
    struct test_client *const c = user;
    c->ws = w;
    c->status.signal = true;
}

static void on_refused(void *user, unsigned status, struct bytes body, int error)
{
    struct test_client *const c = user;
    char text[140];
    if (status != 0) {
        (void)snprintf(text, sizeof(text), "refused with %u: %.*s", status, (int)MIN(body.n, 100u),
                       (const char *)body.p);
    } else {
        (void)snprintf(text, sizeof(text), "cannot connect: %s", strerror(-error));
    }
    test_client_finish_(c, true, text);
}

static int open_signal(struct test_client *c, const struct client_join *j)
{
    struct dynbuf target;
    dynbuf_init(&target, 1u << 20);
    int rc = client_signal_target(&c->url, j, &target);
    if (rc == 0) {
        struct ws_client_conf const conf = {
            .addr = c->url.addr,
            .host = c->url.host,
            .target = dynbuf_cstr(&target),
            .ws = {.ping_ms = -1,
                   .deflate = c->net->deflate,
                   .on_message = on_message,
                   .on_end = on_ws_end,
                   .user = c},
            .on_open = on_open,
            .on_refused = on_refused,
            .user = c,
        };
        rc = ws_client_connect(c->net->loop, &conf, &c->connection);
    }
    dynbuf_done(&target);
    return rc;
}

static void on_timer(void *user)
{
    struct test_client *const c = user;
    if (c->leaving) {
        test_client_finish_(c, false, "left, the server did not close");
        return;
    }
    c->ping_again = !c->ping_again;
    int64_t const wait_us = c->ping_again ? PING_GAP_US : c->ping_us - PING_GAP_US;
    client_timer_set(&c->timer, c->net, mono_add_us(c->net->now, wait_us));
    if (c->ws == NULL) {
        return;
    }
    int64_t const now_ms = clock_wall().us / US_PER_MS;
    if (c->ping_again) {
        test_client_must_(c, client_signal_ping(c->ws, now_ms), "ping");
    } else {
        c->ping_sent_ms = now_ms;
        test_client_must_(c, client_signal_ping_req(c->ws, now_ms, c->ping_rtt_ms), "ping");
    }
}

// ---- life ---------------------------------------------------------------------------------------

// v1: the offer travels in the request.
static int join_v1(struct test_client *c, struct client_join *j, struct dynbuf *sdp)
{
    int rc = test_client_make_pc_(c, CLIENT_PUBLISHER);
    if (rc == 0 && !c->conf.no_data) {
        rc = jsep_add_data_section(c->pc[CLIENT_PUBLISHER]->jsep);
    }
    if (rc == 0) {
        rc = test_client_add_spare_(c, c->conf.spare_audio, c->conf.spare_video);
    }
    if (rc == 0 && jsep_count(c->pc[CLIENT_PUBLISHER]->jsep) > 0) {
        rc = client_pc_create_offer(c->pc[CLIENT_PUBLISHER], sdp);
        j->offer = dynbuf_view(sdp);
        j->offer_id = ++c->offer_id;
        c->outstanding = true;
    }
    return rc;
}

static int start(struct test_client *c)
{
    struct dynbuf sdp;
    struct client_join j = {.v0 = c->conf.v0, .token = c->token, .auto_subscribe = !c->conf.manual};
    int rc = client_url_parse(c->conf.url, &c->url);
    if (rc == 0) {
        rc = client_net_route(&c->url.addr, &c->local);
    }
    if (rc == 0) {
        rc = client_timer_init(&c->timer, c->net, on_timer, c);
    }
    if (rc < 0) {
        return rc;
    }
    dynbuf_init(&sdp, JSEP_MAX_TEXT);
    if (!c->conf.v0) {
        rc = join_v1(c, &j, &sdp);
    }
    if (rc == 0) {
        rc = open_signal(c, &j);
    }
    dynbuf_done(&sdp);
    return rc;
}

int test_client_new(const struct test_client_conf *conf, struct test_client **ret)
{
    struct test_client *const c = NEW(struct test_client);
    if (c == NULL) {
        return -ENOMEM;
    }
    c->conf = *conf;
    c->net = conf->net;
    c->status.leave_reason = c->status.leave_action = -1;
    client_net_refresh(c->net);
    c->status.started_at = c->net->now;
    c->token = mem_strdup(conf->token);
    int const rc = c->token != NULL ? start(c) : -ENOMEM;
    if (rc < 0) {
        test_client_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void test_client_free(struct test_client *c)
{
    if (c == NULL) {
        return;
    }
    ws_client_free(c->connection);
    client_timer_done(&c->timer, c->net);
    for (size_t i = 0; i < c->sender_count; i++) {
        client_sender_free(c->senders[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        client_pc_free(c->pc[i]);
    }
    struct remote *r = c->remotes;
    struct remote *next = NULL;
    for (; r != NULL; r = next) {
        next = r->hh.next;
        HASH_DEL(c->remotes, r);
        mem_free(r);
    }
    mem_free(c->token);
    mem_free(c);
}

void test_client_leave(struct test_client *c)
{
    client_net_refresh(c->net);
    if (c->status.ended || c->status.failed) {
        return;
    }
    c->leaving = true;
    if (client_signal_leave(c->ws) < 0) {
        test_client_finish_(c, false, "left without a signalling socket");
        return;
    }
    client_timer_set(&c->timer, c->net, mono_add_us(c->net->now, LEAVE_US));
}

void test_client_cut_signal(struct test_client *c)
{
    ws_client_free(c->connection);
    c->connection = NULL;
    c->ws = NULL;
    c->status.signal = false;
}

int test_client_resume(struct test_client *c)
{
    if (!c->status.joined) {
        return -EPROTO;
    }
    test_client_cut_signal(c);
    c->resuming = true;
    c->need_offer = false;
    struct client_join const j = {
        .v0 = c->conf.v0,
        .token = c->token,
        .auto_subscribe = !c->conf.manual,
        .reconnect = true,
        .participant_sid = c->status.sid,
    };
    return open_signal(c, &j);
}

// ---- reading ------------------------------------------------------------------------------------

const struct test_client_status *test_client_status(const struct test_client *c)
{
    return &c->status;
}

const struct client_sender *test_client_track(const struct test_client *c, size_t index)
{
    return index < c->sender_count ? c->senders[index] : NULL;
}

uint64_t test_client_sent(const struct test_client *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->sender_count; i++) {
        n += client_sender_packets(c->senders[i]);
    }
    return n;
}

int test_client_subscribe(struct test_client *c, const char *track_sid, bool subscribe)
{
    return client_signal_subscribe(c->ws, track_sid, subscribe);
}

int test_client_track_settings(struct test_client *c, const char *track_sid, bool disabled,
                               int quality)
{
    return client_signal_track_settings(c->ws, track_sid, disabled, quality);
}

static const struct client_pc *receiving_pc(const struct test_client *c)
{
    return c->conf.v0 ? c->pc[CLIENT_SUBSCRIBER] : c->pc[CLIENT_PUBLISHER];
}

const struct client_stream *test_client_next_stream(const struct test_client *c,
                                                    const struct client_stream *s)
{
    const struct client_pc *const pc = receiving_pc(c);
    if (s != NULL) {
        return s->hh.next;
    }
    return pc != NULL ? pc->streams : NULL;
}

void test_client_sum(const struct test_client *c, struct client_stream_stats *sum)
{
    const struct client_stream *s = NULL;
    while ((s = test_client_next_stream(c, s)) != NULL) {
        client_stream_stats_add(sum, &s->stats);
    }
}

uint32_t test_client_socket_drops(const struct test_client *c)
{
    uint32_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        n += c->pc[i] != NULL ? client_socket_drops(&c->pc[i]->socket) : 0;
    }
    return n;
}

const struct client_pc *test_client_pc(const struct test_client *c, size_t i)
{
    return i < 2 ? c->pc[i] : NULL;
}
