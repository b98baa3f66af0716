// SPDX-License-Identifier: Apache-2.0
#pragma once
// Offer/answer engine of one peer connection (RFC 8829, RFC 8843, RFC 8842): text in, text out, and
// per m-section the negotiated facts that media and room need. One engine for all roles: the SFU as
// answerer (single PC, v0 publisher PC), the SFU as offerer (v0 subscriber PC), and our own client
// as either.
//
//        jsep_set_remote_offer                jsep_create_answer
//   STABLE ------------------> HAVE_REMOTE_OFFER ------------------> STABLE     (a newer offer may
//   replace an unanswered one)
//        jsep_create_offer                    jsep_set_remote_answer
//   STABLE ------------------> HAVE_LOCAL_OFFER -------------------> STABLE     (a newer offer may
//   replace an unanswered one)
//
// A section ("transceiver") is known by its mid, never by its position. Sections are never removed;
// pointers to transceivers stay valid until jsep_free.
//
// What the owner does between an offer and its answer: look at the transceivers (kind,
// remote_direction, remote media), attach published tracks with jsep_transceiver_set_receiver,
// attach subscriptions with jsep_find_free + jsep_transceiver_set_sender, set new ICE credentials
// if the offer restarts ICE, then jsep_create_answer. A receiving section the owner says nothing
// about is accepted in the offered order (its add_track may come later).
//
// Payload types and extension ids of an answer are those of the offer; ids of our offers are stable
// for the life of the engine and unique over all sections.
//
// Pure, sans-IO. Owner thread.
//
// Upstream: livekit pkg/rtc/transport.go, mediaengine.go, participant_sdp.go @1.13.5. Known
// deviations: only offered payload types, each with its offered fmtp; dependency descriptor refused
// for VP8/H264 publications; sections we send on answer transport-cc and goog-remb; server offers
// say active and use sendonly/inactive; the preferred codec keeps its RTX when it is the only one;
// answers say inactive of a section without a track also if it never had one, where livekit says
// sendonly: Firefox then receives in it, without an SSRC, takes the first packets of another
// section's track, which come before it has applied the answer that names them, and keeps them there
// for good, so that the track stays silent.

#include "common/base/bytes.h"
#include "common/base/dynbuf.h"
#include "common/base/handle.h"
#include "sfu/wire/codec.h"
#include "sfu/wire/rtp_ext.h"
#include "sfu/wire/sdp.h"

struct jsep;
struct jsep_set; // shared codec list, internal

// Largest description we write: SDP_MAX_SECTIONS sections of at most 4 KB.
#define JSEP_MAX_TEXT SDP_MAX_TEXT

enum jsep_kind {
    JSEP_AUDIO,
    JSEP_VIDEO,
    JSEP_DATA,
    JSEP_OTHER, // a kind or transport we do not speak; always rejected
};

enum jsep_state {
    JSEP_STABLE,
    JSEP_HAVE_REMOTE_OFFER,
    JSEP_HAVE_LOCAL_OFFER,
};

enum jsep_dtls_role {
    JSEP_DTLS_UNKNOWN,
    JSEP_DTLS_CLIENT, // we send the ClientHello (our a=setup is active)
    JSEP_DTLS_SERVER,
};

// All strings are copied.
struct jsep_config {
    bool client; // our own client: offers Chromium's payload types, accepts what a browser accepts
    bool single_pc;             // v1: publications and subscriptions in one PC
    bool ice_lite;              // writes a=ice-lite
    enum sdp_setup offer_setup; // of our offers: SDP_SETUP_ACTIVE or SDP_SETUP_ACTPASS; NONE:
                                // server active, client actpass
    bool only_preferred_video; // Firefox on Linux and Android: publisher answers list the preferred
                               // codec (and its rtx) only
    bool no_red;               // Firefox, Safari: never negotiate audio RED
    bool no_reuse;      // Safari, protocol <= 3: jsep_add_sender_section always makes a new section
    bool playout_delay; // the room has a playout delay: accept and offer its extension
    bool audio_transport_cc; // also transport-cc on audio publications (livekit: video only)
    uint32_t codecs;         // bit (1u << enum codec) per enabled codec, RTX always is; 0: all
    uint64_t session_id;     // o= line, random
    const char *fingerprint; // "sha-256 AA:BB:..." of our certificate
    const char *ice_ufrag;
    const char *ice_pwd;
};

