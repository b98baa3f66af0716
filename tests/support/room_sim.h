// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the room simulations share; include cmocka before.

#include "tests/support/room_client.h"

#define MS(n) ((int64_t)(n)*US_PER_MS)
#define S(n) ((int64_t)(n)*US_PER_S)

// LiveKit's numbers, as clients see them.
enum {
    STATE_JOINED = LIVEKIT__PARTICIPANT_INFO__STATE__JOINED,
    STATE_ACTIVE = LIVEKIT__PARTICIPANT_INFO__STATE__ACTIVE,
    STATE_DISCONNECTED = LIVEKIT__PARTICIPANT_INFO__STATE__DISCONNECTED,
};

static struct room_harness h;
static bool begun;

static const struct vnet_link clean_link = {.delay_us = 15000};
static const struct vnet_link bad_link = {
    .delay_us = 20000, .jitter_us = 10000, .reorder = true, .loss_ppm = 20000, .dup_ppm = 10000};

static inline void begin_with(const struct room_harness_conf *conf)
{
    room_harness_init(&h, conf);
    begun = true;
}

static inline void begin(void)
{
    begin_with(&(struct room_harness_conf){.seed = 1, .link = clean_link, .signal_us = 3000});
}

static inline void end(void)
{
    begun = false;
    unsigned const n = room_harness_done(&h);
    if (n > 0) {
        fail_msg("%u violations, the first: %s", n, h.violation);
    }
}

static inline struct room_client *join_as(const char *identity, bool v0)
{
    return room_client_join(&h, &(struct room_client_conf){.identity = identity, .v0 = v0});
}

// How most scenarios open: Alice publishes to Bob.
static inline struct room_sender *open_call(bool v0, enum room_media media,
                                            struct room_client **ret_alice,
                                            struct room_client **ret_bob)
{
    begin();
    *ret_alice = join_as("alice", v0);
    *ret_bob = join_as("bob", v0);
    return room_client_publish(*ret_alice, media);
}

static inline void run(int64_t us)
{
    room_harness_run(&h, us);
}

// What server-side truth says.
static inline struct participant *server_side(const struct room_client *c)
{
    struct room *const r = room_find(&h.env, c->room);
    return r != NULL ? room_participant(r, c->identity) : NULL;
}

static inline void assert_state(const struct room_client *viewer, const char *identity, int state)
{
    const struct room_peer *const p = room_client_peer(viewer, identity);
    assert_non_null(p);
    assert_int_equal(p->state, state);
}

// Packets of a track that reach a client within some time.
static inline uint64_t flow(const struct room_client *c, const struct room_sender *s, int64_t us)
{
    const struct room_stream *st = room_client_stream(c, s->sid);
    uint64_t const before = st != NULL ? st->packets : 0;
    run(us);
    const struct room_stream *const now = room_client_stream(c, s->sid);
    if (now == NULL) {
        return 0;
    }
    return now == st ? now->packets - before : now->packets;
}

// Teardown: a failed test leaves its room behind.
static int finish(void **state)
{
    (void)state;
    if (begun) {
        begun = false;
        (void)room_harness_done(&h);
    }
    return 0;
}

#define TEST(f) cmocka_unit_test_teardown(f, finish)
