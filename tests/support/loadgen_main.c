// SPDX-License-Identifier: Apache-2.0
// LINK: support lk svc
// The load generator: test clients that publish and subscribe in one room of a running SFU, and
// what came through.
//
// Prints one JSON object a line, each with `event` and the monotonic time `t_us`, for a harness
// that reads the server's counters at these moments:
//
//   start         before the first client joins
//   joined        all are connected and know their streams; nothing is published yet
//   flowing       every stream has brought something
//   window_start  nothing is under way; publishing begins QUIET_MS later
//   window_end    publishing ended, everything that was to come has come
//   result        the last line: the figures of the window
//
// Every subscriber is checked for loss and order by the headers of what it gets; one in
// --sample-every decrypts its packets and checks each byte, and gives the latencies. Exit status 0
// when everybody joined and all streams flowed.
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "common/base/mem.h"
#include "common/svc/jsonx.h"
#include "common/sys/clock.h"
#include "tests/support/loadgen_options.h"
#include "tests/support/test_client.h"

#define POLL_MS 20
// What is under way arrives within this: NACK and RTX on loopback take 40 ms (nack_queue.h).
#define QUIET_MS 200
#define FLOW_MS 15000
#define LEAVE_MS 300
// Room for sockets: signalling, media, and for v0 a second one.
#define DESCRIPTORS_MAX (1u << 17)
#define RTP_HEADER 12 // --packet-size counts it, but no header extensions
#define AUDIO_BYTES 80
#define FAILURES_TOLD 5u

enum phase {
    PHASE_JOIN,
    PHASE_FLOW,
    PHASE_WARMUP,
    PHASE_QUIET,
    PHASE_ARMED,
    PHASE_WINDOW,
    PHASE_DRAIN,
    PHASE_LEAVE
};

// Counters of everybody together.
struct totals {
    struct client_stream_stats rx;
    uint64_t sent;
    uint64_t socket_drops;
};

struct load {
    struct conf *conf;
    struct loop *loop;
    struct client_net *net;
    struct loop_timer *timer;
    struct test_client *clients[LOADGEN_CLIENTS_MAX];
    uint32_t count, started, publishers;
    uint32_t failed;
    bool meeting;
    enum phase phase;
    mono_t begun, phase_ends;
    struct histogram join_us;
    struct totals before, after;
    mono_t window_start, window_end;
    int64_t cpu_start_us, cpu_us;
    bool gave_up;
};

static int64_t int_of(const struct load *l, enum loadgen_item i)
{
    return conf_int(l->conf, i);
}

// ---- output -------------------------------------------------------------------------------------

static void print(struct jsonx *j)
{
    char *const text = jsonx_dump(j, 0, NULL);
    (void)printf("%s\n", text != NULL ? text : "{}");
    (void)fflush(stdout);
    mem_free(text);
    jsonx_free(j);
}

static struct jsonx *event(const char *name)
{
    struct jsonx *const j = jsonx_new_object();
    (void)jsonx_set_cstr(j, "event", name);
    (void)jsonx_set_int(j, "t_us", clock_mono().us);
    return j;
}

static void put(struct jsonx *j, const char *key, uint64_t v)
{
    (void)jsonx_set_int(j, key, (int64_t)v);
}

static void put_joins(const struct load *l, struct jsonx *j)
{
    put(j, "clients", l->count);
    put(j, "joined", l->join_us.count);
    put(j, "failed", l->failed);
    (void)jsonx_set_real(j, "join_ms_p50", histogram_percentile(&l->join_us, 500) / 1000.0);
    (void)jsonx_set_real(j, "join_ms_p99", histogram_percentile(&l->join_us, 990) / 1000.0);
    (void)jsonx_set_real(j, "join_ms_max", l->join_us.max / 1000.0);
}

// Copies of what was published that had to arrive.
static uint64_t expected_of(const struct load *l, uint64_t sent)
{
    uint64_t const receivers = l->meeting ? l->count - 1 : l->count - l->publishers;
    return sent * receivers;
}