// ---- results --------------------------------------------------------------------------------

// One negotiated codec of a section. RTX is folded into the codec it repairs.
struct jsep_codec {
    uint8_t codec; // enum codec
    uint8_t pt;
    uint8_t rtx_pt; // 0: no RTX (0 itself is PCMU)
    uint8_t channels;
    uint8_t fb;                 // SDP_FB_*
    uint8_t profile;            // VP9, AV1: profile; H264: enum jsep_h264_profile
    uint8_t packetization_mode; // H264
    uint32_t clock;
    const char
        *fmtp; // as described for this payload type; "" without. Valid until the next description
};

// Classes of profile-level-id that decode alike (RFC 6184 section 8.1, table 5).
enum jsep_h264_profile {
    JSEP_H264_CONSTRAINED_BASELINE,
    JSEP_H264_BASELINE,
    JSEP_H264_MAIN,
    JSEP_H264_CONSTRAINED_HIGH,
    JSEP_H264_HIGH,
    JSEP_H264_OTHER,
};

struct jsep_ssrc {
    uint32_t ssrc;
    uint32_t rtx_ssrc; // 0: none declared
};

#define JSEP_MAX_RIDS 8
#define JSEP_MAX_SSRCS 8

// What the other side says it sends in a section.
struct jsep_remote_media {
    const char *stream_id; // of a=msid, else of the first a=ssrc msid; "" if none or "-"
    const char *track_id;  // ""
    uint8_t rid_count;     // rids it sends, in its order (Rust: f;h;q)
    uint8_t ssrc_count;    // primary SSRCs in its order, with their FID partner
    const char *rids[JSEP_MAX_RIDS];
    struct jsep_ssrc ssrcs[JSEP_MAX_SSRCS];
};

// ---- decisions of the owner -----------------------------------------------------------------

// How a section that receives is answered. Zero value: refuse.
struct jsep_receiver {
    bool accept;
    uint8_t preferred; // enum codec that goes first; CODEC_NONE: offered order
    bool red;    // audio: RED in front of opus (else behind it); never with end-to-end encryption
    bool dtx;    // opus: usedtx=1
    bool stereo; // opus: stereo=1;maxaveragebitrate=510000, else stereo=1 is taken out
};

// What we send in a section. Strings are copied. For the SFU: stream_id "<PA_>|<TR_>", track_id
// "<TR_>", cname = stream_id.
struct jsep_sender {
    const char *stream_id;
    const char *track_id;
    const char *cname;
    uint32_t ssrc;      // 0: no a=ssrc lines (client with rid simulcast)
    uint32_t rtx_ssrc;  // 0: no RTX
    bool stereo;        // opus: sprop-stereo=1
    bool no_ssrc_lines; // client only: keep the ssrc fields for the owner, do not write them
    uint8_t preferred;  // client only, enum codec to list first; CODEC_NONE: all in table order
    bool svc;           // client only: offer the dependency descriptor although there are no rids
    uint8_t rid_count;  // client only: rid simulcast
    const char *rids[JSEP_MAX_RIDS];
};

// One m-section. Read freely; the fields below "owner" may be written by the owner, all others only
// by jsep.
struct jsep_transceiver {
    enum jsep_kind kind;
    bool
        stopped; // rejected by one side, or gone from the remote's offers: carries nothing any more
    bool local;  // made by jsep_add_*
    uint16_t id; // unique in this engine and constant, whatever a description does to positions
    uint16_t mline; // position in the last description; UINT16_MAX before the first
    const char *mid;

    // From the last remote description, as the remote sees it: SENDONLY = it sends.
    enum sdp_direction remote_direction;
    // Negotiated, as we see it.
    enum sdp_direction direction;
    bool negotiated;  // took part in a finished offer/answer
    bool sender_live; // the sender below was in the last finished description: media may flow (SFU:
                      // from the answer on)

