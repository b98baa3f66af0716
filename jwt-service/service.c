// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/service_internal.h"

#include <signal.h>
#include <stdio.h>

#include "common/base/mem.h"

#define STOP_POLL_MS 20

int service_complain(const char *text)
{
    (void)fprintf(stderr, "foci-jwt: %s\n", text);
    return 1;
}

// ---- stopping ----------------------------------------------------------------------------------

void service_on_stop_timer(void *user)
{
    struct service *const s = user;
    bool const answered = !s->httpd || httpd_busy(s->httpd) == 0;
    if ((answered && s->leaves_safe) || mono_reached(s->stop_at, loop_now(s->loop))) {
        loop_stop(s->loop);
    } else {
        loop_timer_set_ms(s->stop_timer, STOP_POLL_MS);
    }
}

static void on_leaves_safe(void *user)
{
    struct service *const s = user;
    s->leaves_safe = true;
    loop_timer_set_ms(s->stop_timer, 0);
}

static void stop(struct service *s, int signum)
{
    if (s->stopping) { // the second one: at once
        loop_stop(s->loop);
        return;
    }
    s->stopping = true;
    log_info(NULL, "service.stopping", KV_I64("signal", signum),
             KV_U64("in_flight", token_calls_in_flight(s->calls)));
    if (s->httpd) {
        httpd_quiesce(s->httpd);
    }
    routes_stopping(s->routes);
    s->stop_at = mono_add_ms(loop_now(s->loop), SERVICE_STOP_MS);
    s->leaves_safe = !s->leaves;
    if (s->leaves) {
        leave_manager_shutdown(s->leaves, on_leaves_safe, s);
    }
    loop_timer_set_ms(s->stop_timer, 0);
}

// ---- reloading ---------------------------------------------------------------------------------

static void read_policy(struct service *s)
{
    const char *const path = conf_str(s->config->conf, AUTH_POLICY_FILE);
    char err[CONF_ERROR_MAX];
    int const r = access_policy_reload(path, &s->policy, err);
    auth_metrics_reload(s->metrics, "policy", r == 0);
    auth_metrics_policy_rules(s->metrics, access_policy_rules(s->policy));
    if (r < 0) {
        log_error(NULL, "policy.refused", KV_STR("text", err),
                  KV_STR("now", "the rules read before stay in force"));
    } else {
        log_info(NULL, "policy.loaded", KV_STR("file", path),
                 KV_U64("rules", access_policy_rules(s->policy)));
    }
}

void service_on_policy_file(void *user)
{
    read_policy(user);
}

void service_on_keys_read(void *user, bool ok)
{
    struct service *const s = user;
    auth_metrics_reload(s->metrics, "keys", ok);
}

void service_on_signal(void *user, int signum)
{
    struct service *const s = user;
    if (signum != SIGHUP) {
        stop(s, signum);
        return;
    }
    log_info(NULL, "service.reloading");
    (void)key_watch_reload(s->key_watch);
    if (conf_has(s->config->conf, AUTH_POLICY_FILE)) {
        read_policy(s);
    }
}

// ---- metrics -----------------------------------------------------------------------------------

void service_refresh_metrics(void *user)
{
    struct service *const s = user;
    auth_metrics_keys(s->metrics, s->config->keys, loop_wall(s->loop));
    struct delayed_event_counts events;
    delayed_event_counts(s->delayed, &events);
    auth_metrics_delayed_events(s->metrics, &events);
    if (s->leaves) {
        struct leave_counts leaves;
        struct job_store_stats store;
        leave_manager_counts(s->leaves, &leaves);
        auth_metrics_leaves(s->metrics, &leaves);
        job_store_stats(s->store, &store);
        auth_metrics_store(s->metrics, job_store_kind(s->store), &store);
    }
}

// ---- start -------------------------------------------------------------------------------------

