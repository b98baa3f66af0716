// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: data_channels sctp_transport
//
// Data over time: joiners, resumes, files, and receivers that do not keep up.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/time.h>

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

// ---- numbered messages ----------------------------------------------------------------------

static void say_number(struct room_client *from, uint32_t sequence)
{
    char text[16];
    Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
    Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
    (void)snprintf(text, sizeof(text), "%u", sequence);
    LK_SET_BYTES(&u, payload, bytes_str(text));
    LK_SET_STR(&u, topic, "t");
    LK_SET(&p, sequence, sequence);
    p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
    p.user = &u;
    assert_int_equal(room_client_send_packet(from, ROOM_RELIABLE, &p, true), 0);
}

// One every 50 ms.
static void say_for(struct room_client *from, int64_t us)
{
    for (int64_t t = 0; t < us; t += MS(50)) {
        say_number(from, ++from->data.sequence);
        run(MS(50));
    }
}

// What livekit-client does after a resume.
static void repeat(struct room_client *from)
{
    for (uint32_t s = from->last_message_seq + 1; s <= from->data.sequence; s++) {
        say_number(from, s);
    }
}

// That it was told all numbers from `first` to `last` in order, each once; the first one if 0.
static uint32_t assert_told_all(struct room_client *who, uint32_t first, uint32_t last)
{
    const char *at = dynbuf_cstr(&who->data.told);
    uint32_t next = first;
    assert_non_null(at);
    while (at != NULL && *at != 0) {
        at = strchr(at, ':');
        uint32_t const n = (uint32_t)strtoul(at + 1, NULL, 10);
        first = first == 0 ? n : first;
        next = next == 0 ? n : next;
        assert_int_equal(n, next);
        next++;
        at = strstr(at, ", ");
    }
    assert_int_equal(next, last + 1);
    dynbuf_reset(&who->data.told);
    return first;
}

static void joiners_miss_nothing(void **state)
{
    (void)state;
    for (int v0 = 0; v0 < 2; v0++) {
        begin_with(&(struct room_harness_conf){
            .seed = 3, .link = {.delay_us = 300000}, .signal_us = 3000});
        a = join_as("alice", false);
        run(S(6));
        say_for(a, S(1));
        b = join_as("bob", v0 != 0);
        while (!b->joined) {
            say_for(a, MS(50));
        }
        uint32_t const then = a->data.sequence;
        int64_t waited = 0;
        for (; !b->data.opened[ROOM_RELIABLE]; waited += 50) {
            say_for(a, MS(50));
        }
        say_for(a, S(1));
        run(S(2));
        uint32_t const first = assert_told_all(b, 0, a->data.sequence);
        printf("%s: channel open %d ms after the join, from message %u of %u on, %u sent then\n",
               v0 != 0 ? "v0" : "v1", (int)waited, first, a->data.sequence, then);
        assert_true(waited > 1000);
        assert_true(first <= then); // what was on its way at the join counts as well
        assert_int_equal(b->data.repeated, 0);
        end();
    }
}

static void nothing_is_lost_over_bad_links(void **state)
{
    (void)state;
    begin_with(&(struct room_harness_conf){.seed = 5, .link = bad_link, .signal_us = 3000});
    a = join_as("alice", false);
    b = join_as("bob", false);
    c = join_as("carol", true);
    run(S(5));
    for (int i = 0; i < 400; i++) {
        say_number(a, ++a->data.sequence);
        run(MS(10));
    }
    run(S(5));
    (void)assert_told_all(b, 1, 400);
    (void)assert_told_all(c, 1, 400);
    assert_int_equal(b->data.repeated + c->data.repeated, 0);
    end();
}

// ---- coming back ----------------------------------------------------------------------------

static bool has_told_last(void *arg)
{
    struct room_client *const who = arg;
    char text[24];
    (void)snprintf(text, sizeof(text), ":%u", a->data.sequence);
    const char *const t = dynbuf_cstr(&who->data.told);
    size_t const n = strlen(text);
    return t != NULL && strlen(t) >= n && strcmp(t + strlen(t) - n, text) == 0;
}

// The path, and with it the socket, of one side is gone for some time.
static void cut_and_resume(bool v0, bool sender, int64_t us)
{
    begin();
    a = join_as("alice", v0);
    b = join_as("bob", v0);
    run(S(2));
    struct room_client *const cut = sender ? a : b;
    say_for(a, S(1));
    room_client_drop_socket(cut);
    room_client_set_vanished(cut, true);
    say_for(a, us);
    room_client_set_vanished(cut, false);
    room_client_resume(cut);
    run(MS(500));
    assert_true(cut->reconnected);
    if (sender) {
        repeat(a);
    }
    mono_t const start = h.now;
    assert_true(room_harness_until(&h, has_told_last, b, S(15)));
    printf("%s, %s cut for %d s: complete %d ms after the resume\n", v0 ? "v0" : "v1",
           sender ? "sender" : "receiver", (int)(us / S(1)), 500 + (int)mono_diff_ms(h.now, start));
    assert_true(mono_diff_ms(h.now, start) < 4000);
    (void)assert_told_all(b, 1, a->data.sequence);
    assert_int_equal(b->data.repeated, 0);
    end();
}

