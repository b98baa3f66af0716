// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: room_api room_api_participant room_api_data rpc_calls room_config
//
// Calls of the server API while people are in the room: what they do, what everybody is told, what
// the caller gets (livekit-protocol 6.2).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/time.h>

#include "tests/support/room_sim.h"

// usrsctp compares its timers with the wall clock, so this program gives it the virtual one: a
// definition here comes before libc's for the shared library, too.
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    (void)tz;
    tv->tv_sec = 1700000000 + h.now.us / US_PER_S;
    tv->tv_usec = h.now.us % US_PER_S;
    return 0;
}

static struct pbuf *reply;

// Decodes the answer of the last call, which must have gone well; valid until the next.
static const void *answer(const ProtobufCMessageDescriptor *type)
{
    assert_string_equal(h.api.error, "");
    pbuf_free(reply);
    const struct bytes *const body = h.api.body->msg;
    assert_int_equal(pbuf_unpack(type, *body, PBUF_CAP_DEFAULT, &reply), 0);
    return reply->msg;
}

static void assert_refused(const char *code, const char *text)
{
    assert_string_equal(h.api.error, code);
    assert_string_equal(h.api.text, text);
}

static void end_calls(void)
{
    pbuf_free(reply);
    reply = NULL;
    end();
}

static Livekit__Room *create(const char *name, uint32_t empty_s, uint32_t departure_s)
{
    Livekit__CreateRoomRequest m = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&m, name, name);
    LK_SET(&m, empty_timeout, empty_s);
    LK_SET(&m, departure_timeout, departure_s);
    (void)room_harness_api(&h, ROOM_API_CREATE_ROOM, name, &m.base);
    return lk_unconst(answer(&livekit__room__descriptor));
}

// ---- rooms ----------------------------------------------------------------------------------

static void an_existing_room_is_returned_unchanged(void **state)
{
    (void)state;
    begin();
    Livekit__CreateRoomRequest m = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&m, name, "made");
    LK_SET_STR(&m, metadata, "first");
    LK_SET(&m, empty_timeout, 30);
    LK_SET(&m, departure_timeout, 4);
    LK_SET(&m, max_participants, 10);
    LK_SET(&m, sync_streams, true);
    LK_SET(&m, min_playout_delay, 100);
    LK_SET(&m, max_playout_delay, 200);
    (void)room_harness_api(&h, ROOM_API_CREATE_ROOM, "made", &m.base);
    const Livekit__Room *r = answer(&livekit__room__descriptor);
    char sid[SID_SIZE];
    (void)snprintf(sid, sizeof(sid), "%s", r->sid);
    const struct room *const room = room_find(&h.env, "made");
    assert_true(room->sync_streams);
    assert_int_equal(room->min_playout_delay_ms, 100);
    assert_int_equal(room->max_playout_delay_ms, 200);
    LK_SET_STR(&m, metadata, "second");
    LK_SET(&m, empty_timeout, 99);
    LK_SET(&m, departure_timeout, 99);
    LK_SET(&m, max_participants, 3);
    (void)room_harness_api(&h, ROOM_API_CREATE_ROOM, "made", &m.base);
    r = answer(&livekit__room__descriptor);
    assert_string_equal(r->sid, sid);
    assert_string_equal(r->metadata, "first");
    assert_int_equal(r->empty_timeout, 30);
    assert_int_equal(r->departure_timeout, 4);
    assert_int_equal(r->max_participants, 10);
    end_calls();
}

static const Livekit__Room *set_metadata(const char *room, const char *text)
{
    Livekit__UpdateRoomMetadataRequest m = LIVEKIT__UPDATE_ROOM_METADATA_REQUEST__INIT;
    LK_SET_STR(&m, room, room);
    LK_SET_STR(&m, metadata, text);
    (void)room_harness_api(&h, ROOM_API_UPDATE_ROOM_METADATA, room, &m.base);
    return h.api.error[0] == 0 ? answer(&livekit__room__descriptor) : NULL;
}

static void metadata_of_the_room_reaches_everybody_at_once(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    run(S(7));
    unsigned const before = a->room_updates;
    unsigned const of_bob = b->room_updates;
    assert_string_equal(set_metadata("room", "news")->metadata, "news");
    run(MS(20));
    assert_int_equal(a->room_updates, before + 1);
    assert_int_equal(b->room_updates, of_bob + 1);
    assert_string_equal(lk_str(set_metadata("room", "")->metadata), "");
    run(MS(20));
    assert_int_equal(a->room_updates, before + 2);
    assert_null(set_metadata("nowhere", "news"));
    assert_refused("not_found", "requested room does not exist");
    end_calls();
}

