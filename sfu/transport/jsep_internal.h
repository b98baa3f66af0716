// SPDX-License-Identifier: Apache-2.0
#pragma once
// Private to sfu/transport/jsep*.c: jsep.c (life, sections), jsep_codecs.c (tables, negotiation of
// codecs and header extensions), jsep_remote.c (applying descriptions), jsep_write.c (parts of a
// section), jsep_answer.c and jsep_offer.c (making descriptions).

#include "common/base/arena.h"
#include "sfu/transport/jsep.h"

// Codecs of one section after filtering. The longest list of a real client (Chromium with H264 in
// all profiles) has 13.
#define JSEP_MAX_CODECS 32

// Longest a=fmtp that is repeated; real ones stay below 120.
#define JSEP_MAX_FMTP 512

// Longest stream id, track id, cname: livekit's are below 40, clients choose UUIDs in braces or
// names.
#define JSEP_MAX_ID 256

// Sections that were replaced (RFC 8829 section 5.2.2 recycling) stay allocated for their owners'
// pointers; a client that recycles more often than this per connection is not a real one.
#define JSEP_MAX_TRANSCEIVERS (4 * SDP_MAX_SECTIONS)

// A codec list, shared by all sections where it is the same (usually one per kind and role).
struct jsep_set {
    struct jsep_set *next;
    uint32_t refs;
    uint8_t count;
    struct jsep_codec codecs[]; // followed by the fmtp texts
};

struct jsep {
    struct jsep_config cfg; // strings below belong to us
    char *fingerprint;
    char *ice_ufrag;
    char *ice_pwd;
    char **candidates;
    size_t candidate_count;
    bool candidates_complete;

    enum jsep_state state;
    enum jsep_dtls_role role;
    enum jsep_dtls_role next_role; // of the pending remote offer
    uint64_t version;
    uint32_t next_mid;
    uint16_t next_section;
    bool dirty;
    size_t offered_count; // sections of our pending offer
    enum sdp_setup offered_setup;

    struct jsep_transceiver *
        *order; // sections by m-line, then local ones that were not offered yet
    size_t count;
    struct jsep_transceiver **gone; // replaced sections
    size_t gone_count;

    struct jsep_set *sets;
    struct rtp_ext_map ext_ids; // ids in use, by type: stable over all our offers

    struct sdp *offer;         // pending remote offer
    struct arena remote_arena; // strings of remote
    struct jsep_remote remote;
};

// ---- jsep.c ---------------------------------------------------------------------------------

// A section that is not in `order` yet. -ENOMEM.
int jsep_transceiver_new_(struct jsep *j, enum jsep_kind kind, struct bytes mid,
                          struct jsep_transceiver **ret) NODISCARD;
void jsep_transceiver_free_(struct jsep_transceiver *t);
enum jsep_kind jsep_kind_of_(enum sdp_kind kind);
// True if the owner wants to receive there, or said nothing.
bool jsep_wants_recv_(const struct jsep_transceiver *t);

// ---- jsep_codecs.c --------------------------------------------------------------------------

// What we can do of a described section, in its order, RTX folded in. Views in `scratch`: fmtp of
// m. Returns the count.
struct jsep_codec_view {
    struct jsep_codec c; // fmtp unused
    struct bytes fmtp;
};
size_t jsep_common_codecs_(const struct jsep *j, const struct sdp_media *m,
                           struct jsep_codec_view ret[static JSEP_MAX_CODECS]);

// The codecs we offer for a kind.
size_t jsep_offered_codecs_(const struct jsep *j, enum jsep_kind kind,
                            struct jsep_codec_view ret[static JSEP_MAX_CODECS]);

// A reference to the shared list with this content. -ENOMEM.
int jsep_set_get_(struct jsep *j, const struct jsep_codec_view *codecs, size_t count,
                  struct jsep_set **ret) NODISCARD;
void jsep_set_put_(struct jsep *j, struct jsep_set *set); // accepts NULL
// Makes `set` (a reference, taken over) the list of t.
void jsep_set_assign_(struct jsep_transceiver *t, struct jsep_set *set);

