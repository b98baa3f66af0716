// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: room_event
//
// What webhooks tell of the life of a room, and in which order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/dynbuf.h"
#include "common/lk/sid.h"
#include "tests/support/room_sim.h"

static struct dynbuf told; // "participant_joined alice, "
static char last_id[32];
static char joined_sid[32], left_sid[32];

static void note_people(const Livekit__WebhookEvent *e)
{
    const Livekit__ParticipantInfo *const p = e->participant;
    assert_true(sid_has_prefix(p->sid, SID_PARTICIPANT));
    dynbuf_addf(&told, " %s", p->identity);
    if (e->track != NULL) {
        assert_true(sid_has_prefix(e->track->sid, SID_TRACK));
        assert_int_not_equal(e->track->n_codecs, 0);
        assert_null(p->permission); // only by name
        assert_int_equal(e->room->creation_time != 0, h.conf.full_room_in_events);
        return;
    }
    assert_non_null(p->permission);
    assert_true(p->joined_at > 0 && p->version > 0);
    if (strcmp(e->event, "participant_joined") == 0) {
        assert_int_equal(p->state, STATE_ACTIVE);
        (void)snprintf(joined_sid, sizeof(joined_sid), "%s", p->sid);
    } else {
        assert_int_equal(p->state, STATE_DISCONNECTED);
        assert_int_equal(p->n_tracks, 0);
        dynbuf_addf(&told, " %d", (int)p->disconnect_reason);
        (void)snprintf(left_sid, sizeof(left_sid), "%s", p->sid);
    }
}

static void tap(void *user, const struct channel_msg *m)
{
    (void)user;
    if (m->type != CHANNEL_EVENT) {
        return;
    }
    struct pbuf *p = NULL;
    assert_int_equal(pbuf_unpack(&livekit__webhook_event__descriptor,
                                 shared_buf_view(m->u.event.data), PBUF_CAP_DEFAULT, &p),
                     0);
    const Livekit__WebhookEvent *const e = p->msg;
    assert_true(sid_has_prefix(e->id, SID_EVENT));
    assert_string_not_equal(e->id, last_id);
    (void)snprintf(last_id, sizeof(last_id), "%s", e->id);
    assert_true(e->has_created_at && e->created_at > 0);
    assert_true(sid_has_prefix(e->room->sid, SID_ROOM));
    assert_true(e->room->name[0] != 0);
    dynbuf_addf(&told, "%s%s", told.n > 0 ? ", " : "", e->event);
    if (e->participant != NULL) {
        note_people(e);
    } else {
        assert_true(e->room->creation_time > 0 && e->room->n_enabled_codecs > 0);
        dynbuf_addf(&told, " %u", e->room->num_participants);
    }
    assert_int_equal(e->has_room_end_reason, strcmp(e->event, "room_finished") == 0);
    if (e->has_room_end_reason) {
        dynbuf_addf(&told, " %d", (int)e->room_end_reason);
    }
    pbuf_free(p);
}

static void begin_told(void)
{
    begin();
    h.conf.events = true;
    h.tap = tap;
    dynbuf_init(&told, 1u << 20);
}

// What was told since the last time.
static void assert_told(const char *want)
{
    const char *const got = dynbuf_cstr(&told);
    assert_string_equal(got, want);
    dynbuf_reset(&told);
}

static void end_told(void)
{
    end();
    dynbuf_done(&told);
}

static void the_life_of_a_call(void **state)
{
    (void)state;
    begin_told();
    struct room_client *const a = join_as("alice", false);
    run(S(1));
    assert_told("room_started 0, participant_joined alice");
    struct room_client *const b = join_as("bob", true);
    run(S(1));
    assert_told("participant_joined bob");
    (void)room_client_publish(a, ROOM_AUDIO);
    run(S(1));
    assert_told("track_published alice");
    (void)room_client_publish(b, ROOM_VIDEO_SIMULCAST);
    run(S(2));
    assert_told("track_published bob");
    room_client_leave(b);
    run(S(1));
    assert_told("track_unpublished bob, participant_left bob 1");
    room_client_set_vanished(a, true);
    run(S(40));
    assert_told("track_unpublished alice, participant_left alice 14");
    run(S(20));
    assert_told("room_finished 0 2"); // nobody was there
    end_told();
}

