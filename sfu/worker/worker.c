// SPDX-License-Identifier: Apache-2.0
#include "sfu/worker/worker.h"

#include <stdatomic.h>
#include <stdio.h>

#include "common/sys/log.h"
#include "common/sys/random.h"
#include "common/sys/thread.h"
#include "sfu/base/sfu_limits.h"
#include "sfu/room/join.h"
#include "sfu/room/pc_transport.h"
#include "sfu/room/room.h"
#include "sfu/room/room_api.h"
#include "sfu/room/router.h"
#include "sfu/room/signal_send.h"
#include "sfu/transport/flow_table.h"
#include "sfu/transport/peer_connection.h"
#include "sfu/transport/sctp_transport.h"
#include "sfu/wire/stun.h"
#include "sfu/worker/udp_mux.h"

// Batches that one socket may bring before timers and mail get their turn: 512 datagrams
// (media-plane 11.4).
#define BATCHES_PER_TURN 16

// Packets that are free after each turn: two full turns of both sockets.
#define POOL_FREE_WANTED 1024
#define POOL_INITIAL 256

// Of clients that are refused unseen: they take the present form of a LeaveRequest.
#define REFUSAL_PROTOCOL 17

struct worker {
    struct worker_conf conf;
    struct room_conf room_conf;
    struct room_env env;
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_wake *sctp_wake;
    struct loop_wake *stop_wake;
    struct mailbox *mail;
    struct mailbox *dtls_done;
    struct outbox outbox;
    struct packet_pool pool;
    struct timer_heap timers;
    struct flow_table flows;
    struct rng rng;
    struct udp_mux mux;
    struct candidates candidates;
    struct thread thread;
    uint16_t port;
    bool shutting_down;
    bool told_shutdown;
    _Atomic uint64_t forwarded, hot_allocations, datagrams_in, unknown_source, send_dropped, turns;
};

static void count(_Atomic uint64_t *c, uint64_t add)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + add,
                          memory_order_relaxed);
}

static void begin_turn(struct worker *w)
{
    w->env.now = loop_now(w->loop);
    w->env.wall = loop_wall(w->loop);
}

// ---- datagrams ------------------------------------------------------------------------------

static struct pc_transport *find_transport(struct worker *w, const struct udp_mux_rx *rx)
{
    struct pc_transport *const t = flow_table_by_addr(&w->flows, &rx->src);
    if (t != NULL && rx->packet->data[0] >= 4) {
        return t;
    }
    // STUN always goes by its ufrag: a restarted or second transport may speak from a known
    // address.
    struct bytes ufrag;
    if (stun_peek_local_ufrag(packet_bytes(rx->packet), &ufrag) == 0) {
        return flow_table_by_ufrag(&w->flows, ufrag);
    }
    return t;
}

static void receive_batch(struct worker *w, size_t socket)
{
    struct udp_mux_rx rx[UDP_RECV_BATCH];
    for (int batch = 0; batch < BATCHES_PER_TURN; batch++) {
        size_t n = 0;
        if (udp_mux_recv(&w->mux, socket, w->env.now, rx, &n) < 0 || n == 0) {
            return;
        }
        for (size_t i = 0; i < n; i++) {
            struct pc_transport *const t = rx[i].packet->len > 0 ? find_transport(w, &rx[i]) : NULL;
            if (t != NULL) {
                pc_transport_input(t, rx[i].local, &rx[i].src, rx[i].packet);
            } else {
                count(&w->unknown_source, 1);
            }
        }
        router_flush(&w->env);
        outbox_flush(&w->outbox);
        udp_mux_release(&w->mux, n);
        count(&w->datagrams_in, n);
        if (n < UDP_RECV_BATCH) {
            return;
        }
    }
}

static void on_readable(struct worker *w, size_t socket)
{
    uint64_t const before = mem_thread_allocations();
    begin_turn(w);
    receive_batch(w, socket);
    count(&w->hot_allocations, mem_thread_allocations() - before);
}

static void on_readable_0(void *user, unsigned events)
{
    (void)events;
    on_readable(user, 0);
}

