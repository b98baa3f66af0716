// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// SUPPORT: redis_process
// COVERS: stream_conn
// The client against a real redis-server, and against one that misbehaves.
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/svc/redis.h"
#include "common/sys/clock.h"
#include "tests/support/redis_process.h"

static struct loop *loop;
static struct dns *dns;
static struct redis_process plain;  // no password
static struct redis_process locked; // TLS and password
static struct redis *redis;
static unsigned ups;
static unsigned downs;
static char why[512];

static void on_state(void *user, bool up, const char *text)
{
    (void)user;
    ups += up;
    downs += !up;
    (void)snprintf(why, sizeof(why), "%s", text);
}

static int start_servers(void **state)
{
    (void)state;
    int r = redis_process_start(&plain, false, NULL);
    r = r == 0 ? redis_process_start(&locked, true, "pass word%") : r;
    if (r != 0) {
        print_error("redis-server: %s\n", strerror(-r));
    }
    return r;
}

static int stop_servers(void **state)
{
    (void)state;
    redis_process_stop(&plain);
    redis_process_stop(&locked);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    dns = loop != NULL ? dns_new(loop, &(struct dns_conf){0}) : NULL;
    ups = 0;
    downs = 0;
    why[0] = '\0';
    return dns != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    redis_free(redis);
    redis = NULL;
    dns_free(dns);
    loop_free(loop);
    return 0;
}

static void open_url(const char *text, const char *ca_file)
{
    struct redis_url url;
    char err[REDIS_URL_ERROR_MAX] = "";
    assert_int_equal(redis_url_parse(text, &url, err), 0);
    redis = redis_new(&(struct redis_conf){
        .loop = loop, .dns = dns, .url = &url, .ca_file = ca_file, .on_state = on_state});
    assert_non_null(redis);
}

static void turn_until(const unsigned *count, unsigned n)
{
    for (int i = 0; i < 1500 && *count < n; i++) {
        loop_run_once(loop, 10);
    }
    assert_true(*count >= n);
}

static void open_and_wait(const char *url, const char *ca_file)
{
    open_url(url, ca_file);
    turn_until(&ups, 1);
    assert_true(redis_is_up(redis));
}

struct got {
    unsigned answers;
    enum redis_answer_type type;
    int64_t number;
    char text[256];
    size_t items;
    size_t item_bytes;
    char last[64];
};

static void on_answer(void *user, const struct redis_answer *a)
{
    struct got *const g = user;
    g->answers++;
    g->type = a->type;
    g->number = a->number;
    (void)snprintf(g->text, sizeof(g->text), "%.*s", (int)a->text.n, (const char *)a->text.p);
}

static void on_item(void *user, size_t index, struct bytes item)
{
    struct got *const g = user;
    assert_int_equal(index, g->items);
    g->items++;
    g->item_bytes += item.n;
    (void)snprintf(g->last, sizeof(g->last), "%.*s", (int)item.n, (const char *)item.p);
}