static void a_join_makes_the_room_that_its_token_describes(void **state)
{
    (void)state;
    begin();
    (void)room_client_join(
        &h, &(struct room_client_conf){.identity = "alice",
                                       .room_config = "{\"emptyTimeout\":7,\"departure_timeout\":3,"
                                                      "\"maxParticipants\":2,\"metadata\":\"m\","
                                                      "\"syncStreams\":true,\"new\":[1]}"});
    run(S(1));
    const struct room *r = room_find(&h.env, "room");
    assert_int_equal(r->empty_timeout_s, 7);
    assert_int_equal(r->departure_timeout_s, 3);
    assert_int_equal(r->max_participants, 2);
    assert_string_equal(r->metadata, "m");
    assert_true(r->sync_streams);
    // Those who come later change nothing; what cannot be read is not there.
    struct room_client *const b = room_client_join(
        &h, &(struct room_client_conf){.identity = "bob", .room_config = "{\"metadata\":\"x\"}"});
    struct room_client *const c = room_client_join(
        &h, &(struct room_client_conf){
                .identity = "carol", .room = "other", .room_config = "{\"metadata\":5}"});
    run(S(1));
    assert_string_equal(r->metadata, "m");
    assert_true(room_client_active(b) && room_client_active(c));
    r = room_find(&h.env, "other");
    assert_string_equal(r->metadata, "");
    assert_int_equal(r->empty_timeout_s, h.conf.empty_timeout_s);
    end_calls();
}

static const char *stream_of(const struct room_client *c, const struct room_sender *s)
{
    const struct room_pc *const pc = c->conf.v0 ? c->subscriber : c->publisher;
    for (size_t i = 0; i < jsep_count(pc->jsep); i++) {
        const struct jsep_transceiver *const t = jsep_at(pc->jsep, i);
        if (t->remote != NULL && strcmp(t->remote->track_id, s->sid) == 0) {
            return strchr(t->remote->stream_id, '|') + 1;
        }
    }
    return "";
}

static void tracks_of_a_room_with_sync_streams_share_one(void **state)
{
    (void)state;
    for (int synced = 0; synced < 2; synced++) {
        begin();
        (void)create("room", 30, 30);
        room_find(&h.env, "room")->sync_streams = synced != 0;
        struct room_client *const a = join_as("alice", false);
        struct room_client *const b = join_as("bob", false);
        struct room_client *const c = join_as("carol", true);
        struct room_client *const old = room_client_join(
            &h, &(struct room_client_conf){.identity = "old", .v0 = true, .protocol = 9});
        run(S(1));
        struct room_sender *const mic = room_client_publish(a, ROOM_AUDIO);
        struct room_sender *const cam = room_client_publish(a, ROOM_VIDEO);
        run(S(2));
        assert_string_equal(stream_of(b, mic), synced ? "camera" : mic->sid);
        assert_string_equal(stream_of(b, cam), synced ? "camera" : cam->sid);
        assert_string_equal(stream_of(c, cam), synced ? "camera" : cam->sid);
        assert_string_equal(stream_of(old, cam), cam->sid);
        assert_true(flow(b, mic, S(1)) > 20 && flow(c, cam, S(1)) > 20);
        end_calls();
    }
}

static bool exists(const char *name)
{
    return room_find(&h.env, name) != NULL;
}

static void empty_and_departure_timeouts(void **state)
{
    (void)state;
    begin();
    (void)create("room", 5, 3);
    run(MS(4900));
    assert_true(exists("room"));
    run(MS(200));
    assert_false(exists("room"));
    // Whoever comes in time stops it; the departure timeout begins when the last one has left.
    (void)create("room", 5, 3);
    run(S(4));
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    run(S(10));
    room_client_leave(a);
    run(S(10));
    assert_true(exists("room"));
    room_client_leave(b);
    run(MS(2900));
    assert_true(exists("room"));
    // Who comes back keeps it again.
    struct room_client *const c = join_as("carol", false);
    run(S(10));
    assert_true(exists("room"));
    room_client_leave(c);
    run(MS(3100));
    assert_false(exists("room"));
    end_calls();
}

static void dependents_keep_no_room_alive(void **state)
{
    (void)state;
    begin();
    (void)create("room", 6, 3);
    run(S(1));
    struct room_client *const agent =
        room_client_join(&h, &(struct room_client_conf){.identity = "agent", .kind = "agent"});
    run(S(4));
    assert_true(exists("room"));
    struct room_client *const a = join_as("alice", false);
    run(S(10));
    assert_true(exists("room"));
    room_client_leave(a);
    run(S(2));
    // Neither a dependent that comes nor one that goes moves the end.
    struct room_client *const other =
        room_client_join(&h, &(struct room_client_conf){.identity = "egress", .kind = "egress"});
    run(MS(500));
    room_client_leave(other);
    run(MS(400));
    assert_true(exists("room"));
    assert_false(agent->left);
    run(MS(200));
    assert_false(exists("room"));
    assert_true(agent->left);
    assert_int_equal(agent->leave_reason, DISCONNECT_ROOM_CLOSED);
    end_calls();
}

