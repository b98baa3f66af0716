// SPDX-License-Identifier: Apache-2.0
// Which addresses belong to the transport, and which of them is sent to.
#include "sfu/transport/ice_internal.h"

// ---- rate limit ---------------------------------------------------------------------------------

void ice_rate_fill_(struct ice_rate *r, mono_t now)
{
    *r = (struct ice_rate){.us = ICE_REQUESTS_BURST * US_PER_S / ICE_REQUESTS_PER_S, .at = now};
}

// A bucket of time: each request costs 1/ICE_REQUESTS_PER_S seconds of it.
bool ice_rate_take_(struct ice_rate *r, mono_t now)
{
    int64_t const cap = ICE_REQUESTS_BURST * US_PER_S / ICE_REQUESTS_PER_S;
    int64_t const cost = US_PER_S / ICE_REQUESTS_PER_S;
    if (mono_before(r->at, now)) {
        r->us = MIN(cap, r->us + MIN(cap, mono_diff_us(now, r->at)));
        r->at = now;
    }
    if (r->us < cost) {
        return false;
    }
    r->us -= cost;
    return true;
}

// ---- tuples -------------------------------------------------------------------------------------

static void push_tuple_event(struct ice_agent *a, enum ice_event_kind kind,
                             const struct ice_tuple *t)
{
    struct ice_event *const e = ice_agent_push_event_(a, kind);
    e->local = t->local;
    e->remote = t->remote;
}

int ice_agent_find_tuple(const struct ice_agent *a, uint8_t local, const struct addr *src)
{
    // Nearly every packet is from the selected one.
    int const s = a->selected;
    if (LIKELY(s >= 0) && a->tuples[s].local == local && addr_eq(&a->tuples[s].remote, src)) {
        return s;
    }
    for (int i = 0; i < ICE_TUPLES_MAX; i++) {
        const struct ice_tuple *const t = &a->tuples[i];
        if (t->used && t->local == local && addr_eq(&t->remote, src)) {
            return i;
        }
    }
    return -1;
}

void ice_agent_remove_tuple_(struct ice_agent *a, int i)
{
    struct ice_tuple *const t = &a->tuples[i];
    push_tuple_event(a, ICE_EVENT_TUPLE_REMOVED, t);
    *t = (struct ice_tuple){0};
    if (a->selected == i) {
        a->selected = -1;
    }
}

// A free place, or that of the tuple that was silent for longest.
static int free_tuple(struct ice_agent *a)
{
    int oldest = -1;
    for (int i = 0; i < ICE_TUPLES_MAX; i++) {
        if (!a->tuples[i].used) {
            return i;
        }
        if (i != a->selected &&
            (oldest < 0 || mono_before(a->tuples[i].last_rx, a->tuples[oldest].last_rx))) {
            oldest = i;
        }
    }
    ice_agent_remove_tuple_(a, oldest);
    return oldest;
}

int ice_agent_take_tuple_(struct ice_agent *a, mono_t now, uint8_t local, const struct addr *remote)
{
    int i = ice_agent_find_tuple(a, local, remote);
    if (i < 0) {
        i = free_tuple(a);
        struct ice_tuple *const t = &a->tuples[i];
        *t = (struct ice_tuple){.used = true, .remote = *remote, .local = local, .last_rx = now};
        ice_rate_fill_(&t->rate, now);
        push_tuple_event(a, ICE_EVENT_TUPLE_ADDED, t);
    }
    return i;
}

// Moves to another tuple when the selected one went silent and the other did not: nominated before
// not, then the one heard last. The comparison is between the two tuples, not with now, so that a
// late call decides the same.
void ice_agent_leave_silent_(struct ice_agent *a, mono_t now)
{
    if (a->selected < 0) {
        return;
    }
    mono_t const silent_since = a->tuples[a->selected].last_rx;
    int64_t const silent = mono_diff_ms(now, silent_since);
    if (silent < ICE_SELECTED_SILENT_MS) {
        return;
    }
    // After ICE_FAILED_MS this tuple has lost its consent: any other that was heard later is
    // better.
    int64_t const lead = silent >= ICE_FAILED_MS ? 0 : ICE_SELECTED_SILENT_MS - ICE_TUPLE_FRESH_MS;
    int best = -1;
    for (int i = 0; i < ICE_TUPLES_MAX; i++) {
        const struct ice_tuple *const t = &a->tuples[i];
        if (!t->used || i == a->selected ||
            mono_diff_us(t->last_rx, silent_since) <= lead * US_PER_MS) {
            continue;
        }
        const struct ice_tuple *const b = best >= 0 ? &a->tuples[best] : NULL;
        if (b == NULL || t->nominated > b->nominated ||
            (t->nominated == b->nominated && mono_before(b->last_rx, t->last_rx))) {
            best = i;
        }
    }
    if (best >= 0) {
        ice_agent_select_(a, now, best);
    }
}

