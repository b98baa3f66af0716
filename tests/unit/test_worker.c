// SPDX-License-Identifier: Apache-2.0
// REALTIME
// LINK: worker
// SUPPORT: room_live room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
// COVERS: udp_mux
//
// A worker as it runs in foci-sfu: its thread, handshake threads, real sockets. Also meant for the
// thread sanitizer.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/room_live.h"

#define S(n) ((int64_t)(n)*US_PER_S)
#define LIMIT S(20)

static struct room_harness h;
static struct room_live live;

static void finish(void)
{
    room_live_done(&live);
    unsigned const n = room_harness_done(&h);
    if (n > 0) {
        fail_msg("%u violations, the first: %s", n, h.violation);
    }
}

static struct room_client *join_as(const char *identity, bool v0)
{
    return room_client_join(&h, &(struct room_client_conf){.identity = identity, .v0 = v0});
}

static void assert_flows(const struct room_client *c, const struct room_sender *s, uint64_t packets)
{
    if (!room_live_flows(&live, c, s, packets, LIMIT)) {
        const struct room_stream *const st = room_client_stream(c, s->sid);
        struct worker_stats w;
        const struct room_client *x = NULL;
        DL_FOREACH(h.clients, x)
        {
            print_message("%s: active %d closed %d left %d reason %d action %d published %u "
                          "subscribed %u senders %zu of which the first sent %llu\n",
                          x->identity, room_client_active(x), x->closed, x->left, x->leave_reason,
                          x->leave_action, x->track_published, x->track_subscribed, x->sender_count,
                          x->sender_count ? (unsigned long long)x->senders[0]->packets : 0);
        }
        worker_get_stats(live.worker, &w);
        fail_msg("%llu of %llu packets of %s; in the worker %llu datagrams in, %llu forwarded",
                 st ? (unsigned long long)st->packets : 0, (unsigned long long)packets, s->sid,
                 (unsigned long long)w.datagrams_in, (unsigned long long)w.forwarded);
    }
}

static void check_streams(const struct room_client *c)
{
    const struct room_stream *st = NULL;
    DL_FOREACH(c->streams, st)
    {
        assert_int_equal(st->audio_bad, 0);
        if (!st->audio) {
            struct model_verdict v;
            model_subscriber_judge(&st->model, &v);
            assert_int_equal(st->model.corrupt, 0);
            assert_int_equal(v.switch_without_key, 0);
            assert_int_equal(v.ts_not_rising, 0);
        }
    }
}

static void calls_run_over_real_sockets(void **state)
{
    (void)state;
    for (int ipv6 = 0; ipv6 < 2; ipv6++) {
        room_live_init(&live, &h, ipv6 != 0);
        struct room_client *const a = join_as("alice", false);
        struct room_client *const b = join_as("bob", true);
        struct room_sender *const s[4] = {
            room_client_publish(a, ROOM_VIDEO_SIMULCAST), room_client_publish(a, ROOM_AUDIO),
            room_client_publish(b, ROOM_VIDEO_SIMULCAST), room_client_publish(b, ROOM_AUDIO)};
        assert_flows(b, s[0], 60);
        assert_flows(b, s[1], 30);
        assert_flows(a, s[2], 60);
        assert_flows(a, s[3], 30);
        check_streams(a);
        check_streams(b);
        struct worker_stats st;
        worker_get_stats(live.worker, &st);
        assert_true(st.forwarded >= 180);
        assert_true(st.datagrams_in >= 180);
        assert_int_equal(st.send_dropped, 0);
        finish();
    }
}