static void a_room_with_a_dependent_only_ends_as_an_empty_one(void **state)
{
    (void)state;
    begin();
    (void)create("room", 3, 60);
    (void)room_client_join(&h, &(struct room_client_conf){.identity = "agent", .kind = "agent"});
    run(MS(2800));
    assert_true(exists("room"));
    run(MS(300));
    assert_false(exists("room"));
    end_calls();
}

static void a_deleted_room_is_made_anew_by_the_next_join(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    run(S(1));
    char sid[SID_SIZE];
    (void)snprintf(sid, sizeof(sid), "%s", room_find(&h.env, "room")->sid);
    // On its way while the room is deleted.
    Livekit__DeleteRoomRequest m = LIVEKIT__DELETE_ROOM_REQUEST__INIT;
    LK_SET_STR(&m, room, "room");
    h.signal_us = MS(3);
    (void)room_harness_api(&h, ROOM_API_DELETE_ROOM, "room", &m.base);
    struct room_client *const b = join_as("bob", false);
    run(S(1));
    assert_true(a->left);
    assert_int_equal(a->leave_reason, DISCONNECT_ROOM_DELETED);
    assert_true(b->joined && room_client_active(b));
    assert_string_not_equal(room_find(&h.env, "room")->sid, sid);
    assert_int_equal(h.rooms_ended, 1);
    (void)room_harness_api(&h, ROOM_API_DELETE_ROOM, "nowhere", &m.base);
    assert_refused("not_found", "requested room does not exist");
    end_calls();
}

// ---- participants ---------------------------------------------------------------------------

static void get(const char *room, const char *identity)
{
    Livekit__RoomParticipantIdentity m = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&m, room, room);
    LK_SET_STR(&m, identity, identity);
    (void)room_harness_api(&h, ROOM_API_GET_PARTICIPANT, room, &m.base);
}

static void participants_are_shown_with_all_they_have(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    (void)room_client_join(&h, &(struct room_client_conf){.identity = "ghost", .hidden = true});
    run(S(1));
    struct room_sender *const mic = room_client_publish(a, ROOM_AUDIO);
    run(S(1));
    get("room", "alice");
    const Livekit__ParticipantInfo *const p = answer(&livekit__participant_info__descriptor);
    assert_int_equal(p->state, STATE_ACTIVE);
    assert_string_equal(p->sid, a->sid);
    assert_int_equal(p->n_tracks, 1);
    assert_string_equal(p->tracks[0]->sid, mic->sid);
    assert_true(p->is_publisher && p->permission->can_publish);
    get("room", "zoe");
    assert_refused("not_found", "participant does not exist");
    get("nowhere", "alice");
    assert_refused("not_found", "participant does not exist");
    Livekit__ListParticipantsRequest m = LIVEKIT__LIST_PARTICIPANTS_REQUEST__INIT;
    (void)room_harness_api(&h, ROOM_API_LIST_PARTICIPANTS, "room", &m.base);
    const Livekit__ListParticipantsResponse *l =
        answer(&livekit__list_participants_response__descriptor);
    assert_int_equal(l->n_participants, 2); // hidden ones too
    (void)room_harness_api(&h, ROOM_API_LIST_PARTICIPANTS, "nowhere", &m.base);
    l = answer(&livekit__list_participants_response__descriptor);
    assert_int_equal(l->n_participants, 0);
    end_calls();
}

static void removing_ends_the_session_and_tells_the_reason(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    run(S(1));
    Livekit__RoomParticipantIdentity m = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&m, identity, "bob");
    (void)room_harness_api(&h, ROOM_API_REMOVE_PARTICIPANT, "room", &m.base);
    (void)answer(&livekit__remove_participant_response__descriptor);
    run(S(1));
    assert_true(b->left && b->closed);
    assert_int_equal(b->leave_reason, DISCONNECT_PARTICIPANT_REMOVED);
    assert_int_equal(b->leave_action, LEAVE_DISCONNECT);
    assert_state(a, "bob", STATE_DISCONNECTED);
    assert_int_equal(room_client_peer(a, "bob")->reason, DISCONNECT_PARTICIPANT_REMOVED);
    (void)room_harness_api(&h, ROOM_API_REMOVE_PARTICIPANT, "room", &m.base);
    assert_refused("not_found", "participant does not exist");
    end_calls();
}

static char moved_to[32]; // room of the last token

static void note_claims(void *user, const struct channel_msg *m)
{
    (void)user;
    if (m->type == CHANNEL_CLAIMS) {
        (void)snprintf(moved_to, sizeof(moved_to), "%s", m->u.claims.token->claims.video.room);
        assert_string_equal(m->u.claims.token->claims.identity, "bob");
    }
}

