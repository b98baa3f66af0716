// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// SUPPORT: pc_pair vnet
// COVERS: peer_connection peer_connection_io

// Whole connections on a virtual clock: the ICE-lite server and a full client, with real DTLS and
// SRTP, through networks that lose, repeat, reorder and move.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <malloc.h>

#include "tests/support/pc_pair.h"

#define S(seconds) ((int64_t)(seconds)*US_PER_S)
#define MS(ms) ((int64_t)(ms)*US_PER_MS)

static struct pc_pair pair;
static struct pc_side *const server = &pair.side[PC_SERVER];
static struct pc_side *const client = &pair.side[PC_CLIENT];

static const struct vnet_link wire = {.delay_us = 20000};

static void begin(const struct pc_pair_config *cfg)
{
    pc_pair_init(&pair, cfg);
    pc_pair_signal(&pair, cfg);
}

static void assert_sound(void)
{
    assert_false(server->corrupt);
    assert_false(client->corrupt);
}

// Media of the next second arrives on both sides.
static void assert_media_flows(void)
{
    uint64_t const a = server->rtp_received;
    uint64_t const b = client->rtp_received;
    uint64_t const c = server->rtcp_received;
    uint64_t const d = client->rtcp_received;
    pc_pair_run(&pair, S(1));
    assert_in_range(server->rtp_received - a, 45, 55);
    assert_in_range(client->rtp_received - b, 45, 55);
    assert_in_range(server->rtcp_received - c, 4, 6);
    assert_in_range(client->rtcp_received - d, 4, 6);
    assert_sound();
}

static int finish(void **state)
{
    (void)state;
    pc_pair_done(&pair);
    return 0;
}

static void a_perfect_network_connects_in_three_round_trips(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 1, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    mono_t const start = pair.now;
    assert_true(pc_pair_connect(&pair, S(5)));
    // The request takes half a round trip, the server's three flights one and a half, its last half
    // is not waited for here.
    assert_true(mono_diff_ms(client->connected_at, start) <= 2 * 40 + 2);
    assert_true(mono_diff_ms(server->connected_at, start) <= 5 * 20 + 2);
    assert_media_flows();
    assert_int_equal(server->selections, 1);
    assert_in_range(peer_connection_rtt_us(client->pc), 40000, 40100);
}

static void the_server_accepts_a_client_hello_too(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 2, .link = wire};
    begin(&cfg);
    assert_true(pc_pair_connect(&pair, S(5)));
    assert_media_flows();
}

static void no_packet_is_lost_while_a_step_runs_elsewhere(void **state)
{
    (void)state;
    // The client speaks as soon as it has keys; the server still computes.
    for (int role = 0; role < 2; role++) {
        struct pc_pair_config const cfg = {
            .seed = 3, .link = wire, .work_us = MS(30), .server_is_dtls_client = role != 0};
        begin(&cfg);
        assert_true(pc_pair_connect(&pair, S(5)));
        pc_pair_run(&pair, S(1));
        assert_int_equal(server->highest_rtp, server->rtp_received);
        assert_int_equal(client->highest_rtp, client->rtp_received);
        assert_true(server->early_received + client->early_received > 0);
        assert_sound();
        if (role == 0) {
            pc_pair_done(&pair);
        }
    }
}

