// SPDX-License-Identifier: Apache-2.0
#pragma once
// The token of a webhook: a JWT whose `sha256` claim binds it to the bytes of one body, so that a
// token that was seen elsewhere (a join token, another event) is worth nothing here.
// livekit-protocol 7.1, authorization-service 1.10. Pure.
//
// Upstream: livekit/protocol webhook/{url_notifier,verifier}.go. Deviations: `exp` is demanded, an
// `iat` more than a minute ahead is refused, a "Bearer " in front of the token is accepted.

#include "common/lk/access_token.h"

// livekit/protocol webhook/url_notifier.go: SetValidFor(5 * time.Minute).
#define WEBHOOK_TOKEN_LIFETIME_S 300

// The content type of the request (livekit-protocol 7.1).
#define WEBHOOK_CONTENT_TYPE "application/webhook+json"

// Signs a body: the text for the Authorization header (the bare token), the caller's to free
// (mem_free). -ENOMEM, or -EINVAL if the key's name is no UTF-8.
int webhook_sign(const struct api_key *key, wall_t now, struct bytes body, char **ret) NODISCARD;

enum webhook_check_why {
    WEBHOOK_CHECK_OK = 0,
    WEBHOOK_CHECK_NO_TOKEN,
    WEBHOOK_CHECK_BAD_TOKEN,  // see `token`
    WEBHOOK_CHECK_NO_DIGEST,  // no `sha256`: a token made for something else
    WEBHOOK_CHECK_BAD_DIGEST, // of another body, or changed on the way
    WEBHOOK_CHECK_WHY_COUNT,
};

// Why a request was refused; `text` for the log, without the token.
struct webhook_refusal {
    enum webhook_check_why why;
    enum access_token_why token;
    char text[160];
};

// Checks the Authorization header (empty view: absent) against the body, by any key of the set.
// -EACCES refused (*ret written on this failure only), -ENOMEM.
int webhook_check(const struct api_keys *keys, wall_t now, struct bytes authorization,
                  struct bytes body, struct webhook_refusal *ret) NODISCARD;
