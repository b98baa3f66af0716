// SPDX-License-Identifier: Apache-2.0
// LINK: support lk svc
// The self-check of a deployment: test clients walk the way of a real user. Each gets an OpenID
// token from the homeserver, exchanges it for a LiveKit token at the authorization service, joins
// the room at the SFU it is told, publishes audio and simulcast video, and checks what it receives
// of the others. Exit status 0 only if media flowed from everyone to everyone, whole. The last line
// names participants, packets and losses.
//
// With --url and --key/--secret the first two steps are left out.
#include <signal.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/svc/conf.h"
#include "common/svc/httpc.h"
#include "common/svc/jsonx.h"
#include "common/sys/clock.h"
#include "tests/support/test_client.h"

#define PEOPLE_MAX 8
#define JOIN_MS 20000
// A first frame needs a key frame, which is asked for once a subscriber is there.
#define FLOW_MS 10000
#define LEAVE_MS 3000
#define POLL_MS 10

enum item {
    ITEM_HOMESERVER,
    ITEM_SERVER_NAME,
    ITEM_SERVICE,
    ITEM_URL,
    ITEM_KEY,
    ITEM_SECRET,
    ITEM_ROOM,
    ITEM_SECONDS,
    ITEM_PARTICIPANTS,
    ITEM_PROTOCOL,
    ITEM_SEND_LOSS,
    ITEM_RECEIVE_LOSS,
    ITEM_COUNT
};

static const char *const protocols[] = {"v1", "v0", "mixed", NULL};

static const struct conf_item items[ITEM_COUNT] = {
    [ITEM_HOMESERVER] = {.name = "homeserver",
                         .flag = {"homeserver"},
                         .def = "http://127.0.0.1:8008",
                         .arg = "URL",
                         .help = "Homeserver that hands out OpenID tokens."},
    [ITEM_SERVER_NAME] = {.name = "server_name",
                          .flag = {"server-name"},
                          .def = "localhost",
                          .arg = "NAME",
                          .help = "Server part of the user ids."},
    [ITEM_SERVICE] = {.name = "service",
                      .flag = {"service"},
                      .def = "http://127.0.0.1:8080",
                      .arg = "URL",
                      .help = "Authorization service."},
    [ITEM_URL] =
        {.name = "url",
         .flag = {"url"},
         .arg = "URL",
         .help = "Join this SFU with tokens of our own instead of asking homeserver and service."},
    [ITEM_KEY] = {.name = "key",
                  .flag = {"key"},
                  .env = {"LIVEKIT_KEY"},
                  .def = "devkey",
                  .arg = "KEY",
                  .help = "API key, with --url."},
    [ITEM_SECRET] = {.name = "secret",
                     .type = CONF_SECRET,
                     .flag = {"secret"},
                     .env = {"LIVEKIT_SECRET"},
                     .arg = "SECRET",
                     .help = "API secret, with --url."},
    [ITEM_ROOM] = {.name = "room",
                   .flag = {"room"},
                   .def = "!self-check:localhost",
                   .arg = "NAME",
                   .help = "Room to meet in."},
    [ITEM_SECONDS] = {.name = "seconds",
                      .type = CONF_INT,
                      .flag = {"seconds"},
                      .def = "3",
                      .min = 1,
                      .max = 3600,
                      .arg = "N",
                      .help = "How long media flows once everyone receives everyone."},
    [ITEM_PARTICIPANTS] = {.name = "participants",
                           .type = CONF_INT,
                           .flag = {"participants"},
                           .def = "2",
                           .min = 2,
                           .max = PEOPLE_MAX,
                           .arg = "N",
                           .help = "How many clients meet."},
    [ITEM_PROTOCOL] = {.name = "protocol",
                       .flag = {"protocol"},
                       .def = "v1",
                       .choices = protocols,
                       .arg = "v1|v0|mixed",
                       .help =
                           "One or two peer connections, or every second client the other way."},
    [ITEM_SEND_LOSS] = {.name = "send_loss",
                        .type = CONF_INT,
                        .flag = {"send-loss"},
                        .def = "0",
                        .max = 500000,
                        .arg = "PPM",
                        .help = "Losses made on the way to the server, of a million packets."},
    [ITEM_RECEIVE_LOSS] = {.name = "receive_loss",
                           .type = CONF_INT,
                           .flag = {"receive-loss"},
                           .def = "0",
                           .max = 500000,
                           .arg = "PPM",
                           .help = "Losses made on the way from the server."},
};

