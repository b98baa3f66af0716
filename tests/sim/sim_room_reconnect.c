// SPDX-License-Identifier: Apache-2.0
// LINK: room
// SUPPORT: room_harness room_client room_client_signal room_client_pc room_data room_stream vnet
// SUPPORT: media_model media_subscriber room_comeback
//
// The reconnect matrix on a virtual network: what fails x protocol x what the client does. Each cell
// prints how long it took until everything flowed again after the failure was over, and is held to a
// bound; reliable packets are neither lost nor doubled unless the session had to begin anew.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/time.h>

#include "sfu/room/negotiation.h"
#include "sfu/wire/stun.h"
#include "tests/support/room_comeback.h"
#include "tests/support/room_sim.h"

// The wall clock of usrsctp, which does not repeat chunks that it believes to be fresh: the virtual
// one.
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    (void)tz;
    *tv = (struct timeval){1700000000 + h.now.us / US_PER_S, h.now.us % US_PER_S};
    return 0;
}

#define TICK_MS 10

enum role {
    ROLE_PUBLISHER,
    ROLE_SUBSCRIBER,
    ROLE_DATA,
    ROLE_COUNT,
};
static const char *const role_names[ROLE_COUNT] = {"publisher", "subscriber", "data sender"};

static struct room_comeback victim, other;

// ---- measuring ------------------------------------------------------------------------------

static uint64_t received(const struct room_comeback *to, const struct room_comeback *from)
{
    const struct room_stream *const s =
        from->sender != NULL ? room_client_stream(to->c, from->sender->sid) : NULL;
    return s != NULL ? s->packets : 0;
}

// Packets or messages that have arrived of what the role is about.
static uint64_t progress(enum role role)
{
    switch (role) {
    case ROLE_PUBLISHER:
        return received(&other, &victim);
    case ROLE_SUBSCRIBER:
        return received(&victim, &other);
    case ROLE_DATA:
        return MIN(other.c->data.packets, victim.c->data.packets); // both ways
    case ROLE_COUNT:
        break;
    }
    return 0;
}

static void pass(int64_t ms)
{
    for (int64_t i = 0; i < ms; i += TICK_MS) {
        room_comeback_tick(&victim);
        room_comeback_tick(&other);
        run(MS(TICK_MS));
    }
}

static void start(bool v0, enum role role, bool nominates)
{
    begin();
    struct room_client_conf const a = {.identity = "victim", .v0 = v0, .nominates = nominates};
    struct room_client_conf const b = {.identity = "other", .v0 = v0, .nominates = true};
    room_comeback_join(&victim, &h, &a, role == ROLE_PUBLISHER, role == ROLE_DATA);
    room_comeback_join(&other, &h, &b, role == ROLE_SUBSCRIBER, role == ROLE_DATA);
    pass(3000);
    assert_true(progress(role) > 10);
}

// Everything is as it should be for this long before it counts as recovered.
#define STEADY_MS 300

// Runs until what the role is about flows again and the session is settled; how long that took.
static int64_t recover(enum role role, int64_t limit_ms)
{
    mono_t const begun_at = h.now;
    mono_t steady_since = h.now;
    uint64_t last = progress(role);
    mono_t last_progress = h.now;
    bool any = false;
    for (;;) {
        pass(TICK_MS);
        uint64_t const n = progress(role);
        any = any || n > last;
        if (n != last) {
            last_progress = h.now;
        }
        last = n;
        bool const flows = any && mono_diff_ms(h.now, last_progress) < 250;
        if (!flows || !room_comeback_settled(&victim)) {
            steady_since = h.now;
        }
        if (mono_diff_ms(h.now, steady_since) >= STEADY_MS) {
            return mono_diff_ms(steady_since, begun_at);
        }
        if (mono_diff_ms(h.now, begun_at) > limit_ms) {
            return INT64_MAX;
        }
    }
}

// "victim:0, victim:1, ..." in order, each once.
static void assert_all_told(const struct room_comeback *to, const struct room_comeback *from)
{
    const char *at = dynbuf_cstr(&to->c->data.told);
    for (unsigned i = 0; i < from->texts; i++) {
        char want[48];
        (void)snprintf(want, sizeof(want), "%s%s:%u", i > 0 ? ", " : "", from->conf.identity, i);
        if (strncmp(at, want, strlen(want)) != 0) {
            fail_msg("%s was told %.40s... where %s was due", to->conf.identity, at, want);
        }
        at += strlen(want);
    }
    assert_string_equal(at, "");
}

