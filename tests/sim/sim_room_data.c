// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: data_channels data_packet data_router
//
// Data packets between the participants of a room.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/time.h>

#include "sfu/room/data_router.h"
#include "tests/support/room_sim.h"

// usrsctp compares its timers with the wall clock (a chunk younger than the time-out is not
// repeated), so this program gives it the virtual one: a definition here comes before libc's for
// the shared library, too.
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    (void)tz;
    tv->tv_sec = 1700000000 + h.now.us / US_PER_S;
    tv->tv_usec = h.now.us % US_PER_S;
    return 0;
}

static struct room_client *a, *b, *c;

static const char *told(struct room_client *who)
{
    static char text[4096];
    const char *const t = dynbuf_cstr(&who->data.told);
    (void)snprintf(text, sizeof(text), "%s", t != NULL ? t : "");
    dynbuf_reset(&who->data.told);
    return text;
}

static void three(bool v0)
{
    begin();
    a = join_as("alice", v0);
    b = join_as("bob", false);
    c = join_as("carol", true);
    run(S(2));
    assert_true(a->data.opened[ROOM_RELIABLE] && b->data.opened[ROOM_LOSSY]);
}

static void everybody_else_gets_a_packet(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        three(v0 != 0);
        assert_int_equal(room_client_say(a, ROOM_RELIABLE, "hello", NULL), 0);
        run(MS(500));
        assert_int_equal(room_client_say(c, ROOM_LOSSY, "pos", NULL), 0);
        run(MS(500));
        assert_string_equal(told(a), "carol:pos");
        assert_string_equal(told(b), "alice:hello, carol:pos");
        assert_string_equal(told(c), "alice:hello");
        end();
    }
}

// ---- who gets what --------------------------------------------------------------------------

static int send_user(struct room_client *from, const char *text, const char *const *identities,
                     size_t n_identities, const char *const *sids, size_t n_sids)
{
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    LK_SET_BYTES(&u, payload, bytes_str(text));
    LK_SET_STR(&u, topic, "t");
    p.destination_identities = (char **)(uintptr_t)identities;
    p.n_destination_identities = n_identities;
    u.destination_sids = (char **)(uintptr_t)sids;
    u.n_destination_sids = n_sids;
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    return room_client_send_packet(from, ROOM_RELIABLE, &p, false);
}

static void packets_go_to_whom_they_name(void **state)
{
    (void)state;
    three(false);
    const char *const names[] = {"bob", "nobody", "bob", "alice"};
    const char *const sids[] = {c->sid, "PA_nobody", c->sid, b->sid};
    assert_int_equal(send_user(a, "one", names, 4, NULL, 0), 0);
    assert_int_equal(send_user(a, "two", NULL, 0, sids, 1), 0);
    assert_int_equal(send_user(a, "both", names, 1, sids, 4), 0);
    run(MS(500));
    assert_string_equal(told(b), "alice:one, alice:both");
    assert_string_equal(told(c), "alice:two, alice:both");
    assert_string_equal(told(a), "");
    // The list inside of a user packet counts where the packet has none.
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    LK_SET_BYTES(&u, payload, bytes_str("inner"));
    u.destination_identities = (char **)(uintptr_t)names;
    u.n_destination_identities = 1;
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    assert_int_equal(room_client_send_packet(a, ROOM_RELIABLE, &p, false), 0);
    run(MS(500));
    assert_string_equal(told(b), "alice:inner");
    assert_string_equal(told(c), "");
    end();
}

static void hidden_participants_hear_and_have_no_name(void **state)
{
    (void)state;
    begin();
    a = room_client_join(&h, &(struct room_client_conf){.identity = "ghost", .hidden = true});
    b = join_as("bob", false);
    run(S(1));
    assert_int_equal(room_client_say(a, ROOM_RELIABLE, "boo", NULL), 0);
    assert_int_equal(room_client_say(b, ROOM_RELIABLE, "who", NULL), 0);
    run(MS(500));
    assert_string_equal(told(b), ":boo");
    assert_string_equal(told(a), "bob:who");
    end();
}

