// SPDX-License-Identifier: Apache-2.0
// The check list of a full ICE agent (RFC 8445 sections 6 and 7): pairs, paced checks, nomination,
// consent.
#include "common/base/mem.h"
#include "sfu/transport/ice_pairs.h"

#define PACE_MS 50        // RFC 8445 section 14.2: Ta
#define RTO_MIN_MS 500    // RFC 8445 section 14.3
#define REQUESTS_MAX 7    // RFC 8489 section 6.2.1: Rc
#define LAST_WAIT_RTOS 16 // RFC 8489 section 6.2.1: Rm

// How long a first success waits for a better pair before it is nominated; host candidates answer
// within a round trip.
#define NOMINATE_WAIT_MS 100

// RFC 7675 section 5.1: each 5 s, randomised by 0.8 to 1.2; lost after 30 s.
#define CONSENT_MS 5000
#define CONSENT_EXPIRY_MS 30000
// After an unanswered check, so that one lost datagram costs one second and not five.
#define CONSENT_RETRY_MS 1000

struct ice_checks *ice_checks_new(struct rng *rng, bool nominate_always)
{
    struct ice_checks *const c = NEW(struct ice_checks);
    if (c != NULL) {
        c->rng = rng;
        c->nominate_always = nominate_always;
        c->controlling = true;
        c->tie_breaker = rng_u64(rng);
        c->nominated = -1;
        c->nominate_at = MONO_NEVER;
        c->consent_next = MONO_NEVER;
    }
    return c;
}

void ice_checks_free(struct ice_checks *c)
{
    mem_free(c);
}

void ice_checks_stop_(struct ice_checks *c)
{
    c->remote_count = 0;
    c->pair_count = 0;
    c->nominated = -1;
    c->nominate_at = MONO_NEVER;
    c->consent_next = MONO_NEVER;
}

// ---- sending checks -------------------------------------------------------------------------

static uint32_t prflx_priority(const struct ice_checks *c, uint8_t local)
{
    for (size_t i = 0; i < c->local_count; i++) {
        if (c->locals[i].local == local) {
            return ice_pairs_local_priority_(c, i, CANDIDATE_PRFLX);
        }
    }
    return candidate_priority(CANDIDATE_PRFLX, false, 0);
}

static void transmit(struct ice_checks *c, mono_t now, struct ice_pair *p, bool use_candidate,
                     struct outbox *out)
{
    struct outbox_slot *const s = outbox_reserve(out);
    struct wr w = wr_init(s->data, STUN_MAX_LEN);
    stun_begin(&w, STUN_REQUEST, STUN_BINDING, p->txid);
    stun_put_username(&w, bytes_str(c->remote_ufrag), bytes_str(c->local_ufrag));
    stun_put_u64(&w, c->controlling ? STUN_ATTR_ICE_CONTROLLING : STUN_ATTR_ICE_CONTROLLED,
                 c->tie_breaker);
    if (use_candidate && c->controlling) {
        stun_put_flag(&w, STUN_ATTR_USE_CANDIDATE);
    }
    stun_put_u32(&w, STUN_ATTR_PRIORITY, prflx_priority(c, p->local));
    stun_end_integrity(&w, bytes_str(c->remote_pwd));
    stun_end_fingerprint(&w);
    p->sent = now;
    if (wr_ok(&w)) {
        s->dst = p->remote;
        s->local = p->local;
        s->len = (uint16_t)wr_len(&w);
        outbox_commit(out);
    }
}

// RFC 8445 section 14.3: the more checks are under way, the slower each repeats.
static int64_t rto_ms(const struct ice_checks *c)
{
    int64_t active = 0;
    for (size_t i = 0; i < c->pair_count; i++) {
        active +=
            c->pairs[i].state == ICE_PAIR_WAITING || c->pairs[i].state == ICE_PAIR_IN_PROGRESS;
    }
    return MAX(RTO_MIN_MS, PACE_MS * active);
}

