// SPDX-License-Identifier: Apache-2.0
// Packets in and out of a peer connection, its events and its getters.
#include "common/base/mem.h"
#include "sfu/transport/peer_connection_internal.h"
#include "sfu/wire/classify.h"

// Larger media packets do not exist on our paths; what is held must be bounded in bytes too.
#define EARLY_PACKET_MAX OUTBOX_DATA_CAP

// ---- early media --------------------------------------------------------------------------------

void peer_connection_early_done_(struct peer_connection *pc)
{
    mem_free(pc->early_given);
    pc->early_given = NULL;
    while (pc->early_head != NULL) {
        struct peer_connection_early *const e = pc->early_head;
        pc->early_head = e->next;
        mem_free(e);
    }
    pc->early_tail = NULL;
    pc->early_count = 0;
}

static void early_hold(struct peer_connection *pc, mono_t now, struct bytes packet, bool rtcp)
{
    struct peer_connection_early *e = NULL;
    if (pc->early_count < PEER_CONNECTION_EARLY_MAX && packet.n <= EARLY_PACKET_MAX) {
        e = mem_alloc(sizeof(*e) + packet.n);
    }
    if (e == NULL) {
        pc->counters.drop[PEER_CONNECTION_DROP_EARLY_FULL]++;
        return;
    }
    e->arrival = now;
    e->rtcp = rtcp;
    e->len = packet.n;
    memcpy(e->data, packet.p, packet.n);
    if (pc->early_tail != NULL) {
        pc->early_tail->next = e;
    } else {
        pc->early_head = e;
    }
    pc->early_tail = e;
    pc->early_count++;
}

// ---- input --------------------------------------------------------------------------------------

static void input_dtls(struct peer_connection *pc, mono_t now, int tuple, struct bytes_mut datagram,
                       struct outbox *out)
{
    bool got_data = false;
    while (datagram.n > 0) {
        struct bytes data;
        dtls_transport_input(pc->dtls, now, &datagram, out, pc->path.local, &pc->path.dst, &data);
        if (data.n > 0) {
            // Only records that decrypted prove anything.
            ice_agent_note_rx(&pc->ice, now, tuple);
            got_data = true;
            peer_connection_input_data_(pc, data);
        }
    }
    if (got_data) {
        peer_connection_flush_sctp(pc, out);
    }
    peer_connection_pump_dtls_(pc, now, out);
    peer_connection_refresh_(pc, now, out);
}

static bool unprotect(struct peer_connection *pc, mono_t now, bool rtcp, struct bytes_mut *packet)
{
    enum srtp_drop const d = rtcp ? srtp_transport_unprotect_rtcp(pc->srtp, packet)
                                  : srtp_transport_unprotect_rtp(pc->srtp, now, packet);
    return d == SRTP_OK;
}

static enum peer_connection_rx input_media(struct peer_connection *pc, mono_t now, int tuple,
                                           bool rtcp, struct bytes_mut packet, struct outbox *out,
                                           struct bytes_mut *ret_packet)
{
    if (UNLIKELY(pc->srtp == NULL)) {
        early_hold(pc, now, bytes_of(packet.p, packet.n), rtcp);
        return PEER_CONNECTION_RX_NONE;
    }
    if (!unprotect(pc, now, rtcp, &packet)) {
        return PEER_CONNECTION_RX_NONE; // srtp_transport counts why
    }
    bool const quiet = tuple == pc->ice.selected && pc->ice.state == ICE_STATE_CONNECTED;
    ice_agent_note_rx(&pc->ice, now, tuple);
    if (UNLIKELY(!quiet)) {
        peer_connection_refresh_(pc, now, out);
    }
    *ret_packet = packet;
    return rtcp ? PEER_CONNECTION_RX_RTCP : PEER_CONNECTION_RX_RTP;
}

enum peer_connection_rx peer_connection_input(struct peer_connection *pc, mono_t now, uint8_t local,
                                              const struct addr *src, struct bytes_mut datagram,
                                              struct outbox *out, struct bytes_mut *ret_packet)
{
    enum packet_class const cls = classify_packet(bytes_of(datagram.p, datagram.n));
    if (pc->closed) {
        pc->counters.drop[PEER_CONNECTION_DROP_STATE]++;
        return PEER_CONNECTION_RX_NONE;
    }
    if (cls == PACKET_CLASS_STUN) {
        enum ice_rx const rx =
            ice_agent_input(&pc->ice, now, local, src, bytes_of(datagram.p, datagram.n), out);
        pc->counters.ice[rx]++;
        peer_connection_refresh_(pc, now, out);
        return PEER_CONNECTION_RX_NONE;
    }
    if (cls == PACKET_CLASS_UNKNOWN || cls == PACKET_CLASS_TURN_CHANNEL) {
        pc->counters.drop[PEER_CONNECTION_DROP_CLASS]++;
        return PEER_CONNECTION_RX_NONE;
    }
    int const tuple = ice_agent_find_tuple(&pc->ice, local, src);
    if (tuple < 0) {
        pc->counters.drop[PEER_CONNECTION_DROP_TUPLE]++;
        return PEER_CONNECTION_RX_NONE;
    }
    if (pc->failure != PEER_CONNECTION_FAILURE_NONE) {
        pc->counters.drop[PEER_CONNECTION_DROP_STATE]++;
        return PEER_CONNECTION_RX_NONE;
    }
    pc->counters.rx_packets++;
    pc->counters.rx_bytes += datagram.n;
    if (cls == PACKET_CLASS_DTLS) {
        input_dtls(pc, now, tuple, datagram, out);
        return PEER_CONNECTION_RX_NONE;
    }
    return input_media(pc, now, tuple, cls == PACKET_CLASS_RTCP, datagram, out, ret_packet);
}

