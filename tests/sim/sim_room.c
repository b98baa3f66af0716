// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: room_env pc_transport negotiation published_track track_media subscription router active_speaker
// COVERS: signal_post signal_send
//
// Media through a whole room layer: clients with real peer connections on a virtual network. Every
// message of every scenario is checked by tests/support/room_client_signal.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/media/down_track.h"
#include "sfu/room/published_track.h"
#include "tests/support/room_sim.h"

static void check_video(const struct room_client *c, const struct room_sender *s,
                        uint64_t min_decodable, struct model_verdict *ret)
{
    const struct room_stream *const st = room_client_stream(c, s->sid);
    assert_non_null(st);
    assert_false(st->audio);
    assert_true(st->srs > 0);
    model_subscriber_judge(&st->model, ret);
    assert_int_equal(st->model.corrupt, 0);
    assert_int_equal(ret->switch_without_key, 0);
    assert_int_equal(ret->ts_not_rising, 0);
    assert_int_equal(ret->picture_id_gaps, 0);
    assert_int_equal(ret->tl0_gaps, 0);
    assert_int_equal(ret->misplaced_markers, 0);
    assert_true(ret->decodable >= min_decodable);
}

static void check_audio(const struct room_client *c, const struct room_sender *s,
                        uint64_t min_packets)
{
    const struct room_stream *const st = room_client_stream(c, s->sid);
    assert_non_null(st);
    assert_true(st->audio);
    assert_int_equal(st->audio_bad, 0);
    assert_true(st->packets >= min_packets);
    assert_true(st->srs > 0);
}

// ---- a call ---------------------------------------------------------------------------------

static void call_both_ways(bool v0, const struct vnet_link *link, uint64_t seed, bool bad)
{
    begin_with(&(struct room_harness_conf){.seed = seed, .link = *link, .signal_us = 5000});
    struct room_client *const a = join_as("alice", v0);
    run(MS(500));
    struct room_client *const b = join_as("bob", v0);
    struct room_sender *const s[2][2] = {
        {room_client_publish(a, ROOM_AUDIO), room_client_publish(a, ROOM_VIDEO_SIMULCAST)},
        {room_client_publish(b, ROOM_AUDIO), room_client_publish(b, ROOM_VIDEO_SIMULCAST)},
    };
    run(S(12));
    struct room_client *const c[2] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        struct model_verdict v;
        struct room_client *const viewer = c[1 - i];
        assert_true(room_client_active(c[i]));
        check_audio(viewer, s[i][0], bad ? 450 : 490);
        check_video(viewer, s[i][1], bad ? 220 : 300, &v);
        if (!bad) {
            assert_int_equal(v.holes, 0);
            assert_int_equal(v.broken_frames, 0);
        }
        assert_true(v.by_layer[2] > v.by_layer[0]);
        assert_state(viewer, c[i]->identity, STATE_ACTIVE);
        assert_int_equal(c[i]->track_published, 2);
        assert_int_equal(c[i]->track_subscribed, 2);
        const struct room_peer *const p = room_client_peer(viewer, c[i]->identity);
        assert_true(p->publisher);
        assert_int_equal(p->track_count, 2);
        assert_int_equal(p->tracks[1].layers_with_ssrc, 3);
    }
    assert_int_equal(h.env.drops[ROOM_DROP_MALFORMED_RTP], 0);
    assert_int_equal(h.env.drops[ROOM_DROP_MALFORMED_RTCP], 0);
    assert_int_equal(h.env.drops[ROOM_DROP_BATCH_FULL], 0);
    end();
}

static void media_flows_both_ways(void **state)
{
    (void)state;
    call_both_ways(false, &clean_link, 1, false);
    call_both_ways(true, &clean_link, 2, false);
}

static void media_survives_bad_networks(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        call_both_ways(false, &bad_link, seed, true);
        call_both_ways(true, &bad_link, seed, true);
    }
}

static void old_and_new_clients_talk(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("old", true);
    struct room_client *const b = join_as("new", false);
    struct room_client *const c =
        room_client_join(&h, &(struct room_client_conf){.identity = "fox", .no_offer = true});
    struct room_sender *const s[3] = {room_client_publish(a, ROOM_VIDEO),
                                      room_client_publish(b, ROOM_VIDEO), NULL};
    run(S(1));
    struct room_sender *const last = room_client_publish(c, ROOM_VIDEO);
    run(S(4));
    assert_true(flow(b, s[0], S(1)) > 30);
    assert_true(flow(c, s[0], S(1)) > 30);
    assert_true(flow(a, s[1], S(1)) > 30);
    assert_true(flow(c, s[1], S(1)) > 30);
    assert_true(flow(a, last, S(1)) > 30);
    assert_true(flow(b, last, S(1)) > 30);
    end();
}