static void on_readable_1(void *user, unsigned events)
{
    (void)events;
    on_readable(user, 1);
}

// ---- mail -----------------------------------------------------------------------------------

static void shut_down_rooms(struct worker *w)
{
    uint64_t rooms = 0;
    uint64_t asked = 0;
    for (const struct room *r = w->env.rooms; r != NULL; r = r->hh.next) {
        rooms++;
        asked += HASH_COUNT(r->participants);
    }
    if (rooms > 0) {
        log_info(NULL, "worker.leaving", KV_U64("worker", w->conf.index), KV_U64("rooms", rooms),
                 KV_U64("participants", asked));
    }
    w->shutting_down = true;
    while (w->env.rooms != NULL) {
        room_close(w->env.rooms, DISCONNECT_SERVER_SHUTDOWN);
    }
}

static void log_drop(const struct worker *w, const char *where, const char *why, uint64_t n)
{
    if (n > 0) {
        log_info(NULL, "worker.drops", KV_U64("worker", w->conf.index), KV_STR("where", where),
                 KV_STR("why", why), KV_U64("count", n));
    }
}

// What transports dropped before their rooms saw it, of those that are gone and of those that live.
static void log_transport_drops(const struct worker *w)
{
    struct peer_connection_drops sum = w->env.ended_drops;
    uint32_t pos = 0;
    for (const struct pc_transport *t = NULL;
         (t = handle_table_next(&w->env.transports, &pos)) != NULL;) {
        peer_connection_add_drops(t->pc, &sum);
    }
    for (int d = 0; d < PEER_CONNECTION_DROP_COUNT; d++) {
        log_drop(w, "connection", peer_connection_drop_name((enum peer_connection_drop)d),
                 sum.connection[d]);
    }
    for (int d = 0; d < ICE_RX_COUNT; d++) {
        log_drop(w, "ice", ice_rx_name((enum ice_rx)d), sum.ice[d]);
    }
    for (int d = 0; d < SRTP_DROP_COUNT; d++) {
        log_drop(w, "srtp", srtp_drop_name((enum srtp_drop)d), sum.srtp[d]);
    }
}

// What this worker does and has dropped, for an operator who asks (SIGUSR1).
static void log_stats(struct worker *w)
{
    const struct udp_mux_counters *const mux = &w->mux.counters;
    struct packet_pool_stats pool;
    packet_pool_get_stats(&w->pool, &pool);
    log_info(
        NULL, "worker.stats", KV_U64("worker", w->conf.index),
        KV_U64("rooms", HASH_COUNT(w->env.rooms)), KV_U64("transports", w->env.transports.count),
        KV_U64("tracks", w->env.tracks.count), KV_U64("subscriptions", w->env.subscriptions.count),
        KV_U64("forwarded", w->env.forwarded),
        KV_U64("datagrams_in", atomic_load_explicit(&w->datagrams_in, memory_order_relaxed)),
        KV_U64("packets_in_use", pool.packets - pool.packets_free), KV_U64("packets", pool.packets),
        KV_U64("no_memory", w->env.no_memory), KV_U64("requests_held", w->env.requests_held),
        KV_U64("sctp_packets_dropped", sctp_hub_packets_dropped(w->env.sctp)));
    for (int d = 0; d < ROOM_DROP_COUNT; d++) {
        log_drop(w, "room", room_drop_name((enum room_drop)d), w->env.drops[d]);
    }
    log_transport_drops(w);
    log_drop(w, "socket", "unknown_source",
             atomic_load_explicit(&w->unknown_source, memory_order_relaxed));
    log_drop(w, "socket", "send_buffer_full", mux->blocked);
    log_drop(w, "socket", "no_packet_buffer", mux->no_buffer);
    log_drop(w, "socket", "too_many_local_addresses", mux->no_local);
    log_drop(w, "srtp", "not_protected", mux->not_protected);
}

