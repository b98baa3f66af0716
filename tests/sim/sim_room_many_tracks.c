// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: negotiation rtp_demux
//
// Hundreds of tracks in one session: everything reaches everybody, in a bounded number of rounds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/media/down_track.h"
#include "sfu/room/negotiation.h"
#include "sfu/room/published_track.h"
#include "sfu/room/subscription.h"
#include "tests/support/room_sim.h"

#define TRACKS 300
#define PUBLISHERS 10

struct rounds {
    unsigned v1_offers, v0_answers, requirements;
};

static struct rounds rounds_of(const struct room_client *v1, const struct room_client *v0)
{
    return (struct rounds){v1->publisher->offers, v0->subscriber->answers, v1->requirements};
}

// Tracks are muted once they are known, or the media would be all that this test does.
static void mute_all(struct room_sender *s[], size_t n, bool muted)
{
    for (size_t i = 0; i < n; i++) {
        s[i]->muted = muted;
    }
}

static uint32_t live(const struct room_client *c)
{
    uint32_t n = 0;
    for (struct subscription *s = server_side(c)->subscriptions; s != NULL; s = s->hh.next) {
        n += s->state == SUBSCRIPTION_LIVE;
    }
    return n;
}

static void check_flows(const struct room_client *c, struct room_sender *s[], size_t n)
{
    for (size_t i = 0; i < n; i += 37) {
        s[i]->muted = false;
        uint64_t const got = flow(c, s[i], S(1));
        if (got <= 8) {
            fail_msg("%s got %u packets of track %zu", c->identity, (unsigned)got, i);
        }
        s[i]->muted = true;
    }
}

static struct room_client *late(const char *identity, bool v0)
{
    struct room_client *const c = join_as(identity, v0);
    run(S(3));
    return c;
}

static void tracks_of_many_reach_everybody(void **state)
{
    (void)state;
    begin();
    struct room_client *p[PUBLISHERS];
    struct room_sender *s[TRACKS];
    for (size_t i = 0; i < PUBLISHERS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%zu", i);
        p[i] = room_client_join(
            &h, &(struct room_client_conf){.identity = name, .no_auto_subscribe = true});
    }
    struct room_client *const b = join_as("bob", false);
    struct room_client *const c = join_as("carol", true);
    run(S(1));
    struct rounds const before = rounds_of(b, c);
    for (size_t i = 0; i < TRACKS; i++) {
        s[i] = room_client_publish(p[i % PUBLISHERS], i % 3 == 0 ? ROOM_AUDIO : ROOM_VIDEO);
        s[i]->muted = true;
        s[i]->audio_sn = 1000; // no wrap before the first packet
        run(MS(10));
    }
    run(S(3));
    struct rounds const after = rounds_of(b, c);
    print_message("%u tracks in 3 s: %u offers of v1 (%u requirements), %u to v0\n", TRACKS,
                  after.v1_offers - before.v1_offers, after.requirements - before.requirements,
                  after.v0_answers - before.v0_answers);
    assert_int_equal(live(b), TRACKS);
    assert_int_equal(live(c), TRACKS);
    assert_in_range(after.v1_offers - before.v1_offers, 1, 48);
    assert_in_range(after.v0_answers - before.v0_answers, 1, 24);
    check_flows(b, s, TRACKS);
    check_flows(c, s, TRACKS);
    // Those who come later have all of it within seconds, in a handful of rounds.
    struct room_client *const d = late("dave", false);
    struct room_client *const e = late("erin", true);
    print_message("joining %u tracks: %u offers of v1, %u to v0\n", TRACKS, d->publisher->offers,
                  e->subscriber->answers);
    assert_int_equal(live(d), TRACKS);
    assert_int_equal(live(e), TRACKS);
    assert_in_range(d->publisher->offers, 2, 5);
    assert_in_range(e->subscriber->answers, 1, 4);
    check_flows(d, s, TRACKS);
    mute_all(s, TRACKS, true);
    end();
}

// A bridge: one connection publishes all of them, and each sends.
static void tracks_of_one_reach_everybody(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        struct room_client *const a = join_as("bridge", v0 != 0);
        struct room_client *const b = join_as("bob", false);
        struct room_sender *s[TRACKS + 1];
        run(S(1));
        for (size_t i = 0; i < TRACKS; i++) {
            s[i] = room_client_publish(a, i % 10 == 0 ? ROOM_VIDEO : ROOM_AUDIO);
            s[i]->audio_sn = 1000;
            s[i]->muted = true;
            run(MS(10));
        }
        run(S(3));
        assert_int_equal(server_side(a)->track_count, TRACKS);
        assert_int_equal(live(b), TRACKS);
        mute_all(s, TRACKS, false);
        run(MS(1500));
        for (size_t i = 0; i < TRACKS; i++) {
            const struct room_stream *const st = room_client_stream(b, s[i]->sid);
            if (st == NULL || st->packets < 8 || st->audio_bad > 0) {
                fail_msg("track %zu does not arrive", i);
            }
        }
        assert_int_equal(h.env.drops[ROOM_DROP_UNBOUND_SSRC], 0);
        assert_int_equal(h.env.drops[ROOM_DROP_SSRC_LIMIT], 0);
        mute_all(s, TRACKS, true);
        // One more than may be is refused, and takes nothing from the others.
        s[TRACKS] = room_client_publish(a, ROOM_AUDIO);
        run(MS(500));
        assert_int_equal(a->last_refusal, LIVEKIT__REQUEST_RESPONSE__REASON__LIMIT_EXCEEDED);
        assert_int_equal(server_side(a)->track_count, TRACKS);
        // What ends makes room.
        room_client_unpublish(a, s[0]);
        run(S(1));
        assert_int_equal(live(b), TRACKS - 1);
        check_flows(b, s + 1, TRACKS - 1);
        end();
    }
}

// More videos than descriptions may carry: what does not fit waits and is told, and takes the place
// of what ends; nobody is asked again and again.
static void what_does_not_fit_waits(void **state)
{
    (void)state;
    enum { VIDEOS = 450, FIT = NEGOTIATION_TEXT_MAX / NEGOTIATION_VIDEO_BYTES };
    begin();
    struct room_client *p[PUBLISHERS];
    static struct room_sender *s[VIDEOS];
    for (size_t i = 0; i < PUBLISHERS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "p%zu", i);
        p[i] = room_client_join(
            &h, &(struct room_client_conf){.identity = name, .no_auto_subscribe = true});
    }
    run(S(1));
    for (size_t i = 0; i < VIDEOS; i++) {
        s[i] = room_client_publish(p[i % PUBLISHERS], ROOM_VIDEO);
        s[i]->muted = true;
        run(MS(5));
    }
    struct room_client *const c[2] = {join_as("bob", false), join_as("carol", true)};
    run(S(20));
    for (size_t i = 0; i < 2; i++) {
        assert_in_range(live(c[i]), FIT - 4, FIT);
        assert_int_equal(c[i]->subscription_refusals[0], VIDEOS - live(c[i]));
    }
    unsigned const asked = c[0]->requirements;
    unsigned const answered = c[1]->subscriber->answers;
    run(S(20));
    assert_int_equal(c[0]->requirements, asked);
    assert_int_equal(c[1]->subscriber->answers, answered);
    for (size_t i = 0; i < 100; i++) {
        room_client_unpublish(p[i % PUBLISHERS], s[i]);
    }
    run(S(5));
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(live(c[i]), VIDEOS - 100);
        check_flows(c[i], s + 100, VIDEOS - 100);
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tracks_of_many_reach_everybody),
        TEST(tracks_of_one_reach_everybody),
        TEST(what_does_not_fit_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
