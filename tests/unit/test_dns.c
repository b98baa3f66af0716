// SPDX-License-Identifier: Apache-2.0
// LINK: svc
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/svc/dns.h"
#include "common/sys/clock.h"
#include "common/sys/udp.h"

// A resolver against a name server of our own on the same loop (RFC 1035 messages).

#define DEADLINE_MS 20000
#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_SRV 33
#define RCODE_SERVFAIL 2
#define RCODE_NXDOMAIN 3

struct world {
    struct loop *loop;
    struct dns *dns;
    struct udp_socket sock;
    struct loop_poll *poll;
    unsigned questions;
    bool silent;
    unsigned done;
    struct dns_addrs addrs;
    struct dns_srvs srvs;
};

// "a.b" as labels.
static void put_name(struct wr *w, const char *name)
{
    while (*name != 0) {
        size_t const n = strcspn(name, ".");
        wr_u8(w, (uint8_t)n);
        wr_bytes(w, bytes_of(name, n));
        name += n + (name[n] == '.' ? 1u : 0u);
    }
    wr_u8(w, 0);
}

static void put_record(struct wr *w, uint16_t type, uint32_t ttl)
{
    wr_be16(w, 0xc00c); // the question's name
    wr_be16(w, type);
    wr_be16(w, 1);
    wr_be32(w, ttl);
}

static void put_a(struct wr *w, uint32_t ttl, uint8_t last)
{
    put_record(w, TYPE_A, ttl);
    wr_be16(w, 4);
    wr_be32(w, 0xc0000200u | last); // 192.0.2.x
}

static void put_aaaa(struct wr *w, uint32_t ttl)
{
    put_record(w, TYPE_AAAA, ttl);
    wr_be16(w, 16);
    wr_be32(w, 0x20010db8);
    wr_fill(w, 0, 11);
    wr_u8(w, 7);
}

static void put_srv(struct wr *w, uint32_t ttl, uint16_t priority, uint16_t port,
                    const char *target)
{
    put_record(w, TYPE_SRV, ttl);
    size_t const at = wr_mark16(w);
    wr_be16(w, priority);
    wr_be16(w, 10);
    wr_be16(w, port);
    put_name(w, target);
    wr_patch16(w, at, (uint16_t)(wr_len(w) - at - 2));
}

// Answers by the first label of the name. Returns the answer count through the writer's header.
static unsigned put_answers(struct wr *w, const char *name, uint16_t type, uint16_t *ret_rcode)
{
    unsigned n = 0;
    if (strncmp(name, "both", 4) == 0 && type == TYPE_A) {
        put_a(w, 300, 1);
        put_a(w, 120, 2);
        n = 2;
    } else if (strncmp(name, "both", 4) == 0 && type == TYPE_AAAA) {
        put_aaaa(w, 200);
        n = 1;
    } else if (strncmp(name, "only4", 5) == 0 && type == TYPE_A) {
        put_a(w, 60, 9);
        n = 1;
    } else if (strncmp(name, "_matrix", 7) == 0 && type == TYPE_SRV) {
        put_srv(w, 500, 20, 8448, "backup.example.org");
        put_srv(w, 400, 10, 443, "main.example.org");
        n = 2;
    } else if (strncmp(name, "_off", 4) == 0) {
        put_srv(w, 400, 10, 443, "");
        n = 1;
    } else if (strncmp(name, "_cut", 4) == 0) {
        put_record(w, TYPE_SRV, 400);
        wr_be16(w, 100); // longer than the message
        n = 1;
    } else if (strncmp(name, "broken", 6) == 0 || strncmp(name, "_broken", 7) == 0) {
        *ret_rcode = RCODE_SERVFAIL;
    } else if (strncmp(name, "missing", 7) == 0 || strncmp(name, "_missing", 8) == 0) {
        *ret_rcode = RCODE_NXDOMAIN;
    }
    return n;
}

static size_t answer(struct bytes in, uint8_t *out, size_t cap)
{
    struct rd r = rd_init(in);
    uint16_t const id = rd_be16(&r);
    rd_skip(&r, 10);
    const uint8_t *const question = r.p;
    char name[300] = "";
    size_t n = 0;
    for (uint8_t len = rd_u8(&r); len != 0 && rd_ok(&r); len = rd_u8(&r)) {
        struct bytes const label = rd_take(&r, len);
        assert_true(label.n > 0 && n + label.n + 2 < sizeof(name));
        memcpy(name + n, label.p, label.n);
        n += label.n;
        name[n++] = '.';
    }
    uint16_t const type = rd_be16(&r);
    rd_skip(&r, 2);
    assert_true(rd_ok(&r));
    struct wr w = wr_init(out, cap);
    wr_be16(&w, id);
    size_t const flags = wr_mark16(&w);
    wr_be16(&w, 1);
    size_t const count = wr_mark16(&w);
    wr_be32(&w, 0);
    wr_bytes(&w, bytes_of(question, (size_t)(r.p - question)));
    uint16_t rcode = 0;
    unsigned const answers = put_answers(&w, name, type, &rcode);
    wr_patch16(&w, flags, (uint16_t)(0x8180u | rcode));
    wr_patch16(&w, count, (uint16_t)answers);
    assert_true(wr_ok(&w));
    return wr_len(&w);
}

