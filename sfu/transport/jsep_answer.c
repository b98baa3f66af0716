// SPDX-License-Identifier: Apache-2.0
// Making answers. Everything a section becomes is first decided into a plan; the plans are applied
// only when the whole text was written, so that a failure leaves the offer pending.
#include "common/base/mem.h"
#include "sfu/transport/jsep_internal.h"

struct plan {
    struct jsep_set *set;
    enum sdp_direction direction;
    bool sends; // the sender is described
    struct rtp_ext_map ext_send;
    struct rtp_ext_map ext_recv;
};

// Header extensions accepted so far: RFC 8843 section 9.2 wants one meaning for an id over all
// bundled sections.
struct ext_table {
    uint8_t type_of_id[256];
    struct rtp_ext_map id_of_type;
};

struct answer {
    struct jsep_writer w;
    struct ext_table exts;
    struct jsep_codec_view codecs[JSEP_MAX_CODECS];
    char opus_fmtp[2][JSEP_MAX_FMTP + 128];
    size_t opus_count;
    struct plan plans[]; // one per section
};

// ---- codecs ---------------------------------------------------------------------------------

// 5.4: usedtx, stereo exactly once or not at all. A section nobody has claimed yet repeats the
// offer.
static void adapt_opus(struct answer *a, const struct jsep_transceiver *t,
                       struct jsep_codec_view *v, bool send, bool recv)
{
    static const char *const received[] = {"usedtx", "stereo", "sprop-stereo"};
    static const char *const received_stereo[] = {"usedtx", "stereo", "sprop-stereo",
                                                  "maxaveragebitrate"};
    bool const sprop = send && t->sender->stereo;
    if (a->opus_count == ARRAY_LEN(a->opus_fmtp) || (!sprop && !(recv && t->receiver_set))) {
        return;
    }
    char *const buf = a->opus_fmtp[a->opus_count++];
    size_t const cap = sizeof(a->opus_fmtp[0]);
    if (!recv || !t->receiver_set) {
        static const char *const sent[] = {"sprop-stereo"};
        jsep_fmtp_without_(buf, cap, v->fmtp, sent, ARRAY_LEN(sent));
    } else if (t->receiver.stereo) {
        jsep_fmtp_without_(buf, cap, v->fmtp, received_stereo, ARRAY_LEN(received_stereo));
    } else {
        jsep_fmtp_without_(buf, cap, v->fmtp, received, ARRAY_LEN(received));
    }
    if (recv && t->receiver_set && t->receiver.dtx) {
        jsep_fmtp_append_(buf, cap, "usedtx=1");
    }
    if (recv && t->receiver_set && t->receiver.stereo) {
        jsep_fmtp_append_(buf, cap, "stereo=1;maxaveragebitrate=510000");
    }
    if (sprop) {
        jsep_fmtp_append_(buf, cap, "sprop-stereo=1");
    }
    v->fmtp = bytes_str(buf);
}

static bool has_codec(const struct jsep_codec_view *list, size_t n, enum codec codec)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i].c.codec == codec) {
            return true;
        }
    }
    return false;
}

// Order of a section that receives (5.4): the track's codec first, so that the browser encodes with
// it; RED in front if the track may use it, else behind opus.
static size_t order_received(const struct answer *a, const struct jsep_transceiver *t,
                             struct jsep_codec_view *list, size_t n)
{
    if (!t->receiver_set) {
        return n;
    }
    if (t->kind == JSEP_AUDIO) {
        if (t->receiver.preferred != CODEC_NONE && t->receiver.preferred != CODEC_RED) {
            jsep_codecs_first_(list, n, (enum codec)t->receiver.preferred);
        } else {
            jsep_codecs_first_(list, n, CODEC_OPUS);
        }
        if (t->receiver.red &&
            (t->receiver.preferred == CODEC_NONE || t->receiver.preferred == CODEC_RED ||
             t->receiver.preferred == CODEC_OPUS)) {
            jsep_codecs_first_(list, n, CODEC_RED);
        }
        return n;
    }
    if (t->receiver.preferred == CODEC_NONE ||
        !jsep_codecs_first_(list, n, (enum codec)t->receiver.preferred) ||
        !a->w.j->cfg.only_preferred_video) {
        return n;
    }
    size_t kept = 0;
    while (kept < n && list[kept].c.codec == t->receiver.preferred) {
        kept++;
    }
    return kept;
}

