// SPDX-License-Identifier: Apache-2.0
// Applying descriptions of the other side. All that can fail is prepared first, then committed
// without failure.
#include "common/base/mem.h"
#include "sfu/transport/jsep_internal.h"

// What one section becomes.
struct update {
    struct jsep_transceiver *t;
    struct jsep_set *set;
    struct jsep_remote_media *remote;
    bool created;
    bool acceptable;
};

struct prepared {
    struct jsep *j;
    struct sdp *s;
    struct update *updates; // s->media_count
    struct arena arena;     // strings of remote
    struct jsep_remote remote;
    enum jsep_dtls_role role;
    struct jsep_applied applied;
    struct jsep_transceiver **order; // offers: the new order
    struct jsep_transceiver **gone;  // offers: the new list of replaced sections
    size_t count;
    size_t gone_count;
};

static void discard(struct prepared *p)
{
    for (size_t i = 0; p->updates != NULL && i < p->s->media_count; i++) {
        struct update *const u = &p->updates[i];
        jsep_set_put_(p->j, u->set);
        mem_free(u->remote);
        if (u->created) {
            jsep_transceiver_free_(u->t);
        }
    }
    mem_free(p->updates);
    mem_free(p->order);
    mem_free(p->gone);
    arena_done(&p->arena);
    sdp_free(p->s);
}

static int prepare(struct jsep *j, struct bytes text, struct prepared *p)
{
    *p = (struct prepared){.j = j};
    // Strings of remote are short; candidates are capped.
    arena_init(&p->arena, 1024, 256u * 1024);
    int const err = sdp_parse(text, &p->s);
    if (err != 0) {
        return err;
    }
    if (p->s->media_count == 0) {
        return -EBADMSG;
    }
    p->updates = mem_array(p->s->media_count, sizeof(*p->updates));
    return p->updates != NULL ? 0 : -ENOMEM;
}

// ---- transport ------------------------------------------------------------------------------

static int copy_candidates(struct prepared *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->s->media_count; i++) {
        n += p->updates[i].acceptable ? p->s->media[i].candidate_count : 0;
    }
    n = MIN(n, (size_t)SDP_MAX_CANDIDATES);
    const char **const lines = arena_array(&p->arena, n, sizeof(*lines));
    if (lines == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < p->s->media_count; i++) {
        const struct sdp_media *const m = &p->s->media[i];
        for (size_t k = 0;
             p->updates[i].acceptable && k < m->candidate_count && p->remote.candidate_count < n;
             k++) {
            const char *const line = arena_strdup(&p->arena, m->candidates[k]);
            if (line == NULL) {
                return p->arena.over_cap ? -E2BIG : -ENOMEM;
            }
            lines[p->remote.candidate_count++] = line;
        }
    }
    p->remote.candidates = lines;
    return 0;
}

// Credentials and fingerprint of the section that carries the bundle.
static int copy_transport(struct prepared *p, const struct sdp_media *m,
                          const struct sdp_transport *t)
{
    // RFC 8839 section 5.4: at most 256 characters. A fingerprint of sha-512 has 199.
    if (t->ice_ufrag.n == 0 || t->ice_ufrag.n > 256 || t->ice_pwd.n == 0 || t->ice_pwd.n > 256 ||
        t->fingerprint.n == 0 || t->fingerprint.n > 512) {
        return -EBADMSG;
    }
    struct jsep_remote *const r = &p->remote;
    r->ice_ufrag = arena_strdup(&p->arena, t->ice_ufrag);
    r->ice_pwd = arena_strdup(&p->arena, t->ice_pwd);
    r->fingerprint = arena_strdup(&p->arena, t->fingerprint);
    if (r->ice_ufrag == NULL || r->ice_pwd == NULL || r->fingerprint == NULL) {
        return -ENOMEM;
    }
    r->valid = true;
    r->ice_lite = p->s->session.ice_lite;
    r->end_of_candidates = m->end_of_candidates;
    return copy_candidates(p);
}

static void compare_transport(struct prepared *p)
{
    const struct jsep_remote *const old = &p->j->remote;
    p->applied.first = !old->valid;
    if (old->valid) {
        p->applied.ice_restart = strcmp(old->ice_ufrag, p->remote.ice_ufrag) != 0 ||
                                 strcmp(old->ice_pwd, p->remote.ice_pwd) != 0;
        p->applied.new_fingerprint = strcmp(old->fingerprint, p->remote.fingerprint) != 0;
    }
}