enum peer_connection_rx peer_connection_next_early(struct peer_connection *pc, mono_t now,
                                                   struct bytes_mut *ret_packet,
                                                   mono_t *ret_arrival)
{
    mem_free(pc->early_given);
    pc->early_given = NULL;
    while (pc->srtp != NULL && pc->early_head != NULL) {
        struct peer_connection_early *const e = pc->early_head;
        pc->early_head = e->next;
        pc->early_tail = e->next != NULL ? pc->early_tail : NULL;
        pc->early_count--;
        struct bytes_mut packet = {e->data, e->len};
        if (unprotect(pc, now, e->rtcp, &packet)) {
            pc->early_given = e;
            *ret_packet = packet;
            *ret_arrival = e->arrival;
            return e->rtcp ? PEER_CONNECTION_RX_RTCP : PEER_CONNECTION_RX_RTP;
        }
        mem_free(e);
    }
    return PEER_CONNECTION_RX_NONE;
}

// ---- events -------------------------------------------------------------------------------------

static bool poll_ice(struct peer_connection *pc, struct peer_connection_event *ret)
{
    struct ice_event e;
    while (ice_agent_poll_event(&pc->ice, &e)) {
        ret->local = e.local;
        ret->remote = e.remote;
        switch (e.kind) {
        case ICE_EVENT_STATE:
            continue; // part of ours
        case ICE_EVENT_SELECTED:
            ret->kind = PEER_CONNECTION_EVENT_SELECTED;
            ret->transport_changed = pc->had_selected && pc->selected_tcp != e.remote.tcp;
            pc->had_selected = true;
            pc->selected_tcp = e.remote.tcp;
            return true;
        case ICE_EVENT_TUPLE_ADDED:
            ret->kind = PEER_CONNECTION_EVENT_TUPLE_ADDED;
            return true;
        case ICE_EVENT_TUPLE_REMOVED:
            ret->kind = PEER_CONNECTION_EVENT_TUPLE_REMOVED;
            return true;
        case ICE_EVENT_UFRAG_RETIRED:
            ret->kind = PEER_CONNECTION_EVENT_UFRAG_RETIRED;
            memcpy(ret->ufrag, e.ufrag, sizeof(ret->ufrag));
            return true;
        }
    }
    return false;
}

bool peer_connection_poll_event(struct peer_connection *pc, struct peer_connection_event *ret)
{
    struct peer_connection_event e = {0};
    if (poll_ice(pc, &e)) {
        *ret = e;
        return true;
    }
    if (pc->state != pc->reported) {
        pc->reported = pc->state;
        e.kind = PEER_CONNECTION_EVENT_STATE;
        e.state = pc->state;
        e.failure = pc->failure;
        *ret = e;
        return true;
    }
    if (pc->peer_closed) {
        pc->peer_closed = false;
        e.kind = PEER_CONNECTION_EVENT_PEER_CLOSED;
        *ret = e;
        return true;
    }
    if (pc->sctp != NULL && !pc->closed && sctp_transport_poll_event(pc->sctp, &e.sctp)) {
        e.kind = PEER_CONNECTION_EVENT_SCTP;
        *ret = e;
        return true;
    }
    return false;
}

// ---- sending ------------------------------------------------------------------------------------

const struct peer_connection_path *peer_connection_path(const struct peer_connection *pc)
{
    return &pc->path;
}

int peer_connection_send_rtcp(struct peer_connection *pc, struct bytes compound, struct outbox *out)
{
    if (pc->path.srtp == NULL) {
        return -ENOTCONN;
    }
    if (compound.n > OUTBOX_DATA_CAP - SRTP_RTCP_OVERHEAD) {
        return -EMSGSIZE;
    }
    struct outbox_slot *const s = outbox_reserve(out);
    size_t len = compound.n;
    memcpy(s->data, compound.p, compound.n);
    int const rc = srtp_transport_protect_rtcp(pc->srtp, s->data, OUTBOX_DATA_CAP, &len);
    if (rc != 0) {
        return rc;
    }
    s->dst = pc->path.dst;
    s->local = pc->path.local;
    s->len = (uint16_t)len;
    outbox_commit(out);
    return 0;
}

