// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: room participant join room_api signal_dispatch proto_map channel_msg
//
// How sessions begin, break, come back and end, and what the others see of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/room_sim.h"

enum {
    LEAVE_CLIENT = LIVEKIT__DISCONNECT_REASON__CLIENT_INITIATED,
    LEAVE_DUPLICATE = LIVEKIT__DISCONNECT_REASON__DUPLICATE_IDENTITY,
    LEAVE_REMOVED = LIVEKIT__DISCONNECT_REASON__PARTICIPANT_REMOVED,
    LEAVE_DELETED = LIVEKIT__DISCONNECT_REASON__ROOM_DELETED,
    LEAVE_MISMATCH = LIVEKIT__DISCONNECT_REASON__STATE_MISMATCH,
    LEAVE_JOIN_FAILURE = LIVEKIT__DISCONNECT_REASON__JOIN_FAILURE,
    LEAVE_TIMEOUT = LIVEKIT__DISCONNECT_REASON__CONNECTION_TIMEOUT,
};

static struct room_client *a, *b;
static struct room_sender *a_video, *b_video;

static void begin_call(bool v0)
{
    begin();
    a = join_as("alice", v0);
    b = join_as("bob", v0);
    a_video = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    b_video = room_client_publish(b, ROOM_VIDEO_SIMULCAST);
    run(S(3));
    assert_true(flow(a, b_video, S(1)) > 30);
    assert_true(flow(b, a_video, S(1)) > 30);
}

static void assert_left(const struct room_client *c, int reason, int action)
{
    assert_true(c->left);
    assert_true(c->closed);
    assert_int_equal(c->leave_reason, reason);
    assert_int_equal(c->leave_action, action);
}

// ---- ends -----------------------------------------------------------------------------------

static void leaving_is_told_and_answered(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        room_client_leave(b);
        run(S(1));
        assert_left(b, LEAVE_CLIENT, LEAVE_DISCONNECT);
        assert_state(a, "bob", STATE_DISCONNECTED);
        assert_int_equal(room_client_peer(a, "bob")->reason, LEAVE_CLIENT);
        assert_null(server_side(b));
        assert_int_equal(h.env.tracks.count, 1);
        assert_int_equal(h.env.subscriptions.count, 0);
        end();
    }
}

static void a_vanished_client_is_removed(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        room_client_set_vanished(b, true);
        run(S(9));
        assert_state(a, "bob", STATE_ACTIVE);
        assert_false(handle_is_none(server_side(b)->session));
        // 15 s after its last packet (a v0 subscriber connection sends only checks, up to 6 s
        // apart) a Leave goes to the dead socket, 10 s later it is gone.
        run(S(7));
        assert_true(server_side(b) == NULL || handle_is_none(server_side(b)->session));
        run(S(11));
        assert_state(a, "bob", STATE_DISCONNECTED);
        assert_int_equal(room_client_peer(a, "bob")->reason, LEAVE_TIMEOUT);
        assert_null(server_side(b));
        assert_true(room_client_active(a));
        end();
    }
}

static void a_lost_socket_before_the_connection_ends_the_session(void **state)
{
    (void)state;
    begin();
    struct room_client *const c =
        room_client_join(&h, &(struct room_client_conf){.identity = "c", .silent = true});
    run(MS(100));
    assert_true(c->joined);
    room_client_drop_socket(c);
    run(MS(100));
    assert_null(server_side(c));
    end();
}

static void a_lost_socket_does_not_end_a_call(void **state)
{
    (void)state;
    begin_call(false);
    room_client_drop_socket(b);
    run(S(40));
    assert_state(a, "bob", STATE_ACTIVE);
    assert_true(flow(a, b_video, S(1)) > 30);
    assert_true(flow(b, a_video, S(1)) > 30);
    end();
}

