// SPDX-License-Identifier: Apache-2.0
#pragma once
// The HTTP face of application-service mode: what the homeserver hands over to us (MSC4195, MSC4512)
// and its ping (authorization-service 11.3). Owner thread: the loop's.
//
//   POST /_matrix/client/{unstable/io.element.msc4195,v1}/rtc/livekit/get_token
//   POST /_matrix/client/{unstable/io.element.msc4195,v1}/rtc/livekit/delegate_delayed_leave
//   POST /_matrix/federation/{unstable/io.element.msc4195,v1}/rtc/livekit/get_token
//   POST /_matrix/app/v1/ping
//
// Without the mode none of them exists: 404, on which clients fall back to OpenID.

#include "common/svc/httpd.h"
#include "jwt-service/as_config.h"
#include "jwt-service/as_flow.h"
