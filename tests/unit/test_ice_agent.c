// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// COVERS: ice_agent ice_tuples

// The lite role: what a server answers, which tuple it follows, when it gives up.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/transport/ice_agent.h"
#include "tests/data/stun/browsers.h"

#define PRIO_HOST 0x7E7F00FF  // Firefox's consent checks
#define PRIO_PRFLX 0x6E7F00FF // both browsers' checks

static struct rng rng;
static struct outbox out;
static struct ice_agent agent;
static struct ice_event events[64];
static size_t event_count;

static const struct ice_creds creds_a = {"ufragA", "passwordApasswordApassw"};
static const struct ice_creds creds_b = {"ufragB", "passwordBpasswordBpassw"};

static void drop_all(struct outbox *o, void *user)
{
    (void)user;
    o->count = 0;
}

static mono_t ms(int64_t t)
{
    return (mono_t){t * US_PER_MS};
}

static struct addr peer(uint8_t n)
{
    return addr_v4(198, 51, 100, n, (uint16_t)(40000 + n));
}

static struct addr tcp_peer(uint8_t n)
{
    struct addr a = peer(n);
    a.tcp = 1;
    return a;
}

static void drain(void)
{
    event_count = 0;
    while (ice_agent_poll_event(&agent, &events[event_count])) {
        event_count++;
    }
}

static const struct ice_event *event(enum ice_event_kind kind)
{
    for (size_t i = 0; i < event_count; i++) {
        if (events[i].kind == kind) {
            return &events[i];
        }
    }
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    static const uint8_t seed[RNG_SEED_LEN] = {1};
    rng_seed(&rng, seed);
    if (outbox_init(&out, drop_all, NULL) != 0) {
        return -1;
    }
    struct ice_agent_config const cfg = {
        .role = ICE_ROLE_LITE, .rng = &rng, .connect_timeout_ms = 20000};
    if (ice_agent_init(&agent, &cfg) != 0) {
        return -1;
    }
    ice_agent_set_local(&agent, ms(0), &creds_a);
    drain();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ice_agent_done(&agent);
    outbox_done(&out);
    return 0;
}

// What a test varies in a check.
struct check {
    const struct ice_creds *creds;
    uint32_t priority;
    bool use_candidate;
    bool controlled;
    bool no_integrity;
    uint16_t extra_attr;
    const char *pwd;
};

static size_t write_check(uint8_t buf[static STUN_MAX_LEN], const struct check *c)
{
    uint8_t txid[STUN_TXID_LEN];
    rng_bytes(&rng, txid, sizeof(txid));
    struct wr w = wr_init(buf, STUN_MAX_LEN);
    stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_username(&w, bytes_str(c->creds->ufrag), bytes_str("them"));
    stun_put_u64(&w, c->controlled ? STUN_ATTR_ICE_CONTROLLED : STUN_ATTR_ICE_CONTROLLING, 1);
    if (c->use_candidate) {
        stun_put_flag(&w, STUN_ATTR_USE_CANDIDATE);
    }
    if (c->extra_attr != 0) {
        stun_put_u32(&w, c->extra_attr, 0);
    }
    stun_put_u32(&w, STUN_ATTR_PRIORITY, c->priority);
    if (!c->no_integrity) {
        stun_end_integrity(&w, bytes_str(c->pwd != NULL ? c->pwd : c->creds->pwd));
    }
    stun_end_fingerprint(&w);
    assert_true(wr_ok(&w));
    return wr_len(&w);
}

static enum ice_rx send_check(mono_t now, struct addr from, const struct check *c)
{
    uint8_t buf[STUN_MAX_LEN];
    size_t const n = write_check(buf, c);
    out.count = 0;
    enum ice_rx const rx = ice_agent_input(&agent, now, 0, &from, bytes_of(buf, n), &out);
    drain();
    return rx;
}

// A good check; success is asserted.
static void check_from(mono_t now, struct addr from, bool use_candidate, uint32_t priority)
{
    struct check const c = {
        .creds = &creds_a, .priority = priority, .use_candidate = use_candidate};
    assert_int_equal(send_check(now, from, &c), ICE_RX_OK);
    assert_int_equal(out.count, 1);
}

