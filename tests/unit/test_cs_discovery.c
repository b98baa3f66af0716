// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: cs_well_known
// Finding the client-server API: the document, the cache and its life (authorization-service 7.6),
// on a virtual clock and with answers made by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/sys/log.h"
#include "jwt-service/leave/cs_discovery.h"
#include "tests/unit/virtual_http.h"

#define DOCUMENT(url) "{\"m.homeserver\":{\"base_url\":\"" url "\"}}"
#define HOUR_MS INT64_C(3600000)

static struct cs_discovery *discovery;

static bool trusts(void *user, const char *name)
{
    (void)user;
    return strcmp(name, "own.example") == 0;
}

static void quiet(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    (void)line;
}

static int setup(void **state)
{
    (void)state;
    static const struct cs_override overrides[] = {
        {"127.0.0.1:8448", "http://127.0.0.1:18009//"},
        {"not a server name", "https://x.example"},
    };
    log_set_sink(quiet, NULL);
    virtual_reset();
    discovery = cs_discovery_new(&(struct cs_discovery_conf){.loop = virtual_loop(),
                                                             .http = virtual_http(),
                                                             .overrides = overrides,
                                                             .override_count = 2,
                                                             .trusts = trusts});
    return discovery ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    cs_discovery_free(discovery);
    assert_null(virtual_calls);
    assert_null(virtual_timers);
    log_set_sink(NULL, NULL);
    return 0;
}

struct waiter {
    struct cs_query *query;
    unsigned told;
    char base_url[CS_BASE_URL_MAX + 1];
    bool trusted;
    bool cached;
    char step[16];
    char text[400];
};

static void on_found(void *user, const struct cs_result *r)
{
    struct waiter *const w = user;
    w->told++;
    w->query = NULL;
    w->base_url[0] = w->step[0] = w->text[0] = 0;
    if (r->location) {
        (void)snprintf(w->base_url, sizeof(w->base_url), "%s", r->location->base_url);
        w->trusted = r->location->trusted;
        w->cached = r->location->cached;
    } else {
        (void)snprintf(w->step, sizeof(w->step), "%s", r->step);
        (void)snprintf(w->text, sizeof(w->text), "%s", r->text);
    }
}

static void ask(struct waiter *w, const char *name)
{
    *w = (struct waiter){0};
    assert_int_equal(cs_discovery_start(discovery, name, on_found, w, &w->query), 0);
    assert_int_equal(w->told, 0);
    run_ms(0);
}

// Asks for a name and answers with a document that is kept for 4 hours.
static void learn(const char *name, const char *document)
{
    struct waiter w;
    ask(&w, name);
    assert_non_null(virtual_calls);
    answer_call(virtual_calls, 200, document);
    assert_int_equal(w.told, 1);
    assert_true(w.base_url[0]);
}

static void overrides_need_no_request(void **state)
{
    (void)state;
    struct cs_location l;
    struct waiter w;
    assert_int_equal(cs_discovery_known(discovery, "127.0.0.1:8448", &l), 0);
    assert_string_equal(l.base_url, "http://127.0.0.1:18009");
    assert_true(l.trusted);
    assert_false(l.cached);
    ask(&w, "not a server name");
    assert_string_equal(w.base_url, "https://x.example");
    assert_int_equal(virtual_started, 0);
    assert_int_equal(cs_discovery_known(discovery, "127.0.0.1", &l), -ENOENT);
}

static void names_that_are_none_are_refused(void **state)
{
    (void)state;
    struct cs_query *q = NULL;
    struct waiter w = {0};
    assert_int_equal(cs_discovery_start(discovery, "a/b", on_found, &w, &q), -EINVAL);
    assert_int_equal(cs_discovery_start(discovery, "", on_found, &w, &q), -EINVAL);
    assert_int_equal(virtual_started, 0);
}

