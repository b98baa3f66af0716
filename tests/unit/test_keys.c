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

#define AT(s)                                                                                      \
    ((wall_t){INT64_C(1795284000) * US_PER_S + (int64_t)(s)*US_PER_S}) // 2026-11-21T18:00Z

static struct api_keys *parsed(const char *text)
{
    struct api_keys *const k = api_keys_new();
    unsigned line = 99;
    if (api_keys_parse(k, bytes_str(text), &line) != 0) {
        fail_msg("line %u of %s", line, text);
    }
    return k;
}

static const char *signer_at(const struct api_keys *k, wall_t now)
{
    const struct api_key *const s = api_keys_signer(k, now);
    return s ? s->key : "nobody";
}

static void quotes_and_comments_are_those_of_yaml(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *key;
        const char *secret; // NULL: refused
    } rows[] = {
        {"a: b", "a", "b"},
        {"a:b", "a", "b"}, // as the original splits
        {"a: b#c", "a", "b#c"},
        {"a: b #c", "a", "b"},
        {"a: \"b #c\" # d", "a", "b #c"},
        {"a: \"q\\\"\\\\\"", "a", "q\"\\"},
        {"a: 'it''s'", "a", "it's"},
        {"'a:b': c", "a:b", "c"},
        {"  a  :  b  \r", "a", "b"},
        {"\xef\xbb\xbf"
         "a: b",
         "a", "b"},
        {"a: \"b", NULL, NULL},
        {"a: \"b\\n\"", NULL, NULL},
        {"a: \"b\" c", NULL, NULL},
        {"'a' x: b", NULL, NULL},
        {"a: # b", NULL, NULL},
        {"a: ''", NULL, NULL},
        {"a: b\x01", NULL, NULL},
        {": b", NULL, NULL},
        {"'", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
        unsigned line = 0;
        int const r = api_keys_parse(k, bytes_str(rows[i].line), &line);
        if ((r == 0) != (rows[i].secret != NULL)) {
            fail_msg("%s: %d", rows[i].line, r);
        }
        if (r == 0) {
            assert_string_equal(api_keys_first(k)->key, rows[i].key);
            assert_string_equal(api_keys_first(k)->secret, rows[i].secret);
        }
    }
}

static void comments_tell_times(void **state)
{
    (void)state;
    CLEANUP(api_keys_free)
    struct api_keys *k =
        parsed("a: s # ours; added 2026-11-21T17:00:00Z, signs 2026-11-21T18:00:00Z "
               "retires 2026-11-21T20:00:00Z\n"
               "b: s # retires when Bob has read this\n"
               "c: s # retires\n");
    assert_true(api_keys_at(k, 0)->added.us == AT(-3600).us);
    assert_true(api_keys_at(k, 0)->signs.us == AT(0).us);
    assert_true(api_keys_at(k, 0)->retires.us == AT(7200).us);
    for (size_t i = 1; i < 3; i++) {
        assert_true(api_keys_at(k, i)->added.us == 0 && api_keys_at(k, i)->signs.us == 0);
        assert_true(api_keys_at(k, i)->retires.us == API_KEY_NEVER.us);
    }
    static const char *const wrong[] = {"a: s # retires 2026-11-21", "a: s # signs 2026",
                                        "a: s # added 1 2 3"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        unsigned line = 0;
        assert_int_equal(api_keys_parse(k, bytes_str(wrong[i]), &line), -EINVAL);
        assert_int_equal(line, 1);
    }
}

