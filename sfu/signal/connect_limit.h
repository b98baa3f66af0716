// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many connect requests a second one client address may make. Each costs a token's signature, a
// place in a room and a key exchange; a thousand a second of one address are an attack or a loop, and
// they would be served at the expense of calls. An office or a campus behind one address comes in
// crowds too, also all at once when a server restarts: the default lets a thousand in at once and a
// hundred a second after that.
//
// A validate request is refused when the next connect would be, and takes nothing: a client asks it
// to learn why it was refused.
//
// Signalling thread.

#include "common/base/cidr.h"
#include "common/base/rate.h"
#include "common/svc/httpd.h"
#include "sfu/base/sfu_limits.h"

struct connect_limit {
    struct rate *rate; // by address; NULL: no limit
    struct rate *identities;
    const struct cidr_set *proxies; // borrowed
    uint64_t refused, refused_identities;
};

// limit.per_1000s 0: none. proxies: whose word about the client's address is believed (proxy_addr.h),
// and which have no limit themselves where they name nobody; this machine has none either. NULL: only
// this machine. -ENOMEM.
int connect_limit_init(struct connect_limit *l, struct rate_limit limit,
                       const struct cidr_set *proxies) NODISCARD;
void connect_limit_done(struct connect_limit *l);

// Whether the request may go on; takes from the address' allowance if `take`. False: it is counted,
// and *ret_retry_s, at least 1, is for Retry-After.
bool connect_limit_pass(struct connect_limit *l, mono_t now, struct httpd_req *r, bool take,
                        int64_t *ret_retry_s) NODISCARD;

// The same for who comes, after the token was checked, wherever from: IDENTITY_LIMIT of sfu_limits.h.
bool connect_limit_pass_identity(struct connect_limit *l, mono_t now, const char *room,
                                 struct bytes identity, int64_t *ret_retry_s) NODISCARD;