static void silent_clients_are_removed(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    struct room_client *const v1 =
        room_client_join(&h, &(struct room_client_conf){.identity = "v1", .silent = true});
    struct room_client *const v0 = room_client_join(
        &h, &(struct room_client_conf){.identity = "v0", .v0 = true, .silent = true});
    run(S(14));
    assert_false(v0->closed);
    run(S(2)); // an offer was not answered for 15 s
    assert_left(v0, LEAVE_MISMATCH, LEAVE_RECONNECT);
    run(S(43));
    assert_false(v1->closed);
    run(S(2));
    assert_left(v1, LEAVE_JOIN_FAILURE, LEAVE_DISCONNECT);
    assert_state(a, "v1", STATE_DISCONNECTED);
    assert_state(a, "v0", STATE_DISCONNECTED);
    assert_true(room_client_active(a));
    end();
}

static void an_offer_without_media_path_ends_too(void **state)
{
    (void)state;
    begin();
    struct room_client *const c = join_as("c", false);
    room_client_set_vanished(c, true);
    c->vanished = false; // signalling lives
    run(S(19));
    assert_false(c->closed);
    run(S(2)); // no check came for 20 s
    assert_left(c, LEAVE_TIMEOUT, LEAVE_RESUME);
    run(S(11));
    assert_null(server_side(c));
    end();
}

// ---- resume ---------------------------------------------------------------------------------

static void sessions_are_resumed(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        char sid[24];
        memcpy(sid, b->sid, sizeof(sid));
        for (int i = 0; i < 3; i++) {
            unsigned const seen = a->messages - a->quality_updates - a->room_updates;
            room_client_drop_socket(b);
            run(S(1));
            room_client_resume(b);
            run(S(2));
            assert_true(b->reconnected);
            assert_false(b->left);
            assert_string_equal(server_side(b)->sid, sid);
            assert_true(flow(a, b_video, S(1)) > 30);
            assert_true(flow(b, a_video, S(1)) > 30);
            // Nothing of it concerns the others.
            assert_state(a, "bob", STATE_ACTIVE);
            assert_int_equal(a->messages - a->quality_updates - a->room_updates, seen);
        }
        struct participant *const p = server_side(b);
        assert_int_equal(p->state, PARTICIPANT_ACTIVE);
        end();
    }
}

static void a_newer_socket_replaces_the_old_one(void **state)
{
    (void)state;
    begin_call(false);
    handle_t const old = b->session;
    room_client_resume(b); // the old socket is still open
    run(S(1));
    assert_true(b->reconnected);
    // What comes late from the old socket is nobody's.
    struct channel_msg *const m = channel_msg_new(CHANNEL_SESSION_CLOSED, old);
    room_harness_post(&h, m);
    run(S(1));
    assert_true(handle_eq(server_side(b)->session, b->session));
    assert_true(flow(a, b_video, S(1)) > 30);
    end();
}

static void a_client_comes_back_after_an_outage(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        room_client_set_vanished(b, true);
        while (!handle_is_none(server_side(b)->session)) {
            run(MS(100)); // until it failed, and its 10 s are running
        }
        room_client_set_vanished(b, false);
        room_client_resume(b);
        run(S(4));
        assert_true(b->reconnected);
        assert_true(room_client_active(b));
        run(S(10));
        assert_state(a, "bob", STATE_ACTIVE);
        assert_true(flow(a, b_video, S(1)) > 30);
        assert_true(flow(b, a_video, S(1)) > 30);
        end();
    }
}

// The signalling comes back, the media path does not: nobody must stay in the room for ever.
static void a_resume_without_media_does_not_live_on(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        begin_call(kind == 2);
        room_client_set_vanished(b, true);
        while (!handle_is_none(server_side(b)->session)) {
            run(MS(100));
        }
        b->vanished = false;        // signalling only
        b->conf.silent = kind != 0; // 0: restarts ICE in vain; else: never offers or answers
        room_client_resume(b);
        run(S(2));
        assert_true(b->reconnected);
        run(S(60));
        assert_null(server_side(b));
        assert_state(a, "bob", STATE_DISCONNECTED);
        end();
    }
}

