// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: participant_info room_news
//
// When people learn of each other: identities that come back, hidden people, crowds, and what does
// not fit into one message.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/dynbuf.h"
#include "sfu/room/participant_info.h"
#include "sfu/room/participant_permission.h"
#include "sfu/room/participant_update.h"
#include "sfu/room/room_news.h"
#include "sfu/room/signal_post.h"
#include "tests/support/room_sim.h"

static struct room_client *a, *b, *c;

// ---- sessions without a client: what they are told is only read ------------------------------

static handle_t watched;
static struct dynbuf told; // "bob/2 carol/1 | bob/3"
static unsigned updates;
static size_t largest;
static mono_t seen_at; // when `awaited` was told first
static const char *awaited;
static uint64_t messages;

static void note_people(Livekit__ParticipantInfo *const *v, size_t n, const char *mark)
{
    dynbuf_addf(&told, "%s%s", told.n > 0 ? " | " : "", mark);
    for (size_t i = 0; i < n; i++) {
        dynbuf_addf(&told, "%s%s/%d", i > 0 ? " " : "", v[i]->identity, (int)v[i]->state);
        if (awaited != NULL && seen_at.us == 0 && strcmp(v[i]->identity, awaited) == 0) {
            seen_at = h.now;
        }
    }
}

static void tap(void *user, const struct channel_msg *m)
{
    (void)user;
    if (m->type != CHANNEL_SEND) {
        return;
    }
    messages++;
    largest = MAX(largest, m->u.send.data->n);
    if (!handle_eq(m->handle, watched)) {
        return;
    }
    struct pbuf *p = NULL;
    assert_int_equal(pbuf_unpack(&livekit__signal_response__descriptor,
                                 shared_buf_view(m->u.send.data), SIGNAL_ARENA_CAP, &p),
                     0);
    const Livekit__SignalResponse *const rsp = p->msg;
    if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_UPDATE) {
        updates++;
        note_people(rsp->update->participants, rsp->update->n_participants, "");
    } else if (rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_JOIN) {
        note_people(rsp->join->other_participants, rsp->join->n_other_participants, "join ");
    }
    pbuf_free(p);
}

static void begin_watched(const struct vnet_link *link)
{
    begin_with(&(struct room_harness_conf){.seed = 1, .link = *link, .signal_us = 1000});
    h.tap = tap;
    watched = HANDLE_NONE;
    updates = 0;
    largest = 0;
    messages = 0;
    awaited = NULL;
    seen_at = (mono_t){0};
    dynbuf_init(&told, 1u << 22);
}

static void end_watched(void)
{
    h.tap = NULL;
    end();
    dynbuf_done(&told);
}

static const char *heard(void)
{
    return dynbuf_cstr(&told);
}

static handle_t join_raw(const char *identity, bool hidden, int32_t protocol)
{
    struct access_claims const claims = {
        .identity = identity,
        .has_video = true,
        .video = {.room = "room", .room_join = true, .hidden = hidden},
        .exp = h.env.wall.us / US_PER_S + 3600,
    };
    return room_harness_join_claims(&h, &claims, protocol);
}

static void leave_raw(handle_t session)
{
    room_harness_post(&h, channel_msg_new(CHANNEL_SESSION_CLOSED, session));
}

static struct participant *by_identity(const char *identity)
{
    return room_participant(room_find(&h.env, "room"), identity);
}

// ---- identities -----------------------------------------------------------------------------

static void a_session_is_replaced_without_an_end(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    a = join_as("alice", false);
    handle_t const old_client = join_raw("old client", false, 11);
    b = join_as("bob", false);
    run(S(1));
    char sid[SID_SIZE];
    memcpy(sid, b->sid, sizeof(sid));
    watched = old_client;
    c = join_as("bob", false);
    run(S(1));
    assert_true(b->left && c->joined);
    // Newer clients replace it themselves, older ones are told, in this order.
    assert_string_equal(room_client_peer(a, "bob")->sid, c->sid);
    for (size_t i = 0; i < a->peer_count; i++) {
        assert_int_not_equal(a->peers[i].state, STATE_DISCONNECTED);
    }
    assert_string_equal(heard(), "bob/3 | bob/1 | bob/2");
    // The new one never hears of the old one.
    for (size_t i = 0; i < c->peer_count; i++) {
        assert_string_not_equal(c->peers[i].sid, sid);
    }
    end_watched();
}

static void who_is_back_at_once_is_not_ended_again(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    a = join_as("alice", false);
    run(S(1));
    handle_t const first = join_raw("bob", false, 17);
    run(S(1));
    watched = join_raw("watcher", false, 17);
    run(S(1));
    dynbuf_reset(&told);
    // Both within the time in which updates gather, and somebody who sees only the second.
    leave_raw(first);
    handle_t const second = join_raw("bob", false, 17);
    c = join_as("carol", false);
    run(MS(500));
    assert_string_equal(heard(), "bob/3 | bob/1 carol/1 | carol/2");
    assert_int_equal(c->peer_count, 4); // alice, watcher, bob, herself: no trace of the first
    assert_int_equal(room_client_peer(c, "bob")->state, STATE_JOINED);
    leave_raw(second);
    run(MS(500));
    assert_int_equal(room_client_peer(c, "bob")->state, STATE_DISCONNECTED);
    end_watched();
}

