// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "jwt-service/leave/job_codec.h"

static struct job_record sample(void)
{
    return (struct job_record){
        .room = "krj2/room+x",
        .identity = "@u:example.org:DEV",
        .other_identity = "vYVt",
        .delay_id = "syd_x",
        .server_name = "example.org",
        .user_id = "@u:example.org",
        .owner_user_id = "@u:example.org",
        .sid = "PA_1",
        .delay_timeout_ns = INT64_C(8000000000),
        .restarted_at = {INT64_C(1784801472123456)},
        .state = JOB_CONNECTED,
    };
}

static void check_same(const struct job_record *a, const struct job_record *b)
{
    assert_string_equal(a->room, b->room);
    assert_string_equal(a->identity, b->identity);
    assert_string_equal(a->other_identity, b->other_identity);
    assert_string_equal(a->delay_id, b->delay_id);
    assert_string_equal(a->server_name, b->server_name);
    assert_string_equal(a->user_id, b->user_id);
    assert_string_equal(a->owner_user_id, b->owner_user_id);
    assert_string_equal(a->sid, b->sid);
    assert_int_equal(a->delay_timeout_ns, b->delay_timeout_ns);
    assert_int_equal(a->restarted_at.us, b->restarted_at.us);
    assert_int_equal(a->state, b->state);
}

static struct job_decoded decode(const char *field, const char *value)
{
    struct job_decoded d = {0};
    assert_int_equal(job_codec_decode(bytes_str(field), bytes_str(value), &d, NULL), 0);
    return d;
}

// The original wrote these (tab between field and value); ours must hold every member of them.
static void recorded_values_are_read_and_written_back(void **state)
{
    (void)state;
    FILE *const f = fopen("tests/data/authorization/redis_hash.tsv", "r");
    char line[4096];
    unsigned good = 0;
    unsigned bad = 0;
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *const tab = strchr(line, '\t');
        assert_non_null(tab);
        *tab = '\0';
        struct job_decoded d = {0};
        if (job_codec_decode(bytes_str(line), bytes_str(tab + 1), &d, NULL) != 0) {
            assert_string_equal(line, "garbage");
            bad++;
            continue;
        }
        good++;
        assert_int_equal(d.record.state, JOB_WAITING);
        assert_string_equal(d.owner, "");
        struct dynbuf field;
        struct dynbuf value;
        dynbuf_init(&field, 4096);
        dynbuf_init(&value, 4096);
        job_codec_field(d.record.room, d.record.identity, &field);
        assert_string_equal(dynbuf_cstr(&field), line);
        assert_int_equal(job_codec_value(&d.record, "", &value), 0);
        // The same bytes up to the time, which is cut to microseconds.
        const char *const when = strstr(tab + 1, "\"RestartedAt\":\"");
        assert_non_null(when);
        size_t const same =
            (size_t)(when - (tab + 1)) + strlen("\"RestartedAt\":\"2026-11-21T09:48:32");
        assert_memory_equal(value.p, tab + 1, MIN(same, strlen(tab + 1)));
        dynbuf_done(&field);
        dynbuf_done(&value);
        job_decoded_done(&d);
    }
    assert_int_equal(fclose(f), 0);
    assert_int_equal(bad, 1);
    assert_true(good >= 12);
}

