// SPDX-License-Identifier: Apache-2.0
// LINK: transport wire base
// The first byte chooses the role; the rest are descriptions of the other side, separated by zero
// bytes. Each is applied as an offer and answered, or as the answer to an offer of ours. An answer
// always has exactly the sections of its offer and nothing that was not offered.
#include <stdio.h>
#include <stdlib.h>

#include "sfu/transport/jsep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void decide(struct jsep *j, unsigned n)
{
    static const uint8_t codecs[] = {CODEC_NONE, CODEC_VP8,  CODEC_VP9,
                                     CODEC_H264, CODEC_OPUS, CODEC_RED};
    for (size_t i = 0; i < jsep_count(j); i++) {
        struct jsep_transceiver *const t = jsep_at(j, i);
        unsigned const k = n + (unsigned)i;
        if (k % 3 == 0) {
            jsep_transceiver_clear_sender(t);
        }
        if (k % 2 == 0) {
            jsep_transceiver_set_receiver(
                t, &(struct jsep_receiver){.accept = k % 7 != 0,
                                           .preferred = codecs[k % ARRAY_LEN(codecs)],
                                           .red = k % 5 == 0,
                                           .dtx = k % 4 == 0,
                                           .stereo = k % 6 == 0});
        }
    }
    struct jsep_transceiver *const t = jsep_find_free(j, n % 2 == 0 ? JSEP_AUDIO : JSEP_VIDEO);
    if (t != NULL) {
        struct jsep_sender const s = {.stream_id = "PA|TR",
                                      .track_id = "TR",
                                      .cname = "PA",
                                      .ssrc = n + 1,
                                      .rtx_ssrc = n + 100,
                                      .stereo = n % 3 == 0};
        require(jsep_transceiver_set_sender(t, &s) == 0);
    }
}

static const struct sdp_codec *by_pt(const struct sdp_media *m, uint8_t pt)
{
    for (size_t i = 0; i < m->codec_count; i++) {
        if (m->codecs[i].pt == pt) {
            return &m->codecs[i];
        }
    }
    return NULL;
}

static void check_answer(const struct sdp *offer, struct bytes text)
{
    struct sdp *a = NULL;
    require(sdp_parse(text, &a) == 0);
    require(a->media_count == offer->media_count);
    for (size_t i = 0; i < a->media_count; i++) {
        const struct sdp_media *const m = &a->media[i];
        const struct sdp_media *const o = &offer->media[i];
        require(bytes_eq(m->mid, o->mid) && m->kind == o->kind);
        require(!sdp_media_rejected(o) || sdp_media_rejected(m));
        // receive only if they send, send only if they receive; a direction means nothing on data
        bool const sends = (m->direction & SDP_SENDONLY) != 0;
        bool const receives = (m->direction & SDP_RECVONLY) != 0;
        require(m->kind == SDP_KIND_DATA || !sends || (o->direction & SDP_RECVONLY) != 0);
        require(m->kind == SDP_KIND_DATA || !receives || (o->direction & SDP_SENDONLY) != 0);
        for (size_t k = 0; k < m->codec_count; k++) {
            require(by_pt(o, m->codecs[k].pt) != NULL);
        }
        require(m->extmap_count <= o->extmap_count && m->rid_count <= o->rid_count);
    }
    sdp_free(a);
}

static void one(struct jsep *j, struct bytes text, unsigned n)
{
    struct dynbuf out;
    dynbuf_init(&out, JSEP_MAX_TEXT);
    if (jsep_set_remote_offer(j, text, NULL) == 0) {
        decide(j, n);
        struct sdp *offer = NULL;
        require(sdp_parse(text, &offer) == 0);
        int const err = jsep_create_answer(j, &out);
        require(err == 0 || err == -ENOBUFS);
        if (err == 0) {
            check_answer(offer, dynbuf_view(&out));
        }
        sdp_free(offer);
    } else if (jsep_state(j) == JSEP_STABLE) {
        struct jsep_transceiver *t;
        if (jsep_add_sender_section(j, n % 2 == 0 ? JSEP_VIDEO : JSEP_AUDIO, &t) == 0 &&
            t->sender == NULL) {
            struct jsep_sender const s = {
                .stream_id = "a", .track_id = "b", .cname = "c", .ssrc = n + 1};
            require(jsep_transceiver_set_sender(t, &s) == 0);
        }
        require(jsep_add_data_section(j) == 0);
        int err = jsep_create_offer(j, &out);
        require(err == 0 || err == -ENOBUFS);
        if (err == 0) {
            (void)!jsep_set_remote_answer(j, text, NULL);
        }
    } else {
        (void)!jsep_set_remote_answer(j, text, NULL);
    }
    dynbuf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct jsep_config const c = {
        .client = (data[0] & 1) != 0,
        .single_pc = (data[0] & 2) != 0,
        .only_preferred_video = (data[0] & 4) != 0,
        .no_red = (data[0] & 8) != 0,
        .offer_setup = (data[0] & 16) != 0 ? SDP_SETUP_ACTPASS : SDP_SETUP_NONE,
        .fingerprint = "sha-256 AA",
        .ice_ufrag = "ufrag",
        .ice_pwd = "password",
    };
    struct jsep *j = NULL;
    require(jsep_new(&c, &j) == 0);
    unsigned n = data[0];
    struct bytes rest = {data + 1, size - 1};
    // 16 rounds are enough to build on each other.
    for (int round = 0; round < 16 && rest.n > 0; round++) {
        const uint8_t *const end = memchr(rest.p, 0, rest.n);
        size_t const len = end != NULL ? (size_t)(end - rest.p) : rest.n;
        one(j, (struct bytes){rest.p, len}, n++);
        size_t const used = MIN(len + 1, rest.n);
        rest.p += used;
        rest.n -= used;
    }
    jsep_free(j);
    return 0;
}