// When ice_agent_leave_silent_ will find something to do without further packets.
mono_t ice_agent_leave_deadline_(const struct ice_agent *a)
{
    if (a->selected < 0) {
        return MONO_NEVER;
    }
    mono_t const silent_since = a->tuples[a->selected].last_rx;
    int64_t lead_us = 0;
    for (int i = 0; i < ICE_TUPLES_MAX; i++) {
        if (a->tuples[i].used) {
            lead_us = MAX(lead_us, mono_diff_us(a->tuples[i].last_rx, silent_since));
        }
    }
    if (lead_us == 0) {
        return MONO_NEVER;
    }
    bool const soon = lead_us > (ICE_SELECTED_SILENT_MS - ICE_TUPLE_FRESH_MS) * US_PER_MS;
    return mono_add_ms(silent_since, soon ? ICE_SELECTED_SILENT_MS : ICE_FAILED_MS);
}

void ice_agent_alive_(struct ice_agent *a, mono_t now, int t)
{
    a->tuples[t].last_rx = now;
    a->last_rx = now;
    if (UNLIKELY(a->selected != t)) {
        ice_agent_leave_silent_(a, now);
    }
    if (UNLIKELY(a->state == ICE_STATE_DISCONNECTED)) {
        ice_agent_set_state_(a, ICE_STATE_CONNECTED);
    }
}

void ice_agent_fail_(struct ice_agent *a)
{
    ice_agent_set_state_(a, ICE_STATE_FAILED);
}

void ice_agent_note_rx(struct ice_agent *a, mono_t now, int tuple)
{
    if (LIKELY(a->state != ICE_STATE_FAILED)) {
        ice_agent_alive_(a, now, tuple);
    }
}

void ice_agent_select_(struct ice_agent *a, mono_t now, int t)
{
    if (a->selected != t) {
        a->selected = (int8_t)t;
        push_tuple_event(a, ICE_EVENT_SELECTED, &a->tuples[t]);
    }
    if (a->state == ICE_STATE_NEW) {
        a->last_rx = now;
        ice_agent_set_state_(a, ICE_STATE_CONNECTED);
    }
}

const struct ice_tuple *ice_agent_selected(const struct ice_agent *a)
{
    return a->selected >= 0 && a->state != ICE_STATE_FAILED ? &a->tuples[a->selected] : NULL;
}

// ---- nomination (lite) --------------------------------------------------------------------------

static bool is_live_nominated(mono_t now, const struct ice_tuple *t)
{
    return t->used && t->nominated && mono_diff_ms(now, t->last_rx) < ICE_SELECTED_SILENT_MS;
}

// Aggressive peers nominate every pair that they check, from its first check on. libwebrtc never
// sends USE-CANDIDATE in the first check of a tuple (the pair must be writable before), which tells
// its change of mind from aggressive nomination.
static bool is_aggressive(const struct ice_agent *a, mono_t now)
{
    if (a->cfg.peer_aggressive) {
        return true;
    }
    size_t n = 0;
    for (size_t i = 0; i < ICE_TUPLES_MAX; i++) {
        const struct ice_tuple *const t = &a->tuples[i];
        n += is_live_nominated(now, t) && t->nominated_first &&
             mono_diff_ms(now, t->nominated_at) <= ICE_AGGRESSIVE_WINDOW_MS;
    }
    return n >= 2;
}

// UDP before TCP, because Firefox gives TCP hardly less priority (recorded); then the peer's own
// order.
static bool better(const struct ice_tuple *x, const struct ice_tuple *y)
{
    if (x->remote.tcp != y->remote.tcp) {
        return x->remote.tcp < y->remote.tcp;
    }
    return x->priority > y->priority;
}

static int best_nominated(const struct ice_agent *a, mono_t now)
{
    int best = -1;
    for (int i = 0; i < ICE_TUPLES_MAX; i++) {
        const struct ice_tuple *const t = &a->tuples[i];
        if (is_live_nominated(now, t) && (best < 0 || better(t, &a->tuples[best]))) {
            best = i;
        }
    }
    return best;
}

void ice_agent_lite_request_(struct ice_agent *a, mono_t now, int i, uint8_t generation,
                             uint32_t priority, bool use_candidate)
{
    struct ice_tuple *const t = &a->tuples[i];
    // A tuple that is gone silent is worth less than one that speaks, nominated or not.
    if (a->selected < 0 ||
        mono_diff_ms(now, a->tuples[a->selected].last_rx) >= ICE_DISCONNECTED_MS) {
        ice_agent_select_(a, now, i);
    }
    if (!t->heard || t->generation != generation) {
        t->heard = true;
        t->generation = generation;
        t->nominated = false;
        t->nominated_first = use_candidate;
    }
    if (!use_candidate) {
        // Firefox's consent checks carry none: that never withdraws a nomination.
        return;
    }
    if (!t->nominated) {
        // Later checks of Firefox have another PRIORITY: the nominating one counts.
        t->priority = priority;
        t->nominated = true;
    }
    t->nominated_at = now;
    if (a->selected == i) {
        return;
    }
    ice_agent_select_(a, now, is_aggressive(a, now) ? best_nominated(a, now) : i);
}
