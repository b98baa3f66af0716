// SPDX-License-Identifier: Apache-2.0
#pragma once
// Structured log: a constant event name and typed pairs, one line a message on stderr.
//
//   log_info(&lc, "ice.selected", KV_STR("room", r), KV_ADDR("remote", a), KV_U64("rtt_us", n));
//
// JSON, one object a line; text when stderr is a terminal. Values never stand inside free text.
// Addresses and identities go through KV_ADDR and KV_ID, which follow the redaction setting.
// Secrets have no type here, on purpose: a token, key or password cannot be logged. Each call site
// passes at most LOG_SITE_BURST lines a second; what it held back is told as "suppressed" with its
// next line. Any thread; a line is one write(2). Never called by pure layers or per packet.

#include <stdatomic.h>

#include "common/base/addr.h"
#include "common/base/mono.h"

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_COUNT
};

enum log_format {
    LOG_FORMAT_AUTO, // text on a terminal, else JSON
    LOG_FORMAT_JSON,
    LOG_FORMAT_TEXT,
};

// What happens to KV_ADDR and KV_ID.
enum log_redact {
    LOG_REDACT_NONE, // as they are
    LOG_REDACT_HASH, // a keyed hash, new with each process: lines can be related to each other, not
                     // to people
    LOG_REDACT_HIDE, // "-"
};

// 20 lines a second from one place tell a human everything; more only fill disks.
#define LOG_SITE_BURST 20

// Longest line; longer values are cut and end in "...". PIPE_BUF keeps lines of several threads
// apart on a pipe.
#define LOG_LINE_MAX 4096

enum log_kv_type {
    LOG_KV_NONE,
    LOG_KV_STR,
    LOG_KV_BYTES,
    LOG_KV_I64,
    LOG_KV_U64,
    LOG_KV_BOOL,
    LOG_KV_F64,
    LOG_KV_ADDR,
    LOG_KV_ID,
    LOG_KV_ERRNO,
};

struct log_kv {
    const char *key;
    enum log_kv_type type;
    union {
        const char *str;
        struct bytes bytes;
        int64_t i64;
        uint64_t u64;
        double f64;
        bool b;
        const struct addr *addr;
    } v;
};

#define KV_STR(k, s) ((struct log_kv){.key = (k), .type = LOG_KV_STR, .v.str = (s)})
#define KV_BYTES(k, x)                                                                             \
    ((struct log_kv){                                                                              \
        .key = (k), .type = LOG_KV_BYTES, .v.bytes = (x)}) // text that is not terminated
#define KV_I64(k, n) ((struct log_kv){.key = (k), .type = LOG_KV_I64, .v.i64 = (n)})
#define KV_U64(k, n) ((struct log_kv){.key = (k), .type = LOG_KV_U64, .v.u64 = (n)})
#define KV_F64(k, x) ((struct log_kv){.key = (k), .type = LOG_KV_F64, .v.f64 = (x)})
#define KV_BOOL(k, x) ((struct log_kv){.key = (k), .type = LOG_KV_BOOL, .v.b = (x)})
#define KV_ADDR(k, a)                                                                              \
    ((struct log_kv){.key = (k), .type = LOG_KV_ADDR, .v.addr = (a)}) // const struct addr *
#define KV_ID(k, s)                                                                                \
    ((struct log_kv){.key = (k), .type = LOG_KV_ID, .v.str = (s)}) // identities, user ids
#define KV_ERRNO(k, e)                                                                             \
    ((struct log_kv){.key = (k), .type = LOG_KV_ERRNO, .v.i64 = (e)}) // negative errno as text

// Pairs that go with every line of an object (room, participant, connID, trackID). The values are
// copied.
#define LOG_CTX_PAIRS 6
#define LOG_CTX_TEXT 384

struct log_ctx {
    struct {
        const char *key;
        uint16_t at; // offset of the value in text
        uint8_t type;
    } pair[LOG_CTX_PAIRS];
    uint8_t count;
    uint16_t used;
    char text[LOG_CTX_TEXT];
};

// Binds a pair (LOG_KV_STR or LOG_KV_ID); key must be a constant. More than fit are left out, long
// values cut.
void log_ctx_init(struct log_ctx *c,
                  const struct log_ctx *parent); // parent may be NULL; its pairs are copied
void log_ctx_bind(struct log_ctx *c, struct log_kv kv);

// One per call site, made by the macros.
struct log_site {
    _Atomic int64_t window_s;
    _Atomic uint32_t passed;
    _Atomic uint32_t held;
    uint32_t burst; // lines a second, for lines that are records; 0: LOG_SITE_BURST
};

struct log_settings {
    enum log_level level;
    enum log_format format;
    enum log_redact redact;
};

// Before other threads start; later calls are seen by them eventually. The default is info, auto,
// none.
void log_setup(const struct log_settings *s);
bool log_level_parse(const char *text,
                     enum log_level *ret); // debug info warn warning error, any case

// Sends lines (without newline) to fn instead of stderr, for tests. NULL undoes it. Not while other
// threads log.
void log_set_sink(void (*fn)(void *user, enum log_level level, struct bytes line), void *user);

// True if a line of this level would be written; the macros ask it before they build pairs.
bool log_enabled(enum log_level level);

// Use the macros. kv[0] is a placeholder, so that no pairs at all is not a special case.
void log_write(struct log_site *site, enum log_level level, const struct log_ctx *ctx,
               const char *event, const struct log_kv *kv, size_t n);

#define LOG_AT_(level, ctx, event, ...)                                                            \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            static struct log_site log_site_;                                                      \
            const struct log_kv log_kv_[] = {{.type = LOG_KV_NONE} __VA_OPT__(, ) __VA_ARGS__};    \
            log_write(&log_site_, level, ctx, event, log_kv_, ARRAY_LEN(log_kv_));                 \
        }                                                                                          \
    } while (0)

// ctx may be NULL.
#define log_debug(ctx, event, ...) LOG_AT_(LOG_LEVEL_DEBUG, ctx, event __VA_OPT__(, ) __VA_ARGS__)
#define log_info(ctx, event, ...) LOG_AT_(LOG_LEVEL_INFO, ctx, event __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(ctx, event, ...) LOG_AT_(LOG_LEVEL_WARN, ctx, event __VA_OPT__(, ) __VA_ARGS__)
#define log_error(ctx, event, ...) LOG_AT_(LOG_LEVEL_ERROR, ctx, event __VA_OPT__(, ) __VA_ARGS__)
