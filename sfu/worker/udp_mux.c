// SPDX-License-Identifier: Apache-2.0
#include "sfu/worker/udp_mux.h"

#include "common/base/mem.h"

// A port that is free for one family may be taken for the other: a few tries find a common one.
#define PORT_TRIES 16

static int open_sockets(struct udp_mux *m, const struct udp_mux_conf *conf, uint16_t *ret_port)
{
    uint16_t port = conf->binds[0].port;
    for (size_t i = 0; i < conf->bind_count; i++) {
        struct udp_conf uc = {
            .bind = conf->binds[i],
            .recv_buffer = conf->buffer_size,
            .send_buffer = conf->buffer_size,
        };
        uc.bind.port = port;
        int const rc = udp_open(&m->sockets[m->socket_count], &uc);
        if (rc == -EAFNOSUPPORT && m->socket_count > 0) {
            continue;
        }
        if (rc < 0) {
            return rc;
        }
        port = m->sockets[m->socket_count].local.port;
        m->socket_count++;
    }
    *ret_port = port;
    return 0;
}

static void close_sockets(struct udp_mux *m)
{
    for (size_t i = 0; i < m->socket_count; i++) {
        udp_close(&m->sockets[i]);
    }
    m->socket_count = 0;
}

int udp_mux_open(struct udp_mux *m, const struct udp_mux_conf *conf, struct packet_pool *pool,
                 uint16_t *ret_port)
{
    *m = (struct udp_mux){.pool = pool};
    m->out = mem_array(OUTBOX_CAP, sizeof(*m->out));
    if (m->out == NULL) {
        return -ENOMEM;
    }
    int rc = srtp_batch_new(SRTP_BATCH_AUTO, &m->srtp);
    for (int i = 0; rc == 0 && i < PORT_TRIES; i++) {
        rc = open_sockets(m, conf, ret_port);
        bool const again = rc == -EADDRINUSE && conf->binds[0].port == 0;
        if (rc < 0) {
            close_sockets(m);
        }
        if (rc == 0 || !again) {
            break;
        }
        rc = 0;
    }
    if (rc == 0 && m->socket_count == 0) {
        rc = -EADDRINUSE;
    }
    if (rc < 0) {
        udp_mux_close(m);
    }
    return rc;
}

void udp_mux_close(struct udp_mux *m)
{
    for (size_t i = 0; i < UDP_MUX_SOCKETS; i++) {
        loop_poll_free(m->polls[i]);
        m->polls[i] = NULL;
    }
    close_sockets(m);
    for (size_t i = 0; i < UDP_RECV_BATCH; i++) {
        packet_unref(m->rx[i]);
        m->rx[i] = NULL;
    }
    srtp_batch_free(m->srtp);
    m->srtp = NULL;
    mem_free(m->out);
    m->out = NULL;
}

// ---- receive --------------------------------------------------------------------------------

// The index of (socket, local IP), entered at first sight. UDP_MUX_LOCALS: no room.
static size_t find_local(struct udp_mux *m, size_t socket, const struct addr *dst)
{
    for (size_t i = 0; i < m->local_count; i++) {
        if (m->locals[i].socket == socket && addr_eq(&m->locals[i].addr, dst)) {
            return i;
        }
    }
    if (m->local_count < UDP_MUX_LOCALS) {
        m->locals[m->local_count] = (struct udp_mux_local){(uint8_t)socket, *dst};
        return m->local_count++;
    }
    return UDP_MUX_LOCALS;
}

// How many packets are ready to take datagrams.
static size_t arm(struct udp_mux *m, struct udp_in in[static UDP_RECV_BATCH])
{
    size_t n = 0;
    while (n < UDP_RECV_BATCH) {
        if (m->rx[n] == NULL) {
            m->rx[n] = packet_pool_get(m->pool);
        }
        if (m->rx[n] == NULL) {
            break;
        }
        in[n] = (struct udp_in){.data = m->rx[n]->data, .cap = PACKET_DATA_CAP};
        n++;
    }
    return n;
}

int udp_mux_recv(struct udp_mux *m, size_t i, mono_t now,
                 struct udp_mux_rx ret[static UDP_RECV_BATCH], size_t *ret_n)
{
    struct udp_in in[UDP_RECV_BATCH];
    size_t const ready = arm(m, in);
    if (ready == 0) {
        m->counters.no_buffer++;
        return -ENOBUFS;
    }
    size_t got = 0;
    int const rc = udp_recv_batch(&m->sockets[i], now, in, ready, &got);
    if (rc < 0) {
        return rc;
    }
    for (size_t k = 0; k < got; k++) {
        struct packet *const p = m->rx[k];
        p->len = (uint16_t)in[k].len;
        p->arrival = in[k].arrival;
        size_t const local = find_local(m, i, &in[k].dst);
        if (local == UDP_MUX_LOCALS) {
            m->counters.no_local++;
            p->len = 0;
        }
        ret[k] = (struct udp_mux_rx){p, in[k].src, (uint8_t)local};
    }
    *ret_n = got;
    return 0;
}

void udp_mux_release(struct udp_mux *m, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        packet_unref(m->rx[k]);
        m->rx[k] = packet_pool_get(m->pool);
    }
}

// ---- send -----------------------------------------------------------------------------------

// Sends slots [from, to), all of one socket.
static void send_run(struct udp_mux *m, const struct outbox *o, size_t from, size_t to)
{
    size_t n = 0;
    struct udp_socket *const s = &m->sockets[m->locals[o->slots[from].local].socket];
    for (size_t i = from; i < to; i++) {
        const struct outbox_slot *const slot = &o->slots[i];
        if (slot->len > 0) {
            m->out[n++] =
                (struct udp_out){slot->dst, m->locals[slot->local].addr, slot->data, slot->len};
        }
    }
    size_t done = 0;
    if (n > 0 && udp_send(s, m->out, n, &done) < 0) {
        // A full socket buffer means the link is slower than the rooms: late media is worth
        // nothing, so it is dropped here and repaired by NACK.
        m->counters.blocked += n - done;
    }
}

void udp_mux_flush(struct outbox *o, void *user)
{
    struct udp_mux *const m = user;
    m->counters.not_protected += srtp_batch_protect(m->srtp, o);
    size_t from = 0;
    while (from < o->count) {
        uint8_t const socket = m->locals[o->slots[from].local].socket;
        size_t to = from + 1;
        while (to < o->count && m->locals[o->slots[to].local].socket == socket) {
            to++;
        }
        send_run(m, o, from, to);
        from = to;
    }
    o->count = 0;
}