static void assert_selected(struct addr want)
{
    const struct ice_tuple *const t = ice_agent_selected(&agent);
    assert_non_null(t);
    assert_true(addr_eq(&t->remote, &want));
}

// Lets time pass as an owner does: every deadline is met, and each call moves the deadline on.
static void run_until(mono_t end)
{
    event_count = 0;
    for (int i = 0; i < 1000; i++) {
        mono_t const d = ice_agent_deadline(&agent);
        if (!mono_reached(d, end)) {
            return;
        }
        ice_agent_timeout(&agent, d, &out);
        while (ice_agent_poll_event(&agent, &events[event_count])) {
            event_count++;
        }
        assert_true(mono_before(d, ice_agent_deadline(&agent)));
    }
    fail_msg("the deadline does not move");
}

// ---- answers --------------------------------------------------------------------------------

static void recorded_checks_get_the_recorded_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i + 1 < ARRAY_LEN(recorded_stun); i += 2) {
        struct bytes ufrag;
        struct bytes const request = bytes_of(recorded_stun[i].data, recorded_stun[i].len);
        assert_int_equal(stun_peek_local_ufrag(request, &ufrag), 0);
        struct ice_creds c = {0};
        memcpy(c.ufrag, ufrag.p, ufrag.n);
        memcpy(c.pwd, recorded_stun[i].pwd, strlen(recorded_stun[i].pwd));
        if (strcmp(agent.creds.ufrag, c.ufrag) != 0) {
            ice_agent_done(&agent);
            struct ice_agent_config const cfg = {.role = ICE_ROLE_LITE, .rng = &rng};
            assert_int_equal(ice_agent_init(&agent, &cfg), 0);
            ice_agent_set_local(&agent, ms(0), &c);
        }
        // Documentation addresses replaced the real ones in the packets' headers, not inside the
        // answers: take it from there.
        struct stun_msg answer;
        struct addr from;
        assert_int_equal(
            stun_parse(bytes_of(recorded_stun[i + 1].data, recorded_stun[i + 1].len), &answer), 0);
        assert_int_equal(stun_get_xor_addr(&answer, STUN_ATTR_XOR_MAPPED_ADDRESS, &from), 0);
        out.count = 0;
        assert_int_equal(ice_agent_input(&agent, ms((int64_t)i), 3, &from, request, &out),
                         ICE_RX_OK);
        drain();
        assert_int_equal(out.count, 1);
        assert_true(bytes_eq(bytes_of(out.slots[0].data, out.slots[0].len), answer.raw));
        assert_true(addr_eq(&out.slots[0].dst, &from));
        assert_int_equal(out.slots[0].local, 3);
    }
}

static void what_does_not_authenticate_gets_silence(void **state)
{
    (void)state;
    struct check const good = {.creds = &creds_a};
    struct check c = good;
    c.pwd = "wrong";
    assert_int_equal(send_check(ms(1), peer(1), &c), ICE_RX_INTEGRITY);
    c = good;
    c.no_integrity = true;
    assert_int_equal(send_check(ms(1), peer(1), &c), ICE_RX_INTEGRITY);
    c = good;
    c.creds = &creds_b;
    assert_int_equal(send_check(ms(1), peer(1), &c), ICE_RX_UFRAG);
    assert_int_equal(out.count, 0);
    assert_int_equal(event_count, 0);
    assert_int_equal(agent.state, ICE_STATE_NEW);
    assert_null(ice_agent_selected(&agent));
}

static void responses_indications_and_turn_get_silence(void **state)
{
    (void)state;
    static const struct {
        enum stun_class cls;
        enum stun_method method;
    } cases[] = {{STUN_SUCCESS, STUN_BINDING},
                 {STUN_ERROR, STUN_BINDING},
                 {STUN_INDICATION, STUN_BINDING},
                 {STUN_REQUEST, STUN_ALLOCATE}};
    struct addr const from = peer(1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t buf[STUN_MAX_LEN];
        struct wr w = wr_init(buf, sizeof(buf));
        stun_begin(&w, cases[i].cls, cases[i].method, (const uint8_t[STUN_TXID_LEN]){0});
        stun_put_username(&w, bytes_str(creds_a.ufrag), bytes_str("them"));
        stun_end_integrity(&w, bytes_str(creds_a.pwd));
        assert_int_equal(ice_agent_input(&agent, ms(1), 0, &from, wr_bytes_view(&w), &out),
                         ICE_RX_UNEXPECTED);
    }
    assert_int_equal(ice_agent_input(&agent, ms(1), 0, &from, bytes_str("short"), &out),
                     ICE_RX_MALFORMED);
    assert_int_equal(out.count, 0);
}

