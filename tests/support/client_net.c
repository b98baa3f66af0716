// SPDX-License-Identifier: Apache-2.0
#include "tests/support/client_net.h"

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/svc/ws_deflate.h"
#include "common/sys/clock.h"
#include "common/sys/random.h"
#include "common/sys/udp.h"
#include "sfu/transport/dtls_cert.h"
#include "sfu/transport/sctp_transport.h"
#include "sfu/transport/srtp_batch.h"

// 16 to 32 datagrams a call are enough (performance notes: larger batches gain nothing).
#define RX_BATCH 32
// Of data channels that have nothing to say, as Chromium and Firefox send them.
#define HEARTBEAT_MS 30000
#define RX_CAP 2048
// Room for a burst of a whole key frame on each of many tracks. Asked for by force where allowed.
#define RX_BUFFER (1 << 20)
// A socket that never runs dry must not starve the others.
#define RX_CALLS_A_TURN 4

struct client_rx_batch_ {
    struct mmsghdr msg[RX_BATCH];
    struct iovec iov[RX_BATCH];
    struct sockaddr_in6 name[RX_BATCH];
    union {
        struct cmsghdr header; // alignment
        uint8_t room[CMSG_SPACE(sizeof(struct timespec))];
    } control[RX_BATCH];
    uint8_t data[RX_BATCH][RX_CAP];
};

// ---- sending ------------------------------------------------------------------------------------

static size_t fill_messages(struct outbox *o, size_t from, struct mmsghdr *msg, struct iovec *iov,
                            struct sockaddr_in6 *name)
{
    size_t n = 0;
    for (size_t i = from; i < o->count && n < RX_BATCH; i++) {
        struct outbox_slot *const s = &o->slots[i];
        iov[n] = (struct iovec){.iov_base = s->data, .iov_len = s->len};
        msg[n].msg_hdr = (struct msghdr){
            .msg_name = &name[n],
            .msg_namelen = addr_to_sockaddr(&s->dst, (struct sockaddr *)&name[n], sizeof(name[n])),
            .msg_iov = &iov[n],
            .msg_iovlen = 1,
        };
        n++;
    }
    return n;
}

static void flush(struct outbox *o, void *user)
{
    struct client_net *const n = user;
    struct mmsghdr msg[RX_BATCH];
    struct iovec iov[RX_BATCH];
    struct sockaddr_in6 name[RX_BATCH];
    n->send_errors += srtp_batch_protect(n->batch, o);
    size_t done = 0;
    while (done < o->count && n->current != NULL && n->current->fd >= 0) {
        size_t const count = fill_messages(o, done, msg, iov, name);
        int const sent = sendmmsg(n->current->fd, msg, (unsigned)count, 0);
        // What the kernel refuses (an unreachable candidate, a full buffer) is lost, as on any
        // network.
        n->send_errors += sent <= 0;
        n->sent_datagrams += sent > 0 ? (uint64_t)sent : 0;
        done += sent > 0 ? (size_t)sent : 1;
    }
    o->count = 0;
}

// ---- receiving ----------------------------------------------------------------------------------

static void prepare_receive(struct client_rx_batch_ *rx, bool stamps)
{
    for (size_t i = 0; i < RX_BATCH; i++) {
        rx->iov[i] = (struct iovec){.iov_base = rx->data[i], .iov_len = RX_CAP};
        rx->msg[i].msg_hdr = (struct msghdr){
            .msg_name = &rx->name[i],
            .msg_namelen = sizeof(rx->name[i]),
            .msg_iov = &rx->iov[i],
            .msg_iovlen = 1,
            .msg_control = stamps ? &rx->control[i] : NULL,
            .msg_controllen = stamps ? sizeof(rx->control[i]) : 0,
        };
    }
}

// Monotonic time of a kernel stamp; `offset` is monotonic minus real time.
static mono_t arrival_of(const struct msghdr *h, int64_t offset, mono_t now)
{
    const struct cmsghdr *const c = CMSG_FIRSTHDR(h);
    if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) {
        return now;
    }
    struct timespec t;
    memcpy(&t, CMSG_DATA(c), sizeof(t));
    return (mono_t){(int64_t)t.tv_sec * US_PER_S + t.tv_nsec / 1000 + offset};
}

