// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/connect_limit.h"

#include "common/svc/proxy_addr.h"

int connect_limit_init(struct connect_limit *l, struct rate_limit limit,
                       const struct cidr_set *proxies)
{
    *l = (struct connect_limit){.proxies = proxies};
    if (limit.per_1000s == 0) {
        return 0;
    }
    l->rate = rate_new(limit, CONNECT_LIMIT_KEYS);
    return l->rate != NULL ? 0 : -ENOMEM;
}

void connect_limit_done(struct connect_limit *l)
{
    rate_free(l->rate);
    l->rate = NULL;
}

bool connect_limit_pass(struct connect_limit *l, mono_t now, struct httpd_req *r, bool take,
                        int64_t *ret_retry_s)
{
    struct addr client;
    if (l->rate == NULL || proxy_addr_of(l->proxies, r, &client) == PROXY_UNKNOWN) {
        return true;
    }
    client = cidr_unmap(&client);
    if (addr_is_loopback(&client)) {
        return true;
    }
    // IPv6: one /64 is what one customer gets.
    struct bytes const key = bytes_of(client.ip, client.family == ADDR_V6 ? 8 : 4);
    int64_t ms = 0;
    if (take ? rate_take(l->rate, now, key, &ms) : rate_peek(l->rate, now, key, &ms)) {
        return true;
    }
    l->refused += take;
    *ret_retry_s = MAX((ms + 999) / 1000, 1);
    return false;
}
