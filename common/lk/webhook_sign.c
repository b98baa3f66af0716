// SPDX-License-Identifier: Apache-2.0
#include "common/lk/webhook_sign.h"

#include <stdio.h>
#include <strings.h>

#include "common/base/base64.h"
#include "common/svc/digest.h"

// Characters of a digest in base64 with padding, and the zero behind them.
#define DIGEST_TEXT_LEN (BASE64_LEN(DIGEST_SHA256_LEN) + 1)

// The `sha256` claim of a body: standard alphabet, padded (livekit-protocol 7.1).
static bool digest_text(struct bytes body, char ret[static DIGEST_TEXT_LEN])
{
    uint8_t digest[DIGEST_SHA256_LEN];
    digest_sha256(body, digest);
    struct dynbuf text;
    dynbuf_init(&text, DIGEST_TEXT_LEN);
    base64_encode(BASE64_STD, bytes_of(digest, sizeof(digest)), &text);
    const char *const s = dynbuf_cstr(&text);
    if (s) {
        memcpy(ret, s, DIGEST_TEXT_LEN);
    }
    dynbuf_done(&text);
    return s != NULL;
}

int webhook_sign(const struct api_key *key, wall_t now, struct bytes body, char **ret)
{
    char digest[DIGEST_TEXT_LEN];
    if (!digest_text(body, digest)) {
        return -ENOMEM;
    }
    int64_t const now_s = now.us / US_PER_S;
    struct access_claims const claims = {
        .iat = now_s,
        .nbf = now_s,
        .exp = now_s + WEBHOOK_TOKEN_LIFETIME_S,
        .sha256 = digest,
    };
    return access_token_mint(&claims, key, ret);
}

static int refuse(struct webhook_refusal *ret, enum webhook_check_why why, const char *text)
{
    ret->why = why;
    ret->token = ACCESS_TOKEN_OK;
    (void)snprintf(ret->text, sizeof(ret->text), "%s", text);
    return -EACCES;
}

// LiveKit sends the bare token; proxies and people put "Bearer " in front.
static struct bytes without_bearer(struct bytes authorization)
{
    static const char prefix[] = "Bearer ";
    size_t const n = sizeof(prefix) - 1;
    if (authorization.n >= n && strncasecmp((const char *)authorization.p, prefix, n) == 0) {
        return bytes_of(authorization.p + n, authorization.n - n);
    }
    return authorization;
}

int webhook_check(const struct api_keys *keys, wall_t now, struct bytes authorization,
                  struct bytes body, struct webhook_refusal *ret)
{
    struct bytes const text = without_bearer(authorization);
    if (text.n == 0) {
        return refuse(ret, WEBHOOK_CHECK_NO_TOKEN, "no token in the Authorization header");
    }
    CLEANUP(access_token_free) struct access_token *token = NULL;
    struct access_token_refusal refusal;
    int const r = access_token_verify(keys, now, text, &token, &refusal);
    if (r == -EACCES) {
        (void)refuse(ret, WEBHOOK_CHECK_BAD_TOKEN, refusal.text);
        ret->token = refusal.why;
        return r;
    }
    if (r < 0) {
        return r;
    }
    if (!token->claims.sha256) {
        return refuse(ret, WEBHOOK_CHECK_NO_DIGEST, "the token has no sha256 claim");
    }
    char digest[DIGEST_TEXT_LEN];
    if (!digest_text(body, digest)) {
        return -ENOMEM;
    }
    if (!bytes_eq_consttime(bytes_str(token->claims.sha256), bytes_str(digest))) {
        return refuse(ret, WEBHOOK_CHECK_BAD_DIGEST,
                      "the sha256 claim of the token is not that of the body");
    }
    return 0;
}