static void many_tracks_get_sections(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        begin();
        struct room_client *const a = join_as("alice", false);
        struct room_client *b = order == 0 ? join_as("bob", false) : NULL;
        run(S(1));
        struct room_sender *s[10];
        for (size_t i = 0; i < 10; i++) {
            s[i] = room_client_publish(a, i < 4 ? ROOM_AUDIO : ROOM_VIDEO);
        }
        run(S(2));
        b = b != NULL ? b : join_as("bob", false);
        run(S(3));
        // 3 + 3 sections were there: one of audio and three of video had to be asked for.
        assert_int_equal(b->required_audio, 1);
        assert_int_equal(b->required_video, 3);
        for (size_t i = 0; i < 10; i++) {
            assert_true(flow(b, s[i], MS(300)) > 5);
        }
        // And it ends: nothing goes on being asked for.
        unsigned const asked = b->requirements;
        unsigned const messages = b->messages;
        run(S(5));
        assert_int_equal(b->requirements, asked);
        assert_in_range(b->messages - messages, 0, 20);
        end();
    }
}

// ---- what subscribers say -------------------------------------------------------------------

static void subscriptions_come_and_go(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        struct room_client *const a = join_as("alice", false);
        struct room_client *const b = join_as("bob", v0 != 0);
        struct room_sender *const s = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
        run(S(2));
        assert_true(flow(b, s, S(1)) > 30);
        size_t sections = 0;
        for (int i = 0; i < 6; i++) {
            room_client_subscribe(b, s->sid, false);
            run(MS(300));
            assert_int_equal(flow(b, s, MS(500)), 0);
            room_client_subscribe(b, s->sid, true);
            run(MS(500));
            assert_true(flow(b, s, MS(500)) > 15);
            size_t const n = jsep_count((v0 != 0 ? b->subscriber : b->publisher)->jsep);
            assert_true(sections == 0 || n == sections); // reused
            sections = n;
        }
        assert_int_equal(h.env.subscriptions.count, 1);
        end();
    }
}

static void another_track_takes_a_freed_section(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    run(S(1));
    size_t const sections = jsep_count(b->publisher->jsep);
    for (int i = 0; i < 8; i++) {
        struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
        run(S(1));
        assert_true(flow(b, s, MS(500)) > 15);
        assert_true(room_client_peer(b, "alice")->track_count == 1);
        room_client_unpublish(a, s);
        run(S(1));
        assert_int_equal(room_client_peer(b, "alice")->track_count, 0);
        assert_int_equal(h.env.tracks.count, 0);
    }
    assert_int_equal(jsep_count(b->publisher->jsep), sections);
    end();
}

static void nothing_comes_that_was_not_asked_for(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = room_client_join(
        &h, &(struct room_client_conf){.identity = "bob", .no_auto_subscribe = true});
    struct room_client *const c =
        room_client_join(&h, &(struct room_client_conf){.identity = "deaf", .no_subscribe = true});
    struct room_sender *const v = room_client_publish(a, ROOM_VIDEO);
    struct room_sender *const u = room_client_publish(a, ROOM_AUDIO);
    run(S(2));
    assert_null(b->streams);
    room_client_subscribe(b, v->sid, true);
    room_client_subscribe(c, v->sid, true); // may not
    run(S(1));
    assert_true(flow(b, v, S(1)) > 30);
    assert_null(room_client_stream(b, u->sid));
    assert_null(c->streams);
    assert_true(room_client_active(c));
    end();
}