static void log_listeners(const struct service *s)
{
    for (size_t i = 0; i < httpd_listeners(s->httpd); i++) {
        struct addr const at = httpd_address(s->httpd, i);
        char text[ADDR_STRLEN];
        // Our own address, for whoever starts us with port 0: not subject to redaction.
        log_info(NULL, "service.listening", KV_STR("address", addr_format(&at, text)),
                 KV_STR("livekit_url", s->config->livekit_url));
    }
    if (s->httpd_operators) {
        struct addr const at = httpd_address(s->httpd_operators, 0);
        char text[ADDR_STRLEN];
        log_info(NULL, "service.metrics_listening", KV_STR("address", addr_format(&at, text)));
    }
}

static int listen_failed(const struct service *s, int r, size_t item, size_t failed)
{
    struct addr at[CONF_BIND_MAX];
    char where[ADDR_STRLEN] = "";
    char err[CONF_ERROR_MAX];
    bool const first = item == s->config->bind_item;
    size_t const n = first ? s->config->bind_count : conf_bind(s->config->conf, item, at);
    if (failed < n) {
        addr_format(first ? &s->config->bind[failed] : &at[failed], where);
    }
    (void)conf_fail(s->config->conf, item, err,
                    "cannot listen on %s: %s; stop what is there or choose another address", where,
                    strerror(-r));
    return service_complain(err);
}

static void open_listeners(struct service *s)
{
    size_t failed = 0;
    size_t item = 0;
    int const r = routes_listen(s->routes, &s->httpd, &s->httpd_operators, &failed, &item);
    if (r < 0) {
        s->status = listen_failed(s, r, item, failed);
        loop_stop(s->loop);
        return;
    }
    log_listeners(s);
    readiness_start(s->readiness);
}

// What was removed at the start is gone from the store as well, or it took too long.
static void on_flushed(void *user, int error)
{
    struct service *const s = user;
    (void)error; // the store tells, and goes on trying
    if (!s->stopping) {
        open_listeners(s);
    }
}

// Old leaves are taken up before anybody can ask: whoever sees us healthy sees them, and their
// store, as they are from now on.
static void on_recovered(void *user, const struct job_load *load)
{
    struct service *const s = user;
    if (load->result == JOB_LOAD_UNREACHABLE) {
        s->status = service_complain(load->text);
        loop_stop(s->loop);
        return;
    }
    if (load->result != JOB_LOAD_OK) {
        log_error(NULL, "leaves.not_restored", KV_STR("text", load->text),
                  KV_I64("ms", load->elapsed_ms));
    } else if (load->records > 0 || load->broken > 0) {
        log_info(NULL, "leaves.restored", KV_U64("records", load->records),
                 KV_U64("broken", load->broken), KV_U64("foreign", load->foreign),
                 KV_I64("ms", load->elapsed_ms));
    }
    if (!s->stopping) {
        job_store_flush_changes(s->store, JOB_STORE_WAIT_MS, on_flushed, s);
    }
}

void service_free(struct service *s)
{
    if (s) {
        service_free_parts(s);
        mem_free(s);
    }
}

int service_new(struct auth_config *config, struct service **ret)
{
    CLEANUP(service_free) struct service *s = NEW(struct service);
    if (!s) {
        return service_complain("cannot start: out of memory");
    }
    s->config = config;
    // First: what is found wanting explains a start that fails, and the findings about keys point into
    // the set that key_watch may replace as soon as it is made.
    auth_config_log(config);
    int const r = service_make_parts(s);
    if (r != 0) {
        return r < 0 ? service_complain("cannot start: out of memory") : r;
    }
    if (s->leaves) {
        leave_manager_recover(s->leaves, on_recovered, s);
    } else {
        open_listeners(s);
    }
    if (s->status == 0) {
        *ret = STEAL(s);
        return 0;
    }
    return s->status;
}

int service_run(struct service *s)
{
    conf_set_patience(0); // what was read for the start has been read
    loop_run(s->loop);
    if (s->status == 0) { // else it never began, and what it said to that is the last word
        log_info(NULL, "service.stopped");
    }
    return s->status;
}

struct loop *service_loop(struct service *s)
{
    return s->loop;
}

const struct httpd *service_listener(const struct service *s)
{
    return s->httpd;
}

size_t service_in_flight(const struct service *s)
{
    return token_calls_in_flight(s->calls);
}
