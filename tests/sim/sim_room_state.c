// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: participant_update participant_permission room_update late_response
//
// What people are told of each other and of the room when something changes, and in which order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/dynbuf.h"
#include "sfu/room/late_response.h"
#include "sfu/room/participant_permission.h"
#include "sfu/room/participant_update.h"
#include "sfu/room/published_track.h"
#include "sfu/room/room_update.h"
#include "tests/support/room_sim.h"

static struct room_client *a, *b;
static struct dynbuf told; // to `watched`: "bob 3 JOINED Robert, token, ok 7"
static const struct room_client *watched;
static char last_metadata[64]; // of the last token
static bool last_may_publish;

static void note_update(const Livekit__ParticipantUpdate *u)
{
    for (size_t i = 0; i < u->n_participants; i++) {
        const Livekit__ParticipantInfo *const p = u->participants[i];
        dynbuf_addf(&told, "%s%s/%d/%s/%zu", i > 0 ? "+" : "", p->identity, (int)p->state,
                    lk_str(p->name), p->n_tracks);
    }
}

static void note_response(const Livekit__RequestResponse *r)
{
    static const char *const echoes[] = {
        [LIVEKIT__REQUEST_RESPONSE__REQUEST__NOT_SET] = "nothing",
        [LIVEKIT__REQUEST_RESPONSE__REQUEST_UPDATE_METADATA] = "update_metadata",
        [LIVEKIT__REQUEST_RESPONSE__REQUEST_UPDATE_AUDIO_TRACK] = "update_audio_track",
        [LIVEKIT__REQUEST_RESPONSE__REQUEST_UPDATE_VIDEO_TRACK] = "update_video_track",
    };
    const char *const echo =
        (size_t)r->request_case < ARRAY_LEN(echoes) ? echoes[r->request_case] : "other";
    dynbuf_addf(&told, "response %d %u %s [%s]", (int)r->reason, r->request_id, echo,
                lk_str(r->message));
}

static void note(const Livekit__SignalResponse *rsp)
{
    if (told.n > 0) {
        dynbuf_addf(&told, ", ");
    }
    switch (rsp->message_case) {
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE:
        note_update(rsp->update);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_REQUEST_RESPONSE:
        note_response(rsp->request_response);
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRACK_UNPUBLISHED:
        dynbuf_addf(&told, "track_unpublished");
        break;
    case LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ROOM_UPDATE:
        dynbuf_addf(&told, "room %u/%u%s [%s]", rsp->room_update->room->num_participants,
                    rsp->room_update->room->num_publishers,
                    rsp->room_update->room->active_recording ? " recording" : "",
                    lk_str(rsp->room_update->room->metadata));
        break;
    default:
        dynbuf_addf(&told, "kind %d", (int)rsp->message_case);
        break;
    }
}

static void tap(void *user, const struct channel_msg *m)
{
    (void)user;
    if (watched == NULL || !handle_eq(m->handle, watched->session)) {
        return;
    }
    if (m->type == CHANNEL_CLAIMS) {
        const struct access_claims *const c = &m->u.claims.token->claims;
        assert_string_equal(c->identity, watched->identity);
        assert_true(c->exp > 0 && c->has_video);
        (void)snprintf(last_metadata, sizeof(last_metadata), "%.60s", lk_str(c->metadata));
        last_may_publish = video_grant_may_publish(&c->video);
        dynbuf_addf(&told, "%stoken %s", told.n > 0 ? ", " : "", lk_str(c->name));
        return;
    }
    struct pbuf *rsp = NULL;
    if (m->type == CHANNEL_SEND) {
        assert_int_equal(lk_unpack_signal_response(shared_buf_view(m->u.send.data), &rsp), 0);
        note(rsp->msg);
        pbuf_free(rsp);
    }
}

static void begin_told(void)
{
    begin();
    h.tap = tap;
    watched = NULL;
    dynbuf_init(&told, 1u << 20);
}

static void watch(const struct room_client *c)
{
    watched = c;
    dynbuf_reset(&told);
}

// What the watched one was told since the last time.
static void assert_told(const char *want)
{
    assert_string_equal(dynbuf_cstr(&told), want);
    dynbuf_reset(&told);
}

