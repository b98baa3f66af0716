// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/as_service.h"

#include <unistd.h>

#include "common/base/mem.h"
#include "common/sys/log.h"
#include "jwt-service/appservice/membership_file.h"

struct as_service {
    struct as_client *client;
    struct membership *membership;
    struct federation_relay *relay;
    struct membership_monitor *monitor;
    char *members; // path, NULL: nothing outlives the process
    struct as_flow *flow;
    struct as_routes *routes;
};

// Where the monitor's knowledge is kept. False without memory.
static bool find_place(struct as_service *s, const struct auth_config *config)
{
    const char *const dir = auth_config_state_dir(config);
    struct dynbuf path;
    if (!dir || !*dir || access(dir, W_OK) != 0) {
        log_warn(NULL, "membership.not_kept", KV_STR("folder", dir ? dir : ""),
                 KV_STR("text",
                        "whoever is in a call when this service is started anew will not be "
                        "removed when leaving the room; set FOCI_JWT_STATE_DIR to a folder "
                        "that it may write"));
        return true;
    }
    dynbuf_init(&path, 4096);
    dynbuf_addf(&path, "%s/%s", dir, MEMBERSHIP_FILE_NAME);
    s->members = dynbuf_take_cstr(&path, NULL);
    dynbuf_done(&path);
    return s->members != NULL;
}

// The parts that exist only with tokens.
static bool make_mode(struct as_service *s, const struct as_service_conf *conf)
{
    const struct as_config *const as = conf->config->as;
    s->client = as_client_new(&(struct as_client_conf){.loop = conf->loop,
                                                       .http = conf->http,
                                                       .discovery = conf->discovery,
                                                       .server_name = as->server_name,
                                                       .as_token = as->as_token});
    s->membership = s->client ? membership_new(s->client) : NULL;
    s->relay = s->membership ? federation_relay_new(s->client) : NULL;
    if (!s->relay || !find_place(s, conf->config)) {
        return false;
    }
    int64_t const interval_s = conf_int(conf->config->conf, AUTH_MEMBERSHIP_INTERVAL);
    s->monitor =
        membership_monitor_new(&(struct membership_monitor_conf){.loop = conf->loop,
                                                                 .membership = s->membership,
                                                                 .sfu = conf->sfu,
                                                                 .interval_ms = interval_s * 1000,
                                                                 .path = s->members});
    s->flow = as_flow_new(&(struct as_flow_conf){.loop = conf->loop,
                                                 .membership = s->membership,
                                                 .relay = s->relay,
                                                 .delayed = conf->delayed,
                                                 .server_name = as->server_name,
                                                 .livekit_url = conf->config->livekit_url});
    return s->monitor && s->flow;
}

struct as_service *as_service_new(const struct as_service_conf *conf)
{
    CLEANUP(as_service_free) struct as_service *s = NEW(struct as_service);
    if (!s || (conf->config->as && !make_mode(s, conf))) {
        return NULL;
    }
    s->routes = as_routes_new(&(struct as_routes_conf){.loop = conf->loop,
                                                       .config = conf->config,
                                                       .flow = s->flow,
                                                       .tokens = conf->tokens,
                                                       .limits = conf->limits,
                                                       .monitor = s->monitor,
                                                       .metrics = conf->metrics,
                                                       .delegate = conf->delegate});
    return s->routes ? STEAL(s) : NULL;
}

void as_service_free(struct as_service *s)
{
    if (!s) {
        return;
    }
    as_routes_free(s->routes);
    as_flow_free(s->flow);
    membership_monitor_free(s->monitor);
    federation_relay_free(s->relay);
    membership_free(s->membership);
    as_client_free(s->client);
    mem_free(s->members);
    mem_free(s);
}

struct as_routes *as_service_routes(struct as_service *s)
{
    return s->routes;
}

struct membership_monitor *as_service_monitor(struct as_service *s)
{
    return s->monitor;
}
