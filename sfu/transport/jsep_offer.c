// SPDX-License-Identifier: Apache-2.0
// Making offers: the SFU's on a v0 subscriber PC, our client's on everything else.
#include "common/base/mem.h"
#include "sfu/transport/jsep_internal.h"

struct plan {
    struct jsep_set *set;
    enum sdp_direction direction;
};

struct offer {
    struct jsep_writer w;
    struct jsep_codec_view codecs[JSEP_MAX_CODECS];
    char opus_fmtp[JSEP_MAX_FMTP];
    struct plan plans[]; // one per section
};

// RFC 8842 section 5.2 wants actpass, which browsers write always; active is understood as well and
// saves the shim for fragmented ClientHellos (media-plane 2.4), but then the role must stay what it
// became.
static enum sdp_setup offer_setup(const struct jsep *j)
{
    if (j->cfg.offer_setup == SDP_SETUP_ACTPASS || j->role == JSEP_DTLS_UNKNOWN) {
        return j->cfg.offer_setup;
    }
    return j->role == JSEP_DTLS_CLIENT ? SDP_SETUP_ACTIVE : SDP_SETUP_PASSIVE;
}

static size_t choose_codecs(struct offer *o, const struct jsep_transceiver *t)
{
    const struct jsep_sender *const s = t->sender;
    size_t const n = jsep_offered_codecs_(o->w.j, t->kind, o->codecs);
    for (size_t i = 0; i < n && s != NULL && s->stereo; i++) {
        if (o->codecs[i].c.codec == CODEC_OPUS) {
            jsep_fmtp_without_(o->opus_fmtp, sizeof(o->opus_fmtp), o->codecs[i].fmtp, NULL, 0);
            jsep_fmtp_append_(o->opus_fmtp, sizeof(o->opus_fmtp), "sprop-stereo=1");
            o->codecs[i].fmtp = bytes_str(o->opus_fmtp);
        }
    }
    if (s != NULL && s->preferred != CODEC_NONE) {
        jsep_codecs_first_(o->codecs, n, (enum codec)s->preferred);
    }
    return n;
}

static int offer_rtp(struct offer *o, const struct jsep_transceiver *t, struct plan *p)
{
    struct jsep *const j = o->w.j;
    bool const recv = jsep_wants_recv_(t);
    p->direction =
        (enum sdp_direction)((t->sender != NULL ? SDP_SENDONLY : 0) | (recv ? SDP_RECVONLY : 0));
    jsep_begin_section_(&o->w, t, offer_setup(j), p->direction);
    size_t const n = choose_codecs(o, t);
    int const err = jsep_set_get_(j, o->codecs, n, &p->set);
    if (err != 0) {
        return err;
    }
    jsep_add_codecs_(&o->w, o->codecs, n);
    for (unsigned type = 0; type < RTP_EXT_COUNT; type++) {
        if (jsep_offers_ext_(j, t, (enum rtp_ext_type)type)) {
            struct sdp_extmap const e = {.id = jsep_ext_id_(j, (enum rtp_ext_type)type),
                                         .direction = SDP_SENDRECV,
                                         .uri = bytes_str(rtp_ext_uri((enum rtp_ext_type)type))};
            if (e.id != 0) {
                jsep_add_ext_(&o->w, &e);
            }
        }
    }
    if (t->sender != NULL) {
        jsep_add_sent_rids_(&o->w, t->sender);
        jsep_add_sender_(&o->w, t->sender, t->kind == JSEP_VIDEO);
    }
    return 0;
}

// RFC 8829 section 5.2.2: a stopped section keeps its place with port 0.
static void offer_stopped(struct offer *o, const struct jsep_transceiver *t)
{
    jsep_begin_section_(&o->w, t, SDP_SETUP_NONE, SDP_INACTIVE);
    o->w.m.port = 0;
}

static int offer_section(struct offer *o, size_t i)
{
    const struct jsep_transceiver *const t = o->w.j->order[i];
    int err = 0;
    if (t->stopped || t->kind == JSEP_OTHER) {
        offer_stopped(o, t);
    } else if (t->kind == JSEP_DATA) {
        o->plans[i].direction = SDP_SENDRECV;
        jsep_begin_section_(&o->w, t, offer_setup(o->w.j), SDP_SENDRECV);
    } else {
        err = offer_rtp(o, t, &o->plans[i]);
    }
    if (err == 0) {
        jsep_end_section_(&o->w);
    }
    return err;
}

static int write_offer(struct offer *o)
{
    struct jsep *const j = o->w.j;
    struct dynbuf bundle;
    dynbuf_init(&bundle, SDP_MAX_LINE);
    for (size_t i = 0; i < j->count; i++) {
        if (!j->order[i]->stopped && j->order[i]->kind != JSEP_OTHER) {
            dynbuf_add_str(&bundle, bundle.n > 0 ? " " : "");
            dynbuf_add_str(&bundle, j->order[i]->mid);
        }
    }
    jsep_write_session_(&o->w, dynbuf_view(&bundle), true);
    int err = dynbuf_ok(&bundle) ? 0 : -ENOBUFS;
    dynbuf_done(&bundle);
    for (size_t i = 0; i < j->count && err == 0; i++) {
        err = offer_section(o, i);
    }
    return err == 0 && !dynbuf_ok(o->w.out) ? -ENOBUFS : err;
}

static void apply(struct jsep_transceiver *t, struct plan *p, size_t i)
{
    jsep_set_put_(t->j, t->offered_set);
    t->offered_set = p->set;
    p->set = NULL;
    t->mline = (uint16_t)i;
    t->offered_direction = p->direction;
    // An offer that is replaced unanswered may have been applied by the other side.
    t->had_sender |= t->offered_sender;
    t->offered_sender = t->sender != NULL && (p->direction & SDP_SENDONLY) != 0;
    t->offered_serial = t->sender_serial;
}

int jsep_create_offer(struct jsep *j, struct dynbuf *out)
{
    if (j->state == JSEP_HAVE_REMOTE_OFFER) {
        return -EPROTO;
    }
    struct offer *const o = mem_alloc(sizeof(*o) + j->count * sizeof(o->plans[0]));
    if (o == NULL) {
        return -ENOMEM;
    }
    o->w.j = j;
    o->w.out = out;
    int const err = write_offer(o);
    for (size_t i = 0; i < j->count; i++) {
        if (err == 0) {
            apply(j->order[i], &o->plans[i], i);
        } else {
            jsep_set_put_(j, o->plans[i].set);
        }
    }
    if (err == 0) {
        j->offered_setup = offer_setup(j);
        j->offered_count = j->count;
        j->version++;
        j->dirty = false;
        j->state = JSEP_HAVE_LOCAL_OFFER;
    }
    mem_free(o);
    return err;
}
