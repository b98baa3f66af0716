// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: resume sync_state simulate
//
// What a client that comes back is told, what its SyncState does, and what test tools make the
// server do to it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/room/resume.h"
#include "sfu/room/simulate.h"
#include "sfu/room/subscription.h"
#include "tests/support/room_sim.h"

enum {
    KIND_UPDATE = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE,
    KIND_OFFER = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_OFFER,
    KIND_ANSWER = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ANSWER,
    KIND_ROOM = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ROOM_UPDATE,
    KIND_RECONNECT = LIVEKIT__SIGNAL_RESPONSE__MESSAGE_RECONNECT,
    LEFT_CLIENT = LIVEKIT__DISCONNECT_REASON__CLIENT_INITIATED,
    LEFT_MIGRATION = LIVEKIT__DISCONNECT_REASON__MIGRATION,
    LEFT_SHUTDOWN = LIVEKIT__DISCONNECT_REASON__SERVER_SHUTDOWN,
    LEFT_MISMATCH = LIVEKIT__DISCONNECT_REASON__STATE_MISMATCH,
};

static struct room_client *a, *b, *c;
static struct room_sender *a_video;

static void begin_call(bool v0)
{
    begin();
    a = join_as("alice", v0);
    b = join_as("bob", v0);
    a_video = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    run(S(3));
    assert_true(flow(b, a_video, S(1)) > 30);
}

static void assert_left(const struct room_client *x, int reason, int action)
{
    assert_true(x->left);
    assert_true(x->closed);
    assert_int_equal(x->leave_reason, reason);
    assert_int_equal(x->leave_action, action);
}

// The socket is dead, but nobody has noticed yet: what the server sends goes nowhere.
static void deaden(struct room_client *x)
{
    x->session = HANDLE_NONE;
}

// ---- what is told ---------------------------------------------------------------------------

static void a_resume_tells_everything_in_order(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        room_client_drop_socket(b);
        run(MS(500));
        room_client_resume(b);
        run(MS(200));
        // Recorded (04-ws-cut-3s): reconnect, update with everybody, room update; then v0's offer.
        assert_true(b->kind_count >= 3);
        assert_int_equal(b->kinds[0], KIND_RECONNECT);
        assert_int_equal(b->kinds[1], KIND_UPDATE);
        assert_int_equal(b->kinds[2], KIND_ROOM);
        if (v0 != 0) {
            assert_int_equal(b->kinds[3], KIND_OFFER);
        } else {
            assert_int_equal(b->kinds[3], KIND_ANSWER);
        }
        end();
    }
}

// Somebody joins in the very turn of the resume: its update is gathered for 20 ms, and must not be
// the first word on the new socket.
static void nothing_overtakes_the_reconnect_response(void **state)
{
    (void)state;
    for (int ms = 0; ms < 30; ms += 3) {
        begin_call(false);
        room_client_drop_socket(b);
        run(MS(500));
        c = join_as("carol", false);
        run(MS(ms));
        room_client_resume(b);
        run(S(1));
        assert_int_equal(b->kinds[0], KIND_RECONNECT);
        assert_non_null(room_client_peer(b, "carol"));
        end();
    }
}

static void those_who_left_meanwhile_are_told(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        c = join_as("carol", v0 != 0);
        struct room_client *const d = join_as("dave", v0 != 0);
        run(S(2));
        assert_state(b, "carol", STATE_ACTIVE);
        deaden(b);
        room_client_leave(c);
        room_client_leave(d);
        run(S(2));
        struct room_client *const again = join_as("dave", v0 != 0);
        run(S(2));
        assert_state(b, "carol", STATE_ACTIVE); // as far as bob knows
        room_client_resume(b);
        run(S(1));
        assert_state(b, "carol", STATE_DISCONNECTED);
        assert_int_equal(room_client_peer(b, "carol")->reason, LEFT_CLIENT);
        // Who is back is no one who left: clients remove by identity.
        assert_string_equal(room_client_peer(b, "dave")->sid, again->sid);
        assert_state(b, "dave", STATE_ACTIVE);
        for (size_t i = 0; i < b->peer_count; i++) {
            bool const old_dave = strcmp(b->peers[i].sid, d->sid) == 0;
            assert_true(!old_dave || b->peers[i].state != STATE_DISCONNECTED);
        }
        end();
    }
}

