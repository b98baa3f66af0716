// SPDX-License-Identifier: Apache-2.0
#include "tests/support/pc_pair.h"

#include <stdio.h>
#include <stdlib.h>

#define RTP_EVERY_US 20000
#define RTCP_EVERY_US 200000
#define RTP_HEADER 12
#define PAYLOAD 160
#define SEQUENCES 65536
#define UNIX_NOW INT64_C(1790000000)

static void must(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "pc_pair: %s failed\n", what);
        exit(2);
    }
}

static struct addr address_of(size_t i)
{
    return i == PC_SERVER ? addr_v4(192, 0, 2, 1, 7882) : addr_v4(10, 0, 0, 5, 40000);
}

void pc_pair_init(struct pc_pair *p, const struct pc_pair_config *cfg)
{
    *p = (struct pc_pair){.now = {1000000}};
    uint8_t seed[RNG_SEED_LEN] = {1};
    struct wr w = wr_init(seed, sizeof(seed));
    wr_be64(&w, cfg->seed + 1);
    rng_seed(&p->rng, seed);
    p->net = vnet_new(cfg->seed);
    vnet_set_link(p->net, NULL, NULL, &cfg->link);
    must(srtp_batch_new(SRTP_BATCH_AUTO, &p->batch) == 0, "srtp_batch_new");
    for (size_t i = 0; i < 2; i++) {
        struct pc_side *const s = &p->side[i];
        s->addr = address_of(i);
        s->work_us = cfg->work_us;
        s->send_media = true;
        s->seen = calloc(SEQUENCES / 8, 1);
        must(s->seen != NULL, "calloc");
        vnet_endpoint_init(&s->ep, p->net, &s->addr, p->batch);
        s->ep.now = p->now;
        s->cert = cfg->certs[i];
        s->cert_borrowed = s->cert != NULL;
        if (s->cert == NULL) {
            must(dtls_cert_new(UNIX_NOW, &s->cert) == 0, "dtls_cert_new");
        }
        if (cfg->sctp) {
            must(sctp_hub_new(NULL, NULL, &s->hub) == 0, "sctp_hub_new");
        }
        ice_creds_generate(&p->rng, "", &s->creds);
        struct peer_connection_config const c = {
            .ice = {.role = i == PC_SERVER ? ICE_ROLE_LITE : ICE_ROLE_FULL,
                    .rng = &p->rng,
                    .connect_timeout_ms = 30000,
                    .nominate_always = cfg->client_repeats_nomination},
            .creds = s->creds,
            .cert = s->cert,
            .hub = s->hub,
            .user = s,
        };
        must(peer_connection_new(&c, p->now, &s->pc) == 0, "peer_connection_new");
    }
}

void pc_pair_done(struct pc_pair *p)
{
    for (size_t i = 0; i < 2; i++) {
        struct pc_side *const s = &p->side[i];
        outbox_flush(&s->ep.out);
        peer_connection_free(s->pc);
        dtls_work_free(s->work);
        sctp_hub_free(s->hub);
        if (!s->cert_borrowed) {
            dtls_cert_free(s->cert);
        }
        vnet_endpoint_done(&s->ep);
        free(s->seen);
    }
    srtp_batch_free(p->batch);
    vnet_free(p->net);
}

// ---- signalling -----------------------------------------------------------------------------

static void set_remote(struct pc_pair *p, size_t i, const struct pc_pair_config *cfg)
{
    struct pc_side *const s = &p->side[i];
    const struct pc_side *const other = &p->side[1 - i];
    bool const wrong = cfg->wrong_fingerprint && i == PC_SERVER;
    struct dtls_fingerprint f;
    const char *const text = dtls_cert_fingerprint(wrong ? s->cert : other->cert);
    must(dtls_fingerprint_parse(bytes_str("sha-256"), bytes_str(text), &f) == 0, "fingerprint");
    bool const is_client = cfg->server_is_dtls_client == (i == PC_SERVER);
    struct peer_connection_remote const r = {
        .ufrag = bytes_str(other->creds.ufrag),
        .pwd = bytes_str(other->creds.pwd),
        .lite = i == PC_CLIENT,
        .fingerprints = &f,
        .fingerprint_count = 1,
        .dtls_role = is_client ? DTLS_ROLE_CLIENT : DTLS_ROLE_SERVER,
    };
    struct ice_local const local = {s->addr, 0};
    must(peer_connection_set_locals(s->pc, &local, 1) == 0, "set_locals");
    must(peer_connection_set_remote(s->pc, p->now, &r, &s->ep.out) == 0, "set_remote");
    must(peer_connection_add_remote_candidate(s->pc, p->now, &other->addr, 2130706431) == 0,
         "candidate");
    if (cfg->sctp) {
        must(peer_connection_enable_sctp(s->pc, p->now, 65536, &s->ep.out) == 0, "enable_sctp");
    }
}