// One batch; whether there may be more.
static bool receive_batch(struct client_socket *s)
{
    struct client_net *const n = s->net;
    struct client_rx_batch_ *const rx = n->rx;
    prepare_receive(rx, s->stamps);
    int const got = recvmmsg(s->fd, rx->msg, RX_BATCH, MSG_DONTWAIT, NULL);
    n->receive_calls++;
    if (got <= 0) {
        return false;
    }
    n->received_datagrams += (uint64_t)got;
    int64_t const offset = s->stamps ? clock_mono().us - clock_wall().us : 0;
    for (int i = 0; i < got && s->fd >= 0; i++) {
        struct msghdr *const h = &rx->msg[i].msg_hdr;
        struct client_datagram d = {.data = {rx->data[i], rx->msg[i].msg_len}, .arrival = n->now};
        if ((h->msg_flags & MSG_TRUNC) != 0 ||
            addr_from_sockaddr((struct sockaddr *)&rx->name[i], &d.src) != 0) {
            continue;
        }
        if (s->stamps) {
            d.arrival = arrival_of(h, offset, n->now);
        }
        s->input(s->user, &d);
    }
    return got == RX_BATCH;
}

static void on_readable(void *user, unsigned events)
{
    struct client_socket *const s = user;
    struct client_net *const n = s->net;
    (void)events;
    n->now = loop_refresh(n->loop);
    client_net_use(n, s);
    for (int i = 0; i < RX_CALLS_A_TURN && s->fd >= 0 && receive_batch(s); i++) {
    }
    client_net_flush(n);
}

// ---- sockets ------------------------------------------------------------------------------------

static int open_socket(struct client_socket *s, const struct addr *local)
{
    struct sockaddr_in6 sa;
    socklen_t len = addr_to_sockaddr(local, (struct sockaddr *)&sa, sizeof(sa));
    int const one = 1;
    int const size = RX_BUFFER;
    s->fd = socket(local->family == ADDR_V6 ? AF_INET6 : AF_INET,
                   SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        return -errno;
    }
    if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0) {
        (void)setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    if (s->stamps && setsockopt(s->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) < 0) {
        return -errno;
    }
    if (bind(s->fd, (struct sockaddr *)&sa, len) < 0) {
        return -errno;
    }
    len = sizeof(sa);
    if (getsockname(s->fd, (struct sockaddr *)&sa, &len) < 0) {
        return -errno;
    }
    return addr_from_sockaddr((struct sockaddr *)&sa, &s->local);
}

int client_socket_open(struct client_socket *s, struct client_net *n, const struct addr *local,
                       bool stamps, void (*input)(void *user, const struct client_datagram *d),
                       void *user)
{
    *s = (struct client_socket){.net = n, .fd = -1, .stamps = stamps, .input = input, .user = user};
    int rc = open_socket(s, local);
    if (rc == 0) {
        s->poll = loop_poll_new(n->loop, s->fd, on_readable, s);
        rc = s->poll != NULL ? 0 : -ENOMEM;
    }
    if (rc < 0) {
        client_socket_close(s);
        return rc;
    }
    loop_poll_set(s->poll, LOOP_READ);
    return 0;
}

void client_socket_close(struct client_socket *s)
{
    if (s->net == NULL) {
        return;
    }
    loop_poll_free(s->poll);
    s->poll = NULL;
    if (s->net->current == s) {
        s->net->current = NULL;
    }
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    s->fd = -1;
}