static void what_was_told_long_ago_is_not_told_again(void **state)
{
    (void)state;
    begin_call(false);
    c = join_as("carol", false);
    run(S(2));
    room_client_leave(c);
    run(S(2));
    assert_state(b, "carol", STATE_DISCONNECTED);
    unsigned const updates = b->updates;
    run(S(10));
    room_client_mute(a, a_video, true);
    room_client_offer(b, false); // the server hears of bob
    run(S(1));
    room_client_drop_socket(b);
    run(S(1));
    unsigned const before = b->updates;
    room_client_resume(b);
    run(S(1));
    assert_true(before > updates);
    assert_int_equal(b->updates, before + 1); // everybody, and no departures
    end();
}

// More people left than a room remembers: then the client joins anew, which needs no memory.
static void a_crowd_that_left_makes_a_full_reconnect(void **state)
{
    (void)state;
    begin_call(false);
    deaden(b);
    struct room *const r = room_find(&h.env, "room");
    for (unsigned i = 0; i <= DEPARTURES_MAX; i++) {
        char sid[24];
        (void)snprintf(sid, sizeof(sid), "PA_%u", i);
        departures_add(&r->departures, h.env.now, sid, sid, 1, LEFT_CLIENT);
    }
    room_client_resume(b);
    run(S(1));
    assert_left(b, LEFT_MISMATCH, LEAVE_RECONNECT);
    assert_false(b->reconnected);
    end();
}

// ---- SyncState ------------------------------------------------------------------------------

static void sync(struct room_client *x, const char *published, const char *disabled)
{
    Livekit__SyncState s = LIVEKIT__SYNC_STATE__INIT;
    Livekit__TrackPublishedResponse t = LIVEKIT__TRACK_PUBLISHED_RESPONSE__INIT;
    Livekit__TrackInfo info = LIVEKIT__TRACK_INFO__INIT;
    LK_SET_STR(&info, sid, published);
    t.track = &info;
    Livekit__TrackPublishedResponse *list[] = {&t};
    char *sids[] = {lk_unconst_str(disabled)};
    s.publish_tracks = list;
    s.n_publish_tracks = published != NULL;
    s.track_sids_disabled = sids;
    s.n_track_sids_disabled = disabled != NULL;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE;
    r.sync_state = &s;
    room_client_request(x, &r);
}

static void unknown_publications_need_a_new_session(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        sync(a, a_video->sid, NULL);
        run(S(1));
        assert_false(a->left);
        assert_true(flow(b, a_video, S(1)) > 30);
        sync(a, "TR_VCnosuchtrack", NULL);
        run(S(1));
        assert_left(a, LEFT_MISMATCH, LEAVE_RECONNECT);
        assert_null(server_side(a));
        end();
    }
}

// A tab whose network was away while another one joined with its identity: the newer one stays.
static void an_older_session_leaves_the_newer_one_alone(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 4; v0++) {
        begin_call((v0 & 1) != 0);
        room_client_drop_socket(b);
        run(S(1));
        struct room_client *const newer = join_as("bob", (v0 & 2) != 0);
        run(S(2));
        assert_true(room_client_active(newer));
        room_client_resume(b);
        run(S(1));
        assert_left(b, LEFT_MISMATCH, LEAVE_RECONNECT);
        assert_false(newer->left || newer->closed);
        assert_true(flow(newer, a_video, S(1)) > 30);
        end();
    }
}

static void disabled_tracks_stay_paused(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        sync(b, NULL, a_video->sid);
        run(S(1));
        assert_int_equal(flow(b, a_video, S(1)), 0);
        room_client_settings(b, a_video->sid, false, 2, 0, 0);
        run(S(1));
        assert_true(flow(b, a_video, S(1)) > 30);
        end();
    }
}

// The answer to add_track was written to a dead socket: without it the publication fails after
// 10 s.
static void a_lost_track_published_comes_again(void **state)
{
    (void)state;
    begin_call(false);
    struct room_sender *const s = room_client_publish(b, ROOM_VIDEO);
    deaden(b);
    run(S(1));
    assert_int_equal(s->sid[0], 0);
    assert_int_equal(b->track_published, 0);
    room_client_resume(b);
    run(S(3));
    assert_int_equal(b->track_published, 1);
    assert_int_not_equal(s->sid[0], 0);
    assert_true(flow(a, s, S(1)) > 10);
    end();
}

