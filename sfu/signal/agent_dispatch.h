// SPDX-License-Identifier: Apache-2.0
#pragma once
// livekit.AgentDispatchService (livekit-protocol 6.3): dispatches are kept with their room and told
// when asked for. Agents' workers cannot register here (there is no /agent), so nothing comes of them,
// as with a livekit-server that no worker is connected to. A room has one for any agent from the
// beginning, as there.
//
// Deviation: an absent room is answered at once, where the original waits three seconds for a server
// that has it.
//
// Signalling thread.

#include "common/lk/access_token.h"
#include "common/lk/livekit.h"
#include "common/lk/twirp.h"
#include "sfu/base/sfu_limits.h"

struct agent_dispatch;

struct agent_dispatches {
    struct agent_dispatch *list;
    uint32_t count;
    bool has_first; // the one for any agent was made
};

void agent_dispatches_done(struct agent_dispatches *d);

struct agent_method {
    const char *name;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
};

// NULL: there is none of that name.
const struct agent_method *agent_method_find(struct bytes name);

// The room that a request is about; "" if it names none.
const char *agent_method_room(const struct agent_method *m, const ProtobufCMessage *req);

// Does what is asked with the dispatches of a room that was made at `created`; *ret_body, the encoded
// response, is the caller's (shared_buf_unref). -EINVAL with *ret_error filled.
int agent_method_call(const struct agent_method *m, struct agent_dispatches *d, wall_t created,
                      wall_t now, const ProtobufCMessage *req, struct shared_buf **ret_body,
                      struct twirp_error *ret_error) NODISCARD;
