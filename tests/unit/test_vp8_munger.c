// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/vp8_munger.h"

static struct vp8_desc desc(uint16_t picture, uint8_t tl0, uint8_t tid)
{
    return (struct vp8_desc){.len = 6,
                             .has_picture_id = true,
                             .picture_id_15 = true,
                             .picture_id = picture,
                             .has_tl0 = true,
                             .tl0_pic_idx = tl0,
                             .has_tid = true,
                             .tid = tid};
}

static struct vp8_desc sent(struct vp8_munger *m, struct vp8_desc d, enum rtp_munger_place place,
                            uint8_t max)
{
    struct vp8_desc out;
    assert_int_equal(vp8_munger_packet(m, &d, place, max, &out), VP8_MUNGER_SEND);
    return out;
}

static void vp8_munger_continues_every_counter_over_a_switch(void **state)
{
    (void)state;
    struct vp8_munger m;
    vp8_munger_init(&m);
    struct vp8_desc d = sent(&m, desc(0x7ffe, 255, 0), RTP_MUNGER_NEXT, 3);
    assert_int_equal(d.picture_id, 0x7ffe);
    assert_int_equal(d.tl0_pic_idx, 255);
    d = sent(&m, desc(0x7fff, 0, 0), RTP_MUNGER_NEXT, 3);
    vp8_munger_switch(&m);
    d = sent(&m, desc(500, 77, 0), RTP_MUNGER_NEXT, 3);
    assert_int_equal(d.picture_id, 0); // 0x7fff + 1
    assert_int_equal(d.tl0_pic_idx, 1);
    d = sent(&m, desc(500, 77, 0), RTP_MUNGER_NEXT, 3); // second packet of the picture
    assert_int_equal(d.picture_id, 0);
    d = sent(&m, desc(501, 78, 0), RTP_MUNGER_NEXT, 3);
    assert_int_equal(d.picture_id, 1);
    assert_int_equal(d.tl0_pic_idx, 2);
}

static void vp8_munger_closes_picture_ids_behind_dropped_pictures(void **state)
{
    (void)state;
    struct vp8_munger m;
    struct vp8_desc out;
    vp8_munger_init(&m);
    uint16_t expect = 10;
    for (uint16_t i = 0; i < 40; i++) {
        uint8_t const tid = (uint8_t)(i % 4 == 0 ? 0 : i % 2 == 0 ? 1 : 2);
        struct vp8_desc const d = desc((uint16_t)(10 + i), (uint8_t)(i / 4), tid);
        for (int packet = 0; packet < 3; packet++) {
            enum vp8_munger_result const res = vp8_munger_packet(&m, &d, RTP_MUNGER_NEXT, 1, &out);
            assert_int_equal(res, tid == 2 ? VP8_MUNGER_LEAVE_OUT : VP8_MUNGER_SEND);
            if (tid < 2) {
                assert_int_equal(out.picture_id, expect);
                assert_int_equal(out.tl0_pic_idx, i / 4); // counts base pictures only
            }
        }
        expect = (uint16_t)(expect + (tid < 2));
    }
}

static void vp8_munger_sends_whatever_follows_a_gap(void **state)
{
    (void)state;
    struct vp8_munger m;
    struct vp8_desc out;
    vp8_munger_init(&m);
    (void)sent(&m, desc(10, 0, 0), RTP_MUNGER_NEXT, 0);
    // 11 is lost; the packet behind the gap goes out although its layer is too high, with the rest
    // of its picture.
    assert_int_equal(sent(&m, desc(12, 0, 2), RTP_MUNGER_GAP, 0).picture_id, 12);
    assert_int_equal(sent(&m, desc(12, 0, 2), RTP_MUNGER_NEXT, 0).picture_id, 12);
    struct vp8_desc d = desc(13, 0, 2);
    assert_int_equal(vp8_munger_packet(&m, &d, RTP_MUNGER_NEXT, 0, &out), VP8_MUNGER_LEAVE_OUT);
    assert_int_equal(sent(&m, desc(14, 1, 0), RTP_MUNGER_NEXT, 0).picture_id, 13);
    // The late one keeps the offset of its time, whatever its layer.
    assert_int_equal(sent(&m, desc(11, 0, 1), RTP_MUNGER_LATE, 0).picture_id, 11);
    d = desc(13, 0, 2);
    assert_int_equal(vp8_munger_packet(&m, &d, RTP_MUNGER_LATE, 0, &out), VP8_MUNGER_LATE);
    d = desc(9, 0, 0);
    assert_int_equal(vp8_munger_packet(&m, &d, RTP_MUNGER_LATE, 0, &out), VP8_MUNGER_LATE);
}