// -EAGAIN: no section carries anything, the transport stays as it is.
static int prepare_transport(struct prepared *p, enum sdp_setup *ret_setup)
{
    int err = -EAGAIN;
    for (size_t i = 0; i < p->s->media_count; i++) {
        const struct sdp_media *const m = &p->s->media[i];
        if (!p->updates[i].acceptable) {
            continue;
        }
        if (err == -EAGAIN) {
            struct sdp_transport const t = sdp_media_transport(p->s, m);
            *ret_setup = t.setup;
            err = copy_transport(p, m, &t);
        }
        if (m->kind == SDP_KIND_DATA) {
            p->remote.has_data = true;
            p->remote.sctp_port = m->sctp_port != 0 ? m->sctp_port : 5000;
            p->remote.max_message_size = m->max_message_size;
        }
    }
    if (err == 0) {
        compare_transport(p);
    }
    return err;
}

static void commit_transport(struct prepared *p)
{
    if (!p->remote.valid) {
        return;
    }
    struct jsep *const j = p->j;
    struct arena const old = j->remote_arena;
    j->remote_arena = p->arena;
    j->remote = p->remote;
    p->arena = old; // freed by discard
}

// ---- offers ---------------------------------------------------------------------------------

// Our role as answerer: as it was, else client whenever we may choose (media-plane 2.4).
static int offer_role(struct prepared *p, enum sdp_setup setup)
{
    enum jsep_dtls_role const kept = p->applied.new_fingerprint ? JSEP_DTLS_UNKNOWN : p->j->role;
    switch (setup) {
    case SDP_SETUP_ACTIVE:
        p->role = JSEP_DTLS_SERVER;
        break;
    case SDP_SETUP_PASSIVE:
        p->role = JSEP_DTLS_CLIENT;
        break;
    case SDP_SETUP_NONE:
    case SDP_SETUP_ACTPASS:
    case SDP_SETUP_HOLDCONN:
        p->role = kept != JSEP_DTLS_UNKNOWN ? kept : JSEP_DTLS_CLIENT;
        break;
    }
    return kept != JSEP_DTLS_UNKNOWN && kept != p->role ? -EPROTO : 0;
}

// The transceiver of a mid; usually it is where it was last time. Stopped ones keep their mid and
// their place.
static struct jsep_transceiver *lookup(const struct jsep *j, size_t i, struct bytes mid)
{
    if (i < j->count && bytes_eq_str(mid, j->order[i]->mid)) {
        return j->order[i];
    }
    for (size_t k = 0; k < j->count; k++) {
        if (bytes_eq_str(mid, j->order[k]->mid)) {
            return j->order[k];
        }
    }
    return NULL;
}

static bool mid_repeated(const struct prepared *p, size_t i)
{
    struct bytes const mid = p->s->media[i].mid;
    for (size_t k = 0; k < i; k++) {
        if (bytes_eq(p->s->media[k].mid, mid)) {
            return true;
        }
    }
    return false;
}

// BUNDLE is the only transport we have: without a group only the first usable section can be
// served.
static bool bundled(const struct prepared *p, size_t i)
{
    if (p->s->session.has_bundle) {
        return sdp_in_bundle(&p->s->session, p->s->media[i].mid);
    }
    for (size_t k = 0; k < i; k++) {
        if (p->updates[k].acceptable) {
            return false;
        }
    }
    return true;
}

static int prepare_offered_section(struct prepared *p, size_t i)
{
    struct jsep *const j = p->j;
    const struct sdp_media *const m = &p->s->media[i];
    struct update *const u = &p->updates[i];
    enum jsep_kind const kind = jsep_kind_of_(m->kind);
    if (m->mid.n == 0 || mid_repeated(p, i)) {
        return -EBADMSG;
    }
    u->t = lookup(j, i, m->mid);
    if (u->t != NULL && u->t->kind != kind) {
        return -EBADMSG;
    }
    int err = 0;
    if (u->t == NULL) {
        err = jsep_transceiver_new_(j, kind, m->mid, &u->t);
        u->created = err == 0;
    }
    u->acceptable = kind != JSEP_OTHER && !sdp_media_rejected(m) && bundled(p, i);
    if (err != 0 || kind == JSEP_DATA || !u->acceptable) {
        return err;
    }
    struct jsep_codec_view codecs[JSEP_MAX_CODECS];
    size_t const n = jsep_common_codecs_(j, m, codecs);
    u->acceptable = n > 0 && m->rtcp_mux; // no second port for RTCP (RFC 8834 section 4.5)
    err = jsep_set_get_(j, codecs, n, &u->set);
    return err == 0 ? jsep_remote_media_(m, false, &u->remote) : err;
}

