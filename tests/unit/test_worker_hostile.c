// SPDX-License-Identifier: Apache-2.0
// REALTIME
// LINK: worker
// SUPPORT: room_live room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber
//
// A member of a call, with valid keys, who sends a worker everything that its keys let it send; and
// strangers at its port. Over real sockets: the call beside it gets every packet, and whoever asks for
// much gets little more than its share.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/media/rtcp_out.h"
#include "sfu/transport/peer_connection_internal.h"
#include "tests/support/room_live.h"

#define S(n) ((int64_t)(n)*US_PER_S)
#define LIMIT S(30)
#define ATTACK S(1)
#define PER_TURN 20 // packets of the attacker each millisecond

static struct room_harness h;
static struct room_live live;
static struct room_client *alice, *bob, *mallory;
static struct room_sender *camera, *voice, *noise;

static void wait_for(const struct room_client *c, const struct room_sender *s, uint64_t packets)
{
    if (!room_live_flows(&live, c, s, packets, LIMIT)) {
        fail_msg("%s got %" PRIu64 " of %" PRIu64 " packets", c->identity, room_live_received(c, s),
                 packets);
    }
}

static int begin(void **state)
{
    (void)state;
    room_live_init(&live, &h, false);
    alice = room_client_join(&h, &(struct room_client_conf){.identity = "alice"});
    bob = room_client_join(&h, &(struct room_client_conf){.identity = "bob", .v0 = true});
    mallory = room_client_join(&h, &(struct room_client_conf){.identity = "mallory"});
    camera = room_client_publish(alice, ROOM_VIDEO);
    voice = room_client_publish(alice, ROOM_AUDIO);
    noise = room_client_publish(mallory, ROOM_AUDIO);
    wait_for(bob, camera, 20);
    wait_for(bob, voice, 20);
    wait_for(mallory, camera, 20);
    wait_for(bob, noise, 5);
    return 0;
}

static int end(void **state)
{
    (void)state;
    room_live_done(&live);
    unsigned const n = room_harness_done(&h);
    if (n > 0) {
        print_message("%u violations, the first: %s\n", n, h.violation);
    }
    return n > 0 ? -1 : 0;
}

// ---- what is sent ----------------------------------------------------------------------------

static struct rng rng;

static size_t random_size(size_t max)
{
    return 1 + rng_u32(&rng) % max;
}

static void send_rtp(struct room_pc *pc, uint8_t *data, size_t n, size_t header)
{
    (void)!peer_connection_send_rtp(pc->pc, bytes_of(data, n), header, rng_u32(&rng), &pc->ep.out);
}

// Any header: payload types, SSRCs, sources, extensions and padding that are not there, jumps.
static void noise_as_rtp(struct room_pc *pc)
{
    uint8_t data[1200];
    rng_bytes(&rng, data, sizeof(data));
    size_t const n = 12 + random_size(sizeof(data) - 12);
    data[0] = (uint8_t)(0x80 | (data[0] & 0x3f));
    if (rng_u32(&rng) % 2 == 0) {
        struct wr w = wr_init(data + 8, 4);
        wr_be32(&w, noise->audio_ssrc);
        data[1] = 111;
    }
    send_rtp(pc, data, n, 12);
}

// The sender's own SSRC, its numbers all over the place, padding longer than the packet.
static void jumps(struct room_pc *pc)
{
    uint8_t data[64] = {0xa0, 111};
    struct wr w = wr_init(data + 2, sizeof(data) - 2);
    wr_be16(&w, (uint16_t)rng_u32(&rng));
    wr_be32(&w, rng_u32(&rng));
    wr_be32(&w, noise->audio_ssrc);
    data[sizeof(data) - 1] = (uint8_t)rng_u32(&rng);
    send_rtp(pc, data, rng_u32(&rng) % 2 == 0 ? 13 : sizeof(data), 12);
}

