// SPDX-License-Identifier: Apache-2.0
// LINK: base
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/timer_heap.h"

#define N 500

static uint32_t lcg(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static void timers_come_out_in_order_after_random_changes(void **state)
{
    (void)state;
    struct timer_heap h;
    timer_heap_init(&h);
    assert_int_equal(timer_heap_reserve(&h, N), 0);
    static struct timer t[N];
    uint32_t seed = 7;
    for (int round = 0; round < 5000; round++) {
        struct timer *const x = &t[lcg(&seed) % N];
        if (lcg(&seed) % 4 == 0) {
            timer_heap_cancel(&h, x);
        } else {
            timer_heap_set(&h, x, (mono_t){(int64_t)(lcg(&seed) % 10000)});
        }
    }
    uint32_t set = 0;
    for (size_t i = 0; i < N; i++) {
        set += timer_is_set(&t[i]);
    }
    assert_int_equal(set, h.count);
    int64_t last = -1;
    uint32_t popped = 0;
    struct timer *x = NULL;
    while ((x = timer_heap_pop(&h, (mono_t){10000})) != NULL) {
        assert_true(x->at.us >= last);
        assert_false(timer_is_set(x));
        last = x->at.us;
        popped++;
    }
    assert_int_equal(popped, set);
    assert_true(mono_is_never(timer_heap_next(&h)));
    timer_heap_done(&h);
}

static void nothing_is_due_before_its_time(void **state)
{
    (void)state;
    struct timer_heap h;
    timer_heap_init(&h);
    assert_int_equal(timer_heap_reserve(&h, 1), 0);
    struct timer a = {0};
    timer_heap_set(&h, &a, (mono_t){100});
    timer_heap_set_sooner(&h, &a, (mono_t){200});
    assert_int_equal(timer_heap_next(&h).us, 100);
    assert_null(timer_heap_pop(&h, (mono_t){99}));
    assert_ptr_equal(timer_heap_pop(&h, (mono_t){100}), &a);
    timer_heap_set(&h, &a, MONO_NEVER);
    assert_false(timer_is_set(&a));
    timer_heap_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_come_out_in_order_after_random_changes),
        cmocka_unit_test(nothing_is_due_before_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
