// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// COVERS: membership_file membership_table
// Who has left a Matrix room is put out of its call, and nobody else (authorization-service 11.3), on
// a virtual clock; homeserver and SFU are answered by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/hash.h"
#include "common/svc/conf.h"
#include "common/sys/log.h"
#include "jwt-service/appservice/membership_file.h"
#include "jwt-service/appservice/membership_monitor.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS INT64_C(3600000)

// ---- time -----------------------------------------------------------------------------------

struct loop_timer {
    mono_t at;
    void (*fn)(void *user);
    void *user;
    struct loop_timer *prev, *next;
};

static struct loop_timer *timers;
static mono_t clock_;

mono_t loop_now(struct loop *l)
{
    (void)l;
    return clock_;
}

#define WALL_S INT64_C(1784800000) // at the start

wall_t loop_wall(struct loop *l)
{
    (void)l;
    return (wall_t){WALL_S * US_PER_S + clock_.us - INT64_C(1000000000)};
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *user), void *user)
{
    (void)l;
    struct loop_timer *const t = NEW(struct loop_timer);
    *t = (struct loop_timer){.at = MONO_NEVER, .fn = fn, .user = user};
    DL_APPEND(timers, t);
    return t;
}

void loop_timer_free(struct loop_timer *t)
{
    DL_DELETE(timers, t);
    mem_free(t);
}

void loop_timer_set_ms(struct loop_timer *t, int64_t ms)
{
    t->at = mono_add_ms(clock_, ms);
}

bool loop_timer_is_set(const struct loop_timer *t)
{
    return !mono_is_never(t->at);
}

static void pass(int64_t ms)
{
    mono_t const until = mono_add_ms(clock_, ms);
    for (;;) {
        struct loop_timer *t = NULL;
        struct loop_timer *first = NULL;
        DL_FOREACH(timers, t)
        {
            first = !first || mono_before(t->at, first->at) ? t : first;
        }
        if (!first || mono_before(until, first->at)) {
            break;
        }
        clock_ = mono_max(clock_, first->at);
        first->at = MONO_NEVER;
        first->fn(first->user);
    }
    clock_ = until;
}

static bool idle(void)
{
    const struct loop_timer *t = NULL;
    DL_FOREACH(timers, t)
    {
        if (!mono_is_never(t->at)) {
            return false;
        }
    }
    return true;
}

// ---- homeserver and SFU ---------------------------------------------------------------------

// What is under way. Also stands for struct membership_call and struct sfu_call.
struct question {
    char what[160]; // "is_joined !r @a:x", "list R", "remove R I", "delete R"
    void (*on_member)(void *user, const struct membership_result *r);
    sfu_done on_sfu;
    void *user;
    struct question *prev, *next;
};

static struct question *questions;
static bool no_memory;

static int put(struct question **ret, void *user, const char *what, const char *a, const char *b)
{
    if (no_memory) {
        return -ENOMEM;
    }
    struct question *const q = NEW(struct question);
    (void)snprintf(q->what, sizeof(q->what), "%s %s%s%s", what, a, b ? " " : "", b ? b : "");
    q->user = user;
    DL_APPEND(questions, q);
    *ret = q;
    return 0;
}

static void drop(struct question *q)
{
    DL_DELETE(questions, q);
    mem_free(q);
}

int membership_check(struct membership *m, const char *room_id, const char *user_id,
                     void (*fn)(void *user, const struct membership_result *result), void *user,
                     struct membership_call **ret)
{
    (void)m;
    int const r = put((struct question **)ret, user, "is_joined", room_id, user_id);
    if (r == 0) {
        ((struct question *)*ret)->on_member = fn;
    }
    return r;
}

void membership_cancel(struct membership_call *c)
{
    drop((struct question *)c);
}

static int put_sfu(struct sfu_call **ret, sfu_done fn, void *user, const char *what, const char *a,
                   const char *b)
{
    int const r = put((struct question **)ret, user, what, a, b);
    if (r == 0) {
        ((struct question *)*ret)->on_sfu = fn;
    }
    return r;
}

int sfu_client_list_participants(struct sfu_client *c, const char *room, sfu_done fn, void *user,
                                 struct sfu_call **ret)
{
    (void)c;
    return put_sfu(ret, fn, user, "list", room, NULL);
}

