// SPDX-License-Identifier: Apache-2.0
#include "tests/support/room_harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/lk/livekit.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/room/join.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/room_api.h"
#include "sfu/room/router.h"
#include "sfu/transport/peer_connection.h"
#include "sfu/wire/codec.h"
#include "tests/support/room_client.h"

#define UNIX_NOW INT64_C(1790000000)
#define POOL_INITIAL 256
#define POOL_FREE_WANTED 1024

void room_must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "room_harness: %s failed\n", what);
        abort();
    }
}

void room_harness_violation(struct room_harness *h, const char *format, ...)
{
    char text[sizeof(h->violation)];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    bool const watched = h->watched != NULL && strstr(text, h->watched) != NULL;
    if (h->violations++ == 0 || (watched && h->watched_violations == 0)) {
        memcpy(h->violation, text, sizeof(text));
    }
    h->watched_violations += watched;
}

// ---- whose code runs ------------------------------------------------------------------------

static bool server_runs(const struct room_harness *h, bool on)
{
    return h->server_runs != NULL && h->server_runs(on);
}

// The network is not the server's.
static void flush_outbox(struct outbox *o, void *user)
{
    struct room_harness *const h = user;
    bool const was = server_runs(h, false);
    h->flush(o, &h->ep);
    (void)server_runs(h, was);
}

// ---- life -----------------------------------------------------------------------------------

static void init_env(struct room_harness *h, const struct room_harness_conf *conf)
{
    static const char *const candidates[] = {
        "candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host"};
    h->conf = (struct room_conf){
        .server_version = "1.13.5",
        .node_id = "ND_test",
        .region = "",
        .empty_timeout_s = 300,
        .departure_timeout_s = 20,
        .max_participants = conf->max_participants,
        .codecs = (1u << CODEC_OPUS) | (1u << CODEC_RED) | (1u << CODEC_VP8) | (1u << CODEC_VP9) |
                  (1u << CODEC_H264),
        .candidates = candidates,
        .candidate_count = 1,
        .candidates_one = candidates,
        .candidate_one_count = 1,
    };
    h->env = (struct room_env){
        .rng = &h->rng,
        .outbox = &h->ep.out,
        .pool = &h->pool,
        .timers = &h->timers,
        .flows = &h->flows,
        .cert = h->cert,
        .fingerprint = h->fingerprint,
        .conf = &h->conf,
    };
    handle_table_init(&h->env.transports, WORKER_TRANSPORTS_MAX);
    handle_table_init(&h->env.subscriptions, WORKER_SUBSCRIPTIONS_MAX);
    handle_table_init(&h->env.tracks, WORKER_TRACKS_MAX);
    room_must(sctp_hub_new(NULL, NULL, &h->env.sctp) == 0, "sctp_hub_new");
}

// Made once a process: keys cost milliseconds, which a fuzzer would spend on nothing else.
static struct dtls_cert *certificate(size_t i)
{
    static struct dtls_cert *certs[2];
    if (certs[i] == NULL) {
        room_must(dtls_cert_new(UNIX_NOW, &certs[i]) == 0, "dtls_cert_new");
    }
    return certs[i];
}

static void set_clock(struct room_harness *h)
{
    h->env.now = h->now;
    h->env.wall = (wall_t){h->now.us + UNIX_NOW * US_PER_S};
    h->ep.now = h->now;
}