static void what_is_gone_cannot_be_resumed(void **state)
{
    (void)state;
    begin_call(false);
    room_client_leave(b);
    run(S(1));
    room_client_resume(b);
    run(S(1));
    assert_left(b, LEAVE_MISMATCH, LEAVE_RECONNECT);
    // Neither in a room that does not exist; and none is made for it.
    room_client_leave(a);
    run(S(30));
    assert_null(h.env.rooms);
    room_client_resume(a);
    run(S(1));
    assert_left(a, LEAVE_MISMATCH, LEAVE_RECONNECT);
    assert_null(h.env.rooms);
    end();
}

// ---- identities -----------------------------------------------------------------------------

static void a_second_session_replaces_the_first(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_call(v0 != 0);
        struct room_client *const again = join_as("bob", v0 != 0);
        run(S(1));
        assert_left(b, LEAVE_DUPLICATE, LEAVE_DISCONNECT);
        assert_true(room_client_active(again));
        // livekit-protocol 4.12: no DISCONNECTED of the old sid, the new one takes its place.
        for (size_t i = 0; i < a->peer_count; i++) {
            assert_int_not_equal(a->peers[i].state, STATE_DISCONNECTED);
        }
        assert_string_equal(room_client_peer(a, "bob")->sid, again->sid);
        struct room_sender *const s = room_client_publish(again, ROOM_VIDEO);
        run(S(1));
        assert_true(flow(a, s, S(1)) > 30);
        assert_true(flow(again, a_video, S(1)) > 30);
        end();
    }
}

static void hidden_ones_are_not_seen(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
    run(S(1));
    struct room_client *const ghost =
        room_client_join(&h, &(struct room_client_conf){.identity = "ghost", .hidden = true});
    run(S(2));
    b = join_as("bob", false);
    run(S(2));
    assert_true(flow(ghost, s, S(1)) > 30);
    assert_null(room_client_peer(a, "ghost"));
    assert_null(room_client_peer(b, "ghost"));
    assert_state(ghost, "ghost", STATE_ACTIVE); // itself
    assert_state(ghost, "bob", STATE_ACTIVE);
    assert_int_equal(h.last_info.num_participants, 2);
    room_client_leave(ghost);
    run(S(1));
    assert_null(room_client_peer(a, "ghost"));
    end();
}

// ---- rooms ----------------------------------------------------------------------------------

static void a_full_room_refuses(void **state)
{
    (void)state;
    begin_with(&(struct room_harness_conf){.link = clean_link, .max_participants = 2});
    a = join_as("alice", false);
    b = join_as("bob", false);
    run(S(1));
    struct room_client *const c = join_as("carol", false);
    run(S(1));
    assert_int_equal(c->refused, 500);
    assert_false(c->joined);
    struct room_client *const again = join_as("bob", false); // takes its own place
    run(S(1));
    assert_true(room_client_active(again));
    room_client_leave(a);
    run(S(1));
    struct room_client *const d = join_as("dave", false);
    run(S(1));
    assert_true(room_client_active(d));
    end();
}

static void empty_rooms_end(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    run(S(400));
    assert_non_null(h.env.rooms);
    room_client_leave(a);
    run(S(19));
    assert_non_null(h.env.rooms);
    assert_int_equal(h.rooms_ended, 0);
    run(S(2));
    assert_null(h.env.rooms);
    assert_int_equal(h.rooms_ended, 1);
    // One that was made by CreateRoom and never joined waits longer.
    Livekit__CreateRoomRequest req = LIVEKIT__CREATE_ROOM_REQUEST__INIT;
    LK_SET_STR(&req, name, "made");
    LK_SET_STR(&req, metadata, "m");
    const struct room_api_result *r = room_harness_api(&h, ROOM_API_CREATE_ROOM, "made", &req.base);
    assert_string_equal(r->error, "");
    run(S(299));
    assert_non_null(room_find(&h.env, "made"));
    run(S(2));
    assert_null(room_find(&h.env, "made"));
    LK_SET(&req, empty_timeout, 5);
    r = room_harness_api(&h, ROOM_API_CREATE_ROOM, "made", &req.base);
    assert_string_equal(r->error, "");
    run(S(6));
    assert_null(room_find(&h.env, "made"));
    end();
}

