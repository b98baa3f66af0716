// SPDX-License-Identifier: Apache-2.0
// The floor: the least work that forwards a call. One thread, no signalling, no ICE, no DTLS, no
// RTCP, no history: epoll and recvmmsg, SRTP in, a rewritten header and SRTP (AEAD_AES_128_GCM) out
// for each subscriber, sendmmsg with UDP_SEGMENT. foci-sfu is measured beside it. Peers introduce
// themselves as floor.h says.
//
//   floor_forwarder [--seed N] [--libcrypto]     binds 127.0.0.1 at a free port and prints it; ends
//   with SIGTERM

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/floor.h"
#include "tests/bench/floor_gcm.h"

#define RX_BATCH 32 // more gains nothing (measured)
#define RX_CAP 2048
#define TX_PACKETS 256 // a ring that stays in the cache; larger ones cost more (measured)
#define TX_CAP 1536
#define GSO_MAX_SEGMENTS 64  // UDP_MAX_SEGMENTS of the kernel
#define GSO_MAX_BYTES 65000u // below 65,507, the largest UDP payload
#define ADDR_SLOTS 16384u    // power of two, four times the peers
#define SOCKET_BUFFER (16 << 20)

struct peer {
    struct sockaddr_in addr;
    uint32_t flags;
    uint8_t in_salt[FLOOR_SALT_LEN], out_salt[FLOOR_SALT_LEN];
    struct floor_gcm *in, *out;
    uint64_t in_index;                        // highest extended sequence number seen
    uint32_t out_index[FLOOR_MAX_PUBLISHERS]; // next one, for each publisher's stream
};

struct source {
    uint8_t *data; // decrypted packet
    size_t len;
    uint32_t publisher;
};

static struct peer *peers[FLOOR_MAX_PEERS];
static uint32_t peer_count;          // highest index + 1
static uint16_t by_addr[ADDR_SLOTS]; // index + 1
static uint64_t seed = 1;
static int fd = -1;
static volatile sig_atomic_t stopped;

static uint8_t rx_data[RX_BATCH][RX_CAP];
static struct mmsghdr rx_msg[RX_BATCH];
static struct iovec rx_iov[RX_BATCH];
static struct sockaddr_in rx_addr[RX_BATCH];

static uint8_t tx_data[TX_PACKETS * TX_CAP];
static size_t tx_used, tx_packets;
static struct mmsghdr tx_msg[TX_PACKETS];
static struct iovec tx_iov[TX_PACKETS];
static union {
    struct cmsghdr header; // alignment
    uint8_t room[CMSG_SPACE(sizeof(uint16_t))];
} tx_control[TX_PACKETS];
static uint16_t tx_segment[TX_PACKETS];
static size_t tx_count; // messages

static struct {
    unsigned long long in, out, refused, bad;
} counters;

// ---- peers --------------------------------------------------------------------------------------

static uint32_t addr_slot(const struct sockaddr_in *a)
{
    uint32_t const x =
        (a->sin_addr.s_addr ^ ((uint32_t)a->sin_port << 16 | a->sin_port)) * 0x9e3779b1u;
    return x >> 18; // the 14 highest bits: below ADDR_SLOTS
}

static uint32_t find_peer(const struct sockaddr_in *a)
{
    for (uint32_t i = addr_slot(a);; i = (i + 1) % ADDR_SLOTS) {
        if (by_addr[i] == 0) {
            return FLOOR_MAX_PEERS;
        }
        const struct peer *const p = peers[by_addr[i] - 1];
        if (p->addr.sin_port == a->sin_port && p->addr.sin_addr.s_addr == a->sin_addr.s_addr) {
            return by_addr[i] - 1u;
        }
    }
}

static struct peer *add_peer(uint32_t index, const struct sockaddr_in *a)
{
    struct peer *const p = calloc(1, sizeof(*p));
    struct floor_keys const in = floor_keys_of(seed, index, FLOOR_TO_SERVER);
    struct floor_keys const out = floor_keys_of(seed, index, FLOOR_TO_PEER);
    if (p == NULL || (p->in = floor_gcm_new(in.key)) == NULL ||
        (p->out = floor_gcm_new(out.key)) == NULL) {
        (void)fputs("floor: out of memory\n", stderr);
        exit(1);
    }
    memcpy(p->in_salt, in.salt, sizeof(p->in_salt));
    memcpy(p->out_salt, out.salt, sizeof(p->out_salt));
    p->addr = *a;
    uint32_t i = addr_slot(a);
    while (by_addr[i] != 0) {
        i = (i + 1) % ADDR_SLOTS;
    }
    by_addr[i] = (uint16_t)(index + 1);
    peers[index] = p;
    peer_count = index >= peer_count ? index + 1 : peer_count;
    return p;
}

