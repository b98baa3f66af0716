// SPDX-License-Identifier: Apache-2.0
// LINK: transport
// COVERS: usrsctp_glue
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/time.h>

#include "common/base/mem.h"
#include "sfu/transport/sctp_transport.h"

#define EVENTS_MAX 64

struct end {
    struct sctp_hub *hub;
    struct sctp_transport *t;
    size_t event_count;
    struct sctp_event events[EVENTS_MAX];
    uint8_t *message; // copy of the last one
    size_t message_len;
    size_t messages;
    bool up, down;
    unsigned drop; // every drop-th packet it sends is lost
    unsigned sent;
    size_t longest;
};

// Time goes on through all tests: SCTP timers are process-wide.
static mono_t now;

// usrsctp compares its timers with the wall clock (a chunk younger than the timeout is not
// repeated), so this program gives it the virtual one: a definition here comes before libc's for
// the shared library, too.
__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv,
                                                        void *restrict tz)
{
    (void)tz;
    tv->tv_sec = 1700000000 + now.us / US_PER_S;
    tv->tv_usec = now.us % US_PER_S;
    return 0;
}

static void end_init(struct end *e)
{
    memset(e, 0, sizeof(*e));
    assert_int_equal(sctp_hub_new(NULL, NULL, &e->hub), 0);
    assert_int_equal(sctp_transport_new(e->hub, e, &e->t), 0);
    assert_ptr_equal(sctp_transport_user(e->t), e);
}

static void end_done(struct end *e)
{
    sctp_transport_free(e->t);
    sctp_hub_free(e->hub);
    mem_free(e->message);
}

static void take_events(struct end *e)
{
    struct sctp_event ev;
    while (sctp_transport_poll_event(e->t, &ev)) {
        e->up |= ev.kind == SCTP_EVENT_UP;
        e->down |= ev.kind == SCTP_EVENT_DOWN;
        if (ev.kind == SCTP_EVENT_MESSAGE) {
            mem_free(e->message);
            e->message = mem_alloc(ev.data.n + 1);
            memcpy(e->message, ev.data.p, ev.data.n);
            e->message_len = ev.data.n;
            e->messages++;
        }
        ev.data.p = NULL;
        if (e->event_count < EVENTS_MAX) {
            e->events[e->event_count++] = ev;
        }
    }
}

// Moves packets both ways until both are silent.
static bool pump_once(struct end *from, struct end *to)
{
    bool moved = false;
    struct bytes p;
    while (sctp_transport_next_output(from->t, &p)) {
        moved = true;
        from->longest = MAX(from->longest, p.n);
        if (from->drop == 0 || ++from->sent % from->drop != 0) {
            sctp_transport_input(to->t, p);
        }
    }
    take_events(to);
    return moved;
}

static void pump(struct end *a, struct end *b)
{
    bool moved = true;
    while (moved) {
        moved = pump_once(a, b);
        moved |= pump_once(b, a);
    }
}

static void run_for(struct end *a, struct end *b, int64_t ms)
{
    for (int64_t i = 0; i < ms; i += SCTP_TICK_MS) {
        now = mono_add_ms(now, SCTP_TICK_MS);
        sctp_hub_tick(a->hub, now);
        sctp_hub_tick(b->hub, now);
        while (sctp_hub_next_ready(a->hub) != NULL) {
        }
        while (sctp_hub_next_ready(b->hub) != NULL) {
        }
        take_events(a);
        take_events(b);
        pump(a, b);
    }
}

static void connect(struct end *client, struct end *server)
{
    end_init(client);
    end_init(server);
    assert_int_equal(sctp_transport_start(client->t, true, 0), 0);
    assert_int_equal(sctp_transport_start(server->t, false, 0), 0);
    pump(client, server);
    assert_true(client->up && server->up);
    assert_int_equal(sctp_transport_state(client->t), SCTP_STATE_UP);
}

static const struct sctp_event *find_event(const struct end *e, enum sctp_event_kind kind,
                                           uint16_t channel)
{
    for (size_t i = 0; i < e->event_count; i++) {
        if (e->events[i].kind == kind && e->events[i].channel == channel) {
            return &e->events[i];
        }
    }
    return NULL;
}

