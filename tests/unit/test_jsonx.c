// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"

static struct jsonx *parse(const char *text, unsigned flags)
{
    struct jsonx_limits limits = JSONX_LIMITS_DEFAULT;
    limits.flags = flags;
    struct jsonx *j = NULL;
    assert_int_equal(jsonx_parse(bytes_str(text), &limits, &j), 0);
    return j;
}

static int parse_error(const char *text, unsigned flags)
{
    struct jsonx_limits limits = JSONX_LIMITS_DEFAULT;
    limits.flags = flags;
    struct jsonx *j = NULL;
    int const r = jsonx_parse(bytes_str(text), &limits, &j);
    assert_null(j);
    return r;
}

static void getters_tell_absent_from_wrong(void **state)
{
    (void)state;
    struct jsonx *const j = parse(
        "{\"s\":\"x\",\"i\":-7,\"b\":true,\"r\":1.5,\"n\":null,\"o\":{\"k\":1},\"a\":[1,2,3]}", 0);
    struct bytes s = {0};
    int64_t i = 99;
    bool b = false;
    double d = 0;
    const struct jsonx *x = NULL;
    assert_int_equal(jsonx_get_str(j, "s", &s), 0);
    assert_true(bytes_eq_str(s, "x"));
    assert_int_equal(jsonx_get_int(j, "i", &i), 0);
    assert_int_equal(i, -7);
    assert_int_equal(jsonx_get_bool(j, "b", &b), 0);
    assert_true(b);
    assert_int_equal(jsonx_get_real(j, "r", &d), 0);
    assert_int_equal(jsonx_get_int(j, "r", &i), -EINVAL);
    assert_int_equal(jsonx_get_int(j, "s", &i), -EINVAL);
    assert_int_equal(jsonx_get_int(j, "n", &i), -ENOENT);
    assert_int_equal(jsonx_get_int(j, "missing", &i), -ENOENT);
    assert_int_equal(i, -7);
    assert_int_equal(jsonx_get_object(j, "o", &x), 0);
    assert_int_equal(jsonx_get_int(x, "k", &i), 0);
    assert_int_equal(jsonx_get_object(j, "a", &x), -EINVAL);
    assert_int_equal(jsonx_get_array(j, "a", &x), 0);
    assert_int_equal(jsonx_len(x), 3);
    assert_int_equal(jsonx_int(jsonx_at(x, 2), &i), 0);
    assert_int_equal(i, 3);
    assert_null(jsonx_at(x, 3));
    assert_int_equal(jsonx_get_int(x, "k", &i), -EINVAL); // not an object
    jsonx_free(j);
}

static void lenient_integers(void **state)
{
    (void)state;
    struct jsonx *const j =
        parse("{\"a\":\"8000\",\"b\":8000.0,\"c\":8e3,\"d\":8000,\"e\":8000.5,\"f\":\"80x\",\"g\":"
              "\"\",\"h\":1e300,"
              "\"min\":\"-9223372036854775808\",\"over\":\"9223372036854775808\",\"t\":true}",
              0);
    int64_t v = 0;
    const char *const good[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        v = 0;
        assert_int_equal(jsonx_int_lenient(jsonx_get(j, good[i]), &v), 0);
        assert_int_equal(v, 8000);
    }
    const char *const bad[] = {"e", "f", "g", "h", "over", "t"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(jsonx_int_lenient(jsonx_get(j, bad[i]), &v), -EINVAL);
    }
    assert_int_equal(jsonx_int_lenient(jsonx_get(j, "min"), &v), 0);
    assert_true(v == INT64_MIN);
    jsonx_free(j);
}

static void refuses_what_is_not_json(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{not json",
                                      "{",
                                      "[1,]",
                                      "\"top\"",
                                      "12",
                                      "null",
                                      "{} {}",
                                      "\xef\xbb\xbf{}",
                                      "{\"a\":\"\n\"}",
                                      "{\"a\":\"\xff\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{\"a\":9223372036854775808}",
                                      "{\"a\":\"\\u0000\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse_error(bad[i], 0), -EBADMSG);
    }
}

static void flags_allow_more(void **state)
{
    (void)state;
    jsonx_free(parse("{} trailing", JSONX_ALLOW_TRAILING));
    struct jsonx *j = parse("null", JSONX_ANY);
    assert_int_equal(jsonx_type(j), JSONX_NULL);
    jsonx_free(j);
    assert_int_equal(parse_error("{\"a\":1,\"a\":2}", JSONX_REJECT_DUPLICATES), -EBADMSG);
    j = parse("{\"a\":1,\"a\":2}", 0);
    int64_t v = 0;
    assert_int_equal(jsonx_get_int(j, "a", &v), 0);
    assert_int_equal(v, 2);
    jsonx_free(j);
    j = parse("{\"a\":\"x\\u0000y\"}", JSONX_ALLOW_NUL);
    struct bytes s;
    const char *c = NULL;
    assert_int_equal(jsonx_get_str(j, "a", &s), 0);
    assert_int_equal(s.n, 3);
    assert_int_equal(jsonx_get_cstr(j, "a", &c), -EINVAL);
    jsonx_free(j);
}