static void bad_networks_connect_and_nothing_is_forged(void **state)
{
    (void)state;
    static const struct vnet_link links[] = {
        {.delay_us = 30000, .jitter_us = 20000, .reorder = true},
        {.delay_us = 30000, .loss_ppm = 50000},
        {.delay_us = 50000,
         .jitter_us = 60000,
         .reorder = true,
         .loss_ppm = 100000,
         .dup_ppm = 200000},
        {.delay_us = 10000, .loss_ppm = 250000},
        {.delay_us = 20000, .burst_ppm = 50000, .burst_len = 3},
        {.delay_us = 40000, .rate_bps = 200000, .queue_bytes = 8000},
    };
    for (size_t l = 0; l < ARRAY_LEN(links); l++) {
        for (uint64_t seed = 0; seed < 8; seed++) {
            struct pc_pair_config const cfg = {.seed = seed,
                                               .link = links[l],
                                               .server_is_dtls_client = seed % 2 == 0,
                                               .work_us = MS(seed)};
            begin(&cfg);
            if (!pc_pair_connect(&pair, S(10))) {
                fail_msg("link %zu seed %llu: server in state %d, client %d", l,
                         (unsigned long long)seed, server->state, client->state);
            }
            pc_pair_run(&pair, S(5));
            assert_sound();
            assert_int_equal(server->state, PEER_CONNECTION_CONNECTED);
            assert_int_equal(client->state, PEER_CONNECTION_CONNECTED);
            // What the network delivered was accepted; duplicates and late ones only once.
            uint64_t const expected = client->rtp_sent * (1000000 - links[l].loss_ppm) / 1000000;
            assert_true(server->rtp_received + 45 + client->rtp_sent / 4 >= expected);
            assert_true(server->rtp_received <= client->rtp_sent);
            pc_pair_done(&pair);
        }
    }
    struct pc_pair_config const cfg = {.seed = 1, .link = wire};
    begin(&cfg); // for the teardown
}

static void a_rebound_nat_is_followed(void **state)
{
    (void)state;
    for (int always = 0; always < 2; always++) {
        struct pc_pair_config const cfg = {.seed = 4,
                                           .link = wire,
                                           .server_is_dtls_client = true,
                                           .client_repeats_nomination = always != 0};
        pc_pair_init(&pair, &cfg);
        struct addr outside = addr_v4(198, 51, 100, 7, 50001);
        vnet_map(pair.net, &client->addr, &outside);
        pc_pair_signal(&pair, &cfg);
        assert_true(pc_pair_connect(&pair, S(5)));
        assert_media_flows();
        const struct srtp_egress *const egress = peer_connection_path(server->pc)->srtp;

        outside.port = 50002;
        vnet_map(pair.net, &client->addr, &outside);
        uint64_t const before = client->rtp_received;
        pc_pair_run(&pair, S(6) + MS(100));
        // Followed at the next consent check when it nominates, else when the old address was
        // silent for 8 s.
        if (always != 0) {
            assert_int_equal(server->selections, 2);
            assert_true(client->rtp_received > before);
        }
        pc_pair_run(&pair, S(4));
        assert_int_equal(server->selections, 2);
        assert_true(addr_eq(&peer_connection_path(server->pc)->dst, &outside));
        assert_ptr_equal(peer_connection_path(server->pc)->srtp, egress);
        assert_media_flows();
        assert_int_equal(server->state, PEER_CONNECTION_CONNECTED);
        if (always == 0) {
            pc_pair_done(&pair);
        }
    }
}

static void a_restart_does_not_interrupt_media(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 5, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    assert_true(pc_pair_connect(&pair, S(5)));
    assert_media_flows();
    const struct srtp_egress *const egress = peer_connection_path(server->pc)->srtp;
    pc_pair_restart(&pair, &cfg, MS(200));
    assert_media_flows();
    assert_int_equal(server->ufrags_retired, 1);
    assert_int_equal(server->highest_rtp, server->rtp_received);
    assert_int_equal(client->highest_rtp, client->rtp_received);
    assert_ptr_equal(peer_connection_path(server->pc)->srtp, egress);
    assert_int_equal(server->selections, 1);
}

static void a_restart_moves_to_a_new_network(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 6, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    assert_true(pc_pair_connect(&pair, S(5)));
    assert_media_flows();
    client->addr = addr_v4(10, 9, 9, 9, 41000);
    client->ep.locals[0] = client->addr;
    pc_pair_restart(&pair, &cfg, MS(200));
    pc_pair_run(&pair, MS(300));
    assert_true(addr_eq(&peer_connection_path(server->pc)->dst, &client->addr));
    assert_media_flows();
    assert_int_equal(server->tuples_added, 2);
    pc_pair_run(&pair, S(31));
    assert_int_equal(server->tuples_removed, 1);
}