static int send_words(struct got *g, const char *const *words)
{
    struct bytes args[8];
    size_t n = 0;
    while (words[n] != NULL) {
        args[n] = bytes_str(words[n]);
        n++;
    }
    return redis_send(
        redis,
        &(struct redis_ask){
            .args = args, .count = n, .on_item = on_item, .on_answer = on_answer, .user = g});
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct got ask(const char *const *words)
{
    struct got g = {0};
    assert_int_equal(send_words(&g, words), 0);
    assert_int_equal(g.answers, 0);
    turn_until(&g.answers, 1);
    return g;
}

static void use_it(void)
{
    struct got g = ask(WORDS("HSET", "h", "field", "a value\r\n$5\r\n"));
    assert_int_equal(g.type, REDIS_ANSWER_INT);
    g = ask(WORDS("HGET", "h", "field"));
    assert_int_equal(g.type, REDIS_ANSWER_TEXT);
    assert_string_equal(g.text, "a value\r\n$5\r\n");
    g = ask(WORDS("HGETALL", "h"));
    assert_int_equal(g.type, REDIS_ANSWER_ARRAY);
    assert_int_equal(g.number, 2);
    assert_int_equal(g.items, 2);
    g = ask(WORDS("HGET", "h", "nothing"));
    assert_int_equal(g.type, REDIS_ANSWER_NIL);
    g = ask(WORDS("NONSENSE"));
    assert_int_equal(g.type, REDIS_ANSWER_ERROR);
    assert_true(strncmp(g.text, "ERR unknown command", 19) == 0);
    g = ask(WORDS("DEL", "h"));
    assert_int_equal(g.number, 1);
}

static void plain_tcp_by_address_and_by_name(void **state)
{
    (void)state;
    char url[128];
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%u", plain.port);
    open_and_wait(url, NULL);
    use_it();
    redis_free(redis);
    ups = 0;
    (void)snprintf(url, sizeof(url), "redis://localhost:%u/0", plain.port);
    open_and_wait(url, NULL);
    use_it();
}

static void unix_socket_with_password(void **state)
{
    (void)state;
    char url[256];
    (void)snprintf(url, sizeof(url), "unix://:pass%%20word%%25@%s", locked.socket);
    open_and_wait(url, NULL);
    use_it();
}

static void the_database_is_selected(void **state)
{
    (void)state;
    char url[128];
    char buf[256];
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%u/3", plain.port);
    open_and_wait(url, NULL);
    (void)ask(WORDS("SET", "only-in-3", "x"));
    assert_string_equal(redis_process_ask(&plain, buf, sizeof(buf), WORDS("EXISTS", "only-in-3")),
                        ":0\r\n");
    assert_int_equal(ask(WORDS("DEL", "only-in-3")).number, 1);
}

static void tls_with_user_and_password(void **state)
{
    (void)state;
    char url[160];
    char ca[96];
    (void)snprintf(ca, sizeof(ca), "%s/ca.crt", locked.dir);
    (void)snprintf(url, sizeof(url), "rediss://default:pass%%20word%%25@127.0.0.1:%u",
                   locked.tls_port);
    open_and_wait(url, ca);
    use_it();
    redis_free(redis);
    ups = 0;
    (void)snprintf(url, sizeof(url), "rediss://:pass%%20word%%25@localhost:%u", locked.tls_port);
    open_and_wait(url, ca);
    use_it();
    // Much in both directions.
    char *const large = mem_alloc(300001);
    memset(large, 'x', 300000);
    for (unsigned i = 0; i < 20; i++) {
        char field[16];
        (void)snprintf(field, sizeof(field), "f%u", i);
        (void)ask(WORDS("HSET", "large", field, large));
    }
    mem_free(large);
    struct got const g = ask(WORDS("HGETALL", "large"));
    assert_int_equal(g.items, 40);
    assert_true(g.item_bytes > 20 * 300000);
    (void)ask(WORDS("DEL", "large"));
}

static void a_certificate_of_a_stranger_is_refused(void **state)
{
    (void)state;
    char url[160];
    (void)snprintf(url, sizeof(url), "rediss://:pass%%20word%%25@127.0.0.1:%u", locked.tls_port);
    open_url(url, NULL);
    turn_until(&downs, 1);
    assert_non_null(strstr(why, "TLS handshake"));
    assert_non_null(strstr(why, "certificate"));
    assert_null(strstr(why, "pass"));
    redis_free(redis);
    // Unless the operator says that it does not matter.
    (void)snprintf(url, sizeof(url), "rediss://:pass%%20word%%25@127.0.0.1:%u?skip_verify=true",
                   locked.tls_port);
    open_and_wait(url, NULL);
}

static void a_certificate_for_another_name_is_refused(void **state)
{
    (void)state;
    char url[160];
    char ca[96];
    (void)snprintf(ca, sizeof(ca), "%s/ca.crt", locked.dir);
    // The same host by an address that the certificate does not name.
    (void)snprintf(url, sizeof(url), "rediss://127.0.0.2:%u", locked.tls_port);
    struct redis_url u;
    char err[REDIS_URL_ERROR_MAX];
    assert_int_equal(redis_url_parse(url, &u, err), 0);
    open_url(url, ca);
    turn_until(&downs, 1);
    // redis-server listens on 127.0.0.1 only, which some systems do not tell apart from 127.0.0.2.
    assert_true(strstr(why, "refused") != NULL || strstr(why, "mismatch") != NULL);
}

static void a_wrong_password_is_told_and_tried_again(void **state)
{
    (void)state;
    char url[128];
    (void)snprintf(url, sizeof(url), "redis://:wrong@127.0.0.1:%u", locked.port);
    open_url(url, NULL);
    turn_until(&downs, 2);
    assert_int_equal(ups, 0);
    assert_non_null(strstr(why, "AUTH: WRONGPASS"));
    assert_null(strstr(why, "wrong@"));
    redis_free(redis);
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%u", locked.port);
    open_url(url, NULL);
    turn_until(&downs, 3);
    assert_non_null(strstr(why, "NOAUTH"));
}

static void nothing_is_sent_while_it_is_not_up(void **state)
{
    (void)state;
    struct got g = {0};
    open_url("redis://127.0.0.1:1", NULL);
    assert_int_equal(send_words(&g, WORDS("PING")), -ENOTCONN);
    turn_until(&downs, 2);
    assert_non_null(strstr(why, "redis://127.0.0.1:1/0: connect to 127.0.0.1:1: "));
    assert_int_equal(send_words(&g, WORDS("PING")), -ENOTCONN);
    assert_int_equal(g.answers, 0);
    redis_free(redis);
    open_url("redis://no-such-host.invalid", NULL);
    turn_until(&downs, 3);
    assert_non_null(strstr(why, "look up no-such-host.invalid"));
    redis_free(redis);
    open_url("unix:///nonexistent.sock", NULL);
    turn_until(&downs, 4);
    assert_non_null(strstr(why, "/nonexistent.sock: No such file"));
}

static void it_comes_back_after_a_crash_of_the_server(void **state)
{
    (void)state;
    char url[128];
    struct got g = {0};
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%u", plain.port);
    open_and_wait(url, NULL);
    // One that is on its way then is told lost.
    assert_int_equal(send_words(&g, WORDS("BLPOP", "nothing", "0")), 0);
    for (int i = 0; i < 5; i++) {
        loop_run_once(loop, 10);
    }
    redis_process_kill(&plain);
    turn_until(&g.answers, 1);
    assert_int_equal(g.type, REDIS_ANSWER_LOST);
    turn_until(&downs, 3);
    assert_false(redis_is_up(redis));
    assert_int_equal(redis_process_again(&plain), 0);
    turn_until(&ups, 2);
    use_it();
}

static void many_commands_are_answered_in_order(void **state)
{
    (void)state;
    enum { N = 5000 };
    char url[128];
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%u", plain.port);
    open_and_wait(url, NULL);
    struct got g = {0};
    for (unsigned i = 1; i <= N; i++) {
        assert_int_equal(send_words(&g, WORDS("INCR", "counter")), 0);
    }
    turn_until(&g.answers, N);
    assert_int_equal(g.number, N);
    (void)ask(WORDS("DEL", "counter"));
}

// ---- servers that misbehave -----------------------------------------------------------------

static int listener = -1;
static int peer = -1;
static struct loop_poll *listening;
static struct loop_poll *talking;
static const char *reply;
static size_t reply_len;
static unsigned requests;

static void on_talk(void *user, unsigned events)
{
    (void)user;
    (void)events;
    char buf[4096];
    ssize_t const n = recv(peer, buf, sizeof(buf), MSG_DONTWAIT);
    if (n <= 0) {
        loop_poll_set(talking, 0);
        return;
    }
    requests++;
    if (requests == 1) {
        assert_memory_equal(buf, "*1\r\n$4\r\nPING\r\n", 14);
        (void)!send(peer, "+PONG\r\n", 7, MSG_NOSIGNAL);
    } else if (reply_len > 0) {
        (void)!send(peer, reply, reply_len, MSG_NOSIGNAL);
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
    loop_poll_set(listening, 0);
}

// The answer to a command when the server says `text`, cut into what it says; -1: the time was over.
static struct got ask_bad_server(const char *text, size_t n, const char *options)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    char url[128];
    struct got g = {0};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    listening = loop_poll_new(loop, listener, on_listen, NULL);
    loop_poll_set(listening, LOOP_READ);
    reply = text;
    reply_len = n;
    requests = 0;
    ups = 0;
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%u%s", ntohs(at.sin_port), options);
    open_and_wait(url, NULL);
    assert_int_equal(send_words(&g, WORDS("HGETALL", "x")), 0);
    turn_until(&g.answers, 1);
    redis_free(redis);
    redis = NULL;
    loop_poll_free(listening);
    loop_poll_free(talking);
    (void)close(listener);
    (void)close(peer);
    peer = -1;
    return g;
}

static void only_ping_is_sent_to_begin_with(void **state)
{
    (void)state;
    struct got const g = ask_bad_server("-ERR only four commands here\r\n", 30, "");
    assert_int_equal(g.type, REDIS_ANSWER_ERROR);
}

static void nonsense_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } table[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the Redis protocol"},
        {"*1\r\n*1\r\n+x\r\n", "does not speak the Redis protocol"},
        {"*4000001\r\n", "does not speak the Redis protocol"},
        {"$-5\r\n", "does not speak the Redis protocol"},
        {"$x\r\n", "does not speak the Redis protocol"},
        {"*0\r\n+more\r\n", "without being asked"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct got const g = ask_bad_server(table[i].text, strlen(table[i].text), "");
        if (strstr(table[i].why, "asked") != NULL) {
            assert_int_equal(g.type, REDIS_ANSWER_ARRAY);
        } else {
            assert_int_equal(g.type, REDIS_ANSWER_LOST);
            assert_non_null(strstr(g.text, table[i].why));
        }
        assert_non_null(strstr(why, table[i].why));
    }
}

