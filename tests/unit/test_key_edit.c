// SPDX-License-Identifier: Apache-2.0
// LINK: ctl
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "deploy/focictl/key_edit.h"

#define AT(s) ((wall_t){(INT64_C(1795284000) + (s)) * US_PER_S}) // 2026-11-21T18:00:00Z + s

static struct key_rotation rotation(const char *key)
{
    return (struct key_rotation){
        .now = AT(0), .overlap_s = 7200, .delay_s = 5, .key = key, .secret = "new-secret"};
}

static struct key_rotation_report report;
static struct key_file_error error;

// The text after a rotation, until the next call.
static const char *rotated(const char *text, const struct key_rotation *r)
{
    static struct dynbuf out;
    dynbuf_done(&out);
    dynbuf_init(&out, KEY_FILE_MAX);
    error = (struct key_file_error){0};
    return key_edit_rotate(bytes_str(text), r, &out, &report, &error) == 0 ? dynbuf_cstr(&out)
                                                                           : NULL;
}

#define NEW_LINE "new: new-secret # added 2026-11-21T18:00:00Z, signs 2026-11-21T18:00:05Z\n"

static void the_new_key_is_first_and_the_old_one_retires(void **state)
{
    (void)state;
    struct key_rotation const r = rotation("new");
    assert_string_equal(rotated("old: secret", &r),
                        NEW_LINE "old: secret # retires 2026-11-21T20:00:00Z\n");
    assert_string_equal(report.old, "old");
    assert_true(report.signs.us == AT(5).us && report.retires.us == AT(7200).us);
    assert_int_equal(report.removed, 0);
}

static void what_need_not_change_stays(void **state)
{
    (void)state;
    struct key_rotation const r = rotation("new");
    assert_string_equal(
        rotated("---\n# ours\r\n\n  'old' : \"a # b\"   # added 2026-01-01T00:00:00Z\r\n# more\n"
                "  other: x # of the recorder\n",
                &r),
        "---\n# ours\n\n  " NEW_LINE
        "  'old' : \"a # b\"   # added 2026-01-01T00:00:00Z, retires 2026-11-21T20:00:00Z\n"
        "# more\n  other: x # of the recorder\n");
    // The mark that some editors write does no harm in the middle.
    assert_string_equal(rotated("\xef\xbb\xbfold: s\n", &r),
                        NEW_LINE "\xef\xbb\xbfold: s # retires 2026-11-21T20:00:00Z\n");
}

static void an_earlier_end_stays_and_a_later_one_does_not(void **state)
{
    (void)state;
    struct key_rotation const r = rotation("new");
    assert_non_null(strstr(rotated("old: s # retires 2026-11-21T19:00:00Z\n", &r),
                           "\nold: s # retires 2026-11-21T19:00:00Z\n"));
    assert_true(report.retires.us == AT(3600).us);
    assert_non_null(strstr(rotated("old: s # retires 2028-01-01T00:00:00Z\n", &r),
                           "00:00:00Z, retires 2026-11-21T20:00:00Z\n"));
}

static void rotations_follow_each_other(void **state)
{
    (void)state;
    struct key_rotation r = rotation("b");
    char text[1024];
    (void)snprintf(text, sizeof(text), "%s", rotated("a: s\n", &r));
    r = rotation("c");
    r.now = AT(60);
    (void)snprintf(text, sizeof(text), "%s", rotated(text, &r));
    assert_string_equal(report.old, "b"); // a retires already
    CLEANUP(api_keys_free) struct api_keys *k = NULL;
    assert_int_equal(key_file_parse(bytes_str(text), AT(60), &k, &error), 0);
    assert_int_equal(api_keys_count(k), 3);
    assert_string_equal(api_keys_signer(k, AT(64))->key, "b");
    assert_string_equal(api_keys_signer(k, AT(65))->key, "c");
    assert_non_null(api_keys_find(k, bytes_str("a"), AT(7199)));
    assert_null(api_keys_find(k, bytes_str("a"), AT(7200)));
    assert_null(api_keys_find(k, bytes_str("b"), AT(7260)));
    // A day after its end a key is forgotten, so that the file does not grow for ever.
    r = rotation("d");
    r.now = AT(7200 + KEY_EDIT_FORGET_S);
    (void)snprintf(text, sizeof(text), "%s", rotated(text, &r));
    assert_int_equal(report.removed, 1);
    assert_null(strstr(text, "a: s"));
    for (int64_t day = 2; day < 200; day++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "k%d", (int)day);
        r = rotation(name);
        r.now = AT(day * 86400);
        const char *const next = rotated(text, &r);
        assert_non_null(next);
        (void)snprintf(text, sizeof(text), "%s", next);
    }
}