    // What was agreed, in the order of the answer; between a remote offer and our answer: what both
    // can do. A section of our own first offer has none before its answer.
    const struct jsep_codec *codecs;
    uint8_t codec_count;
    // Header extension ids, 0 = not negotiated: for packets we send and for packets we receive.
    struct rtp_ext_map ext_send;
    struct rtp_ext_map ext_recv;

    const struct jsep_remote_media *remote; // NULL: the remote sends nothing here
    const struct jsep_sender *sender;       // NULL: none set
    struct jsep_receiver receiver;
    bool receiver_set;

    // ---- owner ----
    handle_t recv_owner; // published track that receives from this section
    handle_t send_owner; // subscription that sends on it

    // ---- internal ----
    struct jsep *j;
    struct jsep_set *set;
    struct jsep_set *offered_set; // of our pending offer
    char *mid_storage;
    struct jsep_sender *sender_storage;
    struct jsep_remote_media *remote_storage;
    uint32_t sender_serial;               // counts set_sender
    uint32_t offered_serial;              // the sender that our pending offer carries
    enum sdp_direction offered_direction; // in our pending offer
    bool offered_sender;                  // our pending offer carries a sender
    bool had_sender; // the last finished description carried a sender (this one or an earlier one)
    bool published; // the remote sent here once: never used for subscriptions (recording 08-python)
    bool acceptable; // of the pending remote offer: may be accepted
};

// What the remote side told about the transport. Strings valid until the next remote description.
struct jsep_remote {
    bool valid; // a remote description was applied
    bool ice_lite;
    bool end_of_candidates;
    bool has_data; // a data section was agreed
    uint16_t sctp_port;
    uint32_t max_message_size; // 0: any
    const char *ice_ufrag;
    const char *ice_pwd;
    const char *fingerprint;       // "sha-256 AA:BB:..."
    const char *const *candidates; // "candidate:..." lines
    size_t candidate_count;
};

// What a remote description changed.
struct jsep_applied {
    bool first;           // the first remote description
    bool ice_restart;     // ufrag or pwd differ from before: an answer needs new local credentials
                          // (jsep_set_local_ice)
    bool new_fingerprint; // other certificate than before: new DTLS, SRTP and SCTP
    bool new_sections;    // at least one section was added
};

// ---- life -----------------------------------------------------------------------------------

// -EINVAL: fingerprint or ICE credentials missing or unusable; -ENOMEM.
int jsep_new(const struct jsep_config *config, struct jsep **ret) NODISCARD;
void jsep_free(struct jsep *j); // accepts NULL
DEFINE_CLEANUP(struct jsep *, jsep_free)

// New local credentials for all descriptions from now on (ICE restart). -EINVAL, -ENOMEM.
int jsep_set_local_ice(struct jsep *j, const char *ufrag, const char *pwd) NODISCARD;

// Candidates for the first section of all descriptions from now on: lines "candidate:..." without
// "a=". Replaces earlier ones. complete adds a=end-of-candidates. -E2BIG, -ENOMEM.
int jsep_set_local_candidates(struct jsep *j, const char *const *lines, size_t count,
                              bool complete) NODISCARD;

// ---- descriptions ---------------------------------------------------------------------------

// Applies an offer; nothing changes on failure. ret may be NULL.
// -EPROTO: an offer of ours is outstanding, or the DTLS role would flip;
// -EBADMSG: not a usable description (no ICE credentials, no fingerprint, duplicate or missing
// mid); -E2BIG; -ENOMEM.
int jsep_set_remote_offer(struct jsep *j, struct bytes text, struct jsep_applied *ret) NODISCARD;

// Writes the answer into out (initialised by the caller with a cap of at most JSEP_MAX_TEXT;
// appended to) and finishes the exchange. It has exactly the sections of the offer. -EPROTO: no
// offer to answer; -ENOBUFS: out is too small or out of memory (the offer stays pending); -ENOMEM.
int jsep_create_answer(struct jsep *j, struct dynbuf *out) NODISCARD;

// Writes an offer of all sections into out. An unanswered earlier one is forgotten. -EPROTO: a
// remote offer is pending. -ENOBUFS, -ENOMEM.
int jsep_create_offer(struct jsep *j, struct dynbuf *out) NODISCARD;

