// SPDX-License-Identifier: Apache-2.0
// LINK: media
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/media/pli_throttle.h"

static struct pli_throttle p;

static mono_t ms(int64_t v)
{
    return (mono_t){v * US_PER_MS};
}

// The encoding asked for at `at`, or -1.
static int poll(int64_t at)
{
    uint8_t e = 0;
    return pli_throttle_poll(&p, ms(at), 2, &e) ? e : -1;
}

static void pli_throttle_sends_the_first_and_remembers_the_rest(void **state)
{
    (void)state;
    pli_throttle_init(&p);
    assert_true(mono_is_never(pli_throttle_deadline(&p)));
    assert_int_equal(poll(0), -1);
    for (unsigned i = 0; i < 50; i++) {
        pli_throttle_request(&p, ms(10), 1); // a join storm
    }
    assert_int_equal(poll(10), 1);
    assert_int_equal(poll(10), -1);
    pli_throttle_request(&p, ms(100), 1);
    assert_int_equal(poll(100), -1);
    assert_int_equal(pli_throttle_deadline(&p).us, ms(310).us);
    assert_int_equal(poll(309), -1);
    assert_int_equal(poll(310), 1);
    assert_int_equal(p.sent, 2);
    assert_int_equal(p.requested, 51);
}

static void pli_throttle_rests_after_a_key_frame(void **state)
{
    (void)state;
    pli_throttle_init(&p);
    pli_throttle_request(&p, ms(0), 0);
    assert_int_equal(poll(0), 0);
    pli_throttle_request(&p, ms(10), 0);
    pli_throttle_key_frame(&p, ms(50), 0); // answers that one too
    assert_true(mono_is_never(pli_throttle_deadline(&p)));
    pli_throttle_request(&p, ms(60), 0); // came too late for this key frame
    assert_int_equal(poll(349), -1);
    assert_int_equal(poll(350), 0);
}

static void pli_throttle_lets_one_answer_serve_all_layers(void **state)
{
    (void)state;
    pli_throttle_init(&p);
    pli_throttle_request(&p, ms(0), 2);
    pli_throttle_request(&p, ms(1), 0);
    pli_throttle_request(&p, ms(1), 1);
    assert_int_equal(poll(1), 2);
    assert_int_equal(poll(2), -1);
    pli_throttle_key_frame(&p, ms(40), 0);
    pli_throttle_key_frame(&p, ms(41), 1);
    assert_true(mono_is_never(pli_throttle_deadline(&p)));
    // A sender that answers for one layer only gets the other requests later.
    pli_throttle_request(&p, ms(1000), 2);
    pli_throttle_request(&p, ms(1000), 1);
    assert_int_equal(poll(1000), 1);
    pli_throttle_key_frame(&p, ms(1030), 1);
    assert_int_equal(poll(1329), -1);
    assert_int_equal(poll(1330), 2);
}

static void pli_throttle_spacing_follows_rtt_and_room(void **state)
{
    (void)state;
    pli_throttle_init(&p);
    pli_throttle_set_rtt(&p, 700000);
    pli_throttle_request(&p, ms(0), 0);
    assert_int_equal(poll(0), 0);
    pli_throttle_request(&p, ms(1), 0);
    assert_int_equal(pli_throttle_deadline(&p).us, ms(700).us);
    pli_throttle_init(&p);
    pli_throttle_set_min(&p, 1000000);
    pli_throttle_request(&p, ms(0), 0);
    assert_int_equal(poll(0), 0);
    pli_throttle_request(&p, ms(1), 0);
    assert_int_equal(pli_throttle_deadline(&p).us, ms(1000).us);
    pli_throttle_set_min(&p, 1);
    assert_int_equal(p.min_us, PLI_THROTTLE_MIN_US);
}

static void pli_throttle_seeds_a_new_track(void **state)
{
    (void)state;
    pli_throttle_init(&p);
    pli_throttle_seed(&p, ms(0));
    unsigned n = 0;
    for (int64_t t = 0; t < 60000; t += 100) {
        int const e = poll(t);
        assert_true(e == -1 || e == 2);
        n += e == 2;
    }
    assert_int_equal(n, 30);
    assert_true(mono_is_never(pli_throttle_deadline(&p)));
    pli_throttle_seed(&p, ms(0));
    pli_throttle_key_frame(&p, ms(1), 0);
    assert_true(mono_is_never(pli_throttle_deadline(&p)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pli_throttle_sends_the_first_and_remembers_the_rest),
        cmocka_unit_test(pli_throttle_rests_after_a_key_frame),
        cmocka_unit_test(pli_throttle_lets_one_answer_serve_all_layers),
        cmocka_unit_test(pli_throttle_spacing_follows_rtt_and_room),
        cmocka_unit_test(pli_throttle_seeds_a_new_track),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