static uint16_t answered_error(const char *pwd)
{
    assert_int_equal(out.count, 1);
    struct stun_msg m;
    uint16_t code = 0;
    assert_int_equal(stun_parse(bytes_of(out.slots[0].data, out.slots[0].len), &m), 0);
    assert_int_equal(m.cls, STUN_ERROR);
    assert_true(stun_check_integrity(&m, bytes_str(pwd)));
    assert_int_equal(stun_get_error(&m, &code), 0);
    return code;
}

static void a_controlled_peer_gets_487(void **state)
{
    (void)state;
    struct check const c = {.creds = &creds_a, .controlled = true};
    assert_int_equal(send_check(ms(1), peer(1), &c), ICE_RX_ROLE);
    assert_int_equal(answered_error(creds_a.pwd), 487);
    assert_int_equal(agent.state, ICE_STATE_NEW);
}

static void an_unknown_required_attribute_gets_420(void **state)
{
    (void)state;
    struct check c = {.creds = &creds_a, .extra_attr = 0x7abc};
    assert_int_equal(send_check(ms(1), peer(1), &c), ICE_RX_UNKNOWN_ATTR);
    assert_int_equal(answered_error(creds_a.pwd), 420);
    struct stun_msg m;
    struct bytes v;
    assert_int_equal(stun_parse(bytes_of(out.slots[0].data, out.slots[0].len), &m), 0);
    assert_true(stun_find(&m, STUN_ATTR_UNKNOWN_ATTRIBUTES, &v));
    assert_int_equal(v.n, 2);
    c.extra_attr = 0xc001; // libwebrtc's NOMINATION is optional
    assert_int_equal(send_check(ms(1), peer(1), &c), ICE_RX_OK);
}

static void a_flood_is_answered_at_the_limit_only(void **state)
{
    (void)state;
    size_t answered = 0;
    for (int i = 0; i < 1000; i++) {
        struct check const c = {.creds = &creds_a};
        answered += send_check(ms(i), peer(1), &c) == ICE_RX_OK;
    }
    assert_in_range(answered, ICE_REQUESTS_BURST, ICE_REQUESTS_BURST + ICE_REQUESTS_PER_S + 1);
}

static void strangers_are_limited_before_their_hmac(void **state)
{
    (void)state;
    struct check const c = {.creds = &creds_a, .pwd = "wrong"};
    size_t computed = 0;
    for (int i = 0; i < 500; i++) {
        struct addr const from = addr_v4(203, 0, 113, (uint8_t)(i & 255), (uint16_t)i);
        computed += send_check(ms(1), from, &c) == ICE_RX_INTEGRITY;
    }
    assert_int_equal(computed, ICE_REQUESTS_BURST);
}

// ---- nomination -----------------------------------------------------------------------------

static void the_first_check_selects_and_connects(void **state)
{
    (void)state;
    check_from(ms(10), peer(1), false, PRIO_PRFLX);
    assert_int_equal(event_count, 3);
    assert_int_equal(events[0].kind, ICE_EVENT_TUPLE_ADDED);
    assert_int_equal(events[1].kind, ICE_EVENT_SELECTED);
    assert_int_equal(events[2].kind, ICE_EVENT_STATE);
    assert_int_equal(events[2].state, ICE_STATE_CONNECTED);
    assert_selected(peer(1));
    struct addr const p = peer(1);
    assert_int_equal(ice_agent_find_tuple(&agent, 0, &p), 0);
    assert_int_equal(ice_agent_find_tuple(&agent, 1, &p), -1);
}

