// SPDX-License-Identifier: Apache-2.0
// LINK: signal
// Notifier and receiver on one loop. Times are cut to some milliseconds.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/shared_buf.h"
#include "common/lk/livekit.h"
#include "common/lk/webhook_sign.h"
#include "common/svc/httpd.h"
#include "common/svc/pbjson.h"
#include "common/sys/clock.h"
#include "sfu/signal/webhook_notifier.h"

#define SEEN_MAX 1024
#define DEADLINE_MS 20000

struct seen {
    char room[24];
    char id[24];
    char token[600];
};

static struct loop *loop;
static struct httpd *receiver;
static struct api_keys *keys;
static struct webhook_notifier *notifier;
static char url[64];
static struct seen seen[SEEN_MAX];
static size_t seen_count;
static unsigned status;       // what the receiver answers
static unsigned fail_first;   // so many requests are answered 500 first
static const char *slow_room; // parked instead of answered
static struct httpd_req *parked;

// Whatever comes must be signed for its very bytes and be an event.
static void on_hook(void *user, struct httpd_req *r)
{
    (void)user;
    const char *const token = httpd_header(r, "Authorization");
    struct webhook_refusal refusal = {0};
    assert_non_null(token);
    assert_string_equal(httpd_header(r, "Content-Type"), "application/webhook+json");
    assert_string_equal(httpd_header(r, "User-Agent"), "foci-sfu");
    assert_int_equal(webhook_check(keys, clock_wall(), bytes_str(token), httpd_body(r), &refusal),
                     0);
    struct pbuf *p = NULL;
    assert_int_equal(
        pbjson_read(&livekit__webhook_event__descriptor, httpd_body(r), &PBJSON_LIMITS_DEFAULT, &p),
        0);
    const Livekit__WebhookEvent *const e = p->msg;
    assert_true(seen_count < SEEN_MAX);
    struct seen *const s = &seen[seen_count++];
    (void)snprintf(s->room, sizeof(s->room), "%s", lk_str(e->room->name));
    (void)snprintf(s->id, sizeof(s->id), "%s", lk_str(e->id));
    (void)snprintf(s->token, sizeof(s->token), "%s", token);
    bool const park = slow_room != NULL && strcmp(slow_room, s->room) == 0;
    pbuf_free(p);
    if (park && parked == NULL) {
        parked = r;
        return;
    }
    unsigned const answer = fail_first > 0 ? 500 : status;
    fail_first -= fail_first > 0 ? 1 : 0;
    httpd_respond(r, answer, NULL, bytes_of("", 0));
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    keys = api_keys_new();
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route const route = {
        .path = "/hook", .methods = "POST", .body_max = 1u << 20, .handler = on_hook};
    struct httpd_conf const hc = {
        .listen = &lo, .listen_count = 1, .routes = &route, .route_count = 1};
    if (api_keys_add(keys, bytes_str("one"), bytes_str("secret-one")) < 0 ||
        api_keys_add(keys, bytes_str("two"), bytes_str("secret-two")) < 0 ||
        httpd_new(loop, &hc, &receiver, NULL) < 0) {
        return -1;
    }
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/hook", httpd_address(receiver, 0).port);
    seen_count = 0;
    status = 200;
    fail_first = 0;
    slow_room = NULL;
    parked = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    webhook_notifier_free(notifier);
    notifier = NULL;
    httpd_free(receiver);
    api_keys_free(keys);
    loop_free(loop);
    return 0;
}

static void open_with(const char *key, const struct webhook_target *targets, size_t n,
                      int64_t age_ms)
{
    struct webhook_notifier_conf const conf = {
        .loop = loop,
        .keys = keys,
        .key = key,
        .targets = targets,
        .target_count = n,
        .user_agent = "foci-sfu",
        .backoff_ms = 2,
        .age_ms = age_ms,
    };
    assert_int_equal(webhook_notifier_new(&conf, &notifier), 0);
}

static void open_one(void)
{
    struct webhook_target const t = {.url = url};
    open_with(NULL, &t, 1, 0);
}

static void tell(const char *event, const char *room_name, unsigned number)
{
    char id[24];
    (void)snprintf(id, sizeof(id), "EV_%u", number);
    Livekit__WebhookEvent e = LIVEKIT__WEBHOOK_EVENT__INIT;
    Livekit__Room room = LIVEKIT__ROOM__INIT;
    LK_SET_STR(&room, name, room_name);
    LK_SET_STR(&e, event, event);
    LK_SET_STR(&e, id, id);
    e.room = &room;
    struct shared_buf *b = NULL;
    assert_int_equal(pbuf_pack_shared(&e.base, 10000, &b), 0);
    webhook_notifier_event(notifier, b);
    shared_buf_unref(b);
}

