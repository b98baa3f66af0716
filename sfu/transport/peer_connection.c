// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/peer_connection.h"

#include "common/base/mem.h"
#include "sfu/transport/crypto_glue.h"
#include "sfu/wire/classify.h"

// Larger media packets do not exist on our paths; what is held must be bounded in bytes too.
#define EARLY_PACKET_MAX OUTBOX_DATA_CAP

// One media packet that waits for the keys.
struct early {
    struct early *next;
    mono_t arrival;
    bool rtcp;
    size_t len;
    uint8_t data[];
};

struct peer_connection {
    const struct dtls_cert *cert;
    struct sctp_hub *hub;
    void *user;
    struct ice_agent ice;

    struct dtls_transport *dtls;
    struct dtls_work *work_out;  // runs elsewhere; another one that comes back is stale
    struct dtls_work *work_done; // came back while there was nowhere to send its output
    struct dtls_fingerprint fingerprints[DTLS_FINGERPRINTS_MAX];
    size_t fingerprint_count; // 0: no description of the peer yet
    enum dtls_role dtls_role;
    mono_t connect_deadline; // for DTLS, once ICE is there

    struct srtp_transport *srtp; // from DTLS connected on
    struct peer_connection_path path;
    struct sctp_transport *sctp;
    uint32_t sctp_max_message;

    struct early *early_head, *early_tail, *early_given;
    size_t early_count;

    enum peer_connection_state state, reported;
    enum peer_connection_failure failure;
    bool closed;
    bool was_connected;
    bool peer_closed; // to be reported
    bool had_selected;
    uint8_t selected_tcp;
    struct peer_connection_counters counters;
};

// ---- early media
// ----------------------------------------------------------------------------------------------------

static void early_done(struct peer_connection *pc)
{
    mem_free(pc->early_given);
    pc->early_given = NULL;
    while (pc->early_head != NULL) {
        struct early *const e = pc->early_head;
        pc->early_head = e->next;
        mem_free(e);
    }
    pc->early_tail = NULL;
    pc->early_count = 0;
}

