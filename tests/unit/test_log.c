// SPDX-License-Identifier: Apache-2.0
// LINK: sys
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/sys/clock.h"
#include "common/sys/log.h"

struct sink {
    char last[LOG_LINE_MAX + 1];
    unsigned lines;
};

static void take(void *user, enum log_level level, struct bytes line)
{
    (void)level;
    struct sink *const s = user;
    s->lines++;
    memcpy(s->last, line.p, line.n);
    s->last[line.n] = 0;
}

static struct sink sink;

static void start(enum log_format format, enum log_redact redact)
{
    sink.lines = 0;
    sink.last[0] = 0;
    log_set_sink(take, &sink);
    log_setup(&(struct log_settings){.level = LOG_LEVEL_INFO, .format = format, .redact = redact});
}

#define HAS(part) assert_non_null(strstr(sink.last, part))
#define HAS_NOT(part) assert_null(strstr(sink.last, part))

static void json_line_has_all_types(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    struct addr const a = addr_v4(192, 0, 2, 1, 5000);
    log_info(NULL, "test.types", KV_STR("s", "a\"b\\\n"), KV_I64("i", -5), KV_U64("u", UINT64_MAX),
             KV_BOOL("b", true), KV_F64("f", 0.5), KV_ADDR("a", &a), KV_ID("id", "@u:x"),
             KV_ERRNO("e", -ENOENT), KV_BYTES("y", bytes_of("xyz", 2)), KV_STR("null", NULL));
    assert_int_equal(sink.lines, 1);
    HAS("\"level\":\"info\",\"event\":\"test.types\"");
    HAS("\"s\":\"a\\\"b\\\\\\u000a\"");
    HAS("\"i\":-5,\"u\":18446744073709551615,\"b\":true,\"f\":0.5");
    HAS("\"a\":\"192.0.2.1:5000\",\"id\":\"@u:x\",\"e\":\"No such file or "
        "directory\",\"y\":\"xy\",\"null\":\"\"}");
}

static void line_without_pairs_is_complete(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    log_warn(NULL, "test.bare");
    HAS("\"level\":\"warn\",\"event\":\"test.bare\"}");
}

static void levels_below_the_setting_are_not_written(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    log_debug(NULL, "test.debug");
    assert_int_equal(sink.lines, 0);
    enum log_level l = LOG_LEVEL_ERROR;
    assert_true(log_level_parse("WARNING", &l));
    assert_int_equal(l, LOG_LEVEL_WARN);
    assert_true(log_level_parse("Debug", &l));
    assert_int_equal(l, LOG_LEVEL_DEBUG);
    assert_false(log_level_parse("loud", &l));
}

static void redaction_hides_addresses_and_identities_only(void **state)
{
    (void)state;
    struct addr const a = addr_v4(192, 0, 2, 1, 5000);
    start(LOG_FORMAT_JSON, LOG_REDACT_HASH);
    log_info(NULL, "test.redact", KV_ADDR("a", &a), KV_ID("id", "@alice:x"),
             KV_ID("id2", "@alice:x"), KV_ID("id3", "@bob:x"), KV_STR("room", "r"));
    HAS_NOT("192.0.2.1");
    HAS_NOT("alice");
    HAS("\"room\":\"r\"");
    const char *const one = strstr(sink.last, "\"id\":\"#");
    const char *const two = strstr(sink.last, "\"id2\":\"#");
    const char *const three = strstr(sink.last, "\"id3\":\"#");
    assert_non_null(one);
    assert_non_null(two);
    assert_non_null(three);
    assert_memory_equal(one + 7, two + 8, 12);
    assert_memory_not_equal(one + 7, three + 8, 12);
    start(LOG_FORMAT_JSON, LOG_REDACT_HIDE);
    log_info(NULL, "test.hide", KV_ID("id", "@alice:x"));
    HAS("\"id\":\"-\"");
}

