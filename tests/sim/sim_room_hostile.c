// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: effort
//
// A member of a room who floods it with requests that are all allowed: what others are told of it and
// what the server does for it stay bounded, a call beside it loses nothing, and what was asked last is
// what others see in the end.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "sfu/media/down_track.h"
#include "sfu/media/rtcp_out.h"
#include "sfu/room/track_preference.h"
#include "tests/support/room_sim.h"

#define CROWD 300
#define WARM_S 20 // of a flood: uses the allowances up
#define FLOOD_S 20
#define UNDER_WAY 256 // SIGNAL_REQUESTS_UNDER_WAY: what the signalling thread lets through

static struct room_client *alice, *bob, *mallory;
static struct room_sender *camera;

// ---- a crowd that only listens ---------------------------------------------------------------

static handle_t listener;
static uint64_t told, told_bytes, told_all; // to one of the crowd; messages to everybody

static void tap(void *user, const struct channel_msg *m)
{
    (void)user;
    if (m->type != CHANNEL_SEND) {
        return;
    }
    told_all++;
    if (handle_eq(m->handle, listener)) {
        told++;
        told_bytes += m->u.send.data->n;
    }
}

static handle_t join_listener(unsigned number)
{
    char identity[32];
    (void)snprintf(identity, sizeof(identity), "listener %u", number);
    struct access_claims const claims = {
        .identity = identity,
        .has_video = true,
        .video = {.room = "room", .room_join = true},
        .exp = h.env.wall.us / US_PER_S + 3600,
    };
    return room_harness_join_claims(&h, &claims, 17);
}

static void begin_crowd(void)
{
    begin();
    alice = join_as("alice", false);
    bob = join_as("bob", true);
    mallory = room_client_join(
        &h, &(struct room_client_conf){.identity = "mallory", .update_metadata = true});
    run(S(1));
    camera = room_client_publish(alice, ROOM_VIDEO);
    run(S(1));
    for (unsigned i = 0; i < CROWD; i++) {
        listener = join_listener(i);
    }
    run(S(1));
    h.tap = tap;
    told = told_bytes = told_all = 0;
}

static void end_crowd(void)
{
    h.tap = NULL;
    end();
}

// ---- floods ----------------------------------------------------------------------------------

static unsigned held(void)
{
    unsigned n = 0;
    const struct participant *const p = server_side(mallory);
    for (const struct channel_msg *m = p != NULL ? p->effort.held : NULL; m != NULL; m = m->next) {
        n++;
    }
    return n;
}

static double cpu_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// `attack` as often as the signalling thread lets it through, for a while. The call beside it loses
// nothing.
static unsigned flood(const char *name, void (*attack)(unsigned i))
{
    const struct room_stream *const st = room_client_stream(bob, camera->sid);
    assert_non_null(st);
    uint64_t const sent = camera->packets;
    uint64_t const received = st->packets;
    double before = 0;
    unsigned n = 0;
    unsigned warm = 0;
    for (unsigned tick = 0; tick < (WARM_S + FLOOD_S) * SIGNAL_REQUESTS_PER_S; tick++) {
        if (tick == WARM_S * SIGNAL_REQUESTS_PER_S) {
            warm = n;
            before = cpu_s();
            told = told_bytes = told_all = 0;
        }
        if (held() < UNDER_WAY) {
            attack(n++);
        }
        run(MS(1000) / SIGNAL_REQUESTS_PER_S);
    }
    double const cpu = cpu_s() - before;
    run(MS(500));
    print_message("%-28s %6u requests, %7.1f updates/s and %8.1f KB/s to each, %8.0f messages/s, "
                  "%4.1f %% of a core\n",
                  name, n - warm, (double)told / FLOOD_S, (double)told_bytes / FLOOD_S / 1000,
                  (double)told_all / FLOOD_S, cpu * 100 / FLOOD_S);
    uint64_t const all = camera->packets - sent;
    assert_true(all > 100 && st == room_client_stream(bob, camera->sid));
    assert_in_range(st->packets - received, all - 10, all + 10);
    assert_false(mallory->closed);
    // What it may, at EFFORT_MESSAGE_US each, and a tenth for what was begun before.
    assert_true(told_all < FLOOD_S * EFFORT_WORK_PERCENT * 11000u / EFFORT_MESSAGE_US);
    return n;
}

