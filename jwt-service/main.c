// SPDX-License-Identifier: Apache-2.0
// foci-jwt: settings, commands, and the service itself (service.h).

#include <signal.h>
#include <stdio.h>

#include "common/base/hash.h"
#include "common/sys/clock.h"
#include "common/sys/privacy.h"
#include "common/sys/random.h"
#include "jwt-service/service.h"

#define HEALTHCHECK_MS 3000 // Docker's default for a probe is 30 s, ours answers in one

// ---- --healthcheck -----------------------------------------------------------------------------

struct health {
    struct loop *loop;
    bool ok;
};

static void on_health(void *user, const struct httpc_result *r)
{
    struct health *const h = user;
    h->ok = r->step == HTTPC_OK && r->status == 200;
    if (!h->ok) {
        (void)service_complain(r->step == HTTPC_OK ? "the service answers, but not with 200"
                                                   : r->text);
    }
    loop_stop(h->loop);
}

// Asks the service that runs with these settings.
static int healthcheck(const struct auth_config *c)
{
    struct addr a = c->bind_count > 0 ? c->bind[0] : addr_v4(127, 0, 0, 1, 8080);
    if (addr_is_unspecified(&a)) { // each family answers on its own loopback address
        uint16_t const port = a.port;
        a = a.family == ADDR_V6 ? (struct addr){.family = ADDR_V6, .port = port, .ip = {[15] = 1}}
                                : addr_v4(127, 0, 0, 1, port);
    }
    char where[ADDR_STRLEN];
    char url[ADDR_STRLEN + 32];
    (void)snprintf(url, sizeof(url), "http://%s/healthz", addr_format(&a, where));
    struct health h = {.loop = loop_new()};
    if (!h.loop) {
        return service_complain("out of memory");
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

// ---- policy test -------------------------------------------------------------------------------

static int policy_test(const struct auth_config *c)
{
    const char *const user_id = conf_positional(c->conf, 2);
    const char *const server = access_policy_server_of(user_id);
    CLEANUP(access_policy_free) struct access_policy *policy = NULL;
    char err[CONF_ERROR_MAX];
    if (!server) {
        return service_complain("policy test: USER must be a full user id such as "
                                "@alice:example.org");
    }
    if (conf_has(c->conf, AUTH_POLICY_FILE) &&
        access_policy_load(conf_str(c->conf, AUTH_POLICY_FILE), &policy, err) < 0) {
        return service_complain(err);
    }
    struct access_question const q = {.server_name = server,
                                      .user_id = user_id,
                                      .room_id = conf_positional(c->conf, 3),
                                      .full_access = auth_config_full_access(c, server)};
    struct dynbuf out;
    dynbuf_init(&out, 256u << 10);
    access_policy_explain(policy, &c->access, &q, &out);
    (void)fwrite(out.p, 1, out.n, stdout);
    dynbuf_done(&out);
    return 0;
}

// ---- start -------------------------------------------------------------------------------------

// The policy file counts as well: with one that is refused the service would not start.
static int check_policy(const struct auth_config *c)
{
    CLEANUP(access_policy_free) struct access_policy *policy = NULL;
    char err[CONF_ERROR_MAX];
    return conf_has(c->conf, AUTH_POLICY_FILE) &&
                   access_policy_load(conf_str(c->conf, AUTH_POLICY_FILE), &policy, err) < 0
               ? service_complain(err)
               : 0;
}

static int show(const struct auth_config *c, enum conf_action action)
{
    struct dynbuf out;
    int status = 0;
    dynbuf_init(&out, 256u << 10);
    if (action == CONF_SHOW_HELP) {
        conf_help(auth_config_spec(), &out);
    } else if (action == CONF_SHOW_VERSION) {
        dynbuf_addf(&out, "%s %s\n", auth_config_spec()->program, auth_config_spec()->version);
    } else {
        auth_config_explain(c, clock_wall(), &out);
        status = check_policy(c);
    }
    (void)fwrite(out.p, 1, out.n, stdout);
    dynbuf_done(&out);
    return status;
}

// For whoever starts the SFU beside us: keys made for this run are known to nobody else yet.
static void tell_generated_keys(const struct auth_config *c)
{
    if (c->keys_generated) {
        const struct api_key *const k = api_keys_first(c->keys);
        (void)fprintf(stderr, "foci-jwt: development keys for the SFU: LIVEKIT_KEYS=\"%s: %s\"\n",
                      k->key, k->secret);
    }
}

static int serve(struct auth_config *c)
{
    log_setup(&c->log);
    tell_generated_keys(c);
    CLEANUP(service_free) struct service *s = NULL;
    int const r = service_new(c, &s);
    int const status = r != 0 ? r : service_run(s);
    // All is safe; whoever is impatient and asks once more gets the same status.
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    return status;
}

int main(int argc, char **argv, char **envp)
{
    CLEANUP(auth_config_free) struct auth_config *config = NULL;
    char err[CONF_ERROR_MAX] = "out of memory";
    uint8_t hash_key[16];
    privacy_no_dumps();
    // A peer that is gone shows as an error where it is written to. A reload before anything is read
    // needs nothing done, above all not our end (service.c takes SIGHUP over).
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    rand_bytes(hash_key, sizeof(hash_key));
    hash_set_key(hash_key);
    if (auth_config_load(argc, (const char *const *)argv, (const char *const *)envp, &config, err) <
        0) {
        return service_complain(err);
    }
    conf_hide_secrets(auth_config_spec(), argc, argv, envp);
    enum conf_action const action = conf_action(config->conf);
    if (action != CONF_RUN) {
        return show(config, action);
    }
    switch (config->command) {
    case AUTH_COMMAND_HEALTHCHECK:
        return healthcheck(config);
    case AUTH_COMMAND_POLICY_TEST:
        return policy_test(config);
    default:
        return serve(config);
    }
}
