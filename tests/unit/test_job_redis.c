// SPDX-License-Identifier: Apache-2.0
// LINK: jwt
// SUPPORT: redis_process
// COVERS: job_redis_scan
// The job store on a real redis-server, on the hash of the original service.
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "jwt-service/leave/job_redis.h"
#include "tests/support/redis_process.h"

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct loop *loop;
static struct dns *dns;
static struct redis_process server;
static char url[128];
static char answer[1u << 20];

struct told {
    unsigned calls;
    int error;
};

struct loaded {
    unsigned calls;
    struct job_load load;
    char text[JOB_STORE_ERROR_MAX];
    char names[64][64];
    size_t records;
    struct job_record last;
    size_t taken;
    char taken_name[64];
};

static void no_log(void *user, enum log_level level, struct bytes line)
{
    (void)user;
    (void)level;
    (void)line;
}

static int start_server(void **state)
{
    (void)state;
    int const r = redis_process_start(&server, false, NULL);
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%u/0", server.port);
    log_set_sink(no_log, NULL);
    return r;
}

static int stop_server(void **state)
{
    (void)state;
    redis_process_stop(&server);
    log_set_sink(NULL, NULL);
    return 0;
}

static const char *cli(const char *const *words)
{
    return redis_process_ask(&server, answer, sizeof(answer), words);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    dns = dns_new(loop, &(struct dns_conf){0});
    (void)cli(WORDS("FLUSHALL"));
    return dns != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    dns_free(dns);
    loop_free(loop);
    return 0;
}

static void on_told(void *user, int error)
{
    struct told *const t = user;
    t->calls++;
    t->error = error;
}

static void on_each(void *user, const struct job_record *r)
{
    struct loaded *const l = user;
    if (l->records < 64) {
        (void)snprintf(l->names[l->records], 64, "%s", r->identity);
    }
    l->last = *r;
    l->records++;
}

static void on_loaded(void *user, const struct job_load *load)
{
    struct loaded *const l = user;
    l->load = *load;
    (void)snprintf(l->text, sizeof(l->text), "%s", load->text);
    l->calls++;
}

static void on_takeover(void *user, const struct job_record *r)
{
    struct loaded *const l = user;
    l->taken++;
    (void)snprintf(l->taken_name, sizeof(l->taken_name), "%s", r->identity);
}

static void turn_until(const unsigned *calls, unsigned n)
{
    for (int i = 0; i < 4000 && *calls < n; i++) {
        loop_run_once(loop, 10);
    }
    assert_int_equal(*calls, n);
}

static void turn_ms(int64_t ms)
{
    mono_t const end = mono_add_ms(clock_mono(), ms);
    while (mono_before(clock_mono(), end)) {
        loop_run_once(loop, 10);
    }
}

static struct job_store *start(const char *at, const char *instance, struct loaded *ret)
{
    struct job_store *s = NULL;
    char err[JOB_STORE_ERROR_MAX] = "";
    *ret = (struct loaded){0};
    struct job_store_conf const conf = {.loop = loop,
                                        .dns = dns,
                                        .redis_url = at,
                                        .state_dir = "/nonexistent", // Redis wins
                                        .instance = instance,
                                        .on_takeover = on_takeover,
                                        .user = ret};
    assert_int_equal(job_store_new(&conf, &s, err), 0);
    assert_int_equal(job_store_kind(s), JOB_STORE_REDIS);
    job_store_load(s, on_each, on_loaded, ret);
    turn_until(&ret->calls, 1);
    return s;
}

static struct job_record job(const char *identity)
{
    return (struct job_record){
        .room = "room",
        .identity = identity,
        .delay_id = "syd_1",
        .server_name = "example.org",
        .user_id = "@u:example.org",
        .delay_timeout_ns = INT64_C(8000000000),
        .restarted_at = clock_wall(),
        .state = JOB_CONNECTED,
    };
}

static int put(struct job_store *s, const char *identity, const char *delay_id)
{
    struct told t = {0};
    struct job_record r = job(identity);
    r.delay_id = delay_id;
    assert_int_equal(job_store_put(s, &r, on_told, &t, NULL), 0);
    assert_int_equal(t.calls, 0);
    turn_until(&t.calls, 1);
    return t.error;
}