static void those_without_permission_are_not_heard(void **state)
{
    (void)state;
    begin();
    a = room_client_join(&h,
                         &(struct room_client_conf){.identity = "alice", .no_publish_data = true});
    b = join_as("bob", false);
    run(S(1));
    assert_int_equal(room_client_say(a, ROOM_RELIABLE, "x", NULL), 0);
    assert_int_equal(room_client_say(a, ROOM_LOSSY, "x", NULL), 0);
    run(MS(500));
    assert_string_equal(told(b), "");
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_NOT_ALLOWED], 2);
    end();
}

static void one_who_may_not_subscribe_has_channels_as_well(void **state)
{
    (void)state;
    begin();
    a = room_client_join(
        &h, &(struct room_client_conf){.identity = "alice", .v0 = true, .no_subscribe = true});
    b = join_as("bob", false);
    run(S(2));
    assert_true(a->data.opened[ROOM_RELIABLE]);
    assert_int_equal(room_client_say(a, ROOM_RELIABLE, "one", NULL), 0);
    assert_int_equal(room_client_say(b, ROOM_RELIABLE, "two", NULL), 0);
    run(MS(500));
    assert_string_equal(told(b), "alice:one");
    assert_string_equal(told(a), "bob:two");
    end();
}

static void v0_channels_are_opened_in_order(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", true);
    run(S(1));
    const struct room_data *const d = &a->data;
    assert_true(d->opened[ROOM_RELIABLE] && d->opened[ROOM_LOSSY] && d->opened[ROOM_DATA_TRACK]);
    assert_int_equal(d->order[ROOM_LOSSY], d->order[ROOM_RELIABLE] + 2);
    assert_int_equal(d->order[ROOM_DATA_TRACK], d->order[ROOM_RELIABLE] + 4);
    end();
}

static void unknown_channels_are_wrapped(void **state)
{
    (void)state;
    begin();
    a = room_client_join(&h,
                         &(struct room_client_conf){.identity = "alice", .other_channel = true});
    b = room_client_join(&h, &(struct room_client_conf){.identity = "bob", .go_channels = true});
    run(S(1));
    assert_int_equal(room_client_send_raw(a, ROOM_OTHER, bytes_str("opaque")), 0);
    run(MS(500));
    assert_string_equal(told(b), "alice:opaque");
    assert_int_equal(b->data.opaque, 1);
    end();
}

// ---- kinds of packets -----------------------------------------------------------------------

static void say_chat(struct room_client *from, const char *as, const char *text)
{
    Livekit__ChatMessage m = LIVEKIT__CHAT_MESSAGE__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    LK_SET_STR(&m, message, text);
    LK_SET_STR(&p, participant_identity, as);
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_CHAT_MESSAGE;
    p.chat_message = &m;
    assert_int_equal(room_client_send_packet(from, ROOM_RELIABLE, &p, false), 0);
}

static void send_header(struct room_client *from, const char *as, bool text)
{
    Livekit__DataStream__Header m = LIVEKIT__DATA_STREAM__HEADER__INIT;
    Livekit__DataStream__TextHeader t = LIVEKIT__DATA_STREAM__TEXT_HEADER__INIT;
    Livekit__DataStream__ByteHeader bytes = LIVEKIT__DATA_STREAM__BYTE_HEADER__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    LK_SET_STR(&m, stream_id, text ? "text" : "bytes");
    if (text) {
        m.content_header_case = LIVEKIT__DATA_STREAM__HEADER__CONTENT_HEADER_TEXT_HEADER;
        m.text_header = &t;
    } else {
        m.content_header_case = LIVEKIT__DATA_STREAM__HEADER__CONTENT_HEADER_BYTE_HEADER;
        m.byte_header = &bytes;
    }
    LK_SET_STR(&p, participant_identity, as);
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_STREAM_HEADER;
    p.stream_header = &m;
    assert_int_equal(room_client_send_packet(from, ROOM_RELIABLE, &p, false), 0);
}

static void transcribe(struct room_client *from)
{
    Livekit__Transcription m = LIVEKIT__TRANSCRIPTION__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    LK_SET_STR(&m, track_id, "TR_x");
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_TRANSCRIPTION;
    p.transcription = &m;
    assert_int_equal(room_client_send_packet(from, ROOM_RELIABLE, &p, false), 0);
}

