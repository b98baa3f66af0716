// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "jwt-service/appservice/as_config.h"

#define AS "as-token-0123456789"
#define HS "hs-token-0123456789"

static const char good[] = "id: foci\n"
                           "as_token: \"" AS "\"\n"
                           "hs_token: " HS "\n"
                           "url: null\n"
                           "namespaces:\n"
                           "  users:\n"
                           "  - {regex: '@.*:example.org', exclusive: false}\n"
                           "io.element.msc4502.scopes:\n"
                           "- \"urn:matrix:client:io.element.msc4502:rooms:is_joined\"\n"
                           "io.element.msc4512.proxy_prefix: rtc/livekit\n"
                           "io.element.msc4512.proxy_url: http://127.0.0.1:8080\n";

static char folder[] = "/tmp/foci-as-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/as.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text)
{
    FILE *const f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0640), 0);
}

static struct as_settings settings(const char *as, const char *hs, const char *file)
{
    return (struct as_settings){
        .as_token = {as, "environment LIVEKIT_AS_TOKEN"},
        .hs_token = {hs, "environment LIVEKIT_HS_TOKEN"},
        .registration_file = {file, "environment LIVEKIT_AS_REGISTRATION_FILE"},
        .server_name = {"example.org", "environment LIVEKIT_HS_SERVER_NAME"},
    };
}

static struct as_config *loaded(const struct as_settings *s)
{
    char err[CONF_ERROR_MAX] = "";
    struct as_config *c = NULL;
    if (as_config_load(s, &c, err) != 0) {
        fail_msg("%s", err);
    }
    return c;
}

// The message must hold all of the words and none of the tokens.
static void refused(const struct as_settings *s, const char *const *words)
{
    char err[CONF_ERROR_MAX] = "";
    struct as_config *c = NULL;
    assert_int_equal(as_config_load(s, &c, err), -EINVAL);
    assert_null(c);
    for (; *words; words++) {
        if (!strstr(err, *words)) {
            fail_msg("\"%s\" does not say \"%s\"", err, *words);
        }
    }
    assert_null(strstr(err, "0123456789"));
}

#define REFUSED(s, ...) refused((s), (const char *const[]){__VA_ARGS__, NULL})

static void without_tokens_the_mode_is_off(void **state)
{
    (void)state;
    struct as_settings s = settings(NULL, "", NULL);
    assert_null(loaded(&s));
}

static void two_tokens_are_enough(void **state)
{
    (void)state;
    struct as_settings s = settings(AS, HS, NULL);
    CLEANUP(as_config_free) struct as_config *c = loaded(&s);
    assert_string_equal(c->as_token, AS);
    assert_string_equal(c->hs_token, HS);
    assert_string_equal(c->server_name, "example.org");
    assert_false(c->from_file);
    as_config_log(c);
}

static void a_registration_is_enough(void **state)
{
    (void)state;
    write_file(good);
    struct as_settings s = settings(NULL, NULL, path);
    CLEANUP(as_config_free) struct as_config *c = loaded(&s);
    assert_string_equal(c->as_token, AS);
    assert_string_equal(c->hs_token, HS);
    assert_true(c->from_file);
    assert_false(c->file_readable_by_others);
    assert_true(c->registration.may_query_joined);
    assert_true(c->registration.has_users);
    assert_string_equal(c->registration.proxy_prefix, AS_PROXY_PREFIX);
    assert_string_equal(c->registration.id, "foci");
    as_config_log(c);
}

static void both_ways_are_fine_while_they_agree(void **state)
{
    (void)state;
    write_file(good);
    struct as_settings s = settings(AS, HS, path);
    CLEANUP(as_config_free) struct as_config *c = loaded(&s);
    assert_string_equal(c->as_token, AS);
    struct as_settings other = settings("another-one-0123456789", HS, path);
    REFUSED(&other, "LIVEKIT_AS_TOKEN (environment LIVEKIT_AS_TOKEN)", "as.yaml:2", "remove");
    struct as_settings third = settings(AS, "another-one-0123456789", path);
    REFUSED(&third, "LIVEKIT_HS_TOKEN (environment LIVEKIT_HS_TOKEN)", "as.yaml:3");
}

static void half_a_setting_names_the_other_half(void **state)
{
    (void)state;
    struct as_settings s = settings(AS, NULL, NULL);
    REFUSED(&s, "hs_token is missing", "LIVEKIT_HS_TOKEN");
    s = settings(NULL, HS, NULL);
    REFUSED(&s, "as_token is missing", "LIVEKIT_AS_TOKEN");
    s = settings(AS, HS, NULL);
    s.server_name.value = "";
    REFUSED(&s, "LIVEKIT_HS_SERVER_NAME");
    s.server_name.value = "https://example.org";
    REFUSED(&s, "LIVEKIT_HS_SERVER_NAME", "is no server name");
}

