// SPDX-License-Identifier: Apache-2.0
// foci-jwt: puts the parts together and runs the loop. Exit status: 0 after SIGTERM or SIGINT, 1
// when it could not start, which one line on stderr explains.

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/base/hash.h"
#include "common/svc/dns.h"
#include "common/sys/random.h"
#include "jwt-service/routes.h"

#define SHUTDOWN_MS 10000 // what is going on may end; longer than any request takes
#define SHUTDOWN_POLL_MS 50
#define HEALTHCHECK_MS 3000 // Docker's default for a probe is 30 s, ours answers in one

// Homeservers: up to one connection for each request in flight; one slow server may fill its own
// share only.
#define HTTP_PER_HOST 1024
#define HTTP_TOTAL 4096
// The SFU is one host that answers in milliseconds; more connections than these would only queue
// there.
#define SFU_CONNECTIONS 64

struct app {
    struct auth_config *config;
    struct loop *loop;
    struct dns *dns;
    struct httpc *http;     // homeservers
    struct httpc *http_sfu; // never waits behind homeservers
    struct server_discovery *discovery;
    struct openid_verifier *openid;
    struct sfu_client *sfu;
    struct routes *routes;
    struct httpd *httpd;
    struct loop_signal *signals[2];
    struct loop_timer *shutdown_timer;
    mono_t shutdown_at;
    bool stopping;
};

// The operator's line: also when the log level hides errors.
static int complain(const char *text)
{
    (void)fprintf(stderr, "foci-jwt: %s\n", text);
    return 1;
}

// Addresses that no Matrix server is on. (What else strangers may not make us connect to is decided
// by the operator's policy; names that the operator gave are not asked about.)
static bool allow_address(void *user, const struct addr *a)
{
    (void)user;
    return !addr_is_unspecified(a) && !addr_is_multicast(a) && !addr_is_link_local(a);
}

static void app_free(struct app *a)
{
    httpd_free(a->httpd); // first: it answers and thereby ends what is under way
    routes_free(a->routes);
    sfu_client_free(a->sfu);
    openid_verifier_free(a->openid);
    server_discovery_free(a->discovery);
    httpc_free(a->http_sfu);
    httpc_free(a->http);
    dns_free(a->dns);
    for (size_t i = 0; i < ARRAY_LEN(a->signals); i++) {
        if (a->signals[i]) {
            loop_signal_free(a->signals[i]);
        }
    }
    if (a->shutdown_timer) {
        loop_timer_free(a->shutdown_timer);
    }
    loop_free(a->loop);
    auth_config_free(a->config);
}

static void on_shutdown_timer(void *user)
{
    struct app *const a = user;
    if (httpd_busy(a->httpd) == 0 || mono_reached(a->shutdown_at, loop_now(a->loop))) {
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
             KV_U64("in_flight", routes_in_flight(a->routes)));
    httpd_quiesce(a->httpd);
    a->shutdown_at = mono_add_ms(loop_now(a->loop), SHUTDOWN_MS);
    loop_timer_set_ms(a->shutdown_timer, 0);
}

// A token request holds two descriptors; the usual soft limit of 1024 would end at 500 of them.
static void raise_descriptor_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

static struct httpc *new_client(struct app *a, unsigned per_host, unsigned total)
{
    const struct conf *const k = a->config->conf;
    struct httpc_conf const conf = {
        .ca_file = conf_has(k, AUTH_SSL_CERT_FILE) ? conf_str(k, AUTH_SSL_CERT_FILE) : NULL,
        .ca_dir = conf_has(k, AUTH_SSL_CERT_DIR) ? conf_str(k, AUTH_SSL_CERT_DIR) : NULL,
        .extra_ca_file = conf_has(k, AUTH_CA_FILE) ? conf_str(k, AUTH_CA_FILE) : NULL,
        .insecure = a->config->insecure,
        .max_per_host = per_host,
        .max_total = total,
        .user_agent = "foci-jwt",
        .allow_address = allow_address,
    };
    return httpc_new(a->loop, &conf);
}

static int listen_failed(const struct app *a, int r, size_t failed)
{
    char where[ADDR_STRLEN] = "";
    char err[CONF_ERROR_MAX];
    if (failed < a->config->bind_count) {
        addr_format(&a->config->bind[failed], where);
    }
    (void)conf_fail(a->config->conf, a->config->bind_item, err,
                    "cannot listen on %s: %s; stop what is there or choose another address", where,
                    strerror(-r));
    return complain(err);
}