// A room service answer of a type.
static struct pbuf *body_of(const struct room_api_result *r, const ProtobufCMessageDescriptor *type)
{
    struct pbuf *p = NULL;
    assert_string_equal(r->error, "");
    assert_int_equal(pbuf_unpack(type, *(const struct bytes *)r->body->msg, 1 << 20, &p), 0);
    return p;
}

static void the_room_service_sees_and_acts(void **state)
{
    (void)state;
    begin_call(false);
    Livekit__ListParticipantsRequest list = LIVEKIT__LIST_PARTICIPANTS_REQUEST__INIT;
    struct pbuf *p = body_of(room_harness_api(&h, ROOM_API_LIST_PARTICIPANTS, "room", &list.base),
                             &livekit__list_participants_response__descriptor);
    assert_int_equal(((Livekit__ListParticipantsResponse *)p->msg)->n_participants, 2);
    pbuf_free(p);

    Livekit__RoomParticipantIdentity who = LIVEKIT__ROOM_PARTICIPANT_IDENTITY__INIT;
    LK_SET_STR(&who, identity, "bob");
    p = body_of(room_harness_api(&h, ROOM_API_GET_PARTICIPANT, "room", &who.base),
                &livekit__participant_info__descriptor);
    const Livekit__ParticipantInfo *const info = p->msg;
    assert_string_equal(info->sid, b->sid);
    assert_int_equal(info->n_tracks, 1);
    pbuf_free(p);

    p = body_of(room_harness_api(&h, ROOM_API_REMOVE_PARTICIPANT, "room", &who.base),
                &livekit__remove_participant_response__descriptor);
    pbuf_free(p);
    run(MS(100));
    assert_left(b, LEAVE_REMOVED, LEAVE_DISCONNECT);
    assert_state(a, "bob", STATE_DISCONNECTED);
    const struct room_api_result *r =
        room_harness_api(&h, ROOM_API_REMOVE_PARTICIPANT, "room", &who.base);
    assert_string_equal(r->error, "not_found");
    r = room_harness_api(&h, ROOM_API_GET_PARTICIPANT, "nowhere", &who.base);
    assert_string_equal(r->error, "not_found");

    Livekit__DeleteRoomRequest del = LIVEKIT__DELETE_ROOM_REQUEST__INIT;
    r = room_harness_api(&h, ROOM_API_DELETE_ROOM, "room", &del.base);
    assert_string_equal(r->error, "");
    run(MS(100));
    assert_left(a, LEAVE_DELETED, LEAVE_DISCONNECT);
    assert_null(h.env.rooms);
    r = room_harness_api(&h, ROOM_API_DELETE_ROOM, "room", &del.base);
    assert_string_equal(r->error, "not_found");
    end();
}

// ---- what clients may say -------------------------------------------------------------------

static void publishing_needs_permission(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = room_client_join(&h, &(struct room_client_conf){.identity = "bob", .no_publish = true});
    run(S(1));
    struct room_sender *const s = room_client_publish(b, ROOM_VIDEO);
    run(S(2));
    assert_int_equal(b->track_published, 0);
    assert_int_equal(b->last_refusal, LIVEKIT__REQUEST_RESPONSE__REASON__NOT_ALLOWED);
    assert_null(a->streams);
    assert_int_equal(h.env.tracks.count, 0);
    assert_true(s->packets > 0); // it sends all the same, into nothing
    assert_true(h.env.drops[ROOM_DROP_UNBOUND_SSRC] > 0);
    end();
}

