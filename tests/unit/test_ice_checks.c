// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// SUPPORT: vnet
// COVERS: ice_checks ice_pairs

// The full role: checks, nomination, roles and consent, agent against agent on a virtual network.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sfu/transport/ice_agent.h"
#include "tests/support/vnet.h"

#define S(seconds) ((int64_t)(seconds)*US_PER_S)
#define MS(ms) ((int64_t)(ms)*US_PER_MS)

struct side {
    struct ice_agent agent;
    struct vnet_endpoint ep;
    struct ice_creds creds;
    size_t local_count;
};

static struct vnet *net;
static struct rng rng;
static mono_t now;
static struct side sides[2];
static const struct vnet_link wire = {.delay_us = 10000};

// What the tap saw.
static unsigned requests[2];
static unsigned nominating[2];
static mono_t last_request;

static struct addr address(size_t side, size_t i)
{
    return addr_v4(192, 0, 2, (uint8_t)(10 * side + i + 1), (uint16_t)(5000 + i));
}

static void tap(void *user, mono_t at, const struct vnet_datagram *d)
{
    (void)user;
    struct stun_msg m;
    assert_int_equal(stun_parse(bytes_of(d->data.p, d->data.n), &m), 0);
    if (m.cls == STUN_REQUEST) {
        size_t const side = d->src.ip[3] >= 10;
        requests[side]++;
        nominating[side] += stun_has(&m, STUN_ATTR_USE_CANDIDATE);
        last_request = at;
    }
}

static void add_side(size_t i, enum ice_role role, size_t locals, bool nominate_always)
{
    struct side *const s = &sides[i];
    struct addr const first = address(i, 0);
    vnet_endpoint_init(&s->ep, net, &first, NULL);
    struct ice_agent_config const cfg = {
        .role = role, .rng = &rng, .connect_timeout_ms = 30000, .nominate_always = nominate_always};
    assert_int_equal(ice_agent_init(&s->agent, &cfg), 0);
    ice_creds_generate(&rng, "", &s->creds);
    ice_agent_set_local(&s->agent, now, &s->creds);
    s->local_count = locals;
    if (role == ICE_ROLE_FULL) {
        struct ice_local l[2];
        for (size_t k = 0; k < locals; k++) {
            s->ep.locals[k] = address(i, k);
            l[k] = (struct ice_local){address(i, k), (uint8_t)k};
        }
        assert_int_equal(ice_agent_set_locals(&s->agent, l, locals), 0);
    }
}

static void set_remote(size_t i, bool candidates)
{
    const struct side *const other = &sides[1 - i];
    struct side *const s = &sides[i];
    bool const lite = other->agent.cfg.role == ICE_ROLE_LITE;
    assert_int_equal(ice_agent_set_remote(&s->agent, now, bytes_str(other->creds.ufrag),
                                          bytes_str(other->creds.pwd), lite),
                     0);
    for (size_t k = 0; candidates && k < other->local_count; k++) {
        struct addr const a = address(1 - i, k);
        assert_int_equal(ice_agent_add_remote(&s->agent, now, &a, 2130706431u - (uint32_t)k * 256),
                         0);
    }
}

static void drain(struct side *s)
{
    struct ice_event e;
    while (ice_agent_poll_event(&s->agent, &e)) {
    }
}

static void deliver(void)
{
    struct vnet_datagram d;
    while (vnet_next(net, now, &d)) {
        for (size_t i = 0; i < 2; i++) {
            for (size_t k = 0; k < sides[i].local_count; k++) {
                struct addr const a = address(i, k);
                if (addr_eq(&a, &d.dst)) {
                    (void)ice_agent_input(&sides[i].agent, now, (uint8_t)k, &d.src,
                                          bytes_of(d.data.p, d.data.n), &sides[i].ep.out);
                    drain(&sides[i]);
                    outbox_flush(&sides[i].ep.out);
                }
            }
        }
    }
}

static void run(int64_t us)
{
    mono_t const end = mono_add_us(now, us);
    for (int guard = 0; mono_before(now, end); guard++) {
        assert_true(guard < 100000);
        mono_t next = mono_min(end, vnet_deadline(net));
        for (size_t i = 0; i < 2; i++) {
            next = mono_min(next, ice_agent_deadline(&sides[i].agent));
        }
        now = mono_max(now, next);
        sides[0].ep.now = now;
        sides[1].ep.now = now;
        deliver();
        for (size_t i = 0; i < 2; i++) {
            if (mono_reached(ice_agent_deadline(&sides[i].agent), now)) {
                ice_agent_timeout(&sides[i].agent, now, &sides[i].ep.out);
                drain(&sides[i]);
                outbox_flush(&sides[i].ep.out);
            }
        }
    }
}