static void chromium_moves_by_nominating_another_tuple(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), false, PRIO_PRFLX);
    check_from(ms(20), peer(2), false, PRIO_PRFLX + 256);
    assert_selected(peer(1));
    check_from(ms(50), peer(1), true, PRIO_PRFLX);
    assert_selected(peer(1));
    // Better priority, but not chosen.
    check_from(ms(70), peer(2), false, PRIO_PRFLX + 256);
    assert_selected(peer(1));
    check_from(ms(100), peer(2), true, PRIO_PRFLX + 256);
    assert_selected(peer(2));
    // Back to the worse one within two seconds: newest wins, whatever the priority.
    check_from(ms(600), peer(1), true, PRIO_PRFLX);
    assert_selected(peer(1));
    assert_non_null(event(ICE_EVENT_SELECTED));
}

static void firefox_uses_the_pair_of_highest_priority(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    check_from(ms(20), peer(2), true, PRIO_PRFLX + 256);
    assert_selected(peer(2));
    check_from(ms(40), peer(3), true, PRIO_PRFLX + 1);
    assert_selected(peer(2));
    // Consent checks: no USE-CANDIDATE, another PRIORITY; nothing changes.
    for (int64_t t = 4000; t < 30000; t += 5900) {
        check_from(ms(t), peer(2), false, PRIO_HOST);
        assert_selected(peer(2));
    }
}

static void firefox_order_does_not_matter(void **state)
{
    (void)state;
    check_from(ms(0), peer(2), true, PRIO_PRFLX + 256);
    check_from(ms(20), peer(1), true, PRIO_PRFLX);
    assert_selected(peer(2));
}

static void udp_ranks_before_tcp(void **state)
{
    (void)state;
    check_from(ms(0), tcp_peer(1), true, 0x6D7F80FF);
    assert_selected(tcp_peer(1));
    check_from(ms(20), peer(2), true, 0x207F00FF);
    assert_selected(peer(2));
}

static void the_hint_makes_a_peer_aggressive_at_any_distance(void **state)
{
    (void)state;
    agent.cfg.peer_aggressive = true;
    check_from(ms(0), peer(1), true, PRIO_PRFLX + 256);
    check_from(ms(5000), peer(1), false, PRIO_HOST);
    check_from(ms(6000), peer(2), true, PRIO_PRFLX);
    assert_selected(peer(1));
}

// ---- tuples ---------------------------------------------------------------------------------

static void the_oldest_unselected_tuple_makes_room(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < ICE_TUPLES_MAX; i++) {
        check_from(ms(i), peer(i), false, PRIO_PRFLX);
    }
    check_from(ms(100), peer(1), false, PRIO_PRFLX); // 0 is selected, 1 is fresh: 2 goes
    check_from(ms(101), peer(100), false, PRIO_PRFLX);
    const struct ice_event *const e = event(ICE_EVENT_TUPLE_REMOVED);
    assert_non_null(e);
    struct addr const gone = peer(2);
    assert_true(addr_eq(&e->remote, &gone));
    assert_selected(peer(0));
    assert_int_equal(ice_agent_find_tuple(&agent, 0, &gone), -1);
}

static void silent_tuples_are_forgotten_after_thirty_seconds(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    check_from(ms(0), peer(2), false, PRIO_PRFLX);
    for (int64_t t = 1000; t < ICE_TUPLE_DEAD_MS; t += 1000) {
        run_until(ms(t));
        assert_int_equal(event_count, 0);
        check_from(ms(t), peer(1), false, PRIO_PRFLX);
    }
    run_until(ms(ICE_TUPLE_DEAD_MS));
    assert_int_equal(event_count, 1);
    assert_int_equal(events[0].kind, ICE_EVENT_TUPLE_REMOVED);
}

static void a_silent_selected_tuple_is_left_for_a_live_one(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    check_from(ms(10), peer(2), true, PRIO_PRFLX - 1);
    check_from(ms(20), peer(3), false, PRIO_PRFLX + 9);
    assert_selected(peer(1));
    check_from(ms(5900), peer(2), false, PRIO_HOST);
    check_from(ms(6000), peer(3), false, PRIO_HOST);
    run_until(ms(7999));
    assert_selected(peer(1));
    run_until(ms(ICE_SELECTED_SILENT_MS));
    assert_selected(peer(2)); // nominated goes before fresher
}

