// SPDX-License-Identifier: Apache-2.0
// LINK: signal
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/signal/request_gate.h"

static struct request_gate gate;
static mono_t now;

static int setup(void **state)
{
    (void)state;
    now = (mono_t){INT64_C(1000) * US_PER_S};
    return request_gate_init(&gate);
}

static int teardown(void **state)
{
    (void)state;
    request_gate_done(&gate);
    return 0;
}

// One request that the worker handles at once.
static void pass(size_t bytes)
{
    struct channel_msg *const m = channel_msg_new(CHANNEL_LOG_STATS, HANDLE_NONE);
    assert_non_null(m);
    request_gate_pass(&gate, now, m, bytes);
    channel_msg_free(m);
}

static void bursts_pass_and_floods_wait(void **state)
{
    (void)state;
    for (int i = 0; i < SIGNAL_REQUESTS_BURST; i++) {
        assert_int_equal(request_gate_wait(&gate, now), 0);
        pass(100);
    }
    pass(100); // what was read already
    int64_t const ms = request_gate_wait(&gate, now);
    assert_in_range(ms, 1, 1000 / SIGNAL_REQUESTS_PER_S + 1);
    now = mono_add_ms(now, ms);
    assert_int_equal(request_gate_wait(&gate, now), 0);
    // A second later there is a second's worth.
    now = mono_add_ms(now, 1000);
    for (int i = 0; i < SIGNAL_REQUESTS_PER_S; i++) {
        assert_int_equal(request_gate_wait(&gate, now), 0);
        pass(100);
    }
    pass(100);
    assert_true(request_gate_wait(&gate, now) > 0);
    now = mono_add_ms(now, 60000); // and never more than the burst
    for (int i = 0; i <= SIGNAL_REQUESTS_BURST; i++) {
        pass(100);
    }
    assert_true(request_gate_wait(&gate, now) > 0);
}

static void bytes_have_their_own_allowance(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(request_gate_wait(&gate, now), 0);
        pass((size_t)2 << 20);
    }
    assert_int_equal(request_gate_wait(&gate, now), 0);
    pass((size_t)2 << 20);
    assert_in_range(request_gate_wait(&gate, now), 1990, 2010);
}

static void what_is_under_way_is_bounded(void **state)
{
    (void)state;
    struct channel_msg *held[SIGNAL_REQUESTS_UNDER_WAY];
    for (size_t i = 0; i < SIGNAL_REQUESTS_UNDER_WAY; i++) {
        assert_int_equal(request_gate_wait(&gate, now), 0);
        held[i] = channel_msg_new(CHANNEL_LOG_STATS, HANDLE_NONE);
        request_gate_pass(&gate, now, held[i], 10);
    }
    assert_true(request_gate_wait(&gate, now) > 0);
    channel_msg_free(held[0]);
    assert_int_equal(request_gate_wait(&gate, now), 0);
    for (size_t i = 1; i < SIGNAL_REQUESTS_UNDER_WAY; i++) {
        channel_msg_free(held[i]);
    }
    struct channel_msg *const large = channel_msg_new(CHANNEL_LOG_STATS, HANDLE_NONE);
    request_gate_pass(&gate, now, large, SIGNAL_REQUEST_BYTES_UNDER_WAY);
    assert_true(request_gate_wait(&gate, now) > 0);
    // The session may end before its worker is done.
    request_gate_done(&gate);
    channel_msg_free(large);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bursts_pass_and_floods_wait),
        TEST(bytes_have_their_own_allowance),
        TEST(what_is_under_way_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
