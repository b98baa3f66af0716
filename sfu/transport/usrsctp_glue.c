// SPDX-License-Identifier: Apache-2.0
#include "sfu/transport/usrsctp_glue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <usrsctp.h>

#include "common/base/hash.h"

// Packets that wait for their owner; more are dropped as if lost (its thread is stuck then).
#define PACKETS_MAX 1024
// A message, or a part of one, taken at a time: the largest that we announce in one piece.
#define RECEIVE_MAX 65536
// media-plane 9.4. The minimum is above the time by which peers delay their acknowledgements (200 ms):
// an odd packet at the end of a flight would time out otherwise, and each time-out begins with one
// packet, which is odd again.
#define RTO_INITIAL_MS 1000
#define RTO_MIN_MS 400
// A path that comes back (resume, another network) is found by the next repetition: soon. How long a
// peer may be gone is ICE's to decide, which knows of restarts: over 60 s in repetitions, longer than
// a transport may take to come back.
#define RTO_MAX_MS 1000
#define ASSOC_RTX_MAX 60
#define INIT_RTX_MAX 60
// A port here for each association, see local_port.
#define PORT_FIRST 1024u
#define PORT_COUNT 60000u
// RFC 9260 section 3.1: source port, destination port, verification tag, checksum.
#define HEADER_LEN 12
#define HEADER_DESTINATION 2
#define HEADER_CHECKSUM 8
// usrsctp's 200 ms make senders wait whose buffer counts what is unacknowledged.
#define DELAYED_SACK_MS 20
#define INITIAL_CWND 10 // packets, as TCP's (RFC 6928)
// usrsctp's limit of four packets a SACK cuts the congestion window down to what that lets through:
// 1.5 MB/s instead of 8 at a round trip of 30 ms (100 MiB from one client to another, simulated).
#define NO_BURST_LIMIT 0

struct usrsctp_glue_hub {
    void (*wake)(void *user);
    void *user;
    struct usrsctp_glue_assoc *ready; // doubly linked
    uint64_t packets_dropped;
};

struct usrsctp_glue_assoc {
    uintptr_t id;
    UT_hash_handle hh;
    struct usrsctp_glue_hub *hub;
    void *user;
    struct socket *sock;
    uint16_t port; // on the wire
    bool is_ready; // on the hub's list
    bool broken;   // an item was lost
    struct usrsctp_glue_assoc *prev, *next;
    struct usrsctp_glue_packet *packets; // head of a list with tail pointer
    struct usrsctp_glue_packet **packets_tail;
    size_t packet_count;
    struct usrsctp_glue_item *items;
    struct usrsctp_glue_item **items_tail;
};

// Everything below is guarded by `lock`.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool started;
    uintptr_t last_id;
    struct usrsctp_glue_assoc *table;
    struct usrsctp_glue_hub *calling_hub;     // whose thread is inside the library
    struct usrsctp_glue_assoc *calling_assoc; // what it drains by itself afterwards
    bool ticked;
    mono_t last_tick;
    uint8_t received[RECEIVE_MAX];
} global;

static void enter(struct usrsctp_glue_hub *h, struct usrsctp_glue_assoc *a)
{
    (void)pthread_mutex_lock(&lock);
    global.calling_hub = h;
    global.calling_assoc = a;
}

static void leave(void)
{
    global.calling_hub = NULL;
    global.calling_assoc = NULL;
    (void)pthread_mutex_unlock(&lock);
}

static struct usrsctp_glue_assoc *find(uintptr_t id)
{
    struct usrsctp_glue_assoc *a = NULL;
    HASH_FIND(hh, global.table, &id, sizeof(id), a);
    return a;
}

// There is something for the owner of `a` that it does not know of yet.
static void mark_ready(struct usrsctp_glue_assoc *a)
{
    if (a == global.calling_assoc || a->is_ready) {
        return;
    }
    bool const first = a->hub->ready == NULL;
    DL_APPEND(a->hub->ready, a);
    a->is_ready = true;
    if (first && a->hub != global.calling_hub && a->hub->wake != NULL) {
        a->hub->wake(a->hub->user);
    }
}

// ---- ports ----------------------------------------------------------------------------------

// All associations have one port on the wire. usrsctp finds the endpoint of an INIT, and what a new one
// might collide with, in a hash table of ports: with a thousand under one port that was a third of what
// an association costs, and it grew with their number. So each has another port here, and packets
// are rewritten on their way. The checksum covers the ports: it is checked and made here as well.
static uint16_t local_port(const struct usrsctp_glue_assoc *a)
{
    return (uint16_t)(PORT_FIRST + a->id % PORT_COUNT);
}

