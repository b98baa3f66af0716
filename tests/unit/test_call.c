// SPDX-License-Identifier: Apache-2.0
// REALTIME
// LINK: support lk svc
// Calls between test clients through a foci-sfu process of their own: real sockets, real threads,
// every packet verified. An argument names another program, or the URL of a server that is running
// already and knows the keys of sfu_process.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "tests/support/sfu_process.h"
#include "tests/support/test_client.h"

#define PEOPLE 6
// Sanitizers and a busy machine; what is waited for takes milliseconds.
#define LIMIT_MS 20000
// Long enough for some frames and reports.
#define TALK_MS 400

static struct sfu_process sfu;
static struct loop *loop;
static struct client_net *net;
static struct test_client *people[PEOPLE];
static unsigned events[PEOPLE]; // bit n: enum test_client_event n has come
static char room[64];
static unsigned rooms;

// ---- helpers ------------------------------------------------------------------------------------

static void on_event(void *user, struct test_client *c, enum test_client_event e)
{
    (void)c;
    *(unsigned *)user |= 1u << e;
}

static void run_ms(int64_t ms)
{
    mono_t const end = mono_add_ms(clock_mono(), ms);
    while (mono_before(clock_mono(), end)) {
        loop_run_once(loop, (int)MAX(1, mono_diff_ms(end, clock_mono())));
    }
}

static void wait_until(bool (*done)(size_t arg), size_t arg, const char *what, int line)
{
    mono_t const end = mono_add_ms(clock_mono(), LIMIT_MS);
    while (!done(arg)) {
        if (mono_reached(end, clock_mono())) {
            fail_msg("line %d: waited in vain for %s", line, what);
        }
        loop_run_once(loop, 10);
    }
}

#define WAIT(done, arg) wait_until((done), (arg), #done, __LINE__)

static const struct test_client_status *status(size_t i)
{
    return test_client_status(people[i]);
}

struct setup {
    bool v0, headers_only, manual, no_data;
    uint8_t spare; // sections offered at once
    bool audio, video, plain_video;
};

static const struct client_track_conf plain_video = {
    .layers = 1, .interval_us = 20000, .layer = {{640, 360, 3, 900}}};

static void join(size_t i, struct setup s)
{
    char identity[32];
    (void)snprintf(identity, sizeof(identity), "person-%zu", i);
    char *const token = client_signal_mint(SFU_PROCESS_KEY, SFU_PROCESS_SECRET, room, identity);
    struct test_client_conf const conf = {
        .net = net,
        .url = sfu.url,
        .token = token,
        .v0 = s.v0,
        .id = (uint32_t)i + 1,
        .manual = s.manual,
        .no_data = s.no_data,
        .ping_ms = 200,
        .headers_only = s.headers_only,
        .spare_audio = s.spare,
        .spare_video = s.spare,
        .on_event = on_event,
        .user = &events[i],
    };
    assert_non_null(token);
    assert_int_equal(test_client_new(&conf, &people[i]), 0);
    mem_free(token);
    if (s.audio) {
        assert_int_equal(test_client_publish(people[i], &CLIENT_TRACK_OPUS, NULL), 0);
    }
    if (s.video || s.plain_video) {
        assert_int_equal(
            test_client_publish(people[i], s.video ? &CLIENT_TRACK_SIMULCAST : &plain_video, NULL),
            0);
    }
}

static const struct client_stream *stream_of(size_t i, bool audio, size_t publisher)
{
    const struct client_stream *s = NULL;
    while ((s = test_client_next_stream(people[i], s)) != NULL) {
        if (s->live && s->audio == audio && s->known && s->publisher == publisher + 1) {
            return s;
        }
    }
    return NULL;
}

static size_t flowing(size_t i)
{
    const struct client_stream *s = NULL;
    size_t n = 0;
    while ((s = test_client_next_stream(people[i], s)) != NULL) {
        n += s->live && s->first_frame_at.us != 0;
    }
    return n;
}

static size_t wanted[PEOPLE];

static bool streams_flow(size_t i)
{
    return flowing(i) >= wanted[i];
}

static bool is_connected(size_t i)
{
    return status(i)->connected && status(i)->sctp_up;
}

static bool has_ended(size_t i)
{
    return status(i)->ended || status(i)->failed;
}

static void wait_for_streams(size_t i, size_t n)
{
    wanted[i] = n;
    WAIT(streams_flow, i);
}