static void begin_check(struct ice_checks *c, mono_t now, struct ice_pair *p, struct outbox *out)
{
    rng_bytes(c->rng, p->txid, sizeof(p->txid));
    if (p->state != ICE_PAIR_SUCCEEDED) {
        p->state = ICE_PAIR_IN_PROGRESS;
    }
    p->triggered = false;
    p->pending = true;
    p->sends = 1;
    p->resend = mono_add_ms(now, rto_ms(c));
    transmit(c, now, p, p->nominating, out);
}

static void fail_pair(struct ice_checks *c, struct ice_pair *p)
{
    p->state = ICE_PAIR_FAILED;
    p->pending = false;
    p->nominating = false;
    p->resend = MONO_NEVER;
    if (c->nominated >= 0 && p == &c->pairs[c->nominated]) {
        c->nominated = -1;
        c->consent_next = MONO_NEVER;
    }
}

static void repeat_check(struct ice_checks *c, mono_t now, struct ice_pair *p, struct outbox *out)
{
    if (p->sends >= REQUESTS_MAX) {
        fail_pair(c, p);
        return;
    }
    p->sends++;
    int64_t const rto = rto_ms(c);
    int64_t const wait = p->sends == REQUESTS_MAX ? LAST_WAIT_RTOS * rto : rto << (p->sends - 1);
    p->resend = mono_add_ms(now, wait);
    transmit(c, now, p, p->nominating, out);
}

// ---- nomination -----------------------------------------------------------------------------

static bool is_triggered(const struct ice_pair *p)
{
    return p->triggered;
}

static bool is_waiting(const struct ice_pair *p)
{
    return p->state == ICE_PAIR_WAITING;
}

static bool is_succeeded(const struct ice_pair *p)
{
    return p->state == ICE_PAIR_SUCCEEDED;
}

static bool is_open(const struct ice_pair *p)
{
    return p->state == ICE_PAIR_WAITING || p->state == ICE_PAIR_IN_PROGRESS;
}

static bool is_nominating(const struct ice_pair *p)
{
    return p->nominating;
}

static void schedule_consent(struct ice_agent *a, mono_t now)
{
    struct ice_checks *const c = a->checks;
    int64_t const ms = a->cfg.consent_ms != 0
                           ? a->cfg.consent_ms
                           : CONSENT_MS * 8 / 10 + rng_below(c->rng, CONSENT_MS * 4 / 10 + 1);
    c->consent_next = mono_add_ms(now, ms);
}

static void nominated(struct ice_agent *a, mono_t now, struct ice_pair *p, int tuple)
{
    struct ice_checks *const c = a->checks;
    p->nominating = false;
    p->resend = MONO_NEVER;
    c->nominated = (int)(p - c->pairs);
    c->consent_got = now;
    c->nominate_at = MONO_NEVER;
    schedule_consent(a, now);
    if (a->cfg.consent_ms != 0) {
        c->consent_next = mono_add_ms(now, rng_below(c->rng, a->cfg.consent_ms));
    }
    ice_agent_select_(a, now, tuple);
    // RFC 8445 section 8.1.1: nothing else is checked any more.
    for (size_t i = 0; i < c->pair_count; i++) {
        struct ice_pair *const other = &c->pairs[i];
        if (other != p) {
            other->triggered = false;
            other->pending = false;
            other->resend = MONO_NEVER;
            if (is_open(other)) {
                other->state = ICE_PAIR_FAILED;
            }
        }
    }
}

static bool better_is_open(struct ice_checks *c, const struct ice_pair *p)
{
    struct ice_pair *const open = ice_pairs_best_(c, is_open);
    return open != NULL && ice_pairs_priority_(c, open) > ice_pairs_priority_(c, p);
}

// Regular nomination: the best valid pair, when nothing better is open or the wait is over.
static void nominate_if_due(struct ice_checks *c, mono_t now, struct outbox *out)
{
    if (!c->controlling || c->nominated >= 0 || mono_is_never(c->nominate_at) ||
        ice_pairs_best_(c, is_nominating) != NULL) {
        return;
    }
    struct ice_pair *const best = ice_pairs_best_(c, is_succeeded);
    if (best == NULL) {
        c->nominate_at = MONO_NEVER;
        return;
    }
    if (!mono_reached(c->nominate_at, now)) {
        return;
    }
    best->nominating = true;
    begin_check(c, now, best, out);
}

