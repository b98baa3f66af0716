// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// What livekit-server and Synapse did in recorded calls (tests/data/delegation), with our machine in
// the place of the original service: webhooks come when they came, lookups and calls are answered as
// they were. What the machine does is compared with what the original did.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "jwt-service/leave/delayed_leave.h"

#define LINES_MAX 64
#define CALLS_MAX 64
#define NETWORK_MS 3 // until an answer is there

struct line {
    int64_t at_ms;
    char what[32];
    char arg[4][64];
};

struct call {
    int64_t at_ms;
    enum delayed_event_action action;
};

struct play {
    struct line line[LINES_MAX];
    size_t lines;
    struct delayed_leave j;
    bool alive; // the service runs and has a job
    struct leave_rules rules;
    struct rng rng;
    enum delayed_event_verdict then; // answer when no recorded one is left
    int64_t now_ms;
    int64_t delay_ms;
    struct leave_saved saved; // in the store
    int64_t restarted_ms;     // in the store
    char saved_sid[LEAVE_SID_SIZE];
    bool present; // what the SFU says
    char sid[64];
    size_t answered[2]; // recorded answers used up, by action
    struct {
        int64_t at_ms; // INT64_MAX: none
        struct leave_input in;
    } pending[2]; // call, lookup
    struct call made[CALLS_MAX];
    size_t made_count;
    unsigned lookups;
    bool done;
    int64_t done_ms;
    enum leave_outcome outcome;
};

static void read_lines(struct play *p, const char *name)
{
    char path[128];
    char text[256];
    (void)snprintf(path, sizeof(path), "tests/data/delegation/%s.seq", name);
    FILE *const f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(text, sizeof(text), f)) {
        if (text[0] == '#') {
            continue;
        }
        assert_true(p->lines < LINES_MAX);
        struct line *const l = &p->line[p->lines++];
        char *save = NULL;
        const char *word = strtok_r(text, " \n", &save);
        l->at_ms = strtoll(word, NULL, 10);
        word = strtok_r(NULL, " \n", &save);
        (void)snprintf(l->what, sizeof(l->what), "%s", word);
        for (size_t i = 0; i < 4 && (word = strtok_r(NULL, " \n", &save)); i++) {
            (void)snprintf(l->arg[i], sizeof(l->arg[i]), "%s", word);
        }
    }
    (void)fclose(f);
}

static mono_t clock_of(int64_t ms)
{
    return (mono_t){1000 * US_PER_S + ms * US_PER_MS};
}

// The next recorded answer to such a call.
static struct leave_input recorded_answer(struct play *p, enum delayed_event_action action)
{
    const char *const name = delayed_event_action_name(action);
    size_t n = 0;
    struct leave_input in = {.type = LEAVE_EVENT_ANSWER, .verdict = p->then};
    for (size_t i = 0; i < p->lines; i++) {
        const struct line *const l = &p->line[i];
        if (strcmp(l->what, name) != 0 || n++ != p->answered[action]) {
            continue;
        }
        p->answered[action]++;
        struct delayed_event_http const http = {
            .status = (unsigned)strtoul(l->arg[0], NULL, 10),
            .retry_after = NULL,
        };
        if (http.status == 429) {
            in.verdict = DELAYED_EVENT_RETRY_AFTER;
            in.wait_ms = strtoll(l->arg[1], NULL, 10);
        } else if (http.status == 0) {
            in.verdict = DELAYED_EVENT_RETRY;
        } else {
            struct delayed_event_class const c = delayed_event_classify(action, (wall_t){0}, &http);
            in.verdict = c.verdict;
            in.wait_ms = c.wait_ms;
        }
        return in;
    }
    return in;
}

static void save(struct play *p)
{
    p->saved.state = (enum leave_state)p->j.state;
    (void)snprintf(p->saved_sid, sizeof(p->saved_sid), "%s", delayed_leave_sid(&p->j));
    p->saved.sid = p->saved_sid;
}