static void silence_disconnects_fails_and_a_restart_heals(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 7, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    assert_true(pc_pair_connect(&pair, S(5)));
    assert_media_flows();
    mono_t const cut = pair.now;
    struct vnet_link const dead = {.down = true};
    vnet_set_link(pair.net, NULL, NULL, &dead);
    pc_pair_run(&pair, S(20));
    for (size_t i = 0; i < 2; i++) {
        const struct pc_side *const s = &pair.side[i];
        assert_int_equal(s->state, PEER_CONNECTION_FAILED);
        assert_int_equal(s->failure, PEER_CONNECTION_FAILURE_ICE);
        assert_in_range(mono_diff_ms(s->disconnected_at, cut), 9990, 10050);
        assert_in_range(mono_diff_ms(s->failed_at, cut), 14990, 15050);
        assert_null(peer_connection_path(s->pc)->srtp);
    }
    uint64_t const sent = vnet_stats(pair.net)->sent;
    pc_pair_run(&pair, S(60));
    assert_int_equal(vnet_stats(pair.net)->sent, sent); // nothing is sent without consent

    vnet_set_link(pair.net, NULL, NULL, &wire);
    pc_pair_restart(&pair, &cfg, MS(50));
    assert_true(pc_pair_connect(&pair, S(2)));
    assert_media_flows();
}

static void a_short_outage_recovers_without_signalling(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 8, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    assert_true(pc_pair_connect(&pair, S(5)));
    struct vnet_link const dead = {.down = true};
    vnet_set_link(pair.net, NULL, NULL, &dead);
    pc_pair_run(&pair, S(12));
    assert_int_equal(server->state, PEER_CONNECTION_DISCONNECTED);
    vnet_set_link(pair.net, NULL, NULL, &wire);
    pc_pair_run(&pair, S(2));
    assert_int_equal(server->state, PEER_CONNECTION_CONNECTED);
    assert_int_equal(client->state, PEER_CONNECTION_CONNECTED);
    assert_media_flows();
}

static void a_wrong_fingerprint_fails_without_keys(void **state)
{
    (void)state;
    for (int role = 0; role < 2; role++) {
        struct pc_pair_config const cfg = {
            .seed = 9, .link = wire, .server_is_dtls_client = role != 0, .wrong_fingerprint = true};
        begin(&cfg);
        assert_false(pc_pair_connect(&pair, S(5)));
        assert_int_equal(server->state, PEER_CONNECTION_FAILED);
        assert_int_equal(server->failure, PEER_CONNECTION_FAILURE_DTLS);
        assert_int_equal(peer_connection_dtls_failure(server->pc), DTLS_FAILURE_FINGERPRINT);
        assert_null(peer_connection_srtp(server->pc));
        assert_int_equal(server->rtp_received, 0);
        if (role == 0) {
            pc_pair_done(&pair);
        }
    }
}

static void dtls_must_follow_ice_in_time(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 10, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    client->no_dtls = true;
    mono_t const start = pair.now;
    pc_pair_run(&pair, S(12));
    assert_int_equal(server->state, PEER_CONNECTION_FAILED);
    assert_int_equal(server->failure, PEER_CONNECTION_FAILURE_DEADLINE);
    assert_in_range(mono_diff_ms(server->failed_at, start), PEER_CONNECTION_CONNECT_MIN_MS,
                    PEER_CONNECTION_CONNECT_MIN_MS + 100);
}

static void nobody_there_fails_by_the_connect_timeout(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 11, .link = {.down = true}};
    begin(&cfg);
    pc_pair_run(&pair, S(31));
    assert_int_equal(server->failure, PEER_CONNECTION_FAILURE_ICE);
    assert_int_equal(client->failure, PEER_CONNECTION_FAILURE_ICE);
}

static void close_notify_is_reported_and_changes_nothing(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 12, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    assert_true(pc_pair_connect(&pair, S(5)));
    peer_connection_close(client->pc, &client->ep.out);
    outbox_flush(&client->ep.out);
    peer_connection_close(client->pc, &client->ep.out);
    assert_int_equal(client->ep.out.count, 0); // once
    pc_pair_run(&pair, S(1));
    assert_int_equal(client->state, PEER_CONNECTION_CLOSED);
    assert_int_equal(server->peer_closed, 1);
    assert_int_equal(server->state, PEER_CONNECTION_CONNECTED);
    pc_pair_run(&pair, S(16));
    assert_int_equal(server->state, PEER_CONNECTION_FAILED);
}

