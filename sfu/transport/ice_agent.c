// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/ice_agent.h"

#include "sfu/transport/ice_internal.h"

#define UFRAG_PREFIX_MAX 8
#define UFRAG_RANDOM_LEN 16 // 95 bits: also what makes a flow table entry unguessable
#define PWD_LEN 32          // 190 bits

_Static_assert(UFRAG_PREFIX_MAX + UFRAG_RANDOM_LEN < ICE_UFRAG_CAP, "ufrag does not fit");
_Static_assert(PWD_LEN < ICE_PWD_CAP, "pwd does not fit");

void ice_creds_generate(struct rng *rng, const char *prefix, struct ice_creds *ret)
{
    size_t const n = strlen(prefix);
    assert(n <= UFRAG_PREFIX_MAX);
    *ret = (struct ice_creds){0};
    memcpy(ret->ufrag, prefix, n);
    rng_text(rng, ret->ufrag + n, UFRAG_RANDOM_LEN);
    rng_text(rng, ret->pwd, PWD_LEN);
}

// ---- events ---------------------------------------------------------------------------------

struct ice_event *ice_agent_push_event_(struct ice_agent *a, enum ice_event_kind kind)
{
    // One call makes at most one event per tuple and a handful more; the contract is to poll after
    // each call.
    assert(a->event_count < ICE_EVENTS_CAP);
    size_t const at = ((size_t)a->event_head + a->event_count) % ICE_EVENTS_CAP;
    a->event_count++;
    a->events[at] = (struct ice_event){.kind = kind};
    return &a->events[at];
}

bool ice_agent_poll_event(struct ice_agent *a, struct ice_event *ret)
{
    if (a->event_count == 0) {
        return false;
    }
    *ret = a->events[a->event_head];
    a->event_head = (uint8_t)((a->event_head + 1) % ICE_EVENTS_CAP);
    a->event_count--;
    return true;
}

static bool edge_allowed(enum ice_state from, enum ice_state to)
{
    switch (from) {
    case ICE_STATE_NEW:
        return to == ICE_STATE_CONNECTED || to == ICE_STATE_FAILED;
    case ICE_STATE_CONNECTED:
        return to == ICE_STATE_DISCONNECTED || to == ICE_STATE_FAILED;
    case ICE_STATE_DISCONNECTED:
        return to == ICE_STATE_CONNECTED || to == ICE_STATE_FAILED;
    case ICE_STATE_FAILED:
        return to == ICE_STATE_NEW;
    case ICE_STATE_COUNT:
        break;
    }
    return false;
}

void ice_agent_set_state_(struct ice_agent *a, enum ice_state to)
{
    if (a->state == to) {
        return;
    }
    assert(edge_allowed(a->state, to));
    a->state = to;
    ice_agent_push_event_(a, ICE_EVENT_STATE)->state = to;
}

// ---- life -----------------------------------------------------------------------------------