// True if an answer accepts this header extension on a section with these roles. first: codec the
// section leads with.
bool jsep_accepts_ext_(const struct jsep *j, const struct jsep_transceiver *t,
                       enum rtp_ext_type type, bool send, bool recv, enum codec first);
// True if our offer lists it.
bool jsep_offers_ext_(const struct jsep *j, const struct jsep_transceiver *t,
                      enum rtp_ext_type type);
// RTCP feedback we agree to on a codec of a section with these roles.
uint8_t jsep_feedback_mask_(const struct jsep *j, const struct jsep_transceiver *t,
                            enum codec codec, bool send, bool recv, bool red);
// RTCP feedback our offer lists.
uint8_t jsep_offered_feedback_(const struct jsep *j, enum codec codec, bool red);
// The id of an extension in our offers, assigned at first use; 0: no id left.
uint8_t jsep_ext_id_(struct jsep *j, enum rtp_ext_type type);

// ---- jsep_media.c ---------------------------------------------------------------------------

// *ret (to be freed) is what the remote sends there; untouched if it sends nothing. livekit-server's
// answers say sendonly for a spare section (5.3), and some clients offer sendrecv for one that only
// receives: both send nothing as long as nothing is identified. -ENOMEM.
int jsep_remote_media_(const struct sdp_media *m, bool answer,
                       struct jsep_remote_media **ret) NODISCARD;

// ---- jsep_write.c ---------------------------------------------------------------------------

// One section being put together; reused for all sections of a description. Allocated, since it is
// large.
struct jsep_writer {
    struct jsep *j;
    struct dynbuf *out;
    bool candidates_written;
    struct sdp_media m;
    struct sdp_codec codecs[2 * JSEP_MAX_CODECS];
    struct sdp_extmap extmaps[RTP_EXT_COUNT];
    struct sdp_ssrc ssrcs[2];
    struct sdp_ssrc_group group;
    struct sdp_rid rids[JSEP_MAX_RIDS];
    struct sdp_msid msid;
    struct bytes candidates[SDP_MAX_CANDIDATES];
    char apt[JSEP_MAX_CODECS][8];
    char msid_text[2 * JSEP_MAX_ID + 2];
};

// The session part. bundle: mids, space separated. allow_mixed: a=extmap-allow-mixed.
void jsep_write_session_(struct jsep_writer *w, struct bytes bundle, bool allow_mixed);
// Starts a section that is not rejected.
void jsep_begin_section_(struct jsep_writer *w, const struct jsep_transceiver *t,
                         enum sdp_setup setup, enum sdp_direction direction);
void jsep_add_codecs_(struct jsep_writer *w, const struct jsep_codec_view *list, size_t n);
void jsep_add_ext_(struct jsep_writer *w, const struct sdp_extmap *e);
// One a=rid, with its place in a=simulcast.
void jsep_add_rid_(struct jsep_writer *w, struct bytes id, bool simulcast, bool send);
void jsep_add_sent_rids_(struct jsep_writer *w, const struct jsep_sender *s);
// a=msid, a=ssrc, a=ssrc-group. with_rtx: the section has an RTX codec.
void jsep_add_sender_(struct jsep_writer *w, const struct jsep_sender *s, bool with_rtx);
// Writes what was put together.
void jsep_end_section_(struct jsep_writer *w);

// Moves the entries of a codec to the front, keeping the order within both groups. False if there
// is none.
bool jsep_codecs_first_(struct jsep_codec_view *list, size_t n, enum codec codec);
// Appends a parameter to an fmtp list in buf (zero-terminated, cap bytes); does nothing if it does
// not fit.
void jsep_fmtp_append_(char *buf, size_t cap, const char *param);
// Copies an fmtp list into buf without the named parameters. Longer lists are cut between
// parameters.
void jsep_fmtp_without_(char *buf, size_t cap, struct bytes fmtp, const char *const *names,
                        size_t name_count);

// Our direction from theirs.
static inline enum sdp_direction jsep_flip_(enum sdp_direction d)
{
    return (enum sdp_direction)(((d & SDP_SENDONLY) << 1) | ((d & SDP_RECVONLY) >> 1));
}
