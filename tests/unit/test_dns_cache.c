// SPDX-License-Identifier: Apache-2.0
// LINK: svc
// SUPPORT: name_server
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "common/svc/dns_cache.h"
#include "common/sys/clock.h"
#include "tests/support/name_server.h"

#define DEADLINE_MS 20000

static struct loop *loop;
static struct name_server names;
static struct dns *dns;
static struct dns_cache *cache;
static unsigned told;
static struct dns_addrs last;

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    name_server_open(&names, loop);
    dns = dns_new(loop, &(struct dns_conf){.servers = names.where, .timeout_ms = 300});
    cache = dns_cache_new(loop, dns);
    told = 0;
    return loop && dns && cache ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    dns_cache_free(cache);
    dns_free(dns);
    name_server_close(&names);
    loop_free(loop);
    return 0;
}

static void on_addrs(void *user, const struct dns_addrs *r)
{
    (void)user;
    told++;
    last = *r;
}

static struct dns_cache_query *start(const char *name)
{
    struct dns_cache_query *q = NULL;
    unsigned const before = told;
    assert_int_equal(dns_cache_start(cache, name, on_addrs, NULL, &q), 0);
    assert_int_equal(told, before);
    return q;
}

static void wait_told(unsigned want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (told < want && mono_before(clock_mono(), end)) {
        loop_run_once(loop, 20);
    }
    assert_int_equal(told, want);
}

static void look_ups_are_shared_and_kept(void **state)
{
    (void)state;
    struct dns_addrs known;
    bool cached = false;
    name_server_set(&names, "a.test", "192.0.2.1,2001:db8::1");
    assert_int_equal(dns_cache_known(cache, "a.test", &known, &cached), -ENOENT);
    (void)start("a.test");
    (void)start("A.Test");
    (void)start("a.test.");
    assert_int_equal(dns_cache_known(cache, "a.test", &known, &cached), -ENOENT); // under way
    wait_told(3);
    assert_int_equal(last.count, 2);
    assert_int_equal(name_server_asked(&names, "a.test"), 2); // A and AAAA, once
    assert_int_equal(dns_cache_known(cache, "a.TEST", &known, &cached), 0);
    assert_true(cached);
    assert_int_equal(known.status, DNS_OK);
    assert_int_equal(known.count, 2);
    dns_cache_forget(cache, "a.test.");
    assert_int_equal(dns_cache_known(cache, "a.test", &known, NULL), -ENOENT);
    name_server_set(&names, "a.test", "192.0.2.9");
    (void)start("a.test");
    wait_told(4);
    assert_int_equal(last.count, 1);
    assert_int_equal(last.addrs[0].ip[3], 9);
}

static void what_is_not_there_is_kept_as_well(void **state)
{
    (void)state;
    struct dns_addrs known;
    bool cached = false;
    (void)start("missing.test");
    wait_told(1);
    assert_int_equal(last.status, DNS_NOT_FOUND);
    unsigned const asked = names.asked;
    assert_int_equal(dns_cache_known(cache, "missing.test", &known, &cached), 0);
    assert_true(cached);
    assert_int_equal(known.status, DNS_NOT_FOUND);
    assert_int_equal(known.count, 0);
    assert_int_equal(names.asked, asked);
    names.silent = true;
    (void)start("slow.test");
    wait_told(2);
    assert_int_equal(last.status, DNS_TIMEOUT);
    assert_int_equal(dns_cache_known(cache, "slow.test", &known, &cached), 0);
}

static void a_short_ttl_is_stretched(void **state)
{
    (void)state;
    struct dns_addrs known;
    names.ttl_s = 0;
    name_server_set(&names, "a.test", "192.0.2.1");
    (void)start("a.test");
    wait_told(1);
    assert_int_equal(dns_cache_known(cache, "a.test", &known, NULL), 0);
}

static void literals_need_no_look_up(void **state)
{
    (void)state;
    struct dns_addrs known;
    bool cached = true;
    assert_int_equal(dns_cache_known(cache, "2001:db8::7", &known, &cached), 0);
    assert_false(cached);
    assert_int_equal(known.count, 1);
    assert_int_equal(known.addrs[0].family, ADDR_V6);
    assert_int_equal(names.asked, 0);
    struct dns_cache_query *q = NULL;
    assert_int_equal(dns_cache_start(cache, "", on_addrs, NULL, &q), -EINVAL);
}

static void cancelled_ones_are_not_told(void **state)
{
    (void)state;
    struct dns_addrs known;
    name_server_set(&names, "a.test", "192.0.2.1");
    struct dns_cache_query *const q = start("a.test");
    (void)start("a.test");
    dns_cache_cancel(q);
    wait_told(1);
    loop_run_once(loop, 20);
    assert_int_equal(told, 1);
    dns_cache_cancel(start("b.test"));
    (void)start("c.test"); // ends with the cache
    loop_run_once(loop, 0);
    assert_int_equal(dns_cache_known(cache, "a.test", &known, NULL), 0);
}

// Cancels the other one of a pair while it is told itself.
struct pair {
    struct dns_cache_query *other;
    unsigned told;
};

static void on_pair(void *user, const struct dns_addrs *r)
{
    struct pair *const p = user;
    (void)r;
    p->told++;
    dns_cache_cancel(p->other);
    (void)start("d.test"); // and asks anew
}

static void on_other(void *user, const struct dns_addrs *r)
{
    struct pair *const p = user;
    (void)r;
    p->told += 100;
}

static void one_may_cancel_another_while_told(void **state)
{
    (void)state;
    struct pair p = {0};
    struct dns_cache_query *q = NULL;
    assert_int_equal(dns_cache_start(cache, "a.test", on_pair, &p, &q), 0);
    assert_int_equal(dns_cache_start(cache, "a.test", on_other, &p, &p.other), 0);
    wait_told(1);
    assert_int_equal(p.told, 1);
}

static void oldest_names_go_first(void **state)
{
    (void)state;
    char name[32];
    struct dns_addrs known;
    (void)start("kept.test");
    wait_told(1);
    for (unsigned i = 0; i < DNS_CACHE_MAX + 10; i++) {
        (void)snprintf(name, sizeof(name), "n%u.test", i);
        (void)start(name);
        wait_told(i + 2);
        assert_int_equal(dns_cache_known(cache, "kept.test", &known, NULL), 0); // in use
    }
    assert_int_equal(dns_cache_known(cache, "n0.test", &known, NULL), -ENOENT);
    assert_int_equal(dns_cache_known(cache, name, &known, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(look_ups_are_shared_and_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_kept_as_well, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_short_ttl_is_stretched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(literals_need_no_look_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled_ones_are_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_may_cancel_another_while_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(oldest_names_go_first, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
