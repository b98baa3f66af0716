// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: add_track backup_codec dynacast published_track track_media
// COVERS: subscription_codec
//
// Publishing: requests and sections in any order, ends, what publishers are told of their layers,
// and a second codec for those who cannot receive the first.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/media/down_track.h"
#include "sfu/room/participant_permission.h"
#include "sfu/room/published_track.h"
#include "sfu/room/subscription.h"
#include "tests/support/room_sim.h"

enum {
    QUEUED = LIVEKIT__REQUEST_RESPONSE__REASON__QUEUED,
    LIMIT = LIVEKIT__REQUEST_RESPONSE__REASON__LIMIT_EXCEEDED,
    NOT_FOUND = LIVEKIT__REQUEST_RESPONSE__REASON__NOT_FOUND,
    NOT_ALLOWED = LIVEKIT__REQUEST_RESPONSE__REASON__NOT_ALLOWED,
    UNSUPPORTED = LIVEKIT__REQUEST_RESPONSE__REASON__UNSUPPORTED_TYPE,
    SIMULCAST = LIVEKIT__BACKUP_CODEC_POLICY__SIMULCAST,
    REGRESSION = LIVEKIT__BACKUP_CODEC_POLICY__REGRESSION,
    PREFER_REGRESSION = LIVEKIT__BACKUP_CODEC_POLICY__PREFER_REGRESSION,
};

#define WITHOUT_H264 ((1u << CODEC_OPUS) | (1u << CODEC_VP8))

static struct room_client *a, *b, *c;

static struct room_client *join_with(const char *identity, bool v0, uint32_t codecs)
{
    return room_client_join(
        &h, &(struct room_client_conf){
                .identity = identity, .v0 = v0, .dynacast = true, .codecs = codecs});
}

static struct published_track *server_track(const struct room_sender *s)
{
    return room_track(room_find(&h.env, "room"), s->sid);
}

static const struct room_quality *quality(const struct room_sender *s, const char *codec)
{
    for (size_t i = 0; i < s->quality_count; i++) {
        if (strcmp(s->qualities[i].codec, codec) == 0) {
            return &s->qualities[i];
        }
    }
    fail_msg("nothing was said of %s", codec);
    return NULL;
}

// ---- requests and sections ------------------------------------------------------------------

static void sections_may_come_before_their_requests(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        a = join_as("alice", v0);
        b = join_as("bob", v0);
        run(S(1));
        // Two cameras, offered in this order and asked for in the other.
        struct room_sender *const x = room_client_publish_as(
            a, &(struct room_publish){.media = ROOM_VIDEO, .only_section = true});
        struct room_sender *const y = room_client_publish_as(
            a, &(struct room_publish){.media = ROOM_VIDEO, .only_section = true});
        run(S(1));
        assert_int_equal(a->track_published, 0);
        room_client_add_track(a, y);
        run(MS(500));
        room_client_add_track(a, x);
        run(S(1));
        assert_string_equal(server_track(x)->media[0].section->remote->track_id, x->cid);
        assert_string_equal(server_track(y)->media[0].section->remote->track_id, y->cid);
        assert_string_equal(server_track(x)->info.codecs[0].sdp_cid, "");
        assert_true(flow(b, x, S(1)) > 30);
        assert_true(flow(b, y, S(1)) > 30);
        end();
    }
}

// livekit-protocol 10.6, 29: the ids of Firefox' descriptions are not those of its requests.
static void other_ids_in_descriptions_are_found_by_kind(void **state)
{
    (void)state;
    begin();
    a = join_as("fox", false);
    b = join_as("bob", false);
    run(S(1));
    struct room_sender *const odd = room_client_publish_as(
        a, &(struct room_publish){
               .media = ROOM_VIDEO, .sdp_cid = "{another-id}", .only_section = true});
    struct room_sender *const plain = room_client_publish_as(
        a, &(struct room_publish){.media = ROOM_VIDEO, .only_section = true});
    run(S(1));
    // The first request must not be given to the section that the second one names.
    room_client_add_track(a, odd);
    room_client_add_track(a, plain);
    run(S(1));
    assert_string_equal(server_track(odd)->info.codecs[0].sdp_cid, "{another-id}");
    assert_string_equal(server_track(plain)->info.codecs[0].sdp_cid, "");
    assert_true(flow(b, odd, S(1)) > 30);
    assert_true(flow(b, plain, S(1)) > 30);
    end();
}