static void end_told(void)
{
    watched = NULL;
    end();
    dynbuf_done(&told);
}

static struct room_client *join_with(const struct room_client_conf *conf)
{
    return room_client_join(&h, conf);
}

// ---- own data -------------------------------------------------------------------------------

struct own {
    const char *name, *metadata, *key, *value;
    uint32_t id;
};

static void request_own(struct room_client *c, const struct own *o)
{
    Livekit__UpdateParticipantMetadata u = LIVEKIT__UPDATE_PARTICIPANT_METADATA__INIT;
    Livekit__UpdateParticipantMetadata__AttributesEntry e =
        LIVEKIT__UPDATE_PARTICIPANT_METADATA__ATTRIBUTES_ENTRY__INIT;
    Livekit__UpdateParticipantMetadata__AttributesEntry *list[] = {&e};
    LK_SET_STR(&u, name, o->name);
    LK_SET_STR(&u, metadata, o->metadata);
    LK_SET(&u, request_id, o->id);
    if (o->key != NULL) {
        LK_SET_STR(&e, key, o->key);
        LK_SET_STR(&e, value, o->value);
        u.attributes = list;
        u.n_attributes = 1;
    }
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA;
    r.update_metadata = &u;
    room_client_request(c, &r);
}

static void update_own(struct room_client *c, const struct own *o)
{
    request_own(c, o);
    run(MS(100));
}

static char *long_text(size_t n)
{
    char *const text = mem_alloc(n + 1);
    assert_non_null(text);
    memset(text, 'x', n);
    return text;
}

// The requests of the recording 10-odd-requests-v0, with LiveKit's default limits.
static void own_data_is_answered_as_recorded(void **state)
{
    (void)state;
    begin_told();
    b = join_with(&(struct room_client_conf){.identity = "ben", .no_publish = true});
    a = join_with(
        &(struct room_client_conf){.identity = "ann", .name = "Ann", .update_metadata = true});
    run(S(7));
    watch(b);
    update_own(b, &(struct own){.metadata = "x", .name = "Y", .id = 5});
    assert_told("response 2 5 update_metadata [does not have permission to update own metadata]");
    watch(a);
    char *const name = long_text(257);
    char *const metadata = long_text((512u << 10) + 1);
    char *const value = long_text(64u << 10);
    update_own(a, &(struct own){.metadata = metadata, .name = "Ann", .id = 6});
    assert_told("response 3 6 update_metadata [exceeds metadata size limit]");
    update_own(a, &(struct own){.key = "k", .value = value, .id = 7});
    assert_told("response 3 7 update_metadata [exceeds attributes size limit]");
    update_own(a, &(struct own){.name = name, .id = 8});
    assert_told("response 3 8 update_metadata [exceeds name length limit]");
    update_own(a, &(struct own){.id = 9});
    assert_told("response 0 9 update_metadata []");
    uint32_t const version = server_side(a)->version;
    update_own(a, &(struct own){.metadata = "ok", .name = "Ann"});
    assert_told("ann/2/Ann/0, token Ann, response 0 0 update_metadata []");
    assert_string_equal(last_metadata, "ok");
    assert_int_equal(server_side(a)->version, version + 1);
    // The same again is nothing new.
    update_own(a, &(struct own){.metadata = "ok", .name = "Ann", .id = 10});
    assert_told("response 0 10 update_metadata []");
    assert_int_equal(room_client_peer(b, "ann")->version, version + 1);
    mem_free(name);
    mem_free(metadata);
    mem_free(value);
    end_told();
}

