// SPDX-License-Identifier: Apache-2.0
// A peer connection of a room_client: full ICE, DTLS and SRTP behind its description engine.
#include "common/base/hash.h"
#include "sfu/wire/candidate.h"
#include "tests/support/room_client.h"

struct room_pc *room_pc_new(struct room_client *c, bool subscriber)
{
    struct room_harness *const h = c->h;
    struct room_pc *const p = NEW(struct room_pc);
    room_must(p != NULL, "memory");
    p->client = c;
    p->subscriber = subscriber;
    p->addr = addr_v4(10, 0, (uint8_t)(c->number >> 8), (uint8_t)c->number,
                      (uint16_t)(40000 + subscriber));
    if (h->address != NULL) {
        p->addr = h->address(h->live);
    }
    vnet_endpoint_init(&p->ep, h->net, &p->addr, h->batch);
    p->ep.now = h->now;
    ice_creds_generate(&h->rng, "", &p->creds);
    struct jsep_config const jc = {
        .client = true,
        .single_pc = !c->conf.v0,
        .session_id = 1,
        .codecs = c->conf.codecs,
        .no_reuse = c->conf.scripted,
        .fingerprint = h->client_fingerprint,
        .ice_ufrag = p->creds.ufrag,
        .ice_pwd = p->creds.pwd,
    };
    room_must(jsep_new(&jc, &p->jsep) == 0, "jsep_new");
    struct peer_connection_config const pc = {
        .ice = {.role = ICE_ROLE_FULL,
                .rng = &h->rng,
                .connect_timeout_ms = 60000,
                .nominate_always = c->conf.nominates},
        .creds = p->creds,
        .cert = h->client_cert,
        .hub = h->client_hub,
        .user = p,
    };
    room_must(peer_connection_new(&pc, h->now, &p->pc) == 0, "peer_connection_new");
    struct ice_local const local = {p->addr, 0};
    room_must(peer_connection_set_locals(p->pc, &local, 1) == 0, "set_locals");
    return p;
}

void room_pc_free(struct room_pc *p)
{
    if (p == NULL) {
        return;
    }
    outbox_flush(&p->ep.out);
    peer_connection_free(p->pc);
    dtls_work_free(p->work);
    jsep_free(p->jsep);
    vnet_endpoint_done(&p->ep);
    mem_free(p);
}

// ---- descriptions ---------------------------------------------------------------------------

static void apply_remote(struct room_pc *p)
{
    struct room_harness *const h = p->client->h;
    const struct jsep_remote *const r = jsep_remote(p->jsep);
    const char *const space = strchr(r->fingerprint, ' ');
    struct dtls_fingerprint f;
    room_must(space != NULL &&
                  dtls_fingerprint_parse(bytes_of(r->fingerprint, (size_t)(space - r->fingerprint)),
                                         bytes_str(space + 1), &f) == 0,
              "the server's fingerprint");
    bool const client = jsep_dtls_role(p->jsep) == JSEP_DTLS_CLIENT;
    struct peer_connection_remote const remote = {
        .ufrag = bytes_str(r->ice_ufrag),
        .pwd = bytes_str(r->ice_pwd),
        .lite = r->ice_lite,
        .fingerprints = &f,
        .fingerprint_count = 1,
        .dtls_role = client ? DTLS_ROLE_CLIENT : DTLS_ROLE_SERVER,
    };
    if (peer_connection_set_remote(p->pc, h->now, &remote, &p->ep.out) < 0) {
        room_harness_violation(h, "%s cannot use a remote description", p->client->identity);
        return;
    }
    for (size_t i = 0; i < r->candidate_count; i++) {
        struct candidate c;
        room_must(candidate_parse(bytes_str(r->candidates[i]), &c) == 0, "candidate");
        (void)!peer_connection_add_remote_candidate(p->pc, h->now, &c.addr, c.priority);
    }
    if (r->has_data) {
        room_must(peer_connection_enable_sctp(p->pc, h->now, r->max_message_size, &p->ep.out) == 0,
                  "enable_sctp");
    }
}