// livekit-protocol 4.5: unpublished and published again, faster than the server notices.
static void one_cid_waits_for_the_other(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        a = join_as("alice", v0);
        b = join_as("bob", v0);
        run(S(1));
        struct room_publish conf = {.media = ROOM_VIDEO_SIMULCAST, .cid = "camera"};
        struct room_sender *const first = room_client_publish_as(a, &conf);
        run(S(2));
        assert_true(flow(b, first, S(1)) > 30);
        char sid[24];
        (void)snprintf(sid, sizeof(sid), "%s", first->sid);
        conf.only_request = true;
        struct room_sender *const second = room_client_publish_as(a, &conf);
        run(MS(100));
        assert_int_equal(a->last_refusal, QUEUED);
        assert_int_equal(a->track_published, 1);
        first->cid[0] = 0;
        room_client_unpublish(a, first);
        room_client_add_section(a, second);
        run(S(2));
        assert_int_equal(a->track_published, 2);
        assert_string_not_equal(second->sid, sid);
        assert_null(room_track(room_find(&h.env, "room"), sid));
        assert_true(flow(b, second, S(1)) > 30);
        assert_int_equal(room_client_peer(b, "alice")->track_count, 1);
        end();
    }
}

// The right to publish the first is withdrawn: the second, of another source, takes its place.
static void one_that_waits_may_be_all_that_is_allowed(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    run(S(1));
    struct room_publish conf = {.media = ROOM_AUDIO, .cid = "track"};
    (void)room_client_publish_as(a, &conf);
    run(S(1));
    conf = (struct room_publish){.media = ROOM_VIDEO, .cid = "track", .only_request = true};
    (void)room_client_publish_as(a, &conf);
    run(MS(100));
    assert_int_equal(a->last_refusal, QUEUED);
    struct participant *const p = room_participant(room_find(&h.env, "room"), "alice");
    struct participant_permission perm = p->permission;
    perm.sources = 1u << TRACK_SOURCE_CAMERA;
    assert_true(participant_set_permission(p, &perm));
    run(S(1));
    assert_int_equal(p->track_count, 1);
    assert_int_equal(p->tracks->info.source, TRACK_SOURCE_CAMERA);
    assert_int_equal(room_client_peer(b, "alice")->track_count, 0);
    end();
}

static void no_more_than_three_wait(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    run(S(1));
    struct room_publish const conf = {.media = ROOM_AUDIO, .cid = "mic", .only_request = true};
    for (int i = 0; i < 4; i++) {
        (void)room_client_publish_as(a, &conf);
        run(MS(50));
    }
    assert_int_equal(a->track_published, 1);
    assert_int_equal(a->last_refusal, QUEUED);
    (void)room_client_publish_as(a, &conf);
    run(MS(50));
    assert_int_equal(a->last_refusal, LIMIT);
    // Who leaves forgets what waits; the harness would notice what is lost.
    room_client_leave(a);
    run(S(1));
    end();
}

static void refuse_one(const Livekit__AddTrackRequest *req, int reason)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    unsigned const before = a->track_published;
    a->last_refusal = -1;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_ADD_TRACK;
    r.add_track = (Livekit__AddTrackRequest *)(uintptr_t)req;
    room_client_request(a, &r);
    run(MS(100));
    assert_int_equal(a->last_refusal, reason);
    assert_int_equal(a->track_published, before);
}

