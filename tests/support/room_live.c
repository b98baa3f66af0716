// SPDX-License-Identifier: Apache-2.0
#include "tests/support/room_live.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/sys/clock.h"
#include "common/sys/udp.h"

union sockaddr_any {
    struct sockaddr sa;
    uint8_t bytes[UDP_SOCKADDR_LEN];
};

static int open_socket(const struct addr *bind_to, struct addr *ret)
{
    union sockaddr_any u;
    socklen_t n = addr_to_sockaddr(bind_to, &u.sa, sizeof(u));
    int const fd = socket(bind_to->family == ADDR_V6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
    room_must(fd >= 0 && bind(fd, &u.sa, n) == 0, "bind");
    n = sizeof(u);
    room_must(getsockname(fd, &u.sa, &n) == 0 && addr_from_sockaddr(&u.sa, ret) == 0,
              "getsockname");
    room_must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
    return fd;
}

static struct addr loopback(bool ipv6)
{
    struct addr a = addr_v4(127, 0, 0, 1, 0);
    if (ipv6) {
        room_must(addr_parse_ip(bytes_str("::1"), &a) == 0, "::1");
    }
    return a;
}

static struct addr new_address(void *user)
{
    struct room_live *const l = user;
    room_must(l->socket_count < ROOM_LIVE_SOCKETS, "room for a socket");
    struct addr const a = loopback(l->worker_addr.family == ADDR_V6);
    size_t const i = l->socket_count++;
    l->sockets[i].fd = open_socket(&a, &l->sockets[i].addr);
    return l->sockets[i].addr;
}

static void forward(void *user, struct channel_msg *m)
{
    struct room_live *const l = user;
    worker_post(l->worker, m);
}

static void on_mail(void *user, void *msg)
{
    struct room_live *const l = user;
    struct channel_msg *const m = msg;
    l->shutdowns_done += m->type == CHANNEL_SHUTDOWN_DONE;
    room_harness_deliver(l->h, m);
    channel_msg_free(m);
}

static void drop_mail(void *user, void *msg)
{
    (void)user;
    channel_msg_free(msg);
}

void room_live_init(struct room_live *l, struct room_harness *h, bool ipv6)
{
    room_harness_init(h, &(struct room_harness_conf){.seed = 1});
    *l = (struct room_live){.h = h, .loop = loop_new()};
    l->mail = mailbox_new(l->loop, on_mail, l);
    room_must(l->mail != NULL && dtls_pool_new(2, &l->pool) == 0, "threads");
    struct worker_conf conf = {
        .index = 3,
        .binds = {loopback(false), loopback(true)},
        .bind_count = ipv6 ? 2 : 1,
        .buffer_size = 1 << 20,
        .packet_max = 65536,
        .room = h->conf,
        .cert = h->cert,
        .fingerprint = h->fingerprint,
        .pool = l->pool,
        .signalling = l->mail,
        .cpu = -1,
        .candidates = {.loopback = true},
    };
    const char *what = "";
    room_must(worker_new(&conf, &l->worker, &what) == 0, what);
    l->worker_addr = loopback(ipv6);
    l->worker_addr.port = worker_port(l->worker);
    h->forward = forward;
    h->address = new_address;
    h->live = l;
    room_must(worker_start(l->worker) == 0, "worker_start");
}

void room_live_done(struct room_live *l)
{
    while (l->h->clients != NULL) {
        room_client_free(l->h->clients);
    }
    worker_join(l->worker);
    dtls_pool_free(l->pool);
    worker_free(l->worker);
    mailbox_close(l->mail, drop_mail);
    mailbox_free(l->mail);
    loop_free(l->loop);
    for (size_t i = 0; i < l->socket_count; i++) {
        (void)close(l->sockets[i].fd);
    }
}

static void receive(struct room_live *l, size_t i)
{
    uint8_t buf[2048];
    union sockaddr_any u;
    socklen_t n = sizeof(u);
    ssize_t got = 0;
    while ((got = recvfrom(l->sockets[i].fd, buf, sizeof(buf), 0, &u.sa, &n)) > 0) {
        struct vnet_datagram d = {.dst = l->sockets[i].addr, .data = {buf, (size_t)got}};
        if (addr_from_sockaddr(&u.sa, &d.src) == 0) {
            room_client_datagram(l->h, &d);
        }
        n = sizeof(u);
    }
}

static void send_from(struct room_live *l, const struct vnet_datagram *d)
{
    union sockaddr_any u;
    socklen_t const n = addr_to_sockaddr(&d->dst, &u.sa, sizeof(u));
    for (size_t i = 0; i < l->socket_count; i++) {
        if (addr_eq(&l->sockets[i].addr, &d->src)) {
            (void)!sendto(l->sockets[i].fd, d->data.p, d->data.n, 0, &u.sa, n);
        }
    }
}

static void turn(struct room_live *l)
{
    l->h->now = clock_mono();
    loop_run_once(l->loop, 1);
    l->h->now = clock_mono();
    for (size_t i = 0; i < l->socket_count; i++) {
        receive(l, i);
    }
    room_clients_tick(l->h);
    struct vnet_datagram d;
    while (vnet_next(l->h->net, l->h->now, &d)) {
        send_from(l, &d);
    }
}

void room_live_run(struct room_live *l, int64_t duration_us)
{
    mono_t const end = mono_add_us(clock_mono(), duration_us);
    while (mono_before(clock_mono(), end)) {
        turn(l);
    }
}

bool room_live_until(struct room_live *l, bool (*cond)(void *arg), void *arg, int64_t limit_us)
{
    mono_t const end = mono_add_us(clock_mono(), limit_us);
    while (!cond(arg) && mono_before(clock_mono(), end)) {
        turn(l);
    }
    return cond(arg);
}

uint64_t room_live_received(const struct room_client *c, const struct room_sender *s)
{
    const struct room_stream *const st = room_client_stream(c, s->sid);
    return st != NULL ? st->packets : 0;
}

struct flow {
    const struct room_client *c;
    const struct room_sender *s;
    uint64_t packets;
};

static bool flows(void *arg)
{
    const struct flow *const f = arg;
    return room_live_received(f->c, f->s) >= f->packets;
}

bool room_live_flows(struct room_live *l, const struct room_client *c, const struct room_sender *s,
                     uint64_t packets, int64_t limit_us)
{
    struct flow f = {c, s, packets};
    return room_live_until(l, flows, &f, limit_us);
}

void room_live_datagram(struct room_live *l, struct bytes data)
{
    struct addr const a = loopback(l->worker_addr.family == ADDR_V6);
    struct addr mine;
    union sockaddr_any u;
    socklen_t const n = addr_to_sockaddr(&l->worker_addr, &u.sa, sizeof(u));
    int const fd = open_socket(&a, &mine);
    (void)!sendto(fd, data.p, data.n, 0, &u.sa, n);
    (void)close(fd);
}