static void only_agents_speak_for_others(void **state)
{
    (void)state;
    begin();
    a = room_client_join(&h, &(struct room_client_conf){.identity = "agent", .agent = true});
    b = join_as("bob", false);
    c = join_as("carol", false);
    run(S(1));
    say_chat(a, "bob", "as bob");
    run(MS(200));
    assert_string_equal(told(c), "bob:as bob");
    assert_true(c->data.generated);
    say_chat(b, "carol", "as carol");
    run(MS(200));
    assert_string_equal(told(c), "bob:as carol");
    assert_false(c->data.generated);
    send_header(a, "bob", true);
    run(MS(200));
    assert_string_equal(told(c), "bob:text");
    assert_true(c->data.generated);
    send_header(a, "bob", false);
    send_header(b, "carol", true);
    run(MS(200));
    assert_string_equal(told(c), "agent:bytes, bob:text");
    assert_false(c->data.generated);
    transcribe(a);
    transcribe(b);
    run(MS(200));
    assert_string_equal(told(c), "agent:TR_x");
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_NOT_ALLOWED], 1);
    end();
}

static void metrics_reach_those_who_may_see_them(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    c = room_client_join(&h, &(struct room_client_conf){.identity = "carol", .metrics = true});
    run(S(1));
    Livekit__MetricsBatch m = LIVEKIT__METRICS_BATCH__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    LK_SET(&m, timestamp_ms, 12345); // its clock is decades behind
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_METRICS;
    p.metrics = &m;
    assert_int_equal(room_client_send_packet(a, ROOM_RELIABLE, &p, false), 0);
    run(MS(500));
    assert_int_equal(b->data.metrics, 0);
    assert_int_equal(c->data.metrics, 1);
    int64_t const age = h.env.wall.us / US_PER_MS - c->data.normalized;
    assert_true(age > 400 && age < 500);
    end();
}

static void what_nobody_knows_is_passed_on_and_garbage_is_not(void **state)
{
    (void)state;
    three(false);
    uint8_t junk[300];
    for (size_t i = 0; i < sizeof(junk); i++) {
        junk[i] = (uint8_t)(i * 7 + 255);
    }
    // Field 100, a value of the future.
    static const uint8_t future[] = {0xa2, 0x06, 0x03, 'x', 'y', 'z'};
    assert_int_equal(room_client_send_raw(a, ROOM_RELIABLE, bytes_of(junk, sizeof(junk))), 0);
    assert_int_equal(room_client_send_raw(a, ROOM_RELIABLE, bytes_of(future, sizeof(future))), 0);
    assert_int_equal(room_client_send_raw(a, ROOM_LOSSY, bytes_of(NULL, 0)), 0);
    run(MS(500));
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_MALFORMED], 1);
    assert_int_equal(b->data.others, 2);
    assert_int_equal(b->data.packets, 2);
    end();
}

static void packets_grow_no_larger_than_channels_take(void **state)
{
    (void)state;
    three(false);
    char *const text = mem_alloc(65536);
    memset(text, 'x', 65536);
    text[65000] = 0; // 65535 with the names, not with those that the server writes
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    LK_SET_BYTES(&u, payload, bytes_of(text, 65500));
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    assert_int_equal(room_client_send_packet(a, ROOM_RELIABLE, &p, true), 0);
    LK_SET_BYTES(&u, payload, bytes_of(text, 64000));
    assert_int_equal(room_client_send_packet(a, ROOM_RELIABLE, &p, true), 0);
    run(S(1));
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_TOO_LARGE], 1);
    assert_int_equal(b->data.packets, 1);
    assert_int_equal(c->data.packets, 1);
    mem_free(text);
    end();
}

// ---- sequences ------------------------------------------------------------------------------

static void send_numbered(struct room_client *from, uint32_t sequence, const char *text)
{
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    LK_SET_BYTES(&u, payload, bytes_str(text));
    LK_SET_STR(&u, topic, "t");
    LK_SET(&p, sequence, sequence);
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    assert_int_equal(room_client_send_packet(from, ROOM_RELIABLE, &p, true), 0);
}

static void repetitions_are_dropped(void **state)
{
    (void)state;
    three(false);
    send_numbered(a, 1, "1");
    send_numbered(a, 2, "2");
    send_numbered(a, 2, "2 again");
    send_numbered(a, 1, "1 again");
    send_numbered(a, 0, "without");
    send_numbered(a, 5, "5");
    send_numbered(a, 4, "4");
    run(MS(500));
    assert_string_equal(told(b), "alice:1, alice:2, alice:without, alice:5");
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_REPEATED], 3);
    room_client_drop_socket(a);
    run(S(1));
    room_client_resume(a);
    run(S(1));
    assert_int_equal(a->last_message_seq, 5);
    send_numbered(a, 5, "5 again");
    send_numbered(a, 6, "6");
    run(MS(500));
    assert_string_equal(told(b), "alice:6");
    end();
}

