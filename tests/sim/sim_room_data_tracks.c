// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: data_track data_subscription
//
// Data tracks: published, subscribed to, forwarded by handle, and who may not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/time.h>

#include "common/base/base64.h"
#include "sfu/room/data_subscription.h"
#include "sfu/room/participant_permission.h"
#include "tests/support/room_sim.h"

// usrsctp compares its timers with the wall clock: it gets the virtual one (see sim_room_data.c).
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    (void)tz;
    tv->tv_sec = 1700000000 + h.now.us / US_PER_S;
    tv->tv_usec = h.now.us % US_PER_S;
    return 0;
}

static struct room_client *a, *b, *c;
static char sid[24]; // of alice's track 1

static void two(bool v0)
{
    begin();
    a = join_as("alice", v0);
    b = join_as("bob", v0);
    run(S(2));
    assert_true(a->data.opened[ROOM_DATA_TRACK] && b->data.opened[ROOM_DATA_TRACK]);
}

static void publish(struct room_client *who, uint32_t handle, const char *name)
{
    room_data_track_publish(who, handle, name);
    run(MS(100));
    const struct room_data_track *const t = room_data_track_mine(who, handle);
    assert_non_null(t);
    memcpy(sid, t->sid, sizeof(sid));
}

static void subscribe(struct room_client *who)
{
    room_data_track_subscribe(who, sid, true);
    run(MS(100));
}

static unsigned got(const struct room_client *who)
{
    const struct room_data_track *const t = room_data_track_of(who, sid);
    return t != NULL ? t->packets : 0;
}

static void send_some(struct room_client *who, uint32_t handle, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(room_data_track_send(who, handle, i, 100), 0);
        run(MS(10));
    }
    run(MS(200));
}

static struct participant_permission permission_of(struct room_client *who)
{
    return server_side(who)->permission;
}

static void set_permission(struct room_client *who, const struct participant_permission *perm)
{
    assert_true(participant_set_permission(server_side(who), perm));
    room_harness_turn(&h); // not called by a message, so nothing else hands on what it says
    run(MS(100));
}

// ---- the way of recording 10-data-tracks-v1 -------------------------------------------------

static void a_track_is_published_subscribed_to_and_ended(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        two(v0 != 0);
        publish(a, 1, "sensor");
        assert_int_equal(room_client_peer(b, "alice")->data_track_count, 1);
        assert_int_equal(room_client_peer(a, "alice")->data_track_count, 1);
        assert_true(room_client_peer(b, "alice")->publisher);
        assert_int_equal(b->tracks.maps, 0);
        unsigned const permitted = b->permitted;
        subscribe(b);
        assert_int_equal(b->permitted, permitted + 1);
        assert_string_equal(b->permission_sid, sid);
        assert_int_equal(b->tracks.maps, 1);
        assert_string_equal(room_data_track_of(b, sid)->publisher_sid, a->sid);
        send_some(a, 1, 5);
        assert_int_equal(got(b), 5);
        assert_int_equal(room_data_track_of(b, sid)->last_sequence, 4);
        assert_int_equal(a->tracks.packets, 0);
        room_data_track_unpublish(a, 1);
        run(MS(100));
        assert_null(room_data_track_mine(a, 1));
        assert_int_equal(room_client_peer(b, "alice")->data_track_count, 0);
        assert_int_equal(b->tracks.maps, 2);
        assert_int_equal(b->tracks.received_count, 0);
        send_some(a, 1, 2);
        assert_int_equal(b->tracks.strays, 0);
        assert_int_equal(h.env.drops[ROOM_DROP_DATA_TRACK_UNKNOWN], 2);
        end();
    }
}

// ---- recorded answers -----------------------------------------------------------------------

// What the present participant was answered last, without what is not about data tracks.
static struct dynbuf answer;
static handle_t answer_to;

static void tap(void *user, const struct channel_msg *m)
{
    (void)user;
    struct pbuf *p = NULL;
    if (m->type != CHANNEL_SEND || !handle_eq(m->handle, answer_to) ||
        lk_unpack_signal_response(shared_buf_view(m->u.send.data), &p) < 0) {
        return;
    }
    const Livekit__SignalResponse *const r = p->msg;
    if (r->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REQUEST_RESPONSE ||
        r->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PUBLISH_DATA_TRACK_RESPONSE ||
        r->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UNPUBLISH_DATA_TRACK_RESPONSE) {
        dynbuf_add(&answer, shared_buf_view(m->u.send.data));
    }
    pbuf_free(p);
}

// Random in both.
static void blank_sid(struct dynbuf *m)
{
    for (size_t i = 0; i + 16 <= m->n; i++) {
        if (memcmp(m->p + i, SID_DATA_TRACK, strlen(SID_DATA_TRACK)) == 0) {
            memset(m->p + i, '*', 16);
        }
    }
}