void room_harness_init(struct room_harness *h, const struct room_harness_conf *conf)
{
    *h = (struct room_harness){.now = {1000000}, .signal_us = conf->signal_us};
    uint8_t seed[RNG_SEED_LEN] = {2};
    struct wr w = wr_init(seed, sizeof(seed));
    wr_be64(&w, conf->seed + 1);
    rng_seed(&h->rng, seed);
    h->addr = addr_v4(192, 0, 2, 1, 7882);
    h->net = vnet_new(conf->seed);
    vnet_set_link(h->net, NULL, NULL, &conf->link);
    room_must(srtp_batch_new(SRTP_BATCH_AUTO, &h->batch) == 0, "srtp_batch_new");
    vnet_endpoint_init(&h->ep, h->net, &h->addr, h->batch);
    h->flush = h->ep.out.flush;
    h->ep.out.flush = flush_outbox;
    h->ep.out.user = h;
    h->cert = certificate(0);
    h->client_cert = certificate(1);
    (void)snprintf(h->fingerprint, sizeof(h->fingerprint), "sha-256 %s",
                   dtls_cert_fingerprint(h->cert));
    (void)snprintf(h->client_fingerprint, sizeof(h->client_fingerprint), "sha-256 %s",
                   dtls_cert_fingerprint(h->client_cert));
    uint32_t const max = conf->packet_max != 0 ? conf->packet_max : 65536;
    room_must(packet_pool_init(&h->pool, max, MIN(max, (uint32_t)POOL_INITIAL)) == 0, "pool");
    timer_heap_init(&h->timers);
    flow_table_init(&h->flows, 7);
    init_env(h, conf);
    set_clock(h);
    room_must(sctp_hub_new(NULL, NULL, &h->client_hub) == 0, "sctp_hub_new");
    h->keys = api_keys_new();
    room_must(h->keys != NULL && api_keys_add(h->keys, bytes_str("key"),
                                              bytes_str("0123456789abcdef0123456789abcdef")) == 0,
              "api_keys");
}

static void check_empty(struct room_harness *h)
{
    struct packet_pool_stats s;
    packet_pool_get_stats(&h->pool, &s);
    if (s.packets != s.packets_free || s.large != s.large_free || s.small != s.small_free) {
        room_harness_violation(h, "%u packets were not returned", s.packets - s.packets_free);
    }
    if (h->env.transports.count + h->env.subscriptions.count + h->env.tracks.count != 0) {
        room_harness_violation(h, "%u transports, %u subscriptions, %u tracks are left",
                               h->env.transports.count, h->env.subscriptions.count,
                               h->env.tracks.count);
    }
    if (h->env.timer_count != 0 || h->timers.count != 0 || h->env.sessions != NULL) {
        room_harness_violation(h, "timers or sessions are left");
    }
    if (h->flows.addr_count != 0 || h->flows.ufrags != NULL) {
        room_harness_violation(h, "%zu flows are left", h->flows.addr_count);
    }
    if (h->env.no_memory != 0) {
        room_harness_violation(h, "messages were lost for memory");
    }
}

static void drop_mail(struct room_harness *h)
{
    struct room_mail *m = NULL;
    struct room_mail *next = NULL;
    DL_FOREACH_SAFE(h->mail, m, next)
    {
        channel_msg_free(m->msg);
        mem_free(m);
    }
    h->mail = NULL;
}

unsigned room_harness_done(struct room_harness *h)
{
    while (h->env.rooms != NULL) {
        room_close(h->env.rooms, DISCONNECT_SERVER_SHUTDOWN);
    }
    room_harness_turn(h);
    check_empty(h);
    while (h->clients != NULL) {
        room_client_free(h->clients);
    }
    drop_mail(h);
    pbuf_free(h->api.body);
    sctp_hub_free(h->client_hub);
    sctp_hub_free(h->env.sctp);
    handle_table_done(&h->env.transports);
    handle_table_done(&h->env.subscriptions);
    handle_table_done(&h->env.tracks);
    vnet_endpoint_done(&h->ep);
    packet_pool_done(&h->pool);
    flow_table_done(&h->flows);
    timer_heap_done(&h->timers);
    api_keys_free(h->keys);
    srtp_batch_free(h->batch);
    vnet_free(h->net);
    return h->violations;
}

// ---- messages -------------------------------------------------------------------------------

static void enqueue(struct room_harness *h, bool up, struct channel_msg *msg)
{
    struct room_mail *const m = NEW(struct room_mail);
    room_must(m != NULL, "memory");
    *m = (struct room_mail){.at = mono_add_us(h->now, h->signal_us), .up = up, .msg = msg};
    DL_APPEND(h->mail, m);
}