static void vp8_munger_knows_that_a_gap_belongs_to_a_dropped_picture(void **state)
{
    (void)state;
    struct vp8_munger m;
    struct vp8_desc out;
    vp8_munger_init(&m);
    (void)sent(&m, desc(10, 0, 0), RTP_MUNGER_NEXT, 0);
    struct vp8_desc const d = desc(11, 0, 2);
    assert_int_equal(vp8_munger_packet(&m, &d, RTP_MUNGER_NEXT, 0, &out), VP8_MUNGER_LEAVE_OUT);
    assert_int_equal(vp8_munger_packet(&m, &d, RTP_MUNGER_GAP, 0, &out), VP8_MUNGER_LEAVE_OUT_GAP);
    assert_int_equal(sent(&m, desc(12, 1, 0), RTP_MUNGER_NEXT, 0).picture_id, 11);
}

static void vp8_munger_knows_that_a_gap_behind_a_dropped_picture_is_its_end(void **state)
{
    (void)state;
    struct vp8_munger m;
    struct vp8_desc out;
    vp8_munger_init(&m);
    (void)sent(&m, desc(10, 0, 0), RTP_MUNGER_NEXT, 0);
    struct vp8_desc d = desc(11, 0, 2);
    assert_int_equal(vp8_munger_packet(&m, &d, RTP_MUNGER_NEXT, 0, &out), VP8_MUNGER_LEAVE_OUT);
    d = desc(12, 1, 0);
    assert_false(vp8_munger_gap_was_left_out(&m, &d)); // the beginning of 12 may be lost as well
    d.start = true;
    assert_true(vp8_munger_gap_was_left_out(&m, &d));
    d = desc(13, 1, 0);
    d.start = true;
    assert_false(vp8_munger_gap_was_left_out(&m, &d)); // or all of 12
}

static void vp8_munger_finishes_a_picture_when_the_limit_falls_in_the_middle(void **state)
{
    (void)state;
    struct vp8_munger m;
    struct vp8_desc out;
    vp8_munger_init(&m);
    (void)sent(&m, desc(10, 0, 0), RTP_MUNGER_NEXT, 2);
    (void)sent(&m, desc(11, 0, 2), RTP_MUNGER_NEXT, 2);
    assert_int_equal(sent(&m, desc(11, 0, 2), RTP_MUNGER_NEXT, 0).picture_id, 11);
    struct vp8_desc const d = desc(12, 0, 2);
    assert_int_equal(vp8_munger_packet(&m, &d, RTP_MUNGER_NEXT, 0, &out), VP8_MUNGER_LEAVE_OUT);
}

static void vp8_munger_widens_picture_ids(void **state)
{
    (void)state;
    struct vp8_munger m;
    vp8_munger_init(&m);
    struct vp8_desc d = desc(126, 0, 0);
    d.picture_id_15 = false;
    for (int i = 0; i < 4; i++) {
        d.picture_id = (uint16_t)((126 + i) & 0x7f);
        struct vp8_desc const out = sent(&m, d, RTP_MUNGER_NEXT, 0);
        assert_true(out.picture_id_15);
        assert_int_equal(out.picture_id, 126 + i); // no wrap at 128
    }
}

static void vp8_munger_passes_stripped_descriptors(void **state)
{
    (void)state;
    struct vp8_munger m;
    vp8_munger_init(&m);
    struct vp8_desc const d = {.len = 1, .start = true};
    struct vp8_desc const out = sent(&m, d, RTP_MUNGER_NEXT, 0);
    assert_false(out.has_picture_id || out.has_tl0 || out.has_tid || out.picture_id_15);
    assert_true(out.start);
    (void)sent(&m, d, RTP_MUNGER_LATE, 0);
    vp8_munger_switch(&m);
    (void)sent(&m, d, RTP_MUNGER_NEXT, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vp8_munger_continues_every_counter_over_a_switch),
        cmocka_unit_test(vp8_munger_closes_picture_ids_behind_dropped_pictures),
        cmocka_unit_test(vp8_munger_sends_whatever_follows_a_gap),
        cmocka_unit_test(vp8_munger_knows_that_a_gap_belongs_to_a_dropped_picture),
        cmocka_unit_test(vp8_munger_knows_that_a_gap_behind_a_dropped_picture_is_its_end),
        cmocka_unit_test(vp8_munger_finishes_a_picture_when_the_limit_falls_in_the_middle),
        cmocka_unit_test(vp8_munger_widens_picture_ids),
        cmocka_unit_test(vp8_munger_passes_stripped_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
