// SPDX-License-Identifier: Apache-2.0
#pragma once
// The codecs that are known by name, and what the media plane needs to know of each. Pure.

#include "common/base/bytes.h"

enum codec {
    CODEC_NONE,
    CODEC_OPUS,
    CODEC_RED, // RFC 2198 around Opus
    CODEC_PCMU,
    CODEC_PCMA,
    CODEC_G722,
    CODEC_VP8,
    CODEC_VP9,
    CODEC_H264,
    CODEC_H265,
    CODEC_AV1,
    CODEC_RTX, // RFC 4588; the media codec is named by apt=
    CODEC_COUNT,
};

enum media_kind {
    MEDIA_NONE,
    MEDIA_AUDIO,
    MEDIA_VIDEO,
};

// Encoding name as in a=rtpmap ("opus", "VP8"); "" for CODEC_NONE.
const char *codec_name(enum codec c);

// "audio/opus", "video/VP8", as LiveKit's signalling writes them; "" for CODEC_NONE and CODEC_RTX.
const char *codec_mime(enum codec c);

// MEDIA_NONE for CODEC_NONE and CODEC_RTX (RTX is of the kind of its section).
enum media_kind codec_kind(enum codec c);

// RTP clock in Hz (RFC 3551, RFC 7587, the video codecs' payload formats: 90000); 0 for CODEC_NONE.
// G722 is 8000 on the wire by RFC 3551 section 4.5.2. RTX: that of video.
uint32_t codec_clock(enum codec c);

// By encoding name, any case (RFC 4855 section 3: names are case-insensitive). CODEC_NONE if
// unknown.
enum codec codec_by_name(struct bytes name);

// By "kind/name", any case. CODEC_NONE if unknown or of another kind.
enum codec codec_by_mime(struct bytes mime);