static void another_certificate_begins_a_new_session(void **state)
{
    (void)state;
    struct pc_pair_config cfg = {.seed = 13, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    assert_true(pc_pair_connect(&pair, S(5)));
    assert_media_flows();

    // The client comes back as somebody else on the same transport: a new peer connection behind
    // the same address.
    peer_connection_free(client->pc);
    dtls_cert_free(client->cert);
    assert_int_equal(dtls_cert_new(1790000000, &client->cert), 0);
    ice_creds_generate(&pair.rng, "", &client->creds);
    struct peer_connection_config const c = {.ice = {.role = ICE_ROLE_FULL, .rng = &pair.rng},
                                             .creds = client->creds,
                                             .cert = client->cert};
    assert_int_equal(peer_connection_new(&c, pair.now, &client->pc), 0);
    client->state = PEER_CONNECTION_NEW;
    memset(client->seen, 0, 65536 / 8);
    memset(server->seen, 0, 65536 / 8);
    ice_creds_generate(&pair.rng, "", &server->creds);
    peer_connection_restart(server->pc, pair.now, &server->creds);
    pc_pair_signal(&pair, &cfg);
    assert_int_equal(peer_connection_state(server->pc), PEER_CONNECTION_CONNECTING);
    assert_null(peer_connection_path(server->pc)->srtp);
    server->state = PEER_CONNECTION_CONNECTING;
    assert_true(pc_pair_connect(&pair, S(5)));
    assert_media_flows();

    // The role may not flip under the same fingerprint.
    struct dtls_fingerprint f;
    assert_int_equal(dtls_fingerprint_parse(bytes_str("sha-256"),
                                            bytes_str(dtls_cert_fingerprint(client->cert)), &f),
                     0);
    struct peer_connection_remote const flipped = {
        .fingerprints = &f, .fingerprint_count = 1, .dtls_role = DTLS_ROLE_SERVER};
    assert_int_equal(peer_connection_set_remote(server->pc, pair.now, &flipped, &server->ep.out),
                     -EPROTO);
}

static void strangers_are_dropped_before_anything_is_parsed(void **state)
{
    (void)state;
    struct pc_pair_config const cfg = {.seed = 14, .link = wire, .server_is_dtls_client = true};
    begin(&cfg);
    assert_true(pc_pair_connect(&pair, S(5)));
    struct addr const stranger = addr_v4(203, 0, 113, 9, 999);
    static const uint8_t firsts[] = {22, 0x80, 100, 200};
    for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
        uint8_t d[64] = {firsts[i]};
        struct bytes_mut got;
        assert_int_equal(peer_connection_input(server->pc, pair.now, 0, &stranger,
                                               (struct bytes_mut){d, sizeof(d)}, &server->ep.out,
                                               &got),
                         PEER_CONNECTION_RX_NONE);
    }
    const struct peer_connection_counters *const c = peer_connection_counters(server->pc);
    assert_int_equal(c->drop[PEER_CONNECTION_DROP_TUPLE], 2);
    assert_int_equal(c->drop[PEER_CONNECTION_DROP_CLASS], 2);
    struct peer_connection_drops sum = {.connection = {[PEER_CONNECTION_DROP_CLASS] = 5}};
    peer_connection_add_drops(server->pc, &sum);
    assert_int_equal(sum.connection[PEER_CONNECTION_DROP_TUPLE], 2);
    assert_int_equal(sum.connection[PEER_CONNECTION_DROP_CLASS], 7);
    assert_int_equal(sum.ice[ICE_RX_OK] + sum.srtp[SRTP_OK], 0);
    assert_media_flows();
}

// usrsctp compares with the real clock when its retransmission timer expires, so that a virtual one
// makes it wait for the longest timeout (10 s) now and then, the more often the faster this machine
// is. Three of these rounds are the most that was seen.
static void await_messages(size_t bytes)
{
    for (int i = 0; i < 20; i++) {
        if (server->message_bytes >= bytes && client->message_bytes >= bytes) {
            return;
        }
        pc_pair_run(&pair, S(15));
    }
}

