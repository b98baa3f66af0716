// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/pc_transport.h"

#include <stdio.h>

#include "sfu/room/published_track.h"
#include "sfu/room/room.h"
#include "sfu/room/router.h"
#include "sfu/room/subscription.h"
#include "sfu/transport/peer_connection.h"

// From the answer to the first check: livekit-client waits 15 s for its peer connection.
#define ICE_CONNECT_TIMEOUT_MS 20000

// ---- events ---------------------------------------------------------------------------------

static void schedule(struct pc_transport *t)
{
    timer_heap_set(t->env->timers, &t->timer, peer_connection_deadline(t->pc));
}

static void submit_dtls(struct pc_transport *t)
{
    struct room_env *const env = t->env;
    struct dtls_work *const work = peer_connection_take_dtls_work(t->pc, env->now);
    if (work == NULL) {
        return;
    }
    struct room_dtls_job *const job = NEW(struct room_dtls_job);
    if (job == NULL) {
        // Nothing to carry it to the pool in: the step is done here.
        env->no_memory++;
        dtls_work_run(work);
        peer_connection_finish_dtls_work(t->pc, env->now, work, env->outbox);
        return;
    }
    *job = (struct room_dtls_job){.transport = t->handle, .work = work};
    if (env->dtls_tail != NULL) {
        env->dtls_tail->next = job;
    } else {
        env->dtls_head = job;
    }
    env->dtls_tail = job;
}

static void route_early(struct pc_transport *t)
{
    struct room_env *const env = t->env;
    for (;;) {
        struct bytes_mut b;
        mono_t arrival;
        enum peer_connection_rx const rx =
            peer_connection_next_early(t->pc, env->now, &b, &arrival);
        if (rx == PEER_CONNECTION_RX_NONE) {
            return;
        }
        if (rx == PEER_CONNECTION_RX_RTCP) {
            router_rtcp(t, bytes_of(b.p, b.n));
            continue;
        }
        struct packet *const p = packet_pool_get(env->pool);
        if (p != NULL && b.n <= PACKET_DATA_CAP) {
            memcpy(p->data, b.p, b.n);
            p->len = (uint16_t)b.n;
            p->arrival = arrival;
            router_rtp(t, p);
        }
        packet_unref(p);
    }
}

static void on_state(struct pc_transport *t, enum peer_connection_state state,
                     enum peer_connection_failure failure)
{
    if (state == PEER_CONNECTION_CONNECTED) {
        bool const first = !t->connected;
        t->connected = true;
        t->failed = false;
        if (first) {
            participant_transport_connected(t->participant, t);
        }
        route_early(t);
    } else if (state == PEER_CONNECTION_FAILED) {
        t->failed = true;
        t->beyond_repair = failure != PEER_CONNECTION_FAILURE_ICE;
        t->connected = false;
        participant_transport_failed(t->participant, t);
    }
}

// Datagrams from that address are t's from now on, unless they are somebody else's: who knows our
// password for one transport may send its check from any source address, and must not cut off those
// who speak from there. A former owner that has fallen silent (the port was used again) gives way,
// and so does another transport of the same participant: the next check tries again.
static void claim_address(struct pc_transport *t, const struct addr *remote)
{
    struct room_env *const env = t->env;
    struct pc_transport *const owner = flow_table_by_addr(env->flows, remote);
    if (owner == t) {
        return;
    }
    if (owner != NULL && owner->participant != t->participant &&
        peer_connection_hears(owner->pc, env->now, remote)) {
        env->drops[ROOM_DROP_ADDRESS_TAKEN]++;
        return;
    }
    if (flow_table_set_addr(env->flows, remote, &t->flow) < 0) {
        env->no_memory++;
    }
}