static void on_mail(void *user, void *msg)
{
    struct worker *const w = user;
    struct channel_msg *const m = msg;
    begin_turn(w);
    switch (m->type) {
    case CHANNEL_JOIN:
        if (w->shutting_down) {
            // It was on its way when everybody was sent home.
            signal_send_refusal(&w->env, m->handle, DISCONNECT_SERVER_SHUTDOWN, LEAVE_RECONNECT,
                                REFUSAL_PROTOCOL);
        } else {
            join_session(&w->env, m->handle, &m->u.join);
        }
        break;
    case CHANNEL_REQUEST:
        if (effort_request(&w->env, m)) {
            return; // it waits
        }
        break;
    case CHANNEL_SESSION_CLOSED:
        join_session_closed(&w->env, m->handle);
        break;
    case CHANNEL_API:
        room_api_call(&w->env, m->handle, &m->u.api);
        break;
    case CHANNEL_SHUTDOWN:
        shut_down_rooms(w);
        break;
    case CHANNEL_LOG_STATS:
        log_stats(w);
        break;
    default:
        break;
    }
    channel_msg_free(m);
}

static void on_dtls_done(void *user, void *msg)
{
    struct worker *const w = user;
    struct room_dtls_job *const job = msg;
    begin_turn(w);
    struct pc_transport *const t = handle_table_get(&w->env.transports, job->transport);
    if (t != NULL) {
        pc_transport_dtls_done(t, job->work);
    } else {
        dtls_work_free(job->work);
    }
    mem_free(job);
}

// ---- time -----------------------------------------------------------------------------------

static void drain_sctp(struct worker *w)
{
    for (struct sctp_transport *s = NULL; (s = sctp_hub_next_ready(w->env.sctp)) != NULL;) {
        struct peer_connection *const pc = peer_connection_of_sctp(s);
        pc_transport_sctp_ready(peer_connection_user(pc));
    }
}

static void on_timer(void *user)
{
    struct worker *const w = user;
    begin_turn(w);
    if (mono_reached(sctp_hub_deadline(w->env.sctp), w->env.now)) {
        sctp_hub_tick(w->env.sctp, w->env.now);
        drain_sctp(w);
    }
    for (struct timer *t = NULL; (t = timer_heap_pop(&w->timers, w->env.now)) != NULL;) {
        room_timer_expired(&w->env, t);
    }
}

static void on_sctp_wake(void *user)
{
    begin_turn(user);
    drain_sctp(user);
}

static void on_stop(void *user)
{
    loop_stop(((struct worker *)user)->loop);
}

// Any thread.
static void sctp_wake(void *user)
{
    loop_wake_send(((struct worker *)user)->sctp_wake);
}

// ---- end of a turn --------------------------------------------------------------------------

static void post_messages(struct worker *w)
{
    while (w->env.out_head != NULL) {
        struct channel_msg *const m = w->env.out_head;
        w->env.out_head = m->next;
        if (mailbox_post(w->conf.signalling, m) < 0) {
            channel_msg_free(m);
        }
    }
    w->env.out_tail = NULL;
}

static void submit_handshakes(struct worker *w)
{
    while (w->env.dtls_head != NULL) {
        struct room_dtls_job *const job = w->env.dtls_head;
        w->env.dtls_head = job->next;
        // A step that runs here may leave another one in the list.
        w->env.dtls_tail = job->next != NULL ? w->env.dtls_tail : NULL;
        if (dtls_pool_submit(w->conf.pool, job, w->dtls_done) < 0) {
            // Overload: the step runs here rather than never, which also slows the joins down.
            dtls_work_run(job->work);
            on_dtls_done(w, job);
        }
    }
}

static void tell_shutdown(struct worker *w)
{
    if (w->shutting_down && !w->told_shutdown && w->env.rooms == NULL) {
        struct channel_msg *const m = channel_msg_new(CHANNEL_SHUTDOWN_DONE, HANDLE_NONE);
        if (m != NULL) {
            w->told_shutdown = true;
            room_env_post(&w->env, m);
        }
    }
}