static void data_channels_run_over_it(void **state)
{
    (void)state;
    static const struct vnet_link links[] = {
        {.delay_us = 20000},
        {.delay_us = 20000,
         .jitter_us = 20000,
         .reorder = true,
         .loss_ppm = 50000,
         .dup_ppm = 50000},
    };
    for (size_t l = 0; l < ARRAY_LEN(links); l++) {
        struct pc_pair_config const cfg = {.seed = 15,
                                           .link = links[l],
                                           .server_is_dtls_client = true,
                                           .sctp = true,
                                           .work_us = MS(5)};
        begin(&cfg);
        assert_true(pc_pair_connect(&pair, S(10)));
        struct data_channel_params const params = {.label = bytes_str("_reliable"),
                                                   .priority = 256};
        uint16_t id = 0;
        assert_int_equal(
            sctp_transport_open_channel(peer_connection_sctp(client->pc), &params, &id), 0);
        peer_connection_flush_sctp(client->pc, &client->ep.out);
        pc_pair_run(&pair, S(5));
        assert_int_equal(server->channels_open, 1);
        assert_int_equal(client->channels_open, 1);
        static uint8_t message[20000];
        for (int i = 0; i < 5; i++) {
            assert_int_equal(sctp_transport_send(peer_connection_sctp(client->pc), id, true,
                                                 bytes_of(message, sizeof(message))),
                             0);
            assert_int_equal(sctp_transport_send(peer_connection_sctp(server->pc), id, true,
                                                 bytes_of(message, sizeof(message))),
                             0);
            peer_connection_flush_sctp(client->pc, &client->ep.out);
            peer_connection_flush_sctp(server->pc, &server->ep.out);
            pc_pair_run(&pair, S(2));
        }
        await_messages(5 * sizeof(message));
        assert_int_equal(server->message_bytes, 5 * sizeof(message));
        assert_int_equal(client->message_bytes, 5 * sizeof(message));
        assert_sound();
        if (l == 0) {
            pc_pair_done(&pair);
        }
    }
}

// Bytes that go when the side's peer connection is freed.
static size_t footprint(struct pc_side *s)
{
    outbox_flush(&s->ep.out);
    size_t const before = mallinfo2().uordblks;
    peer_connection_free(s->pc);
    s->pc = NULL;
    return before - mallinfo2().uordblks;
}

static void a_connected_transport_is_small(void **state)
{
    (void)state;
    // A subscriber: the server sends it media, and gets RTCP and SCTP from it.
    struct pc_pair_config const cfg = {
        .seed = 16, .link = wire, .server_is_dtls_client = true, .sctp = true};
    begin(&cfg);
    client->send_media = false;
    assert_true(pc_pair_connect(&pair, S(5)));
    pc_pair_run(&pair, S(2));
    assert_int_equal(sctp_transport_state(peer_connection_sctp(server->pc)), SCTP_STATE_UP);
    size_t const bytes = footprint(server);
    print_message("a connected subscriber's transport: %zu bytes\n", bytes);
#if !defined(__SANITIZE_ADDRESS__) &&                                                              \
    !defined(__SANITIZE_THREAD__) // which have a heap of their own
    assert_in_range(bytes, 1024, 64 * 1024);
#endif
}

#define TEST(f) cmocka_unit_test_teardown(f, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_perfect_network_connects_in_three_round_trips),
        TEST(the_server_accepts_a_client_hello_too),
        TEST(no_packet_is_lost_while_a_step_runs_elsewhere),
        TEST(bad_networks_connect_and_nothing_is_forged),
        TEST(a_rebound_nat_is_followed),
        TEST(a_restart_does_not_interrupt_media),
        TEST(a_restart_moves_to_a_new_network),
        TEST(silence_disconnects_fails_and_a_restart_heals),
        TEST(a_short_outage_recovers_without_signalling),
        TEST(a_wrong_fingerprint_fails_without_keys),
        TEST(dtls_must_follow_ice_in_time),
        TEST(nobody_there_fails_by_the_connect_timeout),
        TEST(close_notify_is_reported_and_changes_nothing),
        TEST(another_certificate_begins_a_new_session),
        TEST(strangers_are_dropped_before_anything_is_parsed),
        TEST(data_channels_run_over_it),
        TEST(a_connected_transport_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
