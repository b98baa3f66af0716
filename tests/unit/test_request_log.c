// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "jwt-service/base/request_log.h"

static struct {
    char last[LOG_LINE_MAX + 1];
    enum log_level level;
    unsigned lines;
} sink;

static void take(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    sink.lines++;
    sink.level = level;
    memcpy(sink.last, line.p, line.n);
    sink.last[line.n] = '\0';
}

static void start(enum log_format format, enum log_redact redact)
{
    sink.lines = 0;
    sink.last[0] = '\0';
    log_set_sink(take, NULL);
    log_setup(&(struct log_settings){.level = LOG_LEVEL_DEBUG, .format = format, .redact = redact});
}

static mono_t at(int64_t us)
{
    return (mono_t){5 * US_PER_S + us};
}

static struct request_log begin(enum request_endpoint endpoint)
{
    struct request_log l;
    struct addr const client = addr_v4(192, 0, 2, 7, 40123);
    memset(&l, 0xa5, sizeof(l));
    request_log_start(&l, at(0), "0123456789abcdef", endpoint, "POST", &client);
    return l;
}

#define HAS(part)                                                                                  \
    do {                                                                                           \
        if (strstr(sink.last, part) == NULL) {                                                     \
            fail_msg("no %s in %s", part, sink.last);                                              \
        }                                                                                          \
    } while (0)
#define HAS_NOT(part) assert_null(strstr(sink.last, part))

static void set_ids(struct request_log *l)
{
    l->server_name = "example.org";
    l->user = "@alice:example.org";
    l->room_id = "!secret:example.org";
    l->room = "krj2dgxw2K6EOm9he4GfQJ6JsSVWfJ8a7BkyjZcSmxs";
    l->identity = "@alice:example.org:PHONE";
    l->rule = "staff";
}

static void one_line_tells_the_whole_request(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    struct request_log l = begin(REQUEST_SFU_GET);
    request_log_begin(&l, REQUEST_STEP_PARSE, at(0));
    request_log_end(&l, REQUEST_STEP_PARSE, at(21));
    request_log_begin(&l, REQUEST_STEP_OPENID, at(30));
    request_log_end(&l, REQUEST_STEP_OPENID, at(12530));
    request_log_begin(&l, REQUEST_STEP_CREATE_ROOM, at(12600)); // goes on
    set_ids(&l);
    request_log_write(&l, at(20000), 200, NULL);
    assert_int_equal(sink.lines, 1);
    assert_int_equal(sink.level, LOG_LEVEL_INFO);
    HAS("\"event\":\"request\",\"request_id\":\"0123456789abcdef\",\"endpoint\":\"sfu_get\","
        "\"method\":\"POST\",\"status\":200,\"result\":\"ok\",\"ms\":20,\"ms_parse\":0.021,"
        "\"ms_openid\":12.5,\"ms_create_room\":7.4,\"client\":\"192.0.2.7\","
        "\"server\":\"example.org\",\"user\":\"@alice:example.org\","
        "\"identity\":\"@alice:example.org:PHONE\","
        "\"room\":\"krj2dgxw2K6EOm9he4GfQJ6JsSVWfJ8a7BkyjZcSmxs\",\"rule\":\"staff\","
        "\"room_id\":\"!secret:example.org\"}");
    HAS_NOT("failed");
    HAS_NOT("errcode");
    HAS_NOT("ms_delegate");
}

static void ids_are_hashed_and_lines_of_one_client_stay_relatable(void **state)
{
    (void)state;
    char first[LOG_LINE_MAX + 1];
    start(LOG_FORMAT_TEXT, LOG_REDACT_HASH);
    struct request_log l = begin(REQUEST_GET_TOKEN);
    set_ids(&l);
    request_log_write(&l, at(1000), 200, NULL);
    HAS_NOT("alice");
    HAS_NOT("secret");
    HAS_NOT("192.0.2.7");
    HAS(" server=example.org ");
    HAS(" room=krj2dgxw2K6EOm9he4GfQJ6JsSVWfJ8a7BkyjZcSmxs ");
    memcpy(first, strstr(sink.last, " client="), 22);
    first[22] = '\0';
    l.client.port = 1;
    request_log_write(&l, at(1000), 200, NULL);
    HAS(first);
}

