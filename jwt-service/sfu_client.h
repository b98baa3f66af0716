// SPDX-License-Identifier: Apache-2.0
#pragma once
// Calls of this service to the SFU's API: Twirp over HTTP, protobuf, signed with the API key
// (authorization-service 6.2). Owner thread: the loop's.

#include "common/lk/keys.h"
#include "common/svc/httpc.h"

#define SFU_CALL_MS 5000 // authorization-service 6.2: the original waits for ever

struct sfu_client;
struct sfu_call;

struct sfu_result {
    bool ok;
    const char *room_sid; // ok
    bool created;         // ok: the room is new (as far as its creation time tells)
    const char *step;     // not ok: "connect", "timeout", "unauthenticated", ...
    const char *text;     // not ok: one line for the operator
    int64_t elapsed_ms;
};

// `url`: LIVEKIT_URL or LIVEKIT_INTERNAL_URL. keys and http must outlive it. -EINVAL: url is no ws,
// wss, http or https URL. -ENOMEM.
int sfu_client_new(struct loop *loop, struct httpc *http, const struct api_keys *keys,
                   const char *url, struct sfu_client **ret) NODISCARD;
// Every call must have ended or been cancelled. Accepts NULL.
void sfu_client_free(struct sfu_client *c);
DEFINE_CLEANUP(struct sfu_client *, sfu_client_free)

// Makes sure that the room exists; an existing one is left as it is. fn is called once from the
// loop, never from inside this call; *ret is valid until then. -ENOMEM.
int sfu_client_create_room(struct sfu_client *c, const char *room,
                           void (*fn)(void *user, const struct sfu_result *result), void *user,
                           struct sfu_call **ret) NODISCARD;

// fn will not be called.
void sfu_client_cancel(struct sfu_call *call);