static void a_document_serves_all_who_wait_and_later_ones(void **state)
{
    (void)state;
    struct waiter w[20];
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        ask(&w[i], "x.example");
    }
    assert_int_equal(virtual_started, 1);
    assert_string_equal(virtual_calls->url, "https://x.example/.well-known/matrix/client");
    assert_int_equal(virtual_calls->max_redirects, 5);
    assert_true(virtual_calls->https_only);
    assert_false(virtual_calls->trusted);
    cs_discovery_cancel(w[3].query);
    answer_call(virtual_calls, 200, DOCUMENT("https://matrix.x.example/"));
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        assert_int_equal(w[i].told, i == 3 ? 0 : 1);
    }
    assert_string_equal(w[0].base_url, "https://matrix.x.example");
    assert_true(w[0].cached);
    assert_false(w[0].trusted);
    ask(&w[0], "x.example");
    assert_int_equal(w[0].told, 1);
    assert_string_equal(w[0].base_url, "https://matrix.x.example");
    assert_int_equal(virtual_started, 1);
    assert_true(virtual_idle());
}

static void the_operators_servers_are_trusted(void **state)
{
    (void)state;
    struct waiter w;
    ask(&w, "own.example");
    assert_true(virtual_calls->trusted);
    answer_call(virtual_calls, 200, DOCUMENT("http://localhost:18008/"));
    assert_true(w.trusted);
    assert_string_equal(w.base_url, "http://localhost:18008");
}

static void a_name_with_a_port_is_also_asked_without(void **state)
{
    (void)state;
    struct waiter w;
    ask(&w, "x.example:8448");
    assert_string_equal(virtual_calls->url, "https://x.example:8448/.well-known/matrix/client");
    answer_call(virtual_calls, 404, "");
    assert_int_equal(w.told, 0);
    assert_string_equal(virtual_calls->url, "https://x.example/.well-known/matrix/client");
    answer_call(virtual_calls, 200, DOCUMENT("https://m.x.example"));
    assert_string_equal(w.base_url, "https://m.x.example");
    ask(&w, "[::1]:8448");
    assert_string_equal(virtual_calls->url, "https://[::1]:8448/.well-known/matrix/client");
    break_call(virtual_calls, HTTPC_TLS);
    assert_string_equal(virtual_calls->url, "https://[::1]/.well-known/matrix/client");
    break_call(virtual_calls, HTTPC_CONNECT);
    assert_int_equal(w.told, 1);
    assert_string_equal(w.step, "tls"); // of the first one, which names what was asked for
}

static void failures_are_kept_for_a_minute(void **state)
{
    (void)state;
    struct waiter w;
    ask(&w, "x.example");
    answer_call(virtual_calls, 404, "{\"errcode\":\"M_NOT_FOUND\"}");
    assert_string_equal(w.step, "status");
    assert_string_equal(w.text, ".well-known/matrix/client of x.example: HTTP status 404");
    run_ms(59000);
    ask(&w, "x.example");
    assert_int_equal(w.told, 1);
    assert_string_equal(w.step, "status");
    assert_int_equal(virtual_started, 1);
    run_ms(1000);
    ask(&w, "x.example");
    assert_int_equal(virtual_started, 2);
    answer_call(virtual_calls, 200, DOCUMENT("https://m"));
    assert_string_equal(w.base_url, "https://m");
}

