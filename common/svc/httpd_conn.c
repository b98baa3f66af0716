// SPDX-License-Identifier: Apache-2.0
#include "common/svc/httpd_conn.h"

#include <sys/socket.h>

#include "common/base/cidr.h"
#include "common/base/hash.h"
#include "common/sys/log.h"

// authorization-service 9.2.
#define HEADER_MS_DEFAULT 10000
#define BODY_MS_DEFAULT 10000
#define SEND_MS_DEFAULT 10000
#define SEND_RATE_DEFAULT (16u << 10)

// Connections of one address: family and the first eight bytes of IPv6, or all four of IPv4.
struct httpd_peer {
    UT_hash_handle hh;
    uint8_t key[9];
    unsigned count;
};

static const char *const phase_names[] = {
    [HTTPD_CONNECTED] = "first request", [HTTPD_HEADERS] = "headers", [HTTPD_BODY] = "body",
    [HTTPD_WORKING] = "working",         [HTTPD_SENDING] = "answer",  [HTTPD_IDLE] = "idle",
};

// ---- connections of one address -------------------------------------------------------------

static void make_key(const struct addr *a, uint8_t ret[static 9])
{
    struct addr const x = cidr_unmap(a);
    memset(ret, 0, 9);
    ret[0] = x.family;
    memcpy(ret + 1, x.ip, x.family == ADDR_V6 ? 8 : 4);
}

static struct httpd_peer *find_peer(struct httpd *h, const uint8_t key[static 9])
{
    struct httpd_peer *p = NULL;
    HASH_FIND(hh, h->peers, key, sizeof(p->key), p);
    return p;
}

static bool is_exempt(const struct httpd *h, const struct addr *a)
{
    const struct httpd_conf *const c = &h->conf;
    return c->max_per_ip == 0 ||
           (c->exempt_address ? c->exempt_address(c->user, a) : addr_is_loopback(a));
}

bool httpd_conn_admit(struct httpd *h, const struct addr *a)
{
    uint8_t key[9];
    if (is_exempt(h, a)) {
        return true;
    }
    make_key(a, key);
    const struct httpd_peer *const p = find_peer(h, key);
    return !p || p->count < h->conf.max_per_ip;
}

static struct httpd_peer *take_peer(struct httpd *h, const struct addr *a)
{
    uint8_t key[9];
    make_key(a, key);
    struct httpd_peer *p = find_peer(h, key);
    if (!p) {
        p = NEW(struct httpd_peer);
        if (!p) {
            return NULL;
        }
        memcpy(p->key, key, sizeof(key));
        HASH_ADD(hh, h->peers, key, sizeof(p->key), p);
        if (!find_peer(h, key)) {
            mem_free(p);
            return NULL;
        }
    }
    p->count++;
    return p;
}

static void release_peer(struct httpd *h, struct httpd_peer *p)
{
    if (p && --p->count == 0) {
        HASH_DEL(h->peers, p);
        mem_free(p);
    }
}

// ---- deadlines ------------------------------------------------------------------------------

// The loop's timer is only ever moved forward here: a deadline that moved away, as nearly all do,
// costs nothing but one early look.
static void schedule(struct httpd *h)
{
    mono_t const next = timer_heap_next(&h->deadlines);
    if (mono_before(next, h->deadline_at)) {
        h->deadline_at = next;
        loop_timer_set(h->deadline_timer, next);
    }
}

static void on_deadline(void *user)
{
    struct httpd *const h = user;
    mono_t const now = loop_now(h->loop);
    struct timer *t = NULL;
    while ((t = timer_heap_pop(&h->deadlines, now)) != NULL) {
        struct httpd_conn *const c = CONTAINER_OF(t, struct httpd_conn, deadline);
        log_debug(NULL, "httpd.cut_off", KV_STR("waiting_for", phase_names[c->phase]));
        (void)shutdown(c->fd, SHUT_RDWR);
    }
    h->deadline_at = MONO_NEVER;
    schedule(h);
}

static int64_t time_for(const struct httpd *h, enum httpd_phase phase, size_t size)
{
    const struct httpd_conf *const c = &h->conf;
    switch (phase) {
    case HTTPD_CONNECTED:
    case HTTPD_HEADERS:
        return c->header_timeout_ms != 0 ? c->header_timeout_ms : HEADER_MS_DEFAULT;
    case HTTPD_BODY:
        return c->body_timeout_ms != 0 ? c->body_timeout_ms : BODY_MS_DEFAULT;
    case HTTPD_SENDING:
        return (c->send_timeout_ms != 0 ? c->send_timeout_ms : SEND_MS_DEFAULT) +
               (int64_t)(size / (c->send_rate != 0 ? c->send_rate : SEND_RATE_DEFAULT)) * 1000;
    case HTTPD_IDLE:
        return (int64_t)c->idle_timeout_s * 1000;
    case HTTPD_WORKING:
        break;
    }
    return -1;
}

void httpd_conn_enter(struct httpd_conn *c, enum httpd_phase phase, size_t size)
{
    if (!c || (c->phase == HTTPD_CONNECTED && phase == HTTPD_HEADERS)) {
        return; // the first headers have their time since the connection was made
    }
    struct httpd *const h = c->owner;
    int64_t const ms = time_for(h, phase, size);
    c->phase = phase;
    timer_heap_set(&h->deadlines, &c->deadline,
                   ms < 0 ? MONO_NEVER : mono_add_ms(loop_now(h->loop), ms));
    schedule(h);
}

// ---- life -----------------------------------------------------------------------------------

struct httpd_conn *httpd_conn_open(struct httpd *h, const struct addr *a, int fd)
{
    struct httpd_conn *const c = NEW(struct httpd_conn);
    if (!c || timer_heap_reserve(&h->deadlines, h->conn_count + 1) < 0) {
        mem_free(c);
        return NULL;
    }
    h->conn_count++;
    c->owner = h;
    c->fd = fd;
    c->peer = is_exempt(h, a) ? NULL : take_peer(h, a);
    c->phase = HTTPD_IDLE; // only so that the next one is entered
    httpd_conn_enter(c, HTTPD_CONNECTED, 0);
    return c;
}

void httpd_conn_close(struct httpd_conn *c)
{
    if (!c) {
        return;
    }
    timer_heap_cancel(&c->owner->deadlines, &c->deadline);
    release_peer(c->owner, c->peer);
    c->owner->conn_count--;
    mem_free(c);
}

int httpd_conn_setup(struct httpd *h)
{
    timer_heap_init(&h->deadlines);
    h->deadline_at = MONO_NEVER;
    h->deadline_timer = loop_timer_new(h->loop, on_deadline, h);
    return h->deadline_timer ? 0 : -ENOMEM;
}

void httpd_conn_teardown(struct httpd *h)
{
    loop_timer_free(h->deadline_timer);
    timer_heap_done(&h->deadlines);
}
