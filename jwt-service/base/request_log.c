// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/base/request_log.h"

#include <string.h>

static const char *const endpoint_names[REQUEST_ENDPOINT_COUNT] = {
    [REQUEST_SFU_GET] = "sfu_get",
    [REQUEST_GET_TOKEN] = "get_token",
    [REQUEST_DELEGATE] = "delegate_delayed_leave",
    [REQUEST_WEBHOOK] = "sfu_webhook",
    [REQUEST_HEALTHZ] = "healthz",
    [REQUEST_READYZ] = "readyz",
    [REQUEST_METRICS] = "metrics",
    [REQUEST_AS_GET_TOKEN] = "as_get_token",
    [REQUEST_AS_DELEGATE] = "as_delegate_delayed_leave",
    [REQUEST_AS_FEDERATION] = "as_federation_get_token",
    [REQUEST_AS_PING] = "as_ping",
    [REQUEST_OTHER] = "other",
};

static const char *const step_names[REQUEST_STEP_COUNT] = {
    [REQUEST_STEP_PARSE] = "parse",
    [REQUEST_STEP_LIMITS] = "limits",
    [REQUEST_STEP_OPENID] = "openid",
    [REQUEST_STEP_MEMBERSHIP] = "membership",
    [REQUEST_STEP_POLICY] = "policy",
    [REQUEST_STEP_MINT] = "mint",
    [REQUEST_STEP_CS_DISCOVERY] = "cs_discovery",
    [REQUEST_STEP_CREATE_ROOM] = "create_room",
    [REQUEST_STEP_DELEGATE] = "delegate",
    [REQUEST_STEP_RELAY] = "relay",
};

// The keys of the steps' times in the line.
static const char *const step_keys[REQUEST_STEP_COUNT] = {
    [REQUEST_STEP_PARSE] = "ms_parse",
    [REQUEST_STEP_LIMITS] = "ms_limits",
    [REQUEST_STEP_OPENID] = "ms_openid",
    [REQUEST_STEP_MEMBERSHIP] = "ms_membership",
    [REQUEST_STEP_POLICY] = "ms_policy",
    [REQUEST_STEP_MINT] = "ms_mint",
    [REQUEST_STEP_CS_DISCOVERY] = "ms_cs_discovery",
    [REQUEST_STEP_CREATE_ROOM] = "ms_create_room",
    [REQUEST_STEP_DELEGATE] = "ms_delegate",
    [REQUEST_STEP_RELAY] = "ms_relay",
};

static const char *const result_names[REQUEST_RESULT_COUNT] = {
    [REQUEST_OK] = "ok",
    [REQUEST_BAD] = "bad_request",
    [REQUEST_UNAUTHORIZED] = "unauthorized",
    [REQUEST_DENIED] = "denied",
    [REQUEST_LIMITED] = "limited",
    [REQUEST_TOO_LARGE] = "too_large",
    [REQUEST_NOT_FOUND] = "not_found",
    [REQUEST_BAD_METHOD] = "bad_method",
    [REQUEST_CS_API] = "no_cs_api",
    [REQUEST_SFU_FAILED] = "sfu_failed",
    [REQUEST_NOT_DELEGATED] = "not_delegated",
    [REQUEST_UNAVAILABLE] = "unavailable",
    [REQUEST_INTERNAL] = "internal",
    [REQUEST_GONE] = "gone",
};

const char *request_endpoint_name(enum request_endpoint e)
{
    return endpoint_names[e];
}

const char *request_step_name(enum request_step s)
{
    return s < REQUEST_STEP_COUNT ? step_names[s] : "";
}

const char *request_result_name(enum request_result r)
{
    return result_names[r];
}

// ---- collecting -----------------------------------------------------------------------------

// Methods are the client's text: only known ones become part of lines.
static const char *known_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "OPTIONS", "DELETE", "PATCH", "PUT"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i], method) == 0) {
            return known[i];
        }
    }
    return "other";
}

void request_log_start(struct request_log *l, mono_t now, const char *id,
                       enum request_endpoint endpoint, const char *method,
                       const struct addr *client)
{
    *l = (struct request_log){
        .endpoint = endpoint,
        .method = known_method(method),
        .started = now,
        .failed = REQUEST_STEP_COUNT,
    };
    memcpy(l->id, id, strnlen(id, REQUEST_LOG_ID_SIZE - 1));
    if (client != NULL) {
        l->client = *client;
    }
    for (size_t i = 0; i < REQUEST_STEP_COUNT; i++) {
        l->begun_us[i] = -1;
        l->took_us[i] = -1;
    }
}

void request_log_begin(struct request_log *l, enum request_step step, mono_t now)
{
    l->begun_us[step] = mono_diff_us(now, l->started);
    l->took_us[step] = -1;
}

void request_log_end(struct request_log *l, enum request_step step, mono_t now)
{
    if (l->begun_us[step] >= 0 && l->took_us[step] < 0) {
        l->took_us[step] = mono_diff_us(now, l->started) - l->begun_us[step];
    }
}

void request_log_fail(struct request_log *l, enum request_step step, mono_t now, const char *cause,
                      const char *text)
{
    request_log_end(l, step, now);
    if (l->failed != REQUEST_STEP_COUNT) {
        return;
    }
    l->failed = step;
    l->cause = cause;
    if (text != NULL) {
        memcpy(l->text, text, strnlen(text, REQUEST_LOG_TEXT_MAX));
    }
}

