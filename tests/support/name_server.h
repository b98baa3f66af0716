// SPDX-License-Identifier: Apache-2.0
#pragma once
// A name server on loopback that answers A, AAAA and SRV from a table (RFC 1035), on the loop of the
// test that uses it.

#include "common/base/addr.h"
#include "common/sys/loop.h"
#include "common/sys/udp.h"

#define NAME_SERVER_NAMES 16
#define NAME_SERVER_ADDRS 8

struct name_server_name {
    char name[128];
    struct addr addrs[NAME_SERVER_ADDRS];
    size_t count;
    char srv_target[128]; // "": no SRV
    uint16_t srv_port;
    unsigned asked; // questions for it, of any type
};

struct name_server {
    struct loop *loop;
    struct udp_socket sock;
    struct loop_poll *poll;
    struct name_server_name names[NAME_SERVER_NAMES];
    size_t count;
    unsigned asked;
    uint32_t ttl_s;
    bool silent;
    char where[32]; // for dns_conf.servers
};

void name_server_open(struct name_server *s, struct loop *l);
void name_server_close(struct name_server *s);

// Answers `name` with these addresses from now on: "192.0.2.1,2001:db8::1"; "" is an existing name
// without any. Others are NXDOMAIN.
void name_server_set(struct name_server *s, const char *name, const char *addrs);

// The same for the SRV record of a complete name.
void name_server_set_srv(struct name_server *s, const char *name, const char *target,
                         uint16_t port);

// Questions asked about a name so far.
unsigned name_server_asked(const struct name_server *s, const char *name);