int ice_agent_init(struct ice_agent *a, const struct ice_agent_config *cfg)
{
    *a = (struct ice_agent){.cfg = *cfg, .selected = -1, .old_until = MONO_NEVER};
    ice_rate_fill_(&a->unknown_rate, (mono_t){0});
    if (cfg->role == ICE_ROLE_FULL) {
        a->checks = ice_checks_new(cfg->rng, cfg->nominate_always);
        if (a->checks == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

void ice_agent_done(struct ice_agent *a)
{
    ice_checks_free(a->checks);
    *a = (struct ice_agent){.selected = -1};
}

static void retire_old(struct ice_agent *a)
{
    if (a->has_old) {
        struct ice_event *const e = ice_agent_push_event_(a, ICE_EVENT_UFRAG_RETIRED);
        memcpy(e->ufrag, a->old.ufrag, sizeof(e->ufrag));
        a->has_old = false;
        a->old = (struct ice_creds){0};
        a->old_until = MONO_NEVER;
    }
}

void ice_agent_set_local(struct ice_agent *a, mono_t now, const struct ice_creds *creds)
{
    if (a->creds.ufrag[0] != 0) {
        retire_old(a);
        a->old = a->creds;
        a->has_old = true;
        a->old_until = mono_add_ms(now, ICE_OLD_CREDS_MS);
        a->generation++;
    }
    a->creds = *creds;
    a->generation_heard = false;
    if (a->state == ICE_STATE_FAILED) {
        // What was selected lost its consent; only a new check brings a tuple back.
        a->selected = -1;
        if (a->checks != NULL) {
            ice_checks_stop_(a->checks);
        }
        ice_agent_set_state_(a, ICE_STATE_NEW);
        a->started = now;
    } else if (!mono_before(a->last_rx, a->started)) {
        // Once until something is heard: restarts alone keep nothing alive.
        a->started = now;
    }
}

void ice_agent_start(struct ice_agent *a, mono_t now)
{
    if (!a->running) {
        a->running = true;
        a->started = now;
    }
}

// ---- requests -------------------------------------------------------------------------------

// A new generation makes the nominations of the old one worthless.
static void generation_heard(struct ice_agent *a)
{
    if (a->generation_heard) {
        return;
    }
    a->generation_heard = true;
    for (size_t i = 0; i < ICE_TUPLES_MAX; i++) {
        a->tuples[i].nominated = false;
    }
    retire_old(a);
}

// Comprehension-required attributes of a connectivity check (RFC 8445 section 7.1).
static const uint16_t known_attrs[] = {
    STUN_ATTR_USERNAME,
    STUN_ATTR_MESSAGE_INTEGRITY_SHA256,
    STUN_ATTR_PRIORITY,
    STUN_ATTR_USE_CANDIDATE,
};

static void send_stun(struct wr *w, struct outbox_slot *s, struct outbox *out, uint8_t local,
                      const struct addr *dst)
{
    if (wr_ok(w)) {
        s->dst = *dst;
        s->local = local;
        s->len = (uint16_t)wr_len(w);
        outbox_commit(out);
    }
}

static void send_error(const struct stun_msg *m, uint16_t code, const uint16_t *unknown, size_t n,
                       struct bytes pwd, struct outbox *out, uint8_t local, const struct addr *dst)
{
    struct outbox_slot *const s = outbox_reserve(out);
    struct wr w = wr_init(s->data, STUN_MAX_LEN);
    stun_write_binding_error(&w, m, code, unknown, n, pwd);
    send_stun(&w, s, out, local, dst);
}

static void send_success(const struct stun_msg *m, struct bytes pwd, struct outbox *out,
                         uint8_t local, const struct addr *dst)
{
    struct outbox_slot *const s = outbox_reserve(out);
    struct wr w = wr_init(s->data, STUN_MAX_LEN);
    stun_write_binding_success(&w, m, dst, pwd);
    send_stun(&w, s, out, local, dst);
}

// Which of our credentials the message is for; NULL if none. *ret_current: the newest.
static const struct ice_creds *match_creds(const struct ice_agent *a, const struct stun_msg *m,
                                           bool *ret_current)
{
    struct bytes ours;
    struct bytes theirs;
    if (stun_get_username(m, &ours, &theirs) != 0 || ours.n == 0) {
        return NULL;
    }
    if (bytes_eq_str(ours, a->creds.ufrag)) {
        *ret_current = true;
        return &a->creds;
    }
    if (a->has_old && bytes_eq_str(ours, a->old.ufrag)) {
        *ret_current = false;
        return &a->old;
    }
    return NULL;
}

static bool role_conflict(struct ice_agent *a, const struct stun_msg *m)
{
    uint64_t tie_breaker = 0;
    bool const controlled = stun_get_u64(m, STUN_ATTR_ICE_CONTROLLED, &tie_breaker) == 0;
    if (a->cfg.role == ICE_ROLE_LITE) {
        // We are always controlled (RFC 8445 section 6.1.1).
        return controlled;
    }
    bool const controlling =
        !controlled && stun_get_u64(m, STUN_ATTR_ICE_CONTROLLING, &tie_breaker) == 0;
    return (controlled || controlling) &&
           ice_checks_role_conflict_(a->checks, controlling, tie_breaker);
}

static enum ice_rx on_request(struct ice_agent *a, mono_t now, uint8_t local,
                              const struct addr *src, const struct stun_msg *m, struct outbox *out)
{
    bool current = false;
    const struct ice_creds *const creds = match_creds(a, m, &current);
    if (creds == NULL) {
        return ICE_RX_UFRAG;
    }
    // The HMAC of strangers is paid for from one bucket, before it is computed.
    int const known = ice_agent_find_tuple(a, local, src);
    if (known < 0 && !ice_rate_take_(&a->unknown_rate, now)) {
        return ICE_RX_RATE;
    }
    struct bytes const pwd = bytes_str(creds->pwd);
    if (!stun_check_integrity(m, pwd)) {
        return ICE_RX_INTEGRITY;
    }
    if (known >= 0 && !ice_rate_take_(&a->tuples[known].rate, now)) {
        return ICE_RX_RATE;
    }
    uint16_t unknown[8];
    size_t const n =
        stun_unknown_attrs(m, known_attrs, ARRAY_LEN(known_attrs), unknown, ARRAY_LEN(unknown));
    if (n > 0) {
        send_error(m, 420, unknown, n, pwd, out, local, src);
        return ICE_RX_UNKNOWN_ATTR;
    }
    if (role_conflict(a, m)) {
        send_error(m, 487, NULL, 0, pwd, out, local, src);
        return ICE_RX_ROLE;
    }
    uint32_t priority = 0;
    if (stun_get_u32(m, STUN_ATTR_PRIORITY, &priority) == -EBADMSG) {
        return ICE_RX_MALFORMED;
    }
    send_success(m, pwd, out, local, src);

    if (current) {
        generation_heard(a);
    }
    int const t = ice_agent_take_tuple_(a, now, local, src);
    bool const use_candidate = stun_has(m, STUN_ATTR_USE_CANDIDATE);
    if (a->cfg.role == ICE_ROLE_FULL) {
        ice_checks_on_request_(a, now, t, priority, use_candidate);
    } else {
        uint8_t const generation = (uint8_t)(a->generation - !current);
        ice_agent_lite_request_(a, now, t, generation, priority, use_candidate);
    }
    ice_agent_alive_(a, now, t);
    return ICE_RX_OK;
}

enum ice_rx ice_agent_input(struct ice_agent *a, mono_t now, uint8_t local, const struct addr *src,
                            struct bytes datagram, struct outbox *out)
{
    struct stun_msg m;
    if (stun_parse(datagram, &m) != 0) {
        return ICE_RX_MALFORMED;
    }
    if (m.method != STUN_BINDING || a->state == ICE_STATE_FAILED) {
        return ICE_RX_UNEXPECTED;
    }
    switch ((enum stun_class)m.cls) {
    case STUN_REQUEST:
        return on_request(a, now, local, src, &m, out);
    case STUN_SUCCESS:
    case STUN_ERROR:
        return a->checks != NULL ? ice_checks_on_response_(a, now, local, src, &m)
                                 : ICE_RX_UNEXPECTED;
    case STUN_INDICATION:
        // Keepalives (RFC 8445 section 11) prove nothing: they are not authenticated.
        break;
    }
    return ICE_RX_UNEXPECTED;
}

// ---- time -----------------------------------------------------------------------------------

// A restart is given as much time as a silence.
static mono_t failed_at(const struct ice_agent *a)
{
    return mono_add_ms(mono_max(a->last_rx, a->started), ICE_FAILED_MS);
}

static void update_liveness(struct ice_agent *a, mono_t now)
{
    switch (a->state) {
    case ICE_STATE_NEW:
        if (a->running && a->cfg.connect_timeout_ms > 0 &&
            mono_diff_ms(now, a->started) >= a->cfg.connect_timeout_ms) {
            ice_agent_set_state_(a, ICE_STATE_FAILED);
        }
        return;
    case ICE_STATE_CONNECTED:
    case ICE_STATE_DISCONNECTED:
        ice_agent_leave_silent_(a, now);
        if (mono_reached(failed_at(a), now)) {
            ice_agent_set_state_(a, ICE_STATE_FAILED);
        } else if (a->state == ICE_STATE_CONNECTED &&
                   mono_diff_ms(now, a->last_rx) >= ICE_DISCONNECTED_MS) {
            ice_agent_set_state_(a, ICE_STATE_DISCONNECTED);
        }
        return;
    case ICE_STATE_FAILED:
    case ICE_STATE_COUNT:
        return;
    }
}

void ice_agent_timeout(struct ice_agent *a, mono_t now, struct outbox *out)
{
    if (a->has_old && mono_reached(a->old_until, now)) {
        retire_old(a);
    }
    update_liveness(a, now);
    for (int i = 0; i < ICE_TUPLES_MAX; i++) {
        if (a->tuples[i].used && i != a->selected &&
            mono_diff_ms(now, a->tuples[i].last_rx) >= ICE_TUPLE_DEAD_MS) {
            ice_agent_remove_tuple_(a, i);
        }
    }
    if (a->checks != NULL && a->state != ICE_STATE_FAILED) {
        ice_checks_timeout_(a, now, out);
    }
}

// When liveness must be looked at again.
static mono_t liveness_deadline(const struct ice_agent *a)
{
    switch (a->state) {
    case ICE_STATE_NEW:
        return a->running && a->cfg.connect_timeout_ms > 0
                   ? mono_add_ms(a->started, a->cfg.connect_timeout_ms)
                   : MONO_NEVER;
    case ICE_STATE_CONNECTED:
    case ICE_STATE_DISCONNECTED:
        break;
    case ICE_STATE_FAILED:
    case ICE_STATE_COUNT:
        return MONO_NEVER;
    }
    mono_t d = failed_at(a);
    if (a->state == ICE_STATE_CONNECTED) {
        d = mono_min(d, mono_add_ms(a->last_rx, ICE_DISCONNECTED_MS));
    }
    return mono_min(d, ice_agent_leave_deadline_(a));
}

mono_t ice_agent_deadline(const struct ice_agent *a)
{
    mono_t d = mono_min(a->old_until, liveness_deadline(a));
    for (int i = 0; i < ICE_TUPLES_MAX; i++) {
        if (a->tuples[i].used && i != a->selected) {
            d = mono_min(d, mono_add_ms(a->tuples[i].last_rx, ICE_TUPLE_DEAD_MS));
        }
    }
    if (a->checks != NULL && a->state != ICE_STATE_FAILED) {
        d = mono_min(d, ice_checks_deadline_(a));
    }
    return d;
}

// ---- names ----------------------------------------------------------------------------------

const char *ice_rx_name(enum ice_rx r)
{
    switch (r) {
    case ICE_RX_OK:
        return "ok";
    case ICE_RX_MALFORMED:
        return "malformed";
    case ICE_RX_UNEXPECTED:
        return "unexpected";
    case ICE_RX_UFRAG:
        return "ufrag";
    case ICE_RX_INTEGRITY:
        return "integrity";
    case ICE_RX_RATE:
        return "rate";
    case ICE_RX_ROLE:
        return "role";
    case ICE_RX_UNKNOWN_ATTR:
        return "unknown_attr";
    case ICE_RX_COUNT:
        break;
    }
    return "";
}