static void turn(mono_t end)
{
    loop_run_once(loop, 20);
    if (mono_reached(end, clock_mono())) {
        fail_msg("nothing more came; %zu seen, %zu pending", seen_count,
                 webhook_notifier_pending(notifier));
    }
}

static void run_until_told(void)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (webhook_notifier_pending(notifier) > 0) {
        turn(end);
    }
}

static void run_until_seen(size_t n)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (seen_count < n) {
        turn(end);
    }
}

static void assert_seen(size_t i, const char *room, unsigned number)
{
    char id[24];
    (void)snprintf(id, sizeof(id), "EV_%u", number);
    assert_string_equal(seen[i].room, room);
    assert_string_equal(seen[i].id, id);
}

static void events_of_a_room_come_in_order(void **state)
{
    (void)state;
    open_one();
    for (unsigned i = 0; i < 50; i++) {
        tell("participant_left", "r", i);
    }
    assert_int_equal(webhook_notifier_pending(notifier), 50);
    run_until_told();
    assert_int_equal(seen_count, 50);
    for (unsigned i = 0; i < 50; i++) {
        assert_seen(i, "r", i);
    }
    assert_int_equal(webhook_notifier_counts(notifier).delivered, 50);
}

static void a_failed_request_is_repeated_as_it_was(void **state)
{
    (void)state;
    open_one();
    fail_first = 4;
    tell("room_started", "r", 1);
    tell("room_finished", "r", 2);
    run_until_told();
    assert_int_equal(seen_count, 6);
    for (size_t i = 0; i < 5; i++) {
        assert_seen(i, "r", 1);
        assert_string_equal(seen[i].token, seen[0].token);
    }
    assert_seen(5, "r", 2);
    assert_int_equal(webhook_notifier_counts(notifier).delivered, 2);
}

static void after_five_failures_the_next_one_has_its_turn(void **state)
{
    (void)state;
    open_one();
    fail_first = 5;
    tell("room_started", "r", 1);
    tell("room_finished", "r", 2);
    run_until_told();
    assert_int_equal(seen_count, 6);
    assert_seen(5, "r", 2);
    assert_int_equal(webhook_notifier_counts(notifier).failed, 1);
    assert_int_equal(webhook_notifier_counts(notifier).delivered, 1);
}

static void what_is_repeated(void **state)
{
    (void)state;
    open_one();
    const struct {
        unsigned status;
        size_t requests;
    } rows[] = {{200, 1}, {204, 1}, {302, 1}, {400, 1}, {401, 1}, {404, 1},
                {429, 5}, {500, 5}, {501, 1}, {502, 5}, {503, 5}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        status = rows[i].status;
        seen_count = 0;
        tell("room_started", "r", 1);
        run_until_told();
        if (seen_count != rows[i].requests) {
            fail_msg("%u: %zu requests", status, seen_count);
        }
    }
    struct webhook_counts const c = webhook_notifier_counts(notifier);
    assert_int_equal(c.delivered, 2);
    assert_int_equal(c.refused, 5);
    assert_int_equal(c.failed, 4);
}

static void rooms_do_not_wait_for_each_other(void **state)
{
    (void)state;
    open_one();
    slow_room = "slow";
    tell("participant_left", "slow", 1);
    tell("participant_left", "slow", 2);
    run_until_seen(1);
    tell("participant_left", "quick", 3);
    tell("participant_left", "quick", 4);
    run_until_seen(3);
    assert_seen(0, "slow", 1);
    assert_seen(1, "quick", 3);
    assert_seen(2, "quick", 4);
    httpd_respond(parked, 200, NULL, bytes_of("", 0));
    run_until_told();
    assert_seen(3, "slow", 2);
}

static void each_target_has_queues_of_its_own(void **state)
{
    (void)state;
    char dead[64];
    // A port that was free a moment ago: nobody listens there.
    struct httpd *h = NULL;
    struct addr const lo = addr_v4(127, 0, 0, 1, 0);
    struct httpd_route const route = {.path = "/", .handler = on_hook};
    struct httpd_conf const hc = {
        .listen = &lo, .listen_count = 1, .routes = &route, .route_count = 1};
    assert_int_equal(httpd_new(loop, &hc, &h, NULL), 0);
    (void)snprintf(dead, sizeof(dead), "http://127.0.0.1:%u/hook", httpd_address(h, 0).port);
    httpd_free(h);
    struct webhook_target const t[] = {{.url = dead}, {.url = url, .no_tracks = true}};
    open_with(NULL, t, 2, 0);
    tell("participant_joined", "r", 1);
    tell("track_published", "r", 2);
    tell("participant_left", "r", 3);
    run_until_told();
    assert_int_equal(seen_count, 2);
    assert_seen(0, "r", 1);
    assert_seen(1, "r", 3);
    assert_int_equal(webhook_notifier_counts(notifier).failed, 3);
    assert_int_equal(webhook_notifier_counts(notifier).delivered, 2);
}

