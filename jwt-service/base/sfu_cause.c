// SPDX-License-Identifier: Apache-2.0
#include "jwt-service/base/sfu_cause.h"

#include "common/svc/jsonx.h"

#define ANSWER_MAX (64u << 10) // an error is a sentence, a proxy's page some KiB

static const char *const hints[SFU_CAUSE_COUNT] = {
    [SFU_CAUSE_NONE] = "",
    [SFU_CAUSE_URL] = "does LIVEKIT_URL (or LIVEKIT_INTERNAL_URL) lead to the SFU?",
    [SFU_CAUSE_DNS] = "is the host in LIVEKIT_URL (or LIVEKIT_INTERNAL_URL) known here?",
    [SFU_CAUSE_CONNECT] = "does the SFU run, and may this host connect to it? "
                          "LIVEKIT_INTERNAL_URL names a way without the public address",
    [SFU_CAUSE_TLS] = "is the certificate one that this host trusts (LIVEKIT_CA_FILE)? "
                      "LIVEKIT_INTERNAL_URL can name the SFU without TLS",
    [SFU_CAUSE_TIMEOUT] = "a firewall or a proxy may swallow it; LIVEKIT_INTERNAL_URL names a way "
                          "without the public address",
    [SFU_CAUSE_PROXY] = "the proxy in front does not reach the SFU: does the SFU run?",
    [SFU_CAUSE_KEY_UNKNOWN] = "LIVEKIT_KEY is not among the SFU's keys",
    [SFU_CAUSE_SECRET] = "LIVEKIT_SECRET is not the one that the SFU has for this key",
    [SFU_CAUSE_CLOCK] = "the clocks of this host and of the SFU differ",
    [SFU_CAUSE_PERMISSION] = "are LIVEKIT_KEY and LIVEKIT_SECRET those of the SFU?",
    [SFU_CAUSE_NOT_FOUND] = "",
    [SFU_CAUSE_SFU] = "see the SFU's log",
    [SFU_CAUSE_BROKEN] = "",
};

const char *sfu_cause_hint(enum sfu_cause c)
{
    return (unsigned)c < SFU_CAUSE_COUNT ? hints[c] : "";
}

// True if the SFU itself speaks: a proxy's page has no such member.
static bool is_twirp(struct bytes body)
{
    struct jsonx_limits const limits = {.max_bytes = ANSWER_MAX, .max_depth = 8};
    CLEANUP(jsonx_free) struct jsonx *j = NULL;
    struct bytes code = {0};
    return jsonx_parse(body, &limits, &j) == 0 && jsonx_get_str(j, "code", &code) == 0 &&
           code.n > 0;
}

static enum sfu_cause of_twirp(enum twirp_code code)
{
    switch (code) {
    case TWIRP_NOT_FOUND:
        return SFU_CAUSE_NOT_FOUND;
    case TWIRP_BAD_ROUTE:
        return SFU_CAUSE_URL;
    case TWIRP_UNAUTHENTICATED:
    case TWIRP_PERMISSION_DENIED:
        return SFU_CAUSE_PERMISSION;
    default:
        return SFU_CAUSE_SFU;
    }
}

static bool says(struct bytes body, const char *words)
{
    return body.n > 0 && memmem(body.p, MIN(body.n, (size_t)ANSWER_MAX), words, strlen(words));
}

// The sentences of LiveKit's token check, which stands in front of the API and speaks plain text
// (livekit-protocol 1.3; the last of each kind is of servers before 2025).
static enum sfu_cause of_refusal(struct bytes body)
{
    if (says(body, "invalid API key")) {
        return SFU_CAUSE_KEY_UNKNOWN;
    }
    if (says(body, "signature is invalid") || says(body, "error in cryptographic primitive")) {
        return SFU_CAUSE_SECRET;
    }
    if (says(body, "is expired") || says(body, "not valid yet") ||
        says(body, "used before issued") || says(body, "issued in the future")) {
        return SFU_CAUSE_CLOCK;
    }
    return SFU_CAUSE_PERMISSION;
}

enum sfu_cause sfu_cause_of_answer(unsigned status, struct bytes body,
                                   const struct twirp_error *error)
{
    if (is_twirp(body)) {
        return of_twirp(error->code);
    }
    switch (status) {
    case 401:
    case 403:
        return of_refusal(body);
    case 429:
    case 500:
        return SFU_CAUSE_SFU;
    case 502:
    case 503:
    case 504:
        return SFU_CAUSE_PROXY;
    default:
        // 2xx of a web page, a redirect, 404, 405, 400 of a port that wants TLS.
        return status < 500 ? SFU_CAUSE_URL : SFU_CAUSE_PROXY;
    }
}

enum sfu_cause sfu_cause_of_step(enum httpc_step step)
{
    switch (step) {
    case HTTPC_OK:
        return SFU_CAUSE_NONE;
    case HTTPC_BAD_URL:
    case HTTPC_REDIRECT:
        return SFU_CAUSE_URL;
    case HTTPC_DNS:
        return SFU_CAUSE_DNS;
    case HTTPC_CONNECT:
    case HTTPC_DENIED:
        return SFU_CAUSE_CONNECT;
    case HTTPC_TLS:
        return SFU_CAUSE_TLS;
    case HTTPC_TIMEOUT:
        return SFU_CAUSE_TIMEOUT;
    case HTTPC_SEND:
    case HTTPC_RECEIVE:
    case HTTPC_TOO_LARGE:
    case HTTPC_CANCELLED:
    case HTTPC_INTERNAL:
    case HTTPC_STEP_COUNT:
        break;
    }
    return SFU_CAUSE_BROKEN;
}