uint32_t client_socket_drops(const struct client_socket *s)
{
    uint32_t info[SK_MEMINFO_VARS];
    socklen_t len = sizeof(info);
    if (s->fd < 0 || getsockopt(s->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0 ||
        len < sizeof(info)) {
        return 0;
    }
    return info[SK_MEMINFO_DROPS];
}

int client_net_route(const struct addr *to, struct addr *ret)
{
    struct sockaddr_in6 sa;
    socklen_t len = addr_to_sockaddr(to, (struct sockaddr *)&sa, sizeof(sa));
    int const fd = socket(to->family == ADDR_V6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int rc = 0;
    if (connect(fd, (struct sockaddr *)&sa, len) < 0) {
        rc = -errno;
    }
    len = sizeof(sa);
    if (rc == 0 && getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
        rc = -errno;
    }
    (void)close(fd);
    if (rc == 0) {
        rc = addr_from_sockaddr((struct sockaddr *)&sa, ret);
        ret->port = 0;
    }
    return rc;
}

// ---- timers -------------------------------------------------------------------------------------

int client_timer_init(struct client_timer *t, struct client_net *n, void (*fn)(void *user),
                      void *user)
{
    *t = (struct client_timer){.fn = fn, .user = user};
    int const rc = timer_heap_reserve(&n->timers, n->timer_count + 1);
    if (rc == 0) {
        n->timer_count++;
    } else {
        t->fn = NULL;
    }
    return rc;
}

void client_timer_done(struct client_timer *t, struct client_net *n)
{
    if (t->fn != NULL) {
        timer_heap_cancel(&n->timers, &t->t);
        n->timer_count--;
        t->fn = NULL;
    }
}

void client_timer_set(struct client_timer *t, struct client_net *n, mono_t at)
{
    timer_heap_set(&n->timers, &t->t, at);
}

static void run_timers(struct client_net *n)
{
    struct timer *t;
    while ((t = timer_heap_pop(&n->timers, n->now)) != NULL) {
        struct client_timer *const c = CONTAINER_OF(t, struct client_timer, t);
        c->fn(c->user);
    }
}

static void run_sctp(struct client_net *n)
{
    if (!mono_reached(sctp_hub_deadline(n->hub), n->now)) {
        return;
    }
    sctp_hub_tick(n->hub, n->now);
    struct sctp_transport *t;
    while ((t = sctp_hub_next_ready(n->hub)) != NULL) {
        n->on_sctp_ready(t);
    }
}

static void arm(struct client_net *n)
{
    mono_t const next = mono_min(timer_heap_next(&n->timers), sctp_hub_deadline(n->hub));
    if (next.us == n->armed.us) {
        return;
    }
    n->armed = next;
    struct itimerspec at = {0};
    if (!mono_is_never(next)) {
        int64_t const us = MAX(next.us, 1); // 0 would switch it off
        at.it_value = (struct timespec){.tv_sec = us / US_PER_S, .tv_nsec = (us % US_PER_S) * 1000};
    }
    (void)timerfd_settime(n->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_timer(void *user, unsigned events)
{
    struct client_net *const n = user;
    uint64_t expirations = 0;
    (void)events;
    if (read(n->timer_fd, &expirations, sizeof(expirations)) < 0) {
        return;
    }
    n->armed = MONO_NEVER;
    n->now = loop_refresh(n->loop);
    run_timers(n);
    run_sctp(n);
}

static void on_turn_end(void *user)
{
    arm(user);
}

void client_net_refresh(struct client_net *n)
{
    n->now = loop_refresh(n->loop);
}

// ---- life ---------------------------------------------------------------------------------------

static int start(struct client_net *n)
{
    uint8_t seed[RNG_SEED_LEN];
    rand_bytes(seed, sizeof(seed));
    rng_seed(&n->rng, seed);
    n->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (n->timer_fd < 0) {
        return -errno;
    }
    n->timer_poll = loop_poll_new(n->loop, n->timer_fd, on_timer, n);
    n->rx = NEW(struct client_rx_batch_);
    if (n->timer_poll == NULL || n->rx == NULL) {
        return -ENOMEM;
    }
    int rc = outbox_init(&n->out, flush, n);
    if (rc == 0) {
        rc = srtp_batch_new(SRTP_BATCH_AUTO, &n->batch);
    }
    if (rc == 0) {
        rc = dtls_cert_new(clock_wall().us / US_PER_S, &n->cert);
    }
    if (rc == 0) {
        rc = sctp_hub_new(NULL, NULL, &n->hub);
    }
    if (rc == 0) {
        sctp_hub_set_heartbeats(n->hub, HEARTBEAT_MS);
        n->deflate = ws_deflate_new();
        rc = n->deflate != NULL ? 0 : -ENOMEM;
    }
    return rc;
}

int client_net_new(struct loop *loop, struct client_net **ret)
{
    struct client_net *const n = NEW(struct client_net);
    if (n == NULL) {
        return -ENOMEM;
    }
    n->loop = loop;
    n->timer_fd = -1;
    n->armed = MONO_NEVER;
    n->now = loop_now(loop);
    timer_heap_init(&n->timers);
    int const rc = start(n);
    if (rc < 0) {
        client_net_free(n);
        return rc;
    }
    loop_poll_set(n->timer_poll, LOOP_READ);
    loop_on_turn_end(loop, on_turn_end, n);
    *ret = n;
    return 0;
}

void client_net_free(struct client_net *n)
{
    if (n == NULL) {
        return;
    }
    loop_on_turn_end(n->loop, NULL, NULL);
    loop_poll_free(n->timer_poll);
    if (n->timer_fd >= 0) {
        (void)close(n->timer_fd);
    }
    sctp_hub_free(n->hub);
    ws_deflate_free(n->deflate);
    dtls_cert_free(n->cert);
    srtp_batch_free(n->batch);
    outbox_done(&n->out);
    timer_heap_done(&n->timers);
    mem_free(n->rx);
    mem_free(n);
}
