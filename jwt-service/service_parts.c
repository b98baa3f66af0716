// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/service_internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/mem.h"

// Homeservers: up to one connection for each request in flight; one slow server may fill its own
// share only (what strangers' servers may is openid_verifier's to say).
#define HTTP_PER_HOST 1024
#define HTTP_TOTAL 4096
// The SFU is one host that answers in milliseconds; more connections than these would only queue
// there.
#define SFU_CONNECTIONS 64
#define LEAVE_CONNECTIONS (DELAYED_EVENT_IN_FLIGHT_MAX + 16)

// A token request holds two descriptors; the usual soft limit of 1024 would end at 500 of them.
static void raise_descriptor_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

static struct httpc *new_client(struct service *s, unsigned per_host, unsigned total)
{
    const struct conf *const k = s->config->conf;
    struct httpc_conf const conf = {
        .ca_file = conf_has(k, AUTH_SSL_CERT_FILE) ? conf_str(k, AUTH_SSL_CERT_FILE) : NULL,
        .ca_dir = conf_has(k, AUTH_SSL_CERT_DIR) ? conf_str(k, AUTH_SSL_CERT_DIR) : NULL,
        .extra_ca_file = conf_has(k, AUTH_CA_FILE) ? conf_str(k, AUTH_CA_FILE) : NULL,
        .insecure = s->config->insecure,
        .proxy_from_env = conf_bool(k, AUTH_USE_PROXY),
        .max_per_host = per_host,
        .max_total = total,
        .user_agent = "foci-jwt",
        .dns = s->dns_cache,
        .allow_address = address_policy_allows,
        .user = &s->config->addresses,
    };
    return httpc_new(s->loop, &conf);
}

static int make_base(struct service *s)
{
    s->loop = loop_new();
    s->dns = s->loop ? dns_new(s->loop, &(struct dns_conf){.timeout_ms = 4000}) : NULL;
    s->dns_cache = s->dns ? dns_cache_new(s->loop, s->dns) : NULL;
    s->http = s->dns_cache ? new_client(s, HTTP_PER_HOST, HTTP_TOTAL) : NULL;
    s->http_sfu = s->http ? new_client(s, SFU_CONNECTIONS, SFU_CONNECTIONS) : NULL;
    s->http_leaves = s->http_sfu ? new_client(s, LEAVE_CONNECTIONS, LEAVE_CONNECTIONS) : NULL;
    if (!s->http_leaves) {
        return service_complain("cannot start: no memory, or a CA file that cannot be read");
    }
    s->metrics = auth_metrics_new(auth_config_spec()->version, loop_wall(s->loop));
    s->limits = ingress_limits_new(&s->config->limits);
    s->stop_timer = loop_timer_new(s->loop, service_on_stop_timer, s);
    static const int signals[CHECKED_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < CHECKED_SIGNALS; i++) {
        s->signals[i] = loop_signal_new(s->loop, signals[i], service_on_signal, s);
        if (!s->signals[i]) {
            return -ENOMEM;
        }
    }
    s->startup_pages = startup_pages_new(s->loop);
    return s->metrics && s->limits && s->stop_timer && s->startup_pages ? 0 : -ENOMEM;
}

static bool trusts(void *user, const char *server_name)
{
    const struct auth_config *const c = user;
    return c->insecure || auth_config_names_server(c, server_name);
}

// The settings in the form that cs_discovery wants. NULL: none, or no memory.
static struct cs_override *cs_overrides(const struct auth_config *c)
{
    size_t const n = c->cs_api_overrides.count;
    struct cs_override *const v = n > 0 ? mem_array(n, sizeof(*v)) : NULL;
    for (size_t i = 0; v && i < n; i++) {
        const struct openid_override *const o = &c->cs_api_overrides.list[i];
        v[i] = (struct cs_override){.server_name = o->server_name, .base_url = o->base_url};
    }
    return v;
}

