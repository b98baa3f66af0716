// SPDX-License-Identifier: Apache-2.0
// LINK: transport
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/transport/outbox.h"

struct sink {
    size_t flushes;
    size_t packets;
    uint8_t last;
};

static void collect(struct outbox *o, void *user)
{
    struct sink *const s = user;
    s->flushes++;
    s->packets += o->count;
    s->last = o->slots[o->count - 1].data[0];
    o->count = 0;
}

static void a_full_outbox_empties_itself_once(void **state)
{
    (void)state;
    struct sink sink = {0};
    static struct outbox o;
    assert_int_equal(outbox_init(&o, collect, &sink), 0);
    struct addr const dst = addr_v4(192, 0, 2, 1, 5000);
    for (size_t i = 0; i < OUTBOX_CAP; i++) {
        uint8_t const b = (uint8_t)i;
        assert_int_equal(outbox_add(&o, 1, &dst, bytes_of(&b, 1)), 0);
    }
    assert_int_equal(sink.flushes, 0);
    assert_int_equal(o.count, OUTBOX_CAP);
    assert_int_equal(outbox_add(&o, 1, &dst, bytes_str("x")), 0);
    assert_int_equal(sink.flushes, 1);
    assert_int_equal(sink.packets, OUTBOX_CAP);
    assert_int_equal(sink.last, (uint8_t)(OUTBOX_CAP - 1));
    assert_int_equal(o.count, 1);
    outbox_flush(&o);
    outbox_flush(&o);
    assert_int_equal(sink.flushes, 2);
    outbox_done(&o);
}

static void a_reserved_slot_is_sent_only_after_commit(void **state)
{
    (void)state;
    struct sink sink = {0};
    static struct outbox o;
    assert_int_equal(outbox_init(&o, collect, &sink), 0);
    struct outbox_slot *const s = outbox_reserve(&o);
    s->len = 5;
    s->rtp_roc = 7;
    s->protect = OUTBOX_PROTECT_RTP;
    struct outbox_slot *const again = outbox_reserve(&o);
    assert_ptr_equal(s, again);
    assert_int_equal(again->len, 0);
    assert_int_equal(again->rtp_roc, 0);
    assert_int_equal(again->protect, OUTBOX_FINAL);
    outbox_flush(&o);
    assert_int_equal(sink.flushes, 0);
    outbox_done(&o);
}

static void slots_have_head_room_and_do_not_overlap(void **state)
{
    (void)state;
    struct sink sink = {0};
    static struct outbox o;
    assert_int_equal(outbox_init(&o, collect, &sink), 0);
    for (size_t i = 0; i < OUTBOX_CAP; i++) {
        assert_int_equal((uintptr_t)o.slots[i].data % 64, 0);
        memset(o.slots[i].data - OUTBOX_HEADROOM, (int)i, OUTBOX_HEADROOM + OUTBOX_DATA_CAP);
    }
    for (size_t i = 0; i < OUTBOX_CAP; i++) {
        assert_int_equal(o.slots[i].data[-OUTBOX_HEADROOM], (uint8_t)i);
        assert_int_equal(o.slots[i].data[OUTBOX_DATA_CAP - 1], (uint8_t)i);
    }
    outbox_done(&o);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct sink sink = {0};
    static struct outbox o;
    assert_int_equal(outbox_init(&o, collect, &sink), 0);
    static uint8_t big[OUTBOX_DATA_CAP + 1];
    struct addr const dst = addr_v4(192, 0, 2, 1, 5000);
    assert_int_equal(outbox_add(&o, 0, &dst, bytes_of(big, sizeof(big))), -EMSGSIZE);
    assert_int_equal(outbox_add(&o, 0, &dst, bytes_of(big, OUTBOX_DATA_CAP)), 0);
    assert_int_equal(o.count, 1);
    outbox_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_outbox_empties_itself_once),
        cmocka_unit_test(a_reserved_slot_is_sent_only_after_commit),
        cmocka_unit_test(slots_have_head_room_and_do_not_overlap),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