static void own_data_is_changed_and_told(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = room_client_join(&h,
                         &(struct room_client_conf){.identity = "bob", .update_metadata = true});
    run(S(1));
    Livekit__UpdateParticipantMetadata u = LIVEKIT__UPDATE_PARTICIPANT_METADATA__INIT;
    LK_SET_STR(&u, name, "Robert");
    LK_SET(&u, request_id, 7);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA;
    r.update_metadata = &u;
    room_client_request(b, &r);
    room_client_request(a, &r);
    run(MS(100));
    assert_string_equal(room_client_peer(a, "bob")->name, "Robert");
    assert_string_equal(room_client_peer(a, "alice")->name, "");
    assert_int_equal(a->last_refusal, LIVEKIT__REQUEST_RESPONSE__REASON__NOT_ALLOWED);
    assert_int_equal(b->refusals, 0);
    char *const huge = mem_alloc(300);
    memset(huge, 'x', 299);
    u.name = huge;
    room_client_request(b, &r);
    run(MS(100));
    assert_int_equal(b->last_refusal, LIVEKIT__REQUEST_RESPONSE__REASON__LIMIT_EXCEEDED);
    assert_string_equal(room_client_peer(a, "bob")->name, "Robert");
    mem_free(huge);
    end();
}

static void pings_are_answered(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    run(S(1));
    Livekit__Ping ping = LIVEKIT__PING__INIT;
    LK_SET(&ping, timestamp, 1234);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    r.ping = 5;
    room_client_request(a, &r);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING_REQ;
    r.ping_req = &ping;
    room_client_request(a, &r);
    run(MS(50));
    assert_int_equal(a->pongs, 2);
    end();
}

static Livekit__SignalRequest nonsense(int kind, Livekit__SessionDescription *d,
                                       Livekit__SyncState *s, Livekit__UpdateSubscription *u,
                                       Livekit__MuteTrackRequest *m)
{
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    switch (kind) {
    case 0:
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_OFFER;
        r.offer = d;
        break;
    case 1:
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_ANSWER; // v1: ignored
        r.answer = d;
        break;
    case 2:
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION;
        r.subscription = u;
        break;
    case 3:
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_MUTE;
        r.mute = m;
        break;
    case 4:
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SYNC_STATE;
        r.sync_state = s;
        break;
    default:
        break; // no member at all
    }
    return r;
}

static void nonsense_disturbs_nobody(void **state)
{
    (void)state;
    begin_call(false);
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    Livekit__SyncState sync = LIVEKIT__SYNC_STATE__INIT;
    Livekit__UpdateSubscription u = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    Livekit__MuteTrackRequest m = LIVEKIT__MUTE_TRACK_REQUEST__INIT;
    char *const texts[] = {NULL, (char[]){"x"}, (char[]){"v=0\r\n"},
                           (char[]){"TR_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
                           (char[]){"TR_VCunknown"}};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char *sids[2] = {texts[i] != NULL ? texts[i] : (char[]){""}, (char[]){""}};
        d.sdp = texts[i];
        u.track_sids = sids;
        u.n_track_sids = 2;
        m.sid = texts[i];
        for (int kind = 0; kind < 6; kind++) {
            Livekit__SignalRequest const r = nonsense(kind, &d, &sync, &u, &m);
            room_client_request(b, &r);
        }
    }
    run(MS(100));
    assert_false(b->closed);
    assert_true(flow(a, b_video, S(1)) > 30);
    assert_true(flow(b, a_video, S(1)) > 30);
    // A claim to have published what is unknown: start anew.
    Livekit__TrackInfo track = LIVEKIT__TRACK_INFO__INIT;
    LK_SET_STR(&track, sid, "TR_VCunknown");
    Livekit__TrackPublishedResponse pub = LIVEKIT__TRACK_PUBLISHED_RESPONSE__INIT;
    pub.track = &track;
    sync.publish_tracks = (Livekit__TrackPublishedResponse *[]){&pub};
    sync.n_publish_tracks = 1;
    Livekit__SignalRequest const r = nonsense(4, &d, &sync, &u, &m);
    room_client_request(b, &r);
    run(S(1));
    assert_left(b, LEAVE_MISMATCH, LEAVE_RECONNECT);
    assert_true(room_client_active(a));
    end();
}