static void attributes_are_merged(void **state)
{
    (void)state;
    begin_told();
    a = join_with(&(struct room_client_conf){.identity = "ann", .update_metadata = true});
    run(S(1));
    update_own(a, &(struct own){.key = "k", .value = "v"});
    update_own(a, &(struct own){.key = "l", .value = "w"});
    const struct participant *const p = server_side(a);
    assert_int_equal(p->attribute_count, 2);
    // Many small requests do not add up to more than one may hold.
    char *const value = long_text(40u << 10);
    update_own(a, &(struct own){.key = "big", .value = value});
    assert_int_equal(a->refusals, 0);
    update_own(a, &(struct own){.key = "big too", .value = value});
    assert_int_equal(a->refusals, 1);
    assert_int_equal(p->attribute_count, 3);
    update_own(a, &(struct own){.key = "big", .value = ""});
    update_own(a, &(struct own){.key = "k", .value = ""});
    assert_int_equal(p->attribute_count, 1);
    assert_string_equal(p->attributes[0].key, "l");
    watch(a);
    update_own(a, &(struct own){.key = "k", .value = "", .id = 3}); // is not there
    assert_told("response 0 3 update_metadata []");
    for (int i = 0; i < PARTICIPANT_ATTRIBUTES_MAX - 1; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "n%d", i);
        update_own(a, &(struct own){.key = key, .value = "v"});
    }
    assert_int_equal(p->attribute_count, PARTICIPANT_ATTRIBUTES_MAX);
    watch(a);
    update_own(a, &(struct own){.key = "one more", .value = "v", .id = 4});
    assert_told("response 3 4 update_metadata [exceeds attributes size limit]");
    mem_free(value);
    end_told();
}

// Rust's clients begin to wait for it only when the request is sent.
static void the_answer_comes_when_its_client_waits_for_it(void **state)
{
    (void)state;
    begin_told();
    b = join_with(&(struct room_client_conf){.identity = "ben", .no_publish = true});
    a = join_with(&(struct room_client_conf){.identity = "ann", .update_metadata = true});
    run(S(7));
    watch(a);
    request_own(a, &(struct own){.name = "Ann", .id = 1});
    run(2 * h.signal_us + MS(1));
    mono_t const began = h.now;
    assert_told("ann/2/Ann/0, token Ann");
    request_own(a, &(struct own){.name = "Anna", .id = 2});
    run(2 * h.signal_us + MS(1));
    assert_told("ann/2/Anna/0, token Anna");
    while (told.n == 0) {
        run(MS(1));
    }
    assert_told("response 0 1 update_metadata []");
    assert_true(mono_reached(mono_add_ms(began, LATE_RESPONSE_MS - 1), h.now));
    assert_false(mono_reached(mono_add_ms(began, LATE_RESPONSE_MS + 2), h.now));
    run(MS(LATE_RESPONSE_MS));
    assert_told("response 0 2 update_metadata []");
    // Errors are awaited in the same way.
    watch(b);
    request_own(b, &(struct own){.name = "Ben", .id = 3});
    run(2 * h.signal_us + MS(LATE_RESPONSE_MS - 1));
    assert_told("");
    run(MS(2));
    assert_told("response 2 3 update_metadata [does not have permission to update own metadata]");
    // Who is gone when its time comes gets none.
    watch(a);
    request_own(a, &(struct own){.name = "Anne", .id = 4});
    room_client_leave(a);
    run(MS(100));
    assert_null(strstr(dynbuf_cstr(&told), "response"));
    end_told();
}

static void late_answers_are_bounded(void **state)
{
    (void)state;
    begin_told();
    b = join_with(&(struct room_client_conf){.identity = "ben", .no_publish = true});
    run(S(1));
    watch(b);
    char *const metadata = long_text(PARTICIPANT_METADATA_MAX);
    for (uint32_t id = 1; id <= 16; id++) {
        request_own(b, &(struct own){.metadata = metadata, .id = id});
    }
    mem_free(metadata);
    run(2 * h.signal_us + MS(1));
    const struct room *const r = server_side(b)->room;
    assert_true(r->late_response_bytes > 0 && r->late_response_bytes <= LATE_RESPONSE_BYTES_MAX);
    assert_non_null(strstr(dynbuf_cstr(&told), "response 2 1 "));
    assert_null(strstr(dynbuf_cstr(&told), "response 2 16 "));
    run(MS(100));
    assert_int_equal(r->late_response_bytes, 0);
    assert_non_null(strstr(dynbuf_cstr(&told), "response 2 16 "));
    request_own(b, &(struct own){.name = "Ben", .id = 30}); // goes with its room
    run(2 * h.signal_us + MS(1));
    end_told();
}