// As recorded in 10-odd-requests.
static void refusals_have_reasons(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    run(S(1));
    Livekit__AddTrackRequest t = LIVEKIT__ADD_TRACK_REQUEST__INIT;
    LK_SET_STR(&t, cid, "x");
    LK_SET(&t, type, LIVEKIT__TRACK_TYPE__DATA);
    refuse_one(&t, UNSUPPORTED);
    LK_SET(&t, type, LIVEKIT__TRACK_TYPE__VIDEO);
    LK_SET_STR(&t, sid, "TR_VCnobody");
    refuse_one(&t, NOT_FOUND);
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
    run(S(1));
    LK_SET_STR(&t, sid, s->sid);
    refuse_one(&t, UNSUPPORTED); // no codec
    Livekit__SimulcastCodec sc = LIVEKIT__SIMULCAST_CODEC__INIT;
    LK_SET_STR(&sc, codec, "nope");
    t.simulcast_codecs = (Livekit__SimulcastCodec *[]){&sc};
    t.n_simulcast_codecs = 1;
    refuse_one(&t, UNSUPPORTED);
    server_side(a)->permission.sources = 1u << TRACK_SOURCE_MICROPHONE;
    LK_SET_STR(&t, sid, "");
    LK_SET(&t, source, LIVEKIT__TRACK_SOURCE__CAMERA);
    refuse_one(&t, NOT_ALLOWED);
    server_side(a)->permission.can_publish = false;
    LK_SET(&t, source, LIVEKIT__TRACK_SOURCE__MICROPHONE);
    refuse_one(&t, NOT_ALLOWED);
    end();
}

static void muted_tracks_appear_without_a_packet(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    run(S(1));
    struct room_sender *const s = room_client_publish_as(
        a, &(struct room_publish){.media = ROOM_VIDEO_SIMULCAST, .muted = true});
    run(S(2));
    const struct room_peer *const p = room_client_peer(b, "alice");
    assert_int_equal(p->track_count, 1);
    assert_true(p->tracks[0].muted);
    assert_int_equal(s->quality_updates, 0);
    room_client_mute(a, s, false);
    run(MS(100));
    assert_int_equal(s->quality_updates, 1);
    assert_true(flow(b, s, S(2)) > 30);
    end();
}

static void the_end_is_told_after_the_answer(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    run(S(1));
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
    run(S(2));
    room_client_unpublish(a, s);
    run(MS(100)); // answered
    assert_non_null(server_track(s));
    assert_int_equal(room_client_peer(b, "alice")->track_count, 1);
    run(MS(150));
    assert_null(server_track(s));
    assert_int_equal(room_client_peer(b, "alice")->track_count, 0);
    assert_int_equal(room_client_peer(a, "alice")->track_count, 0);
    end();
}

// ---- dynacast -------------------------------------------------------------------------------

static struct room_sender *begin_dynacast(void)
{
    begin();
    a = join_with("alice", false, 0);
    b = join_as("bob", false);
    run(S(1));
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    run(S(2));
    return s;
}

static void publishers_know_what_is_wanted(void **state)
{
    (void)state;
    struct room_sender *const s = begin_dynacast();
    // Somebody came: at once, all of it.
    assert_int_equal(s->quality_updates, 1);
    assert_string_equal(s->qualities[0].codec, "vp8");
    assert_int_equal(s->qualities[0].best, 2);
    // Less: five seconds after the first that is still pending.
    room_client_settings(b, s->sid, false, 0, 320, 180);
    run(S(3));
    room_client_settings(b, s->sid, true, 0, 320, 180);
    run(MS(1900));
    assert_int_equal(s->quality_updates, 1);
    run(MS(300));
    assert_int_equal(s->quality_updates, 2);
    assert_int_equal(s->qualities[0].best, -1);
    run(S(1));
    // More: at once.
    room_client_settings(b, s->sid, false, 0, 640, 360);
    run(MS(50));
    assert_int_equal(s->quality_updates, 3);
    assert_int_equal(s->qualities[0].best, 1);
    assert_true(flow(b, s, S(2)) > 30);
    // Back before the five seconds are over: nothing is told.
    room_client_settings(b, s->sid, false, 0, 320, 180);
    run(S(3));
    room_client_settings(b, s->sid, false, 0, 640, 360);
    run(S(10));
    assert_int_equal(s->quality_updates, 3);
    // The last one goes.
    room_client_leave(b);
    run(S(6));
    assert_int_equal(s->quality_updates, 4);
    assert_int_equal(s->qualities[0].best, -1);
    end();
}

static void nobody_came(void **state)
{
    (void)state;
    begin();
    a = join_with("alice", false, 0);
    run(S(1));
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    run(MS(9500));
    assert_int_equal(s->quality_updates, 0);
    run(S(2));
    assert_int_equal(s->quality_updates, 1);
    assert_int_equal(s->qualities[0].best, -1);
    // And then somebody.
    b = join_as("bob", false);
    run(S(3));
    assert_int_equal(s->quality_updates, 2);
    assert_int_equal(s->qualities[0].best, 2);
    assert_true(flow(b, s, S(1)) > 30);
    end();
}