int sfu_client_remove_participant(struct sfu_client *c, const char *room, const char *identity,
                                  sfu_done fn, void *user, struct sfu_call **ret)
{
    (void)c;
    return put_sfu(ret, fn, user, "remove", room, identity);
}

int sfu_client_delete_room(struct sfu_client *c, const char *room, sfu_done fn, void *user,
                           struct sfu_call **ret)
{
    (void)c;
    return put_sfu(ret, fn, user, "delete", room, NULL);
}

void sfu_client_cancel(struct sfu_call *c)
{
    drop((struct question *)c);
}

// Answers the first question, which must be this one.
static struct question take(const char *what)
{
    if (!questions || strcmp(questions->what, what) != 0) {
        fail_msg("\"%s\" instead of \"%s\"", questions ? questions->what : "nothing", what);
    }
    struct question const q = *questions;
    drop(questions);
    return q;
}

static void answer_member(const char *what, enum membership_state state)
{
    struct question const q = take(what);
    q.on_member(q.user, &(struct membership_result){.state = state, .step = "x", .text = "y"});
}

static void answer_list(const char *what, const char *const *identities)
{
    struct sfu_participant list[8] = {0};
    size_t n = 0;
    for (; identities && identities[n]; n++) {
        list[n] = (struct sfu_participant){identities[n], "PA_x"};
    }
    struct question const q = take(what);
    q.on_sfu(q.user,
             &(struct sfu_result){.ok = true, .participants = list, .participant_count = n});
}

#define LIST(what, ...) answer_list((what), (const char *const[]){__VA_ARGS__, NULL})

static void answer_ok(const char *what)
{
    struct question const q = take(what);
    q.on_sfu(q.user, &(struct sfu_result){.ok = true});
}

static void answer_failed(const char *what, bool not_found)
{
    struct question const q = take(what);
    q.on_sfu(q.user, &(struct sfu_result){.not_found = not_found, .step = "x", .text = "y"});
}

// ---- the monitor ----------------------------------------------------------------------------

static struct membership_monitor *monitor;

static void quiet(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    (void)line;
}

static const char *path; // NULL: nothing is kept

static void open_monitor(int64_t interval_ms)
{
    monitor = membership_monitor_new(
        &(struct membership_monitor_conf){.interval_ms = interval_ms, .path = path});
    assert_non_null(monitor);
}

static char folder[] = "/tmp/foci-members-XXXXXX";
static char file[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) {
        return -1;
    }
    (void)snprintf(file, sizeof(file), "%s/" MEMBERSHIP_FILE_NAME, folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(file);
    return rmdir(folder);
}

static int setup(void **state)
{
    (void)state;
    log_set_sink(quiet, NULL);
    clock_ = (mono_t){INT64_C(1000000000)};
    no_memory = false;
    path = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    membership_monitor_free(monitor);
    assert_null(timers);
    assert_null(questions);
    log_set_sink(NULL, NULL);
    return 0;
}

static void watch(const char *room, const char *identity, const char *user_id)
{
    struct membership_watch const w = {.room_id = "!r",
                                       .user_id = user_id,
                                       .room = room,
                                       .identity = identity,
                                       .lifetime_ms = HOUR_MS};
    assert_int_equal(membership_monitor_watch(monitor, &w), 0);
}

static void event(enum sfu_event_type type, const char *room, const char *identity)
{
    membership_monitor_event(monitor,
                             &(struct sfu_event){.type = type, .room = room, .identity = identity});
}

static struct membership_monitor_counts counts(void)
{
    struct membership_monitor_counts c;
    membership_monitor_counts(monitor, &c);
    return c;
}

static void who_left_the_room_is_removed_and_the_empty_room_deleted(void **state)
{
    (void)state;
    open_monitor(MINUTE_MS);
    watch("R", "I", "@a:x");
    assert_null(questions);
    pass(MINUTE_MS);
    LIST("list R", "I", "somebody");
    answer_member("is_joined !r @a:x", MEMBERSHIP_JOINED);
    assert_null(questions);
    pass(MINUTE_MS);
    LIST("list R", "I");
    answer_member("is_joined !r @a:x", MEMBERSHIP_NOT_JOINED);
    answer_ok("remove R I");
    LIST("list R", NULL);
    answer_ok("delete R");
    assert_null(questions);
    assert_int_equal(counts().removed, 1);
    assert_int_equal(counts().rooms_deleted, 1);
    assert_int_equal(counts().checks, 2);
}