static int flush(struct job_store *s, int64_t ms)
{
    struct told t = {0};
    job_store_flush(s, ms, on_told, &t);
    turn_until(&t.calls, 1);
    return t.error;
}

static unsigned fields(void)
{
    unsigned n = 0;
    assert_int_equal(sscanf(cli(WORDS("HLEN", JOB_REDIS_KEY)), ":%u", &n), 1);
    return n;
}

static void a_job_is_in_the_hash_when_it_is_called_safe(void **state)
{
    (void)state;
    struct loaded l;
    struct job_store *s = start(url, NULL, &l);
    assert_int_equal(l.load.result, JOB_LOAD_OK);
    assert_int_equal(put(s, "a", "syd_1"), 0);
    const char *const value = cli(WORDS("HGET", JOB_REDIS_KEY, "[\"room\",\"a\"]"));
    assert_non_null(strstr(value, "{\"Params\":{\"DelayId\":\"syd_1\",\"DelayTimeout\":8000000000,"
                                  "\"ServerName\":\"example.org\",\"LiveKitRoom\":\"room\","
                                  "\"LiveKitIdentity\":\"a\"},\"RestartedAt\":\"2"));
    assert_non_null(
        strstr(value, "\"State\":\"connected\",\"UserId\":\"@u:example.org\",\"Version\":1}"));
    // No expiry and nothing else in the database.
    assert_string_equal(cli(WORDS("TTL", JOB_REDIS_KEY)), ":-1\r\n");
    assert_string_equal(cli(WORDS("DBSIZE")), ":1\r\n");
    assert_int_equal(put(s, "a", "syd_2"), 0);
    assert_non_null(strstr(cli(WORDS("HGETALL", JOB_REDIS_KEY)), "syd_2"));
    assert_int_equal(fields(), 1);
    job_store_remove(s, "room", "a");
    assert_int_equal(flush(s, 2000), 0);
    assert_int_equal(fields(), 0);
    job_store_free(s);
}

// The hash as the original left it, and what it makes of ours afterwards is the same text.
static void a_hash_of_the_original_is_taken_over_and_given_back(void **state)
{
    (void)state;
    FILE *const f = fopen("tests/data/authorization/redis_hash.tsv", "r");
    char line[4096];
    struct loaded l;
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *const tab = strchr(line, '\t');
        *tab = '\0';
        (void)cli(WORDS("HSET", JOB_REDIS_KEY, line, tab + 1));
    }
    (void)fclose(f);
    unsigned const n = fields();
    struct job_store *s = start(url, NULL, &l);
    assert_int_equal(l.load.records, n - 1);
    assert_int_equal(l.records, n - 1);
    assert_int_equal(l.load.broken, 1);
    // Entries stay as they are until something happens to them; the bad one stays anyway.
    turn_ms(50);
    assert_int_equal(fields(), n);
    assert_null(strstr(cli(WORDS("HGETALL", JOB_REDIS_KEY)), "Version"));
    // One that has expired is removed by its owner.
    job_store_remove(s, "r", "i");
    assert_int_equal(flush(s, 2000), 0);
    assert_int_equal(fields(), n - 1);
    assert_non_null(strstr(cli(WORDS("HGET", JOB_REDIS_KEY, "garbage")), "{not json"));
    job_store_free(s);
    // Given back: all fields are there in the original's spelling and with its members.
    s = start(url, NULL, &l);
    assert_int_equal(l.load.records, n - 2);
    job_store_free(s);
}

static void another_spelling_of_a_field_is_replaced(void **state)
{
    (void)state;
    struct loaded l;
    (void)cli(WORDS("HSET", JOB_REDIS_KEY, "[\"room\",\"\\u003cx\\u003e\"]",
                    "{\"Params\":{\"DelayId\":\"d\",\"DelayTimeout\":1,\"ServerName\":\"s\"}}"));
    (void)cli(WORDS("HSET", JOB_REDIS_KEY, "[ \"room\", \"y\" ]",
                    "{\"Params\":{\"DelayId\":\"d\",\"DelayTimeout\":1,\"ServerName\":\"s\"}}"));
    struct job_store *const s = start(url, NULL, &l);
    assert_int_equal(l.load.records, 2);
    assert_int_equal(put(s, "<x>", "syd_9"), 0);
    assert_int_equal(fields(), 2);
    assert_non_null(strstr(cli(WORDS("HGET", JOB_REDIS_KEY, "[\"room\",\"<x>\"]")), "syd_9"));
    job_store_remove(s, "room", "y");
    assert_int_equal(flush(s, 2000), 0);
    assert_int_equal(fields(), 1);
    job_store_free(s);
}