static void tokens_that_cannot_be_right_are_refused(void **state)
{
    (void)state;
    struct as_settings s = settings("a b 0123456789", HS, NULL);
    REFUSED(&s, "LIVEKIT_AS_TOKEN (environment LIVEKIT_AS_TOKEN)", "character");
    s = settings("@AS_TOKEN@", HS, NULL);
    REFUSED(&s, "placeholder");
    s = settings(AS, AS, NULL);
    REFUSED(&s, "the same");
    s = settings(AS, "CHANGE-ME-0123456789", NULL);
    REFUSED(&s, "LIVEKIT_HS_TOKEN", "placeholder");
}

static void bad_files_are_named_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *words[3];
    } rows[] = {
        {"as_token: [x-0123456789\n", {"as.yaml", "line"}},
        {"- 1\n", {"as.yaml", "no registration"}},
        {"", {"as.yaml", "no registration"}},
        {"id: x\nas_token: " AS "\n", {"as.yaml:1", "hs_token is missing"}},
        {"id: x\nhs_token: " HS "\nas_token: [a]\n", {"as.yaml:3", "as_token is missing"}},
        {"as_token: \"@AS_TOKEN@\"\nhs_token: " HS "\n", {"as.yaml:1", "placeholder"}},
        {"as_token: " AS "\nhs_token: \"\"\n", {"as.yaml:2", "empty"}},
        {"as_token: " AS "\nas_token: " AS "\n", {"as.yaml", "line 2", "line 1 already"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_file(rows[i].text);
        struct as_settings s = settings(NULL, NULL, path);
        for (size_t k = 0; k < 3 && rows[i].words[k]; k++) {
            REFUSED(&s, rows[i].words[k]);
        }
    }
    struct as_settings s = settings(NULL, NULL, "/nowhere/as.yaml");
    REFUSED(&s, "/nowhere/as.yaml", "LIVEKIT_AS_REGISTRATION_FILE", "No such file");
}

static void stable_names_count_as_well(void **state)
{
    (void)state;
    static const char text[] = "as_token: a\nhs_token: b\nproxy_prefix: rtc/livekit\n"
                               "scopes: [other, 'urn:matrix:client:rooms:is_joined']\n"
                               "namespaces: {users: []}\n";
    char err[CONF_ERROR_MAX] = "";
    struct as_registration r;
    assert_int_equal(as_registration_parse(bytes_str(text), "x", &r, err), 0);
    assert_true(r.has_scopes && r.may_query_joined);
    assert_false(r.has_users);
    assert_string_equal(r.proxy_prefix, "rtc/livekit");
    assert_int_equal(r.proxy_prefix_line, 3);
    as_registration_done(&r);
}

// ---- what the operator is told --------------------------------------------------------------

static char told[4096];

static void on_line(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    size_t const n = strlen(told);
    (void)snprintf(told + n, sizeof(told) - n, "%.*s\n", (int)line.n, (const char *)line.p);
}

static void what_will_not_work_is_told(void **state)
{
    (void)state;
    write_file("as_token: short\nhs_token: shorter\nnamespaces: {}\n");
    assert_int_equal(chmod(path, 0644), 0);
    struct as_settings s = settings(NULL, NULL, path);
    CLEANUP(as_config_free) struct as_config *c = loaded(&s);
    told[0] = '\0';
    log_set_sink(on_line, NULL);
    as_config_log(c);
    log_set_sink(NULL, NULL);
    static const char *const events[] = {
        "appservice.on",       "appservice.token_short", "appservice.file_readable",
        "appservice.no_scope", "appservice.no_proxy",    "appservice.no_users"};
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (!strstr(told, events[i])) {
            fail_msg("%s is not in %s", events[i], told);
        }
    }
    assert_null(strstr(told, "shorter"));
}

// The example, filled in as its first lines say.
static void the_example_is_complete(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n = 0;
    char err[CONF_ERROR_MAX] = "";
    struct as_registration r;
    assert_int_equal(conf_read_file("deploy/synapse/foci-appservice.yaml.in", 1 << 16, &text, &n),
                     0);
    assert_int_equal(as_registration_parse(bytes_of(text, n), "example", &r, err), -EINVAL);
    assert_non_null(strstr(err, "placeholder"));
    memcpy(strstr(text, "\"@AS_TOKEN@\"") + 1, "0123456789", 10);
    memcpy(strstr(text, "\"@HS_TOKEN@\"") + 1, "abcdefghij", 10);
    assert_int_equal(as_registration_parse(bytes_of(text, n), "example", &r, err), 0);
    assert_true(r.may_query_joined && r.has_users);
    assert_string_equal(r.proxy_prefix, AS_PROXY_PREFIX);
    as_registration_done(&r);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_tokens_the_mode_is_off),
        cmocka_unit_test(two_tokens_are_enough),
        cmocka_unit_test(a_registration_is_enough),
        cmocka_unit_test(both_ways_are_fine_while_they_agree),
        cmocka_unit_test(half_a_setting_names_the_other_half),
        cmocka_unit_test(tokens_that_cannot_be_right_are_refused),
        cmocka_unit_test(bad_files_are_named_with_their_line),
        cmocka_unit_test(stable_names_count_as_well),
        cmocka_unit_test(what_will_not_work_is_told),
        cmocka_unit_test(the_example_is_complete),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