static void assert_pair(struct addr a, struct addr b)
{
    const struct ice_tuple *const x = ice_agent_selected(&sides[0].agent);
    const struct ice_tuple *const y = ice_agent_selected(&sides[1].agent);
    assert_non_null(x);
    assert_non_null(y);
    assert_true(addr_eq(&x->remote, &b));
    assert_true(addr_eq(&y->remote, &a));
}

static int setup(void **state)
{
    (void)state;
    static const uint8_t seed[RNG_SEED_LEN] = {3};
    rng_seed(&rng, seed);
    now = (mono_t){S(1)};
    net = vnet_new(1);
    vnet_set_link(net, NULL, NULL, &wire);
    vnet_set_tap(net, tap, NULL);
    memset(requests, 0, sizeof(requests));
    memset(nominating, 0, sizeof(nominating));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ice_agent_done(&sides[i].agent);
        vnet_endpoint_done(&sides[i].ep);
    }
    vnet_free(net);
    return 0;
}

static void begin(enum ice_role peer, size_t locals, bool nominate_always)
{
    add_side(0, ICE_ROLE_FULL, locals, nominate_always);
    add_side(1, peer, locals, nominate_always);
    sides[0].ep.now = now;
    sides[1].ep.now = now;
}

static void regular_nomination_against_a_lite_peer(void **state)
{
    (void)state;
    begin(ICE_ROLE_LITE, 1, false);
    set_remote(0, true);
    run(MS(30));
    assert_int_equal(sides[0].agent.state, ICE_STATE_CONNECTED); // data may flow before nomination
    run(MS(30));
    assert_pair(address(0, 0), address(1, 0));
    assert_int_equal(requests[0], 2);
    assert_int_equal(nominating[0], 1);
    assert_true(sides[1].agent.tuples[0].nominated);
    assert_in_range(ice_agent_rtt_us(&sides[0].agent), 20000, 20100);
}

static void lost_checks_are_repeated(void **state)
{
    (void)state;
    begin(ICE_ROLE_LITE, 1, false);
    struct vnet_link const dead = {.down = true};
    vnet_set_link(net, NULL, NULL, &dead);
    set_remote(0, true);
    run(MS(1400));
    assert_int_equal(requests[0], 2); // at 0 and 0.5 s; the next after 1.5 s
    vnet_set_link(net, NULL, NULL, &wire);
    run(MS(200));
    assert_int_equal(sides[0].agent.state, ICE_STATE_CONNECTED);
}

static void nobody_answers_ends_in_failed(void **state)
{
    (void)state;
    begin(ICE_ROLE_LITE, 1, false);
    struct vnet_link const dead = {.down = true};
    vnet_set_link(net, NULL, NULL, &dead);
    set_remote(0, true);
    run(S(29));
    assert_int_equal(sides[0].agent.state, ICE_STATE_NEW);
    run(S(2));
    assert_int_equal(sides[0].agent.state, ICE_STATE_FAILED);
    assert_in_range(requests[0], 5, 7);
}

static void a_wrong_password_never_connects(void **state)
{
    (void)state;
    begin(ICE_ROLE_LITE, 1, false);
    sides[1].creds.pwd[3] ^= 1; // what side 0 is told
    set_remote(0, true);
    run(S(20));
    assert_int_equal(sides[0].agent.state, ICE_STATE_NEW);
    assert_int_equal(sides[1].agent.state, ICE_STATE_NEW);
}

static void two_controlling_agents_settle_who_is(void **state)
{
    (void)state;
    begin(ICE_ROLE_FULL, 1, false);
    set_remote(0, true);
    set_remote(1, true);
    run(S(2));
    assert_int_equal(sides[0].agent.state, ICE_STATE_CONNECTED);
    assert_int_equal(sides[1].agent.state, ICE_STATE_CONNECTED);
    assert_pair(address(0, 0), address(1, 0));
    // Exactly one of them nominated.
    assert_true((nominating[0] > 0) != (nominating[1] > 0));
}

static void the_best_of_several_paths_is_nominated(void **state)
{
    (void)state;
    begin(ICE_ROLE_FULL, 2, false);
    set_remote(0, true);
    set_remote(1, true);
    run(S(3));
    assert_pair(address(0, 0), address(1, 0));
}

static void a_dead_path_is_gone_around(void **state)
{
    (void)state;
    begin(ICE_ROLE_FULL, 2, false);
    struct vnet_link const dead = {.down = true};
    struct addr const a = address(0, 0);
    struct addr const b = address(1, 0);
    vnet_set_link(net, &a, NULL, &dead);
    vnet_set_link(net, NULL, &b, &dead);
    set_remote(0, true);
    set_remote(1, true);
    run(S(3));
    assert_pair(address(0, 1), address(1, 1));
}