static void hidden_people_are_told_to_nobody(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    watched = join_raw("watcher", false, 17);
    a = room_client_join(&h, &(struct room_client_conf){.identity = "alice", .hidden = true});
    run(S(1));
    (void)room_client_publish(a, ROOM_AUDIO);
    run(S(1));
    assert_int_equal(participant_update(server_side(a), "Alice", NULL, NULL, 0), 0);
    room_harness_turn(&h);
    run(S(1));
    assert_string_equal(heard(), "join  | watcher/1");
    // It sees itself, and everybody else.
    assert_string_equal(room_client_peer(a, "alice")->name, "Alice");
    assert_non_null(room_client_peer(a, "watcher"));
    dynbuf_reset(&told);
    watched = join_raw("later", false, 17);
    run(S(1));
    assert_string_equal(heard(), "join watcher/1 | later/1");
    room_client_drop_socket(a);
    run(S(1));
    room_client_resume(a);
    run(S(1));
    assert_true(a->reconnected && room_client_peer(a, "later") != NULL);
    dynbuf_reset(&told);
    room_client_leave(a);
    run(S(1));
    assert_string_equal(heard(), "");
    end_watched();
}

static void becoming_hidden_looks_like_leaving(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    handle_t const bob = join_raw("bob", false, 17);
    (void)bob;
    watched = join_raw("watcher", false, 17);
    run(S(1));
    dynbuf_reset(&told);
    struct participant *const p = by_identity("bob");
    struct participant_permission perm = p->permission;
    perm.hidden = true;
    assert_true(participant_set_permission(p, &perm));
    room_harness_turn(&h);
    run(MS(100));
    assert_string_equal(heard(), "bob/3");
    assert_int_equal(p->room->visible_count, 1);
    perm.hidden = false;
    assert_true(participant_set_permission(p, &perm));
    room_harness_turn(&h);
    run(MS(100));
    assert_string_equal(heard(), "bob/3 | bob/1");
    assert_int_equal(p->room->visible_count, 2);
    // A hidden session replaces a visible one: the visible one is over.
    dynbuf_reset(&told);
    (void)join_raw("bob", true, 17);
    run(MS(100));
    assert_string_equal(heard(), "bob/3");
    // And a visible one a hidden one: somebody new.
    (void)join_raw("bob", false, 17);
    run(MS(100));
    assert_string_equal(heard(), "bob/3 | bob/1");
    end_watched();
}

// What a participant is comes from its token.
static void kinds_are_told(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    static const char *const details[] = {"forwarded", "of the future"};
    struct access_claims const claims = {
        .identity = "caller",
        .kind = "sip",
        .kind_details = details,
        .kind_detail_count = ARRAY_LEN(details),
        .has_video = true,
        .video = {.room = "room", .room_join = true},
        .exp = h.env.wall.us / US_PER_S + 3600,
    };
    (void)room_harness_join_claims(&h, &claims, 17);
    run(MS(100));
    struct pbuf *m = NULL;
    assert_int_equal(pbuf_unpack(&livekit__participant_info__descriptor,
                                 shared_buf_view(participant_info(by_identity("caller"))), 1u << 16,
                                 &m),
                     0);
    const Livekit__ParticipantInfo *const info = m->msg;
    assert_int_equal(info->kind, LIVEKIT__PARTICIPANT_INFO__KIND__SIP);
    assert_int_equal(info->n_kind_details, 1);
    assert_int_equal(info->kind_details[0], LIVEKIT__PARTICIPANT_INFO__KIND_DETAIL__FORWARDED);
    pbuf_free(m);
    end_watched();
}

// ---- crowds ---------------------------------------------------------------------------------

#define CROWD 1000

static void crowd(size_t n, int64_t each_us)
{
    for (size_t i = 0; i < n; i++) {
        char identity[32];
        (void)snprintf(identity, sizeof(identity), "p%zu", i);
        (void)join_raw(identity, false, 17);
        run(each_us);
    }
}