static void old_bad_entries_are_deleted_young_ones_stay(void **state)
{
    (void)state;
    struct loaded l;
    char now[JOB_TIME_LEN];
    char value[128];
    (void)snprintf(value, sizeof(value), "{\"RestartedAt\":\"%s\"}",
                   job_codec_time_write(clock_wall(), now));
    (void)cli(WORDS("HSET", JOB_REDIS_KEY, "[\"r\",\"old\"]",
                    "{\"RestartedAt\":\"2020-01-01T00:00:00Z\"}"));
    (void)cli(WORDS("HSET", JOB_REDIS_KEY, "[\"r\",\"young\"]", value));
    (void)cli(WORDS("HSET", JOB_REDIS_KEY, "x", "y"));
    struct job_store *const s = start(url, NULL, &l);
    assert_int_equal(l.load.broken, 3);
    turn_ms(50);
    assert_int_equal(fields(), 2);
    assert_string_equal(cli(WORDS("HEXISTS", JOB_REDIS_KEY, "[\"r\",\"old\"]")), ":0\r\n");
    job_store_free(s);
}

static void an_unreachable_server_is_fatal_at_the_start(void **state)
{
    (void)state;
    struct loaded l;
    mono_t const begin = clock_mono();
    struct job_store *s = start("redis://127.0.0.1:1", NULL, &l);
    assert_int_equal(l.load.result, JOB_LOAD_UNREACHABLE);
    assert_true(strncmp(l.text, "Could not connect Redis store: ", 31) == 0);
    assert_non_null(strstr(l.text, "refused"));
    assert_true(mono_diff_ms(clock_mono(), begin) < 8000);
    job_store_free(s);
    char err[JOB_STORE_ERROR_MAX];
    struct job_store_conf conf = {.loop = loop, .dns = dns, .redis_url = "http://u:hunter2@h"};
    assert_int_equal(job_store_new(&conf, &s, err), -EINVAL);
    assert_non_null(strstr(err, "invalid URL scheme"));
    assert_null(strstr(err, "hunter2"));
    conf.redis_url = "127.0.0.1:6399";
    assert_int_equal(job_store_new(&conf, &s, err), -EINVAL);
}

static void the_password_may_come_from_elsewhere(void **state)
{
    (void)state;
    struct loaded l = {0};
    struct job_store *s = NULL;
    char err[JOB_STORE_ERROR_MAX];
    (void)cli(WORDS("CONFIG", "SET", "requirepass", "elsewhere"));
    struct job_store_conf const conf = {
        .loop = loop, .dns = dns, .redis_url = url, .redis_password = "elsewhere"};
    assert_int_equal(job_store_new(&conf, &s, err), 0);
    job_store_load(s, on_each, on_loaded, &l);
    turn_until(&l.calls, 1);
    assert_int_equal(l.load.result, JOB_LOAD_OK);
    job_store_free(s);
    s = start(url, NULL, &l);
    assert_int_equal(l.load.result, JOB_LOAD_UNREACHABLE);
    assert_non_null(strstr(l.text, "NOAUTH"));
    job_store_free(s);
    (void)snprintf(server.password, sizeof(server.password), "elsewhere");
    (void)cli(WORDS("CONFIG", "SET", "requirepass", ""));
    server.password[0] = '\0';
}

