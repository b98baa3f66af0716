// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "jwt-service/auth_metrics.h"

static struct metrics *m;
static struct dynbuf out;

static int setup(void **state)
{
    (void)state;
    m = auth_metrics_new("1.2.3", (wall_t){1788220800 * US_PER_S + 500000});
    dynbuf_init(&out, 1u << 20);
    return m == NULL;
}

static int teardown(void **state)
{
    (void)state;
    metrics_free(m);
    dynbuf_done(&out);
    return 0;
}

static const char *text(void)
{
    dynbuf_reset(&out);
    metrics_write(m, &out);
    return dynbuf_cstr(&out);
}

#define HAS(line)                                                                                  \
    do {                                                                                           \
        if (strstr(text(), line "\n") == NULL) {                                                   \
            fail_msg("no %s in\n%s", line, text());                                                \
        }                                                                                          \
    } while (0)
#define HAS_NOT(part) assert_null(strstr(text(), part))

static mono_t at(int64_t us)
{
    return (mono_t){us};
}

// Rates of what alerts ask for are right from the first event on.
static void known_series_exist_before_anything_happens(void **state)
{
    (void)state;
    HAS("foci_jwt_build_info{version=\"1.2.3\"} 1");
    HAS("process_start_time_seconds 1788220800.5");
    HAS("auth_requests_total{endpoint=\"sfu_get\",result=\"ok\"} 0");
    HAS("auth_requests_total{endpoint=\"delegate_delayed_leave\",result=\"sfu_failed\"} 0");
    HAS("auth_openid_lookups_total{server_class=\"restricted\",outcome=\"ok\"} 0");
    HAS("delegated_calls_total{action=\"send\",outcome=\"ok\"} 0");
    HAS("auth_requests_in_flight 0");
    HAS("auth_policy_rules 0");
    HAS("auth_store_up 1");
}

static void a_request_is_counted_by_result_status_step_and_cause(void **state)
{
    (void)state;
    struct request_log l;
    request_log_start(&l, at(0), "0123456789abcdef", REQUEST_GET_TOKEN, "POST", NULL);
    request_log_begin(&l, REQUEST_STEP_PARSE, at(0));
    request_log_end(&l, REQUEST_STEP_PARSE, at(2000));
    request_log_begin(&l, REQUEST_STEP_OPENID, at(2000));
    request_log_fail(&l, REQUEST_STEP_OPENID, at(302000), "tls", "text");
    auth_metrics_request(m, &l, at(400000), 401);
    HAS("auth_requests_total{endpoint=\"get_token\",result=\"unauthorized\"} 1");
    HAS("auth_responses_total{endpoint=\"get_token\",status=\"401\"} 1");
    HAS("auth_failures_total{step=\"openid\",cause=\"tls\"} 1");
    HAS("auth_step_seconds_bucket{step=\"parse\",le=\"0.0025\"} 1");
    HAS("auth_step_seconds_sum{step=\"openid\"} 0.3");
    HAS("auth_request_seconds_sum{endpoint=\"get_token\"} 0.4");
    HAS("auth_request_seconds_count{endpoint=\"get_token\"} 1");
    HAS_NOT("step=\"mint\"");

    request_log_start(&l, at(0), "", REQUEST_GET_TOKEN, "POST", NULL);
    auth_metrics_request(m, &l, at(1), 0);
    HAS("auth_requests_total{endpoint=\"get_token\",result=\"gone\"} 1");
}

static void calls_are_counted_by_outcome_and_timed(void **state)
{
    (void)state;
    auth_metrics_openid(m, true, "ok", 20000);
    auth_metrics_openid(m, false, "dns", 10000000);
    auth_metrics_sfu(m, "CreateRoom", "unauthenticated", 1500);
    auth_metrics_webhook(m, "bad_signature");
    auth_metrics_reload(m, "policy", false);
    auth_metrics_in_flight(m, 7);
    auth_metrics_policy_rules(m, 5);
    HAS("auth_openid_lookups_total{server_class=\"full_access\",outcome=\"ok\"} 1");
    HAS("auth_openid_lookups_total{server_class=\"restricted\",outcome=\"dns\"} 1");
    HAS("auth_openid_seconds_bucket{server_class=\"restricted\",le=\"5\"} 0");
    HAS("auth_openid_seconds_bucket{server_class=\"restricted\",le=\"10\"} 1");
    HAS("auth_sfu_calls_total{call=\"CreateRoom\",outcome=\"unauthenticated\"} 1");
    HAS("auth_sfu_seconds_sum{call=\"CreateRoom\"} 0.0015");
    HAS("auth_webhooks_total{result=\"bad_signature\"} 1");
    HAS("auth_reloads_total{what=\"policy\",result=\"failed\"} 1");
    HAS("auth_requests_in_flight 7");
    HAS("auth_policy_rules 5");
}

