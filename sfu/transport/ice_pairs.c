// SPDX-License-Identifier: Apache-2.0
// Which addresses are paired, and in which order (RFC 8445 section 6.1.2).
#include "sfu/transport/ice_pairs.h"

// Lengths of ice-ufrag and ice-pwd (RFC 8839 section 5.4).
#define UFRAG_MIN 4
#define PWD_MIN 22

uint32_t ice_pairs_local_priority_(const struct ice_checks *c, size_t local,
                                   enum candidate_type type)
{
    return candidate_priority(type, false,
                              candidate_local_pref(&c->locals[local].addr, (uint8_t)local));
}

// RFC 8445 section 6.1.2.3; computed at each use because roles may change.
uint64_t ice_pairs_priority_(const struct ice_checks *c, const struct ice_pair *p)
{
    uint64_t const g = c->controlling ? p->local_priority : p->remote_priority;
    uint64_t const d = c->controlling ? p->remote_priority : p->local_priority;
    return (MIN(g, d) << 32) + 2 * MAX(g, d) + (g > d);
}

struct ice_pair *ice_pairs_find_(struct ice_checks *c, uint8_t local, const struct addr *remote)
{
    for (size_t i = 0; i < c->pair_count; i++) {
        if (c->pairs[i].local == local && addr_eq(&c->pairs[i].remote, remote)) {
            return &c->pairs[i];
        }
    }
    return NULL;
}

struct ice_pair *ice_pairs_add_(struct ice_checks *c, size_t local, const struct addr *remote,
                                uint32_t priority)
{
    struct ice_local const *const l = &c->locals[local];
    if (l->addr.family != remote->family || l->addr.tcp != remote->tcp) {
        return NULL;
    }
    struct ice_pair *const known = ice_pairs_find_(c, l->local, remote);
    if (known != NULL || c->pair_count == ICE_PAIRS_MAX) {
        return known;
    }
    struct ice_pair *const p = &c->pairs[c->pair_count++];
    *p = (struct ice_pair){.remote = *remote,
                           .local = l->local,
                           .local_priority = ice_pairs_local_priority_(c, local, CANDIDATE_HOST),
                           .remote_priority = priority,
                           .resend = MONO_NEVER};
    return p;
}

static void pair_with_locals(struct ice_checks *c, const struct ice_remote *r)
{
    for (size_t i = 0; i < c->local_count; i++) {
        (void)ice_pairs_add_(c, i, &r->addr, r->priority);
    }
}

int ice_agent_set_locals(struct ice_agent *a, const struct ice_local *locals, size_t n)
{
    struct ice_checks *const c = a->checks;
    if (n > ICE_LOCALS_MAX) {
        return -E2BIG;
    }
    memcpy(c->locals, locals, n * sizeof(*locals));
    c->local_count = n;
    return 0;
}

int ice_agent_add_remote(struct ice_agent *a, mono_t now, const struct addr *remote,
                         uint32_t priority)
{
    struct ice_checks *const c = a->checks;
    if (remote->family == ADDR_NONE || remote->tcp || remote->port == 0 ||
        addr_is_unspecified(remote) || addr_is_multicast(remote)) {
        return -EINVAL;
    }
    for (size_t i = 0; i < c->remote_count; i++) {
        if (addr_eq(&c->remotes[i].addr, remote)) {
            return 0;
        }
    }
    if (c->remote_count == ICE_REMOTES_MAX) {
        return -ENOBUFS;
    }
    struct ice_remote *const r = &c->remotes[c->remote_count++];
    *r = (struct ice_remote){*remote, priority};
    if (c->started) {
        pair_with_locals(c, r);
        c->pace = mono_min(c->pace, now);
    }
    return 0;
}

int ice_agent_set_remote(struct ice_agent *a, mono_t now, struct bytes ufrag, struct bytes pwd,
                         bool lite)
{
    struct ice_checks *const c = a->checks;
    if (ufrag.n < UFRAG_MIN || ufrag.n >= ICE_REMOTE_TEXT_CAP || pwd.n < PWD_MIN ||
        pwd.n >= ICE_REMOTE_TEXT_CAP) {
        return -EINVAL;
    }
    if (a->creds.ufrag[0] == 0) {
        return -EPROTO;
    }
    bool const same = c->started && bytes_eq_str(ufrag, c->remote_ufrag) &&
                      bytes_eq_str(pwd, c->remote_pwd) &&
                      strcmp(a->creds.ufrag, c->local_ufrag) == 0;
    if (same) {
        return 0;
    }
    if (c->started) {
        ice_checks_stop_(c);
    }
    memset(c->remote_ufrag, 0, sizeof(c->remote_ufrag));
    memset(c->remote_pwd, 0, sizeof(c->remote_pwd));
    memcpy(c->remote_ufrag, ufrag.p, ufrag.n);
    memcpy(c->remote_pwd, pwd.p, pwd.n);
    memcpy(c->local_ufrag, a->creds.ufrag, sizeof(c->local_ufrag));
    // RFC 8445 section 6.1.1: against a lite peer we are controlling.
    c->controlling = c->controlling || lite;
    c->started = true;
    c->pace = now;
    for (size_t i = 0; i < c->remote_count; i++) {
        pair_with_locals(c, &c->remotes[i]);
    }
    ice_agent_start(a, now);
    return 0;
}

struct ice_pair *ice_pairs_best_(struct ice_checks *c, bool (*wanted)(const struct ice_pair *p))
{
    struct ice_pair *best = NULL;
    for (size_t i = 0; i < c->pair_count; i++) {
        struct ice_pair *const p = &c->pairs[i];
        if (wanted(p) &&
            (best == NULL || ice_pairs_priority_(c, p) > ice_pairs_priority_(c, best))) {
            best = p;
        }
    }
    return best;
}
