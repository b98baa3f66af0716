// SPDX-License-Identifier: Apache-2.0
// LINK: app
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/app/key_source.h"
#include "common/sys/log.h"

#define NOW ((wall_t){INT64_C(1795284000) * US_PER_S})
#define GOOD "Zt4pQ8sLw2Xn6Vb1Mc9Rk3Hf7Jd5Gy0TaUeIoPqS"

static char folder[] = "/tmp/foci-keysource-XXXXXX";
static char paths[3][64];

static const char *put(size_t i, const void *text, size_t n, mode_t mode)
{
    (void)unlink(paths[i]);
    int const fd = open(paths[i], O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
    return paths[i];
}

#define PUT(i, text, mode) put(i, text, sizeof(text) - 1, mode)

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths) && (i > 0 || mkdtemp(folder)); i++) {
        (void)snprintf(paths[i], sizeof(paths[i]), "%s/%zu", folder, i);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        (void)unlink(paths[i]);
    }
    return rmdir(folder);
}

// Reads what must be good; the first key is `first`.
static size_t good(const struct key_source *s, const char *first, size_t keys)
{
    struct key_source_result r;
    struct key_source_error e = {0};
    if (key_source_read(s, NOW, &r, &e) < 0) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(api_keys_count(r.keys), keys);
    assert_string_equal(api_keys_first(r.keys)->key, first);
    api_keys_free(r.keys);
    return r.finding_count;
}

static struct key_source_error bad(const struct key_source *s, int want)
{
    struct key_source_result r = {0};
    struct key_source_error e = {.part = KEY_SOURCE_PART_COUNT};
    assert_int_equal(key_source_read(s, NOW, &r, &e), want);
    assert_null(r.keys);
    assert_null(strstr(e.text, GOOD));
    assert_null(strchr(e.text, '\n'));
    return e;
}

static void lines_come_from_a_file_or_a_setting(void **state)
{
    (void)state;
    struct key_source const file = {.file = PUT(0, "\n\na: " GOOD "\nb: " GOOD "2\n", 0600)};
    assert_int_equal(good(&file, "a", 2), 0);
    struct key_source const text = {.text = "c: " GOOD};
    assert_int_equal(good(&text, "c", 1), 0);
    (void)PUT(0, "\n\na: " GOOD "\nb\n", 0600);
    struct key_source_error e = bad(&file, -EINVAL);
    assert_int_equal(e.part, KEY_SOURCE_LINES);
    assert_int_equal(e.line, 4); // as an editor counts
    e = bad(&(struct key_source){.file = "/nonexistent/keys"}, -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/keys"));
    assert_int_equal(bad(&(struct key_source){.file = folder}, -EISDIR).line, 0);
    static char huge[KEY_FILE_MAX + 1];
    memset(huge, '\n', sizeof(huge));
    (void)put(0, huge, sizeof(huge), 0600);
    (void)bad(&file, -EFBIG);
}

static void a_pair_may_stand_in_files(void **state)
{
    (void)state;
    const char *const key = PUT(0, " a\r\n", 0644);
    const char *const secret = PUT(1, GOOD "\r\n", 0600);
    assert_int_equal(good(&(struct key_source){.key = "k", .secret = GOOD}, "k", 1), 0);
    assert_int_equal(
        good(&(struct key_source){.key = "k", .key_file = key, .secret_file = secret}, "a", 1), 0);
    (void)PUT(1, GOOD, 0644);
    assert_int_equal(good(&(struct key_source){.key = "k", .secret_file = secret}, "k", 1), 1);
    struct key_source const s = {.key_file = key, .secret_file = secret};
    (void)PUT(1, "\r\n", 0600);
    assert_int_equal(bad(&s, -EINVAL).part, KEY_SOURCE_SECRET);
    (void)PUT(1, "a\0b", 0600);
    assert_non_null(strstr(bad(&s, -EINVAL).text, "control"));
    (void)PUT(0, "", 0600);
    assert_int_equal(bad(&s, -EINVAL).part, KEY_SOURCE_KEY);
    (void)unlink(secret);
    assert_int_equal(bad(&s, -ENOENT).part, KEY_SOURCE_SECRET);
    assert_int_equal(bad(&(struct key_source){0}, -EINVAL).part, KEY_SOURCE_KEY);
}

static void strict_services_take_no_sample_and_no_weak_secret(void **state)
{
    (void)state;
    static const char *const secrets[] = {"secret", "0123456789abcdef",
                                          "your-own-secret-of-more-than-32-characters"};
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        struct key_source s = {.key = "k", .secret = secrets[i]};
        assert_int_equal(good(&s, "k", 1), 1);
        s.strict = true;
        struct key_source_error const e = bad(&s, -EINVAL);
        assert_int_equal(e.part, KEY_SOURCE_SECRET);
        assert_non_null(strstr(e.text, "focictl keys generate"));
        assert_non_null(strstr(e.text, "openssl rand"));
        assert_true(i == 0 || !strstr(e.text, secrets[i])); // the first is an English word
    }
    struct key_source const readable = {.file = PUT(0, "a: " GOOD, 0644), .strict = true};
    assert_int_equal(good(&readable, "a", 1), 1); // container secrets are like that
}

