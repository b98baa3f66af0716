// SPDX-License-Identifier: Apache-2.0
// Load for foci-jwt: token requests by HTTP/1.1, each for another user.
//
//   jwt_load --port N --server NAME [--pid PID] [--connections N] [--new] [--rate N] [--seconds S]
//            [--warmup S] [--once] [--probe]
//
// Without --rate each connection sends its next request when the last one was answered; with it so
// many requests a second are due, and their time counts from then, whether or not a connection was
// free. --new: a new connection for each request. --once: one request on each connection, all at
// once; lines of JSON say when all are sent and when they have waited for a second. --probe: asks /healthz all the time, on a new
// connection every 10 ms. At the end a line of JSON with the result; cpu_us is what the process PID
// used in the measured time.

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "tests/bench/jwt_http.h"
#include "tests/support/histogram.h"

#define EVENTS 256
#define IN_MAX 4096 // an answer has about 900 bytes
#define OUT_MAX 1024
#define CONNECTING_MAX 256 // --once: handshakes at once, so that no backlog overflows
#define PROBE_US 10000
#define TICK_US 500
#define SOURCES 200 // addresses 127.0.0.1 and up, so that ports do not run out

enum state { IDLE, CONNECTING, WAITING, DONE };

struct conn {
    enum state state;
    bool probe;
    int fd; // -1: not connected
    int64_t due;
    size_t in_n;
    char in[IN_MAX];
};

static struct {
    int port, pid, connections, rate, seconds, warmup;
    bool fresh, once, probe;
    const char *server;
} opt = {.connections = 32, .seconds = 4, .warmup = 1};

static struct {
    int epoll, timer;
    struct conn *conns;
    struct conn probe;
    int *idle; // with a rate: those that may send
    int idle_n;
    int next;       // --once: the next one to connect
    int connecting; // --once
    int sent, answered;
    unsigned long users, sources;
    bool counting;
    unsigned long ok, failed;
    int64_t next_due;
    struct histogram latency, probes;
    struct histogram coming, waiting; // --once: of the probes, before and while all wait
} s;

// CPU of all threads of the process, ns.
static uint64_t cpu_of(int pid)
{
    char path[64];
    uint64_t all = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *const d = pid ? opendir(path) : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char file[400];
        (void)snprintf(file, sizeof(file), "%s/%s/schedstat", path, e->d_name);
        FILE *const f = isdigit((unsigned char)e->d_name[0]) ? fopen(file, "r") : NULL;
        unsigned long ns = 0;
        if (f) {
            all += fscanf(f, "%lu", &ns) == 1 ? ns : 0;
            (void)fclose(f);
        }
    }
    if (d) {
        (void)closedir(d);
    }
    return all;
}

// ---- requests -------------------------------------------------------------------------------

static void watch(struct conn *c, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(s.epoll, op, c->fd, &e) < 0) {
        die("epoll_ctl");
    }
}

