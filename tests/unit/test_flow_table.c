// SPDX-License-Identifier: Apache-2.0
// LINK: transport
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/transport/flow_table.h"

static void addresses_are_found_after_growth_and_removal(void **state)
{
    (void)state;
    struct flow_table t;
    flow_table_init(&t, 42);
    int users[2];
    struct flow_owner owners[2] = {{.user = &users[0]}, {.user = &users[1]}};
    struct addr a = addr_v4(10, 0, 0, 1, 0);
    assert_null(flow_table_by_addr(&t, &a));
    for (uint16_t port = 1; port < 1000; port++) {
        a.port = port;
        assert_int_equal(flow_table_set_addr(&t, &a, &owners[port % 2]), 0);
    }
    for (uint16_t port = 1; port < 1000; port++) {
        a.port = port;
        assert_ptr_equal(flow_table_by_addr(&t, &a), &users[port % 2]);
        if (port % 3 == 0) {
            flow_table_remove_addr(&t, &a, &owners[port % 2]);
            assert_null(flow_table_by_addr(&t, &a));
        }
    }
    assert_int_equal(t.addr_count, 666);
    flow_table_done(&t);
}

static void an_address_moves_and_its_former_owner_cannot_remove_it(void **state)
{
    (void)state;
    struct flow_table t;
    flow_table_init(&t, 42);
    int users[2];
    struct flow_owner first = {.user = &users[0]};
    struct flow_owner second = {.user = &users[1]};
    struct addr const a = addr_v4(10, 0, 0, 1, 7);
    assert_int_equal(flow_table_set_addr(&t, &a, &first), 0);
    assert_int_equal(flow_table_set_addr(&t, &a, &second), 0);
    flow_table_remove_addr(&t, &a, &first);
    assert_ptr_equal(flow_table_by_addr(&t, &a), &users[1]);
    assert_null(first.addrs);
    assert_int_equal(t.addr_count, 1);
    flow_table_done(&t);
}

static void ufrags_are_unique(void **state)
{
    (void)state;
    struct flow_table t;
    flow_table_init(&t, 42);
    int user;
    struct flow_owner o = {.user = &user};
    assert_int_equal(flow_table_add_ufrag(&t, "abcd", &o), 0);
    assert_int_equal(flow_table_add_ufrag(&t, "abcd", &o), -EEXIST);
    assert_int_equal(flow_table_add_ufrag(&t, "", &o), -EINVAL);
    assert_ptr_equal(flow_table_by_ufrag(&t, bytes_str("abcd")), &user);
    assert_null(flow_table_by_ufrag(&t, bytes_str("abcde")));
    flow_table_remove_ufrag(&t, "abcd");
    flow_table_remove_ufrag(&t, "abcd");
    assert_null(flow_table_by_ufrag(&t, bytes_str("abcd")));
    flow_table_done(&t);
}

static void an_owner_takes_along_what_is_its_own_and_no_more(void **state)
{
    (void)state;
    struct flow_table t;
    flow_table_init(&t, 42);
    int users[2];
    struct flow_owner owners[2] = {{.user = &users[0]}, {.user = &users[1]}};
    struct addr a = addr_v4(10, 0, 0, 1, 0);
    for (uint16_t port = 1; port < 200; port++) {
        a.port = port;
        assert_int_equal(flow_table_set_addr(&t, &a, &owners[port % 2]), 0);
    }
    // Moved and moved back: still in one list only.
    assert_int_equal(flow_table_set_addr(&t, &a, &owners[0]), 0);
    assert_int_equal(flow_table_set_addr(&t, &a, &owners[1]), 0);
    assert_int_equal(flow_table_add_ufrag(&t, "abcd", &owners[0]), 0);
    assert_int_equal(flow_table_add_ufrag(&t, "efgh", &owners[0]), 0);
    assert_int_equal(flow_table_add_ufrag(&t, "ijkl", &owners[1]), 0);
    flow_table_forget(&t, &owners[0]);
    for (uint16_t port = 1; port < 200; port++) {
        a.port = port;
        assert_ptr_equal(flow_table_by_addr(&t, &a), port % 2 == 1 ? &users[1] : NULL);
    }
    assert_null(flow_table_by_ufrag(&t, bytes_str("abcd")));
    assert_ptr_equal(flow_table_by_ufrag(&t, bytes_str("ijkl")), &users[1]);
    assert_null(owners[0].addrs);
    flow_table_forget(&t, &owners[0]); // again: nothing happens
    flow_table_forget(&t, &owners[1]);
    assert_int_equal(t.addr_count, 0);
    assert_null(t.ufrags);
    flow_table_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_found_after_growth_and_removal),
        cmocka_unit_test(an_address_moves_and_its_former_owner_cannot_remove_it),
        cmocka_unit_test(ufrags_are_unique),
        cmocka_unit_test(an_owner_takes_along_what_is_its_own_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