static void metadata_of_the_join_is_in_the_first_token(void **state)
{
    (void)state;
    begin_told();
    a = join_with(&(struct room_client_conf){
        .identity = "ann", .metadata = "of the token", .join_metadata = "of the request"});
    watch(a);
    run(S(1));
    assert_memory_equal(dynbuf_cstr(&told), "token , kind ", strlen("token , kind "));
    assert_string_equal(last_metadata, "of the request");
    // And a resume brings what is known here, whatever token the client found.
    assert_int_equal(participant_update(server_side(a), "Ann", "newer", NULL, 0), 0);
    room_harness_turn(&h);
    run(S(1));
    room_client_drop_socket(a);
    run(S(1));
    dynbuf_reset(&told);
    room_client_resume(a);
    run(S(1));
    assert_memory_equal(dynbuf_cstr(&told), "token Ann, kind ", strlen("token Ann, kind "));
    assert_string_equal(last_metadata, "newer");
    end_told();
}

static void track_requests_for_nothing_are_answered(void **state)
{
    (void)state;
    begin_told();
    a = join_as("ann", false);
    run(S(7));
    watch(a);
    Livekit__UpdateLocalAudioTrack audio = LIVEKIT__UPDATE_LOCAL_AUDIO_TRACK__INIT;
    Livekit__UpdateLocalVideoTrack video = LIVEKIT__UPDATE_LOCAL_VIDEO_TRACK__INIT;
    LK_SET_STR(&audio, track_sid, "TR_nope");
    LK_SET_STR(&video, track_sid, "TR_nope");
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_AUDIO_TRACK;
    r.update_audio_track = &audio;
    room_client_request(a, &r);
    run(MS(100));
    assert_told("response 1 0 update_audio_track []");
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_VIDEO_TRACK;
    r.update_video_track = &video;
    room_client_request(a, &r);
    run(MS(100));
    assert_told("response 1 0 update_video_track []");
    struct room_sender *const s = room_client_publish(a, ROOM_AUDIO);
    run(S(2));
    watch(a);
    Livekit__AudioTrackFeature features[] = {LIVEKIT__AUDIO_TRACK_FEATURE__TF_STEREO,
                                             LIVEKIT__AUDIO_TRACK_FEATURE__TF_NO_DTX,
                                             LIVEKIT__AUDIO_TRACK_FEATURE__TF_STEREO};
    LK_SET_STR(&audio, track_sid, s->sid);
    audio.features = features;
    audio.n_features = ARRAY_LEN(features);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_AUDIO_TRACK;
    r.update_audio_track = &audio;
    room_client_request(a, &r);
    room_client_request(a, &r);
    run(MS(100));
    assert_told("ann/2//1"); // once
    const struct track_info *const info = &server_side(a)->tracks->info;
    assert_true(info->stereo && info->disable_dtx);
    assert_int_equal(info->feature_count, 2);
    end_told();
}

// ---- permissions ----------------------------------------------------------------------------

static void permissions_change_live(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_told();
        a = join_as("alice", v0 != 0);
        b = join_as("bob", v0 != 0);
        struct room_sender *const audio = room_client_publish(a, ROOM_AUDIO);
        struct room_sender *const video = room_client_publish(a, ROOM_VIDEO);
        struct room_sender *const of_bob = room_client_publish(b, ROOM_VIDEO);
        run(S(7));
        assert_true(flow(b, audio, S(1)) > 30 && flow(b, video, S(1)) > 10);
        struct participant *const p = server_side(a);
        struct participant_permission perm = p->permission;
        assert_false(participant_set_permission(p, &perm));
        watch(a);
        perm.sources = 1u << TRACK_SOURCE_MICROPHONE;
        perm.can_publish_data = false;
        assert_true(participant_set_permission(p, &perm));
        room_harness_turn(&h);
        run(MS(50));
        assert_told("alice/2//1, track_unpublished, alice/2//1, token ");
        assert_true(last_may_publish);
        run(S(1));
        assert_int_equal(room_client_peer(b, "alice")->track_count, 1);
        assert_true(flow(b, audio, S(1)) > 30);
        assert_int_equal(flow(b, video, S(1)), 0);
        // Nothing comes to it any more, and comes again.
        perm.can_subscribe = false;
        assert_true(participant_set_permission(p, &perm));
        room_harness_turn(&h);
        run(S(1));
        assert_int_equal(flow(a, of_bob, S(1)), 0);
        perm.can_subscribe = true;
        assert_true(participant_set_permission(p, &perm));
        room_harness_turn(&h);
        run(S(2));
        assert_true(flow(a, of_bob, S(1)) > 10);
        perm.can_publish = false;
        watch(a);
        assert_true(participant_set_permission(p, &perm));
        room_harness_turn(&h);
        run(MS(50));
        assert_told("alice/2//0, track_unpublished, alice/2//0, token ");
        assert_false(last_may_publish);
        assert_true(p->is_publisher);
        end_told();
    }
}

