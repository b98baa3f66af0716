// SPDX-License-Identifier: Apache-2.0
// LINK: transport wire base
// What an engine does with unusual descriptions and in unusual order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/jsep_pair.h"

// ---- unusual descriptions -------------------------------------------------------------------

#define HEAD                                                                                       \
    "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a b "                         \
    "c\r\na=fingerprint:sha-256 AA\r\n"
#define ICE "a=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:actpass\r\n"
#define AUDIO "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtcp-mux\r\n" ICE
#define VIDEO "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=rtcp-mux\r\n" ICE

static struct sdp *answered(struct jsep *s, const char *text)
{
    assert_int_equal(jsep_set_remote_offer(s, bytes_str(text), NULL), 0);
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_answer(s, &b), 0);
    struct sdp *a = NULL;
    assert_int_equal(sdp_parse(dynbuf_view(&b), &a), 0);
    dynbuf_done(&b);
    return a;
}

static void jsep_rejects_sections_it_cannot_carry(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    struct sdp *const a =
        answered(s, HEAD AUDIO "a=mid:a\r\n"
                               "m=video 9 UDP/TLS/RTP/SAVPF 100\r\na=rtpmap:100 "
                               "theora/90000\r\na=rtcp-mux\r\na=mid:b\r\n" ICE
                               "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:c\r\n" ICE // no rtcp-mux
                               "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:d\r\n" ICE VIDEO
                               "a=mid:e\r\n"); // not bundled
    assert_int_equal(a->media_count, 5);
    static const uint16_t ports[] = {9, 0, 0, 0, 0};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(a->media[i].port, ports[i]);
        assert_int_equal(jsep_at(s, i)->stopped, ports[i] == 0);
    }
    assert_true(bytes_eq_str(a->session.bundle, "a"));
    assert_true(bytes_eq_str(a->media[3].kind_text, "text"));
    sdp_free(a);
    jsep_free(s);
}

static void jsep_answers_bundle_only_sections_with_port_9(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    struct sdp *const a =
        answered(s, HEAD AUDIO
                 "a=mid:a\r\n"
                 "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=rtcp-mux\r\na=bundle-only\r\na=mid:b\r\n" ICE
                 "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=rtcp-mux\r\na=mid:c\r\n" ICE);
    assert_int_equal(a->media[1].port, 9);
    assert_int_equal(a->media[2].port, 0);
    assert_true(bytes_eq_str(a->session.bundle, "a b"));
    sdp_free(a);
    jsep_free(s);
}

static void jsep_serves_the_first_section_of_an_offer_without_bundle(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    struct sdp *const a =
        answered(s, "v=0\r\na=fingerprint:sha-256 AA\r\n" AUDIO "a=mid:a\r\n" VIDEO "a=mid:b\r\n");
    assert_false(a->session.has_bundle);
    assert_int_equal(a->media[0].port, 9);
    assert_int_equal(a->media[1].port, 0);
    sdp_free(a);
    jsep_free(s);
}

static void jsep_refuses_bad_offers_and_stays_as_it_was(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    sdp_free(answered(s, HEAD AUDIO "a=mid:a\r\n"));
    static const char *const bad[] = {
        "",
        "v=0\r\n",
        HEAD AUDIO,                                        // no mid
        HEAD AUDIO "a=mid:a\r\n" VIDEO "a=mid:a\r\n",      // twice the same
        HEAD VIDEO "a=mid:a\r\n",                          // another kind than before
        "v=0\r\na=group:BUNDLE a\r\n" AUDIO "a=mid:a\r\n", // no fingerprint
        HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=rtcp-mux\r\n", // no ICE credentials
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(jsep_set_remote_offer(s, bytes_str(bad[i]), NULL), -EBADMSG);
        assert_int_equal(jsep_state(s), JSEP_STABLE);
        assert_int_equal(jsep_count(s), 1);
        assert_string_equal(jsep_remote(s)->ice_ufrag, "u");
    }
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_answer(s, &b), -EPROTO);
    assert_int_equal(jsep_set_remote_answer(s, bytes_str(HEAD AUDIO "a=mid:a\r\n"), NULL), -EPROTO);
    dynbuf_done(&b);
    jsep_free(s);
}

