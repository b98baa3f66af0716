// SPDX-License-Identifier: Apache-2.0
// LINK: signal
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/signal/pong.h"

#include "common/lk/livekit.h"
#include "common/svc/pbuf.h"

#define S(s) ((s)*US_PER_S)
#define MS(ms) ((ms)*US_PER_MS)

static struct pong pong;
static const wall_t wall = {INT64_C(1790000000123456)};

// The kinds of the answers, as letters: p for Pong, r for PongResp.
static const char *answers_of(bool req, int64_t at_us)
{
    static char text[PONG_ANSWERS_MAX + 1];
    struct shared_buf *v[PONG_ANSWERS_MAX];
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    Livekit__Ping p = LIVEKIT__PING__INIT;
    LK_SET(&p, timestamp, 42);
    r.message_case =
        req ? LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING_REQ : LIVEKIT__SIGNAL_REQUEST__MESSAGE_PING;
    if (req) {
        r.ping_req = &p;
    }
    assert_true(pong_takes(&r));
    size_t const n = pong_answer(&pong, (mono_t){S(100) + at_us}, wall, &r, v);
    for (size_t i = 0; i < n; i++) {
        struct pbuf *b = NULL;
        assert_int_equal(lk_unpack_signal_response(shared_buf_view(v[i]), &b), 0);
        const Livekit__SignalResponse *const rsp = b->msg;
        text[i] = rsp->message_case == LIVEKIT__SIGNAL_RESPONSE__MESSAGE_PONG ? 'p' : 'r';
        if (text[i] == 'p') {
            assert_int_equal(rsp->pong, 1790000000123);
        } else {
            assert_int_equal(rsp->pong_resp->timestamp, 1790000000123);
            assert_int_equal(rsp->pong_resp->last_ping_timestamp, 42);
        }
        pbuf_free(b);
        shared_buf_unref(v[i]);
    }
    text[n] = 0;
    return text;
}

static const char *ping(int64_t at_us)
{
    return answers_of(false, at_us);
}

static const char *ping_req(int64_t at_us)
{
    return answers_of(true, at_us);
}

static int set_up(void **state)
{
    (void)state;
    pong = (struct pong){0};
    return 0;
}

static void a_pair_is_answered_together(void **state)
{
    (void)state;
    // Nothing is known of the client yet.
    assert_string_equal(ping(0), "p");
    assert_string_equal(ping_req(400), "r");
    for (int i = 1; i < 5; i++) {
        assert_string_equal(ping(S(5 * i)), "");
        assert_string_equal(ping_req(S(5 * i) + 400), "pr");
    }
}

static void a_ping_alone_is_answered_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_string_equal(ping(S(5 * i)), "p");
    }
}

static void a_ping_req_alone_is_answered_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_string_equal(ping_req(S(5 * i)), "r");
    }
}

static void the_other_order_is_no_pair(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_string_equal(ping_req(S(5 * i)), "r");
        assert_string_equal(ping(S(5 * i) + 400), "p");
    }
}

// No ping stays without answer for longer than until the next one.
static void a_pair_that_is_broken_up_is_no_pair_any_more(void **state)
{
    (void)state;
    (void)ping(0);
    (void)ping_req(400);
    assert_string_equal(ping(S(5)), "");
    assert_string_equal(ping(S(10)), "p");
    assert_string_equal(ping(S(15)), "p");
    // It came late: one more answer, and the next ping is answered at once.
    (void)ping_req(S(15) + 400);
    assert_string_equal(ping(S(20)), "");
    assert_string_equal(ping_req(S(22)), "pr");
    assert_string_equal(ping(S(25)), "p");
}

static void other_requests_are_not_taken(void **state)
{
    (void)state;
    Livekit__SignalRequest r = LIVEKIT__SIGNAL_REQUEST__INIT;
    assert_false(pong_takes(&r));
    r.message_case = LIVEKIT__SIGNAL_REQUEST__MESSAGE_LEAVE;
    assert_false(pong_takes(&r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_pair_is_answered_together, set_up),
        cmocka_unit_test_setup(a_ping_alone_is_answered_at_once, set_up),
        cmocka_unit_test_setup(a_ping_req_alone_is_answered_at_once, set_up),
        cmocka_unit_test_setup(the_other_order_is_no_pair, set_up),
        cmocka_unit_test_setup(a_pair_that_is_broken_up_is_no_pair_any_more, set_up),
        cmocka_unit_test(other_requests_are_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