static void tracks_without_sections_are_limited(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    run(S(1));
    for (int i = 0; i < 1000; i++) {
        Livekit__AddTrackRequest t = LIVEKIT__ADD_TRACK_REQUEST__INIT;
        char cid[16];
        (void)snprintf(cid, sizeof(cid), "cid %d", i);
        LK_SET_STR(&t, cid, cid);
        LK_SET(&t, type, i % 2 == 0 ? LIVEKIT__TRACK_TYPE__VIDEO : LIVEKIT__TRACK_TYPE__AUDIO);
        Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_ADD_TRACK;
        r.add_track = &t;
        room_client_request(a, &r);
    }
    run(S(1));
    assert_int_equal(a->track_published, 20);
    assert_int_equal(a->last_refusal, LIVEKIT__REQUEST_RESPONSE__REASON__LIMIT_EXCEEDED);
    assert_int_equal(h.env.tracks.count, 20);
    end();
}

// The sections of an offer in another order, which no client may do (RFC 3264 section 8).
static char *reordered(const char *sdp, size_t first, size_t second)
{
    const char *at[32];
    size_t n = 0;
    for (const char *p = strstr(sdp, "m="); p != NULL && n < 31; p = strstr(p + 2, "\r\nm=")) {
        at[n] = n == 0 ? p : p + 2;
        n++;
    }
    at[n] = sdp + strlen(sdp);
    assert_true(first < n && second < n);
    struct dynbuf out;
    dynbuf_init(&out, JSEP_MAX_TEXT);
    dynbuf_add(&out, bytes_of(sdp, (size_t)(at[0] - sdp)));
    for (size_t i = 0; i < n; i++) {
        size_t const k = i == first ? second : i == second ? first : i;
        dynbuf_add(&out, bytes_of(at[k], (size_t)(at[k + 1] - at[k])));
    }
    char *const text = mem_strdup(dynbuf_cstr(&out));
    dynbuf_done(&out);
    return text;
}

static void send_offer_text(struct room_client *c, char *sdp)
{
    Livekit__SessionDescription d = LIVEKIT__SESSION_DESCRIPTION__INIT;
    d.sdp = sdp;
    LK_SET(&d, id, 1);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_OFFER;
    r.offer = &d;
    room_client_request(c, &r);
}

static void stopped_sections_end_what_they_carried(void **state)
{
    (void)state;
    begin_call(false);
    struct dynbuf out;
    dynbuf_init(&out, JSEP_MAX_TEXT);
    room_pc_write_offer(b->publisher, false, &out);
    // All video is rejected: what b sends, what it gets, and what is free.
    char *const text = mem_strdup(dynbuf_cstr(&out));
    for (char *m = text; (m = strstr(m, "m=video 9")) != NULL;) {
        m += 9;
        m[-1] = '0';
    }
    send_offer_text(b, text);
    run(S(1));
    h.violations = 0; // the answer fits another offer
    assert_int_equal(room_client_peer(a, "bob")->track_count, 0);
    assert_int_equal(h.env.tracks.count, 1);
    assert_int_equal(flow(b, a_video, S(1)), 0);
    assert_int_equal(b->required_video, 1); // it is asked for another one
    mem_free(text);
    dynbuf_done(&out);
    assert_true(room_client_active(a));
    end();
}