static void jsep_keeps_the_dtls_role_and_refuses_a_flip(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    sdp_free(answered(s, HEAD AUDIO "a=mid:a\r\n"));
    assert_int_equal(jsep_dtls_role(s), JSEP_DTLS_CLIENT);
#define ACTIVE                                                                                     \
    "m=audio 9 UDP/TLS/RTP/SAVPF "                                                                 \
    "0\r\na=rtcp-mux\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:active\r\na=mid:a\r\n"
    assert_int_equal(jsep_set_remote_offer(s, bytes_str(HEAD ACTIVE), NULL), -EPROTO);
    // another certificate is another association
    struct jsep_applied applied;
    assert_int_equal(
        jsep_set_remote_offer(
            s, bytes_str("v=0\r\na=group:BUNDLE a\r\na=fingerprint:sha-256 BB\r\n" ACTIVE),
            &applied),
        0);
    assert_true(applied.new_fingerprint);
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_answer(s, &b), 0);
    assert_non_null(strstr(dynbuf_cstr(&b), "a=setup:passive\r\n"));
    assert_int_equal(jsep_dtls_role(s), JSEP_DTLS_SERVER);
    dynbuf_done(&b);
    jsep_free(s);
}

static void jsep_answers_the_newest_of_several_offers(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    assert_int_equal(jsep_set_remote_offer(s, bytes_str(HEAD AUDIO "a=mid:a\r\n"), NULL), 0);
    struct sdp *const a = answered(s, HEAD AUDIO "a=mid:a\r\n" VIDEO "a=mid:b\r\n");
    assert_int_equal(a->media_count, 2);
    sdp_free(a);
    jsep_free(s);
}

static void jsep_follows_a_recycled_section_by_mid(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    sdp_free(answered(s, HEAD AUDIO "a=mid:a\r\n" VIDEO "a=mid:b\r\n"));
    struct jsep_transceiver *const old = jsep_by_mid(s, bytes_str("b"));
    send_track(old, 1);
    struct sdp *a = answered(s, HEAD AUDIO "a=mid:a\r\n"
                                           "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:b\r\n");
    assert_int_equal(a->media[1].port, 0);
    assert_true(old->stopped);
    assert_false(old->sender_live);
    assert_null(jsep_by_mid(s, bytes_str("b")));
    sdp_free(a);
    a = answered(s, HEAD AUDIO "a=mid:a\r\n" AUDIO "a=mid:c\r\n");
    assert_int_equal(a->media[1].kind, SDP_KIND_AUDIO);
    assert_int_equal(jsep_count(s), 2);
    assert_true(old->stopped); // still readable
    assert_string_equal(old->mid, "b");
    assert_string_equal(jsep_at(s, 1)->mid, "c");
    sdp_free(a);
    jsep_free(s);
}

static void jsep_uses_an_extension_id_for_one_meaning_only(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
#define MID_URI " urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
#define TCC_URI " http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n"
    struct sdp *const a = answered(
        s, HEAD VIDEO "a=mid:a\r\na=extmap:3" MID_URI "a=extmap:4096" TCC_URI VIDEO
                      "a=mid:b\r\na=extmap:3" TCC_URI "a=extmap:5" MID_URI VIDEO
                      "a=mid:c\r\na=extmap:3/sendonly" MID_URI "a=extmap:4/inactive" TCC_URI);
    assert_int_equal(a->media[0].extmap_count, 1);
    assert_int_equal(a->media[1].extmap_count, 0);
    assert_int_equal(a->media[2].extmap_count, 1);
    assert_int_equal(a->media[2].extmaps[0].direction, SDP_RECVONLY);
    assert_int_equal(jsep_at(s, 2)->ext_recv.id[RTP_EXT_MID], 3);
    assert_int_equal(jsep_at(s, 2)->ext_send.id[RTP_EXT_MID], 0);
    sdp_free(a);
    jsep_free(s);
}