static void move(const char *identity, const char *to)
{
    Livekit__MoveParticipantRequest m = LIVEKIT__MOVE_PARTICIPANT_REQUEST__INIT;
    LK_SET_STR(&m, identity, identity);
    LK_SET_STR(&m, destination_room, to);
    (void)room_harness_api(&h, ROOM_API_MOVE_PARTICIPANT, "room", &m.base);
}

static void who_is_moved_is_sent_to_the_other_room(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    run(S(1));
    h.tap = note_claims;
    move("bob", "other");
    (void)answer(&livekit__move_participant_response__descriptor);
    run(MS(100));
    assert_string_equal(moved_to, "other");
    assert_true(b->left && b->closed);
    assert_int_equal(b->leave_action, LEAVE_RECONNECT);
    assert_state(a, "bob", STATE_DISCONNECTED);
    assert_int_equal(room_client_peer(a, "bob")->reason, DISCONNECT_MIGRATION);
    assert_false(exists("other")); // made when bob comes
    move("bob", "other");
    assert_refused("not_found", "participant does not exist");
    // A socket that is away cannot be told.
    room_client_drop_socket(a);
    run(MS(100));
    moved_to[0] = 0;
    move("alice", "other");
    assert_refused("unavailable", "participant is not connected");
    assert_string_equal(moved_to, "");
    assert_non_null(server_side(a));
    h.tap = NULL;
    end_calls();
}

static const Livekit__ParticipantInfo *update(Livekit__UpdateParticipantRequest *m)
{
    LK_SET_STR(m, room, "room");
    (void)room_harness_api(&h, ROOM_API_UPDATE_PARTICIPANT, "room", &m->base);
    return h.api.error[0] == 0 ? answer(&livekit__participant_info__descriptor) : NULL;
}

static void names_metadata_and_attributes_are_changed(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = room_client_join(
        &h, &(struct room_client_conf){.identity = "alice", .name = "Alice", .metadata = "m0"});
    struct room_client *const b = join_as("bob", true);
    run(S(1));
    Livekit__UpdateParticipantRequest m = LIVEKIT__UPDATE_PARTICIPANT_REQUEST__INIT;
    LK_SET_STR(&m, identity, "alice");
    LK_SET_STR(&m, metadata, "m1");
    const Livekit__ParticipantInfo *p = update(&m);
    assert_string_equal(p->metadata, "m1");
    assert_string_equal(p->name, "Alice"); // absent: unchanged
    LK_SET_STR(&m, metadata, "");
    LK_SET_STR(&m, name, "Alice 2");
    p = update(&m);
    assert_string_equal(p->metadata, "m1");
    assert_string_equal(p->name, "Alice 2");
    Livekit__UpdateParticipantRequest__AttributesEntry e[] = {
        LIVEKIT__UPDATE_PARTICIPANT_REQUEST__ATTRIBUTES_ENTRY__INIT,
        LIVEKIT__UPDATE_PARTICIPANT_REQUEST__ATTRIBUTES_ENTRY__INIT};
    Livekit__UpdateParticipantRequest__AttributesEntry *list[] = {&e[0], &e[1]};
    LK_SET_STR(&e[0], key, "a");
    LK_SET_STR(&e[0], value, "1");
    LK_SET_STR(&e[1], key, "b");
    LK_SET_STR(&e[1], value, "2");
    m.attributes = list;
    m.n_attributes = 2;
    assert_int_equal(update(&m)->n_attributes, 2);
    e[0].value = NULL; // deletes
    m.n_attributes = 1;
    p = update(&m);
    assert_int_equal(p->n_attributes, 1);
    assert_string_equal(p->attributes[0]->key, "b");
    run(MS(100));
    assert_string_equal(room_client_peer(b, "alice")->name, "Alice 2");
    assert_string_equal(room_client_peer(a, "alice")->name, "Alice 2");
    // Each request is small enough, but not what they add up to.
    char *const large = mem_alloc(40001);
    memset(large, 'x', 40000);
    e[0].value = large;
    assert_non_null(update(&m));
    LK_SET_STR(&e[0], key, "c");
    assert_null(update(&m));
    assert_refused("invalid_argument", "attribute size exceeds limits 65536");
    mem_free(large);
    m.n_attributes = 0;
    LK_SET_STR(&m, identity, "zoe");
    assert_null(update(&m));
    assert_refused("not_found", "participant does not exist");
    end_calls();
}

