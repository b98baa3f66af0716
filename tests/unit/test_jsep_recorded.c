// SPDX-License-Identifier: Apache-2.0
// LINK: transport wire base
// Recorded client offers through our engine; the meaning of our answer is compared with what
// livekit-server answered. The owner's decisions (which track, which codec first, DTX, RED) are
// read from the recorded answer.
//
// Differences that are meant, all with their reason where they are allowed below:
//   - only offered payload types and header extensions (livekit repeats PT 35 and ids of other
//   sections)
//   - no dependency descriptor on VP8 and H264 publications (media-plane 4.14)
//   - video layers allocation is accepted (media-plane 4.10)
//   - sections with a track answer transport-cc besides goog-remb
//   - opus of sections without our track has the offered fmtp; stereo=1 exactly once or not at all
//   - an inactive section accepts all it may need later, since refused extensions are not offered
//   again
//   - Firefox keeps the RTX of its only codec
//   - a section that never had a track is inactive, not sendonly
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/transport/jsep.h"
#include "tests/support/sdp_files.h"

struct pair {
    struct sdp *offer;
    struct sdp *theirs; // livekit's answer
    struct sdp *ours;
};

static bool v1;      // single PC
static bool firefox; // on Linux: only the preferred codec
static const char *file;

#define check(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("%s section %zu: " #condition, file, section);                                \
        }                                                                                          \
    } while (0)

