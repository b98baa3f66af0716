// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which simulcast encoding and which temporal layers of it a down track sends.
//
//   max (what the subscriber wants) ──┐
//                                     ├ min ► target, clamped to what is live ► key frame ► current
//   allowed (what bandwidth allows) ──┘
//
// Encodings change only at key frames; until then the current one goes on. Temporal layers are left
// at once and entered at a layer-sync picture (VP8 Y bit) or a key frame. At the start a key frame
// of a lower layer is passed over for a moment if the target layer is live: a request makes every
// browser send key frames on all layers within 10 to 210 ms (recordings cr-vp8-simulcast-pli1,
// ff-vp8-simulcast-pli1), and starting low would cost a second one.
//
// Pure. Upstream: livekit pkg/sfu/videolayerselector/simulcast.go, temporallayerselector/vp8.go
// @788d4c35 (deviation: grace of 300 ms, there 1 s; layer-sync respected).

#include "common/base/mono.h"

#define LAYER_SELECTOR_NONE (-1)
#define LAYER_SELECTOR_SPATIAL_MAX 2
#define LAYER_SELECTOR_TEMPORAL_MAX 3

// See above; the slowest recorded answer took 210 ms.
#define LAYER_SELECTOR_GRACE_US (300 * US_PER_MS)

// Senders other than libvpx may never set the layer-sync bit; its patterns do so every 8 pictures.
#define LAYER_SELECTOR_SYNC_WAIT 64

struct layer_selector {
    int8_t encodings;
    int8_t max_spatial, max_temporal;
    int8_t allowed_spatial, allowed_temporal;
    int8_t current_spatial, current_temporal; // LAYER_SELECTOR_NONE: nothing sent
    uint8_t sync_wait;                        // pictures since a higher temporal layer is wanted
    mono_t grace_end;                         // 0: no key frame was passed over yet
};

void layer_selector_init(struct layer_selector *s, int encodings);

void layer_selector_set_max(struct layer_selector *s, int spatial, int temporal);

// urgent: a current layer above the new limit stops at once; what follows has to begin with a key
// frame.
void layer_selector_set_allowed(struct layer_selector *s, int spatial, int temporal, bool urgent);

// Forgets the current layer: whatever comes next begins with a key frame.
void layer_selector_restart(struct layer_selector *s);

// The encoding aimed at, given which are live (bit = rank): the highest live one within the limits,
// else the lowest live one above (better than nothing); the wanted one if none is live.
// LAYER_SELECTOR_NONE if the limits allow none.
int layer_selector_target(const struct layer_selector *s, uint8_t live);

int layer_selector_target_temporal(const struct layer_selector *s);

// A key frame of `encoding` starts. True if the down track should switch to it; then call
// layer_selector_switched, or nothing if the switch turns out to be impossible.
bool layer_selector_key_frame(struct layer_selector *s, mono_t now, int encoding, uint8_t live);
void layer_selector_switched(struct layer_selector *s, int encoding);

// Highest temporal layer to send, for the next packet in order of the current encoding.
uint8_t layer_selector_temporal(struct layer_selector *s, uint8_t tid, bool frame_start,
                                bool key_frame, bool layer_sync);

// True if a key frame of *ret_encoding is needed to get where it should be.
bool layer_selector_wants_key_frame(const struct layer_selector *s, uint8_t live,
                                    uint8_t *ret_encoding);