static void apply(struct play *p, const struct leave_todo *todo)
{
    if (todo->bits & LEAVE_DO_CANCEL) {
        p->pending[0].at_ms = INT64_MAX;
    }
    if (todo->bits & LEAVE_DO_CALL) {
        assert_true(p->made_count < CALLS_MAX);
        assert_true(p->pending[0].at_ms == INT64_MAX);
        p->made[p->made_count++] = (struct call){p->now_ms, todo->call};
        p->pending[0].at_ms = p->now_ms + NETWORK_MS;
        p->pending[0].in = recorded_answer(p, todo->call);
    }
    if (todo->bits & LEAVE_DO_LOOKUP) {
        p->lookups++;
        p->pending[1].at_ms = p->now_ms + NETWORK_MS;
        p->pending[1].in = (struct leave_input){
            .type = p->present ? LEAVE_EVENT_FOUND : LEAVE_EVENT_NOT_FOUND,
            .present = p->present,
            .sid = {p->present ? p->sid : NULL},
        };
    }
    if (todo->bits & LEAVE_DO_SAVE) {
        save(p);
    }
    if (todo->bits & LEAVE_DO_DONE) {
        p->done = true;
        p->done_ms = p->now_ms;
        p->outcome = todo->outcome;
        p->alive = false;
    }
}

static void feed(struct play *p, const struct leave_input *in)
{
    if (p->alive) {
        bool const restarted = in->type == LEAVE_EVENT_ANSWER && in->verdict == DELAYED_EVENT_OK;
        p->restarted_ms = restarted ? p->now_ms : p->restarted_ms;
        struct leave_todo const todo =
            delayed_leave_handle(&p->j, in, &p->rules, clock_of(p->now_ms), &p->rng);
        apply(p, &todo);
    }
}

static void webhook(struct play *p, const struct line *l)
{
    bool const joined = strcmp(l->what, "participant_joined") == 0;
    struct leave_input in = {
        .sid = {l->arg[0]},
        .created_at_s = strtoll(l->arg[2], NULL, 10),
        .type = joined                                       ? LEAVE_EVENT_JOINED
                : strcmp(l->arg[1], "CLIENT_INITIATED") == 0 ? LEAVE_EVENT_LEFT
                                                             : LEAVE_EVENT_CUT,
    };
    p->present = joined;
    (void)snprintf(p->sid, sizeof(p->sid), "%s", l->arg[0]);
    feed(p, &in);
}

static void delegate(struct play *p, const struct line *l)
{
    struct delayed_leave const old = p->j;
    struct leave_todo todo;
    p->delay_ms = strtoll(l->arg[0], NULL, 10);
    p->restarted_ms = p->now_ms;
    if (p->alive) {
        p->pending[0].at_ms = INT64_MAX;
        p->pending[1].at_ms = INT64_MAX;
        todo = delayed_leave_inherit(&p->j, p->delay_ms, &old, clock_of(p->now_ms));
    } else {
        todo = delayed_leave_begin(&p->j, p->delay_ms, clock_of(p->now_ms));
    }
    p->alive = true;
    p->done = false;
    apply(p, &todo);
}

static void start(struct play *p)
{
    p->saved.left_ms = p->restarted_ms + p->delay_ms - p->now_ms;
    p->pending[0].at_ms = INT64_MAX;
    p->pending[1].at_ms = INT64_MAX;
    p->alive = true;
    assert_true(p->saved.left_ms > 0);
    struct leave_todo const todo =
        delayed_leave_restore(&p->j, p->delay_ms, &p->saved, clock_of(p->now_ms));
    apply(p, &todo);
}

static void do_line(struct play *p, const struct line *l)
{
    bool const is_webhook = strncmp(l->what, "participant_", 12) == 0;
    if (is_webhook && strcmp(l->arg[3], "lost") == 0) {
        return;
    }
    if (is_webhook) {
        webhook(p, l);
    } else if (strcmp(l->what, "delegate") == 0) {
        delegate(p, l);
    } else if (strcmp(l->what, "absent") == 0) {
        p->present = false;
    } else if (strcmp(l->what, "stop") == 0) {
        feed(p, &(struct leave_input){.type = LEAVE_EVENT_SHUTDOWN});
    } else if (strcmp(l->what, "kill") == 0) {
        p->alive = false;
    } else if (strcmp(l->what, "start") == 0) {
        start(p);
    }
}

static void step_to(struct play *p, int64_t at_ms)
{
    p->now_ms = MAX(p->now_ms, at_ms);
}

// Everything the machine does before at_ms.
static void run_until(struct play *p, int64_t at_ms)
{
    for (;;) {
        mono_t const timer = p->alive ? delayed_leave_next(&p->j) : MONO_NEVER;
        int64_t const timer_ms = mono_is_never(timer)
                                     ? INT64_MAX
                                     : (timer.us - clock_of(0).us + US_PER_MS - 1) / US_PER_MS;
        int64_t const call_ms = p->pending[0].at_ms;
        int64_t const lookup_ms = p->pending[1].at_ms;
        int64_t const next = MIN(timer_ms, MIN(call_ms, lookup_ms));
        if (next >= at_ms) {
            return;
        }
        step_to(p, next);
        if (next == call_ms || next == lookup_ms) {
            size_t const which = next == call_ms ? 0 : 1;
            struct leave_input const in = p->pending[which].in;
            p->pending[which].at_ms = INT64_MAX;
            feed(p, &in);
        } else {
            feed(p, &(struct leave_input){.type = LEAVE_EVENT_TIME});
        }
    }
}

