// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/leave/delayed_event_answer.h"

#include <math.h>
#include <time.h>

#include "common/svc/jsonx.h"

#define PATH_UNSTABLE "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/"
#define PATH_STABLE "/_matrix/client/v1/delayed_events/"

static const char *const action_names[] = {"restart", "send", "lookup"};

static const char *const verdict_names[DELAYED_EVENT_VERDICT_COUNT] = {
    [DELAYED_EVENT_OK] = "ok",
    [DELAYED_EVENT_GONE] = "gone",
    [DELAYED_EVENT_RETRY] = "retry",
    [DELAYED_EVENT_RETRY_AFTER] = "retry_after",
    [DELAYED_EVENT_REFUSED] = "refused",
    [DELAYED_EVENT_UNAUTHENTICATED] = "unauthenticated",
    [DELAYED_EVENT_NO_ENDPOINT] = "no_endpoint",
    [DELAYED_EVENT_NO_URL] = "no_url",
};

const char *delayed_event_action_name(enum delayed_event_action a)
{
    return (unsigned)a < ARRAY_LEN(action_names) ? action_names[a] : "unknown";
}

const char *delayed_event_verdict_name(enum delayed_event_verdict v)
{
    return (unsigned)v < DELAYED_EVENT_VERDICT_COUNT ? verdict_names[v] : "unknown";
}

// ---- reading --------------------------------------------------------------------------------

static struct jsonx *parse(struct bytes body)
{
    struct jsonx_limits const limits = {
        .max_bytes = DELAYED_EVENT_BODY_MAX, .max_depth = 32, .flags = JSONX_ALLOW_TRAILING};
    struct jsonx *j = NULL;
    return body.n > 0 && jsonx_parse(body, &limits, &j) == 0 ? j : NULL;
}

static bool has_errcode(struct bytes body, const char *errcode)
{
    CLEANUP(jsonx_free) struct jsonx *j = parse(body);
    struct bytes code = {0};
    return j && jsonx_get_str(j, "errcode", &code) == 0 && bytes_eq_str(code, errcode);
}

bool delayed_event_says_not_found(struct bytes body)
{
    return has_errcode(body, "M_NOT_FOUND");
}

int delayed_event_room(struct bytes body, char ret[static DELAYED_EVENT_ROOM_MAX + 1])
{
    CLEANUP(jsonx_free) struct jsonx *j = parse(body);
    struct bytes room = {0};
    if (!j || jsonx_get_str(j, "room_id", &room) < 0 || room.n == 0 ||
        room.n > DELAYED_EVENT_ROOM_MAX || memchr(room.p, 0, room.n)) {
        return -EINVAL;
    }
    memcpy(ret, room.p, room.n);
    ret[room.n] = '\0';
    return 0;
}

int64_t delayed_event_delay_ms(struct bytes body)
{
    CLEANUP(jsonx_free) struct jsonx *j = parse(body);
    int64_t ms = 0;
    if (!j || (jsonx_get_int(j, "delay_ms", &ms) < 0 && jsonx_get_int(j, "delay", &ms) < 0)) {
        return 0;
    }
    return MAX(ms, 0);
}

// ---- how long a 429 asks to wait ------------------------------------------------------------

// A whole number with or without sign, nothing else: -1 if it is none or out of range. Negative
// numbers are 0.
static int64_t parse_seconds(const char *s)
{
    bool const negative = *s == '-';
    s += *s == '-' || *s == '+';
    int64_t v = 0;
    if (!*s) {
        return -1;
    }
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || v > INT64_MAX / 100) {
            return -1;
        }
        v = v * 10 + (*s - '0');
    }
    return negative ? 0 : v;
}

// Seconds from now until an HTTP date (RFC 9110 section 5.6.7, all three forms), rounded up, not
// negative; -1 if it is no date.
static int64_t parse_date(const char *s, wall_t now)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                        "%a %b %d %H:%M:%S %Y"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = {0};
        const char *const end = strptime(s, forms[i], &tm);
        if (end && !*end) {
            int64_t const us = (int64_t)timegm(&tm) * US_PER_S - now.us;
            return us <= 0 ? 0 : (us + US_PER_S - 1) / US_PER_S;
        }
    }
    return -1;
}

static int64_t body_seconds(struct bytes body)
{
    CLEANUP(jsonx_free) struct jsonx *j = parse(body);
    double ms = 0;
    if (!j || jsonx_get_real(j, "retry_after_ms", &ms) < 0 || !(ms > 0)) {
        return -1;
    }
    // Whole seconds as in the original: 500 ms are 1 s.
    double const s = ceil(ms / 1000);
    return s < (double)DELAYED_EVENT_WAIT_MAX_MS ? (int64_t)s : DELAYED_EVENT_WAIT_MAX_MS;
}

