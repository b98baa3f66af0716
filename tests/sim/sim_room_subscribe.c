// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: subscription subscription_permission subscription_timer track_preference stream_state
// COVERS: negotiation
//
// What clients want to receive and may receive, and what they are told about it: permissions of
// publishers, tracks that never come, settings, and the pace of renegotiation.
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
#include "sfu/room/subscription_timer.h"
#include "sfu/room/track_preference.h"
#include "tests/support/room_sim.h"

// ---- playout delay --------------------------------------------------------------------------

static void a_room_may_have_video_held_back(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        struct room_client *const a = room_client_join(
            &h, &(struct room_client_conf){
                    .identity = "alice",
                    .room_config = "{\"minPlayoutDelay\":100,\"maxPlayoutDelay\":2000}"});
        struct room_client *const b = join_as("bob", v0 != 0);
        struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
        struct room_sender *const sound = room_client_publish(a, ROOM_AUDIO);
        run(S(5));
        const struct room_stream *const st = room_client_stream(b, s->sid);
        assert_non_null(st);
        assert_true(st->delays > 0);
        assert_int_equal(st->delay_min, 10);
        assert_int_equal(st->delay_max, 200);
        // Once it is known to have arrived, packets are as small as without it.
        uint64_t const told = st->delays;
        assert_true(flow(b, s, S(2)) > 60);
        assert_int_equal(st->delays, told);
        assert_true(told < st->packets / 2);
        assert_int_equal(room_client_stream(b, sound->sid)->delay_id, 0);
        end();
        // And nothing of it elsewhere.
        begin();
        struct room_client *const c = join_as("alice", false);
        struct room_client *const d = join_as("bob", v0 != 0);
        struct room_sender *const other = room_client_publish(c, ROOM_VIDEO);
        run(S(2));
        assert_int_equal(room_client_stream(d, other->sid)->delay_id, 0);
        end();
    }
}

// ---- permissions of the publisher (livekit-protocol 4.8.4) ----------------------------------

static void publishers_say_who_may_subscribe(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        struct room_client *const a = join_as("alice", false);
        struct room_client *const b = join_as("bob", v0 != 0);
        struct room_client *const c = join_as("carol", false);
        struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
        run(S(2));
        assert_int_equal(b->permitted, 1); // with each subscription
        assert_int_equal(b->withheld, 0);
        assert_true(flow(b, s, S(1)) > 30);

        room_client_permit(a, "carol", NULL);
        run(MS(250));
        assert_int_equal(b->withheld, 1);
        assert_string_equal(b->permission_sid, s->sid);
        assert_int_equal(c->withheld, 0);
        assert_int_equal(flow(b, s, S(1)), 0);
        assert_true(flow(c, s, S(1)) > 30);

        // Saying it again, or reaching for it, is not told again.
        room_client_permit(a, "carol", NULL);
        room_client_subscribe(b, s->sid, true);
        run(S(1));
        assert_int_equal(b->withheld, 1);
        assert_int_equal(b->permitted, 1);

        room_client_permit(a, "*", NULL);
        run(MS(20));
        assert_int_equal(b->permitted, 2);
        run(S(1));
        assert_true(flow(b, s, S(1)) > 30);
        assert_int_equal(c->permitted, 1);
        end();
    }
}

static void permissions_are_for_tracks(void **state)
{
    (void)state;
    struct room_client *a;
    struct room_client *b;
    struct room_sender *const s = open_call(false, ROOM_AUDIO, &a, &b);
    struct room_sender *const t = room_client_publish(a, ROOM_VIDEO);
    run(S(2));
    room_client_permit(a, "bob", t->sid);
    run(MS(500));
    assert_int_equal(flow(b, s, S(1)), 0);
    assert_true(flow(b, t, S(1)) > 30);
    room_client_permit(a, NULL, NULL); // nobody
    run(MS(500));
    assert_int_equal(flow(b, t, S(1)), 0);
    assert_int_equal(h.env.subscriptions.count, 0);
    // A track that is published later is withheld from the first.
    struct room_sender *const u = room_client_publish(a, ROOM_AUDIO);
    run(S(1));
    assert_int_equal(b->withheld, 3);
    assert_string_equal(b->permission_sid, u->sid);
    // Somebody who comes later is told as well; whoever ends a denied wish is not.
    struct room_client *const c = join_as("carol", false);
    run(S(1));
    assert_int_equal(c->withheld, 3);
    assert_int_equal(c->permitted, 0);
    room_client_permit(a, "*", NULL);
    run(S(1));
    assert_int_equal(c->permitted, 3);
    assert_true(flow(c, u, S(1)) > 30);
    end();
}