static void an_unlisted_peer_is_found_by_its_checks(void **state)
{
    (void)state;
    begin(ICE_ROLE_FULL, 1, false);
    set_remote(0, true);
    set_remote(1, false); // no candidates: peer reflexive
    run(S(2));
    assert_pair(address(0, 0), address(1, 0));
}

static void consent_is_asked_for_each_five_seconds(void **state)
{
    (void)state;
    for (int always = 0; always < 2; always++) {
        begin(ICE_ROLE_LITE, 1, always != 0);
        set_remote(0, true);
        run(S(1));
        unsigned const before = requests[0];
        unsigned const nominated = nominating[0];
        run(S(60));
        assert_in_range(requests[0] - before, 10, 15);
        assert_int_equal(nominating[0] - nominated, always != 0 ? requests[0] - before : 0);
        assert_int_equal(sides[0].agent.state, ICE_STATE_CONNECTED);
        if (always == 0) {
            (void)teardown(NULL);
            (void)setup(NULL);
        }
    }
}

static void consent_ends_although_data_still_arrives(void **state)
{
    (void)state;
    begin(ICE_ROLE_LITE, 1, false);
    set_remote(0, true);
    run(S(1));
    struct vnet_link const dead = {.down = true};
    vnet_set_link(net, NULL, NULL, &dead);
    mono_t const cut = now;
    while (sides[0].agent.state != ICE_STATE_FAILED && mono_diff_ms(now, cut) < 60000) {
        ice_agent_note_rx(&sides[0].agent, now, 0);
        run(S(1));
    }
    assert_in_range(mono_diff_ms(now, cut), 25000, 33000); // RFC 7675: 30 s after the last answer
}

static void answers_from_elsewhere_are_not_believed(void **state)
{
    (void)state;
    begin(ICE_ROLE_LITE, 1, false);
    // The server's answers come from another address than the one that was asked.
    struct addr const inside = address(1, 0);
    struct addr const outside = addr_v4(198, 51, 100, 1, 1);
    set_remote(0, true);
    run(MS(5));
    vnet_map(net, &inside, &outside);
    run(S(2));
    assert_int_equal(sides[0].agent.state, ICE_STATE_NEW);
}

static void unusable_candidates_are_refused(void **state)
{
    (void)state;
    begin(ICE_ROLE_LITE, 1, false);
    struct ice_agent *const a = &sides[0].agent;
    struct addr const none = {0};
    struct addr const any = addr_v4(0, 0, 0, 0, 5000);
    struct addr const no_port = addr_v4(192, 0, 2, 1, 0);
    struct addr const multicast = addr_v4(224, 0, 0, 1, 5000);
    struct addr tcp = addr_v4(192, 0, 2, 1, 9);
    tcp.tcp = 1;
    assert_int_equal(ice_agent_add_remote(a, now, &none, 1), -EINVAL);
    assert_int_equal(ice_agent_add_remote(a, now, &any, 1), -EINVAL);
    assert_int_equal(ice_agent_add_remote(a, now, &no_port, 1), -EINVAL);
    assert_int_equal(ice_agent_add_remote(a, now, &multicast, 1), -EINVAL);
    assert_int_equal(ice_agent_add_remote(a, now, &tcp, 1), -EINVAL);
    for (size_t i = 0; i < ICE_REMOTES_MAX; i++) {
        struct addr const good = addr_v4(192, 0, 2, (uint8_t)i, 5000);
        assert_int_equal(ice_agent_add_remote(a, now, &good, 1), 0);
        assert_int_equal(ice_agent_add_remote(a, now, &good, 1), 0);
    }
    struct addr const more = addr_v4(192, 0, 3, 1, 5000);
    assert_int_equal(ice_agent_add_remote(a, now, &more, 1), -ENOBUFS);
    assert_int_equal(
        ice_agent_set_remote(a, now, bytes_str("abc"), bytes_str("0123456789012345678901"), true),
        -EINVAL);
    assert_int_equal(ice_agent_set_remote(a, now, bytes_str("abcd"), bytes_str("short"), true),
                     -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(regular_nomination_against_a_lite_peer),
        TEST(lost_checks_are_repeated),
        TEST(nobody_answers_ends_in_failed),
        TEST(a_wrong_password_never_connects),
        TEST(two_controlling_agents_settle_who_is),
        TEST(the_best_of_several_paths_is_nominated),
        TEST(a_dead_path_is_gone_around),
        TEST(an_unlisted_peer_is_found_by_its_checks),
        TEST(consent_is_asked_for_each_five_seconds),
        TEST(consent_ends_although_data_still_arrives),
        TEST(answers_from_elsewhere_are_not_believed),
        TEST(unusable_candidates_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