static void drain_events(struct pc_transport *t)
{
    struct room_env *const env = t->env;
    struct peer_connection_event e;
    bool sctp = false;
    while (peer_connection_poll_event(t->pc, &e)) {
        switch (e.kind) {
        case PEER_CONNECTION_EVENT_STATE:
            on_state(t, e.state, e.failure);
            break;
        case PEER_CONNECTION_EVENT_TUPLE_ADDED:
            claim_address(t, &e.remote);
            break;
        case PEER_CONNECTION_EVENT_TUPLE_REMOVED:
            flow_table_remove_addr(env->flows, &e.remote, &t->flow);
            break;
        case PEER_CONNECTION_EVENT_UFRAG_RETIRED:
            flow_table_remove_ufrag(env->flows, e.ufrag);
            break;
        case PEER_CONNECTION_EVENT_SELECTED:
        case PEER_CONNECTION_EVENT_PEER_CLOSED:
            break;
        case PEER_CONNECTION_EVENT_SCTP:
            sctp = true;
            data_channels_event(t, &e.sctp);
            break;
        }
    }
    if (sctp) {
        // Reading opens the peer's window, and events are answered.
        peer_connection_flush_sctp(t->pc, env->outbox);
    }
}

// After everything that may have moved the machine.
static void advance(struct pc_transport *t)
{
    drain_events(t);
    submit_dtls(t);
    schedule(t);
}

// ---- life -----------------------------------------------------------------------------------

// Draws credentials and enters their ufrag into the flow table. The worker's index is in front, so
// that any worker that gets the first packet knows whose it is.
static int draw_creds(struct pc_transport *t, struct ice_creds *ret)
{
    char prefix[8];
    (void)snprintf(prefix, sizeof(prefix), "%u", t->env->worker);
    for (int i = 0; i < 8; i++) {
        ice_creds_generate(t->env->rng, prefix, ret);
        int const rc = flow_table_add_ufrag(t->env->flows, ret->ufrag, &t->flow);
        if (rc != -EEXIST) {
            return rc;
        }
    }
    return -EEXIST;
}

static int make_jsep(struct pc_transport *t, const struct ice_creds *creds)
{
    const struct participant *const p = t->participant;
    const struct room_conf *const conf = t->env->conf;
    struct jsep_config const cfg = {
        .single_pc = p->v1,
        .ice_lite = true,
        .only_preferred_video = p->client.only_preferred_video,
        .no_red = p->client.firefox || p->client.safari, // livekit-protocol 5.9
        .playout_delay = p->room->min_playout_delay_ms != 0 || p->room->max_playout_delay_ms != 0,
        .no_reuse = p->client.safari || p->client.protocol <= 3,
        .codecs = conf->codecs & ~p->client.codecs.disabled,
        .session_id = rng_u64(t->env->rng) >> 1,
        .fingerprint = t->env->fingerprint,
        .ice_ufrag = creds->ufrag,
        .ice_pwd = creds->pwd,
    };
    int const rc = jsep_new(&cfg, &t->jsep);
    if (rc < 0) {
        return rc;
    }
    // Firefox picks wrong pairs when it sees several addresses of one family (media-plane 1.3).
    return p->client.firefox
               ? jsep_set_local_candidates(t->jsep, conf->candidates_one, conf->candidate_one_count,
                                           true)
               : jsep_set_local_candidates(t->jsep, conf->candidates, conf->candidate_count, true);
}

static int make_peer_connection(struct pc_transport *t, const struct ice_creds *creds)
{
    struct peer_connection_config const cfg = {
        .ice =
            {
                .role = ICE_ROLE_LITE,
                .rng = t->env->rng,
                .peer_aggressive = t->participant->client.firefox,
                .connect_timeout_ms = ICE_CONNECT_TIMEOUT_MS,
            },
        .creds = *creds,
        .cert = t->env->cert,
        .hub = t->env->sctp,
        .user = t,
    };
    return peer_connection_new(&cfg, t->env->now, &t->pc);
}

static void forget_ingress(struct pc_transport *t)
{
    if (t->ingress != NULL) {
        rtp_demux_done(&t->ingress->demux);
        mem_free(t->ingress->sections);
        mem_free(t->ingress);
        t->ingress = NULL;
    }
}