// Applies the answer to our last offer; nothing changes on failure. ret may be NULL.
// -EPROTO: no offer outstanding, or the DTLS role would flip; -EBADMSG: it does not fit the offer;
// -E2BIG; -ENOMEM.
int jsep_set_remote_answer(struct jsep *j, struct bytes text, struct jsep_applied *ret) NODISCARD;

enum jsep_state jsep_state(const struct jsep *j);
// Our role; fixed by the first finished exchange and kept (until the remote's certificate changes).
enum jsep_dtls_role jsep_dtls_role(const struct jsep *j);
const struct jsep_remote *jsep_remote(const struct jsep *j);
// True if something was set since the last description was written that only a new one can tell the
// other side.
bool jsep_needs_negotiation(const struct jsep *j);

// ---- sections -------------------------------------------------------------------------------

size_t jsep_count(const struct jsep *j);
// i < jsep_count, in the order of the last description; never NULL.
struct jsep_transceiver *jsep_at(const struct jsep *j, size_t i);
// NULL if there is none that is not stopped.
struct jsep_transceiver *jsep_by_mid(const struct jsep *j, struct bytes mid);

// Answerer (v1 subscriptions, 4.4): a section of that kind the remote offers to receive on and that
// carries nothing. A section whose sender was cleared becomes free once an answer said so. NULL:
// none; then ask for more sections.
struct jsep_transceiver *jsep_find_free(const struct jsep *j, enum jsep_kind kind);
size_t jsep_count_free(const struct jsep *j, enum jsep_kind kind);

// Sections of that kind whose sender was cleared and that become free (answerer) or reusable
// (offerer) with the description that says so.
size_t jsep_count_freeing(const struct jsep *j, enum jsep_kind kind);

// Offerer: sections of that kind that jsep_add_sender_section would reuse.
size_t jsep_count_reusable(const struct jsep *j, enum jsep_kind kind);

// Offerer: a section for sending; reuses a free one of that kind unless config.no_reuse. Set the
// sender on it next. -E2BIG: SDP_MAX_SECTIONS; -ENOMEM.
int jsep_add_sender_section(struct jsep *j, enum jsep_kind kind,
                            struct jsep_transceiver **ret) NODISCARD;
// Offerer: a new section we only receive on (client placeholders). Same errors.
// For the client's half of an exchange, which tests and the test clients have to play.
int jsep_add_receiver_section(struct jsep *j, enum jsep_kind kind,
                              struct jsep_transceiver **ret) NODISCARD;
// Offerer: the data section, if there is none yet. Same errors.
int jsep_add_data_section(struct jsep *j) NODISCARD;

// How the section is answered when the remote sends on it; stays until set again. To refuse:
// .accept = false.
void jsep_transceiver_set_receiver(struct jsep_transceiver *t, const struct jsep_receiver *r);

// What the next description sends on this section. -ENOMEM, -EINVAL (missing or unprintable ids).
int jsep_transceiver_set_sender(struct jsep_transceiver *t, const struct jsep_sender *s) NODISCARD;
// The next description says inactive; t may be reused after that.
void jsep_transceiver_clear_sender(struct jsep_transceiver *t);

// mid_to_track_id: sections that the last description we wrote sends on. Pass *pos = 0 first; NULL
// at the end. The pair is t->mid, t->sender->track_id.
struct jsep_transceiver *jsep_next_sending(const struct jsep *j, size_t *pos);

// ---- codecs ---------------------------------------------------------------------------------

// Codec of a section that can carry what `like` (of another connection's section) describes: same
// codec and, for VP9, AV1 and H264, same profile; H264 of another baseline profile or packetization
// mode only if there is no better one. NULL: the receiver cannot take it (SE_CODEC_UNSUPPORTED).
const struct jsep_codec *jsep_codec_match(const struct jsep_transceiver *t,
                                          const struct jsep_codec *like);

// First entry of an enum codec; NULL if none.
const struct jsep_codec *jsep_codec_find(const struct jsep_transceiver *t, uint8_t codec);