static void a_room_with_others_in_it_stays(void **state)
{
    (void)state;
    open_monitor(MINUTE_MS);
    watch("R", "I", "@a:x");
    watch("R", "J", "@b:x");
    pass(MINUTE_MS);
    LIST("list R", "J", "I");
    answer_member("is_joined !r @a:x", MEMBERSHIP_NOT_JOINED);
    answer_ok("remove R I");
    answer_member("is_joined !r @b:x", MEMBERSHIP_JOINED);
    LIST("list R", "J");
    assert_null(questions);
    assert_int_equal(counts().rooms_deleted, 0);
}

static void on_doubt_nobody_is_removed(void **state)
{
    (void)state;
    open_monitor(10 * MINUTE_MS);
    watch("R", "I", "@a:x");
    pass(10 * MINUTE_MS);
    LIST("list R", "I");
    answer_member("is_joined !r @a:x", MEMBERSHIP_UNKNOWN);
    assert_null(questions); // later, not at once
    assert_int_equal(counts().unknown, 1);
    pass(29999);
    assert_null(questions);
    pass(1);
    answer_member("is_joined !r @a:x", MEMBERSHIP_JOINED);
    assert_null(questions);
    assert_int_equal(counts().removed, 0);
}

static void without_a_list_nobody_is_asked_about(void **state)
{
    (void)state;
    open_monitor(10 * MINUTE_MS);
    watch("R", "I", "@a:x");
    pass(10 * MINUTE_MS);
    answer_failed("list R", false);
    assert_null(questions);
    pass(30000);
    LIST("list R", NULL);
    assert_null(questions); // not there: nothing to remove
    assert_int_equal(counts().watched, 1);
}

static void all_devices_of_a_user_go_with_one_question(void **state)
{
    (void)state;
    open_monitor(MINUTE_MS);
    watch("R", "I1", "@a:x");
    watch("R", "I2", "@a:x");
    pass(MINUTE_MS);
    LIST("list R", "I1", "I2");
    answer_member("is_joined !r @a:x", MEMBERSHIP_NOT_JOINED);
    answer_ok("remove R I1");
    answer_failed("remove R I2", true); // went by herself
    LIST("list R", "other");
    assert_null(questions);
    assert_int_equal(counts().removed, 1);
    assert_int_equal(counts().failed, 0);
}

static void a_removal_that_failed_is_repeated_after_asking_again(void **state)
{
    (void)state;
    open_monitor(10 * MINUTE_MS);
    watch("R", "I", "@a:x");
    pass(10 * MINUTE_MS);
    LIST("list R", "I");
    answer_member("is_joined !r @a:x", MEMBERSHIP_NOT_JOINED);
    answer_failed("remove R I", false);
    assert_null(questions);
    assert_int_equal(counts().failed, 1);
    pass(30000);
    answer_member("is_joined !r @a:x", MEMBERSHIP_JOINED); // she is back
    assert_null(questions);
    assert_int_equal(counts().removed, 0);
}

static void who_comes_back_with_an_old_token_is_looked_at_at_once(void **state)
{
    (void)state;
    open_monitor(0);
    watch("R", "I", "@a:x");
    event(SFU_EVENT_JOINED, "R", "I"); // membership was seen when the token was made
    assert_null(questions);
    event(SFU_EVENT_JOINED, "R", "unknown");
    event(SFU_EVENT_JOINED, "other", "I");
    event(SFU_EVENT_ROOM_FINISHED, "R", "");
    pass(2 * MINUTE_MS);
    event(SFU_EVENT_LEFT, "R", "I");
    assert_null(questions);
    event(SFU_EVENT_JOINED, "R", "I");
    event(SFU_EVENT_JOINED, "R", "I");
    answer_member("is_joined !r @a:x", MEMBERSHIP_NOT_JOINED);
    answer_ok("remove R I");
    LIST("list R", NULL);
    answer_ok("delete R");
    assert_null(questions);
    event(SFU_EVENT_JOINED, "R", "I"); // at once, where the SFU makes rooms by itself
    answer_member("is_joined !r @a:x", MEMBERSHIP_NOT_JOINED);
    answer_ok("remove R I");
    LIST("list R", NULL);
    answer_ok("delete R");
}

