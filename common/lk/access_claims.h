// SPDX-License-Identifier: Apache-2.0
#pragma once
// The claims of an access token as JSON, both ways. livekit-protocol 2.2, 2.3. Pure; for
// access_token.c only.
//
// Upstream: livekit/protocol auth/grants.go (names, and which false is left out: plain booleans
// are, tri-states are not).

#include "common/base/arena.h"
#include "common/lk/access_token.h"
#include "common/svc/jsonx.h"

// Reads what we know of a payload; strings are copied to the arena. Claims we do not know are
// skipped. -EINVAL a claim has the wrong type, -E2BIG over the arena's cap or -ENOMEM. *ret is
// written also on failure.
int access_claims_read(const struct jsonx *payload, struct arena *arena,
                       struct access_claims *ret) NODISCARD;

// The payload of a token issued by `iss`, the caller's to free. -EINVAL: text that is not UTF-8 or
// a roomConfig that is no JSON; or no memory.
int access_claims_write(const struct access_claims *c, const char *iss,
                        struct jsonx **ret) NODISCARD;