static void put_port(uint8_t *at, uint16_t port)
{
    struct wr w = wr_init(at, sizeof(port));
    wr_be16(&w, port);
}

static uint32_t checksum_of(uint8_t *packet, size_t n)
{
    memset(packet + HEADER_CHECKSUM, 0, sizeof(uint32_t));
    return usrsctp_crc32c(packet, n);
}

static void to_wire(const struct usrsctp_glue_assoc *a, uint8_t *packet, size_t n)
{
    put_port(packet, a->port);
    uint32_t const sum = checksum_of(packet, n);
    memcpy(packet + HEADER_CHECKSUM, &sum, sizeof(sum));
}

// False for a packet that is not for this association, or damaged.
static bool from_wire(const struct usrsctp_glue_assoc *a, uint8_t *packet, size_t n)
{
    uint32_t sum = 0;
    if (n < HEADER_LEN) {
        return false;
    }
    struct rd r = rd_init(bytes_of(packet + HEADER_DESTINATION, sizeof(uint16_t)));
    memcpy(&sum, packet + HEADER_CHECKSUM, sizeof(sum));
    if (rd_be16(&r) != a->port || checksum_of(packet, n) != sum) {
        return false;
    }
    put_port(packet + HEADER_DESTINATION, local_port(a));
    return true;
}

// ---- callbacks of usrsctp: always inside enter/leave ----------------------------------------

static int on_output(void *addr, void *data, size_t len, uint8_t tos, uint8_t set_df)
{
    (void)tos;
    (void)set_df;
    struct usrsctp_glue_assoc *const a = find((uintptr_t)addr);
    if (a == NULL || len < HEADER_LEN) {
        return 0;
    }
    struct usrsctp_glue_packet *const p =
        a->packet_count < PACKETS_MAX ? mem_alloc(sizeof(*p) + len) : NULL;
    if (p == NULL) {
        a->hub->packets_dropped++; // as if lost
        return 0;
    }
    p->len = len;
    memcpy(p->data, data, len);
    to_wire(a, p->data, len);
    *a->packets_tail = p;
    a->packets_tail = &p->next;
    a->packet_count++;
    mark_ready(a);
    return 0;
}

// Takes data over.
static void push_item(struct usrsctp_glue_assoc *a, struct usrsctp_glue_item item)
{
    struct usrsctp_glue_item *const i = NEW(struct usrsctp_glue_item);
    if (i == NULL) {
        mem_free(item.data);
        a->broken = true;
        mark_ready(a);
        return;
    }
    *i = item;
    *a->items_tail = i;
    a->items_tail = &i->next;
    mark_ready(a);
}

static void on_assoc_change(struct usrsctp_glue_assoc *a, const struct sctp_assoc_change *c)
{
    switch (c->sac_state) {
    case SCTP_COMM_UP:
        push_item(a, (struct usrsctp_glue_item){.kind = USRSCTP_GLUE_UP});
        break;
    case SCTP_COMM_LOST:
    case SCTP_SHUTDOWN_COMP:
    case SCTP_CANT_STR_ASSOC:
        push_item(a, (struct usrsctp_glue_item){.kind = USRSCTP_GLUE_DOWN});
        break;
    default: // restart: the streams go on
        break;
    }
}

static void on_stream_reset(struct usrsctp_glue_assoc *a, const struct sctp_stream_reset_event *e)
{
    bool const failed =
        (e->strreset_flags & (SCTP_STREAM_RESET_DENIED | SCTP_STREAM_RESET_FAILED)) != 0;
    size_t const n = (e->strreset_length - sizeof(*e)) / sizeof(uint16_t);
    for (size_t i = 0; i < n; i++) {
        struct usrsctp_glue_item item = {.sid = e->strreset_stream_list[i]};
        if (e->strreset_flags & SCTP_STREAM_RESET_INCOMING_SSN) {
            item.kind = USRSCTP_GLUE_RESET_IN;
        } else {
            item.kind = failed ? USRSCTP_GLUE_RESET_FAILED : USRSCTP_GLUE_RESET_OUT;
        }
        push_item(a, item);
    }
}