static void a_room_is_not_deleted_under_somebody_who_is_about_to_join(void **state)
{
    (void)state;
    open_monitor(MINUTE_MS);
    watch("R", "I", "@a:x");
    pass(MINUTE_MS);
    LIST("list R", "I");
    watch("R", "J", "@b:x"); // a token, just now
    answer_member("is_joined !r @a:x", MEMBERSHIP_NOT_JOINED);
    answer_ok("remove R I");
    LIST("list R", NULL);
    assert_null(questions);
    assert_int_equal(counts().rooms_deleted, 0);
}

static void tokens_are_forgotten_when_they_open_nothing_any_more(void **state)
{
    (void)state;
    open_monitor(10 * MINUTE_MS);
    watch("R", "I", "@a:x");
    watch("S", "K", "@a:x");
    for (int i = 0; i < 6; i++) {
        pass(10 * MINUTE_MS);
        LIST("list R", "I"); // is there: her token is renewed by the SFU
        if (questions && strcmp(questions->what, "list S") != 0) {
            fail_msg("%s", questions->what);
        }
        LIST("list S", NULL);
        answer_member("is_joined !r @a:x", MEMBERSHIP_JOINED);
    }
    assert_int_equal(counts().watched, 1);
    pass(10 * MINUTE_MS);
    LIST("list R", NULL); // has left; the token of the SFU is good for a while
    assert_int_equal(counts().watched, 1);
    pass(10 * MINUTE_MS);
    LIST("list R", NULL);
    assert_int_equal(counts().watched, 0);
    pass(20 * MINUTE_MS);
    assert_null(questions);
    assert_true(idle()); // nothing wakes up for nobody
}

static void without_an_interval_old_tokens_are_forgotten_all_the_same(void **state)
{
    (void)state;
    open_monitor(0);
    watch("R", "I", "@a:x");
    pass(HOUR_MS);
    LIST("list R", "I"); // still there: not asked about
    assert_null(questions);
    pass(HOUR_MS);
    LIST("list R", NULL);
    assert_int_equal(counts().watched, 0);
    pass(HOUR_MS);
    assert_true(idle());
}

static void so_many_rooms_at_once_and_not_more(void **state)
{
    (void)state;
    open_monitor(MINUTE_MS);
    for (int i = 0; i < 100; i++) {
        char room[16];
        (void)snprintf(room, sizeof(room), "R%d", i);
        watch(room, "I", "@a:x");
    }
    pass(MINUTE_MS);
    unsigned done = 0;
    while (questions) {
        struct question *q = NULL;
        unsigned n = 0;
        DL_COUNT(questions, q, n);
        assert_in_range(n, 1, MEMBERSHIP_MONITOR_IN_FLIGHT);
        char what[160];
        (void)snprintf(what, sizeof(what), "%s", questions->what);
        LIST(what, NULL);
        done++;
    }
    assert_int_equal(done, 100);
}

static void no_memory_is_only_a_delay(void **state)
{
    (void)state;
    open_monitor(10 * MINUTE_MS);
    watch("R", "I", "@a:x");
    no_memory = true;
    pass(10 * MINUTE_MS);
    assert_null(questions);
    no_memory = false;
    pass(30000);
    LIST("list R", "I");
    no_memory = true;
    pass(0);
    no_memory = false;
    answer_member("is_joined !r @a:x", MEMBERSHIP_JOINED);
    assert_null(questions);
}

static void freeing_drops_what_is_under_way(void **state)
{
    (void)state;
    open_monitor(MINUTE_MS);
    watch("R", "I", "@a:x");
    watch("S", "I", "@a:x");
    pass(MINUTE_MS);
    LIST("list R", "I");
    assert_non_null(questions); // teardown looks
}

// ---- over a restart -------------------------------------------------------------------------

