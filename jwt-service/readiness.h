// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether the service can do its work: is the SFU's API there and does it know our key, is the store
// of delegated leaves reachable (authorization-service 1.8; operators P5, P12). Owner thread: the
// loop's.
//
// The SFU is asked once at the start, and again while it is not well (after 1, 2, 4 ... 60 s), so
// that the log says what is wrong before the first call fails; after that only when somebody wants
// to know. An idle service that is well has no timer.

#include "common/base/dynbuf.h"
#include "jwt-service/base/sfu_client.h"
#include "jwt-service/leave/job_store.h"

// What was found out within this time is not asked again for /readyz.
#define READINESS_FRESH_MS 2000

struct readiness;

// NULL without memory. The objects must outlive it; store may be NULL.
struct readiness *readiness_new(struct loop *loop, struct sfu_client *sfu,
                                const struct job_store *store) NODISCARD;
// Whoever waits is not told. Accepts NULL.
void readiness_free(struct readiness *r);
DEFINE_CLEANUP(struct readiness *, readiness_free)

// Asks for the first time.
void readiness_start(struct readiness *r);

struct readiness_wait;

// Calls fn once, from the loop or from inside this call, with the answer: ready, and a JSON object
// that says of each part "ok" or what is wrong. *ret is valid until then, NULL if fn was called
// already. -ENOMEM: fn is not called.
int readiness_ask(struct readiness *r, void (*fn)(void *user, bool ready, struct bytes json),
                  void *user, struct readiness_wait **ret) NODISCARD;
// fn will not be called.
void readiness_cancel(struct readiness_wait *w);
