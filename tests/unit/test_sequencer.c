// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sfu/media/sequencer.h"

#define RTT (50 * US_PER_MS)

static mono_t at_ms(int64_t ms)
{
    return (mono_t){ms * US_PER_MS};
}

static void put(struct sequencer *s, uint16_t sn, uint32_t source, int64_t ms)
{
    struct sequencer_entry *const e = sequencer_put(s, sn);
    memset(e, 0, sizeof(*e));
    e->sn = sn;
    e->source_sn = source;
    e->used = 1;
    e->sent_ms = (uint32_t)ms;
}

static void sequencer_answers_three_times_with_pauses(void **state)
{
    (void)state;
    struct sequencer s;
    const struct sequencer_entry *e = NULL;
    sequencer_reset(&s);
    put(&s, 65535, 7, 1075);
    assert_int_equal(sequencer_request(&s, at_ms(1099), RTT, 65535, 65535, &e), SEQUENCER_TOO_SOON);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sequencer_request(&s, at_ms(1100 + 100 * i), RTT, 3, 65535, &e),
                         SEQUENCER_ANSWER);
        assert_int_equal(e->source_sn, 7);
        assert_int_equal(sequencer_request(&s, at_ms(1199 + 100 * i), RTT, 3, 65535, &e),
                         i < 2 ? SEQUENCER_TOO_SOON : SEQUENCER_EXHAUSTED);
    }
}

static void sequencer_waits_two_round_trips_if_they_are_short(void **state)
{
    (void)state;
    struct sequencer s;
    const struct sequencer_entry *e = NULL;
    sequencer_reset(&s);
    put(&s, 5, 7, 1000);
    assert_int_equal(sequencer_request(&s, at_ms(1004), 10 * US_PER_MS, 5, 5, &e),
                     SEQUENCER_TOO_SOON);
    assert_int_equal(sequencer_request(&s, at_ms(1005), 10 * US_PER_MS, 5, 5, &e),
                     SEQUENCER_ANSWER);
    assert_int_equal(sequencer_request(&s, at_ms(1024), 10 * US_PER_MS, 5, 5, &e),
                     SEQUENCER_TOO_SOON);
    assert_int_equal(sequencer_request(&s, at_ms(1025), 10 * US_PER_MS, 5, 5, &e),
                     SEQUENCER_ANSWER);
}

static void sequencer_forgets_old_cycles_and_knows_no_future(void **state)
{
    (void)state;
    struct sequencer s;
    const struct sequencer_entry *e = NULL;
    sequencer_reset(&s);
    put(&s, 5, 7, 0);
    assert_int_equal(sequencer_request(&s, at_ms(5000), RTT, 5 + SEQUENCER_CAP, 5, &e),
                     SEQUENCER_UNKNOWN);
    assert_int_equal(sequencer_request(&s, at_ms(5000), RTT, 4, 5, &e), SEQUENCER_UNKNOWN);
    assert_int_equal(sequencer_request(&s, at_ms(5000), RTT, 5 + SEQUENCER_CAP - 1, 5, &e),
                     SEQUENCER_ANSWER);
    assert_int_equal(sequencer_request(&s, at_ms(5000), RTT, 10, 6, &e), SEQUENCER_UNKNOWN);
    sequencer_reset(&s);
    assert_int_equal(sequencer_request(&s, at_ms(5000), RTT, 5, 5, &e), SEQUENCER_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequencer_answers_three_times_with_pauses),
        cmocka_unit_test(sequencer_waits_two_round_trips_if_they_are_short),
        cmocka_unit_test(sequencer_forgets_old_cycles_and_knows_no_future),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