// Frees what pc_transport_new made so far; flow table entries first, as they point here.
static void destroy(struct pc_transport *t)
{
    struct room_env *const env = t->env;
    timer_heap_cancel(env->timers, &t->timer);
    timer_heap_cancel(env->timers, &t->media);
    if (!handle_is_none(t->handle)) {
        (void)handle_table_remove(&env->transports, t->handle);
    }
    flow_table_forget(env->flows, &t->flow);
    forget_ingress(t);
    if (t->pc != NULL) {
        peer_connection_add_drops(t->pc, &env->ended_drops);
    }
    peer_connection_free(t->pc);
    jsep_free(t->jsep);
    mem_free(t);
}

int pc_transport_new(struct participant *p, enum pc_target target, struct pc_transport **ret)
{
    struct pc_transport *const t = NEW(struct pc_transport);
    if (t == NULL) {
        return -ENOMEM;
    }
    t->env = p->room->env;
    t->flow.user = t;
    t->participant = p;
    t->target = target;
    t->timer.kind = ROOM_TIMER_PC;
    t->media.kind = ROOM_TIMER_MEDIA;
    t->rtcp_ssrc = rng_u32(t->env->rng) | 1u;
    t->twcc_sn = (uint16_t)(rng_u32(t->env->rng) & 0x7fff);
    struct ice_creds creds;
    int rc = handle_table_add(&t->env->transports, t, &t->handle);
    if (rc == 0) {
        rc = draw_creds(t, &creds);
    }
    if (rc == 0) {
        rc = make_jsep(t, &creds);
    }
    if (rc == 0) {
        rc = make_peer_connection(t, &creds);
    }
    if (rc < 0) {
        destroy(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void pc_transport_close(struct pc_transport *t)
{
    if (t == NULL) {
        return;
    }
    peer_connection_close(t->pc, t->env->outbox);
    // Slots still point to its keys.
    outbox_flush(t->env->outbox);
    destroy(t);
}

// ---- descriptions ---------------------------------------------------------------------------

static int new_local_ice(struct pc_transport *t)
{
    struct ice_creds creds;
    int const rc = draw_creds(t, &creds);
    if (rc < 0) {
        return rc;
    }
    peer_connection_restart(t->pc, t->env->now, &creds);
    return jsep_set_local_ice(t->jsep, creds.ufrag, creds.pwd);
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

int pc_transport_prepare_answer(struct pc_transport *t, const struct jsep_applied *applied)
{
    if (!applied->ice_restart || applied->first) {
        return 0;
    }
    return new_local_ice(t);
}

int pc_transport_apply_remote(struct pc_transport *t, const struct jsep_applied *applied)
{
    const struct jsep_remote *const remote = jsep_remote(t->jsep);
    if (!applied->first && !applied->new_fingerprint && !applied->ice_restart && t->remote_set) {
        return 0;
    }
    struct dtls_fingerprint fp;
    if (parse_fingerprint(remote->fingerprint, &fp) < 0) {
        return -EINVAL;
    }
    enum jsep_dtls_role const role = jsep_dtls_role(t->jsep);
    struct peer_connection_remote const r = {
        .ufrag = bytes_str(remote->ice_ufrag),
        .pwd = bytes_str(remote->ice_pwd),
        .lite = remote->ice_lite,
        .fingerprints = &fp,
        .fingerprint_count = 1,
        .dtls_role = role == JSEP_DTLS_SERVER ? DTLS_ROLE_SERVER : DTLS_ROLE_CLIENT,
    };
    int const rc = peer_connection_set_remote(t->pc, t->env->now, &r, t->env->outbox);
    if (rc < 0) {
        return rc;
    }
    t->remote_set = true;
    advance(t);
    return 0;
}

int pc_transport_restart_ice(struct pc_transport *t)
{
    int const rc = new_local_ice(t);
    advance(t);
    return rc;
}

static void set_id(struct rtp_demux_id *id, const char *text)
{
    size_t const n = MIN(strlen(text), (size_t)RTP_DEMUX_ID_MAX);
    memcpy(id->text, text, n);
    id->len = (uint8_t)n;
}

static void fill_payload_types(const struct jsep_transceiver *s, struct rtp_demux_section *d)
{
    for (uint8_t i = 0; i < s->codec_count; i++) {
        const struct jsep_codec *const c = &s->codecs[i];
        if (d->pt_count < RTP_DEMUX_PTS) {
            d->pt[d->pt_count++] = (struct rtp_demux_pt){.pt = c->pt, .codec = c->codec};
        }
        if (c->rtx_pt != 0 && d->pt_count < RTP_DEMUX_PTS) {
            d->pt[d->pt_count++] =
                (struct rtp_demux_pt){.pt = c->rtx_pt, .codec = CODEC_RTX, .apt = c->pt};
        }
    }
}

// rids in the order of the encodings (lowest first), whatever order the offer has.
static void fill_encodings(const struct jsep_remote_media *m, struct rtp_demux_section *d)
{
    uint8_t const n = (uint8_t)MIN(m->rid_count, RECEIVER_MAX_ENCODINGS);
    for (uint8_t i = 0; i < n; i++) {
        uint8_t const rank = track_info_rid_rank(bytes_str(m->rids[i]), i, n);
        set_id(&d->rid[rank], m->rids[i]);
    }
    d->rid_count = n;
    uint8_t const declared = (uint8_t)MIN(m->ssrc_count, RECEIVER_MAX_ENCODINGS);
    for (uint8_t i = 0; i < declared; i++) {
        // Firefox declares SSRCs in the order of its rids.
        uint8_t const rank = i < n ? track_info_rid_rank(bytes_str(m->rids[i]), i, n) : i;
        d->declared[rank] = (struct rtp_demux_declared){m->ssrcs[i].ssrc, m->ssrcs[i].rtx_ssrc};
    }
    d->declared_count = declared;
}

// The section carries nothing any more.
static void remove_section(struct pc_transport *t, uint32_t id)
{
    struct srtp_transport *const srtp = peer_connection_srtp(t->pc);
    for (uint8_t e = 0; srtp != NULL && e < RTP_DEMUX_ENCODINGS; e++) {
        for (unsigned rtx = 0; rtx < 2; rtx++) {
            uint32_t const ssrc = rtp_demux_ssrc_of(&t->ingress->demux, id, e, rtx != 0);
            if (ssrc != 0) {
                srtp_transport_release_ssrc(srtp, ssrc);
            }
        }
    }
    rtp_demux_remove_section(&t->ingress->demux, id);
}

static int set_section(struct pc_transport *t, const struct jsep_transceiver *s)
{
    struct rtp_demux_section d = {
        .id = s->id,
        .kind = s->kind == JSEP_VIDEO ? MEDIA_VIDEO : MEDIA_AUDIO,
    };
    set_id(&d.mid, s->mid);
    fill_payload_types(s, &d);
    fill_encodings(s->remote, &d);
    return rtp_demux_set_section(&t->ingress->demux, &d);
}

static bool receives(const struct jsep_transceiver *s)
{
    return (s->kind == JSEP_AUDIO || s->kind == JSEP_VIDEO) && s->remote != NULL && s->negotiated &&
           !s->stopped && (s->direction == SDP_RECVONLY || s->direction == SDP_SENDRECV);
}

static int need_ingress(struct pc_transport *t)
{
    if (t->ingress == NULL) {
        t->ingress = NEW(struct pc_ingress);
        if (t->ingress == NULL) {
            return -ENOMEM;
        }
        rtp_demux_init(&t->ingress->demux);
        twcc_recorder_init(&t->ingress->twcc);
    }
    return 0;
}

// Extension ids are the same in all sections (RFC 9143), but not every section has all of them.
static void merge_ext(struct rtp_ext_map *into, const struct rtp_ext_map *from)
{
    for (size_t i = 0; i < RTP_EXT_COUNT; i++) {
        if (from->id[i] != 0) {
            into->id[i] = from->id[i];
        }
    }
}

static struct track_media *section_media(const struct pc_transport *t,
                                         const struct jsep_transceiver *s)
{
    struct published_track *const track = handle_table_get(&t->env->tracks, s->recv_owner);
    return track != NULL ? published_track_media_of(track, s) : NULL;
}

static bool is_receiving(const struct pc_transport *t, uint32_t id)
{
    for (size_t i = 0; i < jsep_count(t->jsep); i++) {
        const struct jsep_transceiver *const s = jsep_at(t->jsep, i);
        if (s->id == id) {
            return receives(s);
        }
    }
    return false; // its m-line was given to another section
}

static void remove_silent_sections(struct pc_transport *t)
{
    for (uint16_t i = 0; t->ingress != NULL && i < t->ingress->section_count; i++) {
        if (!is_receiving(t, t->ingress->sections[i].id)) {
            remove_section(t, t->ingress->sections[i].id);
        }
    }
}

// Tells the demultiplexer a section; one that could not be told stays as it was.
static int add_section(struct pc_transport *t, const struct jsep_transceiver *s)
{
    int rc = need_ingress(t);
    if (rc == 0) {
        rc = set_section(t, s);
    }
    struct pc_ingress *const in = t->ingress;
    if (rc == 0 && in->section_cap < in->demux.section_cap) {
        struct pc_section *const v =
            mem_regrow(in->sections, in->demux.section_cap, sizeof(*in->sections));
        if (v == NULL) {
            return -ENOMEM;
        }
        in->sections = v;
        in->section_cap = in->demux.section_cap;
    }
    return rc;
}

int pc_transport_update_ingress(struct pc_transport *t)
{
    remove_silent_sections(t);
    if (t->ingress != NULL) {
        t->ingress->section_count = 0; // until all are told
    }
    struct rtp_ext_map ext = {0};
    for (size_t i = 0; i < jsep_count(t->jsep); i++) {
        const struct jsep_transceiver *const s = jsep_at(t->jsep, i);
        if (!receives(s)) {
            continue;
        }
        int const rc = add_section(t, s);
        if (rc == -ENOBUFS) {
            continue; // what it sends is dropped as unbound; no add_track is refused so late
        }
        if (rc < 0) {
            return rc;
        }
        merge_ext(&ext, &s->ext_recv);
        uint16_t const at = rtp_demux_section_index(&t->ingress->demux, s->id);
        t->ingress->sections[at] = (struct pc_section){s->id, section_media(t, s)};
    }
    if (t->ingress != NULL) {
        t->ingress->section_count = t->ingress->demux.section_count;
        rtp_demux_set_extensions(&t->ingress->demux, &ext);
        router_release_held(t);
    }
    if (jsep_remote(t->jsep)->has_data) {
        int const rc = peer_connection_enable_sctp(
            t->pc, t->env->now, jsep_remote(t->jsep)->max_message_size, t->env->outbox);
        if (rc < 0) {
            return rc;
        }
    }
    advance(t);
    return 0;
}

void pc_transport_set_track(struct pc_transport *t, uint32_t section_id, struct track_media *media)
{
    if (t->ingress == NULL) {
        return;
    }
    for (uint16_t i = 0; i < t->ingress->section_count; i++) {
        if (t->ingress->sections[i].id == section_id) {
            t->ingress->sections[i].media = media;
        }
    }
    if (media == NULL || media->receiver == NULL) {
        return;
    }
    for (uint8_t e = 0; e < RECEIVER_MAX_ENCODINGS; e++) {
        for (unsigned rtx = 0; rtx < 2; rtx++) {
            uint32_t const ssrc = rtp_demux_ssrc_of(&t->ingress->demux, section_id, e, rtx != 0);
            if (ssrc != 0) {
                receiver_bind(media->receiver, e, rtx != 0, ssrc);
            }
        }
    }
    router_release_held(t);
}

void pc_transport_bound(struct pc_transport *t, struct track_media *media,
                        const struct rtp_demux_route *route, uint32_t ssrc)
{
    struct srtp_transport *const srtp = peer_connection_srtp(t->pc);
    if (srtp != NULL && route->replaced != 0) {
        srtp_transport_release_ssrc(srtp, route->replaced);
    }
    if (srtp != NULL && srtp_transport_bind_ssrc(srtp, ssrc) < 0) {
        t->env->drops[ROOM_DROP_SSRC_LIMIT]++;
    }
    if (media != NULL && media->receiver != NULL) {
        receiver_bind(media->receiver, route->encoding, route->rtx, ssrc);
        track_media_layer_bound(media, route->encoding, route->rtx, ssrc);
    }
}

uint32_t pc_transport_any_ssrc(const struct pc_transport *t)
{
    const struct pc_ingress *const in = t->ingress;
    for (uint16_t i = 0; in != NULL && i < in->section_count; i++) {
        uint32_t const ssrc = rtp_demux_ssrc_of(&in->demux, in->sections[i].id, 0, false);
        if (ssrc != 0) {
            return ssrc;
        }
    }
    return 0;
}

void pc_transport_set_rtt(struct pc_transport *t, int64_t rtt_us)
{
    for (uint16_t i = 0; t->ingress != NULL && i < t->ingress->section_count; i++) {
        const struct track_media *const media = t->ingress->sections[i].media;
        if (media != NULL && media->receiver != NULL) {
            receiver_set_rtt(media->receiver, rtt_us);
        }
    }
    for (struct subscription *s = t->outputs; s != NULL; s = s->hh_ssrc.next) {
        if (s->down_track != NULL) {
            down_track_set_rtt(s->down_track, rtt_us);
        }
    }
}

// ---- in and out -----------------------------------------------------------------------------

void pc_transport_input(struct pc_transport *t, uint8_t local, const struct addr *src,
                        struct packet *p)
{
    struct room_env *const env = t->env;
    struct bytes_mut plain = {NULL, 0};
    enum peer_connection_rx const rx = peer_connection_input(
        t->pc, env->now, local, src, (struct bytes_mut){p->data, p->len}, env->outbox, &plain);
    switch (rx) {
    case PEER_CONNECTION_RX_RTP:
        p->data = plain.p;
        p->len = (uint16_t)plain.n;
        router_rtp(t, p);
        return;
    case PEER_CONNECTION_RX_RTCP:
        router_rtcp(t, bytes_of(plain.p, plain.n));
        return;
    case PEER_CONNECTION_RX_NONE:
        // A check from an address that is not ours yet, or not any more.
        if (p->len > 0 && p->data[0] < 4 && peer_connection_hears(t->pc, env->now, src)) {
            claim_address(t, src);
        }
        advance(t);
        return;
    }
}

void pc_transport_timeout(struct pc_transport *t)
{
    struct room_env *const env = t->env;
    peer_connection_timeout(t->pc, env->now, env->outbox);
    advance(t);
    // A deadline that stays in the past must not spin the loop.
    if (timer_is_set(&t->timer) && mono_reached(t->timer.at, env->now)) {
        timer_heap_set(env->timers, &t->timer, mono_add_ms(env->now, 1));
    }
}

void pc_transport_media_timeout(struct pc_transport *t)
{
    router_media_timeout(t);
}

void pc_transport_dtls_done(struct pc_transport *t, struct dtls_work *work)
{
    peer_connection_finish_dtls_work(t->pc, t->env->now, work, t->env->outbox);
    advance(t);
}

void pc_transport_sctp_ready(struct pc_transport *t)
{
    peer_connection_flush_sctp(t->pc, t->env->outbox);
    advance(t);
}

void pc_transport_send_rtcp(struct pc_transport *t, struct bytes compound)
{
    // Not connected: nobody is there to read reports.
    (void)!peer_connection_send_rtcp(t->pc, compound, t->env->outbox);
}
