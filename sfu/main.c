// SPDX-License-Identifier: Apache-2.0
// foci-sfu: puts the threads together and runs the signalling loop. Exit status: 0 after SIGTERM or
// SIGINT, 1 when it could not start, which one line on stderr explains.

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/app/key_watch.h"
#include "common/base/hash.h"
#include "common/lk/sid.h"
#include "common/sys/clock.h"
#include "common/sys/privacy.h"
#include "common/sys/random.h"
#include "common/sys/startup_pages.h"
#include "sfu/sfu_config.h"
#include "sfu/signal/signal_server.h"
#include "sfu/signal/webhook_notifier.h"
#include "sfu/transport/dtls_transport.h"
#include "sfu/wire/codec.h"
#include "sfu/worker/worker.h"

// What clients are told: they switch features by LiveKit's version numbers, so this is the one
// whose behaviour we have.
#define LIVEKIT_VERSION "1.13.5"

// A packet costs 1.7 KB; a worker's pool may hold the history of some hundred video tracks.
#define PACKETS_PER_WORKER (256u * 1024u)

// Clients are told to leave, their sockets get this long to take it.
#define SHUTDOWN_MS 2000
#define SHUTDOWN_POLL_MS 20

// Who listens to events is told that everybody has left: time for the first two repetitions of a
// webhook (1 s, 2 s) if it is not taken at once.
#define SHUTDOWN_EVENTS_MS 5000

// All that can be forwarded.
#define CODECS                                                                                     \
    ((1u << CODEC_OPUS) | (1u << CODEC_RED) | (1u << CODEC_PCMU) | (1u << CODEC_PCMA) |            \
     (1u << CODEC_VP8) | (1u << CODEC_VP9) | (1u << CODEC_H264) | (1u << CODEC_AV1))

struct app {
    struct sfu_config *config;
    struct loop *loop;
    struct mailbox *mail;
    struct dtls_cert *cert;
    char fingerprint[16 + DTLS_CERT_FINGERPRINT_STRLEN];
    char node_id[SID_SIZE];
    struct dtls_pool *pool;
    struct worker *workers[WORKERS_MAX];
    uint32_t worker_count;
    uint32_t workers_ended;
    struct signal_server *server;
    struct webhook_notifier *notifier; // NULL: nobody wants events
    struct key_watch *key_watch;       // NULL: the keys are generated
    struct loop_signal *signals[4];
    struct loop_timer *shutdown_timer;
    struct startup_pages *startup_pages;
    mono_t stopping_since;
    mono_t shutdown_at;
    mono_t events_at; // until then events are delivered
    bool stopping;
};

static int complain(const char *text)
{
    (void)fprintf(stderr, "foci-sfu: %s\n", text);
    return 1;
}

// ---- between the threads --------------------------------------------------------------------

static void post_to_worker(void *user, uint32_t worker, struct channel_msg *m)
{
    struct app *const a = user;
    worker_post(a->workers[worker], m);
}

static void on_mail(void *user, void *msg)
{
    struct app *const a = user;
    struct channel_msg *const m = msg;
    if (m->type == CHANNEL_SHUTDOWN_DONE) {
        a->workers_ended++;
        channel_msg_free(m);
    } else if (m->type == CHANNEL_EVENT && a->notifier != NULL) {
        webhook_notifier_event(a->notifier, m->u.event.data);
        channel_msg_free(m);
    } else if (a->server != NULL) {
        signal_server_deliver(a->server, m);
    } else {
        channel_msg_free(m);
    }
}

static void drop_mail(void *user, void *msg)
{
    (void)user;
    channel_msg_free(msg);
}

// ---- end ------------------------------------------------------------------------------------

static void on_shutdown_timer(void *user)
{
    struct app *const a = user;
    mono_t const now = loop_now(a->loop);
    bool const gone = a->workers_ended == a->worker_count && signal_server_sessions(a->server) == 0;
    bool const told = a->notifier == NULL || webhook_notifier_pending(a->notifier) == 0;
    if ((gone || mono_reached(a->shutdown_at, now)) && (told || mono_reached(a->events_at, now))) {
        log_info(NULL, "service.stopped", KV_BOOL("all_left", gone),
                 KV_U64("sessions", signal_server_sessions(a->server)),
                 KV_I64("ms", mono_diff_ms(now, a->stopping_since)));
        loop_stop(a->loop);
    } else {
        loop_timer_set_ms(a->shutdown_timer, SHUTDOWN_POLL_MS);
    }
}