static void many_ssrcs(struct room_pc *pc)
{
    uint8_t data[100] = {0x80, 111};
    rng_bytes(&rng, data + 2, 10);
    send_rtp(pc, data, sizeof(data), 12);
}

static void send_rtcp(struct room_pc *pc, const uint8_t *data, size_t n)
{
    (void)!peer_connection_send_rtcp(pc->pc, bytes_of(data, n), &pc->ep.out);
}

static void noise_as_rtcp(struct room_pc *pc)
{
    static const uint8_t types[] = {200, 201, 202, 203, 204, 205, 206, 207, 192, 208};
    uint8_t data[1000];
    rng_bytes(&rng, data, sizeof(data));
    size_t const n = 8 + random_size(sizeof(data) - 8) / 4 * 4;
    data[0] = (uint8_t)(0x80 | (data[0] & 0x3f));
    data[1] = types[rng_u32(&rng) % ARRAY_LEN(types)];
    if (rng_u32(&rng) % 2 == 0) {
        struct wr w = wr_init(data + 2, 2);
        wr_be16(&w, (uint16_t)(n / 4 - 1));
    }
    send_rtcp(pc, data, n);
}

// The whole history, again and again, of what it receives.
static void nacks(struct room_pc *pc)
{
    const struct room_stream *const st = room_client_stream(mallory, camera->sid);
    struct rtcp_out o;
    uint8_t buf[RTCP_OUT_CAP];
    size_t n = 0;
    uint16_t sns[200];
    for (size_t i = 0; i < ARRAY_LEN(sns); i++) {
        sns[i] = (uint16_t)(st->highest - ARRAY_LEN(sns) + 1 + i);
    }
    rtcp_out_init(&o, 0x60000000u);
    (void)!rtcp_out_add_nack(&o, st->ssrc, sns, ARRAY_LEN(sns));
    (void)!rtcp_out_add_pli(&o, rng_u32(&rng));
    if (rtcp_out_finish(&o, (struct bytes_mut){buf, sizeof(buf)}, &n) == 0) {
        send_rtcp(pc, buf, n);
    }
}

static void pli(struct room_pc *pc)
{
    const struct room_stream *const st = room_client_stream(mallory, camera->sid);
    struct rtcp_out o;
    uint8_t buf[RTCP_OUT_CAP];
    size_t n = 0;
    rtcp_out_init(&o, 0x60000000u);
    (void)!rtcp_out_add_pli(&o, st->ssrc);
    if (rtcp_out_finish(&o, (struct bytes_mut){buf, sizeof(buf)}, &n) == 0) {
        send_rtcp(pc, buf, n);
    }
}

// Under DTLS: what is no SCTP packet, and chunks of every type for associations that are not there,
// among them an INIT in the middle of one.
static void noise_as_sctp(struct room_pc *pc)
{
    uint8_t data[1100];
    rng_bytes(&rng, data, sizeof(data));
    struct wr w = wr_init(data, sizeof(data));
    wr_be16(&w, 5000);
    wr_be16(&w, 5000);
    size_t n = random_size(sizeof(data));
    if (rng_u32(&rng) % 3 == 0) {
        wr_be32(&w, 0);
        wr_be32(&w, 0);
        data[12] = (uint8_t)(rng_u32(&rng) % 16);
        n = 12 + 20 + rng_u32(&rng) % 64 * 4;
        struct wr len = wr_init(data + 14, 2);
        wr_be16(&len, (uint16_t)(n - 12));
    }
    (void)!dtls_transport_send(pc->pc->dtls, bytes_of(data, n), &pc->ep.out, pc->pc->path.local,
                               &pc->pc->path.dst);
}

static void send_plain(struct room_pc *pc, const uint8_t *data, size_t n)
{
    const struct peer_connection_path *const path = peer_connection_path(pc->pc);
    (void)!outbox_add(&pc->ep.out, path->local, &path->dst, bytes_of(data, n));
}