static void write_file(const char *text)
{
    FILE *const f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void those_in_a_call_are_known_after_a_restart(void **state)
{
    (void)state;
    struct stat st;
    (void)unlink(file);
    path = file;
    open_monitor(MINUTE_MS);
    watch("R", "I", "@a:x");
    watch("R", "J", "@\"b\":x");
    membership_monitor_free(monitor);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    pass(10 * MINUTE_MS);
    open_monitor(MINUTE_MS);
    assert_int_equal(counts().watched, 2);
    event(SFU_EVENT_JOINED, "R", "J"); // no look was had at him lately
    answer_member("is_joined !r @\"b\":x", MEMBERSHIP_JOINED);
    pass(MINUTE_MS);
    LIST("list R", "I", "J");
    answer_member("is_joined !r @a:x", MEMBERSHIP_NOT_JOINED);
    answer_ok("remove R I");
    answer_member("is_joined !r @\"b\":x", MEMBERSHIP_JOINED);
    LIST("list R", "J");
}

static void a_long_call_outlives_its_tokens_and_the_process(void **state)
{
    (void)state;
    (void)unlink(file);
    path = file;
    open_monitor(0);
    watch("R", "I", "@a:x");
    pass(HOUR_MS);
    LIST("list R", "I");
    pass(HOUR_MS - 1); // her token of an hour ago has long expired
    membership_monitor_free(monitor);
    open_monitor(0);
    assert_int_equal(counts().watched, 1);
    // Who was away too long is not.
    membership_monitor_free(monitor);
    pass(12 * MINUTE_MS);
    open_monitor(0);
    assert_int_equal(counts().watched, 0);
}

static void a_round_saves_what_is_new(void **state)
{
    (void)state;
    (void)unlink(file);
    path = file;
    open_monitor(MINUTE_MS);
    watch("R", "I", "@a:x");
    assert_int_not_equal(access(file, F_OK), 0);
    pass(MINUTE_MS);
    assert_int_equal(access(file, F_OK), 0);
    LIST("list R", NULL);
}

static void bad_lines_are_left_out(void **state)
{
    (void)state;
    write_file("{\"room_id\":\"!r\",\"user_id\":\"@a:x\",\"room\":\"R\",\"identity\":\"I\","
               "\"expires\":99999999999}\n"
               "\n{}\n[]\nnot json\n"
               "{\"room_id\":\"!r\",\"user_id\":\"@a:x\",\"room\":\"R\",\"identity\":\"old\","
               "\"expires\":1}\n"
               "{\"room_id\":\"!r\",\"user_id\":\"@a");
    path = file;
    open_monitor(MINUTE_MS);
    assert_int_equal(counts().watched, 1);
    membership_monitor_free(monitor);
    open_monitor(25 * HOUR_MS);
    assert_int_equal(counts().watched, 1);
    pass(25 * HOUR_MS); // nothing in a file makes anybody known for ever
    LIST("list R", NULL);
    assert_int_equal(counts().watched, 0);
}

static void a_folder_that_is_gone_is_no_disaster(void **state)
{
    (void)state;
    path = "/nowhere/at/all/members.jsonl";
    open_monitor(MINUTE_MS);
    watch("R", "I", "@a:x");
    pass(MINUTE_MS);
    LIST("list R", NULL);
    char longest[5000];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(membership_file_save(longest, (struct bytes){0}), -ENAMETOOLONG);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ROW(who_left_the_room_is_removed_and_the_empty_room_deleted),
        ROW(a_room_with_others_in_it_stays),
        ROW(on_doubt_nobody_is_removed),
        ROW(without_a_list_nobody_is_asked_about),
        ROW(all_devices_of_a_user_go_with_one_question),
        ROW(a_removal_that_failed_is_repeated_after_asking_again),
        ROW(who_comes_back_with_an_old_token_is_looked_at_at_once),
        ROW(a_room_is_not_deleted_under_somebody_who_is_about_to_join),
        ROW(tokens_are_forgotten_when_they_open_nothing_any_more),
        ROW(without_an_interval_old_tokens_are_forgotten_all_the_same),
        ROW(so_many_rooms_at_once_and_not_more),
        ROW(no_memory_is_only_a_delay),
        ROW(freeing_drops_what_is_under_way),
        ROW(those_in_a_call_are_known_after_a_restart),
        ROW(a_long_call_outlives_its_tokens_and_the_process),
        ROW(a_round_saves_what_is_new),
        ROW(bad_lines_are_left_out),
        ROW(a_folder_that_is_gone_is_no_disaster),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
