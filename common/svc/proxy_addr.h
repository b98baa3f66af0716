// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whose request it is when it came through reverse proxies: the client's address by
// X-Forwarded-For, Forwarded (RFC 7239) or X-Real-IP, believed only as far as trusted proxies wrote
// them (authorization-service 1.9). proxy_addr_pick is pure.
//
// A proxy appends the address it was connected from, so the list is read from the right: entries of
// trusted proxies are passed over, the first other one is the client. What stands further left was
// sent by him and says nothing. An entry that is no address ("unknown", "_hidden", garbage) ends
// the walk at the proxy that wrote it.
//
// The first of the three headers that is there is read and the others are ignored. So a trusted
// proxy must set (or remove) X-Forwarded-For: one that only sets another header would let a client
// pass a list of his own. nginx's $proxy_add_x_forwarded_for, Caddy, Traefik and HAProxy's "option
// forwardfor" do the right thing; several header lines count as one list.

#include "common/base/cidr.h"
#include "common/svc/httpd.h"

// More entries than these are no chain of proxies; only the rightmost are looked at.
#define PROXY_HOPS_MAX 32

struct proxy_headers {
    const char *forwarded_for; // X-Forwarded-For, all lines joined by commas; NULL: none
    const char *forwarded;     // Forwarded, likewise
    const char *real_ip;       // X-Real-IP
};

enum proxy_source {
    PROXY_PEER,    // the peer is no trusted proxy: its own address
    PROXY_HEADER,  // a trusted proxy named the client
    PROXY_UNKNOWN, // the peer is a trusted proxy and named nobody else: the last one's address.
                   // Everybody behind it shares this, so no limit by address makes sense
};

// Whose request it is; *ret has port 0 if a header gave it without one, and IPv4 inside IPv6 comes
// out as IPv4. trusted NULL: nobody is.
enum proxy_source proxy_addr_pick(const struct cidr_set *trusted, const struct addr *peer,
                                  const struct proxy_headers *headers, struct addr *ret);

// The same of a request.
enum proxy_source proxy_addr_of(const struct cidr_set *trusted, struct httpd_req *r,
                                struct addr *ret);
