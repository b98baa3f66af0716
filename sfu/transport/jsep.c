// SPDX-License-Identifier: Apache-2.0
// Life, sections, decisions of the owner.
#include <stdio.h>

#include "common/base/mem.h"
#include "sfu/transport/jsep_internal.h"

// An ICE ufrag or pwd, a fingerprint or an id that can stand in a line: printable, not empty.
// Blanks only in a fingerprint.
static bool usable(const char *s, size_t max, bool blanks)
{
    if (s == NULL || s[0] == '\0') {
        return false;
    }
    size_t n = 0;
    for (; s[n] != '\0'; n++) {
        if (n == max || (unsigned char)s[n] < 0x20 || s[n] == 0x7f || (!blanks && s[n] == ' ')) {
            return false;
        }
    }
    return true;
}

// Replaces *at by a copy of s. -ENOMEM leaves it.
static int replace(char **at, const char *s)
{
    char *const copy = mem_strdup(s);
    if (copy == NULL) {
        return -ENOMEM;
    }
    mem_free(*at);
    *at = copy;
    return 0;
}

int jsep_new(const struct jsep_config *config, struct jsep **ret)
{
    if (!usable(config->fingerprint, 512, true)) {
        return -EINVAL;
    }
    CLEANUP(jsep_free) struct jsep *j = NEW(struct jsep);
    if (j == NULL) {
        return -ENOMEM;
    }
    j->cfg = *config;
    j->cfg.fingerprint = j->cfg.ice_ufrag = j->cfg.ice_pwd = NULL;
    if (j->cfg.offer_setup == SDP_SETUP_NONE) {
        j->cfg.offer_setup = config->client ? SDP_SETUP_ACTPASS : SDP_SETUP_ACTIVE;
    }
    j->version = 1;
    int err = replace(&j->fingerprint, config->fingerprint);
    if (err == 0) {
        err = jsep_set_local_ice(j, config->ice_ufrag, config->ice_pwd);
    }
    if (err != 0) {
        return err;
    }
    j->dirty = false;
    *ret = STEAL(j);
    return 0;
}

static void free_candidates(char **lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free(lines[i]);
    }
    mem_free(lines);
}

void jsep_free(struct jsep *j)
{
    if (j == NULL) {
        return;
    }
    for (size_t i = 0; i < j->count; i++) {
        jsep_transceiver_free_(j->order[i]);
    }
    for (size_t i = 0; i < j->gone_count; i++) {
        jsep_transceiver_free_(j->gone[i]);
    }
    mem_free(j->order);
    mem_free(j->gone);
    free_candidates(j->candidates, j->candidate_count);
    mem_free(j->fingerprint);
    mem_free(j->ice_ufrag);
    mem_free(j->ice_pwd);
    sdp_free(j->offer);
    arena_done(&j->remote_arena);
    mem_free(j);
}

int jsep_set_local_ice(struct jsep *j, const char *ufrag, const char *pwd)
{
    // RFC 8839 section 5.4: at most 256 characters each.
    if (!usable(ufrag, 256, false) || !usable(pwd, 256, false)) {
        return -EINVAL;
    }
    char *u = mem_strdup(ufrag);
    char *p = mem_strdup(pwd);
    if (u == NULL || p == NULL) {
        mem_free(u);
        mem_free(p);
        return -ENOMEM;
    }
    mem_free(j->ice_ufrag);
    mem_free(j->ice_pwd);
    j->ice_ufrag = u;
    j->ice_pwd = p;
    j->dirty = true;
    return 0;
}

int jsep_set_local_candidates(struct jsep *j, const char *const *lines, size_t count, bool complete)
{
    if (count > SDP_MAX_CANDIDATES) {
        return -E2BIG;
    }
    char **copy = NULL;
    if (count > 0) {
        copy = mem_array(count, sizeof(*copy));
        if (copy == NULL) {
            return -ENOMEM;
        }
        for (size_t i = 0; i < count; i++) {
            copy[i] = mem_strdup(lines[i]);
            if (copy[i] == NULL) {
                free_candidates(copy, i);
                return -ENOMEM;
            }
        }
    }
    free_candidates(j->candidates, j->candidate_count);
    j->candidates = copy;
    j->candidate_count = count;
    j->candidates_complete = complete;
    return 0;
}

enum jsep_state jsep_state(const struct jsep *j)
{
    return j->state;
}

enum jsep_dtls_role jsep_dtls_role(const struct jsep *j)
{
    return j->role;
}

const struct jsep_remote *jsep_remote(const struct jsep *j)
{
    return &j->remote;
}

bool jsep_needs_negotiation(const struct jsep *j)
{
    return j->dirty;
}

// ---- sections -------------------------------------------------------------------------------

enum jsep_kind jsep_kind_of_(enum sdp_kind kind)
{
    switch (kind) {
    case SDP_KIND_AUDIO:
        return JSEP_AUDIO;
    case SDP_KIND_VIDEO:
        return JSEP_VIDEO;
    case SDP_KIND_DATA:
        return JSEP_DATA;
    case SDP_KIND_OTHER:
        break;
    }
    return JSEP_OTHER;
}

