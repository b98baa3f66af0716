// SPDX-License-Identifier: Apache-2.0
// Load for the floor forwarder: as many sockets and the same packet pattern as the load generator
// has for foci-sfu, without everything that is not media. Every received packet is counted by its
// number, one of DECRYPT_ONE_OF is decrypted and compared.
//
//   floor_load --port N [--seed N] [--publishers N] [--subscribers N] [--meeting] [--pps N]
//              [--packet-size BYTES] [--burst N] [--warmup S] [--seconds S]
//
// Publishers do not subscribe, except with --meeting, where everybody does both and sends audio
// too. Prints a line of JSON at the start and at the end of the measured time, with nothing under
// way at both moments. Exit status 1 when a decrypted packet is wrong.

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/floor.h"
#include "tests/bench/floor_gcm.h"

#define RX_BATCH 32 // as the load generator
#define RX_CAP 2048
#define RX_BUFFER (1 << 20)
#define DECRYPT_ONE_OF 64u
#define EVENTS 64
#define QUIET_MS 200 // as the load generator
#define AUDIO_SIZE 92
#define AUDIO_INTERVAL_NS 20000000
#define HELLO_TRIES 50
#define HELLO_WAIT_MS 100
#define NS_PER_S 1000000000

// One publisher's stream at one subscriber.
struct stream {
    uint64_t first, highest, received; // extended sequence numbers
};

struct peer {
    int fd;
    struct stream *streams; // one for each publisher
    struct floor_gcm *out, *in;
    uint8_t out_salt[FLOOR_SALT_LEN], in_salt[FLOOR_SALT_LEN];
    uint64_t sent;
    int64_t next_burst, next_audio; // monotonic ns
};

static struct {
    int port, publishers, subscribers, pps, packet_size, burst, warmup, seconds;
    bool meeting;
    uint64_t seed;
} opt = {.seed = 1,
         .publishers = 1,
         .subscribers = 10,
         .pps = 1000,
         .packet_size = 1150,
         .burst = 1,
         .warmup = 1,
         .seconds = 5};

static struct peer *peers;
static uint32_t peer_count;
static uint64_t wrong;

static struct mmsghdr msg[RX_BATCH];
static struct iovec iov[RX_BATCH];
static uint8_t data[RX_BATCH][RX_CAP];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

// ---- receiving ----------------------------------------------------------------------------------

// What publisher p's packet number n holds behind the header: anything that differs and can be made
// again.
static uint8_t filler(uint32_t publisher)
{
    return (uint8_t)(0x40 + publisher);
}

static void check_content(struct peer *p, uint8_t *d, size_t len, uint32_t publisher,
                          uint64_t index)
{
    uint8_t iv[FLOOR_SALT_LEN];
    uint8_t *const payload = d + FLOOR_RTP_HEADER;
    size_t const n = len - FLOOR_RTP_HEADER - FLOOR_TAG_LEN;
    floor_iv(iv, p->in_salt, floor_be32(d + 8), index);
    bool ok = floor_gcm_open(p->in, payload, payload, n, iv, d, FLOOR_RTP_HEADER, payload + n) &&
              (len == (size_t)opt.packet_size + FLOOR_TAG_LEN || len == AUDIO_SIZE + FLOOR_TAG_LEN);
    for (size_t i = 0; ok && i < n; i++) {
        ok = payload[i] == filler(publisher);
    }
    wrong += !ok;
}

static void on_packet(struct peer *p, uint8_t *d, size_t len)
{
    uint32_t const publisher =
        len > FLOOR_RTP_HEADER + FLOOR_TAG_LEN ? floor_be32(d + 8) - floor_ssrc(0) : UINT32_MAX;
    if (publisher >= (uint32_t)opt.publishers) {
        return;
    }
    struct stream *const s = &p->streams[publisher];
    uint16_t const sn = (uint16_t)(d[2] << 8 | d[3]);
    uint64_t const index =
        s->received == 0 ? sn
                         : s->highest + (uint64_t)(int64_t)(int16_t)(sn - (uint16_t)s->highest);
    if (s->received == 0) {
        s->first = index;
    }
    s->highest = index > s->highest ? index : s->highest;
    s->received++;
    if (index % DECRYPT_ONE_OF == 0) {
        check_content(p, d, len, publisher, index);
    }
}

static void receive(struct peer *p)
{
    for (size_t i = 0; i < RX_BATCH; i++) {
        iov[i] = (struct iovec){.iov_base = data[i], .iov_len = RX_CAP};
        msg[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    int const n = recvmmsg(p->fd, msg, RX_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        on_packet(p, data[i], msg[i].msg_len);
    }
}

static uint64_t received_by_all(void)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < peer_count; i++) {
        for (int k = 0; k < opt.publishers; k++) {
            n += peers[i].streams[k].received;
        }
    }
    return n;
}

