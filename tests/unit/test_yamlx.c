// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/dynbuf.h"
#include "common/svc/yamlx.h"

static struct yamlx *parsed(const char *text)
{
    char err[YAMLX_ERROR_MAX] = "";
    struct yamlx *y = NULL;
    struct yamlx_limits const limits = YAMLX_LIMITS_DEFAULT;
    if (yamlx_parse(bytes_str(text), &limits, &y, err) != 0) {
        fail_msg("%s: %s", text, err);
    }
    return y;
}

static void refused(const char *text, int want, const char *line)
{
    char err[YAMLX_ERROR_MAX] = "";
    struct yamlx *y = NULL;
    struct yamlx_limits const limits = {.max_bytes = 4096, .max_nodes = 8, .max_depth = 3};
    assert_int_equal(yamlx_parse(bytes_str(text), &limits, &y, err), want);
    assert_null(y);
    if (!strstr(err, line)) {
        fail_msg("%s: the message is \"%s\"", text, err);
    }
}

static void reads_a_registration_like_file(void **state)
{
    (void)state;
    CLEANUP(yamlx_free)
    struct yamlx *y = parsed("# comment\n"
                             "id: \"foci\"\n"
                             "url: null\n"
                             "as_token: 'it''s'\n"
                             "namespaces:\n"
                             "  users:\n"
                             "    - regex: '@.*:example\\.org'\n"
                             "      exclusive: false\n"
                             "  rooms: []\n"
                             "a.b.scopes: [ \"x:y\", z ]\n"
                             "empty:\n"
                             "block: |\n"
                             "  two\n"
                             "  lines\n"
                             "quoted: \"~\"\n");
    const struct yamlx_node *const root = yamlx_root(y);
    assert_true(yamlx_is(root, YAMLX_MAPPING));
    assert_int_equal(yamlx_len(root), 8);
    assert_string_equal(yamlx_str(yamlx_get(root, "id")), "foci");
    assert_string_equal(yamlx_str(yamlx_get(root, "as_token")), "it's");
    assert_string_equal(yamlx_str(yamlx_get(root, "block")), "two\nlines\n");
    assert_string_equal(yamlx_str(yamlx_get(root, "quoted")), "~");
    assert_true(yamlx_is_null(yamlx_get(root, "url")));
    assert_true(yamlx_is_null(yamlx_get(root, "empty")));
    assert_true(yamlx_is_null(yamlx_get(root, "absent")));
    assert_null(yamlx_str(yamlx_get(root, "url")));
    assert_int_equal(yamlx_line(yamlx_get(root, "as_token")), 4);
    const struct yamlx_node *const users = yamlx_get(yamlx_get(root, "namespaces"), "users");
    assert_int_equal(yamlx_len(users), 1);
    assert_string_equal(yamlx_str(yamlx_get(yamlx_at(users, 0), "regex")), "@.*:example\\.org");
    assert_null(yamlx_at(users, 1));
    const struct yamlx_node *const scopes = yamlx_get(root, "a.b.scopes");
    assert_string_equal(yamlx_str(yamlx_at(scopes, 0)), "x:y");
    assert_string_equal(yamlx_str(yamlx_at(scopes, 1)), "z");
    assert_null(yamlx_str(scopes));
}

static void an_empty_file_has_no_root(void **state)
{
    (void)state;
    CLEANUP(yamlx_free) struct yamlx *y = parsed("");
    assert_null(yamlx_root(y));
    CLEANUP(yamlx_free) struct yamlx *comment = parsed("# nothing\n");
    assert_null(yamlx_root(comment));
    assert_int_equal(yamlx_line(NULL), 0);
    assert_int_equal(yamlx_len(NULL), 0);
    assert_false(yamlx_is(NULL, YAMLX_SCALAR));
}

static void what_is_not_needed_is_refused_with_its_line(void **state)
{
    (void)state;
    refused("a: 1\nb: [1, 2\n", -EBADMSG, "line ");
    refused("a: &x 1\n", -EBADMSG, "line 1: anchors");
    refused("a: 1\nb: *x\n", -EBADMSG, "line 2");
    refused("a: 1\nb: 2\na: 3\n", -EBADMSG, "line 3: the key a is on line 1 already");
    refused("[a]: 1\n", -EBADMSG, "line 1: only text");
    refused("a: 1\n---\nb: 2\n", -EBADMSG, "line 2: a second document");
    refused("[[[[1]]]]\n", -E2BIG, "line 1: nested");
    refused("[1,2,3,4,5,6,7,8,9]\n", -E2BIG, "line 1: more than 8");
    refused("a: \"\\q\"\n", -EBADMSG, "line 1");
    refused("\"a\\0b\": 1\n", -EBADMSG, "line 1: a key holds");
}

static void long_files_are_not_read(void **state)
{
    (void)state;
    char err[YAMLX_ERROR_MAX] = "";
    struct yamlx *y = NULL;
    struct yamlx_limits const limits = {.max_bytes = 4, .max_nodes = 8, .max_depth = 3};
    assert_int_equal(yamlx_parse(bytes_str("a: 12"), &limits, &y, err), -E2BIG);
    assert_non_null(strstr(err, "4 bytes"));
}

static void text_with_a_zero_byte_is_no_string(void **state)
{
    (void)state;
    CLEANUP(yamlx_free) struct yamlx *y = parsed("a: \"x\\0y\"\n");
    assert_null(yamlx_str(yamlx_get(yamlx_root(y), "a")));
}

static void messages_never_quote_a_value(void **state)
{
    (void)state;
    static const char *const texts[] = {"as_token: \"sesame\nb: 1\n", "as_token: sesame: x: y\n",
                                        "as_token: !x!y sesame\n", "as_token: [sesame\n",
                                        "- sesame\nas_token: sesame\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char err[YAMLX_ERROR_MAX] = "";
        struct yamlx *y = NULL;
        struct yamlx_limits const limits = YAMLX_LIMITS_DEFAULT;
        assert_true(yamlx_parse(bytes_str(texts[i]), &limits, &y, err) < 0);
        assert_null(strstr(err, "sesame"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_registration_like_file),
        cmocka_unit_test(an_empty_file_has_no_root),
        cmocka_unit_test(what_is_not_needed_is_refused_with_its_line),
        cmocka_unit_test(long_files_are_not_read),
        cmocka_unit_test(text_with_a_zero_byte_is_no_string),
        cmocka_unit_test(messages_never_quote_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
