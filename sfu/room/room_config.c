// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/room_config.h"

#include "common/lk/livekit.h"
#include "common/svc/pbjson.h"

int room_config_agents(Livekit__RoomAgentDispatch **v, size_t n, struct shared_buf **ret)
{
    Livekit__RoomConfiguration m = LIVEKIT__ROOM_CONFIGURATION__INIT;
    m.agents = v;
    m.n_agents = MIN(n, (size_t)AGENT_DISPATCHES_MAX);
    *ret = NULL;
    return n > 0 ? pbuf_pack_shared(&m.base, API_BODY_MAX, ret) : 0;
}

int room_config_new_room(struct room_env *env, const char *name, const struct access_claims *claims,
                         struct room **ret)
{
    CLEANUP(pbuf_free) struct pbuf *b = NULL;
    CLEANUP(shared_buf_unref) struct shared_buf *agents = NULL;
    struct room_new_args args = {.name = name};
    const char *const text = claims->room_config;
    if (text != NULL && pbjson_read(&livekit__room_configuration__descriptor, bytes_str(text),
                                    &PBJSON_LIMITS_DEFAULT, &b) == 0) {
        const Livekit__RoomConfiguration *const m = b->msg;
        args.metadata = m->metadata;
        args.empty_timeout_s = m->empty_timeout;
        args.departure_timeout_s = m->departure_timeout;
        args.max_participants = m->max_participants;
        args.min_playout_delay_ms = m->min_playout_delay;
        args.max_playout_delay_ms = m->max_playout_delay;
        args.sync_streams = m->sync_streams;
        int const rc = room_config_agents(m->agents, m->n_agents, &agents);
        if (rc < 0) {
            return rc;
        }
        args.agents = agents;
    }
    return room_new(env, &args, ret);
}