static void each_target_is_told_what_it_wants(void **state)
{
    (void)state;
    static const char *const in[] = {"participant_left", "track_published"};
    static const char *const out[] = {"participant_joined", "participant_left"};
    // Included ones win; track_ ones still do not interest here.
    struct webhook_target const some = {.url = url,
                                        .no_tracks = true,
                                        .include = in,
                                        .include_count = 2,
                                        .exclude = out,
                                        .exclude_count = 2};
    open_with(NULL, &some, 1, 0);
    tell("participant_joined", "r", 1);
    tell("participant_left", "r", 2);
    tell("track_published", "r", 3);
    tell("room_finished", "r", 4);
    run_until_told();
    assert_int_equal(seen_count, 1);
    assert_seen(0, "r", 2);
    webhook_notifier_free(notifier);
    seen_count = 0;
    struct webhook_target const others = {.url = url, .exclude = out, .exclude_count = 2};
    open_with(NULL, &others, 1, 0);
    tell("participant_joined", "r", 1);
    tell("participant_left", "r", 2);
    tell("track_published", "r", 3);
    tell("room_finished", "r", 4);
    run_until_told();
    assert_int_equal(seen_count, 2);
    assert_seen(0, "r", 3);
    assert_seen(1, "r", 4);
}

static void a_full_queue_loses_tracks_first(void **state)
{
    (void)state;
    open_one();
    slow_room = "r";
    for (unsigned i = 0; i < 150; i++) {
        tell("track_unpublished", "r", i);
    }
    for (unsigned i = 150; i < 300; i++) {
        tell("participant_left", "r", i);
    }
    run_until_seen(1);
    assert_int_equal(webhook_notifier_pending(notifier), WEBHOOK_QUEUE_MAX);
    httpd_respond(parked, 200, NULL, bytes_of("", 0));
    run_until_told();
    assert_int_equal(seen_count, WEBHOOK_QUEUE_MAX);
    assert_int_equal(webhook_notifier_counts(notifier).dropped, 100);
    // The newest 150 are those who left, all of them.
    for (unsigned i = 0; i < 150; i++) {
        assert_seen(WEBHOOK_QUEUE_MAX - 150 + i, "r", 150 + i);
    }
}

static void old_news_is_dropped(void **state)
{
    (void)state;
    struct webhook_target const t = {.url = url};
    open_with(NULL, &t, 1, 30);
    slow_room = "r";
    tell("participant_joined", "r", 1);
    tell("participant_left", "r", 2);
    run_until_seen(1);
    mono_t const late = mono_add_ms(clock_mono(), 60);
    while (!mono_reached(late, clock_mono())) {
        loop_run_once(loop, 5);
    }
    httpd_respond(parked, 200, NULL, bytes_of("", 0));
    run_until_told();
    assert_int_equal(seen_count, 1);
    assert_int_equal(webhook_notifier_counts(notifier).dropped, 1);
}

static void the_named_key_signs(void **state)
{
    (void)state;
    struct webhook_target const t = {.url = url};
    open_with("two", &t, 1, 0);
    tell("room_started", "r", 1);
    run_until_told();
    struct access_token *token = NULL;
    struct access_token_refusal refusal;
    assert_int_equal(
        access_token_verify(keys, clock_wall(), bytes_str(seen[0].token), &token, &refusal), 0);
    assert_string_equal(token->api_key, "two");
    access_token_free(token);
}

static void a_key_that_is_gone_is_replaced_by_the_signer(void **state)
{
    (void)state;
    struct webhook_target const t = {.url = url};
    open_with("three", &t, 1, 0);
    tell("room_started", "r", 1);
    run_until_told();
    assert_int_equal(seen_count, 1);
}

static void it_may_end_at_any_time(void **state)
{
    (void)state;
    open_one();
    slow_room = "slow";
    tell("room_started", "slow", 1);
    tell("room_finished", "slow", 2);
    run_until_seen(1);
    fail_first = 1;
    tell("room_started", "failing", 3);
    run_until_seen(2);
    loop_run_once(loop, 0);
    webhook_notifier_free(notifier);
    notifier = NULL;
    httpd_respond(parked, 200, NULL, bytes_of("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_of_a_room_come_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_request_is_repeated_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(after_five_failures_the_next_one_has_its_turn, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(rooms_do_not_wait_for_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(each_target_has_queues_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(each_target_is_told_what_it_wants, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_queue_loses_tracks_first, setup, teardown),
        cmocka_unit_test_setup_teardown(old_news_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(the_named_key_signs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_that_is_gone_is_replaced_by_the_signer, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(it_may_end_at_any_time, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