static void jsep_writes_candidates_in_the_first_live_section(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    static const char *const lines[] = {
        "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
        "candidate:2 1 tcp 1671430143 192.0.2.1 5001 typ host tcptype passive"};
    assert_int_equal(jsep_set_local_candidates(s, lines, 2, true), 0);
    struct sdp *const a = answered(
        s, HEAD "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:x\r\n" AUDIO
                "a=mid:a\r\na=candidate:9 1 udp 1 10.0.0.1 9 typ host\r\n" VIDEO "a=mid:b\r\n");
    assert_int_equal(a->media[0].candidate_count, 0);
    assert_int_equal(a->media[1].candidate_count, 2);
    assert_true(a->media[1].end_of_candidates);
    assert_int_equal(a->media[2].candidate_count, 0);
    assert_true(a->session.ice_lite);
    assert_int_equal(jsep_remote(s)->candidate_count, 1);
    assert_string_equal(jsep_remote(s)->candidates[0], "candidate:9 1 udp 1 10.0.0.1 9 typ host");
    sdp_free(a);
    jsep_free(s);
}

static void jsep_a_full_output_leaves_the_offer_pending(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    assert_int_equal(jsep_set_remote_offer(s, bytes_str(HEAD AUDIO "a=mid:a\r\n"), NULL), 0);
    struct dynbuf b;
    dynbuf_init(&b, 100);
    assert_int_equal(jsep_create_answer(s, &b), -ENOBUFS);
    dynbuf_done(&b);
    assert_int_equal(jsep_state(s), JSEP_HAVE_REMOTE_OFFER);
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_answer(s, &b), 0);
    dynbuf_done(&b);
    jsep_free(s);
}

static void jsep_refuses_answers_that_do_not_fit(void **state)
{
    (void)state;
    struct jsep *const s = server_v0();
    struct jsep_transceiver *t;
    assert_int_equal(jsep_add_sender_section(s, JSEP_AUDIO, &t), 0);
    send_track(t, 1);
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_offer(s, &b), 0);
    dynbuf_done(&b);
#define PASSIVE "a=rtcp-mux\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:passive\r\n"
    static const char *const bad[] = {
        "v=0\r\n",
        HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:7\r\n" PASSIVE,
        HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n" PASSIVE,
        HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" PASSIVE
             "m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\n",
        HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtcp-mux\r\n" ICE, // actpass
        HEAD "m=audio 9 UDP/TLS/RTP/SAVPF "
             "111\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=setup:active\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(jsep_set_remote_answer(s, bytes_str(bad[i]), NULL), -EBADMSG);
        assert_int_equal(jsep_state(s), JSEP_HAVE_LOCAL_OFFER);
    }
    // a payload type we did not offer is not ours
    assert_int_equal(
        jsep_set_remote_answer(
            s,
            bytes_str(HEAD "m=audio 9 UDP/TLS/RTP/SAVPF 9 111 5\r\na=mid:0\r\na=recvonly\r\n"
                           "a=rtpmap:5 opus/48000/2\r\na=rtpmap:111 opus/48000/2\r\n" PASSIVE),
            NULL),
        0);
    assert_int_equal(t->codec_count, 1);
    assert_int_equal(t->codecs[0].pt, 111);
    assert_true(t->sender_live);
    jsep_free(s);
}

