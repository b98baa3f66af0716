// SPDX-License-Identifier: Apache-2.0
#pragma once
// LiveKit's services that need what this server does not have (livekit-protocol 6.3): recording,
// ingress, telephony. They are answered like a livekit-server without redis: unauthenticated without
// the grant, then internal with a text that SDKs show.
//
// Deviation: the body is not looked at, so a malformed one is not told.
//
// Signalling thread.

#include "common/lk/access_token.h"
#include "common/lk/twirp.h"

// Whether livekit.<Service> is one of them; bytes as in struct twirp_call.
bool absent_service_is(struct bytes service);

// What a call of one gets. token: NULL without one; path: for the method that it does not have.
struct twirp_error absent_service_error(const struct twirp_call *call, struct bytes path,
                                        const struct access_token *token);