static void permissions_are_replaced(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    run(S(1));
    struct room_sender *const mic = room_client_publish(a, ROOM_AUDIO);
    struct room_sender *const cam = room_client_publish(a, ROOM_VIDEO);
    run(S(2));
    assert_true(flow(b, mic, S(1)) > 20 && flow(b, cam, S(1)) > 20);
    Livekit__UpdateParticipantRequest m = LIVEKIT__UPDATE_PARTICIPANT_REQUEST__INIT;
    Livekit__ParticipantPermission perm = LIVEKIT__PARTICIPANT_PERMISSION__INIT;
    Livekit__TrackSource sources[] = {LIVEKIT__TRACK_SOURCE__MICROPHONE, 77};
    LK_SET_STR(&m, identity, "alice");
    m.permission = &perm;
    LK_SET(&perm, can_subscribe, true);
    LK_SET(&perm, can_publish, true);
    perm.can_publish_sources = sources;
    perm.n_can_publish_sources = 1;
    const Livekit__ParticipantInfo *p = update(&m);
    assert_true(p->permission->can_subscribe && p->permission->can_publish);
    assert_false(p->permission->can_publish_data); // was not named
    assert_int_equal(p->permission->n_can_publish_sources, 1);
    run(S(1));
    assert_int_equal(a->track_unpublished, 1); // the camera
    assert_true(flow(b, mic, S(1)) > 20);
    assert_int_equal(flow(b, cam, S(1)), 0);
    // Without subscribing nothing more comes to bob; then again.
    LK_SET_STR(&m, identity, "bob");
    LK_SET(&perm, can_subscribe, false);
    perm.n_can_publish_sources = 0;
    assert_false(update(&m)->permission->can_subscribe);
    run(S(1));
    assert_int_equal(flow(b, mic, S(1)), 0);
    LK_SET(&perm, can_subscribe, true);
    perm.n_can_publish_sources = 2; // one that we do not know
    assert_int_equal(update(&m)->permission->n_can_publish_sources, 2);
    run(S(2));
    assert_true(flow(b, mic, S(1)) > 20);
    end_calls();
}

static const Livekit__TrackInfo *mute(const char *identity, const char *sid, bool muted)
{
    Livekit__MuteRoomTrackRequest m = LIVEKIT__MUTE_ROOM_TRACK_REQUEST__INIT;
    LK_SET_STR(&m, identity, identity);
    LK_SET_STR(&m, track_sid, sid);
    LK_SET(&m, muted, muted);
    (void)room_harness_api(&h, ROOM_API_MUTE_PUBLISHED_TRACK, "room", &m.base);
    if (h.api.error[0] != 0) {
        return NULL;
    }
    const Livekit__MuteRoomTrackResponse *const r =
        answer(&livekit__mute_room_track_response__descriptor);
    return r->track;
}

static struct dynbuf kinds; // of messages to `watched`
static handle_t watched;

static void note_kind(void *user, const struct channel_msg *m)
{
    (void)user;
    struct pbuf *p = NULL;
    if (m->type != CHANNEL_SEND || !handle_eq(m->handle, watched)) {
        return;
    }
    assert_int_equal(lk_unpack_signal_response(shared_buf_view(m->u.send.data), &p), 0);
    const Livekit__SignalResponse *const rsp = p->msg;
    if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_MUTE) {
        dynbuf_add_str(&kinds, "mute ");
    } else if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE) {
        dynbuf_add_str(&kinds, "update ");
    }
    pbuf_free(p);
}

static void who_is_muted_is_asked_before_it_is_shown(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    run(S(1));
    struct room_sender *const mic = room_client_publish(a, ROOM_AUDIO);
    run(S(1));
    dynbuf_init(&kinds, 4096);
    watched = a->session;
    h.tap = note_kind;
    (void)mute("alice", mic->sid, true);
    run(S(1));
    h.tap = NULL;
    assert_string_equal(dynbuf_cstr(&kinds), "mute update ");
    dynbuf_done(&kinds);
    end_calls();
}

static void muting_reaches_the_publisher_and_everybody(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    run(S(1));
    struct room_sender *const mic = room_client_publish(a, ROOM_AUDIO);
    run(S(1));
    assert_true(flow(b, mic, S(1)) > 20);
    const Livekit__TrackInfo *t = mute("alice", mic->sid, true);
    assert_true(t != NULL && t->muted);
    assert_string_equal(t->sid, mic->sid);
    run(S(1));
    assert_int_equal(a->mutes, 1);
    assert_true(room_client_peer(b, "alice")->tracks[0].muted);
    assert_true(room_client_peer(a, "alice")->tracks[0].muted); // its own, after it was asked
    assert_int_equal(flow(b, mic, S(1)), 0);
    // Once more: the client is asked again, nobody else is told.
    unsigned const updates = b->updates;
    (void)mute("alice", mic->sid, true);
    run(S(1));
    assert_int_equal(a->mutes, 2);
    assert_int_equal(b->updates, updates);
    // An unknown track: the client is not bothered.
    assert_null(mute("alice", "TR_nope", true));
    assert_string_equal(h.api.error, "");
    run(S(1));
    assert_int_equal(a->mutes, 2);
    (void)mute("zoe", mic->sid, true);
    assert_refused("not_found", "participant does not exist");
    // Unmuting somebody's microphone takes a setting.
    (void)mute("alice", mic->sid, false);
    assert_refused("failed_precondition", "remote unmute not enabled");
    h.conf.remote_unmute = true;
    t = mute("alice", mic->sid, false);
    assert_true(t != NULL && !t->muted);
    run(S(1));
    assert_true(flow(b, mic, S(1)) > 20);
    end_calls();
}