static size_t choose_codecs(struct answer *a, const struct jsep_transceiver *t, bool send,
                            bool recv)
{
    size_t n = t->codec_count;
    for (size_t i = 0; i < n; i++) {
        a->codecs[i] =
            (struct jsep_codec_view){.c = t->codecs[i], .fmtp = bytes_str(t->codecs[i].fmtp)};
    }
    if (recv || !send) { // inactive: as it was while it received
        n = order_received(a, t, a->codecs, n);
    }
    bool const red = has_codec(a->codecs, n, CODEC_RED);
    a->opus_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct jsep_codec_view *const v = &a->codecs[i];
        v->c.fb &= jsep_feedback_mask_(a->w.j, t, (enum codec)v->c.codec, send, recv, red);
        if (v->c.codec == CODEC_OPUS) {
            adapt_opus(a, t, v, send, recv);
        }
    }
    return n;
}

// ---- extensions -----------------------------------------------------------------------------

// False if the id means something else, or the URI has another id, in an earlier section.
static bool claim_ext(struct ext_table *x, uint8_t id, enum rtp_ext_type type)
{
    if (x->type_of_id[id] != RTP_EXT_NONE || x->id_of_type.id[type] != 0) {
        return x->type_of_id[id] == type;
    }
    x->type_of_id[id] = (uint8_t)type;
    x->id_of_type.id[type] = id;
    return true;
}

static void choose_exts(struct answer *a, const struct jsep_transceiver *t,
                        const struct sdp_media *offer, struct plan *p, bool send, bool recv,
                        enum codec first)
{
    for (size_t i = 0; i < offer->extmap_count; i++) {
        const struct sdp_extmap *const e = &offer->extmaps[i];
        enum rtp_ext_type const type = rtp_ext_by_uri(e->uri);
        if (e->id > UINT8_MAX || type == RTP_EXT_NONE || p->ext_send.id[type] != 0 ||
            p->ext_recv.id[type] != 0 || e->direction == SDP_INACTIVE ||
            !jsep_accepts_ext_(a->w.j, t, type, send, recv, first) ||
            !claim_ext(&a->exts, (uint8_t)e->id, type)) {
            continue;
        }
        struct sdp_extmap answer = *e;
        answer.direction = jsep_flip_(e->direction);
        jsep_add_ext_(&a->w, &answer);
        p->ext_send.id[type] = (answer.direction & SDP_SENDONLY) != 0 ? (uint8_t)e->id : 0;
        p->ext_recv.id[type] = (answer.direction & SDP_RECVONLY) != 0 ? (uint8_t)e->id : 0;
    }
}

// ---- sections -------------------------------------------------------------------------------

static enum sdp_setup answer_setup(const struct jsep *j)
{
    return j->next_role == JSEP_DTLS_SERVER ? SDP_SETUP_PASSIVE : SDP_SETUP_ACTIVE;
}

// RFC 8829 section 5.3.1: port 0, and still a c= line (Firefox) and the offered formats.
static void reject(struct answer *a, const struct sdp_media *offer)
{
    a->w.m = (struct sdp_media){
        .kind = offer->kind,
        .kind_text = offer->kind_text,
        .proto = offer->proto,
        .fmts = offer->fmts,
        .mid = offer->mid,
        .direction = SDP_INACTIVE,
    };
}

// Also while the section is inactive: an answer without them reduces the sender to one encoding for
// good (RFC 8829 section 5.10, W3C WebRTC "set a session description").
static void accept_rids(struct answer *a, const struct sdp_media *offer)
{
    for (size_t i = 0; i < offer->rid_count; i++) {
        if (offer->rids[i].send) {
            jsep_add_rid_(&a->w, offer->rids[i].id, offer->rids[i].simulcast, false);
        }
    }
}

static int answer_rtp(struct answer *a, const struct jsep_transceiver *t,
                      const struct sdp_media *offer, struct plan *p)
{
    struct jsep *const j = a->w.j;
    bool const recv = (t->remote_direction & SDP_SENDONLY) != 0 && jsep_wants_recv_(t);
    p->sends = (t->remote_direction & SDP_RECVONLY) != 0 && t->sender != NULL;
    // Without a track a section is inactive, also one that never had any (jsep.h, deviations).
    p->direction = (enum sdp_direction)((p->sends ? SDP_SENDONLY : 0) | (recv ? SDP_RECVONLY : 0));
    jsep_begin_section_(&a->w, t, answer_setup(j), p->direction);
    a->w.m.proto = offer->proto;
    a->w.m.extmap_allow_mixed = offer->extmap_allow_mixed; // Firefox writes it per section
    size_t const n = choose_codecs(a, t, p->sends, recv);
    int const err = jsep_set_get_(j, a->codecs, n, &p->set);
    if (err != 0) {
        return err;
    }
    jsep_add_codecs_(&a->w, a->codecs, n);
    choose_exts(a, t, offer, p, p->sends, recv,
                n > 0 ? (enum codec)a->codecs[0].c.codec : CODEC_NONE);
    accept_rids(a, offer);
    if (p->sends) {
        bool rtx = false;
        for (size_t i = 0; i < n; i++) {
            rtx |= a->codecs[i].c.rtx_pt != 0;
        }
        jsep_add_sender_(&a->w, t->sender, rtx);
        if (j->cfg.client) {
            jsep_add_sent_rids_(&a->w, t->sender);
        }
    }
    return 0;
}

