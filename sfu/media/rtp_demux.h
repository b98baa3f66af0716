// SPDX-License-Identifier: Apache-2.0
#pragma once
// From a packet of a publisher's transport to (section of the SDP, encoding, media or RTX).
// Media-plane 4.2, RFC 8843 section 9.2, RFC 8852, RFC 8853.
//
// Order: SSRC table; MID with RID or RRID; MID alone; SSRCs of the SDP; a payload type that only
// one section has. What fits nothing is held for a moment (packets may beat the SDP). A binding
// stays for good: mid and rid vanish from the packets after our first receiver report, and a silent
// layer comes back on its old SSRC without them.
//
// Pure. Thread: the worker of the transport. Upstream: livekit pkg/sfu/interceptor/rtx.go,
// pkg/rtc/transport.go (OnTrack by pion).

#include "sfu/media/packet_pool.h"
#include "sfu/wire/codec.h"
#include "sfu/wire/rtp_ext.h"

// Sections of one transport. A bridge that publishes a whole conference has hundreds; tables grow with
// them, so that the usual two cost 2 KB.
#define RTP_DEMUX_SECTIONS 320u
#define RTP_DEMUX_ENCODINGS 4u
#define RTP_DEMUX_PTS 24u // payload types of one section
#define RTP_DEMUX_ID_MAX                                                                           \
    32u // longest mid or rid taken (browsers: 1 to 2 characters, RFC 8852: short)
#define RTP_DEMUX_RETIRED 16u // a simulcast track has 6, and hardly more than two stop at a time
#define RTP_DEMUX_HELD 128u   // packets held in total
#define RTP_DEMUX_HELD_PER_SSRC 50u
#define RTP_DEMUX_HOLD_US INT64_C(500000)
#define RTP_DEMUX_SILENT_US                                                                        \
    INT64_C(2000000) // an encoding may move to another SSRC after this silence

struct rtp_demux_id {
    uint8_t len; // 0 = none
    char text[RTP_DEMUX_ID_MAX];
};

struct rtp_demux_pt {
    uint8_t pt;
    uint8_t codec; // enum codec; CODEC_RTX for retransmissions
    uint8_t apt;   // CODEC_RTX: payload type of the media
};

// SSRCs of the SDP: a=ssrc lines and FID groups, in the order of the encodings.
struct rtp_demux_declared {
    uint32_t ssrc;
    uint32_t rtx_ssrc; // 0 = none
};

// One m-line on which the peer sends. Filled by the owner from the negotiated SDP.
struct rtp_demux_section {
    uint32_t id;  // the owner's name for it (m-line index, track slot)
    uint8_t kind; // enum media_kind
    struct rtp_demux_id mid;
    uint8_t rid_count;                            // 0: one encoding without rid
    struct rtp_demux_id rid[RTP_DEMUX_ENCODINGS]; // index = encoding
    uint8_t pt_count;
    struct rtp_demux_pt pt[RTP_DEMUX_PTS];
    uint8_t declared_count;
    struct rtp_demux_declared declared[RTP_DEMUX_ENCODINGS];
};

enum rtp_demux_result {
    RTP_DEMUX_KNOWN,      // bound earlier
    RTP_DEMUX_BOUND,      // bound by this packet: receiver reports may name this SSRC from now on
    RTP_DEMUX_UNKNOWN,    // fits nothing yet: rtp_demux_hold it
    RTP_DEMUX_UNKNOWN_PT, // bound or bindable, but its payload type is not of the section: drop
    RTP_DEMUX_PROBE,      // SSRC 0: a bandwidth probe of libwebrtc before media exists: drop
    RTP_DEMUX_FULL,       // no room for another SSRC, or the encoding is taken by a live SSRC: drop
};

struct rtp_demux_route {
    uint32_t section_id;
    uint16_t section; // its place among the sections, see rtp_demux_section_index
    uint8_t encoding;
    bool rtx;
    uint8_t codec;       // enum codec of the payload type; for RTX that of the media
    uint8_t media_pt;    // RTX: the payload type of the media (apt); else that of the packet
    uint32_t media_ssrc; // RTX: SSRC of the encoding's media, 0 if none is bound yet; else that of
                         // the packet
    uint32_t replaced;   // BOUND: the SSRC whose place this one took, 0 if none
};

struct rtp_demux_binding_ {
    uint32_t ssrc;
    uint16_t section; // index
    uint8_t encoding;
    bool rtx;
    bool stopped; // BYE
    bool suspect; // was of a section that stopped: a new SSRC takes its place at once
    mono_t last_seen;
};

struct rtp_demux {
    struct rtp_ext_map ext;
    uint16_t section_count, section_cap;
    // Bindings, and twice as many slots of an open addressing table: binding index + 1, 0 = empty.
    // There is a place for media and RTX of each encoding before a packet comes.
    uint16_t ssrc_count, ssrc_cap;
    struct rtp_demux_section *section;
    struct rtp_demux_binding_ *binding;
    uint16_t *slot_of_;
    uint8_t retired_next;
    uint32_t retired[RTP_DEMUX_RETIRED]; // SSRCs of sections that stopped, a ring
    uint16_t held_count;
    struct packet
        *held[RTP_DEMUX_HELD]; // oldest first; data, len and arrival are set, nothing else
    uint64_t held_dropped;
};

void rtp_demux_init(struct rtp_demux *d);
void rtp_demux_done(struct rtp_demux *d); // gives up held packets and tables

// Ids of the header extensions (mid, rid, rrid are used).
void rtp_demux_set_extensions(struct rtp_demux *d, const struct rtp_ext_map *map);

// Adds a section, or replaces the one with the same id (renegotiation): bindings of the section
// stay. Makes room for its SSRCs, so that no packet allocates. -ENOBUFS, -ENOMEM.
int rtp_demux_set_section(struct rtp_demux *d, const struct rtp_demux_section *s) NODISCARD;
// The place of a section among d->section, as in routes: below section_count, and constant until a
// section is removed. RTP_DEMUX_SECTIONS if there is none.
uint16_t rtp_demux_section_index(const struct rtp_demux *d, uint32_t id);

// The section stopped (inactive, port 0): its bindings go as well. What is still on its way under
// those SSRCs is not held, and does not keep an encoding from another SSRC.
void rtp_demux_remove_section(struct rtp_demux *d, uint32_t id);

// Routes a packet. *ret is set for KNOWN and BOUND only.
enum rtp_demux_result rtp_demux_packet(struct rtp_demux *d, mono_t now, const struct rtp_header *h,
                                       struct rtp_demux_route *ret);

// BYE for this SSRC: the encoding may move to another one at once. No-op if unknown.
void rtp_demux_bye(struct rtp_demux *d, uint32_t ssrc);

// Where an SSRC is bound (for RTCP about it). False if it is not.
bool rtp_demux_find(const struct rtp_demux *d, uint32_t ssrc, struct rtp_demux_route *ret);
// The media (or RTX) SSRC of an encoding; 0 if none is bound.
uint32_t rtp_demux_ssrc_of(const struct rtp_demux *d, uint32_t section_id, uint8_t encoding,
                           bool rtx);

// Holds a packet for which RTP_DEMUX_UNKNOWN came: takes a reference, or drops it (too many).
void rtp_demux_hold(struct rtp_demux *d, mono_t now, struct packet *p);
// After a section was set, or a binding made: takes the oldest held packet that rtp_demux_packet
// would now route (the reference goes to the caller), NULL if there is none. Packets held for more
// than 500 ms are let go.
struct packet *rtp_demux_take_held(struct rtp_demux *d, mono_t now) NODISCARD;
