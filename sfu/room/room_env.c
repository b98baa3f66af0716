// SPDX-License-Identifier: Apache-2.0
#include "sfu/room/room_env.h"

#include "common/lk/sid.h"

static_assert(SID_SIZE == 24, "room_env_sid writes a SID_SIZE buffer");

int room_env_claim_timers(struct room_env *env, uint32_t add)
{
    int const rc = timer_heap_reserve(env->timers, env->timer_count + add);
    if (rc == 0) {
        env->timer_count += add;
    }
    return rc;
}

void room_env_release_timers(struct room_env *env, uint32_t n)
{
    assert(env->timer_count >= n);
    env->timer_count -= n;
}

void room_env_post(struct room_env *env, struct channel_msg *m)
{
    m->next = NULL;
    m->worker = env->worker;
    if (env->out_tail != NULL) {
        env->out_tail->next = m;
    } else {
        env->out_head = m;
    }
    env->out_tail = m;
}

const char *room_env_sid(struct room_env *env, const char *prefix, char ret[static 24])
{
    uint8_t random[SID_RANDOM_LEN];
    rng_bytes(env->rng, random, sizeof(random));
    return sid_make(prefix, random, ret);
}

const char *room_drop_name(enum room_drop d)
{
    static const char *const names[ROOM_DROP_COUNT] = {
        [ROOM_DROP_UNBOUND_SSRC] = "unbound_ssrc",
        [ROOM_DROP_MALFORMED_RTP] = "malformed_rtp",
        [ROOM_DROP_MALFORMED_RTCP] = "malformed_rtcp",
        [ROOM_DROP_BATCH_FULL] = "batch_full",
        [ROOM_DROP_SSRC_LIMIT] = "ssrc_limit",
        [ROOM_DROP_DATA_NOT_ALLOWED] = "data_not_allowed",
        [ROOM_DROP_DATA_MALFORMED] = "data_malformed",
        [ROOM_DROP_DATA_REPEATED] = "data_repeated",
        [ROOM_DROP_DATA_GAP] = "data_gap",
        [ROOM_DROP_DATA_TOO_LARGE] = "data_too_large",
        [ROOM_DROP_DATA_NO_CHANNEL] = "data_no_channel",
        [ROOM_DROP_DATA_HELD] = "data_held",
        [ROOM_DROP_DATA_SLOW] = "data_slow",
        [ROOM_DROP_DATA_TRACK_UNKNOWN] = "data_track_unknown",
        [ROOM_DROP_DATA_TRACK_LIMIT] = "data_track_limit",
        [ROOM_DROP_REQUEST_STALE] = "request_stale",
        [ROOM_DROP_REQUEST_ITEMS] = "request_items",
        [ROOM_DROP_ADDRESS_TAKEN] = "address_taken",
    };
    return d < ROOM_DROP_COUNT ? names[d] : "unknown";
}