// From the address that the session speaks from, but with no key.
static void noise_as_records(struct room_pc *pc)
{
    static const uint8_t first[] = {20, 21, 22, 23, 25, 0, 1, 64, 128, 255};
    uint8_t data[1200];
    rng_bytes(&rng, data, sizeof(data));
    data[0] = first[rng_u32(&rng) % ARRAY_LEN(first)];
    data[1] = 0xfe;
    data[2] = 0xfd;
    size_t const n = random_size(sizeof(data));
    if (data[0] == 22 && n > 25) {
        struct wr w = wr_init(data + 11, 3);
        wr_be16(&w, (uint16_t)(n - 13));
        data[13] = (uint8_t)(rng_u32(&rng) % 2); // ClientHello, HelloRequest
    }
    send_plain(pc, data, n);
}

// ---- the measure -----------------------------------------------------------------------------

static void under(const char *name, void (*attack)(struct room_pc *pc))
{
    rng_seed(&rng, (const uint8_t[RNG_SEED_LEN]){1});
    uint64_t const sent[2] = {camera->packets, voice->packets};
    uint64_t const got[2] = {room_live_received(bob, camera), room_live_received(bob, voice)};
    uint64_t const theirs = room_live_received(mallory, camera);
    struct worker_stats before;
    struct worker_stats after;
    worker_get_stats(live.worker, &before);
    struct room_pc *const pc = mallory->publisher;
    mono_t const until = mono_add_us(h.now, ATTACK);
    while (mono_before(h.now, until)) {
        for (int i = 0; i < PER_TURN; i++) {
            pc->ep.now = h.now;
            attack(pc);
            outbox_flush(&pc->ep.out);
        }
        room_live_run(&live, US_PER_MS);
    }
    worker_get_stats(live.worker, &after);
    // Everything that was sent meanwhile arrives, and as it was.
    wait_for(bob, camera, got[0] + camera->packets - sent[0]);
    wait_for(bob, voice, got[1] + voice->packets - sent[1]);
    const struct room_stream *st = NULL;
    DL_FOREACH(bob->streams, st)
    {
        assert_true(st->audio || st->model.corrupt == 0);
    }
    print_message(
        "%-10s %" PRIu64 " datagrams to the worker, %" PRIu64 " forwarded; camera %" PRIu64
        " sent, %" PRIu64 " to bob, %" PRIu64 " to the attacker\n",
        name, after.datagrams_in - before.datagrams_in, after.forwarded - before.forwarded,
        camera->packets - sent[0], room_live_received(bob, camera) - got[0],
        room_live_received(mallory, camera) - theirs);
    assert_false(bob->left || alice->left);
}

static void media_that_is_none(void **state)
{
    (void)state;
    under("rtp", noise_as_rtp);
    under("jumps", jumps);
    under("ssrcs", many_ssrcs);
}

static void reports_that_are_none(void **state)
{
    (void)state;
    under("rtcp", noise_as_rtcp);
}

static void who_asks_for_everything_gets_its_share(void **state)
{
    (void)state;
    uint64_t const sent = camera->packets;
    struct worker_stats before;
    struct worker_stats after;
    worker_get_stats(live.worker, &before);
    under("nack", nacks);
    worker_get_stats(live.worker, &after);
    // camera and voice to two, noise to two; and a fifth of the camera's bytes once more, with what was
    // saved before.
    assert_true(after.forwarded - before.forwarded < 8 * (camera->packets - sent) + 1000);
    uint64_t const keys = camera->model.keys;
    under("pli", pli);
    assert_true(camera->model.keys - keys <= 6);
}

static void data_that_is_none(void **state)
{
    (void)state;
    under("sctp", noise_as_sctp);
    under("records", noise_as_records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(media_that_is_none, begin, end),
        cmocka_unit_test_setup_teardown(reports_that_are_none, begin, end),
        cmocka_unit_test_setup_teardown(who_asks_for_everything_gets_its_share, begin, end),
        cmocka_unit_test_setup_teardown(data_that_is_none, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