// Told again and again: totals stay totals, numbers of now are those of the last time.
static void what_delegated_leaves_count_is_shown_as_it_is(void **state)
{
    (void)state;
    struct leave_counts c = {.begun = 9, .limited = 1, .lookups = 5, .lookup_failures = 2};
    struct delayed_event_counts e = {.restarts_gone = 1, .sends_ok = 4, .limited = 3};
    struct job_store_stats s = {.writes = 20, .failures = 1, .pending = 2, .up = true};
    c.jobs[LEAVE_CONNECTED] = 2;
    c.ended[LEAVE_OUTCOME_SENT] = 4;
    for (int i = 0; i < 2; i++) {
        auth_metrics_leaves(m, &c);
        auth_metrics_delayed_events(m, &e);
        auth_metrics_store(m, JOB_STORE_JOURNAL, &s);
    }
    HAS("delegated_jobs{state=\"connected\"} 2");
    HAS("delegated_begun_total{how=\"new\"} 9");
    HAS("delegated_begun_total{how=\"limited\"} 1");
    HAS("delegated_ended_total{how=\"sent\"} 4");
    HAS("delegated_lookups_total 5");
    HAS("delegated_lookup_failures_total 2");
    HAS("delegated_webhooks_missing 0");
    HAS("delegated_calls_total{action=\"restart\",outcome=\"gone\"} 1");
    HAS("delegated_calls_total{action=\"send\",outcome=\"ok\"} 4");
    HAS("delegated_limited_total 3");
    HAS("auth_store_writes_total{backend=\"journal\",outcome=\"failed\"} 1");
    HAS("auth_store_pending 2");
    HAS("auth_store_up 1");
    c.jobs[LEAVE_CONNECTED] = 0;
    c.webhooks_missing = true;
    s.up = false;
    auth_metrics_leaves(m, &c);
    auth_metrics_store(m, JOB_STORE_JOURNAL, &s);
    HAS("delegated_jobs{state=\"connected\"} 0");
    HAS("delegated_webhooks_missing 1");
    HAS("auth_store_up 0");
}

static void keys_show_age_and_end_but_no_secret(void **state)
{
    (void)state;
    static const char pairs[] =
        "new: secret-of-the-new-key-0123456789 # added 2026-09-01T00:00:00Z\n"
        "old: secret-of-the-old-key-0123456789 # retires 2026-09-01T02:00:00Z\n";
    struct api_keys *const keys = api_keys_new();
    unsigned line = 0;
    assert_int_equal(api_keys_parse(keys, bytes_str(pairs), &line), 0);
    int64_t const midnight = 1788220800; // 2026-09-01T00:00:00Z
    auth_metrics_keys(m, keys, (wall_t){(midnight + 3600) * US_PER_S});
    HAS("auth_key_age_seconds{key=\"new\"} 3600");
    HAS("auth_key_retires_time_seconds{key=\"old\"} 1788228000");
    HAS("auth_key_signs{key=\"new\"} 1");
    HAS("auth_key_signs{key=\"old\"} 0");
    HAS_NOT("secret-of");
    HAS_NOT("auth_key_age_seconds{key=\"old\"}"); // nobody said
    auth_metrics_keys(m, keys, (wall_t){(midnight + 7200) * US_PER_S});
    HAS("auth_key_age_seconds{key=\"new\"} 7200");
    HAS_NOT("key=\"old\"");
    api_keys_free(keys);
}

static void without_a_registry_nothing_is_counted(void **state)
{
    (void)state;
    struct api_keys *const keys = api_keys_new();
    struct request_log l;
    request_log_start(&l, at(0), "", REQUEST_GET_TOKEN, "POST", NULL);
    auth_metrics_request(NULL, &l, at(0), 200);
    auth_metrics_openid(NULL, true, "ok", 1);
    auth_metrics_keys(NULL, keys, (wall_t){1});
    auth_metrics_leaves(NULL, &(struct leave_counts){.begun = 1});
    api_keys_free(keys);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(known_series_exist_before_anything_happens),
        TEST(a_request_is_counted_by_result_status_step_and_cause),
        TEST(calls_are_counted_by_outcome_and_timed),
        TEST(what_delegated_leaves_count_is_shown_as_it_is),
        TEST(keys_show_age_and_end_but_no_secret),
        TEST(without_a_registry_nothing_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
