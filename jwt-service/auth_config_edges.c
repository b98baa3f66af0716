// SPDX-License-Identifier: Apache-2.0
// The settings of foci-jwt that are more than one value: who may come in how often, what may be
// contacted, what the policy starts from, application-service mode.
#include "jwt-service/auth_config.h"

static int add_cidrs(const struct auth_config *c, size_t item, struct cidr_set *set, char *err)
{
    for (size_t i = 0; i < conf_list_len(c->conf, item); i++) {
        const char *const text = conf_list_at(c->conf, item, i);
        int const r = cidr_set_add(set, bytes_str(text));
        if (r == -EINVAL || r == -E2BIG) {
            return conf_fail(c->conf, item, err,
                             "\"%.64s\" is no address range; write 10.0.0.0/8, fd00::/8, one "
                             "address, or the words loopback, private_ranges, all",
                             text);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int load_addresses(struct auth_config *c, char *err)
{
    int r = add_cidrs(c, AUTH_TRUSTED_PROXIES, &c->trusted_proxies, err);
    r = r < 0 ? r : add_cidrs(c, AUTH_ALLOW_ADDRESSES, &c->addresses.allow, err);
    r = r < 0 ? r : add_cidrs(c, AUTH_DENY_ADDRESSES, &c->addresses.deny, err);
    for (size_t i = 0; r == 0 && i < conf_list_len(c->conf, AUTH_ALLOW_PORTS); i++) {
        const char *const text = conf_list_at(c->conf, AUTH_ALLOW_PORTS, i);
        if (port_set_add(&c->addresses.ports, bytes_str(text)) < 0) {
            r = conf_fail(c->conf, AUTH_ALLOW_PORTS, err,
                          "\"%.32s\" is no port; write 443, 8000-8999 or any", text);
        }
    }
    return r;
}

static int load_limits(struct auth_config *c, char *err)
{
    struct {
        size_t item;
        struct rate_limit *ret;
    } const all[] = {{AUTH_LIMIT_ADDRESS, &c->limits.address},
                     {AUTH_LIMIT_SERVER, &c->limits.server},
                     {AUTH_LIMIT_USER, &c->limits.user}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const char *const text = conf_str(c->conf, all[i].item);
        if (rate_limit_parse(bytes_str(text), all[i].ret) < 0) {
            return conf_fail(c->conf, all[i].item, err,
                             "\"%.32s\" is no limit; write RATE/BURST such as 10/30 (a second, at "
                             "once), or off",
                             text);
        }
    }
    c->limits.exempt = &c->trusted_proxies;
    return 0;
}

// The entries of a list as an array of their own.
static int borrow_list(struct auth_config *c, size_t item, const char *const **ret, size_t *ret_n)
{
    size_t const n = conf_list_len(c->conf, item);
    const char **const v = n > 0 ? arena_alloc(&c->arena, n * sizeof(*v)) : NULL;
    if (n > 0 && !v) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        v[i] = conf_list_at(c->conf, item, i);
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

static int load_access_defaults(struct auth_config *c)
{
    struct access_defaults *const d = &c->access;
    d->restricted_can_publish = conf_bool(c->conf, AUTH_RESTRICTED_PUBLISH);
    d->token_lifetime_s = conf_ms(c->conf, AUTH_TOKEN_LIFETIME) / 1000;
    int r = borrow_list(c, AUTH_ALLOWED_SERVERS, &d->allowed_servers, &d->allowed_server_count);
    r = r < 0 ? r
              : borrow_list(c, AUTH_BLOCKED_SERVERS, &d->blocked_servers, &d->blocked_server_count);
    return r < 0 ? r : borrow_list(c, AUTH_FULL_ACCESS, &c->full_access, &c->full_access_count);
}

static struct as_setting setting(const struct auth_config *c, size_t item)
{
    return (struct as_setting){conf_str(c->conf, item), conf_origin(c->conf, item)};
}

static int load_appservice(struct auth_config *c, char *err)
{
    struct as_settings const s = {.as_token = setting(c, AUTH_AS_TOKEN),
                                  .hs_token = setting(c, AUTH_HS_TOKEN),
                                  .registration_file = setting(c, AUTH_AS_REGISTRATION),
                                  .server_name = setting(c, AUTH_HS_NAME)};
    return as_config_load(&s, &c->as, err);
}

// systemd lists the folders of a unit with colons between them: the first one is ours.
static int load_state_dir(struct auth_config *c)
{
    const char *const text = conf_str(c->conf, AUTH_STATE_DIR);
    bool const listed =
        strcmp(conf_origin(c->conf, AUTH_STATE_DIR), "environment STATE_DIRECTORY") == 0;
    size_t const n = listed ? strcspn(text, ":") : strlen(text);
    c->state_dir = arena_strdup(&c->arena, bytes_of(text, n));
    return c->state_dir ? 0 : -ENOMEM;
}

int auth_config_load_edges(struct auth_config *c, char err[static CONF_ERROR_MAX])
{
    int r = load_addresses(c, err);
    r = r < 0 ? r : load_limits(c, err);
    r = r < 0 ? r : load_access_defaults(c);
    r = r < 0 ? r : load_state_dir(c);
    return r < 0 ? r : load_appservice(c, err);
}

void auth_config_free_edges(struct auth_config *c)
{
    cidr_set_done(&c->trusted_proxies);
    address_policy_done(&c->addresses);
    as_config_free(c->as);
}

const char *auth_config_state_dir(const struct auth_config *c)
{
    bool const wanted = conf_is_set(c->conf, AUTH_STATE_DIR) || !c->dev;
    return wanted ? c->state_dir : NULL;
}

bool auth_config_exempt_address(const struct auth_config *c, const struct addr *a)
{
    return addr_is_loopback(a) || cidr_set_match(&c->trusted_proxies, a);
}