static void on_hello(const uint8_t *data, size_t len, const struct sockaddr_in *a)
{
    struct floor_hello h;
    if (len != sizeof(h)) {
        return;
    }
    memcpy(&h, data, sizeof(h));
    uint32_t const index = ntohl(h.index);
    if (ntohl(h.magic) != FLOOR_MAGIC || index >= FLOOR_MAX_PEERS) {
        return;
    }
    struct peer *const p = peers[index] != NULL ? peers[index] : add_peer(index, a);
    p->flags = ntohl(h.flags);
    (void)sendto(fd, data, len, 0, (const struct sockaddr *)a, sizeof(*a));
}

// ---- in -----------------------------------------------------------------------------------------

static uint64_t extend(uint64_t highest, uint16_t sn)
{
    int16_t const step = (int16_t)(uint16_t)(sn - (uint16_t)highest);
    return highest + (uint64_t)(int64_t)step;
}

// Decrypts in place. False: not from a publisher, or not authentic.
static bool accept_packet(uint8_t *data, size_t len, const struct sockaddr_in *a,
                          struct source *ret)
{
    uint32_t const index = find_peer(a);
    if (index >= FLOOR_MAX_PUBLISHERS || len <= FLOOR_RTP_HEADER + FLOOR_TAG_LEN ||
        (data[0] & 0xc0) != 0x80) {
        return false;
    }
    struct peer *const p = peers[index];
    uint8_t iv[FLOOR_SALT_LEN];
    uint64_t const sn = extend(p->in_index, (uint16_t)(data[2] << 8 | data[3]));
    size_t const n = len - FLOOR_RTP_HEADER - FLOOR_TAG_LEN;
    uint8_t *const payload = data + FLOOR_RTP_HEADER;
    floor_iv(iv, p->in_salt, floor_be32(data + 8), sn);
    if ((p->flags & FLOOR_PUBLISHES) == 0 ||
        !floor_gcm_open(p->in, payload, payload, n, iv, data, FLOOR_RTP_HEADER, payload + n)) {
        return false;
    }
    p->in_index = sn > p->in_index ? sn : p->in_index;
    *ret = (struct source){.data = data, .len = len - FLOOR_TAG_LEN, .publisher = index};
    return true;
}

// ---- out ----------------------------------------------------------------------------------------

static void prepare_messages(void)
{
    for (size_t i = 0; i < tx_count; i++) {
        struct msghdr *const m = &tx_msg[i].msg_hdr;
        m->msg_iov = &tx_iov[i];
        m->msg_iovlen = 1;
        m->msg_control = NULL;
        m->msg_controllen = 0;
        if (tx_iov[i].iov_len > tx_segment[i]) {
            m->msg_control = &tx_control[i];
            m->msg_controllen = sizeof(tx_control[i].room);
            struct cmsghdr *const c = CMSG_FIRSTHDR(m);
            c->cmsg_level = SOL_UDP;
            c->cmsg_type = UDP_SEGMENT;
            c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
            memcpy(CMSG_DATA(c), &tx_segment[i], sizeof(uint16_t));
        }
    }
}

static void flush(void)
{
    size_t done = 0;
    prepare_messages();
    while (done < tx_count) {
        int const n = sendmmsg(fd, tx_msg + done, (unsigned)(tx_count - done), 0);
        counters.refused += n <= 0;
        done += n > 0 ? (size_t)n : 1;
    }
    counters.out += tx_packets;
    tx_used = tx_packets = tx_count = 0;
}