static uint16_t open_channel(struct end *a, struct end *b, const char *label, bool lossy)
{
    struct data_channel_params const p = {
        .label = bytes_str(label),
        .priority = 256,
        .reliability_kind = lossy ? DCEP_REXMIT : DCEP_RELIABLE,
        .unordered = lossy,
    };
    uint16_t id = 9999;
    assert_int_equal(sctp_transport_open_channel(a->t, &p, &id), 0);
    pump(a, b);
    return id;
}

static void association_comes_up_from_both_sides(void **state)
{
    (void)state;
    static struct end a, b;
    connect(&a, &b);
    end_done(&a);
    end_done(&b);
}

static void association_comes_up_when_one_side_starts_late(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&a);
    end_init(&b);
    assert_true(mono_is_never(sctp_hub_deadline(a.hub)));
    assert_int_equal(sctp_transport_start(a.t, true, 0), 0);
    assert_false(mono_is_never(sctp_hub_deadline(a.hub)));
    assert_int_equal(sctp_transport_start(a.t, true, 0), -EPROTO);
    pump(&a, &b); // lost: the other is not there yet
    assert_int_equal(sctp_transport_start(b.t, false, 0), 0);
    run_for(&a, &b, 3000);
    assert_true(a.up && b.up);
    end_done(&a);
    end_done(&b);
}

static void channels_open_both_ways_with_the_right_ids(void **state)
{
    (void)state;
    static struct end a, b;
    connect(&a, &b);
    uint16_t const reliable = open_channel(&a, &b, "_reliable", false);
    uint16_t const lossy = open_channel(&a, &b, "_lossy", true);
    uint16_t const other = open_channel(&b, &a, "from the server", false);
    assert_int_equal(reliable, 0);
    assert_int_equal(lossy, 2);
    assert_int_equal(other, 1);
    assert_non_null(find_event(&a, SCTP_EVENT_CHANNEL_OPEN, reliable));
    assert_true(find_event(&b, SCTP_EVENT_CHANNEL_OPEN, reliable)->opened_by_peer);
    assert_true(find_event(&a, SCTP_EVENT_CHANNEL_OPEN, other)->opened_by_peer);
    const struct data_channel *const ch = sctp_transport_find_channel(b.t, bytes_str("_lossy"));
    assert_non_null(ch);
    assert_int_equal(ch->id, lossy);
    assert_true(ch->unordered);
    assert_int_equal(ch->reliability_kind, DCEP_REXMIT);
    assert_ptr_equal(sctp_transport_channel(b.t, lossy), ch);
    assert_null(sctp_transport_find_channel(b.t, bytes_str("nobody")));
    end_done(&a);
    end_done(&b);
}

static void channels_opened_before_the_association_is_up_follow(void **state)
{
    (void)state;
    static struct end a, b;
    struct data_channel_params const p = {.label = bytes_str("early")};
    uint16_t id = 0;
    end_init(&a);
    end_init(&b);
    assert_int_equal(sctp_transport_open_channel(a.t, &p, &id), -EPROTO);
    assert_int_equal(sctp_transport_start(a.t, false, 0), 0);
    assert_int_equal(sctp_transport_open_channel(a.t, &p, &id), 0);
    assert_int_equal(sctp_transport_send(a.t, id, true, bytes_str("x")), -ENOTCONN);
    assert_int_equal(sctp_transport_start(b.t, true, 0), 0);
    pump(&a, &b);
    assert_int_equal(id, 1);
    assert_non_null(find_event(&a, SCTP_EVENT_CHANNEL_OPEN, 1));
    assert_non_null(find_event(&b, SCTP_EVENT_CHANNEL_OPEN, 1));
    end_done(&a);
    end_done(&b);
}