// A request that names nobody changes nothing; one that names a session means its identity.
static void permissions_name_participants(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    struct room_client *const c = join_as("carol", false);
    struct room_sender *const s = room_client_publish(a, ROOM_AUDIO);
    run(S(2));
    Livekit__SubscriptionPermission u = LIVEKIT__SUBSCRIPTION_PERMISSION__INIT;
    Livekit__TrackPermission t[2] = {LIVEKIT__TRACK_PERMISSION__INIT,
                                     LIVEKIT__TRACK_PERMISSION__INIT};
    Livekit__TrackPermission *list[] = {&t[0], &t[1]};
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION_PERMISSION;
    r.subscription_permission = &u;
    u.track_permissions = list;
    u.n_track_permissions = 2;
    LK_SET(&t[0], all_tracks, true);
    LK_SET(&t[1], all_tracks, true);
    LK_SET_STR(&t[0], participant_identity, "bob");
    room_client_request(a, &r); // the second entry names nobody
    LK_SET_STR(&t[1], participant_identity, "bob");
    LK_SET_STR(&t[1], participant_sid, c->sid);
    room_client_request(a, &r); // and now two people
    run(MS(500));
    assert_int_equal(c->withheld, 0);
    LK_SET_STR(&t[1], participant_identity, "");
    LK_SET_STR(&t[0], participant_identity, "");
    LK_SET_STR(&t[0], participant_sid, "PA_unknown");
    room_client_request(a, &r);
    run(MS(500));
    assert_int_equal(b->withheld, 1);
    assert_int_equal(c->withheld, 0);
    assert_true(flow(c, s, S(1)) > 30);
    // What only begins like a sid names no track.
    char nothing[1] = "";
    char text[64];
    char *sids[] = {nothing, text, s->sid};
    (void)snprintf(text, sizeof(text), "%s...............................", s->sid);
    LK_SET(&t[1], all_tracks, false);
    t[1].track_sids = sids;
    t[1].n_track_sids = 2;
    room_client_request(a, &r);
    run(MS(500));
    assert_int_equal(flow(c, s, S(1)), 0);
    t[1].n_track_sids = 3;
    room_client_request(a, &r);
    run(MS(500));
    assert_true(flow(c, s, S(1)) > 30);
    end();
}

// ---- what cannot be had (4.8.2) -------------------------------------------------------------

static void unknown_tracks_are_given_up(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = room_client_join(
        &h, &(struct room_client_conf){.identity = "bob", .no_auto_subscribe = true});
    run(S(1));
    room_client_subscribe(b, "TR_AMnobodyhasit1", true);
    room_client_subscribe(b, "TR_AMnobodyhasit2", true);
    room_client_subscribe(b, "TR_AMnobodyhasit2", false); // no longer wanted: nothing to tell
    room_client_settings(b, "TR_AMnobodyhasit3", true, 0, 0, 0);
    room_client_subscribe(b, "nonsense", true);
    struct room_sender *const s = room_client_publish(a, ROOM_AUDIO);
    while (s->sid[0] == 0) {
        run(MS(1));
    }
    room_client_subscribe(b, s->sid, true); // before it is published
    run(S(59));
    assert_int_equal(b->subscription_errors, 0);
    assert_int_equal(HASH_COUNT(server_side(b)->preferences), 4);
    run(S(2));
    assert_int_equal(b->subscription_errors, 1);
    assert_int_equal(b->subscription_refusals[2], 1); // SE_TRACK_NOTFOUND
    assert_int_equal(HASH_COUNT(server_side(b)->preferences), 1);
    assert_true(flow(b, s, S(1)) > 30);
    run(S(70));
    assert_int_equal(b->subscription_errors, 1);
    // What was said about a track goes with it.
    room_client_unpublish(a, s);
    run(S(1));
    assert_int_equal(HASH_COUNT(server_side(b)->preferences), 0);
    end();
}