static const struct conf_spec spec = {
    .program = "test_client",
    .version = "1",
    .summary =
        "Joins a room with two built-in WebRTC clients and checks that media flows both ways.",
    .items = items,
    .count = ITEM_COUNT,
};

enum stage { STAGE_OPENID, STAGE_TOKEN, STAGE_CALL, STAGE_OVER };

struct check;

struct person {
    struct check *check;
    unsigned number;
    char user[128];
    char *url, *token;
    struct test_client *client;
};

struct check {
    struct conf *conf;
    struct loop *loop;
    struct httpc *http;
    struct client_net *net;
    struct loop_timer *poll;
    struct person people[PEOPLE_MAX];
    size_t count;
    enum stage stage;
    mono_t deadline, flow_ends;
    bool flowing, leaving, failed;
    int status; // of the program
    char last_line[160];
};

static void stop(struct check *k, const char *what, const char *detail)
{
    if (!k->failed) {
        (void)printf("FAILED: %s: %s\n", what, detail);
    }
    k->failed = true;
    k->stage = STAGE_OVER;
    loop_stop(k->loop);
}

// ---- tokens, as a user's client gets them -------------------------------------------------------

static void post(struct person *p, const char *url, struct jsonx *body,
                 void (*done)(void *, const struct httpc_result *))
{
    size_t n = 0;
    char *const text = jsonx_dump(body, 0, &n);
    struct httpc_header const json = {"Content-Type", "application/json"};
    struct httpc_request const r = {
        .url = url,
        .headers = &json,
        .header_count = 1,
        .body = bytes_of(text, n),
        .on_done = done,
        .user = p,
    };
    if (text == NULL || httpc_start(p->check->http, &r, NULL) < 0) {
        stop(p->check, url, "cannot ask");
    }
    mem_free(text);
    jsonx_free(body);
}

static struct jsonx *read_answer(struct person *p, const char *who, const struct httpc_result *r)
{
    struct jsonx *j = NULL;
    char text[200];
    if (r->step != HTTPC_OK) {
        stop(p->check, who, r->text);
    } else if (r->status != 200) {
        (void)snprintf(text, sizeof(text), "status %u: %.*s", r->status, (int)MIN(r->body.n, 150u),
                       (const char *)r->body.p);
        stop(p->check, who, text);
    } else if (jsonx_parse(r->body, &JSONX_LIMITS_DEFAULT, &j) < 0) {
        stop(p->check, who, "no JSON");
    }
    return j;
}

static void join(struct person *p);

static void on_livekit_token(void *user, const struct httpc_result *r)
{
    struct person *const p = user;
    CLEANUP(jsonx_free) struct jsonx *j = read_answer(p, "authorization service", r);
    const char *url = NULL;
    const char *jwt = NULL;
    if (j == NULL) {
        return;
    }
    if (jsonx_get_cstr(j, "url", &url) < 0 || jsonx_get_cstr(j, "jwt", &jwt) < 0) {
        stop(p->check, "authorization service", "no url or jwt in its answer");
        return;
    }
    p->url = mem_strdup(url);
    p->token = mem_strdup(jwt);
    join(p);
}