static struct delayed_event_class of_limit(wall_t now, const struct delayed_event_http *a)
{
    const char *const header = a->retry_after ? a->retry_after : "";
    // The header wins over the body, the number over the date.
    int64_t s = parse_seconds(header);
    s = s >= 0 ? s : parse_date(header, now);
    s = s >= 0 ? s : body_seconds(a->body);
    if (s < 0) {
        return (struct delayed_event_class){.verdict = DELAYED_EVENT_RETRY, .limited = true};
    }
    int64_t const ms = MIN(s, DELAYED_EVENT_WAIT_MAX_MS / 1000) * 1000;
    return (struct delayed_event_class){.verdict = DELAYED_EVENT_RETRY_AFTER,
                                        .wait_ms = MAX(ms, DELAYED_EVENT_WAIT_MIN_MS),
                                        .limited = true};
}

// ---- the table of 7.5 -----------------------------------------------------------------------

static enum delayed_event_verdict gone(enum delayed_event_action action)
{
    return action == DELAYED_EVENT_SEND ? DELAYED_EVENT_OK : DELAYED_EVENT_GONE;
}

static struct delayed_event_class of_refusal(struct bytes body)
{
    bool const demands =
        has_errcode(body, "M_MISSING_TOKEN") || has_errcode(body, "M_UNKNOWN_TOKEN");
    return (struct delayed_event_class){.verdict = demands ? DELAYED_EVENT_UNAUTHENTICATED
                                                           : DELAYED_EVENT_REFUSED,
                                        .wait_ms = DELAYED_EVENT_REFUSED_WAIT_MS};
}

struct delayed_event_class delayed_event_classify(enum delayed_event_action action, wall_t now,
                                                  const struct delayed_event_http *a)
{
    struct delayed_event_class c = {.verdict = DELAYED_EVENT_RETRY};
    switch (a->status) {
    case 200:
        c.verdict = DELAYED_EVENT_OK;
        break;
    case 204:
        c.verdict = action == DELAYED_EVENT_LOOKUP ? DELAYED_EVENT_RETRY : DELAYED_EVENT_OK;
        break;
    case 401:
    case 403:
        return of_refusal(a->body);
    case 404:
        // Without that errcode it is the event that is missing, whatever the body says.
        c.verdict =
            has_errcode(a->body, "M_UNRECOGNIZED") ? DELAYED_EVENT_NO_ENDPOINT : gone(action);
        break;
    case 405:
        c.verdict = has_errcode(a->body, "M_UNRECOGNIZED") ? DELAYED_EVENT_NO_ENDPOINT
                                                           : DELAYED_EVENT_RETRY;
        break;
    case 409:
        // Being finalised, or finalised already, with the other action.
        c.verdict = gone(action);
        break;
    case 429:
        return of_limit(now, a);
    default:
        break;
    }
    return c;
}

// ---- writing --------------------------------------------------------------------------------

bool delayed_event_id_ok(const char *delay_id)
{
    size_t const n = strlen(delay_id);
    if (n == 0 || n > DELAYED_EVENT_ID_MAX || strcmp(delay_id, ".") == 0 ||
        strcmp(delay_id, "..") == 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t const c = (uint8_t)delay_id[i];
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    return true;
}

// Percent-encodes what is not unreserved (RFC 3986 section 2.3).
static void add_escaped(struct dynbuf *b, const char *s)
{
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~";
    for (; *s; s++) {
        if (strchr(unreserved, *s)) {
            dynbuf_add_u8(b, (uint8_t)*s);
        } else {
            dynbuf_addf(b, "%%%02X", (unsigned)(uint8_t)*s);
        }
    }
}

int delayed_event_url(const char *base_url, const char *delay_id, enum delayed_event_action action,
                      bool stable, const char *as_user, struct dynbuf *out)
{
    if (!delayed_event_id_ok(delay_id)) {
        return -EINVAL;
    }
    dynbuf_add_str(out, base_url);
    dynbuf_add_str(out, stable ? PATH_STABLE : PATH_UNSTABLE);
    add_escaped(out, delay_id);
    if (action != DELAYED_EVENT_LOOKUP) {
        dynbuf_addf(out, "/%s", delayed_event_action_name(action));
    }
    if (as_user) {
        dynbuf_add_str(out, "?user_id=");
        add_escaped(out, as_user);
    }
    return 0;
}