static uint64_t sent_by_all(void)
{
    uint64_t n = 0;
    for (int i = 0; i < opt.publishers; i++) {
        n += peers[i].sent;
    }
    return n;
}

// ---- sending ------------------------------------------------------------------------------------

static void send_burst(uint32_t publisher, int count, size_t size)
{
    static uint8_t out[RX_BATCH][RX_CAP];
    struct mmsghdr m[RX_BATCH];
    struct iovec v[RX_BATCH];
    struct peer *const p = &peers[publisher];
    size_t const n = size - FLOOR_RTP_HEADER;
    uint32_t const timestamp = (uint32_t)(now_ns() / 11111); // 90 kHz
    for (int i = 0; i < count; i++) {
        uint8_t *const d = out[i];
        uint8_t iv[FLOOR_SALT_LEN];
        uint64_t const index = p->sent++;
        memcpy(d, (uint8_t[]){0x80, 96, (uint8_t)(index >> 8), (uint8_t)index}, 4);
        floor_put32(d + 4, timestamp);
        floor_put32(d + 8, floor_ssrc(publisher));
        memset(d + FLOOR_RTP_HEADER, filler(publisher), n);
        floor_iv(iv, p->out_salt, floor_ssrc(publisher), index);
        floor_gcm_seal(p->out, d + FLOOR_RTP_HEADER, d + FLOOR_RTP_HEADER, n, iv, d,
                       FLOOR_RTP_HEADER, d + size);
        v[i] = (struct iovec){.iov_base = d, .iov_len = size + FLOOR_TAG_LEN};
        m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
    }
    (void)sendmmsg(p->fd, m, (unsigned)count, 0);
}

static void schedule(int64_t start)
{
    for (int i = 0; i < opt.publishers; i++) {
        // Shifted, so that several publishers do not send at the same moment.
        peers[i].next_burst = start + (int64_t)NS_PER_S * opt.burst / opt.pps * i / opt.publishers;
        peers[i].next_audio =
            opt.meeting ? start + (int64_t)AUDIO_INTERVAL_NS * i / opt.publishers : INT64_MAX;
    }
}

// Sends what is due and returns when the next burst is.
static int64_t send_due(int64_t now)
{
    int64_t const interval = (int64_t)NS_PER_S * opt.burst / opt.pps;
    int64_t next = INT64_MAX;
    for (int i = 0; i < opt.publishers; i++) {
        struct peer *const p = &peers[i];
        while (p->next_burst <= now) {
            send_burst((uint32_t)i, opt.burst, (size_t)opt.packet_size);
            p->next_burst += interval;
        }
        while (p->next_audio <= now) {
            send_burst((uint32_t)i, 1, AUDIO_SIZE);
            p->next_audio += AUDIO_INTERVAL_NS;
        }
        next = p->next_burst < next ? p->next_burst : next;
        next = p->next_audio < next ? p->next_audio : next;
    }
    return next;
}

// ---- life ---------------------------------------------------------------------------------------

static void introduce(const struct peer *p, uint32_t index, uint32_t flags)
{
    struct floor_hello const h = {htonl(FLOOR_MAGIC), htonl(index), htonl(flags)};
    struct timeval const wait = {.tv_usec = HELLO_WAIT_MS * 1000};
    struct floor_hello answer;
    (void)setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    for (int i = 0; i < HELLO_TRIES; i++) {
        if (send(p->fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h) &&
            recv(p->fd, &answer, sizeof(answer), 0) == (ssize_t)sizeof(answer)) {
            return;
        }
    }
    errno = ETIMEDOUT;
    fail("no answer from the forwarder");
}

static void open_peer(uint32_t index)
{
    struct peer *const p = &peers[index];
    struct sockaddr_in const at = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)opt.port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct floor_keys const out = floor_keys_of(opt.seed, index, FLOOR_TO_SERVER);
    struct floor_keys const in = floor_keys_of(opt.seed, index, FLOOR_TO_PEER);
    bool const publishes = index < (uint32_t)opt.publishers;
    int const size = RX_BUFFER;
    p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    p->streams = calloc((size_t)opt.publishers, sizeof(*p->streams));
    p->out = floor_gcm_new(out.key);
    p->in = floor_gcm_new(in.key);
    if (p->fd < 0 || p->streams == NULL || p->out == NULL || p->in == NULL ||
        connect(p->fd, (const struct sockaddr *)&at, sizeof(at)) < 0) {
        fail("peer");
    }
    if (setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0) {
        (void)setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    memcpy(p->out_salt, out.salt, sizeof(p->out_salt));
    memcpy(p->in_salt, in.salt, sizeof(p->in_salt));
    introduce(p, index,
              (publishes ? FLOOR_PUBLISHES : 0) |
                  (!publishes || opt.meeting ? FLOOR_SUBSCRIBES : 0));
}