static void messages_of_all_sizes_arrive(void **state)
{
    (void)state;
    static struct end a, b;
    static uint8_t big[SCTP_MAX_MESSAGE + 1];
    static const size_t sizes[] = {0, 1, 100, 1132, 1133, 5000, 16000, SCTP_MAX_MESSAGE};
    connect(&a, &b);
    uint16_t const id = open_channel(&a, &b, "_reliable", false);
    for (size_t i = 0; i < sizeof(big); i++) {
        big[i] = (uint8_t)(i * 13 + i / 256);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int binary = 0; binary < 2; binary++) {
            b.event_count = 0;
            b.messages = 0;
            assert_int_equal(sctp_transport_send(a.t, id, binary, bytes_of(big, sizes[i])), 0);
            run_for(&a, &b, 50);
            assert_int_equal(b.messages, 1);
            assert_int_equal(b.message_len, sizes[i]);
            assert_memory_equal(b.message, big, sizes[i]);
            assert_int_equal(find_event(&b, SCTP_EVENT_MESSAGE, id)->binary, binary);
            // And back on the same stream.
            assert_int_equal(sctp_transport_send(b.t, id, binary, bytes_of(big, sizes[i])), 0);
            run_for(&a, &b, 50);
            assert_int_equal(a.message_len, sizes[i]);
        }
    }
    assert_int_equal(sctp_transport_send(a.t, id, true, bytes_of(big, sizeof(big))), -EMSGSIZE);
    assert_int_equal(sctp_transport_send(a.t, 77, true, bytes_of(big, 1)), -ENOENT);
    assert_in_range(a.longest, 1100, SCTP_MTU + 12);
    end_done(&a);
    end_done(&b);
}

static void peers_limit_is_respected(void **state)
{
    (void)state;
    static struct end a, b;
    static uint8_t data[2000];
    end_init(&a);
    end_init(&b);
    assert_int_equal(sctp_transport_start(a.t, true, 1000), 0);
    assert_int_equal(sctp_transport_start(b.t, false, 1000), 0);
    pump(&a, &b);
    uint16_t const id = open_channel(&a, &b, "x", false);
    assert_int_equal(sctp_transport_send(a.t, id, true, bytes_of(data, 1000)), 0);
    assert_int_equal(sctp_transport_send(a.t, id, true, bytes_of(data, 1001)), -EMSGSIZE);
    end_done(&a);
    end_done(&b);
}

static void loss_is_repaired_on_a_reliable_channel(void **state)
{
    (void)state;
    static struct end a, b;
    uint8_t data[700];
    connect(&a, &b);
    uint16_t const id = open_channel(&a, &b, "_reliable", false);
    a.drop = 7;
    b.drop = 9;
    for (uint8_t i = 0; i < 100; i++) {
        memset(data, i, sizeof(data));
        assert_int_equal(sctp_transport_send(a.t, id, true, bytes_of(data, sizeof(data))), 0);
        run_for(&a, &b, 20);
    }
    run_for(&a, &b, 10000);
    assert_int_equal(b.messages, 100);
    assert_int_equal(b.message[0], 99);
    end_done(&a);
    end_done(&b);
}

static void loss_is_not_repaired_on_a_lossy_channel(void **state)
{
    (void)state;
    static struct end a, b;
    uint8_t data[700] = {0};
    connect(&a, &b);
    uint16_t const id = open_channel(&a, &b, "_lossy", true);
    a.drop = 5;
    for (uint8_t i = 0; i < 100; i++) {
        assert_int_equal(sctp_transport_send(a.t, id, true, bytes_of(data, sizeof(data))), 0);
        run_for(&a, &b, 20);
    }
    a.drop = 0;
    run_for(&a, &b, 10000);
    assert_in_range(b.messages, 60, 95);
    end_done(&a);
    end_done(&b);
}

static void full_buffer_says_again_and_then_writable(void **state)
{
    (void)state;
    static struct end a, b;
    static uint8_t data[16000];
    connect(&a, &b);
    uint16_t const id = open_channel(&a, &b, "_reliable", false);
    int e = 0;
    size_t accepted = 0;
    while ((e = sctp_transport_send(a.t, id, true, bytes_of(data, sizeof(data)))) == 0) {
        accepted++;
        assert_true(accepted < 100);
    }
    assert_int_equal(e, -EAGAIN);
    assert_true(accepted >= 10);
    assert_true(sctp_transport_buffered(a.t) > accepted * sizeof(data) / 2);
    a.event_count = 0;
    run_for(&a, &b, 2000);
    assert_int_equal(b.messages, accepted);
    assert_int_equal(sctp_transport_buffered(a.t), 0);
    assert_non_null(find_event(&a, SCTP_EVENT_WRITABLE, 0));
    end_done(&a);
    end_done(&b);
}