static void a_key_retires_by_itself(void **state)
{
    (void)state;
    CLEANUP(api_keys_free)
    struct api_keys *k = parsed("new: s # signs 2026-11-21T18:00:05Z\n"
                                "old: s # retires 2026-11-21T20:00:00Z\n");
    assert_string_equal(signer_at(k, AT(4)), "old");
    assert_string_equal(signer_at(k, AT(5)), "new");
    assert_non_null(api_keys_find(k, bytes_str("new"), AT(0))); // verifies before it signs
    assert_non_null(api_keys_find(k, bytes_str("old"), AT(7199)));
    assert_null(api_keys_find(k, bytes_str("old"), AT(7200)));
    assert_false(api_keys_is_retired(k, bytes_str("old"), AT(7199)));
    assert_true(api_keys_is_retired(k, bytes_str("old"), AT(7200)));
    assert_false(api_keys_is_retired(k, bytes_str("unknown"), AT(7200)));
    assert_true(api_keys_next_change(k, AT(0)).us == AT(5).us);
    assert_true(api_keys_next_change(k, AT(5)).us == AT(7200).us);
    assert_true(api_keys_next_change(k, AT(7200)).us == API_KEY_NEVER.us);
    CLEANUP(api_keys_free) struct api_keys *last = parsed("a: s # retires 2026-11-21T20:00:00Z");
    assert_string_equal(signer_at(last, AT(7199)), "a");
    assert_null(api_keys_signer(last, AT(7200)));
    // If none is due, the soonest signs: a service without a signer serves nobody.
    CLEANUP(api_keys_free)
    struct api_keys *early = parsed("a: s # signs 2026-11-21T20:00:00Z\n"
                                    "b: s # signs 2026-11-21T19:00:00Z\n");
    assert_string_equal(signer_at(early, AT(0)), "b");
}

static void a_replaced_set_signs_with_new_keys_a_little_later(void **state)
{
    (void)state;
    int64_t const grace = 2 * US_PER_S;
    CLEANUP(api_keys_free) struct api_keys *k = parsed("old: s1\nother: s2\n");
    CLEANUP(api_keys_free) struct api_keys *from = parsed("new: s3\nother: s2\nold: s1\n");
    api_keys_replace(k, from, AT(0), grace);
    assert_int_equal(api_keys_count(from), 2); // the old content
    assert_string_equal(signer_at(k, AT(0)), "other");
    assert_string_equal(signer_at(k, AT(1)), "other");
    assert_string_equal(signer_at(k, AT(2)), "new");
    assert_non_null(api_keys_find(k, bytes_str("new"), AT(0)));
    assert_true(api_keys_next_change(k, AT(0)).us == AT(2).us);
    // The same once more, and then with another comment: the grace goes on from where it was.
    CLEANUP(api_keys_free) struct api_keys *again = parsed("new: s3\nother: s2\nold: s1\n");
    assert_true(api_keys_equal(k, again));
    CLEANUP(api_keys_free)
    struct api_keys *more = parsed("new: s3\nother: s2\nold: s1 # retires 2026-11-21T20:00:00Z\n");
    assert_false(api_keys_equal(k, more));
    api_keys_replace(k, more, AT(1), grace);
    assert_string_equal(signer_at(k, AT(2)), "new");
    // A new secret under a known name is a new key.
    CLEANUP(api_keys_free) struct api_keys *changed = parsed("new: s4\nother: s2\n");
    api_keys_replace(k, changed, AT(10), grace);
    assert_string_equal(signer_at(k, AT(11)), "other");
    assert_string_equal(signer_at(k, AT(12)), "new");
    // Nothing else can sign: then the new one does at once.
    CLEANUP(api_keys_free) struct api_keys *only = parsed("lone: s5\n");
    api_keys_replace(k, only, AT(20), grace);
    assert_string_equal(signer_at(k, AT(20)), "lone");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_pair_signs_and_all_are_found),
        cmocka_unit_test(empty_repeated_and_unprintable_pairs_are_refused),
        cmocka_unit_test(a_key_file_may_hold_several_lines_comments_and_quotes),
        cmocka_unit_test(a_wrong_key_file_names_its_line),
        cmocka_unit_test(the_set_is_bounded),
        cmocka_unit_test(quotes_and_comments_are_those_of_yaml),
        cmocka_unit_test(comments_tell_times),
        cmocka_unit_test(a_key_retires_by_itself),
        cmocka_unit_test(a_replaced_set_signs_with_new_keys_a_little_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
