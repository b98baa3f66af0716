// SPDX-License-Identifier: Apache-2.0
#pragma once
// SDP: parser and writer of the subset that WebRTC uses (RFC 8866, RFC 8829 section 5, RFC 8843,
// 8851, 8853, 8839, 8841, 8285, 5576, 5761). What means nothing to a BUNDLE-only, mux-only peer is
// skipped (b=, k=, a=rtcp:, ...).
//
// sdp_parse makes one allocation that holds a copy of the text and every table; all views point
// into it and live until sdp_free. Texts come from peers: every list has a cap, a text over a cap
// is refused as a whole, nothing recurses.
//
// The writer takes the same structs, one section at a time, so that a description of any size is
// written without building all of it in memory.
//
// Pure.
//
// Upstream: livekit uses pion/sdp and keeps every line; we keep only what jsep reads.

#include "common/base/bytes.h"
#include "common/base/dynbuf.h"

// ---- caps -----------------------------------------------------------------------------------

// A Chromium video section is 5 KB; 1024 sections of all kinds stay below this.
#define SDP_MAX_TEXT (4u * 1024 * 1024)
// 500 remote participants with camera and microphone, plus own tracks and data.
#define SDP_MAX_SECTIONS 1024
// BUNDLE of 1024 mids of 16 characters is the longest line a sane peer writes.
#define SDP_MAX_LINE (32u * 1024)
#define SDP_MAX_CODECS 128     // payload types of one section (there are only 128)
#define SDP_MAX_EXTMAPS 64     // Chromium offers 14
#define SDP_MAX_SSRCS 64       // three encodings with RTX are 6
#define SDP_MAX_SSRC_GROUPS 32 // three FID groups in a Firefox simulcast section
#define SDP_MAX_RIDS 16        // LiveKit uses 3
#define SDP_MAX_CANDIDATES 256
#define SDP_MAX_MSIDS 16
// RFC 8285 allows any 8-bit id; mids and rids of real clients have 1 to 36 characters.
#define SDP_MAX_TOKEN 256

// ---- values ---------------------------------------------------------------------------------

// A bit set: bit 0 = the writer of the description sends, bit 1 = it receives.
enum sdp_direction {
    SDP_INACTIVE = 0,
    SDP_SENDONLY = 1,
    SDP_RECVONLY = 2,
    SDP_SENDRECV = 3,
};

enum sdp_setup {
    SDP_SETUP_NONE,
    SDP_SETUP_ACTPASS,
    SDP_SETUP_ACTIVE,
    SDP_SETUP_PASSIVE,
    SDP_SETUP_HOLDCONN,
};

enum sdp_kind {
    SDP_KIND_OTHER, // text, message, image, unknown transport: never accepted
    SDP_KIND_AUDIO,
    SDP_KIND_VIDEO,
    SDP_KIND_DATA, // m=application with webrtc-datachannel
};

// RTCP feedback that means something here; others are dropped by the parser.
#define SDP_FB_NACK (1u << 0)
#define SDP_FB_PLI (1u << 1) // nack pli
#define SDP_FB_FIR (1u << 2) // ccm fir
#define SDP_FB_TRANSPORT_CC (1u << 3)
#define SDP_FB_REMB (1u << 4) // goog-remb
#define SDP_FB_RRTR (1u << 5)

struct sdp_codec {
    uint8_t pt;
    uint8_t channels; // 1 unless said otherwise
    uint8_t fb;       // SDP_FB_*, a=rtcp-fb:* included
    uint32_t clock;
    struct bytes
        name; // as written: "VP8", "opus", "rtx"; static payload types have theirs without a=rtpmap
    struct bytes fmtp; // everything behind the payload type; empty without a=fmtp
};

struct sdp_extmap {
    uint16_t id; // 1..255, and 4096..4351 (RFC 8285 section 6: to be renumbered by the answerer)
    bool has_direction;
    enum sdp_direction direction; // SDP_SENDRECV unless said otherwise
    struct bytes uri;
};

struct sdp_ssrc {
    uint32_t ssrc;
    struct bytes cname;
    struct bytes msid; // "<stream> <track>", value of the msid attribute
};

// ssrc-group; only pairs matter (FID); others are dropped by the parser.
struct sdp_ssrc_group {
    uint32_t primary;
    uint32_t rtx;
};

struct sdp_rid {
    struct bytes id;
    bool send;      // direction as written
    bool simulcast; // listed in a=simulcast for that direction
};