static void a_tuple_heard_long_ago_is_no_better(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    check_from(ms(4000), peer(2), false, PRIO_PRFLX);
    run_until(ms(9000));
    assert_selected(peer(1));
    // Heard now, it is.
    check_from(ms(9001), peer(2), false, PRIO_PRFLX);
    assert_selected(peer(2));
}

static void a_changed_address_is_followed_by_media_alone(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    check_from(ms(3000), peer(2), false, PRIO_HOST); // Firefox behind a NAT that rebound
    struct addr const p = peer(2);
    int const t = ice_agent_find_tuple(&agent, 0, &p);
    assert_true(t >= 0);
    for (int64_t at = 3000; at < 9000; at += 20) {
        ice_agent_note_rx(&agent, ms(at), t);
    }
    assert_selected(peer(2));
}

// ---- liveness -------------------------------------------------------------------------------

static void silence_disconnects_then_fails(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    run_until(ms(ICE_DISCONNECTED_MS - 1));
    assert_int_equal(event_count, 0);
    run_until(ms(ICE_DISCONNECTED_MS));
    assert_int_equal(agent.state, ICE_STATE_DISCONNECTED);
    assert_non_null(ice_agent_selected(&agent));
    ice_agent_note_rx(&agent, ms(12000), 0);
    drain();
    assert_int_equal(agent.state, ICE_STATE_CONNECTED);
    run_until(ms(12000 + ICE_FAILED_MS - 1));
    assert_int_equal(agent.state, ICE_STATE_DISCONNECTED);
    run_until(ms(12000 + ICE_FAILED_MS));
    assert_int_equal(agent.state, ICE_STATE_FAILED);
    assert_null(ice_agent_selected(&agent));
    assert_int_equal(ice_agent_deadline(&agent).us, MONO_NEVER.us);
}

static void a_failed_transport_is_silent_until_restarted(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    run_until(ms(ICE_FAILED_MS));
    struct check c = {.creds = &creds_a, .use_candidate = true};
    assert_int_equal(send_check(ms(16000), peer(1), &c), ICE_RX_UNEXPECTED);
    assert_int_equal(out.count, 0);
    ice_agent_set_local(&agent, ms(17000), &creds_b);
    drain();
    assert_int_equal(agent.state, ICE_STATE_NEW);
    assert_null(ice_agent_selected(&agent));
    c.creds = &creds_b;
    assert_int_equal(send_check(ms(17100), peer(1), &c), ICE_RX_OK);
    assert_int_equal(agent.state, ICE_STATE_CONNECTED);
    assert_selected(peer(1));
}

static void no_check_at_all_fails_after_the_connect_timeout(void **state)
{
    (void)state;
    run_until(ms(100000));
    assert_int_equal(agent.state, ICE_STATE_NEW); // nobody started it
    ice_agent_start(&agent, ms(100000));
    run_until(ms(119999));
    assert_int_equal(agent.state, ICE_STATE_NEW);
    run_until(ms(120000));
    assert_int_equal(agent.state, ICE_STATE_FAILED);
}

// ---- restart --------------------------------------------------------------------------------

static void old_and_new_credentials_work_until_the_first_new_check(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    ice_agent_set_local(&agent, ms(1000), &creds_b);
    drain();
    assert_int_equal(event_count, 0);
    check_from(ms(1100), peer(1), true, PRIO_PRFLX); // the answer is still under way
    assert_selected(peer(1));
    struct check c = {.creds = &creds_b, .priority = PRIO_PRFLX};
    assert_int_equal(send_check(ms(1200), peer(2), &c), ICE_RX_OK);
    assert_non_null(event(ICE_EVENT_UFRAG_RETIRED));
    assert_string_equal(event(ICE_EVENT_UFRAG_RETIRED)->ufrag, creds_a.ufrag);
    assert_selected(peer(1)); // data stays until the new generation nominates
    c.creds = &creds_a;
    assert_int_equal(send_check(ms(1300), peer(1), &c), ICE_RX_UFRAG);
    c.creds = &creds_b;
    c.use_candidate = true;
    assert_int_equal(send_check(ms(1400), peer(2), &c), ICE_RX_OK);
    assert_selected(peer(2));
}