static void post(struct room_client *who, struct bytes request)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_REQUEST, who->session);
    assert_non_null(m);
    assert_int_equal(lk_unpack_signal_request(request, &m->u.request), 0);
    room_harness_post(&h, m);
    run(MS(100));
}

static void compare(const char *line, struct dynbuf *recorded)
{
    blank_sid(recorded);
    blank_sid(&answer);
    if (!bytes_eq(dynbuf_view(recorded), dynbuf_view(&answer))) {
        fail_msg("another answer than recorded: %s", line);
    }
    dynbuf_reset(&answer);
}

// Every answer is that of livekit-server, byte for byte but for the sid.
static void answers_are_those_recorded(void **state)
{
    (void)state;
    FILE *const f = fopen("tests/data/signalling/data_tracks.txt", "r");
    assert_non_null(f);
    begin();
    a = join_as("ann", true);
    b = room_client_join(
        &h, &(struct room_client_conf){.identity = "ben", .v0 = true, .no_publish_data = true});
    run(S(1));
    dynbuf_init(&answer, 4096);
    h.tap = tap;
    char line[1024];
    unsigned answers = 0;
    while (fgets(line, sizeof(line), f) != NULL) {
        char *const text = strrchr(line, ' ') + 1;
        struct dynbuf raw;
        dynbuf_init(&raw, sizeof(line));
        text[strcspn(text, "\n")] = 0;
        if (line[0] != '#') {
            struct room_client *const who = line[0] == 'a' ? a : b;
            assert_int_equal(base64_decode(BASE64_STD, bytes_str(text), &raw), 0);
            answer_to = who->session;
            if (line[4] == '>') {
                assert_int_equal(answer.n, 0); // the one before had its answer
                post(who, dynbuf_view(&raw));
            } else {
                compare(line, &raw);
                answers++;
            }
        }
        dynbuf_done(&raw);
    }
    assert_int_equal(answers, 11);
    (void)fclose(f);
    dynbuf_done(&answer);
    h.tap = NULL;
    end();
}

// ---- who may --------------------------------------------------------------------------------

static void rights_are_withdrawn_and_given_back(void **state)
{
    (void)state;
    two(false);
    publish(a, 1, "sensor");
    subscribe(b);
    struct participant_permission perm = permission_of(b);
    perm.can_subscribe = false;
    unsigned const withheld = b->withheld;
    set_permission(b, &perm);
    assert_int_equal(b->withheld, withheld + 1);
    assert_int_equal(b->tracks.received_count, 0);
    send_some(a, 1, 3);
    assert_int_equal(b->tracks.packets, 0);
    perm.can_subscribe = true;
    set_permission(b, &perm);
    assert_int_equal(b->tracks.received_count, 1);
    send_some(a, 1, 3);
    assert_int_equal(got(b), 3);
    // The publisher's: its tracks end.
    perm = permission_of(a);
    perm.can_publish_data = false;
    set_permission(a, &perm);
    assert_null(room_data_track_mine(a, 1));
    assert_int_equal(room_client_peer(b, "alice")->data_track_count, 0);
    assert_int_equal(b->tracks.received_count, 0);
    room_data_track_publish(a, 1, "again");
    run(MS(100));
    assert_int_equal(a->tracks.refused, 1);
    assert_int_equal(a->tracks.reason, LIVEKIT__REQUEST_RESPONSE__REASON__NOT_ALLOWED);
    end();
}

static void restrict_tracks(struct room_client *who, bool all, const char *identity,
                            const char *track)
{
    Livekit__TrackPermission t = LIVEKIT__TRACK_PERMISSION__INIT;
    LK_SET_STR(&t, participant_identity, identity);
    t.track_sids = (char *[]){lk_unconst_str(track)};
    t.n_track_sids = track != NULL;
    Livekit__SubscriptionPermission m = LIVEKIT__SUBSCRIPTION_PERMISSION__INIT;
    LK_SET(&m, all_participants, all);
    m.track_permissions = (Livekit__TrackPermission *[]){&t};
    m.n_track_permissions = identity != NULL;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION_PERMISSION;
    r.subscription_permission = &m;
    room_client_request(who, &r);
    run(MS(300));
}

static void publishers_choose_their_subscribers(void **state)
{
    (void)state;
    two(false);
    publish(a, 1, "sensor");
    subscribe(b);
    restrict_tracks(a, false, NULL, NULL);
    assert_int_equal(b->tracks.received_count, 0);
    assert_int_equal(b->withheld, 1);
    restrict_tracks(a, false, "bob", sid);
    assert_int_equal(b->tracks.received_count, 1);
    restrict_tracks(a, false, "bob", "DTR_another");
    assert_int_equal(b->tracks.received_count, 0);
    restrict_tracks(a, true, NULL, NULL);
    assert_int_equal(b->tracks.received_count, 1);
    send_some(a, 1, 3);
    assert_int_equal(got(b), 3);
    end();
}

