// SPDX-License-Identifier: Apache-2.0
#include "common/svc/dns.h"

#include <ares.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/sys/random.h"
#include "common/sys/udp.h"

#define DEFAULT_TIMEOUT_MS 5000
#define DEFAULT_MAX_QUERIES 512

// Each server is asked this often; the first try gets half of the time.
#define TRIES 2

// c-ares opens a UDP socket per server and TCP ones for long answers.
#define SOCKETS_MAX 32

// RFC 1035 section 3.2.2, RFC 2782.
#define DNS_CLASS_IN 1
#define DNS_TYPE_SRV 33

struct dns_socket {
    struct dns *dns;
    int fd; // -1: free
    struct loop_poll *poll;
};

struct dns {
    struct loop *loop;
    struct loop_timer *timer;
    ares_channel channel;
    struct dns_socket sockets[SOCKETS_MAX];
    struct dns_query *queries; // list
    unsigned count;
    unsigned max;
    int64_t timeout_ms;
    bool closing;
};

// A look-up lives until its owner has been told (or has cancelled) and c-ares has let go of it.
struct dns_query {
    struct dns_query *prev, *next;
    struct dns *dns;
    struct loop_timer *timer; // the whole look-up's end, then the delivery
    bool is_srv;
    bool ares_pending;
    bool done;  // there is a result to deliver
    bool owned; // fn is still to be called
    void *user;
    union {
        struct {
            void (*fn)(void *user, const struct dns_addrs *r);
            struct dns_addrs result;
        } a;
        struct {
            void (*fn)(void *user, const struct dns_srvs *r);
            struct dns_srvs result;
        } s;
    } u;
};

const char *dns_status_name(enum dns_status s)
{
    switch (s) {
    case DNS_OK:
        return "ok";
    case DNS_NOT_FOUND:
        return "not found";
    case DNS_TEMPORARY:
        return "temporary failure";
    case DNS_TIMEOUT:
        return "timeout";
    case DNS_BAD_NAME:
        return "bad name";
    }
    return "unknown";
}

// ---- sockets of c-ares ----------------------------------------------------------------------

static void schedule(struct dns *d)
{
    struct timeval tv;
    if (ares_timeout(d->channel, NULL, &tv) != NULL) {
        loop_timer_set_ms(d->timer, (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1);
    } else {
        loop_timer_stop(d->timer);
    }
}

static void on_timer(void *user)
{
    struct dns *const d = user;
    ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    schedule(d);
}

static void on_socket(void *user, unsigned events)
{
    struct dns_socket *const s = user;
    struct dns *const d = s->dns;
    int const fd = s->fd;
    ares_process_fd(d->channel, events & (LOOP_READ | LOOP_HANGUP) ? fd : ARES_SOCKET_BAD,
                    events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
    schedule(d);
}

static struct dns_socket *find_socket(struct dns *d, int fd)
{
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        if (d->sockets[i].fd == fd) {
            return &d->sockets[i];
        }
    }
    return NULL;
}

static void on_socket_state(void *user, ares_socket_t fd, int readable, int writable)
{
    struct dns *const d = user;
    struct dns_socket *s = find_socket(d, fd);
    if (!readable && !writable) {
        if (s != NULL) {
            loop_poll_free(s->poll);
            *s = (struct dns_socket){.fd = -1};
        }
        return;
    }
    if (s == NULL) {
        s = find_socket(d, -1);
        if (s == NULL) {
            return; // its queries run into their timeouts
        }
        *s = (struct dns_socket){
            .dns = d, .fd = fd, .poll = loop_poll_new(d->loop, fd, on_socket, s)};
        if (s->poll == NULL) {
            s->fd = -1;
            return;
        }
    }
    loop_poll_set(s->poll, (readable ? LOOP_READ : 0u) | (writable ? LOOP_WRITE : 0u));
}

// ---- life -----------------------------------------------------------------------------------

struct dns *dns_new(struct loop *l, const struct dns_conf *conf)
{
    struct dns *const d = NEW(struct dns);
    if (d == NULL || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        mem_free(d);
        return NULL;
    }
    d->loop = l;
    d->timeout_ms = conf->timeout_ms > 0 ? conf->timeout_ms : DEFAULT_TIMEOUT_MS;
    d->max = conf->max_queries > 0 ? conf->max_queries : DEFAULT_MAX_QUERIES;
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        d->sockets[i].fd = -1;
    }
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH,
        .timeout = (int)MIN(d->timeout_ms / TRIES, (int64_t)60000),
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = d,
    };
    d->timer = loop_timer_new(l, on_timer, d);
    bool const ok =
        d->timer != NULL && ares_init_options(&d->channel, &options,
                                              ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                                  ARES_OPT_SOCK_STATE_CB) == ARES_SUCCESS;
    if (ok && conf->servers != NULL &&
        ares_set_servers_ports_csv(d->channel, conf->servers) != ARES_SUCCESS) {
        dns_free(d);
        return NULL;
    }
    if (!ok) {
        d->channel = NULL;
        dns_free(d);
        return NULL;
    }
    return d;
}