static void on_turn_end(void *user)
{
    struct worker *const w = user;
    router_flush(&w->env);
    outbox_flush(&w->outbox);
    submit_handshakes(w);
    tell_shutdown(w);
    post_messages(w);
    outbox_flush(&w->outbox);
    // Outside of the packet path: the pool grows before it runs dry.
    (void)!packet_pool_grow(&w->pool, POOL_FREE_WANTED);
    atomic_store_explicit(&w->forwarded, w->env.forwarded, memory_order_relaxed);
    atomic_store_explicit(&w->send_dropped, w->mux.counters.blocked, memory_order_relaxed);
    count(&w->turns, 1);
    loop_timer_set(w->timer, mono_min(timer_heap_next(&w->timers), sctp_hub_deadline(w->env.sctp)));
}

// ---- life -----------------------------------------------------------------------------------

static int open_network(struct worker *w, const char **ret_what)
{
    struct udp_mux_conf mc = {.bind_count = w->conf.bind_count, .buffer_size = w->conf.buffer_size};
    memcpy(mc.binds, w->conf.binds, sizeof(mc.binds));
    *ret_what = "bind the UDP port";
    int rc = udp_mux_open(&w->mux, &mc, &w->pool, &w->port);
    if (rc < 0) {
        return rc;
    }
    *ret_what = "find an address to advertise";
    struct candidates_conf cc = w->conf.candidates;
    cc.binds = w->conf.binds;
    cc.bind_count = w->conf.bind_count;
    cc.port = w->port;
    rc = candidates_make(&cc, &w->candidates);
    if (rc < 0) {
        return rc;
    }
    w->room_conf = w->conf.room;
    w->room_conf.candidates = (const char *const *)w->candidates.lines;
    w->room_conf.candidate_count = w->candidates.count;
    w->room_conf.candidates_one = (const char *const *)w->candidates.one;
    w->room_conf.candidate_one_count = w->candidates.one_count;
    return 0;
}

static int open_loop(struct worker *w)
{
    static void (*const readable[UDP_MUX_SOCKETS])(void *, unsigned) = {on_readable_0,
                                                                        on_readable_1};
    w->loop = loop_new();
    if (w->loop == NULL) {
        return -ENOMEM;
    }
    w->timer = loop_timer_new(w->loop, on_timer, w);
    w->sctp_wake = loop_wake_new(w->loop, on_sctp_wake, w);
    w->stop_wake = loop_wake_new(w->loop, on_stop, w);
    w->mail = mailbox_new(w->loop, on_mail, w);
    w->dtls_done = mailbox_new(w->loop, on_dtls_done, w);
    if (w->timer == NULL || w->sctp_wake == NULL || w->stop_wake == NULL || w->mail == NULL ||
        w->dtls_done == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < w->mux.socket_count; i++) {
        w->mux.polls[i] = loop_poll_new(w->loop, w->mux.sockets[i].fd, readable[i], w);
        if (w->mux.polls[i] == NULL) {
            return -ENOMEM;
        }
        loop_poll_set(w->mux.polls[i], LOOP_READ);
    }
    loop_on_turn_end(w->loop, on_turn_end, w);
    return sctp_hub_new(sctp_wake, w, &w->env.sctp);
}

static void init_env(struct worker *w)
{
    uint8_t seed[RNG_SEED_LEN];
    rand_bytes(seed, sizeof(seed));
    rng_seed(&w->rng, seed);
    timer_heap_init(&w->timers);
    flow_table_init(&w->flows, rand_u64());
    w->env = (struct room_env){
        .rng = &w->rng,
        .outbox = &w->outbox,
        .pool = &w->pool,
        .timers = &w->timers,
        .flows = &w->flows,
        .cert = w->conf.cert,
        .fingerprint = w->conf.fingerprint,
        .conf = &w->room_conf,
        .worker = w->conf.index,
    };
    handle_table_init(&w->env.transports, WORKER_TRANSPORTS_MAX);
    handle_table_init(&w->env.subscriptions, WORKER_SUBSCRIPTIONS_MAX);
    handle_table_init(&w->env.tracks, WORKER_TRACKS_MAX);
}