static void mute_stops_and_unmute_goes_on(void **state)
{
    (void)state;
    struct room_client *a;
    struct room_client *b;
    struct room_sender *const s = open_call(false, ROOM_VIDEO_SIMULCAST, &a, &b);
    struct room_sender *const u = room_client_publish(a, ROOM_AUDIO);
    run(S(3));
    for (int i = 0; i < 3; i++) {
        room_client_mute(a, s, true);
        room_client_mute(a, u, true);
        run(MS(200));
        assert_true(room_client_peer(b, "alice")->tracks[0].muted);
        assert_true(room_client_peer(a, "alice")->tracks[0].muted); // told to itself too
        assert_int_equal(flow(b, s, S(1)), 0);
        room_client_mute(a, s, false);
        room_client_mute(a, u, false);
        run(MS(200));
        assert_false(room_client_peer(b, "alice")->tracks[0].muted);
        assert_true(flow(b, s, S(1)) > 30);
    }
    struct model_verdict v;
    check_video(b, s, 150, &v);
    // Nobody but the publisher mutes.
    struct room_sender foreign = *s;
    room_client_mute(b, &foreign, true);
    run(MS(100));
    assert_int_equal(b->last_refusal, LIVEKIT__REQUEST_RESPONSE__REASON__NOT_FOUND);
    assert_false(room_client_peer(b, "alice")->tracks[0].muted);
    end();
}

static uint8_t layer_in_use(const struct room_client *c, const struct room_sender *s)
{
    const struct room_stream *const st = room_client_stream(c, s->sid);
    return st->model.packets[st->model.highest - st->model.first].layer;
}

static void settings_switch_layers_at_key_frames(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    struct room_client *const c = join_as("carol", true);
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    run(S(4));
    assert_int_equal(layer_in_use(b, s), 2);
    static const struct {
        int quality;
        uint32_t width, height;
        uint8_t layer;
    } steps[] = {{0, 0, 0, 0},     {1, 0, 0, 1},      {2, 0, 0, 2},
                 {2, 320, 180, 0}, {2, 1280, 720, 2}, {2, 640, 360, 1}};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        room_client_settings(b, s->sid, false, steps[i].quality, steps[i].width, steps[i].height);
        run(S(2));
        assert_int_equal(layer_in_use(b, s), steps[i].layer);
        assert_int_equal(layer_in_use(c, s), 2); // its own choice
    }
    room_client_settings(b, s->sid, true, 2, 0, 0);
    run(MS(200));
    assert_int_equal(flow(b, s, S(1)), 0);
    assert_true(flow(c, s, S(1)) > 30);
    room_client_settings(b, s->sid, false, 2, 0, 0);
    run(S(1));
    assert_true(flow(b, s, S(1)) > 30);
    struct model_verdict v;
    check_video(b, s, 300, &v);
    // Six steps and the return, and maybe one at the start.
    assert_in_range(v.switches, 7, 8);
    check_video(c, s, 300, &v);
    end();
}

static void adaptive_clients_start_low(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = room_client_join(
        &h, &(struct room_client_conf){.identity = "bob", .adaptive_stream = true});
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    run(S(4));
    assert_int_equal(layer_in_use(b, s), 0);
    room_client_settings(b, s->sid, false, 2, 1280, 720);
    run(S(2));
    assert_int_equal(layer_in_use(b, s), 2);
    end();
}

static void settings_may_come_before_the_track(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    run(S(1));
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    while (s->sid[0] == 0) {
        run(MS(1));
    }
    room_client_settings(b, s->sid, false, 0, 0, 0);
    run(S(3));
    assert_int_equal(layer_in_use(b, s), 0);
    end();
}

// ---- speakers -------------------------------------------------------------------------------

static void who_speaks_is_told(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    struct room_client *const c = room_client_join(
        &h, &(struct room_client_conf){.identity = "carol", .no_auto_subscribe = true});
    struct room_sender *const s = room_client_publish(a, ROOM_AUDIO);
    s->level = 127;
    run(S(3));
    assert_int_equal(b->speakers, 0);
    s->level = 15;
    run(S(2));
    assert_string_equal(b->speaker, a->sid);
    assert_true(b->speaker_active);
    assert_string_equal(a->speaker, a->sid); // itself too
    assert_int_equal(c->speakers, 0);        // hears nothing of it
    s->level = 127;
    run(S(4));
    assert_false(b->speaker_active);
    unsigned const told = b->speakers;
    run(S(4));
    assert_int_equal(b->speakers, told); // only changes
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(media_flows_both_ways),
        TEST(media_survives_bad_networks),
        TEST(old_and_new_clients_talk),
        TEST(many_tracks_get_sections),
        TEST(subscriptions_come_and_go),
        TEST(another_track_takes_a_freed_section),
        TEST(nothing_comes_that_was_not_asked_for),
        TEST(mute_stops_and_unmute_goes_on),
        TEST(settings_switch_layers_at_key_frames),
        TEST(adaptive_clients_start_low),
        TEST(settings_may_come_before_the_track),
        TEST(who_speaks_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