int peer_connection_send_rtp(struct peer_connection *pc, struct bytes packet, size_t header_len,
                             uint64_t ext_sn, struct outbox *out)
{
    if (pc->path.srtp == NULL) {
        return -ENOTCONN;
    }
    if (packet.n > OUTBOX_DATA_CAP - SRTP_RTP_OVERHEAD || header_len > packet.n) {
        return -EMSGSIZE;
    }
    struct outbox_slot *const s = outbox_reserve(out);
    memcpy(s->data, packet.p, packet.n);
    s->dst = pc->path.dst;
    s->local = pc->path.local;
    s->len = (uint16_t)packet.n;
    s->protect = OUTBOX_PROTECT_RTP;
    s->rtp_header_len = (uint16_t)header_len;
    s->rtp_roc = srtp_egress_roc(ext_sn);
    s->srtp = pc->path.srtp;
    outbox_commit(out);
    return 0;
}

struct sctp_transport *peer_connection_sctp(const struct peer_connection *pc)
{
    return pc->sctp;
}

void peer_connection_close(struct peer_connection *pc, struct outbox *out)
{
    if (pc->closed) {
        return;
    }
    const struct ice_tuple *const t = ice_agent_selected(&pc->ice);
    if (t != NULL && peer_connection_is_alive_(pc)) {
        dtls_transport_close(pc->dtls, out, t->local, &t->remote);
    }
    pc->closed = true;
    pc->path.srtp = NULL;
    pc->state = PEER_CONNECTION_CLOSED;
    peer_connection_early_done_(pc);
}

// ---- state --------------------------------------------------------------------------------------

enum peer_connection_state peer_connection_state(const struct peer_connection *pc)
{
    return pc->state;
}

enum dtls_failure peer_connection_dtls_failure(const struct peer_connection *pc)
{
    return dtls_transport_failure(pc->dtls);
}

bool peer_connection_hears(const struct peer_connection *pc, mono_t now, const struct addr *remote)
{
    for (size_t i = 0; !pc->closed && i < ICE_TUPLES_MAX; i++) {
        const struct ice_tuple *const t = &pc->ice.tuples[i];
        if (t->used && addr_eq(&t->remote, remote) &&
            mono_diff_ms(now, t->last_rx) < ICE_SELECTED_SILENT_MS) {
            return true;
        }
    }
    return false;
}

const struct peer_connection_counters *peer_connection_counters(const struct peer_connection *pc)
{
    return &pc->counters;
}

struct srtp_transport *peer_connection_srtp(const struct peer_connection *pc)
{
    return pc->srtp;
}

void peer_connection_add_drops(const struct peer_connection *pc, struct peer_connection_drops *sum)
{
    for (size_t i = 0; i < PEER_CONNECTION_DROP_COUNT; i++) {
        sum->connection[i] += pc->counters.drop[i];
    }
    for (size_t i = ICE_RX_OK + 1; i < ICE_RX_COUNT; i++) {
        sum->ice[i] += pc->counters.ice[i];
    }
    const uint64_t *const srtp = pc->srtp != NULL ? srtp_transport_counters(pc->srtp) : NULL;
    for (size_t i = SRTP_OK + 1; i < SRTP_DROP_COUNT; i++) {
        sum->srtp[i] += pc->counters.srtp[i] + (srtp != NULL ? srtp[i] : 0);
    }
}

const char *peer_connection_drop_name(enum peer_connection_drop d)
{
    static const char *const names[PEER_CONNECTION_DROP_COUNT] = {
        [PEER_CONNECTION_DROP_CLASS] = "class",           [PEER_CONNECTION_DROP_TUPLE] = "tuple",
        [PEER_CONNECTION_DROP_EARLY_FULL] = "early_full", [PEER_CONNECTION_DROP_STATE] = "state",
        [PEER_CONNECTION_DROP_NO_SCTP] = "no_sctp",
    };
    return d < PEER_CONNECTION_DROP_COUNT ? names[d] : "unknown";
}

int64_t peer_connection_rtt_us(const struct peer_connection *pc)
{
    return ice_agent_rtt_us(&pc->ice);
}

mono_t peer_connection_last_rx(const struct peer_connection *pc)
{
    return pc->ice.last_rx;
}

const char *peer_connection_failure_name(enum peer_connection_failure f)
{
    static const char *const names[PEER_CONNECTION_FAILURE_COUNT] = {
        "none", "ice", "dtls", "deadline", "resources",
    };
    return f < PEER_CONNECTION_FAILURE_COUNT ? names[f] : "";
}
