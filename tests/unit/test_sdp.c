// SPDX-License-Identifier: Apache-2.0
// LINK: wire base
// COVERS: sdp_attr sdp_text sdp_write
// SDP parser and writer against recorded descriptions and against what peers should not send.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/wire/sdp.h"
#include "tests/support/sdp_files.h"

static struct sdp *parse(const char *text)
{
    struct sdp *s = NULL;
    assert_int_equal(sdp_parse(bytes_str(text), &s), 0);
    assert_non_null(s);
    return s;
}

static int parse_error(const char *text)
{
    struct sdp *s = NULL;
    int const err = sdp_parse(bytes_str(text), &s);
    assert_null(s);
    return err;
}

static struct sdp *load(const char *name)
{
    size_t n = 0;
    char *const text = sdp_file_read(name, &n);
    assert_non_null(text);
    struct sdp *s = NULL;
    assert_int_equal(sdp_parse(bytes_of(text, n), &s), 0);
    free(text); // the parser keeps its own copy
    return s;
}

static void assert_view(struct bytes b, const char *text)
{
    if (!bytes_eq_str(b, text)) {
        fail_msg("\"%.*s\" is not \"%s\"", (int)b.n, (const char *)b.p, text);
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

static void assert_same_text(struct bytes a, struct bytes b)
{
    assert_true(bytes_eq(a, b));
}

static void assert_same_media(const struct sdp_media *a, const struct sdp_media *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->port, b->port);
    assert_int_equal(a->direction, b->direction);
    assert_same_text(a->mid, b->mid);
    if (sdp_media_rejected(a)) {
        return;
    }
    assert_int_equal(a->bundle_only, b->bundle_only);
    assert_int_equal(a->rtcp_mux, b->rtcp_mux);
    assert_same_text(a->transport.ice_ufrag, b->transport.ice_ufrag);
    assert_same_text(a->transport.fingerprint, b->transport.fingerprint);
    assert_int_equal(a->transport.setup, b->transport.setup);
    assert_int_equal(a->codec_count, b->codec_count);
    for (size_t i = 0; i < a->codec_count; i++) {
        assert_int_equal(a->codecs[i].pt, b->codecs[i].pt);
        assert_int_equal(a->codecs[i].fb, b->codecs[i].fb);
        assert_int_equal(a->codecs[i].clock, b->codecs[i].clock);
        assert_int_equal(a->codecs[i].channels, b->codecs[i].channels);
        assert_same_text(a->codecs[i].name, b->codecs[i].name);
        assert_same_text(a->codecs[i].fmtp, b->codecs[i].fmtp);
    }
    assert_int_equal(a->extmap_count, b->extmap_count);
    for (size_t i = 0; i < a->extmap_count; i++) {
        assert_int_equal(a->extmaps[i].id, b->extmaps[i].id);
        assert_int_equal(a->extmaps[i].direction, b->extmaps[i].direction);
        assert_same_text(a->extmaps[i].uri, b->extmaps[i].uri);
    }
    assert_int_equal(a->rid_count, b->rid_count);
    for (size_t i = 0; i < a->rid_count; i++) {
        assert_same_text(a->rids[i].id, b->rids[i].id);
        assert_int_equal(a->rids[i].send, b->rids[i].send);
        assert_int_equal(a->rids[i].simulcast, b->rids[i].simulcast);
    }
    assert_int_equal(a->ssrc_count, b->ssrc_count);
    assert_int_equal(a->group_count, b->group_count);
    assert_int_equal(a->msid_count, b->msid_count);
    assert_int_equal(a->candidate_count, b->candidate_count);
    assert_int_equal(a->sctp_port, b->sctp_port);
    assert_int_equal(a->max_message_size, b->max_message_size);
}

static void sdp_keeps_every_recorded_description_through_writing(void **state)
{
    (void)state;
    struct dirent **names;
    int const n = sdp_file_list(&names);
    assert_true(n > 0);
    int seen = 0;
    for (int i = 0; i < n; i++) {
        if (sdp_file_is(names[i]->d_name, ".sdp")) {
            struct sdp *const a = load(names[i]->d_name);
            struct dynbuf out;
            dynbuf_init(&out, SDP_MAX_TEXT);
            sdp_write(&out, a);
            assert_true(dynbuf_ok(&out));
            struct sdp *b = NULL;
            assert_int_equal(sdp_parse(dynbuf_view(&out), &b), 0);
            assert_int_equal(a->media_count, b->media_count);
            assert_true(a->media_count > 0);
            assert_same_text(a->session.bundle, b->session.bundle);
            assert_int_equal(a->session.id, b->session.id);
            assert_int_equal(a->session.version, b->session.version);
            for (size_t k = 0; k < a->media_count; k++) {
                assert_same_media(&a->media[k], &b->media[k]);
            }
            dynbuf_done(&out);
            sdp_free(a);
            sdp_free(b);
            seen++;
        }
        free(names[i]);
    }
    free(names);
    assert_true(seen >= 40);
}

static void sdp_reads_a_chromium_offer(void **state)
{
    (void)state;
    struct sdp *const s = load("01-js-v1.alice-1-009-c2s-offer.sdp");
    assert_true(s->session.extmap_allow_mixed);
    assert_int_equal(s->media_count, 10);
    assert_view(s->session.bundle, "0 1 2 3 4 5 6 7 8 9");
    assert_true(sdp_in_bundle(&s->session, bytes_str("9")));
    assert_false(sdp_in_bundle(&s->session, bytes_str("10")));
    const struct sdp_media *const audio = &s->media[0];
    assert_int_equal(audio->kind, SDP_KIND_AUDIO);
    assert_int_equal(audio->direction, SDP_RECVONLY);
    assert_int_equal(audio->codec_count, 8);
    assert_view(audio->codecs[0].name, "opus");
    assert_int_equal(audio->codecs[0].clock, 48000);
    assert_int_equal(audio->codecs[0].channels, 2);
    assert_int_equal(audio->codecs[0].fb, SDP_FB_TRANSPORT_CC);
    assert_true(audio->xr_rcvr_rtt);
    assert_int_equal(audio->transport.setup, SDP_SETUP_ACTPASS);
    const struct sdp_media *const data = &s->media[6];
    assert_int_equal(data->kind, SDP_KIND_DATA);
    assert_int_equal(data->sctp_port, 5000);
    assert_int_equal(data->max_message_size, 262144);
    const struct sdp_media *const video = &s->media[8];
    assert_int_equal(video->direction, SDP_SENDONLY);
    assert_int_equal(video->rid_count, 3);
    assert_view(video->rids[0].id, "q");
    assert_view(video->rids[2].id, "f");
    assert_true(video->rids[2].send && video->rids[2].simulcast);
    const struct sdp_codec *const vp8 = by_pt(video, 96);
    assert_view(vp8->fmtp, "x-google-start-bitrate=1000");
    assert_int_equal(vp8->fb,
                     SDP_FB_REMB | SDP_FB_TRANSPORT_CC | SDP_FB_FIR | SDP_FB_NACK | SDP_FB_PLI);
    sdp_free(s);
}

static void sdp_reads_a_firefox_offer(void **state)
{
    (void)state;
    struct sdp *const s = load("media.ff-vp8-simulcast-1-c2s-offer.sdp");
    size_t bundle_only = 0;
    const struct sdp_media *video = NULL;
    for (size_t i = 0; i < s->media_count; i++) {
        assert_false(sdp_media_rejected(&s->media[i]));
        bundle_only += s->media[i].port == 0 ? 1 : 0;
        if (s->media[i].kind == SDP_KIND_VIDEO) {
            video = &s->media[i];
        }
    }
    assert_true(bundle_only > 0);
    assert_non_null(video);
    assert_int_equal(video->group_count, 3);
    assert_int_equal(video->ssrc_count, 6);
    // The fingerprint stands on session level.
    assert_int_equal(video->transport.fingerprint.n, 0);
    assert_true(sdp_media_transport(s, video).fingerprint.n > 64);
    bool sendonly = false;
    for (size_t i = 0; i < video->extmap_count; i++) {
        sendonly |= video->extmaps[i].has_direction && video->extmaps[i].direction == SDP_SENDONLY;
    }
    assert_true(sendonly);
    sdp_free(s);
}

#define HEAD "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"

static void sdp_accepts_bare_line_feeds_and_empty_lines(void **state)
{
    (void)state;
    struct sdp *const s =
        parse("v=0\n\no=- 7 8 IN IP4 0.0.0.0\nm=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:x\n");
    assert_int_equal(s->session.id, 7);
    assert_int_equal(s->media_count, 1);
    assert_view(s->media[0].mid, "x");
    sdp_free(s);
}

static void sdp_names_static_payload_types(void **state)
{
    (void)state;
    struct sdp *const s = parse(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 0 96\r\n");
    assert_int_equal(s->media[0].codec_count, 3); // repeated 0 counts once
    assert_view(s->media[0].codecs[0].name, "PCMU");
    assert_view(s->media[0].codecs[1].name, "PCMA");
    assert_int_equal(s->media[0].codecs[1].clock, 8000);
    assert_int_equal(s->media[0].codecs[2].name.n, 0);
    sdp_free(s);
}

static void sdp_applies_wildcard_feedback_to_all_codecs(void **state)
{
    (void)state;
    struct sdp *const s =
        parse(HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96 98\r\na=rtcp-fb:* nack pli\r\n"
                   "a=rtcp-fb:98 ccm tmmbr\r\na=rtcp-fb:98 nack\r\na=rtcp-fb:99 nack\r\n");
    assert_int_equal(s->media[0].codecs[0].fb, SDP_FB_PLI);
    assert_int_equal(s->media[0].codecs[1].fb, SDP_FB_PLI | SDP_FB_NACK);
    sdp_free(s);
}

static void sdp_orders_rids_as_simulcast_lists_them(void **state)
{
    (void)state;
    struct sdp *const s = parse(
        HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rid:q send\r\na=rid:h send\r\na=rid:f send\r\n"
             "a=rid:x recv\r\na=simulcast:send ~f;nope,h;missing;q recv x\r\n");
    const struct sdp_media *const m = &s->media[0];
    assert_int_equal(m->rid_count, 4);
    assert_view(m->rids[0].id, "f");
    assert_view(m->rids[1].id, "h");
    assert_view(m->rids[2].id, "q");
    assert_view(m->rids[3].id, "x");
    assert_false(m->rids[3].send);
    assert_true(m->rids[3].simulcast);
    sdp_free(s);
}

static void sdp_tells_rejected_from_bundle_only(void **state)
{
    (void)state;
    struct sdp *const s =
        parse(HEAD "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only\r\n"
                   "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\nm=text 9 UDP/TLS/RTP/SAVPF t140\r\n"
                   "m=application 9 DTLS/SCTP 5000\r\n");
    assert_false(sdp_media_rejected(&s->media[0]));
    assert_true(sdp_media_rejected(&s->media[1]));
    assert_int_equal(s->media[2].kind, SDP_KIND_OTHER);
    assert_int_equal(s->media[3].kind, SDP_KIND_OTHER); // the old data channel syntax
    sdp_free(s);
}

static void sdp_reads_candidates_and_transport_of_a_section(void **state)
{
    (void)state;
    struct sdp *const s = parse(
        HEAD "a=ice-lite\r\na=ice-ufrag:su\r\na=ice-pwd:sp\r\na=fingerprint:sha-1 "
             "00\r\na=fingerprint:sha-256 AA:BB\r\n"
             "a=setup:passive\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n"
             "a=candidate:1 1 udp 1 10.0.0.1 5 typ host\r\na=end-of-candidates\r\n"
             "m=application 9 UDP/DTLS/SCTP "
             "webrtc-datachannel\r\na=ice-ufrag:mu\r\na=ice-pwd:mp\r\na=setup:active\r\n");
    assert_true(s->session.ice_lite);
    assert_int_equal(s->media[0].candidate_count, 1);
    assert_view(s->media[0].candidates[0], "candidate:1 1 udp 1 10.0.0.1 5 typ host");
    assert_true(s->media[0].end_of_candidates);
    assert_int_equal(s->media[0].max_message_size, 65536); // RFC 8841 default
    struct sdp_transport t = sdp_media_transport(s, &s->media[0]);
    assert_view(t.ice_ufrag, "su");
    assert_view(t.fingerprint, "sha-256 AA:BB");
    assert_int_equal(t.setup, SDP_SETUP_PASSIVE);
    t = sdp_media_transport(s, &s->media[1]);
    assert_view(t.ice_ufrag, "mu");
    assert_view(t.ice_pwd, "mp");
    assert_int_equal(t.setup, SDP_SETUP_ACTIVE);
    sdp_free(s);
}

static void sdp_refuses_what_is_no_description(void **state)
{
    (void)state;
    assert_int_equal(parse_error(""), -EBADMSG);
    assert_int_equal(parse_error("nope"), -EBADMSG);
    assert_int_equal(parse_error("v=0\r\nnope"), -EBADMSG); // recording 10-odd-requests-v1
    assert_int_equal(parse_error(HEAD "m=audio\r\n"), -EBADMSG);
    assert_int_equal(parse_error(HEAD "m=audio x UDP/TLS/RTP/SAVPF 0\r\n"), -EBADMSG);
    assert_int_equal(parse_error(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 128\r\n"), -EBADMSG);
    assert_int_equal(parse_error(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a b\r\n"), -EBADMSG);
    assert_int_equal(parse_error(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:\xff\r\n"), -EBADMSG);
    assert_int_equal(parse_error(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\rb\r\n"), -EBADMSG);
    assert_int_equal(parse_error(HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8\r\n"),
                     -EBADMSG);
    assert_int_equal(parse_error(HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=extmap:0 urn:x\r\n"),
                     -EBADMSG);
}

static void sdp_refuses_more_than_the_caps(void **state)
{
    (void)state;
    struct dynbuf b;
    dynbuf_init(&b, 1u << 24);
    dynbuf_add_str(&b, HEAD);
    for (size_t i = 0; i <= SDP_MAX_SECTIONS; i++) {
        dynbuf_add_str(&b, "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n");
    }
    assert_int_equal(parse_error(dynbuf_cstr(&b)), -E2BIG);
    dynbuf_reset(&b);
    dynbuf_add_str(&b, HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n");
    for (unsigned i = 0; i <= SDP_MAX_SSRCS; i++) {
        dynbuf_addf(&b, "a=ssrc:%u cname:x\r\n", i);
    }
    assert_int_equal(parse_error(dynbuf_cstr(&b)), -E2BIG);
    dynbuf_reset(&b);
    dynbuf_add_str(&b, HEAD "a=x:");
    for (size_t i = 0; i < SDP_MAX_LINE; i++) {
        dynbuf_add_u8(&b, 'x');
    }
    assert_int_equal(parse_error(dynbuf_cstr(&b)), -E2BIG);
    dynbuf_done(&b);
}

static void sdp_reads_as_many_sections_as_the_cap_allows(void **state)
{
    (void)state;
    struct dynbuf b;
    dynbuf_init(&b, SDP_MAX_TEXT);
    dynbuf_add_str(&b, HEAD);
    for (unsigned i = 0; i < SDP_MAX_SECTIONS; i++) {
        dynbuf_addf(
            &b, "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:%u\r\na=rtpmap:111 opus/48000/2\r\n",
            i);
    }
    struct sdp *const s = parse(dynbuf_cstr(&b));
    dynbuf_done(&b);
    assert_int_equal(s->media_count, SDP_MAX_SECTIONS);
    assert_view(s->media[1023].mid, "1023");
    assert_int_equal(s->media[1023].codec_count, 2);
    assert_view(s->media[1023].codecs[0].name, "opus");
    sdp_free(s);
}

static void sdp_finds_fmtp_parameters(void **state)
{
    (void)state;
    struct bytes v;
    struct bytes const f = bytes_str("minptime=10; UseInbandFec = 1;flag;apt=96");
    assert_true(sdp_fmtp_param(f, "useinbandfec", &v));
    assert_view(v, "1");
    assert_true(sdp_fmtp_param(f, "flag", &v));
    assert_int_equal(v.n, 0);
    assert_true(sdp_fmtp_param(f, "apt", &v));
    assert_view(v, "96");
    assert_false(sdp_fmtp_param(f, "ap", &v));
    assert_false(sdp_fmtp_param(bytes_str(""), "apt", &v));
}

static void sdp_reads_numbers_strictly(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_true(sdp_parse_uint(bytes_str("18446744073709551615"), UINT64_MAX, &v));
    assert_true(v == UINT64_MAX);
    assert_false(sdp_parse_uint(bytes_str("18446744073709551616"), UINT64_MAX, &v));
    assert_true(sdp_parse_uint(bytes_str("127"), 127, &v));
    assert_false(sdp_parse_uint(bytes_str("128"), 127, &v));
    assert_false(sdp_parse_uint(bytes_str("9"), 3, &v));
    assert_false(sdp_parse_uint(bytes_str("-1"), 127, &v));
    assert_false(sdp_parse_uint(bytes_str(""), 127, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sdp_keeps_every_recorded_description_through_writing),
        cmocka_unit_test(sdp_reads_a_chromium_offer),
        cmocka_unit_test(sdp_reads_a_firefox_offer),
        cmocka_unit_test(sdp_accepts_bare_line_feeds_and_empty_lines),
        cmocka_unit_test(sdp_names_static_payload_types),
        cmocka_unit_test(sdp_applies_wildcard_feedback_to_all_codecs),
        cmocka_unit_test(sdp_orders_rids_as_simulcast_lists_them),
        cmocka_unit_test(sdp_tells_rejected_from_bundle_only),
        cmocka_unit_test(sdp_reads_candidates_and_transport_of_a_section),
        cmocka_unit_test(sdp_refuses_what_is_no_description),
        cmocka_unit_test(sdp_refuses_more_than_the_caps),
        cmocka_unit_test(sdp_reads_as_many_sections_as_the_cap_allows),
        cmocka_unit_test(sdp_finds_fmtp_parameters),
        cmocka_unit_test(sdp_reads_numbers_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
