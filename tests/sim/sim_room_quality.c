// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: connection_quality audience active_speaker
//
// Who is told how good whose connection is and who speaks; and what nobody may be told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <time.h>

#include "sfu/media/quality_score.h"
#include "sfu/room/connection_quality.h"
#include "tests/support/room_sim.h"

enum {
    POOR = LIVEKIT__CONNECTION_QUALITY__POOR,
    GOOD = LIVEKIT__CONNECTION_QUALITY__GOOD,
    EXCELLENT = LIVEKIT__CONNECTION_QUALITY__EXCELLENT,
    LOST = LIVEKIT__CONNECTION_QUALITY__LOST,
};

static struct room_client *a, *b, *c;

static const struct room_peer *seen(const struct room_client *viewer, const char *identity)
{
    const struct room_peer *const p = room_client_peer(viewer, identity);
    assert_non_null(p);
    return p;
}

static void assert_quality(const struct room_client *viewer, const char *identity, int quality)
{
    assert_true(seen(viewer, identity)->qualities > 0);
    assert_int_equal(seen(viewer, identity)->quality, quality);
}

// Both directions of a client's connections.
static void set_links(struct room_client *x, const struct vnet_link *up,
                      const struct vnet_link *down)
{
    struct room_pc *const pcs[2] = {x->publisher, x->subscriber};
    for (size_t i = 0; i < 2; i++) {
        if (pcs[i] != NULL) {
            vnet_set_link(h.net, &pcs[i]->addr, NULL, up);
            vnet_set_link(h.net, NULL, &pcs[i]->addr, down);
        }
    }
}

static struct vnet_link lossy(uint32_t percent)
{
    return (struct vnet_link){.delay_us = 15000, .loss_ppm = percent * 10000};
}

// ---- quality --------------------------------------------------------------------------------

static void everybody_begins_excellent_and_only_changes_follow(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", true);
    c = room_client_join(
        &h, &(struct room_client_conf){.identity = "carol", .no_auto_subscribe = true});
    (void)room_client_publish(a, ROOM_AUDIO);
    run(S(7));
    assert_quality(a, "alice", EXCELLENT);
    assert_true(seen(a, "alice")->score > 4.4F);
    assert_quality(b, "bob", EXCELLENT);
    assert_quality(b, "alice", EXCELLENT);
    // Only whom one receives; and who has no media is excellent.
    assert_int_equal(seen(a, "bob")->qualities, 0);
    assert_quality(c, "carol", EXCELLENT);
    assert_int_equal(seen(c, "alice")->qualities, 0);
    run(S(30));
    assert_int_equal(a->quality_updates, 1);
    assert_int_equal(b->quality_updates, 1);
    assert_int_equal(c->quality_updates, 1);
    end();
}

static void loss_on_the_way_up_is_the_publishers(void **state)
{
    (void)state;
    (void)open_call(false, ROOM_VIDEO, &a, &b);
    run(S(12));
    struct vnet_link const bad = lossy(3);
    struct vnet_link const worse = lossy(9);
    set_links(a, &bad, &clean_link);
    run(S(20));
    assert_quality(a, "alice", GOOD);
    assert_quality(b, "alice", GOOD);
    // What never came in is not bob's loss.
    assert_quality(b, "bob", EXCELLENT);
    set_links(a, &worse, &clean_link);
    run(S(20));
    assert_quality(b, "alice", POOR);
    assert_quality(b, "bob", EXCELLENT);
    set_links(a, &clean_link, &clean_link);
    run(S(25));
    assert_quality(a, "alice", EXCELLENT);
    assert_quality(b, "alice", EXCELLENT);
    end();
}

static void loss_on_the_way_down_is_the_subscribers(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        (void)open_call(v0 != 0, ROOM_VIDEO, &a, &b);
        run(S(12));
        struct vnet_link const bad = lossy(4);
        set_links(b, &clean_link, &bad);
        run(S(25));
        assert_quality(b, "bob", GOOD);
        assert_quality(b, "alice", EXCELLENT);
        assert_quality(a, "alice", EXCELLENT);
        set_links(b, &clean_link, &clean_link);
        run(S(25));
        assert_quality(b, "bob", EXCELLENT);
        end();
    }
}

static void mute_is_excellent(void **state)
{
    (void)state;
    struct room_sender *const s = open_call(false, ROOM_AUDIO, &a, &b);
    run(S(8));
    room_client_mute(a, s, true);
    run(S(30));
    assert_quality(b, "alice", EXCELLENT);
    room_client_mute(a, s, false);
    run(S(20));
    assert_quality(b, "alice", EXCELLENT);
    assert_int_equal(a->quality_updates, 1);
    end();
}