static void on_openid(void *user, const struct httpc_result *r)
{
    struct person *const p = user;
    struct jsonx *const openid = read_answer(p, "homeserver", r);
    struct jsonx *const body = jsonx_new_object();
    char url[512];
    char device[16];
    if (openid == NULL) {
        jsonx_free(body);
        return;
    }
    (void)snprintf(device, sizeof(device), "CHECK%u", p->number);
    (void)snprintf(url, sizeof(url), "%s/sfu/get", conf_str(p->check->conf, ITEM_SERVICE));
    if (jsonx_set_cstr(body, "room", conf_str(p->check->conf, ITEM_ROOM)) < 0 ||
        jsonx_set_cstr(body, "device_id", device) < 0 ||
        jsonx_set(body, "openid_token", openid) < 0) {
        jsonx_free(body);
        stop(p->check, "authorization service", "out of memory");
        return;
    }
    post(p, url, body, on_livekit_token);
}

static void ask_openid(struct person *p)
{
    char url[512];
    (void)snprintf(url, sizeof(url), "%s/_matrix/client/v3/user/%%40%s/openid/request_token",
                   conf_str(p->check->conf, ITEM_HOMESERVER), p->user + 1);
    post(p, url, jsonx_new_object(), on_openid);
}

// ---- the call -----------------------------------------------------------------------------------

static void on_event(void *user, struct test_client *c, enum test_client_event e)
{
    struct person *const p = user;
    const struct test_client_status *const s = test_client_status(c);
    if (e == TEST_CLIENT_CONNECTED) {
        (void)printf(
            "%s joined as %s: signalling %lld ms, media transport %lld ms, data channel %s\n",
            p->user, s->sid, (long long)mono_diff_ms(s->joined_at, s->started_at),
            (long long)mono_diff_ms(s->connected_at, s->started_at), s->sctp_up ? "up" : "coming");
    } else if (e == TEST_CLIENT_FAILED || (e == TEST_CLIENT_ENDED && !p->check->leaving)) {
        stop(p->check, p->user, s->text);
    }
}

static bool is_v0(const struct person *p)
{
    const char *const protocol = conf_str(p->check->conf, ITEM_PROTOCOL);
    return strcmp(protocol, "v0") == 0 || (strcmp(protocol, "mixed") == 0 && p->number % 2 == 1);
}

static void join(struct person *p)
{
    struct test_client_conf const conf = {
        .net = p->check->net,
        .url = p->url,
        .token = p->token,
        .v0 = is_v0(p),
        .id = p->number + 1,
        .spare_audio = TEST_CLIENT_SPARE,
        .spare_video = TEST_CLIENT_SPARE,
        .stamps = true,
        .on_event = on_event,
        .user = p,
    };
    int rc = p->url != NULL && p->token != NULL ? test_client_new(&conf, &p->client) : -ENOMEM;
    if (rc == 0) {
        rc = test_client_publish(p->client, &CLIENT_TRACK_OPUS, NULL);
    }
    if (rc == 0) {
        rc = test_client_publish(p->client, &CLIENT_TRACK_SIMULCAST, NULL);
    }
    if (rc < 0) {
        stop(p->check, p->url != NULL ? p->url : "token", strerror(-rc));
    }
}

// Streams of a client on which media is decodable.
static size_t flowing_streams(const struct test_client *c)
{
    size_t n = 0;
    const struct client_stream *s = NULL;
    while ((s = test_client_next_stream(c, s)) != NULL) {
        n += s->live && s->first_frame_at.us != 0;
    }
    return n;
}

static bool everyone_flows(const struct check *k)
{
    for (size_t i = 0; i < k->count; i++) {
        const struct test_client *const c = k->people[i].client;
        if (c == NULL || !test_client_status(c)->sctp_up ||
            flowing_streams(c) < 2 * (k->count - 1)) {
            return false;
        }
    }
    return true;
}