static int make_callers(struct service *s)
{
    const struct auth_config *const c = s->config;
    s->discovery = server_discovery_new(
        &(struct server_discovery_conf){.loop = s->loop, .http = s->http, .dns = s->dns});
    s->openid = openid_verifier_new(&(struct openid_verifier_conf){
        .loop = s->loop,
        .http = s->http,
        .discovery = s->discovery,
        .overrides = c->openid_overrides.list,
        .override_count = c->openid_overrides.count,
    });
    s->cs_overrides = cs_overrides(c);
    s->cs = cs_discovery_new(&(struct cs_discovery_conf){
        .loop = s->loop,
        .http = s->http,
        .overrides = s->cs_overrides,
        .override_count = c->cs_api_overrides.count,
        .trusts = trusts,
        .user = s->config,
    });
    s->delayed = delayed_event_client_new(
        &(struct delayed_event_conf){.loop = s->loop,
                                     .http = s->http_leaves,
                                     .discovery = s->cs,
                                     .as_token = c->as ? c->as->as_token : NULL});
    int const r = sfu_client_new(s->loop, s->http_sfu, c->keys, c->api_url, &s->sfu);
    bool const all = s->discovery && s->openid && s->cs && s->delayed &&
                     (s->cs_overrides || c->cs_api_overrides.count == 0);
    return r < 0 ? r : all ? 0 : -ENOMEM;
}

// The name under which this instance has its leaves in a shared store.
static void instance_name(const struct auth_config *c, char *buf, size_t n)
{
    if (conf_has(c->conf, AUTH_INSTANCE)) {
        (void)snprintf(buf, n, "%s", conf_str(c->conf, AUTH_INSTANCE));
    } else if (gethostname(buf, n) < 0) {
        (void)snprintf(buf, n, "foci-jwt");
    }
    buf[n - 1] = '\0';
}

// The leave of an instance that shares our store and has died.
static void on_takeover(void *user, const struct job_record *r)
{
    struct service *const s = user;
    if (s->leaves && !s->stopping) {
        leave_manager_adopt(s->leaves, r);
    }
}

static bool stored_record(void *user, const char *room, const char *identity,
                          struct job_record *ret)
{
    const struct service *const s = user;
    return s->leaves && leave_manager_record(s->leaves, room, identity, ret);
}

// A URL that cannot be one is a mistake in a setting, which is named.
static int store_failed(const struct auth_config *c, const char *text)
{
    char line[CONF_ERROR_MAX];
    if (!conf_has(c->conf, AUTH_REDIS_URL)) {
        return service_complain(text);
    }
    (void)conf_fail(c->conf, AUTH_REDIS_URL, line, "%s", text);
    return service_complain(line);
}

static int make_leaves(struct service *s)
{
    const struct auth_config *const c = s->config;
    char err[JOB_STORE_ERROR_MAX] = "";
    char instance[256];
    if (!conf_bool(c->conf, AUTH_DELEGATION)) {
        return 0;
    }
    instance_name(c, instance, sizeof(instance));
    struct job_store_conf conf = {
        .loop = s->loop,
        .dns = s->dns,
        .redis_url = conf_str(c->conf, AUTH_REDIS_URL),
        .redis_password = conf_str(c->conf, AUTH_REDIS_PASSWORD),
        .ca_file = conf_str(c->conf, AUTH_CA_FILE),
        .state_dir = auth_config_state_dir(c),
        .instance = instance,
        .on_takeover = on_takeover,
        .record = stored_record,
        .user = s,
    };
    int r = job_store_new(&conf, &s->store, err);
    if (r < 0 && !*conf.redis_url && !conf_is_set(c->conf, AUTH_STATE_DIR)) {
        // Nobody asked for a journal: whoever replaces the original service need not make room for
        // one.
        log_warn(NULL, "leaves.no_journal", KV_STR("text", err),
                 KV_STR("now", "leaves are lost when the service ends; set "
                               "FOCI_JWT_STATE_DIR to a "
                               "folder that it may write, or LIVEKIT_REDIS_URL"));
        conf.state_dir = NULL;
        r = job_store_new(&conf, &s->store, err);
    }
    if (r < 0) {
        return *err ? store_failed(c, err) : r;
    }
    s->leaves = leave_manager_new(&(struct leave_manager_conf){
        .loop = s->loop,
        .client = s->delayed,
        .sfu = s->sfu,
        .store = s->store,
        .sanity_ms = conf_int(c->conf, AUTH_SANITY_INTERVAL) * 1000,
        .servers = c->everybody ? NULL : c->full_access,
        .server_count = c->everybody ? 0 : c->full_access_count,
    });
    return s->leaves ? 0 : -ENOMEM;
}

static int make_appservice(struct service *s)
{
    s->as = as_service_new(&(struct as_service_conf){.loop = s->loop,
                                                     .config = s->config,
                                                     .http = s->http_leaves,
                                                     .discovery = s->cs,
                                                     .delayed = s->delayed,
                                                     .sfu = s->sfu,
                                                     .tokens = s->flow,
                                                     .limits = s->limits,
                                                     .metrics = s->metrics,
                                                     .delegate = s->leaves != NULL});
    return s->as ? 0 : -ENOMEM;
}