static void the_first_failure_is_told_with_its_cause(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    struct request_log l = begin(REQUEST_GET_TOKEN);
    request_log_begin(&l, REQUEST_STEP_OPENID, at(0));
    request_log_fail(&l, REQUEST_STEP_OPENID, at(4000), "dns", "no address for example.org");
    request_log_fail(&l, REQUEST_STEP_MINT, at(5000), "memory", NULL);
    request_log_write(&l, at(5000), 401, "M_UNAUTHORIZED");
    assert_int_equal(sink.level, LOG_LEVEL_WARN);
    HAS("\"status\":401,\"errcode\":\"M_UNAUTHORIZED\",\"result\":\"unauthorized\","
        "\"failed\":\"openid\",\"cause\":\"dns\",\"ms\":5,\"ms_openid\":4,");
    HAS("\"text\":\"no address for example.org\"");
    HAS_NOT("memory");
    HAS_NOT("ms_mint"); // never begun
}

static void results_and_levels(void **state)
{
    (void)state;
    static const struct {
        enum request_endpoint endpoint;
        enum request_step failed;
        unsigned status;
        enum request_result result;
        enum log_level level;
    } row[] = {
        {REQUEST_SFU_GET, REQUEST_STEP_COUNT, 200, REQUEST_OK, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_PARSE, 400, REQUEST_BAD, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_OPENID, 401, REQUEST_UNAUTHORIZED, LOG_LEVEL_WARN},
        {REQUEST_WEBHOOK, REQUEST_STEP_PARSE, 401, REQUEST_UNAUTHORIZED, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_POLICY, 403, REQUEST_DENIED, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_POLICY, 400, REQUEST_DENIED, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_CS_DISCOVERY, 400, REQUEST_CS_API, LOG_LEVEL_INFO},
        {REQUEST_DELEGATE, REQUEST_STEP_DELEGATE, 400, REQUEST_NOT_DELEGATED, LOG_LEVEL_INFO},
        {REQUEST_DELEGATE, REQUEST_STEP_DELEGATE, 503, REQUEST_UNAVAILABLE, LOG_LEVEL_ERROR},
        {REQUEST_DELEGATE, REQUEST_STEP_DELEGATE, 429, REQUEST_LIMITED, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_CREATE_ROOM, 500, REQUEST_SFU_FAILED, LOG_LEVEL_ERROR},
        {REQUEST_SFU_GET, REQUEST_STEP_MINT, 500, REQUEST_INTERNAL, LOG_LEVEL_ERROR},
        {REQUEST_AS_GET_TOKEN, REQUEST_STEP_MEMBERSHIP, 502, REQUEST_INTERNAL, LOG_LEVEL_ERROR},
        {REQUEST_SFU_GET, REQUEST_STEP_LIMITS, 429, REQUEST_LIMITED, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_COUNT, 413, REQUEST_TOO_LARGE, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_COUNT, 405, REQUEST_BAD_METHOD, LOG_LEVEL_INFO},
        {REQUEST_OTHER, REQUEST_STEP_COUNT, 404, REQUEST_NOT_FOUND, LOG_LEVEL_INFO},
        {REQUEST_SFU_GET, REQUEST_STEP_COUNT, 0, REQUEST_GONE, LOG_LEVEL_INFO},
        {REQUEST_HEALTHZ, REQUEST_STEP_COUNT, 200, REQUEST_OK, LOG_LEVEL_DEBUG},
        {REQUEST_METRICS, REQUEST_STEP_COUNT, 200, REQUEST_OK, LOG_LEVEL_DEBUG},
        {REQUEST_READYZ, REQUEST_STEP_COUNT, 200, REQUEST_OK, LOG_LEVEL_DEBUG},
        {REQUEST_READYZ, REQUEST_STEP_COUNT, 503, REQUEST_UNAVAILABLE, LOG_LEVEL_WARN},
    };
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct request_log l = begin(row[i].endpoint);
        if (row[i].failed != REQUEST_STEP_COUNT) {
            request_log_fail(&l, row[i].failed, at(1), "x", NULL);
        }
        if (request_log_result(&l, row[i].status) != row[i].result) {
            fail_msg("row %zu: %s", i, request_result_name(request_log_result(&l, row[i].status)));
        }
        assert_int_equal(request_log_level(&l, row[i].status), row[i].level);
        request_log_write(&l, at(2), row[i].status, NULL);
        assert_int_equal(sink.level, row[i].level);
    }
    assert_int_equal(sink.lines, ARRAY_LEN(row));
}