static void on_notification(struct usrsctp_glue_assoc *a, const void *data, size_t len)
{
    const union sctp_notification *const n = data;
    if (len < sizeof(n->sn_header) || len != n->sn_header.sn_length) {
        return;
    }
    switch (n->sn_header.sn_type) {
    case SCTP_ASSOC_CHANGE:
        on_assoc_change(a, &n->sn_assoc_change);
        break;
    case SCTP_STREAM_RESET_EVENT:
        on_stream_reset(a, &n->sn_strreset_event);
        break;
    case SCTP_SHUTDOWN_EVENT:
        push_item(a, (struct usrsctp_glue_item){.kind = USRSCTP_GLUE_DOWN});
        break;
    default:
        break;
    }
}

static uint32_t host32(uint32_t network)
{
    uint8_t b[4];
    memcpy(b, &network, sizeof(b));
    struct rd r = rd_init(bytes_of(b, sizeof(b)));
    return rd_be32(&r);
}

static uint32_t network32(uint32_t host)
{
    uint8_t b[4];
    uint32_t network = 0;
    struct wr w = wr_init(b, sizeof(b));
    wr_be32(&w, host);
    memcpy(&network, b, sizeof(network));
    return network;
}

static uint16_t network16(uint16_t host)
{
    uint8_t b[2];
    uint16_t network = 0;
    struct wr w = wr_init(b, sizeof(b));
    wr_be16(&w, host);
    memcpy(&network, b, sizeof(network));
    return network;
}

// Something happened to an association by a timer: its owner comes and looks.
static void on_upcall(struct socket *sock, void *arg, int flags)
{
    (void)sock;
    (void)flags;
    struct usrsctp_glue_assoc *const a = find((uintptr_t)arg);
    if (a != NULL) {
        mark_ready(a);
    }
}

// ---- receiving ------------------------------------------------------------------------------

// -1 with errno, or what usrsctp has next: at most RECEIVE_MAX bytes of a message, or a notification.
static ssize_t receive_once(struct usrsctp_glue_assoc *a, struct sctp_rcvinfo *info, int *flags)
{
    struct sockaddr_conn from;
    socklen_t from_len = sizeof(from);
    socklen_t info_len = sizeof(*info);
    unsigned int info_type = 0;
    *flags = 0;
    *info = (struct sctp_rcvinfo){0};
    return usrsctp_recvv(a->sock, global.received, sizeof(global.received),
                         (struct sockaddr *)&from, &from_len, info, &info_len, &info_type, flags);
}

// Turns what is next into items, perhaps none; false when there is nothing.
static bool receive(struct usrsctp_glue_assoc *a)
{
    struct sctp_rcvinfo info;
    int flags = 0;
    ssize_t n = receive_once(a, &info, &flags);
    if (n < 0 && errno != EWOULDBLOCK) {
        n = receive_once(a, &info, &flags); // the error is told once, in front of its notification
    }
    if (n <= 0) {
        return false;
    }
    if (flags & MSG_NOTIFICATION) {
        on_notification(a, global.received, (size_t)n);
        return true;
    }
    uint8_t *const data = mem_alloc((size_t)n);
    if (data == NULL) {
        a->broken = true;
        return false;
    }
    memcpy(data, global.received, (size_t)n);
    push_item(a, (struct usrsctp_glue_item){
                     .kind = USRSCTP_GLUE_MESSAGE,
                     .sid = info.rcv_sid,
                     .ppid = host32(info.rcv_ppid),
                     .eor = (flags & MSG_EOR) != 0,
                     .data = data,
                     .len = (size_t)n,
                 });
    return true;
}

// ---- start ----------------------------------------------------------------------------------

