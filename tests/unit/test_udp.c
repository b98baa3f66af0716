// SPDX-License-Identifier: Apache-2.0
// LINK: sys
// COVERS: ifaddr random thread
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/base/mem.h"
#include "common/sys/clock.h"
#include "common/sys/ifaddr.h"
#include "common/sys/random.h"
#include "common/sys/thread.h"
#include "common/sys/udp.h"

#define DEADLINE_MS 10000
#define CAP 1600

static struct addr loopback(uint8_t family)
{
    struct addr a = {.family = family};
    if (family == ADDR_V4) {
        return addr_v4(127, 0, 0, 1, 0);
    }
    a.ip[15] = 1;
    return a;
}

struct inbox {
    uint8_t data[512][CAP];
    struct udp_in in[512];
    size_t n;
};

static void receive(struct udp_socket *s, struct inbox *box, size_t want)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (box->n < want && mono_before(clock_mono(), end)) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        (void)poll(&p, 1, 100);
        for (size_t i = box->n; i < ARRAY_LEN(box->in); i++) {
            box->in[i].data = box->data[i];
            box->in[i].cap = CAP;
        }
        size_t got = 0;
        int const r =
            udp_recv_batch(s, clock_mono(), box->in + box->n, ARRAY_LEN(box->in) - box->n, &got);
        assert_true(r == 0 || r == -EAGAIN);
        box->n += got;
    }
    assert_int_equal(box->n, want);
}

static void send_all(struct udp_socket *s, const struct udp_out *out, size_t n)
{
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    size_t at = 0;
    while (at < n && mono_before(clock_mono(), end)) {
        size_t done = 0;
        int const r = udp_send(s, out + at, n - at, &done);
        assert_true(r == 0 || r == -EAGAIN);
        at += done;
    }
    assert_int_equal(at, n);
}

static void exchange(uint8_t family, bool wildcard)
{
    struct udp_socket a = {0};
    struct udp_socket b = {0};
    struct udp_conf conf = {
        .bind = loopback(family), .recv_buffer = 1u << 20, .send_buffer = 1u << 20};
    int const r = udp_open(&a, &conf);
    if (family == ADDR_V6 && (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT)) {
        return; // a host without IPv6
    }
    assert_int_equal(r, 0);
    if (wildcard) {
        memset(conf.bind.ip, 0, sizeof(conf.bind.ip));
    }
    assert_int_equal(udp_open(&b, &conf), 0);
    assert_int_not_equal(b.local.port, 0);
    assert_int_equal(b.wildcard, wildcard);
    struct addr dst = loopback(family);
    dst.port = b.local.port;

    // Runs of equal length with a shorter end, a single one, then longer ones again.
    static const size_t lengths[] = {1200, 1200, 1200, 300, 50, 1200, 1201, 1201, 7};
    static uint8_t payload[ARRAY_LEN(lengths)][CAP];
    struct udp_out out[ARRAY_LEN(lengths)];
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        rand_bytes(payload[i], lengths[i]);
        out[i] = (struct udp_out){.dst = dst, .data = payload[i], .len = lengths[i]};
    }
    send_all(&a, out, ARRAY_LEN(lengths));
    struct inbox *const box = NEW(struct inbox);
    receive(&b, box, ARRAY_LEN(lengths));
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        assert_int_equal(box->in[i].len, lengths[i]);
        assert_memory_equal(box->in[i].data, payload[i], lengths[i]);
        assert_true(addr_eq(&box->in[i].src, &a.local));
        assert_true(addr_eq(&box->in[i].dst, &dst));
        assert_true(mono_diff_us(clock_mono(), box->in[i].arrival) < 60 * US_PER_S);
    }
    assert_int_equal(a.counters.send_packets, ARRAY_LEN(lengths));
    if (a.gso) {
        assert_true(a.counters.send_gso > 0);
    }

    // And back from the address it came to.
    struct udp_out const reply = {.dst = a.local, .src = dst, .data = payload[0], .len = 100};
    send_all(&b, &reply, 1);
    box->n = 0;
    receive(&a, box, 1);
    assert_true(addr_eq(&box->in[0].src, &dst));
    mem_free(box);
    udp_close(&a);
    udp_close(&b);
}

