// SPDX-License-Identifier: Apache-2.0
// LINK: signal
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/signal/memory_return.h"

static void memory_goes_back_once_when_half_have_left(void **state)
{
    (void)state;
    struct memory_return m = {0};
    for (size_t i = 1; i <= 100; i++) {
        memory_return_joined(&m, i);
    }
    assert_false(memory_return_is_worth_it(&m, 100));
    assert_false(memory_return_is_worth_it(&m, 51));
    assert_true(memory_return_is_worth_it(&m, 50));
    memory_return_run(&m, 60); // some came back meanwhile
    assert_int_equal(m.most, 100);
    memory_return_run(&m, 40);
    assert_int_equal(m.most, 40);
    assert_false(memory_return_is_worth_it(&m, 39));
    assert_true(memory_return_is_worth_it(&m, 20));
}

static void a_few_people_are_not_worth_it(void **state)
{
    (void)state;
    struct memory_return m = {0};
    memory_return_joined(&m, MEMORY_RETURN_PEOPLE_MIN - 1);
    assert_false(memory_return_is_worth_it(&m, 0));
    memory_return_joined(&m, MEMORY_RETURN_PEOPLE_MIN);
    assert_true(memory_return_is_worth_it(&m, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_goes_back_once_when_half_have_left),
        cmocka_unit_test(a_few_people_are_not_worth_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