// ---- receiving ------------------------------------------------------------------------------

static void switch_role(struct ice_checks *c)
{
    c->controlling = !c->controlling;
    c->tie_breaker = rng_u64(c->rng);
    for (size_t i = 0; i < c->pair_count; i++) {
        c->pairs[i].nominating = false;
    }
}

bool ice_checks_role_conflict_(struct ice_checks *c, bool peer_controlling, uint64_t tie_breaker)
{
    if (peer_controlling != c->controlling) {
        return false;
    }
    bool const ours_is_larger = c->tie_breaker >= tie_breaker;
    // The larger one is controlling: whoever has to change does it, the other one says 487.
    if (ours_is_larger == c->controlling) {
        return true;
    }
    switch_role(c);
    return false;
}

void ice_checks_on_request_(struct ice_agent *a, mono_t now, int tuple, uint32_t priority,
                            bool use_candidate)
{
    struct ice_checks *const c = a->checks;
    const struct ice_tuple *const t = &a->tuples[tuple];
    if (!c->started) {
        return;
    }
    struct ice_pair *p = ice_pairs_find_(c, t->local, &t->remote);
    for (size_t i = 0; i < c->local_count && p == NULL; i++) {
        if (c->locals[i].local == t->local) {
            p = ice_pairs_add_(c, i, &t->remote, priority);
        }
    }
    if (p == NULL) {
        return;
    }
    bool const chosen = use_candidate && !c->controlling;
    if (p->state == ICE_PAIR_SUCCEEDED) {
        if (chosen && c->nominated != (int)(p - c->pairs)) {
            nominated(a, now, p, tuple);
        }
        return;
    }
    p->peer_nominated = p->peer_nominated || chosen;
    if (p->state != ICE_PAIR_IN_PROGRESS && (c->nominated < 0 || chosen)) {
        // RFC 8445 section 7.3.1.4: their check came through, ours probably does now.
        p->state = ICE_PAIR_WAITING;
        p->triggered = true;
        c->pace = mono_min(c->pace, now);
    }
}

static void update_rtt(struct ice_checks *c, mono_t now, const struct ice_pair *p)
{
    if (p->sends != 1) {
        // Karn: nobody knows which of the repeated requests was answered.
        return;
    }
    int64_t const rtt = MAX(1, mono_diff_us(now, p->sent));
    c->srtt_us = c->srtt_us == 0 ? rtt : (7 * c->srtt_us + rtt) / 8;
}

static void on_success(struct ice_agent *a, mono_t now, struct ice_pair *p)
{
    struct ice_checks *const c = a->checks;
    update_rtt(c, now, p);
    p->pending = false;
    p->resend = MONO_NEVER;
    int const t = ice_agent_take_tuple_(a, now, p->local, &p->remote);
    bool const is_current = c->nominated == (int)(p - c->pairs);
    if (is_current) {
        c->consent_got = now;
    } else {
        bool const confirmed = p->nominating || p->peer_nominated;
        p->state = ICE_PAIR_SUCCEEDED;
        if (confirmed) {
            nominated(a, now, p, t);
        } else {
            if (a->selected < 0) {
                // RFC 8445 section 12.1.1: data may use any valid pair until one is nominated.
                ice_agent_select_(a, now, t);
            }
            mono_t const at = better_is_open(c, p) ? mono_add_ms(now, NOMINATE_WAIT_MS) : now;
            c->nominate_at = mono_min(c->nominate_at, at);
        }
    }
    ice_agent_alive_(a, now, t);
}

static void on_error(struct ice_checks *c, mono_t now, struct ice_pair *p, const struct stun_msg *m)
{
    uint16_t code = 0;
    if (stun_get_error(m, &code) == 0 && code == 487) {
        // RFC 8445 section 7.2.5.1: change roles and try again.
        switch_role(c);
        p->pending = false;
        p->resend = MONO_NEVER;
        p->state = ICE_PAIR_WAITING;
        p->triggered = true;
        c->pace = mono_min(c->pace, now);
        return;
    }
    fail_pair(c, p);
}