// The socket lives, the media does not: LOST before ICE gives up, told to both, and back after.
static void a_dead_path_is_lost_and_comes_back(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    struct room_client *const old = room_client_join(
        &h, &(struct room_client_conf){.identity = "old", .v0 = true, .protocol = 9});
    (void)room_client_publish(a, ROOM_AUDIO);
    run(S(12));
    struct vnet_link const dead = {.down = true};
    set_links(a, &dead, &dead);
    int64_t ms = 0;
    while (seen(b, "alice")->quality != LOST && ms < 15000) {
        run(MS(100));
        ms += 100;
    }
    assert_quality(b, "alice", LOST);
    assert_true(seen(b, "alice")->score < 1.26F);
    assert_quality(a, "alice", LOST);
    assert_quality(old, "alice", POOR);
    printf("dead path: LOST after %lld ms\n", (long long)ms);
    assert_true(ms >= 7000 && ms <= 13000);
    set_links(a, &clean_link, &clean_link);
    run(S(25));
    assert_quality(a, "alice", EXCELLENT);
    assert_quality(b, "alice", EXCELLENT);
    end();
}

// A client whose microphone gives nothing is not lost: its transport lives.
static void a_silent_microphone_is_poor_not_lost(void **state)
{
    (void)state;
    struct room_sender *const s = open_call(false, ROOM_AUDIO, &a, &b);
    run(S(8));
    s->muted = true; // without telling the server
    run(S(60));
    assert_quality(a, "alice", POOR);
    assert_quality(b, "alice", POOR);
    s->muted = false;
    run(S(20));
    assert_quality(a, "alice", EXCELLENT);
    end();
}

static void video_that_nobody_watches_may_stop(void **state)
{
    (void)state;
    struct room_sender *const s = open_call(false, ROOM_VIDEO, &a, &b);
    run(S(8));
    room_client_settings(b, s->sid, true, 0, 0, 0);
    run(S(6));
    s->muted = true; // as dynacast makes it
    run(S(30));
    assert_int_equal(a->quality_updates, 1);
    assert_int_equal(b->quality_updates, 1);
    end();
}

static void a_missing_layer_is_good(void **state)
{
    (void)state;
    struct room_sender *const s = open_call(false, ROOM_VIDEO_SIMULCAST, &a, &b);
    run(S(12));
    assert_quality(a, "alice", EXCELLENT);
    s->model.layers[2].active = false; // the encoder gives the layer up
    run(S(25));
    assert_quality(a, "alice", GOOD);
    assert_quality(b, "bob", EXCELLENT); // gets all there is
    end();
}

static void a_new_subscriber_is_told_once(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = room_client_join(&h,
                         &(struct room_client_conf){.identity = "bob", .no_auto_subscribe = true});
    struct room_sender *const audio = room_client_publish(a, ROOM_AUDIO);
    struct room_sender *const video = room_client_publish(a, ROOM_VIDEO);
    audio->level = 10;
    run(S(12));
    assert_int_equal(seen(b, "alice")->qualities, 0);
    assert_false(seen(b, "alice")->speaking);
    room_client_subscribe(b, video->sid, true);
    run(S(1));
    assert_int_equal(seen(b, "alice")->qualities, 1);
    assert_true(seen(b, "alice")->speaking);
    assert_int_equal(b->speakers, 1);
    room_client_subscribe(b, audio->sid, true);
    run(S(1));
    assert_int_equal(seen(b, "alice")->qualities, 1);
    assert_int_equal(b->speakers, 1);
    // The last one ends: alice falls silent for bob.
    room_client_subscribe(b, video->sid, false);
    run(S(1));
    assert_true(seen(b, "alice")->speaking);
    room_client_subscribe(b, audio->sid, false);
    run(S(1));
    assert_false(seen(b, "alice")->speaking);
    assert_true(seen(a, "alice")->speaking);
    end();
}

// ---- speakers -------------------------------------------------------------------------------

static void a_muted_speaker_stops(void **state)
{
    (void)state;
    struct room_sender *const s = open_call(false, ROOM_AUDIO, &a, &b);
    s->level = 10;
    run(S(4));
    assert_true(seen(b, "alice")->speaking);
    assert_true(seen(b, "alice")->level > 0.3F);
    room_client_mute(a, s, true);
    run(MS(600));
    assert_false(seen(b, "alice")->speaking);
    assert_false(seen(a, "alice")->speaking);
    room_client_mute(a, s, false);
    run(S(2));
    assert_true(seen(b, "alice")->speaking);
    room_client_unpublish(a, s);
    run(S(1));
    assert_false(seen(b, "alice")->speaking);
    assert_false(seen(a, "alice")->speaking);
    end();
}

// More of them than a message holds.
static void many_may_speak_at_once(void **state)
{
    (void)state;
    begin();
    struct room_client *v[8];
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        char identity[16];
        (void)snprintf(identity, sizeof(identity), "speaker %zu", i);
        v[i] = join_as(identity, i % 2 != 0);
        room_client_publish(v[i], ROOM_AUDIO)->level = (uint8_t)(10 + i);
    }
    run(S(8));
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        for (size_t k = 0; k < ARRAY_LEN(v); k++) {
            assert_true(seen(v[i], v[k]->identity)->speaking);
            assert_quality(v[i], v[k]->identity, EXCELLENT);
        }
        assert_true(v[i]->quality_updates <= 2 + ARRAY_LEN(v));
    }
    end();
}