// Sections of the offer, then our own that were never offered; the rest was replaced by recycling
// its m-line.
static int prepare_order(struct prepared *p)
{
    struct jsep *const j = p->j;
    size_t const n = p->s->media_count;
    p->order = mem_array(n + j->count, sizeof(struct jsep_transceiver *));
    p->gone = mem_array(j->gone_count + j->count + 1, sizeof(struct jsep_transceiver *));
    if (p->order == NULL || p->gone == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < j->gone_count; i++) {
        p->gone[p->gone_count++] = j->gone[i];
    }
    for (size_t i = 0; i < n; i++) {
        p->order[p->count++] = p->updates[i].t;
        p->applied.new_sections |= p->updates[i].created;
    }
    for (size_t k = 0; k < j->count; k++) {
        struct jsep_transceiver *const t = j->order[k];
        bool kept = k < n && p->updates[k].t == t;
        for (size_t i = 0; i < n && !kept; i++) {
            kept = p->updates[i].t == t;
        }
        if (!kept) {
            if (t->mline == UINT16_MAX) {
                p->order[p->count++] = t;
            } else {
                p->gone[p->gone_count++] = t;
            }
        }
    }
    return p->count + p->gone_count > JSEP_MAX_TRANSCEIVERS ? -E2BIG : 0;
}

static void commit_section(struct update *u, const struct sdp_media *m, size_t i)
{
    struct jsep_transceiver *const t = u->t;
    jsep_set_assign_(t, u->set);
    mem_free(t->remote_storage);
    t->remote_storage = u->remote;
    t->remote = u->remote;
    t->remote_direction = sdp_media_rejected(m) ? SDP_INACTIVE : m->direction;
    t->acceptable = u->acceptable;
    t->published |= u->remote != NULL;
    t->mline = (uint16_t)i;
    *u = (struct update){.t = t};
}

static void stop(struct jsep_transceiver *t)
{
    t->stopped = true;
    t->direction = SDP_INACTIVE;
    t->remote_direction = SDP_INACTIVE;
    t->sender_live = false;
    t->had_sender = false;
}

static void commit_offer(struct prepared *p)
{
    struct jsep *const j = p->j;
    for (size_t i = j->gone_count; i < p->gone_count; i++) {
        stop(p->gone[i]);
    }
    for (size_t i = 0; i < p->s->media_count; i++) {
        struct jsep_transceiver *const t = p->updates[i].t;
        t->stopped = !p->updates[i].acceptable;
        commit_section(&p->updates[i], &p->s->media[i], i);
    }
    mem_free(j->order);
    mem_free(j->gone);
    j->order = p->order;
    j->gone = p->gone;
    j->count = p->count;
    j->gone_count = p->gone_count;
    p->order = NULL;
    p->gone = NULL;
    j->next_role = p->role;
    commit_transport(p);
    mem_free(p->updates);
    p->updates = NULL;
    sdp_free(j->offer);
    j->offer = p->s;
    p->s = NULL;
    j->state = JSEP_HAVE_REMOTE_OFFER;
}

int jsep_set_remote_offer(struct jsep *j, struct bytes text, struct jsep_applied *ret)
{
    if (j->state == JSEP_HAVE_LOCAL_OFFER) {
        return -EPROTO;
    }
    struct prepared p;
    int err = prepare(j, text, &p);
    for (size_t i = 0; err == 0 && i < p.s->media_count; i++) {
        err = prepare_offered_section(&p, i);
    }
    enum sdp_setup setup = SDP_SETUP_NONE;
    if (err == 0) {
        err = prepare_transport(&p, &setup);
        if (err == -EAGAIN) { // everything is rejected
            p.remote = (struct jsep_remote){0};
            err = 0;
        }
    }
    if (err == 0) {
        err = offer_role(&p, setup);
    }
    if (err == 0) {
        err = prepare_order(&p);
    }
    if (err == 0) {
        commit_offer(&p);
        if (ret != NULL) {
            *ret = p.applied;
        }
    }
    discard(&p);
    return err;
}

// ---- answers --------------------------------------------------------------------------------

static int answer_role(struct prepared *p, enum sdp_setup setup)
{
    const struct jsep *const j = p->j;
    enum jsep_dtls_role const kept = p->applied.new_fingerprint ? JSEP_DTLS_UNKNOWN : j->role;
    switch (setup) {
    case SDP_SETUP_ACTIVE:
        p->role = JSEP_DTLS_SERVER;
        break;
    case SDP_SETUP_PASSIVE:
        p->role = JSEP_DTLS_CLIENT;
        break;
    case SDP_SETUP_NONE:
    case SDP_SETUP_ACTPASS:
    case SDP_SETUP_HOLDCONN:
        return -EBADMSG; // RFC 5763 section 5: an answer chooses
    }
    if (j->offered_setup != SDP_SETUP_ACTPASS && j->offered_setup == setup) {
        return -EBADMSG; // both want the same side
    }
    return kept != JSEP_DTLS_UNKNOWN && kept != p->role ? -EPROTO : 0;
}