static void early_hold(struct peer_connection *pc, mono_t now, struct bytes packet, bool rtcp)
{
    struct early *e = NULL;
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

// ---- state
// ----------------------------------------------------------------------------------------------------------

static enum peer_connection_state compute_state(const struct peer_connection *pc)
{
    if (pc->closed) {
        return PEER_CONNECTION_CLOSED;
    }
    if (pc->failure != PEER_CONNECTION_FAILURE_NONE) {
        return PEER_CONNECTION_FAILED;
    }
    switch (pc->ice.state) {
    case ICE_STATE_NEW:
        return pc->was_connected ? PEER_CONNECTION_CONNECTING : PEER_CONNECTION_NEW;
    case ICE_STATE_CONNECTED:
        return pc->srtp != NULL ? PEER_CONNECTION_CONNECTED : PEER_CONNECTION_CONNECTING;
    case ICE_STATE_DISCONNECTED:
        return PEER_CONNECTION_DISCONNECTED;
    case ICE_STATE_FAILED:
    case ICE_STATE_COUNT:
        break;
    }
    return PEER_CONNECTION_FAILED;
}

static void fail(struct peer_connection *pc, enum peer_connection_failure f)
{
    if (pc->failure == PEER_CONNECTION_FAILURE_NONE) {
        pc->failure = f;
    }
}

static bool is_alive(const struct peer_connection *pc)
{
    return !pc->closed && pc->failure == PEER_CONNECTION_FAILURE_NONE;
}

// DTLS must follow ICE in time.
static void update_connect_deadline(struct peer_connection *pc, mono_t now)
{
    bool const waits = pc->srtp == NULL && ice_agent_selected(&pc->ice) != NULL;
    if (!waits) {
        pc->connect_deadline = MONO_NEVER;
    } else if (mono_is_never(pc->connect_deadline)) {
        int64_t const ice_ms = mono_diff_ms(now, pc->ice.started);
        int64_t const ms =
            MAX(PEER_CONNECTION_CONNECT_MIN_MS, MIN(3 * ice_ms, PEER_CONNECTION_CONNECT_MAX_MS));
        pc->connect_deadline = mono_add_ms(now, ms);
    }
}

static void start_dtls_if_ready(struct peer_connection *pc, mono_t now)
{
    if (pc->fingerprint_count == 0 || !is_alive(pc) || ice_agent_selected(&pc->ice) == NULL ||
        dtls_transport_state(pc->dtls) != DTLS_STATE_NEW) {
        return;
    }
    if (dtls_transport_start(pc->dtls, now, pc->dtls_role, pc->fingerprints,
                             pc->fingerprint_count) != 0) {
        fail(pc, PEER_CONNECTION_FAILURE_RESOURCES);
    }
}

static void update_path(struct peer_connection *pc)
{
    const struct ice_tuple *const t = ice_agent_selected(&pc->ice);
    if (t != NULL) {
        pc->path.dst = t->remote;
        pc->path.local = t->local;
    }
    bool const may_send = t != NULL && pc->srtp != NULL && is_alive(pc);
    pc->path.srtp = may_send ? srtp_transport_egress(pc->srtp) : NULL;
}

// ---- SCTP
// -----------------------------------------------------------------------------------------------------------

void peer_connection_flush_sctp(struct peer_connection *pc, struct outbox *out)
{
    if (pc->sctp == NULL) {
        return;
    }
    const struct ice_tuple *const t = is_alive(pc) ? ice_agent_selected(&pc->ice) : NULL;
    struct bytes packet;
    while (sctp_transport_next_output(pc->sctp, &packet)) {
        // What cannot be sent now is repeated by SCTP.
        if (t != NULL && dtls_transport_send(pc->dtls, packet, out, t->local, &t->remote) != 0) {
            continue;
        }
    }
}

static void start_sctp(struct peer_connection *pc, struct outbox *out)
{
    if (pc->sctp == NULL || dtls_transport_state(pc->dtls) != DTLS_STATE_CONNECTED ||
        sctp_transport_state(pc->sctp) != SCTP_STATE_NEW) {
        return;
    }
    // Failure of SCTP never ends media: the transport is DOWN then and says so by its event.
    if (sctp_transport_start(pc->sctp, pc->dtls_role == DTLS_ROLE_CLIENT, pc->sctp_max_message) ==
        0) {
        peer_connection_flush_sctp(pc, out);
    }
}

static void input_data(struct peer_connection *pc, struct bytes data)
{
    if (pc->sctp != NULL) {
        sctp_transport_input(pc->sctp, data);
    } else {
        pc->counters.drop[PEER_CONNECTION_DROP_NO_SCTP]++;
    }
}

int peer_connection_enable_sctp(struct peer_connection *pc, mono_t now, uint32_t max_message,
                                struct outbox *out)
{
    (void)now;
    if (pc->hub == NULL) {
        return -EPROTO;
    }
    if (pc->sctp == NULL) {
        int const rc = sctp_transport_new(pc->hub, pc, &pc->sctp);
        if (rc != 0) {
            return rc;
        }
        pc->sctp_max_message = max_message;
    }
    start_sctp(pc, out);
    return 0;
}

// ---- DTLS
// -----------------------------------------------------------------------------------------------------------

static void on_dtls_connected(struct peer_connection *pc, mono_t now, struct outbox *out)
{
    struct srtp_keys keys;
    int rc = dtls_transport_take_srtp_keys(pc->dtls, &keys);
    if (rc == 0) {
        rc = srtp_transport_new(&keys, &pc->srtp);
        crypto_wipe(&keys, sizeof(keys));
    }
    if (rc != 0) {
        fail(pc, PEER_CONNECTION_FAILURE_RESOURCES);
        return;
    }
    // The association exists before the first packet of the peer is looked at: its INIT came in the
    // same burst as its Finished.
    start_sctp(pc, out);
    struct bytes data;
    while (
        dtls_transport_next_early_data(pc->dtls, now, out, pc->path.local, &pc->path.dst, &data)) {
        input_data(pc, data);
    }
    peer_connection_flush_sctp(pc, out);
}

static void pump_dtls(struct peer_connection *pc, mono_t now, struct outbox *out)
{
    enum dtls_event e;
    while (dtls_transport_poll_event(pc->dtls, &e)) {
        switch (e) {
        case DTLS_EVENT_NONE:
            break;
        case DTLS_EVENT_CONNECTED:
            on_dtls_connected(pc, now, out);
            break;
        case DTLS_EVENT_FAILED:
            fail(pc, PEER_CONNECTION_FAILURE_DTLS);
            break;
        case DTLS_EVENT_PEER_CLOSED:
            pc->peer_closed = true;
            break;
        }
    }
}

static void finish_work(struct peer_connection *pc, mono_t now, struct dtls_work *w,
                        struct outbox *out)
{
    dtls_transport_finish_work(pc->dtls, now, w, out, pc->path.local, &pc->path.dst);
    pump_dtls(pc, now, out);
}

// Brings everything up to date after a part has moved.
static void refresh(struct peer_connection *pc, mono_t now, struct outbox *out)
{
    if (pc->ice.state == ICE_STATE_FAILED && !pc->closed) {
        fail(pc, PEER_CONNECTION_FAILURE_ICE);
    }
    update_path(pc);
    start_dtls_if_ready(pc, now);
    if (pc->work_done != NULL && ice_agent_selected(&pc->ice) != NULL) {
        struct dtls_work *const w = pc->work_done;
        pc->work_done = NULL;
        finish_work(pc, now, w, out);
    }
    update_connect_deadline(pc, now);
    update_path(pc);
    pc->state = compute_state(pc);
    pc->was_connected = pc->was_connected || pc->state == PEER_CONNECTION_CONNECTED;
    if (pc->state == PEER_CONNECTION_FAILED) {
        early_done(pc);
    }
}

struct dtls_work *peer_connection_take_dtls_work(struct peer_connection *pc, mono_t now)
{
    if (!is_alive(pc) || pc->work_out != NULL || pc->work_done != NULL ||
        ice_agent_selected(&pc->ice) == NULL) {
        return NULL;
    }
    pc->work_out = dtls_transport_take_work(pc->dtls, now);
    return pc->work_out;
}

void peer_connection_finish_dtls_work(struct peer_connection *pc, mono_t now, struct dtls_work *w,
                                      struct outbox *out)
{
    if (w != pc->work_out) {
        dtls_work_free(w);
        return;
    }
    pc->work_out = NULL;
    // Its datagrams need an address; without consent they wait for a restart.
    pc->work_done = w;
    refresh(pc, now, out);
}

// ---- life
// -----------------------------------------------------------------------------------------------------------

int peer_connection_new(const struct peer_connection_config *cfg, mono_t now,
                        struct peer_connection **ret)
{
    struct peer_connection *const pc = NEW(struct peer_connection);
    if (pc == NULL) {
        return -ENOMEM;
    }
    pc->cert = cfg->cert;
    pc->hub = cfg->hub;
    pc->user = cfg->user;
    pc->connect_deadline = MONO_NEVER;
    int rc = ice_agent_init(&pc->ice, &cfg->ice);
    if (rc == 0) {
        rc = dtls_transport_new(cfg->cert, &pc->dtls);
    }
    if (rc != 0) {
        peer_connection_free(pc);
        return rc;
    }
    ice_agent_set_local(&pc->ice, now, &cfg->creds);
    *ret = pc;
    return 0;
}

// Everything that belongs to one DTLS session.
static void free_session(struct peer_connection *pc)
{
    sctp_transport_free(pc->sctp);
    pc->sctp = NULL;
    srtp_transport_free(pc->srtp);
    pc->srtp = NULL;
    pc->path.srtp = NULL;
    dtls_work_free(pc->work_done);
    pc->work_done = NULL;
    pc->work_out = NULL;
    dtls_transport_free(pc->dtls);
    pc->dtls = NULL;
    early_done(pc);
}

void peer_connection_free(struct peer_connection *pc)
{
    if (pc == NULL) {
        return;
    }
    free_session(pc);
    ice_agent_done(&pc->ice);
    mem_free(pc);
}

void *peer_connection_user(const struct peer_connection *pc)
{
    return pc->user;
}

struct peer_connection *peer_connection_of_sctp(const struct sctp_transport *t)
{
    return sctp_transport_user(t);
}

// ---- signalling
// -----------------------------------------------------------------------------------------------------

void peer_connection_restart(struct peer_connection *pc, mono_t now, const struct ice_creds *creds)
{
    if (pc->closed) {
        return;
    }
    ice_agent_set_local(&pc->ice, now, creds);
    if (pc->failure == PEER_CONNECTION_FAILURE_ICE) {
        pc->failure = PEER_CONNECTION_FAILURE_NONE;
    }
    update_path(pc);
    pc->state = compute_state(pc);
}

const struct ice_creds *peer_connection_creds(const struct peer_connection *pc)
{
    return &pc->ice.creds;
}

static bool same_fingerprints(const struct peer_connection *pc,
                              const struct peer_connection_remote *r)
{
    if (pc->fingerprint_count != r->fingerprint_count) {
        return false;
    }
    for (size_t i = 0; i < r->fingerprint_count; i++) {
        const struct dtls_fingerprint *const a = &pc->fingerprints[i];
        const struct dtls_fingerprint *const b = &r->fingerprints[i];
        if (a->hash != b->hash || memcmp(a->value, b->value, sizeof(a->value)) != 0) {
            return false;
        }
    }
    return true;
}

// Another identity behind the same transport: nothing of the old session may be used.
static int replace_session(struct peer_connection *pc, struct outbox *out)
{
    bool const had_sctp = pc->sctp != NULL;
    struct dtls_transport *dtls = NULL;
    struct sctp_transport *sctp = NULL;
    int rc = dtls_transport_new(pc->cert, &dtls);
    if (rc == 0 && had_sctp) {
        rc = sctp_transport_new(pc->hub, pc, &sctp);
    }
    if (rc != 0) {
        dtls_transport_free(dtls);
        return rc;
    }
    outbox_flush(out); // slots may refer to the keys
    free_session(pc);
    pc->dtls = dtls;
    pc->sctp = sctp;
    pc->peer_closed = false;
    if (pc->failure != PEER_CONNECTION_FAILURE_ICE) {
        pc->failure = PEER_CONNECTION_FAILURE_NONE;
    }
    return 0;
}

int peer_connection_set_remote(struct peer_connection *pc, mono_t now,
                               const struct peer_connection_remote *remote, struct outbox *out)
{
    if (remote->fingerprint_count == 0 || remote->fingerprint_count > DTLS_FINGERPRINTS_MAX) {
        return -EINVAL;
    }
    if (pc->closed) {
        return -EPROTO;
    }
    bool const first = pc->fingerprint_count == 0;
    bool const same = !first && same_fingerprints(pc, remote);
    if (same && remote->dtls_role != pc->dtls_role) {
        return -EPROTO;
    }
    if (pc->ice.cfg.role == ICE_ROLE_FULL) {
        int const rc =
            ice_agent_set_remote(&pc->ice, now, remote->ufrag, remote->pwd, remote->lite);
        if (rc != 0) {
            return rc;
        }
    } else {
        ice_agent_start(&pc->ice, now);
    }
    if (!first && !same) {
        int const rc = replace_session(pc, out);
        if (rc != 0) {
            return rc;
        }
    }
    if (!same) {
        memcpy(pc->fingerprints, remote->fingerprints,
               remote->fingerprint_count * sizeof(remote->fingerprints[0]));
        pc->fingerprint_count = remote->fingerprint_count;
        pc->dtls_role = remote->dtls_role;
    }
    refresh(pc, now, out);
    return 0;
}

int peer_connection_set_locals(struct peer_connection *pc, const struct ice_local *locals, size_t n)
{
    return pc->ice.cfg.role == ICE_ROLE_FULL ? ice_agent_set_locals(&pc->ice, locals, n) : 0;
}

int peer_connection_add_remote_candidate(struct peer_connection *pc, mono_t now,
                                         const struct addr *a, uint32_t priority)
{
    return pc->ice.cfg.role == ICE_ROLE_FULL ? ice_agent_add_remote(&pc->ice, now, a, priority) : 0;
}

// ---- input
// ----------------------------------------------------------------------------------------------------------

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
            input_data(pc, data);
        }
    }
    if (got_data) {
        peer_connection_flush_sctp(pc, out);
    }
    pump_dtls(pc, now, out);
    refresh(pc, now, out);
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
        refresh(pc, now, out);
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
        refresh(pc, now, out);
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
        struct early *const e = pc->early_head;
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