static void why_not(struct check *k)
{
    char text[200];
    for (size_t i = 0; i < k->count; i++) {
        const struct test_client *const c = k->people[i].client;
        const struct test_client_status *const s = c != NULL ? test_client_status(c) : NULL;
        size_t const flows = c != NULL ? flowing_streams(c) : 0;
        if (s == NULL || !s->sctp_up || flows < 2 * (k->count - 1)) {
            (void)snprintf(text, sizeof(text),
                           "%s: joined %d, connected %d, data channel %d, %u tracks published, %zu "
                           "of %zu streams decodable",
                           k->people[i].user, s != NULL && s->joined, s != NULL && s->connected,
                           s != NULL && s->sctp_up, s != NULL ? s->published : 0, flows,
                           2 * (k->count - 1));
            stop(k, "media does not flow in time", text);
            return;
        }
    }
}

static void judge(struct check *k);

static void leave(struct check *k)
{
    judge(k);
    k->leaving = true;
    k->deadline = mono_add_ms(loop_now(k->loop), LEAVE_MS);
    for (size_t i = 0; i < k->count; i++) {
        test_client_leave(k->people[i].client);
    }
}

static bool everyone_left(const struct check *k)
{
    for (size_t i = 0; i < k->count; i++) {
        if (!test_client_status(k->people[i].client)->ended) {
            return false;
        }
    }
    return true;
}

static void on_poll(void *user)
{
    struct check *const k = user;
    mono_t const now = loop_now(k->loop);
    loop_timer_set_ms(k->poll, POLL_MS);
    if (k->leaving) {
        if (everyone_left(k) || mono_reached(k->deadline, now)) {
            loop_stop(k->loop);
        }
    } else if (!k->flowing && everyone_flows(k)) {
        k->flowing = true;
        k->flow_ends = mono_add_ms(now, conf_int(k->conf, ITEM_SECONDS) * 1000);
    } else if (k->flowing && mono_reached(k->flow_ends, now)) {
        leave(k);
    } else if (!k->flowing && mono_reached(k->deadline, now)) {
        why_not(k);
    }
}

// ---- the verdict --------------------------------------------------------------------------------

static bool is_whole(const struct client_stream *s)
{
    const struct client_stream_stats *const x = &s->stats;
    return x->content_errors == 0 && x->foreign == 0 && x->counter_errors == 0 &&
           x->picture_errors == 0 && x->bad_switches == 0 && (s->audio || x->frames_whole > 0);
}

static void report_stream(const struct person *p, const struct client_stream *s)
{
    const struct client_stream_stats *const x = &s->stats;
    (void)printf("%s <- client %u %s: %llu packets, %llu lost, %llu recovered, %llu duplicates, ",
                 p->user, s->publisher, s->audio ? "audio" : "video",
                 (unsigned long long)x->received, (unsigned long long)x->missing,
                 (unsigned long long)x->recovered, (unsigned long long)x->duplicates);
    if (!s->audio) {
        (void)printf("layer %u, %llu frames (%llu key), ", s->layer, (unsigned long long)x->frames,
                     (unsigned long long)x->key_frames);
    }
    (void)printf("%s\n", is_whole(s) ? "content whole" : "CONTENT BROKEN");
    if (!is_whole(s)) {
        (void)printf("    content %llu, foreign %llu, counters %llu, picture ids %llu, switches "
                     "without key frame %llu, whole frames %llu\n",
                     (unsigned long long)x->content_errors, (unsigned long long)x->foreign,
                     (unsigned long long)x->counter_errors, (unsigned long long)x->picture_errors,
                     (unsigned long long)x->bad_switches, (unsigned long long)x->frames_whole);
    }
}

