// SPDX-License-Identifier: Apache-2.0
// LINK: lk
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/lk/key_file.h"

#define NOW ((wall_t){INT64_C(1795284000) * US_PER_S}) // 2026-11-21T18:00:00Z
#define GOOD "Zt4pQ8sLw2Xn6Vb1Mc9Rk3Hf7Jd5Gy0TaUeIoPqS"

static struct api_keys *read_text(const char *text)
{
    struct api_keys *k = NULL;
    struct key_file_error e;
    assert_int_equal(key_file_parse(bytes_str(text), NOW, &k, &e), 0);
    return k;
}

static void a_file_of_livekit_is_read(void **state)
{
    (void)state;
    CLEANUP(api_keys_free)
    struct api_keys *k = read_text("---\n# ours\nnew: " GOOD "\n\"old\": 'it''s # no comment'\n");
    assert_int_equal(api_keys_count(k), 2);
    assert_string_equal(api_keys_first(k)->secret, GOOD);
    assert_string_equal(api_keys_at(k, 1)->secret, "it's # no comment");
}

static void what_is_no_key_file_names_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
        const char *says;
    } rows[] = {
        {"", 0, "holds no key"},
        {"# nothing\n\n", 0, "holds no key"},
        {"a: b\nnonsense\n", 2, "key: secret"},
        {"keys:\n  a: b\n", 1, "key: secret"}, // a part of livekit.yaml
        {"\n\na: b\na: c\n", 4, "each key once"},
        {"a: b # retires 2026-02-30T00:00:00Z\n", 1, "2026-11-21T18:00:00Z"},
        {"a: b # retires 2026-11-21T17:59:59Z\n", 0, "retired"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct api_keys *k = NULL;
        struct key_file_error e = {.line = 99};
        assert_int_equal(key_file_parse(bytes_str(rows[i].text), NOW, &k, &e), -EINVAL);
        assert_null(k);
        assert_int_equal(e.line, rows[i].line);
        if (!strstr(e.text, rows[i].says)) {
            fail_msg("\"%s\" lacks %s", e.text, rows[i].says);
        }
    }
    char text[API_KEYS_MAX * 16 + 32];
    size_t n = 0;
    for (unsigned i = 0; i <= API_KEYS_MAX; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "k%u: secret\n", i);
    }
    struct api_keys *k = NULL;
    struct key_file_error e;
    assert_int_equal(key_file_parse(bytes_str(text), NOW, &k, &e), -EINVAL);
    assert_int_equal(e.line, API_KEYS_MAX + 1);
    assert_non_null(strstr(e.text, "too many"));
}

static void sample_secrets_are_known(void **state)
{
    (void)state;
    static const char *const samples[] = {
        "devkey: secret",
        "devkey: devsecret",
        "key1: secret1",
        "APIwLeah7g4fuLYDYAJeaKsSE: 8nTlwISkb-63DPP7OH4e.nw.J44JjicvZDiz8J59EoQ+",
        "foci: your-secret-with-more-than-32-characters",
        "foci: CHANGEMECHANGEMECHANGEMECHANGEME",
        "foci: <put the output of openssl rand here>",
        "a-key-that-is-its-own-secret-and-long: a-key-that-is-its-own-secret-and-long",
    };
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        CLEANUP(api_keys_free) struct api_keys *k = read_text(samples[i]);
        if (!key_file_is_sample(api_keys_first(k))) {
            fail_msg("%s", samples[i]);
        }
    }
    CLEANUP(api_keys_free) struct api_keys *k = read_text("foci: " GOOD);
    assert_false(key_file_is_sample(api_keys_first(k)));
}

static void findings_are_told_by_weight(void **state)
{
    (void)state;
    struct key_finding f[KEY_FINDINGS_MAX];
    CLEANUP(api_keys_free)
    struct api_keys *k = read_text("weak: k2j34h5 # retires 2027-01-01T00:00:00Z\n"
                                   "devkey: secret # retires 2027-01-01T00:00:00Z\n"
                                   "was: short # retires 2026-01-01T00:00:00Z\n"
                                   "good: " GOOD " # retires 2027-01-01T00:00:00Z\n");
    static const enum key_finding_kind kinds[] = {KEY_FINDING_SAMPLE, KEY_FINDING_WRITABLE,
                                                  KEY_FINDING_READABLE, KEY_FINDING_LAST,
                                                  KEY_FINDING_WEAK};
    assert_int_equal(key_file_findings(k, NOW, 0666, f), ARRAY_LEN(kinds));
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        assert_int_equal(f[i].kind, kinds[i]);
        assert_true(strlen(f[i].text) + 1 < sizeof(f[i].text)); // nothing was cut
        assert_null(strstr(f[i].text, "k2j34h5"));
    }
    assert_string_equal(f[0].key, "devkey");
    assert_null(f[1].key);
    assert_string_equal(f[4].key, "weak");
    // 640 is how a file is shared by the users of two services.
    CLEANUP(api_keys_free) struct api_keys *good = read_text("good: " GOOD);
    assert_int_equal(key_file_findings(good, NOW, 0640, f), 0);
    assert_int_equal(key_file_findings(good, NOW, 0, f), 0);
    assert_int_equal(key_file_findings(good, NOW, 0644, f), 1);
    assert_int_equal(key_file_findings(good, NOW, 0660, f), 1);
    assert_string_equal(key_finding_name(KEY_FINDING_LAST), "no_lasting_key");
}

static void findings_are_bounded(void **state)
{
    (void)state;
    struct key_finding f[KEY_FINDINGS_MAX];
    CLEANUP(api_keys_free) struct api_keys *k = api_keys_new();
    for (unsigned i = 0; i < API_KEYS_MAX; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "k%u", i);
        assert_int_equal(api_keys_add(k, bytes_str(name), bytes_str("secret")), 0);
    }
    assert_int_equal(key_file_findings(k, NOW, 0, f), KEY_FINDINGS_MAX);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_livekit_is_read),
        cmocka_unit_test(what_is_no_key_file_names_its_line),
        cmocka_unit_test(sample_secrets_are_known),
        cmocka_unit_test(findings_are_told_by_weight),
        cmocka_unit_test(findings_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