int jsep_transceiver_new_(struct jsep *j, enum jsep_kind kind, struct bytes mid,
                          struct jsep_transceiver **ret)
{
    struct jsep_transceiver *const t = NEW(struct jsep_transceiver);
    if (t == NULL) {
        return -ENOMEM;
    }
    t->mid_storage = mem_strndup((const char *)mid.p, mid.n);
    if (t->mid_storage == NULL) {
        mem_free(t);
        return -ENOMEM;
    }
    t->mid = t->mid_storage;
    t->kind = kind;
    t->id = j->next_section++;
    t->mline = UINT16_MAX;
    t->j = j;
    *ret = t;
    return 0;
}

void jsep_transceiver_free_(struct jsep_transceiver *t)
{
    if (t == NULL) {
        return;
    }
    jsep_set_assign_(t, NULL);
    jsep_set_put_(t->j, t->offered_set);
    mem_free(t->mid_storage);
    mem_free(t->sender_storage);
    mem_free(t->remote_storage);
    mem_free(t);
}

bool jsep_wants_recv_(const struct jsep_transceiver *t)
{
    return !t->receiver_set || t->receiver.accept;
}

size_t jsep_count(const struct jsep *j)
{
    return j->count;
}

struct jsep_transceiver *jsep_at(const struct jsep *j, size_t i)
{
    assert(i < j->count);
    return j->order[i];
}

struct jsep_transceiver *jsep_by_mid(const struct jsep *j, struct bytes mid)
{
    for (size_t i = 0; i < j->count; i++) {
        if (!j->order[i]->stopped && bytes_eq_str(mid, j->order[i]->mid)) {
            return j->order[i];
        }
    }
    return NULL;
}

static bool is_free(const struct jsep_transceiver *t, enum jsep_kind kind)
{
    if (t->kind != kind || t->stopped || t->sender != NULL || t->had_sender || t->offered_sender ||
        t->published) {
        return false;
    }
    return (t->remote_direction & SDP_RECVONLY) != 0;
}

struct jsep_transceiver *jsep_find_free(const struct jsep *j, enum jsep_kind kind)
{
    for (size_t i = 0; i < j->count; i++) {
        if (is_free(j->order[i], kind)) {
            return j->order[i];
        }
    }
    return NULL;
}

size_t jsep_count_free(const struct jsep *j, enum jsep_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < j->count; i++) {
        n += is_free(j->order[i], kind) ? 1 : 0;
    }
    return n;
}

// Ours to offer, made for sending, and carrying nothing (any more).
static bool is_idle(const struct jsep_transceiver *t, enum jsep_kind kind)
{
    return t->kind == kind && t->local && !t->stopped && t->sender == NULL && !t->j->cfg.no_reuse &&
           !jsep_wants_recv_(t);
}

size_t jsep_count_freeing(const struct jsep *j, enum jsep_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < j->count; i++) {
        const struct jsep_transceiver *const t = j->order[i];
        bool const answered = !t->local && t->kind == kind && !t->stopped && t->sender == NULL &&
                              !t->published && (t->remote_direction & SDP_RECVONLY) != 0;
        n += (answered || is_idle(t, kind)) && (t->had_sender || t->offered_sender) ? 1 : 0;
    }
    return n;
}

size_t jsep_count_reusable(const struct jsep *j, enum jsep_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < j->count; i++) {
        const struct jsep_transceiver *const t = j->order[i];
        n += is_idle(t, kind) && !t->had_sender && !t->offered_sender ? 1 : 0;
    }
    return n;
}

static bool mid_taken(const struct jsep *j, const char *mid)
{
    for (size_t i = 0; i < j->count; i++) {
        if (strcmp(j->order[i]->mid, mid) == 0) {
            return true;
        }
    }
    return false;
}

static int add_section(struct jsep *j, enum jsep_kind kind, struct jsep_transceiver **ret)
{
    if (j->count >= SDP_MAX_SECTIONS) {
        return -E2BIG;
    }
    char mid[16];
    do {
        snprintf(mid, sizeof(mid), "%u", j->next_mid++);
    } while (mid_taken(j, mid));
    struct jsep_transceiver **const order = mem_regrow(j->order, j->count + 1, sizeof(*order));
    if (order == NULL) {
        return -ENOMEM;
    }
    j->order = order;
    int const err = jsep_transceiver_new_(j, kind, bytes_str(mid), ret);
    if (err != 0) {
        return err;
    }
    (*ret)->local = true;
    j->order[j->count++] = *ret;
    j->dirty = true;
    return 0;
}

