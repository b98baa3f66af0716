// SPDX-License-Identifier: Apache-2.0
#include "tests/support/name_server.h"

#include <stdio.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/sys/clock.h"

#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_SRV 33
#define RCODE_NXDOMAIN 3

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

static size_t begin_record(struct wr *w, uint16_t type, uint32_t ttl)
{
    wr_be16(w, 0xc00c); // the question's name
    wr_be16(w, type);
    wr_be16(w, 1);
    wr_be32(w, ttl);
    return wr_mark16(w);
}

static void end_record(struct wr *w, size_t at)
{
    wr_patch16(w, at, (uint16_t)(wr_len(w) - at - 2));
}

static uint16_t put_records(struct wr *w, const struct name_server_name *n, uint16_t type,
                            uint32_t ttl)
{
    uint16_t count = 0;
    for (size_t i = 0; i < n->count; i++) {
        bool const v6 = n->addrs[i].family == ADDR_V6;
        if (type == (v6 ? TYPE_AAAA : TYPE_A)) {
            size_t const at = begin_record(w, type, ttl);
            wr_bytes(w, bytes_of(n->addrs[i].ip, v6 ? 16 : 4));
            end_record(w, at);
            count++;
        }
    }
    if (type == TYPE_SRV && n->srv_target[0] != 0) {
        size_t const at = begin_record(w, type, ttl);
        wr_be16(w, 10);
        wr_be16(w, 10);
        wr_be16(w, n->srv_port);
        put_name(w, n->srv_target);
        end_record(w, at);
        count++;
    }
    return count;
}

static struct name_server_name *find(struct name_server *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcasecmp(s->names[i].name, name) == 0) {
            return &s->names[i];
        }
    }
    return NULL;
}

static size_t answer(struct name_server *s, struct bytes in, uint8_t *out, size_t cap)
{
    struct rd r = rd_init(in);
    uint16_t const id = rd_be16(&r);
    rd_skip(&r, 10);
    const uint8_t *const question = r.p;
    char name[300] = "";
    size_t n = 0;
    for (uint8_t len = rd_u8(&r); len != 0 && rd_ok(&r); len = rd_u8(&r)) {
        struct bytes const label = rd_take(&r, len);
        n += (size_t)snprintf(name + n, sizeof(name) - n, "%s%.*s", n > 0 ? "." : "", (int)label.n,
                              (const char *)label.p);
    }
    uint16_t const type = rd_be16(&r);
    rd_skip(&r, 2);
    assert(rd_ok(&r));
    struct name_server_name *const known = find(s, name);
    s->asked++;
    struct wr w = wr_init(out, cap);
    wr_be16(&w, id);
    wr_be16(&w, (uint16_t)(0x8180u | (known ? 0 : RCODE_NXDOMAIN)));
    wr_be16(&w, 1);
    size_t const count = wr_mark16(&w);
    wr_be32(&w, 0);
    wr_bytes(&w, bytes_of(question, (size_t)(r.p - question)));
    if (known) {
        known->asked++;
        wr_patch16(&w, count, put_records(&w, known, type, s->ttl_s));
    } else {
        wr_patch16(&w, count, 0);
    }
    assert(wr_ok(&w));
    return wr_len(&w);
}

static void on_question(void *user, unsigned events)
{
    struct name_server *const s = user;
    uint8_t in[600];
    uint8_t out[600];
    struct udp_in d = {.data = in, .cap = sizeof(in)};
    size_t n = 0;
    (void)events;
    while (udp_recv_batch(&s->sock, clock_mono(), &d, 1, &n) == 0 && n == 1) {
        size_t done = 0;
        if (s->silent) {
            s->asked++;
            continue;
        }
        struct udp_out const o = {
            .dst = d.src, .data = out, .len = answer(s, bytes_of(in, d.len), out, sizeof(out))};
        int const r = udp_send(&s->sock, &o, 1, &done);
        assert(r == 0);
        (void)r;
    }
}

void name_server_open(struct name_server *s, struct loop *l)
{
    *s = (struct name_server){.loop = l, .ttl_s = 300};
    struct udp_conf const conf = {.bind = addr_v4(127, 0, 0, 1, 0)};
    int const r = udp_open(&s->sock, &conf);
    assert(r == 0);
    (void)r;
    s->poll = loop_poll_new(l, s->sock.fd, on_question, s);
    assert(s->poll);
    loop_poll_set(s->poll, LOOP_READ);
    (void)snprintf(s->where, sizeof(s->where), "127.0.0.1:%u", s->sock.local.port);
}

void name_server_close(struct name_server *s)
{
    loop_poll_free(s->poll);
    udp_close(&s->sock);
}

static struct name_server_name *get(struct name_server *s, const char *name)
{
    struct name_server_name *n = find(s, name);
    if (!n) {
        assert(s->count < NAME_SERVER_NAMES);
        n = &s->names[s->count++];
        (void)snprintf(n->name, sizeof(n->name), "%s", name);
    }
    return n;
}

void name_server_set(struct name_server *s, const char *name, const char *addrs)
{
    struct name_server_name *const n = get(s, name);
    n->count = 0;
    while (*addrs) {
        size_t const len = strcspn(addrs, ",");
        assert(n->count < NAME_SERVER_ADDRS);
        int const r = addr_parse_ip(bytes_of(addrs, len), &n->addrs[n->count++]);
        assert(r == 0);
        (void)r;
        addrs += len + (addrs[len] == ',');
    }
}

void name_server_set_srv(struct name_server *s, const char *name, const char *target, uint16_t port)
{
    struct name_server_name *const n = get(s, name);
    (void)snprintf(n->srv_target, sizeof(n->srv_target), "%s", target);
    n->srv_port = port;
}

unsigned name_server_asked(const struct name_server *s, const char *name)
{
    const struct name_server_name *const n = find((struct name_server *)(uintptr_t)s, name);
    return n ? n->asked : 0;
}