static void some_subscribe_by_themselves(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    run(S(1));
    publish(a, 1, "early");
    char early[24];
    memcpy(early, sid, sizeof(early));
    b = room_client_join(
        &h, &(struct room_client_conf){.identity = "bob", .auto_subscribe_data = true});
    c = room_client_join(&h, &(struct room_client_conf){
                                 .identity = "carol", .v0 = true, .auto_subscribe_data = true});
    run(S(2));
    assert_non_null(room_data_track_of(b, early));
    publish(a, 2, "late");
    assert_int_equal(b->tracks.received_count, 2);
    assert_int_equal(c->tracks.received_count, 2);
    send_some(a, 2, 3);
    assert_int_equal(got(b), 3);
    assert_int_equal(got(c), 3);
    // Told otherwise, it stays away.
    room_data_track_subscribe(b, sid, false);
    run(MS(100));
    assert_int_equal(b->tracks.received_count, 1);
    struct participant_permission perm = permission_of(b);
    perm.can_update_metadata = !perm.can_update_metadata;
    set_permission(b, &perm);
    assert_int_equal(b->tracks.received_count, 1);
    room_data_track_subscribe(b, sid, true);
    run(MS(100));
    assert_int_equal(b->tracks.received_count, 2);
    end();
}

static void hidden_ones_have_no_subscribers(void **state)
{
    (void)state;
    begin();
    a = room_client_join(&h, &(struct room_client_conf){.identity = "ghost", .hidden = true});
    b = room_client_join(
        &h, &(struct room_client_conf){.identity = "bob", .auto_subscribe_data = true});
    run(S(2));
    publish(a, 1, "sensor");
    subscribe(b);
    assert_int_equal(b->tracks.received_count, 0);
    send_some(a, 1, 3);
    assert_int_equal(b->tracks.packets, 0);
    end();
}

// ---- sessions that end and come back --------------------------------------------------------

static void who_leaves_takes_its_tracks_along(void **state)
{
    (void)state;
    two(true);
    c = join_as("carol", false);
    run(S(1));
    publish(a, 1, "one");
    subscribe(b);
    publish(a, 2, "two");
    subscribe(b);
    subscribe(c);
    assert_int_equal(b->tracks.received_count, 2);
    room_client_leave(c);
    run(MS(500));
    send_some(a, 2, 3);
    assert_int_equal(got(b), 3);
    unsigned const maps = b->tracks.maps;
    room_client_leave(a);
    run(MS(500));
    assert_int_equal(b->tracks.received_count, 0);
    assert_int_equal(b->tracks.maps, maps + 1); // one for both
    end();
}

static void a_resume_finds_tracks_and_handles(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        two(v0 != 0);
        publish(a, 1, "sensor");
        subscribe(b);
        // Meanwhile nothing has changed: nothing is told.
        unsigned const maps = b->tracks.maps;
        room_client_drop_socket(b);
        run(MS(500));
        room_client_resume(b);
        run(S(1));
        assert_int_equal(b->tracks.maps, maps);
        // The publisher's own resume keeps its track.
        room_client_drop_socket(a);
        run(MS(500));
        room_client_resume(a);
        run(S(2));
        assert_false(a->left);
        send_some(a, 1, 3);
        assert_int_equal(got(b), 3);
        // Gone while bob was not there.
        room_client_drop_socket(b);
        run(MS(100));
        room_data_track_unpublish(a, 1);
        run(MS(500));
        room_client_resume(b);
        run(S(1));
        assert_int_equal(b->tracks.maps, maps + 1);
        assert_int_equal(b->tracks.received_count, 0);
        end();
    }
}

static void a_client_with_an_unknown_track_starts_over(void **state)
{
    (void)state;
    two(false);
    publish(a, 1, "sensor");
    (void)snprintf(a->tracks.published[0].sid, sizeof(a->tracks.published[0].sid), "DTR_stale");
    room_client_drop_socket(a);
    run(MS(300));
    room_client_resume(a);
    run(S(1));
    assert_true(a->left);
    assert_int_equal(a->leave_action, LEAVE_RECONNECT);
    assert_int_equal(a->leave_reason, LIVEKIT__DISCONNECT_REASON__STATE_MISMATCH);
    end();
}