// ---- time
// -----------------------------------------------------------------------------------------------------------

void peer_connection_timeout(struct peer_connection *pc, mono_t now, struct outbox *out)
{
    if (pc->closed) {
        return;
    }
    ice_agent_timeout(&pc->ice, now, out);
    if (is_alive(pc)) {
        dtls_transport_timeout(pc->dtls, now);
        pump_dtls(pc, now, out);
        if (mono_reached(pc->connect_deadline, now)) {
            fail(pc, PEER_CONNECTION_FAILURE_DEADLINE);
        }
    }
    refresh(pc, now, out);
}

mono_t peer_connection_deadline(const struct peer_connection *pc)
{
    if (pc->closed) {
        return MONO_NEVER;
    }
    mono_t d = ice_agent_deadline(&pc->ice);
    if (is_alive(pc)) {
        d = mono_min(d, dtls_transport_deadline(pc->dtls));
        d = mono_min(d, pc->connect_deadline);
    }
    return d;
}

// ---- events
// ---------------------------------------------------------------------------------------------------------

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

// ---- sending
// --------------------------------------------------------------------------------------------------------

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
    if (t != NULL && is_alive(pc)) {
        dtls_transport_close(pc->dtls, out, t->local, &t->remote);
    }
    pc->closed = true;
    pc->path.srtp = NULL;
    pc->state = PEER_CONNECTION_CLOSED;
    early_done(pc);
}