static void query_free(struct dns_query *q)
{
    struct dns *const d = q->dns;
    if (q->prev != NULL) {
        q->prev->next = q->next;
    } else {
        d->queries = q->next;
    }
    if (q->next != NULL) {
        q->next->prev = q->prev;
    }
    d->count--;
    loop_timer_free(q->timer);
    mem_free(q);
}

void dns_free(struct dns *d)
{
    if (d == NULL) {
        return;
    }
    d->closing = true;
    if (d->channel != NULL) {
        ares_destroy(d->channel); // every pending callback runs now
    }
    while (d->queries != NULL) {
        query_free(d->queries);
    }
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        loop_poll_free(d->sockets[i].poll);
    }
    if (d->timer != NULL) {
        loop_timer_free(d->timer);
    }
    mem_free(d);
    ares_library_cleanup();
}

// ---- results --------------------------------------------------------------------------------

static void deliver(struct dns_query *q)
{
    bool const tell = q->owned;
    q->owned = false;
    // fn may free the whole resolver; the query must be out of everybody's hands before.
    struct dns_query const copy = *q;
    if (!q->ares_pending) {
        query_free(q);
    }
    if (!tell) {
        return;
    }
    if (copy.is_srv) {
        copy.u.s.fn(copy.user, &copy.u.s.result);
    } else {
        copy.u.a.fn(copy.user, &copy.u.a.result);
    }
}

static void set_status(struct dns_query *q, enum dns_status s)
{
    if (q->is_srv) {
        q->u.s.result.status = s;
    } else {
        q->u.a.result.status = s;
    }
}

static void on_query_timer(void *user)
{
    struct dns_query *const q = user;
    if (!q->done) {
        q->done = true;
        set_status(q, DNS_TIMEOUT);
    }
    deliver(q);
}

// c-ares has answered: the owner is told in a later turn, never from inside its own call.
static void finish(struct dns_query *q)
{
    q->ares_pending = false;
    if (q->dns->closing) {
        return;
    }
    if (!q->owned) {
        query_free(q);
    } else if (!q->done) {
        q->done = true;
        loop_timer_set_ms(q->timer, 0);
    }
}

static enum dns_status status_of(int ares_status)
{
    switch (ares_status) {
    case ARES_SUCCESS:
        return DNS_OK;
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
        return DNS_NOT_FOUND;
    case ARES_EBADNAME:
    case ARES_EFORMERR:
        return DNS_BAD_NAME;
    case ARES_ETIMEOUT:
        return DNS_TIMEOUT;
    default:
        return DNS_TEMPORARY;
    }
}