static struct room_sender *flooded;

static void toggle_mute(unsigned i)
{
    room_client_mute(mallory, flooded, i % 2 == 0);
}

static void mutes_are_told_at_a_bounded_rate(void **state)
{
    (void)state;
    begin_crowd();
    flooded = room_client_publish(mallory, ROOM_AUDIO);
    run(S(1));
    unsigned const n = flood("mute and unmute", toggle_mute);
    // None of them waited, and others soon know the last one.
    assert_int_equal(n, (WARM_S + FLOOD_S) * SIGNAL_REQUESTS_PER_S);
    assert_int_equal(h.env.requests_held, 0);
    const struct room_peer *const p = room_client_peer(bob, "mallory");
    assert_int_equal(p->track_count, 1);
    assert_int_equal(p->tracks[0].muted, (n - 1) % 2 == 0);
    end_crowd();
}

static char text[(512u << 10) + 1];

static void change_metadata(unsigned i)
{
    (void)snprintf(text, 16, "%015u", i);
    text[15] = '.';
    Livekit__UpdateParticipantMetadata u = LIVEKIT__UPDATE_PARTICIPANT_METADATA__INIT;
    LK_SET_STR(&u, metadata, text);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA;
    r.update_metadata = &u;
    room_client_request(mallory, &r);
}

static void large_metadata_is_told_at_a_bounded_rate(void **state)
{
    (void)state;
    begin_crowd();
    memset(text, 'm', 64u << 10);
    text[64u << 10] = 0;
    (void)flood("64 KiB of metadata", change_metadata);
    assert_true(told_bytes < (1u << 20) + FLOOD_S * EFFORT_TOLD_BYTES_PER_S);
    end_crowd();
}

// The metadata is there once, and then is told again with each change of the name.
static void change_name(unsigned i)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "%u", i);
    Livekit__UpdateParticipantMetadata u = LIVEKIT__UPDATE_PARTICIPANT_METADATA__INIT;
    LK_SET_STR(&u, name, name);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA;
    r.update_metadata = &u;
    room_client_request(mallory, &r);
}

static void small_changes_of_large_people_too(void **state)
{
    (void)state;
    begin_crowd();
    memset(text, 'm', sizeof(text) - 1);
    change_metadata(0);
    run(S(1));
    told = told_bytes = told_all = 0;
    (void)flood("a name with 512 KiB beside", change_name);
    assert_true(told_bytes < (1u << 20) + FLOOD_S * EFFORT_TOLD_BYTES_PER_S);
    end_crowd();
}

static void toggle_permission(unsigned i)
{
    room_client_permit(mallory, i % 2 == 0 ? NULL : "*", NULL);
}

static void permissions_of_others_are_changed_at_a_bounded_rate(void **state)
{
    (void)state;
    begin_crowd();
    for (size_t i = 0; i < 4; i++) {
        (void)room_client_publish(mallory, ROOM_AUDIO);
    }
    run(S(2));
    (void)flood("permissions", toggle_permission);
    end_crowd();
}

static char *all_sids[8];
static size_t sid_count;

static void toggle_subscriptions(unsigned i)
{
    Livekit__UpdateSubscription u = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    u.track_sids = all_sids;
    u.n_track_sids = sid_count;
    LK_SET(&u, subscribe, i % 2 == 0);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION;
    r.subscription = &u;
    room_client_request(mallory, &r);
}

static void change_settings(unsigned i)
{
    room_client_settings(mallory, camera->sid, i % 2 == 0, (int)(i % 3), 0, 0);
}

static void subscriptions_and_settings_are_toggled(void **state)
{
    (void)state;
    begin_crowd();
    struct room_sender *v[7];
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        v[i] = room_client_publish(alice, ROOM_AUDIO);
    }
    run(S(2));
    sid_count = 0;
    all_sids[sid_count++] = camera->sid;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        all_sids[sid_count++] = v[i]->sid;
    }
    (void)flood("own subscriptions", toggle_subscriptions);
    told = told_bytes = told_all = 0;
    (void)flood("track settings", change_settings);
    end_crowd();
}