static void nothing_is_told_of_muted_tracks(void **state)
{
    (void)state;
    struct room_sender *const s = begin_dynacast();
    assert_int_equal(s->quality_updates, 1);
    room_client_mute(a, s, true);
    run(MS(100));
    room_client_settings(b, s->sid, true, 0, 0, 0);
    run(S(8));
    assert_int_equal(s->quality_updates, 1);
    room_client_mute(a, s, false);
    run(MS(100));
    assert_int_equal(s->quality_updates, 2);
    assert_int_equal(s->qualities[0].best, -1);
    room_client_mute(a, s, true);
    run(MS(100));
    room_client_mute(a, s, false);
    run(MS(100));
    assert_int_equal(s->quality_updates, 3); // also if nothing changed
    end();
}

static void it_is_told_again_after_a_resume(void **state)
{
    (void)state;
    for (int missed = 0; missed < 2; missed++) {
        struct room_sender *const s = begin_dynacast();
        room_client_drop_socket(a);
        run(MS(500));
        if (missed != 0) {
            room_client_settings(b, s->sid, true, 0, 0, 0);
        }
        run(S(6));
        room_client_resume(a);
        run(S(1));
        assert_int_equal(s->quality_updates, 1 + missed); // what was lost, at once
        assert_int_equal(s->qualities[0].best, missed != 0 ? -1 : 2);
        run(S(8));
        assert_int_equal(s->quality_updates, 1 + missed);
        run(S(2));
        assert_int_equal(s->quality_updates, 2 + missed);
        end();
    }
}

// A layer that was switched off is there again when somebody asks for it.
static void a_layer_comes_back(void **state)
{
    (void)state;
    begin();
    a = join_with("alice", false, 0);
    b = room_client_join(&h,
                         &(struct room_client_conf){.identity = "bob", .adaptive_stream = true});
    run(S(1));
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    run(S(3));
    assert_int_equal(s->qualities[0].best, 0);
    room_client_settings(b, s->sid, false, 0, 1280, 720);
    run(S(3));
    assert_int_equal(s->qualities[0].best, 2);
    struct model_verdict v;
    model_subscriber_judge(&room_client_stream(b, s->sid)->model, &v);
    assert_true(v.by_layer[2] > 30);
    assert_int_equal(v.switch_without_key, 0);
    end();
}

// ---- a second codec -------------------------------------------------------------------------

static struct room_sender *publish_both(struct room_client *p, int policy)
{
    return room_client_publish_as(p, &(struct room_publish){.media = ROOM_VIDEO,
                                                            .codec = CODEC_H264,
                                                            .backup = CODEC_VP8,
                                                            .backup_policy = policy});
}

// Alice publishes in two codecs, and Carol cannot decode the first.
static struct room_sender *begin_both(int policy)
{
    begin();
    a = join_with("alice", false, 0);
    b = join_with("bob", false, 0);
    c = join_with("carol", false, WITHOUT_H264);
    run(S(1));
    struct room_sender *const s = publish_both(a, policy);
    run(S(4));
    return s;
}

static void check_second(const struct room_client *viewer, const struct room_sender *s)
{
    struct model_verdict v;
    const struct room_stream *const st = room_client_stream(viewer, s->sid);
    assert_non_null(st);
    model_subscriber_judge(&st->model, &v);
    assert_int_equal(st->model.corrupt, 0);
    assert_int_equal(v.switch_without_key, 0);
    assert_int_equal(v.ts_not_rising, 0);
    assert_true(v.decodable > 50);
}

