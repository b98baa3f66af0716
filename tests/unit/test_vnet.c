// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// SUPPORT: vnet

// The virtual network that simulations trust: same seed same course, and each property for itself.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/vnet.h"

static struct addr a(uint16_t port)
{
    return addr_v4(10, 0, 0, 1, port);
}

static struct addr b(void)
{
    return addr_v4(192, 0, 2, 1, 9);
}

// Sends n numbered datagrams of 972 bytes (1000 with headers), one each spacing_us; returns how
// many arrive and fills when and which.
static size_t flood(struct vnet *n, size_t count, int64_t spacing_us, int64_t *when,
                    uint32_t *which, size_t cap)
{
    struct addr const src = a(1);
    struct addr const dst = b();
    for (size_t i = 0; i < count; i++) {
        uint8_t d[972] = {(uint8_t)(i >> 8), (uint8_t)i};
        vnet_send(n, (mono_t){(int64_t)i * spacing_us}, &src, &dst, bytes_of(d, sizeof(d)));
    }
    size_t got = 0;
    struct vnet_datagram d;
    while (!mono_is_never(vnet_deadline(n))) {
        mono_t const t = vnet_deadline(n);
        while (vnet_next(n, t, &d) && got < cap) {
            when[got] = t.us;
            which[got++] = (uint32_t)((d.data.p[0] << 8) | d.data.p[1]);
        }
    }
    return got;
}

static int64_t when[4000];
static uint32_t which[4000];

static void a_perfect_wire_delays_and_keeps_order(void **state)
{
    (void)state;
    struct vnet *const n = vnet_new(1);
    struct vnet_link const l = {.delay_us = 5000, .jitter_us = 3000};
    vnet_set_link(n, NULL, NULL, &l);
    assert_int_equal(flood(n, 500, 100, when, which, 4000), 500);
    for (size_t i = 0; i < 500; i++) {
        assert_int_equal(which[i], i);
        assert_true(when[i] >= (int64_t)i * 100 + 5000);
    }
    vnet_free(n);
}

static void loss_duplication_and_reordering_have_their_rates(void **state)
{
    (void)state;
    struct vnet *const n = vnet_new(2);
    struct vnet_link const l = {.delay_us = 1000,
                                .jitter_us = 5000,
                                .reorder = true,
                                .loss_ppm = 100000,
                                .dup_ppm = 100000};
    vnet_set_link(n, NULL, NULL, &l);
    size_t const got = flood(n, 2000, 1000, when, which, 4000);
    const struct vnet_stats *const s = vnet_stats(n);
    assert_int_equal(s->sent, 2000);
    assert_in_range(s->lost, 150, 250);
    assert_in_range(s->duplicated, 130, 230);
    assert_int_equal(got, s->sent - s->lost + s->duplicated);
    size_t inversions = 0;
    for (size_t i = 1; i < got; i++) {
        inversions += which[i] < which[i - 1];
    }
    assert_true(inversions > 300);
    vnet_free(n);
}

static void the_same_seed_gives_the_same_course(void **state)
{
    (void)state;
    static uint32_t again[4000];
    static int64_t when_again[4000];
    struct vnet_link const l = {
        .jitter_us = 9000, .reorder = true, .loss_ppm = 50000, .burst_ppm = 1000, .burst_len = 9};
    size_t count[2];
    for (int i = 0; i < 2; i++) {
        struct vnet *const n = vnet_new(7);
        vnet_set_link(n, NULL, NULL, &l);
        count[i] = flood(n, 1000, 500, i == 0 ? when : when_again, i == 0 ? which : again, 4000);
        vnet_free(n);
    }
    assert_int_equal(count[0], count[1]);
    assert_memory_equal(which, again, count[0] * sizeof(which[0]));
    assert_memory_equal(when, when_again, count[0] * sizeof(when[0]));
}

static void a_bottleneck_spaces_and_drops_at_the_tail(void **state)
{
    (void)state;
    struct vnet *const n = vnet_new(3);
    struct vnet_link const l = {.rate_bps = 800000, .queue_bytes = 10000}; // 100 datagrams a second
    vnet_set_link(n, NULL, NULL, &l);
    size_t const got = flood(n, 200, 5000, when, which, 4000); // twice as many
    assert_in_range(got, 105, 115);                            // half of them, and the queue
    for (size_t i = 1; i < got; i++) {
        assert_int_equal(when[i] - when[i - 1], 10000);
    }
    assert_int_equal(vnet_stats(n)->queue_drops, 200 - got);
    vnet_free(n);
}

static void the_most_specific_link_wins(void **state)
{
    (void)state;
    struct vnet *const n = vnet_new(4);
    struct vnet_link const dead = {.down = true};
    struct vnet_link const good = {.delay_us = 10};
    struct addr const src = a(1);
    struct addr const other = a(2);
    struct addr const dst = b();
    vnet_set_link(n, NULL, NULL, &dead);
    vnet_set_link(n, &src, NULL, &good);
    vnet_send(n, (mono_t){0}, &src, &dst, bytes_str("x"));
    vnet_send(n, (mono_t){0}, &other, &dst, bytes_str("y"));
    vnet_set_link(n, &src, &dst, &dead);
    vnet_send(n, (mono_t){0}, &src, &dst, bytes_str("z"));
    struct vnet_datagram d;
    assert_true(vnet_next(n, (mono_t){10}, &d));
    assert_int_equal(d.data.p[0], 'x');
    assert_false(vnet_next(n, (mono_t){1000}, &d));
    vnet_free(n);
}

static void a_nat_hides_and_rebinds(void **state)
{
    (void)state;
    struct vnet *const n = vnet_new(5);
    struct addr const inside = a(1);
    struct addr const first = addr_v4(198, 51, 100, 1, 1000);
    struct addr const second = addr_v4(198, 51, 100, 1, 2000);
    struct addr const dst = b();
    struct vnet_datagram d;
    vnet_map(n, &inside, &first);
    vnet_send(n, (mono_t){0}, &inside, &dst, bytes_str("x"));
    assert_true(vnet_next(n, (mono_t){0}, &d));
    assert_true(addr_eq(&d.src, &first));
    vnet_map(n, &inside, &second);
    vnet_send(n, (mono_t){0}, &dst, &first, bytes_str("late"));
    vnet_send(n, (mono_t){0}, &dst, &second, bytes_str("good"));
    assert_true(vnet_next(n, (mono_t){0}, &d));
    assert_false(addr_eq(&d.dst, &inside));
    assert_true(vnet_next(n, (mono_t){0}, &d));
    assert_true(addr_eq(&d.dst, &inside));
    vnet_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_perfect_wire_delays_and_keeps_order),
        cmocka_unit_test(loss_duplication_and_reordering_have_their_rates),
        cmocka_unit_test(the_same_seed_gives_the_same_course),
        cmocka_unit_test(a_bottleneck_spaces_and_drops_at_the_tail),
        cmocka_unit_test(the_most_specific_link_wins),
        cmocka_unit_test(a_nat_hides_and_rebinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