static void an_item_without_end_is_cut_off(void **state)
{
    (void)state;
    size_t const n = REDIS_ITEM_MAX + 200000;
    char *const text = mem_alloc(n);
    memset(text, 'x', n);
    (void)snprintf(text, 64, "*2\r\n$2000000000\r\n");
    text[strlen(text)] = 'x';
    struct got const g = ask_bad_server(text, n, "");
    mem_free(text);
    assert_int_equal(g.type, REDIS_ANSWER_LOST);
    assert_int_equal(g.items, 0);
}

static void on_greeted(void *user, unsigned events)
{
    (void)user;
    (void)events;
    char buf[256];
    if (recv(peer, buf, sizeof(buf), MSG_DONTWAIT) > 0) {
        (void)!send(peer, "+PONG\r\n+more\r\n", 14, MSG_NOSIGNAL);
    }
    loop_poll_set(talking, 0);
}

static void on_listen_again(void *user, unsigned events)
{
    (void)user;
    (void)events;
    loop_poll_free(talking);
    if (peer >= 0) {
        (void)close(peer);
    }
    peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    talking = loop_poll_new(loop, peer, on_greeted, NULL);
    loop_poll_set(talking, LOOP_READ);
}

static void pauses_grow_with_a_server_that_is_only_good_at_greeting(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    char url[64];
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    talking = NULL;
    listening = loop_poll_new(loop, listener, on_listen_again, NULL);
    loop_poll_set(listening, LOOP_READ);
    (void)snprintf(url, sizeof(url), "redis://127.0.0.1:%u", ntohs(at.sin_port));
    open_url(url, NULL);
    // After 100, 200, 400, 800 ms, more or less; without growing pauses it would be 20 times.
    mono_t const end = mono_add_ms(clock_mono(), 2000);
    while (mono_before(clock_mono(), end)) {
        loop_run_once(loop, 50);
    }
    assert_in_range(ups, 2, 7);
    redis_free(redis);
    redis = NULL;
    loop_poll_free(listening);
    loop_poll_free(talking);
    (void)close(listener);
    (void)close(peer);
    peer = -1;
}

static void silence_is_not_waited_out(void **state)
{
    (void)state;
    struct got const g = ask_bad_server("", 0, "?read_timeout=200ms");
    assert_int_equal(g.type, REDIS_ANSWER_LOST);
    assert_non_null(strstr(g.text, "no answer in time"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(plain_tcp_by_address_and_by_name),
        T(unix_socket_with_password),
        T(the_database_is_selected),
        T(tls_with_user_and_password),
        T(a_certificate_of_a_stranger_is_refused),
        T(a_certificate_for_another_name_is_refused),
        T(a_wrong_password_is_told_and_tried_again),
        T(nothing_is_sent_while_it_is_not_up),
        T(it_comes_back_after_a_crash_of_the_server),
        T(many_commands_are_answered_in_order),
        T(only_ping_is_sent_to_begin_with),
        T(nonsense_ends_the_connection),
        T(an_item_without_end_is_cut_off),
        T(pauses_grow_with_a_server_that_is_only_good_at_greeting),
        T(silence_is_not_waited_out),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