static void print_result(const struct load *l)
{
    const struct client_stream_stats *const a = &l->before.rx;
    const struct client_stream_stats *const b = &l->after.rx;
    struct jsonx *const j = event("result");
    uint64_t const sent = l->after.sent - l->before.sent;
    uint64_t const expected = expected_of(l, sent);
    uint64_t const received = b->received - a->received;
    int64_t const us = mono_diff_us(l->window_end, l->window_start);
    put_joins(l, j);
    put(j, "published", sent);
    put(j, "expected", expected);
    put(j, "received", received);
    // Without repetition nothing that was missing comes back; the rest of these tell what happened
    // on the way.
    (void)jsonx_set_real(j, "loss",
                         expected > 0 ? MAX(0.0, 1.0 - (double)received / (double)expected) : 0.0);
    put(j, "missing", b->missing - a->missing);
    put(j, "lost_first", b->lost_first - a->lost_first);
    put(j, "recovered", b->recovered - a->recovered);
    put(j, "duplicates", b->duplicates - a->duplicates);
    put(j, "reordered", b->reordered - a->reordered);
    put(j, "rtx", b->rtx - a->rtx);
    put(j, "jumps", b->jumps - a->jumps);
    put(j, "checked", b->checked - a->checked);
    put(j, "content_errors", b->content_errors - a->content_errors + b->foreign - a->foreign);
    put(j, "order_errors",
        b->counter_errors - a->counter_errors + b->picture_errors - a->picture_errors);
    put(j, "socket_drops", l->after.socket_drops - l->before.socket_drops);
    put(j, "latency_p50_us", histogram_percentile(&l->net->latency, 500));
    put(j, "latency_p99_us", histogram_percentile(&l->net->latency, 990));
    put(j, "latency_p999_us", histogram_percentile(&l->net->latency, 999));
    put(j, "latency_max_us", l->net->latency.max);
    put(j, "window_start_us", (uint64_t)l->window_start.us);
    put(j, "window_end_us", (uint64_t)l->window_end.us);
    (void)jsonx_set_real(j, "packets_per_second",
                         us > 0 ? (double)received * 1e6 / (double)us : 0.0);
    put(j, "generator_cpu_us", (uint64_t)l->cpu_us);
    print(j);
}

// ---- clients ------------------------------------------------------------------------------------

static void on_event(void *user, struct test_client *c, enum test_client_event e)
{
    struct load *const l = user;
    const struct test_client_status *const s = test_client_status(c);
    if (e == TEST_CLIENT_CONNECTED) {
        histogram_add(&l->join_us, mono_diff_us(s->connected_at, s->started_at));
    } else if ((e == TEST_CLIENT_FAILED || e == TEST_CLIENT_ENDED ||
                e == TEST_CLIENT_SIGNAL_LOST) &&
               l->phase != PHASE_LEAVE) {
        if (l->failed++ >= FAILURES_TOLD) {
            return;
        }
        (void)fprintf(stderr, "loadgen: a client failed: %s\n",
                      e == TEST_CLIENT_SIGNAL_LOST ? "socket lost" : s->text);
    }
}

static bool publishes(const struct load *l, uint32_t i)
{
    return l->meeting || i < l->publishers;
}

static bool subscribes(const struct load *l, uint32_t i)
{
    return l->meeting || i >= l->publishers;
}

static uint32_t tracks_each(const struct load *l)
{
    return (int_of(l, LOADGEN_PPS) > 0 ? 1u : 0u) +
           (l->meeting || conf_bool(l->conf, LOADGEN_AUDIO) ? 1u : 0u);
}

static uint32_t streams_wanted(const struct load *l, uint32_t i)
{
    return !subscribes(l, i) ? 0 : tracks_each(l) * (l->meeting ? l->count - 1 : l->publishers);
}

static int publish(struct load *l, struct test_client *c)
{
    int rc = 0;
    int64_t const pps = int_of(l, LOADGEN_PPS);
    if (l->meeting || conf_bool(l->conf, LOADGEN_AUDIO)) {
        struct client_track_conf audio = CLIENT_TRACK_OPUS;
        audio.layer[0].packet_size = AUDIO_BYTES;
        rc = test_client_publish(c, &audio, NULL);
    }
    if (rc == 0 && pps > 0) {
        int64_t const burst = int_of(l, LOADGEN_BURST);
        struct client_track_conf const video = {
            .layers = 1,
            .interval_us = (uint32_t)(US_PER_S * burst / pps),
            .layer = {{1280, 720, (uint16_t)burst,
                       (uint16_t)(int_of(l, LOADGEN_PACKET_SIZE) - RTP_HEADER)}},
        };
        rc = test_client_publish(c, &video, NULL);
    }
    // Held back until all are there: joins are measured without media.
    test_client_pause(c, true);
    return rc;
}