static void play_then(struct play *p, const char *name, int64_t sanity_ms,
                      enum delayed_event_verdict then)
{
    static const uint8_t seed[RNG_SEED_LEN] = {3};
    memset(p, 0, sizeof(*p));
    rng_seed(&p->rng, seed);
    p->rules.sanity_ms = sanity_ms;
    p->then = then;
    p->pending[0].at_ms = INT64_MAX;
    p->pending[1].at_ms = INT64_MAX;
    read_lines(p, name);
    for (size_t i = 0; i < p->lines; i++) {
        run_until(p, p->line[i].at_ms);
        step_to(p, p->line[i].at_ms);
        do_line(p, &p->line[i]);
    }
    run_until(p, p->now_ms + 4000000);
}

static void play(struct play *p, const char *name, int64_t sanity_ms)
{
    play_then(p, name, sanity_ms, DELAYED_EVENT_OK);
}

static size_t count(const struct play *p, enum delayed_event_action action)
{
    size_t n = 0;
    for (size_t i = 0; i < p->made_count; i++) {
        n += p->made[i].action == action;
    }
    return n;
}

// True if there was such a call within 10 ms after at_ms.
static bool made_at(const struct play *p, enum delayed_event_action action, int64_t at_ms)
{
    for (size_t i = 0; i < p->made_count; i++) {
        if (p->made[i].action == action && p->made[i].at_ms >= at_ms &&
            p->made[i].at_ms <= at_ms + 10) {
            return true;
        }
    }
    return false;
}

// Restarts between two times are never further apart than 80 % of the delay.
static void assert_kept_alive(const struct play *p, int64_t from_ms, int64_t to_ms)
{
    int64_t last = from_ms;
    for (size_t i = 0; i < p->made_count && p->made[i].at_ms < to_ms; i++) {
        if (p->made[i].action == DELAYED_EVENT_RESTART && p->made[i].at_ms >= from_ms) {
            assert_true(p->made[i].at_ms - last <= p->delay_ms * 8 / 10 + NETWORK_MS);
            last = p->made[i].at_ms;
        }
    }
    assert_true(to_ms - last <= p->delay_ms * 8 / 10 + NETWORK_MS);
}

static void the_leave_of_a_killed_browser_is_sent_at_once(void **state)
{
    (void)state;
    struct play p;
    play(&p, "killed", 0);
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 5500));
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 50538));
    assert_int_equal(p.made_count, 2);
    assert_int_equal(p.outcome, LEAVE_OUTCOME_SENT);
}

static void ten_seconds_are_kept_alive(void **state)
{
    (void)state;
    struct play p;
    play(&p, "ten_seconds", 60000);
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 711));
    assert_kept_alive(&p, 711, 41768);
    assert_in_range(count(&p, DELAYED_EVENT_RESTART), 6, 8);
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 41768));
    assert_true(p.done);
}

static void delegated_after_the_join(void **state)
{
    (void)state;
    struct play p;
    play(&p, "after_join", 0);
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 618));
    assert_kept_alive(&p, 618, 10141);
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 10141));
}

static void delegated_too_late(void **state)
{
    (void)state;
    struct play p;
    play(&p, "too_late", 0);
    assert_int_equal(count(&p, DELAYED_EVENT_SEND), 1);
    // One restart while waiting at 60 %, which the waiting is prolonged by.
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 10938 + 3000));
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 10938 + 8000));
    assert_int_equal(p.outcome, LEAVE_OUTCOME_SENT); // 404: it was sent already
}

static void nobody_ever_joins(void **state)
{
    (void)state;
    struct play p;
    play(&p, "never_joins", 60000);
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 332 + 12000));
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 332 + 32000));
    assert_int_equal(p.made_count, 2);
    assert_in_range(p.lookups, 4, 16);
}

