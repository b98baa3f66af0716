// SPDX-License-Identifier: Apache-2.0
#pragma once
// Forwarder: decides for each packet of a published track whether it goes to this subscriber, and
// with which numbers. It owns the layer selector and the mungers and knows the rules for timestamps
// when the source changes or comes back (media-plane 5.3). It writes nothing; down_track does.
//
// Pure. Upstream: livekit pkg/sfu/forwarder.go @788d4c35; deviations: timestamp offsets between
// encodings are learned once for each publication (receiver), not for each down track; after a
// refused switch or two the next one is forced.

#include "sfu/media/layer_selector.h"
#include "sfu/media/receiver.h"
#include "sfu/media/rtp_munger.h"
#include "sfu/media/vp8_munger.h"

// media-plane 5.3, livekit forwarder.go: a resumed stream is moved to the expected time if it is
// further behind than this (after a mute by the publisher, or always).
#define FORWARDER_RESUME_BEHIND_US (200 * US_PER_MS)
#define FORWARDER_RESUME_HIGH_US (2 * US_PER_S)
// A layer that is further behind what was sent is refused; the next key frame may do better.
#define FORWARDER_LAYER_BEHIND_US (50 * US_PER_MS)
// ... but not for ever: an encoder whose layers really are that far apart must not block the
// subscriber.
#define FORWARDER_MAX_REFUSALS 2

// A key frame may begin late: its first packet was overtaken, or lost and repeated. What has passed
// since is then fetched from the history, up to this many packets (a large key frame and 100 ms
// more).
#define FORWARDER_CATCH_UP_MAX 200u

enum forwarder_result {
    FORWARDER_SEND,
    FORWARDER_WAIT_KEY,
    FORWARDER_LAYER,
    FORWARDER_TEMPORAL,
    FORWARDER_PADDING,
    FORWARDER_LATE,
    FORWARDER_DUPLICATE,
    FORWARDER_TIMESTAMP,
    FORWARDER_MALFORMED,
};

// How a packet leaves.
struct forwarder_translation {
    uint64_t sn; // extended
    uint32_t ts;
    bool rewrite_desc; // VP8: desc replaces the first p->info.vp8.len bytes of the payload
    bool switched;     // first packet of a new source
    struct vp8_desc desc;
};

struct forwarder {
    struct layer_selector selector;
    uint8_t codec; // enum codec
    bool video;
    bool attached; // munger is attached to `encoding`
    bool resync;   // continue at the next suitable packet (after a pause, a restart of the source)
    bool muted_resync; // the pause was a mute by the publisher
    uint8_t encoding;  // source in use
    uint8_t refusals;
    uint32_t clock_rate;
    uint32_t epoch;   // of the source
    mono_t last_sent; // when last_ts of the munger was set
    // A new source may begin a little behind what was sent. Its timestamps keep their exact
    // relation; only those that would not be newer than ts_floor are squeezed in behind it.
    bool squeeze;
    uint32_t ts_floor;              // newest outgoing timestamp before the switch
    uint32_t ts_first;              // natural timestamp of the first packet of the source
    uint64_t catch_next, catch_end; // incoming numbers to fetch from the history; equal: nothing
    uint32_t switches, key_frames;
    struct rtp_munger rtp;
    struct vp8_munger vp8;
};

void forwarder_init(struct forwarder *f, enum codec codec, uint32_t clock_rate, uint16_t first_sn,
                    uint32_t first_ts);

// The stream was interrupted: the next packet continues by the resume rule, video with a key frame.
void forwarder_interrupt(struct forwarder *f, bool muted_by_publisher);

// The next packet comes from another receiver and in another codec: it continues the stream, video
// with a key frame.
void forwarder_set_codec(struct forwarder *f, enum codec codec);

// Decides on one packet. With FORWARDER_SEND *ret is set, and the numbers count as used.
enum forwarder_result forwarder_packet(struct forwarder *f, mono_t now, const struct receiver *r,
                                       const struct packet *p, struct forwarder_translation *ret);

// The next packet of the history that passed before the source was attached and was not sent yet,
// NULL if there is none. Give it to forwarder_packet.
const struct packet *forwarder_take_catch_up(struct forwarder *f, const struct receiver *r);

// True if a key frame of *ret_encoding would help.
bool forwarder_wants_key_frame(const struct forwarder *f, const struct receiver *r,
                               uint8_t *ret_encoding);

// Numbers for a padding-only packet before the first media: the time that has passed since the last
// one after it. The first packet of the source goes right behind it.
void forwarder_insert_padding(struct forwarder *f, mono_t now, struct forwarder_translation *ret);