// ---- what it means --------------------------------------------------------------------------

static enum request_result result_of_status(unsigned status)
{
    switch (status) {
    case 0:
        return REQUEST_GONE;
    case 401:
        return REQUEST_UNAUTHORIZED;
    case 403:
        return REQUEST_DENIED;
    case 404:
        return REQUEST_NOT_FOUND;
    case 405:
        return REQUEST_BAD_METHOD;
    case 413:
        return REQUEST_TOO_LARGE;
    case 429:
        return REQUEST_LIMITED;
    case 503:
        return REQUEST_UNAVAILABLE;
    default:
        return status < 400 ? REQUEST_OK : status < 500 ? REQUEST_BAD : REQUEST_INTERNAL;
    }
}

enum request_result request_log_result(const struct request_log *l, unsigned status)
{
    enum request_result const by_status = result_of_status(status);
    // Where the status alone is ambiguous: 400 and 500 have several reasons (1.7).
    if (by_status != REQUEST_BAD && by_status != REQUEST_INTERNAL) {
        return by_status;
    }
    switch (l->failed) {
    case REQUEST_STEP_POLICY:
        return REQUEST_DENIED;
    case REQUEST_STEP_CS_DISCOVERY:
        return REQUEST_CS_API;
    case REQUEST_STEP_CREATE_ROOM:
        return REQUEST_SFU_FAILED;
    case REQUEST_STEP_DELEGATE:
        return REQUEST_NOT_DELEGATED;
    default:
        return by_status;
    }
}

enum log_level request_log_level(const struct request_log *l, unsigned status)
{
    if (l->endpoint == REQUEST_READYZ && status == 503) {
        return LOG_LEVEL_WARN; // asked every few seconds; what is not ready has lines of its own
    }
    if (status >= 500) {
        return LOG_LEVEL_ERROR;
    }
    if (l->endpoint == REQUEST_HEALTHZ || l->endpoint == REQUEST_READYZ ||
        l->endpoint == REQUEST_METRICS || strcmp(l->method, "OPTIONS") == 0) {
        return LOG_LEVEL_DEBUG;
    }
    return l->failed == REQUEST_STEP_OPENID ? LOG_LEVEL_WARN : LOG_LEVEL_INFO;
}

// ---- the line -------------------------------------------------------------------------------

#define PAIRS_MAX (18 + REQUEST_STEP_COUNT)

struct pairs {
    struct log_kv kv[PAIRS_MAX];
    size_t n;
};

static void add(struct pairs *p, struct log_kv kv)
{
    assert(p->n < PAIRS_MAX);
    p->kv[p->n++] = kv;
}

static void add_text(struct pairs *p, const char *key, const char *text)
{
    if (text != NULL && *text != '\0') {
        add(p, KV_STR(key, text));
    }
}

static void add_id(struct pairs *p, const char *key, const char *text)
{
    if (text != NULL && *text != '\0') {
        add(p, KV_ID(key, text));
    }
}

static void add_ms(struct pairs *p, const char *key, int64_t us)
{
    add(p, KV_F64(key, (double)us / (double)US_PER_MS));
}

static void add_steps(struct pairs *p, const struct request_log *l, mono_t now)
{
    for (size_t i = 0; i < REQUEST_STEP_COUNT; i++) {
        if (l->took_us[i] >= 0) {
            add_ms(p, step_keys[i], l->took_us[i]);
        } else if (l->begun_us[i] >= 0) {
            add_ms(p, step_keys[i], mono_diff_us(now, l->started) - l->begun_us[i]);
        }
    }
}

void request_log_write(const struct request_log *l, mono_t now, unsigned status,
                       const char *errcode)
{
    // One for each level: a flood of refused requests hides no tokens and no errors of ours.
    static struct log_site sites[LOG_LEVEL_COUNT] = {
        {.burst = REQUEST_LOG_BURST},
        {.burst = REQUEST_LOG_BURST},
        {.burst = REQUEST_LOG_BURST},
        {.burst = REQUEST_LOG_BURST},
    };
    enum log_level const level = request_log_level(l, status);
    if (!log_enabled(level)) {
        return;
    }
    struct pairs p = {.n = 0};
    add(&p, KV_STR("request_id", l->id));
    add(&p, KV_STR("endpoint", request_endpoint_name(l->endpoint)));
    add(&p, KV_STR("method", l->method));
    add(&p, KV_U64("status", status));
    add_text(&p, "errcode", errcode);
    add(&p, KV_STR("result", request_result_name(request_log_result(l, status))));
    add_text(&p, "failed", request_step_name(l->failed));
    add_text(&p, "cause", l->cause);
    // Times before texts of clients: whatever is too long cannot push them out of the line.
    add_ms(&p, "ms", mono_diff_us(now, l->started));
    add_steps(&p, l, now);
    char ip[ADDR_STRLEN];
    if (l->client.family != ADDR_NONE) {
        // Without the port, which differs each time: hashed, lines of one client stay relatable.
        add(&p, KV_ID("client", addr_format_ip(&l->client, ip)));
    }
    add_text(&p, "server", l->server_name);
    add_id(&p, "user", l->user);
    add_id(&p, "identity", l->identity);
    add_text(&p, "room", l->room);
    add_text(&p, "rule", l->rule);
    add_text(&p, "text", l->text);
    add_id(&p, "room_id", l->room_id);
    log_write(&sites[level], level, NULL, "request", p.kv, p.n);
}
