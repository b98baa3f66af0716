// SPDX-License-Identifier: Apache-2.0
// LINK: transport wire base
// COVERS: jsep_answer jsep_codecs jsep_media jsep_offer jsep_remote jsep_write
// Offer/answer between two engines in all roles.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/jsep_pair.h"

// ---- v1 -------------------------------------------------------------------------------------

static void jsep_v1_first_answer_carries_existing_tracks(void **state)
{
    (void)state;
    struct jsep *const c = client();
    struct jsep *const s = server_v1();
    add_placeholders(c);
    assert_true(jsep_needs_negotiation(c));
    struct jsep_applied applied;
    offer(c, s, &applied);
    assert_true(applied.first && applied.new_sections);
    assert_false(applied.ice_restart);
    assert_int_equal(jsep_count(s), 7);
    assert_int_equal(jsep_count_free(s, JSEP_AUDIO), 3);
    assert_int_equal(jsep_count_free(s, JSEP_VIDEO), 3);
    struct jsep_transceiver *const audio = jsep_find_free(s, JSEP_AUDIO);
    send_track(audio, 1);
    struct jsep_transceiver *const video = jsep_find_free(s, JSEP_VIDEO);
    send_track(video, 2);
    assert_int_equal(jsep_count_free(s, JSEP_VIDEO), 2);
    assert_true(jsep_needs_negotiation(s));
    answer(s, c, NULL);
    assert_false(jsep_needs_negotiation(s));

    assert_int_equal(jsep_dtls_role(s), JSEP_DTLS_CLIENT);
    assert_int_equal(jsep_dtls_role(c), JSEP_DTLS_SERVER);
    assert_string_equal(jsep_remote(s)->ice_ufrag, "cli");
    assert_string_equal(jsep_remote(c)->ice_ufrag, "srv");
    assert_string_equal(jsep_remote(c)->fingerprint, "sha-256 55:55");
    assert_true(jsep_remote(c)->ice_lite && jsep_remote(c)->has_data && jsep_remote(s)->has_data);
    assert_int_equal(jsep_remote(s)->sctp_port, 5000);

    assert_true(video->sender_live && audio->sender_live);
    assert_int_equal(video->direction, SDP_SENDONLY);
    const struct jsep_transceiver *const got = peer_of(c, video);
    assert_int_equal(got->direction, SDP_RECVONLY);
    assert_non_null(got->remote);
    assert_string_equal(got->remote->stream_id, "PA_1|TR_2");
    assert_string_equal(got->remote->track_id, "TR_2");
    assert_int_equal(got->remote->ssrc_count, 1);
    assert_int_equal(got->remote->ssrcs[0].ssrc, 1002);
    assert_int_equal(got->remote->ssrcs[0].rtx_ssrc, 2002);
    // a spare section is inactive: what receives without knowing an SSRC takes anybody's packets
    const struct jsep_transceiver *const spare = peer_of(c, jsep_find_free(s, JSEP_VIDEO));
    assert_int_equal(spare->direction, SDP_INACTIVE);
    assert_null(spare->remote);

    size_t pos = 0;
    assert_ptr_equal(jsep_next_sending(s, &pos), audio);
    assert_ptr_equal(jsep_next_sending(s, &pos), video);
    assert_null(jsep_next_sending(s, &pos));
    jsep_free(c);
    jsep_free(s);
}