static int make_flow(struct service *s)
{
    struct auth_config *const c = s->config;
    const struct access_policy *const *const policy =
        (const struct access_policy *const *)&s->policy;
    s->flow = token_flow_new(&(struct token_flow_conf){
        .loop = s->loop,
        .keys = c->keys,
        .sfu = s->sfu,
        .cs = s->cs,
        .leaves = s->leaves,
        .policy = policy,
        .defaults = c->access,
        .metrics = s->metrics,
        .can_update_metadata = conf_bool(c->conf, AUTH_CAN_UPDATE_METADATA),
    });
    s->calls = token_calls_new(&(struct token_calls_conf){
        .loop = s->loop,
        .config = c,
        .openid = s->openid,
        .flow = s->flow,
        .limits = s->limits,
        .policy = policy,
        .defaults = &c->access,
        .metrics = s->metrics,
    });
    s->readiness = readiness_new(s->loop, s->sfu, s->store);
    if (!s->flow || !s->calls || !s->readiness || make_appservice(s) < 0) {
        return -ENOMEM;
    }
    s->routes = routes_new(&(struct routes_conf){
        .loop = s->loop,
        .config = c,
        .calls = s->calls,
        .leaves = s->leaves,
        .monitor = s->as ? as_service_monitor(s->as) : NULL,
        .as = s->as ? as_service_routes(s->as) : NULL,
        .readiness = s->readiness,
        .metrics = s->metrics,
        .refresh_metrics = service_refresh_metrics,
        .user = s,
    });
    return s->routes ? 0 : -ENOMEM;
}

// What of the files may change while we run.
static int make_watches(struct service *s)
{
    struct auth_config *const c = s->config;
    s->key_watch = key_watch_new(&(struct key_watch_conf){.loop = s->loop,
                                                          .source = c->key_source,
                                                          .keys = c->keys,
                                                          .on_read = service_on_keys_read,
                                                          .user = s});
    if (!s->key_watch) {
        return -ENOMEM;
    }
    if (!conf_has(c->conf, AUTH_POLICY_FILE)) {
        return 0;
    }
    char err[CONF_ERROR_MAX];
    const char *const path = conf_str(c->conf, AUTH_POLICY_FILE);
    // Watched, then read: what changes between is told.
    int r = filewatch_new(s->loop, path, service_on_policy_file, s, &s->policy_watch);
    if (r < 0) {
        log_warn(NULL, "policy.not_watched", KV_STR("file", path), KV_ERRNO("error", r),
                 KV_STR("text", "changes are read on SIGHUP only"));
    }
    r = access_policy_load(path, &s->policy, err);
    if (r < 0) {
        return r == -ENOMEM ? r : service_complain(err);
    }
    auth_metrics_policy_rules(s->metrics, access_policy_rules(s->policy));
    return 0;
}

int service_make_parts(struct service *s)
{
    raise_descriptor_limit();
    int r = make_base(s);
    r = r == 0 ? make_callers(s) : r;
    r = r == 0 ? make_leaves(s) : r;
    r = r == 0 ? make_flow(s) : r;
    return r == 0 ? make_watches(s) : r;
}

void service_free_parts(struct service *s)
{
    // First those who answer what is under way, then those who work for them, upwards from what
    // nothing else uses.
    httpd_free(s->httpd);
    httpd_free(s->httpd_operators);
    routes_free(s->routes);
    readiness_free(s->readiness);
    as_service_free(s->as);
    token_calls_free(s->calls);
    token_flow_free(s->flow);
    filewatch_free(s->policy_watch);
    key_watch_free(s->key_watch);
    leave_manager_free(s->leaves);
    job_store_free(s->store);
    delayed_event_client_free(s->delayed);
    cs_discovery_free(s->cs);
    mem_free(s->cs_overrides);
    sfu_client_free(s->sfu);
    openid_verifier_free(s->openid);
    server_discovery_free(s->discovery);
    httpc_free(s->http_leaves);
    httpc_free(s->http_sfu);
    httpc_free(s->http);
    dns_cache_free(s->dns_cache);
    dns_free(s->dns);
    access_policy_free(s->policy);
    ingress_limits_free(s->limits);
    metrics_free(s->metrics);
    for (size_t i = 0; i < CHECKED_SIGNALS; i++) {
        if (s->signals[i]) {
            loop_signal_free(s->signals[i]);
        }
    }
    startup_pages_free(s->startup_pages);
    if (s->stop_timer) {
        loop_timer_free(s->stop_timer);
    }
    loop_free(s->loop);
}
