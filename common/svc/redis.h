// SPDX-License-Identifier: Apache-2.0
#pragma once
// A Redis client on our loop: one connection, RESP2, commands pipelined. TCP, TLS or a Unix socket.
// Owner thread: the loop's.
//
// The connection is made again by itself with growing pauses (REDIS_RETRY_MIN_MS to
// REDIS_RETRY_MAX_MS, +-20 %). After connecting it sends AUTH if there is a password, SELECT unless
// the database is 0, and PING, nothing else: no HELLO and no CLIENT, which simple servers and narrow
// ACLs refuse (authorization-service 2.4).

#include "common/svc/dns.h"
#include "common/svc/redis_url.h"

struct redis;

#define REDIS_RETRY_MIN_MS 100
#define REDIS_RETRY_MAX_MS 5000

struct redis_conf {
    struct loop *loop;
    struct dns *dns;             // may be NULL if the host is a literal or a path
    const struct redis_url *url; // copied
    const char *ca_file;         // PEM beside the system's authorities, NULL or ""
    // From the loop: up, or not up any more, or (again) not to be reached; `why` is one line for the
    // operator, "" if up. May call any function of this module but redis_free.
    void (*on_state)(void *user, bool up, const char *why);
    void *user;
};

// Begins to connect. NULL without memory or when ca_file cannot be read.
struct redis *redis_new(const struct redis_conf *conf) NODISCARD;
// Commands under way are dropped without a callback. Not inside a callback. Accepts NULL.
void redis_free(struct redis *r);
DEFINE_CLEANUP(struct redis *, redis_free)

bool redis_is_up(const struct redis *r);

enum redis_answer_type {
    REDIS_ANSWER_LOST, // the connection ended before the answer: it may have been done or not
    REDIS_ANSWER_ERROR,
    REDIS_ANSWER_TEXT, // status or bulk string
    REDIS_ANSWER_INT,
    REDIS_ANSWER_NIL,
    REDIS_ANSWER_ARRAY, // its items went to on_item
};

struct redis_answer {
    enum redis_answer_type type;
    struct bytes text; // ERROR, TEXT, LOST: borrowed for the call
    int64_t number;    // INT: the value; ARRAY: how many
};

struct redis_ask {
    const struct bytes *args; // copied
    size_t count;
    // Every item of an array answer, as soon as it is there: a large hash is never in memory as a
    // whole. Items of other types than text come as empty texts. NULL: arrays are skipped. Must not
    // call functions of this module.
    void (*on_item)(void *user, size_t index, struct bytes item);
    // Once, from the loop. May send further commands.
    void (*on_answer)(void *user, const struct redis_answer *a);
    void *user;
    int64_t timeout_ms; // 0: the URL's read_timeout; running out ends the connection. An array that
                        // keeps coming is not timed out
};

// Sends a command. -ENOTCONN: not up; -E2BIG; -ENOMEM; nothing was sent and on_answer will not be
// called.
int redis_send(struct redis *r, const struct redis_ask *ask) NODISCARD;

// Longest single item and most items of one answer: 100,000 jobs are 200,000 items of at most 64 KiB.
#define REDIS_ITEM_MAX (1u << 20)
#define REDIS_ITEMS_MAX 4000000
