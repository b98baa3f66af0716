// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which addresses strangers may make us connect to (authorization-service 5.8 rules 2 to 5). Pure.
//
// Whoever asks for a token names a server, and with it addresses that are reached from inside the
// operator's network. So everything that is not plainly out on the Internet is refused: loopback,
// private, link-local (cloud metadata), shared, documentation, benchmarking, multicast and reserved
// ranges of IPv4; of IPv6 all but global unicast, without the ranges that IANA reserved in it. An
// address that carries an IPv4 one inside (mapped, compatible, translated, NAT64, 6to4, Teredo,
// ISATAP) is refused if the inner one is.
//
// The operator's lists come first: of all ranges in both that hold an address the longest decides,
// and deny if both are equally long; so "deny all, allow 203.0.113.0/24" and "allow 10.0.0.0/8,
// deny 10.0.0.1" both do what they say. An allowed outer form does not allow its inner one.
//
// Servers that the operator named are not asked about here at all (httpc_request.trusted), nor is
// anybody while certificates are not verified.

#include "common/base/cidr.h"

// Ports that may be connected to.
#define PORT_RANGES_MAX 32
struct port_set {
    struct {
        uint16_t from, to; // both included
    } v[PORT_RANGES_MAX];
    size_t count;
};

// "443", "8000-8999" or "any". -EINVAL (also port 0), -E2BIG.
int port_set_add(struct port_set *s, struct bytes text) NODISCARD;
bool port_set_has(const struct port_set *s, uint16_t port);

struct address_policy {
    struct cidr_set allow; // owned; address_policy_done empties them
    struct cidr_set deny;
    struct port_set ports; // empty: 443, 8448 and everything from 1024 on (5.8 rule 5)
};

void address_policy_done(struct address_policy *p);

enum address_verdict {
    ADDRESS_ALLOWED,
    ADDRESS_INSIDE, // not on the Internet
    ADDRESS_LISTED, // denied by the operator's list
    ADDRESS_PORT,   // its port is not allowed
};

// port 0: the port is not looked at.
enum address_verdict address_policy_check(const struct address_policy *p, const struct addr *a);

// The same for httpc_conf.allow_address; user is a struct address_policy.
bool address_policy_allows(void *user, const struct addr *a);

// True if a is out on the Internet by the built-in rules alone.
bool address_is_public(const struct addr *a);
