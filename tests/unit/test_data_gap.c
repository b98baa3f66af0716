// SPDX-License-Identifier: Apache-2.0
// LINK: room
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "sfu/room/data_gap.h"

static void expect(struct data_gap *g, uint32_t after, bool any, uint32_t sequence,
                   const char *text)
{
    struct data_held *const x = data_gap_take(g, after, any);
    assert_non_null(x);
    assert_int_equal(x->sequence, sequence);
    assert_int_equal(x->n, strlen(text));
    assert_memory_equal(x->data, text, x->n);
    mem_free(x);
}

static void comes_out_when_it_is_next(void **state)
{
    (void)state;
    struct data_gap g = {0};
    assert_null(data_gap_take(&g, 0, true));
    assert_int_equal(data_gap_put(&g, 5, bytes_str("five")), 0);
    assert_int_equal(data_gap_put(&g, 6, bytes_str("")), 0);
    assert_int_equal(data_gap_put(&g, 8, bytes_str("eight")), 0);
    assert_null(data_gap_take(&g, 3, false));
    expect(&g, 4, false, 5, "five");
    expect(&g, 5, false, 6, "");
    assert_null(data_gap_take(&g, 6, false));
    expect(&g, 6, true, 8, "eight");
    assert_null(data_gap_take(&g, 8, true));
    assert_int_equal(g.bytes, 0);
    assert_int_equal(data_gap_put(&g, 2, bytes_str("again from the start")), 0);
    data_gap_done(&g);
}

static void takes_only_what_is_later(void **state)
{
    (void)state;
    struct data_gap g = {0};
    assert_int_equal(data_gap_put(&g, 7, bytes_str("a")), 0);
    assert_int_equal(data_gap_put(&g, 7, bytes_str("b")), -EEXIST);
    assert_int_equal(data_gap_put(&g, 6, bytes_str("c")), -EEXIST);
    assert_int_equal(data_gap_put(&g, UINT32_MAX, bytes_str("d")), 0);
    expect(&g, 6, false, 7, "a");
    expect(&g, UINT32_MAX - 1, false, UINT32_MAX, "d");
    data_gap_done(&g);
}

static void is_bounded(void **state)
{
    (void)state;
    static uint8_t const large[60000];
    struct data_gap g = {0};
    uint32_t i = 1;
    while (data_gap_put(&g, i, bytes_of(large, sizeof(large))) == 0) {
        i++;
    }
    assert_int_equal(i, 1 + DATA_GAP_MAX / (sizeof(large) + DATA_GAP_OVERHEAD));
    assert_int_equal(data_gap_put(&g, i, bytes_of(large, sizeof(large))), -ENOSPC);
    while (data_gap_put(&g, i, bytes_str("")) == 0) {
        i++;
    }
    assert_in_range(g.bytes, DATA_GAP_MAX - DATA_GAP_OVERHEAD, DATA_GAP_MAX);
    data_gap_done(&g);
    assert_int_equal(g.bytes, 0);
    assert_int_equal(data_gap_put(&g, 1, (struct bytes){large, SIZE_MAX}), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_out_when_it_is_next),
        cmocka_unit_test(takes_only_what_is_later),
        cmocka_unit_test(is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