static void open_conn(struct conn *c)
{
    int const one = 1;
    struct sockaddr_in to = loopback(opt.port);
    struct sockaddr_in from = loopback(0);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(s.sources++ % SOURCES));
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        die("socket");
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
        (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)) {
        die("connect");
    }
    c->state = CONNECTING;
    c->in_n = 0;
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void send_request(struct conn *c)
{
    char out[OUT_MAX];
    char body[512];
    int n;
    if (c->probe) {
        n = snprintf(out, sizeof(out), "GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n");
    } else {
        int const b =
            snprintf(body, sizeof(body),
                     "{\"room\":\"!benchmarkroom:example.org\",\"openid_token\":{\"access_token\":"
                     "\"u%lu:%s\","
                     "\"token_type\":\"Bearer\",\"matrix_server_name\":\"%s\",\"expires_in\":3600},"
                     "\"device_id\":\"DEVICEID01\"}",
                     s.users++, opt.server, opt.server);
        n = snprintf(out, sizeof(out),
                     "POST /sfu/get HTTP/1.1\r\nHost: bench\r\nUser-Agent: Mozilla/5.0 (X11; Linux "
                     "x86_64)\r\nOrigin: https://call.example.org\r\nAccept: */*\r\n"
                     "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                     b, body);
    }
    if (send(c->fd, out, (size_t)n, MSG_NOSIGNAL) != n) {
        die("send");
    }
    c->state = WAITING;
    s.sent += !c->probe;
}

// Sends as soon as it is connected.
static void begin(struct conn *c, int64_t due)
{
    c->due = due;
    if (c->fd < 0) {
        open_conn(c);
    } else {
        send_request(c);
    }
}

static void close_conn(struct conn *c)
{
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    c->fd = -1;
    c->state = IDLE;
}

static void next_of(struct conn *c)
{
    if (opt.fresh) {
        close_conn(c);
    }
    c->state = IDLE;
    if (opt.rate > 0) {
        s.idle[s.idle_n++] = (int)(c - s.conns);
    } else {
        begin(c, now_us());
    }
}

static void answered(struct conn *c, bool ok)
{
    int64_t const took = now_us() - c->due;
    if (c->probe) {
        histogram_add(&s.probes, ok ? took : UINT32_MAX);
        close_conn(c);
        return;
    }
    s.answered++;
    if (s.counting) {
        *(ok ? &s.ok : &s.failed) += 1;
        histogram_add(&s.latency, took);
    }
    if (opt.once) {
        c->state = DONE;
    } else {
        next_of(c);
    }
}

static void receive(struct conn *c)
{
    size_t body = 0;
    ssize_t const n = recv(c->fd, c->in + c->in_n, sizeof(c->in) - c->in_n, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        bool const lost = c->state == WAITING || c->state == CONNECTING;
        close_conn(c);
        if (lost) {
            answered(c, false);
        }
        return;
    }
    c->in_n += (size_t)n;
    size_t const all = message_length(c->in, c->in_n, &body);
    if (all > 0 && c->state == WAITING) {
        bool const ok = c->in_n >= 12 && memcmp(c->in + 9, "200", 3) == 0;
        c->in_n = 0;
        answered(c, ok);
    }
}

static void on_event(struct conn *c, uint32_t events)
{
    if (c->state == CONNECTING && (events & EPOLLOUT)) {
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        s.connecting -= !c->probe;
        send_request(c);
    } else if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        receive(c);
    }
}

// ---- time -----------------------------------------------------------------------------------

static void send_due(int64_t now)
{
    if (opt.probe && s.probe.state == IDLE && now - s.probe.due >= PROBE_US) {
        begin(&s.probe, now);
    }
    while (opt.once && s.next < opt.connections && s.connecting < CONNECTING_MAX) {
        s.connecting++;
        begin(&s.conns[s.next++], now_us());
    }
    while (opt.rate > 0 && s.next_due <= now && s.idle_n > 0) {
        begin(&s.conns[s.idle[--s.idle_n]], s.next_due);
        s.next_due += US_A_SECOND / opt.rate;
    }
}

// Serves what is there, for one tick at most.
static void turn(void)
{
    struct epoll_event events[EVENTS];
    uint64_t ticks;
    int const n = epoll_wait(s.epoll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr) {
            on_event(events[i].data.ptr, events[i].events);
        } else {
            (void)!read(s.timer, &ticks, sizeof(ticks));
        }
    }
    send_due(now_us());
}

static void run_for(int seconds)
{
    int64_t const end = now_us() + (int64_t)seconds * US_A_SECOND;
    while (now_us() < end) {
        turn();
    }
}

