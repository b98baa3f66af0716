// SPDX-License-Identifier: Apache-2.0
#pragma once
// The settings of the load generator.

#include "common/svc/conf.h"

#define LOADGEN_CLIENTS_MAX 4000

enum loadgen_item {
    LOADGEN_URL,
    LOADGEN_KEY,
    LOADGEN_SECRET,
    LOADGEN_ROOM,
    LOADGEN_PUBLISHERS,
    LOADGEN_SUBSCRIBERS,
    LOADGEN_MEETING,
    LOADGEN_AUDIO,
    LOADGEN_PPS,
    LOADGEN_PACKET_SIZE,
    LOADGEN_BURST,
    LOADGEN_SECONDS,
    LOADGEN_WARMUP,
    LOADGEN_JOIN_RATE,
    LOADGEN_JOIN_TIMEOUT,
    LOADGEN_SAMPLE_EVERY,
    LOADGEN_PROTOCOL,
    LOADGEN_DATA,
    LOADGEN_RECEIVE_LOSS,
    LOADGEN_SEND_LOSS,
    LOADGEN_COUNT
};

extern const struct conf_spec loadgen_spec;