static void on_question(void *user, unsigned events)
{
    (void)events;
    struct world *const w = user;
    uint8_t in[600];
    uint8_t out[600];
    struct udp_in d = {.data = in, .cap = sizeof(in)};
    size_t n = 0;
    while (udp_recv_batch(&w->sock, clock_mono(), &d, 1, &n) == 0 && n == 1) {
        w->questions++;
        if (w->silent) {
            continue;
        }
        size_t done = 0;
        struct udp_out const o = {
            .dst = d.src, .data = out, .len = answer(bytes_of(in, d.len), out, sizeof(out))};
        assert_int_equal(udp_send(&w->sock, &o, 1, &done), 0);
    }
}

static void open_world(struct world *w, struct dns_conf conf)
{
    *w = (struct world){.loop = loop_new()};
    struct udp_conf const uc = {.bind = addr_v4(127, 0, 0, 1, 0)};
    assert_int_equal(udp_open(&w->sock, &uc), 0);
    w->poll = loop_poll_new(w->loop, w->sock.fd, on_question, w);
    loop_poll_set(w->poll, LOOP_READ);
    char servers[32];
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", w->sock.local.port);
    conf.servers = servers;
    w->dns = dns_new(w->loop, &conf);
    assert_non_null(w->dns);
}

static void close_world(struct world *w)
{
    dns_free(w->dns);
    loop_poll_free(w->poll);
    udp_close(&w->sock);
    loop_free(w->loop);
}

static void wait_done(struct world *w, unsigned want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (w->done < want && mono_before(clock_mono(), end)) {
        loop_run_once(w->loop, 50);
    }
    assert_int_equal(w->done, want);
}

static void on_addrs(void *user, const struct dns_addrs *r)
{
    struct world *const w = user;
    w->done++;
    w->addrs = *r;
}

static void on_srvs(void *user, const struct dns_srvs *r)
{
    struct world *const w = user;
    w->done++;
    w->srvs = *r;
}

static const struct dns_addrs *resolve(struct world *w, const char *name)
{
    unsigned const before = w->done;
    assert_int_equal(dns_resolve(w->dns, name, on_addrs, w, NULL), 0);
    assert_int_equal(w->done, before); // never from inside
    wait_done(w, before + 1);
    return &w->addrs;
}

static const struct dns_srvs *resolve_srv(struct world *w, const char *name)
{
    unsigned const before = w->done;
    assert_int_equal(dns_resolve_srv(w->dns, name, on_srvs, w, NULL), 0);
    assert_int_equal(w->done, before);
    wait_done(w, before + 1);
    return &w->srvs;
}

static bool has(const struct dns_addrs *r, const char *ip)
{
    struct addr a;
    assert_int_equal(addr_parse_ip(bytes_str(ip), &a), 0);
    for (size_t i = 0; i < r->count; i++) {
        if (addr_eq(&r->addrs[i], &a)) {
            return true;
        }
    }
    return false;
}

static void addresses_of_both_families_come_with_the_smallest_ttl(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, (struct dns_conf){0});
    const struct dns_addrs *r = resolve(&w, "both.example.org");
    assert_int_equal(r->status, DNS_OK);
    assert_int_equal(r->count, 3);
    assert_true(has(r, "192.0.2.1") && has(r, "192.0.2.2") && has(r, "2001:db8::7"));
    assert_int_equal(r->ttl_s, 120);
    r = resolve(&w, "only4.example.org");
    assert_int_equal(r->status, DNS_OK);
    assert_int_equal(r->count, 1);
    assert_int_equal(r->ttl_s, 60);
    close_world(&w);
}

static void literals_need_no_question(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, (struct dns_conf){0});
    const struct dns_addrs *r = resolve(&w, "192.0.2.33");
    assert_int_equal(r->status, DNS_OK);
    assert_true(has(r, "192.0.2.33"));
    r = resolve(&w, "2001:db8::1");
    assert_int_equal(r->status, DNS_OK);
    assert_true(has(r, "2001:db8::1"));
    assert_int_equal(w.questions, 0);
    close_world(&w);
}