enum ice_rx ice_checks_on_response_(struct ice_agent *a, mono_t now, uint8_t local,
                                    const struct addr *src, const struct stun_msg *m)
{
    struct ice_checks *const c = a->checks;
    struct ice_pair *p = NULL;
    for (size_t i = 0; i < c->pair_count && p == NULL; i++) {
        struct ice_pair *const x = &c->pairs[i];
        p = x->pending && memcmp(x->txid, m->txid, STUN_TXID_LEN) == 0 ? x : NULL;
    }
    if (p == NULL) {
        return ICE_RX_UNEXPECTED;
    }
    if (!stun_check_integrity(m, bytes_str(c->remote_pwd))) {
        return ICE_RX_INTEGRITY;
    }
    if (p->local != local || !addr_eq(&p->remote, src)) {
        // RFC 8445 section 7.2.5.2.1: a path that is not symmetric cannot be used.
        fail_pair(c, p);
        return ICE_RX_UNEXPECTED;
    }
    if (m->cls == STUN_SUCCESS) {
        on_success(a, now, p);
    } else {
        on_error(c, now, p, m);
    }
    return ICE_RX_OK;
}

// ---- time -----------------------------------------------------------------------------------

static struct ice_pair *next_to_check(struct ice_checks *c)
{
    struct ice_pair *const p = ice_pairs_best_(c, is_triggered);
    return p != NULL ? p : ice_pairs_best_(c, is_waiting);
}

static void check_consent(struct ice_agent *a, mono_t now, struct outbox *out)
{
    struct ice_checks *const c = a->checks;
    if (c->nominated < 0 || !mono_reached(c->consent_next, now)) {
        return;
    }
    if (mono_diff_ms(now, c->consent_got) >= CONSENT_EXPIRY_MS) {
        ice_agent_fail_(a);
        return;
    }
    struct ice_pair *const p = &c->pairs[c->nominated];
    bool const unanswered = p->pending;
    rng_bytes(c->rng, p->txid, sizeof(p->txid));
    p->pending = true;
    p->sends = 1;
    transmit(c, now, p, c->nominate_always, out);
    if (unanswered) {
        c->consent_next = mono_add_ms(now, CONSENT_RETRY_MS);
    } else {
        schedule_consent(a, now);
    }
}

void ice_checks_timeout_(struct ice_agent *a, mono_t now, struct outbox *out)
{
    struct ice_checks *const c = a->checks;
    if (!c->started) {
        return;
    }
    for (size_t i = 0; i < c->pair_count; i++) {
        if (mono_reached(c->pairs[i].resend, now)) {
            repeat_check(c, now, &c->pairs[i], out);
        }
    }
    if (mono_reached(c->pace, now)) {
        struct ice_pair *const p = next_to_check(c);
        if (p != NULL) {
            begin_check(c, now, p, out);
            c->pace = mono_add_ms(now, PACE_MS);
        }
    }
    nominate_if_due(c, now, out);
    check_consent(a, now, out);
}

mono_t ice_checks_deadline_(const struct ice_agent *a)
{
    const struct ice_checks *const c = a->checks;
    if (!c->started) {
        return MONO_NEVER;
    }
    mono_t d = c->consent_next;
    bool nominating = false;
    bool to_check = false;
    for (size_t i = 0; i < c->pair_count; i++) {
        const struct ice_pair *const p = &c->pairs[i];
        d = mono_min(d, p->resend);
        nominating = nominating || p->nominating;
        to_check = to_check || p->triggered || is_waiting(p);
    }
    if (to_check) {
        d = mono_min(d, c->pace);
    }
    if (c->controlling && c->nominated < 0 && !nominating) {
        d = mono_min(d, c->nominate_at);
    }
    return d;
}

int64_t ice_agent_rtt_us(const struct ice_agent *a)
{
    return a->checks != NULL ? a->checks->srtt_us : 0;
}