// What changed while the socket was gone comes with the resume.
static void a_resumed_client_is_told_what_it_missed(void **state)
{
    (void)state;
    struct room_sender *const s = open_call(false, ROOM_AUDIO, &a, &b);
    s->level = 10;
    run(S(8));
    assert_true(seen(b, "alice")->speaking);
    room_client_drop_socket(b);
    s->level = 127;
    run(S(4));
    assert_true(seen(b, "alice")->speaking);
    unsigned const told = seen(b, "alice")->qualities;
    room_client_resume(b);
    run(S(1));
    assert_false(seen(b, "alice")->speaking);
    assert_int_equal(seen(b, "alice")->qualities, told + 1);
    end();
}

// ---- cost -----------------------------------------------------------------------------------

#define IDLE 1000
#define TICKS 200

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct room *crowd(uint32_t n)
{
    struct room *r = NULL;
    assert_int_equal(room_new(&h.env, &(struct room_new_args){.name = "crowd"}, &r), 0);
    for (uint32_t i = 0; i < n; i++) {
        char identity[16];
        struct participant *p = NULL;
        (void)snprintf(identity, sizeof(identity), "idle %u", i);
        struct participant_new_args const args = {.identity = identity, .v1 = true};
        assert_int_equal(participant_new(r, &args, &p), 0);
        p->state = PARTICIPANT_ACTIVE;
    }
    return r;
}

// Measures everybody of the room, and returns in how many turns.
static unsigned measure_all(struct room *r)
{
    unsigned turns = 0;
    do {
        connection_quality_tick(r);
        h.env.now = mono_max(h.env.now, r->quality_next != NULL ? r->quality.at : h.env.now);
        turns++;
    } while (r->quality_next != NULL);
    return turns;
}

// So that packets do not wait for it. The rounds begin every five seconds all the same.
static void a_large_room_is_measured_in_parts(void **state)
{
    (void)state;
    begin();
    struct room *const r = crowd(3 * IDLE);
    mono_t const first = r->quality.at;
    h.env.now = first;
    assert_true(measure_all(r) >= 3 * IDLE / 64); // everybody is news: one message at a time
    assert_int_equal(r->quality.at.us, first.us + QUALITY_SCORE_INTERVAL_US);
    for (const struct participant *p = r->participants; p != NULL; p = p->hh.next) {
        assert_true(p->quality_known);
    }
    h.env.now = r->quality.at;
    assert_in_range(measure_all(r), 3, 4); // nothing is
    assert_int_equal(r->quality.at.us, first.us + 2 * QUALITY_SCORE_INTERVAL_US);
    // Who is next may leave meanwhile, and the last as well.
    h.env.now = r->quality.at;
    connection_quality_tick(r);
    struct participant *const next = r->quality_next;
    assert_non_null(next);
    struct participant *const after = next->hh.next;
    participant_close(next, DISCONNECT_CLIENT_INITIATED);
    assert_ptr_equal(r->quality_next, after);
    assert_in_range(measure_all(r), 2, 3);
    h.env.now = r->quality.at;
    connection_quality_tick(r);
    while (r->quality_next != NULL) {
        participant_close(r->quality_next, DISCONNECT_CLIENT_INITIATED);
    }
    connection_quality_tick(r);
    assert_true(r->quality.at.us >= h.env.now.us);
    end();
}

// People without media cost a look every five seconds.
static void a_thousand_idle_participants_cost_little(void **state)
{
    (void)state;
    begin();
    struct room *const r = crowd(IDLE);
    (void)measure_all(r); // everybody is told the first one
    double const before = seconds();
    for (int i = 0; i < TICKS; i++) {
        h.env.now = mono_add_us(h.env.now, QUALITY_SCORE_INTERVAL_US);
        (void)measure_all(r);
    }
    double const each = (seconds() - before) / TICKS;
    double const share = each / ((double)QUALITY_SCORE_INTERVAL_US / 1e6);
    printf("%d idle participants: %.0f us a tick, %.5f %% of a core\n", IDLE, each * 1e6,
           share * 100);
    assert_true(share < 0.003); // of 0.3 % for everything, with a wide margin for slow builds
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everybody_begins_excellent_and_only_changes_follow),
        TEST(loss_on_the_way_up_is_the_publishers),
        TEST(loss_on_the_way_down_is_the_subscribers),
        TEST(mute_is_excellent),
        TEST(a_dead_path_is_lost_and_comes_back),
        TEST(a_silent_microphone_is_poor_not_lost),
        TEST(video_that_nobody_watches_may_stop),
        TEST(a_missing_layer_is_good),
        TEST(a_new_subscriber_is_told_once),
        TEST(a_large_room_is_measured_in_parts),
        TEST(a_muted_speaker_stops),
        TEST(many_may_speak_at_once),
        TEST(a_resumed_client_is_told_what_it_missed),
        TEST(a_thousand_idle_participants_cost_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
