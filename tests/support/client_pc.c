// SPDX-License-Identifier: Apache-2.0
#include "tests/support/client_pc.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "sfu/transport/dtls_cert.h"
#include "sfu/wire/classify.h"
#include "tests/support/client_pc_internal.h"

// livekit-client gives its peer connection 15 s.
#define ICE_CONNECT_TIMEOUT_MS 15000
// Chromium's interval on a connection that is writable and stable.
#define CHECK_MS 2500
#define FIRST_REPORT_US INT64_C(1000000)

// ---- what the transport says --------------------------------------------------------------------

static void update_senders(struct client_pc *p)
{
    for (size_t i = 0; i < p->sender_count; i++) {
        client_sender_update(p->senders[i]);
    }
}

static void take_rtp(struct client_pc *p, mono_t arrival, struct bytes packet);

static void take_early(struct client_pc *p)
{
    enum peer_connection_rx rx;
    struct bytes_mut b;
    mono_t arrival;
    while ((rx = peer_connection_next_early(p->pc, p->net->now, &b, &arrival)) !=
           PEER_CONNECTION_RX_NONE) {
        if (rx == PEER_CONNECTION_RX_RTP) {
            take_rtp(p, arrival, bytes_of(b.p, b.n));
        } else {
            client_pc_rtcp_input_(p, bytes_of(b.p, b.n));
        }
    }
}

static void on_sctp(struct client_pc *p, const struct sctp_event *e)
{
    p->data_messages += e->kind == SCTP_EVENT_MESSAGE;
    if (e->kind == SCTP_EVENT_UP) {
        p->sctp = SCTP_STATE_UP;
        p->conf.on_state(p->conf.user, p);
    } else if (e->kind == SCTP_EVENT_DOWN) {
        p->sctp = SCTP_STATE_DOWN;
        p->conf.on_state(p->conf.user, p);
    }
}

static void on_state(struct client_pc *p, const struct peer_connection_event *e)
{
    p->state = e->state;
    p->failure = e->failure;
    if (e->state == PEER_CONNECTION_CONNECTED) {
        if (p->connected_at.us == 0) {
            p->connected_at = p->net->now;
            // Clients that joined together do not report together.
            client_timer_set(
                &p->report, p->net,
                mono_add_us(p->net->now, rng_below(&p->net->rng, (uint32_t)FIRST_REPORT_US)));
        }
        take_early(p);
    }
    update_senders(p);
    p->conf.on_state(p->conf.user, p);
}

static void drain_events(struct client_pc *p)
{
    struct peer_connection_event e;
    while (peer_connection_poll_event(p->pc, &e)) {
        switch (e.kind) {
        case PEER_CONNECTION_EVENT_STATE:
            on_state(p, &e);
            break;
        case PEER_CONNECTION_EVENT_SCTP:
            on_sctp(p, &e.sctp);
            break;
        case PEER_CONNECTION_EVENT_SELECTED:
        case PEER_CONNECTION_EVENT_TUPLE_ADDED:
        case PEER_CONNECTION_EVENT_TUPLE_REMOVED:
        case PEER_CONNECTION_EVENT_UFRAG_RETIRED:
        case PEER_CONNECTION_EVENT_PEER_CLOSED:
            break;
        }
    }
}

// After everything that may have moved the transport. Handshake steps run here: a client has
// nothing else to do then.
static void advance(struct client_pc *p)
{
    struct dtls_work *w;
    drain_events(p);
    while ((w = peer_connection_take_dtls_work(p->pc, p->net->now)) != NULL) {
        dtls_work_run(w);
        peer_connection_finish_dtls_work(p->pc, p->net->now, w, &p->net->out);
        drain_events(p);
    }
    client_timer_set(&p->timer, p->net, peer_connection_deadline(p->pc));
}

static void on_timeout(void *user)
{
    struct client_pc *const p = user;
    client_net_use(p->net, &p->socket);
    peer_connection_timeout(p->pc, p->net->now, &p->net->out);
    advance(p);
    client_net_flush(p->net);
}