// ---- key frames ------------------------------------------------------------------------------

static void ask_for_key_frame(unsigned i)
{
    (void)i;
    const struct room_stream *const st = room_client_stream(mallory, camera->sid);
    struct room_pc *const pc = mallory->publisher;
    if (st == NULL || pc->state != PEER_CONNECTION_CONNECTED) {
        return;
    }
    struct rtcp_out o;
    uint8_t buf[RTCP_OUT_CAP];
    size_t n = 0;
    rtcp_out_init(&o, 0x60000000u);
    (void)!rtcp_out_add_pli(&o, st->ssrc);
    if (rtcp_out_finish(&o, (struct bytes_mut){buf, sizeof(buf)}, &n) == 0) {
        (void)!peer_connection_send_rtcp(pc->pc, bytes_of(buf, n), &pc->ep.out);
        outbox_flush(&pc->ep.out);
    }
}

static void ask_and_subscribe_again(unsigned i)
{
    if (i % 150 == 0) {
        room_client_subscribe(mallory, camera->sid, (i / 150) % 2 == 1);
    }
    ask_for_key_frame(i);
}

static void key_frames_for_one_are_bounded(void **state)
{
    (void)state;
    begin_crowd();
    uint64_t keys = camera->model.keys;
    (void)flood("PLI", ask_for_key_frame);
    // Some requests come just when a key frame passes, and are not counted.
    uint64_t const most =
        3 * (DOWN_TRACK_KEYS_BURST + (WARM_S + FLOOD_S) * US_PER_S / DOWN_TRACK_KEYS_INTERVAL_US) /
        2;
    print_message("%" PRIu64 " key frames\n", camera->model.keys - keys);
    assert_in_range(camera->model.keys - keys, 4, most);
    keys = camera->model.keys;
    (void)flood("PLI and new subscriptions", ask_and_subscribe_again);
    print_message("%" PRIu64 " key frames\n", camera->model.keys - keys);
    assert_in_range(camera->model.keys - keys, 1, most);
    // Somebody else is answered at once.
    keys = camera->model.keys;
    room_client_settings(bob, camera->sid, true, 2, 0, 0);
    run(S(1));
    room_client_settings(bob, camera->sid, false, 2, 0, 0);
    run(MS(500));
    assert_true(camera->model.keys > keys);
    end_crowd();
}

static void add_track(unsigned i)
{
    (void)i;
    if (mallory->sender_count < 40) {
        (void)room_client_publish_as(
            mallory, &(struct room_publish){.media = ROOM_AUDIO, .only_request = true});
    } else {
        room_client_add_track(mallory, mallory->senders[mallory->sender_count - 1]);
    }
}

static void announced_tracks_are_bounded(void **state)
{
    (void)state;
    begin_crowd();
    unsigned const n = flood("add_track without media", add_track);
    const struct participant *const p = server_side(mallory);
    assert_int_equal(p->track_count, PARTICIPANT_PENDING_TRACKS_MAX);
    assert_true(mallory->refusals >= n / 2);
    assert_true(told < 10); // counters of the room
    end_crowd();
}

static void ping(unsigned i)
{
    (void)i;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    r.ping = 1;
    room_client_request(mallory, &r);
}

static void offer_again(unsigned i)
{
    (void)i;
    room_client_offer(mallory, true);
}

static void simulate_speech(unsigned i)
{
    Livekit__SimulateScenario s = LIVEKIT__SIMULATE_SCENARIO__INIT;
    s.scenario_case = LIVEKIT__SIMULATE_SCENARIO__SCENARIO_SPEAKER_UPDATE;
    s.speaker_update = 1 + (int32_t)(i % 2);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SIMULATE;
    r.simulate = &s;
    room_client_request(mallory, &r);
}

static void sync_state(unsigned i)
{
    (void)i;
    Livekit__SyncState s = LIVEKIT__SYNC_STATE__INIT;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE;
    r.sync_state = &s;
    room_client_request(mallory, &r);
}