// Appends len bytes at the end of the ring to the last message if it goes to the same peer and
// holds equal segments.
static void append(const struct peer *p, size_t len)
{
    struct iovec *const last = tx_count > 0 ? &tx_iov[tx_count - 1] : NULL;
    if (last != NULL && tx_msg[tx_count - 1].msg_hdr.msg_name == &p->addr &&
        len == tx_segment[tx_count - 1] && last->iov_len + len <= GSO_MAX_BYTES &&
        last->iov_len / len < GSO_MAX_SEGMENTS) {
        last->iov_len += len;
    } else {
        tx_iov[tx_count] = (struct iovec){.iov_base = tx_data + tx_used, .iov_len = len};
        tx_segment[tx_count] = (uint16_t)len;
        tx_msg[tx_count].msg_hdr.msg_name = (void *)(uintptr_t)&p->addr;
        tx_msg[tx_count].msg_hdr.msg_namelen = sizeof(p->addr);
        tx_count++;
    }
    tx_used += len;
    tx_packets++;
}

static void forward(struct peer *p, const struct source *s)
{
    uint8_t iv[FLOOR_SALT_LEN];
    if (tx_packets == TX_PACKETS) {
        flush();
    }
    uint8_t *const out = tx_data + tx_used;
    uint32_t const index = p->out_index[s->publisher]++;
    size_t const n = s->len - FLOOR_RTP_HEADER;
    memcpy(out, s->data, FLOOR_RTP_HEADER);
    out[2] = (uint8_t)(index >> 8);
    out[3] = (uint8_t)index;
    floor_put32(out + 8, floor_ssrc(s->publisher));
    floor_iv(iv, p->out_salt, floor_ssrc(s->publisher), index);
    floor_gcm_seal(p->out, out + FLOOR_RTP_HEADER, s->data + FLOOR_RTP_HEADER, n, iv, out,
                   FLOOR_RTP_HEADER, out + s->len);
    append(p, s->len + FLOOR_TAG_LEN);
}

static void fan_out(const struct source *s, size_t n)
{
    for (uint32_t i = 0; i < peer_count; i++) {
        struct peer *const p = peers[i];
        if (p == NULL || (p->flags & FLOOR_SUBSCRIBES) == 0) {
            continue;
        }
        for (size_t k = 0; k < n; k++) {
            if (s[k].publisher != i) {
                forward(p, &s[k]);
            }
        }
    }
    if (tx_count > 0) {
        flush();
    }
}

// ---- loop ---------------------------------------------------------------------------------------

static bool receive(void)
{
    struct source batch[RX_BATCH];
    size_t n = 0;
    for (size_t i = 0; i < RX_BATCH; i++) {
        rx_iov[i] = (struct iovec){.iov_base = rx_data[i], .iov_len = RX_CAP};
        rx_msg[i].msg_hdr = (struct msghdr){.msg_name = &rx_addr[i],
                                            .msg_namelen = sizeof(rx_addr[i]),
                                            .msg_iov = &rx_iov[i],
                                            .msg_iovlen = 1};
    }
    int const got = recvmmsg(fd, rx_msg, RX_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++) {
        size_t const len = rx_msg[i].msg_len;
        if (len > 0 && rx_data[i][0] == FLOOR_MAGIC >> 24) {
            on_hello(rx_data[i], len, &rx_addr[i]);
        } else if (accept_packet(rx_data[i], len, &rx_addr[i], &batch[n])) {
            n++;
        } else {
            counters.bad++;
        }
    }
    counters.in += n;
    fan_out(batch, n);
    return got == RX_BATCH;
}

static void on_signal(int signum)
{
    (void)signum;
    stopped = 1;
}

static int open_socket(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int const size = SOCKET_BUFFER;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
        return -1;
    }
    // Larger than the system's limit where that is allowed, as foci-sfu's sockets.
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    return ntohs(at.sin_port);
}

int main(int argc, char **argv)
{
    bool libcrypto_only = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--libcrypto") == 0) {
            libcrypto_only = true;
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            (void)fputs("usage: floor_forwarder [--seed N] [--libcrypto]\n", stderr);
            return 2;
        }
    }
    struct sigaction const action = {.sa_handler = on_signal};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    const char *const name = floor_gcm_init(libcrypto_only);
    int const port = open_socket();
    int const poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (port < 0 || poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) < 0) {
        perror("floor");
        return 1;
    }
    (void)printf("floor: port %d, %s\n", port, name);
    (void)fflush(stdout);
    while (!stopped) {
        if (epoll_wait(poll, &event, 1, -1) == 1) {
            while (receive()) {
            }
        }
    }
    (void)printf("{\"in\": %llu, \"out\": %llu, \"refused\": %llu, \"bad\": %llu}\n", counters.in,
                 counters.out, counters.refused, counters.bad);
    return 0;
}