static void unbound_subscriptions_are_told(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b =
        room_client_join(&h, &(struct room_client_conf){.identity = "bob", .no_sections = true});
    run(S(1));
    struct room_sender *s[5];
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        s[i] = room_client_publish(a, ROOM_VIDEO);
    }
    run(S(14));
    assert_int_equal(b->subscription_errors, 0);
    run(S(4));
    // It was asked every 3 s, then told: all five wait, as it offers nothing at all.
    assert_int_equal(b->subscription_refusals[0], 5);
    assert_in_range(b->requirements, 5, 8);
    assert_int_equal(b->required_video, 2); // three were offered from the first; asked for once
    run(S(20));
    assert_int_equal(b->subscription_refusals[0], 5); // once
    // And when it offers after all, it gets what fits.
    b->conf.no_sections = false;
    room_client_offer(b, false);
    run(S(2));
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        assert_true(flow(b, s[i], MS(500)) > 15);
    }
    end();
}

static void refused_codecs_are_tried_again_when_asked_for(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = room_client_join(
        &h, &(struct room_client_conf){.identity = "bob", .v0 = true, .rejects_video = true});
    run(S(1));
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
    run(S(5));
    assert_int_equal(b->subscription_refusals[1], 1); // SE_CODEC_UNSUPPORTED
    b->conf.rejects_video = false;
    run(S(20));
    assert_int_equal(b->subscription_errors, 1);
    room_client_subscribe(b, s->sid, true);
    run(S(1));
    assert_int_equal(b->subscription_errors, 1);
    assert_true(flow(b, s, S(1)) > 30);
    end();
}

// ---- settings (4.9.1) -----------------------------------------------------------------------

static void settings_settle_and_return_at_once(void **state)
{
    (void)state;
    struct room_client *a;
    struct room_client *b;
    struct room_sender *const s = open_call(false, ROOM_VIDEO, &a, &b);
    run(S(2));
    // Hidden for less than it takes to settle: nothing is seen of it.
    uint64_t const before = room_client_stream(b, s->sid)->packets;
    room_client_settings(b, s->sid, true, 2, 0, 0);
    run(MS(50));
    room_client_settings(b, s->sid, false, 2, 0, 0);
    run(S(1));
    assert_true(room_client_stream(b, s->sid)->packets - before > 30);
    struct model_verdict v;
    model_subscriber_judge(&room_client_stream(b, s->sid)->model, &v);
    assert_int_equal(v.holes, 0);
    // Hidden for longer: silent after 100 ms and two ways of the signalling, back within a round
    // trip and a key frame.
    room_client_settings(b, s->sid, true, 2, 0, 0);
    run(MS(60));
    assert_true(flow(b, s, MS(40)) > 0);
    run(MS(60));
    assert_int_equal(flow(b, s, S(1)), 0);
    room_client_settings(b, s->sid, false, 2, 0, 0);
    run(MS(30));
    assert_true(flow(b, s, MS(100)) > 0);
    end();
}

static void adaptive_clients_are_not_left_dark(void **state)
{
    (void)state;
    for (int adaptive = 0; adaptive < 2; adaptive++) {
        begin();
        struct room_client *const a = join_as("alice", false);
        struct room_client *const b = room_client_join(
            &h, &(struct room_client_conf){.identity = "bob", .adaptive_stream = adaptive != 0});
        struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
        run(S(2));
        room_client_settings(b, s->sid, true, 2, 0, 0);
        run(MS(300));
        room_client_subscribe(b, s->sid, false);
        run(S(1));
        room_client_subscribe(b, s->sid, true);
        run(S(1));
        assert_true((flow(b, s, S(1)) > 30) == (adaptive != 0));
        end();
    }
}

static void old_clients_are_told_that_video_starts(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    struct room_client *const c = join_as("carol", false);
    run(S(1));
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
    (void)room_client_publish(a, ROOM_AUDIO);
    run(S(2));
    assert_int_equal(b->streams_started, 1);
    room_client_mute(a, s, true);
    run(MS(500));
    room_client_settings(b, s->sid, true, 2, 0, 0);
    run(MS(500));
    room_client_mute(a, s, false); // it is hidden there
    run(MS(500));
    assert_int_equal(b->streams_started, 1);
    room_client_settings(b, s->sid, false, 2, 0, 0);
    run(MS(500));
    assert_int_equal(b->streams_started, 2);
    room_client_mute(a, s, true);
    run(MS(500));
    room_client_mute(a, s, false);
    run(MS(500));
    assert_int_equal(b->streams_started, 3);
    assert_int_equal(c->streams_started, 0);
    end();
}

// ---- pace -----------------------------------------------------------------------------------