static int app_start(struct app *a)
{
    raise_descriptor_limit();
    a->loop = loop_new();
    a->dns = a->loop ? dns_new(a->loop, &(struct dns_conf){.timeout_ms = 4000}) : NULL;
    a->http = a->dns ? new_client(a, HTTP_PER_HOST, HTTP_TOTAL) : NULL;
    a->http_sfu = a->http ? new_client(a, SFU_CONNECTIONS, SFU_CONNECTIONS) : NULL;
    if (!a->http_sfu) {
        return complain("cannot start: no memory, or a CA file that cannot be read");
    }
    a->discovery = server_discovery_new(
        &(struct server_discovery_conf){.loop = a->loop, .http = a->http, .dns = a->dns});
    a->openid = openid_verifier_new(&(struct openid_verifier_conf){
        .loop = a->loop,
        .http = a->http,
        .discovery = a->discovery,
        .overrides = a->config->openid_overrides.list,
        .override_count = a->config->openid_overrides.count,
    });
    int r = sfu_client_new(a->loop, a->http_sfu, a->config->keys, a->config->api_url, &a->sfu);
    a->routes = routes_new(&(struct routes_conf){
        .loop = a->loop, .config = a->config, .openid = a->openid, .sfu = a->sfu});
    a->shutdown_timer = loop_timer_new(a->loop, on_shutdown_timer, a);
    a->signals[0] = loop_signal_new(a->loop, SIGTERM, on_signal, a);
    a->signals[1] = loop_signal_new(a->loop, SIGINT, on_signal, a);
    if (r < 0 || !a->discovery || !a->openid || !a->routes || !a->shutdown_timer ||
        !a->signals[0] || !a->signals[1]) {
        return complain("cannot start: out of memory");
    }
    size_t failed = 0;
    r = routes_listen(a->routes, &a->httpd, &failed);
    return r < 0 ? listen_failed(a, r, failed) : 0;
}

static void log_start(const struct app *a)
{
    auth_config_log(a->config);
    for (size_t i = 0; i < a->config->bind_count; i++) {
        struct addr const at = httpd_address(a->httpd, i);
        char text[ADDR_STRLEN];
        // Our own address, for whoever starts us with port 0: not subject to redaction.
        log_info(NULL, "service.listening", KV_STR("address", addr_format(&at, text)),
                 KV_STR("livekit_url", a->config->livekit_url));
    }
    if (a->config->keys_generated) {
        // Made for this run and known to nobody else yet: the SFU has to be told.
        const struct api_key *const k = api_keys_first(a->config->keys);
        (void)fprintf(stderr, "foci-jwt: development keys for the SFU: LIVEKIT_KEYS=\"%s: %s\"\n",
                      k->key, k->secret);
    }
}

// ---- --healthcheck --------------------------------------------------------------------------

struct health {
    struct loop *loop;
    bool ok;
};

static void on_health(void *user, const struct httpc_result *r)
{
    struct health *const h = user;
    h->ok = r->step == HTTPC_OK && r->status == 200;
    if (!h->ok) {
        (void)complain(r->step == HTTPC_OK ? "the service answers, but not with 200" : r->text);
    }
    loop_stop(h->loop);
}

// Asks the service that runs with these settings.
static int healthcheck(const struct auth_config *c)
{
    struct addr a = c->bind_count > 0 ? c->bind[0] : addr_v4(127, 0, 0, 1, 8080);
    if (addr_is_unspecified(&a)) {
        a = addr_v4(127, 0, 0, 1, a.port);
    }
    char where[ADDR_STRLEN];
    char url[ADDR_STRLEN + 32];
    (void)snprintf(url, sizeof(url), "http://%s/healthz", addr_format(&a, where));
    struct health h = {.loop = loop_new()};
    if (!h.loop) {
        return complain("out of memory");
    }
    struct httpc *const http = httpc_new(h.loop, &(struct httpc_conf){0});
    struct httpc_request const req = {.url = url,
                                      .connect_ms = HEALTHCHECK_MS,
                                      .total_ms = HEALTHCHECK_MS,
                                      .trusted = true,
                                      .on_done = on_health,
                                      .user = &h};
    if (http && httpc_start(http, &req, NULL) == 0) {
        loop_run(h.loop);
    }
    httpc_free(http);
    loop_free(h.loop);
    return h.ok ? 0 : 1;
}

// ---- start ----------------------------------------------------------------------------------

static int show(const struct auth_config *c, enum conf_action action)
{
    struct dynbuf out;
    dynbuf_init(&out, 256u << 10);
    if (action == CONF_SHOW_HELP) {
        conf_help(auth_config_spec(), &out);
    } else if (action == CONF_SHOW_VERSION) {
        dynbuf_addf(&out, "%s %s\n", auth_config_spec()->program, auth_config_spec()->version);
    } else {
        conf_dump(c->conf, &out);
    }
    (void)fwrite(out.p, 1, out.n, stdout);
    dynbuf_done(&out);
    return 0;
}

static int run(struct app *a)
{
    int r = app_start(a);
    if (r == 0) {
        log_start(a);
        loop_run(a->loop);
        log_info(NULL, "service.stopped");
    }
    return r;
}

int main(int argc, char **argv, char **envp)
{
    struct app a = {0};
    char err[CONF_ERROR_MAX] = "out of memory";
    uint8_t hash_key[16];
    (void)signal(SIGPIPE, SIG_IGN); // a peer that is gone shows as an error where it is written to
    rand_bytes(hash_key, sizeof(hash_key));
    hash_set_key(hash_key);
    if (auth_config_load(argc, (const char *const *)argv, (const char *const *)envp, &a.config,
                         err) < 0) {
        return complain(err);
    }
    enum conf_action const action = conf_action(a.config->conf);
    int r = 0;
    if (action != CONF_RUN) {
        r = show(a.config, action);
    } else if (a.config->command == AUTH_COMMAND_HEALTHCHECK) {
        r = healthcheck(a.config);
    } else {
        log_setup(&a.config->log);
        r = run(&a);
    }
    app_free(&a);
    return r;
}