static void new_credentials(struct room_pc *p)
{
    ice_creds_generate(&p->client->h->rng, "", &p->creds);
    peer_connection_restart(p->pc, p->client->h->now, &p->creds);
    room_must(jsep_set_local_ice(p->jsep, p->creds.ufrag, p->creds.pwd) == 0, "set_local_ice");
}

void room_pc_write_offer(struct room_pc *p, bool restart, struct dynbuf *out)
{
    if (restart) {
        new_credentials(p);
    }
    room_must(jsep_create_offer(p->jsep, out) == 0, "create_offer");
    p->offer_out = true;
    p->offer_again = false;
    p->offer_id++;
}

bool room_pc_set_answer(struct room_pc *p, const char *sdp)
{
    if (jsep_set_remote_answer(p->jsep, bytes_str(sdp), NULL) < 0) {
        return false;
    }
    p->offer_out = false;
    p->offers++;
    apply_remote(p);
    room_streams_update(p->client, p);
    return true;
}

bool room_pc_answer(struct room_pc *p, const char *sdp, struct dynbuf *out)
{
    struct jsep_applied applied;
    if (jsep_set_remote_offer(p->jsep, bytes_str(sdp), &applied) < 0) {
        return false;
    }
    if (applied.ice_restart && !applied.first) {
        new_credentials(p);
    }
    room_must(jsep_create_answer(p->jsep, out) == 0, "create_answer");
    p->answers++;
    apply_remote(p);
    room_streams_update(p->client, p);
    return true;
}

// ---- the machine ----------------------------------------------------------------------------

static void route(struct room_pc *p, enum peer_connection_rx rx, struct bytes_mut packet)
{
    if (rx == PEER_CONNECTION_RX_RTP) {
        room_media_rtp(p->client, bytes_of(packet.p, packet.n));
    } else if (rx == PEER_CONNECTION_RX_RTCP) {
        room_media_rtcp(p->client, p, bytes_of(packet.p, packet.n));
    }
}

static void take_events(struct room_pc *p)
{
    struct peer_connection_event e;
    bool sctp = false;
    while (peer_connection_poll_event(p->pc, &e)) {
        if (e.kind == PEER_CONNECTION_EVENT_STATE) {
            p->state = e.state;
        } else if (e.kind == PEER_CONNECTION_EVENT_SCTP) {
            sctp = true;
            room_data_event(p, &e.sctp);
        }
    }
    if (sctp) {
        peer_connection_flush_sctp(p->pc, &p->ep.out);
    }
}

static void advance(struct room_pc *p)
{
    mono_t const now = p->client->h->now;
    take_events(p);
    struct bytes_mut b;
    mono_t arrival;
    enum peer_connection_rx rx;
    while ((rx = peer_connection_next_early(p->pc, now, &b, &arrival)) != PEER_CONNECTION_RX_NONE) {
        route(p, rx, b);
    }
    struct dtls_work *work = NULL;
    while ((work = peer_connection_take_dtls_work(p->pc, now)) != NULL) {
        dtls_work_run(work);
        peer_connection_finish_dtls_work(p->pc, now, work, &p->ep.out);
    }
    take_events(p);
}

void room_pc_sctp_ready(struct room_pc *p)
{
    p->ep.now = p->client->h->now;
    peer_connection_flush_sctp(p->pc, &p->ep.out);
    advance(p);
    outbox_flush(&p->ep.out);
}

void room_pc_input(struct room_pc *p, const struct vnet_datagram *d)
{
    struct bytes_mut packet;
    p->ep.now = p->client->h->now;
    enum peer_connection_rx const rx =
        peer_connection_input(p->pc, p->client->h->now, 0, &d->src, d->data, &p->ep.out, &packet);
    route(p, rx, packet);
    advance(p);
    outbox_flush(&p->ep.out);
}

mono_t room_pc_deadline(const struct room_pc *p)
{
    return peer_connection_deadline(p->pc);
}

void room_pc_tick(struct room_pc *p)
{
    p->ep.now = p->client->h->now;
    if (mono_reached(peer_connection_deadline(p->pc), p->client->h->now)) {
        peer_connection_timeout(p->pc, p->client->h->now, &p->ep.out);
    }
    advance(p);
    outbox_flush(&p->ep.out);
}
