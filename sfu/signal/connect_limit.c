// SPDX-License-Identifier: Apache-2.0
#include "sfu/signal/connect_limit.h"

#include "common/svc/proxy_addr.h"

int connect_limit_init(struct connect_limit *l, struct rate_limit limit,
                       const struct cidr_set *proxies)
{
    *l = (struct connect_limit){.proxies = proxies};
    l->identities = rate_new(IDENTITY_LIMIT, IDENTITY_LIMIT_KEYS);
    if (limit.per_1000s != 0) {
        l->rate = rate_new(limit, CONNECT_LIMIT_KEYS);
    }
    return l->identities != NULL && (l->rate != NULL || limit.per_1000s == 0) ? 0 : -ENOMEM;
}

void connect_limit_done(struct connect_limit *l)
{
    rate_free(l->rate);
    rate_free(l->identities);
    l->rate = l->identities = NULL;
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

bool connect_limit_pass_identity(struct connect_limit *l, mono_t now, const char *room,
                                 struct bytes identity, int64_t *ret_retry_s)
{
    // Both are bounded (check_grants); the zero between them stands in neither.
    uint8_t key[ROOM_NAME_MAX + 1 + PARTICIPANT_IDENTITY_MAX];
    struct wr w = wr_init(key, sizeof(key));
    wr_bytes(&w, bytes_str(room));
    wr_u8(&w, 0);
    wr_bytes(&w, identity);
    int64_t ms = 0;
    if (!wr_ok(&w) || rate_take(l->identities, now, wr_bytes_view(&w), &ms)) {
        return true;
    }
    l->refused_identities++;
    *ret_retry_s = MAX((ms + 999) / 1000, 1);
    return false;
}