static void datagrams_survive_batches_over_ipv4(void **state)
{
    (void)state;
    exchange(ADDR_V4, false);
    exchange(ADDR_V4, true);
}

static void datagrams_survive_batches_over_ipv6(void **state)
{
    (void)state;
    exchange(ADDR_V6, false);
    exchange(ADDR_V6, true);
}

static void long_runs_are_split_at_the_kernels_limit(void **state)
{
    (void)state;
    struct udp_socket a;
    struct udp_socket b;
    struct udp_conf const conf = {.bind = loopback(ADDR_V4), .recv_buffer = 4u << 20};
    assert_int_equal(udp_open(&a, &conf), 0);
    assert_int_equal(udp_open(&b, &conf), 0);
    static uint8_t payload[300][200];
    static struct udp_out out[300];
    for (unsigned i = 0; i < 300; i++) {
        payload[i][0] = (uint8_t)i;
        payload[i][1] = (uint8_t)(i >> 8);
        out[i] = (struct udp_out){.dst = b.local, .data = payload[i], .len = sizeof(payload[i])};
    }
    struct inbox *const box = NEW(struct inbox);
    // In two halves: the default receive buffer of an unprivileged socket holds some 200 of these.
    for (size_t half = 0; half < 300; half += 100) {
        send_all(&a, out + half, 100);
        receive(&b, box, half + 100);
    }
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(box->in[i].len, 200);
        assert_int_equal(box->in[i].data[0] | (box->in[i].data[1] << 8), i);
    }
    mem_free(box);
    udp_close(&a);
    udp_close(&b);
}

static void refused_datagram_does_not_stop_the_others(void **state)
{
    (void)state;
    struct udp_socket a;
    struct udp_socket b;
    struct udp_conf const conf = {.bind = loopback(ADDR_V4)};
    assert_int_equal(udp_open(&a, &conf), 0);
    assert_int_equal(udp_open(&b, &conf), 0);
    static uint8_t payload[100];
    // From a loopback address nothing can be sent to a foreign network.
    struct udp_out const out[3] = {{.dst = b.local, .data = payload, .len = 10},
                                   {.dst = addr_v4(192, 0, 2, 1, 9), .data = payload, .len = 10},
                                   {.dst = b.local, .data = payload, .len = 20}};
    send_all(&a, out, 3);
    struct inbox *const box = NEW(struct inbox);
    receive(&b, box, 2);
    assert_int_equal(box->in[1].len, 20);
    assert_int_equal(a.counters.send_dropped, 1);
    mem_free(box);
    udp_close(&a);
    udp_close(&b);
}

static void truncated_datagram_has_no_length(void **state)
{
    (void)state;
    struct udp_socket a;
    struct udp_conf const conf = {.bind = loopback(ADDR_V4)};
    assert_int_equal(udp_open(&a, &conf), 0);
    static uint8_t payload[100];
    struct udp_out const out = {.dst = a.local, .data = payload, .len = sizeof(payload)};
    send_all(&a, &out, 1);
    uint8_t small[10];
    struct udp_in in = {.data = small, .cap = sizeof(small)};
    size_t n = 0;
    mono_t const end = mono_add_ms(clock_mono(), DEADLINE_MS);
    while (udp_recv_batch(&a, clock_mono(), &in, 1, &n) == -EAGAIN &&
           mono_before(clock_mono(), end)) {
    }
    assert_int_equal(n, 1);
    assert_int_equal(in.len, 0);
    assert_int_equal(a.counters.recv_truncated, 1);
    assert_int_equal(udp_recv_batch(&a, clock_mono(), &in, 1, &n), -EAGAIN);
    udp_close(&a);
}

static void port_in_use_is_reported_unless_shared(void **state)
{
    (void)state;
    struct udp_socket a;
    struct udp_socket b;
    struct udp_conf conf = {.bind = loopback(ADDR_V4)};
    assert_int_equal(udp_open(&a, &conf), 0);
    conf.bind.port = a.local.port;
    assert_int_equal(udp_open(&b, &conf), -EADDRINUSE);
    udp_close(&a);
    conf = (struct udp_conf){.bind = loopback(ADDR_V4), .reuse_port = true, .recv_buffer = 100000};
    assert_int_equal(udp_open(&a, &conf), 0);
    conf.bind.port = a.local.port;
    assert_int_equal(udp_open(&b, &conf), 0);
    assert_true(udp_recv_buffer_size(&b) >= 100000);
    udp_close(&a);
    udp_close(&b);
    udp_close(&b); // harmless
}