static void subscribe(const char *identity, const char *sid, bool on, bool by_participant)
{
    Livekit__UpdateSubscriptionsRequest m = LIVEKIT__UPDATE_SUBSCRIPTIONS_REQUEST__INIT;
    Livekit__ParticipantTracks pt = LIVEKIT__PARTICIPANT_TRACKS__INIT;
    Livekit__ParticipantTracks *list[] = {&pt};
    char *sids[] = {lk_unconst_str(sid)};
    LK_SET_STR(&m, identity, identity);
    LK_SET(&m, subscribe, on);
    pt.track_sids = sids;
    pt.n_track_sids = 1;
    if (by_participant) {
        m.participant_tracks = list;
        m.n_participant_tracks = 1;
    } else {
        m.track_sids = sids;
        m.n_track_sids = 1;
    }
    (void)room_harness_api(&h, ROOM_API_UPDATE_SUBSCRIPTIONS, "room", &m.base);
}

static void subscriptions_of_others_are_changed(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    run(S(1));
    struct room_sender *const cam = room_client_publish(a, ROOM_VIDEO);
    run(S(2));
    assert_true(flow(b, cam, S(1)) > 20);
    subscribe("bob", cam->sid, false, false);
    (void)answer(&livekit__update_subscriptions_response__descriptor);
    run(S(2));
    assert_int_equal(flow(b, cam, S(1)), 0);
    subscribe("bob", cam->sid, true, true);
    (void)answer(&livekit__update_subscriptions_response__descriptor);
    run(S(2));
    assert_true(flow(b, cam, S(1)) > 20);
    subscribe("zoe", cam->sid, true, true);
    assert_refused("not_found", "participant does not exist");
    end_calls();
}

// ---- data -----------------------------------------------------------------------------------

static const char *told(struct room_client *who)
{
    static char text[4096];
    const char *const t = dynbuf_cstr(&who->data.told);
    (void)snprintf(text, sizeof(text), "%s", t != NULL ? t : "");
    dynbuf_reset(&who->data.told);
    return text;
}

struct data {
    const char *text;
    bool lossy;
    const char *to, *to_sid;
    uint8_t nonce; // 0: none
};

static void send_data(const char *room, const struct data *d)
{
    Livekit__SendDataRequest m = LIVEKIT__SEND_DATA_REQUEST__INIT;
    uint8_t nonce[16];
    memset(nonce, d->nonce, sizeof(nonce));
    char *to[] = {lk_unconst_str(d->to)};
    char *to_sid[] = {lk_unconst_str(d->to_sid)};
    LK_SET_BYTES(&m, data, bytes_str(d->text));
    LK_SET(&m, kind, d->lossy ? LIVEKIT__DATA_PACKET__KIND__LOSSY : 0);
    m.destination_identities = to;
    m.n_destination_identities = d->to != NULL;
    m.destination_sids = to_sid;
    m.n_destination_sids = d->to_sid != NULL;
    LK_SET_BYTES(&m, nonce, bytes_of(nonce, d->nonce != 0 ? sizeof(nonce) : 0));
    (void)room_harness_api(&h, ROOM_API_SEND_DATA, room, &m.base);
}

static void data_of_the_server_reaches_whom_it_names(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    run(S(2));
    send_data("room", &(struct data){.text = "all"});
    (void)answer(&livekit__send_data_response__descriptor);
    run(MS(200));
    // Nobody is its sender.
    assert_string_equal(told(a), ":all");
    assert_string_equal(told(b), ":all");
    send_data("room", &(struct data){.text = "bob", .lossy = true, .to = "bob"});
    send_data("room", &(struct data){.text = "alice", .to_sid = a->sid});
    send_data("room", &(struct data){.text = "zoe", .to = "zoe"});
    (void)answer(&livekit__send_data_response__descriptor); // absent: no error
    run(MS(200));
    assert_string_equal(told(a), ":alice");
    assert_string_equal(told(b), ":bob");
    send_data("nowhere", &(struct data){.text = "x"});
    assert_refused("not_found", "requested room does not exist");
    char *const large = mem_alloc(70001);
    memset(large, 'x', 70000);
    send_data("room", &(struct data){.text = large});
    assert_refused("invalid_argument", "data is too large for one message");
    mem_free(large);
    end_calls();
}