static void start_stack(void)
{
    if (global.started) {
        return;
    }
    usrsctp_init_nothreads(0, on_output, NULL);
    usrsctp_enable_crc32c_offload(); // see local_port
    // Extensions that WebRTC does not use (RFC 8831 section 5) are code that a peer need not reach.
    usrsctp_sysctl_set_sctp_ecn_enable(0);
    usrsctp_sysctl_set_sctp_asconf_enable(0);
    usrsctp_sysctl_set_sctp_auto_asconf(0);
    usrsctp_sysctl_set_sctp_auth_enable(0);
    usrsctp_sysctl_set_sctp_nrsack_enable(0);
    usrsctp_sysctl_set_sctp_pktdrop_enable(0);
    usrsctp_sysctl_set_sctp_cmt_on_off(0);
    usrsctp_sysctl_set_sctp_pr_enable(1);
    usrsctp_sysctl_set_sctp_reconfig_enable(1);
    usrsctp_sysctl_set_sctp_delayed_sack_time_default(DELAYED_SACK_MS);
    usrsctp_sysctl_set_sctp_initial_cwnd(INITIAL_CWND);
    usrsctp_sysctl_set_sctp_max_burst_default(NO_BURST_LIMIT);
    usrsctp_sysctl_set_sctp_rto_initial_default(RTO_INITIAL_MS);
    usrsctp_sysctl_set_sctp_init_rto_max_default(RTO_MAX_MS);
    usrsctp_sysctl_set_sctp_rto_min_default(RTO_MIN_MS);
    usrsctp_sysctl_set_sctp_rto_max_default(RTO_MAX_MS);
    usrsctp_sysctl_set_sctp_assoc_rtx_max_default(ASSOC_RTX_MAX);
    usrsctp_sysctl_set_sctp_path_rtx_max_default(ASSOC_RTX_MAX);
    usrsctp_sysctl_set_sctp_init_rtx_max_default(INIT_RTX_MAX);
    global.started = true;
}

int usrsctp_glue_hub_new(void (*wake)(void *user), void *user, struct usrsctp_glue_hub **ret)
{
    struct usrsctp_glue_hub *const h = NEW(struct usrsctp_glue_hub);
    if (h == NULL) {
        return -ENOMEM;
    }
    h->wake = wake;
    h->user = user;
    enter(h, NULL);
    start_stack();
    leave();
    *ret = h;
    return 0;
}

void usrsctp_glue_hub_free(struct usrsctp_glue_hub *h)
{
    if (h != NULL) {
        assert(h->ready == NULL);
        mem_free(h);
    }
}

void usrsctp_glue_tick(struct usrsctp_glue_hub *h, mono_t now, int64_t granularity_ms)
{
    enter(h, NULL);
    int64_t const elapsed_ms = global.ticked ? mono_diff_ms(now, global.last_tick) : 0;
    if (!global.ticked) {
        global.ticked = true;
        global.last_tick = now;
    } else if (elapsed_ms >= granularity_ms) {
        global.last_tick = mono_add_ms(global.last_tick, elapsed_ms);
        usrsctp_handle_timers((uint32_t)elapsed_ms);
    }
    leave();
}

void *usrsctp_glue_next_ready(struct usrsctp_glue_hub *h)
{
    void *user = NULL;
    enter(h, NULL);
    struct usrsctp_glue_assoc *const a = h->ready;
    if (a != NULL) {
        DL_DELETE(h->ready, a);
        a->is_ready = false;
        user = a->user;
    }
    leave();
    return user;
}

// ---- association ----------------------------------------------------------------------------

static bool set_option(struct socket *s, int option, const void *value, size_t n)
{
    return usrsctp_setsockopt(s, IPPROTO_SCTP, option, value, (socklen_t)n) == 0;
}

static bool subscribe(struct socket *s)
{
    static const uint16_t types[] = {SCTP_ASSOC_CHANGE, SCTP_STREAM_RESET_EVENT,
                                     SCTP_SHUTDOWN_EVENT};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct sctp_event const e = {
            .se_assoc_id = SCTP_ALL_ASSOC, .se_type = types[i], .se_on = 1};
        if (!set_option(s, SCTP_EVENT, &e, sizeof(e))) {
            return false;
        }
    }
    return true;
}

static bool configure(struct socket *s, const struct usrsctp_glue_params *p)
{
    struct linger const linger = {.l_onoff = 1, .l_linger = 0};
    struct sctp_assoc_value const reset = {
        .assoc_id = SCTP_ALL_ASSOC,
        .assoc_value = SCTP_ENABLE_RESET_STREAM_REQ | SCTP_ENABLE_RESET_ASSOC_REQ |
                       SCTP_ENABLE_CHANGE_ASSOC_REQ,
    };
    struct sctp_initmsg const init = {.sinit_num_ostreams = p->streams,
                                      .sinit_max_instreams = p->streams};
    uint32_t const on = 1;
    int const send_buffer = (int)p->send_buffer;
    int const receive_buffer = (int)p->receive_buffer;
    return usrsctp_set_non_blocking(s, 1) == 0 &&
           usrsctp_setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0 &&
           usrsctp_setsockopt(s, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer)) == 0 &&
           usrsctp_setsockopt(s, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer)) ==
               0 &&
           set_option(s, SCTP_NODELAY, &on, sizeof(on)) &&
           set_option(s, SCTP_RECVRCVINFO, &on, sizeof(on)) &&
           set_option(s, SCTP_ENABLE_STREAM_RESET, &reset, sizeof(reset)) &&
           set_option(s, SCTP_INITMSG, &init, sizeof(init)) && subscribe(s);
}

