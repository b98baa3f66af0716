// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: media_model media_subscriber
//
// Lines of livekit-protocol section 10 that no other test is about (tests/conformance/table.md says
// which test holds which line).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/wire/candidate.h"
#include "sfu/wire/sdp.h"
#include "tests/support/room_sim.h"

// ---- what everybody is told -----------------------------------------------------------------

#define HEARD_MAX 64

// Answers and offers in the order they came.
static struct {
    char type[8];
    uint32_t id;
    int64_t at_ms;
    char *sdp;
} descriptions[HEARD_MAX];
static size_t description_count;
static unsigned trickles;
static int64_t pong, pong_resp, last_ping;

static void listen(void *user, const struct channel_msg *m)
{
    (void)user;
    struct pbuf *p = NULL;
    if (m->type != CHANNEL_SEND) {
        return;
    }
    assert_int_equal(lk_unpack_signal_response(shared_buf_view(m->u.send.data), &p), 0);
    const Livekit__SignalResponse *const rsp = p->msg;
    bool const answer = rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_ANSWER;
    if (answer || rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_OFFER) {
        const Livekit__SessionDescription *const d = answer ? rsp->answer : rsp->offer;
        assert_true(description_count < HEARD_MAX);
        assert_string_equal(lk_str(d->type), answer ? "answer" : "offer");
        descriptions[description_count].id = d->id;
        descriptions[description_count].at_ms = h.env.now.us / US_PER_MS;
        (void)snprintf(descriptions[description_count].type, sizeof(descriptions[0].type), "%s",
                       d->type);
        descriptions[description_count].sdp = mem_strdup(lk_str(d->sdp));
        assert_non_null(descriptions[description_count].sdp);
        description_count++;
    }
    if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG) {
        pong = rsp->pong;
    }
    if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG_RESP) {
        pong_resp = rsp->pong_resp->timestamp;
        last_ping = rsp->pong_resp->last_ping_timestamp;
    }
    trickles += rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_TRICKLE;
    pbuf_free(p);
}

static void forget(void)
{
    for (size_t i = 0; i < description_count; i++) {
        mem_free(descriptions[i].sdp);
    }
    description_count = 0;
    trickles = 0;
}

static void begin_listening(void)
{
    begin();
    h.conf.region = "eu";
    h.tap = listen;
}

static void end_listening(void)
{
    h.tap = NULL;
    forget();
    end();
}

// ---- descriptions ---------------------------------------------------------------------------

static size_t lines_of(const char *text, const char *line)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, line)) != NULL; p++) {
        n += p == text || p[-1] == '\n';
    }
    return n;
}

static void check_candidates(const struct sdp_media *m)
{
    assert_true(m->candidate_count > 0);
    for (size_t i = 0; i < m->candidate_count; i++) {
        struct candidate c;
        assert_int_equal(candidate_parse(m->candidates[i], &c), 0);
    }
}

static unsigned carrying, spare; // sections checked

static void check_section(const struct sdp_media *m)
{
    bool const media = m->kind == SDP_KIND_AUDIO || m->kind == SDP_KIND_VIDEO;
    if (!media) {
        assert_true(m->max_message_size >= 64000);
        return;
    }
    assert_true(m->rtcp_mux || m->port == 0);
    carrying += m->msid_count > 0;
    spare += m->msid_count == 0;
    if (m->msid_count > 0) {
        assert_true((m->direction & SDP_SENDONLY) != 0);
        struct bytes const stream = m->msids[0].stream;
        const uint8_t *const bar = memchr(stream.p, '|', stream.n);
        assert_non_null(bar);
        assert_null(memchr(bar + 1, '|', stream.n - (size_t)(bar + 1 - stream.p)));
        assert_memory_equal(stream.p, "PA_", 3);
        assert_memory_equal(bar + 1, "TR_", 3);
        // The track's id is the second half.
        assert_int_equal(stream.n - (size_t)(bar + 1 - stream.p), m->msids[0].track.n);
        assert_memory_equal(bar + 1, m->msids[0].track.p, m->msids[0].track.n);
    } else {
        assert_int_equal(m->ssrc_count, 0); // a spare section names nothing
    }
}