static void a_reader_that_stops_closes_the_window(void **state)
{
    (void)state;
    static struct end a, b;
    static uint8_t data[16000];
    connect(&a, &b);
    uint16_t const id = open_channel(&a, &b, "_reliable", false);
    sctp_transport_set_reading(b.t, false);
    size_t accepted = 0;
    for (int i = 0; i < 2000; i++) {
        accepted += sctp_transport_send(a.t, id, true, bytes_of(data, sizeof(data))) == 0;
        run_for(&a, &b, SCTP_TICK_MS);
    }
    assert_int_equal(b.messages, 0);
    // A megabyte of window and the sender's buffer: after that nothing more is taken.
    assert_in_range(accepted * sizeof(data), 1 << 20, 2 << 20);
    sctp_transport_set_reading(b.t, true);
    run_for(&a, &b, 5000);
    assert_int_equal(b.messages, accepted);
    assert_int_equal(sctp_transport_buffered(a.t), 0);
    end_done(&a);
    end_done(&b);
}

static void closed_channels_end_on_both_sides_and_their_ids_are_reused(void **state)
{
    (void)state;
    static struct end a, b;
    connect(&a, &b);
    for (int round = 0; round < 5; round++) {
        uint16_t const x = open_channel(&a, &b, "x", false);
        uint16_t const y = open_channel(&a, &b, "y", false);
        assert_int_equal(x, 0);
        assert_int_equal(y, 2);
        a.event_count = b.event_count = 0;
        // At the same time: usrsctp resets one after the other.
        assert_int_equal(sctp_transport_close_channel(a.t, x), 0);
        assert_int_equal(sctp_transport_close_channel(a.t, y), 0);
        assert_int_equal(sctp_transport_send(a.t, x, true, bytes_str("x")), -ENOTCONN);
        run_for(&a, &b, 500);
        assert_non_null(find_event(&a, SCTP_EVENT_CHANNEL_CLOSED, x));
        assert_non_null(find_event(&b, SCTP_EVENT_CHANNEL_CLOSED, x));
        assert_non_null(find_event(&a, SCTP_EVENT_CHANNEL_CLOSED, y));
        assert_non_null(find_event(&b, SCTP_EVENT_CHANNEL_CLOSED, y));
        assert_null(sctp_transport_channel(a.t, x));
        assert_null(sctp_transport_channel(b.t, y));
        assert_int_equal(sctp_transport_close_channel(a.t, x), -ENOENT);
    }
    end_done(&a);
    end_done(&b);
}

static void dead_peer_brings_it_down(void **state)
{
    (void)state;
    static struct end a, b;
    connect(&a, &b);
    uint16_t const id = open_channel(&a, &b, "x", false);
    assert_int_equal(sctp_transport_send(a.t, id, true, bytes_str("anybody?")), 0);
    a.drop = 1;
    run_for(&a, &b, 120000);
    assert_true(a.down);
    assert_int_equal(sctp_transport_state(a.t), SCTP_STATE_DOWN);
    assert_int_equal(sctp_transport_send(a.t, id, true, bytes_str("x")), -ENOTCONN);
    end_done(&a);
    end_done(&b);
}

static void garbage_does_no_harm(void **state)
{
    (void)state;
    static struct end a, b;
    uint8_t junk[300];
    uint32_t seed = 99;
    connect(&a, &b);
    for (int i = 0; i < 2000; i++) {
        for (size_t k = 0; k < sizeof(junk); k++) {
            seed = seed * 1664525u + 1013904223u;
            junk[k] = (uint8_t)(seed >> 24);
        }
        sctp_transport_input(a.t, bytes_of(junk, (size_t)(i % 300)));
    }
    uint16_t const id = open_channel(&a, &b, "still alive", false);
    assert_non_null(find_event(&a, SCTP_EVENT_CHANNEL_OPEN, id));
    end_done(&a);
    end_done(&b);
}

// ---- threads --------------------------------------------------------------------------------

#define THREADS 3
#define ROUNDS 300

static atomic_int wakes;

static void wake(void *user)
{
    (void)user;
    atomic_fetch_add(&wakes, 1);
}