static void finish_cell(const char *what, bool v0, enum role role, int64_t ms, int64_t limit_ms,
                        unsigned rejoins)
{
    print_message("%-34s %s %-12s %6ld ms  (%u resumes, %u joins anew)\n", what, v0 ? "v0" : "v1",
                  role_names[role], (long)(ms == INT64_MAX ? -1 : ms), victim.resumes,
                  victim.rejoins);
    assert_true(ms <= limit_ms);
    assert_int_equal(victim.rejoins, rejoins);
    if (role == ROLE_DATA && rejoins == 0) {
        victim.talks = other.talks = false;
        pass(3000);
        assert_true(victim.texts > 30);
        assert_all_told(&other, &victim);
        assert_all_told(&victim, &other);
    }
    end();
}

// ---- what fails -----------------------------------------------------------------------------

static void set_path(bool up)
{
    room_client_set_vanished(victim.c, !up);
    victim.c->vanished = false; // signalling is another matter
}

struct cell {
    const char *what;
    void (*strike)(void);
    int64_t limit_ms;
    unsigned rejoins;
    bool firefox; // no USE-CANDIDATE in consent checks
};

static void cut_socket(void)
{
    room_comeback_socket_lost(&victim);
}

static void cut_socket_for_long(void)
{
    victim.offline = true;
    room_comeback_socket_lost(&victim);
    pass(20000);
    victim.offline = false;
    victim.next_try = h.now; // the browser says that it is online
}

// Nobody is told that the socket is dead: pings stay without answer.
static void deaden_socket(void)
{
    victim.c->session = (handle_t){UINT32_MAX, 1};
    while (!victim.coming) {
        pass(TICK_MS);
    }
}

static void cut_path(int64_t ms)
{
    set_path(false);
    pass(ms);
    set_path(true);
}

static void cut_path_shortly(void)
{
    cut_path(8000);
}

static void cut_path_until_it_fails(void)
{
    cut_path(17000);
}

static void cut_both(int64_t ms)
{
    room_client_set_vanished(victim.c, true);
    victim.offline = true;
    pass(ms);
    room_client_set_vanished(victim.c, false);
    victim.offline = false;
    if (!victim.coming) {
        victim.c->closed = true; // the system gave the socket up
    } else {
        victim.next_try = h.now;
    }
}

static void cut_both_shortly(void)
{
    cut_both(6000);
}

static void cut_both_for_long(void)
{
    cut_both(18000);
}

static void cut_both_for_too_long(void)
{
    cut_both(60000);
}

static void restart_ice(void)
{
    if (victim.conf.v0) {
        negotiation_restart_subscriber(server_side(victim.c));
        room_harness_turn(&h);
    }
    room_client_offer(victim.c, true);
}

static void move_transports(void)
{
    static uint16_t port = 50000;
    struct room_pc *const pcs[2] = {victim.c->publisher, victim.c->subscriber};
    for (size_t i = 0; i < 2; i++) {
        if (pcs[i] != NULL) {
            struct addr const outside = addr_v4(203, 0, 113, 7, port++);
            vnet_map(h.net, &pcs[i]->addr, &outside);
        }
    }
}

// The first time it moves behind the NAT, where old addresses lead nowhere.
static void move_unnoticed(void)
{
    move_transports();
    pass(15000);
    move_transports();
}

static void change_network(void)
{
    move_unnoticed();
    room_comeback_socket_lost(&victim); // its TCP connection does not survive this
}

static void freeze(void)
{
    victim.frozen = true;
    room_client_set_vanished(victim.c, true);
    pass(20000);
    room_client_set_vanished(victim.c, false);
    victim.frozen = false;
    victim.c->closed = true; // the server closed it meanwhile
}