static bool connect_to_peer(struct usrsctp_glue_assoc *a, const struct usrsctp_glue_params *p)
{
    struct sockaddr_conn addr = {
        .sconn_family = AF_CONN,
        .sconn_port = network16(local_port(a)),
        .sconn_addr = (void *)a->id,
    };
    if (usrsctp_bind(a->sock, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        return false;
    }
    addr.sconn_port = network16(p->port);
    if (usrsctp_connect(a->sock, (struct sockaddr *)&addr, sizeof(addr)) != 0 &&
        errno != EINPROGRESS) {
        return false;
    }
    // No heartbeats of ours: ICE knows when a peer is gone, and an association that has nothing to
    // say then has no timer. usrsctp looks at all of them at each tick, of which there are a hundred a
    // second while anybody's data moves.
    struct sctp_paddrparams path = {
        .spp_hbinterval = p->heartbeat_ms,
        .spp_pathmtu = p->mtu,
        .spp_flags = SPP_PMTUD_DISABLE | (p->heartbeat_ms != 0 ? SPP_HB_ENABLE : SPP_HB_DISABLE),
    };
    memcpy(&path.spp_address, &addr, sizeof(addr));
    return set_option(a->sock, SCTP_PEER_ADDR_PARAMS, &path, sizeof(path));
}

static int open_locked(struct usrsctp_glue_assoc *a, const struct usrsctp_glue_params *params)
{
    if (global.table == NULL) {
        global.ticked = false; // nothing ran on the old clock
    }
    a->id = ++global.last_id;
    HASH_ADD(hh, global.table, id, sizeof(a->id), a);
    if (find(a->id) != a) {
        return -ENOMEM;
    }
    usrsctp_register_address((void *)a->id);
    a->sock = usrsctp_socket(AF_CONN, SOCK_STREAM, IPPROTO_SCTP, NULL, NULL, 0, NULL);
    if (a->sock == NULL || usrsctp_set_upcall(a->sock, on_upcall, (void *)a->id) != 0) {
        return -ENOMEM;
    }
    return configure(a->sock, params) && connect_to_peer(a, params) ? 0 : -EIO;
}

int usrsctp_glue_open(struct usrsctp_glue_hub *h, void *user,
                      const struct usrsctp_glue_params *params, struct usrsctp_glue_assoc **ret)
{
    struct usrsctp_glue_assoc *const a = NEW(struct usrsctp_glue_assoc);
    if (a == NULL) {
        return -ENOMEM;
    }
    a->hub = h;
    a->user = user;
    a->port = params->port;
    a->packets_tail = &a->packets;
    a->items_tail = &a->items;
    enter(h, a);
    int const e = open_locked(a, params);
    leave();
    if (e < 0) {
        usrsctp_glue_close(a);
        return e;
    }
    *ret = a;
    return 0;
}

void usrsctp_glue_close(struct usrsctp_glue_assoc *a)
{
    if (a == NULL) {
        return;
    }
    enter(a->hub, a);
    if (find(a->id) == a) {
        HASH_DEL(global.table, a); // from here on callbacks find nothing
        if (a->sock != NULL) {
            usrsctp_close(a->sock);
        }
        usrsctp_deregister_address((void *)a->id);
    }
    if (a->is_ready) {
        DL_DELETE(a->hub->ready, a);
    }
    leave();
    for (struct usrsctp_glue_packet *p = a->packets, *next = NULL; p != NULL; p = next) {
        next = p->next;
        mem_free(p);
    }
    for (struct usrsctp_glue_item *i = a->items, *next = NULL; i != NULL; i = next) {
        next = i->next;
        usrsctp_glue_item_free(i);
    }
    mem_free(a);
}

// ---- in and out -----------------------------------------------------------------------------

void usrsctp_glue_input(struct usrsctp_glue_assoc *a, struct bytes packet)
{
    enter(a->hub, a);
    uint8_t *const copy = global.received; // nothing is received meanwhile
    if (packet.n <= sizeof(global.received)) {
        memcpy(copy, packet.p, packet.n);
        if (from_wire(a, copy, packet.n)) {
            usrsctp_conninput((void *)a->id, copy, packet.n, 0);
        }
    }
    leave();
}

struct usrsctp_glue_packet *usrsctp_glue_take_packet(struct usrsctp_glue_assoc *a)
{
    enter(a->hub, a);
    struct usrsctp_glue_packet *const p = a->packets;
    if (p != NULL) {
        a->packets = p->next;
        a->packet_count--;
        if (a->packets == NULL) {
            a->packets_tail = &a->packets;
        }
    }
    leave();
    return p;
}

struct usrsctp_glue_item *usrsctp_glue_take_item(struct usrsctp_glue_assoc *a)
{
    enter(a->hub, a);
    while (a->items == NULL && !a->broken && receive(a)) {
    }
    struct usrsctp_glue_item *const i = a->items;
    if (i != NULL) {
        a->items = i->next;
        if (a->items == NULL) {
            a->items_tail = &a->items;
        }
    }
    leave();
    return i;
}

uint64_t usrsctp_glue_packets_dropped(const struct usrsctp_glue_hub *h)
{
    return h->packets_dropped;
}

bool usrsctp_glue_is_broken(const struct usrsctp_glue_assoc *a)
{
    return a->broken;
}

void usrsctp_glue_item_free(struct usrsctp_glue_item *i)
{
    if (i != NULL) {
        mem_free(i->data);
        mem_free(i);
    }
}

int usrsctp_glue_send(struct usrsctp_glue_assoc *a, const struct usrsctp_glue_message *m)
{
    static const uint16_t policies[] = {SCTP_PR_SCTP_NONE, SCTP_PR_SCTP_RTX, SCTP_PR_SCTP_TTL};
    assert(m->reliability_kind < ARRAY_LEN(policies));
    struct sctp_sendv_spa spa = {
        .sendv_flags = SCTP_SEND_SNDINFO_VALID | SCTP_SEND_PRINFO_VALID,
        .sendv_sndinfo = {.snd_sid = m->sid, .snd_ppid = network32(m->ppid), .snd_flags = SCTP_EOR},
        .sendv_prinfo = {.pr_policy = policies[m->reliability_kind], .pr_value = m->reliability},
    };
    if (m->unordered) {
        spa.sendv_sndinfo.snd_flags |= SCTP_UNORDERED;
    }
    enter(a->hub, a);
    ssize_t const n =
        usrsctp_sendv(a->sock, m->data.p, m->data.n, NULL, 0, &spa, sizeof(spa), SCTP_SENDV_SPA, 0);
    int const err = n < 0 ? errno : 0;
    leave();
    if (n >= 0) {
        return 0;
    }
    return err == EWOULDBLOCK ? -EAGAIN : -EIO;
}

int usrsctp_glue_reset_stream(struct usrsctp_glue_assoc *a, uint16_t sid)
{
    _Alignas(struct sctp_reset_streams)
        uint8_t buf[sizeof(struct sctp_reset_streams) + sizeof(sid)] = {0};
    struct sctp_reset_streams *const r = (void *)buf;
    r->srs_assoc_id = SCTP_ALL_ASSOC;
    r->srs_flags = SCTP_STREAM_RESET_OUTGOING;
    r->srs_number_streams = 1;
    r->srs_stream_list[0] = sid;
    enter(a->hub, a);
    bool const ok = set_option(a->sock, SCTP_RESET_STREAMS, buf, sizeof(buf));
    int const err = errno;
    leave();
    if (ok) {
        return 0;
    }
    return err == EALREADY || err == EINPROGRESS || err == EAGAIN ? -EAGAIN : -EIO;
}

// usrsctp answers this read-only option like all its relatives, but usrsctp.h forgets to declare
// it.
#define GET_SNDBUF_USE 0x00001101
struct sockstat {
    sctp_assoc_t assoc_id;
    uint32_t total_sndbuf; // waiting and sent without acknowledgement
    uint32_t total_recv_buf;
};

size_t usrsctp_glue_queued(struct usrsctp_glue_assoc *a)
{
    struct sockstat stat = {.assoc_id = SCTP_FUTURE_ASSOC};
    socklen_t n = sizeof(stat);
    enter(a->hub, a);
    bool const ok = usrsctp_getsockopt(a->sock, IPPROTO_SCTP, GET_SNDBUF_USE, &stat, &n) == 0;
    leave();
    return ok ? stat.total_sndbuf : 0;
}
