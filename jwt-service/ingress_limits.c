// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/ingress_limits.h"

#include "common/base/mem.h"
#include "jwt-service/openid/server_name.h"

#define KEYS_DEFAULT 16384

struct ingress_limits {
    const struct cidr_set *exempt;
    struct rate *address;
    struct rate *server;
    struct rate *user;
};

struct ingress_limits *ingress_limits_new(const struct ingress_limits_conf *conf)
{
    struct ingress_limits *const l = NEW(struct ingress_limits);
    size_t const keys = conf->keys > 0 ? conf->keys : KEYS_DEFAULT;
    if (!l) {
        return NULL;
    }
    l->exempt = conf->exempt;
    l->address = rate_new(conf->address, keys);
    l->server = rate_new(conf->server, keys);
    l->user = rate_new(conf->user, keys);
    if (!l->address || !l->server || !l->user) {
        ingress_limits_free(l);
        return NULL;
    }
    return l;
}

void ingress_limits_free(struct ingress_limits *l)
{
    if (l) {
        rate_free(l->address);
        rate_free(l->server);
        rate_free(l->user);
        mem_free(l);
    }
}

void ingress_limits_set(struct ingress_limits *l, const struct ingress_limits_conf *conf)
{
    l->exempt = conf->exempt;
    rate_set_limit(l->address, conf->address);
    rate_set_limit(l->server, conf->server);
    rate_set_limit(l->user, conf->user);
}

bool ingress_limits_address(struct ingress_limits *l, mono_t now, const struct addr *client,
                            int64_t *ret_retry_ms)
{
    struct addr const a = cidr_unmap(client);
    if (addr_is_loopback(&a) || cidr_set_match(l->exempt, &a)) {
        return true;
    }
    return rate_take(l->address, now, bytes_of(a.ip, a.family == ADDR_V6 ? 8 : 4), ret_retry_ms);
}

bool ingress_limits_server(struct ingress_limits *l, mono_t now, const char *server_name,
                           bool named, int64_t *ret_retry_ms)
{
    char key[SERVER_NAME_MAX + 1];
    size_t n = 0;
    char const end = server_name[0] == '[' ? ']' : ':';
    for (; n < sizeof(key) && server_name[n] && server_name[n] != end; n++) {
        char const c = server_name[n];
        key[n] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return named || rate_take(l->server, now, bytes_of(key, n), ret_retry_ms);
}

bool ingress_limits_user(struct ingress_limits *l, mono_t now, const char *user_id,
                         int64_t *ret_retry_ms)
{
    return rate_take(l->user, now, bytes_str(user_id), ret_retry_ms);
}