static void text_format_quotes_what_could_be_misread(void **state)
{
    (void)state;
    start(LOG_FORMAT_TEXT, LOG_REDACT_NONE);
    log_error(NULL, "test.text", KV_STR("a", "plain"), KV_STR("b", "two words"),
              KV_STR("c", "\x1b[31m"));
    HAS("error test.text a=plain b=\"two words\" c=\"\\u001b[31m\"");
}

static void invalid_utf8_is_replaced(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    log_info(NULL, "test.utf8",
             KV_STR("bad", "a\xff"
                           "b\xed\xa0\x80"
                           "c\xc0\x80"),
             KV_STR("good", "\xc3\xa4\xf0\x9f\x98\x80"));
    HAS("\"bad\":\"a\\ufffdb\\ufffd\\ufffd\\ufffdc\\ufffd\\ufffd\"");
    HAS("\"good\":\"\xc3\xa4\xf0\x9f\x98\x80\"");
}

static void long_values_are_cut_and_the_line_stays_closed(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    static char big[20000];
    memset(big, '"', sizeof(big) - 1);
    log_info(NULL, "test.long", KV_STR("a", big), KV_STR("b", big), KV_STR("c", big),
             KV_STR("d", big), KV_STR("e", big));
    size_t const n = strlen(sink.last);
    assert_true(n < LOG_LINE_MAX);
    assert_int_equal(sink.last[n - 1], '}');
    HAS("...\"");
}

static void context_pairs_go_with_each_line_and_are_inherited(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    struct log_ctx room;
    log_ctx_init(&room, NULL);
    log_ctx_bind(&room, KV_STR("room", "lobby"));
    struct log_ctx part;
    log_ctx_init(&part, &room);
    char name[8] = "alice";
    log_ctx_bind(&part, KV_ID("participant", name));
    name[0] = 'X'; // values are copied
    log_info(&part, "test.ctx", KV_U64("n", 1));
    HAS("\"room\":\"lobby\",\"participant\":\"alice\",\"n\":1}");
    static char big[2000];
    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 10; i++) {
        log_ctx_bind(&part, KV_STR("big", big));
    }
    log_info(&part, "test.full");
    HAS("\"event\":\"test.full\"");
}

static void call_site_is_limited_and_tells_what_it_held_back(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    mono_t const end = mono_add_ms(clock_mono(), 10000);
    unsigned tries = 0;
    bool told = false;
    while (!told && mono_before(clock_mono(), end)) {
        log_info(NULL, "test.flood");
        tries++;
        told = strstr(sink.last, "\"suppressed\":") != NULL;
    }
    assert_true(told);
    assert_true(tries > LOG_SITE_BURST);
    assert_true(sink.lines <= 2 * LOG_SITE_BURST + 1);
}

static void a_site_may_have_its_own_burst(void **state)
{
    (void)state;
    start(LOG_FORMAT_JSON, LOG_REDACT_NONE);
    static struct log_site site = {.burst = 3};
    // Three lines a second, and the loop may meet two seconds.
    for (int i = 0; i < 100; i++) {
        log_write(&site, LOG_LEVEL_INFO, NULL, "test.record", NULL, 0);
    }
    assert_in_range(sink.lines, 3, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_line_has_all_types),
        cmocka_unit_test(line_without_pairs_is_complete),
        cmocka_unit_test(levels_below_the_setting_are_not_written),
        cmocka_unit_test(redaction_hides_addresses_and_identities_only),
        cmocka_unit_test(text_format_quotes_what_could_be_misread),
        cmocka_unit_test(invalid_utf8_is_replaced),
        cmocka_unit_test(long_values_are_cut_and_the_line_stays_closed),
        cmocka_unit_test(context_pairs_go_with_each_line_and_are_inherited),
        cmocka_unit_test(call_site_is_limited_and_tells_what_it_held_back),
        cmocka_unit_test(a_site_may_have_its_own_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