// Keeps what we offered under that payload type.
static size_t offered_only(const struct jsep_set *offered, struct jsep_codec_view *list, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        struct jsep_codec *const a = &list[i].c;
        for (size_t k = 0; offered != NULL && k < offered->count; k++) {
            const struct jsep_codec *const o = &offered->codecs[k];
            if (o->pt == a->pt && o->codec == a->codec) {
                a->fb &= o->fb;
                a->rtx_pt = a->rtx_pt == o->rtx_pt ? o->rtx_pt : 0;
                list[kept++] = list[i];
                break;
            }
        }
    }
    return kept;
}

static int prepare_answered_section(struct prepared *p, size_t i)
{
    struct jsep *const j = p->j;
    const struct sdp_media *const m = &p->s->media[i];
    struct update *const u = &p->updates[i];
    u->t = j->order[i];
    if ((m->mid.n > 0 && !bytes_eq_str(m->mid, u->t->mid)) ||
        jsep_kind_of_(m->kind) != u->t->kind) {
        return -EBADMSG;
    }
    // An answer cannot bring back what was not offered.
    u->acceptable = !sdp_media_rejected(m) && !u->t->stopped;
    if (!u->acceptable || u->t->kind == JSEP_DATA) {
        return 0;
    }
    struct jsep_codec_view codecs[JSEP_MAX_CODECS];
    size_t n = jsep_common_codecs_(j, m, codecs);
    n = offered_only(u->t->offered_set, codecs, n);
    int const err = jsep_set_get_(j, codecs, n, &u->set);
    return err == 0 ? jsep_remote_media_(m, true, &u->remote) : err;
}

static void commit_answered_exts(struct jsep_transceiver *t, const struct sdp_media *m)
{
    t->ext_send = (struct rtp_ext_map){0};
    t->ext_recv = (struct rtp_ext_map){0};
    for (size_t i = 0; i < m->extmap_count; i++) {
        const struct sdp_extmap *const e = &m->extmaps[i];
        enum rtp_ext_type const type = rtp_ext_by_uri(e->uri);
        if (type == RTP_EXT_NONE || e->id != t->j->ext_ids.id[type]) {
            continue;
        }
        enum sdp_direction const ours = jsep_flip_(e->direction);
        t->ext_send.id[type] = (ours & SDP_SENDONLY) != 0 ? (uint8_t)e->id : 0;
        t->ext_recv.id[type] = (ours & SDP_RECVONLY) != 0 ? (uint8_t)e->id : 0;
    }
}

static void commit_answer(struct prepared *p)
{
    struct jsep *const j = p->j;
    for (size_t i = 0; i < p->s->media_count; i++) {
        const struct sdp_media *const m = &p->s->media[i];
        struct jsep_transceiver *const t = p->updates[i].t;
        bool const usable = p->updates[i].acceptable;
        commit_section(&p->updates[i], m, i);
        commit_answered_exts(t, m);
        t->negotiated = true;
        t->had_sender = t->offered_sender;
        t->offered_sender = false;
        jsep_set_put_(j, t->offered_set);
        t->offered_set = NULL;
        if (!usable) {
            stop(t);
            continue;
        }
        t->direction = (enum sdp_direction)(t->offered_direction & jsep_flip_(m->direction));
        t->sender_live = t->had_sender && t->sender != NULL &&
                         t->offered_serial == t->sender_serial &&
                         (t->direction & SDP_SENDONLY) != 0;
    }
    j->role = p->role;
    commit_transport(p);
    j->state = JSEP_STABLE;
}

int jsep_set_remote_answer(struct jsep *j, struct bytes text, struct jsep_applied *ret)
{
    if (j->state != JSEP_HAVE_LOCAL_OFFER) {
        return -EPROTO;
    }
    struct prepared p;
    int err = prepare(j, text, &p);
    if (err == 0 && p.s->media_count != j->offered_count) {
        err = -EBADMSG;
    }
    for (size_t i = 0; err == 0 && i < p.s->media_count; i++) {
        err = prepare_answered_section(&p, i);
    }
    enum sdp_setup setup = SDP_SETUP_NONE;
    if (err == 0) {
        err = prepare_transport(&p, &setup);
        if (err == 0) {
            err = answer_role(&p, setup);
        } else if (err == -EAGAIN) { // everything is rejected
            p.remote = (struct jsep_remote){0};
            p.role = j->role;
            err = 0;
        }
    }
    if (err == 0) {
        commit_answer(&p);
        if (ret != NULL) {
            *ret = p.applied;
        }
    }
    discard(&p);
    return err;
}