void room_harness_post(struct room_harness *h, struct channel_msg *m)
{
    if (h->forward != NULL) {
        h->forward(h->live, m);
    } else {
        enqueue(h, true, m);
    }
}

// The signalling thread's part, as sfu/signal/pong.h has it. False: the request is the room's.
static bool answer_ping(struct room_harness *h, const struct participant *p,
                        const struct channel_msg *m)
{
    const Livekit__SignalRequest *const req = m->u.request->msg;
    int64_t const unix_ms = h->env.wall.us / US_PER_MS;
    Livekit__SignalResponse rsp = LIVEKIT__SIGNAL_RESPONSE__INIT;
    Livekit__Pong pong = LIVEKIT__PONG__INIT;
    if (req->message_case == LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING) {
        rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG;
        rsp.pong = unix_ms;
    } else if (req->message_case == LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING_REQ) {
        rsp.message_case = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG_RESP;
        LK_SET(&pong, last_ping_timestamp, req->ping_req->timestamp);
        LK_SET(&pong, timestamp, unix_ms);
        rsp.pong_resp = &pong;
    } else {
        return false;
    }
    bool const was = server_runs(h, false); // not the worker's
    struct channel_msg *const answer = channel_msg_new(CHANNEL_SEND, m->handle);
    room_must(answer != NULL && pbuf_pack_shared(&rsp.base, 64, &answer->u.send.data) == 0, "pack");
    channel_credit_note_ping(p->credit, h->now);
    enqueue(h, false, answer);
    (void)server_runs(h, was);
    return true;
}

// As on_mail of the worker. True: it keeps m.
static bool to_worker(struct room_harness *h, struct channel_msg *m)
{
    struct room_env *const env = &h->env;
    const struct participant *p = NULL;
    bool kept = false;
    bool const was = server_runs(h, true);
    switch (m->type) {
    case CHANNEL_JOIN:
        join_session(env, m->handle, &m->u.join);
        break;
    case CHANNEL_REQUEST:
        p = participant_by_session(env, m->handle);
        kept = (p == NULL || !answer_ping(h, p, m)) && effort_request(env, m);
        break;
    case CHANNEL_SESSION_CLOSED:
        join_session_closed(env, m->handle);
        break;
    case CHANNEL_API:
        room_api_call(env, m->handle, &m->u.api);
        break;
    default:
        break;
    }
    (void)server_runs(h, was);
    room_harness_turn(h);
    return kept;
}

static void on_api_reply(struct room_harness *h, struct channel_msg *m)
{
    if (!handle_eq(m->handle, h->api_call)) {
        room_harness_violation(h, "a room service call was answered twice");
        return;
    }
    h->api_call = HANDLE_NONE;
    const struct channel_api_reply *const r = &m->u.api_reply;
    pbuf_free(h->api.body);
    h->api = (struct room_api_result){.done = true};
    (void)snprintf(h->api.error, sizeof(h->api.error), "%s", lk_str(r->error));
    (void)snprintf(h->api.text, sizeof(h->api.text), "%s", lk_str(r->error_msg));
    if (r->error == NULL) {
        // Kept undecoded in a pbuf of its own: the caller knows the type.
        struct bytes const body = shared_buf_view(r->body);
        h->api.body = pbuf_new(body.n + 4096);
        room_must(h->api.body != NULL, "memory");
        struct bytes *const copy = arena_alloc(&h->api.body->arena, sizeof(*copy));
        uint8_t *const data = arena_alloc(&h->api.body->arena, body.n + 1);
        room_must(copy != NULL && data != NULL, "memory");
        if (body.n > 0) {
            memcpy(data, body.p, body.n);
        }
        *copy = bytes_of(data, body.n);
        h->api.body->msg = copy;
    }
}