static void sockaddr_conversion_goes_both_ways(void **state)
{
    (void)state;
    struct sockaddr_storage ss;
    struct addr back;
    struct addr a = addr_v4(192, 0, 2, 7, 4711);
    assert_int_equal(addr_to_sockaddr(&a, (struct sockaddr *)&ss, sizeof(ss)),
                     sizeof(struct sockaddr_in));
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, &back), 0);
    assert_true(addr_eq(&a, &back));
    struct addr v6 = {.family = ADDR_V6, .port = 1, .scope = 3, .ip = {0xfe, 0x80, [15] = 1}};
    assert_int_equal(addr_to_sockaddr(&v6, (struct sockaddr *)&ss, UDP_SOCKADDR_LEN),
                     UDP_SOCKADDR_LEN);
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, &back), 0);
    assert_true(addr_eq(&v6, &back));
    struct addr mapped = {
        .family = ADDR_V6, .port = 4711, .ip = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7}};
    assert_int_not_equal(addr_to_sockaddr(&mapped, (struct sockaddr *)&ss, sizeof(ss)), 0);
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, &back), 0);
    assert_true(addr_eq(&a, &back));
    struct addr const none = {0};
    assert_int_equal(addr_to_sockaddr(&none, (struct sockaddr *)&ss, sizeof(ss)), 0);
    ss.ss_family = AF_UNIX;
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, &back), -EAFNOSUPPORT);
}

static void interfaces_include_loopback(void **state)
{
    (void)state;
    struct ifaddr_entry list[64];
    size_t n = 0;
    assert_int_equal(ifaddr_list(list, ARRAY_LEN(list), &n), 0);
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        struct addr const lo = loopback(ADDR_V4);
        if (addr_eq(&list[i].addr, &lo)) {
            found = true;
            assert_true(list[i].loopback);
            assert_int_equal(list[i].prefix_len, 8);
        }
    }
    assert_true(found);
    if (n > 1) {
        assert_int_equal(ifaddr_list(list, 1, &n), -ENOBUFS);
        assert_int_equal(n, 1);
    }
}

static void random_bytes_differ(void **state)
{
    (void)state;
    uint8_t a[64];
    uint8_t b[64];
    rand_bytes(a, sizeof(a));
    rand_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_true(rand_u64() != rand_u64());
    assert_true(rand_u32() != rand_u32() || rand_u32() != rand_u32());
}

static void set_flag(void *arg)
{
    *(int *)arg = 1;
}

static void thread_runs_its_function(void **state)
{
    (void)state;
    int flag = 0;
    struct thread t;
    assert_int_equal(thread_start(&t, "a-name-that-is-too-long", 0, set_flag, &flag), 0);
    thread_join(&t);
    thread_join(&t); // harmless
    assert_int_equal(flag, 1);
    assert_true(thread_cpus() >= 1);
}

static void stand_back(void *arg)
{
    thread_stand_back();
    *(int *)arg = getpriority(PRIO_PROCESS, 0);
}

static void a_thread_that_stands_back_does_so_alone(void **state)
{
    (void)state;
    int const before = getpriority(PRIO_PROCESS, 0);
    int after = before;
    struct thread t;
    assert_int_equal(thread_start(&t, "humble", -1, stand_back, &after), 0);
    thread_join(&t);
    assert_int_equal(after, before + 10 < 19 ? before + 10 : 19);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_survive_batches_over_ipv4),
        cmocka_unit_test(datagrams_survive_batches_over_ipv6),
        cmocka_unit_test(long_runs_are_split_at_the_kernels_limit),
        cmocka_unit_test(refused_datagram_does_not_stop_the_others),
        cmocka_unit_test(truncated_datagram_has_no_length),
        cmocka_unit_test(port_in_use_is_reported_unless_shared),
        cmocka_unit_test(sockaddr_conversion_goes_both_ways),
        cmocka_unit_test(interfaces_include_loopback),
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(thread_runs_its_function),
        cmocka_unit_test(a_thread_that_stands_back_does_so_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