static void on_addrs(void *user, int status, int timeouts, struct ares_addrinfo *info)
{
    struct dns_query *const q = user;
    struct dns_addrs *const r = &q->u.a.result;
    (void)timeouts;
    if (!q->done) {
        r->status = status_of(status);
        uint32_t ttl = UINT32_MAX;
        const struct ares_addrinfo_node *n = info != NULL ? info->nodes : NULL;
        for (; n != NULL && r->count < DNS_ADDR_MAX; n = n->ai_next) {
            if (addr_from_sockaddr(n->ai_addr, &r->addrs[r->count]) == 0) {
                r->addrs[r->count++].port = 0;
                ttl = MIN(ttl, (uint32_t)MAX(n->ai_ttl, 0));
            }
        }
        r->ttl_s = r->count > 0 ? ttl : 0;
        if (r->status == DNS_OK && r->count == 0) {
            r->status = DNS_NOT_FOUND;
        }
    }
    if (info != NULL) {
        ares_freeaddrinfo(info);
    }
    finish(q);
}

// The smallest TTL of the answer section; c-ares' own parser does not tell it (RFC 1035
// section 4.1).
static uint32_t answer_ttl(const unsigned char *abuf, int alen)
{
    struct rd r = rd_init(bytes_of(abuf, (size_t)MAX(alen, 0)));
    rd_skip(&r, 4);
    uint16_t const questions = rd_be16(&r);
    uint16_t const answers = rd_be16(&r);
    rd_skip(&r, 4);
    uint32_t ttl = UINT32_MAX;
    for (uint32_t i = 0; rd_ok(&r) && i < (uint32_t)questions + answers; i++) {
        // A name: labels up to a zero or a compression pointer.
        for (uint8_t n = rd_u8(&r); n != 0 && rd_ok(&r); n = rd_u8(&r)) {
            if ((n & 0xc0) == 0xc0) {
                rd_skip(&r, 1);
                break;
            }
            rd_skip(&r, n);
        }
        rd_skip(&r, 4); // type, class
        if (i >= questions) {
            uint32_t const this_ttl = rd_be32(&r);
            ttl = MIN(ttl, this_ttl);
            rd_skip(&r, rd_be16(&r));
        }
    }
    return rd_ok(&r) && ttl != UINT32_MAX ? ttl : 0;
}

static uint32_t random_u32(void *user)
{
    (void)user;
    return rand_u32();
}

static void read_srv(struct dns_srvs *r, const unsigned char *abuf, int alen)
{
    struct ares_srv_reply *list = NULL;
    if (ares_parse_srv_reply(abuf, alen, &list) != ARES_SUCCESS) {
        r->status = DNS_NOT_FOUND;
        return;
    }
    for (const struct ares_srv_reply *s = list; s != NULL && r->count < DNS_SRV_MAX; s = s->next) {
        struct dns_srv *const to = &r->srv[r->count];
        if (strlen(s->host) >= sizeof(to->target)) {
            continue;
        }
        *to = (struct dns_srv){s->priority, s->weight, s->port, ""};
        size_t n = strlen(s->host);
        n -= n > 0 && s->host[n - 1] == '.';
        memcpy(to->target, s->host, n);
        r->count++;
    }
    ares_free_data(list);
    r->status = r->count > 0 ? DNS_OK : DNS_NOT_FOUND;
    r->ttl_s = answer_ttl(abuf, alen);
    dns_srv_sort(r->srv, r->count, random_u32, NULL);
}

static void on_srv(void *user, int status, int timeouts, unsigned char *abuf, int alen)
{
    struct dns_query *const q = user;
    (void)timeouts;
    if (!q->done) {
        q->u.s.result.status = status_of(status);
        if (status == ARES_SUCCESS) {
            read_srv(&q->u.s.result, abuf, alen);
        }
    }
    finish(q);
}

// ---- questions ------------------------------------------------------------------------------