static void on_signal(void *user, int signum)
{
    struct app *const a = user;
    if (a->stopping) { // the second one: at once
        loop_stop(a->loop);
        return;
    }
    a->stopping = true;
    log_info(NULL, "service.stopping", KV_I64("signal", signum),
             KV_U64("sessions", signal_server_sessions(a->server)));
    signal_server_quiesce(a->server);
    for (uint32_t i = 0; i < a->worker_count; i++) {
        struct channel_msg *const m = channel_msg_new(CHANNEL_SHUTDOWN, HANDLE_NONE);
        if (m != NULL) {
            worker_post(a->workers[i], m);
        }
    }
    a->stopping_since = loop_now(a->loop);
    a->shutdown_at = mono_add_ms(a->stopping_since, SHUTDOWN_MS);
    a->events_at = mono_add_ms(loop_now(a->loop), SHUTDOWN_EVENTS_MS);
    loop_timer_set_ms(a->shutdown_timer, 0);
}

// SIGUSR1: each worker tells in the log what it does and has dropped, and what became of events.
static void on_stats_signal(void *user, int signum)
{
    (void)signum;
    const struct app *const a = user;
    for (uint32_t i = 0; i < a->worker_count; i++) {
        struct channel_msg *const m = channel_msg_new(CHANNEL_LOG_STATS, HANDLE_NONE);
        if (m != NULL) {
            worker_post(a->workers[i], m);
        }
    }
    signal_server_log_stats(a->server);
    if (a->notifier != NULL) {
        struct webhook_counts const c = webhook_notifier_counts(a->notifier);
        log_info(NULL, "webhook.stats", KV_U64("delivered", c.delivered),
                 KV_U64("refused", c.refused), KV_U64("failed", c.failed),
                 KV_U64("dropped", c.dropped),
                 KV_U64("pending", webhook_notifier_pending(a->notifier)));
    }
}

// SIGHUP: what can be read again while the service runs.
static void on_reload_signal(void *user, int signum)
{
    (void)signum;
    const struct app *const a = user;
    log_info(NULL, "service.reloading");
    if (a->key_watch != NULL) {
        (void)key_watch_reload(a->key_watch);
    }
}

static void app_free(struct app *a)
{
    for (uint32_t i = 0; i < a->worker_count; i++) {
        worker_join(a->workers[i]);
    }
    dtls_pool_free(a->pool);
    for (uint32_t i = 0; i < a->worker_count; i++) {
        worker_free(a->workers[i]);
    }
    signal_server_free(a->server);
    key_watch_free(a->key_watch);
    webhook_notifier_free(a->notifier);
    for (size_t i = 0; i < ARRAY_LEN(a->signals); i++) {
        if (a->signals[i] != NULL) {
            loop_signal_free(a->signals[i]);
        }
    }
    startup_pages_free(a->startup_pages);
    if (a->shutdown_timer != NULL) {
        loop_timer_free(a->shutdown_timer);
    }
    if (a->mail != NULL) {
        mailbox_close(a->mail, drop_mail);
        mailbox_free(a->mail);
    }
    loop_free(a->loop);
    dtls_cert_free(a->cert);
    sfu_config_free(a->config);
}

// ---- start ----------------------------------------------------------------------------------

// A signalling connection is a descriptor; the usual soft limit of 1024 would be a limit on
// participants.
static void raise_descriptor_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

static int worker_failed(const struct app *a, uint32_t index, int rc, const char *what)
{
    char err[CONF_ERROR_MAX];
    if (rc == -EADDRNOTAVAIL && conf_is_set(a->config->conf, SFU_RTC_BIND)) {
        (void)conf_fail(a->config->conf, SFU_RTC_BIND, err,
                        "this host has no such address that clients could reach; give one of its "
                        "own, or leave it out for all of them");
    } else if (rc == -EADDRNOTAVAIL) {
        (void)conf_fail(a->config->conf, SFU_NODE_IP, err,
                        "this host has no address to offer to clients; name one with --node-ip");
    } else {
        uint16_t const port =
            a->config->udp_port != 0 ? (uint16_t)(a->config->udp_port + index) : 0;
        (void)conf_fail(
            a->config->conf, SFU_UDP_PORT, err,
            "media worker %u cannot %s %u: %s; stop what is there or choose another port", index,
            what, port, strerror(-rc));
    }
    return complain(err);
}