static void the_files_to_watch_are_named(void **state)
{
    (void)state;
    const char *files[KEY_SOURCE_PART_COUNT];
    assert_int_equal(key_source_files(&(struct key_source){.text = "a: b"}, files), 0);
    assert_int_equal(key_source_files(&(struct key_source){.file = "f", .key_file = "k"}, files),
                     1);
    assert_string_equal(files[0], "f");
    assert_int_equal(
        key_source_files(&(struct key_source){.key_file = "k", .secret_file = "s"}, files), 2);
    assert_string_equal(files[1], "s");
}

static char lines[4][512];
static size_t line_count;

static void on_line(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    assert_int_equal(level, LOG_LEVEL_WARN);
    (void)snprintf(lines[line_count++ % 4], sizeof(lines[0]), "%.*s", (int)line.n,
                   (const char *)line.p);
}

static void findings_are_warnings(void **state)
{
    (void)state;
    struct key_source_result r;
    struct key_source_error e;
    struct key_source const s = {.file = PUT(0, "devkey: secret\n", 0644)};
    assert_int_equal(key_source_read(&s, NOW, &r, &e), 0);
    log_set_sink(on_line, NULL);
    key_source_log(r.findings, r.finding_count);
    log_set_sink(NULL, NULL);
    assert_int_equal(line_count, 2);
    assert_non_null(strstr(lines[0], "sample_secret"));
    assert_non_null(strstr(lines[0], "devkey"));
    assert_non_null(strstr(lines[1], "readable_file"));
    api_keys_free(r.keys);
}

static void generated_pairs_are_good_and_differ(void **state)
{
    (void)state;
    char seen[64][KEY_SECRET_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        char key[KEY_NAME_SIZE];
        key_source_generate(key, seen[i]);
        assert_int_equal(strlen(key), KEY_NAME_SIZE - 1);
        assert_int_equal(strlen(seen[i]), KEY_SECRET_SIZE - 1);
        assert_int_equal(strncmp(key, "API", 3), 0);
        for (const char *c = seen[i]; *c; c++) {
            assert_true((*c >= '0' && *c <= '9') || ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z'));
        }
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(seen[k], seen[i]);
        }
        assert_int_equal(
            good(&(struct key_source){.key = key, .secret = seen[i], .strict = true}, key, 1), 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_from_a_file_or_a_setting),
        cmocka_unit_test(a_pair_may_stand_in_files),
        cmocka_unit_test(strict_services_take_no_sample_and_no_weak_secret),
        cmocka_unit_test(the_files_to_watch_are_named),
        cmocka_unit_test(findings_are_warnings),
        cmocka_unit_test(generated_pairs_are_good_and_differ),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