static void a_resume_loses_and_doubles_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        cut_and_resume((i & 1) != 0, (i & 2) != 0, S(3));
        cut_and_resume((i & 1) != 0, (i & 2) != 0, S(12));
    }
}

// ---- files ----------------------------------------------------------------------------------

#define FILE_BYTES (UINT64_C(100) << 20)

static size_t most_queued(const struct room_client *who, size_t most)
{
    const struct participant *const p = server_side(who);
    return p != NULL ? MAX(most, p->data.queued) : most;
}

static void a_file_goes_to_fast_and_slow_receivers(void **state)
{
    (void)state;
    size_t most = 0;
    int64_t ms = 0;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    c = join_as("carol", true);
    run(S(2));
    room_client_send_file(a, FILE_BYTES);
    for (; c->data.file_bytes < FILE_BYTES && ms < 300000; ms += 20) {
        room_client_read_some(c, 30000);
        run(MS(20));
        most = most_queued(c, most);
        assert_false(c->left);
    }
    run(S(1));
    printf("100 MiB to one who reads slowly: %d s, at most %zu KiB waited\n", (int)(ms / 1000),
           most >> 10);
    assert_int_equal(b->data.file_bytes, FILE_BYTES);
    assert_int_equal(c->data.file_bytes, FILE_BYTES);
    assert_int_equal(b->data.file_gaps + c->data.file_gaps, 0);
    assert_true(most <= DATA_CONGESTED_BYTES + (256u << 10));
    assert_int_equal(h.env.drops[ROOM_DROP_DATA_SLOW], 0);
    end();
}

// How long the others wait for 20 MiB because of one that takes nothing.
static int64_t send_past_the_dead(void)
{
    uint64_t const bytes = UINT64_C(20) << 20;
    size_t most = 0;
    int64_t ms = 0;
    room_client_send_file(a, bytes);
    for (; b->data.file_bytes < bytes && ms < 60000; ms += 20) {
        run(MS(20));
        most = most_queued(c, most);
    }
    printf("the others wait %d ms for 20 MiB, %zu KiB waited\n", (int)ms, most >> 10);
    assert_int_equal(b->data.file_bytes, bytes);
    assert_int_equal(b->data.file_gaps, 0);
    assert_true(most <= DATA_QUEUE_MAX);
    assert_false(a->left || b->left);
    assert_null(server_side(c));
    return ms;
}

static void one_who_reads_nothing_is_cut_off_alone(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", true);
    b = join_as("bob", false);
    c = join_as("carol", false);
    run(S(2));
    room_client_stop_reading(c, true);
    // The window of usrsctp never quite closes: some KiB go through for a while.
    assert_true(send_past_the_dead() < 4 * DATA_STALL_MS);
    assert_true(c->left && c->closed);
    assert_int_equal(c->leave_action, LEAVE_RECONNECT);
    assert_int_equal(c->leave_reason, DISCONNECT_STATE_MISMATCH);
    end();
}

static void one_whose_network_is_gone_holds_nobody_for_long(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", true);
    b = join_as("bob", false);
    c = join_as("carol", true);
    run(S(2));
    room_client_set_vanished(c, true);
    assert_true(send_past_the_dead() < DATA_STALL_MS + 5000);
    end();
}

// Whoever waits and whoever is waited for may go at any time.
static void waiting_ends_with_either_side(void **state)
{
    (void)state;
    for (int who = 0; who < 3; who++) {
        begin();
        a = join_as("alice", false);
        b = join_as("bob", false);
        c = join_as("carol", false);
        run(S(2));
        room_client_stop_reading(c, true);
        room_client_send_file(a, 8u << 20);
        room_client_send_file(b, 8u << 20);
        run(S(3));
        assert_non_null(server_side(a)->data.waits_for);
        assert_non_null(server_side(b)->data.waits_for);
        if (who < 2) {
            room_client_leave(who == 0 ? a : c);
            run(S(3));
        }
        if (who == 1) {
            assert_int_equal(b->data.file_bytes, 8u << 20);
            assert_int_equal(a->data.file_bytes, 8u << 20);
        }
        end(); // the third time the room closes in the middle of it
    }
}

#define CROWD 10