static void check_description(const char *text)
{
    struct sdp *s = NULL;
    assert_int_equal(sdp_parse(bytes_str(text), &s), 0);
    assert_int_equal(lines_of(text, "c=IN IP4 "), s->media_count); // rejected ones too
    assert_int_equal(lines_of(text, "m="), s->media_count);
    assert_int_equal(lines_of(text, "a=max-message-size:"), lines_of(text, "m=application"));
    assert_true(s->session.bundle.n > 0);
    bool first = true;
    for (size_t i = 0; i < s->media_count; i++) {
        const struct sdp_media *const m = &s->media[i];
        check_section(m);
        if (first && m->port != 0) {
            check_candidates(m);
            first = false;
        }
    }
    sdp_free(s);
}

static void descriptions_have_what_parsers_need(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_listening();
        struct room_client *const a = join_as("alice", v0 != 0);
        struct room_client *const b = join_as("bob", v0 != 0);
        struct room_sender *const audio = room_client_publish(a, ROOM_AUDIO);
        struct room_sender *const video = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
        run(S(2));
        room_client_subscribe(b, video->sid, false);
        run(S(1));
        room_client_subscribe(b, video->sid, true);
        room_client_unpublish(a, audio);
        run(S(1));
        assert_true(flow(b, video, S(1)) > 30);
        assert_true(description_count >= 6);
        carrying = spare = 0;
        for (size_t i = 0; i < description_count; i++) {
            check_description(descriptions[i].sdp);
        }
        assert_true(carrying >= 4 && spare >= 4);
        // Candidates stand in the description, complete: libraries that trust every field of a
        // trickled one never meet a null.
        assert_int_equal(trickles, 0);
        end_listening();
    }
}

// Clients that decrypt frames read the codec from the payload type of their first description.
static void payload_types_mean_one_codec_for_good(void **state)
{
    (void)state;
    begin_listening();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    for (int i = 0; i < 3; i++) {
        (void)room_client_publish(a, ROOM_VIDEO);
        (void)room_client_publish(b, ROOM_AUDIO);
        run(S(1));
    }
    char names[128][16] = {{0}};
    size_t checked = 0;
    for (size_t i = 0; i < description_count; i++) {
        struct sdp *s = NULL;
        assert_int_equal(sdp_parse(bytes_str(descriptions[i].sdp), &s), 0);
        for (size_t k = 0; k < s->media_count; k++) {
            for (size_t n = 0; n < s->media[k].codec_count; n++) {
                const struct sdp_codec *const c = &s->media[k].codecs[n];
                char name[16];
                (void)snprintf(name, sizeof(name), "%.*s", (int)c->name.n, (const char *)c->name.p);
                if (names[c->pt][0] == 0) {
                    memcpy(names[c->pt], name, sizeof(name));
                }
                assert_string_equal(names[c->pt], name);
                checked++;
            }
        }
        sdp_free(s);
    }
    assert_true(checked > 50);
    end_listening();
}

static void the_first_offer_follows_the_join_at_once(void **state)
{
    (void)state;
    begin_listening();
    struct room_client *const a = join_as("alice", true);
    while (!a->joined) {
        run(MS(1));
    }
    int64_t const joined = h.env.now.us / US_PER_MS;
    run(MS(20));
    assert_true(description_count > 0);
    assert_string_equal(descriptions[0].type, "offer");
    assert_in_range(descriptions[0].at_ms, joined - 5, joined + 5);
    run(S(1));
    assert_true(room_client_active(a));
    end_listening();
}

// ---- ids of offers (livekit-protocol 10.3, 10.4, 10.6 traps 7 and 8) -------------------------

