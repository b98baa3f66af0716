// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/rx_buffer.h"

static struct packet_pool pool;

static int setup(void **state)
{
    (void)state;
    return packet_pool_init(&pool, 4096, 2048);
}

static int teardown(void **state)
{
    (void)state;
    packet_pool_done(&pool); // asserts that every reference was given up
    return 0;
}

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

static enum rx_buffer_result put(struct rx_buffer *b, mono_t now, uint64_t sn)
{
    struct packet *const p = packet_pool_get(&pool);
    assert_non_null(p);
    p->ext_sn = sn;
    p->arrival = now;
    enum rx_buffer_result const r = rx_buffer_put(b, now, p);
    packet_unref(p);
    return r;
}

static void rx_buffer_keeps_packets_by_number(void **state)
{
    (void)state;
    struct rx_buffer b;
    assert_int_equal(rx_buffer_init(&b, 128, 1024), 0);
    assert_null(rx_buffer_peek(&b, 1));
    assert_int_equal(put(&b, ms(0), 70000), RX_BUFFER_STORED);
    assert_int_equal(put(&b, ms(1), 70002), RX_BUFFER_STORED);
    assert_int_equal(put(&b, ms(2), 69999), RX_BUFFER_STORED); // overtaken by the first one
    assert_int_equal(put(&b, ms(2), 70002), RX_BUFFER_DUPLICATE);
    assert_int_equal(put(&b, ms(3), 70001), RX_BUFFER_STORED);
    assert_int_equal(put(&b, ms(3), 69000), RX_BUFFER_TOO_OLD);
    for (uint64_t sn = 69999; sn <= 70002; sn++) {
        assert_int_equal(rx_buffer_peek(&b, sn)->ext_sn, sn);
    }
    assert_null(rx_buffer_peek(&b, 70003));
    assert_null(rx_buffer_peek(&b, 70002 + 128)); // same slot, other number
    assert_int_equal(b.count, 4);
    rx_buffer_flush(&b);
    assert_null(rx_buffer_peek(&b, 70002));
    assert_int_equal(put(&b, ms(4), 5), RX_BUFFER_STORED);
    rx_buffer_done(&b);
    rx_buffer_done(&b);
}

static void rx_buffer_window_is_a_time(void **state)
{
    (void)state;
    struct rx_buffer b;
    assert_int_equal(rx_buffer_init(&b, 128, 128), 0);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(put(&b, ms(20 * i), 1000 + i), RX_BUFFER_STORED);
    }
    // 1.2 s are 60 packets of 20 ms.
    assert_null(rx_buffer_peek(&b, 1000 + 99 - 60));
    assert_non_null(rx_buffer_peek(&b, 1000 + 99 - 59));
    assert_int_equal(put(&b, ms(1980), 1000 + 99 - 60), RX_BUFFER_TOO_OLD);
    rx_buffer_timeout(&b, ms(1980 + 1199));
    assert_non_null(rx_buffer_peek(&b, 1099));
    rx_buffer_timeout(&b, ms(1980 + 1200));
    assert_int_equal(b.count, 0);
    assert_int_equal(put(&b, ms(9000), 1100), RX_BUFFER_STORED); // goes on
    rx_buffer_done(&b);
}

static void rx_buffer_grows_outside_of_the_packet_path(void **state)
{
    (void)state;
    struct rx_buffer b;
    assert_int_equal(rx_buffer_init(&b, 128, 512), 0);
    uint64_t sn = 1;
    for (unsigned t = 0; t < 12; t++) {
        for (unsigned i = 0; i < 50; i++) {
            assert_int_equal(put(&b, ms(100 * t + 2 * i), sn++), RX_BUFFER_STORED);
        }
        rx_buffer_timeout(&b, ms(100 * t + 99));
    }
    assert_int_equal(b.cap, 512); // 500 packets/s over 1.2 s
    for (uint64_t s = sn - 400; s < sn; s++) {
        assert_int_equal(rx_buffer_peek(&b, s)->ext_sn, s);
    }
    rx_buffer_done(&b);
}

static void rx_buffer_survives_jumps(void **state)
{
    (void)state;
    struct rx_buffer b;
    assert_int_equal(rx_buffer_init(&b, 128, 128), 0);
    assert_int_equal(put(&b, ms(0), 100), RX_BUFFER_STORED);
    assert_int_equal(put(&b, ms(0), 200), RX_BUFFER_STORED);
    assert_int_equal(put(&b, ms(0), 250), RX_BUFFER_STORED);
    assert_null(rx_buffer_peek(&b, 100));
    assert_int_equal(put(&b, ms(0), 100000), RX_BUFFER_STORED);
    assert_int_equal(b.count, 1);
    assert_int_equal(put(&b, ms(0), 250), RX_BUFFER_TOO_OLD);
    assert_int_equal(put(&b, ms(0), 100000 - 127), RX_BUFFER_STORED);
    assert_int_equal(put(&b, ms(0), 100000 - 128), RX_BUFFER_TOO_OLD);
    rx_buffer_done(&b);
    assert_int_equal(rx_buffer_init(&b, 100, 128), -EINVAL);
    assert_int_equal(rx_buffer_init(&b, 256, 128), -EINVAL);
    assert_int_equal(rx_buffer_init(&b, 64, 128), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rx_buffer_keeps_packets_by_number),
        cmocka_unit_test(rx_buffer_window_is_a_time),
        cmocka_unit_test(rx_buffer_grows_outside_of_the_packet_path),
        cmocka_unit_test(rx_buffer_survives_jumps),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