static void only_some_sources_may_be_published(void **state)
{
    (void)state;
    begin_told();
    a = join_with(
        &(struct room_client_conf){.identity = "alice", .sources = 1u << TRACK_SOURCE_MICROPHONE});
    b = join_as("bob", false);
    run(S(1));
    struct room_sender *const audio = room_client_publish(a, ROOM_AUDIO);
    (void)room_client_publish(a, ROOM_VIDEO);
    run(S(3));
    assert_int_equal(a->last_refusal, LIVEKIT__REQUEST_RESPONSE__REASON__NOT_ALLOWED);
    assert_int_equal(room_client_peer(b, "alice")->track_count, 1);
    assert_true(flow(b, audio, S(1)) > 30);
    end_told();
}

// Whoever gets a description knows the publisher of what it carries, also when the room's update
// waits because there was one just before: the client checks that.
static void publishers_are_known_before_their_media(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_told();
        a = join_as("alice", v0 != 0);
        b = join_as("bob", v0 != 0);
        run(S(2));
        struct room *const room = server_side(a)->room;
        for (int i = 0; i < 20; i++) {
            // As if the room were large: its updates wait all the time.
            room->updated_at = mono_add_ms(h.now, 45);
            if (i % 5 == 0) {
                (void)room_client_publish(i % 2 == 0 ? a : b,
                                          i % 10 == 0 ? ROOM_AUDIO : ROOM_VIDEO);
            }
            run(MS(40));
        }
        run(S(3));
        assert_int_equal(room_client_peer(a, "bob")->track_count, 2);
        assert_int_equal(room_client_peer(b, "alice")->track_count, 2);
        end_told();
    }
}

// v0 without canSubscribe has no subscriber connection until it may subscribe.
static void subscribing_may_be_allowed_later(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_told();
        a = join_with(
            &(struct room_client_conf){.identity = "alice", .v0 = v0 != 0, .no_subscribe = true});
        b = join_as("bob", v0 != 0);
        struct room_sender *const s = room_client_publish(b, ROOM_VIDEO);
        (void)room_client_publish(a, ROOM_AUDIO);
        run(S(3));
        assert_int_equal(flow(a, s, S(1)), 0);
        struct participant *const p = server_side(a);
        struct participant_permission perm = p->permission;
        perm.can_subscribe = true;
        assert_true(participant_set_permission(p, &perm));
        room_harness_turn(&h);
        run(S(3));
        assert_true(flow(a, s, S(1)) > 10);
        end_told();
    }
}

// The same before its first connection is up: what it may have follows then.
static void subscribing_may_be_allowed_while_joining(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_told();
        b = join_as("bob", v0 != 0);
        struct room_sender *const s = room_client_publish(b, ROOM_VIDEO);
        run(S(3));
        a = join_with(
            &(struct room_client_conf){.identity = "alice", .v0 = v0 != 0, .no_subscribe = true});
        run(MS(10));
        struct participant *const p = server_side(a);
        assert_int_not_equal(p->state, PARTICIPANT_ACTIVE);
        struct participant_permission perm = p->permission;
        perm.can_subscribe = true;
        assert_true(participant_set_permission(p, &perm));
        (void)room_client_publish(a, ROOM_AUDIO);
        run(S(3));
        assert_true(flow(a, s, S(1)) > 10);
        end_told();
    }
}