static void offers_are_answered_with_their_id(void **state)
{
    (void)state;
    static const uint32_t ids[] = {0, 0, 0, 7, 7, 1, 0}; // Rust and Go: always 0
    for (int v0 = 0; v0 < 2; v0++) {
        begin();
        struct room_client *const a = join_as("alice", v0 != 0);
        struct room_client *const b = join_as("bob", false);
        run(S(2));
        struct room_sender *const s = room_client_publish(a, ROOM_AUDIO);
        run(S(1));
        h.tap = listen;
        for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
            a->publisher->offer_id = ids[i] - 1; // the next one is this
            size_t const before = description_count;
            room_client_offer(a, false); // nothing has changed
            run(MS(100));
            size_t answers = 0;
            for (size_t k = before; k < description_count; k++) {
                if (strcmp(descriptions[k].type, "answer") == 0) {
                    assert_int_equal(descriptions[k].id, ids[i]);
                    answers++;
                }
            }
            assert_int_equal(answers, 1);
            assert_false(a->publisher->offer_out);
        }
        assert_true(flow(b, s, S(1)) > 30);
        end_listening();
    }
}

// ---- requests -------------------------------------------------------------------------------

static void subscribe_as_go(struct room_client *c, const char *publisher_sid, char **sids, size_t n,
                            bool subscribe)
{
    Livekit__UpdateSubscription u = LIVEKIT__UPDATE_SUBSCRIPTION__INIT;
    Livekit__ParticipantTracks t = LIVEKIT__PARTICIPANT_TRACKS__INIT;
    Livekit__ParticipantTracks *list[] = {&t};
    LK_SET_STR(&t, participant_sid, publisher_sid);
    t.track_sids = sids;
    t.n_track_sids = n;
    u.participant_tracks = list;
    u.n_participant_tracks = 1;
    LK_SET(&u, subscribe, subscribe);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_SUBSCRIPTION;
    r.subscription = &u;
    room_client_request(c, &r);
}

// As lk load-test: one request a track, a size when a layout is chosen, or nothing.
static void tracks_may_be_named_by_their_participant(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = room_client_join(
        &h, &(struct room_client_conf){
                .identity = "gopher", .v0 = true, .go_channels = true, .no_auto_subscribe = true});
    struct room_sender *const audio = room_client_publish(a, ROOM_AUDIO);
    struct room_sender *const video = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
    run(S(2));
    assert_null(b->streams);
    char *first[] = {audio->sid};
    char *second[] = {video->sid};
    subscribe_as_go(b, a->sid, first, 1, true);
    subscribe_as_go(b, a->sid, second, 1, true);
    run(S(1));
    assert_true(flow(b, audio, S(1)) > 30);
    assert_true(flow(b, video, S(1)) > 30);
    room_client_settings(b, video->sid, true, 0, 0, 0);
    run(S(1));
    assert_int_equal(flow(b, video, S(1)), 0);
    room_client_settings(b, video->sid, false, 0, 320, 180);
    run(S(1));
    assert_true(flow(b, video, S(1)) > 10);
    subscribe_as_go(b, a->sid, second, 1, false);
    run(S(1));
    assert_int_equal(flow(b, video, S(1)), 0);
    assert_true(flow(b, audio, S(1)) > 30);
    end();
}

// Its `_lossy` repeats once, it has no `_data_track`, and all its ids are 0.
static void channels_of_go_are_served(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = room_client_join(
        &h, &(struct room_client_conf){.identity = "gopher", .v0 = true, .go_channels = true});
    run(S(2));
    assert_int_equal(room_client_say(b, ROOM_RELIABLE, "one", NULL), 0);
    run(MS(200));
    assert_int_equal(room_client_say(b, ROOM_LOSSY, "two", NULL), 0);
    assert_int_equal(room_client_say(a, ROOM_RELIABLE, "three", "gopher"), 0);
    run(MS(200));
    assert_int_equal(room_client_say(a, ROOM_LOSSY, "four", NULL), 0);
    run(MS(200));
    assert_string_equal(dynbuf_cstr(&a->data.told), "gopher:one, gopher:two");
    assert_string_equal(dynbuf_cstr(&b->data.told), "alice:three, alice:four");
    end();
}

