// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is known of a published track, in the terms of LiveKit's TrackInfo but as plain C that every
// file of the room may see. The mapping from AddTrackRequest and to TrackInfo stands here
// (livekit-protocol 3.6, 4.5). Pure.

#include "common/base/arena.h"
#include "common/base/mono.h"
#include "common/lk/sid.h"
#include "sfu/wire/codec.h"

typedef struct Livekit__AddTrackRequest Livekit__AddTrackRequest;
typedef struct Livekit__TrackInfo Livekit__TrackInfo;
typedef struct Livekit__UpdateLocalAudioTrack Livekit__UpdateLocalAudioTrack;

// livekit pkg/rtc/participant.go: ids and labels of clients are short; longer ones are cut.
#define TRACK_INFO_TEXT_MAX 255
#define TRACK_INFO_LAYERS_MAX 3
#define TRACK_INFO_CODECS_MAX 2
#define TRACK_INFO_FEATURES_MAX 16

enum track_type {
    TRACK_AUDIO = 0, // the numbers are LiveKit's TrackType
    TRACK_VIDEO = 1,
};

enum track_source { // LiveKit's TrackSource
    TRACK_SOURCE_UNKNOWN = 0,
    TRACK_SOURCE_CAMERA = 1,
    TRACK_SOURCE_MICROPHONE = 2,
    TRACK_SOURCE_SCREEN_SHARE = 3,
    TRACK_SOURCE_SCREEN_SHARE_AUDIO = 4,
};

struct track_layer {
    uint8_t quality; // VideoQuality: 0 LOW, 1 MEDIUM, 2 HIGH
    uint8_t spatial;
    uint32_t width, height, bitrate;
    uint32_t ssrc, repair_ssrc;
    char rid[17]; // RFC 8852: at most 16 characters of those in use
};

struct track_codec {
    char mime[24];
    char cid[TRACK_INFO_TEXT_MAX + 1];
    char sdp_cid[TRACK_INFO_TEXT_MAX + 1];
    char mid[17];
    uint8_t layer_mode; // VideoLayer.Mode
    uint8_t layer_count;
    struct track_layer layers[TRACK_INFO_LAYERS_MAX]; // LOW to HIGH
};

struct track_info {
    char sid[SID_SIZE];
    uint8_t type;   // enum track_type
    uint8_t source; // enum track_source
    bool muted, simulcast, disable_red;
    bool disable_dtx, stereo; // as the request said them; features have them too
    uint8_t encryption;       // Encryption.Type
    uint8_t backup_codec_policy;
    uint32_t width, height;
    char name[TRACK_INFO_TEXT_MAX + 1];
    char stream[TRACK_INFO_TEXT_MAX + 1];
    char mime[24]; // of the primary codec, "" until published
    char mid[17];
    uint8_t codec_count;
    struct track_codec codecs[TRACK_INFO_CODECS_MAX]; // primary first
    uint8_t feature_count;
    uint8_t features[TRACK_INFO_FEATURES_MAX];
    uint8_t trailer_feature_count;
    uint8_t trailer_features[TRACK_INFO_FEATURES_MAX];
    int64_t version_us; // TimedVersion
};

// Fills info (all of it but sid) from a request by the rules of livekit-protocol 4.5: codecs that
// may not be published (bit of enum codec not in `enabled`) become the first enabled one,
// duplicates go, layers are sorted LOW to HIGH. -EINVAL: neither audio nor video.
int track_info_from_request(struct track_info *info, const Livekit__AddTrackRequest *req,
                            uint32_t enabled) NODISCARD;

// Another codec for a published video (request with sid): the first of the request's list. One that
// is named already gets its cid and layers, unless it was published. *ret_index says which it is.
// -ENOTSUP: may not be published, or one too many.
int track_info_add_codec(struct track_info *info, const Livekit__AddTrackRequest *req,
                         uint32_t enabled, uint8_t *ret_index) NODISCARD;

// The codec that publication `index` (0 primary, 1 backup) shall use; audio: opus. CODEC_NONE: no
// backup.
enum codec track_info_codec(const struct track_info *info, uint8_t index);

// Spatial rank of a rid among the layers: q,h,f and 2,1,0 are known names, others keep the order of
// the offer (`index`).
uint8_t track_info_rid_rank(struct bytes rid, uint8_t index, uint8_t count);

// Names the layers of codec `index` after the rids of the offer, given by rank.
void track_info_set_rids(struct track_info *info, uint8_t index, const char *const *rids_by_rank,
                         uint8_t count);

// The spatial numbers of codec `index`, which are told with its publication: the rank of each layer.
void track_info_number_layers(struct track_info *info, uint8_t index);

// Builds the message in the arena, text borrowed from info. NULL without memory.
Livekit__TrackInfo *track_info_to_proto(const struct track_info *info, struct arena *a) NODISCARD;

// The audio features are those of the request from now on. False if they were already.
bool track_info_update_features(struct track_info *info, const Livekit__UpdateLocalAudioTrack *req);

// Whether it is stereo, and may pause in silence: by its features, which older flags are part of.
bool track_info_stereo(const struct track_info *info);
bool track_info_dtx(const struct track_info *info);

// Whether its audio may come as RED: never with end-to-end encryption, where the frame of a packet is
// encrypted as a whole and nobody but its receivers can take a block out of it.
bool track_info_red(const struct track_info *info);

// The layer (spatial rank) of codec `index` for a quality.
uint8_t track_info_layer_for_quality(const struct track_info *info, uint8_t index, uint8_t quality);

// The VideoQuality that a layer of codec `index` has; above the best one: that of the best one
// (livekit-protocol 4.9.1). HIGH if it has no layers.
uint8_t track_info_layer_quality(const struct track_info *info, uint8_t index, int layer);
