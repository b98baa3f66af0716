// SPDX-License-Identifier: Apache-2.0
// LINK: sys
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <unistd.h>

#include <cmocka.h>

#include "common/sys/clock.h"
#include "common/sys/startup_pages.h"

#define BALLAST (1u << 20)
#define BALLAST_BYTE 7

static const uint8_t ballast[BALLAST] = {[0 ... BALLAST - 1] = BALLAST_BYTE};
static int written = 1; // lies in a page that relocation and we have written to
static int *const volatile relocated = &written;

static bool ballast_is_whole(void)
{
    const volatile uint8_t *const p =
        ballast; // really read; itself volatile it would be writable data
    bool whole = true;
    for (size_t i = 0; i < BALLAST; i++) {
        whole = whole && p[i] == BALLAST_BYTE;
    }
    return whole;
}

// Bytes of files that are mapped into the process and present.
static size_t file_bytes(void)
{
    unsigned long size = 0;
    unsigned long resident = 0;
    unsigned long shared = 0;
    FILE *const f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu %lu", &size, &resident, &shared), 3);
    (void)fclose(f);
    return shared * (size_t)sysconf(_SC_PAGESIZE);
}

static void what_was_read_is_let_go_and_comes_back(void **state)
{
    (void)state;
    assert_true(ballast_is_whole());
    written = 2;
    size_t const before = file_bytes();
    startup_pages_release();
    assert_true(file_bytes() + BALLAST / 2 < before);
    assert_true(ballast_is_whole());
    assert_int_equal(*relocated, 2);
}

static void it_happens_once_after_the_start(void **state)
{
    (void)state;
    struct loop *const l = loop_new();
    assert_non_null(l);
    struct startup_pages *const s = startup_pages_new(l);
    assert_non_null(s);
    assert_true(ballast_is_whole());
    size_t const before = file_bytes();
    mono_t const began = clock_mono();
    size_t now = before;
    while (now + BALLAST / 2 >= before &&
           mono_diff_ms(clock_mono(), began) < 10 * STARTUP_PAGES_MS) {
        loop_run_once(l, 100);
        now = file_bytes();
    }
    assert_true(now + BALLAST / 2 < before);
    startup_pages_free(s);
    loop_free(l);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_read_is_let_go_and_comes_back),
        cmocka_unit_test(it_happens_once_after_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