// Nothing came broken, doubled or out of place; what was lost on loopback was lost by the server.
static void assert_whole(size_t i, bool lossless)
{
    struct client_stream_stats x = {0};
    test_client_sum(people[i], &x);
    assert_true(x.checked > 0);
    assert_int_equal(x.content_errors, 0);
    assert_int_equal(x.foreign, 0);
    assert_int_equal(x.counter_errors, 0);
    assert_int_equal(x.picture_errors, 0);
    assert_int_equal(x.bad_switches, 0);
    assert_int_equal(x.jumps, 0);
    if (lossless && test_client_socket_drops(people[i]) == 0) {
        assert_int_equal(x.missing, 0);
        assert_int_equal(x.duplicates, 0);
    }
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(room, sizeof(room), "room-%u", ++rooms);
    net->send_drop_ppm = 0;
    net->receive_drop_ppm = 0;
    memset(wanted, 0, sizeof(wanted));
    memset(events, 0, sizeof(events));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < PEOPLE; i++) {
        if (people[i] != NULL) {
            test_client_leave(people[i]);
        }
    }
    for (size_t i = 0; i < PEOPLE; i++) {
        mono_t const end = mono_add_ms(clock_mono(), LIMIT_MS);
        while (people[i] != NULL && !has_ended(i) && mono_before(clock_mono(), end)) {
            loop_run_once(loop, 10);
        }
        test_client_free(people[i]);
        people[i] = NULL;
    }
    return 0;
}

// ---- media both ways ----------------------------------------------------------------------------

static void call(struct setup first, struct setup second)
{
    join(0, first);
    join(1, second);
    wait_for_streams(0, 2);
    wait_for_streams(1, 2);
    WAIT(is_connected, 0);
    WAIT(is_connected, 1);
    run_ms(TALK_MS);
    for (size_t i = 0; i < 2; i++) {
        assert_whole(i, true);
        const struct client_stream *const audio = stream_of(i, true, 1 - i);
        const struct client_stream *const video = stream_of(i, false, 1 - i);
        assert_non_null(audio);
        assert_non_null(video);
        assert_true(audio->stats.received >= 10);
        assert_true(video->stats.frames_whole >= 5);
        assert_true(video->stats.key_frames >= 1);
        assert_int_equal(audio->stats.skips, 0);
        assert_int_equal(video->stats.skips, 0);
        assert_int_equal(status(i)->participants, 1);
        assert_int_equal(status(i)->remote_tracks, 2);
        assert_int_equal(status(i)->published, 2);
    }
}

static void two_people_hear_and_see_each_other_over_v1(void **state)
{
    struct setup const s = {.spare = 3, .audio = true, .video = true};
    (void)state;
    call(s, s);
}

static void two_people_hear_and_see_each_other_over_v0(void **state)
{
    struct setup const s = {.v0 = true, .audio = true, .video = true};
    (void)state;
    call(s, s);
}

static void v0_and_v1_meet(void **state)
{
    (void)state;
    call((struct setup){.spare = 3, .audio = true, .plain_video = true},
         (struct setup){.v0 = true, .audio = true, .video = true});
}

static void a_client_without_data_channels_is_served(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .audio = true});
    join(1, (struct setup){.spare = 3, .no_data = true});
    wait_for_streams(1, 1);
    assert_whole(1, true);
}

static void the_highest_layer_of_a_simulcast_arrives(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .video = true});
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 1);
    run_ms(TALK_MS);
    assert_int_equal(stream_of(1, false, 0)->layer, 2);
    assert_whole(1, true);
}

static bool layer_is_low(size_t i)
{
    return stream_of(i, false, 0)->layer == 0;
}

static bool layer_is_high(size_t i)
{
    return stream_of(i, false, 0)->layer == 2;
}

static void layers_switch_at_key_frames_without_a_break(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .video = true});
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 1);
    WAIT(layer_is_high, 1);
    char sid[40];
    (void)snprintf(sid, sizeof(sid), "%s", stream_of(1, false, 0)->track_sid);
    assert_int_equal(test_client_track_settings(people[1], sid, false, 0), 0);
    WAIT(layer_is_low, 1);
    assert_int_equal(test_client_track_settings(people[1], sid, false, 2), 0);
    WAIT(layer_is_high, 1);
    run_ms(TALK_MS);
    assert_true(stream_of(1, false, 0)->stats.switches >= 2);
    assert_whole(1, true);
}

static void someone_who_comes_later_gets_a_key_frame(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .audio = true, .video = true});
    WAIT(is_connected, 0);
    run_ms(TALK_MS);
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 2);
    assert_whole(1, true);
    // All there is was there before the join: the first answer brought it.
    assert_int_equal(status(1)->sections_asked, 0);
}