static void a_server_that_was_gone_gets_everything(void **state)
{
    (void)state;
    struct loaded l;
    struct job_store_stats stats;
    struct job_store *const s = start(url, NULL, &l);
    assert_int_equal(put(s, "before", "1"), 0);
    assert_int_equal(put(s, "gone", "1"), 0);
    redis_process_kill(&server);
    mono_t const begin = clock_mono();
    int const first = put(s, "meanwhile", "1"); // waits for a reconnection or the time
    assert_true(first == -ENOTCONN || first == -ETIMEDOUT);
    assert_true(mono_diff_ms(clock_mono(), begin) < JOB_STORE_WAIT_MS + 1000);
    turn_ms(300);
    mono_t const later = clock_mono();
    assert_int_equal(put(s, "later", "1"), -ENOTCONN); // known to be gone: told at once
    assert_true(mono_diff_ms(clock_mono(), later) < 500);
    assert_int_equal(put(s, "later", "2"), -ENOTCONN);
    job_store_remove(s, "room", "gone");
    job_store_stats(s, &stats);
    assert_false(stats.up);
    assert_int_equal(stats.pending, 3);
    assert_int_equal(flush(s, 100), -ETIMEDOUT);
    // Back, and empty: there is no persistence.
    assert_int_equal(redis_process_again(&server), 0);
    assert_int_equal(flush(s, 20000), 0);
    for (int i = 0; i < 300 && fields() < 3; i++) {
        turn_ms(10);
    }
    assert_int_equal(fields(), 3);
    assert_non_null(strstr(cli(WORDS("HGET", JOB_REDIS_KEY, "[\"room\",\"later\"]")), "\"2\""));
    assert_string_equal(cli(WORDS("HEXISTS", JOB_REDIS_KEY, "[\"room\",\"before\"]")), ":1\r\n");
    assert_string_equal(cli(WORDS("HEXISTS", JOB_REDIS_KEY, "[\"room\",\"gone\"]")), ":0\r\n");
    job_store_stats(s, &stats);
    assert_true(stats.up);
    job_store_free(s);
}

static void a_server_that_refuses_writes_is_tried_again(void **state)
{
    (void)state;
    struct loaded l;
    struct job_store *const s = start(url, NULL, &l);
    (void)cli(WORDS("CONFIG", "SET", "maxmemory", "1"));
    assert_int_equal(put(s, "a", "1"), -EIO);
    assert_int_equal(put(s, "b", "1"), -EIO);
    (void)cli(WORDS("CONFIG", "SET", "maxmemory", "0"));
    assert_int_equal(flush(s, 10000), 0);
    assert_int_equal(fields(), 2);
    job_store_free(s);
}

static void a_hundred_thousand_jobs_go_there_and_back(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct loaded l;
    struct job_store *s = start(url, NULL, &l);
    mono_t const begin = clock_mono();
    for (unsigned i = 0; i < N; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "vYVtMtQx0V+abcdefghijklmnopqrstuvwxyz%09u", i);
        struct job_record const r = job(name);
        assert_int_equal(job_store_put(s, &r, NULL, NULL, NULL), 0);
    }
    assert_int_equal(flush(s, 60000), 0);
    int64_t const written = mono_diff_ms(clock_mono(), begin);
    assert_int_equal(fields(), N);
    job_store_free(s);
    s = start(url, NULL, &l);
    assert_int_equal(l.load.records, N);
    print_message("%d jobs: written in %lld ms, read in %lld ms\n", N, (long long)written,
                  (long long)l.load.elapsed_ms);
    job_store_free(s);
}

// ---- records that only the owner has --------------------------------------------------------

// A copy of what the owner of the store knows.
struct owned {
    struct job_store *store;
    char names[4][16];
    size_t count;
    size_t asked;
    size_t given;
    struct told loaded;
};

static bool on_record(void *user, const char *room, const char *identity, struct job_record *ret)
{
    struct owned *const o = user;
    assert_string_equal(room, "room");
    o->asked++;
    if (strncmp(identity, "many", 4) == 0) {
        *ret = job(identity);
        return true;
    }
    for (size_t i = 0; i < o->count; i++) {
        if (strcmp(o->names[i], identity) == 0) {
            *ret = job(o->names[i]);
            ret->delay_id = "syd_asked";
            return true;
        }
    }
    return false;
}

static void on_owned(void *user, const struct job_record *r)
{
    struct owned *const o = user;
    o->given++;
    if (strcmp(r->identity, "expired") == 0) {
        job_store_remove(o->store, r->room, r->identity);
    }
}

static void on_owned_loaded(void *user, const struct job_load *load)
{
    struct owned *const o = user;
    assert_int_equal(load->result, JOB_LOAD_OK);
    assert_int_equal(load->records, o->given);
    o->loaded.calls++;
}