// ---- SimulateScenario -----------------------------------------------------------------------

static void simulate(struct room_client *x, Livekit__SimulateScenario__ScenarioCase kind,
                     int64_t value)
{
    Livekit__SimulateScenario s = LIVEKIT__SIMULATE_SCENARIO__INIT;
    s.scenario_case = kind;
    if (kind == LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE) {
        s.speaker_update = (int32_t)value;
    } else if (kind == LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SUBSCRIBER_BANDWIDTH) {
        s.subscriber_bandwidth = value;
    } else {
        s.node_failure = true; // all the others are a bool in the same place
    }
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SIMULATE;
    r.simulate = &s;
    room_client_request(x, &r);
}

static void simulated_speech_is_heard_by_those_who_listen(void **state)
{
    (void)state;
    begin_call(false);
    c = room_client_join(
        &h, &(struct room_client_conf){.identity = "carol", .no_auto_subscribe = true});
    run(S(2));
    // Recorded (04-speaker): active at once, inactive after the given time.
    simulate(a, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE, 3);
    run(MS(100));
    assert_true(a->speaker_active);
    assert_true(b->speaker_active);
    assert_string_equal(b->speaker, a->sid);
    unsigned const told = b->speakers;
    for (int i = 0; i < 100; i++) {
        simulate(a, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE, 3);
    }
    run(MS(2800));
    assert_int_equal(b->speakers, told); // nobody has to listen to each of them
    assert_true(b->speaker_active);
    run(MS(300));
    assert_false(a->speaker_active);
    assert_false(b->speaker_active);
    assert_int_equal(c->speakers, 0);
    simulate(a, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE, INT32_MAX);
    run(S(SIMULATE_SPEECH_MAX_S + 1));
    assert_false(b->speaker_active);
    simulate(a, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE, -1);
    run(S(1));
    assert_false(b->speaker_active);
    // Its end in the middle of it.
    simulate(a, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE, 5);
    run(S(1));
    room_client_leave(a);
    run(S(6));
    end();
}