// Its response was written to the socket that died.
static void a_lost_response_is_repeated(void **state)
{
    (void)state;
    two(false);
    room_data_track_publish(a, 1, "sensor");
    run(MS(4)); // the request has arrived, the response has not
    room_client_drop_socket(a);
    run(MS(300));
    assert_null(room_data_track_mine(a, 1));
    room_client_resume(a);
    run(S(1));
    assert_non_null(room_data_track_mine(a, 1));
    end();
}

// ---- limits and bad input -------------------------------------------------------------------

static void there_may_be_many_but_not_any_number(void **state)
{
    (void)state;
    two(false);
    for (uint32_t i = 1; i <= DATA_TRACKS_MAX + 2; i++) {
        char name[DATA_TRACK_NAME_MAX + 1];
        (void)snprintf(name, sizeof(name), "%0*u", DATA_TRACK_NAME_MAX, i);
        room_data_track_publish(a, i, name);
    }
    run(S(1));
    assert_int_equal(a->tracks.published_count, DATA_TRACKS_MAX);
    assert_int_equal(a->tracks.refused, 2);
    assert_int_equal(a->tracks.reason, LIVEKIT__REQUEST_RESPONSE__REASON__LIMIT_EXCEEDED);
    assert_int_equal(room_client_peer(b, "alice")->data_track_count, DATA_TRACKS_MAX);
    for (size_t i = 0; i < DATA_TRACKS_MAX; i++) {
        room_data_track_subscribe(b, a->tracks.published[i].sid, true);
    }
    run(S(1));
    assert_int_equal(b->tracks.received_count, DATA_TRACKS_MAX);
    for (size_t i = 0; i < DATA_TRACKS_MAX; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(b->tracks.received[i].handle, b->tracks.received[k].handle);
        }
    }
    end();
}

static void nonsense_is_counted(void **state)
{
    (void)state;
    two(false);
    publish(a, 7, "sensor");
    subscribe(b);
    static const uint8_t short_one[] = {0x18, 0, 0, 7, 0, 0};
    static const uint8_t bad_extension[] = {0x1c, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1};
    assert_int_equal(
        room_client_send_raw(a, ROOM_DATA_TRACK, bytes_of(short_one, sizeof(short_one))), 0);
    assert_int_equal(
        room_client_send_raw(a, ROOM_DATA_TRACK, bytes_of(bad_extension, sizeof(bad_extension))),
        0);
    assert_int_equal(room_data_track_send(a, 8, 0, 10), 0);
    assert_int_equal(room_data_track_send(b, 7, 0, 10), 0); // not his
    run(MS(300));
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_MALFORMED], 2);
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_TRACK_UNKNOWN], 2);
    assert_int_equal(b->tracks.packets, 0);
    // Subscriptions to nothing, to oneself, twice, and the end of none.
    room_data_track_subscribe(b, "DTR_nope", true);
    room_data_track_subscribe(b, "", true);
    room_data_track_subscribe(a, sid, true);
    unsigned const maps = b->tracks.maps;
    subscribe(b);
    room_data_track_subscribe(b, "DTR_nope", false);
    run(MS(100));
    assert_int_equal(b->tracks.maps, maps);
    assert_int_equal(a->tracks.maps, 0);
    room_data_track_subscribe(b, sid, false);
    run(MS(100));
    assert_int_equal(b->tracks.received_count, 0);
    end();
}

// The slow one loses packets, the other none, and nothing is kept for the slow one.
static void a_slow_subscriber_is_alone_with_it(void **state)
{
    (void)state;
    two(false);
    c = join_as("carol", true);
    run(S(1));
    publish(a, 1, "camera");
    subscribe(b);
    subscribe(c);
    struct vnet_link const slow = {.delay_us = 20000, .rate_bps = 200000};
    vnet_set_link(h.net, NULL, &b->publisher->addr, &slow);
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(room_data_track_send(a, 1, i, 1000), 0);
        run(MS(2));
    }
    run(S(2));
    printf("500 packets/s of 1 kB: fast %u, slow %u of 2000\n", got(c), got(b));
    assert_int_equal(got(c), 2000);
    assert_true(got(b) > 50 && got(b) < 800);
    assert_true(h.env.drops[ROOM_DROP_DATA_SLOW] > 500);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_track_is_published_subscribed_to_and_ended),
        TEST(answers_are_those_recorded),
        TEST(rights_are_withdrawn_and_given_back),
        TEST(publishers_choose_their_subscribers),
        TEST(some_subscribe_by_themselves),
        TEST(hidden_ones_have_no_subscribers),
        TEST(who_leaves_takes_its_tracks_along),
        TEST(a_resume_finds_tracks_and_handles),
        TEST(a_client_with_an_unknown_track_starts_over),
        TEST(a_lost_response_is_repeated),
        TEST(there_may_be_many_but_not_any_number),
        TEST(nonsense_is_counted),
        TEST(a_slow_subscriber_is_alone_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