static void strangers_do_not_disturb(void **state)
{
    (void)state;
    room_live_init(&live, &h, false);
    struct room_client *const a = join_as("alice", false);
    struct room_client *const b = join_as("bob", false);
    struct room_sender *const s = room_client_publish(a, ROOM_VIDEO);
    assert_flows(b, s, 10);
    static uint8_t junk[1472];
    uint32_t x = 1;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof(junk); i++) {
            x = x * 1664525u + 1013904223u;
            junk[i] = (uint8_t)(x >> 24);
        }
        // STUN, DTLS, TURN channel, RTP and RTCP by their first byte.
        static const uint8_t first[] = {0, 1, 3, 20, 22, 23, 63, 64, 100, 128, 144, 191, 255};
        junk[0] = first[(size_t)round % ARRAY_LEN(first)];
        room_live_datagram(&live, bytes_of(junk, (size_t)(round * 7) % sizeof(junk)));
        room_live_run(&live, 1000);
    }
    struct worker_stats st;
    worker_get_stats(live.worker, &st);
    assert_true(st.unknown_source > 150);
    assert_flows(b, s, room_client_stream(b, s->sid)->packets + 30);
    check_streams(b);
    finish();
}

static bool all_left(void *arg)
{
    const struct room_client *const *const c = arg;
    return c[0]->closed && c[1]->closed && live.shutdowns_done > 0;
}

static void shutdown_tells_everybody(void **state)
{
    (void)state;
    room_live_init(&live, &h, false);
    struct room_client *c[2] = {join_as("alice", false), join_as("bob", true)};
    struct room_sender *const s = room_client_publish(c[0], ROOM_AUDIO);
    assert_flows(c[1], s, 10);
    struct channel_msg *const m = channel_msg_new(CHANNEL_SHUTDOWN, HANDLE_NONE);
    assert_non_null(m);
    worker_post(live.worker, m);
    assert_true(room_live_until(&live, all_left, c, LIMIT));
    for (size_t i = 0; i < 2; i++) {
        assert_true(c[i]->left);
        assert_int_equal(c[i]->leave_reason, LIVEKIT__DISCONNECT_REASON__SERVER_SHUTDOWN);
    }
    // Who comes now is sent away.
    struct room_client *late[2] = {join_as("carol", false), c[0]};
    assert_true(room_live_until(&live, all_left, late, LIMIT));
    assert_false(late[0]->joined);
    finish();
}

static void it_may_end_in_the_middle_of_everything(void **state)
{
    (void)state;
    for (int64_t ms = 0; ms < 60; ms += 4) {
        room_live_init(&live, &h, false);
        struct room_client *const a = join_as("alice", false);
        (void)join_as("bob", true);
        (void)room_client_publish(a, ROOM_VIDEO_SIMULCAST);
        room_live_run(&live, ms * US_PER_MS);
        finish(); // handshake steps and messages are under way
    }
}

static void it_may_never_have_run(void **state)
{
    (void)state;
    room_harness_init(&h, &(struct room_harness_conf){.seed = 1});
    struct worker_conf conf = {
        .binds = {addr_v4(127, 0, 0, 1, 0)},
        .bind_count = 1,
        .packet_max = 1024,
        .room = h.conf,
        .cert = h.cert,
        .fingerprint = h.fingerprint,
        .candidates = {.loopback = true},
        .cpu = -1,
    };
    const char *what = "";
    struct worker *w = NULL;
    struct worker *second = NULL;
    assert_int_equal(worker_new(&conf, &w, &what), 0);
    assert_true(worker_port(w) != 0);
    assert_int_equal(worker_candidates(w)->count, 1);
    // The port is taken.
    conf.binds[0].port = worker_port(w);
    assert_int_equal(worker_new(&conf, &second, &what), -EADDRINUSE);
    assert_string_equal(what, "bind the UDP port");
    worker_free(w);
    worker_free(NULL);
    assert_int_equal(room_harness_done(&h), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_run_over_real_sockets),
        cmocka_unit_test(strangers_do_not_disturb),
        cmocka_unit_test(shutdown_tells_everybody),
        cmocka_unit_test(it_may_end_in_the_middle_of_everything),
        cmocka_unit_test(it_may_never_have_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