static void without_overlap_and_delay_the_change_is_at_once(void **state)
{
    (void)state;
    struct key_rotation r = rotation("new");
    r.now = (wall_t){AT(0).us + 1};
    r.overlap_s = r.delay_s = 0;
    const char *const text = rotated("old: s\n", &r);
    assert_null(strstr(text, "signs"));
    CLEANUP(api_keys_free) struct api_keys *k = NULL;
    assert_int_equal(key_file_parse(bytes_str(text), AT(1), &k, &error), 0);
    assert_string_equal(api_keys_signer(k, AT(1))->key, "new");
    assert_null(api_keys_find(k, bytes_str("old"), AT(1)));
}

static void what_is_no_key_file_is_not_touched(void **state)
{
    (void)state;
    struct key_rotation const r = rotation("new");
    assert_null(rotated("a: b\nnonsense\n", &r));
    assert_int_equal(error.line, 2);
    assert_null(rotated("", &r));
    assert_null(rotated("new: s\n", &r));
    assert_non_null(strstr(error.text, "already"));
    char text[API_KEYS_MAX * 16];
    size_t n = 0;
    for (unsigned i = 0; i < API_KEYS_MAX; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "k%u: s\n", i);
    }
    assert_null(rotated(text, &r));
    assert_non_null(strstr(error.text, "too many"));
    // One whose keys are all retired is repaired.
    assert_non_null(rotated("a: s # retires 2026-11-21T17:00:00Z\n", &r));
    assert_string_equal(report.old, "");
}

static void a_new_file_is_a_key_file(void **state)
{
    (void)state;
    struct dynbuf out;
    dynbuf_init(&out, 1024);
    key_edit_new(AT(0), "k", "s", &out);
    CLEANUP(api_keys_free) struct api_keys *k = NULL;
    assert_int_equal(key_file_parse(dynbuf_view(&out), AT(0), &k, &error), 0);
    assert_string_equal(api_keys_first(k)->key, "k");
    assert_true(api_keys_first(k)->added.us == AT(0).us);
    dynbuf_done(&out);
}

static void the_table_has_no_secrets(void **state)
{
    (void)state;
    CLEANUP(api_keys_free) struct api_keys *k = NULL;
    static const char text[] = "next: hidden1 # signs 2026-11-21T19:00:00Z\n"
                               "now: hidden2 # added 2026-11-20T18:00:00Z\n"
                               "other: hidden3 # retires 2026-11-21T20:00:00Z\n"
                               "gone: hidden4 # retires 2026-11-21T17:00:00Z\n";
    assert_int_equal(key_file_parse(bytes_str(text), AT(0), &k, &error), 0);
    struct dynbuf out;
    dynbuf_init(&out, 4096);
    key_edit_list(k, AT(0), &out);
    const char *const table = dynbuf_cstr(&out);
    assert_null(strstr(table, "hidden"));
    assert_non_null(
        strstr(table, "next                 waits     -                     2026-11-21T19:00:00Z"));
    assert_non_null(strstr(table, "now                  signs     2026-11-20T18:00:00Z"));
    assert_non_null(strstr(table, "other                verifies "));
    assert_non_null(strstr(table, "gone                 retired "));
    dynbuf_done(&out);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_new_key_is_first_and_the_old_one_retires),
        cmocka_unit_test(what_need_not_change_stays),
        cmocka_unit_test(an_earlier_end_stays_and_a_later_one_does_not),
        cmocka_unit_test(rotations_follow_each_other),
        cmocka_unit_test(without_overlap_and_delay_the_change_is_at_once),
        cmocka_unit_test(what_is_no_key_file_is_not_touched),
        cmocka_unit_test(a_new_file_is_a_key_file),
        cmocka_unit_test(the_table_has_no_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