static int open_all(void)
{
    int const poll = epoll_create1(EPOLL_CLOEXEC);
    peer_count = (uint32_t)opt.publishers + (opt.meeting ? 0 : (uint32_t)opt.subscribers);
    peers = calloc(peer_count, sizeof(*peers));
    if (poll < 0 || peers == NULL) {
        fail("start");
    }
    for (uint32_t i = 0; i < peer_count; i++) {
        open_peer(i);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &peers[i]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, peers[i].fd, &e) < 0) {
            fail("epoll");
        }
    }
    return poll;
}

static void run_for(int poll, int timer, int64_t ms, bool sending)
{
    struct epoll_event events[EVENTS];
    int64_t const start = now_ns();
    int64_t const end = start + ms * 1000000;
    schedule(start);
    for (int64_t now = start; now < end; now = now_ns()) {
        int64_t const next = sending ? send_due(now) : end;
        int64_t const wake = next < end ? next : end;
        struct itimerspec const at = {
            .it_value = {.tv_sec = wake / NS_PER_S, .tv_nsec = wake % NS_PER_S}};
        (void)timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
        int const n = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            uint64_t expirations;
            if (events[i].data.ptr != NULL) {
                receive(events[i].data.ptr);
            } else if (read(timer, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN) {
                fail("timer");
            }
        }
    }
}

static void announce(const char *event)
{
    (void)printf("{\"event\": \"%s\"}\n", event);
    (void)fflush(stdout);
}

static void run(void)
{
    int const poll = open_all();
    int const timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN};
    if (timer < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, timer, &e) < 0) {
        fail("timer");
    }
    run_for(poll, timer, opt.warmup * 1000, true);
    run_for(poll, timer, QUIET_MS, false);
    uint64_t const received = received_by_all();
    uint64_t const sent = sent_by_all();
    announce("window_start");
    run_for(poll, timer, QUIET_MS, false);
    run_for(poll, timer, opt.seconds * 1000, true);
    run_for(poll, timer, QUIET_MS, false);
    announce("window_end");
    uint64_t const receivers = peer_count - (opt.meeting ? 1u : (uint32_t)opt.publishers);
    (void)printf("{\"event\": \"result\", \"received\": %llu, \"expected\": %llu, "
                 "\"content_errors\": %llu}\n",
                 (unsigned long long)(received_by_all() - received),
                 (unsigned long long)((sent_by_all() - sent) * receivers),
                 (unsigned long long)wrong);
    (void)fflush(stdout);
}

static const struct option options[] = {
    {"port", required_argument, NULL, 'p'},
    {"seed", required_argument, NULL, 's'},
    {"publishers", required_argument, NULL, 'P'},
    {"subscribers", required_argument, NULL, 'S'},
    {"meeting", no_argument, NULL, 'm'},
    {"pps", required_argument, NULL, 'r'},
    {"packet-size", required_argument, NULL, 'z'},
    {"burst", required_argument, NULL, 'b'},
    {"warmup", required_argument, NULL, 'w'},
    {"seconds", required_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

static int *number_of(int option)
{
    switch (option) {
    case 'p':
        return &opt.port;
    case 'P':
        return &opt.publishers;
    case 'S':
        return &opt.subscribers;
    case 'r':
        return &opt.pps;
    case 'z':
        return &opt.packet_size;
    case 'b':
        return &opt.burst;
    case 'w':
        return &opt.warmup;
    case 't':
        return &opt.seconds;
    default:
        return NULL;
    }
}

static bool parse(int argc, char **argv)
{
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int *const number = number_of(o);
        if (number != NULL) {
            *number = (int)strtol(optarg, NULL, 10);
        } else if (o == 's') {
            opt.seed = strtoull(optarg, NULL, 10);
        } else if (o == 'm') {
            opt.meeting = true;
        } else {
            return false;
        }
    }
    return opt.port > 0 && opt.port < 65536 && opt.publishers > 0 &&
           opt.publishers <= (int)FLOOR_MAX_PUBLISHERS && opt.subscribers >= 0 &&
           opt.publishers + opt.subscribers <= (int)FLOOR_MAX_PEERS && opt.pps > 0 &&
           opt.burst > 0 && opt.burst <= RX_BATCH && opt.packet_size > (int)FLOOR_RTP_HEADER &&
           opt.packet_size <= 1400 && opt.warmup >= 0 && opt.seconds > 0;
}

int main(int argc, char **argv)
{
    struct rlimit l;
    if (!parse(argc, argv)) {
        (void)fputs("floor_load: bad options; the head of floor_load.c lists them\n", stderr);
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
    (void)floor_gcm_init(false);
    run();
    return wrong > 0 ? 1 : 0;
}