// As recorded in 03-av1-backup-requested: one who cannot receive the primary codec makes the
// publisher send the backup, everybody gets that, and the primary one stops.
static void the_backup_replaces_the_primary(bool v0, uint64_t seed)
{
    begin_with(&(struct room_harness_conf){.seed = seed, .link = clean_link, .signal_us = 3000});
    a = join_with("alice", v0, 0);
    b = join_with("bob", v0, 0);
    run(S(1));
    struct room_sender *const s = publish_both(a, PREFER_REGRESSION);
    run(S(2));
    assert_int_equal(server_track(s)->media[0].output_count, 1);
    assert_int_equal(quality(s, "h264")->best, 2);
    assert_int_equal(s->quality_count, 1);
    assert_null(s->second);
    uint32_t const ssrc = room_client_stream(b, s->sid)->ssrc;
    c = join_with("carol", v0, WITHOUT_H264);
    run(S(4));
    assert_non_null(s->second);
    assert_string_equal(s->second->sid, s->sid);
    assert_int_equal(quality(s, "h264")->best, -1);
    assert_int_equal(quality(s, "vp8")->best, 2);
    const struct published_track *const t = server_track(s);
    assert_true(t->regressed);
    assert_int_equal(t->media[0].output_count, 0);
    assert_int_equal(t->media[1].output_count, 2);
    assert_string_equal(t->info.mime, "video/H264");
    assert_string_equal(t->info.codecs[1].mime, "video/VP8");
    assert_string_equal(t->info.codecs[1].layers[2].rid, "f");
    assert_true(t->info.codecs[1].layers[2].ssrc != 0);
    // Bob goes on under the same SSRC, without a negotiation.
    assert_int_equal(room_client_stream(b, s->sid)->ssrc, ssrc);
    run(S(4));
    check_second(b, s);
    check_second(c, s);
    assert_int_equal(c->subscription_errors, 0);
    assert_int_equal(a->track_published, 2);
    // Who comes now gets the backup at once.
    struct room_client *const d = join_with("dora", v0, 0);
    run(S(2));
    assert_int_equal(t->media[1].output_count, 3);
    assert_true(flow(d, s, S(1)) > 30);
    end();
}

static void regression(void **state)
{
    (void)state;
    the_backup_replaces_the_primary(false, 1);
    the_backup_replaces_the_primary(true, 2);
}

static void both_codecs_are_sent_by_policy(void **state)
{
    (void)state;
    struct room_sender *const s = begin_both(SIMULCAST);
    const struct published_track *const t = server_track(s);
    assert_non_null(s->second);
    assert_false(t->regressed);
    assert_int_equal(t->media[0].output_count, 1);
    assert_int_equal(t->media[1].output_count, 1);
    assert_int_equal(quality(s, "h264")->best, 2);
    assert_int_equal(quality(s, "vp8")->best, 2);
    run(S(2));
    check_second(c, s);
    // Nobody needs the backup any more.
    room_client_leave(c);
    run(S(6));
    assert_int_equal(quality(s, "h264")->best, 2);
    assert_int_equal(quality(s, "vp8")->best, -1);
    // A mute holds for both.
    room_client_mute(a, s, true);
    run(S(1));
    assert_true(t->info.muted);
    end();
}

static void large_rooms_do_not_prefer_regression(void **state)
{
    (void)state;
    for (int policy = 0; policy < 2; policy++) {
        begin();
        a = join_with("alice", false, 0);
        b = join_with("bob", false, 0);
        c = join_with("carol", false, WITHOUT_H264);
        (void)join_as("dora", false);
        (void)join_as("eric", false);
        run(S(1));
        struct room_sender *const s = publish_both(a, policy == 0 ? PREFER_REGRESSION : REGRESSION);
        run(S(4));
        assert_int_equal(server_track(s)->regressed, policy == 1);
        assert_int_equal(server_track(s)->media[0].output_count, policy == 0 ? 3 : 0);
        assert_int_equal(server_track(s)->media[1].output_count, policy == 0 ? 1 : 4);
        run(S(2));
        check_second(c, s);
        end();
    }
}

// The section of the backup falls silent: who can receive the primary goes back to it, the others
// wait anew.
static void the_backup_ends_first(void **state)
{
    (void)state;
    struct room_sender *const s = begin_both(PREFER_REGRESSION);
    struct published_track *const t = server_track(s);
    assert_int_equal(t->media[1].output_count, 2);
    room_client_unpublish(a, s->second);
    a->conf.dynacast = false; // it does not do so once more
    run(S(2));
    assert_ptr_equal(server_track(s), t);
    assert_false(t->regressed);
    assert_int_equal(t->media[0].output_count, 1);
    assert_int_equal(t->media[1].output_count, 0);
    assert_null(t->media[1].receiver);
    assert_int_equal(quality(s, "h264")->best, 2);
    assert_int_equal(quality(s, "vp8")->best, 2); // carol's wish
    room_client_unpublish(a, s);
    run(S(1));
    assert_null(server_track(s));
    end();
}