static void rejected_offers_are_not_repeated(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = room_client_join(
        &h, &(struct room_client_conf){.identity = "bob", .v0 = true, .rejects_video = true});
    run(S(1));
    struct room_sender *const v = room_client_publish(a, ROOM_VIDEO);
    struct room_sender *const u = room_client_publish(a, ROOM_AUDIO);
    run(S(2));
    assert_int_equal(flow(b, v, S(1)), 0);
    assert_true(flow(b, u, S(1)) > 30);
    assert_int_equal(b->subscription_errors, 1);
    assert_in_range(b->subscriber->answers, 1, 4);
    end();
}

static void reordered_sections_confuse_nobody(void **state)
{
    (void)state;
    begin_call(false);
    struct room_sender *const u = room_client_publish(b, ROOM_AUDIO);
    run(S(1));
    for (int i = 0; i < 2; i++) {
        struct dynbuf out;
        dynbuf_init(&out, JSEP_MAX_TEXT);
        room_pc_write_offer(b->publisher, false, &out);
        // Video and audio that are sent change places.
        char *const text = reordered(dynbuf_cstr(&out), 7, 8);
        send_offer_text(b, text);
        mem_free(text);
        dynbuf_done(&out);
        run(S(1));
    }
    h.violations = 0;
    assert_true(flow(a, b_video, S(1)) > 30);
    assert_true(flow(a, u, S(1)) > 30);
    jsep_transceiver_clear_sender(b_video->section);
    b_video->section = NULL;
    b->publisher->offer_out = false;
    room_client_offer(b, false);
    run(S(2));
    assert_int_equal(room_client_peer(a, "bob")->track_count, 1);
    assert_true(flow(a, u, S(1)) > 30);
    assert_true(flow(b, a_video, S(1)) > 30);
    end();
}

static void a_crowd_comes_and_goes(void **state)
{
    (void)state;
    begin_with(&(struct room_harness_conf){.seed = 3, .link = bad_link, .signal_us = 4000});
    struct room_client *c[12];
    struct room_sender *s[4];
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        char name[8] = {'p', (char)('a' + i), 0};
        c[i] = join_as(name, i % 3 == 0);
        if (i < 4) {
            s[i] = room_client_publish(c[i], i % 2 == 0 ? ROOM_VIDEO_SIMULCAST : ROOM_AUDIO);
        }
        run(MS(30));
    }
    run(S(5));
    for (size_t i = 4; i < ARRAY_LEN(c); i++) {
        for (size_t k = 0; k < 4; k++) {
            assert_true(flow(c[i], s[k], MS(300)) > 5);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(c); i += 2) {
        room_client_leave(c[i]);
        run(MS(10));
    }
    run(S(1));
    assert_true(flow(c[11], s[1], MS(500)) > 15);
    assert_state(c[11], "pa", STATE_DISCONNECTED);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(leaving_is_told_and_answered),
        TEST(a_vanished_client_is_removed),
        TEST(a_lost_socket_before_the_connection_ends_the_session),
        TEST(a_lost_socket_does_not_end_a_call),
        TEST(silent_clients_are_removed),
        TEST(an_offer_without_media_path_ends_too),
        TEST(sessions_are_resumed),
        TEST(a_newer_socket_replaces_the_old_one),
        TEST(a_client_comes_back_after_an_outage),
        TEST(a_resume_without_media_does_not_live_on),
        TEST(what_is_gone_cannot_be_resumed),
        TEST(a_second_session_replaces_the_first),
        TEST(hidden_ones_are_not_seen),
        TEST(a_full_room_refuses),
        TEST(empty_rooms_end),
        TEST(the_room_service_sees_and_acts),
        TEST(publishing_needs_permission),
        TEST(own_data_is_changed_and_told),
        TEST(pings_are_answered),
        TEST(nonsense_disturbs_nobody),
        TEST(tracks_without_sections_are_limited),
        TEST(stopped_sections_end_what_they_carried),
        TEST(rejected_offers_are_not_repeated),
        TEST(reordered_sections_confuse_nobody),
        TEST(a_crowd_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