static void start_owned(const char *instance, struct owned *o)
{
    char err[JOB_STORE_ERROR_MAX] = "";
    struct job_store_conf const conf = {.loop = loop,
                                        .dns = dns,
                                        .redis_url = url,
                                        .instance = instance,
                                        .on_takeover = on_owned,
                                        .record = on_record,
                                        .user = o};
    assert_int_equal(job_store_new(&conf, &o->store, err), 0);
    job_store_load(o->store, on_owned, on_owned_loaded, o);
    turn_until(&o->loaded.calls, 1);
}

static uint64_t pending(const struct job_store *s)
{
    struct job_store_stats stats;
    job_store_stats(s, &stats);
    return stats.pending;
}

static void what_a_server_lost_is_asked_for(void **state)
{
    (void)state;
    struct owned o = {.names = {"a", "b"}, .count = 2};
    start_owned(NULL, &o);
    assert_int_equal(put(o.store, "a", "1"), 0);
    assert_int_equal(put(o.store, "b", "1"), 0);
    assert_int_equal(put(o.store, "unknown", "1"), 0);
    assert_int_equal(put(o.store, "gone", "1"), 0);
    assert_int_equal(o.asked, 0);
    redis_process_kill(&server);
    turn_ms(300);
    job_store_remove(o.store, "room", "gone");
    assert_int_equal(redis_process_again(&server), 0);
    assert_int_equal(flush(o.store, 20000), 0);
    for (int i = 0; i < 300 && fields() < 2; i++) {
        turn_ms(10);
    }
    assert_int_equal(flush(o.store, 5000), 0);
    assert_int_equal(fields(), 2);
    assert_int_equal(o.asked, 3); // one of which nobody knows any more
    assert_non_null(strstr(cli(WORDS("HGET", JOB_REDIS_KEY, "[\"room\",\"a\"]")), "syd_asked"));
    assert_non_null(strstr(cli(WORDS("HGET", JOB_REDIS_KEY, "[\"room\",\"b\"]")), "syd_asked"));
    assert_int_equal(pending(o.store), 0);
    job_store_free(o.store);
}

static void what_was_put_is_written_when_the_server_is_back(void **state)
{
    (void)state;
    struct owned o = {.names = {"a"}, .count = 1};
    start_owned(NULL, &o);
    assert_int_equal(put(o.store, "a", "1"), 0);
    redis_process_kill(&server);
    turn_ms(300);
    assert_int_equal(put(o.store, "a", "newest"), -ENOTCONN);
    assert_int_equal(put(o.store, "b", "newest"), -ENOTCONN);
    assert_int_equal(redis_process_again(&server), 0);
    assert_int_equal(flush(o.store, 20000), 0);
    assert_int_equal(fields(), 2);
    assert_non_null(strstr(cli(WORDS("HGET", JOB_REDIS_KEY, "[\"room\",\"a\"]")), "newest"));
    assert_int_equal(o.asked, 0);
    job_store_free(o.store);
}

// Removals do not wait for thousands of records that get another owner's name.
static void changes_are_safe_before_all_names_are_in(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct loaded l;
    struct told t = {0};
    struct owned o = {0};
    struct job_store *const dead = start(url, "dead", &l);
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "many%u", i);
        struct job_record const r = job(i == N / 2 ? "expired" : name);
        assert_int_equal(job_store_put(dead, &r, NULL, NULL, NULL), 0);
    }
    assert_int_equal(flush(dead, 60000), 0);
    job_store_free(dead);
    start_owned("living", &o);
    assert_int_equal(o.given, N);
    job_store_flush_changes(o.store, 10000, on_told, &t);
    turn_until(&t.calls, 1);
    assert_int_equal(t.error, 0);
    assert_true(pending(o.store) > 0);
    assert_string_equal(cli(WORDS("HEXISTS", JOB_REDIS_KEY, "[\"room\",\"expired\"]")), ":0\r\n");
    // One that is put in the meantime is not asked for.
    assert_int_equal(put(o.store, "many19999", "put"), 0);
    job_store_remove(o.store, "room", "many19998");
    assert_int_equal(flush(o.store, 60000), 0);
    assert_int_equal(pending(o.store), 0);
    assert_int_equal(fields(), N - 2);
    assert_in_range(o.asked, N - 3, N - 1);
    const char *const put_one = cli(WORDS("HGET", JOB_REDIS_KEY, "[\"room\",\"many19999\"]"));
    assert_non_null(strstr(put_one, "\"put\""));
    assert_non_null(strstr(put_one, "\"Owner\":\"living\""));
    assert_non_null(
        strstr(cli(WORDS("HGET", JOB_REDIS_KEY, "[\"room\",\"many7\"]")), "\"Owner\":\"living\""));
    job_store_free(o.store);
}

