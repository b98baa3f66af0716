// SPDX-License-Identifier: Apache-2.0
#pragma once
// livekit.AgentDispatchService (livekit-protocol 6.3): dispatches are kept with their room and told
// when asked for. Agents' workers cannot register here (there is no /agent), so nothing comes of them,
// as with a livekit-server that no worker is connected to. A room has those that it was made with
// (CreateRoom.agents, roomConfig of the token that made it), or one for any agent, from the
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
    bool has_first; // those of the beginning were made
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

struct agent_room {
    wall_t created;
    struct bytes agents; // that it was made with: an encoded RoomConfiguration, or nothing
};

// Does what is asked with the dispatches of a room; *ret_body, the encoded response, is the caller's
// (shared_buf_unref). -EINVAL with *ret_error filled.
int agent_method_call(const struct agent_method *m, struct agent_dispatches *d,
                      const struct agent_room *room, wall_t now, const ProtobufCMessage *req,
                      struct shared_buf **ret_body, struct twirp_error *ret_error) NODISCARD;