static void what_concerns_nobody_else(void **state)
{
    (void)state;
    begin_crowd();
    for (size_t i = 0; i < 4; i++) {
        (void)room_client_publish(mallory, ROOM_AUDIO);
    }
    run(S(2));
    told = told_bytes = told_all = 0;
    unsigned const pongs = mallory->pongs;
    unsigned const n = flood("ping", ping);
    assert_int_equal(mallory->pongs - pongs, n);
    told = told_bytes = told_all = 0;
    (void)flood("offers with ICE restarts", offer_again);
    (void)flood("simulated speech", simulate_speech);
    (void)flood("sync_state", sync_state);
    assert_true(told < 100);
    end_crowd();
}

// One that is over its allowance is answered when it asks whether it is still there.
static void who_waits_is_still_there(void **state)
{
    (void)state;
    begin_crowd();
    memset(text, 'm', sizeof(text) - 1);
    change_metadata(0);
    run(S(1));
    (void)flood("a name with 512 KiB beside", change_name);
    assert_true(held() > 0 && h.env.requests_held > 0);
    unsigned const pongs = mallory->pongs;
    ping(0);
    run(MS(10));
    assert_int_equal(mallory->pongs, pongs + 1);
    // What waits goes with its socket, and is counted; the session comes back.
    uint64_t const stale = h.env.drops[ROOM_DROP_REQUEST_STALE];
    room_client_drop_socket(mallory);
    run(MS(100));
    assert_true(h.env.drops[ROOM_DROP_REQUEST_STALE] > stale);
    room_client_resume(mallory);
    run(S(1));
    assert_true(mallory->reconnected);
    room_client_leave(mallory);
    run(S(1));
    assert_null(server_side(mallory));
    end_crowd();
}

// More names in one request than a client may speak about.
static void names_in_one_request_are_bounded(void **state)
{
    (void)state;
    begin();
    alice = join_as("alice", false);
    run(S(1));
    size_t const n = 3 * TRACK_PREFERENCES_MAX;
    char **const sids = mem_array(n, sizeof(*sids));
    char(*const names)[16] = mem_array(n, sizeof(*names));
    assert_true(sids != NULL && names != NULL);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "TR_%zu", i);
        sids[i] = names[i];
    }
    Livekit__UpdateSubscription u = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    u.track_sids = sids;
    u.n_track_sids = n;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION;
    r.subscription = &u;
    room_client_request(alice, &r);
    run(S(1));
    assert_int_equal(h.env.drops[ROOM_DROP_REQUEST_ITEMS], n - 2 * TRACK_PREFERENCES_MAX);
    assert_int_equal(HASH_COUNT(server_side(alice)->preferences), TRACK_PREFERENCES_MAX);
    // A SyncState that names more tracks than one may publish is not of this session.
    Livekit__TrackPublishedResponse t = LIVEKIT__TRACK_PUBLISHED_RESPONSE__INIT;
    Livekit__TrackPublishedResponse *tracks[PARTICIPANT_TRACKS_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(tracks); i++) {
        tracks[i] = &t;
    }
    Livekit__SyncState s = LIVEKIT__SYNC_STATE__INIT;
    s.publish_tracks = tracks;
    s.n_publish_tracks = ARRAY_LEN(tracks);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE;
    r.sync_state = &s;
    room_client_request(alice, &r);
    run(S(1));
    assert_true(alice->left);
    assert_int_equal(alice->leave_reason, DISCONNECT_STATE_MISMATCH);
    mem_free(sids);
    mem_free(names);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mutes_are_told_at_a_bounded_rate),
        TEST(large_metadata_is_told_at_a_bounded_rate),
        TEST(small_changes_of_large_people_too),
        TEST(permissions_of_others_are_changed_at_a_bounded_rate),
        TEST(subscriptions_and_settings_are_toggled),
        TEST(key_frames_for_one_are_bounded),
        TEST(announced_tracks_are_bounded),
        TEST(what_concerns_nobody_else),
        TEST(who_waits_is_still_there),
        TEST(names_in_one_request_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