static const struct cell cells[] = {
    {"socket cut", cut_socket, 1500, 0, false},
    {"socket cut for 20 s", cut_socket_for_long, 1500, 0, false},
    {"socket dead, noticed by ping", deaden_socket, 1500, 0, false},
    {"path cut for 8 s", cut_path_shortly, 3000, 0, false},
    {"path cut for 17 s", cut_path_until_it_fails, 5000, 0, false},
    {"both cut for 6 s", cut_both_shortly, 3000, 0, false},
    {"both cut for 18 s", cut_both_for_long, 5000, 0, false},
    {"both cut for 60 s", cut_both_for_too_long, 5000, 1, false},
    {"ICE restart", restart_ice, 1500, 0, false},
    {"address changes (NAT), Chromium", move_unnoticed, 6500, 0, false},
    {"address changes (NAT), Firefox", move_unnoticed, 12000, 0, true},
    {"address changes (network)", change_network, 3000, 0, false},
    {"frozen for 20 s", freeze, 5000, 0, false},
};

static void everybody_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
        const struct cell *const x = &cells[i];
        for (int v0 = 0; v0 < 2; v0++) {
            for (int role = 0; role < ROLE_COUNT; role++) {
                start(v0 != 0, (enum role)role, !x->firefox);
                x->strike();
                int64_t const ms = recover((enum role)role, 3 * x->limit_ms);
                finish_cell(x->what, v0 != 0, (enum role)role, ms, x->limit_ms, x->rejoins);
            }
        }
    }
}

// ---- addresses ------------------------------------------------------------------------------

// A valid check of x's own connection, from whatever source address.
static void check_from(const struct room_client *x, const struct addr *src)
{
    const struct jsep_remote *const server = jsep_remote(x->publisher->jsep);
    uint8_t data[STUN_MAX_LEN];
    uint8_t const txid[STUN_TXID_LEN] = {1, 2, 3};
    struct wr w = wr_init(data, sizeof(data));
    stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
    stun_put_username(&w, bytes_str(server->ice_ufrag), bytes_str(x->publisher->creds.ufrag));
    stun_put_u64(&w, STUN_ATTR_ICE_CONTROLLING, 7);
    stun_put_flag(&w, STUN_ATTR_USE_CANDIDATE);
    stun_put_u32(&w, STUN_ATTR_PRIORITY, 1);
    stun_end_integrity(&w, bytes_str(server->ice_pwd));
    stun_end_fingerprint(&w);
    room_harness_datagram(&h, src, bytes_of(data, wr_len(&w)));
    room_harness_turn(&h);
}

static void a_spoofed_source_cuts_nobody_off(void **state)
{
    (void)state;
    begin();
    struct room_client *const alice = join_as("alice", false);
    struct room_client *const bob = join_as("bob", false);
    struct room_client *const mallory = join_as("mallory", false);
    struct room_sender *const s = room_client_publish(alice, ROOM_VIDEO);
    run(S(2));
    for (int i = 0; i < 20; i++) {
        check_from(mallory, &alice->publisher->addr);
        run(MS(100));
    }
    assert_true(h.env.drops[ROOM_DROP_ADDRESS_TAKEN] >= 20);
    assert_ptr_equal(flow_table_by_addr(&h.flows, &alice->publisher->addr),
                     server_side(alice)->publisher);
    assert_true(flow(bob, s, S(1)) > 10);
    // Once its owner is silent somebody else may have the port.
    room_client_set_vanished(alice, true);
    run(S(9));
    check_from(mallory, &alice->publisher->addr);
    assert_ptr_equal(flow_table_by_addr(&h.flows, &alice->publisher->addr),
                     server_side(mallory)->publisher);
    end();
}

// ---- what no ICE restart mends --------------------------------------------------------------

static void a_failed_handshake_needs_a_new_session(void **state)
{
    (void)state;
    begin();
    // Its description promises another certificate than the one that it shows.
    char *const digit = &h.client_fingerprint[strlen(h.client_fingerprint) - 1];
    *digit = *digit == '0' ? '1' : '0';
    struct room_client *const c = join_as("c", false);
    run(S(2));
    assert_true(c->left);
    assert_int_equal(c->leave_reason, LIVEKIT__DISCONNECT_REASON__CONNECTION_TIMEOUT);
    assert_int_equal(c->leave_action, LEAVE_RECONNECT);
    assert_null(server_side(c));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everybody_comes_back),
        TEST(a_spoofed_source_cuts_nobody_off),
        TEST(a_failed_handshake_needs_a_new_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