static void the_primary_ends_first(void **state)
{
    (void)state;
    struct room_sender *const s = begin_both(SIMULCAST);
    assert_int_equal(server_track(s)->media[0].output_count, 1);
    room_client_unpublish(a, s);
    run(S(3));
    assert_non_null(server_track(s));
    assert_int_equal(server_track(s)->media[1].output_count, 2);
    assert_true(flow(b, s, S(2)) > 30);
    assert_true(flow(c, s, S(1)) > 30);
    room_client_unpublish(a, s->second);
    run(S(1));
    assert_null(server_track(s));
    assert_int_equal(room_client_peer(b, "alice")->track_count, 0);
    end();
}

// Who does not say what it is gets the other codec in another stream (livekit-protocol 5.9).
static void some_clients_are_subscribed_anew(void **state)
{
    (void)state;
    begin();
    a = join_with("alice", false, 0);
    b = join_with("bob", false, 0);
    run(S(1));
    server_side(b)->client.sdk = LIVEKIT__CLIENT_INFO__SDK__GO;
    struct room_sender *const s = publish_both(a, REGRESSION);
    run(S(2));
    uint32_t const ssrc = room_client_stream(b, s->sid)->ssrc;
    c = join_with("carol", false, WITHOUT_H264);
    run(S(5));
    assert_int_equal(server_track(s)->media[1].output_count, 2);
    assert_int_not_equal(room_client_stream(b, s->sid)->ssrc, ssrc);
    check_second(b, s);
    end();
}

static void who_can_receive_neither_is_told(void **state)
{
    (void)state;
    begin();
    a = join_with("alice", false, 0);
    c = join_with("carol", false, (1u << CODEC_OPUS) | (1u << CODEC_VP9));
    run(S(1));
    struct room_sender *const s = publish_both(a, REGRESSION);
    run(S(4));
    assert_null(s->second);
    assert_int_equal(c->subscription_errors, 1);
    end();
}

// Frames may end with what only newer clients know: the others get them without, repetitions too.
static void packet_trailers_go_to_those_who_know_them(void **state)
{
    (void)state;
    begin_with(&(struct room_harness_conf){.seed = 5, .link = bad_link, .signal_us = 3000});
    a = join_with("alice", false, 0);
    b = join_with("bob", false, 0);
    c = room_client_join(&h,
                         &(struct room_client_conf){.identity = "carol", .knows_trailers = true});
    run(S(1));
    struct room_sender *const s = room_client_publish_as(
        a, &(struct room_publish){.media = ROOM_VIDEO_SIMULCAST, .trailers = true});
    struct room_sender *const plain = room_client_publish(a, ROOM_VIDEO);
    run(S(8));
    const struct room_stream *const without = room_client_stream(b, s->sid);
    const struct room_stream *const with = room_client_stream(c, s->sid);
    assert_true(without->packets > 300 && with->packets > 300);
    assert_true(with->trailers > 100);
    assert_int_equal(without->trailers, 0);
    assert_int_equal(without->model.corrupt, 0);
    assert_int_equal(room_client_stream(b, plain->sid)->model.corrupt, 0);
    assert_int_equal(room_client_stream(c, plain->sid)->trailers, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sections_may_come_before_their_requests),
        TEST(other_ids_in_descriptions_are_found_by_kind),
        TEST(one_cid_waits_for_the_other),
        TEST(one_that_waits_may_be_all_that_is_allowed),
        TEST(no_more_than_three_wait),
        TEST(refusals_have_reasons),
        TEST(muted_tracks_appear_without_a_packet),
        TEST(the_end_is_told_after_the_answer),
        TEST(publishers_know_what_is_wanted),
        TEST(nobody_came),
        TEST(nothing_is_told_of_muted_tracks),
        TEST(it_is_told_again_after_a_resume),
        TEST(a_layer_comes_back),
        TEST(regression),
        TEST(both_codecs_are_sent_by_policy),
        TEST(large_rooms_do_not_prefer_regression),
        TEST(the_backup_ends_first),
        TEST(the_primary_ends_first),
        TEST(some_clients_are_subscribed_anew),
        TEST(who_can_receive_neither_is_told),
        TEST(packet_trailers_go_to_those_who_know_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
