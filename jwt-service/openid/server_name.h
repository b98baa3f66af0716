// SPDX-License-Identifier: Apache-2.0
#pragma once
// The grammar of a Matrix server name (authorization-service 5.2; matrix-spec appendices, server
// name): hostname [":" port], where hostname is a DNS name, an IPv4 literal or an IPv6 literal in
// brackets. Pure.

#include "common/base/addr.h"

#define SERVER_NAME_MAX 255 // RFC 1035 section 2.3.4; user ids are no longer either

struct server_name {
    char host[SERVER_NAME_MAX + 1]; // without brackets
    uint16_t port;                  // 0: none given
    bool is_ip;
    bool is_v6;
};

// -EINVAL for everything else: other characters, empty labels, port 0, zone ids, and numbers that a
// resolver would take for an address without being a dotted quad (127.1, 0x7f000001).
int server_name_parse(struct bytes text, struct server_name *ret) NODISCARD;

// The form that stands in URLs and Host headers: brackets around IPv6, ":port" if port is not 0.
#define SERVER_NAME_TEXT (SERVER_NAME_MAX + 10)
void server_name_format(const char *host, bool is_v6, uint16_t port,
                        char ret[static SERVER_NAME_TEXT]);
