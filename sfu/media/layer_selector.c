// SPDX-License-Identifier: Apache-2.0
#include "sfu/media/layer_selector.h"

void layer_selector_init(struct layer_selector *s, int encodings)
{
    *s = (struct layer_selector){
        .encodings = (int8_t)encodings,
        .max_spatial = LAYER_SELECTOR_SPATIAL_MAX,
        .max_temporal = LAYER_SELECTOR_TEMPORAL_MAX,
        .allowed_spatial = LAYER_SELECTOR_SPATIAL_MAX,
        .allowed_temporal = LAYER_SELECTOR_TEMPORAL_MAX,
        .current_spatial = LAYER_SELECTOR_NONE,
        .current_temporal = LAYER_SELECTOR_NONE,
    };
}

static int8_t clamp_layer(int v, int max)
{
    return (int8_t)(v < LAYER_SELECTOR_NONE ? LAYER_SELECTOR_NONE : MIN(v, max));
}

void layer_selector_set_max(struct layer_selector *s, int spatial, int temporal)
{
    s->max_spatial = clamp_layer(spatial, LAYER_SELECTOR_SPATIAL_MAX);
    s->max_temporal = clamp_layer(temporal, LAYER_SELECTOR_TEMPORAL_MAX);
}

void layer_selector_set_allowed(struct layer_selector *s, int spatial, int temporal, bool urgent)
{
    s->allowed_spatial = clamp_layer(spatial, LAYER_SELECTOR_SPATIAL_MAX);
    s->allowed_temporal = clamp_layer(temporal, LAYER_SELECTOR_TEMPORAL_MAX);
    if (urgent && s->current_spatial > s->allowed_spatial) {
        layer_selector_restart(s);
    }
}

void layer_selector_restart(struct layer_selector *s)
{
    s->current_spatial = LAYER_SELECTOR_NONE;
    s->current_temporal = LAYER_SELECTOR_NONE;
    s->grace_end = (mono_t){0};
    s->sync_wait = 0;
}

int layer_selector_target(const struct layer_selector *s, uint8_t live)
{
    int const limit = MIN(s->max_spatial, s->allowed_spatial);
    if (limit < 0) {
        return LAYER_SELECTOR_NONE;
    }
    int const want = MIN(limit, s->encodings - 1);
    for (int i = want; i >= 0; i--) {
        if (live & (1u << i)) {
            return i;
        }
    }
    for (int i = want + 1; i < s->encodings; i++) {
        if (live & (1u << i)) {
            return i;
        }
    }
    return want;
}

int layer_selector_target_temporal(const struct layer_selector *s)
{
    return MAX(0, MIN(s->max_temporal, s->allowed_temporal));
}

bool layer_selector_key_frame(struct layer_selector *s, mono_t now, int encoding, uint8_t live)
{
    int const target = layer_selector_target(s, live);
    if (target < 0 || encoding == s->current_spatial) {
        return false;
    }
    if (encoding == target) {
        return true;
    }
    int const current = s->current_spatial;
    if (current >= 0) {
        // A step of the way: never away from the target.
        return (current < encoding && encoding < target) ||
               (target < encoding && encoding < current);
    }
    if (encoding > target) {
        return false;
    }
    if (s->grace_end.us == 0) {
        s->grace_end = mono_add_us(now, LAYER_SELECTOR_GRACE_US);
    }
    return mono_reached(s->grace_end, now);
}

void layer_selector_switched(struct layer_selector *s, int encoding)
{
    s->current_spatial = (int8_t)encoding;
    s->current_temporal = (int8_t)layer_selector_target_temporal(s);
    s->grace_end = (mono_t){0};
    s->sync_wait = 0;
}

uint8_t layer_selector_temporal(struct layer_selector *s, uint8_t tid, bool frame_start,
                                bool key_frame, bool layer_sync)
{
    int const target = layer_selector_target_temporal(s);
    if (LIKELY(s->current_temporal == target)) {
        return (uint8_t)target;
    }
    if (s->current_temporal > target || (key_frame && frame_start)) {
        s->current_temporal = (int8_t)target;
        s->sync_wait = 0;
    } else if (frame_start) {
        bool const reachable = tid > s->current_temporal && tid <= target;
        s->sync_wait = (uint8_t)MIN(s->sync_wait + 1, LAYER_SELECTOR_SYNC_WAIT);
        if (reachable && (layer_sync || s->sync_wait >= LAYER_SELECTOR_SYNC_WAIT)) {
            s->current_temporal = (int8_t)tid;
        }
    }
    return (uint8_t)MAX(0, s->current_temporal);
}

bool layer_selector_wants_key_frame(const struct layer_selector *s, uint8_t live,
                                    uint8_t *ret_encoding)
{
    int const target = layer_selector_target(s, live);
    if (target < 0 || target == s->current_spatial) {
        return false;
    }
    *ret_encoding = (uint8_t)target;
    return true;
}
