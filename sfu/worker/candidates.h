// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which addresses a worker advertises, and why: what the operator names, else the addresses of this
// host that its sockets are bound to and others can reach. Never a third party's opinion (no STUN).
//
// Order of preference without a setting: every global address of an interface that is up; private
// ones as well, since LAN clients exist; loopback only if there is nothing else, or when asked for
// (development).
//
// Any thread (reads the interface list once).

#include "common/base/addr.h"

#define CANDIDATES_MAX 16

struct candidates_conf {
    const struct addr *node_ips; // named by the operator; then nothing else is advertised
    size_t node_ip_count;
    const struct addr *binds; // what the media sockets are bound to: nothing else is advertised
    size_t bind_count;
    bool loopback; // also 127.0.0.1 and ::1
    uint16_t port;
};

struct candidates {
    struct addr addrs[CANDIDATES_MAX];
    size_t count;
    char *lines[CANDIDATES_MAX]; // "candidate:...", best first
    char *one[2];                // the best of each family
    size_t one_count;
};

// -EADDRNOTAVAIL: this host has no address to offer; -ENOMEM; negative errno of the interface list.
int candidates_make(const struct candidates_conf *conf, struct candidates *ret) NODISCARD;
void candidates_done(struct candidates *c);
