// SPDX-License-Identifier: Apache-2.0
#include "common/base/mem.h"
#include "sfu/transport/crypto_glue.h"
#include "sfu/transport/peer_connection_internal.h"

// ---- state ----------------------------------------------------------------------------------

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
    if (pc->fingerprint_count == 0 || !peer_connection_is_alive_(pc) ||
        ice_agent_selected(&pc->ice) == NULL || dtls_transport_state(pc->dtls) != DTLS_STATE_NEW) {
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
    bool const may_send = t != NULL && pc->srtp != NULL && peer_connection_is_alive_(pc);
    pc->path.srtp = may_send ? srtp_transport_egress(pc->srtp) : NULL;
}

// ---- SCTP -----------------------------------------------------------------------------------

void peer_connection_flush_sctp(struct peer_connection *pc, struct outbox *out)
{
    if (pc->sctp == NULL) {
        return;
    }
    const struct ice_tuple *const t =
        peer_connection_is_alive_(pc) ? ice_agent_selected(&pc->ice) : NULL;
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

void peer_connection_input_data_(struct peer_connection *pc, struct bytes data)
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

// ---- DTLS -----------------------------------------------------------------------------------

static void on_dtls_connected(struct peer_connection *pc, mono_t now, struct outbox *out)
{
    struct srtp_keys keys;
    int rc = dtls_transport_take_srtp_keys(pc->dtls, &keys);
    if (rc == 0) {
        rc = srtp_transport_new(&keys, SRTP_INGRESS_LIBCRYPTO, &pc->srtp);
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
        peer_connection_input_data_(pc, data);
    }
    peer_connection_flush_sctp(pc, out);
}

void peer_connection_pump_dtls_(struct peer_connection *pc, mono_t now, struct outbox *out)
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
    peer_connection_pump_dtls_(pc, now, out);
}

// Brings everything up to date after a part has moved.
void peer_connection_refresh_(struct peer_connection *pc, mono_t now, struct outbox *out)
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
        peer_connection_early_done_(pc);
    }
}

struct dtls_work *peer_connection_take_dtls_work(struct peer_connection *pc, mono_t now)
{
    if (!peer_connection_is_alive_(pc) || pc->work_out != NULL || pc->work_done != NULL ||
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
    peer_connection_refresh_(pc, now, out);
}

// ---- life -----------------------------------------------------------------------------------

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
    const uint64_t *const drops = pc->srtp != NULL ? srtp_transport_counters(pc->srtp) : NULL;
    for (size_t i = 0; drops != NULL && i < SRTP_DROP_COUNT; i++) {
        pc->counters.srtp[i] += drops[i];
    }
    srtp_transport_free(pc->srtp);
    pc->srtp = NULL;
    pc->path.srtp = NULL;
    dtls_work_free(pc->work_done);
    pc->work_done = NULL;
    pc->work_out = NULL;
    dtls_transport_free(pc->dtls);
    pc->dtls = NULL;
    peer_connection_early_done_(pc);
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

// ---- signalling -----------------------------------------------------------------------------

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
    peer_connection_refresh_(pc, now, out);
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

// ---- time -----------------------------------------------------------------------------------

void peer_connection_timeout(struct peer_connection *pc, mono_t now, struct outbox *out)
{
    if (pc->closed) {
        return;
    }
    ice_agent_timeout(&pc->ice, now, out);
    if (peer_connection_is_alive_(pc)) {
        dtls_transport_timeout(pc->dtls, now);
        peer_connection_pump_dtls_(pc, now, out);
        if (mono_reached(pc->connect_deadline, now)) {
            fail(pc, PEER_CONNECTION_FAILURE_DEADLINE);
        }
    }
    peer_connection_refresh_(pc, now, out);
}

mono_t peer_connection_deadline(const struct peer_connection *pc)
{
    if (pc->closed) {
        return MONO_NEVER;
    }
    mono_t d = ice_agent_deadline(&pc->ice);
    if (peer_connection_is_alive_(pc)) {
        d = mono_min(d, dtls_transport_deadline(pc->dtls));
        d = mono_min(d, pc->connect_deadline);
    }
    return d;
}
