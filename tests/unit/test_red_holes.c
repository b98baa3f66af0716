// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sfu/media/packet_info.h"
#include "sfu/media/packet_pool.h"
#include "sfu/media/red_holes.h"
#include "sfu/wire/codec.h"

#define FRAME 960u

static struct packet_pool pool;
static struct red_holes holes;

static int begin(void **state)
{
    (void)state;
    holes = (struct red_holes){0};
    return packet_pool_init(&pool, 64, 64);
}

static int end(void **state)
{
    (void)state;
    packet_pool_done(&pool);
    return 0;
}

// Number `sn` with the frame of time `frame`, whose byte it is, and `redundant` frames before it.
static struct packet *red_packet(uint64_t sn, uint32_t frame, unsigned redundant)
{
    struct packet *const p = packet_pool_get(&pool);
    assert_non_null(p);
    uint8_t bytes[3];
    struct opus_red red = {0};
    for (unsigned back = redundant + 1; back-- > 0;) {
        bytes[back] = (uint8_t)(frame - back);
        red.block[red.count++] =
            (struct opus_red_block){111, (uint16_t)(back * FRAME), {&bytes[back], 1}};
    }
    struct wr w = wr_init(p->data, PACKET_DATA_CAP);
    opus_red_write(&w, &red);
    p->len = (uint16_t)wr_len(&w);
    p->ext_sn = sn;
    p->ssrc = 7;
    p->ts = frame * FRAME;
    p->info = (struct packet_info){.payload_len = p->len};
    packet_info_payload(p, CODEC_RED, &(struct packet_info_context){0});
    return p;
}

// What fills the holes before a packet: its frames, oldest first, as text.
static void take(uint64_t sn, uint32_t frame, unsigned redundant, const char *filled)
{
    struct packet *const p = red_packet(sn, frame, redundant);
    red_holes_packet(&holes, p);
    assert_false(p->info.red_filled);
    assert_int_equal(p->info.red_holes, strlen(filled));
    for (uint8_t i = 0; i < p->info.red_holes; i++) {
        struct packet *const q = packet_pool_get(&pool);
        assert_non_null(q);
        assert_true(red_holes_fill(p, i, q));
        assert_int_equal(q->ext_sn, sn - p->info.red_holes + i);
        assert_int_equal(q->sn, (uint16_t)q->ext_sn);
        assert_int_equal(q->ts, (uint32_t)(filled[i] - '0') * FRAME);
        assert_int_equal(q->ssrc, 7);
        assert_int_equal(q->info.codec, CODEC_OPUS);
        assert_true(q->info.recovered);
        assert_int_equal(packet_payload(q).n, 1);
        assert_int_equal(packet_payload(q).p[0], filled[i] - '0');
        packet_unref(q);
    }
    struct packet *const q = packet_pool_get(&pool);
    assert_false(red_holes_fill(p, p->info.red_holes, q));
    packet_unref(q);
    packet_unref(p);
}

static void late(uint64_t sn, uint32_t frame, bool new)
{
    struct packet *const p = red_packet(sn, frame, 0);
    red_holes_packet(&holes, p);
    assert_int_equal(p->info.red_filled, !new);
    assert_int_equal(p->info.red_holes, 0);
    packet_unref(p);
}

static void what_was_lost_is_filled(void **state)
{
    (void)state;
    take(100, 1, 2, ""); // the first one: nothing was missed
    take(101, 2, 2, "");
    take(103, 4, 2, "3");
    take(106, 7, 2, "56");
    take(110, 9, 1, "8"); // more are missing than it knows of
}

static void numbers_of_padding_are_no_frames(void **state)
{
    (void)state;
    take(100, 1, 2, "");
    take(102, 2, 2, "");  // 101 was padding, lost
    take(105, 4, 2, "3"); // 103 or 104 was: the frame gets the one next to it
    struct packet *const p = packet_pool_get(&pool);
    p->ext_sn = 106;
    p->ts = 4 * FRAME;
    p->info = (struct packet_info){.padding_only = true, .codec = CODEC_RED};
    red_holes_packet(&holes, p);
    packet_unref(p);
    take(107, 5, 2, "");
    take(109, 7, 2, "6");
}

static void what_was_filled_does_not_come_again(void **state)
{
    (void)state;
    take(100, 1, 2, "");
    take(105, 6, 2, "45");
    late(104, 5, false);
    late(103, 4, false);
    late(102, 3, true); // was not filled
    take(170, 7, 0, "");
    late(104, 5, true); // so old that nobody sends it on
}

static void gaps_in_time_are_no_losses(void **state)
{
    (void)state;
    take(100, 1, 0, "");
    take(101, 9, 2, ""); // silence was not sent: redundancy from before it has no number
    take(102, 10, 0, "");
}

static void other_packets_pass(void **state)
{
    (void)state;
    take(100, 1, 2, "");
    struct packet *const plain = packet_pool_get(&pool);
    plain->ext_sn = 103;
    plain->ts = 4 * FRAME;
    plain->len = 1;
    plain->info = (struct packet_info){.codec = CODEC_OPUS, .payload_len = 1};
    red_holes_packet(&holes, plain);
    assert_int_equal(plain->info.red_holes, 0);
    packet_unref(plain);
    struct packet *const cut = red_packet(106, 7, 2);
    cut->info.payload_len = 2;
    red_holes_packet(&holes, cut);
    assert_int_equal(cut->info.red_holes, 0);
    packet_unref(cut);
    // What cannot be read is not tried (encrypted).
    struct packet *const opaque = red_packet(109, 9, 2);
    opaque->info.red_primary_off = 0;
    red_holes_packet(&holes, opaque);
    assert_int_equal(opaque->info.red_holes, 0);
    packet_unref(opaque);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_lost_is_filled),
        TEST(numbers_of_padding_are_no_frames),
        TEST(what_was_filled_does_not_come_again),
        TEST(gaps_in_time_are_no_losses),
        TEST(other_packets_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