static void more_tracks_than_sections_make_the_server_ask(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        join(i, (struct setup){.spare = 1, .audio = true, .plain_video = true});
    }
    for (size_t i = 0; i < 4; i++) {
        wait_for_streams(i, 6);
        assert_true(status(i)->sections_asked >= 4);
        assert_whole(i, true);
    }
}

static void headers_alone_tell_the_same_numbers(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .audio = true, .plain_video = true});
    join(1, (struct setup){.spare = 3, .headers_only = true});
    join(2, (struct setup){.spare = 3});
    wait_for_streams(2, 2);
    run_ms(TALK_MS);
    test_client_pause(people[0], true);
    run_ms(100);
    struct client_stream_stats light = {0};
    struct client_stream_stats whole = {0};
    test_client_sum(people[1], &light);
    test_client_sum(people[2], &whole);
    assert_int_equal(light.checked, 0);
    assert_int_equal(light.missing, 0);
    assert_true(light.received > 20);
    assert_true(whole.received > 20);
}

// ---- losses -------------------------------------------------------------------------------------

static bool repaired(size_t i)
{
    const struct client_stream *const s = stream_of(i, false, 0);
    return s != NULL && s->stats.recovered >= 5;
}

// A lost repeat is asked for again after up to NACK_QUEUE_REPEAT_MAX_US: no fixed time is enough.
static bool nothing_is_asked_for(size_t i)
{
    return stream_of(i, false, 0)->nack->count == 0;
}

// What is missing now was given up: all its repeats were lost, or a newer key frame was complete when
// it was old (NACK_QUEUE_STALE_US; a machine that stood still makes many old at once). Most came.
static void assert_mostly_repaired(size_t i)
{
    const struct client_stream *const s = stream_of(i, false, 0);
    assert_true(s->stats.missing <= s->nack->stats.given_up);
    assert_true(s->nack->stats.given_up * 2 <= s->nack->stats.missing);
}

static void losses_on_the_way_down_are_repaired(void **state)
{
    (void)state;
    net->receive_drop_ppm = 50000;
    join(0, (struct setup){.spare = 3, .video = true});
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 1);
    WAIT(repaired, 1);
    net->receive_drop_ppm = 0;
    WAIT(nothing_is_asked_for, 1);
    assert_mostly_repaired(1);
    assert_whole(1, false);
}

static bool publisher_repeated(size_t i)
{
    const struct client_sender *const s = test_client_track(people[i], 0);
    return s->layer[0].repeated + s->layer[1].repeated + s->layer[2].repeated >= 5;
}

static void losses_on_the_way_up_are_repaired(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .video = true});
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 1);
    net->send_drop_ppm = 50000;
    WAIT(publisher_repeated, 0);
    net->send_drop_ppm = 0;
    WAIT(nothing_is_asked_for, 1);
    assert_mostly_repaired(1);
    assert_whole(1, false);
}

// ---- the session --------------------------------------------------------------------------------

static void a_bad_token_is_refused_with_401(void **state)
{
    (void)state;
    char *const token = client_signal_mint(SFU_PROCESS_KEY, "another-secret-of-32-characters!!!!!",
                                           room, "mallory");
    struct test_client_conf const conf = {
        .net = net, .url = sfu.url, .token = token, .spare_audio = 1};
    assert_int_equal(test_client_new(&conf, &people[0]), 0);
    mem_free(token);
    WAIT(has_ended, 0);
    assert_true(status(0)->failed);
    assert_non_null(strstr(status(0)->text, "401"));
}

static bool alone(size_t i)
{
    return status(i)->participants == 0;
}

static bool no_live_stream(size_t i)
{
    const struct client_stream *s = NULL;
    while ((s = test_client_next_stream(people[i], s)) != NULL) {
        if (s->live) {
            return false;
        }
    }
    return true;
}

static void who_leaves_is_gone_for_the_others(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .audio = true, .video = true});
    join(1, (struct setup){.spare = 3, .audio = true});
    wait_for_streams(1, 2);
    wait_for_streams(0, 1);
    test_client_leave(people[0]);
    WAIT(has_ended, 0);
    assert_string_equal(status(0)->text, "left");
    WAIT(alone, 1);
    WAIT(no_live_stream, 1);
    assert_int_equal(status(1)->remote_tracks, 0);
    assert_false(has_ended(1));
}