static void a_refused_claim_is_tried_again(void **state)
{
    (void)state;
    struct loaded l;
    struct owned o = {.names = {"a", "b"}, .count = 2};
    struct job_store *const dead = start(url, "dead", &l);
    assert_int_equal(put(dead, "a", "1"), 0);
    assert_int_equal(put(dead, "b", "1"), 0);
    job_store_free(dead);
    (void)cli(WORDS("DEL", "lk-jwt:lease:living"));
    start_owned("living", &o);
    (void)cli(WORDS("CONFIG", "SET", "maxmemory", "1"));
    assert_int_equal(put(o.store, "c", "1"), -EIO);
    (void)cli(WORDS("CONFIG", "SET", "maxmemory", "0"));
    assert_int_equal(flush(o.store, 10000), 0);
    assert_int_equal(fields(), 3);
    assert_null(strstr(cli(WORDS("HGETALL", JOB_REDIS_KEY)), "\"Owner\":\"dead\""));
    job_store_free(o.store);
}

// ---- leases ---------------------------------------------------------------------------------

static void a_living_instance_keeps_its_jobs_and_leaves_them_at_its_end(void **state)
{
    (void)state;
    struct loaded a;
    struct loaded b;
    struct job_store *const one = start(url, "one", &a);
    assert_int_equal(put(one, "x", "1"), 0);
    assert_int_equal(put(one, "y", "1"), 0);
    assert_non_null(strstr(cli(WORDS("HGETALL", JOB_REDIS_KEY)), "\"Owner\":\"one\""));
    struct job_store *const two = start(url, "two", &b);
    assert_int_equal(b.load.records, 0);
    assert_int_equal(b.load.foreign, 2);
    job_store_free(one); // gives the lease back
    for (int i = 0; i < 100 && b.taken < 2; i++) {
        turn_ms(50);
    }
    assert_int_equal(b.taken, 2);
    assert_int_equal(flush(two, 5000), 0);
    assert_non_null(strstr(cli(WORDS("HGETALL", JOB_REDIS_KEY)), "\"Owner\":\"two\""));
    assert_null(strstr(cli(WORDS("HGETALL", JOB_REDIS_KEY)), "\"Owner\":\"one\""));
    job_store_free(two);
}

static void a_restarted_instance_has_its_jobs_at_once(void **state)
{
    (void)state;
    struct loaded a;
    struct job_store *s = start(url, "one", &a);
    assert_int_equal(put(s, "x", "1"), 0);
    job_store_free(s);
    (void)cli(WORDS("SET", "lk-jwt:lease:one", "1", "PX", "15000")); // as after a crash
    s = start(url, "one", &a);
    assert_int_equal(a.load.records, 1);
    job_store_free(s);
}

static void jobs_of_the_dead_are_taken_by_one_only(void **state)
{
    (void)state;
    struct loaded a;
    struct loaded b;
    struct job_store *s = start(url, "dead", &a);
    assert_int_equal(put(s, "x", "1"), 0);
    job_store_free(s);
    struct job_store *const one = start(url, "one", &a);
    assert_int_equal(a.load.records, 1);
    struct job_store *const two = start(url, "two", &b);
    assert_int_equal(b.load.records, 0);
    assert_int_equal(b.load.foreign, 1);
    job_store_free(one);
    job_store_free(two);
}

static void an_abandoned_job_is_taken_although_its_owner_lives(void **state)
{
    (void)state;
    struct loaded a;
    struct loaded b;
    struct told t = {0};
    struct job_store *const one = start(url, "one", &a);
    struct job_record r = job("late");
    r.restarted_at.us -= INT64_C(7500000); // of eight seconds
    assert_int_equal(job_store_put(one, &r, on_told, &t, NULL), 0);
    turn_until(&t.calls, 1);
    struct job_store *const two = start(url, "two", &b);
    assert_int_equal(b.load.records, 1);
    job_store_free(one);
    job_store_free(two);
}