static int answer_section(struct answer *a, size_t i)
{
    const struct jsep_transceiver *const t = a->w.j->order[i];
    const struct sdp_media *const offer = &a->w.j->offer->media[i];
    struct plan *const p = &a->plans[i];
    int err = 0;
    if (!t->acceptable) {
        reject(a, offer);
    } else if (t->kind == JSEP_DATA) {
        p->direction = SDP_SENDRECV;
        jsep_begin_section_(&a->w, t, answer_setup(a->w.j), p->direction);
        a->w.m.proto = offer->proto;
    } else {
        err = answer_rtp(a, t, offer, p);
    }
    if (err == 0) {
        jsep_end_section_(&a->w);
    }
    return err;
}

// The offered group without what is rejected, in the offered order.
static void bundle_of(const struct jsep *j, struct dynbuf *ret)
{
    const struct sdp *const offer = j->offer;
    struct bytes list = offer->session.bundle;
    struct bytes mid = sdp_token(&list, ' ');
    size_t at = 0; // usually the mids stand in the order of the sections
    while (offer->session.has_bundle && mid.n > 0) {
        for (size_t tried = 0; tried < offer->media_count; tried++) {
            size_t const i = at;
            at = (at + 1) % offer->media_count;
            if (bytes_eq(mid, offer->media[i].mid)) {
                if (j->order[i]->acceptable) {
                    dynbuf_add_str(ret, ret->n > 0 ? " " : "");
                    dynbuf_add(ret, mid);
                }
                break;
            }
        }
        mid = sdp_token(&list, ' ');
    }
}

static int write_answer(struct answer *a)
{
    struct jsep *const j = a->w.j;
    struct dynbuf bundle;
    dynbuf_init(&bundle, SDP_MAX_LINE);
    bundle_of(j, &bundle);
    jsep_write_session_(&a->w, dynbuf_view(&bundle), j->offer->session.extmap_allow_mixed);
    int err = dynbuf_ok(&bundle) ? 0 : -ENOBUFS;
    dynbuf_done(&bundle);
    for (size_t i = 0; i < j->offer->media_count && err == 0; i++) {
        err = answer_section(a, i);
    }
    return err == 0 && !dynbuf_ok(a->w.out) ? -ENOBUFS : err;
}

static void apply(struct jsep_transceiver *t, struct plan *p)
{
    jsep_set_assign_(t, p->set);
    p->set = NULL;
    t->direction = p->direction;
    t->ext_send = p->ext_send;
    t->ext_recv = p->ext_recv;
    t->stopped = !t->acceptable;
    t->negotiated = true;
    t->had_sender = p->sends;
    t->sender_live = p->sends;
}

int jsep_create_answer(struct jsep *j, struct dynbuf *out)
{
    if (j->state != JSEP_HAVE_REMOTE_OFFER) {
        return -EPROTO;
    }
    struct answer *const a = mem_alloc(sizeof(*a) + j->offer->media_count * sizeof(a->plans[0]));
    if (a == NULL) {
        return -ENOMEM;
    }
    a->w.j = j;
    a->w.out = out;
    int const err = write_answer(a);
    for (size_t i = 0; i < j->offer->media_count; i++) {
        if (err == 0) {
            apply(j->order[i], &a->plans[i]);
        } else {
            jsep_set_put_(j, a->plans[i].set);
        }
    }
    if (err == 0) {
        for (size_t i = 0; i < RTP_EXT_COUNT; i++) {
            if (a->exts.id_of_type.id[i] != 0) {
                j->ext_ids.id[i] = a->exts.id_of_type.id[i];
            }
        }
        j->version++;
        j->role = j->next_role;
        j->dirty = false;
        j->state = JSEP_STABLE;
        sdp_free(j->offer);
        j->offer = NULL;
    }
    mem_free(a);
    return err;
}
