// SPDX-License-Identifier: Apache-2.0
#pragma once
// Codecs that a browser claims and does badly: they are neither offered to it nor taken from it,
// and it is told (livekit-protocol 3.4, ClientConfiguration.disabled_codecs).
//
//   Safari              AV1, both ways: only some devices decode it
//   Safari after 18.3   VP9, publishing
//   Firefox before 157  AV1, both ways: it shows nothing but the lowest layer of a stream with
//                       several; not in livekit-server 1.13.5, in later ones
//   Firefox on Linux and Android, Xiaomi 2201117TI   H264, publishing
//
// The browsers of iOS count as Safari of the version of the system, which they are inside;
// livekit-server means only that of macOS. Upstream: livekit pkg/clientconfiguration/conf.go. Pure.

#include "common/base/arena.h"

typedef struct Livekit__ClientConfiguration Livekit__ClientConfiguration;
typedef struct Livekit__ClientInfo Livekit__ClientInfo;

// Bits are 1u << enum codec.
struct client_codecs {
    uint32_t disabled;
    uint32_t not_published; // besides
};

struct client_codecs client_codecs_of(const Livekit__ClientInfo *info);

// What the client may publish of the enabled codecs.
uint32_t client_codecs_publish(const struct client_codecs *c, uint32_t enabled);

// For the answers to a join and a resume. *ret is NULL if nothing is disabled. -ENOMEM.
int client_codecs_to_proto(const struct client_codecs *c, struct arena *a,
                           Livekit__ClientConfiguration **ret) NODISCARD;