int jsep_add_sender_section(struct jsep *j, enum jsep_kind kind, struct jsep_transceiver **ret)
{
    for (size_t i = 0; i < j->count; i++) {
        struct jsep_transceiver *const t = j->order[i];
        if (is_idle(t, kind) && !t->had_sender && !t->offered_sender) {
            *ret = t;
            return 0;
        }
    }
    struct jsep_transceiver *t;
    int const err = add_section(j, kind, &t);
    if (err != 0) {
        return err;
    }
    t->receiver_set = true; // .accept = false
    *ret = t;
    return 0;
}

int jsep_add_receiver_section(struct jsep *j, enum jsep_kind kind, struct jsep_transceiver **ret)
{
    return add_section(j, kind, ret);
}

int jsep_add_data_section(struct jsep *j)
{
    for (size_t i = 0; i < j->count; i++) {
        if (j->order[i]->kind == JSEP_DATA && !j->order[i]->stopped) {
            return 0;
        }
    }
    struct jsep_transceiver *t;
    return add_section(j, JSEP_DATA, &t);
}

void jsep_transceiver_set_receiver(struct jsep_transceiver *t, const struct jsep_receiver *r)
{
    t->receiver = *r;
    t->receiver_set = true;
}

// Copies s into *at and moves *at behind the copy.
static const char *put(char **at, const char *s)
{
    size_t const n = strlen(s) + 1;
    char *const p = memcpy(*at, s, n);
    *at += n;
    return p;
}

int jsep_transceiver_set_sender(struct jsep_transceiver *t, const struct jsep_sender *s)
{
    if (!usable(s->stream_id, JSEP_MAX_ID, false) || !usable(s->track_id, JSEP_MAX_ID, false) ||
        !usable(s->cname, JSEP_MAX_ID, false) || s->rid_count > JSEP_MAX_RIDS) {
        return -EINVAL;
    }
    size_t text = strlen(s->stream_id) + strlen(s->track_id) + strlen(s->cname) + 3;
    for (size_t i = 0; i < s->rid_count; i++) {
        if (!usable(s->rids[i], SDP_MAX_TOKEN, false)) {
            return -EINVAL;
        }
        text += strlen(s->rids[i]) + 1;
    }
    struct jsep_sender *const copy = mem_alloc(sizeof(*copy) + text);
    if (copy == NULL) {
        return -ENOMEM;
    }
    char *at = (char *)(copy + 1);
    *copy = *s;
    copy->stream_id = put(&at, s->stream_id);
    copy->track_id = put(&at, s->track_id);
    copy->cname = put(&at, s->cname);
    for (size_t i = 0; i < s->rid_count; i++) {
        copy->rids[i] = put(&at, s->rids[i]);
    }
    mem_free(t->sender_storage);
    t->sender_storage = copy;
    t->sender = copy;
    t->sender_serial++;
    t->sender_live = false;
    t->j->dirty = true;
    return 0;
}

void jsep_transceiver_clear_sender(struct jsep_transceiver *t)
{
    if (t->sender == NULL) {
        return;
    }
    mem_free(t->sender_storage);
    t->sender_storage = NULL;
    t->sender = NULL;
    t->sender_live = false;
    t->j->dirty = true;
}

struct jsep_transceiver *jsep_next_sending(const struct jsep *j, size_t *pos)
{
    while (*pos < j->count) {
        struct jsep_transceiver *const t = j->order[(*pos)++];
        if (t->sender != NULL &&
            (t->sender_live || (t->offered_sender && t->offered_serial == t->sender_serial))) {
            return t;
        }
    }
    return NULL;
}

// ---- codecs ---------------------------------------------------------------------------------

// How well c carries what `like` describes: 0 not at all.
static int fitness(const struct jsep_codec *c, const struct jsep_codec *like)
{
    if (c->codec != like->codec) {
        return 0;
    }
    if (c->codec != CODEC_H264) {
        return c->profile == like->profile ? 3 : 0;
    }
    bool const profile = c->profile == like->profile;
    // Constrained Baseline is a subset of both others, and every decoder in use takes Baseline as
    // browsers make it.
    bool const baseline = c->profile <= JSEP_H264_BASELINE && like->profile <= JSEP_H264_BASELINE;
    if (!profile && !baseline) {
        return 0;
    }
    return 1 + (profile ? 1 : 0) + (c->packetization_mode == like->packetization_mode ? 1 : 0);
}

const struct jsep_codec *jsep_codec_match(const struct jsep_transceiver *t,
                                          const struct jsep_codec *like)
{
    const struct jsep_codec *best = NULL;
    int best_fitness = 0;
    for (size_t i = 0; i < t->codec_count; i++) {
        int const f = fitness(&t->codecs[i], like);
        if (f > best_fitness) {
            best = &t->codecs[i];
            best_fitness = f;
        }
    }
    return best;
}

const struct jsep_codec *jsep_codec_find(const struct jsep_transceiver *t, uint8_t codec)
{
    for (size_t i = 0; i < t->codec_count; i++) {
        if (t->codecs[i].codec == codec) {
            return &t->codecs[i];
        }
    }
    return NULL;
}