static void failures_are_told_apart(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, (struct dns_conf){.timeout_ms = 2000});
    assert_int_equal(resolve(&w, "missing.example.org")->status, DNS_NOT_FOUND);
    assert_int_equal(resolve_srv(&w, "_missing._tcp.example.org")->status, DNS_NOT_FOUND);
    assert_int_equal(resolve(&w, "empty.example.org")->status, DNS_NOT_FOUND);
    assert_int_equal(resolve_srv(&w, "_empty._tcp.example.org")->status, DNS_NOT_FOUND);
    enum dns_status s = resolve_srv(&w, "_broken._tcp.example.org")->status;
    assert_int_equal(s, DNS_TEMPORARY);
    s = resolve_srv(&w, "_cut._tcp.example.org")->status;
    assert_int_not_equal(s, DNS_OK);
    char longest[400];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    assert_int_equal(dns_resolve(w.dns, longest, on_addrs, &w, NULL), -EINVAL);
    assert_string_equal(dns_status_name(DNS_TIMEOUT), "timeout");
    close_world(&w);
}

static void silent_server_ends_in_a_timeout_in_time(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, (struct dns_conf){.timeout_ms = 100});
    w.silent = true;
    mono_t const start = clock_mono();
    assert_int_equal(resolve(&w, "both.example.org")->status, DNS_TIMEOUT);
    assert_int_equal(resolve_srv(&w, "_matrix._tcp.example.org")->status, DNS_TIMEOUT);
    assert_true(mono_diff_ms(clock_mono(), start) < DEADLINE_MS / 2);
    close_world(&w);
}

static void srv_records_come_sorted(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, (struct dns_conf){0});
    const struct dns_srvs *r = resolve_srv(&w, "_matrix-fed._tcp.example.org");
    assert_int_equal(r->status, DNS_OK);
    assert_int_equal(r->count, 2);
    assert_string_equal(r->srv[0].target, "main.example.org");
    assert_int_equal(r->srv[0].port, 443);
    assert_int_equal(r->srv[0].priority, 10);
    assert_int_equal(r->srv[0].weight, 10);
    assert_string_equal(r->srv[1].target, "backup.example.org");
    assert_int_equal(r->ttl_s, 400);
    r = resolve_srv(&w, "_off._tcp.example.org");
    assert_int_equal(r->status, DNS_OK);
    assert_string_equal(r->srv[0].target, ""); // "." means: not offered
    close_world(&w);
}

static void look_ups_are_bounded_and_can_be_dropped(void **state)
{
    (void)state;
    struct world w;
    open_world(&w, (struct dns_conf){.max_queries = 3, .timeout_ms = 1000});
    struct dns_query *q[3] = {0};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(dns_resolve(w.dns, "both.example.org", on_addrs, &w, &q[i]), 0);
    }
    assert_int_equal(dns_resolve(w.dns, "both.example.org", on_addrs, &w, NULL), -EBUSY);
    dns_cancel(q[1]);
    wait_done(&w, 2);
    loop_run_once(w.loop, 20);
    assert_int_equal(w.done, 2);
    assert_int_equal(resolve(&w, "only4.example.org")->status, DNS_OK);
    // Look-ups that are open when the resolver goes are dropped without a word.
    w.silent = true;
    unsigned const before = w.done;
    assert_int_equal(dns_resolve(w.dns, "both.example.org", on_addrs, &w, NULL), 0);
    loop_run_once(w.loop, 20);
    close_world(&w);
    assert_int_equal(w.done, before);
}

static uint32_t scripted(void *user)
{
    return (*(uint32_t *)user)++;
}

static void srv_weights_shift_the_order_inside_a_priority(void **state)
{
    (void)state;
    unsigned first_heavy = 0;
    enum { ROUNDS = 1000 };
    uint32_t seed = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct dns_srv srv[4] = {{.priority = 2, .weight = 1, .port = 4},
                                 {.priority = 1, .weight = 0, .port = 1},
                                 {.priority = 1, .weight = 90, .port = 2},
                                 {.priority = 1, .weight = 10, .port = 3}};
        dns_srv_sort(srv, 4, scripted, &seed);
        assert_int_equal(srv[3].port, 4);
        assert_int_equal(srv[0].port + srv[1].port + srv[2].port, 6);
        first_heavy += srv[0].port == 2 ? 1u : 0u;
    }
    // 90 of 101 on average; the sequence above is uniform modulo 101.
    assert_in_range(first_heavy, ROUNDS * 80 / 100, ROUNDS * 97 / 100);
    dns_srv_sort(NULL, 0, scripted, &seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_both_families_come_with_the_smallest_ttl),
        cmocka_unit_test(literals_need_no_question),
        cmocka_unit_test(failures_are_told_apart),
        cmocka_unit_test(silent_server_ends_in_a_timeout_in_time),
        cmocka_unit_test(srv_records_come_sorted),
        cmocka_unit_test(look_ups_are_bounded_and_can_be_dropped),
        cmocka_unit_test(srv_weights_shift_the_order_inside_a_priority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
