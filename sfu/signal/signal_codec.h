// SPDX-License-Identifier: Apache-2.0
#pragma once
// A connect request as a JoinRequest: v1 carries one in its URL, v0 spells it out in query
// parameters (livekit-protocol 1.5, 1.6). Both end as the same message, with v0's defaults applied.
//
// Signalling thread.

#include "common/svc/httpd.h"
#include "common/svc/pbuf.h"
#include "sfu/signal/auth.h"

// Decodes the join_request parameter. -EACCES with *refusal (status 400), -ENOMEM.
int signal_codec_v1(const char *join_request, struct pbuf **ret,
                    struct auth_refusal *refusal) NODISCARD;

// Builds the message from v0's parameters. validate: the attributes parameter is checked (livekit
// ignores a broken one on the upgrade). -EACCES with *refusal, -ENOMEM.
int signal_codec_v0(const struct httpd_req *r, bool validate, struct pbuf **ret,
                    struct auth_refusal *refusal) NODISCARD;

// Fills in what HTTP knows better than the client: its address; and from the User-Agent what an SDK of
// browsers did not say.
int signal_codec_complete(const struct httpd_req *r, struct pbuf *join_request) NODISCARD;