static void errors_are_retried(void **state)
{
    (void)state;
    struct play p;
    play(&p, "errors", 0);
    // 500, 429, 429, cut, 401, 200: no later than the original.
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 646));
    assert_int_equal(p.answered[DELAYED_EVENT_RESTART], 6);
    int64_t last = 0;
    size_t n = 0;
    for (size_t i = 0; i < p.made_count && p.made[i].action == DELAYED_EVENT_RESTART; i++) {
        n++;
        last = p.made[i].at_ms;
    }
    assert_int_equal(n, 6);
    // After the 401 five seconds instead of two, all else quicker: 0.25, 2, 2, 0.4, 5 s.
    assert_in_range((uint64_t)last, 10000, 10700);
    // 500, 500, 403, 200
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 14687));
    assert_int_equal(count(&p, DELAYED_EVENT_SEND), 4);
    assert_int_equal(p.outcome, LEAVE_OUTCOME_SENT);
}

static void a_cancelled_event_is_left_alone(void **state)
{
    (void)state;
    struct play p;
    play(&p, "cancelled", 0);
    assert_int_equal(p.outcome, LEAVE_OUTCOME_GONE);
    assert_int_equal(count(&p, DELAYED_EVENT_RESTART), 2);
    assert_int_equal(count(&p, DELAYED_EVENT_SEND), 0);
}

static void restarts_that_fail_for_too_long_end_the_job(void **state)
{
    (void)state;
    struct play p;
    play_then(&p, "restarts_fail", 0, DELAYED_EVENT_RETRY);
    // The original tried at 0, 1.2 and 2.8 s; ours asks more often, the last time just before 5 s.
    assert_in_range(count(&p, DELAYED_EVENT_RESTART), 4, 12);
    assert_in_range((uint64_t)p.made[p.made_count - 1].at_ms, 31229 + 3900, 31229 + 5000);
    assert_int_equal(p.outcome, LEAVE_OUTCOME_TIMED_OUT);
    // Nothing is sent when the participant leaves later.
    assert_int_equal(count(&p, DELAYED_EVENT_SEND), 0);
}

static void a_replaced_event_is_neither_restarted_nor_sent(void **state)
{
    (void)state;
    struct play p;
    play(&p, "replaced", 0);
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 559));
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 3101));
    assert_kept_alive(&p, 3101, 13141);
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 13141));
    assert_int_equal(count(&p, DELAYED_EVENT_SEND), 1);
}

static void a_leave_without_webhook_is_seen_by_the_sanity_check(void **state)
{
    (void)state;
    struct play p;
    play(&p, "webhooks_lost", 3000);
    // The participant leaves at 9131; the original's check came at 9260.
    int64_t sent = 0;
    for (size_t i = 0; i < p.made_count; i++) {
        sent = p.made[i].action == DELAYED_EVENT_SEND ? p.made[i].at_ms : sent;
    }
    assert_in_range((uint64_t)sent, 9131, 9131 + 3010);
    assert_int_equal(count(&p, DELAYED_EVENT_SEND), 1);
}

static void a_restart_of_the_service_is_not_noticed(void **state)
{
    (void)state;
    struct play p;
    play(&p, "restart", 60000);
    assert_kept_alive(&p, 2500, 14378);
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 14378)); // before it ends
    assert_true(made_at(&p, DELAYED_EVENT_RESTART, 16476)); // at once
    assert_kept_alive(&p, 16476, 27848);
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 27848));
    assert_true(p.done);
}

static void a_leave_during_the_restart_of_the_service_is_sent(void **state)
{
    (void)state;
    struct play p;
    play(&p, "left_meanwhile", 60000);
    // The original ignored the repeated webhook at 38206 and left it to the homeserver.
    assert_true(made_at(&p, DELAYED_EVENT_SEND, 38206));
    assert_int_equal(p.outcome, LEAVE_OUTCOME_SENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_leave_of_a_killed_browser_is_sent_at_once),
        cmocka_unit_test(ten_seconds_are_kept_alive),
        cmocka_unit_test(delegated_after_the_join),
        cmocka_unit_test(delegated_too_late),
        cmocka_unit_test(nobody_ever_joins),
        cmocka_unit_test(errors_are_retried),
        cmocka_unit_test(a_cancelled_event_is_left_alone),
        cmocka_unit_test(restarts_that_fail_for_too_long_end_the_job),
        cmocka_unit_test(a_replaced_event_is_neither_restarted_nor_sent),
        cmocka_unit_test(a_leave_without_webhook_is_seen_by_the_sanity_check),
        cmocka_unit_test(a_restart_of_the_service_is_not_noticed),
        cmocka_unit_test(a_leave_during_the_restart_of_the_service_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