// Whatever clients send, the line is one JSON object and has its numbers.
static void long_and_odd_texts_push_nothing_out(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    static char odd[1025];
    memset(odd, 0xff, sizeof(odd) - 1);
    struct request_log l = begin(REQUEST_GET_TOKEN);
    l.server_name = odd;
    l.user = odd;
    l.room_id = odd;
    l.identity = odd;
    for (size_t i = 0; i < REQUEST_STEP_COUNT; i++) {
        request_log_begin(&l, (enum request_step)i, at(0));
        request_log_end(&l, (enum request_step)i, at(123456789));
    }
    request_log_fail(&l, REQUEST_STEP_MINT, at(1), "cause", odd);
    request_log_write(&l, at(123456789), 500, "M_UNKNOWN");
    HAS("\"ms\":123456.789");
    HAS("\"ms_relay\":123456.789");
    HAS("\"failed\":\"mint\",\"cause\":\"cause\"");
    assert_int_equal(sink.last[strlen(sink.last) - 1], '}');
    assert_int_equal(strlen(l.text), REQUEST_LOG_TEXT_MAX);
}

static void unusual_methods_and_clients(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    struct request_log l;
    request_log_start(&l, at(0), "id that is longer than sixteen", REQUEST_OTHER, "BREW\n", NULL);
    request_log_end(&l, REQUEST_STEP_PARSE, at(5)); // never begun
    request_log_write(&l, at(1), 404, NULL);
    HAS("\"request_id\":\"id that is longe\"");
    HAS("\"method\":\"other\"");
    HAS_NOT("client");
    HAS_NOT("ms_parse");
}

static void floods_of_one_level_hide_no_other(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    struct request_log l = begin(REQUEST_SFU_GET);
    for (unsigned i = 0; i < 3 * REQUEST_LOG_BURST; i++) {
        request_log_write(&l, at(1), 400, "M_NOT_JSON");
    }
    assert_in_range(sink.lines, 1, 3 * REQUEST_LOG_BURST);
    request_log_write(&l, at(1), 500, "M_UNKNOWN");
    HAS("\"status\":500");
}

static void every_name_is_there_and_unlike_the_others(void **state)
{
    (void)state;
    for (int i = 0; i < REQUEST_ENDPOINT_COUNT; i++) {
        assert_non_null(request_endpoint_name((enum request_endpoint)i));
    }
    for (int i = 0; i < REQUEST_RESULT_COUNT; i++) {
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(request_result_name((enum request_result)i),
                                    request_result_name((enum request_result)k));
        }
    }
    for (int i = 0; i < REQUEST_STEP_COUNT; i++) {
        assert_true(request_step_name((enum request_step)i)[0] != '\0');
    }
    assert_string_equal(request_step_name(REQUEST_STEP_COUNT), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_line_tells_the_whole_request),
        cmocka_unit_test(ids_are_hashed_and_lines_of_one_client_stay_relatable),
        cmocka_unit_test(the_first_failure_is_told_with_its_cause),
        cmocka_unit_test(results_and_levels),
        cmocka_unit_test(long_and_odd_texts_push_nothing_out),
        cmocka_unit_test(unusual_methods_and_clients),
        cmocka_unit_test(floods_of_one_level_hide_no_other),
        cmocka_unit_test(every_name_is_there_and_unlike_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
