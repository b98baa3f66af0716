// SPDX-License-Identifier: Apache-2.0
// LINK: lk
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/lk/keys.h"

#define NOW ((wall_t){INT64_C(1800000000) * US_PER_S})

static void first_pair_signs_and_all_are_found(void **state)
{
    (void)state;
    CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
    assert_null(api_keys_first(k));
    assert_int_equal(api_keys_add(k, bytes_str(" devkey\r\n"), bytes_str("devsecret\n")), 0);
    assert_int_equal(
        api_keys_add(k, bytes_str("old"), bytes_str("0123456789abcdef0123456789abcdef")), 0);
    assert_string_equal(api_keys_first(k)->key, "devkey");
    assert_string_equal(api_keys_first(k)->secret, "devsecret");
    assert_string_equal(api_keys_find(k, bytes_str("old"), NOW)->key, "old");
    assert_null(api_keys_find(k, bytes_str("ol"), NOW));
    assert_true(api_key_is_weak(api_keys_first(k)));
    assert_false(api_key_is_weak(api_keys_at(k, 1)));
    assert_null(api_keys_at(k, 2));
}

static void empty_repeated_and_unprintable_pairs_are_refused(void **state)
{
    (void)state;
    CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
    assert_int_equal(api_keys_add(k, bytes_str("a"), bytes_str("b")), 0);
    assert_int_equal(api_keys_add(k, bytes_str("a"), bytes_str("c")), -EINVAL);
    assert_int_equal(api_keys_add(k, bytes_str(" "), bytes_str("c")), -EINVAL);
    assert_int_equal(api_keys_add(k, bytes_str("x"), bytes_str("")), -EINVAL);
    assert_int_equal(api_keys_add(k, bytes_str("x\ny"), bytes_str("c")), -EINVAL);
    assert_int_equal(api_keys_count(k), 1);
}

static void a_key_file_may_hold_several_lines_comments_and_quotes(void **state)
{
    (void)state;
    CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
    unsigned line = 99;
    assert_int_equal(
        api_keys_parse(k, bytes_str("# keys\n\nnew: s:with:colons\r\n  'old' : \"quoted\"\n"),
                       &line),
        0);
    assert_int_equal(api_keys_count(k), 2);
    assert_string_equal(api_keys_first(k)->secret, "s:with:colons");
    assert_string_equal(api_keys_find(k, bytes_str("old"), NOW)->secret, "quoted");
}

static void a_wrong_key_file_names_its_line(void **state)
{
    (void)state;
    CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
    unsigned line = 99;
    assert_int_equal(api_keys_parse(k, bytes_str("a: b\nnonsense\n"), &line), -EINVAL);
    assert_int_equal(line, 2);
    assert_int_equal(api_keys_parse(k, bytes_str("# nothing\n"), &line), -EINVAL);
    assert_int_equal(line, 0);
    assert_int_equal(api_keys_parse(k, bytes_str(""), &line), -EINVAL);
}

static void the_set_is_bounded(void **state)
{
    (void)state;
    CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
    for (unsigned i = 0; i < API_KEYS_MAX; i++) {
        uint8_t const key[2] = {(uint8_t)('a' + i / 16), (uint8_t)('a' + i % 16)};
        assert_int_equal(api_keys_add(k, bytes_of(key, 2), bytes_str("s")), 0);
    }
    assert_int_equal(api_keys_add(k, bytes_str("zz"), bytes_str("s")), -E2BIG);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_pair_signs_and_all_are_found),
        cmocka_unit_test(empty_repeated_and_unprintable_pairs_are_refused),
        cmocka_unit_test(a_key_file_may_hold_several_lines_comments_and_quotes),
        cmocka_unit_test(a_wrong_key_file_names_its_line),
        cmocka_unit_test(the_set_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