// 1,000 people in 5 s: nobody waits long, and nobody gets a message for each.
static void a_crowd_is_told_together(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    watched = join_raw("watcher", false, 17);
    run(MS(100));
    crowd(CROWD / 2, 5000);
    int64_t worst = 0;
    for (size_t i = CROWD / 2; i < CROWD; i++) {
        char identity[32];
        (void)snprintf(identity, sizeof(identity), "p%zu", i);
        bool const probe = i % 50 == 0;
        if (probe) {
            awaited = identity;
            seen_at = (mono_t){0};
        }
        mono_t const start = h.now;
        (void)join_raw(identity, false, 17);
        run(probe ? MS(80) : 5000);
        if (probe) {
            assert_true(seen_at.us != 0);
            worst = MAX(worst, mono_diff_us(seen_at, start));
        }
        awaited = NULL;
    }
    printf("1,000 joins: %u updates to each, %" PRIu64 " messages, seen after at most %" PRId64
           " us\n",
           updates, messages, worst);
    // The way of the request and of the update (1 ms each), and the gathering.
    assert_true(worst <= MS(ROOM_UPDATE_DELAY_MAX_MS + 3));
    assert_true(updates < 300);
    assert_int_equal(h.env.no_memory, 0);
    end_watched();
}

// Everybody mutes at the same time.
static void urgent_news_of_many_share_messages(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    watched = join_raw("watcher", false, 17);
    crowd(400, 1000);
    run(S(1));
    updates = 0;
    uint64_t const before = messages;
    for (int i = 0; i < 100; i++) {
        char identity[32];
        (void)snprintf(identity, sizeof(identity), "p%d", i);
        participant_changed(by_identity(identity), true);
        room_harness_turn(&h);
        run(MS(1));
    }
    run(MS(100));
    // 20 ms apart in a room of 400: five or six, the first at once; and one to each who changed.
    assert_in_range(updates, 5, 7);
    assert_true(messages - before < 7 * 401 + 100 + 1);
    end_watched();
}

// ---- sizes ----------------------------------------------------------------------------------

#define TALKERS 8

// Together they have twice what a message may hold.
static void what_does_not_fit_follows(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    char *const text = mem_alloc((512u << 10) + 1);
    assert_non_null(text);
    memset(text, 'x', 512u << 10);
    for (size_t i = 0; i < TALKERS; i++) {
        char identity[32];
        (void)snprintf(identity, sizeof(identity), "talker %zu", i);
        (void)join_raw(identity, false, 17);
        run(MS(10));
        assert_int_equal(participant_update(by_identity(identity), NULL, text, NULL, 0), 0);
    }
    room_harness_turn(&h);
    run(S(1));
    a = join_as("alice", false);
    run(S(1));
    for (size_t i = 0; i < TALKERS; i++) {
        char identity[32];
        (void)snprintf(identity, sizeof(identity), "talker %zu", i);
        const struct room_peer *const p = room_client_peer(a, identity);
        assert_non_null(p);
        assert_int_equal(p->version, by_identity(identity)->version);
    }
    unsigned const seen = a->updates;
    room_client_drop_socket(a);
    run(S(1));
    room_client_resume(a);
    run(S(1));
    assert_true(a->reconnected);
    assert_in_range(a->updates - seen, TALKERS, TALKERS + 2);
    assert_true(largest <= SIGNAL_MESSAGE_MAX);
    assert_true(largest > SIGNAL_MESSAGE_MAX / 2);
    assert_int_equal(h.env.no_memory, 0);
    mem_free(text);
    end_watched();
}

// Small ones share messages of about 128 KiB.
static void a_snapshot_is_split(void **state)
{
    (void)state;
    begin_watched(&clean_link);
    crowd(400, 1000);
    run(S(1));
    for (int i = 0; i < 400; i++) {
        char identity[32];
        char text[1025];
        (void)snprintf(identity, sizeof(identity), "p%d", i);
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        assert_int_equal(participant_update(by_identity(identity), NULL, text, NULL, 0), 0);
    }
    room_harness_turn(&h);
    run(S(1));
    watched = join_raw("watcher", false, 17);
    run(S(1));
    updates = 0;
    largest = 0;
    participant_info_send_snapshot(by_identity("watcher"));
    room_harness_turn(&h);
    run(MS(100));
    assert_in_range(updates, 4, 6); // 450 KB
    assert_true(largest <= INFO_BATCH_SPLIT + 16);
    // The bytes are those of the mapping, and change with it.
    struct participant *const p = by_identity("p7");
    const struct shared_buf *const info = participant_info(p);
    assert_ptr_equal(info, participant_info(p));
    uint32_t const version = p->version;
    participant_changed(p, false);
    struct pbuf *m = NULL;
    assert_int_equal(pbuf_unpack(&livekit__participant_info__descriptor,
                                 shared_buf_view(participant_info(p)), 1u << 16, &m),
                     0);
    const Livekit__ParticipantInfo *const decoded = m->msg;
    assert_int_equal(decoded->version, version + 1);
    assert_int_equal(strlen(decoded->metadata), 1024);
    pbuf_free(m);
    end_watched();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_session_is_replaced_without_an_end),
        TEST(who_is_back_at_once_is_not_ended_again),
        TEST(hidden_people_are_told_to_nobody),
        TEST(becoming_hidden_looks_like_leaving),
        TEST(kinds_are_told),
        TEST(a_crowd_is_told_together),
        TEST(urgent_news_of_many_share_messages),
        TEST(what_does_not_fit_follows),
        TEST(a_snapshot_is_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
