// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "sfu/media/packet_pool.h"

static void packet_pool_gives_until_empty_and_counts(void **state)
{
    (void)state;
    struct packet_pool pool;
    assert_int_equal(packet_pool_init(&pool, 100, 10), 0); // one slab of 64, two at most
    struct packet *p[129];
    size_t n = 0;
    while (n < 129 && (p[n] = packet_pool_get(&pool)) != NULL) {
        n++;
    }
    assert_int_equal(n, 64);
    assert_int_equal(packet_pool_grow(&pool, 1), 0);
    while (n < 129 && (p[n] = packet_pool_get(&pool)) != NULL) {
        n++;
    }
    assert_int_equal(n, 128);
    assert_int_equal(packet_pool_grow(&pool, 1), -ENOBUFS);
    struct packet_pool_stats st;
    packet_pool_get_stats(&pool, &st);
    assert_int_equal(st.exhausted, 2);
    assert_int_equal(st.packets_free, 0);
    while (n > 0) {
        packet_unref(p[--n]);
    }
    packet_pool_get_stats(&pool, &st);
    assert_int_equal(st.packets_free, 128);
    packet_pool_done(&pool);
}

static void packet_pool_does_not_allocate_on_the_packet_path(void **state)
{
    (void)state;
    struct packet_pool pool;
    assert_int_equal(packet_pool_init(&pool, 64, 64), 0);
    uint64_t const before = mem_thread_allocations();
    for (int i = 0; i < 1000; i++) {
        struct packet *const p = packet_pool_get(&pool);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        p->data[PACKET_DATA_CAP - 1] = 1;
        p->data[-PACKET_HEADROOM] = 1;
        packet_unref(p);
    }
    assert_int_equal(mem_thread_allocations(), before);
    packet_pool_done(&pool);
}

static void packet_lives_until_the_last_reference(void **state)
{
    (void)state;
    struct packet_pool pool;
    struct packet_pool_stats st;
    assert_int_equal(packet_pool_init(&pool, 64, 64), 0);
    struct packet *const p = packet_ref(packet_pool_get(&pool));
    packet_unref(p);
    packet_pool_get_stats(&pool, &st);
    assert_int_equal(st.packets_free, 63);
    packet_unref(p);
    packet_pool_get_stats(&pool, &st);
    assert_int_equal(st.packets_free, 64);
    packet_unref(NULL);
    packet_pool_done(&pool);
}

static void packet_compact_moves_small_packets_only(void **state)
{
    (void)state;
    struct packet_pool pool;
    struct packet_pool_stats st;
    assert_int_equal(packet_pool_init(&pool, 64, 64), 0);
    struct packet *const p = packet_pool_get(&pool);
    p->data += 4; // framing stripped
    p->len = PACKET_SMALL_CAP + 1;
    packet_compact(p);
    packet_pool_get_stats(&pool, &st);
    assert_int_equal(st.large_free, 63);
    p->len = PACKET_SMALL_CAP;
    for (unsigned i = 0; i < p->len; i++) {
        p->data[i] = (uint8_t)i;
    }
    packet_compact(p);
    packet_compact(p);
    packet_pool_get_stats(&pool, &st);
    assert_int_equal(st.large_free, 64);
    assert_int_equal(st.small_free, 63);
    for (unsigned i = 0; i < p->len; i++) {
        assert_int_equal(p->data[i], (uint8_t)i);
    }
    packet_unref(p);
    packet_pool_get_stats(&pool, &st);
    assert_int_equal(st.small_free, 64);
    packet_pool_done(&pool);
}

static void packet_pool_refuses_nonsense(void **state)
{
    (void)state;
    struct packet_pool pool;
    assert_int_equal(packet_pool_init(&pool, 0, 0), -EINVAL);
    assert_int_equal(packet_pool_init(&pool, 10, 11), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packet_pool_gives_until_empty_and_counts),
        cmocka_unit_test(packet_pool_does_not_allocate_on_the_packet_path),
        cmocka_unit_test(packet_lives_until_the_last_reference),
        cmocka_unit_test(packet_compact_moves_small_packets_only),
        cmocka_unit_test(packet_pool_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