// What livekit-client does while it tries to resume: 3 4 are put aside during an attempt that fails,
// 5 6 are sent after it, and all of them again after the resume.
static void gap_while_away(void)
{
    three(false);
    send_numbered(a, 1, "1");
    send_numbered(a, 2, "2");
    run(MS(500));
    room_client_drop_socket(a);
    run(MS(500));
    send_numbered(a, 5, "5");
    send_numbered(a, 6, "6");
    run(S(1));
    assert_string_equal(told(b), "alice:1, alice:2");
}

static void what_was_put_aside_comes_in_order(void **state)
{
    (void)state;
    gap_while_away();
    room_client_resume(a);
    run(S(3));
    assert_int_equal(a->last_message_seq, 2);
    for (uint32_t i = 3; i <= 7; i++) {
        send_numbered(a, i, (const char *[]){"3", "4", "5 again", "6 again", "7"}[i - 3]);
    }
    run(MS(500));
    assert_string_equal(told(b), "alice:3, alice:4, alice:5, alice:6, alice:7");
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_REPEATED], 2);
    run(MS(DATA_REPEAT_MS + 1000));
    assert_string_equal(told(b), "");
    end();
}

// A message that the client counted and then found too large to send.
static void what_never_comes_is_not_waited_for_long(void **state)
{
    (void)state;
    gap_while_away();
    run(MS(DATA_REPEAT_MS + 1000));
    assert_string_equal(told(b), "");
    room_client_resume(a);
    run(MS(DATA_REPEAT_MS - 1000));
    assert_string_equal(told(b), "");
    run(S(2));
    assert_string_equal(told(b), "alice:5, alice:6");
    // Nor at all while it is there.
    send_numbered(a, 9, "9");
    run(MS(500));
    assert_string_equal(told(b), "alice:9");
    end();
}

static void what_was_sent_ahead_is_told_at_the_end(void **state)
{
    (void)state;
    gap_while_away();
    room_client_resume(a);
    run(S(1));
    room_client_leave(a);
    run(MS(500));
    assert_string_equal(told(b), "alice:5, alice:6");
    end();
}

// What is not kept is repeated by the client as well: it forgets nothing after a message put aside.
static void little_is_kept_and_nothing_is_lost(void **state)
{
    (void)state;
    enum { COUNT = 300, FROM = 5 };
    static char large[8000];
    memset(large, 'x', sizeof(large) - 1);
    gap_while_away();
    for (uint32_t i = 7; i < COUNT; i++) {
        send_numbered(a, i, large);
        run(MS(10));
    }
    uint64_t const dropped = h.env.drops[ROOM_DROP_DATA_GAP];
    assert_in_range(dropped, COUNT - 40, COUNT - 30);
    assert_string_equal(told(b), "");
    room_client_resume(a);
    run(S(2));
    unsigned const before = b->data.packets;
    for (uint32_t i = 3; i < COUNT; i++) {
        send_numbered(a, i, "again");
        run(MS(10));
    }
    run(S(1));
    assert_int_equal(b->data.packets - before, COUNT - 3);
    assert_int_equal(b->data.repeated, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everybody_else_gets_a_packet),
        TEST(packets_go_to_whom_they_name),
        TEST(hidden_participants_hear_and_have_no_name),
        TEST(those_without_permission_are_not_heard),
        TEST(one_who_may_not_subscribe_has_channels_as_well),
        TEST(v0_channels_are_opened_in_order),
        TEST(unknown_channels_are_wrapped),
        TEST(only_agents_speak_for_others),
        TEST(metrics_reach_those_who_may_see_them),
        TEST(what_nobody_knows_is_passed_on_and_garbage_is_not),
        TEST(packets_grow_no_larger_than_channels_take),
        TEST(repetitions_are_dropped),
        TEST(what_was_put_aside_comes_in_order),
        TEST(what_never_comes_is_not_waited_for_long),
        TEST(what_was_sent_ahead_is_told_at_the_end),
        TEST(little_is_kept_and_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