static void a_nonce_is_sent_once_in_a_hundred(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    run(S(2));
    for (int i = 0; i < 3; i++) {
        send_data("room", &(struct data){.text = "x", .nonce = 1});
        (void)answer(&livekit__send_data_response__descriptor);
    }
    run(MS(200));
    assert_string_equal(told(a), ":x");
    for (uint8_t i = 2; i <= 100; i++) {
        send_data("room", &(struct data){.text = "y", .nonce = i});
    }
    run(S(1));
    (void)told(a);
    send_data("room", &(struct data){.text = "x", .nonce = 1}); // the oldest one remembered
    run(MS(200));
    assert_string_equal(told(a), "");
    send_data("room", &(struct data){.text = "y", .nonce = 101});
    send_data("room", &(struct data){.text = "x", .nonce = 1}); // forgotten
    run(MS(200));
    assert_string_equal(told(a), ":y, :x");
    end_calls();
}

// ---- PerformRpc -----------------------------------------------------------------------------

static struct {
    bool deaf, no_response, says_twice;
    uint32_t error; // 0: echoes
    const char *data;
    unsigned requests;
    uint32_t timeout_ms;
    char id[64];
} callee;

static void rpc_send(struct room_client *c, Livekit__DataPacket *p, const char *id)
{
    char *to[] = {lk_unconst_str(id)};
    p->destination_identities = to;
    p->n_destination_identities = 1;
    assert_int_equal(room_client_send_packet(c, ROOM_RELIABLE, p, false), 0);
}

static void rpc_ack(struct room_client *c, const char *id)
{
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    Livekit__RpcAck ack = LIVEKIT__RPC_ACK__INIT;
    LK_SET_STR(&ack, request_id, id);
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_RPC_ACK;
    p.rpc_ack = &ack;
    rpc_send(c, &p, id);
}

static void rpc_respond(struct room_client *c, const char *id, const char *payload)
{
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    Livekit__RpcResponse r = LIVEKIT__RPC_RESPONSE__INIT;
    Livekit__RpcError e = LIVEKIT__RPC_ERROR__INIT;
    LK_SET_STR(&r, request_id, id);
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_RPC_RESPONSE;
    p.rpc_response = &r;
    if (callee.error != 0) {
        LK_SET(&e, code, callee.error);
        LK_SET_STR(&e, message, "no");
        LK_SET_STR(&e, data, callee.data);
        r.value_case = LIVEKIT__RPC_RESPONSE__VALUE_ERROR;
        r.error = &e;
    } else {
        r.value_case = LIVEKIT__RPC_RESPONSE__VALUE_PAYLOAD;
        r.payload = lk_unconst_str(payload);
    }
    rpc_send(c, &p, id);
}

// As livekit-client: ack and response go to the identity that called.
static void on_rpc(struct room_client *c, const Livekit__DataPacket *p)
{
    if (p->value_case != LIVEKIT__DATA_PACKET__VALUE_RPC_REQUEST) {
        return;
    }
    const Livekit__RpcRequest *const r = p->rpc_request;
    assert_string_equal(p->participant_identity, r->id);
    assert_null(p->participant_sid);
    assert_int_equal(p->sequence, 0);
    assert_int_equal(r->version, 1);
    assert_int_equal(strlen(r->id), 36);
    callee.requests++;
    callee.timeout_ms = r->response_timeout_ms;
    (void)snprintf(callee.id, sizeof(callee.id), "%s", r->id);
    if (callee.deaf) {
        return;
    }
    rpc_ack(c, r->id);
    if (callee.no_response) {
        return;
    }
    char text[64];
    (void)snprintf(text, sizeof(text), "%s said %s", r->method, lk_str(r->payload));
    rpc_respond(c, r->id, text);
    if (callee.says_twice) {
        rpc_respond(c, r->id, text);
    }
}

static void perform(const char *to, const char *payload, uint32_t timeout_ms)
{
    Livekit__PerformRpcRequest m = LIVEKIT__PERFORM_RPC_REQUEST__INIT;
    LK_SET_STR(&m, destination_identity, to);
    LK_SET_STR(&m, method, "echo");
    LK_SET_STR(&m, payload, payload);
    LK_SET(&m, response_timeout_ms, timeout_ms);
    (void)room_harness_api(&h, ROOM_API_PERFORM_RPC, "room", &m.base);
}

static struct room_client *begin_rpc(void)
{
    begin();
    memset(&callee, 0, sizeof(callee));
    struct room_client *const b = join_as("bob", false);
    b->data.tap = on_rpc;
    run(S(2));
    return b;
}

static void a_call_is_answered(void **state)
{
    (void)state;
    struct room_client *const b = begin_rpc();
    struct room_client *const a = join_as("alice", true);
    run(S(2));
    perform("bob", "hi", 3000);
    const Livekit__PerformRpcResponse *const r = answer(&livekit__perform_rpc_response__descriptor);
    assert_string_equal(r->payload, "echo said hi");
    assert_int_equal(callee.timeout_ms, 3000);
    // Neither the request nor the answers are anybody else's.
    run(S(1));
    assert_int_equal(a->data.packets, 0);
    assert_int_equal(b->data.packets, 1);
    callee.says_twice = true;
    perform("bob", "", 0);
    assert_string_equal(h.api.error, "");
    assert_int_equal(callee.timeout_ms, 10000);
    run(S(20));
    perform("zoe", "hi", 3000);
    assert_refused("not_found", "participant does not exist");
    char *const large = mem_alloc(15362);
    memset(large, 'x', 15361);
    perform("bob", large, 3000);
    assert_refused("invalid_argument", "RpcError 1402: Request payload too large");
    mem_free(large);
    assert_int_equal(callee.requests, 2);
    end_calls();
}