struct sdp_msid {
    struct bytes stream; // "-" = no stream
    struct bytes track;  // empty if absent
};

// Transport attributes; stand on session or on media level.
struct sdp_transport {
    struct bytes ice_ufrag;
    struct bytes ice_pwd;
    struct bytes fingerprint; // "sha-256 AA:BB:..."
    enum sdp_setup setup;
};

struct sdp_media {
    enum sdp_kind kind;
    struct bytes kind_text; // "audio"
    struct bytes proto;     // "UDP/TLS/RTP/SAVPF"
    struct bytes fmts;      // rest of the m= line as written
    uint16_t port;
    bool bundle_only;
    struct bytes mid; // empty if absent
    enum sdp_direction direction;
    struct sdp_transport transport; // see sdp_media_transport for inheritance
    bool rtcp_mux;
    bool rtcp_rsize;
    bool extmap_allow_mixed;
    bool end_of_candidates;
    bool xr_rcvr_rtt;          // a=rtcp-xr:rcvr-rtt=...
    uint16_t sctp_port;        // data; 0 if absent
    uint32_t max_message_size; // data; 65536 if absent (RFC 8841 section 6), 0 = any size

    struct sdp_codec *codecs; // in order of preference
    size_t codec_count;
    struct sdp_extmap *extmaps;
    size_t extmap_count;
    struct sdp_ssrc *ssrcs; // one entry per SSRC, in order of first mention
    size_t ssrc_count;
    struct sdp_ssrc_group *groups;
    size_t group_count;
    struct sdp_rid *rids; // in the order of a=simulcast, then those it does not list
    size_t rid_count;
    struct sdp_msid *msids;
    size_t msid_count;
    struct bytes *candidates; // "candidate:..." without "a="
    size_t candidate_count;
};

struct sdp_session {
    uint64_t id;      // of o=
    uint64_t version; // of o=
    bool ice_lite;
    bool extmap_allow_mixed;
    bool has_bundle;
    struct bytes bundle; // mids of the first BUNDLE group, space separated
    struct sdp_transport transport;
};

struct sdp {
    struct sdp_session session;
    struct sdp_media *media;
    size_t media_count;
};

// ---- reading --------------------------------------------------------------------------------

// Parses a whole description. Lines may end in CRLF or LF. *ret is the caller's, freed with
// sdp_free. -EBADMSG: not a description, or an attribute that must be readable is not; -E2BIG: over
// a cap; -ENOMEM.
int sdp_parse(struct bytes text, struct sdp **ret) NODISCARD;

// Frees everything a parse made. Accepts NULL.
void sdp_free(struct sdp *s);
DEFINE_CLEANUP(struct sdp *, sdp_free)

// Transport attributes that hold for a section: its own, else those of the session.
struct sdp_transport sdp_media_transport(const struct sdp *s, const struct sdp_media *m);

// True if mid is a member of the BUNDLE group.
bool sdp_in_bundle(const struct sdp_session *s, struct bytes mid);

// True if the section was refused or is not offered: port 0 without bundle-only (RFC 8843 section
// 6).
bool sdp_media_rejected(const struct sdp_media *m);

// Value of one parameter of an fmtp list ("a=1;b=2", blanks around ; allowed), names
// case-insensitive. False if absent; *ret is empty for a parameter without value.
bool sdp_fmtp_param(struct bytes fmtp, const char *name, struct bytes *ret);

// Compares names of codecs and the like: ASCII, case-insensitive.
bool sdp_name_eq(struct bytes a, const char *b);

// Decimal number, whole view. False if it is not one or above max.
bool sdp_parse_uint(struct bytes text, uint64_t max, uint64_t *ret);

// Cuts the next token off *text, skipping leading separators; empty at the end.
struct bytes sdp_token(struct bytes *text, char sep);

// ---- writing --------------------------------------------------------------------------------

// v= to the last session attribute. bundle is written as it is, left out when has_bundle is false.
void sdp_write_session(struct dynbuf *out, const struct sdp_session *s);

// One section, m= line included. The c= line is always there (Firefox refuses a section without).
// m->kind decides which parts are written; a rejected section (port 0 without bundle_only) has m=,
// c=, mid and direction only. codecs give the m= line; if there are none, fmts is written.
void sdp_write_media(struct dynbuf *out, const struct sdp_media *m);

// Everything, for tests and tools.
void sdp_write(struct dynbuf *out, const struct sdp *s);
