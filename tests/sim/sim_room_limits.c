// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: room participant join signal_send pc_transport subscription
//
// What one client can make the room do, and what is counted of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/room_sim.h"

static struct room_client *a, *b;

static void publishers_are_counted(void **state)
{
    (void)state;
    (void)open_call(false, ROOM_AUDIO, &a, &b);
    (void)room_client_publish(b, ROOM_VIDEO);
    run(S(2));
    assert_int_equal(room_find(&h.env, "room")->publisher_count, 2);
    room_client_leave(b);
    run(S(1));
    assert_int_equal(room_find(&h.env, "room")->publisher_count, 1);
    room_client_leave(a);
    run(S(1));
    assert_int_equal(room_find(&h.env, "room")->publisher_count, 0);
    assert_int_equal(h.last_info.num_publishers, 0);
    end();
}

// Each time with other SSRCs in the section that the last one left, whose packets are still on
// their way.
static void one_may_publish_again_and_again(void **state)
{
    (void)state;
    begin();
    a = join_as("alice", false);
    b = join_as("bob", false);
    run(S(1));
    for (int i = 0; i < 14; i++) {
        struct room_sender *const s = room_client_publish(a, ROOM_VIDEO_SIMULCAST);
        run(MS(700));
        assert_true(flow(b, s, MS(300)) > 5);
        room_client_unpublish(a, s);
        run(MS(200));
    }
    assert_int_equal(h.env.drops[ROOM_DROP_SSRC_LIMIT], 0);
    end();
}

static void set_metadata(struct room_client *c, const char *text)
{
    Livekit__UpdateParticipantMetadata u = LIVEKIT__UPDATE_PARTICIPANT_METADATA__INIT;
    LK_SET_STR(&u, metadata, text);
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_UPDATE_METADATA;
    r.update_metadata = &u;
    room_client_request(c, &r);
}

#define TALKERS 6

// Their updates come due together and are larger than a message may be.
static void large_updates_are_split(void **state)
{
    (void)state;
    begin();
    char *const text = mem_alloc((512u << 10) + 1);
    assert_non_null(text);
    memset(text, 'x', 512u << 10);
    a = join_as("alice", false);
    struct room_client *c[TALKERS];
    for (size_t i = 0; i < TALKERS; i++) {
        char identity[16];
        (void)snprintf(identity, sizeof(identity), "talker %zu", i);
        c[i] = room_client_join(
            &h, &(struct room_client_conf){.identity = identity, .update_metadata = true});
    }
    run(S(1));
    uint64_t const lost = h.env.no_memory;
    for (size_t i = 0; i < TALKERS; i++) {
        set_metadata(c[i], text);
    }
    run(S(1));
    assert_int_equal(h.env.no_memory, lost);
    for (size_t i = 0; i < TALKERS; i++) {
        participant_changed(server_side(c[i]), false);
    }
    run(S(1));
    assert_int_equal(h.env.no_memory, lost);
    for (size_t i = 0; i < TALKERS; i++) {
        assert_int_equal(room_client_peer(a, c[i]->identity)->version, server_side(c[i])->version);
    }
    mem_free(text);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(publishers_are_counted),
        TEST(one_may_publish_again_and_again),
        TEST(large_updates_are_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