static int start_workers(struct app *a)
{
    const struct sfu_config *const c = a->config;
    struct worker_conf wc = {
        .bind_count = c->rtc_bind_count,
        .buffer_size = (uint32_t)conf_int(c->conf, SFU_UDP_BUFFER),
        .packet_max = PACKETS_PER_WORKER,
        .candidates =
            {
                .node_ips = c->node_ips,
                .node_ip_count = c->node_ip_count,
                .loopback = c->dev || conf_bool(c->conf, SFU_LOOPBACK),
            },
        .room =
            {
                .server_version = LIVEKIT_VERSION,
                .node_id = a->node_id,
                .region = conf_str(c->conf, SFU_REGION),
                .empty_timeout_s = (uint32_t)(conf_ms(c->conf, SFU_EMPTY_TIMEOUT) / 1000),
                .departure_timeout_s = (uint32_t)(conf_ms(c->conf, SFU_DEPARTURE_TIMEOUT) / 1000),
                .max_participants = (uint32_t)conf_int(c->conf, SFU_MAX_PARTICIPANTS),
                .codecs = CODECS,
                .remote_unmute = conf_bool(c->conf, SFU_REMOTE_UNMUTE),
                .full_room_in_events = conf_bool(c->conf, SFU_FULL_ROOM_IN_EVENTS),
                .events = c->webhook_count > 0,
            },
        .cert = a->cert,
        .fingerprint = a->fingerprint,
        .pool = a->pool,
        .signalling = a->mail,
        .cpu = -1,
    };
    memcpy(wc.binds, c->rtc_binds, sizeof(wc.binds));
    for (uint32_t i = 0; i < c->workers; i++) {
        const char *what = "";
        wc.index = i;
        for (size_t k = 0; k < wc.bind_count; k++) {
            wc.binds[k].port = c->udp_port != 0 ? (uint16_t)(c->udp_port + i) : 0;
        }
        int rc = worker_new(&wc, &a->workers[i], &what);
        if (rc < 0) {
            return worker_failed(a, i, rc, what);
        }
        a->worker_count++;
        rc = worker_start(a->workers[i]);
        if (rc < 0) {
            return worker_failed(a, i, rc, "start its thread for port");
        }
    }
    return 0;
}

static int start_server(struct app *a)
{
    const struct sfu_config *const c = a->config;
    struct signal_server_conf const sc = {
        .loop = a->loop,
        .listen = c->listen,
        .listen_count = c->listen_count,
        .keys = c->keys,
        .worker_count = a->worker_count,
        .auto_create = conf_bool(c->conf, SFU_AUTO_CREATE),
        .connects = c->connects,
        .proxies = &c->proxies,
        .post = post_to_worker,
        .user = a,
    };
    size_t failed = 0;
    int const rc = signal_server_new(&sc, &a->server, &failed);
    if (rc == 0) {
        return 0;
    }
    char where[ADDR_STRLEN] = "";
    char err[CONF_ERROR_MAX];
    const char *const at = failed < c->listen_count ? addr_format(&c->listen[failed], where) : "";
    if (rc == -EADDRNOTAVAIL) {
        (void)conf_fail(c->conf, SFU_BIND, err,
                        "cannot listen on %s: this host has no such address; give one of its own, "
                        "or leave it out for all of them",
                        at);
    } else {
        (void)conf_fail(c->conf, SFU_PORT, err,
                        "cannot listen on %s: %s; stop what is there or choose another port", at,
                        strerror(-rc));
    }
    return complain(err);
}

static int start_notifier(struct app *a)
{
    const struct sfu_config *const c = a->config;
    struct webhook_target targets[ARRAY_LEN(c->webhooks)];
    for (size_t i = 0; i < c->webhook_count; i++) {
        // foci-jwt has no use for tracks.
        bool const auth = c->auth_hook && i + 1 == c->webhook_count;
        const struct sfu_webhook *const w = &c->webhooks[i];
        targets[i] = (struct webhook_target){
            .url = w->url,
            .no_tracks = auth,
            .include = w->include.names,
            .include_count = w->include.count,
            .exclude = w->exclude.names,
            .exclude_count = w->exclude.count,
        };
    }
    struct webhook_notifier_conf const nc = {
        .loop = a->loop,
        .keys = c->keys,
        .key = conf_str(c->conf, SFU_WEBHOOK_API_KEY),
        .targets = targets,
        .target_count = c->webhook_count,
        .user_agent = "foci-sfu",
    };
    if (c->webhook_count > 0 && webhook_notifier_new(&nc, &a->notifier) < 0) {
        return complain("cannot start what delivers events: out of memory");
    }
    return 0;
}

static void on_signer(void *user)
{
    const struct app *const a = user;
    if (a->server != NULL) {
        signal_server_renew_tokens(a->server);
    }
}

static int start_key_watch(struct app *a)
{
    struct sfu_config *const c = a->config;
    key_source_log(c->key_findings, c->key_finding_count);
    if (c->dev_keys) {
        return 0;
    }
    struct key_watch_conf const kc = {
        .loop = a->loop,
        .source = c->key_source,
        .keys = c->keys,
        .on_signer = on_signer,
        .user = a,
    };
    a->key_watch = key_watch_new(&kc);
    return a->key_watch != NULL ? 0 : complain("out of memory");
}