static void a_record_survives_the_way_there_and_back(void **state)
{
    (void)state;
    struct job_record const r = sample();
    struct dynbuf field;
    struct dynbuf value;
    dynbuf_init(&field, 4096);
    dynbuf_init(&value, 4096);
    job_codec_field(r.room, r.identity, &field);
    assert_int_equal(job_codec_value(&r, "host-1", &value), 0);
    assert_string_equal(dynbuf_cstr(&field), "[\"krj2/room+x\",\"@u:example.org:DEV\"]");
    assert_string_equal(
        dynbuf_cstr(&value),
        "{\"Params\":{\"DelayId\":\"syd_x\",\"DelayTimeout\":8000000000,\"ServerName\":\"example."
        "org\","
        "\"LiveKitRoom\":\"krj2/room+x\",\"LiveKitIdentity\":\"@u:example.org:DEV\","
        "\"owner_user_id\":\"@u:example.org\"},\"RestartedAt\":\"2026-07-23T10:11:12.123456Z\","
        "\"State\":\"connected\",\"ParticipantSid\":\"PA_1\",\"OtherIdentity\":\"vYVt\","
        "\"UserId\":\"@u:example.org\",\"Owner\":\"host-1\",\"Version\":1}");
    struct job_decoded d = decode(dynbuf_cstr(&field), dynbuf_cstr(&value));
    check_same(&d.record, &r);
    assert_string_equal(d.owner, "host-1");
    job_decoded_done(&d);
    dynbuf_done(&field);
    dynbuf_done(&value);
}

static void unknown_and_missing_members_do_no_harm(void **state)
{
    (void)state;
    struct job_decoded d = decode(
        "[\"r\",\"i\"]", "{\"New\":{\"a\":[1]},\"Params\":{\"DelayId\":\"x\",\"ServerName\":\"s\","
                         "\"Extra\":null},\"State\":7,\"owner_user_id\":\"@a:s\"}");
    assert_string_equal(d.record.room, "r");
    assert_int_equal(d.record.delay_timeout_ns, 0);
    assert_int_equal(d.record.restarted_at.us, 0);
    assert_int_equal(d.record.state, JOB_WAITING);
    assert_string_equal(d.record.owner_user_id, "@a:s");
    job_decoded_done(&d);
}

static void escapes_of_the_original_name_the_same_job(void **state)
{
    (void)state;
    struct job_decoded d = decode("[\"r\",\"\\u003ca\\u0026b\\u003e\"]",
                                  "{\"Params\":{\"DelayId\":\"x\",\"ServerName\":\"s\"}}");
    struct dynbuf field;
    dynbuf_init(&field, 256);
    job_codec_field(d.record.room, d.record.identity, &field);
    assert_string_equal(dynbuf_cstr(&field), "[\"r\",\"<a&b>\"]");
    dynbuf_done(&field);
    job_decoded_done(&d);
}

static void what_is_no_job_is_refused(void **state)
{
    (void)state;
    static const char *const good_value = "{\"Params\":{\"DelayId\":\"x\",\"ServerName\":\"s\"}}";
    static const char *const fields[] = {"",
                                         "garbage",
                                         "[]",
                                         "[\"r\"]",
                                         "[\"r\",\"\"]",
                                         "[\"\",\"i\"]",
                                         "[\"r\",1]",
                                         "{\"a\":1}",
                                         "[\"r\",\"i\",\"x\"]",
                                         "[\"a\\u0000\",\"i\"]"};
    static const char *const values[] = {"",
                                         "{not json",
                                         "[]",
                                         "1",
                                         "{}",
                                         "{\"Params\":[]}",
                                         "{\"Params\":{\"DelayId\":\"x\"}}",
                                         "{\"Params\":{\"DelayId\":1,\"ServerName\":\"s\"}}"};
    struct job_decoded d;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        assert_int_equal(job_codec_decode(bytes_str(fields[i]), bytes_str(good_value), &d, NULL),
                         -EBADMSG);
    }
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        assert_int_equal(
            job_codec_decode(bytes_str("[\"r\",\"i\"]"), bytes_str(values[i]), &d, NULL), -EBADMSG);
    }
    wall_t age = {1};
    assert_int_equal(job_codec_decode(bytes_str("x"),
                                      bytes_str("{\"RestartedAt\":\"1970-01-01T00:00:02Z\"}"), &d,
                                      &age),
                     -EBADMSG);
    assert_int_equal(age.us, 2000000);
}