// What a client of Go's SDK needs to report a track, and no more of it.
static void assert_padded(const struct room_client *c, const struct room_sender *s)
{
    const struct room_stream *const st = room_client_stream(c, s->sid);
    assert_non_null(st);
    assert_true(st->packets > 0 && st->packets <= 7);
    assert_int_equal(st->padding, st->packets);
}

// The media that follows is of one stream with it.
static void assert_continued(const struct room_client *c, const struct room_sender *s)
{
    const struct room_stream *const st = room_client_stream(c, s->sid);
    uint64_t const padding = st->padding;
    assert_true(flow(c, s, S(2)) > 50);
    assert_int_equal(st->padding, padding);
    assert_int_equal(st->rx.highest_sn - st->rx.first_sn + 1, st->rx.packets);
    assert_int_equal(st->rx.restarts + st->audio_bad, 0);
    if (!st->audio) {
        assert_true(st->model.has_key);
        assert_int_equal(st->model.corrupt + st->model.nacks, 0);
    }
}

static void muted_tracks_are_padded_for(const struct room_client_conf *gopher)
{
    begin();
    struct room_client *const a = join_as("alice", false);
    run(S(1));
    struct room_sender *const v[] = {
        room_client_publish_as(a, &(struct room_publish){.media = ROOM_AUDIO, .muted = true}),
        room_client_publish_as(a, &(struct room_publish){.media = ROOM_VIDEO, .muted = true}),
        room_client_publish_as(a, &(struct room_publish){.media = ROOM_VIDEO}),
    };
    v[2]->muted = true; // it sends nothing, and has not said so
    run(S(1));
    struct room_client *const b = room_client_join(&h, gopher);
    struct room_client *const other = join_as("carol", gopher->v0);
    run(S(1));
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        assert_padded(b, v[i]);
    }
    run(S(6)); // the audio's numbers do not wrap before it has begun
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        assert_padded(b, v[i]);
        assert_int_equal(room_client_stream(other, v[i]->sid)->packets, 0);
    }
    room_client_mute(a, v[0], false);
    room_client_mute(a, v[1], false);
    v[2]->muted = false;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        assert_continued(b, v[i]);
    }
    // Who gets media gets no padding.
    struct room_sender *const s = room_client_publish(a, ROOM_AUDIO);
    assert_true(flow(b, s, S(2)) > 50);
    assert_int_equal(room_client_stream(b, s->sid)->padding, 0);
    end();
}

static void muted_tracks_are_reported_by_go(void **state)
{
    (void)state;
    muted_tracks_are_padded_for(&(struct room_client_conf){
        .identity = "gopher", .v0 = true, .go_channels = true, .sdk_go = true});
    muted_tracks_are_padded_for(
        &(struct room_client_conf){.identity = "somebody", .sdk_unknown = true});
}

// livekit-protocol 10.6, 15 and 16: a client takes what an info does not list for unpublished.
static void news_of_somebody_are_complete(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = room_client_join(
        &h, &(struct room_client_conf){.identity = "alice", .update_metadata = true});
    struct room_client *const b = join_as("bob", true);
    struct room_sender *const s = room_client_publish(a, ROOM_AUDIO);
    (void)room_client_publish(a, ROOM_VIDEO);
    run(S(2));
    const struct room_client *const viewers[] = {a, b};
    for (int i = 0; i < 4; i++) {
        Livekit__UpdateParticipantMetadata u = LIVEKIT__UPDATE_PARTICIPANT_METADATA__INIT;
        char name[16];
        (void)snprintf(name, sizeof(name), "Alice %d", i);
        LK_SET_STR(&u, name, name);
        Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
        r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA;
        r.update_metadata = &u;
        uint32_t const version = room_client_peer(b, "alice")->version;
        room_client_request(a, &r);
        room_client_mute(a, s, i % 2 == 0);
        run(MS(200));
        for (size_t k = 0; k < ARRAY_LEN(viewers); k++) {
            const struct room_peer *const p = room_client_peer(viewers[k], "alice");
            assert_string_equal(p->name, name);
            assert_int_equal(p->track_count, 2);
            assert_int_equal(p->tracks[0].muted + p->tracks[1].muted, i % 2 == 0);
            assert_true(p->version > version);
        }
    }
    end();
}