static void on_sctp_ready(struct sctp_transport *t)
{
    struct peer_connection *const pc = peer_connection_of_sctp(t);
    struct client_pc *const p = peer_connection_user(pc);
    client_net_use(p->net, &p->socket);
    peer_connection_flush_sctp(pc, &p->net->out);
    advance(p);
    client_net_flush(p->net);
}

// ---- packets in ---------------------------------------------------------------------------------

static struct client_stream *find_stream(struct client_pc *p, uint32_t ssrc)
{
    struct client_stream *s = p->last;
    if (s != NULL && s->ssrc == ssrc) {
        return s;
    }
    HASH_FIND(hh, p->streams, &ssrc, sizeof(ssrc), s);
    p->last = s != NULL ? s : p->last;
    return s;
}

static void note_twcc(struct client_pc *p, mono_t arrival, const struct rtp_header *h, size_t size)
{
    struct bytes data;
    uint16_t sn = 0;
    if (p->twcc != NULL && rtp_ext_find(h, p->ext_recv.id[RTP_EXT_TRANSPORT_CC], &data) &&
        rtp_ext_transport_cc(data, &sn)) {
        twcc_recorder_record(p->twcc, arrival, sn, size);
    }
}

// A decrypted packet.
static void take_rtp(struct client_pc *p, mono_t arrival, struct bytes packet)
{
    struct rtp_header h;
    if (rtp_parse(packet, &h) < 0) {
        p->malformed++;
        return;
    }
    note_twcc(p, arrival, &h, packet.n);
    struct client_stream *s = find_stream(p, h.ssrc);
    if (s != NULL) {
        client_stream_packet(s, p->net, arrival, &h, packet, true);
    } else {
        HASH_FIND(hh_rtx, p->streams_rtx, &h.ssrc, sizeof(h.ssrc), s);
        if (s == NULL) {
            p->unknown_ssrc++;
            return;
        }
        client_stream_rtx(s, p->net, arrival, &h, packet);
    }
    client_pc_schedule_feedback_(p);
}

// A packet whose header is all we look at. False if it must be decrypted.
static bool take_header(struct client_pc *p, mono_t arrival, struct bytes_mut packet)
{
    struct rtp_header h;
    if (classify_packet(bytes_of(packet.p, packet.n)) != PACKET_CLASS_RTP ||
        packet.n < RTP_HEADER_LEN) {
        return false;
    }
    struct rd r = rd_init(bytes_of(packet.p + 8, 4));
    struct client_stream *const s = find_stream(p, rd_be32(&r));
    if (s == NULL || client_pc_path(p) == NULL) {
        return false;
    }
    // The padding length is encrypted: without the bit it is not looked for.
    packet.p[0] &= 0xdf;
    if (rtp_parse(bytes_of(packet.p, packet.n), &h) < 0) {
        p->malformed++;
        return true;
    }
    note_twcc(p, arrival, &h, packet.n);
    client_stream_packet(s, p->net, arrival, &h, bytes_of(packet.p, packet.n), false);
    client_pc_schedule_feedback_(p);
    return true;
}

static bool is_media(struct bytes_mut b)
{
    return b.n > 0 && b.p[0] >= 128 && b.p[0] < 192;
}

static void on_datagram(void *user, const struct client_datagram *d)
{
    struct client_pc *const p = user;
    struct client_net *const n = p->net;
    if (n->receive_drop_ppm > 0 && is_media(d->data) &&
        rng_below(&n->rng, 1000000) < n->receive_drop_ppm) {
        return;
    }
    if (p->conf.headers_only && take_header(p, d->arrival, d->data)) {
        return;
    }
    struct bytes_mut packet;
    enum peer_connection_rx const rx =
        peer_connection_input(p->pc, n->now, 0, &d->src, d->data, &n->out, &packet);
    if (rx == PEER_CONNECTION_RX_RTP) {
        take_rtp(p, d->arrival, bytes_of(packet.p, packet.n));
        return;
    }
    if (rx == PEER_CONNECTION_RX_RTCP) {
        client_pc_rtcp_input_(p, bytes_of(packet.p, packet.n));
    }
    advance(p);
}