static int query_new(struct dns *d, const char *name, void *user, struct dns_query **ret)
{
    if (strlen(name) >= DNS_NAME_MAX) {
        return -EINVAL;
    }
    if (d->count >= d->max) {
        return -EBUSY;
    }
    struct dns_query *const q = NEW(struct dns_query);
    if (q == NULL) {
        return -ENOMEM;
    }
    q->timer = loop_timer_new(d->loop, on_query_timer, q);
    if (q->timer == NULL) {
        mem_free(q);
        return -ENOMEM;
    }
    q->dns = d;
    q->user = user;
    q->owned = true;
    q->ares_pending = true;
    q->next = d->queries;
    if (q->next != NULL) {
        q->next->prev = q;
    }
    d->queries = q;
    d->count++;
    loop_timer_set_ms(q->timer, d->timeout_ms);
    *ret = q;
    return 0;
}

int dns_resolve(struct dns *d, const char *name, void (*fn)(void *user, const struct dns_addrs *r),
                void *user, struct dns_query **ret)
{
    struct dns_query *q = NULL;
    int const rc = query_new(d, name, user, &q);
    if (rc < 0) {
        return rc;
    }
    q->u.a.fn = fn;
    if (ret != NULL) {
        *ret = q;
    }
    struct dns_addrs *const result = &q->u.a.result;
    if (addr_parse_ip(bytes_str(name), &result->addrs[0]) == 0) {
        // c-ares (1.18) would ask name servers about literals too.
        result->count = 1;
        finish(q);
        return 0;
    }
    struct ares_addrinfo_hints const hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NUMERICSERV};
    ares_getaddrinfo(d->channel, name, NULL, &hints, on_addrs, q);
    schedule(d);
    return 0;
}

int dns_resolve_srv(struct dns *d, const char *name,
                    void (*fn)(void *user, const struct dns_srvs *r), void *user,
                    struct dns_query **ret)
{
    struct dns_query *q = NULL;
    int const rc = query_new(d, name, user, &q);
    if (rc < 0) {
        return rc;
    }
    q->is_srv = true;
    q->u.s.fn = fn;
    if (ret != NULL) {
        *ret = q;
    }
    ares_query(d->channel, name, DNS_CLASS_IN, DNS_TYPE_SRV, on_srv, q);
    schedule(d);
    return 0;
}

void dns_cancel(struct dns_query *q)
{
    q->owned = false;
    q->done = true;
    loop_timer_stop(q->timer);
    // c-ares cannot drop a single question: its answer is thrown away when it comes.
    if (!q->ares_pending) {
        query_free(q);
    }
}

// ---- RFC 2782 -------------------------------------------------------------------------------

// Moves the record at `from` to `to` (to <= from), the ones between go up by one.
static void move_to(struct dns_srv *srv, size_t from, size_t to)
{
    struct dns_srv const x = srv[from];
    memmove(&srv[to + 1], &srv[to], (from - to) * sizeof(*srv));
    srv[to] = x;
}

// The one whose running sum of weights first reaches a random number (RFC 2782, "Weight").
static size_t draw(const struct dns_srv *srv, size_t from, size_t to, uint32_t random)
{
    uint32_t sum = 0;
    for (size_t i = from; i < to; i++) {
        sum += srv[i].weight;
    }
    uint32_t const wanted = random % (sum + 1);
    uint32_t running = 0;
    for (size_t i = from; i < to; i++) {
        running += srv[i].weight;
        if (running >= wanted) {
            return i;
        }
    }
    return from;
}

void dns_srv_sort(struct dns_srv *srv, size_t n, uint32_t (*u32)(void *user), void *user)
{
    // By priority; records of weight 0 stand first in their group, so that they have a small
    // chance.
    for (size_t i = 1; i < n; i++) {
        size_t k = i;
        while (k > 0 && (srv[i].priority < srv[k - 1].priority ||
                         (srv[i].priority == srv[k - 1].priority && srv[i].weight == 0 &&
                          srv[k - 1].weight != 0))) {
            k--;
        }
        move_to(srv, i, k);
    }
    for (size_t from = 0; from < n;) {
        size_t to = from + 1;
        while (to < n && srv[to].priority == srv[from].priority) {
            to++;
        }
        for (; from + 1 < to; from++) {
            move_to(srv, draw(srv, from, to, u32(user)), from);
        }
        from = to;
    }
}