static void simulated_failures_end_the_session_as_recorded(void **state)
{
    (void)state;
    static const struct {
        Livekit__SimulateScenario__ScenarioCase kind;
        bool leave;
        int action, reason;
    } v[] = {
        {LIVEKIT__SIMULATE_SCENARIO__SCENARIO_NODE_FAILURE, false, 0, LEFT_SHUTDOWN},
        {LIVEKIT__SIMULATE_SCENARIO__SCENARIO_MIGRATION, false, 0, LEFT_MIGRATION},
        {LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SERVER_LEAVE, true, LEAVE_DISCONNECT, LEFT_SHUTDOWN},
        {LIVEKIT__SIMULATE_SCENARIO__SCENARIO_LEAVE_REQUEST_FULL_RECONNECT, true, LEAVE_RECONNECT,
         LEFT_CLIENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        begin_call(false);
        simulate(a, v[i].kind, 1);
        run(S(1));
        assert_true(a->closed);
        assert_int_equal(a->left, v[i].leave);
        if (v[i].leave) {
            assert_left(a, v[i].reason, v[i].action);
        }
        assert_state(b, "alice", STATE_DISCONNECTED);
        assert_int_equal(room_client_peer(b, "alice")->reason, v[i].reason);
        room_client_resume(a);
        run(S(1));
        assert_left(a, LEFT_MISMATCH, LEAVE_RECONNECT);
        struct room_client *const again = join_as("alice", false);
        run(S(2));
        assert_true(room_client_active(again));
        end();
    }
}

static void spoiled_resumes_succeed_the_second_time(void **state)
{
    (void)state;
    for (int silent = 0; silent < 2; silent++) {
        begin_call(false);
        simulate(b,
                 silent != 0
                     ? LIVEKIT__SIMULATE_SCENARIO__SCENARIO_DISCONNECT_SIGNAL_ON_RESUME_NO_MESSAGES
                     : LIVEKIT__SIMULATE_SCENARIO__SCENARIO_DISCONNECT_SIGNAL_ON_RESUME,
                 1);
        run(MS(100));
        room_client_drop_socket(b);
        run(MS(200));
        room_client_resume(b);
        run(S(1));
        assert_true(b->closed);
        assert_int_equal(b->reconnected, silent == 0);
        assert_int_equal(b->refused, silent != 0 ? 500 : 0);
        room_client_resume(b);
        run(S(1));
        assert_true(b->reconnected);
        assert_false(b->closed);
        assert_true(flow(b, a_video, S(1)) > 30);
        // Only the next one within 5 s.
        simulate(b, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_DISCONNECT_SIGNAL_ON_RESUME, 1);
        run(S(6));
        room_client_drop_socket(b);
        room_client_resume(b);
        run(S(1));
        assert_true(b->reconnected);
        assert_false(b->closed);
        end();
    }
}

static void a_simulated_bandwidth_limits_layers(void **state)
{
    (void)state;
    begin_call(false);
    struct participant *const p = server_side(b);
    const struct subscription *const s = p->subscriptions;
    struct receiver_encoding_stats st;
    receiver_get_encoding_stats(s->media->receiver, h.env.now, 0, &st);
    uint64_t const low = st.bitrate[RECEIVER_TEMPORAL_MAX - 1];
    receiver_get_encoding_stats(s->media->receiver, h.env.now, 1, &st);
    uint64_t const middle = st.bitrate[RECEIVER_TEMPORAL_MAX - 1];
    assert_true(low > 0 && middle > low);
    struct down_track_layers d;
    down_track_get_layers(s->down_track, &d);
    assert_int_equal(d.current_spatial, 2);
    simulate(b, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SUBSCRIBER_BANDWIDTH,
             (int64_t)(low + middle) / 2);
    run(S(3));
    down_track_get_layers(s->down_track, &d);
    assert_int_equal(d.current_spatial, 0);
    assert_true(flow(b, a_video, S(1)) > 5);
    simulate(b, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SUBSCRIBER_BANDWIDTH, 1000);
    run(S(3));
    assert_int_equal(flow(b, a_video, S(2)), 0);
    simulate(b, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SUBSCRIBER_BANDWIDTH, 0);
    run(S(3));
    down_track_get_layers(s->down_track, &d);
    assert_int_equal(d.current_spatial, 2);
    assert_true(flow(b, a_video, S(1)) > 30);
    end();
}

static void switching_the_candidate_protocol_restarts_ice(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        uint32_t const offers = server_side(b)->offer_id;
        simulate(b, LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SWITCH_CANDIDATE_PROTOCOL, 1);
        run(S(2));
        assert_false(b->closed);
        assert_int_equal(server_side(b)->offer_id, offers + (v0 != 0));
        assert_true(flow(b, a_video, S(1)) > 30);
        end();
    }
}

// ---- the server ends ------------------------------------------------------------------------

static void a_server_that_ends_asks_to_come_back(void **state)
{
    (void)state;
    begin_call(false);
    room_close(room_find(&h.env, "room"), DISCONNECT_SERVER_SHUTDOWN);
    room_harness_turn(&h);
    run(S(1));
    assert_left(a, LEFT_SHUTDOWN, LEAVE_RECONNECT);
    assert_left(b, LEFT_SHUTDOWN, LEAVE_RECONNECT);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_resume_tells_everything_in_order),
        TEST(nothing_overtakes_the_reconnect_response),
        TEST(those_who_left_meanwhile_are_told),
        TEST(what_was_told_long_ago_is_not_told_again),
        TEST(a_crowd_that_left_makes_a_full_reconnect),
        TEST(unknown_publications_need_a_new_session),
        TEST(an_older_session_leaves_the_newer_one_alone),
        TEST(disabled_tracks_stay_paused),
        TEST(a_lost_track_published_comes_again),
        TEST(simulated_speech_is_heard_by_those_who_listen),
        TEST(simulated_failures_end_the_session_as_recorded),
        TEST(spoiled_resumes_succeed_the_second_time),
        TEST(a_simulated_bandwidth_limits_layers),
        TEST(switching_the_candidate_protocol_restarts_ice),
        TEST(a_server_that_ends_asks_to_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