static void run_once(void)
{
    while (s.sent < opt.connections) {
        turn();
    }
    printf("{\"event\":\"sent\"}\n");
    (void)fflush(stdout);
    run_for(1); // until those who were accepted last are served as well
    s.coming = s.probes;
    histogram_reset(&s.probes);
    printf("{\"event\":\"waiting\"}\n");
    (void)fflush(stdout);
    while (s.answered == 0) {
        turn();
    }
    s.waiting = s.probes;
    histogram_reset(&s.probes);
    while (s.answered < opt.connections) {
        turn();
    }
}

static void start(void)
{
    struct itimerspec const tick = {.it_interval.tv_nsec = TICK_US * 1000,
                                    .it_value.tv_nsec = TICK_US * 1000};
    struct epoll_event e = {.events = EPOLLIN};
    s.epoll = epoll_create1(EPOLL_CLOEXEC);
    s.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    s.conns = calloc((size_t)opt.connections, sizeof(*s.conns));
    s.idle = calloc((size_t)opt.connections, sizeof(*s.idle));
    if (s.epoll < 0 || s.timer < 0 || !s.conns || !s.idle ||
        timerfd_settime(s.timer, 0, &tick, NULL) < 0 ||
        epoll_ctl(s.epoll, EPOLL_CTL_ADD, s.timer, &e) < 0) {
        die("start");
    }
    s.probe = (struct conn){.probe = true, .fd = -1};
    s.next_due = now_us();
    for (int i = 0; i < opt.connections; i++) {
        s.conns[i].fd = -1;
        if (opt.rate > 0) {
            s.idle[s.idle_n++] = i;
        } else if (!opt.once) {
            begin(&s.conns[i], now_us());
        }
    }
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, 0, 'p'},
                                            {"server", required_argument, 0, 'S'},
                                            {"pid", required_argument, 0, 'P'},
                                            {"connections", required_argument, 0, 'c'},
                                            {"new", no_argument, 0, 'n'},
                                            {"rate", required_argument, 0, 'r'},
                                            {"seconds", required_argument, 0, 's'},
                                            {"warmup", required_argument, 0, 'w'},
                                            {"once", no_argument, 0, 'o'},
                                            {"probe", no_argument, 0, 'b'},
                                            {0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int const number = optarg ? (int)strtol(optarg, NULL, 10) : 0;
        switch (o) {
        case 'p':
            opt.port = number;
            break;
        case 'S':
            opt.server = optarg;
            break;
        case 'P':
            opt.pid = number;
            break;
        case 'c':
            opt.connections = number;
            break;
        case 'n':
            opt.fresh = true;
            break;
        case 'r':
            opt.rate = number;
            break;
        case 's':
            opt.seconds = number;
            break;
        case 'w':
            opt.warmup = number;
            break;
        case 'o':
            opt.once = true;
            break;
        case 'b':
            opt.probe = true;
            break;
        default:
            exit(2);
        }
    }
    if (opt.port <= 0 || !opt.server || opt.connections <= 0) {
        (void)fprintf(stderr, "jwt_load: --port, --server and --connections are needed\n");
        exit(2);
    }
}

static void print_times(const char *what, const struct histogram *h)
{
    printf("\"%s\":{\"n\":%llu,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u},", what,
           (unsigned long long)h->count, histogram_percentile(h, 500), histogram_percentile(h, 990),
           h->max);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    start();
    if (!opt.once) {
        run_for(opt.warmup);
    }
    s.counting = true;
    int64_t const began = now_us();
    uint64_t const cpu = cpu_of(opt.pid);
    if (opt.once) {
        run_once();
    } else {
        run_for(opt.seconds);
    }
    uint64_t const used = cpu_of(opt.pid) - cpu;
    printf("{\"event\":\"result\",\"ok\":%lu,\"failed\":%lu,\"us\":%lld,\"cpu_us\":%llu,", s.ok,
           s.failed, (long long)(now_us() - began), (unsigned long long)used / 1000);
    print_times("latency", &s.latency);
    print_times("coming", &s.coming);
    print_times("waiting", &s.waiting);
    print_times("probes", &s.probes);
    printf("\"end\":true}\n");
    return 0;
}