static void a_document_that_cannot_be_refreshed_serves_on(void **state)
{
    (void)state;
    struct cs_location l;
    learn("x.example", DOCUMENT("https://m"));
    run_ms(4 * HOUR_MS - 1);
    assert_int_equal(cs_discovery_known(discovery, "x.example", &l), 0);
    run_ms(0);
    assert_int_equal(virtual_started, 1);
    run_ms(1);
    assert_int_equal(cs_discovery_known(discovery, "x.example", &l), 0); // at once,
    run_ms(0);
    assert_int_equal(virtual_started, 2); // and asked again behind it
    break_call(virtual_calls, HTTPC_TIMEOUT);
    // Not at each use, but after 1, 2, 4 ... minutes.
    int64_t const waits_s[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    for (size_t i = 0; i < ARRAY_LEN(waits_s); i++) {
        run_ms(waits_s[i] * 1000 - 1);
        assert_int_equal(cs_discovery_known(discovery, "x.example", &l), 0);
        run_ms(0);
        assert_int_equal(virtual_open(), 0);
        run_ms(1);
        assert_int_equal(cs_discovery_known(discovery, "x.example", &l), 0);
        assert_string_equal(l.base_url, "https://m");
        run_ms(0);
        assert_int_equal(virtual_open(), 1);
        answer_call(virtual_calls, i % 2 ? 404 : 500, "");
    }
    // Two days after it was good it is given up.
    run_ms(48 * HOUR_MS);
    assert_int_equal(cs_discovery_known(discovery, "x.example", &l), -ENOENT);
    learn("x.example", DOCUMENT("https://n"));
}

static void what_led_nowhere_is_fetched_again(void **state)
{
    (void)state;
    struct cs_location l;
    learn("x.example", DOCUMENT("https://old"));
    cs_discovery_forget(discovery, "x.example"); // it was read this minute
    assert_int_equal(cs_discovery_known(discovery, "x.example", &l), 0);
    run_ms(60000);
    assert_int_equal(virtual_started, 1);
    cs_discovery_forget(discovery, "x.example");
    assert_int_equal(cs_discovery_known(discovery, "x.example", &l), 0);
    run_ms(0);
    assert_int_equal(virtual_started, 2);
    answer_call(virtual_calls, 200, DOCUMENT("https://new"));
    assert_int_equal(cs_discovery_known(discovery, "x.example", &l), 0);
    assert_string_equal(l.base_url, "https://new");
    cs_discovery_forget(discovery, "nobody.example");
}

static void a_documents_own_life_is_obeyed_within_bounds(void **state)
{
    (void)state;
    assert_int_equal(cs_well_known_ttl_s(NULL), 4 * 3600);
    assert_int_equal(cs_well_known_ttl_s("public"), 4 * 3600);
    assert_int_equal(cs_well_known_ttl_s("public, Max-Age=7200"), 7200);
    assert_int_equal(cs_well_known_ttl_s("max-age=0"), 300);
    assert_int_equal(cs_well_known_ttl_s("max-age=99999999999999999999"), 86400);
    struct waiter w;
    struct cs_location l;
    ask(&w, "x.example");
    virtual_calls->header_name = "Cache-Control";
    virtual_calls->header_value = "max-age=600";
    answer_call(virtual_calls, 200, DOCUMENT("https://m"));
    run_ms(600000);
    assert_int_equal(cs_discovery_known(discovery, "x.example", &l), 0);
    run_ms(0);
    assert_int_equal(virtual_started, 2);
}

static void a_request_that_cannot_be_made_is_told(void **state)
{
    (void)state;
    struct waiter w = {0};
    virtual_refuse = 1;
    ask(&w, "x.example");
    assert_int_equal(w.told, 1);
    assert_string_equal(w.step, "internal");
}

static void ask_again(void *user, const struct cs_result *r)
{
    struct waiter *const w = user;
    on_found(w, r);
    if (w->told < 3) {
        assert_int_equal(cs_discovery_start(discovery, "x.example", ask_again, w, &w->query), 0);
    }
}

static void callbacks_may_ask_again(void **state)
{
    (void)state;
    struct waiter w = {0};
    assert_int_equal(cs_discovery_start(discovery, "x.example", ask_again, &w, &w.query), 0);
    run_ms(0);
    answer_call(virtual_calls, 500, "");
    run_ms(0);
    assert_int_equal(w.told, 3); // the failure is known
    assert_int_equal(virtual_started, 1);
}

static void only_so_many_are_kept(void **state)
{
    (void)state;
    char name[32];
    struct cs_location l;
    for (unsigned i = 0; i < 10001; i++) {
        (void)snprintf(name, sizeof(name), "s%u.example", i);
        learn(name, DOCUMENT("https://m"));
        assert_int_equal(cs_discovery_known(discovery, "s0.example", &l), 0); // is in use
    }
    assert_int_equal(cs_discovery_known(discovery, "s1.example", &l), -ENOENT);
    assert_int_equal(cs_discovery_known(discovery, "s2.example", &l), 0);
    assert_int_equal(cs_discovery_known(discovery, "s10000.example", &l), 0);
}

static void base_urls_are_checked(void **state)
{
    (void)state;
    char url[CS_BASE_URL_MAX + 1];
    static const char *const good[][2] = {
        {"https://m.example", "https://m.example"},
        {"HTTPS://m.example/", "HTTPS://m.example"},
        {"http://10.0.0.1:8008//", "http://10.0.0.1:8008"},
        {"http://[::1]:8008/a/b/", "http://[::1]:8008/a/b"},
        {"http://matrix_synapse:8008/_x%20y@z", "http://matrix_synapse:8008/_x%20y@z"},
    };
    static const char *const bad[] = {
        "",           "m.example",     "ftp://m.example",    "https://",          "https:///x",
        "https://",   "https://u@m",   "https://u:p@m",      "https://m?x=1",     "https://m/#f",
        "https:// m", "https://m/\n",  "https://m\\x",       "https://m\xc3\xa4", "javascript:x",
        "//m",        "https://:8448", "file:///etc/shadow", "https://m/a b",     "https://m/\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(cs_base_url_check(bytes_str(good[i][0]), url), 0);
        assert_string_equal(url, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(cs_base_url_check(bytes_str(bad[i]), url), -EINVAL);
    }
    assert_int_equal(cs_base_url_check(bytes_of("https://m\0x", 11), url), -EINVAL);
    char long_one[CS_BASE_URL_MAX + 2] = "https://";
    memset(long_one + 8, 'a', sizeof(long_one) - 10);
    assert_int_equal(cs_base_url_check(bytes_str(long_one), url), 0);
    assert_int_equal(cs_base_url_check(bytes_of(long_one, sizeof(long_one)), url), -EINVAL);
}

static void documents_without_a_url_are_none(void **state)
{
    (void)state;
    char url[CS_BASE_URL_MAX + 1];
    assert_int_equal(cs_well_known_parse(bytes_str("{\"x\":1,\"m.homeserver\":{\"base_url\":"
                                                   "\"https://m/\",\"y\":2}} and more"),
                                         url),
                     0);
    assert_string_equal(url, "https://m");
    static const char *const none[] = {
        "",
        "{}",
        "[]",
        "no JSON",
        "{\"m.homeserver\":{}}",
        "{\"m.homeserver\":\"https://m\"}",
        "{\"m.homeserver\":{\"base_url\":\"\"}}",
        "{\"m.homeserver\":{\"base_url\":7}}",
        "{\"m.homeserver\":{\"base_url\":\"m.example\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        assert_int_equal(cs_well_known_parse(bytes_str(none[i]), url), -EINVAL);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(overrides_need_no_request),
        TEST(names_that_are_none_are_refused),
        TEST(a_document_serves_all_who_wait_and_later_ones),
        TEST(the_operators_servers_are_trusted),
        TEST(a_name_with_a_port_is_also_asked_without),
        TEST(failures_are_kept_for_a_minute),
        TEST(a_document_that_cannot_be_refreshed_serves_on),
        TEST(what_led_nowhere_is_fetched_again),
        TEST(a_documents_own_life_is_obeyed_within_bounds),
        TEST(a_request_that_cannot_be_made_is_told),
        TEST(callbacks_may_ask_again),
        TEST(only_so_many_are_kept),
        cmocka_unit_test(base_urls_are_checked),
        cmocka_unit_test(documents_without_a_url_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