static void times_of_any_offset_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us; // -1: refused
    } table[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-07-23T10:11:12.123456789Z", INT64_C(1784801472123456)},
        {"2026-07-23T12:11:12.123456789+02:00", INT64_C(1784801472123456)},
        {"2026-07-23T04:41:12.1-05:30", INT64_C(1784801472100000)},
        {"2026-07-23t10:11:12z", INT64_C(1784801472000000)},
        {"2024-02-29T23:59:59Z", INT64_C(1709251199000000)},
        {"2000-03-01T00:00:00Z", INT64_C(951868800000000)},
        {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)},
        {"0001-01-01T00:00:00Z", INT64_C(-62135596800000000)}, // Go's zero time
        {"2026-07-23T10:11:12", -1},
        {"2026-07-23 10:11:12Z", -1},
        {"2026-13-23T10:11:12Z", -1},
        {"2026-07-23T24:11:12Z", -1},
        {"2026-07-23T10:11:12.Z", -1},
        {"2026-07-23T10:11:12.1234567891Z", -1},
        {"2026-07-23T10:11:12Zx", -1},
        {"2026-07-23T10:11:12+2:00", -1},
        {"", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        wall_t t = {-7};
        int const r = job_codec_time_read(bytes_str(table[i].text), &t);
        assert_int_equal(r, table[i].us == -1 ? -EBADMSG : 0);
        assert_int_equal(t.us, table[i].us == -1 ? -7 : table[i].us);
    }
}

static void times_are_written_as_go_writes_them(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *text;
    } table[] = {
        {0, "1970-01-01T00:00:00Z"},
        {INT64_C(1784801472123456), "2026-07-23T10:11:12.123456Z"},
        {INT64_C(1784801472100000), "2026-07-23T10:11:12.1Z"},
        {INT64_C(1784801472000010), "2026-07-23T10:11:12.00001Z"},
        {INT64_C(1709251199000000), "2024-02-29T23:59:59Z"},
        {-5, "1970-01-01T00:00:00Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999999Z"},
    };
    char buf[JOB_TIME_LEN];
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_string_equal(job_codec_time_write((wall_t){table[i].us}, buf), table[i].text);
    }
    // Every day of four hundred years.
    for (int64_t day = 0; day < 146097; day++) {
        wall_t t;
        wall_t const in = {day * 86400 * US_PER_S + 1};
        assert_int_equal(job_codec_time_read(bytes_str(job_codec_time_write(in, buf)), &t), 0);
        assert_int_equal(t.us, in.us);
    }
}

static void records_are_checked(void **state)
{
    (void)state;
    struct job_record r = sample();
    assert_int_equal(job_record_check(&r), 0);
    r.sid = NULL;
    r.other_identity = NULL;
    assert_int_equal(job_record_check(&r), 0);
    r.room = "";
    assert_int_equal(job_record_check(&r), -EINVAL);
    r = sample();
    r.delay_timeout_ns = -1;
    assert_int_equal(job_record_check(&r), -EINVAL);
    static const char *const bad[] = {"\xff",      "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "a\xe2\x82", "\x80",     "\xe0\x80\x80", "\xf0\x80\x80\x80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        r = sample();
        r.identity = bad[i];
        assert_int_equal(job_record_check(&r), -EINVAL);
    }
    r = sample();
    r.identity = "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
    assert_int_equal(job_record_check(&r), 0);
    char *const large = mem_alloc(JOB_RECORD_MAX + 1);
    memset(large, 'x', JOB_RECORD_MAX);
    r.identity = large;
    assert_int_equal(job_record_check(&r), -E2BIG);
    mem_free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_values_are_read_and_written_back),
        cmocka_unit_test(a_record_survives_the_way_there_and_back),
        cmocka_unit_test(unknown_and_missing_members_do_no_harm),
        cmocka_unit_test(escapes_of_the_original_name_the_same_job),
        cmocka_unit_test(what_is_no_job_is_refused),
        cmocka_unit_test(times_of_any_offset_are_read),
        cmocka_unit_test(times_are_written_as_go_writes_them),
        cmocka_unit_test(records_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