static int start_client(struct load *l, uint32_t i)
{
    char identity[32];
    bool const sampled =
        i % (uint32_t)int_of(l, LOADGEN_SAMPLE_EVERY) ==
        (l->meeting ? 0 : l->publishers) % (uint32_t)int_of(l, LOADGEN_SAMPLE_EVERY);
    (void)snprintf(identity, sizeof(identity), "load-%u", i);
    char *const token =
        client_signal_mint(conf_str(l->conf, LOADGEN_KEY), conf_str(l->conf, LOADGEN_SECRET),
                           conf_str(l->conf, LOADGEN_ROOM), identity);
    struct test_client_conf const conf = {
        .net = l->net,
        .url = conf_str(l->conf, LOADGEN_URL),
        .token = token,
        .v0 = strcmp(conf_str(l->conf, LOADGEN_PROTOCOL), "v0") == 0,
        .id = i + 1,
        .manual = !subscribes(l, i),
        .no_data = !conf_bool(l->conf, LOADGEN_DATA),
        .spare_audio = subscribes(l, i) ? TEST_CLIENT_SPARE : 0,
        .spare_video = subscribes(l, i) ? TEST_CLIENT_SPARE : 0,
        .headers_only = !sampled,
        .stamps = sampled,
        .on_event = on_event,
        .user = l,
    };
    int rc = token != NULL ? test_client_new(&conf, &l->clients[i]) : -ENOMEM;
    mem_free(token);
    if (rc == 0 && publishes(l, i)) {
        rc = publish(l, l->clients[i]);
    }
    return rc;
}

static bool is_ready(const struct load *l, uint32_t i, bool flowing)
{
    const struct test_client *const c = l->clients[i];
    const struct client_stream *s = NULL;
    uint32_t n = 0;
    if (c == NULL || !test_client_status(c)->connected) {
        return false;
    }
    while ((s = test_client_next_stream(c, s)) != NULL) {
        n += s->live && (!flowing || s->first_at.us != 0);
    }
    // A publisher is ready when its tracks have sids.
    bool const published = !publishes(l, i) || test_client_status(c)->published >= tracks_each(l);
    return published && n >= streams_wanted(l, i);
}

static bool all_ready(const struct load *l, bool flowing)
{
    for (uint32_t i = 0; i < l->count; i++) {
        if (!is_ready(l, i, flowing)) {
            return false;
        }
    }
    return true;
}

static void pause_all(struct load *l, bool paused)
{
    for (uint32_t i = 0; i < l->started; i++) {
        test_client_pause(l->clients[i], paused);
    }
}

static struct totals totals_of(const struct load *l)
{
    struct totals t = {0};
    for (uint32_t i = 0; i < l->started; i++) {
        test_client_sum(l->clients[i], &t.rx);
        t.sent += test_client_sent(l->clients[i]);
        t.socket_drops += test_client_socket_drops(l->clients[i]);
    }
    return t;
}

// ---- phases -------------------------------------------------------------------------------------

static void give_up(struct load *l, const char *what)
{
    uint32_t ready = 0;
    for (uint32_t i = 0; i < l->started; i++) {
        ready += is_ready(l, i, l->phase != PHASE_JOIN);
    }
    (void)fprintf(stderr, "loadgen: %s: %u of %u clients are ready\n", what, ready, l->count);
    l->gave_up = true;
    loop_stop(l->loop);
}

static void enter(struct load *l, enum phase phase, int64_t ms)
{
    l->phase = phase;
    l->phase_ends = mono_add_ms(clock_mono(), ms);
    loop_timer_set(l->timer, l->phase_ends);
}

// Those who subscribe join when the publishers are there, so that their first answer brings all
// streams.
static void join_more(struct load *l)
{
    mono_t const now = clock_mono();
    int64_t const due = mono_diff_us(now, l->begun) * int_of(l, LOADGEN_JOIN_RATE) / US_PER_S + 1;
    while (l->started < l->count && l->started < due && l->failed == 0) {
        int const rc = start_client(l, l->started);
        if (rc < 0) {
            (void)fprintf(stderr, "loadgen: client %u: %s\n", l->started, strerror(-rc));
            l->failed++;
        }
        l->started += l->clients[l->started] != NULL;
    }
    if (l->started == l->count && all_ready(l, false)) {
        struct jsonx *const j = event("joined");
        put_joins(l, j);
        print(j);
        pause_all(l, false);
        l->phase = PHASE_FLOW;
        l->phase_ends = mono_add_ms(now, FLOW_MS);
    } else if (l->failed > 0 || mono_reached(l->phase_ends, now)) {
        give_up(l, "not everybody could join");
    }
}

static int64_t own_cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

static void wait_for_flow(struct load *l)
{
    if (all_ready(l, true)) {
        print(event("flowing"));
        enter(l, PHASE_WARMUP, int_of(l, LOADGEN_WARMUP) * 1000);
    } else if (l->failed > 0 || mono_reached(l->phase_ends, clock_mono())) {
        give_up(l, "not every stream flows");
    }
}

static void end_window(struct load *l)
{
    l->cpu_us = own_cpu_us() - l->cpu_start_us;
    print(event("window_end"));
    l->after = totals_of(l);
    for (uint32_t i = 0; i < l->started; i++) {
        test_client_leave(l->clients[i]);
    }
    enter(l, PHASE_LEAVE, LEAVE_MS);
}