static void jobs_that_another_made_later_are_found_when_it_dies(void **state)
{
    (void)state;
    struct loaded a;
    struct loaded b;
    struct job_store *const one = start(url, "one", &a);
    struct job_store *const two = start(url, "two", &b);
    assert_int_equal(put(two, "later", "1"), 0);
    job_store_free(two);
    for (int i = 0; i < 400 && a.taken < 1; i++) {
        turn_ms(50);
    }
    assert_int_equal(a.taken, 1);
    assert_string_equal(a.taken_name, "later");
    job_store_free(one);
}

// ---- a server that knows four commands ------------------------------------------------------

static int listener = -1;
static int peer = -1;
static struct loop_poll *talking;
static unsigned hsets;
static unsigned others;

// Reads one command at *at, moves behind it and writes its first word. False: no whole one.
static bool next_command(const char **at, char word[16])
{
    char *p = NULL;
    if (**at != '*') {
        return false;
    }
    long const count = strtol(*at + 1, &p, 10);
    p += 2;
    for (long i = 0; i < count; i++) {
        if (*p != '$') {
            return false;
        }
        long const n = strtol(p + 1, &p, 10);
        p += 2;
        if (i == 0) {
            (void)snprintf(word, 16, "%.*s", (int)n, p);
        }
        p += n + 2;
    }
    *at = p;
    return true;
}

// The client sends each command in one piece, and they are small.
static void on_talk(void *user, unsigned events)
{
    (void)user;
    (void)events;
    char buf[8192];
    char word[16];
    ssize_t const n = recv(peer, buf, sizeof(buf) - 1, MSG_DONTWAIT);
    if (n <= 0) {
        loop_poll_set(talking, 0);
        return;
    }
    buf[n] = '\0';
    const char *at = buf;
    while (next_command(&at, word)) {
        const char *out = "-ERR unknown command\r\n";
        if (strcmp(word, "PING") == 0) {
            out = "+PONG\r\n";
        } else if (strcmp(word, "HGETALL") == 0) {
            out = "*0\r\n";
        } else if (strcmp(word, "HSET") == 0) {
            hsets++;
            out = ":1\r\n";
        } else {
            others++;
        }
        (void)!send(peer, out, strlen(out), MSG_NOSIGNAL);
    }
}

static void on_listen(void *user, unsigned events)
{
    (void)user;
    (void)events;
    if (peer >= 0) {
        return;
    }
    peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    talking = loop_poll_new(loop, peer, on_talk, NULL);
    loop_poll_set(talking, LOOP_READ);
}

static void a_simple_server_does_without_leases(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    char simple[64];
    struct loaded l;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    struct loop_poll *const listening = loop_poll_new(loop, listener, on_listen, NULL);
    loop_poll_set(listening, LOOP_READ);
    (void)snprintf(simple, sizeof(simple), "redis://127.0.0.1:%u/0", ntohs(at.sin_port));
    struct job_store *const s = start(simple, "one", &l);
    assert_int_equal(l.load.result, JOB_LOAD_OK);
    assert_int_equal(put(s, "a", "1"), 0);
    assert_int_equal(hsets, 1);
    assert_int_equal(others, 1); // the one attempt to get a lease
    job_store_free(s);
    loop_poll_free(listening);
    loop_poll_free(talking);
    (void)close(listener);
    (void)close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_job_is_in_the_hash_when_it_is_called_safe),
        T(a_hash_of_the_original_is_taken_over_and_given_back),
        T(another_spelling_of_a_field_is_replaced),
        T(old_bad_entries_are_deleted_young_ones_stay),
        T(an_unreachable_server_is_fatal_at_the_start),
        T(the_password_may_come_from_elsewhere),
        T(a_server_that_was_gone_gets_everything),
        T(a_server_that_refuses_writes_is_tried_again),
        T(a_hundred_thousand_jobs_go_there_and_back),
        T(what_a_server_lost_is_asked_for),
        T(what_was_put_is_written_when_the_server_is_back),
        T(changes_are_safe_before_all_names_are_in),
        T(a_refused_claim_is_tried_again),
        T(a_living_instance_keeps_its_jobs_and_leaves_them_at_its_end),
        T(a_restarted_instance_has_its_jobs_at_once),
        T(jobs_of_the_dead_are_taken_by_one_only),
        T(an_abandoned_job_is_taken_although_its_owner_lives),
        T(jobs_that_another_made_later_are_found_when_it_dies),
        T(a_simple_server_does_without_leases),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