// Once media has flowed long enough, before anybody leaves.
static void judge(struct check *k)
{
    struct client_stream_stats sum = {0};
    uint64_t sent = 0;
    bool whole = true;
    for (size_t i = 0; i < k->count; i++) {
        const struct client_stream *s = NULL;
        struct person *const p = &k->people[i];
        while ((s = test_client_next_stream(p->client, s)) != NULL) {
            report_stream(p, s);
            whole = whole && is_whole(s);
        }
        test_client_sum(p->client, &sum);
        sent += test_client_sent(p->client);
    }
    (void)printf("one-way latency: p50 %u us, p99 %u us\n",
                 histogram_percentile(&k->net->latency, 500),
                 histogram_percentile(&k->net->latency, 990));
    (void)snprintf(
        k->last_line, sizeof(k->last_line),
        "%s: %zu participants, %llu packets sent, %llu received, %llu lost, %llu recovered",
        whole ? "self-check passed" : "self-check FAILED", k->count, (unsigned long long)sent,
        (unsigned long long)sum.received, (unsigned long long)sum.missing,
        (unsigned long long)sum.recovered);
    k->status = whole ? 0 : 1;
}

// ---- the program --------------------------------------------------------------------------------

static void begin(struct check *k)
{
    k->count = (size_t)conf_int(k->conf, ITEM_PARTICIPANTS);
    k->deadline = mono_add_ms(loop_now(k->loop), JOIN_MS + FLOW_MS);
    k->net->send_drop_ppm = (uint32_t)conf_int(k->conf, ITEM_SEND_LOSS);
    k->net->receive_drop_ppm = (uint32_t)conf_int(k->conf, ITEM_RECEIVE_LOSS);
    for (unsigned i = 0; i < k->count; i++) {
        struct person *const p = &k->people[i];
        p->check = k;
        p->number = i;
        (void)snprintf(p->user, sizeof(p->user), "@check%u:%s", i,
                       conf_str(k->conf, ITEM_SERVER_NAME));
        if (!conf_is_set(k->conf, ITEM_URL)) {
            ask_openid(p);
            continue;
        }
        p->url = mem_strdup(conf_str(k->conf, ITEM_URL));
        p->token = client_signal_mint(conf_str(k->conf, ITEM_KEY), conf_str(k->conf, ITEM_SECRET),
                                      conf_str(k->conf, ITEM_ROOM), p->user);
        join(p);
    }
    loop_timer_set_ms(k->poll, POLL_MS);
}

static int run(struct check *k)
{
    struct httpc_conf const http = {0};
    int rc = 1;
    k->loop = loop_new();
    if (k->loop == NULL || client_net_new(k->loop, &k->net) < 0) {
        (void)fprintf(stderr, "test_client: cannot start\n");
        return 1;
    }
    k->http = httpc_new(k->loop, &http);
    k->poll = loop_timer_new(k->loop, on_poll, k);
    if (k->http != NULL && k->poll != NULL) {
        begin(k);
        if (!k->failed) {
            loop_run(k->loop);
        }
        rc = k->failed ? 1 : k->status;
        (void)printf("%s\n", k->failed || !k->leaving
                                 ? "self-check FAILED: 0 participants, 0 packets"
                                 : k->last_line);
    }
    return rc;
}

static void done(struct check *k)
{
    for (size_t i = 0; i < PEOPLE_MAX; i++) {
        test_client_free(k->people[i].client);
        mem_free(k->people[i].url);
        mem_free(k->people[i].token);
    }
    loop_timer_free(k->poll);
    httpc_free(k->http);
    client_net_free(k->net);
    loop_free(k->loop);
    conf_free(k->conf);
}

int main(int argc, char **argv)
{
    struct check k = {0};
    char err[CONF_ERROR_MAX] = "out of memory";
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    extern char **environ;
    if (conf_load(&spec, argc, (const char *const *)argv, (const char *const *)environ, &k.conf,
                  err) < 0) {
        (void)fprintf(stderr, "test_client: %s\n", err);
        return 2;
    }
    int rc = 0;
    if (conf_action(k.conf) == CONF_SHOW_HELP) {
        struct dynbuf out;
        dynbuf_init(&out, 64u << 10);
        conf_help(&spec, &out);
        (void)fwrite(out.p, 1, out.n, stdout);
        dynbuf_done(&out);
    } else {
        rc = run(&k);
    }
    done(&k);
    return rc;
}
