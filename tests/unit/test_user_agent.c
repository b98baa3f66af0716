// SPDX-License-Identifier: Apache-2.0
// LINK: signal
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/signal/user_agent.h"

#define WEBKIT "AppleWebKit/605.1.15 (KHTML, like Gecko) "
#define BLINK "AppleWebKit/537.36 (KHTML, like Gecko) "

// The first three are those of the recordings.
static void browsers_of_today_are_known(void **state)
{
    (void)state;
    static const struct {
        const char *ua;
        struct user_agent is;
    } cases[] = {
        {"Mozilla/5.0 (X11; Linux x86_64) " BLINK "HeadlessChrome/156.0.0.0 Safari/537.36",
         {"HeadlessChrome", "156.0.0.0", "Linux", "", ""}},
        {"Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
         {"Firefox", "153.0", "Linux", "", ""}},
        {"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " WEBKIT "Version/17.5 Safari/605.1.15",
         {"Safari", "17.5", "Mac OS X", "10.15.7", "Mac"}},
        {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " BLINK
         "Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
         {"Edge", "130.0.0.0", "Windows", "10.0", ""}},
        {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " BLINK "Chrome/130.0.0.0 Safari/537.36",
         {"Chrome", "130.0.0.0", "Windows", "10.0", ""}},
        {"Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/UQ1A) " BLINK
         "Chrome/130.0.0.0 Mobile Safari/537.36",
         {"Chrome Mobile", "130.0.0.0", "Android", "14", "Pixel 8"}},
        {"Mozilla/5.0 (Android 14; Mobile; rv:130.0) Gecko/130.0 Firefox/130.0",
         {"Firefox Mobile", "130.0", "Android", "14", "Mobile"}},
        {"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) " WEBKIT
         "Version/17.5 Mobile/15E148 Safari/604.1",
         {"Mobile Safari", "17.5", "iOS", "17.5", "iPhone"}},
        {"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) " WEBKIT
         "CriOS/130.0 Mobile/15E148 Safari/604.1",
         {"Chrome Mobile iOS", "130.0", "iOS", "17.5", "iPad"}},
        {"Go-http-client/1.1", {"", "", "", "", ""}},
        {"", {"", "", "", "", ""}},
        {NULL, {"", "", "", "", ""}},
        {"Firefox/", {"Firefox", "", "", "", ""}},
        {"Android ; ", {"", "", "Android", "", ""}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct user_agent is;
        user_agent_parse(cases[i].ua, &is);
        assert_string_equal(is.browser, cases[i].is.browser);
        assert_string_equal(is.browser_version, cases[i].is.browser_version);
        assert_string_equal(is.os, cases[i].is.os);
        assert_string_equal(is.os_version, cases[i].is.os_version);
        assert_string_equal(is.device, cases[i].is.device);
    }
}

// Long ones are cut, never overrun.
static void anything_fits(void **state)
{
    (void)state;
    char text[4096];
    memset(text, '1', sizeof(text));
    text[sizeof(text) - 1] = 0;
    static const char *const starts[] = {"Firefox/", "Android 1; ", "Mac OS X ", "Windows NT "};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct user_agent is;
        memcpy(text, starts[i], strlen(starts[i]));
        user_agent_parse(text, &is);
        assert_true(strlen(is.browser_version) < sizeof(is.browser_version));
        assert_true(strlen(is.device) < sizeof(is.device));
        memset(text, '1', 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(browsers_of_today_are_known),
        cmocka_unit_test(anything_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
