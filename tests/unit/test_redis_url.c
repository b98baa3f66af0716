// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/svc/redis_url.h"

static const struct {
    const char *text;
    const char *shown; // without secrets; NULL: refused
    const char *user;
    const char *password;
} table[] = {
    {"redis://127.0.0.1:6399", "redis://127.0.0.1:6399/0", "", ""},
    {"redis://127.0.0.1:6399/0", "redis://127.0.0.1:6399/0", "", ""},
    {"redis://", "redis://localhost:6379/0", "", ""},
    {"redis:///2", "redis://localhost:6379/2", "", ""},
    {"redis://:7000", "redis://localhost:7000/0", "", ""},
    {"redis://cache/15/", "redis://cache:6379/15", "", ""},
    {"REDISS://cache", "rediss://cache:6379/0", "", ""},
    {"redis://[::1]:7/1", "redis://[::1]:7/1", "", ""},
    {"redis://[2001:db8::1]", "redis://[2001:db8::1]:6379/0", "", ""},
    {"redis://:secret@h", "redis://h:6379/0", "", "secret"},
    {"redis://user:se%40cr%2Fet@h:1", "redis://h:1/0", "user", "se@cr/et"},
    {"redis://user@h", "redis://h:6379/0", "user", ""},
    {"redis://a:b@c:d@h", "redis://h:6379/0", "a", "b@c:d"},
    {"redis://h?db=3", "redis://h:6379/3", "", ""},
    {"redis://h/1?db=3", "redis://h:6379/3", "", ""},
    {"redis://h?db=", "redis://h:6379/0", "", ""},
    {"redis://h?protocol=3&pool_size=10&max_retries=-1&idle_timeout=5m&client_name=a+b",
     "redis://h:6379/0", "", ""},
    {"redis://h#fragment", "redis://h:6379/0", "", ""},
    {"unix:///run/redis.sock", "unix:///run/redis.sock?db=0", "", ""},
    {"unix://u:p@/run/redis%20a.sock?db=2", "unix:///run/redis a.sock?db=2", "u", "p"},
    {"unix:/run/redis.sock", "unix:///run/redis.sock?db=0", "", ""},
    {"http://127.0.0.1:6399", NULL, NULL, NULL},
    {"127.0.0.1:6399", NULL, NULL, NULL},
    {"localhost", NULL, NULL, NULL},
    {"", NULL, NULL, NULL},
    {"redis:h", NULL, NULL, NULL},
    {"redis://h/x", NULL, NULL, NULL},
    {"redis://h/1/2", NULL, NULL, NULL},
    {"redis://h/-1", NULL, NULL, NULL},
    {"redis://h/99999999999", NULL, NULL, NULL},
    {"redis://h:0", NULL, NULL, NULL},
    {"redis://h:65536", NULL, NULL, NULL},
    {"redis://h:port", NULL, NULL, NULL},
    {"redis://[::1", NULL, NULL, NULL},
    {"redis://[::1]x", NULL, NULL, NULL},
    {"redis://:%zz@h", NULL, NULL, NULL},
    {"redis://:%00@h", NULL, NULL, NULL},
    {"redis://h?unknown=1", NULL, NULL, NULL},
    {"redis://h?db=x", NULL, NULL, NULL},
    {"redis://h?pool_fifo=maybe", NULL, NULL, NULL},
    {"redis://h?dial_timeout=5x", NULL, NULL, NULL},
    {"redis://h?%0ax=1", NULL, NULL, NULL},
    {"redis://h%0a", NULL, NULL, NULL},
    {"redis://h\n", NULL, NULL, NULL},
    {"unix://", NULL, NULL, NULL},
};

static void urls_are_read_as_go_redis_reads_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct redis_url u = {.port = 1};
        char err[REDIS_URL_ERROR_MAX] = "";
        char shown[REDIS_URL_SHOWN_MAX];
        int const r = redis_url_parse(table[i].text, &u, err);
        if (table[i].shown == NULL) {
            assert_int_equal(r, -EINVAL);
            assert_true(strncmp(err, "redis: ", 7) == 0);
            assert_int_equal(u.port, 1);
            continue;
        }
        assert_int_equal(r, 0);
        assert_string_equal(redis_url_show(&u, shown), table[i].shown);
        assert_string_equal(u.user, table[i].user);
        assert_string_equal(u.password, table[i].password);
        redis_url_wipe(&u);
        assert_string_equal(u.password, "");
    }
}

static void time_limits_are_durations_or_seconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } times[] = {{"7", 7000},  {"250ms", 250}, {"1m30s", 90000},  {"1.5s", 1500}, {"0", 5000},
                 {"-1", 5000}, {"3us", 1},     {"100h", 3600000}, {"", 5000}};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        char text[64];
        char err[REDIS_URL_ERROR_MAX];
        struct redis_url u;
        (void)snprintf(text, sizeof(text), "redis://h?dial_timeout=%s&read_timeout=2s",
                       times[i].text);
        assert_int_equal(redis_url_parse(text, &u, err), 0);
        assert_int_equal(u.dial_timeout_ms, times[i].ms);
        assert_int_equal(u.read_timeout_ms, 2000);
        assert_false(u.skip_verify);
    }
}

static void errors_never_hold_the_password(void **state)
{
    (void)state;
    static const char *const texts[] = {"redis://u:hunter2@h:x",  "redis://u:hunter2@h/x",
                                        "http://u:hunter2@h",     "redis://u:hunter2@h?x=y",
                                        "redis://u:hunter2%zz@h", "redis:u:hunter2@h"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct redis_url u;
        char err[REDIS_URL_ERROR_MAX];
        assert_int_equal(redis_url_parse(texts[i], &u, err), -EINVAL);
        assert_null(strstr(err, "hunter2"));
    }
}

static void parts_that_are_too_long_are_refused(void **state)
{
    (void)state;
    char text[REDIS_URL_TEXT_MAX + 100];
    struct redis_url u;
    char err[REDIS_URL_ERROR_MAX];
    (void)snprintf(text, sizeof(text), "redis://%0*d@h", REDIS_URL_TEXT_MAX, 0);
    assert_int_equal(redis_url_parse(text, &u, err), -EINVAL);
    (void)snprintf(text, sizeof(text), "redis://%0*d", REDIS_URL_TEXT_MAX, 0);
    assert_int_equal(redis_url_parse(text, &u, err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_read_as_go_redis_reads_them),
        cmocka_unit_test(time_limits_are_durations_or_seconds),
        cmocka_unit_test(errors_never_hold_the_password),
        cmocka_unit_test(parts_that_are_too_long_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