static void changes_of_subscription_reuse_sections(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        struct room_client *const a = join_as("alice", false);
        struct room_client *const b =
            room_client_join(&h, &(struct room_client_conf){
                                     .identity = "bob", .v0 = v0 != 0, .no_auto_subscribe = true});
        struct room_sender *s[8];
        for (size_t i = 0; i < ARRAY_LEN(s); i++) {
            s[i] = room_client_publish(a, ROOM_VIDEO);
        }
        run(S(2));
        for (size_t i = 0; i < 4; i++) {
            room_client_subscribe(b, s[i]->sid, true);
        }
        run(S(1));
        const struct jsep *const j = (v0 != 0 ? b->subscriber : b->publisher)->jsep;
        size_t const sections = jsep_count(j);
        // Pages of a gallery: four others at once, several times.
        for (size_t page = 1; page < 8; page++) {
            for (size_t i = 0; i < ARRAY_LEN(s); i++) {
                room_client_subscribe(b, s[i]->sid, (i < 4) == (page % 2 == 0));
            }
            run(MS(600));
            for (size_t i = 0; i < ARRAY_LEN(s); i++) {
                bool const shown = (i < 4) == (page % 2 == 0);
                assert_true((flow(b, s[i], MS(100)) > 0) == shown);
            }
        }
        assert_int_equal(jsep_count(j), sections);
        end();
    }
}

static void tracks_that_come_one_by_one_cost_few_rounds(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    struct room_client *const c = join_as("carol", true);
    run(S(2));
    unsigned const offers = b->publisher->offers;
    unsigned const answers = c->subscriber->answers;
    struct room_sender *s[30];
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        s[i] = room_client_publish(a, i % 2 == 0 ? ROOM_AUDIO : ROOM_VIDEO);
        run(MS(20));
    }
    run(S(2));
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        assert_true(flow(b, s[i], MS(200)) > 3);
        assert_true(flow(c, s[i], MS(200)) > 3);
    }
    // 30 tracks in about a second: one round every 150 ms, and in v1 one more each time for the
    // sections that were missing.
    print_message("30 tracks one by one: %u offers of v1, %u to v0\n",
                  b->publisher->offers - offers, c->subscriber->answers - answers);
    assert_in_range(b->publisher->offers - offers, 2, 20);
    assert_in_range(c->subscriber->answers - answers, 2, 12);
    end();
}

// The end of a subscription waits 200 ms, so that what follows it shares the round.
static void ends_are_told_without_hurry(void **state)
{
    (void)state;
    struct room_client *a;
    struct room_client *b;
    struct room_sender *const s = open_call(false, ROOM_VIDEO, &a, &b);
    run(S(2));
    unsigned const asked = b->requirements;
    room_client_subscribe(b, s->sid, false);
    run(MS(190));
    assert_int_equal(b->requirements, asked);
    assert_int_equal(flow(b, s, MS(10)), 0);
    run(MS(20));
    assert_int_equal(b->requirements, asked + 1);
    end();
}

static void a_client_without_socket_has_time_to_answer(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    run(S(2));
    room_client_drop_socket(b);
    run(MS(100));
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
    run(S(20));
    assert_non_null(server_side(b));
    room_client_resume(b);
    run(S(3));
    assert_false(b->left);
    assert_true(flow(b, s, S(1)) > 30);
    end();
}

// ---- as recorded ----------------------------------------------------------------------------

// What a subscriber is told about the subscriptions of livekit-server 1.13.5 with livekit-client 2.23
// (v1 and v0): order, and milliseconds from the message before, where the server's timers say so.
struct told {
    char kind; // u update, p permission, s sections requirement, o offer, a answer, t stream state
    int64_t at_ms;
};

static struct told heard[64];
static size_t heard_count;
static handle_t listener;