void room_harness_deliver(struct room_harness *h, struct channel_msg *m)
{
    if (h->tap != NULL) {
        h->tap(h->tap_user, m);
    }
    switch (m->type) {
    case CHANNEL_SEND:
    case CHANNEL_CLOSE:
        room_client_deliver(h, m);
        break;
    case CHANNEL_API_REPLY:
        on_api_reply(h, m);
        break;
    case CHANNEL_ROOM_ENDED:
        h->rooms_ended++;
        break;
    case CHANNEL_ROOM_INFO:
        h->room_infos++;
        h->last_info = m->u.room_info;
        h->last_info.name = NULL;
        h->last_info.room = NULL;
        break;
    default:
        break;
    }
}

static void deliver_mail(struct room_harness *h)
{
    while (h->mail != NULL && mono_reached(h->mail->at, h->now)) {
        struct room_mail *const m = h->mail;
        DL_DELETE(h->mail, m);
        if (!m->up) {
            room_harness_deliver(h, m->msg);
        }
        if (!m->up || !to_worker(h, m->msg)) {
            channel_msg_free(m->msg);
        }
        mem_free(m);
    }
}

static bool api_done(void *arg)
{
    return ((struct room_harness *)arg)->api.done;
}

const struct room_api_result *room_harness_api(struct room_harness *h, enum room_api_method method,
                                               const char *room, const ProtobufCMessage *request)
{
    struct dynbuf b;
    dynbuf_init(&b, (size_t)16 << 20);
    room_must(pbuf_pack(request, &b) == 0, "pbuf_pack");
    pbuf_free(h->api.body);
    h->api = (struct room_api_result){0};
    h->api_call = (handle_t){++h->last_session, 2};
    struct channel_msg *const m = channel_msg_new(CHANNEL_API, h->api_call);
    room_must(m != NULL, "memory");
    m->u.api = (struct channel_api){.method = method, .room_name = mem_strdup(room)};
    m->u.api.request = mem_alloc(b.n + 1);
    room_must(m->u.api.request != NULL && m->u.api.room_name != NULL, "memory");
    memcpy(m->u.api.request, b.p != NULL ? b.p : (const uint8_t *)"", b.n);
    m->u.api.request_len = b.n;
    dynbuf_done(&b);
    room_harness_post(h, m);
    if (!room_harness_until(h, api_done, h, 5 * US_PER_S)) {
        room_harness_violation(h, "a room service call was not answered");
    }
    return &h->api;
}

// ---- turns ----------------------------------------------------------------------------------

static bool run_handshakes(struct room_harness *h)
{
    struct room_dtls_job *job = h->env.dtls_head;
    h->env.dtls_head = h->env.dtls_tail = NULL;
    bool const any = job != NULL;
    while (job != NULL) {
        struct room_dtls_job *const next = job->next;
        dtls_work_run(job->work);
        struct pc_transport *const t = handle_table_get(&h->env.transports, job->transport);
        if (t != NULL) {
            pc_transport_dtls_done(t, job->work);
        } else {
            dtls_work_free(job->work);
        }
        mem_free(job);
        job = next;
    }
    return any;
}

void room_harness_turn(struct room_harness *h)
{
    bool const was = server_runs(h, true);
    do {
        router_flush(&h->env);
        outbox_flush(&h->ep.out);
    } while (run_handshakes(h));
    outbox_flush(&h->ep.out);
    (void)!packet_pool_grow(&h->pool, POOL_FREE_WANTED);
    (void)server_runs(h, was);
    while (h->env.out_head != NULL) {
        struct channel_msg *const m = h->env.out_head;
        h->env.out_head = m->next;
        enqueue(h, false, m);
    }
    h->env.out_tail = NULL;
}

// As receive_batch and find_transport of the worker.
void room_harness_datagram(struct room_harness *h, const struct addr *src, struct bytes data)
{
    struct packet *const p = packet_pool_get(&h->pool);
    if (p == NULL || data.n == 0 || data.n > PACKET_DATA_CAP) {
        packet_unref(p);
        return;
    }
    bool const was = server_runs(h, true);
    memcpy(p->data, data.p, data.n);
    p->len = (uint16_t)data.n;
    p->arrival = h->now;
    struct pc_transport *t = flow_table_by_addr(&h->flows, src);
    struct bytes ufrag;
    if ((t == NULL || p->data[0] < 4) && stun_peek_local_ufrag(packet_bytes(p), &ufrag) == 0) {
        t = flow_table_by_ufrag(&h->flows, ufrag);
    }
    if (t != NULL) {
        pc_transport_input(t, 0, src, p);
    } else {
        h->unknown_source++;
    }
    packet_unref(p);
    (void)server_runs(h, was);
}