// Each thread has its own hub and a pair of transports; all tick the same timers.
static void *worker(void *arg)
{
    struct end *const pair = arg;
    struct end *const a = &pair[0];
    struct end *const b = &pair[1];
    struct data_channel_params const p = {.label = bytes_str("t")};
    uint16_t id = 0;
    uint8_t data[900] = {0};
    mono_t t = now;
    (void)!sctp_transport_start(a->t, true, 0);
    (void)!sctp_transport_start(b->t, false, 0);
    (void)!sctp_transport_open_channel(a->t, &p, &id);
    a->drop = 11;
    for (int i = 0; i < ROUNDS; i++) {
        t = mono_add_ms(t, 20);
        sctp_hub_tick(a->hub, t);
        while (sctp_hub_next_ready(a->hub) != NULL) {
        }
        (void)!sctp_transport_send(a->t, id, true, bytes_of(data, sizeof(data)));
        take_events(a);
        take_events(b);
        pump(a, b);
    }
    return NULL;
}

static void hubs_of_several_threads_work_side_by_side(void **state)
{
    (void)state;
    static struct end pairs[THREADS][2];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        memset(pairs[i], 0, sizeof(pairs[i]));
        assert_int_equal(sctp_hub_new(wake, &pairs[i], &pairs[i][0].hub), 0);
        assert_int_equal(sctp_transport_new(pairs[i][0].hub, NULL, &pairs[i][0].t), 0);
        assert_int_equal(sctp_transport_new(pairs[i][0].hub, NULL, &pairs[i][1].t), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, pairs[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_true(pairs[i][0].up && pairs[i][1].up);
        assert_true(pairs[i][1].messages > ROUNDS / 2);
        sctp_transport_free(pairs[i][0].t);
        sctp_transport_free(pairs[i][1].t);
        sctp_hub_free(pairs[i][0].hub);
        mem_free(pairs[i][0].message);
        mem_free(pairs[i][1].message);
    }
    now = mono_add_ms(now, ROUNDS * 20 + 1000);
}

static void timers_run_by_another_hub_wake_the_owner(void **state)
{
    (void)state;
    static struct end a, b;
    end_init(&b);
    memset(&a, 0, sizeof(a));
    assert_int_equal(sctp_hub_new(wake, &a, &a.hub), 0);
    assert_int_equal(sctp_transport_new(a.hub, &a, &a.t), 0);
    assert_int_equal(sctp_transport_start(a.t, true, 0), 0);
    struct bytes p;
    while (sctp_transport_next_output(a.t, &p)) { // INIT is lost
    }
    atomic_store(&wakes, 0);
    for (int i = 0; i < 300; i++) {
        now = mono_add_ms(now, SCTP_TICK_MS);
        sctp_hub_tick(b.hub, now);
    }
    assert_true(atomic_load(&wakes) >= 1);
    assert_ptr_equal(sctp_hub_next_ready(a.hub), a.t);
    assert_true(sctp_transport_next_output(a.t, &p));
    assert_null(sctp_hub_next_ready(a.hub));
    end_done(&a);
    end_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(association_comes_up_from_both_sides),
        cmocka_unit_test(association_comes_up_when_one_side_starts_late),
        cmocka_unit_test(channels_open_both_ways_with_the_right_ids),
        cmocka_unit_test(channels_opened_before_the_association_is_up_follow),
        cmocka_unit_test(messages_of_all_sizes_arrive),
        cmocka_unit_test(peers_limit_is_respected),
        cmocka_unit_test(loss_is_repaired_on_a_reliable_channel),
        cmocka_unit_test(loss_is_not_repaired_on_a_lossy_channel),
        cmocka_unit_test(full_buffer_says_again_and_then_writable),
        cmocka_unit_test(a_reader_that_stops_closes_the_window),
        cmocka_unit_test(closed_channels_end_on_both_sides_and_their_ids_are_reused),
        cmocka_unit_test(dead_peer_brings_it_down),
        cmocka_unit_test(garbage_does_no_harm),
        cmocka_unit_test(hubs_of_several_threads_work_side_by_side),
        cmocka_unit_test(timers_run_by_another_hub_wake_the_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