static void pongs_are_in_milliseconds(void **state)
{
    (void)state;
    begin_listening();
    struct room_client *const a = join_as("alice", false);
    run(S(1));
    Livekit__Ping ping = LIVEKIT__PING__INIT;
    LK_SET(&ping, timestamp, 1790000000123);
    LK_SET(&ping, rtt, 20);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    r.ping = 1790000000123;
    room_client_request(a, &r);
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING_REQ;
    r.ping_req = &ping;
    room_client_request(a, &r);
    run(MS(50));
    int64_t const now = h.env.wall.us / US_PER_MS;
    assert_in_range(pong, now - 50, now);
    assert_in_range(pong_resp, now - 50, now);
    assert_int_equal(last_ping, 1790000000123);
    end_listening();
}

// ---- what is not enforced -------------------------------------------------------------------

// ping_timeout of the JoinResponse is for the client alone. These clients never ping.
static void nobody_has_to_ping(void **state)
{
    (void)state;
    begin();
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", true);
    run(S(120));
    assert_true(room_client_active(a) && !a->left && !a->closed);
    assert_true(room_client_active(b) && !b->left && !b->closed);
    assert_int_equal(a->pongs + b->pongs, 0);
    end();
}

// Identities and names of rooms are text, not names of ours.
static void identities_and_rooms_are_opaque(void **state)
{
    (void)state;
    static const char *const rooms[] = {"pJ+mY/8Qk0bE1xVZs3Lr", "!room:example.org|call",
                                        "\xc3\xa4 \xe6\xbc\xa2 #?&%"};
    static const char *const people[] = {"@alice:example.org:DEVICE", "a+/b==", "x|y#z"};
    begin();
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        struct room_client *c[ARRAY_LEN(people)];
        for (size_t k = 0; k < ARRAY_LEN(people); k++) {
            c[k] = room_client_join(
                &h, &(struct room_client_conf){.identity = people[k], .room = rooms[i]});
        }
        struct room_sender *const s = room_client_publish(c[0], ROOM_AUDIO);
        run(S(2));
        assert_true(flow(c[1], s, S(1)) > 30);
        assert_state(c[2], people[0], STATE_ACTIVE);
        assert_state(c[0], people[1], STATE_ACTIVE);
        assert_non_null(room_find(&h.env, rooms[i]));
    }
    // One participant may be in many rooms at once: they know nothing of each other.
    struct room *r = NULL;
    size_t n = 0;
    for (r = h.env.rooms; r != NULL; r = r->hh.next) {
        n++;
    }
    assert_int_equal(n, ARRAY_LEN(rooms));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(descriptions_have_what_parsers_need),
        TEST(payload_types_mean_one_codec_for_good),
        TEST(the_first_offer_follows_the_join_at_once),
        TEST(offers_are_answered_with_their_id),
        TEST(tracks_may_be_named_by_their_participant),
        TEST(channels_of_go_are_served),
        TEST(muted_tracks_are_reported_by_go),
        TEST(news_of_somebody_are_complete),
        TEST(pongs_are_in_milliseconds),
        TEST(nobody_has_to_ping),
        TEST(identities_and_rooms_are_opaque),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