static void deliver_datagrams(struct room_harness *h)
{
    struct vnet_datagram d;
    bool any = false;
    while (vnet_next(h->net, h->now, &d)) {
        if (addr_eq(&d.dst, &h->addr)) {
            room_harness_datagram(h, &d.src, bytes_of(d.data.p, d.data.n));
            any = true;
        } else {
            room_client_datagram(h, &d);
        }
    }
    if (any) {
        room_harness_turn(h);
    }
}

static void tick(struct room_harness *h)
{
    bool const was = server_runs(h, true);
    if (mono_reached(sctp_hub_deadline(h->env.sctp), h->now)) {
        sctp_hub_tick(h->env.sctp, h->now);
    }
    for (struct sctp_transport *s = NULL; (s = sctp_hub_next_ready(h->env.sctp)) != NULL;) {
        pc_transport_sctp_ready(peer_connection_user(peer_connection_of_sctp(s)));
    }
    for (struct timer *t = NULL; (t = timer_heap_pop(&h->timers, h->now)) != NULL;) {
        room_timer_expired(&h->env, t);
    }
    (void)server_runs(h, was);
    room_harness_turn(h);
}

static mono_t next_event(const struct room_harness *h)
{
    mono_t next = mono_min(vnet_deadline(h->net), timer_heap_next(&h->timers));
    next = mono_min(next, sctp_hub_deadline(h->env.sctp));
    if (h->mail != NULL) {
        next = mono_min(next, h->mail->at);
    }
    return mono_min(next, room_clients_deadline(h));
}

static void step(struct room_harness *h, mono_t end)
{
    h->now = mono_max(h->now, mono_min(end, next_event(h)));
    set_clock(h);
    deliver_mail(h);
    deliver_datagrams(h);
    tick(h);
    room_clients_tick(h);
}

void room_harness_run(struct room_harness *h, int64_t duration_us)
{
    mono_t const end = mono_add_us(h->now, duration_us);
    // A deadline that does not move would hang here.
    int64_t budget = duration_us + 100000;
    while (mono_before(h->now, end)) {
        room_must(budget-- > 0, "progress of virtual time");
        step(h, end);
    }
}

bool room_harness_until(struct room_harness *h, bool (*cond)(void *arg), void *arg,
                        int64_t limit_us)
{
    mono_t const end = mono_add_us(h->now, limit_us);
    while (!cond(arg) && mono_before(h->now, end)) {
        room_harness_run(h, 1000);
    }
    return cond(arg);
}

handle_t room_harness_join_claims(struct room_harness *h, const struct access_claims *claims,
                                  int32_t protocol)
{
    handle_t const session = {++h->last_session, 3};
    struct channel_msg *const m = channel_msg_new(CHANNEL_JOIN, session);
    Livekit__JoinRequest j = LIVEKIT__JOIN_REQUEST__INIT;
    Livekit__ClientInfo info = LIVEKIT__CLIENT_INFO__INIT;
    LK_SET(&info, protocol, protocol);
    j.client_info = &info;
    struct dynbuf d;
    dynbuf_init(&d, 4096);
    m->u.join = (struct channel_join){.room_name = mem_strdup("room"), .v1 = true};
    room_must(access_token_new(claims, "key", &m->u.join.token) == 0, "token");
    room_must(pbuf_pack(&j.base, &d) == 0, "pack");
    room_must(pbuf_unpack(&livekit__join_request__descriptor, dynbuf_view(&d), 4096,
                          &m->u.join.request) == 0,
              "unpack");
    dynbuf_done(&d);
    room_harness_post(h, m);
    return session;
}