// Their first connection is the one they offer, and the server offers another for what they receive.
static void clients_of_protocol_two_receive(void **state)
{
    (void)state;
    begin_told();
    a = join_with(&(struct room_client_conf){.identity = "alice", .v0 = true, .protocol = 2});
    b = join_as("bob", true);
    struct room_sender *const s = room_client_publish(b, ROOM_VIDEO);
    struct room_sender *const own = room_client_publish(a, ROOM_AUDIO);
    run(S(3));
    assert_false(server_side(a)->subscriber_primary);
    assert_true(flow(a, s, S(1)) > 10);
    assert_true(flow(b, own, S(1)) > 10);
    end_told();
}

// ---- the room -------------------------------------------------------------------------------

static void counters_are_told_every_five_seconds(void **state)
{
    (void)state;
    begin_told();
    a = join_as("alice", false);
    run(MS(500));
    watch(a);
    assert_int_equal(a->room_updates, 1);
    b = join_as("bob", false);
    struct room_client *const c = join_as("carol", false);
    run(S(4));
    assert_int_equal(a->room_updates, 1);
    run(S(1));
    assert_int_equal(a->room_updates, 2);
    run(S(20));
    assert_int_equal(a->room_updates, 2);
    // The last one is old: at once.
    watch(a);
    (void)room_client_publish(b, ROOM_AUDIO);
    run(S(1));
    assert_int_equal(a->room_updates, 3);
    assert_int_equal(room_set_metadata(server_side(a)->room, "news"), 0);
    room_harness_turn(&h);
    run(MS(50));
    assert_int_equal(a->room_updates, 4);
    char *const text = long_text(ROOM_METADATA_MAX + 1);
    assert_int_equal(room_set_metadata(server_side(a)->room, text), -E2BIG);
    mem_free(text);
    watch(a);
    room_client_leave(c);
    run(S(6));
    assert_told("carol/3//0, room 2/1 [news]");
    assert_int_equal(h.last_info.num_participants, 2);
    assert_int_equal(h.last_info.num_publishers, 1);
    end_told();
}

static void some_are_not_counted(void **state)
{
    (void)state;
    begin_with(&(struct room_harness_conf){
        .seed = 1, .link = clean_link, .signal_us = 3000, .max_participants = 2});
    h.tap = tap;
    dynbuf_init(&told, 1u << 20);
    a = join_as("alice", false);
    (void)join_with(&(struct room_client_conf){.identity = "agent", .kind = "agent"});
    (void)join_with(&(struct room_client_conf){.identity = "agent 2", .agent = true});
    run(S(7));
    watch(a);
    struct room_client *const rec = join_with(
        &(struct room_client_conf){.identity = "recorder", .recorder = true, .hidden = true});
    run(S(1));
    assert_told("room 1/0 recording []"); // at once, though nobody sees it
    b = join_with(&(struct room_client_conf){.identity = "ghost", .hidden = true});
    run(S(1));
    assert_true(b->joined); // a seat, but not visible
    assert_int_equal(server_side(a)->room->visible_count, 1);
    struct room_client *const c = join_as("carol", false);
    run(S(1));
    assert_false(c->joined);
    struct room_client *const d =
        join_with(&(struct room_client_conf){.identity = "agent 3", .kind = "agent"});
    run(S(5));
    assert_true(d->joined);
    watch(a);
    room_client_leave(rec);
    run(S(1));
    assert_told("room 1/0 []");
    end_told();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(own_data_is_answered_as_recorded),
        TEST(the_answer_comes_when_its_client_waits_for_it),
        TEST(late_answers_are_bounded),
        TEST(attributes_are_merged),
        TEST(metadata_of_the_join_is_in_the_first_token),
        TEST(track_requests_for_nothing_are_answered),
        TEST(permissions_change_live),
        TEST(only_some_sources_may_be_published),
        TEST(publishers_are_known_before_their_media),
        TEST(subscribing_may_be_allowed_later),
        TEST(subscribing_may_be_allowed_while_joining),
        TEST(clients_of_protocol_two_receive),
        TEST(counters_are_told_every_five_seconds),
        TEST(some_are_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