// ---- streams ------------------------------------------------------------------------------------

static int describe_stream(struct client_pc *p, const struct jsep_transceiver *t,
                           const struct jsep_ssrc *ssrc)
{
    struct client_stream *s;
    HASH_FIND(hh, p->streams, &ssrc->ssrc, sizeof(ssrc->ssrc), s);
    if (s != NULL) {
        return client_stream_describe(s, t);
    }
    int const rc = client_stream_new(t, ssrc, &s);
    if (rc < 0) {
        return rc;
    }
    HASH_ADD(hh, p->streams, ssrc, sizeof(s->ssrc), s);
    if (s->rtx_ssrc != 0) {
        HASH_ADD(hh_rtx, p->streams_rtx, rtx_ssrc, sizeof(s->rtx_ssrc), s);
    }
    return 0;
}

static int describe_section(struct client_pc *p, const struct jsep_transceiver *t)
{
    for (size_t i = 0; i < RTP_EXT_COUNT; i++) {
        p->ext_recv.id[i] = t->ext_recv.id[i] != 0 ? t->ext_recv.id[i] : p->ext_recv.id[i];
    }
    bool const receives =
        t->negotiated && !t->stopped && (t->direction & SDP_RECVONLY) != 0 && t->remote != NULL;
    for (uint8_t i = 0; receives && i < t->remote->ssrc_count; i++) {
        int const rc = describe_stream(p, t, &t->remote->ssrcs[i]);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

// Streams that no section names any more keep their counters.
static int update_streams(struct client_pc *p)
{
    for (struct client_stream *s = p->streams; s != NULL; s = s->hh.next) {
        s->live = false;
    }
    for (size_t i = 0; i < jsep_count(p->jsep); i++) {
        const struct jsep_transceiver *const t = jsep_at(p->jsep, i);
        if (t->kind == JSEP_AUDIO || t->kind == JSEP_VIDEO) {
            int const rc = describe_section(p, t);
            if (rc < 0) {
                return rc;
            }
        }
    }
    if (p->twcc == NULL && p->ext_recv.id[RTP_EXT_TRANSPORT_CC] != 0) {
        p->twcc = NEW(struct twcc_recorder);
        if (p->twcc == NULL) {
            return -ENOMEM;
        }
        twcc_recorder_init(p->twcc);
    }
    return 0;
}

// ---- descriptions -------------------------------------------------------------------------------

void client_pc_add_candidate(struct client_pc *p, struct bytes line)
{
    struct candidate c;
    if (candidate_parse(line, &c) < 0 || c.tcptype != CANDIDATE_TCP_NONE ||
        c.addr.family == ADDR_NONE || c.addr.tcp || c.component != 1 ||
        c.addr.family != p->socket.local.family) {
        return;
    }
    client_net_use(p->net, &p->socket);
    // More candidates than the checks have room for are simply not tried.
    if (peer_connection_add_remote_candidate(p->pc, p->net->now, &c.addr, c.priority) == 0) {
        advance(p);
    }
    client_net_flush(p->net);
}

void client_pc_local_candidate(const struct client_pc *p, char ret[static CANDIDATE_TEXT_CAP])
{
    struct candidate const c = {
        .foundation = "1",
        .component = 1,
        .priority =
            candidate_priority(CANDIDATE_HOST, false, candidate_local_pref(&p->socket.local, 0)),
        .addr = p->socket.local,
        .type = CANDIDATE_HOST,
    };
    struct wr w = wr_init(ret, CANDIDATE_TEXT_CAP - 1);
    candidate_write(&w, &c);
    ret[wr_ok(&w) ? wr_len(&w) : 0] = '\0';
}

static int parse_fingerprint(const char *text, struct dtls_fingerprint *ret)
{
    const char *const space = text != NULL ? strchr(text, ' ') : NULL;
    if (space == NULL) {
        return -EINVAL;
    }
    return dtls_fingerprint_parse(bytes_of(text, (size_t)(space - text)), bytes_str(space + 1),
                                  ret);
}

static int set_remote(struct client_pc *p)
{
    const struct jsep_remote *const remote = jsep_remote(p->jsep);
    struct dtls_fingerprint fp;
    if (parse_fingerprint(remote->fingerprint, &fp) < 0) {
        return -EINVAL;
    }
    struct peer_connection_remote const r = {
        .ufrag = bytes_str(remote->ice_ufrag),
        .pwd = bytes_str(remote->ice_pwd),
        .lite = remote->ice_lite,
        .fingerprints = &fp,
        .fingerprint_count = 1,
        .dtls_role =
            jsep_dtls_role(p->jsep) == JSEP_DTLS_SERVER ? DTLS_ROLE_SERVER : DTLS_ROLE_CLIENT,
    };
    int const rc = peer_connection_set_remote(p->pc, p->net->now, &r, &p->net->out);
    if (rc == 0 && !p->remote_set) {
        p->remote_set = true;
        p->remote_at = p->net->now;
    }
    return rc;
}

// A finished exchange: the transport, the streams and the senders follow it.
static int apply(struct client_pc *p, const struct jsep_applied *applied)
{
    const struct jsep_remote *const remote = jsep_remote(p->jsep);
    int rc = 0;
    client_net_use(p->net, &p->socket);
    if (applied->first || applied->new_fingerprint || applied->ice_restart || !p->remote_set) {
        rc = set_remote(p);
    }
    if (rc == 0 && remote->has_data) {
        rc =
            peer_connection_enable_sctp(p->pc, p->net->now, remote->max_message_size, &p->net->out);
    }
    if (rc == 0) {
        rc = update_streams(p);
    }
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < remote->candidate_count; i++) {
        client_pc_add_candidate(p, bytes_str(remote->candidates[i]));
    }
    client_net_use(p->net, &p->socket);
    advance(p);
    update_senders(p);
    client_net_flush(p->net);
    return 0;
}

int client_pc_create_offer(struct client_pc *p, struct dynbuf *out)
{
    return jsep_create_offer(p->jsep, out);
}

int client_pc_set_answer(struct client_pc *p, struct bytes sdp)
{
    struct jsep_applied applied;
    int const rc = jsep_set_remote_answer(p->jsep, sdp, &applied);
    return rc < 0 ? rc : apply(p, &applied);
}

static int new_creds(struct client_pc *p)
{
    struct ice_creds creds;
    ice_creds_generate(&p->net->rng, "", &creds);
    peer_connection_restart(p->pc, p->net->now, &creds);
    return jsep_set_local_ice(p->jsep, creds.ufrag, creds.pwd);
}

int client_pc_answer(struct client_pc *p, struct bytes offer, struct dynbuf *out)
{
    struct jsep_applied applied;
    int rc = jsep_set_remote_offer(p->jsep, offer, &applied);
    if (rc == 0 && applied.ice_restart && !applied.first) {
        rc = new_creds(p);
    }
    if (rc == 0) {
        rc = jsep_create_answer(p->jsep, out);
    }
    return rc < 0 ? rc : apply(p, &applied);
}

int client_pc_restart(struct client_pc *p)
{
    return new_creds(p);
}

int client_pc_add_sender(struct client_pc *p, struct client_sender *s)
{
    struct jsep_transceiver *t = NULL;
    if (p->sender_count == CLIENT_SENDERS_MAX) {
        return -E2BIG;
    }
    int rc = jsep_add_sender_section(p->jsep, s->conf.audio ? JSEP_AUDIO : JSEP_VIDEO, &t);
    if (rc == 0) {
        rc = client_sender_attach(s, t);
    }
    if (rc == 0) {
        p->senders[p->sender_count++] = s;
    }
    return rc;
}

void client_pc_remove_sender(struct client_pc *p, struct client_sender *s)
{
    for (size_t i = 0; i < p->sender_count; i++) {
        if (p->senders[i] == s) {
            p->senders[i] = p->senders[--p->sender_count];
            jsep_transceiver_clear_sender(s->section);
            return;
        }
    }
}

const struct peer_connection_path *client_pc_path(const struct client_pc *p)
{
    const struct peer_connection_path *const path = peer_connection_path(p->pc);
    return path->srtp != NULL ? path : NULL;
}

// ---- life ---------------------------------------------------------------------------------------

static int make_machines(struct client_pc *p)
{
    struct ice_creds creds;
    char fingerprint[16 + DTLS_CERT_FINGERPRINT_STRLEN];
    ice_creds_generate(&p->net->rng, "", &creds);
    (void)snprintf(fingerprint, sizeof(fingerprint), "sha-256 %s",
                   dtls_cert_fingerprint(p->net->cert));
    struct jsep_config const jc = {
        .client = true,
        .single_pc = p->conf.single_pc,
        .no_red = true,
        .session_id = rng_u64(&p->net->rng) >> 1,
        .fingerprint = fingerprint,
        .ice_ufrag = creds.ufrag,
        .ice_pwd = creds.pwd,
    };
    int rc = jsep_new(&jc, &p->jsep);
    if (rc < 0) {
        return rc;
    }
    struct peer_connection_config const pcc = {
        .ice = {.role = ICE_ROLE_FULL,
                .rng = &p->net->rng,
                .connect_timeout_ms = ICE_CONNECT_TIMEOUT_MS,
                .consent_ms = CHECK_MS},
        .creds = creds,
        .cert = p->net->cert,
        .hub = p->net->hub,
        .user = p,
    };
    rc = peer_connection_new(&pcc, p->net->now, &p->pc);
    if (rc < 0) {
        return rc;
    }
    struct ice_local const local = {p->socket.local, 0};
    return peer_connection_set_locals(p->pc, &local, 1);
}

int client_pc_new(const struct client_pc_conf *conf, struct client_pc **ret)
{
    struct client_pc *const p = NEW(struct client_pc);
    if (p == NULL) {
        return -ENOMEM;
    }
    p->conf = *conf;
    p->net = conf->net;
    p->net->on_sctp_ready = on_sctp_ready;
    p->rtcp_ssrc = rng_u32(&p->net->rng) | 1u;
    p->twcc_sn = (uint16_t)(rng_u32(&p->net->rng) & 0x7fff);
    int rc = client_socket_open(&p->socket, p->net, &conf->local, conf->stamps, on_datagram, p);
    if (rc == 0) {
        rc = make_machines(p);
    }
    if (rc == 0) {
        rc = client_timer_init(&p->timer, p->net, on_timeout, p);
    }
    if (rc == 0) {
        rc = client_timer_init(&p->feedback, p->net, client_pc_send_feedback_, p);
    }
    if (rc == 0) {
        rc = client_timer_init(&p->report, p->net, client_pc_send_reports_, p);
    }
    if (rc < 0) {
        client_pc_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

static void free_streams(struct client_pc *p)
{
    HASH_CLEAR(hh_rtx, p->streams_rtx);
    struct client_stream *s = p->streams;
    struct client_stream *next = NULL;
    for (; s != NULL; s = next) {
        next = s->hh.next;
        HASH_DELETE(hh, p->streams, s);
        client_stream_free(s);
    }
}

void client_pc_free(struct client_pc *p)
{
    if (p == NULL) {
        return;
    }
    if (p->pc != NULL) {
        client_net_use(p->net, &p->socket);
        peer_connection_close(p->pc, &p->net->out);
        client_net_flush(p->net);
    }
    client_timer_done(&p->timer, p->net);
    client_timer_done(&p->feedback, p->net);
    client_timer_done(&p->report, p->net);
    peer_connection_free(p->pc);
    jsep_free(p->jsep);
    client_socket_close(&p->socket);
    free_streams(p);
    mem_free(p->twcc);
    mem_free(p);
}