static void errors_of_the_participant_are_the_callers(void **state)
{
    (void)state;
    static const struct {
        uint32_t code;
        const char *data, *twirp, *text;
    } cases[] = {
        {1400, NULL, "invalid_argument", "RpcError 1400: no"},
        {1401, NULL, "not_found", "RpcError 1401: no"},
        {1500, "why", "internal", "RpcError 1500: no: why"},
        {1503, NULL, "unavailable", "RpcError 1503: no"},
        {101, NULL, "unknown", "RpcError 101: no"},
    };
    (void)begin_rpc();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        callee.error = cases[i].code;
        callee.data = cases[i].data;
        perform("bob", "hi", 3000);
        assert_refused(cases[i].twirp, cases[i].text);
    }
    end_calls();
}

static void a_call_without_ack_or_response_ends(void **state)
{
    (void)state;
    struct room_client *const b = begin_rpc();
    callee.deaf = true;
    mono_t start = h.now;
    perform("bob", "hi", 4000);
    assert_refused("canceled", "RpcError 1501: Connection timeout");
    assert_in_range(h.now.us - start.us, S(2), MS(2100));
    // Somebody else's answer is none; a late one of the right one is too late.
    struct room_client *const e = join_as("eve", false);
    run(S(2));
    start = h.now;
    perform("bob", "hi", 1000); // less than the time for an ack
    assert_refused("canceled", "RpcError 1501: Connection timeout");
    assert_in_range(h.now.us - start.us, S(1), MS(1100));
    rpc_ack(b, callee.id);
    rpc_respond(e, callee.id, "mine");
    run(S(1));
    callee.deaf = false;
    callee.no_response = true;
    start = h.now;
    perform("bob", "hi", 4000);
    assert_refused("canceled", "RpcError 1502: Response timeout");
    assert_in_range(h.now.us - start.us, S(4), MS(4100));
    end_calls();
}

static void leave_bob(struct room_client *c, const Livekit__DataPacket *p)
{
    on_rpc(c, p);
    room_client_leave(c);
}

static void forge(struct room_client *c, const Livekit__DataPacket *p)
{
    callee.deaf = true;
    on_rpc(c, p);
    for (struct room_client *o = h.clients; o != NULL; o = o->next) {
        if (o != c) {
            rpc_ack(o, callee.id);
            rpc_respond(o, callee.id, "forged");
        }
    }
}

static void who_leaves_answers_no_more(void **state)
{
    (void)state;
    struct room_client *const b = begin_rpc();
    (void)join_as("eve", false);
    run(S(2));
    b->data.tap = forge;
    perform("bob", "hi", 3000);
    assert_refused("canceled", "RpcError 1501: Connection timeout");
    callee.deaf = false;
    callee.no_response = true;
    b->data.tap = leave_bob;
    mono_t const start = h.now;
    perform("bob", "hi", 4000);
    assert_refused("unavailable", "RpcError 1503: Recipient disconnected");
    assert_true(h.now.us - start.us < MS(500));
    end_calls();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_existing_room_is_returned_unchanged),
        TEST(metadata_of_the_room_reaches_everybody_at_once),
        TEST(a_join_makes_the_room_that_its_token_describes),
        TEST(tracks_of_a_room_with_sync_streams_share_one),
        TEST(empty_and_departure_timeouts),
        TEST(dependents_keep_no_room_alive),
        TEST(a_room_with_a_dependent_only_ends_as_an_empty_one),
        TEST(a_deleted_room_is_made_anew_by_the_next_join),
        TEST(participants_are_shown_with_all_they_have),
        TEST(removing_ends_the_session_and_tells_the_reason),
        TEST(who_is_moved_is_sent_to_the_other_room),
        TEST(names_metadata_and_attributes_are_changed),
        TEST(permissions_are_replaced),
        TEST(who_is_muted_is_asked_before_it_is_shown),
        TEST(muting_reaches_the_publisher_and_everybody),
        TEST(subscriptions_of_others_are_changed),
        TEST(data_of_the_server_reaches_whom_it_names),
        TEST(a_nonce_is_sent_once_in_a_hundred),
        TEST(a_call_is_answered),
        TEST(errors_of_the_participant_are_the_callers),
        TEST(a_call_without_ack_or_response_ends),
        TEST(who_leaves_answers_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