static void repair_replaces_broken_text(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        {"{\"a\":\"x\xff\"}", "x\xef\xbf\xbd"},
        {"{\"a\":\"\\ud800\"}", "\xef\xbf\xbd"},
        {"{\"a\":\"\\udc00x\"}", "\xef\xbf\xbdx"},
        {"{\"a\":\"\\ud83d\\ude00\"}", "\xf0\x9f\x98\x80"},
        {"{\"a\":\"\\ud83d\\n\"}", "\xef\xbf\xbd\n"},
        {"{\"a\":\"\\\\ud800\"}", "\\ud800"},
        {"{\"a\":\"\xed\xa0\x80\"}", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jsonx *const j = parse(cases[i].in, JSONX_REPAIR_TEXT);
        const char *s = NULL;
        assert_int_equal(jsonx_get_cstr(j, "a", &s), 0);
        assert_string_equal(s, cases[i].out);
        jsonx_free(j);
    }
    assert_int_equal(parse_error("{\"a\":\"\\", JSONX_REPAIR_TEXT), -EBADMSG);
    assert_int_equal(parse_error("{\"a\":\"\\ud83", JSONX_REPAIR_TEXT), -EBADMSG);
}

static void caps_hold(void **state)
{
    (void)state;
    struct jsonx_limits const limits = {.max_bytes = 40, .max_depth = 2};
    struct jsonx *j = NULL;
    assert_int_equal(jsonx_parse(bytes_str("[[1]]"), &limits, &j), 0);
    jsonx_free(j);
    j = NULL;
    assert_int_equal(jsonx_parse(bytes_str("[[[1]]]"), &limits, &j), -E2BIG);
    assert_int_equal(jsonx_parse(bytes_str("[\"[[[[\\\"[[[\"]"), &limits, &j), 0);
    jsonx_free(j);
    j = NULL;
    assert_int_equal(
        jsonx_parse(bytes_str("[11111111111111111111111111111111111111111]"), &limits, &j), -E2BIG);
    assert_null(j);
}

static void unknown_keys_are_named(void **state)
{
    (void)state;
    struct jsonx *const j = parse("{\"room\":1,\"extra\":2}", 0);
    static const char *const both[] = {"room", "extra", NULL};
    static const char *const one[] = {"room", NULL};
    const char *unknown = NULL;
    assert_true(jsonx_only_keys(j, both, &unknown));
    assert_false(jsonx_only_keys(j, one, &unknown));
    assert_string_equal(unknown, "extra");
    jsonx_free(j);
}

static void built_text_is_stable(void **state)
{
    (void)state;
    struct jsonx *const j = jsonx_new_object();
    assert_int_equal(jsonx_set_cstr(j, "z", "\xc3\xa4\"/"), 0);
    assert_int_equal(jsonx_set_int(j, "a", INT64_MIN), 0);
    assert_int_equal(jsonx_set_bool(j, "b", false), 0);
    assert_int_equal(jsonx_set_null(j, "n"), 0);
    assert_int_equal(jsonx_set_real(j, "r", 0.5), 0);
    struct jsonx *const arr = jsonx_new_array();
    assert_int_equal(jsonx_add_str(arr, bytes_of("xy", 1)), 0);
    assert_int_equal(jsonx_add(arr, jsonx_new_int(4)), 0);
    assert_int_equal(jsonx_add(arr, jsonx_new_object()), 0);
    assert_int_equal(jsonx_set(j, "l", arr), 0);
    assert_int_equal(jsonx_set_cstr(j, "bad", "\xff"), -EINVAL);
    size_t n = 0;
    char *text = jsonx_dump(j, 0, &n);
    assert_string_equal(
        text,
        "{\"z\":\"\xc3\xa4\\\"/\",\"a\":-9223372036854775808,\"b\":false,\"n\":null,\"r\":0.5,"
        "\"l\":[\"x\",4,{}]}");
    assert_int_equal(n, strlen(text));
    mem_free(text);
    text = jsonx_dump(j, JSONX_SORT_KEYS, NULL);
    assert_string_equal(
        text, "{\"a\":-9223372036854775808,\"b\":false,\"l\":[\"x\",4,{}],\"n\":null,\"r\":0.5,"
              "\"z\":\"\xc3\xa4\\\"/\"}");
    mem_free(text);
    jsonx_free(j);
    jsonx_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(getters_tell_absent_from_wrong), cmocka_unit_test(lenient_integers),
        cmocka_unit_test(refuses_what_is_not_json),       cmocka_unit_test(flags_allow_more),
        cmocka_unit_test(repair_replaces_broken_text),    cmocka_unit_test(caps_hold),
        cmocka_unit_test(unknown_keys_are_named),         cmocka_unit_test(built_text_is_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