static void on_timer(void *user)
{
    struct load *const l = user;
    loop_timer_set_ms(l->timer, POLL_MS);
    switch (l->phase) {
    case PHASE_JOIN:
        join_more(l);
        break;
    case PHASE_FLOW:
        wait_for_flow(l);
        break;
    case PHASE_WARMUP:
        pause_all(l, true);
        enter(l, PHASE_QUIET, QUIET_MS);
        break;
    case PHASE_QUIET:
        l->before = totals_of(l);
        histogram_reset(&l->net->latency);
        l->cpu_start_us = own_cpu_us();
        print(event("window_start"));
        enter(l, PHASE_ARMED, QUIET_MS);
        break;
    case PHASE_ARMED:
        l->window_start = clock_mono();
        pause_all(l, false);
        enter(l, PHASE_WINDOW, int_of(l, LOADGEN_SECONDS) * 1000);
        break;
    case PHASE_WINDOW:
        l->window_end = clock_mono();
        pause_all(l, true);
        enter(l, PHASE_DRAIN, QUIET_MS);
        break;
    case PHASE_DRAIN:
        end_window(l);
        break;
    case PHASE_LEAVE:
        loop_stop(l->loop);
        break;
    }
}

// ---- the program --------------------------------------------------------------------------------

static void raise_limits(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        struct rlimit const wanted = {.rlim_cur = MAX(r.rlim_max, DESCRIPTORS_MAX),
                                      .rlim_max = MAX(r.rlim_max, DESCRIPTORS_MAX)};
        struct rlimit const all = {.rlim_cur = r.rlim_max, .rlim_max = r.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &wanted) < 0) {
            (void)setrlimit(RLIMIT_NOFILE, &all);
        }
    }
}

static int run(struct load *l)
{
    l->meeting = int_of(l, LOADGEN_MEETING) > 0;
    l->publishers =
        (uint32_t)(l->meeting ? int_of(l, LOADGEN_MEETING) : int_of(l, LOADGEN_PUBLISHERS));
    l->count = l->publishers + (l->meeting ? 0 : (uint32_t)int_of(l, LOADGEN_SUBSCRIBERS));
    if (l->count == 0 || l->count > LOADGEN_CLIENTS_MAX) {
        (void)fprintf(stderr, "loadgen: %u clients; 1 to %u are possible\n", l->count,
                      LOADGEN_CLIENTS_MAX);
        return 2;
    }
    raise_limits();
    l->loop = loop_new();
    if (l->loop == NULL || client_net_new(l->loop, &l->net) < 0) {
        (void)fprintf(stderr, "loadgen: cannot start\n");
        return 1;
    }
    l->net->receive_drop_ppm = (uint32_t)int_of(l, LOADGEN_RECEIVE_LOSS);
    l->net->send_drop_ppm = (uint32_t)int_of(l, LOADGEN_SEND_LOSS);
    l->timer = loop_timer_new(l->loop, on_timer, l);
    if (l->timer == NULL) {
        return 1;
    }
    print(event("start"));
    l->begun = clock_mono();
    l->phase_ends = mono_add_ms(l->begun, (int64_t)l->count * 1000 / int_of(l, LOADGEN_JOIN_RATE) +
                                              int_of(l, LOADGEN_JOIN_TIMEOUT) * 1000);
    loop_timer_set_ms(l->timer, 0);
    loop_run(l->loop);
    if (!l->gave_up) {
        print_result(l);
    }
    return l->gave_up || l->failed > 0 ? 1 : 0;
}

static void done(struct load *l)
{
    for (uint32_t i = 0; i < LOADGEN_CLIENTS_MAX; i++) {
        test_client_free(l->clients[i]);
    }
    loop_timer_free(l->timer);
    client_net_free(l->net);
    loop_free(l->loop);
    conf_free(l->conf);
}

int main(int argc, char **argv)
{
    static struct load l;
    char err[CONF_ERROR_MAX] = "out of memory";
    extern char **environ;
    (void)signal(SIGPIPE, SIG_IGN);
    if (conf_load(&loadgen_spec, argc, (const char *const *)argv, (const char *const *)environ,
                  &l.conf, err) < 0) {
        (void)fprintf(stderr, "loadgen: %s\n", err);
        return 2;
    }
    int rc = 0;
    if (conf_action(l.conf) == CONF_SHOW_HELP) {
        struct dynbuf out;
        dynbuf_init(&out, 64u << 10);
        conf_help(&loadgen_spec, &out);
        (void)fwrite(out.p, 1, out.n, stdout);
        dynbuf_done(&out);
    } else {
        rc = run(&l);
    }
    done(&l);
    return rc;
}