// ---- state
// ----------------------------------------------------------------------------------------------------------

enum peer_connection_state peer_connection_state(const struct peer_connection *pc)
{
    return pc->state;
}

enum dtls_failure peer_connection_dtls_failure(const struct peer_connection *pc)
{
    return dtls_transport_failure(pc->dtls);
}

const struct peer_connection_counters *peer_connection_counters(const struct peer_connection *pc)
{
    return &pc->counters;
}

struct srtp_transport *peer_connection_srtp(const struct peer_connection *pc)
{
    return pc->srtp;
}

int64_t peer_connection_rtt_us(const struct peer_connection *pc)
{
    return ice_agent_rtt_us(&pc->ice);
}

const char *peer_connection_state_name(enum peer_connection_state s)
{
    static const char *const names[PEER_CONNECTION_STATE_COUNT] = {
        "new", "connecting", "connected", "disconnected", "failed", "closed",
    };
    return s < PEER_CONNECTION_STATE_COUNT ? names[s] : "";
}

const char *peer_connection_failure_name(enum peer_connection_failure f)
{
    static const char *const names[PEER_CONNECTION_FAILURE_COUNT] = {
        "none", "ice", "dtls", "deadline", "resources",
    };
    return f < PEER_CONNECTION_FAILURE_COUNT ? names[f] : "";
}