static struct sdp *load(const char *name)
{
    size_t n = 0;
    char *const text = sdp_file_read(name, &n);
    assert_non_null(text);
    struct sdp *s = NULL;
    assert_int_equal(sdp_parse(bytes_of(text, n), &s), 0);
    free(text);
    return s;
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

static const struct sdp_extmap *by_uri(const struct sdp_media *m, struct bytes uri)
{
    for (size_t i = 0; i < m->extmap_count; i++) {
        if (bytes_eq(m->extmaps[i].uri, uri)) {
            return &m->extmaps[i];
        }
    }
    return NULL;
}

static bool fmtp_is(struct bytes fmtp, const char *name, const char *value)
{
    struct bytes v;
    return sdp_fmtp_param(fmtp, name, &v) && bytes_eq_str(v, value);
}

// ---- what the owner would have decided ------------------------------------------------------

static void set_receiver(struct jsep_transceiver *t, const struct sdp_media *theirs)
{
    struct jsep_receiver r = {.accept = true};
    for (size_t i = 0; i < theirs->codec_count && r.preferred == CODEC_NONE; i++) {
        enum codec const c = codec_by_name(theirs->codecs[i].name);
        if (c == CODEC_RED) {
            r.red = true;
        } else {
            r.preferred = (uint8_t)c;
        }
        r.dtx |= fmtp_is(theirs->codecs[i].fmtp, "usedtx", "1");
        r.stereo |= fmtp_is(theirs->codecs[i].fmtp, "maxaveragebitrate", "510000");
    }
    jsep_transceiver_set_receiver(t, &r);
}

static void set_sender(struct jsep_transceiver *t, const struct sdp_media *theirs)
{
    char stream[JSEP_MAX_RIDS * 32];
    char track[sizeof(stream)];
    snprintf(stream, sizeof(stream), "%.*s", (int)theirs->msids[0].stream.n,
             (const char *)theirs->msids[0].stream.p);
    snprintf(track, sizeof(track), "%.*s", (int)theirs->msids[0].track.n,
             (const char *)theirs->msids[0].track.p);
    if (t->sender != NULL && strcmp(t->sender->track_id, track) == 0) {
        return;
    }
    struct jsep_sender const s = {
        .stream_id = stream,
        .track_id = track,
        .cname = stream,
        .ssrc = theirs->ssrcs[0].ssrc,
        .rtx_ssrc = theirs->group_count > 0 ? theirs->groups[0].rtx : 0,
    };
    assert_int_equal(jsep_transceiver_set_sender(t, &s), 0);
}

static void decide(struct jsep *j, const struct sdp *theirs)
{
    for (size_t i = 0; i < theirs->media_count; i++) {
        const struct sdp_media *const m = &theirs->media[i];
        struct jsep_transceiver *const t = jsep_by_mid(j, m->mid);
        if (t == NULL || t->kind == JSEP_DATA) {
            continue;
        }
        if ((m->direction & SDP_RECVONLY) != 0) {
            set_receiver(t, m);
        }
        if (m->msid_count > 0) {
            set_sender(t, m);
        } else {
            jsep_transceiver_clear_sender(t);
        }
    }
}

// ---- comparison -----------------------------------------------------------------------------

static void compare_codecs(size_t section, const struct sdp_media *offer,
                           const struct sdp_media *theirs, const struct sdp_media *ours)
{
    bool const published = (ours->direction & SDP_RECVONLY) != 0;
    check(ours->codec_count > 0);
    check(ours->codecs[0].pt == theirs->codecs[0].pt);
    for (size_t i = 0; i < theirs->codec_count; i++) {
        const struct sdp_codec *const a = &theirs->codecs[i];
        const struct sdp_codec *const b = by_pt(ours, a->pt);
        const struct sdp_codec *const o = by_pt(offer, a->pt);
        if (o == NULL || !bytes_eq(o->name, a->name) ||
            (!bytes_eq(o->fmtp, a->fmtp) && !sdp_name_eq(a->name, "opus"))) {
            continue; // not offered like that
        }
        check(b != NULL);
        check(bytes_eq(a->name, b->name) && a->clock == b->clock && a->channels == b->channels);
        uint8_t const fb_more = !published ? SDP_FB_TRANSPORT_CC | SDP_FB_REMB : 0;
        check((b->fb & ~fb_more) == (a->fb & ~fb_more));
        check((b->fb & ~o->fb) == 0);
        if (!sdp_name_eq(a->name, "opus")) {
            check(bytes_eq(a->fmtp, b->fmtp));
        } else if (published) {
            struct bytes v;
            check(sdp_fmtp_param(a->fmtp, "usedtx", &v) == sdp_fmtp_param(b->fmtp, "usedtx", &v));
            check(fmtp_is(a->fmtp, "maxaveragebitrate", "510000") ==
                  fmtp_is(b->fmtp, "stereo", "1"));
            check(fmtp_is(a->fmtp, "useinbandfec", "1") == fmtp_is(b->fmtp, "useinbandfec", "1"));
        } else {
            check(bytes_eq(b->fmtp, o->fmtp));
        }
    }
    for (size_t i = 0; i < ours->codec_count; i++) {
        const struct sdp_codec *const b = &ours->codecs[i];
        check(by_pt(offer, b->pt) != NULL);
        check(by_pt(theirs, b->pt) != NULL || (firefox && sdp_name_eq(b->name, "rtx")));
    }
}

static void compare_extensions(size_t section, const struct sdp_media *offer,
                               const struct sdp_media *theirs, const struct sdp_media *ours)
{
    struct bytes const dd = bytes_str(rtp_ext_uri(RTP_EXT_DEPENDENCY_DESCRIPTOR));
    struct bytes const vla = bytes_str(rtp_ext_uri(RTP_EXT_VIDEO_LAYERS_ALLOCATION));
    bool const published = (ours->direction & SDP_RECVONLY) != 0;
    enum codec const first = codec_by_name(ours->codecs[0].name);
    bool const refuse_dd = published && first != CODEC_VP9 && first != CODEC_AV1;
    for (size_t i = 0; i < theirs->extmap_count; i++) {
        const struct sdp_extmap *const a = &theirs->extmaps[i];
        const struct sdp_extmap *const o = by_uri(offer, a->uri);
        const struct sdp_extmap *const b = by_uri(ours, a->uri);
        if (bytes_eq(a->uri, dd) && refuse_dd) {
            check(b == NULL);
        } else if (o != NULL) {
            check(b != NULL && b->id == o->id);
        }
    }
    for (size_t i = 0; i < ours->extmap_count; i++) {
        const struct sdp_extmap *const b = &ours->extmaps[i];
        check(by_uri(offer, b->uri) != NULL);
        check(by_uri(theirs, b->uri) != NULL || bytes_eq(b->uri, vla) ||
              ours->direction == SDP_INACTIVE);
    }
}

static void compare_identification(size_t section, const struct sdp_media *theirs,
                                   const struct sdp_media *ours)
{
    check(ours->rid_count == theirs->rid_count);
    for (size_t i = 0; i < ours->rid_count; i++) {
        check(bytes_eq(ours->rids[i].id, theirs->rids[i].id) && !ours->rids[i].send &&
              ours->rids[i].simulcast);
    }
    check((ours->msid_count > 0) == (theirs->msid_count > 0));
    check(ours->ssrc_count == theirs->ssrc_count);
    check(ours->group_count == theirs->group_count);
    for (size_t i = 0; i < ours->ssrc_count; i++) {
        check(ours->ssrcs[i].ssrc == theirs->ssrcs[i].ssrc);
        check(bytes_eq(ours->ssrcs[i].cname, theirs->ssrcs[i].cname));
        check(bytes_eq(ours->ssrcs[i].msid, theirs->ssrcs[i].msid));
    }
    if (ours->msid_count > 0) {
        check(bytes_eq(ours->msids[0].stream, theirs->msids[0].stream));
        check(bytes_eq(ours->msids[0].track, theirs->msids[0].track));
    }
}

static void compare(const struct pair *p)
{
    assert_int_equal(p->ours->media_count, p->theirs->media_count);
    assert_int_equal(p->ours->media_count, p->offer->media_count);
    assert_true(bytes_eq(p->ours->session.bundle, p->theirs->session.bundle));
    assert_int_equal(p->ours->session.extmap_allow_mixed, p->theirs->session.extmap_allow_mixed);
    for (size_t section = 0; section < p->ours->media_count; section++) {
        const struct sdp_media *const offer = &p->offer->media[section];
        const struct sdp_media *const theirs = &p->theirs->media[section];
        const struct sdp_media *const ours = &p->ours->media[section];
        check(ours->kind == theirs->kind);
        check(bytes_eq(ours->mid, theirs->mid));
        check(ours->port == theirs->port);
        bool const spare = theirs->direction == SDP_SENDONLY && theirs->msid_count == 0;
        check(ours->direction == (spare ? SDP_INACTIVE : theirs->direction));
        check(ours->transport.setup == SDP_SETUP_ACTIVE);
        check(ours->extmap_allow_mixed == offer->extmap_allow_mixed);
        check(ours->rtcp_mux == theirs->rtcp_mux && ours->rtcp_rsize == theirs->rtcp_rsize);
        check(ours->sctp_port == theirs->sctp_port || ours->kind != SDP_KIND_DATA);
        if (ours->kind == SDP_KIND_AUDIO || ours->kind == SDP_KIND_VIDEO) {
            compare_codecs(section, offer, theirs, ours);
            compare_extensions(section, offer, theirs, ours);
            compare_identification(section, theirs, ours);
        }
    }
}

static struct jsep *server(void)
{
    struct jsep_config const c = {
        .single_pc = v1,
        .only_preferred_video = firefox,
        .no_red = firefox,
        .session_id = 42,
        .fingerprint = "sha-256 AA:BB",
        .ice_ufrag = "ufrag",
        .ice_pwd = "0123456789012345678901",
    };
    struct jsep *j = NULL;
    assert_int_equal(jsep_new(&c, &j), 0);
    return j;
}

static void answer(struct jsep *j, const char *offer_name, const char *answer_name)
{
    file = offer_name;
    size_t n = 0;
    char *const text = sdp_file_read(offer_name, &n);
    assert_non_null(text);
    int const err = jsep_set_remote_offer(j, bytes_of(text, n), NULL);
    free(text);
    assert_int_equal(err, 0);
    struct pair p = {.offer = load(offer_name), .theirs = load(answer_name)};
    decide(j, p.theirs);
    struct dynbuf out;
    dynbuf_init(&out, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_answer(j, &out), 0);
    assert_int_equal(sdp_parse(dynbuf_view(&out), &p.ours), 0);
    dynbuf_done(&out);
    compare(&p);
    sdp_free(p.offer);
    sdp_free(p.theirs);
    sdp_free(p.ours);
}

// "01-js-v1.alice-1-" of a file name: one connection.
static size_t connection_of(const char *name)
{
    const char *const dot = strchr(name, '.');
    const char *dash = dot != NULL ? strchr(dot, '-') : NULL;
    dash = dash != NULL ? strchr(dash + 1, '-') : NULL;
    return dash != NULL ? (size_t)(dash - name) : strlen(name);
}

static void jsep_answers_recorded_offers_like_livekit_server(void **state)
{
    (void)state;
    struct dirent **names;
    int const n = sdp_file_list(&names);
    assert_true(n > 0);
    struct jsep *j = NULL;
    const char *connection = ""; // a file of the connection j belongs to
    int pairs = 0;
    for (int i = 0; i + 1 < n; i++) {
        const char *const name = names[i]->d_name;
        const char *const next = names[i + 1]->d_name;
        if (!sdp_file_is(name, "c2s-offer") || !sdp_file_is(next, "s2c-answer") ||
            strncmp(name, "media.", 6) == 0 || strncmp(name, next, connection_of(name)) != 0) {
            continue;
        }
        if (strncmp(name, connection, connection_of(name)) != 0) {
            jsep_free(j);
            connection = name;
            v1 = strstr(name, "-v0") == NULL && strstr(name, "lk-cli") == NULL &&
                 strstr(name, "2.5.10") == NULL;
            firefox = strstr(name, ".fox-") != NULL;
            j = server();
        }
        answer(j, name, next);
        pairs++;
    }
    jsep_free(j);
    for (int i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
    assert_true(pairs >= 20);
    print_message("%d offers\n", pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsep_answers_recorded_offers_like_livekit_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