int worker_new(const struct worker_conf *conf, struct worker **ret, const char **ret_what)
{
    struct worker *const w = NEW(struct worker);
    *ret_what = "allocate memory";
    if (w == NULL) {
        return -ENOMEM;
    }
    w->conf = *conf;
    init_env(w);
    int rc = packet_pool_init(&w->pool, conf->packet_max, POOL_INITIAL);
    if (rc == 0) {
        rc = outbox_init(&w->outbox, udp_mux_flush, &w->mux);
    }
    if (rc == 0) {
        rc = open_network(w, ret_what);
    }
    if (rc == 0) {
        *ret_what = "make its event loop";
        rc = open_loop(w);
    }
    if (rc < 0) {
        worker_free(w);
        return rc;
    }
    *ret = w;
    return 0;
}

static void run(void *arg)
{
    struct worker *const w = arg;
    loop_run(w->loop);
}

int worker_start(struct worker *w)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "worker-%u", w->conf.index);
    return thread_start(&w->thread, name, w->conf.cpu, run, w);
}

void worker_post(struct worker *w, struct channel_msg *m)
{
    if (mailbox_post(w->mail, m) < 0) {
        channel_msg_free(m);
    }
}

static void drop_mail(void *user, void *msg)
{
    (void)user;
    channel_msg_free(msg);
}

static void drop_dtls(void *user, void *msg)
{
    (void)user;
    struct room_dtls_job *const job = msg;
    dtls_work_free(job->work);
    mem_free(job);
}

void worker_join(struct worker *w)
{
    if (w->thread.running) {
        loop_wake_send(w->stop_wake);
        thread_join(&w->thread);
    }
}

// After the thread has ended, or without one.
static void end_rooms(struct worker *w)
{
    if (w->loop == NULL || w->env.sctp == NULL) {
        return;
    }
    begin_turn(w);
    shut_down_rooms(w);
    outbox_flush(&w->outbox);
    while (w->env.out_head != NULL) {
        struct channel_msg *const m = w->env.out_head;
        w->env.out_head = m->next;
        channel_msg_free(m);
    }
    while (w->env.dtls_head != NULL) {
        struct room_dtls_job *const job = w->env.dtls_head;
        w->env.dtls_head = job->next;
        drop_dtls(NULL, job);
    }
}

void worker_free(struct worker *w)
{
    if (w == NULL) {
        return;
    }
    end_rooms(w);
    if (w->mail != NULL) {
        mailbox_close(w->mail, drop_mail);
    }
    if (w->dtls_done != NULL) {
        mailbox_close(w->dtls_done, drop_dtls);
    }
    mailbox_free(w->mail);
    mailbox_free(w->dtls_done);
    udp_mux_close(&w->mux);
    loop_timer_free(w->timer);
    sctp_hub_free(w->env.sctp);
    loop_wake_free(w->sctp_wake);
    loop_wake_free(w->stop_wake);
    loop_free(w->loop);
    outbox_done(&w->outbox);
    packet_pool_done(&w->pool);
    flow_table_done(&w->flows);
    timer_heap_done(&w->timers);
    handle_table_done(&w->env.transports);
    handle_table_done(&w->env.subscriptions);
    handle_table_done(&w->env.tracks);
    candidates_done(&w->candidates);
    mem_free(w);
}

uint16_t worker_port(const struct worker *w)
{
    return w->port;
}

const struct candidates *worker_candidates(const struct worker *w)
{
    return &w->candidates;
}

const char *worker_srtp_name(const struct worker *w)
{
    return srtp_batch_name(w->mux.srtp);
}

void worker_get_stats(const struct worker *w, struct worker_stats *ret)
{
    *ret = (struct worker_stats){
        .forwarded = atomic_load_explicit(&w->forwarded, memory_order_relaxed),
        .hot_allocations = atomic_load_explicit(&w->hot_allocations, memory_order_relaxed),
        .datagrams_in = atomic_load_explicit(&w->datagrams_in, memory_order_relaxed),
        .unknown_source = atomic_load_explicit(&w->unknown_source, memory_order_relaxed),
        .send_dropped = atomic_load_explicit(&w->send_dropped, memory_order_relaxed),
        .turns = atomic_load_explicit(&w->turns, memory_order_relaxed),
    };
}