static void who_never_connected_is_aborted(void **state)
{
    (void)state;
    begin_told();
    struct room_client *const keeper = join_as("keeper", false);
    run(S(1));
    assert_told("room_started 0, participant_joined keeper");
    struct room_client *const b = join_as("bob", false);
    room_client_set_vanished(b, true); // signalling only
    run(MS(200));
    room_client_drop_socket(b);
    run(S(70));
    assert_told("participant_connection_aborted bob 9");
    room_client_leave(keeper);
    run(S(30));
    end_told();
}

static void a_session_that_is_replaced_leaves_before_the_new_one_is_connected(void **state)
{
    (void)state;
    begin_told();
    (void)join_as("alice", false);
    run(S(1));
    assert_told("room_started 0, participant_joined alice");
    (void)join_as("alice", false);
    run(S(2));
    assert_told("participant_left alice 2, participant_joined alice");
    assert_string_not_equal(joined_sid, left_sid);
    end_told();
}

static void a_resume_is_no_news(void **state)
{
    (void)state;
    begin_told();
    struct room_client *const a = join_as("alice", false);
    run(S(1));
    assert_told("room_started 0, participant_joined alice");
    room_client_drop_socket(a);
    run(S(1));
    room_client_resume(a);
    run(S(3));
    assert_told("");
    end_told();
}

static void calls_of_the_server_api_give_their_reasons(void **state)
{
    (void)state;
    begin_told();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    run(S(1));
    dynbuf_reset(&told);
    Livekit__RoomParticipantIdentity who = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&who, room, a->room);
    LK_SET_STR(&who, identity, b->identity);
    (void)room_harness_api(&h, ROOM_API_REMOVE_PARTICIPANT, a->room, &who.base);
    assert_told("participant_left bob 4");
    Livekit__DeleteRoomRequest del = LIVEKIT__DELETE_ROOM_REQUEST__INIT;
    LK_SET_STR(&del, room, a->room);
    (void)room_harness_api(&h, ROOM_API_DELETE_ROOM, a->room, &del.base);
    assert_told("participant_left alice 5, room_finished 0 1");
    Livekit__CreateRoomRequest make = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&make, name, "made");
    LK_SET(&make, empty_timeout, 3);
    (void)room_harness_api(&h, ROOM_API_CREATE_ROOM, "made", &make.base);
    run(S(5));
    assert_told("room_started 0, room_finished 0 2");
    (void)room_harness_api(&h, ROOM_API_CREATE_ROOM, "made", &make.base);
    room_close(room_find(&h.env, "made"), DISCONNECT_SERVER_SHUTDOWN);
    room_harness_turn(&h);
    run(MS(10));
    assert_told("room_started 0, room_finished 0 3");
    end_told();
}

static void tracks_can_carry_the_whole_room(void **state)
{
    (void)state;
    begin_told();
    h.conf.full_room_in_events = true;
    struct room_client *const a = join_as("alice", false);
    run(S(1));
    (void)room_client_publish(a, ROOM_AUDIO);
    run(S(1));
    assert_told("room_started 0, participant_joined alice, track_published alice");
    end_told();
}

static void nobody_is_told_unless_somebody_wants_it(void **state)
{
    (void)state;
    begin_told();
    h.conf.events = false;
    (void)join_as("alice", false);
    run(S(1));
    assert_told("");
    end_told();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_life_of_a_call),
        TEST(who_never_connected_is_aborted),
        TEST(a_session_that_is_replaced_leaves_before_the_new_one_is_connected),
        TEST(a_resume_is_no_news),
        TEST(calls_of_the_server_api_give_their_reasons),
        TEST(tracks_can_carry_the_whole_room),
        TEST(nobody_is_told_unless_somebody_wants_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