static int make_identity(struct app *a)
{
    if (dtls_cert_new(clock_wall().us / US_PER_S, &a->cert) < 0) {
        return complain("cannot generate the DTLS certificate: out of memory or randomness");
    }
    (void)snprintf(a->fingerprint, sizeof(a->fingerprint), "sha-256 %s",
                   dtls_cert_fingerprint(a->cert));
    uint8_t random[SID_RANDOM_LEN];
    rand_bytes(random, sizeof(random));
    (void)sid_make(SID_NODE, random, a->node_id);
    return 0;
}

// The server's own addresses are shown as they are: they are for the operator, and nobody's secret.
static void announce(const struct app *a)
{
    char text[ADDR_STRLEN];
    for (size_t i = 0; i < a->config->listen_count; i++) {
        struct addr const at = signal_server_address(a->server, i);
        log_info(NULL, "service.listening", KV_STR("what", "signalling"),
                 KV_STR("address", addr_format(&at, text)), KV_U64("port", at.port));
    }
    for (uint32_t i = 0; i < a->worker_count; i++) {
        const struct candidates *const c = worker_candidates(a->workers[i]);
        for (size_t k = 0; k < c->count; k++) {
            log_info(NULL, "service.listening", KV_STR("what", "media"), KV_U64("worker", i),
                     KV_STR("address", addr_format(&c->addrs[k], text)),
                     KV_U64("port", c->addrs[k].port));
        }
    }
    log_info(NULL, "service.ready", KV_U64("workers", a->worker_count),
             KV_STR("srtp", worker_srtp_name(a->workers[0])), KV_STR("node", a->node_id));
    if (a->config->dev_keys) {
        const struct api_key *const k = api_keys_first(a->config->keys);
        // The one secret that is ever shown: made up for this run of a development server.
        (void)fprintf(stderr, "foci-sfu: development key  %s: %s\n", k->key, k->secret);
    }
}

static int app_start(struct app *a)
{
    raise_descriptor_limit();
    a->loop = loop_new();
    a->mail = a->loop != NULL ? mailbox_new(a->loop, on_mail, a) : NULL;
    a->shutdown_timer = a->mail != NULL ? loop_timer_new(a->loop, on_shutdown_timer, a) : NULL;
    a->startup_pages = a->loop != NULL ? startup_pages_new(a->loop) : NULL;
    if (a->shutdown_timer == NULL || a->startup_pages == NULL) {
        return complain("out of memory");
    }
    a->signals[0] = loop_signal_new(a->loop, SIGTERM, on_signal, a);
    a->signals[1] = loop_signal_new(a->loop, SIGINT, on_signal, a);
    a->signals[2] = loop_signal_new(a->loop, SIGUSR1, on_stats_signal, a);
    a->signals[3] = loop_signal_new(a->loop, SIGHUP, on_reload_signal, a);
    if (make_identity(a) != 0) {
        return 1;
    }
    if (dtls_pool_new(a->config->dtls_threads, &a->pool) < 0) {
        return complain("cannot start the handshake threads");
    }
    if (start_key_watch(a) != 0 || start_notifier(a) != 0 || start_workers(a) != 0 ||
        start_server(a) != 0) {
        return 1;
    }
    announce(a);
    return 0;
}

static int run(struct sfu_config *config)
{
    struct app a = {.config = config};
    int const rc = app_start(&a);
    if (rc == 0) {
        conf_set_patience(0); // what was read for the start has been read
        loop_run(a.loop);
    }
    app_free(&a);
    return rc;
}

static int show(struct sfu_config *config)
{
    struct dynbuf out;
    dynbuf_init(&out, 64u << 10);
    switch (conf_action(config->conf)) {
    case CONF_SHOW_HELP:
        conf_help(sfu_config_spec(), &out);
        break;
    case CONF_SHOW_VERSION:
        dynbuf_addf(&out, "foci-sfu %s\n", sfu_config_spec()->version);
        break;
    case CONF_CHECK:
    case CONF_RUN:
        conf_dump(config->conf, &out);
        break;
    }
    (void)fwrite(out.p, 1, out.n, stdout);
    dynbuf_done(&out);
    sfu_config_free(config);
    return 0;
}

int main(int argc, char **argv)
{
    char err[CONF_ERROR_MAX] = "out of memory";
    struct sfu_config *config = NULL;
    if (sfu_config_load(argc, (const char *const *)argv, (const char *const *)environ, &config,
                        err) < 0) {
        return complain(err);
    }
    if (conf_action(config->conf) != CONF_RUN) {
        return show(config);
    }
    if (!config->dev) { // a debugger may look into a try-out
        privacy_no_dumps();
    }
    conf_hide_secrets(sfu_config_spec(), argc, argv, environ);
    log_setup(&config->log);
    uint8_t key[16];
    rand_bytes(key, sizeof(key));
    hash_set_key(key);
    for (size_t i = 0; i < conf_warnings(config->conf); i++) {
        log_warn(NULL, "config.warning", KV_STR("text", conf_warning(config->conf, i)));
    }
    return run(config);
}