void pc_pair_signal(struct pc_pair *p, const struct pc_pair_config *cfg)
{
    set_remote(p, PC_SERVER, cfg);
    set_remote(p, PC_CLIENT, cfg);
}

void pc_pair_restart(struct pc_pair *p, const struct pc_pair_config *cfg, int64_t delay_us)
{
    for (size_t i = 0; i < 2; i++) {
        ice_creds_generate(&p->rng, "", &p->side[i].creds);
    }
    peer_connection_restart(p->side[PC_CLIENT].pc, p->now, &p->side[PC_CLIENT].creds);
    peer_connection_restart(p->side[PC_SERVER].pc, p->now, &p->side[PC_SERVER].creds);
    set_remote(p, PC_SERVER, cfg);
    pc_pair_run(p, delay_us);
    set_remote(p, PC_CLIENT, cfg);
}

// ---- media ----------------------------------------------------------------------------------

static uint8_t pattern(uint64_t sn, size_t i)
{
    return (uint8_t)(sn * 31 + i * 7);
}

static void send_rtp(struct pc_side *s)
{
    uint8_t packet[RTP_HEADER + PAYLOAD];
    struct wr w = wr_init(packet, sizeof(packet));
    uint64_t const sn = s->rtp_sent;
    wr_u8(&w, 0x80);
    wr_u8(&w, 96);
    wr_be16(&w, (uint16_t)sn);
    wr_be32(&w, (uint32_t)sn * 960);
    wr_be32(&w, 0x1234);
    for (size_t i = 0; i < PAYLOAD; i++) {
        wr_u8(&w, pattern(sn, i));
    }
    must(peer_connection_send_rtp(s->pc, wr_bytes_view(&w), RTP_HEADER, sn, &s->ep.out) == 0,
         "send_rtp");
    s->rtp_sent++;
}

static void send_rtcp(struct pc_side *s)
{
    static const uint8_t rr[8] = {0x80, 201, 0, 1, 0, 0, 0x12, 0x34};
    must(peer_connection_send_rtcp(s->pc, bytes_of(rr, sizeof(rr)), &s->ep.out) == 0, "send_rtcp");
    s->rtcp_sent++;
}

static void send_media(struct pc_side *s, mono_t now)
{
    if (!s->send_media || peer_connection_path(s->pc)->srtp == NULL) {
        s->next_rtp = now;
        s->next_rtcp = now;
        return;
    }
    if (mono_reached(s->next_rtp, now)) {
        send_rtp(s);
        s->next_rtp = mono_add_us(now, RTP_EVERY_US);
    }
    if (mono_reached(s->next_rtcp, now)) {
        send_rtcp(s);
        s->next_rtcp = mono_add_us(now, RTCP_EVERY_US);
    }
}

static void receive(struct pc_side *s, enum peer_connection_rx rx, struct bytes_mut b)
{
    if (rx == PEER_CONNECTION_RX_RTCP) {
        s->rtcp_received++;
        s->corrupt = s->corrupt || b.n != 8 || b.p[1] != 201;
        return;
    }
    if (b.n != RTP_HEADER + PAYLOAD) {
        s->corrupt = true;
        return;
    }
    uint16_t const sn = (uint16_t)((b.p[2] << 8) | b.p[3]);
    uint8_t const bit = (uint8_t)(1u << (sn % 8));
    s->corrupt = s->corrupt || (s->seen[sn / 8] & bit) != 0;
    s->seen[sn / 8] |= bit;
    for (size_t i = 0; i < PAYLOAD; i++) {
        s->corrupt = s->corrupt || b.p[RTP_HEADER + i] != pattern(sn, i);
    }
    s->rtp_received++;
    s->highest_rtp = MAX(s->highest_rtp, (uint64_t)sn + 1);
}

// ---- the loop -------------------------------------------------------------------------------

static void on_event(struct pc_pair *p, struct pc_side *s, const struct peer_connection_event *e)
{
    switch (e->kind) {
    case PEER_CONNECTION_EVENT_STATE:
        s->state = e->state;
        s->failure = e->failure;
        if (e->state == PEER_CONNECTION_CONNECTED) {
            s->connected_at = p->now;
        } else if (e->state == PEER_CONNECTION_FAILED) {
            s->failed_at = p->now;
        } else if (e->state == PEER_CONNECTION_DISCONNECTED) {
            s->disconnected_at = p->now;
        }
        break;
    case PEER_CONNECTION_EVENT_SELECTED:
        s->selections++;
        break;
    case PEER_CONNECTION_EVENT_TUPLE_ADDED:
        s->tuples_added++;
        break;
    case PEER_CONNECTION_EVENT_TUPLE_REMOVED:
        s->tuples_removed++;
        break;
    case PEER_CONNECTION_EVENT_UFRAG_RETIRED:
        s->ufrags_retired++;
        break;
    case PEER_CONNECTION_EVENT_PEER_CLOSED:
        s->peer_closed++;
        break;
    case PEER_CONNECTION_EVENT_SCTP:
        s->channels_open += e->sctp.kind == SCTP_EVENT_CHANNEL_OPEN;
        if (e->sctp.kind == SCTP_EVENT_MESSAGE) {
            s->messages++;
            s->message_bytes += e->sctp.data.n;
        }
        break;
    }
}