static void the_same_identity_again_ends_the_first_session(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .audio = true});
    WAIT(is_connected, 0);
    struct test_client *const old = people[0];
    join(0, (struct setup){.spare = 3, .audio = true});
    people[1] = old;
    WAIT(has_ended, 1);
    assert_int_equal(status(1)->leave_reason, LIVEKIT__DISCONNECT_REASON__DUPLICATE_IDENTITY);
    assert_int_equal(status(1)->leave_action, LIVEKIT__LEAVE_REQUEST__ACTION__DISCONNECT);
    WAIT(is_connected, 0);
    assert_false(has_ended(0));
}

static bool no_tracks_left(size_t i)
{
    return status(i)->remote_tracks == 0;
}

static void an_unpublished_track_ends_and_its_section_serves_again(void **state)
{
    size_t again = 0;
    (void)state;
    join(0, (struct setup){.spare = 3, .video = true});
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 1);
    assert_int_equal(test_client_unpublish(people[0], 0), 0);
    WAIT(no_tracks_left, 1);
    WAIT(no_live_stream, 1);
    assert_int_equal(test_client_publish(people[0], &plain_video, &again), 0);
    wait_for_streams(1, 1);
    assert_int_equal(status(1)->sections_asked, 0);
}

static uint64_t audio_packets(size_t i)
{
    return stream_of(i, true, 0)->stats.received;
}

static uint64_t before_unmute;

static bool audio_goes_on(size_t i)
{
    return audio_packets(i) > before_unmute + 5;
}

static void mute_stops_packets_and_unmute_brings_them_back(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .audio = true});
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 1);
    assert_int_equal(test_client_mute(people[0], 0, true), 0);
    run_ms(100);
    before_unmute = audio_packets(1);
    run_ms(200);
    assert_true(audio_packets(1) - before_unmute <= 1);
    before_unmute = audio_packets(1);
    assert_int_equal(test_client_mute(people[0], 0, false), 0);
    WAIT(audio_goes_on, 1);
    assert_whole(1, true);
}

static bool video_goes_on(size_t i)
{
    return stream_of(i, false, 0)->stats.frames_whole > before_unmute + 5;
}

static void a_disabled_track_pauses_and_comes_back_with_a_key_frame(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .video = true});
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 1);
    char sid[40];
    const struct client_stream *const s = stream_of(1, false, 0);
    (void)snprintf(sid, sizeof(sid), "%s", s->track_sid);
    assert_int_equal(test_client_track_settings(people[1], sid, true, 2), 0);
    run_ms(300);
    uint64_t const packets = s->stats.received;
    uint64_t const keys = s->stats.key_frames;
    run_ms(300);
    assert_int_equal(s->stats.received, packets);
    before_unmute = s->stats.frames_whole;
    assert_int_equal(test_client_track_settings(people[1], sid, false, 2), 0);
    WAIT(video_goes_on, 1);
    assert_true(s->stats.key_frames > keys);
    assert_whole(1, true);
}

static bool subscribed_again(size_t i)
{
    return flowing(i) >= 1;
}

static void subscriptions_can_be_made_by_hand(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .audio = true});
    join(1, (struct setup){.spare = 3, .manual = true});
    WAIT(is_connected, 0);
    WAIT(is_connected, 1);
    run_ms(300);
    assert_int_equal(flowing(1), 0);
    const char *const sid = test_client_track(people[0], 0)->sid;
    assert_int_equal(test_client_subscribe(people[1], sid, true), 0);
    WAIT(subscribed_again, 1);
    assert_int_equal(test_client_subscribe(people[1], sid, false), 0);
    WAIT(no_live_stream, 1);
    assert_int_equal(test_client_subscribe(people[1], sid, true), 0);
    WAIT(subscribed_again, 1);
    assert_whole(1, true);
}

static bool has_resumed(size_t i)
{
    return (events[i] & 1u << TEST_CLIENT_RESUMED) != 0;
}

static bool has_pong(size_t i)
{
    return status(i)->pongs > 0;
}

static uint32_t answers_before;

static bool new_answer(size_t i)
{
    return status(i)->answers > answers_before;
}