// 8 MB/s to twelve people would be 100 MB/s.
static void a_sender_has_a_share_and_leaves_others_theirs(void **state)
{
    (void)state;
    struct room_client *crowd[CROWD];
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    c = join_as("carol", false);
    for (int i = 0; i < CROWD; i++) {
        char identity[16];
        (void)snprintf(identity, sizeof(identity), "p%d", i);
        crowd[i] = join_as(identity, i % 2 != 0);
    }
    run(S(2));
    room_client_send_file(a, FILE_BYTES);
    room_client_send_file(c, FILE_BYTES);
    run(S(1));
    uint64_t const before = crowd[0]->data.file_bytes;
    mono_t const begin_at = h.now;
    int64_t worst = 0;
    for (int i = 0; i < 20; i++) {
        mono_t const start = h.now;
        dynbuf_reset(&crowd[1]->data.told);
        assert_int_equal(room_client_say(b, ROOM_RELIABLE, "hello", NULL), 0);
        while (crowd[1]->data.told.n == 0 && mono_diff_ms(h.now, start) < 5000) {
            run(MS(1));
        }
        worst = MAX(worst, mono_diff_ms(h.now, start));
        run(MS(100));
    }
    uint64_t const rate =
        (crowd[0]->data.file_bytes - before) * 1000 / (uint64_t)mono_diff_ms(h.now, begin_at);
    printf("two files to 12 people: %u kB/s each receiver, a message takes %d ms at most\n",
           (unsigned)(rate / 1000), (int)worst);
    assert_in_range(rate * 12, DATA_PACE_ROOM_BYTES_S / 4, DATA_PACE_ROOM_BYTES_S);
    assert_true(worst < 1000);
    assert_false(a->left || b->left || c->left);
    end();
}

// ---- lossy ----------------------------------------------------------------------------------

static void lossy_packets_pass_a_file(void **state)
{
    (void)state;
    unsigned sent = 0;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    c = join_as("carol", false);
    run(S(2));
    room_client_send_file(a, FILE_BYTES);
    for (int i = 0; i < 100; i++) {
        room_client_read_some(b, 50000);
        sent += room_client_say(c, ROOM_LOSSY, "pos", NULL) == 0;
        run(MS(20));
    }
    unsigned const got = (unsigned)(b->data.told.n / strlen("carol:pos, "));
    printf("%u of %u lossy packets got past the file\n", got, sent);
    assert_true(got * 10 >= sent * 8);
    end();
}

static void lossy_packets_do_not_wait(void **state)
{
    (void)state;
    uint8_t block[4000];
    memset(block, 'x', sizeof(block));
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    run(S(2));
    room_client_stop_reading(b, true);
    for (int i = 0; i < 2000; i++) {
        Livekit__UserPacket u = LIVEKIT__USER_PACKET__INIT;
        Livekit__DataPacket p = LIVEKIT__DATA_PACKET__INIT;
        LK_SET_BYTES(&u, payload, bytes_of(block, sizeof(block)));
        p.value_case = LIVEKIT__DATA_PACKET__VALUE_USER;
        p.user = &u;
        (void)!room_client_send_packet(a, ROOM_LOSSY, &p, false);
        run(MS(5));
    }
    assert_true(h.env.drops[ROOM_DROP_DATA_SLOW] > 500);
    assert_int_equal(server_side(b)->data.queued, 0);
    assert_false(b->left);
    room_client_stop_reading(b, false);
    run(S(2));
    assert_int_equal(room_client_say(a, ROOM_LOSSY, "now", NULL), 0);
    run(MS(100));
    assert_non_null(strstr(dynbuf_cstr(&b->data.told), "alice:now"));
    end();
}

// ---- those without channels -----------------------------------------------------------------

static void what_is_held_has_an_end(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = room_client_join(&h, &(struct room_client_conf){.identity = "bob", .no_channels = true});
    run(S(2));
    room_client_send_file(a, 4u << 20);
    run(S(5));
    assert_int_equal(a->data.file_left, 0); // nobody waits for one who is not there
    assert_true(server_side(b)->data.queued > DATA_HOLD_MAX / 2);
    assert_true(server_side(b)->data.queued <= DATA_HOLD_MAX);
    assert_true(h.env.drops[ROOM_DROP_DATA_HELD] > 0);
    run((int64_t)DATA_HOLD_MS * US_PER_MS);
    assert_int_equal(server_side(b)->data.queued, 0);
    assert_int_equal(room_client_say(a, ROOM_RELIABLE, "anybody", NULL), 0);
    run(S(1));
    assert_int_equal(server_side(b)->data.queued, 0);
    assert_true(h.env.drops[ROOM_DROP_DATA_NO_CHANNEL] > 0);
    assert_false(b->left);
    end();
}

static void an_association_that_is_lost_ends_the_session(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    run(S(2));
    struct sctp_event const down = {.kind = SCTP_EVENT_DOWN};
    data_channels_event(server_side(b)->publisher, &down);
    run((DATA_LOST_MS - 1000) * US_PER_MS);
    assert_false(b->left);
    run(S(2));
    assert_true(b->left && b->closed);
    assert_int_equal(b->leave_action, LEAVE_RECONNECT);
    assert_false(a->left);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(joiners_miss_nothing),
        TEST(nothing_is_lost_over_bad_links),
        TEST(a_resume_loses_and_doubles_nothing),
        TEST(a_file_goes_to_fast_and_slow_receivers),
        TEST(one_who_reads_nothing_is_cut_off_alone),
        TEST(one_whose_network_is_gone_holds_nobody_for_long),
        TEST(waiting_ends_with_either_side),
        TEST(a_sender_has_a_share_and_leaves_others_theirs),
        TEST(lossy_packets_pass_a_file),
        TEST(lossy_packets_do_not_wait),
        TEST(what_is_held_has_an_end),
        TEST(an_association_that_is_lost_ends_the_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
