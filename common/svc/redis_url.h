// SPDX-License-Identifier: Apache-2.0
#pragma once
// The URL of a Redis server as go-redis reads it (authorization-service 2.4). Pure.
//
//   redis://[user:password@]host[:port][/db][?...]    rediss://...    unix:///path/to.sock[?db=1]

#include "common/base/bytes.h"

#define REDIS_URL_TEXT_MAX 1024 // of each part; longer is -EINVAL
#define REDIS_URL_ERROR_MAX 256

struct redis_url {
    bool tls;
    bool local;                        // unix: `host` is a path
    char host[REDIS_URL_TEXT_MAX];     // without brackets
    uint16_t port;                     // 6379 by default
    char user[REDIS_URL_TEXT_MAX];     // "" none
    char password[REDIS_URL_TEXT_MAX]; // "" none: then nobody is authenticated, user or not
    unsigned db;
    bool skip_verify;        // ?skip_verify=true: the certificate is not checked
    int64_t dial_timeout_ms; // 5 s by default, as go-redis
    int64_t read_timeout_ms; // of a command, 3 s by default, as go-redis
};

// Reads text. -EINVAL: err is a reason without the URL and without its secrets. Parameters that only
// concern go-redis' connection pool are checked for being known and otherwise ignored.
int redis_url_parse(const char *text, struct redis_url *ret,
                    char err[static REDIS_URL_ERROR_MAX]) NODISCARD;

// "redis://host:6379/0": for logs, without user and password.
#define REDIS_URL_SHOWN_MAX (REDIS_URL_TEXT_MAX + 64)
const char *redis_url_show(const struct redis_url *u, char buf[static REDIS_URL_SHOWN_MAX]);

// Wipes the secrets.
void redis_url_wipe(struct redis_url *u);