static void resume(bool v0)
{
    join(0, (struct setup){.v0 = v0, .spare = 3, .audio = true});
    join(1, (struct setup){.v0 = v0, .spare = 3, .audio = true});
    wait_for_streams(0, 1);
    wait_for_streams(1, 1);
    char sid[40];
    (void)snprintf(sid, sizeof(sid), "%s", status(0)->sid);
    test_client_cut_signal(people[0]);
    uint64_t const packets = audio_packets(1);
    run_ms(300);
    // Media outlives the socket.
    assert_true(audio_packets(1) > packets + 5);
    answers_before = status(0)->answers;
    assert_int_equal(test_client_resume(people[0]), 0);
    WAIT(has_resumed, 0);
    WAIT(new_answer, 0);
    before_unmute = audio_packets(1) + 20;
    WAIT(audio_goes_on, 1);
    assert_string_equal(status(0)->sid, sid);
    assert_int_equal(status(1)->participants, 1);
    assert_whole(1, true);
    assert_whole(0, true);
}

static void a_lost_socket_is_resumed_over_v1(void **state)
{
    (void)state;
    resume(false);
}

static void a_lost_socket_is_resumed_over_v0(void **state)
{
    (void)state;
    resume(true);
}

static bool has_speakers(size_t i)
{
    return status(i)->speaker_updates > 0;
}

static void who_speaks_is_told_and_pings_are_answered(void **state)
{
    (void)state;
    join(0, (struct setup){.spare = 3, .audio = true});
    join(1, (struct setup){.spare = 3});
    wait_for_streams(1, 1);
    WAIT(has_speakers, 1);
    WAIT(has_pong, 1);
}

static bool reports_flow(size_t i)
{
    const struct client_pc *const p = test_client_pc(people[i], 0);
    const struct client_stream *const s = stream_of(i, false, 1 - i);
    return p->rtcp_out > 0 && p->twcc_in > 0 && rtp_stats_rx_last_sr(&s->rx) != NULL &&
           test_client_track(people[i], 0)->layer[0].reported;
}

static void reports_flow_and_publishers_hear_about_congestion(void **state)
{
    struct setup const s = {.spare = 3, .audio = true, .video = true};
    (void)state;
    call(s, s);
    WAIT(reports_flow, 0);
    WAIT(reports_flow, 1);
    const struct client_pc *const p = test_client_pc(people[0], 0);
    assert_int_equal(p->malformed, 0);
    // Media may overtake the answer that announces it, by some packets.
    assert_true(p->unknown_ssrc < 10);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(two_people_hear_and_see_each_other_over_v1),
        TEST(two_people_hear_and_see_each_other_over_v0),
        TEST(v0_and_v1_meet),
        TEST(a_client_without_data_channels_is_served),
        TEST(the_highest_layer_of_a_simulcast_arrives),
        TEST(layers_switch_at_key_frames_without_a_break),
        TEST(someone_who_comes_later_gets_a_key_frame),
        TEST(more_tracks_than_sections_make_the_server_ask),
        TEST(headers_alone_tell_the_same_numbers),
        TEST(losses_on_the_way_down_are_repaired),
        TEST(losses_on_the_way_up_are_repaired),
        TEST(a_bad_token_is_refused_with_401),
        TEST(who_leaves_is_gone_for_the_others),
        TEST(the_same_identity_again_ends_the_first_session),
        TEST(an_unpublished_track_ends_and_its_section_serves_again),
        TEST(mute_stops_packets_and_unmute_brings_them_back),
        TEST(a_disabled_track_pauses_and_comes_back_with_a_key_frame),
        TEST(subscriptions_can_be_made_by_hand),
        TEST(a_lost_socket_is_resumed_over_v1),
        TEST(a_lost_socket_is_resumed_over_v0),
        TEST(who_speaks_is_told_and_pings_are_answered),
        TEST(reports_flow_and_publishers_hear_about_congestion),
    };
    char beside[512];
    static const char *const args[] = {"--workers", "2", NULL};
    (void)signal(SIGPIPE, SIG_IGN);
    const char *const program =
        argc > 1 ? argv[1] : sfu_process_beside(argv[0], beside, sizeof(beside));
    if (strncmp(program, "ws://", 5) == 0) {
        (void)snprintf(sfu.url, sizeof(sfu.url), "%s", program);
    } else {
        int const rc = sfu_process_start(&sfu, program, args);
        if (rc < 0) {
            (void)fprintf(stderr, "cannot start %s (make sfu): %s\n", program, strerror(-rc));
            return 1;
        }
    }
    loop = loop_new();
    if (loop == NULL || client_net_new(loop, &net) < 0) {
        return 1;
    }
    int const failed = cmocka_run_group_tests(tests, NULL, NULL);
    client_net_free(net);
    loop_free(loop);
    sfu_process_stop(&sfu);
    // A leak or a data race that a sanitizer found in the server is a failure too.
    return failed > 0 || sfu.exit_status != 0 ? 1 : 0;
}