static void listen(void *user, const struct channel_msg *m)
{
    static const struct {
        Livekit__SignalResponse__MessageCase kind;
        char name;
    } kinds[] = {
        {LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE, 'u'},
        {LIVEKIT__SIGNAL_RESPONSE__MESSAGE_SUBSCRIPTION_PERMISSION_UPDATE, 'p'},
        {LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MEDIA_SECTIONS_REQUIREMENT, 's'},
        {LIVEKIT__SIGNAL_RESPONSE__MESSAGE_OFFER, 'o'},
        {LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ANSWER, 'a'},
        {LIVEKIT__SIGNAL_RESPONSE__MESSAGE_STREAM_STATE_UPDATE, 't'},
    };
    (void)user;
    struct pbuf *p = NULL;
    if (m->type != CHANNEL_SEND || !handle_eq(m->handle, listener)) {
        return;
    }
    assert_int_equal(lk_unpack_signal_response(shared_buf_view(m->u.send.data), &p), 0);
    const Livekit__SignalResponse *const rsp = p->msg;
    for (size_t i = 0; i < ARRAY_LEN(kinds) && heard_count < ARRAY_LEN(heard); i++) {
        // Only the first update of a step: more follow as layers become known.
        if (rsp->message_case == kinds[i].kind && (kinds[i].name != 'u' || heard_count == 0)) {
            heard[heard_count++] = (struct told){kinds[i].name, h.env.now.us / US_PER_MS};
        }
    }
    pbuf_free(p);
}

// gaps: -1 where only the order counts.
static void expect(const char *kinds, const int64_t *gaps)
{
    char seen[ARRAY_LEN(heard) + 1] = "";
    run(MS(900));
    for (size_t i = 0; i < heard_count; i++) {
        seen[i] = heard[i].kind;
    }
    assert_string_equal(seen, kinds);
    for (size_t i = 1; i < heard_count; i++) {
        int64_t const gap = heard[i].at_ms - heard[i - 1].at_ms;
        if (gaps[i] >= 0 && (gap < gaps[i] || gap > gaps[i] + 2)) {
            fail_msg("%d ms before message %zu of %s", (int)gap, i, kinds);
        }
    }
    heard_count = 0;
    memset(heard, 0, sizeof(heard));
}

static void messages_come_as_recorded(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        struct room_client *const a = join_as("alice", false);
        struct room_client *const b = join_as("bob", v0 != 0);
        run(S(2));
        listener = b->session;
        heard_count = 0;
        h.tap = listen;
        // 01-js-v1 bob 5044 to 5093 ms; 02-js-v0 bob 4925 to 4955 ms.
        (void)room_client_publish(a, ROOM_AUDIO);
        expect(v0 != 0 ? "upo" : "upsa", (const int64_t[]){0, 0, 10, -1});
        // 7658 to 7703; 7532 to 7602: video has a stream state in v0.
        struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
        expect(v0 != 0 ? "upot" : "upsa", (const int64_t[]){0, 0, 10, -1});
        // 19793 to 20046; 19670 to 19881.
        int64_t const asked = h.env.now.us / US_PER_MS;
        room_client_subscribe(b, s->sid, false);
        run(MS(300));
        assert_in_range(heard[0].at_ms - asked, 200, 210); // and the way to the server
        expect(v0 != 0 ? "o" : "sa", (const int64_t[]){0, -1});
        // 22301 to 22356; 22175 to 22317.
        room_client_subscribe(b, s->sid, true);
        expect(v0 != 0 ? "pot" : "psa", (const int64_t[]){0, 10, -1});
        // 83212 to 83461; 83165 to 83372. Here news of those who leave are gathered for 20 ms.
        room_client_leave(a);
        expect(v0 != 0 ? "uo" : "usa", (const int64_t[]){0, 180, -1});
        h.tap = NULL;
        end();
    }
}

static void recorders_are_exempt(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const r = room_client_join(
        &h, &(struct room_client_conf){.identity = "tape", .recorder = true, .hidden = true});
    struct room_sender *const s = room_client_publish(a, ROOM_AUDIO);
    run(S(1));
    room_client_permit(a, NULL, NULL);
    run(S(1));
    assert_int_equal(r->withheld, 0);
    assert_true(flow(r, s, S(1)) > 30);
    assert_int_equal(a->track_subscribed, 0); // it is hidden
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_room_may_have_video_held_back),
        TEST(publishers_say_who_may_subscribe),
        TEST(permissions_are_for_tracks),
        TEST(permissions_name_participants),
        TEST(recorders_are_exempt),
        TEST(unknown_tracks_are_given_up),
        TEST(unbound_subscriptions_are_told),
        TEST(refused_codecs_are_tried_again_when_asked_for),
        TEST(settings_settle_and_return_at_once),
        TEST(adaptive_clients_are_not_left_dark),
        TEST(old_clients_are_told_that_video_starts),
        TEST(changes_of_subscription_reuse_sections),
        TEST(tracks_that_come_one_by_one_cost_few_rounds),
        TEST(ends_are_told_without_hurry),
        TEST(a_client_without_socket_has_time_to_answer),
        TEST(messages_come_as_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