static void old_nominations_do_not_outrank_new_ones(void **state)
{
    (void)state;
    agent.cfg.peer_aggressive = true;
    check_from(ms(0), peer(1), true, PRIO_PRFLX + 256);
    ice_agent_set_local(&agent, ms(500), &creds_b);
    struct check const c = {.creds = &creds_b, .priority = PRIO_PRFLX, .use_candidate = true};
    assert_int_equal(send_check(ms(600), peer(2), &c), ICE_RX_OK);
    assert_selected(peer(2));
}

static void old_credentials_end_after_ten_seconds(void **state)
{
    (void)state;
    check_from(ms(0), peer(1), true, PRIO_PRFLX);
    ice_agent_set_local(&agent, ms(1000), &creds_b);
    check_from(ms(5000), peer(1), true, PRIO_PRFLX);
    run_until(ms(1000 + ICE_OLD_CREDS_MS));
    assert_non_null(event(ICE_EVENT_UFRAG_RETIRED));
    struct check const c = {.creds = &creds_a};
    assert_int_equal(send_check(ms(11001), peer(1), &c), ICE_RX_UFRAG);
}

static void a_second_restart_retires_the_oldest_at_once(void **state)
{
    (void)state;
    static const struct ice_creds creds_c = {"ufragC", "passwordCpasswordCpassw"};
    ice_agent_set_local(&agent, ms(1), &creds_b);
    ice_agent_set_local(&agent, ms(2), &creds_c);
    drain();
    assert_int_equal(event_count, 1);
    assert_string_equal(events[0].ufrag, creds_a.ufrag);
    struct check c = {.creds = &creds_b};
    assert_int_equal(send_check(ms(3), peer(1), &c), ICE_RX_OK);
    c.creds = &creds_c;
    assert_int_equal(send_check(ms(4), peer(1), &c), ICE_RX_OK);
    assert_string_equal(event(ICE_EVENT_UFRAG_RETIRED)->ufrag, creds_b.ufrag);
}

static void generated_credentials_are_long_and_different(void **state)
{
    (void)state;
    struct ice_creds a;
    struct ice_creds b;
    ice_creds_generate(&rng, "w3", &a);
    ice_creds_generate(&rng, "", &b);
    assert_memory_equal(a.ufrag, "w3", 2);
    assert_int_equal(strlen(a.ufrag), 18);
    assert_int_equal(strlen(a.pwd), 32);
    assert_int_equal(strlen(b.ufrag), 16);
    assert_string_not_equal(a.pwd, b.pwd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(recorded_checks_get_the_recorded_answers),
        TEST(what_does_not_authenticate_gets_silence),
        TEST(responses_indications_and_turn_get_silence),
        TEST(a_controlled_peer_gets_487),
        TEST(an_unknown_required_attribute_gets_420),
        TEST(a_flood_is_answered_at_the_limit_only),
        TEST(strangers_are_limited_before_their_hmac),
        TEST(the_first_check_selects_and_connects),
        TEST(chromium_moves_by_nominating_another_tuple),
        TEST(firefox_uses_the_pair_of_highest_priority),
        TEST(firefox_order_does_not_matter),
        TEST(udp_ranks_before_tcp),
        TEST(the_hint_makes_a_peer_aggressive_at_any_distance),
        TEST(the_oldest_unselected_tuple_makes_room),
        TEST(silent_tuples_are_forgotten_after_thirty_seconds),
        TEST(a_silent_selected_tuple_is_left_for_a_live_one),
        TEST(a_tuple_heard_long_ago_is_no_better),
        TEST(a_changed_address_is_followed_by_media_alone),
        TEST(silence_disconnects_then_fails),
        TEST(a_failed_transport_is_silent_until_restarted),
        TEST(no_check_at_all_fails_after_the_connect_timeout),
        TEST(old_and_new_credentials_work_until_the_first_new_check),
        TEST(old_nominations_do_not_outrank_new_ones),
        TEST(old_credentials_end_after_ten_seconds),
        TEST(a_second_restart_retires_the_oldest_at_once),
        TEST(generated_credentials_are_long_and_different),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