static void jsep_a_rejecting_answer_stops_the_section(void **state)
{
    (void)state;
    struct jsep *const s = server_v0();
    struct jsep_transceiver *t;
    assert_int_equal(jsep_add_data_section(s), 0);
    assert_int_equal(jsep_add_sender_section(s, JSEP_VIDEO, &t), 0);
    send_track(t, 1);
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_offer(s, &b), 0);
    assert_int_equal(
        jsep_set_remote_answer(
            s,
            bytes_str(
                HEAD
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\na=ice-ufrag:u\r\n"
                "a=ice-pwd:p\r\na=setup:passive\r\nm=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n"),
            NULL),
        0);
    assert_true(t->stopped);
    assert_false(t->sender_live);
    dynbuf_reset(&b);
    assert_int_equal(jsep_create_offer(s, &b), 0);
    assert_non_null(strstr(dynbuf_cstr(&b), "m=video 0 "));
    assert_non_null(strstr(dynbuf_cstr(&b), "a=group:BUNDLE 0\r\n"));
    jsep_transceiver_clear_sender(t);
    struct jsep_transceiver *other;
    assert_int_equal(jsep_add_sender_section(s, JSEP_VIDEO, &other), 0);
    assert_ptr_not_equal(other, t);
    dynbuf_done(&b);
    jsep_free(s);
}

static void jsep_refuses_glare(void **state)
{
    (void)state;
    struct jsep *const s = server_v0();
    assert_int_equal(jsep_add_data_section(s), 0);
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_offer(s, &b), 0);
    assert_int_equal(jsep_set_remote_offer(s, bytes_str(HEAD AUDIO "a=mid:a\r\n"), NULL), -EPROTO);
    jsep_free(s);

    struct jsep *const t = server_v0();
    assert_int_equal(jsep_set_remote_offer(t, bytes_str(HEAD AUDIO "a=mid:a\r\n"), NULL), 0);
    dynbuf_reset(&b);
    assert_int_equal(jsep_create_offer(t, &b), -EPROTO);
    dynbuf_done(&b);
    jsep_free(t);
}

static void jsep_refuses_texts_that_would_break_a_line(void **state)
{
    (void)state;
    struct jsep *j = NULL;
    struct jsep_config c = {.fingerprint = "sha-256 AA", .ice_ufrag = "u", .ice_pwd = "p q"};
    assert_int_equal(jsep_new(&c, &j), -EINVAL);
    c.ice_pwd = "p\r\na=x";
    assert_int_equal(jsep_new(&c, &j), -EINVAL);
    c.ice_pwd = NULL;
    assert_int_equal(jsep_new(&c, &j), -EINVAL);
    assert_null(j);
    struct jsep *const s = server_v0();
    struct jsep_transceiver *t;
    assert_int_equal(jsep_add_sender_section(s, JSEP_AUDIO, &t), 0);
    struct jsep_sender bad = {.stream_id = "a\nb", .track_id = "t", .cname = "c"};
    assert_int_equal(jsep_transceiver_set_sender(t, &bad), -EINVAL);
    bad.stream_id = "";
    assert_int_equal(jsep_transceiver_set_sender(t, &bad), -EINVAL);
    assert_null(t->sender);
    jsep_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsep_rejects_sections_it_cannot_carry),
        cmocka_unit_test(jsep_answers_bundle_only_sections_with_port_9),
        cmocka_unit_test(jsep_serves_the_first_section_of_an_offer_without_bundle),
        cmocka_unit_test(jsep_refuses_bad_offers_and_stays_as_it_was),
        cmocka_unit_test(jsep_keeps_the_dtls_role_and_refuses_a_flip),
        cmocka_unit_test(jsep_answers_the_newest_of_several_offers),
        cmocka_unit_test(jsep_follows_a_recycled_section_by_mid),
        cmocka_unit_test(jsep_uses_an_extension_id_for_one_meaning_only),
        cmocka_unit_test(jsep_writes_candidates_in_the_first_live_section),
        cmocka_unit_test(jsep_a_full_output_leaves_the_offer_pending),
        cmocka_unit_test(jsep_refuses_answers_that_do_not_fit),
        cmocka_unit_test(jsep_a_rejecting_answer_stops_the_section),
        cmocka_unit_test(jsep_refuses_glare),
        cmocka_unit_test(jsep_refuses_texts_that_would_break_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