static void advance(struct pc_pair *p, struct pc_side *s)
{
    struct peer_connection_event e;
    while (peer_connection_poll_event(s->pc, &e)) {
        on_event(p, s, &e);
    }
    enum peer_connection_rx rx;
    struct bytes_mut b;
    mono_t arrival;
    while ((rx = peer_connection_next_early(s->pc, p->now, &b, &arrival)) !=
           PEER_CONNECTION_RX_NONE) {
        s->early_received++;
        receive(s, rx, b);
    }
    if (s->work == NULL && !s->no_dtls) {
        s->work = peer_connection_take_dtls_work(s->pc, p->now);
        s->work_due = mono_add_us(p->now, s->work_us);
    }
}

static void finish_work(struct pc_pair *p, struct pc_side *s)
{
    while (s->work != NULL && mono_reached(s->work_due, p->now)) {
        struct dtls_work *const w = s->work;
        s->work = NULL;
        dtls_work_run(w);
        peer_connection_finish_dtls_work(s->pc, p->now, w, &s->ep.out);
        advance(p, s);
    }
}

static void tick_sctp(struct pc_pair *p, struct pc_side *s)
{
    if (s->hub == NULL) {
        return;
    }
    if (mono_reached(sctp_hub_deadline(s->hub), p->now)) {
        sctp_hub_tick(s->hub, p->now);
    }
    // Also what the other hub's tick made for this one.
    struct sctp_transport *t;
    while ((t = sctp_hub_next_ready(s->hub)) != NULL) {
        peer_connection_flush_sctp(peer_connection_of_sctp(t), &s->ep.out);
    }
}

static void step_side(struct pc_pair *p, struct pc_side *s)
{
    if (mono_reached(peer_connection_deadline(s->pc), p->now)) {
        peer_connection_timeout(s->pc, p->now, &s->ep.out);
    }
    tick_sctp(p, s);
    advance(p, s);
    finish_work(p, s);
    send_media(s, p->now);
    outbox_flush(&s->ep.out);
}

static void deliver(struct pc_pair *p)
{
    struct vnet_datagram d;
    while (vnet_next(p->net, p->now, &d)) {
        for (size_t i = 0; i < 2; i++) {
            struct pc_side *const s = &p->side[i];
            if (!addr_eq(&d.dst, &s->addr)) {
                continue;
            }
            struct bytes_mut packet;
            enum peer_connection_rx const rx =
                peer_connection_input(s->pc, p->now, 0, &d.src, d.data, &s->ep.out, &packet);
            if (rx != PEER_CONNECTION_RX_NONE) {
                receive(s, rx, packet);
            }
            advance(p, s);
            finish_work(p, s);
            outbox_flush(&s->ep.out);
        }
    }
}

static mono_t side_deadline(const struct pc_side *s)
{
    mono_t d = peer_connection_deadline(s->pc);
    if (s->work != NULL) {
        d = mono_min(d, s->work_due);
    }
    if (s->hub != NULL) {
        d = mono_min(d, sctp_hub_deadline(s->hub));
    }
    if (s->send_media && peer_connection_path(s->pc)->srtp != NULL) {
        d = mono_min(d, mono_min(s->next_rtp, s->next_rtcp));
    }
    return d;
}

// To the next moment at which something happens, at most end.
static void step(struct pc_pair *p, mono_t end)
{
    mono_t next = mono_min(end, vnet_deadline(p->net));
    for (size_t i = 0; i < 2; i++) {
        next = mono_min(next, side_deadline(&p->side[i]));
    }
    p->now = mono_max(p->now, next);
    for (size_t i = 0; i < 2; i++) {
        p->side[i].ep.now = p->now;
    }
    deliver(p);
    for (size_t i = 0; i < 2; i++) {
        step_side(p, &p->side[i]);
    }
}

void pc_pair_run(struct pc_pair *p, int64_t duration_us)
{
    mono_t const end = mono_add_us(p->now, duration_us);
    // A machine whose deadline does not move would hang here: at most 100 steps a millisecond.
    int64_t budget = duration_us / 10 + 1000;
    while (mono_before(p->now, end)) {
        must(budget-- > 0, "progress of virtual time");
        step(p, end);
    }
}

bool pc_pair_connect(struct pc_pair *p, int64_t limit_us)
{
    mono_t const end = mono_add_us(p->now, limit_us);
    for (;;) {
        bool const done = p->side[0].state == PEER_CONNECTION_CONNECTED &&
                          p->side[1].state == PEER_CONNECTION_CONNECTED;
        if (done || !mono_before(p->now, end)) {
            return done;
        }
        pc_pair_run(p, 1000);
    }
}