static void jsep_v1_both_sides_agree_on_codecs_and_extensions(void **state)
{
    (void)state;
    struct jsep *const c = client();
    struct jsep *const s = server_v1();
    add_placeholders(c);
    exchange(c, s);
    for (size_t i = 0; i < jsep_count(s); i++) {
        const struct jsep_transceiver *const a = jsep_at(s, i);
        const struct jsep_transceiver *const b = peer_of(c, a);
        assert_int_equal(a->codec_count, b->codec_count);
        for (size_t k = 0; k < a->codec_count; k++) {
            assert_int_equal(a->codecs[k].pt, b->codecs[k].pt);
            assert_int_equal(a->codecs[k].codec, b->codecs[k].codec);
            assert_int_equal(a->codecs[k].rtx_pt, b->codecs[k].rtx_pt);
            assert_int_equal(a->codecs[k].fb, b->codecs[k].fb);
            assert_string_equal(a->codecs[k].fmtp, b->codecs[k].fmtp);
        }
        assert_memory_equal(&a->ext_send, &b->ext_recv, sizeof(a->ext_send));
        assert_memory_equal(&a->ext_recv, &b->ext_send, sizeof(a->ext_recv));
    }
    const struct jsep_transceiver *const video = jsep_find_free(s, JSEP_VIDEO);
    const struct jsep_codec *const vp8 = jsep_codec_find(video, CODEC_VP8);
    assert_int_equal(vp8->pt, 96);
    assert_int_equal(vp8->rtx_pt, 97);
    assert_int_equal(vp8->fb,
                     SDP_FB_NACK | SDP_FB_PLI | SDP_FB_FIR | SDP_FB_TRANSPORT_CC | SDP_FB_REMB);
    assert_true(video->ext_send.id[RTP_EXT_DEPENDENCY_DESCRIPTOR] != 0);
    assert_true(video->ext_send.id[RTP_EXT_TRANSPORT_CC] != 0);
    assert_true(video->ext_send.id[RTP_EXT_ABS_SEND_TIME] != 0);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_v1_publishes_audio_and_simulcast_video(void **state)
{
    (void)state;
    struct jsep *const c = client();
    struct jsep *const s = server_v1();
    add_placeholders(c);
    exchange(c, s);
    struct jsep_transceiver *const mic = publish(c, JSEP_AUDIO, false);
    struct jsep_transceiver *const cam = publish(c, JSEP_VIDEO, true);
    offer(c, s, NULL);
    struct jsep_transceiver *const a = peer_of(s, mic);
    struct jsep_transceiver *const v = peer_of(s, cam);
    assert_int_equal(a->remote_direction, SDP_SENDONLY);
    assert_string_equal(a->remote->track_id, "cid-1");
    assert_int_equal(a->remote->ssrcs[0].ssrc, 77);
    assert_int_equal(v->remote->ssrc_count, 0);
    assert_int_equal(v->remote->rid_count, 3);
    assert_string_equal(v->remote->rids[0], "q");
    assert_string_equal(v->remote->rids[2], "f");
    jsep_transceiver_set_receiver(
        a, &(struct jsep_receiver){.accept = true, .red = true, .dtx = true});
    jsep_transceiver_set_receiver(v,
                                  &(struct jsep_receiver){.accept = true, .preferred = CODEC_VP8});
    answer(s, c, NULL);
    assert_int_equal(v->direction, SDP_RECVONLY);
    assert_int_equal(cam->direction, SDP_SENDONLY);
    assert_true(cam->sender_live && mic->sender_live);
    assert_int_equal(mic->codecs[0].codec, CODEC_RED);
    assert_int_equal(mic->codecs[1].codec, CODEC_OPUS);
    assert_string_equal(mic->codecs[1].fmtp, "minptime=10;useinbandfec=1;usedtx=1");
    assert_int_equal(v->ext_recv.id[RTP_EXT_DEPENDENCY_DESCRIPTOR], 0); // VP8
    assert_true(v->ext_recv.id[RTP_EXT_MID] != 0 && v->ext_recv.id[RTP_EXT_RID] != 0);
    assert_true(v->ext_recv.id[RTP_EXT_RRID] != 0 && v->ext_recv.id[RTP_EXT_TRANSPORT_CC] != 0);
    assert_true(v->ext_recv.id[RTP_EXT_VIDEO_LAYERS_ALLOCATION] != 0);
    // a publication is never used for a subscription
    assert_int_equal(jsep_count_free(s, JSEP_VIDEO), 3);

    jsep_transceiver_clear_sender(cam);
    exchange(c, s);
    assert_int_equal(v->direction, SDP_INACTIVE);
    assert_null(v->remote);
    assert_int_equal(a->direction, SDP_RECVONLY);
    assert_int_equal(jsep_count_free(s, JSEP_VIDEO), 3);
    // publishing again reuses the client's section
    assert_ptr_equal(publish(c, JSEP_VIDEO, true), cam);
    exchange(c, s);
    assert_int_equal(v->direction, SDP_RECVONLY);
    assert_int_equal(v->remote->rid_count, 3);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_v1_puts_the_tracks_codec_first(void **state)
{
    (void)state;
    static const uint8_t codecs[] = {CODEC_VP8, CODEC_VP9, CODEC_H264, CODEC_AV1};
    for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
        struct jsep *const c = client();
        struct jsep *const s = server_v1();
        struct jsep_transceiver *t;
        assert_int_equal(jsep_add_sender_section(c, JSEP_VIDEO, &t), 0);
        struct jsep_sender const sender = {.stream_id = "-",
                                           .track_id = "cid",
                                           .cname = "cn",
                                           .ssrc = 5,
                                           .rtx_ssrc = 6,
                                           .svc = true};
        assert_int_equal(jsep_transceiver_set_sender(t, &sender), 0);
        offer(c, s, NULL);
        struct jsep_transceiver *const p = peer_of(s, t);
        assert_string_equal(p->remote->stream_id, "");
        jsep_transceiver_set_receiver(
            p, &(struct jsep_receiver){.accept = true, .preferred = codecs[i]});
        answer(s, c, NULL);
        assert_int_equal(t->codecs[0].codec, codecs[i]);
        assert_true(t->codec_count > 3);
        bool const dd = codecs[i] == CODEC_VP9 || codecs[i] == CODEC_AV1;
        assert_int_equal(p->ext_recv.id[RTP_EXT_DEPENDENCY_DESCRIPTOR] != 0, dd);
        jsep_free(c);
        jsep_free(s);
    }
}

static void jsep_firefox_on_linux_gets_only_the_preferred_codec(void **state)
{
    (void)state;
    struct jsep *const c = client();
    struct jsep *const s = engine(
        &(struct jsep_config){.single_pc = true, .only_preferred_video = true, .no_red = true});
    struct jsep_transceiver *const cam = publish(c, JSEP_VIDEO, true);
    struct jsep_transceiver *const mic = publish(c, JSEP_AUDIO, false);
    offer(c, s, NULL);
    jsep_transceiver_set_receiver(peer_of(s, cam),
                                  &(struct jsep_receiver){.accept = true, .preferred = CODEC_VP9});
    jsep_transceiver_set_receiver(peer_of(s, mic),
                                  &(struct jsep_receiver){.accept = true, .red = true});
    answer(s, c, NULL);
    assert_int_equal(cam->codec_count, 2); // both profiles
    assert_int_equal(cam->codecs[0].codec, CODEC_VP9);
    assert_true(cam->codecs[0].rtx_pt != 0);
    assert_int_equal(mic->codecs[0].codec, CODEC_OPUS);
    assert_null(jsep_codec_find(mic, CODEC_RED));
    jsep_free(c);
    jsep_free(s);
}

static void jsep_v1_ten_subscriptions_then_unsubscribe_and_reuse(void **state)
{
    (void)state;
    struct jsep *const c = client();
    struct jsep *const s = server_v1();
    add_placeholders(c);
    exchange(c, s);
    for (int i = 0; i < 2; i++) { // media_sections_requirement {2, 2}
        struct jsep_transceiver *t;
        assert_int_equal(jsep_add_receiver_section(c, JSEP_AUDIO, &t), 0);
        assert_int_equal(jsep_add_receiver_section(c, JSEP_VIDEO, &t), 0);
    }
    offer(c, s, NULL);
    for (unsigned n = 0; n < 5; n++) {
        send_track(jsep_find_free(s, JSEP_AUDIO), n);
        send_track(jsep_find_free(s, JSEP_VIDEO), 10 + n);
    }
    assert_null(jsep_find_free(s, JSEP_AUDIO));
    assert_null(jsep_find_free(s, JSEP_VIDEO));
    answer(s, c, NULL);
    size_t sending = 0;
    size_t pos = 0;
    while (jsep_next_sending(s, &pos) != NULL) {
        sending++;
    }
    assert_int_equal(sending, 10);

    struct jsep_transceiver *const t = jsep_at(s, 4);
    assert_int_equal(t->kind, JSEP_VIDEO);
    jsep_transceiver_clear_sender(t);
    assert_false(t->sender_live);
    // not before the client was told
    assert_null(jsep_find_free(s, JSEP_VIDEO));
    assert_int_equal(jsep_count_freeing(s, JSEP_VIDEO), 1);
    assert_int_equal(jsep_count_freeing(s, JSEP_AUDIO), 0);
    exchange(c, s);
    assert_int_equal(jsep_count_freeing(s, JSEP_VIDEO), 0);
    assert_int_equal(jsep_count_free(s, JSEP_VIDEO), 1);
    assert_int_equal(t->direction, SDP_INACTIVE);
    assert_int_equal(peer_of(c, t)->direction, SDP_INACTIVE);
    assert_null(peer_of(c, t)->remote);
    assert_ptr_equal(jsep_find_free(s, JSEP_VIDEO), t);
    send_track(t, 99);
    exchange(c, s);
    assert_true(t->sender_live);
    assert_int_equal(peer_of(c, t)->remote->ssrcs[0].ssrc, 1099);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_restarts_ice_and_keeps_the_dtls_role(void **state)
{
    (void)state;
    struct jsep *const c = client();
    struct jsep *const s = server_v1();
    add_placeholders(c);
    exchange(c, s);
    assert_int_equal(jsep_set_local_ice(c, "cli2", PWD "x"), 0);
    struct jsep_applied applied = {0};
    offer(c, s, &applied);
    assert_true(applied.ice_restart);
    assert_false(applied.first || applied.new_fingerprint || applied.new_sections);
    assert_string_equal(jsep_remote(s)->ice_ufrag, "cli2");
    assert_int_equal(jsep_set_local_ice(s, "srv2", PWD), 0);
    answer(s, c, &applied);
    assert_true(applied.ice_restart);
    assert_string_equal(jsep_remote(c)->ice_ufrag, "srv2");
    assert_int_equal(jsep_dtls_role(s), JSEP_DTLS_CLIENT);
    assert_int_equal(jsep_dtls_role(c), JSEP_DTLS_SERVER);
    offer(c, s, &applied);
    assert_false(applied.ice_restart);
    answer(s, c, &applied);
    assert_false(applied.ice_restart);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_refuses_a_publication_the_owner_refuses(void **state)
{
    (void)state;
    struct jsep *const c = client();
    struct jsep *const s = server_v1();
    struct jsep_transceiver *const mic = publish(c, JSEP_AUDIO, false);
    offer(c, s, NULL);
    jsep_transceiver_set_receiver(peer_of(s, mic), &(struct jsep_receiver){.accept = false});
    answer(s, c, NULL);
    assert_int_equal(mic->direction, SDP_INACTIVE);
    assert_false(mic->sender_live || mic->stopped);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_writes_stereo_and_dtx_once(void **state)
{
    (void)state;
    struct jsep *const c = client();
    struct jsep *const s = server_v1();
    struct jsep_transceiver *const mic = publish(c, JSEP_AUDIO, false);
    offer(c, s, NULL);
    struct jsep_transceiver *const a = peer_of(s, mic);
    jsep_transceiver_set_receiver(
        a, &(struct jsep_receiver){.accept = true, .stereo = true, .dtx = true});
    answer(s, c, NULL);
    assert_int_equal(mic->codecs[0].codec, CODEC_OPUS); // RED behind it
    assert_string_equal(mic->codecs[0].fmtp,
                        "minptime=10;useinbandfec=1;usedtx=1;stereo=1;maxaveragebitrate=510000");
    struct dynbuf b;
    dynbuf_init(&b, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_offer(c, &b), 0);
    // as livekit-client munges its audio sections
    char *const text = strdup(dynbuf_cstr(&b));
    char *const at = strstr(text, "minptime=10;useinbandfec=1");
    memcpy(at, "stereo=1;usedtx=1;x=1     ", 26);
    assert_int_equal(jsep_set_remote_offer(s, bytes_str(text), NULL), 0);
    jsep_transceiver_set_receiver(a, &(struct jsep_receiver){.accept = true});
    dynbuf_reset(&b);
    assert_int_equal(jsep_create_answer(s, &b), 0);
    assert_string_equal(a->codecs[0].fmtp, "x=1");
    free(text);
    dynbuf_done(&b);
    jsep_free(c);
    jsep_free(s);
}

// ---- v0 -------------------------------------------------------------------------------------

static void jsep_v0_subscriber_ten_tracks_unsubscribe_and_reuse(void **state)
{
    (void)state;
    struct jsep *const s = server_v0();
    struct jsep *const c = client();
    assert_int_equal(jsep_add_data_section(s), 0);
    exchange(s, c);
    assert_int_equal(jsep_dtls_role(s), JSEP_DTLS_CLIENT); // offered active
    assert_int_equal(jsep_dtls_role(c), JSEP_DTLS_SERVER);
    assert_true(jsep_remote(c)->has_data);
    struct jsep_transceiver *t[10];
    for (unsigned n = 0; n < 10; n++) {
        assert_int_equal(jsep_add_sender_section(s, n % 2 == 0 ? JSEP_AUDIO : JSEP_VIDEO, &t[n]),
                         0);
        send_track(t[n], n);
    }
    offer(s, c, NULL);
    size_t pos = 0;
    assert_ptr_equal(jsep_next_sending(s, &pos), t[0]);
    assert_false(t[0]->sender_live); // not before the answer
    answer(c, s, NULL);
    for (unsigned n = 0; n < 10; n++) {
        assert_true(t[n]->sender_live);
        assert_int_equal(t[n]->direction, SDP_SENDONLY);
        const struct jsep_transceiver *const p = peer_of(c, t[n]);
        assert_int_equal(p->direction, SDP_RECVONLY);
        assert_int_equal(p->remote->ssrcs[0].ssrc, 1000 + n);
        assert_int_equal(p->codecs[0].pt, t[n]->codecs[0].pt);
        assert_memory_equal(&p->ext_recv, &t[n]->ext_send, sizeof(p->ext_recv));
    }
    assert_true(t[1]->ext_send.id[RTP_EXT_TRANSPORT_CC] != 0);
    assert_true(t[1]->ext_send.id[RTP_EXT_DEPENDENCY_DESCRIPTOR] != 0);
    assert_string_equal(t[0]->mid, "1");
    struct rtp_ext_map const before = t[1]->ext_send;

    jsep_transceiver_clear_sender(t[1]);
    assert_int_equal(jsep_count_freeing(s, JSEP_VIDEO), 1);
    assert_int_equal(jsep_count_reusable(s, JSEP_VIDEO), 0);
    struct jsep_transceiver *other;
    assert_int_equal(jsep_add_sender_section(s, JSEP_VIDEO, &other), 0);
    assert_ptr_not_equal(other, t[1]); // still described
    send_track(other, 20);
    exchange(s, c);
    assert_int_equal(t[1]->direction, SDP_INACTIVE);
    assert_null(peer_of(c, t[1])->remote);
    assert_int_equal(jsep_count_freeing(s, JSEP_VIDEO), 0);
    assert_int_equal(jsep_count_reusable(s, JSEP_VIDEO), 1);
    assert_int_equal(jsep_add_sender_section(s, JSEP_VIDEO, &other), 0);
    assert_ptr_equal(other, t[1]);
    send_track(other, 21);
    exchange(s, c);
    assert_true(t[1]->sender_live);
    assert_int_equal(peer_of(c, t[1])->remote->ssrcs[0].ssrc, 1021);
    assert_memory_equal(&before, &t[1]->ext_send, sizeof(before));
    assert_int_equal(jsep_count(s), 12);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_v0_safari_gets_a_new_section_each_time(void **state)
{
    (void)state;
    struct jsep *const s = engine(&(struct jsep_config){.no_reuse = true});
    struct jsep *const c = client();
    struct jsep_transceiver *a;
    struct jsep_transceiver *b;
    assert_int_equal(jsep_add_sender_section(s, JSEP_VIDEO, &a), 0);
    send_track(a, 1);
    exchange(s, c);
    jsep_transceiver_clear_sender(a);
    exchange(s, c);
    assert_int_equal(jsep_add_sender_section(s, JSEP_VIDEO, &b), 0);
    assert_ptr_not_equal(a, b);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_v0_restarts_ice_by_offer_and_forgets_an_unanswered_one(void **state)
{
    (void)state;
    struct jsep *const s = server_v0();
    struct jsep *const c = client();
    assert_int_equal(jsep_add_data_section(s), 0);
    exchange(s, c);
    struct jsep_transceiver *t;
    assert_int_equal(jsep_add_sender_section(s, JSEP_AUDIO, &t), 0);
    send_track(t, 1);
    struct dynbuf lost;
    dynbuf_init(&lost, JSEP_MAX_TEXT);
    assert_int_equal(jsep_create_offer(s, &lost), 0);
    dynbuf_done(&lost);
    assert_int_equal(jsep_state(s), JSEP_HAVE_LOCAL_OFFER);
    jsep_transceiver_clear_sender(t);
    struct jsep_transceiver *other;
    assert_int_equal(jsep_add_sender_section(s, JSEP_AUDIO, &other), 0);
    assert_ptr_not_equal(other, t); // the client may know the first track
    send_track(other, 2);
    assert_int_equal(jsep_set_local_ice(s, "srv2", PWD), 0);
    struct jsep_applied applied;
    offer(s, c, &applied);
    assert_true(applied.ice_restart);
    assert_int_equal(jsep_set_local_ice(c, "cli2", PWD), 0);
    answer(c, s, &applied);
    assert_true(applied.ice_restart);
    assert_true(other->sender_live);
    assert_int_equal(t->direction, SDP_INACTIVE);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_v0_sender_changed_while_an_offer_is_out_is_not_live(void **state)
{
    (void)state;
    struct jsep *const s = server_v0();
    struct jsep *const c = client();
    struct jsep_transceiver *t;
    assert_int_equal(jsep_add_sender_section(s, JSEP_VIDEO, &t), 0);
    send_track(t, 1);
    offer(s, c, NULL);
    send_track(t, 2); // another one
    answer(c, s, NULL);
    assert_false(t->sender_live);
    assert_true(jsep_needs_negotiation(s));
    exchange(s, c);
    assert_true(t->sender_live);
    assert_int_equal(peer_of(c, t)->remote->ssrcs[0].ssrc, 1002);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_v0_publisher_is_answered_without_remb(void **state)
{
    (void)state;
    struct jsep *const s = server_v0();
    struct jsep *const c = client();
    assert_int_equal(jsep_add_data_section(c), 0);
    struct jsep_transceiver *const cam = publish(c, JSEP_VIDEO, false);
    offer(c, s, NULL);
    jsep_transceiver_set_receiver(peer_of(s, cam),
                                  &(struct jsep_receiver){.accept = true, .preferred = CODEC_VP8});
    answer(s, c, NULL);
    assert_int_equal(cam->codecs[0].fb,
                     SDP_FB_NACK | SDP_FB_PLI | SDP_FB_FIR | SDP_FB_TRANSPORT_CC);
    assert_int_equal(cam->ext_send.id[RTP_EXT_ABS_SEND_TIME], 0);
    assert_true(cam->ext_send.id[RTP_EXT_TRANSPORT_CC] != 0);
    assert_int_equal(peer_of(s, cam)->remote->ssrcs[0].rtx_ssrc, 78);
    jsep_free(c);
    jsep_free(s);
}

static void jsep_offers_keep_to_the_enabled_codecs(void **state)
{
    (void)state;
    uint32_t const codecs = 1u << CODEC_OPUS | 1u << CODEC_VP8 | 1u << CODEC_H264;
    struct jsep *const s = engine(&(struct jsep_config){.codecs = codecs});
    struct jsep *const c = client();
    struct jsep_transceiver *v;
    struct jsep_transceiver *a;
    assert_int_equal(jsep_add_sender_section(s, JSEP_VIDEO, &v), 0);
    assert_int_equal(jsep_add_sender_section(s, JSEP_AUDIO, &a), 0);
    send_track(v, 1);
    send_track(a, 2);
    exchange(s, c);
    assert_int_equal(v->codec_count, 5); // VP8 and four of H264
    assert_int_equal(a->codec_count, 1);
    assert_int_equal(a->codecs[0].fb, SDP_FB_NACK); // no RED: retransmission is offered
    assert_null(jsep_codec_find(v, CODEC_AV1));
    jsep_free(c);
    jsep_free(s);
}

static void jsep_matches_codecs_by_profile(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    struct jsep *const c = client();
    struct jsep_transceiver *t;
    assert_int_equal(jsep_add_receiver_section(c, JSEP_VIDEO, &t), 0);
    exchange(c, s);
    const struct jsep_transceiver *const v = peer_of(s, t);
    struct jsep_codec like = {.codec = CODEC_VP9, .profile = 1};
    assert_int_equal(jsep_codec_match(v, &like)->pt, 35);
    like.profile = 2;
    assert_null(jsep_codec_match(v, &like));
    like = (struct jsep_codec){
        .codec = CODEC_H264, .profile = JSEP_H264_CONSTRAINED_BASELINE, .packetization_mode = 0};
    assert_int_equal(jsep_codec_match(v, &like)->pt, 114);
    like.packetization_mode = 1;
    like.profile = JSEP_H264_BASELINE;
    assert_int_equal(jsep_codec_match(v, &like)->pt, 102);
    like.profile = JSEP_H264_HIGH;
    assert_null(jsep_codec_match(v, &like));
    like = (struct jsep_codec){.codec = CODEC_H265};
    assert_null(jsep_codec_match(v, &like));
    jsep_free(c);
    jsep_free(s);
}

static void jsep_carries_five_hundred_subscriptions(void **state)
{
    (void)state;
    struct jsep *const s = server_v1();
    struct jsep *const c = client();
    for (unsigned n = 0; n < 500; n++) {
        struct jsep_transceiver *t;
        assert_int_equal(jsep_add_receiver_section(c, n % 2 == 0 ? JSEP_AUDIO : JSEP_VIDEO, &t), 0);
    }
    assert_int_equal(jsep_add_data_section(c), 0);
    offer(c, s, NULL);
    for (unsigned n = 0; n < 250; n++) {
        send_track(jsep_find_free(s, JSEP_AUDIO), n);
        send_track(jsep_find_free(s, JSEP_VIDEO), 250 + n);
    }
    answer(s, c, NULL);
    assert_int_equal(jsep_count(s), 501);
    for (size_t i = 0; i < 500; i++) {
        assert_true(jsep_at(s, i)->sender_live);
        assert_non_null(peer_of(c, jsep_at(s, i))->remote);
        // all sections of a kind share one codec list
        assert_ptr_equal(jsep_at(s, i)->codecs, jsep_at(s, i % 2)->codecs);
    }
    jsep_free(c);
    jsep_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsep_v1_first_answer_carries_existing_tracks),
        cmocka_unit_test(jsep_v1_both_sides_agree_on_codecs_and_extensions),
        cmocka_unit_test(jsep_v1_publishes_audio_and_simulcast_video),
        cmocka_unit_test(jsep_v1_puts_the_tracks_codec_first),
        cmocka_unit_test(jsep_firefox_on_linux_gets_only_the_preferred_codec),
        cmocka_unit_test(jsep_v1_ten_subscriptions_then_unsubscribe_and_reuse),
        cmocka_unit_test(jsep_restarts_ice_and_keeps_the_dtls_role),
        cmocka_unit_test(jsep_refuses_a_publication_the_owner_refuses),
        cmocka_unit_test(jsep_writes_stereo_and_dtx_once),
        cmocka_unit_test(jsep_v0_subscriber_ten_tracks_unsubscribe_and_reuse),
        cmocka_unit_test(jsep_v0_safari_gets_a_new_section_each_time),
        cmocka_unit_test(jsep_v0_restarts_ice_by_offer_and_forgets_an_unanswered_one),
        cmocka_unit_test(jsep_v0_sender_changed_while_an_offer_is_out_is_not_live),
        cmocka_unit_test(jsep_v0_publisher_is_answered_without_remb),
        cmocka_unit_test(jsep_offers_keep_to_the_enabled_codecs),
        cmocka_unit_test(jsep_matches_codecs_by_profile),
        cmocka_unit_test(jsep_carries_five_hundred_subscriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
